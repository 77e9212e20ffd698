//! Rehearsals: some invocations of a launch are interpreted before its kernel is lifted, to see what its accesses of memory do.
//!
//! Speculative forms are lifted by what was seen ([`Seen`]), and check it. Nothing of a rehearsal is left but that: what an
//! invocation stores goes to a copy that is its own.

mod sharing;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use self::sharing::{Met, Sharing};
use crate::analysis::dataflow;
use crate::error::{Location, TrapKind};
use crate::frontend::{self, Known};
use crate::ir::interpret::{self, Invocation, Memory, Stop};
use crate::ir::{Const, Function, Op, Stmt, StmtKind, Value, WasmOp};
use crate::module::Module;
use crate::options::{Environment, LINEAR, Options};
use crate::seen::{Chain, NEAR, Seen};
use crate::speculation::Assumption;

/// Statements of all invocations together. They take half a second.
const STEPS: u64 = 20_000_000;
/// The same of one invocation.
const STEPS_OF_ONE: u64 = 5_000_000;
/// Accesses of memory of all invocations together, where each [`BYTES`] of a long one count, too: half a second again.
const ACCESSES: u64 = 2_000_000;
/// The same of one invocation.
const ACCESSES_OF_ONE: u64 = 500_000;
/// See [`ACCESSES`].
const BYTES: usize = 64;

/// What a launch gives to its invocations.
pub struct Given<'a> {
    /// The kernel's arguments behind the iteration id: iterations, block size, then each buffer's address and length.
    pub arguments: &'a [u32],
    /// The address, the size in bytes and the slot of each buffer.
    pub buffers: &'a [(u32, u32, u32)],
    /// The caller's globals; anything for those of reference types.
    pub globals: &'a [Const],
}

/// The launch's memory, of which each invocation has a copy to itself.
pub trait Contents {
    /// Reads bytes at an address inside of linear memory or of a buffer; `None` ends the rehearsal of an invocation.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()>;
    /// Writes bytes there, which only this invocation sees.
    fn write(&mut self, address: u64, data: &[u8]) -> Option<()>;
    /// Size of linear memory in bytes.
    fn size(&self) -> u64;
    /// Another invocation begins.
    fn next(&mut self);
}

/// The rehearsal of a kernel.
pub struct Rehearsal<'m> {
    module: &'m Module,
    kernel: u32,
    environment: &'m Environment,
    functions: HashMap<u32, Function>,
    /// Statements that are left to all invocations, and accesses.
    steps: u64,
    accesses: u64,
    seen: Seen,
    /// The numbers of chains of calls.
    chains: HashMap<Chain, u32>,
    sharing: Sharing,
}

impl<'m> Rehearsal<'m> {
    /// One that has seen what another has, or nothing yet.
    pub fn new(module: &'m Module, kernel: u32, environment: &'m Environment, seen: Option<Seen>) -> Self {
        let mut functions = HashMap::new();
        lift(module, &mut functions, kernel);
        let seen = seen.unwrap_or_else(|| Seen::new(stack_pointer(module, &functions)));
        let (chains, sharing) = (seen.chains(), Sharing::default());
        let (steps, accesses) = (STEPS, ACCESSES);
        Rehearsal { module, kernel, environment, functions, steps, accesses, seen, chains, sharing }
    }

    /// Whether there is time for another invocation.
    pub fn goes_on(&self) -> bool {
        self.steps >= STEPS_OF_ONE && self.accesses >= ACCESSES_OF_ONE
    }

    /// Rehearses an invocation. Gives what it found not to hold, and whether anything that it saw is news.
    pub fn run(&mut self, given: &Given<'_>, iteration: u32, memory: &mut dyn Contents) -> (Option<Assumption>, bool) {
        let mut news = false;
        loop {
            memory.next();
            let missing = RefCell::new(None);
            let stop = self.run_once(given, iteration, memory, &missing, &mut news);
            // What an indirect call comes to is lifted when it first does.
            if let Some(function) = missing.take()
                && lift(self.module, &mut self.functions, function)
            {
                continue;
            }
            return match stop {
                Some(Stop::Trap { kind, .. }) if kind != TrapKind::OutOfFuel => (kind.bail_out(), news),
                Some(_) => {
                    self.seen.note_cut_short();
                    (None, news)
                }
                None => (None, news),
            };
        }
    }

    fn run_once(
        &mut self,
        given: &Given<'_>,
        iteration: u32,
        memory: &mut dyn Contents,
        missing: &RefCell<Option<u32>>,
        news: &mut bool,
    ) -> Option<Stop> {
        let Rehearsal { module, kernel, environment, functions, steps, accesses, seen, chains, sharing } = self;
        let data = module.data().into_iter().zip(0..);
        let data = data.map(|(data, number)| if environment.dropped.contains(&number) { &[] } else { data });
        let data: Vec<&[u8]> = data.collect();
        let most = STEPS_OF_ONE.min(*steps);
        *steps -= most;
        let pointer = seen.stack_pointer();
        // As for shaders, it is a multiple of 16.
        let top = value_of(pointer, given.globals).map_or(0, |value| value & !15);
        let mut globals = given.globals.to_vec();
        if let Some(pointer) = pointer.and_then(|pointer| globals.get_mut(pointer as usize)) {
            *pointer = Const::I32(top);
        }
        let invocation = Invocation {
            iteration,
            globals: &globals,
            tables: &environment.tables,
            data: &data,
            fuel: u64::MAX,
            steps: most,
            ..Invocation::default()
        };
        let mut args = vec![Const::I32(iteration)];
        args.extend(given.arguments.iter().map(|argument| Const::I32(*argument)));
        let mut watch = Watch {
            contents: memory,
            buffers: given.buffers,
            pointer,
            top: top.into(),
            at: Location::default(),
            calls: Vec::new(),
            open: HashMap::new(),
            left: ACCESSES_OF_ONE.min(*accesses),
            seen,
            chains,
            news,
            iteration,
            sharing,
        };
        *accesses -= watch.left;
        let resolve = |callee| {
            let known = functions.get(&callee);
            if known.is_none() {
                missing.replace(Some(callee));
            }
            known
        };
        let kernel = functions.get(kernel)?;
        let (outcome, left) = interpret::run_within(kernel, &args, &invocation, &mut watch, &resolve);
        *steps += left;
        *accesses += watch.left;
        outcome.err()
    }

    /// What was seen.
    pub fn into_seen(self) -> Seen {
        self.seen
    }
}

/// Lifts a function and those that it calls, as far as they can be lifted; says whether it can be.
fn lift(module: &Module, functions: &mut HashMap<u32, Function>, function: u32) -> bool {
    let lifted = crate::on_deep_stack(&Options::default(), || {
        let mut tried = BTreeSet::new();
        let mut todo = vec![function];
        while let Some(function) = todo.pop() {
            if functions.contains_key(&function) || !tried.insert(function) {
                continue;
            }
            let known = Known { libm: false, blocks: true, copies: true, cuts: true };
            let Ok(lifted) = frontend::lift(module, function, known) else { continue };
            let stmts = lifted.regions.iter().flat_map(|region| &region.stmts);
            todo.extend(stmts.filter_map(|stmt| match &stmt.kind {
                StmtKind::Call { callee, .. } => Some(*callee),
                _ => None,
            }));
            functions.insert(function, lifted);
        }
        Ok(())
    });
    lifted.is_ok() && functions.contains_key(&function)
}

/// The global that is the stack pointer, if a module has one that may be it. Of several it is the one below whose value some of
/// these functions have their frames.
fn stack_pointer(module: &Module, functions: &HashMap<u32, Function>) -> Option<u32> {
    let candidates = || (0..module.globals().len() as u32).filter(|global| module.may_be_stack_pointer(*global));
    let only = |global: &u32| functions.values().any(|function| has_frame(function, *global));
    let one = |mut globals: Vec<u32>| globals.pop().filter(|_| globals.is_empty());
    module.stack_pointer().or_else(|| one(candidates().collect())).or_else(|| one(candidates().filter(only).collect()))
}

/// Whether a function lowers a global and accesses memory at it, or at the value that it lowers it to.
fn has_frame(function: &Function, global: u32) -> bool {
    let constants = dataflow::constants(function);
    let mut lowered = HashMap::new();
    for stmt in dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind else { continue };
        let constant = |value: Value| match constants[value.index()] {
            Some(Const::I32(number)) => Some(number as i32),
            _ => None,
        };
        match op {
            Op::GlobalGet(of) if *of == global => _ = lowered.insert(*result, false),
            Op::Wasm(op @ (WasmOp::I32Sub | WasmOp::I32Add)) if lowered.get(&args[0]) == Some(&false) => {
                let is_sum = *op == WasmOp::I32Add;
                if constant(args[1]).is_some_and(|number| (number < 0) == is_sum) {
                    lowered.insert(*result, true);
                }
            }
            _ => {}
        }
    }
    let mut stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let is_address = |stmt: &Stmt| match &stmt.kind {
        StmtKind::Op { op, args, .. } => op.memory_access().is_some() && lowered.contains_key(&args[0]),
        _ => false,
    };
    lowered.values().any(|lowered| *lowered) && stmts.any(is_address)
}

/// The value of an `i32` global.
fn value_of(global: Option<u32>, globals: &[Const]) -> Option<u32> {
    match globals.get(global? as usize) {
        Some(Const::I32(value)) => Some(*value),
        _ => None,
    }
}

/// Memory that takes note of accesses.
struct Watch<'a> {
    contents: &'a mut dyn Contents,
    buffers: &'a [(u32, u32, u32)],
    /// The stack pointer's global.
    pointer: Option<u32>,
    /// The stack pointer at the launch; 0 if there is none.
    top: u64,
    /// The operator that accesses memory.
    at: Location,
    /// The functions in the midst of which it stands, without the kernel, and the distance at which their frames begin.
    calls: Vec<(u32, i64)>,
    /// How many calls of each function there are among them.
    open: HashMap<u32, usize>,
    /// Accesses that are left to the invocation.
    left: u64,
    seen: &'a mut Seen,
    chains: &'a mut HashMap<Chain, u32>,
    news: &'a mut bool,
    iteration: u32,
    sharing: &'a mut Sharing,
}

impl Watch<'_> {
    /// The slot of an access that is allowed.
    fn slot(&self, address: u64, bytes: usize) -> Option<u32> {
        let within = |start: u64, size: u64| address >= start && address + bytes as u64 <= start + size;
        if within(0, self.contents.size()) {
            return Some(LINEAR);
        }
        let found = self.buffers.iter().find(|(start, size, _)| within((*start).into(), (*size).into()));
        found.map(|(_, _, slot)| *slot)
    }

    /// The distance from the stack pointer at the launch of a byte of linear memory below it, if it may be of the private stack.
    fn below(&self, address: u64) -> Option<i64> {
        (address < self.top && self.top - address <= NEAR).then(|| address as i64 - self.top as i64)
    }

    /// Takes note of bytes of linear memory that other invocations may meet. Those of callers' frames are the invocation's own.
    fn note_sharing(&mut self, bytes: Range<u64>, stores: Option<&[u8]>) {
        let frame = self.calls.last().map_or(0, |(_, start)| *start);
        for (index, address) in bytes.enumerate() {
            // More than that nothing can be shared.
            if self.seen.shares_linear_memory() {
                return;
            }
            if self.sharing.is_full() {
                self.seen.note_shared(i64::MIN);
                return;
            }
            let distance = self.below(address).unwrap_or(i64::MIN);
            if distance >= frame {
                continue;
            }
            if stores.is_some() {
                self.seen.note_storing(self.at, self.iteration, distance);
            }
            match self.sharing.meet(address, self.iteration, stores.map(|bytes| bytes[index])) {
                Met::Apart => {}
                Met::Alike => self.seen.note_alike(self.at, distance),
                Met::Shared => self.seen.note_shared(distance),
            }
        }
    }

    /// Takes note of a load of so many bytes, or of a store of these.
    fn note(&mut self, address: u64, bytes: usize, store: Option<&[u8]>) -> Result<(), TrapKind> {
        let stores = store.is_some();
        let slot = self.slot(address, bytes).ok_or(TrapKind::OutOfBounds)?;
        let cost = 1 + (bytes / BYTES) as u64;
        self.left = self.left.checked_sub(cost).ok_or(TrapKind::OutOfFuel)?;
        let aligned = address.is_multiple_of(if bytes < 4 { bytes as u64 } else { 4 });
        let end = address + bytes as u64;
        if slot == LINEAR {
            self.note_sharing(address..end, store);
        }
        *self.news |= match slot {
            LINEAR if let Some(first) = self.below(address).filter(|_| end <= self.top) => {
                let end = first + bytes as i64;
                let outside = self.calls.iter().rev().take_while(|(_, start)| *start <= first).count();
                let frame = &self.calls[..self.calls.len() - outside];
                let chain = self.seen.chain(self.chains, frame);
                self.seen.note_near((self.at, stores), chain, (first, end), aligned)
            }
            slot => self.seen.note_slot((self.at, stores), slot, aligned),
        };
        Ok(())
    }
}

impl Memory for Watch<'_> {
    fn reach(&mut self, at: Location) {
        self.at = at;
        *self.news |= self.seen.note_reached(at);
    }

    fn dispatch(&mut self, at: Location, entry: u32) {
        *self.news |= self.seen.note_entry(at, entry);
    }

    fn enter(&mut self, function: u32, globals: &[Const]) {
        let start = value_of(self.pointer, globals).map_or(0, |value| i64::from(value) - self.top as i64);
        self.calls.push((function, start));
        let open = self.open.entry(function).or_insert(0);
        *open += 1;
        *self.news |= self.seen.note_recursion(*open);
    }

    fn leave(&mut self) {
        if let Some((function, _)) = self.calls.pop() {
            *self.open.entry(function).or_insert(1) -= 1;
        }
    }

    fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), TrapKind> {
        self.note(address, out.len(), None)?;
        self.contents.read(address, out).ok_or(TrapKind::OutOfFuel)
    }

    fn store(&mut self, address: u64, data: &[u8]) -> Result<(), TrapKind> {
        self.note(address, data.len(), Some(data))?;
        self.contents.write(address, data).ok_or(TrapKind::OutOfFuel)
    }

    fn size(&self) -> u64 {
        self.contents.size()
    }

    fn check(&mut self, address: u64, length: u64, _store: bool) -> Result<(), TrapKind> {
        self.slot(address, length as usize).map(|_| ()).ok_or(TrapKind::OutOfBounds)
    }

    fn load_word(&mut self, _slot: u32, _index: u32) -> Option<u32> {
        None
    }

    fn store_word(&mut self, _slot: u32, _index: u32, _value: u32) -> Option<()> {
        None
    }
}
