//! **Theorem.** For all valid modules that wasm-smith makes: a kernel around one of its functions either is refused for a reason
//! that is known, or each form of it (the lifted functions and the strict form in both profiles on the interpreter, the re-encoded module
//! on the sequential device) leaves the bytes and ends in the trap that plain Wasmtime does; and its SPIR-V passes `spirv-val` and,
//! in the portable profile, naga.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wavelift_fuzz::pipeline(bytes));
