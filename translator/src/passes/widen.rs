//! Four words at a time: loads of adjacent words become lanes of one wide load.
//!
//! A buffer that a kernel only loads, always words whose place among four aligned ones is known, and mostly several of
//! the same four, is declared as an array of vectors. Structures of floats (points, bodies, pixels) are of that kind.
//! Buffers are padded to whole vectors, so the words beside those that were checked can be loaded too.

use crate::analysis::dataflow;
use crate::analysis::offsets::Offsets;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Function, LowOp, Op, RegionId, StmtKind, Type, Value};
use crate::options::LINEAR;

/// Bytes of four words, and their logarithm.
const QUAD: u32 = 16;
const QUAD_BITS: u32 = 4;

/// Widens the loads of lowered code.
pub fn widen(function: &mut Function) {
    let facts = Facts { offsets: Offsets::new(function) };
    let regions = dataflow::regions(function);
    let slots = facts.slots(function, &regions);
    if slots.is_empty() {
        return;
    }
    for id in regions {
        widen_region(function, &facts, &slots, id);
    }
}

/// Where four words lie: a value that is a multiple of 16 bytes, or none, plus a constant multiple of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Quad {
    base: Option<Value>,
    offset: u32,
}

/// What decides which loads are widened.
struct Facts {
    offsets: Offsets,
}

impl Facts {
    /// The four words and the lane that a word's index names, if that is known.
    fn place(&self, index: Value) -> Option<(Quad, u32)> {
        let (base, offset) = match self.offsets.constant(index) {
            Some(words) => (None, words.checked_mul(4)?),
            None => match self.offsets.def(index)? {
                (LowOp::ShrU, [bytes, amount]) if self.offsets.constant(amount) == Some(2) => {
                    // The check was on the sum, which wraps as this one does.
                    let (base, offset) = self.offsets.sum(bytes);
                    (Some(base), offset)
                }
                _ => return None,
            },
        };
        if base.is_some_and(|base| self.offsets.trailing_zeros(base) < QUAD_BITS) {
            return None;
        }
        Some((Quad { base, offset: offset & !(QUAD - 1) }, offset % QUAD / 4))
    }

    /// The slots whose loads are all to be widened.
    fn slots(&self, function: &Function, regions: &[RegionId]) -> HashSet<u32> {
        let mut loads: HashMap<u32, u32> = HashMap::new();
        let mut quads: HashMap<u32, HashSet<(RegionId, Quad)>> = HashMap::new();
        let mut refused = HashSet::new();
        for id in regions {
            for stmt in &function.region(*id).stmts {
                let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind else { continue };
                match op {
                    LowOp::StoreWord { slot }
                    | LowOp::AndWord { slot }
                    | LowOp::OrWord { slot }
                    | LowOp::StorePart { slot, .. }
                    | LowOp::Atomic { slot, .. } => {
                        refused.insert(*slot);
                    }
                    // What is bound of linear memory may end anywhere.
                    LowOp::LoadWord { slot: LINEAR } => {}
                    LowOp::LoadWord { slot } => match self.place(args[0]) {
                        Some((quad, _)) => {
                            *loads.entry(*slot).or_default() += 1;
                            quads.entry(*slot).or_default().insert((*id, quad));
                        }
                        None => _ = refused.insert(*slot),
                    },
                    _ => {}
                }
            }
        }
        // A wide load for one word of four moves more than it saves.
        let pays = |slot: &u32| quads.get(slot).is_some_and(|quads| loads[slot] as usize >= 2 * quads.len());
        loads.keys().copied().filter(|slot| !refused.contains(slot) && pays(slot)).collect()
    }
}

fn widen_region(function: &mut Function, facts: &Facts, slots: &HashSet<u32>, id: RegionId) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut indices: HashMap<Quad, Value> = HashMap::new();
    let mut out = Vec::with_capacity(stmts.len());
    for mut stmt in stmts {
        if let StmtKind::Op { op: Op::Low(low), args, .. } = &mut stmt.kind
            && let LowOp::LoadWord { slot } = *low
            && slots.contains(&slot)
            && let Some((quad, lane)) = facts.place(args[0])
        {
            let index = *indices.entry(quad).or_insert_with(|| {
                let mut list = ListBuilder::new(stmt.at);
                let index = index(function, &mut list, quad);
                out.append(&mut list.stmts);
                index
            });
            *low = LowOp::LoadLane { slot, lane };
            args[0] = index;
        }
        out.push(stmt);
    }
    function.region_mut(id).stmts = out;
}

/// Computes the index of four words, in units of four words.
fn index(function: &mut Function, list: &mut ListBuilder, quad: Quad) -> Value {
    let Some(base) = quad.base else { return list.i32(function, quad.offset >> QUAD_BITS) };
    let mut bytes = base;
    if quad.offset != 0 {
        let offset = list.i32(function, quad.offset);
        bytes = list.low(function, LowOp::IAdd, &[base, offset], Type::I32);
    }
    let amount = list.i32(function, QUAD_BITS);
    list.low(function, LowOp::ShrU, &[bytes, amount], Type::I32)
}
