//! Linear combinations of the buffers' addresses, the stack pointer and the shape's pointers.

use super::Fact;
use super::sets::RootSet;
use crate::hash::HashMap;

/// The stack pointer's number among the bases of combinations; slots have lower ones.
pub const STACK: u32 = u32::MAX;

/// The number of the first of the shape's pointers among the bases. Its address is that of the buffer which it points into:
/// sums with one are told from those with the buffer's own pointer, for it may as well be a number that looks like one.
pub(super) const POINTERS: u32 = 1 << 31;

/// A base (a slot, a pointer of the shape, or [`STACK`]) and how often its address is in the sum, modulo 2^32 (never 0).
pub type Term = (u32, u32);

/// Sums of more bases than this are no exact combinations, so that time stays linear.
const MAX_TERMS: usize = 8;

/// Combinations by number, equal ones once; number 0 is the empty one.
#[derive(Debug)]
pub(super) struct Combinations {
    list: Vec<Vec<Term>>,
    ids: HashMap<Vec<Term>, u32>,
    /// For each pointer of the shape the slot that it points into, and where it may point.
    pub(super) pointers: Vec<(Option<u32>, RootSet)>,
}

impl Combinations {
    pub(super) fn new() -> Self {
        Combinations { list: vec![Vec::new()], ids: HashMap::from_iter([(Vec::new(), 0)]), pointers: Vec::new() }
    }

    /// The combination that a pointer of the shape is.
    pub(super) fn pointer(&mut self, number: u32) -> Fact {
        Fact::Exact(self.intern(vec![(POINTERS + number, 1)]))
    }

    pub(super) fn is_pointer(base: u32) -> bool {
        (POINTERS..STACK).contains(&base)
    }

    /// The slot whose buffer's address a base has.
    pub(super) fn slot(&self, base: u32) -> Option<u32> {
        match base {
            STACK => None,
            pointer @ POINTERS.. => self.pointers.get((pointer - POINTERS) as usize).and_then(|(slot, _)| *slot),
            slot => Some(slot),
        }
    }

    pub(super) fn root(&self, base: u32) -> RootSet {
        match base {
            STACK => RootSet { certain: true, ..RootSet::STACK },
            pointer @ POINTERS.. => {
                self.pointers.get((pointer - POINTERS) as usize).map_or(RootSet::LOADED, |(_, set)| *set)
            }
            slot => RootSet { certain: true, ..RootSet::slot(slot) },
        }
    }

    /// The places whose addresses are in a sum. One of the shape's pointers and others may be a difference, and so a number:
    /// an index into anything.
    pub(super) fn provenance(&self, terms: &[Term]) -> RootSet {
        let mut all = RootSet::default();
        for (base, coefficient) in terms {
            let mut root = self.root(*base);
            // What is scaled is no pointer. What is taken off may be one, or an index: which of the two the host can tell.
            root.pointers *= u64::from([1, u32::MAX].contains(coefficient));
            let alone = terms.len() == 1 && *coefficient == 1;
            all = all.with(root).with(if Self::is_pointer(*base) && !alone { RootSet::LOADED } else { root });
        }
        all
    }

    /// Whether all bases, of which there are some, are pointers of the shape: without the host's knowledge it would be a
    /// number that was loaded.
    pub(super) fn is_loaded(&self, id: u32) -> bool {
        id != 0 && self.terms(id).iter().all(|(base, _)| Self::is_pointer(*base))
    }

    /// Whether no base is a pointer of the shape.
    pub(super) fn is_certain(&self, id: u32) -> bool {
        self.terms(id).iter().all(|(base, _)| !Self::is_pointer(*base))
    }

    pub(super) fn terms(&self, id: u32) -> &[Term] {
        &self.list[id as usize]
    }

    /// `a + factor * b`
    pub(super) fn sum(&mut self, a: u32, b: u32, factor: u32) -> Fact {
        if b == 0 || factor == 0 {
            return Fact::Exact(a);
        }
        let mut terms = self.terms(a).to_vec();
        for &(base, coefficient) in self.terms(b) {
            let added = coefficient.wrapping_mul(factor);
            match terms.binary_search_by_key(&base, |t| t.0) {
                Ok(at) => terms[at].1 = terms[at].1.wrapping_add(added),
                Err(at) => terms.insert(at, (base, added)),
            }
        }
        terms.retain(|t| t.1 != 0);
        if terms.len() > MAX_TERMS { Fact::among(self.provenance(&terms)) } else { Fact::Exact(self.intern(terms)) }
    }

    pub(super) fn intern(&mut self, terms: Vec<Term>) -> u32 {
        if let Some(id) = self.ids.get(&terms) {
            return *id;
        }
        let id = self.list.len() as u32;
        self.list.push(terms.clone());
        self.ids.insert(terms, id);
        id
    }
}
