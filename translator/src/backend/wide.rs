//! Signed operators on 64-bit integers for the portable profile, made of unsigned ones.
//!
//! naga's HLSL writer leaves out the cast between signed and unsigned where it takes 64 bits, so that what stands around
//! it takes the operand's sign for its own. So there, no value is of the signed type.

use rspirv::spirv::{GlslStd450Op, Op, Word};

use super::Emitter;
use super::integer::wrong_emitter;
use crate::error::Result;
use crate::ir::{Const, LowOp, Type};
use crate::options::Profile;

impl Emitter<'_> {
    /// Whether integers of this type are never of the signed type.
    pub(super) fn is_unsigned_only(&self, ty: Type) -> bool {
        ty == Type::I64 && self.options.profile == Profile::Portable
    }

    fn wide(&mut self, op: Op, args: &[Word]) -> Result<Word> {
        let double = self.ty(Type::I64);
        self.inst(op, double, args)
    }

    /// All ones for a negative value, else zero.
    pub(super) fn wide_sign(&mut self, value: Word) -> Result<Word> {
        let (amount, zero) = (self.u32_constant(63), self.constant(Const::I64(0)));
        let bit = self.wide(Op::ShiftRightLogical, &[value, amount])?;
        self.wide(Op::ISub, &[zero, bit])
    }

    /// Arithmetic operators that depend on the sign, but for the remainder; a shift's amount is a word.
    pub(super) fn emit_wide_arithmetic(&mut self, op: LowOp, a: Word, b: Word) -> Result<Word> {
        let sign = self.wide_sign(a)?;
        match op {
            LowOp::ShrS => {
                let flipped = self.wide(Op::BitwiseXor, &[a, sign])?;
                let shifted = self.wide(Op::ShiftRightLogical, &[flipped, b])?;
                self.wide(Op::BitwiseXor, &[shifted, sign])
            }
            LowOp::SDiv => {
                let other_sign = self.wide_sign(b)?;
                let (a, b) = (self.negate_if(Type::I64, a, sign)?, self.negate_if(Type::I64, b, other_sign)?);
                let quotient = self.wide(Op::UDiv, &[a, b])?;
                let sign = self.wide(Op::BitwiseXor, &[sign, other_sign])?;
                self.negate_if(Type::I64, quotient, sign)
            }
            other => Err(wrong_emitter(other)),
        }
    }

    /// `SLt` and `SLe`.
    pub(super) fn emit_wide_comparison(&mut self, op: LowOp, a: Word, b: Word) -> Result<Word> {
        let opcode = match op {
            LowOp::SLt => Op::ULessThan,
            LowOp::SLe => Op::ULessThanEqual,
            other => return Err(wrong_emitter(other)),
        };
        let top = self.constant(Const::I64(1 << 63));
        let (a, b) = (self.wide(Op::BitwiseXor, &[a, top])?, self.wide(Op::BitwiseXor, &[b, top])?);
        let bool_ty = self.ty(Type::Bool);
        self.inst(opcode, bool_ty, &[a, b])
    }

    /// `SMin` and `SMax`.
    pub(super) fn emit_wide_extreme(&mut self, op: LowOp, a: Word, b: Word) -> Result<Word> {
        let less = self.emit_wide_comparison(LowOp::SLt, a, b)?;
        match op {
            LowOp::SMin => self.wide(Op::Select, &[less, a, b]),
            LowOp::SMax => self.wide(Op::Select, &[less, b, a]),
            other => Err(wrong_emitter(other)),
        }
    }

    /// A word with its sign extended.
    pub(super) fn emit_wide_extension(&mut self, low: Word) -> Result<Word> {
        let amount = self.u32_constant(31);
        let (signed, signed_ty) = (self.cast_signed(Type::I32, low)?, self.signed_ty(Type::I32));
        let high = self.inst(Op::ShiftRightArithmetic, signed_ty, &[signed, amount])?;
        let high = self.bitcast(high, Type::I32)?;
        self.emit_pack(low, high)
    }

    /// `SToF`: the magnitude's float, with the sign's bit.
    pub(super) fn emit_wide_to_float(&mut self, to: Type, value: Word) -> Result<Word> {
        let sign = self.wide_sign(value)?;
        let magnitude = self.negate_if(Type::I64, value, sign)?;
        let float_ty = self.ty(to);
        let float = self.inst(Op::ConvertUToF, float_ty, &[magnitude])?;
        let int_ty = self.ty(to.as_int());
        let (sign, top) = match to {
            Type::F32 => (self.inst(Op::UConvert, int_ty, &[sign])?, Const::I32(1 << 31)),
            _ => (sign, Const::I64(1 << 63)),
        };
        let top = self.constant(top);
        let sign = self.inst(Op::BitwiseAnd, int_ty, &[sign, top])?;
        let bits = self.bitcast(float, to.as_int())?;
        let bits = self.inst(Op::BitwiseOr, int_ty, &[bits, sign])?;
        self.bitcast(bits, to)
    }

    /// `FToS`: the magnitude's integer, negated below zero.
    pub(super) fn emit_float_to_wide(&mut self, from: Type, value: Word) -> Result<Word> {
        let (float_ty, bool_ty) = (self.ty(from), self.ty(Type::Bool));
        let (zero, wide_zero) = (self.constant(Const::zero(from)), self.constant(Const::I64(0)));
        let negative = self.inst(Op::FOrdLessThan, bool_ty, &[value, zero])?;
        let magnitude = self.glsl(GlslStd450Op::FAbs, float_ty, &[value])?;
        let magnitude = match from {
            Type::F32 => self.emit_single_to_wide(magnitude)?,
            _ => self.wide(Op::ConvertFToU, &[magnitude])?,
        };
        let negated = self.wide(Op::ISub, &[wide_zero, magnitude])?;
        self.wide(Op::Select, &[negative, negated, magnitude])
    }
}
