//! Parameters of counted loops, as the host can compute them: a start, and the step as often as the loop goes back to its
//! start at most.
//!
//! That holds at the top of each iteration; where a loop is tested in front of its body, the body has one step less than that,
//! and checks in it may look as if they could fail.

use super::{ANYTHING, Defs};
use crate::analysis::dataflow;
use crate::analysis::trip_counts::{Count, Definitions, Looking, below};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Function, Label, LowOp, Op, RegionId, StmtKind, Type, Value};

/// A counted loop.
struct Counted {
    params: Vec<Value>,
    inits: Vec<Value>,
    /// What each iteration adds to a parameter, if it is the same each time.
    steps: Vec<Option<i32>>,
    count: Count,
}

/// Defines the parameters of counted loops.
pub(super) fn define(function: &mut Function, defs: &mut Defs) {
    let loops = loops(function);
    if loops.is_empty() {
        return;
    }
    let definitions = Definitions::new(function);
    for (label, inits, body) in loops {
        if let Some(counted) = counted(function, &definitions, (label, inits, body)) {
            counted.define(function, defs);
        }
    }
}

/// All loops, each before those in it.
fn loops(function: &Function) -> Vec<(Label, Vec<Value>, RegionId)> {
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    stmts
        .filter_map(|stmt| match &stmt.kind {
            StmtKind::Loop { label, inits, body, .. } => Some((*label, inits.to_vec(), *body)),
            _ => None,
        })
        .collect()
}

fn counted(
    function: &Function,
    definitions: &Definitions,
    (label, inits, body): (Label, Vec<Value>, RegionId),
) -> Option<Counted> {
    let below = below(function, body);
    let looking = Looking { function, definitions, label, body, below: &below };
    let count = looking.count()?;
    let params = function.region(body).params.to_vec();
    let steps = params.iter().enumerate().map(|(number, param)| looking.step(number, *param)).collect();
    Some(Counted { params, inits, steps, count })
}

impl Counted {
    fn define(&self, function: &mut Function, defs: &mut Defs) {
        let mut list = ListBuilder::new(function.region(function.body).exit_at);
        let times = self.count.emit(function, &mut list, self.inits[self.count.number]);
        // Any number up to that one.
        let anything = list.op(function, ANYTHING, &[], Type::I32);
        let done = list.low(function, LowOp::UMin, &[anything, times], Type::I32);
        for stmt in list.stmts {
            if let StmtKind::Op { op, args, result: Some(result) } = stmt.kind {
                defs.insert(result, (op, args.to_vec()));
            }
        }
        for ((param, init), step) in self.params.iter().zip(&self.inits).zip(&self.steps) {
            let Some(step) = step.filter(|_| function.ty(*param) == Type::I32) else { continue };
            let mut define = |op: Op, args: Vec<Value>| super::define(function, defs, *param, op, args);
            let size = define(Op::Const(Const::I32(step.unsigned_abs())), Vec::new());
            let moved = define(Op::Low(LowOp::IMul), vec![done, size]);
            let op = if step < 0 { LowOp::ISub } else { LowOp::IAdd };
            defs.insert(*param, (Op::Low(op), vec![*init, moved]));
        }
    }
}
