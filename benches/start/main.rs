//! Measures what the disk cache saves a process that starts: the command on some guests, without a cache, with an empty one
//! and with a full one, with the driver's own cache and without. See `benches/README.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

#[path = "../shared/arguments.rs"]
mod arguments;
#[allow(dead_code)]
#[path = "../shared/output.rs"]
mod output;
#[path = "../shared/stats.rs"]
mod stats;

use arguments::Shared;
use output::{Cell, Table};
use stats::summarize;

/// Processes of each sort, in turns.
const TURNS: usize = 15;

/// A guest and its arguments.
const GUESTS: [(&str, &str, &[&str]); 4] = [
    ("mandelbrot", "examples/guests/mandelbrot.wasm", &["97", "61", "200"]),
    ("black_scholes", "examples/guests/black_scholes.wasm", &["1000"]),
    ("sha256 at -O3", "tests/guests/c/hash.O3.wasm", &[]),
    ("sha256 at -O0", "tests/guests/c/hash.O0.wasm", &[]),
];

#[derive(Parser)]
#[command(about = "Measures what the disk cache saves at the start; see benches/README.md.")]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
}

/// Seconds of one process: all of it, and what its report says of all launches.
#[derive(Clone, Copy)]
struct Start {
    process: f64,
    lift: f64,
    compile: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse().shared;
    let adapter = arguments.adapter()?.context("there is no GPU")?;
    let mut text = format!("# Starts, measured\n\n- GPU: {}, {}\n", adapter.info().name, adapter.info().driver);
    let mut rows = Vec::new();
    for (name, path, guest_arguments) in GUESTS.into_iter().filter(|(name, ..)| arguments.wants(name)) {
        for driver_cache in [false, true] {
            eprintln!("{name} ...");
            let folder = tempfile::tempdir()?;
            let start = |cache: Option<&Path>| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_wavelift"));
                command.args(["run", "--device", "gpu", "--report", "--adapter", &adapter.info().name]);
                match cache {
                    Some(cache) => command.arg("--cache-dir").arg(cache),
                    None => command.arg("--no-cache"),
                };
                command.arg(root().join(path)).arg("--").args(guest_arguments);
                command.env("MESA_SHADER_CACHE_DIR", folder.path().join("driver"));
                command.env("MESA_SHADER_CACHE_DISABLE", if driver_cache { "false" } else { "true" });
                timed(&mut command)
            };
            rows.extend(rows_of(name, driver_cache, folder.path(), &start)?);
        }
    }
    let note = format!(
        "The whole command by the wall's clock, and what its report says of lifting and of the driver's compilation: medians of \
         {TURNS} processes of each sort, in turns. `empty` is the first process with a cache, `full` a later one."
    );
    let columns = vec!["guest", "driver's cache", "disk cache", "lift", "compile", "process", "none / it"];
    let table = Table { title: "A process's start with a disk cache".into(), note, columns, rows };
    text += &format!("\n{}", table.markdown());
    arguments.publish(&text)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One guest with the driver's cache or without: a row for each state of the disk cache.
fn rows_of(
    name: &str,
    driver_cache: bool,
    folder: &Path,
    start: &dyn Fn(Option<&Path>) -> Result<Start>,
) -> Result<Vec<Vec<Cell>>> {
    let full = folder.join("full");
    start(Some(&full))?;
    let mut starts: [Vec<Start>; 3] = Default::default();
    for turn in 0..TURNS {
        starts[0].push(start(None)?);
        starts[1].push(start(Some(&folder.join(format!("empty{turn}"))))?);
        starts[2].push(start(Some(&full))?);
    }
    let median = |starts: &[Start], part: fn(&Start) -> f64| {
        let times: Vec<f64> = starts.iter().map(part).collect();
        summarize(&times).map_or(f64::NAN, |summary| summary.median)
    };
    let without = starts[0].clone();
    let row = |(state, starts): (&str, &Vec<Start>)| {
        let quotients: Vec<f64> = without.iter().zip(starts).map(|(none, it)| none.process / it.process).collect();
        vec![
            Cell::Text(name.into()),
            Cell::Text(if driver_cache { "full" } else { "off" }.into()),
            Cell::Text(state.into()),
            Cell::Seconds(median(starts, |start| start.lift)),
            Cell::Seconds(median(starts, |start| start.compile)),
            Cell::Seconds(median(starts, |start| start.process)),
            summarize(&quotients).map_or(Cell::Nothing, |summary| Cell::Ratio(summary.median)),
        ]
    };
    Ok(["none", "empty", "full"].into_iter().zip(&starts).map(row).collect())
}

/// Runs the command, which must go well.
fn timed(command: &mut Command) -> Result<Start> {
    let started = Instant::now();
    let output = command.output().context("the command does not run")?;
    let process = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the command failed: {}{said}", String::from_utf8_lossy(&output.stdout));
    let (mut lift, mut compile) = (0.0, 0.0);
    for row in said.lines().filter(|line| line.starts_with('│')) {
        let cells: Vec<&str> = row.split('┆').map(str::trim).collect();
        if let [_, _, _, _, lifting, compiling, ..] = cells[..]
            && lifting != "lift"
        {
            lift += seconds(lifting)?;
            compile += seconds(compiling)?;
        }
    }
    Ok(Start { process, lift, compile })
}

/// A time as a report shows it.
fn seconds(text: &str) -> Result<f64> {
    if text == "-" {
        return Ok(0.0);
    }
    let (number, unit) = text.split_once(' ').with_context(|| format!("`{text}` is no time"))?;
    let scale = match unit {
        "µs" => 1e-6,
        "ms" => 1e-3,
        _ => 1.0,
    };
    Ok(number.parse::<f64>()? * scale)
}
