//! The CPU devices: kernels run in Wasmtime, on all cores or on one.
//!
//! A kernel is cut out of its module together with what it reaches, a loop over iteration ids is put around it
//! (`encode`), and each worker thread runs chunks of that loop in an instance of its own. The memory of such an
//! instance is a view of the guest's address space (see [`crate::memory`]): linear memory and the launch's buffers,
//! and a stack that is the worker's own. Nothing is copied.

use std::sync::Arc;

use super::{Context, Device, DeviceError, DeviceInfo, DeviceKind};
use crate::memory::AddressSpace;

mod body;
mod bulk;
mod context;
mod cost;
mod encode;
mod fuel;
mod job;
mod kernel;
mod lanes;
mod operators;
mod pool;
mod run;
mod shown;
mod slice;
mod stack_pointer;
mod tallies;
mod tiles;
mod worker;

pub use lanes::Lanes;

use context::CpuContext;
use kernel::Kernels;
use pool::Pool;

/// How a CPU device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads of a launch, 1 to 1024, that which launches included; `None` for as many as there are cores.
    pub threads: Option<usize>,
    /// See [`Limits::fuel`](crate::Limits::fuel).
    pub fuel: Option<u32>,
    /// Whether neighbouring invocations run at once, in the lanes of vectors. The sequential device never does that.
    pub lanes: Lanes,
}

impl Default for CpuOptions {
    fn default() -> Self {
        CpuOptions { threads: None, fuel: crate::Limits::default().fuel, lanes: Lanes::default() }
    }
}

/// All cores of this machine.
pub fn all_cores() -> Arc<dyn Device> {
    open(&CpuOptions::default())
}

/// The CPU with this many workers, 1 to 1024: the launching thread and `threads - 1` more.
pub fn all_cores_with(threads: usize) -> Arc<dyn Device> {
    open(&CpuOptions { threads: Some(threads), ..CpuOptions::default() })
}

/// The CPU.
pub fn open(options: &CpuOptions) -> Arc<dyn Device> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = options.threads.unwrap_or_else(cores).clamp(1, 1024);
    let plural = if workers == 1 { "thread" } else { "threads" };
    CpuDevice::shared(DeviceKind::Cpu, format!("CPU ({workers} {plural})"), workers, options.fuel, options.lanes)
}

/// One core, invocations in order, on the launching thread.
pub fn sequential() -> Arc<dyn Device> {
    open_sequential(&CpuOptions::default())
}

/// The same; the number of threads does not matter.
pub fn open_sequential(options: &CpuOptions) -> Arc<dyn Device> {
    CpuDevice::shared(DeviceKind::Sequential, "CPU (sequential)".into(), 1, options.fuel, Lanes::Off)
}

struct CpuDevice {
    info: DeviceInfo,
    shared: Arc<Shared>,
}

/// What the contexts of a device share.
struct Shared {
    /// The device's name.
    name: String,
    kernels: Kernels,
    pool: Pool,
    workers: usize,
}

/// Parameters that a Wasm function may have.
const MOST_PARAMS: u32 = 1000;

/// The largest buffer: all addresses but the first and the last 64 KiB, which are never mapped for one.
const LARGEST_BUFFER: u64 = (1 << 32) - (2 << 16);

impl CpuDevice {
    fn shared(kind: DeviceKind, name: String, workers: usize, fuel: Option<u32>, lanes: Lanes) -> Arc<dyn Device> {
        let info = DeviceInfo {
            name: name.clone(),
            kind,
            backend: "Wasmtime".into(),
            driver: String::new(),
            int64: true,
            int64_atomics: true,
            float64: true,
            int8: true,
            int16: true,
            subgroup: None,
            max_buffer_size: LARGEST_BUFFER,
            max_binding_size: LARGEST_BUFFER,
            max_workgroup_size: 1024,
            max_buffers: (MOST_PARAMS - 3) / 2,
        };
        let shared = Shared { name, kernels: Kernels::new(fuel, lanes), pool: Pool::new(workers), workers };
        Arc::new(CpuDevice { info, shared: Arc::new(shared) })
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn new_context(&self, space: Arc<AddressSpace>) -> Result<Box<dyn Context>, DeviceError> {
        let engine = kernel::engine()
            .map_err(|message| DeviceError::Failed { device: self.info.name.clone(), message: message.clone() })?;
        Ok(Box::new(CpuContext::new(engine.clone(), self.shared.clone(), space)))
    }
}
