//! Random straight-line kernels: operators of all types that don't trap, each on earlier results.

use std::fmt::Write;

use wavelift_translator::ir::{Type, WasmOp};

use crate::values::{self, Random};

pub const TYPES: [Type; 4] = [Type::I32, Type::I64, Type::F32, Type::F64];

/// Inputs of each type that an invocation loads, and results of each type that it stores.
pub const INPUTS: u32 = 2;

/// A module whose kernel has a buffer of inputs and one of results for each of [`TYPES`], in this order.
pub fn module(random: &mut Random, operators: usize) -> String {
    let ops: Vec<WasmOp> = WasmOp::ALL.iter().copied().filter(|op| !op.can_trap()).collect();
    let mut locals = String::new();
    let mut body = String::new();
    let mut pools: Vec<Vec<String>> = vec![Vec::new(); TYPES.len()];
    for (number, ty) in TYPES.into_iter().enumerate() {
        for input in 0..INPUTS {
            let local = format!("$v{number}_{input}");
            let _ = write!(locals, "(local {local} {}) ", values::name(ty));
            let _ = writeln!(
                body,
                "{} {}.load offset={} local.set {local}",
                row(&format!("$in{number}"), ty),
                values::name(ty),
                input * values::size(ty)
            );
            pools[number].push(local);
        }
    }
    for number in 0..operators {
        let op = *random.choose(&ops);
        let result = index(op.result());
        let operands: Vec<String> = op.params().iter().map(|ty| operand(random, &pools[index(*ty)])).collect();
        let local = format!("$r{number}");
        let _ = write!(locals, "(local {local} {}) ", values::name(op.result()));
        let _ = writeln!(body, "{} local.set {local}", apply(op, &operands));
        pools[result].push(local);
    }
    for (number, ty) in TYPES.into_iter().enumerate() {
        for (slot, local) in pools[number].iter().rev().take(INPUTS as usize).enumerate() {
            let offset = slot as u32 * values::size(ty);
            let _ = writeln!(
                body,
                "{} local.get {local} {}.store offset={offset}",
                row(&format!("$out{number}"), ty),
                values::name(ty)
            );
        }
    }
    let list =
        |name: &str| (0..TYPES.len()).map(|n| format!("(param ${name}{n} i32) (param i32) ")).collect::<String>();
    format!(
        "(module (memory (export \"memory\") 1)\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) {}{}{locals}\n{body})\n\
         (table 1 funcref) (elem (i32.const 0) $kernel))",
        list("in"),
        list("out")
    )
}

fn index(ty: Type) -> usize {
    TYPES.iter().position(|t| *t == ty).expect("one of Wasm's types")
}

/// Where an invocation's part of a buffer begins.
fn row(pointer: &str, ty: Type) -> String {
    format!("local.get {pointer} local.get $i i32.const {} i32.mul i32.add", INPUTS * values::size(ty))
}

/// A recent value more often than an old one.
fn operand(random: &mut Random, pool: &[String]) -> String {
    let back = random.below(pool.len()).min(random.below(pool.len()));
    format!("local.get {}", pool[pool.len() - 1 - back])
}

/// The operator on its operands. The sign and payload of a NaN are not Wasm's to say, so where they would become
/// visible as bits, a NaN is replaced first.
fn apply(op: WasmOp, operands: &[String]) -> String {
    let tame = |operand: &str, ty: Type| {
        let ty = values::name(ty);
        format!("{operand} {ty}.const 1 {operand} {operand} {ty}.eq select")
    };
    let mut operands = operands.to_vec();
    match op {
        WasmOp::I32ReinterpretF32 | WasmOp::I64ReinterpretF64 => operands[0] = tame(&operands[0], op.params()[0]),
        WasmOp::F32Copysign | WasmOp::F64Copysign => operands[1] = tame(&operands[1], op.params()[1]),
        _ => {}
    }
    format!("{} {}", operands.join(" "), op.text())
}
