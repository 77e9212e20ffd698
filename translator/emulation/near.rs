//! musl's `expf` and `logf` to within one unit in the last place, on `f32`s alone: for floats that need not be exact.
//!
//! Sums and products may be contracted. Both take an argument apart so that what is left is small and known with no error
//! (W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980), and a polynomial is of what is left. All
//! arguments are computed alike, and special ones chosen at the end.

use super::words::select;

/// `ln 2`, as a number of 12 bits, so that small multiples are exact, and the rest.
const LN_2: f32 = 0.693_359_4;
const LN_2_REST: f32 = -2.121_944_4e-4;

/// Added to a small number, which it rounds to a whole one, in the lowest bits.
const WHOLE: f32 = 12_582_912.0;
/// `e^r = 1 + r + r^2 P(r)` for `r` up to half of `ln 2`; 3.2e-9 at most off, by Remez' algorithm.
const EXPONENTIAL: [f32; 5] = [0.499_999_94, 0.166_665_17, 0.041_668_102, 0.008_369_192_5, 0.001_383_881_2];
/// Below, results are scaled in two steps: at last they are subnormal.
const SMALL: f32 = -87.0;
/// Below, the result is zero; above the other, infinite.
const UNDERFLOW: f32 = -103.972_08;
const OVERFLOW: f32 = 88.722_83;
/// By so much the first step is short of the second.
const SCALE: u32 = 64 << 23;

/// `e^x`.
pub fn exponential(x: f32) -> f32 {
    let steps = (x * core::f32::consts::LOG2_E + WHOLE).to_bits();
    // By way of integers: drivers may take `a + b - b` for `a`.
    let octaves = steps.wrapping_sub(WHOLE.to_bits()) as i32 as f32;
    let rest = x - octaves * LN_2 - octaves * LN_2_REST;
    let power = rest * rest * polynomial(rest, EXPONENTIAL) + rest + 1.0;
    let is_small = x < SMALL;
    let bits = power.to_bits().wrapping_add(steps << 23).wrapping_add(select(is_small, SCALE, 0));
    let scale = f32::from_bits(select(is_small, (127 << 23) - SCALE, 127 << 23));
    let result = select(x < UNDERFLOW, 0.0, f32::from_bits(bits) * scale);
    // Else infinite, or not a number.
    select(x <= OVERFLOW, result, x * f32::MAX)
}

/// The bits of `sqrt(1/2)`.
const ROOT: u32 = 0x3f35_04f3;
const SIGNIFICAND: u32 = 0x7f_ffff;
/// `2 atanh s = 2 s + s^3 P(s^2)` for `s` up to 0.1716; 2^-34 at most off (the coefficients are those of FreeBSD's `e_logf.c`).
const LOGARITHM: [f32; 4] = [0.666_666_6, 0.400_009_72, 0.284_987_87, 0.242_790_79];

/// The natural logarithm.
pub fn logarithm(x: f32) -> f32 {
    let is_subnormal = x.to_bits() <= SIGNIFICAND;
    let scaled = (x * 8_388_608.0).to_bits().wrapping_sub(23 << 23);
    let bits = select(is_subnormal, scaled, x.to_bits());
    let above = bits.wrapping_sub(ROOT);
    let octaves = (above as i32 >> 23) as f32;
    // From sqrt(1/2) to sqrt(2), less 1.
    let rest = f32::from_bits(bits.wrapping_sub(above & !SIGNIFICAND)) - 1.0;
    let half = 0.5 * rest * rest;
    let ratio = rest / (2.0 + rest);
    let square = ratio * ratio;
    let curve = half - (ratio * (half + square * polynomial(square, LOGARITHM)) + octaves * LN_2_REST);
    let result = octaves * LN_2 + (rest - curve);
    let is_zero = x.to_bits() << 1 == 0;
    let special = select(is_zero, f32::NEG_INFINITY, select(x == f32::INFINITY, x, f32::NAN));
    // Positive and finite.
    select(x.to_bits().wrapping_sub(1) < f32::INFINITY.to_bits() - 1, result, special)
}

/// By Horner's scheme, from the lowest coefficient up.
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let [rest @ .., last] = &coefficients[..] else { return 0.0 };
    rest.iter().rev().fold(*last, |sum, coefficient| sum * x + coefficient)
}
