// What guests in AssemblyScript share, as harness.h is for those in C: arrays that live on both sides, launches, checks.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

@external("wasi_ephemeral_parallel", "get_device")
declare function get_device(hint: i32, device: usize): i32;
@external("wasi_ephemeral_parallel", "create_buffer")
declare function create_buffer(device: i32, size: u32, access: i32, buffer: usize): i32;
@external("wasi_ephemeral_parallel", "write_buffer")
declare function write_buffer(data: usize, size: u32, buffer: i32): i32;
@external("wasi_ephemeral_parallel", "read_buffer")
declare function read_buffer(buffer: i32, data: usize, size: u32): i32;
@external("wasi_ephemeral_parallel", "parallel_for")
declare function parallel_for(
  kernel: u32, iterations: u32, block: u32, inputs: usize, inputCount: u32, outputs: usize, outputCount: u32,
): i32;
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(file: i32, parts: usize, count: u32, written: usize): u32;
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: u32): void;

/// A kernel of one input and one output.
export type Kernel = (i: i32, n: i32, block: i32, x: usize, xSize: u32, y: usize, ySize: u32) => void;

const SCRATCH = memory.data(64, 8);
const MAX_BYTES: u32 = 1 << 15;
const GOT = memory.data(1 << 15);
let device: i32 = -1;

/// The same bytes in the guest's memory and in a buffer.
@unmanaged
export class Buffer {
  data: usize;
  size: u32;
  handle: i32;
}

function put(file: i32, text: string): void {
  for (let k = 0; k < text.length; k++) {
    store<u8>(SCRATCH + 16, <u8>text.charCodeAt(k));
    store<u32>(SCRATCH, <u32>(SCRATCH + 16));
    store<u32>(SCRATCH + 4, 1);
    if (fd_write(file, SCRATCH, 1, SCRATCH + 8) != 0) proc_exit(3);
  }
}

function putHex(file: i32, value: u64): void {
  for (let digit = 60; digit >= 0; digit -= 4) {
    put(file, "0123456789abcdef".charAt(<i32>(value >> <u64>digit) & 15));
  }
}

/// Says what is wrong and ends the guest.
function fail(name: string, what: string, value: u64): void {
  put(2, name + ": " + what + " 0x");
  putHex(2, value);
  put(2, "\n");
  proc_exit(1);
}

function expect(name: string, call: string, code: i32): void {
  if (code != 0) fail(name, call, <u64>code);
}

/// Called for failed assertions and checks of the language.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  unreachable();
}

/// A buffer of the bytes.
export function buffer(data: usize, size: u32, access: i32): Buffer {
  if (device < 0) {
    expect("harness", "get_device returned", get_device(1, SCRATCH));
    device = load<i32>(SCRATCH);
  }
  expect("harness", "create_buffer returned", create_buffer(device, size, access, SCRATCH));
  const made = changetype<Buffer>(heap.alloc(offsetof<Buffer>()));
  made.data = data;
  made.size = size;
  made.handle = load<i32>(SCRATCH);
  expect("harness", "write_buffer returned", write_buffer(data, size, made.handle));
  return made;
}

/// Runs the kernel by parallel_for and in a loop, compares what each wrote, and prints a line.
export function launch(name: string, kernel: Kernel, n: i32, block: i32, x: Buffer, y: Buffer): void {
  store<i32>(SCRATCH, x.handle);
  store<i32>(SCRATCH + 4, y.handle);
  expect(name, "parallel_for returned", parallel_for(kernel.index, n, block, SCRATCH, 1, SCRATCH + 4, 1));
  for (let i = 0; i < n; i++) kernel(i, n, block, x.data, x.size, y.data, y.size);
  if (y.size > MAX_BYTES) fail(name, "too large an array:", y.size);
  expect(name, "read_buffer returned", read_buffer(y.handle, GOT, y.size));
  let sum: u64 = 0xcbf29ce484222325;
  for (let at: u32 = 0; at < y.size; at++) {
    if (load<u8>(GOT + at) != load<u8>(y.data + at)) fail(name, "the first wrong byte is at", at);
    sum = (sum ^ load<u8>(GOT + at)) * 0x100000001b3;
  }
  put(1, name + " ");
  putHex(1, sum);
  put(1, "\n");
}

let state: u32 = 1;

/// A number that is the same everywhere, for test data.
export function word(): u32 {
  state = state * 1664525 + 1013904223;
  return (state >> 8) ^ (state << 9);
}

/// Such a number in [low, high).
export function float(low: f32, high: f32): f32 {
  return low + (high - low) * (<f32>(word() >> 8) / 16777216.0);
}
