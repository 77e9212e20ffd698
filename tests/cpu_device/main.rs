//! Kernels on the CPU devices: what runs, with which memory, and how it traps.

mod fuel;
mod lanes;
mod launches;
mod memory;
mod short;
mod support;
mod tiles;
mod traps;
mod views;
