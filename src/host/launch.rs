//! The three forms of a launch: `parallel_for` with a table entry, `parallel_for` with a kernel module, and
//! `parallel_exec`, which is the latter with a device.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Caller, Linker, Result};

use super::calls::{Span, code_of, guest_bytes, set_up_space, with_core};
use super::guest::Buffer;
use super::module_caller::ModuleCaller;
use super::view::{View, memory_of};
use super::{Core, ErrorCode, GuestState, HostFault, MODULE, PARALLEL_FOR, PARALLEL_FOR_MODULE};
use crate::device::{GuestModule, Launch};
use crate::kernel::{self, Before, KernelModule};
use crate::runtime::{DeviceSlot, Module};

const PARALLEL_EXEC: &str = "parallel_exec";

/// What a call asks for in every form.
#[derive(Clone, Copy)]
struct Call {
    function: &'static str,
    iterations: u32,
    block_size: u32,
    /// Address and number of handles, of in-buffers and of out-buffers.
    lists: [(u32, u32); 2],
}

/// Where a call's kernel is.
#[derive(Clone, Copy)]
enum Source {
    /// An entry of the guest's table.
    Entry(u32),
    /// A module's bytes in linear memory.
    Bytes { address: u32, length: u32 },
}

/// A kernel that fits the call.
enum Kernel {
    /// A function of the guest's module.
    OfGuest(u32),
    /// One with a module of its own, and the time that loading it took.
    OfModule(Arc<KernelModule>, Duration),
}

/// Defines the three forms. Compiled modules call the two that guests know by one name by different ones.
pub(super) fn define<T: 'static>(
    linker: &mut Linker<T>,
    access: impl Fn(&mut T) -> &mut GuestState + Copy + Send + Sync + 'static,
) -> Result<()> {
    type P = u32;
    let run = move |mut caller: Caller<'_, T>, call: Call, source: Source, device: Option<u32>| {
        with_core(&mut caller, access, call.function, |core, caller| launch(core, caller, call, source, device))
    };
    linker.func_wrap(
        MODULE,
        PARALLEL_FOR,
        move |caller: Caller<'_, T>, entry: P, n: P, block: P, ins: P, in_count: P, outs: P, out_count: P| {
            let call = Call::new(PARALLEL_FOR, n, block, [(ins, in_count), (outs, out_count)]);
            run(caller, call, Source::Entry(entry), None)
        },
    )?;
    linker.func_wrap(
        MODULE,
        PARALLEL_FOR_MODULE,
        move |caller: Caller<'_, T>,
              address: P,
              length: P,
              n: P,
              block: P,
              ins: P,
              in_count: P,
              outs: P,
              out_count: P| {
            let call = Call::new(PARALLEL_FOR, n, block, [(ins, in_count), (outs, out_count)]);
            run(caller, call, Source::Bytes { address, length }, None)
        },
    )?;
    linker.func_wrap(
        MODULE,
        PARALLEL_EXEC,
        move |caller: Caller<'_, T>,
              device: P,
              address: P,
              length: P,
              n: P,
              block: P,
              ins: P,
              in_count: P,
              outs: P,
              out_count: P| {
            let call = Call::new(PARALLEL_EXEC, n, block, [(ins, in_count), (outs, out_count)]);
            run(caller, call, Source::Bytes { address, length }, Some(device))
        },
    )?;
    Ok(())
}

impl Call {
    fn new(function: &'static str, iterations: u32, block_size: u32, lists: [(u32, u32); 2]) -> Call {
        Call { function, iterations, block_size, lists }
    }

    /// Number of buffers.
    fn buffers(&self) -> u64 {
        u64::from(self.lists[0].1) + u64::from(self.lists[1].1)
    }

    fn list_bytes<'m, T: 'static>(
        &self,
        caller: &'m mut Caller<'_, T>,
        module: &Module,
        what: &'static str,
        (address, count): (u32, u32),
    ) -> Result<&'m [u8], HostFault> {
        if count == 0 {
            return Ok(&[]);
        }
        let span = Span { function: self.function, what, address, length: u64::from(count) * 4 };
        Ok(guest_bytes(caller, module, span)?)
    }

    fn kernel_span(&self, address: u32, length: u32) -> Span {
        Span { function: self.function, what: "a kernel", address, length: u64::from(length) }
    }

    fn launch_of(&self, module: &Arc<GuestModule>, function: u32, buffers: &[Buffer]) -> Launch {
        Launch {
            module: module.clone(),
            function,
            iterations: self.iterations,
            block_size: self.block_size,
            buffers: buffers.iter().map(|buffer| buffer.spec).collect(),
        }
    }
}

/// Checks a call, and launches. `device` is a handle.
fn launch<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    call: Call,
    source: Source,
    device: Option<u32>,
) -> Result<ErrorCode> {
    let module = core.module.clone();
    for (what, list) in ["a list of in-buffers", "a list of out-buffers"].into_iter().zip(call.lists) {
        call.list_bytes(caller, &module, what, list)?;
    }
    if let Source::Bytes { address, length } = source {
        guest_bytes(caller, &module, call.kernel_span(address, length))?;
    }
    let asked = match device.map(|handle| core.device_of(handle)) {
        Some(None) => return Ok(ErrorCode::BadHandle),
        asked => asked.flatten(),
    };
    let found = match source {
        Source::Entry(entry) => kernel_at(core, caller, &call, entry),
        Source::Bytes { address, length } => kernel_in(core, caller, &call, address, length)?,
    };
    // The lists are read only once the kernel's type bounds their lengths.
    let Some(kernel) = found else { return Ok(ErrorCode::BadKernel) };
    let mut handles: Vec<u32> = Vec::new();
    for list in call.lists {
        let bytes = call.list_bytes(caller, &module, "a list of buffers", list)?;
        handles.extend(bytes.as_chunks::<4>().0.iter().map(|handle| u32::from_le_bytes(*handle)));
    }
    let buffers: Option<Vec<Buffer>> = handles.iter().map(|handle| core.buffers.get(*handle).copied()).collect();
    let Some(buffers) = buffers else { return Ok(ErrorCode::BadHandle) };
    let slot = match asked {
        Some(slot) => slot,
        None => slot_of(core, &buffers)?,
    };
    if buffers.iter().any(|buffer| buffer.device != slot) {
        return Ok(ErrorCode::BadDevice);
    }
    let most = core.runtime.config().limits.iterations;
    if call.iterations > most {
        return Err(
            HostFault::Limit { function: call.function, what: "iterations", given: call.iterations, most }.into()
        );
    }
    if call.iterations == 0 {
        return Ok(ErrorCode::Success);
    }
    set_up_space(core, caller)?;
    let upload = core.take_uploads(&handles);
    let launched = match kernel {
        Kernel::OfGuest(function) => {
            let launch = call.launch_of(module.guest(), function, &buffers);
            let mut view = View::new(caller, &module, core.functions.clone());
            kernel::launch(core, slot, &launch, Before { upload, load: Duration::ZERO }, &mut view)
        }
        Kernel::OfModule(kernel, load) => {
            if kernel.initial.memory.as_ref().is_some_and(|own| own.size > core.lowest_buffer()) {
                return Ok(ErrorCode::OutOfMemory);
            }
            let launch = call.launch_of(&kernel.guest, kernel.function, &buffers);
            let view = View::new(caller, &module, None);
            let mut caller = ModuleCaller::new(kernel, view, core)?;
            let launched = kernel::launch(core, slot, &launch, Before { upload, load }, &mut caller);
            core.kernel_instances = caller.into_instances();
            launched
        }
    };
    launched.or_else(|error| code_of(core, slot, error))
}

/// The device of a launch that names none.
fn slot_of(core: &Core, buffers: &[Buffer]) -> Result<DeviceSlot> {
    Ok(match (buffers.first(), core.last_device) {
        (Some(first), _) => first.device,
        (None, Some(last)) => last,
        (None, None) => core.runtime.devices().default_slot()?,
    })
}

/// The kernel at an entry of the guest's table, if it takes as many buffers as the call gives; the report explains why not.
fn kernel_at<T: 'static>(core: &mut Core, caller: &mut Caller<'_, T>, call: &Call, entry: u32) -> Option<Kernel> {
    let module = core.module.clone();
    let mut view = View::new(caller, &module, core.functions.clone());
    let found = view.kernel_at(entry);
    core.functions = view.into_functions();
    let fitting = found.and_then(|function| {
        let name = module.wasm().function_name(function);
        match module.wasm().kernel_buffers(function) {
            Some(takes) => check_buffers(takes, call).map_or(Ok(Kernel::OfGuest(function)), Err),
            None => {
                let ty = "(i32, i32, i32, (i32, i32)*)";
                Err(format!("The function `{name}` at entry {entry} of the table has another type than {ty}."))
            }
        }
    });
    fitting.map_err(|reason| kernel::note_bad_kernel(core, call.iterations, &reason)).ok()
}

/// The kernel in these bytes; `None` if they are no kernel for this call, which the report then explains.
fn kernel_in<T: 'static>(
    core: &mut Core,
    caller: &mut Caller<'_, T>,
    call: &Call,
    address: u32,
    length: u32,
) -> Result<Option<Kernel>> {
    let module = core.module.clone();
    let bytes = guest_bytes(caller, &module, call.kernel_span(address, length))?;
    let found = core.runtime.kernel_modules().get(bytes);
    let memory_size = memory_of(caller, &module).map_or(0, |memory| memory.data_size(&*caller) as u64);
    let fitting = found.and_then(|(kernel, load)| match check(&kernel, call, memory_size) {
        None => Ok(Kernel::OfModule(kernel, load)),
        Some(reason) => Err(reason),
    });
    Ok(fitting.map_err(|reason| kernel::note_bad_kernel(core, call.iterations, &reason)).ok())
}

/// Why a kernel does not fit a call.
fn check(kernel: &KernelModule, call: &Call, memory_size: u64) -> Option<String> {
    let needed = kernel.memory_needed();
    check_buffers(kernel.buffers(), call).or_else(|| {
        (needed > memory_size).then(|| {
            format!("The kernel's module imports a memory of {needed} bytes, and the caller's has {memory_size}.")
        })
    })
}

/// Why a kernel that takes so many buffers does not fit a call.
fn check_buffers(takes: u32, call: &Call) -> Option<String> {
    let given = call.buffers();
    (u64::from(takes) != given).then(|| format!("The kernel takes {takes} buffers, and the call has {given}."))
}
