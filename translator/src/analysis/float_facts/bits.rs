//! Intervals of integers, modulo two to the number of their bits: what is known of an `i32` or `i64`.

/// The integers from `start` on, `more` of them besides it; beyond the greatest the least follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// How many bits the integers have: 32 or 64.
    width: u32,
    start: u64,
    more: u64,
}

impl Bits {
    /// Any integer.
    pub fn any(width: u32) -> Bits {
        Bits { width, start: 0, more: mask(width) }
    }

    /// One integer.
    pub fn exactly(width: u32, value: u64) -> Bits {
        Bits { width, start: value & mask(width), more: 0 }
    }

    /// From `low` on to `high`, which may be lower: modulo the width.
    pub fn between(width: u32, low: u64, high: u64) -> Bits {
        let mask = mask(width);
        Bits { width, start: low & mask, more: high.wrapping_sub(low) & mask }
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

    fn contains(self, other: Bits) -> bool {
        let distance = other.start.wrapping_sub(self.start) & mask(self.width);
        self.is_any() || distance.checked_add(other.more).is_some_and(|end| end <= self.more)
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
        let around = |a: Bits, b: Bits| Bits::between(a.width, a.start, b.start.wrapping_add(b.more));
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
        match self.more.checked_add(other.more).filter(|more| *more < mask(self.width)) {
            Some(more) => Bits { start, more, ..self },
            None => Bits::any(self.width),
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
            Some(more) => Bits { start: self.start << by & mask(self.width), more, ..self },
            None => Bits::any(self.width),
        }
    }

    /// Each shifted right, zeroes coming in.
    pub fn shr(self, by: u32) -> Bits {
        let (low, high) = self.ends();
        Bits::between(self.width, low >> by, high >> by)
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
            true => Bits::between(self.width, low & bits, high & bits),
            false => Bits::between(self.width, 0, high.min(bits)),
        }
    }

    /// The lowest 32 bits.
    pub fn wrap(self) -> Bits {
        match self.more < mask(32) {
            true => Bits { width: 32, start: self.start & mask(32), more: self.more },
            false => Bits::any(32),
        }
    }

    /// The same numbers without sign, of 64 bits.
    pub fn extend(self) -> Bits {
        let (low, high) = self.ends();
        Bits::between(64, low, high)
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

/// The bits below the lowest that is set.
pub fn lowest(bits: u64) -> u64 {
    bits.wrapping_sub(1) & !bits
}
