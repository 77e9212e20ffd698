//! The command line's grammar.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wavelift::Lanes;

/// Runs data-parallel WebAssembly kernels on GPUs by lifting them to SPIR-V.
#[derive(Debug, Parser)]
#[command(name = "wavelift", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a module; its exit code is the command's.
    Run(RunArguments),
    /// List the GPU adapters and the CPU with what each can do.
    Devices(DevicesArguments),
    /// List a module's kernels: whether each can be lifted, or exactly why not.
    Inspect(InspectArguments),
    /// Lift one kernel and write the result.
    Translate(TranslateArguments),
}

#[derive(Debug, Args)]
pub struct RunArguments {
    /// The module, binary (.wasm) or text (.wat).
    pub module: PathBuf,

    /// Arguments of the guest, or with --invoke of the function.
    #[arg(allow_negative_numbers = true)]
    pub arguments: Vec<String>,

    /// Call this exported function (after `_initialize`, if there is one) and print its results, one a line.
    #[arg(long, value_name = "NAME")]
    pub invoke: Option<String>,

    /// Set an environment variable of the guest.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub environment: Vec<(String, String)>,

    /// Let the guest use a directory, under its own name or another.
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = parse_directory)]
    pub directories: Vec<(PathBuf, String)>,

    /// Where kernels run. `auto`: what the guest asks for, a hardware GPU if there is one, else the CPU.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub device: Device,

    /// Run kernels on this GPU: an index of `wavelift devices`, or a part of a name.
    #[arg(long, value_name = "NAME|INDEX")]
    pub adapter: Option<String>,

    /// Whether the CPU runs neighbouring invocations at once, in the lanes of vectors: `auto` where that is faster, `off`, or as
    /// many as there should be at once: `4`, `8` or `16`.
    #[arg(long, value_name = "auto|off|4|8|16", default_value = "auto")]
    pub lanes: Lanes,

    /// Print where each launch ran, why, and how long it took.
    #[arg(long)]
    pub report: bool,

    /// Wait for each launch before the guest goes on.
    #[arg(long)]
    pub sync: bool,

    /// Run each launch on the CPU too and stop at the first byte that differs.
    #[arg(long)]
    pub verify: bool,

    /// The form of SPIR-V that GPUs get.
    #[arg(long, value_enum, default_value_t = Profile::Vulkan)]
    pub profile: Profile,

    /// How exact floats are on GPUs.
    #[arg(long = "float", value_enum, default_value_t = FloatMode::Strict)]
    pub float_mode: FloatMode,

    /// Compute these types on smaller integers on GPUs, as where there are none; the results are the same.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPE,...")]
    pub emulate: Vec<Wide>,

    /// Whether GPUs get forms of kernels that assume what holds in all sane programs, and check it.
    #[arg(long, value_enum, default_value_t = Speculate::Auto)]
    pub speculate: Speculate,

    /// Whether GPUs run four invocations of a kernel as one, for wider accesses of memory.
    #[arg(long, value_enum, default_value_t = Coarsen::Auto)]
    pub coarsen: Coarsen,

    /// Whether the iterations of loops over blocks of elements become invocations of their own on GPUs.
    #[arg(long, value_enum, default_value_t = Flatten::Auto)]
    pub flatten: Flatten,

    /// Invocations of a workgroup on GPUs. By default chosen for each kernel and size of a launch, and measured where that pays.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub workgroup_size: Option<u32>,

    /// What becomes of calls of C's mathematical library, recognised by name and type or by body: the guest's own code, or
    /// the device's functions. By default the device's with `--float fast` only; never with `--float strict`.
    #[arg(long, value_enum)]
    pub libm: Option<Libm>,

    /// Keep lifted kernels and the GPU driver's pipelines in this folder for later runs. By default what
    /// `WAVELIFT_CACHE_DIR` names, else `wavelift` in the user's cache folder.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "no_cache")]
    pub cache_dir: Option<PathBuf>,

    /// Keep nothing, and use nothing that was kept.
    #[arg(long)]
    pub no_cache: bool,

    #[command(flatten)]
    pub limits: LimitArguments,
}

/// What the guest may use up; see `wavelift::Limits`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Stop the guest after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub time_limit: Option<Duration>,

    /// Most operators in loops that one invocation runs; 0 for any number.
    #[arg(long, value_name = "NUMBER", default_value_t = 1 << 30)]
    pub fuel: u32,

    /// Most bytes of all buffers together; with K, M or G for 2^10, 2^20 or 2^30.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "4G")]
    pub max_device_memory: u64,

    /// Most bytes of linear memory.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "4G")]
    pub max_host_memory: u64,

    /// Most buffers at once.
    #[arg(long, value_name = "NUMBER", default_value_t = wavelift::Limits::default().buffers)]
    pub max_buffers: u32,

    /// Most iterations of one launch.
    #[arg(long, value_name = "NUMBER", default_value_t = wavelift::Limits::default().iterations)]
    pub max_iterations: u32,

    /// Most bytes of code that a kernel can reach.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "16M")]
    pub max_kernel_size: u64,

    /// Most work of lifting one form of a kernel, in steps, of which three to ten million take a second.
    #[arg(long, value_name = "NUMBER", default_value_t = wavelift::Limits::default().lift_work)]
    pub max_lift_work: u64,
}

impl From<&LimitArguments> for wavelift::Limits {
    fn from(arguments: &LimitArguments) -> Self {
        wavelift::Limits {
            time: arguments.time_limit,
            fuel: (arguments.fuel > 0).then_some(arguments.fuel),
            device_memory: arguments.max_device_memory,
            host_memory: arguments.max_host_memory,
            buffers: arguments.max_buffers,
            iterations: arguments.max_iterations,
            kernel_size: arguments.max_kernel_size,
            lift_work: arguments.max_lift_work,
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().map_err(|error| error.to_string())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_string())
}

#[derive(Debug, Args)]
pub struct DevicesArguments {
    /// Run every float operator on each GPU, compare with WebAssembly's results, and print which the GPU rounds exactly
    /// by itself, which are corrected, and which are left to the CPU. Takes seconds.
    #[arg(long)]
    pub conformance: bool,

    /// Only this GPU: an index of `wavelift devices`, or a part of a name.
    #[arg(long, value_name = "NAME|INDEX", requires = "conformance")]
    pub adapter: Option<String>,

    /// The form of SPIR-V that GPUs get.
    #[arg(long, value_enum, default_value_t = Profile::Vulkan, requires = "conformance")]
    pub profile: Profile,
}

#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The module, binary (.wasm) or text (.wat).
    pub module: PathBuf,
}

#[derive(Debug, Args)]
pub struct TranslateArguments {
    /// The module, binary (.wasm) or text (.wat).
    pub module: PathBuf,

    /// The kernel, by name or by index in the function index space.
    #[arg(long, value_name = "NAME|INDEX")]
    pub kernel: String,

    /// What to write.
    #[arg(long, value_enum, default_value_t = Emit::Spirv)]
    pub emit: Emit,

    /// Where to write it; `-` for standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// The form of SPIR-V.
    #[arg(long, value_enum, default_value_t = Profile::Vulkan)]
    pub profile: Profile,

    /// How exact floats are.
    #[arg(long = "float", value_enum, default_value_t = FloatMode::Strict)]
    pub float_mode: FloatMode,

    /// What becomes of calls of C's mathematical library, recognised by name and type or by body: the guest's own code, or
    /// the device's functions. By default the device's with `--float fast` only; never with `--float strict`.
    #[arg(long, value_enum)]
    pub libm: Option<Libm>,

    /// Write the form that assumes what holds in all sane programs, and checks it.
    #[arg(long)]
    pub speculate: bool,

    /// Write the form that keeps each function of some size once that is called from several places.
    #[arg(long)]
    pub shared: bool,

    /// Write the form that runs four invocations as one, where there is one.
    #[arg(long)]
    pub coarsen: bool,

    /// Write the form in which iterations of loops are invocations of their own, where there is one.
    #[arg(long)]
    pub flatten: bool,

    /// Compute these types on smaller integers, as where there are none; the results are the same.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPE,...")]
    pub emulate: Vec<Wide>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Device {
    /// What the guest asks for; a hardware GPU, else the CPU.
    Auto,
    /// The best GPU, a software one included.
    Gpu,
    /// All cores of the CPU.
    Cpu,
    /// One core, invocations in order.
    Sequential,
}

impl From<Device> for wavelift::DeviceChoice {
    fn from(device: Device) -> Self {
        match device {
            Device::Auto => wavelift::DeviceChoice::Auto,
            Device::Gpu => wavelift::DeviceChoice::Gpu,
            Device::Cpu => wavelift::DeviceChoice::Cpu,
            Device::Sequential => wavelift::DeviceChoice::Sequential,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Profile {
    /// For Vulkan drivers, as it is.
    Vulkan,
    /// The subset for Metal, DX12 and WebGPU.
    Portable,
}

impl From<Profile> for wavelift::translator::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Vulkan => wavelift::translator::Profile::Vulkan,
            Profile::Portable => wavelift::translator::Profile::Portable,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FloatMode {
    /// Equal to WebAssembly bit for bit, NaN payloads excepted.
    Strict,
    /// Sums, products, quotients and roots as the device gives them; contraction allowed; the C library's `expf` and `logf`
    /// to one unit in the last place (what is near zero may be zero), unless `--libm guest` is given.
    Relaxed,
    /// As relaxed, and min and max of NaN or of zeros give either operand; calls of C's mathematical library become the
    /// device's own functions.
    Fast,
}

impl From<FloatMode> for wavelift::translator::FloatMode {
    fn from(mode: FloatMode) -> Self {
        match mode {
            FloatMode::Strict => wavelift::translator::FloatMode::Strict,
            FloatMode::Relaxed => wavelift::translator::FloatMode::Relaxed,
            FloatMode::Fast => wavelift::translator::FloatMode::Fast,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Libm {
    /// The guest's own code.
    Guest,
    /// The device's functions.
    Device,
}

impl From<Libm> for wavelift::translator::Libm {
    fn from(libm: Libm) -> Self {
        match libm {
            Libm::Guest => wavelift::translator::Libm::Guest,
            Libm::Device => wavelift::translator::Libm::Device,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Speculate {
    /// Where the exact form is refused or takes long to compile.
    Auto,
    /// Never.
    Never,
    /// Always. For tests.
    Always,
}

impl From<Speculate> for wavelift::translator::Speculate {
    fn from(speculate: Speculate) -> Self {
        match speculate {
            Speculate::Auto => wavelift::translator::Speculate::Auto,
            Speculate::Never => wavelift::translator::Speculate::Never,
            Speculate::Always => wavelift::translator::Speculate::Always,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Coarsen {
    /// Where that saves accesses, in launches of many invocations.
    Auto,
    /// Never.
    Never,
    /// Where it saves accesses, however few invocations there are. For tests.
    Always,
}

impl From<Coarsen> for wavelift::translator::Coarsen {
    fn from(coarsen: Coarsen) -> Self {
        match coarsen {
            Coarsen::Auto => wavelift::translator::Coarsen::Auto,
            Coarsen::Never => wavelift::translator::Coarsen::Never,
            Coarsen::Always => wavelift::translator::Coarsen::Always,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Flatten {
    /// Where that makes invocations of enough iterations.
    Auto,
    /// Never.
    Never,
    /// Wherever it can be done. For tests.
    Always,
}

impl From<Flatten> for wavelift::translator::Flatten {
    fn from(flatten: Flatten) -> Self {
        match flatten {
            Flatten::Auto => wavelift::translator::Flatten::Auto,
            Flatten::Never => wavelift::translator::Flatten::Never,
            Flatten::Always => wavelift::translator::Flatten::Always,
        }
    }
}

/// Refuses what contradicts itself.
///
/// # Errors
/// Strict floats with the device's functions.
pub fn check_libm(float_mode: FloatMode, libm: Option<Libm>) -> anyhow::Result<()> {
    match (float_mode, libm) {
        (FloatMode::Strict, Some(Libm::Device)) => anyhow::bail!(
            "`--libm device` needs `--float relaxed` or `--float fast`: the device's functions are not exact, and strict \
             floats are."
        ),
        _ => Ok(()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wide {
    /// 64-bit integers, and with them 64-bit floats.
    I64,
    /// 64-bit floats.
    F64,
}

/// What is to be emulated.
pub fn emulate(types: &[Wide]) -> wavelift::translator::Emulate {
    wavelift::translator::Emulate { i64: types.contains(&Wide::I64), f64: types.contains(&Wide::F64) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Emit {
    /// A SPIR-V module.
    Spirv,
    /// Its disassembly.
    SpirvAsm,
    /// The translator's intermediate form.
    Ir,
    /// WebGPU's text, of the portable profile.
    Wgsl,
    /// Metal's text, of the portable profile.
    Msl,
    /// DX12's text, of the portable profile.
    Hlsl,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("an environment variable is given as NAME=VALUE".to_string()),
    }
}

fn parse_directory(text: &str) -> Result<(PathBuf, String), String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    match host.is_empty() || guest.is_empty() {
        true => Err("a directory is given as HOST or as HOST::GUEST".to_string()),
        false => Ok((PathBuf::from(host), guest.to_string())),
    }
}
