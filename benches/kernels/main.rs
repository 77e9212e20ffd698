//! Measures kernels: lifted against hand-written on a GPU, the CPU device against one core and native code.
//! See `benches/README.md`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use wavelift::device::gpu::{self as devices, Adapter, GpuDevice, GpuOptions};
use wavelift::translator::{FloatMode, Profile};

mod cases;
mod costs;
mod cpu;
mod gpu;
#[path = "../shared/instance.rs"]
mod instance;
mod mathematics;
mod modes;
mod output;
mod safety;
mod stats;

use cases::{Case, root};

#[derive(Parser)]
#[command(about = "Measures kernels; see benches/README.md.")]
struct Arguments {
    /// Only kernels whose name contains this.
    filter: Option<String>,
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Part::All)]
    device: Part,
    /// A GPU by index or a part of its name; by default the best one.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// One float mode only.
    #[arg(long, value_enum)]
    float: Option<Float>,
    /// The form of SPIR-V.
    #[arg(long, value_enum, default_value_t = Form::Vulkan)]
    profile: Form,
    /// Write the tables as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the numbers as JSON, times in seconds.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What takes the time of launches on a GPU.
    #[arg(long, value_enum, default_value_t = gpu::Clock::Device)]
    clock: gpu::Clock,
    /// Measure this edited form of a lifted kernel, too (SPIR-V of the same bindings; it is trusted). With a FILTER.
    #[arg(long, value_name = "FILE", requires = "filter")]
    edited: Vec<PathBuf>,
    /// Compile one kernel and its shader and print how long each took.
    #[arg(long = "cold-compilation", hide = true, value_name = "KERNEL")]
    cold: Option<String>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    All,
    Gpu,
    Cpu,
    /// What fuel and bounds checks cost, on the GPU and on the CPU device.
    Safety,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Float {
    Strict,
    Relaxed,
    Fast,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Form {
    Vulkan,
    Portable,
}

impl Arguments {
    fn floats(&self) -> Vec<FloatMode> {
        match self.float {
            None => vec![FloatMode::Strict, FloatMode::Relaxed],
            Some(Float::Strict) => vec![FloatMode::Strict],
            Some(Float::Relaxed) => vec![FloatMode::Relaxed],
            Some(Float::Fast) => vec![FloatMode::Fast],
        }
    }

    /// Those of kernels that call mathematical functions, for which all three differ much.
    fn float_modes(&self) -> Vec<FloatMode> {
        match self.float {
            None => vec![FloatMode::Strict, FloatMode::Relaxed, FloatMode::Fast],
            Some(_) => self.floats(),
        }
    }

    fn adapter(&self) -> Result<Adapter> {
        match &self.adapter {
            Some(name) => Ok(devices::find(name)?),
            None => devices::adapters().into_iter().next().context(
                "This machine has no GPU driver. `source scripts/driver` installs a software one; `--device cpu` \
                 measures the CPU only.",
            ),
        }
    }

    /// Those of the cases that the filter wants.
    fn wanted(&self, mut cases: Vec<Case>) -> Vec<Case> {
        cases.retain(|case| self.filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str())));
        cases
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let profile = if arguments.profile == Form::Vulkan { Profile::Vulkan } else { Profile::Portable };
    if let Some(name) = &arguments.cold {
        let case = cases::twins().into_iter().find(|case| case.name == name).context("no such kernel")?;
        return costs::compile_cold(&arguments.adapter()?, profile, &case, arguments.floats()[0]);
    }
    let (cases, guests) = (arguments.wanted(cases::twins()), arguments.wanted(cases::guests()));
    let callers = arguments.wanted(cases::mathematics());
    ensure!(
        !guests.is_empty() || !callers.is_empty(),
        "No kernel's name contains `{}`.",
        arguments.filter.as_deref().unwrap_or_default()
    );
    let mut facts = vec![("date", date()), ("revision", revision()), ("processor", processor())];
    let mut tables = Vec::new();
    if matches!(arguments.device, Part::All | Part::Gpu) {
        let adapter = arguments.adapter()?;
        let device = GpuDevice::open(&adapter, &GpuOptions { profile, ..GpuOptions::default() })?;
        let info = adapter.info();
        facts.push(("GPU", format!("{}, {}, {}", info.name, info.backend, info.driver)));
        facts.push(("profile", format!("{:?}", device.options().profile).to_lowercase()));
        let floats = arguments.floats();
        let plan = gpu::Plan { floats: floats.clone(), edited: arguments.edited.clone(), clock: arguments.clock };
        tables.push(gpu::measure(&device, &cases, &plan)?);
        if !plan.edited.is_empty() {
            println!("{}", tables[0].markdown());
            return Ok(());
        }
        if arguments.float.is_none() {
            tables.push(modes::measure(&adapter, &guests, arguments.clock)?);
        }
        if !callers.is_empty() {
            tables.push(mathematics::measure(&adapter, profile, &callers, arguments.float_modes(), arguments.clock)?);
        }
        tables.push(costs::lifting(&device, &adapter, &cases, floats[0])?);
        tables.push(costs::empty_launches(&device)?);
    }
    if matches!(arguments.device, Part::All | Part::Cpu) {
        tables.push(cpu::measure(&cases)?);
    }
    if arguments.device == Part::Safety {
        let adapter = arguments.adapter()?;
        let info = adapter.info();
        facts.push(("GPU", format!("{}, {}, {}", info.name, info.backend, info.driver)));
        tables.push(safety::measure_gpu(&adapter, profile, &guests, arguments.clock)?);
        tables.push(safety::measure_cpu(&guests)?);
    }
    // A filter may leave nothing of a part.
    tables.retain(|table| !table.rows.is_empty());
    facts.push(("load at the end (1, 5, 15 minutes)", load()));
    let mut text = String::from("# Kernels, measured\n\n");
    text.extend(facts.iter().map(|(name, value)| format!("- {name}: {value}\n")));
    text.extend(tables.iter().map(|table| format!("\n{}", table.markdown())));
    println!("{text}");
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, &text).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    if let Some(path) = &arguments.json {
        let json = output::json(&facts, &tables);
        std::fs::write(path, json).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    Ok(())
}

/// What a program prints; "unknown" where it does not run.
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).current_dir(root()).output();
    let text = output.ok().map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".into())
}

fn date() -> String {
    printed("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

fn revision() -> String {
    printed("git", &["describe", "--always", "--dirty"])
}

/// The processor's name and number of threads.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads", name.unwrap_or("unknown"))
}

/// Runnable processes: what else the machine did.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let three: Vec<&str> = text.split(' ').take(3).collect();
    if three.is_empty() { "unknown".into() } else { three.join(", ") }
}
