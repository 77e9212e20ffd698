//! Atomic accesses.

use wasmparser::Operator;

use super::memory::of;
use crate::ir::{AtomicOp, Op, Type};

macro_rules! accesses {
    ($op:expr; $($name:ident: $kind:ident $ty:ident $bytes:literal,)*) => {
        match $op {
            $(Operator::$name { memarg } => Some(Op::Atomic(AtomicOp::$kind, of(Type::$ty, $bytes, false, memarg))),)*
            _ => None,
        }
    };
}

/// The atomic access that an operator is; `None` if it is none. Narrow ones give zeroes above what they access.
pub fn access(op: &Operator<'_>) -> Option<Op> {
    accesses! { op;
        I32AtomicLoad: Load I32 4,
        I64AtomicLoad: Load I64 8,
        I32AtomicLoad8U: Load I32 1,
        I32AtomicLoad16U: Load I32 2,
        I64AtomicLoad8U: Load I64 1,
        I64AtomicLoad16U: Load I64 2,
        I64AtomicLoad32U: Load I64 4,
        I32AtomicStore: Store I32 4,
        I64AtomicStore: Store I64 8,
        I32AtomicStore8: Store I32 1,
        I32AtomicStore16: Store I32 2,
        I64AtomicStore8: Store I64 1,
        I64AtomicStore16: Store I64 2,
        I64AtomicStore32: Store I64 4,
        I32AtomicRmwAdd: Add I32 4,
        I64AtomicRmwAdd: Add I64 8,
        I32AtomicRmw8AddU: Add I32 1,
        I32AtomicRmw16AddU: Add I32 2,
        I64AtomicRmw8AddU: Add I64 1,
        I64AtomicRmw16AddU: Add I64 2,
        I64AtomicRmw32AddU: Add I64 4,
        I32AtomicRmwSub: Sub I32 4,
        I64AtomicRmwSub: Sub I64 8,
        I32AtomicRmw8SubU: Sub I32 1,
        I32AtomicRmw16SubU: Sub I32 2,
        I64AtomicRmw8SubU: Sub I64 1,
        I64AtomicRmw16SubU: Sub I64 2,
        I64AtomicRmw32SubU: Sub I64 4,
        I32AtomicRmwAnd: And I32 4,
        I64AtomicRmwAnd: And I64 8,
        I32AtomicRmw8AndU: And I32 1,
        I32AtomicRmw16AndU: And I32 2,
        I64AtomicRmw8AndU: And I64 1,
        I64AtomicRmw16AndU: And I64 2,
        I64AtomicRmw32AndU: And I64 4,
        I32AtomicRmwOr: Or I32 4,
        I64AtomicRmwOr: Or I64 8,
        I32AtomicRmw8OrU: Or I32 1,
        I32AtomicRmw16OrU: Or I32 2,
        I64AtomicRmw8OrU: Or I64 1,
        I64AtomicRmw16OrU: Or I64 2,
        I64AtomicRmw32OrU: Or I64 4,
        I32AtomicRmwXor: Xor I32 4,
        I64AtomicRmwXor: Xor I64 8,
        I32AtomicRmw8XorU: Xor I32 1,
        I32AtomicRmw16XorU: Xor I32 2,
        I64AtomicRmw8XorU: Xor I64 1,
        I64AtomicRmw16XorU: Xor I64 2,
        I64AtomicRmw32XorU: Xor I64 4,
        I32AtomicRmwXchg: Exchange I32 4,
        I64AtomicRmwXchg: Exchange I64 8,
        I32AtomicRmw8XchgU: Exchange I32 1,
        I32AtomicRmw16XchgU: Exchange I32 2,
        I64AtomicRmw8XchgU: Exchange I64 1,
        I64AtomicRmw16XchgU: Exchange I64 2,
        I64AtomicRmw32XchgU: Exchange I64 4,
        I32AtomicRmwCmpxchg: CompareExchange I32 4,
        I64AtomicRmwCmpxchg: CompareExchange I64 8,
        I32AtomicRmw8CmpxchgU: CompareExchange I32 1,
        I32AtomicRmw16CmpxchgU: CompareExchange I32 2,
        I64AtomicRmw8CmpxchgU: CompareExchange I64 1,
        I64AtomicRmw16CmpxchgU: CompareExchange I64 2,
        I64AtomicRmw32CmpxchgU: CompareExchange I64 4,
    }
}

/// Why an operator by which threads wait for each other can't be lifted; `None` if it is none.
pub fn waits(op: &Operator<'_>) -> Option<&'static str> {
    match op {
        Operator::MemoryAtomicWait32 { .. } => Some("`memory.atomic.wait32`: invocations can't wait for each other"),
        Operator::MemoryAtomicWait64 { .. } => Some("`memory.atomic.wait64`: invocations can't wait for each other"),
        Operator::MemoryAtomicNotify { .. } => Some("`memory.atomic.notify`: invocations can't wait for each other"),
        _ => None,
    }
}
