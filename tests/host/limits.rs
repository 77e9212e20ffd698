//! What a guest may use up, and being stopped from outside.

use std::time::{Duration, Instant};

use wavelift::device::gpu;
use wavelift::{Config, DeviceChoice, Error, Interruption, Limits, Runtime};

use super::launches::devices;
use super::{DRIVER, Guest, table};

/// The code of `out_of_memory`, and that of `unsupported`.
const OUT_OF_MEMORY: i32 = 4;
const UNSUPPORTED: i32 = 6;

fn limited(device: DeviceChoice, limits: Limits) -> Guest {
    Guest::new(&Runtime::new(Config { device, limits, ..Config::default() }).unwrap(), DRIVER)
}

#[test]
fn buffers_are_counted_and_so_are_their_bytes() {
    for device in devices() {
        let mut guest = limited(device, Limits { buffers: 2, ..Limits::default() });
        let create = |guest: &mut Guest, size| {
            let device = guest.device(0);
            guest.call("create_buffer", &[device, size, 2, 0]).unwrap()
        };
        assert_eq!([0, 0, 0].map(|size| create(&mut guest, size)), [0, 0, OUT_OF_MEMORY]);
        let mut guest = limited(device, Limits { device_memory: 1000, ..Limits::default() });
        assert_eq!([600, 401, 400, 0, 1].map(|size| create(&mut guest, size)), [0, OUT_OF_MEMORY, 0, 0, OUT_OF_MEMORY]);
    }
}

#[test]
fn a_launch_has_a_size_and_a_kernel_too() {
    for device in devices() {
        let mut guest = limited(device, Limits { iterations: 50, ..Limits::default() });
        let buffer = guest.buffer(400, 2);
        assert_eq!(guest.launch(table::FILL, 50, &[], &[buffer]).unwrap(), 0);
        let error = guest.launch(table::FILL, 51, &[], &[buffer]).unwrap_err().to_string();
        assert_eq!(error, "The guest called `parallel_for` with 51 iterations, and the host's limit is 50.");
        let mut guest = limited(device, Limits { kernel_size: 20, ..Limits::default() });
        let buffer = guest.buffer(400, 2);
        assert_eq!(guest.launch(table::FREE, 1, &[], &[]).unwrap_or(5), 5);
        assert_eq!(guest.launch(table::FILL, 50, &[], &[buffer]).unwrap(), UNSUPPORTED);
        let report = guest.instance.report().to_string();
        assert!(report.contains("bytes of code, and the limit is 20. Raise the limit"), "{report}");
        assert_eq!(guest.words(buffer, 3), [0; 3], "it ran all the same");
    }
}

#[test]
fn what_is_too_much_work_to_lift_runs_on_the_cpu() {
    if gpu::adapters().is_empty() {
        return;
    }
    const REASON: &str = "is more work than the limit of 100 steps. Raise the limit for it to run on a GPU.";
    let run = |lift_work, allow_fallback| {
        let limits = Limits { lift_work, ..Limits::default() };
        let config = Config { device: DeviceChoice::Gpu, limits, allow_fallback, ..Config::default() };
        let mut guest = Guest::new(&Runtime::new(config).unwrap(), DRIVER);
        let buffer = guest.buffer(16, 2);
        let code = guest.launch(table::FILL, 4, &[], &[buffer]).unwrap();
        let fallback = guest.instance.report().launches()[0].fallback.clone();
        (code, guest.words(buffer, 4), fallback)
    };
    assert_eq!(run(Limits::default().lift_work, false), (0, vec![4, 7, 10, 13], None));
    let (code, words, reason) = run(100, true);
    assert_eq!((code, words), (0, vec![4, 7, 10, 13]));
    assert!(reason.as_ref().is_some_and(|reason| reason.contains(REASON)), "{reason:?}");
    let (code, words, reason) = run(100, false);
    assert_eq!((code, words), (UNSUPPORTED, vec![0; 4]));
    assert!(reason.as_ref().is_some_and(|reason| reason.contains(REASON)), "{reason:?}");
}

#[test]
fn linear_memory_has_a_limit() {
    let text = "(module (memory 2) (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))";
    let runtime = |host_memory| {
        let limits = Limits { host_memory, ..Limits::default() };
        Runtime::new(Config { device: DeviceChoice::Cpu, limits, ..Config::default() }).unwrap()
    };
    let mut guest = Guest::new(&runtime(5 << 16), text);
    assert_eq!([3, 1, 0].map(|pages| guest.call("grow", &[pages]).unwrap()), [2, -1, 5]);
    let (runtime, wasi) = (runtime(1 << 16), wavelift::WasiCtxBuilder::new().build_p1());
    let module = wavelift::Module::new(&runtime, text).unwrap();
    let refused = wavelift::Instance::new(&runtime, &module, wasi).map(drop).unwrap_err().to_string();
    assert!(refused.contains("memory"), "{refused}");
}

/// A guest that runs for ever, in its own code or by launches of a kernel that takes a while.
const ENDLESS: &str = r#"(module
  (import "wasi_ephemeral_parallel" "parallel_for"
    (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 2 funcref)
  (elem (i32.const 1) $work)
  (func $work (param $i i32) (param i32 i32) (local $k i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 1000)))))
  (func (export "spin") (loop $again (br $again)))
  (func (export "launch")
    (loop $again
      (drop (call $parallel_for (i32.const 1) (i32.const 100000) (i32.const 1)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      (br $again)))
  (func (export "one_launch") (result i32)
    (call $parallel_for (i32.const 1) (i32.const -1) (i32.const 1)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
  (func (export "fine") (result i32) (i32.const 7)))"#;

#[test]
fn a_guest_is_stopped_when_its_time_is_up() {
    let limit = Duration::from_millis(300);
    for device in devices() {
        let limits = Limits { time: Some(limit), ..Limits::default() };
        let runtime = Runtime::new(Config { device, limits, ..Config::default() }).unwrap();
        for export in ["spin", "launch", "one_launch"] {
            let mut guest = Guest::new(&runtime, ENDLESS);
            let started = Instant::now();
            let error = guest.call(export, &[]).unwrap_err();
            let took = started.elapsed();
            assert!(matches!(error, Error::Interrupted(Interruption::Time { .. })), "{error}");
            assert!(error.to_string().contains("300ms"), "{error}");
            // Far from the time that any of these would take, and the machine may be busy.
            assert!(took >= limit && took < limit * 30, "`{export}` on {device:?} took {took:?}");
            // Each call has its own time.
            assert_eq!(guest.call("fine", &[]).unwrap(), 7);
        }
    }
}

#[test]
fn another_thread_cancels_a_guest() {
    for device in devices() {
        let runtime = Runtime::new(Config { device, interruptible: true, ..Config::default() }).unwrap();
        for export in ["spin", "launch", "one_launch"] {
            let mut guest = Guest::new(&runtime, ENDLESS);
            let interrupt = guest.instance.interrupt();
            let canceller = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                interrupt.cancel();
            });
            let error = guest.call(export, &[]).unwrap_err();
            assert!(matches!(error, Error::Interrupted(Interruption::Cancelled)), "{error}");
            canceller.join().unwrap();
            // Another guest of the runtime goes on.
            assert_eq!(Guest::new(&runtime, ENDLESS).call("fine", &[]).unwrap(), 7);
        }
    }
}
