//! The words of a launch's immediates (push constants), where the shader reads them.

use wavelift_translator::{Interface, immediate};

use crate::device::gpu::launch::Arguments;
use crate::device::gpu::layout::Pooled;
use crate::device::{BufferSpec, Launch};

/// All immediates of a launch, apart from those of a single dispatch.
pub(super) fn all_immediates(launch: &Launch, slots: &[BufferSpec]) -> Vec<u32> {
    let words = immediate::SLOTS as usize + 2 * slots.len();
    fill(vec![0; words], launch.iterations, launch.block_size, slots)
}

/// The arguments as the shader declares them: those of the immediates, or those of the buffer that has the same words and
/// more.
pub(super) fn immediates(
    interface: &Interface,
    arguments: &Arguments<'_>,
    slots: &[BufferSpec],
    places: &[Pooled],
) -> Vec<u32> {
    let size = interface.immediates_size.max(interface.parameters_size);
    let mut words = fill(vec![0; (size / 4) as usize], arguments.iterations, arguments.block_size, slots);
    let starts = places.iter().map(|place| (place.start / 4) as u32);
    let behind = arguments.inputs.iter().copied().chain(starts);
    for (word, value) in (immediate::SLOTS + 2 * slots.len() as u32..).zip(behind) {
        set_word(&mut words, word, value);
    }
    words
}

fn fill(mut words: Vec<u32>, iterations: u32, block_size: u32, slots: &[BufferSpec]) -> Vec<u32> {
    set_word(&mut words, immediate::ITERATIONS, iterations);
    set_word(&mut words, immediate::BLOCK_SIZE, block_size);
    set_word(&mut words, immediate::ZERO, 0);
    for (slot, spec) in (0..).zip(slots) {
        set_word(&mut words, immediate::SLOTS + 2 * slot, spec.address);
        set_word(&mut words, immediate::SLOTS + 2 * slot + 1, spec.size);
    }
    words
}

/// Sets a word that the shader declares; one that it does not is left out.
pub(super) fn set_word(words: &mut [u32], index: u32, value: u32) {
    if let Some(word) = words.get_mut(index as usize) {
        *word = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Access, BufferId};
    use wavelift_translator::layout::POOL_READ;
    use wavelift_translator::{Input, Layout};

    fn spec(id: u64, address: u32) -> BufferSpec {
        BufferSpec { id: BufferId(id), address, size: 12, access: Access::ReadWrite }
    }

    fn arguments(inputs: &[u32]) -> Arguments<'_> {
        let mut arguments = Arguments::plain(100, 8, &[]);
        arguments.inputs = inputs;
        arguments
    }

    #[test]
    fn immediates_stand_where_the_shader_reads_them() {
        let inputs = vec![Input::MemorySize];
        let interface = Interface {
            workgroup_size: 64,
            lanes: 1,
            bindings: vec![],
            immediates_size: 44,
            parameters_size: 0,
            data: [].into(),
            trap_sites: vec![],
            inputs,
            layout: Layout::default(),
        };
        let slots = [spec(1, 256), spec(2, 512)];
        let words = immediates(&interface, &arguments(&[65536]), &slots, &[]);
        assert_eq!(words, [0, 0, 0, 100, 8, 0, 256, 12, 512, 12, 65536]);
        let places = [Pooled { slot: 1, pool: POOL_READ, start: 64, size: 16 }];
        let more = Interface { immediates_size: 12, parameters_size: 48, ..interface.clone() };
        let words = immediates(&more, &arguments(&[65536]), &slots, &places);
        assert_eq!(words, [0, 0, 0, 100, 8, 0, 256, 12, 512, 12, 65536, 16]);
        let short = Interface { immediates_size: 24, ..interface };
        assert_eq!(immediates(&short, &arguments(&[]), &[spec(1, 256)], &[]), [0, 0, 0, 100, 8, 0]);
    }
}
