//! Accesses of bound memory: in place where it is one binding, through a function where it is several slices.
//!
//! A slice's size is a power of two, so the high bits of a word's index choose the slice and the low ones the word in it.
//! Each way to access each slot or pool is one function, whose branches return, so that no value has to meet another.

use rspirv::spirv::{FunctionControl, MemorySemantics, Op, SelectionControl, StorageClass, Word};

use super::atomic::ordered;
use super::interface::holder_name;
use super::{Emitter, defect};
use crate::error::{Error, Result};
use crate::ir::{AtomicOp, Type};

/// What is done with a word, or with two or four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    LoadWord,
    LoadPair,
    LoadQuad,
    StoreWord,
    StorePair,
    StoreQuad,
    /// Clears bits; nothing is ordered by it.
    AndWord,
    /// Sets bits; nothing is ordered by it.
    OrWord,
    /// An atomic access of the kernel's own.
    Atomic(AtomicOp),
    /// One of two words; the index is that of the first.
    AtomicDouble(AtomicOp),
}

/// An access to a slot, linear memory or a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Accessor {
    pub holder: u32,
    pub kind: Access,
}

impl Access {
    fn name(self) -> String {
        match self {
            Access::LoadWord => "load".to_string(),
            Access::LoadPair => "load_pair".to_string(),
            Access::LoadQuad => "load_quad".to_string(),
            Access::StoreWord => "store".to_string(),
            Access::StorePair => "store_pair".to_string(),
            Access::StoreQuad => "store_quad".to_string(),
            Access::AndWord => "and".to_string(),
            Access::OrWord => "or".to_string(),
            Access::Atomic(op) => format!("atomic_{}", op.name()),
            Access::AtomicDouble(op) => format!("atomic_{}_64", op.name()),
        }
    }

    /// The number of words accessed at once as a vector; 1 for a word, or two as one integer.
    fn lanes(self) -> u32 {
        match self {
            Access::LoadQuad | Access::StoreQuad => 4,
            Access::LoadPair | Access::StorePair => 2,
            _ => 1,
        }
    }

    fn has_result(self) -> bool {
        match self {
            Access::LoadWord | Access::LoadPair | Access::LoadQuad => true,
            Access::StoreWord | Access::StorePair | Access::StoreQuad | Access::AndWord | Access::OrWord => false,
            Access::Atomic(op) | Access::AtomicDouble(op) => op.has_result(),
        }
    }

    /// Number of operands behind the index, all of the element's type.
    fn operands(self) -> usize {
        match self {
            Access::LoadWord | Access::LoadPair | Access::LoadQuad => 0,
            Access::StoreWord | Access::StorePair | Access::StoreQuad | Access::AndWord | Access::OrWord => 1,
            Access::Atomic(op) | Access::AtomicDouble(op) => op.operands(),
        }
    }
}

impl Emitter<'_> {
    /// Accesses the element (word, two or four words, or two by their first) with this index. A load gives its result.
    pub(super) fn access(&mut self, accessor: Accessor, index: Word, operands: &[Word]) -> Result<Option<Word>> {
        let accessor = Accessor { kind: self.plain_where_nothing_is_stored(accessor), ..accessor };
        match self.slices(accessor)? {
            [variable] => self.access_in(accessor, *variable, index, operands),
            _ => {
                let fresh = self.b.id();
                let function = *self.accessors.entry(accessor).or_insert(fresh);
                let result = self.result_ty(accessor.kind);
                let arguments = [index].into_iter().chain(operands.iter().copied());
                let id = self.b.function_call(result, None, function, arguments).map_err(defect)?;
                Ok(accessor.kind.has_result().then_some(id))
            }
        }
    }

    /// An atomic load of what the kernel does not store to is a load: naga takes no other of a binding that is only read.
    fn plain_where_nothing_is_stored(&self, accessor: Accessor) -> Access {
        let stored = self.usage.holders.get(&accessor.holder).is_some_and(|holder| holder.writable);
        match accessor.kind {
            Access::Atomic(AtomicOp::Load) if !stored => Access::LoadWord,
            kind => kind,
        }
    }

    fn slices(&self, Accessor { holder, kind }: Accessor) -> Result<&[Word]> {
        let declared = match kind {
            Access::AtomicDouble(_) => &self.globals.doubles,
            _ => &self.globals.buffers,
        };
        let slices = declared.get(&holder).map(Vec::as_slice);
        slices.ok_or_else(|| Error::Internal(format!("{} was not declared", holder_name(holder))))
    }

    fn result_ty(&mut self, kind: Access) -> Word {
        if kind.has_result() { self.element_ty(kind) } else { self.b.type_void() }
    }

    fn element_ty(&mut self, kind: Access) -> Word {
        match kind {
            Access::AtomicDouble(_) => self.ty(Type::I64),
            _ if kind.lanes() > 1 => self.words_ty(kind.lanes()),
            _ => self.ty(Type::I32),
        }
    }

    /// The access of one variable.
    fn access_in(
        &mut self,
        accessor: Accessor,
        variable: Word,
        index: Word,
        operands: &[Word],
    ) -> Result<Option<Word>> {
        let kind = accessor.kind;
        let element = self.element_ty(kind);
        let class =
            if self.usage.is_uniform(accessor.holder) { StorageClass::Uniform } else { StorageClass::StorageBuffer };
        let pointer_ty = self.pointer_ty(class, element);
        let mut indices = vec![variable, self.u32_constant(0)];
        indices.extend(self.element_indices(accessor, index)?);
        let pointer = self.inst(Op::AccessChain, pointer_ty, &indices)?;
        match (kind, operands) {
            (Access::LoadWord | Access::LoadPair | Access::LoadQuad, []) => {
                self.inst(Op::Load, element, &[pointer]).map(Some)
            }
            (Access::StoreWord | Access::StorePair | Access::StoreQuad, [value]) => {
                self.b.store(pointer, *value, None, []).map_err(defect)?;
                Ok(None)
            }
            (Access::AndWord | Access::OrWord, [_]) => {
                let op = if kind == Access::AndWord { AtomicOp::And } else { AtomicOp::Or };
                self.atomic_in(op, element, pointer, MemorySemantics::RELAXED, operands)?;
                Ok(None)
            }
            (Access::Atomic(op) | Access::AtomicDouble(op), _) if operands.len() == op.operands() => {
                // Where no invocation can tell in which order others do things, there is none to keep.
                let order = if self.usage.observes { ordered(op) } else { MemorySemantics::RELAXED };
                self.atomic_in(op, element, pointer, order, operands)
            }
            _ => Err(Error::Internal(format!("{kind:?} has {} operands", operands.len()))),
        }
    }

    /// Where an element lies in its array: a word of what is declared as vectors is a component of one.
    fn element_indices(&mut self, Accessor { holder, kind }: Accessor, index: Word) -> Result<Vec<Word>> {
        let word = self.ty(Type::I32);
        let bits = self.usage.holders.get(&holder).map_or(0, |holder| holder.element_bits);
        match kind {
            Access::AtomicDouble(_) => {
                let one = self.u32_constant(1);
                Ok(vec![self.inst(Op::ShiftRightLogical, word, &[index, one])?])
            }
            Access::LoadWord | Access::StoreWord if bits > 0 => {
                let (amount, mask) = (self.u32_constant(bits), self.u32_constant((1 << bits) - 1));
                let vector = self.inst(Op::ShiftRightLogical, word, &[index, amount])?;
                Ok(vec![vector, self.inst(Op::BitwiseAnd, word, &[index, mask])?])
            }
            _ => Ok(vec![index]),
        }
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
        let operand_ty = self.element_ty(kind);
        let params = [word].into_iter().chain(std::iter::repeat_n(operand_ty, kind.operands()));
        let ty = self.b.type_function(result, params);
        self.b.begin_function(result, Some(function), FunctionControl::NONE, ty).map_err(defect)?;
        self.b.name(function, format!("{}_{}", kind.name(), holder_name(holder)));
        let index = self.b.function_parameter(word).map_err(defect)?;
        let operands = (0..kind.operands()).map(|_| self.b.function_parameter(operand_ty).map_err(defect));
        let operands = operands.collect::<Result<Vec<_>>>()?;
        self.b.begin_block(None).map_err(defect)?;
        let bits = self.shape.layout.slice_bits - (4 * kind.lanes()).ilog2();
        let (amount, mask) = (self.u32_constant(bits), self.u32_constant((1 << bits) - 1));
        let slice = self.inst(Op::ShiftRightLogical, word, &[index, amount])?;
        let inside = self.inst(Op::BitwiseAnd, word, &[index, mask])?;
        let slices = self.slices(accessor)?.to_vec();
        let (last, others) = slices.split_last().ok_or_else(|| Error::Internal("a slot has no slice".to_string()))?;
        for (number, variable) in (0..).zip(others) {
            let number = self.u32_constant(number);
            let here = self.inst(Op::IEqual, bool_ty, &[slice, number])?;
            let (arm, next) = (self.b.id(), self.b.id());
            self.b.selection_merge(next, SelectionControl::NONE).map_err(defect)?;
            self.b.branch_conditional(here, arm, next, []).map_err(defect)?;
            self.b.begin_block(Some(arm)).map_err(defect)?;
            self.emit_access_and_return(accessor, *variable, inside, &operands)?;
            self.b.begin_block(Some(next)).map_err(defect)?;
        }
        self.emit_access_and_return(accessor, *last, inside, &operands)?;
        self.b.end_function().map_err(defect)
    }

    fn emit_access_and_return(
        &mut self,
        accessor: Accessor,
        variable: Word,
        index: Word,
        operands: &[Word],
    ) -> Result<()> {
        match self.access_in(accessor, variable, index, operands)? {
            Some(loaded) => self.b.ret_value(loaded).map_err(defect),
            None => self.b.ret().map_err(defect),
        }
    }
}
