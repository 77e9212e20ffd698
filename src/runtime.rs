//! The Wasm engine and the devices, shared by all guests.

mod config;
mod devices;
mod instance;
mod limits;
mod module;
mod splice;
mod ticker;

use std::sync::Arc;

pub use config::{Config, DeviceChoice, Notice};
pub(crate) use devices::{DeviceSlot, Devices};
pub use instance::Instance;
pub use limits::Limits;
pub use module::Module;

use crate::device::{Device, DeviceInfo};
use crate::disk_cache::{CacheStatistics, DiskCache};
use crate::error::{Error, Result};
use crate::kernel::KernelModules;

/// The Wasm engine, the configuration and the devices. Cheap to clone; serves any number of guests and threads.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    engine: wasmtime::Engine,
    config: Config,
    devices: Devices,
    kernel_modules: KernelModules,
}

impl Runtime {
    /// Makes an engine and, where the configuration asks for a GPU or an adapter, opens it.
    ///
    /// # Errors
    /// [`Error::NoGpu`] and [`Error::NoAdapter`] where what is asked for is not there, [`Error::Device`] where it
    /// can't be used, [`Error::Engine`] where this host can't run Wasmtime.
    pub fn new(config: Config) -> Result<Runtime> {
        let devices = Devices::new(&config)?;
        Runtime::of(config, devices)
    }

    /// Like [`Runtime::new`], with a device of the embedder's own, which runs every launch that it can; the CPU runs
    /// the others. Its buffers are taken to lie in memory of its own. The configuration's device choice is not used.
    ///
    /// # Errors
    /// [`Error::Engine`] where this host can't run Wasmtime.
    pub fn with_device(config: Config, device: Arc<dyn Device>) -> Result<Runtime> {
        let config = Config { device: DeviceChoice::Auto, adapter: None, ..config };
        let devices = Devices::new(&config)?.with_own(device);
        Runtime::of(config, devices)
    }

    fn of(config: Config, devices: Devices) -> Result<Runtime> {
        let engine = wasmtime::Engine::new(&engine_config(&config)).map_err(|e| Error::Engine(Error::one_line(&e)))?;
        if config.can_interrupt() {
            ticker::start(engine.weak())?;
        }
        Ok(Runtime { inner: Arc::new(Inner { engine, config, devices, kernel_modules: KernelModules::default() }) })
    }

    /// The engine that [`Module::new`] compiles for.
    pub fn engine(&self) -> &wasmtime::Engine {
        &self.inner.engine
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn devices(&self) -> &Devices {
        &self.inner.devices
    }

    pub(crate) fn kernel_modules(&self) -> &KernelModules {
        &self.inner.kernel_modules
    }

    /// Every device of this machine: GPU adapters, best first and with the index that [`Config::adapter`] takes,
    /// then the CPU with all cores (without an index).
    pub fn list_devices(&self) -> Vec<(Option<usize>, DeviceInfo)> {
        self.inner.devices.list()
    }

    /// How often the disk cache was of use so far; `None` without [`Config::cache_dir`], or where that can't be used.
    pub fn cache_statistics(&self) -> Option<CacheStatistics> {
        self.inner.devices.cache().map(DiskCache::statistics)
    }

    /// What a launch runs on when the guest expresses no wish.
    ///
    /// # Errors
    /// [`Error::Device`] if the device that the configuration names can't be opened any more.
    pub fn default_device(&self) -> Result<DeviceInfo> {
        let slot = self.inner.devices.default_slot()?;
        Ok(self.inner.devices.open(slot)?.info().clone())
    }
}

/// Wasmtime's settings for guests. Linear memories come from [`crate::memory`], so that CPU workers and guests
/// share pages; relaxed SIMD is deterministic because results are compared between devices.
fn engine_config(config: &Config) -> wasmtime::Config {
    let mut engine = wasmtime::Config::new();
    crate::memory::configure(&mut engine).relaxed_simd_deterministic(true).generate_address_map(true);
    engine.epoch_interruption(config.can_interrupt());
    engine
}
