//! Which values of a kernel are pointers that the host can read before a launch ([`crate::pointers`]).

use std::collections::BTreeSet;

use super::dataflow;
use super::roots::{self, Root, RootSet, Roots};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::options::{LINEAR, Shape};
use crate::pointers::{self, Base, Source};

/// Most pointers of a kernel that the host is asked for.
pub(crate) const MAX_POINTERS: usize = 64;

/// The sources in a kernel, and the values that come from them.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub list: Vec<Source>,
    /// Numbers in the list.
    pub of: HashMap<Value, u32>,
}

impl Sources {
    /// All that there are, up to a limit.
    fn all(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Sources {
        Finder::new(function, shape, stack_pointer, false).run(function)
    }

    /// Those of the shape.
    pub fn known(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Sources {
        match shape.pointers.is_empty() {
            true => Sources::default(),
            false => Finder::new(function, shape, stack_pointer, true).run(function),
        }
    }
}

struct Finder {
    sources: Sources,
    numbers: HashMap<Source, u32>,
    /// No others than those there are at first.
    closed: bool,
    stack_pointer: Option<u32>,
    /// Values that are a base and a constant.
    sums: HashMap<Value, (Base, u32)>,
}

impl Finder {
    fn new(function: &Function, shape: &Shape, stack_pointer: Option<u32>, closed: bool) -> Self {
        let list: Vec<Source> = match closed {
            true => shape.pointers.iter().map(|pointer| pointer.source).collect(),
            false => Vec::new(),
        };
        let numbers = list.iter().copied().zip(0..).collect();
        let pairs = function.params.get(3..).unwrap_or_default().chunks_exact(2).zip(&shape.buffers);
        let sums = pairs.map(|(pair, buffer)| (pair[0], (Base::Buffer(buffer.slot), 0))).collect();
        Finder { sources: Sources { list, of: HashMap::new() }, numbers, closed, stack_pointer, sums }
    }

    /// A region comes before those below it, so operands come before what is made of them.
    fn run(mut self, function: &Function) -> Sources {
        for id in dataflow::regions(function) {
            for stmt in &function.region(id).stmts {
                if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind
                    && function.ty(*result) == Type::I32
                {
                    self.op(op, args, *result);
                }
            }
        }
        self.sources
    }

    fn op(&mut self, op: &Op, args: &[Value], result: Value) {
        let sum = |value: Value| self.sums.get(&value).copied();
        let number = |value: Value| match sum(value) {
            Some((Base::Number, number)) => Some(number),
            _ => None,
        };
        let found = match op {
            Op::Const(Const::I32(number)) => Some((Base::Number, *number)),
            Op::Wasm(WasmOp::I32Add) => match (number(args[0]), number(args[1])) {
                (_, Some(more)) => sum(args[0]).map(|(base, plus)| (base, plus.wrapping_add(more))),
                (Some(more), None) => sum(args[1]).map(|(base, plus)| (base, plus.wrapping_add(more))),
                (None, None) => None,
            },
            Op::Wasm(WasmOp::I32Sub) => {
                let less = number(args[1]);
                less.and_then(|less| sum(args[0]).map(|(base, plus)| (base, plus.wrapping_sub(less))))
            }
            Op::GlobalGet(global) if Some(*global) != self.stack_pointer => {
                self.pointer(Source::Global(*global), result)
            }
            op if let Some(MemoryAccess { bytes: 4, offset, memory: 0, .. }) = op.loaded() => {
                sum(args[0]).and_then(|(from, plus)| self.pointer(Source::Loaded { from, plus, offset }, result))
            }
            _ => None,
        };
        if let Some(found) = found {
            self.sums.insert(result, found);
        }
    }

    fn pointer(&mut self, source: Source, value: Value) -> Option<(Base, u32)> {
        let number = match self.numbers.get(&source) {
            Some(number) => *number,
            None if self.closed || self.sources.list.len() >= MAX_POINTERS => return None,
            None => {
                let number = self.sources.list.len() as u32;
                self.sources.list.push(source);
                self.numbers.insert(source, number);
                number
            }
        };
        self.sources.of.insert(value, number);
        Some((Base::Pointer(number), 0))
    }
}

/// The pointers of a simplified kernel that accesses are counted from and that the host can read, if what they turn out
/// to be keeps the kernel from writing them.
pub(crate) fn asked(function: &Function, module: &Module, shape: &Shape, stack_pointer: Option<u32>) -> Vec<Source> {
    // Other threads may write a shared memory at any time.
    if module.memories().first().is_some_and(|memory| memory.shared || memory.memory64) {
        return Vec::new();
    }
    let sources = Sources::all(function, shape, stack_pointer);
    if sources.list.is_empty() {
        return Vec::new();
    }
    let roots = roots::roots_asking(function, shape, stack_pointer, &sources);
    let used = accesses(function).fold(0, |used, (address, _)| used | roots.pointers_of(address));
    // Where loaded pointers point is what the host is to say.
    let written = written(function, shape, &roots, |set| !set.is_loaded());
    let is_number =
        |global: u32| module.globals().get(global as usize).is_some_and(|global| global.ty == wasmparser::ValType::I32);
    let mut kept: Vec<Source> = Vec::new();
    let mut numbers: Vec<Option<u32>> = Vec::new();
    for (number, source) in sources.list.into_iter().enumerate() {
        let source = match source {
            Source::Global(global) => is_number(global).then_some(source),
            Source::Loaded { from: Base::Buffer(slot), .. } => (!written.contains(&slot)).then_some(source),
            Source::Loaded { from: Base::Pointer(parent), plus, offset } => {
                let from = numbers[parent as usize].map(Base::Pointer);
                from.map(|from| Source::Loaded { from, plus, offset })
            }
            Source::Loaded { from: Base::Number, .. } => Some(source),
        };
        let source = source.filter(|_| used >> number & 1 == 1);
        numbers.push(source.map(|_| kept.len() as u32));
        kept.extend(source);
    }
    kept
}

/// Forgets those of a shape's pointers whose words in buffers the kernel may write, taking the others for what the shape
/// says. Whether there were any.
pub(crate) fn forget_written(function: &Function, stack_pointer: Option<u32>, shape: &mut Shape) -> bool {
    if shape.pointers.iter().all(|pointer| pointer.target.is_none()) {
        return false;
    }
    let roots = roots::roots(function, shape, stack_pointer);
    let written = written(function, shape, &roots, |_| true);
    pointers::forget(&mut shape.pointers, |place| place != LINEAR && written.contains(&place))
}

/// The slots that stores may reach, of those among several places if `counts` says so.
fn written(function: &Function, shape: &Shape, roots: &Roots, counts: impl Fn(RootSet) -> bool) -> BTreeSet<u32> {
    let mut written = BTreeSet::new();
    for (address, _) in accesses(function).filter(|(_, stores)| *stores) {
        match roots.root_of(address) {
            Root::Slot(slot) => _ = written.insert(slot),
            Root::Among(set) if counts(set) => written.extend((0..shape.slots()).filter(|slot| set.has_slot(*slot))),
            _ => {}
        }
    }
    // A store to a buffer that is only read traps.
    written.retain(|slot| shape.buffers.iter().all(|b| b.slot != *slot || b.access.is_writable()));
    written
}

/// The addresses of all loads and stores, and whether they store.
fn accesses(function: &Function) -> impl Iterator<Item = (Value, bool)> {
    dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts).filter_map(|stmt| {
        match &stmt.kind {
            StmtKind::Op { op, args, .. } => op.memory_access().map(|_| (args[0], op.stores())),
            _ => None,
        }
    })
}
