//! A kernel for each operator: it applies it to many loaded operands in a loop and folds the results into one word.

use anyhow::Result;
use wavelift::translator::Module;
use wavelift::translator::ir::{Type, WasmOp};

use crate::Case;

/// Invocations, and applications in each.
const INVOCATIONS: u32 = 1 << 14;
const APPLICATIONS: u32 = 256;
/// Operands of each side.
const OPERANDS: u32 = 1024;

/// The loop alone, then the operators with a 64-bit operand or result that are no mere move of bits.
pub fn cases() -> Result<Vec<Case>> {
    let is_wide = |ty: &Type| matches!(ty, Type::I64 | Type::F64);
    let wanted = |op: &&WasmOp| {
        let truncates = op.can_trap() && op.text().contains("trunc");
        (is_wide(&op.result()) || op.params().iter().any(is_wide)) && !truncates && !op.text().contains("reinterpret")
    };
    let mut cases = vec![case("(the loop alone)", "", &[Type::I64], Type::I64)?];
    for op in WasmOp::ALL.iter().filter(wanted) {
        cases.push(case(op.text(), op.text(), op.params(), op.result())?);
    }
    Ok(cases)
}

fn case(name: &str, op: &str, params: &[Type], result: Type) -> Result<Case> {
    let divides = name.contains("i64.div") || name.contains("i64.rem");
    let load = |(side, ty): (usize, &Type)| {
        let load = format!("({ty}.load (i32.add (local.get {}) (local.get $at)))", ["$a", "$b"][side]);
        // Of numbers below zero, any NaN is right.
        if name == "f64.sqrt" {
            format!("(f64.abs {load})")
        } else if side == 1 && divides {
            format!("(i64.or {load} (i64.const 1))")
        } else {
            load
        }
    };
    let loads: String = params.iter().enumerate().map(load).collect();
    let value = if op.is_empty() { loads } else { format!("({op} {loads})") };
    let value = match result {
        Type::F32 => format!("(i32.reinterpret_f32 {value})"),
        Type::F64 => format!("(i64.reinterpret_f64 {value})"),
        _ => value,
    };
    let word = match result {
        Type::I64 | Type::F64 => format!(
            "(local.set $value {value})
             (i32.xor (i32.wrap_i64 (local.get $value)) (i32.wrap_i64 (i64.shr_u (local.get $value) (i64.const 32))))"
        ),
        _ => value,
    };
    let text = format!(
        "(module (memory 1)
          (func $kernel (param $i i32) (param i32 i32) (param $a i32) (param i32) (param $b i32) (param i32)
              (param $out i32) (param i32) (local $k i32) (local $at i32) (local $sum i32) (local $value i64)
            (loop $again
              (local.set $at (i32.shl (i32.and (i32.add (local.get $i) (local.get $k)) (i32.const {})) (i32.const 3)))
              {word}
              (i32.rotl (local.get $sum) (i32.const 1)) i32.xor local.set $sum
              (local.set $k (i32.add (local.get $k) (i32.const 1)))
              (br_if $again (i32.lt_u (local.get $k) (i32.const {APPLICATIONS}))))
            (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))))",
        OPERANDS - 1
    );
    let buffers = vec![operands(params[0], 1), operands(*params.last().unwrap_or(&Type::I64), 2), results()];
    let module = Module::parse(wat::parse_str(text)?)?;
    Ok(Case { name: name.into(), module, kernel: 0, iterations: INVOCATIONS, buffers, memory: vec![0; 0x1_0000] })
}

fn results() -> Vec<u8> {
    vec![0; 4 * INVOCATIONS as usize]
}

/// Integers of any bits; floats from 2^-16 to 2^15, some below zero.
fn operands(ty: Type, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let float = |bits: u64| {
        let magnitude = ((bits >> 12) as f64 / (1u64 << 52) as f64 + 1.0) * f64::from((bits & 31) as i32 - 16).exp2();
        if bits & 0x300 == 0x300 { -magnitude } else { magnitude }
    };
    let bytes = |_| match ty {
        Type::F32 => u64::from((float(next()) as f32).to_bits()).to_le_bytes(),
        Type::F64 => float(next()).to_bits().to_le_bytes(),
        _ => next().to_le_bytes(),
    };
    (0..OPERANDS).flat_map(bytes).collect()
}
