//! Updates of memory that are not atomic where several invocations may meet.
//!
//! Compilers make plain accesses of atomic ones unless they are told that there are threads, and nothing in the module says
//! so. What can be seen is a load, a computation and a store of one place that does not belong to one invocation: all
//! invocations compute one address, or data says which.

use std::collections::{HashMap, HashSet};

use crate::analysis::dataflow::{self, Analysis};
use crate::analysis::roots::{Root, Roots};
use crate::error::Location;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Function, Op, StmtKind, Value};

/// Most operators between a load and a store of one update.
const MAX_OPERATORS: usize = 16;

/// A load and a store of one place that other invocations may update, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUpdate {
    /// The store.
    pub at: Location,
    /// Whether all invocations that come here update one place; else data says which.
    pub same_place: bool,
}

/// The updates of a kernel; none of one that has atomic accesses: it was built with them.
pub(super) fn plain_updates(function: &Function, roots: &Roots) -> Vec<PlainUpdate> {
    let stmts = || dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let is_atomic = |kind: &StmtKind| matches!(kind, StmtKind::Op { op: Op::Atomic(..), .. });
    if stmts().any(|stmt| is_atomic(&stmt.kind)) {
        return Vec::new();
    }
    let (facts, _) = dataflow::solve(function, Variation);
    let mut defs: HashMap<Value, (&Op, &[Value])> = HashMap::new();
    for stmt in stmts() {
        if let StmtKind::Op { op, args, result: Some(result) } = &stmt.kind {
            defs.insert(*result, (op, args));
        }
    }
    let mut updates = Vec::new();
    for stmt in stmts() {
        let StmtKind::Op { op: Op::Store(access), args, .. } = &stmt.kind else { continue };
        let is_shared = !matches!(roots.root_of(args[0]), Root::Stack | Root::Unreached);
        let fact = facts[args[0].index()];
        if is_shared && (fact == UNIFORM || fact & DATA != 0) && loads(&defs, args[1], args[0], access) {
            updates.push(PlainUpdate { at: stmt.at, same_place: fact == UNIFORM });
        }
    }
    updates
}

/// Whether a value was computed from what the place of a store held.
fn loads(defs: &HashMap<Value, (&Op, &[Value])>, value: Value, address: Value, access: &MemoryAccess) -> bool {
    let (mut todo, mut seen) = (vec![value], HashSet::new());
    while let Some(value) = todo.pop() {
        if seen.len() >= MAX_OPERATORS || !seen.insert(value) {
            continue;
        }
        let same = |load: &MemoryAccess| (load.offset, load.bytes) == (access.offset, access.bytes);
        match defs.get(&value) {
            Some((Op::Load(load), args)) if args[0] == address && same(load) => return true,
            Some((Op::Wasm(_), args)) => todo.extend(*args),
            _ => {}
        }
    }
    false
}

/// What makes a value differ between invocations: nothing, or a set of what follows.
type Fact = u8;
const UNIFORM: Fact = 0;
/// The iteration id.
const ID: Fact = 1;
/// What was loaded from where invocations load from different places.
const DATA: Fact = 2;

struct Variation;

impl Analysis for Variation {
    type Fact = Fact;

    const UNREACHED: Fact = UNIFORM;

    fn join(&mut self, a: Fact, b: Fact) -> Fact {
        a | b
    }

    fn transfer(&mut self, op: &Op, args: &[Value], _: Value, facts: &[Fact]) -> Fact {
        let of_args = args.iter().fold(UNIFORM, |fact, arg| fact | facts[arg.index()]);
        match op {
            Op::Load(_) if of_args != UNIFORM => DATA,
            _ => of_args,
        }
    }

    fn parameter(&mut self, index: usize) -> Fact {
        if index == 0 { ID } else { UNIFORM }
    }

    fn call_result(&mut self) -> Fact {
        ID
    }
}
