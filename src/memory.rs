//! The device address space of a guest: linear memory at the bottom, buffers from the top down.
//!
//! One file of 4 GiB holds it: the byte at file offset `a` is the byte at address `a`. The guest's own view of it shows
//! linear memory only; a worker of the CPU device has a view that shows linear memory and the launch's buffers. What a
//! view does not show faults, and a fault in compiled Wasm is a trap. So no launch copies linear memory.
//!
//! Where the system is no Unix there are no views: every space is detached, and the CPU device says that it can't work.

#[cfg(not(target_pointer_width = "64"))]
compile_error!("Wavelift needs a 64-bit system: an address space takes 8 GiB of addresses.");

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;

use crate::device::BufferSpec;

mod linear_memory;
#[cfg(unix)]
mod mapping;
#[cfg(not(unix))]
#[path = "memory/no_mapping.rs"]
mod mapping;
// So that its tests run wherever tests run.
#[cfg(all(unix, test))]
#[allow(dead_code)]
mod no_mapping;
mod ranges;
pub(crate) mod touch;

pub(crate) use linear_memory::{WorkerMemories, with_view};
pub(crate) use mapping::{Backing, Protection, View};

use linear_memory::GuestMemories;
use mapping::{GUARD, SPACE};
use ranges::Ranges;

/// Size of a Wasm page in bytes.
pub(crate) const PAGE: u64 = 1 << 16;

/// Why an address space could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The system refused a mapping, a file or memory.
    #[error("The system could not {action} of a device address space: {source}.")]
    System {
        /// What was tried: "map a view".
        action: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Bytes beyond the 4 GiB of the address space.
    #[error("{size} bytes at address {address:#x} end beyond the device address space of 4 GiB.")]
    OutOfRange {
        /// First address.
        address: u32,
        /// Number of bytes.
        size: u64,
    },
    /// Linear memory lives elsewhere, so that buffers can't be mapped next to it.
    #[error(
        "Buffers can't be mapped into the caller's memory, because its engine does not use Wavelift's memory; set it up \
         with `wavelift::memory::configure`."
    )]
    Detached,
    /// Linear memory would run into a buffer.
    #[error("Linear memory can't have {bytes} bytes: the device address space has buffers from {lowest:#x} on.")]
    RunsIntoBuffers {
        /// The size asked for.
        bytes: u64,
        /// The lowest buffer page.
        lowest: u64,
    },
}

/// The guest's 4 GiB of device addresses.
#[derive(Debug)]
pub struct AddressSpace {
    backing: Backing,
    /// The guest's own view, where linear memory lives in this space.
    guest: Option<View>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Size of linear memory in this space; 0 for a detached one.
    memory_bytes: u64,
    buffers: Ranges,
}

/// Spaces by the host address of their linear memory.
static SPACES: LazyLock<Mutex<HashMap<usize, Weak<AddressSpace>>>> = LazyLock::new(Mutex::default);

impl AddressSpace {
    /// A space whose linear memory lives elsewhere: the module has none, or its engine has memory of its own. The CPU
    /// device copies linear memory at launches, through [`Caller`](crate::device::Caller).
    ///
    /// # Errors
    /// [`MemoryError::System`] where the system has no file or address range left.
    pub fn detached() -> Result<Arc<AddressSpace>, MemoryError> {
        let backing = Backing::new().map_err(system("make the backing file"))?;
        Ok(Arc::new(AddressSpace { backing, guest: None, state: Mutex::default() }))
    }

    /// The space whose linear memory [`memory_creator`]'s creator mapped at this host address (`Memory::data_ptr`).
    pub fn of_memory(base: *const u8) -> Option<Arc<AddressSpace>> {
        SPACES.lock().get(&base.addr())?.upgrade()
    }

    fn with_memory(bytes: u64) -> Result<Arc<AddressSpace>, MemoryError> {
        let backing = Backing::new().map_err(system("make the backing file"))?;
        let view = View::new(&backing).map_err(system("map a view"))?;
        linear_memory::show_memory(&view, bytes).map_err(system("map linear memory"))?;
        let state = State { memory_bytes: bytes, buffers: Ranges::default() };
        let base = view.base().addr();
        let space = Arc::new(AddressSpace { backing, guest: Some(view), state: Mutex::new(state) });
        SPACES.lock().insert(base, Arc::downgrade(&space));
        Ok(space)
    }

    fn guest_base(&self) -> *mut u8 {
        self.guest.as_ref().map_or(std::ptr::null_mut(), View::base)
    }

    fn memory_bytes(&self) -> u64 {
        self.state.lock().memory_bytes
    }

    fn grow_memory(&self, bytes: u64) -> Result<(), MemoryError> {
        let Some(view) = &self.guest else { return Err(MemoryError::Detached) };
        let mut state = self.state.lock();
        let lowest = state.buffers.lowest();
        if bytes > lowest {
            return Err(MemoryError::RunsIntoBuffers { bytes, lowest });
        }
        linear_memory::show_memory(view, bytes).map_err(system("map linear memory"))?;
        state.memory_bytes = bytes;
        Ok(())
    }

    /// The host address may be another memory's from now on.
    fn forget_memory(&self) {
        SPACES.lock().remove(&self.guest_base().addr());
    }

    /// Whether linear memory lives elsewhere.
    pub fn is_detached(&self) -> bool {
        self.guest.is_none()
    }

    /// Reserves addresses for a buffer of `size` bytes: a multiple of 256, in whole 64 KiB pages of its own, its end as
    /// near to a page's end as that allows, never below 64 KiB nor below `memory_size` (bytes of linear memory).
    /// The bytes are zero. `None` when no such range is left.
    pub fn allocate(&self, size: u32, memory_size: u64) -> Option<u32> {
        let mut state = self.state.lock();
        let floor = memory_size.max(state.memory_bytes);
        state.buffers.allocate(size, floor)
    }

    /// Gives back a range that [`allocate`](Self::allocate) gave; its bytes are zeroed before it is handed out again.
    /// A range that was never given is ignored.
    pub fn release(&self, address: u32, size: u32) {
        // Held until the bytes are zero, or another thread could be given the range while they are not.
        let mut state = self.state.lock();
        let Some(range) = state.buffers.release(address, size) else { return };
        if self.backing.zero(range).is_err() {
            // Bytes that can't be zeroed must never be seen again: the range stays taken.
            state.buffers.allocate_at(address, size);
        }
    }

    /// Maps buffers into the guest's own view, for a kernel that runs in the caller's instance; `read` buffers without
    /// the right to store.
    ///
    /// # Errors
    /// [`MemoryError::Detached`] for a detached space, [`MemoryError::System`] if the system refuses.
    pub fn expose(&self, buffers: &[BufferSpec]) -> Result<(), MemoryError> {
        let view = self.guest.as_ref().ok_or(MemoryError::Detached)?;
        for buffer in buffers {
            view.protect(buffer_bytes(buffer), protection_of(buffer)).map_err(system("map a buffer"))?;
        }
        Ok(())
    }

    /// Maps buffers of another space into this one's own view, at the same addresses, for as long as the space lives. From
    /// now on linear memory grows no further than to the lowest of them.
    pub(crate) fn expose_those_of(&self, other: &AddressSpace, buffers: &[BufferSpec]) -> Result<(), MemoryError> {
        let view = self.guest.as_ref().ok_or(MemoryError::Detached)?;
        let mut state = self.state.lock();
        for buffer in buffers {
            state.buffers.allocate_at(buffer.address, buffer.size);
        }
        let (bytes, lowest) = (state.memory_bytes, state.buffers.lowest());
        if bytes > lowest {
            return Err(MemoryError::RunsIntoBuffers { bytes, lowest });
        }
        for buffer in buffers {
            let bytes = buffer_bytes(buffer);
            view.map_file(bytes.clone(), &other.backing).map_err(system("map a buffer"))?;
            view.protect(bytes, protection_of(buffer)).map_err(system("map a buffer"))?;
        }
        Ok(())
    }

    /// Takes buffers out of the guest's own view again.
    pub fn hide(&self, buffers: &[BufferSpec]) {
        let Some(view) = &self.guest else { return };
        for buffer in buffers {
            // Lowering rights of pages that are mapped fails only for want of kernel memory; the guest could then still
            // reach its own buffer, nobody else's.
            let _ = view.protect(buffer_bytes(buffer), Protection::None);
        }
    }

    /// Copies bytes from `address` on to `out`, as they are in the backing file.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] beyond 4 GiB, [`MemoryError::System`] if the system refuses.
    pub fn read(&self, address: u32, out: &mut [u8]) -> Result<(), MemoryError> {
        in_range(address, out.len())?;
        self.backing.read(address.into(), out).map_err(system("read bytes"))
    }

    /// Copies `data` to the bytes from `address` on.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&self, address: u32, data: &[u8]) -> Result<(), MemoryError> {
        in_range(address, data.len())?;
        self.backing.write(address.into(), data).map_err(system("write bytes"))
    }

    /// The lowest byte of all buffers; 4 GiB if there is none.
    pub(crate) fn lowest_buffer(&self) -> u64 {
        self.state.lock().buffers.lowest()
    }

    /// A view of its own for a worker; nothing is shown at first.
    pub(crate) fn worker_view(&self) -> Result<View, MemoryError> {
        View::new(&self.backing).map_err(system("map a worker's view"))
    }

    /// Makes a worker's view have this space's bytes again where it had another file's; nothing of them is shown.
    pub(crate) fn map_back(&self, view: &View, range: Range<u64>) -> std::io::Result<()> {
        view.map_file(range, &self.backing)
    }
}

/// Bytes of a buffer in the address space.
pub(crate) fn buffer_bytes(buffer: &BufferSpec) -> Range<u64> {
    u64::from(buffer.address)..u64::from(buffer.address) + u64::from(buffer.size)
}

/// What a kernel may do with a buffer's pages.
pub(crate) fn protection_of(buffer: &BufferSpec) -> Protection {
    if buffer.access.is_writable() { Protection::ReadWrite } else { Protection::Read }
}

fn in_range(address: u32, len: usize) -> Result<(), MemoryError> {
    let size = len as u64;
    if u64::from(address) + size > SPACE { Err(MemoryError::OutOfRange { address, size }) } else { Ok(()) }
}

fn system(action: &'static str) -> impl Fn(std::io::Error) -> MemoryError {
    move |source| MemoryError::System { action, source }
}

/// Makes linear memories that kernels on the CPU device reach without a copy, for
/// [`wasmtime::Config::with_host_memory`]. A `memory.grow` that would run into a buffer gives -1.
///
/// The engine must have `memory_init_cow(false)`, or instantiation panics, and reservation and guard of at most 4 GiB;
/// [`configure`] sets all of this.
pub fn memory_creator() -> Arc<dyn wasmtime::MemoryCreator> {
    Arc::new(GuestMemories)
}

/// Sets an engine up for [`memory_creator`], with addresses that need no bounds checks. Where the system is no Unix the
/// engine keeps memory of its own, and launches need a GPU.
pub fn configure(config: &mut wasmtime::Config) -> &mut wasmtime::Config {
    if cfg!(not(unix)) {
        return config;
    }
    config.with_host_memory(memory_creator());
    configure_addresses(config)
}

/// Reservation and guard for views.
pub(crate) fn configure_addresses(config: &mut wasmtime::Config) -> &mut wasmtime::Config {
    config
        .memory_reservation(SPACE)
        .memory_reservation_for_growth(0)
        .memory_guard_size(GUARD)
        .memory_may_move(false)
        .memory_init_cow(false)
}
