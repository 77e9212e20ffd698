//! The benchmark suite: kernels as Wasm guests on every device, against hand-written shaders and native code.
//! See `benches/README.md`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use wavelift::device::gpu::Adapter;
use wavelift::translator::{FloatMode, Profile};

#[path = "../shared/arguments.rs"]
mod arguments;
mod check;
mod cold;
mod engines;
mod facts;
mod guests;
#[path = "../shared/instance.rs"]
mod instance;
mod kernels;
mod measure;
#[path = "../shared/output.rs"]
mod output;
mod record;
mod report;
mod results;
mod roofline;
mod run;
#[path = "../shared/stats.rs"]
mod stats;
mod svg;

use arguments::Shared;
use kernels::Size;
use measure::Clock;
use results::Results;

#[derive(Parser)]
#[command(about = "Measures the kernels of the suite; see benches/README.md.")]
pub struct Arguments {
    #[command(flatten)]
    shared: Shared,
    /// What to measure.
    #[arg(long, value_enum, default_value_t = Part::All)]
    device: Part,
    /// One float mode only; by default strict and relaxed, and fast for kernels with mathematical functions.
    #[arg(long, value_enum)]
    float: Option<Float>,
    /// How large the data are.
    #[arg(long, value_enum, default_value_t = Size::Medium)]
    size: Size,
    /// What takes the time of rounds.
    #[arg(long, value_enum, default_value_t = Clock::Device)]
    clock: Clock,
    /// Leave out cold starts, whole guests, or both.
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Skip>,
    /// Write all numbers as JSON, times in seconds.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the charts: ratios.svg, roofline.svg.
    #[arg(long, value_name = "FOLDER")]
    svg: Option<PathBuf>,
    /// Measure lifted kernels without fuel, and those that need nothing but their buffers without checks of bounds, too.
    #[arg(long)]
    safety: bool,
    /// Measure this edited form of a lifted kernel, too (SPIR-V of the same bindings; it is trusted). With a FILTER.
    #[arg(long, value_name = "FILE.spv", requires = "filter")]
    edited: Vec<PathBuf>,
    /// Measure nothing: report runs that were kept, of several the latest times of each kernel.
    #[arg(long, value_name = "OLD.json")]
    from: Vec<PathBuf>,
    /// Say what is faster or slower than in a run that was kept.
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// What is measured, where git is not there to tell.
    #[arg(long)]
    revision: Option<String>,
    /// Start one kernel cold and print how long that took.
    #[arg(long, hide = true, value_name = "KERNEL")]
    cold: Option<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    All,
    Gpu,
    Cpu,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Float {
    Strict,
    Relaxed,
    Fast,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Skip {
    Cold,
    EndToEnd,
}

impl Arguments {
    /// Float modes of a kernel.
    fn floats(&self, mathematics: bool) -> Vec<FloatMode> {
        match self.float {
            None if mathematics => vec![FloatMode::Strict, FloatMode::Relaxed, FloatMode::Fast],
            None => vec![FloatMode::Strict, FloatMode::Relaxed],
            Some(Float::Strict) => vec![FloatMode::Strict],
            Some(Float::Relaxed) => vec![FloatMode::Relaxed],
            Some(Float::Fast) => vec![FloatMode::Fast],
        }
    }

    fn adapter(&self) -> Result<Option<Adapter>> {
        if self.device == Part::Cpu {
            return Ok(None);
        }
        let found = self.shared.adapter()?.context(
            "This machine has no GPU driver. `source scripts/driver` installs a software one; `--device cpu` measures the CPU only.",
        );
        found.map(Some)
    }

    fn skips(&self, part: Skip) -> bool {
        self.skip.contains(&part) || (part == Skip::Cold && self.size == Size::Small)
    }
}

/// A float mode's name.
pub fn float_name(float: FloatMode) -> &'static str {
    match float {
        FloatMode::Strict => "strict",
        FloatMode::Relaxed => "relaxed",
        FloatMode::Fast => "fast",
    }
}

/// A profile's name.
pub fn profile_name(profile: Profile) -> &'static str {
    if profile == Profile::Vulkan { "vulkan" } else { "portable" }
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(name) = &arguments.cold {
        return cold::child(&arguments, name);
    }
    let mut kernels = kernels::all();
    let shared = &arguments.shared;
    kernels.retain(|kernel| shared.wants(kernel.name));
    ensure!(!kernels.is_empty(), "No kernel's name contains `{}`.", shared.filter.as_deref().unwrap_or_default());
    let old = arguments.compare.as_deref().map(Results::read).transpose()?;
    let kept = arguments.from.iter().map(|path| Results::read(path)).collect::<Result<Vec<_>>>()?;
    let results = match kept.into_iter().reduce(Results::joined) {
        Some(results) => results,
        None => run::run(&arguments, &kernels)?,
    };
    let text = report::markdown(&results, old.as_ref());
    arguments.shared.publish(&text)?;
    let write = |path: &Option<PathBuf>, text: &str| match path {
        Some(path) => std::fs::write(path, text).with_context(|| format!("`{}` can't be written", path.display())),
        None => Ok(()),
    };
    write(&arguments.json, &results.json()?)?;
    if let Some(folder) = &arguments.svg {
        std::fs::create_dir_all(folder).with_context(|| format!("`{}` can't be made", folder.display()))?;
        for (name, chart) in [("ratios.svg", svg::ratios(&results)), ("roofline.svg", svg::roofline(&results))] {
            if let Some(chart) = chart {
                write(&Some(folder.join(name)), &chart)?;
            }
        }
    }
    let failed: Vec<&str> = results.kernels.iter().filter(|k| k.failure.is_some()).map(|k| k.kernel.as_str()).collect();
    ensure!(failed.is_empty(), "These kernels failed: {}.", failed.join(", "));
    Ok(())
}
