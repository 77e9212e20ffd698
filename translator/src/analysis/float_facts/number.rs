//! What is known of a float, and what operators make of it.
//!
//! Rounding to nearest is monotonic, so the ends of an interval of operands give the ends of the interval of rounded
//! results, rounded as they are: sums and products of ends are computed as the operators compute them.
//!
//! Steps. A finite float of a format is a multiple of its least subnormal number, and each rule below keeps this: *every
//! finite value is a multiple of `2^step`*, and so zero or at least `2^step`.
//! - A product of a multiple of `2^a` and one of `2^b` is one of `2^(a+b)`; a sum one of `2^min(a,b)`.
//! - Rounding keeps it: multiples of `2^s` below `2^(s+53)` are floats themselves if `s` is at least -1074, so what is not
//!   is above, where all floats are multiples of `2^s`. If `s` is less, all floats are multiples of `2^-1074`.
//! - A float of at most `n` significant bits that is at least `2^e` is a multiple of `2^(e-n+1)`.
//! - A multiple of `2^s` below `2^(s+n)` has at most `n` significant bits.

/// The least exponent that a finite `f64` is a multiple of.
pub const LEAST_STEP: i32 = -1074;
/// The same of `f32`.
pub const LEAST_STEP_32: i32 = -149;

/// What is known of a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// It may be NaN.
    pub nan: bool,
    /// It is at least this if it is a number.
    pub low: f64,
    /// It is at most this if it is a number.
    pub high: f64,
    /// It is a multiple of two to this if it is finite.
    pub step: i32,
    /// Its significand has at most so many bits if it is finite.
    pub significant: u32,
}

/// Any `f64`.
pub const ANY: Number =
    Number { nan: true, low: f64::NEG_INFINITY, high: f64::INFINITY, step: LEAST_STEP, significant: 53 };
/// Any `f32`.
pub const ANY_32: Number = Number { step: LEAST_STEP_32, significant: 24, ..ANY };

/// The exponent of a positive number.
pub fn exponent(value: f64) -> i32 {
    let bits = value.to_bits() & !(1 << 63);
    match (bits >> 52) as i32 {
        0 => 63 - bits.leading_zeros() as i32 + LEAST_STEP,
        field => field - 1023,
    }
}

/// Two to a power, at most infinite and at least zero.
pub fn power(exponent: i32) -> f64 {
    match exponent {
        ..LEAST_STEP => 0.0,
        LEAST_STEP..-1022 => f64::from_bits(1 << (exponent - LEAST_STEP)),
        -1022..1024 => f64::from_bits(((exponent + 1023) as u64) << 52),
        1024.. => f64::INFINITY,
    }
}

impl Number {
    /// One float.
    pub fn exactly(value: f64) -> Number {
        if value.is_nan() {
            return ANY;
        }
        let fraction = value.to_bits() & ((1 << 52) - 1) | 1 << 52;
        let zeroes = if exponent(value) < -1022 { 0 } else { fraction.trailing_zeros() };
        Number { nan: false, low: value, high: value, significant: 53 - zeroes, ..ANY }.settled()
    }

    /// The numbers between two.
    pub fn between(low: f64, high: f64) -> Number {
        Number { nan: false, low, high, ..ANY }.settled()
    }

    /// What follows from the interval for the rest.
    pub fn settled(mut self) -> Number {
        if self.low == 0.0 && self.high == 0.0 {
            return Number { step: 0, significant: 1, ..self };
        }
        let (least, greatest) = (self.least(), self.greatest());
        self = self.at_least(least);
        if greatest.is_finite() {
            let bits = exponent(greatest) + 1 - self.step;
            self.significant = self.significant.min(bits.max(1) as u32);
        }
        self
    }

    /// The least magnitude.
    pub fn least(&self) -> f64 {
        if self.low > 0.0 { self.low } else { (-self.high).max(0.0) }
    }

    /// The greatest magnitude.
    pub fn greatest(&self) -> f64 {
        self.high.max(-self.low)
    }

    /// The exponent that it has as a number, whichever it is.
    pub fn only_exponent(&self) -> Option<i32> {
        let (least, greatest) = (self.least(), self.greatest());
        (least > 0.0 && exponent(least) == exponent(greatest)).then(|| exponent(least))
    }

    /// Whether it is neither NaN nor infinite.
    pub fn is_finite(&self) -> bool {
        !self.nan && self.greatest().is_finite()
    }

    /// Whether it is zero or normal.
    pub fn is_normal(&self) -> bool {
        self.is_finite() && self.step >= -1022
    }

    /// What is known of both.
    pub fn join(self, other: Number) -> Number {
        Number {
            nan: self.nan | other.nan,
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            step: self.step.min(other.step),
            significant: self.significant.max(other.significant),
        }
    }

    /// The same, known to lie between two numbers if it is a number. Where there are none, anything is right.
    pub fn within(self, low: f64, high: f64) -> Number {
        let (low, high) = (self.low.max(low), self.high.min(high));
        if low <= high { Number { low, high, ..self }.settled() } else { self }
    }

    /// The same, its magnitude known to be at least this, if it is a finite number.
    pub fn at_least(self, least: f64) -> Number {
        match least > 0.0 && least.is_finite() {
            true => Number { step: self.step.max(exponent(least) + 1 - self.significant as i32), ..self },
            false => self,
        }
    }

    /// The negative.
    pub fn negated(self) -> Number {
        Number { low: -self.high, high: -self.low, ..self }
    }

    /// The magnitude.
    pub fn magnitude(self) -> Number {
        Number { low: self.least(), high: self.greatest(), ..self }
    }

    /// The result of an operator whose ends are among these; NaN among them says that nothing is known.
    fn of_ends(ends: &[f64], nan: bool, step: i32, significant: u32) -> Number {
        let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let step = step.max(LEAST_STEP);
        match ends.iter().any(|end| end.is_nan()) {
            true => Number { step, significant, ..ANY },
            false => Number { nan, low, high, step, significant }.settled(),
        }
    }

    /// The products.
    pub fn times(self, other: Number) -> Number {
        let (a, b) = ([self.low, self.high], [other.low, other.high]);
        let endless = |a: Number, b: Number| !a.greatest().is_finite() && b.least() == 0.0;
        let nan = self.nan | other.nan | endless(self, other) | endless(other, self);
        let step = self.step + other.step;
        let ends = [a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]];
        Number::of_ends(&ends, nan, step, (self.significant + other.significant).min(53))
    }

    /// The sums.
    pub fn plus(self, other: Number) -> Number {
        let opposite = |a: Number, b: Number| a.high == f64::INFINITY && b.low == f64::NEG_INFINITY;
        let nan = self.nan | other.nan | opposite(self, other) | opposite(other, self);
        let ends = [self.low + other.low, self.high + other.high];
        Number::of_ends(&ends, nan, self.step.min(other.step), 53)
    }

    /// The quotients.
    pub fn over(self, other: Number) -> Number {
        if other.least() == 0.0 || !other.is_finite() || !self.is_finite() {
            return ANY;
        }
        let (a, b) = ([self.low, self.high], [other.low, other.high]);
        let ends = [a[0] / b[0], a[0] / b[1], a[1] / b[0], a[1] / b[1]];
        // One that is not zero is at least this, which is rounded down, and a float of 53 bits.
        let least = exponent(power(self.step.max(-1022)) / other.greatest()) - 1;
        let step = if self.step >= -1022 && least >= -1022 { least - 52 } else { LEAST_STEP };
        Number::of_ends(&ends, false, step, 53)
    }

    /// The square roots.
    pub fn root(self) -> Number {
        let nan = self.nan | (self.low < 0.0);
        let ends = [self.low.max(0.0).sqrt(), self.high.max(0.0).sqrt()];
        // One that is not zero is at least the root of the step.
        Number::of_ends(&ends, nan, self.step.div_euclid(2) - 52, 53)
    }

    /// Each rounded to a whole number, by a function that rounds so.
    pub fn whole(self, round: impl Fn(f64) -> f64) -> Number {
        Number::of_ends(&[round(self.low), round(self.high)], self.nan, self.step.max(0), self.significant)
    }

    /// Each as an `f32`.
    pub fn demoted(self) -> Number {
        let (low, high) = (f64::from(self.low as f32), f64::from(self.high as f32));
        let (step, significant) = (self.step.max(LEAST_STEP_32), self.significant.min(24));
        Number { nan: self.nan, low, high, step, significant }.settled()
    }
}
