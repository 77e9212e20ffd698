//! Four words at a time: loads of adjacent words become lanes of one wide load, and stores of four adjacent words one.
//!
//! A buffer of which a kernel mostly accesses several words of four aligned ones is declared as an array of vectors.
//! Structures of floats (points, bodies, pixels) are of that kind, and so is everything where four invocations run as one.
//! Buffers are padded to whole vectors, so the words beside those that were checked can be loaded too. Only stores of all four
//! words become one. What remains is a component of a vector.

use crate::analysis::dataflow;
use crate::analysis::offsets::Offsets;
use crate::hash::{HashMap, HashMapExt, HashSet};
use crate::ir::builder::ListBuilder;
use crate::ir::{Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::LINEAR;

/// Bytes of four words, and their logarithm.
const QUAD: u32 = 16;
const QUAD_BITS: u32 = 4;

/// Widens the accesses of lowered code, but for those of these slots.
pub fn widen(function: &mut Function, but: &HashSet<u32>) {
    let facts = Facts { offsets: Offsets::new(function) };
    let regions = dataflow::regions(function);
    let slots = facts.slots(function, &regions, but);
    if slots.is_empty() {
        return;
    }
    for id in regions {
        widen_region(function, &facts, &slots, id);
        store_quads(function, &facts, &slots, id);
    }
}

/// The slots of whose words parts are stored by themselves, or which are accessed atomically.
pub fn parted_slots(function: &Function) -> HashSet<u32> {
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    stmts
        .filter_map(|stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } if is_parted(*op) => op.stored_slot().or(op.atomic_slot()),
            _ => None,
        })
        .collect()
}

fn is_parted(op: LowOp) -> bool {
    matches!(op, LowOp::AndWord { .. } | LowOp::OrWord { .. } | LowOp::StorePart { .. } | LowOp::Atomic { .. })
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
            None => {
                let (first, words) = self.offsets.sum(index);
                match self.offsets.def(first)? {
                    (LowOp::ShrU, [bytes, amount]) if self.offsets.constant(amount) == Some(2) => {
                        // The check was on the sum, which wraps as this one does; and an index of words that is within a
                        // buffer does not wrap.
                        let (base, offset) = self.offsets.sum(bytes);
                        (Some(base), offset.wrapping_add(words.wrapping_mul(4)))
                    }
                    _ => return None,
                }
            }
        };
        if base.is_some_and(|base| self.offsets.trailing_zeros(base) < QUAD_BITS) {
            return None;
        }
        Some((Quad { base, offset: offset & !(QUAD - 1) }, offset % QUAD / 4))
    }

    /// The slots whose accesses are to be widened.
    fn slots(&self, function: &Function, regions: &[RegionId], but: &HashSet<u32>) -> HashSet<u32> {
        let mut found: HashMap<u32, Found> = HashMap::new();
        for id in regions {
            for stmt in &function.region(*id).stmts {
                let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind else { continue };
                let (slot, stores) = match op {
                    // What is bound of linear memory may end anywhere.
                    LowOp::LoadWord { slot: LINEAR } | LowOp::StoreWord { slot: LINEAR } => continue,
                    LowOp::LoadWord { slot } => (*slot, false),
                    LowOp::StoreWord { slot } => (*slot, true),
                    _ => continue,
                };
                if let Some((quad, _)) = self.place(args[0]) {
                    found.entry(slot).or_default().add(*id, quad, stores);
                }
            }
        }
        found.into_iter().filter(|(slot, found)| !but.contains(slot) && found.pays()).map(|(slot, _)| slot).collect()
    }
}

/// The accesses of a slot whose places are known.
#[derive(Default)]
struct Found {
    accesses: usize,
    quads: HashSet<(RegionId, Quad, bool)>,
}

impl Found {
    fn add(&mut self, region: RegionId, quad: Quad, stores: bool) {
        self.accesses += 1;
        self.quads.insert((region, quad, stores));
    }

    /// A wide load for one word of four moves more than it saves.
    fn pays(&self) -> bool {
        self.accesses >= 2 * self.quads.len()
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

/// Puts stores of four adjacent words together that nothing stands between but operators without effect, loads of other
/// slots, and stores of other words.
fn store_quads(function: &mut Function, facts: &Facts, slots: &HashSet<u32>, id: RegionId) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut out: Vec<Stmt> = Vec::with_capacity(stmts.len());
    let mut open: Vec<Open> = Vec::new();
    for stmt in stmts {
        if let Some((slot, quad, lane)) = stored(&stmt, facts, slots) {
            // Of two bases nobody knows how far they are apart.
            if open.iter().any(|open| open.slot == slot && open.quad.base != quad.base) {
                out.extend(open.drain(..).flat_map(Open::into_stmts));
            }
            let number = open.iter().position(|open| (open.slot, open.quad) == (slot, quad)).unwrap_or_else(|| {
                open.push(Open { slot, quad, lanes: Default::default() });
                open.len() - 1
            });
            // What is stored again is stored for nothing before.
            open[number].lanes[lane as usize] = Some(stmt);
            if let Some(words) = open[number].words() {
                out.append(&mut store_quad(function, words, &open.swap_remove(number)));
            }
            continue;
        }
        let ends = match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } if !op.has_effect() => {
                open.iter().any(|open| op.loaded_slot() == Some(open.slot))
            }
            StmtKind::Op { op, .. } => !op.is_pure(),
            _ => true,
        };
        if ends {
            out.extend(open.drain(..).flat_map(Open::into_stmts));
        }
        out.push(stmt);
    }
    out.extend(open.into_iter().flat_map(Open::into_stmts));
    function.region_mut(id).stmts = out;
}

/// Stores to words of one four.
struct Open {
    slot: u32,
    quad: Quad,
    lanes: [Option<Stmt>; 4],
}

impl Open {
    /// The words, if all are stored.
    fn words(&self) -> Option<[Value; 4]> {
        let mut words = [Value(0); 4];
        for (word, stmt) in words.iter_mut().zip(&self.lanes) {
            *word = *stmt.as_ref()?.kind.args().get(1)?;
        }
        Some(words)
    }

    fn into_stmts(self) -> impl Iterator<Item = Stmt> {
        self.lanes.into_iter().flatten()
    }
}

/// The slot of a store to a wide one, and where it stores.
fn stored(stmt: &Stmt, facts: &Facts, slots: &HashSet<u32>) -> Option<(u32, Quad, u32)> {
    let StmtKind::Op { op: Op::Low(LowOp::StoreWord { slot }), args, .. } = &stmt.kind else { return None };
    let (quad, lane) = facts.place(args[0]).filter(|_| slots.contains(slot))?;
    Some((*slot, quad, lane))
}

fn store_quad(function: &mut Function, [a, b, c, d]: [Value; 4], from: &Open) -> Vec<Stmt> {
    let at = from.lanes.iter().flatten().map(|stmt| stmt.at).next().unwrap_or_default();
    let mut list = ListBuilder::new(at);
    let index = index(function, &mut list, from.quad);
    list.effect(Op::Low(LowOp::StoreQuad { slot: from.slot }), &[index, a, b, c, d]);
    list.stmts
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
