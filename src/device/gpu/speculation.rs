//! Launches of speculative forms: what they may write is copied before, and put back if an invocation bails out.

use std::collections::BTreeSet;
use std::time::Duration;

use wavelift_translator::{Interface, Speculation};

use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::GpuContext;
use crate::device::gpu::pipeline::Kernel;
use crate::device::gpu::transfer::GpuBuffer;
use crate::device::{BufferSpec, DeviceError, LaunchError};

/// What lifting and compiling forms took that were undone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undone {
    pub lift: Duration,
    pub compile: Duration,
}

/// Stands for the copy of slot 0 among a context's own buffers; further slots' copies have the numbers below.
const FIRST_COPY: u32 = u32::MAX / 2;

/// Copies of the buffers that a launch may write: each buffer, and the copy.
#[derive(Default)]
pub(super) struct Copies {
    pairs: Vec<(GpuBuffer, GpuBuffer)>,
}

impl Kernel {
    /// What its shader assumes.
    pub(super) fn assumed(&self) -> Speculation {
        Speculation::of(self.interface().assumptions())
    }
}

impl GpuContext {
    /// Copies what a speculative form may write of the guest's buffers; nothing for an exact one. What lies in pools, and
    /// linear memory, are copies themselves, which go back only after a launch that did not bail out.
    ///
    /// # Errors
    /// [`LaunchError::Unsupported`] where the device has no memory left for copies.
    pub(super) fn copies(
        &mut self,
        connection: &Connection,
        interface: &Interface,
        slots: &[BufferSpec],
    ) -> Result<Copies, LaunchError> {
        if interface.assumptions().is_empty() {
            return Ok(Copies::default());
        }
        let written: BTreeSet<u32> = interface.bindings.iter().filter(|b| b.writable).map(|b| b.slot).collect();
        let mut pairs = Vec::new();
        for (number, spec) in (0..).zip(slots).filter(|(slot, _)| written.contains(slot)) {
            let buffer = self.buffer(connection, spec.id)?.clone();
            let copy = match self.own_buffer(connection, FIRST_COPY - number, buffer.wgpu.size()) {
                Err(DeviceError::OutOfMemory { bytes, .. }) => {
                    return Err(LaunchError::Unsupported(format!(
                        "The device has no memory left for a copy of {bytes} bytes, which a kernel that may have to be \
                         undone needs."
                    )));
                }
                copy => copy?,
            };
            pairs.push((buffer, copy));
        }
        let copies = Copies { pairs };
        copies.copy(connection, false)?;
        Ok(copies)
    }
}

impl Copies {
    /// Puts everything back.
    pub(super) fn restore(&self, connection: &Connection) -> Result<(), DeviceError> {
        self.copy(connection, true)
    }

    fn copy(&self, connection: &Connection, back: bool) -> Result<(), DeviceError> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        connection.guarded(0, || {
            let mut encoder = connection.device.create_command_encoder(&Default::default());
            for (buffer, copy) in &self.pairs {
                let (from, to) = if back { (copy, buffer) } else { (buffer, copy) };
                encoder.copy_buffer_to_buffer(&from.wgpu, 0, &to.wgpu, 0, buffer.wgpu.size());
            }
            let submission = connection.queue.submit([encoder.finish()]);
            // The host may map them next.
            connection.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None }).map(drop)
        })
    }
}
