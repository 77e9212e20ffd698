//! What one guest has on a GPU: its buffers, its bind groups, its trap record.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use crate::device::gpu::Shared;
use crate::device::gpu::again::{Known, LaunchKey};
use crate::device::gpu::batch::Batch;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::host_copies::HostCopies;
use crate::device::gpu::import::{Imported, is_imported};
use crate::device::gpu::pipeline::unknown_buffer;
use crate::device::gpu::recent::Recent;
use crate::device::gpu::scratch::Scratch;
use crate::device::gpu::speculation::Undone;
use crate::device::gpu::transfer::GpuBuffer;
use crate::device::{BufferId, BufferSpec, Caller, Context, DeviceError, Launch, LaunchError, LaunchTimes, Launched};
use crate::interrupt::Interrupt;
use crate::memory::AddressSpace;

/// Bind groups that are kept at least, and half of the most: a guest that launches with a thousand buffers in turns finds
/// them all again, and one that makes new buffers for every launch does not fill memory.
const RECENT_BIND_GROUPS: usize = 1024;

/// Freed buffers whose bind groups are kept at most. The device frees their memory at once in any case.
const MOST_FREED: usize = 64;

/// Largest write to a buffer, or upload of linear memory, that is queued behind launches under way instead of waiting for
/// them, in bytes: the device keeps a copy till then.
pub(crate) const MOST_STAGED: u64 = 256 << 10;

/// What a launch that must be waited for says when one before it failed, and nobody asked.
pub(crate) const AFTER_FAILURE: &str = "A launch was left out, as one before it failed.";

/// One guest's share of a GPU.
pub struct GpuContext {
    pub(crate) shared: Arc<Shared>,
    buffers: HashMap<BufferId, GpuBuffer>,
    pub(crate) bind_groups: Recent<BindGroupKey, wgpu::BindGroup>,
    /// Launches that need not be made ready again, with their bind groups.
    pub(super) known: Recent<LaunchKey, Arc<Known>>,
    /// Freed buffers that some of both may still have: all of these go at once, as none is looked for again.
    freed: HashSet<BufferId>,
    pub(crate) scratch: Option<Scratch>,
    /// Launches under way.
    pub(crate) batch: Batch,
    /// What launches need besides the guest's buffers, by the numbers that stand for it: the part of linear memory that
    /// the last launch bound, pools, arguments.
    own: BTreeMap<u32, GpuBuffer>,
    /// The guest's linear memory, where it is one that may be bound without a copy.
    pub(super) imported: Option<Imported>,
    /// Copies of buffers that pointers are read from before launches.
    pub(crate) host_copies: HostCopies,
    /// What forms of the present launch took that were undone.
    pub(crate) undone: Undone,
    /// Ends launches early.
    pub(crate) interrupt: Interrupt,
    /// Launches are timed by the device's clock, where it has one, even if that slows them down.
    pub(crate) timed: bool,
}

/// The kernel (by its number) and the buffers of its bindings.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BindGroupKey {
    pub kernel: u64,
    /// `None` for what is not a guest's buffer.
    pub buffers: Vec<Option<BufferId>>,
    /// Whether linear memory is bound itself.
    pub imported: bool,
}

impl GpuContext {
    pub(crate) fn new(shared: Arc<Shared>, space: Option<Arc<AddressSpace>>) -> GpuContext {
        let timed = shared.timed;
        GpuContext {
            shared,
            buffers: HashMap::default(),
            bind_groups: Recent::new(RECENT_BIND_GROUPS),
            known: Recent::new(RECENT_BIND_GROUPS),
            freed: HashSet::default(),
            scratch: None,
            batch: Batch::default(),
            own: BTreeMap::new(),
            imported: space.map(Imported::new),
            host_copies: HostCopies::default(),
            undone: Undone::default(),
            interrupt: Interrupt::default(),
            timed,
        }
    }

    /// The open connection; what was made on an earlier one is dropped.
    pub(crate) fn connection(&mut self) -> Result<Arc<Connection>, DeviceError> {
        let connection = self.shared.connection().inspect_err(|error| self.batch.abandon(error))?;
        if self.scratch.as_ref().is_some_and(|s| s.generation != connection.generation) {
            self.scratch = None;
            self.forget_bindings();
            self.batch.abandon(&connection.gone());
        }
        Ok(connection)
    }

    /// A buffer on this connection.
    pub(crate) fn buffer(&self, connection: &Connection, id: BufferId) -> Result<&GpuBuffer, DeviceError> {
        let buffer = self.buffers.get(&id).ok_or_else(|| unknown_buffer(connection, id.0))?;
        if buffer.generation == connection.generation { Ok(buffer) } else { Err(connection.gone()) }
    }

    /// The word at an offset of a buffer, where it is to be had cheaply.
    pub(crate) fn host_word(&mut self, connection: &Connection, spec: &BufferSpec, offset: u32) -> Option<u32> {
        if self.batch.uses(spec.id) {
            self.batch.submit(connection).ok()?;
        }
        let buffer = self.buffer(connection, spec.id).ok()?.clone();
        self.host_copies.word(spec, offset, |bytes| buffer.read(connection, 0, bytes))
    }

    /// A buffer that is no guest's, of at least this size, by the number that stands for it; its bytes are whatever the
    /// last launch left.
    pub(crate) fn own_buffer(
        &mut self,
        connection: &Connection,
        number: u32,
        size: u64,
    ) -> Result<GpuBuffer, DeviceError> {
        let fits = |known: &&GpuBuffer| known.generation == connection.generation && known.size >= size;
        if let Some(known) = self.own.get(&number).filter(fits) {
            return Ok(known.clone());
        }
        if let Some(old) = self.own.remove(&number) {
            self.forget_bindings();
            // What is submitted may go on with it.
            self.batch.submit(connection)?;
            old.wgpu.destroy();
        }
        let buffer = GpuBuffer::new(connection, size)?;
        self.own.insert(number, buffer.clone());
        Ok(buffer)
    }

    /// The buffer that a slot of an interface, or one of the numbers that stand for other things, binds; of linear memory that
    /// which is imported, or the copy.
    pub(crate) fn bound_buffer(
        &self,
        connection: &Connection,
        slot: u32,
        slots: &[BufferSpec],
        imported: bool,
    ) -> Result<&GpuBuffer, LaunchError> {
        if is_imported(slot, imported) {
            let buffer = self.imported.as_ref().and_then(|imported| imported.buffer(connection));
            return buffer.ok_or_else(|| LaunchError::Internal("Linear memory is not on the device.".into()));
        }
        if let Some(own) = self.own.get(&slot).filter(|own| own.generation == connection.generation) {
            return Ok(own);
        }
        match slots.get(slot as usize) {
            Some(spec) => Ok(self.buffer(connection, spec.id)?),
            None => Err(LaunchError::Internal(format!("The shader binds slot {slot}, which the launch lacks."))),
        }
    }

    /// Forgets all bind groups.
    pub(crate) fn forget_bindings(&mut self) {
        self.bind_groups.clear();
        self.known.clear();
        self.freed.clear();
    }

    /// Forgets those that have a freed buffer.
    fn forget_freed(&mut self) {
        let freed = std::mem::take(&mut self.freed);
        self.bind_groups.retain(|key, _| key.buffers.iter().flatten().all(|id| !freed.contains(id)));
        self.known.retain(|key, _| key.buffers.iter().all(|spec| !freed.contains(&spec.id)));
    }

    fn write_on_device(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError> {
        let connection = self.connection()?;
        if self.batch.uses(buffer) {
            if data.len() as u64 <= MOST_STAGED {
                self.batch.submit(&connection)?;
                return self.buffer(&connection, buffer)?.write_in_order(&connection, offset.into(), data);
            }
            self.settle(&connection);
        }
        self.buffer(&connection, buffer)?.write(&connection, offset.into(), data)
    }
}

impl Context for GpuContext {
    fn interrupt_by(&mut self, interrupt: &Interrupt) {
        self.interrupt = interrupt.clone();
    }

    fn create_buffer(&mut self, spec: &BufferSpec) -> Result<(), DeviceError> {
        let connection = self.connection()?;
        let buffer = GpuBuffer::new(&connection, u64::from(spec.size))?;
        self.free_buffer(spec.id);
        if self.freed.contains(&spec.id) {
            self.forget_freed();
        }
        self.host_copies.create(spec);
        self.buffers.insert(spec.id, buffer);
        Ok(())
    }

    fn free_buffer(&mut self, buffer: BufferId) {
        self.host_copies.forget(buffer);
        if let Some(freed) = self.buffers.remove(&buffer) {
            self.freed.insert(buffer);
            if self.freed.len() >= MOST_FREED {
                self.forget_freed();
            }
            // What is submitted may go on with it.
            let recorded = self.batch.uses(buffer).then(|| self.shared.connection());
            if let Some(Ok(connection)) = recorded {
                // A device that fails here fails at the next launch again.
                let _ = self.batch.submit(&connection);
            }
            freed.wgpu.destroy();
        }
    }

    fn write_buffer(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError> {
        self.host_copies.write(buffer, offset, data);
        // Nobody knows what is in a buffer of which this failed.
        self.write_on_device(buffer, offset, data).inspect_err(|_| self.host_copies.forget(buffer))
    }

    fn read_buffer(&mut self, buffer: BufferId, offset: u32, out: &mut [u8]) -> Result<(), DeviceError> {
        let connection = self.connection()?;
        self.settle(&connection);
        self.buffer(&connection, buffer)?.read(&connection, u64::from(offset), out)
    }

    fn launch(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<LaunchTimes, LaunchError> {
        match self.launch_lifted(launch, caller, false)? {
            Launched::Done(times) => Ok(times),
            Launched::Deferred => Err(LaunchError::Internal(AFTER_FAILURE.into())),
        }
    }

    fn enqueue(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<Launched, LaunchError> {
        self.launch_lifted(launch, caller, true)
    }

    fn finish(&mut self) -> Vec<Result<LaunchTimes, LaunchError>> {
        if let (false, Ok(connection)) = (self.batch.is_empty(), self.connection()) {
            self.settle(&connection);
        }
        self.batch.take_outcomes()
    }
}

impl Drop for GpuContext {
    // wgpu frees a dropped buffer at some later poll; a guest's memory goes with the guest.
    fn drop(&mut self) {
        if let (false, Ok(connection)) = (self.batch.is_empty(), self.shared.connection()) {
            self.batch.discard(&connection);
        }
        for buffer in self.buffers.values().chain(self.own.values()) {
            buffer.wgpu.destroy();
        }
    }
}
