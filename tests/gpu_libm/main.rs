//! The device's functions for C's mathematical library, in both profiles: their error over random arguments, and what they
//! give where they are undefined on devices. The accuracy that the README promises is [`PROMISES`]. And what stands for musl's
//! `expf` and `logf` where floats are relaxed.
//!
//! Where the machine has no GPU driver each test shows as ignored, with the reason. `--nocapture` prints what was measured.

#[path = "../../translator/tests/common/keep.rs"]
mod keep;
mod promises;

use keep::keep;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use promises::{EDGES, PROMISES, Promise, exact};
use wavelift::device::gpu::{self, Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Access, BufferId, BufferSpec, Context};
use wavelift_translator::ir::MathOp;
use wavelift_translator::testing::is_near;
use wavelift_translator::{FloatMode, Module, Profile, Shader, Shape, translate};

type Tested = Result<(), Failed>;

/// Random arguments of a function.
const ARGUMENTS: usize = 20_000;

fn main() {
    let mut trials = Vec::new();
    for (profile, suffix) in [(Profile::Vulkan, "vulkan"), (Profile::Portable, "portable")] {
        let fast = FloatMode::Fast;
        let tests = [("accuracy", accuracy as fn(&GpuDevice) -> Tested, fast), ("edges", edges, fast)];
        for (name, test, float) in tests.into_iter().chain([("near", near as _, FloatMode::Relaxed)]) {
            trials.push(Trial::ignorable_test(format!("{name}_{suffix}"), move || {
                let Some(adapter) = gpu::adapters().into_iter().next() else {
                    return Ok(Completion::ignored_with("this machine has no GPU driver; install Mesa 25 or newer"));
                };
                test(&open(&adapter, profile, float)?).map(|()| Completion::Completed)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn open(adapter: &Adapter, profile: Profile, float: FloatMode) -> Result<GpuDevice, Failed> {
    Ok(GpuDevice::open(adapter, &GpuOptions { profile, float, ..GpuOptions::default() })?)
}

/// Xorshift64* (Vigna).
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Between two floats: half of them evenly, half by their magnitude.
    fn between(&mut self, [low, high]: [f32; 2]) -> f32 {
        let even = low + (high - low) * self.unit() as f32;
        if self.unit() < 0.5 || even == 0.0 {
            return even;
        }
        let shrunk = even * 2f32.powf(-20.0 * self.unit() as f32);
        if (low..=high).contains(&shrunk) { shrunk } else { even }
    }
}

fn accuracy(device: &GpuDevice) -> Tested {
    let mut wrong = Vec::new();
    for promise in PROMISES {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let arguments: Vec<[f32; 3]> = (0..ARGUMENTS).map(|_| promise.arguments.map(|r| random.between(r))).collect();
        let got = run(device, promise.op, &arguments)?;
        let (mut worst, mut worst_at, mut broken) = (0f64, [0.0; 3], 0);
        let mut absolute = 0f64;
        for (arguments, got) in arguments.iter().zip(got) {
            let right = exact(promise.op, arguments.map(f64::from));
            let (error, units) = error(got, right);
            absolute = absolute.max(error);
            if units > worst && error > promise.absolute {
                (worst, worst_at) = (units, *arguments);
            }
            broken += usize::from(!(error <= promise.absolute || units <= promise.units));
        }
        let Promise { op, units, absolute: allowed, arguments } = promise;
        let line = format!(
            "{} of {arguments:?}: {worst:.1} units at {worst_at:?} (promised {units}, or {allowed:e}), {absolute:.1e} at most",
            op.name()
        );
        println!("{line}");
        if broken > 0 {
            wrong.push(format!("{broken} of {ARGUMENTS} values: {line}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The error, absolute and in units in the last place of the right result's float; NaN is an infinite one.
fn error(got: f32, right: f64) -> (f64, f64) {
    let rounded = right as f32;
    if got == rounded || got.is_nan() && rounded.is_nan() {
        return (0.0, 0.0);
    }
    let error = (f64::from(got) - right).abs();
    let unit = 2f64.powi((right.abs().log2().floor() as i32).clamp(-126, 127) - 23);
    if error.is_nan() { (f64::INFINITY, f64::INFINITY) } else { (error, error / unit) }
}

fn edges(device: &GpuDevice) -> Tested {
    let mut wrong = Vec::new();
    for op in MathOp::ALL.iter().copied() {
        let mut arguments: Vec<[f32; 3]> = EDGES.iter().map(|x| [*x, 0.0, 0.0]).collect();
        if op.arity() > 1 {
            arguments = EDGES.iter().flat_map(|x| EDGES.iter().map(|y| [*x, *y, 1.0])).collect();
        }
        let got = run(device, op, &arguments)?;
        for (arguments, got) in arguments.iter().zip(got) {
            let right = op.eval(*arguments);
            if !alike(op, *arguments, got, right) {
                wrong.push(format!("{} of {:?}: {got:?}, not {right:?}", op.name(), &arguments[..op.arity()]));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Whether a result is of the right kind, and near enough to show that it is no other function's.
fn alike(op: MathOp, arguments: [f32; 3], got: f32, right: f32) -> bool {
    let periodic = matches!(op, MathOp::Sin | MathOp::Cos | MathOp::Tan);
    let huge = periodic && arguments[0].is_finite() && arguments[0].abs() > promises::PERIODIC_LIMIT;
    let greatest = arguments[0].abs().max(arguments[1].abs());
    let is_vast = op == MathOp::Hypot && !right.is_nan() && greatest.is_finite() && greatest > promises::HYPOT_LIMIT;
    let tiny = |x: f32| x.abs() < f32::MIN_POSITIVE * 4.0;
    match () {
        () if is_vast => got >= promises::HYPOT_LIMIT,
        () if right.is_nan() || got.is_nan() => right.is_nan() && got.is_nan(),
        // Only the range is promised.
        () if op == MathOp::Fmod && arguments[0].abs() / arguments[1].abs() > promises::QUOTIENT_LIMIT => {
            arguments[1].is_infinite() || got.abs() < arguments[1].abs()
        }
        () if huge => op == MathOp::Tan || got.abs() <= 1.0 + 1e-6,
        () if right.is_infinite() || got.is_infinite() => got == right,
        () if tiny(right) => tiny(got),
        () => (got - right).abs() <= 2e-3 * right.abs().max(1e-3),
    }
}

/// What the function gives on the device. The module's own function is another, so that only the device's can be right.
fn run(device: &GpuDevice, op: MathOp, arguments: &[[f32; 3]]) -> Result<Vec<f32>, Failed> {
    let (params, loads) = ("f32 ".repeat(op.arity()), ["", " offset=4", " offset=8"]);
    let loads: String =
        loads[..op.arity()].iter().map(|offset| format!("(f32.load{offset} (local.get $in))")).collect();
    let text = format!(
        "(module (memory 1) (func ${name} (param {params}) (result f32) (f32.const 1234.5))
         (func $kernel (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
           (local.set $in (i32.add (local.get $in) (i32.mul (local.get $i) (i32.const 12))))
           (f32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (call ${name} {loads}))))",
        name = op.name()
    );
    let module = Module::parse(wat::parse_str(&text)?)?;
    let shader = translate(&module, 1, &Shape::distinct(2), device.options())?;
    run_shader(device, shader, arguments)
}

/// What musl's functions become is within one unit in the last place of what they give, very small numbers aside.
fn near(device: &GpuDevice) -> Tested {
    let module = Module::parse(include_bytes!("../../translator/tests/quick_phases/functions.wasm").to_vec())?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let functions =
        [("exponential", [-110.0, 90.0], f64::exp as fn(f64) -> f64), ("logarithm", [0.0, f32::MAX], f64::ln)];
    let mut wrong = Vec::new();
    for (name, range, exact) in functions {
        let kernel = module.exported_function(name).ok_or("it is exported")?;
        let mut shape = Shape::distinct(2);
        shape.environment.initial = Some(Vec::new());
        let shader = translate(&module, kernel, &shape, device.options())?;
        if shader.relies_on.is_empty() {
            return Err(format!("{name} is the guest's own").into());
        }
        let arguments: Vec<[f32; 1]> =
            EDGES.iter().copied().chain((0..ARGUMENTS).map(|_| random.between(range))).map(|x| [x]).collect();
        let got = run_shader(device, shader, &arguments)?;
        for ([x], got) in arguments.iter().zip(got) {
            let right = exact(f64::from(*x));
            if !is_near(*x, got, right as f32) {
                wrong.push(format!("{name} of {x:?}: {got:?}, not {right:?}"));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// What a kernel stores for each argument.
fn run_shader<T: AsRef<[f32]>>(device: &GpuDevice, shader: Shader, arguments: &[T]) -> Result<Vec<f32>, Failed> {
    keep(&shader.words, device.options().profile);
    // SAFETY: the words are the translator's: valid SPIR-V with a bounds check on every access.
    let kernel = unsafe { device.prepare(shader) }?;
    let floats = arguments.iter().flat_map(|argument| argument.as_ref());
    let bytes: Vec<u8> = floats.flat_map(|float| float.to_le_bytes()).collect();
    let spec = |id: u64, size: usize| BufferSpec {
        id: BufferId(id),
        address: 0x4000_0000 * (1 + id as u32),
        size: size as u32,
        access: Access::ReadWrite,
    };
    let (input, output) = (spec(0, bytes.len()), spec(1, arguments.len() * 4));
    let mut context = device.new_gpu_context();
    context.create_buffer(&input)?;
    context.create_buffer(&output)?;
    context.write_buffer(input.id, 0, &bytes)?;
    context.run(&kernel, arguments.len() as u32, 1, &[input, output])?;
    let mut results = vec![0; arguments.len() * 4];
    context.read_buffer(output.id, 0, &mut results)?;
    Ok(results.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
