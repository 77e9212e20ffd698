//! Runs of many seeds, and what is made of the failures.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::ast::Mode;
use crate::campaign::{Campaign, Failure, SmithSummary, Summary};
use crate::judge::{self, Check, Difference};
use crate::saved::{Linear, Saved};
use crate::{SHRINK_TIME, inputs, shrink, smith};

/// How long to run, if it was asked for.
pub fn seconds() -> Option<Duration> {
    Some(Duration::from_secs(number("WAVELIFT_FUZZ_SECONDS")?))
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Where failures are written.
fn folder() -> PathBuf {
    std::env::var_os("WAVELIFT_FUZZ_OUT").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from)
}

/// Programs of the seeds from 0 on; the first failure is made smaller and told.
pub fn smoke(campaign: &Campaign, count: u64) -> Result<(), Failed> {
    let summary = campaign.run(0, count, Duration::MAX);
    let Some(failure) = summary.failures.first() else {
        return if summary.passed == 0 { Err("no check was made".into()) } else { Ok(()) };
    };
    Err(format!("{} checks failed; the first:\n{}", summary.failures.len(), smaller(failure)).into())
}

/// Modules of wasm-smith of the seeds from 0 on.
pub fn smith_smoke(campaign: &Campaign, count: u64) -> Result<(), Failed> {
    let summary = campaign.run_smith(0, count, Duration::MAX);
    match summary.failures.first() {
        None if summary.passed == 0 => Err("no check was made".into()),
        None => Ok(()),
        Some((seed, difference)) => {
            let count = summary.failures.len();
            Err(format!("{count} checks failed, the first on seed {seed}:\n{}", smaller_module(*seed, difference))
                .into())
        }
    }
}

/// The smallest module that fails like this one, as a file's text: wasm-smith makes less of fewer bytes.
fn smaller_module(seed: u64, like: &Difference) -> String {
    let start = Instant::now();
    let fails = |bytes: &[u8]| {
        let case = smith::of_bytes(bytes, seed).ok()?;
        let found = judge::judge(&case, &[like.check]).differences.into_iter().find(|found| found.kind == like.kind)?;
        Some((case, found))
    };
    let mut best = smith::bytes(seed);
    let mut size = best.len() / 2;
    while size > 0 && start.elapsed() < SHRINK_TIME {
        let mut at = 0;
        while at + size <= best.len() && start.elapsed() < SHRINK_TIME {
            let shorter = [&best[..at], &best[at + size..]].concat();
            match fails(&shorter) {
                Some(_) => best = shorter,
                None => at += size,
            }
        }
        size /= 2;
    }
    match fails(&best) {
        Some((case, found)) => {
            let linear = case.program.linear.clone().unwrap_or_default();
            Saved::of(&case, Mode::Bounds, Linear::Bytes(linear)).write(seed, &found)
        }
        None => format!(";; seed: {seed}\n;; {}\n", like.message.replace('\n', "\n;; ")),
    }
}

/// The smallest program that fails like this one, as a file's text.
fn smaller(failure: &Failure) -> String {
    let like = &failure.difference;
    let tree = shrink::shrink(&failure.tree, SHRINK_TIME, &mut |tree| {
        inputs::case(tree).is_ok_and(|case| judge::judge(&case, &[like.check]).has(like))
    });
    let case = match inputs::case(&tree) {
        Ok(case) => case,
        Err(message) => return format!(";; seed: {}\n;; {}\n", failure.seed, message.replace('\n', "\n;; ")),
    };
    let verdict = judge::judge(&case, &[like.check]);
    let difference = verdict.differences.first().unwrap_or(like);
    Saved::of(&case, tree.mode, Linear::Seed(tree.linear)).write(failure.seed, difference)
}

/// Runs for so long; gives the exit code.
pub fn run(time: Duration) -> i32 {
    let thread = std::thread::Builder::new().stack_size(crate::STACK).spawn(move || run_all(time));
    thread.ok().and_then(|thread| thread.join().ok()).unwrap_or(2)
}

fn run_all(time: Duration) -> i32 {
    let first = number("WAVELIFT_FUZZ_SEED").unwrap_or(0);
    let names = std::env::var("WAVELIFT_FUZZ_CHECKS").unwrap_or_else(|_| "interpreter,smith".into());
    let mut checks: Vec<Check> = Vec::new();
    let mut with_smith = false;
    for name in names.split(',') {
        match name {
            "interpreter" => checks.extend(judge::INTERPRETERS),
            "cpu" => checks.extend(judge::CPUS),
            "valid" => checks.extend(judge::VALIDATORS),
            "smith" => with_smith = true,
            "gpu" => checks.extend(judge::GPUS),
            other => panic!("there is no check `{other}`"),
        }
    }
    for reason in checks.iter().filter_map(|check| check.missing()) {
        println!("not all checks can be made: {reason}");
    }
    checks.retain(|check| check.missing().is_none());
    let on_gpu = checks.iter().any(|check| judge::GPUS.contains(check));
    let time = if with_smith { time / 2 } else { time };
    let campaign = Campaign { most_words: on_gpu.then_some(crate::GPU_WORDS), checks };
    let summary = campaign.run(first, u64::MAX, time);
    println!("seeds {first} to {}: {summary}", summary.end);
    let mut code = report(&summary);
    if with_smith {
        let summary = campaign.run_smith(first, u64::MAX, time);
        println!("seeds from {first}: {summary}");
        code |= report_modules(&summary);
    }
    code
}

/// Writes the failures, one file for each seed.
fn report(summary: &Summary) -> i32 {
    let mut last = None;
    for failure in &summary.failures {
        println!("seed {}, {}: {:.300}", failure.seed, failure.difference.check, failure.difference.message);
        if last.replace(failure.seed) == Some(failure.seed) {
            continue;
        }
        write(&format!("seed_{}.wat", failure.seed), &smaller(failure));
    }
    i32::from(!summary.failures.is_empty())
}

fn report_modules(summary: &SmithSummary) -> i32 {
    let mut last = None;
    for (seed, difference) in &summary.failures {
        println!("seed {seed}, {}: {:.300}", difference.check, difference.message);
        if last.replace(*seed) != Some(*seed) {
            write(&format!("smith_{seed}.wat"), &smaller_module(*seed, difference));
        }
    }
    i32::from(!summary.failures.is_empty())
}

fn write(name: &str, text: &str) {
    let path = folder().join(name);
    match std::fs::write(&path, text) {
        Ok(()) => println!("  {}", path.display()),
        Err(error) => println!("  {}: {error}", path.display()),
    }
}
