//! Shader text as C++: many kernels in one program, compiled with `g++` and run on the CPU.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wavelift::text::Language;
use wavelift_translator::{Interface, TrapSite, immediate};

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

/// One launch of a kernel.
pub struct Launch {
    pub iterations: u32,
    pub block_size: u32,
    /// Bytes by slot.
    pub buffers: Vec<Vec<u8>>,
    /// Where each buffer begins in the guest's address space.
    pub addresses: Vec<u32>,
}

/// A kernel as text, with its launches.
pub struct Kernel {
    pub name: String,
    pub text: String,
    pub interface: Interface,
    pub launches: Vec<Launch>,
}

/// What a launch left behind.
pub struct Left {
    /// The buffers' bytes, by slot.
    pub buffers: Vec<Vec<u8>>,
    /// The sites that trapped, with the least iteration that did.
    pub traps: Vec<(TrapSite, u32)>,
}

/// Whether there is GNU's C++ compiler; others that go by its name don't know all of the flags.
pub fn have_compiler() -> bool {
    let version = Command::new("g++").arg("--version").stderr(Stdio::null()).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Free Software Foundation"))
}

/// Compiles the kernels as one program, runs their launches, and gives what each left behind.
pub fn run(kernels: &[Kernel], language: Language, floats: Floats) -> Result<Vec<Vec<Left>>, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (source, binary) = (folder.path().join("kernels.cpp"), folder.path().join("kernels"));
    std::fs::write(&source, program(kernels, language)?).map_err(|e| e.to_string())?;
    let compiled = Command::new("g++")
        // No contraction, no assumptions on overflow or aliasing that the shaders' languages don't make.
        .args(["-std=c++20", "-O1", "-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing", "-w"])
        // Operators make signalling NaNs quiet, as IEEE 754 says.
        .args(["-fsignaling-nans", "-fno-fp-int-builtin-inexact"])
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
    left(kernels, &output)
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

/// Words of a launch's buffers: trap record, slots, immediates, buffer sizes (which nothing reads).
fn launch_buffers(kernel: &Kernel, launch: &Launch) -> Vec<Vec<u32>> {
    let mut immediates = vec![0; immediate::SLOTS as usize];
    immediates[immediate::COUNT as usize] = launch.iterations;
    immediates[immediate::ITERATIONS as usize] = launch.iterations;
    immediates[immediate::BLOCK_SIZE as usize] = launch.block_size;
    for (bytes, address) in launch.buffers.iter().zip(&launch.addresses) {
        immediates.extend([*address, bytes.len() as u32]);
    }
    let mut buffers = vec![vec![NO_TRAP; kernel.interface.trap_sites.len()]];
    // A binding holds whole words.
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    buffers.extend(launch.buffers.iter().map(|bytes| bytes.chunks(4).map(word).collect()));
    buffers.push(immediates);
    buffers.push(vec![0; launch.buffers.len() + 1]);
    buffers
}

fn input(kernels: &[Kernel]) -> Vec<u32> {
    let mut words = vec![kernels.iter().map(|kernel| kernel.launches.len() as u32).sum()];
    for (number, kernel) in (0..).zip(kernels) {
        for launch in &kernel.launches {
            let buffers = launch_buffers(kernel, launch);
            // Whole groups, as a GPU runs them.
            words.extend([number, launch.iterations.next_multiple_of(kernel.interface.workgroup_size)]);
            words.push(buffers.len() as u32);
            for buffer in buffers {
                words.push(buffer.len() as u32);
                words.extend(buffer);
            }
        }
    }
    words
}

fn left(kernels: &[Kernel], output: &[u32]) -> Result<Vec<Vec<Left>>, String> {
    let mut rest = output;
    let mut left_of = |kernel: &Kernel, launch: &Launch| {
        let mut buffers = Vec::new();
        for sent in launch_buffers(kernel, launch) {
            let (words, tail) = rest.split_at_checked(sent.len()).ok_or("the program's output ends early")?;
            buffers.push(words.to_vec());
            rest = tail;
        }
        let sites = kernel.interface.trap_sites.iter().zip(&buffers[0]).filter(|(_, word)| **word != NO_TRAP);
        let traps = sites.map(|(site, word)| (*site, *word)).collect();
        let bytes = |(words, sent): (&Vec<u32>, &Vec<u8>)| {
            words.iter().flat_map(|word| word.to_le_bytes()).take(sent.len()).collect()
        };
        Ok(Left { buffers: buffers[1..].iter().zip(&launch.buffers).map(bytes).collect(), traps })
    };
    kernels.iter().map(|kernel| kernel.launches.iter().map(|launch| left_of(kernel, launch)).collect()).collect()
}

fn program(kernels: &[Kernel], language: Language) -> Result<String, String> {
    let header = if language == Language::Msl { "metal_stdlib" } else { "hlsl.h" };
    let mut text = format!("#include <{header}>\n");
    for (number, kernel) in kernels.iter().enumerate() {
        let body = match language {
            Language::Msl => msl(kernel)?,
            Language::Hlsl => hlsl(kernel)?,
            Language::Wgsl => return Err("WGSL is too far from C++".to_string()),
        };
        // Wasm's names can be any text, and a comment ends with its line.
        let name: String =
            kernel.name.chars().map(|c| if c.is_ascii_graphic() && c != '\\' { c } else { ' ' }).collect();
        let _ = write!(text, "\n// {name}\nnamespace k{number} {{\n{body}\n}}\n");
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

/// Number of the launches' buffers.
fn slots(kernel: &Kernel) -> usize {
    kernel.launches.first().map_or(0, |launch| launch.buffers.len())
}

/// MSL is C++; what is added calls the entry point with references to the buffers.
fn msl(kernel: &Kernel) -> Result<String, String> {
    let slots = slots(kernel);
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
        // The text counts on from its last binding, the launch from its last slot.
        let index = if number >= immediates { number - immediates + slots + 1 } else { number };
        arguments.push(format!("*({ty}*)launch::data({index})"));
    }
    let call = arguments.join(", ");
    Ok(format!(
        "{}\nvoid run_all(uint32_t count) {{\n    for (uint32_t id = 0; id < count; id++) {{\n        main_({call});\n    }}\n}}",
        kernel.text
    ))
}

/// HLSL is C++ but for registers, semantics and attributes.
fn hlsl(kernel: &Kernel) -> Result<String, String> {
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
    let index = slots(kernel) + 1;
    let _ = write!(
        text,
        "void run_all(uint32_t count) {{\n    {name} = *(const {ty}*)launch::data({index});\n    \
         for (uint32_t id = 0; id < count; id++) {{\n        main(uint3(id, 0, 0));\n    }}\n}}"
    );
    Ok(text)
}
