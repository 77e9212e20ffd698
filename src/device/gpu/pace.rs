//! How many invocations one submission holds: long launches are cut so that none runs much longer than a watchdog
//! or a caller who wants to stop can bear.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a submission should run.
const SLICE: Duration = Duration::from_millis(50);
/// Fewest invocations of a submission: smaller ones would leave a GPU idle.
const FEWEST: u64 = 1 << 16;
/// Invocations of a kernel's very first submission, of whose speed nothing is known.
const FIRST: u64 = 1 << 18;

/// What was learned of a kernel's speed. Shared by all launches of the kernel.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Invocations of the next submission.
    budget: AtomicU64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { budget: AtomicU64::new(FIRST) }
    }
}

impl Pace {
    /// Invocations of the next submission.
    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Takes note that `count` invocations, of `budget` allowed, ran for `took`.
    pub fn learn(&self, budget: u64, count: u64, took: Duration) {
        let ratio = SLICE.as_secs_f64() / took.as_secs_f64().max(1e-9);
        let next = if took > SLICE * 2 {
            (count as f64 * ratio) as u64
        } else if count >= budget && took < SLICE / 2 {
            // A part that is cheaper than the rest must not make the next submission run for minutes.
            (budget as f64 * ratio.min(8.0)) as u64
        } else {
            budget
        };
        self.set(next);
    }

    /// Sets the budget, within the bounds that hold for all kernels.
    pub fn set(&self, invocations: u64) {
        self.budget.store(invocations.clamp(FEWEST, u64::from(u32::MAX)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_shrink_and_grow_towards_the_slice() {
        let pace = Pace::default();
        assert_eq!(pace.budget(), FIRST);
        pace.learn(FIRST, FIRST, Duration::from_millis(10));
        assert_eq!(pace.budget(), FIRST * 5);
        pace.learn(4_000_000, 4_000_000, Duration::from_secs(1));
        assert_eq!(pace.budget(), 200_000);
        pace.learn(200_000, 200_000, Duration::from_millis(1));
        assert_eq!(pace.budget(), 1_600_000);
        // The short rest of a launch says nothing about a full submission.
        pace.learn(1_600_000, 10, Duration::from_micros(50));
        assert_eq!(pace.budget(), 1_600_000);
        pace.learn(1_600_000, 1_600_000, Duration::from_secs(1000));
        assert_eq!(pace.budget(), FEWEST);
        // Ids of a submission have 32 bits.
        pace.set(u64::MAX);
        assert_eq!(pace.budget(), u64::from(u32::MAX));
    }
}
