//! The benchmark suite at its small size, without times: every kernel's guest agrees with itself, the CPU device and the native
//! twin, some with the GPU and the hand-written shaders; and an engine that is wrong is found out.

use std::path::Path;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu::{self, GpuDevice, GpuOptions};
use wavelift::device::{Device, cpu};

#[allow(dead_code)]
#[path = "../benches/suite/check.rs"]
mod check;
#[allow(dead_code)]
#[path = "../benches/suite/engines.rs"]
mod engines;
#[allow(dead_code)]
#[path = "../benches/suite/guests.rs"]
mod guests;
#[path = "../benches/shared/instance.rs"]
mod instance;
#[allow(dead_code)]
#[path = "../benches/suite/kernels.rs"]
mod kernels;
#[allow(dead_code)]
#[path = "../benches/suite/measure.rs"]
mod measure;
#[allow(dead_code)]
#[path = "../benches/suite/record.rs"]
mod record;

use engines::{Engine, Lifted, Native, Shaders, Twins, Wgsl};
use kernels::{Kernel, Size, Tolerance};
use measure::{Entry, verify};
use record::{Recording, record};

/// Kernels that GPUs run here: of one launch and of many, with atomics, bytes, tuned shaders, and 64-bit floats.
const ON_GPU: [&str; 9] = ["saxpy", "transpose", "gemm_f32", "gemm_f64", "p2p", "reduce", "histogram", "sobel", "scan"];

/// The repository, as the suite's modules ask for it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() {
    let mut trials = Vec::new();
    for kernel in kernels::all() {
        let name = kernel.name;
        trials.push(Trial::test(format!("{name}::cpu_and_native"), move || on_cpu(find(name)?)));
    }
    for name in ON_GPU {
        trials.push(Trial::ignorable_test(format!("{name}::gpu_and_wgsl"), move || match has_gpu() {
            true => on_gpu(find(name)?).map(|()| Completion::Completed),
            false => Ok(Completion::ignored_with("this machine has no GPU driver")),
        }));
    }
    trials.push(Trial::test("planted::wrong_outputs_are_found", planted_output));
    trials.push(Trial::test("planted::tolerances_are_kept", planted_error));
    trials.push(Trial::test("planted::guests_check_themselves", planted_guest));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn has_gpu() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| !gpu::adapters().is_empty())
}

fn find(name: &str) -> Result<Kernel, Failed> {
    kernels::all().into_iter().find(|kernel| kernel.name == name).ok_or_else(|| format!("no kernel {name}").into())
}

fn recording(kernel: &Kernel, simd: bool) -> Result<Recording, Failed> {
    record(&kernel.module(simd), &kernel.arguments(Size::Small, true)).map_err(failed)
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}

fn entry<'a>(name: &str, engine: Box<dyn Engine + 'a>, exact: bool) -> Entry<'a> {
    Entry { name: name.into(), engine, exact, threads: 1, times: Vec::new(), is_slow: false, refused: None }
}

fn require(right: bool, what: String) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(what.into()) }
}

fn on_cpu(kernel: Kernel) -> Result<(), Failed> {
    let (scalar, simd) = (recording(&kernel, false)?, recording(&kernel, true)?);
    let outputs = |of: &Recording| -> Vec<Vec<u8>> {
        of.buffers.iter().filter(|buffer| buffer.output).map(|buffer| buffer.after.clone()).collect()
    };
    require(outputs(&scalar) == outputs(&simd), "the build with vector instructions gives other bytes".into())?;
    let sequential = Lifted::on_cpu(cpu::sequential().as_ref(), &scalar).map_err(failed)?;
    let all = Lifted::on_cpu(cpu::all_cores().as_ref(), &simd).map_err(failed)?;
    let native = Native::new(&Twins::Baseline, &kernel, &scalar);
    verify(&mut entry("sequential", Box::new(sequential), true), &scalar, kernel.tolerance).map_err(failed)?;
    verify(&mut entry("CPU", Box::new(all), true), &simd, kernel.tolerance).map_err(failed)?;
    // Twice: rounds start from the same data.
    let mut native = entry("native", Box::new(native), false);
    verify(&mut native, &scalar, kernel.tolerance).map_err(failed)?;
    verify(&mut native, &scalar, kernel.tolerance).map_err(failed)
}

fn on_gpu(kernel: Kernel) -> Result<(), Failed> {
    let recording = recording(&kernel, false)?;
    let adapter = gpu::adapters().into_iter().next().ok_or("no GPU")?;
    let device = GpuDevice::open(&adapter, &GpuOptions::default()).map_err(|error| error.to_string())?;
    if kernel.name == "gemm_f64" && !device.info().float64 {
        return Ok(());
    }
    let mut lifted = Lifted::on_gpu(&device, &recording).map_err(failed)?;
    let mut shaders = Vec::new();
    for (checked, tuned) in [(true, false), (false, true)] {
        let wgsl = Wgsl::new(&device, &kernel, &recording, &mut lifted.context, Shaders { checked, tuned });
        shaders.push(entry("WGSL", Box::new(wgsl.map_err(failed)?), false));
    }
    // The shaders run on its buffers, as long as it lives.
    let mut lifted = entry("lifted", Box::new(lifted), true);
    verify(&mut lifted, &recording, kernel.tolerance).map_err(failed)?;
    shaders.iter_mut().try_for_each(|shader| verify(shader, &recording, kernel.tolerance).map_err(failed))
}

/// An engine that changes one bit of what it computed.
struct Broken<'a> {
    inner: Native<'a>,
    byte: usize,
}

impl Engine for Broken<'_> {
    fn restore(&mut self, recording: &Recording) -> anyhow::Result<()> {
        self.inner.restore(recording)
    }

    fn round(&mut self) -> anyhow::Result<f64> {
        self.inner.round()
    }

    fn read(&mut self, index: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = self.inner.read(index)?;
        // The highest bits of a float's exponent.
        bytes[self.byte] ^= 0x40;
        Ok(bytes)
    }
}

fn planted_output() -> Result<(), Failed> {
    for (name, byte) in [("saxpy", 403), ("sha256", 17), ("fft", 3), ("mandelbrot", 3)] {
        let kernel = find(name)?;
        let recording = recording(&kernel, false)?;
        for exact in [true, false] {
            let inner = Native::new(&Twins::Baseline, &kernel, &recording);
            let mut broken = entry("broken", Box::new(Broken { inner, byte }), exact);
            let outcome = verify(&mut broken, &recording, kernel.tolerance);
            // A share of Mandelbrot's points may differ, but not where floats are exact.
            let found = outcome.is_err_and(|error| error.to_string().contains("is wrong"));
            require(found == (exact || name != "mandelbrot"), format!("{name}: a wrong output was {found}"))?;
        }
    }
    // An engine that does nothing leaves what was there before.
    struct Idle(Vec<Vec<u8>>);
    impl Engine for Idle {
        fn restore(&mut self, recording: &Recording) -> anyhow::Result<()> {
            self.0 = recording.buffers.iter().map(|buffer| buffer.before.clone()).collect();
            Ok(())
        }
        fn round(&mut self) -> anyhow::Result<f64> {
            Ok(0.0)
        }
        fn read(&mut self, index: usize) -> anyhow::Result<Vec<u8>> {
            Ok(self.0[index].clone())
        }
    }
    for kernel in kernels::all() {
        let recording = recording(&kernel, false)?;
        let outcome = verify(&mut entry("idle", Box::new(Idle(Vec::new())), false), &recording, kernel.tolerance);
        require(outcome.is_err(), format!("{}: doing nothing passes for right", kernel.name))?;
    }
    Ok(())
}

fn planted_error() -> Result<(), Failed> {
    let bytes = |value: f32| value.to_le_bytes().to_vec();
    let off = |by: f32, tolerance| check::require_same("It", &bytes(1.0 + by), &bytes(1.0), tolerance).is_err();
    require(!off(0.0009, Tolerance::F32(0.001, 0.0)), "less than the tolerance is wrong".into())?;
    require(off(0.0011, Tolerance::F32(0.001, 0.0)), "more than the tolerance is right".into())?;
    require(off(f32::NAN, Tolerance::F32(1e9, 1.0)), "NaN is right".into())?;
    require(off(1e-6, Tolerance::Exact), "another float is equal".into())?;
    let words = |wrong: usize| (0..100).flat_map(|k| u32::to_le_bytes(u32::from(k < wrong))).collect::<Vec<u8>>();
    let share = |wrong| check::require_same("It", &words(wrong), &words(0), Tolerance::Words(0.05)).is_err();
    require(!share(5) && share(6), "a share of 5% is not 5 of 100".into())
}

/// A guest whose kernel is wrong fails by its own check.
fn planted_guest() -> Result<(), Failed> {
    let kernel = find("saxpy")?;
    let path = kernel.module(false);
    let mut module = std::fs::read(&path)?;
    // y + 2 x becomes y - 2 x: the only f32.add (0x92) behind an f32.load is the kernel's.
    let at =
        module.windows(3).position(|code| code == [0x92, 0x38, 0x02]).ok_or("the kernel's addition is not there")?;
    module[at] = 0x93;
    let wrong = tempfile::NamedTempFile::new()?;
    std::fs::write(wrong.path(), &module)?;
    let outcome = record(wrong.path(), &kernel.arguments(Size::Small, true));
    let found = outcome.is_err_and(|error| format!("{error:#}").contains("own check failed"));
    require(found, "a wrong kernel passes the guest's check".into())
}
