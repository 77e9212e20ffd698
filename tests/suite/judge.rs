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
    judge_by(&case.expectation, case, observed)
}

/// The same for an engine that has NaNs of its own.
pub fn judge_with_any_nan(case: &Case, observed: &Observed) -> Result<(), String> {
    judge_by(&case.expectation.with_any_nan(), case, observed)
}

fn judge_by(expectation: &Expectation, case: &Case, observed: &Observed) -> Result<(), String> {
    fits(expectation, observed)?;
    let same = match (expectation, observed, &case.wasmtime) {
        (Expectation::Values(patterns), Ok(values), Ok(wasmtime)) => {
            patterns.iter().zip(values.iter().zip(wasmtime)).all(|(pattern, (a, b))| agree(pattern, *a, *b))
        }
        _ => *observed == case.wasmtime,
    };
    if same { Ok(()) } else { Err(format!("Wasmtime gives {}, got {}", text(&case.wasmtime), text(observed))) }
}

fn matches(pattern: &Pattern, value: u128) -> bool {
    match pattern {
        Pattern::Bits(number) => number.bits == value,
        Pattern::CanonicalNan(ty) => value & !sign(*ty) == canonical(*ty),
        Pattern::ArithmeticNan(ty) => value & canonical(*ty) == canonical(*ty),
        Pattern::AnyNan(ty) => value & !sign(*ty) > infinity(*ty),
        Pattern::Lanes(ty, lanes) => {
            lanes.iter().zip(0..).all(|(pattern, index)| matches(pattern, lane(value, *ty, index)))
        }
        Pattern::Either(patterns) => patterns.iter().any(|pattern| matches(pattern, value)),
    }
}

/// Whether a result that fits the pattern is the same as Wasmtime's. Where the script leaves the NaN open, Wasm does; of
/// several results it leaves open which, but the deterministic profile does not.
fn agree(pattern: &Pattern, value: u128, wasmtime: u128) -> bool {
    match pattern {
        Pattern::Bits(_) => value == wasmtime,
        Pattern::CanonicalNan(_) | Pattern::ArithmeticNan(_) | Pattern::AnyNan(_) => true,
        Pattern::Lanes(ty, lanes) => lanes
            .iter()
            .zip(0..)
            .all(|(pattern, index)| agree(pattern, lane(value, *ty, index), lane(wasmtime, *ty, index))),
        Pattern::Either(patterns) => {
            patterns.iter().any(|p| matches(p, value) && matches(p, wasmtime) && agree(p, value, wasmtime))
        }
    }
}

fn lane(vector: u128, ty: Type, index: u32) -> u128 {
    (vector >> (ty.bits() * index)) & ((1 << ty.bits()) - 1)
}

/// The canonical NaN with a positive sign.
fn canonical(ty: Type) -> u128 {
    if ty == Type::F64 { 0x7ff8 << 48 } else { 0x7fc0_0000 }
}

fn infinity(ty: Type) -> u128 {
    if ty == Type::F64 { 0x7ff0 << 48 } else { 0x7f80_0000 }
}

fn sign(ty: Type) -> u128 {
    if ty == Type::F64 { 1 << 63 } else { 1 << 31 }
}

fn expected_text(expectation: &Expectation) -> String {
    match expectation {
        Expectation::Trap(kind) => format!("a trap ({kind})"),
        Expectation::Values(patterns) => all_text(patterns, ", "),
    }
}

fn all_text(patterns: &[Pattern], between: &str) -> String {
    format!("[{}]", patterns.iter().map(pattern_text).collect::<Vec<_>>().join(between))
}

fn pattern_text(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Bits(number) => format!("{:?} {:#x}", number.ty, number.bits),
        Pattern::CanonicalNan(ty) => format!("{ty:?} nan:canonical"),
        Pattern::ArithmeticNan(ty) => format!("{ty:?} nan:arithmetic"),
        Pattern::AnyNan(ty) => format!("{ty:?} nan"),
        Pattern::Lanes(_, lanes) => all_text(lanes, " "),
        Pattern::Either(patterns) => all_text(patterns, " or "),
    }
}

fn text(observed: &Observed) -> String {
    match observed {
        Ok(values) => format!("{values:#x?}").replace(['\n', ' '], ""),
        Err(kind) => format!("a trap ({kind})"),
    }
}
