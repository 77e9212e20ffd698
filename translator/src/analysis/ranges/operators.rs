//! The ranges of operators' results.

use super::Walker;
use super::interval::{MAX, MIN, Range};
use crate::ir::{Const, Op, Type, Value, WasmOp};

impl Walker<'_> {
    pub(super) fn operator(&self, op: &Op, args: &[Value]) -> Range {
        let range = self.ends(op, args);
        if range.stack { range } else { Range { clear: self.clear(op, args), ..range }.tight() }
    }

    /// The bits of a result that are zero.
    fn clear(&self, op: &Op, args: &[Value]) -> u32 {
        use WasmOp::{I32Add, I32And, I32Mul, I32Shl, I32Sub};
        let Op::Wasm(op @ (I32And | I32Add | I32Sub | I32Shl | I32Mul)) = op else { return 0 };
        let Some(number) = self.constant(args[1]) else { return 0 };
        let known = self.known(args[0]);
        let shifted_in = |zeroes: u32| !u32::MAX.checked_shl(zeroes).unwrap_or(0);
        match op {
            I32And => !(number as u32) | known.clear,
            I32Shl => known.clear << (number & 31) | shifted_in(number as u32 & 31),
            I32Mul => shifted_in(known.clear.trailing_ones() + (number as u32).trailing_zeros()),
            // The bits below those that are added stay as they are.
            _ if known.stack => 0,
            _ => known.clear & !(u32::MAX.checked_shl(number.trailing_zeros()).unwrap_or(0)),
        }
    }

    fn ends(&self, op: &Op, args: &[Value]) -> Range {
        match op {
            Op::Const(Const::I32(value)) => Range::exactly(i64::from(*value as i32)),
            Op::GlobalGet(global) if *global == self.stack_pointer => Range { stack: true, low: 0, high: 0, clear: 0 },
            Op::Load(access) | Op::Atomic(_, access) if access.bytes < 4 => {
                let bits = 8 * access.bytes;
                match access.signed {
                    true => Range::of(-1 << (bits - 1), (1 << (bits - 1)) - 1),
                    false => Range::of(0, (1 << bits) - 1),
                }
            }
            Op::Select => self.known(args[0]).join(self.known(args[1])),
            Op::Wasm(op) => self.wasm(*op, args),
            _ => Range::ANY,
        }
    }

    fn wasm(&self, op: WasmOp, args: &[Value]) -> Range {
        use WasmOp::*;
        if crate::analysis::roots::is_comparison(op) {
            return Range::of(0, 1);
        }
        let range = |arg: usize| self.known(args[arg]);
        match (op, args) {
            (I32Add, [_, _]) => {
                let (a, b) = (range(0), range(1));
                let sum = Range { stack: a.stack || b.stack, low: a.low + b.low, high: a.high + b.high, clear: 0 };
                if a.stack && b.stack { Range::ANY } else { sum.checked() }
            }
            (I32Sub, [_, _]) => {
                let (a, b) = (range(0), range(1));
                match (a.stack, b.stack) {
                    (false, true) => Range::ANY,
                    (stack, other) => {
                        Range { stack: stack && !other, low: a.low - b.high, high: a.high - b.low, clear: 0 }.checked()
                    }
                }
            }
            (_, [_, _]) if !range(0).is_number() || !range(1).is_number() => Range::ANY,
            (_, [_]) if args.len() == 1 && self.function.ty(args[0]) == Type::I32 && range(0).stack => Range::ANY,
            (I32Mul, [_, _]) => {
                let (a, b) = (range(0), range(1));
                let products = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
                Range::of(products.into_iter().min().unwrap_or(MIN), products.into_iter().max().unwrap_or(MAX))
            }
            (I32Shl, [_, _]) => match range(1) {
                b if b.low == b.high && (0..32).contains(&b.low) => {
                    Range::of(range(0).low << b.low, range(0).high << b.low)
                }
                _ => Range::ANY,
            },
            (I32ShrS | I32ShrU, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low == b.high && (0..32).contains(&b.low) && (a.low >= 0 || op == I32ShrS) => {
                    Range::of(a.low >> b.low, a.high >> b.low)
                }
                (_, b) if b.low == b.high && (1..32).contains(&b.low) && op == I32ShrU => {
                    Range::of(0, i64::from(u32::MAX) >> b.low)
                }
                _ => Range::ANY,
            },
            (I32And, [_, _]) => {
                let highs = [range(0), range(1)].into_iter().filter(|r| r.low >= 0).map(|r| r.high);
                highs.min().map_or(Range::ANY, |high| Range::of(0, high))
            }
            (I32Or | I32Xor, [_, _]) => match (range(0), range(1)) {
                (a, b) if a.low >= 0 && b.low >= 0 => {
                    let bits = 64 - (a.high | b.high).leading_zeros();
                    Range::of(0, (1 << bits) - 1)
                }
                _ => Range::ANY,
            },
            (I32RemU, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low > 0 && a.low >= 0 => Range::of(0, a.high.min(b.high - 1)),
                (_, b) if b.low > 0 => Range::of(0, b.high - 1),
                _ => Range::ANY,
            },
            (I32RemS, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low > 0 && a.low >= 0 => Range::of(0, a.high.min(b.high - 1)),
                (_, b) if b.low > 0 => Range::of(1 - b.high, b.high - 1),
                _ => Range::ANY,
            },
            (I32DivU | I32DivS, [_, _]) => match (range(0), range(1)) {
                (a, b) if a.low >= 0 && b.low > 0 => Range::of(a.low / b.high, a.high / b.low),
                _ => Range::ANY,
            },
            (I32Extend8S, _) => Range::of(-128, 127),
            (I32Extend16S, _) => Range::of(-32768, 32767),
            (I32Clz | I32Ctz | I32Popcnt, _) => Range::of(0, 32),
            _ => Range::ANY,
        }
    }
}
