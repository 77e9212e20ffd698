//! Turns: all engines of a kernel one after the other, again and again, so that a machine that is slow for a while is slow for
//! all. Before and after, outputs are compared with the guest's.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::check::require_same;
use crate::engines::Engine;
use crate::instance::cpu_seconds;
use crate::kernels::{Size, Tolerance};
use crate::record::Recording;

/// What takes the time of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// A GPU's own clock where it has one; the host's for all else.
    Device,
    /// This process's time on the CPU (Linux), divided by the threads that an engine uses: of software drivers on a machine
    /// that does other work, too, what that disturbs least.
    Cpu,
}

/// An engine with what is known of it.
pub struct Entry<'a> {
    pub name: String,
    pub engine: Box<dyn Engine + 'a>,
    /// Whether its outputs must be equal to the guest's, bit for bit.
    pub exact: bool,
    /// Threads of the CPU that it uses where it runs there.
    pub threads: usize,
    /// Seconds of each round, those of one turn at one place; slow engines are left out of late turns.
    pub times: Vec<f64>,
    /// Whether a round takes so long that it needs no warm-up of its own.
    pub is_slow: bool,
    /// Why it was not measured.
    pub refused: Option<String>,
}

/// A round that takes longer says enough without a warm-up.
const SLOW: Duration = Duration::from_secs(1);

/// When an engine has had enough turns.
struct Plan {
    warm_up: usize,
    /// Rounds, unless it has run for `long` before.
    rounds: usize,
    /// Fewest rounds, and how long a slow engine is measured.
    least: usize,
    long: f64,
    /// Most rounds, for engines that never get to run that long.
    most: usize,
    /// How long it should run in all.
    seconds: f64,
}

impl Plan {
    fn of(size: Size) -> Plan {
        match size {
            Size::Small => Plan { warm_up: 1, rounds: 3, least: 3, long: 0.2, most: 9, seconds: 0.02 },
            _ => Plan { warm_up: 2, rounds: 11, least: 3, long: 3.0, most: 101, seconds: 0.5 },
        }
    }

    fn is_enough(&self, times: &[f64]) -> bool {
        let (count, total) = (times.len(), times.iter().sum::<f64>());
        count >= self.most || count >= self.rounds && total >= self.seconds || count >= self.least && total >= self.long
    }
}

/// Measures engines on one recording. Those that refuse the kernel are left out, with the reason.
///
/// # Errors
/// An engine fails, or its outputs are wrong.
pub fn measure(
    entries: &mut [Entry<'_>],
    recording: &Recording,
    size: Size,
    clock: Clock,
    tolerance: Tolerance,
) -> Result<()> {
    for entry in entries.iter_mut() {
        let outcome = verify(entry, recording, tolerance);
        if let Some(refused) = outcome.as_ref().err().and_then(|error| error.downcast_ref::<crate::engines::Refused>())
        {
            entry.refused = Some(refused.0.clone());
            continue;
        }
        outcome.with_context(|| format!("engine `{}`", entry.name))?;
        entry.engine.settle()?;
    }
    let plan = Plan::of(size);
    for _ in 0..plan.warm_up {
        for entry in entries.iter_mut().filter(|entry| entry.refused.is_none() && !entry.is_slow) {
            entry.engine.round()?;
        }
    }
    for turn in 0.. {
        let mut any = false;
        let count = entries.len();
        // Another one begins each time: what runs before must not favour one.
        for place in 0..count {
            let entry = &mut entries[(turn + place) % count];
            if entry.refused.is_none() && !plan.is_enough(&entry.times) {
                entry.times.push(timed(clock, entry.threads, || entry.engine.round())?);
                any = true;
            }
        }
        if !any {
            break;
        }
    }
    for entry in entries.iter_mut().filter(|entry| entry.refused.is_none()) {
        verify(entry, recording, tolerance).with_context(|| format!("engine `{}`, after its turns", entry.name))?;
    }
    Ok(())
}

/// Seconds of something by a clock: what it says itself, or this process's time on the CPU divided by threads.
///
/// # Errors
/// It fails, or there are no such times on this system.
pub fn timed(clock: Clock, threads: usize, run: impl FnOnce() -> Result<f64>) -> Result<f64> {
    match clock {
        Clock::Device => run(),
        Clock::Cpu => {
            let before = cpu_seconds()?;
            run()?;
            Ok((cpu_seconds()? - before) / threads as f64)
        }
    }
}

/// Runs a round from the guest's own data and compares all outputs.
///
/// # Errors
/// An output is wrong.
pub fn verify(entry: &mut Entry<'_>, recording: &Recording, tolerance: Tolerance) -> Result<()> {
    entry.engine.restore(recording)?;
    let start = Instant::now();
    entry.engine.round()?;
    entry.is_slow = start.elapsed() > SLOW;
    let tolerance = if entry.exact { Tolerance::Exact } else { tolerance };
    for (index, buffer) in recording.buffers.iter().enumerate().filter(|(_, buffer)| buffer.output) {
        require_same(&format!("Buffer {index}"), &entry.engine.read(index)?, &buffer.after, tolerance)?;
    }
    Ok(())
}
