//! What conditions say of the values that they compare, and of what these were made of.

use super::bits::{lowest, mask};
use super::operators::{float, floats, up_to};
use super::{Bits, Fact, Number, Walker};
use crate::ir::{Op, Value, WasmOp};

/// How many operators back from what is compared.
const MAX_DEPTH: u32 = 6;

impl Walker<'_> {
    /// Notes what follows from a condition.
    pub(super) fn narrow(&mut self, cond: Value, holds: bool) {
        self.note(cond, holds, MAX_DEPTH);
    }

    fn note(&mut self, cond: Value, holds: bool, depth: u32) {
        use WasmOp::*;
        if !holds {
            self.narrow_bits(cond, Bits::exactly(32, 0), depth);
        }
        let Some((Op::Wasm(op), args)) = self.defs[cond.index()] else { return };
        match (*op, args) {
            _ if depth == 0 => {}
            (I32Eqz, [a]) => self.note(*a, !holds, depth - 1),
            (I32And, [a, b]) if holds => [a, b].into_iter().for_each(|part| self.note(*part, true, depth - 1)),
            (I32Or, [a, b]) if !holds => [a, b].into_iter().for_each(|part| self.note(*part, false, depth - 1)),
            (F32Lt | F64Lt | F32Le | F64Le, [a, b]) => self.compare_floats(*a, *b, holds),
            (F32Gt | F64Gt | F32Ge | F64Ge, [a, b]) => self.compare_floats(*b, *a, holds),
            (F32Eq | F64Eq, [a, b]) if holds => self.equal_floats(*a, *b),
            (F32Ne | F64Ne, [a, b]) if !holds => self.equal_floats(*a, *b),
            (_, [a, b]) => self.compare_integers(*op, *a, *b, holds),
            _ => {}
        }
    }

    /// `a` is less than `b`, or equal; or that does not hold: then it is the other way round, or one of them is NaN.
    fn compare_floats(&mut self, a: Value, b: Value, holds: bool) {
        let (less, more) = if holds { (a, b) } else { (b, a) };
        let (below, above) = (self.number(less), self.number(more));
        let nan = |number: Number| number.nan && !holds;
        if holds || !above.nan {
            let fact = below.within(f64::NEG_INFINITY, above.high);
            self.narrow_number(less, Number { nan: nan(below), ..fact });
        }
        if holds || !below.nan {
            let fact = above.within(below.low, f64::INFINITY);
            self.narrow_number(more, Number { nan: nan(above), ..fact });
        }
    }

    /// A float is this, and so is what it is the magnitude of, but for the sign.
    fn narrow_number(&mut self, value: Value, number: Number) {
        self.narrow_to(value, Fact::Number(number));
        if let Some((Op::Wasm(WasmOp::F32Abs | WasmOp::F64Abs), [x])) = self.defs[value.index()] {
            let known = self.number(*x);
            let fact = Number { nan: known.nan && number.nan, ..known.within(-number.high, number.high) };
            self.narrow_to(*x, Fact::Number(fact.at_least(number.low)));
        }
    }

    fn equal_floats(&mut self, a: Value, b: Value) {
        let (of_a, of_b) = (self.number(a), self.number(b));
        self.narrow_to(a, Fact::Number(Number { nan: false, ..of_a.within(of_b.low, of_b.high) }));
        self.narrow_to(b, Fact::Number(Number { nan: false, ..of_b.within(of_a.low, of_a.high) }));
    }

    /// Of comparisons with a constant, which stands on the right.
    fn compare_integers(&mut self, op: WasmOp, a: Value, b: Value, holds: bool) {
        use WasmOp::*;
        let Some(number) = self.constant(b) else { return };
        let width = self.function.ty(b).bits();
        let (least, greatest) = (1u64 << (width - 1), mask(width) >> 1);
        // From the first to the last, one of which is the number or its neighbour.
        let next = number.wrapping_add(1) & mask(width);
        let before = number.wrapping_sub(1) & mask(width);
        let (low, high, never) = match (op, holds) {
            (I32Eq | I64Eq, true) | (I32Ne | I64Ne, false) => (number, number, false),
            (I32LtU | I64LtU, true) | (I32GeU | I64GeU, false) => (0, before, number == 0),
            (I32LeU | I64LeU, true) | (I32GtU | I64GtU, false) => (0, number, false),
            (I32GtU | I64GtU, true) | (I32LeU | I64LeU, false) => (next, mask(width), next == 0),
            (I32GeU | I64GeU, true) | (I32LtU | I64LtU, false) => (number, mask(width), false),
            (I32LtS | I64LtS, true) | (I32GeS | I64GeS, false) => (least, before, number == least),
            (I32LeS | I64LeS, true) | (I32GtS | I64GtS, false) => (least, number, false),
            (I32GtS | I64GtS, true) | (I32LeS | I64LeS, false) => (next, greatest, number == greatest),
            (I32GeS | I64GeS, true) | (I32LtS | I64LtS, false) => (number, greatest, false),
            _ => return,
        };
        if !never {
            self.narrow_bits(a, Bits::between(width, low, high), MAX_DEPTH);
        }
    }

    /// A value is among these.
    fn narrow_bits(&mut self, value: Value, among: Bits, depth: u32) {
        use WasmOp::*;
        self.narrow_to(value, Fact::Bits(self.bits(value).meet(among)));
        let Some((Op::Wasm(op), args)) = self.defs[value.index()].filter(|_| depth > 0) else { return };
        if let (I32Add | I64Add | I32Sub | I64Sub, [x, y]) = (*op, args)
            && let Fact::Bits(more) = self.fact(*y)
            && more.constant().is_some()
        {
            let x_among = if matches!(op, I32Add | I64Add) { among.sub(more) } else { among.add(more) };
            return self.narrow_bits(*x, x_among, depth - 1);
        }
        let (low, high) = among.ends();
        self.narrow_part(value, mask(self.function.ty(value).bits()), low, high, depth);
    }

    /// Of a value, those bits that `part` has, are from `low` to `high`.
    fn narrow_part(&mut self, value: Value, part: u64, low: u64, high: u64, depth: u32) {
        use WasmOp::*;
        let width = self.function.ty(value).bits();
        // Lower ones may be anything; so these bits and all below them are at most what they are with all of those.
        let (whole, most) = (part | lowest(part), high | lowest(part));
        let Some((Op::Wasm(op), args)) = self.defs[value.index()].filter(|_| depth > 0) else { return };
        let constant = |arg: usize| self.constant(args[arg]);
        match (*op, args) {
            (I32And | I64And, [x, _]) => {
                let Some(bits) = constant(1) else { return };
                self.narrow_part(*x, part & bits, low, high, depth - 1);
            }
            (I32ShrU | I64ShrU, [x, _]) => {
                let Some(by) = constant(1).map(|by| by as u32 % width) else { return };
                let part = part & mask(width) >> by;
                let (low, high) = (low.min(part), high.min(mask(width) >> by));
                self.narrow_part(*x, part << by, low << by, high << by, depth - 1);
            }
            (I32Shl | I64Shl, [x, _]) => {
                let Some(by) = constant(1).map(|by| by as u32 % width) else { return };
                self.narrow_part(*x, part >> by, low.div_ceil(1 << by), high >> by, depth - 1);
            }
            (I32WrapI64, [x]) => self.narrow_part(*x, part, low, high, depth - 1),
            (I64ExtendI32U, [x]) => self.narrow_part(*x, part & mask(32), low, high, depth - 1),
            (I32ReinterpretF32 | I64ReinterpretF64, [x]) => {
                let found = match whole {
                    _ if whole == mask(width) => floats(width, Bits::between(width, low, most)),
                    _ if whole == mask(width) >> 1 => up_to(width, most),
                    _ => return,
                };
                let known = self.number(*x);
                let fact = Number { nan: known.nan && found.nan, ..known.within(found.low, found.high) };
                let least = if whole == mask(width) >> 1 { float(width, low) } else { 0.0 };
                self.narrow_to(*x, Fact::Number(fact.at_least(least)));
            }
            _ => {}
        }
    }
}
