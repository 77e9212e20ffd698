//! Speculative forms end where the kernel comes to a call or an access of memory that no rehearsal reached: what is behind is not
//! lifted, whatever it does.

use crate::error::TrapKind;
use crate::ir::{Exit, Function, RegionId, Stmt, StmtKind};
use crate::seen::Seen;
use crate::speculation::Assumption;

/// Cuts a function as the front end left it.
pub(crate) fn cut(function: &mut Function, seen: &Seen) {
    let is_cut = |stmt: &Stmt| is_noted(&stmt.kind) && !seen.has_reached(stmt.at);
    for id in (0..function.regions.len() as u32).map(RegionId) {
        let region = function.region_mut(id);
        let Some(first) = region.stmts.iter().position(is_cut) else { continue };
        region.exit_at = region.stmts[first].at;
        region.exit = Exit::Trap(TrapKind::BailedOut(Assumption::Paths));
        region.stmts.truncate(first);
    }
}

/// Whether a rehearsal takes note of what it reaches.
fn is_noted(kind: &StmtKind) -> bool {
    match kind {
        StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
        StmtKind::Op { op, .. } => op.memory_access().is_some() || op.is_bulk(),
        _ => false,
    }
}
