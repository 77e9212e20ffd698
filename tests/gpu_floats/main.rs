//! Strict floats on the GPU, in both profiles: every operator on edge and random values, natively and as if the device
//! lacked what it has, and random expressions against the translator's evaluator.
//!
//! Where the machine has no GPU driver each test shows as ignored, with the reason. `WAVELIFT_FLOAT_KERNELS` sets the
//! number of kernels of random expressions.

mod expression;
#[path = "../../translator/tests/common/keep.rs"]
mod keep;

use std::rc::Rc;

use expression::{Expr, Generator, Operands, Random, float};
use keep::keep;
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
            trials.push(Trial::ignorable_test(name.clone(), move || match gpu::adapters().into_iter().next() {
                None => Ok(Completion::ignored_with("this machine has no GPU driver; install Mesa 25 or newer")),
                Some(adapter) if name.contains("f64") && !has_64_bits(&adapter) => {
                    Ok(Completion::ignored_with("this GPU has no 64-bit types"))
                }
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
    for (name, test, shown_only) in [
        ("the_command_checks_an_adapter", the_command as fn(&Adapter) -> Tested, false),
        ("measure_costs", costs, true),
    ] {
        let test = move || match gpu::adapters().into_iter().next() {
            None => Ok(Completion::ignored_with("this machine has no GPU driver; install Mesa 25 or newer")),
            Some(adapter) => test(&adapter).map(|()| Completion::Completed),
        };
        // What takes long and is for people runs with `--ignored`.
        trials.push(Trial::ignorable_test(name, test).with_ignored_flag(shown_only));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn has_64_bits(adapter: &Adapter) -> bool {
    adapter.info().int64 && adapter.info().float64
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
    features.exact_conversions_f32 = false;
    features.exact_conversions_i64 = false;
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
            Outcome::NotLifted if name.contains("64") && !has_64_bits(adapter) => {}
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
    let features = device.options().features;
    let to_correct = WasmOp::ALL.iter().filter(|op| features.float_support(**op) == FloatSupport::Corrected).count();
    match (to_correct == 0) == (corrected == 0) && corrected <= to_correct {
        true => Ok(()),
        false => Err(format!("{corrected} operators were corrected, of {to_correct} that need it").into()),
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
        let mut generator =
            Generator { ty, wide: has_64_bits(adapter), random: Random(seed * 2 + u64::from(ty == Type::F64)) };
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
    keep(&shader.words, device.options().profile);
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

fn the_command(_adapter: &Adapter) -> Tested {
    let command = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_wavelift"))
            .args(["devices", "--conformance"])
            .args(arguments)
            .output()
    };
    let output = command(&["--adapter", "0", "--profile", "portable"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["f64", "sqrt", "i32.trunc_sat_u", "all equal WebAssembly's"] {
        if !text.contains(part) {
            return Err(format!("`{part}` is not in\n{text}\n{}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    let unknown = command(&["--adapter", "no such adapter"])?;
    let refused = String::from_utf8_lossy(&unknown.stderr).contains("There is no GPU adapter");
    if output.status.success() && refused && !unknown.status.success() {
        return Ok(());
    }
    Err("the exit codes are not what the results are".into())
}

/// A change of a device's features.
type Change = fn(&mut Features);

/// Prints nanoseconds per operator, natively, corrected and on integers.
fn costs(adapter: &Adapter) -> Tested {
    const COUNT: u32 = 1 << 20;
    let ways: [(&str, Change); 4] = [
        ("native", |_| {}),
        ("corrected", divides_carelessly),
        ("without subnormals", flushes),
        ("on integers", rounds_carelessly),
    ];
    for profile in [Profile::Vulkan, Profile::Portable] {
        for name in ["f32.div", "f32.sqrt", "f32.add", "f32.mul", "f64.div", "f64.sqrt", "f64.add", "f64.mul"] {
            let mut line = format!("{profile:?} {name}:");
            for (way, change) in ways {
                let device = open(adapter, profile, change)?;
                // With one operator and with none: loads, stores and checks are in both.
                let nanos = time(&device, name, COUNT, true)? - time(&device, name, COUNT, false)?;
                line += &format!(" {way} {:.2} ns", nanos / f64::from(COUNT));
            }
            println!("{line}");
        }
    }
    Ok(())
}

/// Nanoseconds of a launch that applies an operator eight times to each of many floats, divided by eight.
fn time(device: &GpuDevice, name: &str, count: u32, with_operator: bool) -> Result<f64, Failed> {
    const TIMES: usize = 8;
    let ty = &name[..3];
    let second = if name.ends_with("sqrt") { "" } else { "(local.get $y)" };
    let step = format!("(local.set $x ({name} (local.get $x) {second}))").repeat(if with_operator { TIMES } else { 0 });
    let text = format!(
        "(module (memory 1) (func (param $i i32) (param i32 i32) (param $p i32) (param i32) (local $x {ty}) (local $y {ty})
         (local.set $p (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3))))
         (local.set $x ({ty}.load (local.get $p))) (local.set $y ({ty}.const 1.0009765625))
         (local.set $y ({ty}.add (local.get $x) (local.get $y))) {step}
         ({ty}.store (local.get $p) (local.get $x))))"
    );
    let module = Module::parse(wat::parse_str(&text)?)?;
    let shader = translate(&module, 0, &Shape::distinct(1), device.options())?;
    keep(&shader.words, device.options().profile);
    // SAFETY: the words are the translator's: valid SPIR-V with a bounds check on every access.
    let kernel = unsafe { device.prepare(shader) }?;
    let spec = BufferSpec { id: BufferId(0), address: 0x4000_0000, size: count * 8, access: Access::ReadWrite };
    let mut context = device.new_gpu_context();
    context.create_buffer(&spec)?;
    let mut best = f64::MAX;
    for _ in 0..8 {
        let one = if ty == "f64" { 1.5f64.to_bits() } else { u64::from(1.5f32.to_bits()) };
        context.write_buffer(spec.id, 0, &one.to_le_bytes().repeat(count as usize))?;
        let times = context.time_runs(&kernel, count, 1, &[spec], 1)?;
        best = times.iter().map(|time| time.as_secs_f64()).fold(best, f64::min);
    }
    Ok(best * 1e9 / TIMES as f64)
}
