//! What a device's float operations really give: a shader divides, takes roots, adds and multiplies edge values and
//! random ones, and the results are compared bit for bit with the host's, which are correctly rounded.

use std::sync::Arc;

use crate::device::DeviceError;
use crate::device::gpu::connection::Connection;
use crate::device::gpu::raw::WgslKernel;

/// Random pairs of each sort.
const RANDOM_PAIRS: usize = 4096;
/// Invocations of a group of the probe's shaders.
const GROUP: usize = 64;

/// Which operations were exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exactness {
    /// `f32` division is correctly rounded.
    pub div_f32: bool,
    /// `f32` square root is correctly rounded.
    pub sqrt_f32: bool,
    /// `f32` products and sums keep subnormals, taken and given.
    pub subnormals_f32: bool,
    /// `f64` division is correctly rounded.
    pub div_f64: bool,
    /// `f64` square root is correctly rounded.
    pub sqrt_f64: bool,
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
@group(0) @binding(1) var<storage, read_write> output: array<vec2<f64>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&input) { return; }
    let a = input[id.x].x;
    let b = input[id.x].y;
    output[id.x] = vec2<f64>(a / b, sqrt(a));
}";

/// Runs the probe. Without `f64` on the device the answers for it are no.
pub(crate) fn run(connection: &Arc<Connection>) -> Result<Exactness, DeviceError> {
    let pairs = pairs_f32();
    let bytes = run_shader(connection, F32_SHADER, bytemuck::cast_slice(&pairs), pairs.len(), 16)?;
    let mut exact = judge_f32(&pairs, &bytemuck::pod_collect_to_vec::<u8, [u32; 4]>(&bytes));
    if connection.has(wgpu::Features::SHADER_F64) {
        let pairs = pairs_f64();
        let bytes = run_shader(connection, F64_SHADER, bytemuck::cast_slice(&pairs), pairs.len(), 16)?;
        (exact.div_f64, exact.sqrt_f64) = judge_f64(&pairs, &bytemuck::pod_collect_to_vec::<u8, [u64; 2]>(&bytes));
    }
    Ok(exact)
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

fn judge_f32(pairs: &[[u32; 2]], results: &[[u32; 4]]) -> Exactness {
    let same = |got: u32, want: f32| got == want.to_bits() || want.is_nan() && f32::from_bits(got).is_nan();
    let mut exact = Exactness { div_f32: true, sqrt_f32: true, subnormals_f32: true, div_f64: false, sqrt_f64: false };
    // Fewer results than pairs would be no evidence.
    if results.len() != pairs.len() {
        return Exactness::default();
    }
    for ([a, b], [quotient, root, product, sum]) in pairs.iter().zip(results) {
        let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
        exact.div_f32 &= same(*quotient, a / b);
        exact.sqrt_f32 &= same(*root, a.sqrt());
        for (got, want) in [(*product, a * b), (*sum, a + b)] {
            if a.is_subnormal() || b.is_subnormal() || want.is_subnormal() {
                exact.subnormals_f32 &= same(got, want);
            }
        }
    }
    exact
}

fn judge_f64(pairs: &[[u64; 2]], results: &[[u64; 2]]) -> (bool, bool) {
    let same = |got: u64, want: f64| got == want.to_bits() || want.is_nan() && f64::from_bits(got).is_nan();
    let value = |bits: u64| f64::from_bits(bits);
    let all = |right: &dyn Fn(&[u64; 2], &[u64; 2]) -> bool| pairs.iter().zip(results).all(|(p, r)| right(p, r));
    let complete = results.len() == pairs.len();
    (
        complete && all(&|p, r| same(r[0], value(p[0]) / value(p[1]))),
        complete && all(&|p, r| same(r[1], value(p[0]).sqrt())),
    )
}

/// Every edge value with every other, random bits, and random significands with exponents near 0.
fn pairs_f32() -> Vec<[u32; 2]> {
    let positive = [
        0.0,
        f32::from_bits(1),
        f32::from_bits(0x7f_ffff),
        f32::MIN_POSITIVE,
        f32::EPSILON,
        1.0 / 3.0,
        0.5,
        1.0,
        1.0 + f32::EPSILON,
        1.5,
        2.0,
        3.0,
        10.0,
        16_777_215.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    let edges: Vec<u32> = positive.iter().flat_map(|v| [v.to_bits(), (-v).to_bits()]).collect();
    let mut pairs: Vec<[u32; 2]> = edges.iter().flat_map(|a| edges.iter().map(move |b| [*a, *b])).collect();
    let mut random = Random(1);
    pairs.extend((0..RANDOM_PAIRS).map(|_| [random.next() as u32, random.next() as u32]));
    let mut near_one = || (random.next() as u32 & 0x00ff_ffff) + (126 << 23);
    pairs.extend((0..RANDOM_PAIRS).map(|_| [near_one(), near_one()]));
    pairs
}

/// The same for 64 bits.
fn pairs_f64() -> Vec<[u64; 2]> {
    let positive = [
        0.0,
        f64::from_bits(1),
        f64::MIN_POSITIVE,
        f64::EPSILON,
        1.0 / 3.0,
        1.0,
        1.0 + f64::EPSILON,
        1.5,
        2.0,
        3.0,
        10.0,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
    ];
    let edges: Vec<u64> = positive.iter().flat_map(|v| [v.to_bits(), (-v).to_bits()]).collect();
    let mut pairs: Vec<[u64; 2]> = edges.iter().flat_map(|a| edges.iter().map(move |b| [*a, *b])).collect();
    let mut random = Random(2);
    pairs.extend((0..RANDOM_PAIRS).map(|_| [random.next(), random.next()]));
    let mut near_one = || (random.next() & ((1 << 53) - 1)) + (1022 << 52);
    pairs.extend((0..RANDOM_PAIRS).map(|_| [near_one(), near_one()]));
    pairs
}

/// The generator SplitMix64: the same pairs in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right_f32(pairs: &[[u32; 2]]) -> Vec<[u32; 4]> {
        let value = f32::from_bits;
        let row = |[a, b]: &[u32; 2]| {
            let (a, b) = (value(*a), value(*b));
            [a / b, a.sqrt(), a * b, a + b].map(f32::to_bits)
        };
        pairs.iter().map(row).collect()
    }

    #[test]
    fn right_results_are_exact_and_one_wrong_bit_is_seen() {
        let pairs = pairs_f32();
        let right = right_f32(&pairs);
        let exact = judge_f32(&pairs, &right);
        assert!(exact.div_f32 && exact.sqrt_f32 && exact.subnormals_f32);
        let near_one = pairs.len() - 1;
        let wrong = |column: usize| {
            let mut results = right.clone();
            results[near_one][column] ^= 1;
            judge_f32(&pairs, &results)
        };
        assert!(!wrong(0).div_f32 && wrong(0).sqrt_f32);
        assert!(!wrong(1).sqrt_f32 && wrong(1).div_f32);
        assert_eq!(judge_f32(&pairs, &right[1..]), Exactness::default());
    }

    #[test]
    fn flushed_subnormals_are_seen() {
        let pairs = pairs_f32();
        let mut flushed = right_f32(&pairs);
        for value in flushed.iter_mut().flatten() {
            if f32::from_bits(*value).is_subnormal() {
                *value &= 0x8000_0000;
            }
        }
        let exact = judge_f32(&pairs, &flushed);
        assert!(!exact.subnormals_f32 && !exact.div_f32 && exact.sqrt_f32);
    }

    #[test]
    fn a_wrong_f64_is_seen() {
        let pairs = pairs_f64();
        let value = f64::from_bits;
        let right: Vec<[u64; 2]> =
            pairs.iter().map(|[a, b]| [value(*a) / value(*b), value(*a).sqrt()].map(f64::to_bits)).collect();
        assert_eq!(judge_f64(&pairs, &right), (true, true));
        let mut wrong = right.clone();
        wrong[pairs.len() - 1][0] ^= 1;
        assert_eq!(judge_f64(&pairs, &wrong), (false, true));
    }
}
