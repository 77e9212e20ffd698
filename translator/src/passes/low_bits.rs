//! Low bits that alignment says: a mask of them becomes a constant, a shift forgets what falls off, and numbers are not equal
//! that differ in them.
//!
//! Four neighbouring invocations access bytes by four addresses, `x`, `x + 1` and so on, of which `x` is a multiple of four.
//! All lie in one word, whose index becomes one value here, and the byte's place in it a constant. Sums are counted from
//! their base, so that equal ones are seen to be equal.

use crate::analysis::dataflow;
use crate::analysis::offsets::Offsets;
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};

/// Simplifies lowered code.
pub fn low_bits(function: &mut Function) {
    let facts = Offsets::new(function);
    for id in dataflow::regions(function) {
        simplify_region(function, &facts, id);
    }
}

fn simplify_region(function: &mut Function, facts: &Offsets, id: RegionId) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut out = Vec::with_capacity(stmts.len());
    for mut stmt in stmts {
        let mut list = ListBuilder::new(stmt.at);
        if let Some(known) = known(&stmt, facts) {
            change(function, &mut list, &mut stmt, known);
        }
        out.append(&mut list.stmts);
        out.push(stmt);
    }
    function.region_mut(id).stmts = out;
}

/// What an operator on sums of a multiple of a power of two and a constant comes to.
enum Known {
    /// This number.
    Number(u32),
    /// Whether the two are equal.
    Decided(bool),
    /// The same of this sum in the place of its first operand.
    Of(Value, u32),
    /// This sum.
    Sum(Value, u32),
}

fn known(stmt: &Stmt, facts: &Offsets) -> Option<Known> {
    let StmtKind::Op { op: Op::Low(op), args, result: Some(result) } = &stmt.kind else { return None };
    match op {
        LowOp::IAdd => {
            let (base, offset) = facts.sum(*result);
            // Sums of a base and a constant are left alone.
            let is_chain = base != *result && base != args[0];
            return is_chain.then_some(Known::Sum(base, offset));
        }
        LowOp::Eq | LowOp::Ne => {
            return differ(facts, args[0], args[1]).then_some(Known::Decided(*op == LowOp::Ne));
        }
        LowOp::And | LowOp::ShrU => {}
        _ => return None,
    }
    let number = facts.constant(args[1])?;
    let (base, offset) = facts.sum(args[0]);
    // All bits of a constant are known, but then nothing is left to do.
    let zeros = facts.trailing_zeros(base).min(31);
    let low = (1 << zeros) - 1;
    match op {
        LowOp::And if number <= low => Some(Known::Number(offset & number)),
        LowOp::ShrU if number <= zeros => {
            let lost = (1 << number) - 1;
            (offset & lost != 0).then_some(Known::Of(base, offset & !lost))
        }
        _ => None,
    }
}

/// Whether two values differ in bits that are known.
fn differ(facts: &Offsets, a: Value, b: Value) -> bool {
    let parts = |value| match facts.constant(value) {
        Some(number) => (31, number),
        None => {
            let (base, offset) = facts.sum(value);
            (facts.trailing_zeros(base).min(31), offset)
        }
    };
    let ((zeros, offset), (others, other)) = (parts(a), parts(b));
    offset.wrapping_sub(other) & ((1 << zeros.min(others)) - 1) != 0
}

fn change(function: &mut Function, list: &mut ListBuilder, stmt: &mut Stmt, known: Known) {
    let StmtKind::Op { op, args, .. } = &mut stmt.kind else { return };
    match known {
        Known::Number(number) => (*op, *args) = (Op::Const(Const::I32(number)), Args::new()),
        Known::Decided(holds) => (*op, *args) = (Op::Const(Const::Bool(holds)), Args::new()),
        Known::Of(base, 0) => args[0] = base,
        Known::Of(base, offset) => {
            let offset = list.i32(function, offset);
            args[0] = list.low(function, LowOp::IAdd, &[base, offset], Type::I32);
        }
        Known::Sum(base, offset) => {
            let offset = list.i32(function, offset);
            *args = [base, offset].into_iter().collect();
        }
    }
}
