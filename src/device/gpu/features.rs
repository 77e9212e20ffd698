//! What the translator may rely on: a device's types, float controls and exact operations.

use wavelift_translator::{Features, Profile};

use crate::device::gpu::adapter::{self, Adapter};
use crate::device::gpu::connection::Connection;
use crate::device::gpu::import;
use crate::device::gpu::probe::Findings;

/// The features of an open device for shaders of this profile, whose floats were found to do this.
pub(crate) fn of(adapter: &Adapter, connection: &Connection, profile: Profile, found: Findings) -> Features {
    // naga rejects SPIR-V that declares float controls.
    let controls = match profile {
        Profile::Vulkan => vulkan::float_controls(adapter.wgpu()),
        Profile::Portable => FloatControls::default(),
    };
    let float64 = adapter::has_f64(adapter.wgpu());
    Features {
        int64: connection.has(wgpu::Features::SHADER_INT64),
        int64_atomics: profile == Profile::Vulkan && adapter::has_64_bit_atomics(adapter.wgpu()),
        float64,
        moves_loads: adapter.moves_loads(),
        quadratic_arrays: adapter.is_lavapipe(),
        unrolls_accesses: adapter.is_lavapipe(),
        uniform_data: if connection.software { uniform_bytes(connection) } else { 0 },
        storage8: profile == Profile::Vulkan && connection.storage8,
        storage16: profile == Profile::Vulkan && connection.has(wgpu::Features::SHADER_I16),
        preserve_f32: controls.preserve_f32,
        preserve_f64: controls.preserve_f64 && float64,
        denorm_preserve_f32: controls.denorm_f32,
        denorm_preserve_f64: controls.denorm_f64 && float64,
        rounding_rte_f32: controls.rte_f32,
        rounding_rte_f64: controls.rte_f64 && float64,
        subnormals_f32: found.f32.subnormals,
        subnormals_f64: found.f64.subnormals && float64,
        compares_subnormals_f32: found.comparisons,
        compares_subnormals_f64: found.wide_comparisons && float64,
        converts_subnormals: found.float_conversions && float64,
        exact_arithmetic_f32: found.f32.arithmetic,
        exact_arithmetic_f64: found.f64.arithmetic && float64,
        exact_conversions_f32: found.conversions,
        exact_conversions_i64: found.wide_conversions,
        close_f32: found.f32.close,
        close_f64: found.f64.close && float64,
        exact_div_f32: found.f32.division,
        exact_sqrt_f32: found.f32.square_root,
        exact_div_f64: found.f64.division && float64,
        exact_sqrt_f64: found.f64.square_root && float64,
    }
}

/// Most bytes of a uniform buffer.
fn uniform_bytes(connection: &Connection) -> u32 {
    u32::try_from(connection.device.limits().max_uniform_buffer_binding_size).unwrap_or(u32::MAX)
}

/// Whether kernels could load and store bytes in buffers.
pub(crate) fn has_8bit_storage(adapter: &wgpu::Adapter) -> bool {
    vulkan::has_8bit_storage(adapter)
}

/// An open device and its queue.
pub(crate) type Opened = Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError>;

/// What wgpu never asks for by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct More {
    /// 8-bit storage.
    pub storage8: bool,
    /// Buffers may be made over the host's memory, at multiples of this.
    pub imports: Option<u32>,
}

/// Opens a device with what is to be had of [`More`]; `None` if that is nothing.
pub(crate) fn open_with_more(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<(Opened, More)> {
    let more = More { storage8: has_8bit_storage(adapter), imports: import::alignment(adapter) };
    let any = more.storage8 || more.imports.is_some();
    any.then(|| vulkan::open_with_more(adapter, descriptor, more)).flatten().map(|opened| (opened, more))
}

/// Which execution modes of SPIR-V's float controls may be declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FloatControls {
    preserve_f32: bool,
    preserve_f64: bool,
    denorm_f32: bool,
    denorm_f64: bool,
    rte_f32: bool,
    rte_f64: bool,
}

#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod vulkan {
    use ash::vk;

    use super::FloatControls;

    /// Float controls and 8-bit storage are part of Vulkan 1.2; before it they are extensions that wgpu leaves off.
    const NEEDED: u32 = vk::API_VERSION_1_2;

    /// Runs `query` on the physical device behind the adapter; `None` if it is not a Vulkan 1.2 one.
    fn with_device<T>(
        adapter: &wgpu::Adapter,
        query: impl FnOnce(&ash::Instance, vk::PhysicalDevice) -> T,
    ) -> Option<T> {
        // SAFETY: the guard only lends the handles, and what follows only reads properties through them; nothing is
        // destroyed.
        let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
        let instance = hal.shared_instance();
        let device_version = hal.physical_device_capabilities().properties().api_version;
        if instance.instance_api_version() < NEEDED || device_version < NEEDED {
            return None;
        }
        Some(query(instance.raw_instance(), hal.raw_physical_device()))
    }

    pub fn float_controls(adapter: &wgpu::Adapter) -> FloatControls {
        with_device(adapter, |instance, device| {
            let mut controls = vk::PhysicalDeviceFloatControlsProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut controls);
            // SAFETY: instance and device live as long as the adapter, both are of version 1.2 or newer, which has
            // this function and this structure, and the chain outlives the call.
            unsafe { instance.get_physical_device_properties2(device, &mut properties) };
            from_properties(&controls)
        })
        .unwrap_or_default()
    }

    pub fn has_8bit_storage(adapter: &wgpu::Adapter) -> bool {
        with_device(adapter, |instance, device| {
            let mut storage = vk::PhysicalDevice8BitStorageFeatures::default();
            let mut features = vk::PhysicalDeviceFeatures2::default().push_next(&mut storage);
            // SAFETY: as in `float_controls`.
            unsafe { instance.get_physical_device_features2(device, &mut features) };
            storage.storage_buffer8_bit_access == vk::TRUE
        })
        .unwrap_or(false)
    }

    pub fn open_with_more(
        adapter: &wgpu::Adapter,
        descriptor: &wgpu::DeviceDescriptor<'_>,
        more: super::More,
    ) -> Option<super::Opened> {
        let mut storage = vk::PhysicalDevice8BitStorageFeatures::default().storage_buffer8_bit_access(true);
        // SAFETY: the guard only lends the handle, through which a device is made; nothing is destroyed.
        let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
        let wgpu::DeviceDescriptor { required_features, required_limits, memory_hints, .. } = descriptor;
        let callback: Box<wgpu::hal::vulkan::CreateDeviceCallback<'_>> = Box::new(|args| {
            if more.storage8 {
                *args.create_info = std::mem::take(args.create_info).push_next(&mut storage);
            }
            if more.imports.is_some() {
                args.extensions.push(ash::ext::external_memory_host::NAME);
            }
        });
        // SAFETY: the features are some that the adapter has; the callback adds a feature and an extension that it has as well,
        // which it takes from nothing else: wgpu's own chain holds no structure with 8-bit storage, and wgpu has no use for
        // the host's memory.
        let opened =
            unsafe { hal.open_with_callback(*required_features, required_limits, memory_hints, Some(callback)).ok()? };
        // SAFETY: the device was made from this adapter with these features.
        Some(unsafe { adapter.create_device_from_hal::<wgpu::hal::api::Vulkan>(opened, descriptor) })
    }

    pub(super) fn from_properties(p: &vk::PhysicalDeviceFloatControlsProperties<'_>) -> FloatControls {
        let set = |flag: vk::Bool32| flag == vk::TRUE;
        // Without independence one mode may be declared only if it is declared for all widths alike.
        let pair = |independence, f32_bit, f64_bit| match independence {
            vk::ShaderFloatControlsIndependence::NONE => (set(f32_bit) && set(f64_bit), set(f32_bit) && set(f64_bit)),
            _ => (set(f32_bit), set(f64_bit)),
        };
        let (denorm_f32, denorm_f64) =
            pair(p.denorm_behavior_independence, p.shader_denorm_preserve_float32, p.shader_denorm_preserve_float64);
        let (rte_f32, rte_f64) =
            pair(p.rounding_mode_independence, p.shader_rounding_mode_rte_float32, p.shader_rounding_mode_rte_float64);
        FloatControls {
            preserve_f32: set(p.shader_signed_zero_inf_nan_preserve_float32),
            preserve_f64: set(p.shader_signed_zero_inf_nan_preserve_float64),
            denorm_f32,
            denorm_f64,
            rte_f32,
            rte_f64,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn modes_that_are_not_independent_are_declared_for_both_widths_or_none() {
            let mut properties = vk::PhysicalDeviceFloatControlsProperties::default()
                .rounding_mode_independence(vk::ShaderFloatControlsIndependence::NONE)
                .denorm_behavior_independence(vk::ShaderFloatControlsIndependence::TYPE_32_ONLY)
                .shader_rounding_mode_rte_float32(true)
                .shader_denorm_preserve_float32(true);
            let controls = from_properties(&properties);
            assert!(!controls.rte_f32 && controls.denorm_f32 && !controls.denorm_f64);
            properties.shader_rounding_mode_rte_float64 = vk::TRUE;
            let controls = from_properties(&properties);
            assert!(controls.rte_f32 && controls.rte_f64);
        }
    }
}

#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
mod vulkan {
    use super::FloatControls;

    pub fn float_controls(_adapter: &wgpu::Adapter) -> FloatControls {
        FloatControls::default()
    }

    pub fn has_8bit_storage(_adapter: &wgpu::Adapter) -> bool {
        false
    }

    pub fn open_with_more(
        _adapter: &wgpu::Adapter,
        _descriptor: &wgpu::DeviceDescriptor<'_>,
        _more: super::More,
    ) -> Option<super::Opened> {
        None
    }
}
