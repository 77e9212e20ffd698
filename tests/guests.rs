//! The example guests, whole, on every device: each checks its own results, ends with exit code 0, ran where it was
//! told to, and left the same bytes in its buffers as the CPU did.
//!
//! Where the machine has no GPU driver the tests on GPUs show as ignored.

use std::process::Command;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::device::gpu;
use wavelift::translator::{Coarsen, Flatten, FloatMode, Profile};
use wavelift::{Config, DeviceChoice, Instance, Module, Report, Runtime, WasiCtxBuilder};

/// A committed guest with arguments that keep it short, its kernel, and how many launches it makes.
struct Guest {
    name: &'static str,
    arguments: &'static [&'static str],
    kernel: &'static str,
    launches: u64,
    /// What it may be off by where floats are relaxed: a relative error, or a share of points.
    tolerance: Option<&'static str>,
}

const GUESTS: [Guest; 11] = [
    Guest { name: "hello_parallel", arguments: &[], kernel: "saxpy", launches: 1, tolerance: None },
    Guest { name: "saxpy_module", arguments: &[], kernel: "kernel", launches: 2, tolerance: None },
    Guest { name: "nstream", arguments: &["3", "65537"], kernel: "nstream", launches: 4, tolerance: Some("1e-6") },
    Guest { name: "nstream_block", arguments: &[], kernel: "nstream_block", launches: 11, tolerance: None },
    Guest { name: "sgemm", arguments: &["96"], kernel: "sgemm", launches: 1, tolerance: Some("1e-3") },
    Guest { name: "stencil", arguments: &["65", "33", "20"], kernel: "stencil", launches: 20, tolerance: Some("1e-4") },
    Guest {
        name: "mandelbrot",
        arguments: &["161", "97", "200"],
        kernel: "mandelbrot",
        launches: 1,
        tolerance: Some("0.01"),
    },
    Guest { name: "nbody", arguments: &["192", "4"], kernel: "nbody", launches: 4, tolerance: Some("1e-3") },
    Guest { name: "histogram", arguments: &["70001", "64"], kernel: "histogram", launches: 1, tolerance: None },
    Guest { name: "random", arguments: &["12", "4"], kernel: "random_updates", launches: 2, tolerance: None },
    Guest {
        name: "black_scholes",
        arguments: &["3000"],
        kernel: "black_scholes",
        launches: 1,
        tolerance: Some("1e-5"),
    },
];

impl Guest {
    /// Whether a GPU runs its kernel: `random` updates 64 bits atomically.
    fn lifts(&self, way: Way) -> bool {
        self.name != "random" || way.profile == Profile::Vulkan
    }
}

/// Where and how a guest runs.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    device: DeviceChoice,
    profile: Profile,
    float: FloatMode,
}

const WAYS: [Way; 8] = [
    Way { name: "sequential", device: DeviceChoice::Sequential, profile: Profile::Vulkan, float: FloatMode::Strict },
    Way { name: "cpu", device: DeviceChoice::Cpu, profile: Profile::Vulkan, float: FloatMode::Strict },
    Way { name: "gpu_vulkan", device: DeviceChoice::Gpu, profile: Profile::Vulkan, float: FloatMode::Strict },
    Way { name: "gpu_portable", device: DeviceChoice::Gpu, profile: Profile::Portable, float: FloatMode::Strict },
    Way { name: "gpu_vulkan_relaxed", device: DeviceChoice::Gpu, profile: Profile::Vulkan, float: FloatMode::Relaxed },
    Way {
        name: "gpu_portable_relaxed",
        device: DeviceChoice::Gpu,
        profile: Profile::Portable,
        float: FloatMode::Relaxed,
    },
    Way { name: "gpu_vulkan_fast", device: DeviceChoice::Gpu, profile: Profile::Vulkan, float: FloatMode::Fast },
    Way { name: "gpu_portable_fast", device: DeviceChoice::Gpu, profile: Profile::Portable, float: FloatMode::Fast },
];

fn main() {
    let mut trials = Vec::new();
    for guest in &GUESTS {
        for way in WAYS {
            trials.push(trial(format!("{}::{}", guest.name, way.name), way.device == DeviceChoice::Gpu, move || {
                run(guest, way)
            }));
        }
    }
    trials.push(trial("mandelbrot::images_of_cpus_are_equal".into(), false, || images(&["sequential", "cpu"])));
    trials.push(trial("mandelbrot::images_of_all_devices_are_equal".into(), true, || {
        images(&["sequential", "cpu", "gpu"])
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(name: String, on_gpu: bool, test: impl Fn() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match on_gpu && !has_gpu() {
        true => Ok(Completion::ignored_with(
            "this machine has no GPU driver; install Mesa 25 or newer for its software one",
        )),
        false => test().map(|()| Completion::Completed),
    })
}

fn has_gpu() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| !gpu::adapters().is_empty())
}

fn path(guest: &str) -> String {
    format!("{}/examples/guests/{guest}.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// Strict ways compare the buffers' bytes after each launch with another device's; relaxed ones have the guest check
/// with its tolerance, if it has one, or exactly.
fn run(guest: &Guest, way: Way) -> Result<(), Failed> {
    let strict = way.float == FloatMode::Strict;
    let config = Config {
        device: way.device,
        verify: strict,
        profile: way.profile,
        float: way.float,
        allow_fallback: !guest.lifts(way),
        // What is few invocations here is many elsewhere.
        coarsen: Coarsen::Always,
        flatten: Flatten::Always,
        ..Config::default()
    };
    let runtime = Runtime::new(config)?;
    let module = Module::from_file(&runtime, path(guest.name))?;
    let mut wasi = WasiCtxBuilder::new();
    wasi.arg(guest.name).args(guest.arguments).inherit_stderr().allow_blocking_current_thread(true);
    if let (false, Some(tolerance)) = (strict, guest.tolerance) {
        wasi.args(&["--tolerance", tolerance]);
    }
    let mut instance = Instance::new(&runtime, &module, wasi.build_p1())?;
    let code = instance.start()?;
    check(code == 0, format!("the exit code is {code}"))?;
    check_report(guest, way, strict, instance.report())
}

fn check_report(guest: &Guest, way: Way, strict: bool, report: &Report) -> Result<(), Failed> {
    let all = report.launches();
    let launches: u64 = all.iter().map(|group| group.count).sum();
    check(launches == guest.launches, format!("{launches} launches instead of {}\n{report}", guest.launches))?;
    for group in all {
        check(group.kernel == guest.kernel, format!("the kernel `{}` ran\n{report}", group.kernel))?;
        let refusal = group.fallback.as_deref().unwrap_or_default();
        if !guest.lifts(way) {
            check(refusal.contains("the portable profile has no 64-bit atomics"), format!("it was lifted\n{report}"))?;
            continue;
        }
        check(refusal.is_empty(), format!("there was a fallback\n{report}"))?;
        check(!strict || group.verified == group.count, format!("not every launch was compared\n{report}"))?;
        let on_gpu = !group.device.starts_with("CPU") && !group.device.to_lowercase().contains("sequential");
        check(on_gpu == (way.device == DeviceChoice::Gpu), format!("it ran elsewhere\n{report}"))?;
    }
    Ok(())
}

fn check(right: bool, message: impl Into<String>) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(message.into().into()) }
}

/// The image that the command makes the guest write is the same file from each device.
fn images(devices: &[&str]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut images = Vec::new();
    for device in devices {
        let file = format!("{device}.pgm");
        let output = Command::new(env!("CARGO_BIN_EXE_wavelift"))
            .env("WAVELIFT_CACHE_DIR", "")
            .args(["run", "--device", device, "--dir"])
            .arg(format!("{}::/out", folder.path().display()))
            .arg(path("mandelbrot"))
            .args(["--", "97", "61", "200", "--output", &format!("/out/{file}")])
            .output()?;
        check(output.status.success(), String::from_utf8_lossy(&output.stderr))?;
        images.push((device, std::fs::read(folder.path().join(file))?));
    }
    let (_, first) = &images[0];
    check(first.starts_with(b"P5") && first.len() > 97 * 61, "the image is no grey map of the size asked for")?;
    let darkest = first[first.len() - 97 * 61..].iter().min();
    check(darkest != first[first.len() - 97 * 61..].iter().max(), "the image is of one colour")?;
    for (device, image) in &images {
        check(image == first, format!("the image of {device} differs"))?;
    }
    Ok(())
}
