//! The portable profile on SwiftShader, a stand-in for a weak GPU: it has no 64-bit types, takes subnormal numbers for zero
//! and misrounds. What it can't do as WebAssembly says must be refused; what is not refused must be right.
//!
//! Where SwiftShader is missing each test shows as ignored. `WAVELIFT_SWIFTSHADER=1 scripts/test` installs it.

#[path = "portable/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../translator/tests/random_control/mod.rs"]
mod random_control;
#[path = "portable/reference.rs"]
mod reference;
mod gpu {
    #[allow(dead_code)]
    pub mod support;
}

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use cases::Case;
use gpu::support::{Buffers, NoCaller};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use reference::{Outcome, difference, trap_key};
use wavelift::device::gpu::{self as gpu_device, Adapter, GpuDevice, GpuOptions};
use wavelift::device::{Access, BufferId, BufferSpec, Context, GuestModule, Launch, LaunchError};
use wavelift_translator::{Module, Profile};

/// The path of SwiftShader's Vulkan manifest, where it is not where Debian's chromium-common puts it.
const MANIFEST: &str = "WAVELIFT_SWIFTSHADER_ICD";
/// What the Vulkan loader reads; older ones know the second name only.
const DRIVERS: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

fn manifest() -> Option<PathBuf> {
    let path =
        std::env::var_os(MANIFEST).map_or_else(|| "/usr/lib/chromium/vk_swiftshader_icd.json".into(), PathBuf::from);
    path.exists().then_some(path)
}

/// A name, and what runs.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() -> ExitCode {
    let manifest = manifest();
    if let Some(manifest) = &manifest
        && std::env::var_os(DRIVERS[0]).as_deref() != Some(manifest.as_os_str())
    {
        return with_driver(manifest);
    }
    let tests: [Test; 3] = [
        ("operators_are_right_or_refused", || check_all(cases::operators())),
        ("control_flow_is_right", || check_all(cases::control(0..12))),
        ("guests_are_right_or_refused", || check_all(cases::guests())),
    ];
    let here = manifest.is_some();
    let trial = |(name, test): (&str, fn() -> Result<(), Failed>)| {
        Trial::ignorable_test(name, move || match here {
            true => test().map(|()| Completion::Completed),
            false => Ok(Completion::ignored_with(
                "SwiftShader is not here; `WAVELIFT_SWIFTSHADER=1 scripts/test` installs it",
            )),
        })
    };
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().map(trial).collect()).exit_code()
}

/// Starts this program again so that the Vulkan loader finds SwiftShader and nothing else.
fn with_driver(manifest: &Path) -> ExitCode {
    let run = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.envs(DRIVERS.map(|name| (name, manifest)));
        command.args(std::env::args_os().skip(1)).status()
    });
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("The test can't be started with SwiftShader: {error}.");
            ExitCode::FAILURE
        }
    }
}

fn adapter() -> Result<Adapter, Failed> {
    let found = gpu_device::adapters().into_iter().find(|adapter| adapter.info().name.contains("SwiftShader"));
    found.ok_or_else(|| "the Vulkan loader does not find SwiftShader, whose manifest is there".into())
}

/// What the launch did; `Err` holds why the device refused it.
fn run(device: &GpuDevice, id: u64, case: Case) -> Result<(Case, Result<Outcome, String>), Failed> {
    let bytes = case.module.bytes().to_vec();
    let mut context = device.new_gpu_context();
    let places = reference::addresses(&case.buffers);
    let mut buffers = Vec::new();
    for (number, (words, address)) in (0..).zip(case.buffers.iter().zip(places)) {
        let size = 4 * words.len() as u32;
        let spec = BufferSpec { id: BufferId(number), address, size, access: Access::ReadWrite };
        context.fill(&spec, bytemuck::cast_slice(words))?;
        buffers.push(spec);
    }
    let module = Arc::new(GuestModule { id, wasm: Module::parse(bytes)? });
    let (iterations, block_size) = (case.iterations, case.block_size);
    let launch = Launch { module, function: case.kernel, iterations, block_size, buffers: buffers.clone() };
    let mut outcome = Outcome::default();
    match context.launch(&launch, &mut NoCaller) {
        Ok(_) => {}
        Err(LaunchError::Trap(trap)) => {
            outcome.traps.insert(trap_key(trap.at, trap.kind), trap.iteration);
        }
        Err(LaunchError::Unsupported(reason)) => return Ok((case, Err(reason))),
        Err(error) => return Err(format!("{}: {error}", case.name).into()),
    }
    for spec in &buffers {
        outcome.buffers.push(gpu::support::words(&context.bytes(spec)?));
    }
    Ok((case, Ok(outcome)))
}

/// The device reports one trap, that of the least iteration.
fn first_trap(mut outcome: Outcome) -> Outcome {
    let first = outcome.traps.values().min().copied();
    outcome.traps.retain(|_, iteration| Some(*iteration) == first);
    outcome
}

/// Whether the kernel of this name has integers only, so that every device runs it.
fn is_of_words(name: &str) -> bool {
    name.starts_with("control") || ((name.contains("i32") || name.contains("i64")) && !name.contains("f32"))
}

fn check_all(cases: Vec<Case>) -> Result<(), Failed> {
    let options = GpuOptions { profile: Profile::Portable, ..GpuOptions::default() };
    let device = GpuDevice::open(&adapter()?, &options)?;
    let (mut wrong, mut ran, mut refused) = (Vec::new(), 0, 0);
    for (id, case) in (1..).zip(cases) {
        let (case, got) = run(&device, id, case)?;
        let name = &case.name;
        match got {
            Ok(got) => {
                ran += 1;
                let expected = first_trap(reference::run(&case).map_err(|e| format!("{name}: {e}"))?);
                wrong.extend(difference(&case, &expected, &got).map(|what| format!("{name}: {what}")));
            }
            Err(reason) if is_of_words(name) => {
                wrong.push(format!("{name}: refused: {reason}"));
            }
            Err(_) => refused += 1,
        }
    }
    println!("{ran} kernels ran, {refused} were refused, {} are wrong", wrong.len());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
