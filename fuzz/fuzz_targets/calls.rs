//! **Theorem.** For all sequences of host calls with any arguments: each call returns a code of the ABI or stops the guest with a whole
//! sentence that blames no defect, and the buffer of another guest of the runtime keeps its bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wavelift_fuzz::calls(bytes));
