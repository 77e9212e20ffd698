//! Merges the checks of a straight run of code into one branch.
//!
//! Lowering puts a branch in front of each access. Where nothing between two checks has an effect, the later one may be
//! decided with the earlier: its condition is computed before, one branch tests whether any holds, and only behind that
//! branch is it found which was the first. The invocation traps at the same operator as before. A check that another
//! implies, as those of a structure's members but the last, costs the branch nothing.
//!
//! Branches to one place, as `a || b || c` makes them, are merged in the same way: where they lead is the same.

use std::collections::{HashMap, HashSet};

use crate::analysis::offsets::Offsets;
use crate::error::Location;
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};

/// Merges the checks of lowered code.
pub fn merge_checks(function: &mut Function) {
    let offsets = Offsets::new(function);
    let mut todo = vec![function.body];
    let mut seen = HashSet::new();
    while let Some(id) = todo.pop() {
        if !seen.insert(id) {
            continue;
        }
        let stmts = std::mem::take(&mut function.region_mut(id).stmts);
        // Not the regions that merging makes: what runs when a merged check fails is as it should be.
        todo.extend(stmts.iter().flat_map(|stmt| stmt.kind.regions()));
        let stmts = merge_list(function, &offsets, stmts);
        function.region_mut(id).stmts = stmts;
    }
}

/// A branch that leaves when its condition holds, and else does nothing.
#[derive(Clone)]
struct Check {
    cond: Value,
    /// A trap, or a break.
    exit: Exit,
    at: Location,
}

impl Check {
    /// Whether the two may be one branch.
    fn goes_with(&self, other: &Check) -> bool {
        matches!((&self.exit, &other.exit), (Exit::Trap(_), Exit::Trap(_))) || self.exit == other.exit
    }
}

fn check(function: &Function, stmt: &Stmt) -> Option<Check> {
    let StmtKind::If { cond, then, otherwise, results } = &stmt.kind else { return None };
    let (then, otherwise) = (function.region(*then), function.region(*otherwise));
    let passes = otherwise.stmts.is_empty() && matches!(otherwise.exit, Exit::Yield(_));
    match &then.exit {
        exit @ (Exit::Trap(_) | Exit::Break(..)) if passes && then.stmts.is_empty() && results.is_empty() => {
            Some(Check { cond: *cond, exit: exit.clone(), at: then.exit_at })
        }
        _ => None,
    }
}

/// The checks found since the last effect, and what was moved in front of them.
#[derive(Default)]
struct Run {
    checks: Vec<Check>,
    /// Computations that stand before the merged check.
    before: Vec<Stmt>,
    /// What stands behind it.
    behind: Vec<Stmt>,
    /// Values that what stands behind defines.
    defined_behind: HashSet<Value>,
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
    fn new(offsets: &'o Offsets, checks: &[Check]) -> Self {
        let mut implied = Implied { offsets, greatest: HashMap::new() };
        for check in checks {
            let Some((key, constant)) = implied.parts(check.cond) else { continue };
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

    fn contains(&self, check: &Check) -> bool {
        let parts = self.parts(check.cond);
        parts.is_some_and(|(key, constant)| self.greatest.get(&key).is_some_and(|greatest| constant < *greatest))
    }
}

fn merge_list(function: &mut Function, known: &Offsets, stmts: Vec<Stmt>) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(stmts.len());
    let mut run = Run::default();
    for stmt in stmts {
        if let Some(found) = check(function, &stmt) {
            let apart = run.checks.last().is_some_and(|last| !last.goes_with(&found));
            if apart || run.defined_behind.contains(&found.cond) {
                run.flush(function, known, &mut out);
            }
            run.checks.push(found);
            continue;
        }
        if run.checks.is_empty() {
            out.push(stmt);
            continue;
        }
        let movable = matches!(&stmt.kind, StmtKind::Op { op, .. } if may_move(op));
        if movable && !stmt.kind.args().iter().any(|arg| run.defined_behind.contains(arg)) {
            run.before.push(stmt);
            continue;
        }
        let effect = !matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure());
        run.defined_behind.extend(stmt.kind.results());
        run.behind.push(stmt);
        if effect {
            run.flush(function, known, &mut out);
        }
    }
    run.flush(function, known, &mut out);
    out
}

/// Whether an operator may be computed though a check in front of it fails: it must have a result for all operands, and
/// depend on them alone.
fn may_move(op: &Op) -> bool {
    match op {
        Op::Const(_) => true,
        Op::Low(op) => {
            let partial = matches!(op, LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem);
            !(partial || op.has_effect() || op.reads_state())
        }
        _ => false,
    }
}

impl Run {
    fn flush(&mut self, function: &mut Function, known: &Offsets, out: &mut Vec<Stmt>) {
        let Run { checks, before, behind, .. } = std::mem::take(self);
        out.extend(before);
        if let Some((first, others)) = checks.split_first() {
            let mut list = ListBuilder::new(first.at);
            let any = any_of(function, known, &checks, &mut list);
            let then = failing(function, first, others);
            let otherwise = ListBuilder::new(first.at).finish(function, Exit::Yield(Vec::new()));
            list.push(StmtKind::If { cond: any, then, otherwise, results: Vec::new() });
            out.append(&mut list.stmts);
        }
        out.extend(behind);
    }
}

/// Computes whether any of the checks fails. Those against one limit are one comparison, of the greatest offset.
fn any_of(function: &mut Function, known: &Offsets, checks: &[Check], list: &mut ListBuilder) -> Value {
    let implied = Implied::new(known, checks);
    let mut limits: Vec<(Value, Vec<Value>)> = Vec::new();
    let mut places: HashMap<Value, usize> = HashMap::new();
    let mut conds = Vec::new();
    for check in checks.iter().filter(|check| !implied.contains(check)) {
        match known.def(check.cond) {
            Some((LowOp::ULe, [limit, offset])) if function.ty(offset) == Type::I32 => {
                let place = *places.entry(limit).or_insert(limits.len());
                if place == limits.len() {
                    limits.push((limit, Vec::new()));
                }
                limits[place].1.push(offset);
            }
            _ => conds.push(check.cond),
        }
    }
    for (limit, offsets) in limits {
        let greatest = offsets.into_iter().reduce(|a, b| list.low(function, LowOp::UMax, &[a, b], Type::I32));
        conds.extend(greatest.map(|offset| list.low(function, LowOp::ULe, &[limit, offset], Type::Bool)));
    }
    let any = conds.into_iter().reduce(|any, cond| list.low(function, LowOp::BOr, &[any, cond], Type::Bool));
    any.unwrap_or(checks[0].cond)
}

/// The region that a failed merged check runs. Traps are told apart by testing one after the other; the last is the only
/// one left.
fn failing(function: &mut Function, first: &Check, others: &[Check]) -> RegionId {
    let mut list = ListBuilder::new(first.at);
    if matches!(first.exit, Exit::Break(..)) {
        return list.finish(function, first.exit.clone());
    }
    let mut last = first;
    for next in others {
        list.at = last.at;
        let then = ListBuilder::new(last.at).finish(function, last.exit.clone());
        let otherwise = ListBuilder::new(last.at).finish(function, Exit::Yield(Vec::new()));
        list.push(StmtKind::If { cond: last.cond, then, otherwise, results: Vec::new() });
        last = next;
    }
    list.at = last.at;
    list.finish(function, last.exit.clone())
}
