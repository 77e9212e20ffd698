//! Names of operators in the text format, for messages.

use wasmparser::Operator;

macro_rules! names {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        fn visitor_name(op: &Operator<'_>) -> &'static str {
            match op {
                $(Operator::$op { .. } => stringify!($visit),)*
                _ => "visit_unknown_operator",
            }
        }
    };
}
wasmparser::for_each_operator!(names);

/// Whether it is an operator on vectors.
pub fn is_vector(op: &Operator<'_>) -> bool {
    let name = visitor_name(op).trim_start_matches("visit_");
    ["v128_", "i8x16_", "i16x8_", "i32x4_", "i64x2_", "f32x4_", "f64x2_"].iter().any(|ty| name.starts_with(ty))
}

/// The operator's name as the text format has it: `memory.grow`, `i32.atomic.rmw8.add_u`.
pub fn operator_name(op: &Operator<'_>) -> String {
    let name = visitor_name(op).trim_start_matches("visit_");
    let parts: Vec<&str> = name.split('_').collect();
    let namespaced = [
        "i32", "i64", "f32", "f64", "v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2", "memory", "table",
        "local", "global", "ref", "data", "elem", "atomic", "struct", "array", "any", "extern",
    ];
    match parts.as_slice() {
        [ty, "atomic", "rmw8" | "rmw16" | "rmw32" | "rmw", ..] if parts.len() > 3 => {
            format!("{ty}.atomic.{}.{}", parts[2], parts[3..].join("_"))
        }
        [ty, "atomic", ..] => format!("{ty}.atomic.{}", parts[2..].join("_")),
        [first, ..] if namespaced.contains(first) && parts.len() > 1 => format!("{first}.{}", parts[1..].join("_")),
        _ => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_operators_are_told_by_their_names() {
        let memarg = wasmparser::MemArg { align: 0, max_align: 0, offset: 0, memory: 0 };
        assert!(is_vector(&Operator::V128Load { memarg }) && is_vector(&Operator::F32x4RelaxedMadd));
        assert!(is_vector(&Operator::I8x16Swizzle) && !is_vector(&Operator::I32Add));
        assert!(!is_vector(&Operator::I64ExtendI32U));
    }

    #[test]
    fn names_are_those_of_the_text_format() {
        assert_eq!(operator_name(&Operator::MemoryGrow { mem: 0 }), "memory.grow");
        assert_eq!(operator_name(&Operator::I32x4Add), "i32x4.add");
        assert_eq!(operator_name(&Operator::CallIndirect { type_index: 0, table_index: 0 }), "call_indirect");
        assert_eq!(operator_name(&Operator::AtomicFence), "atomic.fence");
        let memarg = wasmparser::MemArg { align: 0, max_align: 0, offset: 0, memory: 0 };
        assert_eq!(operator_name(&Operator::I32AtomicRmw8AddU { memarg }), "i32.atomic.rmw8.add_u");
    }
}
