//! What a kernel reaches: its functions, lifted, in an order in which callees come first.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Location, Result, TrapKind};
use crate::frontend;
use crate::ir::{Const, Function, Op, Stmt, StmtKind, Value};
use crate::module::Module;
use crate::options::{Environment, Shape, TableEntry};

/// Deepest chain of calls. Deeper ones exist only in recursion or in machine-made code.
const MAX_CALL_DEPTH: usize = 256;

/// The functions that a kernel reaches.
#[derive(Debug)]
pub struct Slice<'e> {
    /// Lifted functions by index; the kernel is among them.
    pub functions: HashMap<u32, Function>,
    /// The same indices, callees before callers; the kernel last.
    pub order: Vec<u32>,
    /// The tables through which they call.
    environment: &'e Environment,
    /// Values that number a table's entry and are constants, by the function that holds them.
    constants: HashMap<(u32, Value), u32>,
}

/// What an indirect call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It runs this function.
    Runs(u32),
    /// It traps.
    Traps(TrapKind),
}

/// What an indirect call may come to.
#[derive(Debug)]
pub enum Dispatch {
    /// The entry's number is a constant.
    Fixed(Outcome),
    /// One of the table's entries, in their order; beyond the last is [`TrapKind::TableOutOfBounds`].
    Any(Vec<Outcome>),
}

impl Slice<'_> {
    /// What a call in `caller` through a table may come to. It wants a function of its arguments' and results' types.
    pub fn dispatch(&self, caller: &Function, table: u32, entry: Value, args: &[Value], results: &[Value]) -> Dispatch {
        let outcome = |entry: &TableEntry| match entry {
            TableEntry::Null => Outcome::Traps(TrapKind::NullTableEntry),
            TableEntry::Function(function) => match self.functions.get(function) {
                Some(callee) if callee.has_type(caller, args, results) => Outcome::Runs(*function),
                // Every function of the right type is here.
                _ => Outcome::Traps(TrapKind::IndirectCallType),
            },
            // A kernel that may come to one was refused.
            TableEntry::Foreign => Outcome::Traps(TrapKind::IndirectCallType),
        };
        let entries = self.environment.table(table);
        match self.constants.get(&(caller.index, entry)) {
            Some(index) => {
                let known = entries.get(*index as usize).map(outcome);
                Dispatch::Fixed(known.unwrap_or(Outcome::Traps(TrapKind::TableOutOfBounds)))
            }
            None => Dispatch::Any(entries.iter().map(outcome).collect()),
        }
    }
}

/// A call: where it stands, and the function it may come to.
type Edge = (u32, Location);

/// Lifts the kernel and everything it calls, by the tables that a launch of this shape finds.
///
/// # Errors
/// [`Error::Unsupported`] for a host import, recursion, or whatever the front end can't lift.
pub fn slice<'e>(module: &Module, kernel: u32, shape: &'e Shape) -> Result<Slice<'e>> {
    let mut slice = Slice {
        functions: HashMap::new(),
        order: Vec::new(),
        environment: &shape.environment,
        constants: HashMap::new(),
    };
    let mut open: Vec<(u32, Vec<Edge>)> = vec![(kernel, enter(module, kernel, &mut slice)?)];
    while let Some((function, calls)) = open.last_mut() {
        let Some((callee, at)) = calls.pop() else {
            slice.order.push(*function);
            open.pop();
            continue;
        };
        if open.iter().any(|(f, _)| *f == callee) {
            return Err(refuse(module, at, format!("recursion (`{}` calls itself)", module.function_name(callee))));
        }
        if slice.functions.contains_key(&callee) {
            continue;
        }
        if let Some((namespace, name)) = module.imported_function(callee) {
            return Err(refuse(module, at, format!("a call of the host function `{namespace}::{name}`")));
        }
        if open.len() >= MAX_CALL_DEPTH {
            return Err(refuse(module, at, format!("more than {MAX_CALL_DEPTH} nested calls")));
        }
        let calls = enter(module, callee, &mut slice)?;
        open.push((callee, calls));
    }
    Ok(slice)
}

fn refuse(module: &Module, at: Location, what: String) -> Error {
    Error::Unsupported { what, function_name: module.function_name(at.function), at: Some(at) }
}

/// Lifts one function; returns its calls.
fn enter(module: &Module, function: u32, slice: &mut Slice<'_>) -> Result<Vec<Edge>> {
    let lifted = frontend::lift(module, function)?;
    slice.constants.extend(entry_constants(&lifted));
    let mut calls = Vec::new();
    for stmt in lifted.regions.iter().flat_map(|region| &region.stmts) {
        match &stmt.kind {
            StmtKind::Call { callee, .. } => calls.push((*callee, stmt.at)),
            StmtKind::CallIndirect { table, args, results } => {
                let mut entries = slice.environment.table(*table);
                if let Some(index) = args.last().and_then(|entry| slice.constants.get(&(function, *entry))) {
                    entries = entries.get(*index as usize).map_or(&[], std::slice::from_ref);
                }
                calls.extend(targets(module, &lifted, entries, args, results, stmt.at)?);
            }
            _ => {}
        }
    }
    calls.reverse(); // Taken from the end, so the first call comes first.
    slice.functions.insert(function, lifted);
    Ok(calls)
}

/// The constants that number the table's entry of an indirect call.
fn entry_constants(function: &Function) -> HashMap<(u32, Value), u32> {
    let stmts = || function.regions.iter().flat_map(|region| &region.stmts);
    let entry = |stmt: &Stmt| match &stmt.kind {
        StmtKind::CallIndirect { args, .. } => args.last().copied(),
        _ => None,
    };
    let entries: HashSet<Value> = stmts().filter_map(entry).collect();
    let constant = |stmt: &Stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Const(Const::I32(number)), result: Some(result), .. } if entries.contains(result) => {
            Some(((function.index, *result), *number))
        }
        _ => None,
    };
    stmts().filter_map(constant).collect()
}

/// The functions among table entries that have the types of a call's arguments (the entry's number behind them) and
/// results, each once.
fn targets(
    module: &Module,
    caller: &Function,
    entries: &[TableEntry],
    args: &[Value],
    results: &[Value],
    at: Location,
) -> Result<Vec<Edge>> {
    let is = |ty: &wasmparser::ValType, value: &Value| frontend::type_of(*ty) == Some(caller.ty(*value));
    let all = |types: &[wasmparser::ValType], values: &[Value]| {
        types.len() == values.len() && types.iter().zip(values).all(|(ty, value)| is(ty, value))
    };
    let params = args.split_last().map_or(&[][..], |(_, params)| params);
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for entry in entries {
        match entry {
            TableEntry::Null => {}
            TableEntry::Foreign => {
                return Err(refuse(
                    module,
                    at,
                    "an indirect call through a table with functions of other modules".into(),
                ));
            }
            TableEntry::Function(function) if !seen.insert(*function) => {}
            TableEntry::Function(function) => {
                let ty = module.function_type(*function);
                if ty.is_some_and(|ty| all(ty.params(), params) && all(ty.results(), results)) {
                    found.push((*function, at));
                }
            }
        }
    }
    Ok(found)
}
