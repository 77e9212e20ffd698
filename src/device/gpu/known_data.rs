//! What kernels take for granted of the data segments of their modules: that the words that they read are what they are in
//! a new instance, and that no invocation stores to them. A word of which that does not hold at a launch is read from memory
//! by all later launches of the kernel.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use wavelift_translator::{Input, LaunchState, Module, Shader};

use crate::device::GuestModule;
use crate::device::gpu::linear::CallerState;

/// So often a kernel is lifted anew because words changed; then it reads all from memory.
const MOST_CHANGES: u32 = 8;
/// So many words are looked at one by one for which of them may be stored to.
const MOST_TOLD_APART: usize = 64;

/// Words that were found changed, by module and function.
#[derive(Default)]
pub(crate) struct ChangedWords {
    kernels: Mutex<HashMap<(u64, u32), Changes>>,
}

struct Changes {
    module: Weak<GuestModule>,
    times: u32,
    words: Vec<u32>,
}

impl ChangedWords {
    /// The words that are not what they were, ascending; `None` where nothing is taken for granted any more.
    pub fn of(&self, module: &GuestModule, function: u32) -> Option<Vec<u32>> {
        match self.kernels.lock().get(&(module.id, function)) {
            None => Some(Vec::new()),
            Some(changes) => (changes.times < MOST_CHANGES).then(|| changes.words.clone()),
        }
    }

    /// Notes words.
    pub fn note(&self, module: &Arc<GuestModule>, function: u32, words: &[u32]) {
        let mut kernels = self.kernels.lock();
        kernels.retain(|_, changes| changes.module.strong_count() > 0);
        let fresh = || Changes { module: Arc::downgrade(module), times: 0, words: Vec::new() };
        let changes = kernels.entry((module.id, function)).or_insert_with(fresh);
        changes.times += 1;
        changes.words.extend(words);
        changes.words.sort_unstable();
        changes.words.dedup();
    }
}

/// Neighbouring words, and what they are in a new instance.
struct Run {
    start: u32,
    bytes: Vec<u8>,
}

/// The words that a shader takes for granted.
#[derive(Default)]
pub(crate) struct KnownData {
    runs: Vec<Run>,
}

impl KnownData {
    /// Those of this shader.
    pub fn new(shader: &Shader, module: &Module) -> KnownData {
        let mut runs: Vec<Run> = Vec::new();
        for word in shader.relies_on.iter() {
            let bytes = module.initial_word(*word).to_le_bytes();
            match runs.last_mut().filter(|run| u64::from(run.start) + run.bytes.len() as u64 == u64::from(*word)) {
                Some(run) => run.bytes.extend(bytes),
                None => runs.push(Run { start: *word, bytes: bytes.into() }),
            }
        }
        KnownData { runs }
    }

    /// The addresses of words that are not so at this launch, or that the launch may change, as far as anyone knows.
    pub fn in_doubt(
        &self,
        shader: &Shader,
        state: &mut CallerState<'_>,
        inputs: &[(Input, u32)],
        known: &LaunchState<'_>,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        for run in &self.runs {
            let now = state.memory_bytes(run.start, run.bytes.len()).unwrap_or_default();
            let words = (run.start..)
                .step_by(4)
                .zip(run.bytes.chunks(4).zip(now.chunks(4).map(Some).chain(std::iter::repeat(None))));
            found.extend(words.filter(|(_, (then, now))| *now != Some(*then)).map(|(word, _)| word));
        }
        let on_stack = own_stack(shader, inputs);
        found.extend(shader.relies_on.iter().filter(|word| on_stack(**word)));
        found.extend(stored(shader, known));
        found
    }
}

/// Whether a word lies on the private stack that invocations of a launch with these inputs have.
pub(super) fn own_stack(shader: &Shader, inputs: &[(Input, u32)]) -> impl Fn(u32) -> bool {
    let stack = inputs.iter().find(|(input, _)| matches!(input, Input::StackPointer(_))).map_or(0, |(_, word)| *word);
    let lowest = stack.saturating_sub(shader.stack_bytes);
    move |word| word < stack && word.saturating_add(4) > lowest
}

/// Of the words that a shader takes for granted those that invocations may store to.
fn stored(shader: &Shader, known: &LaunchState<'_>) -> Vec<u32> {
    let words = &*shader.relies_on;
    match &shader.linear {
        Some(linear) if !linear.spares(known, words) => {
            let is_stored = |word: &u32| words.len() > MOST_TOLD_APART || !linear.spares(known, &[*word]);
            words.iter().copied().filter(is_stored).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_again_and_again_is_not_taken_for_granted() {
        let wasm = Module::parse(wat::parse_str("(module)").unwrap()).unwrap();
        let module = Arc::new(GuestModule { id: 1, wasm });
        let changed = ChangedWords::default();
        assert_eq!(changed.of(&module, 3), Some(Vec::new()));
        changed.note(&module, 3, &[16, 8]);
        changed.note(&module, 3, &[12, 8]);
        assert_eq!(changed.of(&module, 3), Some(vec![8, 12, 16]));
        assert_eq!(changed.of(&module, 4), Some(Vec::new()));
        (2..MOST_CHANGES).for_each(|word| changed.note(&module, 3, &[64 + 4 * word]));
        assert_eq!(changed.of(&module, 3), None);
        // A module that is gone leaves nothing behind.
        drop(module);
        let other = Arc::new(GuestModule { id: 2, wasm: Module::parse(wat::parse_str("(module)").unwrap()).unwrap() });
        changed.note(&other, 0, &[4]);
        assert_eq!(changed.kernels.lock().len(), 1);
    }
}
