//! Small buffers that a context needs at every launch: the trap record, timestamps, and what brings them to the host.

use std::time::Duration;

use crate::device::DeviceError;
use crate::device::gpu::Transfers;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::traps::NONE;

/// Most submissions between two readbacks whose time is taken.
pub(crate) const MAX_TIMES: usize = 32;
/// Two timestamps of 8 bytes.
const TIME_SIZE: u64 = 16;
/// The timestamps of all submissions, in front of the trap record in the readback.
const TIMES_SIZE: u64 = MAX_TIMES as u64 * TIME_SIZE;
/// Smallest trap record, in bytes: room for a thousand launches with up to 64 trap sites each.
const SMALLEST_RECORD: u64 = 256 << 10;

/// See the module.
pub(crate) struct Scratch {
    /// The connection's generation.
    pub generation: u64,
    /// Start and end of submissions; `None` where the device has no timestamps.
    timestamps: Option<(wgpu::QuerySet, wgpu::Buffer)>,
    /// The timestamps, then the trap record, for the host to read.
    readback: wgpu::Buffer,
    traps: wgpu::Buffer,
    /// The host reads the trap record where it is.
    traps_mapped: bool,
}

impl Scratch {
    /// Buffers for launches of up to that many trap sites.
    pub fn new(connection: &Connection, sites: usize) -> Result<Scratch, DeviceError> {
        use wgpu::BufferUsages as Usage;
        // All of it is bound.
        let most = connection.device.limits().max_storage_buffer_binding_size / 4 * 4;
        let trap_bytes = Scratch::part(sites).max(SMALLEST_RECORD.min(most));
        let device = &connection.device;
        let buffer = |label, size, usage| {
            let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
            device.create_buffer(&descriptor)
        };
        connection.guarded(trap_bytes, || {
            let timestamps = connection.tick.map(|_| {
                let (ty, count) = (wgpu::QueryType::Timestamp, 2 * MAX_TIMES as u32);
                let set = device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count });
                let size = TIMES_SIZE.next_multiple_of(wgpu::QUERY_RESOLVE_BUFFER_ALIGNMENT);
                (set, buffer("timestamps", size, Usage::QUERY_RESOLVE | Usage::COPY_SRC))
            });
            let readback = buffer("readback", TIMES_SIZE + trap_bytes, Usage::MAP_READ | Usage::COPY_DST);
            let traps_mapped = connection.transfers == Transfers::Mapped;
            let map = if traps_mapped { Usage::MAP_READ } else { Usage::empty() };
            let traps = buffer("traps", trap_bytes, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST | map);
            connection.queue.write_buffer(&traps, 0, &vec![0xff; trap_bytes as usize]);
            Ok(Scratch { generation: connection.generation, timestamps, readback, traps, traps_mapped })
        })
    }

    /// Bytes of a launch's part of the trap record.
    pub fn part(sites: usize) -> u64 {
        sites as u64 * 4
    }

    /// Bytes of the whole record.
    pub fn traps_size(&self) -> u64 {
        self.traps.size()
    }

    /// The whole record: a launch is told where its own part starts.
    pub fn traps_binding(&self) -> wgpu::BindingResource<'_> {
        self.traps.as_entire_binding()
    }

    /// Clears the whole record.
    pub fn reset_traps(&self, connection: &Connection) -> Result<(), DeviceError> {
        connection.guarded(0, || {
            let words = vec![NONE; (self.traps.size() / 4) as usize];
            connection.queue.write_buffer(&self.traps, 0, bytemuck::cast_slice(&words));
            Ok(())
        })
    }

    /// Where the times of a submission go, by its number since the last readback.
    pub fn timestamp_writes(&self, index: u32) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        self.timestamps.as_ref().map(|(query_set, _)| wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(2 * index),
            end_of_pass_write_index: Some(2 * index + 1),
        })
    }

    /// Waits for all submissions, of which `last` is the last: the times of the first `times` of them by the device's clock,
    /// and the first bytes of the trap record as words.
    pub fn read(
        &self,
        connection: &Connection,
        times: usize,
        trap_bytes: u64,
        last: wgpu::SubmissionIndex,
    ) -> Result<(Vec<Option<Duration>>, Vec<u32>), DeviceError> {
        let timestamps = self.timestamps.as_ref().filter(|_| times > 0);
        let mapped = self.traps_mapped && timestamps.is_none();
        connection.guarded(0, || {
            let slice = match (timestamps, mapped, trap_bytes) {
                (None, _, 0) => {
                    let wait = wgpu::PollType::Wait { submission_index: Some(last), timeout: None };
                    connection.poll(wait)?;
                    return Ok((Vec::new(), Vec::new()));
                }
                (None, true, _) => {
                    let slice = self.traps.slice(..trap_bytes);
                    connection.map(slice, wgpu::MapMode::Read, Some(last))?;
                    slice
                }
                _ => {
                    let copied = self.copy(connection, times, trap_bytes);
                    let slice = self.readback.slice(..TIMES_SIZE + trap_bytes);
                    connection.map(slice, wgpu::MapMode::Read, Some(copied))?;
                    slice
                }
            };
            let words = slice.get_mapped_range().map(|view| bytemuck::pod_collect_to_vec::<u8, u32>(&view));
            slice.buffer().unmap();
            let mut words = words.map_err(|e| connection.failed(format!("A readback can't be mapped: {e}.")))?;
            if mapped {
                return Ok((Vec::new(), words));
            }
            let record = words.split_off((TIMES_SIZE / 4) as usize);
            let clock = |time: &[u32; 4]| connection.tick.and_then(|tick| elapsed(time, tick));
            Ok((words.as_chunks().0.iter().take(times).map(clock).collect(), record))
        })
    }

    fn copy(&self, connection: &Connection, times: usize, trap_bytes: u64) -> wgpu::SubmissionIndex {
        let mut encoder = connection.device.create_command_encoder(&Default::default());
        if let Some((set, resolved)) = self.timestamps.as_ref().filter(|_| times > 0) {
            encoder.resolve_query_set(set, 0..2 * times as u32, resolved, 0);
            encoder.copy_buffer_to_buffer(resolved, 0, &self.readback, 0, TIME_SIZE * times as u64);
        }
        if trap_bytes > 0 {
            encoder.copy_buffer_to_buffer(&self.traps, 0, &self.readback, TIMES_SIZE, trap_bytes);
        }
        connection.queue.submit([encoder.finish()])
    }
}

/// The time between two timestamps of two words each; `None` for a clock that did not run.
pub(crate) fn elapsed(words: &[u32; 4], tick: f64) -> Option<Duration> {
    let [low0, high0, low1, high1] = *words;
    let start = u64::from(low0) | u64::from(high0) << 32;
    let end = u64::from(low1) | u64::from(high1) << 32;
    let ticks = end.checked_sub(start).filter(|ticks| *ticks > 0)?;
    Some(Duration::from_nanos((ticks as f64 * tick) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_a_clock_that_stands_still_are_no_time() {
        assert_eq!(elapsed(&[5, 0, 5, 0], 1.0), None);
        assert_eq!(elapsed(&[5, 1, 5, 0], 1.0), None);
        assert_eq!(elapsed(&[u32::MAX, 0, 0, 1], 2.0), Some(Duration::from_nanos(2)));
    }
}
