//! Atomic instructions, and what they order.
//!
//! Wasm's atomic accesses are sequentially consistent. Without the Vulkan memory model, Vulkan knows no such order, so each
//! access here has the strongest that there is: it acquires and releases, at the scope of the device. That means:
//! - the atomic accesses of one place are in one order, the same for all invocations, and nothing comes between the parts
//!   of one;
//! - what an invocation stored before it released (any atomic store or update) another one sees behind an atomic access
//!   that saw the released number;
//! - two atomic accesses of *different* places need not be in one order for all: programs that tell who was first by two
//!   flags (Dekker's) may find both last.
//!
//! A kernel that reads nothing of what it changes (a histogram, say, whose updates' results are not used) can't tell any of
//! this; its accesses are relaxed, which makes that histogram four times as fast on lavapipe.
//!
//! naga drops all of this but for the first point: its atomic accesses are relaxed.

use rspirv::dr::Operand;
use rspirv::spirv::{MemorySemantics, Op, Scope, Word};

use super::slices::Access;
use super::{Emitter, defect};
use crate::error::Result;
use crate::ir::{AtomicOp, Type, Value};

/// The strongest order that an access can have.
pub(super) fn ordered(op: AtomicOp) -> MemorySemantics {
    let order = match op {
        AtomicOp::Load => MemorySemantics::ACQUIRE,
        AtomicOp::Store => MemorySemantics::RELEASE,
        _ => MemorySemantics::ACQUIRE_RELEASE,
    };
    order | MemorySemantics::UNIFORM_MEMORY
}

impl Emitter<'_> {
    /// An atomic access of the kernel's own.
    pub(super) fn emit_atomic(&mut self, slot: u32, op: AtomicOp, ty: Type, args: &[Value]) -> Result<Option<Word>> {
        let ids = args.iter().map(|arg| self.value(*arg)).collect::<Result<Vec<_>>>()?;
        let kind = if ty == Type::I64 { Access::AtomicDouble(op) } else { Access::Atomic(op) };
        let (index, operands) = ids.split_first().ok_or_else(|| crate::Error::Internal("no index".to_string()))?;
        self.access_slot(kind, slot, *index, operands)
    }

    /// `atomic.fence`.
    pub(super) fn fence(&mut self) -> Result<()> {
        let scope = self.u32_constant(Scope::Device as u32);
        let semantics = MemorySemantics::ACQUIRE_RELEASE | MemorySemantics::UNIFORM_MEMORY;
        let semantics = self.u32_constant(semantics.bits());
        self.b.memory_barrier(scope, semantics).map_err(defect)
    }

    /// The instruction on one pointer.
    pub(super) fn atomic_in(
        &mut self,
        op: AtomicOp,
        ty: Word,
        pointer: Word,
        semantics: MemorySemantics,
        operands: &[Word],
    ) -> Result<Option<Word>> {
        let scope = self.u32_constant(Scope::Device as u32);
        let order = self.u32_constant(semantics.bits());
        if op == AtomicOp::Store {
            self.b.atomic_store(pointer, scope, order, operands[0]).map_err(defect)?;
            return Ok(None);
        }
        let instruction = match op {
            AtomicOp::Load | AtomicOp::Store => Op::AtomicLoad,
            AtomicOp::Add => Op::AtomicIAdd,
            AtomicOp::Sub => Op::AtomicISub,
            AtomicOp::And => Op::AtomicAnd,
            AtomicOp::Or => Op::AtomicOr,
            AtomicOp::Xor => Op::AtomicXor,
            AtomicOp::Exchange => Op::AtomicExchange,
            AtomicOp::CompareExchange => Op::AtomicCompareExchange,
        };
        let mut all = vec![Operand::IdRef(pointer), Operand::IdScope(scope), Operand::IdMemorySemantics(order)];
        if op == AtomicOp::CompareExchange {
            // Where the numbers differ nothing is stored, so that there is nothing to release.
            let unequal = self.u32_constant(ordered(AtomicOp::Load).bits());
            all.push(Operand::IdMemorySemantics(unequal));
        }
        // SPIR-V has the number expected last.
        all.extend(operands.iter().rev().map(|id| Operand::IdRef(*id)));
        self.inst_of(instruction, ty, all).map(Some)
    }
}
