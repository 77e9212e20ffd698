//! Between which numbers an `i32` lies, and how far from the stack pointer an address of the stack: interval analysis over
//! the region tree.
//!
//! A branch's condition narrows what it compares, in its arms and, where an arm does not come back, behind it. What a loop
//! carries is widened to the constants that it is compared with, then to everything, until nothing changes. Where one
//! such value moves in steps and stays between ends, it bounds the iterations, and so what else moves in steps. What two
//! values have in common is kept, too (`linear`), and what a condition says that was joined from several ways (`joins`).

mod interval;
mod joins;
mod linear;
mod loops;
mod narrow;
mod operators;

use crate::analysis::roots::is_comparison;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Const, Exit, Function, Label, Op, RegionId, StmtKind, Type, Value};

pub use interval::Range;
use joins::{Arrived, Facts, Way};
use linear::{Linear, Near};

/// Statements visited at the most; nested loops multiply visits. Beyond it nothing is known.
const MAX_VISITS: usize = 4_000_000;
/// Walks over a loop's body before its parameters may be anything.
const MAX_WALKS: u32 = 4;

/// Where the addresses of a function's accesses lie.
#[derive(Debug)]
pub struct Ranges {
    accesses: HashMap<(RegionId, usize), Range>,
    is_complete: bool,
}

impl Ranges {
    /// The range of the address of the access that is this statement of a region, where that runs; `None` where it never
    /// does.
    pub fn at(&self, region: RegionId, number: usize) -> Option<Range> {
        match self.is_complete {
            true => self.accesses.get(&(region, number)).copied(),
            false => Some(Range::ANY),
        }
    }
}

/// Finds them in a kernel of Wasm's operators whose globals are promoted; `stack_pointer` is that global.
pub fn ranges(function: &Function, stack_pointer: u32) -> Ranges {
    let (defs, homes) = definitions(function);
    let mut walker = Walker {
        function,
        stack_pointer,
        facts: vec![None; function.values.len()],
        linears: vec![None; function.values.len()],
        near: HashMap::new(),
        implied: HashMap::new(),
        accesses: HashMap::new(),
        narrowed: HashMap::new(),
        log: Vec::new(),
        is_impossible: false,
        thresholds: thresholds(function, &defs),
        compared: compared(function),
        defs,
        homes,
        open: vec![false; function.regions.len()],
        continues: continues(function),
        breaks: HashMap::new(),
        next: HashMap::new(),
        marks: HashMap::new(),
        settled: HashMap::new(),
        refinements: 0,
        oldest: 0,
        visits: 0,
    };
    for param in &function.params {
        walker.facts[param.index()] = Some(Range::ANY);
    }
    walker.region(function.body, 0, &mut Vec::new());
    Ranges { accesses: walker.accesses, is_complete: walker.visits < MAX_VISITS }
}

type Def<'f> = Option<(&'f Op, &'f [Value])>;

/// The operator that defines each value, and the region that each belongs to.
fn definitions(function: &Function) -> (Vec<Def<'_>>, Vec<RegionId>) {
    let mut defs = vec![None; function.values.len()];
    let mut homes = vec![function.body; function.values.len()];
    for (id, region) in function.regions.iter().enumerate() {
        let home = RegionId(id as u32);
        region.params.iter().for_each(|param| homes[param.index()] = home);
        for stmt in &region.stmts {
            stmt.kind.results().iter().for_each(|result| homes[result.index()] = home);
            if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind {
                defs[result.index()] = Some((op, args.as_slice()));
            }
        }
    }
    (defs, homes)
}

/// The constants that something is compared with and their neighbours, ascending.
fn thresholds(function: &Function, defs: &[Def<'_>]) -> Vec<i64> {
    let mut found = Vec::new();
    for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
        let StmtKind::Op { op: Op::Wasm(op), args, .. } = &stmt.kind else { continue };
        for arg in args.iter().filter(|_| is_comparison(*op)) {
            if let Some((Op::Const(Const::I32(value)), _)) = defs[arg.index()] {
                let value = i64::from(*value as i32);
                found.extend([value - 1, value, value + 1]);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn compared(function: &Function) -> Vec<bool> {
    let mut found = vec![false; function.values.len()];
    for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
        let is_tested = match &stmt.kind {
            StmtKind::Op { op: Op::Wasm(op), .. } => is_comparison(*op),
            StmtKind::If { .. } => true,
            _ => false,
        };
        stmt.kind.args().iter().filter(|_| is_tested).for_each(|arg| found[arg.index()] = true);
    }
    found
}

fn continues(function: &Function) -> HashMap<Label, Vec<RegionId>> {
    let mut found: HashMap<Label, Vec<RegionId>> = HashMap::new();
    for id in super::dataflow::regions(function) {
        if let Exit::Continue(label, _) = &function.region(id).exit {
            found.entry(*label).or_default().push(id);
        }
    }
    found
}

struct Walker<'f> {
    function: &'f Function,
    stack_pointer: u32,
    /// Where values lie where they are defined.
    facts: Vec<Option<Range>>,
    /// Values as sums of others.
    linears: Vec<Option<Linear>>,
    /// What values are up to an interval.
    near: HashMap<Value, Vec<Near>>,
    /// What follows from a result of a construct being 0, or 1.
    implied: HashMap<(Value, bool), Facts>,
    accesses: HashMap<(RegionId, usize), Range>,
    /// What conditions of the branches around say.
    narrowed: HashMap<Value, Range>,
    /// What they said of which value, and what was known before.
    log: Vec<(Value, Option<Range>)>,
    /// Whether the condition that is being noted can't be.
    is_impossible: bool,
    defs: Vec<Def<'f>>,
    /// The region that each value belongs to.
    homes: Vec<RegionId>,
    /// Whether a region is being walked.
    open: Vec<bool>,
    thresholds: Vec<i64>,
    /// Whether a value is compared with something, zero for one.
    compared: Vec<bool>,
    /// The regions that continue a loop.
    continues: HashMap<Label, Vec<RegionId>>,
    /// The breaks to a label so far.
    breaks: HashMap<Label, Arrived>,
    /// What the next iteration of a loop starts with.
    next: HashMap<Label, Vec<Option<Range>>>,
    /// How long the log was when a construct began.
    marks: HashMap<Label, usize>,
    /// What a loop's parameters came to be when it was walked last, and in which of the refinements: a loop around it only
    /// widens what it starts with, so they come to be that again.
    settled: HashMap<Label, (usize, Vec<Option<Range>>)>,
    /// Number of refinements so far.
    refinements: usize,
    /// The innermost refinement that is under way: what came to be before it may be too wide.
    oldest: usize,
    visits: usize,
}

fn join(into: &mut [Option<Range>], values: Vec<Option<Range>>) {
    for (known, new) in into.iter_mut().zip(values) {
        *known = match (*known, new) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        };
    }
}

impl<'f> Walker<'f> {
    fn get(&self, value: Value) -> Option<Range> {
        self.narrowed.get(&value).copied().or(self.facts[value.index()])
    }

    fn known(&self, value: Value) -> Range {
        self.get(value).unwrap_or(Range::ANY)
    }

    fn all(&self, values: &[Value]) -> Vec<Option<Range>> {
        values.iter().map(|value| self.get(*value).map(|_| self.refined(*value))).collect()
    }

    fn set_all(&mut self, values: &[Value], to: &[Option<Range>]) {
        for (value, range) in values.iter().zip(to) {
            self.facts[value.index()] = *range;
        }
    }

    /// Walks a region of a construct at whose start `mark` conditions were noted; what its `Yield` hands on goes to
    /// `yields`. True if it yields.
    fn region(&mut self, id: RegionId, mark: usize, yields: &mut Arrived) -> bool {
        let function = self.function;
        let region = function.region(id);
        let before = self.log.len();
        self.open[id.index()] = true;
        for (number, stmt) in region.stmts.iter().enumerate() {
            self.visits += 1;
            if self.visits >= MAX_VISITS {
                break;
            }
            if let StmtKind::Op { op, args, .. } = &stmt.kind
                && op.memory_access().is_some()
            {
                self.accesses.insert((id, number), self.refined(args[0]));
            }
            self.stmt(&stmt.kind);
        }
        let values = region.exit.values();
        let yielded = match &region.exit {
            Exit::Yield(_) => {
                let way = self.way(values, mark);
                yields.push(way);
                true
            }
            Exit::Break(label, _) => {
                let mark = self.marks.get(label).copied().unwrap_or(before);
                let way = self.way(values, mark);
                self.breaks.entry(*label).or_default().push(way);
                false
            }
            Exit::Continue(label, _) => {
                let values = self.all(values);
                match self.next.get_mut(label) {
                    Some(known) => join(known, values),
                    None => _ = self.next.insert(*label, values),
                }
                false
            }
            Exit::Return(_) | Exit::Trap(_) => false,
        };
        self.open[id.index()] = false;
        self.restore(before);
        yielded
    }

    /// Forgets what conditions said since the log was that long.
    fn restore(&mut self, length: usize) {
        for (value, before) in self.log.drain(length..).rev() {
            match before {
                Some(range) => self.narrowed.insert(value, range),
                None => self.narrowed.remove(&value),
            };
        }
    }

    fn stmt(&mut self, kind: &'f StmtKind) {
        let mark = self.log.len();
        match kind {
            StmtKind::Op { op, args, result: Some(result) } => self.op(op, args, *result),
            StmtKind::Op { .. } => {}
            StmtKind::If { cond, then, otherwise, results } => {
                let mut arrived = Vec::new();
                let then_yields = self.arm(*cond, true, *then, &mut arrived);
                let else_yields = self.arm(*cond, false, *otherwise, &mut arrived);
                self.define(results, &arrived);
                if then_yields != else_yields {
                    self.narrow(*cond, then_yields);
                }
            }
            StmtKind::Switch { cases, default, results, .. } => {
                let mut regions: Vec<RegionId> = cases.iter().copied().chain([*default]).collect();
                regions.sort_unstable();
                regions.dedup();
                let mut arrived = Vec::new();
                for region in regions {
                    self.region(region, mark, &mut arrived);
                }
                self.define(results, &arrived);
            }
            StmtKind::Block { label, body, results } => {
                self.breaks.remove(label);
                self.marks.insert(*label, mark);
                let mut arrived = Vec::new();
                self.region(*body, mark, &mut arrived);
                arrived.extend(self.breaks.remove(label).unwrap_or_default());
                self.define(results, &arrived);
            }
            StmtKind::Loop { label, inits, body, results } => self.run_loop(*label, inits, *body, results),
            other => {
                for result in other.results() {
                    self.facts[result.index()] = Some(Range::ANY);
                }
            }
        }
    }

    fn op(&mut self, op: &Op, args: &[Value], result: Value) {
        let is_int = self.function.ty(result) == Type::I32;
        let is_int = is_int && !self.is_unreached(op, args);
        self.facts[result.index()] = is_int.then(|| self.operator(op, args));
        self.linears[result.index()] = self.sum_of(op, args).filter(|_| is_int);
        if self.linears[result.index()].as_ref().is_some_and(|sum| !sum.terms.is_empty()) {
            self.facts[result.index()] = Some(self.refined(result));
        }
    }

    /// Whether nothing has reached an operator so far: one on what a state of shared functions is yet to be given.
    fn is_unreached(&self, op: &Op, args: &[Value]) -> bool {
        let is_open = |arg: &Value| self.function.ty(*arg) == Type::I32 && self.get(*arg).is_none();
        *op == Op::Undefined || self.function.states.is_some() && args.iter().any(is_open)
    }

    fn arm(&mut self, cond: Value, holds: bool, region: RegionId, arrived: &mut Arrived) -> bool {
        let mark = self.log.len();
        let yields = self.narrow(cond, holds) && self.region(region, mark, arrived);
        self.restore(mark);
        yields
    }

    fn run_loop(&mut self, label: Label, inits: &[Value], body: RegionId, results: &[Value]) {
        let mark = self.log.len();
        self.marks.insert(label, mark);
        let params = &self.function.region(body).params;
        let start: Vec<Option<Range>> = self.all(inits);
        let mut current = start.clone();
        if let Some((refinement, settled)) = self.settled.get(&label)
            && *refinement >= self.oldest
        {
            join(&mut current, settled.clone());
        }
        self.find_lockstep(label, params, inits);
        for walk in 0.. {
            let mut arrived = self.iterate(label, body, &current);
            let arrives = self.next.remove(&label).unwrap_or_default();
            let mut next = current.clone();
            join(&mut next, arrives.clone());
            if next == current || self.visits >= MAX_VISITS {
                // What was widened too far comes back.
                let mut exact = start;
                join(&mut exact, arrives);
                let meet = |(a, b): (&Option<Range>, &Option<Range>)| a.zip(*b).map(|(a, b)| a.meet(b));
                let met: Vec<Option<Range>> = current.iter().zip(&exact).map(meet).collect();
                let refined = self.by_iterations(label, params, inits, &met);
                self.settled.insert(label, (self.refinements, refined.clone()));
                if refined != current {
                    self.refinements += 1;
                    let around = std::mem::replace(&mut self.oldest, self.refinements);
                    arrived = self.iterate(label, body, &refined);
                    self.oldest = around;
                    self.next.remove(&label);
                }
                self.define(results, &arrived);
                return;
            }
            let widen = |(old, new): (&Option<Range>, &Option<Range>)| match (old, new) {
                (Some(old), Some(new)) => Some(self.widened(*old, *new, walk)),
                (_, new) => *new,
            };
            current = current.iter().zip(&next).map(widen).collect();
        }
    }

    /// Walks a loop's body once, with these ranges of its parameters. Gives the ways out.
    fn iterate(&mut self, label: Label, body: RegionId, params: &[Option<Range>]) -> Arrived {
        let values = &self.function.region(body).params;
        self.set_all(values, params);
        for value in values {
            self.facts[value.index()] = self.facts[value.index()].map(|_| self.refined(*value));
        }
        self.next.remove(&label);
        self.breaks.remove(&label);
        let mark = self.log.len();
        let mut arrived: Vec<Way> = Vec::new();
        self.region(body, mark, &mut arrived);
        arrived.extend(self.breaks.remove(&label).unwrap_or_default());
        arrived
    }
}
