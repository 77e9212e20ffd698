//! Kernels on square grids.

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Rows and columns of the squares that a transposition takes at a time.
const TILE: usize = 32;

/// b += a transposed, a += 1.
pub fn transpose(buffers: &mut Buffers<'_>) {
    let [order, a, b] = buffers else { panic!("transpose has three buffers") };
    let n = cast_slice::<u8, u32>(order)[0] as usize;
    let (a, b): (&mut [f32], &mut [f32]) = (cast_slice_mut(a), cast_slice_mut(b));
    let from = &*a;
    b.par_chunks_mut(TILE * n).enumerate().for_each(|(band, rows)| {
        for first in (0..n).step_by(TILE) {
            for (row, to) in rows.chunks_exact_mut(n).enumerate() {
                let row = band * TILE + row;
                let columns = first..n.min(first + TILE);
                for (column, to) in columns.clone().zip(&mut to[columns]) {
                    *to += from[column * n + row];
                }
            }
        }
    });
    a.par_chunks_mut(TILE * n).for_each(|rows| rows.iter_mut().for_each(|element| *element += 1.0));
}

/// A star of radius 2, and 1 more for all points.
pub fn star(buffers: &mut Buffers<'_>) {
    let [size, grid, out] = buffers else { panic!("star has three buffers") };
    let n = cast_slice::<u8, u32>(size)[0] as usize;
    let grid: &mut [f32] = cast_slice_mut(grid);
    let from = &*grid;
    cast_slice_mut::<u8, f32>(out).par_chunks_mut(n).enumerate().skip(2).take(n - 4).for_each(|(y, out)| {
        let row = |d: usize| &from[(y + d - 2) * n..][..n];
        let (up2, up1, here, down1, down2) = (row(0), row(1), row(2), row(3), row(4));
        for x in 2..n - 2 {
            let mut sum = out[x];
            sum += -0.125 * up2[x];
            sum += -0.25 * up1[x];
            sum += 0.25 * down1[x];
            sum += 0.125 * down2[x];
            sum += -0.125 * here[x - 2];
            sum += -0.25 * here[x - 1];
            sum += 0.25 * here[x + 1];
            sum += 0.125 * here[x + 2];
            out[x] = sum;
        }
    });
    grid.par_chunks_mut(n).for_each(|row| row.iter_mut().for_each(|point| *point += 1.0));
}

/// A sweep over anti-diagonals of squares: those of one do not depend on each other.
pub fn p2p(buffers: &mut Buffers<'_>) {
    const SIDE: usize = 128;
    let grid: &mut [f32] = cast_slice_mut(&mut *buffers[0]);
    let n = (grid.len() as f64).sqrt() as usize;
    let squares = (n - 1).div_ceil(SIDE);
    let shared = SharedGrid(grid.as_mut_ptr());
    for diagonal in 0..2 * squares - 1 {
        let first = diagonal.saturating_sub(squares - 1);
        (first..=diagonal.min(squares - 1)).into_par_iter().for_each(|i| {
            let (top, left) = (1 + i * SIDE, 1 + (diagonal - i) * SIDE);
            for y in top..n.min(top + SIDE) {
                for x in left..n.min(left + SIDE) {
                    // SAFETY: all points lie inside the grid. No other square of the diagonal holds this point or reads it:
                    // what is above or to the left lies in it or in squares of diagonals before.
                    unsafe {
                        let at = shared.at(y * n + x);
                        *at = *at.sub(n) + *at.sub(1) - *at.sub(n + 1);
                    }
                }
            }
        });
    }
    grid[0] = -grid[n * n - 1];
}

/// A grid of which tasks write parts that do not overlap.
struct SharedGrid(*mut f32);

// SAFETY: whoever takes a pointer says why no other task is at the same point.
unsafe impl Sync for SharedGrid {}

impl SharedGrid {
    /// A point.
    ///
    /// # Safety
    /// It lies inside the grid.
    unsafe fn at(&self, index: usize) -> *mut f32 {
        // SAFETY: the caller vouches for the index.
        unsafe { self.0.add(index) }
    }
}
