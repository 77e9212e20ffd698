//! Pointers that are the same for all invocations of a launch, so that the host can say before it where they point.
//!
//! A kernel may take a pointer from memory, as captured variables and accessors are taken: the word at a constant distance
//! from a buffer's start, from a constant address, from a global's value, or from another such pointer. The translator
//! lists these [`Source`]s ([`translate_or_ask`](crate::translate_or_ask)); the host reads them as they are at the launch
//! and says in [`Shape::pointers`](crate::Shape::pointers) in which place each lies. The shader is given their values
//! ([`Input::Pointer`](crate::Input::Pointer)) and accesses that place alone, by offset and with a check, where it would
//! otherwise compare each address with every place. The place is part of the shape, the value is not: a pointer that moves
//! within its buffer takes the same shader.
//!
//! All of this holds while no invocation writes what the pointers are read from. For buffers the translator sees to that:
//! a pointer whose word a store could reach is read and told apart when the kernel runs. Linear memory is one place with
//! room for both pointers and results, so the host compares where they are with what the launch can store
//! ([`LinearReach::spares`](crate::LinearReach::spares)). Both may take for granted that the pointers are what they are at
//! the launch: until the first store that meets one, they are.

use serde::{Deserialize, Serialize};

use crate::options::LINEAR;

/// What a pointer is counted from that is read from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Base {
    /// Nothing: the address is a constant, of linear memory.
    Number,
    /// The start of the buffer in this slot.
    Buffer(u32),
    /// The pointer with this number, which is less than its own.
    Pointer(u32),
}

/// Where a pointer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The value of this global at the launch.
    Global(u32),
    /// A word of memory. Its address is `from + plus` modulo 2^32, and `offset` beyond, without wrapping around.
    Loaded {
        /// What the address is counted from.
        from: Base,
        /// How far, in bytes.
        plus: u32,
        /// The offset that the load itself adds.
        offset: u32,
    },
}

/// What a pointer points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Target {
    /// The slot of a buffer, or [`LINEAR`].
    pub place: u32,
    /// Whether it is a multiple of four.
    pub word_aligned: bool,
}

/// A pointer, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Pointer {
    /// Where it comes from.
    pub source: Source,
    /// `None`: it points into no place, can't be read, or nothing is known. Then it is told apart when the kernel runs.
    pub target: Option<Target>,
}

/// The place that a pointer is read from; `None` if that is not known, or for a global.
pub fn place_read(pointers: &[Pointer], source: Source) -> Option<u32> {
    match source {
        Source::Global(_) => None,
        Source::Loaded { from: Base::Number, .. } => Some(LINEAR),
        Source::Loaded { from: Base::Buffer(slot), .. } => Some(slot),
        Source::Loaded { from: Base::Pointer(parent), .. } => {
            pointers.get(parent as usize)?.target.map(|target| target.place)
        }
    }
}

/// Forgets what is known of pointers that are read from a place that `lost` names, and of those that are counted from such.
/// Whether there were any.
pub fn forget(pointers: &mut [Pointer], mut lost: impl FnMut(u32) -> bool) -> bool {
    let mut any = false;
    for index in 0..pointers.len() {
        let Pointer { source, target: Some(_) } = pointers[index] else { continue };
        let stays = match (source, place_read(pointers, source)) {
            (Source::Global(_), _) => true,
            (_, Some(place)) => !lost(place),
            (_, None) => false,
        };
        if !stays {
            pointers[index].target = None;
            any = true;
        }
    }
    any
}

/// Where a launch's memory lies, and what is in it before the launch.
pub trait LaunchMemory {
    /// The value of an `i32` global.
    fn global(&mut self, global: u32) -> Option<u32>;
    /// Address and size in bytes of a place: a slot, or [`LINEAR`]; `None` if there is no such place.
    fn range(&mut self, place: u32) -> Option<(u32, u32)>;
    /// The word at an offset of a place, which has so many bytes; `None` if it can't be known cheaply.
    fn word(&mut self, place: u32, offset: u32) -> Option<u32>;
}

/// The pointers of a launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What [`Shape::pointers`](crate::Shape::pointers) is to be.
    pub pointers: Vec<Pointer>,
    /// The values, 0 where nothing is known: what [`Input::Pointer`](crate::Input::Pointer) is to be, by number.
    pub values: Vec<u32>,
    /// The addresses of words of linear memory that known pointers are read from, by number.
    words: Vec<Option<u32>>,
}

impl Resolved {
    /// Reads the pointers that were asked for, and finds what they point into.
    pub fn new(sources: &[Source], slots: u32, memory: &mut impl LaunchMemory) -> Resolved {
        let mut resolved = Resolved::default();
        for source in sources {
            let (value, word) = match resolved.read(*source, memory) {
                Some((value, word)) => (Some(value), word),
                None => (None, None),
            };
            let place = value.and_then(|value| place_of(value, slots, memory));
            let place = place.zip(value).filter(|(place, value)| !looks_negative(*place, *value, memory)).map(|p| p.0);
            let target = place.zip(value).map(|(place, value)| Target { place, word_aligned: value % 4 == 0 });
            resolved.pointers.push(Pointer { source: *source, target });
            resolved.values.push(value.unwrap_or(0));
            resolved.words.push(word);
        }
        resolved
    }

    /// The value, and its address where it is read from linear memory.
    fn read(&self, source: Source, memory: &mut impl LaunchMemory) -> Option<(u32, Option<u32>)> {
        let Source::Loaded { from, plus, offset } = source else {
            let Source::Global(global) = source else { return None };
            return Some((memory.global(global)?, None));
        };
        let place = place_read(&self.pointers, source)?;
        let (start, size) = memory.range(place)?;
        let base = match from {
            Base::Number => 0,
            Base::Buffer(_) => start,
            Base::Pointer(parent) => *self.values.get(parent as usize)?,
        };
        let address = base.wrapping_add(plus).checked_add(offset)?;
        let at = address.checked_sub(start).filter(|at| at.checked_add(4).is_some_and(|end| end <= size))?;
        Some((memory.word(place, at)?, (place == LINEAR).then_some(address)))
    }

    /// Whether something is known of any pointer.
    pub fn any(&self) -> bool {
        self.pointers.iter().any(|pointer| pointer.target.is_some())
    }

    /// The addresses of the words of linear memory that must stay as they are.
    pub fn linear_words(&self) -> Vec<u32> {
        let known = self.pointers.iter().zip(&self.words).filter(|(pointer, _)| pointer.target.is_some());
        known.filter_map(|(_, word)| *word).collect()
    }

    /// Forgets what depends on linear memory.
    pub fn forget_linear(&mut self) {
        forget(&mut self.pointers, |place| place == LINEAR);
    }
}

/// Numbers from this on are small negative ones rather than pointers, unless a buffer starts there.
const FIRST_NEGATIVE: u32 = 0xffff_0000;

/// Whether what lies in a place is probably an index after all, which a kernel adds to a constant address.
fn looks_negative(place: u32, value: u32, memory: &mut impl LaunchMemory) -> bool {
    value >= FIRST_NEGATIVE && memory.range(place).is_none_or(|(start, _)| start != value)
}

/// The place that an address lies in.
fn place_of(address: u32, slots: u32, memory: &mut impl LaunchMemory) -> Option<u32> {
    let mut places = (0..slots).chain([LINEAR]);
    places.find(|place| {
        memory.range(*place).is_some_and(|(start, size)| address.checked_sub(start).is_some_and(|at| at < size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_from_a_forgotten_pointer_is_forgotten_too() {
        let loaded = |from| Source::Loaded { from, plus: 0, offset: 8 };
        let sources = [Source::Global(1), loaded(Base::Buffer(0)), loaded(Base::Pointer(1)), loaded(Base::Number)];
        let target = Some(Target { place: 2, word_aligned: true });
        let all: Vec<Pointer> = sources.into_iter().map(|source| Pointer { source, target }).collect();
        let left = |lost: u32| {
            let mut pointers = all.clone();
            let any = forget(&mut pointers, |place| place == lost);
            assert_eq!(any, pointers != all);
            pointers.iter().map(|p| p.target.is_some()).collect::<Vec<_>>()
        };
        assert_eq!(left(0), [true, false, false, true]);
        assert_eq!(left(2), [true, true, false, true]);
        assert_eq!(left(LINEAR), [true, true, true, false]);
        assert_eq!(left(7), [true; 4]);
    }
}
