//! Kernels that are cut at what no rehearsal reached: their indirect calls come to what they were seen to come to.

use std::collections::BTreeSet;

use super::Targets;
use super::assumed::writes_linear_memory;
use super::flags::flags;
use crate::call_graph::Slice;
use crate::error::{Error, Result};
use crate::frontend::Known;
use crate::module::Module;
use crate::options::{Environment, Options, Shape};
use crate::seen::Seen;
use crate::simplified::{Simplified, simplified_calling};
use crate::speculation::Speculation;

/// The kernel, cut, without recursion if none was seen.
///
/// # Errors
/// Why it can't be lifted even so.
pub(crate) fn rehearsed(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    seen: &Seen,
) -> Result<Simplified> {
    let targets = if options.speculation.callees { Targets::seen(seen.entries()) } else { Targets::default() };
    let once = Speculation { recursion: false, ..options.speculation };
    let lift =
        |speculation| simplified_calling(module, function, shape, &Options { speculation, ..*options }, &targets);
    let lifted = match lift(once) {
        Err(Error::Unsupported { too_large: false, .. }) if options.speculation.recursion => lift(options.speculation)?,
        lifted => lifted?,
    };
    // What is cut may be what makes the CPU run the iterations in order, as those that allocate memory: at once they would lose
    // each other's bytes. Those that do come to what was not reached, or were seen to meet each other's bytes.
    if writes_linear_memory(&lifted, shape, options)
        && !seen.keeps_stores_apart(lifted.stack_bytes(options), &flags(&lifted.kernel))
        && runs_in_order(module, function, &shape.environment)
    {
        return Err(Error::Unsupported {
            what: "stores to linear memory beside calls that only the caller's own instance can do".into(),
            function_name: module.function_name(function),
            at: None,
            too_large: false,
        });
    }
    Ok(lifted)
}

/// Whether a kernel may come to a function that can't be lifted, by the types of what it calls.
fn runs_in_order(module: &Module, kernel: u32, environment: &Environment) -> bool {
    let mut slice = Slice::new(module, environment, Known::default()).recursive();
    let (mut known, mut todo) = (BTreeSet::new(), vec![kernel]);
    while let Some(function) = todo.pop() {
        if !known.insert(function) {
            continue;
        }
        let Ok(lifted) = slice.get(function, &[], None) else { return true };
        todo.extend(slice.callees(&lifted, |_| None));
    }
    false
}
