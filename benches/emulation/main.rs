//! Measures what emulated 64-bit types cost on a GPU that has them: operators one by one, and kernels of guests.
//! See `benches/README.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use wavelift::device::gpu::{self, Adapter, GpuDevice, GpuOptions};
use wavelift::device::{
    Access, BufferId, BufferSpec, Caller, Context, Device as _, GlobalValue, GuestModule, Launch, TableEntry,
};
use wavelift::memory::AddressSpace;
use wavelift::translator::module::ConstInit;
use wavelift::translator::{Emulate, Module, Shape, translate};

mod guests;
mod operators;
#[allow(dead_code)]
#[path = "../kernels/output.rs"]
mod output;
#[path = "../kernels/stats.rs"]
mod stats;

use output::{Cell, Table};
use stats::summarize;

/// Launches of each kernel in each form, after the first.
const LAUNCHES: usize = 11;
/// Where linear memory of a launch ends.
const MEMORY: u64 = 1 << 20;

/// What is computed on smaller integers.
const FORMS: [(&str, Emulate); 3] = [
    ("native", Emulate { i64: false, f64: false }),
    ("f64", Emulate { i64: false, f64: true }),
    ("i64 and f64", Emulate { i64: true, f64: true }),
];

#[derive(Parser)]
#[command(about = "Measures emulated 64-bit types; see benches/README.md.")]
struct Arguments {
    /// Only kernels whose name contains this.
    filter: Option<String>,
    /// A GPU by index or a part of its name; by default the best one.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Write the tables as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
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

/// What a form of a kernel costs.
struct Cost {
    words: usize,
    compile: f64,
    run: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let adapter = match &arguments.adapter {
        Some(name) => gpu::find(name)?,
        None => gpu::adapters().into_iter().next().context("This machine has no GPU driver.")?,
    };
    let mut text = format!("# Emulated 64-bit types, measured\n\n- GPU: {}\n", describe(&adapter));
    let note = "`words`: size of the kernel's SPIR-V. `compile`: the driver's compiler, at the first launch. `run`: the \
                middle one of 11 launches; the ratios are to the native form. All forms of a kernel leave equal bytes.";
    for (title, cases) in [("Operators", operators::cases()?), ("Kernels of guests", guests::cases()?)] {
        let wanted = |case: &Case| arguments.filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str()));
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
    println!("{text}");
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, &text).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    Ok(())
}

fn describe(adapter: &Adapter) -> String {
    let info = adapter.info();
    format!("{}, {}, {}", info.name, info.backend, info.driver)
}

/// One kernel in all forms.
fn row(adapter: &Adapter, case: Case) -> Result<Vec<Cell>> {
    eprintln!("{} ...", case.name);
    let (mut costs, mut first): (Vec<Cost>, Option<Vec<u8>>) = (Vec::new(), None);
    let Case { name, module, kernel, iterations, buffers, memory } = case;
    let module = Arc::new(GuestModule { id: 1, wasm: module });
    for (form, emulate) in FORMS {
        let device = GpuDevice::open(adapter, &GpuOptions { emulate, ..GpuOptions::default() })?;
        let shape = Shape::initial(&module.wasm, kernel);
        let words = translate(&module.wasm, kernel, &shape, device.options())?.words.len();
        let mut context = device.new_context(AddressSpace::detached()?)?;
        let specs = create(&mut *context, &buffers)?;
        let launch =
            Launch { module: module.clone(), function: kernel, iterations, block_size: 1, buffers: specs.clone() };
        let mut caller = Instance { memory: memory.clone(), module: module.clone() };
        let compile = context.launch(&launch, &mut caller)?.compile.as_secs_f64();
        let mut runs = Vec::new();
        for _ in 0..LAUNCHES {
            runs.push(context.launch(&launch, &mut caller)?.run.as_secs_f64());
        }
        let last = specs.last().context("a kernel without buffers")?;
        let mut left = vec![0; last.size as usize];
        context.read_buffer(last.id, 0, &mut left)?;
        ensure!(*first.get_or_insert_with(|| left.clone()) == left, "`{name}` leaves other bytes with {form}");
        costs.push(Cost { words, compile, run: summarize(&runs).context("no runs")?.median });
    }
    let ratio = |of: fn(&Cost) -> f64, index: usize| Cell::Ratio(of(&costs[index]) / of(&costs[0]));
    let mut cells = vec![Cell::Text(name)];
    cells.extend(costs.iter().map(|cost| Cell::Count(cost.words as u64)));
    cells.extend(costs.iter().map(|cost| Cell::Seconds(cost.compile)));
    cells.extend([Cell::Seconds(costs[0].run), ratio(|cost| cost.run, 1), ratio(|cost| cost.run, 2)]);
    Ok(cells)
}

fn create(context: &mut dyn Context, buffers: &[Vec<u8>]) -> Result<Vec<BufferSpec>> {
    let mut address = 0xffff_0000u32;
    let mut specs = Vec::new();
    for (id, bytes) in (1..).zip(buffers) {
        let size = bytes.len() as u32;
        address -= size.next_multiple_of(0x1_0000);
        let spec = BufferSpec { id: BufferId(id), address, size, access: Access::ReadWrite };
        context.create_buffer(&spec)?;
        context.write_buffer(spec.id, 0, bytes)?;
        specs.push(spec);
    }
    Ok(specs)
}

/// A new instance of a kernel's module.
struct Instance {
    memory: Vec<u8>,
    module: Arc<GuestModule>,
}

impl Caller for Instance {
    fn memory_size(&mut self) -> u64 {
        self.memory.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.memory[offset as usize..][..out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        self.memory[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        Some(match self.module.wasm.globals().get(index as usize)?.init? {
            ConstInit::I32(value) => GlobalValue::I32(value),
            ConstInit::I64(value) => GlobalValue::I64(value),
            ConstInit::F32(bits) => GlobalValue::F32(bits),
            ConstInit::F64(bits) => GlobalValue::F64(bits),
            ConstInit::V128(bits) => GlobalValue::V128(bits),
        })
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        self.module.wasm.initial_table(index)
    }
}

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
