//! Where an address points: dataflow over linear combinations of the buffers' addresses and the stack pointer.

use super::dataflow::{self, Analysis};
use super::pointers::{MAX_POINTERS, Sources};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, StmtKind, Value, WasmOp};
use crate::options::{LINEAR, Shape};
use crate::pointers::Target;

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

impl Root {
    /// Whether nothing can be accessed by addresses of both roots.
    pub fn is_apart_from(self, other: Root) -> bool {
        let is_one = |root| matches!(root, Root::Slot(_) | Root::Stack | Root::Linear);
        is_one(self) && is_one(other) && self != other
    }
}

/// Places that an address may point into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RootSet {
    places: u64,
    /// The pointers of the shape, or those of which the host is to be asked, that went into it, a bit for each.
    pointers: u64,
    /// Whether something else went into it that certainly is a pointer: a buffer's or the stack's.
    certain: bool,
}

const _: () = assert!(MAX_POINTERS <= 64);

/// Slots from this number on are not told apart: a set with one of them is that of loaded pointers.
const MAX_SLOTS: u32 = 61;
const LOADED_BIT: u64 = 1 << 61;
const STACK_BIT: u64 = 1 << 62;
const LINEAR_BIT: u64 = 1 << 63;

impl RootSet {
    /// Where a pointer that was loaded from memory may point: anywhere but the stack, and there too if an address of the
    /// stack was ever stored.
    const LOADED: RootSet = RootSet::places(LOADED_BIT);
    const STACK: RootSet = RootSet::places(STACK_BIT);
    const LINEAR: RootSet = RootSet::places(LINEAR_BIT);

    const fn places(places: u64) -> RootSet {
        RootSet { places, pointers: 0, certain: false }
    }

    fn slot(slot: u32) -> RootSet {
        if slot < MAX_SLOTS { RootSet::places(1 << slot) } else { RootSet::LOADED }
    }

    fn with(self, other: RootSet) -> RootSet {
        RootSet {
            places: self.places | other.places,
            pointers: self.pointers | other.pointers,
            certain: self.certain | other.certain,
        }
    }

    /// Whether it is of pointers of the shape, and of numbers, alone.
    fn is_uncertain(self) -> bool {
        self.pointers != 0 && !self.certain
    }

    fn has(self, other: RootSet) -> bool {
        self.places & other.places != 0
    }

    /// Whether it may be this slot's buffer.
    pub fn has_slot(self, slot: u32) -> bool {
        self.has(RootSet::slot(slot).with(RootSet::LOADED))
    }

    /// Whether this slot's buffer's address went into it, whatever else did.
    pub(crate) fn names_slot(self, slot: u32) -> bool {
        slot < MAX_SLOTS && self.places & 1 << slot != 0
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

    /// How many places it may be, where there are so many slots.
    pub(crate) fn count(self, slots: u32) -> u32 {
        let buffers = (0..slots).filter(|slot| self.has_slot(*slot)).count() as u32;
        buffers + u32::from(self.has_linear()) + u32::from(self.has_stack())
    }
}

/// The stack pointer's number among the bases of combinations; slots have lower ones.
pub const STACK: u32 = u32::MAX;

/// The number of the first of the shape's pointers among the bases. Its address is that of the buffer which it points into:
/// sums with one are told from those with the buffer's own pointer, for it may as well be a number that looks like one.
const POINTERS: u32 = 1 << 31;

/// A base (a slot, a pointer of the shape, or [`STACK`]) and how often its address is in the sum, modulo 2^32 (never 0).
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
    /// The values that are pointers of the shape, with their numbers and what they point into.
    pointers: HashMap<Value, (u32, Target)>,
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
                [(base, 1)] if let Some(slot) = self.combinations.slot(*base) => Root::Slot(slot),
                terms => self.among(self.combinations.provenance(terms)),
            },
        }
    }

    /// The slot whose buffer's address a base other than [`STACK`] has.
    pub(crate) fn slot_of(&self, base: u32) -> Option<u32> {
        self.combinations.slot(base)
    }

    /// The number of the shape's pointer that a value is, and what that points into.
    pub(crate) fn pointer(&self, value: Value) -> Option<(u32, Target)> {
        self.pointers.get(&value).copied()
    }

    /// Those of the pointers that the host is to be asked for that went into a value, a bit for each.
    pub(crate) fn pointers_of(&self, value: Value) -> u64 {
        match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => self.combinations.provenance(self.combinations.terms(*id)).pointers,
            Some(Fact::Among(set)) => set.pointers,
            Some(Fact::Loaded | Fact::Unreached) | None => 0,
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
            Some(Fact::Exact(id)) => Fact::Among(self.combinations.provenance(self.combinations.terms(*id))),
            Some(other) => *other,
            None => Fact::Unreached,
        };
        self.facts.resize(address.index() + 1, Fact::Unreached);
        self.facts[address.index()] = fact;
    }
}

/// Finds the roots of all values of a kernel: parameters are the iteration id, the number of iterations, the block
/// size, and pointer and length of each of `shape`'s buffers; `stack_pointer` is that global. A value that a loop carries
/// starts as whatever first reaches it and falls when something else does.
pub fn roots(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Roots {
    let sources = Sources::known(function, shape, stack_pointer);
    let mut combinations = Combinations::new();
    let target = |number: &u32| shape.pointers.get(*number as usize).and_then(|pointer| pointer.target);
    combinations.pointers.extend(shape.pointers.iter().map(|pointer| match pointer.target {
        Some(Target { place, .. }) if place != LINEAR => (Some(place), RootSet::slot(place)),
        _ => (None, RootSet::LOADED),
    }));
    for (number, (_, set)) in combinations.pointers.iter_mut().enumerate() {
        set.pointers = 1 << number.min(63);
    }
    let pointers: HashMap<Value, (u32, Target)> =
        sources.of.iter().filter_map(|(value, number)| Some((*value, (*number, target(number)?)))).collect();
    let mut known = HashMap::new();
    for (value, (number, target)) in &pointers {
        let is_linear = target.place == LINEAR;
        known.insert(*value, if is_linear { NUMBER } else { combinations.pointer(*number) });
    }
    Roots { pointers, ..solve(function, shape, stack_pointer, combinations, known) }
}

/// The same where the host is still to be asked for `sources`: [`Roots::pointers_of`] says which go into an address.
pub(crate) fn roots_asking(function: &Function, shape: &Shape, stack_pointer: Option<u32>, sources: &Sources) -> Roots {
    let mut combinations = Combinations::new();
    let of = |number: usize| (None, RootSet { pointers: 1 << number, ..RootSet::LOADED });
    combinations.pointers.extend((0..sources.list.len()).map(of));
    let known = sources.of.iter().map(|(value, number)| (*value, combinations.pointer(*number))).collect();
    solve(function, shape, stack_pointer, combinations, known)
}

fn solve(
    function: &Function,
    shape: &Shape,
    stack_pointer: Option<u32>,
    combinations: Combinations,
    known: HashMap<Value, Fact>,
) -> Roots {
    let constants = dataflow::constants(function);
    let analysis =
        LinearCombinations { function, shape, stack_pointer, constants, combinations, known, is_settled: false };
    let (facts, analysis) = dataflow::solve(function, analysis);
    let combinations = analysis.combinations;
    let mut roots = Roots { facts, combinations, pointers: HashMap::new(), stack_escapes: false };
    roots.stack_escapes = dataflow::regions(function).into_iter().any(|id| {
        function.region(id).stmts.iter().any(|stmt| match &stmt.kind {
            StmtKind::Op { op, args, .. } if op.stores() => args[1..].iter().any(|arg| roots.may_be_of_stack(*arg)),
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
    /// For each pointer of the shape the slot that it points into, and where it may point.
    pointers: Vec<(Option<u32>, RootSet)>,
}

impl Combinations {
    fn new() -> Self {
        Combinations { list: vec![Vec::new()], ids: HashMap::from_iter([(Vec::new(), 0)]), pointers: Vec::new() }
    }

    /// The combination that a pointer of the shape is.
    fn pointer(&mut self, number: u32) -> Fact {
        Fact::Exact(self.intern(vec![(POINTERS + number, 1)]))
    }

    fn is_pointer(base: u32) -> bool {
        (POINTERS..STACK).contains(&base)
    }

    /// The slot whose buffer's address a base has.
    fn slot(&self, base: u32) -> Option<u32> {
        match base {
            STACK => None,
            pointer @ POINTERS.. => self.pointers.get((pointer - POINTERS) as usize).and_then(|(slot, _)| *slot),
            slot => Some(slot),
        }
    }

    fn root(&self, base: u32) -> RootSet {
        match base {
            STACK => RootSet { certain: true, ..RootSet::STACK },
            pointer @ POINTERS.. => {
                self.pointers.get((pointer - POINTERS) as usize).map_or(RootSet::LOADED, |(_, set)| *set)
            }
            slot => RootSet { certain: true, ..RootSet::slot(slot) },
        }
    }

    /// The places whose addresses are in a sum. One of the shape's pointers and others may be a difference, and so a number:
    /// an index into anything.
    fn provenance(&self, terms: &[Term]) -> RootSet {
        let mut all = RootSet::default();
        for (base, coefficient) in terms {
            let mut root = self.root(*base);
            // What is scaled is no pointer. What is taken off may be one, or an index: which of the two the host can tell.
            root.pointers *= u64::from([1, u32::MAX].contains(coefficient));
            let alone = terms.len() == 1 && *coefficient == 1;
            all = all.with(root).with(if Self::is_pointer(*base) && !alone { RootSet::LOADED } else { root });
        }
        all
    }

    /// Whether all bases, of which there are some, are pointers of the shape: without the host's knowledge it would be a
    /// number that was loaded.
    fn is_loaded(&self, id: u32) -> bool {
        id != 0 && self.terms(id).iter().all(|(base, _)| Self::is_pointer(*base))
    }

    /// Whether no base is a pointer of the shape.
    fn is_certain(&self, id: u32) -> bool {
        self.terms(id).iter().all(|(base, _)| !Self::is_pointer(*base))
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
        if terms.len() > MAX_TERMS { Fact::Among(self.provenance(&terms)) } else { Fact::Exact(self.intern(terms)) }
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
    /// What pointers of the shape are.
    known: HashMap<Value, Fact>,
    /// Whether what nothing has reached so far is what nothing sets.
    is_settled: bool,
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
            Fact::Exact(id) => self.combinations.provenance(self.combinations.terms(id)),
            Fact::Loaded => RootSet::LOADED,
            Fact::Among(set) => set,
        }
    }

    fn add(&mut self, a: Fact, b: Fact, factor: u32) -> Fact {
        match (self.beside(a, b), self.beside(b, a)) {
            (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
            (Fact::Exact(a), Fact::Exact(b)) if factor != u32::MAX && self.is_index(b, a) => Fact::Exact(a),
            (Fact::Exact(a), Fact::Exact(b)) if factor != u32::MAX && self.is_index(a, b) => {
                self.combinations.sum(0, b, factor)
            }
            (Fact::Exact(a), Fact::Exact(b)) => self.combinations.sum(a, b, factor),
            (NUMBER | Fact::Loaded, NUMBER | Fact::Loaded) => Fact::Loaded,
            // An index that was loaded adds no place to a known pointer. What is subtracted may be a pointer, or a pointer
            // may be subtracted from it: the difference becomes a pointer again when either is added. Of two that were
            // loaded either may be the index, even where the host knows one.
            (Fact::Loaded, Fact::Exact(b)) if factor != u32::MAX && self.combinations.is_certain(b) => {
                self.combinations.sum(0, b, factor)
            }
            (Fact::Exact(a), Fact::Loaded) if factor != u32::MAX && self.combinations.is_certain(a) => Fact::Exact(a),
            (a, b) => {
                let all = self.provenance(a).with(self.provenance(b));
                // The difference of two pointers may be a plain number, and so an index into linear memory.
                let is_difference = factor == u32::MAX && b != NUMBER;
                Fact::Among(if is_difference { all.with(RootSet::LINEAR) } else { all })
            }
        }
    }

    /// Whether what was loaded is added to what certainly is a pointer, whatever the host knows of the former.
    fn is_index(&self, loaded: u32, pointer: u32) -> bool {
        pointer != 0 && self.combinations.is_loaded(loaded) && self.combinations.is_certain(pointer)
    }

    /// A fact as it is where pointers of the shape are no others than any that were loaded: nothing but adding to one
    /// keeps it what the host knows.
    fn unknown(&self, fact: Fact) -> Fact {
        match fact {
            Fact::Exact(id) if self.combinations.is_loaded(id) => Fact::Loaded,
            Fact::Among(set) if set.is_uncertain() => Fact::Loaded,
            Fact::Among(set) if set.pointers != 0 => Fact::Among(set.with(RootSet::LOADED)),
            fact => fact,
        }
    }

    /// One of two summands: a number that was loaded, where the other certainly is a pointer.
    fn beside(&self, fact: Fact, other: Fact) -> Fact {
        match (fact, other) {
            (Fact::Among(set), Fact::Exact(id))
                if id != 0 && set.is_uncertain() && self.combinations.is_certain(id) =>
            {
                Fact::Loaded
            }
            _ => fact,
        }
    }

    /// What another operator makes of its operands.
    fn mixed(&self, op: WasmOp, args: &[Value], facts: &[Fact]) -> Fact {
        let mut all = NUMBER;
        for arg in args {
            all = match (all, self.unknown(facts[arg.index()])) {
                // The other half of a pair of words may be a pointer all the same.
                (all, Fact::Unreached) if self.is_settled && op == WasmOp::I64Or => all,
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
                Some((operand, 1)) => facts[operand.index()],
                Some((operand, factor)) => match self.unknown(facts[operand.index()]) {
                    Fact::Loaded => NUMBER,
                    Fact::Among(set) => Fact::Among(set),
                    fact => self.add(NUMBER, fact, factor),
                },
                None => self.mixed(*op, args, facts),
            },
            Op::Load(_) | Op::GlobalGet(_) if let Some(fact) = self.known.get(&result) => *fact,
            Op::Load(access) | Op::Atomic(_, access) => Self::loaded(access),
            Op::GlobalGet(global) => self.global(*global, result),
            Op::GlobalWord { .. } | Op::Vector(_) => Fact::Loaded,
            Op::Undefined => Fact::Unreached,
            Op::Const(_)
            | Op::Store(_)
            | Op::Fence
            | Op::MemorySize
            | Op::MemoryFill
            | Op::MemoryCopy
            | Op::MemoryCopyApart
            | Op::MemoryInit(_)
            | Op::DataDrop(_)
            | Op::LoadData
            | Op::LoadDataPair
            | Op::GlobalSet(_)
            | Op::Math(_)
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

    /// Only in loops of states there are values that nothing sets.
    fn settle(&mut self) -> bool {
        self.is_settled = self.function.states.is_some();
        self.is_settled
    }
}
