//! The *shared form* of a kernel: functions that are large and called from several places are kept once.
//!
//! Shaders have no calls worth the name: drivers inline them all, as [`inline`](super::inline) does, and a kernel whose call
//! graph is too large inlined has no shader. Here functions are kept once, as the states of one loop:
//!
//! ```text
//! loop (state, values that live across a call...) { switch state { a stretch of a function; ... } }
//! ```
//!
//! A stretch ends where the function calls one that is kept, or comes back to its caller: it says which state is next, and
//! hands on what that needs. What has no such call in it stays as it is, a loop for one, and small functions are still inlined.
//!
//! - [`limits`]: which kernels take this form, and how large what is kept has to be.
//! - [`plan`]: which functions are kept.
//! - [`globals`]: what functions do to globals, the stack pointer above all, becomes parameters and results.
//! - [`states`]: the loop.
//! - [`settle`]: what all callers pass alike.
//! - [`carried`]: the values that live from one state to another.
//!
//! Functions that are active more than once have no such form: it has one set of variables for each function.

mod carried;
mod globals;
pub mod limits;
mod plan;
pub mod settle;
mod states;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::inline::inline_part;
use crate::call_graph::Slice;
use crate::error::{Error, Result};
use crate::ir::{Function, StmtKind};
use crate::module::Module;
use crate::options::{Options, Share};
use crate::targets::Targets;

/// A kernel in the shared form: one function, of Wasm's operators, without calls and without globals that are set.
pub(crate) struct Shared {
    pub kernel: Function,
    /// The globals that functions set to something other than their value at the launch and a constant.
    pub dynamic: BTreeSet<u32>,
    /// Bytes of the stack that frames take that lie at no known distance from the stack pointer.
    pub unplaced: u32,
    /// Where the frame of each function that is kept begins, by distance from the stack pointer at the launch, if that is known.
    pub frames: BTreeMap<u32, Option<i64>>,
}

/// The shared form of a kernel; `None` where no function is to be kept.
///
/// # Errors
/// [`Error::Unsupported`] for what can't be lifted, recursion among it, and for too many operators.
pub(crate) fn share(
    slice: &mut Slice<'_>,
    kernel: u32,
    targets: &Targets,
    options: &Options,
) -> Result<Option<Shared>> {
    let Share::Called { places, operators } = options.share else { return Ok(None) };
    let kept = plan::kept(slice, kernel, targets, (places, operators));
    if kept.is_empty() {
        return Ok(None);
    }
    let mut parts = parts(slice, kernel, targets, options.max_operators, &kept)?;
    let module = slice.module();
    let order = callers_first(&parts, kernel, module)?;
    if order.len() == 1 {
        return Ok(None);
    }
    let threaded = globals::thread(&mut parts, &order, module);
    let parts: Vec<Function> = order.iter().filter_map(|function| parts.remove(function)).collect();
    let kernel = states::combine(&parts)?;
    let globals::Threaded { dynamic, unplaced, frames } = threaded;
    Ok(Some(Shared { kernel, dynamic, unplaced, frames }))
}

/// The kernel and the functions that are kept, with all else inlined. A number that all callers pass is one in the function:
/// entries of tables are found by such.
fn parts(
    slice: &mut Slice<'_>,
    kernel: u32,
    targets: &Targets,
    max_operators: u32,
    kept: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, Function>> {
    let mut parts = BTreeMap::new();
    // What a function is passed; facts only fall, so this comes to an end.
    let mut passed: BTreeMap<u32, Vec<Option<u32>>> = BTreeMap::new();
    let mut todo = VecDeque::from([kernel]);
    while let Some(function) = todo.pop_front() {
        let known = passed.get(&function).map_or(&[][..], Vec::as_slice);
        let part = inline_part(slice, function, targets, max_operators, (kept, known))?;
        parts.insert(function, part.function);
        for (callee, args) in part.calls {
            let falls = match passed.get_mut(&callee) {
                None => passed.insert(callee, args).is_none(),
                Some(known) => {
                    let before = known.clone();
                    known.iter_mut().zip(args).for_each(|(known, arg)| *known = known.filter(|_| *known == arg));
                    before != *known
                }
            };
            if falls && !todo.contains(&callee) {
                todo.push_back(callee);
            }
        }
    }
    Ok(parts)
}

/// The functions that are called, the kernel first, each behind all that call it.
fn callers_first(parts: &BTreeMap<u32, Function>, kernel: u32, module: &Module) -> Result<Vec<u32>> {
    let calls = |function: u32| {
        let stmts = parts[&function].regions.iter().flat_map(|region| &region.stmts);
        let calls = stmts.filter_map(|stmt| match &stmt.kind {
            StmtKind::Call { callee, .. } => Some((*callee, stmt.at)),
            _ => None,
        });
        calls.collect::<Vec<_>>()
    };
    let (mut done, mut seen) = (Vec::new(), BTreeSet::from([kernel]));
    let mut open = vec![(kernel, calls(kernel))];
    while let Some((function, left)) = open.last_mut() {
        let Some((callee, at)) = left.pop() else {
            done.push(*function);
            open.pop();
            continue;
        };
        if open.iter().any(|(function, _)| *function == callee) {
            let what = format!("recursion (`{}` calls itself)", module.function_name(callee));
            return Err(Error::Unsupported {
                what,
                function_name: module.function_name(at.function),
                at: Some(at),
                too_large: false,
            });
        }
        if seen.insert(callee) {
            open.push((callee, calls(callee)));
        }
    }
    done.reverse();
    Ok(done)
}
