//! What a kernel reaches: its functions, lifted, in an order in which callees come first.

use std::collections::HashMap;

use crate::error::{Error, Location, Result};
use crate::frontend;
use crate::ir::{Function, Region, StmtKind};
use crate::module::Module;

/// Deepest chain of calls. Deeper ones exist only in recursion or in machine-made code.
const MAX_CALL_DEPTH: usize = 256;

/// The functions that a kernel reaches.
#[derive(Debug)]
pub struct Slice {
    /// Lifted functions by index; the kernel is among them.
    pub functions: HashMap<u32, Function>,
    /// The same indices, callees before callers; the kernel last.
    pub order: Vec<u32>,
}

/// Lifts the kernel and everything it calls.
///
/// # Errors
/// [`Error::Unsupported`] for a host import, recursion, or whatever the front end can't lift.
pub fn slice(module: &Module, kernel: u32) -> Result<Slice> {
    let mut slice = Slice { functions: HashMap::new(), order: Vec::new() };
    let mut open: Vec<(u32, Vec<(u32, Location)>)> = vec![(kernel, enter(module, kernel, &mut slice)?)];
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
fn enter(module: &Module, function: u32, slice: &mut Slice) -> Result<Vec<(u32, Location)>> {
    let lifted = frontend::lift(module, function)?;
    let mut calls: Vec<(u32, Location)> = lifted.regions.iter().flat_map(calls_of).collect();
    calls.reverse(); // Taken from the end, so the first call comes first.
    slice.functions.insert(function, lifted);
    Ok(calls)
}

fn calls_of(region: &Region) -> impl Iterator<Item = (u32, Location)> {
    region.stmts.iter().filter_map(|stmt| match stmt.kind {
        StmtKind::Call { callee, .. } => Some((callee, stmt.at)),
        _ => None,
    })
}
