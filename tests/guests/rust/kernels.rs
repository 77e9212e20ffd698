//! kernels - what Rust makes of kernels: slices with bounds checks, iterators, enums, traits, wide integers.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
#![no_std]
#![no_main]

#[path = "../harness.rs"]
mod harness;

use core::ops::{Add, Mul};
use core::slice;

use harness::{Access, Array, Kernel, Random, array, launch};

const N: usize = 400;
const WINDOW: usize = 8;

fn input<'a, T>(data: *mut u8, size: u32) -> &'a [T] {
    unsafe { slice::from_raw_parts(data as *const T, size as usize / size_of::<T>()) }
}

fn output<'a, T>(data: *mut u8, size: u32) -> &'a mut [T] {
    unsafe { slice::from_raw_parts_mut(data as *mut T, size as usize / size_of::<T>()) }
}

/// Indices that are checked.
extern "C" fn saxpy(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<f32>(x, x_size), output::<f32>(y, y_size));
    y[i as usize] = 2.5 * x[i as usize] + y[i as usize];
}

/// Iterators over a window, and arithmetic that debug builds check for overflow.
extern "C" fn window(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<f32>(x, x_size), output::<f32>(y, y_size));
    let at = i as usize;
    let around = &x[at.saturating_sub(WINDOW / 2)..(at + WINDOW / 2).min(x.len())];
    let mean = around.iter().sum::<f32>() / around.len() as f32;
    let spread: f32 = around.iter().map(|v| (v - mean) * (v - mean)).filter(|d| *d > 0.01).sum();
    let steps = around.windows(2).filter(|pair| pair[0] < pair[1]).count();
    let largest = around.iter().copied().fold(f32::MIN, f32::max);
    y[at] = spread + steps as f32 + largest + around.iter().rev().step_by(3).zip(x).map(|(a, b)| a * b).sum::<f32>();
}

/// A sum type, built from a record and matched.
enum Shape {
    Circle(f32),
    Rectangle { width: f32, height: f32 },
    Triangle([f32; 3]),
    Nothing,
}

impl Shape {
    fn of(record: &[f32]) -> Option<Shape> {
        Some(match *record.first()? as u32 {
            0 => Shape::Circle(*record.get(1)?),
            1 => Shape::Rectangle { width: record[1], height: record[2] },
            2 => Shape::Triangle(record.get(1..4)?.try_into().ok()?),
            _ => Shape::Nothing,
        })
    }

    /// For a triangle 16 times the square of it, by Heron.
    fn area(&self) -> f32 {
        match self {
            Shape::Circle(radius) => 3.1415927 * radius * radius,
            Shape::Rectangle { width, height } => width * height,
            Shape::Triangle([a, b, c]) => (a + b + c) * (b + c - a) * (a + c - b) * (a + b - c),
            Shape::Nothing => -1.0,
        }
    }
}

extern "C" fn shapes(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<f32>(x, x_size), output::<f32>(y, y_size));
    let record = x.chunks(4).nth(i as usize).unwrap();
    y[i as usize] = Shape::of(record).map_or(0.0, |shape| shape.area());
}

/// 64- and 128-bit integers.
extern "C" fn wide(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<u64>(x, x_size), output::<u64>(y, y_size));
    let (a, b) = (x[i as usize], x[(i as usize + 1) % x.len()]);
    let product = u128::from(a) * u128::from(b);
    let quotient = a / (b | 1) + (a as i64 % (b as i64 | 1)) as u64 / 3;
    let bits = u64::from(a.leading_zeros() + b.count_ones()) << (a & 31);
    let sum = a.checked_add(b).unwrap_or_else(|| a ^ b).rotate_left(17);
    y[i as usize] = (product >> 64) as u64 ^ (product as u64).wrapping_add(quotient) ^ bits ^ sum;
}

/// A small vector with operators.
#[derive(Clone, Copy)]
#[repr(C)]
struct Vec3 {
    x: f32,
    y: f32,
    z: f32,
}

impl Add for Vec3 {
    type Output = Vec3;
    fn add(self, o: Vec3) -> Vec3 {
        Vec3 { x: self.x + o.x, y: self.y + o.y, z: self.z + o.z }
    }
}

impl Mul<f32> for Vec3 {
    type Output = Vec3;
    fn mul(self, by: f32) -> Vec3 {
        Vec3 { x: self.x * by, y: self.y * by, z: self.z * by }
    }
}

impl Vec3 {
    fn cross(self, o: Vec3) -> Vec3 {
        Vec3 { x: self.y * o.z - self.z * o.y, y: self.z * o.x - self.x * o.z, z: self.x * o.y - self.y * o.x }
    }
}

extern "C" fn vectors(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<Vec3>(x, x_size), output::<Vec3>(y, y_size));
    let step = x.iter().take(5).fold(x[i as usize], |sum, v| sum + v.cross(x[i as usize]) * 0.25);
    y[i as usize] = step + x[i as usize] * 2.0;
}

/// A local array that is sorted, and bytes that are written.
extern "C" fn sorted(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<u8>(x, x_size), output::<u8>(y, y_size));
    let mut local: [u8; 11] = core::array::from_fn(|k| x[(i as usize * 7 + k * 3) % x.len()]);
    local.sort_unstable();
    y[2 * i as usize] = local[local.len() / 2];
    y[2 * i as usize + 1] = local.binary_search(&x[i as usize]).unwrap_or_else(|at| at) as u8;
}

/// Calls through a table of methods in static data.
trait Filter {
    fn apply(&self, value: f32) -> f32;
}

struct Gain(f32);
struct Clip {
    low: f32,
    high: f32,
}
struct Square;

impl Filter for Gain {
    fn apply(&self, value: f32) -> f32 {
        self.0 * value
    }
}

impl Filter for Clip {
    fn apply(&self, value: f32) -> f32 {
        value.clamp(self.low, self.high)
    }
}

impl Filter for Square {
    fn apply(&self, value: f32) -> f32 {
        value * value
    }
}

static FILTERS: [&(dyn Filter + Sync); 4] = [&Gain(1.5), &Clip { low: -1.0, high: 0.75 }, &Square, &Gain(-2.0)];

extern "C" fn objects(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<f32>(x, x_size), output::<f32>(y, y_size));
    let first = FILTERS[i as usize % 4].apply(x[i as usize]);
    y[i as usize] = FILTERS.iter().skip(i as usize % 3).fold(first, |value, filter| filter.apply(value) + 0.125);
}

/// A small parser with `?` over bytes: signed decimal numbers, of which some are none.
fn parse(text: &[u8]) -> Result<i32, u8> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] | rest => (1, rest),
    };
    let mut value = 0i32;
    for byte in digits {
        let digit = match byte {
            b'0'..=b'9' => i32::from(byte - b'0'),
            b'_' => continue,
            b' ' => break,
            other => return Err(*other),
        };
        value = value.checked_mul(10).and_then(|v| v.checked_add(digit)).ok_or(0u8)?;
    }
    Ok(sign * value)
}

extern "C" fn numbers(i: i32, _: i32, _: i32, x: *mut u8, x_size: u32, y: *mut u8, y_size: u32) {
    let (x, y) = (input::<u8>(x, x_size), output::<i32>(y, y_size));
    let text = &x[i as usize * WINDOW..][..WINDOW];
    y[i as usize] = match parse(text) {
        Ok(value) => value,
        Err(byte) => i32::MIN + i32::from(byte),
    };
}

extern "C" fn add_products(
    i: i32,
    _: i32,
    _: i32,
    x: *mut u8,
    x_size: u32,
    y: *mut u8,
    y_size: u32,
    z: *mut u8,
    z_size: u32,
) {
    let (x, y, z) = (input::<f32>(x, x_size), input::<f32>(y, y_size), output::<f64>(z, z_size));
    let products = x.iter().zip(y.iter().cycle().skip(i as usize)).map(|(a, b)| f64::from(*a) * f64::from(*b));
    z[i as usize] = products.take(20).sum();
}

fn floats() -> [f32; 4 * N] {
    let mut random = Random(1);
    let mut values = [0.0; 4 * N];
    for (k, value) in values.iter_mut().enumerate() {
        *value = if k % 4 == 0 { (random.word() % 4) as f32 } else { random.float(-2.0, 2.0) };
    }
    values
}

fn run_floats() {
    let mut x = floats();
    let mut y = [0.5f32; 4 * N];
    let (mut z, mut sums) = ([Vec3 { x: 0.0, y: 0.0, z: 0.0 }; N], [0f64; N]);
    let two = |x: &mut [f32], y: &mut [f32]| [array(x, Access::Read), array(y, Access::ReadWrite)];
    let pair: [Array; 2] = two(&mut x, &mut y);
    launch("saxpy", Kernel::Two(saxpy), 4 * N as u32, 64, 1, &pair);
    launch("window", Kernel::Two(window), 4 * N as u32, 64, 1, &pair);
    launch("shapes", Kernel::Two(shapes), N as u32, 64, 1, &pair);
    launch("objects", Kernel::Two(objects), N as u32, 64, 1, &pair);
    let vectors_to = [array(&mut x[..3 * N], Access::Read), array(&mut z, Access::Write)];
    launch("vectors", Kernel::Two(vectors), N as u32, 64, 1, &vectors_to);
    let three = [array(&mut x, Access::Read), array(&mut y[..64], Access::Read), array(&mut sums, Access::Write)];
    launch("add_products", Kernel::Three(add_products), N as u32, 64, 2, &three);
}

fn run_integers() {
    let mut random = Random(2);
    let mut words: [u64; N] = core::array::from_fn(|_| u64::from(random.word()) << 32 | u64::from(random.word()));
    let mut mixed = [0u64; N];
    launch("wide", Kernel::Two(wide), N as u32, 64, 1, &[array(&mut words, Access::Read), array(&mut mixed, Access::Write)]);
    let mut bytes: [u8; WINDOW * N] = core::array::from_fn(|_| random.word() as u8);
    let mut medians = [0u8; 2 * N];
    let pair = [array(&mut bytes, Access::Read), array(&mut medians, Access::Write)];
    launch("sorted", Kernel::Two(sorted), N as u32, 64, 1, &pair);
    for (k, byte) in bytes.iter_mut().enumerate() {
        let letters: &[u8] = if k % WINDOW == 0 { b"-+0123456789" } else { b"0123456789012345678901234_ 9x" };
        *byte = letters[random.word() as usize % letters.len()];
    }
    let mut parsed = [0i32; N];
    let pair = [array(&mut bytes, Access::Read), array(&mut parsed, Access::Write)];
    launch("numbers", Kernel::Two(numbers), N as u32, 64, 1, &pair);
}

#[unsafe(no_mangle)]
extern "C" fn _start() {
    run_floats();
    run_integers();
}
