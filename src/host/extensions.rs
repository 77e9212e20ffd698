//! The functions of the module `wavelift`: what `wasi_ephemeral_parallel` lacks. A guest may do without any of them.

use wasmtime::{Caller, Linker, Result};

use super::calls::{Span, code_of, guest_bytes, with_core};
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
                copy(core, caller, Direction::In, Part { buffer, offset, length }, address)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "buffer_copy_out",
        move |mut caller: Caller<'_, T>, buffer: u32, offset: u32, address: u32, length: u32| {
            with_core(&mut caller, access, "buffer_copy_out", |core, caller| {
                copy(core, caller, Direction::Out, Part { buffer, offset, length }, address)
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// A part of a buffer, in bytes.
#[derive(Clone, Copy)]
struct Part {
    buffer: u32,
    offset: u32,
    length: u32,
}

fn copy<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    direction: Direction,
    Part { buffer, offset, length }: Part,
    address: u32,
) -> Result<ErrorCode> {
    let Some(buffer) = core.buffers.get(buffer).copied() else { return Ok(ErrorCode::BadHandle) };
    if u64::from(offset) + u64::from(length) > u64::from(buffer.spec.size) {
        return Ok(ErrorCode::OutOfBounds);
    }
    let module = core.module.clone();
    let function = if direction == Direction::In { "buffer_copy_in" } else { "buffer_copy_out" };
    let span = Span { function, what: "a data pointer", address, length: length.into() };
    let data = guest_bytes(caller, &module, span)?;
    if direction == Direction::Out
        && let Err(error) = core.finish()
    {
        return code_of(core, buffer.device, error);
    }
    let copied = core.context(buffer.device).and_then(|context| {
        match direction {
            Direction::In => context.write_buffer(buffer.spec.id, offset, data)?,
            Direction::Out => context.read_buffer(buffer.spec.id, offset, data)?,
        }
        Ok(())
    });
    match copied {
        Ok(()) => Ok(ErrorCode::Success),
        Err(error) => code_of(core, buffer.device, error),
    }
}
