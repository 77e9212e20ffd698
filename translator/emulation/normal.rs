//! Operators on `f64`s of which more is known than their bits: most are given numbers only, no infinities and no NaN, that
//! are zero or normal, and give such. Each says what it takes for granted; of other operands its result means nothing.

use super::convert::{BIAS_32, INFINITY_32, SIGN_32, round_32};
use super::format::{BIAS, FRACTION, HIDDEN, MAGNITUDE, SIGN, exponent, round};
use super::order::below;
use super::words::{
    high, join, leading_zeros, low, multiply, multiply_high_sticky, select, shift_left, shift_right_sticky,
};

/// The significand of a normal number, its highest bit at the top.
fn top(bits: u64) -> u64 {
    bits << 11 | SIGN
}

/// Whether a number that is zero or normal is zero.
fn is_zero(bits: u64) -> bool {
    exponent(bits) == 0
}

/// The significand of a number that is zero or normal.
fn significand(bits: u64) -> u64 {
    select(is_zero(bits), 0, bits & FRACTION | HIDDEN)
}

/// A sign and what is above the bits of a significand of 53 bits, whose highest one counts as one more of the exponent.
fn put_together(sign: u64, exponent: u32, significand: u64) -> u64 {
    sign & SIGN | join(exponent << 20, 0).wrapping_add(significand)
}

/// The product, from the upper half of that of the significands.
fn product(a: u64, b: u64, product: u64) -> u64 {
    let carry = high(product) >> 31;
    let significand = select(carry == 0, product << 1, product);
    let field = (exponent(a) + exponent(b) + carry).wrapping_sub(BIAS as u32 + 1);
    let sign = (a ^ b) & SIGN;
    select(is_zero(a) | is_zero(b), sign, put_together(sign, field, round(significand)))
}

/// `a * b` of numbers that are zero or normal, where the exact product is zero or at least the least normal number, and
/// rounds to less than infinity.
pub fn multiply_floats(a: u64, b: u64) -> u64 {
    product(a, b, multiply_high_sticky(top(a), top(b)))
}

/// The same where `b` has at most 32 significant bits.
pub fn multiply_by_word(a: u64, b: u64) -> u64 {
    let (x, y) = (top(a), high(top(b)));
    let lower = multiply(low(x), y);
    let upper = multiply(high(x), y) + u64::from(high(lower));
    product(a, b, upper | u64::from(low(lower) != 0))
}

/// Bits of room above the significands of a sum.
const ROOM: u32 = 10;

/// The sum of significands whose exponents are as far apart, of numbers of which the first is not the lesser one.
fn sum(large: u64, small: u64) -> u64 {
    let distance = (exponent(large) - exponent(small)).min(63);
    let augend = significand(large) << ROOM;
    let addend = shift_right_sticky(significand(small) << ROOM, distance);
    let opposite = (large ^ small) & SIGN != 0;
    select(opposite, augend.wrapping_sub(addend), augend.wrapping_add(addend))
}

/// `a + b` of numbers that are zero or normal, where the result is.
pub fn add(a: u64, b: u64) -> u64 {
    let swapped = a & MAGNITUDE < b & MAGNITUDE;
    add_lesser(select(swapped, b, a), select(swapped, a, b))
}

/// The same where no magnitude of `b` is above that of `a`.
pub fn add_lesser(large: u64, small: u64) -> u64 {
    let sum = sum(large, small);
    let places = leading_zeros(sum);
    let field = exponent(large).wrapping_sub(places);
    let rounded = put_together(large, field, round(shift_left(sum, places & 63)));
    // Nothing is left of two zeroes, or of a number and its opposite.
    select(sum == 0, large & small & SIGN, rounded)
}

/// The same where that of `b` is at most half of `a`'s, which is normal.
pub fn add_small(large: u64, small: u64) -> u64 {
    let sum = sum(large, small);
    // At least a half and below two of what the greater one alone would be.
    let upper = high(sum) >> 30;
    let sum = select(upper == 0, sum << 1, sum);
    let sum = select(upper <= 1, sum << 1, sum);
    let places = select(upper == 0, 2, select(upper == 1, 1, 0));
    put_together(large, exponent(large) - places, round(sum))
}

/// The same where `a` is normal, `b` less than 2^29 units in its last place, and the sum of `a`'s exponent, which is at least
/// -900: what is rounded is `b`, to a number of these units. (A sum that is rounded up to the least of that exponent is
/// rounded to it by these units, too.)
pub fn add_to_place(a: u64, b: u64) -> u64 {
    let upper = top(b);
    let word = high(upper) | is_not_zero(low(upper));
    // Of quarters of units; the lowest bit stands for all that are lost.
    let shift = exponent(a).wrapping_sub(exponent(b)).wrapping_sub(23).min(31);
    let quarters = word >> shift | is_not_zero(word << 1 << (31 - shift));
    let units = quarters >> 2;
    let odd = (units ^ low(a)) & 1;
    let units = units + u32::from((quarters & 3) + odd > 2);
    let units = select((a ^ b) & SIGN != 0, units.wrapping_neg(), units);
    a.wrapping_add(units as i32 as i64 as u64)
}

/// One if a word has any bit set.
fn is_not_zero(word: u32) -> u32 {
    u32::from(word != 0)
}

/// A number of an exponent field as if an `f32`'s exponent counted on to it, from the bits of a normal `f32` without sign.
fn widened(magnitude: u32, exponent: u32) -> u64 {
    join((magnitude >> 3).wrapping_add(exponent << 20), magnitude << 29)
}

/// The bits of an integer's magnitude as an `f32`, for one of at most 24 bits.
fn small_integer(value: u32) -> u32 {
    (value as i32 as f32).to_bits()
}

/// `a - b` of normal numbers of one sign and exponent, less than 2^24 units in their last place apart.
pub fn subtract_near(a: u64, b: u64) -> u64 {
    let units = low(a).wrapping_sub(low(b)) as i32;
    let magnitude = small_integer(units.unsigned_abs());
    let sign = (high(a) ^ units as u32) & SIGN_32;
    let result = widened(magnitude, exponent(a).wrapping_sub(52 + BIAS_32 as u32));
    select(units == 0, 0, result | join(sign, 0))
}

/// A signed integer of at most 24 bits as an `f64`.
pub fn from_small_i32(value: i32) -> u64 {
    let result = widened(small_integer(value.unsigned_abs()), (BIAS - BIAS_32) as u32);
    select(value == 0, 0, result | join(value as u32 & SIGN_32, 0))
}

/// A finite `f32` as an `f64`.
pub fn promote(bits: u32) -> u64 {
    /// What a subnormal number is a multiple of, as an exponent.
    const LEAST: i32 = -149;
    let magnitude = bits & !SIGN_32;
    let is_small = magnitude < 1 << 23;
    let normal = select(is_small, small_integer(magnitude), magnitude);
    let exponent = select(is_small, BIAS - BIAS_32 + LEAST, BIAS - BIAS_32);
    let result = select(magnitude == 0, 0, widened(normal, exponent as u32));
    result | join(bits & SIGN_32, 0)
}

/// An `f32` that is zero or normal as an `f64`.
pub fn promote_normal(bits: u32) -> u64 {
    let magnitude = bits & !SIGN_32;
    let result = select(magnitude == 0, 0, widened(magnitude, (BIAS - BIAS_32) as u32));
    result | join(bits & SIGN_32, 0)
}

/// A number as the nearest `f32`.
pub fn demote(bits: u64) -> u32 {
    // Where there is no highest bit, only the lowest one of 32 is left, as of any other number that rounds to zero.
    let upper = top(bits);
    let significand = high(upper) | is_not_zero(low(upper));
    let exponent = exponent(bits) as i32 - (BIAS - BIAS_32);
    let below = (1 - exponent).clamp(0, 31) as u32;
    let kept = significand >> below;
    let kept = kept | u32::from(kept << below != significand);
    let field = (exponent - 1).clamp(0, 0xfe) as u32;
    let magnitude = ((field << 23) + round_32(kept)).min(INFINITY_32);
    magnitude | high(bits) & SIGN_32
}

/// The same where it is zero, or at least the least normal `f32` and rounds to less than infinity.
pub fn demote_normal(bits: u64) -> u32 {
    let upper = top(bits);
    let significand = high(upper) | is_not_zero(low(upper));
    let field = exponent(bits).wrapping_sub((BIAS - BIAS_32) as u32 + 1);
    let magnitude = (field << 23).wrapping_add(round_32(significand));
    select(is_zero(bits), 0, magnitude) | high(bits) & SIGN_32
}

/// `a < b` of numbers.
pub fn less(a: u64, b: u64) -> bool {
    below(a, b) & ((a | b) & MAGNITUDE != 0)
}

/// `a <= b` of numbers.
pub fn less_or_equal(a: u64, b: u64) -> bool {
    !below(b, a) | ((a | b) & MAGNITUDE == 0)
}

/// `a == b` of numbers.
pub fn equal(a: u64, b: u64) -> bool {
    (a == b) | ((a | b) & MAGNITUDE == 0)
}
