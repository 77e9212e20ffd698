//! Operators that are neither control nor calls.

use wasmparser::{Operator, ValType};

use super::{Lifter, atomic, memory, names, type_of};
use crate::error::{Error, Result, TrapKind};
use crate::ir::{Const, Exit, Op, StmtKind, Type, WasmOp};
use crate::speculation::Assumption;

impl Lifter<'_> {
    pub(super) fn simple_operator(&mut self, op: &Operator<'_>) -> Result<()> {
        if let Some(wasm) = WasmOp::from_wasmparser(op) {
            let args = self.pop_many(wasm.params().len())?;
            let result = self.list.wasm(&mut self.function, wasm, &args);
            self.stack.push(result);
            return Ok(());
        }
        if let Some(access) = memory::access(op).or_else(|| atomic::access(op)) {
            return self.memory_access(access);
        }
        if self.vector_operator(op)? {
            return Ok(());
        }
        match op {
            Operator::Nop => Ok(()),
            Operator::Drop => self.pop().map(|_| ()),
            Operator::I32Const { value } => self.constant(Const::I32(*value as u32)),
            Operator::I64Const { value } => self.constant(Const::I64(*value as u64)),
            Operator::F32Const { value } => self.constant(Const::F32(value.bits())),
            Operator::F64Const { value } => self.constant(Const::F64(value.bits())),
            Operator::V128Const { value } => self.constant(Const::V128(u128::from_le_bytes(*value.bytes()).into())),
            Operator::LocalGet { local_index } => {
                self.stack.push(self.locals[*local_index as usize]);
                Ok(())
            }
            Operator::LocalSet { local_index } => {
                self.locals[*local_index as usize] = self.pop()?;
                Ok(())
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop()?;
                self.locals[*local_index as usize] = value;
                self.stack.push(value);
                Ok(())
            }
            Operator::Select | Operator::TypedSelect { .. } => {
                let args = self.pop_many(3)?;
                let ty = self.function.ty(args[0]);
                let result = self.list.op(&mut self.function, Op::Select, &args, ty);
                self.stack.push(result);
                Ok(())
            }
            Operator::GlobalGet { global_index } => {
                let ty = self.global_type(*global_index)?;
                let ty = type_of(ty).ok_or_else(|| self.unsupported(format!("globals of type `{ty}`")))?;
                let result = self.list.op(&mut self.function, Op::GlobalGet(*global_index), &[], ty);
                self.stack.push(result);
                Ok(())
            }
            Operator::GlobalSet { global_index } => {
                let value = self.pop()?;
                self.list.effect(Op::GlobalSet(*global_index), &[value]);
                Ok(())
            }
            Operator::MemorySize { mem: 0 } => {
                let result = self.list.op(&mut self.function, Op::MemorySize, &[], Type::I32);
                self.stack.push(result);
                Ok(())
            }
            Operator::MemoryFill { mem: 0 } => self.bulk(Op::MemoryFill),
            Operator::MemoryCopy { dst_mem: 0, src_mem: 0 } => self.bulk(Op::MemoryCopy),
            Operator::MemoryInit { data_index, mem: 0 } => self.bulk(Op::MemoryInit(*data_index)),
            Operator::DataDrop { data_index } => {
                self.list.effect(Op::DataDrop(*data_index), &[]);
                Ok(())
            }
            Operator::AtomicFence => {
                self.list.effect(Op::Fence, &[]);
                Ok(())
            }
            _ if self.known.cuts => self.leave(Exit::Trap(TrapKind::BailedOut(Assumption::Paths))),
            _ => Err(self.unsupported(match atomic::waits(op) {
                Some(what) => what.to_string(),
                None => format!("the operator `{}`", names::operator_name(op)),
            })),
        }
    }

    fn bulk(&mut self, op: Op) -> Result<()> {
        let args = self.pop_many(3)?;
        self.list.effect(op, &args);
        Ok(())
    }

    fn constant(&mut self, value: Const) -> Result<()> {
        let value = self.list.constant(&mut self.function, value);
        self.stack.push(value);
        Ok(())
    }

    fn global_type(&self, index: u32) -> Result<ValType> {
        let global = self.module.globals().get(index as usize);
        Ok(global.ok_or_else(|| Error::Internal(format!("there is no global {index}")))?.ty)
    }

    pub(super) fn memory_access(&mut self, op: Op) -> Result<()> {
        if let Some(access) = op.memory_access()
            && access.memory != 0
        {
            return Err(self.unsupported(format!("accesses of memory {} (only memory 0 can be lifted)", access.memory)));
        }
        match op {
            Op::Load(access) => {
                let address = self.pop()?;
                let result = self.list.op(&mut self.function, op, &[address], access.ty);
                self.stack.push(result);
            }
            Op::Atomic(atomic, access) => {
                let args = self.pop_many(1 + atomic.operands())?;
                let result = atomic.has_result().then(|| self.function.new_value(access.ty));
                self.list.push(StmtKind::Op { op, args: args.into(), result });
                self.stack.extend(result);
            }
            _ => {
                let args = self.pop_many(2)?;
                self.list.effect(op, &args);
            }
        }
        Ok(())
    }
}
