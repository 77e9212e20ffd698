//! What the guests in Rust of this corpus share, as `harness.h` is for those in C: arrays that live on both sides,
//! launches, checks. No `std`: a panic is a trap.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0

use core::ffi::c_void;
use core::panic::PanicInfo;
use core::{mem, ptr, slice};

#[link(wasm_import_module = "wasi_ephemeral_parallel")]
unsafe extern "C" {
    fn get_device(hint: i32, device: *mut i32) -> i32;
    fn create_buffer(device: i32, size: u32, access: i32, buffer: *mut i32) -> i32;
    fn write_buffer(data: *const u8, size: u32, buffer: i32) -> i32;
    fn read_buffer(buffer: i32, data: *mut u8, size: u32) -> i32;
    fn parallel_for(
        kernel: *const c_void,
        num_iterations: u32,
        block_size: u32,
        inputs: *const i32,
        input_count: u32,
        outputs: *const i32,
        output_count: u32,
    ) -> i32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn fd_write(file: u32, parts: *const Part, count: u32, written: *mut u32) -> u16;
    fn proc_exit(code: u32) -> !;
}

#[repr(C)]
struct Part {
    data: *const u8,
    size: u32,
}

const MAX_BYTES: usize = 1 << 16;

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

/// What kernels may do with an array's buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code)]
pub enum Access {
    Read = 0,
    Write = 1,
    ReadWrite = 2,
}

/// The same bytes in the guest's memory and in a buffer.
pub struct Array {
    data: *mut u8,
    size: u32,
    access: Access,
    buffer: i32,
}

/// A kernel by its number of arrays.
#[derive(Clone, Copy)]
#[allow(dead_code)]
pub enum Kernel {
    Two(extern "C" fn(i32, i32, i32, *mut u8, u32, *mut u8, u32)),
    Three(extern "C" fn(i32, i32, i32, *mut u8, u32, *mut u8, u32, *mut u8, u32)),
}

impl Kernel {
    fn address(self) -> *const c_void {
        match self {
            Kernel::Two(kernel) => kernel as *const c_void,
            Kernel::Three(kernel) => kernel as *const c_void,
        }
    }

    fn call(self, i: i32, n: i32, block: i32, a: &[Array]) {
        match self {
            Kernel::Two(kernel) => kernel(i, n, block, a[0].data, a[0].size, a[1].data, a[1].size),
            Kernel::Three(kernel) => {
                kernel(i, n, block, a[0].data, a[0].size, a[1].data, a[1].size, a[2].data, a[2].size)
            }
        }
    }
}

static mut GOT: [u8; MAX_BYTES] = [0; MAX_BYTES];

fn put(file: u32, bytes: &[u8]) {
    let part = Part { data: bytes.as_ptr(), size: bytes.len() as u32 };
    let mut written = 0;
    if unsafe { fd_write(file, &part, 1, &mut written) } != 0 {
        unsafe { proc_exit(3) }
    }
}

fn put_hex(file: u32, value: u64) {
    let mut text = [0; 16];
    for (k, digit) in text.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (60 - 4 * k)) as usize & 15];
    }
    put(file, &text);
}

/// Says what is wrong and ends the guest.
fn fail(name: &str, what: &str, value: u64) -> ! {
    put(2, name.as_bytes());
    put(2, b": ");
    put(2, what.as_bytes());
    put(2, b" 0x");
    put_hex(2, value);
    put(2, b"\n");
    unsafe { proc_exit(1) }
}

fn expect(name: &str, call: &str, error: i32) {
    if error != 0 {
        fail(name, call, error as u64);
    }
}

/// A buffer of the values.
pub fn array<T>(values: &mut [T], access: Access) -> Array {
    static mut DEVICE: i32 = -1;
    let (data, size) = (values.as_mut_ptr().cast::<u8>(), mem::size_of_val(values) as u32);
    let mut buffer = -1;
    unsafe {
        let device = &raw mut DEVICE;
        if *device < 0 {
            expect("harness", "get_device returned", get_device(1, device));
        }
        expect("harness", "create_buffer returned", create_buffer(*device, size, access as i32, &mut buffer));
        expect("harness", "write_buffer returned", write_buffer(data, size, buffer));
    }
    Array { data, size, access, buffer }
}

/// Runs the kernel by `parallel_for` and in a loop, compares what each wrote, and prints a line.
pub fn launch(name: &str, kernel: Kernel, n: u32, block: u32, inputs: usize, arrays: &[Array]) {
    let mut list = [0; 3];
    for (handle, array) in list.iter_mut().zip(arrays) {
        *handle = array.buffer;
    }
    let (ins, outs) = list[..arrays.len()].split_at(inputs);
    expect(name, "parallel_for returned", unsafe {
        parallel_for(kernel.address(), n, block, ins.as_ptr(), ins.len() as u32, outs.as_ptr(), outs.len() as u32)
    });
    for i in 0..n {
        kernel.call(i as i32, n as i32, block as i32, arrays);
    }
    let mut sum = 0xcbf29ce484222325;
    for array in arrays.iter().filter(|array| array.access != Access::Read) {
        sum = compare(name, array, sum);
    }
    put(1, name.as_bytes());
    put(1, b" ");
    put_hex(1, sum);
    put(1, b"\n");
}

/// Adds the buffer's bytes to the checksum.
fn compare(name: &str, array: &Array, mut sum: u64) -> u64 {
    let size = array.size as usize;
    let got = unsafe { slice::from_raw_parts_mut(ptr::addr_of_mut!(GOT).cast::<u8>(), size.min(MAX_BYTES)) };
    expect(name, "read_buffer returned", unsafe { read_buffer(array.buffer, got.as_mut_ptr(), array.size) });
    let expected = unsafe { slice::from_raw_parts(array.data, size) };
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        if got != expected {
            fail(name, "the first wrong byte of an array is at", at as u64);
        }
        sum = (sum ^ u64::from(*got)).wrapping_mul(0x100000001b3);
    }
    sum
}

/// Numbers that are the same everywhere, for test data.
pub struct Random(pub u32);

#[allow(dead_code)]
impl Random {
    /// Any number.
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1664525).wrapping_add(1013904223);
        self.0 >> 8 ^ self.0 << 9
    }

    /// A number in `low..high`.
    #[allow(dead_code)]
    pub fn float(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.word() >> 8) as f32 / 16777216.0)
    }
}
