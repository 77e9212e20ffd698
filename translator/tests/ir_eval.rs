//! The evaluator against a second formulation: integers in 128 bits, floats from their definition.

use wavelift_translator::TrapKind;
use wavelift_translator::ir::eval::{EvalError, UNFIT, eval};
use wavelift_translator::ir::{Const, LowOp, Op, Type, Var, WasmOp};

const I32_EDGES: &[u32] = &[
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    33,
    63,
    64,
    127,
    128,
    255,
    0x7fff,
    0x8000,
    0xffff,
    0x1234_5678,
    0x0f0f_f0f0,
    0x7fff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
    0x0100_0001,
    0x0100_0003,
];
const I64_EDGES: &[u64] = &[
    0,
    1,
    2,
    5,
    31,
    32,
    63,
    64,
    65,
    127,
    128,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1234_5678_9abc_def0,
    0x001f_ffff_ffff_ffff,
    0x0020_0000_0000_0001,
    0x0020_0000_0000_0003,
    0x4000_0040_0000_0001,
    0x7fff_ffbf_ffff_ffff,
    0x7fff_ffff_ffff_fffe,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0xffff_ffff_ffff_fbff,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
    0x0000_0001_0000_0000,
];
const F64_EDGES: &[f64] = &[
    0.0,
    -0.0,
    0.1,
    -0.1,
    0.5,
    -0.5,
    0.999_999_9,
    -0.999_999_9,
    1.0,
    -1.0,
    1.5,
    -1.5,
    2.5,
    -2.5,
    3.5,
    4.5,
    100.75,
    8_388_607.5,
    8_388_609.0,
    2_147_483_647.0,
    2_147_483_647.9,
    2_147_483_648.0,
    -2_147_483_648.0,
    -2_147_483_648.9,
    -2_147_483_649.0,
    4_294_967_295.0,
    4_294_967_295.9,
    4_294_967_296.0,
    9_223_372_036_854_774_784.0,
    9_223_372_036_854_775_808.0,
    -9_223_372_036_854_775_808.0,
    -9_223_372_036_854_777_856.0,
    18_446_744_073_709_549_568.0,
    18_446_744_073_709_551_616.0,
    4_503_599_627_370_495.5,
    4_503_599_627_370_497.0,
    1e30,
    -1e30,
    3.0e38,
    1.0e300,
    1e-40,
    -1e-45,
    5e-324,
    f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

fn edges(ty: Type) -> Vec<Const> {
    match ty {
        Type::I32 => I32_EDGES.iter().map(|v| Const::I32(*v)).collect(),
        Type::I64 => I64_EDGES.iter().map(|v| Const::I64(*v)).collect(),
        Type::F32 => {
            let extra = [0x7fa0_0001, 0xffc0_0000, 0x4eff_ffff, 0xcf00_0001, 0x5eff_ffff, 0x4f7f_ffff, 1, 0x807f_ffff];
            F64_EDGES.iter().map(|v| (*v as f32).to_bits()).chain(extra).map(Const::F32).collect()
        }
        Type::F64 => {
            let extra = [0x7ff4_0000_0000_0001, 0xfff8_0000_0000_0000, 0x41df_ffff_ffc0_0001];
            F64_EDGES.iter().map(|v| v.to_bits()).chain(extra).map(Const::F64).collect()
        }
        Type::Bool => vec![Const::Bool(false), Const::Bool(true)],
    }
}

/// Every combination of edge values of operands of these types.
fn combinations(types: &[Type]) -> Vec<Vec<Const>> {
    types.iter().fold(vec![Vec::new()], |rows, ty| {
        let extend = |row: Vec<Const>| edges(*ty).into_iter().map(move |v| [row.clone(), vec![v]].concat());
        rows.into_iter().flat_map(extend).collect()
    })
}

fn bits(value: Const) -> u128 {
    match value {
        Const::I32(v) | Const::F32(v) => v.into(),
        Const::I64(v) | Const::F64(v) => v.into(),
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
    }
}

fn signed(value: u128, size: u32) -> i128 {
    if value >= 1 << (size - 1) { value as i128 - (1 << size) } else { value as i128 }
}

/// Integer operators by name, in 128-bit arithmetic.
fn integer(name: &str, ty: Type, args: &[Const]) -> Option<Result<Const, TrapKind>> {
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
fn expected(op: WasmOp, args: &[Const]) -> Option<Result<Const, TrapKind>> {
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

#[test]
fn wasm_operators_agree_with_a_second_formulation_at_edge_values() {
    let mut unchecked = Vec::new();
    for op in WasmOp::ALL {
        let mut checked = 0;
        for args in combinations(op.params()) {
            let found = eval(&Op::Wasm(*op), &args);
            if let Some(expected) = expected(*op, &args) {
                assert_eq!(found, expected.map_err(EvalError::Trap), "{} of {args:x?}", op.text());
                checked += 1;
            }
            if let Err(EvalError::Trap(_)) = found {
                assert!(op.can_trap(), "{} is said not to trap", op.text());
            }
        }
        if checked == 0 {
            unchecked.push(op.text());
        }
    }
    // These have tables of literals.
    let tables = ["f64.sqrt", "f64.add", "f64.sub", "f64.mul", "f64.div", "f32.demote_f64", "f64.promote_f32"];
    assert_eq!(unchecked, tables);
}

#[test]
fn f64_arithmetic_and_float_conversions_give_known_bits() {
    use WasmOp::*;
    const NAN: u64 = 0x7ff8 << 48;
    let of = |v: f64| v.to_bits();
    let rows: &[(WasmOp, &[u64], u64)] = &[
        (F64Add, &[of(0.1), of(0.2)], 0x3fd3_3333_3333_3334),
        (F64Add, &[of(-0.0), of(0.0)], 0),
        (F64Add, &[of(-0.0), of(-0.0)], 1 << 63),
        (F64Add, &[of(1.0), 0x3ca0_0000_0000_0000], of(1.0)),
        (F64Add, &[of(1.0), 0x3ca0_0000_0000_0001], 0x3ff0_0000_0000_0001),
        (F64Add, &[of(f64::INFINITY), of(f64::NEG_INFINITY)], NAN),
        (F64Add, &[0xfff4_0000_0000_0001, of(1.0)], NAN),
        (F64Add, &[0x0010_0000_0000_0000, 0x8000_0000_0000_0001], 0x000f_ffff_ffff_ffff),
        (F64Sub, &[of(1.0), of(1.0)], 0),
        (F64Sub, &[of(0.0), of(0.0)], 0),
        (F64Sub, &[of(-0.0), of(0.0)], 1 << 63),
        (F64Mul, &[of(0.1), of(3.0)], 0x3fd3_3333_3333_3334),
        (F64Mul, &[of(0.0), of(f64::INFINITY)], NAN),
        (F64Mul, &[of(-1.0), of(0.0)], 1 << 63),
        (F64Mul, &[of(f64::MAX), of(2.0)], 0x7ff0 << 48),
        (F64Mul, &[0x0010_0000_0000_0000, of(0.5)], 0x0008_0000_0000_0000),
        (F64Div, &[of(1.0), of(3.0)], 0x3fd5_5555_5555_5555),
        (F64Div, &[of(1.0), of(-0.0)], 0xfff0 << 48),
        (F64Div, &[of(0.0), of(0.0)], NAN),
        (F64Sqrt, &[of(2.0)], 0x3ff6_a09e_667f_3bcd),
        (F64Sqrt, &[of(-0.0)], 1 << 63),
        (F64Sqrt, &[of(-1.0)], NAN),
    ];
    for (op, args, result) in rows {
        let args: Vec<Const> = args.iter().map(|v| Const::F64(*v)).collect();
        assert_eq!(eval(&Op::Wasm(*op), &args), Ok(Const::F64(*result)), "{} of {args:x?}", op.text());
    }
    let demotions: &[(u64, u32)] = &[
        (of(0.1), 0x3dcc_cccd),
        (of(1.0 + 2f64.powi(-24)), 0x3f80_0000),
        (of(1.0 + 3.0 * 2f64.powi(-24)), 0x3f80_0002),
        (of(1e300), 0x7f80_0000),
        (of(2f64.powi(-149)), 1),
        (of(2f64.powi(-150)), 0),
        (of(-1.5 * 2f64.powi(-150)), 0x8000_0001),
        (0xfff4_0000_0000_0001, 0x7fc0_0000),
    ];
    for (from, to) in demotions {
        assert_eq!(eval(&Op::Wasm(F32DemoteF64), &[Const::F64(*from)]), Ok(Const::F32(*to)), "demote {from:#x}");
    }
    let promotions: &[(u32, u64)] = &[
        (0x3dcc_cccd, 0x3fb9_9999_a000_0000),
        (1, 0x36a0_0000_0000_0000),
        (0x8000_0000, 1 << 63),
        (0xff80_0000, 0xfff0 << 48),
        (0xffc0_0001, NAN),
    ];
    for (from, to) in promotions {
        assert_eq!(eval(&Op::Wasm(F64PromoteF32), &[Const::F32(*from)]), Ok(Const::F64(*to)), "promote {from:#x}");
    }
}

const TYPES: [Type; 5] = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Bool];

fn pure_low_operators() -> Vec<LowOp> {
    use LowOp::*;
    let mut all = vec![
        IAdd, ISub, IMul, UDiv, SDiv, URem, SRem, And, Or, Xor, Shl, ShrU, ShrS, UMin, UMax, SMin, SMax, FindMsb,
        FindLsb, BitCount, Eq, Ne, ULt, ULe, SLt, SLe, FAdd, FSub, FMul, FDiv, FSqrt, FAbs, FNeg, FTrunc, FFloor,
        FCeil, FRoundEven, FEq, FLt, FLe, Wrap, ExtendU, ExtendS, Pack64, High, BAnd, BOr, BNot, Select,
    ];
    for ty in TYPES {
        all.extend([FToS(ty), FToU(ty), SToF(ty), UToF(ty), FToF(ty), Bitcast(ty)]);
    }
    all
}

/// All lists of at most three types.
fn signatures() -> Vec<Vec<Type>> {
    let mut all = vec![Vec::new()];
    for start in 0.. {
        let Some(short) = all.get(start).cloned() else { break };
        if short.len() < 3 {
            all.extend(TYPES.map(|ty| [short.clone(), vec![ty]].concat()));
        }
    }
    all
}

/// The value of an operand list that every operator defines: no zero divisor, no great shift.
fn tame(types: &[Type]) -> Vec<Const> {
    let one = |ty: &Type| match ty {
        Type::I32 => Const::I32(1),
        Type::I64 => Const::I64(1),
        Type::F32 => Const::F32(0x3f80_0000),
        Type::F64 => Const::F64(0x3ff0 << 48),
        Type::Bool => Const::Bool(true),
    };
    types.iter().map(one).collect()
}

#[test]
fn evaluation_and_type_check_accept_the_same_operands() {
    let low = pure_low_operators().into_iter().map(Op::Low);
    let consts = TYPES.map(|ty| Op::Const(Const::zero(ty)));
    let all = WasmOp::ALL.iter().map(|op| Op::Wasm(*op)).chain(low).chain(consts).chain([Op::Select]);
    for op in all {
        let mut accepted = 0;
        for types in signatures() {
            let found = match eval(&op, &tame(&types)) {
                Ok(value) => Some(Some(value.ty())),
                Err(EvalError::BadOperands) => None,
                Err(other) => panic!("{op:?} of ones: {other}"),
            };
            assert_eq!(found, op.result_type(&types, &[]), "{op:?} of {types:?}");
            accepted += usize::from(found.is_some());
        }
        let hopeless = match op {
            Op::Low(LowOp::FToS(ty) | LowOp::FToU(ty)) => !ty.is_int(),
            Op::Low(LowOp::SToF(ty) | LowOp::UToF(ty) | LowOp::FToF(ty)) => !ty.is_float(),
            Op::Low(LowOp::Bitcast(ty)) => ty == Type::Bool,
            _ => false,
        };
        assert_eq!(accepted == 0, hopeless, "{op:?} accepts {accepted} signatures");
    }
}

#[test]
fn operators_with_state_are_not_evaluated() {
    let low = [LowOp::LoadWord { slot: 0 }, LowOp::Immediate(0), LowOp::IterationId, LowOp::VarGet(Var(0))];
    for op in low.map(Op::Low).into_iter().chain([Op::GlobalGet(0)]) {
        assert_eq!(eval(&op, &[]), Err(EvalError::NotPure), "{op:?}");
    }
}

/// The lowered operators that have a namesake of Wasm's, checked by that name's second formulation.
#[test]
fn lowered_integer_operators_agree_where_they_are_defined() {
    use LowOp::*;
    let rows: &[(LowOp, &str)] = &[
        (IAdd, "add"),
        (ISub, "sub"),
        (IMul, "mul"),
        (UDiv, "div_u"),
        (SDiv, "div_s"),
        (URem, "rem_u"),
        (SRem, "rem_s"),
        (And, "and"),
        (Or, "or"),
        (Xor, "xor"),
        (Shl, "shl"),
        (ShrU, "shr_u"),
        (ShrS, "shr_s"),
        (Eq, "eq"),
        (Ne, "ne"),
        (ULt, "lt_u"),
        (ULe, "le_u"),
        (SLt, "lt_s"),
        (SLe, "le_s"),
    ];
    for ty in [Type::I32, Type::I64] {
        for (op, name) in rows {
            for args in combinations(&[ty, ty]) {
                let (a, b) = (bits(args[0]), bits(args[1]));
                let least = 1u128 << (ty.bits() - 1);
                let overflow = a == least && b == 2 * least - 1;
                let undefined = match op {
                    UDiv | URem => b == 0,
                    SDiv | SRem => b == 0 || overflow,
                    Shl | ShrU | ShrS => b >= ty.bits().into(),
                    _ => false,
                };
                let found = eval(&Op::Low(*op), &args);
                if undefined {
                    assert!(matches!(found, Err(EvalError::Undefined(_))), "{op:?} of {args:x?} gave {found:?}");
                    continue;
                }
                let mut wanted = integer(name, ty, &args).unwrap().unwrap();
                if op.result_type(&[ty, ty], &[]) == Some(Some(Type::Bool)) {
                    wanted = Const::Bool(wanted == Const::I32(1));
                }
                assert_eq!(found, Ok(wanted), "{op:?} of {args:x?}");
            }
        }
    }
}

#[test]
fn lowered_operators_without_a_namesake_give_known_values() {
    use Const::{Bool, F32, F64, I32, I64};
    use LowOp::*;
    const NEG: u32 = -7i32 as u32;
    let rows: &[(LowOp, &[Const], Const)] = &[
        (UMin, &[I32(NEG), I32(5)], I32(5)),
        (UMax, &[I32(NEG), I32(5)], I32(NEG)),
        (SMin, &[I32(NEG), I32(5)], I32(NEG)),
        (SMax, &[I32(NEG), I32(5)], I32(5)),
        (SMin, &[I64(1 << 63), I64(0)], I64(1 << 63)),
        (UMin, &[I64(1 << 63), I64(0)], I64(0)),
        (FindMsb, &[I32(0)], I32(u32::MAX)),
        (FindMsb, &[I32(1)], I32(0)),
        (FindMsb, &[I32(0x8000_0001)], I32(31)),
        (FindLsb, &[I32(0)], I32(u32::MAX)),
        (FindLsb, &[I32(0x8000_0000)], I32(31)),
        (FindLsb, &[I32(0x18)], I32(3)),
        (BitCount, &[I32(0xf0f0_0001)], I32(9)),
        (Wrap, &[I64(0x1_2345_6789)], I32(0x2345_6789)),
        (High, &[I64(0x1234_5678_9abc_def0)], I32(0x1234_5678)),
        (Pack64, &[I32(0x9abc_def0), I32(0x1234_5678)], I64(0x1234_5678_9abc_def0)),
        (ExtendU, &[I32(0x8000_0000)], I64(0x8000_0000)),
        (ExtendS, &[I32(0x8000_0000)], I64(0xffff_ffff_8000_0000)),
        (Bitcast(Type::F32), &[I32(0x7fa0_0001)], F32(0x7fa0_0001)),
        (Bitcast(Type::I64), &[F64(0xfff4_0000_0000_0001)], I64(0xfff4_0000_0000_0001)),
        (FAbs, &[F32(0xffa0_0001)], F32(0x7fa0_0001)),
        (FNeg, &[F64(0x7ff4_0000_0000_0001)], F64(0xfff4_0000_0000_0001)),
        (FToS(Type::I32), &[F32((-1.9f32).to_bits())], I32(u32::MAX)),
        (FToS(Type::I32), &[F32(0x4f00_0000)], I32(UNFIT as u32)),
        (FToS(Type::I64), &[F32(0x4f00_0000)], I64(1 << 31)),
        (FToU(Type::I32), &[F32(0x4f00_0000)], I32(1 << 31)),
        (FToU(Type::I32), &[F64((-1.0f64).to_bits())], I32(UNFIT as u32)),
        (FToU(Type::I64), &[F64(f64::NAN.to_bits())], I64(UNFIT)),
        (SToF(Type::F32), &[I32(u32::MAX)], F32(0xbf80_0000)),
        (UToF(Type::F32), &[I32(u32::MAX)], F32(0x4f80_0000)),
        (SToF(Type::F64), &[I64(u64::MAX)], F64(0xbff0 << 48)),
        (UToF(Type::F32), &[I64(0x8000_0080_0000_0001)], F32(0x5f00_0001)),
        (FToF(Type::F32), &[F64(0x3fb9_9999_9999_999a)], F32(0x3dcc_cccd)),
        (FToF(Type::F64), &[F32(0x3dcc_cccd)], F64(0x3fb9_9999_a000_0000)),
        (FRoundEven, &[F32(2.5f32.to_bits())], F32(2.0f32.to_bits())),
        (FTrunc, &[F32((-2.5f32).to_bits())], F32((-2.0f32).to_bits())),
        (FFloor, &[F64((-2.5f64).to_bits())], F64((-3.0f64).to_bits())),
        (FCeil, &[F64((-0.5f64).to_bits())], F64(1 << 63)),
        (FSqrt, &[F32(2f32.to_bits())], F32(0x3fb5_04f3)),
        (FAdd, &[F32(0.1f32.to_bits()), F32(0.2f32.to_bits())], F32(0x3e99_999a)),
        (FSub, &[F32(1), F32(1)], F32(0)),
        (FMul, &[F64(0.1f64.to_bits()), F64(3f64.to_bits())], F64(0x3fd3_3333_3333_3334)),
        (FDiv, &[F64(0), F64(0)], F64(0x7ff8 << 48)),
        (FEq, &[F32(0), F32(1 << 31)], Bool(true)),
        (FEq, &[F32(0x7fc0_0000), F32(0x7fc0_0000)], Bool(false)),
        (FLt, &[F32(0xbf80_0000), F32(0)], Bool(true)),
        (FLt, &[F32(0), F32(1 << 31)], Bool(false)),
        (FLe, &[F64(0), F64(1 << 63)], Bool(true)),
        (BAnd, &[Bool(true), Bool(false)], Bool(false)),
        (BOr, &[Bool(true), Bool(false)], Bool(true)),
        (BNot, &[Bool(true)], Bool(false)),
        (Select, &[Bool(true), I64(1), I64(2)], I64(1)),
        (Select, &[Bool(false), F32(1), F32(2)], F32(2)),
    ];
    for (op, args, result) in rows {
        assert_eq!(eval(&Op::Low(*op), args), Ok(*result), "{op:?} of {args:x?}");
    }
    assert_eq!(eval(&Op::Select, &[I32(7), I32(8), I32(2)]), Ok(I32(7)));
    assert_eq!(eval(&Op::Select, &[I32(7), I32(8), I32(0)]), Ok(I32(8)));
}
