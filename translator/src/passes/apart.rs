//! Checks that blocks which `memcpy` copies lie apart go where that is known: blocks of different places, and of the stack
//! at known distances.

use crate::analysis::dataflow;
use crate::analysis::roots::{Roots, roots};
use crate::analysis::stack_offsets::{StackOffsets, stack_offsets};
use crate::error::TrapKind;
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Exit, Function, Op, RegionId, Stmt, StmtKind, Value, WasmOp};
use crate::options::Shape;
use crate::passes::{dead_code, simplify};
use crate::speculation::Assumption;

/// The end of an invocation that finds blocks which are not apart.
pub const BAIL_OUT: Exit = Exit::Trap(TrapKind::BailedOut(Assumption::Apart));

/// Drops the checks of what is known; whether any is left.
pub fn settle(function: &mut Function, shape: &Shape, stack_pointer: Option<u32>) -> bool {
    let regions = dataflow::regions(function);
    let found = regions.iter().filter(|id| function.region(**id).exit == BAIL_OUT).count();
    if found == 0 {
        return false;
    }
    let mut left = found;
    let known = Known {
        definitions: definitions(function, &regions),
        constants: dataflow::constants(function),
        roots: roots(function, shape, stack_pointer),
        offsets: stack_pointer.map(|pointer| stack_offsets(function, pointer)),
    };
    for id in regions {
        let mut at = 0;
        while let Some(stmt) = function.region(id).stmts.get(at) {
            at += 1;
            let StmtKind::If { cond, then, .. } = stmt.kind else { continue };
            if function.region(then).exit != BAIL_OUT || !known.are_apart(cond) {
                continue;
            }
            let mut list = ListBuilder::new(stmt.at);
            let never = list.i32(function, 0);
            let stmts = &mut function.region_mut(id).stmts;
            if let StmtKind::If { cond, .. } = &mut stmts[at - 1].kind {
                *cond = never;
            }
            stmts.splice(at - 1..at - 1, list.stmts);
            (at, left) = (at + 1, left - 1);
        }
    }
    if left < found {
        simplify::simplify(function);
        dead_code::remove(function);
    }
    left > 0
}

/// The operators that values come of, by value.
fn definitions(function: &Function, regions: &[RegionId]) -> Vec<Option<(WasmOp, Args)>> {
    let mut found = vec![None; function.values.len()];
    for stmt in regions.iter().flat_map(|id| &function.region(*id).stmts) {
        if let Stmt { kind: StmtKind::Op { op: Op::Wasm(op), args, result: Some(result) }, .. } = stmt {
            found[result.index()] = Some((*op, args.clone()));
        }
    }
    found
}

struct Known {
    definitions: Vec<Option<(WasmOp, Args)>>,
    constants: Vec<Option<Const>>,
    roots: Roots,
    offsets: Option<StackOffsets>,
}

impl Known {
    /// Whether `to - from` is surely not below the length, or zero, in the condition that says so.
    fn are_apart(&self, cond: Value) -> bool {
        match &self.definitions[cond.index()] {
            Some((WasmOp::I32And, args)) => args.iter().any(|part| self.are_apart(*part)),
            Some((WasmOp::I32LtU, args)) => match &self.definitions[args[0].index()] {
                Some((WasmOp::I32Sub, ends)) => self.lie_apart(ends[0], ends[1], args[1]),
                _ => false,
            },
            _ => false,
        }
    }

    fn lie_apart(&self, to: Value, from: Value, length: Value) -> bool {
        if self.roots.root_of(to).is_apart_from(self.roots.root_of(from)) {
            return true;
        }
        let of = |value| self.offsets.as_ref().and_then(|offsets| offsets.of(value));
        match (of(to), of(from), self.constants.get(length.index())) {
            (Some(to), Some(from), Some(Some(Const::I32(length)))) => {
                let distance = to.wrapping_sub(from);
                distance == 0 || distance >= *length
            }
            _ => false,
        }
    }
}
