//! Which bytes of the stack are objects that computed addresses may mean: a guess, which the speculative form checks.
//!
//! An object begins where an address at a constant distance from the stack pointer is put to a use that is no access: it is
//! stored, carried by a loop, added to an index. It ends, so the guess, in front of the next variable of the same
//! function, which is what that function both loads and stores at a constant distance.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Span, access, place};
use crate::analysis::dataflow;
use crate::analysis::roots::is_comparison;
use crate::analysis::stack_offsets::{StackOffsets, stack_offsets};
use crate::ir::{Function, Op, Stmt, StmtKind, Value, WasmOp};

/// What a function does at constant distances from the stack pointer.
#[derive(Default)]
struct Frame {
    loaded: BTreeSet<i64>,
    stored: BTreeSet<i64>,
    end: i64,
}

/// The variables of each function that was inlined, before any is promoted.
pub struct Variables {
    frames: HashMap<u32, Frame>,
}

impl Variables {
    pub fn new(function: &Function, stack_pointer: u32) -> Variables {
        let offsets = stack_offsets(function, stack_pointer);
        let mut frames: HashMap<u32, Frame> = HashMap::new();
        for stmt in statements(function) {
            let Some((access, address)) = access(stmt) else { continue };
            let Some(at) = place(&offsets, &access, address) else { continue };
            let frame = frames.entry(stmt.at.function).or_insert_with(|| Frame { end: i64::MIN, ..Frame::default() });
            match &stmt.kind {
                StmtKind::Op { op: Op::Load(_), .. } => frame.loaded.insert(at),
                _ => frame.stored.insert(at),
            };
            frame.end = frame.end.max(at + i64::from(access.bytes));
        }
        Variables { frames }
    }

    /// The objects whose addresses are put to other uses than accesses in a form of the function in which some slots are
    /// promoted.
    pub fn objects(&self, promoted: &Function, offsets: &StackOffsets) -> BTreeSet<Span> {
        let escaping = escaping(promoted, offsets);
        let mut found = BTreeSet::new();
        for stmt in statements(promoted) {
            for value in stmt.kind.results().iter().filter(|value| escaping.contains(value)) {
                let start = offsets.of(*value).map_or(0, |offset| i64::from(offset as i32));
                if start < 0 {
                    found.insert((start, self.end(start, stmt.at.function)));
                }
            }
        }
        found
    }

    fn end(&self, start: i64, function: u32) -> i64 {
        let Some(frame) = self.frames.get(&function) else { return 0 };
        let mut variables = frame.stored.range(start + 1..).filter(|at| frame.loaded.contains(at));
        match variables.next() {
            Some(next) => *next,
            None if frame.end > start => frame.end,
            None => 0,
        }
    }
}

fn statements(function: &Function) -> impl Iterator<Item = &Stmt> {
    dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts)
}

/// The values at constant distances that are used otherwise than to access what they point to, or to compute another such
/// value, or to be compared.
fn escaping(function: &Function, offsets: &StackOffsets) -> BTreeSet<Value> {
    let mut uses: BTreeMap<Value, ()> = BTreeMap::new();
    let mut note = |value: &Value| {
        if offsets.of(*value).is_some() {
            uses.insert(*value, ());
        }
    };
    for id in dataflow::regions(function) {
        let region = function.region(id);
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Op { op: Op::Load(_), .. } => {}
                StmtKind::Op { op: Op::Store(_), args, .. } => note(&args[1]),
                StmtKind::Op { op: Op::Wasm(op), .. } if is_comparison(*op) => {}
                StmtKind::Op { op: Op::Wasm(WasmOp::I32Add | WasmOp::I32Sub), result: Some(result), .. }
                    if offsets.of(*result).is_some() => {}
                kind => kind.args().iter().for_each(&mut note),
            }
        }
        region.exit.values().iter().for_each(&mut note);
    }
    uses.into_keys().collect()
}
