//! Which of the functions that give an operator's result leaves out most of what its operands are known not to be. What
//! each takes for granted stands at its source, `translator/emulation/normal.rs`.

use crate::analysis::float_facts::{Fact, Number, power};
use crate::ir::WasmOp;

/// A function for some operands, and how they are given to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What it takes for granted, and the operator that it stands for then.
    prefix: &'static str,
    op: WasmOp,
    /// Whether the second operand changes its sign first.
    pub negates: bool,
    /// Whether the operands change places, after that.
    pub swaps: bool,
}

impl Variant {
    /// The function's name.
    pub fn name(self) -> String {
        format!("{}.{}", self.prefix, self.op.text())
    }

    fn of(prefix: &'static str, op: WasmOp) -> Variant {
        Variant { prefix, op, negates: false, swaps: false }
    }
}

/// The least exponent of a normal `f64`, and of a normal `f32`.
const LEAST: i32 = -1022;
const LEAST_32: i32 = -126;

/// Chooses by what is known of the operands; `None` for the function that takes any.
pub fn choose(op: WasmOp, known: &[Fact]) -> Option<Variant> {
    use WasmOp::*;
    match (op, known) {
        (F64Mul, [Fact::Number(a), Fact::Number(b)]) => product(*a, *b),
        (F64Div, [Fact::Number(a), Fact::Number(b)]) => quotient(*a, *b),
        (F64Add, [Fact::Number(a), Fact::Number(b)]) => sum(*a, *b),
        (F64Sub, [Fact::Number(a), Fact::Number(b)]) => match is_near(*a, *b) {
            true => Some(Variant::of("near", F64Sub)),
            false => sum(*a, b.negated()).map(|variant| Variant { negates: true, ..variant }),
        },
        (F64Eq | F64Ne | F64Lt | F64Gt | F64Le | F64Ge, [Fact::Number(a), Fact::Number(b)]) => {
            (!a.nan && !b.nan).then_some(Variant::of("number", op))
        }
        (F64PromoteF32, [Fact::Number(a)]) if a.is_finite() => {
            Some(Variant::of(if a.step >= LEAST_32 { "normal" } else { "number" }, op))
        }
        (F32DemoteF64, [Fact::Number(a)]) if !a.nan => {
            let is_normal = a.step >= LEAST_32 && (a.greatest() as f32).is_finite();
            Some(Variant::of(if is_normal { "normal" } else { "number" }, op))
        }
        (F64ConvertI32S, [Fact::Bits(a)]) => {
            let (low, high) = a.signed_ends();
            (low >= -(1 << 24) && high <= 1 << 24).then_some(Variant::of("small", op))
        }
        (I32TruncSatF64S | I32TruncF64S, [Fact::Number(a)]) => {
            (!a.nan && a.greatest() < power(31)).then_some(Variant::of("small", I32TruncSatF64S))
        }
        (F64ConvertI32U, [Fact::Bits(a)]) if a.ends().1 <= 1 << 24 => Some(Variant::of("small", F64ConvertI32S)),
        _ => None,
    }
}

fn product(a: Number, b: Number) -> Option<Variant> {
    let is_normal = a.is_normal() && b.is_normal() && a.step + b.step >= LEAST && a.times(b).is_finite();
    let by_word = Variant::of("by_word", WasmOp::F64Mul);
    is_normal.then(|| match (a.significant, b.significant) {
        (_, ..=32) => by_word,
        (..=32, _) => Variant { swaps: true, ..by_word },
        _ => Variant::of("normal", WasmOp::F64Mul),
    })
}

fn quotient(a: Number, b: Number) -> Option<Variant> {
    let is_normal = a.is_normal() && b.is_normal() && b.least() > 0.0 && a.over(b).is_finite();
    // What is not zero is at least this, which is rounded.
    let is_large = power(a.step) / b.greatest() >= power(LEAST + 2);
    (is_normal && is_large).then_some(Variant::of("normal", WasmOp::F64Div))
}

fn sum(a: Number, b: Number) -> Option<Variant> {
    // A sum of multiples of normal numbers is one.
    if !a.is_normal() || !b.is_normal() || !a.plus(b).is_finite() {
        return None;
    }
    let add = |prefix| Variant::of(prefix, WasmOp::F64Add);
    for (large, small, swaps) in [(a, b, false), (b, a, true)] {
        let found = if is_to_place(large, small) {
            add("to_place")
        } else if small.greatest() <= large.least() / 2.0 && large.least() > 0.0 {
            add("small")
        } else if small.greatest() <= large.least() {
            add("lesser")
        } else {
            continue;
        };
        return Some(Variant { swaps, ..found });
    }
    Some(add("normal"))
}

/// Whether a sum has a number's exponent, and what is added is less than 2^29 units in that
/// number's last place. The sum's ends are rounded: what is rounded up to the least of that exponent is nearer to it than
/// to the number before it.
fn is_to_place(number: Number, added: Number) -> bool {
    /// The function counts exponent fields down from that of the number.
    const LOWEST: i32 = -900;
    let Some(exponent) = number.only_exponent().filter(|exponent| *exponent >= LOWEST) else { return false };
    let sum = number.plus(added);
    let (sum, is_one_sign) = match number.low > 0.0 {
        true => (sum, sum.low > 0.0),
        false => (sum.negated(), sum.high < 0.0),
    };
    let (low, high) = (power(exponent), power(exponent + 1));
    is_one_sign && sum.low >= low && sum.high < high && added.greatest() < power(exponent - 52 + 29)
}

/// Whether two numbers are of one sign and exponent and less than 2^24 units in their last place apart.
fn is_near(a: Number, b: Number) -> bool {
    let Some(exponent) = a.only_exponent().filter(|_| a.is_finite() && b.is_finite()) else { return false };
    let is_one_sign = (a.low > 0.0) == (b.low > 0.0);
    let apart = a.plus(b.negated()).greatest();
    let unit = exponent - 52;
    b.only_exponent() == Some(exponent) && is_one_sign && unit >= LEAST && apart < power(unit + 24)
}
