//! What one guest has on a CPU device.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use wasmtime::Engine;

use super::Shared;
use super::encode::Source;
use super::job::{Arguments, Buffers, Common, Event, Job, Plan};
use super::kernel::Kernel;
use crate::device::{
    BufferId, BufferSpec, Caller, Context, DeviceError, GlobalValue, Launch, LaunchError, LaunchTimes, OwnMemory,
};
use crate::interrupt::Interrupt;
use crate::memory::{AddressSpace, Backing, MemoryError, buffer_bytes};

/// Bytes of each worker's stack: what toolchains give a whole program at most.
const STACK: u32 = 1 << 20;

/// Where it lies unless linear memory or a buffer does: below 2 GiB, since code that checks its stack's bounds may compare
/// addresses as signed numbers (AssemblyScript's does), and far from the end of most memories, beyond which kernels must trap.
const STACK_ADDRESS: u32 = (1 << 31) - (1 << 16) - STACK;

/// Linear memory of a detached space is copied in pieces of this size.
const PIECE: usize = 1 << 16;

/// A guest's buffers live in its address space; what is kept here is which ones there are, and the workers.
pub struct CpuContext {
    engine: Engine,
    device: Arc<Shared>,
    common: Arc<Common>,
    buffers: HashMap<BufferId, BufferSpec>,
    /// The kernel that was launched last, by its module's and its own number, if its launches depend on nothing else.
    last: Option<((u64, u32), Arc<Kernel>)>,
    /// Whether a kernel needed a stack: workers have one since.
    has_stack: bool,
    /// The address of the workers' stacks where the usual one is taken, once one needed it. It is the same in each worker's view.
    other_stack: Option<u32>,
    /// What holds the memory of a kernel module's own during a launch; all zeroes between launches.
    own_memory: Option<Arc<Backing>>,
}

impl CpuContext {
    pub(super) fn new(engine: Engine, device: Arc<Shared>, space: Arc<AddressSpace>) -> CpuContext {
        let workers = Arc::new((0..device.workers).map(|_| Mutex::default()).collect());
        let common = Arc::new(Common { space, workers, interrupt: Interrupt::default() });
        CpuContext {
            engine,
            device,
            common,
            buffers: HashMap::new(),
            last: None,
            has_stack: false,
            other_stack: None,
            own_memory: None,
        }
    }

    fn failed(&self, message: String) -> DeviceError {
        DeviceError::Failed { device: self.device.name.clone(), message }
    }

    fn memory_failed(&self, error: MemoryError) -> DeviceError {
        self.failed(error.to_string())
    }

    fn address(&self, buffer: BufferId, offset: u32, len: usize) -> Result<u32, DeviceError> {
        let spec = self.buffers.get(&buffer).ok_or_else(|| self.failed(format!("There is no buffer {}.", buffer.0)))?;
        if u64::from(offset) + len as u64 > spec.size.into() {
            return Err(self.failed(format!("{len} bytes at offset {offset} end beyond buffer {}.", buffer.0)));
        }
        // The end of a buffer is at most the end of the address space, which an empty range may stand at.
        Ok(spec.address.saturating_add(offset))
    }

    /// Address and size of the workers' stacks during a launch.
    fn stack_for(
        &mut self,
        kernel: &Kernel,
        memory_bytes: u64,
        buffers: &[BufferSpec],
    ) -> Result<Option<(u32, u32)>, LaunchError> {
        self.has_stack |= kernel.stack_pointer.is_some();
        if !self.has_stack {
            return Ok(None);
        }
        let usual = u64::from(STACK_ADDRESS)..u64::from(STACK_ADDRESS + STACK);
        let is_in = |buffer: &BufferSpec| {
            let bytes = buffer_bytes(buffer);
            bytes.start < usual.end && usual.start < bytes.end
        };
        if memory_bytes <= usual.start && !buffers.iter().any(is_in) {
            return Ok(Some((STACK_ADDRESS, STACK)));
        }
        if kernel.stack_pointer.is_some() && self.other_stack.is_none() {
            let address = self.common.space.allocate(STACK, memory_bytes).ok_or_else(|| {
                LaunchError::NeedsCaller(
                    "The device address space has no room left for the workers' stacks, so the kernel runs in order on \
                     the calling thread."
                        .into(),
                )
            })?;
            self.other_stack = Some(address);
        }
        Ok(self.other_stack.map(|address| (address, STACK)))
    }

    fn globals(
        &self,
        kernel: &Kernel,
        stack: Option<(u32, u32)>,
        caller: &mut dyn Caller,
    ) -> Result<Vec<GlobalValue>, LaunchError> {
        let mut values = Vec::with_capacity(kernel.globals.len());
        for (source, _) in &kernel.globals {
            let global = match source {
                Source::Global(global) => global,
                Source::Dropped(segment) => {
                    values.push(GlobalValue::I32(caller.has_dropped(*segment).into()));
                    continue;
                }
            };
            if let (true, Some((address, size))) = (kernel.stack_pointer == Some(*global), stack) {
                values.push(GlobalValue::I32(address.wrapping_add(size) as i32));
                continue;
            }
            values.push(caller.global(*global).ok_or_else(|| {
                LaunchError::Internal(format!("The caller gave no value of the number-typed global {global}."))
            })?);
        }
        Ok(values)
    }

    /// The kernel of a launch, compiled now if it is not known yet.
    fn kernel(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<(Arc<Kernel>, LaunchTimes), LaunchError> {
        let key = (launch.module.id, launch.function);
        if let Some((last, kernel)) = &self.last
            && *last == key
        {
            return Ok((kernel.clone(), LaunchTimes::default()));
        }
        let (kernel, times) = self.device.kernels.get(&self.engine, launch, caller)?;
        self.last = (!kernel.calls_tables && !kernel.may_need_caller).then(|| (key, kernel.clone()));
        Ok((kernel, times))
    }

    fn plan(&mut self, launch: &Launch, kernel: Arc<Kernel>, caller: &mut dyn Caller) -> Result<Plan, LaunchError> {
        let memory_bytes = caller.memory_size();
        let lowest = self.common.space.lowest_buffer();
        if memory_bytes > lowest {
            let error = MemoryError::RunsIntoBuffers { bytes: memory_bytes, lowest };
            return Err(self.memory_failed(error).into());
        }
        let stack = self.stack_for(&kernel, memory_bytes, &launch.buffers)?;
        let own_memory = self.fill_own_memory(caller.own_memory())?;
        let globals = self.globals(&kernel, stack, caller)?;
        let mut buffers = Buffers::new();
        let mut arguments = Arguments::from_slice(&[0, 0, launch.iterations, launch.block_size]);
        for buffer in &launch.buffers {
            if buffer.size > 0 && !buffers.contains(buffer) {
                buffers.push(*buffer);
            }
            arguments.extend_from_slice(&[buffer.address, buffer.size]);
        }
        Ok(Plan {
            kernel,
            common: self.common.clone(),
            memory_bytes,
            lowest: stack.map_or(lowest, |(address, _)| lowest.min(address.into())),
            own_memory,
            buffers,
            all_buffers: Buffers::from_slice(&launch.buffers),
            stack,
            globals,
            arguments,
            iterations: launch.iterations,
        })
    }

    /// What holds a memory of the kernel's own, with its initial contents.
    fn fill_own_memory(&mut self, memory: Option<&OwnMemory>) -> Result<Option<Arc<Backing>>, DeviceError> {
        let Some(memory) = memory else { return Ok(None) };
        let failed = |error: std::io::Error| DeviceError::Failed {
            device: self.device.name.clone(),
            message: format!("The memory of a kernel's own could not be made: {error}."),
        };
        let backing = match self.own_memory.take() {
            Some(backing) => backing,
            None => Arc::new(Backing::new().map_err(failed)?),
        };
        for (address, bytes) in &memory.data {
            backing.write((*address).into(), bytes).map_err(failed)?;
        }
        Ok(Some(backing))
    }

    /// Makes a memory of the kernel's own all zeroes again, and keeps it. One that can't be zeroed is not used again.
    fn empty_own_memory(&mut self, plan: &Plan) {
        let Some(backing) = &plan.own_memory else { return };
        if backing.zero(0..plan.memory_bytes).is_ok() {
            self.own_memory = Some(backing.clone());
        }
    }

    /// Whether linear memory is elsewhere and must be copied.
    fn copies_memory(&self, plan: &Plan) -> bool {
        self.common.space.is_detached() && plan.own_memory.is_none()
    }

    /// Brings the caller's linear memory into a detached space.
    fn copy_in(&self, memory_bytes: u64, caller: &mut dyn Caller) -> Result<(), MemoryError> {
        let mut piece = vec![0; PIECE];
        for at in (0..memory_bytes).step_by(PIECE) {
            let piece = &mut piece[..(memory_bytes - at).min(PIECE as u64) as usize];
            caller.read_memory(at, piece);
            self.common.space.write(at as u32, piece)?;
        }
        Ok(())
    }

    /// Takes what the kernel changed back to the caller; pieces that it did not change are not written.
    fn copy_out(&self, memory_bytes: u64, caller: &mut dyn Caller) -> Result<(), MemoryError> {
        let (mut old, mut new) = (vec![0; PIECE], vec![0; PIECE]);
        for at in (0..memory_bytes).step_by(PIECE) {
            let len = (memory_bytes - at).min(PIECE as u64) as usize;
            caller.read_memory(at, &mut old[..len]);
            self.common.space.read(at as u32, &mut new[..len])?;
            if old[..len] != new[..len] {
                caller.write_memory(at, &new[..len]);
            }
        }
        Ok(())
    }

    /// What a launch may change, so that it can be undone. Attached linear memory is part of it, a detached one is not
    /// touched before the launch has succeeded.
    fn save(&self, plan: &Plan) -> Result<Vec<(u32, Vec<u8>)>, DeviceError> {
        let mut ranges = Vec::new();
        if !self.common.space.is_detached() && plan.own_memory.is_none() {
            ranges.push((0, plan.memory_bytes as usize));
        }
        let writable = plan.buffers.iter().filter(|buffer| buffer.access.is_writable());
        ranges.extend(writable.map(|buffer| (buffer.address, buffer.size as usize)));
        let read = |(address, size)| {
            let mut bytes = Vec::new();
            let device = &self.device.name;
            bytes
                .try_reserve_exact(size)
                .map_err(|_| DeviceError::OutOfMemory { device: device.clone(), bytes: size as u64 })?;
            bytes.resize(size, 0);
            self.common.space.read(address, &mut bytes).map_err(|error| self.memory_failed(error))?;
            Ok((address, bytes))
        };
        ranges.into_iter().map(read).collect()
    }
}

impl Context for CpuContext {
    fn interrupt_by(&mut self, interrupt: &Interrupt) {
        let Common { space, workers, .. } = &*self.common;
        let (space, workers) = (space.clone(), workers.clone());
        self.common = Arc::new(Common { space, workers, interrupt: interrupt.clone() });
    }

    fn create_buffer(&mut self, spec: &BufferSpec) -> Result<(), DeviceError> {
        self.buffers.insert(spec.id, *spec);
        Ok(())
    }

    fn free_buffer(&mut self, buffer: BufferId) {
        self.buffers.remove(&buffer);
    }

    fn write_buffer(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError> {
        let address = self.address(buffer, offset, data.len())?;
        self.common.space.write(address, data).map_err(|error| self.memory_failed(error))
    }

    fn read_buffer(&mut self, buffer: BufferId, offset: u32, out: &mut [u8]) -> Result<(), DeviceError> {
        let address = self.address(buffer, offset, out.len())?;
        self.common.space.read(address, out).map_err(|error| self.memory_failed(error))
    }

    fn launch(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<LaunchTimes, LaunchError> {
        let (kernel, mut times) = self.kernel(launch, caller)?;
        let plan = self.plan(launch, kernel, caller)?;
        times.lanes = plan.kernel.lanes(&plan.arguments).map(|grouped| grouped.lanes);
        let (memory_bytes, copies) = (plan.memory_bytes, self.copies_memory(&plan));
        let start = Instant::now();
        if copies {
            self.copy_in(memory_bytes, caller).map_err(|error| self.memory_failed(error))?;
        }
        let saved = if plan.kernel.may_need_caller { self.save(&plan)? } else { Vec::new() };
        // What was copied is not the kernel's cost.
        let made = if copies || plan.kernel.may_need_caller { Instant::now() } else { start };
        let finished = self.device.pool.run(Job::new(plan, made));
        let job = (*finished).as_ref();
        self.empty_own_memory(&job.plan);
        let outcome = job.outcome();
        if let Some(interruption) = outcome.interruption {
            return Err(interruption.into());
        }
        if let Some(message) = outcome.failure {
            return Err(self.failed(message).into());
        }
        match outcome.event {
            Some(Event::Trap(trap)) => return Err(LaunchError::Trap(trap)),
            Some(Event::NeedsCaller { reason, .. }) => {
                for (address, bytes) in &saved {
                    self.common.space.write(*address, bytes).map_err(|error| self.memory_failed(error))?;
                }
                self.device.kernels.give_up(launch, &job.plan.kernel, &reason);
                return Err(LaunchError::NeedsCaller(reason));
            }
            None => job.learn(),
        }
        let mut ended = job.end();
        if copies {
            self.copy_out(memory_bytes, caller).map_err(|error| self.memory_failed(error))?;
            ended = Instant::now();
        }
        times.run = ended - start;
        Ok(times)
    }
}

impl Drop for CpuContext {
    fn drop(&mut self) {
        if let Some(address) = self.other_stack {
            self.common.space.release(address, STACK);
        }
    }
}
