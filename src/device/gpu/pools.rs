//! Launches of more buffers than bindings: small ones are copied together before, and back after.

use std::collections::BTreeMap;

use wavelift_translator::Layout;
use wavelift_translator::layout::POOL_WRITTEN;

use crate::device::gpu::connection::Connection;
use crate::device::gpu::context::GpuContext;
use crate::device::gpu::layout::{Pooled, pooled};
use crate::device::{BufferSpec, DeviceError, LaunchError};

impl GpuContext {
    /// Where a launch's pooled slots lie.
    pub(crate) fn pooled(
        &self,
        connection: &Connection,
        layout: &Layout,
        slots: &[BufferSpec],
    ) -> Result<Vec<Pooled>, LaunchError> {
        // Slots that the context lacks are refused here; below they have a size.
        for slot in layout.pooled.keys() {
            self.bound_buffer(connection, *slot, slots, false)?;
        }
        Ok(pooled(layout, &|slot| slots[slot as usize].size.into()))
    }

    /// Copies the slots into their pools.
    pub(crate) fn fill_pools(
        &mut self,
        connection: &Connection,
        places: &[Pooled],
        slots: &[BufferSpec],
    ) -> Result<(), LaunchError> {
        let pools: BTreeMap<u32, u64> = places.iter().map(|place| (place.pool, place.start + place.size)).collect();
        for (pool, size) in pools {
            match self.own_buffer(connection, pool, size) {
                Err(DeviceError::OutOfMemory { .. }) => {
                    return Err(LaunchError::Unsupported(format!(
                        "The device has no memory left for the {size} bytes in which a launch of so many buffers copies \
                         small ones together. Use fewer or smaller buffers."
                    )));
                }
                made => made?,
            };
        }
        self.copy_pools(connection, places, slots, true)
    }

    /// Copies the slots that may have been stored to back.
    pub(crate) fn empty_pools(
        &self,
        connection: &Connection,
        places: &[Pooled],
        slots: &[BufferSpec],
    ) -> Result<(), LaunchError> {
        let written: Vec<Pooled> = places.iter().filter(|place| place.pool == POOL_WRITTEN).copied().collect();
        self.copy_pools(connection, &written, slots, false)
    }

    fn copy_pools(
        &self,
        connection: &Connection,
        places: &[Pooled],
        slots: &[BufferSpec],
        into: bool,
    ) -> Result<(), LaunchError> {
        if places.is_empty() {
            return Ok(());
        }
        let mut pairs = Vec::with_capacity(places.len());
        for place in places {
            let buffer = self.bound_buffer(connection, place.slot, slots, false)?;
            pairs.push((&buffer.wgpu, &self.bound_buffer(connection, place.pool, slots, false)?.wgpu, place));
        }
        let copied = connection.guarded(0, || {
            let mut encoder = connection.device.create_command_encoder(&Default::default());
            for (buffer, pool, place) in pairs {
                match into {
                    true => encoder.copy_buffer_to_buffer(buffer, 0, pool, place.start, place.size),
                    false => encoder.copy_buffer_to_buffer(pool, place.start, buffer, 0, place.size),
                }
            }
            let submission = connection.queue.submit([encoder.finish()]);
            // The host may map what was copied next.
            let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
            connection.poll(wait)
        });
        Ok(copied?)
    }
}
