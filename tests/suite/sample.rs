//! A sample of functions for engines that are too slow for all of them.

use crate::cases::{FileCases, FunctionCases, ModuleCases};
use crate::engine::{Engine, Tally};

/// Of so many functions that an engine can run, one is run; at least one of each file.
pub const ONE_OF: usize = 4;

/// The functions of a file in an order that `WAVELIFT_SUITE_SEED` (a number) decides.
pub fn shuffled(file: &FileCases) -> Vec<(&ModuleCases, &FunctionCases)> {
    let seed = std::env::var("WAVELIFT_SUITE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut functions: Vec<(&ModuleCases, &FunctionCases)> =
        file.modules.iter().flat_map(|module| module.functions.iter().map(move |f| (module, f))).collect();
    shuffle(&mut functions, seed ^ hash(&file.name));
    functions
}

/// Runs a sample of a file's functions, and lifts all others.
pub fn run(file: &FileCases, engine: &mut dyn Engine) -> Tally {
    let functions = shuffled(file);
    let mut tally = Tally::of(file);
    let wanted = functions.len().div_ceil(ONE_OF);
    let mut taken = 0;
    for (module, function) in functions {
        if taken == wanted {
            tally.add_unrun(engine, module, function);
            continue;
        }
        let before = tally.run;
        tally.add(engine, module, function);
        taken += usize::from(tally.run > before);
    }
    tally
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Fisher and Yates, with SplitMix64 for the numbers.
fn shuffle<T>(items: &mut [T], mut state: u64) {
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        items.swap(last, ((mixed ^ (mixed >> 31)) % (last as u64 + 1)) as usize);
    }
}
