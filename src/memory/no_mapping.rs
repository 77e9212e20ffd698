//! What stands in for `mapping.rs` where the system is no Unix: bytes of buffers, and no views of them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use parking_lot::Mutex;

/// Size of a 32-bit address space.
pub const SPACE: u64 = 1 << 32;

/// Unmapped bytes above each view.
pub const GUARD: u64 = 1 << 32;

/// Bytes that come into being together.
const PAGE: usize = 1 << 16;

/// 4 GiB of bytes, zero at first; pages come into being when written.
#[derive(Debug, Default)]
pub struct Backing {
    pages: Mutex<BTreeMap<u64, Box<[u8]>>>,
}

impl Backing {
    /// All zeroes.
    pub fn new() -> io::Result<Backing> {
        Ok(Backing::default())
    }

    /// Reads bytes from `offset` on.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let pages = self.pages.lock();
        for (page, within, part) in parts(offset, out.len()) {
            match pages.get(&page) {
                Some(bytes) => out[part.clone()].copy_from_slice(&bytes[within..within + part.len()]),
                None => out[part].fill(0),
            }
        }
        Ok(())
    }

    /// Writes bytes from `offset` on.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut pages = self.pages.lock();
        for (page, within, part) in parts(offset, data.len()) {
            let bytes = pages.entry(page).or_insert_with(|| vec![0; PAGE].into_boxed_slice());
            bytes[within..within + part.len()].copy_from_slice(&data[part]);
        }
        Ok(())
    }

    /// Makes a range zero and gives the memory of its whole pages back.
    pub fn zero(&self, range: Range<u64>) -> io::Result<()> {
        let mut pages = self.pages.lock();
        let Ok(len) = usize::try_from(range.end.saturating_sub(range.start)) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        for (page, within, part) in parts(range.start, len) {
            if part.len() == PAGE {
                pages.remove(&page);
            } else if let Some(bytes) = pages.get_mut(&page) {
                bytes[within..within + part.len()].fill(0);
            }
        }
        Ok(())
    }
}

/// The pieces of `len` bytes from `offset` on: page number, offset in the page, range of the piece.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE as u64) as usize;
        let part = done..len.min(done + PAGE - within);
        done = part.end;
        (!part.is_empty()).then_some((at / PAGE as u64, within, part))
    })
}

/// What may be done with the pages of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Every access faults.
    None,
    /// Stores fault.
    Read,
    /// Loads and stores.
    ReadWrite,
}

/// There is none.
#[derive(Debug)]
pub enum View {}

impl View {
    /// Always the error that says why there is none.
    pub fn new(_backing: &Backing) -> io::Result<View> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the CPU device needs a Unix; use a GPU"))
    }

    /// The host address of address 0.
    pub fn base(&self) -> *mut u8 {
        match *self {}
    }

    /// Changes what may be done with the pages that hold a range.
    pub fn protect(&self, _range: Range<u64>, _protection: Protection) -> io::Result<()> {
        match *self {}
    }

    /// Replaces a range by a file's.
    pub fn map_file(&self, _range: Range<u64>, _backing: &Backing) -> io::Result<()> {
        match *self {}
    }

    /// Replaces a range by zeroed memory that only this view has.
    pub fn map_private(&self, _range: Range<u64>) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_zero_until_written_and_again_after_zero() {
        let backing = Backing::new().unwrap();
        let start = 3 * PAGE as u64 - 5;
        let data: Vec<u8> = (0..PAGE + 20).map(|i| i as u8 | 1).collect();
        backing.write(start, &data).unwrap();
        let mut out = vec![9; data.len() + 2];
        backing.read(start - 1, &mut out).unwrap();
        assert_eq!((out[0], &out[1..=data.len()], out[data.len() + 1]), (0, &data[..], 0));
        backing.zero(start + 2..start + data.len() as u64 - 1).unwrap();
        backing.read(start, &mut out[..data.len()]).unwrap();
        assert_eq!(out[..2], data[..2]);
        assert!(out[2..data.len() - 1].iter().all(|byte| *byte == 0));
        assert_eq!(out[data.len() - 1], data[data.len() - 1]);
        assert_eq!(backing.pages.lock().len(), 2, "a page in the middle was given back");
    }
}
