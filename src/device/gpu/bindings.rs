//! Binding numbers without gaps.
//!
//! wgpu hands Vulkan the bindings of a set numbered by rank, and renumbers the shaders that go through naga. Shaders
//! that the driver gets as they are must be renumbered here, or they would read nothing.

use std::collections::BTreeMap;

use wavelift_translator::{Interface, Shader, TRAP_BINDING};

/// Words before the first instruction of a SPIR-V module.
const HEADER_WORDS: usize = 5;
/// `OpDecorate <id> <decoration> <operands>`
const OP_DECORATE: u32 = 71;
/// The decoration `Binding <number>`.
const DECORATION_BINDING: u32 = 33;

/// The shader with its binding numbers replaced by their ranks, in the words and in the interface.
///
/// # Errors
/// A sentence, if the words are no SPIR-V or bind what the interface does not declare.
pub(crate) fn renumber(mut shader: Shader) -> Result<Shader, String> {
    let ranks = ranks(&shader.interface);
    let mut at = HEADER_WORDS;
    while at < shader.words.len() {
        let (opcode, length) = (shader.words[at] & 0xffff, (shader.words[at] >> 16) as usize);
        let Some(instruction) = shader.words.get_mut(at..at + length).filter(|words| !words.is_empty()) else {
            return Err(format!("The shader's SPIR-V is cut off at word {at}."));
        };
        if opcode == OP_DECORATE
            && let [_, _, DECORATION_BINDING, binding] = instruction
        {
            let Some(rank) = ranks.get(binding) else {
                return Err(format!("The shader binds {binding}, which its interface does not declare."));
            };
            *binding = *rank;
        }
        at += length;
    }
    for binding in &mut shader.interface.bindings {
        binding.binding = ranks[&binding.binding];
    }
    Ok(shader)
}

fn ranks(interface: &Interface) -> BTreeMap<u32, u32> {
    let mut ranks: BTreeMap<u32, u32> = interface.bindings.iter().map(|b| (b.binding, 0)).collect();
    if !interface.trap_sites.is_empty() {
        ranks.insert(TRAP_BINDING, 0);
    }
    for (rank, (_, value)) in (0..).zip(&mut ranks) {
        *value = rank;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use wavelift_translator::{Binding, Layout, Location, TrapKind, TrapSite};

    /// A header and one `OpDecorate %7 Binding n` for each number, with another decoration between.
    fn shader(declared: &[u32], used: &[u32], traps: bool) -> Shader {
        let mut words = vec![0x0723_0203, 0x0001_0300, 0, 8, 0];
        for binding in used {
            words.extend([4 << 16 | OP_DECORATE, 7, DECORATION_BINDING, *binding]);
            words.extend([4 << 16 | OP_DECORATE, 7, 34, 0]);
        }
        let site = TrapSite { at: Location::default(), kind: TrapKind::Unreachable };
        let bindings = (0..).zip(declared).map(|(slot, b)| Binding {
            binding: *b,
            slot,
            slice: 0,
            writable: true,
            uniform: false,
        });
        let trap_sites = if traps { vec![site] } else { vec![] };
        let interface = Interface {
            workgroup_size: 1,
            lanes: 1,
            bindings: bindings.collect(),
            immediates_size: 20,
            parameters_size: 0,
            data: [].into(),
            trap_sites,
            inputs: vec![],
            layout: Layout::default(),
        };
        Shader::new(words, interface)
    }

    fn bindings_in(words: &[u32]) -> Vec<u32> {
        words[HEADER_WORDS..].chunks(4).filter(|w| w[2] == DECORATION_BINDING).map(|w| w[3]).collect()
    }

    #[test]
    fn gaps_are_closed_in_the_words_and_the_interface() {
        let closed = renumber(shader(&[1, 3, 9], &[9, 1, 3, 3], false)).unwrap();
        assert_eq!(bindings_in(&closed.words), [2, 0, 1, 1]);
        assert_eq!(closed.interface.bindings.iter().map(|b| b.binding).collect::<Vec<_>>(), [0, 1, 2]);
        let with_traps = renumber(shader(&[2], &[0, 2], true)).unwrap();
        assert_eq!(bindings_in(&with_traps.words), [0, 1]);
        assert_eq!(with_traps.interface.bindings[0].binding, 1);
    }

    #[test]
    fn undeclared_bindings_and_cut_off_words_are_errors() {
        assert!(renumber(shader(&[1], &[1, 2], false)).unwrap_err().contains("binds 2"));
        assert!(renumber(shader(&[1], &[0, 1], false)).unwrap_err().contains("binds 0"));
        let mut cut = shader(&[1], &[1], false);
        cut.words.truncate(11);
        assert!(renumber(cut).unwrap_err().contains("cut off at word 9"));
        let mut empty = shader(&[1], &[1], false);
        empty.words[5] = 0;
        assert!(renumber(empty).unwrap_err().contains("cut off at word 5"));
    }
}
