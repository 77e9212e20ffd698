//! What guests in Zig share, as `harness.h` is for those in C: arrays that live on both sides, launches, checks.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0

pub const Kernel = fn (i32, i32, i32, [*]u8, u32, [*]u8, u32) callconv(.c) void;

extern "wasi_ephemeral_parallel" fn get_device(hint: i32, device: *i32) i32;
extern "wasi_ephemeral_parallel" fn create_buffer(device: i32, size: u32, access: i32, buffer: *i32) i32;
extern "wasi_ephemeral_parallel" fn write_buffer(data: [*]const u8, size: u32, buffer: i32) i32;
extern "wasi_ephemeral_parallel" fn read_buffer(buffer: i32, data: [*]u8, size: u32) i32;
extern "wasi_ephemeral_parallel" fn parallel_for(
    kernel: *const Kernel,
    num_iterations: u32,
    block_size: u32,
    inputs: [*]const i32,
    input_count: u32,
    outputs: [*]const i32,
    output_count: u32,
) i32;

const Part = extern struct { data: [*]const u8, size: u32 };

extern "wasi_snapshot_preview1" fn fd_write(file: i32, parts: *const Part, count: u32, written: *u32) u16;
extern "wasi_snapshot_preview1" fn proc_exit(code: u32) noreturn;

const max_bytes = 1 << 16;

/// What kernels may do with an array's buffer.
pub const Access = enum(i32) { read = 0, write = 1, read_write = 2 };

/// The same bytes in the guest's memory and in a buffer.
pub const Array = struct { data: [*]u8, size: u32, access: Access, buffer: i32 };

var device: i32 = -1;
var got: [max_bytes]u8 = undefined;

fn put(file: i32, text: []const u8) void {
    var written: u32 = 0;
    const part: Part = .{ .data = text.ptr, .size = text.len };
    if (fd_write(file, &part, 1, &written) != 0) proc_exit(3);
}

fn putHex(file: i32, value: u64) void {
    var text: [16]u8 = undefined;
    var rest = value;
    for (0..16) |k| {
        text[15 - k] = "0123456789abcdef"[@intCast(rest & 15)];
        rest >>= 4;
    }
    put(file, &text);
}

/// Says what is wrong and ends the guest.
fn fail(name: []const u8, what: []const u8, value: u64) noreturn {
    put(2, name);
    put(2, ": ");
    put(2, what);
    put(2, " 0x");
    putHex(2, value);
    put(2, "\n");
    proc_exit(1);
}

fn expect(name: []const u8, call: []const u8, code: i32) void {
    if (code != 0) fail(name, call, @intCast(code));
}

/// A buffer of the values.
pub fn array(comptime T: type, values: []T, access: Access) Array {
    const data: [*]u8 = @ptrCast(values.ptr);
    const size: u32 = @intCast(values.len * @sizeOf(T));
    var buffer: i32 = -1;
    if (device < 0) expect("harness", "get_device returned", get_device(1, &device));
    expect("harness", "create_buffer returned", create_buffer(device, size, @intFromEnum(access), &buffer));
    expect("harness", "write_buffer returned", write_buffer(data, size, buffer));
    return .{ .data = data, .size = size, .access = access, .buffer = buffer };
}

/// Runs the kernel by `parallel_for` and in a loop, compares what each wrote, and prints a line.
pub fn launch(name: []const u8, kernel: *const Kernel, n: u32, block: u32, arrays: [2]Array) void {
    const list = [2]i32{ arrays[0].buffer, arrays[1].buffer };
    expect(name, "parallel_for returned", parallel_for(kernel, n, block, &list, 1, list[1..], 1));
    for (0..n) |i| {
        kernel(@intCast(i), @intCast(n), @intCast(block), arrays[0].data, arrays[0].size, arrays[1].data, arrays[1].size);
    }
    const to = arrays[1];
    expect(name, "read_buffer returned", read_buffer(to.buffer, &got, to.size));
    var sum: u64 = 0xcbf29ce484222325;
    for (got[0..to.size], to.data[0..to.size], 0..) |byte, expected, at| {
        if (byte != expected) fail(name, "the first wrong byte is at", at);
        sum = (sum ^ byte) *% 0x100000001b3;
    }
    put(1, name);
    put(1, " ");
    putHex(1, sum);
    put(1, "\n");
}

/// Numbers that are the same everywhere, for test data.
pub const Random = struct {
    state: u32,

    /// Any number.
    pub fn word(self: *Random) u32 {
        self.state = self.state *% 1664525 +% 1013904223;
        return self.state >> 8 ^ self.state << 9;
    }

    /// A number in `low..high`.
    pub fn float(self: *Random, low: f32, high: f32) f32 {
        return low + (high - low) * (@as(f32, @floatFromInt(self.word() >> 8)) / 16777216.0);
    }
};
