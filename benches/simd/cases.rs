//! The kernels of `tests/guests/c/lanes.c` with more to do.

use wavelift::device::Access;

use crate::instance::floats;

/// A kernel and what it is launched with.
pub struct Case {
    pub kernel: &'static str,
    pub size: String,
    pub iterations: u32,
    pub block_size: u32,
    /// Contents and access of its buffers; the last is what it writes.
    pub buffers: Vec<(Vec<u8>, Access)>,
}

/// All of them, at sizes whose launches take some milliseconds.
pub fn all() -> Vec<Case> {
    vec![saxpy(4 << 20), nstream(4 << 20), nbody(2048), sobel(2050, 1026), gemm(384), xxhash32(16 << 20, 1024)]
}

/// Elements of an invocation of the loops that compilers vectorise.
const BLOCK: u32 = 64;

fn case(kernel: &'static str, size: String, iterations: u32, buffers: Vec<(Vec<u8>, Access)>) -> Case {
    Case { kernel, size, iterations, block_size: BLOCK, buffers }
}

fn saxpy(length: u32) -> Case {
    let (x, y) = (input(floats(length, -1.0, 1.0)), (floats(length, 0.0, 1.0), Access::ReadWrite));
    case("saxpy", format!("{length} in blocks of {BLOCK}"), length / BLOCK, vec![x, y])
}

fn nstream(length: u32) -> Case {
    let (b, c) = (input(floats(length, -1.0, 1.0)), input(floats(length, 0.0, 1.0)));
    let a = (floats(length, 0.0, 2.0), Access::ReadWrite);
    case("nstream", format!("{length} in blocks of {BLOCK}"), length / BLOCK, vec![b, c, a])
}

fn nbody(bodies: u32) -> Case {
    let params = [0.01f32, 0.001].iter().flat_map(|word| word.to_le_bytes()).collect();
    let velocity = (vec![0; 12 * bodies as usize], Access::ReadWrite);
    let buffers = vec![input(params), input(floats(4 * bodies, -1.0, 1.0)), velocity, output(16 * bodies)];
    case("nbody", format!("{bodies} bodies"), bodies / 4, buffers)
}

/// The width is a multiple of four, and two.
fn sobel(width: u32, height: u32) -> Case {
    let buffers = vec![input(words(&[width, height])), input(noise(4 * width * height)), output(4 * width * height)];
    case("sobel", format!("{width} x {height}"), (width - 2) / 4 * (height - 2), buffers)
}

fn gemm(n: u32) -> Case {
    let (a, b) = (input(floats(n * n, -1.0, 1.0)), input(floats(n * n, -0.5, 0.5)));
    case("gemm", format!("{n} x {n}"), n / 4 * (n / 8), vec![input(words(&[n])), a, b, output(4 * n * n)])
}

fn xxhash32(bytes: u32, row: u32) -> Case {
    let buffers = vec![input(noise(bytes)), output(4 * (bytes / row))];
    case("xxhash32", format!("{bytes} bytes in rows of {row}"), bytes / row, buffers)
}

fn input(bytes: Vec<u8>) -> (Vec<u8>, Access) {
    (bytes, Access::Read)
}

fn output(bytes: u32) -> (Vec<u8>, Access) {
    (vec![0; bytes as usize], Access::Write)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Bytes that are the same everywhere.
fn noise(bytes: u32) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8
    };
    (0..bytes).map(|_| next()).collect()
}
