//! Buffers, variables and immediates.

use rspirv::dr::Operand;
use rspirv::spirv::{Op, StorageClass, Word};

use super::slices::{Access, Accessor};
use super::{Emitter, defect};
use crate::error::{Error, Result};
use crate::ir::{LowOp, Type, Value, Var};
use crate::layout::DATA;
use crate::options::Input;

impl Emitter<'_> {
    /// The pointer to a word of a buffer.
    pub(super) fn word_pointer(&mut self, buffer: Word, index: Word) -> Result<Word> {
        let word = self.ty(Type::I32);
        let pointer = self.pointer_ty(StorageClass::StorageBuffer, word);
        let member = self.u32_constant(0);
        self.inst(Op::AccessChain, pointer, &[buffer, member, index])
    }

    /// Where a word of a slot is: the slot or its pool, and the word's index there.
    fn word_place(&mut self, slot: u32, index: Word) -> Result<(u32, Word)> {
        let Some(place) = self.shape.layout.place_in_pools(slot) else { return Ok((slot, index)) };
        let start = self.immediate(self.globals.first_input + self.usage.inputs.len() as u32 + place)?;
        let word = self.ty(Type::I32);
        Ok((self.shape.layout.holder(slot), self.inst(Op::IAdd, word, &[start, index])?))
    }

    pub(super) fn access_slot(
        &mut self,
        kind: Access,
        slot: u32,
        index: Word,
        operands: &[Word],
    ) -> Result<Option<Word>> {
        let (holder, index) = self.word_place(slot, index)?;
        self.access(Accessor { holder, kind }, index, operands)
    }

    /// A word of a buffer.
    pub(super) fn load_word(&mut self, slot: u32, index: Word) -> Result<Word> {
        self.access_slot(Access::LoadWord, slot, index, &[])?.ok_or_else(no_result)
    }

    /// A word of a slot that is loaded two or four words at a time. Where nothing stores to the slot, they are loaded once in a
    /// region and those below it; else once between two stores of one region.
    pub(super) fn load_lane(&mut self, slot: u32, args: &[Value], words: u32, lane: u32) -> Result<Word> {
        let [place] = self.operands(args)?;
        if !self.is_declared_in(slot, words) {
            let index = self.word_of_vector(place, words, lane)?;
            return self.load_word(slot, index);
        }
        let word = self.ty(Type::I32);
        let is_stored = self.usage.slots.get(&slot).copied().unwrap_or(false);
        let known = if is_stored { &self.fresh_quads } else { &self.quads };
        let vector = match known.get(&(slot, place)) {
            Some(vector) => *vector,
            None => {
                let kind = if words == 2 { Access::LoadPair } else { Access::LoadQuad };
                let vector = self.access(Accessor { holder: slot, kind }, place, &[])?.ok_or_else(no_result)?;
                if is_stored {
                    self.fresh_quads.insert((slot, place), vector);
                } else {
                    self.quads.insert((slot, place), vector);
                    self.loaded_quads.push((slot, place));
                }
                vector
            }
        };
        self.inst_of(Op::CompositeExtract, word, vec![Operand::IdRef(vector), Operand::LiteralBit32(lane)])
    }

    /// Whether a slot is declared as vectors of so many words. Pools are declared as words; and of two functions that access a
    /// slot, one may take two words at a time and the other four.
    fn is_declared_in(&self, slot: u32, words: u32) -> bool {
        let is_pooled = self.shape.layout.pooled.contains_key(&slot);
        !is_pooled && self.usage.holders.get(&slot).is_some_and(|holder| 1 << holder.element_bits == words)
    }

    /// Stores two or four words of a buffer.
    pub(super) fn store_words(&mut self, slot: u32, place: Word, words: &[Word]) -> Result<()> {
        self.fresh_quads.clear();
        let count = words.len() as u32;
        if !self.is_declared_in(slot, count) {
            return (0..).zip(words).try_for_each(|(lane, value)| {
                let index = self.word_of_vector(place, count, lane)?;
                self.store_word(slot, index, *value)
            });
        }
        let ty = self.words_ty(count);
        let vector = self.inst(Op::CompositeConstruct, ty, words)?;
        let kind = if count == 2 { Access::StorePair } else { Access::StoreQuad };
        self.access(Accessor { holder: slot, kind }, place, &[vector]).map(drop)
    }

    /// The index of a word of two or four.
    fn word_of_vector(&mut self, place: Word, words: u32, lane: u32) -> Result<Word> {
        let word = self.ty(Type::I32);
        let (amount, lane) = (self.u32_constant(words.ilog2()), self.u32_constant(lane));
        let first = self.inst(Op::ShiftLeftLogical, word, &[place, amount])?;
        self.inst(Op::BitwiseOr, word, &[first, lane])
    }

    /// Forgets the four words loaded since there were `count`: they are not there behind the region that loaded them.
    pub(super) fn forget_quads(&mut self, count: usize) {
        for loaded in self.loaded_quads.drain(count..) {
            self.quads.remove(&loaded);
        }
    }

    /// Stores a byte or a 16-bit word of a buffer.
    pub(super) fn store_part(&mut self, slot: u32, bytes: u32, index: Word, value: Word) -> Result<()> {
        let Some(variable) = self.globals.parts.get(&(slot, bytes)).copied() else {
            return self.store_part_in_steps(slot, bytes, index, value);
        };
        let part = self.part_ty(bytes);
        let pointer_ty = self.pointer_ty(StorageClass::StorageBuffer, part);
        let member = self.u32_constant(0);
        let pointer = self.inst(Op::AccessChain, pointer_ty, &[variable, member, index])?;
        let value = self.inst(Op::UConvert, part, &[value])?;
        self.b.store(pointer, value, None, []).map_err(defect)
    }

    /// The same in two atomic steps, which clear the part's bits and set them.
    fn store_part_in_steps(&mut self, slot: u32, bytes: u32, index: Word, value: Word) -> Result<()> {
        let word = self.ty(Type::I32);
        let (per_word, bits) = (4 / bytes, 8 * bytes);
        let [to_word, inside, to_bits, ones] =
            [per_word.ilog2(), per_word - 1, bits.ilog2(), u32::MAX >> (32 - bits)].map(|n| self.u32_constant(n));
        let at = self.inst(Op::ShiftRightLogical, word, &[index, to_word])?;
        let inside = self.inst(Op::BitwiseAnd, word, &[index, inside])?;
        let amount = self.inst(Op::ShiftLeftLogical, word, &[inside, to_bits])?;
        let mask = self.inst(Op::ShiftLeftLogical, word, &[ones, amount])?;
        let kept = self.inst(Op::Not, word, &[mask])?;
        let value = self.inst(Op::BitwiseAnd, word, &[value, ones])?;
        let value = self.inst(Op::ShiftLeftLogical, word, &[value, amount])?;
        self.change_word(LowOp::AndWord { slot }, slot, at, kept)?;
        self.change_word(LowOp::OrWord { slot }, slot, at, value)
    }

    /// A word of the data segments.
    pub(super) fn load_data(&mut self, index: Word) -> Result<Word> {
        self.access(Accessor { holder: DATA, kind: Access::LoadWord }, index, &[])?.ok_or_else(no_result)
    }

    /// A word of two of the data segments, which are loaded once in a region and those below it.
    pub(super) fn load_data_lane(&mut self, args: &[Value], lane: u32) -> Result<Word> {
        let [pair] = self.operands(args)?;
        if self.usage.is_uniform(DATA) {
            let index = self.word_of_vector(pair, 2, lane)?;
            return self.load_data(index);
        }
        let vector = match self.quads.get(&(DATA, pair)) {
            Some(vector) => *vector,
            None => {
                let accessor = Accessor { holder: DATA, kind: Access::LoadPair };
                let vector = self.access(accessor, pair, &[])?.ok_or_else(no_result)?;
                self.quads.insert((DATA, pair), vector);
                self.loaded_quads.push((DATA, pair));
                vector
            }
        };
        let word = self.ty(Type::I32);
        self.inst_of(Op::CompositeExtract, word, vec![Operand::IdRef(vector), Operand::LiteralBit32(lane)])
    }

    /// Stores a word of a buffer.
    pub(super) fn store_word(&mut self, slot: u32, index: Word, value: Word) -> Result<()> {
        self.fresh_quads.clear();
        self.access_slot(Access::StoreWord, slot, index, &[value]).map(drop)
    }

    /// Clears (`AndWord`) or sets (`OrWord`) bits of a word of a buffer in one step.
    pub(super) fn change_word(&mut self, op: LowOp, slot: u32, index: Word, bits: Word) -> Result<()> {
        let kind = if matches!(op, LowOp::AndWord { .. }) { Access::AndWord } else { Access::OrWord };
        self.access_slot(kind, slot, index, &[bits]).map(drop)
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

fn no_result() -> Error {
    Error::Internal("a load has no result".to_string())
}
