//! Oracles for emitted SPIR-V, and what several tests ask of IR.
#![allow(dead_code)]

use std::io::Write;
use std::process::{Command, Stdio};

use rspirv::binary::Disassemble;
use wavelift_translator::Profile;
use wavelift_translator::ir::{Function, StmtKind};

pub mod keep;

/// Set to anything, it leaves out the checks that need `spirv-val`.
pub const NO_SPIRV_VAL: &str = "WAVELIFT_NO_SPIRV_VAL";

/// What `spirv-val` says of a module for Vulkan 1.1.
///
/// # Panics
/// When the tool can't be run and [`NO_SPIRV_VAL`] is not set.
pub fn spirv_val(words: &[u32]) -> Result<(), String> {
    if std::env::var_os(NO_SPIRV_VAL).is_some() {
        eprintln!("{NO_SPIRV_VAL} is set: spirv-val was not run.");
        return Ok(());
    }
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let child = Command::new("spirv-val")
        .args(["--target-env", "vulkan1.1", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| {
        panic!(
            "This test needs `spirv-val`, which can't be run: {error}. Install it (Debian: spirv-tools), or set \
             {NO_SPIRV_VAL}=1 to go without the check."
        )
    });
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// The module that naga reads from the words, validated.
pub fn naga_module(words: &[u32]) -> Result<naga::Module, String> {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let options = naga::front::spv::Options::default();
    let module = naga::front::spv::parse_u8_slice(&bytes, &options).map_err(|e| format!("naga's reader: {e:?}"))?;
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    validator.validate(&module).map_err(|e| format!("naga's validator: {e:?}"))?;
    Ok(module)
}

/// The text of a module.
pub fn disassemble(words: &[u32]) -> String {
    rspirv::dr::load_words(words).expect("rspirv reads what it wrote").disassemble()
}

/// Fails the test, with the module's text, unless `spirv-val` takes the module, which is of the Vulkan profile.
pub fn assert_valid(words: &[u32]) {
    keep::keep(words, Profile::Vulkan);
    validate(words);
}

fn validate(words: &[u32]) {
    if let Err(message) = spirv_val(words) {
        panic!("spirv-val: {message}\n{}", disassemble(words));
    }
}

/// Fails the test, with the module's text, unless `spirv-val` and naga take the module, which is of the portable profile.
pub fn assert_portable(words: &[u32]) {
    keep::keep(words, Profile::Portable);
    validate(words);
    if let Err(message) = naga_module(words) {
        panic!("{message}\n{}", disassemble(words));
    }
}

/// Number of the statements that are wanted, in all regions that the body reaches.
pub fn count(function: &Function, wanted: impl Fn(&StmtKind) -> bool) -> usize {
    let mut todo = vec![function.body];
    let mut found = 0;
    while let Some(id) = todo.pop() {
        for stmt in &function.region(id).stmts {
            found += usize::from(wanted(&stmt.kind));
            todo.extend(stmt.kind.regions());
        }
    }
    found
}

/// Runs on a thread with the stack that the pipeline provides.
pub fn with_deep_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(64 << 20).spawn(run).unwrap().join().unwrap()
}
