//! How a launch's memory and arguments reach the shader.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::options::LINEAR;

/// Stands for the pool of buffers that the kernel only loads, where other numbers stand for slots.
pub const POOL_READ: u32 = LINEAR - 1;
/// Stands for the pool of buffers that the kernel may store to.
pub const POOL_WRITTEN: u32 = LINEAR - 2;
/// Stands for the buffer that holds the arguments.
pub const PARAMETERS: u32 = LINEAR - 3;
/// Stands for the words of data segments that the shader loads, [`Interface::data`](crate::Interface::data).
pub const DATA: u32 = LINEAR - 4;

/// How a launch's memory and arguments reach the shader. By default each slot and linear memory are one binding each,
/// and arguments are immediates.
///
/// Values do not depend on it: it serves devices whose limits a launch exceeds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Layout {
    /// The words of the immediates, but for those up to [`TRAPS`](crate::immediate::TRAPS), come in a buffer of their own ([`PARAMETERS`]) at the same
    /// word numbers.
    pub parameters: bool,
    /// Slots that lie in a pool, and in which one: [`POOL_READ`], if the kernel does not store to them, or
    /// [`POOL_WRITTEN`]. Each starts at a multiple of 16 bytes.
    pub pooled: BTreeMap<u32, u32>,
    /// Logarithm of a slice's size in bytes, 4 to 31.
    pub slice_bits: u32,
    /// What is bound as several slices (slots by number, [`LINEAR`], pools), and as how many. All but the last are
    /// whole.
    pub slices: BTreeMap<u32, u32>,
}

impl Layout {
    /// What is bound where a slot's words are: the slot itself, or its pool.
    pub fn holder(&self, slot: u32) -> u32 {
        self.pooled.get(&slot).copied().unwrap_or(slot)
    }

    /// As how many slices a slot, linear memory or a pool is bound.
    pub fn slices_of(&self, holder: u32) -> u32 {
        self.slices.get(&holder).copied().unwrap_or(1)
    }

    /// Place of a pooled slot among all of them, in order of their numbers.
    pub(crate) fn place_in_pools(&self, slot: u32) -> Option<u32> {
        (0..).zip(self.pooled.keys()).find(|(_, pooled)| **pooled == slot).map(|(place, _)| place)
    }
}
