//! Which values are the stack pointer at the launch plus a constant.

use super::dataflow::{self, Analysis};
use crate::ir::{Const, Function, Op, StmtKind, Value, WasmOp};

/// No stack is as large, in bytes. A value farther below the stack pointer is one on the way to an address: the constant of
/// an index, as of `a[(i + 0xdc12_3456) % 14]`, which compilers add first and which wraps.
const FARTHEST: u32 = 1 << 26;

/// The constant distances of values from the stack pointer.
#[derive(Debug)]
pub struct StackOffsets {
    facts: Vec<Fact>,
}

impl StackOffsets {
    /// The distance in bytes from the stack pointer at the launch, modulo 2^32, if it is one constant.
    pub fn of(&self, value: Value) -> Option<u32> {
        match self.facts.get(value.index()) {
            Some(Fact::Stack(offset)) => Some(*offset),
            _ => None,
        }
    }
}

impl StackOffsets {
    /// Whether a value may be at no constant distance.
    pub fn is_unknown(&self, value: Value) -> bool {
        !matches!(self.facts.get(value.index()), Some(Fact::Stack(_) | Fact::Unreached))
    }

    /// Whether a value may lie at any distance.
    pub fn is_unbounded(&self, value: Value) -> bool {
        self.is_unknown(value) && !matches!(self.facts.get(value.index()), Some(Fact::Aligned(_)))
    }

    /// The lowest distance at which a frame may lie, in bytes below the stack pointer at the launch.
    pub fn depth(&self) -> u32 {
        let below = |fact: &Fact| match fact {
            Fact::Stack(offset) | Fact::Aligned(offset) => {
                Some(offset.wrapping_neg()).filter(|distance| (1..=FARTHEST).contains(distance))
            }
            _ => None,
        };
        self.facts.iter().filter_map(below).max().unwrap_or(0)
    }

    /// The numbers that are not known beforehand which are subtracted from values at such distances.
    pub fn unknown_subtrahends<'f>(&self, function: &'f Function) -> impl Iterator<Item = Value> + use<'f, '_> {
        let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
        stmts.filter_map(|stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Wasm(WasmOp::I32Sub), args, result: Some(result) } => {
                let is_distance = matches!(self.facts.get(args[0].index()), Some(Fact::Stack(_) | Fact::Aligned(_)));
                (is_distance && self.is_unknown(*result)).then_some(args[1])
            }
            _ => None,
        })
    }
}

/// Finds them in a kernel of Wasm's operators; `stack_pointer` is that global.
pub fn stack_offsets(function: &Function, stack_pointer: u32) -> StackOffsets {
    let (facts, _) = dataflow::solve(function, Distances { stack_pointer });
    StackOffsets { facts }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    Unreached,
    Number(u32),
    Stack(u32),
    /// The stack pointer plus a constant, rounded down to a power of two: not below this distance.
    Aligned(u32),
    Unknown,
}

struct Distances {
    stack_pointer: u32,
}

impl Analysis for Distances {
    type Fact = Fact;

    const UNREACHED: Fact = Fact::Unreached;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        match (a, b) {
            (Fact::Unreached, other) | (other, Fact::Unreached) => other,
            (a, b) if a == b => a,
            _ => Fact::Unknown,
        }
    }

    fn transfer(&mut self, op: &Op, args: &[Value], _result: Value, facts: &[Fact]) -> Fact {
        let fact = |arg: usize| facts[args[arg].index()];
        match op {
            Op::Const(Const::I32(number)) => Fact::Number(*number),
            Op::GlobalGet(global) if *global == self.stack_pointer => Fact::Stack(0),
            Op::Wasm(WasmOp::I32Add) => match (fact(0), fact(1)) {
                (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
                (Fact::Number(a), Fact::Number(b)) => Fact::Number(a.wrapping_add(b)),
                (Fact::Stack(a), Fact::Number(b)) | (Fact::Number(a), Fact::Stack(b)) => Fact::Stack(a.wrapping_add(b)),
                (Fact::Aligned(a), Fact::Number(b)) | (Fact::Number(a), Fact::Aligned(b)) => {
                    Fact::Aligned(a.wrapping_add(b))
                }
                _ => Fact::Unknown,
            },
            Op::Wasm(WasmOp::I32Sub) => match (fact(0), fact(1)) {
                (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
                (Fact::Number(a), Fact::Number(b)) | (Fact::Stack(a), Fact::Stack(b)) => {
                    Fact::Number(a.wrapping_sub(b))
                }
                (Fact::Stack(a), Fact::Number(b)) => Fact::Stack(a.wrapping_sub(b)),
                (Fact::Aligned(a), Fact::Number(b)) => Fact::Aligned(a.wrapping_sub(b)),
                _ => Fact::Unknown,
            },
            Op::Wasm(WasmOp::I32And) => match (fact(0), fact(1)) {
                (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
                (Fact::Stack(a) | Fact::Aligned(a), Fact::Number(mask))
                | (Fact::Number(mask), Fact::Stack(a) | Fact::Aligned(a))
                    if mask.wrapping_neg().is_power_of_two() =>
                {
                    Fact::Aligned(a.wrapping_sub(!mask))
                }
                _ => Fact::Unknown,
            },
            // `sp | 4` where the low bits are zero is how compilers write `sp + 4`, but a guest may misalign its stack.
            Op::Select => self.join(fact(0), fact(1)),
            Op::Undefined => Fact::Unreached,
            _ => Fact::Unknown,
        }
    }

    fn parameter(&mut self, _index: usize) -> Fact {
        Fact::Unknown
    }

    fn call_result(&mut self) -> Fact {
        Fact::Unknown
    }
}
