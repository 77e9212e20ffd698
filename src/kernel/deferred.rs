//! Launches that are under way while their guest goes on.

use std::collections::{HashMap, VecDeque};

use wasmtime::Result;

use crate::device::{DeviceError, Launch, LaunchError, LaunchTimes};
use crate::host::Core;
use crate::kernel::{Failure, failure, last_words, not_run};
use crate::report::LaunchRecord;
use crate::runtime::DeviceSlot;

/// A launch under way.
pub(crate) struct Deferred {
    /// Where.
    pub slot: DeviceSlot,
    pub launch: Launch,
    /// What the report will say, but for its times.
    pub record: LaunchRecord,
}

impl Core {
    /// Waits for all launches under way, and enters them in the report.
    ///
    /// # Errors
    /// That of the first launch that did not end well, in the order in which they were made. Launches behind it are as if
    /// they had never been made.
    pub fn finish(&mut self) -> Result<()> {
        let deferred = std::mem::take(&mut self.deferred);
        let mut outcomes: HashMap<DeviceSlot, VecDeque<Result<LaunchTimes, LaunchError>>> = HashMap::new();
        for launch in &deferred {
            outcomes.entry(launch.slot).or_insert_with(|| self.finish_on(launch.slot).into());
        }
        for Deferred { slot, launch, mut record } in deferred {
            let outcome = outcomes.get_mut(&slot).and_then(VecDeque::pop_front);
            let lost = || Err(LaunchError::Internal("The device forgot a launch.".to_string()));
            match outcome.unwrap_or_else(lost) {
                Ok(times) => {
                    record.note_times(&times);
                    record.note_form(&launch.module.wasm, &times);
                    self.report.push(record);
                }
                Err(error) => {
                    match &error {
                        LaunchError::Trap(trap) => record.note_trap(trap),
                        _ => record.fallback = Some("Failed.".to_string()),
                    }
                    self.report.push(record);
                    return Err(failed(self, slot, &launch, error));
                }
            }
        }
        Ok(())
    }
}

/// What stops the guest, or becomes a code of the call that finds out: only that of a lost device, whose buffers are gone
/// with it. Were it that of a call that may be made again, the guest would read what the launch should have written.
fn failed(core: &mut Core, slot: DeviceSlot, launch: &Launch, error: LaunchError) -> wasmtime::Error {
    match error {
        LaunchError::Device(error @ DeviceError::OutOfMemory { .. }) => not_run(launch, error.to_string()),
        LaunchError::Device(error @ DeviceError::Lost { .. }) => {
            core.lose(slot);
            error.into()
        }
        error => match failure(error, launch) {
            Failure::Trap(trap) | Failure::TrapInOrder(trap) => last_words::fault(core, slot, launch, &trap),
            Failure::Refused(reason) => not_run(launch, reason),
            Failure::Other(error) => error,
        },
    }
}
