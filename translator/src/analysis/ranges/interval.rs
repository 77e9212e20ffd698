//! Intervals of `i32`s.

/// Both ends included; signed, without wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whether it counts from the stack pointer at the launch.
    pub stack: bool,
    /// The least.
    pub low: i64,
    /// The greatest.
    pub high: i64,
    /// Bits of the number that are zero; nothing is known of the others.
    pub clear: u32,
}

pub(super) const MIN: i64 = i32::MIN as i64;
pub(super) const MAX: i64 = i32::MAX as i64;

impl Range {
    pub(super) const ANY: Range = Range { stack: false, low: MIN, high: MAX, clear: 0 };

    pub(super) fn of(low: i64, high: i64) -> Range {
        Range { stack: false, low, high, clear: 0 }.checked()
    }

    pub(super) fn exactly(value: i64) -> Range {
        Range::of(value, value)
    }

    /// What may have wrapped around is anything.
    pub(super) fn checked(self) -> Range {
        if self.low < MIN || self.high > MAX { Range { low: MIN, high: MAX, ..self } } else { self }
    }

    pub(super) fn join(self, other: Range) -> Range {
        match self.stack == other.stack {
            true => Range {
                low: self.low.min(other.low),
                high: self.high.max(other.high),
                clear: self.clear & other.clear,
                ..self
            },
            false => Range::ANY,
        }
    }

    /// What is known of a value that is in both. Where none is, the code is never reached, and any range is right.
    pub(super) fn meet(self, other: Range) -> Range {
        if self.stack != other.stack {
            return if other.width() < self.width() { other } else { self };
        }
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        let both = Range { low, high, clear: self.clear | other.clear, ..self }.tight();
        if both.low <= both.high { both } else { self }
    }

    /// With ends that have no bit set that is known to be zero.
    pub(super) fn tight(mut self) -> Range {
        if self.stack || self.low < 0 || self.high < 0 || self.clear == 0 {
            return self;
        }
        let clear = i64::from(self.clear);
        let above = |bits: i64| 64 - (bits & clear).leading_zeros();
        while self.low & clear != 0 && self.low <= self.high {
            let top = above(self.low);
            self.low = ((self.low >> top) + 1) << top;
        }
        while self.high & clear != 0 && self.low <= self.high {
            let top = above(self.high);
            self.high = (self.high >> top << top) | ((1 << (top - 1)) - 1);
        }
        self
    }

    pub(super) fn width(&self) -> i64 {
        self.high - self.low
    }

    /// Whether more is known than the type says.
    pub fn is_bounded(&self) -> bool {
        self.low > MIN && self.high < MAX
    }

    pub(super) fn is_number(&self) -> bool {
        !self.stack
    }
}
