//! What a kernel reaches: functions, table entries and globals, by direct and indirect calls.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wasmparser::{FuncType, Operator, ValType};
use wavelift_translator::{Module, next_is_unreachable};

use super::body::within_limits;
use super::operators::{Rejected, reject};
use crate::device::TableEntry;

/// The part of a module that a kernel can reach.
#[derive(Debug, Default)]
pub struct Slice {
    /// Reached functions that have a body, in index order; the kernel only if something calls it.
    pub functions: BTreeSet<u32>,
    /// Functions that an indirect call may pick, but that can't run in a device module, and what keeps them from it:
    /// imports, and functions with values of reference types.
    pub stubs: BTreeMap<u32, String>,
    /// Tables of indirect calls, each with the types called through it.
    pub tables: BTreeMap<u32, Vec<FuncType>>,
    /// Globals read or written.
    pub globals: BTreeSet<u32>,
    /// Globals written.
    pub written: BTreeSet<u32>,
    /// Whether `memory.fill` is reached.
    pub fills: bool,
    /// Whether `memory.copy` is reached.
    pub copies: bool,
    /// Data segments of which a `memory.init` is reached.
    pub inits: BTreeSet<u32>,
    /// Data segments of which a `data.drop` is reached.
    pub drops: BTreeSet<u32>,
    /// Whether an indirect call may reach an operator that only the caller's own instance can run.
    pub may_need_caller: bool,
}

/// What one body holds, as far as [`Slice`] cares.
#[derive(Debug, Default)]
struct Body {
    calls: Vec<(u32, u32)>,
    indirect: Vec<(u32, u32)>,
    read: BTreeSet<u32>,
    written: BTreeSet<u32>,
    rejected: Option<Rejected>,
    fills: bool,
    copies: bool,
    inits: BTreeSet<u32>,
    drops: BTreeSet<u32>,
}

/// Finds what `kernel` reaches. `tables` are the present entries of the module's tables, in index order; they are not
/// looked at if the kernel reaches no indirect call.
///
/// # Errors
/// A sentence that says what the kernel reaches, without an indirect call in between, that only the caller's own
/// instance can run.
pub fn slice(module: &Module, kernel: u32, tables: &mut dyn FnMut() -> Vec<Vec<TableEntry>>) -> Result<Slice, String> {
    check_module(module)?;
    let kernel_fits =
        module.function_type(kernel).zip(module.body(kernel)).is_none_or(|(ty, body)| within_limits(ty, &body));
    if !kernel_fits {
        return Err(format!(
            "The function `{}` is too large for a loop around it, so the kernel runs in order on the calling thread.",
            module.function_name(kernel)
        ));
    }
    let mut walk = Walk { module, slice: Slice::default(), entered: HashSet::new(), indirect: BTreeSet::new() };
    walk.follow(vec![kernel], true)?;
    if !walk.indirect.is_empty() {
        walk.follow_tables(&tables())?;
    }
    Ok(walk.slice)
}

fn check_module(module: &Module) -> Result<(), String> {
    if module.memories().len() > 1 {
        return Err("Modules with several memories run kernels in the caller's instance.".into());
    }
    if module.memories().iter().any(|memory| memory.memory64) {
        return Err("Modules with 64-bit memory run kernels in the caller's instance.".into());
    }
    Ok(())
}

struct Walk<'a> {
    module: &'a Module,
    slice: Slice,
    entered: HashSet<u32>,
    /// (table, type index) of the indirect calls seen.
    indirect: BTreeSet<(u32, u32)>,
}

impl Walk<'_> {
    /// Enters `functions` and all they call directly. `direct`: what can't be run here is an error, else it is noted.
    fn follow(&mut self, functions: Vec<u32>, direct: bool) -> Result<(), String> {
        let mut pending = functions;
        while let Some(function) = pending.pop() {
            if !self.entered.insert(function) {
                continue;
            }
            if let Some(stub) = reference_values(self.module, function) {
                self.give_up_if(direct, function, &stub.what, stub.offset)?;
                self.slice.functions.remove(&function);
                self.slice.stubs.insert(function, needs_caller(self.module, function, &stub.what, stub.offset));
                continue;
            }
            let body = read_body(self.module, function)?;
            self.slice.fills |= body.fills;
            self.slice.copies |= body.copies;
            self.slice.inits.extend(&body.inits);
            self.slice.drops.extend(&body.drops);
            self.slice.globals.extend(body.read.iter().chain(&body.written));
            self.slice.written.extend(&body.written);
            self.indirect.extend(&body.indirect);
            if let Some(rejected) = body.rejected {
                self.give_up_if(direct, function, &rejected.what, rejected.offset)?;
            }
            for (callee, offset) in body.calls {
                if let Some((module, name)) = self.module.imported_function(callee) {
                    let what = format!("calls the host function `{name}` of `{module}`");
                    self.give_up_if(direct, function, &what, offset)?;
                } else {
                    if !self.slice.stubs.contains_key(&callee) {
                        self.slice.functions.insert(callee);
                    }
                    pending.push(callee);
                }
            }
        }
        Ok(())
    }

    fn give_up_if(&mut self, direct: bool, function: u32, what: &str, offset: u32) -> Result<(), String> {
        if direct {
            return Err(needs_caller(self.module, function, what, offset));
        }
        self.slice.may_need_caller = true;
        Ok(())
    }

    fn follow_tables(&mut self, tables: &[Vec<TableEntry>]) -> Result<(), String> {
        let mut done = BTreeSet::new();
        while let Some(&(table, ty)) = self.indirect.difference(&done).next() {
            done.insert((table, ty));
            let Some(ty) = self.module.type_at(ty) else { continue };
            let called = self.slice.tables.entry(table).or_default();
            if !called.contains(ty) {
                called.push(ty.clone());
            }
            let mut targets = Vec::new();
            for entry in tables.get(table as usize).into_iter().flatten() {
                match *entry {
                    TableEntry::Function(f) if self.module.function_type(f) == Some(ty) => targets.push(f),
                    TableEntry::Function(_) | TableEntry::Null => {}
                    TableEntry::Foreign => {
                        return Err(format!(
                            "The kernel makes indirect calls through table {table}, which holds functions of other \
                             modules, so it runs in the caller's instance."
                        ));
                    }
                }
            }
            self.enter_targets(targets)?;
        }
        Ok(())
    }

    fn enter_targets(&mut self, targets: Vec<u32>) -> Result<(), String> {
        let (imports, bodies): (Vec<u32>, Vec<u32>) =
            targets.into_iter().partition(|f| self.module.imported_function(*f).is_some());
        self.slice.may_need_caller |= !imports.is_empty();
        for import in imports {
            let (module, name) = self.module.imported_function(import).unwrap_or_default();
            let reason = format!(
                "An indirect call reaches the host function `{name}` of `{module}`, so the kernel runs in order on the \
                 calling thread."
            );
            self.slice.stubs.insert(import, reason);
        }
        self.slice.functions.extend(bodies.iter().filter(|f| !self.slice.stubs.contains_key(f)));
        self.follow(bodies, false)
    }
}

/// The sentence for what only the caller's own instance can run.
pub fn needs_caller(module: &Module, function: u32, what: &str, offset: u32) -> String {
    format!(
        "The function `{}` {what} at {}, so the kernel runs in order on the calling thread.",
        module.function_name(function),
        module.place(offset)
    )
}

fn read_body(module: &Module, function: u32) -> Result<Body, String> {
    let broken =
        |error: wasmparser::BinaryReaderError| format!("The body of function {function} can't be read: {error}.");
    let code = module.body(function).ok_or_else(|| format!("There is no function {function} with a body."))?;
    let mut body = Body::default();
    let mut operators = code.get_operators_reader().map_err(broken)?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().map_err(broken)?;
        let offset = offset as u32;
        match operator {
            // A call that is followed by `unreachable` never comes back: a panic. It is a trap, not an edge.
            Operator::Call { .. } | Operator::CallIndirect { .. } if next_is_unreachable(&operators) => {}
            // So is one of a function that never comes back.
            Operator::Call { function_index } if module.dies(function_index) => {}
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                body.calls.push((function_index, offset));
            }
            Operator::CallIndirect { type_index, table_index }
            | Operator::ReturnCallIndirect { type_index, table_index } => {
                body.indirect.push((table_index, type_index));
            }
            Operator::GlobalGet { global_index } => {
                body.read.insert(global_index);
            }
            Operator::GlobalSet { global_index } => {
                body.written.insert(global_index);
            }
            Operator::MemoryFill { .. } => body.fills = true,
            Operator::MemoryCopy { .. } => body.copies = true,
            Operator::MemoryInit { data_index, .. } => {
                body.inits.insert(data_index);
            }
            Operator::DataDrop { data_index } => {
                body.drops.insert(data_index);
            }
            _ => {}
        }
        if body.rejected.is_none() {
            body.rejected = reject(module, &operator, offset);
        }
    }
    Ok(body)
}

/// Functions that take, return or keep references stay out of device modules.
fn reference_values(module: &Module, function: u32) -> Option<Rejected> {
    let is_reference = |ty: &ValType| matches!(ty, ValType::Ref(_));
    let body = module.body(function)?;
    let offset = body.range().start as u32;
    let ty = module.function_type(function)?;
    let in_type = ty.params().iter().chain(ty.results()).any(is_reference);
    let mut locals = body.get_locals_reader().ok()?.into_iter().flatten();
    let found = in_type || locals.any(|(_, ty)| is_reference(&ty));
    found.then(|| Rejected { what: "has values of reference types".into(), offset })
}
