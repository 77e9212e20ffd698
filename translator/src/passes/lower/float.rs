//! Float operators. What a driver may round, reorder or treat NaN in its own way is computed on integer bits, or
//! hidden from the driver behind the addition of an integer zero that it does not know.

use super::{Lowerer, Once, float_bits};
use crate::error::Result;
use crate::ir::{Const, LowOp, Type, Value, WasmOp};
use crate::options::{FloatMode, FloatSupport, MAX_GUESS_ERROR};
use crate::passes::hide_floats::is_rewritten_with;

/// Bit patterns of a float type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// The float type.
    pub(super) ty: Type,
    /// The integer type of its size.
    pub(super) int: Type,
    /// The sign's bit alone.
    pub(super) sign: u64,
    /// All bits but the sign's.
    pub(super) magnitude: u64,
    /// Positive infinity.
    pub(super) infinity: u64,
    /// The quiet NaN that results are.
    pub(super) nan: u64,
}

impl Format {
    pub(super) fn of(ty: Type) -> Format {
        let (infinity, nan) = match ty {
            Type::F64 => (0x7ff0_0000_0000_0000, 0x7ff8_0000_0000_0000),
            _ => (0x7f80_0000, 0x7fc0_0000),
        };
        let sign = 1 << (ty.bits() - 1);
        Format { ty, int: ty.as_int(), sign, magnitude: sign - 1, infinity, nan }
    }
}

impl Lowerer<'_> {
    /// Every float operator that gives a float of the same type; `None` for other operators.
    pub(super) fn float(&mut self, op: WasmOp, args: &[Value]) -> Result<Option<Value>> {
        use WasmOp::*;
        Ok(Some(match op {
            F32Abs | F64Abs if !self.is_strict() => self.same(LowOp::FAbs, args),
            F32Neg | F64Neg if !self.is_strict() => self.same(LowOp::FNeg, args),
            F32Abs | F64Abs => self.on_bits(args[0], LowOp::And, |format| format.magnitude),
            F32Neg | F64Neg => self.on_bits(args[0], LowOp::Xor, |format| format.sign),
            F32Copysign | F64Copysign => self.copysign(args[0], args[1]),
            F32Min | F64Min if self.is_fast() => self.chosen(args[0], args[1], [args[0], args[1]]),
            F32Max | F64Max if self.is_fast() => self.chosen(args[1], args[0], [args[0], args[1]]),
            F32Min | F64Min => self.min_max(LowOp::SMin, args[0], args[1]),
            F32Max | F64Max => self.min_max(LowOp::SMax, args[0], args[1]),
            F32Ceil | F64Ceil => self.rounded(LowOp::FCeil, op, args)?,
            F32Floor | F64Floor => self.rounded(LowOp::FFloor, op, args)?,
            F32Trunc | F64Trunc => self.rounded(LowOp::FTrunc, op, args)?,
            F32Nearest | F64Nearest => self.rounded(LowOp::FRoundEven, op, args)?,
            F32Add | F64Add => self.arithmetic(LowOp::FAdd, op, args)?,
            F32Sub | F64Sub => self.arithmetic(LowOp::FSub, op, args)?,
            F32Mul | F64Mul => self.arithmetic(LowOp::FMul, op, args)?,
            F32Div | F64Div => self.arithmetic(LowOp::FDiv, op, args)?,
            F32Sqrt | F64Sqrt => self.arithmetic(LowOp::FSqrt, op, args)?,
            _ => return Ok(None),
        }))
    }

    /// Whether an operator must be corrected, or computed on integers, to be exact on this device; an error where that
    /// is not possible.
    pub(super) fn is_corrected(&self, op: WasmOp) -> Result<bool> {
        if !self.is_strict() {
            return Ok(false);
        }
        match self.options.features.float_support(op) {
            FloatSupport::Native => Ok(false),
            FloatSupport::Corrected => Ok(true),
            FloatSupport::Unsupported => {
                let own = if matches!(op, WasmOp::F32Div | WasmOp::F64Div) { "division" } else { "square root" };
                Err(self.unsupported(format!(
                    "correctly rounded `{}` on this device, whose own {own} is off by more than {MAX_GUESS_ERROR} units \
                     in the last place; `--float relaxed` uses it as it is",
                    op.text()
                )))
            }
        }
    }

    fn rounded(&mut self, low: LowOp, op: WasmOp, args: &[Value]) -> Result<Value> {
        let value = if self.is_corrected(op)? { self.without_subnormals(args[0]) } else { args[0] };
        Ok(self.same(low, &[value]))
    }

    fn arithmetic(&mut self, low: LowOp, op: WasmOp, args: &[Value]) -> Result<Value> {
        if !self.is_corrected(op)? {
            return Ok(self.native(low, args));
        }
        let is_f64 = op.result() == Type::F64;
        let features = self.options.features;
        let exact = if is_f64 { features.exact_arithmetic_f64 } else { features.exact_arithmetic_f32 };
        Ok(match low {
            LowOp::FDiv => self.corrected_quotient(args[0], args[1]),
            LowOp::FSqrt => self.corrected_root(args[0]),
            _ => {
                let native = exact.then(|| self.native(low, args));
                self.emulated(low, args, native)
            }
        })
    }

    /// The device's own instruction, protected from rewriting.
    fn native(&mut self, low: LowOp, args: &[Value]) -> Value {
        let mut args = args.to_vec();
        let is_rewritten = self.is_rewritten(self.function.ty(args[0]));
        if self.is_strict() {
            // Drivers divide by a constant as a product, and 1 by something as an approximate reciprocal.
            if low == LowOp::FDiv {
                args.iter_mut().for_each(|arg| *arg = self.hidden_if_constant(*arg));
            }
            // `a - a`, `-a + a` and `a / a` are not always 0 and 1. Where rewriting can't be forbidden, not even equal
            // values that came about in different ways may be seen as equal.
            let cancels = match low {
                LowOp::FSub | LowOp::FDiv => is_rewritten || args[0] == args[1],
                LowOp::FAdd => is_rewritten,
                _ => false,
            };
            if cancels {
                // The zero is not the one that results are laundered with, else `x * 1 - x` would still be `a - a`.
                args[1] = self.launder_with(args[1], Once::OtherZero(self.function.ty(args[1]).as_int()));
            }
        }
        if !self.is_strict() {
            self.rounded_by_sum(low, &mut args);
        }
        let result = self.same(low, &args);
        if low == LowOp::FAdd && !self.is_strict() {
            self.sums.insert(result, [args[0], args[1]]);
        }
        if is_rewritten { self.launder(result) } else { result }
    }

    /// The first operand of `(x + c) - c`, or of `(x + c) + -c`, hidden: libraries round to a multiple of a power of two
    /// like that, and a driver that may take it for `x` takes the rounding out of musl's `expf`, say, which is off by
    /// percents then.
    fn rounded_by_sum(&mut self, low: LowOp, args: &mut [Value]) {
        let [a, b] = *args else { return };
        if let Some(summands) = self.sums.get(&a) {
            let constant = |value| self.constants.get(&value).copied().map(float_bits);
            let sign = Format::of(self.function.ty(b)).sign;
            let takes_back = |summand: &Value| match low {
                LowOp::FSub => *summand == b || constant(*summand).is_some_and(|bits| constant(b) == Some(bits)),
                LowOp::FAdd => constant(*summand).is_some_and(|bits| constant(b) == Some(bits ^ sign)),
                _ => false,
            };
            if summands.iter().any(takes_back) {
                args[0] = self.launder(a);
            }
        }
    }

    /// Whether a constant is not to be known to the driver.
    pub(super) fn hides(&self, constant: Const) -> bool {
        self.is_strict() && is_rewritten_with(constant)
    }

    /// The constant, not known to the driver.
    pub(super) fn hidden(&mut self, constant: Const) -> Value {
        self.once(Once::Hidden(constant))
    }

    /// A float constant that may be used in arithmetic.
    pub(super) fn float_constant(&mut self, constant: Const) -> Value {
        if self.hides(constant) { self.hidden(constant) } else { self.constant(constant) }
    }

    fn hidden_if_constant(&mut self, value: Value) -> Value {
        match self.constants.get(&value).copied() {
            Some(constant) => self.hidden(constant),
            None => value,
        }
    }

    /// The same float, of which the driver no longer knows how it was computed. What is laundered twice differs from
    /// what is laundered once: of two exclusive ors, drivers would see that the second takes the first back, and of two
    /// ors, that the second changes nothing.
    pub(super) fn launder(&mut self, value: Value) -> Value {
        self.launder_with(value, Once::Zero(self.function.ty(value).as_int()))
    }

    fn launder_with(&mut self, value: Value, zero: Once) -> Value {
        let ty = self.function.ty(value);
        let zero = self.once(zero);
        let bits = self.bits(value);
        let hidden = self.same(LowOp::IAdd, &[bits, zero]);
        self.low(LowOp::Bitcast(ty), &[hidden], ty)
    }

    /// The bits of a float.
    pub(super) fn bits(&mut self, value: Value) -> Value {
        let int = self.function.ty(value).as_int();
        match self.constants.get(&value).copied() {
            Some(constant) => self.int(int, float_bits(constant)),
            None => self.low(LowOp::Bitcast(int), &[value], int),
        }
    }

    fn on_bits(&mut self, value: Value, op: LowOp, mask: fn(Format) -> u64) -> Value {
        let format = Format::of(self.function.ty(value));
        let bits = self.bits(value);
        let bits = self.op_with_int(op, bits, mask(format));
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    pub(super) fn copysign(&mut self, value: Value, sign: Value) -> Value {
        let format = Format::of(self.function.ty(value));
        let (value, sign) = (self.bits(value), self.bits(sign));
        let value = self.op_with_int(LowOp::And, value, format.magnitude);
        let sign = self.op_with_int(LowOp::And, sign, format.sign);
        let bits = self.same(LowOp::Or, &[value, sign]);
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    /// Whether the bits are those of a NaN.
    pub(super) fn is_nan(&mut self, bits: Value, format: Format) -> Value {
        let magnitude = self.op_with_int(LowOp::And, bits, format.magnitude);
        let infinity = self.int(format.int, format.infinity);
        self.bool(LowOp::ULt, &[infinity, magnitude])
    }

    fn is_fast(&self) -> bool {
        self.options.float == FloatMode::Fast
    }

    /// The first where `a < b`, else the second.
    fn chosen(&mut self, a: Value, b: Value, [first, second]: [Value; 2]) -> Value {
        let less = self.bool(LowOp::FLt, &[a, b]);
        self.select(less, first, second)
    }

    pub(super) fn either_nan(&mut self, a: Value, b: Value, format: Format) -> Value {
        let (a, b) = (self.is_nan(a, format), self.is_nan(b, format));
        self.bool(LowOp::BOr, &[a, b])
    }

    /// Bits to a signed integer in the floats' order, -0 right below +0; and back.
    fn sortable(&mut self, bits: Value, format: Format) -> Value {
        let sign = self.shift_by(LowOp::ShrS, bits, u64::from(format.ty.bits() - 1));
        let flip = self.op_with_int(LowOp::And, sign, format.magnitude);
        self.same(LowOp::Xor, &[bits, flip])
    }

    fn min_max(&mut self, op: LowOp, a: Value, b: Value) -> Value {
        let format = Format::of(self.function.ty(a));
        let (a, b) = (self.bits(a), self.bits(b));
        let unordered = self.either_nan(a, b, format);
        let (a, b) = (self.sortable(a, format), self.sortable(b, format));
        let chosen = self.same(op, &[a, b]);
        let chosen = self.sortable(chosen, format);
        let nan = self.int(format.int, format.nan);
        let bits = self.select(unordered, nan, chosen);
        self.low(LowOp::Bitcast(format.ty), &[bits], format.ty)
    }

    /// A float comparison as a `Bool`.
    pub(super) fn compare_floats(&mut self, op: WasmOp, args: &[Value]) -> Result<Value> {
        use WasmOp::*;
        let (a, b) = (args[0], args[1]);
        Ok(match op {
            F32Eq | F64Eq => self.float_test(LowOp::FEq, a, b),
            F32Ne | F64Ne => {
                let equal = self.float_test(LowOp::FEq, a, b);
                self.bool(LowOp::BNot, &[equal])
            }
            F32Lt | F64Lt => self.float_test(LowOp::FLt, a, b),
            F32Gt | F64Gt => self.float_test(LowOp::FLt, b, a),
            F32Le | F64Le => self.float_test(LowOp::FLe, a, b),
            F32Ge | F64Ge => self.float_test(LowOp::FLe, b, a),
            _ => return Err(crate::error::Error::Internal(format!("`{}` is no comparison", op.text()))),
        })
    }

    /// An ordered comparison, on integers where the device's own takes subnormals for zero or may assume that there
    /// are no NaNs.
    pub(super) fn float_test(&mut self, op: LowOp, a: Value, b: Value) -> Value {
        let format = Format::of(self.function.ty(a));
        let features = self.options.features;
        let keeps = match format.ty {
            Type::F64 => features.subnormals_f64 && features.compares_subnormals_f64,
            _ => features.subnormals_f32 && features.compares_subnormals_f32,
        };
        let flushes = self.is_strict() && !keeps;
        if !self.is_rewritten(format.ty) && !flushes {
            return self.bool(op, &[a, b]);
        }
        let (a, b) = (self.bits(a), self.bits(b));
        let unordered = self.either_nan(a, b, format);
        let ordered = self.bool(LowOp::BNot, &[unordered]);
        let (a, b) = (self.signed_magnitude(a, format), self.signed_magnitude(b, format));
        let test = match op {
            LowOp::FEq => LowOp::Eq,
            LowOp::FLt => LowOp::SLt,
            _ => LowOp::SLe,
        };
        let holds = self.bool(test, &[a, b]);
        self.bool(LowOp::BAnd, &[ordered, holds])
    }

    /// Bits to a signed integer in the floats' order, both zeros 0.
    fn signed_magnitude(&mut self, bits: Value, format: Format) -> Value {
        let sign = self.shift_by(LowOp::ShrS, bits, u64::from(format.ty.bits() - 1));
        let magnitude = self.op_with_int(LowOp::And, bits, format.magnitude);
        // Minus one in two's complement: all bits flipped, plus one.
        let flipped = self.same(LowOp::Xor, &[magnitude, sign]);
        self.same(LowOp::ISub, &[flipped, sign])
    }
}
