//! How much work lifting a kernel may be: a limit on the statements that passes look at, all together.
//!
//! It stands for a limit on time. A clock would do that better, but what is lifted must not depend on how busy the machine is.
//! Every kernel is lifted on a thread of its own, whose count this is; other threads have no limit. Passes count what they
//! look at, most of them through [`dataflow::regions`](crate::analysis::dataflow::regions), and whether there was too much is
//! asked between passes and within those that make much of little.

use std::cell::Cell;

use crate::error::{Error, Result};

thread_local! {
    static LIMIT: Cell<u64> = const { Cell::new(u64::MAX) };
    static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Sets what this thread may do from now on.
pub(crate) fn allow(limit: u64) {
    LIMIT.set(limit);
    LEFT.set(limit);
}

/// Counts statements, or steps of an analysis.
pub(crate) fn spend(steps: usize) {
    LEFT.set(LEFT.get().saturating_sub(steps as u64));
}

/// What this thread did since [`allow`].
pub(crate) fn done() -> u64 {
    LIMIT.get() - LEFT.get()
}

/// Ends a lift that is too much work.
///
/// # Errors
/// [`Error::TooMuchWork`]
pub(crate) fn check(function_name: &str) -> Result<()> {
    match LEFT.get() {
        0 => Err(Error::TooMuchWork { limit: LIMIT.get(), function_name: function_name.to_string() }),
        _ => Ok(()),
    }
}
