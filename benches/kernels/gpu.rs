//! Lifted kernels against hand-written shaders: one process, one device, the same buffers, in turns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use wavelift::device::gpu::raw::{WgslBinding, WgslBuffer, WgslKernel, WgslLaunch};
use wavelift::device::gpu::{GpuContext, GpuDevice, Kernel};
use wavelift::device::{BufferSpec, Context as _, Launch};
use wavelift::translator::{FloatMode, LaunchState, Options, translate};

use crate::cases::{self, Case, GROUP};
use crate::instance::{Instance, cpu_seconds, initial_memory};
use crate::output::{Cell, Table};
use crate::stats::{Summary, summarize};

/// Fewest rounds, unless each variant has run for `LONG` before.
const ROUNDS: usize = 15;
const LONG: f64 = 2.0;
/// Rounds before those that count.
const WARM_UP: usize = 2;
/// Where a guest's linear memory ends: more than its stack and data.
const MEMORY: u64 = 1 << 20;

/// One way to run a case.
enum Way {
    Lifted(Arc<Kernel>),
    /// As a guest launches it, with what it reads of linear memory.
    Launched(Launch, Instance),
    Wgsl(WgslLaunch),
}

/// A way to run a case on buffers of one of the contexts.
struct Variant {
    name: String,
    context: usize,
    way: Way,
}

/// A case with its variants. Each context has the case's buffers.
pub struct Bench<'a> {
    case: &'a Case,
    specs: Vec<BufferSpec>,
    contexts: Vec<GpuContext>,
    variants: Vec<Variant>,
    clock: Clock,
}

/// The times of a variant, round by round, under its name.
pub type Rounds = Vec<(String, Vec<f64>)>;

/// How the lifted kernels are made.
pub fn options(device: &GpuDevice, float: FloatMode) -> Options {
    Options { float, workgroup_size: GROUP, ..*device.options() }
}

/// The lifted kernel as the driver holds it, in the form that a launch takes: without the checks that its parameters
/// prove.
pub fn lift(device: &GpuDevice, case: &Case, float: FloatMode) -> Result<Arc<Kernel>> {
    let (module, function) = case.kernel()?;
    let lift = |options| translate(&module.wasm, function, &case.shape(), &options);
    let options = options(device, float);
    let mut shader = lift(options)?;
    let immediates = case.immediates();
    let known = LaunchState { immediates: &immediates, inputs: &|_| None, iterations: case.iterations };
    if shader.launch_checks.hold(&known) {
        shader = lift(Options { checks_proved: true, ..options })?;
    }
    // SAFETY: the words come from the translator, lifted for this device, as in a launch whose checks hold.
    Ok(unsafe { device.prepare(shader) }?)
}

/// A file of SPIR-V words in place of the lifted ones, on the same bindings.
fn edited(device: &GpuDevice, case: &Case, path: &Path) -> Result<Arc<Kernel>> {
    let bytes = std::fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))?;
    let (module, function) = case.kernel()?;
    let mut shader = translate(&module.wasm, function, &case.shape(), &options(device, FloatMode::Strict))?;
    ensure!(bytes.len() % 4 == 0, "`{}` is no SPIR-V", path.display());
    shader.words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    // SAFETY: whoever names a file here vouches for it, as the option's description says.
    Ok(unsafe { device.prepare(shader) }?)
}

/// The hand-written shader on the context's buffers.
pub fn bind(device: &GpuDevice, case: &Case, context: &mut GpuContext, checked: bool) -> Result<WgslLaunch> {
    let source = case.shader()?;
    let kernel = match checked {
        true => WgslKernel::new(device, &source)?,
        // SAFETY: the shaders return where there is no element, and count their loops up to a parameter.
        false => unsafe { WgslKernel::new_unchecked(device, &source) }?,
    };
    let ids = case.specs().into_iter().map(|spec| WgslBuffer::shared(context, spec.id));
    let buffers = ids.collect::<Result<Vec<_>, _>>()?;
    let binding = |(buffer, shared)| {
        let buffer: &cases::Buffer = buffer;
        if buffer.params { WgslBinding::Uniform(&buffer.bytes) } else { WgslBinding::Storage(shared) }
    };
    let bindings: Vec<_> = case.buffers.iter().zip(&buffers).map(binding).collect();
    Ok(kernel.bind_all(&bindings)?)
}

/// Creates a case's buffers.
pub fn create(case: &Case, context: &mut GpuContext) -> Result<()> {
    case.specs().iter().try_for_each(|spec| Ok(context.create_buffer(spec)?))
}

/// What is measured of each case, and how.
pub struct Plan {
    /// Float modes of the lifted kernels.
    pub floats: Vec<FloatMode>,
    /// Edited forms of a lifted kernel, of the same interface.
    pub edited: Vec<PathBuf>,
    /// What takes the time.
    pub clock: Clock,
}

/// What takes the time of a launch.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Clock {
    /// The device's clock.
    Device,
    /// This process's time on the CPU (Linux): of a software driver, what other programs on the machine disturb least.
    Cpu,
}

impl Clock {
    /// The clock as notes name it.
    pub fn name(self) -> &'static str {
        if self == Clock::Device { "the device's clock" } else { "the process's CPU time" }
    }
}

/// Measures the cases.
pub fn measure(device: &GpuDevice, cases: &[Case], plan: &Plan) -> Result<Table> {
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: lifted and hand-written ...", case.name);
        let rounds = with_twins(device, case, plan)?.run().with_context(|| format!("kernel `{}`", case.name))?;
        rows.extend(rows_of(case, &rounds));
    }
    let note = "Resident kernel time of one launch, by CLOCK. `WGSL` is the shader as wgpu compiles it by \
                default, `WGSL, unchecked` the same without wgpu's bounds and loop checks. The variants take turns on the \
                same buffers; time is the median, spread half the distance between the quartiles. A ratio is the \
                median over all turns of WGSL's time divided by the lifted kernel's time: above 1, the lifted kernel is \
                faster. Outputs are compared before and after.";
    Ok(Table {
        title: "Lifted kernels against hand-written WGSL".into(),
        note: note.replace("CLOCK", plan.clock.name()),
        columns: vec!["kernel", "size", "variant", "time", "spread", "runs", "WGSL / it", "WGSL, unchecked / it"],
        rows,
    })
}

/// A float mode's name.
pub fn float_name(float: FloatMode) -> &'static str {
    match float {
        FloatMode::Strict => "strict",
        FloatMode::Relaxed => "relaxed",
        FloatMode::Fast => "fast",
    }
}

/// A case with all that its plan asks for, and its hand-written twin.
fn with_twins<'a>(device: &GpuDevice, case: &'a Case, plan: &Plan) -> Result<Bench<'a>> {
    let mut bench = Bench::new(case, plan.clock);
    let context = bench.add_context(device)?;
    for float in &plan.floats {
        let way = Way::Lifted(lift(device, case, *float)?);
        bench.variants.push(Variant { name: format!("lifted, {}", float_name(*float)), context, way });
    }
    for path in &plan.edited {
        let name = format!("lifted, edited: {}", path.file_stem().unwrap_or_default().to_string_lossy());
        bench.variants.push(Variant { name, context, way: Way::Lifted(edited(device, case, path)?) });
    }
    bench.add_wgsl(context, device)?;
    Ok(bench)
}

impl<'a> Bench<'a> {
    /// A case without variants.
    pub fn new(case: &'a Case, clock: Clock) -> Bench<'a> {
        Bench { case, specs: case.specs(), contexts: Vec::new(), variants: Vec::new(), clock }
    }

    /// Creates the case's buffers on a device; gives the context's number.
    pub fn add_context(&mut self, device: &GpuDevice) -> Result<usize> {
        let mut context = device.new_gpu_context();
        create(self.case, &mut context)?;
        self.contexts.push(context);
        Ok(self.contexts.len() - 1)
    }

    /// Adds the lifted kernel as a variant that runs in a context of its device.
    pub fn add_lifted(&mut self, name: String, context: usize, device: &GpuDevice, float: FloatMode) -> Result<()> {
        self.variants.push(Variant { name, context, way: Way::Lifted(lift(device, self.case, float)?) });
        Ok(())
    }

    /// Adds a kernel that was made in another way, of the same interface.
    pub fn add_kernel(&mut self, name: String, context: usize, kernel: Arc<Kernel>) {
        self.variants.push(Variant { name, context, way: Way::Lifted(kernel) });
    }

    /// Adds the lifted kernel as a guest launches it, in the float mode of the context's device.
    pub fn add_launched(&mut self, name: String, context: usize) -> Result<()> {
        let (module, function) = self.case.kernel()?;
        let memory = initial_memory(&std::fs::read(self.case.guest())?, MEMORY)?;
        let caller = Instance { memory, module: module.clone() };
        let (iterations, buffers) = (self.case.iterations, self.specs.clone());
        let launch = Launch { module, function, iterations, block_size: GROUP, buffers };
        self.variants.push(Variant { name, context, way: Way::Launched(launch, caller) });
        Ok(())
    }

    /// Adds the hand-written shader, on the buffers of a context of this device.
    pub fn add_wgsl(&mut self, context: usize, device: &GpuDevice) -> Result<()> {
        for (name, checked) in [("WGSL", true), ("WGSL, unchecked", false)] {
            let way = Way::Wgsl(bind(device, self.case, &mut self.contexts[context], checked)?);
            self.variants.push(Variant { name: name.into(), context, way });
        }
        Ok(())
    }

    /// Each variant's times, round by round.
    pub fn run(&mut self) -> Result<Rounds> {
        self.compare_outputs()?;
        let count = self.variants.len();
        for round in 0..WARM_UP * count {
            self.launch(round % count)?;
        }
        let mut times = vec![Vec::new(); count];
        loop {
            let rounds = times[0].len();
            let least = times.iter().map(|t: &Vec<f64>| t.iter().sum::<f64>()).fold(f64::INFINITY, f64::min);
            if least >= LONG || (rounds >= ROUNDS && least >= LONG / 2.0) {
                break;
            }
            // Another one begins each time: what runs before must not favour one.
            for turn in 0..count {
                let index = (rounds + turn) % count;
                times[index].push(self.launch(index)?);
            }
        }
        self.compare_outputs()?;
        Ok(self.variants.iter().map(|variant| variant.name.clone()).zip(times).collect())
    }

    /// Seconds of one launch.
    fn launch(&mut self, index: usize) -> Result<f64> {
        let before = self.cpu_seconds()?;
        let by_device = self.launch_on_device(index)?.as_secs_f64();
        let after = self.cpu_seconds()?;
        Ok(if self.clock == Clock::Cpu { after - before } else { by_device })
    }

    /// The time that all threads of this process have spent on the CPU; 0 where nobody wants it.
    fn cpu_seconds(&self) -> Result<f64> {
        if self.clock == Clock::Cpu { cpu_seconds() } else { Ok(0.0) }
    }

    fn launch_on_device(&mut self, index: usize) -> Result<Duration> {
        let Variant { context, way, .. } = &mut self.variants[index];
        match way {
            Way::Launched(launch, caller) => Ok(self.contexts[*context].launch(launch, caller)?.run),
            Way::Wgsl(launch) => Ok(launch.dispatch(self.case.groups())?),
            Way::Lifted(kernel) => {
                // One submission, as the shader's.
                kernel.set_pace(u64::MAX);
                let times = self.contexts[*context].time_runs(kernel, self.case.iterations, GROUP, &self.specs, 1)?;
                Ok(times.iter().sum())
            }
        }
    }

    /// Runs each variant once on fresh buffers: all must give what the first one gives.
    fn compare_outputs(&mut self) -> Result<()> {
        let mut first: Option<(String, Vec<Vec<u8>>)> = None;
        for index in 0..self.variants.len() {
            let context = self.variants[index].context;
            for (spec, buffer) in self.specs.iter().zip(&self.case.buffers) {
                self.contexts[context].write_buffer(spec.id, 0, &buffer.bytes)?;
            }
            self.launch(index)?;
            let specs = self.specs.clone();
            let outputs = specs.iter().map(|spec| self.bytes(context, spec)).collect::<Result<Vec<_>>>()?;
            let name = self.variants[index].name.clone();
            match &first {
                None => {
                    let changed = outputs.iter().zip(&self.case.buffers).any(|(now, before)| *now != before.bytes);
                    ensure!(changed, "the kernel changed no buffer");
                    first = Some((name, outputs));
                }
                Some((of, expected)) => {
                    for (number, (got, expected)) in outputs.iter().zip(expected).enumerate() {
                        self.require_same(&format!("buffer {number} of `{name}` against `{of}`"), got, expected)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn bytes(&mut self, context: usize, spec: &BufferSpec) -> Result<Vec<u8>> {
        let mut bytes = vec![0; spec.size as usize];
        self.contexts[context].read_buffer(spec.id, 0, &mut bytes)?;
        Ok(bytes)
    }

    fn require_same(&self, what: &str, got: &[u8], expected: &[u8]) -> Result<()> {
        let words = got.chunks_exact(4).zip(expected.chunks_exact(4));
        let error = self.case.error;
        let float = |word: &[u8]| f32::from_le_bytes(word.try_into().unwrap_or_default());
        // NaN is within no tolerance.
        let is_close = |a: &[u8], b: &[u8]| error > 0.0 && (float(a) - float(b)).abs() <= error;
        let is_off = |a: &[u8], b: &[u8]| a != b && !is_close(a, b);
        let different = words.clone().filter(|(a, b)| is_off(a, b)).count();
        let allowed = (self.case.tolerance * words.len() as f64) as usize;
        ensure!(different <= allowed, "{what}: {different} of {} words differ, {allowed} may", words.len());
        Ok(())
    }
}

/// The median over all rounds of a variant's time divided by these times.
pub fn ratio(rounds: &Rounds, baseline: &str, times: &[f64]) -> Cell {
    let of = rounds.iter().find(|(name, _)| name == baseline).map_or(&[][..], |(_, times)| times);
    let quotients: Vec<f64> = of.iter().zip(times).map(|(base, time)| base / time).collect();
    summarize(&quotients).map_or(Cell::Nothing, |ratios| Cell::Ratio(ratios.median))
}

/// A row for each variant, with the ratios of the lifted ones.
pub fn rows_of(case: &Case, rounds: &Rounds) -> Vec<Vec<Cell>> {
    let row = |(name, times): &(String, Vec<f64>)| {
        let Summary { median, spread, count } = summarize(times)?;
        let ratios = ["WGSL", "WGSL, unchecked"].map(|baseline| match name.starts_with("lifted") {
            true => ratio(rounds, baseline, times),
            false => Cell::Nothing,
        });
        let [checked, unchecked] = ratios;
        Some(vec![
            Cell::Text(case.name.into()),
            Cell::Text(case.size.clone()),
            Cell::Text(name.clone()),
            Cell::Seconds(median),
            Cell::Share(spread),
            Cell::Count(count as u64),
            checked,
            unchecked,
        ])
    };
    rounds.iter().filter_map(row).collect()
}
