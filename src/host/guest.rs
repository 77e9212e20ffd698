//! What the host keeps for one guest: handles, buffers, contexts on devices, the report.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::HostFault;
use super::handles::HandleTable;
use super::imports::{self, Imports};
use super::module_caller::KernelInstances;
use super::view::FunctionMap;
use crate::device::{Access, BufferId, BufferSpec, Context, Device, DeviceError, LaunchError, LaunchTimes};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::kernel::{Deferred, LastWords};
use crate::memory::AddressSpace;
use crate::report::Report;
use crate::runtime::{DeviceSlot, Module, Runtime};

/// Far apart, so that a device's handle is never a buffer's, and far from 0 and small numbers.
const DEVICE_HANDLES: u32 = 0x2d00_0000;
const BUFFER_HANDLES: u32 = 0x5b00_0000;

/// What the host keeps for one guest: one for each instance, in the store's data.
pub struct GuestState {
    /// Taken out while a host function works with it; a kernel that calls back finds nothing.
    core: Option<Box<Core>>,
    /// Stands for the report while the core is out.
    no_report: Report,
}

impl GuestState {
    /// State for one instance of `module`.
    ///
    /// # Errors
    /// [`Error::ImportType`](crate::Error::ImportType) if the module imports functions of `wasi_ephemeral_parallel`
    /// that don't exist or with other types.
    pub fn new(runtime: &Runtime, module: &Module) -> Result<GuestState> {
        let imports = imports::check(module.wasm())?;
        let core = Core {
            runtime: runtime.clone(),
            module: module.clone(),
            imports,
            space: None,
            contexts: HashMap::new(),
            devices: HandleTable::new(DEVICE_HANDLES),
            buffers: HandleTable::new(BUFFER_HANDLES),
            last_device: None,
            next_buffer: 0,
            functions: None,
            kernel_instances: KernelInstances::default(),
            launches: 0,
            defers: false,
            deferred: Vec::new(),
            last_words: None,
            interrupt: Interrupt::default(),
            buffer_bytes: 0,
            report: Report::default(),
        };
        Ok(GuestState { core: Some(Box::new(core)), no_report: Report::default() })
    }

    /// What ran where, why, and how long. Empty while one of the guest's kernels runs.
    pub fn report(&self) -> &Report {
        self.core.as_ref().map_or(&self.no_report, |core| &core.report)
    }

    /// Lets launches go on while their guest does, unless [`Config::sync`](crate::Config::sync) forbids it. An
    /// [`Instance`](crate::Instance) does so by itself. Who has a store of their own takes on to call
    /// [`GuestState::finish`] before every effect outside that the guest has through their own host functions, and after
    /// each call of an exported function, however it ended, and [`last_words`](crate::last_words) with what that ended with.
    pub fn defer_launches(&mut self) {
        if let Some(core) = &mut self.core {
            core.defers = !core.runtime.config().sync;
        }
    }

    /// Stops this guest from any thread.
    pub fn interrupt(&self) -> Interrupt {
        self.core.as_ref().map(|core| core.interrupt.clone()).unwrap_or_default()
    }

    /// Waits for all launches under way. Nothing is while one of the guest's kernels runs.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a trap, [`Error::Device`] for a device that failed, [`Error::Host`] for a defect of the
    /// translator: that of the first launch that did not end well.
    pub fn finish(&mut self) -> Result<()> {
        let Some(core) = &mut self.core else { return Ok(()) };
        core.finish().map_err(|error| Error::of_call(error, &core.module))
    }

    pub(super) fn take(&mut self) -> Option<Box<Core>> {
        self.core.take()
    }

    pub(super) fn put(&mut self, core: Box<Core>) {
        self.core = Some(core);
    }
}

/// A buffer of the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffer {
    pub spec: BufferSpec,
    pub device: DeviceSlot,
    /// Time of `write_buffer` calls that no launch has been charged with yet.
    pub upload: Duration,
}

/// A device, and what the guest has on it.
struct Opened {
    device: Arc<dyn Device>,
    context: Box<dyn Context>,
}

/// The state itself.
pub(crate) struct Core {
    pub runtime: Runtime,
    pub module: Module,
    pub(super) imports: Imports,
    space: Option<Arc<AddressSpace>>,
    contexts: HashMap<DeviceSlot, Opened>,
    devices: HandleTable<DeviceSlot>,
    pub buffers: HandleTable<Buffer>,
    pub last_device: Option<DeviceSlot>,
    next_buffer: u64,
    /// Functions by address, for the instance that launched last.
    pub functions: Option<Arc<FunctionMap>>,
    /// Instances of kernel modules, for kernels that run in order.
    pub kernel_instances: KernelInstances,
    /// Launches so far.
    pub launches: u64,
    /// Whether launches may go on when their call has returned.
    pub defers: bool,
    /// Those that may.
    pub deferred: Vec<Deferred>,
    /// Of the launch that trapped last.
    pub last_words: Option<LastWords>,
    /// Stops the guest.
    pub interrupt: Interrupt,
    /// Bytes of the guest's buffers.
    buffer_bytes: u64,
    pub report: Report,
}

impl Core {
    /// The guest's device address space, made at the first call that needs it. `memory` is where linear memory 0 lies.
    pub fn set_up_space(&mut self, memory: Option<*const u8>) -> Result<(), HostFault> {
        if self.space.is_none() {
            let space = match memory.and_then(AddressSpace::of_memory) {
                Some(space) => space,
                None => AddressSpace::detached().map_err(|e| HostFault::AddressSpace(e.to_string()))?,
            };
            self.space = Some(space);
        }
        Ok(())
    }

    /// The address space that [`Core::set_up_space`] made.
    pub fn space(&self) -> Result<Arc<AddressSpace>, HostFault> {
        self.space.clone().ok_or_else(|| HostFault::AddressSpace("It was used before it was made.".to_string()))
    }

    /// The lowest byte of all buffers.
    pub fn lowest_buffer(&self) -> u64 {
        self.space.as_ref().map_or(u64::MAX, |space| space.lowest_buffer())
    }

    /// What this guest has on a device, made when first used.
    pub fn context(&mut self, slot: DeviceSlot) -> wasmtime::Result<&mut dyn Context> {
        if !self.contexts.contains_key(&slot) {
            let device = self.runtime.devices().open(slot)?;
            let mut context = device.new_context(self.space()?)?;
            context.interrupt_by(&self.interrupt);
            self.contexts.insert(slot, Opened { device, context });
        }
        match self.contexts.get_mut(&slot) {
            Some(opened) => Ok(&mut *opened.context),
            None => Err(HostFault::AddressSpace("A context is missing.".to_string()).into()),
        }
    }

    /// What became of the launches under way on a device, in order.
    pub fn finish_on(&mut self, slot: DeviceSlot) -> Vec<Result<LaunchTimes, LaunchError>> {
        self.contexts.get_mut(&slot).map(|opened| opened.context.finish()).unwrap_or_default()
    }

    /// A device's name.
    pub fn device_name(&self, slot: DeviceSlot) -> String {
        match self.contexts.get(&slot) {
            Some(opened) => opened.device.info().name.clone(),
            None => self.runtime.devices().open(slot).map_or_else(|_| "?".to_string(), |d| d.info().name.clone()),
        }
    }

    /// The handle of a device, the same at each call.
    pub fn device_handle(&mut self, slot: DeviceSlot) -> Option<u32> {
        let known = self.devices.iter().find(|(_, known)| **known == slot).map(|(handle, _)| handle);
        known.or_else(|| self.devices.insert(slot))
    }

    /// Whether the guest imports functions beside ours.
    pub fn calls_others(&self) -> bool {
        self.imports.others
    }

    /// The device of a handle.
    pub fn device_of(&self, handle: u32) -> Option<DeviceSlot> {
        self.devices.get(handle).copied()
    }

    /// Makes a buffer of zeroes; `None` if addresses or handles, or what the limits allow, are used up.
    pub fn create_buffer(
        &mut self,
        device: DeviceSlot,
        size: u32,
        access: Access,
        memory_size: u64,
    ) -> wasmtime::Result<Option<u32>> {
        if let Some(limit) = self.limit_reached(size) {
            tracing::warn!("A guest is out of memory: {limit}");
            return Ok(None);
        }
        let space = self.space()?;
        let Some(address) = space.allocate(size, memory_size) else { return Ok(None) };
        let spec = BufferSpec { id: BufferId(self.next_buffer), address, size, access };
        self.next_buffer += 1;
        if let Err(error) = self.context(device).and_then(|context| Ok(context.create_buffer(&spec)?)) {
            space.release(address, size);
            return Err(error);
        }
        let handle = self.buffers.insert(Buffer { spec, device, upload: Duration::ZERO });
        match handle {
            Some(_) => self.buffer_bytes += u64::from(size),
            None => {
                self.context(device)?.free_buffer(spec.id);
                space.release(address, size);
            }
        }
        Ok(handle)
    }

    /// Gives a buffer's memory and addresses back; false if there is none of that handle.
    pub fn free_buffer(&mut self, handle: u32) -> wasmtime::Result<bool> {
        let Some(Buffer { spec, device, .. }) = self.buffers.remove(handle) else { return Ok(false) };
        self.buffer_bytes -= u64::from(spec.size);
        let freed = self.context(device).map(|context| context.free_buffer(spec.id));
        if let Some(space) = &self.space {
            space.release(spec.address, spec.size);
        }
        freed.map(|()| true)
    }

    /// The sentence that refuses a buffer of that size beyond the limits.
    fn limit_reached(&self, size: u32) -> Option<String> {
        let limits = &self.runtime.config().limits;
        let (count, bytes) = (self.buffers.len(), self.buffer_bytes + u64::from(size));
        if count >= limits.buffers as usize {
            return Some(format!("It has {count} buffers, and the limit is {}.", limits.buffers));
        }
        (bytes > limits.device_memory).then(|| {
            format!(
                "With one of {size} bytes its buffers would have {bytes}, and the limit is {}.",
                limits.device_memory
            )
        })
    }

    /// The time of uploads to these buffers that no launch has been charged with yet.
    pub fn take_uploads(&mut self, handles: &[u32]) -> Duration {
        let mut sum = Duration::ZERO;
        for handle in handles {
            if let Some(buffer) = self.buffers.get_mut(*handle) {
                sum += std::mem::take(&mut buffer.upload);
            }
        }
        sum
    }

    /// Gives up a lost device: its buffers are gone, and its next use opens it anew.
    pub fn lose(&mut self, slot: DeviceSlot) {
        if let Some(opened) = self.contexts.remove(&slot) {
            self.runtime.devices().revive(slot, &opened.device);
        }
        for buffer in self.buffers.remove_if(|buffer| buffer.device == slot) {
            self.buffer_bytes -= u64::from(buffer.spec.size);
            if let Some(space) = &self.space {
                space.release(buffer.spec.address, buffer.spec.size);
            }
        }
    }
}

/// The device error inside an error, if it is one.
pub(crate) fn device_error(error: &wasmtime::Error) -> Option<&DeviceError> {
    error.downcast_ref::<DeviceError>()
}
