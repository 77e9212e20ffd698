//! Faults that tests plant: what a driver does at its worst, at a chosen call.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Memory is used up.
    OutOfMemory,
    /// The device is lost.
    Lost,
    /// The driver refuses the call, as its compiler may.
    Failed,
    /// The graphics library panics.
    Panic,
}

/// A fault at a call to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// At which call from now on, counted from 1.
    pub call: u64,
    /// Whether the call's work is done before it goes wrong.
    pub late: bool,
}

/// The fault that is planted in a device, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether there may be one: calls look no further else.
    planted: AtomicBool,
    plan: Mutex<Option<Plan>>,
    /// The adapter can't be opened.
    closed: AtomicBool,
}

impl Faults {
    /// Plants a fault instead of the one that is planted.
    pub fn plant(&self, plan: Option<Plan>) {
        let mut planted = self.plan.lock();
        *planted = plan;
        self.planted.store(plan.is_some(), Ordering::Relaxed);
    }

    /// Whether a fault waits for its call.
    pub fn is_planted(&self) -> bool {
        self.planted.load(Ordering::Relaxed)
    }

    /// Counts a call: the plan, if it is for this one.
    pub fn due(&self) -> Option<Plan> {
        if !self.is_planted() {
            return None;
        }
        let mut planted = self.plan.lock();
        let plan = planted.as_mut()?;
        plan.call = plan.call.saturating_sub(1);
        if plan.call > 0 {
            return None;
        }
        self.planted.store(false, Ordering::Relaxed);
        planted.take()
    }

    /// Lets the adapter be opened no more, or again.
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// Whether the adapter can't be opened.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_at_its_call() {
        let faults = Faults::default();
        assert_eq!(faults.due(), None);
        let plan = Plan { fault: Fault::Lost, call: 2, late: false };
        faults.plant(Some(plan));
        assert_eq!(faults.due(), None);
        assert!(faults.is_planted());
        assert_eq!(faults.due().map(|plan| plan.fault), Some(Fault::Lost));
        assert_eq!((faults.is_planted(), faults.due()), (false, None));
    }
}
