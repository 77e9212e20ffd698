//! The quick phase of musl's `expf`.

use super::quick::{answer, choose_of_4, choose_of_8};
use super::words::{low, multiply, multiply_high, select};

/// Units of the reduced argument.
pub const PLACES: u32 = 37;
/// `ln 2 / 32 * 2^PLACES`: the whole part, and the rest of it in units of 2^-18.
const STEP: u32 = 2_977_044_471;
const STEP_REST: i32 = 214_846;
/// `32 / ln 2`
const STEPS: f32 = 46.166_24;
/// Added to a small number, which it rounds to a whole one, in the lowest bits.
const WHOLE: f32 = 12_582_912.0;
/// musl's polynomial `1 + C2 r + C1 r^2 + C0 r^3`, of arguments in units of `2^-PLACES`, with the result less 1 in these units.
const CUBIC: f32 = 8.823_181e-24;
const SQUARE: f32 = 3.638_008_3e-12;
/// Of the linear term what it is above 1.
const LINEAR: f32 = 1.899_668_4e-10;
/// From so near to the end of a step on, musl may have taken the next one.
const EDGE: u32 = 64;
/// `2^(a/8) * 64/65`, in units of 2^-36.
const EIGHTHS: [u64; 8] = [
    67_662_254_017,
    73_786_211_215,
    80_464_433_894,
    87_747_087_366,
    95_688_877_292,
    104_349_460_617,
    113_793_893_702,
    124_093_121_012,
];
/// `2^(b/32) - 1`, in units of 2^-35.
const QUARTERS: [u64; 4] = [0, 752_380_299, 1_521_235_581, 2_306_926_601];
/// 1/65, in units of `2^-PLACES`: with it what is added to 1 is never negative.
pub const OFFSET: u32 = 2_114_445_438;
/// Largest error of the result, in units of 2^-36 of a number from 1 to 2. 5 are enough for all arguments, if sums and products
/// of `f32`s are rounded to nearest one by one.
const ERROR: u32 = 8;
/// The bits of 87: beyond, results may be subnormal or infinite.
const LAST: u32 = 0x42ae_0000;

/// `x * 2^PLACES`, its lowest 32 bits. The magnitude of `x` is below 128.
fn scaled(bits: u32) -> u32 {
    let significand = bits & 0x7f_ffff | 0x80_0000;
    let left = (bits >> 23 & 0xff).wrapping_sub(150 - PLACES);
    let right = 0u32.wrapping_sub(left).min(31);
    let magnitude = select(left as i32 >= 0, significand << (left & 31), significand >> right);
    select(bits >> 31 != 0, 0u32.wrapping_sub(magnitude), magnitude)
}

/// `2^(step/32) * 64/65`, in units of 2^-36.
fn power(step: u32) -> u64 {
    let eighth = choose_of_8(step >> 2, EIGHTHS);
    let more = multiply((eighth >> 5) as u32, choose_of_4(step, QUARTERS) as u32);
    eighth + (more >> 30)
}

/// `e^x`: the bits, and whether they are surely musl's.
pub fn exponential(bits: u32) -> u64 {
    let steps = f32::from_bits(bits) * STEPS + WHOLE;
    let steps = steps.to_bits().wrapping_sub(WHOLE.to_bits());
    let whole = steps.wrapping_mul(STEP).wrapping_add(((steps as i32).wrapping_mul(STEP_REST) >> 18) as u32);
    let rest = scaled(bits).wrapping_sub(whole);
    let is_inside = rest.wrapping_add(STEP / 2 - EDGE) < STEP - 2 * EDGE;
    let float = rest as i32 as f32;
    // Less than 2^23, so that adding that rounds to a whole number.
    let curve = float * float * (float * CUBIC + SQUARE) + float * LINEAR;
    let curve = (curve + 8_388_608.0).to_bits() & 0x7f_ffff;
    let growth = rest.wrapping_add(curve).wrapping_add(OFFSET);
    let (result, is_clear) = scaled_power(steps, growth, ERROR);
    answer(result, is_inside & is_clear & (bits & 0x7fff_ffff < LAST))
}

/// `2^(steps/32) * (1 + growth/2^PLACES - 1/65)` as an `f32`, and whether the next bits decide how it is rounded. Its exponent must
/// be a normal number's.
pub fn scaled_power(steps: u32, growth: u32, error: u32) -> (u32, bool) {
    let power = power(steps);
    // Of 65/64 of the growth.
    let more = multiply_high((power >> 5) as u32, growth);
    let result = power + u64::from(more + (more >> 6) + 1);
    // The lowest steps begin a little below 1.
    let is_below = result >> 36 == 0;
    let result = select(is_below, result << 1, result);
    let rest = low(result) & 0x1fff;
    let is_clear = rest.wrapping_sub(0x1000 - error) > 2 * error;
    let significand = low(result >> 13) + (rest >> 12);
    let exponent = ((steps as i32 >> 5) as u32).wrapping_add(126 - u32::from(is_below));
    ((exponent << 23).wrapping_add(significand), is_clear)
}
