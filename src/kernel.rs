//! How a launch is run: on its device, else on the CPU, else in the caller's own instance or, where the kernel came as a
//! module, in one beside it.

mod deferred;
mod initial;
mod last_words;
mod module;
mod verify;

use std::time::{Duration, Instant};

use wasmtime::Result;

use crate::device::{BufferSpec, Caller, KernelTrap, Launch, LaunchError, LaunchTimes, Launched};
use crate::host::{Core, ErrorCode, HostFault};
use crate::interrupt::Interrupt;
use crate::memory::{AddressSpace, MemoryError};
use crate::report::LaunchRecord;
use crate::runtime::DeviceSlot;
use crate::trap::KernelFault;

pub(crate) use deferred::Deferred;
pub(crate) use last_words::LastWords;
pub(crate) use module::{KernelModule, KernelModules};
pub use verify::Mismatch;

/// The instance that launches a kernel, and can run it itself.
pub(crate) trait CallerInstance: Caller {
    /// Runs all invocations in order in this instance, or in one of the kernel's module that shares its memory; the
    /// buffers are exposed there.
    fn run_in_order(&mut self, launch: &Launch, interrupt: &Interrupt) -> Result<(), InOrderError>;
}

/// What ends a kernel in the caller's instance early.
pub(crate) enum InOrderError {
    /// A trap.
    Trap(KernelTrap),
    /// Something else that must reach the guest's host unchanged, such as `proc_exit`.
    Guest(wasmtime::Error),
    /// There is no instance that could run it; a sentence. Nothing was run.
    Refused(String),
}

/// A launch that was run.
struct Ran {
    on: DeviceSlot,
    times: LaunchTimes,
    /// Why it was not run on its device.
    reason: Option<String>,
    /// It ran in the caller's instance and may have had effects outside: it can't be repeated.
    in_caller: bool,
}

/// How a launch went.
enum Progress {
    /// To its end.
    Ran(Ran),
    /// It is under way on its device.
    Deferred,
}

/// Why a launch was not run to its end.
enum Failure {
    /// It needs a fallback that is forbidden or impossible; the reason.
    Refused(String),
    Trap(KernelTrap),
    /// A trap in the caller's instance.
    TrapInOrder(KernelTrap),
    Other(wasmtime::Error),
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Failure::Other(error)
    }
}

/// Times before a launch that it is charged with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// Uploads.
    pub upload: Duration,
    /// Loading the kernel's module.
    pub load: Duration,
}

/// Runs a launch and records it.
///
/// # Errors
/// A kernel's trap, a verification's mismatch, a device's error.
pub(crate) fn launch(
    core: &mut Core,
    slot: DeviceSlot,
    launch: &Launch,
    before: Before,
    caller: &mut dyn CallerInstance,
) -> Result<ErrorCode> {
    core.launches += 1;
    let kernel = launch.module.wasm.function_name(launch.function);
    let mut record = LaunchRecord {
        lift: before.load,
        upload: before.upload,
        function: (launch.module.id, launch.function),
        ..LaunchRecord::new(kernel, core.device_name(slot), launch.iterations)
    };
    let before = match core.runtime.config().verify {
        true => Some(verify::Snapshot::take(core, slot, launch, caller)?),
        false => None,
    };
    let defer = core.defers && before.is_none();
    let outcome = match run(core, slot, launch, caller, defer) {
        Ok(Progress::Deferred) => {
            core.deferred.push(Deferred { slot, launch: launch.clone(), record });
            return Ok(ErrorCode::Success);
        }
        Ok(Progress::Ran(ran)) => {
            record.device = match ran.in_caller {
                // Of a CPU's cores it had one.
                true => "CPU (in order)".to_string(),
                false => core.device_name(ran.on),
            };
            record.fallback = ran.reason;
            record.note_times(&ran.times);
            record.note_form(&launch.module.wasm, &ran.times);
            match before {
                Some(before) if !ran.in_caller => {
                    let verified = verify::verify(core, slot, ran.on, launch, &before, caller);
                    record.verified = u64::from(verified.is_ok());
                    verified.map(|()| ErrorCode::Success)
                }
                _ => Ok(ErrorCode::Success),
            }
        }
        Err(Failure::Refused(reason)) => {
            record.fallback = Some(format!("Not run: {reason}"));
            Ok(ErrorCode::Unsupported)
        }
        Err(Failure::Trap(trap)) => {
            record.note_trap(&trap);
            Err(last_words::fault(core, slot, launch, &trap))
        }
        Err(Failure::TrapInOrder(trap)) => {
            record.note_trap(&trap);
            Err(KernelFault::new(launch, &trap).into())
        }
        Err(Failure::Other(error)) => {
            record.fallback = Some("Failed.".to_string());
            Err(error)
        }
    };
    core.report.push(record);
    outcome
}

/// Notes in the report why a guest's kernel module is no kernel, which an error code can't say.
pub(crate) fn note_bad_kernel(core: &mut Core, iterations: u32, reason: &str) {
    tracing::warn!("A launch had no kernel (error 5): {reason}");
    let record = LaunchRecord::new("(no kernel)".to_string(), "-".to_string(), iterations);
    core.report.push(LaunchRecord { fallback: Some(format!("Not run: {reason}")), ..record });
}

fn run(
    core: &mut Core,
    slot: DeviceSlot,
    launch: &Launch,
    caller: &mut dyn CallerInstance,
    defer: bool,
) -> Result<Progress, Failure> {
    core.interrupt.check().map_err(wasmtime::Error::from)?;
    if !defer {
        core.finish()?;
    }
    if let Some(refused) = too_large(core, launch) {
        return Err(Failure::Refused(refused));
    }
    let context = core.context(slot)?;
    // The CPU device's shortest launches take little longer than looking at the clock.
    let started = (!slot.is_cpu()).then(Instant::now);
    let launched = match defer {
        true => context.enqueue(launch, caller),
        false => context.launch(launch, caller).map(Launched::Done),
    };
    let (reason, in_caller) = match launched {
        Ok(Launched::Deferred) => return Ok(Progress::Deferred),
        // What was deferred before it has ended, too: its records come first.
        Ok(Launched::Done(times)) => {
            core.finish()?;
            return Ok(Progress::Ran(Ran { on: slot, times, reason: None, in_caller: false }));
        }
        Err(LaunchError::Unsupported(reason)) if !slot.is_cpu() => (reason, false),
        Err(LaunchError::NeedsCaller(reason)) => (reason, true),
        Err(error) => {
            core.finish()?;
            return Err(failure(error, launch));
        }
    };
    let refused_after = started.map(|started| started.elapsed()).unwrap_or_default();
    // What runs elsewhere must not run if one before it trapped.
    core.finish()?;
    if slot.is_cpu() {
        let times = run_in_caller(core, launch, caller)?;
        return Ok(Progress::Ran(Ran { on: slot, times, reason: Some(reason), in_caller: true }));
    }
    if !core.runtime.config().allow_fallback {
        return Err(Failure::Refused(reason));
    }
    let mut ran = run_on_cpu(core, slot, launch, caller, reason, in_caller)?;
    ran.times.lift += refused_after;
    Ok(Progress::Ran(ran))
}

/// The sentence that refuses a kernel beyond the limit of [`Limits::kernel_size`](crate::Limits::kernel_size).
fn too_large(core: &Core, launch: &Launch) -> Option<String> {
    let (wasm, limit) = (&launch.module.wasm, core.runtime.config().limits.kernel_size);
    // A module that is small as a whole has no kernel that is not.
    if wasm.bytes().len() as u64 <= limit {
        return None;
    }
    let size = wasm.code_reached(launch.function);
    (size > limit).then(|| {
        format!(
            "The kernel `{}` reaches {size} bytes of code, and the limit is {limit}. Raise the limit, or make it smaller.",
            wasm.function_name(launch.function)
        )
    })
}

/// Moves the launch's buffers from a GPU to the CPU, runs it there, and moves those that may have changed back.
fn run_on_cpu(
    core: &mut Core,
    slot: DeviceSlot,
    launch: &Launch,
    caller: &mut dyn CallerInstance,
    mut reason: String,
    mut in_caller: bool,
) -> Result<Ran, Failure> {
    let cpu = DeviceSlot::Cpu;
    let started = Instant::now();
    let buffers = distinct_buffers(launch);
    move_all(core, slot, &buffers)?;
    let moving = started.elapsed();
    let result = match in_caller {
        true => run_in_caller(core, launch, caller),
        false => match core.context(cpu)?.launch(launch, caller) {
            Ok(times) => Ok(times),
            Err(LaunchError::NeedsCaller(why)) => {
                reason = format!("{reason} {why}");
                in_caller = true;
                run_in_caller(core, launch, caller)
            }
            Err(error) => Err(failure(error, launch)),
        },
    };
    let started = Instant::now();
    let moved_back = match &result {
        Ok(_) => {
            let mut changed = buffers.iter().filter(|spec| spec.access.is_writable());
            changed.try_for_each(|spec| copy(core, cpu, slot, spec))
        }
        Err(_) => Ok(()),
    };
    free(core, cpu, &buffers);
    let mut times = result?;
    moved_back?;
    times.run += moving + started.elapsed();
    Ok(Ran { on: cpu, times, reason: Some(reason), in_caller })
}

/// Runs the launch in the caller's instance, or beside it; its buffers are on the CPU.
fn run_in_caller(core: &mut Core, launch: &Launch, caller: &mut dyn CallerInstance) -> Result<LaunchTimes, Failure> {
    let space = core.space().map_err(wasmtime::Error::from)?;
    // A kernel with a memory of its own does not see the caller's.
    let buffers = if caller.own_memory().is_some() { Vec::new() } else { distinct_buffers(launch) };
    let started = Instant::now();
    let outcome = exposed(&space, &buffers, || caller.run_in_order(launch, &core.interrupt))
        .map_err(|error| Failure::Refused(format!("The kernel must run in the guest's own instance. {error}")))?;
    match outcome {
        Ok(()) => Ok(LaunchTimes { run: started.elapsed(), ..LaunchTimes::default() }),
        Err(InOrderError::Trap(trap)) => Err(Failure::TrapInOrder(trap)),
        Err(InOrderError::Guest(error)) => Err(Failure::Other(error)),
        Err(InOrderError::Refused(reason)) => Err(Failure::Refused(reason)),
    }
}

/// Runs something with buffers of the CPU mapped into the caller's memory.
fn exposed<R>(space: &AddressSpace, buffers: &[BufferSpec], run: impl FnOnce() -> R) -> Result<R, MemoryError> {
    if buffers.is_empty() {
        return Ok(run());
    }
    space.expose(buffers)?;
    let outcome = run();
    space.hide(buffers);
    Ok(outcome)
}

/// A device's refusal that no other device can make good.
fn failure(error: LaunchError, launch: &Launch) -> Failure {
    let reason = match error {
        LaunchError::Trap(trap) => return Failure::Trap(trap),
        LaunchError::Device(error) => return Failure::Other(error.into()),
        LaunchError::Interrupted(interruption) => return Failure::Other(interruption.into()),
        LaunchError::Unsupported(reason) | LaunchError::NeedsCaller(reason) | LaunchError::Internal(reason) => reason,
    };
    Failure::Other(not_run(launch, reason))
}

/// The error of a launch that failed for a reason that lies with the host.
fn not_run(launch: &Launch, reason: String) -> wasmtime::Error {
    HostFault::Launch { kernel: launch.module.wasm.function_name(launch.function), reason }.into()
}

/// The launch's buffers, each once.
fn distinct_buffers(launch: &Launch) -> Vec<BufferSpec> {
    let mut buffers: Vec<BufferSpec> = Vec::new();
    for spec in &launch.buffers {
        if buffers.iter().all(|known| known.id != spec.id) {
            buffers.push(*spec);
        }
    }
    buffers
}

/// The whole contents of a buffer.
fn contents(core: &mut Core, slot: DeviceSlot, spec: &BufferSpec) -> Result<Vec<u8>> {
    let mut bytes = vec![0; spec.size as usize];
    core.context(slot)?.read_buffer(spec.id, 0, &mut bytes)?;
    Ok(bytes)
}

fn copy(core: &mut Core, from: DeviceSlot, to: DeviceSlot, spec: &BufferSpec) -> Result<()> {
    let bytes = contents(core, from, spec)?;
    core.context(to)?.write_buffer(spec.id, 0, &bytes)?;
    Ok(())
}

/// Makes all buffers on the CPU, too, or none.
fn move_all(core: &mut Core, from: DeviceSlot, buffers: &[BufferSpec]) -> Result<()> {
    for (i, spec) in buffers.iter().enumerate() {
        if let Err(error) = move_to(core, from, DeviceSlot::Cpu, spec) {
            free(core, DeviceSlot::Cpu, &buffers[..=i]);
            return Err(error);
        }
    }
    Ok(())
}

/// Makes the buffer on another device too, with its contents.
fn move_to(core: &mut Core, from: DeviceSlot, to: DeviceSlot, spec: &BufferSpec) -> Result<()> {
    core.context(to)?.create_buffer(spec)?;
    copy(core, from, to, spec)
}

/// Frees buffers of another device; a device that is gone has none.
fn free(core: &mut Core, slot: DeviceSlot, buffers: &[BufferSpec]) {
    if let Ok(context) = core.context(slot) {
        for spec in buffers {
            context.free_buffer(spec.id);
        }
    }
}
