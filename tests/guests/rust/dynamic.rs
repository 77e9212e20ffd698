//! dynamic - trait objects: which methods they have is read from constant tables. Among the functions of those methods' type
//! are some that call themselves, which no kernel here comes to.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
#![no_std]
#![no_main]

#[path = "../harness.rs"]
mod harness;

use core::hint::black_box;
use core::slice;

use harness::{Access, Kernel, Random, array, launch};

const N: usize = 200;
const WORDS: usize = 8;

/// The words of this iteration.
fn input<'a>(data: *mut u8, size: u32, i: i32) -> &'a [u32] {
    let all = unsafe { slice::from_raw_parts(data as *const u32, size as usize / 4) };
    &all[WORDS * i as usize..][..WORDS]
}

fn output<'a>(data: *mut u8, size: u32, i: i32) -> &'a mut u32 {
    let all = unsafe { slice::from_raw_parts_mut(data as *mut u32, size as usize / 4) };
    &mut all[i as usize]
}

trait Rule {
    fn apply(&self, x: u32) -> u32;
}

struct Add(u32);
struct Swap;
struct Both<'a>(&'a dyn Rule, &'a dyn Rule);
/// It calls itself.
struct Collatz(u32);

impl Rule for Add {
    fn apply(&self, x: u32) -> u32 {
        x.wrapping_add(self.0)
    }
}

impl Rule for Swap {
    fn apply(&self, x: u32) -> u32 {
        x.swap_bytes()
    }
}

impl Rule for Both<'_> {
    fn apply(&self, x: u32) -> u32 {
        self.1.apply(self.0.apply(x))
    }
}

impl Rule for Collatz {
    fn apply(&self, x: u32) -> u32 {
        match x {
            0 | 1 => self.0,
            x if x % 2 == 0 => self.apply(x / 2).wrapping_add(1),
            x => self.apply(x.wrapping_mul(3).wrapping_add(1)).wrapping_add(1),
        }
    }
}

/// One of two objects.
extern "C" fn one_of_two(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let x = input(x, x_size, i);
    let add = Add(x[0]);
    let rule: &dyn Rule = if x[1] % 3 == 0 { &add } else { &Swap };
    *output(y, y_size, i) = rule.apply(x[2]);
}

/// One of a list, by a number that is computed.
extern "C" fn listed(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let x = input(x, x_size, i);
    let (a, b) = (Add(x[0]), Add(x[1]));
    let list: [&dyn Rule; 4] = [&a, &Swap, &b, &Add(9)];
    *output(y, y_size, i) = x.iter().fold(x[2], |value, word| list[*word as usize % 4].apply(value));
}

/// Objects of objects.
extern "C" fn nested(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let x = input(x, x_size, i);
    let add = Add(x[0]);
    let both = Both(&add, &Swap);
    *output(y, y_size, i) = both.apply(x[1]);
}

static RULES: [&(dyn Rule + Sync); 3] = [&Add(77), &Swap, &Add(5)];

/// One of a constant list.
extern "C" fn constant(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let x = input(x, x_size, i);
    *output(y, y_size, i) = x.iter().fold(0, |value, word| RULES[*word as usize % 3].apply(value ^ word));
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    let mut random = Random(3);
    let mut x: [u32; WORDS * N] = core::array::from_fn(|_| random.word());
    let recursive: &dyn Rule = black_box(&Collatz(1));
    let mut y = [recursive.apply(27); N];
    let pair = [array(&mut x, Access::Read), array(&mut y, Access::ReadWrite)];
    launch("one_of_two", Kernel::Two(one_of_two), N as u32, 64, 1, &pair);
    launch("listed", Kernel::Two(listed), N as u32, 64, 1, &pair);
    launch("nested", Kernel::Two(nested), N as u32, 64, 1, &pair);
    launch("constant", Kernel::Two(constant), N as u32, 64, 1, &pair);
}
