//! atomics - what Rust makes of `core::sync::atomic`: updates, loops of `fetch_update`, orderings.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
//!
//! Built with `-C target-feature=+atomics`: without it, atomic accesses become plain ones.
#![no_std]
#![no_main]

#[path = "../harness.rs"]
mod harness;

use core::slice;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use harness::{Access, Kernel, Random, array, launch};

const N: usize = 2048;

fn shared<'a, T>(data: *mut u8, size: u32) -> &'a [T] {
    unsafe { slice::from_raw_parts(data as *const T, size as usize / size_of::<T>()) }
}

/// Sums, the least and the greatest.
extern "C" fn reduce(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, totals: *mut u8, size: u32) {
    let (x, totals) = (shared::<i32>(x, x_size)[i as usize], shared::<AtomicI32>(totals, size));
    totals[0].fetch_add(x, Ordering::Relaxed);
    totals[1].fetch_min(x, Ordering::Relaxed);
    totals[2].fetch_max(x, Ordering::AcqRel);
    totals[3].fetch_xor(x, Ordering::SeqCst);
}

/// The same of 64 bits.
extern "C" fn reduce_wide(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, totals: *mut u8, size: u32) {
    let (x, totals) = (shared::<u32>(x, x_size)[i as usize], shared::<AtomicU64>(totals, size));
    let square = u64::from(x) * u64::from(x);
    totals[0].fetch_add(square, Ordering::Relaxed);
    totals[1].fetch_max(square, Ordering::Relaxed);
    totals[2].fetch_sub(square >> 7, Ordering::SeqCst);
}

/// Counters of 8, 16 and 32 bits, the first two in shared words.
extern "C" fn histogram(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, bins: *mut u8, size: u32) {
    let x = shared::<u32>(x, x_size)[i as usize] as usize;
    shared::<AtomicU8>(bins, size)[x % 64].fetch_add(1, Ordering::Relaxed);
    shared::<AtomicU16>(bins, size)[32 + x / 64 % 32].fetch_sub(5, Ordering::Relaxed);
    shared::<AtomicU32>(bins, size)[32 + x / 2048 % 32].fetch_add(1, Ordering::Release);
}

/// A counter that stops at its limit: whoever comes too late counts itself elsewhere.
extern "C" fn limited(i: i32, n: i32, _: i32, limits: *mut u8, limits_size: u32, counts: *mut u8, size: u32) {
    let limit = shared::<u32>(limits, limits_size)[i as usize % 8];
    let counts = shared::<AtomicU32>(counts, size);
    let place = i as usize % 8;
    let add = |count: u32| (count < limit).then_some(count + 1);
    if counts[place].fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_err() {
        counts[8 + place].fetch_add(n as u32, Ordering::Relaxed);
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    let mut random = Random(9);
    let mut x = [0u32; N];
    x.fill_with(|| random.word());
    let (mut totals, mut wide, mut bins, mut counts) = ([0i32; 4], [0u64; 4], [0u32; 64], [0u32; 16]);
    let mut limits = [3u32, 0, 200, 256, 257, 1, 100, 1000];
    let x = array(&mut x, Access::Read);
    let totals = array(&mut totals, Access::ReadWrite);
    let wide = array(&mut wide, Access::ReadWrite);
    let bins = array(&mut bins, Access::ReadWrite);
    let counts = array(&mut counts, Access::ReadWrite);
    let limits = array(&mut limits, Access::Read);
    let arrays = [x, totals];
    launch("reduce", Kernel::Two(reduce), N as u32, 64, 1, &arrays);
    let [x, _] = arrays;
    let arrays = [x, wide];
    launch("reduce_wide", Kernel::Two(reduce_wide), N as u32, 64, 1, &arrays);
    let [x, _] = arrays;
    launch("histogram", Kernel::Two(histogram), N as u32, 64, 1, &[x, bins]);
    launch("limited", Kernel::Two(limited), N as u32, 64, 1, &[limits, counts]);
}
