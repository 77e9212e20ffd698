//! The functions of the module `wavelift`.

use wavelift::{Config, ErrorCode, Limits, Runtime};

use super::launches::devices;
use super::{DRIVER, Guest, filled, table};

const SUCCESS: i32 = ErrorCode::Success as i32;
const BAD_HANDLE: i32 = ErrorCode::BadHandle as i32;
const OUT_OF_BOUNDS: i32 = ErrorCode::OutOfBounds as i32;

/// The driver, with our own functions exported, too.
fn driver() -> String {
    let functions = [("free_buffer", 1), ("buffer_copy_in", 4), ("buffer_copy_out", 4), ("synchronize", 1)];
    let (mut imports, mut exports) = (String::new(), String::new());
    for (name, count) in functions {
        let params = "i32 ".repeat(count);
        let passed: String = (0..count).map(|number| format!("(local.get {number}) ")).collect();
        imports += &format!("(import \"wavelift\" \"{name}\" (func ${name} (param {params}) (result i32)))\n");
        exports += &format!("(func (export \"{name}\") (param {params}) (result i32) (call ${name} {passed}))\n");
    }
    let (head, rest) = DRIVER.split_once("(module").unwrap();
    let (rest, tail) = rest.rsplit_once(')').unwrap();
    format!("{head}(module\n{imports}{rest}{exports}){tail}")
}

#[test]
fn a_freed_buffer_is_gone_and_its_memory_is_used_again_as_zeroes() {
    for device in devices() {
        let limits = Limits { device_memory: 3 << 20, ..Limits::default() };
        let mut guest = Guest::new(&Runtime::new(Config { device, limits, ..Config::default() }).unwrap(), &driver());
        // The limit is of what there is at one time, and addresses do not run out.
        for round in 0..6000 {
            let buffer = guest.buffer(if round < 20 { 1 << 20 } else { 2 << 20 }, 2);
            if round < 40 {
                assert_eq!(guest.words(buffer, 1000), [0; 1000], "round {round}");
                assert_eq!(guest.launch(table::FILL, 1000, &[], &[buffer]).unwrap(), SUCCESS);
                if round % 2 == 0 {
                    assert_eq!(guest.words(buffer, 1000), filled(1000));
                }
            }
            assert_eq!(guest.call("free_buffer", &[buffer]).unwrap(), SUCCESS);
            if round < 40 {
                assert_eq!(guest.call("free_buffer", &[buffer]).unwrap(), BAD_HANDLE);
                assert_eq!(guest.call("read_buffer", &[buffer, 1024, 4]).unwrap(), BAD_HANDLE);
                assert_eq!(guest.launch(table::FILL, 1, &[], &[buffer]).unwrap(), BAD_HANDLE);
            }
        }
        for forged in [0, -1, 1, i32::MIN, guest.device(0)] {
            assert_eq!(guest.call("free_buffer", &[forged]).unwrap(), BAD_HANDLE);
        }
    }
}

#[test]
fn what_was_launched_before_goes_on_with_a_freed_buffer() {
    for device in devices() {
        let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver());
        let result = guest.buffer(4000, 2);
        for _ in 0..3 {
            let source = guest.buffer(4000, 2);
            assert_eq!(guest.launch(table::FILL, 1000, &[], &[source]).unwrap(), SUCCESS);
            assert_eq!(guest.launch(table::DOUBLE, 1000, &[source], &[result]).unwrap(), SUCCESS);
            assert_eq!(guest.call("free_buffer", &[source]).unwrap(), SUCCESS);
            // It may get the same addresses.
            let next = guest.buffer(4000, 2);
            let doubled: Vec<i32> = filled(1000).iter().map(|word| 2 * word).collect();
            assert_eq!(guest.words(result, 1000), doubled);
            assert_eq!(guest.words(next, 1000), [0; 1000]);
            assert_eq!(guest.call("free_buffer", &[next]).unwrap(), SUCCESS);
        }
    }
}

#[test]
fn parts_of_buffers_are_copied() {
    for device in devices() {
        let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver());
        let buffer = guest.buffer(4000, 2);
        assert_eq!(guest.launch(table::FILL, 1000, &[], &[buffer]).unwrap(), SUCCESS);
        guest.call("store", &[1024, 0x1234_5678]).unwrap();
        assert_eq!(guest.call("buffer_copy_in", &[buffer, 398, 1025, 3]).unwrap(), SUCCESS);
        assert_eq!(guest.call("buffer_copy_out", &[buffer, 396, 2048, 8]).unwrap(), SUCCESS);
        let words = filled(1000);
        let bytes = |word: i32| word.to_le_bytes();
        let (a, b) = (bytes(words[99]), bytes(words[100]));
        let expected = [i32::from_le_bytes([a[0], a[1], 0x56, 0x34]), i32::from_le_bytes([0x12, b[1], b[2], b[3]])];
        let got = [2048, 2052].map(|address| guest.call("load", &[address]).unwrap());
        assert_eq!(got, expected);
        for copy in ["buffer_copy_in", "buffer_copy_out"] {
            assert_eq!(guest.call(copy, &[buffer, 4000, 1024, 0]).unwrap(), SUCCESS);
            assert_eq!(guest.call(copy, &[buffer, 3999, 1024, 2]).unwrap(), OUT_OF_BOUNDS);
            assert_eq!(guest.call(copy, &[buffer, -1, 1024, 2]).unwrap(), OUT_OF_BOUNDS);
            assert_eq!(guest.call(copy, &[buffer + 1, 0, 1024, 4]).unwrap(), BAD_HANDLE);
            let fault = guest.call(copy, &[buffer, 0, -4, 8]).unwrap_err().to_string();
            assert!(fault.contains(copy), "{fault}");
            guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver());
            let same = guest.buffer(4000, 2);
            assert_eq!(same, buffer);
        }
    }
}

#[test]
fn waiting_raises_what_is_pending() {
    for device in devices() {
        let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver());
        let (handle, buffer) = (guest.device(0), guest.buffer(4000, 2));
        assert_eq!(guest.call("synchronize", &[handle]).unwrap(), SUCCESS);
        assert_eq!(guest.call("synchronize", &[buffer]).unwrap(), BAD_HANDLE);
        assert_eq!(guest.launch(table::TRAPS, 5, &[], &[buffer]).unwrap(), SUCCESS);
        assert_eq!(guest.call("synchronize", &[handle]).unwrap(), SUCCESS);
        let trap = guest.launch(table::TRAPS, 9, &[], &[buffer]).and_then(|_| guest.call("synchronize", &[handle]));
        let trap = trap.unwrap_err().to_string();
        assert!(trap.contains("The lowest iteration that trapped is 5."), "{trap}");
    }
}
