//! Functions of which it is known, bit for bit, what they compute: musl's `expf` and `logf`, as several compilers and
//! optimisers leave them, and AssemblyScript's ports.
//!
//! A fingerprint says what a body is but for its addresses; so what lies at those is looked at, too, and the function is run on
//! some numbers, which tells whether each address is the one that it is in musl.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::fingerprint::{Known, body};
use crate::call_graph::Slice;
use crate::error::TrapKind;
use crate::ir::interpret::{self, Invocation, Memory};
use crate::ir::{Const, Function};
use crate::module::Module;
use crate::options::Environment;
use crate::passes::inline;
use crate::targets::Targets;

#[path = "../../emulation/musl.rs"]
mod musl;

use musl::{EXP2F_DATA, EXP2F_TABLE, LOGF_DATA, LOGF_TABLE};

/// Most statements of a body that is run.
const MAX_STATEMENTS: u32 = 2000;

/// Numbers that a function is run on.
const SAMPLES: u32 = 64;

/// A function of musl's, and the words of the module's data that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exact {
    /// Its name in C.
    pub name: &'static str,
    /// The addresses of the words, multiples of four, ascending. The function is musl's as long as they are what they are
    /// in a new instance.
    pub words: Vec<u32>,
}

/// What was found so far, by function.
pub(crate) type ExactFunctions = Mutex<HashMap<u32, Option<Arc<Exact>>>>;

/// What musl's source says of a function.
struct Original {
    name: &'static str,
    data: &'static [u64],
    /// So many entries at its start are a table.
    table: usize,
    compute: fn(f32) -> f32,
    /// Arguments for which it computes and does not look for special cases.
    sample: fn(u32) -> f32,
}

const ORIGINALS: [Original; 2] = [
    Original { name: "expf", data: &EXP2F_DATA, table: EXP2F_TABLE, compute: expf, sample: |n| n as f32 * 2.5 - 80.0 },
    Original { name: "logf", data: &LOGF_DATA, table: LOGF_TABLE, compute: logf, sample: |n| n as f32 * 0.37 + 0.1 },
];

/// `e^x` as musl computes it, for a magnitude below 87.
pub fn expf(x: f32) -> f32 {
    let [shift, inverse, cube, square, linear] = [36, 37, 38, 39, 40].map(|entry| f64::from_bits(EXP2F_DATA[entry]));
    let steps = inverse * f64::from(x);
    let shifted = steps + shift;
    let bits = shifted.to_bits();
    let rest = steps - (shifted - shift);
    let power = EXP2F_DATA[(bits % EXP2F_TABLE as u64) as usize].wrapping_add(bits << 47);
    let upper = cube * rest + square;
    (((upper * (rest * rest)) + (linear * rest + 1.0)) * f64::from_bits(power)) as f32
}

/// The natural logarithm as musl computes it, of positive normal numbers.
pub fn logf(x: f32) -> f32 {
    let bits = x.to_bits();
    if bits == 1f32.to_bits() {
        return 0.0;
    }
    let above = bits.wrapping_sub(0x3f33_0000);
    let entry = 2 * (above >> 19 & 15) as usize;
    let [inverse, logarithm, ln_2, square, linear, constant] =
        [entry, entry + 1, 32, 33, 34, 35].map(|entry| f64::from_bits(LOGF_DATA[entry]));
    let number = f64::from(f32::from_bits(bits.wrapping_sub(above & 0xff80_0000)));
    let rest = number * inverse - 1.0;
    let first = logarithm + f64::from(above as i32 >> 23) * ln_2;
    let squared = rest * rest;
    let curve = square * squared + (linear * rest + constant);
    (curve * squared + (first + rest)) as f32
}

impl Module {
    /// The function of musl's that this one is, if it is known to be one bit for bit. The answer is kept.
    pub fn exact(&self, function: u32) -> Option<Arc<Exact>> {
        let lock = || self.exact.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = lock().get(&function) {
            return known.clone();
        }
        let found = find(self, function).map(Arc::new);
        lock().insert(function, found.clone());
        found
    }
}

fn find(module: &Module, function: u32) -> Option<Exact> {
    let body = body(module, function)?;
    let row = Known::all().row(&body)?;
    let original = ORIGINALS.iter().find(|original| original.name == row.name)?;
    let addresses: Vec<u32> = row.addresses.iter().map(|place| body.numbers[*place]).collect();
    let words = words(module, original, &addresses)?;
    computes(module, function, original).then_some(Exact { name: original.name, words })
}

/// The words of the data that lie at these addresses, if they are all as they are in musl.
fn words(module: &Module, original: &Original, addresses: &[u32]) -> Option<Vec<u32>> {
    let start = *addresses.iter().min()?;
    let last = *addresses.iter().max()?;
    let count = ((last - start) as usize / 8 + 1).max(original.table);
    let expected: Vec<u8> = original.data.get(..count)?.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let there = module.initial_bytes(u64::from(start)..u64::from(start) + expected.len() as u64)?;
    let is_there = start % 4 == 0 && there == expected;
    is_there.then(|| (start..).step_by(4).take(2 * count).collect())
}

/// Whether the function gives what musl's does, in a new instance.
fn computes(module: &Module, function: u32, original: &Original) -> bool {
    let environment = Environment::default();
    let mut slice = Slice::new(module, &environment, false);
    let Ok(code) = inline::inline(&mut slice, function, &Targets::default(), MAX_STATEMENTS) else { return false };
    (0..SAMPLES).map(original.sample).all(|x| run(module, &code, x) == Some((original.compute)(x).to_bits()))
}

fn run(module: &Module, code: &Function, x: f32) -> Option<u32> {
    let args = [Const::F32(x.to_bits())];
    let result = interpret::run(code, &args, &Invocation::default(), &mut NewMemory(module), &|_| None).ok()?;
    match result.as_slice() {
        [Const::F32(bits)] => Some(*bits),
        _ => None,
    }
}

/// The linear memory of a new instance, as far as data segments fill it, to read.
struct NewMemory<'m>(&'m Module);

impl Memory for NewMemory<'_> {
    fn load(&mut self, address: u64, out: &mut [u8]) -> Result<(), TrapKind> {
        let bytes = self.0.initial_bytes(address..address.saturating_add(out.len() as u64));
        out.copy_from_slice(&bytes.ok_or(TrapKind::OutOfBounds)?);
        Ok(())
    }

    fn store(&mut self, _: u64, _: &[u8]) -> Result<(), TrapKind> {
        Err(TrapKind::OutOfBounds)
    }

    fn size(&self) -> u64 {
        0
    }

    fn check(&mut self, _: u64, _: u64, _: bool) -> Result<(), TrapKind> {
        Err(TrapKind::OutOfBounds)
    }

    fn load_word(&mut self, _: u32, _: u32) -> Option<u32> {
        None
    }

    fn store_word(&mut self, _: u32, _: u32, _: u32) -> Option<()> {
        None
    }
}
