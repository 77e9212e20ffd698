//! GPUs through wgpu: the only place of the runtime that names wgpu.
//!
//! [`adapters`] lists what this machine has, [`open`] opens one. A [`GpuDevice`] lifts kernels with the translator
//! and caches them; a [`GpuContext`] holds one guest's buffers and runs its launches. A device that is lost is
//! opened anew at the next call; what was on it is gone.

mod adapter;
mod again;
mod batch;
mod bindings;
mod conformance;
mod connection;
mod context;
mod dump;
mod faults;
mod features;
mod group_size;
mod host_copies;
mod immediates;
mod import;
mod kept;
mod known_data;
mod launch;
mod layout;
mod linear;
mod operands;
mod pace;
mod pipeline;
mod pools;
mod probe;
pub mod raw;
mod recent;
mod rehearsal;
mod scratch;
mod shader_module;
mod speculation;
mod transfer;
mod traps;
mod variant;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use wavelift_translator as translator;
use wavelift_translator::{Coarsen, Emulate, Features, Flatten, FloatMode, Libm, Profile, Share, Speculate};

use crate::device::{Context, Device, DeviceError, DeviceInfo, LaunchError};
use crate::disk_cache::DiskCache;
use crate::memory::AddressSpace;

pub use adapter::{Adapter, NoAdapter, adapters, find};
pub use conformance::{OperatorCheck, Outcome};
pub use context::GpuContext;
#[doc(hidden)]
pub use faults::{Fault, Plan};
#[doc(hidden)]
pub use layout::Limits;
pub use pipeline::Kernel;
pub use probe::{Exactness, Findings};

use connection::Connection;
use faults::Faults;
use kept::Kept;
use pipeline::KernelCache;

/// How kernels are lifted for a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuOptions {
    /// Which reader the SPIR-V is for. Adapters that can't take SPIR-V as it is get [`Profile::Portable`] in any case.
    pub profile: Profile,
    /// How exact floats are.
    pub float: FloatMode,
    /// What becomes of calls of C's mathematical library; `None`: what the float mode says.
    pub libm: Option<Libm>,
    /// When kernels are lifted in a form that assumes what holds in all sane programs, and checks it.
    pub speculate: Speculate,
    /// When an invocation of a shader runs four of the kernel's.
    pub coarsen: Coarsen,
    /// When the rounds of an invocation's loops become invocations.
    pub flatten: Flatten,
    /// Which functions of a kernel are kept once and not inlined wherever they are called.
    pub share: Share,
    /// Which 64-bit types are computed on smaller integers even where the adapter has them.
    pub emulate: Emulate,
    /// Invocations of a group, cut down to the device's limit. Where it is `None`, the device chooses for each kernel and size of
    /// a launch, and tries others once launches took far longer than compiling the kernel.
    pub workgroup_size: Option<u32>,
    /// Launches are timed by the device's clock, where it has one, even if that slows them down.
    pub timed: bool,
    /// See [`Limits::fuel`](crate::Limits::fuel).
    pub fuel: Option<u32>,
    /// See [`Limits::lift_work`](crate::Limits::lift_work).
    pub lift_work: u64,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            profile: Profile::default(),
            float: FloatMode::default(),
            libm: None,
            speculate: Speculate::default(),
            coarsen: Coarsen::default(),
            flatten: Flatten::default(),
            share: Share::default(),
            emulate: Emulate::default(),
            workgroup_size: None,
            timed: false,
            fuel: crate::Limits::default().fuel,
            lift_work: crate::Limits::default().lift_work,
        }
    }
}

/// How bytes reach a device's buffers. For measurements and tests; [`open`] chooses by itself.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfers {
    /// Buffers are mapped into the host's address space: best where device and host share one memory.
    Mapped,
    /// Bytes go through staging buffers.
    Staged,
}

/// Opens an adapter.
///
/// # Errors
/// [`DeviceError::Failed`] with a sentence that says what is missing, if the adapter can't run lifted kernels or its
/// driver is one that gives wrong results (Mesa's lavapipe before version 25).
pub fn open(adapter: &Adapter, options: &GpuOptions) -> Result<Arc<dyn Device>, DeviceError> {
    Ok(Arc::new(GpuDevice::open(adapter, options)?))
}

/// The same for a device that looks for lifted kernels and pipelines in a disk cache, and keeps its own there.
///
/// # Errors
/// Those of [`open`].
pub fn open_with_cache(
    adapter: &Adapter,
    options: &GpuOptions,
    cache: Arc<DiskCache>,
) -> Result<Arc<dyn Device>, DeviceError> {
    Ok(Arc::new(GpuDevice::open_with_cache(adapter, options, cache)?))
}

/// An open GPU.
pub struct GpuDevice {
    shared: Arc<Shared>,
}

/// What a device and its contexts share.
pub(crate) struct Shared {
    adapter: Adapter,
    transfers: Transfers,
    timed: bool,
    limits: Limits,
    /// How kernels are lifted for this device, its features included.
    options: translator::Options,
    /// What the size of groups is chosen by.
    groups: group_size::Facts,
    /// Trials of sizes start soon.
    tries_groups: AtomicBool,
    speculate: Speculate,
    coarsen: Coarsen,
    flatten: Flatten,
    /// A bug that tests plant: what a form that bailed out wrote stays.
    forgets_restoring: AtomicBool,
    /// How often linear memory was bound anew without a copy.
    imported: AtomicU64,
    kernels: KernelCache,
    current: Mutex<Arc<Connection>>,
    /// What tests plant.
    faults: Arc<Faults>,
}

impl Shared {
    fn new(
        adapter: &Adapter,
        (connection, transfers): (Arc<Connection>, Transfers),
        limits: Limits,
        options: translator::Options,
    ) -> Shared {
        let groups =
            group_size::Facts::new(Some(options.workgroup_size), options.workgroup_size, 0, connection.software);
        Shared {
            groups,
            tries_groups: AtomicBool::new(false),
            adapter: adapter.clone(),
            transfers,
            timed: false,
            limits,
            options,
            speculate: Speculate::default(),
            coarsen: Coarsen::default(),
            flatten: Flatten::default(),
            forgets_restoring: AtomicBool::new(false),
            imported: AtomicU64::new(0),
            kernels: KernelCache::new(None),
            faults: connection.faults.clone(),
            current: Mutex::new(connection),
        }
    }
}

/// Most accesses of memory of a kernel. Drivers' compilers are slow beyond that: lavapipe's takes 10 s for about a thousand,
/// and four times as long for twice as many; NVIDIA's takes over 45 s for 5,000.
const MAX_ACCESSES: u32 = 2_000;

/// Largest private stack of a kernel, in bytes. Mesa's software driver compiles 16 KiB in 4 s, and 256 KiB in 79; a GPU's
/// driver keeps it for every invocation that can be under way, a quarter of a million on large ones.
const MAX_STACK: u32 = 32 << 10;

/// The options with the limits that kernels have on any GPU.
pub fn within_limits(options: translator::Options) -> translator::Options {
    translator::Options { max_accesses: MAX_ACCESSES, max_stack: MAX_STACK, ..options }
}

/// By how much less fuel an invocation has on a GPU than on a processor: an H200 runs about as many operators of a loop each second,
/// and fewer where they wait for memory.
const SLOWER: u32 = 2;

/// Deepest nesting of branches in kernels for Mesa's software driver, which keeps 80 levels and no more: beyond that it gives
/// wrong results or crashes.
const MAX_NESTING_SOFTWARE: u32 = 76;

impl GpuDevice {
    /// Opens an adapter; see [`open`].
    pub fn open(adapter: &Adapter, options: &GpuOptions) -> Result<GpuDevice, DeviceError> {
        GpuDevice::open_with(adapter, options, None)
    }

    /// The same with a disk cache; see [`open_with_cache`].
    pub fn open_with_cache(
        adapter: &Adapter,
        options: &GpuOptions,
        cache: Arc<DiskCache>,
    ) -> Result<GpuDevice, DeviceError> {
        let kept = Some(Kept::new(cache, adapter));
        GpuDevice::open_as(adapter, options, None, (Limits::NONE, kept), |_| {})
    }

    /// The same with the way of transfers chosen by the caller. An adapter whose buffers can't be mapped stays staged.
    #[doc(hidden)]
    pub fn open_with(
        adapter: &Adapter,
        options: &GpuOptions,
        transfers: Option<Transfers>,
    ) -> Result<GpuDevice, DeviceError> {
        GpuDevice::open_changed(adapter, options, transfers, |_| {})
    }

    /// The same with lower limits, as if the device had them.
    #[doc(hidden)]
    pub fn open_limited(
        adapter: &Adapter,
        options: &GpuOptions,
        transfers: Option<Transfers>,
        limits: Limits,
    ) -> Result<GpuDevice, DeviceError> {
        GpuDevice::open_as(adapter, options, transfers, (limits, None), |_| {})
    }

    /// The same with the device's features changed, as if it lacked some.
    #[doc(hidden)]
    pub fn open_changed(
        adapter: &Adapter,
        options: &GpuOptions,
        transfers: Option<Transfers>,
        change: impl FnOnce(&mut Features),
    ) -> Result<GpuDevice, DeviceError> {
        GpuDevice::open_as(adapter, options, transfers, (Limits::NONE, None), change)
    }

    fn open_as(
        adapter: &Adapter,
        options: &GpuOptions,
        transfers: Option<Transfers>,
        (limits, kept): (Limits, Option<Kept>),
        change: impl FnOnce(&mut Features),
    ) -> Result<GpuDevice, DeviceError> {
        adapter.check()?;
        let transfers = transfers.unwrap_or(adapter.best_transfers());
        let connection = Arc::new(Connection::open(adapter, transfers, &limits, (0, Arc::default()))?);
        let profile = adapter.profile(options.profile);
        let found = match adapter.is_lavapipe() {
            // What it was measured to do from Mesa 25 on; the probe agrees (see the tests).
            true => Findings::ALL,
            false => probe::cached(adapter, profile, || match limits == Limits::NONE {
                true => Ok(GpuDevice::assuming_exactness(adapter, profile, (connection.clone(), transfers))),
                // The probe's buffers have the size that they have.
                false => GpuDevice::open_to_probe(adapter, profile, transfers),
            })?,
        };
        let mut features = features::of(adapter, &connection, profile, found);
        change(&mut features);
        let DeviceInfo { max_workgroup_size: limit, subgroup, .. } = *adapter.info();
        let subgroup = subgroup.map_or(0, |(_, most)| most);
        let groups = group_size::Facts::new(options.workgroup_size, limit, subgroup, connection.software);
        let lifting = translator::Options {
            profile,
            float: options.float,
            libm: options.libm,
            fuel: options.fuel.map(|fuel| if connection.software { fuel } else { (fuel / SLOWER).max(1) }),
            max_work: options.lift_work,
            features,
            emulate: options.emulate,
            share: options.share,
            workgroup_size: group_size::USUAL.min(limit),
            max_nesting: if connection.software { MAX_NESTING_SOFTWARE } else { u32::MAX },
            ..within_limits(translator::Options::default())
        };
        let shared = Shared::new(adapter, (connection, transfers), limits, lifting);
        let GpuOptions { timed, speculate, coarsen, flatten, .. } = *options;
        let shared = Shared { timed, groups, speculate, coarsen, flatten, kernels: KernelCache::new(kept), ..shared };
        Ok(GpuDevice { shared: Arc::new(shared) })
    }

    /// A connection of its own to find out what the adapter's floats do.
    fn open_to_probe(adapter: &Adapter, profile: Profile, transfers: Transfers) -> Result<GpuDevice, DeviceError> {
        let connection = Connection::open(adapter, transfers, &Limits::NONE, (0, Arc::default()))?;
        Ok(GpuDevice::assuming_exactness(adapter, profile, (Arc::new(connection), transfers)))
    }

    /// A device on an open connection that lifts every float operator to the GPU's own.
    fn assuming_exactness(
        adapter: &Adapter,
        profile: Profile,
        (connection, transfers): (Arc<Connection>, Transfers),
    ) -> GpuDevice {
        let features = features::of(adapter, &connection, profile, Findings::ALL);
        let lifting = translator::Options { profile, features, ..translator::Options::default() };
        GpuDevice { shared: Arc::new(Shared::new(adapter, (connection, transfers), Limits::NONE, lifting)) }
    }

    /// How kernels are lifted for this device.
    pub fn options(&self) -> &translator::Options {
        &self.shared.options
    }

    /// Opens a context for one guest.
    pub fn new_gpu_context(&self) -> GpuContext {
        GpuContext::new(self.shared.clone(), None)
    }

    /// Makes a kernel of a shader, as lifting does.
    ///
    /// # Safety
    /// The words must be valid SPIR-V for this device and access only what the interface declares, within its bounds:
    /// drivers check neither.
    #[doc(hidden)]
    pub unsafe fn prepare(&self, shader: translator::Shader) -> Result<Arc<Kernel>, LaunchError> {
        let kernel = Kernel::new(shader, Default::default(), None)?.with_fixed_groups();
        let connection = self.shared.connection()?;
        kernel.pipeline(&connection, self.shared.options.profile, kernel.interface().workgroup_size)?;
        Ok(Arc::new(kernel))
    }

    /// Measures what floats do on this device, whatever is known of it.
    #[doc(hidden)]
    pub fn probe(&self) -> Result<Findings, DeviceError> {
        let profile = self.shared.options.profile;
        let connection = (self.shared.connection()?, self.shared.transfers);
        probe::run(&GpuDevice::assuming_exactness(&self.shared.adapter, profile, connection))
    }

    /// Runs every operator that takes or gives floats, lifted as kernels are, on edge values and on `random` pairs of
    /// each sort, and compares with the host's results. Not among them: those that trap, and reinterpretation.
    ///
    /// # Errors
    /// [`LaunchError::Internal`] for a defect of the translator, [`LaunchError::Device`] if the device fails.
    pub fn check_floats(&self, random: usize) -> Result<Vec<OperatorCheck>, LaunchError> {
        conformance::run(self, random)
    }

    /// Plants a bug: what a form wrote that bailed out is not undone.
    #[doc(hidden)]
    pub fn forget_restoring(&self) {
        self.shared.forgets_restoring.store(true, Ordering::Relaxed);
    }

    /// Launches try sizes of groups soon, however little time those before took: the second of a kind, and a dozen behind it.
    #[doc(hidden)]
    pub fn try_group_sizes(&self) {
        self.shared.tries_groups.store(true, Ordering::Relaxed);
    }

    /// How often linear memory was bound anew without a copy.
    #[doc(hidden)]
    pub fn imported(&self) -> u64 {
        self.shared.imported.load(Ordering::Relaxed)
    }

    /// Pipelines are kept on disk though the driver gives nothing but a header for them.
    #[doc(hidden)]
    pub fn keep_empty_pipelines(&self) {
        self.shared.kernels.keep_empty_pipelines();
    }

    /// Destroys the driver's device under all contexts, as an unplugged GPU does.
    #[doc(hidden)]
    pub fn lose(&self) {
        self.shared.current.lock().destroy();
    }

    /// Plants a fault, or takes the planted one away.
    #[doc(hidden)]
    pub fn plant(&self, plan: Option<Plan>) {
        self.shared.faults.plant(plan);
    }

    /// Whether a planted fault has not struck yet.
    #[doc(hidden)]
    pub fn is_planted(&self) -> bool {
        self.shared.faults.is_planted()
    }

    /// Lets the adapter be opened no more, or again.
    #[doc(hidden)]
    pub fn close(&self, closed: bool) {
        self.shared.faults.close(closed);
    }

    pub(crate) fn connection(&self) -> Result<Arc<Connection>, DeviceError> {
        self.shared.connection()
    }
}

impl Device for GpuDevice {
    fn info(&self) -> &DeviceInfo {
        self.shared.adapter.info()
    }

    fn new_context(&self, space: Arc<AddressSpace>) -> Result<Box<dyn Context>, DeviceError> {
        Ok(Box::new(GpuContext::new(self.shared.clone(), Some(space))))
    }

    fn revive(&self) -> Result<(), DeviceError> {
        self.shared.connection().map(drop)
    }
}

impl Shared {
    /// What the size of groups is chosen by.
    pub(crate) fn groups(&self) -> group_size::Facts {
        group_size::Facts { eager: self.tries_groups.load(Ordering::Relaxed), ..self.groups }
    }

    /// The open connection; a new one if the last was lost.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>, DeviceError> {
        let mut current = self.current.lock();
        if current.lost().is_some() {
            let next = current.generation + 1;
            tracing::warn!(device = self.adapter.info().name, "the device was lost and is opened anew");
            let opened = Connection::open(&self.adapter, self.transfers, &self.limits, (next, self.faults.clone()));
            // Still lost, to those above: what they hold on it is gone.
            *current = Arc::new(opened.map_err(|error| current.lost_for_good(&error))?);
        }
        Ok(current.clone())
    }
}
