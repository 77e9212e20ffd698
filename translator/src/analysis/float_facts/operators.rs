//! What operators make of what is known.

use super::number::{ANY, ANY_32, Number, power};
use super::{Bits, Fact, Walker};
use crate::analysis::roots::is_comparison;
use crate::ir::{Const, Op, Value, WasmOp};
use crate::work;

/// How many operators back integers are looked through.
const MAX_DEPTH: u32 = 4;

/// A float's bits that are infinity's: greater magnitudes are NaN.
fn infinity(width: u32) -> u64 {
    if width == 64 { f64::INFINITY.to_bits() } else { f32::INFINITY.to_bits().into() }
}

/// The float of these bits.
pub(super) fn float(width: u32, bits: u64) -> f64 {
    if width == 64 { f64::from_bits(bits) } else { f64::from(f32::from_bits(bits as u32)) }
}

/// Any float of a width.
fn any(width: u32) -> Number {
    if width == 64 { ANY } else { ANY_32 }
}

/// The floats whose magnitudes have bits up to these, which may be NaN's.
pub(super) fn up_to(width: u32, bits: u64) -> Number {
    let high = float(width, bits);
    let is_number = bits <= infinity(width);
    if is_number { Number { nan: false, ..any(width) }.within(-high, high) } else { any(width) }
}

/// The floats of these bits.
pub(super) fn floats(width: u32, bits: Bits) -> Number {
    let (low, high) = bits.ends();
    let (sign, infinity) = (1 << (width - 1), infinity(width));
    let any = any(width);
    if high <= infinity {
        Number { nan: false, ..any }.within(float(width, low), float(width, high))
    } else if low >= sign && high <= sign | infinity {
        Number { nan: false, ..any }.within(float(width, high), float(width, low))
    } else {
        any
    }
}

/// The `f64`s whose magnitudes have these bits.
fn up_to_sign(magnitudes: Bits) -> Number {
    let positive = floats(64, magnitudes.extend());
    positive.join(positive.negated())
}

/// The bits of these floats.
fn bits_of(width: u32, number: Number) -> Bits {
    let bits = |end: f64| if width == 64 { end.to_bits() } else { (end as f32).to_bits().into() };
    match number {
        Number { nan: false, low, high, .. } if low > 0.0 => Bits::between(width, bits(low), bits(high)),
        // Of negative floats, the greater is the one with lesser bits.
        Number { nan: false, low, high, .. } if high < 0.0 => Bits::between(width, bits(high), bits(low)),
        _ => Bits::any(width),
    }
}

impl Walker<'_> {
    /// What is known of an operator's result, if anything is.
    pub(super) fn result(&self, op: &Op, args: &[Value]) -> Option<Fact> {
        Some(match op {
            Op::Const(Const::I32(value)) => Fact::Bits(Bits::exactly(32, (*value).into())),
            Op::Const(Const::I64(value)) => Fact::Bits(Bits::exactly(64, *value)),
            Op::Const(Const::F32(bits)) if !f32::from_bits(*bits).is_nan() => {
                Fact::Number(Number::exactly(f32::from_bits(*bits).into()))
            }
            Op::Const(Const::F64(bits)) => Fact::Number(Number::exactly(f64::from_bits(*bits))),
            Op::Select => self.fact(args[0]).join(self.fact(args[1])),
            Op::LoadDataPair => {
                Fact::Bits(self.table(args[0])?.map(|bits| Bits::exactly(64, bits)).reduce(Bits::join)?)
            }
            Op::Wasm(op) if is_comparison(*op) => Fact::Bits(Bits::between(32, 0, 1)),
            Op::Wasm(op) => match op.result() {
                ty if ty.is_float() => Fact::Number(self.float_result(*op, args)?),
                _ => Fact::Bits(self.integer_result(*op, args)?),
            },
            _ => return None,
        })
    }

    /// The pairs of words that a load from constant data can give.
    fn table(&self, index: Value) -> Option<impl Iterator<Item = u64>> {
        /// Most of them that are looked at.
        const MOST: u64 = 1 << 10;
        let (low, high) = self.bits(index).ends();
        let words = self.function.data.get(2 * low as usize..2 * (high.min(low + MOST) as usize + 1))?;
        work::spend(words.len());
        let every = 1 << self.bits(index).stride().min(10);
        let pairs = words.chunks_exact(2).step_by(every).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32);
        (high - low < MOST).then_some(pairs)
    }

    fn integer_result(&self, op: WasmOp, args: &[Value]) -> Option<Bits> {
        use WasmOp::*;
        let bits = |arg: usize| self.bits(args[arg]);
        let amount = |width: u32| Some(self.constant(args[1])? as u32 % width);
        Some(match op {
            I32Add | I64Add => bits(0).add(bits(1)),
            I32Sub | I64Sub => self.above_multiple(args).unwrap_or(bits(0).sub(bits(1))),
            I32Shl => bits(0).shl(amount(32)?),
            I64Shl => bits(0).shl(amount(64)?),
            I32ShrU => bits(0).shr(amount(32)?),
            I64ShrU => bits(0).shr(amount(64)?),
            I32ShrS => bits(0).shr_signed(amount(32)?),
            I64ShrS => bits(0).shr_signed(amount(64)?),
            I32And | I64And => bits(0).and(self.constant(args[1])?),
            I32WrapI64 => bits(0).wrap(),
            I64ExtendI32U => bits(0).extend(),
            I64ExtendI32S => bits(0).extend_signed(),
            I32ReinterpretF32 => bits_of(32, self.number(args[0])),
            I64ReinterpretF64 => bits_of(64, self.number(args[0])),
            I32TruncSatF64S | I32TruncF64S => {
                let number = self.number(args[0]);
                // Saturating conversions of ends, as the operator's.
                let (low, high) = (number.low as i32, number.high as i32);
                (!number.nan).then(|| Bits::between(32, low as u64, high as u64))?
            }
            _ => return None,
        })
    }

    /// A value modulo two to a power: of sums and products of powers of two, of what they are made of.
    fn modulo(&self, value: Value, power: u32, depth: u32) -> Bits {
        use WasmOp::*;
        let known = self.bits(value).modulo(power);
        let Some((Op::Wasm(op), args)) = self.defs[value.index()].filter(|_| depth > 0) else { return known };
        match (op, args) {
            (I64Add, [a, b]) => self.modulo(*a, power, depth - 1).add(self.modulo(*b, power, depth - 1)),
            (I64Shl, [a, by]) => match self.constant(*by).map(|by| by as u32 % 64) {
                Some(by) if by < power => self.modulo(*a, power - by, depth - 1).times_power(by),
                _ => known,
            },
            (I64ExtendI32U, [a]) if power <= 32 => self.modulo(*a, power, depth - 1),
            _ => known,
        }
    }

    /// Of `x - ((x + c) & m)`, where `m` has all bits but the lowest: that is `((x + c) & !m) - c`, for the sum is its
    /// bits in `m` and those that are not.
    fn above_multiple(&self, args: &[Value]) -> Option<Bits> {
        let (Op::Wasm(WasmOp::I32And), [sum, mask]) = self.defs[args[1].index()]? else { return None };
        let (Op::Wasm(WasmOp::I32Add), [x, more]) = self.defs[sum.index()]? else { return None };
        let rest = !self.constant(*mask)? & u64::from(u32::MAX);
        let more = Bits::exactly(32, self.constant(*more)?);
        (*x == args[0]).then(|| Bits::between(32, 0, rest).sub(more))
    }

    /// Of `x - ((x + c) - c)`, half a unit in the last place of `x + c`, where that has always the exponent of the constant
    /// `c`. Then `(x + c) - c` is exact, for both are multiples of this unit and less than 2^53 of them; so before it is
    /// rounded, the result is by how much `x + c` was rounded, and half a unit is a float.
    fn half_place(&self, args: &[Value]) -> Option<f64> {
        let (Op::Wasm(WasmOp::F64Sub), [sum, constant]) = self.defs[args[1].index()]? else { return None };
        let (Op::Wasm(WasmOp::F64Add), [a, b]) = self.defs[sum.index()]? else { return None };
        let is_same = [a, b] == [&args[0], constant] || [a, b] == [constant, &args[0]];
        let (sum, constant) = (self.number(*sum), self.number(*constant));
        let place = sum.only_exponent().filter(|place| constant.only_exponent() == Some(*place))?;
        let is_one_sign = (sum.low > 0.0) == (constant.low > 0.0);
        (is_same && is_one_sign && sum.is_finite() && constant.is_finite()).then(|| power(place - 53))
    }

    fn float_result(&self, op: WasmOp, args: &[Value]) -> Option<Number> {
        use WasmOp::*;
        let number = |arg: usize| self.number(args[arg]);
        Some(match op {
            F64Add => number(0).plus(number(1)),
            F64Sub => {
                let difference = number(0).plus(number(1).negated());
                let half = self.half_place(args).filter(|_| difference.is_finite());
                half.map_or(difference, |half| difference.within(-half, half))
            }
            // A square is not negative.
            F64Mul if args[0] == args[1] => number(0).magnitude().times(number(0).magnitude()),
            F64Mul => number(0).times(number(1)),
            F64Div => number(0).over(number(1)),
            F64Sqrt => number(0).root(),
            F64Floor => number(0).whole(f64::floor),
            F64Ceil => number(0).whole(f64::ceil),
            F64Trunc => number(0).whole(f64::trunc),
            F64Nearest => number(0).whole(f64::round_ties_even),
            F32Neg | F64Neg => number(0).negated(),
            F32Abs | F64Abs => number(0).magnitude(),
            F32Copysign | F64Copysign => number(0).magnitude().join(number(0).magnitude().negated()),
            F32Min | F32Max | F64Min | F64Max => number(0).join(number(1)),
            F64PromoteF32 => number(0),
            F32DemoteF64 => number(0).demoted(),
            F64ConvertI32S | F64ConvertI64S => {
                let (low, high) = self.bits(args[0]).signed_ends();
                Number { step: 0, ..Number::between(low as f64, high as f64) }.settled()
            }
            F64ConvertI32U | F64ConvertI64U => {
                let (low, high) = self.bits(args[0]).ends();
                Number { step: 0, ..Number::between(low as f64, high as f64) }.settled()
            }
            F32ReinterpretI32 => floats(32, self.bits(args[0])),
            F64ReinterpretI64 => match self.defs[args[0].index()] {
                Some((Op::LoadDataPair, index)) => {
                    self.table(index[0])?.map(|bits| Number::exactly(f64::from_bits(bits))).reduce(Number::join)?
                }
                _ => match floats(64, self.bits(args[0])) {
                    any if any.nan => up_to_sign(self.modulo(args[0], 63, MAX_DEPTH)),
                    number => number,
                },
            },
            _ => return None,
        })
    }
}
