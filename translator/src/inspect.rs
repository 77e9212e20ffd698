//! What a kernel is made of, for people: whether it can be lifted, what memory it reaches, what it needs of a device.

mod updates;

use std::collections::BTreeMap;

use crate::analysis::roots::{Root, Roots, roots};
use crate::ir::{Function, Op, Stmt, StmtKind, Type, Value};
use crate::passes::share::limits;
use crate::pointers::{Pointer, Target};
use crate::speculation::{Assumption, is_large, is_worth};
use crate::{Error, Module, Options, Result, Shader, Shape, Speculation, analysis};

pub use updates::PlainUpdate;

/// Where a memory access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryRoot {
    /// The kernel's buffer with this number, counted from 0 in parameter order.
    Buffer(u32),
    /// Linear memory at an address that is computed.
    LinearMemory,
    /// The shadow stack: private to each invocation.
    Stack,
    /// One of several places that the kernel's text shows, told apart when it runs.
    Several,
    /// Where a pointer points that is the same for all invocations and comes from memory that the kernel does not write:
    /// found before the launch. If what the launch's pointers turn out to be lets the kernel write that memory, this is
    /// [`MemoryRoot::Loaded`] after all.
    LoadedBefore,
    /// Where a pointer points that was loaded from memory: told apart when the kernel runs.
    Loaded,
}

/// When it is known into which place an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// When the kernel is lifted.
    CompileTime,
    /// Before a launch.
    Launch,
    /// When the kernel runs: the address is compared with each place's range.
    RunTime,
}

impl std::fmt::Display for Resolution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Resolution::CompileTime => "at compile time",
            Resolution::Launch => "at launch",
            Resolution::RunTime => "at run time, by range",
        })
    }
}

impl MemoryRoot {
    /// When it is known which place this is.
    pub fn resolution(self) -> Resolution {
        match self {
            MemoryRoot::Buffer(_) | MemoryRoot::LinearMemory | MemoryRoot::Stack => Resolution::CompileTime,
            MemoryRoot::LoadedBefore => Resolution::Launch,
            MemoryRoot::Several | MemoryRoot::Loaded => Resolution::RunTime,
        }
    }
}

impl std::fmt::Display for MemoryRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MemoryRoot::Buffer(number) => write!(f, "buffer {number}"),
            MemoryRoot::LinearMemory => f.write_str("linear memory"),
            MemoryRoot::Stack => f.write_str("stack"),
            MemoryRoot::Several => f.write_str("one of several places"),
            MemoryRoot::LoadedBefore | MemoryRoot::Loaded => f.write_str("a loaded pointer"),
        }
    }
}

/// The accesses of a kernel with one root, counted in the code (not in runs of it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSummary {
    /// Where they go.
    pub root: MemoryRoot,
    /// Number of loads.
    pub loads: u32,
    /// Number of stores.
    pub stores: u32,
    /// Number of atomic accesses.
    pub atomics: u32,
}

/// What [`inspect`] finds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Operators after inlining and before simplification; `None` when lifting did not get so far.
    pub operators: Option<u32>,
    /// Memory accesses by root, buffers first.
    pub accesses: Vec<AccessSummary>,
    /// Whether 64-bit integers are used.
    pub int64: bool,
    /// Whether 64-bit floats are used.
    pub float64: bool,
    /// Whether 64-bit atomics are used outside the stack.
    pub int64_atomics: bool,
    /// Loads and stores of one place that may have been meant to be atomic.
    pub plain_updates: Vec<PlainUpdate>,
    /// Number of words of linear memory that decide which functions it calls, and so whether it lifts: they are read before
    /// each launch. All else here is for what they are in a new instance.
    pub words: usize,
    /// Number of words of the module's data segments that it takes for what they are in a new instance; the host looks before
    /// each launch.
    pub known_data: usize,
    /// Whether iterations of its loops can be invocations of their own ([`Options::flatten`]).
    pub flattens: bool,
    /// Whether four neighbouring invocations can run as one ([`Options::coarsen`]).
    pub coarsens: bool,
    /// What a smaller form assumes, which devices take where the exact one is refused or large, and check in each launch.
    pub assumes: Vec<Assumption>,
    /// Size of the SPIR-V of the exact form in words, or why the kernel can't be lifted.
    pub verdict: Result<usize>,
}

/// Inspects a kernel as if launched by a new instance with distinct read_write buffers.
///
/// # Errors
/// [`Error::NotAKernel`] when the function has no kernel's type; all else is in [`Inspection::verdict`].
pub fn inspect(module: &Module, function: u32, options: &Options) -> Result<Inspection> {
    crate::simplified::check_kernel(module, function, &Shape::initial(module, function))?;
    let shape = crate::initial_shape(module, function, options);
    let mut inspection = Inspection {
        operators: None,
        accesses: Vec::new(),
        int64: false,
        float64: false,
        int64_atomics: false,
        plain_updates: Vec::new(),
        words: shape.environment.words.len(),
        known_data: 0,
        flattens: false,
        coarsens: false,
        assumes: Vec::new(),
        verdict: Ok(0),
    };
    let inlined = limits::with_all_inlined(options);
    match crate::on_deep_stack(&inlined, || crate::simplified::simplified(module, function, &shape, &inlined)) {
        Ok(crate::simplified::Simplified { kernel, frames, operators, relies_on, .. }) => {
            inspection.known_data = relies_on.len();
            inspection.operators = Some(operators);
            inspection.accesses = accesses(&kernel, module, shape.clone(), frames.stack_pointer);
            let roots = roots(&kernel, &shape, frames.stack_pointer);
            inspection.int64_atomics = has_wide_atomics(&kernel, &roots);
            inspection.plain_updates = updates::plain_updates(&kernel, &roots);
            let uses = |ty| live_values(&kernel).any(|v| kernel.ty(v) == ty);
            inspection.int64 = uses(Type::I64);
            inspection.float64 = uses(Type::F64);
        }
        // Of what is too large with all functions inlined, there is the form in which they are kept once.
        Err(error) if limits::may_help(&error, options) => {}
        Err(error) => {
            inspection.assumes = assumes(module, function, &shape, options, None)?;
            inspection.verdict = Err(error);
            return Ok(inspection);
        }
    }
    inspection.verdict = match crate::translate(module, function, &shape, options) {
        Ok(shader) => {
            inspection.flattens = shader.rounds.is_some();
            inspection.coarsens = coarsens(&shader, module, function, &shape, options)?;
            inspection.assumes = assumes(module, function, &shape, options, Some(shader.accesses))?;
            Ok(shader.words.len())
        }
        Err(error @ Error::Internal(_)) => return Err(error),
        Err(error) => {
            inspection.assumes = assumes(module, function, &shape, options, None)?;
            Err(error)
        }
    };
    Ok(inspection)
}

/// Whether a kernel gets a form that runs four invocations as one.
fn coarsens(exact: &Shader, module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<bool> {
    if !exact.may_coarsen {
        return Ok(false);
    }
    match crate::translate(module, function, shape, &Options { coarsen: true, ..*options }) {
        Ok(coarse) => Ok(coarse.interface.lanes > 1),
        Err(error @ Error::Internal(_)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// What the form of a kernel assumes that devices take in place of the exact one, which has so many accesses or is refused.
fn assumes(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    exact: Option<u32>,
) -> Result<Vec<Assumption>> {
    if options.speculation.any() || exact.is_some_and(|exact| !is_large(exact, options)) {
        return Ok(Vec::new());
    }
    match crate::translate(module, function, shape, &Options { speculation: Speculation::ALL, ..*options }) {
        Ok(form) if is_worth(form.accesses, exact.unwrap_or(u32::MAX)) => {
            Ok(form.interface.assumptions().into_iter().collect())
        }
        Err(error @ Error::Internal(_)) => Err(error),
        _ => Ok(Vec::new()),
    }
}

/// Statements that the body reaches.
fn statements(function: &Function) -> Vec<&Stmt> {
    let mut found = Vec::new();
    let mut todo = vec![function.body];
    let mut seen = vec![false; function.regions.len()];
    while let Some(id) = todo.pop() {
        if !std::mem::replace(&mut seen[id.index()], true) {
            let region = function.region(id);
            found.extend(&region.stmts);
            todo.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.regions()));
        }
    }
    found
}

fn live_values(function: &Function) -> impl Iterator<Item = Value> {
    statements(function).into_iter().flat_map(|stmt| stmt.kind.results().iter().copied())
}

fn accesses(function: &Function, module: &Module, mut shape: Shape, stack_pointer: Option<u32>) -> Vec<AccessSummary> {
    let slots = shape.slots();
    let sources = analysis::pointers::asked(function, module, &shape, stack_pointer);
    // As if each pointed into a place that nothing else does.
    let somewhere = |place: u32| Some(Target { place, word_aligned: true });
    let pointers = sources.into_iter().zip(slots..);
    shape.pointers = pointers.map(|(source, place)| Pointer { source, target: somewhere(place) }).collect();
    while analysis::pointers::forget_written(function, stack_pointer, &mut shape) {}
    count(function, &roots(function, &shape, stack_pointer), slots)
}

fn has_wide_atomics(function: &Function, roots: &Roots) -> bool {
    statements(function).into_iter().any(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Atomic(_, access), args, .. } => {
            access.bytes == 8 && roots.root_of(args[0]) != Root::Stack
        }
        _ => false,
    })
}

/// Slots from `slots` on are those of pointers that are known before a launch.
fn count(function: &Function, roots: &Roots, slots: u32) -> Vec<AccessSummary> {
    let mut by_root: BTreeMap<MemoryRoot, [u32; 3]> = BTreeMap::new();
    for stmt in statements(function) {
        let (op, checked) = match &stmt.kind {
            StmtKind::Op { op: op @ (Op::Load(access) | Op::Store(access)), .. } => (op, access.checked_bytes()),
            StmtKind::Op { op: op @ Op::Atomic(..), .. } => (op, 1),
            _ => continue,
        };
        // A vector's access is one, though it was split.
        if checked == 0 {
            continue;
        }
        let args = stmt.kind.args();
        let root = match roots.root_of(args[0]) {
            Root::Slot(slot) if slot >= slots => MemoryRoot::LoadedBefore,
            Root::Slot(slot) => MemoryRoot::Buffer(slot),
            Root::Linear => MemoryRoot::LinearMemory,
            Root::Stack => MemoryRoot::Stack,
            Root::Among(set) if set.is_loaded() => MemoryRoot::Loaded,
            Root::Among(_) => MemoryRoot::Several,
            Root::Unreached => continue,
        };
        let counts = by_root.entry(root).or_default();
        match op {
            Op::Load(_) => counts[0] += 1,
            Op::Store(_) => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    let summary =
        |(root, [loads, stores, atomics]): (MemoryRoot, [u32; 3])| AccessSummary { root, loads, stores, atomics };
    by_root.into_iter().map(summary).collect()
}
