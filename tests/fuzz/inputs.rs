//! Programs as cases: what the buffers and linear memory hold, and how the launch has to end.

use wasmparser::Operator;
use wavelift::device::{Access, KernelTrap, Location, TrapKind};

use crate::ast::{Mode, OBJECT, Tree};
use crate::case::{BufferShape, Case, End, LINEAR_MEMORY, Lanes, Program, Run};
use crate::engine::Session;
use crate::interpreter::{Form, Interpreter};
use crate::places::STACK_POINTER;
use crate::plain_wasmtime::PlainWasmtime;
use crate::print::{BUFFERS, IN_ROW, OWN_LINEAR, PTR_ROW, RESULT_ROW, print};
use crate::values::{self, Random};
use wavelift_translator::ir::Type;

/// Bytes that linear memory is filled with: for 0 zeroes.
pub fn linear(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..LINEAR_MEMORY).map(|_| if seed == 0 { 0 } else { random.next() as u8 }).collect()
}

/// The program and its launch, with the end that it has in plain Wasmtime.
///
/// # Errors
/// What is wrong with the program itself: a defect of the generator.
pub fn case(tree: &Tree) -> Result<Case, String> {
    let (text, used) = print(tree);
    let rows = tree.rows.len() as u32;
    let buffers = used.iter().map(|buffer| {
        let size = match BUFFERS[*buffer] {
            "in" => IN_ROW * rows,
            "out" => tree.stride * (rows - 1) + OBJECT,
            "mix" => tree.stride * rows,
            "ptrs" => PTR_ROW * rows,
            _ => RESULT_ROW * rows,
        };
        let is_read = tree.read_only && matches!(BUFFERS[*buffer], "in" | "ptrs");
        let access = if is_read { Access::Read } else { Access::ReadWrite };
        BufferShape { size, access, lanes: Lanes::Bits }
    });
    let mut program = Program::parse(text, buffers.collect())?;
    program.linear = Some(linear(tree.linear));
    let contents = contents(tree, &used, &program);
    let expected = expected(&program, &contents, rows, tree.mode)?;
    let exact_bounds = false;
    Ok(Case { program, runs: vec![Run { contents, iterations: rows, expected }], exact_bounds })
}

/// How a launch has to end. Plain Wasmtime sees no bounds of buffers: which accesses trap, the interpreter says.
pub fn expected(program: &Program, contents: &[Vec<u8>], iterations: u32, mode: Mode) -> Result<End, String> {
    let plain = PlainWasmtime::new(program)?.run(contents, iterations)?;
    let plain = placed(program, plain, contents, iterations);
    match (mode, &plain) {
        (Mode::Safe, End::Trapped(trap)) => Err(format!("a program that should end well traps: {trap:?}")),
        (Mode::Bounds, _) => {
            let lifted = Interpreter::new(program, Form::Lifted)?.run(contents, iterations)?;
            match lifted {
                End::Trapped(_) => Ok(lifted),
                _ => Ok(plain),
            }
        }
        _ => Ok(plain),
    }
}

/// Wasmtime places an `unreachable` that is a block of its own at the branch there, and an access whose address it knows
/// to be out of bounds at the operator behind. Where in the function it is, the interpreter says. And a call of a function
/// that never comes back is itself the trap, whatever that function would have done.
pub fn placed(program: &Program, end: End, contents: &[Vec<u8>], iterations: u32) -> End {
    let End::Trapped(trap) = end else { return end };
    let lifted = Interpreter::new(program, Form::Lifted).and_then(|mut session| session.run(contents, iterations));
    match lifted {
        Ok(End::Trapped(other)) if other.kind == TrapKind::Unreachable && is_call(program, other.at) => {
            End::Trapped(other)
        }
        _ if !matches!(trap.kind, TrapKind::Unreachable | TrapKind::OutOfBounds) => end,
        Ok(End::Trapped(other)) if other.kind == trap.kind && other.at.function == trap.at.function => {
            End::Trapped(KernelTrap { at: other.at, ..trap })
        }
        _ => end,
    }
}

fn is_call(program: &Program, at: Location) -> bool {
    let Some(body) = program.module.wasm.body(at.function) else { return false };
    let Ok(operators) = body.get_operators_reader() else { return false };
    let found = operators.into_iter_with_offsets().flatten().find(|(_, offset)| *offset == at.offset as usize);
    matches!(found, Some((Operator::Call { .. } | Operator::CallIndirect { .. }, _)))
}

fn contents(tree: &Tree, used: &[usize], program: &Program) -> Vec<Vec<u8>> {
    let starts = program.addresses();
    let start = |name: &str| {
        let at = used.iter().position(|buffer| BUFFERS[*buffer] == name)?;
        Some((starts[at], program.buffers[at].size))
    };
    used.iter()
        .zip(&program.buffers)
        .map(|(buffer, shape)| {
            let mut random = Random(tree.rows[0] ^ *buffer as u64);
            match BUFFERS[*buffer] {
                "in" => tree.rows.iter().flat_map(|row| inputs(*row)).collect(),
                "ptrs" => {
                    tree.rows.iter().zip(0..).flat_map(|(row, id)| pointers(*row, id, tree.stride, &start)).collect()
                }
                "res" => vec![0; shape.size as usize],
                _ if tree.linear == 0 => vec![0; shape.size as usize],
                _ => (0..shape.size).map(|_| random.next() as u8).collect(),
            }
        })
        .collect()
}

/// The inputs of an invocation: edges and small numbers among random ones.
fn inputs(row: u64) -> Vec<u8> {
    let mut random = Random(row);
    let (integers, floats) = (values::edges(Type::I32), values::edges(Type::F32));
    let words = (0..IN_ROW / 4).map(|_| match random.below(4) {
        0 => *random.choose(&integers) as u32,
        1 => random.below(20) as u32,
        2 => *random.choose(&floats) as u32,
        _ => random.next() as u32,
    });
    words.flat_map(u32::to_le_bytes).collect()
}

/// Three pointers to read from, and three to the invocation's own bytes.
fn pointers(row: u64, id: u32, stride: u32, start: &dyn Fn(&str) -> Option<(u32, u32)>) -> Vec<u8> {
    let mut random = Random(row ^ 0xaaaa);
    let mut words = Vec::new();
    let own_linear = OWN_LINEAR + stride * id;
    for _ in 0..3 {
        let fixed = STACK_POINTER + random.below(4000) as u32;
        words.push(match (random.below(3), start("in")) {
            (0, Some((at, _))) => at + IN_ROW * id,
            (1, Some((at, size))) => at + size - OBJECT,
            _ => fixed,
        });
    }
    for _ in 0..3 {
        let buffer = [start("out"), start("mix"), None][random.below(3)];
        words.push(buffer.map_or(own_linear, |(at, _)| at + stride * id));
    }
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}
