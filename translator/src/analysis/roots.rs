//! Where an address points: dataflow over linear combinations of the buffers' addresses and the stack pointer.

mod combinations;
mod leaks;
mod parts;
mod sets;

use super::dataflow::{self, Analysis};
use super::pointers::Sources;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, StmtKind, Value, WasmOp};
use crate::options::{LINEAR, Shape};
use crate::pointers::Target;
use combinations::Combinations;
pub use combinations::{STACK, Term};
use parts::{Bits, Numbers};
pub use sets::{Root, RootSet};
use smallvec::SmallVec;

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
    /// Places whose addresses went into numbers that are not followed: any other number may be a pointer to these.
    leaked: RootSet,
}

impl Roots {
    /// The terms of a value, by base; none for a plain number, `None` where it is no exact combination.
    pub fn terms(&self, value: Value) -> Option<&[Term]> {
        match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => Some(self.combinations.terms(*id)),
            Some(Fact::Among(..)) => None,
            // Nothing reaches it: it may be called a plain number.
            Some(Fact::Part(..) | Fact::Loaded | Fact::Unreached) | None => Some(&[]),
        }
    }

    /// What the value points into, when it is used as an address.
    pub fn root_of(&self, value: Value) -> Root {
        match self.facts.get(value.index()) {
            None | Some(Fact::Unreached) => Root::Unreached,
            Some(Fact::Loaded) => self.among(RootSet::LOADED),
            Some(Fact::Among(set, _)) => self.among(*set),
            Some(Fact::Part(..)) => self.number(),
            Some(Fact::Exact(id)) => match self.combinations.terms(*id) {
                [] => self.number(),
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
            Some(Fact::Among(set, _)) => set.pointers,
            Some(Fact::Part(..) | Fact::Loaded | Fact::Unreached) | None => 0,
        }
    }

    /// Whether an access by this address is counted from its root: it is then given as a number of bytes from there on,
    /// otherwise as an address.
    pub fn is_relative(&self, value: Value) -> bool {
        matches!(self.root_of(value), Root::Slot(_) | Root::Stack)
    }

    /// What a number points into.
    fn number(&self) -> Root {
        if self.leaked == RootSet::default() { Root::Linear } else { self.among(RootSet::LOADED.with(self.leaked)) }
    }

    fn among(&self, set: RootSet) -> Root {
        let stack = if self.stack_escapes && set.has(RootSet::LOADED) { RootSet::STACK } else { RootSet::default() };
        Root::Among(set.with(stack))
    }

    /// Makes `address` known as the absolute form of `value`. It must be the next value that is made.
    pub(crate) fn note_absolute(&mut self, address: Value, value: Value) {
        let fact = match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => Fact::among(self.combinations.provenance(self.combinations.terms(*id))),
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
    let leaked = analysis.leaked(&facts);
    let combinations = analysis.combinations;
    let mut roots = Roots { facts, combinations, pointers: HashMap::new(), stack_escapes: false, leaked };
    roots.stack_escapes = leaked.has_stack()
        || dataflow::regions(function).into_iter().any(|id| {
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
            Fact::Among(set, _) | Fact::Part(set, _) => set.has(RootSet::STACK),
            Fact::Loaded | Fact::Unreached => false,
        }
    }
}

/// Facts fall from `Unreached` over exact combinations and parts of pointers to sets of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    /// A combination by number; 0 is a number that is no pointer.
    Exact(u32),
    /// A number that is no pointer, but may be a part of one to these places: its bytes, or one of its halves.
    Part(RootSet, Bits),
    /// A number that may be a pointer that some kernel stored.
    Loaded,
    /// What these places' addresses went into, and which halves of it, if it has 64 bits, may be plain numbers.
    Among(RootSet, Numbers),
}

impl Fact {
    fn among(set: RootSet) -> Fact {
        Fact::Among(set, Numbers::NONE)
    }

    /// The same where parts of pointers count as any other number.
    fn without_parts(self) -> Fact {
        if let Fact::Part(..) = self { NUMBER } else { self }
    }

    /// Which halves may be plain numbers.
    fn numbers(self) -> Numbers {
        match self {
            NUMBER | Fact::Part(..) | Fact::Unreached => Numbers::BOTH,
            Fact::Exact(_) | Fact::Loaded => Numbers::NONE,
            Fact::Among(_, numbers) => numbers,
        }
    }

    /// A part that is left, if one is.
    fn part(set: RootSet, bits: Option<Bits>) -> Fact {
        bits.map_or(NUMBER, |bits| Fact::Part(set, bits))
    }

    /// Parts that were put together: a pointer, where they are a whole word.
    fn together(set: RootSet, bits: Bits, op: WasmOp) -> Fact {
        match bits.has_word(width(op)) {
            true if set == RootSet::LOADED => Fact::Loaded,
            true => Fact::among(set),
            false => Fact::Part(set, bits),
        }
    }
}

/// The number of bits of an operator's result.
fn width(op: WasmOp) -> u8 {
    op.result().bits() as u8
}

const NUMBER: Fact = Fact::Exact(0);

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

/// The same of 32 or 64 bits.
fn wide_constant_of(constants: &[Option<Const>], value: Value) -> Option<u64> {
    match constants.get(value.index()) {
        Some(Some(Const::I32(x))) => Some(u64::from(*x)),
        Some(Some(Const::I64(x))) => Some(*x),
        _ => None,
    }
}

impl LinearCombinations<'_> {
    /// The places whose addresses went into a value, loaded pointers for one.
    fn provenance(&self, fact: Fact) -> RootSet {
        match fact {
            Fact::Unreached | Fact::Part(..) => RootSet::default(),
            Fact::Exact(id) => self.combinations.provenance(self.combinations.terms(id)),
            Fact::Loaded => RootSet::LOADED,
            Fact::Among(set, _) => set,
        }
    }

    /// The places whose addresses a value has parts of, or is made of.
    fn places(&self, fact: Fact) -> RootSet {
        match fact {
            Fact::Part(set, _) => set,
            fact => RootSet { pointers: 0, ..self.provenance(fact) },
        }
    }

    fn add(&mut self, a: Fact, b: Fact, factor: u32) -> Fact {
        let (a, b) = (a.without_parts(), b.without_parts());
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
                Fact::among(if is_difference { RootSet { difference: true, ..all.with(RootSet::LINEAR) } } else { all })
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
            Fact::Among(set, _) if set.is_uncertain() => Fact::Loaded,
            Fact::Among(set, numbers) if set.pointers != 0 => Fact::Among(set.with(RootSet::LOADED), numbers),
            fact => fact,
        }
    }

    /// One of two summands: a number that was loaded, where the other certainly is a pointer.
    fn beside(&self, fact: Fact, other: Fact) -> Fact {
        match (fact, other) {
            (Fact::Among(set, _), Fact::Exact(id))
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
            all = match (all, self.unknown(facts[arg.index()]).without_parts()) {
                // The other half of a pair of words may be a pointer all the same.
                (all, Fact::Unreached) if self.is_settled && op == WasmOp::I64Or => all,
                (_, Fact::Unreached) => return Fact::Unreached,
                (all, NUMBER) => all,
                (NUMBER | Fact::Loaded, Fact::Loaded) => Fact::Loaded,
                (all, fact) => Fact::among(self.provenance(all).with(self.provenance(fact))),
            };
        }
        match all {
            Fact::Among(set, _) if op == WasmOp::I32WrapI64 && facts[args[0].index()].numbers().low => {
                Fact::among(set.with(RootSet::LINEAR))
            }
            Fact::Among(set, _) if width(op) == 64 => Fact::Among(set, self.numbers(op, args, facts)),
            // A float that was loaded is no pointer, but its bits may be.
            NUMBER | Fact::Loaded if is_reinterpretation(op) => Fact::Loaded,
            Fact::Loaded if !self.may_give_pointer(op, args) => NUMBER,
            // An alignment is no pointer, whatever it is of.
            _ if op == WasmOp::I32And && !self.may_give_pointer(op, args) => NUMBER,
            all => all,
        }
    }

    fn numbers(&self, op: WasmOp, args: &[Value], facts: &[Fact]) -> Numbers {
        let of_args: SmallVec<[Numbers; 2]> = args.iter().map(|arg| facts[arg.index()].numbers()).collect();
        Numbers::of(op, &of_args, args.get(1).and_then(|arg| wide_constant_of(&self.constants, *arg)))
    }

    /// What an operator that takes pointers apart, or puts parts of them together, makes of its operands.
    fn parts(&self, op: WasmOp, args: &[Value], facts: &[Fact]) -> Option<Fact> {
        use WasmOp::*;
        let constant = args.get(1).and_then(|arg| wide_constant_of(&self.constants, *arg));
        let first = self.unknown(facts[args[0].index()]);
        match (op, constant) {
            (I32And | I64And, Some(mask)) => self.masked(first, mask, op),
            (I32Shl, Some(amount)) => Self::shifted_left(first, amount as u32 % 32, op),
            (I64Shl, Some(amount)) => Self::shifted_left(first, amount as u32 % 64, op),
            (I32Mul | I64Mul, Some(factor)) if factor.is_power_of_two() => {
                Self::shifted_left(first, factor.trailing_zeros(), op)
            }
            (I32ShrU | I32ShrS, Some(amount)) => self.shifted_right(first, amount as u32 % 32, op),
            (I64ShrU | I64ShrS, Some(amount)) => self.shifted_right(first, amount as u32 % 64, op),
            (I32Or | I32Xor | I32Add | I64Or | I64Xor | I64Add, _) => {
                Self::put_together(first, self.unknown(facts[args[1].index()]), op)
            }
            // How far it is moved is not known: it may be to each place in turns.
            (I32Shl | I64Shl, None) => match first {
                Fact::Part(set, _) => Some(Fact::together(set, Bits::of_bytes(8), op)),
                _ => None,
            },
            (I32ShrU | I32ShrS, None) => match first {
                NUMBER | Fact::Unreached | Fact::Loaded => None,
                first => Some(Fact::Part(self.places(first), Bits::BYTES_4)),
            },
            (I32WrapI64, _) => self.masked(first, u64::from(u32::MAX), op),
            (I64ExtendI32U | I64ExtendI32S | I32Extend8S | I32Extend16S | I64Extend8S | I64Extend16S, _) => {
                Some(first).filter(|first| matches!(first, Fact::Part(..)))
            }
            _ => None,
        }
    }

    fn masked(&self, fact: Fact, mask: u64, op: WasmOp) -> Option<Fact> {
        let is_part = op == WasmOp::I32And && mask <= 0xffff;
        match fact {
            NUMBER | Fact::Unreached => None,
            Fact::Part(set, bits) => Some(Fact::part(set, bits.masked(mask))),
            Fact::Exact(_) | Fact::Loaded | Fact::Among(..) if is_part => {
                Some(Fact::part(self.places(fact), Bits::of_mask(mask as u32)))
            }
            Fact::Exact(_) | Fact::Loaded | Fact::Among(..) => None,
        }
    }

    fn shifted_left(fact: Fact, amount: u32, op: WasmOp) -> Option<Fact> {
        match fact {
            Fact::Part(set, bits) => Some(match bits.shifted_left(amount, width(op)) {
                Some(bits) => Fact::together(set, bits, op),
                None => NUMBER,
            }),
            Fact::Loaded if op == WasmOp::I32Shl => {
                Bits::BYTES_4.shifted_left(amount, 32).map(|bits| Fact::Part(RootSet::LOADED, bits))
            }
            _ => None,
        }
    }

    fn shifted_right(&self, fact: Fact, amount: u32, op: WasmOp) -> Option<Fact> {
        match fact {
            NUMBER | Fact::Unreached => None,
            Fact::Part(set, bits) => Some(Fact::part(set, bits.shifted_right(amount))),
            // A number of elements.
            Fact::Among(set, _) if set.difference => None,
            Fact::Exact(_) | Fact::Loaded | Fact::Among(..) if width(op) == 32 && amount != 0 => {
                Some(Fact::part(self.places(fact), Bits::BYTES_4.shifted_right(amount)))
            }
            Fact::Exact(_) | Fact::Loaded | Fact::Among(..) => None,
        }
    }

    fn put_together(a: Fact, b: Fact, op: WasmOp) -> Option<Fact> {
        match (a, b) {
            (part @ Fact::Part(..), NUMBER) | (NUMBER, part @ Fact::Part(..)) => Some(part),
            // A sum of parts that meet is an index.
            (Fact::Part(_, a), Fact::Part(_, b)) if op == WasmOp::I32Add && !a.is_apart_from(b) => Some(NUMBER),
            (Fact::Part(set, a), Fact::Part(other, b)) => Some(Fact::together(set.with(other), a.with(b), op)),
            _ => None,
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

    /// Only whole words can be pointers; what is less may be a part of one.
    fn loaded(access: &MemoryAccess) -> Fact {
        match (access.ty.is_int(), access.bytes) {
            (false, _) => NUMBER,
            (true, bytes @ 0..4) => Fact::Part(RootSet::LOADED, Bits::of_bytes(bytes)),
            (true, _) => Fact::Loaded,
        }
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
            (part @ Fact::Part(..), NUMBER) | (NUMBER, part @ Fact::Part(..)) => part,
            (Fact::Part(a, bits), Fact::Part(b, others)) => Fact::Part(a.with(b), bits.joined(others)),
            (NUMBER | Fact::Part(..) | Fact::Loaded, NUMBER | Fact::Part(..) | Fact::Loaded) => Fact::Loaded,
            (a, b) => {
                // A number beside pointers is an address of linear memory, a null pointer for one.
                let place = |fact: Fact| match fact.without_parts() {
                    NUMBER => RootSet::LINEAR,
                    fact => self.provenance(fact),
                };
                Fact::Among(place(a).with(place(b)), a.numbers().or(b.numbers()))
            }
        }
    }

    fn transfer(&mut self, op: &Op, args: &[Value], result: Value, facts: &[Fact]) -> Fact {
        let fact = |arg: usize| facts[args[arg].index()];
        match op {
            Op::Wasm(op) if let Some(fact) = self.parts(*op, args, facts) => fact,
            Op::Wasm(WasmOp::I32Add) => self.add(fact(0), fact(1), 1),
            Op::Wasm(WasmOp::I32Sub) => self.add(fact(0), fact(1), u32::MAX),
            Op::Select => self.join(fact(0), fact(1)),
            Op::Wasm(op) if is_comparison(*op) => NUMBER,
            Op::Wasm(op) => match scaled_operand(*op, args, &self.constants) {
                Some((operand, 1)) => facts[operand.index()],
                Some((operand, factor)) => match self.unknown(facts[operand.index()]) {
                    Fact::Loaded => NUMBER,
                    fact @ Fact::Among(..) => fact,
                    fact => self.add(NUMBER, fact, factor),
                },
                None => self.mixed(*op, args, facts),
            },
            op if (op.loaded().is_some() || matches!(op, Op::GlobalGet(_)))
                && let Some(fact) = self.known.get(&result) =>
            {
                *fact
            }
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
