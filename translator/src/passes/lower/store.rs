//! Stores to checked places: whole words as they are, parts of words so that the bytes beside them stay.
//!
//! Another invocation may store to a byte of the same word, so a part of a shared word is set in two atomic steps, which
//! clear its bits and set them: no other byte ever has a wrong value. Invocations that store equal bytes to one place
//! leave those bytes there.

use super::Lowerer;
use super::memory::{Place, Space};
use crate::ir::operator::MemoryAccess;
use crate::ir::{LowOp, Op, Type, Value};

impl Lowerer<'_> {
    pub(super) fn store_at(&mut self, access: MemoryAccess, place: Place, value: Value) {
        let bits = if access.ty.is_float() { self.bits(value) } else { value };
        let index = self.index(place);
        let is_wide = self.function.ty(bits) == Type::I64;
        if access.bytes == 8 {
            let (low, high) = self.halves(bits);
            return self.store_double(place, index, low, high);
        }
        let word = if is_wide { self.low(LowOp::Wrap, &[bits], Type::I32) } else { bits };
        match access.bytes {
            4 => self.store_word(place, index, word),
            narrow => self.store_narrow(place, index, word, narrow),
        }
    }

    fn effect(&mut self, op: LowOp, args: &[Value]) {
        self.list.effect(Op::Low(op), args);
    }

    fn set_word(&mut self, space: Space, index: Value, word: Value) {
        match space {
            Space::Slot(slot) => self.effect(LowOp::StoreWord { slot }, &[index, word]),
            Space::Stack => {
                let index = self.stack_index(index);
                self.effect(LowOp::StoreStack, &[index, word]);
            }
        }
    }

    /// Sets the bits of a word that are ones in `mask`; `bits` has zeroes elsewhere.
    fn set_bits(&mut self, space: Space, index: Value, mask: Value, bits: Value) {
        let kept = self.not(mask);
        match space {
            Space::Slot(slot) => {
                let (known_mask, known_bits) = (self.known_int(mask), self.known_int(bits));
                if known_mask.is_none() || known_bits != known_mask {
                    self.effect(LowOp::AndWord { slot }, &[index, kept]);
                }
                if known_bits != Some(0) {
                    self.effect(LowOp::OrWord { slot }, &[index, bits]);
                }
            }
            Space::Stack => {
                let index = self.stack_index(index);
                let old = self.low(LowOp::LoadStack, &[index], Type::I32);
                let old = self.same(LowOp::And, &[old, kept]);
                let new = self.same(LowOp::Or, &[old, bits]);
                self.effect(LowOp::StoreStack, &[index, new]);
            }
        }
    }

    fn not(&mut self, word: Value) -> Value {
        self.op_with_int(LowOp::Xor, word, u64::from(u32::MAX))
    }

    /// One or two bytes.
    fn store_narrow(&mut self, place: Place, index: Value, word: Value, bytes: u32) {
        let ones = u32::MAX >> (32 - 8 * bytes);
        let value = self.op_with_int(LowOp::And, word, ones.into());
        if place.zeros >= 2 {
            let mask = self.int(Type::I32, ones.into());
            return self.set_bits(place.space, index, mask, value);
        }
        let start = self.misalignment(place);
        let within = |l: &mut Self| {
            let shift = l.shift_by(LowOp::Shl, start, 3);
            let mask = l.int(Type::I32, ones.into());
            let mask = l.same(LowOp::Shl, &[mask, shift]);
            let value = l.same(LowOp::Shl, &[value, shift]);
            l.set_bits(place.space, index, mask, value);
        };
        if bytes == 1 || place.zeros == 1 {
            return within(self);
        }
        let crosses = self.test_int(LowOp::Eq, start, 3);
        self.branch(
            crosses,
            |l| {
                let shift = l.int(Type::I32, 24);
                l.store_across(place.space, index, value, shift, 0xff);
                Vec::new()
            },
            |l| {
                within(l);
                Vec::new()
            },
        );
    }

    /// The low bytes of `value` to the upper end of a word from bit `shift` on, the others, whose bits `high` has, to the
    /// lower end of the next.
    fn store_across(&mut self, space: Space, index: Value, value: Value, shift: Value, high: u32) {
        let ones = self.int(Type::I32, u32::MAX.into());
        let mask = self.same(LowOp::Shl, &[ones, shift]);
        let bits = self.same(LowOp::Shl, &[value, shift]);
        self.set_bits(space, index, mask, bits);
        let next = self.op_with_int(LowOp::IAdd, index, 1);
        let high = self.int(Type::I32, high.into());
        self.store_rest(space, next, value, shift, high);
    }

    /// What a shift to the left by `shift` pushed out of a word, to the lower end of the next.
    fn store_rest(&mut self, space: Space, next: Value, value: Value, shift: Value, ones: Value) {
        let size = self.int(Type::I32, 32);
        let rest = self.same(LowOp::ISub, &[size, shift]);
        let mask = match self.known_int(ones) {
            Some(0xff) => ones,
            _ => self.same(LowOp::ShrU, &[ones, rest]),
        };
        let bits = self.same(LowOp::ShrU, &[value, rest]);
        self.set_bits(space, next, mask, bits);
    }

    fn store_word(&mut self, place: Place, index: Value, word: Value) {
        if place.zeros >= 2 {
            return self.set_word(place.space, index, word);
        }
        let start = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, start, 0);
        self.branch(
            crosses,
            |l| {
                let shift = l.shift_by(LowOp::Shl, start, 3);
                l.store_across(place.space, index, word, shift, u32::MAX);
                Vec::new()
            },
            |l| {
                l.set_word(place.space, index, word);
                Vec::new()
            },
        );
    }

    fn store_double(&mut self, place: Place, index: Value, low: Value, high: Value) {
        let next = self.op_with_int(LowOp::IAdd, index, 1);
        if place.zeros >= 2 {
            self.set_word(place.space, index, low);
            return self.set_word(place.space, next, high);
        }
        let start = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, start, 0);
        self.branch(
            crosses,
            |l| {
                let shift = l.shift_by(LowOp::Shl, start, 3);
                let ones = l.int(Type::I32, u32::MAX.into());
                let mask = l.same(LowOp::Shl, &[ones, shift]);
                let bits = l.same(LowOp::Shl, &[low, shift]);
                l.set_bits(place.space, index, mask, bits);
                let middle = l.middle(low, high, shift);
                l.set_word(place.space, next, middle);
                let last = l.op_with_int(LowOp::IAdd, index, 2);
                l.store_rest(place.space, last, high, shift, ones);
                Vec::new()
            },
            |l| {
                l.set_word(place.space, index, low);
                l.set_word(place.space, next, high);
                Vec::new()
            },
        );
    }

    /// The upper word of two that were shifted to the left by 8, 16 or 24 bits.
    fn middle(&mut self, low: Value, high: Value, shift: Value) -> Value {
        let size = self.int(Type::I32, 32);
        let rest = self.same(LowOp::ISub, &[size, shift]);
        self.funnel(low, high, rest)
    }
}
