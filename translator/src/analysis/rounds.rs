//! How many rounds the invocations of a launch have, as the host finds it before the launch: what a kernel whose loops are
//! flattened ([`passes::flatten`](crate::passes)) is launched for.
//!
//! The number depends on the iteration id, as where the last block of several is shorter. It is kept as a program over
//! the launch's parameters, which the host evaluates for intervals of ids. In an interval a value is a number, or one that
//! grows by as much from each id to the next, and then comparisons of two such values are mostly decided. Where one is not,
//! the interval is cut in two: a bound that all ids but the last keep is found with as many cuts as their number has bits.

use serde::{Deserialize, Serialize};

use super::launch_checks::{LaunchState, Step, is_sound};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::eval::eval;
use crate::ir::{Args, Const, Function, LowOp, Op, Stmt, StmtKind, Value};
use crate::options::{self, immediate};

/// Most steps of a program.
const MAX_STEPS: usize = 256;
/// Most intervals that are looked at: finding the number must cost little beside a launch.
const MAX_INTERVALS: u32 = 256;
/// More rounds of an invocation than this are never counted.
const MOST_ROUNDS: u32 = 1 << 31;

/// What the host needs to know to launch a kernel with flattened loops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    steps: Vec<Step>,
    paths: Vec<Path>,
    /// Operators of a round, about, as fuel counts them.
    cost: u32,
    /// How far the accesses of two consecutive rounds are apart at most, in bytes.
    stride: u32,
}

/// A way through the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Path {
    /// Steps that are conditions, and what they are on this way.
    conditions: Vec<(usize, bool)>,
    /// Steps that are numbers of rounds.
    loops: Vec<usize>,
    /// Rounds besides.
    more: u32,
}

impl Rounds {
    /// The most rounds of any invocation of a launch; `None` where the host can't tell, where they are so many that two of
    /// one invocation might meet, or where an invocation with so many operators might run out of this fuel.
    pub fn most(&self, launch: &LaunchState<'_>, fuel: Option<u32>) -> Option<u32> {
        let last = launch.iterations.checked_sub(1)?;
        let (mut todo, mut most) = (vec![(0, last)], 1);
        for looked_at in 0..MAX_INTERVALS {
            let Some((first, last)) = todo.pop() else { break };
            match self.within(launch, first, last) {
                Found::Rounds(rounds) => most = most.max(rounds),
                Found::AtMost(rounds) if looked_at >= MAX_INTERVALS / 2 => most = most.max(rounds),
                Found::AtMost(_) | Found::Undecided => {
                    let middle = first + (last - first) / 2;
                    todo.extend([(first, middle), (middle + 1, last)]);
                }
                Found::Unknown => return None,
            }
        }
        let is_apart = most.checked_mul(self.stride.into()).is_some_and(|bytes| bytes < 1 << 31);
        let work = most.saturating_mul(self.cost.into());
        let is_cheap = fuel.is_none_or(|fuel| work <= u64::from(fuel) / 2);
        (todo.is_empty() && is_apart && is_cheap).then(|| u32::try_from(most).ok()).flatten()
    }

    fn within(&self, launch: &LaunchState<'_>, first: u32, last: u32) -> Found {
        let ids = Ids { first, length: last - first };
        let mut values: Vec<Known> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let args: Vec<Known> = step.args.iter().map(|arg| values[*arg]).collect();
            values.push(ids.evaluate(&step.op, &args, launch));
        }
        let (mut most, mut loose, mut unknown) = (0, false, false);
        for path in &self.paths {
            let (mut open, mut never) = (false, false);
            for (condition, holds) in &path.conditions {
                match values[*condition] {
                    Known::Exactly(Const::Bool(value)) => never |= value != *holds,
                    Known::Opaque => {}
                    _ => open = true,
                }
            }
            if never {
                continue;
            }
            let mut rounds = u64::from(path.more);
            for number in &path.loops {
                match ids.bounds(values[*number]) {
                    Some((_, high)) if high < MOST_ROUNDS => rounds += u64::from(high),
                    _ => unknown = true,
                }
                open |= matches!(values[*number], Known::Between(..));
            }
            most = most.max(rounds);
            loose |= open;
        }
        match (unknown, ids.length > 0) {
            (true, true) => Found::Undecided,
            (true, false) => Found::Unknown,
            (false, true) if loose => Found::AtMost(most),
            (false, _) => Found::Rounds(most),
        }
    }

    /// Whether it can be evaluated: all that the pass gives can.
    pub(crate) fn is_sound(&self) -> bool {
        let asked = self
            .paths
            .iter()
            .flat_map(|path| path.conditions.iter().map(|(condition, _)| *condition).chain(path.loops.iter().copied()));
        is_sound(&self.steps, asked)
    }
}

/// Whether a lowered function is a flattened kernel.
pub fn is_flat(function: &Function) -> bool {
    let is_one = |stmt: &Stmt| {
        let rounds = options::Input::Rounds;
        matches!(&stmt.kind, StmtKind::Op { op: Op::Low(LowOp::Input(input)), .. } if *input == rounds)
    };
    function.region(function.body).stmts.iter().any(is_one)
}

/// What comes of an interval.
enum Found {
    Rounds(u64),
    /// Parts of it may tell that there are fewer.
    AtMost(u64),
    /// Parts of it may tell.
    Undecided,
    Unknown,
}

/// What is known of a value in an interval of ids.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Exactly(Const),
    /// An `I32`: that of the first id, and how much each next one's is more, modulo 2^32.
    Line(u32, u32),
    /// An `I32` that is in between, both ends included.
    Between(u32, u32),
    /// In a shorter interval more may be known.
    Undecided,
    /// The host can't know it.
    Opaque,
}

/// An interval of ids.
#[derive(Clone, Copy)]
struct Ids {
    first: u32,
    /// The last one less the first.
    length: u32,
}

impl Ids {
    fn evaluate(self, op: &Op, args: &[Known], launch: &LaunchState<'_>) -> Known {
        let exactly = |word: Option<u32>| word.map_or(Known::Opaque, |word| Known::Exactly(Const::I32(word)));
        match op {
            Op::Const(value) => return Known::Exactly(*value),
            Op::Low(LowOp::IterationId) => return self.line(self.first, 1),
            Op::Low(LowOp::Immediate(word)) => return exactly(launch.immediates.get(*word as usize).copied()),
            Op::Low(LowOp::Input(input)) => return exactly((launch.inputs)(*input)),
            _ => {}
        }
        let exact: Option<Vec<Const>> = args.iter().map(|arg| exact(*arg)).collect();
        match (op, exact) {
            _ if args.contains(&Known::Opaque) => Known::Opaque,
            (_, Some(args)) if !args.is_empty() => eval(op, &args).map_or(Known::Opaque, Known::Exactly),
            (Op::Low(op), None) => self.low(*op, args),
            _ => Known::Opaque,
        }
    }

    fn line(self, first: u32, step: u32) -> Known {
        if self.length == 0 || step == 0 { Known::Exactly(Const::I32(first)) } else { Known::Line(first, step) }
    }

    /// A value of `I32` as one that grows evenly.
    fn as_line(self, value: Known) -> Option<(u32, u32)> {
        match value {
            Known::Exactly(Const::I32(value)) => Some((value, 0)),
            Known::Line(first, step) => Some((first, step)),
            _ => None,
        }
    }

    /// The least and the greatest number that an `I32` is.
    fn bounds(self, value: Known) -> Option<(u32, u32)> {
        match value {
            Known::Exactly(Const::I32(value)) => Some((value, value)),
            Known::Between(low, high) => Some((low, high)),
            Known::Line(first, step) => {
                let last = i64::from(first) + i64::from(step as i32) * i64::from(self.length);
                let last = u32::try_from(last).ok()?;
                Some((first.min(last), first.max(last)))
            }
            _ => None,
        }
    }

    fn low(self, op: LowOp, args: &[Known]) -> Known {
        let lines: Option<Vec<(u32, u32)>> = args.iter().map(|arg| self.as_line(*arg)).collect();
        if let Some([(a, of_a), (b, of_b)]) = lines.as_deref().and_then(|lines| <[_; 2]>::try_from(lines).ok()) {
            match (op, of_a, of_b) {
                (LowOp::IAdd, ..) => return self.line(a.wrapping_add(b), of_a.wrapping_add(of_b)),
                (LowOp::ISub, ..) => return self.line(a.wrapping_sub(b), of_a.wrapping_sub(of_b)),
                (LowOp::IMul, _, 0) => return self.line(a.wrapping_mul(b), of_a.wrapping_mul(b)),
                (LowOp::IMul, 0, _) => return self.line(a.wrapping_mul(b), of_b.wrapping_mul(a)),
                (LowOp::Shl, _, 0) if b < 32 => return self.line(a << b, of_a << b),
                (LowOp::Xor, _, 0) => {
                    // The highest bit is a sum; all bits are a difference.
                    match b {
                        0 => return self.line(a, of_a),
                        0x8000_0000 => return self.line(a ^ b, of_a),
                        0x7fff_ffff | 0xffff_ffff => return self.line(a ^ b, of_a.wrapping_neg()),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        self.decided(op, args).unwrap_or_else(|| self.between(op, args))
    }

    /// What a comparison decides.
    fn decided(self, op: LowOp, args: &[Known]) -> Option<Known> {
        let truth = |holds| Known::Exactly(Const::Bool(holds));
        match (op, args) {
            (LowOp::ULt, [a, b]) => self.is_less(*a, *b).map(truth),
            (LowOp::ULe, [a, b]) => self.is_less(*b, *a).map(|less| truth(!less)),
            (LowOp::SLt, [a, b]) => self.is_less(self.flipped(*a)?, self.flipped(*b)?).map(truth),
            (LowOp::SLe, [a, b]) => self.is_less(self.flipped(*b)?, self.flipped(*a)?).map(|less| truth(!less)),
            (LowOp::Eq, [a, b]) => self.is_equal(*a, *b).map(truth),
            (LowOp::Ne, [a, b]) => self.is_equal(*a, *b).map(|equal| truth(!equal)),
            (LowOp::UMin, [a, b]) => self.is_less(*a, *b).map(|less| if less { *a } else { *b }),
            (LowOp::UMax, [a, b]) => self.is_less(*a, *b).map(|less| if less { *b } else { *a }),
            (LowOp::SMin, [a, b]) => {
                self.is_less(self.flipped(*a)?, self.flipped(*b)?).map(|less| if less { *a } else { *b })
            }
            (LowOp::SMax, [a, b]) => {
                self.is_less(self.flipped(*a)?, self.flipped(*b)?).map(|less| if less { *b } else { *a })
            }
            (LowOp::Select, [Known::Exactly(Const::Bool(first)), a, b]) => Some(if *first { *a } else { *b }),
            (LowOp::BAnd, [a, b]) if [a, b].contains(&&truth(false)) => Some(truth(false)),
            (LowOp::BOr, [a, b]) if [a, b].contains(&&truth(true)) => Some(truth(true)),
            _ => None,
        }
    }

    /// Where a result lies that is not decided.
    fn between(self, op: LowOp, args: &[Known]) -> Known {
        let bounds = |arg: usize| self.bounds(args[arg]);
        let found = match op {
            LowOp::Select => bounds(1).zip(bounds(2)).map(|((a, b), (c, d))| (a.min(c), b.max(d))),
            LowOp::UMin | LowOp::UMax => bounds(0).zip(bounds(1)).map(|((a, b), (c, d))| (a.min(c), b.max(d))),
            LowOp::And => {
                let high = [bounds(0), bounds(1)].into_iter().flatten().map(|(_, high)| high).min();
                high.map(|high| (0, high))
            }
            LowOp::ShrU => match (bounds(0), args[1]) {
                (Some((low, high)), Known::Exactly(Const::I32(amount))) if amount < 32 => {
                    Some((low >> amount, high >> amount))
                }
                _ => None,
            },
            _ => None,
        };
        found.map_or(Known::Undecided, |(low, high)| Known::Between(low, high))
    }

    /// Signed numbers as unsigned ones in the same order.
    fn flipped(self, value: Known) -> Option<Known> {
        let (first, step) = self.as_line(value)?;
        Some(self.line(first ^ 0x8000_0000, step))
    }

    /// Whether one is less than the other throughout, or never.
    fn is_less(self, a: Known, b: Known) -> Option<bool> {
        let ((low, high), (other_low, other_high)) = (self.bounds(a)?, self.bounds(b)?);
        if high < other_low {
            return Some(true);
        }
        if low >= other_high {
            return Some(false);
        }
        // Neither wraps around, so their difference grows evenly: what it is at both ends it is in between.
        let ((a, of_a), (b, of_b)) = (self.as_line(a)?, self.as_line(b)?);
        let at = |first: u32, step: u32, id: u32| i64::from(first) + i64::from(step as i32) * i64::from(id);
        let (at_first, at_last) = (a < b, at(a, of_a, self.length) < at(b, of_b, self.length));
        (at_first == at_last).then_some(at_first)
    }

    fn is_equal(self, a: Known, b: Known) -> Option<bool> {
        if let (Known::Line(a, of_a), Known::Line(b, of_b)) = (a, b)
            && of_a == of_b
        {
            return Some(a == b);
        }
        let less = self.is_less(a, b);
        let more = self.is_less(b, a);
        (less == Some(true) || more == Some(true)).then_some(false)
    }
}

fn exact(value: Known) -> Option<Const> {
    match value {
        Known::Exactly(value) => Some(value),
        _ => None,
    }
}

/// Makes the program.
pub(crate) struct Builder<'d> {
    /// The operators that define values.
    defs: &'d HashMap<Value, (Op, Args)>,
    /// The iteration id.
    id: Value,
    steps: Vec<Step>,
    numbers: HashMap<(Op, Vec<usize>), usize>,
    paths: Vec<Path>,
}

/// An operator that the host knows nothing of.
const OPAQUE: Op = Op::Low(LowOp::LoadStack);

impl<'d> Builder<'d> {
    pub fn new(defs: &'d HashMap<Value, (Op, Args)>, id: Value) -> Self {
        Builder { defs, id, steps: Vec::new(), numbers: HashMap::new(), paths: Vec::new() }
    }

    /// Adds a way through the kernel on which these conditions hold or do not, these are numbers of rounds, and there are so
    /// many more. `bound` has the values that others are on this way. `None` where the program gets too long.
    pub fn add(
        &mut self,
        conditions: &[(Value, bool)],
        (loops, more): (&[Value], u32),
        bound: &HashMap<Value, Value>,
    ) -> Option<()> {
        let mut known = HashMap::new();
        let conditions = conditions.iter();
        let conditions = conditions.map(|(value, holds)| Some((self.step(*value, bound, &mut known)?, *holds)));
        let conditions = conditions.collect::<Option<Vec<_>>>()?;
        let loops = loops.iter().map(|value| self.step(*value, bound, &mut known)).collect::<Option<Vec<_>>>()?;
        self.paths.push(Path { conditions, loops, more });
        Some(())
    }

    pub fn finish(self, cost: u32, stride: u32) -> Rounds {
        Rounds { steps: self.steps, paths: self.paths, cost, stride }
    }

    fn step(
        &mut self,
        value: Value,
        bound: &HashMap<Value, Value>,
        known: &mut HashMap<Value, usize>,
    ) -> Option<usize> {
        let mut todo = vec![value];
        while let Some(value) = todo.last().copied() {
            if known.contains_key(&value) {
                todo.pop();
                continue;
            }
            if let Some(other) = bound.get(&value) {
                match known.get(other) {
                    Some(step) => _ = known.insert(value, *step),
                    None => todo.push(*other),
                }
                continue;
            }
            let defs = self.defs;
            let (op, args) = match defs.get(&value) {
                _ if value == self.id => (Op::Low(LowOp::IterationId), &[][..]),
                Some((op, args)) if is_evaluated(op) => (*op, &args[..]),
                _ => (OPAQUE, &[][..]),
            };
            let open: Vec<Value> = args.iter().filter(|arg| !known.contains_key(arg)).copied().collect();
            if !open.is_empty() {
                todo.extend(open);
                continue;
            }
            let args = args.iter().map(|arg| known[arg]).collect();
            let step = self.push(op, args)?;
            known.insert(value, step);
        }
        known.get(&value).copied()
    }

    fn push(&mut self, op: Op, args: Vec<usize>) -> Option<usize> {
        if let Some(number) = self.numbers.get(&(op, args.clone())) {
            return Some(*number);
        }
        if self.steps.len() >= MAX_STEPS {
            return None;
        }
        self.steps.push(Step { op, args: args.clone() });
        self.numbers.insert((op, args), self.steps.len() - 1);
        Some(self.steps.len() - 1)
    }
}

/// Operators on integers that mean the same everywhere.
fn is_evaluated(op: &Op) -> bool {
    use LowOp::*;
    match op {
        Op::Const(Const::I32(_) | Const::I64(_) | Const::Bool(_)) => true,
        Op::Low(Immediate(word)) => *word > immediate::TRAPS,
        Op::Low(Input(input)) => *input != options::Input::WindowStart,
        Op::Low(op) => matches!(
            op,
            IAdd | ISub
                | IMul
                | UDiv
                | SDiv
                | URem
                | SRem
                | And
                | Or
                | Xor
                | Shl
                | ShrU
                | ShrS
                | UMin
                | UMax
                | SMin
                | SMax
                | FindMsb
                | FindLsb
                | BitCount
                | Eq
                | Ne
                | ULt
                | ULe
                | SLt
                | SLe
                | Wrap
                | ExtendU
                | ExtendS
                | Pack64
                | High
                | BAnd
                | BOr
                | BNot
                | Select
        ),
        _ => false,
    }
}
