//! What the fuzz targets call: the very functions that the tests call, which are the targets' stable twins.

#![allow(dead_code)]

#[path = "../../tests/fuzz/address.rs"]
mod address;
#[path = "../../tests/fuzz/ast.rs"]
mod ast;
#[path = "../../tests/differential/case.rs"]
mod case;
#[path = "../../tests/differential/engine.rs"]
mod engine;
#[path = "../../tests/fuzz/generate.rs"]
mod generate;
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;
#[path = "../../tests/differential/interpreter.rs"]
mod interpreter;
#[path = "../../tests/fuzz/judge.rs"]
mod judge;
#[path = "../../tests/fuzz/lifting.rs"]
mod lifting;
#[path = "../../tests/differential/on_devices.rs"]
mod on_devices;
#[path = "../../translator/tests/common/mod.rs"]
mod oracle;
#[path = "../../tests/differential/places.rs"]
mod places;
#[path = "../../tests/differential/plain_wasmtime.rs"]
mod plain_wasmtime;
#[path = "../../tests/fuzz/print.rs"]
mod print;
#[path = "../../tests/suite/reason.rs"]
mod reason;
#[path = "../../tests/fuzz/refusals.rs"]
mod refusals;
#[path = "../../tests/fuzz/smith.rs"]
mod smith;
#[path = "../../tests/differential/values.rs"]
mod values;
#[path = "../../tests/suite/wrap.rs"]
mod wrap;

#[path = "../../tests/host"]
mod host {
    pub mod guest;
    pub mod session;
}

use std::cell::RefCell;

use arbtest::arbitrary::Unstructured;
use wavelift::DeviceChoice;

use host::session::Host;
use judge::Check;

/// Any bytes, given to the translator. Twin: `cargo test --test fuzz arbitrary`.
///
/// # Panics
/// If the theorem of the target `translate` does not hold for them.
pub fn translate(bytes: &[u8]) {
    let mut counts = lifting::Counts::default();
    if let Err(message) = lifting::try_module(bytes, "the input", &mut counts) {
        panic!("{message}");
    }
}

/// A valid module made of any bytes, on all that is no device. Twin: `cargo test --test fuzz smith`.
///
/// # Panics
/// If the theorem of the target `pipeline` does not hold for it.
pub fn pipeline(bytes: &[u8]) {
    let Some((seed, bytes)) = bytes.split_first() else { return };
    let Ok(case) = smith::of_bytes(bytes, u64::from(*seed)) else { return };
    let checks = [&judge::INTERPRETERS[..], &judge::CPUS[..1], &judge::VALIDATORS[..]].concat();
    let checks: Vec<Check> = checks.into_iter().filter(|check| check.missing().is_none()).collect();
    if let Some(difference) = judge::judge(&case, &checks).differences.first() {
        panic!("{}: {}\n{}", difference.check, difference.message, case.program.text);
    }
}

/// Calls of the host's functions, made of any bytes. Twin: `cargo test --test host random_calls`.
///
/// # Panics
/// If the theorem of the target `calls` does not hold for them.
pub fn calls(bytes: &[u8]) {
    thread_local! {
        static HOST: RefCell<Host> = RefCell::new(Host::new(DeviceChoice::Cpu));
    }
    // Fewer bytes than the calls need end the sequence.
    HOST.with_borrow_mut(|host| host.random_calls(&mut Unstructured::new(bytes)).ok());
}
