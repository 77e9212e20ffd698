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

/// The bytes that invocations met: which loaded each, and which stored to it.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    bytes: HashMap<u64, [Who; 2]>,
}

impl Sharing {
    /// Whether no more bytes are told apart.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= MOST_BYTES
    }

    /// Takes note that an invocation met a byte; whether one of two that did stored to it.
    pub fn meet(&mut self, address: u64, invocation: u32, stores: bool) -> bool {
        let [loaded, stored] = self.bytes.entry(address).or_default();
        let met = if stores { &mut *stored } else { &mut *loaded };
        *met = met.and(invocation);
        stored.has_others_than(invocation) || (stores && loaded.has_others_than(invocation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_shared_if_one_of_two_invocations_stores_to_it() {
        let mut sharing = Sharing::default();
        assert!(![1, 2, 1].iter().any(|invocation| sharing.meet(8, *invocation, false)), "all load");
        assert!(!sharing.meet(9, 1, true) && !sharing.meet(9, 1, false), "one alone");
        assert!(sharing.meet(9, 2, false), "another one loads what was stored");
        assert!(sharing.meet(8, 1, true), "what another one loaded is stored");
        assert!(!sharing.meet(10, 3, true) && sharing.meet(10, 4, true), "both store");
        assert!(!sharing.is_full());
        (0..MOST_BYTES as u64).for_each(|byte| _ = sharing.meet(byte, 1, false));
        assert!(sharing.is_full());
    }
}
