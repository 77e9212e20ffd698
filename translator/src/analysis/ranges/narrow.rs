//! What conditions say of the values that they compare.

use super::Walker;
use super::interval::{MAX, MIN, Range};
use super::linear::Linear;
use crate::ir::{Op, Type, Value, WasmOp};

impl Walker<'_> {
    /// Notes what follows for the values that a condition compares; false if it can't be.
    pub(super) fn narrow(&mut self, cond: Value, holds: bool) -> bool {
        self.is_impossible = false;
        self.note(cond, holds);
        !std::mem::take(&mut self.is_impossible)
    }

    fn note(&mut self, cond: Value, holds: bool) {
        use WasmOp::*;
        let Some((Op::Wasm(op), args)) = self.defs[cond.index()].filter(|_| self.is_compared(cond)) else {
            return self.narrow_number(cond, holds);
        };
        let is = |value: Value, number: i64| self.known(value) == Range::exactly(number);
        match (*op, args) {
            (I32Eqz, [a]) => return self.note(*a, !holds),
            (I32Ne, [a, b]) if is(*b, 0) && self.is_condition(*a) => return self.note(*a, holds),
            (I32Eq, [a, b]) if is(*b, 0) && self.is_condition(*a) => return self.note(*a, !holds),
            (I32And, [a, b]) if is(*b, 1) && self.is_condition(*a) => return self.note(*a, holds),
            (I32And, [a, b]) if holds && self.is_condition(*a) && self.is_condition(*b) => {
                self.note(*a, true);
                return self.note(*b, true);
            }
            (I32Or, [a, b]) if !holds => {
                self.note(*a, false);
                return self.note(*b, false);
            }
            _ => {}
        }
        let [a, b] = args else { return };
        // As `less(x, y)` or `less or equal`, signed or not.
        let (x, y, strict, signed) = match (*op, holds) {
            (I32LtS, true) | (I32GeS, false) => (*a, *b, true, true),
            (I32GtS, true) | (I32LeS, false) => (*b, *a, true, true),
            (I32LeS, true) | (I32GtS, false) => (*a, *b, false, true),
            (I32GeS, true) | (I32LtS, false) => (*b, *a, false, true),
            (I32LtU, true) | (I32GeU, false) => (*a, *b, true, false),
            (I32GtU, true) | (I32LeU, false) => (*b, *a, true, false),
            (I32LeU, true) | (I32GtU, false) => (*a, *b, false, false),
            (I32GeU, true) | (I32LtU, false) => (*b, *a, false, false),
            (I32Eq, true) | (I32Ne, false) => return self.narrow_equal(*a, *b),
            (I32Ne, true) | (I32Eq, false) => {
                self.narrow_apart(*a, *b);
                return self.narrow_apart(*b, *a);
            }
            _ => return,
        };
        let (of_x, of_y) = (self.refined(x), self.refined(y));
        if of_x.stack || of_y.stack {
            return;
        }
        let gap = i64::from(strict);
        if signed || (of_x.low >= 0 && of_y.low >= 0) {
            self.set_narrow(x, Range { high: of_x.high.min(of_y.high - gap), ..of_x });
            self.set_narrow(y, Range { low: of_y.low.max(of_x.low + gap), ..of_y });
        } else if of_y.low >= 0 {
            // Unsigned and less than what is not negative: not negative either.
            self.set_narrow(x, Range { low: of_x.low.max(0), high: of_x.high.min(of_y.high - gap), ..of_x });
        }
    }

    /// Whether a value says how others compare; else it is a number that is tested for zero.
    fn is_compared(&self, value: Value) -> bool {
        match self.defs[value.index()] {
            Some((Op::Wasm(WasmOp::I32And | WasmOp::I32Or), args)) => args.iter().any(|arg| self.is_condition(*arg)),
            _ => self.is_condition(value),
        }
    }

    fn narrow_number(&mut self, value: Value, not_zero: bool) {
        let range = self.known(value);
        if range.stack || self.function.ty(value) != Type::I32 {
            return;
        }
        match not_zero {
            true => {
                let (low, high) = (range.low + i64::from(range.low == 0), range.high - i64::from(range.high == 0));
                self.set_narrow(value, Range { low, high, ..range });
            }
            false => self.set_narrow(value, Range { low: range.low.max(0), high: range.high.min(0), ..range }),
        }
        if let Some((Op::Wasm(WasmOp::I32And), [x, mask])) = self.defs[value.index()] {
            self.narrow_bits(*x, *mask, not_zero);
        }
        for (value, range) in self.implied.get(&(value, not_zero)).cloned().unwrap_or_default() {
            let range = self.known(value).meet(range);
            self.set_narrow(value, range);
        }
    }

    /// Some of the bits of `x` that `mask` has are set, or none is.
    fn narrow_bits(&mut self, x: Value, mask: Value, any: bool) {
        let Some(mask) = self.constant(mask) else { return };
        let range = self.refined(x);
        if range.stack {
            return;
        }
        let mask = mask as u32;
        if !any {
            let high = if range.low < 0 || range.high < 0 {
                range.high
            } else {
                let all = (1_i64 << (64 - range.high.leading_zeros())) - 1;
                range.high.min(all & !i64::from(mask))
            };
            return self.set_narrow(x, Range { high, clear: range.clear | mask, ..range }.tight());
        }
        if range.low >= 0 && mask != 0 {
            self.set_narrow(x, Range { low: range.low.max(1 << mask.trailing_zeros()), ..range });
        }
        // `(y + 16) & 16` is not zero: that of `y` is.
        if mask.is_power_of_two()
            && let Some((Op::Wasm(WasmOp::I32Add | WasmOp::I32Sub), [y, number])) = self.defs[x.index()]
            && let Some(number) = self.constant(*number)
            && number as u32 & (mask | (mask - 1)) == mask
        {
            let of_y = self.known(*y);
            if !of_y.stack {
                self.set_narrow(*y, Range { clear: of_y.clear | mask, ..of_y }.tight());
            }
        }
    }

    /// Whether a value is 0 or 1: how others compare, or what ways hand on that were such.
    fn is_condition(&self, value: Value) -> bool {
        match self.defs[value.index()] {
            Some((Op::Wasm(op), _)) => crate::analysis::roots::is_comparison(*op),
            Some(_) => false,
            None => self.get(value).is_some_and(|range| range.is_number() && range.low >= 0 && range.high <= 1),
        }
    }

    fn narrow_equal(&mut self, a: Value, b: Value) {
        let (of_a, of_b) = (self.known(a), self.known(b));
        if of_a.stack == of_b.stack {
            let both = Range { low: of_a.low.max(of_b.low), high: of_a.high.min(of_b.high), ..of_a };
            self.set_narrow(a, both);
            self.set_narrow(b, both);
        }
    }

    /// `a` is not `b`, which is one number: an end of `a` that it is moves.
    fn narrow_apart(&mut self, a: Value, b: Value) {
        let (of_a, of_b) = (self.known(a), self.known(b));
        if of_a.stack != of_b.stack || of_b.low != of_b.high {
            return;
        }
        let low = of_a.low + i64::from(of_a.low == of_b.low);
        let high = of_a.high - i64::from(of_a.high == of_b.low);
        self.set_narrow(a, Range { low, high, ..of_a });
    }

    fn set_narrow(&mut self, value: Value, range: Range) {
        if range.low > range.high {
            self.is_impossible = true;
            return;
        }
        let before = self.narrowed.insert(value, range);
        self.log.push((value, before));
        // What holds for `x + 4` holds for `x`, too, where that did not wrap around.
        if let Some((Op::Wasm(WasmOp::I32Add), [x, constant])) = self.defs[value.index()]
            && let Some(number) = self.constant(*constant)
        {
            let of_x = self.known(*x);
            if of_x.stack == range.stack && of_x.low + number >= MIN && of_x.high + number <= MAX {
                let (low, high) = (of_x.low.max(range.low - number), of_x.high.min(range.high - number));
                if (low, high) != (of_x.low, of_x.high) {
                    self.set_narrow(*x, Range { low, high, ..of_x });
                }
            }
        }
        self.narrow_terms(value, range);
    }

    /// What follows for the values that a value is the sum of.
    fn narrow_terms(&mut self, value: Value, range: Range) {
        let Some(sum) = self.linears[value.index()].clone() else { return };
        for (term, factor) in sum.terms.iter().filter(|term| term.1.abs() == 1) {
            let Some(rest) = sum.plus(&Linear::of(*term), -factor) else { continue };
            // As a sum of two ranges: `term = factor * (value - rest)`.
            let rest = self.interval(&rest, 0);
            let stack = factor * (i64::from(range.stack) - i64::from(rest.stack));
            let ends = [range.low - rest.high, range.high - rest.low].map(|end| factor * end);
            let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            let known = self.known(*term);
            if !(0..=1).contains(&stack) || known.stack != (stack == 1) || low < MIN || high > MAX {
                continue;
            }
            let met = known.meet(Range { low, high, ..known });
            if met != known {
                let before = self.narrowed.insert(*term, met);
                self.log.push((*term, before));
            }
        }
    }
}
