//! Remainders, and multiples, as compilers write them where they need both a quotient and a remainder: as `x - x / n * n`, of which
//! a range does not say that it is less than `n`, and `x - x % n`, of which none says that it is never negative.

use super::Defs;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Function, LowOp, Op, Value};

/// Defines these as `x % n` and `x / n * n`.
pub(super) fn define(function: &mut Function, defs: &mut Defs) {
    let mut found: HashMap<Value, Found> = HashMap::new();
    found.extend(defs.keys().filter_map(|value| Some((*value, find(defs, *value)?))));
    for (value, Found { division, x, n, is_multiple }) in found {
        let op = match is_multiple {
            false => Op::Low(remainder_of(division)),
            true => Op::Low(LowOp::IMul),
        };
        let args = match is_multiple {
            false => vec![x, n],
            true => {
                let quotient = super::define(function, defs, x, Op::Low(division), vec![x, n]);
                vec![quotient, n]
            }
        };
        defs.insert(value, (op, args));
    }
}

/// `x - x / n * n` or, as a multiple, `x - x % n`.
struct Found {
    division: LowOp,
    x: Value,
    n: Value,
    is_multiple: bool,
}

fn remainder_of(division: LowOp) -> LowOp {
    if division == LowOp::SDiv { LowOp::SRem } else { LowOp::URem }
}

fn find(defs: &Defs, value: Value) -> Option<Found> {
    let low = |value: Value| match defs.get(&value)? {
        (Op::Low(op), args) => Some((*op, &args[..])),
        _ => None,
    };
    let (LowOp::ISub, [x, taken]) = low(value)? else { return None };
    let (op, of) = low(*taken)?;
    let [first, second] = *of else { return None };
    for division in [LowOp::UDiv, LowOp::SDiv] {
        if op == remainder_of(division) && first == *x {
            return Some(Found { division, x: *x, n: second, is_multiple: true });
        }
        for (quotient, n) in [(first, second), (second, first)] {
            if op == LowOp::IMul && low(quotient) == Some((division, &[*x, n])) {
                return Some(Found { division, x: *x, n, is_multiple: false });
            }
        }
    }
    None
}
