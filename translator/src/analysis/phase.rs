//! What numbers and addresses of the stack are modulo a power of two: which member of structures that lie side by side an
//! address is of.

use super::dataflow::{self, Analysis};
use super::ranges::Range;
use crate::ir::{Const, Function, Op, Value, WasmOp};

/// A value modulo a power of two: of a number, or of an address of the stack counted from the stack pointer at the launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    stack: bool,
    residue: u32,
    /// Number of low bits that the residue says; 32 for a constant.
    bits: u32,
}

impl Phase {
    const UNKNOWN: Phase = Phase { stack: false, residue: 0, bits: 0 };
    /// Of what nothing reaches; more bits than there are.
    const UNREACHED: Phase = Phase { stack: false, residue: 0, bits: 64 };

    fn new(stack: bool, residue: u32, bits: u32) -> Phase {
        let kept = if bits >= 32 { u32::MAX } else { (1 << bits) - 1 };
        match bits {
            0 => Phase::UNKNOWN,
            _ => Phase { stack, residue: residue & kept, bits: bits.min(32) },
        }
    }

    fn number(value: u32) -> Phase {
        Phase::new(false, value, 32)
    }

    /// The same so many bytes further on.
    pub(crate) fn plus(self, more: u32) -> Phase {
        Phase::new(self.stack, self.residue.wrapping_add(more), self.bits.min(32))
    }

    /// Whether the other can be so much more than this one.
    pub(crate) fn may_differ_by(self, other: Phase, difference: i64) -> bool {
        if self.stack != other.stack {
            return true;
        }
        let bits = self.bits.min(other.bits).min(32);
        let off = other.residue.wrapping_sub(self.residue).wrapping_sub(difference as u32);
        bits == 0 || off.trailing_zeros() >= bits
    }

    /// The numbers of a range that are of this phase, if they are at most so many.
    pub(crate) fn numbers(self, range: Range, most: usize) -> Option<Vec<u32>> {
        if range.stack || self.stack || range.low < 0 {
            return None;
        }
        let step = 1i64 << self.bits.min(31);
        let first = range.low + (i64::from(self.residue) - range.low).rem_euclid(step);
        let count = (range.high - first).div_euclid(step) + 1;
        (count <= most as i64).then(|| (0..count).map(|number| (first + number * step) as u32).collect())
    }

    fn join(self, other: Phase) -> Phase {
        if self == Phase::UNREACHED || self == other {
            return other;
        }
        match other == Phase::UNREACHED {
            true => self,
            false if self.stack != other.stack => Phase::UNKNOWN,
            false => {
                let apart = self.residue.wrapping_sub(other.residue).trailing_zeros();
                Phase::new(self.stack, self.residue, self.bits.min(other.bits).min(apart))
            }
        }
    }
}

/// The phases of a kernel's `i32`s, by value; `stack_pointer` is that global.
pub(crate) fn phases(function: &Function, stack_pointer: u32) -> Vec<Phase> {
    dataflow::solve(function, Phases { stack_pointer }).0
}

struct Phases {
    stack_pointer: u32,
}

impl Analysis for Phases {
    type Fact = Phase;

    const UNREACHED: Phase = Phase::UNREACHED;

    fn join(&mut self, a: Phase, b: Phase) -> Phase {
        a.join(b)
    }

    fn transfer(&mut self, op: &Op, args: &[Value], _result: Value, facts: &[Phase]) -> Phase {
        let fact = |arg: usize| facts[args[arg].index()];
        match op {
            Op::Const(Const::I32(number)) => Phase::number(*number),
            Op::GlobalGet(global) if *global == self.stack_pointer => Phase::new(true, 0, 32),
            Op::Select => fact(0).join(fact(1)),
            Op::Wasm(op) if args.len() == 2 => match (fact(0), fact(1)) {
                (Phase::UNREACHED, _) | (_, Phase::UNREACHED) => Phase::UNREACHED,
                (a, b) => binary(*op, a, b),
            },
            _ => Phase::UNKNOWN,
        }
    }

    fn parameter(&mut self, _index: usize) -> Phase {
        Phase::UNKNOWN
    }

    fn call_result(&mut self) -> Phase {
        Phase::UNKNOWN
    }
}

fn binary(op: WasmOp, a: Phase, b: Phase) -> Phase {
    let bits = a.bits.min(b.bits);
    let constant = (b.bits == 32 && !b.stack).then_some(b.residue);
    match op {
        WasmOp::I32Add if !(a.stack && b.stack) => {
            Phase::new(a.stack || b.stack, a.residue.wrapping_add(b.residue), bits)
        }
        WasmOp::I32Sub if !b.stack => Phase::new(a.stack, a.residue.wrapping_sub(b.residue), bits),
        WasmOp::I32Shl if !a.stack => constant.map_or(Phase::UNKNOWN, |amount| {
            let amount = amount % 32;
            Phase::new(false, a.residue << amount, a.bits + amount)
        }),
        WasmOp::I32Mul if !a.stack => constant.filter(|factor| *factor != 0).map_or(Phase::UNKNOWN, |factor| {
            Phase::new(false, a.residue.wrapping_mul(factor), a.bits + factor.trailing_zeros())
        }),
        WasmOp::I32And if !a.stack => constant
            .map_or(Phase::UNKNOWN, |mask| Phase::new(false, a.residue & mask, a.bits.max(mask.trailing_zeros()))),
        _ => Phase::UNKNOWN,
    }
}
