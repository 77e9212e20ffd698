//! One worker of one context: its view of the address space, and its instances of kernels.

use std::ops::Range;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use wasmtime::{FrameInfo, Global, Instance, Store, Trap, V128, Val, WasmBacktrace};
use wavelift_translator::Location;

use super::encode;
use super::job::{Arguments, Event, Job};
use super::kernel::Kernel;
use super::run::Run;
use super::shown::{LITTLE, Shown};
use crate::device::{GlobalValue, KernelTrap, TrapKind};
use crate::memory::{View, with_view};
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

/// A kernel's instances take little, but a guest may have any number of kernels.
const MOST_INSTANCES: usize = 256;

/// An instance of a kernel. Each has a store of its own: two memories at one address confuse a store.
struct Loaded {
    store: Store<()>,
    run: Run,
    /// Runs groups of invocations.
    run_groups: Option<Run>,
    /// Runs rows of invocations in squares.
    run_tiles: Option<Run>,
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
    /// Rows of invocations in squares.
    Squares,
}

impl Form {
    /// Whether what ended a call came after the first invocation set the iteration's number: the stack may run out at the entry of
    /// the functions in which its loops are.
    fn has_begun(self, error: &wasmtime::Error) -> bool {
        let own = match self {
            Form::Single | Form::Groups => 1,
            Form::Squares => 2,
        };
        let depth = error.downcast_ref::<WasmBacktrace>().map_or(0, |backtrace| backtrace.frames().len());
        error.downcast_ref() != Some(&Trap::StackOverflow) || depth > own
    }
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
        let was_shown = shown.show(job)?;
        if loaded.len() >= MOST_INSTANCES && !loaded.contains_key(&job.plan.kernel.id) {
            loaded.clear();
        }
        let (loaded, was_loaded) = match loaded.entry(job.plan.kernel.id) {
            std::collections::hash_map::Entry::Occupied(entry) => (entry.into_mut(), true),
            std::collections::hash_map::Entry::Vacant(entry) => {
                (entry.insert(Loaded::new(&job.plan.kernel, &shown.view)?), false)
            }
        };
        loaded.prepare(job)?;
        let mut arguments = Arguments::from_slice(&job.plan.arguments);
        let started = job.start(was_shown && was_loaded);
        while let Some(chunk) = job.claim() {
            if let Some(event) = loaded.run_chunk(job, chunk, &mut arguments)? {
                job.record(event);
            }
        }
        job.note_busy(started);
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
                self.seats.push(Seat { shown: Shown::new(&job.plan.common.space)?, loaded: HashMap::new(), used });
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
    fn new(kernel: &Kernel, view: &Arc<View>) -> Result<Loaded, String> {
        let failed = |error: wasmtime::Error| format!("The CPU device could not instantiate a kernel: {error:#}.");
        let mut store = Store::new(kernel.module.engine(), ());
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
        let [run, run_groups, run_tiles] = [encode::RUN, encode::RUN_GROUPS, encode::RUN_TILES].map(&mut run);
        let run = run.ok_or("The device module has no `run`, or one of another type.")?;
        Ok(Loaded { store, run, run_groups, run_tiles, iteration, pages, lowest, own_tallies, globals, set: None })
    }

    /// Runs a chunk; gives what ended it early. A group that was left in its midst runs again, one invocation after the other,
    /// which tells what ended it. It may have had enough fuel: a group takes as much as several that part do together.
    fn run_chunk(&mut self, job: &Job, chunk: Range<u32>, arguments: &mut Arguments) -> Result<Option<Event>, String> {
        let kernel = &job.plan.kernel;
        if let (Some(row), true) = (job.row, self.run_tiles.is_some()) {
            return self.run_squares(kernel, chunk, row, arguments);
        }
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

    /// Runs a chunk of whole rows, but for the last one, in squares. What ends it early is not the first that does: that is
    /// found by running its invocations again in order. They come to the same, since what decides about traps was not stored by
    /// them.
    fn run_squares(
        &mut self,
        kernel: &Kernel,
        chunk: Range<u32>,
        row: u32,
        arguments: &mut Arguments,
    ) -> Result<Option<Event>, String> {
        let whole = chunk.end - (chunk.end - chunk.start) % row;
        if whole > chunk.start {
            arguments.push(row);
            let ended = self.call(Form::Squares, chunk.start..whole, arguments);
            arguments.pop();
            if let Some((error, iteration)) = ended? {
                match self.run(kernel, chunk.start..whole, arguments)? {
                    Some(first) => return Ok(Some(first)),
                    // A group takes as much fuel as several that part do together. Then nothing is computed from what was stored.
                    None if kernel.rows.as_ref().is_some_and(|rows| !rows.one_by_one) => {}
                    None => return event(kernel, &error, iteration).map(Some),
                }
            }
        }
        match whole < chunk.end {
            true => self.run(kernel, whole..chunk.end, arguments),
            false => Ok(None),
        }
    }

    /// Runs invocations one by one.
    fn run(&mut self, kernel: &Kernel, chunk: Range<u32>, arguments: &mut [u32]) -> Result<Option<Event>, String> {
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
        arguments: &mut [u32],
    ) -> Result<Option<(wasmtime::Error, u32)>, String> {
        arguments[0] = chunk.start;
        arguments[1] = chunk.end;
        let run = match form {
            Form::Single => &mut self.run,
            Form::Groups => self.run_groups.as_mut().unwrap_or(&mut self.run),
            Form::Squares => self.run_tiles.as_mut().unwrap_or(&mut self.run),
        };
        let Err(error) = run.call(&mut self.store, arguments) else { return Ok(None) };
        let iteration = match form.has_begun(&error) {
            true => self.iteration.get(&mut self.store).i32().unwrap_or_default() as u32,
            false => chunk.start,
        };
        Ok(Some((error, iteration)))
    }

    fn prepare(&mut self, job: &Job) -> Result<(), String> {
        let failed = |error: wasmtime::Error| format!("The CPU device could not set a global: {error:#}.");
        let pages = (job.plan.memory_bytes >> 16) as u32;
        let lowest = u32::try_from(job.plan.lowest).unwrap_or(u32::MAX);
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
