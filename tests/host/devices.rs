//! Fallback and device errors, with devices that behave as a test says.

use std::collections::HashMap;
use std::sync::Arc;

use wavelift::device::{
    BufferId, BufferSpec, Caller, Context, Device, DeviceError, DeviceInfo, DeviceKind, KernelTrap, Launch,
    LaunchError, LaunchTimes, Location, TrapKind,
};
use wavelift::memory::AddressSpace;
use wavelift::{Config, ErrorCode, Runtime};

use super::{DRIVER, Guest, filled, table};

/// What the device does with every launch.
#[derive(Clone)]
pub enum Behaviour {
    /// It runs `FILL`.
    Fill,
    /// It runs `FILL` and gets one word wrong, the given one.
    FillWrongly(usize),
    /// It fails so.
    Fail(LaunchError),
}

/// A device with buffers of its own.
pub struct Own {
    info: DeviceInfo,
    behaviour: Behaviour,
    memory: u64,
}

impl Own {
    pub fn runtime(config: Config, behaviour: Behaviour) -> Runtime {
        let info = DeviceInfo {
            name: "the test's own".to_string(),
            kind: DeviceKind::DiscreteGpu,
            backend: String::new(),
            driver: String::new(),
            int64: true,
            int64_atomics: true,
            float64: true,
            int8: true,
            int16: true,
            subgroup: None,
            max_buffer_size: 1 << 32,
            max_binding_size: 1 << 32,
            max_workgroup_size: 1,
            max_buffers: 16,
        };
        Runtime::with_device(config, Arc::new(Own { info, behaviour, memory: 1 << 20 })).unwrap()
    }
}

impl Device for Own {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn new_context(&self, _space: Arc<AddressSpace>) -> Result<Box<dyn Context>, DeviceError> {
        let behaviour = self.behaviour.clone();
        Ok(Box::new(OwnContext { behaviour, memory: self.memory, buffers: HashMap::new() }))
    }
}

struct OwnContext {
    behaviour: Behaviour,
    memory: u64,
    buffers: HashMap<BufferId, Vec<u8>>,
}

impl Context for OwnContext {
    fn create_buffer(&mut self, spec: &BufferSpec) -> Result<(), DeviceError> {
        if u64::from(spec.size) > self.memory {
            return Err(DeviceError::OutOfMemory { device: "the test's own".to_string(), bytes: spec.size.into() });
        }
        self.buffers.insert(spec.id, vec![0; spec.size as usize]);
        Ok(())
    }

    fn free_buffer(&mut self, buffer: BufferId) {
        self.buffers.remove(&buffer);
    }

    fn write_buffer(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError> {
        let offset = offset as usize;
        self.buffers.get_mut(&buffer).unwrap()[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn read_buffer(&mut self, buffer: BufferId, offset: u32, out: &mut [u8]) -> Result<(), DeviceError> {
        let offset = offset as usize;
        out.copy_from_slice(&self.buffers[&buffer][offset..offset + out.len()]);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch, _caller: &mut dyn Caller) -> Result<LaunchTimes, LaunchError> {
        let wrong = match &self.behaviour {
            Behaviour::Fill => None,
            Behaviour::FillWrongly(word) => Some(*word),
            Behaviour::Fail(error) => return Err(error.clone()),
        };
        let buffer = self.buffers.get_mut(&launch.buffers[0].id).unwrap();
        let words = filled(launch.iterations as i32);
        for (i, (to, word)) in buffer.as_chunks_mut::<4>().0.iter_mut().zip(words).enumerate() {
            *to = (word + i32::from(wrong == Some(i))).to_le_bytes();
        }
        Ok(LaunchTimes::default())
    }
}

fn failing(config: Config, error: LaunchError) -> Guest {
    Guest::new(&Own::runtime(config, Behaviour::Fail(error)), DRIVER)
}

#[test]
fn an_own_device_runs_launches() {
    let mut guest = Guest::new(&Own::runtime(Config::default(), Behaviour::Fill), DRIVER);
    let buffer = guest.buffer(40, 2);
    assert_eq!(guest.launch(table::FILL, 10, &[], &[buffer]).unwrap(), 0);
    assert_eq!(guest.words(buffer, 10), filled(10));
    let launch = &guest.instance.report().launches()[0];
    assert_eq!((launch.device.as_str(), &launch.fallback), ("the test's own", &None));
}

#[test]
fn what_it_can_not_run_runs_on_the_cpu_with_its_buffers() {
    let error = LaunchError::Unsupported("Not here.".to_string());
    let mut guest = failing(Config::default(), error);
    let (a, b) = (guest.buffer(40, 0), guest.buffer(40, 1));
    guest.set_words(a, &[1, 2, 3]);
    guest.set_words(b, &[7, 7, 7, 7]);
    assert_eq!(guest.launch(table::DOUBLE, 3, &[a], &[b]).unwrap(), 0);
    assert_eq!(guest.words(b, 4), [2, 4, 6, 7]);
    assert_eq!(guest.words(a, 3), [1, 2, 3]);
    let launch = &guest.instance.report().launches()[0];
    assert!(launch.device.starts_with("CPU"), "{}", launch.device);
    assert!(launch.fallback.as_ref().unwrap().starts_with("Not here."));
    assert!(guest.instance.report().to_string().contains("Not here."));
}

#[test]
fn a_kernel_that_calls_the_host_gets_its_buffers_too() {
    for error in [LaunchError::Unsupported("No.".to_string()), LaunchError::NeedsCaller("Calls.".to_string())] {
        let mut guest = failing(Config::default(), error);
        let buffer = guest.buffer(40, 2);
        assert_eq!(guest.launch(table::CALLS_HOST, 3, &[], &[buffer]).unwrap(), 0);
        assert_eq!(guest.words(buffer, 4), [41, 42, 43, 0]);
    }
}

#[test]
fn a_forbidden_fallback_is_an_error_code() {
    let config = Config { allow_fallback: false, ..Config::default() };
    for error in [LaunchError::Unsupported("Not here.".to_string()), LaunchError::NeedsCaller("Calls.".to_string())] {
        let mut guest = failing(config.clone(), error);
        let buffer = guest.buffer(40, 2);
        let code = guest.launch(table::FILL, 3, &[], &[buffer]).unwrap();
        assert_eq!(code, ErrorCode::Unsupported as i32);
        assert_eq!(guest.words(buffer, 3), [0, 0, 0]);
        assert!(guest.instance.report().launches()[0].fallback.as_ref().unwrap().starts_with("Not run:"));
    }
}

#[test]
fn a_trap_in_a_fallback_leaves_the_guest_whole() {
    let mut guest = failing(Config::default(), LaunchError::Unsupported("Not here.".to_string()));
    let buffer = guest.buffer(40, 2);
    assert!(
        guest.launch(table::TRAPS, 9, &[], &[buffer]).unwrap_err().to_string().contains("iteration that trapped is 5")
    );
    assert_eq!(guest.launch(table::FILL, 4, &[], &[buffer]).unwrap(), 0);
    assert_eq!(guest.words(buffer, 4), filled(4));
}

#[test]
fn device_errors() {
    let device = "the test's own".to_string();
    let lost = DeviceError::Lost { device: device.clone(), message: "gone".to_string() };
    let mut guest = failing(Config::default(), lost.into());
    let buffer = guest.buffer(40, 2);
    assert_eq!(guest.launch(table::FILL, 3, &[], &[buffer]).unwrap(), ErrorCode::DeviceLost as i32);
    assert_eq!(guest.call("read_buffer", &[buffer, 0, 4]).unwrap(), ErrorCode::BadHandle as i32);
    guest.buffer(40, 2);

    let full = DeviceError::OutOfMemory { device: device.clone(), bytes: 1 };
    let mut guest = failing(Config::default(), full.into());
    let buffer = guest.buffer(40, 2);
    assert_eq!(guest.launch(table::FILL, 3, &[], &[buffer]).unwrap(), ErrorCode::OutOfMemory as i32);
    let handle = guest.device(0);
    assert_eq!(guest.call("create_buffer", &[handle, 2 << 20, 2, 0]).unwrap(), ErrorCode::OutOfMemory as i32);

    let failed = DeviceError::Failed { device, message: "a wire is loose".to_string() };
    let mut guest = failing(Config::default(), failed.into());
    let buffer = guest.buffer(40, 2);
    assert!(guest.launch(table::FILL, 3, &[], &[buffer]).unwrap_err().to_string().contains("a wire is loose"));
}

#[test]
fn an_internal_error_is_not_hidden_by_a_fallback() {
    let mut guest = failing(Config::default(), LaunchError::Internal("A rule was broken.".to_string()));
    let buffer = guest.buffer(40, 2);
    let error = guest.launch(table::FILL, 3, &[], &[buffer]).unwrap_err().to_string();
    assert_eq!(error, "The kernel `fill` could not be run: A rule was broken.");
}

#[test]
fn a_devices_trap_gets_names() {
    let at = Location { function: 18, offset: 0x123 };
    let trap = KernelTrap { at, kind: TrapKind::DivideByZero, iteration: 3 };
    let mut guest = failing(Config::default(), LaunchError::Trap(trap));
    let buffer = guest.buffer(40, 2);
    let error = guest.launch(table::FILL, 9, &[], &[buffer]).unwrap_err().to_string();
    assert!(error.starts_with("The kernel `fill` trapped: an integer was divided by zero"), "{error}");
    assert!(error.contains("byte offset 0x123") && error.ends_with("trapped is 3."), "{error}");
}
