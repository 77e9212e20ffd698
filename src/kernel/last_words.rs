//! What a kernel would have said: panics print a message, and guests end by `proc_exit`, in calls that never come back, which
//! devices trap in front of. The lowest iteration that trapped so is run once more, in the guest's own instance, where such calls are
//! made.

use crate::device::{KernelTrap, Launch, TrapKind};
use crate::host::Core;
use crate::interrupt::Interruption;
use crate::kernel::{InOrderError, distinct_buffers, exposed, free, move_all};
use crate::runtime::DeviceSlot;
use crate::trap::KernelFault;

/// The iteration of a launch that may have words left.
pub(crate) struct LastWords {
    slot: DeviceSlot,
    launch: Launch,
    iteration: u32,
}

/// What stops a guest whose kernel trapped on a device; the iteration is noted, should it have words left.
pub(super) fn fault(core: &mut Core, slot: DeviceSlot, launch: &Launch, trap: &KernelTrap) -> wasmtime::Error {
    let is_of_guest = launch.module.id == core.module.guest().id;
    let speaks = trap.kind == TrapKind::Unreachable && is_of_guest && core.calls_others();
    core.last_words = speaks.then(|| LastWords { slot, launch: launch.clone(), iteration: trap.iteration });
    KernelFault::new(launch, trap).into()
}

impl LastWords {
    /// Has the iteration run by `run`, which gets its number, with the launch's buffers as they are now. Gives what ended the guest
    /// meanwhile, other than a trap: that one is known.
    pub fn say(
        self,
        core: &mut Core,
        run: impl FnOnce(&Launch, u32) -> Result<(), InOrderError>,
    ) -> Option<wasmtime::Error> {
        let (space, buffers) = (core.space().ok()?, distinct_buffers(&self.launch));
        let elsewhere = !self.slot.is_cpu();
        if elsewhere && move_all(core, self.slot, &buffers).is_err() {
            return None;
        }
        let said = exposed(&space, &buffers, || run(&self.launch, self.iteration));
        if elsewhere {
            free(core, DeviceSlot::Cpu, &buffers);
        }
        match said {
            Ok(Err(InOrderError::Guest(error))) if !error.is::<Interruption>() => Some(error),
            _ => None,
        }
    }
}
