//! What a worker's view of the address space shows.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;

use super::job::Job;
use super::tallies::Copies;
use crate::device::{Access, BufferSpec};
use crate::memory::{AddressSpace, Backing, Protection, View, buffer_bytes, protection_of};

/// Bytes of memory that may be shown or hidden for a launch rather than taking another view.
pub const LITTLE: u64 = 1 << 18;

/// Small buffers that kernels may not store to, which stay shown when a later launch does not have them: to hide one and show another
/// takes longer than a short launch, and programs give each of many launches its numbers in such a buffer. A kernel that reads
/// one by a stray address gets what is there, rather than a trap.
#[derive(Debug, Default)]
struct Lingering {
    /// By the first page.
    buffers: HashMap<u64, BufferSpec>,
}

/// Bytes of such a buffer, which lies in one page of the address space then.
const SMALL: u32 = 4096;
/// How many there may be in a view, and in all of the process: systems bound the number of mappings.
const MOST_IN_VIEW: usize = 2048;
const MOST: usize = 1 << 13;

/// How many there are.
static LINGERING: AtomicUsize = AtomicUsize::new(0);

impl Lingering {
    fn page(buffer: &BufferSpec) -> u64 {
        u64::from(buffer.address) / crate::memory::PAGE
    }

    /// Whether a buffer may be one.
    fn may_be(buffer: &BufferSpec) -> bool {
        buffer.access == Access::Read && buffer.size <= SMALL
    }

    /// Whether a buffer that is shown now is one that stays so.
    fn takes(&mut self, buffer: &BufferSpec) -> bool {
        if !Lingering::may_be(buffer) || self.buffers.len() >= MOST_IN_VIEW || LINGERING.load(Ordering::Relaxed) >= MOST
        {
            return false;
        }
        if self.buffers.insert(Lingering::page(buffer), *buffer).is_none() {
            LINGERING.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn has(&self, buffer: &BufferSpec) -> bool {
        self.buffers.get(&Lingering::page(buffer)) == Some(buffer)
    }

    /// None lingers in these bytes any more.
    fn forget_in(&mut self, bytes: &Range<u64>) {
        let before = self.buffers.len();
        self.buffers.retain(|_, buffer| !bytes.contains(&buffer.address.into()));
        LINGERING.fetch_sub(before - self.buffers.len(), Ordering::Relaxed);
    }

    /// The one that lingers in a buffer's first page, no longer.
    fn remove(&mut self, buffer: &BufferSpec) -> Option<BufferSpec> {
        let gone = self.buffers.remove(&Lingering::page(buffer))?;
        LINGERING.fetch_sub(1, Ordering::Relaxed);
        Some(gone)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        LINGERING.fetch_sub(self.buffers.len(), Ordering::Relaxed);
    }
}

fn stack_bytes((address, size): (u32, u32)) -> Range<u64> {
    u64::from(address)..u64::from(address) + u64::from(size)
}

/// A worker's view and what it shows at present.
pub struct Shown {
    /// The view.
    pub view: Arc<View>,
    memory_bytes: u64,
    /// The memory of a kernel's own that is mapped in the place of linear memory, and its size.
    own_memory: Option<(Arc<Backing>, u64)>,
    /// All buffers but those that linger.
    buffers: Vec<BufferSpec>,
    lingering: Lingering,
    stack: Option<(u32, u32)>,
    /// Copies of buffers, in their place.
    tallies: Copies,
}

impl Shown {
    /// A view that shows nothing.
    pub fn new(space: &AddressSpace) -> Result<Shown, String> {
        let view = Arc::new(space.worker_view().map_err(|error| error.to_string())?);
        Ok(Shown {
            view,
            memory_bytes: 0,
            own_memory: None,
            buffers: Vec::new(),
            lingering: Lingering::default(),
            stack: None,
            tallies: Copies::default(),
        })
    }

    /// Shows the job's linear memory, buffers and stack, and nothing else but buffers that linger. What is shown already is left
    /// alone; whether all of it was.
    pub fn show(&mut self, job: &Job) -> Result<bool, String> {
        let failed = |error: std::io::Error| format!("The CPU device could not map a launch's memory: {error}.");
        if !self.tallies.are_of(&job.tallies) {
            let gone = self.tallies.unmap(&self.view, &job.plan.common.space).map_err(failed)?;
            self.buffers.retain(|shown| !gone.contains(shown));
        }
        let moves = self.stack != job.plan.stack;
        if let Some(stack) = self.stack.filter(|_| moves) {
            job.plan.common.space.map_back(&self.view, stack_bytes(stack)).map_err(failed)?;
            self.stack = None;
        }
        self.take_memory(job).map_err(failed)?;
        let (old, new) = (self.memory_bytes, job.plan.memory_bytes);
        self.view.protect(old..new, Protection::ReadWrite).map_err(failed)?;
        self.view.protect(new..old, Protection::None).map_err(failed)?;
        self.memory_bytes = new;
        let same = self.show_buffers(job).map_err(failed)? && old == new && !moves;
        if let Some(stack) = job.plan.stack.filter(|_| moves) {
            self.lingering.forget_in(&stack_bytes(stack));
            self.view.map_private(stack_bytes(stack)).map_err(failed)?;
            self.stack = Some(stack);
        }
        let copies = self.tallies.are_of(&job.tallies);
        self.tallies.map(&self.view, &job.tallies).map_err(failed)?;
        Ok(same && copies)
    }

    /// Whether all of them were shown.
    fn show_buffers(&mut self, job: &Job) -> std::io::Result<bool> {
        let mut same = true;
        while let Some(gone) = self.buffers.iter().position(|shown| !job.plan.buffers.contains(shown)) {
            self.view.protect(buffer_bytes(&self.buffers[gone]), Protection::None)?;
            self.buffers.swap_remove(gone);
            same = false;
        }
        for buffer in &job.plan.buffers {
            if self.buffers.contains(buffer) || self.lingering.has(buffer) {
                continue;
            }
            same = false;
            if let Some(other) = self.lingering.remove(buffer) {
                self.view.protect(buffer_bytes(&other), Protection::None)?;
            }
            self.view.protect(buffer_bytes(buffer), protection_of(buffer))?;
            if !self.lingering.takes(buffer) {
                self.buffers.push(*buffer);
            }
        }
        Ok(same)
    }

    /// Adds the worker's copies of buffers to these.
    pub fn add_tallies(&mut self, job: &Job) -> Result<(), String> {
        let failed = |error: String| format!("The CPU device could not add to a launch's buffers: {error}");
        self.tallies.add(&job.plan.common.space, &job.tallies).map_err(failed)
    }

    /// Bytes that would have to be shown or hidden for a job, where another view could show them already. Which small buffers linger
    /// is not looked up: as if all did.
    pub fn distance(&self, job: &Job) -> u64 {
        let plan = &job.plan;
        let size = |buffer: &BufferSpec| u64::from(buffer.size);
        let gone = self.buffers.iter().filter(|shown| !plan.buffers.contains(shown)).map(size);
        let is_new = |buffer: &&BufferSpec| !Lingering::may_be(buffer) && !self.buffers.contains(buffer);
        let new = plan.buffers.iter().filter(is_new).map(size);
        let copies = if self.tallies.are_of(&job.tallies) { 0 } else { LITTLE / 2 };
        let memory = match (&self.own_memory, &plan.own_memory) {
            // Memory that has grown would have to be shown in another view, too.
            (None, None) => self.memory_bytes.saturating_sub(plan.memory_bytes),
            (Some((shown, _)), Some(own)) if Arc::ptr_eq(shown, own) => self.memory_bytes.abs_diff(plan.memory_bytes),
            _ => self.memory_bytes + plan.memory_bytes,
        };
        gone.sum::<u64>() + new.sum::<u64>() + copies + memory
    }

    /// Puts the memory that the job wants in its place, if another one is there; nothing of it is shown then. A memory
    /// of a kernel's own takes no page more than it has: beyond it there may be buffers.
    fn take_memory(&mut self, job: &Job) -> std::io::Result<()> {
        let wanted = job.plan.own_memory.as_ref().map(|own| (own, job.plan.memory_bytes));
        let same = match (&self.own_memory, wanted) {
            (None, None) => true,
            (Some((shown, bytes)), Some((own, wanted))) => Arc::ptr_eq(shown, own) && *bytes == wanted,
            _ => false,
        };
        if same {
            return Ok(());
        }
        self.view.protect(0..self.memory_bytes, Protection::None)?;
        self.memory_bytes = 0;
        if let Some((_, bytes)) = self.own_memory {
            job.plan.common.space.map_back(&self.view, 0..bytes)?;
        }
        self.own_memory = None;
        if let Some((own, bytes)) = wanted {
            self.view.map_file(0..bytes, own)?;
            self.own_memory = Some((own.clone(), bytes));
        }
        Ok(())
    }
}
