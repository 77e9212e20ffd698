//! Words that were loaded or stored before are not loaded again, and parts of a word that are stored one after the other
//! are stored at once: a word of which all parts are stored is stored whole.
//!
//! What other invocations do to a word in between is a race, whose outcome is nobody's; only a loop loads again what its
//! iterations share with others, so that one that waits for another invocation sees it. A slot to which the kernel stores
//! nowhere keeps its words.
//! An atomic access or a fence is an end to all that is known of what invocations share: what another one stored before its
//! own atomic access must be seen behind it, and what this one stored must be there for the other.
//! A check that traps is no obstacle to stores: contents are unspecified after a trap.

use std::collections::BTreeSet;

use crate::error::Location;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};

/// Forwards words in lowered code.
pub fn forward(function: &mut Function) {
    let count = function.values.len();
    let mut stores = vec![None; function.regions.len()];
    find_stores(function, function.body, &mut stores);
    let mut pass = Forwarder {
        constants: constants(function),
        subst: (0..count as u32).map(Value).collect(),
        written: stores[function.body.index()].clone().unwrap_or_default(),
        stores,
        known: HashMap::new(),
        shared: Spaces::new(),
        epochs: HashMap::new(),
        last_epoch: 0,
        undo: Vec::new(),
        function,
    };
    let body = pass.function.body;
    pass.region(body);
}

/// What words are of: a slot, or the private stack, by constant and by computed index. `Slots` are all slots, of whose
/// words nothing is known behind what orders accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Space {
    Slots,
    Slot(u32),
    StackConstant,
    StackComputed,
}

type Spaces = BTreeSet<Space>;

fn constants(function: &Function) -> HashMap<Value, u32> {
    let mut found = HashMap::new();
    for stmt in function.regions.iter().flat_map(|region| &region.stmts) {
        if let StmtKind::Op { op: Op::Const(Const::I32(number)), result: Some(result), .. } = stmt.kind {
            found.insert(result, number);
        }
    }
    found
}

/// The spaces that a region and those below it store to.
fn find_stores(function: &Function, id: RegionId, found: &mut Vec<Option<Spaces>>) {
    if found[id.index()].is_some() {
        return;
    }
    let mut spaces = Spaces::new();
    for stmt in &function.region(id).stmts {
        if let StmtKind::Op { op: Op::Low(op), .. } = &stmt.kind {
            spaces.extend(op.stored_slot().map(Space::Slot));
            match op {
                op if op.orders() => _ = spaces.insert(Space::Slots),
                LowOp::StoreStack => spaces.extend([Space::StackConstant, Space::StackComputed]),
                _ => {}
            }
        }
        for region in stmt.kind.regions() {
            find_stores(function, region, found);
            spaces.extend(found[region.index()].iter().flatten());
        }
    }
    found[id.index()] = Some(spaces);
}

/// What is to be taken back when a region ends.
enum Undo {
    Known((Space, Value), Option<(Value, u32)>),
    Epoch(Space, u32),
}

struct Forwarder<'f> {
    function: &'f mut Function,
    constants: HashMap<Value, u32>,
    subst: Vec<Value>,
    stores: Vec<Option<Spaces>>,
    /// What the kernel stores to anywhere: no other invocation changes the rest.
    written: Spaces,
    /// The word at an index, and the epoch of the space in which that was so.
    known: HashMap<(Space, Value), (Value, u32)>,
    /// The slots of which a word was ever known, and that may change.
    shared: Spaces,
    /// A space's epoch ends when any of its words may have changed.
    epochs: HashMap<Space, u32>,
    last_epoch: u32,
    undo: Vec<Undo>,
}

/// Parts of one word that are to be stored.
struct Pending {
    slot: u32,
    index: Value,
    mask: u32,
    /// Zero outside the mask, unless `loose`.
    bits: Option<Value>,
    /// Bits were added of which that is not known.
    loose: bool,
    at: Location,
}

impl Forwarder<'_> {
    fn value(&self, value: Value) -> Value {
        self.subst.get(value.index()).copied().unwrap_or(value)
    }

    fn epoch(&self, space: Space) -> u32 {
        self.epochs.get(&space).copied().unwrap_or(0)
    }

    /// Numbers of epochs are never used again, so that what was known in one that was taken back stays known.
    fn forget(&mut self, space: Space) {
        if space == Space::Slots {
            return self.shared.clone().into_iter().for_each(|space| self.forget(space));
        }
        let before = self.epoch(space);
        self.undo.push(Undo::Epoch(space, before));
        self.last_epoch += 1;
        self.epochs.insert(space, self.last_epoch);
    }

    fn learn(&mut self, space: Space, index: Value, word: Value) {
        let key = (space, index);
        if matches!(space, Space::Slot(_)) && self.written.contains(&space) {
            self.shared.insert(space);
        }
        let before = self.known.insert(key, (word, self.epoch(space)));
        self.undo.push(Undo::Known(key, before));
    }

    fn lookup(&self, space: Space, index: Value) -> Option<Value> {
        let (word, epoch) = self.known.get(&(space, index))?;
        (*epoch == self.epoch(space)).then_some(*word)
    }

    fn take_back(&mut self, from: usize) {
        for undo in self.undo.drain(from..).rev() {
            match undo {
                Undo::Known(key, Some(before)) => _ = self.known.insert(key, before),
                Undo::Known(key, None) => _ = self.known.remove(&key),
                Undo::Epoch(space, before) => _ = self.epochs.insert(space, before),
            }
        }
    }

    fn stack_space(&self, index: Value) -> Space {
        if self.constants.contains_key(&index) { Space::StackConstant } else { Space::StackComputed }
    }

    fn region(&mut self, id: RegionId) {
        let from = self.undo.len();
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        let mut out = Vec::with_capacity(stmts.len());
        let mut pending: Option<Pending> = None;
        let mut stmts = stmts.into_iter().peekable();
        while let Some(mut stmt) = stmts.next() {
            for arg in stmt.kind.args_mut() {
                *arg = self.value(*arg);
            }
            if let Some(part) = self.part(&stmt) {
                let clears = matches!(stmt.kind, StmtKind::Op { op: Op::Low(LowOp::AndWord { .. }), .. });
                let part = match stmts.next_if(|next| clears && self.completes(&part, next)) {
                    Some(next) => Pending { bits: next.kind.args().get(1).map(|bits| self.value(*bits)), ..part },
                    None => part,
                };
                self.add(&mut pending, part, &mut out);
                continue;
            }
            if let Some(bits) = self.more_bits(pending.as_ref(), &stmt) {
                self.add_bits(&mut pending, bits, stmt.at, &mut out);
                continue;
            }
            if pending.as_ref().is_some_and(|pending| self.minds(pending, &stmt)) {
                self.flush(&mut pending, &mut out);
            }
            self.stmt(stmt, &mut out);
        }
        self.flush(&mut pending, &mut out);
        let mut exit = self.function.region(id).exit.clone();
        exit.values_mut().iter_mut().for_each(|value| *value = self.value(*value));
        let region = self.function.region_mut(id);
        region.stmts = out;
        region.exit = exit;
        self.take_back(from);
    }

    /// A statement that sets constant bits of a word to zero, or to ones.
    fn part(&self, stmt: &Stmt) -> Option<Pending> {
        let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind else { return None };
        let number = self.constants.get(args.get(1)?).copied();
        match op {
            LowOp::AndWord { slot } => {
                Some(Pending { slot: *slot, index: args[0], mask: !number?, bits: None, loose: false, at: stmt.at })
            }
            LowOp::OrWord { slot } => {
                let (mask, bits) = (number?, Some(args[1]));
                Some(Pending { slot: *slot, index: args[0], mask, bits, loose: false, at: stmt.at })
            }
            _ => None,
        }
    }

    /// What a statement sets of the word of which parts are to be stored, whatever bits these are: where four invocations
    /// run in step (`coarsen`), all clear their parts of a word before the first one sets any.
    fn more_bits(&self, pending: Option<&Pending>, stmt: &Stmt) -> Option<Value> {
        let pending = pending?;
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(LowOp::OrWord { slot }), args, .. }
                if (*slot, args[0]) == (pending.slot, pending.index) =>
            {
                Some(args[1])
            }
            _ => None,
        }
    }

    /// Bits that are set behind others are set with them: a word less the mask, or the ones, or the others.
    fn add_bits(&mut self, pending: &mut Option<Pending>, bits: Value, at: Location, out: &mut Vec<Stmt>) {
        let Some(known) = pending else { return };
        known.loose |= known.mask != u32::MAX;
        known.bits = Some(self.both(known.bits, bits, at, out));
    }

    fn both(&mut self, known: Option<Value>, bits: Value, at: Location, out: &mut Vec<Stmt>) -> Value {
        let Some(known) = known else { return bits };
        let mut list = ListBuilder::new(at);
        let both = list.low(self.function, LowOp::Or, &[known, bits], Type::I32);
        out.append(&mut list.stmts);
        both
    }

    /// Whether `next` sets the bits that the part has cleared: lowering puts the two side by side.
    fn completes(&self, part: &Pending, next: &Stmt) -> bool {
        matches!(&next.kind, StmtKind::Op { op: Op::Low(LowOp::OrWord { slot }), args, .. }
            if *slot == part.slot && self.value(args[0]) == part.index)
    }

    fn add(&mut self, pending: &mut Option<Pending>, part: Pending, out: &mut Vec<Stmt>) {
        let joins = pending.as_ref().is_some_and(|known| {
            (known.slot, known.index) == (part.slot, part.index) && known.mask & part.mask == 0 && !known.loose
        });
        if !joins {
            self.flush(pending, out);
            *pending = Some(part);
            return;
        }
        let Some(known) = pending else { return };
        known.mask |= part.mask;
        if let Some(bits) = part.bits {
            known.bits = Some(self.both(known.bits, bits, part.at, out));
        }
    }

    /// Whether parts must be stored before a statement.
    fn minds(&self, pending: &Pending, stmt: &Stmt) -> bool {
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), .. } => match op {
                LowOp::LoadWord { slot } | LowOp::LoadLane { slot, .. } => *slot == pending.slot,
                op => op.orders() || op.stored_slot() == Some(pending.slot),
            },
            StmtKind::Op { .. } => false,
            StmtKind::If { then, otherwise, .. } => {
                let harmless = |id: &RegionId| {
                    let region = self.function.region(*id);
                    let ends = matches!(region.exit, Exit::Trap(_) | Exit::Yield(_));
                    ends && region.stmts.is_empty()
                };
                !(harmless(then) && harmless(otherwise))
            }
            _ => true,
        }
    }

    fn flush(&mut self, pending: &mut Option<Pending>, out: &mut Vec<Stmt>) {
        let Some(Pending { slot, index, mask, bits, loose: _, at }) = pending.take() else { return };
        let mut list = ListBuilder::new(at);
        self.forget(Space::Slot(slot));
        if mask == u32::MAX {
            let bits = bits.unwrap_or_else(|| self.constant(&mut list, 0));
            list.effect(Op::Low(LowOp::StoreWord { slot }), &[index, bits]);
            self.learn(Space::Slot(slot), index, bits);
        } else {
            let ones = bits.is_some_and(|bits| self.constants.get(&bits) == Some(&mask));
            if !ones {
                let kept = self.constant(&mut list, !mask);
                list.effect(Op::Low(LowOp::AndWord { slot }), &[index, kept]);
            }
            if let Some(bits) = bits {
                list.effect(Op::Low(LowOp::OrWord { slot }), &[index, bits]);
            }
        }
        out.append(&mut list.stmts);
    }

    fn constant(&mut self, list: &mut ListBuilder, number: u32) -> Value {
        let value = list.i32(self.function, number);
        self.constants.insert(value, number);
        value
    }

    fn stmt(&mut self, stmt: Stmt, out: &mut Vec<Stmt>) {
        match &stmt.kind {
            StmtKind::Op { op: Op::Low(op), args, result } => {
                let space = match op {
                    LowOp::LoadWord { slot } => Space::Slot(*slot),
                    LowOp::LoadStack => self.stack_space(args[0]),
                    _ => {
                        self.effect(*op, args);
                        return out.push(stmt);
                    }
                };
                let (Some(result), index) = (*result, args[0]) else { return out.push(stmt) };
                match self.lookup(space, index) {
                    Some(word) => self.subst[result.index()] = word,
                    None => {
                        self.learn(space, index, result);
                        out.push(stmt);
                    }
                }
            }
            StmtKind::Op { .. } => out.push(stmt),
            kind => {
                self.nested(kind);
                out.push(stmt);
            }
        }
    }

    fn effect(&mut self, op: LowOp, args: &[Value]) {
        match op {
            LowOp::StoreWord { slot } => {
                self.forget(Space::Slot(slot));
                self.learn(Space::Slot(slot), args[0], args[1]);
            }
            LowOp::AndWord { slot } | LowOp::OrWord { slot } => self.forget(Space::Slot(slot)),
            op if op.orders() => self.forget(Space::Slots),
            LowOp::StoreStack => {
                // A constant index says nothing of other constant ones.
                let space = self.stack_space(args[0]);
                if space == Space::StackComputed {
                    self.forget(Space::StackConstant);
                }
                self.forget(Space::StackComputed);
                self.learn(space, args[0], args[1]);
            }
            _ => {}
        }
    }

    fn nested(&mut self, kind: &StmtKind) {
        let regions = kind.distinct_regions();
        let mut stored = Spaces::new();
        for region in &regions {
            stored.extend(self.stores[region.index()].iter().flatten());
        }
        if matches!(kind, StmtKind::Loop { .. }) {
            let from = self.undo.len();
            stored.union(&self.shared).copied().collect::<Vec<_>>().into_iter().for_each(|space| self.forget(space));
            regions.iter().for_each(|region| self.region(*region));
            self.take_back(from);
        } else {
            regions.iter().for_each(|region| self.region(*region));
        }
        stored.into_iter().for_each(|space| self.forget(space));
    }
}
