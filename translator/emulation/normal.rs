//! Operators on `f64`s of which more is known than their bits: most are given numbers only, no infinities and no NaN, that
//! are zero or normal, and give such. Each says what it takes for granted; of other operands its result means nothing.

use super::arithmetic::divide_significands;
use super::convert::{BIAS_32, SIGN_32, nearest_32, round_32};
use super::format::{BIAS, FRACTION, HIDDEN, INFINITY, MAGNITUDE, SIGN, exponent};
use super::order::below;
use super::words::{
    high, join, leading_zeros, low, multiply, multiply_high_sticky, select, shift_left, shift_right_sticky,
};

/// The significand of a normal number, its highest bit at the top.
fn top(bits: u64) -> u64 {
    bits << 11 | SIGN
}

/// The exponent field where it stands.
const FIELD: u64 = INFINITY;

/// Whether a number that is zero or normal is zero.
fn is_zero(bits: u64) -> bool {
    bits & FIELD == 0
}

/// The significand of a number that is zero or normal.
fn significand(bits: u64) -> u64 {
    select(is_zero(bits), 0, bits & FRACTION | HIDDEN)
}

/// The 53 highest bits of 63, rounded. The lowest bit may stand for any that are lost.
fn round(significand: u64) -> u64 {
    (significand + 0x1ff + (significand >> 10 & 1)) >> 10
}

/// The product, from the upper half of that of the significands, one of which lacks a bit at the top.
fn product(a: u64, b: u64, product: u64) -> u64 {
    let is_short = product & SIGN >> 1 == 0;
    let rounded = round(select(is_short, product << 1, product));
    // The highest bit of what is rounded counts as one of the exponent.
    let bias = select(is_short, (BIAS as u64 + 1) << 52, (BIAS as u64) << 52);
    let magnitude = (a & FIELD).wrapping_add(b & FIELD).wrapping_sub(bias).wrapping_add(rounded);
    (a ^ b) & SIGN | select(is_zero(a) | is_zero(b), 0, magnitude)
}

/// `a * b` of numbers that are zero or normal, where the exact product is zero or at least the least normal number, and
/// rounds to less than infinity.
pub fn multiply_floats(a: u64, b: u64) -> u64 {
    product(a, b, multiply_high_sticky(top(a) >> 1, top(b)))
}

/// The same where `b` has at most 32 significant bits.
pub fn multiply_by_word(a: u64, b: u64) -> u64 {
    let (x, y) = (top(a) >> 1, high(top(b)));
    let lower = multiply(low(x), y);
    let upper = multiply(high(x), y) + u64::from(high(lower));
    product(a, b, upper | u64::from(low(lower) != 0))
}

/// `a / b` of numbers that are zero or normal, where `b` is not zero, and the exact quotient is zero or at least twice the
/// least normal number, and rounds to less than infinity.
pub fn divide_floats(a: u64, b: u64) -> u64 {
    let quotient = divide_significands(top(a), top(b));
    let is_long = quotient & SIGN != 0;
    let rounded = round(select(is_long, quotient >> 1 | quotient & 1, quotient));
    let bias = select(is_long, (BIAS as u64 - 1) << 52, (BIAS as u64 - 2) << 52);
    let magnitude = (a & FIELD).wrapping_sub(b & FIELD).wrapping_add(bias).wrapping_add(rounded);
    (a ^ b) & SIGN | select(is_zero(a), 0, magnitude)
}

/// Bits of room behind the significands of a sum.
const ROOM: u32 = 9;

/// The sum of the significand of the greater number and that of the lesser, as far apart as their exponents are.
fn sum(large: u64, augend: u64, small: u64) -> u64 {
    let distance = (exponent(large) - exponent(small)).min(63);
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
    let sum = sum(large, significand(large) << ROOM, small);
    // At least one is left, for the significands have two bits of room before them.
    let places = leading_zeros(sum) - 1;
    let rounded = round(shift_left(sum, places & 63));
    let rounded = (large & (SIGN | FIELD)).wrapping_sub(u64::from(places) << 52).wrapping_add(rounded);
    // Nothing is left of two zeroes, or of a number and its opposite.
    select(sum == 0, large & small & SIGN, rounded)
}

/// The same where that of `b` is at most half of `a`'s, which is normal.
pub fn add_small(large: u64, small: u64) -> u64 {
    let sum = sum(large, (large & FRACTION | HIDDEN) << ROOM, small);
    // At least a half and below two of what the greater one alone would be.
    let (is_less, is_more) = (sum < HIDDEN << ROOM, sum >= HIDDEN << (ROOM + 1));
    let sum = select(is_less, sum << 2, select(is_more, sum, sum << 1));
    let places = select(is_less, 2 << 52, select(is_more, 0, 1 << 52));
    (large & (SIGN | FIELD)) - places + round(sum)
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
    nearest_32(bits, high(upper) | is_not_zero(low(upper))) | high(bits) & SIGN_32
}

/// The same where it is zero, or at least the least normal `f32` and rounds to less than infinity.
pub fn demote_normal(bits: u64) -> u32 {
    let upper = top(bits);
    let significand = high(upper) | is_not_zero(low(upper));
    let field = exponent(bits).wrapping_sub((BIAS - BIAS_32) as u32 + 1);
    let magnitude = (field << 23).wrapping_add(round_32(significand));
    select(is_zero(bits), 0, magnitude) | high(bits) & SIGN_32
}

/// The whole part of a number whose magnitude is below 2^31.
pub fn to_i32(bits: u64) -> u32 {
    let shift = (BIAS as u32 + 31).wrapping_sub(exponent(bits));
    let whole = select(shift > 31, 0, high(top(bits)) >> (shift & 31));
    select(bits & SIGN != 0, whole.wrapping_neg(), whole)
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
