//! What an embedder or the command line chooses.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wavelift_translator::{Coarsen, Emulate, Flatten, FloatMode, Libm, Profile, Share, Speculate};

use super::Limits;
use crate::device::cpu::Lanes;

/// Which device launches run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceChoice {
    /// What the guest asks for; where it asks for a GPU or for nothing, a hardware GPU, else the CPU.
    #[default]
    Auto,
    /// The best GPU, a software one included, whatever the guest asks for.
    Gpu,
    /// All cores of the CPU, whatever the guest asks for.
    Cpu,
    /// One core of the CPU, invocations in order, whatever the guest asks for.
    Sequential,
}

/// A function that is told, once each, what an operator should know: "no hardware GPU found; running on ...".
#[derive(Clone)]
pub struct Notice(Arc<dyn Fn(&str) + Send + Sync>);

impl Notice {
    /// Wraps a function; it is called from the thread that makes the launch.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Notice(Arc::new(tell))
    }

    pub(crate) fn tell(&self, message: &str) {
        (self.0)(message);
    }
}

impl Default for Notice {
    fn default() -> Self {
        Notice::new(|message| tracing::warn!("{message}"))
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}

/// How a [`Runtime`](crate::Runtime) behaves. All fields have defaults; set those you need.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which device launches run on.
    pub device: DeviceChoice,
    /// One GPU adapter for all launches, whatever the guest asks for: its index in
    /// [`Runtime::list_devices`](crate::Runtime::list_devices), or a part of its name in any case.
    pub adapter: Option<String>,
    /// Wait for each launch before the guest goes on. Else an [`Instance`](crate::Instance)'s launches on GPUs are recorded
    /// and submitted, and the guest goes on; output, files, results, traps and exit code are the same.
    pub sync: bool,
    /// Time launches by the GPU's clock even where that slows small ones down, for a [`Report`](crate::Report) to be read.
    /// Launches that were submitted together share their time by their numbers of invocations.
    pub timed: bool,
    /// Run each launch a second time on the CPU (in order, if it ran on the CPU) with copies of the buffers and of
    /// linear memory, and stop the guest with a [`Mismatch`](crate::Mismatch) at the first byte that differs.
    pub verify: bool,
    /// Which form of SPIR-V GPUs get.
    pub profile: Profile,
    /// How exact floats are on GPUs.
    pub float: FloatMode,
    /// What becomes of calls of C's mathematical library on GPUs; `None`: what the float mode says.
    pub libm: Option<Libm>,
    /// When GPUs get a form of a kernel that assumes what holds in all sane programs, checks it, and is undone and run in
    /// another way where it does not hold. Results are the same.
    pub speculate: Speculate,
    /// When an invocation of a shader on a GPU runs four of the kernel's, so that its accesses of memory are wider. Results are
    /// the same.
    pub coarsen: Coarsen,
    /// When the iterations of loops that GPUs' invocations make over blocks of elements become invocations of their own.
    /// Results are the same.
    pub flatten: Flatten,
    /// Invocations of a workgroup on GPUs, cut down to the device's limit; `None`: chosen for each kernel and size of a launch,
    /// by what was measured once launches took far longer than compiling the kernel. Results are the same.
    pub workgroup_size: Option<u32>,
    /// Which functions of a kernel GPUs get once, and not inlined wherever they are called. Results are the same.
    pub share: Share,
    /// Which 64-bit types GPUs compute on smaller integers though they may have them, with the same results. What a GPU does
    /// not have is computed so in any case.
    pub emulate: Emulate,
    /// Run on the CPU what a GPU can't. If false, such a launch gives the guest the error code `unsupported`.
    pub allow_fallback: bool,
    /// Threads of the CPU device; `None` for one per core.
    pub threads: Option<usize>,
    /// Whether the CPU device runs neighbouring invocations at once, in the lanes of vectors. Results and traps are the same; the
    /// sequential device never does that.
    pub lanes: Lanes,
    /// What each guest may use up.
    pub limits: Limits,
    /// A guest's own loops end when an [`Interrupt`](crate::Interrupt) says so, which takes a few percent of its speed. So
    /// they do with a time limit, too.
    pub interruptible: bool,
    /// The folder in which lifted kernels and the pipelines that GPU drivers made of them are kept from one process to the
    /// next; `None`, the default, for none. [`default_cache_dir`](crate::default_cache_dir) is where the command keeps them. It
    /// is made for this user alone if it is not there. One that can't be used, or that others may write to, is noted in the
    /// `tracing` log and left alone: nothing but time depends on it.
    pub cache_dir: Option<PathBuf>,
    /// Most bytes of that folder, about; 256 MiB by default. What was not used for longest goes first.
    pub cache_size: u64,
    /// Who is told when a GPU was wished for and there is none; by default the `tracing` log.
    pub notice: Notice,
}

impl Config {
    /// Whether a guest's own code is to be interrupted.
    pub(crate) fn can_interrupt(&self) -> bool {
        self.interruptible || self.limits.time.is_some()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            device: DeviceChoice::Auto,
            adapter: None,
            sync: false,
            timed: false,
            verify: false,
            profile: Profile::default(),
            float: FloatMode::default(),
            libm: None,
            speculate: Speculate::default(),
            coarsen: Coarsen::default(),
            flatten: Flatten::default(),
            workgroup_size: None,
            share: Share::default(),
            emulate: Emulate::default(),
            allow_fallback: true,
            threads: None,
            lanes: Lanes::default(),
            limits: Limits::default(),
            interruptible: false,
            cache_dir: None,
            cache_size: 256 << 20,
            notice: Notice::default(),
        }
    }
}
