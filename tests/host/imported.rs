//! Kernels that work in a guest's linear memory, on devices that bind it itself, on those that get a copy, and in order: all of
//! memory is the same after each launch, whatever the guest did between.

use std::sync::Arc;

use wavelift::device::gpu::{self, GpuDevice, GpuOptions, Transfers};
use wavelift::translator::Profile;
use wavelift::{Config, DeviceChoice, Runtime};

use super::{Guest, driver_with};

/// Entries of the table. The first three and the last take no buffers.
const ADDS: i32 = 20;
const BYTES: i32 = 21;
const AT_THE_END: i32 = 22;
/// One buffer.
const READS: i32 = 23;
const TRAPS: i32 = 24;

/// Two arrays of 64 Ki words, at 1 and 2 MiB, and one of bytes at 3 MiB.
const FUNCTIONS: &str = r#"
  (func $adds (param $i i32) (param $n i32) (param $b i32) (local $at i32)
    (local.set $at (i32.shl (local.get $i) (i32.const 2)))
    (i32.store offset=2097152 (local.get $at) (i32.add (i32.load offset=2097152 (local.get $at))
      (i32.mul (i32.const 3) (i32.load offset=1048576 (local.get $at))))))
  (func $bytes (param $i i32) (param $n i32) (param $b i32)
    (i32.store8 offset=3145729 (local.get $i)
      (i32.add (i32.load8_u offset=1048577 (local.get $i)) (i32.load8_u offset=3145729 (local.get $i)))))
  (func $at_the_end (param $i i32) (param $n i32) (param $b i32) (local $at i32)
    (local.set $at (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.shl (i32.sub (local.get $n) (local.get $i)) (i32.const 2))))
    (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.xor (local.get $i) (local.get $at)))))
  (func $reads (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $at i32)
    (local.set $at (i32.shl (local.get $i) (i32.const 2)))
    (i32.store (i32.add (local.get $p) (local.get $at)) (i32.add (i32.load offset=1048576 (local.get $at))
      (i32.load offset=2097152 (local.get $at)))))
  (func $traps_late (param $i i32) (param $n i32) (param $b i32)
    (call $adds (local.get $i) (local.get $n) (local.get $b))
    (drop (i32.div_u (i32.const 1) (i32.lt_u (local.get $i) (i32.const 500)))))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "hash") (result i32) (local $at i32) (local $hash i32)
    (local.set $at (i32.const 65536))
    (loop $next
      (local.set $hash (i32.mul (i32.xor (local.get $hash) (i32.load (local.get $at))) (i32.const 16777619)))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.shl (memory.size) (i32.const 16)))))
    (local.get $hash))"#;

fn text() -> String {
    let driver = driver_with("$adds $bytes $at_the_end $reads $traps_late", FUNCTIONS);
    driver.replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 52)")
}

/// Numbers of invocations: few, and so many that four run as one.
const COUNTS: [i32; 3] = [3, 1000, 20_001];

/// What a guest's memory comes to after each of its steps, and how it ends.
fn steps(guest: &mut Guest) -> (Vec<i32>, String) {
    let mut found = Vec::new();
    let buffer = guest.buffer(4 * COUNTS[2], 2);
    for round in 0..3 {
        for (number, count) in COUNTS.into_iter().enumerate() {
            let number = number as i32;
            // The guest's own stores are seen, too.
            (0..50).for_each(|i| guest.store((1 << 20) + 4 * i * (number + 1), 1000 * round + i));
            for kernel in [ADDS, BYTES, AT_THE_END, ADDS] {
                assert_eq!(guest.launch(kernel, count, &[], &[]).unwrap(), 0);
                found.push(guest.call("hash", &[]).unwrap());
            }
            assert_eq!(guest.launch(READS, count, &[], &[buffer]).unwrap(), 0);
            // Launches that read may go on while the guest stores.
            guest.store(1 << 20, -1);
            found.extend(guest.words(buffer, 16));
        }
        assert!(guest.call("grow", &[7]).unwrap() > 0);
    }
    let end = guest.launch(TRAPS, 1000, &[], &[]).expect_err("it divides by zero").to_string();
    (found, end)
}

#[test]
fn memory_is_the_same_whether_it_is_bound_itself_or_copied() {
    let config = Config { device: DeviceChoice::Sequential, ..Config::default() };
    let expected = steps(&mut Guest::new(&Runtime::new(config).unwrap(), &text()));
    let distinct: std::collections::BTreeSet<i32> = expected.0.iter().copied().collect();
    assert!(distinct.len() > 30, "{expected:?}");
    let Some(adapter) = gpu::adapters().into_iter().next() else { return };
    for profile in [Profile::Vulkan, Profile::Portable] {
        for transfers in [Transfers::Mapped, Transfers::Staged] {
            let options = GpuOptions { profile, ..GpuOptions::default() };
            let device = Arc::new(GpuDevice::open_with(&adapter, &options, Some(transfers)).unwrap());
            let config = Config { allow_fallback: false, ..Config::default() };
            let runtime = Runtime::with_device(config, device.clone()).unwrap();
            assert_eq!(steps(&mut Guest::new(&runtime, &text())), expected, "{profile:?} {transfers:?}");
            let imports = device.imported() > 0;
            assert_eq!(
                imports,
                transfers == Transfers::Mapped && adapter.info().name.starts_with("llvmpipe"),
                "{transfers:?}"
            );
        }
    }
}
