//! Values as sums of others, modulo 2^32, so that what two of them have in common cancels out.
//!
//! A loop's pointer and the count of what is left go on in lockstep: `p + n` stays what it was. A sum that holds exactly
//! (`p = p0 + n0 - n`) stands for the value wherever that is used; one that holds up to an interval, as where branches
//! meet, is only looked at when an interval is wanted.

use super::Walker;
use super::interval::{MAX, MIN, Range};
use crate::ir::{Const, Op, Type, Value, WasmOp};

/// Most values of a sum; a longer one is a value of its own.
const MAX_TERMS: usize = 4;
/// Greatest factor.
const MAX_FACTOR: i64 = 1 << 16;
/// How often sums that hold up to an interval are put in.
const MAX_DEPTH: u32 = 2;

/// A sum of values, each some times (by value; never 0 times), and a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Linear {
    pub(super) terms: Vec<(Value, i64)>,
    pub(super) constant: i64,
}

/// What a value is up to an interval.
#[derive(Clone, Debug)]
pub(super) struct Near {
    pub(super) sum: Linear,
    pub(super) low: i64,
    pub(super) high: i64,
}

impl Linear {
    pub(super) fn of(value: Value) -> Linear {
        Linear { terms: vec![(value, 1)], constant: 0 }
    }

    fn number(constant: i64) -> Linear {
        Linear { terms: Vec::new(), constant }
    }

    /// `self + factor * other`, if that is a short sum.
    pub(super) fn plus(&self, other: &Linear, factor: i64) -> Option<Linear> {
        let mut sum = self.clone();
        for (value, times) in &other.terms {
            let added = times * factor;
            match sum.terms.binary_search_by_key(value, |term| term.0) {
                Ok(at) => sum.terms[at].1 += added,
                Err(at) => sum.terms.insert(at, (*value, added)),
            }
        }
        sum.terms.retain(|term| term.1 != 0);
        // All is modulo 2^32.
        sum.constant = i64::from((sum.constant + other.constant * factor) as i32);
        let is_short = sum.terms.len() <= MAX_TERMS && sum.terms.iter().all(|term| term.1.abs() <= MAX_FACTOR);
        is_short.then_some(sum)
    }
}

impl Walker<'_> {
    /// A value as a sum.
    pub(super) fn linear(&self, value: Value) -> Linear {
        self.linears[value.index()].clone().unwrap_or_else(|| Linear::of(value))
    }

    /// Whether a value is no sum of others.
    pub(super) fn is_plain(&self, value: Value) -> bool {
        self.linears[value.index()].is_none()
    }

    /// Whether all values of a sum are of regions that are open.
    pub(super) fn is_open(&self, sum: &Linear) -> bool {
        sum.terms.iter().all(|(value, _)| self.open[self.homes[value.index()].index()])
    }

    /// The sum that an operator gives, where it gives one.
    pub(super) fn sum_of(&self, op: &Op, args: &[Value]) -> Option<Linear> {
        match op {
            Op::Const(Const::I32(number)) => Some(Linear::number(i64::from(*number as i32))),
            Op::Wasm(WasmOp::I32Add) => self.linear(args[0]).plus(&self.linear(args[1]), 1),
            Op::Wasm(WasmOp::I32Sub) => self.linear(args[0]).plus(&self.linear(args[1]), -1),
            Op::Wasm(WasmOp::I32Shl) => {
                let amount = self.constant(args[1]).filter(|amount| (0..16).contains(amount))?;
                Linear::default().plus(&self.linear(args[0]), 1 << amount)
            }
            Op::Wasm(WasmOp::I32Mul) => {
                let factor = self.constant(args[1]).filter(|factor| factor.abs() <= MAX_FACTOR)?;
                Linear::default().plus(&self.linear(args[0]), factor)
            }
            _ => None,
        }
    }

    /// What is known of a value here, of itself and as a sum.
    pub(super) fn refined(&self, value: Value) -> Range {
        let known = self.known(value);
        if self.function.ty(value) != Type::I32 {
            return known;
        }
        match &self.linears[value.index()] {
            Some(sum) => known.meet(self.interval(sum, MAX_DEPTH)),
            None if self.near.contains_key(&value) => known.meet(self.interval(&Linear::of(value), MAX_DEPTH)),
            None => known,
        }
    }

    /// Where a sum lies.
    pub(super) fn interval(&self, sum: &Linear, depth: u32) -> Range {
        let mut found = self.total(sum);
        if depth == 0 {
            return found;
        }
        for (value, factor) in &sum.terms {
            for near in self.near.get(value).into_iter().flatten() {
                let Some(put_in) =
                    sum.plus(&Linear::of(*value), -factor).and_then(|rest| rest.plus(&near.sum, *factor))
                else {
                    continue;
                };
                let around = self.interval(&put_in, depth - 1);
                let (a, b) = (near.low * factor, near.high * factor);
                let (low, high) = (around.low + a.min(b), around.high + a.max(b));
                found = found.meet(Range { low, high, clear: 0, ..around }.checked());
            }
        }
        found
    }

    /// The sum of the intervals.
    fn total(&self, sum: &Linear) -> Range {
        let (mut low, mut high, mut stack) = (sum.constant, sum.constant, 0);
        for (value, factor) in &sum.terms {
            let range = self.known(*value);
            let (a, b) = (range.low * factor, range.high * factor);
            low += a.min(b);
            high += a.max(b);
            stack += if range.stack { *factor } else { 0 };
        }
        // The same modulo 2^32, so that it starts within an `i32`.
        let turns = (low - MIN).div_euclid(1 << 32) << 32;
        match stack {
            0 | 1 if high - low <= MAX - MIN => {
                Range { stack: stack == 1, low: low - turns, high: high - turns, clear: 0 }.checked()
            }
            _ => Range::ANY,
        }
    }
}
