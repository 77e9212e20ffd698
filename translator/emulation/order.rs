//! Comparisons, minimum and maximum, and whole numbers near an `f64`, on its bits.

use super::format::{BIAS, FRACTION, HIDDEN, MAGNITUDE, NAN, SIGN, exponent, is_nan};
use super::words::{select, shift_right};

/// The exponent field from which on numbers are whole.
const WHOLE: u32 = BIAS as u32 + 52;

/// `a == b`
pub fn equal(a: u64, b: u64) -> bool {
    !is_nan(a) & !is_nan(b) & ((a == b) | ((a | b) & MAGNITUDE == 0))
}

/// `a < b` of numbers, -0 below 0.
pub fn below(a: u64, b: u64) -> bool {
    let (x, y) = select(a & b & SIGN != 0, (b, a), (a, b));
    (x as i64) < y as i64
}

/// `a < b`
pub fn less(a: u64, b: u64) -> bool {
    below(a, b) & ((a | b) & MAGNITUDE != 0) & !is_nan(a) & !is_nan(b)
}

/// `a <= b`
pub fn less_or_equal(a: u64, b: u64) -> bool {
    (!below(b, a) | ((a | b) & MAGNITUDE == 0)) & !is_nan(a) & !is_nan(b)
}

/// The lesser, or NaN where there is one.
pub fn minimum(a: u64, b: u64) -> u64 {
    let lesser = select(below(a, b), a, b);
    select(is_nan(a) | is_nan(b), NAN, lesser)
}

/// The greater, or NaN where there is one.
pub fn maximum(a: u64, b: u64) -> u64 {
    let greater = select(below(b, a), a, b);
    select(is_nan(a) | is_nan(b), NAN, greater)
}

/// The bits of a number's fraction that lie behind the point; it is at least 1 and not known to be whole.
fn behind_point(field: u32) -> u64 {
    shift_right(FRACTION, field.wrapping_sub(BIAS as u32) & 63)
}

/// The result of rounding where it is no matter of bits behind the point: of whole numbers, infinities and NaN.
fn whole_or(bits: u64, field: u32, rounded: u64) -> u64 {
    let whole = select(is_nan(bits), NAN, bits);
    select(field >= WHOLE, whole, rounded)
}

/// Towards zero.
pub fn truncate(bits: u64) -> u64 {
    let field = exponent(bits);
    let rounded = select(field < BIAS as u32, bits & SIGN, bits & !behind_point(field));
    whole_or(bits, field, rounded)
}

/// Down.
pub fn floor(bits: u64) -> u64 {
    let field = exponent(bits);
    let behind = behind_point(field);
    let negative = bits & SIGN != 0;
    let up = select(negative, bits.wrapping_add(behind), bits);
    let small = select(negative & (bits & MAGNITUDE != 0), SIGN | (BIAS as u64) << 52, bits & SIGN);
    let rounded = select(field < BIAS as u32, small, up & !behind);
    whole_or(bits, field, rounded)
}

/// Up.
pub fn ceiling(bits: u64) -> u64 {
    let rounded = floor(bits ^ SIGN);
    select(is_nan(bits), NAN, rounded ^ SIGN)
}

/// To nearest, ties to even.
pub fn nearest(bits: u64) -> u64 {
    let field = exponent(bits);
    let behind = behind_point(field);
    // The place before the point; of 1 and what lies between it and 2, the exponent's lowest bit, which is set, too.
    let odd = bits & (behind + 1) != 0;
    let up = bits.wrapping_add(behind >> 1).wrapping_add(u64::from(odd));
    let half = (BIAS as u64 - 1) << 52;
    let small = select(bits & MAGNITUDE > half, HIDDEN.wrapping_mul(BIAS as u64), 0);
    let rounded = select(field < BIAS as u32, bits & SIGN | small, up & !behind);
    whole_or(bits, field, rounded)
}
