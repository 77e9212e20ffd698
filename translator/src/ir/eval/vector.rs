//! What the vector operators compute: lane by lane, on 128 bits.

use super::{BadOperands, EvalError, wasm};
use crate::ir::Const::{self, F32, F64, I32, I64, V128};
use crate::ir::{IntOp, Lane, ShiftOp, Type, VectorOp, WasmOp};

pub(super) fn vector(op: VectorOp, args: &[Const]) -> Result<Const, EvalError> {
    match (op, args) {
        (VectorOp::Splat(lane), &[value]) if value.ty() == lane.ty() => {
            let bits = bits_of(value)?;
            Ok(v128(join(lane.bits(), |_| bits)))
        }
        (VectorOp::ReplaceLane { lane, index }, &[V128(a), value]) if value.ty() == lane.ty() => {
            let (a, bits) = (a.into(), bits_of(value)?);
            Ok(v128(join(lane.bits(), |i| if i == usize::from(index) { bits } else { get(a, lane.bits(), i) })))
        }
        (VectorOp::Shift(lane, shift), &[V128(a), I32(amount)]) => {
            let a = a.into();
            Ok(v128(join(lane.bits(), |i| shifted(shift, lane.bits(), a, i, amount))))
        }
        (_, &[V128(a)]) => unary(op, a.into()),
        (_, &[V128(a), V128(b)]) => binary(op, a.into(), b.into()).map(v128),
        (_, &[V128(a), V128(b), V128(c)]) => ternary(op, a.into(), b.into(), c.into()).map(v128),
        _ => Err(BadOperands),
    }
}

/// A vector of these bits.
fn v128(bits: u128) -> Const {
    V128(bits.into())
}

/// A lane's bits.
fn get(vector: u128, bits: u32, index: usize) -> u64 {
    (vector >> (bits * index as u32)) as u64 & (u64::MAX >> (64 - bits))
}

/// A lane with its sign extended.
fn get_signed(vector: u128, bits: u32, index: usize) -> i64 {
    (get(vector, bits, index) << (64 - bits)) as i64 >> (64 - bits)
}

fn extended(vector: u128, bits: u32, index: usize, signed: bool) -> i64 {
    if signed { get_signed(vector, bits, index) } else { get(vector, bits, index) as i64 }
}

/// A vector of the low bits of what each lane is.
fn join(bits: u32, lane: impl Fn(usize) -> u64) -> u128 {
    (0..128 / bits).fold(0, |vector, index| {
        let value = lane(index as usize) & (u64::MAX >> (64 - bits));
        vector | u128::from(value) << (bits * index)
    })
}

/// The same where a lane may have no value.
fn try_join(bits: u32, lane: impl Fn(usize) -> Result<u64, EvalError>) -> Result<u128, EvalError> {
    let lanes: Vec<u64> = (0..128 / bits as usize).map(lane).collect::<Result<_, _>>()?;
    Ok(join(bits, |index| lanes[index]))
}

fn bits_of(value: Const) -> Result<u64, EvalError> {
    match value {
        I32(bits) | F32(bits) => Ok(bits.into()),
        I64(bits) | F64(bits) => Ok(bits),
        _ => Err(BadOperands),
    }
}

/// A lane as a value of a type of its size.
fn scalar(vector: u128, ty: Type, index: usize) -> Result<Const, EvalError> {
    let bits = get(vector, ty.bits().min(64), index);
    Ok(match ty {
        Type::I32 => I32(bits as u32),
        Type::I64 => I64(bits),
        Type::F32 => F32(bits as u32),
        Type::F64 => F64(bits),
        Type::V128 | Type::Bool => return Err(BadOperands),
    })
}

/// A scalar operator on a lane of each vector.
fn on_lane(op: WasmOp, vectors: &[u128], index: usize) -> Result<u64, EvalError> {
    let args: Vec<Const> =
        op.params().iter().zip(vectors).map(|(ty, v)| scalar(*v, *ty, index)).collect::<Result<_, _>>()?;
    bits_of(wasm(op, &args)?)
}

fn unary(op: VectorOp, a: u128) -> Result<Const, EvalError> {
    Ok(match op {
        VectorOp::ExtractLane { lane: lane @ (Lane::I8 | Lane::I16), index, signed } => {
            I32(extended(a, lane.bits(), index.into(), signed) as u32)
        }
        VectorOp::ExtractLane { lane, index, .. } => scalar(a, lane.ty(), index.into())?,
        VectorOp::Not => v128(!a),
        VectorOp::AnyTrue => I32((a != 0).into()),
        VectorOp::AllTrue(lane) => I32((0..lane.count()).all(|i| get(a, lane.bits(), i) != 0).into()),
        VectorOp::Bitmask(lane) => {
            I32((0..lane.count()).map(|i| u32::from(get_signed(a, lane.bits(), i) < 0) << i).sum())
        }
        VectorOp::Int(lane, op) if op.is_unary() => v128(join(lane.bits(), |i| {
            let value = get_signed(a, lane.bits(), i);
            match op {
                IntOp::Neg => value.wrapping_neg() as u64,
                IntOp::Abs => value.unsigned_abs(),
                _ => get(a, lane.bits(), i).count_ones().into(),
            }
        })),
        VectorOp::Lanes(op) | VectorOp::WidenLow(op) => v128(try_join(op.result().bits(), |i| on_lane(op, &[a], i))?),
        VectorOp::NarrowZero(op) => {
            v128(try_join(op.result().bits(), |i| if i < 2 { on_lane(op, &[a], i) } else { Ok(0) })?)
        }
        VectorOp::Extend { from, high, signed } => {
            v128(join(2 * from.bits(), |i| extended(a, from.bits(), i + half(from, high), signed) as u64))
        }
        VectorOp::ExtAddPairwise { from, signed } => v128(join(2 * from.bits(), |i| {
            (extended(a, from.bits(), 2 * i, signed) + extended(a, from.bits(), 2 * i + 1, signed)) as u64
        })),
        _ => return Err(BadOperands),
    })
}

/// The number of the first lane of a half.
fn half(lane: Lane, high: bool) -> usize {
    if high { lane.count() / 2 } else { 0 }
}

fn binary(op: VectorOp, a: u128, b: u128) -> Result<u128, EvalError> {
    let product = |bits: u32, i: usize| get_signed(a, bits, i) * get_signed(b, bits, i);
    Ok(match op {
        VectorOp::Shuffle(lanes) => join(8, |i| match usize::from(lanes[i]) {
            number @ ..16 => get(a, 8, number),
            number => get(b, 8, number & 15),
        }),
        VectorOp::Swizzle => join(8, |i| match get(b, 8, i) {
            number @ ..16 => get(a, 8, number as usize),
            _ => 0,
        }),
        VectorOp::And => a & b,
        VectorOp::AndNot => a & !b,
        VectorOp::Or => a | b,
        VectorOp::Xor => a ^ b,
        VectorOp::Int(lane, op) => {
            let bits = lane.bits();
            try_join(bits, |i| int(op, bits, (get(a, bits, i), get(b, bits, i))))?
        }
        VectorOp::Lanes(op) => try_join(op.result().bits(), |i| on_lane(op, &[a, b], i))?,
        VectorOp::Compare(op) => {
            let bits = op.params().first().map_or(32, |ty| ty.bits());
            try_join(bits, |i| on_lane(op, &[a, b], i).map(u64::wrapping_neg))?
        }
        VectorOp::PseudoMin(lane) => pseudo(lane, a, b, |a, b| b < a),
        VectorOp::PseudoMax(lane) => pseudo(lane, a, b, |a, b| a < b),
        VectorOp::ExtMul { from, high, signed } => join(2 * from.bits(), |i| {
            let i = i + half(from, high);
            let (a, b) = (extended(a, from.bits(), i, signed), extended(b, from.bits(), i, signed));
            a.wrapping_mul(b) as u64
        }),
        VectorOp::Narrow { from, signed } => {
            let to = from.bits() / 2;
            let limit = 1_i64 << to;
            let (least, most) = if signed { (-limit / 2, limit / 2 - 1) } else { (0, limit - 1) };
            join(to, |i| {
                let (vector, i) = if i < from.count() { (a, i) } else { (b, i - from.count()) };
                get_signed(vector, from.bits(), i).clamp(least, most) as u64
            })
        }
        VectorOp::Dot => join(32, |i| (product(16, 2 * i) + product(16, 2 * i + 1)) as u64),
        VectorOp::RelaxedDot => join(16, |i| (product(8, 2 * i) + product(8, 2 * i + 1)) as u64),
        _ => return Err(BadOperands),
    })
}

fn pseudo(lane: Lane, a: u128, b: u128, takes_second: impl Fn(f64, f64) -> bool) -> u128 {
    let number = |bits: u64| match lane {
        Lane::F64 => f64::from_bits(bits),
        _ => f32::from_bits(bits as u32).into(),
    };
    join(lane.bits(), |i| {
        let (a, b) = (get(a, lane.bits(), i), get(b, lane.bits(), i));
        if takes_second(number(a), number(b)) { b } else { a }
    })
}

fn ternary(op: VectorOp, a: u128, b: u128, c: u128) -> Result<u128, EvalError> {
    Ok(match op {
        VectorOp::BitSelect => a & c | b & !c,
        VectorOp::RelaxedDotAdd => join(32, |i| {
            let products = (4 * i..4 * i + 4).map(|i| get_signed(a, 8, i) * get_signed(b, 8, i));
            (products.sum::<i64>() + get_signed(c, 32, i)) as u64
        }),
        VectorOp::MulAdd { lane, negated } => join(lane.bits(), |i| {
            let [a, b, c] = [a, b, c].map(|vector| get(vector, lane.bits(), i));
            let a = a ^ u64::from(negated) << (lane.bits() - 1);
            match lane {
                Lane::F64 => {
                    let sum = f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c));
                    if sum.is_nan() { 0x7ff8 << 48 } else { sum.to_bits() }
                }
                _ => {
                    let [a, b, c] = [a, b, c].map(|bits| f32::from_bits(bits as u32));
                    let sum = a.mul_add(b, c);
                    if sum.is_nan() { 0x7fc0_0000 } else { sum.to_bits().into() }
                }
            }
        }),
        _ => return Err(BadOperands),
    })
}

fn shifted(op: ShiftOp, bits: u32, vector: u128, index: usize, amount: u32) -> u64 {
    let amount = amount % bits;
    match op {
        ShiftOp::Shl => get(vector, bits, index) << amount,
        ShiftOp::ShrS => (get_signed(vector, bits, index) >> amount) as u64,
        ShiftOp::ShrU => get(vector, bits, index) >> amount,
    }
}

/// An operator with two operands on a lane; bits beyond the lane's size are dropped.
fn int(op: IntOp, bits: u32, (a, b): (u64, u64)) -> Result<u64, EvalError> {
    let signed = |value: u64| (value << (64 - bits)) as i64 >> (64 - bits);
    let (sa, sb) = (signed(a), signed(b));
    let (least, most) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
    let all_ones = |holds: bool| u64::from(holds).wrapping_neg();
    Ok(match op {
        IntOp::Add => a.wrapping_add(b),
        IntOp::Sub => a.wrapping_sub(b),
        IntOp::Mul => a.wrapping_mul(b),
        IntOp::AddSatS => sa.saturating_add(sb).clamp(least, most) as u64,
        IntOp::SubSatS => sa.saturating_sub(sb).clamp(least, most) as u64,
        IntOp::AddSatU => a.saturating_add(b).min(u64::MAX >> (64 - bits)),
        IntOp::SubSatU => a.saturating_sub(b),
        IntOp::MinS => sa.min(sb) as u64,
        IntOp::MinU => a.min(b),
        IntOp::MaxS => sa.max(sb) as u64,
        IntOp::MaxU => a.max(b),
        IntOp::AvgrU => (u128::from(a) + u128::from(b)).div_ceil(2) as u64,
        IntOp::Q15mulrSatS => (sa.wrapping_mul(sb).wrapping_add(0x4000) >> 15).min(most) as u64,
        IntOp::Eq => all_ones(a == b),
        IntOp::Ne => all_ones(a != b),
        IntOp::LtS => all_ones(sa < sb),
        IntOp::LtU => all_ones(a < b),
        IntOp::GtS => all_ones(sa > sb),
        IntOp::GtU => all_ones(a > b),
        IntOp::LeS => all_ones(sa <= sb),
        IntOp::LeU => all_ones(a <= b),
        IntOp::GeS => all_ones(sa >= sb),
        IntOp::GeU => all_ones(a >= b),
        IntOp::Neg | IntOp::Abs | IntOp::Popcnt => return Err(BadOperands),
    })
}
