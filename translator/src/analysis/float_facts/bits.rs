//! Intervals of integers, modulo two to the number of their bits: what is known of an `i32` or `i64`.

/// The integers from `start` on, up to `more` above it, that differ from it by multiples of two to `stride`; beyond the
/// greatest the least follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// How many bits the integers have: 32 or 64.
    width: u32,
    start: u64,
    /// A multiple of two to `stride`.
    more: u64,
    stride: u32,
}

impl Bits {
    /// Any integer.
    pub fn any(width: u32) -> Bits {
        Bits { width, start: 0, more: mask(width), stride: 0 }
    }

    /// One integer.
    pub fn exactly(width: u32, value: u64) -> Bits {
        Bits { width, start: value & mask(width), more: 0, stride: width }
    }

    /// From `low` on to `high`, which may be lower: modulo the width.
    pub fn between(width: u32, low: u64, high: u64) -> Bits {
        let mask = mask(width);
        Bits { width, start: low & mask, more: high.wrapping_sub(low) & mask, stride: 0 }.tight()
    }

    /// With what follows for the stride of one integer.
    fn tight(self) -> Bits {
        if self.more == 0 { Bits { stride: self.width, ..self } } else { self }
    }

    /// The same, all multiples of two to a power.
    fn multiples(self, stride: u32) -> Bits {
        match self.start & mask_of(stride) {
            0 => {
                let more = self.more & !mask_of(stride);
                Bits { stride: stride.min(self.width), more, ..self }.tight()
            }
            _ => self,
        }
    }

    /// All that differ from an integer by multiples of two to a power.
    fn like(width: u32, start: u64, stride: u32) -> Bits {
        let rest = mask_of(stride);
        Bits { width, start: start & rest, more: mask(width) & !rest, stride }.tight()
    }

    /// Two to this divides all differences.
    pub fn stride(self) -> u32 {
        self.stride
    }

    /// The integers modulo two to a lower power.
    pub fn modulo(self, width: u32) -> Bits {
        if self.stride >= width {
            return Bits::exactly(width, self.start);
        }
        match self.more < mask(width) {
            true => Bits { width, start: self.start & mask(width), ..self },
            false => Bits::like(width, self.start, self.stride),
        }
    }

    fn is_any(self) -> bool {
        self.more == mask(self.width)
    }

    /// The only one.
    pub fn constant(self) -> Option<u64> {
        (self.more == 0).then_some(self.start)
    }

    /// The least and the greatest, as numbers without sign.
    pub fn ends(self) -> (u64, u64) {
        match self.start.checked_add(self.more).filter(|end| *end <= mask(self.width)) {
            Some(end) => (self.start, end),
            None => (0, mask(self.width)),
        }
    }

    /// The least and the greatest, as numbers with sign.
    pub fn signed_ends(self) -> (i64, i64) {
        // Counted from the least number with sign, the order is that of numbers without.
        let least = 1 << (self.width - 1);
        let (low, high) = Bits { start: self.start.wrapping_add(least) & mask(self.width), ..self }.ends();
        let number = |end: u64| (end as i64).wrapping_sub(1 << (self.width - 1));
        match self.width {
            64 => ((low ^ 1 << 63) as i64, (high ^ 1 << 63) as i64),
            _ => (number(low), number(high)),
        }
    }

    /// Whether all of other ones are among these.
    pub fn contains(self, other: Bits) -> bool {
        let distance = other.start.wrapping_sub(self.start) & mask(self.width);
        let fits = self.stride <= other.stride && distance & mask_of(self.stride) == 0;
        fits && (self.is_any() || distance.checked_add(other.more).is_some_and(|end| end <= self.more))
    }

    /// Those of both.
    pub fn join(self, other: Bits) -> Bits {
        if self.contains(other) {
            return self;
        }
        if other.contains(self) {
            return other;
        }
        // From either one's start to the other's end: the shorter way round.
        let apart = self.start.wrapping_sub(other.start).trailing_zeros();
        let stride = self.stride.min(other.stride).min(apart);
        let around =
            |a: Bits, b: Bits| Bits { stride, ..Bits::between(a.width, a.start, b.start.wrapping_add(b.more)) };
        let candidates = [around(self, other), around(other, self)];
        let covering = candidates.into_iter().filter(|found| found.contains(self) && found.contains(other));
        covering.min_by_key(|found| found.more).unwrap_or(Bits::any(self.width))
    }

    /// An interval that has all that are in both. Where none is, any is right.
    pub fn meet(self, other: Bits) -> Bits {
        let ((low, high), (other_low, other_high)) = (self.ends(), other.ends());
        let (low, high) = (low.max(other_low), high.min(other_high));
        let both = if low <= high { Bits::between(self.width, low, high) } else { self };
        [self, other, both].into_iter().min_by_key(|found| found.more).unwrap_or(self)
    }

    /// The sums.
    pub fn add(self, other: Bits) -> Bits {
        let start = self.start.wrapping_add(other.start) & mask(self.width);
        let stride = self.stride.min(other.stride);
        match self.more.checked_add(other.more).filter(|more| *more < mask(self.width)) {
            Some(more) => Bits { start, more, stride, ..self },
            None => Bits::like(self.width, start, stride),
        }
    }

    /// The differences.
    pub fn sub(self, other: Bits) -> Bits {
        // Less `b` is more by `-b`, from minus the greatest on.
        let start = other.start.wrapping_add(other.more).wrapping_neg() & mask(self.width);
        self.add(Bits { start, ..other })
    }

    /// Each shifted left.
    pub fn shl(self, by: u32) -> Bits {
        match self.more.checked_mul(1 << by).filter(|more| *more < mask(self.width)) {
            Some(more) => {
                let stride = (self.stride + by).min(self.width);
                Bits { start: self.start << by & mask(self.width), more, stride, ..self }
            }
            None => Bits::any(self.width).multiples(by),
        }
    }

    /// Each times two to a power, modulo as many more bits.
    pub fn times_power(self, by: u32) -> Bits {
        let (width, stride) = (self.width + by, self.stride + by);
        Bits { width, start: self.start << by, more: self.more << by, stride }
    }

    /// Each shifted right, zeroes coming in.
    pub fn shr(self, by: u32) -> Bits {
        let (low, high) = self.ends();
        let stride = self.stride.saturating_sub(by);
        let shifted = Bits::between(self.width, low >> by, high >> by);
        // What wraps around begins at zero.
        if low == self.start { Bits { stride, ..shifted }.tight() } else { shifted }
    }

    /// Each shifted right, signs coming in.
    pub fn shr_signed(self, by: u32) -> Bits {
        let (low, high) = self.signed_ends();
        Bits::between(self.width, (low >> by) as u64, (high >> by) as u64)
    }

    /// Some bits of each.
    pub fn and(self, bits: u64) -> Bits {
        let (low, high) = self.ends();
        // Without its lowest bits, a greater number is not less; without others, it is at most what it was and those left.
        match (bits | lowest(bits)) == mask(self.width) {
            true => Bits::between(self.width, low & bits, high & bits).multiples(bits.trailing_zeros()),
            false => Bits::between(self.width, 0, high.min(bits)).multiples(bits.trailing_zeros()),
        }
    }

    /// The lowest 32 bits.
    pub fn wrap(self) -> Bits {
        self.modulo(32)
    }

    /// The same numbers without sign, of 64 bits.
    pub fn extend(self) -> Bits {
        let (low, high) = self.ends();
        let extended = Bits::between(64, low, high);
        if low == self.start { Bits { stride: self.stride, ..extended }.tight() } else { extended }
    }

    /// The same numbers with sign, of 64 bits.
    pub fn extend_signed(self) -> Bits {
        let (low, high) = self.signed_ends();
        Bits::between(64, low as u64, high as u64)
    }
}

/// All bits of a width.
pub fn mask(width: u32) -> u64 {
    u64::MAX >> (64 - width)
}

/// As many bits.
fn mask_of(count: u32) -> u64 {
    if count == 0 { 0 } else { mask(count.min(64)) }
}

/// The bits below the lowest that is set.
pub fn lowest(bits: u64) -> u64 {
    bits.wrapping_sub(1) & !bits
}
