//! Measures what emulated 64-bit types cost on a GPU that has them: operators one by one, and kernels of guests.
//! See `benches/README.md`.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use wavelift::device::gpu::{Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Access, Context, Device as _, GuestModule, Launch, LaunchTimes};
use wavelift::memory::AddressSpace;
use wavelift::translator::{Emulate, Module, initial_shape, translate};

#[path = "../shared/arguments.rs"]
mod arguments;
mod guests;
#[path = "../shared/instance.rs"]
mod instance;
mod operators;
#[allow(dead_code)]
#[path = "../shared/output.rs"]
mod output;
#[path = "../shared/stats.rs"]
mod stats;

use arguments::Shared;
use instance::{Instance, cpu_seconds, create};
use output::{Cell, Table};
use stats::summarize;

/// Launches of each kernel in each form, after the first.
const LAUNCHES: usize = 9;
/// Where linear memory of a launch ends.
const MEMORY: u64 = 1 << 20;

/// What is computed on smaller integers.
const FORMS: [Emulate; 3] =
    [Emulate { i64: false, f64: false }, Emulate { i64: false, f64: true }, Emulate { i64: true, f64: true }];

#[derive(Parser)]
#[command(about = "Measures emulated 64-bit types; see benches/README.md.")]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
}

/// A kernel and what it is launched with.
pub struct Case {
    pub name: String,
    pub module: Module,
    pub kernel: u32,
    pub iterations: u32,
    /// Contents of its buffers; the last is what it writes.
    pub buffers: Vec<Vec<u8>>,
    /// Linear memory at the launch.
    pub memory: Vec<u8>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse().shared;
    let adapter = arguments.adapter()?.context("This machine has no GPU driver.")?;
    let mut text = format!("# Emulated 64-bit types, measured\n\n- GPU: {}\n", describe(&adapter));
    let note = "`words`: size of the kernel's SPIR-V. `compile`: the driver's compiler, at the first launch. `run`: the process's \
                CPU time of a launch, the median. The columns behind each are those of the forms that emulate `f64` on 64-bit \
                integers, and both types on words: words, times, and for `run` the ratio to the native form's, the median of \
                launches in turns. All forms leave equal bytes.";
    for (title, cases) in [("Operators", operators::cases()?), ("Kernels of guests", guests::cases()?)] {
        let wanted = |case: &Case| arguments.wants(&case.name);
        let rows = cases.into_iter().filter(wanted).map(|case| row(&adapter, case)).collect::<Result<_>>()?;
        let columns = vec![
            "kernel",
            "words",
            "f64",
            "i64 and f64",
            "compile",
            "f64 ",
            "i64 and f64 ",
            "run",
            "f64  ",
            "i64 and f64  ",
        ];
        let table = Table { title: title.into(), note: note.into(), columns, rows };
        text += &format!("\n{}", table.markdown());
    }
    arguments.publish(&text)
}

fn describe(adapter: &Adapter) -> String {
    let info = adapter.info();
    format!("{}, {}, {}", info.name, info.backend, info.driver)
}

/// A form of a kernel, ready to be launched.
struct Form {
    context: Box<dyn Context>,
    launch: Launch,
    words: usize,
    compile: f64,
    runs: Vec<f64>,
}

impl Form {
    fn new(adapter: &Adapter, case: &Case, module: &Arc<GuestModule>, emulate: Emulate) -> Result<Form> {
        let device = GpuDevice::open(adapter, &GpuOptions { emulate, ..GpuOptions::default() })?;
        let (function, iterations) = (case.kernel, case.iterations);
        let shape = initial_shape(&module.wasm, function, device.options());
        let words = translate(&module.wasm, function, &shape, device.options())?.words.len();
        let space = AddressSpace::detached()?;
        let mut context = device.new_context(space.clone())?;
        let buffers: Vec<_> = case.buffers.iter().map(|bytes| (bytes.as_slice(), Access::ReadWrite)).collect();
        let buffers = create(&mut *context, &space, MEMORY, &buffers)?;
        let launch = Launch { module: module.clone(), function, iterations, block_size: 1, buffers };
        Ok(Form { context, launch, words, compile: 0.0, runs: Vec::new() })
    }

    fn launch(&mut self, case: &Case) -> Result<LaunchTimes> {
        let mut caller = Instance { memory: case.memory.clone(), module: self.launch.module.clone() };
        Ok(self.context.launch(&self.launch, &mut caller)?)
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

/// One kernel in all forms, which take turns.
fn row(adapter: &Adapter, mut case: Case) -> Result<Vec<Cell>> {
    eprintln!("{} ...", case.name);
    let empty = Module::parse(wat::parse_str("(module)")?)?;
    let module = Arc::new(GuestModule { id: 1, wasm: std::mem::replace(&mut case.module, empty) });
    let mut forms = Vec::new();
    for emulate in FORMS {
        let mut form = Form::new(adapter, &case, &module, emulate)?;
        form.compile = form.launch(&case)?.compile.as_secs_f64();
        forms.push(form);
    }
    let first = forms[0].left()?;
    for form in &mut forms {
        ensure!(form.left()? == first, "`{}` leaves other bytes where it is emulated", case.name);
    }
    for _ in 0..LAUNCHES {
        for form in &mut forms {
            let before = cpu_seconds()?;
            form.launch(&case)?;
            form.runs.push(cpu_seconds()? - before);
        }
    }
    let ratio = |index: usize| {
        let quotients: Vec<f64> =
            forms[index].runs.iter().zip(&forms[0].runs).map(|(run, native)| run / native).collect();
        summarize(&quotients).map_or(Cell::Nothing, |summary| Cell::Ratio(summary.median))
    };
    let mut cells = vec![Cell::Text(case.name)];
    cells.extend(forms.iter().map(|form| Cell::Count(form.words as u64)));
    cells.extend(forms.iter().map(|form| Cell::Seconds(form.compile)));
    cells.extend([Cell::Seconds(forms[0].median()), ratio(1), ratio(2)]);
    Ok(cells)
}
