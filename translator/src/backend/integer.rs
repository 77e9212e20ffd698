//! Integer operators.
//!
//! An operator that depends on the sign gets operands of the signed type, and its result is cast back.

use rspirv::dr::Operand;
use rspirv::spirv::{GlslStd450Op, Op, Word};

use super::Emitter;
use crate::error::{Error, Result};
use crate::ir::{Const, LowOp, Type, Value};
use crate::options::Profile;

impl Emitter<'_> {
    /// Operators of two operands and a result of one type.
    pub(super) fn emit_arithmetic(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let ty = self.operand_ty(args)?;
        let [a, b] = self.operands(args)?;
        let (opcode, signed) = match op {
            LowOp::IAdd => (Op::IAdd, false),
            LowOp::ISub => (Op::ISub, false),
            LowOp::IMul => (Op::IMul, false),
            LowOp::UDiv => (Op::UDiv, false),
            LowOp::SDiv => (Op::SDiv, true),
            // The same operation for unsigned operands, and the one of the two that naga knows.
            LowOp::URem => (Op::UMod, false),
            LowOp::SRem => (Op::SRem, true),
            LowOp::And => (Op::BitwiseAnd, false),
            LowOp::Or => (Op::BitwiseOr, false),
            LowOp::Xor => (Op::BitwiseXor, false),
            LowOp::Shl => (Op::ShiftLeftLogical, false),
            LowOp::ShrU => (Op::ShiftRightLogical, false),
            LowOp::ShrS => (Op::ShiftRightArithmetic, true),
            other => return Err(wrong_emitter(other)),
        };
        let divides = matches!(op, LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem);
        if divides && b == self.constant(Const::zero(ty)) {
            // Its check is in front of it, so it is never reached; readers reject it even so.
            return Ok(b);
        }
        if matches!(op, LowOp::Shl | LowOp::ShrU | LowOp::ShrS) {
            return self.emit_shift(opcode, signed, ty, a, b);
        }
        if !signed {
            let ty = self.ty(ty);
            return self.inst(opcode, ty, &[a, b]);
        }
        if op == LowOp::SRem && (self.options.profile == Profile::Vulkan || self.is_unsigned_only(ty)) {
            return self.emit_signed_remainder(ty, a, b);
        }
        if self.is_unsigned_only(ty) {
            return self.emit_wide_arithmetic(op, a, b);
        }
        let signed_ty = self.signed_ty(ty);
        let (a, b) = (self.cast_signed(ty, a)?, self.cast_signed(ty, b)?);
        let result = self.inst(opcode, signed_ty, &[a, b])?;
        self.bitcast(result, ty)
    }

    /// Vulkan leaves `OpSRem` of negative operands undefined (before its maintenance8), and NVIDIA's driver gets some wrong:
    /// the remainder of the magnitudes, with the dividend's sign.
    fn emit_signed_remainder(&mut self, ty: Type, a: Word, b: Word) -> Result<Word> {
        let (sign, other_sign) = (self.sign_mask(ty, a)?, self.sign_mask(ty, b)?);
        let (a, b) = (self.negate_if(ty, a, sign)?, self.negate_if(ty, b, other_sign)?);
        let ty_id = self.ty(ty);
        let rest = self.inst(Op::UMod, ty_id, &[a, b])?;
        self.negate_if(ty, rest, sign)
    }

    /// All ones for a negative value, else zero.
    fn sign_mask(&mut self, ty: Type, value: Word) -> Result<Word> {
        if self.is_unsigned_only(ty) {
            return self.wide_sign(value);
        }
        let (signed_ty, amount) = (self.signed_ty(ty), self.u32_constant(ty.bits() - 1));
        let value = self.cast_signed(ty, value)?;
        let mask = self.inst(Op::ShiftRightArithmetic, signed_ty, &[value, amount])?;
        self.bitcast(mask, ty)
    }

    /// The negated value where `sign` is all ones, the value itself where it is zero.
    pub(super) fn negate_if(&mut self, ty: Type, value: Word, sign: Word) -> Result<Word> {
        let ty = self.ty(ty);
        let flipped = self.inst(Op::BitwiseXor, ty, &[value, sign])?;
        self.inst(Op::ISub, ty, &[flipped, sign])
    }

    /// The high word of a product, for which naga has no operator.
    pub(super) fn emit_high_product(&mut self, args: &[Value]) -> Result<Word> {
        if self.options.profile == Profile::Portable {
            return Err(wrong_emitter(LowOp::MulHigh));
        }
        let [a, b] = self.operands(args)?;
        let (word, pair) = (self.ty(Type::I32), self.product_ty());
        let product = self.inst(Op::UMulExtended, pair, &[a, b])?;
        self.inst_of(Op::CompositeExtract, word, vec![Operand::IdRef(product), Operand::LiteralBit32(1)])
    }

    fn emit_shift(&mut self, opcode: Op, signed: bool, ty: Type, value: Word, amount: Word) -> Result<Word> {
        // naga takes amounts of 32 bits only.
        let amount = if ty == Type::I64 {
            let word = self.ty(Type::I32);
            self.inst(Op::UConvert, word, &[amount])?
        } else {
            amount
        };
        if !signed {
            let ty = self.ty(ty);
            return self.inst(opcode, ty, &[value, amount]);
        }
        if self.is_unsigned_only(ty) {
            return self.emit_wide_arithmetic(LowOp::ShrS, value, amount);
        }
        let signed_ty = self.signed_ty(ty);
        let value = self.cast_signed(ty, value)?;
        let result = self.inst(opcode, signed_ty, &[value, amount])?;
        self.bitcast(result, ty)
    }

    /// The bits of an integer of type `ty` as the signed type.
    pub(super) fn cast_signed(&mut self, ty: Type, value: Word) -> Result<Word> {
        let signed_ty = self.signed_ty(ty);
        self.inst(Op::Bitcast, signed_ty, &[value])
    }

    /// Minimum, maximum and bit counts.
    pub(super) fn emit_int_function(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let ty = self.operand_ty(args)?;
        let ty_id = self.ty(ty);
        let (function, signed) = match op {
            LowOp::UMin => (GlslStd450Op::UMin, false),
            LowOp::UMax => (GlslStd450Op::UMax, false),
            LowOp::SMin => (GlslStd450Op::SMin, true),
            LowOp::SMax => (GlslStd450Op::SMax, true),
            _ => {
                let [value] = self.operands(args)?;
                if ty != Type::I32 {
                    return Err(Error::Internal(format!("{op:?} has an operand of type {ty:?}")));
                }
                return match op {
                    LowOp::FindMsb => self.glsl(GlslStd450Op::FindUMsb, ty_id, &[value]),
                    LowOp::FindLsb => self.glsl(GlslStd450Op::FindILsb, ty_id, &[value]),
                    LowOp::BitCount => self.inst(Op::BitCount, ty_id, &[value]),
                    other => Err(wrong_emitter(other)),
                };
            }
        };
        let [a, b] = self.operands(args)?;
        if !signed {
            return self.glsl(function, ty_id, &[a, b]);
        }
        if self.is_unsigned_only(ty) {
            return self.emit_wide_extreme(op, a, b);
        }
        let signed_ty = self.signed_ty(ty);
        let (a, b) = (self.cast_signed(ty, a)?, self.cast_signed(ty, b)?);
        let result = self.glsl(function, signed_ty, &[a, b])?;
        self.bitcast(result, ty)
    }

    /// Comparisons to `Bool`.
    pub(super) fn emit_int_comparison(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let ty = self.operand_ty(args)?;
        let [mut a, mut b] = self.operands(args)?;
        let opcode = match op {
            LowOp::Eq => Op::IEqual,
            LowOp::Ne => Op::INotEqual,
            LowOp::ULt => Op::ULessThan,
            LowOp::ULe => Op::ULessThanEqual,
            LowOp::SLt => Op::SLessThan,
            LowOp::SLe => Op::SLessThanEqual,
            other => return Err(wrong_emitter(other)),
        };
        if matches!(op, LowOp::SLt | LowOp::SLe) {
            if self.is_unsigned_only(ty) {
                return self.emit_wide_comparison(op, a, b);
            }
            (a, b) = (self.cast_signed(ty, a)?, self.cast_signed(ty, b)?);
        }
        let bool_ty = self.ty(Type::Bool);
        self.inst(opcode, bool_ty, &[a, b])
    }

    /// Between 32 and 64 bits.
    pub(super) fn emit_width(&mut self, op: LowOp, args: &[Value]) -> Result<Word> {
        let (word, double) = (self.ty(Type::I32), self.ty(Type::I64));
        if op == LowOp::Pack64 {
            let [low, high] = self.operands(args)?;
            return self.emit_pack(low, high);
        }
        let [value] = self.operands(args)?;
        match op {
            LowOp::Wrap => self.inst(Op::UConvert, word, &[value]),
            LowOp::ExtendU => self.inst(Op::UConvert, double, &[value]),
            LowOp::ExtendS if self.is_unsigned_only(Type::I64) => self.emit_wide_extension(value),
            LowOp::ExtendS => {
                let signed_ty = self.signed_ty(Type::I64);
                let value = self.cast_signed(Type::I32, value)?;
                let result = self.inst(Op::SConvert, signed_ty, &[value])?;
                self.bitcast(result, Type::I64)
            }
            LowOp::High if self.options.profile == Profile::Vulkan => {
                let pair_ty = self.words_ty(2);
                let pair = self.inst(Op::Bitcast, pair_ty, &[value])?;
                self.inst_of(Op::CompositeExtract, word, vec![Operand::IdRef(pair), Operand::LiteralBit32(1)])
            }
            LowOp::High => {
                let amount = self.constant(Const::I32(32));
                let high = self.inst(Op::ShiftRightLogical, double, &[value, amount])?;
                self.inst(Op::UConvert, word, &[high])
            }
            other => Err(wrong_emitter(other)),
        }
    }

    /// Two words as one integer.
    pub(super) fn emit_pack(&mut self, low: Word, high: Word) -> Result<Word> {
        let double = self.ty(Type::I64);
        if self.options.profile == Profile::Vulkan {
            let pair_ty = self.words_ty(2);
            let pair = self.inst(Op::CompositeConstruct, pair_ty, &[low, high])?;
            return self.inst(Op::Bitcast, double, &[pair]);
        }
        // naga can't cast a vector to a wider scalar.
        let low = self.inst(Op::UConvert, double, &[low])?;
        let high = self.inst(Op::UConvert, double, &[high])?;
        let amount = self.constant(Const::I32(32));
        let high = self.inst(Op::ShiftLeftLogical, double, &[high, amount])?;
        self.inst(Op::BitwiseOr, double, &[low, high])
    }
}

pub(super) fn wrong_emitter(op: LowOp) -> Error {
    Error::Internal(format!("{op:?} came to an emitter that does not know it"))
}
