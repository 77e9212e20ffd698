//! Strict floats for devices that divide carelessly, take subnormals for zero, or round sums carelessly: the lowered
//! kernel runs on the interpreter with such a device's operators in the place of exact ones.

mod lower_support;

use lower_support::*;
use wavelift_translator::ir::builder::ListBuilder;
use wavelift_translator::ir::interpret::Space;
use wavelift_translator::ir::{Const, Function, LowOp, Op, Stmt, StmtKind, Type, Value, WasmOp};
use wavelift_translator::{Features, FloatMode, FloatSupport, MAX_GUESS_ERROR, Options, Profile, Shape};

/// What a device's operators do other than IEEE 754 says.
#[derive(Clone, Copy, Debug, Default)]
struct Device {
    /// Added to quotients and roots, in units in the last place.
    quotient_error: i64,
    /// Added to sums and products.
    sum_error: i64,
    /// Subnormal operands and results are zero.
    flushes: bool,
}

impl Device {
    fn features(self) -> Features {
        let divides = self.quotient_error == 0;
        Features {
            subnormals_f32: !self.flushes,
            subnormals_f64: !self.flushes,
            exact_arithmetic_f32: self.sum_error == 0,
            exact_arithmetic_f64: self.sum_error == 0,
            exact_conversions_f32: self.sum_error == 0,
            exact_conversions_i64: self.sum_error == 0,
            exact_div_f32: divides,
            exact_sqrt_f32: divides,
            exact_div_f64: divides,
            exact_sqrt_f64: divides,
            ..Features::all()
        }
    }

    fn error_of(self, op: LowOp) -> Option<i64> {
        match op {
            LowOp::FDiv | LowOp::FSqrt => Some(self.quotient_error),
            LowOp::FAdd | LowOp::FSub => Some(self.sum_error),
            // Scaling by a power of two is exact everywhere but where all products are computed on integers.
            LowOp::FMul => Some(0),
            LowOp::FToF(_) | LowOp::FTrunc | LowOp::FFloor | LowOp::FCeil | LowOp::FRoundEven => Some(0),
            LowOp::FToS(_) | LowOp::FToU(_) => Some(0),
            _ => None,
        }
    }

    /// The function with this device's operators.
    fn run_on(self, function: &Function) -> Function {
        let mut changed = function.clone();
        for region in 0..function.regions.len() {
            let mut list = ListBuilder::default();
            for stmt in &function.regions[region].stmts {
                self.statement(&mut changed, &mut list, stmt);
            }
            changed.regions[region].stmts = list.stmts;
        }
        changed
    }

    fn statement(self, function: &mut Function, list: &mut ListBuilder, stmt: &Stmt) {
        list.at = stmt.at;
        let StmtKind::Op { op: Op::Low(op), args, result: Some(result) } = &stmt.kind else {
            return list.push(stmt.kind.clone());
        };
        let Some(error) = self.error_of(*op) else { return list.push(stmt.kind.clone()) };
        let args: Vec<Value> = args.iter().map(|arg| self.flushed(function, list, *arg)).collect();
        let ty = function.ty(*result);
        if !ty.is_float() {
            return list.push(StmtKind::Op { op: Op::Low(*op), args: args.into(), result: Some(*result) });
        }
        let exact = list.low(function, *op, &args, ty);
        let int = ty.as_int();
        let bits = list.low(function, LowOp::Bitcast(int), &[exact], int);
        let error = list.constant(function, int_const(int, error as u64));
        let wrong = list.low(function, LowOp::IAdd, &[bits, error], int);
        // Zero, infinity and NaN are given by every device.
        let infinity = list.constant(function, int_const(int, infinity(ty)));
        let magnitude = list.constant(function, int_const(int, u64::MAX >> (65 - ty.bits())));
        let magnitude = list.low(function, LowOp::And, &[bits, magnitude], int);
        let one = list.constant(function, int_const(int, 1));
        let above_zero = list.low(function, LowOp::ISub, &[magnitude, one], int);
        let last = list.low(function, LowOp::ISub, &[infinity, one], int);
        let finite = list.low(function, LowOp::ULt, &[above_zero, last], Type::Bool);
        let bits = list.low(function, LowOp::Select, &[finite, wrong, bits], int);
        let float = list.low(function, LowOp::Bitcast(ty), &[bits], ty);
        let float = self.flushed(function, list, float);
        let bits = list.low(function, LowOp::Bitcast(int), &[float], int);
        list.push(StmtKind::Op {
            op: Op::Low(LowOp::Bitcast(ty)),
            args: [bits].as_slice().into(),
            result: Some(*result),
        });
    }

    fn flushed(self, function: &mut Function, list: &mut ListBuilder, value: Value) -> Value {
        let ty = function.ty(value);
        if !self.flushes || !ty.is_float() {
            return value;
        }
        let int = ty.as_int();
        let bits = list.low(function, LowOp::Bitcast(int), &[value], int);
        let sign = list.constant(function, int_const(int, 1 << (ty.bits() - 1)));
        let least = list.constant(function, int_const(int, least_normal(ty)));
        let zero = list.low(function, LowOp::And, &[bits, sign], int);
        let magnitude = list.low(function, LowOp::Xor, &[bits, zero], int);
        let small = list.low(function, LowOp::ULt, &[magnitude, least], Type::Bool);
        let bits = list.low(function, LowOp::Select, &[small, zero, bits], int);
        list.low(function, LowOp::Bitcast(ty), &[bits], ty)
    }
}

fn int_const(ty: Type, value: u64) -> Const {
    if ty == Type::I64 { Const::I64(value) } else { Const::I32(value as u32) }
}

fn infinity(ty: Type) -> u64 {
    if ty == Type::F64 { f64::INFINITY.to_bits() } else { u64::from(f32::INFINITY.to_bits()) }
}

fn least_normal(ty: Type) -> u64 {
    if ty == Type::F64 { f64::MIN_POSITIVE.to_bits() } else { u64::from(f32::MIN_POSITIVE.to_bits()) }
}

/// A kernel that applies `op` to operands from the first buffer and stores the result, any NaN as one fixed NaN.
fn kernel(op: WasmOp) -> (Function, Shape) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let (from, to) = (k.pointer(0), k.pointer(1));
    let args: Vec<Value> =
        op.params().iter().enumerate().map(|(i, ty)| k.load(access(*ty, 8 * i as u32), from)).collect();
    let mut result = k.wasm(op, &args);
    let ty = op.result();
    if ty.is_float() {
        let nan = k.constant(if ty == Type::F64 { Const::F64(0x7ff8 << 48) } else { Const::F32(0x7fc0_0000) });
        let is_nan = k.wasm(if ty == Type::F64 { WasmOp::F64Ne } else { WasmOp::F32Ne }, &[result, result]);
        result = k.select(nan, result, is_nan);
    }
    k.store(access(ty, 0), to, result);
    (k.finish(), shape)
}

/// Zeros, the least and greatest subnormal and normal numbers, powers of two and their neighbours, infinity, NaN, in both
/// signs.
fn edges(ty: Type) -> Vec<u64> {
    let (fraction, one) = if ty == Type::F64 { (52, 1f64.to_bits()) } else { (23, u64::from(1f32.to_bits())) };
    let unit = 1u64 << fraction;
    let mut bits = vec![0, 1, 2, 3, unit / 2, unit - 2, unit - 1, infinity(ty), infinity(ty) + unit / 2];
    let exponents =
        [1, 2, 3, fraction, fraction + 1, one / unit - 1, one / unit, one / unit + 1, one / unit + fraction];
    for exponent in exponents.into_iter().chain([infinity(ty) / unit - 1]) {
        bits.extend([0, 1, unit / 3, unit / 2, unit - 1].map(|part| exponent * unit + part));
    }
    // The float below 1/2 and the greatest whose square is finite, roughly.
    bits.extend([one - unit - 1, one / 2 + infinity(ty) / 2]);
    let sign = 1 << (ty.bits() - 1);
    bits.iter().flat_map(|bits| [*bits, bits | sign]).collect()
}

/// Integers of every length: all ones, a one and zeros, and half-way cases next to each other.
fn integers(ty: Type) -> Vec<[u64; 2]> {
    let mut random = Random(3);
    let mut values = vec![0, 1, u64::MAX];
    for bit in 1..64 {
        values.extend([1 << bit, (1 << bit) - 1, (1 << bit) + 1, random.next() >> bit]);
        values.extend([24, 53].map(|bits: u32| (1u64 << bit) | (1u64 << bit).checked_shr(bits).unwrap_or(0)));
    }
    let mask = u64::MAX >> (64 - ty.bits());
    values.iter().flat_map(|value| [[value & mask, 0], [value.wrapping_neg() & mask, 0]]).collect()
}

/// Edge values, each with each, and pairs of random bits, of random significands near one exponent, and of subnormals.
fn operands(ty: Type, pairs: usize) -> Vec<[u64; 2]> {
    if !ty.is_float() {
        return integers(ty);
    }
    let edges = edges(ty);
    let mut operands: Vec<[u64; 2]> = edges.iter().flat_map(|a| edges.iter().map(move |b| [*a, *b])).collect();
    if ty == Type::F64 {
        // What becomes a subnormal `f32`, or lies half-way between two, or next to that.
        for x in (1..32).chain([0x7f_ffff, 0x80_0000, 0x7f7f_ffff]).map(|bits| f64::from(f32::from_bits(bits))) {
            let half = f64::from(f32::from_bits(1)) / 2.0;
            let around = [x, x + half, (x + half).next_up(), (x + half).next_down()];
            operands.extend(around.map(|x| [x.to_bits(), (-x).to_bits()]));
        }
    }
    let mut random = Random(7);
    let mask = u64::MAX >> (64 - ty.bits());
    let (fraction, one) = if ty == Type::F64 { (52, 1f64.to_bits()) } else { (23, u64::from(1f32.to_bits())) };
    let near = |bits: u64| one + (bits & ((4 << fraction) - 1));
    let small = |bits: u64| bits & ((2 << fraction) - 1);
    for _ in 0..pairs {
        let (a, b) = (random.next(), random.next());
        operands.extend([[a & mask, b & mask], [near(a), near(b)], [small(a), near(b)], [small(a), small(b)]]);
    }
    operands
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const FLOAT_OPERATORS: &[WasmOp] = {
    use WasmOp::*;
    &[
        F32Add,
        F32Sub,
        F32Mul,
        F32Div,
        F32Sqrt,
        F32Ceil,
        F32Floor,
        F32Trunc,
        F32Nearest,
        F32Min,
        F32Max,
        F32Lt,
        F32Eq,
        F64Add,
        F64Sub,
        F64Mul,
        F64Div,
        F64Sqrt,
        F64Ceil,
        F64Floor,
        F64Trunc,
        F64Nearest,
        F64Min,
        F64Le,
        F32DemoteF64,
        F64PromoteF32,
        F32ConvertI32S,
        F32ConvertI32U,
        F32ConvertI64S,
        F32ConvertI64U,
        F64ConvertI32S,
        F64ConvertI64S,
        F64ConvertI64U,
    ]
};

fn inputs(shape: &Shape, [a, b]: [u64; 2]) -> Space {
    space(shape, &[[a.to_le_bytes(), b.to_le_bytes()].concat(), vec![0; 8]])
}

/// How many operands were tried, and the first with a wrong result.
fn check_on(device: Device, op: WasmOp, profile: Profile, pairs: usize) -> (usize, Option<[u64; 2]>) {
    let (function, shape) = kernel(op);
    let options = Options { profile, features: device.features(), ..Options::default() };
    let lowered = lowered(&function, &shape, &options).unwrap();
    let lowered = device.run_on(&lowered);
    let all = operands(op.params()[0], pairs);
    let wrong = all.iter().find(|operands| {
        let inputs = inputs(&shape, **operands);
        !agree(&run_wasm(&function, &shape, &inputs, 0), &run_lowered(&lowered, &inputs, 0))
    });
    (all.len(), wrong.copied())
}

#[test]
fn careless_devices_give_exact_results() {
    let far = MAX_GUESS_ERROR as i64;
    let devices = [
        Device { quotient_error: far, ..Device::default() },
        Device { quotient_error: -far, ..Device::default() },
        Device { quotient_error: 1, flushes: true, ..Device::default() },
        Device { quotient_error: -3, sum_error: 1, flushes: true },
        Device { sum_error: -1, ..Device::default() },
    ];
    for device in devices {
        for op in FLOAT_OPERATORS {
            for profile in [Profile::Vulkan, Profile::Portable] {
                if let (_, Some([a, b])) = check_on(device, *op, profile, 100) {
                    panic!("{device:?}: `{}` of {a:#x} and {b:#x} is wrong", op.text());
                }
            }
        }
    }
}

/// The devices of these tests do what they are to do: an operator that is taken for exact comes out wrong.
#[test]
fn a_careless_device_taken_for_an_exact_one_is_seen() {
    let seen = |device: Device, op: WasmOp| {
        let (function, shape) = kernel(op);
        let lowered = device.run_on(&lowered(&function, &shape, &Options::default()).unwrap());
        operands(op.params()[0], 10).into_iter().any(|operands| {
            let inputs = inputs(&shape, operands);
            !agree(&run_wasm(&function, &shape, &inputs, 0), &run_lowered(&lowered, &inputs, 0))
        })
    };
    for op in [WasmOp::F32Div, WasmOp::F32Sqrt, WasmOp::F64Div, WasmOp::F64Sqrt] {
        assert!(seen(Device { quotient_error: 1, ..Device::default() }, op), "{}", op.text());
    }
    for op in [WasmOp::F32Add, WasmOp::F64Sub] {
        assert!(seen(Device { sum_error: 1, ..Device::default() }, op), "{}", op.text());
    }
    for op in [WasmOp::F32Mul, WasmOp::F64Add, WasmOp::F32Floor, WasmOp::F32DemoteF64, WasmOp::F64PromoteF32] {
        assert!(seen(Device { flushes: true, ..Device::default() }, op), "{}", op.text());
    }
}

#[test]
fn conversions_on_integers_use_no_conversion() {
    let device = Device { sum_error: 1, ..Device::default() };
    let (function, shape) = kernel(WasmOp::F32ConvertI64S);
    let options = Options { features: device.features(), ..Options::default() };
    let lowered = lowered(&function, &shape, &options).unwrap();
    assert_eq!(count(&lowered, |op| matches!(op, LowOp::SToF(_) | LowOp::UToF(_))), 0, "{lowered}");
}

/// A guess beyond what is promised to be corrected is not: the bound says something.
#[test]
fn far_guesses_are_out_of_reach() {
    let device = Device { quotient_error: 1000, ..Device::default() };
    assert!(check_on(device, WasmOp::F32Sqrt, Profile::Vulkan, 10).1.is_some());
    assert!(check_on(device, WasmOp::F32Div, Profile::Vulkan, 10).1.is_some());
}

#[test]
fn only_what_needs_it_is_corrected() {
    let all = Features::all();
    assert!(WasmOp::ALL.iter().all(|op| all.float_support(*op) == FloatSupport::Native));
    let flushes = Features { subnormals_f32: false, ..all };
    for (op, support) in [
        (WasmOp::F32Add, FloatSupport::Corrected),
        (WasmOp::F32Div, FloatSupport::Corrected),
        (WasmOp::F32Floor, FloatSupport::Corrected),
        (WasmOp::F64PromoteF32, FloatSupport::Corrected),
        (WasmOp::F32Min, FloatSupport::Native),
        (WasmOp::F64Add, FloatSupport::Native),
        (WasmOp::F32ConvertI32S, FloatSupport::Native),
    ] {
        assert_eq!(flushes.float_support(op), support, "{}", op.text());
    }
    let far = Features { exact_sqrt_f64: false, close_f64: false, ..all };
    assert_eq!(far.float_support(WasmOp::F64Sqrt), FloatSupport::Unsupported);
    assert_eq!(far.float_support(WasmOp::F64Div), FloatSupport::Native);
}

#[test]
fn relaxed_and_fast_modes_take_the_devices_own() {
    let features = Device { quotient_error: 1, sum_error: 1, flushes: true }.features();
    for float in [FloatMode::Relaxed, FloatMode::Fast] {
        for (op, low) in [(WasmOp::F32Div, LowOp::FDiv), (WasmOp::F32Sqrt, LowOp::FSqrt), (WasmOp::F32Add, LowOp::FAdd)]
        {
            let (function, shape) = kernel(op);
            let lowered = lowered(&function, &shape, &Options { float, features, ..Options::default() }).unwrap();
            assert_eq!(count(&lowered, |op| *op == low), 1, "{lowered}");
            assert_eq!(count(&lowered, |op| *op == LowOp::UToF(Type::F32)), 0, "{lowered}");
        }
        let (function, shape) = kernel(WasmOp::F32Max);
        let lowered = lowered(&function, &shape, &Options { float, features, ..Options::default() }).unwrap();
        let on_bits = count(&lowered, |op| *op == LowOp::SMax);
        assert_eq!(on_bits, usize::from(float == FloatMode::Relaxed), "{lowered}");
    }
}

/// In fast mode, min and max of ordered numbers that differ are what they always are.
#[test]
fn fast_minima_are_right_for_numbers() {
    let options = Options { float: FloatMode::Fast, ..Options::default() };
    for op in [WasmOp::F32Min, WasmOp::F32Max] {
        let (function, shape) = kernel(op);
        let lowered = lowered(&function, &shape, &options).unwrap();
        for [a, b] in operands(Type::F32, 20) {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            if x < y || y < x {
                check_lowered(&function, &lowered, &shape, &inputs(&shape, [a, b]), 0);
            }
        }
    }
}
