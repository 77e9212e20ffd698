//! Linear memory bound as it is, without a copy: buffers over the host's own pages, on drivers that run on the CPU.
//!
//! Which launches take it that way: those that are waited for in any case, as the guest must not go on while a kernel sees its
//! memory. One that may have to be undone works on a copy if it may store there. Other devices have memory of their own, or
//! want barriers for the host's sake that wgpu makes only where it maps buffers itself.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wavelift_translator::LINEAR;

use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::{GpuContext, MOST_STAGED};
use crate::device::gpu::linear::{CallerState, Window};
use crate::device::gpu::pipeline::Kernel;
use crate::device::gpu::transfer::GpuBuffer;
use crate::memory::{AddressSpace, Protection, View};

/// Linear memory of one guest on a driver that sees its pages.
pub(super) struct Imported {
    space: Arc<AddressSpace>,
    view: Option<Arc<View>>,
    /// What is bound.
    buffer: Option<(Window, GpuBuffer)>,
    /// The driver would not take the pages.
    refused: bool,
}

impl Imported {
    /// Nothing yet of the linear memory of a space.
    pub fn new(space: Arc<AddressSpace>) -> Imported {
        Imported { space, view: None, buffer: None, refused: false }
    }

    /// The buffer, if it is one of this connection.
    pub fn buffer(&self, connection: &Connection) -> Option<&GpuBuffer> {
        let (_, buffer) = self.buffer.as_ref()?;
        (buffer.generation == connection.generation).then_some(buffer)
    }

    /// A buffer over these bytes, if the driver takes them.
    fn import(&mut self, connection: &Connection, window: Window) -> Option<GpuBuffer> {
        let bytes = u64::from(window.start)..u64::from(window.end);
        let view = match &self.view {
            Some(view) => view.clone(),
            None => self.view.insert(Arc::new(self.space.worker_view().ok()?)).clone(),
        };
        view.protect(bytes.clone(), Protection::ReadWrite).ok()?;
        let imported = connection.guarded(window.size(), || {
            vulkan::buffer(&connection.device, &view, bytes).ok_or_else(|| connection.failed("It takes no pages."))
        });
        Some(GpuBuffer::imported(connection, imported.ok()?, window.size()))
    }
}

impl GpuContext {
    /// What a launch binds of linear memory itself, in place of a copy of the window that it can reach; `None` if it is to be a
    /// copy.
    pub(super) fn imported(
        &mut self,
        connection: &Connection,
        state: &CallerState<'_>,
        kernel: &Kernel,
        (window, stores): (Window, bool),
    ) -> Option<Window> {
        let undone = stores && kernel.assumed().any();
        // Small ones that are only read need not be waited for.
        let waited = stores || window.size() > MOST_STAGED;
        let alignment = connection.imports.filter(|_| waited && !undone && window.size() > 0 && state.is_callers())?;
        let imported = self.imported.as_mut().filter(|imported| !imported.refused && !imported.space.is_detached())?;
        let holds = |whole: &Window| whole.start <= window.start && window.end <= whole.end;
        if let Some((whole, buffer)) = &imported.buffer
            && buffer.generation == connection.generation
            && holds(whole)
        {
            return Some(*whole);
        }
        let most = connection.limits.binding_size.min(connection.limits.buffer_size);
        let whole = to_import(window, state.size(), alignment, most)?;
        let buffer = imported.import(connection, whole);
        imported.refused = buffer.is_none();
        imported.buffer = buffer.map(|buffer| (whole, buffer));
        let taken = imported.buffer.is_some();
        self.shared.imported.fetch_add(taken.into(), Ordering::Relaxed);
        self.forget_bindings();
        taken.then_some(whole)
    }
}

/// All of a memory of `size` bytes, so that nothing has to be imported again; where that is more than `most`, the pages of the
/// window, if they are not.
fn to_import(window: Window, size: u32, alignment: u32, most: u64) -> Option<Window> {
    let pages =
        Window { start: window.start - window.start % alignment, end: window.end.checked_next_multiple_of(alignment)? };
    let all = Window { start: 0, end: size };
    [all, pages].into_iter().find(|window| window.size() <= most && window.end <= size && window.end % alignment == 0)
}

/// Whether a slot of an interface is bound as what is imported.
pub(super) fn is_imported(slot: u32, imported: bool) -> bool {
    imported && slot == LINEAR
}

/// The multiple of bytes at which memory may begin and end that the adapter's driver takes from the host; `None` where it
/// takes none, or is none that runs on the CPU.
pub(super) fn alignment(adapter: &wgpu::Adapter) -> Option<u32> {
    let software = adapter.get_info().device_type == wgpu::DeviceType::Cpu;
    // Wasm's pages are no smaller.
    vulkan::alignment(adapter).filter(|alignment| software && *alignment <= 1 << 16 && alignment.is_power_of_two())
}

#[cfg(all(unix, any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
mod vulkan {
    use super::{Arc, Range, View};
    use ash::vk;

    const HOST: vk::ExternalMemoryHandleTypeFlags = vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;

    pub fn alignment(adapter: &wgpu::Adapter) -> Option<u32> {
        // SAFETY: the guard only lends the handles, through which properties are read; nothing is destroyed.
        let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
        let instance = hal.shared_instance();
        if !hal.physical_device_capabilities().supports_extension(ash::ext::external_memory_host::NAME)
            || instance.instance_api_version() < vk::API_VERSION_1_1
        {
            return None;
        }
        let mut host = vk::PhysicalDeviceExternalMemoryHostPropertiesEXT::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut host);
        // SAFETY: instance and device live as long as the adapter; the former is of version 1.1 or newer, which has this
        // function, the latter has the extension of the structure, and the chain outlives the call.
        unsafe {
            instance.raw_instance().get_physical_device_properties2(hal.raw_physical_device(), &mut properties);
        }
        host.min_imported_host_pointer_alignment.try_into().ok()
    }

    /// A storage buffer over `bytes` of the view, which are shown for loads and stores and begin and end at multiples of the
    /// driver's alignment.
    pub fn buffer(device: &wgpu::Device, view: &Arc<View>, bytes: Range<u64>) -> Option<wgpu::Buffer> {
        let size = bytes.end - bytes.start;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor =
            wgpu::BufferDescriptor { label: Some("linear memory"), size, usage, mapped_at_creation: false };
        let (raw, memory, vulkan) = {
            // SAFETY: the guard only lends the handle, with which a buffer is made; nothing of wgpu's is destroyed.
            let hal = unsafe { device.as_hal::<wgpu::hal::api::Vulkan>() }?;
            let vulkan = hal.raw_device();
            let host = ash::ext::external_memory_host::Device::new(hal.shared_instance().raw_instance(), vulkan);
            let start = view.base().wrapping_add(bytes.start as usize);
            // SAFETY: the device was opened with the extension (`Connection::imports` says so), and the bytes lie in the view.
            let (raw, memory) = unsafe { bound(vulkan, &host, start.cast(), size) }.ok()?;
            (raw, memory, vulkan.clone())
        };
        let view = view.clone();
        let freed = move || {
            // SAFETY: wgpu drops its buffer when no submission uses it any more, and before its device; nobody else has
            // these handles, and the view is there until they are gone.
            unsafe {
                vulkan.destroy_buffer(raw, None);
                vulkan.free_memory(memory, None);
            }
            drop(view);
        };
        // SAFETY: the buffer is one of this device's with the descriptor's size and usages, and is never mapped; its bytes are
        // a guest's, all of which have values.
        Some(unsafe {
            let hal = wgpu::hal::vulkan::Buffer::from_raw_externally_owned(raw, Box::new(freed));
            device.create_buffer_from_hal::<wgpu::hal::api::Vulkan>(hal, &descriptor)
        })
    }

    /// A buffer of `size` bytes that is bound to those at `start`, and the memory that stands for them.
    ///
    /// # Safety
    /// The device has the extension; the bytes are mapped for loads and stores as long as the memory is not freed.
    unsafe fn bound(
        device: &ash::Device,
        host: &ash::ext::external_memory_host::Device,
        start: *mut std::ffi::c_void,
        size: u64,
    ) -> Result<(vk::Buffer, vk::DeviceMemory), vk::Result> {
        let mut external = vk::ExternalMemoryBufferCreateInfo::default().handle_types(HOST);
        let usage = vk::BufferUsageFlags::STORAGE_BUFFER
            | vk::BufferUsageFlags::TRANSFER_SRC
            | vk::BufferUsageFlags::TRANSFER_DST;
        let info = vk::BufferCreateInfo::default().size(size).usage(usage).push_next(&mut external);
        // SAFETY: the structures outlive the calls; what is made is destroyed if a later step fails, and used by nobody before.
        unsafe {
            let raw = device.create_buffer(&info, None)?;
            let memory = allocated(device, host, start, raw, size).inspect_err(|_| device.destroy_buffer(raw, None))?;
            device.bind_buffer_memory(raw, memory, 0).inspect_err(|_| {
                device.destroy_buffer(raw, None);
                device.free_memory(memory, None);
            })?;
            Ok((raw, memory))
        }
    }

    /// Memory for a buffer that is the `size` bytes at `start`.
    ///
    /// # Safety
    /// As of [`bound`].
    unsafe fn allocated(
        device: &ash::Device,
        host: &ash::ext::external_memory_host::Device,
        start: *mut std::ffi::c_void,
        buffer: vk::Buffer,
        size: u64,
    ) -> Result<vk::DeviceMemory, vk::Result> {
        let mut pointer = vk::MemoryHostPointerPropertiesEXT::default();
        // SAFETY: the caller vouches for the pointer; the structures outlive the calls.
        unsafe {
            let ask = host.fp().get_memory_host_pointer_properties_ext;
            ask(device.handle(), HOST, start, &mut pointer).result()?;
            let requirements = device.get_buffer_memory_requirements(buffer);
            let types = pointer.memory_type_bits & requirements.memory_type_bits;
            if types == 0 || requirements.size > size {
                return Err(vk::Result::ERROR_INVALID_EXTERNAL_HANDLE);
            }
            let mut import = vk::ImportMemoryHostPointerInfoEXT::default().handle_type(HOST).host_pointer(start);
            let info = vk::MemoryAllocateInfo::default()
                .allocation_size(size)
                .memory_type_index(types.trailing_zeros())
                .push_next(&mut import);
            device.allocate_memory(&info, None)
        }
    }
}

#[cfg(not(all(unix, any(target_os = "linux", target_os = "android", target_os = "freebsd"))))]
mod vulkan {
    use super::{Arc, Range, View};

    pub fn alignment(_adapter: &wgpu::Adapter) -> Option<u32> {
        None
    }

    pub fn buffer(_device: &wgpu::Device, _view: &Arc<View>, _bytes: Range<u64>) -> Option<wgpu::Buffer> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_memory_is_imported_or_the_pages_of_the_window() {
        let window = |start, end| Window { start, end };
        let (page, size) = (4096, 1 << 20);
        assert_eq!(to_import(window(5000, 6000), size, page, 1 << 20), Some(window(0, size)));
        assert_eq!(to_import(window(5000, 6000), size, page, 1 << 19), Some(window(4096, 8192)));
        assert_eq!(to_import(window(5000, 600_000), size, page, 1 << 19), None);
        assert_eq!(to_import(window(0, size), size, page, 1 << 19), None);
        // Pages that end behind the memory are none of its own.
        assert_eq!(to_import(window(5000, 6000), 6000, page, 1 << 19), None);
    }
}
