//! Keeps float constants that came about late from drivers.
//!
//! Drivers rewrite `x + 0`, `x * 0` and `x * 1` in ways that strict floats forbid, so that [`lower`](super::lower) has such constants
//! known at run time only. Bits that turn out to be constant after that, as those of an integer that is stored on the stack and loaded as
//! a float are, would make one that drivers see.

use crate::analysis::dataflow;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Function, LowOp, Op, StmtKind, Type, Value};
use crate::options::immediate;

/// Hides them in a lowered function of strict floats; doubles where there are integers of 64 bits.
pub fn hide_floats(function: &mut Function, has_i64: bool) {
    let mut found = constants_in_arithmetic(function);
    found.retain(|(_, constant)| has_i64 || constant.ty() != Type::F64);
    if found.is_empty() {
        return;
    }
    let mut list = ListBuilder::new(function.region(function.body).exit_at);
    let zero = list.low(function, LowOp::Immediate(immediate::ZERO), &[], Type::I32);
    let has_wide = found.iter().any(|(_, constant)| constant.ty() == Type::F64);
    let wide_zero = has_wide.then(|| list.low(function, LowOp::ExtendU, &[zero], Type::I64));
    let mut hidden: HashMap<Const, Value> = HashMap::new();
    let mut names: HashMap<Value, Value> = HashMap::new();
    for (value, constant) in found {
        let name = *hidden.entry(constant).or_insert_with(|| {
            let (bits, zero) = match constant {
                Const::F64(bits) => (Const::I64(bits), wide_zero.unwrap_or(zero)),
                Const::F32(bits) => (Const::I32(bits), zero),
                other => (other, zero),
            };
            let known = list.constant(function, bits);
            let sum = list.low(function, LowOp::IAdd, &[known, zero], bits.ty());
            list.low(function, LowOp::Bitcast(constant.ty()), &[sum], constant.ty())
        });
        names.insert(value, name);
    }
    function.uses_mut().for_each(|value| *value = names.get(value).copied().unwrap_or(*value));
    let body = function.body;
    function.region_mut(body).stmts.splice(0..0, list.stmts);
}

/// Values that are constants with which drivers rewrite float arithmetic, and that it has as operands, or that are selected or leave a
/// region on the way there.
fn constants_in_arithmetic(function: &Function) -> Vec<(Value, Const)> {
    let constants = dataflow::constants(function);
    let (mut reach, mut found) = (HashSet::new(), Vec::new());
    for id in dataflow::regions(function) {
        let region = function.region(id);
        reach.extend(region.exit.values().iter().copied());
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Loop { inits, .. } => reach.extend(inits.iter().copied()),
                StmtKind::Op { op: Op::Low(LowOp::Select), args, .. } => reach.extend(args[1..].iter().copied()),
                StmtKind::Op { op: Op::Low(op), args, .. } if is_arithmetic(*op) => reach.extend(args.iter().copied()),
                _ => {}
            }
            let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind else { continue };
            let constant = match op {
                Op::Const(constant) => Some(*constant),
                Op::Low(LowOp::Bitcast(ty)) => match (constants[args[0].index()], ty) {
                    (Some(Const::I32(bits)), Type::F32) => Some(Const::F32(bits)),
                    (Some(Const::I64(bits)), Type::F64) => Some(Const::F64(bits)),
                    _ => None,
                },
                _ => None,
            };
            found.extend(constant.filter(|constant| is_rewritten_with(*constant)).map(|constant| (*result, constant)));
        }
    }
    found.retain(|(value, _)| reach.contains(value));
    found
}

fn is_arithmetic(op: LowOp) -> bool {
    matches!(op, LowOp::FAdd | LowOp::FSub | LowOp::FMul | LowOp::FDiv)
}

/// Whether drivers rewrite operators with this constant so that the result can change: `x + 0` to `x`, `x * 0` to 0,
/// and `x * 1` to `x` even if that is a signalling NaN.
pub fn is_rewritten_with(constant: Const) -> bool {
    match constant {
        Const::F32(x) => x << 1 == 0 || f32::from_bits(x).abs() == 1.0,
        Const::F64(x) => x << 1 == 0 || f64::from_bits(x).abs() == 1.0,
        _ => false,
    }
}
