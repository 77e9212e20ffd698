//! The devices: the CPU, and a GPU in both profiles.

use std::sync::{Arc, OnceLock};

use wavelift::device::gpu::{self, GpuDevice, GpuOptions};
use wavelift::device::{
    Access, BufferId, BufferSpec, Caller, Context, Device, DeviceKind, GlobalValue, Launch, LaunchError, TableEntry,
    cpu,
};
use wavelift::memory::AddressSpace;
use wavelift::translator::{self, Emulate, Options, Profile};

use crate::cases::{Case, FunctionCases, ModuleCases, Observed, State};
use crate::engine::{Engine, Stopped};
use crate::keep::keep;
use crate::reason::Skip;
use crate::records;
use crate::script::Expectation;

/// The CPU device of all trials.
pub fn cpu_engine() -> Result<DeviceEngine, String> {
    static DEVICE: OnceLock<Arc<dyn Device>> = OnceLock::new();
    DeviceEngine::new(DEVICE.get_or_init(in_groups).clone(), None)
}

/// Invocations run in groups wherever they can.
fn in_groups() -> Arc<dyn Device> {
    let lanes = wavelift::Lanes::Of(4);
    cpu::open(&cpu::CpuOptions { threads: Some(2), lanes, ..cpu::CpuOptions::default() })
}

/// The first GPU in this profile, or why there is none. One that the runtime refuses is an error.
pub fn gpu_device(profile: Profile) -> Result<Arc<GpuDevice>, NoGpu> {
    type Opened = Result<Arc<GpuDevice>, NoGpu>;
    static DEVICES: [OnceLock<Opened>; 2] = [const { OnceLock::new() }; 2];
    let index = usize::from(profile == Profile::Portable);
    DEVICES[index].get_or_init(|| open(&GpuOptions { profile, ..Default::default() })).clone()
}

/// The first GPU in this profile, with both 64-bit types emulated.
pub fn emulating_device(profile: Profile) -> Result<Arc<GpuDevice>, NoGpu> {
    type Opened = Result<Arc<GpuDevice>, NoGpu>;
    static DEVICES: [OnceLock<Opened>; 2] = [const { OnceLock::new() }; 2];
    let emulate = Emulate { i64: true, f64: true };
    let index = usize::from(profile == Profile::Portable);
    DEVICES[index].get_or_init(|| open(&GpuOptions { profile, emulate, ..Default::default() })).clone()
}

fn open(options: &GpuOptions) -> Result<Arc<GpuDevice>, NoGpu> {
    let adapter = gpu::adapters().into_iter().next().ok_or(NoGpu::NoDriver)?;
    GpuDevice::open(&adapter, options).map(Arc::new).map_err(|error| NoGpu::Refused(error.to_string()))
}

/// Why there is no GPU.
#[derive(Clone, Debug)]
pub enum NoGpu {
    /// The tests of GPUs show as ignored.
    NoDriver,
    /// They fail.
    Refused(String),
}

/// Runs cases on a device.
pub struct DeviceEngine {
    context: Box<dyn Context>,
    space: Arc<AddressSpace>,
    /// What a GPU lifts with; `None` for the CPU.
    options: Option<Options>,
    next_buffer: u64,
    has_own_nans: bool,
}

impl DeviceEngine {
    pub fn new(device: Arc<dyn Device>, options: Option<Options>) -> Result<Self, String> {
        // Detached: the launches take linear memory from their caller, so each starts with the module's first state.
        let space = AddressSpace::detached().map_err(|error| error.to_string())?;
        let context = device.new_context(space.clone()).map_err(|error| error.to_string())?;
        // Lavapipe computes on the CPU, whose NaNs are Wasm's.
        let has_own_nans = matches!(device.info().kind, DeviceKind::DiscreteGpu | DeviceKind::IntegratedGpu);
        Ok(DeviceEngine { context, space, options, next_buffer: 0, has_own_nans })
    }

    pub fn on_gpu(device: Arc<GpuDevice>) -> Result<Self, String> {
        let options = *device.options();
        DeviceEngine::new(device, Some(options))
    }

    /// One launch: invocation `i` is case `i`.
    fn launch(
        &mut self,
        module: &ModuleCases,
        function: &FunctionCases,
        cases: &[&Case],
    ) -> Result<Vec<Vec<u128>>, LaunchError> {
        let kernel = &function.kernel;
        let arguments = records::arguments(kernel, cases.iter().copied());
        let size = records::results_size(kernel, cases.len());
        let memory = module.state.memory.len() as u64;
        let buffers = [self.buffer(arguments.len(), memory)?, self.buffer(size, memory)?];
        let mut bytes = vec![0; size];
        let mut run = || {
            buffers.iter().try_for_each(|buffer| self.context.create_buffer(buffer))?;
            self.context.write_buffer(buffers[0].id, 0, &arguments)?;
            let launch = Launch {
                module: module.guest.clone(),
                function: kernel.index,
                iterations: cases.len() as u32,
                block_size: 64,
                buffers: buffers.to_vec(),
            };
            self.context.launch(&launch, &mut StateCaller(&module.state))?;
            self.context.read_buffer(buffers[1].id, 0, &mut bytes)?;
            Ok(())
        };
        let outcome: Result<(), LaunchError> = run();
        for buffer in &buffers {
            self.context.free_buffer(buffer.id);
            self.space.release(buffer.address, buffer.size);
        }
        outcome?;
        let result = |index| records::results(kernel, &bytes, index).map_err(LaunchError::Internal);
        (0..cases.len()).map(result).collect()
    }

    fn buffer(&mut self, size: usize, memory: u64) -> Result<BufferSpec, LaunchError> {
        self.next_buffer += 1;
        let address = self.space.allocate(size as u32, memory);
        let address = address.ok_or_else(|| LaunchError::Internal("The address space is full.".into()))?;
        Ok(BufferSpec { id: BufferId(self.next_buffer), address, size: size as u32, access: Access::ReadWrite })
    }

    /// One case in a launch of its own.
    fn alone(&mut self, module: &ModuleCases, function: &FunctionCases, case: &Case) -> Result<Observed, Stopped> {
        match self.launch(module, function, &[case]) {
            Ok(mut values) => Ok(Ok(values.pop().unwrap_or_default())),
            Err(LaunchError::Trap(trap)) => Ok(Err(trap.kind)),
            Err(error) => Err(stopped(error)),
        }
    }
}

impl Engine for DeviceEngine {
    fn has_own_nans(&self) -> bool {
        self.has_own_nans
    }

    /// A GPU lifts; what the CPU device does not run shows at the launch.
    fn lifts(&self, module: &ModuleCases, function: &FunctionCases) -> Result<(), Stopped> {
        let Some(options) = &self.options else { return Ok(()) };
        let shape = module.shape(function);
        let lifted = translator::translate(&module.guest.wasm, function.kernel.index, &shape, options);
        lifted
            .map(|shader| keep(&shader.words, options.profile))
            .map_err(|error| Skip::of_refusal(&error).map_or_else(Stopped::Broken, Stopped::Skip))
    }

    fn run(&mut self, module: &ModuleCases, function: &FunctionCases) -> Result<Vec<Observed>, Stopped> {
        self.lifts(module, function)?;
        let returns = |case: &&Case| matches!(case.expectation, Expectation::Values(_));
        let together: Vec<&Case> = function.cases.iter().filter(returns).collect();
        let mut values = Vec::new().into_iter();
        // Invocations of one launch share linear memory; what one leaves there would reach the next.
        if !module.stateful && !together.is_empty() {
            match self.launch(module, function, &together) {
                Ok(all) => values = all.into_iter(),
                // Which one should not have trapped shows when each runs alone.
                Err(LaunchError::Trap(_)) => {}
                Err(error) => return Err(stopped(error)),
            }
        }
        let mut observed = Vec::with_capacity(function.cases.len());
        for case in &function.cases {
            let done = returns(&case).then(|| values.next()).flatten();
            observed.push(match done {
                Some(values) => Ok(values),
                None => self.alone(module, function, case)?,
            });
        }
        Ok(observed)
    }
}

fn stopped(error: LaunchError) -> Stopped {
    match error {
        LaunchError::NeedsCaller(reason) => {
            Skip::of_need(&reason).map_or_else(|| Stopped::Broken(reason.clone()), Stopped::Skip)
        }
        other => Stopped::Broken(other.to_string()),
    }
}

/// A caller whose module is as it was after instantiation, whatever kernels do.
struct StateCaller<'a>(&'a State);

impl Caller for StateCaller<'_> {
    fn memory_size(&mut self) -> u64 {
        self.0.memory.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        let start = offset as usize;
        out.copy_from_slice(&self.0.memory[start..start + out.len()]);
    }

    fn write_memory(&mut self, _offset: u64, _data: &[u8]) {}

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        self.0.globals.get(index as usize).copied().flatten()
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        self.0.tables.get(index as usize).cloned().unwrap_or_default()
    }
}
