//! Buffers, variables and immediates.

use rspirv::dr::Operand;
use rspirv::spirv::{MemorySemantics, Op, Scope, StorageClass, Word};

use super::{Emitter, defect};
use crate::error::{Error, Result};
use crate::ir::{LowOp, Type, Value, Var};
use crate::options::Input;

impl Emitter<'_> {
    /// The pointer to a word of a buffer.
    pub(super) fn word_pointer(&mut self, buffer: Word, index: Word) -> Result<Word> {
        let word = self.ty(Type::I32);
        let pointer = self.pointer_ty(StorageClass::StorageBuffer, word);
        let member = self.u32_constant(0);
        self.inst(Op::AccessChain, pointer, &[buffer, member, index])
    }

    fn slot_pointer(&mut self, slot: u32, index: Word) -> Result<Word> {
        match self.globals.buffers.get(&slot) {
            Some(buffer) => self.word_pointer(*buffer, index),
            None => Err(Error::Internal(format!("slot {slot} was not declared"))),
        }
    }

    /// A word of a buffer.
    pub(super) fn load_word(&mut self, slot: u32, index: Word) -> Result<Word> {
        let pointer = self.slot_pointer(slot, index)?;
        let word = self.ty(Type::I32);
        self.inst(Op::Load, word, &[pointer])
    }

    /// A word of a slot that is loaded four words at a time. The four are loaded once in a region and those below it:
    /// nothing stores to such a slot.
    pub(super) fn load_lane(&mut self, slot: u32, args: &[Value], lane: u32) -> Result<Word> {
        let [quad] = self.operands(args)?;
        let word = self.ty(Type::I32);
        let vector = match self.quads.get(&(slot, quad)) {
            Some(vector) => *vector,
            None => {
                let vector_ty = self.words_ty(4);
                let pointer_ty = self.pointer_ty(StorageClass::StorageBuffer, vector_ty);
                let buffer = self.globals.buffers.get(&slot).copied();
                let buffer = buffer.ok_or_else(|| Error::Internal(format!("slot {slot} was not declared")))?;
                let member = self.u32_constant(0);
                let pointer = self.inst(Op::AccessChain, pointer_ty, &[buffer, member, quad])?;
                let vector = self.inst(Op::Load, vector_ty, &[pointer])?;
                self.quads.insert((slot, quad), vector);
                self.loaded_quads.push((slot, quad));
                vector
            }
        };
        self.inst_of(Op::CompositeExtract, word, vec![Operand::IdRef(vector), Operand::LiteralBit32(lane)])
    }

    /// Forgets the four words loaded since there were `count`: they are not there behind the region that loaded them.
    pub(super) fn forget_quads(&mut self, count: usize) {
        for loaded in self.loaded_quads.drain(count..) {
            self.quads.remove(&loaded);
        }
    }

    /// Stores a word of a buffer.
    pub(super) fn store_word(&mut self, slot: u32, index: Word, value: Word) -> Result<()> {
        let pointer = self.slot_pointer(slot, index)?;
        self.b.store(pointer, value, None, []).map_err(defect)
    }

    /// Clears (`AndWord`) or sets (`OrWord`) bits of a word of a buffer in one step.
    pub(super) fn change_word(&mut self, op: LowOp, slot: u32, index: Word, bits: Word) -> Result<()> {
        let pointer = self.slot_pointer(slot, index)?;
        let word = self.ty(Type::I32);
        let scope = self.u32_constant(Scope::Device as u32);
        let semantics = self.u32_constant(MemorySemantics::RELAXED.bits());
        let op = if matches!(op, LowOp::AndWord { .. }) { Op::AtomicAnd } else { Op::AtomicOr };
        let operands = [Operand::IdRef(pointer), Operand::IdScope(scope), Operand::IdMemorySemantics(semantics)];
        self.inst_of(op, word, operands.into_iter().chain([Operand::IdRef(bits)]).collect())?;
        Ok(())
    }

    /// Declares the private stack in the kernel's first block: an array of zeroes.
    pub(super) fn declare_stack(&mut self) -> Result<()> {
        let word = self.ty(Type::I32);
        let length = self.u32_constant(self.function.stack_words);
        let array = self.b.type_array(word, length);
        let zeroes = self.b.constant_null(array);
        let pointer = self.pointer_ty(StorageClass::Function, array);
        self.globals.stack = self.b.variable(pointer, None, StorageClass::Function, Some(zeroes));
        Ok(())
    }

    fn stack_pointer(&mut self, index: Word) -> Result<Word> {
        let word = self.ty(Type::I32);
        let pointer = self.pointer_ty(StorageClass::Function, word);
        self.inst(Op::AccessChain, pointer, &[self.globals.stack, index])
    }

    /// A word of the private stack.
    pub(super) fn load_stack(&mut self, index: Word) -> Result<Word> {
        let pointer = self.stack_pointer(index)?;
        let word = self.ty(Type::I32);
        self.inst(Op::Load, word, &[pointer])
    }

    /// Stores a word of the private stack.
    pub(super) fn store_stack(&mut self, index: Word, value: Word) -> Result<()> {
        let pointer = self.stack_pointer(index)?;
        self.b.store(pointer, value, None, []).map_err(defect)
    }

    fn var_pointer(&self, var: Var) -> Result<Word> {
        match self.vars.get(var.index()) {
            Some(0) | None => Err(Error::Internal(format!("{var} was not declared"))),
            Some(pointer) => Ok(*pointer),
        }
    }

    /// The value of a variable.
    pub(super) fn get_var(&mut self, var: Var) -> Result<Word> {
        let pointer = self.var_pointer(var)?;
        let ty = self.ty(self.function.vars[var.index()]);
        self.inst(Op::Load, ty, &[pointer])
    }

    /// Sets a variable.
    pub(super) fn set_var(&mut self, var: Var, value: Word) -> Result<()> {
        let pointer = self.var_pointer(var)?;
        self.b.store(pointer, value, None, []).map_err(defect)
    }

    /// A word of the launch's state.
    pub(super) fn input(&self, input: Input) -> Result<Word> {
        match self.usage.inputs.iter().position(|known| *known == input) {
            Some(position) => self.immediate(self.globals.first_input + position as u32),
            None => Err(Error::Internal(format!("the input {input} was not found before"))),
        }
    }

    /// A word of the immediates, loaded in the kernel's first block.
    pub(super) fn immediate(&self, word: u32) -> Result<Word> {
        let loaded = self.globals.loaded.get(&word).copied();
        loaded.ok_or_else(|| Error::Internal(format!("word {word} of the immediates was not loaded")))
    }
}
