//! Invocations that run at once in the lanes of vectors, against the same one by one: bytes, traps and fuel.

mod control;
mod memory;
mod operators;
mod planted;
mod tallies;
mod traps;

use std::sync::Arc;

use wavelift::Lanes;
use wavelift::device::cpu::{self, CpuOptions};
use wavelift::device::{Access, Device, LaunchError};

use crate::support::Guest;

/// Groups of these sizes are tried.
pub const WIDTHS: [u32; 3] = [4, 8, 16];

/// Two workers that run groups of this size wherever they can.
pub fn device(width: u32, fuel: Option<u32>) -> Arc<dyn Device> {
    cpu::open(&CpuOptions { threads: Some(2), fuel, lanes: Lanes::Of(width) })
}

/// A module with one memory and this kernel.
pub fn module(kernel: &str) -> String {
    format!(r#"(module (memory (export "memory") 1) {kernel})"#)
}

/// What buffers hold after a launch, and how it ended.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub buffers: Vec<Vec<u32>>,
    pub ended: Result<(), String>,
    /// Invocations that ran at once.
    pub lanes: Option<u32>,
}

/// Runs `kernel` of a module with buffers of these contents.
pub fn run(device: &Arc<dyn Device>, text: &str, iterations: u32, buffers: &[Vec<u32>]) -> Outcome {
    let mut guest = Guest::new(device, text);
    let specs: Vec<_> = buffers.iter().map(|words| guest.buffer_of(words, Access::ReadWrite)).collect();
    let launched = guest.launch("kernel", iterations, &specs);
    let lanes = launched.as_ref().ok().and_then(|times| times.lanes);
    let ended = launched.map(|_| ()).map_err(|error| match error {
        LaunchError::Trap(trap) => format!("{:?} at {:?} in {}", trap.kind, trap.at, trap.iteration),
        other => format!("{other:?}"),
    });
    Outcome { buffers: specs.iter().map(|spec| guest.words(*spec)).collect(), ended, lanes }
}

/// Runs a kernel one by one and in groups of all sizes, and compares. Gives what it left.
pub fn compare(text: &str, iterations: u32, buffers: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let expected = run(&cpu::sequential(), text, iterations, buffers);
    assert_eq!(expected.ended, Ok(()), "{text}");
    for width in WIDTHS {
        let found = run(&device(width, CpuOptions::default().fuel), text, iterations, buffers);
        assert_eq!(found.ended, Ok(()), "{text}\nin groups of {width}");
        assert_eq!(found.lanes, Some(width), "{text}\nran one by one");
        for (number, (found, expected)) in found.buffers.iter().zip(&expected.buffers).enumerate() {
            let differs = found.iter().zip(expected).position(|(a, b)| a != b);
            if let Some(at) = differs {
                panic!(
                    "{text}\nin groups of {width}: word {at} of buffer {number} is {:#x} instead of {:#x}",
                    found[at], expected[at]
                );
            }
        }
    }
    expected.buffers
}

/// The trap of a kernel, one by one and in groups of all sizes, which must be the same.
pub fn compare_traps(text: &str, iterations: u32, buffers: &[Vec<u32>]) -> String {
    let expected = run(&cpu::sequential(), text, iterations, buffers).ended.expect_err(text);
    for width in WIDTHS {
        let found = run(&device(width, CpuOptions::default().fuel), text, iterations, buffers).ended;
        assert_eq!(found, Err(expected.clone()), "{text}\nin groups of {width}");
    }
    expected
}

/// Numbers that look random, the same each time.
pub fn noise(count: usize, mut state: u32) -> Vec<u32> {
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state ^ state >> 15
    };
    (0..count).map(next).collect()
}
