//! What a device's float operations really give: kernels divide, take roots, add, multiply and convert edge values and
//! random ones, and the results are compared bit for bit with the host's, which are correctly rounded. They are lifted as all
//! kernels are, with the float controls that the driver takes: NVIDIA's flushes subnormals unless told not to.

use std::collections::HashMap;

use parking_lot::Mutex;
use wavelift_translator::ir::{Type, WasmOp};
use wavelift_translator::{MAX_GUESS_ERROR, Profile};

use crate::device::gpu::{Adapter, GpuDevice, conformance, operands};
use crate::device::{Device, DeviceError, LaunchError};

/// Random pairs of each sort.
const RANDOM_PAIRS: usize = 4096;

/// What holds for one float type's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exactness {
    /// Quotients are correctly rounded.
    pub division: bool,
    /// Square roots are correctly rounded.
    pub square_root: bool,
    /// Products and sums keep subnormals, taken and given.
    pub subnormals: bool,
    /// Products and sums of normal numbers, where they are normal, are correctly rounded.
    pub arithmetic: bool,
    /// Quotients and roots of numbers of ordinary size (2^-8 to 2^64) are near enough to be corrected.
    pub close: bool,
}

/// Sizes of the numbers that corrections let a device divide.
const ORDINARY: std::ops::Range<f64> = 1.0 / 256.0..18_446_744_073_709_551_616.0;

impl Exactness {
    /// All of it.
    pub const ALL: Exactness =
        Exactness { division: true, square_root: true, subnormals: true, arithmetic: true, close: true };
}

/// What a device's floats were found to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// 32-bit floats.
    pub f32: Exactness,
    /// 64-bit floats; nothing holds where the device has none.
    pub f64: Exactness,
    /// Conversions of 32-bit integers to 32-bit floats are correctly rounded.
    pub conversions: bool,
    /// Conversions of 64-bit integers to floats are correctly rounded.
    pub wide_conversions: bool,
    /// Comparisons of 32-bit floats are right.
    pub comparisons: bool,
    /// Comparisons of 64-bit floats are right.
    pub wide_comparisons: bool,
    /// Conversions between the float types are correctly rounded.
    pub float_conversions: bool,
}

impl Findings {
    /// Everything is exact.
    pub const ALL: Findings = Findings {
        f32: Exactness::ALL,
        f64: Exactness::ALL,
        conversions: true,
        wide_conversions: true,
        comparisons: true,
        wide_comparisons: true,
        float_conversions: true,
    };
}

/// Products and sums are judged together with quotients and roots: what one kernel computes of each pair.
const OPERATORS: [[WasmOp; 4]; 2] = [
    [WasmOp::F32Div, WasmOp::F32Sqrt, WasmOp::F32Mul, WasmOp::F32Add],
    [WasmOp::F64Div, WasmOp::F64Sqrt, WasmOp::F64Mul, WasmOp::F64Add],
];
const COMPARISONS: [[WasmOp; 4]; 2] = [
    [WasmOp::F32Eq, WasmOp::F32Ne, WasmOp::F32Lt, WasmOp::F32Le],
    [WasmOp::F64Eq, WasmOp::F64Ne, WasmOp::F64Lt, WasmOp::F64Le],
];
const CONVERSIONS: [WasmOp; 2] = [WasmOp::F32ConvertI32U, WasmOp::F32ConvertI32S];
const WIDE_CONVERSIONS: [WasmOp; 4] =
    [WasmOp::F32ConvertI64U, WasmOp::F32ConvertI64S, WasmOp::F64ConvertI64U, WasmOp::F64ConvertI64S];

/// The findings for an adapter and the way in which its driver gets kernels: measured at the first call in this process, on
/// a device that `assuming` makes, which takes everything for exact.
pub(crate) fn cached(
    adapter: &Adapter,
    profile: Profile,
    assuming: impl FnOnce() -> Result<GpuDevice, DeviceError>,
) -> Result<Findings, DeviceError> {
    type Key = ([String; 3], Profile);
    static KNOWN: Mutex<Option<HashMap<Key, Findings>>> = Mutex::new(None);
    let info = adapter.info();
    let key = ([info.name.clone(), info.backend.clone(), info.driver.clone()], profile);
    if let Some(findings) = KNOWN.lock().as_ref().and_then(|known| known.get(&key)) {
        return Ok(*findings);
    }
    let findings = run(&assuming()?)?;
    KNOWN.lock().get_or_insert_default().insert(key, findings);
    Ok(findings)
}

/// Runs the probe on a device that takes everything for exact.
pub(crate) fn run(device: &GpuDevice) -> Result<Findings, DeviceError> {
    let features = device.options().features;
    let [of_f32, of_f64] = OPERATORS;
    let pairs = operands::pairs(Type::F32, RANDOM_PAIRS);
    let f32 = judge::<f32>(&pairs, &results(device, &of_f32, &pairs)?);
    let f64 = match features.float64 {
        true => {
            let pairs = operands::pairs(Type::F64, RANDOM_PAIRS);
            judge::<f64>(&pairs, &results(device, &of_f64, &pairs)?)
        }
        false => Exactness::default(),
    };
    let wide: &[WasmOp] = match (features.int64, features.float64) {
        (true, true) => &WIDE_CONVERSIONS,
        (true, false) => &WIDE_CONVERSIONS[..2],
        (false, _) => &[],
    };
    let conversions = are_right(device, &CONVERSIONS)?;
    let wide_conversions = !wide.is_empty() && are_right(device, wide)?;
    let comparisons = are_right(device, &COMPARISONS[0])?;
    let (wide_comparisons, float_conversions) = match features.float64 {
        true => (
            are_right(device, &COMPARISONS[1])?,
            are_right(device, &[WasmOp::F64PromoteF32])? && are_right(device, &[WasmOp::F32DemoteF64])?,
        ),
        false => (false, false),
    };
    Ok(Findings { f32, f64, conversions, wide_conversions, comparisons, wide_comparisons, float_conversions })
}

/// What the device makes of each pair.
fn results<const N: usize>(
    device: &GpuDevice,
    operators: &[WasmOp; N],
    pairs: &[[u64; 2]],
) -> Result<Vec<[u64; N]>, DeviceError> {
    let results = conformance::apply(device, operators, pairs).map_err(|error| failed(device, error))?;
    Ok(results.chunks_exact(N).map(|row| std::array::from_fn(|column| row[column])).collect())
}

/// Whether all conversions of edge values and random ones are right.
fn are_right(device: &GpuDevice, operators: &[WasmOp]) -> Result<bool, DeviceError> {
    let rows = operands::pairs(operators[0].params()[0], RANDOM_PAIRS);
    let results = conformance::apply(device, operators, &rows).map_err(|error| failed(device, error))?;
    Ok(all_right(operators, &rows, &results))
}

fn all_right(operators: &[WasmOp], rows: &[[u64; 2]], results: &[u64]) -> bool {
    let row_is_right = |(row, got): (&[u64; 2], &[u64])| {
        operators.iter().zip(got).all(|(op, got)| conformance::is_right(*op, *row, *got))
    };
    results.len() == rows.len() * operators.len()
        && rows.iter().zip(results.chunks_exact(operators.len())).all(row_is_right)
}

fn failed(device: &GpuDevice, error: LaunchError) -> DeviceError {
    match error {
        LaunchError::Device(error) => error,
        error => DeviceError::Failed {
            device: device.info().name.clone(),
            message: format!("What its floats do can't be found out: {error}"),
        },
    }
}

/// A float type of the host, whose operations are correctly rounded.
trait Float: Copy {
    fn of_bits(bits: u64) -> Self;
    fn is_ordinary(self) -> bool;
    /// Quotient, root, product and sum, as bits.
    fn right(a: Self, b: Self) -> [u64; 4];
    fn is_normal(self) -> bool;
    fn is_subnormal(self) -> bool;
    fn is_nan(self) -> bool;
}

macro_rules! float {
    ($float:ident, $bits:ident) => {
        impl Float for $float {
            fn of_bits(bits: u64) -> Self {
                $float::from_bits(bits as $bits)
            }
            fn is_ordinary(self) -> bool {
                ORDINARY.contains(&f64::from(self.abs()))
            }
            fn right(a: Self, b: Self) -> [u64; 4] {
                [a / b, a.sqrt(), a * b, a + b].map(|x| x.to_bits() as u64)
            }
            fn is_normal(self) -> bool {
                $float::is_normal(self)
            }
            fn is_subnormal(self) -> bool {
                $float::is_subnormal(self)
            }
            fn is_nan(self) -> bool {
                $float::is_nan(self)
            }
        }
    };
}

float!(f32, u32);
float!(f64, u64);

/// Compares a device's quotients, roots, products and sums with the right ones.
fn judge<F: Float>(pairs: &[[u64; 2]], results: &[[u64; 4]]) -> Exactness {
    // Fewer results than pairs would be no evidence.
    if results.len() != pairs.len() {
        return Exactness::default();
    }
    let mut exact = Exactness::ALL;
    for ([a, b], got) in pairs.iter().zip(results) {
        let (a, b) = (F::of_bits(*a), F::of_bits(*b));
        let right = F::right(a, b);
        let same = |i: usize| got[i] == right[i] || F::of_bits(right[i]).is_nan() && F::of_bits(got[i]).is_nan();
        exact.division &= same(0);
        exact.square_root &= same(1);
        for (i, takes_b) in [(0, true), (1, false)] {
            let ordinary = a.is_ordinary() && (b.is_ordinary() || !takes_b) && !F::of_bits(right[i]).is_nan();
            exact.close &= !ordinary || got[i].abs_diff(right[i]) <= MAX_GUESS_ERROR;
        }
        for i in [2, 3] {
            let result = F::of_bits(right[i]);
            if a.is_subnormal() || b.is_subnormal() || result.is_subnormal() {
                exact.subnormals &= same(i);
            } else if a.is_normal() && b.is_normal() && result.is_normal() {
                exact.arithmetic &= same(i);
            }
        }
    }
    exact
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<F: Float>(ty: Type) -> (Vec<[u64; 2]>, Vec<[u64; 4]>) {
        let pairs = operands::pairs(ty, 100);
        let right = pairs.iter().map(|[a, b]| F::right(F::of_bits(*a), F::of_bits(*b))).collect();
        (pairs, right)
    }

    fn one_wrong_bit_is_seen<F: Float>(ty: Type) {
        let (pairs, right) = rows::<F>(ty);
        assert_eq!(judge::<F>(&pairs, &right), Exactness::ALL);
        let is_plain = |row: &[u64; 4]| row.iter().all(|bits| F::of_bits(*bits).is_normal());
        let ordinary = |[a, b]: &[u64; 2]| F::of_bits(*a).is_ordinary() && F::of_bits(*b).is_ordinary();
        let row = (0..pairs.len()).find(|row| ordinary(&pairs[*row]) && is_plain(&right[*row])).unwrap();
        let wrong = |column: usize, bits: u64| {
            let mut results = right.clone();
            results[row][column] ^= bits;
            judge::<F>(&pairs, &results)
        };
        assert_eq!(wrong(0, 1), Exactness { division: false, ..Exactness::ALL });
        assert_eq!(wrong(1, 1), Exactness { square_root: false, ..Exactness::ALL });
        assert_eq!(wrong(2, 1), Exactness { arithmetic: false, ..Exactness::ALL });
        assert_eq!(wrong(3, 1), Exactness { arithmetic: false, ..Exactness::ALL });
        assert_eq!(wrong(0, 1 << 10), Exactness { division: false, close: false, ..Exactness::ALL });
        assert_eq!(judge::<F>(&pairs, &right[1..]), Exactness::default());
    }

    #[test]
    fn right_results_are_exact_and_one_wrong_bit_is_seen() {
        one_wrong_bit_is_seen::<f32>(Type::F32);
        one_wrong_bit_is_seen::<f64>(Type::F64);
    }

    #[test]
    fn a_conversion_that_is_cut_off_is_seen() {
        let rows = [0, 1, 0x0100_0001, 0xffff_ffff, 0x8000_0000].map(|x| [x, 0]);
        let right = |[x, _]: [u64; 2]| [(x as u32 as f32).to_bits(), (x as i32 as f32).to_bits()].map(u64::from);
        let mut results: Vec<u64> = rows.into_iter().flat_map(right).collect();
        assert!(all_right(&CONVERSIONS, &rows, &results) && !all_right(&CONVERSIONS, &rows, &results[2..]));
        results[6] -= 1;
        assert!(!all_right(&CONVERSIONS, &rows, &results));
    }

    #[test]
    fn flushed_subnormals_are_seen() {
        let (pairs, mut flushed) = rows::<f32>(Type::F32);
        for value in flushed.iter_mut().flatten() {
            if f32::from_bits(*value as u32).is_subnormal() {
                *value &= 0x8000_0000;
            }
        }
        let exact = judge::<f32>(&pairs, &flushed);
        assert_eq!(exact, Exactness { subnormals: false, division: false, ..Exactness::ALL });
    }
}
