//! Which global is the stack pointer.

use super::dataflow;
use super::roots::{Root, roots};
use super::stack_offsets::stack_offsets;
use crate::error::{Error, Result};
use crate::ir::{Function, Op, StmtKind};
use crate::module::Module;
use crate::options::Shape;

/// The stack pointer of an inlined kernel whose globals are promoted: the global of that name, else the one that may be it
/// ([`Module::may_be_stack_pointer`]) and below whose value addresses are derived. `None` if the kernel uses none.
///
/// # Errors
/// [`Error::Unsupported`] if several globals could be it.
pub fn stack_pointer(function: &Function, module: &Module, shape: &Shape) -> Result<Option<u32>> {
    let read = globals_read(function);
    if let Some(named) = module.stack_pointer() {
        return Ok(read.contains(&named).then_some(named));
    }
    let candidates = read.into_iter().filter(|global| module.may_be_stack_pointer(*global));
    let found: Vec<u32> = candidates.filter(|global| addresses_use(function, shape, *global)).collect();
    match found[..] {
        [] => Ok(None),
        [global] => Ok(Some(global)),
        _ => Err(Error::Unsupported {
            what: format!(
                "addresses derived from {} globals, so that the stack pointer can't be told (keep the name \
                 `__stack_pointer` in the module)",
                found.len()
            ),
            function_name: function.name.clone(),
            at: None,
            too_large: false,
        }),
    }
}

fn globals_read(function: &Function) -> Vec<u32> {
    let mut read = Vec::new();
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            if let StmtKind::Op { op: Op::GlobalGet(global), .. } = stmt.kind {
                read.push(global);
            }
        }
    }
    read.sort_unstable();
    read.dedup();
    read
}

/// Whether addresses below the global's value are computed, and some address is that value and a number.
fn addresses_use(function: &Function, shape: &Shape, global: u32) -> bool {
    let offsets = stack_offsets(function, global);
    if offsets.depth() == 0 && offsets.unknown_subtrahends(function).next().is_none() {
        return false;
    }
    let roots = roots(function, shape, Some(global));
    dataflow::regions(function).into_iter().any(|id| {
        function.region(id).stmts.iter().any(|stmt| match &stmt.kind {
            StmtKind::Op { op, args, .. } if op.memory_access().is_some() => match roots.root_of(args[0]) {
                Root::Stack => true,
                Root::Among(set) => set.has_stack(),
                Root::Slot(_) | Root::Linear | Root::Unreached => false,
            },
            _ => false,
        })
    })
}
