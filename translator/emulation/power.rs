//! The quick phase of musl's `powf`.

use super::exponential::{OFFSET, scaled_power};
use super::logarithm::{PLACES, Reduced, column, magnitude, reduce};
use super::musl::{POWF_LOG2_DATA, POWF_TABLE};
use super::quick::{answer, choose_of_16, fixed};
use super::words::{high, low, multiply, multiply_high, select, shift_right};

/// Logarithms to base 2 of the inverses.
const LOGARITHMS: [[u64; 8]; 2] = column(&POWF_LOG2_DATA, 1, PLACES);
/// musl's polynomial `LINEAR r + r^2 (-CONSTANT + FIRST r - SECOND r^2 + THIRD r^3)`. In units of 2^-32.
const THIRD: u32 = fixed(POWF_LOG2_DATA[POWF_TABLE], 32) as u32;
/// In units of 2^-33.
const SECOND: u32 = -fixed(POWF_LOG2_DATA[POWF_TABLE + 1], 33) as u32;
const FIRST: u32 = fixed(POWF_LOG2_DATA[POWF_TABLE + 2], 33) as u32;
/// In units of 2^-62.
const CONSTANT: u64 = -fixed(POWF_LOG2_DATA[POWF_TABLE + 3], 62) as u64;
const LINEAR: u64 = fixed(POWF_LOG2_DATA[POWF_TABLE + 4], 62) as u64;
/// musl's polynomial `1 + C2 r + C1 r^2 + C0 r^3` for `2^r`: as in `expf`, of `r` in units of 2^-37. `C2` is in units of 2^-32.
const GROWTH: u32 = 2_977_044_472;
const SQUARE: f32 = 1.747_892e-12;
const CUBIC: f32 = 2.938_337e-24;
/// From so near to the end of a step on, musl may have taken the next one.
const EDGE: u32 = 256;
/// Largest error of the result, in units of 2^-36 of a number from 1 to 2, for exponents of a magnitude below `LARGE`.
const ERROR: u32 = 12;
/// The bits of 256.
const LARGE: u32 = 0x4380_0000;
/// Beyond 2 to the power of this, results may be subnormal or infinite.
const LAST: u64 = 125 << 37;

/// The high half of a product, at most 3 too small.
fn multiply_high_long(a: u64, b: u64) -> u64 {
    let middle = u64::from(multiply_high(high(a), low(b))) + u64::from(multiply_high(low(a), high(b)));
    multiply(high(a), high(b)) + middle
}

/// The logarithm to base 2 of a positive normal number, in units of 2^-56. It errs by less than 2^-46.
fn logarithm(bits: u32) -> u64 {
    let Reduced { entry, octave, rest } = reduce(bits);
    let (is_negative, distance) = magnitude(rest);
    // In units of 2^-68, and in those of 2^-36.
    let distance = distance << 7;
    let short = high(distance);
    let either = |sum: u32, difference: u32| select(is_negative, sum, difference);
    let third = multiply_high(short, THIRD) >> 3;
    let second = multiply_high(short, either(SECOND + third, SECOND - third)) >> 4;
    let first = multiply(short, either(FIRST + second, FIRST - second)) >> 7;
    let factor = select(is_negative, CONSTANT + first, CONSTANT - first);
    // Of units of 2^-72 and 2^-62.
    let curve = multiply_high_long(multiply_high_long(distance, distance), factor) >> 14;
    let linear = multiply_high_long(distance, LINEAR) >> 10;
    let whole = choose_of_16(entry, LOGARITHMS).wrapping_add((octave as i64 as u64) << PLACES);
    select(is_negative, whole.wrapping_sub(linear), whole.wrapping_add(linear)).wrapping_sub(curve)
}

/// Of the bits of a number: whether it is whole, and whether it is odd.
fn parity(bits: u32) -> (bool, bool) {
    let exponent = bits >> 23 & 0xff;
    // Places of the fraction that lie behind the point.
    let behind = 150u32.wrapping_sub(exponent);
    let significand = bits & 0x7f_ffff | 0x80_0000;
    let unit = 1 << (behind & 31);
    let is_even = exponent > 150;
    let is_whole = is_even | ((exponent >= 127) & (significand & (unit - 1) == 0));
    (is_whole, !is_even & is_whole & (significand & unit != 0))
}

/// `x^y`: the bits, and whether they are surely musl's.
pub fn power(x: u32, y: u32) -> u64 {
    let base = x & 0x7fff_ffff;
    let (is_below_1, logarithm) = magnitude(logarithm(base));
    let significand = (y & 0x7f_ffff | 0x80_0000) << 8;
    let exponent = y >> 23 & 0xff;
    // In units of 2^(exponent - 127 - 55).
    let product = multiply(high(logarithm), significand) + u64::from(multiply_high(low(logarithm), significand));
    // In units of 2^-37.
    let places = 145u32.wrapping_sub(exponent);
    let product = select(places > 63, 0, shift_right(product, places & 63));
    let is_negative = is_below_1 != (y >> 31 != 0);
    let rounded = select(is_negative, product.wrapping_neg(), product).wrapping_add(1 << 31);
    let (steps, above) = (high(rounded), low(rounded));
    let is_inside = above.wrapping_sub(EDGE) < u32::MAX - 2 * EDGE;
    let rest = above.wrapping_sub(1 << 31) as i32 as f32;
    // Less than 2^23, so that adding that rounds to a whole number.
    let curve = (rest * rest * (rest * CUBIC + SQUARE) + 8_388_608.0).to_bits() & 0x7f_ffff;
    let growth = multiply_high(above, GROWTH) + curve + (OFFSET - GROWTH / 2);
    let (result, is_clear) = scaled_power(steps, growth, ERROR);
    let (is_whole, is_odd) = parity(y);
    let is_minus = x >> 31 != 0;
    let is_normal = base.wrapping_sub(0x80_0000) < 0x7f00_0000;
    let is_small = ((y & 0x7fff_ffff).wrapping_sub(0x80_0000) < LARGE - 0x80_0000) & (product < LAST);
    let is_sure = is_normal & is_small & is_inside & is_clear & (!is_minus | is_whole);
    answer(select(is_minus & is_odd, result | 1 << 31, result), is_sure)
}
