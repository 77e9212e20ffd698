//! The private stack: an array of words of each invocation.
//!
//! # Where it is declared
//! In the kernel, as a rule. LLVM 15, with which Mesa's software driver compiles, asks of each pair of instructions that use
//! an array whether a barrier lies between them (`AllocaUseVisitor::computeShouldLiveOnFrame` in its `CoroFrame.cpp`): 900
//! accesses are 11,000 such instructions, whose pairs take five seconds. The first pair of which it is true ends the search.
//! So where a stack has many accesses ([`Features::quadratic_arrays`](crate::Features::quadratic_arrays)) the array is declared
//! outside the kernel, and `main` ends with a barrier and, behind it, an access that never runs.

use rspirv::spirv::{LoopControl, MemorySemantics, Op, Scope, SelectionControl, StorageClass, Word};

use super::{Emitter, defect};
use crate::error::{Error, Result};
use crate::ir::{Function, Type};
use crate::options::{Profile, immediate};

/// Most words of a private stack that an initializer sets.
const INITIALIZED_WORDS: u32 = 64;
/// LLVM's instructions for an access at a place that is not known, of four invocations at once.
const USES_OF_ACCESS: usize = 12;
/// The same for a word that naga's initializer sets.
const USES_OF_WORD: usize = 2;
/// So many instructions that use an array are many: their pairs take a twentieth of a second, and the driver may unroll loops.
const MANY_USES: usize = 1200;

impl Emitter<'_> {
    /// Declares the arrays that lie outside their kernels. `main` writes to the trap record behind its barrier, so there must
    /// be one.
    pub(super) fn declare_outer_stacks(&mut self) {
        if !self.options.features.quadratic_arrays || !self.usage.traps {
            return;
        }
        for number in 0..self.functions.len() {
            let function = self.functions[number];
            if self.flows[number].stack_accesses > 0 && self.stack_uses(number) >= MANY_USES {
                let array = self.stack_ty(function);
                let pointer = self.pointer_ty(StorageClass::Private, array);
                let variable = self.b.variable(pointer, None, StorageClass::Private, None);
                self.globals.outer_stacks.insert(self.kernels[number], variable);
            }
        }
    }

    fn stack_uses(&self, number: usize) -> usize {
        let words = match self.options.profile {
            Profile::Vulkan => 0,
            Profile::Portable => self.functions[number].stack_words as usize,
        };
        USES_OF_ACCESS * self.flows[number].stack_accesses + USES_OF_WORD * words
    }

    fn stack_ty(&mut self, function: &Function) -> Word {
        let (word, length) = (self.ty(Type::I32), self.u32_constant(function.stack_words));
        self.b.type_array(word, length)
    }

    /// Declares what the kernel's first block must of an array of zeroes. Gives the variable that counts its words if they
    /// have yet to be set, by `clear_stack`: Mesa makes one store of each word of an initializer, so that compiling a large
    /// one takes seconds (naga gives every variable an initializer anyway), and one outside the kernel would be set once for
    /// several calls of the kernel.
    pub(super) fn declare_stack(&mut self) -> Option<Word> {
        let word = self.ty(Type::I32);
        let is_unset = match self.globals.outer_stacks.get(&self.kernel) {
            Some(variable) => {
                self.globals.stack = *variable;
                true
            }
            None => {
                let array = self.stack_ty(self.function);
                let pointer = self.pointer_ty(StorageClass::Function, array);
                let is_large = self.options.profile == Profile::Vulkan && self.function.stack_words > INITIALIZED_WORDS;
                let zeroes = (!is_large).then(|| self.b.constant_null(array));
                self.globals.stack = self.b.variable(pointer, None, StorageClass::Function, zeroes);
                is_large
            }
        };
        is_unset.then(|| {
            let pointer = self.pointer_ty(StorageClass::Function, word);
            let zero = self.u32_constant(0);
            self.b.variable(pointer, None, StorageClass::Function, Some(zero))
        })
    }

    /// Sets all words of the private stack to zero, in a loop that counts in a variable.
    pub(super) fn clear_stack(&mut self, counter: Word) -> Result<()> {
        let (word, truth) = (self.ty(Type::I32), self.b.type_bool());
        let [zero, one, words] = [0, 1, self.function.stack_words].map(|number| self.u32_constant(number));
        let (header, next, merge) = (self.b.id(), self.b.id(), self.b.id());
        self.b.branch(header).map_err(defect)?;
        self.b.begin_block(Some(header)).map_err(defect)?;
        let index = self.inst(Op::Load, word, &[counter])?;
        self.store_stack(index, zero)?;
        self.b.loop_merge(merge, next, LoopControl::NONE, []).map_err(defect)?;
        self.b.branch(next).map_err(defect)?;
        self.b.begin_block(Some(next)).map_err(defect)?;
        let after = self.inst(Op::IAdd, word, &[index, one])?;
        self.b.store(counter, after, None, []).map_err(defect)?;
        let is_more = self.inst(Op::ULessThan, truth, &[after, words])?;
        self.b.branch_conditional(is_more, header, merge, []).map_err(defect)?;
        self.b.begin_block(Some(merge)).map(drop).map_err(defect)
    }

    /// Where there are arrays outside the kernels, the barrier at the end of `main`, which all invocations of a group reach, and
    /// an access of each array behind it, which none runs: a dispatch has at most 2^31 invocations.
    pub(super) fn access_outer_stacks(&mut self, count: Word) -> Result<()> {
        if self.globals.outer_stacks.is_empty() {
            return Ok(());
        }
        let record = self.globals.trap_record;
        let record = record.ok_or_else(|| Error::Internal("there is no trap record to write to".to_string()))?;
        let (word, truth) = (self.ty(Type::I32), self.ty(Type::Bool));
        let [scope, semantics] = [
            Scope::Workgroup as u32,
            MemorySemantics::ACQUIRE_RELEASE.bits() | MemorySemantics::WORKGROUP_MEMORY.bits(),
        ]
        .map(|number| self.u32_constant(number));
        self.b.control_barrier(scope, scope, semantics).map_err(defect)?;
        let too_many = self.u32_constant(u32::MAX);
        let is_too_many = self.inst(Op::IEqual, truth, &[count, too_many])?;
        let (never, done) = (self.b.id(), self.b.id());
        self.b.selection_merge(done, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(is_too_many, never, done, []).map_err(defect)?;
        self.b.begin_block(Some(never)).map_err(defect)?;
        let place = self.load_immediate(immediate::TRAPS)?;
        let record = self.word_pointer(record, place)?;
        let [device, relaxed] =
            [Scope::Device as u32, MemorySemantics::RELAXED.bits()].map(|number| self.u32_constant(number));
        for variable in self.globals.outer_stacks.values().copied().collect::<Vec<_>>() {
            let pointer = self.pointer_ty(StorageClass::Private, word);
            let first = self.inst(Op::AccessChain, pointer, &[variable, place])?;
            let value = self.inst(Op::Load, word, &[first])?;
            self.b.atomic_u_min(word, None, record, device, relaxed, value).map_err(defect)?;
        }
        self.b.branch(done).map_err(defect)?;
        self.b.begin_block(Some(done)).map(drop).map_err(defect)
    }

    fn stack_pointer(&mut self, index: Word) -> Result<Word> {
        let word = self.ty(Type::I32);
        let is_outer = self.globals.outer_stacks.contains_key(&self.kernel);
        let class = if is_outer { StorageClass::Private } else { StorageClass::Function };
        let pointer = self.pointer_ty(class, word);
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
}
