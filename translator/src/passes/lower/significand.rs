//! Floats taken apart into sign, exponent and significand, and put together again with one correct rounding: what the
//! corrected and the emulated operators share. All of it is computed on integers of the float's size, without branches.

use super::Lowerer;
use super::float::Format;
use crate::ir::{LowOp, Type, Value};

/// Bits of a significand to be rounded beyond those of the float: one that decides, and one that says whether anything
/// lies below it (a "sticky" bit).
const EXTRA_BITS: u64 = 2;

/// A finite float: `significand * 2^(exponent - bias - fraction_bits)`. For infinities and NaN the fields mean nothing.
#[derive(Clone, Copy)]
pub(super) struct Unpacked {
    /// The exponent field; 1 for subnormals, which have its meaning.
    pub(super) exponent: Value,
    /// The fraction, with the hidden bit of normal numbers.
    pub(super) significand: Value,
}

/// Conditions (`Bool`) under which a result is no rounded number.
pub(super) struct Specials {
    /// The result is a zero.
    pub(super) zero: Value,
    /// The result is infinite.
    pub(super) infinite: Value,
    /// An operand is NaN. The result is NaN, too, where both other conditions hold.
    pub(super) nan: Value,
}

impl Format {
    /// Bits of the fraction field.
    pub(super) fn fraction_bits(self) -> u64 {
        if self.ty == Type::F64 { 52 } else { 23 }
    }

    /// Bits of a normal number's significand.
    pub(super) fn precision(self) -> u64 {
        self.fraction_bits() + 1
    }

    /// The exponent field of 1.
    pub(super) fn bias(self) -> u64 {
        if self.ty == Type::F64 { 1023 } else { 127 }
    }

    /// Bits of a significand that [`Lowerer::pack`] takes.
    pub(super) fn extended_precision(self) -> u64 {
        self.precision() + EXTRA_BITS
    }

    fn hidden_bit(self) -> u64 {
        1 << self.fraction_bits()
    }

    /// The bits of the float `2^exponent`.
    pub(super) fn power_of_two(self, exponent: u64) -> u64 {
        (self.bias() + exponent) << self.fraction_bits()
    }
}

impl Lowerer<'_> {
    /// Takes a float's bits apart.
    pub(super) fn unpack(&mut self, bits: Value, format: Format) -> Unpacked {
        let magnitude = self.op_with_int(LowOp::And, bits, format.magnitude);
        let field = self.shift_by(LowOp::ShrU, magnitude, format.fraction_bits());
        let fraction = self.op_with_int(LowOp::And, bits, format.hidden_bit() - 1);
        let subnormal = self.test_int(LowOp::Eq, field, 0);
        let normal = self.op_with_int(LowOp::Or, fraction, format.hidden_bit());
        let significand = self.select(subnormal, fraction, normal);
        Unpacked { exponent: self.op_with_int(LowOp::UMax, field, 1), significand }
    }

    /// The same with a significand that has its leading one where normal numbers have it. Of zero, the significand
    /// stays 0.
    pub(super) fn unpack_normalized(&mut self, bits: Value, format: Format) -> Unpacked {
        let Unpacked { exponent, significand } = self.unpack(bits, format);
        let leading = self.highest_bit(significand);
        let top = self.int(format.int, format.fraction_bits());
        let distance = self.same(LowOp::ISub, &[top, leading]);
        Unpacked {
            exponent: self.same(LowOp::ISub, &[exponent, distance]),
            significand: self.same(LowOp::Shl, &[significand, distance]),
        }
    }

    /// Index of the highest set bit, in the value's own type; -1 if there is none.
    pub(super) fn highest_bit(&mut self, value: Value) -> Value {
        if self.function.ty(value) == Type::I32 {
            return self.same(LowOp::FindMsb, &[value]);
        }
        let (low, high) = self.halves(value);
        let short = self.test_int(LowOp::Eq, high, 0);
        let word = self.select(short, low, high);
        let (none, all) = (self.int(Type::I32, 0), self.int(Type::I32, 32));
        let below = self.select(short, none, all);
        let index = self.same(LowOp::FindMsb, &[word]);
        let index = self.same(LowOp::IAdd, &[index, below]);
        self.low(LowOp::ExtendS, &[index], Type::I64)
    }

    /// 1 where the condition holds, else 0.
    pub(super) fn flag(&mut self, condition: Value, ty: Type) -> Value {
        let (one, zero) = (self.int(ty, 1), self.int(ty, 0));
        self.select(condition, one, zero)
    }

    /// `value >> amount`, its lowest bit set if any bit was lost. The amount is below the size in bits.
    pub(super) fn shift_right_sticky(&mut self, value: Value, amount: Value) -> Value {
        let kept = self.same(LowOp::ShrU, &[value, amount]);
        let back = self.same(LowOp::Shl, &[kept, amount]);
        let lost = self.bool(LowOp::Ne, &[back, value]);
        let sticky = self.flag(lost, self.function.ty(value));
        self.same(LowOp::Or, &[kept, sticky])
    }

    /// To nearest, ties to even: drops the extra bits of a significand.
    pub(super) fn round(&mut self, significand: Value) -> Value {
        let odd = self.shift_by(LowOp::ShrU, significand, EXTRA_BITS);
        let odd = self.op_with_int(LowOp::And, odd, 1);
        // Just below half a unit, or exactly half where the unit is odd: what makes a tie carry over only then.
        let most = self.op_with_int(LowOp::IAdd, significand, (1 << (EXTRA_BITS - 1)) - 1);
        let most = self.same(LowOp::IAdd, &[most, odd]);
        self.shift_by(LowOp::ShrU, most, EXTRA_BITS)
    }

    /// The bits of the float nearest to a number: its sign in place, a biased exponent of any size, a significand with
    /// its leading one at the highest of its `extended_precision` bits. What is too small becomes subnormal, what is
    /// too large infinite. A significand of 0 gives zero where the exponent is below 2.
    pub(super) fn pack(&mut self, sign: Value, exponent: Value, significand: Value, format: Format) -> Value {
        let (one, zero) = (self.int(format.int, 1), self.int(format.int, 0));
        let most = self.int(format.int, format.extended_precision());
        let below = self.same(LowOp::ISub, &[one, exponent]);
        let below = self.same(LowOp::SMax, &[below, zero]);
        let below = self.same(LowOp::SMin, &[below, most]);
        let significand = self.shift_right_sticky(significand, below);
        let fraction = self.round(significand);

        // The hidden bit, and a carry out of rounding, count the exponent up.
        let last = self.int(format.int, format.infinity >> format.fraction_bits());
        let field = self.same(LowOp::SMax, &[exponent, one]);
        let field = self.same(LowOp::SMin, &[field, last]);
        let field = self.same(LowOp::ISub, &[field, one]);
        let field = self.shift_by(LowOp::Shl, field, format.fraction_bits());
        let magnitude = self.same(LowOp::IAdd, &[field, fraction]);
        let magnitude = self.op_with_int(LowOp::UMin, magnitude, format.infinity);
        self.same(LowOp::Or, &[magnitude, sign])
    }

    /// The rounded result, or what stands in its place.
    pub(super) fn with_specials(&mut self, bits: Value, sign: Value, specials: &Specials, format: Format) -> Value {
        let infinity = self.op_with_int(LowOp::Or, sign, format.infinity);
        let invalid = self.bool(LowOp::BAnd, &[specials.zero, specials.infinite]);
        let nan = self.bool(LowOp::BOr, &[specials.nan, invalid]);
        let quiet = self.int(format.int, format.nan);
        let bits = self.select(specials.zero, sign, bits);
        let bits = self.select(specials.infinite, infinity, bits);
        self.select(nan, quiet, bits)
    }

    /// Whether a float's bits, without the sign, are these.
    pub(super) fn has_magnitude(&mut self, bits: Value, magnitude: u64, format: Format) -> Value {
        let own = self.op_with_int(LowOp::And, bits, format.magnitude);
        self.test_int(LowOp::Eq, own, magnitude)
    }
}
