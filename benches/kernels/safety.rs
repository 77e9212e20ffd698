//! What it costs that no kernel runs for ever and none leaves its buffers: each guest's kernel as it is launched, without fuel, and
//! without bounds checks.
//!
//! The forms without are for measuring alone. Fuel can be switched off by anybody (`--fuel 0`); checks of bounds can't: the shader
//! without them comes from a function of the translator that is hidden and that nothing which runs guests calls. On the CPU device
//! bounds are the page tables', and cost no instruction that could be left out.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use wavelift::device::cpu::{self, CpuOptions};
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions, Kernel};
use wavelift::device::{Context, Launch};
use wavelift::memory::AddressSpace;
use wavelift::translator::{FloatMode, Profile, testing};

use crate::cases::{Case, GROUP};
use crate::gpu::{self, Bench, Clock, Rounds};
use crate::instance::{Instance, cpu_seconds, create};
use crate::output::{Cell, Table};
use crate::stats::{Summary, summarize};

/// The form that guests get, and those it is compared with.
const AS_LAUNCHED: &str = "as launched";
const NO_FUEL: &str = "no fuel";
const NO_CHECKS: &str = "no bounds checks";
const NEITHER: &str = "neither";

/// Rounds on the CPU device.
const ROUNDS: usize = 15;

/// Measures the cases' shaders in turns.
pub fn measure_gpu(adapter: &Adapter, profile: Profile, cases: &[Case], clock: Clock) -> Result<Table> {
    let options = GpuOptions { profile, ..GpuOptions::default() };
    let device = GpuDevice::open(adapter, &options)?;
    let free = GpuDevice::open(adapter, &GpuOptions { fuel: None, ..options })?;
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: fuel and bounds checks ...", case.name);
        let mut bench = Bench::new(case, clock);
        for (device, checked, unchecked) in [(&device, AS_LAUNCHED, NO_CHECKS), (&free, NO_FUEL, NEITHER)] {
            let context = bench.add_context(device)?;
            bench.add_lifted(checked.into(), context, device, FloatMode::Strict)?;
            bench.add_kernel(unchecked.into(), context, unchecked_kernel(device, case)?);
        }
        let rounds = bench.run().with_context(|| format!("kernel `{}`", case.name))?;
        rows.extend(rows_of(case, &rounds));
    }
    let note = "Resident kernel time of one launch, strict floats, by CLOCK. All forms take turns; outputs are compared before and \
                after. `as launched` is the form that guests get: without those checks that the launch's parameters prove \
                needless. A ratio is the median over all turns of the time as launched divided by this one's: above 1 by what \
                the missing part costs.";
    Ok(table("Fuel and bounds checks, GPU", note.replace("CLOCK", clock.name()), rows))
}

/// The kernel without bounds checks: no guest gets it.
fn unchecked_kernel(device: &GpuDevice, case: &Case) -> Result<Arc<Kernel>> {
    let (module, function) = case.kernel()?;
    let options = gpu::options(device, FloatMode::Strict);
    let shader = testing::translate_unchecked(&module.wasm, function, &case.shape(), &options)?;
    // SAFETY: the words come from the translator, lifted for this device. They stay within the buffers without checks, too: the
    // same kernel ran on the same bytes with them, and did not trap.
    Ok(unsafe { device.prepare(shader) }?)
}

/// Measures the cases on one thread with and without fuel, in turns.
pub fn measure_cpu(cases: &[Case]) -> Result<Table> {
    let forms = [(AS_LAUNCHED, CpuOptions::default().fuel), (NO_FUEL, None)];
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: fuel on the CPU ...", case.name);
        let mut runs = Vec::new();
        for (_, fuel) in forms {
            runs.push(CpuRun::new(case, fuel)?);
        }
        let mut rounds: Rounds = forms.iter().map(|(name, _)| (name.to_string(), Vec::new())).collect();
        for round in 0..ROUNDS + 1 {
            for turn in 0..runs.len() {
                let index = (round + turn) % runs.len();
                let seconds = runs[index].seconds()?;
                // The first one compiles.
                if round > 0 {
                    rounds[index].1.push(seconds);
                }
            }
        }
        ensure!(runs[0].outputs(case)? == runs[1].outputs(case)?, "kernel `{}`: the outputs differ", case.name);
        rows.extend(rows_of(case, &rounds));
    }
    let note = "The process's CPU time of one launch on the sequential device, in turns. Bounds cost nothing there that could be left \
                out: page tables check them.";
    Ok(table("Fuel, CPU", note.into(), rows))
}

/// A case on the sequential device.
struct CpuRun {
    context: Box<dyn Context>,
    launch: Launch,
    caller: Instance,
}

impl CpuRun {
    fn new(case: &Case, fuel: Option<u32>) -> Result<CpuRun> {
        let space = AddressSpace::detached()?;
        let device = cpu::open_sequential(&CpuOptions { fuel, ..CpuOptions::default() });
        let mut context = device.new_context(space.clone())?;
        let buffers: Vec<_> = case.buffers.iter().map(|buffer| (&buffer.bytes[..], buffer.access)).collect();
        let buffers = create(&mut *context, &space, 0, &buffers)?;
        let (module, function) = case.kernel()?;
        let caller = Instance { memory: Vec::new(), module: module.clone() };
        let launch = Launch { module, function, iterations: case.iterations, block_size: GROUP, buffers };
        Ok(CpuRun { context, launch, caller })
    }

    fn seconds(&mut self) -> Result<f64> {
        let before = cpu_seconds()?;
        self.context.launch(&self.launch, &mut self.caller)?;
        Ok(cpu_seconds()? - before)
    }

    fn outputs(&mut self, case: &Case) -> Result<Vec<Vec<u8>>> {
        let buffers = self.launch.buffers.iter().zip(&case.buffers);
        let read = |(spec, buffer): (&wavelift::device::BufferSpec, &crate::cases::Buffer)| {
            let mut bytes = vec![0; buffer.bytes.len()];
            self.context.read_buffer(spec.id, 0, &mut bytes)?;
            Ok(bytes)
        };
        buffers.map(read).collect()
    }
}

fn table(title: &str, note: String, rows: Vec<Vec<Cell>>) -> Table {
    let columns = vec!["kernel", "size", "form", "time", "spread", "runs", "as launched / it"];
    Table { title: title.into(), note, columns, rows }
}

fn rows_of(case: &Case, rounds: &Rounds) -> Vec<Vec<Cell>> {
    let row = |(name, times): &(String, Vec<f64>)| {
        let Summary { median, spread, count } = summarize(times)?;
        let ratio = match name.as_str() {
            AS_LAUNCHED => Cell::Nothing,
            _ => gpu::ratio(rounds, AS_LAUNCHED, times),
        };
        Some(vec![
            Cell::Text(case.name.into()),
            Cell::Text(case.size.clone()),
            Cell::Text(name.clone()),
            Cell::Seconds(median),
            Cell::Share(spread),
            Cell::Count(count as u64),
            ratio,
        ])
    };
    rounds.iter().filter_map(row).collect()
}
