//! The functions of the module `wavelift`: what `wasi_ephemeral_parallel` lacks. A guest may do without any of them.

use wasmtime::{Caller, Linker, Result};

use super::calls::{Transfer, code_of, copy_in, copy_out, with_core};
use super::{Core, ErrorCode, GuestState};

/// The module that guests import these functions from.
const MODULE: &str = "wavelift";

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
