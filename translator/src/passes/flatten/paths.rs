//! The ways through a kernel with rounds: what is in each proves that the rounds don't see one another, and says how many there
//! are.
//!
//! Outside of rounds nothing is stored, and nothing is loaded that rounds store: every invocation computes the same there as
//! the one whose rounds it shares. Within rounds, all places in a buffer that is stored to grow by one number from round to
//! round, by more than what one round accesses; and what follows a loop, on the way that leads there, lies behind all that
//! it accessed. Trap: what may trap behind all rounds is one round more, which does nothing else.

use super::accesses::{Known, are_apart, stored};
use super::{Group, parts};
use crate::analysis::dataflow;
use crate::analysis::rounds::{Builder, Rounds};
use crate::analysis::trip_counts::below;
use crate::hash::{HashMap, HashMapExt, HashSet};
use crate::ir::{Args, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Value};

/// Most ways through a kernel.
const MAX_PATHS: usize = 64;

/// A way through the kernel, up to some point.
#[derive(Clone, Default)]
struct Path {
    /// The values that results of constructs are.
    bound: HashMap<Value, Value>,
    conditions: Vec<(Value, bool)>,
    rounds: Vec<RegionId>,
    /// Whether something may have trapped since the last round.
    may_trap: bool,
}

struct Walker<'f> {
    function: &'f Function,
    rounds: &'f HashMap<RegionId, Group>,
    stored: HashSet<u32>,
    ended: Vec<Path>,
}

/// Finds out how many rounds there are in a function whose iteration id is `id`; `None` where they may see one another.
pub(super) fn rounds(
    function: &Function,
    id: Value,
    rounds: &HashMap<RegionId, Group>,
    distances: &HashMap<Value, (Value, u32)>,
    cost: u32,
) -> Option<Rounds> {
    let mut walker = Walker { function, rounds, stored: stored(function), ended: Vec::new() };
    let ends = walker.region(function.body, Path::default())?;
    walker.ended.extend(ends.into_iter().map(|(_, path)| path));
    let defs = definitions(function);
    let lefts = rounds.values().map(|group| group.left).collect();
    let mut builder = Builder::new(&defs, id);
    let mut stride = 0;
    for path in &walker.ended {
        let known = Known { function, defs: &defs, bound: &path.bound, distances, lefts: &lefts };
        let groups: Vec<(RegionId, &Group)> = path.rounds.iter().map(|region| (*region, &rounds[region])).collect();
        stride = stride.max(are_apart(&known, &groups, &walker.stored)?);
        let loops: Vec<Value> = groups.iter().filter_map(|(_, group)| group.count).collect();
        let more = groups.iter().filter(|(_, group)| group.count.is_none() || group.one_more).count() as u32;
        builder.add(&path.conditions, (&loops, more + u32::from(path.may_trap)), &path.bound)?;
    }
    Some(builder.finish(cost, stride))
}

/// What defines values: operators, and branches, whose results are selected.
pub(super) fn definitions(function: &Function) -> HashMap<Value, (Op, Args)> {
    let mut defs = HashMap::new();
    for stmt in dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        match &stmt.kind {
            StmtKind::Op { op, args, result: Some(result) } => _ = defs.insert(*result, (*op, args.clone())),
            StmtKind::If { cond, then, otherwise, results } => {
                let arms = [*then, *otherwise].map(|id| &function.region(id).exit);
                let [Exit::Yield(a), Exit::Yield(b)] = arms else { continue };
                for (result, (a, b)) in results.iter().zip(a.iter().zip(b)) {
                    defs.insert(*result, (Op::Low(LowOp::Select), Args::from_slice(&[*cond, *a, *b])));
                }
            }
            _ => {}
        }
    }
    defs
}

impl Walker<'_> {
    /// All ways through a region, with how they leave it.
    fn region(&mut self, id: RegionId, path: Path) -> Option<Vec<(Exit, Path)>> {
        let function = self.function;
        let region = function.region(id);
        let (mut paths, mut left) = (vec![path], Vec::new());
        for stmt in &region.stmts {
            let mut behind = Vec::new();
            for path in paths {
                self.stmt(stmt, path, &mut behind, &mut left)?;
            }
            paths = behind;
            if paths.len() + left.len() + self.ended.len() > MAX_PATHS {
                return None;
            }
        }
        for mut path in paths {
            match &region.exit {
                Exit::Return(_) => self.ended.push(path),
                Exit::Trap(_) => {
                    path.may_trap = true;
                    self.ended.push(path);
                }
                exit => left.push((exit.clone(), path)),
            }
        }
        Some(left)
    }

    fn stmt(
        &mut self,
        stmt: &Stmt,
        mut path: Path,
        behind: &mut Vec<Path>,
        left: &mut Vec<(Exit, Path)>,
    ) -> Option<()> {
        match &stmt.kind {
            StmtKind::Op { .. } => {
                self.check(stmt)?;
                behind.push(path);
            }
            StmtKind::If { then, .. } if self.rounds.contains_key(then) => {
                path.rounds.push(*then);
                path.may_trap = false;
                behind.push(path);
            }
            kind if !self.forks(stmt) => {
                for id in kind.each_region().flat_map(|id| below(self.function, id)) {
                    let region = self.function.region(id);
                    region.stmts.iter().try_for_each(|stmt| self.check(stmt))?;
                    path.may_trap |= matches!(region.exit, Exit::Trap(_));
                }
                behind.push(path);
            }
            StmtKind::If { cond, then, otherwise, results } => {
                for (arm, holds) in [(*then, true), (*otherwise, false)] {
                    let mut path = path.clone();
                    path.conditions.push((*cond, holds));
                    for (exit, mut path) in self.region(arm, path)? {
                        match exit {
                            Exit::Yield(values) => {
                                path.bound.extend(results.iter().copied().zip(values));
                                behind.push(path);
                            }
                            exit => left.push((exit, path)),
                        }
                    }
                }
            }
            StmtKind::Block { label, body, results } => {
                for (exit, mut path) in self.region(*body, path)? {
                    match exit {
                        Exit::Break(to, _) if to != *label => left.push((exit, path)),
                        Exit::Yield(values) | Exit::Break(_, values) => {
                            path.bound.extend(results.iter().copied().zip(values));
                            behind.push(path);
                        }
                        exit => left.push((exit, path)),
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether rounds are in a construct, or it leads out of one around it.
    fn forks(&self, stmt: &Stmt) -> bool {
        let has_rounds = || {
            let mut regions = stmt.kind.each_region().flat_map(|id| below(self.function, id));
            regions.any(|id| self.rounds.contains_key(&id))
        };
        parts::leads_out(self.function, stmt) || has_rounds()
    }

    /// Refuses a load of what rounds store.
    fn check(&self, stmt: &Stmt) -> Option<()> {
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } => {
                let slot = op.loaded_slot();
                slot.is_none_or(|slot| !self.stored.contains(&slot)).then_some(())
            }
            StmtKind::Loop { .. } => None,
            _ => Some(()),
        }
    }
}
