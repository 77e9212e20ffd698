//! The functions of the module `wavelift`: what `wasi_ephemeral_parallel` lacks. A guest may do without any of them.

use wasmtime::{Caller, Linker, Result};

use super::abi::{Fact, kind_number};
use super::calls::{Span, Transfer, code_of, copy_in, copy_out, guest_bytes, with_core};
use super::{Core, ErrorCode, GuestState, HostFault};
use crate::device::DeviceInfo;
use crate::runtime::Limits;

/// The module that guests import these functions from.
pub(super) const MODULE: &str = "wavelift";

pub(super) fn define<T: 'static>(
    linker: &mut Linker<T>,
    access: impl Fn(&mut T) -> &mut GuestState + Copy + Send + Sync + 'static,
) -> Result<()> {
    linker.func_wrap(MODULE, "free_buffer", move |mut caller: Caller<'_, T>, buffer: u32| {
        with_core(&mut caller, access, "free_buffer", |core, _| free_buffer(core, buffer))
    })?;
    linker.func_wrap(
        MODULE,
        "buffer_copy_in",
        move |mut caller: Caller<'_, T>, buffer: u32, offset: u32, address: u32, length: u32| {
            with_core(&mut caller, access, "buffer_copy_in", |core, caller| {
                copy_in(core, caller, Transfer { function: "buffer_copy_in", buffer, offset, address, length })
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "buffer_copy_out",
        move |mut caller: Caller<'_, T>, buffer: u32, offset: u32, address: u32, length: u32| {
            with_core(&mut caller, access, "buffer_copy_out", |core, caller| {
                copy_out(core, caller, Transfer { function: "buffer_copy_out", buffer, offset, address, length })
            })
        },
    )?;
    linker.func_wrap(MODULE, "synchronize", move |mut caller: Caller<'_, T>, device: u32| {
        with_core(&mut caller, access, "synchronize", |core, _| synchronize(core, device))
    })?;
    linker.func_wrap(MODULE, "device_info", move |mut caller: Caller<'_, T>, device: u32, what: u32, out: u32| {
        with_core(&mut caller, access, "device_info", |core, caller| device_info(core, caller, device, what, out))
    })?;
    Ok(())
}

/// Gives a buffer's memory and addresses back. Launches that were made before go on with it.
fn free_buffer(core: &mut Core, buffer: u32) -> Result<ErrorCode> {
    Ok(if core.free_buffer(buffer)? { ErrorCode::Success } else { ErrorCode::BadHandle })
}

/// Waits for all launches; their traps are raised here.
fn synchronize(core: &mut Core, device: u32) -> Result<ErrorCode> {
    let Some(slot) = core.device_of(device) else { return Ok(ErrorCode::BadHandle) };
    match core.finish() {
        Ok(()) => Ok(ErrorCode::Success),
        Err(error) => code_of(core, slot, error),
    }
}

/// Stores a fact of a device in the eight bytes at `out`.
fn device_info<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    device: u32,
    what: u32,
    out: u32,
) -> Result<ErrorCode> {
    let function = "device_info";
    let fact = Fact::decode(what).ok_or(HostFault::UnknownValue {
        function,
        parameter: "fact",
        value: what,
        known: "0 (kind), 1 (memory), 2 (largest buffer) and 3 (largest group)",
    })?;
    let module = core.module.clone();
    let to = guest_bytes(caller, &module, Span { function, what: "a result pointer", address: out, length: 8 })?;
    let Some(slot) = core.device_of(device) else { return Ok(ErrorCode::BadHandle) };
    let limits = &core.runtime.config().limits;
    match core.runtime.devices().open(slot) {
        Ok(device) => to.copy_from_slice(&value_of(fact, device.info(), limits).to_le_bytes()),
        Err(error) => return code_of(core, slot, error.into()),
    }
    Ok(ErrorCode::Success)
}

/// What a guest with these limits is told.
fn value_of(fact: Fact, info: &DeviceInfo, limits: &Limits) -> u64 {
    let memory = limits.device_memory.min(1 << 32);
    match fact {
        Fact::Kind => kind_number(info.kind),
        Fact::Memory => memory,
        Fact::LargestBuffer => info.max_buffer_size.min(memory).min(u32::MAX.into()),
        Fact::LargestGroup => info.max_workgroup_size.into(),
    }
}
