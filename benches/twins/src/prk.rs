//! Kernels that go through memory once.

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// a += b + 3 c.
pub fn nstream(buffers: &mut Buffers<'_>) {
    let [b, c, a] = buffers else { panic!("nstream has three buffers") };
    let (a, b, c): (&mut [f32], &[f32], &[f32]) = (cast_slice_mut(a), cast_slice(b), cast_slice(c));
    let chunks = a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).zip(c.par_chunks(CHUNK));
    chunks.for_each(|((a, b), c)| {
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a += b + 3.0 * c;
        }
    });
}

/// y = 2 x + y.
pub fn saxpy(buffers: &mut Buffers<'_>) {
    let [x, y] = buffers else { panic!("saxpy has two buffers") };
    let (x, y): (&[f32], &mut [f32]) = (cast_slice(x), cast_slice_mut(y));
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x) {
            *y += 2.0 * x;
        }
    });
}

/// A sparse matrix times a vector that grows before.
pub fn sparse(buffers: &mut Buffers<'_>) {
    let [params, matrix, columns, vector, result] = buffers else { panic!("sparse has five buffers") };
    let each = cast_slice::<u8, u32>(params)[0] as usize;
    let (matrix, columns): (&[f32], &[u32]) = (cast_slice(matrix), cast_slice(columns));
    let vector: &mut [f32] = cast_slice_mut(vector);
    vector.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, elements)| {
        for (i, element) in elements.iter_mut().enumerate() {
            *element += (chunk * CHUNK + i + 1) as f32;
        }
    });
    let (vector, rows) = (&*vector, 1 << 10);
    let parts = cast_slice_mut::<u8, f32>(result).par_chunks_mut(rows);
    let parts = parts.zip(matrix.par_chunks(rows * each)).zip(columns.par_chunks(rows * each));
    parts.for_each(|((result, matrix), columns)| {
        let entries = matrix.chunks_exact(each).zip(columns.chunks_exact(each));
        for (result, (matrix, columns)) in result.iter_mut().zip(entries) {
            *result += matrix.iter().zip(columns).map(|(entry, column)| entry * vector[*column as usize]).sum::<f32>();
        }
    });
}

/// The sum of vectors that lie behind each other.
pub fn reduce(buffers: &mut Buffers<'_>) {
    let [size, vectors, _, result] = buffers else { panic!("reduce has four buffers") };
    let length = cast_slice::<u8, u32>(size)[0] as usize;
    let vectors: &[f32] = cast_slice(vectors);
    // Each task adds vectors of its own; then the tasks' sums are added.
    let add = |mut sum: Vec<f32>, vector: &[f32]| {
        for (sum, element) in sum.iter_mut().zip(vector) {
            *sum += element;
        }
        sum
    };
    let zero = || vec![0.0; length];
    let sum = vectors.par_chunks_exact(length).fold(zero, add).reduce(zero, |a, b| add(a, &b));
    cast_slice_mut::<u8, f32>(result).copy_from_slice(&sum);
}
