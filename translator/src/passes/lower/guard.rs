//! The checks of a speculative form: each ends the invocation, before the access that relies on it, where what was assumed
//! does not hold.

use std::collections::HashSet;

use super::Lowerer;
use super::memory::Space;
use crate::analysis::frames::{Guards, Span, meet};
use crate::analysis::roots::Root;
use crate::error::TrapKind;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Const, LowOp, Type, Value};
use crate::options::LINEAR;
use crate::seen::Accessed;
use crate::speculation::Assumption;

/// What accesses of the stack are checked for.
pub(super) struct StackGuard {
    guards: Guards,
    /// The accesses that are not proved to keep away from what was promoted: address, offset, bytes.
    unproved: HashSet<(Value, u32, u32)>,
}

impl StackGuard {
    pub(super) fn new(guards: Guards, unproved: HashSet<(Value, u32, u32)>) -> StackGuard {
        StackGuard { guards, unproved }
    }

    /// The offsets from the private stack's first byte at which an access of so many bytes may begin that was `seen` to do this:
    /// first and end. What it was not seen to meet is left out, where that is known: each range takes three operators.
    fn ranges(&self, depth: u32, bytes: u32, seen: Option<&Accessed>) -> Vec<(u32, u32)> {
        let near = seen.filter(|seen| seen.places_known()).map_or(&[][..], Accessed::near);
        let is_met = |allowed: &&Span| near.is_empty() || near.iter().any(|span| meet(*span, **allowed));
        let place = |at: i64| (at + i64::from(depth)).clamp(0, depth.into()) as u32;
        let ends = |span: &Span| (place(span.0), (place(span.1) + 1).saturating_sub(bytes));
        self.guards.allowed.iter().filter(is_met).map(ends).filter(|(first, end)| first < end).collect()
    }
}

impl Lowerer<'_> {
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
        let ranges = guard.ranges(depth, access.bytes, self.seen_places());
        let bad = self.is_outside(offset, &ranges);
        self.trap_if(bad, TrapKind::BailedOut(Assumption::Slots));
    }

    /// What the access that is being lowered was seen to do.
    fn seen(&self) -> Option<&Accessed> {
        self.observed.as_ref()?.of(self.list.at, self.stores)
    }

    /// The same, in a form that assumes that it is of the places which it was seen to be of.
    fn seen_places(&self) -> Option<&Accessed> {
        self.seen().filter(|_| self.options.speculation.places)
    }

    /// Whether an access was seen, and never to be of this one place that it can be of: it is a copy of its code that does not run.
    pub(super) fn is_elsewhere(&self, root: Root) -> bool {
        let Some(seen) = self.seen_places() else { return false };
        match root {
            Root::Slot(slot) => !seen.met_slot(slot, self.stack.depth),
            Root::Linear => !seen.met_slot(LINEAR, self.stack.depth),
            Root::Stack | Root::Among(_) | Root::Unreached => false,
        }
    }

    /// Of the spaces that an access may be of, those that it was seen to meet; all if it was not seen to meet any.
    pub(super) fn spaces_met(&self, spaces: &[Space]) -> Option<Vec<Space>> {
        let seen = self.seen_places()?;
        let depth = self.stack.depth;
        let is_met = |space: &&Space| match space {
            Space::Slot(slot) => seen.met_slot(*slot, depth),
            Space::Stack => seen.met_stack(depth),
        };
        let met: Vec<Space> = spaces.iter().filter(is_met).copied().collect();
        (!met.is_empty() && met.len() < spaces.len()).then_some(met)
    }

    /// Whether an offset is in none of the ranges.
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
        outside.unwrap_or_else(|| self.constant(Const::Bool(true)))
    }

    /// Bails out if an address has not as many zeroes at its end as make an access of whole words, or of a part of one; gives
    /// the zeroes that are known then.
    pub(super) fn guard_alignment(&mut self, access: MemoryAccess, effective: Value, zeros: u32) -> u32 {
        let needed = access.bytes.trailing_zeros().min(2);
        let is_seen_unaligned = || self.seen().is_some_and(Accessed::is_unaligned);
        if !self.options.speculation.aligned || zeros >= needed || is_seen_unaligned() {
            return zeros;
        }
        let low = self.op_with_int(LowOp::And, effective, (1 << needed) - 1);
        let bad = self.test_int(LowOp::Ne, low, 0);
        self.trap_if(bad, TrapKind::BailedOut(Assumption::Aligned));
        needed
    }
}
