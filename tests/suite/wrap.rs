//! Gives a module one kernel for each exported function that is asserted.
//!
//! `kernel(i, n, block, in_ptr, in_len, out_ptr, out_len)` takes the arguments of call `i` from record `i` of the in
//! buffer, calls the function, and puts a mark and the results into record `i` of the out buffer. A record is a row of
//! 64-bit slots, of which a vector takes two. Imports become definitions, and what the module holds is exported so that hosts can read it.

use std::collections::HashMap;
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, HeapType, Instruction, MemArg, MemorySection, MemoryType, StartSection,
    TableSection, TypeSection, ValType,
};
use wasmparser::{ExternalKind, FuncType, Operator, Parser, Payload, TypeRef};
use wavelift::translator::Module;
use wavelift::translator::ir::Type;

use crate::reason::Skip;

/// What the out record's first slot holds after a call that returned.
pub const MARK: u64 = 1;

/// Name of the exported memory.
pub const MEMORY: &str = "suite:memory";

/// Name of an exported global.
pub fn global_name(index: usize) -> String {
    format!("suite:global:{index}")
}

/// Name of an exported table.
pub fn table_name(index: usize) -> String {
    format!("suite:table:{index}")
}

/// Name of an exported function.
pub fn function_name(index: u32) -> String {
    format!("suite:function:{index}")
}

/// Slots that a value takes.
pub fn slots(ty: Type) -> usize {
    if ty == Type::V128 { 2 } else { 1 }
}

/// Slots of a record of the in buffer.
pub fn in_slots(params: &[Type]) -> usize {
    params.iter().map(|ty| slots(*ty)).sum::<usize>().max(1)
}

/// Slots of a record of the out buffer.
pub fn out_slots(results: &[Type]) -> usize {
    1 + results.iter().map(|ty| slots(*ty)).sum::<usize>()
}

/// A module with kernels.
#[derive(Debug)]
pub struct Wrapped {
    pub bytes: Vec<u8>,
    /// By the exported name of the function that it calls.
    pub kernels: HashMap<String, Kernel>,
    /// Whether the module has anything that calls can change.
    pub stateful: bool,
}

/// A kernel around a function.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its function index.
    pub index: u32,
    pub params: Vec<Type>,
    pub results: Vec<Type>,
}

/// Why a module can't be wrapped.
#[derive(Debug)]
pub enum Refusal {
    Skip(Skip),
    /// A defect of these tests.
    Broken(String),
}

impl<E: std::fmt::Debug> From<reencode::Error<E>> for Refusal {
    fn from(error: reencode::Error<E>) -> Self {
        Refusal::Broken(format!("The module can't be written again: {error:?}"))
    }
}

impl From<wasmparser::BinaryReaderError> for Refusal {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Refusal::Broken(error.to_string())
    }
}

/// Wraps the exported functions of these names.
pub fn wrap(original: &[u8], functions: &[String]) -> Result<Wrapped, Refusal> {
    let module = Module::parse(original).map_err(|error| Refusal::Broken(error.to_string()))?;
    if module.imported_function_count() > 0 || module.tables().iter().any(|table| table.imported) {
        return Err(Refusal::Skip(Skip::Imports));
    }
    let mut wrapper = Wrapper::new(&module);
    for payload in Parser::new(0).parse_all(original) {
        wrapper.copy(payload?)?;
    }
    wrapper.add_exports();
    let mut kernels = HashMap::new();
    let ty = wrapper.kernel_type();
    for name in functions {
        let kernel = wrapper.add_kernel(name, ty).ok_or(Refusal::Skip(Skip::ReferenceValues))?;
        kernels.insert(name.clone(), kernel);
    }
    let stateful =
        !module.memories().is_empty() || !module.tables().is_empty() || module.globals().iter().any(|g| g.mutable);
    Ok(Wrapped { bytes: wrapper.finish(), kernels, stateful })
}

/// Whether a function waits for another thread, which only one whose memory is shared can do.
fn waits(body: &wasmparser::FunctionBody<'_>) -> Result<bool, wasmparser::BinaryReaderError> {
    let is_wait =
        |op: &Operator<'_>| matches!(op, Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. });
    let mut found = false;
    for op in body.get_operators_reader()? {
        found |= is_wait(&op?);
    }
    Ok(found)
}

/// Makes shared memories unshared, and references to the host's objects ones to functions: Wasmtime has the former only with garbage collection, and
/// no assertion about numbers can tell.
///
/// Constant expressions may read imported globals, but not defined ones: those that read one get its value.
#[derive(Default)]
struct Rewriter {
    /// The values of the imported globals.
    imported: Vec<ConstExpr>,
}

impl Reencode for Rewriter {
    type Error = Infallible;

    /// Kernels see a memory of an instance's own.
    fn memory_type(&mut self, ty: wasmparser::MemoryType) -> Result<MemoryType, reencode::Error<Infallible>> {
        Ok(reencode::utils::memory_type(self, wasmparser::MemoryType { shared: false, ..ty }))
    }

    fn heap_type(&mut self, ty: wasmparser::HeapType) -> Result<HeapType, reencode::Error<Infallible>> {
        match ty {
            wasmparser::HeapType::EXTERN => Ok(HeapType::FUNC),
            other => reencode::utils::heap_type(self, other),
        }
    }

    fn const_expr(&mut self, expr: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, reencode::Error<Infallible>> {
        if let Operator::GlobalGet { global_index } = expr.get_operators_reader().read()?
            && let Some(value) = self.imported.get(global_index as usize)
        {
            return Ok(value.clone());
        }
        reencode::utils::const_expr(self, expr)
    }
}

struct Wrapper<'a> {
    module: &'a Module,
    reencoder: Rewriter,
    types: TypeSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    start: Option<StartSection>,
    elements: ElementSection,
    data_count: Option<DataCountSection>,
    code: CodeSection,
    data: DataSection,
    next: u32,
}

impl<'a> Wrapper<'a> {
    fn new(module: &'a Module) -> Self {
        Wrapper {
            module,
            reencoder: Rewriter::default(),
            types: TypeSection::new(),
            functions: FunctionSection::new(),
            tables: TableSection::new(),
            memories: MemorySection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            start: None,
            elements: ElementSection::new(),
            data_count: None,
            code: CodeSection::new(),
            data: DataSection::new(),
            next: module.function_count(),
        }
    }

    fn copy(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        let reencoder = &mut self.reencoder;
        match payload {
            Payload::TypeSection(section) => reencoder.parse_type_section(&mut self.types, section)?,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.define(&import).ok_or(Refusal::Skip(Skip::Imports))?;
                }
            }
            Payload::FunctionSection(section) => reencoder.parse_function_section(&mut self.functions, section)?,
            Payload::TableSection(section) => reencoder.parse_table_section(&mut self.tables, section)?,
            Payload::MemorySection(section) => reencoder.parse_memory_section(&mut self.memories, section)?,
            Payload::GlobalSection(section) => reencoder.parse_global_section(&mut self.globals, section)?,
            Payload::ExportSection(section) => reencoder.parse_export_section(&mut self.exports, section)?,
            Payload::StartSection { func, .. } => self.start = Some(StartSection { function_index: func }),
            Payload::ElementSection(section) => reencoder.parse_element_section(&mut self.elements, section)?,
            Payload::DataCountSection { count, .. } => self.data_count = Some(DataCountSection { count }),
            Payload::CodeSectionEntry(body) if waits(&body)? => return Err(Refusal::Skip(Skip::Waits)),
            Payload::CodeSectionEntry(body) => reencoder.parse_function_body(&mut self.code, body)?,
            Payload::DataSection(section) => reencoder.parse_data_section(&mut self.data, section)?,
            _ => {}
        }
        Ok(())
    }

    /// Defines what spectest would give. Imports come first in each index space, so no index changes.
    fn define(&mut self, import: &wasmparser::Import<'_>) -> Option<()> {
        if import.module != "spectest" {
            return None;
        }
        match (import.name, import.ty) {
            ("memory", TypeRef::Memory(_)) => {
                self.memories.memory(memory_type(1, Some(2)));
            }
            ("global_i32", TypeRef::Global(_)) => self.constant(ValType::I32, ConstExpr::i32_const(666)),
            ("global_i64", TypeRef::Global(_)) => self.constant(ValType::I64, ConstExpr::i64_const(666)),
            ("global_f32", TypeRef::Global(_)) => self.constant(ValType::F32, ConstExpr::f32_const(666.6_f32.into())),
            ("global_f64", TypeRef::Global(_)) => self.constant(ValType::F64, ConstExpr::f64_const(666.6_f64.into())),
            _ => return None,
        }
        Some(())
    }

    fn constant(&mut self, val_type: ValType, value: ConstExpr) {
        self.globals.global(GlobalType { val_type, mutable: false, shared: false }, &value);
        self.reencoder.imported.push(value);
    }

    fn add_exports(&mut self) {
        if self.module.memories().is_empty() {
            // The kernels' accesses need one; it shows buffers only.
            self.memories.memory(memory_type(0, None));
        }
        self.exports.export(MEMORY, ExportKind::Memory, 0);
        for index in 0..self.module.globals().len() {
            self.exports.export(&global_name(index), ExportKind::Global, index as u32);
        }
        for index in 0..self.module.tables().len() {
            self.exports.export(&table_name(index), ExportKind::Table, index as u32);
        }
        for index in 0..self.module.function_count() {
            self.exports.export(&function_name(index), ExportKind::Func, index);
        }
    }

    fn kernel_type(&mut self) -> u32 {
        let index = self.types.len();
        self.types.ty().function([ValType::I32; 7], []);
        index
    }

    fn add_kernel(&mut self, name: &str, ty: u32) -> Option<Kernel> {
        let export = self.module.exports().iter().find(|e| e.kind == ExternalKind::Func && e.name == name)?;
        let callee = self.module.function_type(export.index)?.clone();
        let kernel = Kernel { index: self.next, params: types(callee.params())?, results: types(callee.results())? };
        self.next += 1;
        self.functions.function(ty);
        self.exports.export(&format!("suite:kernel:{name}"), ExportKind::Func, kernel.index);
        self.code.function(&body(export.index, &kernel, &callee)?);
        Some(kernel)
    }

    fn finish(self) -> Vec<u8> {
        let mut output = wasm_encoder::Module::new();
        output
            .section(&self.types)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&self.exports);
        if let Some(start) = &self.start {
            output.section(start);
        }
        output.section(&self.elements);
        if let Some(count) = &self.data_count {
            output.section(count);
        }
        output.section(&self.code).section(&self.data);
        output.finish()
    }
}

fn memory_type(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None }
}

fn types(types: &[wasmparser::ValType]) -> Option<Vec<Type>> {
    types.iter().map(|ty| number_type(*ty)).collect()
}

/// The IR's type of a number type.
pub fn number_type(ty: wasmparser::ValType) -> Option<Type> {
    Some(match ty {
        wasmparser::ValType::I32 => Type::I32,
        wasmparser::ValType::I64 => Type::I64,
        wasmparser::ValType::F32 => Type::F32,
        wasmparser::ValType::F64 => Type::F64,
        wasmparser::ValType::V128 => Type::V128,
        _ => return None,
    })
}

/// The kernel's parameters, by local index.
const ITERATION: u32 = 0;
const IN: u32 = 3;
const OUT: u32 = 5;
const FIRST_LOCAL: u32 = 7;

fn body(callee: u32, kernel: &Kernel, ty: &FuncType) -> Option<Function> {
    let results: Vec<ValType> =
        ty.results().iter().map(|ty| Rewriter::default().val_type(*ty).ok()).collect::<Option<_>>()?;
    let mut code = Function::new(results.into_iter().map(|ty| (1, ty)));
    let record = |code: &mut Function, buffer: u32, slots: usize| {
        code.instruction(&Instruction::LocalGet(buffer));
        code.instruction(&Instruction::LocalGet(ITERATION));
        code.instruction(&Instruction::I32Const(8 * slots as i32));
        code.instruction(&Instruction::I32Mul).instruction(&Instruction::I32Add);
        code.instruction(&Instruction::LocalSet(buffer));
    };
    record(&mut code, IN, in_slots(&kernel.params));
    record(&mut code, OUT, out_slots(&kernel.results));
    let mut slot = 0;
    for ty in &kernel.params {
        code.instruction(&Instruction::LocalGet(IN)).instruction(&load(*ty, slot)?);
        slot += slots(*ty);
    }
    code.instruction(&Instruction::Call(callee));
    for result in (0..kernel.results.len()).rev() {
        code.instruction(&Instruction::LocalSet(FIRST_LOCAL + result as u32));
    }
    slot = 1;
    for (result, ty) in kernel.results.iter().enumerate() {
        code.instruction(&Instruction::LocalGet(OUT));
        code.instruction(&Instruction::LocalGet(FIRST_LOCAL + result as u32)).instruction(&store(*ty, slot)?);
        slot += slots(*ty);
    }
    code.instruction(&Instruction::LocalGet(OUT)).instruction(&Instruction::I32Const(MARK as i32));
    code.instruction(&Instruction::I32Store(slot_of(Type::I32, 0)));
    code.instruction(&Instruction::End);
    Some(code)
}

fn slot_of(ty: Type, slot: usize) -> MemArg {
    MemArg { offset: 8 * slot as u64, align: if ty.bits() >= 64 { 3 } else { 2 }, memory_index: 0 }
}

fn load(ty: Type, slot: usize) -> Option<Instruction<'static>> {
    let at = slot_of(ty, slot);
    Some(match ty {
        Type::I32 => Instruction::I32Load(at),
        Type::I64 => Instruction::I64Load(at),
        Type::F32 => Instruction::F32Load(at),
        Type::F64 => Instruction::F64Load(at),
        Type::V128 => Instruction::V128Load(at),
        Type::Bool => return None,
    })
}

fn store(ty: Type, slot: usize) -> Option<Instruction<'static>> {
    let at = slot_of(ty, slot);
    Some(match ty {
        Type::I32 => Instruction::I32Store(at),
        Type::I64 => Instruction::I64Store(at),
        Type::F32 => Instruction::F32Store(at),
        Type::F64 => Instruction::F64Store(at),
        Type::V128 => Instruction::V128Store(at),
        Type::Bool => return None,
    })
}
