//! Lifts WebAssembly kernels to SPIR-V compute shaders: Wasm bytes in, SPIR-V words and an [`Interface`] out.
//!
//! The crate does no input or output and knows neither a GPU API nor a Wasm runtime. The pipeline is [`translate`];
//! the rules of the intermediate representation are [`ir`]'s.
//!
//! ```
//! use wavelift_translator::{Module, Options, Shape, translate};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let module = Module::parse(wat::parse_str(
//!     "(module (memory 1) (func $double (param i32 i32 i32 i32 i32) (local $p i32)
//!        local.get 3 local.get 0 i32.const 4 i32.mul i32.add local.tee $p
//!        local.get $p i32.load i32.const 2 i32.mul i32.store))",
//! )?)?;
//! let shader = translate(&module, 0, &Shape::distinct(1), &Options::default())?;
//! assert_eq!(shader.words[0], 0x0723_0203); // SPIR-V's magic number
//! # Ok(()) }
//! ```

#[doc(hidden)]
pub mod analysis;
#[doc(hidden)]
pub mod backend;
#[doc(hidden)]
pub mod blocks;
mod call_graph;
pub mod error;
mod frontend;
mod hash;
mod inspect;
pub mod ir;
pub mod lanes;
pub mod layout;
#[doc(hidden)]
pub mod libm;
mod lines;
pub mod module;
pub mod options;
#[doc(hidden)]
pub mod passes;
pub mod pointers;
mod reach;
mod recheck;
pub mod speculation;
mod structurize;
mod targets;
#[doc(hidden)]
pub mod testing;
mod work;

pub use analysis::launch_checks::{LaunchChecks, LaunchState, LinearReach, Proved};
pub use analysis::rounds::{RoundCount, Rounds};
pub use error::{Error, Location, Result, TrapKind};
pub use inspect::{AccessSummary, Inspection, MemoryRoot, PlainUpdate, Resolution, inspect};
pub use layout::Layout;
pub use libm::{How, LibraryCall, Recognition};
pub use lines::SourceLine;
pub use module::Module;
pub use options::{
    Access, Binding, BufferParam, Coarsen, DEFAULT_WORK, Emulate, Environment, Features, Flatten, FloatMode,
    FloatSupport, Input, Interface, LINEAR, Libm, MAX_GUESS_ERROR, Options, Profile, Shape, Share, TRAP_BINDING,
    TableEntry, TrapSite, WINDOW_ALIGNMENT, immediate,
};
pub use pointers::{Pointer, Source};
pub use reach::next_is_unreachable;
pub use speculation::{Assumption, Speculate, Speculation};
pub use targets::initial_shape;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use analysis::frames::Frames;
use hash::HashSet;
use ir::Function;
use ir::verify::{Stage, verify};
use passes::share::limits;
use targets::{Narrowed, Targets};

/// Names this build of the translator: its version, and a hash of its sources and of the versions of the crates that it is
/// built on. Equal names give equal words for equal input, so it belongs into the keys of caches.
pub const BUILD: &str = env!("WAVELIFT_TRANSLATOR_BUILD");

/// A lifted kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shader {
    /// The SPIR-V module; its entry point is `main`.
    pub words: Vec<u32>,
    /// What the host binds and sets.
    pub interface: Interface,
    /// Operators lifted, after inlining and before simplification.
    pub operators: u32,
    /// Accesses of memory in its code, the private stack's included: what drivers' compilers take most time for.
    pub accesses: u32,
    /// Checks that the host may decide before a launch, to run a shader without them
    /// ([`Options::checks_proved`]) where they hold. Empty in that shader itself.
    pub launch_checks: LaunchChecks,
    /// What it accesses of linear memory, if it does.
    pub linear: Option<LinearReach>,
    /// Bytes below the stack pointer at the launch that each invocation has of its own.
    pub stack_bytes: u32,
    /// Addresses of words of linear memory, ascending multiples of four, of which it takes for granted what
    /// [`Environment::initial`] says.
    #[serde(with = "crate::options::words")]
    pub relies_on: std::sync::Arc<[u32]>,
    /// Whether it is worth trying to have four invocations run as one ([`Options::coarsen`]).
    pub may_coarsen: bool,
    /// How many rounds its loops have, if they can be flattened ([`Options::flatten`]); `None` in that shader itself.
    pub rounds: Option<Rounds>,
    /// Which functions were kept once. Other forms of the kernel for the same launch must be lifted so, too
    /// ([`Options::share`]): which checks there are depends on it.
    pub share: Share,
}

impl Shader {
    /// A shader that was not lifted: nothing is known of it but what the host binds.
    pub fn new(words: Vec<u32>, interface: Interface) -> Shader {
        let launch_checks = LaunchChecks::default();
        Shader {
            words,
            interface,
            operators: 0,
            accesses: 0,
            launch_checks,
            linear: None,
            stack_bytes: 0,
            relies_on: [].into(),
            may_coarsen: false,
            rounds: None,
            share: Share::Never,
        }
    }
}

/// Stack of the thread that lifts: passes recurse over regions, as deep as they nest.
const STACK_BYTES: usize = 256 << 20;

/// Lifts the kernel `function` of `module` for launches of this `shape`.
///
/// # Errors
/// [`Error::NotAKernel`] for a wrong type, [`Error::Unsupported`] for what can't be lifted,
/// [`Error::Internal`] for a defect of the translator.
pub fn translate(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Shader> {
    on_deep_stack(options, || translate_here(module, function, shape, options))
}

/// The same on this thread.
fn translate_here(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Shader> {
    sharing(options, |options| {
        let (simplified, shape) = simplified_knowing(module, function, shape, options)?;
        shader(module, simplified, &shape, options)
    })
}

/// Something lifted that may be too large to be compiled in bearable time.
trait Lifted {
    /// Its accesses of memory, if it is lifted to its end.
    fn accesses(&self) -> Option<u32>;
}

impl Lifted for Shader {
    fn accesses(&self) -> Option<u32> {
        Some(self.accesses)
    }
}

/// Lifts with all functions inlined or, where the kernel is too large then, or so large that drivers take long, with functions kept
/// once, more of them each time until it is no large one any more: the smallest counts. If none is small enough, what the first try
/// was refused for does.
fn sharing<T: Lifted>(options: &Options, mut lift: impl FnMut(&Options) -> Result<T>) -> Result<T> {
    let (mut best, mut refused) = (None, None);
    match lift(options) {
        Err(error) if limits::may_help(&error, options) => refused = Some(error),
        Ok(lifted) => match lifted.accesses() {
            Some(accesses) if limits::is_slow(accesses, options) => best = Some((accesses, lifted)),
            _ => return Ok(lifted),
        },
        error => return error,
    }
    for share in limits::TRIES {
        work::allow(options.max_work);
        match lift(&Options { share, ..*options }) {
            Ok(lifted) => match lifted.accesses() {
                Some(accesses) if speculation::is_large(accesses, options) => {
                    if best.as_ref().is_none_or(|(fewest, _)| accesses < *fewest) {
                        best = Some((accesses, lifted));
                    }
                }
                _ => return Ok(lifted),
            },
            Err(Error::Unsupported { .. } | Error::TooMuchWork { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let nothing = || Error::Internal("a kernel was neither lifted nor refused".into());
    best.map(|(_, lifted)| lifted).ok_or_else(|| refused.unwrap_or_else(nothing))
}

/// What [`translate_or_ask`] gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The kernel, lifted: it takes no pointers that the host could read.
    Shader(Box<Shader>),
    /// Pointers that the host can read before a launch, in the order of [`Shape::pointers`].
    Pointers(Vec<Source>),
    /// Addresses, ascending, of words of linear memory that functions are found by: what the host reads there before a
    /// launch belongs into [`Environment::words`]. Without them the kernel can't be lifted.
    Words(Vec<u32>),
}

/// The same for a shape without pointers, where the kernel takes none that the host could read before a launch; else asks
/// for them. Lifting it without an answer is good for all launches, but slower. Before that asks for words that functions
/// are found by, until they are known.
///
/// # Errors
/// Those of [`translate`].
pub fn translate_or_ask(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Answer> {
    on_deep_stack(options, || {
        sharing(options, |options| {
            let simplified = match simplified_or_ask(module, function, shape, options)? {
                Narrowed::Kernel(simplified) => simplified,
                Narrowed::Asks(words, _) => return Ok(Answer::Words(words)),
            };
            let Simplified { kernel, frames, .. } = &*simplified;
            let asked = analysis::pointers::asked(kernel, module, shape, frames.stack_pointer);
            match asked.is_empty() {
                true => Ok(Answer::Shader(Box::new(shader(module, *simplified, shape, options)?))),
                false => Ok(Answer::Pointers(asked)),
            }
        })
    })
}

fn shader(module: &Module, simplified: Simplified, shape: &Shape, options: &Options) -> Result<Shader> {
    emit(strict_form(module, simplified, shape, options)?.where_it_pays(), shape, options)
}

fn emit(strict: Strict, shape: &Shape, options: &Options) -> Result<Shader> {
    let Strict { function, coarse, operators, accesses, launch_checks, linear, relies_on, may_coarsen, rounds } =
        strict;
    let relies_on = relies_on.into();
    work::check(&function.name)?;
    let (words, interface) = backend::emit_coarse(&function, coarse.as_ref(), shape, options)?;
    let stack_bytes = 4 * function.stack_words;
    let share = if options.share == Share::Auto { Share::Never } else { options.share };
    Ok(Shader {
        words,
        interface,
        operators,
        accesses,
        launch_checks,
        linear,
        stack_bytes,
        relies_on,
        may_coarsen,
        rounds,
        share,
    })
}

/// The kernel in strict form, as text: what `--emit ir` shows.
///
/// # Errors
/// Those of [`translate`].
pub fn emit_ir(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<String> {
    on_deep_stack(options, || {
        let Strict { function, coarse, .. } = strict(module, function, shape, options)?.where_it_pays();
        Ok(coarse.iter().chain([&function]).map(Function::to_string).collect())
    })
}

fn strict(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Strict> {
    sharing(options, |options| {
        let (simplified, shape) = simplified_knowing(module, function, shape, options)?;
        strict_form(module, simplified, &shape, options)
    })
}

impl Lifted for Answer {
    fn accesses(&self) -> Option<u32> {
        match self {
            Answer::Shader(shader) => Some(shader.accesses),
            Answer::Pointers(_) | Answer::Words(_) => None,
        }
    }
}

impl Lifted for Strict {
    fn accesses(&self) -> Option<u32> {
        Some(self.accesses)
    }
}

/// What the backend takes, and what is known besides.
struct Strict {
    function: Function,
    /// What does four invocations at once.
    coarse: Option<Function>,
    may_coarsen: bool,
    /// Operators before simplification.
    operators: u32,
    accesses: u32,
    launch_checks: LaunchChecks,
    linear: Option<LinearReach>,
    relies_on: Vec<u32>,
    rounds: Option<Rounds>,
}

impl Strict {
    /// Without what does four invocations at once where that is not worth having.
    fn where_it_pays(self) -> Strict {
        let Strict { coarse, function, .. } = self;
        let coarse = coarse.filter(|coarse| passes::coarsen::pays(coarse, &function));
        Strict { coarse, function, ..self }
    }
}

/// The second half of the pipeline but for the backend.
fn strict_form(module: &Module, simplified: Simplified, shape: &Shape, options: &Options) -> Result<Strict> {
    strict_form_changed(module, simplified, shape, options, |_| {})
}

/// The same, of lowered code that was changed.
fn strict_form_changed(
    module: &Module,
    simplified: Simplified,
    shape: &Shape,
    options: &Options,
    change: impl FnOnce(&mut Function),
) -> Result<Strict> {
    check_places(&simplified, shape, options)?;
    let Simplified { mut kernel, frames, operators, relies_on } = simplified;
    let emulated = options.emulated();
    if passes::emulate::emulate(&mut kernel, emulated, options.max_operators)? {
        kernel = checked(kernel, Stage::Scalar)?;
        tidy(&mut kernel);
    }
    let mut lowered = checked(passes::lower::lower(&kernel, module, shape, options, frames)?, Stage::Lowered)?;
    check_stack(&lowered, options)?;
    if emulated.i64 {
        passes::words::split(&mut lowered, options)?;
        lowered = checked(lowered, Stage::Lowered)?;
    }
    change(&mut lowered);
    passes::simplify::simplify(&mut lowered);
    let mut rounds = passes::flatten::flatten(&lowered);
    if options.flatten
        && let Some(flat) = rounds.take()
    {
        lowered = checked(flat.function, Stage::Lowered)?;
        passes::simplify::simplify(&mut lowered);
    }
    let rounds = rounds.map(|flat| flat.rounds).filter(|_| !options.flatten);
    let (mut launch_checks, conditions) = analysis::launch_checks::launch_checks(&mut lowered, shape);
    if !options.checks_proved.is_empty() {
        let proved = conditions.iter().enumerate().filter(|(number, _)| options.checks_proved.has(*number));
        let proved: Vec<ir::Value> = proved.map(|(_, condition)| *condition).collect();
        passes::simplify::simplify_knowing(&mut lowered, &proved);
        launch_checks = LaunchChecks::default();
    }
    passes::dead_code::remove(&mut lowered);
    let coarse = match analysis::rounds::is_flat(&lowered) {
        true => passes::coarsen::coarsen_flat(&lowered),
        false => passes::coarsen::coarsen(&lowered),
    };
    let may_coarsen = coarse.is_some();
    passes::forward::forward(&mut lowered);
    work::check(&lowered.name)?;
    let linear = analysis::launch_checks::linear_reach(&mut lowered);
    let parted = passes::widen::parted_slots(&lowered);
    let function = finish(lowered, options, &parted)?;
    let accesses = count_accesses(&function, options)?;
    check_nesting(&function, options)?;
    let coarse = coarse.filter(|_| options.coarsen);
    let coarse = coarse.map(|coarse| finish_coarse(coarse, &parted, options)).transpose()?;
    let fits = |coarse: &Function| count_accesses(coarse, options).is_ok() && check_nesting(coarse, options).is_ok();
    let coarse = coarse.filter(fits);
    Ok(Strict { function, coarse, operators, accesses, launch_checks, linear, relies_on, may_coarsen, rounds })
}

/// What comes of a function for four invocations of a kernel at once, which accesses words of these slots in parts.
fn finish_coarse(coarse: Function, parted: &HashSet<u32>, options: &Options) -> Result<Function> {
    let mut coarse = checked(coarse, Stage::Lowered)?;
    passes::simplify::simplify(&mut coarse);
    passes::low_bits::low_bits(&mut coarse);
    passes::simplify::simplify(&mut coarse);
    passes::dead_code::remove(&mut coarse);
    passes::forward::forward(&mut coarse);
    // Four may do what each of them may.
    let fuel = options.fuel.map(|fuel| fuel.saturating_mul(passes::coarsen::LANES).min(passes::fuel::MOST - 1));
    finish(coarse, &Options { fuel, ..*options }, parted)
}

/// From lowered to strict form.
fn finish(mut lowered: Function, options: &Options, parted: &HashSet<u32>) -> Result<Function> {
    let wide = passes::widen::widen_loads(&mut lowered, parted);
    passes::dead_code::remove(&mut lowered);
    passes::merge_checks::merge_checks(&mut lowered);
    passes::widen::widen_stores(&mut lowered, &wide);
    passes::coarsen::forget_reasons(&mut lowered);
    // Checks from several places meet in one list now: what they compute alike is one value.
    passes::simplify::simplify(&mut lowered);
    passes::dead_code::remove(&mut lowered);
    work::check(&lowered.name)?;
    passes::hoist_loads::hoist_loads(&mut lowered);
    passes::part_stores::part_stores(&mut lowered, options);
    if options.fuel.is_some() && passes::fuel::burn(&mut lowered) {
        passes::simplify::simplify(&mut lowered);
        passes::dead_code::remove(&mut lowered);
    }
    passes::hide_limits::hide_limits(&mut lowered);
    let lowered = checked(lowered, Stage::Lowered)?;
    let mut strict = checked(structurize::structurize(lowered)?, Stage::Strict)?;
    if let Some(fuel) = options.fuel {
        passes::fuel::expand(&mut strict, fuel);
        strict = checked(strict, Stage::Strict)?;
    }
    Ok(strict)
}

/// Refuses a private stack with which the driver would take too long.
fn check_stack(function: &Function, options: &Options) -> Result<()> {
    let (bytes, most) = (4 * function.stack_words, options.max_stack);
    if bytes <= most {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "{bytes} bytes of stack for each invocation, of which this device's driver compiles at most {most} in bearable time"
        ),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    })
}

/// Refuses branches that the driver would compile wrong.
fn check_nesting(function: &Function, options: &Options) -> Result<()> {
    if options.max_nesting == u32::MAX {
        return Ok(());
    }
    let (nesting, _) = nesting_of(function, function.body);
    if nesting <= options.max_nesting {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "branches that nest {nesting} deep, or invocations that may end at so many places one behind the other, of \
             which this device's driver takes at most {}",
            options.max_nesting
        ),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    })
}

/// How deep the branches of a region nest, as drivers see it that move what stands behind a branch into it where an invocation
/// may end in the other arm; and whether one may end in the region.
fn nesting_of(function: &Function, id: ir::RegionId) -> (u32, bool) {
    let region = function.region(id);
    let (mut deepest, mut level, mut ends) = (0, 0, matches!(region.exit, ir::Exit::Return(_) | ir::Exit::Trap(_)));
    for stmt in &region.stmts {
        let below: Vec<(u32, bool)> =
            stmt.kind.regions().into_iter().map(|below| nesting_of(function, below)).collect();
        let Some(inner) = below.iter().map(|(depth, _)| *depth).max() else { continue };
        deepest = deepest.max(level + 1 + inner);
        if below.iter().any(|(_, ends)| *ends) {
            (level, ends) = (level + 1, true);
        }
    }
    (deepest.max(level), ends)
}

/// What simplification leaves of accesses in the end, at the least: one in so many.
const LEFT_OF_PLACES: u32 = 4;

/// Refuses a kernel of so many accesses that there will be too many in the end, whatever becomes of it: finding that out then
/// takes seconds.
fn check_places(simplified: &Simplified, shape: &Shape, options: &Options) -> Result<()> {
    let most = options.max_accesses;
    if simplified.operators <= most.saturating_mul(LEFT_OF_PLACES) {
        return Ok(());
    }
    match count_places(simplified, shape) {
        count if count <= most.saturating_mul(LEFT_OF_PLACES) => Ok(()),
        count => Err(too_many_accesses(count as usize, options, &simplified.kernel)),
    }
}

fn too_many_accesses(count: usize, options: &Options, function: &Function) -> Error {
    Error::Unsupported {
        what: format!(
            "{count} accesses of memory, of which this device's driver compiles at most {} in bearable time",
            options.max_accesses
        ),
        function_name: function.name.clone(),
        at: None,
        too_large: true,
    }
}

/// Counts accesses of memory; refuses shaders that the driver would take too long to compile.
fn count_accesses(function: &Function, options: &Options) -> Result<u32> {
    let stmts = analysis::dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let accesses =
        stmts.filter(|stmt| matches!(&stmt.kind, ir::StmtKind::Op { op: ir::Op::Low(op), .. } if op.is_access()));
    let count = accesses.count();
    if count <= options.max_accesses as usize {
        return Ok(count as u32);
    }
    Err(too_many_accesses(count, options, function))
}

/// The kernel as one simplified function of Wasm's operators.
struct Simplified {
    kernel: Function,
    frames: Frames,
    /// Operators before simplification.
    operators: u32,
    /// See [`Shader::relies_on`].
    relies_on: Vec<u32>,
}

fn simplified(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Simplified> {
    match simplified_or_ask(module, function, shape, options)? {
        Narrowed::Kernel(simplified) => Ok(*simplified),
        Narrowed::Asks(_, refused) => Err(refused),
    }
}

/// Where not all functions that indirect calls could come to can be lifted, those that they do come to are found out.
fn simplified_or_ask(module: &Module, function: u32, shape: &Shape, options: &Options) -> Result<Narrowed> {
    match simplified_calling(module, function, shape, options, &Targets::default()) {
        Err(refused @ Error::Unsupported { .. }) => targets::narrow(module, function, shape, options, refused),
        other => other.map(|kernel| Narrowed::Kernel(Box::new(kernel))),
    }
}

/// The same where indirect calls come to what `targets` says.
fn simplified_calling(
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
    let mut depth = usize::MAX;
    loop {
        let unrolled = simplified_to(module, function, shape, options, targets, (copies, depth))?;
        let Unrolled { simplified, assumes_apart, less_deep } = unrolled;
        match less_deep {
            Some(less) if speculation::is_large(count_places(&simplified, shape), options) => depth = less,
            _ => return Ok((simplified, assumes_apart)),
        }
    }
}

/// How many accesses a kernel will have: one for each place that an address may be in.
fn count_places(simplified: &Simplified, shape: &Shape) -> u32 {
    let Simplified { kernel, frames, .. } = simplified;
    let roots = analysis::roots::roots(kernel, shape, frames.stack_pointer);
    let stmts = analysis::dataflow::regions(kernel).into_iter().flat_map(|id| &kernel.region(id).stmts);
    let places = stmts.filter_map(|stmt| match &stmt.kind {
        ir::StmtKind::Op { op, args, .. } => op.memory_access().map(|_| match roots.root_of(args[0]) {
            analysis::roots::Root::Among(set) => set.count(shape.slots()),
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
    (copies, depth): (bool, usize),
) -> Result<Unrolled> {
    check_kernel(module, function, shape)?;
    // Calls that are still open are in no stage's form.
    let checked = |function: Function, stage: Stage| match targets.are_open() {
        true => work::check(&function.name).map(|()| function),
        false => checked(function, stage),
    };
    let known = frontend::Known { libm: options.device_libm(), blocks: true, copies };
    let slice = call_graph::Slice::new(module, &shape.environment, known);
    let Inlined { kernel, known_functions, mut dynamic, unplaced, less_deep } =
        inlined(slice, function, targets, options, depth)?;
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
    let mut guards = None;
    if let Some(pointer) = stack_pointer {
        guards = passes::stack_slots::promote_slots(&mut kernel, shape, pointer, cells, options.speculation.slots);
        tidy(&mut kernel);
    }
    let assumes_apart = passes::apart::settle(&mut kernel, shape, stack_pointer);
    let is_dynamic = |pointer| dynamic.contains(&pointer) || analysis::frames::has_variable_array(&kernel, pointer);
    let frames = Frames { stack_pointer, dynamic: stack_pointer.is_some_and(is_dynamic), unplaced, guards };
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
    let simplified = Simplified { kernel: checked(kernel, Stage::Scalar)?, frames, operators, relies_on };
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
    /// See [`Unrolled::less_deep`].
    less_deep: Option<usize>,
}

fn inlined(
    mut slice: call_graph::Slice<'_>,
    function: u32,
    targets: &Targets,
    options: &Options,
    depth: usize,
) -> Result<Inlined> {
    let (most, none) = (options.max_operators, BTreeSet::new());
    // Where doubles are computed on integers, these are much cheaper.
    if options.emulated().f64 && !targets.are_open() && !options.speculation.recursion {
        slice = slice.with_quick_phases();
    }
    if let Share::Called { .. } = options.share
        && !targets.are_open()
        && let Some(shared) = passes::share::share(&mut slice, function, targets, options)?
    {
        let passes::share::Shared { kernel, dynamic, unplaced } = shared;
        return Ok(Inlined { kernel, known_functions: slice.into_relied_on(), dynamic, unplaced, less_deep: None });
    }
    if options.speculation.recursion {
        let (kernel, less_deep) = passes::inline::inline_recursive(slice, function, targets, most, depth)?;
        return Ok(Inlined { kernel, known_functions: none.clone(), dynamic: none, unplaced: 0, less_deep });
    }
    let kernel = passes::inline::inline(&mut slice, function, targets, most)?;
    let known_functions = slice.into_relied_on();
    Ok(Inlined { kernel, known_functions, dynamic: none, unplaced: 0, less_deep: None })
}

/// The same for a shape with pointers, and the shape without those that the kernel may write.
fn simplified_knowing<'s>(
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

fn tidy(kernel: &mut Function) {
    for _ in 0..2 {
        passes::share::settle::settle(kernel);
        passes::simplify::simplify(kernel);
        passes::dead_code::remove(kernel);
    }
}

fn check_kernel(module: &Module, function: u32, shape: &Shape) -> Result<()> {
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

/// Ends what is too much work. In debug builds verifies what a pass left; what breaks a rule is a defect of the pass.
fn checked(function: Function, stage: Stage) -> Result<Function> {
    work::spend(function.stmt_count());
    work::check(&function.name)?;
    if cfg!(debug_assertions) {
        verify(&function, stage).map_err(|e| Error::Internal(e.to_string()))?;
    }
    Ok(function)
}

/// Runs on a thread whose stack holds the deepest nesting that the front end lets through.
fn on_deep_stack<T: Send>(options: &Options, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let work = || {
        work::allow(options.max_work);
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("wavelift-lift".into()).stack_size(STACK_BYTES);
        let thread =
            thread.spawn_scoped(scope, work).map_err(|e| Error::Internal(format!("no thread to lift on: {e}")))?;
        thread.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Error::Internal(format!("a pass panicked: {text}")))
        })
    })
}
