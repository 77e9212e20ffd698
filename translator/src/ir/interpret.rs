//! Runs one invocation of a function: the meaning of the intermediate representation at every stage.
//!
//! A function that [`verify`](super::verify::verify) accepts runs without panics. Nesting and calls use a stack on the heap.

mod atomic;
mod bulk;
mod state;

use std::collections::HashMap;

use state::data_word;

use super::operator::MemoryAccess;
use super::{Const, Exit, Function, Op, Region, RegionId, Stmt, StmtKind, Value};
use crate::error::{Location, TrapKind};
use crate::ir::eval::{self, EvalError};
use crate::options::{Access, Input, LINEAR, TableEntry};

/// Deepest nesting of calls; one more traps with [`TrapKind::StackOverflow`].
pub const MAX_CALLS: usize = 1000;

/// The memory that kernels reach, by address (Wasm's form) and by word of a slot (lowered form).
pub trait Memory {
    /// Says that a call is reached, or an operator that the following accesses are of.
    fn reach(&mut self, _at: Location) {}

    /// Says which entry of its table an indirect call has.
    fn dispatch(&mut self, _at: Location, _entry: u32) {}

    /// Says that a function is called, with the globals' values.
    fn enter(&mut self, _function: u32, _globals: &[Const]) {}

    /// Says that it returned.
    fn leave(&mut self) {}

    /// Reads `out.len()` bytes at an effective address, which may lie beyond 2^32.
    ///
    /// # Errors
    /// The trap of an access that is not allowed.
    fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), TrapKind>;

    /// Writes bytes at an effective address, which may lie beyond 2^32.
    ///
    /// # Errors
    /// The trap of an access that is not allowed; nothing is written then.
    fn store(&mut self, address: u64, data: &[u8]) -> Result<(), TrapKind>;

    /// Size of linear memory in bytes.
    fn size(&self) -> u64;

    /// Whether all bytes of a range may be loaded, or stored. An empty range may lie at the end of linear memory, and
    /// anywhere from the lowest buffer's address on.
    ///
    /// # Errors
    /// The trap of an access that is not allowed.
    fn check(&mut self, address: u64, length: u64, store: bool) -> Result<(), TrapKind>;

    /// The word at an index of a slot; `None` outside it: lowered code forgot a check.
    fn load_word(&mut self, slot: u32, index: u32) -> Option<u32>;

    /// Sets the word at an index of a slot; `None` outside it, or in a slot that is only read.
    fn store_word(&mut self, slot: u32, index: u32, value: u32) -> Option<()>;
}

/// One buffer of a [`Space`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    address: u32,
    access: Access,
    length: u32,
    /// The contents, padded with zeroes to whole words.
    words: Vec<u8>,
}

impl Buffer {
    /// A buffer at an address.
    pub fn new(address: u32, access: Access, bytes: &[u8]) -> Self {
        let mut words = bytes.to_vec();
        words.resize(bytes.len().next_multiple_of(4), 0);
        Buffer { address, access, length: bytes.len() as u32, words }
    }

    /// Its address.
    pub fn address(&self) -> u32 {
        self.address
    }

    /// Its contents.
    pub fn bytes(&self) -> &[u8] {
        &self.words[..self.length as usize]
    }
}

/// A device address space: linear memory from address 0, and buffers. Slot `s` is `buffers[s]`; both views show the
/// same bytes. An access lies wholly within linear memory or one buffer, or it traps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Linear memory.
    pub linear: Vec<u8>,
    /// The buffers, by slot.
    pub buffers: Vec<Buffer>,
}

impl Space {
    fn find(&mut self, address: u64, size: usize, store: bool) -> Result<&mut [u8], TrapKind> {
        let within = |start: u64, length: usize| {
            let offset = address.checked_sub(start)?;
            let end = offset.checked_add(size as u64)?;
            (end <= length as u64).then_some(offset as usize..end as usize)
        };
        if let Some(range) = within(0, self.linear.len()) {
            return Ok(&mut self.linear[range]);
        }
        for buffer in &mut self.buffers {
            let allowed = !store || buffer.access.is_writable();
            if let Some(range) = within(buffer.address.into(), buffer.length as usize).filter(|_| allowed) {
                return Ok(&mut buffer.words[range]);
            }
        }
        Err(TrapKind::OutOfBounds)
    }

    fn word(&mut self, slot: u32, index: u32) -> Option<(Access, &mut [u8])> {
        if slot == LINEAR {
            let start = (index as usize).checked_mul(4)?;
            return Some((Access::ReadWrite, self.linear.get_mut(start..start.checked_add(4)?)?));
        }
        let buffer = self.buffers.get_mut(slot as usize)?;
        let start = (index as usize).checked_mul(4)?;
        Some((buffer.access, buffer.words.get_mut(start..start.checked_add(4)?)?))
    }
}

impl Memory for Space {
    fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), TrapKind> {
        out.copy_from_slice(self.find(address, out.len(), false)?);
        Ok(())
    }

    fn store(&mut self, address: u64, data: &[u8]) -> Result<(), TrapKind> {
        self.find(address, data.len(), true)?.copy_from_slice(data);
        Ok(())
    }

    fn check(&mut self, address: u64, length: u64, store: bool) -> Result<(), TrapKind> {
        if length > 0 {
            return self.find(address, length as usize, store).map(|_| ());
        }
        let among_buffers = self.buffers.iter().any(|buffer| address >= buffer.address.into());
        if address <= self.size() || among_buffers { Ok(()) } else { Err(TrapKind::OutOfBounds) }
    }

    fn load_word(&mut self, slot: u32, index: u32) -> Option<u32> {
        let (_, bytes) = self.word(slot, index)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }

    fn store_word(&mut self, slot: u32, index: u32, value: u32) -> Option<()> {
        let (access, bytes) = self.word(slot, index)?;
        access.is_writable().then(|| bytes.copy_from_slice(&value.to_le_bytes()))
    }

    fn size(&self) -> u64 {
        self.linear.len() as u64
    }
}

/// What an invocation is given besides memory and its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The immediates' words.
    pub immediates: &'a [u32],
    /// Its iteration id.
    pub iteration: u32,
    /// The globals' values at the start; the invocation changes a copy of its own.
    pub globals: &'a [Const],
    /// The entries of each table.
    pub tables: &'a [Vec<TableEntry>],
    /// The values of the shape's pointers at the launch.
    pub pointers: &'a [u32],
    /// The bytes of each data segment; none of those that were dropped, as active ones are. What the invocation drops is
    /// dropped for itself.
    pub data: &'a [&'a [u8]],
    /// How many invocations of a flattened kernel stand for one of the launch's.
    pub rounds: u32,
    /// Most loop iterations after the first, and calls, in sum.
    pub fuel: u64,
    /// Most statements, and ends of regions.
    pub steps: u64,
}

impl Default for Invocation<'_> {
    fn default() -> Self {
        Invocation {
            immediates: &[],
            iteration: 0,
            globals: &[],
            tables: &[],
            pointers: &[],
            data: &[],
            rounds: 1,
            fuel: 1 << 20,
            steps: u64::MAX,
        }
    }
}

/// Why an invocation ended without results.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// It trapped.
    #[error("The invocation trapped at {at}: {kind}.")]
    Trap {
        /// Why.
        kind: TrapKind,
        /// The operator or exit that trapped.
        at: Location,
    },
    /// It used up [`Invocation::fuel`], or [`Invocation::steps`].
    #[error("The invocation ran out of fuel.")]
    OutOfFuel,
    /// It did what has no meaning: a defect of the pass that wrote this code.
    #[error("The invocation did what has no defined result: {0}.")]
    Undefined(String),
}

/// Runs a function.
///
/// `resolve_call` gives the functions that [`StmtKind::Call`] names, and all functions of the right type that an indirect
/// call may come to.
///
/// # Errors
/// See [`Stop`].
pub fn run<'f>(
    function: &'f Function,
    args: &[Const],
    invocation: &Invocation<'_>,
    memory: &mut dyn Memory,
    resolve_call: &dyn Fn(u32) -> Option<&'f Function>,
) -> Result<Vec<Const>, Stop> {
    run_within(function, args, invocation, memory, resolve_call).0
}

/// The same; and the steps that are left.
pub(crate) fn run_within<'f>(
    function: &'f Function,
    args: &[Const],
    invocation: &Invocation<'_>,
    memory: &mut dyn Memory,
    resolve_call: &dyn Fn(u32) -> Option<&'f Function>,
) -> (Result<Vec<Const>, Stop>, u64) {
    let mut machine = Machine {
        memory,
        resolve_call,
        immediates: invocation.immediates,
        iteration: invocation.iteration,
        globals: invocation.globals.to_vec(),
        tables: invocation.tables,
        pointers: invocation.pointers,
        data: invocation.data.to_vec(),
        rounds: invocation.rounds,
        fuel: invocation.fuel,
        steps: invocation.steps,
        cells: HashMap::new(),
        calls: Vec::new(),
        carried: args.to_vec(),
    };
    let outcome = machine.run(function).map(|()| std::mem::take(&mut machine.carried));
    (outcome, machine.steps)
}

fn undefined(what: impl Into<String>) -> Stop {
    Stop::Undefined(what.into())
}

/// A region being run.
struct Cursor<'f> {
    region: &'f Region,
    /// The next statement; the one before it owns the cursor above.
    next: usize,
}

/// A function being run.
struct Frame<'f> {
    function: &'f Function,
    values: Vec<Const>,
    vars: Vec<Option<Const>>,
    /// The private stack of lowered code.
    stack: Vec<u32>,
    cursors: Vec<Cursor<'f>>,
}

impl<'f> Frame<'f> {
    fn get(&self, value: Value) -> Const {
        self.values[value.index()]
    }

    fn set(&mut self, value: Value, to: Const) -> Result<(), Stop> {
        if to.ty() != self.function.ty(value) {
            return Err(undefined(format!("{value} of type {:?} got the value {to:?}", self.function.ty(value))));
        }
        self.values[value.index()] = to;
        Ok(())
    }

    fn set_all(&mut self, values: &[Value], to: &[Const]) -> Result<(), Stop> {
        if values.len() != to.len() {
            return Err(undefined(format!("{} values met {} places", to.len(), values.len())));
        }
        values.iter().zip(to).try_for_each(|(value, to)| self.set(*value, *to))
    }

    fn enter(&mut self, region: RegionId) {
        self.cursors.push(Cursor { region: self.function.region(region), next: 0 });
    }

    /// The statement that the innermost region on the stack is at.
    fn current(&self) -> Option<&'f Stmt> {
        let cursor = self.cursors.last()?;
        cursor.region.stmts.get(cursor.next.checked_sub(1)?)
    }
}

struct Machine<'m, 'f> {
    memory: &'m mut dyn Memory,
    resolve_call: &'m dyn Fn(u32) -> Option<&'f Function>,
    immediates: &'m [u32],
    iteration: u32,
    globals: Vec<Const>,
    tables: &'m [Vec<TableEntry>],
    pointers: &'m [u32],
    data: Vec<&'m [u8]>,
    rounds: u32,
    fuel: u64,
    steps: u64,
    /// What [`LowOp::SetCell`] set.
    cells: HashMap<u32, u32>,
    /// The callers, outermost first.
    calls: Vec<Frame<'f>>,
    /// Values on their way from an exit (or a call) to where they go; taken out first, so that a loop may swap its parameters.
    carried: Vec<Const>,
}

impl<'f> Machine<'_, 'f> {
    /// Runs a function whose arguments are carried, and carries its results then.
    fn run(&mut self, function: &'f Function) -> Result<(), Stop> {
        let mut frame = self.begin(function)?;
        loop {
            self.steps = self.steps.checked_sub(1).ok_or(Stop::OutOfFuel)?;
            let Some(cursor) = frame.cursors.last_mut() else {
                return Err(undefined("a region without an owner ended"));
            };
            if let Some(stmt) = cursor.region.stmts.get(cursor.next) {
                cursor.next += 1;
                self.step(&mut frame, stmt)?;
            } else if self.exit(&mut frame)? {
                // The frame returned; its results are carried to the caller.
                match self.calls.pop() {
                    None => return Ok(()),
                    Some(caller) => {
                        frame = caller;
                        self.memory.leave();
                        self.deliver(&mut frame)?;
                    }
                }
            }
        }
    }

    /// A frame of a function whose arguments are carried.
    fn begin(&mut self, function: &'f Function) -> Result<Frame<'f>, Stop> {
        let values = function.values.iter().map(|ty| Const::zero(*ty)).collect();
        let vars = vec![None; function.vars.len()];
        let stack = vec![0; function.stack_words as usize];
        let mut frame = Frame { function, values, vars, stack, cursors: Vec::new() };
        frame.set_all(&function.params, &self.carried)?;
        frame.enter(function.body);
        Ok(frame)
    }

    fn carry(&mut self, frame: &Frame<'f>, values: &[Value]) {
        self.carried.clear();
        self.carried.extend(values.iter().map(|v| frame.get(*v)));
    }

    /// Gives the carried values to the current statement as its results.
    fn deliver(&mut self, frame: &mut Frame<'f>) -> Result<(), Stop> {
        match frame.current() {
            Some(stmt) => frame.set_all(stmt.kind.results(), &self.carried),
            None => Err(undefined("results came back to no statement")),
        }
    }

    fn burn(&mut self) -> Result<(), Stop> {
        self.fuel = self.fuel.checked_sub(1).ok_or(Stop::OutOfFuel)?;
        Ok(())
    }

    fn call(&mut self, frame: &mut Frame<'f>, callee: &'f Function, args: &[Value], at: Location) -> Result<(), Stop> {
        self.burn()?;
        if self.calls.len() >= MAX_CALLS {
            return Err(Stop::Trap { kind: TrapKind::StackOverflow, at });
        }
        self.carry(frame, args);
        let inner = self.begin(callee)?;
        self.calls.push(std::mem::replace(frame, inner));
        self.memory.enter(callee.index, &self.globals);
        Ok(())
    }

    /// The index of the function at an entry of a table; one that is not of this module has another type.
    fn entry(&self, table: u32, index: u32) -> Result<u32, TrapKind> {
        let entries = self.tables.get(table as usize).map_or(&[][..], Vec::as_slice);
        match entries.get(index as usize) {
            Some(TableEntry::Function(function)) => Ok(*function),
            Some(TableEntry::Null) => Err(TrapKind::NullTableEntry),
            Some(TableEntry::Foreign) => Err(TrapKind::IndirectCallType),
            None => Err(TrapKind::TableOutOfBounds),
        }
    }

    fn step(&mut self, frame: &mut Frame<'f>, stmt: &'f Stmt) -> Result<(), Stop> {
        match &stmt.kind {
            StmtKind::Op { op, args, result } => {
                let value = self.operator(frame, op, args, stmt.at)?;
                match (result, value) {
                    (Some(result), Some(value)) => frame.set(*result, value)?,
                    (None, _) => {}
                    (Some(result), None) => return Err(undefined(format!("{result} got no value from {op:?}"))),
                }
            }
            StmtKind::Call { callee, args, .. } => {
                self.memory.reach(stmt.at);
                let callee = (self.resolve_call)(*callee)
                    .ok_or_else(|| undefined(format!("function {callee} was called, which is not there")))?;
                self.call(frame, callee, args, stmt.at)?;
            }
            StmtKind::CallIndirect { table, args, results } => {
                self.memory.reach(stmt.at);
                let trap = |kind| Stop::Trap { kind, at: stmt.at };
                let (entry, args) = args.split_last().ok_or_else(|| undefined("an indirect call has no entry"))?;
                let Const::I32(index) = frame.get(*entry) else {
                    return Err(undefined(format!("{entry} is no entry of a table")));
                };
                self.memory.dispatch(stmt.at, index);
                let callee = self.entry(*table, index).map_err(trap)?;
                let fits = |f: &&Function| f.has_type(frame.function, args, results);
                let callee = (self.resolve_call)(callee).filter(fits);
                self.call(frame, callee.ok_or(trap(TrapKind::IndirectCallType))?, args, stmt.at)?;
            }
            StmtKind::Block { body, .. } => frame.enter(*body),
            StmtKind::Loop { inits, body, .. } => {
                self.carry(frame, inits);
                frame.set_all(&frame.function.region(*body).params, &self.carried)?;
                frame.enter(*body);
            }
            StmtKind::If { cond, then, otherwise, .. } => match frame.get(*cond) {
                Const::I32(0) | Const::Bool(false) => frame.enter(*otherwise),
                _ => frame.enter(*then),
            },
            StmtKind::Switch { index, cases, default, .. } => match frame.get(*index) {
                Const::I32(index) => frame.enter(*cases.get(index as usize).unwrap_or(default)),
                other => return Err(undefined(format!("a switch got the index {other:?}"))),
            },
        }
        Ok(())
    }

    /// Runs the exit of the innermost region; true when the function returned.
    fn exit(&mut self, frame: &mut Frame<'f>) -> Result<bool, Stop> {
        let Some(Cursor { region, .. }) = frame.cursors.pop() else { return Ok(true) };
        self.carry(frame, region.exit.values());
        match &region.exit {
            Exit::Trap(kind) => return Err(Stop::Trap { kind: *kind, at: region.exit_at }),
            Exit::Return(_) => return Ok(true),
            Exit::Yield(_) if frame.cursors.is_empty() => return Ok(true),
            Exit::Yield(_) => self.deliver(frame)?,
            Exit::Break(label, _) => loop {
                match frame.current().map(|stmt| &stmt.kind) {
                    None => return Err(undefined(format!("{label} does not enclose its break"))),
                    Some(StmtKind::Block { label: l, .. } | StmtKind::Loop { label: l, .. }) if l == label => {
                        self.deliver(frame)?;
                        break;
                    }
                    Some(_) => frame.cursors.pop(),
                };
            },
            Exit::Continue(label, _) => loop {
                match frame.current().map(|stmt| &stmt.kind) {
                    None => return Err(undefined(format!("{label} does not enclose its continue"))),
                    Some(StmtKind::Loop { label: l, body, .. }) if l == label => {
                        self.burn()?;
                        frame.set_all(&frame.function.region(*body).params, &self.carried)?;
                        frame.enter(*body);
                        break;
                    }
                    Some(_) => frame.cursors.pop(),
                };
            },
        }
        Ok(false)
    }

    fn operator(
        &mut self,
        frame: &mut Frame<'f>,
        op: &Op,
        args: &[Value],
        at: Location,
    ) -> Result<Option<Const>, Stop> {
        // No operator has more than five operands.
        let mut operands = [Const::I32(0); 5];
        let operands = operands.get_mut(..args.len()).ok_or_else(|| undefined(format!("{op:?} got {args:?}")))?;
        for (operand, arg) in operands.iter_mut().zip(args) {
            *operand = frame.get(*arg);
        }
        let trap = |kind| Stop::Trap { kind, at };
        if !matches!(op, Op::Wasm(_) | Op::Const(_) | Op::Low(_)) {
            self.memory.reach(at);
        }
        match (op, &*operands) {
            (Op::Const(value), []) => Ok(Some(*value)),
            (Op::Load(access), [Const::I32(address)]) => Ok(Some(self.load(access, *address)?.map_err(trap)?)),
            (Op::Store(access), [Const::I32(address), value]) => {
                self.store(access, *address, *value)?.map_err(trap)?;
                Ok(None)
            }
            (Op::Atomic(op, access), [Const::I32(address), rest @ ..]) => {
                self.atomic(*op, access, *address, rest)?.map_err(trap)
            }
            (Op::Fence, []) => Ok(None),
            (Op::GlobalGet(index), []) => match self.globals.get(*index as usize) {
                Some(value) => Ok(Some(*value)),
                None => Err(undefined(format!("global {index} was read, which has no value"))),
            },
            (Op::GlobalSet(index), [value]) => match self.globals.get_mut(*index as usize) {
                Some(global) => {
                    *global = *value;
                    Ok(None)
                }
                None => Err(undefined(format!("global {index} was set, which is not there"))),
            },
            (Op::GlobalWord { global, word }, []) => {
                self.input(Input::GlobalWord { global: *global, word: *word }).map(|word| Some(Const::I32(word)))
            }
            (
                Op::MemorySize
                | Op::MemoryFill
                | Op::MemoryCopy
                | Op::MemoryCopyApart
                | Op::MemoryInit(_)
                | Op::DataDrop(_),
                operands,
            ) => self.bulk(op, operands)?.map_err(trap),
            (Op::Undefined, []) => Ok(Some(Const::I32(0))),
            (Op::LoadData, [Const::I32(index)]) => data_word(frame, *index).map(|word| Some(Const::I32(word))),
            (Op::LoadDataPair, [Const::I32(pair)]) => {
                let first = pair.saturating_mul(2);
                let (low, high) = (data_word(frame, first)?, data_word(frame, first.saturating_add(1))?);
                Ok(Some(Const::I64(u64::from(high) << 32 | u64::from(low))))
            }
            (Op::Low(low), operands) => match self.state(frame, low, operands, at)? {
                Some(result) => Ok(result),
                None => compute(op, operands, at).map(Some),
            },
            (op, operands) => compute(op, operands, at).map(Some),
        }
    }

    fn load(&mut self, access: &MemoryAccess, address: u32) -> Result<Result<Const, TrapKind>, Stop> {
        let mut bytes = [0; 16];
        let Some(narrow) = bytes.get_mut(..access.bytes as usize).filter(|_| access.memory == 0) else {
            return Err(undefined(format!("memory was accessed as {access:?}")));
        };
        if let Err(kind) = self.memory.load(u64::from(address) + u64::from(access.offset), narrow) {
            return Ok(Err(kind));
        }
        access.value_of(bytes).map(Ok).ok_or_else(|| undefined("a condition was loaded"))
    }

    /// Whether all bytes are in bounds of an access whose first part this is.
    fn check_whole(&mut self, access: &MemoryAccess, address: u32) -> Result<(), TrapKind> {
        let mut bytes = [0; 16];
        match bytes.get_mut(..access.checked_bytes() as usize) {
            Some(whole) if access.checked.is_some() && !whole.is_empty() => {
                self.memory.load(u64::from(address) + u64::from(access.offset), whole)
            }
            _ => Ok(()),
        }
    }

    fn store(&mut self, access: &MemoryAccess, address: u32, value: Const) -> Result<Result<(), TrapKind>, Stop> {
        let bits = match value {
            Const::I32(v) | Const::F32(v) => u128::from(v),
            Const::I64(v) | Const::F64(v) => v.into(),
            Const::V128(v) => v.into(),
            Const::Bool(_) => return Err(undefined("a condition was stored")),
        };
        if let Err(kind) = self.check_whole(access, address) {
            return Ok(Err(kind));
        }
        match bits.to_le_bytes().get(..access.bytes as usize).filter(|_| access.memory == 0) {
            Some(data) => Ok(self.memory.store(u64::from(address) + u64::from(access.offset), data)),
            None => Err(undefined(format!("memory was accessed as {access:?}"))),
        }
    }
}

fn compute(op: &Op, operands: &[Const], at: Location) -> Result<Const, Stop> {
    eval::eval(op, operands).map_err(|error| match error {
        EvalError::Trap(kind) => Stop::Trap { kind, at },
        EvalError::Undefined(what) => undefined(format!("{what} ({op:?} of {operands:?}, {at})")),
        EvalError::NotPure | EvalError::BadOperands => undefined(format!("{op:?} got {operands:?} ({at})")),
    })
}
