//! Kernels in Rust that trap at lines that tests know: keep the lines where they are.
//!
//! SPDX-License-Identifier: MIT OR Apache-2.0
#![no_std]
#![no_main]

use core::panic::PanicInfo;

#[link(wasm_import_module = "wasi_ephemeral_parallel")]
unsafe extern "C" {
    fn get_device(hint: i32, device: *mut i32) -> i32;
    fn create_buffer(device: i32, size: u32, access: i32, buffer: *mut i32) -> i32;
    fn parallel_for(kernel: Kernel, n: u32, block: u32, ins: *const i32, count: u32, outs: *const i32, count: u32) -> i32;
}

type Kernel = extern "C" fn(i32, i32, i32, *mut i32, u32);

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}

extern "C" fn writes_outside(i: i32, n: i32, _: i32, to: *mut i32, bytes: u32) {
    let to = unsafe { core::slice::from_raw_parts_mut(to, bytes as usize / 4) };
    to[i as usize] = n;
    to[101 - i as usize] = n;
}

extern "C" fn divides(i: i32, n: i32, _: i32, to: *mut i32, _: u32) {
    unsafe { *to.add(i as usize) = n };
    unsafe { *to.add(i as usize) /= 7 - i };
}

#[unsafe(no_mangle)]
extern "C" fn launch(kernel: i32, n: i32) -> i32 {
    let kernels: [Kernel; 2] = [writes_outside, divides];
    let (mut device, mut buffer) = (0, 0);
    unsafe {
        if get_device(1, &mut device) != 0 || create_buffer(device, 400, 2, &mut buffer) != 0 {
            return -1;
        }
        parallel_for(kernels[kernel as usize], n as u32, 1, &buffer, 0, &buffer, 1)
    }
}
