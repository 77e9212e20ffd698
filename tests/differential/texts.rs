//! The suites' kernels as MSL and HLSL, compiled as C++ and run on the CPU. `f64`, which neither text has, is emulated.

use libtest_mimic::Failed;
use wavelift::device::KernelTrap;
use wavelift::text::{self, Language};
use wavelift_translator::module::ConstInit;
use wavelift_translator::{Options, Profile};

use crate::case::{Case, End, LINEAR_MEMORY, Program, compare};
use crate::cpp::{self, Floats, Kernel, Launch, Left};
use crate::on_devices::BLOCK_SIZE;
use crate::places::STACK_POINTER;

/// Runs all cases as one program.
pub fn check(cases: &[Case], language: Language) -> Result<(), Failed> {
    check_changed(cases, language, &|_| {})
}

/// The same after a change of each text.
pub fn check_changed(cases: &[Case], language: Language, change: &dyn Fn(&mut String)) -> Result<(), Failed> {
    let (mut written, mut kernels) = (Vec::new(), Vec::new());
    for case in cases {
        if let Some(mut kernel) = kernel(case, language)? {
            change(&mut kernel.text);
            written.push(case);
            kernels.push(kernel);
        }
    }
    if kernels.is_empty() {
        return Err("no kernel was written".into());
    }
    let mut wrong = Vec::new();
    cpp::run(&kernels, language, Floats::Exact, |kernel, launch, left| {
        let Case { program, runs, .. } = written[kernel];
        let compared = end(program, left).and_then(|end| compare(&runs[launch].expected, &end, &program.buffers));
        if let Err(message) = compared {
            wrong.push(format!("{message}\n{}", program.text));
        }
    })?;
    let count = wrong.len();
    wrong.truncate(3);
    match count {
        0 => Ok(()),
        _ => Err(format!("{count} launches differ from Wasmtime, among them\n{}", wrong.join("\n")).into()),
    }
}

fn kernel(case: &Case, language: Language) -> Result<Option<Kernel>, Failed> {
    let program = &case.program;
    let options = Options { profile: Profile::Portable, features: language.features(), ..Options::default() };
    let shader = match program.translate(&options) {
        Ok(shader) => shader,
        Err(error) => return program.expect_refusal(&error.to_string(), false).map(|()| None),
    };
    let text = match text::write(&shader, language) {
        Ok(text) => text,
        Err(error) => return Err(format!("{error}\n{}", program.text).into()),
    };
    let globals: Vec<u128> = program.globals().into_iter().map(bits).collect();
    let launch = |run: &crate::case::Run| Launch {
        iterations: run.iterations,
        block_size: BLOCK_SIZE,
        buffers: run.contents.clone(),
        addresses: program.addresses(),
        linear: program.linear.clone().unwrap_or_else(|| vec![0; LINEAR_MEMORY as usize]),
        globals: globals.clone(),
    };
    let launches = case.runs.iter().map(launch).collect();
    Ok(Some(Kernel { name: program.text.clone(), text, interface: shader.interface, launches }))
}

fn bits(global: ConstInit) -> u128 {
    match global {
        ConstInit::I32(value) => u128::from(value as u32),
        ConstInit::I64(value) => u128::from(value as u64),
        ConstInit::F32(bits) => bits.into(),
        ConstInit::F64(bits) => bits.into(),
        ConstInit::V128(bits) => bits,
    }
}

fn end(program: &Program, mut left: Left) -> Result<End, String> {
    if let Some((site, iteration)) = left.traps.iter().min_by_key(|(_, iteration)| *iteration) {
        return Ok(End::Trapped(KernelTrap { at: site.at, kind: site.kind, iteration: *iteration }));
    }
    let linear = left.buffers.last_mut().expect("linear memory");
    if program.linear.is_some() {
        linear[..STACK_POINTER as usize].fill(0);
    } else if left.buffers.pop().is_some_and(|linear| linear.iter().any(|byte| *byte != 0)) {
        return Err("linear memory was written".into());
    }
    Ok(End::Done(left.buffers))
}
