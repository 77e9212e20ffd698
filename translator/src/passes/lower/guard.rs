//! The checks of a speculative form: each ends the invocation, before the access that relies on it, where what was assumed
//! does not hold.

use std::collections::{HashMap, HashSet};

use super::Lowerer;
use crate::analysis::frames::{Guards, Span, meet};
use crate::error::TrapKind;
use crate::ir::operator::MemoryAccess;
use crate::ir::{LowOp, Type, Value};
use crate::speculation::Assumption;

/// Ranges that an offset is compared with one by one; of more, a table says where accesses may lie.
const MAX_COMPARED: usize = 3;

/// What accesses of the stack are checked for.
pub(super) struct StackGuard {
    guards: Guards,
    /// The accesses that are not proved to keep away from what was promoted: address, offset, bytes.
    unproved: HashSet<(Value, u32, u32)>,
    /// Where in the function's data the table for accesses of so many bytes starts, in words.
    tables: HashMap<u32, u32>,
    /// The data, as far as this pass adds to it.
    words: Vec<u32>,
}

impl StackGuard {
    pub(super) fn new(guards: Guards, unproved: HashSet<(Value, u32, u32)>) -> StackGuard {
        StackGuard { guards, unproved, tables: HashMap::new(), words: Vec::new() }
    }

    /// The offsets from the private stack's first byte at which an access of so many bytes may begin: first and end.
    fn ranges(&self, depth: u32, bytes: u32) -> Vec<(u32, u32)> {
        let place = |at: i64| (at + i64::from(depth)).clamp(0, depth.into()) as u32;
        let ends = |span: &Span| (place(span.0), (place(span.1) + 1).saturating_sub(bytes));
        self.guards.allowed.iter().map(ends).filter(|(first, end)| first < end).collect()
    }
}

impl Lowerer<'_> {
    /// Adds what the checks load to the function's data.
    pub(super) fn finish_guards(&mut self) {
        if let Some(guard) = self.guard.take().filter(|guard| !guard.words.is_empty()) {
            self.function.data = self.function.data.iter().chain(&guard.words).copied().collect();
        }
    }

    /// Whether an access at a constant distance from the stack pointer is of what was promoted.
    pub(super) fn meets_promoted(&self, at: i64, bytes: u32) -> bool {
        let meets =
            |guard: &StackGuard| guard.guards.promoted.iter().any(|span| meet(*span, (at, at + i64::from(bytes))));
        self.guard.as_ref().is_some_and(meets)
    }

    /// Bails out if an access of the private stack, at an offset in it that was checked, may meet what was promoted and does.
    pub(super) fn guard_stack(&mut self, access: MemoryAccess, original: Value, offset: Value) {
        let depth = self.stack.depth;
        let Some(guard) = &self.guard else { return };
        if !guard.unproved.contains(&(original, access.offset, access.bytes)) {
            return;
        }
        let ranges = guard.ranges(depth, access.bytes);
        let bad = match ranges.len() {
            0 => self.constant(crate::ir::Const::Bool(true)),
            1..=MAX_COMPARED => self.is_outside(offset, &ranges),
            _ => self.is_barred(offset, &ranges, depth, access.bytes),
        };
        self.trap_if(bad, TrapKind::BailedOut(Assumption::Slots));
    }

    fn is_outside(&mut self, offset: Value, ranges: &[(u32, u32)]) -> Value {
        let mut outside = None;
        for (first, end) in ranges {
            let from_first = match first {
                0 => offset,
                first => self.op_with_int(LowOp::ISub, offset, u64::from(*first)),
            };
            let length = self.int(Type::I32, u64::from(end - first));
            let beyond = self.bool(LowOp::ULe, &[length, from_first]);
            outside = Some(match outside {
                None => beyond,
                Some(others) => self.bool(LowOp::BAnd, &[others, beyond]),
            });
        }
        outside.unwrap_or(offset)
    }

    /// Whether a table has a zero for the offset.
    fn is_barred(&mut self, offset: Value, ranges: &[(u32, u32)], depth: u32, bytes: u32) -> Value {
        let before = self.function.data.len() as u32;
        let start = match &mut self.guard {
            Some(guard) => *guard.tables.entry(bytes).or_insert_with(|| {
                let start = before + guard.words.len() as u32;
                let is_allowed = |at: u32| ranges.iter().any(|(first, end)| (*first..*end).contains(&at));
                let word = |word: u32| (0..32).map(|bit| u32::from(is_allowed(32 * word + bit)) << bit).sum::<u32>();
                guard.words.extend((0..depth.div_ceil(32)).map(word));
                start
            }),
            None => before,
        };
        let index = self.op_with_int(LowOp::ShrU, offset, 5);
        let index = if start == 0 { index } else { self.op_with_int(LowOp::IAdd, index, start.into()) };
        let word = self.low(LowOp::LoadData, &[index], Type::I32);
        let bit = self.op_with_int(LowOp::And, offset, 31);
        let bits = self.same(LowOp::ShrU, &[word, bit]);
        let bit = self.op_with_int(LowOp::And, bits, 1);
        self.test_int(LowOp::Eq, bit, 0)
    }

    /// Bails out if an address has not as many zeroes at its end as make an access of whole words, or of a part of one; gives
    /// the zeroes that are known then.
    pub(super) fn guard_alignment(&mut self, access: MemoryAccess, effective: Value, zeros: u32) -> u32 {
        let needed = access.bytes.trailing_zeros().min(2);
        if !self.options.speculation.aligned || zeros >= needed {
            return zeros;
        }
        let low = self.op_with_int(LowOp::And, effective, (1 << needed) - 1);
        let bad = self.test_int(LowOp::Ne, low, 0);
        self.trap_if(bad, TrapKind::BailedOut(Assumption::Aligned));
        needed
    }
}
