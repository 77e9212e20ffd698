//! Where rounds access buffers: places that grow evenly with the round's number, so that no two rounds meet.

use std::collections::BTreeMap;

use super::Group;
use crate::analysis::trip_counts::below;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Args, Const, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Value};

/// Most operators that a place is looked for in.
const MAX_OPERATORS: u32 = 64;
/// Most accesses of a buffer in one round.
const MAX_ACCESSES: usize = 256;
/// Places of one round, and the ends of one loop and the start of the next, are never further apart.
const FAR: i64 = 1 << 20;
/// Bytes of a word, the least that an access is taken for.
const WORD: i64 = 4;

/// A sum of values, each some times, and a number; all modulo 2^32.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sum {
    terms: BTreeMap<Value, u32>,
    constant: u32,
}

impl Sum {
    fn add(&mut self, other: &Sum, factor: u32) {
        for (value, times) in &other.terms {
            let sum = self.terms.entry(*value).or_default();
            *sum = sum.wrapping_add(times.wrapping_mul(factor));
        }
        self.terms.retain(|_, times| *times != 0);
        self.constant = self.constant.wrapping_add(other.constant.wrapping_mul(factor));
    }

    /// Its number, if that is all there is.
    fn number(&self) -> Option<i64> {
        self.terms.is_empty().then_some(i64::from(self.constant as i32))
    }
}

/// What values are on one way through the kernel.
pub(super) struct Known<'a> {
    pub function: &'a Function,
    pub defs: &'a HashMap<Value, (Op, Args)>,
    /// What constructs give.
    pub bound: &'a HashMap<Value, Value>,
    /// See [`Flattener`](super::Flattener).
    pub distances: &'a HashMap<Value, (Value, u32)>,
    /// Numbers of rounds, which are taken as they are.
    pub lefts: &'a HashSet<Value>,
}

impl Known<'_> {
    fn constant(&self, value: Value) -> Option<u32> {
        match self.defs.get(&value) {
            Some((Op::Const(Const::I32(number)), _)) => Some(*number),
            _ => None,
        }
    }

    fn sum(&self, value: Value) -> Sum {
        let mut sum = Sum::default();
        let mut todo = vec![(value, 1u32)];
        let mut left = MAX_OPERATORS;
        while let Some((value, factor)) = todo.pop() {
            if let (Some(other), false) = (self.bound.get(&value), self.lefts.contains(&value)) {
                todo.push((*other, factor));
                continue;
            }
            left = left.saturating_sub(1);
            match self.defs.get(&value) {
                _ if self.lefts.contains(&value) || left == 0 => sum.add(&Sum::of(value), factor),
                Some((Op::Const(Const::I32(number)), _)) => {
                    sum.constant = sum.constant.wrapping_add(number.wrapping_mul(factor));
                }
                Some((Op::Low(op), args)) => match (op, &args[..]) {
                    (LowOp::IAdd, &[a, b]) => todo.extend([(a, factor), (b, factor)]),
                    (LowOp::ISub, &[a, b]) => todo.extend([(a, factor), (b, factor.wrapping_neg())]),
                    (LowOp::IMul, &[a, b]) if self.constant(b).is_some() => {
                        let (value, times) = self.times(a, self.constant(b).unwrap_or_default());
                        todo.push((value, factor.wrapping_mul(times)));
                    }
                    (LowOp::Shl, &[a, b]) if self.constant(b).is_some_and(|amount| amount < 32) => {
                        todo.push((a, factor << self.constant(b).unwrap_or_default()));
                    }
                    _ => sum.add(&Sum::of(value), factor),
                },
                _ => sum.add(&Sum::of(value), factor),
            }
        }
        sum
    }

    /// A value, some times: of a quotient without a rest, what was divided.
    fn times(&self, value: Value, times: u32) -> (Value, u32) {
        match self.distances.get(&value) {
            Some((distance, size)) if times.is_multiple_of(*size) => {
                (*distance, (i64::from(times as i32) / i64::from(*size)) as u32)
            }
            _ => (value, times),
        }
    }

    /// The byte of which an index of a word is that of the word which it lies in.
    fn place(&self, index: Value) -> Sum {
        let mut sum = Sum::default();
        let (mut index, mut words) = (index, 0u32);
        for _ in 0..MAX_OPERATORS {
            match self.defs.get(&index).map(|(op, args)| (op, &args[..])) {
                Some((Op::Low(LowOp::IAdd), &[a, b])) if self.constant(b).is_some() => {
                    words = words.wrapping_add(self.constant(b).unwrap_or_default());
                    index = a;
                }
                Some((Op::Low(LowOp::ShrU), &[bytes, amount])) if self.constant(amount) == Some(2) => {
                    sum = self.sum(bytes);
                    sum.constant = sum.constant.wrapping_add(words.wrapping_mul(4));
                    return sum;
                }
                Some((Op::Low(LowOp::And), &[a, mask])) if self.constant(mask).is_some_and(|mask| mask << 2 == !3) => {
                    index = a;
                }
                _ => break,
            }
        }
        sum.add(&self.sum(index), 4);
        sum.constant = sum.constant.wrapping_add(words.wrapping_mul(4));
        sum
    }
}

impl Sum {
    fn of(value: Value) -> Sum {
        Sum { terms: BTreeMap::from([(value, 1)]), constant: 0 }
    }
}

/// What the rounds of a loop, or what is stored once, access of a buffer.
struct Accesses {
    /// Where the first access of the first round lies, in bytes.
    start: Sum,
    /// How far each round is from the one before.
    stride: i64,
    /// From the last round to the first.
    length: Sum,
    /// The least and the greatest place in a round, counted from the start.
    low: i64,
    high: i64,
    /// Whether there may be no round.
    may_be_none: bool,
}

/// Slots that are stored to, in a function whose stores are all in rounds.
pub(super) fn stored(function: &Function) -> HashSet<u32> {
    let regions = crate::analysis::dataflow::regions(function);
    let stmts = regions.into_iter().flat_map(|id| &function.region(id).stmts);
    stmts
        .filter_map(|stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } => op.stored_slot(),
            _ => None,
        })
        .collect()
}

/// Whether none of these rounds, which follow one another, can access what another one stores; the longest stride, if so.
pub(super) fn are_apart(known: &Known<'_>, groups: &[(RegionId, &Group)], stored: &HashSet<u32>) -> Option<u32> {
    let mut longest = 0;
    let mut slots: Vec<u32> = stored.iter().copied().collect();
    slots.sort_unstable();
    for slot in slots {
        let accesses = groups.iter().map(|(region, group)| accesses(known, *region, group, slot));
        let accesses: Vec<Accesses> = accesses.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
        for accesses in &accesses {
            longest = longest.max(u32::try_from(accesses.stride.abs()).ok()?);
        }
        if accesses.len() > 1 && accesses.iter().any(|accesses| accesses.stride < 0) {
            return None;
        }
        if !accesses.windows(2).all(|pair| follows(&pair[0], &pair[1])) {
            return None;
        }
    }
    Some(longest)
}

/// Whether all places of the second lie behind all of the first.
fn follows(first: &Accesses, second: &Accesses) -> bool {
    let mut apart = second.start.clone();
    apart.add(&first.start, u32::MAX);
    apart.add(&first.length, u32::MAX);
    let Some(apart) = apart.number() else { return false };
    let gap = apart + second.low - first.high;
    // Of a loop without rounds, the length is less by one round; what is in front of it must be behind what is before.
    let from_start = apart - first.stride + second.low - first.low;
    (WORD..FAR).contains(&gap) && (!first.may_be_none || from_start >= 0)
}

/// What rounds access of a slot: `Some(None)` where that is nothing, `None` where two may meet, or it is not known.
fn accesses(known: &Known<'_>, region: RegionId, group: &Group, slot: u32) -> Option<Option<Accesses>> {
    let function = known.function;
    let regions = below(function, region);
    let stmts = || regions.iter().flat_map(|id| &function.region(*id).stmts);
    let mut found: Vec<(Sum, bool)> = Vec::new();
    for stmt in stmts() {
        let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind else { continue };
        let stores = op.stored_slot() == Some(slot);
        if (stores || op.loaded_slot() == Some(slot)) && !found.contains(&(known.place(args[0]), stores)) {
            found.push((known.place(args[0]), stores));
        }
    }
    let Some((first, _)) = found.first() else { return Some(None) };
    if found.len() > MAX_ACCESSES {
        return None;
    }
    let stride = first.terms.get(&group.left).copied().unwrap_or(0);
    let mut start = first.clone();
    start.add(&Sum::of(group.left), stride.wrapping_neg());
    let own: HashSet<Value> = stmts().flat_map(|stmt| stmt.kind.results()).copied().collect();
    if start.terms.keys().any(|value| own.contains(value)) {
        return None;
    }
    let offsets = found.iter().map(|(place, stores)| {
        let mut offset = place.clone();
        offset.add(first, u32::MAX);
        offset.number().filter(|offset| offset.abs() < FAR).map(|offset| (offset, *stores))
    });
    let offsets: Vec<(i64, bool)> = offsets.collect::<Option<_>>()?;
    let stride = i64::from(stride as i32);
    let is_loop = group.count.is_some();
    if is_loop && !are_parted(&offsets, stride) || !is_loop && stride != 0 {
        return None;
    }
    let length = match group.count {
        None => Sum::default(),
        Some(count) => {
            let (count, factor) = known.times(count, stride as u32);
            let mut length = Sum::default();
            length.add(&known.sum(count), factor);
            if !group.one_more {
                length.constant = length.constant.wrapping_sub(stride as u32);
            }
            length
        }
    };
    let low = offsets.iter().map(|(offset, _)| *offset).min()?;
    let high = offsets.iter().map(|(offset, _)| *offset).max()?;
    Some(Some(Accesses { start, stride, length, low, high, may_be_none: is_loop && !group.one_more }))
}

/// Whether rounds that are so far apart store to different words: an access lies in one, wherever the place is in it.
fn are_parted(offsets: &[(i64, bool)], stride: i64) -> bool {
    let has_stores = offsets.iter().any(|(_, stores)| *stores);
    if !has_stores {
        return true;
    }
    let words = stride.abs() / WORD;
    let parted = |a: i64, b: i64| {
        let apart = (a - b).abs();
        // Two places may lie in words that are further apart by one than the distance says.
        (apart + WORD - 1) / WORD < words
    };
    let stores = || offsets.iter().filter(|(_, stores)| *stores);
    stride % WORD == 0 && stride != 0 && stores().all(|(a, _)| offsets.iter().all(|(b, _)| parted(*a, *b)))
}

/// Has the stores of a round stand behind the loads and the checks that they do not matter to, as far as that is known: what
/// several iterations do that a compiler made one can then be done at once.
pub(super) fn sink_stores(function: &mut Function, region: RegionId, defs: &HashMap<Value, (Op, Args)>) {
    let nothing = (HashMap::new(), HashMap::new(), HashSet::new());
    let known = Known { function, defs, bound: &nothing.0, distances: &nothing.1, lefts: &nothing.2 };
    let (mut stmts, mut stores): (Vec<Stmt>, Vec<Stmt>) = Default::default();
    for stmt in &function.region(region).stmts {
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } if op.stored_slot().is_some() => {
                stores.push(stmt.clone());
                continue;
            }
            StmtKind::Op { op: Op::Low(op), args, .. } if op.loaded_slot().is_some() => {
                let is_before = |store: &Stmt| may_meet(&known, store, op, args[0]);
                if let Some(last) = stores.iter().rposition(is_before) {
                    stmts.extend(stores.drain(..=last));
                }
            }
            StmtKind::Op { .. } => {}
            _ if is_check(function, stmt) => {}
            _ => stmts.append(&mut stores),
        }
        stmts.push(stmt.clone());
    }
    stmts.append(&mut stores);
    function.region_mut(region).stmts = stmts;
}

/// Whether a store may change what an operator loads.
fn may_meet(known: &Known<'_>, store: &Stmt, load: &LowOp, index: Value) -> bool {
    let StmtKind::Op { op: Op::Low(op), args, .. } = &store.kind else { return true };
    let mut apart = known.place(index);
    apart.add(&known.place(args[0]), u32::MAX);
    op.stored_slot() == load.loaded_slot() && apart.number().is_none_or(|apart| apart.abs() < WORD)
}

/// Whether a statement does nothing but to trap, or not.
fn is_check(function: &Function, stmt: &Stmt) -> bool {
    let is_pure = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure());
    let StmtKind::If { then, otherwise, results, .. } = &stmt.kind else { return false };
    let arms = [function.region(*then), function.region(*otherwise)];
    results.is_empty()
        && arms.iter().all(|arm| arm.stmts.iter().all(is_pure) && matches!(arm.exit, Exit::Trap(_) | Exit::Yield(_)))
}
