//! Random whole kernels, compared on all engines: plain Wasmtime, the interpreter on lifted functions and on strict form,
//! the CPU devices and a GPU in both profiles; `spirv-val` and naga see what is emitted.
//!
//! Programs come from seeds (`generate.rs`: structured programs that stress memory as compilers do; `smith.rs`: modules of
//! wasm-smith). A program that fails is made smaller (`shrink.rs`) and written to a file that `cases/` can keep: each
//! file there is a test of its own on every engine.
//!
//! Results must be equal, so programs keep what the ABI asks for: an invocation stores to its own bytes only, reads no
//! stack that it has not written, takes no number from where something lies, and leaves its buffers only to trap. A loaded
//! pointer that is scaled and scaled back, which the lifter takes for an index, is left out.
//!
//! - `cargo test --test fuzz` runs a fixed set of seeds.
//! - `WAVELIFT_FUZZ_PANICS=1` shows where panics come from.
//! - `WAVELIFT_FUZZ_SECONDS=600 cargo test --release --test fuzz` runs for so long instead, and prints what was run, what was
//!   refused and why, and what failed. `WAVELIFT_FUZZ_SEED=N` is the first seed, `WAVELIFT_FUZZ_CHECKS` a list of
//!   `interpreter`, `cpu`, `valid`, `gpu` and `smith` (by default the first and the last), `WAVELIFT_FUZZ_OUT` the folder for
//!   failures.

#[allow(dead_code)]
#[path = "../differential/case.rs"]
mod case;
#[path = "../../translator/tests/common/copies.rs"]
mod copies;
#[allow(dead_code)]
#[path = "../differential/engine.rs"]
mod engine;
#[allow(dead_code)]
#[path = "../differential/interpreter.rs"]
mod interpreter;
#[path = "../differential/on_devices.rs"]
mod on_devices;
#[path = "../../translator/tests/common/mod.rs"]
mod oracle;
#[allow(dead_code)]
#[path = "../differential/places.rs"]
mod places;
#[path = "../differential/plain_wasmtime.rs"]
mod plain_wasmtime;
#[allow(dead_code)]
#[path = "../suite/reason.rs"]
mod reason;
#[allow(dead_code)]
#[path = "../differential/values.rs"]
mod values;
#[allow(dead_code)]
#[path = "../suite/wrap.rs"]
mod wrap;

mod address;
mod arbitrary;
mod ast;
mod campaign;
mod generate;
mod inputs;
mod judge;
mod lifting;
mod long;
mod planted;
mod print;
mod refusals;
mod rehearsed;
mod saved;
mod shrink;
mod smith;

use std::time::Duration;

use campaign::Campaign;
use judge::Check;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use saved::Saved;

/// Stack of the threads that trials run on: the generator, the passes and the interpreter recurse.
const STACK: usize = 64 << 20;

fn main() {
    // Panics are found by the thousand while programs are made smaller.
    if std::env::var_os("WAVELIFT_FUZZ_PANICS").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    if let Some(seconds) = long::seconds() {
        std::process::exit(long::run(seconds));
    }
    let mut trials = Vec::new();
    let smokes = [
        ("interpreter", 150, 200, None, judge::INTERPRETERS.to_vec()),
        ("cpu", 30, 40, None, judge::CPUS.to_vec()),
        ("valid", 30, 40, Some(usize::MAX), judge::VALIDATORS.to_vec()),
        ("gpu_vulkan", 6, 6, Some(GPU_WORDS), vec![Check::GpuVulkan]),
        ("gpu_portable", 4, 4, Some(GPU_WORDS), vec![Check::GpuPortable]),
        ("gpu_emulated", 4, 4, Some(GPU_WORDS), vec![Check::GpuEmulated]),
        ("gpu_shared", 4, 4, Some(GPU_WORDS), vec![Check::GpuShared]),
    ];
    for (name, programs, modules, most_words, checks) in smokes {
        let campaign = Campaign { most_words, checks: checks.clone() };
        trials.push(trial(format!("programs::{name}"), checks.clone(), move || long::smoke(&campaign, programs)));
        let campaign = Campaign { most_words, checks: checks.clone() };
        trials.push(trial(format!("smith::{name}"), checks, move || long::smith_smoke(&campaign, modules)));
    }
    trials.push(trial("planted::a_lost_store".into(), Vec::new(), planted::a_lost_store));
    trials.push(trial("planted::a_lost_check".into(), Vec::new(), planted::a_lost_check));
    trials.push(trial("arbitrary::smith".into(), Vec::new(), arbitrary::smith));
    trials.push(trial("arbitrary::changed_guests".into(), Vec::new(), arbitrary::changed_guests));
    for file in saved::all() {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let checks = [judge::INTERPRETERS.as_slice(), &judge::CPUS, &judge::VALIDATORS, &judge::GPUS].concat();
        for check in checks {
            let file = file.clone();
            trials.push(trial(format!("case::{name}::{check:?}"), vec![check], move || replay(&file, check)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A test that is ignored where one of its checks can't be made.
fn trial(name: String, checks: Vec<Check>, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match checks.iter().find_map(|check| check.missing()) {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => on_deep_stack(test).map(|()| Completion::Completed),
    })
}

fn on_deep_stack<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failed> + Send + 'static) -> Result<T, Failed> {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work)?;
    thread.join().unwrap_or_else(|_| Err("the test panicked".into()))
}

/// A committed case on one engine.
fn replay(file: &std::path::Path, check: Check) -> Result<(), Failed> {
    let case = Saved::read(&std::fs::read_to_string(file)?)?.case()?;
    match judge::judge(&case, &[check]).differences.first() {
        None => Ok(()),
        Some(difference) => Err(difference.message.clone().into()),
    }
}

/// Words of the largest shader that a software GPU is given.
const GPU_WORDS: usize = 1800;

/// How long a failure is made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(60);
