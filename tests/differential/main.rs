//! One meaning on every engine: kernels run in plain Wasmtime, in the interpreter of the intermediate representation,
//! on the CPU devices, on a GPU in both profiles, and as MSL and HLSL compiled as C++, and end alike: with equal bytes
//! (two NaNs are equal), or with the same trap of the same iteration at the same place. 64-bit types are
//! emulated where a GPU (`VK_DRIVER_FILES` picks one) or a text has none, and on engines of their own everywhere.
//!
//! Each test is a suite of kernels on one engine, named `suite::engine`. An engine that this machine lacks shows as
//! ignored. `WAVELIFT_FIRST_SEED=N` makes the random suites start at another seed than 0.

#[path = "../../translator/tests/common/mod.rs"]
mod oracle;
#[path = "../../translator/tests/random_control/mod.rs"]
mod random_control;

mod atomics;
mod bulk;
mod calls;
mod case;
mod contention;
#[path = "../portable/cpp.rs"]
mod cpp;
mod ends;
mod engine;
mod expressions;
mod interpreter;
mod memory;
mod on_devices;
mod operators;
mod places;
mod plain_wasmtime;
mod planted;
mod random;
mod rewriting;
mod texts;
mod unrolling;
mod values;
mod vectors;

use std::sync::LazyLock;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use wavelift::text::Language;
use wavelift_translator::Profile;

use case::Case;
use engine::Engine;

/// A named list of cases, made when first asked for.
struct Suite {
    name: &'static str,
    cases: LazyLock<Vec<Case>>,
}

static SUITES: [Suite; 29] = [
    Suite { name: "operators_i32", cases: LazyLock::new(|| operators::cases("i32")) },
    Suite { name: "operators_i64", cases: LazyLock::new(|| operators::cases("i64")) },
    Suite { name: "operators_f32", cases: LazyLock::new(|| operators::cases("f32")) },
    Suite { name: "operators_f64", cases: LazyLock::new(|| operators::cases("f64")) },
    Suite { name: "select", cases: LazyLock::new(operators::selects) },
    Suite { name: "loads", cases: LazyLock::new(memory::loads) },
    Suite { name: "stores", cases: LazyLock::new(memory::stores) },
    Suite { name: "places", cases: LazyLock::new(places::cases) },
    Suite { name: "rewriting", cases: LazyLock::new(rewriting::cases) },
    Suite { name: "unrolling", cases: LazyLock::new(unrolling::cases) },
    Suite { name: "ends", cases: LazyLock::new(ends::cases) },
    Suite { name: "atomics", cases: LazyLock::new(atomics::cases) },
    Suite { name: "atomic_bounds", cases: LazyLock::new(memory::atomic) },
    Suite { name: "atomic_places", cases: LazyLock::new(atomics::places) },
    Suite { name: "contention", cases: LazyLock::new(contention::cases) },
    Suite { name: "bulk", cases: LazyLock::new(bulk::cases) },
    Suite { name: "calls", cases: LazyLock::new(calls::cases) },
    Suite { name: "control", cases: LazyLock::new(random::control) },
    Suite { name: "expressions", cases: LazyLock::new(random::expressions) },
    Suite { name: "vectors_v128", cases: LazyLock::new(|| vectors::cases("v128")) },
    Suite { name: "vectors_i8x16", cases: LazyLock::new(|| vectors::cases("i8x16")) },
    Suite { name: "vectors_i16x8", cases: LazyLock::new(|| vectors::cases("i16x8")) },
    Suite { name: "vectors_i32x4", cases: LazyLock::new(|| vectors::cases("i32x4")) },
    Suite { name: "vectors_i64x2", cases: LazyLock::new(|| vectors::cases("i64x2")) },
    Suite { name: "vectors_f32x4", cases: LazyLock::new(|| vectors::cases("f32x4")) },
    Suite { name: "vectors_f64x2", cases: LazyLock::new(|| vectors::cases("f64x2")) },
    Suite { name: "vector_control", cases: LazyLock::new(vectors::control) },
    Suite { name: "vector_loads", cases: LazyLock::new(vectors::loads) },
    Suite { name: "vector_stores", cases: LazyLock::new(vectors::stores) },
];

/// Suites with stores narrower than words.
const NARROW: [&str; 3] = ["stores", "places", "bulk"];

/// Suites with many 64-bit values, which engines that emulate those run, too.
const WIDE: [&str; 9] = [
    "operators_i64",
    "operators_f32",
    "operators_f64",
    "operators_i32",
    "select",
    "loads",
    "stores",
    "expressions",
    "vectors_f64x2",
];

fn main() {
    let mut trials = Vec::new();
    for suite in &SUITES {
        let words = NARROW.contains(&suite.name).then_some(Engine::Words);
        let emulating = if WIDE.contains(&suite.name) { &Engine::EMULATING[..] } else { &[] };
        let sharing = if suite.name == "calls" { &Engine::SHARING[..] } else { &[] };
        for engine in Engine::ALL.into_iter().chain(words).chain(emulating.iter().chain(sharing).copied()) {
            let test = move || match engine.missing() {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => run(suite, engine).map(|()| Completion::Completed),
            };
            trials.push(Trial::ignorable_test(format!("{}::{}", suite.name, engine.name()), test));
        }
        trials.push(Trial::ignorable_test(
            format!("{}::spirv_val", suite.name),
            move || match engine::spirv_val_missing() {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => validate(suite).map(|()| Completion::Completed),
            },
        ));
    }
    for suite in &SUITES {
        for (name, language) in [("msl", Language::Msl), ("hlsl", Language::Hlsl)] {
            let test = move || match cpp::have_compiler() {
                false => Ok(Completion::ignored_with("this machine has no GNU `g++` to compile the text with")),
                true => texts::check(&suite.cases, language).map(|()| Completion::Completed),
            };
            trials.push(Trial::ignorable_test(format!("{}::text_{name}", suite.name), test));
        }
    }
    trials.extend(planted::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Runs all cases on one engine; every case that fails is in the message.
fn run(suite: &Suite, engine: Engine) -> Result<(), Failed> {
    let (mut launches, mut wrong) = (0, Vec::new());
    for case in suite.cases.iter().filter(|case| engine.takes(case)) {
        match case.check(engine) {
            Ok(count) => launches += count,
            Err(message) => wrong.push(format!("{message}\n{}", case.program.text)),
        }
    }
    if !wrong.is_empty() {
        let count = wrong.len();
        wrong.truncate(3);
        return Err(format!("{count} kernels differ from Wasmtime, among them\n{}", wrong.join("\n")).into());
    }
    if launches == 0 { Err("no kernel was run".into()) } else { Ok(()) }
}

/// What the translator emits for the cases is valid SPIR-V, in both profiles.
fn validate(suite: &Suite) -> Result<(), Failed> {
    let mut validated = 0;
    for case in suite.cases.iter() {
        for options in engine::translator_options() {
            match case.program.translate(&options) {
                Ok(shader) => oracle::spirv_val(&shader.words).map_err(|message| {
                    format!("{message}\n{}\n{}", case.program.text, oracle::disassemble(&shader.words))
                })?,
                Err(error) => {
                    let wide = options.features.int64_atomics && options.profile == Profile::Vulkan;
                    case.program.expect_refusal(&error.to_string(), wide && !options.emulate.i64)?;
                }
            }
            validated += 1;
        }
    }
    if validated == 0 { Err("no module was validated".into()) } else { Ok(()) }
}
