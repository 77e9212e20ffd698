//! Error codes, handles, and the traps for bad pointers and unknown numbers.

use wavelift::{Config, DeviceChoice, ErrorCode, Runtime};

use super::{Guest, table};

const SUCCESS: i32 = ErrorCode::Success as i32;
const BAD_HANDLE: i32 = ErrorCode::BadHandle as i32;
const BAD_DEVICE: i32 = ErrorCode::BadDevice as i32;
const OUT_OF_BOUNDS: i32 = ErrorCode::OutOfBounds as i32;
const OUT_OF_MEMORY: i32 = ErrorCode::OutOfMemory as i32;
const BAD_KERNEL: i32 = ErrorCode::BadKernel as i32;
/// Beyond the driver's two pages.
const OUTSIDE: i32 = 2 << 16;

fn driver() -> Guest {
    Guest::on(DeviceChoice::Cpu)
}

#[test]
fn unknown_handles() {
    let mut guest = driver();
    let device = guest.device(0);
    let buffer = guest.buffer(16, 2);
    for unknown in [0, 1, -1, device, buffer + 1] {
        assert_eq!(guest.call("write_buffer", &[0, 4, unknown]).unwrap(), BAD_HANDLE);
        assert_eq!(guest.call("read_buffer", &[unknown, 0, 4]).unwrap(), BAD_HANDLE);
        assert_eq!(guest.launch(table::FILL, 1, &[], &[unknown]).unwrap(), BAD_HANDLE);
    }
    for unknown in [0, 1, -1, buffer, device + 1] {
        assert_eq!(guest.call("create_buffer", &[unknown, 4, 0, 0]).unwrap(), BAD_HANDLE);
    }
}

#[test]
fn handles_of_another_guest() {
    let (mut one, mut other) = (driver(), driver());
    one.buffer(16, 2);
    let second = one.buffer(16, 2);
    other.buffer(16, 2);
    assert_eq!(other.call("read_buffer", &[second, 0, 4]).unwrap(), BAD_HANDLE);
}

#[test]
fn a_device_has_one_handle() {
    let mut guest = driver();
    assert_eq!(guest.device(0), guest.device(0));
}

#[test]
fn lengths_beyond_the_end_and_prefixes() {
    let mut guest = driver();
    let buffer = guest.buffer(16, 2);
    for length in [17, 1 << 20, -1] {
        assert_eq!(guest.call("write_buffer", &[0, length, buffer]).unwrap(), OUT_OF_BOUNDS);
        assert_eq!(guest.call("read_buffer", &[buffer, 0, length]).unwrap(), OUT_OF_BOUNDS);
    }
    guest.set_words(buffer, &[1, 2, 3, 4]);
    guest.set_words(buffer, &[9, 8]);
    assert_eq!(guest.words(buffer, 4), [9, 8, 3, 4]);
    guest.store(1028, 77);
    guest.ok("read_buffer", &[buffer, 1024, 4]);
    assert_eq!((guest.load(1024), guest.load(1028)), (9, 77));
}

#[test]
fn buffers_start_zeroed_and_may_be_empty() {
    let mut guest = driver();
    let buffer = guest.buffer(64, 1);
    assert_eq!(guest.words(buffer, 16), [0; 16]);
    let empty = guest.buffer(0, 2);
    guest.ok("read_buffer", &[empty, 0, 0]);
    assert_eq!(guest.call("read_buffer", &[empty, 0, 1]).unwrap(), OUT_OF_BOUNDS);
}

#[test]
fn addresses_run_out() {
    let mut guest = driver();
    let device = guest.device(0);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(guest.call("create_buffer", &[device, 0x7000_0000, 2, 0]).unwrap());
    }
    assert_eq!(codes, [SUCCESS, SUCCESS, OUT_OF_MEMORY, OUT_OF_MEMORY]);
    guest.buffer(16, 2);
}

#[test]
fn the_report_says_why_there_is_no_kernel() {
    let mut guest = driver();
    let buffer = guest.buffer(16, 2);
    for (entry, buffers, why) in [
        (table::NULL, 1, "Entry 0 of the function table is null."),
        (table::HOST, 1, "function of the host"),
        (table::WRONG_TYPE, 1, "`wrong_type` at entry 3"),
        (table::FILL, 2, "takes 1 buffers, and the call has 2."),
        (1000, 1, "beyond the end of the function table, which has 20 entries."),
    ] {
        assert_eq!(guest.launch(entry, 1, &[], &vec![buffer; buffers]).unwrap(), BAD_KERNEL);
        let launches = guest.instance.report().launches();
        let reason = launches.last().and_then(|launch| launch.fallback.clone()).unwrap();
        assert!(reason.starts_with("Not run: ") && reason.contains(why), "{reason}");
    }
}

#[test]
fn a_module_without_a_table_is_told_to_export_it() {
    // What `wasm-opt` leaves of a module that does not export its table.
    let text = r#"(module
      (import "wasi_ephemeral_parallel" "parallel_for"
        (func $parallel_for (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "launch") (result i32)
        (call $parallel_for (i32.const 1) (i32.const 4) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 0))))"#;
    let mut guest = Guest::new(&Runtime::new(Config::default()).unwrap(), text);
    assert_eq!(guest.call("launch", &[]).unwrap(), BAD_KERNEL);
    let report = guest.instance.report().to_string();
    for part in ["has no function table", "`wasm-opt`", "`--export-table`"] {
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn bad_kernels() {
    let mut guest = driver();
    let buffer = guest.buffer(16, 2);
    for entry in [table::NULL, table::WRONG_TYPE, table::HOST, table::FREE, 20, -1] {
        assert_eq!(guest.launch(entry, 1, &[], &[buffer]).unwrap(), BAD_KERNEL, "entry {entry}");
    }
    assert_eq!(guest.launch(table::FILL, 1, &[], &[]).unwrap(), BAD_KERNEL);
    assert_eq!(guest.launch(table::FILL, 1, &[buffer], &[buffer]).unwrap(), BAD_KERNEL);
    assert_eq!(guest.launch(table::FILL, 0, &[buffer], &[buffer]).unwrap(), BAD_KERNEL);
}

#[test]
fn buffers_of_two_devices() {
    let runtime = wavelift::Runtime::new(wavelift::Config::default()).unwrap();
    let mut guest = Guest::new(&runtime, super::DRIVER);
    let on_cpu = guest.buffer(16, 2);
    let sequential = guest.device(3);
    guest.ok("create_buffer", &[sequential, 16, 2, 0]);
    let in_order = guest.load(0);
    assert_eq!(guest.launch(table::DOUBLE, 4, &[on_cpu], &[in_order]).unwrap(), BAD_DEVICE);
    assert_eq!(guest.launch(table::DOUBLE, 4, &[on_cpu], &[on_cpu]).unwrap(), SUCCESS);
}

#[test]
fn pointers_outside_memory() {
    let mut guest = driver();
    let device = guest.device(0);
    let buffer = guest.buffer(16, 2);
    let faults = [
        guest.fault("get_device", &[0, OUTSIDE - 3]),
        guest.fault("create_buffer", &[device, 4, 0, -4]),
        guest.fault("write_buffer", &[OUTSIDE - 8, 16, buffer]),
        guest.fault("read_buffer", &[buffer, -8, 16]),
        guest.fault("parallel_for", &[table::FILL, 1, 1, OUTSIDE, 1, 0, 0]),
        guest.fault("parallel_for", &[table::FILL, 1, 1, 0, 0, 0, -1]),
    ];
    for fault in faults {
        assert!(fault.contains("outside its memory") && fault.contains("131072 bytes"), "{fault}");
    }
    let fault = guest.fault("parallel_for", &[table::FILL, 1, 1, 0, 0, OUTSIDE, 1]);
    assert!(fault.contains("`parallel_for` with a list of out-buffers"), "{fault}");
}

#[test]
fn unknown_numbers() {
    let mut guest = driver();
    let device = guest.device(0);
    let fault = guest.fault("get_device", &[4, 0]);
    assert!(fault.contains("unknown device hint 4"), "{fault}");
    let fault = guest.fault("create_buffer", &[device, 4, 3, 0]);
    assert!(fault.contains("unknown access kind 3"), "{fault}");
    // The guest can go on: a host that catches the trap finds its state whole.
    guest.buffer(4, 0);
}

#[test]
fn a_guest_without_memory() {
    let runtime = wavelift::Runtime::new(wavelift::Config::default()).unwrap();
    let text = r#"(module
        (import "wasi_ephemeral_parallel" "get_device" (func $get_device (param i32 i32) (result i32)))
        (func (export "f") (result i32) (call $get_device (i32.const 0) (i32.const 0))))"#;
    let fault = Guest::new(&runtime, text).fault("f", &[]);
    assert!(fault.contains("needs a linear memory"), "{fault}");
}
