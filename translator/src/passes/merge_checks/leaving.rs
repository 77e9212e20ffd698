//! What statements do to control: branches that leave, and statements that nobody notices.

use super::Merger;
use crate::ir::{Exit, Label, Op, RegionId, Stmt, StmtKind, Value};

/// Most statements of what a branch runs before it leaves.
const MAX_BODY: usize = 64;

/// A branch of which one arm does not come out, and the other is empty.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    /// The statement.
    pub stmt: Stmt,
    pub cond: Value,
    /// The value of the condition that leaves.
    pub when: bool,
    pub arm: RegionId,
    pub way: Way,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    /// Some trap, without effect before.
    Trap,
    /// Straight to a break.
    Break(Exit),
    /// To a break that leaves no loop, with something to do before that nobody notices.
    Body,
}

/// What is known of a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Quiet {
    /// It may have an effect, trap, or go who knows where.
    No,
    /// It computes, and yields or breaks to this label. With its number of statements.
    Yes(Option<Label>, usize),
}

impl Merger<'_> {
    /// Whether a region does nothing and yields.
    pub(super) fn passes(&self, id: RegionId) -> bool {
        let region = self.function.region(id);
        region.stmts.is_empty() && matches!(region.exit, Exit::Yield(_))
    }

    pub(super) fn leaving(&self, stmt: &Stmt) -> Option<Leaving> {
        let StmtKind::If { cond, then, otherwise, results } = &stmt.kind else { return None };
        let (arm, when) = match (self.passes(*then), self.passes(*otherwise)) {
            (false, true) => (*then, true),
            (true, false) => (*otherwise, false),
            _ => return None,
        };
        let way = self.way(arm).filter(|_| results.is_empty())?;
        Some(Leaving { stmt: stmt.clone(), cond: *cond, when, arm, way })
    }

    fn way(&self, arm: RegionId) -> Option<Way> {
        let region = self.function.region(arm);
        match &region.exit {
            Exit::Trap(_) if region.stmts.is_empty() || self.failures.contains_key(&arm) => Some(Way::Trap),
            exit @ Exit::Break(..) if region.stmts.is_empty() => Some(Way::Break(exit.clone())),
            Exit::Break(label, _) if !self.outside.contains(label) => match self.quiet.get(&arm) {
                Some(Quiet::Yes(..)) => Some(Way::Body),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether what stands behind a branch may be decided in front of it. What leaves a loop stays where it is: drivers
    /// look for it.
    pub(super) fn may_cross(&self, leaving: &Leaving) -> bool {
        match &leaving.way {
            Way::Break(Exit::Break(label, _)) => !self.outside.contains(label),
            _ => true,
        }
    }

    /// The values that a branch uses, and perhaps some that it defines itself.
    pub(super) fn uses(&self, leaving: &Leaving) -> Vec<Value> {
        let mut uses = vec![leaving.cond];
        if let Some(known) = self.failures.get(&leaving.arm) {
            uses.extend(known);
        } else {
            let mut todo = vec![leaving.arm];
            while let Some(id) = todo.pop() {
                let region = self.function.region(id);
                uses.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.args()));
                uses.extend(region.exit.values());
                todo.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.regions()));
            }
        }
        uses.iter_mut().for_each(|value| *value = self.name(*value));
        uses
    }

    /// Whether a statement has no effect, does not trap, and comes out at its end.
    pub(super) fn is_quiet(&self, stmt: &Stmt) -> bool {
        matches!(self.quiet_stmt(stmt), Quiet::Yes(None, _))
    }

    fn quiet_stmt(&self, stmt: &Stmt) -> Quiet {
        match &stmt.kind {
            StmtKind::Op { op, .. } if op.is_pure() && !matches!(op, Op::Wasm(_)) => Quiet::Yes(None, 1),
            StmtKind::If { then, otherwise, .. } => {
                self.done(*then).and(self.done(*otherwise)).and(Quiet::Yes(None, 1))
            }
            StmtKind::Block { label, body, .. } => match self.done(*body) {
                Quiet::Yes(Some(to), size) if to == *label => Quiet::Yes(None, size + 1),
                other => other,
            },
            _ => Quiet::No,
        }
    }

    fn done(&self, id: RegionId) -> Quiet {
        let made_empty = || if self.passes(id) { Quiet::Yes(None, 0) } else { Quiet::No };
        self.quiet.get(&id).copied().unwrap_or_else(made_empty)
    }

    /// What is to be known of a region whose nested ones are done.
    pub(super) fn quiet_region(&self, id: RegionId) -> Quiet {
        let region = self.function.region(id);
        let exit = match &region.exit {
            Exit::Yield(_) => Quiet::Yes(None, 0),
            Exit::Break(label, _) => Quiet::Yes(Some(*label), 0),
            _ => Quiet::No,
        };
        region.stmts.iter().fold(exit, |all, stmt| if all == Quiet::No { all } else { all.and(self.quiet_stmt(stmt)) })
    }
}

impl Quiet {
    fn and(self, other: Quiet) -> Quiet {
        match (self, other) {
            (Quiet::Yes(a, m), Quiet::Yes(b, n)) if m + n <= MAX_BODY && (a.is_none() || b.is_none() || a == b) => {
                Quiet::Yes(a.or(b), m + n)
            }
            _ => Quiet::No,
        }
    }
}
