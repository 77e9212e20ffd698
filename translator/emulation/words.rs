//! 64-bit integers of which two 32-bit words are computed with: shifts by an amount known at run time, products, quotients.
//! Sums, comparisons and shifts by constants are those of `u64`, which the translator splits as well as could be by hand.

/// The high word.
pub fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

/// The low word.
pub fn low(value: u64) -> u32 {
    value as u32
}

/// The integer of these words.
pub fn join(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// `a` where the condition holds, else `b`, without a branch: compilers make branches of what they take for foreseeable.
pub fn select<T>(condition: bool, a: T, b: T) -> T {
    core::hint::select_unpredictable(condition, a, b)
}

/// `value >> amount`, for an amount below 64.
pub fn shift_right(value: u64, amount: u32) -> u64 {
    let value = select(amount & 32 != 0, value >> 32, value);
    let (upper, lower, amount) = (high(value), low(value), amount & 31);
    join(upper >> amount, lower >> amount | upper << 1 << (31 - amount))
}

/// The double-width product.
pub fn multiply(a: u32, b: u32) -> u64 {
    u64::from(a) * u64::from(b)
}

/// The high word of the double-width product.
pub fn multiply_high(a: u32, b: u32) -> u32 {
    high(multiply(a, b))
}

/// `value << amount`, for an amount below 64.
pub fn shift_left(value: u64, amount: u32) -> u64 {
    let value = select(amount & 32 != 0, join(low(value), 0), value);
    let (upper, lower, amount) = (high(value), low(value), amount & 31);
    // In two steps, for a shift by 32 is none.
    join(upper << amount | lower >> 1 >> (31 - amount), lower << amount)
}

/// `value >> amount`, its lowest bit set if any bit was lost, for an amount below 64.
pub fn shift_right_sticky(value: u64, amount: u32) -> u64 {
    let is_far = amount & 32 != 0;
    let lost = select(is_far, low(value), 0);
    let value = select(is_far, value >> 32, value);
    let (upper, lower) = (high(value), low(value));
    let amount = amount & 31;
    let rest = 31 - amount;
    let lost = lost | lower << 1 << rest;
    join(upper >> amount, lower >> amount | upper << 1 << rest | u32::from(lost != 0))
}

/// Number of leading zeroes; 64 of 0.
pub fn leading_zeros(value: u64) -> u32 {
    let is_short = high(value) == 0;
    let word = select(is_short, low(value), high(value));
    word.leading_zeros() + select(is_short, 32, 0)
}

/// The high half of the product, its lowest bit set if the low half is not zero.
pub fn multiply_high_sticky(a: u64, b: u64) -> u64 {
    let lowest = multiply(low(a), low(b));
    let middle = multiply(high(a), low(b)) + u64::from(high(lowest));
    let other = multiply(low(a), high(b)) + u64::from(low(middle));
    let upper = multiply(high(a), high(b)) + u64::from(high(middle)) + u64::from(high(other));
    upper | u64::from(low(other) | low(lowest) != 0)
}

/// About `2^63 / divisor`, at most 7 below and never above what it is for any divisor of 64 bits of which this is the
/// high word; the highest bit must be set. Newton's iteration from a linear guess, which errs by less than a tenth.
pub fn reciprocal(divisor: u32) -> u32 {
    /// 3/4 + 1/√2, less 1, of 2^32: with it the line's error is least.
    const LINE: u32 = 0x7504_f333;
    // Rounded down, so that no guess is above what it is to become.
    let step = |guess: u32| {
        let product = multiply_high(guess, divisor);
        (multiply(guess, !product) >> 31) as u32
    };
    let guess = LINE.wrapping_sub(divisor);
    // What the divisor lacks below its high word makes the result too large by up to 2.
    step(step(step(step(guess)))).wrapping_sub(2)
}

/// Unsigned quotient of 64 by 32 bits and its remainder. The divisor's highest bit is set; it is above the dividend's high word.
fn divide_by_word(dividend: u64, divisor: u32) -> (u32, u32) {
    let upper = divisor >> 16 | 0x8000;
    let lower = divisor & 0xffff;
    let digit = |rest: u32, next: u32| {
        let mut quotient = rest / upper;
        let mut left = rest - quotient * upper;
        // The guess is at most 2 too large (Knuth, volume 2, section 4.3.1).
        for _ in 0..2 {
            let is_large = (quotient > 0xffff) | (quotient.wrapping_mul(lower) > (left << 16 | next));
            let is_wrong = (left < 0x1_0000) & is_large;
            quotient -= u32::from(is_wrong);
            left += select(is_wrong, upper, 0);
        }
        (quotient, (rest << 16 | next).wrapping_sub(quotient.wrapping_mul(divisor)))
    };
    let (first, rest) = digit(high(dividend), low(dividend) >> 16);
    let (second, rest) = digit(rest, low(dividend) & 0xffff);
    (first << 16 | second, rest)
}

/// Unsigned quotient; any number where the divisor is 0.
pub fn divide(a: u64, b: u64) -> u64 {
    let is_word = high(b) == 0;
    // Of a divisor of one word, the quotient's high word by itself.
    let word = select(is_word, low(b), u32::MAX);
    let upper = high(a).checked_div(word).unwrap_or(0);
    let rest = high(a).wrapping_sub(upper.wrapping_mul(word));
    let by = select(is_word, low(b), high(b));
    let places = by.leading_zeros() & 31;
    // By the divisor's highest 32 bits, of half the dividend: at most one more than the quotient (Hacker's Delight, section 9-5).
    let dividend = select(is_word, shift_left(join(rest, low(a)), places), a >> 1);
    let divisor = high(shift_left(select(is_word, b << 32, b), places));
    let (quotient, _) = divide_by_word(dividend, divisor);
    let guess = (quotient >> (31 - places)).saturating_sub(1);
    let rest = a.wrapping_sub(u64::from(guess).wrapping_mul(b));
    let long = guess + u32::from(rest >= b);
    select(is_word, join(upper, quotient), long.into())
}

/// Signed quotient, towards zero; any number where the divisor is 0.
pub fn divide_signed(a: i64, b: i64) -> i64 {
    let quotient = divide(a.unsigned_abs(), b.unsigned_abs()) as i64;
    select((a < 0) != (b < 0), quotient.wrapping_neg(), quotient)
}
