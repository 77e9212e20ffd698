//! Shader modules: the three ways a shader's text reaches a driver.

use std::borrow::Cow;

use crate::device::DeviceError;
use crate::device::gpu::connection::{Connection, panic_text};

/// Stack of the thread on which naga works: it recurses over expressions, and long ones overflow the usual 2 MiB.
const NAGA_STACK: usize = 64 << 20;

/// A module of SPIR-V that the driver gets as it is. The entry point is `main`.
///
/// # Safety
/// `words` must be valid SPIR-V for the device, and keep within its bindings by its own checks.
pub(crate) unsafe fn passthrough(connection: &Connection, words: &[u32], workgroup_size: u32) -> wgpu::ShaderModule {
    let entry =
        wgpu::PassthroughShaderEntryPoint { name: Cow::Borrowed("main"), workgroup_size: (workgroup_size, 1, 1) };
    let descriptor = wgpu::ShaderModuleDescriptorPassthrough {
        label: None,
        spirv: Some(Cow::Borrowed(words)),
        entry_points: Cow::Owned(vec![entry]),
        ..Default::default()
    };
    // SAFETY: the caller vouches for the words.
    unsafe { connection.device.create_shader_module_passthrough(descriptor) }
}

/// A module of SPIR-V that naga reads, checks and writes in the driver's language, without checks of its own.
///
/// # Safety
/// The shader must keep within its bindings, and end its loops, by its own checks; naga validates all else.
pub(crate) unsafe fn portable(connection: &Connection, words: &[u32]) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::SpirV(Cow::Borrowed(words));
    let descriptor = wgpu::ShaderModuleDescriptor { label: None, source };
    // SAFETY: the caller vouches for the shader's own checks.
    unsafe { connection.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

/// A module of WGSL, with the checks that wgpu puts into every shader.
pub(crate) fn wgsl(connection: &Connection, source: &str) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(Cow::Borrowed(source));
    connection.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source })
}

/// The same without those checks.
///
/// # Safety
/// The shader must keep within its bindings and end its loops for every input it will get.
pub(crate) unsafe fn wgsl_unchecked(connection: &Connection, source: &str) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(Cow::Borrowed(source));
    let descriptor = wgpu::ShaderModuleDescriptor { label: None, source };
    // SAFETY: the caller vouches for the shader.
    unsafe { connection.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

/// Runs calls that make naga work on a thread with a large stack, where its panics end too.
pub(crate) fn on_large_stack<T: Send>(
    connection: &Connection,
    calls: impl FnOnce() -> Result<T, DeviceError> + Send,
) -> Result<T, DeviceError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wavelift-naga".into()).stack_size(NAGA_STACK);
        let running = thread.spawn_scoped(scope, || connection.guarded(0, calls));
        let running = running.map_err(|error| connection.failed(format!("A thread can't be started: {error}.")))?;
        running.join().unwrap_or_else(|panic| Err(connection.failed(panic_text(&*panic))))
    })
}
