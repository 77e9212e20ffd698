//! Pointers in parts: bytes and 16-bit halves of them, and their joining.

use crate::ir::WasmOp;

/// The bits, from the first to before the second, in which a part of a pointer lies; all others are 0, or say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bits {
    from: u8,
    to: u8,
}

/// Pointers whose lowest bits were cut off and put back as zeros are of objects aligned so many bits at most.
const MAX_ALIGNMENT: u8 = 4;

/// Shifts to the left by fewer bits scale an index; those by as many or more move a part to its place.
const LEAST_MOVE: u8 = 8;

impl Bits {
    pub(super) const BYTES_4: Bits = Bits { from: 0, to: 32 };

    /// What a load of so many bytes gives.
    pub(super) fn of_bytes(bytes: u32) -> Bits {
        Bits { from: 0, to: (8 * bytes).min(64) as u8 }
    }

    /// What a mask leaves of a whole pointer: nothing of one where it takes an alignment.
    pub(super) fn of_mask(mask: u32) -> Option<Bits> {
        Bits::BYTES_4.masked(u64::from(mask)).filter(|bits| bits.to > MAX_ALIGNMENT)
    }

    /// What a mask leaves.
    pub(super) fn masked(self, mask: u64) -> Option<Bits> {
        let (from, to) = (mask.trailing_zeros() as u8, 64 - mask.leading_zeros() as u8);
        Bits { from: self.from.max(from), to: self.to.min(to) }.nonempty()
    }

    /// What a shift to the right leaves.
    pub(super) fn shifted_right(self, amount: u32) -> Option<Bits> {
        let amount = amount as u8;
        Bits { from: self.from.saturating_sub(amount), to: self.to.saturating_sub(amount) }.nonempty()
    }

    /// What a shift to the left leaves in `width` bits, if it does not scale an index.
    pub(super) fn shifted_left(self, amount: u32, width: u8) -> Option<Bits> {
        let amount = amount as u8;
        let is_cut = self.to + amount > width;
        let moved = Bits { from: self.from + amount, to: (self.to + amount).min(width) };
        if is_cut && amount < LEAST_MOVE { None } else { moved.nonempty() }
    }

    /// The bits of either.
    pub(super) fn with(self, other: Bits) -> Bits {
        Bits { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// The bits of either, in bytes where they are not the same: so that a loop soon comes to an end.
    pub(super) fn joined(self, other: Bits) -> Bits {
        let all = self.with(other);
        if self == other { self } else { Bits { from: all.from / 8 * 8, to: all.to.next_multiple_of(8) } }
    }

    pub(super) fn is_apart_from(self, other: Bits) -> bool {
        self.to <= other.from || other.to <= self.from
    }

    /// Whether a whole word of `width` bits, or of a half of 64, is among them.
    pub(super) fn has_word(self, width: u8) -> bool {
        let has = |end: u8| self.from <= end - 32 + MAX_ALIGNMENT && self.to >= end;
        has(32) || width == 64 && has(64)
    }

    fn nonempty(self) -> Option<Bits> {
        (self.from < self.to).then_some(self)
    }
}

/// Which halves of 64 bits may be plain numbers, and so addresses of linear memory, where others went into the other half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) low: bool,
    pub(super) high: bool,
}

impl Numbers {
    pub(super) const BOTH: Numbers = Numbers { low: true, high: true };
    pub(super) const NONE: Numbers = Numbers { low: false, high: false };

    /// Whichever of two values it is.
    pub(super) fn or(self, other: Numbers) -> Numbers {
        Numbers { low: self.low || other.low, high: self.high || other.high }
    }

    fn and(self, other: Numbers) -> Numbers {
        Numbers { low: self.low && other.low, high: self.high && other.high }
    }

    /// Those of an operator's 64-bit result. `constant` is its second operand, if it is one.
    pub(super) fn of(op: WasmOp, args: &[Numbers], constant: Option<u64>) -> Numbers {
        use WasmOp::*;
        let all = args.iter().fold(Numbers::NONE, |all, numbers| all.or(*numbers));
        let any = if all == Numbers::NONE { all } else { Numbers::BOTH };
        match (op, constant) {
            (I64ExtendI32U | I64ExtendI32S, _) => Numbers { low: false, high: true },
            (I64Shl, Some(32)) => Numbers { low: true, high: args[0].low },
            (I64ShrU | I64ShrS, Some(32)) => Numbers { low: args[0].high, high: true },
            (I64And, Some(mask)) => args[0].or(Numbers { low: mask as u32 == 0, high: mask >> 32 == 0 }),
            (I64Or | I64Xor | I64Add, _) => args.iter().fold(Numbers::BOTH, |all, numbers| all.and(*numbers)),
            _ => any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte, moved to the left.
    fn byte(amount: u32) -> Bits {
        Bits::of_bytes(1).shifted_left(amount, 32).expect("The byte is within the word.")
    }

    #[test]
    fn four_bytes_are_a_word_and_three_are_none() {
        let three = byte(0).with(byte(8)).with(byte(16));
        assert!(!three.has_word(32));
        assert!(three.with(byte(24)).has_word(32));
        assert!(!byte(8).with(byte(24)).has_word(32));
    }

    #[test]
    fn an_alignment_that_was_cut_off_is_put_back_and_an_index_is_scaled() {
        let cut = Bits::BYTES_4.shifted_right(2).expect("Bits are left.");
        assert!(cut.shifted_left(2, 32).expect("Bits are left.").has_word(32));
        assert_eq!(cut.shifted_left(3, 32), None);
        assert_eq!(Bits::of_mask(15), None);
    }

    #[test]
    fn words_of_64_bits_are_its_halves() {
        let high = Bits::of_bytes(4).shifted_left(32, 64).expect("Bits are left.");
        assert!(high.has_word(64));
        assert!(!Bits::of_bytes(2).shifted_left(16, 64).expect("Bits are left.").has_word(64));
        assert_eq!(Bits::of_bytes(2).shifted_right(16), None);
    }

    #[test]
    fn a_pair_of_a_number_and_a_pointer_knows_which_is_which() {
        let pointer = Numbers::of(WasmOp::I64ExtendI32U, &[Numbers::NONE], None);
        let moved = Numbers::of(WasmOp::I64Shl, &[pointer, Numbers::BOTH], Some(32));
        let pair = Numbers::of(WasmOp::I64Or, &[Numbers::BOTH, moved], None);
        assert_eq!(pair, Numbers { low: true, high: false });
        assert_eq!(Numbers::of(WasmOp::I64ShrU, &[pair, Numbers::BOTH], Some(32)), Numbers { low: false, high: true });
        assert_eq!(Numbers::of(WasmOp::I64ShrU, &[pair, Numbers::BOTH], Some(8)), Numbers::BOTH);
    }
}
