//! A kernel's trap, as the guest's host sees it.

use wasmtime::{Trap, WasmBacktrace};

use crate::device::{KernelTrap, Launch, Location, TrapKind};
use crate::runtime::Module;

/// An invocation of a kernel trapped; the guest that launched it is stopped with this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The kernel `{kernel}` trapped: {kind}, in function `{function}` (index {}) at byte offset {:#x}. The lowest \
     iteration that trapped is {iteration}.",
    at.function,
    at.offset
)]
pub struct KernelFault {
    /// The kernel's name.
    pub kernel: String,
    /// The name of the function that holds the operator that trapped.
    pub function: String,
    /// That operator.
    pub at: Location,
    /// What happened.
    pub kind: TrapKind,
    /// The lowest trapping iteration id.
    pub iteration: u32,
}

impl KernelFault {
    /// Adds names to what a device reports.
    pub(crate) fn new(launch: &Launch, trap: &KernelTrap) -> Self {
        let wasm = &launch.module.wasm;
        KernelFault {
            kernel: wasm.function_name(launch.function),
            function: wasm.function_name(trap.at.function),
            at: trap.at,
            kind: trap.kind,
            iteration: trap.iteration,
        }
    }
}

/// The trap of a kernel that ran in the caller's own instance; `None` if `error` is something else, such as the end
/// of the guest by `proc_exit`.
pub(crate) fn kernel_trap(error: &wasmtime::Error, module: &Module, iteration: u32) -> Option<KernelTrap> {
    let kind = kind_of(error.downcast_ref::<Trap>()?)?;
    let frame = error.downcast_ref::<WasmBacktrace>().and_then(|b| b.frames().first());
    let at = frame.map(|frame| Location {
        function: frame.func_index(),
        offset: frame.module_offset().map_or(0, |offset| module.original_offset(offset) as u32),
    });
    Some(KernelTrap { at: at.unwrap_or_default(), kind, iteration })
}

/// `None` for traps that are none of Wasm's own.
fn kind_of(trap: &Trap) -> Option<TrapKind> {
    Some(match trap {
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::MemoryOutOfBounds => TrapKind::OutOfBounds,
        Trap::IntegerDivisionByZero => TrapKind::DivideByZero,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::BadConversionToInteger => TrapKind::BadConversion,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::NullTableEntry,
        Trap::BadSignature => TrapKind::IndirectCallType,
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::OutOfFuel => TrapKind::OutOfFuel,
        _ => return None,
    })
}
