//! What a list of statements is made of, as far as rounds concern: loops, what stores once, and what all may do.

use super::loops::is_harmless;
use crate::analysis::trip_counts::{below, labels};
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Value};
use crate::passes::coarsen;

/// A part of a list of statements.
pub(super) enum Part {
    /// It stores nothing, and does not lead elsewhere.
    Plain(Stmt),
    /// It stores nothing, but may lead out of a construct around it.
    Leads(Stmt),
    /// Rounds are in it, or what leads out of it and stores.
    Around(Stmt),
    /// What stores: first what may be computed in any case.
    Once(Vec<Stmt>, Vec<Stmt>),
    Loop(Stmt),
}

/// What is in regions.
pub(super) struct Contents<'f> {
    function: &'f Function,
    loops: HashSet<RegionId>,
    stores: HashSet<RegionId>,
}

impl<'f> Contents<'f> {
    /// `None` where something in the kernel orders accesses, or is there once for each invocation.
    pub fn new(function: &'f Function) -> Option<Self> {
        let mut contents = Contents { function, loops: HashSet::new(), stores: HashSet::new() };
        let mut order = crate::analysis::dataflow::regions(function);
        // Those below come before.
        order.reverse();
        let mut found: HashMap<RegionId, (bool, bool)> = HashMap::new();
        for _ in 0..2 {
            for id in &order {
                let (mut loops, mut stores) = (false, false);
                for stmt in &function.region(*id).stmts {
                    if let StmtKind::Op { op: Op::Low(op), .. } = &stmt.kind {
                        if !is_supported(*op) {
                            return None;
                        }
                        stores |= op.stored_slot().is_some();
                    }
                    loops |= matches!(stmt.kind, StmtKind::Loop { .. });
                    for below in stmt.kind.each_region() {
                        let (l, s) = found.get(&below).copied().unwrap_or_default();
                        (loops, stores) = (loops | l, stores | s);
                    }
                }
                found.insert(*id, (loops, stores));
            }
        }
        contents.loops.extend(found.iter().filter(|(_, (loops, _))| *loops).map(|(id, _)| *id));
        contents.stores.extend(found.iter().filter(|(_, (_, stores))| *stores).map(|(id, _)| *id));
        Some(contents)
    }

    /// Whether there is any loop.
    pub fn has_loops(&self) -> bool {
        self.loops.contains(&self.function.body)
    }

    fn loops_in(&self, stmt: &Stmt) -> bool {
        stmt.kind.each_region().any(|id| self.loops.contains(&id))
    }

    fn stores_in(&self, stmt: &Stmt) -> bool {
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } => op.stored_slot().is_some(),
            kind => kind.each_region().any(|id| self.stores.contains(&id)),
        }
    }

    /// The parts of these statements.
    pub fn parts(&self, stmts: &[Stmt]) -> Vec<Part> {
        let (mut parts, mut run) = (Vec::new(), Vec::new());
        for stmt in stmts {
            let make: fn(Stmt) -> Part = match &stmt.kind {
                StmtKind::Op { .. } => {
                    run.push(stmt.clone());
                    continue;
                }
                StmtKind::Loop { .. } => Part::Loop,
                _ => match (self.loops_in(stmt), self.stores_in(stmt), leads_out(self.function, stmt)) {
                    (true, ..) | (_, true, true) => Part::Around,
                    (false, true, false) if !stmt.kind.results().is_empty() => Part::Around,
                    (false, false, true) => Part::Leads,
                    (false, _, false) => {
                        run.push(stmt.clone());
                        continue;
                    }
                },
            };
            self.end(&mut parts, std::mem::take(&mut run));
            parts.push(make(stmt.clone()));
        }
        self.end(&mut parts, run);
        parts
    }

    /// Statements without loops among them, and none that leads out.
    fn end(&self, parts: &mut Vec<Part>, mut run: Vec<Stmt>) {
        let last = run.iter().rposition(|stmt| self.stores_in(stmt));
        let behind = run.split_off(last.map_or(0, |last| last + 1));
        let (mut before, mut inside, mut hidden) = (Vec::new(), Vec::new(), HashSet::<Value>::new());
        for stmt in run {
            match self.is_free(&stmt, &hidden) {
                true => before.push(stmt),
                false => {
                    hidden.extend(stmt.kind.results());
                    inside.push(stmt);
                }
            }
        }
        if last.is_some() {
            parts.push(Part::Once(before, inside));
        }
        parts.extend(behind.into_iter().map(Part::Plain));
    }
}

impl Contents<'_> {
    /// Whether a statement may run where none did: nothing in it loads, stores, or traps, or takes one of these values.
    fn is_free(&self, stmt: &Stmt, hidden: &HashSet<Value>) -> bool {
        let knows = |values: &[Value]| !values.iter().any(|value| hidden.contains(value));
        let is_free = match &stmt.kind {
            StmtKind::Op { op, .. } => is_harmless(op),
            StmtKind::If { .. } | StmtKind::Block { .. } => true,
            _ => false,
        };
        is_free
            && knows(stmt.kind.args())
            && stmt.kind.each_region().all(|id| {
                let region = self.function.region(id);
                !matches!(region.exit, Exit::Trap(_))
                    && knows(region.exit.values())
                    && region.stmts.iter().all(|stmt| self.is_free(stmt, hidden))
            })
    }
}

/// Whether a statement may lead out of a construct around it.
pub(super) fn leads_out(function: &Function, stmt: &Stmt) -> bool {
    let regions: Vec<RegionId> = stmt.kind.each_region().flat_map(|id| below(function, id)).collect();
    let mut own = labels(function, &regions);
    if let StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } = &stmt.kind {
        own.insert(*label);
    }
    regions.iter().any(|id| match &function.region(*id).exit {
        Exit::Break(to, _) | Exit::Continue(to, _) => !own.contains(to),
        Exit::Return(_) => true,
        Exit::Yield(_) | Exit::Trap(_) => false,
    })
}

/// Whether an operator may run in another invocation than those before it and behind it.
fn is_supported(op: LowOp) -> bool {
    coarsen::is_supported(op)
        && !matches!(op, LowOp::LoadLane { .. } | LowOp::StoreQuad { .. } | LowOp::StorePair { .. })
}
