//! The suite's kernels as MSL and HLSL of the portable profile, compiled as C++ and run on the CPU.
//!
//! `f64`, which neither text has, is emulated.

use wavelift::device::GlobalValue;
use wavelift::text::{self, Language};
use wavelift::translator::{Features, Interface, LINEAR, Options, Profile, translate};

use crate::cases::{Case, FileCases, FunctionCases, ModuleCases, Observed};
use crate::cpp::{self, Floats, Kernel, Launch, Left};
use crate::keep::keep;
use crate::reason::Skip;
use crate::script::Expectation;
use crate::{judge, records, valid};

/// Files are compiled in so many programs for each language.
pub const PROGRAMS: usize = 4;

/// A function, its kernel as text, and the cases of each launch.
pub struct Written<'f> {
    file: &'f str,
    module: &'f ModuleCases,
    function: &'f FunctionCases,
    pub kernel: Kernel,
    launches: Vec<Vec<&'f Case>>,
}

/// Runs the files' functions in one program.
///
/// # Errors
/// One sentence for each case that fails, or for each function that can't be written.
pub fn check<'f>(files: impl Iterator<Item = &'f FileCases>, language: Language) -> Result<(), String> {
    let (mut written, mut failures) = (Vec::new(), Vec::new());
    for file in files {
        for module in &file.modules {
            for function in &module.functions {
                match write(&file.name, module, function, language) {
                    Ok(function) => written.extend(function),
                    Err(message) => failures.push(message),
                }
            }
        }
    }
    failures.extend(failures_of(written, language)?);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// The function as text; `None` if it is not for these tests.
pub fn write<'f>(
    file: &'f str,
    module: &'f ModuleCases,
    function: &'f FunctionCases,
    language: Language,
) -> Result<Option<Written<'f>>, String> {
    let place = |message: String| format!("{file}, module {}, `{}`: {message}", module.number, function.name);
    let features = Features { float64: false, ..valid::features(Profile::Portable) };
    let options = Options { profile: Profile::Portable, features, ..Options::default() };
    let lifted = translate(&module.guest.wasm, function.kernel.index, &module.shape(function), &options);
    let shader = match lifted {
        Ok(shader) => shader,
        Err(error) => return Skip::of_refusal(&error).map(|_| None).map_err(place),
    };
    keep(&shader.words, Profile::Portable);
    let text = match text::write(&shader, language) {
        Ok(text) => text,
        Err(error) => return Err(place(error.to_string())),
    };
    let launches = launches(function, &shader.interface);
    let kernel = Kernel {
        name: format!("{file} {}", function.name),
        text,
        interface: shader.interface,
        launches: launches.iter().map(|cases| launch(module, function, cases)).collect(),
    };
    Ok(Some(Written { file, module, function, kernel, launches }))
}

/// The cases that return, together if they leave linear memory as it is; each that traps, alone.
fn launches<'f>(function: &'f FunctionCases, interface: &Interface) -> Vec<Vec<&'f Case>> {
    let stores = interface.bindings.iter().any(|binding| binding.slot == LINEAR && binding.writable);
    let returns = |case: &&Case| matches!(case.expectation, Expectation::Values(_)) && !stores;
    let (together, alone): (Vec<&Case>, Vec<&Case>) = function.cases.iter().partition(returns);
    let alone = alone.into_iter().map(|case| vec![case]);
    (!together.is_empty()).then_some(together).into_iter().chain(alone).collect()
}

fn launch(module: &ModuleCases, function: &FunctionCases, cases: &[&Case]) -> Launch {
    let arguments = records::arguments(&function.kernel, cases.iter().copied());
    let results = vec![0; records::results_size(&function.kernel, cases.len())];
    Launch {
        iterations: cases.len() as u32,
        block_size: 64,
        buffers: vec![arguments, results],
        addresses: vec![0x8000_0000, 0xc000_0000],
        linear: module.state.memory.clone(),
        globals: module.state.globals.iter().map(bits).collect(),
    }
}

/// References stand as zero: no kernel reads one.
fn bits(global: &Option<GlobalValue>) -> u128 {
    match *global {
        Some(GlobalValue::I32(value)) => u128::from(value as u32),
        Some(GlobalValue::I64(value)) => u128::from(value as u64),
        Some(GlobalValue::F32(bits)) => bits.into(),
        Some(GlobalValue::F64(bits)) => bits.into(),
        Some(GlobalValue::V128(bits)) => bits,
        None => 0,
    }
}

/// Compiles and runs the functions, and says which cases fail.
///
/// # Errors
/// The program can't be compiled or run, or has nothing in it.
pub fn failures_of(written: Vec<Written<'_>>, language: Language) -> Result<Vec<String>, String> {
    if written.is_empty() {
        return Err("no kernel was written".into());
    }
    let (functions, kernels): (Vec<_>, Vec<_>) =
        written.into_iter().map(|w| ((w.file, w.module, w.function, w.launches), w.kernel)).unzip();
    let mut failures = Vec::new();
    cpp::run(&kernels, language, Floats::Exact, |kernel, launch, left| {
        let (file, module, function, launches) = &functions[kernel];
        for (index, case) in launches[launch].iter().enumerate() {
            let judged = observed(function, &left, index).and_then(|observed| judge::judge(case, &observed));
            if let Err(message) = judged {
                let place = format!("{file}, module {}, `{}`, line {}", module.number, function.name, case.line);
                failures.push(format!("{place}: {message}"));
            }
        }
    })?;
    Ok(failures)
}

/// What invocation `index` did. That it trapped shows where it was the least to do so.
fn observed(function: &FunctionCases, left: &Left, index: usize) -> Result<Observed, String> {
    if let Some((site, _)) = left.traps.iter().find(|(_, first)| *first as usize == index) {
        return Ok(Err(site.kind));
    }
    records::results(&function.kernel, &left.buffers[1], index).map(Ok)
}
