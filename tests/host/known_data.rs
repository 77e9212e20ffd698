//! What kernels read of their modules' data segments, changed by the guest, by the host and by kernels, on every device.

use wavelift::{Config, DeviceChoice, Runtime};

use super::launches::devices;
use super::{DRIVER, Guest};

/// Entries of the table behind the driver's own.
mod entry {
    /// One buffer; each gets `coefficient + table[i % 8]`.
    pub const READ: i32 = 20;
    /// One buffer; stores `i` to the coefficient's address and on, then does as `READ`.
    pub const WRITE: i32 = 21;
    /// One buffer; stores 5 to the word at its argument's address, then does as `READ`.
    pub const WRITE_AT: i32 = 22;
}

/// The coefficient is 1000; the table, at 8192, has 0, 10, 20 and so on.
const KERNELS: &str = r#"
  (table 23 funcref) (elem (i32.const 20) $read $write $write_at)
  (data (i32.const 8192) "\00\00\00\00\0a\00\00\00\14\00\00\00\1e\00\00\00\28\00\00\00\32\00\00\00\3c\00\00\00\46\00\00\00")
  (data (i32.const 8256) "\e8\03\00\00")
  (func $sum (param $i i32) (result i32)
    (i32.add (i32.load (i32.const 8256))
      (i32.load offset=8192 (i32.shl (i32.and (local.get $i) (i32.const 7)) (i32.const 2)))))
  (func $read (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (call $sum (local.get $i))))
  (func $write (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.add (i32.const 8256) (i32.shl (local.get $i) (i32.const 2))) (i32.add (local.get $i) (i32.const 7)))
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (call $sum (local.get $i))))
  (func $write_at (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.load (local.get $p)) (i32.const 5))
    (i32.store offset=4 (local.get $p) (call $sum (i32.const 0))))"#;

fn guest(device: DeviceChoice) -> (Guest, i32) {
    let text = DRIVER.replace("(table 20 funcref)", KERNELS);
    assert!(text.contains(KERNELS), "the driver's table has another size");
    let mut guest = Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &text);
    let buffer = guest.buffer(64, 2);
    (guest, buffer)
}

/// What `READ` gives 16 invocations.
fn read(guest: &mut Guest, buffer: i32) -> Vec<i32> {
    assert_eq!(guest.launch(entry::READ, 16, &[], &[buffer]).unwrap(), 0);
    guest.words(buffer, 16)
}

fn sums(coefficient: i32, table: [i32; 8]) -> Vec<i32> {
    (0..16).map(|i| coefficient + table[i % 8]).collect()
}

const TABLE: [i32; 8] = [0, 10, 20, 30, 40, 50, 60, 70];

#[test]
fn data_that_the_guest_changes_between_launches() {
    for device in devices() {
        let (mut guest, buffer) = guest(device);
        assert_eq!(read(&mut guest, buffer), sums(1000, TABLE), "{device:?}");
        // The same again: nothing is lifted for it.
        let lift = |guest: &Guest| guest.instance.report().launches().last().unwrap().lift;
        let before = lift(&guest);
        assert_eq!(read(&mut guest, buffer), sums(1000, TABLE), "{device:?}");
        assert!(device != DeviceChoice::Gpu || lift(&guest) == before, "{device:?}");
        let mut table = TABLE;
        // More changes than are lifted for one by one, and back.
        for change in 0..20 {
            let number = change as usize % 8;
            table[number] = 500 + change;
            guest.store(8192 + 4 * number as i32, table[number]);
            guest.store(8256, change);
            assert_eq!(read(&mut guest, buffer), sums(change, table), "{device:?}");
        }
        guest.store(8256, 1000);
        (0..).zip(TABLE).for_each(|(number, entry)| guest.store(8192 + 4 * number, entry));
        assert_eq!(read(&mut guest, buffer), sums(1000, TABLE), "{device:?}");
    }
}

#[test]
fn data_that_is_changed_before_the_first_launch() {
    for device in devices() {
        let (mut guest, buffer) = guest(device);
        guest.store(8256, -1);
        assert_eq!(read(&mut guest, buffer), sums(-1, TABLE), "{device:?}");
        guest.store(8220, -2);
        assert_eq!(read(&mut guest, buffer)[7], -3, "{device:?}");
    }
}

#[test]
fn data_that_a_kernel_stores_to() {
    for device in devices() {
        let (mut guest, buffer) = guest(device);
        // One invocation, which finds what it stored.
        assert_eq!(guest.launch(entry::WRITE, 1, &[], &[buffer]).unwrap(), 0);
        assert_eq!((guest.words(buffer, 1), guest.load(8256)), (vec![7], 7), "{device:?}");
        assert_eq!(read(&mut guest, buffer), sums(7, TABLE), "{device:?}");
    }
}

#[test]
fn data_that_a_kernel_stores_to_by_a_loaded_pointer() {
    for device in devices() {
        let (mut guest, buffer) = guest(device);
        let launch = |guest: &mut Guest, address: i32| {
            guest.set_words(buffer, &[address, 0]);
            assert_eq!(guest.launch(entry::WRITE_AT, 1, &[], &[buffer]).unwrap(), 0);
            guest.words(buffer, 2)[1]
        };
        assert_eq!(launch(&mut guest, 4096), 1000, "{device:?}");
        assert_eq!(launch(&mut guest, 8256), 5, "{device:?}");
        assert_eq!(launch(&mut guest, 8192), 10, "{device:?}");
        assert_eq!((guest.load(8192), guest.load(4096)), (5, 5), "{device:?}");
    }
}
