//! Runs a launch a second time on another device and compares every byte.

use std::fmt;

use wasmtime::Result;

use super::{CallerInstance, contents, distinct_buffers, free};
use crate::device::{BufferSpec, Launch};
use crate::host::Core;
use crate::runtime::DeviceSlot;
use crate::trap::KernelFault;

/// Two devices gave different results for one launch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Verification failed at launch {launch}, of the kernel `{kernel}` on {device}, compared with {reference}: {what}."
)]
pub struct Mismatch {
    /// The number of the launch, counted from 1.
    pub launch: u64,
    /// The kernel's name.
    pub kernel: String,
    /// The device whose result the guest got.
    pub device: String,
    /// The device it was compared with.
    pub reference: String,
    /// The first difference, as a clause.
    pub what: String,
}

/// What a kernel can change, as it is at one moment.
pub(super) struct Snapshot {
    buffers: Vec<(BufferSpec, Vec<u8>)>,
    memory: Vec<u8>,
}

impl Snapshot {
    /// Copies the launch's buffers and linear memory.
    pub fn take(
        core: &mut Core,
        slot: DeviceSlot,
        launch: &Launch,
        caller: &mut dyn CallerInstance,
    ) -> Result<Snapshot> {
        let mut buffers = Vec::new();
        for spec in distinct_buffers(launch) {
            let bytes = contents(core, slot, &spec)?;
            buffers.push((spec, bytes));
        }
        // A memory of the kernel's own is gone after each run: there is nothing to compare.
        let size = if caller.own_memory().is_some() { 0 } else { caller.memory_size() };
        let mut memory = vec![0; size as usize];
        caller.read_memory(0, &mut memory);
        Ok(Snapshot { buffers, memory })
    }
}

/// Runs the launch on the reference device from `before`, compares, and leaves everything as the first run left it.
/// `slot` is the device of the buffers, `ran_on` the one that ran the launch.
pub(super) fn verify(
    core: &mut Core,
    slot: DeviceSlot,
    ran_on: DeviceSlot,
    launch: &Launch,
    before: &Snapshot,
    caller: &mut dyn CallerInstance,
) -> Result<()> {
    let reference = match ran_on {
        DeviceSlot::Cpu => DeviceSlot::Sequential,
        DeviceSlot::Gpu(_) | DeviceSlot::Own | DeviceSlot::Sequential => DeviceSlot::Cpu,
    };
    let after = Snapshot::take(core, slot, launch, caller)?;
    let buffers = distinct_buffers(launch);
    if after.memory != before.memory {
        caller.write_memory(0, &before.memory);
    }
    let difference = compare_with(core, reference, launch, before, &after, caller);
    caller.write_memory(0, &after.memory);
    free(core, reference, &buffers);
    if slot.is_cpu() {
        // The CPU's contexts share the buffers' memory: the second run overwrote the first one's results.
        for (spec, bytes) in &after.buffers {
            core.context(slot)?.write_buffer(spec.id, 0, bytes)?;
        }
    }
    match difference? {
        None => Ok(()),
        Some(what) => Err(Mismatch {
            launch: core.launches,
            kernel: launch.module.wasm.function_name(launch.function),
            device: core.device_name(ran_on),
            reference: core.device_name(reference),
            what,
        }
        .into()),
    }
}

/// The first difference between `after` and what the reference device makes of `before`.
fn compare_with(
    core: &mut Core,
    reference: DeviceSlot,
    launch: &Launch,
    before: &Snapshot,
    after: &Snapshot,
    caller: &mut dyn CallerInstance,
) -> Result<Option<String>> {
    for (spec, bytes) in &before.buffers {
        core.context(reference)?.create_buffer(spec)?;
        core.context(reference)?.write_buffer(spec.id, 0, bytes)?;
    }
    if let Err(error) = core.context(reference)?.launch(launch, caller) {
        let what = match error {
            crate::device::LaunchError::Trap(trap) => KernelFault::new(launch, &trap).to_string(),
            other => other.to_string(),
        };
        return Ok(Some(format!("the second run did not complete. {}", what.trim_end_matches('.'))));
    }
    for (spec, bytes) in &after.buffers {
        let expected = contents(core, reference, spec)?;
        if let Some(difference) = first_difference(bytes, &expected) {
            let position = launch.buffers.iter().position(|b| b.id == spec.id).unwrap_or_default();
            return Ok(Some(format!("buffer {position} of the call differs at {difference}")));
        }
    }
    let mut memory = vec![0; after.memory.len()];
    caller.read_memory(0, &mut memory);
    Ok(first_difference(&after.memory, &memory).map(|difference| format!("linear memory differs at {difference}")))
}

/// Where two results differ first, and both values.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    offset: usize,
    got: Vec<u8>,
    expected: Vec<u8>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes: &[u8]| bytes.iter().rev().map(|b| format!("{b:02x}")).collect::<String>();
        write!(f, "byte offset {}: 0x{}, expected 0x{}", self.offset, hex(&self.got), hex(&self.expected))?;
        if let (Ok(got), Ok(expected)) = (<[u8; 4]>::try_from(&*self.got), <[u8; 4]>::try_from(&*self.expected)) {
            write!(f, " (as f32: {} and {})", f32::from_le_bytes(got), f32::from_le_bytes(expected))?;
        }
        Ok(())
    }
}

/// The first word that differs; the bytes after the last whole word count as one. Payloads of NaNs may differ: two
/// words that are both f32 NaNs are equal, and so are both words of two aligned f64 NaNs.
fn first_difference(got: &[u8], expected: &[u8]) -> Option<Difference> {
    if got == expected {
        return None;
    }
    let pairs = got.chunks(8).zip(expected.chunks(8)).enumerate();
    for (i, (got, expected)) in pairs.filter(|(_, (a, b))| a != b) {
        if is_f64_nan(got) && is_f64_nan(expected) {
            continue;
        }
        for (j, (got, expected)) in got.chunks(4).zip(expected.chunks(4)).enumerate() {
            if got != expected && !(is_f32_nan(got) && is_f32_nan(expected)) {
                return Some(Difference { offset: i * 8 + j * 4, got: got.to_vec(), expected: expected.to_vec() });
            }
        }
    }
    None
}

fn is_f32_nan(bytes: &[u8]) -> bool {
    bytes.try_into().is_ok_and(|bytes| f32::from_le_bytes(bytes).is_nan())
}

fn is_f64_nan(bytes: &[u8]) -> bool {
    bytes.try_into().is_ok_and(|bytes| f64::from_le_bytes(bytes).is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn finds_the_first_word_that_differs() {
        assert_eq!(first_difference(&words(&[1, 2, 3]), &words(&[1, 2, 3])), None);
        let difference = first_difference(&words(&[1, 2, 3, 4]), &words(&[1, 2, 0, 0])).unwrap();
        assert_eq!((difference.offset, difference.got), (8, words(&[3])));
        assert_eq!(first_difference(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 6]).unwrap().offset, 4);
    }

    #[test]
    fn nan_payloads_are_no_difference_and_a_nan_against_a_number_is() {
        assert_eq!(first_difference(&words(&[0x7fc0_0000]), &words(&[0xffc0_0001])), None);
        assert!(first_difference(&words(&[0x7fc0_0000]), &words(&[0x7f80_0000])).is_some());
        assert_eq!(first_difference(&words(&[1, 0x7ff8_0000]), &words(&[2, 0x7ff8_0000])), None);
        assert!(first_difference(&words(&[1, 0x3ff8_0000]), &words(&[2, 0x3ff8_0000])).is_some());
    }
}
