//! Kernels on whole numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// Updates at random places.
pub fn random(buffers: &mut Buffers<'_>) {
    let [starts, updates, table] = buffers else { panic!("random has three buffers") };
    let updates = cast_slice::<u8, u32>(updates)[0];
    let table: &mut [u64] = cast_slice_mut(table);
    let mask = table.len() as u64 - 1;
    // SAFETY: the table is this function's alone, and atomic numbers are laid out as plain ones.
    let table: &[AtomicU64] = unsafe { std::slice::from_raw_parts(table.as_ptr().cast(), table.len()) };
    cast_slice::<u8, u64>(starts).par_iter().for_each(|start| {
        let mut number = *start;
        for _ in 0..updates {
            number = (number << 1) ^ if (number as i64) < 0 { 7 } else { 0 };
            table[(number & mask) as usize].fetch_xor(number, Ordering::Relaxed);
        }
    });
}

/// A branch that depends on data inside a loop.
pub fn branch(buffers: &mut Buffers<'_>) {
    let [iterations, index, vector] = buffers else { panic!("branch has three buffers") };
    let iterations = cast_slice::<u8, u32>(iterations)[0];
    let (index, vector): (&[u32], &mut [i32]) = (cast_slice(index), cast_slice_mut(vector));
    vector.par_chunks_mut(CHUNK).zip(index.par_chunks(CHUNK)).enumerate().for_each(|(chunk, (vector, index))| {
        let first = chunk * CHUNK;
        for _ in (0..iterations).step_by(2) {
            for sign in [-1, 1] {
                for i in 0..vector.len() {
                    let value = sign * (3 - ((first + i) & 7) as i32);
                    // The index is the identity, which a compiler can't know.
                    let positive = vector[index[i] as usize - first] > 0;
                    vector[i] -= if positive { 2 * vector[i] } else { 2 * value };
                }
            }
        }
    });
}

/// How often each value occurs.
pub fn histogram(buffers: &mut Buffers<'_>) {
    let [data, bins] = buffers else { panic!("histogram has two buffers") };
    let bins: &mut [u32] = cast_slice_mut(bins);
    let mask = bins.len() - 1;
    let zero = || vec![0u32; mask + 1];
    let count = |mut bins: Vec<u32>, values: &[u32]| {
        for value in values {
            bins[*value as usize & mask] += 1;
        }
        bins
    };
    let add = |mut a: Vec<u32>, b: Vec<u32>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a = a.wrapping_add(b));
        a
    };
    let counts = cast_slice::<u8, u32>(data).par_chunks(CHUNK).fold(zero, count).reduce(zero, add);
    bins.iter_mut().zip(counts).for_each(|(bin, count)| *bin = bin.wrapping_add(count));
}

/// Sums of all elements before each.
pub fn scan(buffers: &mut Buffers<'_>) {
    let [data, out, ..] = buffers else { panic!("scan has two buffers and its levels") };
    let (data, out): (&[u32], &mut [u32]) = (cast_slice(data), cast_slice_mut(out));
    let sum = |values: &[u32]| values.iter().fold(0u32, |sum, value| sum.wrapping_add(*value));
    let mut before: Vec<u32> = data.par_chunks(CHUNK).map(sum).collect();
    let mut total = 0u32;
    for sum in &mut before {
        (*sum, total) = (total, total.wrapping_add(*sum));
    }
    out.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK)).zip(before).for_each(|((out, data), mut sum)| {
        for (out, value) in out.iter_mut().zip(data) {
            *out = sum;
            sum = sum.wrapping_add(*value);
        }
    });
}

/// The round constants of FIPS 180-4.
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];
const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
/// Messages that are hashed at once: vectors for a compiler.
const LANES: usize = if cfg!(target_feature = "avx2") { 8 } else { 4 };
type Lanes = [u32; LANES];

/// The hash of many messages of 64 bytes.
pub fn sha256(buffers: &mut Buffers<'_>) {
    let [messages, digests] = buffers else { panic!("sha256 has two buffers") };
    let (messages, digests): (&[[u32; 16]], &mut [[u32; 8]]) = (cast_slice(messages), cast_slice_mut(digests));
    digests.par_chunks_mut(LANES).zip(messages.par_chunks(LANES)).for_each(|(digests, messages)| {
        let word = |k: usize| -> Lanes {
            std::array::from_fn(|lane| messages.get(lane).map_or(0, |message| message[k].swap_bytes()))
        };
        let mut state = START.map(|word| [word; LANES]);
        compress(&mut state, std::array::from_fn(word));
        let mut padding = [[0; LANES]; 16];
        padding[0] = [0x8000_0000; LANES];
        padding[15] = [512; LANES];
        compress(&mut state, padding);
        for (lane, digest) in digests.iter_mut().enumerate() {
            *digest = std::array::from_fn(|k| state[k][lane].swap_bytes());
        }
    });
}

/// Each lane's value: a vector's, for a compiler.
#[inline(always)]
fn each(value: impl Fn(usize) -> u32) -> Lanes {
    let mut lanes = [0; LANES];
    for (lane, out) in lanes.iter_mut().enumerate() {
        *out = value(lane);
    }
    lanes
}

fn compress(state: &mut [Lanes; 8], mut w: [Lanes; 16]) {
    let mut v = *state;
    for (first, constants) in ROUND.chunks_exact(16).enumerate() {
        // Sixteen rounds are written out by the compiler: places in the schedule are constants.
        for t in 0..16 {
            if first > 0 {
                let (x, y, z, old) = (w[(t + 1) & 15], w[(t + 14) & 15], w[(t + 9) & 15], w[t]);
                w[t] = each(|k| {
                    old[k]
                        .wrapping_add(x[k].rotate_right(7) ^ x[k].rotate_right(18) ^ (x[k] >> 3))
                        .wrapping_add(z[k])
                        .wrapping_add(y[k].rotate_right(17) ^ y[k].rotate_right(19) ^ (y[k] >> 10))
                });
            }
            let ([a, b, c, d, e, f, g, h], word) = (v, w[t]);
            let first = each(|k| {
                h[k].wrapping_add(e[k].rotate_right(6) ^ e[k].rotate_right(11) ^ e[k].rotate_right(25))
                    .wrapping_add(g[k] ^ (e[k] & (f[k] ^ g[k])))
                    .wrapping_add(constants[t])
                    .wrapping_add(word[k])
            });
            let second = each(|k| {
                (a[k].rotate_right(2) ^ a[k].rotate_right(13) ^ a[k].rotate_right(22))
                    .wrapping_add((a[k] & b[k]) | (c[k] & (a[k] | b[k])))
            });
            let (new_e, new_a) = (each(|k| d[k].wrapping_add(first[k])), each(|k| first[k].wrapping_add(second[k])));
            v = [new_a, a, b, c, new_e, e, f, g];
        }
    }
    for (state, words) in state.iter_mut().zip(v) {
        *state = each(|k| state[k].wrapping_add(words[k]));
    }
}
