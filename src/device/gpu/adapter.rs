//! Which GPUs this machine has, and whether they can be trusted.

use std::panic::catch_unwind;
use std::sync::OnceLock;

use wavelift_translator::Profile;

use crate::device::gpu::{Transfers, features};
use crate::device::{DeviceError, DeviceInfo, DeviceKind};

/// The oldest lavapipe that runs loops to their end.
const OLDEST_LAVAPIPE: (u32, u32) = (25, 0);

/// Bindings that are no buffers of the launch: the trap record and the arguments.
const OTHER_BINDINGS: u32 = 2;
/// Most buffers that a kernel has parameters for: a function has at most 1,000.
const MOST_BUFFERS: u32 = (1000 - 3) / 2;

/// A GPU of this machine, or a driver that acts as one.
#[derive(Clone, Debug)]
pub struct Adapter {
    wgpu: wgpu::Adapter,
    index: usize,
    info: DeviceInfo,
    refusal: Option<String>,
}

/// No adapter fits the name or number asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("There is no GPU adapter `{asked}` on this machine. {}", present_sentence(.present))]
pub struct NoAdapter {
    /// What was asked for.
    pub asked: String,
    /// The names of the adapters there are, in order of their numbers.
    pub present: Vec<String>,
}

fn present_sentence(present: &[String]) -> String {
    if present.is_empty() {
        return "It has none: install a Vulkan, Metal or DX12 driver, or use the CPU device.".into();
    }
    let names: Vec<String> = present.iter().enumerate().map(|(index, name)| format!("{index} `{name}`")).collect();
    format!("It has: {}.", names.join(", "))
}

/// All adapters of this machine, best first: discrete GPUs, integrated ones, software.
/// Empty where there is no driver. Never panics.
pub fn adapters() -> Vec<Adapter> {
    // A broken driver or loader is reason to go on without a GPU, not to end the host.
    catch_unwind(enumerate).unwrap_or_else(|_| {
        tracing::warn!("the GPU drivers of this machine can't be listed; going on without a GPU");
        Vec::new()
    })
}

/// The adapter with this number in [`adapters`], or the first whose name contains this text (case does not matter).
///
/// # Errors
/// [`NoAdapter`], which names the adapters there are.
pub fn find(name_or_index: &str) -> Result<Adapter, NoAdapter> {
    let all = adapters();
    let lower = name_or_index.to_lowercase();
    let position = match name_or_index.parse::<usize>() {
        Ok(index) => Some(index),
        Err(_) => all.iter().position(|a| !lower.is_empty() && a.info.name.to_lowercase().contains(&lower)),
    };
    position.and_then(|index| all.get(index)).cloned().ok_or_else(|| NoAdapter {
        asked: name_or_index.into(),
        present: all.iter().map(|a| a.info.name.clone()).collect(),
    })
}

fn enumerate() -> Vec<Adapter> {
    // Loading the drivers takes tens of milliseconds: once per process.
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let instance = INSTANCE.get_or_init(|| {
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::all(),
            // Debug builds must measure what release builds do: validation layers only if the environment asks.
            flags: wgpu::InstanceFlags::empty().with_env(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    });
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<Adapter> = found.into_iter().map(Adapter::new).collect();
    adapters.sort_by_key(|a| (kind_rank(a.info.kind), backend_rank(a.wgpu.get_info().backend)));
    for (index, adapter) in adapters.iter_mut().enumerate() {
        adapter.index = index;
    }
    adapters
}

fn kind_rank(kind: DeviceKind) -> u8 {
    match kind {
        DeviceKind::DiscreteGpu => 0,
        DeviceKind::IntegratedGpu => 1,
        DeviceKind::SoftwareGpu | DeviceKind::Cpu | DeviceKind::Sequential => 2,
    }
}

/// One GPU can be reached through two APIs: the one that takes SPIR-V as it is goes first.
fn backend_rank(backend: wgpu::Backend) -> u8 {
    match backend {
        wgpu::Backend::Vulkan => 0,
        wgpu::Backend::Metal => 1,
        wgpu::Backend::Dx12 => 2,
        _ => 3,
    }
}

impl Adapter {
    fn new(adapter: wgpu::Adapter) -> Adapter {
        let info = device_info(&adapter);
        let raw = adapter.get_info();
        let refusal =
            lavapipe_refusal(&raw.name, &raw.driver, &raw.driver_info).or_else(|| immediates_refusal(&adapter));
        Adapter { wgpu: adapter, index: 0, info, refusal }
    }

    /// What it is and can do.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Whether its driver has pipeline caches.
    #[doc(hidden)]
    pub fn keeps_pipelines(&self) -> bool {
        self.wgpu.features().contains(wgpu::Features::PIPELINE_CACHE)
    }

    /// Names the device, its driver and the driver's version, for what is kept on disk.
    pub(crate) fn identity(&self) -> String {
        let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = self.wgpu.get_info();
        format!("{:?}", (backend, vendor, device, name, driver, driver_info))
    }

    /// Its number in [`adapters`].
    pub fn index(&self) -> usize {
        self.index
    }

    /// Why it can't be opened, as a sentence; `None` if it can.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        match &self.refusal {
            Some(message) => Err(DeviceError::Failed { device: self.info.name.clone(), message: message.clone() }),
            None => Ok(()),
        }
    }

    pub(crate) fn wgpu(&self) -> &wgpu::Adapter {
        &self.wgpu
    }

    /// Whether it is a lavapipe new enough to be opened.
    pub(crate) fn is_lavapipe(&self) -> bool {
        is_lavapipe(&self.info.name, &self.wgpu.get_info().driver)
    }

    /// Whether its driver was seen to move loads in front of stores to the same place: NVIDIA's 580.159 for Vulkan does where
    /// a check that stands between them repeats one in front of them.
    pub(crate) fn moves_loads(&self) -> bool {
        let info = self.wgpu.get_info();
        info.backend == wgpu::Backend::Vulkan && info.driver == "NVIDIA"
    }

    /// The profile to lift for: the one asked for, if the driver takes SPIR-V as it is. (Metal and DX12 drivers take
    /// shaders as they are too, but in languages of their own.)
    pub(crate) fn profile(&self, asked: Profile) -> Profile {
        let passthrough = self.wgpu.features().contains(wgpu::Features::PASSTHROUGH_SHADERS);
        if self.wgpu.get_info().backend == wgpu::Backend::Vulkan && passthrough { asked } else { Profile::Portable }
    }

    /// Mapping saves a copy where the host's memory is the device's; elsewhere every kernel would pay for it.
    pub(crate) fn best_transfers(&self) -> Transfers {
        let shares_memory =
            matches!(self.wgpu.get_info().device_type, wgpu::DeviceType::Cpu | wgpu::DeviceType::IntegratedGpu);
        let mappable = self.wgpu.features().contains(wgpu::Features::MAPPABLE_PRIMARY_BUFFERS);
        if shares_memory && mappable { Transfers::Mapped } else { Transfers::Staged }
    }
}

/// Whether kernels may use `f64`. naga's MSL writer panics at it, and its HLSL writer takes the bits of an `f64` for its
/// value without a word, so a driver's support counts on Vulkan only.
pub(crate) fn has_f64(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().backend == wgpu::Backend::Vulkan && adapter.features().contains(wgpu::Features::SHADER_F64)
}

/// Whether kernels can access 64 bits of a buffer atomically: on a second view of it, which only Vulkan drivers take.
pub(crate) fn has_64_bit_atomics(adapter: &wgpu::Adapter) -> bool {
    let atomics = wgpu::Features::SHADER_INT64_ATOMIC_ALL_OPS;
    adapter.get_info().backend == wgpu::Backend::Vulkan && adapter.features().contains(atomics)
}

/// The API's name; says so where nobody has run Wavelift on it so far.
fn backend_name(backend: wgpu::Backend) -> String {
    match backend {
        wgpu::Backend::Vulkan => "Vulkan".into(),
        wgpu::Backend::Dx12 => "DX12 (untested)".into(),
        other => format!("{other:?} (untested)"),
    }
}

fn device_info(adapter: &wgpu::Adapter) -> DeviceInfo {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu,
        wgpu::DeviceType::Cpu => DeviceKind::SoftwareGpu,
        wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => {
            DeviceKind::IntegratedGpu
        }
    };
    let subgroups = features.contains(wgpu::Features::SUBGROUP);
    let bindings = limits.max_storage_buffers_per_shader_stage.min(limits.max_bindings_per_bind_group);
    DeviceInfo {
        name: info.name.clone(),
        kind,
        backend: backend_name(info.backend),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        int64: features.contains(wgpu::Features::SHADER_INT64),
        int64_atomics: has_64_bit_atomics(adapter),
        float64: has_f64(adapter),
        int8: features::has_8bit_storage(adapter),
        int16: features.contains(wgpu::Features::SHADER_I16),
        subgroup: subgroups.then_some((info.subgroup_min_size, info.subgroup_max_size)),
        max_buffer_size: limits.max_buffer_size,
        max_binding_size: limits.max_storage_buffer_binding_size,
        max_workgroup_size: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        max_buffers: bindings.saturating_sub(OTHER_BINDINGS).min(MOST_BUFFERS),
    }
}

fn immediates_refusal(adapter: &wgpu::Adapter) -> Option<String> {
    let missing = !adapter.features().contains(wgpu::Features::IMMEDIATES);
    missing.then(|| {
        "It has no immediates (push constants), by which kernels get their arguments; use another adapter or the CPU \
         device."
            .to_string()
    })
}

fn is_lavapipe(name: &str, driver: &str) -> bool {
    driver == "llvmpipe" || driver == "lavapipe" || name.starts_with("llvmpipe")
}

/// Why this driver is refused; `None` if it is not.
fn lavapipe_refusal(name: &str, driver: &str, driver_info: &str) -> Option<String> {
    if !is_lavapipe(name, driver) || mesa_version(driver_info).is_some_and(|version| version >= OLDEST_LAVAPIPE) {
        return None;
    }
    let version = if driver_info.is_empty() { "of an unknown version" } else { driver_info };
    Some(format!(
        "The software driver lavapipe ({version}) is older than Mesa {}: it silently ends loops after about 65,535 \
         iterations, which gives wrong results. Install Mesa {} or newer, or use the CPU device.",
        OLDEST_LAVAPIPE.0, OLDEST_LAVAPIPE.0
    ))
}

/// The version in a text like `Mesa 25.0.7-2 (LLVM 15.0.6)`.
fn mesa_version(driver_info: &str) -> Option<(u32, u32)> {
    let (_, version) = driver_info.split_once("Mesa ")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let major = numbers.next()?.ok()?;
    Some((major, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesa_versions_are_read() {
        assert_eq!(mesa_version("Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"), Some((25, 0)));
        assert_eq!(mesa_version("Mesa 22.3.6 (LLVM 15.0.6)"), Some((22, 3)));
        assert_eq!(mesa_version("Mesa 26.1.0-devel (git-0123abc)"), Some((26, 1)));
        assert_eq!(mesa_version("Mesa 25"), Some((25, 0)));
        assert_eq!(mesa_version("Mesa devel"), None);
        assert_eq!(mesa_version("570.124.06"), None);
    }

    #[test]
    fn old_and_unknown_lavapipes_are_refused_with_the_reason() {
        let name = "llvmpipe (LLVM 15.0.6, 256 bits)";
        let old = lavapipe_refusal(name, "llvmpipe", "Mesa 22.3.6 (LLVM 15.0.6)").unwrap();
        assert!(old.contains("Mesa 22.3.6") && old.contains("loops") && old.contains("Install Mesa 25"), "{old}");
        assert!(lavapipe_refusal(name, "llvmpipe", "Mesa 24.3.4").is_some());
        assert!(lavapipe_refusal(name, "", "").unwrap().contains("unknown version"));
        assert_eq!(lavapipe_refusal(name, "llvmpipe", "Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"), None);
        assert_eq!(lavapipe_refusal("AMD Radeon RX 6600", "radv", "Mesa 22.3.6"), None);
    }

    #[test]
    fn backends_that_nobody_ran_are_called_untested() {
        assert_eq!(backend_name(wgpu::Backend::Vulkan), "Vulkan");
        assert_eq!(backend_name(wgpu::Backend::Metal), "Metal (untested)");
        assert_eq!(backend_name(wgpu::Backend::Dx12), "DX12 (untested)");
    }

    #[test]
    fn the_error_for_an_unknown_adapter_names_what_there_is() {
        let error = NoAdapter { asked: "x9".into(), present: vec!["A".into(), "B".into()] };
        assert_eq!(error.to_string(), "There is no GPU adapter `x9` on this machine. It has: 0 `A`, 1 `B`.");
        let none = NoAdapter { asked: "0".into(), present: vec![] };
        assert!(none.to_string().contains("It has none"));
    }
}
