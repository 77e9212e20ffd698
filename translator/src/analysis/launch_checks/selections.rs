//! Arms of selections, each for what the condition says where it is chosen.
//!
//! `x < 0 ? 0 : x` is never negative, but a range of `x` does not say so: where the second arm is chosen it is `max(x, 0)`. So each
//! arm is computed anew, from the operands of the comparison as the lesser and the greater of the two. Compilers write what keeps an
//! index inside an image this way.

use super::Defs;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Const, Function, LowOp, Op, Value};

/// Most operators between an arm and an operand of the comparison.
const MAX_DEPTH: u32 = 8;

/// Changes the definitions of selections.
pub(super) fn define(function: &mut Function, defs: &mut Defs) {
    let is_selection =
        |(value, (op, _)): (&Value, &(Op, Vec<Value>))| (*op == Op::Low(LowOp::Select)).then_some(*value);
    // Arms are selections, too, and have lower numbers.
    let mut selections: Vec<Value> = defs.iter().filter_map(is_selection).collect();
    selections.sort_unstable();
    for selection in selections {
        let args = defs[&selection].1.clone();
        let Some((op, [x, y])) = comparison(defs, args[0]) else { continue };
        let is_signed = matches!(op, LowOp::SLt | LowOp::SLe);
        let is_strict = matches!(op, LowOp::SLt | LowOp::ULt);
        let arm = |function: &mut Function, defs: &mut Defs, arm, ordered: (Value, Value), is_strict| {
            let mut narrowed = narrowed(function, defs, ordered, is_signed, is_strict);
            replaced(function, defs, arm, &mut narrowed, MAX_DEPTH)
        };
        let then = arm(function, defs, args[1], (x, y), is_strict);
        let otherwise = arm(function, defs, args[2], (y, x), !is_strict);
        defs.insert(selection, (Op::Low(LowOp::Select), vec![args[0], then, otherwise]));
    }
}

/// The comparison of which a condition is the result, whose first operand is less than the second or equal to it where it holds, and
/// the other way round where it does not.
fn comparison(defs: &Defs, condition: Value) -> Option<(LowOp, [Value; 2])> {
    let (Op::Low(op @ (LowOp::SLt | LowOp::SLe | LowOp::ULt | LowOp::ULe)), args) = defs.get(&condition)? else {
        return None;
    };
    Some((*op, [args[0], args[1]]))
}

/// What stands for two values where the first is less than the second, or may also be equal to it: the same, within bounds.
fn narrowed(
    function: &mut Function,
    defs: &mut Defs,
    (lesser, greater): (Value, Value),
    is_signed: bool,
    is_strict: bool,
) -> HashMap<Value, Value> {
    let (min, max) = if is_signed { (LowOp::SMin, LowOp::SMax) } else { (LowOp::UMin, LowOp::UMax) };
    let mut found = HashMap::new();
    for (value, other, bound, one) in [(lesser, greater, min, LowOp::ISub), (greater, lesser, max, LowOp::IAdd)] {
        if matches!(defs.get(&value), Some((Op::Const(_), _))) {
            continue;
        }
        let mut limit = other;
        if is_strict {
            let step = super::define(function, defs, value, Op::Const(Const::I32(1)), Vec::new());
            limit = super::define(function, defs, value, Op::Low(one), vec![other, step]);
        }
        found.insert(value, super::define(function, defs, value, Op::Low(bound), vec![value, limit]));
    }
    found
}

/// A value, computed from others where these stand for those that it was computed from.
fn replaced(
    function: &mut Function,
    defs: &mut Defs,
    value: Value,
    narrowed: &mut HashMap<Value, Value>,
    depth: u32,
) -> Value {
    if let Some(known) = narrowed.get(&value) {
        return *known;
    }
    let Some((op, args)) = defs.get(&value).cloned().filter(|(op, _)| depth > 0 && !matches!(op, Op::Const(_))) else {
        return value;
    };
    let others: Vec<Value> = args.iter().map(|arg| replaced(function, defs, *arg, narrowed, depth - 1)).collect();
    let other = if others == args { value } else { super::define(function, defs, value, op, others) };
    // At a lesser depth it might not be found.
    narrowed.insert(value, other);
    other
}
