//! The in and out buffers of a launch as bytes.

use wavelift::translator::ir::Type;

use crate::cases::Case;
use crate::wrap::{Kernel, MARK, in_slots, out_slots, slots};

/// The in buffer of these cases: record `i` has the arguments of case `i`.
pub fn arguments<'c>(kernel: &Kernel, cases: impl IntoIterator<Item = &'c Case>) -> Vec<u8> {
    let size = 8 * in_slots(&kernel.params);
    let mut bytes = Vec::new();
    for case in cases {
        let start = bytes.len();
        for (arg, ty) in case.args.iter().zip(&kernel.params) {
            bytes.extend(&arg.to_le_bytes()[..8 * slots(*ty)]);
        }
        bytes.resize(start + size, 0);
    }
    bytes
}

/// Size of the out buffer in bytes.
pub fn results_size(kernel: &Kernel, count: usize) -> usize {
    8 * out_slots(&kernel.results) * count
}

/// The results in record `index` of the out buffer.
///
/// # Errors
/// A sentence if the invocation did not come to its end, or wrote more than it should.
pub fn results(kernel: &Kernel, bytes: &[u8], index: usize) -> Result<Vec<u128>, String> {
    let size = 8 * out_slots(&kernel.results);
    let record = bytes.get(size * index..size * (index + 1)).ok_or("The out buffer is too short.")?;
    let bits = |bytes: &[u8]| bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    let (mark, mut rest) = record.split_at(8);
    if bits(mark) != u128::from(MARK) {
        return Err(format!("Invocation {index} did not come to its end."));
    }
    let mut values = Vec::with_capacity(kernel.results.len());
    for ty in &kernel.results {
        let (value, behind) = rest.split_at(8 * slots(*ty));
        values.push(bits(value));
        rest = behind;
    }
    let narrow = |ty: &Type| matches!(ty, Type::I32 | Type::F32);
    match kernel.results.iter().zip(&values).all(|(ty, value)| !narrow(ty) || *value <= u128::from(u32::MAX)) {
        true => Ok(values),
        false => Err(format!("Invocation {index} wrote beyond a result of 32 bits.")),
    }
}
