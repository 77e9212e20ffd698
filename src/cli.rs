//! The command line's grammar.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Sums, products, quotients and roots as the device gives them; contraction allowed.
    Relaxed,
    /// As relaxed, and min and max of NaN or of zeros give either operand.
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
