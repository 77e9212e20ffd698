//! How often counted loops run: the number of times that one goes back to its start, as an expression over what is known
//! before it.
//!
//! A loop is counted if every way back to its start adds the same constant to one of its parameters, and lies behind a test
//! of that parameter against a value from outside the loop which fails at last. Other exits may end it before.

use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, LowOp, Op, RegionId, StmtKind, Type, Value};
use crate::work;

/// Longest chain of sums that is looked through.
const MAX_CHAIN: u32 = 8;

/// The counting of a loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// Which of the loop's parameters counts.
    pub number: usize,
    /// The first arm of the branch that ends it, which stands in the loop's region.
    pub branch: RegionId,
    /// The value of that branch's condition with which the loop goes on.
    pub stays_when: bool,
    /// Whether the count is all that the condition says, or else that may end the loop for other reasons, too.
    pub direct: bool,
    /// Whether the condition says nothing but that.
    pub whole: bool,
    /// What is tested: the parameter and `offset`.
    pub counter: Value,
    /// What each iteration adds to the parameter.
    pub step: i32,
    /// See `counter`.
    pub offset: i32,
    test: Test,
    limit: Limit,
}

/// What the counter is tested against.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// A value from outside the loop.
    Value(Value),
    /// A constant, wherever it stands.
    Constant(u32),
}

/// What holds as long as a loop goes on, of the sum `q` of parameter and offset, and the limit `n`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Test {
    /// `q != n`
    Differs,
    /// `q < n` or, with `or_equal`, `q <= n`; the other way round with `falling`.
    Below { signed: bool, or_equal: bool, falling: bool },
}

/// What is known of a function's values.
pub struct Definitions {
    operators: HashMap<Value, (LowOp, Vec<Value>)>,
    constants: HashMap<Value, i32>,
}

impl Definitions {
    /// Reads them off a lowered function.
    pub fn new(function: &Function) -> Self {
        let (mut operators, mut constants) = (HashMap::new(), HashMap::new());
        for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
            match &stmt.kind {
                StmtKind::Op { op: Op::Low(op), args, result: Some(result) } => {
                    operators.insert(*result, (*op, args.to_vec()));
                }
                StmtKind::Op { op: Op::Const(Const::I32(value)), result: Some(result), .. } => {
                    constants.insert(*result, *value as i32);
                }
                _ => {}
            }
        }
        Definitions { operators, constants }
    }

    /// The constant that a value is.
    pub fn constant(&self, value: Value) -> Option<i32> {
        self.constants.get(&value).copied()
    }

    /// The operator that gives a value, and its operands.
    pub fn operator(&self, value: Value) -> Option<(&LowOp, &[Value])> {
        self.operators.get(&value).map(|(op, args)| (op, &args[..]))
    }

    /// The value as a sum of another and a constant.
    pub fn sum(&self, mut value: Value) -> (Value, i32) {
        let mut offset = 0i32;
        for _ in 0..MAX_CHAIN {
            match self.operators.get(&value).map(|(op, args)| (op, &args[..])) {
                Some((LowOp::IAdd, &[a, b])) if self.constant(b).is_some() => {
                    (value, offset) = (a, offset.wrapping_add(self.constants[&b]));
                }
                Some((LowOp::IAdd, &[a, b])) if self.constant(a).is_some() => {
                    (value, offset) = (b, offset.wrapping_add(self.constants[&a]));
                }
                Some((LowOp::ISub, &[a, b])) if self.constant(b).is_some() => {
                    (value, offset) = (a, offset.wrapping_sub(self.constants[&b]));
                }
                _ => break,
            }
        }
        (value, offset)
    }
}

/// The regions below a loop's, with it.
pub fn below(function: &Function, body: RegionId) -> Vec<RegionId> {
    let (mut regions, mut seen, mut next) = (vec![body], HashSet::from_iter([body]), 0);
    while let Some(id) = regions.get(next).copied() {
        let stmts = &function.region(id).stmts;
        work::spend(stmts.len());
        regions.extend(stmts.iter().flat_map(|stmt| stmt.kind.regions()).filter(|region| seen.insert(*region)));
        next += 1;
    }
    regions
}

/// The labels of constructs in these regions.
pub fn labels(function: &Function, regions: &[RegionId]) -> HashSet<Label> {
    let stmts = regions.iter().flat_map(|id| &function.region(*id).stmts);
    stmts
        .filter_map(|stmt| match &stmt.kind {
            StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => Some(*label),
            _ => None,
        })
        .collect()
}

/// A loop, as far as its counting concerns.
pub struct Looking<'a> {
    pub function: &'a Function,
    pub definitions: &'a Definitions,
    pub label: Label,
    pub body: RegionId,
    /// The regions below the loop, its own included.
    pub below: &'a [RegionId],
}

impl Looking<'_> {
    /// How the loop counts, if it does: by the first test that does not trap where it fails, or by the first one that does.
    pub fn count(&self) -> Option<Count> {
        let defined = self.defined();
        let back: HashSet<RegionId> = self.below.iter().copied().filter(|id| self.goes_back(*id)).collect();
        let mut traps = None;
        for (index, stmt) in self.function.region(self.body).stmts.iter().enumerate() {
            let StmtKind::If { cond, then, otherwise, .. } = &stmt.kind else {
                // What goes back in front of a test is not held by it.
                if stmt.kind.regions().iter().any(|region| self.any_below(*region, &back)) {
                    break;
                }
                continue;
            };
            let arms = [(*otherwise, true), (*then, false)];
            let leaves = arms.into_iter().find(|(arm, _)| self.leaves(*arm, index, &back));
            if let Some((arm, stays_when)) = leaves
                && let Some(count) = self.test(*cond, stays_when, &defined)
            {
                let count = Count { branch: *then, stays_when, ..count };
                if !matches!(self.function.region(arm).exit, Exit::Trap(_)) {
                    return Some(count);
                }
                traps = traps.or(Some(count));
            }
            if self.any_below(*then, &back) || self.any_below(*otherwise, &back) {
                break;
            }
        }
        traps
    }

    fn defined(&self) -> HashSet<Value> {
        let mut defined = HashSet::new();
        for region in self.below.iter().map(|id| self.function.region(*id)) {
            defined.extend(&region.params);
            defined.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.results()));
        }
        defined
    }

    fn goes_back(&self, id: RegionId) -> bool {
        matches!(&self.function.region(id).exit, Exit::Continue(label, _) if *label == self.label)
    }

    fn any_below(&self, id: RegionId, back: &HashSet<RegionId>) -> bool {
        back.contains(&id)
            || self
                .function
                .region(id)
                .stmts
                .iter()
                .flat_map(|stmt| stmt.kind.regions())
                .any(|region| self.any_below(region, back))
    }

    /// Whether an arm of the branch at `index` of the loop's region never comes back to the loop's start.
    fn leaves(&self, arm: RegionId, index: usize, back: &HashSet<RegionId>) -> bool {
        if self.any_below(arm, back) {
            return false;
        }
        if !matches!(self.function.region(arm).exit, Exit::Yield(_)) && !self.breaks_into_loop(arm) {
            return true;
        }
        // It comes to what stands behind the branch.
        let body = self.function.region(self.body);
        let behind = &body.stmts[index + 1..];
        let goes_back = behind.iter().flat_map(|stmt| stmt.kind.regions()).any(|region| self.any_below(region, back));
        !goes_back && !back.contains(&self.body)
    }

    /// Whether an arm's exit stays in the loop: a branch that stands in the loop's own region has no block around it.
    fn breaks_into_loop(&self, arm: RegionId) -> bool {
        matches!(&self.function.region(arm).exit, Exit::Continue(label, _) if *label == self.label)
    }

    /// What a condition that keeps the loop going says of one of its parameters.
    fn test(&self, cond: Value, holds: bool, defined: &HashSet<Value>) -> Option<Count> {
        let (op, args) = self.definitions.operators.get(&cond)?;
        match (op, &args[..], holds) {
            (LowOp::BNot, &[inner], _) => self.test(inner, !holds, defined),
            (LowOp::BAnd, &[a, b], true) | (LowOp::BOr, &[a, b], false) => {
                let either = self.test(a, holds, defined).or_else(|| self.test(b, holds, defined));
                either.map(|count| Count { direct: false, whole: false, ..count })
            }
            (op, &[a, b], _) => {
                let (op, a, b) = match (op, holds) {
                    (LowOp::Ne, true) | (LowOp::Eq, false) => (LowOp::Ne, a, b),
                    (LowOp::ULt | LowOp::ULe | LowOp::SLt | LowOp::SLe, true) => (*op, a, b),
                    (LowOp::ULt, false) => (LowOp::ULe, b, a),
                    (LowOp::ULe, false) => (LowOp::ULt, b, a),
                    (LowOp::SLt, false) => (LowOp::SLe, b, a),
                    (LowOp::SLe, false) => (LowOp::SLt, b, a),
                    _ => return None,
                };
                self.compared(op, a, b, false, defined).or_else(|| self.compared(op, b, a, true, defined))
            }
            _ => None,
        }
    }

    /// The counting that a comparison of `counter` with `limit` gives, which is the second operand or, `swapped`, the first.
    fn compared(
        &self,
        op: LowOp,
        counter: Value,
        limit: Value,
        swapped: bool,
        defined: &HashSet<Value>,
    ) -> Option<Count> {
        let limit = match self.definitions.constant(limit) {
            Some(constant) => Limit::Constant(constant as u32),
            None if defined.contains(&limit) || self.function.ty(limit) != Type::I32 => return None,
            None => Limit::Value(limit),
        };
        let (param, offset) = self.definitions.sum(counter);
        let number = self.function.region(self.body).params.iter().position(|known| *known == param)?;
        let step = self.step(number, param)?;
        let test = match op {
            LowOp::Ne if step.unsigned_abs().is_power_of_two() => Test::Differs,
            LowOp::ULt | LowOp::ULe | LowOp::SLt | LowOp::SLe if (step < 0) == swapped => Test::Below {
                signed: matches!(op, LowOp::SLt | LowOp::SLe),
                or_equal: matches!(op, LowOp::ULe | LowOp::SLe),
                falling: swapped,
            },
            _ => return None,
        };
        // A last step over the end of all numbers counts as endless, and need not be.
        let direct = test == Test::Differs || step.unsigned_abs() == 1;
        Some(Count {
            number,
            branch: self.body,
            stays_when: true,
            direct,
            whole: true,
            counter,
            step,
            offset,
            test,
            limit,
        })
    }

    /// What each way back adds to a parameter.
    pub fn step(&self, number: usize, param: Value) -> Option<i32> {
        let back = self.below.iter().filter(|id| self.goes_back(**id));
        let mut steps = back.map(|id| {
            let (from, step) = self.definitions.sum(self.function.region(*id).exit.values()[number]);
            (from == param).then_some(step)
        });
        let first = steps.next()??;
        (first != 0 && steps.all(|step| step == Some(first))).then_some(first)
    }
}

impl Count {
    /// How often the loop goes back to its start at most, where the parameter is `start` now and both are constants.
    pub fn constant(&self, definitions: &Definitions, start: Value) -> Option<u32> {
        let Limit::Constant(limit) = self.limit else { return None };
        Some(self.evaluate(definitions.constant(start)? as u32, limit))
    }

    fn evaluate(&self, start: u32, limit: u32) -> u32 {
        let tested = start.wrapping_add(self.offset as u32);
        let size = self.step.unsigned_abs();
        match self.test {
            Test::Differs => {
                let apart = if self.step < 0 { tested.wrapping_sub(limit) } else { limit.wrapping_sub(tested) };
                if apart & (size - 1) != 0 { u32::MAX } else { apart / size }
            }
            Test::Below { signed, or_equal, falling } => {
                let flip = (if signed { 1 << 31 } else { 0 }) ^ (if falling { u32::MAX } else { 0 });
                let (tested, limit) = (tested ^ flip, limit ^ flip);
                let Some(limit) = limit.checked_add(or_equal.into()) else { return u32::MAX };
                match limit.checked_add(size - 1) {
                    // The last step may jump over the end of all numbers.
                    None => u32::MAX,
                    Some(_) if tested >= limit => 0,
                    Some(end) => (end - tested) / size,
                }
            }
        }
    }

    /// The same as code: `evaluate` of the parameter's present value, which is `start`.
    pub fn emit(&self, function: &mut Function, list: &mut ListBuilder, start: Value) -> Value {
        self.emit_with_distance(function, list, start).0
    }

    /// The same and, where it is a value divided by the size of a step without a rest (or else without end), that value.
    pub fn emit_with_distance(
        &self,
        function: &mut Function,
        list: &mut ListBuilder,
        start: Value,
    ) -> (Value, Option<Value>) {
        let size = self.step.unsigned_abs();
        let offset = list.i32(function, self.offset as u32);
        let tested = list.low(function, LowOp::IAdd, &[start, offset], Type::I32);
        let limit = match self.limit {
            Limit::Value(limit) => limit,
            Limit::Constant(limit) => list.i32(function, limit),
        };
        match self.test {
            Test::Differs => {
                let (a, b) = if self.step < 0 { (tested, limit) } else { (limit, tested) };
                let apart = list.low(function, LowOp::ISub, &[a, b], Type::I32);
                if size == 1 {
                    return (apart, Some(apart));
                }
                let (mask, shift) = (list.i32(function, size - 1), list.i32(function, size.trailing_zeros()));
                let rest = list.low(function, LowOp::And, &[apart, mask], Type::I32);
                let steps = list.low(function, LowOp::ShrU, &[apart, shift], Type::I32);
                let zero = list.i32(function, 0);
                let even = list.low(function, LowOp::Eq, &[rest, zero], Type::Bool);
                let endless = list.i32(function, u32::MAX);
                (list.low(function, LowOp::Select, &[even, steps, endless], Type::I32), Some(apart))
            }
            Test::Below { signed, or_equal, falling } => {
                let flip = (if signed { 1 << 31 } else { 0 }) ^ (if falling { u32::MAX } else { 0 });
                let flip = list.i32(function, flip);
                let tested = list.low(function, LowOp::Xor, &[tested, flip], Type::I32);
                let limit = list.low(function, LowOp::Xor, &[limit, flip], Type::I32);
                (emit_steps(function, list, [tested, limit], size, or_equal), None)
            }
        }
    }
}

/// The number of steps of a size from `tested` until it is not below `limit`.
fn emit_steps(
    function: &mut Function,
    list: &mut ListBuilder,
    [tested, limit]: [Value; 2],
    size: u32,
    or_equal: bool,
) -> Value {
    // Of `end`, one behind the limit and less than a step behind that, all must be numbers.
    let more = size - 1 + u32::from(or_equal);
    let (greatest, more) = (list.i32(function, u32::MAX - more), list.i32(function, more));
    let fits = list.low(function, LowOp::ULe, &[limit, greatest], Type::Bool);
    let end = list.low(function, LowOp::IAdd, &[limit, more], Type::I32);
    let apart = list.low(function, LowOp::ISub, &[end, tested], Type::I32);
    let steps = match size.is_power_of_two() {
        true => {
            let shift = list.i32(function, size.trailing_zeros());
            list.low(function, LowOp::ShrU, &[apart, shift], Type::I32)
        }
        false => {
            let size = list.i32(function, size);
            list.low(function, LowOp::UDiv, &[apart, size], Type::I32)
        }
    };
    let op = if or_equal { LowOp::ULe } else { LowOp::ULt };
    let below = list.low(function, op, &[tested, limit], Type::Bool);
    let (zero, endless) = (list.i32(function, 0), list.i32(function, u32::MAX));
    let steps = list.low(function, LowOp::Select, &[below, steps, zero], Type::I32);
    list.low(function, LowOp::Select, &[fits, steps, endless], Type::I32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(test: Test, q: u32, n: u32) -> bool {
        match test {
            Test::Differs => q != n,
            Test::Below { signed, or_equal, falling } => {
                let (a, b) = if falling { (n, q) } else { (q, n) };
                let (less, equal) = (if signed { (a as i32) < b as i32 } else { a < b }, a == b);
                less || (or_equal && equal)
            }
        }
    }

    /// Against counting, for all tests, small steps, and starts and limits around the ends of all numbers.
    #[test]
    fn the_count_is_how_often_the_test_holds() {
        let mut tests = vec![Test::Differs];
        for bits in 0..8 {
            tests.push(Test::Below { signed: bits & 1 != 0, or_equal: bits & 2 != 0, falling: bits & 4 != 0 });
        }
        let ends = [0, 1, 2, 7, 100, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0x8000_0003, u32::MAX - 5, u32::MAX];
        for (test, size, offset) in tests.iter().flat_map(|t| [1, 2, 3, 4].map(|s| (*t, s, 1i32))) {
            let falling = matches!(test, Test::Below { falling: true, .. });
            for step in [size, -size] {
                let fits = match test {
                    Test::Differs => size != 3,
                    _ => (step < 0) == falling,
                };
                for (start, limit) in ends.iter().flat_map(|a| ends.map(|b| (*a, b))).filter(|_| fits) {
                    let count = Count {
                        number: 0,
                        branch: RegionId(0),
                        stays_when: true,
                        direct: true,
                        whole: true,
                        counter: Value(1),
                        step,
                        offset,
                        test,
                        limit: Limit::Value(Value(0)),
                    };
                    let most = count.evaluate(start, limit);
                    let mut q = start.wrapping_add(offset as u32);
                    let mut held = 0;
                    while held < 300 && goes_on(test, q, limit) {
                        (held, q) = (held + 1, q.wrapping_add(step as u32));
                    }
                    match held {
                        300 => assert!(most >= 300, "{count:?} from {start:#x} to {limit:#x} gives {most}"),
                        // One that runs over the end of all numbers may count as endless.
                        _ => assert!(
                            most == held || most == u32::MAX,
                            "{count:?} from {start:#x} to {limit:#x} gives {most} for {held}"
                        ),
                    }
                }
            }
        }
    }
}
