//! Why a kernel could not be lifted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::module::Module;
use crate::speculation::Assumption;

/// A place in the guest's bytecode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Index of the function in the module's function index space (imports first).
    pub function: u32,
    /// Byte offset of the operator from the start of the module.
    pub offset: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {}, byte offset {:#x}", self.function, self.offset)
    }
}

/// What kind of fault a kernel ran into; Wasm's own traps, and the limits a device adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrapKind {
    /// The `unreachable` operator.
    Unreachable,
    /// An access outside linear memory and the launch's buffers, or a store to a `read` buffer.
    OutOfBounds,
    /// An atomic access at an address that is not a multiple of its size.
    UnalignedAtomic,
    /// Integer division or remainder by zero.
    DivideByZero,
    /// Signed division overflow, or a float too large for the integer it is truncated to.
    IntegerOverflow,
    /// Truncation of a NaN to an integer.
    BadConversion,
    /// `call_indirect` beyond the table's end.
    TableOutOfBounds,
    /// `call_indirect` of a null entry.
    NullTableEntry,
    /// `call_indirect` of a function of another type.
    IndirectCallType,
    /// The call stack is used up.
    StackOverflow,
    /// The invocation ran past its limit of loop iterations.
    OutOfFuel,
    /// No trap of the kernel's: an assumption of its speculative form does not hold, and the launch is to be undone and run
    /// in another way.
    BailedOut(Assumption),
    /// No trap of the kernel's, and in no shader's list of sites: four invocations that ran as one part, and are to be run one
    /// by one.
    OneByOne,
}

impl TrapKind {
    /// The assumption that does not hold, if it is a bail-out.
    pub fn bail_out(self) -> Option<Assumption> {
        match self {
            TrapKind::BailedOut(assumption) => Some(assumption),
            _ => None,
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrapKind::Unreachable => "unreachable code was reached",
            TrapKind::OutOfBounds => "a memory access was out of bounds",
            TrapKind::UnalignedAtomic => "the address of an atomic access was not a multiple of its size",
            TrapKind::DivideByZero => "an integer was divided by zero",
            TrapKind::IntegerOverflow => "an integer operation overflowed",
            TrapKind::BadConversion => "a float that is not a number was converted to an integer",
            TrapKind::TableOutOfBounds => "an indirect call's index was beyond the table's end",
            TrapKind::NullTableEntry => "an indirect call's table entry was null",
            TrapKind::IndirectCallType => "an indirect call's function had another type",
            TrapKind::StackOverflow => "the call stack was used up",
            TrapKind::OutOfFuel => "the invocation ran past its limit of loop iterations",
            TrapKind::OneByOne => "invocations that ran as one parted",
            TrapKind::BailedOut(assumption) => {
                return write!(f, "it was assumed that {assumption}, which does not hold");
            }
        })
    }
}

/// Why [`translate`](crate::translate) gave no shader.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no valid module.
    #[error("The module is not valid WebAssembly at byte offset {offset:#x}: {message}.")]
    Invalid {
        /// Byte offset from the start of the module.
        offset: usize,
        /// What the validator says.
        message: String,
    },
    /// The bytes are a module, but of a feature of WebAssembly that guests may not use.
    #[error(
        "The module uses a feature of WebAssembly that wavelift does not run, at byte offset {offset:#x}: {message}. \
         Compile it without that feature."
    )]
    Feature {
        /// Byte offset from the start of the module.
        offset: usize,
        /// What the validator says.
        message: String,
    },
    /// The function asked for does not exist or has no kernel's type.
    #[error("{0}")]
    NotAKernel(String),
    /// The kernel is valid, but this lifter or this device can't run it; the CPU device can.
    #[error("{}", unsupported_sentence(.what, .function_name, &byte_offset(.at), *.too_large))]
    Unsupported {
        /// The construct, as a noun phrase: "`memory.grow`".
        what: String,
        /// The name of the function at `at`, or its number where it has none.
        function_name: String,
        /// Where it stands, if it stands at one place.
        at: Option<Location>,
        /// Whether it is refused for its size alone, so that a smaller form may be lifted.
        too_large: bool,
    },
    /// Lifting the kernel is more work than [`Options::max_work`](crate::Options::max_work); the CPU device can run it.
    #[error("Lifting the kernel `{function_name}` is more work than the limit of {limit} steps.")]
    TooMuchWork {
        /// The limit.
        limit: u64,
        /// The kernel's name, or its number where it has none.
        function_name: String,
    },
    /// A pass broke its own rules: a defect in the translator.
    #[error("The translator broke its own rule and gave up: {0}. Please report this with the module.")]
    Internal(String),
}

impl Error {
    /// The error as a sentence that names the source line, too, where the module has DWARF that does.
    pub fn sentence(&self, module: &Module) -> String {
        match self {
            Error::Unsupported { what, function_name, at: Some(at), too_large } => {
                unsupported_sentence(what, function_name, &format!(", {}", module.place(at.offset)), *too_large)
            }
            other => other.to_string(),
        }
    }
}

/// `place` follows the function's name.
fn unsupported_sentence(what: &str, name: &str, place: &str, too_large: bool) -> String {
    let advice = if too_large { " Build it with optimisation, or divide it into several kernels." } else { "" };
    format!("Kernels can't be lifted with {what} (function `{name}`{place}).{advice}")
}

fn byte_offset(at: &Option<Location>) -> String {
    at.map(|at| format!(", byte offset {:#x}", at.offset)).unwrap_or_default()
}

/// The translator's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
