//! Which emitter an operator goes to; conditions and selection.

use rspirv::spirv::{self, Word};

use super::Emitter;
use crate::error::{Error, Location, Result};
use crate::ir::{Const, LowOp, Op, Type, Value};
use crate::options::Profile;

impl Emitter<'_> {
    /// Emits one operator into the current block.
    pub(super) fn emit_op(&mut self, op: &Op, args: &[Value], result: Option<Value>, at: Location) -> Result<()> {
        let id = match op {
            Op::Const(value) => Some(self.emit_const(*value)?),
            Op::Low(op) => self.emit_low(*op, args, at)?,
            other => return Err(Error::Internal(format!("{other:?} reached the backend"))),
        };
        match (result, id) {
            (Some(result), Some(id)) => self.values[result.index()] = id,
            (None, None) => {}
            _ => return Err(Error::Internal(format!("{op:?} has a result too many or too few"))),
        }
        Ok(())
    }

    fn emit_const(&mut self, value: Const) -> Result<Word> {
        let bits = match value {
            Const::F32(bits) if !f32::from_bits(bits).is_finite() => Const::I32(bits),
            Const::F64(bits) if !f64::from_bits(bits).is_finite() => Const::I64(bits),
            finite => return Ok(self.constant(finite)),
        };
        if self.options.profile == Profile::Vulkan {
            return Ok(self.constant(value));
        }
        // naga rejects literals that are not finite.
        let (bits, ty) = (self.constant(bits), self.ty(value.ty()));
        self.inst(spirv::Op::Bitcast, ty, &[bits])
    }

    /// Ids of an operator's operands.
    pub(super) fn operands<const N: usize>(&self, args: &[Value]) -> Result<[Word; N]> {
        let args: [Value; N] = args
            .try_into()
            .map_err(|_| Error::Internal(format!("an operator has {} operands instead of {N}", args.len())))?;
        let mut ids = [0; N];
        for (id, arg) in ids.iter_mut().zip(args) {
            *id = self.value(arg)?;
        }
        Ok(ids)
    }

    /// The type of the first operand.
    pub(super) fn operand_ty(&self, args: &[Value]) -> Result<Type> {
        let first = args.first().ok_or_else(|| Error::Internal("an operator lacks its operands".to_string()))?;
        Ok(self.function.ty(*first))
    }

    /// The operator's result; `None` where it has none.
    fn emit_low(&mut self, op: LowOp, args: &[Value], at: Location) -> Result<Option<Word>> {
        use LowOp::*;
        let id = match op {
            IAdd | ISub | IMul | UDiv | SDiv | URem | SRem | And | Or | Xor | Shl | ShrU | ShrS => {
                self.emit_arithmetic(op, args)?
            }
            MulHigh => self.emit_high_product(args)?,
            UMin | UMax | SMin | SMax | FindMsb | FindLsb | BitCount => self.emit_int_function(op, args)?,
            Eq | Ne | ULt | ULe | SLt | SLe => self.emit_int_comparison(op, args)?,
            Wrap | ExtendU | ExtendS | Pack64 | High => self.emit_width(op, args)?,
            FAdd | FSub | FMul | FDiv | FNeg => self.emit_float_arithmetic(op, args)?,
            FSqrt | FAbs | FTrunc | FFloor | FCeil | FRoundEven => self.emit_float_function(op, args)?,
            Math(op) => self.emit_math(op, args)?,
            FEq | FLt | FLe => self.emit_float_comparison(op, args)?,
            FToS(_) | FToU(_) | SToF(_) | UToF(_) | FToF(_) => self.emit_conversion(op, args)?,
            Bitcast(ty) => {
                let [value] = self.operands(args)?;
                if self.operand_ty(args)? == ty { value } else { self.bitcast(value, ty)? }
            }
            BAnd => self.emit_logical(spirv::Op::LogicalAnd, self.operands::<2>(args)?)?,
            BOr => self.emit_logical(spirv::Op::LogicalOr, self.operands::<2>(args)?)?,
            BNot => self.emit_logical(spirv::Op::LogicalNot, self.operands::<1>(args)?)?,
            Select => self.emit_select(args)?,
            LoadWord { slot } => {
                let [index] = self.operands(args)?;
                self.load_word(slot, index)?
            }
            LoadLane { slot, words, lane } => self.load_lane(slot, args, words.into(), lane.into())?,
            StoreWord { slot } => {
                let [index, value] = self.operands(args)?;
                self.store_word(slot, index, value)?;
                return Ok(None);
            }
            StoreQuad { slot } => {
                let [quad, words @ ..] = self.operands::<5>(args)?;
                self.store_words(slot, quad, &words)?;
                return Ok(None);
            }
            StorePair { slot } => {
                let [pair, words @ ..] = self.operands::<3>(args)?;
                self.store_words(slot, pair, &words)?;
                return Ok(None);
            }
            AndWord { slot } | OrWord { slot } => {
                let [index, value] = self.operands(args)?;
                self.change_word(op, slot, index, value)?;
                return Ok(None);
            }
            StorePart { slot, bytes } => {
                let [index, value] = self.operands(args)?;
                self.store_part(slot, bytes, index, value)?;
                return Ok(None);
            }
            Atomic { slot, op, ty } => return self.emit_atomic(slot, op, ty, args),
            Fence => {
                self.fence()?;
                return Ok(None);
            }
            LoadData => {
                let [index] = self.operands(args)?;
                self.load_data(index)?
            }
            LoadDataLane { lane } => self.load_data_lane(args, lane)?,
            LoadStack => {
                let [index] = self.operands(args)?;
                self.load_stack(index)?
            }
            StoreStack => {
                let [index, value] = self.operands(args)?;
                self.store_stack(index, value)?;
                return Ok(None);
            }
            Immediate(word) => self.immediate(word)?,
            Input(input) => self.input(input)?,
            IterationId => self.iteration,
            Overtaken => self.overtaken(at)?,
            Burn | Spend | Owes | Settle | Take { .. } | Refund | Cell(_) | SetCell(_) => {
                return Err(Error::Internal(format!("{op:?} reached the backend")));
            }
            VarGet(var) => self.get_var(var)?,
            VarSet(var) => {
                let [value] = self.operands(args)?;
                self.set_var(var, value)?;
                return Ok(None);
            }
        };
        Ok(Some(id))
    }

    fn emit_logical<const N: usize>(&mut self, op: spirv::Op, args: [Word; N]) -> Result<Word> {
        let ty = self.ty(Type::Bool);
        self.inst(op, ty, &args)
    }

    fn emit_select(&mut self, args: &[Value]) -> Result<Word> {
        let [cond, a, b] = self.operands(args)?;
        let ty = self.ty(self.function.ty(args[1]));
        self.inst(spirv::Op::Select, ty, &[cond, a, b])
    }

    /// The same bits as another type of the same size.
    pub(super) fn bitcast(&mut self, value: Word, ty: Type) -> Result<Word> {
        let ty = self.ty(ty);
        self.inst(spirv::Op::Bitcast, ty, &[value])
    }
}
