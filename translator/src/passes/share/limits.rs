//! Which kernels take the shared form.
//!
//! A kernel is lifted with all of its functions inlined, which gives the fastest code, unless that is refused for its size, or so
//! large that drivers take more than some seconds. Then functions are kept, the fewer the better: each call of one costs a round of
//! the loop.

use crate::error::Error;
use crate::options::{Options, Shape, Share};

/// What is tried in turn, till the kernel fits. Unoptimised code has dozens of functions of some hundred operators, with those of
/// what they call; of fewer than the last number of operators, a call would be more code than what it calls. What is called from
/// one place is inlined there.
pub const TRIES: [Share; 3] = [
    Share::Called { places: 2, operators: 300 },
    Share::Called { places: 2, operators: 80 },
    Share::Called { places: 2, operators: 20 },
];

/// The same, with more of the stack kept in memory first, and then no more than was seen to be needed ([`Options::closely`]), where
/// that was seen.
pub(crate) fn tries(shape: &Shape, options: &Options) -> impl Iterator<Item = (bool, Share)> {
    let may_go_closer = options.speculation.slots && shape.environment.seen.is_some();
    let ways = if may_go_closer { &[false, true][..] } else { &[false] };
    ways.iter().flat_map(|closely| TRIES.map(|share| (*closely, share)))
}

/// Of the accesses that a device's driver compiles in bearable time, so many times as many operators before simplification are not
/// worth simplifying: unoptimised code has one access left in ten or twenty, and simplifying a million takes a minute and more.
const HOPELESS: u32 = 64;

/// What a kernel is first lifted with: all of its functions inlined, where that is no great many operators.
pub(crate) fn with_all_inlined(options: &Options) -> Options {
    let most = match options.share {
        Share::Auto => options.max_accesses.saturating_mul(HOPELESS),
        _ => u32::MAX,
    };
    Options { max_operators: options.max_operators.min(most), ..*options }
}

/// Whether a kernel may be lifted in the shared form that was refused for this reason with all of its functions inlined.
pub(crate) fn may_help(refused: &Error, options: &Options) -> bool {
    options.share == Share::Auto
        && matches!(refused, Error::Unsupported { too_large: true, .. } | Error::TooMuchWork { .. })
}

/// Of the accesses that a device's driver compiles in bearable time, one in so many makes a kernel slow to compile. On lavapipe
/// that is a thousand accesses, which take it about ten seconds, and twice as many four times as long.
const SLOW_PART: u32 = 2;

/// Whether a kernel of so many accesses with all of its functions inlined is worth a try in the shared form.
pub(crate) fn is_slow(accesses: u32, options: &Options) -> bool {
    options.share == Share::Auto && accesses > options.max_accesses / SLOW_PART
}

/// Kernels in which recursion is unrolled and that have so many operators take lavapipe some tenths of a second or more; shorter ones
/// are faster so.
const MANY_UNROLLED: u32 = 1000;

/// Whether a kernel of so many operators in which recursion is unrolled is worth a try with a stack for what functions save that call
/// themselves.
pub(crate) fn is_worth_a_stack(operators: u32, options: &Options) -> bool {
    options.share == Share::Auto && operators > MANY_UNROLLED
}
