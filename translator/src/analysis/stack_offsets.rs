//! Which values are the stack pointer at the launch plus a constant.

use super::dataflow::{self, Analysis};
use crate::ir::{Const, Function, Op, Value, WasmOp};

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

    /// Whether a value is below the stack pointer at the launch.
    pub fn any_below(&self) -> bool {
        self.facts.iter().any(|fact| matches!(fact, Fact::Stack(offset) if (*offset as i32) < 0))
    }

    /// The lowest distance, in bytes below the stack pointer at the launch.
    pub fn depth(&self) -> u32 {
        let below = |fact: &Fact| match fact {
            Fact::Stack(offset) if (*offset as i32) < 0 => Some((*offset as i32).unsigned_abs()),
            _ => None,
        };
        self.facts.iter().filter_map(below).max().unwrap_or(0)
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
                _ => Fact::Unknown,
            },
            Op::Wasm(WasmOp::I32Sub) => match (fact(0), fact(1)) {
                (Fact::Unreached, _) | (_, Fact::Unreached) => Fact::Unreached,
                (Fact::Number(a), Fact::Number(b)) | (Fact::Stack(a), Fact::Stack(b)) => {
                    Fact::Number(a.wrapping_sub(b))
                }
                (Fact::Stack(a), Fact::Number(b)) => Fact::Stack(a.wrapping_sub(b)),
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
