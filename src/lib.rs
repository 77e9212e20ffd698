//! Wavelift runs data-parallel WebAssembly kernels on GPUs by lifting them to SPIR-V.
//!
//! A guest imports `wasi_ephemeral_parallel`, creates buffers, and calls `parallel_for` with a kernel of its own
//! function table. The kernel runs on a GPU where there is one and it can be lifted, else on all cores of the CPU,
//! with the same bytes as the result.
//!
//! - [`Runtime`] holds the Wasm engine and the devices; one serves any number of guests and threads.
//! - [`Module`] is a guest's module, compiled.
//! - [`Instance`] is a running guest with WASI preview 1.
//! - [`add_to_linker`] and [`GuestState`] are for hosts that have a `Store` and a `Linker` of their own.
//!
//! ```no_run
//! use wavelift::{Config, Instance, Module, Runtime, WasiCtxBuilder};
//!
//! # fn main() -> Result<(), wavelift::Error> {
//! let runtime = Runtime::new(Config::default())?;
//! let module = Module::from_file(&runtime, "saxpy.wasm")?;
//! let wasi = WasiCtxBuilder::new().inherit_stdio().build_p1();
//! let mut instance = Instance::new(&runtime, &module, wasi)?;
//! let exit_code = instance.start()?;
//! println!("exit code {exit_code}\n{}", instance.report());
//! # Ok(())
//! # }
//! ```

pub mod device;
mod disk_cache;
mod error;
mod host;
mod interrupt;
mod kernel;
pub mod memory;
pub mod report;
mod runtime;
pub mod text;
mod trap;

pub use device::cpu::Lanes;
pub use disk_cache::{CacheStatistics, CacheUses, DiskCache, default_cache_dir};
pub use error::{Error, Result};
pub use host::{ErrorCode, GuestState, HostFault, add_to_linker, last_words};
pub use interrupt::{Interrupt, Interruption};
pub use kernel::Mismatch;
pub use report::{LaunchRecord, Report};
pub use runtime::{Config, DeviceChoice, Instance, Limits, Module, Notice, Runtime};
pub use trap::KernelFault;

pub use wasmtime;
pub use wasmtime_wasi::{FsPerms, WasiCtxBuilder, p1::WasiP1Ctx};
pub use wavelift_translator as translator;
