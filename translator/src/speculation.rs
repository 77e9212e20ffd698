//! What a speculative form of a kernel assumes.
//!
//! Some kernels can be lifted, or compiled by a driver in bearable time, only if what holds in all sane programs may be
//! taken for granted. A speculative form does so, but it *checks* each assumption where it is used, before anything
//! depends on it, and ends the invocation in [`TrapKind::BailedOut`](crate::TrapKind::BailedOut) where one does not hold. A
//! launch in which any invocation bailed out has no meaning: the host undoes what it wrote and runs it in another way.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that a speculative form takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Assumption {
    /// An access of the stack at a computed address meets no variable that became a value.
    Slots,
    /// An access of one of several places is aligned.
    Aligned,
    /// Recursion is no deeper than it was unrolled.
    Recursion,
    /// `memcpy` copies no block upwards into itself.
    Apart,
    /// Indirect calls come to functions that can be lifted.
    Callees,
    /// Methods are those of objects that the kernel makes.
    Methods,
    /// An access meets those of several places that it was seen to meet.
    Places,
    /// No call and no access is reached that was not seen to be.
    Paths,
    /// Arrays of a length that is not known before the kernel runs fit into the private stack. All forms of kernels that have such
    /// assume it: of a small stack, or else of a larger one.
    Frames,
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Assumption::Slots => "computed addresses of the stack meet arrays and structures only",
            Assumption::Aligned => "loaded pointers are aligned",
            Assumption::Recursion => "recursion is shallow",
            Assumption::Apart => "what is copied lies apart from where it goes",
            Assumption::Callees => "indirect calls come to functions that can be lifted",
            Assumption::Methods => "methods are those of objects that the kernel makes",
            Assumption::Places => "accesses are of buffers that a few iterations met there",
            Assumption::Paths => "only those calls and accesses are reached that a few iterations reached",
            Assumption::Frames => "arrays of variable length are short",
        })
    }
}

/// Which assumptions a form makes; the default is none, which is the exact form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Speculation {
    /// [`Assumption::Slots`]
    pub slots: bool,
    /// [`Assumption::Aligned`]
    pub aligned: bool,
    /// [`Assumption::Recursion`]
    pub recursion: bool,
    /// [`Assumption::Apart`]
    pub apart: bool,
    /// [`Assumption::Callees`]
    pub callees: bool,
    /// [`Assumption::Methods`]
    pub methods: bool,
    /// [`Assumption::Places`]
    pub places: bool,
    /// [`Assumption::Paths`]
    pub paths: bool,
    /// [`Assumption::Frames`], with a small stack: it is made of a larger one where this is `false`.
    pub frames: bool,
}

impl Speculation {
    /// The exact form.
    pub const NONE: Speculation = Speculation::all(false);
    /// All assumptions.
    pub const ALL: Speculation = Speculation::all(true);

    const fn all(made: bool) -> Speculation {
        Speculation {
            slots: made,
            aligned: made,
            recursion: made,
            apart: made,
            callees: made,
            methods: made,
            places: made,
            paths: made,
            frames: made,
        }
    }

    /// Whether it assumes anything.
    pub fn any(self) -> bool {
        self != Speculation::NONE
    }

    /// The assumptions.
    pub fn assumptions(self) -> Vec<Assumption> {
        let all = [
            (self.slots, Assumption::Slots),
            (self.aligned, Assumption::Aligned),
            (self.recursion, Assumption::Recursion),
            (self.apart, Assumption::Apart),
            (self.callees, Assumption::Callees),
            (self.methods, Assumption::Methods),
            (self.places, Assumption::Places),
            (self.paths, Assumption::Paths),
            (self.frames, Assumption::Frames),
        ];
        all.into_iter().filter(|(made, _)| *made).map(|(_, assumption)| assumption).collect()
    }

    /// The form that makes these assumptions.
    pub fn of(assumptions: impl IntoIterator<Item = Assumption>) -> Speculation {
        let mut form = Speculation::NONE;
        assumptions.into_iter().for_each(|assumption| *form.makes(assumption) = true);
        form
    }

    /// The same without one assumption.
    pub fn without(mut self, assumption: Assumption) -> Speculation {
        *self.makes(assumption) = false;
        self
    }

    fn makes(&mut self, assumption: Assumption) -> &mut bool {
        match assumption {
            Assumption::Slots => &mut self.slots,
            Assumption::Aligned => &mut self.aligned,
            Assumption::Recursion => &mut self.recursion,
            Assumption::Apart => &mut self.apart,
            Assumption::Callees => &mut self.callees,
            Assumption::Methods => &mut self.methods,
            Assumption::Places => &mut self.places,
            Assumption::Paths => &mut self.paths,
            Assumption::Frames => &mut self.frames,
        }
    }
}

/// When kernels are lifted in a speculative form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Speculate {
    /// Where the exact form is refused, or so large that drivers take long to compile it, and the speculative one is
    /// smaller.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Wherever an assumption saves anything. For tests.
    Always,
}

/// Of the accesses that a device's driver compiles in bearable time ([`Options::max_accesses`](crate::Options)), one in so
/// many makes a kernel large. On lavapipe that is 400 accesses, which take it about two seconds.
const LARGE_PART: u32 = 5;

/// Whether an exact form of so many accesses is large enough to look for a smaller one.
pub fn is_large(accesses: u32, options: &crate::Options) -> bool {
    accesses > options.max_accesses / LARGE_PART
}

/// Whether a speculative form of so many accesses is worth its risk in place of an exact one: it saves a quarter.
pub fn is_worth(speculative: u32, exact: u32) -> bool {
    u64::from(speculative) * 4 <= u64::from(exact) * 3
}

/// The assumptions, as what follows "assuming that".
pub fn list(assumptions: impl IntoIterator<Item = Assumption>) -> String {
    let texts: Vec<String> = assumptions.into_iter().map(|assumption| assumption.to_string()).collect();
    match texts.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
