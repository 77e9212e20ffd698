//! Loads and stores: where an address points, bounds checks, then words.

use super::{Flow, Lowerer, Once};
use crate::analysis::roots::{Root, RootSet};
use crate::error::{Result, TrapKind};
use crate::ir::operator::MemoryAccess;
use crate::ir::{LowOp, Type, Value};
use crate::options::{Input, LINEAR, WINDOW_ALIGNMENT, immediate};
use crate::speculation::Assumption;

/// What an access is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// A buffer, by slot, or the bound part of linear memory ([`LINEAR`]).
    Slot(u32),
    /// The private stack.
    Stack,
}

/// A checked place.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) space: Space,
    /// Offset in the space in bytes, `I32`.
    pub(super) offset: Value,
    /// Low bits of the offset that are known to be zero.
    pub(super) zeros: u32,
    /// Where the place in its word is known: the word's offset, and the bytes in front.
    pub(super) word: Option<(Value, u32)>,
}

/// The address of an access, relative to its root where it has one.
#[derive(Clone, Copy)]
pub(super) struct Address {
    /// The value that the analyses know.
    pub(super) original: Value,
    /// What stands for it now.
    pub(super) value: Value,
}

/// Buffers lie above the first page of the address space, so an effective address that wraps around with an offset
/// below this is beyond every buffer when it is counted from the buffer's start.
const SAFE_OFFSET: u32 = 0x1_0000;

/// The private stack's size is a multiple of 16.
const STACK_ZEROS: u32 = 4;

/// A place, or the trap that is certain.
type Resolved = Result<Place, TrapKind>;

impl Lowerer<'_> {
    pub(super) fn load(&mut self, access: MemoryAccess, address: Address, result: Option<Value>) -> Result<Flow> {
        self.check_memory(access)?;
        self.stores = false;
        let value = match self.roots.root_of(address.original) {
            Root::Among(set) => match self.several(set, access, address, false)? {
                Ok(places) => self.at_one_of(access, places, &mut |l, place| Ok(vec![l.load_at(access, place)]))?[0],
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
            root => match self.place(root, access, address)? {
                Ok(place) => self.load_at(access, place),
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
        };
        if let Some(result) = result {
            self.alias.insert(result, value);
        }
        Ok(Flow::On)
    }

    pub(super) fn store(&mut self, access: MemoryAccess, address: Address, value: Value) -> Result<Flow> {
        self.check_memory(access)?;
        self.stores = true;
        match self.roots.root_of(address.original) {
            Root::Slot(slot) if !self.is_writable(slot) => return Ok(Flow::Traps(TrapKind::OutOfBounds)),
            Root::Among(set) => match self.several(set, access, address, true)? {
                Ok(places) => {
                    let mut store = |l: &mut Self, place| {
                        l.store_at(access, place, value);
                        Ok(Vec::new())
                    };
                    self.at_one_of(access, places, &mut store)?;
                }
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
            root => match self.place(root, access, address)? {
                Ok(place) => self.store_at(access, place, value),
                Err(kind) => return Ok(Flow::Traps(kind)),
            },
        }
        Ok(Flow::On)
    }

    pub(super) fn check_memory(&self, access: MemoryAccess) -> Result<()> {
        match access.memory {
            0 => Ok(()),
            other => Err(self.unsupported(format!("an access to memory {other}"))),
        }
    }

    /// Linear memory is copied, so that other threads must not change it meanwhile.
    fn check_unshared(&self) -> Result<()> {
        match self.module.memories().first() {
            Some(memory) if !memory.shared && !memory.memory64 => Ok(()),
            _ => Err(self.unsupported("an access to a memory that threads share")),
        }
    }

    pub(super) fn is_writable(&self, slot: u32) -> bool {
        self.shape.buffers.iter().all(|b| b.slot != slot || b.access.is_writable())
    }

    /// Resolves an address of one root and checks it.
    pub(super) fn place(&mut self, root: Root, access: MemoryAccess, address: Address) -> Result<Resolved> {
        if self.is_elsewhere(root) {
            return Ok(Err(TrapKind::BailedOut(Assumption::Places)));
        }
        match root {
            Root::Slot(slot) => Ok(Ok(self.place_in_slot(slot, access, address))),
            Root::Linear => {
                let zeros = self.alignment.trailing_zeros(address.original);
                self.place_in_linear(access, address.value, zeros)
            }
            Root::Stack => self.place_on_stack(access, address),
            Root::Among(_) | Root::Unreached => Ok(Err(TrapKind::Unreachable)),
        }
    }

    fn zeros(&self, access: MemoryAccess, address: Address) -> u32 {
        self.alignment.trailing_zeros(address.original).min(access.offset.trailing_zeros())
    }

    pub(super) fn plus_offset(&mut self, access: MemoryAccess, address: Value) -> Value {
        match access.offset {
            0 => address,
            offset => self.op_with_int(LowOp::IAdd, address, u64::from(offset)),
        }
    }

    fn place_in_slot(&mut self, slot: u32, access: MemoryAccess, address: Address) -> Place {
        let bytes = access.checked_bytes();
        if bytes > 0 {
            if access.offset >= SAFE_OFFSET {
                let start = self.once(Once::Immediate(immediate::SLOTS + 2 * slot));
                let absolute = self.same(LowOp::IAdd, &[address.value, start]);
                self.trap_if_wrapping(access, absolute);
            }
            let offset = self.plus_offset(access, address.value);
            let limit = self.once(Once::Limit { slot, bytes });
            let beyond = self.bool(LowOp::ULe, &[limit, offset]);
            self.trap_if(beyond, TrapKind::OutOfBounds);
        }
        let zeros = self.alignment.trailing_zeros(address.original);
        self.place_at(Space::Slot(slot), access, address.value, zeros)
    }

    /// The place at an offset in a space and the access's own, which was checked; the first has so many zero bits at its
    /// end. Parts of one word get one index, whatever part they are.
    fn place_at(&mut self, space: Space, access: MemoryAccess, base: Value, zeros: u32) -> Place {
        let offset = self.plus_offset(access, base);
        let word = (zeros >= 2).then(|| match access.offset & !3 {
            0 => base,
            whole => self.op_with_int(LowOp::IAdd, base, whole.into()),
        });
        let word = word.map(|word| (word, access.offset & 3));
        Place { space, offset, zeros: zeros.min(access.offset.trailing_zeros()), word }
    }

    fn trap_if_wrapping(&mut self, access: MemoryAccess, address: Value) {
        let last = self.int(Type::I32, u64::from(u32::MAX - access.offset));
        let wraps = self.bool(LowOp::ULt, &[last, address]);
        self.trap_if(wraps, TrapKind::OutOfBounds);
    }

    /// `address` is absolute and has so many zero bits at its end.
    fn place_in_linear(&mut self, access: MemoryAccess, address: Value, zeros: u32) -> Result<Resolved> {
        self.check_unshared()?;
        let bytes = access.checked_bytes();
        if bytes > 0 {
            let Some(extent) = access.offset.checked_add(bytes) else { return Ok(Err(TrapKind::OutOfBounds)) };
            let limit = self.once(Once::LinearLimit { extent });
            let beyond = self.bool(LowOp::ULe, &[limit, address]);
            self.trap_if(beyond, TrapKind::OutOfBounds);
        }
        let start = self.once(Once::Input(Input::WindowStart));
        let base = self.same(LowOp::ISub, &[address, start]);
        let zeros = zeros.min(WINDOW_ALIGNMENT.trailing_zeros());
        Ok(Ok(self.place_at(Space::Slot(LINEAR), access, base, zeros)))
    }

    /// Below the stack pointer at the launch memory is private, from there on linear memory's.
    fn place_on_stack(&mut self, access: MemoryAccess, address: Address) -> Result<Resolved> {
        let depth = self.use_stack();
        if let Some(constant) = self.stack.offsets.as_ref().and_then(|offsets| offsets.of(address.original)) {
            let at = i64::from(constant as i32) + i64::from(access.offset);
            if at >= 0 {
                let pointer = self.once(Once::StackPointer);
                let absolute = self.op_with_int(LowOp::IAdd, pointer, u64::from(constant));
                return self.place_in_linear(access, absolute, constant.trailing_zeros().min(4));
            }
            if at + i64::from(access.bytes) > 0 {
                return Err(self.unsupported("an access across the stack pointer"));
            }
            if self.meets_promoted(at, access.bytes) {
                return Ok(Err(TrapKind::BailedOut(Assumption::Slots)));
            }
            if -at > i64::from(depth) {
                return Ok(Err(TrapKind::OutOfBounds));
            }
            let at = (at + i64::from(depth)) as u32;
            let base = self.int(Type::I32, (at - at % 4).into());
            let within = MemoryAccess { offset: at % 4, ..access };
            return Ok(Ok(self.place_at(Space::Stack, within, base, (at - at % 4).trailing_zeros())));
        }
        if access.offset >= SAFE_OFFSET {
            return Err(self.unsupported("an access of the stack far from its address"));
        }
        let base = self.op_with_int(LowOp::IAdd, address.value, depth.into());
        let offset = self.plus_offset(access, base);
        let limit = self.int(Type::I32, u64::from(depth.saturating_sub(access.bytes - 1)));
        let beyond = self.bool(LowOp::ULe, &[limit, offset]);
        let dynamic = self.stack.dynamic;
        self.trap_if(beyond, if dynamic { TrapKind::BailedOut(Assumption::Frames) } else { TrapKind::OutOfBounds });
        self.guard_stack(access, address.original, offset);
        let mut zeros = self.alignment.trailing_zeros(address.original).min(STACK_ZEROS);
        if access.offset.is_multiple_of(4) {
            zeros = self.guard_alignment(access, offset, zeros);
        }
        Ok(Ok(self.place_at(Space::Stack, access, base, zeros)))
    }

    /// Bails out where an array of variable length begins outside the private stack. `original` is where, as it was computed, and
    /// `start` that value now.
    pub(super) fn guard_array(&mut self, original: Value, start: Value) {
        let depth = self.use_stack();
        let offset = match self.roots.root_of(original) {
            Root::Stack => self.op_with_int(LowOp::IAdd, start, depth.into()),
            Root::Slot(_) => return,
            Root::Linear | Root::Among(_) | Root::Unreached => {
                let base = self.once(Once::StackBase);
                self.same(LowOp::ISub, &[start, base])
            }
        };
        let limit = self.int(Type::I32, u64::from(depth) + 1);
        let beyond = self.bool(LowOp::ULe, &[limit, offset]);
        self.trap_if(beyond, TrapKind::BailedOut(Assumption::Frames));
    }

    /// The private stack's size in bytes.
    fn use_stack(&mut self) -> u32 {
        self.function.stack_words = self.stack.depth / 4;
        self.stack.depth
    }

    /// The places that an absolute address may be in.
    pub(super) fn several(
        &mut self,
        set: RootSet,
        access: MemoryAccess,
        address: Address,
        stores: bool,
    ) -> Result<Result<Several, TrapKind>> {
        if access.offset != 0 {
            self.trap_if_wrapping(access, address.value);
        }
        let effective = self.plus_offset(access, address.value);
        let zeros = self.zeros(access, address);
        let zeros = self.guard_alignment(access, effective, zeros);
        let mut spaces = Vec::new();
        for slot in 0..self.shape.slots() {
            if set.has_slot(slot) && (!stores || self.is_writable(slot)) {
                spaces.push(Space::Slot(slot));
            }
        }
        if set.has_stack() {
            spaces.push(Space::Stack);
        }
        if set.has_linear() && !self.module.memories().is_empty() {
            spaces.push(Space::Slot(LINEAR));
        }
        if spaces.is_empty() {
            return Ok(Err(TrapKind::OutOfBounds));
        }
        let (spaces, elsewhere) = match self.spaces_met(&spaces) {
            Some(met) => (met, TrapKind::BailedOut(Assumption::Places)),
            None => (spaces, TrapKind::OutOfBounds),
        };
        let leaves_stack_out = set.has_stack() && !spaces.contains(&Space::Stack);
        Ok(Ok(Several { spaces, original: address.original, effective, zeros, elsewhere, leaves_stack_out }))
    }

    /// The place in a space, and whether the address is not in it.
    fn candidate(&mut self, access: MemoryAccess, several: &Several, space: Space) -> Result<(Place, Value)> {
        // Each part of a longer access looks for its place anew.
        let bytes = access.checked_bytes().max(access.bytes);
        let (offset, limit) = match space {
            Space::Slot(LINEAR) => {
                self.check_unshared()?;
                if several.leaves_stack_out {
                    self.guard_against_stack(several);
                }
                let limit = self.once(Once::LinearLimit { extent: bytes });
                let beyond = self.bool(LowOp::ULe, &[limit, several.effective]);
                let start = self.once(Once::Input(Input::WindowStart));
                let offset = self.same(LowOp::ISub, &[several.effective, start]);
                return Ok((Place { space, offset, zeros: several.zeros, word: None }, beyond));
            }
            Space::Slot(slot) => {
                let start = self.once(Once::Immediate(immediate::SLOTS + 2 * slot));
                let limit = self.once(Once::Limit { slot, bytes });
                (self.same(LowOp::ISub, &[several.effective, start]), limit)
            }
            Space::Stack => {
                let depth = self.use_stack();
                let base = self.once(Once::StackBase);
                let limit = self.int(Type::I32, u64::from(depth.saturating_sub(bytes - 1)));
                (self.same(LowOp::ISub, &[several.effective, base]), limit)
            }
        };
        let beyond = self.bool(LowOp::ULe, &[limit, offset]);
        Ok((Place { space, offset, zeros: several.zeros, word: None }, beyond))
    }

    /// Bails out where an address that was not seen to be of the private stack is: its addresses are linear memory's, too.
    fn guard_against_stack(&mut self, several: &Several) {
        let depth = self.use_stack();
        if depth > 0 {
            let base = self.once(Once::StackBase);
            let offset = self.same(LowOp::ISub, &[several.effective, base]);
            let limit = self.int(Type::I32, depth.into());
            let is_private = self.bool(LowOp::ULt, &[offset, limit]);
            self.trap_if(is_private, several.elsewhere);
        }
    }

    /// Acts on the place that an address is in: one space after the other is tried; it is in the last, or the access traps.
    pub(super) fn at_one_of(
        &mut self,
        access: MemoryAccess,
        several: Several,
        act: &mut dyn FnMut(&mut Self, Place) -> Result<Vec<Value>>,
    ) -> Result<Vec<Value>> {
        let Some((space, rest)) = several.split() else { return Err(no_space()) };
        let (place, beyond) = self.candidate(access, &several, space)?;
        let original = several.original;
        let Some(rest) = rest else {
            self.trap_if(beyond, several.elsewhere);
            self.guard_place(access, original, place);
            return act(self, place);
        };
        let mut outcome = Ok(());
        let mut values_of = |values: Result<Vec<Value>>| {
            values.unwrap_or_else(|error| {
                outcome = Err(error);
                Vec::new()
            })
        };
        let then = self.nested(|l| values_of(l.at_one_of(access, rest, act)));
        let otherwise = self.nested(|l| {
            l.guard_place(access, original, place);
            values_of(act(l, place))
        });
        outcome?;
        Ok(self.join(beyond, then, otherwise.0))
    }

    fn guard_place(&mut self, access: MemoryAccess, original: Value, place: Place) {
        if place.space == Space::Stack {
            self.guard_stack(access, original, place.offset);
        }
    }

    /// Loads from a checked place.
    pub(super) fn load_at(&mut self, access: MemoryAccess, place: Place) -> Value {
        let value = match access.bytes {
            8 => {
                let (low, high) = self.load_double(place);
                self.low(LowOp::Pack64, &[low, high], Type::I64)
            }
            4 => self.load_word(place),
            narrow => {
                let word = self.load_narrow(place, narrow);
                let dropped = 32 - 8 * u64::from(narrow);
                match access.signed {
                    true => self.sign_extend(word, dropped),
                    false => self.op_with_int(LowOp::And, word, u64::from(u32::MAX >> dropped)),
                }
            }
        };
        match (access.ty, access.bytes) {
            (Type::F32 | Type::F64, _) => self.low(LowOp::Bitcast(access.ty), &[value], access.ty),
            (Type::I64, 1..=4) => {
                self.low(if access.signed { LowOp::ExtendS } else { LowOp::ExtendU }, &[value], Type::I64)
            }
            _ => value,
        }
    }

    fn word_of(&mut self, space: Space, index: Value) -> Value {
        match space {
            Space::Slot(slot) => self.low(LowOp::LoadWord { slot }, &[index], Type::I32),
            Space::Stack => {
                let index = self.stack_index(index);
                self.low(LowOp::LoadStack, &[index], Type::I32)
            }
        }
    }

    /// An index of the private stack's words that was checked, and kept inside by itself, too: a second fence where drivers
    /// fold addresses in branches that are never taken.
    pub(super) fn stack_index(&mut self, index: Value) -> Value {
        if !self.options.speculation.without(Assumption::Frames).any() || self.known_int(index).is_some() {
            return index;
        }
        self.op_with_int(LowOp::UMin, index, u64::from((self.stack.depth / 4).saturating_sub(1)))
    }

    /// The index of the word that holds a place's first byte.
    pub(super) fn index(&mut self, place: Place) -> Value {
        let offset = place.word.map_or(place.offset, |(word, _)| word);
        self.op_with_int(LowOp::ShrU, offset, 2)
    }

    /// The word that holds the byte at an offset.
    fn word_at(&mut self, place: Place) -> (Value, Value) {
        let index = self.index(place);
        (index, self.word_of(place.space, index))
    }

    fn word_after(&mut self, place: Place, index: Value, words: u64) -> Value {
        let index = self.op_with_int(LowOp::IAdd, index, words);
        self.word_of(place.space, index)
    }

    /// How far the bytes at an offset are from the low end of their word, in bytes.
    pub(super) fn misalignment(&mut self, place: Place) -> Value {
        match place.word {
            Some((_, bytes)) => self.int(Type::I32, bytes.into()),
            None => self.op_with_int(LowOp::And, place.offset, 3),
        }
    }

    fn load_word(&mut self, place: Place) -> Value {
        let (index, word) = self.word_at(place);
        if place.zeros >= 2 {
            return word;
        }
        let bytes = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, bytes, 0);
        let shift = self.shift_by(LowOp::Shl, bytes, 3);
        self.branch(
            crosses,
            |l| {
                let next = l.word_after(place, index, 1);
                vec![l.funnel(word, next, shift)]
            },
            |_| vec![word],
        )[0]
    }

    /// Low and high word of 8 bytes.
    fn load_double(&mut self, place: Place) -> (Value, Value) {
        let (index, low) = self.word_at(place);
        let high = self.word_after(place, index, 1);
        if place.zeros >= 2 {
            return (low, high);
        }
        let bytes = self.misalignment(place);
        let crosses = self.test_int(LowOp::Ne, bytes, 0);
        let shift = self.shift_by(LowOp::Shl, bytes, 3);
        let words = self.branch(
            crosses,
            |l| {
                let last = l.word_after(place, index, 2);
                vec![l.funnel(low, high, shift), l.funnel(high, last, shift)]
            },
            |_| vec![low, high],
        );
        (words[0], words[1])
    }

    /// One or two bytes in the low bits, anything above them.
    fn load_narrow(&mut self, place: Place, bytes: u32) -> Value {
        let (index, word) = self.word_at(place);
        if place.zeros >= 2 {
            return word;
        }
        let start = self.misalignment(place);
        let shift = self.shift_by(LowOp::Shl, start, 3);
        let within = self.same(LowOp::ShrU, &[word, shift]);
        if bytes == 1 || place.zeros == 1 {
            return within;
        }
        let crosses = self.test_int(LowOp::Eq, start, 3);
        self.branch(
            crosses,
            |l| {
                let next = l.word_after(place, index, 1);
                vec![l.funnel(word, next, shift)]
            },
            |_| vec![within],
        )[0]
    }

    /// The low word of two, shifted right by 8, 16 or 24 bits.
    pub(super) fn funnel(&mut self, low: Value, high: Value, shift: Value) -> Value {
        let low = self.same(LowOp::ShrU, &[low, shift]);
        let size = self.int(Type::I32, 32);
        let rest = self.same(LowOp::ISub, &[size, shift]);
        let high = self.same(LowOp::Shl, &[high, rest]);
        self.same(LowOp::Or, &[low, high])
    }
}

/// Spaces that an address may be in, to be tried in order.
#[derive(Clone)]
pub(super) struct Several {
    spaces: Vec<Space>,
    /// The address as the analyses know it.
    original: Value,
    /// The effective address.
    effective: Value,
    /// Low bits of it that are known to be zero.
    zeros: u32,
    /// How the invocation ends where it is in none of them.
    elsewhere: TrapKind,
    /// It may be of the private stack, which is none of them, as it was not seen to be.
    leaves_stack_out: bool,
}

impl Several {
    /// The first space, and the others if there are any.
    fn split(&self) -> Option<(Space, Option<Several>)> {
        let (first, others) = self.spaces.split_first()?;
        let rest = Several { spaces: others.to_vec(), ..*self };
        Some((*first, (!others.is_empty()).then_some(rest)))
    }
}

fn no_space() -> crate::error::Error {
    crate::error::Error::Internal("an address is in no place".into())
}
