//! How many low bits of an integer are known to be zero.

use super::dataflow::{self, Analysis};
use crate::ir::{Const, Function, LowOp, Op, Type, Value, WasmOp};
use crate::options::{Input, WINDOW_ALIGNMENT, immediate};

/// Known trailing zero bits of a function's values.
#[derive(Debug)]
pub struct Alignment {
    zeros: Vec<u32>,
}

impl Alignment {
    /// Number of low bits of `value` that are zero on every path; the type's size for the constant 0, 0 for floats.
    pub fn trailing_zeros(&self, value: Value) -> u32 {
        self.zeros.get(value.index()).copied().unwrap_or(0)
    }
}

/// Zero bits of stack pointers at launches, and of what compilers take off them: 16 bytes, by WebAssembly's C ABI.
pub(crate) const STACK_ALIGNMENT_BITS: u32 = 4;
/// Buffers are 256-byte aligned.
const BUFFER_ALIGNMENT_BITS: u32 = 8;

/// Finds the trailing zeros of all integers. Values that loops carry start as "all zero" and lose bits until nothing
/// changes, so what holds in every iteration is found.
pub fn alignment(function: &Function) -> Alignment {
    let constants = dataflow::constants(function);
    let (facts, analysis) = dataflow::solve(function, TrailingZeros { function, constants });
    let zeros = facts.iter().zip(&analysis.function.values).map(|(zeros, ty)| (*zeros).min(int_bits(*ty))).collect();
    Alignment { zeros }
}

fn int_bits(ty: Type) -> u32 {
    if ty.is_int() { ty.bits() } else { 0 }
}

struct TrailingZeros<'f> {
    function: &'f Function,
    constants: Vec<Option<Const>>,
}

impl TrailingZeros<'_> {
    fn constant(&self, value: Value) -> Option<u64> {
        match self.constants[value.index()]? {
            Const::I32(x) => Some(u64::from(x)),
            Const::I64(x) => Some(x),
            _ => None,
        }
    }

    fn wasm(&self, op: WasmOp, args: &[Value], facts: &[u32]) -> u32 {
        use WasmOp::*;
        let bits = int_bits(op.result());
        let zeros = |arg: usize| facts[args[arg].index()].min(int_bits(self.function.ty(args[arg])));
        match op {
            I32Add | I32Sub | I32Or | I32Xor | I64Add | I64Sub | I64Or | I64Xor => zeros(0).min(zeros(1)),
            I32Mul | I64Mul => (zeros(0) + zeros(1)).min(bits),
            I32And | I64And => zeros(0).max(zeros(1)),
            I32Shl | I64Shl => {
                let amount = self.constant(args[1]).map_or(0, |amount| amount as u32 % bits);
                (zeros(0) + amount).min(bits)
            }
            // Zero stays zero; of anything else the bits that fall off may be the zeros.
            I32ShrU | I32ShrS | I64ShrU | I64ShrS if zeros(0) == bits => bits,
            I32ShrU | I32ShrS | I64ShrU | I64ShrS => match self.constant(args[1]) {
                Some(amount) => zeros(0).saturating_sub(amount as u32 % bits),
                None => 0,
            },
            I32WrapI64 => zeros(0).min(32),
            I64ExtendI32S | I64ExtendI32U => {
                if zeros(0) == 32 {
                    64
                } else {
                    zeros(0)
                }
            }
            I32Extend8S | I64Extend8S => extended(zeros(0), 8, bits),
            I32Extend16S | I64Extend16S => extended(zeros(0), 16, bits),
            I64Extend32S => extended(zeros(0), 32, bits),
            _ => 0,
        }
    }
}

impl TrailingZeros<'_> {
    fn low(&self, op: LowOp, args: &[Value], bits: u32, facts: &[u32]) -> u32 {
        let zeros = |arg: usize| facts[args[arg].index()];
        let amount = || self.constant(args[1]).map(|amount| amount as u32);
        match op {
            LowOp::IAdd | LowOp::ISub | LowOp::Or | LowOp::Xor => zeros(0).min(zeros(1)),
            LowOp::UMin | LowOp::UMax | LowOp::SMin | LowOp::SMax => zeros(0).min(zeros(1)),
            LowOp::IMul => (zeros(0) + zeros(1)).min(bits),
            LowOp::And => zeros(0).max(zeros(1)),
            // A multiple of both, less a multiple of one.
            LowOp::URem | LowOp::SRem => zeros(0).min(zeros(1)),
            LowOp::Shl => (zeros(0) + amount().unwrap_or(0)).min(bits),
            LowOp::ShrU | LowOp::ShrS if zeros(0) >= bits => bits,
            LowOp::ShrU | LowOp::ShrS => amount().map_or(0, |amount| zeros(0).saturating_sub(amount)),
            LowOp::Select => zeros(1).min(zeros(2)),
            _ => 0,
        }
    }
}

/// Sign extension from `width` bits keeps the low bits; where all of them are zero, so is the result.
fn extended(zeros: u32, width: u32, bits: u32) -> u32 {
    if zeros >= width { bits } else { zeros }
}

impl Analysis for TrailingZeros<'_> {
    type Fact = u32;

    const UNREACHED: u32 = 64;

    fn join(&mut self, a: u32, b: u32) -> u32 {
        a.min(b)
    }

    fn transfer(&mut self, op: &Op, args: &[Value], result: Value, facts: &[u32]) -> u32 {
        match op {
            Op::Const(Const::I32(x)) => x.trailing_zeros(),
            Op::Undefined => Type::I32.bits(),
            Op::Const(Const::I64(x)) => x.trailing_zeros(),
            Op::Wasm(op) => self.wasm(*op, args, facts),
            Op::Select => facts[args[0].index()].min(facts[args[1].index()]).min(int_bits(self.function.ty(result))),
            Op::Low(LowOp::Immediate(word)) => match word.checked_sub(immediate::SLOTS) {
                Some(slot) if slot % 2 == 0 => BUFFER_ALIGNMENT_BITS,
                _ => 0,
            },
            Op::Low(LowOp::Input(Input::MemorySize)) => 16,
            Op::Low(LowOp::Input(Input::Pointer { word_aligned: true, .. })) => 2,
            Op::Low(LowOp::Input(Input::StackPointer(_))) => STACK_ALIGNMENT_BITS,
            Op::Low(LowOp::Input(Input::WindowStart)) => WINDOW_ALIGNMENT.trailing_zeros(),
            Op::Low(op) => self.low(*op, args, int_bits(self.function.ty(result)), facts),
            _ => 0,
        }
    }

    fn parameter(&mut self, _index: usize) -> u32 {
        0
    }

    fn call_result(&mut self) -> u32 {
        0
    }
}
