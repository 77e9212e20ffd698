//! What the accesses of a kernel's code were seen to do, by which speculative forms are lifted.
//!
//! It is no more than a guess at what they will do: all that a form takes from it, it checks where it runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::analysis::frames::Span;
use crate::error::Location;
use crate::options::LINEAR;

/// Addresses so few bytes below the stack pointer may be of the private stack. It is no larger.
pub(crate) const NEAR: u64 = 256 << 10;
/// Most spans of the stack that are told apart for one access.
const MOST_SPANS: usize = 64;
/// Most slots that are told apart for one access.
const MOST_SLOTS: usize = 8;

/// Most chains of calls that are told apart.
const MOST_CHAINS: usize = 4000;

/// Most calls of a chain.
const LONGEST_CHAIN: usize = 64;

/// Functions in the midst of each other, outermost first and without the kernel, each with the distance at which its frame
/// begins.
pub(crate) type Chain = Vec<(u32, i64)>;

/// What one access did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Noted {
    /// The slots that it met, ascending; [`LINEAR`] for linear memory where that can't be the private stack.
    slots: Vec<u32>,
    /// Whether there were more than these.
    any_slot: bool,
    /// Bytes below the stack pointer that it met: in whose frame, by the number of its chain, and the distance.
    near: Vec<(u32, Span)>,
    /// Whether it was once at an address that is no multiple of its size, or of four.
    unaligned: bool,
}

/// What was seen of a kernel's accesses, by their place in the code: of those that ran at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    /// The global that was taken for the stack pointer.
    stack_pointer: Option<u32>,
    chains: Vec<Chain>,
    /// Loads and stores each by themselves: an operator may do both.
    accesses: BTreeMap<(Location, bool), Noted>,
    /// The calls that were reached, and the operators that access memory.
    reached: BTreeSet<Location>,
    /// The entries of tables that indirect calls had.
    entries: BTreeMap<Location, BTreeSet<u32>>,
    /// How many calls of one function were in the midst of each other, at the most.
    recursion: usize,
    /// Whether an invocation was not rehearsed to its end: what it would have reached is not known.
    cut_short: bool,
    /// The least distance from the stack pointer of a byte that one invocation stored to and another met. One of linear memory
    /// that can't be the private stack counts as the least there is.
    shared: Option<i64>,
    /// Which invocations were seen at each operator that stores to linear memory.
    storing: BTreeMap<Location, Storing>,
    /// The operators that stored what another invocation had stored there, with the least distance of such a byte.
    alike: BTreeMap<Location, i64>,
}

/// Which invocations were at an operator that stores to linear memory, or the private stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Storing {
    first: u32,
    /// Whether there were others.
    others: bool,
    /// See [`Seen::shared`].
    least: i64,
}

impl Seen {
    /// Nothing yet.
    pub(crate) fn new(stack_pointer: Option<u32>) -> Seen {
        Seen { stack_pointer, chains: vec![Chain::new()], ..Seen::default() }
    }

    /// Takes note that a call, or an operator that accesses memory, was reached; says whether that is news.
    pub(crate) fn note_reached(&mut self, at: Location) -> bool {
        self.reached.insert(at)
    }

    /// Takes note of the entry of a table that an indirect call has; says whether that is news.
    pub(crate) fn note_entry(&mut self, at: Location, entry: u32) -> bool {
        self.entries.entry(at).or_default().insert(entry)
    }

    /// The entries of tables that indirect calls had.
    pub(crate) fn entries(&self) -> &BTreeMap<Location, BTreeSet<u32>> {
        &self.entries
    }

    /// Takes note that so many calls of one function are in the midst of each other; says whether that is news.
    pub(crate) fn note_recursion(&mut self, calls: usize) -> bool {
        let before = self.recursion;
        self.recursion = before.max(calls);
        calls > before
    }

    /// How many calls of one function were in the midst of each other, at the most.
    pub(crate) fn recursion(&self) -> usize {
        self.recursion
    }

    /// Takes note that an invocation was not rehearsed to its end.
    pub(crate) fn note_cut_short(&mut self) {
        self.cut_short = true;
    }

    /// Takes note that an invocation stores to a byte of linear memory at this distance from the stack pointer.
    pub(crate) fn note_storing(&mut self, at: Location, invocation: u32, distance: i64) {
        let new = Storing { first: invocation, others: false, least: distance };
        let known = self.storing.entry(at).or_insert(new);
        known.others |= known.first != invocation;
        known.least = known.least.min(distance);
    }

    /// Takes note of a byte at this distance that one invocation stored to and another met.
    pub(crate) fn note_shared(&mut self, distance: i64) {
        self.shared = Some(self.shared.map_or(distance, |known| known.min(distance)));
    }

    /// Takes note that an invocation stores to a byte at this distance what another one stored to it.
    pub(crate) fn note_alike(&mut self, at: Location, distance: i64) {
        let known = self.alike.entry(at).or_insert(distance);
        *known = distance.min(*known);
    }

    /// Whether an invocation met what another one stored to linear memory that can't be the private stack, or that is not known.
    pub(crate) fn shares_linear_memory(&self) -> bool {
        self.shared == Some(i64::MIN)
    }

    /// Whether no invocation met what another one stored to linear memory, where the private stack has so many bytes. Each store
    /// must have been reached by two at least: how else would they have met? Those of `flags` store the same whoever makes them, which
    /// others may not have loaded.
    pub(crate) fn keeps_stores_apart(&self, stack_bytes: u32, flags: &BTreeSet<Location>) -> bool {
        let is_linear = |distance: i64| distance < -i64::from(stack_bytes);
        let is_alone =
            |(at, storing): (&Location, &Storing)| !storing.others && is_linear(storing.least) && !flags.contains(at);
        let meets = |(at, least): (&Location, &i64)| is_linear(*least) && !flags.contains(at);
        !self.shared.is_some_and(is_linear) && !self.storing.iter().any(is_alone) && !self.alike.iter().any(meets)
    }

    /// Whether a call, or an operator that accesses memory, was reached.
    pub(crate) fn has_reached(&self, at: Location) -> bool {
        self.reached.contains(&at)
    }

    /// Whether each invocation that was rehearsed came to its end: only then something may be made of what none reached.
    pub fn is_whole(&self) -> bool {
        !self.cut_short
    }

    /// See the field.
    pub(crate) fn stack_pointer(&self) -> Option<u32> {
        self.stack_pointer
    }

    /// Takes note of an access in a slot, by its place in the code and whether it stores; says whether that is news.
    pub(crate) fn note_slot(&mut self, at: (Location, bool), slot: u32, aligned: bool) -> bool {
        let noted = self.accesses.entry(at).or_default();
        let mut news = noted.note_alignment(aligned);
        if let Err(place) = noted.slots.binary_search(&slot) {
            news |= !noted.any_slot;
            match noted.slots.len() {
                MOST_SLOTS => noted.any_slot = true,
                _ => noted.slots.insert(place, slot),
            }
        }
        news
    }

    /// Takes note of an access of these bytes below the stack pointer, in a frame of this chain; says whether that is news.
    pub(crate) fn note_near(&mut self, at: (Location, bool), chain: u32, span: Span, aligned: bool) -> bool {
        let noted = self.accesses.entry(at).or_default();
        noted.note_alignment(aligned) | note_span(&mut noted.near, chain, span)
    }

    /// The numbers of the chains that are known.
    pub(crate) fn chains(&self) -> HashMap<Chain, u32> {
        self.chains.iter().cloned().zip(0..).collect()
    }

    /// The number of a chain, where these are known. What is too long, or one too many, counts as none: the kernel's own frame. In
    /// forms with all functions inlined that is the same.
    pub(crate) fn chain(&mut self, known: &mut HashMap<Chain, u32>, frame: &[(u32, i64)]) -> u32 {
        if let Some(chain) = known.get(frame) {
            return *chain;
        }
        if self.chains.len() >= MOST_CHAINS || frame.len() > LONGEST_CHAIN {
            return 0;
        }
        let chain = self.chains.len() as u32;
        self.chains.push(frame.to_vec());
        known.insert(frame.to_vec(), chain);
        chain
    }

    /// What was seen, as it is in a form of the kernel with this stack pointer.
    pub(crate) fn in_form(&self, stack_pointer: Option<u32>, frames: &BTreeMap<u32, Option<i64>>) -> Observed {
        let same = stack_pointer.is_none() || self.stack_pointer == stack_pointer;
        // How far each chain's frame lies from where it was.
        let shift = |chain: &Chain| {
            let kept = chain.iter().rev().find_map(|(function, was)| Some((frames.get(function)?, was)));
            kept.map_or(Some(0), |(is, was)| is.map(|is| is - was)).filter(|_| same)
        };
        let shifts: Vec<Option<i64>> = self.chains.iter().map(shift).collect();
        let accesses = self.accesses.iter().map(|(at, noted)| (*at, noted.shifted(&shifts)));
        Observed { accesses: accesses.collect() }
    }
}

impl Noted {
    fn note_alignment(&mut self, aligned: bool) -> bool {
        !aligned && !std::mem::replace(&mut self.unaligned, true)
    }

    fn shifted(&self, shifts: &[Option<i64>]) -> Accessed {
        let Noted { slots, any_slot, near, unaligned } = self.clone();
        let mut accessed = Accessed { slots, any_slot, near: Vec::new(), anywhere_near: false, unaligned };
        for (chain, (first, end)) in near {
            match shifts.get(chain as usize).copied().flatten() {
                Some(shift) => accessed.near.push((first + shift, end + shift)),
                None => accessed.anywhere_near = true,
            }
        }
        accessed
    }
}

/// Adds a span of a chain's frame to what was seen; says whether that is news.
fn note_span(near: &mut Vec<(u32, Span)>, chain: u32, (first, end): Span) -> bool {
    if near.iter().any(|(known, span)| *known == chain && span.0 <= first && end <= span.1) {
        return false;
    }
    let (mut spans, others): (Vec<_>, Vec<_>) = near.iter().copied().partition(|(known, _)| *known == chain);
    spans.push((chain, (first, end)));
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for (_, span) in spans {
        match merged.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => merged.push(span),
        }
    }
    if merged.len() > MOST_SPANS {
        let narrowest = (1..merged.len()).min_by_key(|next| merged[*next].0 - merged[next - 1].1).unwrap_or(1);
        let (_, end) = merged.remove(narrowest);
        merged[narrowest - 1].1 = end;
    }
    *near = others;
    near.extend(merged.into_iter().map(|span| (chain, span)));
    true
}

/// What accesses were seen to do, with distances as they are in one form of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    accesses: BTreeMap<(Location, bool), Accessed>,
}

/// What one access did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accessed {
    slots: Vec<u32>,
    any_slot: bool,
    /// Bytes below the stack pointer.
    near: Vec<Span>,
    /// Whether it met others, of which it is not known where they lie in this form.
    anywhere_near: bool,
    unaligned: bool,
}

impl Observed {
    /// What the load or store at a place in the code did, if it ran.
    pub fn of(&self, at: Location, stores: bool) -> Option<&Accessed> {
        self.accesses.get(&(at, stores))
    }
}

impl Accessed {
    /// Whether it met a slot, where the private stack has so many bytes and the rest is linear memory.
    pub fn met_slot(&self, slot: u32, stack_bytes: u32) -> bool {
        let below = || self.anywhere_near || self.near.iter().any(|(first, _)| *first < -i64::from(stack_bytes));
        self.any_slot || self.slots.binary_search(&slot).is_ok() || (slot == LINEAR && below())
    }

    /// Whether it met the private stack, of so many bytes.
    pub fn met_stack(&self, stack_bytes: u32) -> bool {
        self.anywhere_near || self.near.iter().any(|(first, _)| *first >= -i64::from(stack_bytes))
    }

    /// How many places it met, of which the private stack has so many bytes.
    pub fn count(&self, stack_bytes: u32) -> u32 {
        let linear = self.met_slot(LINEAR, stack_bytes) && !self.slots.contains(&LINEAR);
        match self.any_slot {
            true => u32::MAX,
            false => self.slots.len() as u32 + u32::from(linear) + u32::from(self.met_stack(stack_bytes)),
        }
    }

    /// The bytes below the stack pointer that it met, by distance, as far as that is known.
    pub fn near(&self) -> &[Span] {
        &self.near
    }

    /// Whether all bytes below the stack pointer that it met are known in this form.
    pub fn places_known(&self) -> bool {
        !self.anywhere_near
    }

    /// Whether it was ever at an address that is not aligned.
    pub fn is_unaligned(&self) -> bool {
        self.unaligned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Location = Location { function: 1, offset: 2 };
    const AT: (Location, bool) = (PLACE, true);

    fn observed(seen: &Seen, frames: &[(u32, Option<i64>)]) -> Accessed {
        seen.in_form(Some(0), &frames.iter().copied().collect()).of(PLACE, true).unwrap().clone()
    }

    #[test]
    fn spans_are_merged_and_few() {
        let mut seen = Seen::new(Some(0));
        assert!(seen.note_near(AT, 0, (-64, -60), true));
        assert!(!seen.note_near(AT, 0, (-63, -61), true));
        assert!(seen.note_near(AT, 0, (-60, -56), true));
        assert_eq!(observed(&seen, &[]).near(), [(-64, -56)]);
        for number in 0..100 {
            seen.note_near(AT, 0, (-40_000 + 100 * number, -39_999 + 100 * number), true);
        }
        let accessed = observed(&seen, &[]);
        let near = accessed.near();
        assert_eq!((near.len(), near[0].0, near.last().unwrap().1), (MOST_SPANS, -40_000, -56));
        assert!(!accessed.is_unaligned());
        assert!(seen.note_near(AT, 0, (-64, -60), false) && !seen.note_near(AT, 0, (-64, -60), false));
        assert!(observed(&seen, &[]).is_unaligned());
    }

    #[test]
    fn what_lies_below_the_private_stack_is_linear_memory() {
        let mut seen = Seen::new(Some(0));
        seen.note_slot(AT, 3, true);
        seen.note_near(AT, 0, (-64, -60), true);
        let accessed = observed(&seen, &[]);
        assert!(accessed.met_stack(64) && !accessed.met_stack(48));
        assert!(accessed.met_slot(LINEAR, 48) && !accessed.met_slot(LINEAR, 64));
        assert!(accessed.met_slot(3, 0) && !accessed.met_slot(2, 0));
        assert_eq!((accessed.count(64), accessed.count(48)), (2, 2));
        (0..20).for_each(|slot| _ = seen.note_slot(AT, slot, true));
        assert!(observed(&seen, &[]).met_slot(100, 0));
    }

    #[test]
    fn stores_are_apart_if_two_invocations_made_each() {
        let seen = |notes: &[(u32, i64)], shared: Option<i64>| {
            let mut seen = Seen::new(Some(0));
            notes.iter().for_each(|(invocation, distance)| seen.note_storing(PLACE, *invocation, *distance));
            shared.into_iter().for_each(|distance| seen.note_shared(distance));
            seen
        };
        let apart = |seen: &Seen, stack_bytes| seen.keeps_stores_apart(stack_bytes, &BTreeSet::new());
        assert!(apart(&seen(&[], None), 0));
        assert!(!apart(&seen(&[(3, i64::MIN), (3, i64::MIN)], None), 64));
        assert!(apart(&seen(&[(3, i64::MIN), (4, i64::MIN)], None), 64));
        assert!(!apart(&seen(&[(3, i64::MIN), (4, i64::MIN)], Some(i64::MIN)), 64));
        // What lies on the private stack is an invocation's own.
        let near = seen(&[(3, -48)], Some(-64));
        assert!(apart(&near, 64) && !apart(&near, 32));
        // One that stores a constant may be alone, and meet others that do.
        let flags = BTreeSet::from([PLACE]);
        let mut alike = seen(&[(3, i64::MIN)], None);
        assert!(!apart(&alike, 64) && alike.keeps_stores_apart(64, &flags));
        alike.note_storing(PLACE, 4, i64::MIN);
        alike.note_alike(PLACE, i64::MIN);
        assert!(!apart(&alike, 64) && alike.keeps_stores_apart(64, &flags));
        alike.note_shared(i64::MIN);
        assert!(!alike.keeps_stores_apart(64, &flags));
    }

    #[test]
    fn frames_are_where_a_form_has_them() {
        let mut seen = Seen::new(Some(0));
        let mut known = seen.chains();
        let chain = seen.chain(&mut known, &[(5, -32), (7, -48)]);
        assert_eq!([chain, seen.chain(&mut known, &[(5, -32), (7, -48)])], [1, 1]);
        assert_eq!(seen.chain(&mut known, &[(1, -16); LONGEST_CHAIN + 1]), 0);
        seen.note_near(AT, chain, (-64, -60), true);
        assert_eq!(observed(&seen, &[]).near(), [(-64, -60)]);
        assert_eq!(observed(&seen, &[(5, Some(-132))]).near(), [(-164, -160)]);
        assert_eq!(observed(&seen, &[(5, Some(-132)), (7, Some(-448))]).near(), [(-464, -460)]);
        let unplaced = observed(&seen, &[(7, None)]);
        assert!(unplaced.near().is_empty() && unplaced.met_stack(0) && unplaced.met_slot(LINEAR, 0));
        let other = seen.in_form(Some(1), &BTreeMap::new());
        assert!(other.of(PLACE, true).unwrap().near().is_empty());
    }
}
