//! Wasm's numeric operators on the values of a group.

mod checks;

use wasm_encoder::{Instruction, ValType};

use super::shapes::Shape;
use super::vectors::{Emitter, val_type};
use crate::analysis::roots::is_comparison;
use crate::ir::{Type, Value, WasmOp};

impl Emitter<'_> {
    /// An operator with a result.
    pub fn numeric(&mut self, op: WasmOp, args: &[Value], result: Value) {
        match self.shapes.of(result) {
            Shape::Mask => self.condition(op, args, result),
            Shape::Varying => self.varying(op, args, result),
            _ => {
                if self.check(op, args, result) {
                    return;
                }
                args.iter().for_each(|arg| self.push_first(*arg));
                self.code.emit(&scalar(op));
                let local = self.local_of(result);
                self.code.set(local);
            }
        }
    }

    /// A condition of vectors: a comparison, or what makes conditions of conditions.
    fn condition(&mut self, op: WasmOp, args: &[Value], result: Value) {
        let first = self.local_of(result);
        let are_conditions =
            args.iter().all(|arg| matches!(self.shapes.of(*arg), Shape::Flag | Shape::Mask)) && !args.is_empty();
        for quad in self.fours.clone() {
            match op {
                WasmOp::I32And | WasmOp::I32Or | WasmOp::I32Xor => {
                    args.iter().for_each(|arg| self.push_condition(*arg, quad));
                    self.code.emit(match op {
                        WasmOp::I32And => &Instruction::V128And,
                        WasmOp::I32Or => &Instruction::V128Or,
                        _ => &Instruction::V128Xor,
                    });
                }
                WasmOp::I32Eqz if are_conditions => {
                    self.push_condition(args[0], quad);
                    self.code.emit(&Instruction::V128Not);
                }
                _ => self.compare(op, args, quad),
            }
            self.code.set(first + quad);
        }
    }

    /// Pushes how a comparison comes out for four.
    fn compare(&mut self, op: WasmOp, args: &[Value], quad: u32) {
        if op.params()[0].bits() == 32 {
            self.compare_part(op, args, quad);
            return;
        }
        self.compare_part(op, args, 2 * quad);
        self.compare_part(op, args, 2 * quad + 1);
        self.code.emit(&Instruction::I8x16Shuffle(LOW_WORDS));
    }

    /// The same for those of one vector.
    fn compare_part(&mut self, op: WasmOp, args: &[Value], part: u32) {
        use Instruction as I;
        use WasmOp as W;
        let push = |emitter: &mut Self, flip: bool| {
            for arg in args {
                emitter.push(*arg, part);
                if flip {
                    emitter.code.emit_all(&[I::V128Const(SIGNS), I::V128Xor]);
                }
            }
        };
        let (instruction, flip) = match op {
            W::I32Eqz | W::I64Eqz => {
                push(self, false);
                self.code.emit(&I::V128Const(0));
                (if op == W::I32Eqz { I::I32x4Eq } else { I::I64x2Eq }, None)
            }
            // There are no comparisons without sign of 64 bits.
            W::I64LtU => (I::I64x2LtS, Some(true)),
            W::I64GtU => (I::I64x2GtS, Some(true)),
            W::I64LeU => (I::I64x2LeS, Some(true)),
            W::I64GeU => (I::I64x2GeS, Some(true)),
            W::I32Eq => (I::I32x4Eq, Some(false)),
            W::I32Ne => (I::I32x4Ne, Some(false)),
            W::I32LtS => (I::I32x4LtS, Some(false)),
            W::I32LtU => (I::I32x4LtU, Some(false)),
            W::I32GtS => (I::I32x4GtS, Some(false)),
            W::I32GtU => (I::I32x4GtU, Some(false)),
            W::I32LeS => (I::I32x4LeS, Some(false)),
            W::I32LeU => (I::I32x4LeU, Some(false)),
            W::I32GeS => (I::I32x4GeS, Some(false)),
            W::I32GeU => (I::I32x4GeU, Some(false)),
            W::I64Eq => (I::I64x2Eq, Some(false)),
            W::I64Ne => (I::I64x2Ne, Some(false)),
            W::I64LtS => (I::I64x2LtS, Some(false)),
            W::I64GtS => (I::I64x2GtS, Some(false)),
            W::I64LeS => (I::I64x2LeS, Some(false)),
            W::I64GeS => (I::I64x2GeS, Some(false)),
            W::F32Eq => (I::F32x4Eq, Some(false)),
            W::F32Ne => (I::F32x4Ne, Some(false)),
            W::F32Lt => (I::F32x4Lt, Some(false)),
            W::F32Gt => (I::F32x4Gt, Some(false)),
            W::F32Le => (I::F32x4Le, Some(false)),
            W::F32Ge => (I::F32x4Ge, Some(false)),
            W::F64Eq => (I::F64x2Eq, Some(false)),
            W::F64Ne => (I::F64x2Ne, Some(false)),
            W::F64Lt => (I::F64x2Lt, Some(false)),
            W::F64Gt => (I::F64x2Gt, Some(false)),
            W::F64Le => (I::F64x2Le, Some(false)),
            // `is_comparison` says that no other comes here.
            _ => (I::F64x2Ge, Some(false)),
        };
        if let Some(flip) = flip {
            push(self, flip);
        }
        self.code.emit(&instruction);
    }

    /// Any other operator.
    fn varying(&mut self, op: WasmOp, args: &[Value], result: Value) {
        if is_comparison(op) {
            // A condition that is wanted as a number.
            let first = self.local_of(result);
            for quad in self.fours.clone() {
                self.compare(op, args, quad);
                self.code.i32(31);
                self.code.emit(&Instruction::I32x4ShrU);
                self.code.set(first + quad);
            }
            return;
        }
        if let Some(instruction) = simple(op) {
            self.each_part(result, |emitter, part| {
                args.iter().for_each(|arg| emitter.push(*arg, part));
                emitter.code.emit(&instruction);
            });
            return;
        }
        if self.by_shifts(op, args, result) || self.by_bits(op, args, result) || self.converts(op, args, result) {
            return;
        }
        match op.params() {
            [Type::F32 | Type::F64] if op.can_trap() && op.result() == Type::I32 => self.truncate(op, args[0], result),
            _ => self.one_by_one(op, args, result),
        }
    }

    /// Sets each part of a result to what is pushed.
    pub fn each_part(&mut self, result: Value, mut push: impl FnMut(&mut Self, u32)) {
        let first = self.local_of(result);
        for part in self.present_parts(result) {
            push(self, part);
            self.code.set(first + part);
        }
    }

    /// Shifts by an amount that is the same for all; rotations are two of them.
    fn by_shifts(&mut self, op: WasmOp, args: &[Value], result: Value) -> bool {
        use Instruction as I;
        use WasmOp as W;
        let [value, amount] = *args else { return false };
        let (left, right, signed) = (
            if op.result() == Type::I64 { I::I64x2Shl } else { I::I32x4Shl },
            if op.result() == Type::I64 { I::I64x2ShrU } else { I::I32x4ShrU },
            if op.result() == Type::I64 { I::I64x2ShrS } else { I::I32x4ShrS },
        );
        let (one, other) = match op {
            W::I32Shl | W::I64Shl => (left, None),
            W::I32ShrU | W::I64ShrU => (right, None),
            W::I32ShrS | W::I64ShrS => (signed, None),
            W::I32Rotl | W::I64Rotl => (left, Some(right)),
            W::I32Rotr | W::I64Rotr => (right, Some(left)),
            _ => return false,
        };
        if !self.shapes.of(amount).is_uniform() {
            return false;
        }
        let wide = self.is_wide(amount);
        self.each_part(result, |emitter, part| {
            emitter.push(value, part);
            emitter.push_first(amount);
            if wide {
                emitter.code.emit(&I::I32WrapI64);
            }
            emitter.code.emit(&one);
            let Some(other) = &other else { return };
            emitter.push(value, part);
            emitter.code.i32(0);
            emitter.push_first(amount);
            if wide {
                emitter.code.emit(&I::I32WrapI64);
            }
            emitter.code.emit_all(&[I::I32Sub, other.clone(), I::V128Or]);
        });
        true
    }

    /// What is made of a few other operators of the same lanes.
    fn by_bits(&mut self, op: WasmOp, args: &[Value], result: Value) -> bool {
        use Instruction as I;
        use WasmOp as W;
        let shift = match op {
            W::I32Extend8S => Some((24, I::I32x4Shl, I::I32x4ShrS)),
            W::I32Extend16S => Some((16, I::I32x4Shl, I::I32x4ShrS)),
            W::I64Extend8S => Some((56, I::I64x2Shl, I::I64x2ShrS)),
            W::I64Extend16S => Some((48, I::I64x2Shl, I::I64x2ShrS)),
            W::I64Extend32S => Some((32, I::I64x2Shl, I::I64x2ShrS)),
            _ => None,
        };
        if let Some((amount, left, right)) = shift {
            self.each_part(result, |emitter, part| {
                emitter.push(args[0], part);
                emitter.code.i32(amount);
                emitter.code.emit(&left);
                emitter.code.i32(amount);
                emitter.code.emit(&right);
            });
            return true;
        }
        match op {
            W::I32Popcnt => self.each_part(result, |emitter, part| {
                emitter.push(args[0], part);
                emitter.code.emit_all(&[I::I8x16Popcnt, I::I16x8ExtAddPairwiseI8x16U, I::I32x4ExtAddPairwiseI16x8U]);
            }),
            W::F32Copysign | W::F64Copysign => {
                let magnitude: u128 = if op == W::F32Copysign {
                    0x7fff_ffff_7fff_ffff_7fff_ffff_7fff_ffff
                } else {
                    0x7fff_ffff_ffff_ffff_7fff_ffff_ffff_ffff
                };
                self.each_part(result, |emitter, part| {
                    args.iter().for_each(|arg| emitter.push(*arg, part));
                    emitter.code.emit_all(&[I::V128Const(magnitude as i128), I::V128Bitselect]);
                });
            }
            W::I32ReinterpretF32 | W::F32ReinterpretI32 | W::I64ReinterpretF64 | W::F64ReinterpretI64 => {
                self.each_part(result, |emitter, part| emitter.push(args[0], part));
            }
            _ => return false,
        }
        true
    }

    /// Conversions to lanes of another size, which take one vector to two or two to one.
    fn converts(&mut self, op: WasmOp, args: &[Value], result: Value) -> bool {
        use Instruction as I;
        use WasmOp as W;
        let value = args[0];
        match op {
            W::I64ExtendI32S | W::I64ExtendI32U => self.each_part(result, |emitter, part| {
                emitter.push(value, part / 2);
                emitter.code.emit(match (op, part % 2) {
                    (W::I64ExtendI32S, 0) => &I::I64x2ExtendLowI32x4S,
                    (W::I64ExtendI32S, _) => &I::I64x2ExtendHighI32x4S,
                    (_, 0) => &I::I64x2ExtendLowI32x4U,
                    _ => &I::I64x2ExtendHighI32x4U,
                });
            }),
            W::F64PromoteF32 | W::F64ConvertI32S | W::F64ConvertI32U => self.each_part(result, |emitter, part| {
                emitter.push(value, part / 2);
                if part % 2 == 1 {
                    emitter.push(value, part / 2);
                    emitter.code.emit(&I::I8x16Shuffle(HIGH_HALF));
                }
                emitter.code.emit(match op {
                    W::F64PromoteF32 => &I::F64x2PromoteLowF32x4,
                    W::F64ConvertI32S => &I::F64x2ConvertLowI32x4S,
                    _ => &I::F64x2ConvertLowI32x4U,
                });
            }),
            W::I32WrapI64 => self.each_part(result, |emitter, part| {
                emitter.push(value, 2 * part);
                emitter.push(value, 2 * part + 1);
                emitter.code.emit(&I::I8x16Shuffle(LOW_WORDS));
            }),
            W::F32DemoteF64 => self.narrows(value, result, &I::F32x4DemoteF64x2Zero),
            W::I32TruncSatF64S => self.narrows(value, result, &I::I32x4TruncSatF64x2SZero),
            W::I32TruncSatF64U => self.narrows(value, result, &I::I32x4TruncSatF64x2UZero),
            _ => return false,
        }
        true
    }

    /// By an operator that gives two elements and two zeroes.
    fn narrows(&mut self, value: Value, result: Value, by: &Instruction<'static>) {
        self.each_part(result, |emitter, part| {
            for half in [2 * part, 2 * part + 1] {
                emitter.push(value, half);
                emitter.code.emit(by);
            }
            emitter.code.emit(&Instruction::I8x16Shuffle(LOW_HALVES));
        });
    }

    /// Truncation that traps where a number does not fit: those that run must all fit.
    fn truncate(&mut self, op: WasmOp, value: Value, result: Value) {
        use Instruction as I;
        use WasmOp as W;
        let wide = self.is_wide(value);
        // Above this, or from it on, and below that.
        let (low, above, high) = match op {
            W::I32TruncF32S => (-2147483648.0, false, 2147483648.0),
            W::I32TruncF64S => (-2147483649.0, true, 2147483648.0),
            _ => (-1.0, true, 4294967296.0),
        };
        let fours = self.fours.clone();
        for part in if wide { 2 * fours.start..2 * fours.end } else { fours } {
            self.push(value, part);
            self.code.emit(&I::V128Const(float(low, wide)));
            self.code.emit(match (wide, above) {
                (true, true) => &I::F64x2Gt,
                (true, false) => &I::F64x2Ge,
                (false, true) => &I::F32x4Gt,
                (false, false) => &I::F32x4Ge,
            });
            self.push(value, part);
            self.code.emit(&I::V128Const(float(high, wide)));
            self.code.emit_all(&[if wide { I::F64x2Lt } else { I::F32x4Lt }, I::V128And]);
            if let Some(mask) = self.mask {
                self.push_mask_for(mask, value, part);
                self.code.emit_all(&[I::V128Not, I::V128Or]);
            }
            self.code.emit(if wide { &I::I64x2AllTrue } else { &I::I32x4AllTrue });
            self.code.emit(&I::I32Eqz);
            self.code.open_if();
            self.code.emit(&I::Unreachable);
            self.code.close();
        }
        match op {
            W::I32TruncF64S => self.narrows(value, result, &I::I32x4TruncSatF64x2SZero),
            W::I32TruncF64U => self.narrows(value, result, &I::I32x4TruncSatF64x2UZero),
            _ => self.each_part(result, |emitter, part| {
                emitter.push(value, part);
                let signed = op == W::I32TruncF32S;
                emitter.code.emit(if signed { &I::I32x4TruncSatF32x4S } else { &I::I32x4TruncSatF32x4U });
            }),
        }
    }

    /// What vectors have no operator for: for one invocation after the other, and where it may trap only for those that run.
    fn one_by_one(&mut self, op: WasmOp, args: &[Value], result: Value) {
        let instruction = scalar(op);
        let mask = self.mask.filter(|_| op.can_trap());
        self.clear(result);
        for lane in self.present_lanes() {
            if let Some(mask) = mask {
                self.push_runs(mask, lane);
                self.code.open_if();
            }
            self.replace(result, lane, |emitter| {
                args.iter().for_each(|arg| emitter.push_lane(*arg, lane));
                emitter.code.emit(&instruction);
            });
            if mask.is_some() {
                self.code.close();
            }
        }
    }

    /// `select`
    pub fn select(&mut self, args: &[Value], result: Value) {
        let [yes, no, condition] = *args else { return };
        if self.shapes.of(condition).is_uniform() {
            let first = self.local_of(result);
            for part in self.present_parts(result) {
                self.push_as(yes, result, part);
                self.push_as(no, result, part);
                self.push_first(condition);
                let vector = self.shapes.of(result).is_vector();
                let ty = if vector { ValType::V128 } else { val_type(self.function.ty(result)) };
                self.code.emit(&Instruction::TypedSelect(ty));
                self.code.set(first + part);
            }
            return;
        }
        if !self.shapes.of(result).is_vector() {
            self.push_first(yes);
            let local = self.local_of(result);
            self.code.set(local);
            return;
        }
        let wide = self.is_wide(result);
        self.each_part(result, |emitter, part| {
            emitter.push_as(yes, result, part);
            emitter.push_as(no, result, part);
            emitter.push_condition(condition, if wide { part / 2 } else { part });
            if wide {
                emitter.widen_mask(part);
            }
            emitter.code.emit(&Instruction::V128Bitselect);
        });
    }
}

/// The low words of the four 64-bit lanes of two vectors.
const LOW_WORDS: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
/// The low halves of two vectors.
const LOW_HALVES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
/// The high half of a vector, twice.
const HIGH_HALF: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
/// The signs of 64-bit lanes.
const SIGNS: i128 = 0x8000_0000_0000_0000_8000_0000_0000_0000_u128 as i128;

fn float(value: f64, wide: bool) -> i128 {
    let bits = if wide { u128::from(value.to_bits()) } else { u128::from((value as f32).to_bits()) };
    (if wide { bits << 64 | bits } else { bits << 96 | bits << 64 | bits << 32 | bits }) as i128
}

/// The vector instruction of the same meaning on each of four elements, or of two of 64 bits.
fn simple(op: WasmOp) -> Option<Instruction<'static>> {
    use Instruction as I;
    use WasmOp as W;
    Some(match op {
        W::I32Add => I::I32x4Add,
        W::I32Sub => I::I32x4Sub,
        W::I32Mul => I::I32x4Mul,
        W::I32And | W::I64And => I::V128And,
        W::I32Or | W::I64Or => I::V128Or,
        W::I32Xor | W::I64Xor => I::V128Xor,
        W::I64Add => I::I64x2Add,
        W::I64Sub => I::I64x2Sub,
        W::I64Mul => I::I64x2Mul,
        W::F32Abs => I::F32x4Abs,
        W::F32Neg => I::F32x4Neg,
        W::F32Ceil => I::F32x4Ceil,
        W::F32Floor => I::F32x4Floor,
        W::F32Trunc => I::F32x4Trunc,
        W::F32Nearest => I::F32x4Nearest,
        W::F32Sqrt => I::F32x4Sqrt,
        W::F32Add => I::F32x4Add,
        W::F32Sub => I::F32x4Sub,
        W::F32Mul => I::F32x4Mul,
        W::F32Div => I::F32x4Div,
        W::F32Min => I::F32x4Min,
        W::F32Max => I::F32x4Max,
        W::F64Abs => I::F64x2Abs,
        W::F64Neg => I::F64x2Neg,
        W::F64Ceil => I::F64x2Ceil,
        W::F64Floor => I::F64x2Floor,
        W::F64Trunc => I::F64x2Trunc,
        W::F64Nearest => I::F64x2Nearest,
        W::F64Sqrt => I::F64x2Sqrt,
        W::F64Add => I::F64x2Add,
        W::F64Sub => I::F64x2Sub,
        W::F64Mul => I::F64x2Mul,
        W::F64Div => I::F64x2Div,
        W::F64Min => I::F64x2Min,
        W::F64Max => I::F64x2Max,
        W::F32ConvertI32S => I::F32x4ConvertI32x4S,
        W::F32ConvertI32U => I::F32x4ConvertI32x4U,
        W::I32TruncSatF32S => I::I32x4TruncSatF32x4S,
        W::I32TruncSatF32U => I::I32x4TruncSatF32x4U,
        _ => return None,
    })
}

/// Whether vectors have no operator for it, so that it is done for one invocation after the other.
pub fn is_one_by_one(op: WasmOp, amount_is_uniform: bool) -> bool {
    use WasmOp as W;
    match op {
        W::I32Shl | W::I32ShrS | W::I32ShrU | W::I32Rotl | W::I32Rotr => !amount_is_uniform,
        W::I64Shl | W::I64ShrS | W::I64ShrU | W::I64Rotl | W::I64Rotr => !amount_is_uniform,
        W::I32Clz | W::I32Ctz | W::I32DivS | W::I32DivU | W::I32RemS | W::I32RemU => true,
        W::I64Clz | W::I64Ctz | W::I64Popcnt | W::I64DivS | W::I64DivU | W::I64RemS | W::I64RemU => true,
        W::I64TruncF32S | W::I64TruncF32U | W::I64TruncF64S | W::I64TruncF64U => true,
        W::I64TruncSatF32S | W::I64TruncSatF32U | W::I64TruncSatF64S | W::I64TruncSatF64U => true,
        W::F32ConvertI64S | W::F32ConvertI64U | W::F64ConvertI64S | W::F64ConvertI64U => true,
        _ => false,
    }
}

macro_rules! same_names {
    ($op:ident: $($name:ident)*) => {
        match $op { $(WasmOp::$name => Instruction::$name,)* }
    };
}

/// The instruction of an operator: their names are the same.
pub fn scalar(op: WasmOp) -> Instruction<'static> {
    same_names! {
        op:
        I32Eqz I32Eq I32Ne I32LtS I32LtU I32GtS I32GtU I32LeS I32LeU I32GeS I32GeU I64Eqz I64Eq I64Ne I64LtS I64LtU
        I64GtS I64GtU I64LeS I64LeU I64GeS I64GeU F32Eq F32Ne F32Lt F32Gt F32Le F32Ge F64Eq F64Ne F64Lt F64Gt F64Le
        F64Ge I32Clz I32Ctz I32Popcnt I32Add I32Sub I32Mul I32DivS I32DivU I32RemS I32RemU I32And I32Or I32Xor I32Shl
        I32ShrS I32ShrU I32Rotl I32Rotr I64Clz I64Ctz I64Popcnt I64Add I64Sub I64Mul I64DivS I64DivU I64RemS I64RemU
        I64And I64Or I64Xor I64Shl I64ShrS I64ShrU I64Rotl I64Rotr F32Abs F32Neg F32Ceil F32Floor F32Trunc F32Nearest
        F32Sqrt F32Add F32Sub F32Mul F32Div F32Min F32Max F32Copysign F64Abs F64Neg F64Ceil F64Floor F64Trunc
        F64Nearest F64Sqrt F64Add F64Sub F64Mul F64Div F64Min F64Max F64Copysign I32WrapI64 I32TruncF32S I32TruncF32U
        I32TruncF64S I32TruncF64U I64ExtendI32S I64ExtendI32U I64TruncF32S I64TruncF32U I64TruncF64S I64TruncF64U
        F32ConvertI32S F32ConvertI32U F32ConvertI64S F32ConvertI64U F32DemoteF64 F64ConvertI32S F64ConvertI32U
        F64ConvertI64S F64ConvertI64U F64PromoteF32 I32ReinterpretF32 I64ReinterpretF64 F32ReinterpretI32
        F64ReinterpretI64 I32Extend8S I32Extend16S I64Extend8S I64Extend16S I64Extend32S I32TruncSatF32S
        I32TruncSatF32U I32TruncSatF64S I32TruncSatF64U I64TruncSatF32S I64TruncSatF32U I64TruncSatF64S
        I64TruncSatF64U
    }
}
