//! Copies of small buffers on the host, for what is read from them before a launch: pointers, and sizes that programs hand over in
//! buffers to which kernels may not store.
//!
//! Of the latter there is a copy from the start. That of another buffer is made when a launch first asks for a word, follows
//! the host's writes, and is dropped when a kernel may have written the buffer. Making one waits for the device, which takes as
//! long as a small launch: so a buffer that is written by kernels again and again, and read no more often, soon gets no more of
//! them.

use foldhash::HashMap;

use crate::device::{Access, BufferId, BufferSpec, DeviceError};

/// Largest buffer that is copied, in bytes.
const MAX_SIZE: u32 = 16 << 10;
/// Most copies of one buffer of which none serves a second launch.
const MAX_CREDIT: u32 = 8;

/// Largest buffer that has a copy from the start, in bytes.
const MAX_PARAMETERS: u32 = 4 << 10;
/// Most copies that are there from the start: they take 16 MiB at most.
const MOST_PARAMETERS: usize = 4096;

/// The copies of a context's buffers.
#[derive(Debug, Default)]
pub(crate) struct HostCopies {
    copies: HashMap<BufferId, HostCopy>,
    /// Number of the present launch.
    launch: u64,
}

#[derive(Debug)]
struct HostCopy {
    /// `None`: a kernel may have written the buffer since.
    bytes: Option<Vec<u8>>,
    /// How many more copies may be made; each launch that one is good for after its first adds one.
    credit: u32,
    /// The last launch that asked.
    launch: u64,
}

impl HostCopies {
    /// Takes note of a new buffer, all zeroes.
    pub fn create(&mut self, spec: &BufferSpec) {
        if spec.access == Access::Read && spec.size <= MAX_PARAMETERS && self.copies.len() < MOST_PARAMETERS {
            let bytes = Some(vec![0; spec.size as usize]);
            self.copies.insert(spec.id, HostCopy { bytes, credit: MAX_CREDIT, launch: self.launch });
        }
    }

    /// The word with this index of a buffer to which kernels may not store, if there is a copy of it.
    pub fn parameter(&self, spec: &BufferSpec, index: u32) -> Option<u32> {
        if spec.access != Access::Read {
            return None;
        }
        let offset = usize::try_from(u64::from(index) * 4).ok()?;
        let bytes = self.copies.get(&spec.id)?.bytes.as_ref()?.get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Says that the words asked for from now on are for another launch.
    pub fn next_launch(&mut self) {
        self.launch += 1;
    }

    /// The word at an offset of a buffer, inside it; `None` where it is not to be had cheaply. `download` reads the whole
    /// buffer.
    pub fn word(
        &mut self,
        spec: &BufferSpec,
        offset: u32,
        download: impl FnOnce(&mut [u8]) -> Result<(), DeviceError>,
    ) -> Option<u32> {
        if spec.size > MAX_SIZE {
            return None;
        }
        let launch = self.launch;
        let fresh = HostCopy { bytes: None, credit: MAX_CREDIT, launch };
        let copy = self.copies.entry(spec.id).or_insert(fresh);
        match &copy.bytes {
            Some(_) if copy.launch != launch => copy.credit = (copy.credit + 1).min(MAX_CREDIT),
            None => {
                copy.credit = copy.credit.checked_sub(1)?;
                let mut bytes = vec![0; spec.size as usize];
                download(&mut bytes).ok()?;
                copy.bytes = Some(bytes);
            }
            Some(_) => {}
        }
        copy.launch = launch;
        let bytes = copy.bytes.as_ref()?.get(offset as usize..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Follows a write of the host.
    pub fn write(&mut self, buffer: BufferId, offset: u32, data: &[u8]) {
        let Some(copy) = self.copies.get_mut(&buffer) else { return };
        let known = copy.bytes.as_mut();
        if let Some(to) = known.and_then(|bytes| bytes.get_mut(offset as usize..)?.get_mut(..data.len())) {
            to.copy_from_slice(data);
        }
    }

    /// Drops the copies of buffers that kernels may have written.
    pub fn drop_written(&mut self, written: impl IntoIterator<Item = BufferId>) {
        for id in written {
            if let Some(copy) = self.copies.get_mut(&id) {
                copy.bytes = None;
            }
        }
    }

    /// Forgets a buffer.
    pub fn forget(&mut self, buffer: BufferId) {
        self.copies.remove(&buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Access;

    const SPEC: BufferSpec = BufferSpec { id: BufferId(3), address: 0x1_0000, size: 8, access: Access::ReadWrite };

    /// The second word of the buffer, which is `present` now, and whether it was read for that.
    fn word(copies: &mut HostCopies, present: u32) -> (Option<u32>, bool) {
        let mut downloaded = false;
        let found = copies.word(&SPEC, 4, |bytes| {
            downloaded = true;
            bytes[4..].copy_from_slice(&present.to_le_bytes());
            Ok(())
        });
        (found, downloaded)
    }

    #[test]
    fn a_copy_follows_the_host_and_is_dropped_when_a_kernel_writes() {
        let mut copies = HostCopies::default();
        assert_eq!(word(&mut copies, 7), (Some(7), true));
        assert_eq!(word(&mut copies, 0), (Some(7), false));
        copies.write(SPEC.id, 5, &[1, 0]);
        copies.write(BufferId(9), 0, &[1]);
        assert_eq!(word(&mut copies, 0), (Some(0x107), false));
        copies.drop_written([BufferId(9)]);
        assert_eq!(word(&mut copies, 0), (Some(0x107), false));
        copies.drop_written([SPEC.id]);
        assert_eq!(word(&mut copies, 9), (Some(9), true));
        copies.forget(SPEC.id);
        assert_eq!(word(&mut copies, 10), (Some(10), true));
        assert_eq!(copies.word(&SPEC, 5, |_| Ok(())), None);
        let large = BufferSpec { id: BufferId(4), size: MAX_SIZE + 1, ..SPEC };
        assert_eq!(copies.word(&large, 0, |_| panic!("too large to be read")), None);
    }

    #[test]
    fn parameters_are_known_from_the_start_and_follow_the_host() {
        let parameters = BufferSpec { size: 10, access: Access::Read, ..SPEC };
        let large = BufferSpec { id: BufferId(5), size: MAX_PARAMETERS + 4, access: Access::Read, ..SPEC };
        let mut copies = HostCopies::default();
        [&parameters, &large].into_iter().for_each(|spec| copies.create(spec));
        assert_eq!(copies.parameter(&parameters, 0), Some(0));
        copies.write(SPEC.id, 5, &[7]);
        assert_eq!(copies.parameter(&parameters, 1), Some(0x700));
        // No whole word, none, and those that are not read for this.
        assert_eq!([2, 3, u32::MAX].map(|index| copies.parameter(&parameters, index)), [None; 3]);
        assert_eq!(copies.parameter(&large, 0), None);
        copies.forget(SPEC.id);
        copies.create(&SPEC);
        assert_eq!(word(&mut copies, 9), (Some(9), true));
        assert_eq!(copies.parameter(&SPEC, 0), None);
    }

    #[test]
    fn a_buffer_that_kernels_keep_writing_is_soon_read_no_more() {
        let mut copies = HostCopies::default();
        for launch in 0..2 * MAX_CREDIT {
            copies.next_launch();
            let expected = if launch < MAX_CREDIT { (Some(1), true) } else { (None, false) };
            assert_eq!(word(&mut copies, 1), expected);
            copies.drop_written([SPEC.id]);
        }
        let mut copies = HostCopies::default();
        for _ in 0..2 * MAX_CREDIT {
            copies.next_launch();
            assert_eq!(word(&mut copies, 1), (Some(1), true));
            copies.next_launch();
            assert_eq!(word(&mut copies, 1), (Some(1), false));
            copies.drop_written([SPEC.id]);
        }
    }
}
