//! What the alignment analysis says of integer operators holds for the values they give.

mod lower_support;

use lower_support::*;
use wavelift_translator::Shape;
use wavelift_translator::analysis::alignment::alignment;
use wavelift_translator::ir::{Const, Function, Type, Value, WasmOp};

const EDGES: [u64; 9] =
    [0, 1, 2, 8, 0xff00, 0x1_0000_0000, 0x1234_5678_9abc_def0, 0x8000_0000_8000_0000, 0xffff_ffff_ffff_ffff];

fn int(ty: Type, value: u64) -> Const {
    if ty == Type::I64 { Const::I64(value) } else { Const::I32(value as u32) }
}

/// How an operand is made.
#[derive(Clone, Copy, Debug)]
enum Operand {
    /// Loaded, with so many low bits cleared.
    Cleared(u32),
    Constant(u64),
}

/// `op` of two operands from the first buffer, stored in the second; and its result.
fn kernel(op: WasmOp, operands: [Operand; 2]) -> (Function, Shape, Value) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (from, to) = (k.pointer(0), k.pointer(1));
    let mut args = Vec::new();
    for (index, ty) in op.params().iter().enumerate() {
        args.push(match operands[index] {
            Operand::Constant(value) => k.constant(int(*ty, value)),
            Operand::Cleared(bits) => {
                let loaded = k.load(access(*ty, 8 * index as u32), from);
                let mask = k.constant(int(*ty, u64::MAX.checked_shl(bits).unwrap_or(0)));
                let and = if *ty == Type::I64 { WasmOp::I64And } else { WasmOp::I32And };
                k.wasm(and, &[loaded, mask])
            }
        });
    }
    let result = k.wasm(op, &args);
    k.store(access(op.result(), 0), to, result);
    (k.finish(), shape, result)
}

#[test]
fn every_integer_operator_keeps_the_zeros_it_is_said_to() {
    let operands: Vec<Operand> = [0, 1, 2, 8, 16, 31, 32, 64]
        .map(Operand::Cleared)
        .into_iter()
        .chain([0, 1, 2, 12, 33, 0x8000_0000].map(Operand::Constant))
        .collect();
    let mut known = 0;
    for op in WasmOp::ALL.iter().filter(|op| op.params().iter().chain([&op.result()]).all(|ty| ty.is_int())) {
        for (a, b) in operands.iter().flat_map(|a| operands.iter().map(move |b| (*a, *b))) {
            let (function, shape, result) = kernel(*op, [a, b]);
            let zeros = alignment(&function).trailing_zeros(result);
            known += usize::from(zeros > 0);
            for (x, y) in EDGES.iter().flat_map(|x| EDGES.iter().map(move |y| (*x, *y))) {
                let space = space(&shape, &[[x.to_le_bytes(), y.to_le_bytes()].concat(), vec![0; 8]]);
                let (outcome, after) = run_wasm(&function, &shape, &space, 0);
                let mut bytes = [0; 8];
                bytes.copy_from_slice(after.buffers[1].bytes());
                let value = u64::from_le_bytes(bytes);
                // After a trap there is no result; it reads as 0, of which everything is true.
                let mask = 1_u64.checked_shl(zeros).map_or(u64::MAX, |bit| bit - 1);
                assert_eq!(value & mask, 0, "{op:?} {a:?} {b:?} of {x:#x} {y:#x}: {zeros} zeros, {outcome:?}");
            }
        }
    }
    assert!(known > 1000, "only {known} results have known zeros");
}

#[test]
fn index_arithmetic_is_known_to_be_aligned() {
    use Operand::{Cleared, Constant};
    let zeros = |op, a, b| {
        let (function, _, result) = kernel(op, [a, b]);
        alignment(&function).trailing_zeros(result)
    };
    assert_eq!(zeros(WasmOp::I32Shl, Cleared(0), Constant(2)), 2);
    assert_eq!(zeros(WasmOp::I32Shl, Cleared(1), Constant(34)), 3);
    assert_eq!(zeros(WasmOp::I32Shl, Cleared(3), Cleared(0)), 3);
    assert_eq!(zeros(WasmOp::I32Mul, Cleared(1), Constant(12)), 3);
    assert_eq!(zeros(WasmOp::I32Add, Cleared(2), Constant(8)), 2);
    assert_eq!(zeros(WasmOp::I32And, Cleared(0), Constant(0xfffc)), 2);
    assert_eq!(zeros(WasmOp::I32ShrU, Cleared(4), Constant(2)), 2);
    assert_eq!(zeros(WasmOp::I32WrapI64, Cleared(3), Constant(0)), 3);
    assert_eq!(zeros(WasmOp::I32DivU, Cleared(4), Constant(2)), 0);
}
