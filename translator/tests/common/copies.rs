//! Memory for rehearsals.

use wavelift_translator::ir::interpret::{Memory, Space};
use wavelift_translator::rehearsal::Contents;

/// Memory of which each iteration has a copy.
pub struct Copies {
    original: Space,
    own: Space,
}

impl Copies {
    /// Of this memory.
    pub fn new(original: Space) -> Copies {
        Copies { own: original.clone(), original }
    }
}

impl Contents for Copies {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        self.own.load(address, out).ok()
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Option<()> {
        self.own.store(address, data).ok()
    }

    fn size(&self) -> u64 {
        self.own.linear.len() as u64
    }

    fn next(&mut self) {
        self.own = self.original.clone();
    }
}
