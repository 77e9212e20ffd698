//! Which bytes of linear memory invocations met that another one stored to.

use crate::hash::HashMap;

/// Most bytes that are told apart.
const MOST_BYTES: usize = 1 << 18;

/// Which invocations met a byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Who {
    #[default]
    Nobody,
    One(u32),
    More,
}

impl Who {
    fn and(self, invocation: u32) -> Who {
        match self {
            Who::Nobody => Who::One(invocation),
            Who::One(known) if known == invocation => self,
            _ => Who::More,
        }
    }

    fn has_others_than(self, invocation: u32) -> bool {
        !matches!(self, Who::Nobody) && self != Who::One(invocation)
    }
}

/// A byte that invocations met: which loaded it, which stored to it, and what.
#[derive(Clone, Copy, Debug, Default)]
struct Byte {
    loaded: Who,
    stored: Who,
    value: u8,
}

/// How an invocation met a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// As none did before it, or all loaded it.
    Apart,
    /// It stored what all others stored that did, and none but they loaded it.
    Alike,
    /// It matters which of two came first.
    Shared,
}

/// The bytes that invocations met.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    bytes: HashMap<u64, Byte>,
}

impl Sharing {
    /// Whether no more bytes are told apart.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= MOST_BYTES
    }

    /// Takes note that an invocation loaded a byte, or stored this one.
    pub fn meet(&mut self, address: u64, invocation: u32, store: Option<u8>) -> Met {
        let byte = self.bytes.entry(address).or_default();
        let others_stored = byte.stored.has_others_than(invocation);
        let Some(value) = store else {
            byte.loaded = byte.loaded.and(invocation);
            return if others_stored { Met::Shared } else { Met::Apart };
        };
        let is_other = others_stored && byte.value != value;
        let known = Byte { stored: byte.stored.and(invocation), value, ..*byte };
        *byte = known;
        match () {
            () if is_other || known.loaded.has_others_than(invocation) => Met::Shared,
            () if others_stored => Met::Alike,
            () => Met::Apart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_shared_if_one_of_two_invocations_stores_to_it() {
        let mut sharing = Sharing::default();
        let mut meet = |address, invocation, store| sharing.meet(address, invocation, store);
        assert_eq!([1, 2, 1].map(|invocation| meet(8, invocation, None)), [Met::Apart; 3], "all load");
        assert_eq!([meet(9, 1, Some(0)), meet(9, 1, None), meet(9, 1, Some(1))], [Met::Apart; 3], "one alone");
        assert_eq!(meet(9, 2, None), Met::Shared, "another one loads what was stored");
        assert_eq!(meet(8, 1, Some(0)), Met::Shared, "what another one loaded is stored");
        assert_eq!([meet(10, 3, Some(0)), meet(10, 4, Some(1))], [Met::Apart, Met::Shared], "both store");
        assert_eq!([meet(11, 3, Some(7)), meet(11, 4, Some(7))], [Met::Apart, Met::Alike], "both store the same");
        assert_eq!([meet(11, 5, Some(7)), meet(11, 4, Some(7))], [Met::Alike; 2]);
        assert_eq!(meet(11, 3, None), Met::Shared, "one of them loads it");
        assert_eq!(meet(11, 4, Some(7)), Met::Shared, "and others store");
        assert_eq!([meet(12, 3, Some(7)), meet(12, 3, Some(0)), meet(12, 4, Some(7))][2], Met::Shared);
        assert!(!sharing.is_full());
        (0..MOST_BYTES as u64).for_each(|byte| _ = sharing.meet(byte, 1, None));
        assert!(sharing.is_full());
    }
}
