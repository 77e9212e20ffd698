//! One operator a kernel: invocation `i` loads its operands from element `i` of a buffer each, and stores the result.
//! Operands are all pairs of the edges of their types, and random ones. Rows that trap run one by one.

use std::fmt::Write;

use wavelift::device::Access;
use wavelift_translator::ir::{Type, WasmOp};

use crate::case::{BufferShape, Case, End, Lanes, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::{self, Random};

/// Random rows of each operator.
const RANDOM_ROWS: usize = 256;
/// Launches of an operator that trap.
const TRAPPING_RUNS: usize = 40;

/// All operators whose name starts with that of a type.
pub fn cases(ty: &str) -> Vec<Case> {
    let named = |op: &&WasmOp| op.text().split('.').next() == Some(ty);
    let ops: Vec<&WasmOp> = WasmOp::ALL.iter().filter(named).collect();
    assert!(ops.len() > 20, "the operator table has lost most of {ty}");
    ops.into_iter().map(|op| one(*op)).collect()
}

/// One operator.
pub fn one(op: WasmOp) -> Case {
    case(op.text(), op.params(), op.result(), lanes(op))
}

/// `select` of each type.
pub fn selects() -> Vec<Case> {
    let types = [Type::I32, Type::I64, Type::F32, Type::F64];
    types.into_iter().map(|ty| case("select", &[ty, ty, Type::I32], ty, Lanes::Bits)).collect()
}

/// How results are compared: operators that are defined on bits give exact ones even for NaNs.
fn lanes(op: WasmOp) -> Lanes {
    use WasmOp::*;
    let on_bits = matches!(
        op,
        F32Abs | F32Neg | F32Copysign | F64Abs | F64Neg | F64Copysign | F32ReinterpretI32 | F64ReinterpretI64
    );
    match op.result() {
        Type::F32 if !on_bits => Lanes::F32,
        Type::F64 if !on_bits => Lanes::F64,
        _ => Lanes::Bits,
    }
}

type Row = Vec<u64>;

fn case(op: &str, params: &[Type], result: Type, lanes: Lanes) -> Case {
    let rows = rows(params);
    let count = rows.len() as u32;
    let mut buffers: Vec<BufferShape> = params.iter().map(|ty| BufferShape::bits(count * values::size(*ty))).collect();
    buffers.push(BufferShape { size: count * values::size(result), access: Access::ReadWrite, lanes });
    let program = Program::new(text(op, params, result), buffers);
    let runs = runs(&program, params, &rows).unwrap_or_else(|error| panic!("{op}: {error}"));
    Case { program, runs, exact_bounds: false }
}

fn rows(params: &[Type]) -> Vec<Row> {
    let mut random = Random(params.len() as u64);
    let mut rows: Vec<Row> = vec![Vec::new()];
    for (number, ty) in params.iter().enumerate() {
        // `select` takes all pairs by two conditions.
        let edges = if number == 2 { vec![0, 0x8000_0000] } else { values::edges(*ty) };
        rows = rows.iter().flat_map(|row| edges.iter().map(|value| [row.as_slice(), &[*value]].concat())).collect();
    }
    for _ in 0..RANDOM_ROWS {
        rows.push(params.iter().map(|ty| random.bits(*ty)).collect());
    }
    rows
}

fn text(op: &str, params: &[Type], result: Type) -> String {
    let element = |pointer: &str, ty: Type| {
        format!("local.get {pointer} local.get $i i32.const {} i32.mul i32.add", values::size(ty))
    };
    let (mut list, mut body) = (String::new(), String::new());
    for (number, ty) in params.iter().enumerate() {
        let _ = write!(list, "(param $p{number} i32) (param i32) ");
        let _ = writeln!(body, "{} {}.load", element(&format!("$p{number}"), *ty), values::name(*ty));
    }
    format!(
        "(module (memory (export \"memory\") 1)\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) {list}(param $out i32) (param i32)\n\
         {}\n{body}{op}\n{}.store)\n(table 1 funcref) (elem (i32.const 0) $kernel))",
        element("$out", result),
        values::name(result)
    )
}

/// All rows that give a value in one launch; then launches with a row that traps among others, and one with all rows.
fn runs(program: &Program, params: &[Type], rows: &[Row]) -> Result<Vec<Run>, String> {
    let mut wasmtime = PlainWasmtime::new(program)?;
    let mut run = |rows: &[&Row]| -> Result<Run, String> {
        let column = |(number, ty): (usize, &Type)| {
            let mut bytes = values::bytes(*ty, rows.iter().map(|row| row[number]));
            bytes.resize(program.buffers[number].size as usize, 0);
            bytes
        };
        let mut contents: Vec<Vec<u8>> = params.iter().enumerate().map(column).collect();
        // What a launch before left there must not look like a result.
        contents.push(vec![0xa5; program.buffers[params.len()].size as usize]);
        let iterations = rows.len() as u32;
        let expected = wasmtime.run(&contents, iterations)?;
        Ok(Run { contents, iterations, expected })
    };
    let all = run(&rows.iter().collect::<Vec<_>>())?;
    if let End::Done(_) = all.expected {
        return Ok(vec![all]);
    }
    let (mut good, mut bad): (Vec<&Row>, Vec<&Row>) = (Vec::new(), Vec::new());
    for row in rows {
        match run(&[row])?.expected {
            End::Trapped(_) => bad.push(row),
            _ => good.push(row),
        }
    }
    let mut runs = vec![run(&good)?];
    let step = bad.len().div_ceil(TRAPPING_RUNS).max(1);
    for (number, row) in bad.iter().step_by(step).enumerate() {
        // One after 0 to 2 rows that don't trap, and another one after it.
        let mut rows = good[..number % 3].to_vec();
        rows.extend([*row, good[0], bad[number * 7 % bad.len()]]);
        runs.push(run(&rows)?);
    }
    runs.push(all);
    Ok(runs)
}
