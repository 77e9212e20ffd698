//! Threads that help with launches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::job::Job;

/// How long a thread looks for work, or for the end of it, before it sleeps: waking takes longer than that.
const SPIN: Duration = Duration::from_micros(40);

/// The threads of a device. The thread that launches works too, as worker 0; the pool's are 1 and up.
pub struct Pool {
    shared: Arc<Shared>,
    /// Empty until the first launch that can use them.
    threads: Mutex<Vec<JoinHandle<()>>>,
    workers: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Counts jobs queued, so that a spinning thread need not lock.
    queued: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Arc<Shift>>,
    closed: bool,
}

/// A job and how many pool threads are at it.
struct Shift {
    job: Job,
    active: AtomicUsize,
    lock: Mutex<()>,
    left: Condvar,
}

impl Pool {
    /// A pool for launches with `workers` workers.
    pub fn new(workers: usize) -> Pool {
        Pool { shared: Arc::default(), threads: Mutex::default(), workers }
    }

    /// Runs a job to its end and gives it back.
    pub fn run(&self, job: Job) -> Arc<impl AsRef<Job> + use<>> {
        let shift = Arc::new(Shift { job, active: AtomicUsize::new(0), lock: Mutex::default(), left: Condvar::new() });
        if shift.job.is_alone() {
            shift.job.work_as(0);
            if shift.job.is_exhausted() {
                return shift;
            }
            shift.job.share();
        }
        self.start_threads();
        self.shared.queue.lock().jobs.push(shift.clone());
        self.shared.queued.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_all();
        shift.job.work_as(0);
        // From here on no thread joins; those that have are waited for.
        self.shared.queue.lock().jobs.retain(|queued| !Arc::ptr_eq(queued, &shift));
        shift.wait();
        shift
    }

    fn start_threads(&self) {
        let mut threads = self.threads.lock();
        while threads.len() + 1 < self.workers {
            let (shared, worker) = (self.shared.clone(), threads.len() + 1);
            let thread = std::thread::Builder::new().name(format!("wavelift-{worker}"));
            // With fewer threads, or none, launches still run to their end.
            let Ok(thread) = thread.spawn(move || shared.serve(worker)) else { break };
            threads.push(thread);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.queued.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_all();
        for thread in self.threads.get_mut().drain(..) {
            // A thread catches its panics; there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, worker: usize) {
        while let Some(shift) = self.next() {
            shift.job.work_as(worker);
            shift.leave();
        }
    }

    /// Joins a job; `None` when the pool is closed.
    fn next(&self) -> Option<Arc<Shift>> {
        let seen = self.queued.load(Ordering::Acquire);
        if let Some(found) = self.queue.lock().join() {
            return found;
        }
        spin_until(|| self.queued.load(Ordering::Acquire) != seen);
        let mut queue = self.queue.lock();
        loop {
            if let Some(found) = queue.join() {
                return found;
            }
            self.wake.wait(&mut queue);
        }
    }
}

impl Queue {
    /// A job to work at; `Some(None)` when the pool is closed, `None` when there is nothing to do.
    fn join(&self) -> Option<Option<Arc<Shift>>> {
        if self.closed {
            return Some(None);
        }
        let shift = self.jobs.iter().find(|shift| !shift.job.is_exhausted())?;
        shift.active.fetch_add(1, Ordering::Relaxed);
        Some(Some(shift.clone()))
    }
}

impl Shift {
    fn leave(&self) {
        let _guard = self.lock.lock();
        self.active.fetch_sub(1, Ordering::Release);
        self.left.notify_all();
    }

    fn wait(&self) {
        spin_until(|| self.active.load(Ordering::Acquire) == 0);
        let mut guard = self.lock.lock();
        while self.active.load(Ordering::Acquire) != 0 {
            self.left.wait(&mut guard);
        }
    }
}

impl AsRef<Job> for Shift {
    fn as_ref(&self) -> &Job {
        &self.job
    }
}

impl Job {
    /// Works as the context's worker of this number. A panic ends the launch, not the thread.
    fn work_as(&self, worker: usize) {
        let worked = catch_unwind(AssertUnwindSafe(|| match self.plan.common.workers.get(worker) {
            Some(worker) => worker.lock().work(self),
            None => self.fail(format!("The CPU device has no worker {worker}.")),
        }));
        if worked.is_err() {
            self.fail("A worker of the CPU device panicked.".into());
        }
    }
}

fn spin_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < SPIN {
        std::hint::spin_loop();
    }
}
