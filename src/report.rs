//! What ran where, why, and how long.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use wavelift_translator::{Module, Speculation, speculation};

use crate::device::{KernelTrap, LaunchTimes};

/// The size of groups that is not worth saying.
const USUAL_GROUP: u32 = 64;

/// Groups of launches that a report keeps apart; what comes after is counted in one last group, so that a guest that
/// runs for days does not fill memory.
const MAX_GROUPS: usize = 4096;

/// One launch, or consecutive launches of one kernel on one device with equal numbers of invocations; times are sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchRecord {
    /// The kernel's name.
    pub kernel: String,
    /// The device that ran it.
    pub device: String,
    /// Invocations of each launch.
    pub invocations: u32,
    /// Why it ran elsewhere than on the device of its buffers.
    pub fallback: Option<String>,
    /// What the form that ran assumes, why one that was tried before it was undone, and whether loops were flattened.
    pub form: Option<String>,
    /// Number of launches.
    pub count: u64,
    /// How many of them were compared with another device's run.
    pub verified: u64,
    /// How many of them took their kernel from the disk cache, so that it was not lifted.
    pub from_cache: u64,
    /// Invocations that ran at once in the lanes of vectors, where the CPU device did that.
    pub lanes: Option<u32>,
    /// Invocations of the shader that a group had in the last of them, where a GPU ran it.
    pub group: Option<u32>,
    /// Lifting Wasm to SPIR-V, or rewriting it for CPU workers; reading a kernel that came as a module; all that was tried on a GPU
    /// that then refused it.
    pub lift: Duration,
    /// Making pipelines, or machine code.
    pub compile: Duration,
    /// `write_buffer` into the buffers of these launches since the launch before.
    pub upload: Duration,
    /// From submission to completion; with a fallback, moving buffers included.
    pub run: Duration,
    /// `read_buffer` after the last of these launches.
    pub download: Duration,
    /// The kernel's module and function: kernels of one name are kept apart.
    pub(crate) function: (u64, u32),
}

impl LaunchRecord {
    /// One launch that took no time.
    pub(crate) fn new(kernel: String, device: String, invocations: u32) -> LaunchRecord {
        LaunchRecord {
            kernel,
            device,
            invocations,
            fallback: None,
            form: None,
            count: 1,
            verified: 0,
            from_cache: 0,
            lanes: None,
            group: None,
            lift: Duration::ZERO,
            compile: Duration::ZERO,
            upload: Duration::ZERO,
            run: Duration::ZERO,
            download: Duration::ZERO,
            function: (0, 0),
        }
    }

    /// Adds that the launch trapped.
    pub(crate) fn note_trap(&mut self, trap: &KernelTrap) {
        self.fallback = Some(format!("Trapped: {}.", trap.kind));
    }

    /// Notes how long a launch took.
    pub(crate) fn note_times(&mut self, times: &LaunchTimes) {
        self.lift += times.lift;
        self.from_cache = u64::from(times.from_cache);
        (self.lanes, self.group) = (times.lanes, times.group);
        (self.compile, self.run) = (times.compile, times.run);
    }

    /// Notes in which form a launch ran, where that is not the exact one, not the first that was tried, or a flattened one.
    pub(crate) fn note_form(&mut self, module: &Module, times: &LaunchTimes) {
        let bailed_out = times.bailed_out.map(|trap| bail_out(module, &trap));
        let assumed = assumption(times.assumed);
        let flattened = (times.rounds > 1)
            .then(|| format!("Iterations of its loops ran as invocations, {} for each of the launch's.", times.rounds));
        self.form = bailed_out.into_iter().chain(assumed).chain(flattened).reduce(|a, b| format!("{a} {b}"));
    }

    fn continues(&self, other: &LaunchRecord) -> bool {
        self.function == other.function
            && self.kernel == other.kernel
            && self.device == other.device
            && self.invocations == other.invocations
            && self.fallback == other.fallback
            && self.lanes == other.lanes
            && self.form == other.form
    }

    fn add(&mut self, other: &LaunchRecord) {
        self.count += other.count;
        self.verified += other.verified;
        self.from_cache += other.from_cache;
        self.lift += other.lift;
        self.compile += other.compile;
        self.upload += other.upload;
        self.run += other.run;
        self.download += other.download;
        self.group = other.group;
    }
}

/// What a form assumes, as a sentence; `None` for the exact form.
pub(crate) fn assumption(assumed: Speculation) -> Option<String> {
    let assumptions = assumed.assumptions();
    let text = speculation::list(assumptions);
    assumed.any().then(|| format!("Lifted assuming that {text}, which was checked."))
}

/// That a launch was undone, and why, as a sentence.
pub(crate) fn bail_out(module: &Module, trap: &KernelTrap) -> String {
    format!(
        "A form of the kernel was undone: {} in iteration {} (function `{}`, {}).",
        trap.kind,
        trap.iteration,
        module.function_name(trap.at.function),
        module.place(trap.at.offset)
    )
}

/// All launches of a guest in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    groups: Vec<LaunchRecord>,
}

impl Report {
    /// The launches, consecutive equal ones grouped.
    pub fn launches(&self) -> &[LaunchRecord] {
        &self.groups
    }

    pub(crate) fn push(&mut self, record: LaunchRecord) {
        let full = self.groups.len() >= MAX_GROUPS;
        match self.groups.last_mut() {
            Some(last) if last.continues(&record) => last.add(&record),
            Some(last) if full => {
                last.add(&record);
                last.kernel = "(further launches)".to_string();
                last.device = "(several)".to_string();
                last.fallback = None;
                last.form = None;
                (last.lanes, last.group) = (None, None);
                last.invocations = 0;
            }
            _ => self.groups.push(record),
        }
    }

    pub(crate) fn add_download(&mut self, time: Duration) {
        if let Some(last) = self.groups.last_mut() {
            last.download += time;
        }
    }
}

impl fmt::Display for Report {
    /// A table, one line a group; notes stand below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.groups.is_empty() {
            return f.write_str("No kernel was launched.");
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "kernel",
            "device",
            "launches",
            "invocations",
            "lift",
            "compile",
            "upload",
            "run",
            "download",
            "note",
        ]);
        let mut notes: Vec<String> = Vec::new();
        for group in &self.groups {
            let mut marks = Vec::new();
            for reason in group.fallback.iter().chain(&group.form) {
                let known = notes.iter().position(|note| note == reason);
                let number = known.unwrap_or_else(|| {
                    notes.push(reason.clone());
                    notes.len() - 1
                });
                marks.push(format!("[{}]", number + 1));
            }
            if let Some(lanes) = group.lanes {
                marks.push(format!("{lanes} at once"));
            }
            if let Some(size) = group.group.filter(|size| *size != USUAL_GROUP) {
                marks.push(format!("groups of {size}"));
            }
            if group.from_cache > 0 {
                marks.push("kernel from the cache".to_string());
            }
            if group.verified > 0 {
                marks.push(format!("{} verified", group.verified));
            }
            table.add_row([
                group.kernel.clone(),
                group.device.clone(),
                group.count.to_string(),
                group.invocations.to_string(),
                time(group.lift),
                time(group.compile),
                time(group.upload),
                time(group.run),
                time(group.download),
                marks.join(" "),
            ]);
        }
        for column in 2..9 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{table}")?;
        notes.iter().enumerate().try_for_each(|(i, note)| write!(f, "\n[{}] {note}", i + 1))
    }
}

/// A duration in the unit that suits it; `-` for none.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        0.0 => "-".to_string(),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kernel: &str, invocations: u32, micros: u64) -> LaunchRecord {
        let run = Duration::from_micros(micros);
        LaunchRecord { run, ..LaunchRecord::new(kernel.to_string(), "CPU".to_string(), invocations) }
    }

    #[test]
    fn groups_consecutive_equal_launches() {
        let mut report = Report::default();
        report.push(record("a", 8, 10));
        report.push(record("a", 8, 20));
        report.push(record("b", 8, 1));
        report.push(record("a", 8, 1));
        report.push(record("a", 9, 1));
        report.push(LaunchRecord { function: (7, 0), ..record("a", 9, 1) });
        report.add_download(Duration::from_millis(3));
        let counts: Vec<_> = report.launches().iter().map(|r| (r.kernel.as_str(), r.count)).collect();
        assert_eq!(counts, [("a", 2), ("b", 1), ("a", 1), ("a", 1), ("a", 1)]);
        assert_eq!(report.launches()[0].run, Duration::from_micros(30));
        let table = report.to_string();
        assert!(table.contains("30.0 µs") && table.contains("3.00 ms"), "{table}");
    }

    #[test]
    fn stays_bounded() {
        let mut report = Report::default();
        for i in 0..2 * MAX_GROUPS as u32 {
            report.push(record("a", i, 1));
        }
        assert_eq!(report.launches().len(), MAX_GROUPS);
        assert_eq!(report.launches().iter().map(|r| r.count).sum::<u64>(), 2 * MAX_GROUPS as u64);
    }
}
