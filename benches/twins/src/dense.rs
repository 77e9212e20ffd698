//! Products of matrices.

use std::ops::{AddAssign, Mul};

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Rows of C that are computed at once, each with the same rows of B.
const ROWS: usize = 4;
/// Columns of C that stay in the first cache meanwhile.
const COLUMNS: usize = 512;
/// Rows of B that do.
const DEPTH: usize = 64;

/// C += A B in f32.
pub fn gemm_f32(buffers: &mut Buffers<'_>) {
    gemm::<f32>(buffers);
}

/// C += A B in f64.
pub fn gemm_f64(buffers: &mut Buffers<'_>) {
    gemm::<f64>(buffers);
}

fn gemm<T: Pod + Send + Sync + AddAssign + Mul<Output = T>>(buffers: &mut Buffers<'_>) {
    let [order, a, b, c] = buffers else { panic!("gemm has four buffers") };
    let n = cast_slice::<u8, u32>(order)[0] as usize;
    let (a, b): (&[T], &[T]) = (cast_slice(a), cast_slice(b));
    let rows = cast_slice_mut::<u8, T>(c).par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * n));
    rows.for_each(|(c, a)| {
        for first_column in (0..n).step_by(COLUMNS) {
            let columns = first_column..n.min(first_column + COLUMNS);
            for first in (0..n).step_by(DEPTH) {
                for k in first..n.min(first + DEPTH) {
                    let b = &b[k * n..][columns.clone()];
                    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(n)) {
                        let factor = a[k];
                        for (c, b) in c[columns.clone()].iter_mut().zip(b) {
                            *c += factor * *b;
                        }
                    }
                }
            }
        }
    });
}
