//! Wasmtime's linear memories on top of views.

use std::cell::RefCell;
use std::sync::Arc;

use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

use super::AddressSpace;
use super::mapping::{GUARD, Protection, SPACE, View};

/// Makes each guest memory the bottom of an address space of its own.
pub struct GuestMemories;

// SAFETY: `GuestMemory` keeps a view of 4 GiB and a 4 GiB guard mapped for as long as it lives, which is what
// `check` demands of the engine's settings; the base never moves; a new backing file is all zeroes.
unsafe impl MemoryCreator for GuestMemories {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        check(&ty, reserved, guard)?;
        if minimum as u64 > SPACE {
            return Err("A linear memory of 32-bit addresses can't have more than 4 GiB.".into());
        }
        let space = AddressSpace::with_memory(minimum as u64).map_err(|error| error.to_string())?;
        Ok(Box::new(GuestMemory { space }))
    }
}

struct GuestMemory {
    space: Arc<AddressSpace>,
}

// SAFETY: `[base, base + byte_size)` is mapped read-write from `with_memory` and `grow_memory` on, nothing in this
// crate takes those rights away (`expose` and `hide` touch buffers only, which lie above), and the base is fixed.
unsafe impl LinearMemory for GuestMemory {
    fn byte_size(&self) -> usize {
        self.space.memory_bytes() as usize
    }

    fn byte_capacity(&self) -> usize {
        SPACE as usize
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        self.space.grow_memory(new_size as u64).map_err(wasmtime::Error::msg)
    }

    fn as_ptr(&self) -> *mut u8 {
        self.space.guest_base()
    }
}

impl Drop for GuestMemory {
    fn drop(&mut self) {
        self.space.forget_memory();
    }
}

/// Makes the memory that a device module defines be a worker's view.
pub struct WorkerMemories;

thread_local! {
    /// The view for the next memory that this thread makes: `MemoryCreator` has no parameter for it.
    static NEXT: RefCell<Option<Arc<View>>> = const { RefCell::new(None) };
}

/// Runs `instantiate` so that the memory it makes is `view`.
pub fn with_view<T>(view: &Arc<View>, instantiate: impl FnOnce() -> T) -> T {
    NEXT.with(|next| *next.borrow_mut() = Some(view.clone()));
    let result = instantiate();
    NEXT.with(|next| next.borrow_mut().take());
    result
}

// SAFETY: `WorkerMemory` keeps a view of 4 GiB and a 4 GiB guard mapped for as long as it lives (see `check`). Its
// pages are not zero, and need not be: the device module has no data that relies on it.
unsafe impl MemoryCreator for WorkerMemories {
    fn new_memory(
        &self,
        ty: MemoryType,
        _minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        check(&ty, reserved, guard)?;
        let view = NEXT.with(|next| next.borrow_mut().take());
        let view = view.ok_or("A worker's memory was made outside of `with_view`.")?;
        Ok(Box::new(WorkerMemory { view }))
    }
}

struct WorkerMemory {
    view: Arc<View>,
}

// SAFETY: the size is the whole address space, part of which faults. Wasm loads and stores may fault: that traps.
// Nothing else touches this memory: device modules have no bulk operation or wait outside of helpers that touch
// every page first, and no host code calls `Memory::data` on it.
unsafe impl LinearMemory for WorkerMemory {
    fn byte_size(&self) -> usize {
        SPACE as usize
    }

    fn byte_capacity(&self) -> usize {
        SPACE as usize
    }

    fn grow_to(&mut self, _new_size: usize) -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg("A worker's memory can't grow."))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.view.base()
    }
}

/// A reservation or guard larger than what a view maps would let compiled code reach what lies beyond it.
fn check(ty: &MemoryType, reserved: Option<usize>, guard: usize) -> Result<(), String> {
    if ty.is_64() {
        return Err("Linear memory with 64-bit addresses is not supported.".into());
    }
    if ty.page_size() != 1 << 16 {
        return Err("Linear memory with pages of another size than 64 KiB is not supported.".into());
    }
    if reserved.is_some_and(|reserved| reserved as u64 > SPACE) || guard as u64 > GUARD {
        return Err("The engine reserves more for a memory, or a larger guard, than 4 GiB; set both to 4 GiB or \
                    less, as `memory::configure` does."
            .into());
    }
    Ok(())
}

/// Read-write up to `bytes`.
pub fn show_memory(view: &View, bytes: u64) -> std::io::Result<()> {
    view.protect(0..bytes, Protection::ReadWrite)
}
