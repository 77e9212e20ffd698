//! The portable profile without the machines it is for: naga's MSL and HLSL of lifted kernels, compiled as C++ and run on
//! the CPU, must do what the interpreter does with the Wasm.
//!
//! Without `g++` the tests that need it show as ignored. `f64`, which neither text has, is emulated.

mod cases;
mod cpp;
#[path = "../../translator/tests/common/keep.rs"]
mod keep;
#[path = "../../translator/tests/random_control/mod.rs"]
mod random_control;
mod reference;

use cases::Case;
use cpp::{Floats, Kernel, Launch};
use keep::keep;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use reference::{Outcome, difference};
use wavelift::text::{self, Language};
use wavelift_translator::{Features, Options, Profile, Shape, translate};

/// Passes and writers recurse over what a kernel nests.
const STACK_BYTES: usize = 64 << 20;

/// A name, and what makes its cases.
type Group = (&'static str, fn() -> Vec<Case>);

fn main() {
    let groups: [Group; 5] = [
        ("operators", cases::operators),
        ("operators_of_operators", cases::pairs),
        ("guests", cases::guests),
        ("control_a", || cases::control(0..40)),
        ("control_b", || cases::control(40..80)),
    ];
    let mut trials = Vec::new();
    for (name, cases) in groups {
        for (suffix, language) in [("msl", Language::Msl), ("hlsl", Language::Hlsl)] {
            trials.push(compiled(&format!("{name}_as_{suffix}"), move || check_all(&cases(), language)));
        }
    }
    for (suffix, language) in [("msl", Language::Msl), ("hlsl", Language::Hlsl)] {
        trials.push(compiled(&format!("floats_without_subnormals_as_{suffix}"), move || {
            floats_without_subnormals(language)
        }));
    }
    trials.push(compiled("a_changed_operator_is_seen", a_changed_operator_is_seen));
    trials.push(Trial::test("wgsl_is_read_again", || on_deep_stack(wgsl_is_read_again)));
    trials.push(Trial::test("the_command_writes_text", the_command_writes_text));
    trials
        .push(Trial::test("what_cannot_be_written_is_an_error", || on_deep_stack(what_cannot_be_written_is_an_error)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn compiled(name: &str, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, || match cpp::have_compiler() {
        false => Ok(Completion::ignored_with("this machine has no GNU `g++` to compile the text with")),
        true => on_deep_stack(test).map(|()| Completion::Completed),
    })
}

fn on_deep_stack(test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Result<(), Failed> {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(test)?;
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A case and its kernel as text.
struct Written<'a> {
    case: &'a Case,
    kernel: Kernel,
}

fn kernel(case: &Case, language: Language) -> Result<Written<'_>, String> {
    kernel_for(case, language, language.features())
}

fn kernel_for(case: &Case, language: Language, features: Features) -> Result<Written<'_>, String> {
    let options = Options { profile: Profile::Portable, features, ..Options::default() };
    let shape = Shape::initial(&case.module, case.kernel);
    let shader = translate(&case.module, case.kernel, &shape, &options).map_err(|e| format!("{}: {e}", case.name))?;
    keep(&shader.words, Profile::Portable);
    let text = text::write(&shader, language).map_err(|e| format!("{}: {e}", case.name))?;
    let launch = Launch {
        iterations: case.iterations,
        block_size: case.block_size,
        buffers: case.buffers.iter().map(|words| bytemuck::cast_slice(words).to_vec()).collect(),
        addresses: reference::addresses(&case.buffers),
        // The interpreter's is empty, too.
        linear: Vec::new(),
        globals: Vec::new(),
    };
    let kernel = Kernel { name: case.name.clone(), text, interface: shader.interface, launches: vec![launch] };
    Ok(Written { case, kernel })
}

/// The cases that differ, with their texts.
fn differences(written: Vec<Written<'_>>, language: Language, floats: Floats) -> Result<Vec<String>, Failed> {
    let (cases, kernels): (Vec<_>, Vec<_>) = written.into_iter().map(|w| (w.case, w.kernel)).unzip();
    let mut launches = Vec::new();
    cpp::run(&kernels, language, floats, |_, _, left| launches.push(left))?;
    let mut wrong = Vec::new();
    for (case, left) in cases.into_iter().zip(launches) {
        let expected = reference::run(case).map_err(|e| format!("{}: {e}", case.name))?;
        let traps = left.traps.iter().map(|(site, first)| (reference::trap_key(site.at, site.kind), *first)).collect();
        let buffers = left.buffers.iter().map(|bytes| bytemuck::pod_collect_to_vec(bytes)).collect();
        if let Some(what) = difference(case, &expected, &Outcome { buffers, traps }) {
            wrong.push(format!("{}: {what}", case.name));
        }
    }
    Ok(wrong)
}

fn check_all(cases: &[Case], language: Language) -> Result<(), Failed> {
    let kernels = cases.iter().map(|case| kernel(case, language)).collect::<Result<Vec<_>, _>>()?;
    let wrong = differences(kernels, language, Floats::Exact)?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{} of {} kernels differ:\n{}", wrong.len(), cases.len(), wrong.join("\n")).into())
}

/// On a device that takes subnormals for zero and promises little else, the corrected operators give the same; and the ones
/// that rely on the device are seen not to.
fn floats_without_subnormals(language: Language) -> Result<(), Failed> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    let weak = Features {
        subnormals_f32: false,
        exact_arithmetic_f32: false,
        exact_div_f32: false,
        exact_sqrt_f32: false,
        ..language.features()
    };
    let mut cases = cases::operators();
    cases.retain(|case| case.name.contains("f32"));
    let kernels = cases.iter().map(|case| kernel_for(case, language, weak)).collect::<Result<Vec<_>, _>>()?;
    let wrong = differences(kernels, language, Floats::Flushed)?;
    if !wrong.is_empty() {
        return Err(format!("{} of {} kernels differ:\n{}", wrong.len(), cases.len(), wrong.join("\n")).into());
    }
    let add = cases.iter().find(|case| case.name == "f32.add").ok_or("there is an `f32.add`")?;
    match differences(vec![kernel(add, language)?], language, Floats::Flushed)?.is_empty() {
        true => Err("an addition that loses subnormals was not seen".into()),
        false => Ok(()),
    }
}

/// The oracle sees a planted bug in each language: an operator, a comparison, a bound.
fn a_changed_operator_is_seen() -> Result<(), Failed> {
    let cases = cases::guests();
    let stencil = cases.iter().find(|case| case.name == "stencil").ok_or("there is a stencil")?;
    for language in [Language::Msl, Language::Hlsl] {
        for (from, to) in [(" + ", " - "), (" <= ", " > "), (" != 0u", " == 0u")] {
            let mut planted = kernel(stencil, language)?;
            let text = &mut planted.kernel.text;
            if !text.contains(from) {
                return Err(format!("the text has no `{from}` to change:\n{text}").into());
            }
            *text = text.replacen(from, to, 1);
            if differences(vec![planted], language, Floats::Exact)?.is_empty() {
                return Err(format!("`{to}` for `{from}` was not seen in {language:?}").into());
            }
        }
    }
    Ok(())
}

fn wgsl_is_read_again() -> Result<(), Failed> {
    for case in cases::guests().iter().chain(&cases::control(0..40)) {
        let text = kernel(case, Language::Wgsl)?.kernel.text;
        let module = naga::front::wgsl::parse_str(&text).map_err(|e| format!("{}: {e}\n{text}", case.name))?;
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
            .validate(&module)
            .map_err(|e| format!("{}: {e}\n{text}", case.name))?;
    }
    Ok(())
}

fn the_command_writes_text() -> Result<(), Failed> {
    let guest = format!("{}/examples/guests/nbody.wasm", env!("CARGO_MANIFEST_DIR"));
    for (form, entry) in [("wgsl", "@compute"), ("msl", "kernel void main_("), ("hlsl", "[numthreads(64, 1, 1)]")] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_wavelift"))
            .args(["translate", &guest, "--kernel", "nbody", "--emit", form, "-o", "-"])
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        if !output.status.success() || !text.contains(entry) {
            return Err(format!("{form}: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
        }
    }
    Ok(())
}

fn what_cannot_be_written_is_an_error() -> Result<(), Failed> {
    let text = "(module (memory 1) (func (export \"kernel\") (param i32 i32 i32 i32 i32)
        (f64.store (local.get 3) (f64.sqrt (f64.load (local.get 3))))))";
    let module = wavelift_translator::Module::parse(wat::parse_str(text)?)?;
    let options = Options { profile: Profile::Portable, ..Options::default() };
    let mut shader = translate(&module, 0, &Shape::distinct(1), &options)?;
    keep(&shader.words, Profile::Portable);
    for (language, name) in [(Language::Msl, "MSL"), (Language::Hlsl, "HLSL")] {
        let missing = text::Error::Missing { language: name, what: "64-bit floats as naga writes it" };
        assert_eq!(text::write(&shader, language), Err(missing));
    }
    for broken in [vec![], shader.words[..5].to_vec(), shader.words[..60].to_vec(), vec![7; 60]] {
        shader.words = broken;
        let result = text::write(&shader, Language::Wgsl);
        assert!(matches!(result, Err(text::Error::Read(_))), "{result:?}");
    }
    Ok(())
}
