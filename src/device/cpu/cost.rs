//! What an invocation of a kernel takes, as its launches have shown: whether a launch is worth waking others for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// What invocations take that change the same words as others: on all threads they may take so much longer that one thread is
/// done sooner.
#[derive(Debug, Default)]
pub struct Contention {
    alone: Cost,
    shared: Cost,
    launches: AtomicU32,
}

/// How many threads a launch of a kernel with contention begins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// On all.
    Shared,
    /// On one for a while, to see what an invocation takes there.
    Alone,
    /// On one to its end.
    AloneToTheEnd,
}

/// After so many launches is tried again what was slower.
const AGAIN: u32 = 256;

impl Contention {
    /// How to begin the next launch.
    pub fn begin(&self, workers: usize) -> Begin {
        let each = |cost: &Cost| cost.0.load(Ordering::Relaxed);
        let (alone, shared) = (each(&self.alone), each(&self.shared));
        let is_due = self.launches.fetch_add(1, Ordering::Relaxed) % AGAIN == AGAIN - 1;
        match (alone, shared) {
            (0, _) => Begin::Alone,
            (_, 0) => Begin::Shared,
            _ if shared > alone.saturating_mul(workers as u64) => {
                if is_due {
                    Begin::Shared
                } else {
                    Begin::AloneToTheEnd
                }
            }
            _ if is_due => Begin::Alone,
            _ => Begin::Shared,
        }
    }

    /// Takes note of invocations that kept one thread busy, and of others that kept all threads busy for so long together.
    pub fn learn(&self, alone: (u32, Duration), shared: (u32, Duration)) {
        for (cost, (iterations, busy)) in [(&self.alone, alone), (&self.shared, shared)] {
            if iterations > 0 {
                cost.learn(iterations, busy);
            }
        }
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

    #[test]
    fn one_thread_does_what_all_do_more_slowly() {
        let (contention, micros) = (Contention::default(), Duration::from_micros);
        assert_eq!(contention.begin(2), Begin::Alone);
        contention.learn((1000, micros(10)), (9000, micros(800)));
        assert_eq!(contention.begin(2), Begin::AloneToTheEnd);
        // With more threads it would be worth it.
        assert_eq!(contention.begin(16), Begin::Shared);
        // What is slower is tried again, and believed if it no longer is.
        let begun: Vec<_> = (0..AGAIN).map(|_| contention.begin(2)).collect();
        assert_eq!(begun.iter().filter(|begin| **begin == Begin::Shared).count(), 1);
        contention.learn((0, micros(0)), (10_000, micros(110)));
        let begun: Vec<_> = (0..AGAIN).map(|_| contention.begin(2)).collect();
        assert_eq!(begun.iter().filter(|begin| **begin == Begin::Alone).count(), 1);
        assert_eq!(begun.iter().filter(|begin| **begin == Begin::Shared).count(), AGAIN as usize - 1);
    }
}
