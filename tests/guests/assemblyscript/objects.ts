// objects - what AssemblyScript makes of objects that are made at run time: globals that point to them, headers below them,
// methods, arrays of arrays.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import { Kernel, abort, buffer, launch, word } from "./harness";

const N: i32 = 60;

/// A word of an iteration's.
@inline
function input(x: usize, i: i32): u32 {
  return load<u32>(x + (<usize>i << 2));
}

@inline
function output(y: usize, i: i32, value: u32): void {
  store<u32>(y + (<usize>i << 2), value);
}

// It is made when the program starts; its length is in its header, below.
let table: StaticArray<u32> = new StaticArray<u32>(16);

function header(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  let hash: u32 = 0;
  for (let k = 0; k < 4; k++) hash = hash * 31 + table[(input(x, i) >> (4 * k)) & 15];
  output(y, i, hash + table.length);
}

let middle: usize = 0;

function below(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  output(y, i, load<u32>(middle - 8) + input(x, i));
}

abstract class Rule {
  bias: u32 = 3;
  abstract apply(value: u32): u32;
}

class Add extends Rule {
  constructor(public more: u32) {
    super();
  }
  apply(value: u32): u32 {
    return value + this.more + this.bias;
  }
}

class Multiply extends Rule {
  apply(value: u32): u32 {
    return value * this.bias;
  }
}

class Mix extends Add {
  apply(value: u32): u32 {
    return value ^ super.apply(value);
  }
}

const RULES: StaticArray<Rule> = [new Add(5), new Multiply(), new Mix(9)];

function methods(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  let value = input(x, i);
  for (let k = 0; k < 5; k++) value = RULES[(value + k) % 3].apply(value);
  output(y, i, value);
}

const WEIGHTS: StaticArray<StaticArray<f32>> = [[1, 2, 1], [2, 4, 2], [1, 2, 1]];

function nested(i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32): void {
  let sum: f32 = 0;
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 3; column++) {
      sum += WEIGHTS[row][column] * <f32>(input(x, (i + row * 3 + column) % n) >> 20);
    }
  }
  output(y, i, reinterpret<u32>(sum));
}

function run(name: string, kernel: Kernel): void {
  const x = heap.alloc(N * 4), y = heap.alloc(N * 4);
  for (let k = 0; k < N; k++) {
    output(x, k, word());
    output(y, k, word());
  }
  launch(name, kernel, N, 64, buffer(x, N * 4, 0), buffer(y, N * 4, 2));
}

export function _start(): void {
  for (let k = 0; k < 16; k++) table[k] = k * 77 + 5;
  middle = heap.alloc(64) + 32;
  store<u32>(middle - 8, 1234567);
  run("header", header);
  run("below", below);
  run("methods", methods);
  run("nested", nested);
}

export { abort };
