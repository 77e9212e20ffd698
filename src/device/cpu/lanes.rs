//! Neighbouring invocations at once, in the lanes of vectors: see [`wavelift_translator::lanes`].

use std::ops::Range;
use std::str::FromStr;

use wasm_encoder::Function;
use wavelift_translator::lanes::{self, Host, Rows, Tally};
use wavelift_translator::{Environment, Module};

use super::body::{FunctionMap, ITERATION, Indices, OWN_TALLIES, PAGES};
use super::slice::Slice;
use crate::device::TableEntry;

/// Whether neighbouring invocations of a kernel run at once on the CPU device, in the lanes of 128-bit vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lanes {
    /// Where that is taken to be faster. The environment variable `WAVELIFT_LANES` may say otherwise, by the names below: to run
    /// tests with it, or to find out whether it is at fault.
    #[default]
    Auto,
    /// Never: `off`.
    Off,
    /// So many at once wherever it can be done, a multiple of 4: `4`, `8` or `16`.
    Of(u32),
}

impl FromStr for Lanes {
    type Err = String;

    fn from_str(text: &str) -> Result<Lanes, String> {
        match text {
            "auto" => Ok(Lanes::Auto),
            "off" => Ok(Lanes::Off),
            "4" | "8" | "16" => Ok(Lanes::Of(text.parse().unwrap_or(4))),
            _ => Err(format!("`{text}` is none of auto, off, 4, 8 and 16")),
        }
    }
}

impl Lanes {
    /// What is asked for, by the environment where nothing else is.
    pub(super) fn resolved(self) -> Lanes {
        let named = || std::env::var("WAVELIFT_LANES").ok()?.parse().ok();
        if self == Lanes::Auto { named().unwrap_or_default() } else { self }
    }
}

/// The form of a kernel that runs groups of invocations.
#[derive(Debug)]
pub struct Grouped {
    /// Its index in the device module.
    pub index: u32,
    /// Invocations of a group.
    pub lanes: u32,
    /// Pairs of the launch's buffers that must not be the same.
    apart: Vec<(u32, u32)>,
}

impl Grouped {
    /// Whether it may run with these arguments of `run`.
    pub fn takes(&self, arguments: &[u32]) -> bool {
        are_apart(&self.apart, arguments)
    }
}

/// The parameter of `run` that is the address of one of the launch's buffers.
pub fn address_of(buffer: u32) -> u32 {
    // Behind the ids, the number of iterations and the block size.
    4 + 2 * buffer
}

/// Whether no pair of these buffers is the same, by the arguments of `run`.
pub fn are_apart(pairs: &[(u32, u32)], arguments: &[u32]) -> bool {
    let address = |buffer: u32| arguments.get(address_of(buffer) as usize);
    pairs.iter().all(|(a, b)| address(*a) != address(*b))
}

/// What is found out about a kernel.
pub struct Found {
    /// A form that runs groups, or a sentence that says why invocations run one by one.
    pub grouped: Result<(Grouped, Function, FunctionMap), String>,
    /// See [`lanes::Found`].
    pub tallies: Vec<Tally>,
    /// See [`lanes::Found`].
    pub rows: Option<Rows>,
    /// See [`lanes::Found`].
    pub contends: bool,
}

/// Writes it, as the function with this index.
pub fn write(
    indices: &Indices<'_>,
    kernel: u32,
    slice: &Slice,
    tables: &[Vec<TableEntry>],
    lanes: Lanes,
    index: u32,
) -> Found {
    let refused =
        |reason: &str| Found { grouped: Err(reason.into()), tallies: Vec::new(), rows: None, contends: false };
    let width = match lanes {
        Lanes::Auto => None,
        Lanes::Off => return refused("It was asked for that invocations run one by one."),
        Lanes::Of(width) => Some(width.clamp(4, 64) / 4 * 4),
    };
    if !slice.inits.is_empty() || !slice.drops.is_empty() {
        return refused("It reads data segments.");
    }
    let module: &Module = indices.module;
    let entries = |table: u32| tables.get(table as usize).cloned().unwrap_or_default();
    let environment = Environment::with_tables(module, kernel, entries);
    // A global that the kernel writes has its value at the launch in another one.
    let global = |guest: u32| {
        let device = indices.globals.get(&guest)?;
        let kept = indices.resets.iter().find(|(written, _)| written == device).map(|(_, kept)| kept);
        Some(*kept.unwrap_or(device))
    };
    // The translator says of a loop where it ends.
    let cost = |at: wavelift_translator::Location| indices.costs?.of(at.function)?.loop_ends.get(&at.offset).copied();
    let host = Host {
        one_by_one: 0,
        iteration: ITERATION,
        pages: PAGES,
        own_tallies: OWN_TALLIES,
        global: &global,
        fuel: indices.costs.map(|costs| (costs.limit, &cost as _)),
    };
    let found = lanes::lanes(module, kernel, &environment, &host, width);
    let grouped = found.lanes.map(|written| {
        let mut map = FunctionMap::default();
        written.fuel.into_iter().for_each(|range: Range<u32>| map.takes_fuel(range));
        (Grouped { index, lanes: written.lanes, apart: written.apart }, written.function, map)
    });
    Found { grouped, tallies: found.tallies, rows: found.rows, contends: found.contends }
}
