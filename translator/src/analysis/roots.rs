//! Which buffer an address points into: dataflow over linear combinations of the buffers' addresses.

use std::collections::HashMap;

use super::dataflow::{self, Analysis};
use crate::ir::{Const, Function, Op, Value, WasmOp};
use crate::options::Shape;

/// What an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The buffer in this slot: the address is the buffer's plus a number.
    Slot(u32),
    /// No buffer: a number, which is an address of linear memory, or a pointer that was loaded.
    LinearMemory,
    /// One of several buffers, or a sum that is no buffer's address plus a number.
    Unknown,
    /// The code that computes it is never reached.
    Unreached,
}

/// A slot and how often its buffer's address is in the sum, modulo 2^32 (never 0).
pub type Term = (u32, u32);

/// More buffers in one sum than this are [`Root::Unknown`], so that time stays linear.
const MAX_TERMS: usize = 8;

/// The linear combination that each value is.
///
/// A value `v` with the terms `(s, c)...` is the sum of `c * address(s)` and a number that no buffer's address goes
/// into, all modulo 2^32.
#[derive(Debug)]
pub struct Roots {
    facts: Vec<Fact>,
    combinations: Combinations,
}

impl Roots {
    /// The terms of a value, by slot; none for a plain number, `None` where it is no exact combination.
    pub fn terms(&self, value: Value) -> Option<&[Term]> {
        match self.facts.get(value.index()) {
            Some(Fact::Exact(id)) => Some(self.combinations.terms(*id)),
            Some(Fact::Top) => None,
            // Nothing reaches it: it may be called a plain number.
            Some(Fact::Unreached) | None => Some(&[]),
        }
    }

    /// What the value points into, when it is used as an address.
    pub fn root_of(&self, value: Value) -> Root {
        match self.terms(value) {
            _ if self.facts.get(value.index()) == Some(&Fact::Unreached) => Root::Unreached,
            Some([]) => Root::LinearMemory,
            Some([(slot, 1)]) => Root::Slot(*slot),
            _ => Root::Unknown,
        }
    }
}

/// Finds the roots of all values of a kernel: parameters are the iteration id, the number of iterations, the block
/// size, and pointer and length of each of `shape`'s buffers. A value that a loop carries starts as whatever first
/// reaches it and becomes unknown when something else does.
pub fn roots(function: &Function, shape: &Shape) -> Roots {
    let constants = dataflow::constants(function);
    let analysis = LinearCombinations { shape, constants, combinations: Combinations::new() };
    let (facts, analysis) = dataflow::solve(function, analysis);
    Roots { facts, combinations: analysis.combinations }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    Exact(u32),
    Top,
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
        for &(slot, coefficient) in self.terms(b) {
            let added = coefficient.wrapping_mul(factor);
            match terms.binary_search_by_key(&slot, |t| t.0) {
                Ok(at) => terms[at].1 = terms[at].1.wrapping_add(added),
                Err(at) => terms.insert(at, (slot, added)),
            }
        }
        terms.retain(|t| t.1 != 0);
        if terms.len() > MAX_TERMS { Fact::Top } else { Fact::Exact(self.intern(terms)) }
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
    shape: &'a Shape,
    constants: Vec<Option<Const>>,
    combinations: Combinations,
}

/// Whether a result is 0 or 1, whatever is compared.
pub(crate) fn is_comparison(op: WasmOp) -> bool {
    (WasmOp::I32Eqz..=WasmOp::F64Ge).contains(&op)
}

/// The factor that `op` multiplies one of its operands with, and which: products and shifts by a constant.
pub(crate) fn scaled_operand(op: WasmOp, args: &[Value], constants: &[Option<Const>]) -> Option<(Value, u32)> {
    let constant = |value: Value| match constants.get(value.index()) {
        Some(Some(Const::I32(x))) => Some(*x),
        _ => None,
    };
    match op {
        WasmOp::I32Mul => match (constant(args[0]), constant(args[1])) {
            (_, Some(factor)) => Some((args[0], factor)),
            (Some(factor), None) => Some((args[1], factor)),
            (None, None) => None,
        },
        WasmOp::I32Shl => constant(args[1]).map(|amount| (args[0], 1 << (amount % 32))),
        _ => None,
    }
}

impl LinearCombinations<'_> {
    fn add(&mut self, a: Fact, b: Fact, factor: u32) -> Fact {
        match (a, b) {
            (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
            (Fact::Exact(a), Fact::Exact(b)) => self.combinations.sum(a, b, factor),
            _ => Fact::Top,
        }
    }
}

impl Analysis for LinearCombinations<'_> {
    type Fact = Fact;

    const UNREACHED: Fact = Fact::Unreached;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        match (a, b) {
            (Fact::Unreached, other) | (other, Fact::Unreached) => other,
            (a, b) if a == b => a,
            _ => Fact::Top,
        }
    }

    fn transfer(&mut self, op: &Op, args: &[Value], _result: Value, facts: &[Fact]) -> Fact {
        let fact = |arg: usize| facts[args[arg].index()];
        match op {
            Op::Wasm(WasmOp::I32Add) => self.add(fact(0), fact(1), 1),
            Op::Wasm(WasmOp::I32Sub) => self.add(fact(0), fact(1), u32::MAX),
            Op::Select => self.join(fact(0), fact(1)),
            Op::Wasm(op) if is_comparison(*op) => NUMBER,
            Op::Wasm(op) => {
                if let Some((operand, factor)) = scaled_operand(*op, args, &self.constants) {
                    return self.add(NUMBER, facts[operand.index()], factor);
                }
                let mut all = NUMBER;
                for arg in args {
                    all = match facts[arg.index()] {
                        Fact::Unreached => return Fact::Unreached,
                        NUMBER => all,
                        _ => Fact::Top,
                    };
                }
                all
            }
            Op::Const(_)
            | Op::Load(_)
            | Op::Store(_)
            | Op::MemorySize
            | Op::MemoryFill
            | Op::MemoryCopy
            | Op::MemoryInit(_)
            | Op::GlobalGet(_)
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
        NUMBER
    }
}
