//! Pointers that kernels take from memory, changed between launches, on every device.

use wavelift::{Config, DeviceChoice, Runtime};

use super::launches::devices;
use super::{DRIVER, Guest};

/// Entries of the table behind the driver's own.
mod entry {
    /// One buffer, which gets its own address.
    pub const ADDRESS: i32 = 20;
    /// Two buffers; stores `100 + i` by the pointer at 8192.
    pub const THROUGH: i32 = 21;
    /// Three buffers; stores `200 + i` by the pointer that the first holds.
    pub const FROM_BUFFER: i32 = 22;
    /// Two buffers; the first gets the second's address.
    pub const SET: i32 = 23;
}

const KERNELS: &str = "
  (table 24 funcref) (elem (i32.const 20) $address $through $from_buffer $set)
  (func $address (param i32 i32 i32) (param $p i32) (param i32)
    (i32.store (local.get $p) (local.get $p)))
  (func $through (param $i i32) (param i32 i32 i32 i32 i32 i32)
    (i32.store (i32.add (i32.load (i32.const 8192)) (i32.shl (local.get $i) (i32.const 2)))
      (i32.add (local.get $i) (i32.const 100))))
  (func $from_buffer (param $i i32) (param i32 i32) (param $p i32) (param i32 i32 i32 i32 i32)
    (i32.store (i32.add (i32.load (local.get $p)) (i32.shl (local.get $i) (i32.const 2)))
      (i32.add (local.get $i) (i32.const 200))))
  (func $set (param i32 i32 i32) (param $p i32) (param i32) (param $q i32) (param i32)
    (i32.store (local.get $p) (local.get $q)))";

const WORDS: i32 = 16;

/// The driver with the kernels above, and two buffers with their addresses.
fn guest(device: DeviceChoice) -> (Guest, [(i32, i32); 2]) {
    let text = DRIVER.replace("(table 20 funcref)", KERNELS);
    assert!(text.contains(KERNELS), "the driver's table has another size");
    let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &text);
    // Numbers in the highest page look like small negative ones.
    guest.buffer(4 * WORDS, 2);
    let buffers = [0, 1].map(|_| {
        let buffer = guest.buffer(4 * WORDS, 2);
        assert_eq!(guest.launch(entry::ADDRESS, 1, &[], &[buffer]).unwrap(), 0);
        (buffer, guest.words(buffer, 1)[0])
    });
    for (buffer, _) in buffers {
        guest.set_words(buffer, &[0; WORDS as usize]);
    }
    (guest, buffers)
}

/// Words, of which `count` from `start` on count up from `first`.
fn counted(start: usize, count: usize, first: i32) -> Vec<i32> {
    let mut words = vec![0; WORDS as usize];
    (first..).zip(&mut words[start..start + count]).for_each(|(value, word)| *word = value);
    words
}

#[test]
fn a_captured_pointer_that_moves_between_launches() {
    for device in devices() {
        let (mut guest, [(a, a_at), (b, b_at)]) = guest(device);
        let launch = |guest: &mut Guest, pointer: i32, iterations: i32| {
            guest.store(8192, pointer);
            assert_eq!(guest.launch(entry::THROUGH, iterations, &[], &[a, b]).unwrap(), 0);
            let found = [guest.words(a, WORDS), guest.words(b, WORDS)];
            let lift = guest.instance.report().launches().last().unwrap().lift;
            [a, b].into_iter().for_each(|buffer| guest.set_words(buffer, &[0; WORDS as usize]));
            (found, lift)
        };
        let nothing = counted(0, 0, 0);
        assert_eq!(launch(&mut guest, a_at, 4).0, [counted(0, 4, 100), nothing.clone()]);
        assert_eq!(launch(&mut guest, b_at, 5).0, [nothing.clone(), counted(0, 5, 100)]);
        // Nothing is lifted for a pointer that moves within a buffer, or comes back to one. (What the CPU's devices
        // do at a launch is counted as lifting, too.)
        for (pointer, found) in [
            (a_at + 8, [counted(2, 6, 100), nothing.clone()]),
            (b_at + 40, [nothing.clone(), counted(10, 6, 100)]),
            (a_at, [counted(0, 6, 100), nothing.clone()]),
        ] {
            let (now, lift) = launch(&mut guest, pointer, 6);
            assert_eq!(now, found);
            assert!(device != DeviceChoice::Gpu || lift.is_zero(), "{lift:?}");
        }
        assert_eq!(launch(&mut guest, 4096, 7).0, [nothing.clone(), nothing.clone()]);
        assert_eq!((guest.load(4096), guest.load(4096 + 24)), (100, 106));
        // To nowhere, and partly to nowhere.
        for pointer in [0x4000_0000, -4, 2 * 65536] {
            guest.store(8192, pointer);
            let error = guest.launch(entry::THROUGH, 4, &[], &[a, b]).unwrap_err().to_string();
            assert!(
                error.contains("out of bounds") && error.ends_with("trapped is 0."),
                "{device:?} {pointer}: {error}"
            );
        }
        guest.store(8192, 2 * 65536 - 8);
        let error = guest.launch(entry::THROUGH, 4, &[], &[a, b]).unwrap_err().to_string();
        assert!(error.contains("out of bounds") && error.ends_with("trapped is 2."), "{device:?}: {error}");
        assert_eq!(launch(&mut guest, b_at, 4).0, [nothing.clone(), counted(0, 4, 100)]);
    }
}

#[test]
fn a_pointer_in_a_buffer_that_the_host_and_kernels_write() {
    for device in devices() {
        let (mut guest, [(a, a_at), (b, b_at)]) = guest(device);
        let holder = guest.buffer(8, 2);
        let nothing = counted(0, 0, 0);
        for round in 0..12 {
            // By the host, twice; then by a kernel.
            for (pointer, found) in [
                (Some(a_at), [counted(0, 4, 200), nothing.clone()]),
                (Some(b_at + 4), [nothing.clone(), counted(1, 4, 200)]),
                (None, [counted(0, 4, 200), nothing.clone()]),
            ] {
                match pointer {
                    Some(pointer) => guest.set_words(holder, &[pointer]),
                    None => assert_eq!(guest.launch(entry::SET, 1, &[], &[holder, a]).unwrap(), 0),
                }
                assert_eq!(guest.launch(entry::FROM_BUFFER, 4, &[holder], &[a, b]).unwrap(), 0);
                assert_eq!([guest.words(a, WORDS), guest.words(b, WORDS)], found, "{device:?} {round}");
                [a, b].into_iter().for_each(|buffer| guest.set_words(buffer, &[0; WORDS as usize]));
            }
        }
        // Into the buffer that holds it: the first invocation overwrites it, and there is no second.
        let own = guest.buffer(8, 2);
        assert_eq!(guest.launch(entry::ADDRESS, 1, &[], &[own]).unwrap(), 0);
        assert_eq!(guest.launch(entry::FROM_BUFFER, 1, &[own], &[a, b]).unwrap(), 0);
        assert_eq!(guest.words(own, 2), [200, 0]);
        guest.set_words(holder, &[0x4000_0000]);
        let error = guest.launch(entry::FROM_BUFFER, 4, &[holder], &[a, b]).unwrap_err().to_string();
        assert!(error.contains("out of bounds") && error.ends_with("trapped is 0."), "{device:?}: {error}");
    }
}
