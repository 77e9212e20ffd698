//! Kernels with mathematical functions, and the Fourier transform.

use bytemuck::{cast_slice, cast_slice_mut};
use rayon::prelude::*;

use crate::Buffers;

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 12;
const RATE: f32 = 0.02;
const VOLATILITY: f32 = 0.3;

/// The cumulative normal distribution by Abramowitz and Stegun's polynomial 26.2.17.
fn normal(d: f32) -> f32 {
    let k = 1.0 / (1.0 + 0.2316419 * d.abs());
    let sum = k * (0.319_381_53 + k * (-0.356_563_78 + k * (1.781_477_9 + k * (-1.821_256 + k * 1.330_274_5))));
    let tail = 0.398_942_3 * (-0.5 * d * d).exp() * sum;
    if d > 0.0 { 1.0 - tail } else { tail }
}

/// Prices of European options.
pub fn black_scholes(buffers: &mut Buffers<'_>) {
    let [options, prices] = buffers else { panic!("black_scholes has two buffers") };
    let options: &[[f32; 4]] = cast_slice(options);
    let prices: &mut [[f32; 2]] = cast_slice_mut(prices);
    prices.par_chunks_mut(CHUNK).zip(options.par_chunks(CHUNK)).for_each(|(prices, options)| {
        for (price, [spot, strike, years, _]) in prices.iter_mut().zip(options) {
            let root = VOLATILITY * years.sqrt();
            let d1 = ((spot / strike).ln() + (RATE + 0.5 * VOLATILITY * VOLATILITY) * years) / root;
            let discounted = strike * (-RATE * years).exp();
            let (first, second) = (normal(d1), normal(d1 - root));
            *price = [spot * first - discounted * second, discounted * (1.0 - second) - spot * (1.0 - first)];
        }
    });
}

/// Stockham's algorithm of radix 2, all stages.
pub fn fft(buffers: &mut Buffers<'_>) {
    let [source, factors, first, second, ..] = buffers else { panic!("fft has four buffers and its stages") };
    let (source, factors): (&[[f32; 2]], &[[f32; 2]]) = (cast_slice(source), cast_slice(factors));
    let (mut to, mut spare): (&mut [[f32; 2]], &mut [[f32; 2]]) = (cast_slice_mut(first), cast_slice_mut(second));
    let bits = source.len().trailing_zeros();
    stage(source, factors, to, 1);
    for k in 1..bits {
        std::mem::swap(&mut to, &mut spare);
        stage(spare, factors, to, 1 << k);
    }
}

fn stage(from: &[[f32; 2]], factors: &[[f32; 2]], to: &mut [[f32; 2]], stride: usize) {
    let half = from.len() / 2;
    let (low, high) = from.split_at(half);
    // A task takes whole pairs of blocks of the stride, or the other way round.
    let size = (2 * stride).max(2 * CHUNK.min(half));
    to.par_chunks_mut(size).enumerate().for_each(|(chunk, to)| {
        for (block, to) in to.chunks_exact_mut(2 * stride).enumerate() {
            let p = (chunk * size + block * 2 * stride) / 2;
            let [wr, wi] = factors[p];
            let (sums, differences) = to.split_at_mut(stride);
            let pairs = low[p..].iter().zip(&high[p..]).zip(sums.iter_mut().zip(differences));
            for (([ar, ai], [br, bi]), (sum, difference)) in pairs {
                *sum = [ar + br, ai + bi];
                let (re, im) = (ar - br, ai - bi);
                *difference = [re * wr - im * wi, re * wi + im * wr];
            }
        }
    });
}

/// Shares of exponentials, row by row.
pub fn softmax(buffers: &mut Buffers<'_>) {
    let [columns, from, to] = buffers else { panic!("softmax has three buffers") };
    let columns = cast_slice::<u8, u32>(columns)[0] as usize;
    let (from, to): (&[f32], &mut [f32]) = (cast_slice(from), cast_slice_mut(to));
    to.par_chunks_mut(columns).zip(from.par_chunks(columns)).for_each(|(to, from)| {
        let most = from.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for (to, from) in to.iter_mut().zip(from) {
            *to = (from - most).exp();
        }
        let sum: f32 = to.iter().sum();
        to.iter_mut().for_each(|value| *value /= sum);
    });
}
