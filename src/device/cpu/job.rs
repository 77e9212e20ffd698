//! One launch, shared by the workers that run it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;
use wasmtime::{Engine, Val};

use super::kernel::Kernel;
use super::worker::Worker;
use crate::device::{BufferSpec, KernelTrap};
use crate::interrupt::{Interrupt, Interruption};
use crate::memory::{AddressSpace, Backing};

/// What ended an invocation early.
#[derive(Clone, Debug)]
pub enum Event {
    /// A trap.
    Trap(KernelTrap),
    /// An operator that only the caller's own instance can run.
    NeedsCaller {
        /// The invocation.
        iteration: u32,
        /// The sentence that says what it came to.
        reason: String,
    },
}

impl Event {
    fn iteration(&self) -> u32 {
        match self {
            Event::Trap(trap) => trap.iteration,
            Event::NeedsCaller { iteration, .. } => *iteration,
        }
    }
}

/// How a job ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The event of the lowest iteration.
    pub event: Option<Event>,
    /// The device itself failed.
    pub failure: Option<String>,
    /// The guest is to be stopped.
    pub interruption: Option<Interruption>,
}

/// What to run, and where.
pub struct Plan {
    /// The engine of the kernel.
    pub engine: Engine,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// The guest's address space.
    pub space: Arc<AddressSpace>,
    /// Size of linear memory.
    pub memory_bytes: u64,
    /// What holds it, where it is a memory of the kernel's own and not the bottom of `space`.
    pub own_memory: Option<Arc<Backing>>,
    /// The launch's buffers.
    pub buffers: Vec<BufferSpec>,
    /// Address and size of the stack that each worker has for itself.
    pub stack: Option<(u32, u32)>,
    /// Values of [`Kernel::globals`].
    pub globals: Vec<Val>,
    /// Arguments of `run`; the first two are each chunk's own.
    pub arguments: Vec<Val>,
    /// Number of invocations.
    pub iterations: u32,
    /// The context's workers.
    pub workers: Arc<Vec<Mutex<Worker>>>,
    /// Ends the launch early.
    pub interrupt: Interrupt,
}

/// A launch on its way.
pub struct Job {
    /// What to run, and where.
    pub plan: Plan,
    /// Invocations of one chunk.
    chunk: u32,
    /// First iteration that no one has claimed.
    next: AtomicU64,
    /// No iteration from this one on needs to run: the lowest that had an event, or the number of invocations.
    end: AtomicU32,
    outcome: Mutex<Outcome>,
}

/// Chunks per worker: uneven invocations spread well, and claiming costs little against running.
const CHUNKS: u32 = 32;
/// Largest chunk, for launches of billions.
const LARGEST: u32 = 1 << 16;

impl Job {
    /// A launch of which nothing has run.
    pub fn new(plan: Plan) -> Job {
        let chunks = plan.workers.len() as u32 * CHUNKS;
        let chunk = if plan.workers.len() == 1 { LARGEST } else { (plan.iterations / chunks).clamp(1, LARGEST) };
        // Groups begin at multiples of their size.
        let group = plan.kernel.grouped.as_ref().map_or(1, |grouped| grouped.lanes);
        let chunk =
            if plan.iterations / plan.workers.len() as u32 >= group { chunk.next_multiple_of(group) } else { chunk };
        let end = AtomicU32::new(plan.iterations);
        Job { plan, chunk, next: AtomicU64::new(0), end, outcome: Mutex::default() }
    }

    /// Whether one worker would do it all.
    pub fn is_one_chunk(&self) -> bool {
        self.plan.workers.len() == 1 || self.plan.iterations <= self.chunk
    }

    /// The next iterations to run. Claims only rise, so that when an invocation has an event, every lower one is
    /// claimed by someone and runs: the lowest event is the same from run to run.
    pub fn claim(&self) -> Option<Range<u32>> {
        if let Some(interruption) = self.plan.interrupt.pending() {
            self.end.store(0, Ordering::Relaxed);
            self.outcome.lock().interruption = Some(interruption);
        }
        let start = self.next.fetch_add(self.chunk.into(), Ordering::Relaxed);
        let end = (start + u64::from(self.chunk)).min(self.end.load(Ordering::Relaxed).into());
        (start < end).then_some(start as u32..end as u32)
    }

    /// Whether no chunk is left to claim.
    pub fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.end.load(Ordering::Relaxed).into()
    }

    /// Notes an event, and that no higher iteration needs to run.
    pub fn record(&self, event: Event) {
        let mut outcome = self.outcome.lock();
        self.end.fetch_min(event.iteration(), Ordering::Relaxed);
        if outcome.event.as_ref().is_none_or(|known| event.iteration() < known.iteration()) {
            outcome.event = Some(event);
        }
    }

    /// Notes that the device failed, and stops the launch.
    pub fn fail(&self, message: String) {
        self.end.store(0, Ordering::Relaxed);
        self.outcome.lock().failure.get_or_insert(message);
    }

    /// What ended the launch; empty if every invocation returned. To be asked when no worker is at it.
    pub fn outcome(&self) -> Outcome {
        self.outcome.lock().clone()
    }
}
