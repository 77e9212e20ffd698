//! Stopping a guest from outside: a time limit, or another thread that has had enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::{Store, UpdateDeadline};

/// Why a guest is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// Its time is up.
    #[error("The guest was stopped: it ran for longer than the limit of {limit:?}. Give it more time, or less to do.")]
    Time {
        /// How long it might run.
        limit: Duration,
    },
    /// Somebody called [`Interrupt::cancel`].
    #[error("The guest was stopped: it was cancelled by its host.")]
    Cancelled,
}

/// Stops one guest. Clones stop the same guest; one may be used in any thread while the guest runs.
///
/// What runs is stopped between two submissions to a GPU, two pieces of a launch on the CPU, or two calls of the host. A
/// guest's own loops end too if the [`Runtime`](crate::Runtime) was made with a time limit or with
/// [`Config::interruptible`](crate::Config::interruptible).
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Whether there is a deadline: to lock takes longer than a short launch may.
    is_limited: AtomicBool,
    /// The end of the present call, and how long it might take.
    deadline: Mutex<Option<(Instant, Duration)>>,
}

impl Interrupt {
    /// Stops the guest as soon as it can be, now or when it is next called. It stays stopped.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::Relaxed);
    }

    /// Why the guest is to be stopped now.
    pub fn pending(&self) -> Option<Interruption> {
        if self.inner.cancelled.load(Ordering::Relaxed) {
            return Some(Interruption::Cancelled);
        }
        if !self.inner.is_limited.load(Ordering::Relaxed) {
            return None;
        }
        let (deadline, limit) = (*self.inner.deadline.lock())?;
        (Instant::now() >= deadline).then_some(Interruption::Time { limit })
    }

    /// The same as a result.
    pub(crate) fn check(&self) -> Result<(), Interruption> {
        self.pending().map_or(Ok(()), Err)
    }

    /// Has the code in a store end when the guest is to be stopped, where the engine's epochs are counted. For stores of an
    /// engine with [`Config::interruptible`](crate::Config::interruptible) or a time limit: without it, their code traps.
    pub fn watch<T>(&self, store: &mut Store<T>) {
        let interrupt = self.clone();
        store.epoch_deadline_callback(move |_| {
            interrupt.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
    }

    /// Starts the clock of a call, or stops it.
    pub(crate) fn limit(&self, limit: Option<Duration>) {
        let deadline = limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
        *self.inner.deadline.lock() = deadline;
        self.inner.is_limited.store(deadline.is_some(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_stopped_when_its_time_is_up_or_when_it_is_cancelled() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.pending(), None);
        interrupt.limit(Some(Duration::from_secs(3600)));
        assert_eq!(interrupt.pending(), None);
        interrupt.limit(Some(Duration::ZERO));
        assert_eq!(interrupt.pending(), Some(Interruption::Time { limit: Duration::ZERO }));
        interrupt.limit(None);
        assert_eq!(interrupt.check(), Ok(()));
        interrupt.limit(Some(Duration::MAX));
        assert_eq!(interrupt.pending(), None);
        interrupt.clone().cancel();
        assert_eq!(interrupt.check(), Err(Interruption::Cancelled));
    }
}
