//! Launches through the runtime's own seam, with an address space that no guest's memory is mapped into.

use std::sync::Arc;

use wavelift::device::{
    BufferId, BufferSpec, Caller, Context, Device, GlobalValue, GuestModule, Launch, LaunchError, TableEntry,
};
use wavelift::memory::AddressSpace;
use wavelift_translator::module::ConstInit;

use crate::case::{End, LINEAR_MEMORY, Program};
use crate::engine::Session;
use crate::places::STACK_POINTER;

/// A program on a device.
pub struct OnDevice {
    context: Box<dyn Context>,
    launch: Launch,
    caller: NewInstance,
    linear: Option<Vec<u8>>,
}

/// What the kernels here are passed as the block size.
pub const BLOCK_SIZE: u32 = 7;

impl OnDevice {
    pub fn new(device: &(impl AsDevice + ?Sized), program: &Program) -> Result<OnDevice, String> {
        let space = AddressSpace::detached().map_err(|error| error.to_string())?;
        let mut context = device.device().new_context(space.clone()).map_err(|error| error.to_string())?;
        let mut buffers = Vec::new();
        let addresses = program.place(&space).ok_or("the address space is full")?;
        for ((id, shape), address) in (0..).zip(&program.buffers).zip(addresses) {
            let spec = BufferSpec { id: BufferId(id), address, size: shape.size, access: shape.access };
            context.create_buffer(&spec).map_err(|error| error.to_string())?;
            buffers.push(spec);
        }
        let launch = Launch {
            module: program.module.clone(),
            function: program.kernel,
            iterations: 1,
            block_size: BLOCK_SIZE,
            buffers,
        };
        let bytes = vec![0; LINEAR_MEMORY as usize];
        let caller = NewInstance { bytes, globals: program.globals(), module: program.module.clone() };
        Ok(OnDevice { context, launch, caller, linear: program.linear.clone() })
    }
}

impl Session for OnDevice {
    fn run(&mut self, contents: &[Vec<u8>], iterations: u32) -> Result<End, String> {
        for (spec, bytes) in self.launch.buffers.iter().zip(contents) {
            self.context.write_buffer(spec.id, 0, bytes).map_err(|error| error.to_string())?;
        }
        self.launch.iterations = iterations;
        match &self.linear {
            Some(linear) => self.caller.bytes.copy_from_slice(linear),
            None => self.caller.bytes.fill(0),
        }
        match self.context.launch(&self.launch, &mut self.caller) {
            Ok(_) => {}
            Err(LaunchError::Trap(trap)) => return Ok(End::Trapped(trap)),
            Err(LaunchError::Unsupported(reason)) => return Ok(End::Refused(reason)),
            Err(error) => return Err(error.to_string()),
        }
        let mut all = Vec::new();
        for spec in &self.launch.buffers {
            let mut bytes = vec![0; spec.size as usize];
            self.context.read_buffer(spec.id, 0, &mut bytes).map_err(|error| error.to_string())?;
            all.push(bytes);
        }
        match &self.linear {
            Some(_) => {
                let mut bytes = self.caller.bytes.clone();
                bytes[..STACK_POINTER as usize].fill(0);
                all.push(bytes);
            }
            None => assert!(self.caller.bytes.iter().all(|byte| *byte == 0), "linear memory was written"),
        }
        Ok(End::Done(all))
    }
}

/// Devices in whatever hands they are.
pub trait AsDevice {
    fn device(&self) -> &dyn Device;
}

impl AsDevice for std::sync::Arc<dyn Device> {
    fn device(&self) -> &dyn Device {
        &**self
    }
}

impl AsDevice for wavelift::device::gpu::GpuDevice {
    fn device(&self) -> &dyn Device {
        self
    }
}

/// A caller with one page of linear memory, with the tables and globals that its module starts with.
struct NewInstance {
    bytes: Vec<u8>,
    globals: Vec<ConstInit>,
    module: Arc<GuestModule>,
}

impl Caller for NewInstance {
    fn memory_size(&mut self) -> u64 {
        LINEAR_MEMORY
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.bytes[offset as usize..][..out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        self.bytes[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        Some((*self.globals.get(index as usize)?).into())
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        self.module.wasm.initial_table(index)
    }
}
