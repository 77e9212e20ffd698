//! Shader text as C++: many kernels in one program, compiled with `g++` and run on the CPU.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wavelift::text::Language;
use wavelift_translator::{Interface, immediate};

use crate::cases::Case;
use crate::reference::{self, Outcome};

/// A program may take this long; a loop that does not end is a defect of the text.
const LIMIT: Duration = Duration::from_secs(60);

/// What a word of the trap record is before a launch.
const NO_TRAP: u32 = u32::MAX;

/// What the program's floats are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// As IEEE 754 says.
    Exact,
    /// Subnormal operands and results are taken for zero (x86 only).
    Flushed,
}

/// A kernel as text, with what its launch needs.
pub struct Kernel<'a> {
    pub case: &'a Case,
    pub text: String,
    pub interface: Interface,
}

/// Whether there is GNU's C++ compiler; others that go by its name don't know all of the flags.
pub fn have_compiler() -> bool {
    let version = Command::new("g++").arg("--version").stderr(Stdio::null()).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Free Software Foundation"))
}

/// Compiles the kernels as one program, runs one launch of each, and gives what each left behind.
pub fn run(kernels: &[Kernel<'_>], language: Language, floats: Floats) -> Result<Vec<Outcome>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (source, binary) = (folder.path().join("kernels.cpp"), folder.path().join("kernels"));
    std::fs::write(&source, program(kernels, language)?).map_err(|e| e.to_string())?;
    let compiled = Command::new("g++")
        // No contraction, no assumptions on overflow or aliasing that the shaders' languages don't make.
        .args(["-std=c++20", "-O1", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-w"])
        // Literals without a suffix are floats in both languages.
        .arg("-fsingle-precision-constant")
        .args((floats == Floats::Flushed).then_some("-DWAVELIFT_FLUSH_SUBNORMALS"))
        .arg(format!("-I{}/tests/portable/include", env!("CARGO_MANIFEST_DIR")))
        .arg("-o")
        .args([&binary, &source])
        .output()
        .map_err(|e| format!("g++ can't be run: {e}"))?;
    if !compiled.status.success() {
        let errors = String::from_utf8_lossy(&compiled.stderr);
        let head: String = errors.lines().take(40).fold(String::new(), |text, line| text + line + "\n");
        return Err(format!("g++ does not take the text:\n{head}"));
    }
    let output = execute(&binary, &input(kernels))?;
    outcomes(kernels, &output)
}

fn execute(binary: &std::path::Path, input: &[u32]) -> Result<Vec<u32>, String> {
    let mut child = Command::new(binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the program can't be started: {e}"))?;
    let (mut stdin, mut stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    std::thread::scope(|scope| {
        // A program that ends early leaves its input unread; what it said on stderr is the error then.
        scope.spawn(move || stdin.write_all(bytemuck::cast_slice(input)));
        let reader = scope.spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).map(|_| bytes)
        });
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                break status;
            }
            if started.elapsed() > LIMIT {
                child.kill().map_err(|e| e.to_string())?;
                child.wait().map_err(|e| e.to_string())?;
                return Err("the program does not end".to_string());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let bytes = reader.join().unwrap().map_err(|e| e.to_string())?;
        if !status.success() {
            let mut message = String::new();
            stderr.read_to_string(&mut message).map_err(|e| e.to_string())?;
            return Err(format!("the program ended with {status} after {} bytes: {message}", bytes.len()));
        }
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    })
}

/// What a slot, or a pool of several, holds.
struct Held {
    /// By the number that stands for the slot or the pool.
    words: BTreeMap<u32, Vec<u32>>,
    /// Where each slot is.
    places: Vec<(u32, usize)>,
}

fn held(kernel: &Kernel<'_>) -> Held {
    let layout = &kernel.interface.layout;
    let mut held = Held { words: BTreeMap::new(), places: Vec::new() };
    for (slot, words) in (0..).zip(&kernel.case.buffers) {
        let holder = layout.holder(slot);
        let all = held.words.entry(holder).or_default();
        // In a pool each starts at 16 bytes.
        all.resize(all.len().next_multiple_of(4), 0);
        held.places.push((holder, all.len()));
        all.extend(words);
    }
    held
}

/// The words of a holder that a slice has.
fn slice_of(kernel: &Kernel<'_>, holder: u32, slice: u32, length: usize) -> std::ops::Range<usize> {
    let layout = &kernel.interface.layout;
    if layout.slices_of(holder) == 1 {
        return 0..length;
    }
    let words = 1 << (layout.slice_bits - 2);
    let start = slice as usize * words;
    start..length.min(start + words)
}

/// Number of the buffer of the launch that has the immediates: behind all bindings and slots.
fn immediates_at(kernel: &Kernel<'_>) -> usize {
    let last = kernel.interface.bindings.iter().map(|b| b.binding as usize).max().unwrap_or(0);
    last.max(kernel.case.buffers.len()) + 1
}

/// Buffers of the launch by binding number: trap record, slots and what else is bound; behind them the immediates and the
/// buffers' sizes (which nothing reads).
fn launch_buffers(kernel: &Kernel<'_>) -> Vec<Vec<u32>> {
    let (case, held) = (kernel.case, held(kernel));
    let mut immediates = vec![0; immediate::SLOTS as usize];
    immediates[immediate::COUNT as usize] = case.iterations;
    immediates[immediate::ITERATIONS as usize] = case.iterations;
    immediates[immediate::BLOCK_SIZE as usize] = case.block_size;
    for (words, address) in case.buffers.iter().zip(reference::addresses(&case.buffers)) {
        immediates.extend([address, 4 * words.len() as u32]);
    }
    let pooled = kernel.interface.layout.pooled.keys();
    immediates.extend(pooled.map(|slot| held.places[*slot as usize].1 as u32));
    let at = immediates_at(kernel);
    let mut buffers = vec![vec![]; at];
    buffers[0] = vec![NO_TRAP; kernel.interface.trap_sites.len()];
    for binding in &kernel.interface.bindings {
        buffers[binding.binding as usize] = match held.words.get(&binding.slot) {
            Some(words) => words[slice_of(kernel, binding.slot, binding.slice, words.len())].to_vec(),
            None => immediates.clone(),
        };
    }
    buffers.push(immediates);
    buffers.push(vec![0; at]);
    buffers
}

fn input(kernels: &[Kernel<'_>]) -> Vec<u32> {
    let mut words = Vec::new();
    for kernel in kernels {
        let buffers = launch_buffers(kernel);
        // Whole groups, as a GPU runs them.
        words.push(kernel.case.iterations.next_multiple_of(kernel.interface.workgroup_size));
        words.push(buffers.len() as u32);
        for buffer in buffers {
            words.push(buffer.len() as u32);
            words.extend(buffer);
        }
    }
    words
}

fn outcomes(kernels: &[Kernel<'_>], output: &[u32]) -> Result<Vec<Outcome>, String> {
    let mut rest = output;
    let mut all = Vec::new();
    for kernel in kernels {
        let mut buffers = Vec::new();
        for sent in launch_buffers(kernel) {
            let Some((words, tail)) = rest.split_at_checked(sent.len()) else {
                return Err("the program's output ends early".to_string());
            };
            buffers.push(words.to_vec());
            rest = tail;
        }
        let sites = kernel.interface.trap_sites.iter().zip(&buffers[0]).filter(|(_, word)| **word != NO_TRAP);
        let traps = sites.map(|(site, word)| (reference::trap_key(site.at, site.kind), *word)).collect();
        all.push(Outcome { buffers: slots_after(kernel, &buffers), traps });
    }
    Ok(all)
}

/// What the slots hold after a launch that left these buffers.
fn slots_after(kernel: &Kernel<'_>, buffers: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mut held = held(kernel);
    for binding in &kernel.interface.bindings {
        if let Some(words) = held.words.get_mut(&binding.slot) {
            let range = slice_of(kernel, binding.slot, binding.slice, words.len());
            words[range].copy_from_slice(&buffers[binding.binding as usize]);
        }
    }
    let slot = |((holder, start), words): (&(u32, usize), &Vec<u32>)| {
        held.words[holder][*start..*start + words.len()].to_vec()
    };
    held.places.iter().zip(&kernel.case.buffers).map(slot).collect()
}

fn program(kernels: &[Kernel<'_>], language: Language) -> Result<String, String> {
    let header = if language == Language::Msl { "metal_stdlib" } else { "hlsl.h" };
    let mut text = format!("#include <{header}>\n");
    for (number, kernel) in kernels.iter().enumerate() {
        let body = match language {
            Language::Msl => msl(kernel)?,
            Language::Hlsl => hlsl(kernel)?,
            Language::Wgsl => return Err("WGSL is too far from C++".to_string()),
        };
        let _ = write!(text, "\n// {}\nnamespace k{number} {{\n{body}\n}}\n", kernel.case.name);
    }
    let names: Vec<String> = (0..kernels.len()).map(|number| format!("k{number}::run_all")).collect();
    let _ = write!(
        text,
        "\nint main() {{\n    void (*const kernels[])(uint32_t) = {{{}}};\n    return launch::run_all(kernels, {});\n}}\n",
        names.join(", "),
        names.len()
    );
    Ok(text)
}

/// MSL is C++; what is added calls the entry point with references to the buffers.
fn msl(kernel: &Kernel<'_>) -> Result<String, String> {
    let behind = immediates_at(kernel);
    let record = (!kernel.interface.trap_sites.is_empty()).then_some(0);
    let last = kernel.interface.bindings.iter().map(|b| b.binding).chain(record).max();
    let immediates = last.map_or(0, |last| last as usize + 1);
    let (_, signature) = kernel.text.split_once("kernel void main_(\n").ok_or("the MSL has no entry point")?;
    let (signature, _) = signature.split_once("\n) {").ok_or("the MSL's entry point has no end")?;
    let mut arguments = Vec::new();
    for parameter in signature.lines().map(|line| line.trim_start_matches([',', ' '])) {
        if parameter.contains("[[thread_position_in_grid]]") {
            arguments.push("metal::uint3(id, 0, 0)".to_string());
            continue;
        }
        let parts = parameter.split_once('&').zip(parameter.split_once("[[buffer("));
        let Some(((ty, _), (_, number))) = parts else { return Err(format!("an unknown parameter: {parameter}")) };
        let number: usize = number.trim_end_matches(")]]").parse().map_err(|_| format!("no number: {parameter}"))?;
        // The text counts on from its last binding, the launch from its last slot, if that is higher.
        let index = if number >= immediates { number - immediates + behind } else { number };
        arguments.push(format!("*({ty}*)launch::data({index})"));
    }
    let call = arguments.join(", ");
    Ok(format!(
        "{}\nvoid run_all(uint32_t count) {{\n    for (uint32_t id = 0; id < count; id++) {{\n        main_({call});\n    }}\n}}",
        kernel.text
    ))
}

/// HLSL is C++ but for registers, semantics and attributes.
fn hlsl(kernel: &Kernel<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut immediates = None;
    for line in kernel.text.lines() {
        if let Some((declaration, register)) = line.split_once(": register(") {
            let (kind, number) = register.split_at(1);
            let number: u32 = number.trim_end_matches(");").parse().map_err(|_| format!("no register: {line}"))?;
            let declaration = declaration.trim_end();
            if kind == "b" {
                let parts = declaration.strip_prefix("ConstantBuffer<").and_then(|rest| rest.split_once("> "));
                let (ty, name) = parts.ok_or_else(|| format!("no constant buffer: {line}"))?;
                immediates = Some((ty, name));
                let _ = writeln!(text, "static {ty} {name};");
            } else {
                let _ = writeln!(text, "static const {declaration}{{{number}}};");
            }
        } else if line.starts_with("[numthreads(") {
            continue;
        } else {
            let line = line.replace(" : SV_DispatchThreadID", "").replace("(uint3)0", "uint3()");
            let _ = writeln!(text, "{line}");
        }
    }
    let (ty, name) = immediates.ok_or("the HLSL has no immediates")?;
    let index = immediates_at(kernel);
    let _ = write!(
        text,
        "void run_all(uint32_t count) {{\n    {name} = *(const {ty}*)launch::data({index});\n    \
         for (uint32_t id = 0; id < count; id++) {{\n        main(uint3(id, 0, 0));\n    }}\n}}"
    );
    Ok(text)
}
