//! The devices of this machine: which one a wish leads to, opened when first used.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::config::{Config, DeviceChoice, Notice};
use crate::device::cpu::{self, CpuOptions};
use crate::device::gpu::{self, Adapter, GpuOptions};
use crate::device::{Device, DeviceError, DeviceInfo, DeviceKind};
use crate::disk_cache::DiskCache;
use crate::error::{Error, Result};
use crate::host::Hint;

/// Names one device of the process, open or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum DeviceSlot {
    /// A GPU adapter, by position in the list of adapters.
    Gpu(usize),
    /// All cores.
    Cpu,
    /// One core, in order.
    Sequential,
    /// The embedder's own.
    Own,
}

impl DeviceSlot {
    /// Whether its buffers lie in the guest's address space on the host. Buffers of other devices must be moved there
    /// before the CPU can run a launch.
    pub fn is_cpu(self) -> bool {
        matches!(self, DeviceSlot::Cpu | DeviceSlot::Sequential)
    }
}

/// All devices; shared by the guests of a runtime.
pub(crate) struct Devices {
    /// The one device that the configuration names for everything.
    fixed: Option<DeviceSlot>,
    own: Option<Arc<dyn Device>>,
    gpu_options: GpuOptions,
    cache: Option<Arc<DiskCache>>,
    cpu_options: CpuOptions,
    notice: Notice,
    told: AtomicBool,
    adapters: OnceLock<Vec<Adapter>>,
    open: Mutex<HashMap<DeviceSlot, Arc<dyn Device>>>,
}

impl Devices {
    /// Resolves what the configuration names, and opens it if it is a GPU, so that the error comes early.
    pub fn new(config: &Config) -> Result<Devices> {
        let mut devices = Devices {
            fixed: None,
            own: None,
            gpu_options: GpuOptions {
                profile: config.profile,
                float: config.float,
                emulate: config.emulate,
                speculate: config.speculate,
                coarsen: config.coarsen,
                flatten: config.flatten,
                workgroup_size: config.workgroup_size,
                share: config.share,
                libm: config.libm,
                timed: config.timed,
                fuel: config.limits.fuel,
                lift_work: config.limits.lift_work,
            },
            cache: open_cache(config),
            cpu_options: CpuOptions { threads: config.threads, fuel: config.limits.fuel, lanes: config.lanes },
            notice: config.notice.clone(),
            told: AtomicBool::new(false),
            adapters: OnceLock::new(),
            open: Mutex::new(HashMap::new()),
        };
        devices.fixed = match (&config.adapter, config.device) {
            (Some(wanted), DeviceChoice::Auto | DeviceChoice::Gpu) => Some(devices.find_adapter(wanted)?),
            (Some(wanted), _) => return Err(Error::AdapterOfCpu { wanted: wanted.clone() }),
            (None, DeviceChoice::Auto) => None,
            (None, DeviceChoice::Gpu) if devices.adapters().is_empty() => return Err(Error::NoGpu),
            (None, DeviceChoice::Gpu) => Some(DeviceSlot::Gpu(0)),
            (None, DeviceChoice::Cpu) => Some(DeviceSlot::Cpu),
            (None, DeviceChoice::Sequential) => Some(DeviceSlot::Sequential),
        };
        if let Some(slot @ DeviceSlot::Gpu(_)) = devices.fixed {
            devices.open(slot)?;
        }
        Ok(devices)
    }

    /// Uses a device of the embedder's own for everything.
    pub fn with_own(mut self, device: Arc<dyn Device>) -> Devices {
        self.fixed = Some(DeviceSlot::Own);
        self.own = Some(device);
        self
    }

    /// The disk cache, if there is one.
    pub fn cache(&self) -> Option<&DiskCache> {
        self.cache.as_deref()
    }

    fn adapters(&self) -> &[Adapter] {
        self.adapters.get_or_init(gpu::adapters)
    }

    fn find_adapter(&self, wanted: &str) -> Result<DeviceSlot> {
        let adapters = self.adapters();
        let found = match wanted.parse::<usize>() {
            Ok(index) => (index < adapters.len()).then_some(index),
            Err(_) => {
                let wanted = wanted.to_lowercase();
                adapters.iter().position(|a| a.info().name.to_lowercase().contains(&wanted))
            }
        };
        found.map(DeviceSlot::Gpu).ok_or_else(|| Error::NoAdapter {
            wanted: wanted.to_string(),
            available: adapters.iter().map(|a| a.info().name.clone()).collect(),
        })
    }

    /// Adapters with their indices, then the CPU.
    pub fn list(&self) -> Vec<(Option<usize>, DeviceInfo)> {
        let mut list: Vec<_> =
            self.adapters().iter().enumerate().map(|(index, a)| (Some(index), a.info().clone())).collect();
        if let Ok(cpu) = self.open(DeviceSlot::Cpu) {
            list.push((None, cpu.info().clone()));
        }
        list
    }

    /// The device at a slot, opened if it is not open yet.
    pub fn open(&self, slot: DeviceSlot) -> Result<Arc<dyn Device>, DeviceError> {
        if let (DeviceSlot::Own, Some(device)) = (slot, &self.own) {
            return Ok(device.clone());
        }
        let mut open = self.open.lock();
        if let Some(device) = open.get(&slot) {
            return Ok(device.clone());
        }
        let device = match slot {
            DeviceSlot::Gpu(index) => {
                let (adapter, options) = (&self.adapters()[index], &self.gpu_options);
                match &self.cache {
                    Some(cache) => gpu::open_with_cache(adapter, options, cache.clone())?,
                    None => gpu::open(adapter, options)?,
                }
            }
            DeviceSlot::Cpu | DeviceSlot::Own => cpu::open(&self.cpu_options),
            DeviceSlot::Sequential => cpu::open_sequential(&self.cpu_options),
        };
        open.insert(slot, device.clone());
        Ok(device)
    }

    /// Opens a lost device anew. It is one for all guests, and keeps what it knows of kernels. One that can't be opened is
    /// forgotten, so that guests to come get another.
    pub fn revive(&self, slot: DeviceSlot, lost: &Arc<dyn Device>) {
        if lost.revive().is_ok() {
            return;
        }
        let mut open = self.open.lock();
        if open.get(&slot).is_some_and(|known| Arc::ptr_eq(known, lost)) {
            open.remove(&slot);
        }
    }

    /// The device for launches of guests that express no wish.
    pub fn default_slot(&self) -> Result<DeviceSlot> {
        self.resolve(Hint::DiscreteGpu)
    }

    /// The device for a guest's hint: the configured one, else what is asked for, else the next best.
    pub fn resolve(&self, hint: Hint) -> Result<DeviceSlot> {
        if let Some(slot) = self.fixed {
            return Ok(slot);
        }
        let wanted = match hint {
            Hint::Sequential => return Ok(DeviceSlot::Sequential),
            Hint::Cpu => return Ok(DeviceSlot::Cpu),
            Hint::DiscreteGpu => [DeviceKind::DiscreteGpu, DeviceKind::IntegratedGpu],
            Hint::IntegratedGpu => [DeviceKind::IntegratedGpu, DeviceKind::DiscreteGpu],
        };
        let mut refused = None;
        for kind in wanted {
            for (index, adapter) in self.adapters().iter().enumerate().filter(|(_, a)| a.info().kind == kind) {
                match self.open(DeviceSlot::Gpu(index)) {
                    Ok(_) => return Ok(DeviceSlot::Gpu(index)),
                    Err(error) => refused = Some((adapter.info().name.clone(), error)),
                }
            }
        }
        self.tell_of_cpu(refused)?;
        Ok(DeviceSlot::Cpu)
    }

    fn tell_of_cpu(&self, refused: Option<(String, DeviceError)>) -> Result<()> {
        if self.told.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let cpu = self.open(DeviceSlot::Cpu)?.info().name.clone();
        self.notice.tell(&match refused {
            None => format!("no hardware GPU found; running on {cpu}"),
            Some((name, error)) => format!("the GPU `{name}` can't be used; running on {cpu}. {error}"),
        });
        Ok(())
    }
}

/// The disk cache that the configuration names, if it can be used.
fn open_cache(config: &Config) -> Option<Arc<DiskCache>> {
    let opened = DiskCache::open(config.cache_dir.as_ref()?, config.cache_size);
    opened.inspect_err(|why| tracing::warn!("{why}")).ok().map(Arc::new)
}
