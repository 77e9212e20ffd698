//! Kernels that find a function's number in linear memory, which changes between launches, on every device. Among the
//! functions of its type is one that calls itself.

use wavelift::translator::Speculate;
use wavelift::{Config, DeviceChoice, Runtime};

use super::launches::devices;
use super::{DRIVER, Guest, filled, table};

/// Entries of the table behind the driver's own.
mod entry {
    /// One buffer; `buffer[i]` is what the method of the object at 8192 makes of `i`.
    pub const METHOD: i32 = 20;
    /// The same, after the number of `negated` was stored at 12292.
    pub const SETS_METHOD: i32 = 21;
    /// The same, after the iteration's number was stored at 12288 + 4 * iterations.
    pub const STORES: i32 = 22;
    /// A method that calls itself: `2 * i`.
    pub const RECURSIVE: i32 = 23;
}

const KERNELS: &str = "
  (table 24 funcref) (elem (i32.const 20) $method $sets_method $stores $recursive)
  (type $method_type (func (param i32) (result i32)))
  (func $recursive (type $method_type)
    (if (i32.le_s (local.get 0) (i32.const 0)) (then (return (i32.const 0))))
    (i32.add (i32.const 2) (call $recursive (i32.sub (local.get 0) (i32.const 1)))))
  (func $call_method (param $i i32) (param $p i32)
    (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
      (call_indirect (type $method_type) (local.get $i) (i32.load offset=4 (i32.load (i32.const 8192))))))
  (func $method (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (call $call_method (local.get $i) (local.get $p)))
  (func $sets_method (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (i32.const 12292) (i32.const 16))
    (call $call_method (local.get $i) (local.get $p)))
  (func $stores (param $i i32) (param $n i32) (param i32) (param $p i32) (param i32)
    (i32.store offset=12288 (i32.shl (local.get $n) (i32.const 2)) (local.get $i))
    (call $call_method (local.get $i) (local.get $p)))";

/// Where the object's methods are, and where others are.
const METHODS: i32 = 12288;
const OTHERS: i32 = 12320;

struct Launcher {
    guest: Guest,
    buffer: i32,
    device: DeviceChoice,
}

impl Launcher {
    /// The driver with the kernels above, in exact forms.
    fn on(device: DeviceChoice) -> Launcher {
        Launcher::with(device, Speculate::Never)
    }

    fn with(device: DeviceChoice, speculate: Speculate) -> Launcher {
        let text = DRIVER.replace("(table 20 funcref)", KERNELS);
        assert!(text.contains(KERNELS), "the driver's table has another size");
        let mut guest = Guest::new(&Runtime::new(Config { device, speculate, ..Config::default() }).unwrap(), &text);
        let buffer = guest.buffer(64, 2);
        guest.store(8192, METHODS);
        guest.store(METHODS + 4, table::CALLED);
        guest.store(OTHERS + 4, table::NEGATED);
        Launcher { guest, buffer, device }
    }

    /// What iterations leave, and why they did not run on the GPU, if they were to. (The driver's table holds functions of the
    /// host, for which the CPU's workers have no place.)
    fn run(&mut self, kernel: i32, iterations: i32) -> (Vec<i32>, Option<String>) {
        assert_eq!(self.guest.launch(kernel, iterations, &[], &[self.buffer]).unwrap(), 0);
        let fallback = self.guest.instance.report().launches().last().unwrap().fallback.clone();
        let fallback = fallback.filter(|_| self.device == DeviceChoice::Gpu);
        (self.guest.words(self.buffer, iterations), fallback)
    }

    fn fault(&mut self) -> String {
        self.guest.launch(entry::METHOD, 4, &[], &[self.buffer]).unwrap_err().to_string()
    }
}

const PLUS_ONE: [i32; 4] = [1, 2, 3, 4];
const NEGATED: [i32; 4] = [0, -1, -2, -3];

#[test]
fn a_methods_number_that_changes_between_launches() {
    for device in devices() {
        let mut launcher = Launcher::on(device);
        assert_eq!(launcher.run(entry::METHOD, 4), (PLUS_ONE.to_vec(), None));
        launcher.guest.store(METHODS + 4, table::NEGATED);
        assert_eq!(launcher.run(entry::METHOD, 4), (NEGATED.to_vec(), None));
        // Another object, and the first again.
        launcher.guest.store(METHODS + 4, table::CALLED);
        launcher.guest.store(8192, OTHERS);
        assert_eq!(launcher.run(entry::METHOD, 4), (NEGATED.to_vec(), None));
        launcher.guest.store(8192, METHODS);
        assert_eq!(launcher.run(entry::METHOD, 4), (PLUS_ONE.to_vec(), None));
    }
}

#[test]
fn a_method_that_calls_itself_runs_on_the_cpu() {
    for device in devices() {
        let mut launcher = Launcher::on(device);
        launcher.guest.store(METHODS + 4, entry::RECURSIVE);
        let (words, fallback) = launcher.run(entry::METHOD, 4);
        assert_eq!(words, [0, 2, 4, 6]);
        // The reason is the one for all that the table holds: functions of the host are there, too.
        let is_refused = fallback.is_some_and(|reason| reason.contains("functions of other modules"));
        assert_eq!(is_refused, device == DeviceChoice::Gpu);
        launcher.guest.store(METHODS + 4, table::CALLED);
        assert_eq!(launcher.run(entry::METHOD, 4), (PLUS_ONE.to_vec(), None));
    }
}

#[test]
fn a_table_that_changes_between_launches_below_a_methods_number() {
    for device in devices() {
        let mut launcher = Launcher::on(device);
        assert_eq!(launcher.run(entry::METHOD, 4), (PLUS_ONE.to_vec(), None));
        launcher.guest.call("copy_entry", &[table::CALLED, table::NEGATED]).unwrap();
        assert_eq!(launcher.run(entry::METHOD, 4), (NEGATED.to_vec(), None));
        launcher.guest.call("copy_entry", &[table::CALLED, entry::RECURSIVE]).unwrap();
        assert_eq!(launcher.run(entry::METHOD, 4).0, [0, 2, 4, 6]);
        launcher.guest.call("clear_entry", &[table::CALLED]).unwrap();
        let error = launcher.fault();
        assert!(error.contains("null") && error.ends_with("trapped is 0."), "{device:?}: {error}");
    }
}

#[test]
fn a_kernel_that_may_store_to_a_methods_number_is_not_lifted_by_it() {
    for device in devices() {
        let is_gpu = device == DeviceChoice::Gpu;
        let stored = |reason: Option<String>| reason.is_some_and(|reason| reason.contains("may be stored to by it"));
        let mut launcher = Launcher::on(device);
        let (words, fallback) = launcher.run(entry::SETS_METHOD, 4);
        assert_eq!((words, stored(fallback)), (NEGATED.to_vec(), is_gpu));
        assert_eq!(launcher.guest.load(METHODS + 4), table::NEGATED);
        // Where it stores depends on the launch: one is beside the method, and one there.
        launcher.guest.store(METHODS + 4, table::CALLED);
        assert_eq!(launcher.run(entry::STORES, 4), (PLUS_ONE.to_vec(), None));
        assert!((0..4).contains(&launcher.guest.load(METHODS + 16)), "one of the iterations was the last to store");
        launcher.guest.store(METHODS + 4, table::CALLED);
        // With one iteration it is the number that it stores: 0, of which there is no function.
        let error = launcher.guest.launch(entry::STORES, 1, &[], &[launcher.buffer]).unwrap_err().to_string();
        assert!(error.contains("null") && error.ends_with("trapped is 0."), "{device:?}: {error}");
        assert_eq!(launcher.guest.load(METHODS + 4), 0);
    }
}

/// Where the exact form is refused, all that it could come to is tried, to a depth.
#[test]
fn speculative_forms_do_the_same() {
    for (device, speculate) in devices()
        .into_iter()
        .flat_map(|device| [Speculate::Auto, Speculate::Always].map(|speculate| (device, speculate)))
    {
        let mut launcher = Launcher::with(device, speculate);
        for (number, words) in [(table::CALLED, PLUS_ONE), (entry::RECURSIVE, [0, 2, 4, 6]), (table::NEGATED, NEGATED)]
        {
            launcher.guest.store(METHODS + 4, number);
            assert_eq!(launcher.run(entry::METHOD, 4).0, words, "{device:?} {speculate:?}");
        }
        launcher.guest.store(METHODS + 4, table::CALLED);
        assert_eq!(launcher.run(entry::SETS_METHOD, 4).0, NEGATED, "{device:?} {speculate:?}");
    }
}

#[test]
fn numbers_of_no_function_trap_as_in_wasm() {
    for device in devices() {
        let mut launcher = Launcher::on(device);
        for (number, kind) in [(table::NULL, "null"), (24, "table"), (-1, "table"), (table::FILL, "type")] {
            launcher.guest.store(METHODS + 4, number);
            let error = launcher.fault();
            assert!(error.contains(kind) && error.ends_with("trapped is 0."), "{device:?} {number}: {error}");
        }
        // Memory has no such words.
        for object in [2 * 65536 - 4, 0x7000_0000, -4] {
            launcher.guest.store(8192, object);
            let error = launcher.fault();
            assert!(
                error.contains("out of bounds") && error.ends_with("trapped is 0."),
                "{device:?} {object}: {error}"
            );
        }
        // All else goes on.
        assert_eq!(launcher.run(table::FILL, 4), (filled(4), None));
    }
}
