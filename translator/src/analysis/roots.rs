//! Where an address points: dataflow over linear combinations of the buffers' addresses and the stack pointer.

use std::collections::HashMap;

use super::dataflow::{self, Analysis};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, StmtKind, Value, WasmOp};
use crate::options::Shape;

/// What an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The buffer in this slot: the address is the buffer's plus a number.
    Slot(u32),
    /// The stack pointer at the launch, plus a number.
    Stack,
    /// A number that was computed: an address of linear memory.
    Linear,
    /// One of several places, told apart when the kernel runs.
    Among(RootSet),
    /// The code that computes it is never reached.
    Unreached,
}

/// Places that an address may point into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RootSet(u64);

/// Slots from this number on are not told apart: a set with one of them is that of loaded pointers.
const MAX_SLOTS: u32 = 61;
const LOADED_BIT: u64 = 1 << 61;
const STACK_BIT: u64 = 1 << 62;
const LINEAR_BIT: u64 = 1 << 63;

impl RootSet {
    /// Where a pointer that was loaded from memory may point: anywhere but the stack, and there too if an address of the
    /// stack was ever stored.
    const LOADED: RootSet = RootSet(LOADED_BIT);
    const STACK: RootSet = RootSet(STACK_BIT);
    const LINEAR: RootSet = RootSet(LINEAR_BIT);

    fn slot(slot: u32) -> RootSet {
        if slot < MAX_SLOTS { RootSet(1 << slot) } else { RootSet::LOADED }
    }

    fn of(base: u32) -> RootSet {
        if base == STACK { RootSet::STACK } else { RootSet::slot(base) }
    }

    fn with(self, other: RootSet) -> RootSet {
        RootSet(self.0 | other.0)
    }

    fn has(self, other: RootSet) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it may be this slot's buffer.
    pub fn has_slot(self, slot: u32) -> bool {
        self.has(RootSet::slot(slot).with(RootSet::LOADED))
    }

    /// Whether it is of a pointer that was loaded.
    pub fn is_loaded(self) -> bool {
        self.has(RootSet::LOADED)
    }

    /// Whether it may be linear memory.
    pub fn has_linear(self) -> bool {
        self.has(RootSet::LINEAR.with(RootSet::LOADED))
    }

    /// Whether it may be the private stack.
    pub fn has_stack(self) -> bool {
        self.has(RootSet::STACK)
    }
}

/// The stack pointer's number among the bases of combinations; slots have lower ones.
pub const STACK: u32 = u32::MAX;

/// A base (a slot, or [`STACK`]) and how often its address is in the sum, modulo 2^32 (never 0).
pub type Term = (u32, u32);

/// Sums of more bases than this are no exact combinations, so that time stays linear.
const MAX_TERMS: usize = 8;

/// The linear combination that each value is.
///
/// A value `v` with the terms `(b, c)...` is the sum of `c * address(b)` and a number that no base's address goes
/// into, all modulo 2^32.
#[derive(Debug)]
pub struct Roots {
    facts: Vec<Fact>,
    combinations: Combinations,
    /// An address of the stack was stored, or may have been.
    pub stack_escapes: bool,
}

impl Roots {
    /// The terms of a value, by base; none for a plain number, `None` where it is no exact combination.
    pub fn terms(&self, value: Value) -> Option<&[Term]> {
        match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => Some(self.combinations.terms(*id)),
            Some(Fact::Among(_)) => None,
            // Nothing reaches it: it may be called a plain number.
            Some(Fact::Loaded | Fact::Unreached) | None => Some(&[]),
        }
    }

    /// What the value points into, when it is used as an address.
    pub fn root_of(&self, value: Value) -> Root {
        match self.facts.get(value.index()) {
            None | Some(Fact::Unreached) => Root::Unreached,
            Some(Fact::Loaded) => self.among(RootSet::LOADED),
            Some(Fact::Among(set)) => self.among(*set),
            Some(Fact::Exact(id)) => match self.combinations.terms(*id) {
                [] => Root::Linear,
                [(STACK, 1)] => Root::Stack,
                [(slot, 1)] => Root::Slot(*slot),
                terms => self.among(provenance(terms)),
            },
        }
    }

    /// Whether an access by this address is counted from its root: it is then given as a number of bytes from there on,
    /// otherwise as an address.
    pub fn is_relative(&self, value: Value) -> bool {
        matches!(self.root_of(value), Root::Slot(_) | Root::Stack)
    }

    fn among(&self, set: RootSet) -> Root {
        let stack = if self.stack_escapes && set.has(RootSet::LOADED) { RootSet::STACK } else { RootSet::default() };
        Root::Among(set.with(stack))
    }

    /// Makes `address` known as the absolute form of `value`. It must be the next value that is made.
    pub(crate) fn note_absolute(&mut self, address: Value, value: Value) {
        let fact = match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => Fact::Among(provenance(self.combinations.terms(*id))),
            Some(other) => *other,
            None => Fact::Unreached,
        };
        self.facts.resize(address.index() + 1, Fact::Unreached);
        self.facts[address.index()] = fact;
    }
}

fn provenance(terms: &[Term]) -> RootSet {
    terms.iter().fold(RootSet::default(), |set, (base, _)| set.with(RootSet::of(*base)))
}

/// Finds the roots of all values of a kernel: parameters are the iteration id, the number of iterations, the block
/// size, and pointer and length of each of `shape`'s buffers; `stack_pointer` is that global. A value that a loop carries
/// starts as whatever first reaches it and falls when something else does.
pub fn roots(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Roots {
    let constants = dataflow::constants(function);
    let combinations = Combinations::new();
    let analysis = LinearCombinations { function, shape, stack_pointer, constants, combinations };
    let (facts, analysis) = dataflow::solve(function, analysis);
    let mut roots = Roots { facts, combinations: analysis.combinations, stack_escapes: false };
    roots.stack_escapes = dataflow::regions(function).into_iter().any(|id| {
        function.region(id).stmts.iter().any(|stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Store(_), args, .. } => roots.may_be_of_stack(args[1]),
            _ => false,
        })
    });
    roots
}

impl Roots {
    fn may_be_of_stack(&self, value: Value) -> bool {
        match self.facts[value.index()] {
            Fact::Exact(id) => self.combinations.terms(id).iter().any(|(base, _)| *base == STACK),
            Fact::Among(set) => set.has(RootSet::STACK),
            Fact::Loaded | Fact::Unreached => false,
        }
    }
}

/// Facts fall from `Unreached` over exact combinations to sets of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    /// A combination by number; 0 is a number that is no pointer.
    Exact(u32),
    /// A number that may be a pointer that some kernel stored.
    Loaded,
    /// What these places' addresses went into.
    Among(RootSet),
}

const NUMBER: Fact = Fact::Exact(0);

/// Combinations by number, equal ones once; number 0 is the empty one.
#[derive(Debug)]
struct Combinations {
    list: Vec<Vec<Term>>,
    ids: HashMap<Vec<Term>, u32>,
}

impl Combinations {
    fn new() -> Self {
        Combinations { list: vec![Vec::new()], ids: HashMap::from([(Vec::new(), 0)]) }
    }

    fn terms(&self, id: u32) -> &[Term] {
        &self.list[id as usize]
    }

    /// `a + factor * b`
    fn sum(&mut self, a: u32, b: u32, factor: u32) -> Fact {
        if b == 0 || factor == 0 {
            return Fact::Exact(a);
        }
        let mut terms = self.terms(a).to_vec();
        for &(base, coefficient) in self.terms(b) {
            let added = coefficient.wrapping_mul(factor);
            match terms.binary_search_by_key(&base, |t| t.0) {
                Ok(at) => terms[at].1 = terms[at].1.wrapping_add(added),
                Err(at) => terms.insert(at, (base, added)),
            }
        }
        terms.retain(|t| t.1 != 0);
        if terms.len() > MAX_TERMS { Fact::Among(provenance(&terms)) } else { Fact::Exact(self.intern(terms)) }
    }

    fn intern(&mut self, terms: Vec<Term>) -> u32 {
        if let Some(id) = self.ids.get(&terms) {
            return *id;
        }
        let id = self.list.len() as u32;
        self.list.push(terms.clone());
        self.ids.insert(terms, id);
        id
    }
}

struct LinearCombinations<'a> {
    function: &'a Function,
    shape: &'a Shape,
    stack_pointer: Option<u32>,
    constants: Vec<Option<Const>>,
    combinations: Combinations,
}

/// Whether a result is 0 or 1, whatever is compared.
pub(crate) fn is_comparison(op: WasmOp) -> bool {
    (WasmOp::I32Eqz..=WasmOp::F64Ge).contains(&op)
}

/// The factor that `op` multiplies one of its operands with, and which: products and shifts by a constant.
pub(crate) fn scaled_operand(op: WasmOp, args: &[Value], constants: &[Option<Const>]) -> Option<(Value, u32)> {
    match op {
        WasmOp::I32Mul => match (constant_of(constants, args[0]), constant_of(constants, args[1])) {
            (_, Some(factor)) => Some((args[0], factor)),
            (Some(factor), None) => Some((args[1], factor)),
            (None, None) => None,
        },
        WasmOp::I32Shl => constant_of(constants, args[1]).map(|amount| (args[0], 1 << (amount % 32))),
        _ => None,
    }
}

fn constant_of(constants: &[Option<Const>], value: Value) -> Option<u32> {
    match constants.get(value.index()) {
        Some(Some(Const::I32(x))) => Some(*x),
        _ => None,
    }
}

impl LinearCombinations<'_> {
    /// The places whose addresses went into a value, loaded pointers for one.
    fn provenance(&self, fact: Fact) -> RootSet {
        match fact {
            Fact::Unreached => RootSet::default(),
            Fact::Exact(id) => provenance(self.combinations.terms(id)),
            Fact::Loaded => RootSet::LOADED,
            Fact::Among(set) => set,
        }
    }

    fn add(&mut self, a: Fact, b: Fact, factor: u32) -> Fact {
        match (a, b) {
            (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
            (Fact::Exact(a), Fact::Exact(b)) => self.combinations.sum(a, b, factor),
            (NUMBER | Fact::Loaded, NUMBER | Fact::Loaded) => Fact::Loaded,
            // An index that was loaded adds no place to a known pointer. What is subtracted may be a pointer, or a pointer
            // may be subtracted from it: the difference becomes a pointer again when either is added.
            (Fact::Loaded, Fact::Exact(b)) if factor != u32::MAX => self.combinations.sum(0, b, factor),
            (Fact::Exact(a), Fact::Loaded) if factor != u32::MAX => Fact::Exact(a),
            (a, b) => {
                let all = self.provenance(a).with(self.provenance(b));
                // The difference of two pointers may be a plain number, and so an index into linear memory.
                let is_difference = factor == u32::MAX && b != NUMBER;
                Fact::Among(if is_difference { all.with(RootSet::LINEAR) } else { all })
            }
        }
    }

    /// What another operator makes of its operands.
    fn mixed(&self, op: WasmOp, args: &[Value], facts: &[Fact]) -> Fact {
        let mut all = NUMBER;
        for arg in args {
            all = match (all, facts[arg.index()]) {
                (_, Fact::Unreached) => return Fact::Unreached,
                (all, NUMBER) => all,
                (NUMBER | Fact::Loaded, Fact::Loaded) => Fact::Loaded,
                (all, fact) => Fact::Among(self.provenance(all).with(self.provenance(fact))),
            };
        }
        match all {
            // A float that was loaded is no pointer, but its bits may be.
            NUMBER | Fact::Loaded if is_reinterpretation(op) => Fact::Loaded,
            Fact::Loaded if !self.may_give_pointer(op, args) => NUMBER,
            // An alignment is no pointer, whatever it is of.
            _ if op == WasmOp::I32And && !self.may_give_pointer(op, args) => NUMBER,
            all => all,
        }
    }

    /// Whether an operator on numbers of which one was loaded may give a pointer: not those that scale, nor those that
    /// leave few bits, nor floats.
    fn may_give_pointer(&self, op: WasmOp, args: &[Value]) -> bool {
        use WasmOp::*;
        match op {
            I32And => constant_of(&self.constants, args[1]).is_none_or(|mask| mask > 0xffff),
            I32Mul | I64Mul | I32DivS | I32DivU | I32RemS | I32RemU | I32ShrU | I32ShrS | I32Clz | I32Ctz
            | I32Popcnt | I64Clz | I64Ctz | I64Popcnt | I32Extend8S | I32Extend16S | I64Extend8S | I64Extend16S => {
                false
            }
            op => op.result().is_int() && op.params().iter().all(|ty| ty.is_int()),
        }
    }

    /// Only whole words can be pointers.
    fn loaded(access: &MemoryAccess) -> Fact {
        if access.ty.is_int() && access.bytes >= 4 { Fact::Loaded } else { NUMBER }
    }

    fn global(&mut self, global: u32, result: Value) -> Fact {
        if self.stack_pointer == Some(global) {
            return Fact::Exact(self.combinations.intern(vec![(STACK, 1)]));
        }
        if self.function.ty(result).is_int() { Fact::Loaded } else { NUMBER }
    }
}

fn is_reinterpretation(op: WasmOp) -> bool {
    matches!(op, WasmOp::I32ReinterpretF32 | WasmOp::I64ReinterpretF64)
}

impl Analysis for LinearCombinations<'_> {
    type Fact = Fact;

    const UNREACHED: Fact = Fact::Unreached;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        match (a, b) {
            (Fact::Unreached, other) | (other, Fact::Unreached) => other,
            (a, b) if a == b => a,
            (NUMBER | Fact::Loaded, NUMBER | Fact::Loaded) => Fact::Loaded,
            (a, b) => {
                // A number beside pointers is an address of linear memory, a null pointer for one.
                let place = |fact| if fact == NUMBER { RootSet::LINEAR } else { self.provenance(fact) };
                Fact::Among(place(a).with(place(b)))
            }
        }
    }

    fn transfer(&mut self, op: &Op, args: &[Value], result: Value, facts: &[Fact]) -> Fact {
        let fact = |arg: usize| facts[args[arg].index()];
        match op {
            Op::Wasm(WasmOp::I32Add) => self.add(fact(0), fact(1), 1),
            Op::Wasm(WasmOp::I32Sub) => self.add(fact(0), fact(1), u32::MAX),
            Op::Select => self.join(fact(0), fact(1)),
            Op::Wasm(op) if is_comparison(*op) => NUMBER,
            Op::Wasm(op) => match scaled_operand(*op, args, &self.constants) {
                Some((operand, factor)) => match facts[operand.index()] {
                    Fact::Loaded if factor != 1 => NUMBER,
                    Fact::Among(set) => Fact::Among(set),
                    fact => self.add(NUMBER, fact, factor),
                },
                None => self.mixed(*op, args, facts),
            },
            Op::Load(access) => Self::loaded(access),
            Op::GlobalGet(global) => self.global(*global, result),
            Op::GlobalWord { .. } | Op::Vector(_) => Fact::Loaded,
            Op::Const(_)
            | Op::Store(_)
            | Op::MemorySize
            | Op::MemoryFill
            | Op::MemoryCopy
            | Op::MemoryInit(_)
            | Op::GlobalSet(_)
            | Op::Low(_) => NUMBER,
        }
    }

    fn parameter(&mut self, index: usize) -> Fact {
        let buffer = index.checked_sub(3).filter(|i| i % 2 == 0).and_then(|i| self.shape.buffers.get(i / 2));
        match buffer {
            Some(buffer) => Fact::Exact(self.combinations.intern(vec![(buffer.slot, 1)])),
            None => NUMBER,
        }
    }

    fn call_result(&mut self) -> Fact {
        Fact::Loaded
    }
}
