//! What a guest program does on a device, recorded: its buffers, the launches of its first round, and what they left. So the
//! guest alone says what data a kernel gets, and its own check says whether a recording is right.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use wavelift::device::{
    BufferId, BufferSpec, Caller, Context, Device, DeviceError, DeviceInfo, GlobalValue, GuestModule, Launch,
    LaunchError, LaunchTimes, TableEntry, cpu,
};
use wavelift::memory::AddressSpace;

/// How much of linear memory kernels may reach: more than the guests' data and stacks, which lie at its start. Their
/// arrays lie behind, but kernels get those as buffers.
const MEMORY: u64 = 1 << 20;

/// A buffer of a recorded guest.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its address and size, as the guest had it.
    pub spec: BufferSpec,
    /// Its bytes before the first launch.
    pub before: Vec<u8>,
    /// Its bytes when the round was over.
    pub after: Vec<u8>,
    /// Whether the guest reads it whole: a result, no intermediate one.
    pub output: bool,
}

/// A launch with the state of the guest that it saw.
#[derive(Clone, Debug)]
pub struct Step {
    /// The launch.
    pub launch: Launch,
    /// The guest's state.
    pub state: State,
}

/// The guest's state at a launch.
#[derive(Clone, Debug)]
pub struct State {
    /// Shared by launches between which it did not change.
    memory: Arc<Vec<u8>>,
    globals: Vec<Option<GlobalValue>>,
    table: Vec<TableEntry>,
}

impl Caller for State {
    fn memory_size(&mut self) -> u64 {
        self.memory.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.memory[offset as usize..][..out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        Arc::make_mut(&mut self.memory)[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        self.globals.get(index as usize).copied().flatten()
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        if index == 0 { self.table.clone() } else { Vec::new() }
    }
}

impl State {
    fn of(caller: &mut dyn Caller, module: &GuestModule, before: Option<&State>) -> State {
        let mut memory = vec![0; caller.memory_size().min(MEMORY) as usize];
        caller.read_memory(0, &mut memory);
        let memory = match before {
            Some(before) if *before.memory == memory => before.memory.clone(),
            _ => Arc::new(memory),
        };
        let globals = (0..module.wasm.globals().len() as u32).map(|index| caller.global(index)).collect();
        State { memory, globals, table: caller.table(0) }
    }

    /// Linear memory's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory
    }

    /// Bytes of linear memory.
    pub fn memory(&self) -> u64 {
        self.memory.len() as u64
    }
}

/// A round of a guest: the launches up to the first time that it reads a buffer.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// In the order in which they were created.
    pub buffers: Vec<Recorded>,
    /// In order.
    pub steps: Vec<Step>,
}

impl Recording {
    /// A kernel's name.
    pub fn name(launch: &Launch) -> String {
        launch.module.wasm.function_name(launch.function)
    }

    /// The place of a buffer in `buffers`.
    pub fn index(&self, id: BufferId) -> Option<usize> {
        self.buffers.iter().position(|buffer| buffer.spec.id == id)
    }
}

/// A device that runs launches on all cores of the CPU, and records them.
pub struct Recorder {
    inner: Arc<dyn Device>,
    tape: Arc<Mutex<Tape>>,
}

#[derive(Default)]
struct Tape {
    buffers: BTreeMap<BufferId, Recorded>,
    steps: Vec<Step>,
    is_over: bool,
}

impl Recorder {
    /// A recorder without a recording.
    pub fn new() -> Recorder {
        Recorder { inner: cpu::all_cores(), tape: Arc::default() }
    }

    /// What was recorded.
    ///
    /// # Errors
    /// The guest launched nothing, or read no result.
    pub fn finish(&self) -> Result<Recording> {
        let tape = std::mem::take(&mut *lock(&self.tape));
        ensure!(tape.is_over && !tape.steps.is_empty(), "The guest launched nothing, or waited for nothing.");
        let buffers: Vec<_> = tape.buffers.into_values().collect();
        ensure!(buffers.iter().any(|buffer| buffer.output), "The guest read no result.");
        let changed = buffers.iter().any(|buffer| buffer.output && buffer.before != buffer.after);
        ensure!(changed, "The guest's kernels changed no result.");
        Ok(Recording { buffers, steps: tape.steps })
    }
}

impl Device for Recorder {
    fn info(&self) -> &DeviceInfo {
        self.inner.info()
    }

    fn new_context(&self, space: Arc<AddressSpace>) -> Result<Box<dyn Context>, DeviceError> {
        Ok(Box::new(Tapped { inner: self.inner.new_context(space)?, tape: self.tape.clone() }))
    }
}

/// A context that records.
struct Tapped {
    inner: Box<dyn Context>,
    tape: Arc<Mutex<Tape>>,
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tapped {
    fn bytes(&mut self, spec: &BufferSpec) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; spec.size as usize];
        self.inner.read_buffer(spec.id, 0, &mut bytes)?;
        Ok(bytes)
    }
}

impl Context for Tapped {
    fn create_buffer(&mut self, spec: &BufferSpec) -> Result<(), DeviceError> {
        let buffer = Recorded { spec: *spec, before: Vec::new(), after: Vec::new(), output: false };
        lock(&self.tape).buffers.insert(spec.id, buffer);
        self.inner.create_buffer(spec)
    }

    fn free_buffer(&mut self, buffer: BufferId) {
        self.inner.free_buffer(buffer);
    }

    fn write_buffer(&mut self, buffer: BufferId, offset: u32, data: &[u8]) -> Result<(), DeviceError> {
        self.inner.write_buffer(buffer, offset, data)
    }

    fn read_buffer(&mut self, buffer: BufferId, offset: u32, out: &mut [u8]) -> Result<(), DeviceError> {
        let tape = self.tape.clone();
        let mut tape = lock(&tape);
        if !tape.is_over && !tape.steps.is_empty() {
            for buffer in tape.buffers.values_mut() {
                buffer.after = self.bytes(&buffer.spec)?;
            }
            tape.is_over = true;
        }
        if let Some(buffer) = tape.buffers.get_mut(&buffer) {
            buffer.output |= offset == 0 && out.len() == buffer.spec.size as usize;
        }
        self.inner.read_buffer(buffer, offset, out)
    }

    fn launch(&mut self, launch: &Launch, caller: &mut dyn Caller) -> Result<LaunchTimes, LaunchError> {
        let tape = self.tape.clone();
        let mut tape = lock(&tape);
        if !tape.is_over {
            if tape.steps.is_empty() {
                for buffer in tape.buffers.values_mut() {
                    buffer.before = self.bytes(&buffer.spec)?;
                }
            }
            let state = State::of(caller, &launch.module, tape.steps.last().map(|step| &step.state));
            tape.steps.push(Step { launch: launch.clone(), state });
        }
        self.inner.launch(launch, caller)
    }
}

/// Runs a guest on a recorder.
///
/// # Errors
/// The guest fails, by its own check or otherwise.
pub fn record(path: &std::path::Path, arguments: &[String]) -> Result<Recording> {
    let recorder = Arc::new(Recorder::new());
    let runtime = wavelift::Runtime::with_device(wavelift::Config::default(), recorder.clone())?;
    let module = wavelift::Module::from_file(&runtime, path)?;
    crate::guests::run(&runtime, &module, arguments).context("on the recorder")?;
    recorder.finish()
}
