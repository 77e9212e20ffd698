//! What the quick phases of mathematical functions share.
//!
//! musl computes `expf`, `logf` and `powf` in `f64` and rounds the result. What comes of the rounding can be told from much less:
//! a *quick phase* computes some bits more than an `f32` has, on integers, and says whether they decide (A. Ziv, "Fast
//! evaluation of elementary mathematical functions with correctly rounded last bit", ACM TOMS 17, 1991). Where they do
//! not, and for special arguments, the guest's own code must be asked. Here "right" is what musl gives: polynomials
//! and tables are musl's own.

use super::words::select;

/// The bits of the result, and whether they are surely right.
pub fn answer(bits: u32, is_sure: bool) -> u64 {
    u64::from(is_sure) << 32 | u64::from(bits)
}

/// The entry of a table that the lowest bits of `index` number. Selections among constants need no memory.
#[inline(always)]
pub fn choose_of_4(index: u32, [a, b, c, d]: [u64; 4]) -> u64 {
    let (is_odd, is_upper) = (index & 1 != 0, index & 2 != 0);
    select(is_upper, select(is_odd, d, c), select(is_odd, b, a))
}

/// The same of eight.
#[inline(always)]
pub fn choose_of_8(index: u32, [a, b, c, d, e, f, g, h]: [u64; 8]) -> u64 {
    select(index & 4 != 0, choose_of_4(index, [e, f, g, h]), choose_of_4(index, [a, b, c, d]))
}

/// The same of sixteen, in two halves.
#[inline(always)]
pub fn choose_of_16(index: u32, [first, second]: [[u64; 8]; 2]) -> u64 {
    select(index & 8 != 0, choose_of_8(index, second), choose_of_8(index, first))
}

/// An `f64`, by its bits, in units of `2^-places`, to nearest. Its magnitude in them must be below 2^63.
pub const fn fixed(bits: u64, places: i32) -> i64 {
    if bits << 1 == 0 {
        return 0;
    }
    let significand = bits & ((1 << 52) - 1) | 1 << 52;
    let shift = (bits >> 52 & 0x7ff) as i32 - 1075 + places;
    let magnitude = match shift >= 0 {
        true => significand << shift,
        false => (significand + (1 << (-shift - 1))) >> -shift,
    };
    if bits >> 63 == 0 { magnitude as i64 } else { -(magnitude as i64) }
}
