//! Conversions between floats and integers, and between `f32` and `f64`, on the floats' bits.

use super::format::{BIAS, INFINITY, LAST_EXPONENT, MAGNITUDE, NAN, SIGN, exponent, is_nan, round, significand};
use super::words::{high, join, leading_zeros, low, select, shift_left, shift_right};

/// Infinity of `f32`.
const INFINITY_32: u32 = 0x7f80_0000;
/// The NaN that computations give, of `f32`.
const NAN_32: u32 = 0x7fc0_0000;
/// The sign of `f32`.
pub const SIGN_32: u32 = 1 << 31;
/// The exponent field of 1, of `f32`.
pub const BIAS_32: i32 = 0x7f;

/// The magnitude and the sign's bits, all ones where it is negative.
fn absolute(value: i64) -> (u64, u64) {
    (value.unsigned_abs(), (value as u64) & SIGN)
}

/// An unsigned integer as an `f64`.
pub fn from_u64(value: u64) -> u64 {
    let places = leading_zeros(value);
    let field = (BIAS as u32 + 62 - places) as u64;
    let rounded = (field << 52) + round(shift_left(value, places & 63));
    select(value == 0, 0, rounded)
}

/// A signed integer as an `f64`.
pub fn from_i64(value: i64) -> u64 {
    let (magnitude, sign) = absolute(value);
    from_u64(magnitude) | sign
}

/// The same of 32 bits, which are never rounded.
pub fn from_u32(value: u32) -> u64 {
    let places = value.leading_zeros();
    let field = (BIAS as u32 + 30 - places) as u64;
    let exact = (field << 52) + (u64::from(value << (places & 31)) << 21);
    select(value == 0, 0, exact)
}

/// The same of 32 bits.
pub fn from_i32(value: i32) -> u64 {
    from_u32(value.unsigned_abs()) | (value as i64 as u64) & SIGN
}

/// The 24 highest bits, rounded.
pub fn round_32(significand: u32) -> u32 {
    let odd = significand >> 8 & 1;
    (significand >> 8) + u32::from((significand & 0xff) + odd > 0x80)
}

/// An unsigned integer as an `f32`.
pub fn from_u64_to_f32(value: u64) -> u32 {
    let places = leading_zeros(value);
    let significand = shift_left(value, places & 63);
    let significand = high(significand) | u32::from(low(significand) != 0);
    let rounded = ((BIAS_32 as u32 + 62 - places) << 23) + round_32(significand);
    select(value == 0, 0, rounded)
}

/// A signed integer as an `f32`.
pub fn from_i64_to_f32(value: i64) -> u32 {
    let (magnitude, sign) = absolute(value);
    from_u64_to_f32(magnitude) | high(sign)
}

/// An `f32` as an `f64`.
pub fn promote(bits: u32) -> u64 {
    let field = bits >> 23 & 0xff;
    let hidden = select(field == 0, 0, SIGN_32);
    let significand = bits << 9 >> 1 | hidden;
    let places = significand.leading_zeros();
    let exponent = (field.max(1) + (BIAS - BIAS_32) as u32 - 1).wrapping_sub(places);
    let significand = significand << (places & 31);
    let finite = join((exponent << 20).wrapping_add(significand >> 11), significand << 21);
    let magnitude = select(significand == 0, 0, finite);
    let special = select(bits << 9 == 0, INFINITY, NAN);
    let magnitude = select(field == 0xff, special, magnitude);
    select(magnitude == NAN, NAN, magnitude | u64::from(bits & SIGN_32) << 32)
}

/// The magnitude of the `f32` nearest to a number, given the upper word of its significand, whose lowest bit may stand for any
/// that are lost.
pub fn nearest_32(bits: u64, significand: u32) -> u32 {
    let exponent = exponent(bits) as i32 - (BIAS - BIAS_32);
    let below = (1 - exponent).clamp(0, 31) as u32;
    let kept = significand >> below;
    let kept = kept | u32::from(kept << below != significand);
    let field = (exponent - 1).clamp(0, 0xfe) as u32;
    ((field << 23) + round_32(kept)).min(INFINITY_32)
}

/// An `f64` as the nearest `f32`.
pub fn demote(bits: u64) -> u32 {
    let significand = significand(bits) << 11;
    let magnitude = nearest_32(bits, high(significand) | u32::from(low(significand) != 0));
    let sign = high(bits) & SIGN_32;
    select(is_nan(bits), NAN_32, magnitude | sign)
}

/// The whole part of a float's magnitude, given the exponent as an `f64`'s and a significand at the top; all ones where
/// that is 2^64 or more.
fn whole(field: u32, significand: u64) -> u64 {
    /// The field from which on a number is 2^64 or more.
    const BEYOND: u32 = BIAS as u32 + 64;
    let whole = shift_right(significand, (BEYOND - 1).wrapping_sub(field) & 63);
    let whole = select(field >= BEYOND, u64::MAX, whole);
    select(field < BIAS as u32, 0, whole)
}

/// The magnitude's whole part, 0 of NaN.
fn whole_64(bits: u64) -> u64 {
    let whole = whole(exponent(bits), significand(bits) << 11);
    select(is_nan(bits), 0, whole)
}

/// The same of an `f32`.
fn whole_32(bits: u32) -> u64 {
    let field = bits >> 23 & 0xff;
    let beyond = select(field == 0xff, LAST_EXPONENT, field + (BIAS - BIAS_32) as u32);
    let whole = whole(beyond, join(bits << 8 | SIGN_32, 0));
    select(bits << 1 > INFINITY_32 << 1, 0, whole)
}

/// The number in range that is nearest to a magnitude and a sign; a negative one has at most `least` below zero.
fn saturate(magnitude: u64, negative: bool, least: u64, greatest: u64) -> u64 {
    select(negative, magnitude.min(least).wrapping_neg(), magnitude.min(greatest))
}

/// An `f64` to the nearest integer towards zero of those with 64 bits.
pub fn to_i64(bits: u64) -> u64 {
    saturate(whole_64(bits), bits & SIGN != 0, SIGN, SIGN - 1)
}

/// The same without a sign.
pub fn to_u64(bits: u64) -> u64 {
    select(bits & SIGN != 0, 0, whole_64(bits))
}

/// The same of 32 bits.
pub fn to_i32(bits: u64) -> u32 {
    let whole = whole_64(bits);
    let word = select(high(whole) == 0, low(whole), u32::MAX);
    select(bits & SIGN != 0, word.min(SIGN_32).wrapping_neg(), word.min(SIGN_32 - 1))
}

/// The same of 32 bits without a sign.
pub fn to_u32(bits: u64) -> u32 {
    let whole = whole_64(bits);
    let word = select(high(whole) == 0, low(whole), u32::MAX);
    select(bits & SIGN != 0, 0, word)
}

/// An `f32` to the nearest integer towards zero of those with 64 bits.
pub fn to_i64_from_f32(bits: u32) -> u64 {
    saturate(whole_32(bits), bits & SIGN_32 != 0, SIGN, SIGN - 1)
}

/// The same without a sign.
pub fn to_u64_from_f32(bits: u32) -> u64 {
    select(bits & SIGN_32 != 0, 0, whole_32(bits))
}

/// What hinders a conversion to an integer.
pub const NOTHING: u32 = 0;
/// The float is NaN.
pub const NOT_A_NUMBER: u32 = 1;
/// The integer would not fit.
pub const OVERFLOW: u32 = 2;

/// What hinders a conversion that takes magnitudes below these, of floats with and without a minus.
pub fn hindrance(bits: u64, negative: u64, positive: u64) -> u32 {
    let limit = select(bits & SIGN != 0, negative, positive);
    let outside = select(is_nan(bits), NOT_A_NUMBER, OVERFLOW);
    select(bits & MAGNITUDE < limit, NOTHING, outside)
}

/// The same of an `f32`.
pub fn hindrance_32(bits: u32, negative: u32, positive: u32) -> u32 {
    let limit = select(bits & SIGN_32 != 0, negative, positive);
    let magnitude = bits & !SIGN_32;
    let outside = select(magnitude > INFINITY_32, NOT_A_NUMBER, OVERFLOW);
    select(magnitude < limit, NOTHING, outside)
}
