//! Functions that call themselves are inlined so many times in each other.

use super::copied;
use crate::call_graph::Slice;
use crate::error::{Error, Result};
use crate::ir::Function;
use crate::targets::Targets;

/// How deep recursion is unrolled, from the deepest that is tried: the first that gives a kernel of bearable size is
/// taken. 1 stands for functions that could call themselves, but don't, such as those that format numbers.
const DEPTHS: [usize; 6] = [8, 6, 4, 3, 2, 1];

/// Most operators of a kernel in which recursion is unrolled deeper than 1.
const MAX_UNROLLED: u32 = 20_000;

/// From which depth to which recursion is unrolled that was seen to be so deep.
pub(crate) fn depths(seen: usize) -> (usize, usize) {
    let enough = DEPTHS.into_iter().rev().find(|depth| *depth >= seen);
    (seen.max(1), enough.unwrap_or(seen))
}

/// Copies the kernel of a slice in which functions may call themselves, with all calls inlined and recursion unrolled `most_deep` or as deep as size allows, but `least_deep`; deeper
/// calls bail out. Says whether there are such, and gives the next lesser depth, if there is one and it would make a smaller kernel.
///
/// # Errors
/// As [`inline`](super::inline())'s.
pub(crate) fn inline_recursive(
    mut slice: Slice<'_>,
    kernel: u32,
    targets: &Targets,
    max_operators: u32,
    (least_deep, most_deep): (usize, usize),
) -> Result<(Function, bool, Option<usize>)> {
    let enough = |depth: &usize| (least_deep..=most_deep).contains(depth);
    let mut depths = DEPTHS.into_iter().filter(enough).peekable();
    while let Some(depth) = depths.next() {
        let most = if depth == 1 { max_operators } else { max_operators.min(MAX_UNROLLED) };
        let source = slice.get(kernel, &[], None)?;
        match copied(&source, &mut slice, targets, (vec![kernel], depth), None, most) {
            Err(Error::Unsupported { .. }) if depths.peek().is_some() => {}
            Err(error) => return Err(error),
            Ok((inlined, is_cut)) => return Ok((inlined, is_cut, depths.peek().copied().filter(|_| is_cut))),
        }
    }
    Err(Error::Unsupported {
        what: format!("recursion of {least_deep} levels"),
        function_name: slice.module().function_name(kernel),
        at: None,
        too_large: true,
    })
}
