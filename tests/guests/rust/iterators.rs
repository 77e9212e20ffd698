//! iterators - what Rust makes of slices, iterators, checked and wide arithmetic, patterns and small collections.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
#![no_std]
#![no_main]

#[path = "../harness.rs"]
mod harness;

use core::slice;

use harness::{Access, Kernel, Random, array, launch};

const N: usize = 60;

/// The words of an iteration.
fn words<'a>(data: *mut u8, size: u32, i: i32, count: usize) -> &'a mut [u32] {
    let all = unsafe { slice::from_raw_parts_mut(data as *mut u32, size as usize / 4) };
    &mut all[count * i as usize..][..count]
}

extern "C" fn adapters(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (words(x, x_size, i, 16), words(y, y_size, i, 8));
    let kept = x.iter().map(|v| v >> 3).filter(|v| v % 3 == 0);
    y[0] = kept.fold(7, |all: u32, v| all.wrapping_mul(31).wrapping_add(v));
    y[1] = x.iter().zip(x.iter().skip(3)).map(|(a, b)| a ^ b).max().unwrap_or(0);
    y[2] = x.iter().rev().enumerate().take_while(|(k, v)| *k < 9 && **v % 7 != 5).count() as u32;
    y[3] = x.iter().step_by(3).copied().reduce(|a, b| a.rotate_left(3) ^ b).unwrap_or(1);
    for (to, chunk) in y[4..].iter_mut().zip(x.chunks_exact(4)) {
        *to = chunk.windows(2).fold(0, |all: u32, pair| all.wrapping_add(pair[0] ^ pair[1]));
    }
}

extern "C" fn slices(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (words(x, x_size, i, 10), words(y, y_size, i, 10));
    y.copy_from_slice(x);
    y.rotate_left(i as usize % 7);
    y[2..8].reverse();
    let (low, high) = y.split_at_mut(5);
    low.swap_with_slice(high);
    y.copy_within(0..3, 4);
    y[9] = y.iter().position(|v| v % 2 == 1).map_or(99, |k| k as u32);
    let sorted: [u32; 8] = core::array::from_fn(|k| 7 * k as u32 + i as u32);
    y[8] = sorted.binary_search(&(x[0] % 120)).unwrap_or_else(|k| 1000 + k) as u32;
}

extern "C" fn arithmetic(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (words(x, x_size, i, 4), words(y, y_size, i, 8));
    let (a, b) = (x[0] as i32, x[1] as i32);
    y[0] = a.checked_add(b).map_or(1, |v| v as u32);
    y[1] = a.checked_div(b & 7).unwrap_or(-1) as u32;
    y[2] = a.saturating_mul(b) as u32;
    y[3] = u32::from((x[0] as u8).saturating_sub(x[1] as u8)) + u32::from(a.overflowing_sub(b).1);
    let wide = u128::from(x[0]) << 96 | u128::from(x[1]) << 64 | u128::from(x[2]) << 32 | u128::from(x[3]);
    let (first, second) = (wide / (u128::from(x[2]) << 20 | 1), wide / (u128::from(x[3]) | 1));
    let mixed = (first ^ second).rotate_left(i as u32);
    for (k, to) in y[4..].iter_mut().enumerate() {
        *to = (mixed >> (32 * k)) as u32;
    }
}

/// The words that are no multiples of three, by the number of times they came; `None` when there is no room left.
struct Counts<const SIZE: usize>([Option<(u32, u32)>; SIZE]);

impl<const SIZE: usize> Counts<SIZE> {
    fn of(&mut self, key: u32) -> Option<&mut u32> {
        let key = Some(key).filter(|key| key % 3 != 0)?;
        let place = self.0.iter().position(|entry| entry.is_none_or(|(known, _)| known == key))?;
        let (_, count) = self.0[place].get_or_insert((key, 0));
        Some(count)
    }
}

extern "C" fn collections(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (words(x, x_size, i, 12), words(y, y_size, i, 3));
    let mut counts = Counts::<5>([None; 5]);
    let mut left = 0;
    for word in x.iter() {
        match counts.of(word % 11) {
            Some(count) => *count += 1,
            None => left += 1,
        }
    }
    y[0] = counts.0.iter().flatten().map(|(key, count)| key * count * count).sum();
    y[1] = left;
    y[2] = match (x[0] % 4, x[1] as u8, &x[2..]) {
        (0, ..) => 1,
        (1, 0..=99, [first, ..]) => *first,
        (2, byte @ (100 | 120 | 200..), [.., last]) => *last ^ u32::from(byte),
        (kind, byte, [a, b, ..]) if a > b => kind + u32::from(byte),
        (kind @ 3.., ..) => kind * 100,
        _ => 77,
    };
}

/// Runs a kernel over random words, so many of input and of output for each iteration.
fn run(name: &str, kernel: extern "C" fn(i32, i32, i32, *mut u8, u32, *mut u8, u32), inputs: usize, outputs: usize) {
    let (mut x, mut y) = ([0u32; 16 * N], [0u32; 10 * N]);
    let mut random = Random(inputs as u32);
    x.iter_mut().chain(&mut y).for_each(|word| *word = random.word());
    let arrays = [array(&mut x[..inputs * N], Access::Read), array(&mut y[..outputs * N], Access::ReadWrite)];
    launch(name, Kernel::Two(kernel), N as u32, 64, 1, &arrays);
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    run("adapters", adapters, 16, 8);
    run("slices", slices, 10, 10);
    run("arithmetic", arithmetic, 4, 8);
    run("collections", collections, 12, 3);
}
