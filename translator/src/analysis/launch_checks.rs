//! Checks that the host can decide before a launch, for all its invocations at once.
//!
//! The condition of such a check depends on the launch's parameters and the iteration id alone, as when element `id` of
//! a buffer is accessed: whether a buffer holds as many elements as there are iterations is known before the
//! launch. So are words of small buffers to which only the host writes: programs hand over sizes in these. The conditions are kept
//! as a small program, which the host evaluates with the id as the interval of all ids, parameters of counted loops as that of all
//! iterations, and each arm of a selection for what its condition says. The launch runs a shader without those checks that can't fail.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

mod loops;
mod remainders;
mod selections;

use super::dataflow;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Const, Exit, Function, LowOp, Op, StmtKind, Type, Value};
use crate::options::{Access, Input, LINEAR, Shape, immediate};

/// Most steps of a program: evaluating it must cost nothing beside a launch.
const MAX_STEPS: usize = 256;

/// The checks of a kernel that the host can decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchChecks {
    steps: Vec<Step>,
    /// Steps that are conditions of checks.
    conditions: Vec<usize>,
}

/// One operator; operands are numbers of steps before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) args: Vec<usize>,
}

impl LaunchChecks {
    /// Whether there is nothing to decide.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether it can be evaluated: all that [`launch_checks`] gives can.
    pub(crate) fn is_sound(&self) -> bool {
        is_sound(&self.steps, self.conditions.iter().copied())
    }

    /// The checks that no invocation of a launch can fail.
    ///
    /// That others can is not said by this.
    pub fn proved(&self, launch: &LaunchState<'_>) -> Proved {
        let ranges = run(&self.steps, launch);
        let mut proved = if self.conditions.is_empty() { 0 } else { u64::MAX >> (64 - self.conditions.len().min(64)) };
        for (number, condition) in self.conditions.iter().enumerate() {
            if ranges[*condition] != Range::exactly(0) {
                proved &= !Proved::bit(number);
            }
        }
        Proved(proved)
    }
}

/// Checks of a kernel that the host has proved to hold in a launch, by their numbers in [`LaunchChecks`]; those from the 64th on
/// are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Proved(u64);

impl Proved {
    /// None of them.
    pub const NONE: Proved = Proved(0);
    /// All of them.
    pub const ALL: Proved = Proved(u64::MAX);

    /// Whether it is none.
    pub fn is_empty(self) -> bool {
        self == Proved::NONE
    }

    fn bit(number: usize) -> u64 {
        1 << number.min(63)
    }

    /// Whether a check is one of them.
    pub(crate) fn has(self, number: usize) -> bool {
        self.0 & Proved::bit(number) != 0
    }
}

/// Whether operands stand before the steps that take them, and what is asked for is there.
pub(super) fn is_sound(steps: &[Step], mut asked: impl Iterator<Item = usize>) -> bool {
    let are_before = |(number, step): (usize, &Step)| step.args.iter().all(|arg| *arg < number);
    steps.iter().enumerate().all(are_before) && asked.all(|step| step < steps.len())
}

/// What the host knows of a launch.
#[derive(Clone, Copy)]
pub struct LaunchState<'a> {
    /// The immediates' words, in which those of a single dispatch do not matter.
    pub immediates: &'a [u32],
    /// The words of the launch's state; `None` for one that is not known.
    pub inputs: &'a dyn Fn(Input) -> Option<u32>,
    /// A word of a slot's buffer to which no kernel may store, by its index; `None` for one that is not known.
    pub words: &'a dyn Fn(u32, u32) -> Option<u32>,
    /// Number of invocations.
    pub iterations: u32,
}

/// The range of each step's value.
fn run(steps: &[Step], launch: &LaunchState<'_>) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::with_capacity(steps.len());
    for step in steps {
        let args: Vec<Range> = step.args.iter().map(|arg| ranges[*arg]).collect();
        ranges.push(evaluate(&step.op, &args, launch));
    }
    ranges
}

/// The part of linear memory that a kernel can reach, as the host finds it before a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearReach {
    steps: Vec<Step>,
    /// Steps that are indices of accessed words, where all of linear memory is bound.
    words: Vec<usize>,
    /// Those of words that are stored, in whole or in part.
    stored: Vec<usize>,
    /// Some index is not known.
    anywhere: bool,
    /// Some index of a word that is stored is not known.
    stores_anywhere: bool,
    /// Whether the kernel may store to linear memory.
    pub stores: bool,
}

impl LinearReach {
    /// First byte, and the end, of what invocations of a launch can reach of a linear memory of `size` bytes; both are
    /// multiples of four, but for the end of a memory that is not.
    pub fn window(&self, launch: &LaunchState<'_>, size: u32) -> (u32, u32) {
        if self.anywhere {
            return (0, size);
        }
        let ranges = self.ranges(launch);
        let words = self.words.iter().map(|word| ranges[*word].plain());
        let (low, high) = words.fold((u64::MAX, 0), |(low, high), r| (r.low.min(low), (r.high + 1).max(high)));
        let end = (high * 4).min(size.into());
        ((low.saturating_mul(4)).min(end) as u32, end as u32)
    }

    /// Whether no invocation of a launch can store to the words at these addresses.
    ///
    /// False is no proof of the contrary.
    pub fn spares(&self, launch: &LaunchState<'_>, words: &[u32]) -> bool {
        if words.is_empty() || !self.stores {
            return true;
        }
        if self.stores_anywhere {
            return false;
        }
        let ranges = self.ranges(launch);
        self.stored.iter().map(|word| ranges[*word].plain()).all(|stored| {
            let apart = |address: u64| address + 4 <= stored.low * 4 || address >= (stored.high + 1) * 4;
            words.iter().all(|address| apart((*address).into()))
        })
    }

    /// Whether it can be evaluated: all that [`linear_reach`] gives can.
    pub(crate) fn is_sound(&self) -> bool {
        is_sound(&self.steps, self.words.iter().chain(&self.stored).copied())
    }

    /// The ranges of all steps, where all of linear memory is bound.
    fn ranges(&self, launch: &LaunchState<'_>) -> Vec<Range> {
        let all_bound = |input: Input| if input == Input::WindowStart { Some(0) } else { (launch.inputs)(input) };
        run(&self.steps, &LaunchState { inputs: &all_bound, ..*launch })
    }
}

/// The values that an `I32` can have, both ends included, modulo 2^32: `low` is a number of 32 bits, and `high` less than 2^32 above
/// it. A `Bool` is 0 or 1.
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

    /// A result as if integers had no end, taken modulo 2^32.
    fn wrapped(low: u64, high: u64) -> Range {
        if high - low > u64::from(u32::MAX) {
            return Range::ANY;
        }
        let rounds = low >> 32 << 32;
        Range { low: low - rounds, high: high - rounds }
    }

    /// The same as numbers of 32 bits: any, if it wraps.
    fn plain(self) -> Range {
        if self.high > u64::from(u32::MAX) { Range::ANY } else { self }
    }

    /// Whether no value is a negative number, taken as signed.
    fn is_not_negative(self) -> bool {
        self.high <= i32::MAX as u64
    }

    /// The least and the greatest value, taken as signed.
    fn as_signed(self) -> (i64, i64) {
        let low = i64::from(self.low as u32 as i32);
        let high = low + (self.high - self.low) as i64;
        if high <= i32::MAX.into() { (low, high) } else { (i32::MIN.into(), i32::MAX.into()) }
    }

    /// Signed numbers of 32 bits, both ends included.
    fn signed(low: i64, high: i64) -> Range {
        let start = u64::from(low as u32);
        Range { low: start, high: start + (high - low) as u64 }
    }

    fn decided(always: bool, never: bool) -> Range {
        match (always, never) {
            (true, _) => Range::exactly(1),
            (_, true) => Range::exactly(0),
            _ => Range::EITHER,
        }
    }
}

fn evaluate(op: &Op, args: &[Range], launch: &LaunchState<'_>) -> Range {
    let low = match op {
        Op::Const(Const::I32(value)) => return Range::exactly(*value),
        Op::Const(Const::Bool(value)) => return Range::exactly((*value).into()),
        Op::Low(low) => low,
        _ => return Range::ANY,
    };
    let end = 1u64 << 33;
    match (low, args) {
        (LowOp::IAdd, [a, b]) => return Range::wrapped(a.low + b.low, a.high + b.high),
        (LowOp::ISub, [a, b]) => return Range::wrapped(a.low + end - b.high, a.high + end - b.low),
        _ => {}
    }
    if let (LowOp::SMin | LowOp::SMax | LowOp::SLt | LowOp::SLe, [a, b]) = (low, args) {
        let ((a_low, a_high), (b_low, b_high)) = (a.as_signed(), b.as_signed());
        return match low {
            LowOp::SMin => Range::signed(a_low.min(b_low), a_high.min(b_high)),
            LowOp::SMax => Range::signed(a_low.max(b_low), a_high.max(b_high)),
            LowOp::SLt => Range::decided(a_high < b_low, a_low >= b_high),
            _ => Range::decided(a_high <= b_low, a_low > b_high),
        };
    }
    let args: SmallVec<[Range; 3]> = args.iter().map(|arg| arg.plain()).collect();
    match (low, &args[..]) {
        (LowOp::IterationId, []) => Range { low: 0, high: u64::from(launch.iterations.saturating_sub(1)) },
        (LowOp::Immediate(word), []) => {
            launch.immediates.get(*word as usize).map_or(Range::ANY, |w| Range::exactly(*w))
        }
        (LowOp::LoadWord { slot }, [index]) if index.low == index.high => {
            (launch.words)(*slot, index.low as u32).map_or(Range::ANY, Range::exactly)
        }
        (LowOp::Input(input), []) => (launch.inputs)(*input).map_or(Range::ANY, Range::exactly),
        (LowOp::IMul, [a, b]) => Range::wrapped(a.low * b.low, a.high * b.high),
        (LowOp::Shl, [a, b]) if b.low == b.high && b.low < 32 => Range::wrapped(a.low << b.low, a.high << b.low),
        (LowOp::ShrU, [a, b]) if b.low == b.high && b.low < 32 => Range { low: a.low >> b.low, high: a.high >> b.low },
        (LowOp::And, [a, b]) if a.low == a.high && b.low == b.high => Range::exactly((a.low & b.low) as u32),
        (LowOp::And, [a, b]) => Range { low: 0, high: a.high.min(b.high) },
        // No sum of bits that both have is less.
        (LowOp::Or, [a, b]) => Range { low: a.low.max(b.low), high: (a.high + b.high).min(u32::MAX.into()) },
        // As the ends of counts are made comparable (`trip_counts`).
        (LowOp::Xor, [a, b]) if *b == Range::exactly(0) => *a,
        (LowOp::Xor, [a, b]) if *b == Range::exactly(1 << 31) => Range::wrapped(a.low + b.low, a.high + b.low),
        (LowOp::Xor, [a, b]) if *b == Range::exactly(u32::MAX) => Range { low: b.low - a.high, high: b.low - a.low },
        (LowOp::Xor, [a, b]) if *b == Range::exactly(u32::MAX >> 1) => {
            Range::wrapped((1 << 32) + b.low - a.high, (1 << 32) + b.low - a.low)
        }
        (LowOp::UDiv, [a, b]) if b.low > 0 => Range { low: a.low / b.high, high: a.high / b.low },
        (LowOp::URem, [a, b]) if b.low > 0 => Range { low: 0, high: a.high.min(b.high - 1) },
        (LowOp::SDiv, [a, b]) if b.low > 0 && a.is_not_negative() && b.is_not_negative() => {
            Range { low: a.low / b.high, high: a.high / b.low }
        }
        (LowOp::SRem, [a, b]) if b.low > 0 && a.is_not_negative() && b.is_not_negative() => {
            Range { low: 0, high: a.high.min(b.high - 1) }
        }
        (LowOp::UMin, [a, b]) => Range { low: a.low.min(b.low), high: a.high.min(b.high) },
        (LowOp::UMax, [a, b]) => Range { low: a.low.max(b.low), high: a.high.max(b.high) },
        (LowOp::ULt, [a, b]) => Range::decided(a.high < b.low, a.low >= b.high),
        (LowOp::ULe, [a, b]) => Range::decided(a.high <= b.low, a.low > b.high),
        (LowOp::Eq, [a, b]) => Range::decided(a == b && a.low == a.high, a.high < b.low || b.high < a.low),
        (LowOp::Ne, [a, b]) => Range::decided(a.high < b.low || b.high < a.low, a == b && a.low == a.high),
        (LowOp::BAnd, [a, b]) => Range { low: a.low & b.low, high: a.high & b.high },
        (LowOp::BOr, [a, b]) => Range { low: a.low | b.low, high: a.high | b.high },
        // A condition that is not evaluated may be anything.
        (LowOp::BNot, [a]) => Range { low: 1 - a.high.min(1), high: 1 - a.low.min(1) },
        (LowOp::Select, [cond, a, _]) if *cond == Range::exactly(1) => *a,
        (LowOp::Select, [cond, _, b]) if *cond == Range::exactly(0) => *b,
        (LowOp::Select, [_, a, b]) => Range { low: a.low.min(b.low), high: a.high.max(b.high) },
        _ => Range::ANY,
    }
}

/// Whether [`evaluate`] knows more of an operator's result than its type.
fn is_evaluated(op: &Op) -> bool {
    match op {
        Op::Const(Const::I32(_) | Const::Bool(_)) => true,
        Op::Low(LowOp::Immediate(word)) => *word > immediate::TRAPS,
        Op::Low(op) => matches!(
            op,
            LowOp::IterationId
                | LowOp::Input(_)
                | LowOp::IAdd
                | LowOp::ISub
                | LowOp::IMul
                | LowOp::Shl
                | LowOp::ShrU
                | LowOp::And
                | LowOp::Or
                | LowOp::Xor
                | LowOp::UDiv
                | LowOp::URem
                | LowOp::SDiv
                | LowOp::SRem
                | LowOp::UMin
                | LowOp::UMax
                | LowOp::SMin
                | LowOp::SMax
                | LowOp::SLt
                | LowOp::SLe
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

/// Whether no kernel may store to a slot's buffer.
fn is_read_only(shape: &Shape, slot: u32) -> bool {
    let mut same = shape.buffers.iter().filter(|buffer| buffer.slot == slot).peekable();
    same.peek().is_some() && same.all(|buffer| buffer.access == Access::Read)
}

/// What computes a value.
type Defs = HashMap<Value, (Op, Vec<Value>)>;

/// Finds the checks that the host can decide: the program, and the conditions' values in the function. The function is left as
/// it is.
pub fn launch_checks(function: &mut Function, shape: &Shape) -> (LaunchChecks, Vec<Value>) {
    let mut defs = Defs::new();
    let is_known = |op: &Op| match op {
        Op::Low(LowOp::LoadWord { slot }) => is_read_only(shape, *slot),
        _ => is_evaluated(op),
    };
    let mut conditions = Vec::new();
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            match &stmt.kind {
                StmtKind::Op { op, args, result: Some(result) } if is_known(op) => {
                    defs.insert(*result, (*op, args.to_vec()));
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
    if !conditions.is_empty() {
        defining(function, |function| {
            remainders::define(function, &mut defs);
            loops::define(function, &mut defs);
            selections::define(function, &mut defs);
        });
    }
    let mut program = Program::new(&defs, false);
    let (mut checks, mut decided) = (Vec::new(), Vec::new());
    for condition in conditions {
        if let Some(step) = program.step(condition) {
            checks.push(step);
            decided.push(condition);
        }
    }
    (LaunchChecks { steps: program.steps, conditions: checks }, decided)
}

/// A new value, for the host alone, of the type of another.
fn define(function: &mut Function, defs: &mut Defs, like: Value, op: Op, args: Vec<Value>) -> Value {
    let value = function.new_value(function.ty(like));
    defs.insert(value, (op, args));
    value
}

/// Runs what defines values for the host alone: they have numbers behind those of the function's values, which has none of them.
fn defining(function: &mut Function, define: impl FnOnce(&mut Function)) {
    let values = function.values.len();
    define(function);
    function.values.truncate(values);
}

/// Finds what a lowered kernel can reach of linear memory; `None` if it does not access it.
/// The function is left as it is.
pub fn linear_reach(function: &mut Function) -> Option<LinearReach> {
    let mut defs = Defs::new();
    let mut indices = Vec::new();
    let mut reach = LinearReach::default();
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            let StmtKind::Op { op, args, result } = &stmt.kind else { continue };
            if let (Some(result), true) = (result, is_evaluated(op)) {
                defs.insert(*result, (*op, args.to_vec()));
            }
            match op {
                Op::Low(LowOp::LoadWord { slot: LINEAR }) => indices.push((args[0], false, false)),
                Op::Low(LowOp::Atomic { slot: LINEAR, op, ty }) => {
                    reach.stores |= op.stores();
                    indices.push((args[0], op.stores(), *ty == Type::I64));
                }
                Op::Low(low) if low.stored_slot() == Some(LINEAR) => {
                    reach.stores = true;
                    indices.push((args[0], true, false));
                }
                _ => {}
            }
        }
    }
    if indices.is_empty() {
        return None;
    }
    defining(function, |function| loops::define(function, &mut defs));
    let mut program = Program::new(&defs, true);
    for (index, stores, is_double) in indices {
        match program.step(index) {
            Some(step) => {
                let second = is_double.then(|| program.word_behind(step));
                reach.words.extend([step].into_iter().chain(second));
                reach.stored.extend([step].into_iter().chain(second).filter(|_| stores));
            }
            None => {
                reach.anywhere = true;
                reach.stores_anywhere |= stores;
            }
        }
    }
    reach.steps = program.steps;
    Some(reach)
}

struct Program<'d> {
    defs: &'d Defs,
    /// Whether what the host can't compute may be any number.
    any: bool,
    steps: Vec<Step>,
    /// The step that may be any number.
    anything: Option<usize>,
    /// The step that computes a value; `None`: the host can't.
    numbers: HashMap<Value, Option<usize>>,
}

/// An operator of which [`evaluate`] knows nothing.
const ANYTHING: Op = Op::Low(LowOp::LoadStack);

/// Whether an operator's result is bounded by one operand whatever the other is, as that of `x & 255`.
fn bounds_anything(op: &Op) -> bool {
    use LowOp::*;
    matches!(op, Op::Low(And | URem | UDiv | ShrU | UMin | SMin | SMax))
}

impl<'d> Program<'d> {
    fn new(defs: &'d Defs, any: bool) -> Self {
        Program { defs, any, steps: Vec::new(), anything: None, numbers: HashMap::new() }
    }

    /// The index of the word behind the one with that index.
    fn word_behind(&mut self, step: usize) -> usize {
        let one = self.push(Op::Const(Const::I32(1)), Vec::new());
        self.push(Op::Low(LowOp::IAdd), vec![step, one])
    }

    fn anything(&mut self) -> usize {
        if let Some(step) = self.anything {
            return step;
        }
        let step = self.push(ANYTHING, Vec::new());
        self.anything = Some(step);
        step
    }

    fn push(&mut self, op: Op, args: Vec<usize>) -> usize {
        self.steps.push(Step { op, args });
        self.steps.len() - 1
    }

    /// The step that computes a value, made if need be. Operands are visited with a stack of their own, for chains of them
    /// may be long.
    fn step(&mut self, value: Value) -> Option<usize> {
        let mut todo = vec![value];
        while let Some(value) = todo.last().copied() {
            if self.numbers.contains_key(&value) {
                todo.pop();
                continue;
            }
            let defs = self.defs;
            let Some((op, args)) = defs.get(&value).filter(|_| self.steps.len() < MAX_STEPS) else {
                let number = (self.any && self.steps.len() < MAX_STEPS).then(|| self.anything());
                self.numbers.insert(value, number);
                continue;
            };
            let open: Vec<Value> = args.iter().filter(|arg| !self.numbers.contains_key(arg)).copied().collect();
            if !open.is_empty() {
                todo.extend(open);
                continue;
            }
            let mut known = |arg| self.numbers[arg].or_else(|| bounds_anything(op).then(|| self.anything()));
            let args: Option<Vec<usize>> = args.iter().map(&mut known).collect();
            let number = args.map(|args| self.push(*op, args));
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
        let launch = LaunchState { immediates: &[], inputs: &|_| None, words: &|_, _| None, iterations: 0 };
        let (numbers, conditions) = (
            [IAdd, ISub, IMul, Shl, ShrU, And, Or, Xor, UDiv, URem, SDiv, SRem, UMin, UMax, SMin, SMax],
            [ULt, ULe, SLt, SLe, Eq, Ne],
        );
        for op in numbers.into_iter().chain(conditions) {
            for (a, b) in &intervals {
                for (c, d) in &intervals {
                    let range = |low: u32, high: u32| Range { low: low.into(), high: high.into() };
                    let result = evaluate(&Op::Low(op), &[range(*a, *b), range(*c, *d)], &launch);
                    for (x, y) in [(a, c), (a, d), (b, c), (b, d)] {
                        let value = match eval(&Op::Low(op), &[Const::I32(*x), Const::I32(*y)]) {
                            Ok(Const::I32(value)) => u64::from(value),
                            Ok(Const::Bool(value)) => u64::from(value),
                            _ => continue, // A shift by too much.
                        };
                        seen += 1;
                        assert!(
                            [value, value + (1 << 32)].iter().any(|v| (result.low..=result.high).contains(v)),
                            "{op:?} {x} {y}: {value} not in {result:?}"
                        );
                    }
                }
            }
        }
        assert!(seen > 100_000);
    }
}
