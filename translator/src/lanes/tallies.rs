//! Buffers to which a kernel does nothing but add, atomically: counters and sums.
//!
//! Nobody can tell in which order that happens, nor whether it happens in one place. So a host may give each of its threads a
//! copy of its own, zero at first, and add the copies to the buffer in the end: what compilers call the privatisation of a
//! reduction (Lawrence Rauchwerger and David Padua, "The LRPD test", 1995).

use std::collections::BTreeSet;

use super::shapes::{Shape, shapes};
use crate::analysis::dataflow;
use crate::analysis::roots::{Root, Roots};
use crate::ir::{AtomicOp, Function, Op, StmtKind, Value};

/// How copies of a buffer come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// The sum of words of 32 bits.
    Words,
    /// The sum of words of 64 bits.
    Pairs,
    /// The bits set in either.
    Or,
    /// The bits set in one of them.
    Xor,
}

/// A buffer to which a kernel does nothing but add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its place in the launch's list.
    pub buffer: u32,
    /// What is done to it.
    pub sum: Sum,
}

/// The tallies of a kernel.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Ascending.
    pub list: Vec<Tally>,
    /// The addresses of their accesses.
    pub addresses: BTreeSet<Value>,
}

/// What is known of a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    None,
    Sum(Sum),
    Other,
}

impl Use {
    fn and(self, other: Use) -> Use {
        match (self, other) {
            (Use::None, other) => other,
            (one, other) if one == other => one,
            _ => Use::Other,
        }
    }
}

/// Finds the tallies among so many distinct buffers.
pub fn tallies(function: &Function, roots: &Roots, buffers: u32) -> Tallies {
    let used = used(function);
    let mut uses = vec![Use::None; buffers as usize];
    let mut addresses = vec![BTreeSet::new(); buffers as usize];
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            let StmtKind::Op { op, args, result } = &stmt.kind else {
                // What a function does that is called is not known.
                if matches!(stmt.kind, StmtKind::Call { .. } | StmtKind::CallIndirect { .. }) {
                    return Tallies::default();
                }
                continue;
            };
            if matches!(op, Op::MemoryFill | Op::MemoryCopy | Op::MemoryCopyApart | Op::MemoryInit(_)) {
                return Tallies::default();
            }
            if op.memory_access().is_none() {
                continue;
            }
            let this = match sum(op) {
                Some(sum) if result.is_none_or(|result| !used.contains(&result)) => Use::Sum(sum),
                _ => Use::Other,
            };
            match roots.root_of(args[0]) {
                Root::Slot(slot) => {
                    let known = &mut uses[slot as usize];
                    *known = known.and(this);
                    addresses[slot as usize].insert(args[0]);
                }
                Root::Among(set) => {
                    (0..buffers).filter(|slot| set.has_slot(*slot)).for_each(|slot| uses[slot as usize] = Use::Other)
                }
                Root::Stack | Root::Linear | Root::Unreached => {}
            }
        }
    }
    let mut found = Tallies::default();
    for ((known, addresses), buffer) in uses.into_iter().zip(addresses).zip(0..) {
        if let Use::Sum(sum) = known {
            found.list.push(Tally { buffer, sum });
            found.addresses.extend(addresses);
        }
    }
    found
}

/// Whether invocations may change the same words, other than tallies, atomically: at addresses that do not grow with the id.
pub fn contends(function: &Function, tallies: &Tallies) -> bool {
    let shapes = shapes(function, 4);
    dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts).any(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Atomic(op, _), args, .. } => {
            op.stores() && !tallies.addresses.contains(&args[0]) && !matches!(shapes.of(args[0]), Shape::Affine { .. })
        }
        _ => false,
    })
}

/// What an operator adds.
fn sum(op: &Op) -> Option<Sum> {
    let Op::Atomic(atomic, access) = op else { return None };
    match (atomic, access.bytes) {
        (AtomicOp::Add | AtomicOp::Sub, 4) => Some(Sum::Words),
        (AtomicOp::Add | AtomicOp::Sub, 8) => Some(Sum::Pairs),
        (AtomicOp::Or, _) => Some(Sum::Or),
        (AtomicOp::Xor, _) => Some(Sum::Xor),
        _ => None,
    }
}

/// All values that something is computed from.
fn used(function: &Function) -> BTreeSet<Value> {
    let mut used = BTreeSet::new();
    for id in dataflow::regions(function) {
        let region = function.region(id);
        region.stmts.iter().for_each(|stmt| used.extend(stmt.kind.args()));
        used.extend(region.exit.values());
    }
    used
}
