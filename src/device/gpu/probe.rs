//! What a device's float operations really give: a shader divides, takes roots, adds and multiplies edge values and
//! random ones, and the results are compared bit for bit with the host's, which are correctly rounded.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use wavelift_translator::MAX_GUESS_ERROR;
use wavelift_translator::ir::Type;

use crate::device::DeviceError;
use crate::device::gpu::Adapter;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::operands;
use crate::device::gpu::raw::WgslKernel;

/// Random pairs of each sort.
const RANDOM_PAIRS: usize = 4096;
/// Invocations of a group of the probe's shaders.
const GROUP: usize = 64;

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
    /// Quotients and roots of normal numbers, where they are normal, are near enough to be corrected.
    pub close: bool,
}

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
}

const F32_SHADER: &str = "
@group(0) @binding(0) var<storage, read_write> input: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<u32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&input) { return; }
    let a = bitcast<f32>(input[id.x].x);
    let b = bitcast<f32>(input[id.x].y);
    output[id.x] = bitcast<vec4<u32>>(vec4<f32>(a / b, sqrt(a), a * b, a + b));
}";

const F64_SHADER: &str = "
@group(0) @binding(0) var<storage, read_write> input: array<vec2<f64>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f64>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&input) { return; }
    let a = input[id.x].x;
    let b = input[id.x].y;
    output[id.x] = vec4<f64>(a / b, sqrt(a), a * b, a + b);
}";

/// The findings for an adapter: measured at the first call in this process, on a connection to it.
pub(crate) fn cached(adapter: &Adapter, connection: &Arc<Connection>) -> Result<Findings, DeviceError> {
    static KNOWN: Mutex<Option<HashMap<[String; 3], Findings>>> = Mutex::new(None);
    let info = adapter.info();
    let key = [info.name.clone(), info.backend.clone(), info.driver.clone()];
    if let Some(findings) = KNOWN.lock().as_ref().and_then(|known| known.get(&key)) {
        return Ok(*findings);
    }
    let findings = run(connection)?;
    KNOWN.lock().get_or_insert_default().insert(key, findings);
    Ok(findings)
}

/// Runs the probe.
pub(crate) fn run(connection: &Arc<Connection>) -> Result<Findings, DeviceError> {
    let pairs = operands::pairs(Type::F32, RANDOM_PAIRS);
    let words: Vec<[u32; 2]> = pairs.iter().map(|pair| pair.map(|bits| bits as u32)).collect();
    let bytes = run_shader(connection, F32_SHADER, bytemuck::cast_slice(&words), pairs.len(), 16)?;
    let results = bytemuck::pod_collect_to_vec::<u8, [u32; 4]>(&bytes);
    let results: Vec<[u64; 4]> = results.iter().map(|row| row.map(u64::from)).collect();
    let f32 = judge::<f32>(&pairs, &results);
    if !connection.has(wgpu::Features::SHADER_F64) {
        return Ok(Findings { f32, f64: Exactness::default() });
    }
    let pairs = operands::pairs(Type::F64, RANDOM_PAIRS);
    let bytes = run_shader(connection, F64_SHADER, bytemuck::cast_slice(&pairs), pairs.len(), 32)?;
    let f64 = judge::<f64>(&pairs, &bytemuck::pod_collect_to_vec::<u8, [u64; 4]>(&bytes));
    Ok(Findings { f32, f64 })
}

fn run_shader(
    connection: &Arc<Connection>,
    source: &str,
    input: &[u8],
    count: usize,
    result_size: usize,
) -> Result<Vec<u8>, DeviceError> {
    let kernel = WgslKernel::on(connection, source)?;
    let (input, output) = (kernel.buffer(input)?, kernel.buffer(&vec![0; count * result_size])?);
    kernel.bind(&[&input, &output], &[])?.dispatch([count.div_ceil(GROUP) as u32, 1, 1])?;
    output.read()
}

/// A float type of the host, whose operations are correctly rounded.
trait Float: Copy {
    fn of_bits(bits: u64) -> Self;
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
            let normal = a.is_normal() && (b.is_normal() || !takes_b) && F::of_bits(right[i]).is_normal();
            exact.close &= !normal || got[i].abs_diff(right[i]) <= MAX_GUESS_ERROR;
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
        let normal = |[a, b]: &[u64; 2]| F::of_bits(*a).is_normal() && F::of_bits(*b).is_normal();
        let row = (0..pairs.len()).find(|row| normal(&pairs[*row]) && is_plain(&right[*row])).unwrap();
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
