//! What the host sees: buffers, immediates, the trap record.

use std::collections::BTreeMap;

use rspirv::dr::Operand;
use rspirv::spirv::{BuiltIn, Capability, Decoration, Op, StorageClass, Word};

use super::Emitter;
use super::usage::{Holder, Usage};
use crate::error::Result;
use crate::ir::Type;
use crate::layout::{DATA, PARAMETERS, POOL_READ, POOL_WRITTEN};
use crate::options::{Binding, Interface, LINEAR, Profile, Shape, TRAP_BINDING, immediate};
use crate::passes::coarsen::LANES;

/// Ids of the module's global variables.
#[derive(Default)]
pub(super) struct Globals {
    /// The slices of each slot, linear memory and pool.
    pub buffers: BTreeMap<u32, Vec<Word>>,
    /// The slices of those of which two words are accessed atomically at once, as arrays of 64-bit integers.
    pub doubles: BTreeMap<u32, Vec<Word>>,
    /// The same slots as arrays of parts of words, by slot and bytes of a part.
    pub parts: BTreeMap<(u32, u32), Word>,
    /// The buffer of arguments, if there is one.
    parameters: Option<Word>,
    /// The immediates, and the number of words declared.
    immediates: Word,
    immediate_words: u32,
    /// Values of the immediates that the kernel's first block loaded, by word.
    pub loaded: BTreeMap<u32, Word>,
    /// The word of the immediates that has the first of the inputs.
    pub first_input: u32,
    /// The private stack of the function that is being emitted, where it has one.
    pub stack: Word,
    /// The stacks that are declared outside the functions whose they are, by those.
    pub outer_stacks: BTreeMap<Word, Word>,
    /// The trap record; declared only where there is a trap.
    pub trap_record: Option<Word>,
    pub invocation_id: Word,
}

impl Emitter<'_> {
    /// Declares the global variables.
    pub(super) fn declare_interface(&mut self, shape: &Shape) {
        debug_assert!(self.usage.slots.keys().all(|slot| *slot < shape.slots() || *slot == LINEAR));
        self.globals.first_input = immediate::SLOTS + 2 * shape.slots();
        self.b.capability(Capability::Shader);
        self.declare_immediates();
        if self.usage.traps {
            let block = self.buffer_block(1);
            let id = self.declare_buffer(TRAP_BINDING, true, block, false);
            self.b.name(id, "trap_record");
            self.globals.trap_record = Some(id);
        }
        self.declare_buffers(shape);
        let vector = self.words_ty(3);
        let pointer = self.pointer_ty(StorageClass::Input, vector);
        let id = self.b.variable(pointer, None, StorageClass::Input, None);
        self.b.decorate(id, Decoration::BuiltIn, [Operand::BuiltIn(BuiltIn::GlobalInvocationId)]);
        self.globals.invocation_id = id;
    }

    fn declare_buffers(&mut self, shape: &Shape) {
        let usage = self.usage;
        for binding in bindings(usage, shape) {
            if binding.slot == PARAMETERS {
                let block = self.buffer_block(1);
                let id = self.declare_buffer(binding.binding, false, block, false);
                self.b.name(id, "parameters");
                self.globals.parameters = Some(id);
                continue;
            }
            let holder = usage.holders[&binding.slot];
            let parts: Vec<u32> = [1, 2].into_iter().filter(|b| usage.parts.contains(&(binding.slot, *b))).collect();
            let aliased = !parts.is_empty() || holder.doubles;
            for bytes in parts {
                let id = self.declare_view(&binding, bytes);
                self.globals.parts.insert((binding.slot, bytes), id);
            }
            if holder.doubles {
                let id = self.declare_view(&binding, 8);
                self.globals.doubles.entry(binding.slot).or_default().push(id);
            }
            let id = if binding.uniform {
                self.declare_uniform(binding.binding)
            } else {
                let block = self.buffer_block(1 << holder.element_bits);
                self.declare_buffer(binding.binding, binding.writable, block, aliased)
            };
            let stepwise = (holder.atomic || aliased) && self.options.profile == Profile::Vulkan;
            if stepwise || holder.reloaded && self.options.features.moves_loads {
                // What an atomic step changed, or any store where the driver is careless, must be seen by the plain loads
                // behind it.
                self.b.decorate(id, Decoration::Coherent, []);
            }
            let mut name = holder_name(binding.slot);
            if holder.slices > 1 {
                name = format!("{name}_slice_{}", binding.slice);
            }
            self.b.name(id, name);
            self.globals.buffers.entry(binding.slot).or_default().push(id);
        }
    }

    /// A second variable for what is bound, as integers of so many bytes. What one variable stores must be seen through the
    /// other.
    fn declare_view(&mut self, binding: &Binding, bytes: u32) -> Word {
        let block = self.part_block(bytes);
        let id = self.declare_buffer(binding.binding, binding.writable, block, true);
        self.b.decorate(id, Decoration::Coherent, []);
        self.b.name(id, format!("{}_by_{}", holder_name(binding.slot), 8 * bytes));
        id
    }

    /// The immediates up to the last word that is used (`main` uses the first ones): one member a word, which every writer
    /// of naga's can name.
    fn declare_immediates(&mut self) {
        let mut last = if self.usage.traps { immediate::TRAPS } else { immediate::COUNT };
        if !self.shape.layout.parameters {
            last = last.max(self.usage.immediates.last().copied().unwrap_or(0));
        }
        let word = self.ty(Type::I32);
        let block = self.b.type_struct((0..=last).map(|_| word));
        self.b.decorate(block, Decoration::Block, []);
        for member in 0..=last {
            self.b.member_decorate(block, member, Decoration::Offset, [Operand::LiteralBit32(4 * member)]);
        }
        let pointer = self.pointer_ty(StorageClass::PushConstant, block);
        let id = self.b.variable(pointer, None, StorageClass::PushConstant, None);
        self.b.name(id, "immediates");
        self.globals.immediates = id;
        self.globals.immediate_words = last + 1;
    }

    fn declare_buffer(&mut self, binding: u32, writable: bool, block: Word, aliased: bool) -> Word {
        let pointer = self.pointer_ty(StorageClass::StorageBuffer, block);
        let id = self.b.variable(pointer, None, StorageClass::StorageBuffer, None);
        self.b.decorate(id, Decoration::DescriptorSet, [Operand::LiteralBit32(0)]);
        self.b.decorate(id, Decoration::Binding, [Operand::LiteralBit32(binding)]);
        if !writable {
            self.b.decorate(id, Decoration::NonWritable, []);
        }
        if self.options.profile == Profile::Vulkan {
            // Slots are distinct buffers, slices don't overlap, a pool is one variable for all slots in it; and naga does
            // not know the decoration.
            let decoration = if aliased { Decoration::Aliased } else { Decoration::Restrict };
            self.b.decorate(id, decoration, []);
        }
        id
    }

    /// The data segments' words as a uniform buffer, whose arrays have elements of 16 bytes.
    fn declare_uniform(&mut self, binding: u32) -> Word {
        let block = self.uniform_block(self.function.data.len().div_ceil(4) as u32);
        let pointer = self.pointer_ty(StorageClass::Uniform, block);
        let id = self.b.variable(pointer, None, StorageClass::Uniform, None);
        self.b.decorate(id, Decoration::DescriptorSet, [Operand::LiteralBit32(0)]);
        self.b.decorate(id, Decoration::Binding, [Operand::LiteralBit32(binding)]);
        id
    }

    /// Loads a word of the immediates in the current block.
    pub(super) fn load_immediate(&mut self, word: u32) -> Result<Word> {
        let ty = self.ty(Type::I32);
        if let Some(parameters) = self.globals.parameters.filter(|_| word > immediate::TRAPS) {
            let index = self.u32_constant(word);
            let pointer = self.word_pointer(parameters, index)?;
            return self.inst(Op::Load, ty, &[pointer]);
        }
        let pointer_ty = self.pointer_ty(StorageClass::PushConstant, ty);
        let index = self.u32_constant(word);
        let pointer = self.inst(Op::AccessChain, pointer_ty, &[self.globals.immediates, index])?;
        self.inst(Op::Load, ty, &[pointer])
    }

    /// What the host binds and sets.
    pub(super) fn interface(&self, shape: &Shape) -> Interface {
        Interface {
            workgroup_size: self.options.workgroup_size,
            lanes: if self.is_coarse() { LANES } else { 1 },
            bindings: bindings(self.usage, shape),
            immediates_size: 4 * self.globals.immediate_words,
            parameters_size: parameter_words(self.usage, shape) * 4,
            data: if self.usage.holders.contains_key(&DATA) { self.function.data.clone() } else { [].into() },
            trap_sites: self.trap_sites.clone(),
            inputs: self.usage.inputs.iter().copied().collect(),
            layout: shape.layout.clone(),
        }
    }
}

/// Words of the buffer of arguments; 0 where there is none.
fn parameter_words(usage: &Usage, shape: &Shape) -> u32 {
    match usage.immediates.last() {
        Some(&last) if shape.layout.parameters && last > immediate::TRAPS => last + 1,
        _ => 0,
    }
}

/// All bindings but the trap record's, by number.
fn bindings(usage: &Usage, shape: &Shape) -> Vec<Binding> {
    let mut bindings = Vec::new();
    let mut further = binding_of(DATA, shape) + 1;
    for (&slot, &Holder { writable, slices, uniform, .. }) in &usage.holders {
        bindings.push(Binding { binding: binding_of(slot, shape), slot, slice: 0, writable, uniform });
        for slice in 1..slices {
            bindings.push(Binding { binding: further, slot, slice, writable, uniform });
            further += 1;
        }
    }
    if parameter_words(usage, shape) > 0 {
        let binding = binding_of(PARAMETERS, shape);
        bindings.push(Binding { binding, slot: PARAMETERS, slice: 0, writable: false, uniform: false });
    }
    bindings.sort_by_key(|binding| binding.binding);
    bindings
}

/// The number of a first slice.
fn binding_of(holder: u32, shape: &Shape) -> u32 {
    let last = shape.slots();
    match holder {
        LINEAR => last + 1,
        POOL_READ => last + 2,
        POOL_WRITTEN => last + 3,
        PARAMETERS => last + 4,
        DATA => last + 5,
        slot => slot + 1,
    }
}

/// The name of a slot, linear memory, a pool or the data.
pub(super) fn holder_name(holder: u32) -> String {
    match holder {
        LINEAR => "linear_memory".to_string(),
        POOL_READ => "pool_read".to_string(),
        POOL_WRITTEN => "pool_written".to_string(),
        DATA => "data".to_string(),
        slot => format!("buffer_{slot}"),
    }
}
