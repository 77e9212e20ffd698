//! Measures what vector instructions of Wasm are worth: the kernels of `tests/guests/c/lanes.c`, built with them and without,
//! on a GPU and on the CPU device. See `benches/README.md`.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Context, Device, GuestModule, Launch, cpu};
use wavelift::memory::AddressSpace;
use wavelift::translator::Module;

#[path = "../shared/arguments.rs"]
mod arguments;
mod cases;
#[path = "../shared/instance.rs"]
mod instance;
#[allow(dead_code)]
#[path = "../shared/output.rs"]
mod output;
#[path = "../shared/stats.rs"]
mod stats;

use arguments::Shared;
use cases::Case;
use instance::{Instance, cpu_seconds, create, file, initial_memory};
use output::{Cell, Table};
use stats::summarize;

/// Launches of each kernel in each build, after the first.
const LAUNCHES: usize = 15;
/// Where linear memory of a launch ends: more than the guest's stack and data.
const MEMORY: u64 = 1 << 18;
/// The builds that are compared.
const BUILDS: [&str; 2] = ["O3", "O3-simd"];

#[derive(Parser)]
#[command(about = "Measures vector instructions; see benches/README.md.")]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse().shared;
    let mut cases = cases::all();
    cases.retain(|case| arguments.wants(case.kernel));
    let devices = devices(arguments.adapter()?)?;
    let mut text = String::from("# Vector instructions, measured\n\n");
    for device in &devices {
        text += &format!("- {}: {}\n", device.info().name, device.info().driver);
    }
    let mut rows = Vec::new();
    for case in &cases {
        rows.extend(rows_of(&devices, case)?);
    }
    let note = "`run`: the process's CPU time of a launch with its buffers in place, the median of 15; all builds on all devices \
                take turns. `scalar / simd` is the median over the turns: above 1, the build with vector instructions is faster. \
                `first`: the same of the first launch, with lifting and the driver's or Wasmtime's compiler. All leave equal bytes.";
    let columns =
        vec!["kernel", "size", "device", "first, scalar", "first, simd", "run, scalar", "run, simd", "scalar / simd"];
    let table = Table { title: "Builds with and without `-msimd128`".into(), note: note.into(), columns, rows };
    text += &format!("\n{}", table.markdown());
    arguments.publish(&text)
}

/// A GPU, where there is one, and the CPU.
fn devices(adapter: Option<Adapter>) -> Result<Vec<Arc<dyn Device>>> {
    let mut devices: Vec<Arc<dyn Device>> = Vec::new();
    if let Some(adapter) = adapter {
        devices.push(Arc::new(GpuDevice::open(&adapter, &GpuOptions::default())?));
    }
    devices.push(cpu::all_cores());
    Ok(devices)
}

/// A build of a kernel on a device, ready to be launched.
struct Form {
    context: Box<dyn Context>,
    launch: Launch,
    memory: Vec<u8>,
    /// Seconds of the first launch.
    first: f64,
    runs: Vec<f64>,
}

impl Form {
    /// Launches it a first time.
    fn new(device: &Arc<dyn Device>, case: &Case, build: &str) -> Result<Form> {
        let path = file(&format!("tests/guests/c/lanes.{build}.wasm"));
        let bytes = std::fs::read(&path).with_context(|| format!("`{}` can't be read", path.display()))?;
        let memory = initial_memory(&bytes, MEMORY)?;
        let module = GuestModule::new(Module::parse(bytes)?);
        let function =
            module.wasm.find_function(case.kernel).with_context(|| format!("no kernel `{}`", case.kernel))?;
        let space = AddressSpace::detached()?;
        let mut context = device.new_context(space.clone())?;
        let buffers: Vec<_> = case.buffers.iter().map(|(bytes, access)| (bytes.as_slice(), *access)).collect();
        let buffers = create(&mut *context, &space, MEMORY, &buffers)?;
        let launch = Launch { module, function, iterations: case.iterations, block_size: case.block_size, buffers };
        let mut form = Form { context, launch, memory, first: 0.0, runs: Vec::new() };
        form.first = form.run()?;
        Ok(form)
    }

    /// Seconds of a launch.
    fn run(&mut self) -> Result<f64> {
        let mut caller = Instance { memory: self.memory.clone(), module: self.launch.module.clone() };
        let before = cpu_seconds()?;
        self.context.launch(&self.launch, &mut caller)?;
        Ok(cpu_seconds()? - before)
    }

    /// What the kernel left in its last buffer.
    fn left(&mut self) -> Result<Vec<u8>> {
        let last = *self.launch.buffers.last().context("a kernel without buffers")?;
        let mut left = vec![0; last.size as usize];
        self.context.read_buffer(last.id, 0, &mut left)?;
        Ok(left)
    }

    fn median(&self) -> f64 {
        summarize(&self.runs).map_or(f64::NAN, |summary| summary.median)
    }
}

/// One kernel on all devices: a row for each.
fn rows_of(devices: &[Arc<dyn Device>], case: &Case) -> Result<Vec<Vec<Cell>>> {
    eprintln!("{} ...", case.kernel);
    let mut forms = Vec::new();
    for device in devices {
        for build in BUILDS {
            forms.push(Form::new(device, case, build)?);
        }
    }
    require_same(case, &mut forms)?;
    for _ in 0..LAUNCHES {
        for form in &mut forms {
            let time = form.run()?;
            form.runs.push(time);
        }
    }
    require_same(case, &mut forms)?;
    let row = |(device, forms): (&Arc<dyn Device>, &[Form])| {
        let [scalar, simd] = forms else { unreachable!("a form for each build") };
        let quotients: Vec<f64> = scalar.runs.iter().zip(&simd.runs).map(|(scalar, simd)| scalar / simd).collect();
        vec![
            Cell::Text(case.kernel.into()),
            Cell::Text(case.size.clone()),
            Cell::Text(device.info().name.clone()),
            Cell::Seconds(scalar.first),
            Cell::Seconds(simd.first),
            Cell::Seconds(scalar.median()),
            Cell::Seconds(simd.median()),
            summarize(&quotients).map_or(Cell::Nothing, |summary| Cell::Ratio(summary.median)),
        ]
    };
    Ok(devices.iter().zip(forms.chunks_exact(BUILDS.len())).map(row).collect())
}

/// All have been launched as often as each other, so all buffers are equal.
fn require_same(case: &Case, forms: &mut [Form]) -> Result<()> {
    let left = forms.iter_mut().map(Form::left).collect::<Result<Vec<_>>>()?;
    let same = left.iter().all(|bytes| *bytes == left[0]);
    ensure!(same, "`{}` leaves other bytes in one build", case.kernel);
    ensure!(Some(&left[0]) != case.buffers.last().map(|(bytes, _)| bytes), "`{}` changed nothing", case.kernel);
    Ok(())
}
