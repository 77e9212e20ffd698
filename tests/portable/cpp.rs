//! Shader text as C++: many kernels in one program, compiled with `g++` and run on the CPU.

use std::fmt::Write as _;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use wavelift::text::Language;
use wavelift_translator::{Input, Interface, LINEAR, TRAP_BINDING, TrapSite, immediate};

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
    /// Linear memory, which is bound as a whole.
    pub linear: Vec<u8>,
    /// The globals' bits, by index.
    pub globals: Vec<u128>,
}

impl Launch {
    /// A word of the launch's state.
    fn input(&self, input: Input) -> u32 {
        match input {
            Input::MemorySize => self.linear.len() as u32,
            Input::WindowStart => 0,
            Input::StackPointer(global) => self.globals[global as usize] as u32 & !15,
            Input::Global(global) => self.globals[global as usize] as u32,
            Input::GlobalHigh(global) => (self.globals[global as usize] >> 32) as u32,
            Input::GlobalWord { global, word } => (self.globals[global as usize] >> (32 * word)) as u32,
            Input::Pointer { .. } => unreachable!("no launch of these has pointers"),
            Input::Rounds => unreachable!("none of these is flattened"),
        }
    }
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
    /// The buffers' bytes, by slot; behind them linear memory's.
    pub buffers: Vec<Vec<u8>>,
    /// The sites that trapped, with the least iteration that did.
    pub traps: Vec<(TrapSite, u32)>,
}

/// Whether there is GNU's C++ compiler; others that go by its name don't know all of the flags.
pub fn have_compiler() -> bool {
    let version = Command::new("g++").arg("--version").stderr(Stdio::null()).output();
    version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("Free Software Foundation"))
}

/// Compiles the kernels as one program and runs their launches. `each` is told what each launch left behind, with its
/// kernel's number and its own.
pub fn run(
    kernels: &[Kernel],
    language: Language,
    floats: Floats,
    each: impl FnMut(usize, usize, Left),
) -> Result<(), String> {
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
    execute(&binary, kernels, each)
}

fn execute(binary: &std::path::Path, kernels: &[Kernel], each: impl FnMut(usize, usize, Left)) -> Result<(), String> {
    let mut child = Command::new(binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the program can't be started: {e}"))?;
    let (stdin, stdout, mut stderr) =
        (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (ended, end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // A program that ends early leaves its input unread; what it said on stderr is the error then.
        scope.spawn(move || send(kernels, BufWriter::new(stdin)));
        let watch = scope.spawn(move || {
            let late = end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            if late {
                child.kill()?;
            }
            child.wait().map(|status| (late, status))
        });
        let received = receive(kernels, BufReader::new(stdout), each);
        drop(ended);
        let (late, status) = watch.join().unwrap().map_err(|e| e.to_string())?;
        if late {
            return Err("the program does not end".to_string());
        }
        if !status.success() {
            let mut message = String::new();
            stderr.read_to_string(&mut message).map_err(|e| e.to_string())?;
            return Err(format!("the program ended with {status}: {message}"));
        }
        received.map_err(|e| format!("the program's output can't be read: {e}"))
    })
}

/// Number of buffers of a launch in front of its slots': the trap record.
const IN_FRONT: usize = 1;
/// Number of buffers of a launch behind its slots': linear memory, the immediates, buffer sizes (which nothing reads), one
/// that has the number of a buffer of arguments, the data.
const BEHIND: usize = 5;

/// Whether linear memory is bound.
fn reaches_linear(kernel: &Kernel) -> bool {
    kernel.interface.bindings.iter().any(|binding| binding.slot == LINEAR)
}

/// Words of a launch's buffers. What is bound stands at its binding number.
fn launch_buffers(kernel: &Kernel, launch: &Launch) -> Vec<Vec<u32>> {
    let mut immediates = vec![0; immediate::SLOTS as usize];
    immediates[immediate::COUNT as usize] = launch.iterations;
    immediates[immediate::ITERATIONS as usize] = launch.iterations;
    immediates[immediate::BLOCK_SIZE as usize] = launch.block_size;
    for (bytes, address) in launch.buffers.iter().zip(&launch.addresses) {
        immediates.extend([*address, bytes.len() as u32]);
    }
    immediates.extend(kernel.interface.inputs.iter().map(|input| launch.input(*input)));
    // A binding holds whole words.
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let words = |bytes: &[u8]| bytes.chunks(4).map(word).collect();
    let mut buffers = vec![vec![NO_TRAP; kernel.interface.trap_sites.len()]];
    buffers.extend(launch.buffers.iter().map(|bytes| words(bytes)));
    buffers.push(if reaches_linear(kernel) { words(&launch.linear) } else { Vec::new() });
    let sizes = vec![0; buffers.len()];
    buffers.extend([immediates, sizes, Vec::new(), kernel.interface.data.to_vec()]);
    buffers
}

/// Writes the launches of all kernels.
fn send(kernels: &[Kernel], mut program: impl Write) -> io::Result<()> {
    let mut send = |words: &[u32]| program.write_all(bytemuck::cast_slice(words));
    send(&[kernels.iter().map(|kernel| kernel.launches.len() as u32).sum()])?;
    for (number, kernel) in (0..).zip(kernels) {
        for launch in &kernel.launches {
            let buffers = launch_buffers(kernel, launch);
            // Whole groups, as a GPU runs them.
            let invocations = launch.iterations.next_multiple_of(kernel.interface.workgroup_size);
            send(&[number, invocations, buffers.len() as u32])?;
            for buffer in buffers {
                send(&[buffer.len() as u32])?;
                send(&buffer)?;
            }
        }
    }
    program.flush()
}

/// Reads what the launches of all kernels left behind.
fn receive(kernels: &[Kernel], mut program: impl Read, mut each: impl FnMut(usize, usize, Left)) -> io::Result<()> {
    let mut buffer = || {
        let mut length = [0; 4];
        program.read_exact(&mut length)?;
        let mut bytes = vec![0; 4 * u32::from_le_bytes(length) as usize];
        program.read_exact(&mut bytes).map(|()| bytes)
    };
    for (number, kernel) in kernels.iter().enumerate() {
        for (index, launch) in kernel.launches.iter().enumerate() {
            let count = IN_FRONT + launch.buffers.len() + BEHIND;
            let buffers = (0..count).map(|_| buffer()).collect::<io::Result<Vec<Vec<u8>>>>()?;
            each(number, index, left(kernel, launch, buffers));
        }
    }
    Ok(())
}

fn left(kernel: &Kernel, launch: &Launch, mut buffers: Vec<Vec<u8>>) -> Left {
    let record: Vec<u32> = bytemuck::pod_collect_to_vec(&buffers[0]);
    let sites = kernel.interface.trap_sites.iter().zip(record).filter(|(_, word)| *word != NO_TRAP);
    let traps = sites.map(|(site, word)| (*site, word)).collect();
    buffers.drain(..IN_FRONT);
    buffers.truncate(launch.buffers.len() + 1);
    if !reaches_linear(kernel) {
        buffers[launch.buffers.len()].clone_from(&launch.linear);
    }
    for (bytes, sent) in buffers.iter_mut().zip(&launch.buffers) {
        bytes.truncate(sent.len());
    }
    Left { buffers, traps }
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

/// Whether the host, which goes by the interface, binds what the text declares.
fn check_binding(kernel: &Kernel, number: u32, writable: bool) -> Result<(), String> {
    let known = kernel.interface.bindings.iter().find(|b| b.binding == number).map(|b| b.writable);
    let record = (number == TRAP_BINDING && !kernel.interface.trap_sites.is_empty()).then_some(true);
    match known.or(record) {
        Some(known) if known == writable => Ok(()),
        known => Err(format!(
            "buffer {number} is {} in the text, and the interface says {known:?}",
            if writable { "written" } else { "read" }
        )),
    }
}

/// A line with the array that it declares, if it does, as one of `launch.h`.
fn with_checked_array(line: &str) -> String {
    let checked = || {
        let (before, rest) = line.split_once("uint ")?;
        let (name, rest) = rest.split_once('[')?;
        let (length, rest) = rest.split_once(']')?;
        let is_declaration = ["", "typedef"].contains(&before.trim()) && !name.contains(' ');
        is_declaration.then(|| format!("{before}launch::Array<uint, {length}> {name}{rest}"))
    };
    checked().unwrap_or_else(|| line.to_string())
}

/// MSL is C++ but for unchecked arrays; what is added calls the entry point with references to the buffers.
fn msl(kernel: &Kernel) -> Result<String, String> {
    let slots = slots(kernel);
    let record = (!kernel.interface.trap_sites.is_empty()).then_some(TRAP_BINDING);
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
        if number < immediates {
            check_binding(kernel, number as u32, !parameter.contains(" const&"))?;
        }
        // The text counts on from its last binding, the launch from linear memory, bound or not.
        let index = if number >= immediates { number - immediates + slots + 2 } else { number };
        arguments.push(format!("*({ty}*)launch::data({index})"));
    }
    let call = arguments.join(", ");
    // Those of buffers are types by themselves, of length 1.
    let array = |line: &str| if line.starts_with("typedef ") { line.to_string() } else { with_checked_array(line) };
    let text: Vec<String> = kernel.text.lines().map(array).collect();
    Ok(format!(
        "{}\nvoid run_all(uint32_t count) {{\n    for (uint32_t id = 0; id < count; id++) {{\n        main_({call});\n    }}\n}}",
        text.join("\n")
    ))
}

/// HLSL is C++ but for registers, semantics, attributes and arrays.
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
                check_binding(kernel, number, kind == "u")?;
                let _ = writeln!(text, "static const {declaration}{{{number}}};");
            }
        } else if line.starts_with("[numthreads(") {
            continue;
        } else if line.trim_start().starts_with("return (uint[") {
            text += "return {};\n";
        } else {
            let line = line
                .replace(" : SV_DispatchThreadID", "")
                .replace("(uint3)0", "uint3()")
                .replace(".xxxx", "->*splat_xxxx")
                .replace(".xx)", "->*splat_xx)");
            let _ = writeln!(text, "{}", with_checked_array(&line));
        }
    }
    let (ty, name) = immediates.ok_or("the HLSL has no immediates")?;
    let index = slots(kernel) + 2;
    let _ = write!(
        text,
        "void run_all(uint32_t count) {{\n    {name} = *(const {ty}*)launch::data({index});\n    \
         for (uint32_t id = 0; id < count; id++) {{\n        main(uint3(id, 0, 0));\n    }}\n}}"
    );
    Ok(text)
}
