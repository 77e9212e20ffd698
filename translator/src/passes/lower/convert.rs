//! Conversions between integers and floats.

use super::Lowerer;
use super::float::Format;
use crate::error::{Error, Result, TrapKind};
use crate::ir::{Const, LowOp, Type, Value, WasmOp};

/// A truncation of a float to an integer.
#[derive(Clone, Copy)]
struct Truncation {
    from: Type,
    to: Type,
    signed: bool,
}

impl Truncation {
    /// The floats that fit: above (or from) the first, below the second. Both are exact in the float type.
    fn range(self) -> (LowOp, f64, f64) {
        let power = |exponent: u32| f64::from(exponent).exp2();
        let bits = self.to.bits();
        match (self.signed, self.from) {
            (false, _) => (LowOp::FLt, -1.0, power(bits)),
            // -2^31 - 1 is an `f64`; the next `f32` or, for 64 bits, the next `f64` below the least integer is far off.
            (true, Type::F64) if self.to == Type::I32 => (LowOp::FLt, -power(31) - 1.0, power(31)),
            (true, _) => (LowOp::FLe, -power(bits - 1), power(bits - 1)),
        }
    }
}

impl Lowerer<'_> {
    /// Every conversion that has a float on one side; `None` for other operators.
    pub(super) fn convert(&mut self, op: WasmOp, args: &[Value]) -> Result<Option<Value>> {
        use WasmOp::*;
        if let Some(truncation) = truncation(op) {
            return Ok(Some(match op.can_trap() {
                true => self.truncate_checked(truncation, args[0]),
                false => self.truncate_saturating(truncation, args[0]),
            }));
        }
        let to = op.result();
        let low = match op {
            I32ReinterpretF32 | I64ReinterpretF64 => return Ok(Some(self.bits(args[0]))),
            F32ReinterpretI32 | F64ReinterpretI64 => LowOp::Bitcast(to),
            F32ConvertI32S | F32ConvertI64S | F64ConvertI64S if self.is_corrected(op)? => {
                return Ok(Some(self.converted(args[0], true, to)));
            }
            F32ConvertI32U | F32ConvertI64U | F64ConvertI64U if self.is_corrected(op)? => {
                return Ok(Some(self.converted(args[0], false, to)));
            }
            F32ConvertI32S | F32ConvertI64S | F64ConvertI32S | F64ConvertI64S => LowOp::SToF(to),
            F32ConvertI32U | F32ConvertI64U | F64ConvertI32U | F64ConvertI64U => LowOp::UToF(to),
            F32DemoteF64 if self.is_corrected(op)? => return Ok(Some(self.demoted(args[0]))),
            F64PromoteF32 if self.is_corrected(op)? => return Ok(Some(self.promoted(args[0]))),
            F32DemoteF64 | F64PromoteF32 => LowOp::FToF(to),
            _ => return Ok(None),
        };
        let result = self.low(low, args, to);
        // A counter of a loop that the driver unrolls would become a constant, and 0 among them; a driver knows other
        // integers, too, where the translator does not.
        Ok(Some(if self.is_strict() { self.launder(result) } else { result }))
    }

    fn float_value(&mut self, ty: Type, value: f64) -> Value {
        let constant = if ty == Type::F64 { Const::F64(value.to_bits()) } else { Const::F32((value as f32).to_bits()) };
        self.constant(constant)
    }

    /// Whether the float, which is no NaN, truncates to an integer that fits.
    fn fits(&mut self, truncation: Truncation, value: Value) -> Value {
        let (above, lower, upper) = truncation.range();
        let (lower, upper) = (self.float_value(truncation.from, lower), self.float_value(truncation.from, upper));
        let above = self.float_test(above, lower, value);
        let below = self.float_test(LowOp::FLt, value, upper);
        self.bool(LowOp::BAnd, &[above, below])
    }

    fn truncate(&mut self, truncation: Truncation, value: Value) -> Value {
        let low = if truncation.signed { LowOp::FToS(truncation.to) } else { LowOp::FToU(truncation.to) };
        self.low(low, &[value], truncation.to)
    }

    fn truncate_checked(&mut self, truncation: Truncation, value: Value) -> Value {
        let bits = self.bits(value);
        let nan = self.is_nan(bits, Format::of(truncation.from));
        self.trap_if(nan, TrapKind::BadConversion);
        let fits = self.fits(truncation, value);
        let overflows = self.bool(LowOp::BNot, &[fits]);
        self.trap_if(overflows, TrapKind::IntegerOverflow);
        self.truncate(truncation, value)
    }

    /// A truncation of a float that is known to fit.
    pub(super) fn truncate_fitting(&mut self, op: WasmOp, value: Value) -> Result<Value> {
        let truncation = truncation(op).ok_or_else(|| Error::Internal(format!("`{}` truncates nothing", op.text())))?;
        Ok(self.truncate(truncation, value))
    }

    fn truncate_saturating(&mut self, truncation: Truncation, value: Value) -> Value {
        let Truncation { from, to, signed } = truncation;
        let format = Format::of(from);
        let bits = self.bits(value);
        let nan = self.is_nan(bits, format);
        let fits = self.fits(truncation, value);
        let zero = self.float_value(from, 0.0);
        let inside = self.select(fits, value, zero);
        let inside = self.truncate(truncation, inside);
        let (least, greatest) = match signed {
            true => (1 << (to.bits() - 1), (1 << (to.bits() - 1)) - 1),
            false => (0, u64::MAX),
        };
        let negative = self.test_int(LowOp::SLt, bits, 0);
        let (least, greatest) = (self.int(to, least), self.int(to, greatest));
        let end = self.select(negative, least, greatest);
        let nothing = self.int(to, 0);
        let outside = self.select(nan, nothing, end);
        self.select(fits, inside, outside)
    }
}

fn truncation(op: WasmOp) -> Option<Truncation> {
    Some(Truncation { from: op.params()[0], to: op.result(), signed: op.truncates_to_signed()? })
}
