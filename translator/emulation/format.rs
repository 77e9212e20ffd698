//! The bits of an `f64`: taking them apart and putting them together with one rounding, to nearest, ties to even.

use super::words::{high, leading_zeros, low, select, shift_left, shift_right_sticky};

/// The sign.
pub const SIGN: u64 = 1 << 63;
/// All but the sign.
pub const MAGNITUDE: u64 = SIGN - 1;
/// Infinity; greater magnitudes are NaN.
pub const INFINITY: u64 = 0x7ff << 52;
/// What every operator gives that computes a NaN.
pub const NAN: u64 = 0x7ff8 << 48;
/// The bit of a normal number's significand that is not written.
pub const HIDDEN: u64 = 1 << 52;
/// The fraction field.
pub const FRACTION: u64 = HIDDEN - 1;
/// The exponent field of infinities and NaN.
pub const LAST_EXPONENT: u32 = 0x7ff;
/// The exponent field of 1.
pub const BIAS: i32 = 0x3ff;

/// The exponent field.
pub fn exponent(bits: u64) -> u32 {
    high(bits) >> 20 & LAST_EXPONENT
}

/// Whether the bits are a NaN's.
pub fn is_nan(bits: u64) -> bool {
    bits & MAGNITUDE > INFINITY
}

/// The significand of a finite number: the fraction, and the hidden bit of normal ones.
pub fn significand(bits: u64) -> u64 {
    let hidden = select(exponent(bits) == 0, 0, HIDDEN);
    bits & FRACTION | hidden
}

/// A finite number: `significand * 2^(exponent - BIAS - 63)`.
#[derive(Clone, Copy)]
pub struct Number {
    /// The exponent field, and what it would be below the least.
    pub exponent: i32,
    /// Its highest bit is set, unless the number is zero.
    pub significand: u64,
}

/// Takes a finite number apart.
pub fn unpack(bits: u64) -> Number {
    let significand = significand(bits) << 11;
    let places = leading_zeros(significand);
    let field = exponent(bits).max(1);
    Number { exponent: field as i32 - places as i32, significand: shift_left(significand, places & 63) }
}

/// The 53 highest bits, rounded. The lowest bit may stand for any that are lost.
pub fn round(significand: u64) -> u64 {
    let odd = low(significand) >> 11 & 1;
    let up = (low(significand) & 0x7ff) + odd > 0x400;
    (significand >> 11) + u64::from(up)
}

/// The sign and the magnitude, which is infinite where it is too large.
pub fn with_sign(sign: u64, magnitude: u64) -> u64 {
    let magnitude = select(high(magnitude) >= high(INFINITY), INFINITY, magnitude);
    sign & SIGN | magnitude
}

/// The number nearest to `value`, with this sign. Of a significand without its highest bit the result means nothing.
pub fn pack(sign: u64, value: Number) -> u64 {
    let below = (1 - value.exponent).clamp(0, 63) as u32;
    let fraction = round(shift_right_sticky(value.significand, below));
    // The highest bit of the fraction, and a carry out of it, count the exponent up.
    let field = (value.exponent - 1).clamp(0, LAST_EXPONENT as i32 - 1) as u64;
    with_sign(sign, (field << 52) + fraction)
}
