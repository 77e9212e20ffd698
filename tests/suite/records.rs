//! The in and out buffers of a launch as bytes.

use wavelift::translator::ir::Type;

use crate::cases::Case;
use crate::wrap::{Kernel, MARK, in_slots, out_slots};

/// The in buffer of these cases: record `i` has the arguments of case `i`.
pub fn arguments<'c>(kernel: &Kernel, cases: impl IntoIterator<Item = &'c Case>) -> Vec<u8> {
    let slots = in_slots(kernel.params.len());
    let mut bytes = Vec::new();
    for case in cases {
        let start = bytes.len();
        case.args.iter().for_each(|arg| bytes.extend(arg.to_le_bytes()));
        bytes.resize(start + 8 * slots, 0);
    }
    bytes
}

/// Size of the out buffer in bytes.
pub fn results_size(kernel: &Kernel, count: usize) -> usize {
    8 * out_slots(kernel.results.len()) * count
}

/// The results in record `index` of the out buffer.
///
/// # Errors
/// A sentence if the invocation did not come to its end, or wrote more than it should.
pub fn results(kernel: &Kernel, bytes: &[u8], index: usize) -> Result<Vec<u64>, String> {
    let slots = out_slots(kernel.results.len());
    let record = bytes.get(8 * slots * index..8 * slots * (index + 1)).ok_or("The out buffer is too short.")?;
    let mut words =
        record.chunks_exact(8).map(|slot| slot.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)));
    if words.next() != Some(MARK) {
        return Err(format!("Invocation {index} did not come to its end."));
    }
    let values: Vec<u64> = words.collect();
    let narrow = |ty: &Type| matches!(ty, Type::I32 | Type::F32);
    match kernel.results.iter().zip(&values).all(|(ty, value)| !narrow(ty) || *value <= u64::from(u32::MAX)) {
        true => Ok(values),
        false => Err(format!("Invocation {index} wrote beyond a result of 32 bits.")),
    }
}
