//! The suites' kernels as MSL and HLSL, compiled as C++ and run on the CPU; those with `f64`, which neither text has, are
//! left out.

use libtest_mimic::Failed;
use wavelift::device::KernelTrap;
use wavelift::text::{self, Language};
use wavelift_translator::{Options, Profile};

use crate::case::{Case, End, compare};
use crate::cpp::{self, Floats, Kernel, Launch, Left};
use crate::on_devices::BLOCK_SIZE;

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
    for (case, launches) in written.iter().zip(cpp::run(&kernels, language, Floats::Exact)?) {
        for (run, left) in case.runs.iter().zip(launches) {
            if let Err(message) = compare(&run.expected, &end(left), &case.program.buffers) {
                wrong.push(format!("{message}\n{}", case.program.text));
            }
        }
    }
    let count = wrong.len();
    wrong.truncate(3);
    match count {
        0 => Ok(()),
        _ => Err(format!("{count} launches differ from Wasmtime, among them\n{}", wrong.join("\n")).into()),
    }
}

fn kernel(case: &Case, language: Language) -> Result<Option<Kernel>, Failed> {
    let program = &case.program;
    let shader = match program.translate(&Options { profile: Profile::Portable, ..Options::default() }) {
        Ok(shader) => shader,
        Err(error) => return program.expect_refusal(&error.to_string()).map(|()| None),
    };
    let text = match text::write(&shader, language) {
        Ok(text) => text,
        Err(text::Error::Missing { .. }) => return Ok(None),
        Err(error) => return Err(format!("{error}\n{}", program.text).into()),
    };
    let launch = |run: &crate::case::Run| Launch {
        iterations: run.iterations,
        block_size: BLOCK_SIZE,
        buffers: run.contents.clone(),
        addresses: program.addresses(),
    };
    let launches = case.runs.iter().map(launch).collect();
    Ok(Some(Kernel { name: program.text.clone(), text, interface: shader.interface, launches }))
}

fn end(left: Left) -> End {
    match left.traps.iter().min_by_key(|(_, iteration)| *iteration) {
        Some((site, iteration)) => End::Trapped(KernelTrap { at: site.at, kind: site.kind, iteration: *iteration }),
        None => End::Done(left.buffers),
    }
}
