//! Atomic accesses of a group: those of its invocations, one after the other.

use wasm_encoder::{Instruction, MemArg, ValType};

use super::memory;
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
        if !self.tallies.addresses.contains(&args[0]) {
            return self.one_after_the_other(&instruction, args, result);
        }
        // Nothing uses the result of what is added to a tally.
        self.push_all_aligned(access, args[0]);
        self.code.emit(&Instruction::GlobalGet(self.host.own_tallies));
        self.code.emit(&Instruction::I32And);
        self.code.open_if();
        self.add_to_own(op, access, args)?;
        self.code.otherwise();
        self.one_after_the_other(&instruction, args, result)?;
        self.code.close();
        Ok(())
    }

    /// Pushes 1 if an access is aligned for all invocations, or 0: for one that is not, the atomic one traps.
    fn push_all_aligned(&mut self, access: &MemoryAccess, address: Value) {
        let below = access.bytes - 1;
        let offset = access.offset & below;
        let words = u128::from(below) * (1 << 96 | 1 << 64 | 1 << 32 | 1);
        let parts = if self.shapes.of(address).is_uniform() { 1 } else { self.quads() };
        for part in 0..parts {
            self.push(address, part);
            if offset > 0 {
                self.code.i32(offset);
                self.code.emit_all(&[Instruction::I32x4Splat, Instruction::I32x4Add]);
            }
            if part > 0 {
                self.code.emit(&Instruction::V128Or);
            }
        }
        self.code.emit_all(&[
            Instruction::V128Const(words as i128),
            Instruction::V128And,
            Instruction::V128AnyTrue,
            Instruction::I32Eqz,
        ]);
    }

    /// Adds to memory that is this thread's own.
    fn add_to_own(&mut self, op: AtomicOp, access: &MemoryAccess, args: &[Value]) -> Result<(), String> {
        let (load, store) = (memory::load(access)?, memory::store(access, 0)?);
        let add = plain(op, access.ty).ok_or("It adds to a tally in another way.")?;
        let address = self.scratch(ValType::I32, 0);
        for lane in 0..self.lanes {
            self.if_runs(lane, |emitter| {
                emitter.push_lane(args[0], lane);
                emitter.code.emit_all(&[Instruction::LocalTee(address), Instruction::LocalGet(address), load.clone()]);
                emitter.push_lane(args[1], lane);
                emitter.code.emit_all(&[add.clone(), store.clone()]);
            });
        }
        Ok(())
    }

    /// Writes code for one invocation, if it runs.
    fn if_runs(&mut self, lane: u32, write: impl FnOnce(&mut Self)) {
        if let Some(mask) = self.mask {
            self.push_runs(mask, lane);
            self.code.open_if();
        }
        write(self);
        if self.mask.is_some() {
            self.code.close();
        }
    }

    fn one_after_the_other(
        &mut self,
        instruction: &Instruction<'_>,
        args: &[Value],
        result: Option<Value>,
    ) -> Result<(), String> {
        if let Some(result) = result {
            self.clear(result);
        }
        for lane in 0..self.lanes {
            self.if_runs(lane, |emitter| {
                let write = |emitter: &mut Self| {
                    args.iter().for_each(|arg| emitter.push_lane(*arg, lane));
                    emitter.code.emit(instruction);
                };
                match result {
                    Some(result) => emitter.replace(result, lane, write),
                    None => write(emitter),
                }
            });
        }
        Ok(())
    }
}

/// The operator on numbers that is like an atomic one.
fn plain(op: AtomicOp, ty: Type) -> Option<Instruction<'static>> {
    Some(match (op, ty) {
        (AtomicOp::Add, Type::I32) => Instruction::I32Add,
        (AtomicOp::Add, Type::I64) => Instruction::I64Add,
        (AtomicOp::Sub, Type::I32) => Instruction::I32Sub,
        (AtomicOp::Sub, Type::I64) => Instruction::I64Sub,
        (AtomicOp::Or, Type::I32) => Instruction::I32Or,
        (AtomicOp::Or, Type::I64) => Instruction::I64Or,
        (AtomicOp::Xor, Type::I32) => Instruction::I32Xor,
        (AtomicOp::Xor, Type::I64) => Instruction::I64Xor,
        _ => return None,
    })
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
