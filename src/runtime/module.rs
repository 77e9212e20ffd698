//! A guest's module: read, checked, given added exports, compiled.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use wasmtime::ModuleExport;
use wavelift_translator as translator;

use super::Runtime;
use super::splice::{AddedNames, Spliced, splice};
use crate::device::GuestModule;
use crate::error::{Error, Result};

/// A guest's module, compiled for one engine. Cheap to clone.
///
/// The compiled module has more exports than the guest's own: tables, memory, globals and the functions that
/// tables can hold, under names that start with `wavelift:`.
#[derive(Clone, Debug)]
pub struct Module {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    guest: Arc<GuestModule>,
    compiled: wasmtime::Module,
    spliced: Spliced,
    exports: Exports,
}

/// What host functions ask their caller for at each call: to look for names takes as long as a short launch.
struct Exports {
    memory: Option<ModuleExport>,
    tables: Vec<Option<ModuleExport>>,
    /// The first function that can get into a table: by its address instances are told apart.
    function: Option<(u32, ModuleExport)>,
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports").finish_non_exhaustive()
    }
}

impl Module {
    /// Reads a binary module or WebAssembly text, and compiles it for the runtime's own engine.
    ///
    /// # Errors
    /// [`Error::NotWasm`], [`Error::Text`] and [`Error::Invalid`] for what is no module that runs here,
    /// [`Error::Memory64`] and [`Error::SharedMemory`] for memories that can't serve kernels, [`Error::Compile`] for
    /// what Wasmtime refuses.
    pub fn new(runtime: &Runtime, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::with_engine(runtime.engine(), bytes)
    }

    /// Like [`Module::new`], for a host with an engine of its own. Set it up with [`crate::memory::configure`], or the
    /// CPU device copies linear memory at each launch that needs it, and kernels that call the host can't have buffers.
    ///
    /// # Errors
    /// Those of [`Module::new`].
    pub fn with_engine(engine: &wasmtime::Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let wasm = parse(bytes.as_ref())?;
        if wasm.memories().iter().any(|m| m.memory64) {
            return Err(Error::Memory64);
        }
        if wasm.memories().iter().any(|m| m.shared) {
            return Err(Error::SharedMemory);
        }
        Module::compile(engine, GuestModule::new(wasm))
    }

    /// Adds exports and compiles.
    pub(crate) fn compile(engine: &wasmtime::Engine, guest: Arc<GuestModule>) -> Result<Module> {
        let mut spliced = splice(&guest.wasm);
        let bytes = std::mem::take(&mut spliced.bytes);
        let compiled =
            wasmtime::Module::from_binary(engine, &bytes).map_err(|e| Error::Compile(Error::one_line(&e)))?;
        let (names, tables) = (&spliced.names, 0..guest.wasm.tables().len() as u32);
        let function = spliced.functions.first().copied();
        let exports = Exports {
            memory: compiled.get_export_index(names.memory()),
            tables: tables.map(|index| compiled.get_export_index(&names.table(index))).collect(),
            function: function.and_then(|index| Some((index, compiled.get_export_index(&names.function(index))?))),
        };
        Ok(Module { inner: Arc::new(Inner { guest, compiled, spliced, exports }) })
    }

    /// Reads a `.wasm` or `.wat` file.
    ///
    /// # Errors
    /// [`Error::File`] if it can't be read, else those of [`Module::new`].
    pub fn from_file(runtime: &Runtime, path: impl AsRef<Path>) -> Result<Module> {
        Module::new(runtime, read_file(path.as_ref())?)
    }

    /// Reads and validates a `.wasm` or `.wat` file without compiling it: what inspection and translation need.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NotWasm`], [`Error::Text`] and [`Error::Invalid`].
    pub fn parse_file(path: impl AsRef<Path>) -> Result<translator::Module> {
        parse(&read_file(path.as_ref())?)
    }

    /// The guest's own module, without the added exports.
    pub fn wasm(&self) -> &translator::Module {
        &self.inner.guest.wasm
    }

    /// The compiled module with the added exports: what hosts with a linker of their own instantiate.
    pub fn compiled(&self) -> &wasmtime::Module {
        &self.inner.compiled
    }

    pub(crate) fn guest(&self) -> &Arc<GuestModule> {
        &self.inner.guest
    }

    pub(crate) fn names(&self) -> &AddedNames {
        &self.inner.spliced.names
    }

    /// Linear memory 0 of an instance, if its place among the exports is known; so for those below.
    pub(crate) fn memory_export(&self) -> Option<&ModuleExport> {
        self.inner.exports.memory.as_ref()
    }

    /// A table of an instance.
    pub(crate) fn table_export(&self, index: u32) -> Option<&ModuleExport> {
        self.inner.exports.tables.get(index as usize)?.as_ref()
    }

    /// A function of an instance.
    pub(crate) fn function_export(&self, index: u32) -> Option<&ModuleExport> {
        let (known, export) = self.inner.exports.function.as_ref()?;
        (*known == index).then_some(export)
    }

    /// Indices of mutable globals.
    pub(crate) fn mutable_globals(&self) -> Vec<u32> {
        self.wasm().globals().iter().zip(0..).filter(|(global, _)| global.mutable).map(|(_, index)| index).collect()
    }

    /// Functions that can get into a table.
    pub(crate) fn table_functions(&self) -> &[u32] {
        &self.inner.spliced.functions
    }

    /// The byte offset in the guest's own module of a byte offset in the compiled one's code.
    pub(crate) fn original_offset(&self, offset: usize) -> usize {
        self.inner.spliced.original_offset(offset)
    }
}

/// Reads a file.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|reason| Error::File { path: path.to_path_buf(), reason })
}

/// Reads and validates a binary module or WebAssembly text.
fn parse(bytes: &[u8]) -> Result<translator::Module> {
    if bytes.starts_with(b"\0asm") {
        return Ok(translator::Module::parse(bytes.to_vec())?);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') && !text.trim().is_empty() => text,
        _ => return Err(Error::NotWasm),
    };
    let binary = wat::parse_str(text).map_err(|e| Error::Text(text_error(&e)))?;
    Ok(translator::Module::parse(binary)?)
}

/// The first two lines of what the text parser says: what it expected, and at which line and column.
fn text_error(error: &wat::Error) -> String {
    let message = error.to_string();
    let mut lines = message.lines().map(str::trim);
    let what = lines.next().unwrap_or_default().to_string();
    match lines.find_map(|line| line.strip_prefix("-->")) {
        Some(place) => {
            let mut numbers = place.trim().rsplitn(3, ':');
            let (column, line) = (numbers.next().unwrap_or("?"), numbers.next().unwrap_or("?"));
            format!("{what} (line {line}, column {column})")
        }
        None => what,
    }
}
