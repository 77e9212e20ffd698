//! Launches that are under way while their guest goes on.

use std::collections::HashMap;
use std::collections::VecDeque;

use wasmtime::Result;

use crate::device::{DeviceError, Launch, LaunchError, LaunchTimes};
use crate::host::Core;
use crate::kernel::{Failure, failure};
use crate::report::LaunchRecord;
use crate::runtime::DeviceSlot;
use crate::trap::KernelFault;

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
        finish(self)
    }
}

/// See [`Core::finish`].
pub(super) fn finish(core: &mut Core) -> Result<()> {
    if core.deferred.is_empty() {
        return Ok(());
    }
    let deferred = std::mem::take(&mut core.deferred);
    let mut outcomes: HashMap<DeviceSlot, VecDeque<Result<LaunchTimes, LaunchError>>> = HashMap::new();
    for launch in &deferred {
        outcomes.entry(launch.slot).or_insert_with(|| core.finish_on(launch.slot).into());
    }
    for Deferred { slot, launch, mut record } in deferred {
        let outcome = outcomes.get_mut(&slot).and_then(VecDeque::pop_front);
        let lost = || Err(LaunchError::Internal("The device forgot a launch.".to_string()));
        match outcome.unwrap_or_else(lost) {
            Ok(times) => {
                record.lift += times.lift;
                (record.compile, record.run) = (times.compile, times.run);
                core.report.push(record);
            }
            Err(LaunchError::Trap(trap)) => {
                record.fallback = Some(format!("Trapped: {}.", trap.kind));
                core.report.push(record);
                return Err(KernelFault::new(&launch, &trap).into());
            }
            Err(error) => {
                record.fallback = Some("Failed.".to_string());
                core.report.push(record);
                if matches!(error, LaunchError::Device(DeviceError::Lost { .. })) {
                    core.lose(slot);
                }
                let Failure::Other(error) = failure(error, &launch) else { continue };
                return Err(error);
            }
        }
    }
    Ok(())
}
