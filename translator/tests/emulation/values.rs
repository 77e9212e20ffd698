//! Operands: those at the edges of what floats and integers do, and random ones near them.

/// A generator of pseudo-random numbers (xorshift64*, by Vigna).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A significand, exponent or whole number as they are hard for arithmetic: few bits, long runs of ones or zeroes.
    fn runs(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => (u64::MAX << self.below(64)) ^ (1 << self.below(64)),
            2 => (u64::MAX >> self.below(64)) ^ (1 << self.below(64)),
            _ => (1 << self.below(64)) | (1 << self.below(64)),
        }
    }

    /// A float of `fraction` fraction bits and `exponent` exponent bits.
    fn float(&mut self, fraction: u32, exponent: u32) -> u64 {
        let (ones, half) = ((1 << exponent) - 1, 1 << (exponent - 1));
        let field = match self.below(8) {
            0 => [0, 1, ones - 1, ones][self.below(4) as usize],
            1 => half - 1 + self.below(u64::from(2 * fraction)),
            2 | 3 => half - 8 + self.below(16),
            4 => self.below(u64::from(2 * fraction)) % ones,
            _ => self.below(ones),
        };
        self.below(2) << (fraction + exponent) | field << fraction | self.runs() & ((1 << fraction) - 1)
    }

    pub fn f64(&mut self) -> u64 {
        self.float(52, 11)
    }

    pub fn f32(&mut self) -> u64 {
        self.float(23, 8)
    }

    /// An integer of any number of bits, of either sign.
    pub fn i64(&mut self) -> u64 {
        let shift = self.below(64);
        let value = self.runs() >> shift;
        if self.below(4) == 0 { value.wrapping_neg() } else { value }
    }

    /// A pair of floats of near exponents, so that sums cancel and rounding matters.
    pub fn near(&mut self, a: u64) -> u64 {
        let exponent = (a >> 52 & 0x7ff).wrapping_add(self.below(120)).wrapping_sub(60) & 0x7ff;
        self.below(2) << 63 | exponent << 52 | self.runs() & ((1 << 52) - 1)
    }
}

impl Random {
    /// A float that is to another what operands of variants are to one another: near its bits, of few bits, up to 64 times
    /// less, or some units in its last place and a half.
    pub fn related(&mut self, a: u64) -> u64 {
        let b = if self.below(4) == 0 { self.near(a) } else { self.f64() };
        let (sign, fraction) = (self.below(2) << 63, b & ((1 << 52) - 1));
        let field = a >> 52 & 0x7ff;
        match self.below(5) {
            0 => a.wrapping_add(self.next() >> (40 + self.below(24))).wrapping_sub(self.next() >> 41),
            1 => b & !((1 << 21) - 1),
            2 => sign | field.saturating_sub(self.below(64)) << 52 | fraction,
            3 => {
                let places = self.below(30);
                let kept = !(u64::MAX >> (12 + places));
                sign | field.saturating_sub(53 - places) << 52 | fraction & kept & ((1 << 52) - 1)
            }
            _ => b,
        }
    }
}

/// Floats at the edges, of `fraction` fraction bits and `exponent` exponent bits: with both signs.
fn edges(fraction: u32, exponent: u32) -> Vec<u64> {
    let ones: u64 = (1 << exponent) - 1;
    let bias = ones >> 1;
    let full: u64 = (1 << fraction) - 1;
    let mut fields = vec![0, 1, 2, bias - 2, bias - 1, bias, bias + 1, bias + 2, ones - 2, ones - 1, ones];
    let f = u64::from(fraction);
    fields.extend([
        bias - f - 1,
        bias - f,
        bias + f - 1,
        bias + f,
        bias + f + 1,
        f,
        f + 1,
        bias + 30,
        bias + 31,
        bias + 32,
    ]);
    fields.extend([bias + 62, bias + 63, bias + 64].into_iter().filter(|field| *field < ones));
    if fraction == 52 {
        // Where an `f32` is subnormal, least, greatest or infinite.
        fields.extend([bias - 150, bias - 149, bias - 127, bias - 126, bias + 127, bias + 128]);
    }
    let half = 1 << (fraction - 1);
    let mut fractions = vec![0, 1, 2, full, full - 1, half, half - 1, half + 1];
    if fraction == 52 {
        // The bits that an `f32` does not have: none, half of them, all but one.
        fractions.extend([full - ((1 << 29) - 1), full - ((1 << 28) - 1), 1 << 28]);
    }
    let mut values = Vec::new();
    for field in fields {
        for bits in &fractions {
            values.extend([0, 1].map(|sign| sign << (fraction + exponent) | field << fraction | bits));
        }
    }
    values
}

pub fn f64_edges() -> Vec<u64> {
    edges(52, 11)
}

pub fn f32_edges() -> Vec<u64> {
    edges(23, 8)
}

/// Integers next to powers of two, of either sign.
pub fn i64_edges() -> Vec<u64> {
    let mut values = vec![0];
    for place in [0, 1, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 52, 53, 54, 62, 63] {
        let power = 1u64 << place;
        for value in [power - 1, power, power + 1, power | power >> 24, (power | power >> 53).wrapping_sub(1)] {
            values.extend([value, value.wrapping_neg(), !value]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}
