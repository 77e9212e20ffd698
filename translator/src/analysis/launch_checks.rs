//! Checks that the host can decide before a launch, for all its invocations at once.
//!
//! The condition of such a check depends on the launch's parameters and the iteration id alone, as when element `id` of
//! a buffer is accessed: whether a buffer holds as many elements as there are iterations is known before the
//! launch. The conditions are kept as a small program, which the host evaluates with the id as the interval of all
//! ids. Where none can hold, the launch runs a shader without these checks.

use std::collections::HashMap;

use super::dataflow;
use crate::ir::{Const, Exit, Function, LowOp, Op, StmtKind, Value};
use crate::options::immediate;

/// Most steps of a program: evaluating it must cost nothing beside a launch.
const MAX_STEPS: usize = 256;

/// The checks of a kernel that the host can decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaunchChecks {
    steps: Vec<Step>,
    /// Steps that are conditions of checks.
    conditions: Vec<usize>,
}

/// One operator; operands are numbers of steps before.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    op: Op,
    args: Vec<usize>,
}

impl LaunchChecks {
    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether no invocation of a launch can fail any of the checks. `immediates` are the launch's words, in which
    /// those of a single dispatch do not matter; `iterations` is its number of invocations.
    ///
    /// False is no proof of the contrary.
    pub fn hold(&self, immediates: &[u32], iterations: u32) -> bool {
        let mut ranges: Vec<Range> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let args: Vec<Range> = step.args.iter().map(|arg| ranges[*arg]).collect();
            ranges.push(evaluate(&step.op, &args, immediates, iterations));
        }
        self.conditions.iter().all(|condition| ranges[*condition] == Range::exactly(0))
    }
}

/// The values that an `I32` can have, both ends included; a `Bool` is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: u64,
    high: u64,
}

impl Range {
    const ANY: Range = Range { low: 0, high: u32::MAX as u64 };
    const EITHER: Range = Range { low: 0, high: 1 };

    fn exactly(value: u32) -> Range {
        Range { low: value.into(), high: value.into() }
    }

    /// A result as if integers had no end, taken modulo 2^32 where that keeps it one interval.
    fn wrapped(low: u64, high: u64) -> Range {
        match low >> 32 == high >> 32 {
            true => Range { low: low & u64::from(u32::MAX), high: high & u64::from(u32::MAX) },
            false => Range::ANY,
        }
    }

    fn decided(always: bool, never: bool) -> Range {
        match (always, never) {
            (true, _) => Range::exactly(1),
            (_, true) => Range::exactly(0),
            _ => Range::EITHER,
        }
    }
}

fn evaluate(op: &Op, args: &[Range], immediates: &[u32], iterations: u32) -> Range {
    let low = match op {
        Op::Const(Const::I32(value)) => return Range::exactly(*value),
        Op::Const(Const::Bool(value)) => return Range::exactly((*value).into()),
        Op::Low(low) => low,
        _ => return Range::ANY,
    };
    match (low, args) {
        (LowOp::IterationId, []) => Range { low: 0, high: u64::from(iterations.saturating_sub(1)) },
        (LowOp::Immediate(word), []) => immediates.get(*word as usize).map_or(Range::ANY, |w| Range::exactly(*w)),
        (LowOp::IAdd, [a, b]) => Range::wrapped(a.low + b.low, a.high + b.high),
        (LowOp::ISub, [a, b]) => Range::wrapped((a.low + (1 << 32)) - b.high, (a.high + (1 << 32)) - b.low),
        (LowOp::IMul, [a, b]) => Range::wrapped(a.low * b.low, a.high * b.high),
        (LowOp::Shl, [a, b]) if b.low == b.high && b.low < 32 => Range::wrapped(a.low << b.low, a.high << b.low),
        (LowOp::ShrU, [a, b]) if b.low == b.high && b.low < 32 => Range { low: a.low >> b.low, high: a.high >> b.low },
        (LowOp::And, [a, b]) => Range { low: 0, high: a.high.min(b.high) },
        (LowOp::UMin, [a, b]) => Range { low: a.low.min(b.low), high: a.high.min(b.high) },
        (LowOp::UMax, [a, b]) => Range { low: a.low.max(b.low), high: a.high.max(b.high) },
        (LowOp::ULt, [a, b]) => Range::decided(a.high < b.low, a.low >= b.high),
        (LowOp::ULe, [a, b]) => Range::decided(a.high <= b.low, a.low > b.high),
        (LowOp::Eq, [a, b]) => Range::decided(a == b && a.low == a.high, a.high < b.low || b.high < a.low),
        (LowOp::Ne, [a, b]) => Range::decided(a.high < b.low || b.high < a.low, a == b && a.low == a.high),
        (LowOp::BAnd, [a, b]) => Range { low: a.low & b.low, high: a.high & b.high },
        (LowOp::BOr, [a, b]) => Range { low: a.low | b.low, high: a.high | b.high },
        (LowOp::BNot, [a]) => Range { low: 1 - a.high, high: 1 - a.low },
        (LowOp::Select, [_, a, b]) => Range { low: a.low.min(b.low), high: a.high.max(b.high) },
        _ => Range::ANY,
    }
}

/// Whether [`evaluate`] knows more of an operator's result than its type.
fn is_evaluated(op: &Op) -> bool {
    match op {
        Op::Const(Const::I32(_) | Const::Bool(_)) => true,
        Op::Low(LowOp::Immediate(word)) => !matches!(*word, immediate::FIRST | immediate::COUNT),
        Op::Low(op) => matches!(
            op,
            LowOp::IterationId
                | LowOp::IAdd
                | LowOp::ISub
                | LowOp::IMul
                | LowOp::Shl
                | LowOp::ShrU
                | LowOp::And
                | LowOp::UMin
                | LowOp::UMax
                | LowOp::ULt
                | LowOp::ULe
                | LowOp::Eq
                | LowOp::Ne
                | LowOp::BAnd
                | LowOp::BOr
                | LowOp::BNot
                | LowOp::Select
        ),
        _ => false,
    }
}

/// Finds the checks that the host can decide: the program, and the conditions' values in the function.
pub fn launch_checks(function: &Function) -> (LaunchChecks, Vec<Value>) {
    let mut defs: HashMap<Value, (Op, Vec<Value>)> = HashMap::new();
    let mut conditions = Vec::new();
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            match &stmt.kind {
                StmtKind::Op { op, args, result: Some(result) } if is_evaluated(op) => {
                    defs.insert(*result, (*op, args.clone()));
                }
                StmtKind::If { cond, then, .. } => {
                    let then = function.region(*then);
                    if then.stmts.is_empty() && matches!(then.exit, Exit::Trap(_)) {
                        conditions.push(*cond);
                    }
                }
                _ => {}
            }
        }
    }
    let mut program = Program { defs: &defs, checks: LaunchChecks::default(), numbers: HashMap::new() };
    let mut decided = Vec::new();
    for condition in conditions {
        if let Some(step) = program.step(condition) {
            program.checks.conditions.push(step);
            decided.push(condition);
        }
    }
    (program.checks, decided)
}

struct Program<'d> {
    defs: &'d HashMap<Value, (Op, Vec<Value>)>,
    checks: LaunchChecks,
    /// The step that computes a value; `None`: the host can't.
    numbers: HashMap<Value, Option<usize>>,
}

impl Program<'_> {
    /// The step that computes a value, made if need be. Operands are visited with a stack of their own, for chains of them
    /// may be long.
    fn step(&mut self, value: Value) -> Option<usize> {
        let mut todo = vec![value];
        while let Some(value) = todo.last().copied() {
            if self.numbers.contains_key(&value) {
                todo.pop();
                continue;
            }
            let Some((op, args)) = self.defs.get(&value).filter(|_| self.checks.steps.len() < MAX_STEPS) else {
                self.numbers.insert(value, None);
                continue;
            };
            let open: Vec<Value> = args.iter().filter(|arg| !self.numbers.contains_key(arg)).copied().collect();
            if !open.is_empty() {
                todo.extend(open);
                continue;
            }
            let args: Option<Vec<usize>> = args.iter().map(|arg| self.numbers[arg]).collect();
            let number = args.map(|args| {
                self.checks.steps.push(Step { op: *op, args });
                self.checks.steps.len() - 1
            });
            self.numbers.insert(value, number);
        }
        self.numbers[&value]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::eval::eval;

    /// Whatever the operands, the operator's value lies in the range.
    #[test]
    fn ranges_hold_what_operators_give() {
        use LowOp::*;
        let edges = [0, 1, 2, 3, 31, 32, 255, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
        let intervals: Vec<(u32, u32)> =
            edges.iter().flat_map(|a| edges.iter().map(|b| (*a, *b))).filter(|(a, b)| a <= b).collect();
        let mut seen = 0;
        for op in [IAdd, ISub, IMul, Shl, ShrU, And, UMin, UMax, ULt, ULe, Eq, Ne] {
            for (a, b) in &intervals {
                for (c, d) in &intervals {
                    let range = |low: u32, high: u32| Range { low: low.into(), high: high.into() };
                    let result = evaluate(&Op::Low(op), &[range(*a, *b), range(*c, *d)], &[], 0);
                    for (x, y) in [(a, c), (a, d), (b, c), (b, d)] {
                        let value = match eval(&Op::Low(op), &[Const::I32(*x), Const::I32(*y)]) {
                            Ok(Const::I32(value)) => u64::from(value),
                            Ok(Const::Bool(value)) => u64::from(value),
                            _ => continue, // A shift by too much.
                        };
                        seen += 1;
                        assert!(
                            result.low <= value && value <= result.high,
                            "{op:?} {x} {y}: {value} not in {result:?}"
                        );
                    }
                }
            }
        }
        assert!(seen > 100_000);
    }
}
