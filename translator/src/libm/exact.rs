//! Functions of which it is known, bit for bit, what they compute: musl's `expf`, `logf` and `powf`, as several compilers and
//! optimisers leave them, and AssemblyScript's ports.
//!
//! A fingerprint says what a body is but for its addresses; so what lies at those is looked at, too, and the function is run on
//! some numbers, which tells whether each address is the one that it is in musl.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::fingerprint::{Known, body};
use crate::call_graph::Slice;
use crate::error::TrapKind;
use crate::frontend;
use crate::ir::interpret::{self, Invocation, Memory};
use crate::ir::{Const, Function};
use crate::module::Module;
use crate::options::Environment;
use crate::passes::inline;
use crate::targets::Targets;

#[path = "../../emulation/musl.rs"]
mod musl;

use musl::{EXP2F_DATA, EXP2F_TABLE, LOGF_DATA, LOGF_TABLE, POWF_LOG2_DATA, POWF_TABLE};

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

/// Data that a function reads.
struct Object {
    data: &'static [u64],
    /// So many entries at its start are a table.
    table: usize,
}

const EXP2F: Object = Object { data: &EXP2F_DATA, table: EXP2F_TABLE };
const LOGF: Object = Object { data: &LOGF_DATA, table: LOGF_TABLE };
const POWF_LOG2: Object = Object { data: &POWF_LOG2_DATA, table: POWF_TABLE };

/// What musl's source says of a function.
struct Original {
    name: &'static str,
    objects: &'static [Object],
    /// Number of its arguments.
    arity: usize,
    compute: fn([f32; 2]) -> f32,
    /// Arguments for which it computes and does not look for special cases.
    sample: fn(u32) -> [f32; 2],
}

const ORIGINALS: [Original; 3] = [
    Original {
        name: "expf",
        objects: &[EXP2F],
        arity: 1,
        compute: |[x, _]| expf(x),
        sample: |n| [n as f32 * 2.5 - 80.0, 0.0],
    },
    Original {
        name: "logf",
        objects: &[LOGF],
        arity: 1,
        compute: |[x, _]| logf(x),
        sample: |n| [n as f32 * 0.37 + 0.1, 0.0],
    },
    Original {
        name: "powf",
        objects: &[POWF_LOG2, EXP2F],
        arity: 2,
        compute: |[x, y]| powf(x, y),
        sample: |n| [n as f32 * 0.37 + 0.1, n as f32 * 0.31 - 9.0],
    },
];

/// `e^x` as musl computes it, for a magnitude below 87.
pub fn expf(x: f32) -> f32 {
    let [shift, inverse] = doubles(&EXP2F_DATA, [36, 37]);
    power_of_2(inverse * f64::from(x), shift, doubles(&EXP2F_DATA, [38, 39, 40]))
}

/// `x^y` as musl computes it, for positive normal `x` and results of a magnitude of 2^-125 to 2^125.
pub fn powf(x: f32, y: f32) -> f32 {
    let Reduced { rest, logarithm, octave } = reduce(x, &POWF_LOG2_DATA);
    let [a, b, c, d, e] = doubles(&POWF_LOG2_DATA, [32, 33, 34, 35, 36]);
    let squared = rest * rest;
    let lower = (c * rest + d) * squared + (e * rest + (logarithm + octave));
    let exponent = f64::from(y) * ((a * rest + b) * (squared * squared) + lower);
    let [shift] = doubles(&EXP2F_DATA, [32]);
    power_of_2(exponent, shift, doubles(&EXP2F_DATA, [33, 34, 35]))
}

/// The natural logarithm as musl computes it, of positive normal numbers.
pub fn logf(x: f32) -> f32 {
    if x == 1.0 {
        return 0.0;
    }
    let Reduced { rest, logarithm, octave } = reduce(x, &LOGF_DATA);
    let [ln_2, square, linear, constant] = doubles(&LOGF_DATA, [32, 33, 34, 35]);
    let squared = rest * rest;
    let curve = square * squared + (linear * rest + constant);
    (curve * squared + ((logarithm + octave * ln_2) + rest)) as f32
}

/// Entries of an object.
fn doubles<const N: usize>(data: &[u64], entries: [usize; N]) -> [f64; N] {
    entries.map(|entry| f64::from_bits(data[entry]))
}

/// A positive normal number: `2^octave / inverse * (1 + rest)`, and the logarithm of `1 / inverse`.
struct Reduced {
    rest: f64,
    logarithm: f64,
    octave: f64,
}

/// Takes a number apart by a table of inverses and their logarithms.
fn reduce(x: f32, table: &[u64]) -> Reduced {
    let bits = x.to_bits();
    let above = bits.wrapping_sub(0x3f33_0000);
    let entry = 2 * (above >> 19 & 15) as usize;
    let [inverse, logarithm] = doubles(table, [entry, entry + 1]);
    let number = f64::from(f32::from_bits(bits.wrapping_sub(above & 0xff80_0000)));
    Reduced { rest: number * inverse - 1.0, logarithm, octave: f64::from(above as i32 >> 23) }
}

/// A power of 2 of as many steps as `shift`, which rounds them, counts to an octave's 32nd part.
fn power_of_2(steps: f64, shift: f64, [cube, square, linear]: [f64; 3]) -> f32 {
    let shifted = steps + shift;
    let bits = shifted.to_bits();
    let rest = steps - (shifted - shift);
    let power = EXP2F_DATA[(bits % EXP2F_TABLE as u64) as usize].wrapping_add(bits << 47);
    let upper = cube * rest + square;
    (((upper * (rest * rest)) + (linear * rest + 1.0)) * f64::from_bits(power)) as f32
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
    let mut words = BTreeSet::new();
    let mut left = addresses.to_vec();
    for object in original.objects {
        // Its table is its start.
        let is_start = |address: &u32| address.is_multiple_of(4) && is_there(module, object, *address, object.table);
        let start = addresses.iter().copied().find(is_start)?;
        let last = start.checked_add(8 * (object.data.len() as u32 - 1))?;
        let (within, others): (Vec<u32>, Vec<u32>) = left.iter().partition(|address| (start..=last).contains(address));
        let last = within.iter().max()?;
        let count = ((last - start) as usize / 8 + 1).max(object.table);
        if !is_there(module, object, start, count) {
            return None;
        }
        words.extend((start..).step_by(4).take(2 * count));
        left = others;
    }
    left.is_empty().then(|| words.into_iter().collect())
}

/// Whether an object's first entries lie there in a new instance.
fn is_there(module: &Module, object: &Object, start: u32, count: usize) -> bool {
    let expected: Vec<u8> = object.data[..count].iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let addresses = u64::from(start)..u64::from(start) + expected.len() as u64;
    module.initial_bytes(addresses).is_some_and(|there| there == expected)
}

/// Whether the function gives what musl's does, in a new instance.
fn computes(module: &Module, function: u32, original: &Original) -> bool {
    let environment = Environment::default();
    let mut slice = Slice::new(module, &environment, frontend::Known::default());
    let Ok(code) = inline::inline(&mut slice, function, &Targets::default(), MAX_STATEMENTS) else { return false };
    let is_same = |arguments: [f32; 2]| {
        let expected = (original.compute)(arguments).to_bits();
        run(module, &code, &arguments[..original.arity]) == Some(expected)
    };
    (0..SAMPLES).map(original.sample).all(is_same)
}

fn run(module: &Module, code: &Function, arguments: &[f32]) -> Option<u32> {
    let arguments: Vec<Const> = arguments.iter().map(|x| Const::F32(x.to_bits())).collect();
    let result = interpret::run(code, &arguments, &Invocation::default(), &mut NewMemory(module), &|_| None).ok()?;
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
