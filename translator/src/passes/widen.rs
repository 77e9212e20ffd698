//! Two or four words at a time: loads of adjacent words become lanes of one wide load, and stores of all of them one.
//!
//! A buffer of which a kernel mostly accesses several words of four aligned ones is declared as an array of vectors, or of
//! vectors of two, where it mostly accesses both words of aligned pairs. Structures of floats (points, bodies, pixels, complex
//! numbers) are of that kind, and so are numbers of 64 bits, and everything where four invocations run as one.
//! Buffers are padded to whole vectors, and so is what is bound of linear memory, which starts at a multiple of them; so the
//! words beside those that were checked can be loaded too. Only stores of all words become one. What remains is a component of
//! a vector.

use crate::analysis::dataflow;
use crate::analysis::offsets::Offsets;
use crate::hash::{HashMap, HashMapExt, HashSet};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};

/// How many words are accessed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// A pair.
    Two,
    /// As much as the widest access of a GPU.
    Four,
}

impl Width {
    fn words(self) -> u8 {
        match self {
            Width::Two => 2,
            Width::Four => 4,
        }
    }

    fn bytes(self) -> u32 {
        4 * u32::from(self.words())
    }
}

/// The slots whose accesses are to be widened.
pub type Slots = HashMap<u32, Width>;

/// Widens the loads of lowered code, but for those of these slots; gives the slots whose accesses are wide.
pub fn widen_loads(function: &mut Function, but: &HashSet<u32>) -> Slots {
    let facts = Facts { offsets: Offsets::new(function) };
    let regions = dataflow::regions(function);
    let slots = facts.slots(function, &regions, but);
    if !slots.is_empty() {
        regions.into_iter().for_each(|id| widen_region(function, &facts, &slots, id));
    }
    slots
}

/// Widens the stores to these slots. Where checks between them have been merged with those before, more of them can be.
pub fn widen_stores(function: &mut Function, slots: &Slots) {
    if slots.is_empty() {
        return;
    }
    let facts = Facts { offsets: Offsets::new(function) };
    for id in dataflow::regions(function) {
        store_vectors(function, &facts, slots, id);
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

/// Where words that are accessed at once lie: a value that is a multiple of their bytes, or none, plus a constant multiple of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    base: Option<Value>,
    offset: u32,
    width: Width,
}

/// What decides which loads are widened.
struct Facts {
    offsets: Offsets,
}

impl Facts {
    /// The words among which a word lies that this is the index of, and which of them it is, if that is known.
    fn place(&self, index: Value, width: Width) -> Option<(Place, u8)> {
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
        let bytes = width.bytes();
        if base.is_some_and(|base| self.offsets.trailing_zeros(base) < bytes.ilog2()) {
            return None;
        }
        Some((Place { base, offset: offset & !(bytes - 1), width }, (offset % bytes / 4) as u8))
    }

    fn slots(&self, function: &Function, regions: &[RegionId], but: &HashSet<u32>) -> Slots {
        let mut found: HashMap<u32, Found> = HashMap::new();
        for id in regions {
            for stmt in &function.region(*id).stmts {
                let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind else { continue };
                let (slot, stores) = match op {
                    LowOp::LoadWord { slot } => (*slot, false),
                    LowOp::StoreWord { slot } => (*slot, true),
                    _ => continue,
                };
                let found = found.entry(slot).or_default();
                found.accesses += 1;
                for (width, among) in [(Width::Four, &mut found.fours), (Width::Two, &mut found.twos)] {
                    among.add(self.place(args[0], width).map(|(place, _)| (*id, place, stores)));
                }
            }
        }
        let widths = found.into_iter().filter(|(slot, _)| !but.contains(slot));
        widths.filter_map(|(slot, found)| Some((slot, found.width()?))).collect()
    }
}

/// The accesses of a slot.
#[derive(Default)]
struct Found {
    accesses: usize,
    fours: Among,
    twos: Among,
}

impl Found {
    fn width(&self) -> Option<Width> {
        // A wide load for one word of four moves more than it saves.
        let fours_pay = self.fours.accesses > 0 && self.fours.accesses >= 2 * self.fours.places.len();
        // Of two words both are to be accessed, and other accesses, which have to choose one of two, be the fewer.
        let saved = self.twos.accesses - self.twos.places.len();
        let twos_pay =
            3 * self.twos.places.len() <= 2 * self.twos.accesses && saved > self.accesses - self.twos.accesses;
        match (fours_pay, twos_pay) {
            (true, _) => Some(Width::Four),
            (false, true) => Some(Width::Two),
            (false, false) => None,
        }
    }
}

/// Accesses whose places are known.
#[derive(Default)]
struct Among {
    accesses: usize,
    places: HashSet<(RegionId, Place, bool)>,
}

impl Among {
    fn add(&mut self, access: Option<(RegionId, Place, bool)>) {
        self.accesses += usize::from(access.is_some());
        self.places.extend(access);
    }
}

fn widen_region(function: &mut Function, facts: &Facts, slots: &Slots, id: RegionId) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut indices: HashMap<Place, Value> = HashMap::new();
    let mut out = Vec::with_capacity(stmts.len());
    for mut stmt in stmts {
        if let StmtKind::Op { op: Op::Low(low), args, .. } = &mut stmt.kind
            && let LowOp::LoadWord { slot } = *low
            && let Some(width) = slots.get(&slot)
            && let Some((place, lane)) = facts.place(args[0], *width)
        {
            let index = *indices.entry(place).or_insert_with(|| {
                let mut list = ListBuilder::new(stmt.at);
                let index = index(function, &mut list, place);
                out.append(&mut list.stmts);
                index
            });
            *low = LowOp::LoadLane { slot, words: width.words(), lane };
            args[0] = index;
        }
        out.push(stmt);
    }
    function.region_mut(id).stmts = out;
}

/// Puts stores of adjacent words together that nothing stands between but operators without effect, loads of other
/// slots, and stores of other words.
fn store_vectors(function: &mut Function, facts: &Facts, slots: &Slots, id: RegionId) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut out: Vec<Stmt> = Vec::with_capacity(stmts.len());
    let mut open: Vec<Open> = Vec::new();
    for stmt in stmts {
        if let Some((slot, place, lane)) = stored(&stmt, facts, slots) {
            // Of two bases nobody knows how far they are apart.
            if open.iter().any(|open| open.slot == slot && open.place.base != place.base) {
                out.extend(open.drain(..).flat_map(Open::into_stmts));
            }
            let number = open.iter().position(|open| (open.slot, open.place) == (slot, place)).unwrap_or_else(|| {
                open.push(Open { slot, place, lanes: Default::default() });
                open.len() - 1
            });
            // What is stored again is stored for nothing before.
            open[number].lanes[lane as usize] = Some(stmt);
            if let Some(words) = open[number].words() {
                out.append(&mut store_vector(function, words, &open.swap_remove(number)));
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

/// Stores to words of one vector.
struct Open {
    slot: u32,
    place: Place,
    lanes: [Option<Stmt>; 4],
}

impl Open {
    /// The words, if all are stored.
    fn words(&self) -> Option<Args> {
        let lanes = &self.lanes[..self.place.width.words().into()];
        lanes.iter().map(|stmt| stmt.as_ref()?.kind.args().get(1).copied()).collect()
    }

    fn into_stmts(self) -> impl Iterator<Item = Stmt> {
        self.lanes.into_iter().flatten()
    }
}

/// The slot of a store to a wide one, and where it stores.
fn stored(stmt: &Stmt, facts: &Facts, slots: &Slots) -> Option<(u32, Place, u8)> {
    let StmtKind::Op { op: Op::Low(LowOp::StoreWord { slot }), args, .. } = &stmt.kind else { return None };
    let (place, lane) = facts.place(args[0], *slots.get(slot)?)?;
    Some((*slot, place, lane))
}

fn store_vector(function: &mut Function, words: Args, from: &Open) -> Vec<Stmt> {
    let at = from.lanes.iter().flatten().map(|stmt| stmt.at).next().unwrap_or_default();
    let mut list = ListBuilder::new(at);
    let index = index(function, &mut list, from.place);
    let op = match from.place.width {
        Width::Two => LowOp::StorePair { slot: from.slot },
        Width::Four => LowOp::StoreQuad { slot: from.slot },
    };
    let args: Args = std::iter::once(index).chain(words).collect();
    list.effect(Op::Low(op), &args);
    list.stmts
}

/// Computes the index of words that are accessed at once, in units of them.
fn index(function: &mut Function, list: &mut ListBuilder, place: Place) -> Value {
    let bits = place.width.bytes().ilog2();
    let Some(base) = place.base else { return list.i32(function, place.offset >> bits) };
    let mut bytes = base;
    if place.offset != 0 {
        let offset = list.i32(function, place.offset);
        bytes = list.low(function, LowOp::IAdd, &[base, offset], Type::I32);
    }
    let amount = list.i32(function, bits);
    list.low(function, LowOp::ShrU, &[bytes, amount], Type::I32)
}
