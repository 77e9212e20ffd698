//! Accesses of bound memory: in place where it is one binding, through a function where it is several slices.
//!
//! A slice's size is a power of two, so the high bits of a word's index choose the slice and the low ones the word in it.
//! Each way to access each slot or pool is one function, whose branches return, so that no value has to meet another.

use rspirv::dr::Operand;
use rspirv::spirv::{FunctionControl, MemorySemantics, Op, Scope, SelectionControl, StorageClass, Word};

use super::interface::holder_name;
use super::{Emitter, defect};
use crate::error::{Error, Result};
use crate::ir::Type;

/// What is done with a word, or with four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    LoadWord,
    LoadQuad,
    StoreWord,
    AndWord,
    OrWord,
}

/// An access to a slot, linear memory or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Accessor {
    pub holder: u32,
    pub kind: Access,
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Access::LoadWord => "load",
            Access::LoadQuad => "load_quad",
            Access::StoreWord => "store",
            Access::AndWord => "and",
            Access::OrWord => "or",
        }
    }

    fn loads(self) -> bool {
        matches!(self, Access::LoadWord | Access::LoadQuad)
    }
}

impl Emitter<'_> {
    /// Accesses the element (word or four words) with this index. A load gives its result.
    pub(super) fn access(&mut self, accessor: Accessor, index: Word, value: Option<Word>) -> Result<Option<Word>> {
        match self.slices(accessor.holder)? {
            [variable] => self.access_in(accessor.kind, *variable, index, value),
            _ => {
                let fresh = self.b.id();
                let function = *self.accessors.entry(accessor).or_insert(fresh);
                let result = self.result_ty(accessor.kind);
                let arguments = [index].into_iter().chain(value);
                let id = self.b.function_call(result, None, function, arguments).map_err(defect)?;
                Ok(accessor.kind.loads().then_some(id))
            }
        }
    }

    fn slices(&self, holder: u32) -> Result<&[Word]> {
        let slices = self.globals.buffers.get(&holder).map(Vec::as_slice);
        slices.ok_or_else(|| Error::Internal(format!("{} was not declared", holder_name(holder))))
    }

    fn result_ty(&mut self, kind: Access) -> Word {
        match kind {
            Access::LoadWord => self.ty(Type::I32),
            Access::LoadQuad => self.words_ty(4),
            Access::StoreWord | Access::AndWord | Access::OrWord => self.b.type_void(),
        }
    }

    /// The access of one variable.
    fn access_in(&mut self, kind: Access, variable: Word, index: Word, value: Option<Word>) -> Result<Option<Word>> {
        let element = if kind == Access::LoadQuad { self.words_ty(4) } else { self.ty(Type::I32) };
        let pointer_ty = self.pointer_ty(StorageClass::StorageBuffer, element);
        let member = self.u32_constant(0);
        let pointer = self.inst(Op::AccessChain, pointer_ty, &[variable, member, index])?;
        let value = || value.ok_or_else(|| Error::Internal("a store has no value".to_string()));
        let atomic = match kind {
            Access::LoadWord | Access::LoadQuad => return self.inst(Op::Load, element, &[pointer]).map(Some),
            Access::StoreWord => {
                self.b.store(pointer, value()?, None, []).map_err(defect)?;
                return Ok(None);
            }
            Access::AndWord => Op::AtomicAnd,
            Access::OrWord => Op::AtomicOr,
        };
        let scope = self.u32_constant(Scope::Device as u32);
        let semantics = self.u32_constant(MemorySemantics::RELAXED.bits());
        let operands = [Operand::IdRef(pointer), Operand::IdScope(scope), Operand::IdMemorySemantics(semantics)];
        self.inst_of(atomic, element, operands.into_iter().chain([Operand::IdRef(value()?)]).collect())?;
        Ok(None)
    }

    /// The functions that the kernel called.
    pub(super) fn emit_accessors(&mut self) -> Result<()> {
        for (accessor, function) in std::mem::take(&mut self.accessors) {
            self.emit_accessor(accessor, function)?;
        }
        Ok(())
    }

    fn emit_accessor(&mut self, accessor: Accessor, function: Word) -> Result<()> {
        let Accessor { holder, kind } = accessor;
        let (word, bool_ty, result) = (self.ty(Type::I32), self.ty(Type::Bool), self.result_ty(kind));
        let has_value = !kind.loads();
        let ty = self.b.type_function(result, [word].into_iter().chain(has_value.then_some(word)));
        self.b.begin_function(result, Some(function), FunctionControl::NONE, ty).map_err(defect)?;
        self.b.name(function, format!("{}_{}", kind.name(), holder_name(holder)));
        let index = self.b.function_parameter(word).map_err(defect)?;
        let value = match has_value {
            true => Some(self.b.function_parameter(word).map_err(defect)?),
            false => None,
        };
        self.b.begin_block(None).map_err(defect)?;
        let element_bits = if kind == Access::LoadQuad { 4 } else { 2 };
        let bits = self.shape.layout.slice_bits - element_bits;
        let (amount, mask) = (self.u32_constant(bits), self.u32_constant((1 << bits) - 1));
        let slice = self.inst(Op::ShiftRightLogical, word, &[index, amount])?;
        let inside = self.inst(Op::BitwiseAnd, word, &[index, mask])?;
        let slices = self.slices(holder)?.to_vec();
        let (last, others) = slices.split_last().ok_or_else(|| Error::Internal("a slot has no slice".to_string()))?;
        for (number, variable) in (0..).zip(others) {
            let number = self.u32_constant(number);
            let here = self.inst(Op::IEqual, bool_ty, &[slice, number])?;
            let (arm, next) = (self.b.id(), self.b.id());
            self.b.selection_merge(next, SelectionControl::NONE).map_err(defect)?;
            self.b.branch_conditional(here, arm, next, []).map_err(defect)?;
            self.b.begin_block(Some(arm)).map_err(defect)?;
            self.emit_access_and_return(kind, *variable, inside, value)?;
            self.b.begin_block(Some(next)).map_err(defect)?;
        }
        self.emit_access_and_return(kind, *last, inside, value)?;
        self.b.end_function().map_err(defect)
    }

    fn emit_access_and_return(&mut self, kind: Access, variable: Word, index: Word, value: Option<Word>) -> Result<()> {
        match self.access_in(kind, variable, index, value)? {
            Some(loaded) => self.b.ret_value(loaded).map_err(defect),
            None => self.b.ret().map_err(defect),
        }
    }
}
