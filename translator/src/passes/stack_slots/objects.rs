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

/// How far in front of an array the address may lie that an index is added to, in bytes.
const IN_FRONT: i64 = 16;

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
        let (mut found, mut indexed) = (BTreeSet::new(), BTreeSet::new());
        for stmt in statements(promoted) {
            for value in stmt.kind.results() {
                let Some(is_indexed) = escaping.get(value) else { continue };
                let start = offsets.of(*value).map_or(0, |offset| i64::from(offset as i32));
                let end = self.end(start, stmt.at.function);
                if start < 0 && start < end {
                    if *is_indexed {
                        indexed.insert((start, end))
                    } else {
                        found.insert((start, end))
                    };
                }
            }
        }
        let all: BTreeSet<i64> = found.iter().chain(&indexed).map(|span| span.0).collect();
        // What an index is added to may lie a little in front of an array.
        indexed.retain(|(start, _)| all.range(start + 1..=start + IN_FRONT).next().is_none());
        found.extend(indexed);
        // Where an object ends and a variable begins, the address is more likely one behind the object's last byte.
        let ends: BTreeSet<i64> = found.iter().map(|span| span.1).collect();
        found.retain(|(start, _)| !ends.contains(start));
        found
    }

    /// Where an object ends whose address a function computes: its own, or its caller's.
    fn end(&self, start: i64, function: u32) -> i64 {
        let own = self.frames.get(&function).and_then(|frame| frame.end_of(start));
        own.or_else(|| self.frames.values().filter_map(|frame| frame.end_of(start)).max()).unwrap_or(start)
    }
}

/// Places of one access that lie so near each other, in bytes, are taken for elements of one array.
const NEAR: i64 = 32;

/// So many of them are: two may well be two variables.
const ELEMENTS: i64 = 3;

/// What an access of so many bytes met, and will meet as far as that can be told: where several places lie near each other, all
/// between them.
pub fn met_by_one(met: &[Span], bytes: i64) -> Vec<Span> {
    let rows = met.chunk_by(|before, next| before.0 <= next.0 && next.0 - before.1 <= NEAR);
    let is_array = |row: &[Span]| row.iter().map(|span| span.1 - span.0).sum::<i64>() >= ELEMENTS * bytes;
    let whole = |row: &[Span]| row.iter().copied().reduce(|all, span| (all.0, all.1.max(span.1)));
    let spans = |row: &[Span]| if is_array(row) { Vec::from_iter(whole(row)) } else { row.to_vec() };
    rows.flat_map(spans).collect()
}

impl Frame {
    /// Where an object ends that begins in the frame.
    fn end_of(&self, start: i64) -> Option<i64> {
        let first = self.loaded.first().into_iter().chain(self.stored.first()).min()?;
        let mut variables = self.stored.range(start + 1..).filter(|at| self.loaded.contains(at));
        (*first..self.end).contains(&start).then(|| variables.next().copied().unwrap_or(self.end))
    }
}

fn statements(function: &Function) -> impl Iterator<Item = &Stmt> {
    dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts)
}

/// The values at constant distances that are used otherwise than to access what they point to, or to compute another such
/// value, or to be compared; and whether all that is done with them is to add a number.
fn escaping(function: &Function, offsets: &StackOffsets) -> BTreeMap<Value, bool> {
    let mut uses: BTreeMap<Value, bool> = BTreeMap::new();
    let mut note = |value: &Value, is_indexed: bool| {
        if offsets.of(*value).is_some() {
            *uses.entry(*value).or_insert(true) &= is_indexed;
        }
    };
    for id in dataflow::regions(function) {
        let region = function.region(id);
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Op { op: Op::Load(_), .. } => {}
                StmtKind::Op { op: Op::Store(_), args, .. } => note(&args[1], false),
                StmtKind::Op { op: Op::Wasm(op), .. } if is_comparison(*op) => {}
                StmtKind::Op { op: Op::Wasm(WasmOp::I32Add | WasmOp::I32Sub), args, result: Some(result) } => {
                    if offsets.of(*result).is_none() {
                        args.iter().for_each(|arg| note(arg, true));
                    }
                }
                kind => kind.args().iter().for_each(|arg| note(arg, false)),
            }
        }
        region.exit.values().iter().for_each(|value| note(value, false));
    }
    uses
}
