//! A run of code without effect, and the branches in it that leave.

use super::Merger;
use super::leaving::{Leaving, Way};
use crate::analysis::offsets::Offsets;
use crate::hash::{HashMap, HashMapExt, HashSet};
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};

/// The branches found since the last effect, and what else was found since the first of them.
#[derive(Default)]
pub(super) struct Run {
    leavings: Vec<Leaving>,
    /// The other statements, in order.
    items: Vec<Stmt>,
    /// Values that can't be computed in front of the first branch.
    fixed: HashSet<Value>,
    /// Whether one of the branches stays where it is, so that only its like goes with it.
    stays: bool,
    /// Whether there is a store among the statements.
    stores: bool,
    /// Whether there is one to a buffer.
    stores_shared: bool,
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.leavings.is_empty()
    }

    /// Whether a branch may be decided with those before it.
    pub(super) fn takes(&self, merger: &Merger, found: &Leaving) -> bool {
        let crosses = !self.stays && merger.may_cross(found);
        // Where one stays, all are alike.
        let alike = self.leavings.first().is_none_or(|first| first.goes_with(found));
        (crosses || (self.stays && alike) || self.is_empty())
            && (!self.stores || found.way == Way::Trap)
            && (self.fixed.is_empty() || merger.uses(found).iter().all(|value| !self.fixed.contains(value)))
    }

    pub(super) fn push_leaving(&mut self, merger: &Merger, found: Leaving) {
        self.stays |= !merger.may_cross(&found);
        self.leavings.push(found);
    }

    /// Takes a statement; `movable` is whether it may run though a branch before it leaves.
    pub(super) fn push(&mut self, stmt: Stmt, movable: bool) {
        if !movable || stmt.kind.args().iter().any(|arg| self.fixed.contains(arg)) {
            self.fixed.extend(stmt.kind.results());
        }
        self.items.push(stmt);
    }

    /// Takes a store, if it may. What buffers hold after a trap is unspecified, and the stack nothing, so a check behind it may be
    /// made in front of it; an invocation that goes on has stored.
    pub(super) fn push_store(&mut self, stmt: Stmt) -> Result<(), Stmt> {
        if self.stays || self.is_empty() {
            return Err(stmt);
        }
        self.stores = true;
        self.stores_shared |= !matches!(stmt.kind, StmtKind::Op { op: Op::Low(LowOp::StoreStack), .. });
        self.items.push(stmt);
        Ok(())
    }

    /// Whether what is taken next stands behind a store to a buffer.
    pub(super) fn has_stored(&self) -> bool {
        self.stores_shared
    }

    /// Writes the run: what the branches need, one for all traps, those that break, and the rest.
    pub(super) fn emit(self, merger: &mut Merger, out: &mut Vec<Stmt>) {
        let Some((first, others)) = self.leavings.split_first() else { return };
        let mut needed: HashSet<Value> = others.iter().flat_map(|leaving| merger.uses(leaving)).collect();
        if self.stays {
            // Only an invocation's last iteration computes in vain, and ways out of a loop are cheapest side by side.
            let results = self.items.iter().flat_map(|stmt| stmt.kind.results());
            needed.extend(results.filter(|result| !self.fixed.contains(result)));
        }
        let (before, behind) = split(self.items, needed);
        out.extend(before);
        let mut list = ListBuilder::new(first.stmt.at);
        let branches = Branches::new(merger.function, &self.leavings, &mut list);
        branches.traps(merger, &mut list);
        branches.breaks(merger, &mut list);
        out.append(&mut list.stmts);
        out.extend(behind);
    }
}

/// Most checks that are tested one after the other where one of them fails: drivers keep track of as many levels.
const ROW: usize = 16;

/// A check's condition, where it is made under another one.
fn guarded((guard, cond): (Option<Value>, Value), function: &mut Function, list: &mut ListBuilder) -> Value {
    match guard {
        Some(guard) => list.low(function, LowOp::BAnd, &[guard, cond], Type::Bool),
        None => cond,
    }
}

fn conds_of<'c>(conds: impl Iterator<Item = &'c (Option<Value>, Value)>) -> Vec<Value> {
    conds.flat_map(|(guard, cond)| guard.iter().chain([cond])).copied().collect()
}

/// The region in which the first of these checks traps that fails, one of which does: the last is the only one left.
fn row(merger: &mut Merger, checks: &[(usize, &Leaving)], conds: &[(Option<Value>, Value)]) -> RegionId {
    let last = checks.len() - 1;
    let mut list = ListBuilder::new(checks[0].1.stmt.at);
    for ((_, check), cond) in checks.iter().zip(conds).take(last) {
        list.at = check.stmt.at;
        let function = &mut *merger.function;
        let cond = guarded(*cond, function, &mut list);
        let otherwise = ListBuilder::new(list.at).finish(function, Exit::Yield(Vec::new()));
        list.push(StmtKind::If { cond, then: check.arm, otherwise, results: Vec::new() });
    }
    let mut uses = conds_of(conds[..last].iter());
    for (_, check) in checks {
        uses.extend(merger.failures.get(&check.arm).into_iter().flatten());
    }
    let arm = merger.function.region(checks[last].1.arm).clone();
    list.stmts.extend(arm.stmts);
    list.at = arm.exit_at;
    let region = list.finish(merger.function, arm.exit);
    note_uses(merger, region, uses);
    region
}

fn note_uses(merger: &mut Merger, region: RegionId, mut uses: Vec<Value>) {
    uses.sort_unstable();
    uses.dedup();
    merger.failures.insert(region, uses);
}

/// Splits statements into those that compute the needed values, and the others.
pub(super) fn split(items: Vec<Stmt>, mut needed: HashSet<Value>) -> (Vec<Stmt>, Vec<Stmt>) {
    let is_needed: Vec<bool> = (items.iter().rev())
        .map(|stmt| {
            let is_needed = stmt.kind.results().iter().any(|result| needed.contains(result));
            if is_needed {
                needed.extend(stmt.kind.args());
            }
            is_needed
        })
        .collect();
    let (before, behind): (Vec<_>, Vec<_>) =
        items.into_iter().zip(is_needed.into_iter().rev()).partition(|item| item.1);
    let stmts = |items: Vec<(Stmt, bool)>| items.into_iter().map(|item| item.0).collect();
    (stmts(before), stmts(behind))
}

/// The branches of a run, and the conditions that its checks are made under.
struct Branches<'r> {
    /// The checks, each with the number of breaks before it.
    checks: Vec<(usize, &'r Leaving)>,
    breaks: Vec<&'r Leaving>,
    /// By number of breaks: whether one of so many is taken. The first is never read.
    taken: Vec<Value>,
}

impl<'r> Branches<'r> {
    fn new(function: &mut Function, leavings: &'r [Leaving], list: &mut ListBuilder) -> Self {
        let (mut checks, mut breaks) = (Vec::new(), Vec::new());
        for leaving in leavings {
            match leaving.way {
                Way::Trap => checks.push((breaks.len(), leaving)),
                Way::Break(_) | Way::Body => breaks.push(leaving),
            }
        }
        // What a check is made under, and what branches that are merged are taken on.
        let checked = checks.last().map_or(0, |(number, _)| *number);
        let merged = breaks.chunk_by(|a, b| a.goes_with(b)).next().map_or(0, |group| group.len());
        let mut taken: Vec<Value> = breaks.first().map(|first| first.cond).into_iter().collect();
        for leaving in &breaks[..checked.max(if merged > 1 { merged } else { 0 })] {
            let cond = leaving.leaves(function, list);
            let any = match taken.len() {
                1 => cond,
                _ => list.low(function, LowOp::BOr, &[taken[taken.len() - 1], cond], Type::Bool),
            };
            taken.push(any);
        }
        Branches { checks, breaks, taken }
    }

    /// Makes all checks one branch.
    fn traps(&self, merger: &mut Merger, list: &mut ListBuilder) {
        match self.checks[..] {
            [] => return,
            [(0, check)] => return list.stmts.push(check.stmt.clone()),
            _ => {}
        }
        let function = &mut *merger.function;
        let (mut any, mut conds) = (None, Vec::new());
        let mut guard = None;
        for group in self.checks.chunk_by(|a, b| a.0 == b.0) {
            if group[0].0 > 0 {
                guard = Some(list.low(function, LowOp::BNot, &[self.taken[group[0].0]], Type::Bool));
            }
            let checks: Vec<Value> = group.iter().map(|(_, check)| check.leaves(function, list)).collect();
            let fails = any_of(function, &merger.known, &checks, list);
            let guarded = |cond, function: &mut Function, list: &mut ListBuilder| match guard {
                Some(guard) => list.low(function, LowOp::BAnd, &[guard, cond], Type::Bool),
                None => cond,
            };
            let fails = guarded(fails, function, list);
            any = Some(match any {
                Some(any) => list.low(function, LowOp::BOr, &[any, fails], Type::Bool),
                None => fails,
            });
            conds.extend(checks.into_iter().map(|cond| (guard, cond)));
        }
        let Some(any) = any else { return };
        let then = self.failing(merger, &conds);
        let otherwise = ListBuilder::new(list.at).finish(merger.function, Exit::Yield(Vec::new()));
        list.push(StmtKind::If { cond: any, then, otherwise, results: Vec::new() });
    }

    /// The region that a failed merged check runs: which was the first is found by testing one after the other, of many a row
    /// at a time.
    fn failing(&self, merger: &mut Merger, conds: &[(Option<Value>, Value)]) -> RegionId {
        let rows: Vec<_> = self.checks.chunks(ROW).zip(conds.chunks(ROW)).collect();
        let Some(((checks, conds), others)) = rows.split_last() else {
            return ListBuilder::default().finish(merger.function, Exit::Yield(Vec::new()));
        };
        let last = row(merger, checks, conds);
        if others.is_empty() {
            return last;
        }
        let mut uses = merger.failures.get(&last).cloned().unwrap_or_default();
        let mut list = ListBuilder::new(self.checks[0].1.stmt.at);
        for (checks, conds) in others {
            let then = row(merger, checks, conds);
            uses.extend(merger.failures.get(&then).into_iter().flatten());
            let function = &mut *merger.function;
            let mut fails = guarded(conds[0], function, &mut list);
            for cond in &conds[1..] {
                let cond = guarded(*cond, function, &mut list);
                fails = list.low(function, LowOp::BOr, &[fails, cond], Type::Bool);
            }
            let otherwise = ListBuilder::new(list.at).finish(function, Exit::Yield(Vec::new()));
            list.push(StmtKind::If { cond: fails, then, otherwise, results: Vec::new() });
        }
        uses.extend(conds_of(others.iter().flat_map(|(_, conds)| conds.iter())));
        let last = merger.function.region(last).clone();
        list.stmts.extend(last.stmts);
        list.at = last.exit_at;
        let region = list.finish(merger.function, last.exit);
        note_uses(merger, region, uses);
        region
    }

    /// Branches to one place become one.
    fn breaks(&self, merger: &mut Merger, list: &mut ListBuilder) {
        let mut number = 0;
        for group in self.breaks.chunk_by(|a, b| a.goes_with(b)) {
            number += group.len();
            let first = group[0];
            let Way::Break(exit @ Exit::Break(label, _)) = &first.way else {
                list.stmts.push(first.stmt.clone());
                continue;
            };
            if group.len() == 1 {
                list.stmts.push(first.stmt.clone());
                continue;
            }
            let function = &mut *merger.function;
            let any = match number == group.len() {
                true => self.taken[number],
                false => {
                    let conds: Vec<Value> = group.iter().map(|leaving| leaving.leaves(function, list)).collect();
                    let any =
                        conds.into_iter().reduce(|any, cond| list.low(function, LowOp::BOr, &[any, cond], Type::Bool));
                    any.unwrap_or(first.cond)
                }
            };
            list.at = first.stmt.at;
            let then =
                ListBuilder::new(merger.function.region(first.arm).exit_at).finish(merger.function, exit.clone());
            let otherwise = ListBuilder::new(list.at).finish(merger.function, Exit::Yield(Vec::new()));
            list.push(StmtKind::If { cond: any, then, otherwise, results: Vec::new() });
            if let Some(breaks) = merger.breaks.get_mut(label) {
                *breaks -= group.len() as u32 - 1;
            }
        }
    }
}

impl Leaving {
    fn goes_with(&self, other: &Leaving) -> bool {
        matches!(self.way, Way::Break(_)) && self.way == other.way
    }

    /// The condition that it leaves on.
    pub(super) fn leaves(&self, function: &mut Function, list: &mut ListBuilder) -> Value {
        match self.when {
            true => self.cond,
            false => list.low(function, LowOp::BNot, &[self.cond], Type::Bool),
        }
    }
}

/// The checks that others imply. One `limit <= offset` implies another of the same limit if the offsets differ by a
/// constant, this one's being less, and their sums do not wrap: the constants fit into the low bits that the common part
/// leaves zero.
struct Implied<'o> {
    offsets: &'o Offsets,
    /// The greatest constant that does not wrap, by limit and common part.
    greatest: HashMap<(Value, Value), u32>,
}

impl<'o> Implied<'o> {
    fn new(offsets: &'o Offsets, checks: &[Value]) -> Self {
        let mut implied = Implied { offsets, greatest: HashMap::new() };
        for check in checks {
            let Some((key, constant)) = implied.parts(*check) else { continue };
            let zeros = offsets.trailing_zeros(key.1);
            if zeros < 32 && constant < 1 << zeros {
                let greatest = implied.greatest.entry(key).or_default();
                *greatest = constant.max(*greatest);
            }
        }
        implied
    }

    /// Limit and common part, and the constant.
    fn parts(&self, cond: Value) -> Option<((Value, Value), u32)> {
        let Some((LowOp::ULe, [limit, offset])) = self.offsets.def(cond) else { return None };
        let (base, constant) = self.offsets.sum(offset);
        Some(((limit, base), constant))
    }

    fn contains(&self, check: Value) -> bool {
        let parts = self.parts(check);
        parts.is_some_and(|(key, constant)| self.greatest.get(&key).is_some_and(|greatest| constant < *greatest))
    }
}

/// Computes whether any of the checks fails. Those against one limit are one comparison, of the greatest offset.
fn any_of(function: &mut Function, known: &Offsets, checks: &[Value], list: &mut ListBuilder) -> Value {
    let implied = Implied::new(known, checks);
    let mut limits: Vec<(Value, Vec<Value>)> = Vec::new();
    let mut places: HashMap<Value, usize> = HashMap::new();
    let mut conds = Vec::new();
    for check in checks.iter().filter(|check| !implied.contains(**check)) {
        match known.def(*check) {
            Some((LowOp::ULe, [limit, offset])) if checks.len() > 1 && function.ty(offset) == Type::I32 => {
                let place = *places.entry(limit).or_insert(limits.len());
                if place == limits.len() {
                    limits.push((limit, Vec::new()));
                }
                limits[place].1.push(offset);
            }
            _ => conds.push(*check),
        }
    }
    for (limit, offsets) in limits {
        let greatest = offsets.into_iter().reduce(|a, b| list.low(function, LowOp::UMax, &[a, b], Type::I32));
        conds.extend(greatest.map(|offset| list.low(function, LowOp::ULe, &[limit, offset], Type::Bool)));
    }
    let any = conds.into_iter().reduce(|any, cond| list.low(function, LowOp::BOr, &[any, cond], Type::Bool));
    any.unwrap_or(checks[0])
}
