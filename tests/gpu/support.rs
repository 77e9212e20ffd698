//! What the tests of the GPU device share.

use std::fmt::Display;
use std::sync::OnceLock;

use libtest_mimic::Failed;
use wavelift::device::gpu::{self, Adapter, GpuContext, GpuDevice, GpuOptions, Transfers};
use wavelift::device::{Access, BufferId, BufferSpec, Caller, Context, DeviceError, GlobalValue, TableEntry};

/// The adapter to test, or why there is none. One that the runtime refuses is no reason to ignore a test.
pub fn adapter() -> Result<Adapter, &'static str> {
    static ADAPTER: OnceLock<Option<Adapter>> = OnceLock::new();
    let found = ADAPTER.get_or_init(|| gpu::adapters().into_iter().next());
    found.clone().ok_or("this machine has no GPU driver; install Mesa 25 or newer for its software one")
}

/// A device with the usual options and this way of transfers.
pub fn open(transfers: Transfers) -> Result<GpuDevice, Failed> {
    Ok(GpuDevice::open_with(&adapter()?, &GpuOptions::default(), Some(transfers))?)
}

/// A read_write buffer with an address of its own.
pub fn buffer(id: u64, size: usize) -> BufferSpec {
    let address = 0x8000_0000u32.wrapping_add(id as u32 * 0x1_0000);
    BufferSpec { id: BufferId(id), address, size: size as u32, access: Access::ReadWrite }
}

/// Little-endian words.
pub fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

/// Fails with `message` unless `right`.
pub fn check(right: bool, message: impl Into<String>) -> Result<(), Failed> {
    if right { Ok(()) } else { Err(Failed::from(message.into())) }
}

/// Fails unless the result is an error whose text holds `part`.
pub fn fails_with<E: Display>(result: Result<(), E>, part: &str) -> Result<(), Failed> {
    match result {
        Ok(()) => Err(format!("no error, where one with `{part}` should be").into()),
        Err(error) => check(error.to_string().contains(part), format!("`{error}` does not say `{part}`")),
    }
}

/// Whole buffers.
pub trait Buffers {
    /// Creates the buffer anew with these bytes.
    fn fill(&mut self, spec: &BufferSpec, bytes: &[u8]) -> Result<(), DeviceError>;
    /// All bytes.
    fn bytes(&mut self, spec: &BufferSpec) -> Result<Vec<u8>, DeviceError>;
}

impl Buffers for GpuContext {
    fn fill(&mut self, spec: &BufferSpec, bytes: &[u8]) -> Result<(), DeviceError> {
        self.create_buffer(spec)?;
        self.write_buffer(spec.id, 0, bytes)
    }

    fn bytes(&mut self, spec: &BufferSpec) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; spec.size as usize];
        self.read_buffer(spec.id, 0, &mut bytes)?;
        Ok(bytes)
    }
}

/// A caller without memory, globals and tables.
pub struct NoCaller;

impl Caller for NoCaller {
    fn memory_size(&mut self) -> u64 {
        0
    }

    fn read_memory(&mut self, _offset: u64, _out: &mut [u8]) {}

    fn write_memory(&mut self, _offset: u64, _data: &[u8]) {}

    fn global(&mut self, _index: u32) -> Option<GlobalValue> {
        None
    }

    fn table(&mut self, _index: u32) -> Vec<TableEntry> {
        Vec::new()
    }
}
