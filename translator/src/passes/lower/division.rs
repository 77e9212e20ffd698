//! Division and square root on devices that round them carelessly. The device's own result on significands, which are
//! far from overflow and underflow, is a guess that may be some units off; the remainder that it leaves is computed
//! exactly, modulo the integers' size, and says by how much.

use super::Lowerer;
use super::float::Format;
use super::significand::Specials;
use crate::ir::{LowOp, Type, Value};

/// A root or quotient rounded down, and what it leaves.
struct Floored {
    value: Value,
    remainder: Value,
}

impl Lowerer<'_> {
    /// The quotient of two floats, correctly rounded, if the device's own is within
    /// [`MAX_GUESS_ERROR`](crate::options::MAX_GUESS_ERROR).
    pub(super) fn corrected_quotient(&mut self, a: Value, b: Value) -> Value {
        let format = Format::of(self.function.ty(a));
        let (a, b) = (self.bits(a), self.bits(b));
        let (dividend, divisor) = (self.unpack_normalized(a, format), self.unpack_normalized(b, format));
        // A dividend doubled where it is the lesser makes a quotient from 1 to below 2.
        let less = self.bool(LowOp::ULt, &[dividend.significand, divisor.significand]);
        let doubled = self.flag(less, format.int);
        let significand = self.same(LowOp::Shl, &[dividend.significand, doubled]);
        let quotient = self.quotient_of_significands(significand, divisor.significand, format);
        let significand = self.with_sticky(&quotient);

        let exponent = self.same(LowOp::ISub, &[dividend.exponent, divisor.exponent]);
        let exponent = self.same(LowOp::ISub, &[exponent, doubled]);
        let exponent = self.op_with_int(LowOp::IAdd, exponent, format.bias());
        let sign = self.same(LowOp::Xor, &[a, b]);
        let sign = self.op_with_int(LowOp::And, sign, format.sign);
        let bits = self.pack(sign, exponent, significand, format);

        let (a_zero, a_infinite) = (self.has_magnitude(a, 0, format), self.has_magnitude(a, format.infinity, format));
        let (b_zero, b_infinite) = (self.has_magnitude(b, 0, format), self.has_magnitude(b, format.infinity, format));
        let specials = Specials {
            zero: self.bool(LowOp::BOr, &[a_zero, b_infinite]),
            infinite: self.bool(LowOp::BOr, &[a_infinite, b_zero]),
            nan: self.either_nan(a, b, format),
        };
        let bits = self.with_specials(bits, sign, &specials, format);
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    /// `a * 2^precision / b` rounded down, for `b <= a < 2b`.
    fn quotient_of_significands(&mut self, a: Value, b: Value, format: Format) -> Floored {
        let divisor = self.low(LowOp::UToF(format.ty), &[b], format.ty);
        let guess = self.low(LowOp::UToF(format.ty), &[a], format.ty);
        let guess = self.same(LowOp::FDiv, &[guess, divisor]);
        let guess = self.scaled_to_int(guess, format.precision(), format);
        // Both terms wrap around; their difference is far smaller than the integers' range.
        let all = self.shift_by(LowOp::Shl, a, format.precision());
        let taken = self.same(LowOp::IMul, &[guess, b]);
        let remainder = self.same(LowOp::ISub, &[all, taken]);

        let more = self.floored_ratio(remainder, divisor, format);
        let taken = self.same(LowOp::IMul, &[more, b]);
        let value = self.same(LowOp::IAdd, &[guess, more]);
        let remainder = self.same(LowOp::ISub, &[remainder, taken]);
        // The ratio, too, was the device's, and may be off by one either way.
        let negative = self.test_int(LowOp::SLt, remainder, 0);
        let back = self.flag(negative, format.int);
        let value = self.same(LowOp::ISub, &[value, back]);
        let restored = self.same(LowOp::IAdd, &[remainder, b]);
        let remainder = self.select(negative, restored, remainder);
        let large = self.bool(LowOp::SLe, &[b, remainder]);
        let forth = self.flag(large, format.int);
        let value = self.same(LowOp::IAdd, &[value, forth]);
        let reduced = self.same(LowOp::ISub, &[remainder, b]);
        Floored { value, remainder: self.select(large, reduced, remainder) }
    }

    /// The square root of a float, correctly rounded, under the same condition as the quotient.
    pub(super) fn corrected_root(&mut self, a: Value) -> Value {
        let format = Format::of(self.function.ty(a));
        let a = self.bits(a);
        let operand = self.unpack_normalized(a, format);
        let exponent = self.op_with_int(LowOp::ISub, operand.exponent, format.bias());
        let odd = self.op_with_int(LowOp::And, exponent, 1);
        // From 1 to below 4.
        let significand = self.same(LowOp::Shl, &[operand.significand, odd]);
        let root = self.root_of_significand(significand, format);
        let significand = self.with_sticky(&root);

        // Roots are never subnormal nor infinite; the hidden bit counts the exponent up.
        let half = self.shift_by(LowOp::ShrS, exponent, 1);
        let half = self.op_with_int(LowOp::IAdd, half, format.bias() - 1);
        let field = self.shift_by(LowOp::Shl, half, format.fraction_bits());
        let fraction = self.round(significand);
        let bits = self.same(LowOp::IAdd, &[field, fraction]);

        // Zeros, infinity and NaN are their own roots; other numbers below zero have none.
        let zero = self.has_magnitude(a, 0, format);
        let special = self.op_with_int(LowOp::And, a, format.magnitude);
        let infinity = self.int(format.int, format.infinity);
        let special = self.bool(LowOp::ULe, &[infinity, special]);
        let own = self.bool(LowOp::BOr, &[zero, special]);
        let negative = self.test_int(LowOp::SLt, a, 0);
        let nan = self.int(format.int, format.nan);
        let nothing = self.select(negative, nan, bits);
        let bits = self.select(own, a, nothing);
        let below_infinity = self.bool(LowOp::BAnd, &[negative, special]);
        let bits = self.select(below_infinity, nan, bits);
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    /// The square root of `a * 2^(precision + 1)` rounded down, for `a` of `precision` or one more bits.
    fn root_of_significand(&mut self, a: Value, format: Format) -> Floored {
        // The device takes the root of `a` times an even power of two; what is missing of the scale comes after it.
        let lift = format.fraction_bits() % 2;
        let guess = self.shift_by(LowOp::Shl, a, lift);
        let guess = self.low(LowOp::UToF(format.ty), &[guess], format.ty);
        let root = self.same(LowOp::FSqrt, &[guess]);
        let guess = self.scaled_to_int(root, (format.precision() + 1 - lift) / 2, format);
        let all = self.shift_by(LowOp::Shl, a, format.precision() + 1);
        let square = self.same(LowOp::IMul, &[guess, guess]);
        let remainder = self.same(LowOp::ISub, &[all, square]);

        // (r + d)² = r² + (2r + d) d
        let twice = self.shift_by(LowOp::Shl, guess, 1);
        let slope = self.low(LowOp::UToF(format.ty), &[twice], format.ty);
        let more = self.floored_ratio(remainder, slope, format);
        let value = self.same(LowOp::IAdd, &[guess, more]);
        let sum = self.same(LowOp::IAdd, &[guess, value]);
        let taken = self.same(LowOp::IMul, &[sum, more]);
        let remainder = self.same(LowOp::ISub, &[remainder, taken]);
        let negative = self.test_int(LowOp::SLt, remainder, 0);
        let back = self.flag(negative, format.int);
        let value = self.same(LowOp::ISub, &[value, back]);
        let twice = self.shift_by(LowOp::Shl, value, 1);
        let step = self.op_with_int(LowOp::Or, twice, 1);
        let restored = self.same(LowOp::IAdd, &[remainder, step]);
        let remainder = self.select(negative, restored, remainder);
        let large = self.bool(LowOp::SLt, &[twice, remainder]);
        let forth = self.flag(large, format.int);
        let value = self.same(LowOp::IAdd, &[value, forth]);
        let reduced = self.same(LowOp::ISub, &[remainder, step]);
        Floored { value, remainder: self.select(large, reduced, remainder) }
    }

    /// A positive float times `2^exponent`, to an integer.
    fn scaled_to_int(&mut self, value: Value, exponent: u64, format: Format) -> Value {
        let scale = self.float_of_bits(format, format.power_of_two(exponent));
        let scaled = self.same(LowOp::FMul, &[value, scale]);
        self.low(LowOp::FToU(format.int), &[scaled], format.int)
    }

    /// A signed integer over a float, rounded down; off by at most one.
    fn floored_ratio(&mut self, value: Value, divisor: Value, format: Format) -> Value {
        let ratio = self.low(LowOp::SToF(format.ty), &[value], format.ty);
        let ratio = self.same(LowOp::FDiv, &[ratio, divisor]);
        let ratio = self.same(LowOp::FFloor, &[ratio]);
        self.low(LowOp::FToS(format.int), &[ratio], format.int)
    }

    fn with_sticky(&mut self, floored: &Floored) -> Value {
        let inexact = self.test_int(LowOp::Ne, floored.remainder, 0);
        let sticky = self.flag(inexact, self.function.ty(floored.value));
        let value = self.shift_by(LowOp::Shl, floored.value, 1);
        self.same(LowOp::Or, &[value, sticky])
    }

    /// A float constant given by its bits.
    fn float_of_bits(&mut self, format: Format, bits: u64) -> Value {
        use crate::ir::Const;
        self.constant(if format.ty == Type::F64 { Const::F64(bits) } else { Const::F32(bits as u32) })
    }
}
