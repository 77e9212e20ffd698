//! Words that an invocation loads again, though it has stored only to other buffers since.
//!
//! C may not keep `a[i]` in a register while it stores to `b[i]`: the two may be the same. Buffers are known to be distinct, or
//! are compared before a launch. Hosts' compilers see one memory, so that they can't know. In groups a load may take as much as
//! all else: an invocation's element is brought into its lane, and a load waits for stores whose addresses end in the same 12
//! bits, as those in one column of a matrix often do.
//!
//! What other invocations store in between is a race, but in loops: there nothing is known at the start of a round.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::dataflow;
use crate::analysis::roots::{Root, Roots, roots};
use crate::ir::operator::MemoryAccess;
use crate::ir::{Function, Op, RegionId, Stmt, StmtKind, Value};
use crate::options::Shape;

/// Drops these loads. Gives the pairs of buffers, by their slots, that must not be the same.
pub fn drop(function: &mut Function, shape: &Shape, stack_pointer: Option<u32>) -> BTreeSet<(u32, u32)> {
    let roots = roots(function, shape, stack_pointer);
    let mut pass = Reloads {
        subst: (0..function.values.len() as u32).map(Value).collect(),
        roots,
        known: BTreeMap::new(),
        apart: BTreeSet::new(),
    };
    for id in dataflow::regions(function) {
        pass.region(function, id);
    }
    pass.substitute(function);
    pass.apart
}

/// What is known of a place in memory: of an address, and an offset from it.
struct Known {
    access: MemoryAccess,
    value: Value,
    /// Slots of the buffers that were stored to since.
    stored: BTreeSet<u32>,
}

struct Reloads {
    /// What each value is replaced by.
    subst: Vec<Value>,
    roots: Roots,
    known: BTreeMap<(Value, u32), Known>,
    apart: BTreeSet<(u32, u32)>,
}

impl Reloads {
    fn region(&mut self, function: &mut Function, id: RegionId) {
        self.known.clear();
        let stmts = std::mem::take(&mut function.region_mut(id).stmts);
        let kept = stmts.into_iter().filter(|stmt| self.keeps(stmt)).collect();
        function.region_mut(id).stmts = kept;
    }

    /// Whether a statement is to be kept; takes note of what it does.
    fn keeps(&mut self, stmt: &Stmt) -> bool {
        let StmtKind::Op { op, args, result } = &stmt.kind else {
            self.known.clear();
            return true;
        };
        match (op, result) {
            (Op::Load(access), Some(result)) => return !self.is_again(access, self.value(args[0]), *result),
            (Op::Store(access), _) => self.note_store(access, self.value(args[0]), self.value(args[1])),
            (Op::Const(_) | Op::Wasm(_) | Op::Select | Op::GlobalGet(_) | Op::MemorySize, _) => {}
            _ => self.known.clear(),
        }
        true
    }

    fn value(&self, value: Value) -> Value {
        self.subst[value.index()]
    }

    /// Whether a load gives what is known; takes note of what it gives, else.
    fn is_again(&mut self, access: &MemoryAccess, address: Value, result: Value) -> bool {
        if access.checked.is_some() {
            return false;
        }
        let place = (address, access.offset);
        if let Some(known) = self.known.get(&place).filter(|known| known.access == *access) {
            self.subst[result.index()] = known.value;
            if let Root::Slot(slot) = self.roots.root_of(address) {
                self.apart.extend(known.stored.iter().map(|stored| (slot, *stored)));
            }
            return true;
        }
        self.known.insert(place, Known { access: *access, value: result, stored: BTreeSet::new() });
        false
    }

    fn note_store(&mut self, access: &MemoryAccess, address: Value, value: Value) {
        let root = self.roots.root_of(address);
        let roots = &self.roots;
        self.known.retain(|(known_address, offset), known| {
            let other = roots.root_of(*known_address);
            if other.is_apart_from(root) {
                if let (Root::Slot(_), Root::Slot(slot)) = (other, root) {
                    known.stored.insert(slot);
                }
                return true;
            }
            *known_address == address && are_beside(access, *offset, known.access.bytes)
        });
        // What is stored whole is what a load gives.
        if access.checked.is_none() && access.bytes * 8 == access.ty.bits() {
            let known = Known { access: *access, value, stored: BTreeSet::new() };
            self.known.insert((address, access.offset), known);
        }
    }

    fn substitute(&self, function: &mut Function) {
        function.uses_mut().for_each(|value| *value = self.value(*value));
    }
}

/// Whether an access does not touch so many bytes at another offset from its address.
fn are_beside(access: &MemoryAccess, offset: u32, bytes: u32) -> bool {
    let (start, end) = (u64::from(access.offset), u64::from(access.offset) + u64::from(access.bytes));
    let (other, other_end) = (u64::from(offset), u64::from(offset) + u64::from(bytes));
    end <= other || other_end <= start
}
