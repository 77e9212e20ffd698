//! musl's `expf` and `logf` to within one unit in the last place, on `f32`s alone: for floats that need not be exact.
//!
//! Sums and products may be contracted. Both take an argument apart so that what is left is small and known with no error
//! (W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980), and a polynomial is of what is left. All
//! arguments are computed alike, and special ones chosen at the end. Very small numbers are flushed to zero, as floats of GPUs
//! may be.

use super::words::select;

/// `ln 2`, as a number of 12 bits, so that small multiples are exact, and the rest.
const LN_2: f32 = 0.693_359_4;
const LN_2_REST: f32 = -2.121_944_4e-4;

/// Added to a small number, which it rounds to a whole one, in the lowest bits: there it is the exponent of half its power of 2.
const WHOLE: f32 = 12_582_912.0 + 126.0;
/// Of the largest exponent.
const LAST: u32 = (12_582_912.0f32 + 254.0).to_bits();
/// `2 e^r = 2 + 2 r + r^2 (E(r^2) + r O(r^2))` for `r` up to half of `ln 2`; 6.4e-9 at most off, by Remez' algorithm. Two short
/// sums can be computed at once.
const EVEN: [f32; 3] = [0.999_999_9, 0.083_336_204, 0.002_767_762_4];
const ODD: [f32; 2] = [0.333_330_33, 0.016_738_385];
/// Below, the result is zero: half its power of 2 is subnormal.
const UNDERFLOW: f32 = -87.336_54;

/// `e^x`; zero where that is below 2^-125.5.
pub fn exponential(x: f32) -> f32 {
    // Infinity and what is not a number have the largest exponent as well. Compared as integers also because drivers may take
    // `a + b - b` for `a`.
    let steps = (x * core::f32::consts::LOG2_E + WHOLE).to_bits() as i32;
    let steps = select(steps < LAST as i32, steps, LAST as i32) as u32;
    let octaves = f32::from_bits(steps) - WHOLE;
    let rest = x - octaves * LN_2 - octaves * LN_2_REST;
    let square = rest * rest;
    let curve = square * (polynomial(square, EVEN) + rest * polynomial(square, ODD));
    let power = curve + (rest + rest) + 2.0;
    let result = power * f32::from_bits(steps << 23);
    select(x < UNDERFLOW, 0.0, result)
}

/// The bits of `sqrt(1/2)`.
const ROOT: u32 = 0x3f35_04f3;
const SIGNIFICAND: u32 = 0x7f_ffff;
/// `2 atanh s = 2 s + s^3 P(s^2)` for `s` up to 0.1716; 2^-34 at most off (the coefficients are those of FreeBSD's `e_logf.c`).
const LOGARITHM: [f32; 4] = [0.666_666_6, 0.400_009_72, 0.284_987_87, 0.242_790_79];

/// The natural logarithm; subnormal numbers count as zero.
pub fn logarithm(x: f32) -> f32 {
    let above = x.to_bits().wrapping_sub(ROOT);
    let octaves = (above as i32 >> 23) as f32;
    // From sqrt(1/2) to sqrt(2), less 1.
    let rest = f32::from_bits((above & SIGNIFICAND).wrapping_add(ROOT)) - 1.0;
    let half = 0.5 * rest * rest;
    let ratio = rest / (2.0 + rest);
    let square = ratio * ratio;
    let curve = half - (ratio * (half + square * polynomial(square, LOGARITHM)) + octaves * LN_2_REST);
    let result = octaves * LN_2 + (rest - curve);
    let result = select(x < f32::MIN_POSITIVE, select(x >= 0.0, f32::NEG_INFINITY, f32::NAN), result);
    // Infinite, or not a number.
    select(x < f32::INFINITY, result, x)
}

/// By Horner's scheme, from the lowest coefficient up.
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let [rest @ .., last] = &coefficients[..] else { return 0.0 };
    rest.iter().rev().fold(*last, |sum, coefficient| sum * x + coefficient)
}
