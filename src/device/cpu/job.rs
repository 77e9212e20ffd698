//! One launch, shared by the workers that run it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use super::cost::Begin;
use super::kernel::Kernel;
use super::tallies::Tallies;
use super::tiles;
use super::worker::Worker;
use crate::device::{BufferSpec, GlobalValue, KernelTrap};
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

/// Buffers of a launch: to allocate room for them takes as long as a short launch.
pub type Buffers = SmallVec<[BufferSpec; 4]>;

/// Arguments of a launch of so many.
pub type Arguments = SmallVec<[u32; 12]>;

/// What to run, and where.
pub struct Plan {
    /// The kernel.
    pub kernel: Arc<Kernel>,
    /// What all launches of the context have in common.
    pub common: Arc<Common>,
    /// Size of linear memory.
    pub memory_bytes: u64,
    /// The lowest byte of all of the guest's buffers.
    pub lowest: u64,
    /// What holds it, where it is a memory of the kernel's own and not the bottom of the guest's address space.
    pub own_memory: Option<Arc<Backing>>,
    /// The launch's buffers, each once.
    pub buffers: Buffers,
    /// The same as they were given.
    pub all_buffers: Buffers,
    /// Address and size of the stack that each worker has for itself.
    pub stack: Option<(u32, u32)>,
    /// Values of [`Kernel::globals`].
    pub globals: Vec<GlobalValue>,
    /// Arguments of `run`, all of them `i32`; the first two are each chunk's own.
    pub arguments: Arguments,
    /// Number of invocations.
    pub iterations: u32,
}

/// What all launches of a context have in common.
pub struct Common {
    /// The guest's address space.
    pub space: Arc<AddressSpace>,
    /// The context's workers.
    pub workers: Arc<Vec<Mutex<Worker>>>,
    /// Ends launches early.
    pub interrupt: Interrupt,
}

impl Plan {
    fn workers(&self) -> usize {
        self.common.workers.len()
    }
}

/// A launch on its way.
pub struct Job {
    /// What to run, and where.
    pub plan: Plan,
    /// Buffers to which the kernel does nothing but add.
    pub tallies: Tallies,
    /// Invocations of a row, where rows are taken in squares; chunks begin with a row then.
    pub row: Option<u32>,
    /// Invocations of one chunk.
    chunk: AtomicU32,
    /// Whether the thread that launches works alone.
    alone: AtomicBool,
    /// Whether it should be done at once.
    is_brief: bool,
    /// For how long a thread works alone before it asks for help.
    patience: Duration,
    /// What ran on one thread before others came, and for how long, in nanoseconds.
    before: (AtomicU32, AtomicU64),
    /// When it was made.
    made: Instant,
    /// When the last worker began that was alone, and when it was done, in nanoseconds since then.
    began: AtomicU64,
    ended: AtomicU64,
    /// How long threads have run invocations, in nanoseconds.
    busy: AtomicU64,
    /// First iteration that no one has claimed.
    next: AtomicU64,
    /// No iteration from this one on needs to run: the lowest that had an event, or the number of invocations.
    end: AtomicU32,
    outcome: Mutex<Outcome>,
    /// Whether there is something in `outcome`.
    ended_early: AtomicBool,
}

/// Chunks per worker: uneven invocations spread well, and claiming costs little against running.
const CHUNKS: u32 = 32;
/// Chunks of a launch that one thread begins alone: so often it looks whether it takes longer than expected.
const CHUNKS_ALONE: u32 = 8;
/// One that should take no longer goes on with all that is left, where the first chunk took as little.
const BRIEF: Duration = Duration::from_micros(5);
/// For so long one thread works alone to see what an invocation takes where no other one is at the same words.
const LOOK: Duration = Duration::from_micros(200);
/// Launches of fewer invocations are shared however slow that is: these may wait for each other.
const MANY: u32 = 4096;
/// Largest chunk, for launches of billions.
const LARGEST: u32 = 1 << 16;
/// A launch that should take no longer is run by the thread that launches, alone: others would hardly be awake before it ends.
const ALONE: Duration = Duration::from_micros(30);

impl Job {
    /// A launch of which nothing has run, made now.
    pub fn new(plan: Plan, made: Instant) -> Job {
        let expected = plan.kernel.cost.expected(plan.iterations);
        let is_short = expected.is_some_and(|expected| expected <= ALONE);
        let contention = plan.kernel.contention.as_ref().filter(|_| !is_short && plan.iterations >= MANY);
        let begin = contention.map(|known| known.begin(plan.workers()));
        let (contends, patience) = match begin {
            None | Some(Begin::Shared) => (false, ALONE),
            Some(Begin::Alone) => (true, LOOK),
            Some(Begin::AloneToTheEnd) => (true, Duration::MAX),
        };
        let alone = plan.workers() == 1 || plan.iterations == 1 || is_short || contends;
        let workers = plan.workers();
        let tallies = Tallies::new(&plan.kernel.tallies, &plan.all_buffers, plan.iterations, workers, alone);
        let row = (!alone || workers == 1)
            .then(|| tiles::row(&plan.kernel, &plan.all_buffers, &plan.common.space, &plan.arguments))
            // Enough squares for all workers.
            .and_then(|row| row.filter(|row| plan.iterations / workers as u32 >= 2 * tiles::chunk(*row)));
        let chunk = row.map_or_else(|| chunk(&plan, plan.iterations, alone && !contends), tiles::chunk);
        let (chunk, end) = (AtomicU32::new(chunk), AtomicU32::new(plan.iterations));
        Job {
            plan,
            tallies,
            row,
            chunk,
            alone: AtomicBool::new(alone),
            is_brief: expected.is_some_and(|expected| expected <= BRIEF),
            patience,
            before: Default::default(),
            made,
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            next: AtomicU64::new(0),
            end,
            outcome: Mutex::default(),
            ended_early: AtomicBool::new(false),
        }
    }

    /// Whether the thread that launches works alone, at least at first.
    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// Divides what is left among all workers.
    pub fn share(&self) {
        let done = self.next.load(Ordering::Relaxed);
        let left = u64::from(self.plan.iterations).saturating_sub(done);
        self.before.0.store(done as u32, Ordering::Relaxed);
        self.before.1.store(self.busy.load(Ordering::Relaxed), Ordering::Relaxed);
        self.chunk.store(chunk(&self.plan, left as u32, false), Ordering::Relaxed);
        self.alone.store(false, Ordering::Relaxed);
    }

    /// Whether one that works alone should do so no longer: it takes longer than expected, and there are others.
    fn needs_help(&self) -> bool {
        if !self.is_alone() || self.plan.workers() == 1 {
            return false;
        }
        let has_begun = self.next.load(Ordering::Relaxed) > 0;
        has_begun && !self.is_exhausted() && self.instant(&self.began).elapsed() > self.patience
    }

    /// The next iterations to run; none where the job must be shared first. Claims only rise, so that when an invocation has
    /// an event, every lower one is claimed by someone and runs: the lowest event is the same from run to run.
    pub fn claim(&self) -> Option<Range<u32>> {
        if let Some(interruption) = self.plan.common.interrupt.pending() {
            self.end_early(0).interruption = Some(interruption);
        }
        if self.needs_help() {
            return None;
        }
        let goes_on = self.is_brief && self.is_alone() && self.next.load(Ordering::Relaxed) > 0;
        let chunk = if goes_on { self.plan.iterations } else { self.chunk.load(Ordering::Relaxed) };
        let chunk = u64::from(chunk);
        let start = self.add(&self.next, chunk);
        let end = (start + chunk).min(self.end.load(Ordering::Relaxed).into());
        (start < end).then_some(start as u32..end as u32)
    }

    /// When a worker begins: now, or when the launch was made where nothing was done since then that takes long. To look at the
    /// clock takes as long as some launches.
    pub fn start(&self, at_once: bool) -> Instant {
        let now = if at_once && self.is_alone() { self.made } else { Instant::now() };
        self.note_alone(&self.began, now);
        now
    }

    /// Notes that a worker that began then has run invocations till now.
    pub fn note_busy(&self, since: Instant) {
        let now = Instant::now();
        self.add(&self.busy, (now - since).as_nanos() as u64);
        self.note_alone(&self.ended, now);
    }

    /// When it ended: now, or shortly before. To be asked when no worker is at it.
    pub fn end(&self) -> Instant {
        match self.is_alone() {
            true => self.instant(&self.ended),
            false => Instant::now(),
        }
    }

    /// Adds to a counter and gives what it was before. No other thread is at those of a job at which one works alone, and it need
    /// not lock them.
    fn add(&self, counter: &AtomicU64, more: u64) -> u64 {
        if !self.is_alone() {
            return counter.fetch_add(more, Ordering::Relaxed);
        }
        let before = counter.load(Ordering::Relaxed);
        counter.store(before + more, Ordering::Relaxed);
        before
    }

    fn instant(&self, since_made: &AtomicU64) -> Instant {
        self.made + Duration::from_nanos(since_made.load(Ordering::Relaxed))
    }

    fn note_alone(&self, since_made: &AtomicU64, now: Instant) {
        if self.is_alone() {
            let since = now.saturating_duration_since(self.made).as_nanos() as u64;
            since_made.store(since, Ordering::Relaxed);
        }
    }

    /// How long all workers together have run invocations.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// Takes note of what its invocations took; none of them ended early.
    pub fn learn(&self) {
        let (kernel, busy, all) = (&self.plan.kernel, self.busy(), self.plan.iterations);
        kernel.cost.learn(all, busy);
        let contention = kernel.contention.as_ref().filter(|_| self.plan.workers() > 1 && all >= MANY);
        let Some(contention) = contention else { return };
        if self.is_alone() {
            return contention.learn((all, busy), (0, Duration::ZERO));
        }
        let alone =
            (self.before.0.load(Ordering::Relaxed), Duration::from_nanos(self.before.1.load(Ordering::Relaxed)));
        contention.learn(alone, (all.saturating_sub(alone.0), busy.saturating_sub(alone.1)));
    }

    /// Whether no chunk is left to claim.
    pub fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.end.load(Ordering::Relaxed).into()
    }

    /// Notes an event, and that no higher iteration needs to run.
    pub fn record(&self, event: Event) {
        let mut outcome = self.end_early(event.iteration());
        if outcome.event.as_ref().is_none_or(|known| event.iteration() < known.iteration()) {
            outcome.event = Some(event);
        }
    }

    /// Notes that the device failed, and stops the launch.
    pub fn fail(&self, message: String) {
        self.end_early(0).failure.get_or_insert(message);
    }

    /// What ended the launch; empty if every invocation returned. To be asked once, when no worker is at it.
    pub fn outcome(&self) -> Outcome {
        match self.ended_early.load(Ordering::Relaxed) {
            true => std::mem::take(&mut *self.outcome.lock()),
            false => Outcome::default(),
        }
    }

    /// No iteration from this one on needs to run; why is to be noted.
    fn end_early(&self, iteration: u32) -> MutexGuard<'_, Outcome> {
        let outcome = self.outcome.lock();
        self.end.fetch_min(iteration, Ordering::Relaxed);
        self.ended_early.store(true, Ordering::Relaxed);
        outcome
    }
}

/// Invocations of a chunk, of so many that are left.
fn chunk(plan: &Plan, left: u32, alone: bool) -> u32 {
    let chunk = match (plan.workers() as u32, alone) {
        (1, _) => LARGEST,
        (_, true) => left.div_ceil(CHUNKS_ALONE),
        (workers, false) => left / (workers * CHUNKS),
    };
    // Groups begin at multiples of their size.
    let group = plan.kernel.grouped.as_ref().map_or(1, |grouped| grouped.lanes);
    match plan.iterations / plan.workers() as u32 >= group {
        true => chunk.clamp(1, LARGEST).next_multiple_of(group),
        false => chunk.clamp(1, LARGEST),
    }
}
