//! The functions of the module `wavelift`.

use wavelift::{Config, DeviceChoice, ErrorCode, Limits, Runtime};

use super::guest::driver_with_extensions;
use super::launches::devices;
use super::{Guest, filled, table};

const SUCCESS: i32 = ErrorCode::Success as i32;
const BAD_HANDLE: i32 = ErrorCode::BadHandle as i32;
const OUT_OF_BOUNDS: i32 = ErrorCode::OutOfBounds as i32;

#[test]
fn a_freed_buffer_is_gone_and_its_memory_is_used_again_as_zeroes() {
    for device in devices() {
        let limits = Limits { device_memory: 3 << 20, ..Limits::default() };
        let mut guest = Guest::new(
            &Runtime::new(Config { device, limits, ..Config::default() }).unwrap(),
            &driver_with_extensions(),
        );
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
        let mut guest =
            Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver_with_extensions());
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
        let mut guest =
            Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver_with_extensions());
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
            guest =
                Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver_with_extensions());
            let same = guest.buffer(4000, 2);
            assert_eq!(same, buffer);
        }
    }
}

#[test]
fn waiting_raises_what_is_pending() {
    for device in devices() {
        let mut guest =
            Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &driver_with_extensions());
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

#[test]
fn a_device_says_what_it_is_and_holds() {
    for (device, kind) in devices().into_iter().map(|device| (device, kind_number(device))) {
        let limits = Limits { device_memory: 3 << 20, ..Limits::default() };
        let mut guest = Guest::new(
            &Runtime::new(Config { device, limits, ..Config::default() }).unwrap(),
            &driver_with_extensions(),
        );
        let handle = guest.device(0);
        let mut fact = |what: i32| {
            assert_eq!(guest.call("device_info", &[handle, what, 1028]).unwrap(), SUCCESS);
            [1028, 1032].map(|address| guest.call("load", &[address]).unwrap())
        };
        assert_eq!(fact(0), [kind, 0]);
        assert_eq!(fact(1), [3 << 20, 0]);
        assert_eq!(fact(2), [3 << 20, 0]);
        assert!(fact(3)[0] >= 128);
        for forged in [0, 1, -1, handle + 1] {
            assert_eq!(guest.call("device_info", &[forged, 0, 1028]).unwrap(), BAD_HANDLE);
        }
        let fault = guest.call("device_info", &[handle, 4, 1028]).unwrap_err().to_string();
        assert!(fault.contains("the unknown fact 4"), "{fault}");
    }
}

#[test]
fn what_a_device_says_lies_in_the_guests_memory() {
    let config = Config { device: DeviceChoice::Sequential, ..Config::default() };
    let mut guest = Guest::new(&Runtime::new(config).unwrap(), &driver_with_extensions());
    let handle = guest.device(0);
    let fault = guest.call("device_info", &[handle, 0, -7]).unwrap_err().to_string();
    assert!(fault.contains("`device_info`") && fault.contains("outside its memory"), "{fault}");
}

/// What the header calls the kind of the device of a choice.
fn kind_number(choice: DeviceChoice) -> i32 {
    match choice {
        DeviceChoice::Sequential => 0,
        DeviceChoice::Cpu => 1,
        DeviceChoice::Auto | DeviceChoice::Gpu => 4,
    }
}
