//! Kernels with their inputs, and how they have to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::Failed;
use wavelift::device::{Access, GuestModule, KernelTrap};
use wavelift::memory::AddressSpace;
use wavelift_translator::module::ConstInit;
use wavelift_translator::{BufferParam, Error, Module, Options, Shader, Shape, translate};

use crate::engine::Engine;
use crate::oracle::keep::keep;

/// Size of the linear memory of every guest here, in bytes: one page.
pub const LINEAR_MEMORY: u64 = 1 << 16;

/// What the bytes of a buffer are, as far as comparing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Whatever: each bit counts.
    Bits,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

/// A buffer of a kernel, in list order.
#[derive(Clone, Copy, Debug)]
pub struct BufferShape {
    pub size: u32,
    pub access: Access,
    pub lanes: Lanes,
}

impl BufferShape {
    pub fn bits(size: u32) -> BufferShape {
        BufferShape { size, access: Access::ReadWrite, lanes: Lanes::Bits }
    }
}

/// A kernel named `kernel` and its buffers.
pub struct Program {
    pub text: String,
    pub module: Arc<GuestModule>,
    pub kernel: u32,
    pub buffers: Vec<BufferShape>,
    /// Linear memory's bytes before each launch, where they are compared, too: as one buffer more. What lies below the
    /// stack pointer is not.
    pub linear: Option<Vec<u8>>,
    /// Bytes above the buffers, at the top of the address space, where nothing is.
    pub unused: u32,
    /// A part of the sentence with which GPUs refuse the kernel.
    pub refused: Option<&'static str>,
}

impl Program {
    /// # Panics
    /// If the text is no module with a `kernel`.
    pub fn new(text: String, buffers: Vec<BufferShape>) -> Program {
        Program::parse(text, buffers).unwrap_or_else(|error| panic!("{error}"))
    }

    /// # Errors
    /// If the text is no module with a `kernel`.
    pub fn parse(text: String, buffers: Vec<BufferShape>) -> Result<Program, String> {
        let bytes = wat::parse_str(&text).map_err(|error| format!("{error}\n{text}"))?;
        Program::of_bytes(bytes, text, buffers)
    }

    /// # Errors
    /// If the bytes are no module with a `kernel`.
    pub fn of_bytes(bytes: Vec<u8>, text: String, buffers: Vec<BufferShape>) -> Result<Program, String> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let wasm = Module::parse(bytes).map_err(|error| format!("{error}\n{text}"))?;
        let kernel = wasm.find_function("kernel").ok_or("there is no function `kernel`")?;
        let module = Arc::new(GuestModule { id: IDS.fetch_add(1, Ordering::Relaxed), wasm });
        Ok(Program { text, module, kernel, buffers, linear: None, unused: 0, refused: None })
    }

    /// The globals' values at the launch: those of the module.
    pub fn globals(&self) -> Vec<ConstInit> {
        self.module.wasm.globals().iter().filter_map(|global| global.init).collect()
    }

    /// The buffers' addresses, which are the same on every engine.
    pub fn addresses(&self) -> Vec<u32> {
        self.place(&AddressSpace::detached().expect("an address space")).expect("address space")
    }

    /// Gives the buffers addresses in a new address space; `None` if it is full.
    pub fn place(&self, space: &AddressSpace) -> Option<Vec<u32>> {
        if self.unused > 0 {
            space.allocate(self.unused, LINEAR_MEMORY)?;
        }
        self.buffers.iter().map(|buffer| space.allocate(buffer.size, LINEAR_MEMORY)).collect()
    }

    pub fn shape(&self) -> Shape {
        let buffers = self.buffers.iter().zip(0..);
        let buffers = buffers.map(|(buffer, slot)| BufferParam { slot, access: buffer.access }).collect();
        Shape { buffers, ..Shape::initial(&self.module.wasm, self.kernel) }
    }

    pub fn translate(&self, options: &Options) -> Result<Shader, Error> {
        let lifted = translate(&self.module.wasm, self.kernel, &self.shape(), options);
        lifted.inspect(|shader| keep(&shader.words, options.profile))
    }

    /// Whether the kernel's refusal is the one that is documented for it; or says that there are no 64-bit atomics, which the
    /// kernel has and, with `wide_atomics`, the device.
    pub fn expect_refusal(&self, message: &str, wide_atomics: bool) -> Result<(), Failed> {
        if !wide_atomics && self.text.contains("i64.atomic.") && message.contains("has no 64-bit atomics") {
            return Ok(());
        }
        match self.refused {
            Some(part) if message.contains(part) => Ok(()),
            Some(part) => Err(format!("refused with `{message}`, which does not say `{part}`\n{}", self.text).into()),
            None => Err(format!("refused with `{message}`\n{}", self.text).into()),
        }
    }

    /// Byte offset of the operator of this number (0 is the first) of the kernel.
    pub fn operator_offset(&self, number: usize) -> u32 {
        let body = self.module.wasm.body(self.kernel).expect("a body");
        let operators = body.get_operators_reader().expect("operators").into_iter_with_offsets();
        operators.map(|operator| operator.expect("an operator").1).nth(number).expect("so many operators") as u32
    }
}

/// How a launch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All invocations returned; the buffers' bytes.
    Done(Vec<Vec<u8>>),
    /// One trapped; the buffers' bytes mean nothing.
    Trapped(KernelTrap),
    /// The device says that it can't run this kernel.
    Refused(String),
}

/// One launch of a program.
pub struct Run {
    /// The buffers' bytes before it.
    pub contents: Vec<Vec<u8>>,
    pub iterations: u32,
    /// How it has to end.
    pub expected: End,
}

/// A program and its launches.
pub struct Case {
    pub program: Program,
    pub runs: Vec<Run>,
    /// Whether the launches depend on bounds that only checked code has: the CPU devices see a page's.
    pub exact_bounds: bool,
}

impl Case {
    /// Runs all launches; gives their number.
    ///
    /// # Errors
    /// What is different, as text.
    pub fn check(&self, engine: Engine) -> Result<usize, String> {
        let mut session = engine.open(&self.program)?;
        for run in &self.runs {
            let full = run.contents.iter().zip(&self.program.buffers).all(|(c, b)| c.len() == b.size as usize);
            assert!(full, "bytes that a launch before left are no input");
            let end = session.run(&run.contents, run.iterations)?;
            match &end {
                End::Refused(message) if engine.is_gpu() => {
                    self.program
                        .expect_refusal(message, engine.has_wide_atomics()?)
                        .map_err(|error| error.message().unwrap_or_default().to_string())?;
                }
                End::Done(_) | End::Trapped(_) if engine.is_gpu() && self.program.refused.is_some() => {
                    return Err("ran, though it should have been refused".into());
                }
                _ => compare(&run.expected, &end, &self.program.buffers)?,
            }
        }
        Ok(self.runs.len())
    }
}

/// Whether two launches ended alike.
///
/// # Errors
/// The first difference.
pub fn compare(expected: &End, got: &End, buffers: &[BufferShape]) -> Result<(), String> {
    match (expected, got) {
        (End::Done(expected), End::Done(got)) => {
            if expected.len() != got.len() {
                return Err(format!("{} buffers instead of {}", got.len(), expected.len()));
            }
            // Behind the buffers stands linear memory.
            let linear = BufferShape::bits(LINEAR_MEMORY as u32);
            let shapes = buffers.iter().chain([&linear]);
            for (number, ((expected, got), shape)) in expected.iter().zip(got).zip(shapes).enumerate() {
                if expected.len() != got.len() {
                    return Err(format!("buffer {number} has {} bytes instead of {}", got.len(), expected.len()));
                }
                if let Some((at, expected, got)) = first_difference(expected, got, shape.lanes) {
                    return Err(format!("buffer {number}, byte {at}: {got:#x} instead of {expected:#x}"));
                }
            }
            Ok(())
        }
        (End::Trapped(expected), End::Trapped(got)) if expected == got => Ok(()),
        _ => Err(format!("{} instead of {}", brief(got), brief(expected))),
    }
}

fn brief(end: &End) -> String {
    match end {
        End::Done(_) => "an end without a trap".into(),
        End::Trapped(trap) => format!("{trap:?}"),
        End::Refused(reason) => format!("the refusal `{reason}`"),
    }
}

/// The first lane that differs: its first byte, what it should be and what it is.
fn first_difference(expected: &[u8], got: &[u8], lanes: Lanes) -> Option<(usize, u64, u64)> {
    let width = if lanes == Lanes::F64 { 8 } else { 4 };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let is_nan = |bits: u64| match lanes {
        Lanes::Bits => false,
        Lanes::F32 => f32::from_bits(bits as u32).is_nan(),
        Lanes::F64 => f64::from_bits(bits).is_nan(),
    };
    let pairs = expected.chunks(width).zip(got.chunks(width)).enumerate();
    pairs
        .map(|(index, (expected, got))| (index * width, number(expected), number(got)))
        .find(|(_, expected, got)| expected != got && !(is_nan(*expected) && is_nan(*got)))
}
