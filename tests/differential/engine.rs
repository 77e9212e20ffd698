//! What runs kernels: each engine takes a program and runs launches of it.

use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use wavelift::device::gpu::{self, Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Access, Device, cpu};
use wavelift_translator::{Coarsen, Emulate, Flatten, Options, Profile};

use crate::case::{Case, End, Program};
use crate::interpreter::{Form, Interpreter};
use crate::on_devices::OnDevice;
use crate::oracle;

/// A program made ready on an engine.
pub trait Session {
    /// Runs one launch on buffers with these bytes.
    ///
    /// # Errors
    /// What failed, where the engine itself is at fault.
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String>;
}

/// What is compared with plain Wasmtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter, on the functions as lifted.
    Lifted,
    /// The interpreter, on what the backend gets.
    Strict,
    /// One CPU worker.
    Sequential,
    /// Three CPU workers.
    Cpu,
    /// The GPU, SPIR-V as it is.
    Vulkan,
    /// The same as if it stored nothing narrower than words.
    Words,
    /// The GPU, through naga.
    Portable,
    /// The interpreter, on what the backend gets where 64-bit types are emulated.
    StrictEmulated,
    /// [`Engine::Vulkan`] with both 64-bit types emulated.
    Emulated,
    /// [`Engine::Portable`] with both 64-bit types emulated.
    PortableEmulated,
    /// [`Engine::Portable`] with 64-bit floats emulated on its 64-bit integers.
    PortableFloats,
}

/// Both 64-bit types.
pub const BOTH: Emulate = Emulate { i64: true, f64: true };
/// The floats alone.
const FLOATS: Emulate = Emulate { i64: false, f64: true };

impl Engine {
    /// All but [`Engine::Words`], which is for suites with narrow stores.
    pub const ALL: [Engine; 6] =
        [Engine::Lifted, Engine::Strict, Engine::Sequential, Engine::Cpu, Engine::Vulkan, Engine::Portable];

    /// Those that emulate, for suites with 64-bit types.
    pub const EMULATING: [Engine; 4] =
        [Engine::StrictEmulated, Engine::Emulated, Engine::PortableEmulated, Engine::PortableFloats];

    pub fn name(self) -> &'static str {
        match self {
            Engine::Lifted => "interpreter",
            Engine::Strict => "interpreter_strict_form",
            Engine::Sequential => "sequential",
            Engine::Cpu => "cpu",
            Engine::Vulkan => "gpu_vulkan",
            Engine::Words => "gpu_vulkan_words",
            Engine::Portable => "gpu_portable",
            Engine::StrictEmulated => "interpreter_emulated",
            Engine::Emulated => "gpu_vulkan_emulated",
            Engine::PortableEmulated => "gpu_portable_emulated",
            Engine::PortableFloats => "gpu_portable_emulated_floats",
        }
    }

    pub fn is_gpu(self) -> bool {
        use Engine::*;
        matches!(self, Vulkan | Words | Portable | Emulated | PortableEmulated | PortableFloats)
    }

    /// Whether its kernels may have 64-bit atomics.
    pub fn has_wide_atomics(self) -> Result<bool, String> {
        match self {
            Engine::Vulkan | Engine::Words => Ok(gpu_device(Profile::Vulkan)?.options().features.int64_atomics),
            other => Ok(!other.is_gpu()),
        }
    }

    /// Why it is not on this machine.
    pub fn missing(self) -> Option<String> {
        if !self.is_gpu() || adapter().is_some() {
            return None;
        }
        Some("this machine has no GPU driver; install Mesa 25 or newer for its software one".into())
    }

    /// Whether a case is for this engine.
    pub fn takes(self, case: &Case) -> bool {
        match self {
            Engine::Sequential | Engine::Cpu => !case.exact_bounds,
            // The stages are made for buffers that may be written, and only for what can be lifted.
            Engine::Strict | Engine::StrictEmulated => {
                let writable = case.program.buffers.iter().all(|b| b.access == Access::ReadWrite);
                writable && case.program.refused.is_none()
            }
            _ => true,
        }
    }

    /// Makes a program ready.
    pub fn open(self, program: &Program) -> Result<Box<dyn Session>, String> {
        Ok(match self {
            Engine::Lifted => Box::new(Interpreter::new(program, Form::Lifted)?),
            Engine::Strict => Box::new(Interpreter::new(program, Form::Strict)?),
            Engine::StrictEmulated => Box::new(Interpreter::emulating(program, BOTH)?),
            Engine::Sequential | Engine::Cpu => Box::new(OnDevice::new(&cpu_device(self), program)?),
            Engine::Vulkan => Box::new(OnDevice::new(gpu_device(Profile::Vulkan)?, program)?),
            Engine::Words => Box::new(OnDevice::new(gpu_device_of_words()?, program)?),
            Engine::Portable => Box::new(OnDevice::new(gpu_device(Profile::Portable)?, program)?),
            Engine::Emulated => Box::new(OnDevice::new(emulating_device(Profile::Vulkan, BOTH)?, program)?),
            Engine::PortableEmulated => Box::new(OnDevice::new(emulating_device(Profile::Portable, BOTH)?, program)?),
            Engine::PortableFloats => Box::new(OnDevice::new(emulating_device(Profile::Portable, FLOATS)?, program)?),
        })
    }
}

fn cpu_device(engine: Engine) -> Arc<dyn Device> {
    static ALL: OnceLock<Arc<dyn Device>> = OnceLock::new();
    static ONE: OnceLock<Arc<dyn Device>> = OnceLock::new();
    match engine {
        Engine::Sequential => ONE.get_or_init(cpu::sequential).clone(),
        _ => ALL.get_or_init(|| cpu::open(&in_groups(3))).clone(),
    }
}

/// Invocations run in groups wherever they can; the sequential device runs them one by one.
fn in_groups(threads: usize) -> cpu::CpuOptions {
    cpu::CpuOptions { threads: Some(threads), lanes: wavelift::Lanes::Of(4), ..cpu::CpuOptions::default() }
}

/// The best adapter of this machine.
pub fn adapter() -> Option<&'static Adapter> {
    static ADAPTER: OnceLock<Option<Adapter>> = OnceLock::new();
    ADAPTER.get_or_init(|| gpu::adapters().into_iter().next()).as_ref()
}

/// The GPU, opened once for a profile.
pub fn gpu_device(profile: Profile) -> Result<&'static GpuDevice, String> {
    static DEVICES: [OnceLock<Result<GpuDevice, String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let open = || {
        let adapter = adapter().ok_or("there is no adapter")?;
        // Four invocations at once in one of the two, and rounds of loops as invocations.
        let (coarsen, flatten) = match profile {
            Profile::Portable => (Coarsen::Always, Flatten::Always),
            Profile::Vulkan => (Coarsen::Never, Flatten::Never),
        };
        let device = GpuDevice::open(adapter, &GpuOptions { profile, coarsen, flatten, ..GpuOptions::default() });
        device.map_err(|error| error.to_string())
    };
    DEVICES[usize::from(profile == Profile::Portable)].get_or_init(open).as_ref().map_err(String::clone)
}

/// The GPU for an engine that emulates, opened once.
fn emulating_device(profile: Profile, emulate: Emulate) -> Result<&'static GpuDevice, String> {
    static DEVICES: [OnceLock<Result<GpuDevice, String>>; 3] = [const { OnceLock::new() }; 3];
    let open = || {
        let adapter = adapter().ok_or("there is no adapter")?;
        let options = GpuOptions { profile, emulate, ..GpuOptions::default() };
        let device = GpuDevice::open_changed(adapter, &options, None, |features| features.moves_loads = true);
        device.map_err(|error| error.to_string())
    };
    let number = usize::from(profile == Profile::Portable) + usize::from(emulate == FLOATS);
    DEVICES[number].get_or_init(open).as_ref().map_err(String::clone)
}

/// The GPU for [`Engine::Words`].
fn gpu_device_of_words() -> Result<&'static GpuDevice, String> {
    static DEVICE: OnceLock<Result<GpuDevice, String>> = OnceLock::new();
    let open = || {
        let adapter = adapter().ok_or("there is no adapter")?;
        let options = GpuOptions { coarsen: Coarsen::Always, flatten: Flatten::Always, ..GpuOptions::default() };
        let device = GpuDevice::open_changed(adapter, &options, None, |features| {
            (features.storage8, features.storage16) = (false, false);
            // What NVIDIA's driver needs must be right elsewhere.
            features.moves_loads = true;
        });
        device.map_err(|error| error.to_string())
    };
    DEVICE.get_or_init(open).as_ref().map_err(String::clone)
}

/// How kernels are lifted here in both profiles: for the GPU if there is one, else for one that has everything.
pub fn translator_options() -> [Options; 2] {
    [Profile::Vulkan, Profile::Portable].map(|profile| match gpu_device(profile) {
        Ok(device) => *device.options(),
        Err(_) => Options { profile, ..Options::default() },
    })
}

/// Why `spirv-val` can't be asked.
pub fn spirv_val_missing() -> Option<String> {
    if std::env::var_os(oracle::NO_SPIRV_VAL).is_some() {
        return Some(format!("{} is set", oracle::NO_SPIRV_VAL));
    }
    let found = Command::new("spirv-val").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.err().map(|error| format!("`spirv-val` can't be run: {error}; install it (Debian: spirv-tools)"))
}
