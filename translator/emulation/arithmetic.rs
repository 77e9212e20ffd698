//! Sum, product, quotient and square root of `f64`s, on their bits.

use super::format::{
    BIAS, HIDDEN, INFINITY, LAST_EXPONENT, MAGNITUDE, NAN, Number, SIGN, exponent, is_nan, pack, round, significand,
    unpack, with_sign,
};
use super::words::{
    high, leading_zeros, low, multiply, multiply_high, multiply_high_sticky, reciprocal, select, shift_left,
    shift_right_sticky,
};

/// `a + b`
pub fn add(a: u64, b: u64) -> u64 {
    /// Where the highest bit of the greater significand lies below the top, so that a sum has room.
    const ROOM: u32 = 10;
    let swapped = a & MAGNITUDE < b & MAGNITUDE;
    let (large, small) = (select(swapped, b, a), select(swapped, a, b));
    let field = exponent(large).max(1);
    let distance = (field - exponent(small).max(1)).min(63);
    let augend = significand(large) << ROOM;
    let addend = shift_right_sticky(significand(small) << ROOM, distance);
    let opposite = (a ^ b) & SIGN != 0;
    let sum = select(opposite, augend.wrapping_sub(addend), augend.wrapping_add(addend));
    // A subnormal result is exact, and stays where the exponent ends.
    let places = leading_zeros(sum).min(field);
    let magnitude = (u64::from(field - places) << 52).wrapping_add(round(shift_left(sum, places & 63)));
    let rounded = select(sum == 0, a & b & SIGN, with_sign(large, magnitude));
    let invalid = is_nan(large) | (opposite & (small & MAGNITUDE == INFINITY));
    let special = select(invalid, NAN, large);
    select(exponent(large) == LAST_EXPONENT, special, rounded)
}

/// `a * b`
pub fn multiply_floats(a: u64, b: u64) -> u64 {
    let (x, y) = (unpack(a), unpack(b));
    let product = multiply_high_sticky(x.significand, y.significand);
    let carry = (high(product) >> 31) as i32;
    let significand = select(carry == 0, product << 1, product);
    let rounded = pack(a ^ b, Number { exponent: x.exponent + y.exponent - BIAS + carry, significand });
    let sign = (a ^ b) & SIGN;
    let rounded = select(product == 0, sign, rounded);
    let invalid = is_nan(a) | is_nan(b) | (product == 0);
    let special = select(invalid, NAN, sign | INFINITY);
    select((exponent(a) == LAST_EXPONENT) | (exponent(b) == LAST_EXPONENT), special, rounded)
}

/// The quotient of two significands, the highest bits of which are at the top: its highest bit is there, too, or is the next
/// one; its lowest one stands for all that are lost.
pub fn divide_significands(a: u64, b: u64) -> u64 {
    let (dividend, divisor) = (a >> 11, b >> 11);
    let inverse = reciprocal(high(b));
    // 31 bits behind the point, at most 8 units too small, and 28 more of the rest.
    let first = multiply_high(high(a), inverse);
    let rest = (dividend << 31).wrapping_sub(u64::from(first).wrapping_mul(divisor));
    let second = multiply_high((rest >> 24) as u32, inverse);
    // 55 bits behind the point, at most one unit too small.
    let quotient = ((u64::from(first) << 28) + u64::from(second)) >> 4;
    let rest = (dividend << 55).wrapping_sub(quotient.wrapping_mul(divisor));
    let short = rest >= divisor;
    let exact = rest == select(short, divisor, 0);
    let quotient = quotient + u64::from(short);
    quotient << 8 | u64::from(!exact)
}

/// `a / b`
pub fn divide_floats(a: u64, b: u64) -> u64 {
    let (x, y) = (unpack(a), unpack(b));
    let quotient = divide_significands(x.significand, y.significand);
    let carry = (high(quotient) >> 31) as i32;
    let significand = select(carry == 0, quotient << 1, quotient);
    let rounded = pack(a ^ b, Number { exponent: x.exponent - y.exponent + BIAS - 1 + carry, significand });
    let sign = (a ^ b) & SIGN;
    let (a, b) = (a & MAGNITUDE, b & MAGNITUDE);
    let (nothing, endless) = ((a == 0) | (b == INFINITY), (a == INFINITY) | (b == 0));
    let invalid = is_nan(a) | is_nan(b) | (nothing & endless);
    let rounded = select(nothing, sign, rounded);
    let rounded = select(endless, sign | INFINITY, rounded);
    select(invalid, NAN, rounded)
}

/// The square root. The last steps, and their bounds, are those of musl's `sqrt`.
pub fn square_root(bits: u64) -> u64 {
    /// 3, with two bits before the point.
    const THREE: u32 = 0xc000_0000;
    let value = unpack(bits);
    let odd = value.exponent & 1 == 0;
    // A number from 1 to 4, with two bits before the point.
    let number = select(odd, value.significand, value.significand >> 1);
    // A line through 1/√x, x from 1 to 2, that errs by less than 1/40, and the same for x from 2 to 4.
    let line = 0xa313_0000u32.wrapping_sub(multiply_high(high(value.significand), 0x4afb_0000)) << 1;
    let mut inverse = select(odd, multiply_high(line, 0xb504_f333), line);
    let mut root = multiply_high(high(number), inverse);
    for _ in 0..3 {
        // A little less than it would be: products are rounded down, and the inverse must stay below 1.
        let correction = (THREE - 4).wrapping_sub(multiply_high(root, inverse));
        inverse = multiply_high(inverse, correction) << 1;
        root = multiply_high(root, correction) << 1;
    }
    let root = multiply(high(number), inverse) + u64::from(multiply_high(low(number), inverse));
    let product = multiply(high(root), inverse) + u64::from(multiply_high(low(root), inverse));
    let correction = (u64::from(THREE) << 32).wrapping_sub(product);
    let root = multiply(high(root), high(correction))
        + (multiply(high(root), low(correction)) >> 32)
        + (multiply(low(root), high(correction)) >> 32);
    // 52 bits behind the point: the root's, or the next.
    let root = root.wrapping_sub(2) >> 9;
    let rest = (number << 42).wrapping_sub(root.wrapping_mul(root));
    let up = root.wrapping_sub(rest) >> 63;
    let fraction = root.wrapping_add(up).wrapping_sub(HIDDEN);
    let field = ((value.exponent + BIAS) >> 1) as u64;
    let rounded = (field << 52).wrapping_add(fraction);
    let special = select((bits == INFINITY) | (bits & MAGNITUDE == 0), bits, NAN);
    select((bits & MAGNITUDE == 0) | (bits >= INFINITY), special, rounded)
}
