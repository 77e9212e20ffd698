//! Between which numbers an `i32` lies, and how far from the stack pointer an address of the stack: interval analysis over
//! the region tree.
//!
//! A branch's condition narrows what it compares, in its arms and, where an arm does not come back, behind it. What a loop
//! carries is widened to the constants that it is compared with, then to everything, until nothing changes. Where one
//! such value moves in steps and stays between ends, it bounds the iterations, and so what else moves in steps.

use std::collections::HashMap;

use crate::ir::{Const, Exit, Function, Label, Op, RegionId, StmtKind, Type, Value, WasmOp};

/// Statements visited at the most; nested loops multiply visits. Beyond it nothing is known.
const MAX_VISITS: usize = 4_000_000;
/// Walks over a loop's body before its parameters may be anything.
const MAX_WALKS: u32 = 4;

/// Both ends included; signed, without wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whether it counts from the stack pointer at the launch.
    pub stack: bool,
    /// The least.
    pub low: i64,
    /// The greatest.
    pub high: i64,
}

const MIN: i64 = i32::MIN as i64;
const MAX: i64 = i32::MAX as i64;

impl Range {
    const ANY: Range = Range { stack: false, low: MIN, high: MAX };

    fn of(low: i64, high: i64) -> Range {
        Range { stack: false, low, high }.checked()
    }

    fn exactly(value: i64) -> Range {
        Range::of(value, value)
    }

    /// What may have wrapped around is anything.
    fn checked(self) -> Range {
        if self.low < MIN || self.high > MAX { Range { low: MIN, high: MAX, ..self } } else { self }
    }

    fn join(self, other: Range) -> Range {
        match self.stack == other.stack {
            true => Range { low: self.low.min(other.low), high: self.high.max(other.high), ..self },
            false => Range::ANY,
        }
    }

    /// Whether more is known than the type says.
    pub fn is_bounded(&self) -> bool {
        self.low > MIN && self.high < MAX
    }

    fn is_number(&self) -> bool {
        !self.stack
    }
}

/// The ranges of a function's values.
#[derive(Debug)]
pub struct Ranges {
    facts: Vec<Option<Range>>,
}

impl Ranges {
    /// The range of a value where it is defined; `None` for one that is never reached or of another type.
    pub fn of(&self, value: Value) -> Option<Range> {
        self.facts.get(value.index()).copied().flatten()
    }
}

/// Finds them in a kernel of Wasm's operators whose globals are promoted; `stack_pointer` is that global.
pub fn ranges(function: &Function, stack_pointer: u32) -> Ranges {
    let mut walker = Walker {
        function,
        stack_pointer,
        facts: vec![None; function.values.len()],
        narrowed: HashMap::new(),
        defs: definitions(function),
        thresholds: thresholds(function),
        continues: continues(function),
        exits: HashMap::new(),
        visits: 0,
    };
    for param in &function.params {
        walker.facts[param.index()] = Some(Range::ANY);
    }
    walker.region(function.body, &mut None);
    if walker.visits >= MAX_VISITS {
        walker.facts.iter_mut().for_each(|fact| *fact = Some(Range::ANY));
    }
    Ranges { facts: walker.facts }
}

type Def<'f> = Option<(&'f Op, &'f [Value])>;

fn definitions(function: &Function) -> Vec<Def<'_>> {
    let mut defs = vec![None; function.values.len()];
    for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
        if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind {
            defs[result.index()] = Some((op, args.as_slice()));
        }
    }
    defs
}

/// The constants of the function and their neighbours, ascending.
fn thresholds(function: &Function) -> Vec<i64> {
    let mut found = Vec::new();
    for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
        if let StmtKind::Op { op: Op::Const(Const::I32(value)), .. } = stmt.kind {
            let value = i64::from(value as i32);
            found.extend([value - 1, value, value + 1]);
        }
    }
    found.sort_unstable();
    found.dedup();
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

/// What arrives somewhere, for each value; `None` so far: nothing has.
type Arrived = Option<Vec<Option<Range>>>;

struct Walker<'f> {
    function: &'f Function,
    stack_pointer: u32,
    facts: Vec<Option<Range>>,
    /// What conditions of the branches around say.
    narrowed: HashMap<Value, Range>,
    defs: Vec<Def<'f>>,
    thresholds: Vec<i64>,
    /// The regions that continue a loop.
    continues: HashMap<Label, Vec<RegionId>>,
    /// What breaks and continues hand on, by label.
    exits: HashMap<(Label, bool), Arrived>,
    visits: usize,
}

fn arrive(at: &mut Arrived, values: Vec<Option<Range>>) {
    match at {
        None => *at = Some(values),
        Some(known) => {
            for (known, new) in known.iter_mut().zip(values) {
                *known = match (*known, new) {
                    (Some(a), Some(b)) => Some(a.join(b)),
                    (a, b) => a.or(b),
                };
            }
        }
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
        values.iter().map(|value| self.get(*value)).collect()
    }

    fn set_all(&mut self, values: &[Value], to: &Arrived) {
        for (number, value) in values.iter().enumerate() {
            self.facts[value.index()] = to.as_ref().and_then(|to| to[number]);
        }
    }

    /// Walks a region; what its `Yield` hands on goes to `yields`. True if it yields.
    fn region(&mut self, id: RegionId, yields: &mut Arrived) -> bool {
        let function = self.function;
        let region = function.region(id);
        let mut undo: Vec<(Value, Option<Range>)> = Vec::new();
        for stmt in &region.stmts {
            self.visits += 1;
            if self.visits >= MAX_VISITS {
                break;
            }
            self.stmt(&stmt.kind, &mut undo);
        }
        let values = self.all(region.exit.values());
        let yielded = match &region.exit {
            Exit::Yield(_) => {
                arrive(yields, values);
                true
            }
            Exit::Break(label, _) => {
                arrive(self.exits.entry((*label, false)).or_default(), values);
                false
            }
            Exit::Continue(label, _) => {
                arrive(self.exits.entry((*label, true)).or_default(), values);
                false
            }
            Exit::Return(_) | Exit::Trap(_) => false,
        };
        self.restore(undo);
        yielded
    }

    fn restore(&mut self, undo: Vec<(Value, Option<Range>)>) {
        for (value, before) in undo.into_iter().rev() {
            match before {
                Some(range) => self.narrowed.insert(value, range),
                None => self.narrowed.remove(&value),
            };
        }
    }

    fn stmt(&mut self, kind: &'f StmtKind, undo: &mut Vec<(Value, Option<Range>)>) {
        match kind {
            StmtKind::Op { op, args, result: Some(result) } => {
                let ty = self.function.ty(*result);
                self.facts[result.index()] = (ty == Type::I32).then(|| self.operator(op, args));
            }
            StmtKind::Op { .. } => {}
            StmtKind::If { cond, then, otherwise, results } => {
                let mut arrived = None;
                let then_yields = self.arm(*cond, true, *then, &mut arrived);
                let else_yields = self.arm(*cond, false, *otherwise, &mut arrived);
                self.set_all(results, &arrived);
                if then_yields != else_yields {
                    self.narrow(*cond, then_yields, undo);
                }
            }
            StmtKind::Switch { cases, default, results, .. } => {
                let mut regions: Vec<RegionId> = cases.iter().copied().chain([*default]).collect();
                regions.sort_unstable();
                regions.dedup();
                let mut arrived = None;
                for region in regions {
                    self.region(region, &mut arrived);
                }
                self.set_all(results, &arrived);
            }
            StmtKind::Block { label, body, results } => {
                self.exits.remove(&(*label, false));
                let mut arrived = None;
                self.region(*body, &mut arrived);
                if let Some(Some(values)) = self.exits.remove(&(*label, false)) {
                    arrive(&mut arrived, values);
                }
                self.set_all(results, &arrived);
            }
            StmtKind::Loop { label, inits, body, results } => self.run_loop(*label, inits, *body, results),
            other => {
                for result in other.results() {
                    self.facts[result.index()] = Some(Range::ANY);
                }
            }
        }
    }

    fn arm(&mut self, cond: Value, holds: bool, region: RegionId, arrived: &mut Arrived) -> bool {
        let mut undo = Vec::new();
        self.narrow(cond, holds, &mut undo);
        let yields = self.region(region, arrived);
        self.restore(undo);
        yields
    }

    fn run_loop(&mut self, label: Label, inits: &[Value], body: RegionId, results: &[Value]) {
        let params = &self.function.region(body).params;
        let mut current: Vec<Option<Range>> = self.all(inits);
        for walk in 0.. {
            let so_far = Some(current.clone());
            self.set_all(params, &so_far);
            self.exits.remove(&(label, true));
            self.exits.remove(&(label, false));
            let mut arrived = None;
            self.region(body, &mut arrived);
            let mut next = Some(current.clone());
            if let Some(Some(values)) = self.exits.remove(&(label, true)) {
                arrive(&mut next, values);
            }
            let next = next.unwrap_or_default();
            if next == current || self.visits >= MAX_VISITS {
                let refined = self.by_iterations(label, params, inits, &current);
                if refined != current {
                    self.set_all(params, &Some(refined));
                    self.exits.remove(&(label, false));
                    arrived = None;
                    self.region(body, &mut arrived);
                    self.exits.remove(&(label, true));
                }
                if let Some(Some(values)) = self.exits.remove(&(label, false)) {
                    arrive(&mut arrived, values);
                }
                self.set_all(results, &arrived);
                return;
            }
            let widen = |(old, new): (&Option<Range>, &Option<Range>)| match (old, new) {
                (Some(old), Some(new)) => Some(self.widened(*old, *new, walk)),
                (_, new) => *new,
            };
            current = current.iter().zip(&next).map(widen).collect();
        }
    }

    /// The ranges of a loop's parameters, given sound ones: those that move in steps, in as many as another one leaves.
    fn by_iterations(
        &self,
        label: Label,
        params: &[Value],
        inits: &[Value],
        current: &[Option<Range>],
    ) -> Vec<Option<Range>> {
        let steps: Vec<Option<(i64, i64)>> =
            (0..params.len()).map(|number| self.steps(label, params[number], number)).collect();
        let continues = steps.iter().zip(current).filter_map(|(steps, range)| {
            let ((least, greatest), range) = ((*steps)?, (*range)?);
            let smallest = if least > 0 { least } else { -greatest };
            (range.is_bounded() && smallest > 0).then(|| (range.high - range.low) / smallest)
        });
        let Some(continues) = continues.min() else { return current.to_vec() };
        let refine = |number: usize| {
            let (range, init) = (current[number]?, self.get(inits[number])?);
            let Some((least, greatest)) = steps[number].filter(|_| range.stack == init.stack) else {
                return Some(range);
            };
            let low = range.low.max(init.low + (continues * least).min(0));
            let high = range.high.min(init.high + (continues * greatest).max(0));
            Some(if low <= high { Range { low, high, ..range } } else { range })
        };
        (0..params.len()).map(refine).collect()
    }

    /// The least and the greatest number that iterations add to a loop's parameter; `None` if one does something else.
    fn steps(&self, label: Label, param: Value, number: usize) -> Option<(i64, i64)> {
        let mut ends: Option<(i64, i64)> = None;
        for region in self.continues.get(&label)? {
            let value = self.function.region(*region).exit.values()[number];
            let step = match self.defs[value.index()] {
                _ if value == param => 0,
                Some((Op::Wasm(WasmOp::I32Add), [a, b])) if *a == param => self.constant(*b)?,
                Some((Op::Wasm(WasmOp::I32Add), [a, b])) if *b == param => self.constant(*a)?,
                Some((Op::Wasm(WasmOp::I32Sub), [a, b])) if *a == param => -self.constant(*b)?,
                _ => return None,
            };
            ends = Some(ends.map_or((step, step), |(least, greatest)| (step.min(least), step.max(greatest))));
        }
        ends
    }

    fn constant(&self, value: Value) -> Option<i64> {
        match self.defs[value.index()] {
            Some((Op::Const(Const::I32(number)), _)) => Some(i64::from(*number as i32)),
            _ => None,
        }
    }

    /// An end that moved goes on to the next constant, later to the last.
    fn widened(&self, old: Range, new: Range, walk: u32) -> Range {
        if old.stack != new.stack {
            return Range::ANY;
        }
        let (mut low, mut high) = (new.low, new.high);
        if new.low < old.low {
            let below = self.thresholds.iter().rev().find(|t| **t <= new.low);
            low = below.copied().filter(|_| walk < MAX_WALKS).unwrap_or(MIN);
        }
        if new.high > old.high {
            let above = self.thresholds.iter().find(|t| **t >= new.high);
            high = above.copied().filter(|_| walk < MAX_WALKS).unwrap_or(MAX);
        }
        Range { stack: old.stack, low: low.max(MIN), high: high.min(MAX) }
    }

    fn operator(&self, op: &Op, args: &[Value]) -> Range {
        match op {
            Op::Const(Const::I32(value)) => Range::exactly(i64::from(*value as i32)),
            Op::GlobalGet(global) if *global == self.stack_pointer => Range { stack: true, low: 0, high: 0 },
            Op::Load(access) if access.bytes < 4 => {
                let bits = 8 * access.bytes;
                match access.signed {
                    true => Range::of(-1 << (bits - 1), (1 << (bits - 1)) - 1),
                    false => Range::of(0, (1 << bits) - 1),
                }
            }
            Op::Select => self.known(args[0]).join(self.known(args[1])),
            Op::Wasm(op) => self.wasm(*op, args),
            _ => Range::ANY,
        }
    }

    fn wasm(&self, op: WasmOp, args: &[Value]) -> Range {
        use WasmOp::*;
        if crate::analysis::roots::is_comparison(op) {
            return Range::of(0, 1);
        }
        let range = |arg: usize| self.known(args[arg]);
        match (op, args) {
            (I32Add, [_, _]) => {
                let (a, b) = (range(0), range(1));
                let sum = Range { stack: a.stack || b.stack, low: a.low + b.low, high: a.high + b.high };
                if a.stack && b.stack { Range::ANY } else { sum.checked() }
            }
            (I32Sub, [_, _]) => {
                let (a, b) = (range(0), range(1));
                match (a.stack, b.stack) {
                    (false, true) => Range::ANY,
                    (stack, other) => {
                        Range { stack: stack && !other, low: a.low - b.high, high: a.high - b.low }.checked()
                    }
                }
            }
            (_, [_, _]) if !range(0).is_number() || !range(1).is_number() => Range::ANY,
            (_, [_]) if args.len() == 1 && self.function.ty(args[0]) == Type::I32 && range(0).stack => Range::ANY,
            (I32Mul, [_, _]) => {
                let (a, b) = (range(0), range(1));
                let products = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
                Range::of(products.into_iter().min().unwrap_or(MIN), products.into_iter().max().unwrap_or(MAX))
            }
            (I32Shl, [_, _]) => match range(1) {
                b if b.low == b.high && (0..32).contains(&b.low) => {
                    Range::of(range(0).low << b.low, range(0).high << b.low)
                }
                _ => Range::ANY,
            },
            (I32ShrS | I32ShrU, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low == b.high && (0..32).contains(&b.low) && (a.low >= 0 || op == I32ShrS) => {
                    Range::of(a.low >> b.low, a.high >> b.low)
                }
                (_, b) if b.low == b.high && (1..32).contains(&b.low) && op == I32ShrU => {
                    Range::of(0, i64::from(u32::MAX) >> b.low)
                }
                _ => Range::ANY,
            },
            (I32And, [_, _]) => {
                let highs = [range(0), range(1)].into_iter().filter(|r| r.low >= 0).map(|r| r.high);
                highs.min().map_or(Range::ANY, |high| Range::of(0, high))
            }
            (I32Or | I32Xor, [_, _]) => match (range(0), range(1)) {
                (a, b) if a.low >= 0 && b.low >= 0 => {
                    let bits = 64 - (a.high | b.high).leading_zeros();
                    Range::of(0, (1 << bits) - 1)
                }
                _ => Range::ANY,
            },
            (I32RemU, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low > 0 && a.low >= 0 => Range::of(0, a.high.min(b.high - 1)),
                (_, b) if b.low > 0 => Range::of(0, b.high - 1),
                _ => Range::ANY,
            },
            (I32RemS, [_, _]) => match (range(0), range(1)) {
                (a, b) if b.low > 0 && a.low >= 0 => Range::of(0, a.high.min(b.high - 1)),
                (_, b) if b.low > 0 => Range::of(1 - b.high, b.high - 1),
                _ => Range::ANY,
            },
            (I32DivU | I32DivS, [_, _]) => match (range(0), range(1)) {
                (a, b) if a.low >= 0 && b.low > 0 => Range::of(a.low / b.high, a.high / b.low),
                _ => Range::ANY,
            },
            (I32Extend8S, _) => Range::of(-128, 127),
            (I32Extend16S, _) => Range::of(-32768, 32767),
            (I32Clz | I32Ctz | I32Popcnt, _) => Range::of(0, 32),
            _ => Range::ANY,
        }
    }

    /// Notes what follows for the values that a condition compares.
    fn narrow(&mut self, cond: Value, holds: bool, undo: &mut Vec<(Value, Option<Range>)>) {
        use WasmOp::*;
        let Some((Op::Wasm(op), args)) = self.defs[cond.index()].filter(|_| self.is_compared(cond)) else {
            return self.narrow_number(cond, holds, undo);
        };
        let is = |value: Value, number: i64| self.known(value) == Range::exactly(number);
        match (*op, args) {
            (I32Eqz, [a]) => return self.narrow(*a, !holds, undo),
            (I32Ne, [a, b]) if is(*b, 0) && self.is_condition(*a) => return self.narrow(*a, holds, undo),
            (I32Eq, [a, b]) if is(*b, 0) && self.is_condition(*a) => return self.narrow(*a, !holds, undo),
            (I32And, [a, b]) if is(*b, 1) && self.is_condition(*a) => return self.narrow(*a, holds, undo),
            (I32And, [a, b]) if holds && self.is_condition(*a) && self.is_condition(*b) => {
                self.narrow(*a, true, undo);
                return self.narrow(*b, true, undo);
            }
            (I32Or, [a, b]) if !holds => {
                self.narrow(*a, false, undo);
                return self.narrow(*b, false, undo);
            }
            _ => {}
        }
        let [a, b] = args else { return };
        // As `less(x, y)` or `less or equal`, signed or not.
        let (x, y, strict, signed) = match (*op, holds) {
            (I32LtS, true) | (I32GeS, false) => (*a, *b, true, true),
            (I32GtS, true) | (I32LeS, false) => (*b, *a, true, true),
            (I32LeS, true) | (I32GtS, false) => (*a, *b, false, true),
            (I32GeS, true) | (I32LtS, false) => (*b, *a, false, true),
            (I32LtU, true) | (I32GeU, false) => (*a, *b, true, false),
            (I32GtU, true) | (I32LeU, false) => (*b, *a, true, false),
            (I32LeU, true) | (I32GtU, false) => (*a, *b, false, false),
            (I32GeU, true) | (I32LtU, false) => (*b, *a, false, false),
            (I32Eq, true) | (I32Ne, false) => return self.narrow_equal(*a, *b, undo),
            (I32Ne, true) | (I32Eq, false) => {
                self.narrow_apart(*a, *b, undo);
                return self.narrow_apart(*b, *a, undo);
            }
            _ => return,
        };
        let (of_x, of_y) = (self.known(x), self.known(y));
        if of_x.stack || of_y.stack {
            return;
        }
        let gap = i64::from(strict);
        if signed || (of_x.low >= 0 && of_y.low >= 0) {
            self.set_narrow(x, Range { high: of_x.high.min(of_y.high - gap), ..of_x }, undo);
            self.set_narrow(y, Range { low: of_y.low.max(of_x.low + gap), ..of_y }, undo);
        } else if of_y.low >= 0 {
            // Unsigned and less than what is not negative: not negative either.
            self.set_narrow(x, Range { low: of_x.low.max(0), high: of_x.high.min(of_y.high - gap), ..of_x }, undo);
        }
    }

    /// Whether a value says how others compare; else it is a number that is tested for zero.
    fn is_compared(&self, value: Value) -> bool {
        match self.defs[value.index()] {
            Some((Op::Wasm(WasmOp::I32And | WasmOp::I32Or), args)) => args.iter().any(|arg| self.is_condition(*arg)),
            _ => self.is_condition(value),
        }
    }

    fn narrow_number(&mut self, value: Value, not_zero: bool, undo: &mut Vec<(Value, Option<Range>)>) {
        let range = self.known(value);
        if range.stack || self.function.ty(value) != Type::I32 {
            return;
        }
        match not_zero {
            true => {
                let (low, high) = (range.low + i64::from(range.low == 0), range.high - i64::from(range.high == 0));
                self.set_narrow(value, Range { low, high, ..range }, undo);
            }
            false => self.set_narrow(value, Range { low: range.low.max(0), high: range.high.min(0), ..range }, undo),
        }
    }

    fn is_condition(&self, value: Value) -> bool {
        matches!(self.defs[value.index()], Some((Op::Wasm(op), _)) if crate::analysis::roots::is_comparison(*op))
    }

    fn narrow_equal(&mut self, a: Value, b: Value, undo: &mut Vec<(Value, Option<Range>)>) {
        let (of_a, of_b) = (self.known(a), self.known(b));
        if of_a.stack == of_b.stack {
            let both = Range { low: of_a.low.max(of_b.low), high: of_a.high.min(of_b.high), ..of_a };
            self.set_narrow(a, both, undo);
            self.set_narrow(b, both, undo);
        }
    }

    /// `a` is not `b`, which is one number: an end of `a` that it is moves.
    fn narrow_apart(&mut self, a: Value, b: Value, undo: &mut Vec<(Value, Option<Range>)>) {
        let (of_a, of_b) = (self.known(a), self.known(b));
        if of_a.stack != of_b.stack || of_b.low != of_b.high {
            return;
        }
        let low = of_a.low + i64::from(of_a.low == of_b.low);
        let high = of_a.high - i64::from(of_a.high == of_b.low);
        self.set_narrow(a, Range { low, high, ..of_a }, undo);
    }

    fn set_narrow(&mut self, value: Value, range: Range, undo: &mut Vec<(Value, Option<Range>)>) {
        // Nothing: that code is never reached, and any range is right there.
        if range.low > range.high {
            return;
        }
        let before = self.narrowed.insert(value, range);
        undo.push((value, before));
        // What holds for `x + 4` holds for `x`, too, where that did not wrap around.
        let Some((Op::Wasm(WasmOp::I32Add), [x, constant])) = self.defs[value.index()] else { return };
        let Some(number) = self.constant(*constant) else { return };
        let of_x = self.known(*x);
        if of_x.stack == range.stack && of_x.low + number >= MIN && of_x.high + number <= MAX {
            let (low, high) = (of_x.low.max(range.low - number), of_x.high.min(range.high - number));
            if (low, high) != (of_x.low, of_x.high) {
                self.set_narrow(*x, Range { low, high, ..of_x }, undo);
            }
        }
    }
}
