//! `data.drop` becomes a cell that says whether the invocation dropped the segment, and a check of it in front of each
//! `memory.init`: what is dropped has no bytes, so that all but the empty range at its start traps.
//!
//! What was dropped before the launch is [`Environment::dropped`](crate::Environment::dropped), and not this pass's matter.

use std::collections::BTreeSet;

use crate::analysis::dataflow;
use crate::error::TrapKind;
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Function, Op, RegionId, Stmt, StmtKind, Type, WasmOp};

/// Replaces `data.drop` in an inlined kernel. The cell of a segment is numbered `first_cell` and the segment's number (see
/// [`promote`](super::promote)).
pub fn expand(function: &mut Function, first_cell: u32) {
    let dropped = segments(function);
    expand_all(function, first_cell, &dropped);
}

/// The segments that a function drops.
pub fn segments(function: &Function) -> BTreeSet<u32> {
    let regions = dataflow::regions(function);
    regions.iter().flat_map(|id| &function.region(*id).stmts).filter_map(dropped).collect()
}

/// The same as [`expand`] in a part of a kernel in which these segments are dropped.
pub fn expand_all(function: &mut Function, first_cell: u32, dropped: &BTreeSet<u32>) {
    if dropped.is_empty() {
        return;
    }
    for id in dataflow::regions(function) {
        expand_region(function, id, first_cell, dropped);
    }
}

fn dropped(stmt: &Stmt) -> Option<u32> {
    match stmt.kind {
        StmtKind::Op { op: Op::DataDrop(segment), .. } => Some(segment),
        _ => None,
    }
}

fn expand_region(function: &mut Function, id: RegionId, first_cell: u32, dropped: &BTreeSet<u32>) {
    let mut list = ListBuilder::default();
    for stmt in std::mem::take(&mut function.region_mut(id).stmts) {
        list.at = stmt.at;
        match &stmt.kind {
            StmtKind::Op { op: Op::DataDrop(segment), .. } => {
                let yes = list.i32(function, 1);
                list.effect(Op::GlobalSet(first_cell + segment), &[yes]);
                continue;
            }
            StmtKind::Op { op: Op::MemoryInit(segment), args, .. } if dropped.contains(segment) => {
                let is_dropped = list.op(function, Op::GlobalGet(first_cell + segment), &[], Type::I32);
                let none = list.i32(function, 0);
                let any = list.wasm(function, WasmOp::I32Or, &args[1..]);
                let any = list.wasm(function, WasmOp::I32Ne, &[any, none]);
                let cond = list.wasm(function, WasmOp::I32And, &[is_dropped, any]);
                list.exit_if(function, cond, Exit::Trap(TrapKind::OutOfBounds));
            }
            _ => {}
        }
        list.stmts.push(stmt);
    }
    function.region_mut(id).stmts = list.stmts;
}
