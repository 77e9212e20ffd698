//! Prints rows of `src/libm/fingerprints.csv`: `fingerprints ORIGIN MODULE MOVED [MODULE MOVED ...]`.
//!
//! Each `MOVED` is its `MODULE` with static data at other addresses; what differs between the two is an address. Functions
//! are known by their names.

use std::collections::BTreeSet;
use std::process::ExitCode;

use wavelift_translator::Module;
use wavelift_translator::libm::How;
use wavelift_translator::libm::fingerprint::{Body, body, hash_of_numbers};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let origin = arguments.next().unwrap_or_default();
    let paths: Vec<String> = arguments.collect();
    let mut rows = BTreeSet::new();
    for pair in paths.chunks(2) {
        let modules: Result<Vec<Module>, String> = pair.iter().map(|path| read(path)).collect();
        match modules.as_deref() {
            Ok([module, moved]) => rows.extend(rows_of(module, moved, &origin)),
            Ok(_) => return fail("usage: fingerprints ORIGIN MODULE MOVED [MODULE MOVED ...]"),
            Err(message) => return fail(message),
        }
    }
    rows.iter().for_each(|row| println!("{row}"));
    ExitCode::SUCCESS
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

fn read(path: &str) -> Result<Module, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Module::parse(bytes).map_err(|error| format!("{path}: {error}"))
}

fn rows_of(module: &Module, moved: &Module, origin: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for function in 0..module.function_count() {
        let Some(found) = module.recognise(function).filter(|found| found.how == How::Name) else { continue };
        let Some(name) = module.given_name(function) else { continue };
        let other = (0..moved.function_count()).find(|other| moved.given_name(*other) == Some(name));
        let Some(other) = other.and_then(|other| body(moved, other)) else { continue };
        let Some(Body { shape, numbers }) = body(module, function) else { continue };
        if shape != other.shape || numbers.len() != other.numbers.len() {
            eprintln!("fingerprints: `{name}` is another function where it was moved");
            continue;
        }
        let addresses: Vec<usize> =
            (0..numbers.len()).filter(|place| numbers[*place] != other.numbers[*place]).collect();
        let places = addresses.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
        let hash = hash_of_numbers(&numbers, &addresses);
        rows.push(format!("{},{shape:016x},{hash:016x},{places},{origin}", found.name));
    }
    rows
}
