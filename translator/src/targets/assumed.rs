//! Kernels of which it is assumed that their indirect calls come to functions that can be lifted: calls of others bail out.
//!
//! What is taken for granted must not be what makes a kernel one that calls the host. Such a one stores to linear memory on the way
//! there: `fprintf` adds to a file's buffer, which it gives to the host when that is full, and `malloc` divides a heap that grows when
//! it is used up. In a launch of many invocations at once, with the call itself rare enough to be never seen, they would lose each
//! other's bytes, where in the guest's own instance they run in order. So a kernel with stores to linear memory is left as it was,
//! unless these belong to what the calls come to otherwise, such as methods that change their object.
//!
//! Of most kernels that call methods through pointers to local objects it can't be proved which methods these are, since a
//! word that is loaded at an unknown place of the stack may be any that is stored there. But then an object's first word is the address
//! of a table of methods, a constant that the kernel stores somewhere, and so is a function that it passes on. So it is *guessed* that a
//! word loaded from an unknown place is one of those constants; calls of other functions than come out of that bail out.

use super::{Narrowed, Targets, narrow};
use crate::analysis::dataflow::regions;
use crate::analysis::roots::{Root, Roots, roots};
use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::{Exit, Function, RegionId, StmtKind, Value};
use crate::module::Module;
use crate::options::{LINEAR, Options, Shape};
use crate::seen::Observed;
use crate::simplified::{Simplified, simplified_calling};
use crate::speculation::Assumption;

/// The kernel where calls of functions that can't be lifted bail out.
///
/// # Errors
/// Why it was `refused`, where that can't be helped so.
pub(crate) fn assume(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    refused: Error,
) -> Result<Simplified> {
    if module.tables_reached(function).is_empty() {
        return Err(refused);
    }
    let Ok(lifted) = simplified_calling(module, function, shape, options, &Targets::assumed()) else {
        return Err(refused);
    };
    match writes_linear_memory(&lifted, shape, options) {
        true => Err(refused),
        false => Ok(lifted),
    }
}

/// The kernel where indirect calls come to what they are guessed to come to, and others bail out.
///
/// # Errors
/// Why it was `refused`, where that can't be helped so.
pub(crate) fn guess(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    refused: Error,
) -> Result<Narrowed> {
    match narrow(module, function, shape, options, refused.clone(), true) {
        Ok(Narrowed::Kernel(kernel)) if !calls(&kernel.kernel) || writes_linear_memory(&kernel, shape, options) => {
            Err(refused)
        }
        Ok(narrowed) => Ok(narrowed),
        Err(_) => Err(refused),
    }
}

/// Whether each guessed call of a kernel may come to something.
fn calls(kernel: &Function) -> bool {
    let bails = |id: RegionId| kernel.region(id).exit == Exit::Trap(TrapKind::BailedOut(Assumption::Methods));
    regions(kernel).into_iter().flat_map(|id| &kernel.region(id).stmts).all(|stmt| {
        let ways = stmt.kind.regions();
        ways.is_empty() || ways.into_iter().any(|way| !bails(way))
    })
}

/// Whether a kernel stores to linear memory. A form that assumes [`Assumption::Places`] bails out where a store is not of the places
/// that it was seen to be of.
pub(super) fn writes_linear_memory(lifted: &Simplified, shape: &Shape, options: &Options) -> bool {
    Stores::new(lifted, shape, options).are_in(lifted.kernel.body)
}

/// The stores of a kernel to linear memory.
struct Stores<'k> {
    kernel: &'k Function,
    roots: Roots,
    /// What accesses were seen to do, and the bytes of the private stack.
    seen: Option<(&'k Observed, u32)>,
}

impl<'k> Stores<'k> {
    fn new(lifted: &'k Simplified, shape: &Shape, options: &Options) -> Self {
        let Simplified { kernel, frames, .. } = lifted;
        Stores { kernel, roots: roots(kernel, shape, frames.stack_pointer), seen: lifted.places_seen(options) }
    }

    /// Whether there is one in a region, but for those in what a call comes to that else bails out.
    fn are_in(&self, region: RegionId) -> bool {
        self.kernel.region(region).stmts.iter().any(|stmt| {
            if let StmtKind::Op { op, args, .. } = &stmt.kind {
                return op.stores() && self.is_of_linear(args[0], stmt.at);
            }
            let regions = stmt.kind.regions();
            let is_call = regions.iter().any(|region| self.ends_in_bail_out(*region));
            regions.into_iter().any(|region| (!is_call || self.bails_out(region)) && self.are_in(region))
        })
    }

    fn is_of_linear(&self, address: Value, at: Location) -> bool {
        let is_seen_elsewhere = || {
            let seen = self.seen.and_then(|(seen, depth)| Some((seen.of(at, true)?, depth)));
            seen.is_some_and(|(seen, depth)| !seen.met_slot(LINEAR, depth))
        };
        match self.roots.root_of(address) {
            Root::Linear => !is_seen_elsewhere(),
            Root::Among(set) => set.has_linear() && !is_seen_elsewhere(),
            Root::Slot(_) | Root::Stack | Root::Unreached => false,
        }
    }

    fn ends_in_bail_out(&self, region: RegionId) -> bool {
        let exit = &self.kernel.region(region).exit;
        matches!(exit, Exit::Trap(TrapKind::BailedOut(Assumption::Callees | Assumption::Methods)))
    }

    /// Whether something in it bails out.
    fn bails_out(&self, region: RegionId) -> bool {
        let mut inner = self.kernel.region(region).stmts.iter().flat_map(|stmt| stmt.kind.regions());
        self.ends_in_bail_out(region) || inner.any(|region| self.bails_out(region))
    }
}
