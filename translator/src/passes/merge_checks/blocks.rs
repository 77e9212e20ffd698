//! Opens blocks and arms, so that the checks in them stand in one list with those around them.

use super::leaving::{Leaving, Way};
use super::run::split;
use super::{Merger, may_move};
use crate::error::Location;
use crate::hash::{HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Label, LowOp, RegionId, Stmt, StmtKind, Type, Value};

/// How deep the regions that opening makes may nest.
const MAX_NESTED: usize = 100;
/// Most statements of an arm that are looked at, and most that are moved in front of its branch, for a check.
const MAX_LOOKED_AT: usize = 64;
const MAX_MOVED: usize = 24;

impl Merger<'_> {
    /// Where a block ends in `if c { break elsewhere }` and falls out of its end otherwise, as it does at other places,
    /// writes the end as a break, too: `if !c { break here }; break elsewhere`.
    pub(super) fn break_at_end(&mut self, id: RegionId, label: Label) {
        let region = self.function.region(id);
        let Some((last, before)) = region.stmts.split_last() else { return };
        if !matches!(&region.exit, Exit::Yield(values) if values.is_empty()) {
            return;
        }
        let Some(Leaving { cond, when, way: Way::Break(elsewhere), arm, stmt: last }) = self.leaving(last) else {
            return;
        };
        let here = Exit::Break(label, Vec::new());
        let is_here = |stmt: &Stmt| self.leaving(stmt).is_some_and(|leaving| leaving.way == Way::Break(here.clone()));
        if elsewhere == here || !before.iter().rev().take(MAX_LOOKED_AT).any(is_here) {
            return;
        }
        let (end, elsewhere_at) = (region.exit_at, self.function.region(arm).exit_at);
        let leaves = ListBuilder::new(end).finish(self.function, here);
        let passes = ListBuilder::new(last.at).finish(self.function, Exit::Yield(Vec::new()));
        let (then, otherwise) = if when { (passes, leaves) } else { (leaves, passes) };
        let region = self.function.region_mut(id);
        region.stmts.pop();
        region.stmts.push(Stmt { kind: StmtKind::If { cond, then, otherwise, results: Vec::new() }, at: last.at });
        (region.exit, region.exit_at) = (elsewhere, elsewhere_at);
        *self.breaks.entry(label).or_default() += 1;
    }

    /// Opens what a region's list holds, where that is possible.
    pub(super) fn open(&mut self, id: RegionId, end: Option<Exit>) {
        let mut rest = std::mem::take(&mut self.function.region_mut(id).stmts).into_iter();
        let mut out = Vec::new();
        while let Some(stmt) = rest.next() {
            match stmt.kind {
                StmtKind::Block { label, body, ref results } => {
                    let results = results.clone();
                    let size = self.function.region(body).stmts.len() + rest.len();
                    if self.budget < size {
                        out.push(stmt);
                        continue;
                    }
                    self.budget -= size;
                    if self.open_whole(label, body, &results, &mut out) {
                        continue;
                    }
                    if self.opens_to_branch(label, body)
                        && let Some(exit) = self.end_of(id, &end)
                    {
                        self.open_to_branch(body, &results, rest.collect(), exit, &mut out);
                        let body = self.function.region(body);
                        let end = (body.exit.clone(), body.exit_at);
                        let region = self.function.region_mut(id);
                        (region.exit, region.exit_at) = end;
                        break;
                    }
                    self.open_start(body, &mut out);
                    out.push(stmt);
                }
                StmtKind::If { cond, then, otherwise, .. } => {
                    if self.leaving(&stmt).is_none_or(|leaving| leaving.way == Way::Body) {
                        self.open_arm(cond, true, then, stmt.at, &mut out);
                        self.open_arm(cond, false, otherwise, stmt.at, &mut out);
                    }
                    out.push(stmt);
                }
                _ => out.push(stmt),
            }
        }
        self.function.region_mut(id).stmts = out;
    }

    /// A region's exit in words that mean the same below it.
    fn end_of(&mut self, id: RegionId, end: &Option<Exit>) -> Option<(Exit, Location)> {
        let region = self.function.region(id);
        let exit = match (&region.exit, end) {
            (Exit::Yield(values), Some(Exit::Break(label, _))) => {
                *self.breaks.entry(*label).or_default() += 1;
                Exit::Break(*label, values.clone())
            }
            (Exit::Yield(values), Some(_)) => Exit::Return(values.clone()),
            (Exit::Yield(_), None) => return None,
            (other, _) => other.clone(),
        };
        Some((exit, region.exit_at))
    }

    /// A block that control leaves at its end only is its statements.
    fn open_whole(&mut self, label: Label, body: RegionId, results: &[Value], out: &mut Vec<Stmt>) -> bool {
        let breaks = self.breaks.get(&label).copied().unwrap_or(0);
        let values = match &self.function.region(body).exit {
            Exit::Yield(values) if breaks == 0 => values.clone(),
            Exit::Break(to, values) if *to == label && breaks == 1 => values.clone(),
            _ => return false,
        };
        self.breaks.remove(&label);
        out.append(&mut self.function.region_mut(body).stmts);
        self.subst.extend(results.iter().copied().zip(values));
        true
    }

    /// Whether a block's one break stands in a branch at its end, which nothing else reaches.
    fn opens_to_branch(&self, label: Label, body: RegionId) -> bool {
        let region = self.function.region(body);
        let comes_out = match &region.exit {
            Exit::Yield(_) => true,
            Exit::Break(to, _) => *to == label,
            _ => false,
        };
        let leaving = self.last_branch(body).and_then(|number| self.leaving(&region.stmts[number]));
        let breaks = leaving.is_some_and(|leaving| {
            matches!(self.function.region(leaving.arm).exit, Exit::Break(to, _) if to == label)
                && leaving.way != Way::Trap
        });
        breaks && !comes_out && self.breaks.get(&label) == Some(&1) && self.nested < MAX_NESTED
    }

    /// The number of the statement behind which a region only computes.
    fn last_branch(&self, id: RegionId) -> Option<usize> {
        let computes = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure());
        self.function.region(id).stmts.iter().rposition(|stmt| !computes(stmt))
    }

    /// `block { ...; if c { break }; leave }; rest` is `...; if c { rest; exit }; leave`.
    fn open_to_branch(
        &mut self,
        body: RegionId,
        results: &[Value],
        rest: Vec<Stmt>,
        (exit, exit_at): (Exit, Location),
        out: &mut Vec<Stmt>,
    ) {
        let Some(number) = self.last_branch(body) else { return };
        let mut stmts = std::mem::take(&mut self.function.region_mut(body).stmts).into_iter();
        out.extend(stmts.by_ref().take(number));
        let Some(branch) = stmts.next() else { return };
        let StmtKind::If { cond, then, otherwise, .. } = branch.kind else { return out.push(branch) };
        let arm = if self.passes(otherwise) { then } else { otherwise };
        if let Exit::Break(label, values) = self.function.region(arm).exit.clone() {
            self.breaks.remove(&label);
            self.subst.extend(results.iter().copied().zip(values));
        }
        let region = self.function.region_mut(arm);
        region.stmts.extend(rest);
        (region.exit, region.exit_at) = (exit, exit_at);
        self.nested += 1;
        self.finish(arm, None);
        self.nested -= 1;
        self.open_arm(cond, arm == then, arm, branch.at, out);
        out.push(branch);
        out.extend(stmts);
    }

    /// What stands in a block before anything leaves it may stand in front of it.
    fn open_start(&mut self, body: RegionId, out: &mut Vec<Stmt>) {
        let stmts = std::mem::take(&mut self.function.region_mut(body).stmts);
        let may_go = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Op { .. } => true,
            _ => self.leaving(stmt).is_some_and(|leaving| leaving.way == Way::Trap),
        };
        let stays = stmts.iter().position(|stmt| !may_go(stmt)).unwrap_or(stmts.len());
        let mut stmts = stmts;
        let behind = stmts.split_off(stays);
        out.append(&mut stmts);
        self.function.region_mut(body).stmts = behind;
        self.quiet.insert(body, self.quiet_region(body));
    }

    /// The first check of an arm may be made in front of the branch, for the invocations that take the arm.
    fn open_arm(&mut self, cond: Value, when: bool, arm: RegionId, at: Location, out: &mut Vec<Stmt>) {
        let Some((number, check)) = self.first_check(arm) else { return };
        let mut stmts = std::mem::take(&mut self.function.region_mut(arm).stmts);
        let behind = stmts.split_off(number + 1);
        stmts.truncate(number);
        let (before, mut between) = split(stmts, self.uses(&check).into_iter().collect());
        between.extend(behind);
        self.function.region_mut(arm).stmts = between;
        self.quiet.insert(arm, self.quiet_region(arm));
        out.extend(before);
        let mut list = ListBuilder::new(at);
        let taken = match when {
            true => cond,
            false => list.low(self.function, LowOp::BNot, &[cond], Type::Bool),
        };
        list.at = check.stmt.at;
        let fails = check.leaves(self.function, &mut list);
        let fails = list.low(self.function, LowOp::BAnd, &[taken, fails], Type::Bool);
        let passes = ListBuilder::new(list.at).finish(self.function, Exit::Yield(Vec::new()));
        list.push(StmtKind::If { cond: fails, then: check.arm, otherwise: passes, results: Vec::new() });
        out.append(&mut list.stmts);
    }

    /// An arm's first check and its number in the list, if it can be made in front of the branch at small cost.
    fn first_check(&self, arm: RegionId) -> Option<(usize, Leaving)> {
        let mut movable: HashSet<Value> = HashSet::new();
        let mut fixed: HashSet<Value> = HashSet::new();
        for (number, stmt) in self.function.region(arm).stmts.iter().take(MAX_LOOKED_AT).enumerate() {
            if let Some(check) = self.leaving(stmt).filter(|leaving| leaving.way == Way::Trap) {
                let fits = movable.len() <= MAX_MOVED && self.uses(&check).iter().all(|value| !fixed.contains(value));
                return fits.then_some((number, check));
            }
            if !self.is_quiet(stmt) {
                return None;
            }
            let moves = may_move(stmt) && stmt.kind.args().iter().all(|arg| !fixed.contains(arg));
            if moves { &mut movable } else { &mut fixed }.extend(stmt.kind.results());
        }
        None
    }
}
