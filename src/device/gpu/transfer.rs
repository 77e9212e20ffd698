//! Buffers of a device and the way of bytes to them and back.

use crate::device::DeviceError;
use crate::device::gpu::Transfers;
use crate::device::gpu::connection::Connection;

/// Copies between buffers start and end on words.
const WORD: u64 = wgpu::COPY_BUFFER_ALIGNMENT;
/// Buffers are padded to a multiple of this: the widest load of a kernel, in bytes.
const ELEMENT: u64 = 16;
/// Largest piece of a staged transfer: bounds the memory that staging takes.
const PIECE: usize = 32 << 20;
/// Smallest staging buffer.
const SMALLEST_STAGING: u64 = 4096;
/// Most staging buffers kept for reuse.
const MAX_STAGING: usize = 4;

/// A storage buffer on one connection. A clone is the same buffer.
#[derive(Clone)]
pub(crate) struct GpuBuffer {
    pub wgpu: wgpu::Buffer,
    /// The connection's generation.
    pub generation: u64,
    /// Size in bytes as the guest asked for it.
    pub size: u64,
    mapped: bool,
}

impl GpuBuffer {
    /// Creates a buffer of `size` zero bytes (wgpu zeroes what nobody wrote).
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`] for a size beyond the device's limit or its memory.
    pub fn new(connection: &Connection, size: u64) -> Result<GpuBuffer, DeviceError> {
        Self::with_usage(connection, size, wgpu::BufferUsages::empty())
    }

    /// The same, of a buffer that is to be bound in another way, too.
    ///
    /// # Errors
    /// Those of [`GpuBuffer::new`].
    pub fn with_usage(
        connection: &Connection,
        size: u64,
        further: wgpu::BufferUsages,
    ) -> Result<GpuBuffer, DeviceError> {
        let mapped = connection.transfers == Transfers::Mapped;
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let mut usage = storage | further;
        if mapped {
            usage |= wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE;
        }
        // Kernels load up to four words at a time, and a binding can't be empty.
        let padded = size.next_multiple_of(ELEMENT).max(ELEMENT);
        if padded > connection.device.limits().max_buffer_size {
            return Err(connection.out_of_memory(size));
        }
        let descriptor = wgpu::BufferDescriptor { label: None, size: padded, usage, mapped_at_creation: false };
        let wgpu = connection.guarded(size, || Ok(connection.device.create_buffer(&descriptor)))?;
        Ok(GpuBuffer { wgpu, generation: connection.generation, size, mapped })
    }

    /// One over bytes of the host's, which only launches reach.
    pub fn imported(connection: &Connection, wgpu: wgpu::Buffer, size: u64) -> GpuBuffer {
        GpuBuffer { wgpu, generation: connection.generation, size, mapped: false }
    }

    /// Copies `data` to the bytes from `offset` on, which lie inside the buffer. No work may be in flight on it.
    pub fn write(&self, connection: &Connection, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.check(connection, offset, data.len())?;
        if data.is_empty() {
            Ok(())
        } else if self.mapped {
            self.write_mapped(connection, offset, data)
        } else {
            self.write_staged(connection, offset, data)
        }
    }

    /// The same behind the work that was submitted so far, which may be in flight on it. The bytes are kept until then.
    pub fn write_in_order(&self, connection: &Connection, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        self.check(connection, offset, data.len())?;
        self.write_staged(connection, offset, data)
    }

    /// Copies the bytes from `offset` on, which lie inside the buffer, to `out`, after all work submitted before.
    pub fn read(&self, connection: &Connection, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        self.check(connection, offset, out.len())?;
        if out.is_empty() {
            Ok(())
        } else if self.mapped {
            self.read_mapped(connection, offset, out)
        } else {
            read_staged(connection, &self.wgpu, offset, out)
        }
    }

    fn check(&self, connection: &Connection, offset: u64, len: usize) -> Result<(), DeviceError> {
        if self.generation != connection.generation {
            return Err(connection.gone());
        }
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            let size = self.size;
            return Err(
                connection.failed(format!("A copy of {len} bytes at {offset} leaves a buffer of {size} bytes."))
            );
        }
        Ok(())
    }

    fn write_mapped(&self, connection: &Connection, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        let (range, skip) = map_range(offset, data.len());
        connection.guarded(data.len() as u64, || {
            let slice = self.wgpu.slice(range);
            connection.map(slice, wgpu::MapMode::Write, None)?;
            let copied = slice.get_mapped_range_mut().map(|mut view| {
                // Only these bytes: the neighbours in the first and last word stay.
                view.slice(skip..skip + data.len()).copy_from_slice(data);
            });
            self.wgpu.unmap();
            copied.map_err(|error| connection.failed(format!("A buffer can't be mapped: {error}.")))
        })
    }

    fn read_mapped(&self, connection: &Connection, offset: u64, out: &mut [u8]) -> Result<(), DeviceError> {
        let (range, skip) = map_range(offset, out.len());
        connection.guarded(out.len() as u64, || {
            let slice = self.wgpu.slice(range);
            connection.map(slice, wgpu::MapMode::Read, None)?;
            let copied = slice.get_mapped_range().map(|view| out.copy_from_slice(&view[skip..skip + out.len()]));
            self.wgpu.unmap();
            copied.map_err(|error| connection.failed(format!("A buffer can't be mapped: {error}.")))
        })
    }

    fn write_staged(&self, connection: &Connection, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        // The first and the last word may be the buffer's neighbours' in part.
        let head = (offset.next_multiple_of(WORD) - offset).min(data.len() as u64) as usize;
        let (head, rest) = data.split_at(head);
        let (words, tail) = rest.split_at(rest.len() - rest.len() % WORD as usize);
        let words_at = offset + head.len() as u64;
        self.merge_word(connection, offset, head)?;
        for (index, piece) in words.chunks(PIECE).enumerate() {
            let at = words_at + (index * PIECE) as u64;
            connection.guarded(data.len() as u64, || {
                connection.queue.write_buffer(&self.wgpu, at, piece);
                // Large writes go out at once: wgpu would keep them all in memory until the next launch.
                if words.len() >= PIECE {
                    connection.queue.submit([]);
                    connection.poll(wgpu::PollType::wait_indefinitely())?;
                }
                Ok(())
            })?;
        }
        self.merge_word(connection, words_at + words.len() as u64, tail)
    }

    /// Writes some bytes of one word and keeps the others.
    fn merge_word(&self, connection: &Connection, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        if data.is_empty() {
            return Ok(());
        }
        let (word_at, skip) = (offset - offset % WORD, (offset % WORD) as usize);
        let mut word = [0; WORD as usize];
        read_staged(connection, &self.wgpu, word_at, &mut word)?;
        word[skip..skip + data.len()].copy_from_slice(data);
        connection.guarded(WORD, || {
            connection.queue.write_buffer(&self.wgpu, word_at, &word);
            Ok(())
        })
    }
}

/// The range to map for `len` bytes at `offset`, and how many of its bytes come before them.
fn map_range(offset: u64, len: usize) -> (std::ops::Range<u64>, usize) {
    let start = offset - offset % wgpu::MAP_ALIGNMENT;
    (start..(offset + len as u64).next_multiple_of(WORD), (offset - start) as usize)
}

/// Copies bytes of any buffer with `COPY_SRC` to the host, after all work submitted before.
pub(crate) fn read_staged(
    connection: &Connection,
    buffer: &wgpu::Buffer,
    offset: u64,
    out: &mut [u8],
) -> Result<(), DeviceError> {
    let skip = (offset % WORD) as usize;
    let start = offset - skip as u64;
    let whole = (skip + out.len()).next_multiple_of(WORD as usize);
    let staging = take_staging(connection, whole.min(PIECE) as u64)?;
    let mut done = 0;
    while done < whole {
        let len = (whole - done).min(PIECE);
        // Of the words [done, done + len), the bytes that were asked for.
        let (from, to) = (done.max(skip), (done + len).min(skip + out.len()));
        connection.guarded(len as u64, || {
            let mut encoder = connection.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, start + done as u64, &staging, 0, len as u64);
            let submission = connection.queue.submit([encoder.finish()]);
            let slice = staging.slice(..len as u64);
            connection.map(slice, wgpu::MapMode::Read, Some(submission))?;
            let copied = slice.get_mapped_range().map(|view| {
                out[from - skip..to - skip].copy_from_slice(&view[from - done..to - done]);
            });
            staging.unmap();
            copied.map_err(|error| connection.failed(format!("A staging buffer can't be mapped: {error}.")))
        })?;
        done += len;
    }
    // After an error the buffer may still be in use: only a good one comes back.
    let mut kept = connection.staging.lock();
    if kept.len() < MAX_STAGING {
        kept.push(staging);
    }
    Ok(())
}

/// A staging buffer of at least `size` bytes: one that was used before, if there is one.
fn take_staging(connection: &Connection, size: u64) -> Result<wgpu::Buffer, DeviceError> {
    let mut kept = connection.staging.lock();
    let fitting = kept.iter().enumerate().filter(|(_, b)| b.size() >= size).min_by_key(|(_, b)| b.size());
    if let Some((index, _)) = fitting {
        return Ok(kept.swap_remove(index));
    }
    // A larger one takes the place of the smallest.
    if kept.len() >= MAX_STAGING
        && let Some((index, _)) = kept.iter().enumerate().min_by_key(|(_, b)| b.size())
    {
        kept.swap_remove(index);
    }
    drop(kept);
    let size = size.next_power_of_two().max(SMALLEST_STAGING);
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: Some("staging"), size, usage, mapped_at_creation: false };
    connection.guarded(size, || Ok(connection.device.create_buffer(&descriptor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_ranges_are_aligned_and_hold_the_bytes() {
        assert_eq!(map_range(0, 4), (0..4, 0));
        assert_eq!(map_range(13, 1), (8..16, 5));
        assert_eq!(map_range(16, 5), (16..24, 0));
        assert_eq!(map_range(7, 2), (0..12, 7));
    }
}
