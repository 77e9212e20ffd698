//! Cold starts: lifting and compiling in a new process, without the driver's cache.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::translator::FloatMode;
use wavelift::{Config, DeviceChoice, Module, Runtime};

use crate::engines::{GROUP, Lifted, Shaders, Wgsl};
use crate::kernels::{Kernel, Size};
use crate::record::record;
use crate::results::Timed;
use crate::{Arguments, guests, kernels};

/// What the child measures, in its order.
const NAMES: [&str; 5] = ["lift", "compile", "compile WGSL", "lift for the CPU", "compile for the CPU"];

/// Seconds of a kernel's cold start, with the first float mode.
///
/// # Errors
/// The child fails.
pub fn measure(arguments: &Arguments, adapter: &Adapter, kernel: &Kernel) -> Result<Vec<Timed>> {
    let child = Command::new(std::env::current_exe()?)
        .args(["--cold", kernel.name, "--adapter", &adapter.index().to_string()])
        .args(["--float", crate::float_name(arguments.floats(false)[0])])
        .envs([("MESA_SHADER_CACHE_DISABLE", "true"), ("__GL_SHADER_DISK_CACHE", "0")])
        .output()?;
    let (text, errors) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    ensure!(child.status.success(), "the cold start failed: {}", errors.trim_end());
    let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(times.len() == NAMES.len(), "the cold start printed `{}`", text.trim_end());
    let timed = |(name, time): (&&str, f64)| Timed::of(name, &[time]).filter(|time| time.seconds > 0.0);
    Ok(NAMES.iter().zip(times).filter_map(timed).collect())
}

/// The child's part: prints the times. Kernels are those of the small size, which is all the same to compilers.
///
/// # Errors
/// There is no such kernel, or it fails.
pub fn child(arguments: &Arguments, name: &str) -> Result<()> {
    let kernel = kernels::all().into_iter().find(|kernel| kernel.name == name).context("no such kernel")?;
    let adapter = arguments.adapter()?.context("no GPU")?;
    let float = arguments.floats(false)[0];
    let recording = record(&kernel.module(false), &kernel.arguments(Size::Small, true))?;

    let device = GpuDevice::open(&adapter, &GpuOptions { float, ..GpuOptions::default() })?;
    let mut lifted = Lifted::on_gpu(&device, &recording)?;
    let start = Instant::now();
    let shaders = Shaders { checked: true, tuned: false, group: GROUP };
    Wgsl::new(&device, &kernel, &recording, &mut lifted.context, shaders)?.compile()?;
    let wgsl = start.elapsed().as_secs_f64();

    let index = Some(adapter.index().to_string());
    let on = |config: Config| -> Result<[f64; 2]> {
        let runtime = Runtime::new(config)?;
        let module = Module::from_file(&runtime, kernel.module(false))?;
        let sizes = kernel.arguments(Size::Small, runtime.config().float == FloatMode::Strict);
        let run = guests::run(&runtime, &module, &sizes)?;
        Ok(if run.fallback.is_none() { [run.lift, run.compile] } else { [0.0, 0.0] })
    };
    let [lift, compile] = on(Config { device: DeviceChoice::Gpu, adapter: index, float, ..Config::default() })?;
    let [lift_cpu, compile_cpu] = on(Config { device: DeviceChoice::Cpu, ..Config::default() })?;
    println!("{lift} {compile} {wgsl} {lift_cpu} {compile_cpu}");
    Ok(())
}
