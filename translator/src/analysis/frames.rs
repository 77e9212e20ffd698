//! The frames of a kernel on the shadow stack: how far below the stack pointer it goes.

use std::collections::BTreeSet;

use super::alignment::{STACK_ALIGNMENT_BITS, alignment};
use super::bottoms;
use super::dataflow;
use super::stack_offsets::{StackOffsets, stack_offsets};
use crate::ir::{Function, StmtKind, Type, Value};
use crate::seen::Observed;

/// Bytes of the stack, by distance from the stack pointer: the first, and the end.
pub type Span = (i64, i64);

/// Whether two have a byte in common.
pub fn meet(a: Span, b: Span) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// What accesses of the stack are to be checked for in a form that promoted slots though an access may meet them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// What was promoted, ascending: no access may meet it.
    pub promoted: Vec<Span>,
    /// Where accesses may lie, ascending and apart from one another and from what was promoted.
    pub allowed: Vec<Span>,
}

impl Guards {
    /// Those of what was promoted, where accesses mean these objects: allowed is what lies between promoted slots and
    /// meets an object, and all below the lowest.
    pub fn new(mut promoted: Vec<Span>, objects: &BTreeSet<Span>) -> Guards {
        promoted.sort_unstable();
        let mut allowed = Vec::new();
        let mut start = i64::from(i32::MIN);
        for (first, end) in promoted.iter().copied().chain([(0, 0)]) {
            let gap = (start, first);
            if first > start && (allowed.is_empty() || objects.iter().any(|object| meet(*object, gap))) {
                allowed.push(gap);
            }
            start = start.max(end);
        }
        Guards { promoted, allowed }
    }
}

/// What is known of a kernel's frames once its globals are promoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// The stack pointer, if the kernel uses one.
    pub stack_pointer: Option<u32>,
    /// Whether a frame's size is not known before it is made (`alloca`).
    pub dynamic: bool,
    /// Bytes of frames at no known distance from the stack pointer: those of functions that are kept once and called from frames
    /// of different sizes.
    pub unplaced: u32,
    /// What accesses of the stack are checked for, in a form that assumes
    /// [`Assumption::Slots`](crate::Assumption::Slots).
    pub guards: Option<Guards>,
    /// What accesses were seen to do in a rehearsal.
    pub(crate) observed: Option<Observed>,
}

/// Bytes for all frames of a size that is not known beforehand, where arrays are assumed to be short: Mesa's software driver sets all
/// of an array to zero by a store for each word, which takes it a quarter of a second for so many, and 2 to 6 for the others.
const SHORT_BYTES: u32 = 4 << 10;
/// The same where they are not.
const DYNAMIC_BYTES: u32 = 16 << 10;
/// Most bytes of the private stack; compilers give up on larger arrays.
const MAX_BYTES: u32 = 256 << 10;

impl Frames {
    /// Size of the private stack in bytes, a multiple of 16: from the lowest frame or access to the stack pointer;
    /// whether arrays of variable length are `short`.
    pub fn depth(&self, function: &Function, offsets: Option<&StackOffsets>, short: bool) -> u32 {
        let Some(offsets) = offsets else { return 0 };
        let lowest = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
        let below = lowest.filter_map(|stmt| match &stmt.kind {
            StmtKind::Op { op, args, .. } => {
                let access = op.memory_access()?;
                let at = i64::from(offsets.of(args[0])? as i32) + i64::from(access.offset);
                u32::try_from(-at).ok()
            }
            _ => None,
        });
        let depth = below.max().unwrap_or(0).max(offsets.depth()).max(self.unplaced);
        let depth = depth.min(MAX_BYTES).next_multiple_of(16);
        match (self.dynamic, short) {
            (false, _) => depth,
            (true, false) => depth + DYNAMIC_BYTES,
            (true, true) => depth + SHORT_BYTES,
        }
    }
}

/// The `i32` globals that are set to something other than their value at the launch and a constant: `set` has what they are
/// set to.
pub fn set_dynamically(function: &Function, set: &[(u32, Value)]) -> BTreeSet<u32> {
    let mut globals: BTreeSet<u32> = set.iter().map(|(global, _)| *global).collect();
    globals.retain(|global| {
        let mut values = set.iter().filter(|(g, value)| g == global && function.ty(*value) == Type::I32).peekable();
        values.peek().is_some() && {
            let offsets = stack_offsets(function, *global);
            values.any(|(_, value)| offsets.is_unknown(*value))
        }
    });
    globals
}

/// Whether an array of a length that is not known beforehand lies on the stack, though the stack pointer stays where it is: a
/// function that calls nothing needs not set it. Such arrays are told from elements of others by their size: compilers
/// round it up to 16 bytes, the stack's alignment. Where nothing lies at a known distance, there are no others. An array that
/// is made in a loop may be of a known length.
pub fn has_variable_array(function: &Function, stack_pointer: u32) -> bool {
    let offsets = stack_offsets(function, stack_pointer);
    let mut sizes = offsets.unknown_subtrahends(function).peekable();
    let alignment = alignment(function);
    if sizes.peek().is_some()
        && (offsets.depth() == 0 || sizes.any(|size| alignment.trailing_zeros(size) >= STACK_ALIGNMENT_BITS))
    {
        return true;
    }
    bottoms::made(function, stack_pointer, &offsets, &alignment).iter().any(|made| made.below_unknown)
}
