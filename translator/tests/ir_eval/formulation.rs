//! A second formulation of Wasm's operators: integers in 128 bits, floats from their definition.

use wavelift_translator::TrapKind;
use wavelift_translator::ir::{Const, Type, WasmOp};

/// The bits of a constant.
pub fn bits(value: Const) -> u128 {
    match value {
        Const::I32(v) | Const::F32(v) => v.into(),
        Const::I64(v) | Const::F64(v) => v.into(),
        Const::V128(v) => v.into(),
        Const::Bool(v) => v.into(),
    }
}

/// The low bits of an integer as a constant.
fn truncated(ty: Type, value: i128) -> Const {
    match ty {
        Type::I32 => Const::I32((value as u128 % (1 << 32)) as u32),
        Type::I64 => Const::I64((value as u128 % (1 << 64)) as u64),
        Type::Bool => Const::Bool(value != 0),
        Type::F32 => Const::F32(value as u32),
        Type::F64 => Const::F64(value as u64),
        Type::V128 => Const::V128((value as u128).into()),
    }
}

fn signed(value: u128, size: u32) -> i128 {
    if value >= 1 << (size - 1) { value as i128 - (1 << size) } else { value as i128 }
}

/// Integer operators by name, in 128-bit arithmetic.
pub fn integer(name: &str, ty: Type, args: &[Const]) -> Option<Result<Const, TrapKind>> {
    let size = ty.bits();
    let u: Vec<u128> = args.iter().map(|a| bits(*a)).collect();
    let s: Vec<i128> = u.iter().map(|a| signed(*a, size)).collect();
    let ones = (1i128 << size) - 1;
    if let [a] = u[..] {
        let binary = format!("{a:0width$b}", width = size as usize);
        let narrow = |bits: u32| Some(Ok(truncated(ty, signed(a % (1 << bits), bits))));
        return match name {
            "eqz" => Some(Ok(Const::I32((a < 1).into()))),
            "clz" => Some(Ok(truncated(ty, binary.find('1').unwrap_or(size as usize) as i128))),
            "ctz" => {
                let trailing = binary.rfind('1').map_or(size as usize, |at| size as usize - 1 - at);
                Some(Ok(truncated(ty, trailing as i128)))
            }
            "popcnt" => Some(Ok(truncated(ty, binary.matches('1').count() as i128))),
            "extend8_s" => narrow(8),
            "extend16_s" => narrow(16),
            "extend32_s" => narrow(32),
            _ => None,
        };
    }
    let &[a, b] = &u[..] else { return None };
    let (sa, sb) = (s[0], s[1]);
    let power = 1u128 << (b % u128::from(size));
    let test = |holds: bool| Some(Ok(Const::I32(holds.into())));
    let value = match name {
        "eq" => return test(sa - sb == 0),
        "ne" => return test(sa - sb != 0),
        "lt_s" => return test(sa - sb < 0),
        "lt_u" => return test((a as i128) - (b as i128) < 0),
        "gt_s" => return test(sb - sa < 0),
        "gt_u" => return test((b as i128) - (a as i128) < 0),
        "le_s" => return test(sa - sb < 1),
        "le_u" => return test((a as i128) - (b as i128) < 1),
        "ge_s" => return test(sb - sa < 1),
        "ge_u" => return test((b as i128) - (a as i128) < 1),
        "add" => sa + sb,
        "sub" => sa - sb,
        "mul" => (sa as u128).wrapping_mul(sb as u128) as i128,
        "div_s" | "div_u" | "rem_s" | "rem_u" if b == 0 => return Some(Err(TrapKind::DivideByZero)),
        "div_s" if sa / sb > ones / 2 => return Some(Err(TrapKind::IntegerOverflow)),
        "div_s" => sa / sb,
        "rem_s" => sa - sa / sb * sb,
        "div_u" => (a / b) as i128,
        "rem_u" => (a - a / b * b) as i128,
        // Bit by bit: and = (a + b - (a xor b)) / 2 would share the host's operator, sums of bits don't.
        "and" | "or" | "xor" => (0..size)
            .map(|i| {
                let sum = (a / (1 << i)) % 2 + (b / (1 << i)) % 2;
                let bit = match name {
                    "and" => sum == 2,
                    "or" => sum != 0,
                    _ => sum == 1,
                };
                if bit { 1i128 << i } else { 0 }
            })
            .sum(),
        "shl" => (a.wrapping_mul(power)) as i128,
        "shr_u" => (a / power) as i128,
        "shr_s" => sa.div_euclid(power as i128),
        "rotl" => (a * power % (1 << size) + a * power / (1 << size)) as i128,
        "rotr" => {
            let left = (1u128 << size) / power;
            (a / power + a % power * left) as i128
        }
        _ => return None,
    };
    Some(Ok(truncated(ty, value & ones)))
}

/// A float taken apart: `(negative, significand, exponent)`, `None` for infinities and NaN.
fn parts(value: Const) -> Option<(bool, u128, i32)> {
    let (size, fraction_bits) = match value {
        Const::F32(_) => (32, 23),
        _ => (64, 52),
    };
    let raw = bits(value);
    let field = raw / (1 << fraction_bits) % (1 << (size - 1 - fraction_bits));
    let fraction = raw % (1 << fraction_bits);
    let bias = (1 << (size - 2 - fraction_bits)) - 1;
    let negative = raw >= 1 << (size - 1);
    match field {
        f if f == (1 << (size - 1 - fraction_bits)) - 1 => None,
        0 => Some((negative, fraction, 1 - bias - fraction_bits)),
        f => Some((negative, fraction + (1 << fraction_bits), f as i32 - bias - fraction_bits)),
    }
}

fn is_nan(value: Const) -> bool {
    match value {
        Const::F32(v) => f32::from_bits(v).is_nan(),
        _ => f64::from_bits(bits(value) as u64).is_nan(),
    }
}

/// The integer that a float is towards zero, from its parts; `Err(negative)` when it is beyond 2^100.
fn whole(value: Const) -> Result<i128, bool> {
    let negative = bits(value) >> (value.ty().bits() - 1) == 1;
    let Some((_, significand, exponent)) = parts(value) else { return Err(negative) };
    let magnitude = match exponent {
        e if e > 45 => return if significand == 0 { Ok(0) } else { Err(negative) },
        e if e >= 0 => significand << e,
        e if e <= -128 => 0,
        e => significand >> -e,
    };
    Ok(if negative { -(magnitude as i128) } else { magnitude as i128 })
}

fn limits(ty: Type, is_signed: bool) -> (i128, i128) {
    let size = ty.bits();
    if is_signed { (-(1 << (size - 1)), (1 << (size - 1)) - 1) } else { (0, (1 << size) - 1) }
}

fn truncation(from: Const, to: Type, is_signed: bool) -> Result<Const, TrapKind> {
    let (least, most) = limits(to, is_signed);
    match whole(from) {
        _ if is_nan(from) => Err(TrapKind::BadConversion),
        Ok(value) if (least..=most).contains(&value) => Ok(truncated(to, value)),
        _ => Err(TrapKind::IntegerOverflow),
    }
}

fn saturation(from: Const, to: Type, is_signed: bool) -> Const {
    let (least, most) = limits(to, is_signed);
    match whole(from) {
        _ if is_nan(from) => truncated(to, 0),
        Ok(value) => truncated(to, value.clamp(least, most)),
        Err(negative) => truncated(to, if negative { least } else { most }),
    }
}

/// An integer to the nearest float, ties to even, built from bits.
fn converted(value: i128, to: Type) -> Const {
    let (precision, fraction_bits, bias) = if to == Type::F32 { (24u32, 23, 127u128) } else { (53, 52, 1023) };
    let sign = if value < 0 { 1u128 << (to.bits() - 1) } else { 0 };
    let magnitude = value.unsigned_abs();
    if magnitude == 0 {
        return truncated(to, 0);
    }
    let length = 128 - magnitude.leading_zeros();
    let (mut significand, mut exponent) = (magnitude, length - 1);
    if length > precision {
        let step = 1u128 << (length - precision);
        let (quotient, rest) = (magnitude / step, magnitude % step);
        let up = rest * 2 > step || rest * 2 == step && quotient % 2 == 1;
        significand = quotient + u128::from(up);
        if significand == 1 << precision {
            (significand, exponent) = (significand / 2, exponent + 1);
        }
    } else {
        significand <<= precision - length;
    }
    let raw = sign + ((u128::from(exponent) + bias) << fraction_bits) + (significand - (1 << fraction_bits));
    truncated(to, raw as i128)
}

/// The exact f64 result rounded once more: right for one operator of f32, since f64 has more than 2 * 24 + 2 bits.
fn float32(name: &str, args: &[f64]) -> Option<f64> {
    Some(match (name, args) {
        ("add", [a, b]) => a + b,
        ("sub", [a, b]) => a - b,
        ("mul", [a, b]) => a * b,
        ("div", [a, b]) => a / b,
        ("sqrt", [a]) => a.sqrt(),
        _ => return None,
    })
}

/// Rounding to an integer, from the whole part and what is left.
fn rounded(name: &str, value: f64) -> Option<f64> {
    if !["ceil", "floor", "trunc", "nearest"].contains(&name) {
        return None;
    }
    let Ok(towards_zero) = whole(Const::F64(value.to_bits())) else { return Some(value) };
    if value.abs() >= 2f64.powi(53) {
        return Some(value);
    }
    let rest = value - towards_zero as f64;
    let step = match name {
        "ceil" if rest > 0.0 => 1,
        "floor" if rest < 0.0 => -1,
        "nearest" if rest.abs() > 0.5 || rest.abs() == 0.5 && towards_zero % 2 != 0 => rest.signum() as i128,
        _ => 0,
    };
    Some(((towards_zero + step) as f64).abs() * if value.is_sign_negative() { -1.0 } else { 1.0 })
}

fn as_f64(value: Const) -> f64 {
    match value {
        Const::F32(v) => f32::from_bits(v).into(),
        _ => f64::from_bits(bits(value) as u64),
    }
}

/// A float result with Wasm's canonical NaN here.
fn float_const(ty: Type, value: f64) -> Const {
    match (ty, value.is_nan()) {
        (Type::F32, true) => Const::F32(0x7fc0_0000),
        (Type::F32, false) => Const::F32((value as f32).to_bits()),
        (_, true) => Const::F64(0x7ff8 << 48),
        (_, false) => Const::F64(value.to_bits()),
    }
}

/// Float operators by name; `None` for f64 arithmetic, which has a table of its own below.
fn float(name: &str, ty: Type, args: &[Const]) -> Option<Const> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let top = 1i128 << (ty.bits() - 1);
    let raw: Vec<i128> = args.iter().map(|a| bits(*a) as i128).collect();
    let values: Vec<f64> = args.iter().map(|a| as_f64(*a)).collect();
    match (name, &raw[..]) {
        ("abs", [a]) => return Some(truncated(ty, a % top)),
        ("neg", [a]) => return Some(truncated(ty, (a + top) % (2 * top))),
        ("copysign", [a, b]) => return Some(truncated(ty, a % top + b / top * top)),
        _ => {}
    }
    if let [a, b] = values[..] {
        let ordering = a.partial_cmp(&b);
        let test = |any: &[_]| Some(Const::I32(ordering.is_some_and(|o| any.contains(&o)).into()));
        let pick = |wanted| {
            let value = if a.total_cmp(&b) == wanted { a } else { b };
            Some(float_const(ty, if a.is_nan() || b.is_nan() { f64::NAN } else { value }))
        };
        match name {
            "eq" => return test(&[Equal]),
            "lt" => return test(&[Less]),
            "gt" => return test(&[Greater]),
            "le" => return test(&[Less, Equal]),
            "ge" => return test(&[Greater, Equal]),
            "ne" => return Some(Const::I32((ordering != Some(Equal)).into())),
            "min" => return pick(Less),
            "max" => return pick(Greater),
            _ => {}
        }
    }
    if let [value] = values[..]
        && let Some(result) = rounded(name, value)
    {
        return Some(float_const(ty, result));
    }
    (ty == Type::F32).then(|| float32(name, &values)).flatten().map(|v| float_const(ty, v))
}

/// What an operator of Wasm should give; `None` where only the tables below check it.
pub fn expected(op: WasmOp, args: &[Const]) -> Option<Result<Const, TrapKind>> {
    let (_, name) = op.text().split_once('.')?;
    let (from, to) = (op.params()[0], op.result());
    let is_signed = name.ends_with("_s");
    if name.starts_with("trunc_sat") {
        return Some(Ok(saturation(args[0], to, is_signed)));
    }
    if name.starts_with("trunc_") {
        return Some(truncation(args[0], to, is_signed));
    }
    if name.starts_with("convert") {
        let value = if is_signed { signed(bits(args[0]), from.bits()) } else { bits(args[0]) as i128 };
        return Some(Ok(converted(value, to)));
    }
    match name {
        "wrap_i64" | "extend_i32_u" => Some(Ok(truncated(to, bits(args[0]) as i128))),
        "extend_i32_s" => Some(Ok(truncated(to, signed(bits(args[0]), 32)))),
        _ if name.starts_with("reinterpret") => Some(Ok(truncated(to, bits(args[0]) as i128))),
        _ if from.is_int() => integer(name, from, args),
        _ => float(name, from, args).map(Ok),
    }
}
