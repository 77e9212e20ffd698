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
//! - [`saves`]: there is one set of variables for each function; where one comes to call itself, those that are used behind the call
//!   are kept on the private stack meanwhile.

mod carried;
mod globals;
pub mod limits;
mod plan;
mod saves;
pub mod settle;
mod states;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::inline::inline_part;
use crate::call_graph::Slice;
use crate::error::{Error, Result};
use crate::ir::Function;
use crate::module::Module;
use crate::options::{Options, Share};
use crate::seen::Seen;
use crate::targets::Targets;
use saves::Saves;

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
    let Order { functions: order, recursive } = callers_first(&parts, kernel);
    if order.len() == 1 {
        return Ok(None);
    }
    let levels = saves::levels(slice.seen().map_or(0, Seen::recursion));
    let pointer = module.stack_pointer().or_else(|| only_pointer(module).filter(|_| !recursive.is_empty()));
    let mut threaded = globals::thread(&mut parts, &order, (&recursive, levels), (module, pointer))?;
    let saves = saves(options, &mut threaded, (module, pointer), (recursive, levels))?;
    let parts: Vec<Function> = order.iter().filter_map(|function| parts.remove(function)).collect();
    let kernel = states::combine(&parts, saves)?;
    let globals::Threaded { dynamic, unplaced, frames, .. } = threaded;
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

/// The global that may be the stack pointer, in a module without names, if there is one.
fn only_pointer(module: &Module) -> Option<u32> {
    let globals = 0..module.globals().len() as u32;
    let mut found = globals.filter(|global| module.may_be_stack_pointer(*global));
    found.next().filter(|_| found.next().is_none())
}

/// What functions that come to call themselves need, if there are any.
fn saves(
    options: &Options,
    threaded: &mut globals::Threaded,
    (module, pointer): (&Module, Option<u32>),
    (calls, levels): (BTreeSet<(u32, u32)>, u32),
) -> Result<Option<Saves>> {
    let Some((_, function)) = calls.first().copied() else { return Ok(None) };
    match (pointer, &threaded.placed) {
        (Some(pointer), Some(places)) if options.speculation.recursion => {
            let frames = std::mem::take(&mut threaded.recursive);
            Ok(Some(Saves { calls, pointer, below: places.end, frames, levels }))
        }
        _ => Err(Error::Unsupported {
            what: format!("recursion (`{}` calls itself)", module.function_name(function)),
            function_name: module.function_name(function),
            at: None,
            too_large: false,
        }),
    }
}

/// The functions that are called, the kernel first, each behind all that call it, but for those that come to call themselves.
struct Order {
    functions: Vec<u32>,
    /// Calls, of a caller and a callee, in which the callee may come to call the caller.
    recursive: BTreeSet<(u32, u32)>,
}

fn callers_first(parts: &BTreeMap<u32, Function>, kernel: u32) -> Order {
    let callees = |part: &Function| globals::calls(part).map(|(callee, _)| callee).collect::<BTreeSet<u32>>();
    let calls: BTreeMap<u32, Vec<u32>> =
        parts.iter().map(|(function, part)| (*function, callees(part).into_iter().collect())).collect();
    let calls = |function: u32| &calls[&function][..];
    let mut functions = plan::callees_first(kernel, calls);
    functions.reverse();
    let edges = functions.iter().flat_map(|caller| calls(*caller).iter().map(|callee| (*caller, *callee)));
    let recursive = edges.filter(|(caller, callee)| plan::comes_to(&[*callee], *caller, calls)).collect();
    Order { functions, recursive }
}
