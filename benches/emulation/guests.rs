//! Kernels of the guests in `tests/guests/c`, with more to do: the C library's mathematics in `f64`, a heat equation in
//! `f64`, and integers of 64 bits.

use anyhow::{Context as _, Result};
use wavelift::translator::Module;

use crate::instance::{file, floats, initial_memory};
use crate::{Case, MEMORY};

/// Invocations.
const COUNT: u32 = 1 << 16;

/// All of them. What a kernel calls of the C library stands behind its name.
pub fn cases() -> Result<Vec<Case>> {
    let points = |low, high| floats(COUNT, low, high);
    let words = |count: u32| vec![0; 4 * count as usize];
    let options = floats(3 * COUNT, 1.0, 30.0);
    let rod =
        [0.1f64, 3.0, 5.0].iter().flat_map(|x| x.to_le_bytes()).chain(COUNT.to_le_bytes()).chain([0; 4]).collect();
    let rods: Vec<u8> = (0..COUNT).flat_map(|x| (f64::from(x % 97) / 7.0).to_le_bytes()).collect();
    Ok(vec![
        guest("mathlib", "softmax", "expf", COUNT / 24, vec![points(-5.0, 5.0), words(COUNT)])?,
        guest("mathlib", "black_scholes", "logf, expf", COUNT, vec![options, words(2 * COUNT)])?,
        guest("mathlib", "curves_power", "powf", COUNT, vec![points(0.1, 12.0), words(COUNT)])?,
        guest("mathlib", "curves_sine", "sinf", COUNT, vec![points(-12.0, 12.0), words(COUNT)])?,
        guest("mathlib", "curves_tanh", "tanh of f64", COUNT, vec![points(-12.0, 12.0), words(2 * COUNT)])?,
        guest("signal", "heat", "f64", COUNT, vec![rod, rods, words(2 * COUNT)])?,
        guest("mathlib", "monte_carlo", "i64", COUNT, vec![words(COUNT), words(COUNT)])?,
        guest("hash", "xxhash64", "i64", COUNT / 4, vec![points(0.0, 1.0).repeat(32), words(COUNT / 2)])?,
    ])
}

fn guest(program: &str, kernel: &str, what: &str, iterations: u32, buffers: Vec<Vec<u8>>) -> Result<Case> {
    let path = file(&format!("tests/guests/c/{program}.O2.wasm"));
    let bytes = std::fs::read(&path).with_context(|| format!("`{}` can't be read", path.display()))?;
    let memory = initial_memory(&bytes, MEMORY)?;
    let module = Module::parse(bytes)?;
    let function = module.find_function(kernel).with_context(|| format!("no kernel `{kernel}` in `{program}`"))?;
    Ok(Case { name: format!("{kernel} ({what})"), module, kernel: function, iterations, buffers, memory })
}
