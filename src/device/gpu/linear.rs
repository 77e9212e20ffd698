//! Linear memory on a GPU: the part that a launch can reach, as it is at the call.

use wavelift_translator::ir::Const;
use wavelift_translator::{Input, Interface, LINEAR, LaunchState, LinearReach, WINDOW_ALIGNMENT};

use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::GpuContext;
use crate::device::{Caller, DeviceError, GlobalValue, LaunchError};

/// Bytes of linear memory that go to the GPU and back in one piece.
const PIECE: usize = 8 << 20;

/// The caller's state as far as a launch's shader reads it.
pub(crate) struct CallerState<'a> {
    caller: &'a mut dyn Caller,
    memory_size: u64,
}

/// The part of linear memory that is bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// First byte, a multiple of [`WINDOW_ALIGNMENT`].
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Window {
    /// Its size in bytes.
    pub fn size(self) -> u64 {
        u64::from(self.end - self.start)
    }
}

impl<'a> CallerState<'a> {
    pub fn new(caller: &'a mut dyn Caller) -> Self {
        let memory_size = caller.memory_size();
        CallerState { caller, memory_size }
    }

    /// The values of the interface's inputs but the window's start and the rounds, which are 0. `pointers` has those of the shape's.
    ///
    /// # Errors
    /// [`LaunchError::Unsupported`] for a memory of 4 GiB, whose size is no word.
    pub fn words(&mut self, interface: &Interface, pointers: &[u32]) -> Result<Vec<(Input, u32)>, LaunchError> {
        interface.inputs.iter().map(|input| Ok((*input, self.word(*input, pointers)?))).collect()
    }

    fn word(&mut self, input: Input, pointers: &[u32]) -> Result<u32, LaunchError> {
        let (global, shift, mask) = match input {
            Input::MemorySize => {
                return u32::try_from(self.memory_size).map_err(|_| {
                    LaunchError::Unsupported("Kernels can't reach a linear memory of 4 GiB on a GPU.".to_string())
                });
            }
            Input::WindowStart | Input::Rounds => return Ok(0),
            Input::StackPointer(global) => (global, 0, !15),
            Input::Global(global) => (global, 0, u128::MAX),
            Input::GlobalHigh(global) => (global, 32, u128::MAX),
            Input::GlobalWord { global, word } => (global, 32 * word, u128::MAX),
            Input::Pointer { number, .. } => {
                let value = pointers.get(number as usize).copied();
                return value.ok_or_else(|| LaunchError::Internal(format!("The launch has no pointer {number}.")));
            }
        };
        let bits = match self.caller.global(global) {
            Some(GlobalValue::I32(value)) => u128::from(value as u32),
            Some(GlobalValue::I64(value)) => u128::from(value as u64),
            Some(GlobalValue::F32(bits)) => bits.into(),
            Some(GlobalValue::F64(bits)) => bits.into(),
            Some(GlobalValue::V128(bits)) => bits,
            None => {
                return Err(LaunchError::Internal(format!("The caller has no global {global} that is no reference.")));
            }
        };
        Ok(((bits & mask) >> shift) as u32)
    }

    /// Whether linear memory is that of the guest, and not one of the kernel's own.
    pub fn is_callers(&self) -> bool {
        self.caller.own_memory().is_none()
    }

    /// Size of linear memory in bytes; one less for a memory of 4 GiB.
    pub fn size(&self) -> u32 {
        u32::try_from(self.memory_size).unwrap_or(u32::MAX)
    }

    /// The word of linear memory at an address, inside it.
    pub fn memory_word(&mut self, address: u32) -> u32 {
        let mut bytes = [0; 4];
        self.caller.read_memory(address.into(), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// The same; `None` where there is no memory.
    pub fn word_at(&mut self, address: u32) -> Option<u32> {
        (u64::from(address) + 4 <= self.memory_size).then(|| self.memory_word(address))
    }

    /// So many bytes of linear memory; `None` where it does not have them.
    pub fn memory_bytes(&mut self, start: u32, length: usize) -> Option<Vec<u8>> {
        let mut bytes = (u64::from(start) + length as u64 <= self.memory_size).then(|| vec![0; length])?;
        self.caller.read_memory(start.into(), &mut bytes);
        Some(bytes)
    }

    /// The value of an `i32` global.
    pub fn number(&mut self, global: u32) -> Option<u32> {
        match self.caller.global(global) {
            Some(GlobalValue::I32(value)) => Some(value as u32),
            _ => None,
        }
    }

    /// The value of a global; 0 of one of a reference type.
    pub fn constant(&mut self, global: u32) -> Const {
        match self.caller.global(global) {
            Some(GlobalValue::I32(value)) => Const::I32(value as u32),
            Some(GlobalValue::I64(value)) => Const::I64(value as u64),
            Some(GlobalValue::F32(bits)) => Const::F32(bits),
            Some(GlobalValue::F64(bits)) => Const::F64(bits),
            Some(GlobalValue::V128(bits)) => Const::V128(bits.into()),
            None => Const::I32(0),
        }
    }

    /// The part of linear memory that a launch with these immediates can reach.
    pub fn window(&self, reach: &LinearReach, launch: &LaunchState<'_>) -> Window {
        let (start, end) = reach.window(launch, self.size());
        // Whole words: so it can be written behind launches under way, without reading the last one. Memories end on words.
        let end = end.next_multiple_of(4).min(self.size());
        Window { start: start - start % WINDOW_ALIGNMENT, end }
    }

    /// Copies the window to the context's buffer for linear memory, made anew if it is too small; behind launches under way.
    pub fn upload(
        &mut self,
        context: &mut GpuContext,
        connection: &Connection,
        window: Window,
    ) -> Result<(), LaunchError> {
        let buffer = context.own_buffer(connection, LINEAR, window.size())?;
        let in_flight = !context.batch.is_empty();
        context.batch.submit(connection)?;
        self.pieces(window, |caller, address, bytes| {
            caller.read_memory(address.into(), bytes);
            let offset = u64::from(address - window.start);
            match in_flight {
                true => buffer.write_in_order(connection, offset, bytes),
                false => buffer.write(connection, offset, bytes),
            }
        })
    }

    /// Copies the window back.
    pub fn download(
        &mut self,
        context: &mut GpuContext,
        connection: &Connection,
        window: Window,
    ) -> Result<(), LaunchError> {
        let buffer = context.own_buffer(connection, LINEAR, window.size())?;
        self.pieces(window, |caller, address, bytes| {
            buffer.read(connection, u64::from(address - window.start), bytes)?;
            caller.write_memory(address.into(), bytes);
            Ok(())
        })
    }

    fn pieces(
        &mut self,
        window: Window,
        mut copy: impl FnMut(&mut dyn Caller, u32, &mut [u8]) -> Result<(), DeviceError>,
    ) -> Result<(), LaunchError> {
        let mut bytes = vec![0; PIECE.min((window.end - window.start) as usize)];
        let mut address = window.start;
        while address < window.end {
            let length = bytes.len().min((window.end - address) as usize);
            copy(self.caller, address, &mut bytes[..length])?;
            address += length as u32;
        }
        Ok(())
    }
}
