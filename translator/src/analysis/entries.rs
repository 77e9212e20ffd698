//! Which entries of a table the indirect calls of a kernel can come to, where the number of the entry is read from constant
//! data: tables of functions and of structures with functions, and what compilers make of virtual methods.
//!
//! A value may be one of a few numbers. Arithmetic makes numbers of numbers; a load from linear memory at one of a few
//! addresses gives one of the words that the host found there ([`Environment::words`]); and a load from the private stack one
//! of those that some store puts where it reads, or the zero that was there. What the kernel writes to linear memory the host
//! compares with the words.

use std::collections::{BTreeMap, BTreeSet};

use super::dataflow::{self, Analysis};
use super::phase::{Phase, phases};
use super::ranges::{self, Range};
use super::roots::{Root, roots};
use crate::error::Location;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::eval::eval;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, StmtKind, Type, Value, WasmOp};
use crate::module::Module;
use crate::options::{Environment, Shape};

/// Most numbers that a value is told to be one of.
const MAX_NUMBERS: usize = 64;
/// Most words of memory that the host is asked for.
const MAX_WORDS: usize = 1024;

/// What is known of the calls of a kernel.
#[derive(Debug)]
pub(crate) enum Found {
    /// For each call that can be reached: the entries, in ascending order; `None`: any.
    Entries(BTreeMap<Location, Option<BTreeSet<u32>>>),
    /// Addresses of words that must be known first.
    Asks(Vec<u32>),
}

/// Finds the entries of the [`StmtKind::CallIndirect`]s that are left in a simplified kernel. With a module they are guessed: a word
/// that is loaded from an unknown place is one of the addresses of its data, and entries, that the kernel stores somewhere, and stores to
/// unknown places meet no such word.
pub(crate) fn entries(
    function: &Function,
    shape: &Shape,
    stack_pointer: Option<u32>,
    guessed: Option<&Module>,
) -> Found {
    let mut memory = Accesses::find(function, shape, stack_pointer);
    let constants = dataflow::constants(function);
    let shifted = shifted(function);
    memory.stores_anywhere &= guessed.is_none();
    let mut sets = Sets::new(shape, &memory, &constants);
    let size = shape.environment.tables.iter().map(Vec::len).max().unwrap_or(0) as u32;
    sets.guess = guessed.map(|module| sets.fact(stored_words(function, module, &constants, size)));
    let facts = loop {
        let analysis = Numbers { function, constants: &constants, shifted: &shifted, sets };
        let (facts, analysis) = dataflow::solve(function, analysis);
        sets = analysis.sets;
        if !sets.load_again(&memory, &facts) {
            break facts;
        }
    };
    if !sets.asked.is_empty() {
        return Found::Asks(sets.asked.into_iter().collect());
    }
    let mut found: BTreeMap<Location, Option<BTreeSet<u32>>> = BTreeMap::new();
    for stmt in dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        let StmtKind::CallIndirect { args, .. } = &stmt.kind else { continue };
        let Some(entry) = args.last() else { continue };
        let of_call = found.entry(stmt.at).or_insert_with(|| Some(BTreeSet::new()));
        match (facts[entry.index()], of_call.as_mut()) {
            (Fact::Unreached, _) | (_, None) => {}
            (Fact::Any, _) => *of_call = None,
            (Fact::One(set), Some(known)) => known.extend(sets.numbers(set)),
        }
    }
    Found::Entries(found)
}

/// The constants among what a kernel stores that are addresses of the module's data, or numbers of a table's entries, of which there
/// are so many.
fn stored_words(function: &Function, module: &Module, constants: &[Option<Const>], entries: u32) -> Vec<u32> {
    let is_address = |number: &u32| {
        number.is_multiple_of(4) && module.initial_bytes(u64::from(*number)..u64::from(*number) + 4).is_some()
    };
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let stored = stmts.filter_map(|stmt| match &stmt.kind {
        StmtKind::Op { op: op @ Op::Store(_), args, .. } => {
            Some((op.memory_access()?.bytes, constants[args[1].index()]?))
        }
        _ => None,
    });
    let words = stored.flat_map(|(bytes, constant)| match (bytes, constant) {
        (4, Const::I32(word)) => vec![word],
        (8, Const::I64(words)) => vec![words as u32, (words >> 32) as u32],
        _ => Vec::new(),
    });
    words.filter(|word| (1..entries).contains(word) || is_address(word)).collect()
}

/// A value is a number of the set with this number, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    One(u32),
    Any,
}

/// Where an access of the stack may begin, by distance from the stack pointer at the launch.
#[derive(Clone, Copy, Debug)]
struct Span {
    low: i64,
    high: i64,
    phase: Phase,
}

impl Span {
    fn plus(self, more: u32) -> Span {
        let bytes = i64::from(more);
        Span { low: self.low + bytes, high: self.high + bytes, phase: self.phase.plus(more) }
    }

    /// How far behind this one's first byte the other's may be, of distances from `from` to `to`.
    fn distances(self, other: Span, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let (low, high) = (other.low - self.high, other.high - self.low);
        (from.max(low)..=to.min(high)).filter(move |d| self.phase.may_differ_by(other.phase, *d))
    }
}

/// A store to the stack.
struct StackStore {
    span: Span,
    bytes: u32,
    /// What it stores, if that is all of an integer.
    stored: Option<Value>,
}

/// Where the address of an access lies.
#[derive(Clone, Copy)]
struct Place {
    root: Root,
    range: Range,
    phase: Phase,
}

impl Place {
    /// Where the access begins, if all of it is known to lie on the private stack.
    fn span(self, access: &MemoryAccess) -> Option<Span> {
        let offset = i64::from(access.offset);
        let (low, high) = (self.range.low + offset, self.range.high + offset);
        let is_private = self.range.stack && self.range.is_bounded() && high + i64::from(access.bytes) <= 0;
        is_private.then(|| Span { low, high, phase: self.phase.plus(access.offset) })
    }
}

/// What loads and stores of words do that matters here.
struct Accesses {
    stack_loads: BTreeMap<Value, Span>,
    /// Loads of an `i64`: two members of a structure that are copied at once.
    wide_stack_loads: BTreeMap<Value, Span>,
    stack_stores: Vec<StackStore>,
    /// Whether some store may meet anything on the stack.
    stores_anywhere: bool,
    /// Loads from linear memory, and where their addresses lie; `None` for one that may load from elsewhere, too, but not
    /// by an address that is a number: where those of the words are, there is nothing else, the host makes sure.
    linear_loads: HashMap<Value, Option<(Range, Phase)>>,
    /// The same of an `i64`, with their addresses and what is added.
    wide_linear_loads: BTreeMap<Value, WideLoad>,
}

/// A load of an `i64` from linear memory.
#[derive(Clone, Copy)]
struct WideLoad {
    address: Value,
    offset: u32,
    place: Option<(Range, Phase)>,
}

impl Accesses {
    fn find(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Accesses {
        let pointer = stack_pointer.unwrap_or(u32::MAX);
        let mut found = Accesses {
            stack_loads: BTreeMap::new(),
            wide_stack_loads: BTreeMap::new(),
            stack_stores: Vec::new(),
            stores_anywhere: false,
            linear_loads: HashMap::new(),
            wide_linear_loads: BTreeMap::new(),
        };
        let (roots, ranges) = (roots(function, shape, stack_pointer), ranges::ranges(function, pointer));
        let phases = phases(function, pointer);
        for id in dataflow::regions(function) {
            for (number, stmt) in function.region(id).stmts.iter().enumerate() {
                let StmtKind::Op { op, args, result } = &stmt.kind else { continue };
                let (Some(access), Some(range)) = (op.memory_access(), ranges.at(id, number)) else { continue };
                let place = Place { root: roots.root_of(args[0]), range, phase: phases[args[0].index()] };
                let fits = |value: Value| match function.ty(value) {
                    Type::I32 => access.bytes == 4 && access.memory == 0,
                    Type::I64 => access.bytes == 8 && access.memory == 0,
                    _ => false,
                };
                match (op, result) {
                    (op, Some(result)) if op.loaded().is_some() && fits(*result) => {
                        found.load(&access, args[0], *result, place)
                    }
                    (Op::Store(_), _) => found.store(&access, Some(args[1]).filter(|value| fits(*value)), place),
                    // What an atomic operation leaves is not looked at.
                    (op, _) if op.stores() => found.store(&access, None, place),
                    _ => {}
                }
            }
        }
        found
    }

    fn load(&mut self, access: &MemoryAccess, address: Value, result: Value, place: Place) {
        let is_wide = access.bytes == 8;
        let linear = match place.root {
            Root::Stack => {
                let loads = if is_wide { &mut self.wide_stack_loads } else { &mut self.stack_loads };
                if let Some(span) = place.span(access) {
                    loads.insert(result, span);
                }
                return;
            }
            Root::Linear => Some((place.range, place.phase)),
            Root::Among(_) => None,
            Root::Slot(_) | Root::Unreached => return,
        };
        if is_wide {
            let load = WideLoad { address, offset: access.offset, place: linear };
            self.wide_linear_loads.insert(result, load);
        } else {
            self.linear_loads.insert(result, linear);
        }
    }

    /// `stored`: what is stored, if that is all of an integer.
    fn store(&mut self, access: &MemoryAccess, stored: Option<Value>, place: Place) {
        match (place.root, place.span(access)) {
            (Root::Stack, Some(span)) => self.stack_stores.push(StackStore { span, bytes: access.bytes, stored }),
            (Root::Stack, None) => self.stores_anywhere = true,
            (Root::Among(set), _) => self.stores_anywhere |= set.has_stack(),
            (Root::Slot(_) | Root::Linear | Root::Unreached, _) => {}
        }
    }
}

/// Sets of numbers, equal ones once, and what loads give.
struct Sets<'a> {
    environment: &'a Environment,
    memory: &'a Accesses,
    list: Vec<Vec<u32>>,
    ids: HashMap<Vec<u32>, u32>,
    /// What loads from the stack may give, as far as is known.
    loaded: BTreeMap<Value, Fact>,
    /// The low and the high word of `i64`s that are constants, or loads.
    halves: BTreeMap<Value, [Fact; 2]>,
    /// Addresses of words that are not known.
    asked: BTreeSet<u32>,
    /// What is loaded from unknown places, if that is guessed.
    guess: Option<Fact>,
}

impl<'a> Sets<'a> {
    fn new(shape: &'a Shape, memory: &'a Accesses, constants: &[Option<Const>]) -> Self {
        let mut sets = Sets {
            environment: &shape.environment,
            memory,
            list: Vec::new(),
            ids: HashMap::new(),
            loaded: BTreeMap::new(),
            halves: BTreeMap::new(),
            asked: BTreeSet::new(),
            guess: None,
        };
        let zero = sets.fact([0]);
        let first = if memory.stores_anywhere { Fact::Any } else { zero };
        sets.loaded = memory.stack_loads.keys().map(|load| (*load, first)).collect();
        sets.halves = memory.wide_stack_loads.keys().map(|load| (*load, [first; 2])).collect();
        sets.halves.extend(memory.wide_linear_loads.keys().map(|load| (*load, [Fact::Unreached; 2])));
        for (value, constant) in constants.iter().enumerate() {
            if let Some(Const::I64(number)) = constant {
                let halves = [sets.fact([*number as u32]), sets.fact([(*number >> 32) as u32])];
                sets.halves.insert(Value(value as u32), halves);
            }
        }
        sets
    }

    fn numbers(&self, set: u32) -> &[u32] {
        &self.list[set as usize]
    }

    fn fact(&mut self, numbers: impl IntoIterator<Item = u32>) -> Fact {
        let mut numbers: Vec<u32> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers.dedup();
        match numbers.len() {
            0 => return Fact::Unreached,
            1..=MAX_NUMBERS => {}
            _ => return Fact::Any,
        }
        let next = self.list.len() as u32;
        let set = *self.ids.entry(numbers.clone()).or_insert(next);
        if set == next {
            self.list.push(numbers);
        }
        Fact::One(set)
    }

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        match (a, b) {
            (Fact::Unreached, other) | (other, Fact::Unreached) => other,
            (Fact::Any, _) | (_, Fact::Any) => Fact::Any,
            (Fact::One(a), Fact::One(b)) if a == b => Fact::One(a),
            (Fact::One(a), Fact::One(b)) => {
                let both = [self.numbers(a), self.numbers(b)].concat();
                self.fact(both)
            }
        }
    }

    /// Puts what stores store into what loads may give; whether something came in anew.
    fn load_again(&mut self, memory: &Accesses, facts: &[Fact]) -> bool {
        let mut any = false;
        for (load, span) in &memory.stack_loads {
            let before = self.loaded[load];
            let fact = self.word_on_stack(*span, before, facts);
            any |= fact != before;
            self.loaded.insert(*load, fact);
        }
        for (load, span) in &memory.wide_stack_loads {
            let before = self.halves[load];
            let low = self.word_on_stack(*span, before[0], facts);
            let halves = [low, self.word_on_stack(span.plus(4), before[1], facts)];
            any |= halves != before;
            self.halves.insert(*load, halves);
        }
        for (load, WideLoad { address, offset, place }) in &memory.wide_linear_loads {
            let before = self.halves[load];
            let address = facts[address.index()];
            let low = self.load(*offset, address, *place);
            let high = offset.checked_add(4).map_or(Fact::Any, |offset| self.load(offset, address, *place));
            let halves = [self.join(before[0], low), self.join(before[1], high)];
            any |= halves != before;
            self.halves.insert(*load, halves);
        }
        any
    }

    /// What a load of a word of the stack may give, more than is known.
    fn word_on_stack(&mut self, span: Span, known: Fact, facts: &[Fact]) -> Fact {
        let memory = self.memory;
        memory.stack_stores.iter().fold(known, |mut fact, store| {
            if fact == Fact::Any {
                return fact;
            }
            for distance in span.distances(store.span, 1 - i64::from(store.bytes), 3) {
                let halves = store.stored.and_then(|value| self.halves.get(&value).copied());
                let stored = match (store.stored, store.bytes, distance, halves) {
                    (Some(word), 4, 0, _) => facts[word.index()],
                    (_, 8, 0, Some([low, _])) => low,
                    (_, 8, -4, Some([_, high])) => high,
                    _ => self.unknown(),
                };
                fact = self.join(fact, stored);
            }
            fact
        })
    }

    /// What is loaded from an unknown place.
    fn unknown(&self) -> Fact {
        self.guess.unwrap_or(Fact::Any)
    }

    /// The word of an `i64` that the low bits are, where it was shifted right by so many.
    fn half(&self, value: Value, shift: u64) -> Fact {
        let part = match shift % 64 {
            0 => 0,
            32 => 1,
            _ => return Fact::Any,
        };
        self.halves.get(&value).map_or(Fact::Any, |halves| halves[part])
    }

    /// What a load from linear memory gives.
    fn load(&mut self, offset: u32, address: Fact, place: Option<(Range, Phase)>) -> Fact {
        let addresses = match address {
            Fact::Unreached => return Fact::Unreached,
            Fact::One(set) => self.numbers(set).to_vec(),
            Fact::Any => match place.and_then(|(range, phase)| phase.numbers(range, MAX_NUMBERS)) {
                Some(addresses) => addresses,
                None => return self.unknown(),
            },
        };
        let mut words = Vec::new();
        for address in addresses.into_iter().filter_map(|address| address.checked_add(offset)) {
            match self.environment.word(address) {
                Some(word) => words.push(word),
                None if self.environment.closed => return Fact::Any,
                None if self.environment.words.len() + self.asked.len() >= MAX_WORDS => return Fact::Any,
                None => _ = self.asked.insert(address),
            }
        }
        let known = self.fact(words);
        // The address may itself be guessed to be one of what is data, and be that of an object.
        self.guess.map_or(known, |guess| self.join(known, guess))
    }
}

struct Numbers<'f, 'a> {
    function: &'f Function,
    constants: &'f [Option<Const>],
    /// The `i64`s that are another, shifted right.
    shifted: &'f HashMap<Value, [Value; 2]>,
    sets: Sets<'a>,
}

fn shifted(function: &Function) -> HashMap<Value, [Value; 2]> {
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let shift = |kind: &StmtKind| match kind {
        StmtKind::Op { op: Op::Wasm(WasmOp::I64ShrU), args, result: Some(result) } => {
            Some((*result, [args[0], args[1]]))
        }
        _ => None,
    };
    stmts.filter_map(|stmt| shift(&stmt.kind)).collect()
}

impl Numbers<'_, '_> {
    fn wasm(&mut self, op: WasmOp, args: &[Value], facts: &[Fact]) -> Fact {
        let all_numbers = op.result() == Type::I32 && op.params().iter().all(|ty| *ty == Type::I32);
        if args.iter().any(|arg| facts[arg.index()] == Fact::Unreached) && all_numbers {
            return Fact::Unreached;
        }
        let operands = args.iter().map(|arg| match facts[arg.index()] {
            Fact::One(set) => Some(self.sets.numbers(set).to_vec()),
            Fact::Unreached | Fact::Any => None,
        });
        let operands: Option<Vec<Vec<u32>>> = operands.collect();
        let op = Op::Wasm(op);
        let give = |args: &[u32]| {
            let args: Vec<Const> = args.iter().map(|number| Const::I32(*number)).collect();
            match eval(&op, &args) {
                Ok(Const::I32(number)) => Some(number),
                _ => None,
            }
        };
        let given: Vec<u32> = match operands.as_deref().filter(|_| all_numbers) {
            Some([a]) => a.iter().filter_map(|a| give(&[*a])).collect(),
            Some([a, b]) => a.iter().flat_map(|a| b.iter().filter_map(move |b| give(&[*a, *b]))).collect(),
            _ => return self.few(&op, args),
        };
        self.sets.fact(given)
    }

    /// The low word of an `i64`.
    fn wrapped(&self, value: Value) -> Fact {
        let Some([value, shift]) = self.shifted.get(&value) else { return self.sets.half(value, 0) };
        match self.constants[shift.index()] {
            Some(Const::I64(shift)) => self.sets.half(*value, shift),
            _ => Fact::Any,
        }
    }

    /// What an operator gives of which an operand may be any number.
    fn few(&mut self, op: &Op, args: &[Value]) -> Fact {
        let constant = |value: &Value| match self.constants[value.index()] {
            Some(Const::I32(number)) => Some(number),
            _ => None,
        };
        let most = MAX_NUMBERS as u32;
        match (op, args.get(1).and_then(constant)) {
            (Op::Wasm(WasmOp::I32And), Some(mask)) if mask < most => {
                self.sets.fact((0..=mask).filter(|number| number & !mask == 0))
            }
            (Op::Wasm(WasmOp::I32RemU), Some(divisor)) if (1..=most).contains(&divisor) => self.sets.fact(0..divisor),
            _ => Fact::Any,
        }
    }
}

impl Analysis for Numbers<'_, '_> {
    type Fact = Fact;

    const UNREACHED: Fact = Fact::Unreached;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        self.sets.join(a, b)
    }

    fn transfer(&mut self, op: &Op, args: &[Value], result: Value, facts: &[Fact]) -> Fact {
        if self.function.ty(result) != Type::I32 {
            return Fact::Any;
        }
        match op {
            Op::Const(Const::I32(number)) => self.sets.fact([*number]),
            Op::Wasm(WasmOp::I32WrapI64) => self.wrapped(args[0]),
            Op::Wasm(op) => self.wasm(*op, args, facts),
            Op::Select => self.sets.join(facts[args[0].index()], facts[args[1].index()]),
            op if let Some(access) = op.loaded() => {
                match (self.sets.loaded.get(&result), self.sets.memory.linear_loads.get(&result)) {
                    (Some(fact), _) => *fact,
                    (None, Some(place)) => self.sets.load(access.offset, facts[args[0].index()], *place),
                    (None, None) if access.bytes == 4 => self.sets.unknown(),
                    (None, None) => Fact::Any,
                }
            }
            _ => Fact::Any,
        }
    }

    fn parameter(&mut self, _index: usize) -> Fact {
        Fact::Any
    }

    fn call_result(&mut self) -> Fact {
        Fact::Any
    }
}
