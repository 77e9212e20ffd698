//! What a shader is asked to be: profile, float mode, the device's features, the launch's buffers.

mod features;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::analysis::launch_checks::Proved;
use crate::layout::Layout;
use crate::pointers::Pointer;
use crate::seen::Seen;
use crate::speculation::{Assumption, Speculation};

pub use features::{Features, FloatSupport, MAX_GUESS_ERROR};

/// What kernels may do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Access {
    /// Loads only; a store traps.
    Read,
    /// Stores, and loads too.
    Write,
    /// Both.
    ReadWrite,
}

impl Access {
    /// Whether kernels may store.
    pub fn is_writable(self) -> bool {
        self != Access::Read
    }
}

/// Which reader the SPIR-V is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Profile {
    /// A Vulkan driver, untouched by naga.
    #[default]
    Vulkan,
    /// The subset that naga reads, for Metal, DX12 and WebGPU.
    Portable,
}

/// How exact floats are. In every mode conversions to integers are checked, a float that is only moved or reinterpreted
/// keeps its bits, and an integer result never depends on the mode but through floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum FloatMode {
    /// Equal to Wasm bit for bit, NaN payloads excepted: what the device does not round as IEEE 754 says is corrected or
    /// computed on integers, and what can't be is [`Error::Unsupported`](crate::Error::Unsupported).
    #[default]
    Strict,
    /// Sums, products, quotients and roots are the device's own, with the accuracy that its API promises (Vulkan: 2.5
    /// units in the last place for a quotient). The driver may contract a product and a sum into one rounding, may take
    /// subnormals for zero, and may rewrite expressions as if there were no NaN, infinity or negative zero. Min and max
    /// stay exact. Calls of musl's `expf` and `logf`, where they are known bit for bit, are computed on `f32`s to within one unit in
    /// the last place of what they give, unless [`Options::libm`] is [`Libm::Guest`].
    Relaxed,
    /// As relaxed, and `min` and `max` are a comparison and a selection: where an operand is NaN, or both are zeros of
    /// different sign, they give either operand. Calls of C's mathematical library become the device's own functions, unless
    /// [`Options::libm`] says otherwise.
    Fast,
}

/// When an invocation of a shader runs four of the kernel's ([`Options::coarsen`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coarsen {
    /// Where that saves accesses of memory, in launches of so many invocations that a quarter of them keeps the device busy.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Where it saves accesses, however few invocations there are. For tests.
    Always,
}

/// When the rounds of an invocation's loops become invocations of their own ([`Options::flatten`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flatten {
    /// Where there are enough of them.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Wherever that can be done. For tests.
    Always,
}

/// What becomes of calls of C's mathematical library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Libm {
    /// The guest's own code is lifted, as any function's is.
    Guest,
    /// Calls that are recognised, by the callee's name and type or by its body, become the device's own functions. In
    /// strict mode none do: those are not exact.
    Device,
}

/// Types whose values are kept, and whose operators are computed, on smaller integers, exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Emulate {
    /// 64-bit integers, as two words each; floats of 64 bits, too, then.
    pub i64: bool,
    /// 64-bit floats, as 64-bit integers of their bits.
    pub f64: bool,
}

/// Which functions of a kernel are kept once, as states of a loop, and not inlined wherever they are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Share {
    /// Those that are large and called from several places, where the kernel is too large with all of them inlined; those that come to
    /// call themselves, where unrolling makes many operators of them.
    #[default]
    Auto,
    /// None.
    Never,
    /// Those that are called from at least so many places and have at least so many operators, and those that come to call themselves.
    /// For tests.
    Called {
        /// Places, where what is inlined several times counts as often.
        places: u32,
        /// Operators, with those of what they call.
        operators: u32,
    },
}

/// How to lift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Options {
    /// Which reader the SPIR-V is for.
    pub profile: Profile,
    /// How exact floats are.
    pub float: FloatMode,
    /// What becomes of calls of C's mathematical library; `None`: what the float mode says.
    pub libm: Option<Libm>,
    /// What the device has.
    pub features: Features,
    /// Invocations of a group (one dimension), 1 to the device's limit.
    pub workgroup_size: u32,
    /// What is computed on smaller integers though the device may have it.
    pub emulate: Emulate,
    /// Leave out these checks of [`LaunchChecks`](crate::LaunchChecks): the host has proved that they hold.
    pub checks_proved: Proved,
    /// Most operators of a kernel after inlining; more is `Unsupported`.
    pub max_operators: u32,
    /// Most accesses of memory that the shader may have in its code, the private stack's included; more is `Unsupported`.
    /// Some drivers take minutes to compile some thousands.
    pub max_accesses: u32,
    /// Largest private stack, in bytes; a kernel that needs more is `Unsupported`.
    pub max_stack: u32,
    /// Deepest nesting of branches that the device's driver compiles rightly, where code behind a branch in which an
    /// invocation may end counts as nested in it; more is `Unsupported`.
    pub max_nesting: u32,
    /// Most work of lifting, in statements that passes look at; more is [`Error::TooMuchWork`](crate::Error::TooMuchWork).
    pub max_work: u64,
    /// What an invocation may do before it traps ([`OutOfFuel`](crate::TrapKind::OutOfFuel)), in operators of loops, less
    /// than 2^31; `None` for any time.
    pub fuel: Option<u32>,
    /// What is assumed, and checked when the kernel runs.
    pub speculation: Speculation,
    /// Have an invocation of the shader run four of the kernel's, where that saves accesses of memory
    /// ([`Interface::lanes`]).
    pub coarsen: bool,
    /// Make the rounds of the kernel's loops invocations, where [`Shader::rounds`](crate::Shader::rounds) says that this can be
    /// done. The shader is launched for [`Input::Rounds`] times as many then, and so are the ids in its trap record.
    pub flatten: bool,
    /// Which functions are kept once.
    pub share: Share,
    /// Where it was seen what accesses do ([`Environment::seen`]), and [`Assumption::Slots`] is made: keep
    /// no more of the stack in memory than accesses at computed addresses were seen to meet, and the arrays around that.
    pub closely: bool,
}

/// How much work lifting may be by default ([`Options::max_work`]): ten to twenty seconds, and four times what any of the kernels
/// takes that Wavelift is tested with.
pub const DEFAULT_WORK: u64 = 1 << 26;

impl Default for Options {
    fn default() -> Self {
        Options {
            profile: Profile::default(),
            float: FloatMode::default(),
            libm: None,
            features: Features::all(),
            workgroup_size: 64,
            emulate: Emulate::default(),
            checks_proved: Proved::NONE,
            max_operators: 1_000_000,
            max_accesses: u32::MAX,
            speculation: Speculation::NONE,
            max_stack: u32::MAX,
            max_nesting: u32::MAX,
            max_work: DEFAULT_WORK,
            fuel: None,
            coarsen: false,
            flatten: false,
            share: Share::default(),
            closely: false,
        }
    }
}

impl Options {
    /// Whether recognised calls of C's mathematical library become the device's own functions.
    pub fn device_libm(&self) -> bool {
        match (self.float, self.libm) {
            (FloatMode::Strict, _) | (_, Some(Libm::Guest)) => false,
            (FloatMode::Fast, None) | (_, Some(Libm::Device)) => true,
            (FloatMode::Relaxed, None) => false,
        }
    }

    /// Whether musl's `expf` and `logf`, where they are known bit for bit, become functions of `f32`s that give the same to
    /// within one unit in the last place ([`FloatMode::Relaxed`]).
    pub fn near_libm(&self) -> bool {
        (self.float, self.libm) == (FloatMode::Relaxed, None)
    }
}

impl Options {
    /// What is computed on smaller integers: what is asked for, and what the device does not have.
    pub fn emulated(&self) -> Emulate {
        let i64 = self.emulate.i64 || !self.features.int64;
        Emulate { i64, f64: i64 || self.emulate.f64 || !self.features.float64 }
    }
}

/// One buffer parameter pair `(pointer, length)` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct BufferParam {
    /// Which distinct buffer of the launch it is, counted from 0 in order of first appearance: a buffer that is
    /// listed twice has one slot.
    pub slot: u32,
    /// What kernels may do with it; equal for equal slots.
    pub access: Access,
}

/// An entry of a function table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum TableEntry {
    /// No function.
    Null,
    /// A function of the guest's module, by index in its function index space.
    Function(u32),
    /// A function of the host or of another module.
    Foreign,
}

/// The part of the calling instance's state that the shader depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Environment {
    /// The present entries of each table. Those of [`Module::tables_reached`](crate::Module::tables_reached) matter; the
    /// others, and those behind the last one given, may be empty.
    pub tables: Vec<Vec<TableEntry>>,
    /// The data segments that are dropped at the launch, ascending. Those of
    /// [`Module::droppable_reached`](crate::Module::droppable_reached) matter.
    pub dropped: Vec<u32>,
    /// The words of linear memory that [`translate_or_ask`](crate::translate_or_ask) asked for, with their addresses, which
    /// ascend. No invocation of the launch may store to them, and none may lie on its private stack
    /// ([`Shader::stack_bytes`](crate::Shader::stack_bytes)).
    pub words: Vec<(u32, u32)>,
    /// Whether no word can be asked for: what functions are found by is taken for anything.
    pub closed: bool,
    /// `Some`: the words of linear memory that the module's active data segments fill are what they are in a new instance,
    /// but for those at these addresses, ascending multiples of four. On which of them a shader relies it says
    /// ([`Shader::relies_on`](crate::Shader::relies_on)); of these, too, no invocation may store to any, and none may lie on
    /// its private stack. `None`: nothing is known.
    pub initial: Option<Vec<u32>>,
    /// What accesses were seen to do in a rehearsal, for speculative forms, which check what they take from it.
    #[serde(serialize_with = "seen")]
    pub seen: Option<Arc<Seen>>,
}

fn seen<S: serde::Serializer>(seen: &Option<Arc<Seen>>, serializer: S) -> Result<S::Ok, S::Error> {
    seen.as_deref().serialize(serializer)
}

impl Environment {
    /// What an instance starts with, as far as the module itself says: imported tables and segments whose place is
    /// computed leave entries null. Only the tables that `kernel` needs are filled.
    pub fn initial(module: &crate::Module, kernel: u32) -> Self {
        Environment::with_tables(module, kernel, |table| module.initial_table(table))
    }

    /// The tables that `kernel` needs, as `entries` gives them.
    pub fn with_tables(module: &crate::Module, kernel: u32, mut entries: impl FnMut(u32) -> Vec<TableEntry>) -> Self {
        let mut tables = Vec::new();
        for table in module.tables_reached(kernel).iter() {
            tables.resize(*table as usize, Vec::new());
            tables.push(entries(*table));
        }
        Environment { tables, ..Environment::default() }
    }

    /// The same, with those data segments dropped that `is_dropped` says so of, as far as `kernel` can tell.
    pub fn with_dropped(self, module: &crate::Module, kernel: u32, mut is_dropped: impl FnMut(u32) -> bool) -> Self {
        let dropped = module.droppable_reached(kernel).iter().copied().filter(|segment| is_dropped(*segment)).collect();
        Environment { dropped, ..self }
    }

    /// What was seen, for a form that leaves out what was not reached: each iteration that was rehearsed came to its end.
    pub(crate) fn cut_by(&self, speculation: Speculation) -> Option<&Seen> {
        self.seen.as_deref().filter(|seen| speculation.paths && seen.is_whole())
    }

    /// The word at an address of linear memory, if it is known.
    pub fn word(&self, address: u32) -> Option<u32> {
        let at = self.words.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        Some(self.words[at].1)
    }

    /// Adds words to those that are known.
    pub fn know_words(&mut self, words: impl IntoIterator<Item = (u32, u32)>) {
        self.words.extend(words);
        self.words.sort_unstable();
        self.words.dedup_by_key(|(address, _)| *address);
    }

    /// The entries of a table.
    pub fn table(&self, table: u32) -> &[TableEntry] {
        self.tables.get(table as usize).map_or(&[], Vec::as_slice)
    }
}

/// The part of a launch that the shader depends on: the alias pattern, the access kinds, the instance's state, how
/// memory is bound, and where pointers point that come from memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Shape {
    /// The buffer parameters in list order.
    pub buffers: Vec<BufferParam>,
    /// The calling instance's state.
    pub environment: Environment,
    /// How buffers and arguments reach the shader.
    pub layout: Layout,
    /// What is known of the pointers that [`translate_or_ask`](crate::translate_or_ask) asked for; none: nothing.
    pub pointers: Vec<Pointer>,
}

impl Shape {
    /// A shape of `count` distinct read_write buffers, and tables without entries.
    pub fn distinct(count: u32) -> Self {
        Shape::of((0..count).map(|slot| BufferParam { slot, access: Access::ReadWrite }).collect())
    }

    /// A shape of these buffers, and tables without entries.
    pub fn of(buffers: Vec<BufferParam>) -> Self {
        Shape { buffers, ..Shape::default() }
    }

    /// The shape of a launch by a new instance, on distinct read_write buffers.
    pub fn initial(module: &crate::Module, kernel: u32) -> Self {
        let environment = Environment::initial(module, kernel);
        Shape { environment, ..Shape::distinct(module.kernel_buffers(kernel).unwrap_or(0)) }
    }

    /// Number of distinct buffers.
    pub fn slots(&self) -> u32 {
        self.buffers.iter().map(|b| b.slot + 1).max().unwrap_or(0)
    }
}

/// What the host binds and sets to run a shader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Invocations of a group, in x; y and z are 1.
    pub workgroup_size: u32,
    /// How many invocations of the kernel each of the shader's runs: 1, or 4 where it is coarsened. In the latter case
    /// [`immediate::FIRST`] is a multiple of it, and so many fewer are dispatched; [`immediate::COUNT`] is still a number of the
    /// kernel's.
    pub lanes: u32,
    /// Storage and uniform buffers of descriptor set 0, sorted by binding number. The trap record is not among them.
    pub bindings: Vec<Binding>,
    /// Size of the immediates (push constants) in bytes; layout in [`immediate`].
    pub immediates_size: u32,
    /// Size in bytes of the buffer of arguments, [`PARAMETERS`](crate::layout::PARAMETERS); 0 where there is none.
    pub parameters_size: u32,
    /// Contents of the buffer of data segments, [`DATA`](crate::layout::DATA); empty where there is none. They are the
    /// same for all launches.
    #[serde(with = "words")]
    pub data: std::sync::Arc<[u32]>,
    /// Trap sites; word `i` of the trap record (binding [`TRAP_BINDING`], `u32` words that the host sets to
    /// `u32::MAX` before) is lowered to the least iteration id that trapped at site `i`.
    /// Empty: the shader can't trap and declares no trap record.
    pub trap_sites: Vec<TrapSite>,
    /// What the words of the immediates behind the slots' hold: word `SLOTS + 2 * slots + i` is `inputs[i]`.
    pub inputs: Vec<Input>,
    /// How memory and arguments are bound: that of [`Shape::layout`]. Behind the inputs stands for each pooled slot, in
    /// order of their numbers, the number of the word of its pool at which it starts.
    pub layout: Layout,
}

/// Shared words as a list.
pub(crate) mod words {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(words: &Arc<[u32]>, serializer: S) -> Result<S::Ok, S::Error> {
        words.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[u32]>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::from)
    }
}

impl Interface {
    /// What the shader assumes, and checks when it runs.
    pub fn assumptions(&self) -> BTreeSet<Assumption> {
        self.trap_sites.iter().filter_map(|site| site.kind.bail_out()).collect()
    }
}

/// A word of the launch's state that the shader reads besides the launch's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Input {
    /// Size of linear memory in bytes, at the launch.
    MemorySize,
    /// Address of the first byte of linear memory that is bound, a multiple of [`WINDOW_ALIGNMENT`].
    WindowStart,
    /// The stack pointer, which is this global, at the launch: any address that the device likes, a multiple of 16, from
    /// which on the caller's frames lie.
    StackPointer(u32),
    /// A global's value at the launch: its only or its low word.
    Global(u32),
    /// The high word of a 64-bit global.
    GlobalHigh(u32),
    /// The value at the launch of one of [`Shape::pointers`].
    Pointer {
        /// Its number.
        number: u32,
        /// Whether it is a multiple of four.
        word_aligned: bool,
    },
    /// A word of a 128-bit global.
    GlobalWord {
        /// Which global.
        global: u32,
        /// 0 (the lowest) to 3.
        word: u32,
    },
    /// How many invocations of a flattened kernel ([`Options::flatten`]) stand for one of the launch's: at least as many as
    /// [`Rounds::count`](crate::Rounds::count) says.
    Rounds,
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Input::MemorySize => f.write_str("memory_size"),
            Input::WindowStart => f.write_str("window_start"),
            Input::StackPointer(global) => write!(f, "stack_pointer {global}"),
            Input::Global(global) => write!(f, "global {global}"),
            Input::GlobalHigh(global) => write!(f, "global_high {global}"),
            Input::Pointer { number, .. } => write!(f, "pointer {number}"),
            Input::GlobalWord { global, word } => write!(f, "global_word {global} {word}"),
            Input::Rounds => f.write_str("rounds"),
        }
    }
}

/// The number that stands for linear memory where other numbers stand for slots: in [`Binding::slot`] and in the IR.
pub const LINEAR: u32 = u32::MAX;

/// What the bound part of linear memory starts at a multiple of, in bytes: the widest load of a kernel.
pub const WINDOW_ALIGNMENT: u32 = 16;

/// A storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Binding number in descriptor set 0.
    pub binding: u32,
    /// The slot of [`Shape`] that is bound; [`LINEAR`] for the bound part of linear memory, and the numbers of
    /// [`layout`](crate::layout) for what else there is.
    pub slot: u32,
    /// Which slice of it is bound, counted from 0.
    pub slice: u32,
    /// Whether the shader may store to it; a binding that is not writable is declared `NonWritable`.
    pub writable: bool,
    /// Whether it is a uniform buffer; else a storage buffer.
    pub uniform: bool,
}

/// Where a trap comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrapSite {
    /// The operator.
    pub at: crate::Location,
    /// What happened.
    pub kind: crate::TrapKind,
}

/// Binding number of the trap record in descriptor set 0; slot `s` is bound at `s + 1`, linear memory behind the last,
/// and behind that the read pool, the written pool, the arguments, the data, and all slices that are not first ones.
pub const TRAP_BINDING: u32 = 0;

/// Word numbers in the immediates (4-byte words, little endian).
pub mod immediate {
    /// The iteration id of this dispatch's first invocation.
    pub const FIRST: u32 = 0;
    /// Number of invocations of this dispatch that are to run; the rest of the last group returns at once.
    pub const COUNT: u32 = 1;
    /// Where the launch's part of the trap record starts, in words. The last of those words that stand here even if there
    /// is a buffer of arguments.
    pub const TRAPS: u32 = 2;
    /// The kernel's `num_iterations`.
    pub const ITERATIONS: u32 = 3;
    /// The kernel's `block_size`.
    pub const BLOCK_SIZE: u32 = 4;
    /// Always 0; the shader uses it where a driver must not know a value at compile time.
    pub const ZERO: u32 = 5;
    /// Address of slot 0; slot `s` has its address at `SLOTS + 2 * s` and its length in bytes at `SLOTS + 2 * s + 1`.
    /// Behind the last slot's stand the words that [`Interface::inputs`](super::Interface::inputs) lists.
    pub const SLOTS: u32 = 6;
}
