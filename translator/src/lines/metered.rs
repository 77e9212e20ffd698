//! Bytes that can be read so often and no more.

use std::borrow::Cow;
use std::cell::Cell;

use gimli::{EndianSlice, Error, LittleEndian, Reader, ReaderOffsetId, Result};

/// Bytes of a section, whose reading takes from a budget that all readers of a lookup share.
#[derive(Clone, Debug)]
pub(super) struct Metered<'a> {
    bytes: EndianSlice<'a, LittleEndian>,
    left: &'a Cell<u64>,
}

/// Takes from a budget.
///
/// # Errors
/// It is spent; as if the bytes had ended.
pub(super) fn charge(left: &Cell<u64>, cost: u64) -> Result<()> {
    match left.get().checked_sub(cost) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => {
            left.set(0);
            Err(Error::UnexpectedEof(ReaderOffsetId(0)))
        }
    }
}

impl<'a> Metered<'a> {
    pub fn new(bytes: &'a [u8], left: &'a Cell<u64>) -> Metered<'a> {
        Metered { bytes: EndianSlice::new(bytes, LittleEndian), left }
    }
}

impl Reader for Metered<'_> {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        self.bytes.truncate(len)
    }

    fn offset_from(&self, base: &Self) -> usize {
        self.bytes.offset_from(base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let found = Reader::find(&self.bytes, byte);
        charge(self.left, *found.as_ref().unwrap_or(&self.bytes.len()) as u64)?;
        found
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        charge(self.left, 1)?;
        self.bytes.skip(len)
    }

    fn split(&mut self, len: usize) -> Result<Self> {
        charge(self.left, 1)?;
        Ok(Metered { bytes: self.bytes.split(len)?, left: self.left })
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.bytes.to_slice()
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        Reader::to_string(&self.bytes)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        Reader::to_string_lossy(&self.bytes)
    }

    fn read_slice(&mut self, buffer: &mut [u8]) -> Result<()> {
        charge(self.left, buffer.len() as u64)?;
        Reader::read_slice(&mut self.bytes, buffer)
    }
}
