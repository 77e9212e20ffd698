//! Why a kernel may be refused: a closed list. What fits none of these is a failure.

use crate::judge;

/// A part of the sentence, and what the reason is counted as.
const REASONS: &[(&str, &str)] = &[
    ("recursion", "recursion"),
    (judge::LEFT_TO_THE_CPU, "arrays of variable length"),
    ("nested blocks", "nesting"),
    ("an access across the stack pointer", "an access across the stack pointer"),
    ("an access of the stack far from its address", "an access of the stack far from its address"),
    ("so that the stack pointer can't be told", "several globals like a stack pointer"),
    ("64-bit integers on this device", "64-bit integers"),
    ("64-bit floats on this device", "64-bit floats"),
    ("correctly rounded", "inexact floats"),
    ("of subnormal numbers", "inexact floats"),
    ("the operator `memory.grow`", "memory.grow"),
    ("the operator `memory.size`", "memory.size"),
    ("the operator `elem.drop`", "elem.drop"),
    ("the operator `table.copy`", "table.copy"),
    ("the operator `table.init`", "table.init"),
    ("operators after inlining", "size"),
    ("accesses of memory, of which", "size"),
    ("branches that nest", "nesting"),
    ("bytes of stack for each invocation", "size"),
];

/// What a refusal is counted as, if it is a known one.
pub fn of(message: &str) -> Option<&'static str> {
    REASONS.iter().find(|(part, _)| message.contains(part)).map(|(_, name)| *name)
}
