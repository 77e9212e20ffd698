//! kernels - what Zig makes of kernels: slices with checks, optionals, tagged unions, generic functions, wide integers.
//! A failed check is a trap.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
const std = @import("std");
const harness = @import("harness.zig");

pub const panic = std.debug.no_panic;

const n = 400;

fn input(comptime T: type, data: [*]const u8, size: u32) []const T {
    return @as([*]const T, @ptrCast(@alignCast(data)))[0 .. size / @sizeOf(T)];
}

fn output(comptime T: type, data: [*]u8, size: u32) []T {
    return @as([*]T, @ptrCast(@alignCast(data)))[0 .. size / @sizeOf(T)];
}

fn saxpy(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(f32, xs, x_size);
    const y = output(f32, ys, y_size);
    y[at] = 2.5 * x[at] + y[at];
}

/// Slices of slices, a labelled block, integers that are checked for overflow.
fn window(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(f32, xs, x_size);
    const around = x[at -| 4..@min(at + 4, x.len)];
    var sum: f32 = 0;
    for (around, 0..) |value, k| sum += value * @as(f32, @floatFromInt(k + 1));
    const first_negative = search: {
        for (around, 0..) |value, k| {
            if (value < 0) break :search k;
        }
        break :search around.len;
    };
    output(f32, ys, y_size)[at] = @sqrt(@abs(sum)) + @floor(sum) + @as(f32, @floatFromInt(first_negative));
}

const Shape = union(enum) {
    circle: f32,
    rectangle: struct { width: f32, height: f32 },
    line: [2]f32,
    nothing,

    fn of(record: []const f32) ?Shape {
        if (record.len < 4) return null;
        return switch (@as(u32, @intFromFloat(record[0]))) {
            0 => .{ .circle = record[1] },
            1 => .{ .rectangle = .{ .width = record[1], .height = record[2] } },
            2 => .{ .line = record[2..4].* },
            else => .nothing,
        };
    }

    fn area(self: Shape) f32 {
        return switch (self) {
            .circle => |radius| 3.1415927 * radius * radius,
            .rectangle => |r| r.width * r.height,
            .line => |ends| @max(ends[0], ends[1]) - @min(ends[0], ends[1]),
            .nothing => -1,
        };
    }
};

fn shapes(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(f32, xs, x_size);
    const shape = Shape.of(x[4 * at ..][0..4]) orelse Shape.nothing;
    output(f32, ys, y_size)[at] = shape.area();
}

/// Integers of 64, 128 and odd numbers of bits.
fn wide(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(u64, xs, x_size);
    const a = x[at];
    const b = x[(at + 1) % x.len];
    const product = @as(u128, a) * b;
    const narrow: u13 = @truncate(a >> 7);
    const sum = @addWithOverflow(a, b);
    const quotient = a / (b | 1) + @as(u64, @bitCast(@rem(@as(i64, @bitCast(a)), @as(i64, 1_000_003))));
    const bits = @as(u64, @popCount(a)) *% @clz(b | 1) + @byteSwap(b) % 1013;
    output(u64, ys, y_size)[at] = @as(u64, @truncate(product >> 64)) ^ quotient ^ sum[0] ^ sum[1] ^ bits ^ (narrow *| 5);
}

/// A local array, sorted; a packed struct; bytes that are written.
const Pixel = packed struct { red: u5, green: u6, blue: u5 };

fn bytes(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(u8, xs, x_size);
    var local: [9]u8 = undefined;
    for (&local, 0..) |*value, k| value.* = x[(at * 5 + k * 3) % x.len];
    std.mem.sort(u8, &local, {}, std.sort.asc(u8));
    const pixel: Pixel = @bitCast(@as(u16, local[0]) << 8 | local[8]);
    const y = output(u8, ys, y_size);
    y[2 * at] = local[4];
    y[2 * at + 1] = @as(u8, pixel.red) +% pixel.green +% pixel.blue;
}

/// Errors that are handed up, and a table of functions.
const Step = *const fn (f32) error{Negative}!f32;

fn root(x: f32) error{Negative}!f32 {
    if (x < 0) return error.Negative;
    return @sqrt(x);
}

fn less(x: f32) error{Negative}!f32 {
    return x - 0.75;
}

fn twice(x: f32) error{Negative}!f32 {
    return x * 2;
}

const steps = [_]Step{ root, less, twice, root };

fn chain(x: f32, from: usize) error{Negative}!f32 {
    var value = x;
    for (0..3) |k| value = try steps[(from + k) % steps.len](value);
    return value;
}

fn errors(i: i32, _: i32, _: i32, xs: [*]u8, x_size: u32, ys: [*]u8, y_size: u32) callconv(.c) void {
    const at: usize = @intCast(i);
    const x = input(f32, xs, x_size)[at];
    output(f32, ys, y_size)[at] = chain(x, at) catch |err| switch (err) {
        error.Negative => -100,
    };
}

var floats: [4 * n]f32 = undefined;
var results: [4 * n]f32 = undefined;
var words: [n]u64 = undefined;
var mixed: [n]u64 = undefined;
var letters: [8 * n]u8 = undefined;
var medians: [2 * n]u8 = undefined;

export fn _start() void {
    var random: harness.Random = .{ .state = 1 };
    for (&floats, 0..) |*value, k| {
        value.* = if (k % 4 == 0) @floatFromInt(random.word() % 4) else random.float(-2, 2);
    }
    for (&results) |*value| value.* = 0.5;
    for (&words) |*word| word.* = @as(u64, random.word()) << 32 | random.word();
    for (&letters) |*letter| letter.* = @truncate(random.word());
    const pair = [_]harness.Array{ harness.array(f32, &floats, .read), harness.array(f32, &results, .read_write) };
    harness.launch("saxpy", saxpy, 4 * n, 64, pair);
    harness.launch("window", window, 4 * n, 64, pair);
    harness.launch("shapes", shapes, n, 64, pair);
    harness.launch("errors", errors, n, 64, pair);
    harness.launch("wide", wide, n, 64, .{ harness.array(u64, &words, .read), harness.array(u64, &mixed, .write) });
    harness.launch("bytes", bytes, n, 64, .{ harness.array(u8, &letters, .read), harness.array(u8, &medians, .write) });
}
