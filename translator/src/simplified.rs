//! From bytecode to one function of Wasm's operators, without calls, simplified.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::frames::Frames;
use crate::ir::Function;
use crate::ir::verify::Stage;
use crate::options::{Options, Shape, Share};
use crate::seen::Observed;
use crate::speculation::Speculation;
use crate::targets::{self, Narrowed, Targets};
use crate::{Error, Module, Result, analysis, call_graph, checked, frontend, ir, passes, speculation, work};

/// The kernel as one simplified function of Wasm's operators.
pub(crate) struct Simplified {
    pub(crate) kernel: Function,
    pub(crate) frames: Frames,
    /// Operators before simplification.
    pub(crate) operators: u32,
    /// See [`Shader::relies_on`].
    pub(crate) relies_on: Vec<u32>,
    /// Whether recursion is unrolled in it.
    pub(crate) is_unrolled: bool,
}

impl Simplified {
    /// What accesses were seen to do, and the bytes of the private stack, for a form that assumes that they are of the places which
    /// they were seen to be of.
    pub(crate) fn places_seen(&self, options: &Options) -> Option<(&Observed, u32)> {
        let seen = self.frames.observed.as_ref().filter(|_| options.speculation.places)?;
        Some((seen, self.stack_bytes(options)))
    }

    /// Bytes of the private stack.
    pub(crate) fn stack_bytes(&self, options: &Options) -> u32 {
        let Simplified { kernel, frames, .. } = self;
        let offsets = frames.stack_pointer.map(|pointer| analysis::stack_offsets::stack_offsets(kernel, pointer));
        frames.depth(kernel, offsets.as_ref(), options.speculation.frames)
    }
}

pub(crate) fn simplified(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Simplified> {
    match simplified_or_ask(module, function, shape, options)? {
        Narrowed::Kernel(simplified) => Ok(*simplified),
        Narrowed::Asks(_, refused) => Err(refused),
    }
}

/// Where not all functions that indirect calls could come to can be lifted, those that they do come to are found out, or else
/// assumed: first without recursion, since functions of one type are taken to call each other.
pub(crate) fn simplified_or_ask(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Narrowed> {
    let boxed = |kernel| Narrowed::Kernel(Box::new(kernel));
    if let Some(seen) = shape.environment.cut_by(options.speculation) {
        return targets::rehearsed(module, function, shape, options, seen).map(boxed);
    }
    if options.speculation.methods && options.speculation.recursion {
        let speculation = Speculation { recursion: false, ..options.speculation };
        match simplified_or_guess(module, function, shape, &Options { speculation, ..*options }) {
            Err(Error::Unsupported { .. }) => {}
            other => return other,
        }
    }
    match simplified_or_guess(module, function, shape, options) {
        Err(refused @ Error::Unsupported { .. }) if options.speculation.callees => {
            targets::assume(module, function, shape, options, refused).map(boxed)
        }
        other => other,
    }
}

fn simplified_or_guess(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Narrowed> {
    let refused = match simplified_calling(module, function, shape, options, &Targets::default()) {
        Err(refused @ Error::Unsupported { .. }) => refused,
        other => return other.map(|kernel| Narrowed::Kernel(Box::new(kernel))),
    };
    match targets::narrow(module, function, shape, options, refused, false) {
        Err(refused @ Error::Unsupported { .. }) if options.speculation.methods => {
            targets::guess(module, function, shape, options, refused)
        }
        other => other,
    }
}

/// The same where indirect calls come to what `targets` says.
pub(crate) fn simplified_calling(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    targets: &Targets,
) -> Result<Simplified> {
    match simplified_copying(module, function, shape, options, targets, true)? {
        (simplified, false) => Ok(simplified),
        (simplified, true) if options.speculation.apart => Ok(simplified),
        // What `memcpy` does with blocks that are not apart, only its code says.
        _ => Ok(simplified_copying(module, function, shape, options, targets, false)?.0),
    }
}

/// The same where calls of `memcpy` are operators or not; and whether blocks are assumed to lie apart. Recursion is unrolled
/// as deep as leaves a kernel that is no large one.
fn simplified_copying(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    targets: &Targets,
    copies: bool,
) -> Result<(Simplified, bool)> {
    // Less deep than was seen would be undone, and deeper is not worth it.
    let seen = shape.environment.cut_by(options.speculation);
    let (least, mut depth) = seen.map_or((1, usize::MAX), |seen| passes::inline::recursion::depths(seen.recursion()));
    loop {
        let unrolled = simplified_to(module, function, shape, options, targets, (copies, (least, depth)))?;
        let Unrolled { simplified, assumes_apart, less_deep } = unrolled;
        match less_deep {
            Some(less) if speculation::is_large(count_places(&simplified, shape, options), options) => depth = less,
            _ => return Ok((simplified, assumes_apart)),
        }
    }
}

/// How many accesses a kernel will have: one for each place that an address may be in.
pub(crate) fn count_places(simplified: &Simplified, shape: &Shape, options: &Options) -> u32 {
    let Simplified { kernel, frames, .. } = simplified;
    let roots = analysis::roots::roots(kernel, shape, frames.stack_pointer);
    let seen = simplified.places_seen(options);
    let stmts = analysis::dataflow::regions(kernel).into_iter().flat_map(|id| &kernel.region(id).stmts);
    let places = stmts.filter_map(|stmt| match &stmt.kind {
        ir::StmtKind::Op { op, args, .. } => op.memory_access().map(|_| match roots.root_of(args[0]) {
            analysis::roots::Root::Among(set) => {
                let seen = seen.and_then(|(seen, depth)| Some(seen.of(stmt.at, op.stores())?.count(depth)));
                set.count(shape.slots()).min(seen.unwrap_or(u32::MAX))
            }
            _ => 1,
        }),
        _ => None,
    });
    places.sum()
}

/// A kernel in which recursion is unrolled.
struct Unrolled {
    simplified: Simplified,
    /// Whether blocks are assumed to lie apart.
    assumes_apart: bool,
    /// The next lesser depth, if there is recursion.
    less_deep: Option<usize>,
}

/// The same with recursion unrolled to a depth.
fn simplified_to(
    module: &Module,
    function: u32,
    shape: &Shape,
    options: &Options,
    targets: &Targets,
    (copies, depths): (bool, (usize, usize)),
) -> Result<Unrolled> {
    check_kernel(module, function, shape)?;
    // Calls that are still open are in no stage's form.
    let checked = |function: Function, stage: Stage| match targets.are_open() {
        true => work::check(&function.name).map(|()| function),
        false => checked(function, stage),
    };
    let cut_by = shape.environment.cut_by(options.speculation);
    let known = frontend::Known { libm: options.device_libm(), blocks: true, copies, cuts: cut_by.is_some() };
    let slice = call_graph::Slice::new(module, &shape.environment, known).cutting(cut_by);
    let Inlined { kernel, known_functions, mut dynamic, unplaced, frames, less_deep, is_unrolled } =
        inlined(slice, function, targets, options, depths)?;
    let mut kernel = checked(kernel, Stage::Inlined)?;
    let operators = kernel.stmt_count() as u32;
    let cells = module.globals().len() as u32;
    passes::data_drop::expand(&mut kernel, cells);
    let set = passes::promote::promote(&mut kernel, cells);
    dynamic.extend(analysis::frames::set_dynamically(&kernel, &set));
    passes::vectors::split(&mut kernel, module, options.max_operators)?;
    kernel = checked(kernel, Stage::Scalar)?;
    tidy(&mut kernel);
    passes::bulk::expand(&mut kernel, module, shape)?;
    kernel = checked(kernel, Stage::Scalar)?;
    tidy(&mut kernel);
    let stack_pointer = analysis::stack_pointer::stack_pointer(&kernel, module, shape)?;
    let observed = shape.environment.seen.as_ref().map(|seen| seen.in_form(stack_pointer, &frames));
    let mut guards = None;
    if let Some(pointer) = stack_pointer {
        let assumes = options
            .speculation
            .slots
            .then_some(passes::stack_slots::Assumes { seen: observed.as_ref(), closely: options.closely });
        guards = passes::stack_slots::promote_slots(&mut kernel, shape, (pointer, cells), assumes);
        tidy(&mut kernel);
    }
    let assumes_apart = passes::apart::settle(&mut kernel, shape, stack_pointer);
    let is_dynamic = |pointer| dynamic.contains(&pointer) || analysis::frames::has_variable_array(&kernel, pointer);
    let frames = Frames { stack_pointer, dynamic: stack_pointer.is_some_and(is_dynamic), unplaced, guards, observed };
    // By which words functions are found is asked for while that is open, and known then.
    let relies_on = match targets.are_open() {
        true => BTreeSet::new(),
        false => passes::known_data::known_data(&mut kernel, module, &shape.environment, stack_pointer),
    };
    if !relies_on.is_empty() {
        kernel = checked(kernel, Stage::Scalar)?;
        tidy(&mut kernel);
    }
    let relies_on = relies_on.union(&known_functions).copied().collect();
    let kernel = checked(kernel, Stage::Scalar)?;
    let simplified = Simplified { kernel, frames, operators, relies_on, is_unrolled };
    Ok(Unrolled { simplified, assumes_apart, less_deep: less_deep.filter(|_| !targets.are_open()) })
}

/// A kernel without calls.
struct Inlined {
    kernel: Function,
    /// The words of the module's data by which functions of the C library are known bit for bit.
    known_functions: BTreeSet<u32>,
    /// See [`passes::share::Shared`].
    dynamic: BTreeSet<u32>,
    unplaced: u32,
    frames: BTreeMap<u32, Option<i64>>,
    /// See [`Unrolled::less_deep`].
    less_deep: Option<usize>,
    is_unrolled: bool,
}

fn inlined(
    mut slice: call_graph::Slice<'_>,
    function: u32,
    targets: &Targets,
    options: &Options,
    depths: (usize, usize),
) -> Result<Inlined> {
    let most = options.max_operators;
    if !targets.are_open() && !options.speculation.recursion {
        // Where doubles are computed on integers, quick phases are much cheaper.
        slice = slice.with_stand_ins(options.emulated().f64, options.near_libm());
    }
    if options.speculation.recursion {
        slice = slice.recursive();
    }
    if let Share::Called { .. } = options.share
        && targets.may_share()
        && let Some(shared) = passes::share::share(&mut slice, function, targets, options)?
    {
        let passes::share::Shared { kernel, dynamic, unplaced, frames } = shared;
        let known_functions = slice.into_relied_on();
        return Ok(Inlined { dynamic, unplaced, frames, ..Inlined::all(kernel, known_functions) });
    }
    if options.speculation.recursion {
        let (kernel, is_unrolled, less_deep) =
            passes::inline::recursion::inline_recursive(slice, function, targets, most, depths)?;
        return Ok(Inlined { less_deep, is_unrolled, ..Inlined::all(kernel, BTreeSet::new()) });
    }
    let kernel = passes::inline::inline(&mut slice, function, targets, most)?;
    Ok(Inlined::all(kernel, slice.into_relied_on()))
}

impl Inlined {
    /// One in which no function is kept.
    fn all(kernel: Function, known_functions: BTreeSet<u32>) -> Inlined {
        let (dynamic, frames) = (BTreeSet::new(), BTreeMap::new());
        Inlined { kernel, known_functions, dynamic, unplaced: 0, frames, less_deep: None, is_unrolled: false }
    }
}

/// The same for a shape with pointers, and the shape without those that the kernel may write.
pub(crate) fn simplified_knowing<'s>(
    module: &Module,
    function: u32,
    shape: &'s Shape,
    options: &Options,
) -> Result<(Simplified, Cow<'s, Shape>)> {
    let mut shape = Cow::Borrowed(shape);
    loop {
        let simplified = simplified(module, function, &shape, options)?;
        if shape.pointers.is_empty() {
            return Ok((simplified, shape));
        }
        let pointer = simplified.frames.stack_pointer;
        // What is known of one goes into the analysis of others' stores: then all starts anew.
        if !analysis::pointers::forget_written(&simplified.kernel, pointer, shape.to_mut()) {
            return Ok((simplified, shape));
        }
    }
}

pub(crate) fn tidy(kernel: &mut Function) {
    for _ in 0..2 {
        passes::share::settle::settle(kernel);
        passes::simplify::simplify(kernel);
        passes::dead_code::remove(kernel);
    }
}

pub(crate) fn check_kernel(module: &Module, function: u32, shape: &Shape) -> Result<()> {
    let name = || module.function_name(function);
    let Some(ty) = module.function_type(function) else {
        return Err(Error::NotAKernel(format!("There is no function {function} in the module.")));
    };
    if module.imported_function(function).is_some() {
        return Err(Error::NotAKernel(format!("The function `{}` is imported from the host.", name())));
    }
    match module.kernel_buffers(function) {
        Some(count) if count as usize == shape.buffers.len() => Ok(()),
        Some(count) => Err(Error::NotAKernel(format!(
            "The kernel `{}` takes {count} buffers, but {} are given.",
            name(),
            shape.buffers.len()
        ))),
        None => Err(Error::NotAKernel(format!(
            "The function `{}` of type {ty} is no kernel: a kernel takes three i32 (iteration, iterations, block size), \
             then two i32 (pointer, length) for each buffer, and returns nothing.",
            name()
        ))),
    }
}
