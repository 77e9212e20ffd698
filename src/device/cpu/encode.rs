//! The device module: what a kernel reaches of a guest's module, with the iteration loop around the kernel.

use std::borrow::Cow;
use std::collections::HashMap;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, Instruction, MemorySection, MemoryType, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::FuncType;
use wavelift_translator::Module;
use wavelift_translator::lanes::{Rows, Tally};
use wavelift_translator::module::{ConstInit, Global};

use super::MOST_PARAMS;
use super::body::{self, FunctionMap, Indices, Types};
use super::bulk;
use super::fuel::Costs;
use super::lanes::{self, Grouped, Lanes};
use super::slice::Slice;
use super::tiles::{self, Square};
use crate::device::TableEntry;

/// Name of the exported function `run`.
pub const RUN: &str = "run";
/// Name of the exported function that runs groups of invocations, if there is one.
pub const RUN_GROUPS: &str = "run_groups";
/// Name of the exported function that runs rows of invocations in squares, if there is one.
pub const RUN_TILES: &str = "run_tiles";
/// Name of the exported global that holds the iteration id.
pub const ITERATION: &str = "iteration";
/// Name of the exported global that holds the size of linear memory in pages.
pub const PAGES: &str = "pages";
/// Name of the exported global that holds the lowest address of a buffer.
pub const LOWEST: &str = "lowest";
/// Name of the exported global that is not 0 while the kernel's tallies are the worker's own.
pub const OWN_TALLIES: &str = "own_tallies";

/// A device module and what is needed to run it.
#[derive(Debug)]
pub struct DeviceModule {
    /// The module: it has no imports and defines a memory of 4 GiB.
    pub bytes: Vec<u8>,
    /// By function index of the device module.
    pub functions: Vec<FunctionMap>,
    /// What must be set before a launch, and the exported global to set.
    pub globals: Vec<(Source, String)>,
    /// The form that runs groups of invocations, or the sentence that says why there is none.
    pub grouped: Result<Grouped, String>,
    /// Buffers to which the kernel does nothing but add.
    pub tallies: Vec<Tally>,
    /// Where a row of invocations ends, if there is `run_tiles`.
    pub rows: Option<Rows>,
    /// Whether invocations may change the same words atomically.
    pub contends: bool,
}

/// What a global of the device module is set to before a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The value of the guest's global with this index.
    Global(u32),
    /// Whether the guest has dropped the data segment with this index, as 1 or 0.
    Dropped(u32),
}

/// Writes the device module of `kernel`. `tables` are the present entries of the guest's tables, `costs` what takes fuel
/// where that is limited, `lanes` whether there is to be a form that runs groups of invocations.
///
/// # Errors
/// A sentence that says which rule of this writer was broken.
pub fn encode(
    module: &Module,
    kernel: u32,
    slice: &Slice,
    tables: &[Vec<TableEntry>],
    costs: Option<&Costs>,
    lanes: Lanes,
) -> Result<DeviceModule, String> {
    Encoder::new(module, kernel, slice, costs).encode(tables, lanes)
}

struct Encoder<'a> {
    module: &'a Module,
    kernel: u32,
    slice: &'a Slice,
    indices: Indices<'a>,
    /// Type of each function of the device module, by index.
    types: Vec<u32>,
    code: Vec<Function>,
    maps: Vec<FunctionMap>,
    globals: GlobalSection,
    exports: ExportSection,
    sources: Vec<(Source, String)>,
    /// The bytes of data segments, by index of the device module.
    data: DataSection,
}

impl<'a> Encoder<'a> {
    fn new(module: &'a Module, kernel: u32, slice: &'a Slice, costs: Option<&'a Costs>) -> Self {
        let indices = Indices {
            module,
            types: Types::default(),
            functions: HashMap::new(),
            globals: HashMap::new(),
            tables: slice.tables.keys().zip(0..).map(|(table, index)| (*table, index)).collect(),
            resets: Vec::new(),
            fill: 0,
            copy: 0,
            inits: HashMap::new(),
            dropped: HashMap::new(),
            costs,
        };
        Encoder {
            module,
            kernel,
            slice,
            indices,
            types: Vec::new(),
            code: Vec::new(),
            maps: Vec::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            sources: Vec::new(),
            data: DataSection::new(),
        }
    }

    fn encode(mut self, tables: &[Vec<TableEntry>], lanes: Lanes) -> Result<DeviceModule, String> {
        self.number_functions();
        self.write_globals()?;
        self.write_drop_flags();
        self.write_bodies()?;
        let lanes::Found { grouped, tallies, rows, contends } =
            lanes::write(&self.indices, self.kernel, self.slice, tables, lanes, self.code.len() as u32);
        let grouped = grouped.map(|written| self.push_groups(written));
        let params = self.module.function_type(self.kernel).map_or(0, |ty| ty.params().len() as u32) + 1;
        let rows = rows.filter(|_| params + Square::PARAMS <= MOST_PARAMS);
        if let Some(rows) = &rows {
            self.write_tiles(rows, grouped.as_ref().ok(), params)?;
        }
        let (table_section, elements) = self.tables(tables)?;
        self.exports.export(RUN, ExportKind::Func, 0);
        let mut functions = FunctionSection::new();
        self.types.iter().for_each(|ty| {
            functions.function(*ty);
        });
        let mut memories = MemorySection::new();
        let pages = 1 << 16;
        memories.memory(MemoryType {
            minimum: pages,
            maximum: Some(pages),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut code = CodeSection::new();
        self.code.iter().for_each(|function| {
            code.function(function);
        });
        let mut output = wasm_encoder::Module::new();
        output
            .section(&type_section(&self.indices.types)?)
            .section(&functions)
            .section(&table_section)
            .section(&memories)
            .section(&self.globals)
            .section(&self.exports)
            .section(&elements);
        if !self.data.is_empty() {
            output.section(&DataCountSection { count: self.data.len() });
        }
        output.section(&code).section(&self.data);
        Ok(DeviceModule {
            bytes: output.finish(),
            functions: self.maps,
            globals: self.sources,
            grouped,
            tallies,
            rows,
            contends,
        })
    }

    /// `run`, the functions reached, the stubs, then the helpers: the order in which bodies are written.
    fn number_functions(&mut self) {
        let guests = self.slice.functions.iter().chain(self.slice.stubs.keys());
        self.indices.functions = guests.zip(1..).map(|(function, index)| (*function, index)).collect();
        let next = 1 + self.indices.functions.len() as u32;
        self.indices.fill = next;
        self.indices.copy = next + u32::from(self.slice.fills);
        let next = self.indices.copy + u32::from(self.slice.copies);
        self.indices.inits = self.slice.inits.iter().copied().zip(next..).collect();
    }

    fn write_globals(&mut self) -> Result<(), String> {
        for (name, index) in [(ITERATION, body::ITERATION), (PAGES, body::PAGES)] {
            self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
            self.exports.export(name, ExportKind::Global, index);
        }
        self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
        self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
        self.exports.export(LOWEST, ExportKind::Global, body::LOWEST);
        self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
        self.exports.export(OWN_TALLIES, ExportKind::Global, body::OWN_TALLIES);
        if self.indices.costs.is_some() {
            self.globals.global(mutable(ValType::I32), &ConstExpr::i32_const(0));
        }
        for &guest in &self.slice.globals {
            let global = self.module.globals().get(guest as usize).ok_or("A global is not in the module.")?;
            let Some(ty) = number_type(global) else { continue };
            let device = self.globals.len();
            self.indices.globals.insert(guest, device);
            if let Some(constant) = fixed(global) {
                self.globals.global(GlobalType { mutable: false, ..mutable(ty) }, &constant);
                continue;
            }
            self.globals.global(mutable(ty), &zero(ty));
            let written = self.slice.written.contains(&guest);
            self.export_source(device, ty, written, Source::Global(guest), format!("global {guest}"));
        }
        Ok(())
    }

    /// Exports the global `device` to be set from the host; where the kernel writes it, another one, whose value it has at
    /// the start of each iteration.
    fn export_source(&mut self, device: u32, ty: ValType, written: bool, source: Source, name: String) {
        let mut set_from_host = device;
        if written {
            set_from_host = self.globals.len();
            self.globals.global(mutable(ty), &zero(ty));
            self.indices.resets.push((device, set_from_host));
        }
        self.exports.export(&name, ExportKind::Global, set_from_host);
        self.sources.push((source, name));
    }

    /// A global for each data segment of `memory.init` that may be dropped: before the launch, or by an invocation for
    /// itself.
    fn write_drop_flags(&mut self) {
        for &segment in self.slice.inits.intersection(self.module.droppable_data()) {
            let device = self.globals.len();
            self.globals.global(mutable(ValType::I32), &zero(ValType::I32));
            self.indices.dropped.insert(segment, device);
            let written = self.slice.drops.contains(&segment);
            self.export_source(device, ValType::I32, written, Source::Dropped(segment), format!("dropped {segment}"));
        }
    }

    fn write_bodies(&mut self) -> Result<(), String> {
        let kernel_type = self.module.function_type(self.kernel).ok_or("The kernel has no type.")?;
        let params = kernel_type.params().len() + 1;
        let run_type = FuncType::new(vec![wasmparser::ValType::I32; params], []);
        let run = body::run(&mut self.indices, self.kernel).map_err(broken)?;
        self.push(&run_type, run);
        for &function in &self.slice.functions {
            let ty = self.module.function_type(function).ok_or("A function has no type.")?;
            let written = body::plain(&mut self.indices, function).map_err(broken)?;
            self.push(ty, written);
        }
        for (&function, reason) in &self.slice.stubs {
            let ty = self.module.function_type(function).ok_or("A function has no type.")?;
            self.push(ty, (unreachable_body(), FunctionMap::stub(reason.clone())));
        }
        let bulk_type = FuncType::new([wasmparser::ValType::I32; 3], []);
        let takes_fuel = self.indices.costs.is_some();
        if self.slice.fills {
            self.push(&bulk_type, bulk::fill(takes_fuel));
        }
        if self.slice.copies {
            self.push(&bulk_type, bulk::copy(takes_fuel));
        }
        let segments = self.module.data();
        for segment in &self.slice.inits {
            let bytes = segments.get(*segment as usize).ok_or("A data segment is not in the module.")?;
            let device = (!bytes.is_empty()).then(|| self.data.len());
            if device.is_some() {
                self.data.passive(bytes.iter().copied());
            }
            let dropped = self.indices.dropped.get(segment).copied();
            self.push(&bulk_type, bulk::init(bytes.len() as u32, device, dropped, takes_fuel));
        }
        Ok(())
    }

    /// Beside `run`, and with its type, the form that runs groups of invocations.
    fn push_groups(&mut self, (grouped, function, map): (Grouped, Function, FunctionMap)) -> Grouped {
        self.exports.export(RUN_GROUPS, ExportKind::Func, self.code.len() as u32);
        self.types.push(self.types[0]);
        self.code.push(function);
        self.maps.push(map);
        grouped
    }

    /// Beside `run`, and with one more parameter, what takes rows of invocations in squares: one by one, or groups by a function of
    /// `run`'s type.
    fn write_tiles(&mut self, rows: &Rows, grouped: Option<&Grouped>, params: u32) -> Result<(), String> {
        let of_words = |count: u32| FuncType::new(vec![wasmparser::ValType::I32; count as usize], []);
        let written = match grouped.filter(|_| !rows.one_by_one) {
            Some(grouped) => tiles::run_tiles(params, grouped.index, grouped.lanes),
            None => {
                let square = body::square(&mut self.indices, self.kernel, rows).map_err(broken)?;
                let index = self.code.len() as u32;
                self.push(&of_words(params + Square::PARAMS), square);
                tiles::run_squares(params, index)
            }
        };
        self.exports.export(RUN_TILES, ExportKind::Func, self.code.len() as u32);
        self.push(&of_words(params + 1), (written, FunctionMap::default()));
        Ok(())
    }

    fn push(&mut self, ty: &FuncType, (code, map): (Function, FunctionMap)) {
        let ty = self.indices.types.intern(ty);
        self.types.push(ty);
        self.code.push(code);
        self.maps.push(map);
    }

    /// Tables with the present entries: those that can be called, and for all others a function of a type that no
    /// call has, so that calling it is a type error as in the guest.
    fn tables(&mut self, tables: &[Vec<TableEntry>]) -> Result<(TableSection, ElementSection), String> {
        let (mut section, mut elements) = (TableSection::new(), ElementSection::new());
        if self.slice.tables.is_empty() {
            return Ok((section, elements));
        }
        let other = self.code.len() as u32;
        let ty = self.indices.types.unlike_all().ok_or("The kernel uses every function type there is.")?;
        self.types.push(ty);
        self.code.push(unreachable_body());
        self.maps.push(FunctionMap::default());
        for (index, (table, called)) in self.slice.tables.iter().enumerate() {
            let entries = tables.get(*table as usize).map_or(&[][..], Vec::as_slice);
            section.table(TableType {
                element_type: RefType::FUNCREF,
                table64: false,
                minimum: entries.len() as u64,
                maximum: Some(entries.len() as u64),
                shared: false,
            });
            let target = |entry: &TableEntry| match *entry {
                TableEntry::Null => None,
                TableEntry::Function(f) if self.module.function_type(f).is_some_and(|ty| called.contains(ty)) => {
                    Some(self.indices.functions.get(&f).copied().unwrap_or(other))
                }
                TableEntry::Function(_) | TableEntry::Foreign => Some(other),
            };
            let targets: Vec<Option<u32>> = entries.iter().map(target).collect();
            let mut start = 0;
            for run in targets.chunk_by(|a, b| a.is_some() == b.is_some()) {
                let functions: Vec<u32> = run.iter().flatten().copied().collect();
                if !functions.is_empty() {
                    let offset = ConstExpr::i32_const(start);
                    elements.active(Some(index as u32), &offset, Elements::Functions(Cow::Owned(functions)));
                }
                start += run.len() as i32;
            }
        }
        Ok((section, elements))
    }
}

fn broken(error: wasm_encoder::reencode::Error<String>) -> String {
    format!("The device module could not be written: {error}.")
}

fn unreachable_body() -> Function {
    let mut function = Function::new([]);
    function.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
    function
}

fn mutable(ty: ValType) -> GlobalType {
    GlobalType { val_type: ty, mutable: true, shared: false }
}

fn number_type(global: &Global) -> Option<ValType> {
    let ty = RoundtripReencoder.val_type(global.ty).ok()?;
    (!ty.is_reference()).then_some(ty)
}

/// The value of a global that is the same in every instance.
fn fixed(global: &Global) -> Option<ConstExpr> {
    if global.mutable || global.imported {
        return None;
    }
    Some(match global.init? {
        ConstInit::I32(value) => ConstExpr::i32_const(value),
        ConstInit::I64(value) => ConstExpr::i64_const(value),
        ConstInit::F32(bits) => ConstExpr::f32_const(wasm_encoder::Ieee32::new(bits)),
        ConstInit::F64(bits) => ConstExpr::f64_const(wasm_encoder::Ieee64::new(bits)),
        ConstInit::V128(bits) => ConstExpr::v128_const(bits as i128),
    })
}

fn zero(ty: ValType) -> ConstExpr {
    match ty {
        ValType::I32 => ConstExpr::i32_const(0),
        ValType::I64 => ConstExpr::i64_const(0),
        ValType::F32 => ConstExpr::f32_const(0f32.into()),
        ValType::F64 => ConstExpr::f64_const(0f64.into()),
        ValType::V128 => ConstExpr::v128_const(0),
        ValType::Ref(ty) => ConstExpr::ref_null(ty.heap_type),
    }
}

fn type_section(types: &Types) -> Result<TypeSection, String> {
    let mut section = TypeSection::new();
    for ty in &types.list {
        let broken = |error: wasm_encoder::reencode::Error| format!("A type could not be written: {error}.");
        let params = RoundtripReencoder.val_types(ty.params().to_vec()).map_err(broken)?;
        let results = RoundtripReencoder.val_types(ty.results().to_vec()).map_err(broken)?;
        section.ty().function(params, results);
    }
    Ok(section)
}
