//! A run: each kernel recorded, on all engines, as a whole guest, and from a cold start.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Device, cpu};
use wavelift::translator::{FloatMode, Profile};
use wavelift::{Config, DeviceChoice, Module, Runtime};

use crate::engines::{Edited, Fastest, Form, GROUP, Library, Lifted, Native, Refused, Shaders, Twins, Wgsl};
use crate::kernels::{Kernel, Size};
use crate::measure::{Entry, measure};
use crate::record::{Recording, record};
use crate::results::{Measured, Results, Timed};
use crate::roofline::Roofline;
use crate::{Arguments, Part, Skip, cold, facts, float_name, guests, profile_name};

/// What other engines are compared with.
pub const BASELINES: [&str; 7] =
    ["WGSL", "WGSL, unchecked", "WGSL, tuned", NO_FUEL, NO_CHECKS, "native", "native, this processor"];

/// What `--safety` adds.
const NO_FUEL: &str = "lifted, no fuel";
const NO_CHECKS: &str = "lifted, no bounds checks";

/// What a run has open.
struct Bench<'a> {
    arguments: &'a Arguments,
    adapter: Option<Adapter>,
    gpus: Vec<Gpu>,
    /// A GPU on which nothing takes fuel.
    unlimited: Option<GpuDevice>,
    cpu: Arc<dyn Device>,
    sequential: Arc<dyn Device>,
    twins: Vec<(&'static str, Twins)>,
}

struct Gpu {
    profile: Profile,
    float: FloatMode,
    device: GpuDevice,
}

/// Measures kernels. What goes wrong with one is kept with its results.
///
/// # Errors
/// There is no such device.
pub fn run(arguments: &Arguments, kernels: &[Kernel]) -> Result<Results> {
    let adapter = arguments.adapter()?;
    let mut about = vec![
        ("date".to_string(), facts::date()),
        ("revision".to_string(), arguments.revision.clone().unwrap_or_else(facts::revision)),
        ("processor".to_string(), facts::processor()),
    ];
    let mut gpus = Vec::new();
    if let Some(adapter) = &adapter {
        let info = adapter.info();
        about.push(("GPU".into(), format!("{}, {}, {}", info.name, info.backend, info.driver)));
        gpus = open(adapter, &arguments.floats(true))?;
    }
    let roofline =
        gpus.first().map(|gpu| Roofline::measure(&gpu.device, arguments.size, arguments.clock)).transpose()?;
    let mut twins = vec![("native", Twins::Baseline)];
    let library =
        format!("target/native/{}wavelift_twins{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    match Library::load(&crate::root().join(library)) {
        Ok(library) => twins.push(("native, this processor", Twins::Loaded(library))),
        Err(error) => about.push(("native code for this processor".into(), format!("not measured. {error}"))),
    }
    let (cpu, sequential) = (cpu::all_cores(), cpu::sequential());
    let unlimited = match (&adapter, arguments.safety) {
        (Some(adapter), true) => {
            let float = arguments.floats(false)[0];
            let options = GpuOptions { float, fuel: None, timed: true, ..GpuOptions::default() };
            Some(GpuDevice::open(adapter, &options)?)
        }
        _ => None,
    };
    let bench = Bench { arguments, adapter, gpus, unlimited, cpu, sequential, twins };
    let mut results =
        Results { facts: about, size: arguments.size, clock: arguments.clock, roofline, kernels: Vec::new() };
    for (index, kernel) in kernels.iter().enumerate() {
        let mut measured = Measured::new(kernel, arguments.size);
        let step = |what: &str| eprintln!("[{}/{}] {}: {what}", index + 1, kernels.len(), kernel.name);
        if let Err(error) = bench.measure(kernel, &mut measured, &step) {
            step(&format!("FAILED: {error:#}"));
            measured.failure = Some(format!("{error:#}"));
        }
        results.kernels.push(measured);
        // A run that is cut off has measured something, too.
        if let Some(path) = &arguments.json {
            std::fs::write(path, results.json()?).with_context(|| format!("`{}` can't be written", path.display()))?;
        }
    }
    results.facts.push(("load at the end (1, 5, 15 minutes)".into(), facts::load()));
    Ok(results)
}

/// A device for each profile that the adapter takes, in each float mode. Fast floats are of interest in one profile only.
fn open(adapter: &Adapter, floats: &[FloatMode]) -> Result<Vec<Gpu>> {
    let mut gpus = Vec::new();
    for profile in [Profile::Vulkan, Profile::Portable] {
        for float in floats {
            let options = GpuOptions { profile, float: *float, timed: true, ..GpuOptions::default() };
            let device = GpuDevice::open(adapter, &options)?;
            device.try_group_sizes();
            // Adapters that can't take SPIR-V as it is have the portable profile in any case.
            if device.options().profile == profile {
                gpus.push(Gpu { profile, float: *float, device });
            }
        }
    }
    ensure!(!gpus.is_empty(), "The GPU takes no profile.");
    Ok(gpus)
}

impl Bench<'_> {
    fn measure(&self, kernel: &Kernel, measured: &mut Measured, step: &dyn Fn(&str)) -> Result<()> {
        let Arguments { size, clock, .. } = *self.arguments;
        step("recording the guest");
        let arguments = kernel.arguments(size, true);
        let recording = record(&kernel.module(false), &arguments)?;
        let simd = match self.arguments.device {
            Part::Gpu => None,
            _ => Some(record(&kernel.module(true), &arguments).context("built with vector instructions")?),
        };
        step("engines in turns");
        let (mut entries, wgsl) = self.entries(kernel, &recording, simd.as_ref())?;
        drop(simd);
        measure(&mut entries, &recording, size, clock, kernel.tolerance)?;
        measured.add_resident(&entries, &BASELINES);
        if !self.arguments.skips(Skip::EndToEnd) {
            step("whole guests");
            measured.end_to_end = self.end_to_end(kernel, &recording, wgsl)?;
        }
        drop(entries);
        if let (Some(adapter), false) = (&self.adapter, self.arguments.skips(Skip::Cold)) {
            step("cold start");
            measured.cold = cold::measure(self.arguments, adapter, kernel)?;
        }
        Ok(())
    }

    /// All engines; and the hand-written shaders once more, for whole runs.
    fn entries(
        &self,
        kernel: &Kernel,
        recording: &Recording,
        simd: Option<&Recording>,
    ) -> Result<(Vec<Entry<'_>>, Option<Wgsl>)> {
        let entry = |name: String, engine, exact, threads| Entry {
            name,
            engine,
            exact,
            threads,
            times: Vec::new(),
            is_slow: false,
            refused: None,
        };
        let (mut entries, mut wgsl) = (Vec::new(), None);
        let threads = facts::threads();
        let floats = self.arguments.floats(kernel.mathematics);
        for gpu in self.gpus.iter().filter(|gpu| floats.contains(&gpu.float)) {
            let name = format!("lifted, {}, {}", profile_name(gpu.profile), float_name(gpu.float));
            let mut lifted = Lifted::on_gpu(&gpu.device, recording)?;
            if wgsl.is_none() {
                // On the same buffers of the same device.
                let mut shader = |checked, tuned, group| {
                    let shaders = Shaders { checked, tuned, group };
                    Wgsl::new(&gpu.device, kernel, recording, &mut lifted.context, shaders)
                };
                let checked = Fastest::new(|group| shader(true, false, group))?;
                entries.push(entry("WGSL".into(), Box::new(checked) as _, false, threads));
                let unchecked = Fastest::new(|group| shader(false, false, group))?;
                entries.push(entry("WGSL, unchecked".into(), Box::new(unchecked), false, threads));
                if !kernel.tuned.is_empty() {
                    entries.push(entry("WGSL, tuned".into(), Box::new(shader(false, true, GROUP)?), false, threads));
                }
                wgsl = Some(Fastest::new(|group| shader(true, false, group))?.settled()?);
                for path in &self.arguments.edited {
                    let name = format!("edited: {}", path.file_stem().unwrap_or_default().to_string_lossy());
                    let edited = Edited::new(&gpu.device, recording, Form::File(path))?;
                    entries.push(entry(name, Box::new(edited), false, threads));
                }
                if let Some(unlimited) = &self.unlimited {
                    let free = Lifted::on_gpu(unlimited, recording)?;
                    let exact = gpu.float == FloatMode::Strict;
                    entries.push(entry(NO_FUEL.into(), Box::new(free), exact, threads));
                    match Edited::new(&gpu.device, recording, Form::Unchecked) {
                        Ok(unchecked) => entries.push(entry(NO_CHECKS.into(), Box::new(unchecked), exact, threads)),
                        Err(error) if error.is::<Refused>() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            entries.push(entry(name, Box::new(lifted), gpu.float == FloatMode::Strict, threads));
        }
        if let Some(simd) = simd {
            let cpu = |device: &Arc<dyn Device>, of: &Recording| Lifted::on_cpu(device.as_ref(), of).map(Box::new);
            entries.push(entry("CPU".into(), cpu(&self.cpu, recording)?, true, threads));
            entries.push(entry("CPU, simd128".into(), cpu(&self.cpu, simd)?, true, threads));
            entries.push(entry("sequential".into(), cpu(&self.sequential, recording)?, true, 1));
            for (name, twins) in &self.twins {
                let native = Native::new(twins, kernel, recording);
                entries.push(entry(name.to_string(), Box::new(native), false, threads));
            }
        }
        Ok((entries, wgsl))
    }

    /// Whole guests, and as much work with the hand-written shaders, in turns.
    fn end_to_end(&self, kernel: &Kernel, recording: &Recording, mut wgsl: Option<Wgsl>) -> Result<Vec<Timed>> {
        let runs = match self.arguments.size {
            Size::Small => 2,
            Size::Medium => 5,
            Size::Large => 2,
        };
        let mut ways = Vec::new();
        if let Some(adapter) = &self.adapter {
            for float in self.arguments.floats(kernel.mathematics) {
                let adapter = Some(adapter.index().to_string());
                let config = Config { device: DeviceChoice::Gpu, adapter, float, ..Config::default() };
                ways.push((format!("lifted, {}", float_name(float)), config));
            }
        }
        if self.arguments.device != Part::Gpu {
            ways.push(("CPU".into(), Config { device: DeviceChoice::Cpu, ..Config::default() }));
        }
        let mut guests = Vec::new();
        for (name, config) in ways {
            let arguments = kernel.arguments(self.arguments.size, config.float == FloatMode::Strict);
            let runtime = Runtime::new(config)?;
            let module = Module::from_file(&runtime, kernel.module(false))?;
            let first = guests::run(&runtime, &module, &arguments).with_context(|| format!("`{name}`, as a whole"))?;
            // A guest that ran elsewhere says nothing about this device.
            if name == "CPU" || first.fallback.is_none() {
                guests.push((name, runtime, module, arguments, Vec::new()));
            }
        }
        let mut shaders = Vec::new();
        for _ in 0..runs {
            for (_, runtime, module, arguments, times) in &mut guests {
                times.push(guests::run(runtime, module, arguments)?.times.total);
            }
            if let Some(wgsl) = &mut wgsl {
                shaders.push(wgsl.end_to_end(recording)?);
            }
        }
        let timed = guests.iter().filter_map(|(name, .., times)| Timed::of(name, times));
        Ok(timed.chain(Timed::of("WGSL", &shaders)).collect())
    }
}
