//! Which numbers floats can be: for operators of `f64` that are emulated, so that code is chosen that leaves out what their
//! operands can't be.
//!
//! One walk over the region tree. Every float has an interval, what it is a multiple of, and whether it may be NaN
//! ([`Number`]); every integer an interval modulo its size ([`Bits`]), for mathematical functions take floats apart and put
//! them together. What a branch's condition says of a value holds in its arms, and behind it as far as all ways there have
//! it. What a loop carries may be anything.

mod bits;
mod narrow;
mod number;
mod operators;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Exit, Function, Label, Op, RegionId, StmtKind, Type, Value};
use crate::work;

pub use bits::Bits;
pub use number::{Number, power};

/// Most values of which a way that leaves a construct remembers what conditions said.
const MAX_KEPT: usize = 24;

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact {
    /// Of an integer.
    Bits(Bits),
    /// Of a float.
    Number(Number),
}

impl Fact {
    /// Of any value of a type.
    fn any(ty: Type) -> Fact {
        match ty {
            Type::F32 => Fact::Number(number::ANY_32),
            Type::F64 => Fact::Number(number::ANY),
            Type::I32 => Fact::Bits(Bits::any(32)),
            _ => Fact::Bits(Bits::any(64)),
        }
    }

    fn join(self, other: Fact) -> Fact {
        match (self, other) {
            (Fact::Bits(a), Fact::Bits(b)) => Fact::Bits(a.join(b)),
            (Fact::Number(a), Fact::Number(b)) => Fact::Number(a.join(b)),
            _ => self,
        }
    }
}

/// What is known of the operands of each operator that takes or gives an `f64`, where it stands, by its result.
pub type Operands = HashMap<Value, SmallVec<[Fact; 2]>>;

/// Finds it in a kernel of Wasm's operators.
pub fn operands(function: &Function) -> Operands {
    let mut defs = vec![None; function.values.len()];
    for region in &function.regions {
        for stmt in &region.stmts {
            if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind {
                defs[result.index()] = Some((op, args.as_slice()));
            }
        }
    }
    let mut walker = Walker {
        function,
        defs,
        facts: function.values.iter().map(|ty| Fact::any(*ty)).collect(),
        log: Vec::new(),
        marks: HashMap::new(),
        breaks: HashMap::new(),
        found: HashMap::new(),
    };
    walker.region(function.body, 0, &mut Vec::new());
    walker.found
}

/// One way to the end of a construct: what it hands on, and what conditions said on it.
struct Way {
    values: Vec<Fact>,
    narrowed: Vec<(Value, Fact)>,
}

struct Walker<'f> {
    function: &'f Function,
    /// The operator that defines each value.
    defs: Vec<Option<(&'f Op, &'f [Value])>>,
    /// What is known here.
    facts: Vec<Fact>,
    /// What conditions narrowed, and what was known before.
    log: Vec<(Value, Fact)>,
    /// How long the log was when a construct began.
    marks: HashMap<Label, usize>,
    breaks: HashMap<Label, Vec<Way>>,
    found: Operands,
}

impl<'f> Walker<'f> {
    /// Walks a region of a construct at whose start the log was `mark` long.
    fn region(&mut self, id: RegionId, mark: usize, yields: &mut Vec<Way>) {
        let region = self.function.region(id);
        let before = self.log.len();
        work::spend(region.stmts.len());
        for stmt in &region.stmts {
            self.stmt(&stmt.kind);
        }
        match &region.exit {
            Exit::Yield(values) => yields.push(self.way(values, mark)),
            Exit::Break(label, values) => {
                let mark = self.marks.get(label).copied().unwrap_or(before);
                let way = self.way(values, mark);
                self.breaks.entry(*label).or_default().push(way);
            }
            Exit::Continue(..) | Exit::Return(_) | Exit::Trap(_) => {}
        }
        self.restore(before);
    }

    fn way(&self, values: &[Value], mark: usize) -> Way {
        let mut narrowed: Vec<(Value, Fact)> = Vec::new();
        for (value, _) in self.log[mark..].iter().rev().take(2 * MAX_KEPT) {
            if narrowed.len() < MAX_KEPT && !narrowed.iter().any(|known| known.0 == *value) {
                narrowed.push((*value, self.fact(*value)));
            }
        }
        Way { values: values.iter().map(|value| self.fact(*value)).collect(), narrowed }
    }

    /// Forgets what conditions said since the log was that long.
    fn restore(&mut self, length: usize) {
        for (value, before) in self.log.drain(length..).rev() {
            self.facts[value.index()] = before;
        }
    }

    fn fact(&self, value: Value) -> Fact {
        self.facts[value.index()]
    }

    fn narrow_to(&mut self, value: Value, fact: Fact) {
        let before = std::mem::replace(&mut self.facts[value.index()], fact);
        if before != fact {
            self.log.push((value, before));
        }
    }

    fn stmt(&mut self, kind: &'f StmtKind) {
        let mark = self.log.len();
        let mut arrived = Vec::new();
        match kind {
            StmtKind::Op { op, args, result: Some(result) } => return self.op(op, args, *result),
            StmtKind::If { cond, then, otherwise, .. } => {
                for (holds, arm) in [(true, *then), (false, *otherwise)] {
                    self.narrow(*cond, holds);
                    self.region(arm, mark, &mut arrived);
                    self.restore(mark);
                }
            }
            StmtKind::Switch { .. } => {
                for region in kind.distinct_regions() {
                    self.region(region, mark, &mut arrived);
                }
            }
            StmtKind::Block { label, body, .. } | StmtKind::Loop { label, body, .. } => {
                self.marks.insert(*label, mark);
                self.region(*body, mark, &mut arrived);
                arrived.extend(self.breaks.remove(label).unwrap_or_default());
            }
            _ => return,
        }
        self.arrive(kind.results(), &arrived);
    }

    /// What holds behind a construct that these ways lead out of.
    fn arrive(&mut self, results: &[Value], ways: &[Way]) {
        let Some((first, others)) = ways.split_first() else { return };
        work::spend(ways.len());
        for (number, result) in results.iter().enumerate() {
            let facts = others.iter().map(|way| way.values[number]);
            self.facts[result.index()] = facts.fold(first.values[number], Fact::join);
        }
        for (value, fact) in &first.narrowed {
            let of = |way: &Way| way.narrowed.iter().find(|known| known.0 == *value).map(|known| known.1);
            let joined = others.iter().try_fold(*fact, |joined, way| of(way).map(|fact| joined.join(fact)));
            if let Some(fact) = joined {
                self.narrow_to(*value, fact);
            }
        }
    }

    fn op(&mut self, op: &Op, args: &[Value], result: Value) {
        let is_float = |value: &Value| self.function.ty(*value) == Type::F64;
        if matches!(op, Op::Wasm(_)) && (is_float(&result) || args.iter().any(is_float)) {
            self.found.insert(result, args.iter().map(|arg| self.fact(*arg)).collect());
        }
        self.facts[result.index()] = self.result(op, args).unwrap_or(Fact::any(self.function.ty(result)));
    }

    fn bits(&self, value: Value) -> Bits {
        match self.fact(value) {
            Fact::Bits(bits) => bits,
            Fact::Number(_) => Bits::any(self.function.ty(value).bits()),
        }
    }

    fn number(&self, value: Value) -> Number {
        match self.fact(value) {
            Fact::Number(number) => number,
            Fact::Bits(_) => number::ANY,
        }
    }

    fn constant(&self, value: Value) -> Option<u64> {
        match self.fact(value) {
            Fact::Bits(bits) => bits.constant(),
            Fact::Number(_) => None,
        }
    }
}
