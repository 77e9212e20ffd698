//! Slots of the shadow stack become values, wherever their addresses are constant.
//!
//! Unoptimised code keeps every variable on the stack, buffers' pointers too, so that only this shows where they point.
//! Bytes below the stack pointer are private to the invocation. Accesses at constant distances from it that overlap are
//! a *group*, and a group becomes cells (see [`promote`](super::promote)): one of the accesses' own size where all are
//! alike, else words. What is left unpromoted stays memory.
//!
//! Promotion assumes that no access at another address meets a promoted group. Where one comes up, as by a pointer that was
//! itself a slot, all starts anew with that group put off until then; and `promote_slots` keeps its result only
//! if no access is left that could meet one: up to the first that did, the promoted function and the original do the same,
//! so there is none. A speculative form keeps it in any case, and such accesses are checked when the kernel runs: they must
//! lie where nothing was promoted ([`Guards`]). There, what looks like an array or a structure is not promoted.

mod objects;

use smallvec::smallvec;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use crate::analysis::dataflow;
use crate::analysis::frames::{Guards, Span, meet};
use crate::analysis::ranges;
use crate::analysis::roots::{Root, roots};
use crate::analysis::stack_offsets::{StackOffsets, stack_offsets};
use crate::error::Location;
use crate::ir::builder::ListBuilder;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, Function, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::options::Shape;
use crate::passes::share::settle::settle;
use crate::passes::{dead_code, promote, simplify};
use crate::seen::Observed;

use objects::{Variables, met_by_one};

/// A slot that holds another's address is promoted a round before that one: deepest chain of such slots.
const MAX_ROUNDS: u32 = 6;
/// The same for speculative forms, whose kernels are large: a chain grows with each call that was inlined.
const MAX_ROUNDS_SPECULATIVE: u32 = 24;
/// Most attempts; each puts off at least one range by a round or more.
const MAX_ATTEMPTS: u32 = 40;

/// Attempts of which each looks for one range that came up too early, and no more.
const PATIENCE: u32 = 8;
/// Rounds of which what they found is kept: what comes up too early was mostly promoted in the last round or the one before.
const MAX_SNAPSHOTS: usize = 4;

/// Longest range of computed addresses, in bytes, that a speculative form takes for an object because it is proved: longer
/// ones are mostly those of a loop of which little is known.
const MAX_PROVED: i64 = 32;

/// Attempts of which each forgets what looked like an object at the last.
const MAX_GUESSES: u32 = 16;

/// What a speculative form goes by.
#[derive(Clone, Copy)]
pub(crate) struct Assumes<'a> {
    /// What accesses were seen to do.
    pub seen: Option<&'a Observed>,
    /// See [`Options::closely`](crate::Options::closely).
    pub closely: bool,
}

impl Assumes<'_> {
    /// The objects of a form: what accesses were seen to meet, and those that were guessed.
    fn objects(&self, form: &Function, shape: &Shape, stack_pointer: u32, guessed: BTreeSet<Span>) -> BTreeSet<Span> {
        let Some(seen) = self.seen else { return guessed };
        let (mut met, mut places_known) = (BTreeSet::new(), true);
        computed(form, shape, stack_pointer, |at, access, _, _| {
            for accessed in [false, true].into_iter().filter_map(|stores| seen.of(at, stores)) {
                places_known &= accessed.places_known();
                met.extend(met_by_one(accessed.near(), access.bytes.into()));
            }
        });
        match self.closely && places_known {
            true => met,
            false => met.into_iter().chain(guessed).collect(),
        }
    }
}

/// Promotes what can be promoted; `first_cell` is a number beyond the module's globals. A speculative form promotes what no
/// access is likely to meet, nor was seen to, and gives what accesses are to be checked for where some may.
pub(crate) fn promote_slots(
    function: &mut Function,
    shape: &Shape,
    (stack_pointer, first_cell): (u32, u32),
    assumes: Option<Assumes<'_>>,
) -> Option<Guards> {
    let speculates = assumes.is_some();
    let rounds = if speculates { MAX_ROUNDS_SPECULATIVE } else { MAX_ROUNDS };
    let mut plan = Plan {
        stack_pointer,
        first_cell,
        rounds,
        is_patient: speculates,
        put_off: BTreeMap::new(),
        objects: BTreeSet::new(),
        progress: Progress::default(),
    };
    let variables = speculates.then(|| Variables::new(function, stack_pointer));
    let mut best = None;
    for attempt in 0..MAX_ATTEMPTS {
        plan.is_patient |= attempt >= PATIENCE;
        let form = match plan.attempt(function) {
            Ok(None) => break,
            Ok(Some(promoted)) => promoted,
            Err((ranges, round)) => {
                ranges.into_iter().for_each(|range| plan.put_off(range, round));
                continue;
            }
        };
        let done: Vec<Span> = plan.progress.done.iter().map(|(range, _)| *range).collect();
        let met = met(&form, shape, stack_pointer, &done);
        let mut spans = met.spans;
        let (mut guards, known) = (None, spans.len());
        if speculates {
            spans.retain(|(first, end)| end - first <= MAX_PROVED);
        }
        if met.is_unbounded || spans.len() < known {
            let variables = variables.as_ref()?;
            let guessed = variables.objects(&form, &stack_offsets(&form, stack_pointer));
            let objects = assumes?.objects(&form, shape, stack_pointer, guessed);
            let missed = objects.iter().any(|span| done.iter().any(|known| meet(*known, *span)));
            if missed && best.is_some() {
                break;
            } else if missed {
                plan.guess(objects, attempt >= MAX_GUESSES);
                continue;
            }
            let shrinks = plan.objects.iter().any(|known| !objects.contains(known));
            guards = Some(Guards::new(done, &objects));
            if shrinks && spans.is_empty() && best.is_none() {
                // Without what no longer looks like an object more may be promoted.
                best = Some((form, guards));
                plan.guess(objects, false);
                continue;
            }
        }
        if spans.is_empty() {
            *function = form;
            return guards;
        }
        spans.into_iter().for_each(|span| plan.put_off(span, rounds));
    }
    let (form, guards) = best?;
    *function = form;
    guards
}

/// The accesses of the private stack, by address, offset and bytes, at no constant distance, that may meet what was
/// promoted.
pub fn unproved(function: &Function, shape: &Shape, stack_pointer: u32, done: &[Span]) -> HashSet<(Value, u32, u32)> {
    let mut found = HashSet::new();
    computed(function, shape, stack_pointer, |_, access, address, span| {
        if span.is_none_or(|span| done.iter().any(|known| meet(*known, span))) {
            found.insert((address, access.offset, access.bytes));
        }
    });
    found
}

/// What an attempt has done so far: the next one does the same up to where it promoted what is put off now, and goes on from there.
#[derive(Default)]
struct Progress {
    /// What was promoted, and in which round, in order.
    done: Vec<(Span, u32)>,
    /// The function as some of the last rounds found it.
    snapshots: VecDeque<Snapshot>,
}

struct Snapshot {
    round: u32,
    function: Function,
    /// How much was promoted before.
    done: usize,
}

impl Progress {
    /// Forgets what was done since a range was promoted.
    fn go_back(&mut self, range: Span) {
        let Some((_, first)) = self.done.iter().find(|(known, _)| meet(*known, range)).copied() else { return };
        self.snapshots.retain(|snapshot| snapshot.round <= first);
        let done = self.snapshots.back().map_or(0, |snapshot| snapshot.done);
        self.done.truncate(done);
    }

    fn keep(&mut self, round: u32, function: &Function) {
        if self.snapshots.back().is_some_and(|last| last.round == round) {
            return;
        }
        if self.snapshots.len() == MAX_SNAPSHOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(Snapshot { round, function: function.clone(), done: self.done.len() });
    }

    fn has_done(&self, range: Span) -> bool {
        self.done.iter().any(|(known, _)| meet(*known, range))
    }
}

/// What is promoted when.
struct Plan {
    stack_pointer: u32,
    first_cell: u32,
    rounds: u32,
    /// Whether an attempt looks for all ranges that came up too early.
    is_patient: bool,
    /// First byte to end, and first round, of what may not be promoted at once.
    put_off: BTreeMap<(i64, i64), u32>,
    /// What looks like an object, and is not promoted.
    objects: BTreeSet<Span>,
    /// What of the last attempt holds for the next one.
    progress: Progress,
}

impl Plan {
    /// Puts off what looks like an object, in place of what did at the last attempt or besides it.
    fn guess(&mut self, objects: BTreeSet<Span>, besides: bool) {
        if !besides {
            self.objects.clear();
        }
        self.objects.extend(objects);
        // What was one may have been due in any round.
        self.progress = Progress::default();
    }

    fn put_off(&mut self, range: Span, round: u32) {
        self.progress.go_back(range);
        let known = self.put_off.entry(range).or_insert(0);
        *known = round.max(*known + 1);
    }

    fn is_due(&self, group: Span, round: u32) -> bool {
        self.put_off.iter().all(|(range, from)| *from <= round || !meet(*range, group))
            && !self.objects.iter().any(|object| meet(*object, group))
    }

    /// Whether something is due in a later round.
    fn waits(&self, round: u32) -> bool {
        self.put_off.values().any(|from| (round + 1..self.rounds).contains(from))
    }

    /// The promoted function; `None` if nothing can be.
    ///
    /// # Errors
    /// Ranges that were promoted, one or more, and the round after which accesses of them came up.
    fn attempt(&mut self, function: &Function) -> Result<Option<Function>, (Vec<Span>, u32)> {
        let last = self.progress.snapshots.back();
        let mut promoted = last.map_or(function, |snapshot| &snapshot.function).clone();
        for round in last.map_or(0, |snapshot| snapshot.round)..self.rounds {
            self.progress.keep(round, &promoted);
            let offsets = stack_offsets(&promoted, self.stack_pointer);
            let mut groups = groups(&promoted, &offsets);
            let early = groups.iter().map(|(start, group)| (*start, group.end));
            let early = early.filter(|group| self.progress.has_done(*group));
            let early: Vec<Span> = early.take(if self.is_patient { usize::MAX } else { 1 }).collect();
            if !early.is_empty() {
                return Err((early, round));
            }
            let waiting = groups.len();
            groups.retain(|start, group| group.fits && self.is_due((*start, group.end), round));
            if groups.is_empty() && (waiting == 0 || !self.waits(round)) {
                break;
            }
            self.progress.done.extend(groups.iter().map(|(start, group)| ((*start, group.end), round)));
            let mut rewriter =
                Rewriter { offsets: &offsets, groups: &groups, first_cell: self.first_cell, cells: Sets::default() };
            rewriter.run(&mut promoted);
            promote::promote_from(&mut promoted, self.first_cell, &rewriter.cells.read_unset());
            settle(&mut promoted);
            simplify::simplify(&mut promoted);
            dead_code::remove(&mut promoted);
        }
        // What came up in the last round.
        let offsets = stack_offsets(&promoted, self.stack_pointer);
        for (access, address) in accesses(&promoted) {
            if let Some(at) = place(&offsets, &access, address) {
                let range = (at, at + i64::from(access.bytes));
                if let Some((range, _)) = self.progress.done.iter().find(|(known, _)| meet(*known, range)) {
                    return Err((vec![*range], self.rounds));
                }
            }
        }
        Ok((!self.progress.done.is_empty()).then_some(promoted))
    }
}

/// Which accesses of the private stack, at no constant distance, may meet what was promoted.
#[derive(Default)]
struct Met {
    /// The spans of those that have one.
    spans: BTreeSet<Span>,
    /// Whether one may meet anything.
    is_unbounded: bool,
}

fn met(function: &Function, shape: &Shape, stack_pointer: u32, done: &[Span]) -> Met {
    let mut met = Met::default();
    computed(function, shape, stack_pointer, |_, _, _, span| match span {
        Some(span) if done.iter().any(|known| meet(*known, span)) => _ = met.spans.insert(span),
        Some(_) => {}
        None => met.is_unbounded = true,
    });
    met
}

/// Goes through the accesses that may be of the private stack, at no constant distance: with the place in the code, the address,
/// and the bytes in which it lies if that is known.
fn computed(
    function: &Function,
    shape: &Shape,
    stack_pointer: u32,
    mut note: impl FnMut(Location, &MemoryAccess, Value, Option<Span>),
) {
    let roots = roots(function, shape, Some(stack_pointer));
    let offsets = stack_offsets(function, stack_pointer);
    let mut ranges = None;
    for id in dataflow::regions(function) {
        for (number, stmt) in function.region(id).stmts.iter().enumerate() {
            let Some((access, address)) = access(stmt) else { continue };
            match roots.root_of(address) {
                Root::Stack if offsets.of(address).is_none() => {}
                Root::Among(set) if set.has_stack() => {
                    note(stmt.at, &access, address, None);
                    continue;
                }
                _ => continue,
            }
            let ranges = ranges.get_or_insert_with(|| ranges::ranges(function, stack_pointer));
            let Some(range) = ranges.at(id, number) else { continue };
            let offset = i64::from(access.offset);
            let span = (range.low + offset, range.high + offset + i64::from(access.bytes));
            note(stmt.at, &access, address, (range.stack && range.is_bounded()).then_some(span));
        }
    }
}

/// All accesses, and their addresses.
fn accesses(function: &Function) -> impl Iterator<Item = (MemoryAccess, Value)> {
    function.regions.iter().flat_map(|region| &region.stmts).filter_map(access)
}

fn access(stmt: &Stmt) -> Option<(MemoryAccess, Value)> {
    match &stmt.kind {
        StmtKind::Op { op, args, .. } => op.memory_access().map(|access| (access, args[0])),
        _ => None,
    }
}

/// Where an access begins, if it is of the private stack at a constant distance.
fn place(offsets: &StackOffsets, access: &MemoryAccess, address: Value) -> Option<i64> {
    let at = i64::from(offsets.of(address)? as i32) + i64::from(access.offset);
    (at < 0 && at + i64::from(access.bytes) <= 0 && access.memory == 0).then_some(at)
}

/// How a group is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All accesses are of these bytes: one cell.
    Whole { bytes: u32 },
    /// A cell for each word.
    Words,
}

/// A group by its first byte, and where it ends.
#[derive(Clone, Copy, Debug)]
struct Group {
    end: i64,
    form: Form,
    /// Whether it can be promoted.
    fits: bool,
}

impl Group {
    fn with(self, start: i64, at: i64, bytes: u32) -> Group {
        let same = at == start && self.end == at + i64::from(bytes) && self.form == Form::Whole { bytes };
        // A word's part is inserted into it; what straddles words does not fit, but for aligned pairs.
        let within = at.rem_euclid(4) + i64::from(bytes) <= 4 || (at % 4 == 0 && bytes == 8);
        let form = if same { self.form } else { Form::Words };
        Group { end: self.end.max(at + i64::from(bytes)), form, fits: self.fits && (same || within) }
    }
}

/// The groups, by first byte.
fn groups(function: &Function, offsets: &StackOffsets) -> BTreeMap<i64, Group> {
    let mut places: Vec<(i64, u32)> =
        accesses(function).filter_map(|(a, address)| Some((place(offsets, &a, address)?, a.bytes))).collect();
    let atomic = atomic_spans(function, offsets);
    places.sort_unstable();
    places.dedup();
    let mut groups: BTreeMap<i64, Group> = BTreeMap::new();
    let mut open: Option<i64> = None;
    for (at, bytes) in places {
        // Words of a group of words are whole, so that groups don't share one.
        let meets = |group: &Group| at < group.end || at.div_euclid(4) == (group.end - 1).div_euclid(4);
        match open.and_then(|start| groups.get(&start).map(|group| (start, *group))) {
            Some((start, group)) if meets(&group) => _ = groups.insert(start, group.with(start, at, bytes)),
            _ => {
                let fits = at.rem_euclid(4) + i64::from(bytes) <= 4 || at % 4 == 0;
                groups.insert(at, Group { end: at + i64::from(bytes), form: Form::Whole { bytes }, fits });
                open = Some(at);
            }
        }
    }
    for (start, group) in &mut groups {
        group.fits &= !atomic.iter().any(|span| meet(*span, (*start, group.end)));
    }
    groups
}

/// What is accessed atomically stays memory: such code is rare, for nobody else sees the private stack.
fn atomic_spans(function: &Function, offsets: &StackOffsets) -> BTreeSet<Span> {
    let stmts = function.regions.iter().flat_map(|region| &region.stmts);
    let spans = stmts.filter_map(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Atomic(_, access), args, .. } => {
            let at = place(offsets, access, args[0])?;
            Some((at, at + i64::from(access.bytes)))
        }
        _ => None,
    });
    spans.collect()
}

struct Rewriter<'a> {
    offsets: &'a StackOffsets,
    groups: &'a BTreeMap<i64, Group>,
    first_cell: u32,
    cells: Sets,
}

/// What is done with cells.
#[derive(Default)]
struct Sets {
    /// Those of which parts are stored: what is kept of them may never have been set.
    in_part: BTreeSet<u32>,
    /// Those that are loaded with the one beside them.
    in_pairs: BTreeSet<u32>,
    /// Those that are stored.
    stored: BTreeSet<u32>,
}

impl Sets {
    /// Those that may be read, and something made of them, though they were never set.
    fn read_unset(&self) -> BTreeSet<u32> {
        self.in_part.iter().chain(self.in_pairs.difference(&self.stored)).copied().collect()
    }
}

impl Rewriter<'_> {
    fn run(&mut self, function: &mut Function) {
        for id in 0..function.regions.len() as u32 {
            let id = RegionId(id);
            let stmts = std::mem::take(&mut function.region_mut(id).stmts);
            let mut list = ListBuilder::default();
            for stmt in stmts {
                list.at = stmt.at;
                self.stmt(function, &mut list, stmt);
            }
            function.region_mut(id).stmts = list.stmts;
        }
    }

    fn stmt(&mut self, function: &mut Function, list: &mut ListBuilder, stmt: Stmt) {
        if let StmtKind::Op { op: Op::Load(access) | Op::Store(access), args, result } = &stmt.kind
            && let Some(at) = place(self.offsets, access, args[0])
            && let Some((start, group)) = self.groups.range(..=at).next_back()
            && at < group.end
        {
            let cells = Cells { at, start: *start, group: *group, first: self.first_cell };
            match result {
                Some(result) => {
                    if cells.is_pair(access) {
                        self.cells.in_pairs.extend(cells.pair());
                    }
                    let bits = cells.load(function, list, access);
                    from_bits(function, list, access, bits, *result);
                }
                None => {
                    if cells.stores_part(access) {
                        self.cells.in_part.insert(cells.cell(cells.word()));
                    }
                    let words = if cells.is_pair(access) { 2 } else { 1 };
                    self.cells.stored.extend(&cells.pair()[..words]);
                    let bits = to_bits(function, list, access, args[1]);
                    cells.store(function, list, access, bits);
                }
            }
            return;
        }
        list.stmts.push(stmt);
    }
}

/// The cells of one access.
struct Cells {
    at: i64,
    start: i64,
    group: Group,
    first: u32,
}

impl Cells {
    /// Cells are numbered by their distance below the stack pointer.
    fn cell(&self, at: i64) -> u32 {
        self.first.wrapping_add(at.unsigned_abs() as u32)
    }

    /// The distance of the word in which the access begins.
    fn word(&self) -> i64 {
        self.at - self.at.rem_euclid(4)
    }

    /// Whether a store changes a part of a cell.
    fn stores_part(&self, access: &MemoryAccess) -> bool {
        self.group.form == Form::Words && access.bytes < 4
    }

    /// Whether an access is of two cells.
    fn is_pair(&self, access: &MemoryAccess) -> bool {
        self.group.form == Form::Words && access.bytes == 8
    }

    /// The cell in which the access begins, and the next.
    fn pair(&self) -> [u32; 2] {
        [0, 4].map(|more| self.cell(self.word() + more))
    }

    fn get(&self, function: &mut Function, list: &mut ListBuilder, at: i64, ty: Type) -> Value {
        list.op(function, Op::GlobalGet(self.cell(at)), &[], ty)
    }

    fn set(&self, list: &mut ListBuilder, at: i64, value: Value) {
        list.effect(Op::GlobalSet(self.cell(at)), &[value]);
    }

    /// The bytes of the access in an integer, anything above them: `I64` for 8 bytes, else `I32`.
    fn load(&self, function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess) -> Value {
        if self.group.form != Form::Words {
            return self.get(function, list, self.start, bits_type(access));
        }
        let word = self.word();
        let low = self.get(function, list, word, Type::I32);
        if access.bytes == 8 {
            let high = self.get(function, list, word + 4, Type::I32);
            let low = list.wasm(function, WasmOp::I64ExtendI32U, &[low]);
            let high = list.wasm(function, WasmOp::I64ExtendI32U, &[high]);
            let amount = list.constant(function, Const::I64(32));
            let high = list.wasm(function, WasmOp::I64Shl, &[high, amount]);
            return list.wasm(function, WasmOp::I64Or, &[low, high]);
        }
        match self.at - word {
            0 => low,
            bytes => {
                let amount = list.i32(function, 8 * bytes as u32);
                list.wasm(function, WasmOp::I32ShrU, &[low, amount])
            }
        }
    }

    fn store(&self, function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess, bits: Value) {
        if self.group.form != Form::Words {
            return self.set(list, self.start, bits);
        }
        let word = self.word();
        if access.bytes == 8 {
            let low = list.wasm(function, WasmOp::I32WrapI64, &[bits]);
            let amount = list.constant(function, Const::I64(32));
            let high = list.wasm(function, WasmOp::I64ShrU, &[bits, amount]);
            let high = list.wasm(function, WasmOp::I32WrapI64, &[high]);
            self.set(list, word, low);
            self.set(list, word + 4, high);
            return;
        }
        if access.bytes == 4 {
            return self.set(list, word, bits);
        }
        let shift = 8 * (self.at - word) as u32;
        let mask = (u32::MAX >> (32 - 8 * access.bytes)) << shift;
        let old = self.get(function, list, word, Type::I32);
        let kept = list.i32(function, !mask);
        let old = list.wasm(function, WasmOp::I32And, &[old, kept]);
        let amount = list.i32(function, shift);
        let new = list.wasm(function, WasmOp::I32Shl, &[bits, amount]);
        let mask = list.i32(function, mask);
        let new = list.wasm(function, WasmOp::I32And, &[new, mask]);
        let merged = list.wasm(function, WasmOp::I32Or, &[old, new]);
        self.set(list, word, merged);
    }
}

fn bits_type(access: &MemoryAccess) -> Type {
    if access.bytes == 8 { Type::I64 } else { Type::I32 }
}

/// Defines what a load gives from its bytes.
fn from_bits(function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess, bits: Value, result: Value) {
    use WasmOp::*;
    let chain: &[WasmOp] = match (access.ty, access.bytes, access.signed) {
        (Type::I32, 1, true) => &[I32Extend8S],
        (Type::I32, 2, true) => &[I32Extend16S],
        (Type::I64, 1, true) => &[I32Extend8S, I64ExtendI32S],
        (Type::I64, 2, true) => &[I32Extend16S, I64ExtendI32S],
        (Type::I64, 4, true) => &[I64ExtendI32S],
        (Type::I64, 1..=4, false) => &[I64ExtendI32U],
        (Type::F32, ..) => &[F32ReinterpretI32],
        (Type::F64, ..) => &[F64ReinterpretI64],
        _ => &[],
    };
    let mut value = bits;
    if access.bytes < 4 && !access.signed {
        let mask = list.i32(function, u32::MAX >> (32 - 8 * access.bytes));
        value = list.wasm(function, I32And, &[value, mask]);
    }
    let Some((last, first)) = chain.split_last() else {
        // An operator that changes nothing gives the result its value.
        let (op, zero) = match access.ty {
            Type::I64 => (I64Or, list.constant(function, Const::I64(0))),
            _ => (I32Or, list.i32(function, 0)),
        };
        list.push(StmtKind::Op { op: Op::Wasm(op), args: smallvec![value, zero], result: Some(result) });
        return;
    };
    for op in first {
        value = list.wasm(function, *op, &[value]);
    }
    list.push(StmtKind::Op { op: Op::Wasm(*last), args: smallvec![value], result: Some(result) });
}

/// The bytes that a store writes, in an integer.
fn to_bits(function: &mut Function, list: &mut ListBuilder, access: &MemoryAccess, value: Value) -> Value {
    use WasmOp::*;
    match (access.ty, access.bytes) {
        (Type::F32, _) => list.wasm(function, I32ReinterpretF32, &[value]),
        (Type::F64, _) => list.wasm(function, I64ReinterpretF64, &[value]),
        (Type::I64, 1..=4) => list.wasm(function, I32WrapI64, &[value]),
        _ => value,
    }
}
