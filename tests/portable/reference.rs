//! What a launch must do: the interpreter on the kernel as Wasm has it, before any pass.

use std::collections::BTreeMap;

use wavelift_translator::ir::Const;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::{Access, Environment, Location, TrapKind, testing};

use crate::cases::{Case, Nans};

/// What a launch leaves behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The buffers' words, by slot.
    pub buffers: Vec<Vec<u32>>,
    /// The least iteration that trapped at each site that did.
    pub traps: BTreeMap<(Location, String), u32>,
}

/// The key of a trap site in [`Outcome::traps`].
pub fn trap_key(at: Location, kind: TrapKind) -> (Location, String) {
    (at, format!("{kind:?}"))
}

/// Addresses of the buffers: each ends at the end of the pages it has for itself.
pub fn addresses(buffers: &[Vec<u32>]) -> Vec<u32> {
    let mut end = 1u64 << 32;
    let place = |words: &Vec<u32>| {
        let bytes = 4 * words.len().max(1) as u64;
        let address = end - bytes.next_multiple_of(256);
        end -= bytes.next_multiple_of(0x1_0000);
        address as u32
    };
    buffers.iter().map(place).collect()
}

/// Runs all invocations in order.
pub fn run(case: &Case) -> Result<Outcome, String> {
    let stages = testing::stages(&case.module, case.kernel).map_err(|error| error.to_string())?;
    let places = addresses(&case.buffers);
    let buffer =
        |(words, address): (&Vec<u32>, &u32)| Buffer::new(*address, Access::ReadWrite, bytemuck::cast_slice(words));
    let mut space = Space { linear: Vec::new(), buffers: case.buffers.iter().zip(&places).map(buffer).collect() };
    let mut args = vec![0, case.iterations, case.block_size];
    for (words, address) in case.buffers.iter().zip(&places) {
        args.extend([*address, 4 * words.len() as u32]);
    }
    let mut outcome = Outcome::default();
    let tables = Environment::initial(&case.module, case.kernel).tables;
    for iteration in 0..case.iterations {
        args[0] = iteration;
        let args: Vec<Const> = args.iter().copied().map(Const::I32).collect();
        let invocation = Invocation { iteration, tables: &tables, ..Invocation::default() };
        let callee = |index| stages.lifted.get(&index);
        match interpret::run(&stages.lifted[&case.kernel], &args, &invocation, &mut space, &callee) {
            Ok(_) => {}
            Err(Stop::Trap { kind, at }) => {
                outcome.traps.entry(trap_key(at, kind)).or_insert(iteration);
            }
            Err(stop) => return Err(format!("iteration {iteration}: {stop}")),
        }
    }
    outcome.buffers = space.buffers.iter().map(|buffer| bytemuck::pod_collect_to_vec(buffer.bytes())).collect();
    Ok(outcome)
}

/// What differs, as text; `None` if nothing does.
pub fn difference(case: &Case, expected: &Outcome, got: &Outcome) -> Option<String> {
    if expected.traps != got.traps {
        return Some(format!("traps: {:?} should be {:?}", got.traps, expected.traps));
    }
    for (slot, (want, have)) in expected.buffers.iter().zip(&got.buffers).enumerate() {
        let any_nan = if slot + 1 == expected.buffers.len() { case.any_nan } else { Nans::Kept };
        for (index, (word, other)) in want.iter().zip(have).enumerate() {
            if word != other && !(is_nan(any_nan, want, index) && is_nan(any_nan, have, index)) {
                return Some(format!("word {index} of buffer {slot} is {other:#x} and should be {word:#x}"));
            }
        }
    }
    None
}

/// Whether a word is of a NaN whose bits don't matter.
fn is_nan(any_nan: Nans, words: &[u32], index: usize) -> bool {
    match any_nan {
        Nans::Kept => false,
        Nans::F32 => f32::from_bits(words[index]).is_nan(),
        Nans::F64 => {
            let (low, high) = (words[index & !1], words[index | 1]);
            f64::from_bits(u64::from(high) << 32 | u64::from(low)).is_nan()
        }
    }
}
