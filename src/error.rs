//! What can go wrong for an embedder; each message is whole sentences in one paragraph.

use std::path::PathBuf;

use wavelift_translator::{self as translator, SourceLine};

use crate::device::{DeviceError, Location};
use crate::host::{HostFault, PARALLEL_FOR, PARALLEL_FOR_MODULE};
use crate::interrupt::Interruption;
use crate::kernel::Mismatch;
use crate::runtime::Module;
use crate::trap::{KernelFault, guest_frame, in_parentheses, unreachable_at};

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a guest could not be loaded or did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("The file `{}` can't be read: {reason}.", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: std::io::Error,
    },
    /// Neither binary nor text.
    #[error(
        "The input is not WebAssembly: it neither starts with the bytes of a binary module (`\\0asm`) nor is it text. \
         Give a `.wasm` or a `.wat` file."
    )]
    NotWasm,
    /// Text that is no module.
    #[error("The text is not a WebAssembly module: {0}.")]
    Text(String),
    /// Bytes that are no valid module.
    #[error(transparent)]
    Invalid(#[from] translator::Error),
    /// A memory with 64-bit addresses.
    #[error(
        "The module has a 64-bit memory (memory64), and kernels address memory with 32 bits. Compile it for wasm32."
    )]
    Memory64,
    /// A shared memory.
    #[error(
        "The module has a shared memory (wasi-threads), which this version of wavelift does not run. Compile it \
         without threads; kernels run in parallel without them."
    )]
    SharedMemory,
    /// Wasmtime refuses the module.
    #[error("The module can't be compiled: {0}.")]
    Compile(String),
    /// Wasmtime can't run here.
    #[error("The WebAssembly engine can't be set up on this machine: {0}.")]
    Engine(String),
    /// An import of `wasi_ephemeral_parallel` with a type that is none of the ABI's.
    #[error("{0}")]
    ImportType(String),
    /// An import that nobody provides.
    #[error(
        "The module imports `{module}::{name}`, which this host does not provide. It provides \
         `wasi_ephemeral_parallel` and WASI preview 1 (`wasi_snapshot_preview1`)."
    )]
    UnknownImport {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
    },
    /// Linking fails otherwise.
    #[error("The module can't be linked: {0}.")]
    Link(String),
    /// No GPU though one was asked for.
    #[error("There is no GPU adapter on this machine. Use `--device cpu`, or install a Vulkan driver.")]
    NoGpu,
    /// No such adapter.
    #[error("There is no adapter `{wanted}`. {}", available_sentence(available))]
    NoAdapter {
        /// The name or index that was asked for.
        wanted: String,
        /// The names of the adapters there are, by index.
        available: Vec<String>,
    },
    /// An adapter and the CPU at once.
    #[error("The adapter `{wanted}` is a GPU's, and the device that was chosen is the CPU: give one or the other.")]
    AdapterOfCpu {
        /// The name or index that was asked for.
        wanted: String,
    },
    /// A device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Nothing to start.
    #[error(
        "The module exports no function `_start` without parameters and results. {}",
        functions_sentence(functions)
    )]
    NoStart {
        /// The functions it exports.
        functions: Vec<String>,
    },
    /// No such function.
    #[error("The module exports no function `{name}`. {}", functions_sentence(functions))]
    NoSuchFunction {
        /// The function that was asked for.
        name: String,
        /// The functions it exports.
        functions: Vec<String>,
    },
    /// Arguments that don't fit the parameters.
    #[error("The function `{function}` takes the arguments ({}), and {given} were given.", expected.join(", "))]
    Arguments {
        /// The function.
        function: String,
        /// The types of its parameters.
        expected: Vec<String>,
        /// How many arguments it got.
        given: usize,
    },
    /// An argument that is no number.
    #[error("The argument `{text}` is not a number of type {ty}.")]
    Argument {
        /// The argument.
        text: String,
        /// The parameter's type.
        ty: String,
    },
    /// The guest trapped.
    #[error("The guest trapped: {what}{}{}.", place_phrase(function, offset), in_parentheses(line))]
    Trap {
        /// What happened.
        what: String,
        /// The function it happened in, where that is known.
        function: Option<String>,
        /// The byte offset in the guest's module, where that is known.
        offset: Option<usize>,
        /// The line of source, where the module has DWARF that says so.
        line: Option<Box<SourceLine>>,
    },
    /// A kernel trapped.
    #[error(transparent)]
    Kernel(#[from] KernelFault),
    /// The guest broke a rule of the ABI.
    #[error(transparent)]
    Host(#[from] HostFault),
    /// Two devices disagree.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The guest called `proc_exit`.
    #[error("The guest exited with code {0}.")]
    Exit(i32),
    /// The guest was stopped from outside.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// A host function failed otherwise.
    #[error("The guest was stopped: {0}.")]
    Stopped(String),
}

impl Error {
    /// What a call of an exported function ended with, when Wasmtime gives `error`: hosts with a store of their own
    /// get sentences with it instead of Wasmtime's backtraces.
    pub fn of_call(error: wasmtime::Error, module: &Module) -> Error {
        let error = match error.downcast::<Error>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Error::Exit(exit.0);
        }
        if let Some(fault) = error.downcast_ref::<KernelFault>() {
            return Error::Kernel(fault.clone());
        }
        if let Some(fault) = error.downcast_ref::<HostFault>() {
            return Error::Host(fault.clone());
        }
        if let Some(mismatch) = error.downcast_ref::<Mismatch>() {
            return Error::Mismatch(mismatch.clone());
        }
        if let Some(interruption) = error.downcast_ref::<Interruption>() {
            return Error::Interrupted(*interruption);
        }
        if let Some(device) = error.downcast_ref::<DeviceError>() {
            return Error::Device(device.clone());
        }
        let Some(trap) = error.downcast_ref::<wasmtime::Trap>() else {
            return Error::Stopped(Error::one_line(&error));
        };
        let frame = guest_frame(&error, module);
        let offset = frame.and_then(|frame| {
            let offset = module.original_offset(frame.module_offset()?) as u32;
            let at = Location { function: frame.func_index(), offset };
            let unreachable = matches!(trap, wasmtime::Trap::UnreachableCodeReached);
            Some(if unreachable { unreachable_at(module.wasm(), at) } else { at }.offset as usize)
        });
        Error::Trap {
            what: trap.to_string().trim_start_matches("wasm trap: ").to_string(),
            function: frame.map(|f| module.wasm().function_name(f.func_index())),
            offset,
            line: offset.and_then(|offset| module.wasm().source_line(offset as u32)).map(Box::new),
        }
    }

    /// What instantiation ended with.
    pub fn of_instantiation(error: wasmtime::Error, module: &Module) -> Error {
        if let Some(unknown) = error.downcast_ref::<wasmtime::UnknownImportError>() {
            // Compiled modules have another name for it than guests.
            let name = if unknown.name() == PARALLEL_FOR_MODULE { PARALLEL_FOR } else { unknown.name() };
            return Error::UnknownImport { module: unknown.module().to_string(), name: name.to_string() };
        }
        match Error::of_call(error, module) {
            Error::Stopped(message) => Error::Link(message),
            other => other,
        }
    }

    /// An error and its causes in one line, without a full stop.
    pub(crate) fn one_line(error: &wasmtime::Error) -> String {
        let causes = error.chain().map(|cause| cause.to_string());
        let causes = causes.filter(|cause| !cause.starts_with("error while executing at wasm backtrace"));
        let line = causes.collect::<Vec<_>>().join(": ");
        line.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_string()
    }
}

fn available_sentence(available: &[String]) -> String {
    if available.is_empty() {
        return "This machine has none at all; use `--device cpu`.".to_string();
    }
    let names: Vec<String> = available.iter().enumerate().map(|(i, name)| format!("{i} `{name}`")).collect();
    format!("There are: {}.", names.join(", "))
}

fn functions_sentence(functions: &[String]) -> String {
    if functions.is_empty() {
        return "It exports no functions at all.".to_string();
    }
    let shown: Vec<String> = functions.iter().take(20).map(|name| format!("`{name}`")).collect();
    let more = if functions.len() > shown.len() { ", and others" } else { "" };
    format!("It exports {}{more}; name one with `--invoke`.", shown.join(", "))
}

fn place_phrase(function: &Option<String>, offset: &Option<usize>) -> String {
    let function = function.as_ref().map(|name| format!(" in function `{name}`")).unwrap_or_default();
    let offset = offset.map(|offset| format!(" at byte offset {offset:#x}")).unwrap_or_default();
    format!(",{function}{offset}").trim_end_matches(',').to_string()
}
