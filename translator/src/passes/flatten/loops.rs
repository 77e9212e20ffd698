//! Loops whose rounds can be told from their number: which there are, how they count, and how they are left.

use crate::analysis::trip_counts::{Count, Definitions, Looking, below, labels};
use crate::ir::{Exit, Function, Label, LowOp, Op, RegionId, Stmt, StmtKind, Value};
use crate::passes::fuel::cost_of_round;

/// A counted loop of which nothing else is carried from one round to the next but what grows by a constant.
pub(super) struct Plan {
    pub count: Count,
    /// What each round adds to each of the loop's parameters.
    pub steps: Vec<u32>,
    /// Number of the branch in the loop's region that ends it.
    pub branch: usize,
    /// What runs when the loop is left, behind that branch, without effects, and how it ends.
    pub leaving: Vec<Stmt>,
    pub exit: Exit,
    /// What the branch's results are then.
    pub results: Vec<(Value, Value)>,
    /// Whether nothing happens in front of the branch, so that the pass that ends the loop is no round.
    pub tested_first: bool,
    /// Whether what the branch does to stay, up to the next round, has no effect.
    pub stays_idle: bool,
    /// Operators of a round.
    pub cost: u32,
}

/// Finds out about a loop.
pub(super) fn plan(function: &Function, definitions: &Definitions, label: Label, body: RegionId) -> Option<Plan> {
    let regions = below(function, body);
    let count = Looking { function, definitions, label, body, below: &regions };
    let count = count.count().filter(|count| count.whole)?;
    let steps = steps(function, definitions, label, body, &regions)?;
    let region = function.region(body);
    let (branch, then, otherwise, results) =
        region.stmts.iter().enumerate().find_map(|(number, stmt)| match &stmt.kind {
            StmtKind::If { then, otherwise, results, .. } if *then == count.branch => {
                Some((number, *then, *otherwise, results))
            }
            _ => None,
        })?;
    let (stays, leaves) = if count.stays_when { (then, otherwise) } else { (otherwise, then) };
    let arm = function.region(leaves);
    let mut leaving = arm.stmts.clone();
    let mut renamed = Vec::new();
    // Regions that are only run to leave.
    let (exit, of_leaving) = match &arm.exit {
        Exit::Yield(values) => {
            renamed.extend(results.iter().copied().zip(values.iter().copied()));
            leaving.extend_from_slice(&region.stmts[branch + 1..]);
            (region.exit.clone(), [leaves, body])
        }
        exit => (exit.clone(), [leaves, leaves]),
    };
    let yields = matches!(arm.exit, Exit::Yield(_));
    let is_pure = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure() && !reads(op));
    let leads_out = match &exit {
        Exit::Yield(_) | Exit::Return(_) => true,
        Exit::Break(to, _) => *to == label || !labels(function, &regions).contains(to),
        _ => false,
    };
    let stays_in = regions.iter().filter(|id| !of_leaving.contains(id)).all(|id| {
        let is_end = *id == stays && yields || *id == body;
        stays_in(function, &regions, label, *id, is_end)
    });
    let idle = |stmts: &[Stmt]| stmts.iter().all(is_pure);
    let goes_on = |id: RegionId| matches!(&function.region(id).exit, Exit::Continue(to, _) if *to == label);
    if !leads_out || !stays_in || !idle(&leaving) {
        return None;
    }
    Some(Plan {
        count,
        steps,
        branch,
        leaving,
        exit,
        results: renamed,
        tested_first: idle(&region.stmts[..branch]),
        stays_idle: idle(&function.region(stays).stmts) && goes_on(stays),
        cost: cost_of_round(function, definitions, body)?,
    })
}

/// Whether an operator's result is not the same whenever it is computed.
fn reads(op: &Op) -> bool {
    matches!(op, Op::Low(op) if op.reads_state())
}

/// Whether a region of a loop ends within it, or traps. `is_end`: its end is the end of the loop, unless it goes on.
fn stays_in(function: &Function, below: &[RegionId], label: Label, id: RegionId, is_end: bool) -> bool {
    match &function.region(id).exit {
        Exit::Yield(_) => !is_end,
        Exit::Continue(to, _) => *to == label || labels(function, below).contains(to),
        Exit::Break(to, _) => labels(function, below).contains(to),
        Exit::Return(_) => false,
        Exit::Trap(_) => true,
    }
}

/// What each way back adds to each of the parameters.
fn steps(
    function: &Function,
    definitions: &Definitions,
    label: Label,
    body: RegionId,
    below: &[RegionId],
) -> Option<Vec<u32>> {
    let params = &function.region(body).params;
    let mut steps: Option<Vec<u32>> = None;
    for id in below {
        let Exit::Continue(to, values) = &function.region(*id).exit else { continue };
        if *to != label {
            continue;
        }
        let found = params.iter().zip(values).map(|(param, value)| {
            let (from, step) = definitions.sum(*value);
            (from == *param).then_some(step as u32)
        });
        let found = found.collect::<Option<Vec<u32>>>()?;
        if steps.as_ref().is_some_and(|steps| *steps != found) {
            return None;
        }
        steps = Some(found);
    }
    steps
}

/// Whether computing it where it was not computed before does no harm.
pub(super) fn is_harmless(op: &Op) -> bool {
    let divides = matches!(op, Op::Low(LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem));
    op.is_pure() && !reads(op) && !divides
}
