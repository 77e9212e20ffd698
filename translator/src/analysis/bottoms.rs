//! Which values may be where the stack ends at some time, below which a function makes its arrays: as the stack pointer itself is,
//! and what compilers keep in its place in functions that call nothing.

use super::alignment::{Alignment, STACK_ALIGNMENT_BITS};
use super::dataflow::{self, Analysis};
use super::stack_offsets::StackOffsets;
use crate::ir::{Const, Function, Op, StmtKind, Value, WasmOp};

/// An array that is made at no known distance from the stack pointer, below what may be an end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    /// Where it begins.
    pub start: Value,
    /// The end below which it is made is at no known distance either: a loop moves it, or it is one of several.
    pub below_unknown: bool,
}

/// The arrays that a kernel makes at no known distance.
pub(crate) fn made(
    function: &Function,
    stack_pointer: u32,
    offsets: &StackOffsets,
    alignment: &Alignment,
) -> Vec<Made> {
    let steps = Steps { constants: dataflow::constants(function), alignment };
    let (facts, Bottoms { steps, .. }) = dataflow::solve(function, Bottoms { stack_pointer, steps });
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let made = stmts.filter_map(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Wasm(op), args, result: Some(start) } => {
            let top = steps.top(*op, args).filter(|top| facts[top.index()] == Fact::Bottom)?;
            let made = Made { start: *start, below_unknown: offsets.is_unbounded(top) };
            offsets.is_unbounded(*start).then_some(made)
        }
        _ => None,
    });
    made.collect()
}

/// How much room arrays take: whole units of the stack's alignment.
struct Steps<'a> {
    constants: Vec<Option<Const>>,
    alignment: &'a Alignment,
}

impl Steps<'_> {
    fn constant(&self, value: Value) -> Option<u32> {
        match self.constants.get(value.index()) {
            Some(Some(Const::I32(number))) => Some(*number),
            _ => None,
        }
    }

    /// The operand that an operator rounds down to a power of two, if it does that.
    fn rounded(&self, op: WasmOp, args: &[Value]) -> Option<Value> {
        let is_mask = |value| self.constant(value).is_some_and(|mask| mask.wrapping_neg().is_power_of_two());
        match op {
            WasmOp::I32And if is_mask(args[1]) => Some(args[0]),
            WasmOp::I32And if is_mask(args[0]) => Some(args[1]),
            _ => None,
        }
    }

    /// The operand below which an operator takes room, if it may do that.
    fn top(&self, op: WasmOp, args: &[Value]) -> Option<Value> {
        match op {
            WasmOp::I32Sub => {
                let takes = match self.constant(args[1]) {
                    // Optimisers write the sum with 64 as the difference with -64, which is shorter.
                    Some(room) => (room as i32) > 0 && room.trailing_zeros() >= STACK_ALIGNMENT_BITS,
                    None => self.alignment.trailing_zeros(args[1]) >= STACK_ALIGNMENT_BITS,
                };
                takes.then_some(args[0])
            }
            WasmOp::I32Add => [(args[0], args[1]), (args[1], args[0])].into_iter().find_map(|(top, room)| {
                let room = self.constant(room)? as i32;
                (room < 0 && room.trailing_zeros() >= STACK_ALIGNMENT_BITS).then_some(top)
            }),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    Other,
    /// It may be an end of the stack.
    Bottom,
}

struct Bottoms<'a> {
    stack_pointer: u32,
    steps: Steps<'a>,
}

impl Analysis for Bottoms<'_> {
    type Fact = Fact;

    const UNREACHED: Fact = Fact::Unreached;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        match (a, b) {
            (Fact::Unreached, other) | (other, Fact::Unreached) => other,
            (Fact::Other, Fact::Other) => Fact::Other,
            _ => Fact::Bottom,
        }
    }

    fn transfer(&mut self, op: &Op, args: &[Value], _result: Value, facts: &[Fact]) -> Fact {
        match op {
            Op::GlobalGet(global) if *global == self.stack_pointer => Fact::Bottom,
            Op::Wasm(op) => match self.steps.top(*op, args).or_else(|| self.steps.rounded(*op, args)) {
                Some(top) => facts[top.index()],
                None => Fact::Other,
            },
            Op::Select => self.join(facts[args[0].index()], facts[args[1].index()]),
            Op::Undefined => Fact::Unreached,
            _ => Fact::Other,
        }
    }

    fn parameter(&mut self, _index: usize) -> Fact {
        Fact::Other
    }

    fn call_result(&mut self) -> Fact {
        Fact::Other
    }
}
