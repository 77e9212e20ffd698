//! Float operators.
//!
//! In strict mode every instruction that takes or gives floats is `NoContraction`: drivers read it as "exact" and
//! then leave alone comparisons and conversions too, not only sums of products.

use rspirv::spirv::{Decoration, GlslStd450Op, Op, Word};

use super::Emitter;
use super::integer::wrong_emitter;
use crate::error::{Error, Result};
use crate::ir::{Const, LowOp, MathOp, Type, Value};

impl Emitter<'_> {
    /// Marks an instruction as one that must not be combined or rewritten.
    fn exact(&mut self, id: Word) -> Word {
        if self.declares_strict_floats() {
            self.b.decorate(id, Decoration::NoContraction, []);
        }
        id
    }

    /// Core instructions whose result has the operands' type.
    pub(super) fn emit_float_arithmetic(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let ty = self.operand_ty(args)?;
        let ty = self.ty(ty);
        let opcode = match op {
            LowOp::FAdd => Op::FAdd,
            LowOp::FSub => Op::FSub,
            LowOp::FMul => Op::FMul,
            LowOp::FDiv => Op::FDiv,
            LowOp::FNeg => {
                let [value] = self.operands(args)?;
                let id = self.inst(Op::FNegate, ty, &[value])?;
                return Ok(self.exact(id));
            }
            other => return Err(wrong_emitter(other)),
        };
        let operands: [Word; 2] = self.operands(args)?;
        let id = self.inst(opcode, ty, &operands)?;
        Ok(self.exact(id))
    }

    /// Functions of one operand, from GLSL.std.450.
    pub(super) fn emit_float_function(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let ty = self.operand_ty(args)?;
        let ty = self.ty(ty);
        let function = match op {
            LowOp::FSqrt => GlslStd450Op::Sqrt,
            LowOp::FAbs => GlslStd450Op::FAbs,
            LowOp::FTrunc => GlslStd450Op::Trunc,
            LowOp::FFloor => GlslStd450Op::Floor,
            LowOp::FCeil => GlslStd450Op::Ceil,
            LowOp::FRoundEven => GlslStd450Op::RoundEven,
            other => return Err(wrong_emitter(other)),
        };
        let operands: [Word; 1] = self.operands(args)?;
        let id = self.glsl(function, ty, &operands)?;
        Ok(self.exact(id))
    }

    /// Functions of C's library that are instructions of GLSL.std.450.
    pub(super) fn emit_math(&mut self, op: MathOp, args: &[Value]) -> Result<Word> {
        let function = op.on_device().ok_or_else(|| Error::Internal(format!("no device has `{}`", op.name())))?;
        let ty = self.ty(Type::F32);
        let operands = args.iter().map(|arg| self.value(*arg)).collect::<Result<Vec<Word>>>()?;
        let id = self.glsl(function, ty, &operands)?;
        Ok(self.exact(id))
    }

    /// Ordered comparisons to `Bool`.
    pub(super) fn emit_float_comparison(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let opcode = match op {
            LowOp::FEq => Op::FOrdEqual,
            LowOp::FLt => Op::FOrdLessThan,
            LowOp::FLe => Op::FOrdLessThanEqual,
            other => return Err(wrong_emitter(other)),
        };
        let operands: [Word; 2] = self.operands(args)?;
        let ty = self.ty(Type::Bool);
        let id = self.inst(opcode, ty, &operands)?;
        Ok(self.exact(id))
    }

    /// Between floats and integers, and between float types.
    pub(super) fn emit_conversion(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let from = self.operand_ty(args)?;
        let [value] = self.operands(args)?;
        match op {
            LowOp::FToS(to) if self.is_unsigned_only(to) => self.emit_float_to_wide(from, value),
            LowOp::SToF(to) if self.is_unsigned_only(from) => self.emit_wide_to_float(to, value),
            LowOp::FToS(to) => {
                let signed_ty = self.signed_ty(to);
                let id = self.inst(Op::ConvertFToS, signed_ty, &[value])?;
                let id = self.exact(id);
                self.bitcast(id, to)
            }
            LowOp::SToF(to) => {
                let value = self.cast_signed(from, value)?;
                self.convert(Op::ConvertSToF, to, value)
            }
            LowOp::FToU(Type::I64) if from == Type::F32 => self.emit_single_to_wide(value),
            LowOp::FToU(to) => self.convert(Op::ConvertFToU, to, value),
            LowOp::UToF(to) => self.convert(Op::ConvertUToF, to, value),
            LowOp::FToF(to) if to == from => Ok(value),
            LowOp::FToF(to) => self.convert(Op::FConvert, to, value),
            other => Err(wrong_emitter(other)),
        }
    }

    /// An `f32` that fits, as an unsigned 64-bit integer: its high word, and what is left. Both steps are exact, for what is
    /// cut off is 2^32 times an integer of no more bits than the float has. (Of the low word of `OpConvertFToU`'s 64-bit
    /// result NVIDIA's compiler makes a conversion to 32 bits, which saturates.)
    pub(super) fn emit_single_to_wide(&mut self, value: Word) -> Result<Word> {
        let [down, up] = [0x2f80_0000, 0x4f80_0000].map(|bits| self.constant(Const::F32(bits)));
        let (float, word) = (self.ty(Type::F32), self.ty(Type::I32));
        let arithmetic = |emitter: &mut Self, op, ty, args: &[Word]| {
            let id = emitter.inst(op, ty, args)?;
            Ok::<Word, Error>(emitter.exact(id))
        };
        let scaled = arithmetic(self, Op::FMul, float, &[value, down])?;
        let high = arithmetic(self, Op::ConvertFToU, word, &[scaled])?;
        let cut = arithmetic(self, Op::ConvertUToF, float, &[high])?;
        let cut = arithmetic(self, Op::FMul, float, &[cut, up])?;
        let rest = arithmetic(self, Op::FSub, float, &[value, cut])?;
        let low = arithmetic(self, Op::ConvertFToU, word, &[rest])?;
        self.emit_pack(low, high)
    }

    fn convert(&mut self, opcode: Op, to: Type, value: Word) -> Result<Word> {
        let ty = self.ty(to);
        let id = self.inst(opcode, ty, &[value])?;
        Ok(self.exact(id))
    }
}
