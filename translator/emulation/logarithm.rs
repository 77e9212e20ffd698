//! The quick phase of musl's `logf`.

use super::musl::{LOGF_DATA, LOGF_TABLE};
use super::quick::{answer, choose_of_16, fixed};
use super::words::{high, leading_zeros, low, multiply, multiply_high, select, shift_left};

/// Units of the result, and of logarithms.
pub const PLACES: i32 = 56;
/// The inverses, in units of 2^-62; `powf` has the same.
const INVERSES: [[u64; 8]; 2] = column(&LOGF_DATA, 0, 62);
/// The logarithms.
const LOGARITHMS: [[u64; 8]; 2] = column(&LOGF_DATA, 1, PLACES);
/// The logarithm of 2.
const LN_2: u64 = fixed(LOGF_DATA[LOGF_TABLE], PLACES) as u64;
/// musl's polynomial `-QUADRATIC + LINEAR r - SQUARE r^2`, of which the middle term is in units of 2^-33, and the others
/// in those of 2^-32.
const SQUARE: u32 = -fixed(LOGF_DATA[LOGF_TABLE + 1], 32) as u32;
const LINEAR: u32 = fixed(LOGF_DATA[LOGF_TABLE + 2], 33) as u32;
const CONSTANT: u32 = -fixed(LOGF_DATA[LOGF_TABLE + 3], 32) as u32;
/// Largest error of the result: of itself, in units of 2^-44, and in units of `2^-PLACES`.
const RELATIVE_ERROR: u64 = 512;
const ABSOLUTE_ERROR: u64 = 4;

/// A column of a table of 16 rows of two, in units of `2^-places`.
pub const fn column(table: &[u64], which: usize, places: i32) -> [[u64; 8]; 2] {
    let (mut column, mut entry) = ([[0; 8]; 2], 0);
    while entry < 16 {
        column[entry / 8][entry % 8] = fixed(table[2 * entry + which], places) as u64;
        entry += 1;
    }
    column
}

/// A positive normal number: `2^octave / inverse * (1 + rest)`.
pub struct Reduced {
    /// Which inverse.
    pub entry: u32,
    pub octave: i32,
    /// In units of 2^-61; its magnitude is below 2^-4.
    pub rest: u64,
}

/// Takes a number apart as musl does.
pub fn reduce(bits: u32) -> Reduced {
    let above = bits.wrapping_sub(0x3f33_0000);
    // From 0.7 to 1.4, in units of 2^-31.
    let reduced = bits.wrapping_sub(above & 0xff80_0000);
    let significand = (reduced & 0x7f_ffff | 0x80_0000) << 7;
    let number = select(reduced >> 23 == 127, significand << 1, significand);
    let (entry, octave) = (above >> 19, above as i32 >> 23);
    let inverse = choose_of_16(entry, INVERSES);
    let product = multiply(number, high(inverse)) + u64::from(multiply_high(number, low(inverse)));
    Reduced { entry, octave, rest: product.wrapping_sub(1 << 61) }
}

/// Whether a number is negative, and its magnitude.
pub fn magnitude(number: u64) -> (bool, u64) {
    let is_negative = number >> 63 != 0;
    (is_negative, select(is_negative, number.wrapping_neg(), number))
}

/// The natural logarithm: its bits, and whether they are surely musl's.
pub fn logarithm(bits: u32) -> u64 {
    let Reduced { entry, octave, rest } = reduce(bits);
    let (is_negative, distance) = magnitude(rest);
    // In units of 2^-36.
    let short = low(distance >> 25);
    let square = multiply_high(short, SQUARE) >> 3;
    let linear = multiply_high(short, select(is_negative, LINEAR + square, LINEAR - square)) >> 5;
    let factor = select(is_negative, CONSTANT + linear, CONSTANT - linear);
    let curve = multiply(short, multiply_high(short, factor)) >> 16;
    let octaves = (octave as i64 as u64).wrapping_mul(LN_2);
    let sum = choose_of_16(entry, LOGARITHMS).wrapping_add(octaves).wrapping_add((rest as i64 >> 5) as u64);
    let sum = sum.wrapping_sub(curve);
    let sign = high(sum) & 1 << 31;
    let (_, magnitude) = magnitude(sum);
    let places = leading_zeros(magnitude) & 63;
    let shifted = shift_left(magnitude, places);
    // What lies behind the result's last bit, in units of 2^-40 of that.
    let rest = shifted & 0xff_ffff_ffff;
    let error = (RELATIVE_ERROR << 20) + shift_left(ABSOLUTE_ERROR, places);
    let is_clear = rest.wrapping_sub((1 << 39) - error) > 2 * error;
    let significand = (high(shifted) >> 8) + (high(rest) >> 7);
    let result = ((133 - places) << 23).wrapping_add(significand) | sign;
    let is_one = bits == 0x3f80_0000;
    let is_normal = bits.wrapping_sub(0x80_0000) < 0x7f00_0000;
    answer(select(is_one, 0, result), is_one | (is_normal & is_clear))
}
