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
mod names;
pub mod options;
#[doc(hidden)]
pub mod passes;
pub mod pointers;
mod reach;
mod recheck;
pub mod rehearsal;
mod seen;
mod simplified;
pub mod speculation;
mod strict;
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
pub use seen::Seen;
pub use speculation::{Assumption, Speculate, Speculation};
pub use targets::initial_shape;

use serde::{Deserialize, Serialize};

use ir::Function;
use ir::verify::{Stage, verify};
use passes::share::limits;
use simplified::{Simplified, simplified_knowing, simplified_or_ask};
use strict::{Strict, strict_form};
use targets::Narrowed;

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
    /// Whether recursion is unrolled in it.
    pub is_unrolled: bool,
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
            is_unrolled: false,
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
    sharing(shape, options, |options| {
        let (simplified, shape) = simplified_knowing(module, function, shape, options)?;
        shader(module, simplified, &shape, options)
    })
}

/// Something lifted that may be too large to be compiled in bearable time.
trait Lifted {
    /// Its size, if it is lifted to its end.
    fn size(&self) -> Option<Size>;
}

/// How large a kernel is.
struct Size {
    /// Accesses of memory.
    accesses: u32,
    /// Operators before simplification.
    operators: u32,
    /// Whether recursion is unrolled in it.
    is_unrolled: bool,
}

impl Lifted for Shader {
    fn size(&self) -> Option<Size> {
        let Shader { accesses, operators, is_unrolled, .. } = *self;
        Some(Size { accesses, operators, is_unrolled })
    }
}

/// Lifts with all functions inlined or, where the kernel is too large then, or so large that drivers take long, with functions kept
/// once, more of them each time until it is no large one any more: the smallest counts. Is that still slow to compile, so does the
/// same with less of the stack in memory. If none is small enough, what the first try was refused for does.
fn sharing<T: Lifted>(shape: &Shape, options: &Options, mut lift: impl FnMut(&Options) -> Result<T>) -> Result<T> {
    let (mut best, mut refused) = (None, None);
    match lift(&limits::with_all_inlined(options)) {
        Err(error) if limits::may_help(&error, options) => refused = Some(error),
        Ok(lifted) => match lifted.size() {
            Some(size) if limits::is_slow(size.accesses, options) => best = Some((size.accesses, lifted)),
            Some(size) if size.is_unrolled && limits::is_worth_a_stack(size.operators, options) => {
                return Ok(less_than_half(lifted, size.operators, options, lift));
            }
            _ => return Ok(lifted),
        },
        error => return error,
    }
    for (closely, share) in limits::tries(shape, options) {
        if closely && best.as_ref().is_some_and(|(accesses, _)| !limits::is_slow(*accesses, options)) {
            break;
        }
        work::allow(options.max_work);
        match lift(&Options { share, closely, ..*options }) {
            Ok(lifted) => match lifted.size().map(|size| size.accesses) {
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

/// A kernel of so many operators in which recursion is unrolled, or its shared form, in which functions that call themselves are
/// kept once, if that is less than half of it.
fn less_than_half<T: Lifted>(
    unrolled: T,
    operators: u32,
    options: &Options,
    mut lift: impl FnMut(&Options) -> Result<T>,
) -> T {
    work::allow(options.max_work);
    let shared = lift(&Options { share: limits::TRIES[0], ..*options }).ok();
    let is_less = |shared: &T| shared.size().is_some_and(|size| size.operators <= operators / 2);
    shared.filter(is_less).unwrap_or(unrolled)
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
        sharing(shape, options, |options| {
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
    let Strict { function, coarse, operators, accesses, launch_checks, linear, relies_on, may_coarsen, .. } = strict;
    let Strict { rounds, is_unrolled, .. } = strict;
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
        is_unrolled,
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
    sharing(shape, options, |options| {
        let (simplified, shape) = simplified_knowing(module, function, shape, options)?;
        strict_form(module, simplified, &shape, options)
    })
}

impl Lifted for Answer {
    fn size(&self) -> Option<Size> {
        match self {
            Answer::Shader(shader) => shader.size(),
            Answer::Pointers(_) | Answer::Words(_) => None,
        }
    }
}

impl Lifted for Strict {
    fn size(&self) -> Option<Size> {
        let Strict { accesses, operators, is_unrolled, .. } = *self;
        Some(Size { accesses, operators, is_unrolled })
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
