//! What the functions of `wasi_ephemeral_parallel` do that launch nothing; those that do are in [`super::launch`].

use std::time::Instant;

use wasmtime::{Caller, Linker, Result};

use super::abi::{Hint, decode_access};
use super::guest::device_error;
use super::view::{View, memory_of};
use super::{Core, ErrorCode, GuestState, HostFault, MODULE, extensions, launch};
use crate::device::DeviceError;
use crate::error::Error;
use crate::runtime::{DeviceSlot, Module};

/// Where a guest's list, data or result lies.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub function: &'static str,
    pub what: &'static str,
    pub address: u32,
    pub length: u64,
}

/// Defines the functions of `wasi_ephemeral_parallel`, and ours of `wavelift`, in a host's own linker. `access` finds the calling instance's
/// [`GuestState`] in the store's data. Instantiate [`Module::compiled`] with it: modules of all three forms can be, since
/// there each form has a name of its own.
///
/// # Errors
/// [`Error::Link`] if the linker has these functions already.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    access: impl Fn(&mut T) -> &mut GuestState + Copy + Send + Sync + 'static,
) -> Result<(), Error> {
    define(linker, access).map_err(|e| Error::Link(Error::one_line(&e)))
}

fn define<T: 'static>(
    linker: &mut Linker<T>,
    access: impl Fn(&mut T) -> &mut GuestState + Copy + Send + Sync + 'static,
) -> Result<()> {
    linker.func_wrap(MODULE, "get_device", move |mut caller: Caller<'_, T>, hint: u32, out: u32| {
        with_core(&mut caller, access, "get_device", |core, caller| get_device(core, caller, hint, out))
    })?;
    linker.func_wrap(
        MODULE,
        "create_buffer",
        move |mut caller: Caller<'_, T>, device: u32, size: u32, access_kind: u32, out: u32| {
            with_core(&mut caller, access, "create_buffer", |core, caller| {
                create_buffer(core, caller, device, size, access_kind, out)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "write_buffer",
        move |mut caller: Caller<'_, T>, address: u32, length: u32, buffer: u32| {
            with_core(&mut caller, access, "write_buffer", |core, caller| {
                copy_in(core, caller, Transfer { function: "write_buffer", buffer, offset: 0, address, length })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "read_buffer",
        move |mut caller: Caller<'_, T>, buffer: u32, address: u32, length: u32| {
            with_core(&mut caller, access, "read_buffer", |core, caller| {
                copy_out(core, caller, Transfer { function: "read_buffer", buffer, offset: 0, address, length })
            })
        },
    )?;
    launch::define(linker, access)?;
    extensions::define(linker, access)
}

/// Takes the state out of the store's data for the time of a call, so that it and the caller can be used at once.
pub(super) fn with_core<T: 'static>(
    caller: &mut Caller<'_, T>,
    access: impl Fn(&mut T) -> &mut GuestState,
    function: &'static str,
    call: impl FnOnce(&mut Core, &mut Caller<'_, T>) -> Result<ErrorCode>,
) -> Result<i32> {
    let Some(mut core) = access(caller.data_mut()).take() else {
        return Err(HostFault::InsideKernel { function }.into());
    };
    let mut result = match View::new(caller, &core.module, None).is_of_module() {
        true => call(&mut core, caller),
        false => Err(HostFault::OtherModule { function }.into()),
    };
    // Had each launch been waited for, one that failed before would have ended the guest before this call did.
    if result.is_err()
        && let Err(earlier) = core.finish()
    {
        result = Err(earlier);
    }
    access(caller.data_mut()).put(core);
    result.map(|code| code as i32)
}

/// The guest's bytes there, or the fault that stops it.
pub(super) fn guest_bytes<'m, T: 'static>(
    caller: &'m mut Caller<'_, T>,
    module: &Module,
    span: Span,
) -> Result<&'m mut [u8], HostFault> {
    let memory = memory_of(caller, module).ok_or(HostFault::NoMemory { function: span.function })?;
    let data = memory.data_mut(caller);
    let memory_size = data.len() as u64;
    let end = u64::from(span.address) + span.length;
    if end > memory_size {
        let Span { function, what, address, length } = span;
        return Err(HostFault::Pointer { function, what, address, length, memory_size });
    }
    Ok(&mut data[span.address as usize..end as usize])
}

/// The code for a device error, or the error itself if it has none.
pub(super) fn code_of(core: &mut Core, slot: DeviceSlot, error: wasmtime::Error) -> Result<ErrorCode> {
    // A call can fail for a launch before it, which then comes first.
    let error = core.finish().err().unwrap_or(error);
    match device_error(&error) {
        Some(DeviceError::OutOfMemory { .. }) => Ok(ErrorCode::OutOfMemory),
        Some(DeviceError::Lost { device, .. }) => {
            // A launch under way on another device may have been lost.
            if core.device_name(slot) == *device {
                core.lose(slot);
            }
            Ok(ErrorCode::DeviceLost)
        }
        Some(DeviceError::Failed { .. }) | None => Err(error),
    }
}

fn get_device<T: 'static>(core: &mut Core, caller: &mut Caller<'_, T>, hint: u32, out: u32) -> Result<ErrorCode> {
    let function = "get_device";
    let wanted = Hint::decode(hint, core.imports.parallel_exec).ok_or(HostFault::UnknownValue {
        function,
        parameter: "device hint",
        value: hint,
        known: match core.imports.parallel_exec {
            true => "0 (sequential), 1 (CPU), 2 (discrete GPU) and 3 (integrated GPU)",
            false => "0 (CPU), 1 (discrete GPU), 2 (integrated GPU) and 3 (sequential)",
        },
    })?;
    let module = core.module.clone();
    let to = guest_bytes(caller, &module, Span { function, what: "a result pointer", address: out, length: 4 })?;
    let slot = core.runtime.devices().resolve(wanted)?;
    let Some(handle) = core.device_handle(slot) else { return Ok(ErrorCode::OutOfMemory) };
    core.last_device = Some(slot);
    to.copy_from_slice(&handle.to_le_bytes());
    Ok(ErrorCode::Success)
}

fn create_buffer<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    device: u32,
    size: u32,
    access: u32,
    out: u32,
) -> Result<ErrorCode> {
    let function = "create_buffer";
    let access = decode_access(access).ok_or(HostFault::UnknownValue {
        function,
        parameter: "access kind",
        value: access,
        known: "0 (read), 1 (write) and 2 (read_write)",
    })?;
    let module = core.module.clone();
    let span = Span { function, what: "a result pointer", address: out, length: 4 };
    guest_bytes(caller, &module, span)?;
    let Some(slot) = core.device_of(device) else { return Ok(ErrorCode::BadHandle) };
    let memory_size = set_up_space(core, caller)?;
    let handle = match core.create_buffer(slot, size, access, memory_size) {
        Ok(Some(handle)) => handle,
        Ok(None) => return Ok(ErrorCode::OutOfMemory),
        Err(error) => return code_of(core, slot, error),
    };
    guest_bytes(caller, &module, span)?.copy_from_slice(&handle.to_le_bytes());
    Ok(ErrorCode::Success)
}

/// Makes the address space if there is none yet; gives the size of linear memory in bytes.
pub(super) fn set_up_space<T: 'static>(core: &mut Core, caller: &mut Caller<'_, T>) -> Result<u64> {
    let memory = memory_of(caller, &core.module);
    core.set_up_space(memory.map(|memory| memory.data_ptr(&*caller).cast_const()))?;
    Ok(memory.map_or(0, |memory| memory.data_size(&*caller) as u64))
}

/// What a call copies between the guest's memory and a buffer.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    pub function: &'static str,
    pub buffer: u32,
    /// In the buffer, in bytes.
    pub offset: u32,
    /// In the guest's memory.
    pub address: u32,
    pub length: u32,
}

impl Transfer {
    fn is_within(self, size: u32) -> bool {
        u64::from(self.offset) + u64::from(self.length) <= u64::from(size)
    }

    fn span(self, what: &'static str) -> Span {
        Span { function: self.function, what, address: self.address, length: self.length.into() }
    }
}

/// Copies to a buffer.
pub(super) fn copy_in<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    transfer: Transfer,
) -> Result<ErrorCode> {
    let Some(buffer) = core.buffers.get(transfer.buffer).copied() else { return Ok(ErrorCode::BadHandle) };
    if !transfer.is_within(buffer.spec.size) {
        return Ok(ErrorCode::OutOfBounds);
    }
    let module = core.module.clone();
    let data = guest_bytes(caller, &module, transfer.span("data"))?;
    let started = Instant::now();
    let written =
        core.context(buffer.device).and_then(|c| Ok(c.write_buffer(buffer.spec.id, transfer.offset, data)?));
    if let Err(error) = written {
        return code_of(core, buffer.device, error);
    }
    if let Some(buffer) = core.buffers.get_mut(transfer.buffer) {
        buffer.upload += started.elapsed();
    }
    Ok(ErrorCode::Success)
}

/// Copies from a buffer, after every launch made so far.
pub(super) fn copy_out<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    transfer: Transfer,
) -> Result<ErrorCode> {
    let Some(buffer) = core.buffers.get(transfer.buffer).copied() else { return Ok(ErrorCode::BadHandle) };
    if !transfer.is_within(buffer.spec.size) {
        return Ok(ErrorCode::OutOfBounds);
    }
    let module = core.module.clone();
    let out = guest_bytes(caller, &module, transfer.span("a data pointer"))?;
    if let Err(error) = core.finish() {
        return code_of(core, buffer.device, error);
    }
    let started = Instant::now();
    let read = core.context(buffer.device).and_then(|c| Ok(c.read_buffer(buffer.spec.id, transfer.offset, out)?));
    if let Err(error) = read {
        return code_of(core, buffer.device, error);
    }
    core.report.add_download(started.elapsed());
    Ok(ErrorCode::Success)
}
