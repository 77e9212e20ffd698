//! Kernels on points and bodies.

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 12;
/// Centres of k-means.
const CENTRES: usize = 16;

/// Particles in a field of fixed charges.
pub fn pic(buffers: &mut Buffers<'_>) {
    let [cells, grid, particles] = buffers else { panic!("pic has three buffers") };
    let length = cast_slice::<u8, u32>(cells)[0] as usize;
    let (g, size) = (length + 1, length as f32);
    let grid: &[f32] = cast_slice(grid);
    let particles: &mut [[f32; 8]] = cast_slice_mut(particles);
    particles.par_chunks_mut(CHUNK).for_each(|particles| {
        for [px, py, vx, vy, charge, ..] in particles {
            let (x, y) = (*px as usize, *py as usize);
            let (dx, dy) = (*px - x as f32, *py - y as f32);
            let force = |dx: f32, dy: f32, at: usize| {
                let r2 = dx * dx + dy * dy;
                let pull = *charge * grid[at] / r2 / r2.sqrt();
                (pull * dx, pull * dy)
            };
            let (ax, ay) = force(dx, dy, y + x * g);
            let (bx, by) = force(dx, 1.0 - dy, y + 1 + x * g);
            let (cx, cy) = force(1.0 - dx, dy, y + (x + 1) * g);
            let (ex, ey) = force(1.0 - dx, 1.0 - dy, y + 1 + (x + 1) * g);
            let (ax, ay) = (ax + bx - cx - ex, ay - by + cy - ey);
            let wrap = |at: f32| at - size * (at / size).floor();
            *px = wrap(*px + *vx + 0.5 * ax + size);
            *py = wrap(*py + *vy + 0.5 * ay + size);
            *vx += ax;
            *vy += ay;
        }
    });
}

/// A step of bodies that attract each other.
pub fn nbody(buffers: &mut Buffers<'_>) {
    const LANES: usize = 16;
    let [params, velocities, from, to] = buffers else { panic!("nbody has four buffers") };
    let words: &[u32] = cast_slice(params);
    let (dt, softening) = (f32::from_bits(words[1]), f32::from_bits(words[2]));
    let from: &[[f32; 4]] = cast_slice(from);
    // Coordinates apart are vectors for a compiler.
    let [xs, ys, zs, masses] = [0, 1, 2, 3].map(|k| from.iter().map(|body| body[k]).collect::<Vec<f32>>());
    let to = cast_slice_mut::<u8, [f32; 4]>(to).par_chunks_mut(LANES);
    let velocities = cast_slice_mut::<u8, [f32; 4]>(velocities).par_chunks_mut(LANES);
    to.zip(velocities).enumerate().for_each(|(block, (to, velocities))| {
        let at = |of: &[f32]| -> [f32; LANES] {
            std::array::from_fn(|lane| of.get(block * LANES + lane).copied().unwrap_or_default())
        };
        let (x, y, z) = (at(&xs), at(&ys), at(&zs));
        let mut sums = [[0f32; LANES]; 3];
        for (((other_x, other_y), other_z), mass) in xs.iter().zip(&ys).zip(&zs).zip(&masses) {
            for lane in 0..LANES {
                let (dx, dy, dz) = (other_x - x[lane], other_y - y[lane], other_z - z[lane]);
                let inverse = 1.0 / (dx * dx + dy * dy + dz * dz + softening).sqrt();
                let pull = mass * inverse * inverse * inverse;
                sums[0][lane] += pull * dx;
                sums[1][lane] += pull * dy;
                sums[2][lane] += pull * dz;
            }
        }
        for (lane, (to, velocity)) in to.iter_mut().zip(velocities).enumerate() {
            let body = from[block * LANES + lane];
            for k in 0..3 {
                velocity[k] += sums[k][lane] * dt;
                to[k] = body[k] + velocity[k] * dt;
            }
            to[3] = body[3];
        }
    });
}

/// A step of Lloyd's algorithm.
pub fn kmeans(buffers: &mut Buffers<'_>) {
    let [points, centres, labels, _] = buffers else { panic!("kmeans has four buffers") };
    let points: &[[f32; 4]] = cast_slice(points);
    let centres: &mut [[f32; 4]] = cast_slice_mut(centres);
    let fixed = &*centres;
    let parts = cast_slice_mut::<u8, u32>(labels).par_chunks_mut(CHUNK).zip(points.par_chunks(CHUNK));
    let zero = || [[0u32; 5]; CENTRES];
    let join = |mut sums: [[u32; 5]; CENTRES], (labels, points): (&mut [u32], &[[f32; 4]])| {
        for (label, point) in labels.iter_mut().zip(points) {
            let (mut nearest, mut least) = (0, f32::INFINITY);
            for (k, centre) in fixed.iter().enumerate() {
                let distance: f32 = point.iter().zip(centre).map(|(a, b)| (a - b) * (a - b)).sum();
                if distance < least {
                    (nearest, least) = (k, distance);
                }
            }
            *label = nearest as u32;
            for (sum, coordinate) in sums[nearest].iter_mut().zip(point) {
                *sum = sum.wrapping_add(*coordinate as u32);
            }
            sums[nearest][4] += 1;
        }
        sums
    };
    let add = |mut a: [[u32; 5]; CENTRES], b: [[u32; 5]; CENTRES]| {
        for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
            *a = a.wrapping_add(*b);
        }
        a
    };
    let sums = parts.fold(zero, join).reduce(zero, add);
    for (centre, sum) in centres.iter_mut().zip(sums) {
        for (coordinate, total) in centre.iter_mut().zip(sum).filter(|_| sum[4] > 0) {
            *coordinate = total as f32 / sum[4] as f32;
        }
    }
}
