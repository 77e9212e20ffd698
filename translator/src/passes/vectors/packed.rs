//! Lanes of 8 and 16 bits that stay in their words: sums whose carries stop at each lane's top bit, and masks made of
//! top bits.
//!
//! `top` has each lane's top bit, `below` all others. What is called *marks* has top bits only; `spread` makes each a
//! lane of ones.

use super::{Splitter, Words};
use crate::ir::{IntOp, Lane, ShiftOp, Value, WasmOp};
use WasmOp::{I32Add, I32And, I32Mul, I32Or, I32Shl, I32ShrU, I32Sub, I32Xor};

/// A word whose lanes all have these bits.
fn repeated(lane: Lane, bits: u32) -> u32 {
    bits * if lane == Lane::I8 { 0x0101_0101 } else { 0x0001_0001 }
}

/// The top bit of each lane.
pub(super) fn top_bits(lane: Lane) -> u32 {
    repeated(lane, 1 << (lane.bits() - 1))
}

impl Splitter<'_> {
    /// An operator on the lanes of one word; `b` is of no matter to those with one operand.
    pub(super) fn packed(&mut self, lane: Lane, op: IntOp, a: Value, b: Value) -> Value {
        match op {
            IntOp::Add => self.packed_add(lane, a, b),
            IntOp::Sub => self.packed_sub(lane, a, b),
            IntOp::Neg => {
                let zero = self.int(0);
                self.packed_sub(lane, zero, a)
            }
            IntOp::Abs => {
                let signs = self.signs(lane, a);
                let flipped = self.wasm(I32Xor, &[a, signs]);
                self.packed_sub(lane, flipped, signs)
            }
            IntOp::Mul => self.packed_mul(a, b),
            IntOp::Popcnt => self.packed_popcnt(a),
            IntOp::Q15mulrSatS => self.packed_q15mulr(a, b),
            IntOp::AvgrU => {
                // Half of the differing bits less than all bits; no lane's lowest bit goes to the next.
                let any = self.wasm(I32Or, &[a, b]);
                let differ = self.wasm(I32Xor, &[a, b]);
                let half = self.with_int(I32ShrU, differ, 1);
                let half = self.with_int(I32And, half, !top_bits(lane));
                self.wasm(I32Sub, &[any, half])
            }
            IntOp::AddSatU => {
                let sum = self.packed_add(lane, a, b);
                let both = self.wasm(I32And, &[a, b]);
                let any = self.wasm(I32Or, &[a, b]);
                let not_sum = self.with_int(I32Xor, sum, u32::MAX);
                let lost = self.wasm(I32And, &[any, not_sum]);
                let carries = self.wasm(I32Or, &[both, lost]);
                let full = self.signs(lane, carries);
                self.wasm(I32Or, &[sum, full])
            }
            IntOp::SubSatU => {
                let difference = self.packed_sub(lane, a, b);
                let less = self.less(lane, a, b, false);
                let kept = self.with_int(I32Xor, less, u32::MAX);
                self.wasm(I32And, &[difference, kept])
            }
            IntOp::AddSatS => {
                let sum = self.packed_add(lane, a, b);
                let (from_a, from_b) = (self.wasm(I32Xor, &[a, sum]), self.wasm(I32Xor, &[b, sum]));
                self.saturated(lane, a, sum, from_a, from_b)
            }
            IntOp::SubSatS => {
                let difference = self.packed_sub(lane, a, b);
                let (operands, from_a) = (self.wasm(I32Xor, &[a, b]), self.wasm(I32Xor, &[a, difference]));
                self.saturated(lane, a, difference, operands, from_a)
            }
            IntOp::MinS | IntOp::MinU => {
                let less = self.less(lane, a, b, op == IntOp::MinS);
                self.select_bits(less, a, b)
            }
            IntOp::MaxS | IntOp::MaxU => {
                let less = self.less(lane, a, b, op == IntOp::MaxS);
                self.select_bits(less, b, a)
            }
            IntOp::Eq | IntOp::Ne => {
                let differ = self.wasm(I32Xor, &[a, b]);
                let marks = self.not_zero_marks(lane, differ);
                let differ = self.spread(lane, marks);
                if op == IntOp::Ne { differ } else { self.with_int(I32Xor, differ, u32::MAX) }
            }
            IntOp::LtS | IntOp::LtU => self.less(lane, a, b, op == IntOp::LtS),
            IntOp::GtS | IntOp::GtU => self.less(lane, b, a, op == IntOp::GtS),
            IntOp::GeS | IntOp::GeU => {
                let less = self.less(lane, a, b, op == IntOp::GeS);
                self.with_int(I32Xor, less, u32::MAX)
            }
            IntOp::LeS | IntOp::LeU => {
                let greater = self.less(lane, b, a, op == IntOp::LeS);
                self.with_int(I32Xor, greater, u32::MAX)
            }
        }
    }

    /// A lane of ones for each mark.
    fn spread(&mut self, lane: Lane, marks: Value) -> Value {
        let low = self.with_int(I32ShrU, marks, lane.bits() - 1);
        self.with_int(I32Mul, low, u32::MAX >> (32 - lane.bits()))
    }

    /// A lane of ones for each lane whose top bit is set.
    fn signs(&mut self, lane: Lane, word: Value) -> Value {
        let marks = self.with_int(I32And, word, top_bits(lane));
        self.spread(lane, marks)
    }

    /// A mark for each lane that is not zero.
    pub(super) fn not_zero_marks(&mut self, lane: Lane, word: Value) -> Value {
        let below = self.with_int(I32And, word, !top_bits(lane));
        let carried = self.with_int(I32Add, below, !top_bits(lane));
        let any = self.wasm(I32Or, &[carried, word]);
        self.with_int(I32And, any, top_bits(lane))
    }

    fn packed_add(&mut self, lane: Lane, a: Value, b: Value) -> Value {
        let top = top_bits(lane);
        let (low_a, low_b) = (self.with_int(I32And, a, !top), self.with_int(I32And, b, !top));
        let sum = self.wasm(I32Add, &[low_a, low_b]);
        let differ = self.wasm(I32Xor, &[a, b]);
        let differ = self.with_int(I32And, differ, top);
        self.wasm(I32Xor, &[sum, differ])
    }

    fn packed_sub(&mut self, lane: Lane, a: Value, b: Value) -> Value {
        let top = top_bits(lane);
        let (set_a, low_b) = (self.with_int(I32Or, a, top), self.with_int(I32And, b, !top));
        let difference = self.wasm(I32Sub, &[set_a, low_b]);
        // The top bit that was set is to be flipped where those of the operands are equal.
        let differ = self.wasm(I32Xor, &[a, b]);
        let equal = self.with_int(I32Xor, differ, u32::MAX);
        let equal = self.with_int(I32And, equal, top);
        self.wasm(I32Xor, &[difference, equal])
    }

    /// A lane of ones for each lane of `a` that is less.
    fn less(&mut self, lane: Lane, a: Value, b: Value, signed: bool) -> Value {
        let (mut a, mut b) = (a, b);
        if signed {
            (a, b) = (self.with_int(I32Xor, a, top_bits(lane)), self.with_int(I32Xor, b, top_bits(lane)));
        }
        // The borrow out of the top bit.
        let difference = self.packed_sub(lane, a, b);
        let not_a = self.with_int(I32Xor, a, u32::MAX);
        let certain = self.wasm(I32And, &[not_a, b]);
        let possible = self.wasm(I32Or, &[not_a, b]);
        let taken = self.wasm(I32And, &[possible, difference]);
        let borrows = self.wasm(I32Or, &[certain, taken]);
        self.signs(lane, borrows)
    }

    /// The nearest to the true value where the top bits of both words say that `value` is wrong. Its sign is that of `a`.
    fn saturated(&mut self, lane: Lane, a: Value, value: Value, one: Value, other: Value) -> Value {
        let wrong = self.wasm(I32And, &[one, other]);
        let wrong = self.signs(lane, wrong);
        let negative = self.signs(lane, a);
        let limit = self.with_int(I32Xor, negative, !top_bits(lane));
        self.select_bits(wrong, limit, value)
    }

    /// Lanes of 16 bits.
    fn packed_mul(&mut self, a: Value, b: Value) -> Value {
        let low = self.wasm(I32Mul, &[a, b]);
        let low = self.with_int(I32And, low, 0xffff);
        let upper = self.with_int(I32And, a, 0xffff_0000);
        let factor = self.with_int(I32ShrU, b, 16);
        let high = self.wasm(I32Mul, &[upper, factor]);
        self.wasm(I32Or, &[low, high])
    }

    /// Lanes of 8 bits.
    fn packed_popcnt(&mut self, a: Value) -> Value {
        let odd = self.with_int(I32ShrU, a, 1);
        let odd = self.with_int(I32And, odd, 0x5555_5555);
        let twos = self.wasm(I32Sub, &[a, odd]);
        let high = self.with_int(I32ShrU, twos, 2);
        let (low, high) = (self.with_int(I32And, twos, 0x3333_3333), self.with_int(I32And, high, 0x3333_3333));
        let fours = self.wasm(I32Add, &[low, high]);
        let high = self.with_int(I32ShrU, fours, 4);
        let sum = self.wasm(I32Add, &[fours, high]);
        self.with_int(I32And, sum, 0x0f0f_0f0f)
    }

    /// Lanes of 16 bits.
    fn packed_q15mulr(&mut self, a: Value, b: Value) -> Value {
        let lanes = [0, 1].map(|index| {
            let (a, b) = (self.half(a, index), self.half(b, index));
            let product = self.wasm(I32Mul, &[a, b]);
            let rounded = self.with_int(I32Add, product, 0x4000);
            let scaled = self.with_int(WasmOp::I32ShrS, rounded, 15);
            self.limited(scaled, WasmOp::I32GtS, 0x7fff)
        });
        let low = self.with_int(I32And, lanes[0], 0xffff);
        let high = self.with_int(I32Shl, lanes[1], 16);
        self.wasm(I32Or, &[low, high])
    }

    /// A signed half of a word.
    fn half(&mut self, word: Value, index: u32) -> Value {
        match index {
            0 => self.wasm(WasmOp::I32Extend16S, &[word]),
            _ => self.with_int(WasmOp::I32ShrS, word, 16),
        }
    }

    pub(super) fn packed_shift(&mut self, lane: Lane, op: ShiftOp, words: Words, amount: Value) -> Words {
        let amount = self.with_int(I32And, amount, lane.bits() - 1);
        let ones = self.int(u32::MAX >> (32 - lane.bits()));
        // What is left of each lane's bits.
        let kept = match op {
            ShiftOp::Shl => {
                let moved = self.wasm(I32Shl, &[ones, amount]);
                self.with_int(I32And, moved, u32::MAX >> (32 - lane.bits()))
            }
            ShiftOp::ShrS | ShiftOp::ShrU => self.wasm(I32ShrU, &[ones, amount]),
        };
        let kept = self.with_int(I32Mul, kept, repeated(lane, 1));
        let filled = self.with_int(I32Xor, kept, u32::MAX);
        words.map(|word| {
            let shift = if op == ShiftOp::Shl { I32Shl } else { I32ShrU };
            let moved = self.wasm(shift, &[word, amount]);
            let moved = self.wasm(I32And, &[moved, kept]);
            if op != ShiftOp::ShrS {
                return moved;
            }
            let signs = self.signs(lane, word);
            let signs = self.wasm(I32And, &[signs, filled]);
            self.wasm(I32Or, &[moved, signs])
        })
    }

    /// The top bits of a word's lanes as its lowest bits.
    pub(super) fn top_bits_together(&mut self, lane: Lane, word: Value) -> Value {
        let low = self.with_int(I32ShrU, word, lane.bits().min(32) - 1);
        match lane {
            Lane::I8 => {
                let low = self.with_int(I32And, low, 0x0101_0101);
                // Each bit comes to its place in the top byte, and no two sums meet.
                let gathered = self.with_int(I32Mul, low, 0x0102_0408);
                self.with_int(I32ShrU, gathered, 24)
            }
            Lane::I16 => {
                let low = self.with_int(I32And, low, 0x0001_0001);
                let high = self.with_int(I32ShrU, low, 15);
                let both = self.wasm(I32Or, &[low, high]);
                self.with_int(I32And, both, 3)
            }
            _ => low,
        }
    }
}
