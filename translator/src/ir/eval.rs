//! What the pure operators compute. Constant folding and the interpreter both call this, so there is one meaning.
//!
//! A float operator that computes a NaN gives the positive quiet NaN without payload; operators that Wasm defines on
//! the bits (`abs`, `neg`, `copysign`, reinterpretations) keep theirs.

mod vector;

use super::{Const, LowOp, MathOp, Op, Type, WasmOp};
use crate::error::TrapKind;
use Const::{Bool, F32, F64, I32, I64};

/// Why an operator gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Wasm's meaning is a trap.
    #[error("The operator traps: {0}.")]
    Trap(TrapKind),
    /// SPIR-V leaves the result undefined; lowered code must never get there.
    #[error("The result is undefined: {0}.")]
    Undefined(&'static str),
    /// The operator reads or writes state: memory, a global, a variable, the invocation's inputs.
    #[error("The operator depends on more than its operands.")]
    NotPure,
    /// Number or types of the operands are wrong.
    #[error("The operator has operands of the wrong number or type.")]
    BadOperands,
}

use EvalError::{BadOperands, NotPure, Undefined};

/// What [`LowOp::FToS`] and [`LowOp::FToU`] give for a float that does not fit (the low 32 bits for `I32`): any value
/// would do, an odd one shows that it was used.
pub const UNFIT: u64 = 0xDEAD_BEEF_DEAD_BEEF;

/// Computes a pure operator.
///
/// # Errors
/// [`EvalError::Trap`] where Wasm traps, [`EvalError::Undefined`] where SPIR-V defines nothing, [`EvalError::NotPure`]
/// for operators that depend on more than `args`, [`EvalError::BadOperands`] for ill-typed operands.
pub fn eval(op: &Op, args: &[Const]) -> Result<Const, EvalError> {
    match op {
        Op::Const(value) => args.is_empty().then_some(*value).ok_or(BadOperands),
        Op::Wasm(op) => wasm(*op, args),
        Op::Vector(op) => vector::vector(*op, args),
        Op::Math(op) => math(*op, args),
        Op::Select => match *args {
            [a, b, I32(condition)] if a.ty() == b.ty() => Ok(if condition != 0 { a } else { b }),
            _ => Err(BadOperands),
        },
        Op::Low(op) => low(*op, args),
        Op::Load(_)
        | Op::Store(_)
        | Op::Atomic(..)
        | Op::Fence
        | Op::MemorySize
        | Op::MemoryFill
        | Op::MemoryCopy
        | Op::MemoryCopyApart
        | Op::MemoryInit(_)
        | Op::DataDrop(_)
        | Op::LoadData
        | Op::LoadDataPair
        | Op::Undefined
        | Op::GlobalGet(_)
        | Op::GlobalSet(_)
        | Op::GlobalWord { .. } => Err(NotPure),
    }
}

fn wasm(op: WasmOp, args: &[Const]) -> Result<Const, EvalError> {
    match *args {
        [I32(a)] => wasm_i32_unary(op, a),
        [I64(a)] => wasm_i64_unary(op, a),
        [F32(a)] => wasm_f32_unary(op, a),
        [F64(a)] => wasm_f64_unary(op, a),
        [I32(a), I32(b)] => wasm_i32_binary(op, a, b),
        [I64(a), I64(b)] => wasm_i64_binary(op, a, b),
        [F32(a), F32(b)] => wasm_f32_binary(op, a, b),
        [F64(a), F64(b)] => wasm_f64_binary(op, a, b),
        _ => Err(BadOperands),
    }
}

fn math(op: MathOp, args: &[Const]) -> Result<Const, EvalError> {
    let mut floats = [0.0; 3];
    for (float, arg) in floats.iter_mut().zip(args) {
        let F32(bits) = *arg else { return Err(BadOperands) };
        *float = f32::from_bits(bits);
    }
    if args.len() == op.arity() { Ok(f32_of(op.eval(floats))) } else { Err(BadOperands) }
}

fn condition(holds: bool) -> Const {
    I32(holds.into())
}

/// An `f32` result.
fn f32_of(value: f32) -> Const {
    F32(if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() })
}

/// An `f64` result.
fn f64_of(value: f64) -> Const {
    F64(if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() })
}

/// Towards zero to a signed integer of `bits` bits; every `f32` is exactly an `f64`.
fn to_signed(value: f64, bits: u32) -> Result<i64, TrapKind> {
    let limit = 2f64.powi(bits as i32 - 1);
    let whole = value.trunc();
    match whole {
        _ if value.is_nan() => Err(TrapKind::BadConversion),
        _ if whole < -limit || whole >= limit => Err(TrapKind::IntegerOverflow),
        _ => Ok(whole as i64),
    }
}

/// Towards zero to an unsigned integer of `bits` bits.
fn to_unsigned(value: f64, bits: u32) -> Result<u64, TrapKind> {
    let whole = value.trunc();
    match whole {
        _ if value.is_nan() => Err(TrapKind::BadConversion),
        _ if whole < 0.0 || whole >= 2f64.powi(bits as i32) => Err(TrapKind::IntegerOverflow),
        _ => Ok(whole as u64),
    }
}

fn wasm_i32_unary(op: WasmOp, a: u32) -> Result<Const, EvalError> {
    Ok(match op {
        WasmOp::I32Eqz => condition(a == 0),
        WasmOp::I32Clz => I32(a.leading_zeros()),
        WasmOp::I32Ctz => I32(a.trailing_zeros()),
        WasmOp::I32Popcnt => I32(a.count_ones()),
        WasmOp::I32Extend8S => I32(a as i8 as u32),
        WasmOp::I32Extend16S => I32(a as i16 as u32),
        WasmOp::I64ExtendI32S => I64(a as i32 as u64),
        WasmOp::I64ExtendI32U => I64(a.into()),
        WasmOp::F32ConvertI32S => f32_of(a as i32 as f32),
        WasmOp::F32ConvertI32U => f32_of(a as f32),
        WasmOp::F64ConvertI32S => f64_of((a as i32).into()),
        WasmOp::F64ConvertI32U => f64_of(a.into()),
        WasmOp::F32ReinterpretI32 => F32(a),
        _ => return Err(BadOperands),
    })
}

fn wasm_i64_unary(op: WasmOp, a: u64) -> Result<Const, EvalError> {
    Ok(match op {
        WasmOp::I64Eqz => condition(a == 0),
        WasmOp::I64Clz => I64(a.leading_zeros().into()),
        WasmOp::I64Ctz => I64(a.trailing_zeros().into()),
        WasmOp::I64Popcnt => I64(a.count_ones().into()),
        WasmOp::I64Extend8S => I64(a as i8 as u64),
        WasmOp::I64Extend16S => I64(a as i16 as u64),
        WasmOp::I64Extend32S => I64(a as i32 as u64),
        WasmOp::I32WrapI64 => I32(a as u32),
        WasmOp::F32ConvertI64S => f32_of(a as i64 as f32),
        WasmOp::F32ConvertI64U => f32_of(a as f32),
        WasmOp::F64ConvertI64S => f64_of(a as i64 as f64),
        WasmOp::F64ConvertI64U => f64_of(a as f64),
        WasmOp::F64ReinterpretI64 => F64(a),
        _ => return Err(BadOperands),
    })
}

fn wasm_f32_unary(op: WasmOp, bits: u32) -> Result<Const, EvalError> {
    let a = f32::from_bits(bits);
    let wide = f64::from(a);
    let trap = EvalError::Trap;
    Ok(match op {
        WasmOp::F32Abs => F32(bits & !(1 << 31)),
        WasmOp::F32Neg => F32(bits ^ 1 << 31),
        WasmOp::F32Ceil => f32_of(a.ceil()),
        WasmOp::F32Floor => f32_of(a.floor()),
        WasmOp::F32Trunc => f32_of(a.trunc()),
        WasmOp::F32Nearest => f32_of(a.round_ties_even()),
        WasmOp::F32Sqrt => f32_of(a.sqrt()),
        WasmOp::F64PromoteF32 => f64_of(wide),
        WasmOp::I32ReinterpretF32 => I32(bits),
        WasmOp::I32TruncF32S => I32(to_signed(wide, 32).map_err(trap)? as u32),
        WasmOp::I32TruncF32U => I32(to_unsigned(wide, 32).map_err(trap)? as u32),
        WasmOp::I64TruncF32S => I64(to_signed(wide, 64).map_err(trap)? as u64),
        WasmOp::I64TruncF32U => I64(to_unsigned(wide, 64).map_err(trap)?),
        // Rust's `as` saturates and takes NaN to zero, as these do.
        WasmOp::I32TruncSatF32S => I32(a as i32 as u32),
        WasmOp::I32TruncSatF32U => I32(a as u32),
        WasmOp::I64TruncSatF32S => I64(a as i64 as u64),
        WasmOp::I64TruncSatF32U => I64(a as u64),
        _ => return Err(BadOperands),
    })
}

fn wasm_f64_unary(op: WasmOp, bits: u64) -> Result<Const, EvalError> {
    let a = f64::from_bits(bits);
    let trap = EvalError::Trap;
    Ok(match op {
        WasmOp::F64Abs => F64(bits & !(1 << 63)),
        WasmOp::F64Neg => F64(bits ^ 1 << 63),
        WasmOp::F64Ceil => f64_of(a.ceil()),
        WasmOp::F64Floor => f64_of(a.floor()),
        WasmOp::F64Trunc => f64_of(a.trunc()),
        WasmOp::F64Nearest => f64_of(a.round_ties_even()),
        WasmOp::F64Sqrt => f64_of(a.sqrt()),
        WasmOp::F32DemoteF64 => f32_of(a as f32),
        WasmOp::I64ReinterpretF64 => I64(bits),
        WasmOp::I32TruncF64S => I32(to_signed(a, 32).map_err(trap)? as u32),
        WasmOp::I32TruncF64U => I32(to_unsigned(a, 32).map_err(trap)? as u32),
        WasmOp::I64TruncF64S => I64(to_signed(a, 64).map_err(trap)? as u64),
        WasmOp::I64TruncF64U => I64(to_unsigned(a, 64).map_err(trap)?),
        WasmOp::I32TruncSatF64S => I32(a as i32 as u32),
        WasmOp::I32TruncSatF64U => I32(a as u32),
        WasmOp::I64TruncSatF64S => I64(a as i64 as u64),
        WasmOp::I64TruncSatF64U => I64(a as u64),
        _ => return Err(BadOperands),
    })
}

macro_rules! wasm_int_binary {
    ($name:ident, $u:ty, $s:ty, $wrap:ident,
     $eq:ident $ne:ident $lt_s:ident $lt_u:ident $gt_s:ident $gt_u:ident $le_s:ident $le_u:ident $ge_s:ident $ge_u:ident
     $add:ident $sub:ident $mul:ident $div_s:ident $div_u:ident $rem_s:ident $rem_u:ident
     $and:ident $or:ident $xor:ident $shl:ident $shr_s:ident $shr_u:ident $rotl:ident $rotr:ident) => {
        fn $name(op: WasmOp, a: $u, b: $u) -> Result<Const, EvalError> {
            use WasmOp as W;
            let (sa, sb) = (a as $s, b as $s);
            let by_zero = EvalError::Trap(TrapKind::DivideByZero);
            // Wasm and Rust both take shift amounts modulo the size, but only the low 32 bits are Rust's to take.
            let amount = (b % <$u>::BITS as $u) as u32;
            Ok(match op {
                W::$eq => condition(a == b),
                W::$ne => condition(a != b),
                W::$lt_s => condition(sa < sb),
                W::$lt_u => condition(a < b),
                W::$gt_s => condition(sa > sb),
                W::$gt_u => condition(a > b),
                W::$le_s => condition(sa <= sb),
                W::$le_u => condition(a <= b),
                W::$ge_s => condition(sa >= sb),
                W::$ge_u => condition(a >= b),
                W::$add => $wrap(a.wrapping_add(b)),
                W::$sub => $wrap(a.wrapping_sub(b)),
                W::$mul => $wrap(a.wrapping_mul(b)),
                W::$div_s if b == 0 => return Err(by_zero),
                W::$div_s => $wrap(sa.checked_div(sb).ok_or(EvalError::Trap(TrapKind::IntegerOverflow))? as $u),
                W::$div_u => $wrap(a.checked_div(b).ok_or(by_zero)?),
                W::$rem_s if b == 0 => return Err(by_zero),
                W::$rem_s => $wrap(sa.wrapping_rem(sb) as $u),
                W::$rem_u => $wrap(a.checked_rem(b).ok_or(by_zero)?),
                W::$and => $wrap(a & b),
                W::$or => $wrap(a | b),
                W::$xor => $wrap(a ^ b),
                W::$shl => $wrap(a << amount),
                W::$shr_s => $wrap((sa >> amount) as $u),
                W::$shr_u => $wrap(a >> amount),
                W::$rotl => $wrap(a.rotate_left(amount)),
                W::$rotr => $wrap(a.rotate_right(amount)),
                _ => return Err(BadOperands),
            })
        }
    };
}

wasm_int_binary! {
    wasm_i32_binary, u32, i32, I32,
    I32Eq I32Ne I32LtS I32LtU I32GtS I32GtU I32LeS I32LeU I32GeS I32GeU
    I32Add I32Sub I32Mul I32DivS I32DivU I32RemS I32RemU I32And I32Or I32Xor I32Shl I32ShrS I32ShrU I32Rotl I32Rotr
}

wasm_int_binary! {
    wasm_i64_binary, u64, i64, I64,
    I64Eq I64Ne I64LtS I64LtU I64GtS I64GtU I64LeS I64LeU I64GeS I64GeU
    I64Add I64Sub I64Mul I64DivS I64DivU I64RemS I64RemU I64And I64Or I64Xor I64Shl I64ShrS I64ShrU I64Rotl I64Rotr
}

macro_rules! wasm_float_binary {
    ($name:ident, $f:ty, $u:ty, $wrap:ident, $of:ident,
     $eq:ident $ne:ident $lt:ident $gt:ident $le:ident $ge:ident
     $add:ident $sub:ident $mul:ident $div:ident $min:ident $max:ident $copysign:ident) => {
        fn $name(op: WasmOp, a_bits: $u, b_bits: $u) -> Result<Const, EvalError> {
            use WasmOp as W;
            let (a, b) = (<$f>::from_bits(a_bits), <$f>::from_bits(b_bits));
            let sign = 1 << (<$u>::BITS - 1);
            let any_nan = a.is_nan() || b.is_nan();
            Ok(match op {
                W::$eq => condition(a == b),
                W::$ne => condition(a != b),
                W::$lt => condition(a < b),
                W::$gt => condition(a > b),
                W::$le => condition(a <= b),
                W::$ge => condition(a >= b),
                W::$add => $of(a + b),
                W::$sub => $of(a - b),
                W::$mul => $of(a * b),
                W::$div => $of(a / b),
                W::$min | W::$max if any_nan => $of(<$f>::NAN),
                // Equal numbers differ at most in the sign, which only zeroes can.
                W::$min if a == b => $wrap(a_bits | b_bits),
                W::$max if a == b => $wrap(a_bits & b_bits),
                W::$min => $wrap(if a < b { a_bits } else { b_bits }),
                W::$max => $wrap(if a > b { a_bits } else { b_bits }),
                W::$copysign => $wrap(a_bits & !sign | b_bits & sign),
                _ => return Err(BadOperands),
            })
        }
    };
}

wasm_float_binary! {
    wasm_f32_binary, f32, u32, F32, f32_of,
    F32Eq F32Ne F32Lt F32Gt F32Le F32Ge F32Add F32Sub F32Mul F32Div F32Min F32Max F32Copysign
}

wasm_float_binary! {
    wasm_f64_binary, f64, u64, F64, f64_of,
    F64Eq F64Ne F64Lt F64Gt F64Le F64Ge F64Add F64Sub F64Mul F64Div F64Min F64Max F64Copysign
}

fn low(op: LowOp, args: &[Const]) -> Result<Const, EvalError> {
    use LowOp as L;
    if op.has_effect() || op.reads_state() || matches!(op, L::Immediate(_) | L::Input(_) | L::IterationId) {
        return Err(NotPure);
    }
    match (op, args) {
        (L::Math(op), _) if op.on_device().is_some() => math(op, args),
        (L::Pack64, &[I32(low), I32(high)]) => Ok(I64(u64::from(high) << 32 | u64::from(low))),
        (L::Select, &[Bool(holds), a, b]) if a.ty() == b.ty() => Ok(if holds { a } else { b }),
        (L::MulHigh, &[I32(a), I32(b)]) => Ok(I32(((u64::from(a) * u64::from(b)) >> 32) as u32)),
        (_, &[a]) => low_unary(op, a),
        (_, &[I32(a), I32(b)]) => low_i32_binary(op, a, b),
        (_, &[I64(a), I64(b)]) => low_i64_binary(op, a, b),
        (_, &[F32(a), F32(b)]) => low_f32_binary(op, a, b),
        (_, &[F64(a), F64(b)]) => low_f64_binary(op, a, b),
        (L::BAnd, &[Bool(a), Bool(b)]) => Ok(Bool(a & b)),
        (L::BOr, &[Bool(a), Bool(b)]) => Ok(Bool(a | b)),
        _ => Err(BadOperands),
    }
}

fn low_unary(op: LowOp, a: Const) -> Result<Const, EvalError> {
    use LowOp as L;
    Ok(match (op, a) {
        (L::FindMsb, I32(a)) => I32(a.checked_ilog2().unwrap_or(u32::MAX)),
        (L::FindLsb, I32(a)) => I32(if a == 0 { u32::MAX } else { a.trailing_zeros() }),
        (L::BitCount, I32(a)) => I32(a.count_ones()),
        (L::Wrap, I64(a)) => I32(a as u32),
        (L::High, I64(a)) => I32((a >> 32) as u32),
        (L::ExtendU, I32(a)) => I64(a.into()),
        (L::ExtendS, I32(a)) => I64(a as i32 as u64),
        (L::BNot, Bool(a)) => Bool(!a),
        (L::Bitcast(Type::F32), I32(a)) => F32(a),
        (L::Bitcast(Type::I32), F32(a)) => I32(a),
        (L::Bitcast(Type::F64), I64(a)) => F64(a),
        (L::Bitcast(Type::I64), F64(a)) => I64(a),
        (L::FToF(Type::F64), F32(a)) => f64_of(f32::from_bits(a).into()),
        (L::FToF(Type::F32), F64(a)) => f32_of(f64::from_bits(a) as f32),
        (L::FToS(ty), F32(a)) => float_to_int(f32::from_bits(a).into(), ty, true)?,
        (L::FToS(ty), F64(a)) => float_to_int(f64::from_bits(a), ty, true)?,
        (L::FToU(ty), F32(a)) => float_to_int(f32::from_bits(a).into(), ty, false)?,
        (L::FToU(ty), F64(a)) => float_to_int(f64::from_bits(a), ty, false)?,
        (L::SToF(Type::F32), I32(a)) => f32_of(a as i32 as f32),
        (L::SToF(Type::F64), I32(a)) => f64_of((a as i32).into()),
        (L::SToF(Type::F32), I64(a)) => f32_of(a as i64 as f32),
        (L::SToF(Type::F64), I64(a)) => f64_of(a as i64 as f64),
        (L::UToF(Type::F32), I32(a)) => f32_of(a as f32),
        (L::UToF(Type::F64), I32(a)) => f64_of(a.into()),
        (L::UToF(Type::F32), I64(a)) => f32_of(a as f32),
        (L::UToF(Type::F64), I64(a)) => f64_of(a as f64),
        (L::FAbs, F32(a)) => F32(a & !(1 << 31)),
        (L::FNeg, F32(a)) => F32(a ^ 1 << 31),
        (L::FAbs, F64(a)) => F64(a & !(1 << 63)),
        (L::FNeg, F64(a)) => F64(a ^ 1 << 63),
        (_, F32(a)) => f32_of(match (op, f32::from_bits(a)) {
            (L::FSqrt, a) => a.sqrt(),
            (L::FTrunc, a) => a.trunc(),
            (L::FFloor, a) => a.floor(),
            (L::FCeil, a) => a.ceil(),
            (L::FRoundEven, a) => a.round_ties_even(),
            _ => return Err(BadOperands),
        }),
        (_, F64(a)) => f64_of(match (op, f64::from_bits(a)) {
            (L::FSqrt, a) => a.sqrt(),
            (L::FTrunc, a) => a.trunc(),
            (L::FFloor, a) => a.floor(),
            (L::FCeil, a) => a.ceil(),
            (L::FRoundEven, a) => a.round_ties_even(),
            _ => return Err(BadOperands),
        }),
        _ => return Err(BadOperands),
    })
}

fn float_to_int(value: f64, ty: Type, signed: bool) -> Result<Const, EvalError> {
    if !ty.is_int() {
        return Err(BadOperands);
    }
    let bits = match signed {
        true => to_signed(value, ty.bits()).map(|v| v as u64),
        false => to_unsigned(value, ty.bits()),
    }
    .unwrap_or(UNFIT);
    Ok(if ty == Type::I32 { I32(bits as u32) } else { I64(bits) })
}

macro_rules! low_int_binary {
    ($name:ident, $u:ty, $s:ty, $wrap:ident) => {
        fn $name(op: LowOp, a: $u, b: $u) -> Result<Const, EvalError> {
            use LowOp as L;
            let (sa, sb) = (a as $s, b as $s);
            let divided = Undefined("a division by zero, or one whose quotient does not fit");
            let shifted = Undefined("a shift by the operand's size or more");
            let amount = u32::try_from(b).unwrap_or(u32::MAX);
            Ok(match op {
                L::IAdd => $wrap(a.wrapping_add(b)),
                L::ISub => $wrap(a.wrapping_sub(b)),
                L::IMul => $wrap(a.wrapping_mul(b)),
                L::UDiv => $wrap(a.checked_div(b).ok_or(divided)?),
                L::SDiv => $wrap(sa.checked_div(sb).ok_or(divided)? as $u),
                L::URem => $wrap(a.checked_rem(b).ok_or(divided)?),
                L::SRem => $wrap(sa.checked_rem(sb).ok_or(divided)? as $u),
                L::And => $wrap(a & b),
                L::Or => $wrap(a | b),
                L::Xor => $wrap(a ^ b),
                L::Shl => $wrap(a.checked_shl(amount).ok_or(shifted)?),
                L::ShrU => $wrap(a.checked_shr(amount).ok_or(shifted)?),
                L::ShrS => $wrap(sa.checked_shr(amount).ok_or(shifted)? as $u),
                L::UMin => $wrap(a.min(b)),
                L::UMax => $wrap(a.max(b)),
                L::SMin => $wrap(sa.min(sb) as $u),
                L::SMax => $wrap(sa.max(sb) as $u),
                L::Eq => Bool(a == b),
                L::Ne => Bool(a != b),
                L::ULt => Bool(a < b),
                L::ULe => Bool(a <= b),
                L::SLt => Bool(sa < sb),
                L::SLe => Bool(sa <= sb),
                _ => return Err(BadOperands),
            })
        }
    };
}

low_int_binary!(low_i32_binary, u32, i32, I32);
low_int_binary!(low_i64_binary, u64, i64, I64);

macro_rules! low_float_binary {
    ($name:ident, $f:ty, $u:ty, $of:ident) => {
        fn $name(op: LowOp, a: $u, b: $u) -> Result<Const, EvalError> {
            use LowOp as L;
            let (a, b) = (<$f>::from_bits(a), <$f>::from_bits(b));
            Ok(match op {
                L::FAdd => $of(a + b),
                L::FSub => $of(a - b),
                L::FMul => $of(a * b),
                L::FDiv => $of(a / b),
                L::FEq => Bool(a == b),
                L::FLt => Bool(a < b),
                L::FLe => Bool(a <= b),
                _ => return Err(BadOperands),
            })
        }
    };
}

low_float_binary!(low_f32_binary, f32, u32, f32_of);
low_float_binary!(low_f64_binary, f64, u64, f64_of);
