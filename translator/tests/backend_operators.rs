//! Each lowered operator: the instruction it becomes, the sign of its operands, and both readers' validators.

mod common;

use std::collections::{HashMap, HashSet};

use rspirv::dr::{Instruction, Operand};
use rspirv::spirv::{Decoration, GlslStd450Op as Glsl, Op as Spv};
use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::{
    AtomicOp, Const, Exit, Function, LowOp, MathOp, Op, RegionId, StmtKind, Type, Value, Var,
};
use wavelift_translator::{
    Error, Features, FloatMode, Input as Word, LINEAR, Location, Options, Profile, Shape, backend,
};

const AT: Location = Location { function: 3, offset: 0x40 };

fn empty_function() -> Function {
    Function {
        index: 3,
        name: "scale".to_string(),
        params: vec![],
        results: vec![],
        body: RegionId(0),
        values: vec![],
        regions: vec![],
        vars: vec![],
        labels: 0,
        stack_words: 4,
        states: None,
        data: [0; 4].into(),
    }
}

/// What the operator is to become.
#[derive(Debug)]
enum Becomes {
    /// A core instruction; whether its operands are signed.
    Core(Spv, bool),
    /// One of GLSL.std.450; whether its operands are signed.
    Glsl(Glsl, bool),
    /// No instruction of its own.
    Nothing,
}

/// The expectation for the Vulkan profile. Exhaustive, so that a new operator can't be forgotten.
fn expected(op: LowOp) -> Becomes {
    use Becomes::{Core, Glsl as Ext, Nothing};
    match op {
        // Gone before, or of the whole shader: `tests/fuel.rs`.
        LowOp::Burn | LowOp::Spend | LowOp::Owes | LowOp::Settle | LowOp::Take { .. } | LowOp::Refund => Nothing,
        LowOp::Cell(_) | LowOp::SetCell(_) | LowOp::Overtaken => Nothing,
        LowOp::IAdd => Core(Spv::IAdd, false),
        LowOp::ISub => Core(Spv::ISub, false),
        LowOp::IMul => Core(Spv::IMul, false),
        LowOp::MulHigh => Core(Spv::UMulExtended, false),
        LowOp::UDiv => Core(Spv::UDiv, false),
        LowOp::SDiv => Core(Spv::SDiv, true),
        LowOp::URem => Core(Spv::UMod, false),
        // The remainder of the magnitudes, with the sign put back.
        LowOp::SRem => Core(Spv::UMod, false),
        LowOp::And => Core(Spv::BitwiseAnd, false),
        LowOp::Or => Core(Spv::BitwiseOr, false),
        LowOp::Xor => Core(Spv::BitwiseXor, false),
        LowOp::Shl => Core(Spv::ShiftLeftLogical, false),
        LowOp::ShrU => Core(Spv::ShiftRightLogical, false),
        LowOp::ShrS => Core(Spv::ShiftRightArithmetic, true),
        LowOp::UMin => Ext(Glsl::UMin, false),
        LowOp::UMax => Ext(Glsl::UMax, false),
        LowOp::SMin => Ext(Glsl::SMin, true),
        LowOp::SMax => Ext(Glsl::SMax, true),
        LowOp::FindMsb => Ext(Glsl::FindUMsb, false),
        LowOp::FindLsb => Ext(Glsl::FindILsb, false),
        LowOp::BitCount => Core(Spv::BitCount, false),
        LowOp::Eq => Core(Spv::IEqual, false),
        LowOp::Ne => Core(Spv::INotEqual, false),
        LowOp::ULt => Core(Spv::ULessThan, false),
        LowOp::ULe => Core(Spv::ULessThanEqual, false),
        LowOp::SLt => Core(Spv::SLessThan, true),
        LowOp::SLe => Core(Spv::SLessThanEqual, true),
        LowOp::FAdd => Core(Spv::FAdd, false),
        LowOp::FSub => Core(Spv::FSub, false),
        LowOp::FMul => Core(Spv::FMul, false),
        LowOp::FDiv => Core(Spv::FDiv, false),
        LowOp::FSqrt => Ext(Glsl::Sqrt, false),
        LowOp::FAbs => Ext(Glsl::FAbs, false),
        LowOp::FNeg => Core(Spv::FNegate, false),
        LowOp::FTrunc => Ext(Glsl::Trunc, false),
        LowOp::FFloor => Ext(Glsl::Floor, false),
        LowOp::FCeil => Ext(Glsl::Ceil, false),
        LowOp::FRoundEven => Ext(Glsl::RoundEven, false),
        LowOp::Math(op) => Ext(op.on_device().expect("the backend takes only those"), false),
        LowOp::FEq => Core(Spv::FOrdEqual, false),
        LowOp::FLt => Core(Spv::FOrdLessThan, false),
        LowOp::FLe => Core(Spv::FOrdLessThanEqual, false),
        LowOp::Wrap | LowOp::ExtendU => Core(Spv::UConvert, false),
        LowOp::ExtendS => Core(Spv::SConvert, true),
        LowOp::FToS(_) => Core(Spv::ConvertFToS, false),
        LowOp::FToU(_) => Core(Spv::ConvertFToU, false),
        LowOp::SToF(_) => Core(Spv::ConvertSToF, true),
        LowOp::UToF(_) => Core(Spv::ConvertUToF, false),
        LowOp::FToF(_) => Core(Spv::FConvert, false),
        LowOp::Bitcast(_) => Core(Spv::Bitcast, false),
        LowOp::Pack64 => Core(Spv::CompositeConstruct, false),
        LowOp::High => Core(Spv::CompositeExtract, false),
        LowOp::BAnd => Core(Spv::LogicalAnd, false),
        LowOp::BOr => Core(Spv::LogicalOr, false),
        LowOp::BNot => Core(Spv::LogicalNot, false),
        LowOp::Select => Core(Spv::Select, false),
        LowOp::LoadWord { .. } | LowOp::LoadData | LowOp::LoadStack | LowOp::VarGet(_) => Core(Spv::Load, false),
        LowOp::LoadLane { .. } | LowOp::LoadDataLane { .. } => Core(Spv::CompositeExtract, false),
        LowOp::StoreWord { .. }
        | LowOp::StoreQuad { .. }
        | LowOp::StorePair { .. }
        | LowOp::StorePart { .. }
        | LowOp::StoreStack
        | LowOp::VarSet(_) => Core(Spv::Store, false),
        LowOp::AndWord { .. } => Core(Spv::AtomicAnd, false),
        LowOp::OrWord { .. } => Core(Spv::AtomicOr, false),
        LowOp::Atomic { op, .. } => Core(
            match op {
                AtomicOp::Load => Spv::AtomicLoad,
                AtomicOp::Store => Spv::AtomicStore,
                AtomicOp::Add => Spv::AtomicIAdd,
                AtomicOp::Sub => Spv::AtomicISub,
                AtomicOp::And => Spv::AtomicAnd,
                AtomicOp::Or => Spv::AtomicOr,
                AtomicOp::Xor => Spv::AtomicXor,
                AtomicOp::Exchange => Spv::AtomicExchange,
                AtomicOp::CompareExchange => Spv::AtomicCompareExchange,
            },
            false,
        ),
        LowOp::Fence => Core(Spv::MemoryBarrier, false),
        LowOp::Immediate(_) | LowOp::Input(_) | LowOp::IterationId => Nothing,
    }
}

/// Every operator with operand types and result type, in each type it has.
fn cases() -> Vec<(LowOp, Vec<Type>, Option<Type>)> {
    use LowOp::*;
    use Type::*;
    let mut cases = Vec::new();
    for t in [I32, I64] {
        for op in [IAdd, ISub, IMul, UDiv, SDiv, URem, SRem, And, Or, Xor, Shl, ShrU, ShrS, UMin, UMax, SMin, SMax] {
            cases.push((op, vec![t, t], Some(t)));
        }
        cases.extend([Eq, Ne, ULt, ULe, SLt, SLe].map(|op| (op, vec![t, t], Some(Bool))));
        for f in [F32, F64] {
            cases.extend([FToS(t), FToU(t)].map(|op| (op, vec![f], Some(t))));
            cases.extend([SToF(f), UToF(f)].map(|op| (op, vec![t], Some(f))));
        }
    }
    for t in [F32, F64] {
        cases.extend([FAdd, FSub, FMul, FDiv].map(|op| (op, vec![t, t], Some(t))));
        cases.extend([FSqrt, FAbs, FNeg, FTrunc, FFloor, FCeil, FRoundEven].map(|op| (op, vec![t], Some(t))));
        cases.extend([FEq, FLt, FLe].map(|op| (op, vec![t, t], Some(Bool))));
        cases.push((Bitcast(t.as_int()), vec![t], Some(t.as_int())));
        cases.push((Bitcast(t), vec![t.as_int()], Some(t)));
    }
    for op in MathOp::ALL.iter().copied().filter(|op| op.on_device().is_some()) {
        cases.push((Math(op), vec![F32; op.arity()], Some(F32)));
    }
    cases.push((MulHigh, vec![I32, I32], Some(I32)));
    cases.extend([FindMsb, FindLsb, BitCount].map(|op| (op, vec![I32], Some(I32))));
    cases.extend([ExtendU, ExtendS].map(|op| (op, vec![I32], Some(I64))));
    cases.extend([Wrap, High].map(|op| (op, vec![I64], Some(I32))));
    cases.push((FToF(F64), vec![F32], Some(F64)));
    cases.push((FToF(F32), vec![F64], Some(F32)));
    cases.push((Pack64, vec![I32, I32], Some(I64)));
    cases.extend([BAnd, BOr].map(|op| (op, vec![Bool, Bool], Some(Bool))));
    cases.push((BNot, vec![Bool], Some(Bool)));
    for (number, t) in [I32, I64, F32, F64, Bool].into_iter().enumerate() {
        cases.push((Select, vec![Bool, t, t], Some(t)));
        cases.push((VarGet(Var(number as u32)), vec![], Some(t)));
        cases.push((VarSet(Var(number as u32)), vec![t], None));
    }
    cases.push((LoadWord { slot: 0 }, vec![I32], Some(I32)));
    cases.push((LoadLane { slot: 2, words: 4, lane: 3 }, vec![I32], Some(I32)));
    cases.push((LoadLane { slot: 3, words: 2, lane: 1 }, vec![I32], Some(I32)));
    cases.extend([0, 1].map(|lane| (LoadDataLane { lane }, vec![I32], Some(I32))));
    cases.push((StoreWord { slot: 1 }, vec![I32, I32], None));
    cases.push((StoreQuad { slot: 2 }, vec![I32; 5], None));
    cases.push((StorePair { slot: 3 }, vec![I32; 3], None));
    cases.push((StoreWord { slot: LINEAR }, vec![I32, I32], None));
    cases.push((LoadWord { slot: LINEAR }, vec![I32], Some(I32)));
    cases.push((AndWord { slot: 1 }, vec![I32, I32], None));
    cases.push((OrWord { slot: LINEAR }, vec![I32, I32], None));
    for op in AtomicOp::ALL {
        for ty in [I32, I64] {
            let params = [I32].into_iter().chain(std::iter::repeat_n(ty, op.operands())).collect();
            cases.push((Atomic { slot: 1, op, ty }, params, op.has_result().then_some(ty)));
        }
    }
    cases.push((Fence, vec![], None));
    cases.extend([1, 2].map(|bytes| (StorePart { slot: 1, bytes }, vec![I32, I32], None)));
    cases.extend([LoadStack, LoadData].map(|op| (op, vec![I32], Some(I32))));
    cases.push((StoreStack, vec![I32, I32], None));
    cases.push((Input(Word::MemorySize), vec![], Some(I32)));
    cases.push((Immediate(4), vec![], Some(I32)));
    cases.push((IterationId, vec![], Some(I32)));
    cases
}

/// A value of a type that a driver can't know: from buffer 0.
fn source(f: &mut Function, list: &mut ListBuilder, ty: Type, index: u32) -> Value {
    let index_value = list.i32(f, index);
    let word = list.low(f, LowOp::LoadWord { slot: 0 }, &[index_value], Type::I32);
    match ty {
        Type::I32 => word,
        Type::F32 => list.low(f, LowOp::Bitcast(Type::F32), &[word], Type::F32),
        Type::I64 => list.low(f, LowOp::Pack64, &[word, word], Type::I64),
        Type::F64 => {
            let bits = list.low(f, LowOp::Pack64, &[word, word], Type::I64);
            list.low(f, LowOp::Bitcast(Type::F64), &[bits], Type::F64)
        }
        Type::V128 => unreachable!("vectors are split before"),
        Type::Bool => {
            let zero = list.i32(f, 0);
            list.low(f, LowOp::Ne, &[word, zero], Type::Bool)
        }
    }
}

/// Stores a value to buffer 1.
fn sink(f: &mut Function, list: &mut ListBuilder, value: Value, ty: Type) {
    let word = match ty {
        Type::I32 => value,
        Type::F32 => list.low(f, LowOp::Bitcast(Type::I32), &[value], Type::I32),
        Type::I64 => list.low(f, LowOp::Wrap, &[value], Type::I32),
        Type::F64 => {
            let bits = list.low(f, LowOp::Bitcast(Type::I64), &[value], Type::I64);
            list.low(f, LowOp::Wrap, &[bits], Type::I32)
        }
        Type::V128 => unreachable!("vectors are split before"),
        Type::Bool => {
            let (one, zero) = (list.i32(f, 1), list.i32(f, 0));
            list.low(f, LowOp::Select, &[value, one, zero], Type::I32)
        }
    };
    let index = list.i32(f, 0);
    list.effect(Op::Low(LowOp::StoreWord { slot: 1 }), &[index, word]);
}

/// Those that the portable profile has.
fn portable_cases() -> impl Iterator<Item = (LowOp, Vec<Type>, Option<Type>)> {
    let lacks = |op: &LowOp| {
        matches!(op, LowOp::StorePart { .. } | LowOp::Fence | LowOp::MulHigh | LowOp::Atomic { ty: Type::I64, .. })
    };
    cases().into_iter().filter(move |(op, ..)| !lacks(op))
}

/// A kernel that does one operator on loaded operands and stores the result.
fn one_operator(op: LowOp, params: &[Type], result: Option<Type>) -> Function {
    let mut f = empty_function();
    f.vars = vec![Type::I32, Type::I64, Type::F32, Type::F64, Type::Bool];
    let mut list = ListBuilder::new(AT);
    let args: Vec<Value> = params.iter().zip(0..).map(|(ty, i)| source(&mut f, &mut list, *ty, i)).collect();
    match result {
        Some(ty) => {
            let value = list.low(&mut f, op, &args, ty);
            sink(&mut f, &mut list, value, ty);
        }
        None => list.effect(Op::Low(op), &args),
    }
    f.body = list.finish(&mut f, Exit::Yield(vec![]));
    f
}

fn emit_words(function: &Function, options: &Options) -> Vec<u32> {
    let words = backend::emit(function, &Shape::distinct(4), options).unwrap_or_else(|e| panic!("{e}")).0;
    common::keep::keep(&words, options.profile);
    words
}

fn portable() -> Options {
    Options { profile: Profile::Portable, ..Options::default() }
}

/// The instructions of a module's functions, and which ids are of a signed type.
fn body_and_signed(words: &[u32]) -> (Vec<Instruction>, HashSet<u32>) {
    let module = rspirv::dr::load_words(words).unwrap();
    let is_signed = |i: &&Instruction| i.class.opcode == Spv::TypeInt && i.operands[1] == Operand::LiteralBit32(1);
    let signed_types: HashSet<u32> =
        module.types_global_values.iter().filter(is_signed).filter_map(|i| i.result_id).collect();
    let signed = module
        .all_inst_iter()
        .filter(|i| i.result_type.is_some_and(|t| signed_types.contains(&t)))
        .filter_map(|i| i.result_id)
        .collect();
    let body = module.functions.iter().flat_map(|f| f.all_inst_iter().cloned()).collect();
    (body, signed)
}

fn ids(inst: &Instruction) -> impl Iterator<Item = u32> + '_ {
    inst.operands.iter().filter_map(|o| if let Operand::IdRef(id) = o { Some(*id) } else { None })
}

#[test]
fn each_operator_becomes_its_instruction() {
    let mut seen = HashSet::new();
    for (op, params, result) in cases() {
        seen.insert(std::mem::discriminant(&op));
        let function = one_operator(op, &params, result);
        let words = emit_words(&function, &Options::default());
        common::assert_valid(&words);
        let (body, signed) = body_and_signed(&words);
        let (found, skip, wants_signed) = match expected(op) {
            Becomes::Nothing => continue,
            Becomes::Core(opcode, wants) => (body.iter().find(|i| i.class.opcode == opcode), 0, wants),
            Becomes::Glsl(number, wants) => {
                let number = Operand::LiteralExtInstInteger(number as u32);
                (body.iter().find(|i| i.class.opcode == Spv::ExtInst && i.operands[1] == number), 1, wants)
            }
        };
        let inst = found.unwrap_or_else(|| panic!("{op:?} gave no {:?}", expected(op)));
        // The last operand of a shift is an amount, which has no sign of its own.
        let operands: Vec<u32> = ids(inst).skip(skip).take(if op == LowOp::ShrS { 1 } else { 3 }).collect();
        assert!(operands.iter().all(|id| signed.contains(id) == wants_signed), "{op:?} {params:?}: sign of operands");
    }
    assert_eq!(seen.len(), 76, "an operator has no case");
}

#[test]
fn each_operator_passes_both_readers_in_the_portable_profile() {
    // naga knows no 8-bit types.
    for (op, params, result) in portable_cases() {
        let words = emit_words(&one_operator(op, &params, result), &portable());
        common::assert_portable(&words);
    }
}

/// Integer widths of the signed types that a module declares.
fn signed_widths(words: &[u32]) -> Vec<u32> {
    let module = rspirv::dr::load_words(words).unwrap();
    let ints = module.types_global_values.iter().filter(|i| i.class.opcode == Spv::TypeInt);
    let width = |inst: &Instruction| match inst.operands[..] {
        [Operand::LiteralBit32(width), Operand::LiteralBit32(1)] => Some(width),
        _ => None,
    };
    ints.filter_map(width).collect()
}

#[test]
fn no_64_bit_integer_is_signed_in_the_portable_profile() {
    let mut signed = 0;
    for (op, params, result) in portable_cases() {
        let function = one_operator(op, &params, result);
        assert!(!signed_widths(&emit_words(&function, &portable())).contains(&64), "{op:?} {params:?}");
        signed += u32::from(signed_widths(&emit_words(&function, &Options::default())).contains(&64));
    }
    // SDiv, SRem, ShrS, SMin, SMax, SLt, SLe, ExtendS, and two conversions each way.
    assert_eq!(signed, 12, "what the other profile does with signed types");
}

#[test]
fn the_portable_profile_has_no_stores_of_parts() {
    let function = one_operator(LowOp::StorePart { slot: 1, bytes: 1 }, &[Type::I32, Type::I32], None);
    let error = backend::emit(&function, &Shape::distinct(4), &portable()).unwrap_err();
    assert!(matches!(error, Error::Internal(_)), "{error}");
}

#[test]
fn operands_keep_their_order() {
    for op in [LowOp::ISub, LowOp::UDiv, LowOp::ULt, LowOp::Shl] {
        let ty = if op == LowOp::ULt { Type::Bool } else { Type::I32 };
        let words = emit_words(&one_operator(op, &[Type::I32, Type::I32], Some(ty)), &Options::default());
        let (body, _) = body_and_signed(&words);
        // The kernel is the first function; its loads from the buffer are the operands in order.
        let loads: Vec<u32> = body.iter().filter(|i| i.class.opcode == Spv::Load).filter_map(|i| i.result_id).collect();
        let Becomes::Core(opcode, _) = expected(op) else { panic!("{op:?} is a core instruction") };
        let inst = body.iter().find(|i| i.class.opcode == opcode).unwrap();
        assert_eq!(ids(inst).collect::<Vec<_>>(), loads[..2], "{op:?}");
    }
}

/// Decorations of each id.
/// Behind a check that always fails may stand a division by a constant zero, which readers reject though it is never
/// reached.
#[test]
fn a_division_by_a_constant_zero_passes_both_readers() {
    for op in [LowOp::UDiv, LowOp::SDiv, LowOp::URem, LowOp::SRem] {
        for (ty, zero) in [(Type::I32, Const::I32(0)), (Type::I64, Const::I64(0))] {
            let mut f = empty_function();
            let mut list = ListBuilder::new(AT);
            let dividend = source(&mut f, &mut list, ty, 0);
            let zero = list.constant(&mut f, zero);
            let quotient = list.low(&mut f, op, &[dividend, zero], ty);
            sink(&mut f, &mut list, quotient, ty);
            f.body = list.finish(&mut f, Exit::Return(Vec::new()));
            common::assert_portable(&emit_words(&f, &portable()));
        }
    }
}

fn decorations(words: &[u32]) -> HashMap<u32, Vec<Decoration>> {
    let mut found: HashMap<u32, Vec<Decoration>> = HashMap::new();
    for inst in &rspirv::dr::load_words(words).unwrap().annotations {
        if let [Operand::IdRef(id), Operand::Decoration(decoration), ..] = inst.operands[..] {
            found.entry(id).or_default().push(decoration);
        }
    }
    found
}

#[test]
fn strict_floats_are_not_contracted_and_relaxed_ones_may_be() {
    let relaxed = Options { float: FloatMode::Relaxed, ..Options::default() };
    for (options, wanted) in [(Options::default(), true), (relaxed, false), (portable(), false)] {
        for op in [LowOp::FAdd, LowOp::FSub, LowOp::FMul, LowOp::FDiv] {
            let words = emit_words(&one_operator(op, &[Type::F32, Type::F32], Some(Type::F32)), &options);
            let Becomes::Core(opcode, _) = expected(op) else { panic!("{op:?} is a core instruction") };
            let (body, _) = body_and_signed(&words);
            let id = body.iter().find(|i| i.class.opcode == opcode).and_then(|i| i.result_id).unwrap();
            let marked = decorations(&words).get(&id).is_some_and(|d| d.contains(&Decoration::NoContraction));
            assert_eq!(marked, wanted, "{op:?} {options:?}");
        }
    }
}

#[test]
fn float_controls_are_declared_for_the_widths_in_use() {
    let everything = Features { denorm_preserve_f32: true, denorm_preserve_f64: true, ..Features::all() };
    let options = Options { features: everything, ..Options::default() };
    let modes = |ty: Type, options: &Options| {
        let add = if ty.is_float() { LowOp::FAdd } else { LowOp::IAdd };
        let words = emit_words(&one_operator(add, &[ty, ty], Some(ty)), options);
        common::assert_valid(&words);
        let text = common::disassemble(&words);
        let lines = text.lines().filter(|l| l.contains("OpExecutionMode") && !l.contains("LocalSize"));
        lines
            .map(|l| l.rsplit("main ").next().unwrap().split_whitespace().skip(2).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(modes(Type::F32, &options), ["SignedZeroInfNanPreserve 32", "DenormPreserve 32", "RoundingModeRTE 32"]);
    assert_eq!(modes(Type::F64, &options), ["SignedZeroInfNanPreserve 64", "DenormPreserve 64", "RoundingModeRTE 64"]);
    assert!(modes(Type::I32, &options).is_empty());
    assert!(modes(Type::F32, &Options { float: FloatMode::Relaxed, ..options }).is_empty());
    assert!(modes(Type::F32, &Options { profile: Profile::Portable, ..options }).is_empty());
    let only_zero = Features { preserve_f32: true, ..Features::default() };
    assert_eq!(modes(Type::F32, &Options { features: only_zero, ..options }), ["SignedZeroInfNanPreserve 32"]);
}

#[test]
fn constants_of_every_kind_pass_both_readers_and_are_declared_once() {
    let constants = [
        Const::I32(0),
        Const::I32(u32::MAX),
        Const::I64(1 << 40),
        Const::F32(1.5f32.to_bits()),
        Const::F32((-0.0f32).to_bits()),
        Const::F32(1),
        Const::F32(f32::INFINITY.to_bits()),
        Const::F32(f32::NEG_INFINITY.to_bits()),
        Const::F32(0x7fc0_0001),
        Const::F64(1),
        Const::F64(f64::INFINITY.to_bits()),
        Const::F64(0x7ff8_0000_0000_0001),
        Const::Bool(true),
        Const::Bool(false),
    ];
    let mut f = empty_function();
    let mut list = ListBuilder::new(AT);
    for value in constants.iter().chain(&constants) {
        let id = list.constant(&mut f, *value);
        sink(&mut f, &mut list, id, value.ty());
    }
    f.body = list.finish(&mut f, Exit::Yield(vec![]));
    let words = emit_words(&f, &Options::default());
    common::assert_valid(&words);
    common::assert_portable(&emit_words(&f, &portable()));
    let module = rspirv::dr::load_words(&words).unwrap();
    let mut seen = HashSet::new();
    for inst in module.types_global_values.iter().filter(|i| i.class.opname.starts_with("Constant")) {
        assert!(seen.insert((inst.class.opcode, inst.result_type, inst.operands.clone())), "{inst:?} is there twice");
    }
    assert!(seen.len() >= constants.len());
}

#[test]
fn a_missing_type_is_unsupported_at_its_statement() {
    for (ty, features, what) in [
        (Type::I64, Features { int64: false, ..Features::all() }, "64-bit integers on this device"),
        (Type::F64, Features { float64: false, ..Features::all() }, "64-bit floats on this device"),
    ] {
        let mut f = empty_function();
        let mut list = ListBuilder::new(Location { function: 3, offset: 0x10 });
        list.i32(&mut f, 1);
        list.at = AT;
        list.constant(&mut f, Const::zero(ty));
        f.body = list.finish(&mut f, Exit::Yield(vec![]));
        let options = Options { features, ..Options::default() };
        match backend::emit(&f, &Shape::distinct(0), &options) {
            Err(Error::Unsupported { what: said, function_name, at, .. }) => {
                assert_eq!((said.as_str(), function_name.as_str(), at), (what, "scale", Some(AT)));
            }
            other => panic!("{other:?}"),
        }
        assert!(backend::emit(&f, &Shape::distinct(0), &Options::default()).is_ok());
    }
}

#[test]
fn a_function_out_of_strict_form_is_a_defect_not_a_panic() {
    type Build = fn(&mut Function, &mut ListBuilder);
    let broken: [(&str, Build); 7] = [
        ("undefined value", |f, list| {
            let ghost = f.new_value(Type::I32);
            list.effect(Op::Low(LowOp::StoreWord { slot: 0 }), &[ghost, ghost]);
        }),
        ("unlowered operator", |f, list| {
            list.op(f, Op::GlobalGet(0), &[], Type::I32);
        }),
        ("unknown slot", |f, list| {
            let index = list.i32(f, 0);
            list.low(f, LowOp::LoadWord { slot: 9 }, &[index], Type::I32);
        }),
        ("unknown immediate", |f, list| {
            list.low(f, LowOp::Immediate(10), &[], Type::I32);
        }),
        ("unknown variable", |f, list| {
            list.low(f, LowOp::VarGet(Var(0)), &[], Type::I32);
        }),
        ("missing operand", |f, list| {
            let one = list.i32(f, 1);
            list.low(f, LowOp::IAdd, &[one], Type::I32);
        }),
        ("a call", |_, list| list.push(StmtKind::Call { callee: 0, args: vec![], results: vec![] })),
    ];
    for (what, build) in broken {
        let mut f = empty_function();
        let mut list = ListBuilder::new(AT);
        build(&mut f, &mut list);
        f.body = list.finish(&mut f, Exit::Yield(vec![]));
        let result = backend::emit(&f, &Shape::distinct(2), &Options::default());
        assert!(matches!(result, Err(Error::Internal(_))), "{what}: {result:?}");
    }
}
