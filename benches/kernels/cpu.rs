//! The CPU device against one core, the guests' own loops and native builds: the guest programs as they are.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cases::{Case, root};
use crate::output::{Cell, Table};
use crate::stats::{Summary, summarize};

/// Runs of each program; the times of one repetition are taken in each.
const ROUNDS: usize = 5;
const REPEAT: &str = "3";

/// One way to run a guest: its name, the program, and the arguments before and after the guest's.
struct Mode {
    name: &'static str,
    program: PathBuf,
    before: Vec<String>,
    after: &'static [&'static str],
}

fn modes(case: &Case) -> Vec<Mode> {
    let guest = case.guest().display().to_string();
    let wavelift = |name, device: &str, after| {
        let before = ["run", "--device", device, &guest, "--"].map(String::from).to_vec();
        Mode { name, program: env!("CARGO_BIN_EXE_wavelift").into(), before, after }
    };
    let binary = root().join("target/native").join(case.name);
    let native = |name, after| Mode { name, program: binary.clone(), before: Vec::new(), after };
    vec![
        wavelift("CPU device, all threads", "cpu", &[]),
        wavelift("sequential device", "sequential", &[]),
        wavelift("guest's loop in Wasmtime", "sequential", &["--serial"]),
        native("native, OpenMP", &[]),
        native("native, guest's loop", &["--serial"]),
    ]
}

impl Mode {
    /// Seconds of the best repetition of one run. The guest checks its result itself.
    fn time(&self, case: &Case) -> Result<f64> {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(case.guest_arguments).args(["--repeat", REPEAT]).args(self.after);
        let output = command.env("WAVELIFT_CACHE_DIR", "").output().with_context(|| {
            format!("`{}` does not run; build the native guests with scripts/build-native", self.program.display())
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{}` of {} failed: {text}{errors}", self.name, case.name);
        let line = text.lines().find(|line| line.starts_with("time_s "));
        let best = line.and_then(|line| line.split(' ').find_map(|field| field.strip_prefix("best=")));
        match best.and_then(|value| value.parse().ok()) {
            Some(seconds) if seconds > 0.0 => Ok(seconds),
            _ => bail!("`{}` of {} printed no time: {text}", self.name, case.name),
        }
    }
}

/// Measures the cases.
pub fn measure(cases: &[Case]) -> Result<Table> {
    let mut rows = Vec::new();
    for case in cases {
        eprintln!("{}: CPU ...", case.name);
        let modes = modes(case);
        let mut times = vec![Vec::new(); modes.len()];
        for round in 0..ROUNDS {
            for turn in 0..modes.len() {
                let index = (round + turn) % modes.len();
                times[index].push(modes[index].time(case)?);
            }
        }
        let first = times[0].clone();
        for (mode, times) in modes.iter().zip(&times) {
            let Some(Summary { median, spread, count }) = summarize(times) else { continue };
            let ratios: Vec<f64> = times.iter().zip(&first).map(|(time, cpu)| time / cpu).collect();
            rows.push(vec![
                Cell::Text(case.name.into()),
                Cell::Text(case.guest_arguments.join(" ")),
                Cell::Text(mode.name.into()),
                Cell::Seconds(median),
                Cell::Share(spread),
                Cell::Count(count as u64),
                summarize(&ratios).map_or(Cell::Nothing, |r| Cell::Ratio(r.median)),
            ]);
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let note = format!(
        "Kernel time that the guest program itself takes, launches waited for: best of {REPEAT} repetitions in each of \
         {ROUNDS} runs in turns, median of the runs. {threads} threads. A ratio is the median of a mode's time divided by \
         the CPU device's time in the same turn: above 1, the CPU device is faster."
    );
    let columns = vec!["kernel", "arguments", "mode", "time", "spread", "runs", "it / CPU device"];
    Ok(Table { title: "CPU device".into(), note, columns, rows })
}
