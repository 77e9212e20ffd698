//! Sums, products and conversions on integers, for devices that take subnormals for zero or round carelessly.

use super::Lowerer;
use super::float::Format;
use super::significand::Specials;
use crate::ir::{LowOp, Type, Value};

/// The least exponent field of a sum or product at which no operand that a device took for zero can have mattered: it
/// was below a quarter of the last place.
const SAFE_EXPONENT: u64 = 64;

impl Lowerer<'_> {
    /// A sum, difference or product of floats: the device's where that is right, else computed on integers.
    pub(super) fn emulated(&mut self, op: LowOp, args: &[Value], native: Option<Value>) -> Value {
        let format = Format::of(self.function.ty(args[0]));
        let (a, b) = (self.bits(args[0]), self.bits(args[1]));
        let bits = match native {
            None => self.on_integers(op, a, b, format),
            Some(native) => {
                let native = self.bits(native);
                let least = SAFE_EXPONENT << format.fraction_bits();
                let magnitude = self.op_with_int(LowOp::And, native, format.magnitude);
                let above = self.op_with_int(LowOp::ISub, magnitude, least);
                let safe = self.test_int(LowOp::ULt, above, format.infinity - least);
                self.branch(safe, |_| vec![native], |l| vec![l.on_integers(op, a, b, format)])[0]
            }
        };
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    fn on_integers(&mut self, op: LowOp, a: Value, b: Value, format: Format) -> Value {
        match op {
            LowOp::FMul => self.product_on_integers(a, b, format),
            LowOp::FSub => {
                let negated = self.op_with_int(LowOp::Xor, b, format.sign);
                self.sum_on_integers(a, negated, format)
            }
            _ => self.sum_on_integers(a, b, format),
        }
    }

    fn sum_on_integers(&mut self, a: Value, b: Value, format: Format) -> Value {
        // One bit more than rounding takes, since a difference may lose its leading one.
        const GUARD_BITS: u64 = 3;
        let (size, precision) = (u64::from(format.ty.bits()), format.precision());
        let magnitude_a = self.op_with_int(LowOp::And, a, format.magnitude);
        let magnitude_b = self.op_with_int(LowOp::And, b, format.magnitude);
        let swapped = self.bool(LowOp::ULt, &[magnitude_a, magnitude_b]);
        let (large, small) = (self.select(swapped, b, a), self.select(swapped, a, b));
        let (high, low) = (self.unpack(large, format), self.unpack(small, format));
        let distance = self.same(LowOp::ISub, &[high.exponent, low.exponent]);
        let distance = self.op_with_int(LowOp::UMin, distance, precision + GUARD_BITS);
        let augend = self.shift_by(LowOp::Shl, high.significand, GUARD_BITS);
        let addend = self.shift_by(LowOp::Shl, low.significand, GUARD_BITS);
        let addend = self.shift_right_sticky(addend, distance);
        let signs = self.same(LowOp::Xor, &[a, b]);
        let opposite = self.test_int(LowOp::SLt, signs, 0);
        let (sum, difference) = (self.same(LowOp::IAdd, &[augend, addend]), self.same(LowOp::ISub, &[augend, addend]));
        let sum = self.select(opposite, difference, sum);

        let leading = self.highest_bit(sum);
        let exponent = self.same(LowOp::IAdd, &[high.exponent, leading]);
        let exponent = self.op_with_int(LowOp::ISub, exponent, precision - 1 + GUARD_BITS);
        let top = self.int(format.int, size - 1);
        let to_top = self.same(LowOp::ISub, &[top, leading]);
        // Of a sum of 0, which is taken out below, this would be the whole size.
        let to_top = self.op_with_int(LowOp::And, to_top, size - 1);
        let significand = self.same(LowOp::Shl, &[sum, to_top]);
        let surplus = self.int(format.int, size - format.extended_precision());
        let significand = self.shift_right_sticky(significand, surplus);
        let sign = self.op_with_int(LowOp::And, large, format.sign);
        let bits = self.pack(sign, exponent, significand, format);

        let both_signs = self.same(LowOp::And, &[a, b]);
        let zero = self.op_with_int(LowOp::And, both_signs, format.sign);
        let cancelled = self.test_int(LowOp::Eq, sum, 0);
        let bits = self.select(cancelled, zero, bits);
        let infinite = self.has_magnitude(large, format.infinity, format);
        let bits = self.select(infinite, large, bits);
        let both_infinite = self.has_magnitude(small, format.infinity, format);
        let invalid = self.bool(LowOp::BAnd, &[both_infinite, opposite]);
        let nan = self.either_nan(a, b, format);
        let nan = self.bool(LowOp::BOr, &[nan, invalid]);
        let quiet = self.int(format.int, format.nan);
        self.select(nan, quiet, bits)
    }

    fn product_on_integers(&mut self, a: Value, b: Value, format: Format) -> Value {
        let (x, y) = (self.unpack_normalized(a, format), self.unpack_normalized(b, format));
        let (high, low, half) = self.double_product(x.significand, y.significand, format);
        // The product has two digits before the point or one: the high part one bit more than is wanted, or as many.
        let lifted = format.extended_precision() + 2 * half - 2 * format.fraction_bits() - 1;
        let significand = self.shift_by(LowOp::Shl, high, lifted);
        let surplus = self.int(format.int, 2 * half - lifted);
        let rest = self.shift_right_sticky(low, surplus);
        let significand = self.same(LowOp::Or, &[significand, rest]);
        let carry = self.shift_by(LowOp::ShrU, significand, format.extended_precision());
        let significand = self.shift_right_sticky(significand, carry);

        let exponent = self.same(LowOp::IAdd, &[x.exponent, y.exponent]);
        let exponent = self.same(LowOp::IAdd, &[exponent, carry]);
        let exponent = self.op_with_int(LowOp::ISub, exponent, format.bias());
        let sign = self.same(LowOp::Xor, &[a, b]);
        let sign = self.op_with_int(LowOp::And, sign, format.sign);
        let bits = self.pack(sign, exponent, significand, format);
        let (a_zero, b_zero) = (self.has_magnitude(a, 0, format), self.has_magnitude(b, 0, format));
        let a_infinite = self.has_magnitude(a, format.infinity, format);
        let b_infinite = self.has_magnitude(b, format.infinity, format);
        let specials = Specials {
            zero: self.bool(LowOp::BOr, &[a_zero, b_zero]),
            infinite: self.bool(LowOp::BOr, &[a_infinite, b_infinite]),
            nan: self.either_nan(a, b, format),
        };
        self.with_specials(bits, sign, &specials, format)
    }

    /// `high * 2^(2 * half) + low`, the product of two significands, and `half`.
    fn double_product(&mut self, a: Value, b: Value, format: Format) -> (Value, Value, u64) {
        let half = format.precision().div_ceil(2);
        let mask = (1 << half) - 1;
        let (a_high, b_high) = (self.shift_by(LowOp::ShrU, a, half), self.shift_by(LowOp::ShrU, b, half));
        let (a_low, b_low) = (self.op_with_int(LowOp::And, a, mask), self.op_with_int(LowOp::And, b, mask));
        let high = self.same(LowOp::IMul, &[a_high, b_high]);
        let low = self.same(LowOp::IMul, &[a_low, b_low]);
        let (one, other) = (self.same(LowOp::IMul, &[a_high, b_low]), self.same(LowOp::IMul, &[a_low, b_high]));
        let middle = self.same(LowOp::IAdd, &[one, other]);
        let into_low = self.op_with_int(LowOp::And, middle, mask);
        let into_low = self.shift_by(LowOp::Shl, into_low, half);
        let low = self.same(LowOp::IAdd, &[low, into_low]);
        let into_high = self.shift_by(LowOp::ShrU, middle, half);
        let carry = self.shift_by(LowOp::ShrU, low, 2 * half);
        let high = self.same(LowOp::IAdd, &[high, into_high]);
        let high = self.same(LowOp::IAdd, &[high, carry]);
        (high, self.op_with_int(LowOp::And, low, (1 << (2 * half)) - 1), half)
    }

    /// An `F64` to the nearest `F32`.
    pub(super) fn demoted(&mut self, value: Value) -> Value {
        let (from, to) = (Format::of(Type::F64), Format::of(Type::F32));
        let bits = self.bits(value);
        let wide = self.unpack(bits, from);
        let surplus = self.int(Type::I64, from.precision() - to.extended_precision());
        let significand = self.shift_right_sticky(wide.significand, surplus);
        let significand = self.low(LowOp::Wrap, &[significand], Type::I32);
        let exponent = self.low(LowOp::Wrap, &[wide.exponent], Type::I32);
        let exponent = self.op_with_int(LowOp::ISub, exponent, from.bias() - to.bias());
        let high = self.low(LowOp::High, &[bits], Type::I32);
        let sign = self.op_with_int(LowOp::And, high, to.sign);
        let packed = self.pack(sign, exponent, significand, to);
        let infinity = self.op_with_int(LowOp::Or, sign, to.infinity);
        let infinite = self.has_magnitude(bits, from.infinity, from);
        let packed = self.select(infinite, infinity, packed);
        let nan = self.is_nan(bits, from);
        let quiet = self.int(Type::I32, to.nan);
        let packed = self.select(nan, quiet, packed);
        self.low(LowOp::Bitcast(Type::F32), &[packed], Type::F32)
    }

    /// An `F32` as an `F64`.
    pub(super) fn promoted(&mut self, value: Value) -> Value {
        let (from, to) = (Format::of(Type::F32), Format::of(Type::F64));
        let bits = self.bits(value);
        let narrow = self.unpack_normalized(bits, from);
        let exponent = self.op_with_int(LowOp::IAdd, narrow.exponent, to.bias() - from.bias() - 1);
        let exponent = self.low(LowOp::ExtendU, &[exponent], Type::I64);
        let field = self.shift_by(LowOp::Shl, exponent, to.fraction_bits());
        let significand = self.low(LowOp::ExtendU, &[narrow.significand], Type::I64);
        let fraction = self.shift_by(LowOp::Shl, significand, to.fraction_bits() - from.fraction_bits());
        let wide = self.same(LowOp::IAdd, &[field, fraction]);
        let sign = self.op_with_int(LowOp::And, bits, from.sign);
        let sign = self.low(LowOp::ExtendU, &[sign], Type::I64);
        let sign = self.shift_by(LowOp::Shl, sign, 32);
        let wide = self.same(LowOp::Or, &[wide, sign]);
        let specials = Specials {
            zero: self.has_magnitude(bits, 0, from),
            infinite: self.has_magnitude(bits, from.infinity, from),
            nan: self.is_nan(bits, from),
        };
        let wide = self.with_specials(wide, sign, &specials, to);
        self.low(LowOp::Bitcast(Type::F64), &[wide], Type::F64)
    }

    /// A float that rounds to the same integers as the given one and is no subnormal.
    pub(super) fn without_subnormals(&mut self, value: Value) -> Value {
        let format = Format::of(self.function.ty(value));
        let bits = self.bits(value);
        let magnitude = self.op_with_int(LowOp::And, bits, format.magnitude);
        let above_zero = self.op_with_int(LowOp::ISub, magnitude, 1);
        // Zero wraps around to the greatest.
        let subnormal = self.test_int(LowOp::ULt, above_zero, (1 << format.fraction_bits()) - 1);
        let sign = self.op_with_int(LowOp::And, bits, format.sign);
        let half = self.op_with_int(LowOp::Or, sign, (format.bias() - 1) << format.fraction_bits());
        let bits = self.select(subnormal, half, bits);
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }
}
