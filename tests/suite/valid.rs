//! The shaders that the suite's kernels become pass `spirv-val`, and those of the portable profile naga as well.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed};
use wavelift::translator::{self, Features, Options, Profile};

use crate::cases::{FileCases, FunctionCases, ModuleCases};
use crate::keep::keep;
use crate::reason::Skip;

/// Lifts all functions of a file for a device that has everything, and has the shaders checked.
pub fn check(file: &FileCases, profile: Profile) -> Result<Completion, Failed> {
    if !has_spirv_val() {
        return Ok(Completion::ignored_with("spirv-val is not installed"));
    }
    let mut failures = Vec::new();
    for module in &file.modules {
        for function in &module.functions {
            if let Err(message) = check_function(module, function, profile) {
                failures.push(format!("module {}, `{}`: {message}", module.number, function.name));
            }
        }
    }
    if failures.is_empty() { Ok(Completion::Completed) } else { Err(failures.join("\n").into()) }
}

fn check_function(module: &ModuleCases, function: &FunctionCases, profile: Profile) -> Result<(), String> {
    let options = Options { profile, features: features(profile), ..Options::default() };
    let shape = module.shape(function);
    let shader = match translator::translate(&module.guest.wasm, function.kernel.index, &shape, &options) {
        Ok(shader) => shader,
        Err(error) => return Skip::of_refusal(&error).map(|_| ()),
    };
    keep(&shader.words, profile);
    let bytes: Vec<u8> = shader.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    spirv_val(&bytes)?;
    if profile == Profile::Portable { naga_takes(&bytes) } else { Ok(()) }
}

/// naga rejects float controls, so no device offers them to the portable profile.
pub fn features(profile: Profile) -> Features {
    let all = Features::all();
    match profile {
        Profile::Vulkan => all,
        Profile::Portable => Features {
            preserve_f32: false,
            preserve_f64: false,
            rounding_rte_f32: false,
            rounding_rte_f64: false,
            ..all
        },
    }
}

fn has_spirv_val() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| Command::new("spirv-val").arg("--version").output().is_ok())
}

/// What `spirv-val` says of a module for Vulkan 1.1.
pub fn spirv_val(bytes: &[u8]) -> Result<(), String> {
    let run = || -> std::io::Result<std::process::Output> {
        let mut child = Command::new("spirv-val")
            .args(["--target-env", "vulkan1.1", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(bytes)?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| format!("spirv-val can't be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("spirv-val: {}{}", text(&output.stdout), text(&output.stderr))),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn naga_takes(bytes: &[u8]) -> Result<(), String> {
    let module = naga::front::spv::parse_u8_slice(bytes, &naga::front::spv::Options::default())
        .map_err(|error| format!("naga's reader: {error:?}"))?;
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .validate(&module)
        .map(|_| ())
        .map_err(|error| format!("naga's validator: {error:?}"))
}
