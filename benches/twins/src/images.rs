//! Kernels on images.

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Points that are iterated at once: vectors for a compiler.
const LANES: usize = 16;

/// Steps until each point escapes.
pub fn mandelbrot(buffers: &mut Buffers<'_>) {
    let [params, steps] = buffers else { panic!("mandelbrot has two buffers") };
    let words: &[u32] = cast_slice(params);
    let (width, most) = (words[0] as usize, words[2]);
    let [left, top, dx, dy] = [3, 4, 5, 6].map(|k| f32::from_bits(words[k]));
    cast_slice_mut::<u8, u32>(steps).par_chunks_mut(width).enumerate().for_each(|(row, steps)| {
        let cy = top + row as f32 * dy;
        for (block, steps) in steps.chunks_mut(LANES).enumerate() {
            let cx: [f32; LANES] = std::array::from_fn(|lane| left + (block * LANES + lane) as f32 * dx);
            let counts = escape(cx, cy, most);
            steps.copy_from_slice(&counts[..steps.len()]);
        }
    });
}

/// All lanes go on until the last one escapes; a lane that did counts no more.
fn escape(cx: [f32; LANES], cy: f32, most: u32) -> [u32; LANES] {
    let (mut x, mut y) = ([0f32; LANES], [0f32; LANES]);
    let (mut count, mut inside) = ([0u32; LANES], [1u32; LANES]);
    for _ in 0..most {
        let mut any = 0;
        for lane in 0..LANES {
            let (xx, yy) = (x[lane] * x[lane], y[lane] * y[lane]);
            inside[lane] &= u32::from(xx + yy <= 4.0);
            count[lane] += inside[lane];
            y[lane] = 2.0 * x[lane] * y[lane] + cy;
            x[lane] = xx - yy + cx[lane];
            any |= inside[lane];
        }
        if any == 0 {
            break;
        }
    }
    count
}

/// Edges of a grey image of bytes.
pub fn sobel(buffers: &mut Buffers<'_>) {
    let [size, from, to] = buffers else { panic!("sobel has three buffers") };
    let words: &[u32] = cast_slice(size);
    let (width, height) = (words[0] as usize, words[1] as usize);
    let from = &**from;
    to.par_chunks_mut(width).enumerate().for_each(|(y, to)| {
        if y == 0 || y == height - 1 {
            return to.fill(0);
        }
        let row = |y: usize| &from[y * width..][..width];
        let (above, at, below) = (row(y - 1), row(y), row(y + 1));
        to[0] = 0;
        to[width - 1] = 0;
        for (x, to) in to.iter_mut().enumerate().take(width - 1).skip(1) {
            let value = |row: &[u8], x: usize| i32::from(row[x]);
            let across = value(above, x + 1) - value(above, x - 1)
                + 2 * (value(at, x + 1) - value(at, x - 1))
                + value(below, x + 1)
                - value(below, x - 1);
            let down = value(below, x - 1) - value(above, x - 1)
                + 2 * (value(below, x) - value(above, x))
                + value(below, x + 1)
                - value(above, x + 1);
            *to = (((across * across + down * down) as f32).sqrt() as i32).min(255) as u8;
        }
    });
}

/// A smoothing filter of radius 2 that keeps edges.
pub fn bilateral(buffers: &mut Buffers<'_>) {
    let [size, from, to] = buffers else { panic!("bilateral has three buffers") };
    let words: &[u32] = cast_slice(size);
    let (width, height) = (words[0] as i32, words[1] as i32);
    let from: &[f32] = cast_slice(from);
    cast_slice_mut::<u8, f32>(to).par_chunks_mut(width as usize).enumerate().for_each(|(y, to)| {
        let y = y as i32;
        for (x, to) in (0..width).zip(to) {
            let here = from[(y * width + x) as usize];
            let (mut sum, mut weights) = (0.0, 0.0);
            for dy in -2..=2 {
                let row = (y + dy).clamp(0, height - 1) * width;
                for dx in -2..=2 {
                    let there = from[(row + (x + dx).clamp(0, width - 1)) as usize];
                    let difference = there - here;
                    let weight = (-0.125 * (dx * dx + dy * dy) as f32 - 50.0 * difference * difference).exp();
                    sum += weight * there;
                    weights += weight;
                }
            }
            *to = sum / weights;
        }
    });
}
