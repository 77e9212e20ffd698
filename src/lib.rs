//! Wavelift runs data-parallel WebAssembly kernels on GPUs by lifting them to SPIR-V.

pub mod device;
pub mod memory;
