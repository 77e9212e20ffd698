//! Atomic accesses of memory.

use serde::{Deserialize, Serialize};

use super::operator::MemoryAccess;
use super::{Const, Type};

/// What an atomic access does with the number in memory, in one step that no other access of it comes between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AtomicOp {
    /// Gives it.
    Load,
    /// Replaces it, and gives nothing.
    Store,
    /// Replaces it by its sum with the operand, and gives what was there; so for those below.
    Add,
    /// By its difference.
    Sub,
    /// By the bits set in both.
    And,
    /// By the bits set in either.
    Or,
    /// By the bits set in one of them.
    Xor,
    /// By the operand.
    Exchange,
    /// Operands: the number expected, and another. By the other, if it is the number expected.
    CompareExchange,
}

impl AtomicOp {
    /// All of them.
    pub const ALL: [AtomicOp; 9] = [
        AtomicOp::Load,
        AtomicOp::Store,
        AtomicOp::Add,
        AtomicOp::Sub,
        AtomicOp::And,
        AtomicOp::Or,
        AtomicOp::Xor,
        AtomicOp::Exchange,
        AtomicOp::CompareExchange,
    ];

    /// Whether it may change what is in memory: where that is not allowed, it traps even if it would not.
    pub fn stores(self) -> bool {
        self != AtomicOp::Load
    }

    /// Whether it has a result.
    pub fn has_result(self) -> bool {
        self != AtomicOp::Store
    }

    /// Number of its operands behind the address.
    pub fn operands(self) -> usize {
        match self {
            AtomicOp::Load => 0,
            AtomicOp::CompareExchange => 2,
            _ => 1,
        }
    }

    /// What is in memory after it, of these bytes: `old` was there.
    ///
    /// The operands may have bits above those of the access; the number expected is compared without them.
    pub fn apply(self, bytes: u32, old: u64, operands: &[u64]) -> u64 {
        let ones = u64::MAX >> (64 - 8 * bytes.clamp(1, 8));
        let first = operands.first().copied().unwrap_or(0);
        let new = match self {
            AtomicOp::Load => old,
            AtomicOp::Store | AtomicOp::Exchange => first,
            AtomicOp::Add => old.wrapping_add(first),
            AtomicOp::Sub => old.wrapping_sub(first),
            AtomicOp::And => old & first,
            AtomicOp::Or => old | first,
            AtomicOp::Xor => old ^ first,
            AtomicOp::CompareExchange if first & ones == old & ones => operands.get(1).copied().unwrap_or(0),
            AtomicOp::CompareExchange => old,
        };
        new & ones
    }

    /// The name in the text format of the access: `i64.atomic.rmw16.add_u`.
    pub fn text(self, access: &MemoryAccess) -> String {
        let (ty, narrow) = (access.ty, access.bytes * 8 < access.ty.bits());
        let bits = if narrow { (access.bytes * 8).to_string() } else { String::new() };
        let zeroes = if narrow { "_u" } else { "" };
        match self {
            AtomicOp::Load => format!("{ty}.atomic.load{bits}{zeroes}"),
            AtomicOp::Store => format!("{ty}.atomic.store{bits}"),
            _ => format!("{ty}.atomic.rmw{bits}.{}{zeroes}", self.name()),
        }
    }

    /// A short name: `add`.
    pub fn name(self) -> &'static str {
        match self {
            AtomicOp::Load => "load",
            AtomicOp::Store => "store",
            AtomicOp::Add => "add",
            AtomicOp::Sub => "sub",
            AtomicOp::And => "and",
            AtomicOp::Or => "or",
            AtomicOp::Xor => "xor",
            AtomicOp::Exchange => "xchg",
            AtomicOp::CompareExchange => "cmpxchg",
        }
    }

    /// The type of the result for operands of these types behind the address: `None` when they don't fit, `Some(None)`
    /// when there is no result.
    pub(super) fn result_type(self, ty: Type, operands: &[Type]) -> Option<Option<Type>> {
        let fits = ty.is_int() && operands.len() == self.operands() && operands.iter().all(|operand| *operand == ty);
        fits.then_some(self.has_result().then_some(ty))
    }
}

/// The bits of integer operands; `None` if one is no integer.
pub(super) fn bits(operands: &[Const]) -> Option<Vec<u64>> {
    let bits = |operand: &Const| match operand {
        Const::I32(value) => Some(u64::from(*value)),
        Const::I64(value) => Some(*value),
        _ => None,
    };
    operands.iter().map(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_at_the_size_of_the_access() {
        assert_eq!(AtomicOp::Add.apply(1, 0xff, &[0x1_02]), 1);
        assert_eq!(AtomicOp::Sub.apply(2, 0, &[1]), 0xffff);
        assert_eq!(AtomicOp::Add.apply(8, u64::MAX, &[2]), 1);
        assert_eq!(AtomicOp::CompareExchange.apply(1, 0x11, &[0x2211, 0x3344]), 0x44);
        assert_eq!(AtomicOp::CompareExchange.apply(4, 0x11, &[0x2211, 0x3344]), 0x11);
    }
}
