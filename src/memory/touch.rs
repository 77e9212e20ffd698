//! Code that touches what bulk operators are about to access: Wasmtime runs those in host code, where a fault ends the process, or
//! refuses what lies behind linear memory. In Wasm a fault is a trap, and nothing is written before it.

use wasm_encoder::{BlockType, Function, Instruction};

/// No system has smaller pages.
const STEP: i32 = 4096;

/// The locals of the code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locals {
    /// Length in bytes, not 0.
    pub length: u32,
    /// The address that is touched.
    pub at: u32,
    /// The last byte's.
    pub last: u32,
}

/// Runs `access` for an address in [`Locals::at`] in each page of the bytes from the address in local `start` on, and `beyond` in front
/// where they run over the end of the address space.
pub(crate) fn touch(
    function: &mut Function,
    start: u32,
    Locals { length, at, last }: Locals,
    access: &[Instruction<'_>],
    beyond: &[Instruction<'_>],
) {
    let mut emit = |instructions: &[Instruction<'_>]| {
        for instruction in instructions {
            function.instruction(instruction);
        }
    };
    emit(&[
        Instruction::LocalGet(start),
        Instruction::LocalTee(at),
        Instruction::LocalGet(length),
        Instruction::I32Add,
        Instruction::I32Const(1),
        Instruction::I32Sub,
        Instruction::LocalTee(last),
        Instruction::LocalGet(start),
        Instruction::I32LtU,
        Instruction::If(BlockType::Empty),
    ]);
    emit(beyond);
    emit(&[Instruction::End, Instruction::Block(BlockType::Empty), Instruction::Loop(BlockType::Empty)]);
    emit(access);
    emit(&[
        // The last page: what is left to `last` lies in the page of `at`.
        Instruction::LocalGet(at),
        Instruction::I32Const(STEP - 1),
        Instruction::I32Or,
        Instruction::LocalGet(last),
        Instruction::I32GeU,
        Instruction::BrIf(1),
        Instruction::LocalGet(at),
        Instruction::I32Const(-STEP),
        Instruction::I32And,
        Instruction::I32Const(STEP),
        Instruction::I32Add,
        Instruction::LocalSet(at),
        Instruction::Br(0),
        Instruction::End,
        Instruction::End,
    ]);
}
