// kernels - what AssemblyScript makes of kernels: raw loads and stores, static arrays with and without checks, classes.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import { Buffer, abort, buffer, float, launch, word } from "./harness";

const N: i32 = 400;

/// Raw memory.
function saxpy(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  const at = <usize>i << 2;
  store<f32>(y + at, 2.5 * load<f32>(x + at) + load<f32>(y + at));
}

/// Narrow loads and stores, with constant offsets.
function bytes(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  const here = <i32>load<u8>(x + i), there = <i32>load<i8>(x + (i * 7 + 3) % n);
  store<u8>(y + 2 * i, <u8>((here + there) >> 1));
  store<u8>(y + 2 * i, <u8>clamp(here - there, 0, 255), 1);
}

function clamp(value: i32, low: i32, high: i32): i32 {
  return value < low ? low : value > high ? high : value;
}

/// Mathematics of the language's own library.
function curves(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  const value = load<f32>(x + (<usize>i << 2));
  const smooth = Mathf.exp(-value * value) + Mathf.sqrt(Mathf.abs(value)) + Mathf.floor(value);
  store<f32>(y + (<usize>i << 2), smooth + <f32>Math.sin(value) + Mathf.max(value, 0.5));
}

// Static data, which kernels read: checked and unchecked.
const WEIGHTS: StaticArray<f32> = [0.0625, 0.25, 0.375, 0.25, 0.0625];
const PERMUTATION: StaticArray<i32> = [3, 1, 4, 0, 2];

function checked(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  let sum: f32 = 0;
  for (let k = 0; k < WEIGHTS.length; k++) {
    sum += WEIGHTS[PERMUTATION[k]] * load<f32>(x + (<usize>((i + k) % n) << 2));
  }
  store<f32>(y + (<usize>i << 2), sum);
}

function uncheckedAccess(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  let sum: f32 = 0;
  for (let k = 0; k < 5; k++) {
    sum += unchecked(WEIGHTS[unchecked(PERMUTATION[k])]) * load<f32>(x + (<usize>((i + 2 * k) % n) << 2));
  }
  store<f32>(y + (<usize>i << 2), sum);
}

/// A class laid over a buffer.
@unmanaged
class Particle {
  x: f32;
  y: f32;
  mass: f64;
  hits: u16;
  kind: u8;

  energy(): f64 {
    return 0.5 * this.mass * <f64>(this.x * this.x + this.y * this.y);
  }
}

function particles(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  const from = changetype<Particle>(x + i * offsetof<Particle>());
  const to = changetype<Particle>(y + i * offsetof<Particle>());
  to.x = from.x + from.y;
  to.y = from.x - from.y;
  to.mass = to.energy() + from.energy();
  to.hits = from.hits + 3;
  switch (from.kind) {
    case 0: to.kind = 7; break;
    case 1: to.kind = <u8>to.hits; break;
    case 2: to.hits = from.kind; break;
    default: to.kind = from.kind ^ 0x55;
  }
}

// Functions in a table.
type Operation = (a: u64, b: u64) => u64;
const OPERATIONS: StaticArray<Operation> = [
  (a: u64, b: u64): u64 => a * b + 1,
  (a: u64, b: u64): u64 => rotl<u64>(a, b) ^ b,
  (a: u64, b: u64): u64 => a / (b | 1) + popcnt<u64>(b),
];

function operations(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  const a = load<u64>(x + (<usize>i << 3)), b = load<u64>(x + (<usize>((i + 1) % n) << 3));
  let value = a;
  for (let k = 0; k < 3; k++) value = OPERATIONS[(i + k) % 3](value, b);
  store<u64>(y + (<usize>i << 3), value);
}

function run(): void {
  const floats = heap.alloc(N * 16), results = heap.alloc(N * 24);
  for (let k = 0; k < N * 4; k++) store<f32>(floats + (<usize>k << 2), float(-2, 2));
  memory.fill(results, 0, N * 24);
  const x = buffer(floats, N * 16, 0), y = buffer(results, N * 16, 2);
  launch("saxpy", saxpy, N * 4, 64, x, y);
  launch("curves", curves, N, 64, x, y);
  launch("checked", checked, N, 64, x, y);
  launch("unchecked", uncheckedAccess, N, 64, x, y);

  const words = heap.alloc(N * 24);
  for (let k = 0; k < N * 6; k++) store<u32>(words + (<usize>k << 2), word());
  const random = buffer(words, N * 24, 0);
  launch("bytes", bytes, N, 64, random, buffer(results, N * 2, 1));
  launch("operations", operations, N, 64, random, buffer(results, N * 8, 2));

  for (let k = 0; k < N; k++) {
    const particle = changetype<Particle>(words + k * offsetof<Particle>());
    particle.x = float(-1, 1);
    particle.y = float(-1, 1);
    particle.mass = <f64>float(1, 2);
    particle.kind = <u8>(word() % 4);
  }
  launch("particles", particles, N, 64, buffer(words, N * offsetof<Particle>(), 0), buffer(results, N * offsetof<Particle>(), 2));
}

export function _start(): void {
  run();
}

export { abort };
