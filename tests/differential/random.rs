//! The random suites: kernels from seeds, the same ones on every engine.

use arbtest::arbitrary::Unstructured;
use wavelift::device::Access;

use crate::case::{BufferShape, Case, Lanes, Program, Run};
use crate::engine::Session;
use crate::expressions::{self, INPUTS, TYPES};
use crate::plain_wasmtime::PlainWasmtime;
use crate::random_control;
use crate::values::{self, Random};
use wavelift_translator::ir::Type;

const CONTROL_KERNELS: u64 = 60;
const CONTROL_ROWS: u32 = 48;
/// Kernels with more stores are left out: a software GPU compiles them for seconds.
const MOST_STORES: usize = 42;
/// Kernels with fewer loops and branches are left out: they show nothing new.
const LEAST_BRANCHES: usize = 4;

const EXPRESSION_KERNELS: u64 = 60;
const EXPRESSION_ROWS: u32 = 256;
const OPERATORS: usize = 24;

fn first_seed() -> u64 {
    match std::env::var("WAVELIFT_FIRST_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("WAVELIFT_FIRST_SEED={text} is no number")),
        Err(_) => 0,
    }
}

/// Random structured control flow.
pub fn control() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut seed = first_seed();
    while (cases.len() as u64) < CONTROL_KERNELS {
        let text = control_text(seed);
        if text.matches(".store").count() <= MOST_STORES && branches(&text) >= LEAST_BRANCHES {
            let buffers = vec![BufferShape::bits(CONTROL_ROWS * random_control::BYTES)];
            let program = Program::new(format!("{text};; seed {seed}\n"), buffers);
            cases.push(case(program, vec![vec![0; (CONTROL_ROWS * random_control::BYTES) as usize]], CONTROL_ROWS));
        }
        seed += 1;
    }
    cases
}

/// Loops and branches of a kernel.
fn branches(text: &str) -> usize {
    ["loop", "br ", "br_if", "br_table"].iter().map(|operator| text.matches(operator).count()).sum()
}

fn control_text(seed: u64) -> String {
    let mut random = Random(seed);
    let length = 256 + random.below(1800);
    let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    let text = random_control::module(&mut Unstructured::new(&bytes)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    text.replace("(memory 1)", "(memory (export \"memory\") 1)")
}

/// Random straight-line code.
pub fn expressions() -> Vec<Case> {
    (first_seed()..).take(EXPRESSION_KERNELS as usize).map(expression).collect()
}

fn expression(seed: u64) -> Case {
    let mut random = Random(seed);
    let text = expressions::module(&mut random, OPERATORS);
    let (mut buffers, mut contents) = (Vec::new(), Vec::new());
    for ty in TYPES {
        let count = EXPRESSION_ROWS * INPUTS;
        let edges = values::edges(ty);
        let mut value = || if random.below(2) == 0 { *random.choose(&edges) } else { random.bits(ty) };
        contents.push(values::bytes(ty, (0..count).map(|_| value())));
        buffers.push(BufferShape::bits(count * values::size(ty)));
    }
    for ty in TYPES {
        let size = EXPRESSION_ROWS * INPUTS * values::size(ty);
        let lanes = match ty {
            Type::F32 => Lanes::F32,
            Type::F64 => Lanes::F64,
            _ => Lanes::Bits,
        };
        buffers.push(BufferShape { size, access: Access::ReadWrite, lanes });
        contents.push(vec![0; size as usize]);
    }
    case(Program::new(format!("{text};; seed {seed}\n"), buffers), contents, EXPRESSION_ROWS)
}

/// A program with one launch.
pub fn case(program: Program, contents: Vec<Vec<u8>>, iterations: u32) -> Case {
    let expected = PlainWasmtime::new(&program).and_then(|mut session| session.run(&contents, iterations));
    let expected = expected.unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    Case { program, runs: vec![Run { contents, iterations, expected }], exact_bounds: false }
}
