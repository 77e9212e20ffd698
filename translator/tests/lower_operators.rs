//! Every numeric operator at edge values: Wasm's meaning before and after lowering, traps included.

mod lower_support;

use lower_support::*;
use wavelift_translator::ir::{Const, Exit, Function, LowOp, Op, StmtKind, Type, Value, WasmOp};
use wavelift_translator::{Features, FloatMode, Options, Profile, Shape};

const I32: &[u32] =
    &[0, 1, 2, 3, 7, 31, 32, 33, 63, 127, 128, 255, 0x7fff, 0x8000, 0xdead_beef, 0x7fff_ffff, 0x8000_0000, u32::MAX];

fn edges(ty: Type) -> Vec<u64> {
    match ty {
        Type::I32 => I32.iter().map(|x| u64::from(*x)).collect(),
        Type::I64 => {
            let wide = [0x8000_0000_0000_0000, u64::MAX, 0x7fff_ffff_ffff_ffff, 1 << 32, 0x1234_5678_9abc_def0, 64, 65];
            I32.iter().map(|x| u64::from(*x)).chain(wide).chain([u64::MAX << 31, 0xffff_ffff_0000_0000]).collect()
        }
        _ => {
            let mut values = vec![0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.7, 1e-3, 1e10, 16_777_217.0, f64::INFINITY];
            for exponent in [31, 32, 63, 64] {
                let power = 2_f64.powi(exponent);
                values.extend([power, power - 1.0, power + 1.0, power * (1.0 - f64::EPSILON)]);
                values.extend([f64::from((power as f32).next_up()), f64::from((power as f32).next_down())]);
            }
            values.extend([
                f64::MIN_POSITIVE,
                f64::MAX,
                f64::from(f32::MIN_POSITIVE),
                f64::from(f32::MAX),
                0.999_999_9,
            ]);
            let both = values.iter().flat_map(|x| [*x, -*x]);
            if ty == Type::F64 {
                let nans = [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0001, 0x7ff0_0000_0000_0001, 1, 1 << 63 | 5];
                both.map(f64::to_bits).chain(nans).collect()
            } else {
                let nans = [0x7fc0_0000, 0xffc0_0001, 0x7f80_0001, 1, 0x8000_0005, 0x007f_ffff];
                both.map(|x| u64::from((x as f32).to_bits())).chain(nans).collect()
            }
        }
    }
}

fn as_const(ty: Type, bits: u64) -> Const {
    match ty {
        Type::I64 => Const::I64(bits),
        Type::F32 => Const::F32(bits as u32),
        Type::F64 => Const::F64(bits),
        _ => Const::I32(bits as u32),
    }
}

/// A kernel that applies `op` to operands from the first buffer (or constants) and stores the result in the second.
/// A NaN that was computed is stored as one fixed NaN: which one it is, Wasm leaves open.
fn kernel(op: WasmOp, constants: [Option<u64>; 2]) -> (Function, Shape) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (from, to) = (k.pointer(0), k.pointer(1));
    let mut args = Vec::new();
    for (index, ty) in op.params().iter().enumerate() {
        args.push(match constants[index] {
            Some(bits) => k.constant(as_const(*ty, bits)),
            None => k.load(access(*ty, 8 * index as u32), from),
        });
    }
    let mut result = k.wasm(op, &args);
    let ty = op.result();
    if ty.is_float() {
        let nan = k.constant(if ty == Type::F64 { Const::F64(0x7ff8 << 48) } else { Const::F32(0x7fc0_0000) });
        let is_nan = k.wasm(if ty == Type::F64 { WasmOp::F64Ne } else { WasmOp::F32Ne }, &[result, result]);
        result = k.select(nan, result, is_nan);
    }
    k.store(access(ty, 0), to, result);
    (k.finish(), shape)
}

fn operands(op: WasmOp) -> Vec<[u64; 2]> {
    let first = edges(op.params()[0]);
    match op.params().get(1) {
        None => first.iter().map(|a| [*a, 0]).collect(),
        Some(ty) => edges(*ty).iter().flat_map(|b| first.iter().map(|a| [*a, *b])).collect(),
    }
}

fn inputs(shape: &Shape, [a, b]: [u64; 2]) -> wavelift_translator::ir::interpret::Space {
    space(shape, &[[a.to_le_bytes(), b.to_le_bytes()].concat(), vec![0; 8]])
}

#[test]
fn every_operator_keeps_its_meaning() {
    for options in all_options() {
        for op in WasmOp::ALL {
            let (function, shape) = kernel(*op, [None; 2]);
            let lowered = lowered(&function, &shape, &options).unwrap();
            for operands in operands(*op) {
                check_lowered(&function, &lowered, &shape, &inputs(&shape, operands), 0);
            }
        }
    }
}

#[test]
fn constant_operands_keep_the_meaning() {
    for options in all_options() {
        for op in WasmOp::ALL {
            let few = |ty: &Type| edges(*ty).into_iter().step_by(if ty.is_float() { 4 } else { 1 });
            let (first, second) = (&op.params()[0], op.params().get(1));
            for a in few(first) {
                let (function, shape) = kernel(*op, [Some(a), None]);
                let lowered = lowered(&function, &shape, &options).unwrap();
                for b in second.map_or(vec![0], |ty| few(ty).collect()) {
                    check_lowered(&function, &lowered, &shape, &inputs(&shape, [a, b]), 0);
                }
            }
            for b in second.map_or(Vec::new(), |ty| few(ty).collect()) {
                let (function, shape) = kernel(*op, [None, Some(b)]);
                let lowered = lowered(&function, &shape, &options).unwrap();
                for a in few(first) {
                    check_lowered(&function, &lowered, &shape, &inputs(&shape, [a, b]), 0);
                }
            }
        }
    }
}

#[test]
fn a_missing_check_is_seen() {
    for (op, operands) in [
        (WasmOp::I32DivS, [5, 0]),
        (WasmOp::I32DivS, [0x8000_0000, 0xffff_ffff]),
        (WasmOp::I64RemU, [5, 0]),
        (WasmOp::I32TruncF32S, [0x7fc0_0000, 0]),
        (WasmOp::I64TruncF64U, [(-1.0_f64).to_bits(), 0]),
    ] {
        let (function, shape) = kernel(op, [None; 2]);
        let lowered = lowered(&function, &shape, &Options::default()).unwrap();
        let space = inputs(&shape, operands);
        let before = run_wasm(&function, &shape, &space, 0);
        assert!(agree(&before, &run_lowered(&lowered, &space, 0)), "{op:?}");
        assert!(!agree(&before, &run_lowered(&without_checks(&lowered), &space, 0)), "{op:?}");
    }
}

/// A kernel that uses comparisons as conditions, as numbers, and both.
fn conditions() -> (Function, Shape) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (from, to) = (k.pointer(0), k.pointer(1));
    let a = k.load(access(Type::I32, 0), from);
    let b = k.load(access(Type::I32, 8), from);
    let less = k.wasm(WasmOp::I32LtS, &[a, b]);
    let equal = k.wasm(WasmOp::I32Eq, &[a, b]);
    let zero = k.i32(0);
    let not_less = k.wasm(WasmOp::I32Eqz, &[less]);
    let less_again = k.wasm(WasmOp::I32Ne, &[less, zero]);
    let also_not = k.wasm(WasmOp::I32Eq, &[less_again, zero]);
    let both = k.wasm(WasmOp::I32And, &[not_less, equal]);
    let either = k.wasm(WasmOp::I32Or, &[less_again, both]);
    let mixed = k.wasm(WasmOp::I32And, &[a, either]);
    let sum = k.wasm(WasmOp::I32Add, &[less, also_not]);
    let chosen = k.select(a, b, either);
    k.open();
    let mut values = vec![chosen];
    let then = k.close(&[], Exit::Yield(vec![mixed]));
    k.open();
    let otherwise = k.close(&[], Exit::Yield(vec![also_not]));
    let joined = k.value(Type::I32);
    k.push(StmtKind::If { cond: both, then, otherwise, results: vec![joined] });
    let by_number = k.select(sum, chosen, b);
    values.extend([joined, sum, mixed, by_number, both]);
    for (index, value) in values.into_iter().enumerate() {
        k.store(access(Type::I32, 4 * index as u32), to, value);
    }
    (k.finish(), shape)
}

#[test]
fn conditions_are_numbers_where_numbers_are_needed() {
    let (function, shape) = conditions();
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    for a in I32 {
        for b in I32 {
            let words = [u64::from(*a), u64::from(*b)];
            let bytes = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            check_lowered(&function, &lowered, &shape, &space(&shape, &[bytes, vec![0; 24]]), 0);
        }
    }
}

#[test]
fn a_condition_alone_is_never_made_a_number() {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let id = k.iteration();
    let ten = k.i32(10);
    let less = k.wasm(WasmOp::I32LtU, &[id, ten]);
    let not = k.wasm(WasmOp::I32Eqz, &[less]);
    let chosen = k.select(id, ten, not);
    let to = k.pointer(1);
    k.store(access(Type::I32, 0), to, chosen);
    let function = k.finish();
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    assert_eq!(count(&lowered, |op| *op == LowOp::Select), 1, "{lowered}");
    assert_eq!(count(&lowered, |op| *op == LowOp::Ne), 0, "{lowered}");
}

#[test]
fn devices_too_inexact_to_correct_are_refused_in_strict_mode_only() {
    type Refused = (WasmOp, fn(&mut Features), &'static str);
    let refused: [Refused; 4] = [
        (WasmOp::F32Div, |f| (f.exact_div_f32, f.close_f32) = (false, false), "correctly rounded `f32.div`"),
        (WasmOp::F32Sqrt, |f| (f.exact_sqrt_f32, f.close_f32) = (false, false), "correctly rounded `f32.sqrt`"),
        (WasmOp::F64Div, |f| (f.exact_div_f64, f.close_f64) = (false, false), "correctly rounded `f64.div`"),
        (WasmOp::F64Sqrt, |f| (f.exact_sqrt_f64, f.close_f64) = (false, false), "correctly rounded `f64.sqrt`"),
    ];
    for (op, change, sentence) in refused {
        let (function, shape) = kernel(op, [None; 2]);
        let options = without(change);
        let what = unsupported(&function, &shape, &options);
        assert!(what.starts_with(sentence), "{what}");
        assert!(what.contains("--float relaxed"), "{what}");
        let relaxed = Options { float: FloatMode::Relaxed, ..options };
        lowered(&function, &shape, &relaxed).unwrap();
    }
}

#[test]
fn comparisons_and_minima_are_exact_where_subnormals_are_flushed() {
    let options = without(|f| f.subnormals_f32 = false);
    for op in [WasmOp::F32Eq, WasmOp::F32Ne, WasmOp::F32Lt, WasmOp::F32Ge, WasmOp::F32Min, WasmOp::F32Max] {
        let (function, shape) = kernel(op, [None; 2]);
        let lowered = lowered(&function, &shape, &options).unwrap();
        assert_eq!(count(&lowered, |op| matches!(op, LowOp::FEq | LowOp::FLt | LowOp::FLe)), 0, "{lowered}");
        for operands in operands(op) {
            check_lowered(&function, &lowered, &shape, &inputs(&shape, operands), 0);
        }
    }
}

/// Whether some operator `of` has an operand that is the float constant 0 for all to see.
fn sees_zero(function: &Function, of: LowOp) -> bool {
    let stmts = || function.regions.iter().flat_map(|region| &region.stmts);
    let is_zero = |value: &Value| {
        stmts().any(|s| match &s.kind {
            StmtKind::Op { op: Op::Const(Const::F32(bits)), result, .. } => bits << 1 == 0 && *result == Some(*value),
            _ => false,
        })
    };
    stmts().any(|s| match &s.kind {
        StmtKind::Op { op: Op::Low(op), args, .. } => *op == of && args.iter().any(is_zero),
        _ => false,
    })
}

#[test]
fn zeros_are_hidden_from_drivers_in_strict_mode() {
    for (op, low) in [(WasmOp::F32Add, LowOp::FAdd), (WasmOp::F32Mul, LowOp::FMul), (WasmOp::F32Div, LowOp::FDiv)] {
        for zero in [0, 0x8000_0000] {
            let (function, shape) = kernel(op, [None, Some(zero)]);
            let strict = lowered(&function, &shape, &Options::default()).unwrap();
            assert!(!sees_zero(&strict, low), "{strict}");
            let relaxed = Options { float: FloatMode::Relaxed, ..Options::default() };
            assert!(sees_zero(&lowered(&function, &shape, &relaxed).unwrap(), low));
        }
    }
}

#[test]
fn shaders_that_may_be_rewritten_hide_what_was_computed() {
    let hides = |options: &Options| {
        let (function, shape) = kernel(WasmOp::F32Mul, [None; 2]);
        let zeroes = |op: &LowOp| *op == LowOp::IAdd;
        count(&lowered(&function, &shape, options).unwrap(), zeroes)
    };
    let vulkan = hides(&Options::default());
    assert!(hides(&Options { profile: Profile::Portable, ..Options::default() }) > vulkan);
    // So does a Vulkan device where rewriting can't be forbidden.
    assert!(hides(&without(|f| f.preserve_f32 = false)) > vulkan);
}

#[test]
fn constant_globals_are_constants_and_mutable_ones_start_as_at_the_launch() {
    let shape = Shape::distinct(1);
    for options in all_options() {
        let mut k = Kernel::new(&shape);
        let to = k.pointer(0);
        let seven = k.list.op(&mut k.function, Op::GlobalGet(0), &[], Type::I32);
        let zero = k.list.op(&mut k.function, Op::GlobalGet(2), &[], Type::F32);
        let sum = k.wasm(WasmOp::F32Add, &[zero, zero]);
        k.store(access(Type::I32, 0), to, seven);
        k.store(access(Type::F32, 4), to, sum);
        check(&k.finish(), &shape, &options, &space(&shape, &[vec![9; 8]]), 0);
    }
    let mut k = Kernel::new(&shape);
    let to = k.pointer(0);
    let at_launch = k.list.op(&mut k.function, Op::GlobalGet(1), &[], Type::I32);
    k.store(access(Type::I32, 4), to, at_launch);
    check(&k.finish(), &shape, &Options::default(), &space(&shape, &[vec![9; 8]]), 0);
}
