//! What devices lack, computed on 32-bit integers: `f64`, and quotients of 64-bit integers.
//!
//! This is no part of the translator's own code: `scripts/build-emulation` compiles it to `emulation.wasm`, which the
//! translator lifts as it lifts kernels. Each function bears the name of the Wasm operator whose result it gives; an
//! `f64` is a `u64` of its bits there, an `f32` a `u32`. Those called `hindrance` say why a conversion traps; those with
//! another word before the operator's name are for some operands only ([`normal`]). The code has no loops, no memory, no
//! panics, no floats but the conversion of a short integer to `f32`, and few branches; a computed NaN is the positive quiet one.
//!
//! Besides, the quick phases of C's `expf`, `logf` and `powf`, which bear their names, and two of these to within one unit in the
//! last place ([`near`]). They alone compute with `f32`s.

#![no_std]

mod arithmetic;
mod convert;
mod exponential;
mod format;
mod logarithm;
#[allow(dead_code, reason = "the translator compares these data with guests'")]
mod musl;
mod near;
mod normal;
mod order;
mod power;
mod quick;
mod words;

use format::{MAGNITUDE, SIGN};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

macro_rules! operators {
    ($($text:literal: $name:ident($($param:ident: $ty:ty),*) -> $result:ty = $value:expr;)*) => {
        $(
            // SAFETY: no other symbol has this name, which is an operator's.
            #[unsafe(export_name = $text)]
            extern "C" fn $name($($param: $ty),*) -> $result {
                $value
            }
        )*
    };
}

include!("operators.rs");
include!("library.rs");
