//! Functions of C's mathematical library on the device's own. Those are defined and accurate in a part of the domain
//! only: what lies outside is led into it, or selected apart. The constants are Taylor coefficients and parts of pi;
//! splitting 2 pi into parts of few bits, so that multiples of the first ones are exact, is Cody and Waite's (Software
//! Manual for the Elementary Functions, 1980).

use std::f32::consts::{LOG2_10, LOG10_2, PI, TAU};

use super::Lowerer;
use super::float::Format;
use crate::ir::{Const, LowOp, MathOp, Type, Value};

/// 2 pi in three parts; the first two have 8 bits each, so that their products with integers below 2^16 are exact.
const TAU_PARTS: [f32; 3] = [6.28125, 0.001_930_236_8, 5.070_363_4e-6];

/// More than pi by what rounding the number of turns can shift an argument below 2^18 by.
const PERIODIC_LIMIT: f32 = 3.2;

/// Where `tanhf` has reached 1.
const TANH_LIMIT: f32 = 10.0;

/// Below these the series are closer than what devices compute: they subtract numbers close to one another.
const SMALL_TANH: f32 = 0.125;
const SMALL_SINH: f32 = 0.25;
const SMALL_EXPM1: f32 = 0.25;
const SMALL_LOG1P: f32 = 0.25;

/// Quotients of `fmodf` come out exactly in steps of so many bits: their products with half a significand are exact.
const QUOTIENT_BITS: u32 = 12;

impl Lowerer<'_> {
    /// The value of a function of C's library.
    pub(super) fn math(&mut self, op: MathOp, args: &[Value]) -> Value {
        let x = args[0];
        match op {
            MathOp::Sin | MathOp::Cos | MathOp::Tan => self.periodic(op, x),
            MathOp::Asin | MathOp::Acos => self.arc(op, x),
            MathOp::Atan2 => self.arc_tangent(x, args[1]),
            MathOp::Sinh => self.hyperbolic_sine(x),
            MathOp::Tanh => self.hyperbolic_tangent(x),
            MathOp::Exp10 => {
                let factor = self.f32(LOG2_10);
                let exponent = self.same(LowOp::FMul, &[x, factor]);
                self.device(MathOp::Exp2, &[exponent])
            }
            MathOp::Expm1 => self.exponential_minus_one(x),
            MathOp::Log | MathOp::Log2 => self.logarithm(op, x),
            MathOp::Log10 => {
                let binary = self.logarithm(MathOp::Log2, x);
                let factor = self.f32(LOG10_2);
                self.same(LowOp::FMul, &[binary, factor])
            }
            MathOp::Log1p => self.logarithm_of_one_plus(x),
            MathOp::Pow => self.power(x, args[1]),
            MathOp::Cbrt => self.cube_root(x),
            MathOp::Hypot => self.hypotenuse(x, args[1]),
            MathOp::Fmod => self.remainder(x, args[1]),
            MathOp::Fmin => self.number_chosen(x, args[1], [x, args[1]]),
            MathOp::Fmax => self.number_chosen(x, args[1], [args[1], x]),
            MathOp::Fdim => self.positive_difference(x, args[1]),
            MathOp::Round => self.rounded_away(x),
            MathOp::Atan | MathOp::Cosh | MathOp::Exp | MathOp::Exp2 | MathOp::Fma => self.device(op, args),
        }
    }

    fn device(&mut self, op: MathOp, args: &[Value]) -> Value {
        self.low(LowOp::Math(op), args, Type::F32)
    }

    fn f32(&mut self, value: f32) -> Value {
        self.float_constant(Const::F32(value.to_bits()))
    }

    fn abs(&mut self, x: Value) -> Value {
        self.same(LowOp::FAbs, &[x])
    }

    /// `a < b`, not so for NaN.
    fn less(&mut self, a: Value, b: Value) -> Value {
        self.bool(LowOp::FLt, &[a, b])
    }

    fn less_than(&mut self, a: Value, b: f32) -> Value {
        let b = self.f32(b);
        self.less(a, b)
    }

    fn equals(&mut self, a: Value, b: f32) -> Value {
        let b = self.f32(b);
        self.bool(LowOp::FEq, &[a, b])
    }

    fn nan_test(&mut self, x: Value) -> Value {
        let bits = self.bits(x);
        self.is_nan(bits, Format::of(Type::F32))
    }

    fn magnitude_is_infinite(&mut self, x: Value) -> Value {
        let magnitude = self.abs(x);
        self.equals(magnitude, f32::INFINITY)
    }

    /// `sum + x * (first + x * (...))`.
    fn polynomial(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let mut sum = self.f32(coefficients.last().copied().unwrap_or_default());
        for coefficient in coefficients.iter().rev().skip(1) {
            let product = self.same(LowOp::FMul, &[sum, x]);
            let coefficient = self.f32(*coefficient);
            sum = self.same(LowOp::FAdd, &[product, coefficient]);
        }
        sum
    }

    /// `x * polynomial(x * x)`.
    fn odd_series(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let square = self.same(LowOp::FMul, &[x, x]);
        let series = self.polynomial(square, coefficients);
        self.same(LowOp::FMul, &[x, series])
    }

    /// Leads the argument into -pi to pi, outside of which devices promise nothing. From 2^18 on, what is left of it
    /// gets less and less exact; it is cut off close to the ends, which roundings exceed, so that the result stays in range.
    fn periodic(&mut self, op: MathOp, x: Value) -> Value {
        let inverse = self.f32(1.0 / TAU);
        let turns = self.same(LowOp::FMul, &[x, inverse]);
        let turns = self.same(LowOp::FRoundEven, &[turns]);
        let mut rest = x;
        for part in TAU_PARTS {
            let part = self.f32(part);
            let product = self.same(LowOp::FMul, &[turns, part]);
            rest = self.same(LowOp::FSub, &[rest, product]);
        }
        let (low, high) = (self.f32(-PERIODIC_LIMIT), self.f32(PERIODIC_LIMIT));
        let above = self.less(high, rest);
        let rest = self.select(above, high, rest);
        let below = self.less(rest, low);
        let rest = self.select(below, low, rest);
        let value = self.device(op, &[rest]);
        // Drivers make minimum and maximum of the choices above, which prefer numbers to NaN.
        let (magnitude, greatest, nan) = (self.abs(x), self.f32(f32::MAX), self.f32(f32::NAN));
        let finite = self.bool(LowOp::FLe, &[magnitude, greatest]);
        self.select(finite, value, nan)
    }

    /// The angle of a point on the unit circle: devices' own functions are far less accurate (4,096 units by Vulkan).
    fn arc(&mut self, op: MathOp, x: Value) -> Value {
        let one = self.f32(1.0);
        let (less, more) = (self.same(LowOp::FSub, &[one, x]), self.same(LowOp::FAdd, &[one, x]));
        let product = self.same(LowOp::FMul, &[less, more]);
        let other = self.same(LowOp::FSqrt, &[product]);
        let value = match op {
            MathOp::Acos => self.device(MathOp::Atan2, &[other, x]),
            _ => self.device(MathOp::Atan2, &[x, other]),
        };
        let (magnitude, nan) = (self.abs(x), self.f32(f32::NAN));
        let inside = self.bool(LowOp::FLe, &[magnitude, one]);
        self.select(inside, value, nan)
    }

    /// Two zeros, and two infinities, are taken for two ones of their signs, the zeros' result being 0 or pi.
    fn arc_tangent(&mut self, y: Value, x: Value) -> Value {
        let (y_infinite, x_infinite) = (self.magnitude_is_infinite(y), self.magnitude_is_infinite(x));
        let infinite = self.bool(LowOp::BAnd, &[y_infinite, x_infinite]);
        let one = self.f32(1.0);
        let (unit_y, unit_x) = (self.copysign(one, y), self.copysign(one, x));
        let (near_y, near_x) = (self.select(infinite, unit_y, y), self.select(infinite, unit_x, x));
        let (y_zero, x_zero) = (self.equals(y, 0.0), self.equals(x, 0.0));
        let zero = self.bool(LowOp::BAnd, &[y_zero, x_zero]);
        let near_x = self.select(zero, one, near_x);
        let angle = self.device(MathOp::Atan2, &[near_y, near_x]);
        let x_bits = self.bits(x);
        let negative = self.test_int(LowOp::SLt, x_bits, 0);
        let (pi, none) = (self.f32(PI), self.constant(Const::F32(0)));
        let of_zeros = self.select(negative, pi, none);
        let of_zeros = self.copysign(of_zeros, y);
        self.select(zero, of_zeros, angle)
    }

    fn hyperbolic_sine(&mut self, x: Value) -> Value {
        let series = self.odd_series(x, &[1.0, 1.0 / 6.0, 1.0 / 120.0]);
        let value = self.device(MathOp::Sinh, &[x]);
        let magnitude = self.abs(x);
        let small = self.less_than(magnitude, SMALL_SINH);
        self.select(small, series, value)
    }

    /// Some drivers divide the difference of two exponentials by their sum, which overflow.
    fn hyperbolic_tangent(&mut self, x: Value) -> Value {
        let series = self.odd_series(x, &[1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0]);
        let magnitude = self.abs(x);
        let limit = self.f32(TANH_LIMIT);
        let beyond = self.less(limit, magnitude);
        let end = self.copysign(limit, x);
        let inside = self.select(beyond, end, x);
        let value = self.device(MathOp::Tanh, &[inside]);
        let small = self.less_than(magnitude, SMALL_TANH);
        self.select(small, series, value)
    }

    fn exponential_minus_one(&mut self, x: Value) -> Value {
        let coefficients = [1.0, 1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0];
        let series = self.polynomial(x, &coefficients);
        let series = self.same(LowOp::FMul, &[x, series]);
        let (exponential, one) = (self.device(MathOp::Exp, &[x]), self.f32(1.0));
        let value = self.same(LowOp::FSub, &[exponential, one]);
        let magnitude = self.abs(x);
        let small = self.less_than(magnitude, SMALL_EXPM1);
        self.select(small, series, value)
    }

    fn logarithm(&mut self, op: MathOp, x: Value) -> Value {
        let zero = self.constant(Const::F32(0));
        let positive = self.less(zero, x);
        let is_zero = self.bool(LowOp::FEq, &[x, zero]);
        let value = self.device(op, &[x]);
        let (infinity, nan) = (self.f32(f32::NEG_INFINITY), self.f32(f32::NAN));
        let outside = self.select(is_zero, infinity, nan);
        let value = self.select(positive, value, outside);
        let infinite = self.equals(x, f32::INFINITY);
        self.select(infinite, x, value)
    }

    /// Near 0, `2 * atanh(x / (2 + x))` by its series.
    fn logarithm_of_one_plus(&mut self, x: Value) -> Value {
        let (one, two) = (self.f32(1.0), self.f32(2.0));
        let divisor = self.same(LowOp::FAdd, &[x, two]);
        let ratio = self.same(LowOp::FDiv, &[x, divisor]);
        let series = self.odd_series(ratio, &[2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0]);
        let sum = self.same(LowOp::FAdd, &[x, one]);
        let value = self.logarithm(MathOp::Log, sum);
        let magnitude = self.abs(x);
        let small = self.less_than(magnitude, SMALL_LOG1P);
        self.select(small, series, value)
    }

    /// Devices have powers of positive numbers.
    fn power(&mut self, x: Value, y: Value) -> Value {
        let magnitude = self.abs(x);
        let value = self.device(MathOp::Pow, &[magnitude, y]);
        let zero = self.constant(Const::F32(0));
        let (one, nan, infinity) = (self.f32(1.0), self.f32(f32::NAN), self.f32(f32::INFINITY));
        let y_negative = self.less(y, zero);
        let at_zero = self.select(y_negative, infinity, zero);
        let x_zero = self.bool(LowOp::FEq, &[magnitude, zero]);
        let value = self.select(x_zero, at_zero, value);
        let at_infinity = self.select(y_negative, zero, infinity);
        let x_infinite = self.equals(magnitude, f32::INFINITY);
        let value = self.select(x_infinite, at_infinity, value);

        let whole = self.same(LowOp::FTrunc, &[y]);
        let is_whole = self.bool(LowOp::FEq, &[whole, y]);
        let half = self.f32(0.5);
        let halved = self.same(LowOp::FMul, &[y, half]);
        let half_whole = self.same(LowOp::FTrunc, &[halved]);
        let is_even = self.bool(LowOp::FEq, &[half_whole, halved]);
        let not_even = self.bool(LowOp::BNot, &[is_even]);
        let is_odd = self.bool(LowOp::BAnd, &[is_whole, not_even]);
        let signed = self.copysign(value, x);
        let value = self.select(is_odd, signed, value);
        // Of negative numbers, powers that are no integers are NaN; but infinite ones are even, and those of infinity exist.
        let x_negative = self.less(x, zero);
        let fraction = self.bool(LowOp::BNot, &[is_whole]);
        let undefined = self.bool(LowOp::BAnd, &[x_negative, fraction]);
        let finite = self.bool(LowOp::BNot, &[x_infinite]);
        let undefined = self.bool(LowOp::BAnd, &[undefined, finite]);
        let value = self.select(undefined, nan, value);
        let (x_nan, y_nan) = (self.nan_test(x), self.nan_test(y));
        let unordered = self.bool(LowOp::BOr, &[x_nan, y_nan]);
        let value = self.select(unordered, nan, value);

        // 1 to whatever power and whatever to the power 0 are 1, NaN not excepted; -1 to an infinite one is.
        let x_one = self.bool(LowOp::FEq, &[x, one]);
        let y_zero = self.bool(LowOp::FEq, &[y, zero]);
        let unit = self.bool(LowOp::BOr, &[x_one, y_zero]);
        let (minus, y_infinite) = (self.equals(x, -1.0), self.magnitude_is_infinite(y));
        let minus = self.bool(LowOp::BAnd, &[minus, y_infinite]);
        let unit = self.bool(LowOp::BOr, &[unit, minus]);
        self.select(unit, one, value)
    }

    /// A third of the binary logarithm, and one of Newton's steps. Zeros, infinities and NaN stay.
    fn cube_root(&mut self, x: Value) -> Value {
        let magnitude = self.abs(x);
        let binary = self.device(MathOp::Log2, &[magnitude]);
        let third = self.f32(1.0 / 3.0);
        let exponent = self.same(LowOp::FMul, &[binary, third]);
        let guess = self.device(MathOp::Exp2, &[exponent]);
        let square = self.same(LowOp::FMul, &[guess, guess]);
        let quotient = self.same(LowOp::FDiv, &[magnitude, square]);
        let excess = self.same(LowOp::FSub, &[guess, quotient]);
        let correction = self.same(LowOp::FMul, &[excess, third]);
        let root = self.same(LowOp::FSub, &[guess, correction]);
        let root = self.copysign(root, x);
        let (zero, infinite, nan) = (self.equals(x, 0.0), self.magnitude_is_infinite(x), self.nan_test(x));
        let stays = self.bool(LowOp::BOr, &[zero, infinite]);
        let stays = self.bool(LowOp::BOr, &[stays, nan]);
        self.select(stays, x, root)
    }

    /// The greater leg times `sqrt(1 + ratio^2)`: squares would overflow.
    fn hypotenuse(&mut self, x: Value, y: Value) -> Value {
        let (x, y) = (self.abs(x), self.abs(y));
        let less = self.less(x, y);
        let (long, short) = (self.select(less, y, x), self.select(less, x, y));
        let ratio = self.same(LowOp::FDiv, &[short, long]);
        let square = self.same(LowOp::FMul, &[ratio, ratio]);
        let one = self.f32(1.0);
        let sum = self.same(LowOp::FAdd, &[square, one]);
        let root = self.same(LowOp::FSqrt, &[sum]);
        let value = self.same(LowOp::FMul, &[long, root]);
        let zero = self.equals(long, 0.0);
        let value = self.select(zero, long, value);
        let (x_infinite, y_infinite) = (self.equals(x, f32::INFINITY), self.equals(y, f32::INFINITY));
        let infinite = self.bool(LowOp::BOr, &[x_infinite, y_infinite]);
        let (x_nan, y_nan) = (self.nan_test(x), self.nan_test(y));
        let unordered = self.bool(LowOp::BOr, &[x_nan, y_nan]);
        let (nan, infinity) = (self.f32(f32::NAN), self.f32(f32::INFINITY));
        let value = self.select(unordered, nan, value);
        self.select(infinite, infinity, value)
    }

    /// Subtracts multiples of `y * 2^24`, `y * 2^12` and `y`: exact where the quotient is below 2^36. A divisor that far
    /// below the dividend leaves any remainder within its range.
    fn remainder(&mut self, x: Value, y: Value) -> Value {
        let (mut rest, divisor) = (self.abs(x), self.abs(y));
        for step in [2, 1, 0] {
            let scale = self.f32(2f32.powi(step * QUOTIENT_BITS as i32));
            let scaled = self.same(LowOp::FMul, &[divisor, scale]);
            rest = self.remainder_step(rest, scaled);
        }
        let (none, zero) = (self.constant(Const::F32(0)), self.equals(y, 0.0));
        let rest = self.abs(rest);
        let below = self.less(rest, divisor);
        let rest = self.select(below, rest, none);
        let value = self.copysign(rest, x);
        let y_infinite = self.magnitude_is_infinite(y);
        let value = self.select(y_infinite, x, value);
        let (x_infinite, x_nan, y_nan) = (self.magnitude_is_infinite(x), self.nan_test(x), self.nan_test(y));
        let mut undefined = zero;
        for other in [x_infinite, x_nan, y_nan] {
            undefined = self.bool(LowOp::BOr, &[undefined, other]);
        }
        let nan = self.f32(f32::NAN);
        self.select(undefined, nan, value)
    }

    /// One step: the quotient may be off by one.
    fn remainder_step(&mut self, x: Value, y: Value) -> Value {
        let quotient = self.same(LowOp::FDiv, &[x, y]);
        let quotient = self.same(LowOp::FTrunc, &[quotient]);
        let bits = self.bits(y);
        let bits = self.op_with_int(LowOp::And, bits, u64::from(u32::MAX << QUOTIENT_BITS));
        let high = self.low(LowOp::Bitcast(Type::F32), &[bits], Type::F32);
        let low = self.same(LowOp::FSub, &[y, high]);
        let mut rest = x;
        for part in [high, low] {
            let product = self.same(LowOp::FMul, &[quotient, part]);
            rest = self.same(LowOp::FSub, &[rest, product]);
        }
        let (more, less) = (self.same(LowOp::FAdd, &[rest, y]), self.same(LowOp::FSub, &[rest, y]));
        let negative = self.less_than(rest, 0.0);
        let too_great = self.bool(LowOp::FLe, &[y, rest]);
        let rest = self.select(too_great, less, rest);
        let rest = self.select(negative, more, rest);
        // An infinite divisor, from scaling, takes part in no sum.
        let already = self.less(x, y);
        self.select(already, x, rest)
    }

    /// The first where `a < b`, else the second; of a NaN and a number, the number.
    fn number_chosen(&mut self, a: Value, b: Value, [first, second]: [Value; 2]) -> Value {
        let less = self.less(a, b);
        let chosen = self.select(less, first, second);
        let (a_nan, b_nan) = (self.nan_test(a), self.nan_test(b));
        let chosen = self.select(a_nan, b, chosen);
        self.select(b_nan, a, chosen)
    }

    fn positive_difference(&mut self, x: Value, y: Value) -> Value {
        let difference = self.same(LowOp::FSub, &[x, y]);
        let not_greater = self.bool(LowOp::FLe, &[x, y]);
        let zero = self.constant(Const::F32(0));
        self.select(not_greater, zero, difference)
    }

    /// To nearest, halves away from zero.
    fn rounded_away(&mut self, x: Value) -> Value {
        let magnitude = self.abs(x);
        let whole = self.same(LowOp::FTrunc, &[magnitude]);
        let fraction = self.same(LowOp::FSub, &[magnitude, whole]);
        let (half, one) = (self.f32(0.5), self.f32(1.0));
        let up = self.bool(LowOp::FLe, &[half, fraction]);
        let next = self.same(LowOp::FAdd, &[whole, one]);
        let rounded = self.select(up, next, whole);
        self.copysign(rounded, x)
    }
}

#[cfg(test)]
mod tests {
    use super::TAU_PARTS;

    #[test]
    fn parts_of_two_pi_are_short_and_add_up() {
        for part in &TAU_PARTS[..2] {
            assert_eq!(part.to_bits() & 0xffff, 0, "{part} has more than 8 bits");
        }
        let sum: f64 = TAU_PARTS.iter().map(|part| f64::from(*part)).sum();
        assert!((sum - std::f64::consts::TAU).abs() < 1e-12, "{sum}");
    }
}
