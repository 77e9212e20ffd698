//! Runs cases on engines and says how they compare.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use wavelift_translator::{Assumption, Error, Options, Profile, TrapKind, testing};

use crate::case::{Case, End, Program, compare};
use crate::engine::{self, Engine, Session};
use crate::interpreter::{Form, Interpreter};
use crate::rehearsed::Rehearsed;
use crate::{oracle, refusals};

/// What a case is put to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The interpreter on lifted functions.
    Lifted,
    /// The interpreter on what the backend gets, in either profile.
    StrictVulkan,
    StrictPortable,
    /// The same in the portable profile with 64-bit types emulated.
    StrictEmulated,
    /// The same in the portable profile with every function that is called kept once.
    StrictShared,
    /// The same in the Vulkan profile, in a speculative form by what a rehearsal saw.
    StrictRehearsed,
    /// The same with every function that is called kept once, so that one that calls itself has a stack.
    SharedRehearsed,
    /// One CPU worker, and three.
    Sequential,
    Cpu,
    GpuVulkan,
    GpuPortable,
    /// In the Vulkan profile, with 64-bit types emulated.
    GpuEmulated,
    /// In the Vulkan profile, with every function that is called kept once.
    GpuShared,
    /// `spirv-val`, and naga's reader and validator for the portable profile.
    ValidVulkan,
    ValidPortable,
    /// The same in the portable profile with 64-bit types emulated.
    ValidEmulated,
    /// The same in the portable profile with every function that is called kept once.
    ValidShared,
}

/// The interpreter in all forms: it takes no machine and little time.
pub const INTERPRETERS: [Check; 7] = [
    Check::Lifted,
    Check::StrictVulkan,
    Check::StrictPortable,
    Check::StrictEmulated,
    Check::StrictShared,
    Check::StrictRehearsed,
    Check::SharedRehearsed,
];
pub const CPUS: [Check; 2] = [Check::Sequential, Check::Cpu];
pub const GPUS: [Check; 4] = [Check::GpuVulkan, Check::GpuPortable, Check::GpuEmulated, Check::GpuShared];
pub const VALIDATORS: [Check; 4] = [Check::ValidVulkan, Check::ValidPortable, Check::ValidEmulated, Check::ValidShared];

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Lifted => "the interpreter",
            Check::StrictVulkan => "the interpreter on strict form for vulkan",
            Check::StrictPortable => "the interpreter on strict form for portable",
            Check::StrictEmulated => "the interpreter on strict form, emulating",
            Check::StrictShared => "the interpreter on strict form, keeping functions",
            Check::StrictRehearsed => "the interpreter on a form that assumes what a rehearsal saw",
            Check::SharedRehearsed => "the interpreter on a form that assumes what a rehearsal saw, keeping functions",
            Check::GpuEmulated => "the GPU, emulating",
            Check::GpuShared => "the GPU, keeping functions",
            Check::ValidShared => "spirv-val and naga, keeping functions",
            Check::ValidEmulated => "spirv-val and naga, emulating",
            Check::Sequential => "the sequential device",
            Check::Cpu => "the CPU device",
            Check::GpuVulkan => "the GPU, vulkan",
            Check::GpuPortable => "the GPU, portable",
            Check::ValidVulkan => "spirv-val, vulkan",
            Check::ValidPortable => "spirv-val and naga, portable",
        })
    }
}

impl Check {
    /// Why it can't be done on this machine.
    pub fn missing(self) -> Option<String> {
        match self {
            Check::GpuVulkan | Check::GpuEmulated | Check::GpuShared => Engine::Vulkan.missing(),
            Check::GpuPortable => Engine::Portable.missing(),
            Check::ValidVulkan | Check::ValidPortable | Check::ValidEmulated | Check::ValidShared => {
                engine::spirv_val_missing()
            }
            _ => None,
        }
    }
}

/// What kind of failure it is: a smaller program must fail in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Other bytes.
    Bytes,
    /// Another trap, or one where there should be none, or none where there should be one.
    End,
    /// A refusal that is none of those known.
    Refusal,
    /// A panic, or an error that the engine calls its own.
    Defect,
    /// What was emitted is invalid.
    Invalid,
}

/// A check that failed.
#[derive(Clone, Debug)]
pub struct Difference {
    pub check: Check,
    pub kind: Kind,
    pub message: String,
}

/// What checks said of a case.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub differences: Vec<Difference>,
    /// Known refusals.
    pub refusals: BTreeMap<&'static str, u32>,
    /// Checks that ran.
    pub passed: u32,
}

impl Verdict {
    /// The same failure, if it is there.
    pub fn has(&self, like: &Difference) -> bool {
        self.differences.iter().any(|found| found.check == like.check && found.kind == like.kind)
    }
}

/// Puts a case to checks.
pub fn judge(case: &Case, checks: &[Check]) -> Verdict {
    let mut verdict = Verdict::default();
    for check in checks {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(case, *check)));
        let outcome = outcome.unwrap_or_else(|panic| Err(Failure::Defect(text_of(&*panic))));
        let (kind, message) = match outcome {
            Ok(()) => {
                verdict.passed += 1;
                continue;
            }
            Err(Failure::Refused(message)) => match refusals::of(&message) {
                Some(known) => {
                    *verdict.refusals.entry(known).or_insert(0) += 1;
                    continue;
                }
                None => (Kind::Refusal, message),
            },
            Err(Failure::Bytes(message)) => (Kind::Bytes, message),
            Err(Failure::End(message)) => (Kind::End, message),
            Err(Failure::Defect(message)) => (Kind::Defect, message),
            Err(Failure::Invalid(message)) => (Kind::Invalid, message),
        };
        verdict.differences.push(Difference { check: *check, kind, message });
    }
    verdict
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("it panicked: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message"))
}

enum Failure {
    Refused(String),
    Bytes(String),
    End(String),
    Defect(String),
    Invalid(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported { .. } => Failure::Refused(error.to_string()),
            other => Failure::Defect(other.to_string()),
        }
    }
}

fn run(case: &Case, check: Check) -> Result<(), Failure> {
    let mut session: Box<dyn Session + '_> = match check {
        Check::Lifted => Box::new(lifted(&case.program)?),
        Check::StrictVulkan | Check::StrictPortable | Check::StrictEmulated | Check::StrictShared => {
            Box::new(strict(&case.program, check)?)
        }
        Check::StrictRehearsed | Check::SharedRehearsed => {
            Box::new(Rehearsed { program: &case.program, options: options(check) })
        }
        Check::Sequential => open(Engine::Sequential, &case.program)?,
        Check::Cpu => open(Engine::Cpu, &case.program)?,
        Check::GpuVulkan => open(Engine::Vulkan, &case.program)?,
        Check::GpuPortable => open(Engine::Portable, &case.program)?,
        Check::GpuEmulated => open(Engine::Emulated, &case.program)?,
        Check::GpuShared => open(Engine::Shared, &case.program)?,
        Check::ValidVulkan | Check::ValidPortable | Check::ValidEmulated | Check::ValidShared => {
            return validate(&case.program, check);
        }
    };
    compare_runs(case, check, &mut *session)
}

fn open(engine: Engine, program: &Program) -> Result<Box<dyn Session>, Failure> {
    engine.open(program).map_err(Failure::Defect)
}

fn options(check: Check) -> Options {
    let [vulkan, portable] = engine::translator_options();
    match check {
        Check::StrictPortable | Check::GpuPortable | Check::ValidPortable => portable,
        Check::StrictEmulated | Check::ValidEmulated => Options { emulate: engine::BOTH, ..portable },
        Check::GpuEmulated => Options { emulate: engine::BOTH, ..vulkan },
        Check::StrictShared | Check::ValidShared => Options { share: engine::KEPT, ..portable },
        Check::GpuShared => Options { share: engine::KEPT, ..vulkan },
        Check::SharedRehearsed => Options { share: engine::KEPT, closely: true, ..vulkan },
        _ => vulkan,
    }
}

fn lifted(program: &Program) -> Result<Interpreter, Failure> {
    let mut functions = testing::lifted(&program.module.wasm, program.kernel, &program.shape())?;
    let kernel = functions.remove(&program.kernel).ok_or_else(|| Failure::Defect("no kernel was lifted".into()))?;
    Ok(Interpreter::of(program, Form::Lifted, kernel, functions))
}

fn strict(program: &Program, check: Check) -> Result<Interpreter, Failure> {
    let options = options(check);
    let strict = testing::strict(&program.module.wasm, program.kernel, &program.shape(), &options)?;
    let interpreter = Interpreter::of(program, Form::Strict, strict, HashMap::new());
    interpreter.coarsened(program, &options).map_err(Failure::Defect)
}

fn validate(program: &Program, check: Check) -> Result<(), Failure> {
    let options = options(check);
    let shader = program.translate(&options)?;
    oracle::spirv_val(&shader.words).map_err(Failure::Invalid)?;
    match options.profile {
        Profile::Portable => oracle::naga_module(&shader.words).map(|_| ()).map_err(Failure::Invalid),
        Profile::Vulkan => Ok(()),
    }
}

/// Runs all launches in a session and compares their ends.
fn compare_runs(case: &Case, check: Check, session: &mut dyn Session) -> Result<(), Failure> {
    for run in &case.runs {
        let end = session.run(&run.contents, run.iterations).map_err(Failure::Defect)?;
        if let End::Refused(message) = end {
            return Err(Failure::Refused(message));
        }
        if is_left_to_the_cpu(&run.expected, &end) {
            return Err(Failure::Refused(LEFT_TO_THE_CPU.to_string()));
        }
        let misplaces = CPUS.contains(&check) || matches!(check, Check::StrictRehearsed | Check::SharedRehearsed);
        if misplaces && is_same_trap(&run.expected, &end) {
            continue;
        }
        compare(&run.expected, &end, &case.program.buffers).map_err(|message| match (&run.expected, &end) {
            (End::Done(_), End::Done(_)) => Failure::Bytes(message),
            _ => Failure::End(message),
        })?;
    }
    Ok(())
}

/// Exact forms with arrays of variable length bail out where an access is in none of them; devices leave the launch to the CPU then.
pub const LEFT_TO_THE_CPU: &str = "accesses beyond arrays of variable length";

/// Whether a form bails out so where the launch traps.
fn is_left_to_the_cpu(expected: &End, got: &End) -> bool {
    match (expected, got) {
        (End::Trapped(_), End::Trapped(trap)) => trap.kind == TrapKind::BailedOut(Assumption::Frames),
        _ => false,
    }
}

/// Whether two traps are alike but for their place: Wasmtime gives an access that it merged into another operator, and an
/// `unreachable` behind a branch, other places than their own. Where functions are inlined with recursion, and checks are left out, a
/// trap may be told of the branch, or of the access beside it, too.
fn is_same_trap(expected: &End, got: &End) -> bool {
    match (expected, got) {
        (End::Trapped(a), End::Trapped(b)) => {
            a.kind == b.kind
                && a.iteration == b.iteration
                && matches!(a.kind, TrapKind::OutOfBounds | TrapKind::Unreachable)
        }
        _ => false,
    }
}

/// Judges a session as if it were a check's: for planted bugs.
pub fn judge_session(case: &Case, check: Check, session: &mut dyn Session) -> Option<Difference> {
    match compare_runs(case, check, session) {
        Ok(()) | Err(Failure::Refused(_)) => None,
        Err(Failure::Bytes(message)) => Some(Difference { check, kind: Kind::Bytes, message }),
        Err(Failure::End(message)) => Some(Difference { check, kind: Kind::End, message }),
        Err(Failure::Defect(message) | Failure::Invalid(message)) => {
            Some(Difference { check, kind: Kind::Defect, message })
        }
    }
}
