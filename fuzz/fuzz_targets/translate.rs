//! **Theorem.** For all bytes: reading them as a module, lifting a function of it and naming source lines from its debug information
//! ends, within the time and memory that libFuzzer grants, in a shader or a refusal in a whole sentence; never in a panic, and
//! never in an error that the translator takes for a defect of its own.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wavelift_fuzz::translate(bytes));
