//! The evaluator against a second formulation and against known values.

mod formulation;

use formulation::{bits, expected, integer};
use wavelift_translator::ir::eval::{EvalError, UNFIT, eval};
use wavelift_translator::ir::{Const, LowOp, MathOp, Op, Type, Var, WasmOp};

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
        Type::V128 => vec![Const::V128(0.into()), Const::V128(u128::MAX.into())],
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
        IAdd, ISub, IMul, MulHigh, UDiv, SDiv, URem, SRem, And, Or, Xor, Shl, ShrU, ShrS, UMin, UMax, SMin, SMax,
        FindMsb, FindLsb, BitCount, Eq, Ne, ULt, ULe, SLt, SLe, FAdd, FSub, FMul, FDiv, FSqrt, FAbs, FNeg, FTrunc,
        FFloor, FCeil, FRoundEven, FEq, FLt, FLe, Wrap, ExtendU, ExtendS, Pack64, High, BAnd, BOr, BNot, Select,
    ];
    all.extend(MathOp::ALL.iter().copied().filter(|op| op.on_device().is_some()).map(Math));
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
        Type::V128 => Const::V128(1.into()),
        Type::Bool => Const::Bool(true),
    };
    types.iter().map(one).collect()
}

#[test]
fn evaluation_and_type_check_accept_the_same_operands() {
    let low = pure_low_operators().into_iter().map(Op::Low);
    let consts = TYPES.map(|ty| Op::Const(Const::zero(ty)));
    let math = MathOp::ALL.iter().copied().map(Op::Math);
    let all = WasmOp::ALL.iter().map(|op| Op::Wasm(*op)).chain(math).chain(low).chain(consts).chain([Op::Select]);
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
        (MulHigh, &[I32(u32::MAX), I32(u32::MAX)], I32(u32::MAX - 1)),
        (MulHigh, &[I32(0x1_0000), I32(0xffff)], I32(0)),
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
