//! Atomic accesses: invocations run one after the other, so that each is a load and a store.

use super::state::outside;
use super::{Machine, Stop, undefined};
use crate::error::TrapKind;
use crate::ir::operator::MemoryAccess;
use crate::ir::{AtomicOp, Const, Type, atomic};

impl Machine<'_, '_> {
    /// Runs an access at an address. Its alignment is checked before its bounds.
    pub(super) fn atomic(
        &mut self,
        op: AtomicOp,
        access: &MemoryAccess,
        address: u32,
        operands: &[Const],
    ) -> Result<Result<Option<Const>, TrapKind>, Stop> {
        let at = u64::from(address) + u64::from(access.offset);
        if !at.is_multiple_of(access.bytes.into()) {
            return Ok(Err(TrapKind::UnalignedAtomic));
        }
        let allowed = self.memory.check(at, access.bytes.into(), op.stores());
        if let Err(kind) = allowed {
            return Ok(Err(kind));
        }
        let old = match self.load(access, address)? {
            Ok(old) => old,
            Err(kind) => return Ok(Err(kind)),
        };
        let operands = atomic::bits(operands).ok_or_else(|| undefined(format!("{op:?} got {operands:?}")))?;
        let new = op.apply(access.bytes, number(old), &operands);
        if op.stores()
            && let Err(kind) = self.store(access, address, of_type(access.ty, new))?
        {
            return Ok(Err(kind));
        }
        Ok(Ok(op.has_result().then_some(old)))
    }

    /// Runs an access of one word, or of two.
    pub(super) fn atomic_words(
        &mut self,
        slot: u32,
        op: AtomicOp,
        ty: Type,
        index: u32,
        operands: &[Const],
    ) -> Result<Option<Const>, Stop> {
        let operands = atomic::bits(operands).ok_or_else(|| undefined(format!("{op:?} got {operands:?}")))?;
        let words = ty.bits() / 32;
        if !index.is_multiple_of(words) {
            return Err(undefined(format!("two words from the odd index {index} on were accessed atomically")));
        }
        let mut old = 0;
        for word in 0..words {
            let at = index + word;
            old |= u64::from(self.memory.load_word(slot, at).ok_or_else(|| outside(slot, at))?) << (32 * word);
        }
        let new = op.apply(4 * words, old, &operands);
        for word in (0..words).filter(|_| op.stores()) {
            let at = index + word;
            self.memory.store_word(slot, at, (new >> (32 * word)) as u32).ok_or_else(|| outside(slot, at))?;
        }
        Ok(op.has_result().then_some(of_type(ty, old)))
    }
}

fn number(value: Const) -> u64 {
    atomic::bits(&[value]).map_or(0, |bits| bits[0])
}

fn of_type(ty: Type, number: u64) -> Const {
    if ty == Type::I64 { Const::I64(number) } else { Const::I32(number as u32) }
}
