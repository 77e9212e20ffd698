//! Whether an engine's outputs are those of the guest.

use anyhow::{Result, ensure};

use crate::kernels::Tolerance;

/// Compares an output with what is expected of it, within a tolerance.
///
/// # Errors
/// A sentence that says how much is wrong, and where the first difference is.
pub fn require_same(what: &str, got: &[u8], expected: &[u8], tolerance: Tolerance) -> Result<()> {
    ensure!(got.len() == expected.len(), "{what} has {} bytes instead of {}.", got.len(), expected.len());
    if got == expected {
        return Ok(());
    }
    let (size, allowed) = match tolerance {
        Tolerance::Exact => (1, 0.0),
        Tolerance::F32(..) => (4, 0.0),
        Tolerance::F64(_) => (8, 0.0),
        Tolerance::Words(share) => (4, share),
    };
    let elements = got.chunks(size).zip(expected.chunks(size));
    let wrong: Vec<usize> =
        elements.enumerate().filter(|(_, (a, b))| !is_close(a, b, tolerance)).map(|(at, _)| at).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let count = got.len() / size;
    let show = |bytes: &[u8]| show(&bytes[first * size..][..size], tolerance);
    ensure!(
        wrong.len() as f64 <= allowed * count as f64,
        "{what} is wrong: {} of {count} elements differ, the first at {first}: {} instead of {}.",
        wrong.len(),
        show(got),
        show(expected)
    );
    Ok(())
}

/// NaN is close to nothing but the same NaN.
fn is_close(a: &[u8], b: &[u8], tolerance: Tolerance) -> bool {
    match tolerance {
        _ if a == b => true,
        Tolerance::F32(absolute, relative) => {
            let (a, b) = (f32_of(a), f32_of(b));
            (a - b).abs() <= absolute + relative * b.abs()
        }
        Tolerance::F64(relative) => {
            let (a, b) = (f64_of(a), f64_of(b));
            (a - b).abs() <= relative * b.abs()
        }
        Tolerance::Exact | Tolerance::Words(_) => false,
    }
}

fn f32_of(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(f32::NAN, f32::from_le_bytes)
}

fn f64_of(bytes: &[u8]) -> f64 {
    bytes.try_into().map_or(f64::NAN, f64::from_le_bytes)
}

fn show(bytes: &[u8], tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::F32(..) => f32_of(bytes).to_string(),
        Tolerance::F64(_) => f64_of(bytes).to_string(),
        Tolerance::Exact | Tolerance::Words(_) => format!("{bytes:02x?}"),
    }
}
