//! What a shader's functions use and which of their code can be reached: found before anything is emitted.

use std::collections::{BTreeMap, BTreeSet};

use super::unsupported;
use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::{AtomicOp, Exit, Function, Label, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::layout::{DATA, Layout, POOL_READ};
use crate::options::{Access, Features, Input, LINEAR, Options, Profile, Shape, immediate};

/// Most merge instructions nested in each other (SPIR-V's universal limit).
const MAX_DEPTH: u32 = 1023;
/// Logarithm of the size in bytes of the smallest slice: four words are never cut.
const SMALLEST_SLICE: u32 = 4;

/// Most words of buffers that are accessed in one round of a loop that a driver which unrolls in blindness may unroll.
const MAX_UNROLLED: u64 = 3;
/// Most words of buffers that all loops of a function access where such a driver may unroll them all: that takes no long then, and a loop
/// of few rounds takes up to twice the time of its rounds one by one (k-means' over 16 centres).
const MAX_UNROLLED_IN_ALL: u64 = 128;
/// Most words of the stack that all loops of a function access where such a driver may unroll the small ones. Unrolled, they become
/// values where their places are constants, which is faster; but 30,000 take Mesa twice as long to compile as the loops, 70,000 four
/// times (Curve25519's multiplications).
const MAX_STACKED: u64 = 1 << 14;
/// How many rounds a loop is taken to have.
const ROUNDS: u64 = 8;

/// What the functions of a shader, in strict form, use.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// Slots that are loaded or stored, and whether one is stored.
    pub slots: BTreeMap<u32, bool>,
    /// Slots that are accessed several words at a time, with the binary logarithm of the most words.
    vectors: BTreeMap<u32, u32>,
    /// Slots with words that are changed in part, in atomic steps.
    atomic: BTreeSet<u32>,
    /// Slots of which two words are accessed atomically at once.
    doubles: BTreeSet<u32>,
    /// Slots of which parts of words are stored by themselves, with the bytes of a part.
    pub parts: BTreeSet<(u32, u32)>,
    /// Slots from which an invocation may load what it stored before.
    reloaded: BTreeSet<u32>,
    /// Whether an invocation can tell what others do to memory while it runs: it reads what the kernel changes.
    pub observes: bool,
    /// What is bound: the slots or their pools, and the data.
    pub holders: BTreeMap<u32, Holder>,
    /// Whether words of data segments are loaded, and whether two at a time.
    data: bool,
    data_pairs: bool,
    /// Words of the launch's state that are read.
    pub inputs: BTreeSet<Input>,
    /// Words of the immediates that are read, those of `inputs` among them.
    pub immediates: BTreeSet<u32>,
    /// Whether a trap can be reached.
    pub traps: bool,
}

impl Usage {
    /// Whether a holder is bound as a uniform buffer.
    pub fn is_uniform(&self, holder: u32) -> bool {
        self.holders.get(&holder).is_some_and(|holder| holder.uniform)
    }
}

/// What one of the functions has for itself.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Number of accesses of the private stack.
    pub stack_accesses: usize,
    /// Variables that are read or set.
    pub vars: BTreeSet<u32>,
    /// Bodies of loops that are too large to be unrolled, for what they access.
    pub large_loops: BTreeSet<RegionId>,
    /// Bodies of loops inside others in which the kernel can end.
    pub left_inside: BTreeSet<RegionId>,
    /// How much of each region can be reached.
    reached: Vec<Reached>,
}

/// How a slot or a pool is declared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Holder {
    /// Some of it is stored.
    pub writable: bool,
    /// Words of it are changed in part, in atomic steps.
    pub atomic: bool,
    /// An invocation may load from it behind a store to it.
    pub reloaded: bool,
    /// The binary logarithm of the number of words that it is declared in.
    pub element_bits: u32,
    /// Two words of it are accessed atomically at once.
    pub doubles: bool,
    /// Number of bindings.
    pub slices: u32,
    /// Bound as a uniform buffer.
    pub uniform: bool,
}

/// How much of a region can be reached.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    stmts: usize,
    exit: bool,
}

impl Flow {
    /// Number of statements of a region that can be reached.
    pub fn reached_stmts(&self, region: RegionId) -> usize {
        self.reached[region.index()].stmts
    }

    /// Whether control can get past the statement with this number: to the next statement or the exit.
    pub fn gets_past(&self, region: RegionId, stmt: usize) -> bool {
        let reached = self.reached[region.index()];
        stmt + 1 < reached.stmts || reached.exit
    }
}

/// Finds what `functions` use, and what each has for itself.
///
/// # Errors
/// [`Error::Unsupported`] for missing types and too deep nesting, [`Error::Internal`] for what is not strict form.
pub(super) fn scan(functions: &[&Function], shape: &Shape, options: &Options) -> Result<(Usage, Vec<Flow>)> {
    let (mut usage, mut flows, mut reads) = (Usage::default(), Vec::new(), Reads::default());
    for function in functions {
        let flow = Flow { reached: vec![Reached::default(); function.regions.len()], ..Flow::default() };
        reads.round = Round::default();
        // Values are numbered for each function.
        reads.note_used_updates();
        let mut scanner = Scanner {
            function,
            shape,
            options,
            usage,
            flow,
            loops: Vec::new(),
            accessed: 0,
            accessed_in_loops: 0,
            stacked: 0,
            stacked_in_loops: 0,
            all_loops: Vec::new(),
            reads,
        };
        scanner.region(function.body, Place::Body, 0)?;
        if scanner.accessed_in_loops <= MAX_UNROLLED_IN_ALL {
            scanner.flow.large_loops.clear();
        }
        if scanner.stacked_in_loops > MAX_STACKED {
            scanner.flow.large_loops.extend(scanner.all_loops);
        }
        flows.push(scanner.flow);
        (usage, reads) = (scanner.usage, scanner.reads);
    }
    usage.observes = reads.observe(&usage.slots);
    let first = immediate::SLOTS + 2 * shape.slots();
    usage.immediates.extend((first..).take(usage.inputs.len()));
    let starts = first + usage.inputs.len() as u32;
    usage.immediates.extend(usage.slots.keys().filter_map(|s| shape.layout.place_in_pools(*s)).map(|at| starts + at));
    let data_bytes = functions.iter().map(|function| 4 * function.data.len()).max().unwrap_or(0);
    usage.holders = holders(&usage, &shape.layout, data_bytes, &options.features)?;
    Ok((usage, flows))
}

fn holders(usage: &Usage, layout: &Layout, data_bytes: usize, features: &Features) -> Result<BTreeMap<u32, Holder>> {
    let mut holders: BTreeMap<u32, Holder> = BTreeMap::new();
    for (&slot, &writable) in &usage.slots {
        let number = layout.holder(slot);
        if number == POOL_READ && writable {
            return Err(Error::Internal(format!("slot {slot} is stored to and lies in the pool that is only read")));
        }
        let holder = holders.entry(number).or_default();
        holder.writable |= writable;
        holder.atomic |= usage.atomic.contains(&slot);
        holder.doubles |= usage.doubles.contains(&slot);
        holder.reloaded |= usage.reloaded.contains(&slot);
        // A pool holds slots of both kinds.
        if number == slot {
            holder.element_bits = usage.vectors.get(&slot).copied().unwrap_or(0);
        }
        let in_parts = holder.atomic || holder.doubles || usage.parts.iter().any(|(parted, _)| *parted == slot);
        if holder.element_bits > 0 && in_parts {
            return Err(Error::Internal(format!(
                "slot {slot} is accessed both by parts of words and by several of them"
            )));
        }
        holder.slices = layout.slices_of(number).max(1);
    }
    if usage.data {
        let slices = layout.slices_of(DATA).max(1);
        let uniform = slices == 1 && data_bytes <= features.uniform_data as usize;
        let element_bits = if uniform { 2 } else { usage.data_pairs.into() };
        holders.insert(DATA, Holder { slices, element_bits, uniform, ..Holder::default() });
    }
    for holder in holders.values() {
        if holder.slices > 1 && !(SMALLEST_SLICE..32).contains(&layout.slice_bits) {
            return Err(Error::Internal(format!("slices can't have 2^{} bytes", layout.slice_bits)));
        }
    }
    Ok(holders)
}

/// What a region is the body of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Body,
    Arm,
    Loop,
}

/// Reads of slots, as far as they have been scanned.
#[derive(Default)]
struct Reads {
    /// What is read, for whatever use.
    slots: BTreeSet<u32>,
    /// The results of atomic updates.
    updates: Vec<Value>,
    used: BTreeSet<Value>,
    /// Whether one of a function that was scanned before was used.
    uses_updates: bool,
    /// Slots that are stored and loaded in the innermost loop, or outside of all.
    round: Round,
}

/// What one round of a loop does to memory.
#[derive(Default)]
struct Round {
    stored: BTreeSet<u32>,
    loaded: BTreeSet<u32>,
}

impl Reads {
    /// Whether something that the kernel changes is read.
    fn observe(&self, slots: &BTreeMap<u32, bool>) -> bool {
        let changes = |slot: &u32| slots.get(slot).is_some_and(|stores| *stores);
        self.slots.iter().any(changes) || self.uses_updates || self.are_updates_used()
    }

    fn are_updates_used(&self) -> bool {
        self.updates.iter().any(|value| self.used.contains(value))
    }

    /// Forgets a function's values.
    fn note_used_updates(&mut self) {
        self.uses_updates |= self.are_updates_used();
        self.updates.clear();
        self.used.clear();
    }
}

/// A loop that is being scanned.
struct OpenLoop {
    label: Label,
    /// Whether a `Break` was reached.
    breaks: bool,
    /// Whether the kernel can end inside, with another loop around.
    leaves: bool,
}

struct Scanner<'a> {
    function: &'a Function,
    shape: &'a Shape,
    options: &'a Options,
    usage: Usage,
    flow: Flow,
    /// The loops around.
    loops: Vec<OpenLoop>,
    /// Words of buffers that one round of the innermost loop accesses, where each loop in it counts as [`ROUNDS`] of its own.
    accessed: u64,
    /// Those that all outermost loops so far access.
    accessed_in_loops: u64,
    /// Words of the stack that one round of the innermost open loop accesses, those of the loops in it included.
    stacked: u64,
    /// Those that all outermost loops so far access.
    stacked_in_loops: u64,
    /// Bodies of loops so far.
    all_loops: Vec<RegionId>,
    reads: Reads,
}

impl Scanner<'_> {
    /// Whether control can leave the region by `Yield`.
    fn region(&mut self, id: RegionId, place: Place, depth: u32) -> Result<bool> {
        let function = self.function;
        let Some(region) = function.regions.get(id.index()) else {
            return Err(Error::Internal(format!("there is no region {id}")));
        };
        if !region.params.is_empty() {
            return Err(not_strict(&format!("region {id} has parameters")));
        }
        for (index, stmt) in region.stmts.iter().enumerate() {
            self.flow.reached[id.index()].stmts = index + 1;
            if !self.stmt(stmt, depth)? {
                return Ok(false);
            }
        }
        self.flow.reached[id.index()].exit = true;
        self.exit(&region.exit, place)
    }

    fn exit(&mut self, exit: &Exit, place: Place) -> Result<bool> {
        if !exit.values().is_empty() {
            return Err(not_strict("an exit hands on values"));
        }
        match exit {
            Exit::Yield(_) if place == Place::Loop => return Err(not_strict("a loop's region yields")),
            Exit::Yield(_) => return Ok(true),
            Exit::Break(label, _) | Exit::Continue(label, _) => match self.loops.last_mut() {
                Some(innermost) if innermost.label == *label => innermost.breaks |= matches!(exit, Exit::Break(..)),
                _ => return Err(not_strict(&format!("an exit names {label}, which is not the innermost loop"))),
            },
            Exit::Return(_) | Exit::Trap(_) => {
                self.usage.traps |= matches!(exit, Exit::Trap(kind) if *kind != TrapKind::OneByOne);
                self.loops.iter_mut().skip(1).for_each(|nested| nested.leaves = true);
            }
        }
        Ok(false)
    }

    /// Whether control can get past the statement.
    fn stmt(&mut self, stmt: &Stmt, depth: u32) -> Result<bool> {
        if !matches!(stmt.kind, StmtKind::Op { .. }) {
            if !stmt.kind.results().is_empty() {
                return Err(not_strict("a statement other than an operator has results"));
            }
            if depth >= MAX_DEPTH {
                let what = format!("control flow nested deeper than {MAX_DEPTH} levels");
                return Err(unsupported(self.function, what, Some(stmt.at)));
            }
        }
        match &stmt.kind {
            StmtKind::Op { op, args, result } => {
                for value in args.iter().chain(result) {
                    let Some(ty) = self.function.values.get(value.index()) else {
                        return Err(Error::Internal(format!("there is no value {value}")));
                    };
                    self.supported(*ty, stmt.at)?;
                }
                self.note_reads(op, args, *result);
                self.op(op)?;
                Ok(true)
            }
            StmtKind::If { cond, then, otherwise, .. } => {
                self.reads.used.insert(*cond);
                if self.function.values.get(cond.index()) != Some(&Type::Bool) {
                    return Err(not_strict("a condition is no Bool"));
                }
                let then = self.region(*then, Place::Arm, depth + 1)?;
                let otherwise = self.region(*otherwise, Place::Arm, depth + 1)?;
                Ok(then || otherwise)
            }
            StmtKind::Loop { label, inits, body, .. } => {
                if !inits.is_empty() {
                    return Err(not_strict("a loop has initial values"));
                }
                self.loops.push(OpenLoop { label: *label, breaks: false, leaves: false });
                let around = std::mem::take(&mut self.reads.round);
                let accessed_around = std::mem::take(&mut self.accessed);
                let stacked_around = std::mem::take(&mut self.stacked);
                self.region(*body, Place::Loop, depth + 1)?;
                if self.accessed > MAX_UNROLLED {
                    self.flow.large_loops.insert(*body);
                }
                self.all_loops.push(*body);
                let accessed = self.accessed.saturating_mul(ROUNDS);
                let stacked = self.stacked.saturating_mul(ROUNDS);
                if self.loops.len() == 1 {
                    self.accessed_in_loops = self.accessed_in_loops.saturating_add(accessed);
                    self.stacked_in_loops = self.stacked_in_loops.saturating_add(stacked);
                }
                self.accessed = accessed.saturating_add(accessed_around);
                self.stacked = stacked.saturating_add(stacked_around);
                self.round_ends(around);
                let Some(scanned) = self.loops.pop() else { return Ok(false) };
                if scanned.leaves {
                    self.flow.left_inside.insert(*body);
                }
                Ok(scanned.breaks)
            }
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => Err(not_strict("a call is left")),
            StmtKind::Block { .. } => Err(not_strict("a block is left")),
            StmtKind::Switch { .. } => Err(not_strict("a switch is left")),
        }
    }

    fn supported(&self, ty: Type, at: Location) -> Result<()> {
        let features = &self.options.features;
        let what = match ty {
            Type::I64 if !features.int64 => "64-bit integers on this device",
            Type::F64 if !features.float64 => "64-bit floats on this device",
            _ => return Ok(()),
        };
        Err(unsupported(self.function, what, Some(at)))
    }

    /// A loop's body has been scanned. What one round stores the next may load, and so may what is behind the loop; what is
    /// stored in front of it any round.
    fn round_ends(&mut self, mut around: Round) {
        let round = std::mem::take(&mut self.reads.round);
        let stored = |slot: &&u32| round.stored.contains(slot) || around.stored.contains(slot);
        self.usage.reloaded.extend(round.loaded.iter().filter(stored));
        around.stored.extend(round.stored);
        around.loaded.extend(round.loaded);
        self.reads.round = around;
    }

    fn note_order(&mut self, op: &LowOp) {
        let round = &mut self.reads.round;
        round.stored.extend(op.stored_slot());
        if let Some(slot) = op.loaded_slot() {
            round.loaded.insert(slot);
            if round.stored.contains(&slot) {
                self.usage.reloaded.insert(slot);
            }
        }
    }

    fn note_reads(&mut self, op: &Op, args: &[Value], result: Option<Value>) {
        self.reads.used.extend(args);
        if let Op::Low(op) = op {
            self.note_order(op);
        }
        match (op, result) {
            (Op::Low(LowOp::LoadWord { slot } | LowOp::LoadLane { slot, .. }), _) => _ = self.reads.slots.insert(*slot),
            (Op::Low(LowOp::Atomic { slot, op: AtomicOp::Load, .. }), _) => _ = self.reads.slots.insert(*slot),
            (Op::Low(LowOp::Atomic { .. }), Some(result)) => self.reads.updates.push(result),
            _ => {}
        }
    }

    fn op(&mut self, op: &Op) -> Result<()> {
        self.accessed += words_moved(op);
        match *op {
            Op::Const(_) => {}
            Op::Low(LowOp::LoadWord { slot }) => self.slot(slot, false, 1)?,
            Op::Low(LowOp::LoadLane { slot, words, .. }) => self.slot(slot, false, words.into())?,
            Op::Low(LowOp::StoreWord { slot }) => self.slot(slot, true, 1)?,
            Op::Low(LowOp::StoreQuad { slot }) => self.slot(slot, true, 4)?,
            Op::Low(LowOp::StorePair { slot }) => self.slot(slot, true, 2)?,
            Op::Low(LowOp::AndWord { slot } | LowOp::OrWord { slot }) => {
                self.slot(slot, true, 1)?;
                self.usage.atomic.insert(slot);
            }
            Op::Low(LowOp::StorePart { .. }) if self.options.profile == Profile::Portable => {
                return Err(not_strict("a store of a part of a word, which the portable profile lacks"));
            }
            Op::Low(LowOp::StorePart { slot, bytes }) => {
                self.slot(slot, true, 1)?;
                // What lies in slices or a pool has no second view.
                let layout = &self.shape.layout;
                match layout.holder(slot) == slot && layout.slices_of(slot) == 1 {
                    true => self.usage.parts.insert((slot, bytes)),
                    false => self.usage.atomic.insert(slot),
                };
            }
            Op::Low(LowOp::Atomic { slot, op, ty }) => {
                self.slot(slot, op.stores(), 1)?;
                self.usage.atomic.insert(slot);
                if ty == Type::I64 {
                    self.check_doubles()?;
                    self.usage.doubles.insert(slot);
                }
            }
            Op::Low(LowOp::Fence) if self.options.profile == Profile::Portable => {
                return Err(not_strict("a fence, which the portable profile lacks"));
            }
            Op::Low(LowOp::LoadData) => self.usage.data = true,
            Op::Low(LowOp::LoadDataLane { .. }) => (self.usage.data, self.usage.data_pairs) = (true, true),
            Op::Low(LowOp::Overtaken) => self.usage.traps = true,
            Op::Low(LowOp::LoadStack | LowOp::StoreStack) if self.function.stack_words > 0 => {
                self.flow.stack_accesses += 1;
                self.stacked += 1;
            }
            Op::Low(LowOp::LoadStack | LowOp::StoreStack) => {
                return Err(not_strict("an access to a stack of no words"));
            }
            Op::Low(LowOp::Input(input)) => _ = self.usage.inputs.insert(input),
            Op::Low(LowOp::Immediate(word)) => {
                if word >= immediate::SLOTS + 2 * self.shape.slots() {
                    return Err(Error::Internal(format!("there is no word {word} in the immediates")));
                }
                self.usage.immediates.insert(word);
            }
            Op::Low(LowOp::VarGet(var) | LowOp::VarSet(var)) => {
                if var.index() >= self.function.vars.len() {
                    return Err(Error::Internal(format!("there is no variable {var}")));
                }
                self.flow.vars.insert(var.0);
            }
            Op::Low(_) => {}
            _ => return Err(not_strict(&format!("the operator {op:?} is not lowered"))),
        }
        Ok(())
    }

    fn check_doubles(&self) -> Result<()> {
        match self.options.profile == Profile::Vulkan && self.options.features.int64_atomics {
            true => Ok(()),
            false => Err(not_strict("an atomic access of two words, which the device or the profile lacks")),
        }
    }

    fn slot(&mut self, slot: u32, stores: bool, words: u32) -> Result<()> {
        let param = self.shape.buffers.iter().find(|b| b.slot == slot);
        if param.is_none() && slot != LINEAR {
            return Err(Error::Internal(format!("the launch has no buffer slot {slot}")));
        }
        if stores && param.is_some_and(|param| param.access == Access::Read) {
            return Err(Error::Internal(format!("a store to the read-only buffer slot {slot} did not become a trap")));
        }
        *self.usage.slots.entry(slot).or_insert(false) |= stores;
        if words > 1 {
            let bits = self.usage.vectors.entry(slot).or_default();
            *bits = words.ilog2().max(*bits);
        }
        Ok(())
    }
}

/// Words of buffers that an operator loads or stores; of several that are loaded at once, each is one operator's.
fn words_moved(op: &Op) -> u64 {
    match op {
        Op::Low(LowOp::StoreQuad { .. }) => 4,
        Op::Low(LowOp::StorePair { .. }) => 2,
        Op::Low(op) if op.loaded_slot().or(op.stored_slot()).is_some() => 1,
        _ => 0,
    }
}

fn not_strict(what: &str) -> Error {
    Error::Internal(format!("{what} in a function that is to be in strict form"))
}
