//! Loads and stores.

use wasmparser::{MemArg, Operator};

use crate::ir::operator::MemoryAccess;
use crate::ir::{Op, Type};

/// The load or store that an operator is; `None` if it is neither.
pub fn access(op: &Operator<'_>) -> Option<Op> {
    let load = |ty, bytes, signed, m: &MemArg| Some(Op::Load(of(ty, bytes, signed, m)));
    let store = |ty, bytes, m: &MemArg| Some(Op::Store(of(ty, bytes, false, m)));
    match op {
        Operator::I32Load { memarg } => load(Type::I32, 4, false, memarg),
        Operator::I64Load { memarg } => load(Type::I64, 8, false, memarg),
        Operator::F32Load { memarg } => load(Type::F32, 4, false, memarg),
        Operator::F64Load { memarg } => load(Type::F64, 8, false, memarg),
        Operator::I32Load8S { memarg } => load(Type::I32, 1, true, memarg),
        Operator::I32Load8U { memarg } => load(Type::I32, 1, false, memarg),
        Operator::I32Load16S { memarg } => load(Type::I32, 2, true, memarg),
        Operator::I32Load16U { memarg } => load(Type::I32, 2, false, memarg),
        Operator::I64Load8S { memarg } => load(Type::I64, 1, true, memarg),
        Operator::I64Load8U { memarg } => load(Type::I64, 1, false, memarg),
        Operator::I64Load16S { memarg } => load(Type::I64, 2, true, memarg),
        Operator::I64Load16U { memarg } => load(Type::I64, 2, false, memarg),
        Operator::I64Load32S { memarg } => load(Type::I64, 4, true, memarg),
        Operator::I64Load32U { memarg } => load(Type::I64, 4, false, memarg),
        Operator::I32Store { memarg } => store(Type::I32, 4, memarg),
        Operator::I64Store { memarg } => store(Type::I64, 8, memarg),
        Operator::F32Store { memarg } => store(Type::F32, 4, memarg),
        Operator::F64Store { memarg } => store(Type::F64, 8, memarg),
        Operator::I32Store8 { memarg } => store(Type::I32, 1, memarg),
        Operator::I32Store16 { memarg } => store(Type::I32, 2, memarg),
        Operator::I64Store8 { memarg } => store(Type::I64, 1, memarg),
        Operator::I64Store16 { memarg } => store(Type::I64, 2, memarg),
        Operator::I64Store32 { memarg } => store(Type::I64, 4, memarg),
        Operator::V128Load { memarg } => load(Type::V128, 16, false, memarg),
        Operator::V128Load32Zero { memarg } => load(Type::V128, 4, false, memarg),
        Operator::V128Load64Zero { memarg } => load(Type::V128, 8, false, memarg),
        Operator::V128Store { memarg } => store(Type::V128, 16, memarg),
        _ => None,
    }
}

pub(super) fn of(ty: Type, bytes: u32, signed: bool, memarg: &MemArg) -> MemoryAccess {
    // Guests with 64-bit memories are refused at load, so validation has bounded the offset.
    MemoryAccess { ty, bytes, signed, offset: memarg.offset as u32, memory: memarg.memory, checked: None }
}
