//! Checks of an [`Answer`] that was kept somewhere: whether a host that relies on it can stumble.
//!
//! That the words mean what the kernel means nobody can see; who keeps answers must keep them whole.

use crate::layout::{DATA, PARAMETERS, POOL_READ, POOL_WRITTEN};
use crate::options::{Input, LINEAR};
use crate::passes::coarsen::LANES;
use crate::{Answer, Interface, Module, Options, Shader, Shape, Share, Source};

/// The first word of every SPIR-V module.
const SPIRV_MAGIC: u32 = 0x0723_0203;

impl Answer {
    /// Whether it may be the answer for this kernel, shape and these options: all that it names is there.
    pub fn suits(&self, module: &Module, shape: &Shape, options: &Options) -> bool {
        match self {
            Answer::Shader(shader) => shader.suits(module, shape, options),
            Answer::Pointers(sources) => {
                let mut known = 0..;
                !sources.is_empty() && sources.iter().all(|source| is_readable(*source, &mut known, module, shape))
            }
            // Asked for again, they would be asked for for ever.
            Answer::Words(words) => {
                !words.is_empty()
                    && words.is_sorted_by(|a, b| a < b)
                    && words.iter().any(|address| shape.environment.word(*address).is_none())
            }
        }
    }
}

/// Whether a pointer is counted from one that stands before it.
fn is_readable(source: Source, known: &mut std::ops::RangeFrom<u32>, module: &Module, shape: &Shape) -> bool {
    use crate::pointers::Base;
    let number = known.next().unwrap_or(u32::MAX);
    match source {
        Source::Global(global) => (global as usize) < module.globals().len(),
        Source::Loaded { from: Base::Number, .. } => true,
        Source::Loaded { from: Base::Buffer(slot), .. } => slot < shape.slots(),
        Source::Loaded { from: Base::Pointer(parent), .. } => parent < number,
    }
}

impl Shader {
    fn suits(&self, module: &Module, shape: &Shape, options: &Options) -> bool {
        self.words.first() == Some(&SPIRV_MAGIC)
            && self.launch_checks.is_sound()
            && (self.launch_checks.is_empty() || options.checks_proved.is_empty())
            && self.rounds.as_ref().is_none_or(|rounds| rounds.is_sound() && !options.flatten)
            && self.linear.as_ref().is_none_or(|linear| linear.is_sound())
            && self.accesses <= options.max_accesses
            && self.stack_bytes <= options.max_stack
            && self.relies_on.is_sorted_by(|a, b| a < b)
            && (self.relies_on.is_empty() || shape.environment.initial.is_some())
            && (options.share == Share::Auto || self.share == options.share)
            && self.interface.suits(module, shape, options)
    }
}

impl Interface {
    fn suits(&self, module: &Module, shape: &Shape, options: &Options) -> bool {
        let has_slot =
            |slot: u32| slot < shape.slots() || [LINEAR, DATA, PARAMETERS, POOL_READ, POOL_WRITTEN].contains(&slot);
        let globals = module.globals().len();
        let is_global = |global: u32| (global as usize) < globals;
        let has_input = |input: &Input| match *input {
            Input::MemorySize | Input::WindowStart => true,
            Input::StackPointer(global) | Input::Global(global) | Input::GlobalHigh(global) => is_global(global),
            Input::GlobalWord { global, word } => is_global(global) && word < 4,
            Input::Pointer { number, .. } => (number as usize) < shape.pointers.len(),
            Input::Rounds => options.flatten,
        };
        let lanes = if options.coarsen { self.lanes == 1 || self.lanes == LANES } else { self.lanes == 1 };
        lanes
            && self.workgroup_size == options.workgroup_size
            && self.layout == shape.layout
            && self.immediates_size.is_multiple_of(4)
            && self.parameters_size.is_multiple_of(4)
            && self.bindings.is_sorted_by(|a, b| a.binding < b.binding)
            && self.bindings.iter().all(|binding| has_slot(binding.slot))
            && self.inputs.iter().all(has_input)
            && self.trap_sites.iter().all(|site| module.function_type(site.at.function).is_some())
    }
}
