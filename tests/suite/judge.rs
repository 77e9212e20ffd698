//! Whether what a call gave is what it should give.

use wavelift::translator::ir::Type;

use crate::cases::{Case, Observed};
use crate::script::{Expectation, Pattern};

/// Compares with what the script says.
///
/// # Errors
/// A sentence that says how they differ.
pub fn fits(expectation: &Expectation, observed: &Observed) -> Result<(), String> {
    let fits = match (expectation, observed) {
        (Expectation::Trap(kind), Err(trap)) => kind == trap,
        (Expectation::Values(patterns), Ok(values)) => {
            patterns.len() == values.len() && patterns.iter().zip(values).all(|(p, value)| matches(p, *value))
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("expected {}, got {}", expected_text(expectation), text(observed))) }
}

/// Compares an engine's outcome of a case with what the script says and with what Wasmtime gives.
///
/// # Errors
/// A sentence that says how they differ.
pub fn judge(case: &Case, observed: &Observed) -> Result<(), String> {
    fits(&case.expectation, observed)?;
    let same = match (&case.expectation, observed, &case.wasmtime) {
        (Expectation::Values(patterns), Ok(values), Ok(wasmtime)) => {
            // Where the script leaves the NaN open, Wasm does.
            let open = |pattern: &Pattern| !matches!(pattern, Pattern::Bits(_));
            patterns.iter().zip(values.iter().zip(wasmtime)).all(|(pattern, (a, b))| open(pattern) || a == b)
        }
        _ => *observed == case.wasmtime,
    };
    if same { Ok(()) } else { Err(format!("Wasmtime gives {}, got {}", text(&case.wasmtime), text(observed))) }
}

fn matches(pattern: &Pattern, value: u64) -> bool {
    match pattern {
        Pattern::Bits(number) => number.bits == value,
        Pattern::CanonicalNan(ty) => value & !sign(*ty) == canonical(*ty),
        Pattern::ArithmeticNan(ty) => value & canonical(*ty) == canonical(*ty),
    }
}

/// The canonical NaN with a positive sign.
fn canonical(ty: Type) -> u64 {
    if ty == Type::F64 { 0x7ff8 << 48 } else { 0x7fc0_0000 }
}

fn sign(ty: Type) -> u64 {
    if ty == Type::F64 { 1 << 63 } else { 1 << 31 }
}

fn expected_text(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Trap(kind) => format!("a trap ({kind})"),
        Expectation::Values(patterns) => {
            let texts = patterns.iter().map(|pattern| match pattern {
                Pattern::Bits(number) => format!("{:?} {:#x}", number.ty, number.bits),
                Pattern::CanonicalNan(ty) => format!("{ty:?} nan:canonical"),
                Pattern::ArithmeticNan(ty) => format!("{ty:?} nan:arithmetic"),
            });
            format!("[{}]", texts.collect::<Vec<_>>().join(", "))
        }
    }
}

fn text(observed: &Observed) -> String {
    match observed {
        Ok(values) => format!("{values:#x?}").replace(['\n', ' '], ""),
        Err(kind) => format!("a trap ({kind})"),
    }
}
