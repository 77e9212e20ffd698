//! Which of several checks failed, as one value.
//!
//! Where checks were merged, the region that runs when any of them fails tests one after the other. Written as branches
//! that return, each would cost every invocation something on devices that run many in lockstep; so the number of
//! the trap site is selected, and there is one return.

use rspirv::spirv::Word;

use super::{Emitter, defect};
use crate::error::Result;
use crate::ir::{Exit, Function, LowOp, Op, RegionId, StmtKind, Type};

/// Whether a region does nothing but find out which trap to end in.
pub(crate) fn is_failure(function: &Function, id: RegionId) -> bool {
    let region = function.region(id);
    let is_empty = |id: RegionId| {
        let region = function.region(id);
        region.stmts.is_empty() && matches!(region.exit, Exit::Yield(_))
    };
    matches!(region.exit, Exit::Trap(_)) && region.stmts.iter().all(|stmt| match &stmt.kind {
        StmtKind::Op {
            op: Op::Low(LowOp::LoadWord { .. } | LowOp::LoadLane { .. } | LowOp::LoadData | LowOp::LoadDataLane { .. }),
            ..
        } => false,
        StmtKind::Op { op, .. } => op.is_pure(),
        StmtKind::If { then, otherwise, .. } => is_failure(function, *then) && is_empty(*otherwise),
        _ => false,
    })
}

impl Emitter<'_> {
    /// Emits the operators of such a region into the current block; gives the number of its trap site plus one.
    pub(super) fn emit_failure(&mut self, id: RegionId) -> Result<Word> {
        let function = self.function;
        let region = function.region(id);
        let mut tests = Vec::new();
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Op { op, args, result } => self.emit_op(op, args, *result, stmt.at)?,
                StmtKind::If { cond, then, .. } => tests.push((self.value(*cond)?, self.emit_failure(*then)?)),
                _ => {}
            }
        }
        let mut outcome = match &region.exit {
            Exit::Trap(kind) => self.trap_outcome(region.exit_at, *kind),
            _ => self.u32_constant(0),
        };
        let word = self.ty(Type::I32);
        for (failed, site) in tests.into_iter().rev() {
            outcome = self.b.select(word, None, failed, site, outcome).map_err(defect)?;
        }
        Ok(outcome)
    }
}
