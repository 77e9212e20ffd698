//! Buffers to which a kernel does nothing but add, of which each worker has a copy for the time of a launch: see
//! [`Tally`]. Else workers would take each other's lines of memory away at every addition.
//!
//! A copy lies at the buffer's own address in the worker's view, so that the kernel can't tell.

use std::ops::Range;

use parking_lot::Mutex;
use wavelift_translator::lanes::{Sum, Tally};

use crate::device::BufferSpec;
use crate::memory::{AddressSpace, Backing, Protection, View, buffer_bytes};

/// Most bytes of a launch's tallies: what fits into a core's own cache.
const MOST_BYTES: u64 = 1 << 18;

/// What a launch's tallies allow.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Buffers of which each worker has a copy.
    pub copied: Vec<(BufferSpec, Sum)>,
    /// Whether what is added to any tally need not be so atomically.
    pub are_own: bool,
    /// Held by the worker that adds its copies to the buffers.
    adding: Mutex<()>,
}

impl Tallies {
    /// Of a launch with these buffers and so many invocations, which so many workers share. `is_short`: whether it may be over
    /// before copies could be made.
    pub fn new(tallies: &[Tally], buffers: &[BufferSpec], iterations: u32, workers: usize, is_short: bool) -> Tallies {
        let found: Option<Vec<_>> = tallies.iter().map(|tally| copied(*tally, buffers)).collect();
        let Some(copied) = found.filter(|found| !found.is_empty()) else { return Tallies::default() };
        if workers == 1 {
            return Tallies { are_own: true, ..Tallies::default() };
        }
        // An invocation should cost more than its part of zeroing and adding the copies.
        let bytes: u64 = copied.iter().map(|(buffer, _)| u64::from(buffer.size)).sum();
        match is_short || bytes > MOST_BYTES || bytes > iterations.into() {
            true => Tallies::default(),
            false => Tallies { copied, are_own: true, adding: Mutex::default() },
        }
    }
}

/// A tally's buffer, if no other is the same and it may be stored to.
fn copied(tally: Tally, buffers: &[BufferSpec]) -> Option<(BufferSpec, Sum)> {
    let buffer = buffers.get(tally.buffer as usize)?;
    let same = buffers.iter().filter(|other| other.address == buffer.address).count();
    (same == 1 && buffer.size > 0 && buffer.access.is_writable()).then_some((*buffer, tally.sum))
}

/// A worker's copies, in the place of buffers in a view of its own.
#[derive(Default)]
pub struct Copies {
    /// All zeroes but while a launch runs.
    backing: Option<Backing>,
    mapped: Vec<(BufferSpec, Sum)>,
    /// Whether there may be something in them.
    are_used: bool,
}

impl Copies {
    /// Whether they are those of a launch.
    pub fn are_of(&self, tallies: &Tallies) -> bool {
        self.mapped == tallies.copied
    }

    /// Puts copies, all zeroes, in the place of a launch's tallies, unless they are there; others must not be there.
    pub fn map(&mut self, view: &View, tallies: &Tallies) -> std::io::Result<()> {
        if self.are_used {
            self.zero()?;
        }
        self.are_used = !tallies.copied.is_empty();
        if self.are_of(tallies) {
            return Ok(());
        }
        for tally in &tallies.copied {
            let backing = match &mut self.backing {
                Some(backing) => backing,
                none => none.insert(Backing::new()?),
            };
            self.mapped.push(*tally);
            view.map_file(buffer_bytes(&tally.0), backing)?;
            view.protect(buffer_bytes(&tally.0), Protection::ReadWrite)?;
        }
        Ok(())
    }

    /// Adds the copies to the launch's buffers; they are all zeroes again.
    pub fn add(&mut self, space: &AddressSpace, tallies: &Tallies) -> Result<(), String> {
        let Some(backing) = &self.backing else { return Ok(()) };
        for (buffer, sum) in &tallies.copied {
            // Whole words, of a buffer that may end within one: the rest of the page is its own.
            let size = buffer.size.next_multiple_of(8) as usize;
            let (mut own, mut all) = (vec![0; size], vec![0; size]);
            backing.read(buffer.address.into(), &mut own).map_err(|error| error.to_string())?;
            {
                let _adding = tallies.adding.lock();
                space.read(buffer.address, &mut all).map_err(|error| error.to_string())?;
                add(*sum, &mut all, &own);
                space.write(buffer.address, &all).map_err(|error| error.to_string())?;
            }
            own.fill(0);
            backing.write(buffer.address.into(), &own).map_err(|error| error.to_string())?;
        }
        self.are_used = false;
        Ok(())
    }

    /// Takes the copies away; nothing is shown in their place. Gives the buffers whose place it was.
    pub fn unmap(&mut self, view: &View, space: &AddressSpace) -> std::io::Result<Vec<BufferSpec>> {
        self.zero()?;
        let mut gone = Vec::new();
        while let Some((buffer, _)) = self.mapped.last() {
            space.map_back(view, buffer_bytes(buffer))?;
            gone.push(*buffer);
            self.mapped.pop();
        }
        Ok(gone)
    }

    fn zero(&mut self) -> std::io::Result<()> {
        if let Some(backing) = &self.backing {
            self.mapped.iter().try_for_each(|(buffer, _)| backing.zero(pages(buffer)))?;
        }
        self.are_used = false;
        Ok(())
    }
}

/// The pages of a buffer, which are its own.
fn pages(buffer: &BufferSpec) -> Range<u64> {
    let bytes = buffer_bytes(buffer);
    bytes.start / crate::memory::PAGE * crate::memory::PAGE..bytes.end.next_multiple_of(crate::memory::PAGE)
}

/// Adds what lies in one place to what lies in another one, as long as it.
fn add(sum: Sum, to: &mut [u8], from: &[u8]) {
    fn each<const N: usize>(to: &mut [u8], from: &[u8], add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
        let (to, from) = (to.as_chunks_mut::<N>().0, from.as_chunks::<N>().0);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = add(*to, *from));
    }
    let (word, pair) = (u32::from_le_bytes, u64::from_le_bytes);
    match sum {
        Sum::Words => each(to, from, |a, b| word(a).wrapping_add(word(b)).to_le_bytes()),
        Sum::Pairs => each(to, from, |a, b| pair(a).wrapping_add(pair(b)).to_le_bytes()),
        Sum::Or => each(to, from, |[a], [b]| [a | b]),
        Sum::Xor => each(to, from, |[a], [b]| [a ^ b]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Access, BufferId};

    #[test]
    fn words_are_added_modulo_their_size() {
        let added = |sum, to: u64, from: u64| {
            let mut bytes = to.to_le_bytes();
            add(sum, &mut bytes, &from.to_le_bytes());
            u64::from_le_bytes(bytes)
        };
        assert_eq!(added(Sum::Words, 0x1_ffff_ffff, 0x2_0000_0001), 0x3_0000_0000);
        assert_eq!(added(Sum::Pairs, 0x1_ffff_ffff, 0x2_0000_0001), 0x4_0000_0000);
        assert_eq!(added(Sum::Or, 0x0f0f, 0x00ff), 0x0fff);
        assert_eq!(added(Sum::Xor, 0x0f0f, 0x00ff), 0x0ff0);
    }

    #[test]
    fn copies_are_made_where_they_pay_and_nobody_can_tell() {
        let buffer = |number: u32, size, access| BufferSpec {
            id: BufferId(number.into()),
            address: (number << 20) + (1 << 31),
            size,
            access,
        };
        let (data, bins) = (buffer(1, 4096, Access::Read), buffer(2, 1024, Access::ReadWrite));
        let tallies = [Tally { buffer: 1, sum: Sum::Words }];
        let new = |buffers: &[BufferSpec], iterations, workers, is_short| {
            let found = Tallies::new(&tallies, buffers, iterations, workers, is_short);
            (found.copied.len(), found.are_own)
        };
        assert_eq!(new(&[data, bins], 1024, 2, false), (1, true));
        assert_eq!(new(&[data, bins], 1024, 2, true), (0, false));
        assert_eq!(new(&[data, bins], 1023, 2, false), (0, false));
        // The only worker needs no copies.
        assert_eq!(new(&[data, bins], 1, 1, true), (0, true));
        // It is read by another name, may not be stored to, is large, or nothing.
        assert_eq!(new(&[bins, bins], 1024, 1, false), (0, false));
        assert_eq!(new(&[bins, data], 1 << 20, 2, false), (0, false));
        assert_eq!(new(&[data, buffer(2, 1 << 19, Access::ReadWrite)], 1 << 20, 2, false), (0, false));
        assert_eq!(new(&[data, buffer(2, 0, Access::ReadWrite)], 1024, 2, false), (0, false));
        assert!(!Tallies::new(&[], &[data, bins], 1024, 1, false).are_own);
    }
}
