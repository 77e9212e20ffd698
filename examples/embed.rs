//! Embeds Wavelift in a program: a guest doubles a million numbers in parallel, and the program checks them.
//!
//! `cargo run --release --example embed`, with `gpu`, `cpu` or `sequential` as an argument to choose a device.

use std::error::Error;

use wavelift::wasmtime::Val;
use wavelift::{Config, DeviceChoice, Instance, Module, Runtime, WasiCtxBuilder};

/// The guest: `double(address, count)` doubles that many i32 in its memory. A compiler's output would do as well;
/// what matters is that the kernel `double_one` is in the function table and that nothing needs to be exported for it.
const GUEST: &str = r#"(module
  (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "create_buffer" (func $create_buffer (param i32 i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "write_buffer" (func $write_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "read_buffer" (func $read_buffer (param i32 i32 i32) (result i32)))
  (import "wasi_ephemeral_parallel" "parallel_for"
    (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 80)
  (table 2 funcref)
  (elem (i32.const 1) $double_one)

  (func $double_one (param $i i32) (param $n i32) (param $block i32) (param $buffer i32) (param $length i32)
    (local $at i32)
    (local.set $at (i32.add (local.get $buffer) (i32.shl (local.get $i) (i32.const 2))))
    (i32.store (local.get $at) (i32.shl (i32.load (local.get $at)) (i32.const 1))))

  (func $check (param $code i32) (if (local.get $code) (then unreachable)))

  (func (export "fill") (param $address i32) (param $count i32) (local $i i32)
    (loop $next
      (i32.store (i32.add (local.get $address) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $count)))))

  (func (export "double") (param $address i32) (param $count i32) (local $bytes i32)
    (local.set $bytes (i32.shl (local.get $count) (i32.const 2)))
    (call $check (call $get_device (i32.const 1) (i32.const 0)))
    (call $check (call $create_buffer (i32.load (i32.const 0)) (local.get $bytes) (i32.const 2) (i32.const 4)))
    (call $check (call $write_buffer (local.get $address) (local.get $bytes) (i32.load (i32.const 4))))
    (call $check (call $parallel_for (i32.const 1) (local.get $count) (i32.const 64)
      (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 1)))
    (call $check (call $read_buffer (i32.load (i32.const 4)) (local.get $address) (local.get $bytes))))

  (func (export "at") (param i32) (result i32) (i32.load (local.get 0))))"#;

const ADDRESS: i32 = 1 << 16;
const COUNT: i32 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let device = match std::env::args().nth(1).as_deref() {
        None | Some("auto") => DeviceChoice::Auto,
        Some("gpu") => DeviceChoice::Gpu,
        Some("cpu") => DeviceChoice::Cpu,
        Some("sequential") => DeviceChoice::Sequential,
        Some(other) => return Err(format!("There is no device `{other}`.").into()),
    };
    // One runtime serves all guests of a program; modules are compiled once and instantiated as often as needed.
    let runtime = Runtime::new(Config { device, ..Config::default() })?;
    let module = Module::new(&runtime, GUEST)?;
    let mut guest = Instance::new(&runtime, &module, WasiCtxBuilder::new().inherit_stdio().build_p1())?;

    guest.call("fill", &[Val::I32(ADDRESS), Val::I32(COUNT)])?;
    guest.call("double", &[Val::I32(ADDRESS), Val::I32(COUNT)])?;
    for i in [0, 1, 2, COUNT / 2, COUNT - 1] {
        let results = guest.call("at", &[Val::I32(ADDRESS + 4 * i)])?;
        if results.first().and_then(Val::i32) != Some(2 * i) {
            return Err(format!("Number {i} is {results:?} and should be {}.", 2 * i).into());
        }
    }
    println!("{COUNT} numbers are doubled.\n{}", guest.report());
    Ok(())
}
