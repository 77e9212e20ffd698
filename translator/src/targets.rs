//! Which functions indirect calls come to, where not all that they could come to by type can be lifted.
//!
//! A table holds all functions of a module whose address is taken, formatting code that recurses beside the methods of a
//! trait object. So the kernel is lifted as if its indirect calls came to nothing, and it is found out which entries they
//! have ([`entries`]); it is lifted again with those, until none comes in anew. Then the kernel does what it would do with
//! all functions: up to the first call that came to another, both do the same, and so there is none.

mod assumed;
mod flags;
mod rehearsed;

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::entries::{Found, entries};
use crate::error::{Error, Location, Result};
use crate::module::Module;
use crate::on_deep_stack;
use crate::options::{Options, Shape};
use crate::simplified::{Simplified, simplified_calling, simplified_or_ask};
use crate::speculation::Assumption;

pub(crate) use assumed::{assume, guess};
pub(crate) use rehearsed::rehearsed;

/// Most times that a kernel is lifted: each finds calls behind those found before, or entries more.
const MAX_ROUNDS: u32 = 40;

/// Most operators that all rounds together lift: a kernel that needs more runs on the CPU, rather than be waited for.
const MAX_LIFTED: u32 = 100_000;

/// What indirect calls may come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    /// The entries of each call, one that is not there having none; `None`: all calls come to anything.
    known: Option<BTreeMap<Location, BTreeSet<u32>>>,
    /// Whether what else they may come to is still to be found out.
    open: bool,
    /// That calls come to nothing else, and to functions that can be lifted, is assumed so.
    assumed: Option<Assumption>,
    /// Whether what a call comes to is the same wherever its function is lifted.
    everywhere: bool,
}

impl Targets {
    /// Those that calls were seen to come to: others bail out.
    fn seen(entries: &BTreeMap<Location, BTreeSet<u32>>) -> Targets {
        let (known, assumed) = (Some(entries.clone()), Some(Assumption::Callees));
        Targets { known, open: false, assumed, everywhere: true }
    }

    /// Whether functions may be kept once.
    pub fn may_share(&self) -> bool {
        !self.open && (self.everywhere || self.assumed.is_none())
    }

    /// All that can be lifted: calls of other functions bail out.
    fn assumed() -> Targets {
        Targets { assumed: Some(Assumption::Callees), ..Targets::default() }
    }

    /// Where these are assumed, as what: calls of other functions, and of those that can't be lifted, bail out.
    pub fn assumption(&self) -> Option<Assumption> {
        self.assumed
    }

    /// The entries that a call comes to; `None`: any.
    pub fn of(&self, call: Location) -> Option<&BTreeSet<u32>> {
        const NONE: &BTreeSet<u32> = &BTreeSet::new();
        self.known.as_ref().map(|known| known.get(&call).unwrap_or(NONE))
    }

    /// Whether calls stay in the code that come to something else.
    pub fn are_open(&self) -> bool {
        self.open
    }

    /// Adds entries; whether there were new ones.
    fn add(&mut self, call: Location, entries: impl IntoIterator<Item = u32>) -> bool {
        let known = self.known.get_or_insert_default().entry(call).or_default();
        let before = known.len();
        known.extend(entries);
        known.len() > before
    }
}

/// A kernel of which is known what its indirect calls come to.
pub(crate) enum Narrowed {
    Kernel(Box<Simplified>),
    /// Addresses of words that must be known first, and why the kernel is refused without them.
    Asks(Vec<u32>, Error),
}

/// The kernel with what its indirect calls come to, though it was refused with all that they could come to. `guess`: what they come
/// to is guessed where it can't be known (see [`assumed`]), and other calls bail out.
///
/// # Errors
/// Why it was refused, where that can't be helped.
pub(crate) fn narrow(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    refused: Error,
    guess: bool,
) -> Result<Narrowed> {
    let shared = module.memories().first().is_some_and(|memory| memory.shared || memory.memory64);
    if shared || module.tables_reached(function).is_empty() {
        return Err(refused);
    }
    // What no element can be found by has no entry: such calls trap beyond the table.
    let size = shape.environment.tables.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let assumed = guess.then_some(Assumption::Methods);
    let mut targets = Targets { known: Some(BTreeMap::new()), open: true, assumed, everywhere: false };
    let mut left = MAX_LIFTED;
    for _ in 0..MAX_ROUNDS {
        let Ok(lifted) = simplified_calling(module, function, shape, options, &targets) else { return Err(refused) };
        left = match left.checked_sub(lifted.operators) {
            Some(left) => left,
            None => return Err(refused),
        };
        let found = match entries(&lifted.kernel, shape, lifted.frames.stack_pointer, guess.then_some(module)) {
            Found::Asks(words) => return Ok(Narrowed::Asks(words, refused)),
            Found::Entries(found) => found,
        };
        let mut any = false;
        for (call, entries) in found {
            any |= match entries {
                Some(entries) => targets.add(call, entries.into_iter().filter(|entry| *entry < size)),
                None if guess => false,
                None => targets.add(call, 0..size),
            };
        }
        if !any {
            targets.open = false;
            return simplified_calling(module, function, shape, options, &targets)
                .map(|kernel| Narrowed::Kernel(Box::new(kernel)));
        }
    }
    Err(refused)
}

/// The shape of a launch by a new instance with distinct read_write buffers, with the words of memory that functions are
/// found by.
pub fn initial_shape(module: &Module, function: u32, options: &Options) -> Shape {
    let mut shape = Shape::initial(module, function);
    shape.environment.initial = Some(Vec::new());
    loop {
        let addresses = on_deep_stack(options, || match simplified_or_ask(module, function, &shape, options)? {
            Narrowed::Asks(addresses, _) => Ok(addresses),
            Narrowed::Kernel(_) => Ok(Vec::new()),
        });
        // Why it can't be lifted, lifting says again.
        let Some(addresses) = addresses.ok().filter(|addresses| !addresses.is_empty()) else { return shape };
        let word = |address: u32| (address, module.initial_word(address));
        shape.environment.know_words(addresses.into_iter().map(word));
    }
}
