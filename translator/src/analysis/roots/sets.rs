//! What an address is counted from, and sets of places that it may point into.

use crate::analysis::pointers::MAX_POINTERS;

/// What an address is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The buffer in this slot: the address is the buffer's plus a number.
    Slot(u32),
    /// The stack pointer at the launch, plus a number.
    Stack,
    /// A number that was computed: an address of linear memory.
    Linear,
    /// One of several places, told apart when the kernel runs.
    Among(RootSet),
    /// The code that computes it is never reached.
    Unreached,
}

impl Root {
    /// Whether nothing can be accessed by addresses of both roots.
    pub fn is_apart_from(self, other: Root) -> bool {
        let is_one = |root| matches!(root, Root::Slot(_) | Root::Stack | Root::Linear);
        is_one(self) && is_one(other) && self != other
    }
}

/// Places that an address may point into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RootSet {
    pub(super) places: u64,
    /// The pointers of the shape, or those of which the host is to be asked, that went into it, a bit for each.
    pub(super) pointers: u64,
    /// Whether something else went into it that certainly is a pointer: a buffer's or the stack's.
    pub(super) certain: bool,
    /// Whether a difference of two went into it, which may be an index.
    pub(super) difference: bool,
}

const _: () = assert!(MAX_POINTERS <= 64);

/// Slots from this number on are not told apart: a set with one of them is that of loaded pointers.
const MAX_SLOTS: u32 = 61;
const LOADED_BIT: u64 = 1 << 61;
const STACK_BIT: u64 = 1 << 62;
const LINEAR_BIT: u64 = 1 << 63;

impl RootSet {
    /// Where a pointer that was loaded from memory may point: anywhere but the stack, and there too if an address of the
    /// stack was ever stored.
    pub(super) const LOADED: RootSet = RootSet::places(LOADED_BIT);
    pub(super) const STACK: RootSet = RootSet::places(STACK_BIT);
    pub(super) const LINEAR: RootSet = RootSet::places(LINEAR_BIT);

    const fn places(places: u64) -> RootSet {
        RootSet { places, pointers: 0, certain: false, difference: false }
    }

    pub(super) fn slot(slot: u32) -> RootSet {
        if slot < MAX_SLOTS { RootSet::places(1 << slot) } else { RootSet::LOADED }
    }

    pub(super) fn with(self, other: RootSet) -> RootSet {
        RootSet {
            places: self.places | other.places,
            pointers: self.pointers | other.pointers,
            certain: self.certain | other.certain,
            difference: self.difference | other.difference,
        }
    }

    /// The same but for what was loaded, and what may be a number.
    pub(super) fn without_loaded(self) -> RootSet {
        RootSet { places: self.places & !(LOADED_BIT | LINEAR_BIT), ..RootSet::default() }
    }

    /// Whether it is of pointers of the shape, and of numbers, alone.
    pub(super) fn is_uncertain(self) -> bool {
        self.pointers != 0 && !self.certain
    }

    pub(super) fn has(self, other: RootSet) -> bool {
        self.places & other.places != 0
    }

    /// Whether it may be this slot's buffer.
    pub fn has_slot(self, slot: u32) -> bool {
        self.has(RootSet::slot(slot).with(RootSet::LOADED))
    }

    /// Whether this slot's buffer's address went into it, whatever else did.
    pub(crate) fn names_slot(self, slot: u32) -> bool {
        slot < MAX_SLOTS && self.places & 1 << slot != 0
    }

    /// Whether it is of a pointer that was loaded.
    pub fn is_loaded(self) -> bool {
        self.has(RootSet::LOADED)
    }

    /// Whether it may be linear memory.
    pub fn has_linear(self) -> bool {
        self.has(RootSet::LINEAR.with(RootSet::LOADED))
    }

    /// Whether it may be the private stack.
    pub fn has_stack(self) -> bool {
        self.has(RootSet::STACK)
    }

    /// How many places it may be, where there are so many slots.
    pub(crate) fn count(self, slots: u32) -> u32 {
        let buffers = (0..slots).filter(|slot| self.has_slot(*slot)).count() as u32;
        buffers + u32::from(self.has_linear()) + u32::from(self.has_stack())
    }
}
