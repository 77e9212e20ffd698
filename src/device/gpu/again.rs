//! Launches that equal one before in all that they depend on: they are recorded once more, and nothing is looked up, checked
//! or bound anew.

use std::sync::{Arc, Weak};

use wavelift_translator::Input;

use crate::device::gpu::context::GpuContext;
use crate::device::gpu::launch::Ready;
use crate::device::gpu::variant::Lifted;
use crate::device::{BufferId, BufferSpec, GuestModule, Launch, LaunchError, Launched};

/// All that a launch depends on whose kernel reads nothing of its caller's state.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct LaunchKey {
    module: u64,
    function: u32,
    iterations: u32,
    block_size: u32,
    pub buffers: Vec<BufferSpec>,
}

/// A word of a buffer to which no kernel may store, that the form of a launch's kernel depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub buffer: BufferSpec,
    pub index: u32,
    pub word: u32,
}

/// By what a launch is known.
#[derive(Clone)]
pub(super) struct Identity {
    key: LaunchKey,
    module: Weak<GuestModule>,
    parameters: Vec<Parameter>,
}

/// What such a launch came to.
pub(super) struct Known {
    pub ready: Ready,
    /// Buffers that it may store to.
    pub written: Vec<BufferId>,
    /// Of which the pipeline is.
    module: Weak<GuestModule>,
    parameters: Vec<Parameter>,
}

/// So many launches are kept before those are dropped whose modules are gone.
const BETWEEN_PURGES: usize = 64;

impl LaunchKey {
    fn new(launch: &Launch) -> LaunchKey {
        let Launch { ref module, function, iterations, block_size, ref buffers } = *launch;
        LaunchKey { module: module.id, function, iterations, block_size, buffers: buffers.clone() }
    }
}

impl Identity {
    /// That of a launch, if every launch that has it takes this form of its kernel with these arguments.
    pub fn of(launch: &Launch, lifted: &Lifted) -> Option<Identity> {
        let (module, wasm) = (&launch.module, &launch.module.wasm);
        let reads_state = !wasm.tables_reached(launch.function).is_empty()
            || !wasm.droppable_reached(launch.function).is_empty()
            || lifted.asked
            || lifted.window.is_some()
            || lifted.kernel.interface().inputs.iter().any(|input| *input != Input::Rounds);
        // One that assumes something may have to be undone.
        (!reads_state && !lifted.kernel.assumed().any()).then(|| Identity {
            key: LaunchKey::new(launch),
            module: Arc::downgrade(module),
            parameters: lifted.parameters.clone(),
        })
    }
}

impl GpuContext {
    /// Records a launch that was recorded before, if it is known and there is room for it.
    pub(super) fn launch_again(&mut self, launch: &Launch) -> Result<Option<Launched>, LaunchError> {
        let connection = self.connection()?;
        let Some(known) = self.known.get(&LaunchKey::new(launch)) else { return Ok(None) };
        let Known { ready, written, parameters, .. } = &*known;
        let is_same = |p: &Parameter| self.host_copies.parameter(&p.buffer, p.index) == Some(p.word);
        if !parameters.iter().all(is_same) {
            return Ok(None);
        }
        if !ready.keeps_size(&self.shared.groups()) {
            return Ok(None);
        }
        let budget = ready.budget();
        let full = self.scratch.as_ref().is_none_or(|scratch| self.batch.is_full(scratch, ready.sites()));
        if full || ready.invocations > budget {
            return Ok(None);
        }
        self.host_copies.drop_written(written.iter().copied());
        self.record_deferred(&connection, ready, budget)?;
        Ok(Some(Launched::Deferred))
    }

    /// Keeps a launch for those that equal it, as long as there is its module.
    pub(super) fn keep_launch(&mut self, identity: Identity, ready: Ready, written: Vec<BufferId>) {
        let Identity { key, module, parameters } = identity;
        if self.known.len().is_multiple_of(BETWEEN_PURGES) {
            self.known.retain(|_, known| known.module.strong_count() > 0);
        }
        self.known.insert(key, Arc::new(Known { ready, written, module, parameters }));
    }
}
