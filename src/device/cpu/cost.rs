//! What an invocation of a kernel takes, as its launches have shown: whether a launch is worth waking others for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Picoseconds of an invocation; 0 while no launch has ended.
#[derive(Debug, Default)]
pub struct Cost(AtomicU64);

/// Picoseconds in a nanosecond.
const PICO: u64 = 1000;

impl Cost {
    /// How long one thread should take for that many invocations, if that is known.
    pub fn expected(&self, iterations: u32) -> Option<Duration> {
        let each = self.0.load(Ordering::Relaxed);
        (each > 0).then(|| Duration::from_nanos(each.saturating_mul(iterations.into()) / PICO))
    }

    /// Takes note that so many invocations kept threads busy for so long in all. Less than was known is believed, more only in
    /// part: a thread that was interrupted looks slow.
    pub fn learn(&self, iterations: u32, busy: Duration) {
        let busy = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX).saturating_mul(PICO);
        let (known, seen) = (self.0.load(Ordering::Relaxed), (busy / u64::from(iterations.max(1))).max(1));
        let more = seen.saturating_sub(known) / 4;
        self.0.store(if known == 0 || seen <= known { seen } else { known + more.max(1) }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_the_cheapest_launches_showed_till_dearer_ones_persist() {
        let (cost, micros) = (Cost::default(), Duration::from_micros);
        assert_eq!(cost.expected(1), None);
        cost.learn(100, micros(100));
        assert_eq!(cost.expected(7), Some(micros(7)));
        // One that was interrupted.
        cost.learn(100, micros(500));
        assert_eq!(cost.expected(100), Some(micros(200)));
        cost.learn(100, micros(100));
        assert_eq!(cost.expected(100), Some(micros(100)));
        (0..50).for_each(|_| cost.learn(100, micros(500)));
        assert!(cost.expected(100) > Some(micros(490)));
        // Less than can be told, and more than can be counted.
        cost.learn(u32::MAX, Duration::ZERO);
        assert_eq!(cost.expected(1000), Some(Duration::from_nanos(1)));
        cost.learn(1, Duration::MAX);
        assert!(cost.expected(u32::MAX) > Some(micros(1 << 40)));
    }
}
