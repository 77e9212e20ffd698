//! One worker of one context: its view of the address space, and its instances of kernels.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::{Engine, FrameInfo, Global, Instance, Store, Trap, V128, Val, WasmBacktrace};
use wavelift_translator::Location;

use super::encode;
use super::job::{Event, Job};
use super::kernel::Kernel;
use super::run::Run;
use super::tallies::Copies;
use crate::device::{BufferSpec, GlobalValue, KernelTrap, TrapKind};
use crate::memory::{AddressSpace, Backing, Protection, View, buffer_bytes, protection_of, with_view};
use crate::trap::kind_of;

/// What a worker keeps between launches: views of the address space that show what launches wanted.
#[derive(Default)]
pub struct Worker {
    seats: Vec<Seat>,
    /// Counts launches.
    launches: u64,
}

/// A view and the instances of kernels on it.
struct Seat {
    shown: Shown,
    /// By the kernel's id.
    loaded: HashMap<u64, Loaded>,
    /// The worker's last launch that took it.
    used: u64,
}

/// Most views of a worker. To show other buffers takes the system longer the larger they are, so that launches on different
/// ones in turns each have a view.
const MOST_SEATS: usize = 8;

/// Bytes of memory that may be shown or hidden for a launch rather than taking another view.
const LITTLE: u64 = 1 << 18;

/// A kernel's instances take little, but a guest may have any number of kernels.
const MOST_INSTANCES: usize = 256;

/// An instance of a kernel. Each has a store of its own: two memories at one address confuse a store.
struct Loaded {
    store: Store<()>,
    run: Run,
    /// Runs groups of invocations.
    run_groups: Option<Run>,
    iteration: Global,
    pages: Global,
    lowest: Global,
    own_tallies: Global,
    /// In the order of [`Kernel::globals`].
    globals: Vec<Global>,
    /// What `pages`, `lowest`, `own_tallies` and `globals` were set to.
    set: Option<(u32, u32, bool, Vec<GlobalValue>)>,
}

/// The forms of a kernel.
#[derive(Clone, Copy)]
enum Form {
    /// Invocations one by one.
    Single,
    /// Groups of invocations.
    Groups,
}

impl Worker {
    /// Takes chunks of the job until none is left, a trap below them has made them needless, or something failed.
    pub fn work(&mut self, job: &Job) {
        if let Err(message) = self.try_work(job) {
            job.fail(message);
        }
    }

    fn try_work(&mut self, job: &Job) -> Result<(), String> {
        let Seat { shown, loaded, .. } = self.seat(job)?;
        shown.show(job)?;
        if loaded.len() >= MOST_INSTANCES && !loaded.contains_key(&job.plan.kernel.id) {
            loaded.clear();
        }
        let loaded = match loaded.entry(job.plan.kernel.id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Loaded::new(&job.plan.engine, &job.plan.kernel, &shown.view)?)
            }
        };
        loaded.prepare(job)?;
        let mut arguments = job.plan.arguments.clone();
        let started = Instant::now();
        while let Some(chunk) = job.claim() {
            if let Some(event) = loaded.run_chunk(&job.plan.kernel, chunk, &mut arguments)? {
                job.record(event);
            }
        }
        job.note_busy(started.elapsed());
        shown.add_tallies(job)
    }

    /// The view that shows most nearly what a job wants; another one where that is not near.
    fn seat(&mut self, job: &Job) -> Result<&mut Seat, String> {
        self.launches += 1;
        let used = self.launches;
        let nearest = self.seats.iter().enumerate().map(|(at, seat)| (seat.shown.distance(job), seat.used, at)).min();
        let at = match nearest {
            Some((distance, _, at)) if distance <= LITTLE => at,
            _ if self.seats.len() < MOST_SEATS => {
                self.seats.push(Seat { shown: Shown::new(&job.plan.space)?, loaded: HashMap::new(), used });
                self.seats.len() - 1
            }
            _ => (0..self.seats.len()).min_by_key(|at| self.seats[*at].used).unwrap_or(0),
        };
        let seat = &mut self.seats[at];
        seat.used = used;
        Ok(seat)
    }
}

impl Loaded {
    fn new(engine: &Engine, kernel: &Kernel, view: &Arc<View>) -> Result<Loaded, String> {
        let failed = |error: wasmtime::Error| format!("The CPU device could not instantiate a kernel: {error:#}.");
        let mut store = Store::new(engine, ());
        let instance = with_view(view, || Instance::new(&mut store, &kernel.module, &[])).map_err(failed)?;
        let mut global = |name: &str| {
            instance.get_global(&mut store, name).ok_or_else(|| format!("The device module has no global `{name}`."))
        };
        let iteration = global(encode::ITERATION)?;
        let pages = global(encode::PAGES)?;
        let lowest = global(encode::LOWEST)?;
        let own_tallies = global(encode::OWN_TALLIES)?;
        let globals = kernel.globals.iter().map(|(_, name)| global(name)).collect::<Result<_, _>>()?;
        let mut run = |name: &str| instance.get_func(&mut store, name).and_then(|run| Run::new(&store, run));
        let (run, run_groups) = (run(encode::RUN), run(encode::RUN_GROUPS));
        let run = run.ok_or("The device module has no `run`, or one of another type.")?;
        Ok(Loaded { store, run, run_groups, iteration, pages, lowest, own_tallies, globals, set: None })
    }

    /// Runs a chunk; gives what ended it early. A group that was left in its midst runs again, one invocation after the other,
    /// which tells what ended it. It may have had enough fuel: a group takes as much as several that part do together.
    fn run_chunk(
        &mut self,
        kernel: &Kernel,
        chunk: Range<u32>,
        arguments: &mut [Val],
    ) -> Result<Option<Event>, String> {
        let Some(grouped) = kernel.lanes(arguments).filter(|_| self.run_groups.is_some()) else {
            return self.run(kernel, chunk, arguments);
        };
        let mut left = chunk;
        while !left.is_empty() {
            let ended = self.call(Form::Groups, left.clone(), arguments)?;
            let Some((error, group)) = ended else { return Ok(None) };
            let place = error.downcast_ref::<WasmBacktrace>().and_then(|backtrace| backtrace.frames().first());
            let Some(place) = place.filter(|frame| frame.func_index() == grouped.index) else {
                return event(kernel, &error, group).map(Some);
            };
            let offset = place.func_offset().unwrap_or_default() as u32;
            let map = kernel.functions.get(grouped.index as usize);
            let may_be_fuel = map.is_some_and(|map| map.is_out_of_fuel(offset));
            let next = group.saturating_add(grouped.lanes).min(left.end);
            if let Some(event) = self.run(kernel, group..next, arguments)? {
                return Ok(Some(event));
            }
            if !may_be_fuel {
                return Err(format!(
                    "A group of invocations from {group} on ended with a trap ({error:#}), but none of them does by itself: \
                     this is a defect of Wavelift."
                ));
            }
            left.start = next;
        }
        Ok(None)
    }

    /// Runs invocations one by one.
    fn run(&mut self, kernel: &Kernel, chunk: Range<u32>, arguments: &mut [Val]) -> Result<Option<Event>, String> {
        match self.call(Form::Single, chunk, arguments)? {
            Some((error, iteration)) => event(kernel, &error, iteration).map(Some),
            None => Ok(None),
        }
    }

    /// Calls a form of the kernel; gives what ended it early, and the iteration at which it was.
    fn call(
        &mut self,
        form: Form,
        chunk: Range<u32>,
        arguments: &mut [Val],
    ) -> Result<Option<(wasmtime::Error, u32)>, String> {
        self.set_iteration(chunk.start)?;
        arguments[0] = Val::I32(chunk.start as i32);
        arguments[1] = Val::I32(chunk.end as i32);
        let run = match form {
            Form::Single => &self.run,
            Form::Groups => self.run_groups.as_ref().unwrap_or(&self.run),
        };
        let Err(error) = run.call(&mut self.store, arguments) else { return Ok(None) };
        let iteration = self.iteration.get(&mut self.store).i32().unwrap_or_default() as u32;
        Ok(Some((error, iteration)))
    }

    fn prepare(&mut self, job: &Job) -> Result<(), String> {
        let failed = |error: wasmtime::Error| format!("The CPU device could not set a global: {error:#}.");
        let pages = (job.plan.memory_bytes >> 16) as u32;
        let lowest = u32::try_from(job.plan.space.lowest_buffer()).unwrap_or(u32::MAX);
        let own = job.tallies.are_own;
        let wanted = (pages, lowest, own, &job.plan.globals);
        let same = |(p, l, o, globals): &(u32, u32, bool, _)| (*p, *l, *o, globals) == wanted;
        if self.set.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.set = None;
        self.pages.set(&mut self.store, Val::I32(pages as i32)).map_err(failed)?;
        self.lowest.set(&mut self.store, Val::I32(lowest as i32)).map_err(failed)?;
        self.own_tallies.set(&mut self.store, Val::I32(own.into())).map_err(failed)?;
        for (global, value) in self.globals.iter().zip(&job.plan.globals) {
            global.set(&mut self.store, value_of(*value)).map_err(failed)?;
        }
        self.set = Some((pages, lowest, own, job.plan.globals.clone()));
        Ok(())
    }

    /// A trap before the first invocation sets it (the stack runs out at the entry) belongs to that invocation.
    fn set_iteration(&mut self, iteration: u32) -> Result<(), String> {
        let set = self.iteration.set(&mut self.store, Val::I32(iteration as i32));
        set.map_err(|error| format!("The CPU device could not set the iteration: {error:#}."))
    }
}

fn value_of(value: GlobalValue) -> Val {
    match value {
        GlobalValue::I32(value) => Val::I32(value),
        GlobalValue::I64(value) => Val::I64(value),
        GlobalValue::F32(bits) => Val::F32(bits),
        GlobalValue::F64(bits) => Val::F64(bits),
        GlobalValue::V128(bits) => Val::V128(V128::from(bits)),
    }
}

/// What a failed call means.
fn event(kernel: &Kernel, error: &wasmtime::Error, iteration: u32) -> Result<Event, String> {
    let trap = error.downcast_ref::<Trap>().ok_or_else(|| format!("A kernel failed without a trap: {error:#}."))?;
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], |backtrace| backtrace.frames());
    let mut at = Location::default();
    let mut kind = kind_of(*trap);
    for (depth, frame) in frames.iter().enumerate() {
        let Some(map) = kernel.functions.get(frame.func_index() as usize) else { continue };
        let offset = frame.func_offset().unwrap_or_default() as u32;
        if let Some(reason) = map.rejected(offset) {
            return Ok(Event::NeedsCaller { iteration, reason: reason.to_string() });
        }
        if depth == 0 && *trap == Trap::UnreachableCodeReached && map.is_out_of_fuel(offset) {
            kind = Some(TrapKind::OutOfFuel);
        }
        // What Wavelift adds has no place in the guest: its caller has.
        if let Some(function) = map.function {
            at = Location { function, offset: map.original(offset) };
            break;
        }
    }
    if kind == Some(TrapKind::OutOfFuel) {
        at = outermost_loop(kernel, frames).unwrap_or(at);
    }
    let kind = kind.ok_or_else(|| format!("A kernel ended with a trap that kernels can't have: {trap}."))?;
    Ok(Event::Trap(KernelTrap { at, kind, iteration }))
}

/// Where an invocation that ran out of fuel is said to have done so: in the outermost of the loops that it is in, its callers'
/// included, as on a GPU. In which loop of a nest the fuel ends differs from device to device.
fn outermost_loop(kernel: &Kernel, frames: &[FrameInfo]) -> Option<Location> {
    frames.iter().rev().find_map(|frame| {
        let map = kernel.functions.get(frame.func_index() as usize)?;
        let offset = map.outermost_loop(map.original(frame.func_offset()? as u32))?;
        Some(Location { function: map.function?, offset })
    })
}

/// A worker's view and what it shows at present.
struct Shown {
    view: Arc<View>,
    memory_bytes: u64,
    /// The memory of a kernel's own that is mapped in the place of linear memory, and its size.
    own_memory: Option<(Arc<Backing>, u64)>,
    buffers: Vec<BufferSpec>,
    stack: Option<(u32, u32)>,
    /// Copies of buffers, in their place.
    tallies: Copies,
}

impl Shown {
    fn new(space: &AddressSpace) -> Result<Shown, String> {
        let view = space.worker_view().map_err(|error| error.to_string())?;
        let (view, tallies) = (Arc::new(view), Copies::default());
        Ok(Shown { view, memory_bytes: 0, own_memory: None, buffers: Vec::new(), stack: None, tallies })
    }

    /// Shows the job's linear memory, buffers and stack, and nothing else. What is shown already is left alone.
    fn show(&mut self, job: &Job) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("The CPU device could not map a launch's memory: {error}.");
        if !self.tallies.are_of(&job.tallies) {
            let gone = self.tallies.unmap(&self.view, &job.plan.space).map_err(failed)?;
            self.buffers.retain(|shown| !gone.contains(shown));
        }
        self.take_memory(job).map_err(failed)?;
        let (old, new) = (self.memory_bytes, job.plan.memory_bytes);
        self.view.protect(old..new, Protection::ReadWrite).map_err(failed)?;
        self.view.protect(new..old, Protection::None).map_err(failed)?;
        self.memory_bytes = new;
        while let Some(gone) = self.buffers.iter().position(|shown| !job.plan.buffers.contains(shown)) {
            self.view.protect(buffer_bytes(&self.buffers[gone]), Protection::None).map_err(failed)?;
            self.buffers.swap_remove(gone);
        }
        for buffer in &job.plan.buffers {
            if !self.buffers.contains(buffer) {
                self.view.protect(buffer_bytes(buffer), protection_of(buffer)).map_err(failed)?;
                self.buffers.push(*buffer);
            }
        }
        if self.stack != job.plan.stack {
            if let Some((address, size)) = job.plan.stack {
                let range = u64::from(address)..u64::from(address) + u64::from(size);
                self.view.map_private(range).map_err(failed)?;
            }
            self.stack = job.plan.stack;
        }
        self.tallies.map(&self.view, &job.tallies).map_err(failed)
    }

    /// Adds the worker's copies of buffers to these.
    fn add_tallies(&mut self, job: &Job) -> Result<(), String> {
        let failed = |error: String| format!("The CPU device could not add to a launch's buffers: {error}");
        self.tallies.add(&job.plan.space, &job.tallies).map_err(failed)
    }

    /// Bytes that would have to be shown or hidden for a job, where another view could show them already.
    fn distance(&self, job: &Job) -> u64 {
        let plan = &job.plan;
        let size = |buffer: &BufferSpec| u64::from(buffer.size);
        let gone = self.buffers.iter().filter(|shown| !plan.buffers.contains(shown)).map(size);
        let new = plan.buffers.iter().filter(|buffer| !self.buffers.contains(buffer)).map(size);
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
            job.plan.space.map_back(&self.view, 0..bytes)?;
        }
        self.own_memory = None;
        if let Some((own, bytes)) = wanted {
            self.view.map_file(0..bytes, own)?;
            self.own_memory = Some((own.clone(), bytes));
        }
        Ok(())
    }
}
