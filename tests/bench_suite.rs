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
#[path = "../benches/suite/facts.rs"]
mod facts;
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

#[path = "../benches/shared/output.rs"]
mod output;
#[allow(dead_code)]
#[path = "../benches/suite/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "../benches/suite/results.rs"]
mod results;
#[allow(dead_code)]
#[path = "../benches/suite/roofline.rs"]
mod roofline;
#[path = "../benches/shared/stats.rs"]
mod stats;
#[path = "../benches/suite/svg.rs"]
mod svg;

use engines::{Engine, Lifted, Native, Shaders, Twins, Wgsl};
use kernels::{Kernel, Size, Tolerance};
use measure::{Clock, Entry, verify};
use record::{Recording, record};
use results::{Measured, Results};
use roofline::Roofline;

/// Kernels that GPUs run here: of one launch and of many, with atomics, bytes, tuned shaders, and 64-bit floats.
const ON_GPU: [&str; 10] =
    ["saxpy", "nstream", "transpose", "gemm_f32", "gemm_f64", "p2p", "reduce", "histogram", "sobel", "scan"];

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
    trials.push(Trial::test("report::a_kept_run_gives_the_same_report", || {
        let results = invented(1.0)?;
        let kept: Results = serde_json::from_str(&results.json().map_err(failed)?)?;
        let (text, again) = (report::markdown(&results, None), report::markdown(&kept, None));
        require(text == again && text.contains("| saxpy"), format!("{text}\n\n{again}"))?;
        // The shader takes 2 ms, the lifted kernel 4.
        require(text.contains("saxpy: vulkan, strict 0.50"), format!("the slow kernel is not named: {text}"))?;
        let charts = [svg::ratios(&kept), svg::roofline(&kept)].map(Option::unwrap_or_default);
        require(charts.iter().all(|chart| chart.ends_with("</svg>\n") && chart.contains("saxpy")), charts.concat())
    }));
    trials.push(Trial::test("report::changes_are_listed", || {
        let (old, new) = (invented(1.0)?, invented(2.0)?);
        let heading = "## What has changed";
        require(report::markdown(&new, Some(&old)).contains(heading), "a kernel half as fast is no change".into())?;
        require(!report::markdown(&old, Some(&old)).contains(heading), "an equal run is a change".into())
    }));
    trials.push(Trial::test("report::of_two_runs_the_later_one_counts", || {
        let (old, new) = (invented(1.0)?, invented(2.0)?);
        let joined = old.joined(new.clone());
        let of =
            |results: &Results| results.kernels[0].engine("lifted, vulkan, strict").map(|engine| engine.time.seconds);
        require(joined.kernels.len() == 1 && of(&joined) == of(&new), "the earlier times stay".into())
    }));
    trials.push(Trial::test("report::dates", || {
        let right = facts::civil(0) == (1970, 1, 1) && facts::civil(19_782) == (2024, 2, 29);
        require(right && facts::civil(20_783) == (2026, 11, 26), "a date is wrong".into())
    }));
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
    for (checked, tuned, group) in [(true, false, 64), (true, false, 256), (false, true, 64)] {
        let wgsl = Wgsl::new(&device, &kernel, &recording, &mut lifted.context, Shaders { checked, tuned, group });
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

/// A run of one kernel whose lifted form takes `factor` times 4 ms, and the shader 2.
fn invented(factor: f64) -> Result<Results, Failed> {
    let kernel = find("saxpy")?;
    let recording = recording(&kernel, false)?;
    let twins = Twins::Baseline;
    let timed = |name: &str, seconds: f64| {
        let engine = Box::new(Native::new(&twins, &kernel, &recording));
        Entry { times: vec![seconds; 5], ..entry(name, engine, false) }
    };
    let entries = [timed("WGSL", 2e-3), timed("lifted, vulkan, strict", 4e-3 * factor), timed("native", 1e-3)];
    let mut measured = Measured::new(&kernel, Size::Small);
    measured.add_resident(&entries, &["WGSL", "native"]);
    Ok(Results {
        facts: vec![("GPU".into(), "invented".into())],
        size: Size::Small,
        clock: Clock::Device,
        roofline: Some(Roofline { copy: 1e10, f32: 1e11, f64: 0.0, i32: 1e11 }),
        kernels: vec![measured],
    })
}
