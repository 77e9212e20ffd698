//! wasmparser sections to a [`Module`]; bodies are parsed when asked for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use wasmparser::{
    BinaryReader, CompositeInnerType, ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody, KnownCustom,
    Name, Operator, Parser, Payload, RefType, TypeRef, ValType, Validator, WasmFeatures,
};

use crate::blocks::Blocks;
use crate::error::{Error, Result};
use crate::libm::Recognised;
use crate::libm::exact::ExactFunctions;
use crate::lines::Lines;
use crate::names::GivenName;
use crate::reach::Reached;

/// A validated module.
#[derive(Debug)]
pub struct Module {
    bytes: Arc<[u8]>,
    types: Vec<Option<FuncType>>,
    /// Type index of each function, imports first.
    functions: Vec<u32>,
    bodies: Vec<Range<usize>>,
    imported_functions: Vec<(String, String)>,
    globals: Vec<Global>,
    tables: Vec<Table>,
    memories: Vec<Memory>,
    elements: Vec<Element>,
    exports: Vec<Export>,
    data: Vec<Data>,
    names: HashMap<u32, GivenName>,
    stack_pointer: Option<u32>,
    code_section_start: usize,
    pub(crate) lines: Lines,
    pub(crate) reached: Reached,
    pub(crate) recognised: Recognised,
    /// What is known of them bit for bit.
    pub(crate) exact: ExactFunctions,
    /// What they do with blocks of memory.
    pub(crate) blocks: Blocks,
}

/// Whether toolchains call the shadow stack's pointer so. AssemblyScript puts a path in front, but checks it against
/// constants, so that a device can't choose another stack: its pointer is not taken for one by its name.
fn is_stack_pointer(name: &str) -> bool {
    name == "__stack_pointer"
}

/// A global of the module, imports first.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its value's type.
    pub ty: ValType,
    /// Whether it can change.
    pub mutable: bool,
    /// Whether it is imported.
    pub imported: bool,
    /// Its initial value, where it is one constant (`i32.const` and its like).
    pub init: Option<ConstInit>,
}

/// A constant initialiser; floats as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstInit {
    /// `i32.const`
    I32(i32),
    /// `i64.const`
    I64(i64),
    /// `f32.const`
    F32(u32),
    /// `f64.const`
    F64(u64),
    /// `v128.const`
    V128(u128),
}

/// A table of the module, imports first.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Whether it holds functions.
    pub holds_functions: bool,
    /// Whether it is imported.
    pub imported: bool,
    /// Least number of entries.
    pub minimum: u64,
}

/// A memory of the module, imports first.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// 64-bit addresses.
    pub memory64: bool,
    /// Shared between threads.
    pub shared: bool,
    /// Whether it is imported.
    pub imported: bool,
    /// Least size in 64 KiB pages.
    pub minimum: u64,
    /// Most pages, where the module says.
    pub maximum: Option<u64>,
}

/// An element segment.
#[derive(Clone, Debug)]
pub struct Element {
    /// Function indices; `None` is a null or an expression other than `ref.func`.
    pub functions: Vec<Option<u32>>,
    /// The table and constant offset of an active segment (`None` as offset: computed from a global).
    pub active: Option<(u32, Option<u32>)>,
}

/// A data segment.
#[derive(Clone, Debug)]
struct Data {
    passive: bool,
    /// Where an active segment's bytes lie in linear memory, if that is a constant.
    address: Option<u32>,
    /// Where its bytes stand in the module.
    bytes: Range<usize>,
}

/// An export.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExternalKind,
    /// Its index in that kind's index space.
    pub index: u32,
}

/// The features of a guest: what Wasmtime runs with its default settings.
pub fn guest_features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::THREADS
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MEMORY64
}

impl Module {
    /// Parses and validates a binary module.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the byte offset when it is no valid module (a component is none either), [`Error::Feature`]
    /// where it is one of a feature that is not among [`guest_features`].
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Module> {
        let bytes: Arc<[u8]> = bytes.into();
        if Parser::is_component(&bytes) {
            return Err(Error::Invalid { offset: 0, message: "it is a component, not a core module".into() });
        }
        validate(&bytes)?;
        let mut module = Module {
            bytes: bytes.clone(),
            types: Vec::new(),
            functions: Vec::new(),
            bodies: Vec::new(),
            imported_functions: Vec::new(),
            globals: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            elements: Vec::new(),
            exports: Vec::new(),
            data: Vec::new(),
            names: HashMap::new(),
            stack_pointer: None,
            code_section_start: 0,
            lines: Lines::default(),
            reached: Reached::default(),
            recognised: Recognised::default(),
            exact: ExactFunctions::default(),
            blocks: Blocks::default(),
        };
        for payload in Parser::new(0).parse_all(&bytes) {
            module.section(payload.map_err(invalid)?).map_err(invalid)?;
        }
        Ok(module)
    }

    fn section(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader {
                    for ty in group?.into_types() {
                        self.types.push(match ty.composite_type.inner {
                            CompositeInnerType::Func(f) => Some(f),
                            _ => None,
                        });
                    }
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    self.import(import?);
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    self.tables.push(table_of(table?.ty, false));
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    self.memories.push(memory_of(memory?, false));
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    let global = global?;
                    self.globals.push(Global {
                        ty: global.ty.content_type,
                        mutable: global.ty.mutable,
                        imported: false,
                        init: const_init(&global.init_expr),
                    });
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export?;
                    if export.kind == ExternalKind::Global && is_stack_pointer(export.name) {
                        self.stack_pointer = Some(export.index);
                    }
                    self.exports.push(Export { name: export.name.into(), kind: export.kind, index: export.index });
                }
            }
            Payload::ElementSection(reader) => {
                for element in reader {
                    self.elements.push(element_of(element?)?);
                }
            }
            Payload::DataSection(reader) => {
                for segment in reader {
                    let segment = segment?;
                    let end = segment.range.end;
                    let (passive, address) = match &segment.kind {
                        wasmparser::DataKind::Passive => (true, None),
                        wasmparser::DataKind::Active { memory_index: 0, offset_expr } => {
                            (false, const_offset(offset_expr))
                        }
                        wasmparser::DataKind::Active { .. } => (false, None),
                    };
                    self.data.push(Data { passive, address, bytes: end - segment.data.len()..end });
                }
            }
            Payload::CodeSectionStart { range, .. } => self.code_section_start = range.start,
            Payload::CodeSectionEntry(body) => self.bodies.push(body.range()),
            Payload::CustomSection(section) => {
                let start = section.data_offset();
                self.lines.note_section(section.name(), start..start + section.data().len());
                if let KnownCustom::Name(reader) = section.as_known() {
                    self.read_names(reader);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) {
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                self.imported_functions.push((import.module.into(), import.name.into()));
            }
            TypeRef::Table(ty) => self.tables.push(table_of(ty, true)),
            TypeRef::Memory(ty) => self.memories.push(memory_of(ty, true)),
            TypeRef::Global(ty) => {
                if is_stack_pointer(import.name) {
                    self.stack_pointer = Some(self.globals.len() as u32);
                }
                self.globals.push(Global { ty: ty.content_type, mutable: ty.mutable, imported: true, init: None });
            }
            TypeRef::Tag(_) => {}
        }
    }

    /// The name section is a custom section: a broken one is ignored, as everywhere.
    fn read_names(&mut self, reader: wasmparser::NameSectionReader<'_>) {
        for name in reader {
            match name {
                Ok(Name::Function(map)) => {
                    let names = map.into_iter().map_while(Result::ok);
                    self.names.extend(names.map(|name| (name.index, GivenName::new(name.name))));
                }
                Ok(Name::Global(map)) => {
                    let mut names = map.into_iter().map_while(Result::ok);
                    let found = names.find(|naming| is_stack_pointer(naming.name)).map(|naming| naming.index);
                    self.stack_pointer = self.stack_pointer.or(found);
                }
                _ => {}
            }
        }
    }

    /// The module's bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Number of functions, imports included.
    pub fn function_count(&self) -> u32 {
        self.functions.len() as u32
    }

    /// Number of imported functions; they have the lowest indices.
    pub fn imported_function_count(&self) -> u32 {
        self.imported_functions.len() as u32
    }

    /// Module and name of an imported function; `None` for a function with a body.
    pub fn imported_function(&self, function: u32) -> Option<(&str, &str)> {
        self.imported_functions.get(function as usize).map(|(m, n)| (m.as_str(), n.as_str()))
    }

    /// The type of a function; `None` if there is no such function.
    pub fn function_type(&self, function: u32) -> Option<&FuncType> {
        self.type_at(*self.functions.get(function as usize)?)
    }

    /// The type index of a function.
    pub fn function_type_index(&self, function: u32) -> Option<u32> {
        self.functions.get(function as usize).copied()
    }

    /// The function type at a type index.
    pub fn type_at(&self, index: u32) -> Option<&FuncType> {
        self.types.get(index as usize)?.as_ref()
    }

    /// The body of a function; `None` for imports.
    pub fn body(&self, function: u32) -> Option<FunctionBody<'_>> {
        let range = self.bodies.get((function as usize).checked_sub(self.imported_functions.len())?)?.clone();
        let reader = BinaryReader::new_features(&self.bytes[range.clone()], range.start, guest_features());
        Some(FunctionBody::new(reader))
    }

    /// The name a function has in the name section, demangled where it is one of Rust or C++, else an export's, else an import's,
    /// else `func[N]`.
    pub fn function_name(&self, function: u32) -> String {
        if let Some(name) = self.names.get(&function) {
            return name.shown().to_string();
        }
        let export = self.exports.iter().find(|e| e.kind == ExternalKind::Func && e.index == function);
        match (export, self.imported_function(function)) {
            (Some(export), _) => export.name.clone(),
            (None, Some((module, name))) => format!("{module}::{name}"),
            (None, None) => format!("func[{function}]"),
        }
    }

    /// The name that the name section gives a function, as it is there.
    pub fn given_name(&self, function: u32) -> Option<&str> {
        self.names.get(&function).map(GivenName::given)
    }

    /// The function with this name (name section, demangled or not, or export), or with this number.
    pub fn find_function(&self, name_or_index: &str) -> Option<u32> {
        (0..self.function_count())
            .find(|f| self.function_name(*f) == name_or_index)
            .or_else(|| (0..self.function_count()).find(|f| self.given_name(*f) == Some(name_or_index)))
            .or_else(|| {
                let by_export = |e: &&Export| e.kind == ExternalKind::Func && e.name == name_or_index;
                self.exports.iter().find(by_export).map(|e| e.index)
            })
            .or_else(|| name_or_index.parse().ok().filter(|index| *index < self.function_count()))
    }

    /// The function that is exported by this name.
    pub fn exported_function(&self, name: &str) -> Option<u32> {
        self.exports.iter().find(|e| e.kind == ExternalKind::Func && e.name == name).map(|e| e.index)
    }

    /// Globals, imports first.
    pub fn globals(&self) -> &[Global] {
        &self.globals
    }

    /// The mutable `i32` global that an export, an import or the name section calls `__stack_pointer`.
    pub fn stack_pointer(&self) -> Option<u32> {
        let global = self.stack_pointer?;
        self.globals.get(global as usize).is_some_and(|g| g.mutable && g.ty == ValType::I32).then_some(global)
    }

    /// Whether a global without a name may be the stack pointer: linkers give that one a value. What a program sets when it
    /// starts, as AssemblyScript does with pointers to objects, begins as zero.
    pub fn may_be_stack_pointer(&self, global: u32) -> bool {
        let global = self.globals.get(global as usize);
        global
            .is_some_and(|global| global.mutable && global.ty == ValType::I32 && global.init != Some(ConstInit::I32(0)))
    }

    /// Tables, imports first.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Memories, imports first.
    pub fn memories(&self) -> &[Memory] {
        &self.memories
    }

    /// Element segments.
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// Exports in order.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// The bytes of each data segment, as `memory.init` finds them in an instance that has dropped none: active segments
    /// are empty.
    pub fn data(&self) -> Vec<&[u8]> {
        let bytes = |data: &Data| if data.passive { &self.bytes[data.bytes.clone()] } else { &[] };
        self.data.iter().map(bytes).collect()
    }

    /// Whether what active data segments hold is in linear memory until somebody stores to it: other threads may store to a
    /// shared one at any time.
    pub fn keeps_data(&self) -> bool {
        self.memories().first().is_some_and(|memory| !memory.shared && !memory.memory64)
    }

    /// The word at an address of a new instance's linear memory, as far as the module itself says.
    pub fn initial_word(&self, address: u32) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|more| self.initial_byte(u64::from(address) + more).unwrap_or(0)))
    }

    /// The bytes at these addresses of a new instance's linear memory, if active segments whose places are constants fill all
    /// of them.
    pub fn initial_bytes(&self, addresses: Range<u64>) -> Option<Vec<u8>> {
        addresses.map(|address| self.initial_byte(address)).collect()
    }

    fn initial_byte(&self, address: u64) -> Option<u8> {
        let of = |data: &Data| {
            let at = address.checked_sub(data.address?.into())?;
            self.bytes[data.bytes.clone()].get(usize::try_from(at).ok()?).copied()
        };
        self.data.iter().rev().find_map(of)
    }

    /// Byte offset of the code section's contents: DWARF addresses count from here.
    pub fn code_section_start(&self) -> usize {
        self.code_section_start
    }

    /// Number of buffers of a function with a kernel's type: `(i32, i32, i32, (i32, i32)*)`, no results.
    /// `None` for every other type.
    pub fn kernel_buffers(&self, function: u32) -> Option<u32> {
        let ty = self.function_type(function)?;
        let params = ty.params();
        let fits = ty.results().is_empty()
            && params.len() >= 3
            && params.len() % 2 == 1
            && params.iter().all(|p| *p == ValType::I32);
        fits.then(|| (params.len() as u32 - 3) / 2)
    }

    /// Functions with a kernel's type that element segments put into a table, or that are exported as `kernel`, in index
    /// order, without imports.
    pub fn kernels(&self) -> Vec<u32> {
        let mut kernels: Vec<u32> = self.elements.iter().flat_map(|e| e.functions.iter().flatten().copied()).collect();
        let exported = |e: &&Export| e.kind == ExternalKind::Func && e.name == "kernel";
        kernels.extend(self.exports.iter().filter(exported).map(|e| e.index));
        kernels.sort_unstable();
        kernels.dedup();
        kernels.retain(|f| self.imported_function(*f).is_none() && self.kernel_buffers(*f).is_some());
        kernels
    }
}

fn validate(bytes: &[u8]) -> Result<()> {
    let with = |features| Validator::new_with_features(features).validate_all(bytes);
    let Err(error) = with(guest_features()) else { return Ok(()) };
    let offset = error.offset();
    match with(WasmFeatures::all()) {
        Ok(_) => Err(Error::Feature { offset, message: error.message().trim_end_matches('.').to_string() }),
        Err(_) => Err(invalid(error)),
    }
}

fn invalid(error: wasmparser::BinaryReaderError) -> Error {
    Error::Invalid { offset: error.offset(), message: error.message().trim_end_matches('.').to_string() }
}

fn memory_of(ty: wasmparser::MemoryType, imported: bool) -> Memory {
    Memory { memory64: ty.memory64, shared: ty.shared, imported, minimum: ty.initial, maximum: ty.maximum }
}

fn table_of(ty: wasmparser::TableType, imported: bool) -> Table {
    Table { holds_functions: ty.element_type.is_func_ref(), imported, minimum: ty.initial }
}

fn const_init(expr: &wasmparser::ConstExpr<'_>) -> Option<ConstInit> {
    let mut ops = expr.get_operators_reader();
    let value = match ops.read().ok()? {
        Operator::I32Const { value } => ConstInit::I32(value),
        Operator::I64Const { value } => ConstInit::I64(value),
        Operator::F32Const { value } => ConstInit::F32(value.bits()),
        Operator::F64Const { value } => ConstInit::F64(value.bits()),
        Operator::V128Const { value } => ConstInit::V128(u128::from_le_bytes(*value.bytes())),
        _ => return None,
    };
    matches!(ops.read().ok()?, Operator::End).then_some(value)
}

fn const_offset(expr: &wasmparser::ConstExpr<'_>) -> Option<u32> {
    match const_init(expr)? {
        ConstInit::I32(offset) => Some(offset as u32),
        _ => None,
    }
}

fn element_of(element: wasmparser::Element<'_>) -> wasmparser::Result<Element> {
    let active = match &element.kind {
        ElementKind::Active { table_index, offset_expr } => Some((table_index.unwrap_or(0), const_offset(offset_expr))),
        ElementKind::Passive | ElementKind::Declared => None,
    };
    let functions = match element.items {
        ElementItems::Functions(reader) => {
            reader.into_iter().map(|f| f.map(Some)).collect::<wasmparser::Result<Vec<_>>>()?
        }
        ElementItems::Expressions(ty, reader) => {
            let mut functions = Vec::new();
            for expr in reader {
                functions.push(function_of(&expr?, ty));
            }
            functions
        }
    };
    Ok(Element { functions, active })
}

fn function_of(expr: &wasmparser::ConstExpr<'_>, ty: RefType) -> Option<u32> {
    match expr.get_operators_reader().read() {
        Ok(Operator::RefFunc { function_index }) if ty.is_func_ref() => Some(function_index),
        _ => None,
    }
}
