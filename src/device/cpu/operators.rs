//! Which operators a device module can have.

use wasmparser::{Operator, ValType};
use wavelift_translator::Module;

/// Something that only the caller's own instance can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// A predicate: "has `memory.grow`".
    pub what: String,
    /// Byte offset from the start of the module.
    pub offset: u32,
}

/// Why an operator can't stand in a device module; `None` if it can. Calls are not judged here.
pub fn reject(module: &Module, operator: &Operator<'_>, offset: u32) -> Option<Rejected> {
    let what = match operator {
        Operator::MemoryGrow { .. } => "has `memory.grow`",
        // Invocations that run in order can't wake each other, workers that wait would never come back.
        Operator::MemoryAtomicWait32 { .. } | Operator::MemoryAtomicWait64 { .. } => "has `memory.atomic.wait`",
        Operator::MemoryAtomicNotify { .. } => "has `memory.atomic.notify`",
        Operator::TableGet { .. }
        | Operator::TableSet { .. }
        | Operator::TableGrow { .. }
        | Operator::TableSize { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::ElemDrop { .. } => "has an operator on a table",
        Operator::RefNull { .. } | Operator::RefIsNull | Operator::RefFunc { .. } => "has an operator on references",
        Operator::TypedSelect { ty: ValType::Ref(_) } | Operator::TypedSelectMulti { .. } => {
            "has a `select` of references"
        }
        Operator::GlobalGet { global_index } | Operator::GlobalSet { global_index } => {
            let global = module.globals().get(*global_index as usize)?;
            if !matches!(global.ty, ValType::Ref(_)) {
                return None;
            }
            "has a global of a reference type"
        }
        _ => return None,
    };
    Some(Rejected { what: what.into(), offset })
}
