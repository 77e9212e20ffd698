//! Where the device stores bytes and 16-bit words by themselves, one such store takes the place of the two atomic steps that
//! clear and set their bits in a word.
//!
//! It is the last pass before structurization, so that those before it see words only: what is left of narrow stores by
//! then could not be put together to whole words. A slot keeps its atomic steps if one of them is no such store, or
//! the kernel itself accesses it atomically, for a plain store and an atomic step of one word by two invocations would be
//! a race.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::alignment::{Alignment, alignment};
use crate::analysis::dataflow;
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Function, LowOp, Op, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::{Options, Profile};

/// Replaces what can be replaced.
pub fn part_stores(function: &mut Function, options: &Options) {
    let features = options.features;
    if options.profile != Profile::Vulkan || !(features.storage8 || features.storage16) {
        return;
    }
    let regions = dataflow::regions(function);
    if !regions.iter().any(|id| function.region(*id).stmts.iter().any(|stmt| step(stmt).is_some())) {
        return;
    }
    let facts = Facts {
        alignment: alignment(function),
        constants: dataflow::constants(function),
        defs: dataflow::binary_operators(function),
        storage8: features.storage8,
        storage16: features.storage16,
    };
    let (mut found, mut kept) = (BTreeMap::new(), BTreeSet::new());
    for id in &regions {
        facts.find(*id, &function.region(*id).stmts, &mut found, &mut kept);
    }
    found.retain(|_, part| !kept.contains(&part.slot));
    let changed: BTreeSet<RegionId> = found.keys().map(|(id, _)| *id).collect();
    for id in changed {
        replace(function, id, &facts, &found);
    }
}

/// A store of a part of a word.
#[derive(Clone, Copy, Debug)]
struct Part {
    slot: u32,
    bytes: u32,
    /// Index of the word.
    word: Value,
    /// Where in the word the part begins.
    shift: Shift,
    /// The part's bits in their place; `None`: all are zero or, with `ones`, all are one.
    bits: Option<Value>,
    ones: bool,
    /// Number of the statement that stands for the first of two steps.
    first: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    Known(u32),
    /// A multiple of the part's size, in bits.
    By(Value),
}

struct Facts {
    alignment: Alignment,
    constants: Vec<Option<Const>>,
    defs: Vec<Option<(LowOp, [Value; 2])>>,
    storage8: bool,
    storage16: bool,
}

impl Facts {
    fn number(&self, value: Value) -> Option<u32> {
        match self.constants.get(value.index()) {
            Some(Some(Const::I32(number))) => Some(*number),
            _ => None,
        }
    }

    /// The operands of an operator that defines a value.
    fn operands(&self, op: LowOp, value: Value) -> Option<[Value; 2]> {
        self.defs.get(value.index()).copied().flatten().filter(|(found, _)| *found == op).map(|(_, args)| args)
    }

    /// Finds the stores in a list, by region and number of the statement that ends them; `kept` are slots with other
    /// atomic steps.
    fn find(
        &self,
        id: RegionId,
        stmts: &[Stmt],
        found: &mut BTreeMap<(RegionId, usize), Part>,
        kept: &mut BTreeSet<u32>,
    ) {
        let mut number = 0;
        while number < stmts.len() {
            match step(&stmts[number]) {
                Some((LowOp::AndWord { slot }, [word, mask])) => {
                    let same =
                        |(_, op, args): &(usize, LowOp, [Value; 2])| *op == LowOp::OrWord { slot } && args[0] == word;
                    let or = next_step(&stmts[number + 1..]).filter(same);
                    let part = self.cleared(mask).map(|(bytes, shift)| Part {
                        slot,
                        bytes,
                        word,
                        shift,
                        bits: or.map(|(_, _, args)| args[1]),
                        ones: false,
                        first: number,
                    });
                    let end = number + or.map_or(0, |(ahead, _, _)| ahead + 1);
                    match part {
                        Some(part) => _ = found.insert((id, end), part),
                        None => _ = kept.insert(slot),
                    }
                    number = end;
                }
                Some((LowOp::OrWord { slot }, [word, bits])) => {
                    // Bits that are all ones are not cleared before.
                    match self.number(bits).and_then(|bits| self.shape(bits)) {
                        Some((bytes, shift)) => {
                            let shift = Shift::Known(shift);
                            let part = Part { slot, bytes, word, shift, bits: None, ones: true, first: number };
                            found.insert((id, number), part);
                        }
                        None => _ = kept.insert(slot),
                    }
                }
                // Its word may be that of a part which another invocation stores.
                _ => kept.extend(atomic_slot(&stmts[number])),
            }
            number += 1;
        }
    }

    /// The part whose bits a mask clears.
    fn cleared(&self, mask: Value) -> Option<(u32, Shift)> {
        if let Some(mask) = self.number(mask) {
            return self.shape(!mask).map(|(bytes, shift)| (bytes, Shift::Known(shift)));
        }
        let [cleared, all] = self.operands(LowOp::Xor, mask)?;
        if self.number(all) != Some(u32::MAX) {
            return None;
        }
        let [ones, amount] = self.operands(LowOp::Shl, cleared)?;
        let (bytes, _) = self.shape(self.number(ones)?).filter(|(_, shift)| *shift == 0)?;
        let aligned = self.alignment.trailing_zeros(amount) >= (8 * bytes).trailing_zeros();
        aligned.then_some((bytes, Shift::By(amount)))
    }

    /// Bytes and place of a part that the device can store, as the bits that it has in a word.
    fn shape(&self, bits: u32) -> Option<(u32, u32)> {
        if bits == 0 {
            return None;
        }
        let shift = bits.trailing_zeros();
        match bits >> shift {
            0xff if shift.is_multiple_of(8) && self.storage8 => Some((1, shift)),
            0xffff if shift.is_multiple_of(16) && self.storage16 => Some((2, shift)),
            _ => None,
        }
    }

    /// The offset in bytes that a word's index and a shift in it were made of.
    fn offset(&self, word: Value, amount: Value) -> Option<Value> {
        let [offset, two] = self.operands(LowOp::ShrU, word)?;
        let [byte, three] = self.operands(LowOp::Shl, amount)?;
        let [of, mask] = self.operands(LowOp::And, byte)?;
        let fits = of == offset && [two, three, mask].map(|v| self.number(v)) == [Some(2), Some(3), Some(3)];
        fits.then_some(offset)
    }
}

/// The slot of an atomic access of the kernel's own.
fn atomic_slot(stmt: &Stmt) -> Option<u32> {
    match &stmt.kind {
        StmtKind::Op { op: Op::Low(LowOp::Atomic { slot, .. }), .. } => Some(*slot),
        _ => None,
    }
}

/// An atomic step.
fn step(stmt: &Stmt) -> Option<(LowOp, [Value; 2])> {
    match &stmt.kind {
        StmtKind::Op { op: Op::Low(op @ (LowOp::AndWord { .. } | LowOp::OrWord { .. })), args, .. } => {
            Some((*op, args.as_slice().try_into().ok()?))
        }
        _ => None,
    }
}

/// The first statement that is more than a computation, if it is an atomic step: how far ahead it is, and what it is.
fn next_step(stmts: &[Stmt]) -> Option<(usize, LowOp, [Value; 2])> {
    let computes = |stmt: &Stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Low(op), .. } => !op.has_effect() && !op.reads_state(),
        StmtKind::Op { op: Op::Const(_), .. } => true,
        _ => false,
    };
    let ahead = stmts.iter().position(|stmt| !computes(stmt))?;
    let (op, args) = step(&stmts[ahead])?;
    Some((ahead, op, args))
}

fn replace(function: &mut Function, id: RegionId, facts: &Facts, found: &BTreeMap<(RegionId, usize), Part>) {
    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
    let mut list = ListBuilder::default();
    let firsts: BTreeSet<usize> =
        found.range((id, 0)..=(id, usize::MAX)).filter(|((_, end), p)| p.first != *end).map(|(_, p)| p.first).collect();
    for (number, stmt) in stmts.into_iter().enumerate() {
        list.at = stmt.at;
        match found.get(&(id, number)) {
            Some(part) => store(function, &mut list, facts, part),
            None if firsts.contains(&number) => {}
            None => list.stmts.push(stmt),
        }
    }
    function.region_mut(id).stmts = list.stmts;
}

/// Writes the store.
fn store(function: &mut Function, list: &mut ListBuilder, facts: &Facts, part: &Part) {
    let Part { slot, bytes, word, shift, bits, ones, .. } = *part;
    let mut with = |list: &mut ListBuilder, op: LowOp, a: Value, b: u32| {
        let b = list.i32(function, b);
        list.low(function, op, &[a, b], Type::I32)
    };
    let (per_word, bits_of_part) = (4 / bytes, 8 * bytes);
    let index = match shift {
        Shift::Known(shift) => {
            let first = with(list, LowOp::Shl, word, per_word.trailing_zeros());
            if shift == 0 { first } else { with(list, LowOp::IAdd, first, shift / bits_of_part) }
        }
        Shift::By(amount) => match facts.offset(word, amount) {
            Some(offset) if bytes == 1 => offset,
            Some(offset) => with(list, LowOp::ShrU, offset, 1),
            None => {
                let first = with(list, LowOp::Shl, word, per_word.trailing_zeros());
                let inside = with(list, LowOp::ShrU, amount, bits_of_part.trailing_zeros());
                list.low(function, LowOp::IAdd, &[first, inside], Type::I32)
            }
        },
    };
    let value = match (bits, shift) {
        (None, _) => list.i32(function, if ones { u32::MAX } else { 0 }),
        (Some(bits), Shift::Known(0)) => bits,
        (Some(bits), Shift::Known(shift)) => {
            let shift = list.i32(function, shift);
            list.low(function, LowOp::ShrU, &[bits, shift], Type::I32)
        }
        (Some(bits), Shift::By(amount)) => match facts.operands(LowOp::Shl, bits) {
            Some([value, by]) if by == amount => value,
            _ => list.low(function, LowOp::ShrU, &[bits, amount], Type::I32),
        },
    };
    list.effect(Op::Low(LowOp::StorePart { slot, bytes }), &[index, value]);
}
