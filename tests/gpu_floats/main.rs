//! Strict floats on the GPU, in both profiles: every operator on edge and random values, natively and as if the device
//! lacked what it has, and random expressions against the translator's evaluator.
//!
//! Where the machine has no GPU driver each test shows as ignored, with the reason. `WAVELIFT_FLOAT_KERNELS` sets the
//! number of kernels of random expressions.

mod expression;

use std::rc::Rc;

use expression::{Expr, Generator, Operands, Random, float};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu::{self, Adapter, GpuDevice, GpuOptions, Outcome};
use wavelift::device::{Access, BufferId, BufferSpec, Context};
use wavelift_translator::ir::{Const, Type, WasmOp};
use wavelift_translator::{Features, FloatSupport, Module, Profile, Shape, translate};

type Tested = Result<(), Failed>;

/// Expressions of one kernel: an invocation selects one of them.
const EXPRESSIONS: usize = 24;
/// Operands that each expression is tried on.
const TUPLES: usize = 600;
/// Kernels of random expressions, for each type and profile.
const KERNELS: usize = 6;

fn main() {
    let mut trials = Vec::new();
    for (profile, suffix) in [(Profile::Vulkan, "vulkan"), (Profile::Portable, "portable")] {
        let mut trial = |name: &str, test: Box<dyn FnOnce(&Adapter) -> Tested + Send>| {
            let name = format!("{name}_{suffix}");
            trials.push(Trial::ignorable_test(name, move || match gpu::adapters().into_iter().next() {
                None => Ok(Completion::ignored_with("this machine has no GPU driver; install Mesa 25 or newer")),
                Some(adapter) => test(&adapter).map(|()| Completion::Completed),
            }));
        };
        trial("every_operator", Box::new(move |adapter| operators(adapter, profile, 3_000, |_| {})));
        trial("corrected_operators", Box::new(move |adapter| operators(adapter, profile, 33_000, divides_carelessly)));
        trial("operators_without_subnormals", Box::new(move |adapter| operators(adapter, profile, 3_000, flushes)));
        trial("operators_on_integers", Box::new(move |adapter| operators(adapter, profile, 3_000, rounds_carelessly)));
        trial("expressions_f32", Box::new(move |adapter| expressions(adapter, profile, Type::F32)));
        trial("expressions_f64", Box::new(move |adapter| expressions(adapter, profile, Type::F64)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn divides_carelessly(features: &mut Features) {
    features.exact_div_f32 = false;
    features.exact_div_f64 = false;
    features.exact_sqrt_f32 = false;
    features.exact_sqrt_f64 = false;
}

fn flushes(features: &mut Features) {
    divides_carelessly(features);
    features.subnormals_f32 = false;
    features.subnormals_f64 = false;
}

fn rounds_carelessly(features: &mut Features) {
    flushes(features);
    features.exact_arithmetic_f32 = false;
    features.exact_arithmetic_f64 = false;
}

fn open(adapter: &Adapter, profile: Profile, change: fn(&mut Features)) -> Result<GpuDevice, Failed> {
    let options = GpuOptions { profile, ..GpuOptions::default() };
    Ok(GpuDevice::open_changed(adapter, &options, None, change)?)
}

fn operators(adapter: &Adapter, profile: Profile, random: usize, change: fn(&mut Features)) -> Tested {
    let device = open(adapter, profile, change)?;
    let (mut results, mut wrong, mut corrected) = (0, Vec::new(), 0);
    for check in device.check_floats(random)? {
        let name = check.operator.text();
        match check.outcome {
            Outcome::NotLifted => return Err(format!("`{name}` was not lifted").into()),
            Outcome::Ran { rows, first: Some([a, b]), wrong: count, .. } => {
                wrong.push(format!("`{name}`: {count} of {rows}, first of {a:#x}, {b:#x}"));
            }
            Outcome::Ran { rows, support, .. } => {
                results += rows;
                corrected += usize::from(support == FloatSupport::Corrected);
            }
        }
    }
    println!("{results} results of operators, {corrected} operators corrected");
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    let support = device.options().features.float_support(WasmOp::F64Div);
    let expects_correction = device.options().features.exact_div_f64;
    match (support == FloatSupport::Native) == expects_correction && (corrected > 0) != expects_correction {
        true => Ok(()),
        false => Err(format!("{corrected} operators were corrected").into()),
    }
}

fn expressions(adapter: &Adapter, profile: Profile, ty: Type) -> Tested {
    let device = open(adapter, profile, |_| {})?;
    let kernels = match std::env::var("WAVELIFT_FLOAT_KERNELS") {
        Ok(number) => number.parse().map_err(|_| format!("`{number}` is no number of kernels"))?,
        Err(_) => KERNELS,
    };
    let mut wrong = Vec::new();
    for seed in 0..kernels as u64 {
        let mut generator = Generator { ty, random: Random(seed * 2 + u64::from(ty == Type::F64)) };
        let expressions: Vec<Rc<Expr>> = (0..EXPRESSIONS).map(|i| generator.tree(2 + i as u32 % 3)).collect();
        let tuples = tuples(ty, &mut generator.random);
        let got = run(&device, ty, &expressions, &tuples)?;
        for (number, expression) in expressions.iter().enumerate() {
            let differs = |tuple: &usize| {
                let right = expression.value(&tuples[*tuple]);
                let got = got[tuple * EXPRESSIONS + number];
                right != got && !(is_nan(right) && is_nan(got))
            };
            let failing: Vec<usize> = (0..TUPLES).filter(differs).collect();
            if let Some(first) = failing.first() {
                let (operands, count) = (tuples[*first], failing.len());
                let (got, right) = (got[first * EXPRESSIONS + number], expression.value(&operands));
                let text = expression.text();
                wrong.push(format!(
                    "seed {seed}: {count} of {TUPLES}: {text}\n of {operands:x?}: {got:x?}, not {right:x?}"
                ));
            }
        }
    }
    println!("{kernels} kernels, {} results, {} expressions wrong", kernels * EXPRESSIONS * TUPLES, wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

fn tuples(ty: Type, random: &mut Random) -> Vec<Operands> {
    let plain = [0.0, 1.0, 0.5, 1.5, 2.0, 3.0, 0.1, 10.0, 1e10, 16_777_217.0, 4_294_967_295.0, 1e30, 1e-30, 1e300];
    let tiny = [1e-45, 1e-40, 1.2e-38, 5e-324, 2.3e-308, 3.4e38, 1.7e308];
    let values: Vec<f64> = plain.into_iter().chain(tiny).chain([f64::INFINITY, f64::NAN]).collect();
    let integers = [0, 1, 2, 16_777_217, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff_ff7f, 123_456_789];
    let mut pick = || match random.below(4) {
        0 if ty == Type::F64 => Const::F64(random.next()),
        0 => Const::F32(random.next() as u32),
        _ => float(ty, random.one_of(&values) * random.one_of(&[1.0, -1.0])),
    };
    let floats: Vec<[Const; 3]> = (0..TUPLES).map(|_| [pick(), pick(), pick()]).collect();
    let integer = |i: usize| integers.get(i % 16).copied().unwrap_or((i as u32).wrapping_mul(0x9e37_79b9));
    floats.into_iter().enumerate().map(|(i, floats)| Operands { floats, integer: integer(i) }).collect()
}

/// Bytes of a tuple in the input: three floats of 8 bytes, and the integer.
const TUPLE_BYTES: usize = 32;

fn run(device: &GpuDevice, ty: Type, expressions: &[Rc<Expr>], tuples: &[Operands]) -> Result<Vec<Const>, Failed> {
    let chosen = expressions.iter().enumerate().fold(String::from("(local.get $a)"), |other, (number, expression)| {
        format!("(select {} {other} (i32.eq (local.get $which) (i32.const {number})))", expression.text())
    });
    let text = format!(
        "(module (memory 1) (func $f (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32)
           (param i32) (local $a {ty}) (local $b {ty}) (local $c {ty}) (local $n i32) (local $which i32)
         (local.set $which (i32.rem_u (local.get $i) (i32.const {EXPRESSIONS})))
         (local.set $in (i32.add (local.get $in)
           (i32.mul (i32.div_u (local.get $i) (i32.const {EXPRESSIONS})) (i32.const {TUPLE_BYTES}))))
         (local.set $a ({ty}.load (local.get $in))) (local.set $b ({ty}.load offset=8 (local.get $in)))
         (local.set $c ({ty}.load offset=16 (local.get $in))) (local.set $n (i32.load offset=24 (local.get $in)))
         ({ty}.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 3))) {chosen})))"
    );
    let module = Module::parse(wat::parse_str(&text)?)?;
    let shader = translate(&module, 0, &Shape::distinct(2), device.options())?;
    // SAFETY: the words are the translator's: valid SPIR-V with a bounds check on every access.
    let kernel = unsafe { device.prepare(shader) }?;
    let bytes: Vec<u8> = tuples.iter().flat_map(tuple_bytes).collect();
    let count = expressions.len() * tuples.len();
    let spec = |id: u64, size: usize| BufferSpec {
        id: BufferId(id),
        address: 0x4000_0000 * (1 + id as u32),
        size: size as u32,
        access: Access::ReadWrite,
    };
    let (input, output) = (spec(0, bytes.len()), spec(1, count * 8));
    let mut context = device.new_gpu_context();
    context.create_buffer(&input)?;
    context.create_buffer(&output)?;
    context.write_buffer(input.id, 0, &bytes)?;
    context.run(&kernel, count as u32, 1, &[input, output])?;
    let mut results = vec![0; count * 8];
    context.read_buffer(output.id, 0, &mut results)?;
    let result = |bytes: &[u8]| match ty {
        Type::F64 => Const::F64(u64::from_le_bytes(bytes.try_into().expect("a result has 8 bytes"))),
        _ => Const::F32(u32::from_le_bytes(bytes[..4].try_into().expect("a result has 4 bytes"))),
    };
    Ok(results.chunks_exact(8).map(result).collect())
}

fn tuple_bytes(operands: &Operands) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in operands.floats {
        let bits = match value {
            Const::F64(bits) => bits,
            Const::F32(bits) => u64::from(bits),
            other => panic!("{other:?} is no float"),
        };
        bytes.extend(bits.to_le_bytes());
    }
    bytes.extend(u64::from(operands.integer).to_le_bytes());
    bytes
}

fn is_nan(value: Const) -> bool {
    match value {
        Const::F32(bits) => f32::from_bits(bits).is_nan(),
        Const::F64(bits) => f64::from_bits(bits).is_nan(),
        _ => false,
    }
}
