//! The seam between the runtime and what runs kernels.
//!
//! A [`Device`] is one piece of hardware (or a software driver) of this machine and is shared by all guests.
//! A [`Context`] is what one guest has on one device: its buffers and its launches. Addresses, handles,
//! error codes and the choice of a device are decided above this seam; how a kernel runs, below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wavelift_translator as translator;
pub use wavelift_translator::{Access, Location, TableEntry, TrapKind};

use crate::interrupt::{Interrupt, Interruption};
use crate::memory::AddressSpace;

pub mod cpu;
pub mod gpu;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// A GPU with memory of its own.
    DiscreteGpu,
    /// A GPU that shares the host's memory, or a virtual one.
    IntegratedGpu,
    /// A GPU driver that runs on the CPU (lavapipe, WARP, SwiftShader).
    SoftwareGpu,
    /// All cores of the host, through Wasmtime.
    Cpu,
    /// One core of the host, invocations in order.
    Sequential,
}

/// What `wavelift devices` shows of a device.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The adapter's name as the driver gives it, or "CPU (N threads)".
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The API it is reached through: "Vulkan", "Metal", "DX12", "Wasmtime".
    pub backend: String,
    /// The driver and its version; empty where there is none.
    pub driver: String,
    /// 64-bit integers in kernels.
    pub int64: bool,
    /// Atomics of 64 bits in kernels.
    pub int64_atomics: bool,
    /// 64-bit floats in kernels.
    pub float64: bool,
    /// 8-bit storage.
    pub int8: bool,
    /// 16-bit storage.
    pub int16: bool,
    /// Lanes of a subgroup, smallest and largest; `None` without subgroup operations.
    pub subgroup: Option<(u32, u32)>,
    /// Largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// Largest range of a buffer that one binding holds, in bytes; a larger buffer takes several.
    pub max_binding_size: u64,
    /// Most invocations of one group.
    pub max_workgroup_size: u32,
    /// Most buffers of one launch that it binds as they are; of more, small ones are copied together for its time.
    pub max_buffers: u32,
}

/// One buffer of a guest. Unique in its guest, never used again after it is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u64);

/// A buffer as the guest created it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferSpec {
    /// Its identity.
    pub id: BufferId,
    /// Its address in the device address space, a multiple of 256, the same on every device.
    pub address: u32,
    /// Its size in bytes; 0 is allowed.
    pub size: u32,
    /// What kernels may do with it.
    pub access: Access,
}

/// A module that holds kernels, its original bytes parsed and validated once: the guest's own, or one whose bytes the
/// guest gave to a launch.
#[derive(Debug)]
pub struct GuestModule {
    /// Unique in the process: a cache key.
    pub id: u64,
    /// The parsed module (it holds the original bytes).
    pub wasm: translator::Module,
}

impl GuestModule {
    /// A module with a number of its own.
    pub fn new(wasm: translator::Module) -> Arc<GuestModule> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(GuestModule { id: NEXT.fetch_add(1, Ordering::Relaxed), wasm })
    }
}

/// One launch, checked against the ABI: at least one iteration, buffers exist, the kernel's type fits.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The module that holds the kernel.
    pub module: Arc<GuestModule>,
    /// Index of the kernel in the module's function index space.
    pub function: u32,
    /// Number of invocations, at least 1.
    pub iterations: u32,
    /// Passed through to the kernel; a hint for the group size.
    pub block_size: u32,
    /// In-buffers, then out-buffers, in list order; a buffer listed twice stands here twice.
    pub buffers: Vec<BufferSpec>,
}

/// A value of a global.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalValue {
    /// `i32`
    I32(i32),
    /// `i64`
    I64(i64),
    /// `f32`, its bits
    F32(u32),
    /// `f64`, its bits
    F64(u64),
    /// `v128`, its bits
    V128(u128),
}

impl From<translator::module::ConstInit> for GlobalValue {
    fn from(init: translator::module::ConstInit) -> Self {
        use translator::module::ConstInit;
        match init {
            ConstInit::I32(value) => GlobalValue::I32(value),
            ConstInit::I64(value) => GlobalValue::I64(value),
            ConstInit::F32(bits) => GlobalValue::F32(bits),
            ConstInit::F64(bits) => GlobalValue::F64(bits),
            ConstInit::V128(bits) => GlobalValue::V128(bits),
        }
    }
}

/// A memory that a kernel module defines for itself. Each launch starts with these contents; its invocations share the
/// memory as they would linear memory, and after the launch it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnMemory {
    /// Its size in bytes.
    pub size: u64,
    /// Addresses and bytes that are set at first, in this order; all others are zero.
    pub data: Vec<(u32, Vec<u8>)>,
}

impl OwnMemory {
    /// Copies the bytes from `offset` on, as they are at first, to `out`.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        out.fill(0);
        let end = offset + out.len() as u64;
        for (address, bytes) in &self.data {
            let (first, last) = (u64::from(*address), u64::from(*address) + bytes.len() as u64);
            let (from, to) = (first.max(offset), last.min(end));
            if from < to {
                let bytes = &bytes[(from - first) as usize..(to - first) as usize];
                out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(bytes);
            }
        }
    }
}

/// The state that a launch starts from, asked for by a device as far as the kernel needs it: the calling instance's at
/// the call or, where the kernel came as a module of its own, that module's initial one. Indices are those of
/// [`Launch::module`].
pub trait Caller {
    /// The kernel's memory, where it is one of its own module's and not the caller's linear memory. It does not lie in
    /// the guest's address space, whatever that is.
    fn own_memory(&self) -> Option<&OwnMemory> {
        None
    }
    /// The present size of linear memory 0 in bytes; 0 if the module has none.
    fn memory_size(&mut self) -> u64;
    /// Copies linear memory from `offset` on to `out`; the range lies inside the memory. Where the caller's linear memory
    /// is mapped, a device need not ask.
    fn read_memory(&mut self, offset: u64, out: &mut [u8]);
    /// The reverse of `read_memory`; what is written to a memory of the kernel's own is dropped.
    fn write_memory(&mut self, offset: u64, data: &[u8]);
    /// The present value of a global of a number type, by index; `None` for reference types.
    fn global(&mut self, index: u32) -> Option<GlobalValue>;
    /// The present entries of a function table, by index.
    fn table(&mut self, index: u32) -> Vec<TableEntry>;
    /// Whether a data segment of [`Module::droppable_data`](translator::Module::droppable_data) was dropped. A new instance
    /// has dropped none.
    fn has_dropped(&mut self, _segment: u32) -> bool {
        false
    }
}

/// How long the parts of a launch took. Zero where a part did not happen (a cached kernel is not lifted again).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaunchTimes {
    /// Wasm to SPIR-V (GPU), or re-encoding the device module (CPU); that of forms that were undone, too.
    pub lift: Duration,
    /// The kernel was not lifted but found in the disk cache.
    pub from_cache: bool,
    /// Pipeline creation by the driver, or compilation by Cranelift; that of forms that were undone, too.
    pub compile: Duration,
    /// Submission to completion; from device timestamps where the device has them.
    pub run: Duration,
    /// Invocations that ran at once in the lanes of vectors, where the CPU device did that.
    pub lanes: Option<u32>,
    /// Invocations of the shader that a group had, where a GPU ran it.
    pub group: Option<u32>,
    /// How many invocations stood for one of the launch's, where iterations of loops were such on a GPU; else 0 or 1.
    pub rounds: u32,
    /// What the form that ran assumes.
    pub assumed: translator::Speculation,
    /// Where and why a form that ran before it bailed out, and was undone.
    pub bailed_out: Option<KernelTrap>,
}

/// What became of a launch that need not be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launched {
    /// It has ended.
    Done(LaunchTimes),
    /// It is under way; [`Context::finish`] tells what became of it.
    Deferred,
}

/// Where and why an invocation trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTrap {
    /// The operator that trapped.
    pub at: Location,
    /// What happened.
    pub kind: TrapKind,
    /// The lowest trapping iteration id over all sites.
    pub iteration: u32,
}

/// Why a device could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device's memory, or the host's, is used up.
    #[error("The device `{device}` has no memory left{}.", if *bytes > 0 { format!(" for {bytes} bytes") } else { String::new() })]
    OutOfMemory {
        /// The device's name.
        device: String,
        /// What was asked for; 0 where that is not known.
        bytes: u64,
    },
    /// The device went away.
    #[error("The device `{device}` was lost: {message}")]
    Lost {
        /// The device's name.
        device: String,
        /// What the driver says.
        message: String,
    },
    /// The device or its driver failed otherwise.
    #[error("The device `{device}` failed: {message}")]
    Failed {
        /// The device's name.
        device: String,
        /// What failed, as a sentence.
        message: String,
    },
}

/// Why a launch did not complete.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LaunchError {
    /// This device can't run this kernel; another one can. Nothing was run.
    #[error("{0}")]
    Unsupported(String),
    /// The kernel reaches a host import or `memory.grow`: the runtime runs it in order in the caller's own instance, or
    /// in one beside it. Nothing was run.
    #[error("{0}")]
    NeedsCaller(String),
    /// An invocation trapped. Buffer contents are unspecified.
    #[error("{}", .0.kind)]
    Trap(KernelTrap),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The guest is to be stopped; some invocations may have run.
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    /// The translator broke its own rules: never hidden by a fallback.
    #[error("{0}")]
    Internal(String),
}

/// One device of this machine, shared by all guests and threads.
pub trait Device: Send + Sync {
    /// What it is and can do.
    fn info(&self) -> &DeviceInfo;
    /// Opens a context for one guest. `space` is the guest's device address space.
    fn new_context(&self, space: Arc<AddressSpace>) -> Result<Box<dyn Context>, DeviceError>;
    /// Makes the device usable again if it was lost.
    fn revive(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// What one guest has on one device.
pub trait Context: Send {
    /// Has launches end early when this says so. By default nothing does.
    fn interrupt_by(&mut self, _interrupt: &Interrupt) {}
    /// Creates a buffer of zeroes.
    fn create_buffer(&mut self, spec: &BufferSpec) -> Result<(), DeviceError>;
    /// Frees a buffer; an unknown one is ignored.
    fn free_buffer(&mut self, buffer: BufferId);
    /// Copies `data` to bytes `[offset, offset + data.len())`, which the caller has checked to lie inside the buffer.
    fn write_buffer(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError>;
    /// Copies bytes `[offset, offset + out.len())` of the buffer to `out`, after all launches before it.
    fn read_buffer(&mut self, buffer: BufferId, offset: u32, out: &mut [u8]) -> Result<(), DeviceError>;
    /// Runs exactly `launch.iterations` invocations and waits for them.
    fn launch(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<LaunchTimes, LaunchError>;
    /// The same, perhaps without waiting: the launch sees the caller's state as it is now, later calls see what it writes to
    /// buffers, and what it writes to linear memory is there when this returns. By default it waits.
    fn enqueue(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<Launched, LaunchError> {
        self.launch(launch, caller).map(Launched::Done)
    }
    /// Waits for all launches that [`Context::enqueue`] deferred, and gives what became of each, in their order. Of what
    /// comes after a failure nothing holds: those launches ran on unspecified contents or not at all.
    fn finish(&mut self) -> Vec<Result<LaunchTimes, LaunchError>> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_of_its_own_is_zero_but_for_its_data() {
        let data = vec![(2, vec![1, 2, 3, 4]), (4, vec![9]), (10, vec![7, 7])];
        let memory = OwnMemory { size: 12, data };
        let whole = [0, 0, 1, 2, 9, 4, 0, 0, 0, 0, 7, 7];
        for (start, end) in [(0, 12), (0, 3), (3, 5), (5, 11), (6, 10), (12, 12)] {
            let mut out = vec![0xff; end - start];
            memory.read(start as u64, &mut out);
            assert_eq!(out, whole[start..end]);
        }
    }
}
