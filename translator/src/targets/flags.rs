//! Stores of one constant to one place, as those of `errno` are: invocations that make them at once make them alike.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::analysis::dataflow::{constants, regions};
use crate::error::Location;
use crate::ir::{Const, Function, Op, StmtKind, Value};

/// An access at a constant address.
struct Access {
    at: Location,
    bytes: Range<u64>,
    /// What is stored, if it is a constant.
    stored: Option<Const>,
}

/// The operators of a kernel that store a constant to a constant address, where no other constant address is loaded from, or
/// stored something else to, wherever the operator was inlined.
pub(super) fn flags(kernel: &Function) -> BTreeSet<Location> {
    let constants = constants(kernel);
    let constant = |value: &Value| constants[value.index()];
    let (mut accesses, mut others) = (Vec::new(), BTreeSet::new());
    for stmt in regions(kernel).into_iter().flat_map(|id| &kernel.region(id).stmts) {
        let StmtKind::Op { op, args, .. } = &stmt.kind else { continue };
        let Some(access) = op.memory_access() else { continue };
        match (constant(&args[0]), op) {
            (Some(Const::I32(base)), _) => {
                let start = u64::from(base) + u64::from(access.offset);
                let stored = if matches!(op, Op::Store(_)) { constant(&args[1]) } else { None };
                accesses.push(Access { at: stmt.at, bytes: start..start + u64::from(access.bytes), stored });
            }
            _ => _ = others.insert(stmt.at),
        }
    }
    let is_flag = |access: &&Access| {
        let meets = |other: &&Access| access.bytes.start < other.bytes.end && other.bytes.start < access.bytes.end;
        let is_alike = |other: &Access| other.bytes == access.bytes && other.stored == access.stored;
        access.stored.is_some() && accesses.iter().filter(meets).all(is_alike)
    };
    let (flags, rest): (Vec<&Access>, Vec<&Access>) = accesses.iter().partition(is_flag);
    others.extend(rest.into_iter().map(|access| access.at));
    flags.into_iter().map(|access| access.at).filter(|at| !others.contains(at)).collect()
}
