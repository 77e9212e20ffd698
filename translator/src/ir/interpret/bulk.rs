//! Bulk memory operators: all bytes are checked first, then moved.

use super::{Machine, Stop, undefined};
use crate::error::TrapKind;
use crate::ir::{Const, Op};

/// Bytes moved at once.
const CHUNK: u64 = 4096;

/// Bytes of a page.
const PAGE: u64 = 1 << 16;

impl Machine<'_, '_> {
    /// Runs `memory.size`, a bulk operator or `data.drop`.
    pub(super) fn bulk(&mut self, op: &Op, operands: &[Const]) -> Result<Result<Option<Const>, TrapKind>, Stop> {
        let done = match (op, operands) {
            (Op::MemorySize, []) => return Ok(Ok(Some(Const::I32((self.memory.size() / PAGE) as u32)))),
            (Op::MemoryFill, [Const::I32(to), Const::I32(value), Const::I32(length)]) => {
                self.fill((*to).into(), *value as u8, (*length).into())
            }
            (Op::MemoryCopy | Op::MemoryCopyApart, [Const::I32(to), Const::I32(from), Const::I32(length)]) => {
                self.copy((*to).into(), (*from).into(), (*length).into())
            }
            (Op::MemoryInit(segment), [Const::I32(to), Const::I32(from), Const::I32(length)]) => {
                let data = self.data.get(*segment as usize).copied();
                let data = data.ok_or_else(|| undefined(format!("data segment {segment} is not there")))?;
                self.init((*to).into(), data, *from as usize, *length as usize)
            }
            (Op::DataDrop(segment), []) => {
                let data = self.data.get_mut(*segment as usize);
                *data.ok_or_else(|| undefined(format!("data segment {segment} is not there")))? = &[];
                Ok(())
            }
            _ => return Err(undefined(format!("{op:?} got {operands:?}"))),
        };
        Ok(done.map(|()| None))
    }

    fn fill(&mut self, to: u64, value: u8, length: u64) -> Result<(), TrapKind> {
        self.memory.check(to, length, true)?;
        let bytes = [value; CHUNK as usize];
        (0..length).step_by(CHUNK as usize).try_for_each(|at| {
            let count = CHUNK.min(length - at) as usize;
            self.memory.store(to + at, &bytes[..count])
        })
    }

    fn copy(&mut self, to: u64, from: u64, length: u64) -> Result<(), TrapKind> {
        self.memory.check(to, length, true)?;
        self.memory.check(from, length, false)?;
        let mut starts: Vec<u64> = (0..length).step_by(CHUNK as usize).collect();
        if to > from {
            starts.reverse();
        }
        let mut bytes = [0; CHUNK as usize];
        starts.into_iter().try_for_each(|at| {
            let count = CHUNK.min(length - at) as usize;
            self.memory.load(from + at, &mut bytes[..count])?;
            self.memory.store(to + at, &bytes[..count])
        })
    }

    fn init(&mut self, to: u64, data: &[u8], from: usize, length: usize) -> Result<(), TrapKind> {
        let end = from.checked_add(length).ok_or(TrapKind::OutOfBounds)?;
        let data = data.get(from..end).ok_or(TrapKind::OutOfBounds)?;
        self.memory.check(to, data.len() as u64, true)?;
        if data.is_empty() { Ok(()) } else { self.memory.store(to, data) }
    }
}
