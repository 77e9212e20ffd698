//! Wasm code under construction: bytes, locals, and open blocks.

use std::ops::Range;

use wasm_encoder::{BlockType, Encode, Function, Instruction, ValType};

/// A block that is open, to branch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// The body of a function, as far as it is written.
#[derive(Debug)]
pub struct Code {
    bytes: Vec<u8>,
    params: u32,
    locals: Vec<ValType>,
    depth: u32,
    /// Where in the bytes fuel is taken.
    fuel: Vec<Range<u32>>,
}

impl Code {
    /// The body of a function with so many parameters.
    pub fn new(params: u32) -> Code {
        Code { bytes: Vec::new(), params, locals: Vec::new(), depth: 0, fuel: Vec::new() }
    }

    /// Appends an instruction that opens and closes no block.
    pub fn emit(&mut self, instruction: &Instruction<'_>) {
        instruction.encode(&mut self.bytes);
    }

    /// Appends several.
    pub fn emit_all(&mut self, instructions: &[Instruction<'_>]) {
        instructions.iter().for_each(|instruction| self.emit(instruction));
    }

    /// A new local, which is zero at first.
    pub fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push(ty);
        self.params + self.locals.len() as u32 - 1
    }

    /// New locals side by side; gives the first.
    pub fn locals(&mut self, ty: ValType, count: u32) -> u32 {
        let first = self.params + self.locals.len() as u32;
        self.locals.extend(std::iter::repeat_n(ty, count as usize));
        first
    }

    /// How many locals there are.
    pub fn local_count(&self) -> usize {
        self.locals.len()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Pushes a local.
    pub fn get(&mut self, local: u32) {
        self.emit(&Instruction::LocalGet(local));
    }

    /// Pops into a local.
    pub fn set(&mut self, local: u32) {
        self.emit(&Instruction::LocalSet(local));
    }

    /// Pushes an `i32`.
    pub fn i32(&mut self, value: u32) {
        self.emit(&Instruction::I32Const(value as i32));
    }

    /// Opens a block that a branch leaves.
    pub fn open_block(&mut self) -> Place {
        self.open(&Instruction::Block(BlockType::Empty))
    }

    /// Opens a block that a branch starts again.
    pub fn open_loop(&mut self) -> Place {
        self.open(&Instruction::Loop(BlockType::Empty))
    }

    /// Pops a condition and opens what runs where it is not zero.
    pub fn open_if(&mut self) -> Place {
        self.open(&Instruction::If(BlockType::Empty))
    }

    fn open(&mut self, instruction: &Instruction<'_>) -> Place {
        self.emit(instruction);
        self.depth += 1;
        Place(self.depth)
    }

    /// What runs where the condition is zero.
    pub fn otherwise(&mut self) {
        self.emit(&Instruction::Else);
    }

    /// Closes the innermost block.
    pub fn close(&mut self) {
        self.emit(&Instruction::End);
        self.depth -= 1;
    }

    /// Branches to an open block.
    pub fn branch(&mut self, place: Place) {
        self.emit(&Instruction::Br(self.depth - place.0));
    }

    /// Pops a condition and branches where it is not zero.
    pub fn branch_if(&mut self, place: Place) {
        self.emit(&Instruction::BrIf(self.depth - place.0));
    }

    /// Pops a number and branches to the place of that number, or else to the default.
    pub fn branch_table(&mut self, places: &[Place], default: Place) {
        let depths: Vec<u32> = places.iter().map(|place| self.depth - place.0).collect();
        self.emit(&Instruction::BrTable(depths.into(), self.depth - default.0));
    }

    /// Takes from the fuel in a local; traps where there is too little.
    pub fn take_fuel(&mut self, local: u32, amount: i32) {
        let start = self.bytes.len() as u32;
        self.emit_all(&[
            Instruction::LocalGet(local),
            Instruction::I32Const(amount),
            Instruction::I32Sub,
            Instruction::LocalTee(local),
            Instruction::I32Const(0),
            Instruction::I32LtS,
            Instruction::If(BlockType::Empty),
            Instruction::Unreachable,
            Instruction::End,
        ]);
        self.fuel.push(start..self.bytes.len() as u32);
    }

    /// The function, and where in its body fuel is taken.
    pub fn finish(self) -> (Function, Vec<Range<u32>>) {
        let mut runs: Vec<(u32, ValType)> = Vec::new();
        for ty in &self.locals {
            match runs.last_mut() {
                Some((count, last)) if last == ty => *count += 1,
                _ => runs.push((1, *ty)),
            }
        }
        let mut function = Function::new(runs);
        let start = function.byte_len() as u32;
        function.raw(self.bytes);
        function.instruction(&Instruction::End);
        let fuel = self.fuel.into_iter().map(|range| range.start + start..range.end + start).collect();
        (function, fuel)
    }
}
