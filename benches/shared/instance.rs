//! What benchmarks launch guests' kernels with: a new instance of their module, buffers, and inputs.
#![allow(dead_code, reason = "each benchmark takes what it needs")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use wasmparser::{DataKind, Operator, Parser, Payload};
use wavelift::device::{Access, BufferId, BufferSpec, Caller, Context, GlobalValue, GuestModule, TableEntry};
use wavelift::memory::{self, AddressSpace};
use wavelift::wasmtime::{Config, Engine, Module, Store};

/// A new instance of a kernel's module.
pub struct Instance {
    pub memory: Vec<u8>,
    pub module: Arc<GuestModule>,
}

impl Caller for Instance {
    fn memory_size(&mut self) -> u64 {
        self.memory.len() as u64
    }

    fn read_memory(&mut self, offset: u64, out: &mut [u8]) {
        out.copy_from_slice(&self.memory[offset as usize..][..out.len()]);
    }

    fn write_memory(&mut self, offset: u64, data: &[u8]) {
        self.memory[offset as usize..][..data.len()].copy_from_slice(data);
    }

    fn global(&mut self, index: u32) -> Option<GlobalValue> {
        Some(self.module.wasm.globals().get(index as usize)?.init?.into())
    }

    fn table(&mut self, index: u32) -> Vec<TableEntry> {
        self.module.wasm.initial_table(index)
    }
}

/// A linear memory as guests of the runtime have it: at the bottom of the device address space, so that no launch copies it.
pub struct Attached {
    store: Store<()>,
    memory: wavelift::wasmtime::Memory,
}

impl Attached {
    /// A memory of zeroes, of at least this many bytes.
    pub fn new(bytes: u64) -> Result<Attached> {
        let failed = |error: wavelift::wasmtime::Error| anyhow!("a memory can't be made: {error:#}");
        let engine = Engine::new(memory::configure(&mut Config::new())).map_err(failed)?;
        // Only an instance's memory is made as the engine is set up.
        let text = format!(r#"(module (memory (export "memory") {}))"#, bytes.div_ceil(1 << 16));
        let module = Module::new(&engine, wat::parse_str(text)?).map_err(failed)?;
        let mut store = Store::new(&engine, ());
        let instance = wavelift::wasmtime::Instance::new(&mut store, &module, &[]).map_err(failed)?;
        let memory = instance.get_memory(&mut store, "memory").context("there is no memory")?;
        Ok(Attached { store, memory })
    }

    /// The address space that it is in.
    pub fn space(&self) -> Result<Arc<AddressSpace>> {
        AddressSpace::of_memory(self.memory.data_ptr(&self.store)).context("the memory is in no address space")
    }

    /// Its bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }
}

/// Creates buffers with these bytes in them, where a guest's memory has this many bytes.
pub fn create(
    context: &mut dyn Context,
    space: &AddressSpace,
    memory: u64,
    buffers: &[(&[u8], Access)],
) -> Result<Vec<BufferSpec>> {
    let mut specs = Vec::new();
    for (id, (bytes, access)) in (1..).zip(buffers) {
        let size = bytes.len() as u32;
        let address = space.allocate(size, memory).context("no addresses left")?;
        let spec = BufferSpec { id: BufferId(id), address, size, access: *access };
        context.create_buffer(&spec)?;
        context.write_buffer(spec.id, 0, bytes)?;
        specs.push(spec);
    }
    Ok(specs)
}

/// This many bytes of linear memory with the module's data in place.
pub fn initial_memory(module: &[u8], size: u64) -> Result<Vec<u8>> {
    let mut memory = vec![0; size as usize];
    for payload in Parser::new(0).parse_all(module) {
        let Payload::DataSection(segments) = payload? else { continue };
        for segment in segments {
            let segment = segment?;
            let DataKind::Active { offset_expr, .. } = segment.kind else { continue };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                bail!("a data segment's place is computed");
            };
            memory[value as usize..][..segment.data.len()].copy_from_slice(segment.data);
        }
    }
    Ok(memory)
}

/// The time that all threads of this process have spent on the CPU (Linux): of a software driver, what other programs on
/// the machine disturb least.
pub fn cpu_seconds() -> Result<f64> {
    // The system brings a thread's time up to date when it stops running: this one, and workers that have just finished.
    std::thread::sleep(Duration::from_millis(1));
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task").context("no CPU times on this system")? {
        // A thread that has ended meanwhile has no file any more.
        let text = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0u64);
    }
    Ok(nanoseconds as f64 * 1e-9)
}

/// Bytes of floats in a range, the same everywhere.
pub fn floats(count: u32, low: f32, high: f32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        low + (high - low) * ((state >> 8) as f32 / 16_777_216.0)
    };
    (0..count).flat_map(|_| next().to_le_bytes()).collect()
}

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
