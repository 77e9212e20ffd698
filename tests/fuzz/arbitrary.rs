//! Bytes that nobody vouches for, given to the translator: modules of wasm-smith with all features, and compiled guests with
//! some bits changed. It lifts them or says why it does not; it never panics and never finds a defect in itself.
//!
//! `WAVELIFT_FUZZ_BYTES_SECONDS=600 cargo test --test fuzz arbitrary` runs for so long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arbtest::arbitrary::Unstructured;
use libtest_mimic::Failed;
use wasm_smith::Config;
use wavelift_translator::Module;

use crate::lifting::{Counts, MOST_KERNELS, try_module};
use crate::values::Random;
use crate::{smith, wrap};

/// Longest code of a module that is changed: long ones take their time, and have no more to offer.
const MOST_BYTES: u64 = 30 << 10;

fn budget() -> Duration {
    let seconds = std::env::var("WAVELIFT_FUZZ_BYTES_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// Core 2.0 and more, nothing tamed.
fn config(seed: u64) -> Config {
    Config {
        allow_start_export: true,
        bulk_memory_enabled: true,
        exceptions_enabled: seed.is_multiple_of(7),
        export_everything: true,
        gc_enabled: seed.is_multiple_of(11),
        max_imports: if seed.is_multiple_of(3) { 4 } else { 0 },
        max_memories: 2,
        max_nesting_depth: 200,
        memory64_enabled: seed.is_multiple_of(5),
        reference_types_enabled: true,
        relaxed_simd_enabled: true,
        simd_enabled: true,
        tail_call_enabled: true,
        threads_enabled: seed.is_multiple_of(2),
        ..Config::default()
    }
}

/// Modules of wasm-smith as they are, and wrapped in kernels where they can be.
pub fn smith() -> Result<(), Failed> {
    let (started, mut counts) = (Instant::now(), Counts::default());
    for seed in 0.. {
        if started.elapsed() > budget() {
            break;
        }
        let Ok(module) = wasm_smith::Module::new(config(seed), &mut Unstructured::new(&smith::bytes(seed))) else {
            continue;
        };
        let bytes = module.to_bytes();
        let what = format!("seed {seed}");
        try_module(&bytes, &what, &mut counts)?;
        let exported = match Module::parse(bytes.as_slice()) {
            Ok(module) => module.exports().iter().map(|export| export.name.clone()).collect::<Vec<_>>(),
            Err(_) => continue,
        };
        for name in exported.into_iter().take(MOST_KERNELS) {
            if let Ok(Ok(wrapped)) = catch_unwind(AssertUnwindSafe(|| wrap::wrap(&bytes, std::slice::from_ref(&name))))
            {
                try_module(&wrapped.bytes, &format!("{what}, `{name}`"), &mut counts)?;
            }
        }
    }
    enough(&counts)
}

/// Compiled guests of which some bits are others.
pub fn changed_guests() -> Result<(), Failed> {
    let guests = guests(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests"))?;
    let (started, mut counts) = (Instant::now(), Counts::default());
    for seed in 0.. {
        if started.elapsed() > budget() {
            break;
        }
        let mut random = Random(seed);
        let file = &guests[random.below(guests.len())];
        let mut bytes = std::fs::read(file)?;
        for _ in 0..1 + random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        try_module(&bytes, &format!("{} with seed {seed}", file.display()), &mut counts)?;
    }
    enough(&counts)
}

fn enough(counts: &Counts) -> Result<(), Failed> {
    println!("{counts:?}");
    if counts.lifted < 5 || counts.refused < 5 {
        Err(format!("too little was tried: {counts:?}").into())
    } else {
        Ok(())
    }
}

fn guests(folder: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(guests(&path)?);
        } else if path.extension().is_some_and(|kind| kind == "wasm") && path.metadata()?.len() <= MOST_BYTES {
            found.push(path);
        }
    }
    // The same seeds everywhere.
    found.sort();
    Ok(found)
}
