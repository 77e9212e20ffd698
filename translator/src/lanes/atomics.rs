//! Atomic accesses of a group: those of its invocations, one after the other.

use wasm_encoder::{Instruction, MemArg};

use super::vectors::Emitter;
use crate::ir::operator::MemoryAccess;
use crate::ir::{AtomicOp, Type, Value};

impl Emitter<'_> {
    /// An atomic access; `args` are the address and the operands.
    pub fn atomic(
        &mut self,
        op: AtomicOp,
        access: &MemoryAccess,
        args: &[Value],
        result: Option<Value>,
    ) -> Result<(), String> {
        let instruction = instruction(op, access)
            .ok_or_else(|| format!("It has an atomic {op:?} of {} bytes as {:?}.", access.bytes, access.ty))?;
        if let Some(result) = result {
            self.clear(result);
        }
        for lane in 0..self.lanes {
            if let Some(mask) = self.mask {
                self.push_runs(mask, lane);
                self.code.open_if();
            }
            let write = |emitter: &mut Self| {
                args.iter().for_each(|arg| emitter.push_lane(*arg, lane));
                emitter.code.emit(&instruction);
            };
            match result {
                Some(result) => self.replace(result, lane, write),
                None => write(self),
            }
            if self.mask.is_some() {
                self.code.close();
            }
        }
        Ok(())
    }
}

macro_rules! instructions {
    ($op:ident $access:ident $at:ident: $($name:ident: $kind:ident $ty:ident $bytes:literal,)*) => {
        match ($op, $access.ty, $access.bytes) {
            $((AtomicOp::$kind, Type::$ty, $bytes) => Some(Instruction::$name($at)),)*
            _ => None,
        }
    };
}

fn instruction(op: AtomicOp, access: &MemoryAccess) -> Option<Instruction<'static>> {
    let at = MemArg { offset: access.offset.into(), align: access.bytes.trailing_zeros(), memory_index: 0 };
    instructions! {
        op access at:
        I32AtomicRmwAdd: Add I32 4,
        I32AtomicRmw8AddU: Add I32 1,
        I32AtomicRmw16AddU: Add I32 2,
        I64AtomicRmwAdd: Add I64 8,
        I64AtomicRmw8AddU: Add I64 1,
        I64AtomicRmw16AddU: Add I64 2,
        I64AtomicRmw32AddU: Add I64 4,
        I32AtomicRmwSub: Sub I32 4,
        I32AtomicRmw8SubU: Sub I32 1,
        I32AtomicRmw16SubU: Sub I32 2,
        I64AtomicRmwSub: Sub I64 8,
        I64AtomicRmw8SubU: Sub I64 1,
        I64AtomicRmw16SubU: Sub I64 2,
        I64AtomicRmw32SubU: Sub I64 4,
        I32AtomicRmwAnd: And I32 4,
        I32AtomicRmw8AndU: And I32 1,
        I32AtomicRmw16AndU: And I32 2,
        I64AtomicRmwAnd: And I64 8,
        I64AtomicRmw8AndU: And I64 1,
        I64AtomicRmw16AndU: And I64 2,
        I64AtomicRmw32AndU: And I64 4,
        I32AtomicRmwOr: Or I32 4,
        I32AtomicRmw8OrU: Or I32 1,
        I32AtomicRmw16OrU: Or I32 2,
        I64AtomicRmwOr: Or I64 8,
        I64AtomicRmw8OrU: Or I64 1,
        I64AtomicRmw16OrU: Or I64 2,
        I64AtomicRmw32OrU: Or I64 4,
        I32AtomicRmwXor: Xor I32 4,
        I32AtomicRmw8XorU: Xor I32 1,
        I32AtomicRmw16XorU: Xor I32 2,
        I64AtomicRmwXor: Xor I64 8,
        I64AtomicRmw8XorU: Xor I64 1,
        I64AtomicRmw16XorU: Xor I64 2,
        I64AtomicRmw32XorU: Xor I64 4,
        I32AtomicRmwXchg: Exchange I32 4,
        I32AtomicRmw8XchgU: Exchange I32 1,
        I32AtomicRmw16XchgU: Exchange I32 2,
        I64AtomicRmwXchg: Exchange I64 8,
        I64AtomicRmw8XchgU: Exchange I64 1,
        I64AtomicRmw16XchgU: Exchange I64 2,
        I64AtomicRmw32XchgU: Exchange I64 4,
        I32AtomicRmwCmpxchg: CompareExchange I32 4,
        I32AtomicRmw8CmpxchgU: CompareExchange I32 1,
        I32AtomicRmw16CmpxchgU: CompareExchange I32 2,
        I64AtomicRmwCmpxchg: CompareExchange I64 8,
        I64AtomicRmw8CmpxchgU: CompareExchange I64 1,
        I64AtomicRmw16CmpxchgU: CompareExchange I64 2,
        I64AtomicRmw32CmpxchgU: CompareExchange I64 4,
        I32AtomicLoad: Load I32 4,
        I32AtomicLoad8U: Load I32 1,
        I32AtomicLoad16U: Load I32 2,
        I64AtomicLoad: Load I64 8,
        I64AtomicLoad8U: Load I64 1,
        I64AtomicLoad16U: Load I64 2,
        I64AtomicLoad32U: Load I64 4,
        I32AtomicStore: Store I32 4,
        I32AtomicStore8: Store I32 1,
        I32AtomicStore16: Store I32 2,
        I64AtomicStore: Store I64 8,
        I64AtomicStore8: Store I64 1,
        I64AtomicStore16: Store I64 2,
        I64AtomicStore32: Store I64 4,
    }
}
