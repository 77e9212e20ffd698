//! Kernels that nobody trusts: what they try ends in a trap, the same on every device, and touches nobody else.

use wavelift::translator::Profile;
use wavelift::{Config, DeviceChoice, ErrorCode, Runtime};

use super::launches::devices;
use super::modules::{Form, KERNEL_AT, Launcher};
use super::{DRIVER, Guest, filled, table};

const GUEST: &str = include_str!("hostile.wat");

/// How a launch of a hostile kernel ends.
enum Ends {
    /// In a trap whose sentence holds this, of that iteration.
    Trap(&'static str, u32),
    /// The first word of the buffer is this.
    Word(i32),
}

use Ends::{Trap, Word};

const OUT_OF_BOUNDS: &str = "out of bounds";

/// Entries of the table, and what becomes of five iterations.
const KERNELS: [(i32, Ends); 22] = [
    (1, Trap(OUT_OF_BOUNDS, 0)),
    (2, Trap(OUT_OF_BOUNDS, 0)),
    (3, Trap(OUT_OF_BOUNDS, 0)),
    (4, Trap(OUT_OF_BOUNDS, 0)),
    (5, Trap(OUT_OF_BOUNDS, 0)),
    (6, Trap(OUT_OF_BOUNDS, 0)),
    (7, Trap(OUT_OF_BOUNDS, 0)),
    (8, Trap(OUT_OF_BOUNDS, 0)),
    (9, Trap("stack", 0)),
    (10, Trap("stack", 0)),
    (11, Trap("", 0)),
    (12, Trap("", 0)),
    (13, Trap("", 0)),
    // Invocations in order: the last sees what those before it made.
    (14, Word(6)),
    (15, Word(15)),
    (16, Word(8)),
    (17, Trap("divi", 3)),
    (18, Trap("overflow", 2)),
    (19, Trap("conver", 3)),
    (20, Trap("unreachable", 4)),
    (21, Trap(OUT_OF_BOUNDS, 0)),
    (22, Trap(OUT_OF_BOUNDS, 0)),
];

/// Every device, a GPU in both profiles.
fn runtimes() -> Vec<(String, Runtime)> {
    let mut runtimes = Vec::new();
    for device in devices() {
        for profile in [Profile::Vulkan, Profile::Portable] {
            if device == DeviceChoice::Gpu || profile == Profile::Vulkan {
                let config = Config { device, profile, ..Config::default() };
                runtimes.push((format!("{device:?} {profile:?}"), Runtime::new(config).unwrap()));
            }
        }
    }
    runtimes
}

/// A guest with a buffer of known words beside the hostile ones.
struct Bystander {
    guest: Guest,
    buffer: i32,
}

impl Bystander {
    fn new(runtime: &Runtime) -> Bystander {
        let mut guest = Guest::new(runtime, DRIVER);
        let buffer = guest.buffer(65536, 2);
        assert_eq!(guest.launch(table::FILL, 1000, &[], &[buffer]).unwrap(), 0);
        Bystander { guest, buffer }
    }

    fn is_well(&mut self, after: &str) {
        assert_eq!(self.guest.words(self.buffer, 1000), filled(1000), "{after}");
    }
}

#[test]
fn hostile_kernels_end_alike_on_every_device_and_harm_nobody() {
    let mut seen: Vec<Option<String>> = vec![None; KERNELS.len()];
    for (name, runtime) in runtimes() {
        let mut bystander = Bystander::new(&runtime);
        for ((entry, ends), seen) in KERNELS.iter().zip(&mut seen) {
            let at = format!("kernel {entry} on {name}");
            let mut guest = Guest::new(&runtime, GUEST);
            let buffer = guest.buffer(65536, 2);
            let launched = guest.launch(*entry, 5, &[], &[buffer]);
            // A launch that is deferred ends here.
            let launched = launched.and_then(|code| Ok(code | guest.call("read_buffer", &[buffer, 1024, 4])?));
            match (ends, launched) {
                (Word(word), Ok(0)) => assert_eq!(guest.load(1024), *word, "{at}"),
                (Trap(what, iteration), Err(error)) => {
                    let text = error.to_string();
                    assert!(text.contains(what), "{at}: {text}");
                    assert!(text.ends_with(&format!("trapped is {iteration}.")), "{at}: {text}");
                    assert_eq!(seen.get_or_insert_with(|| text.clone()), &text, "{at}");
                }
                (_, launched) => panic!("{at}: {:?}", launched.map_err(|error| error.to_string())),
            }
            // The guest itself goes on, too.
            let other = guest.buffer(400, 2);
            assert_eq!(guest.words(other, 100), [0; 100], "{at}");
            bystander.is_well(&at);
        }
    }
}

/// 2^32 - 1 iterations, of which the last traps: many seconds of work.
#[test]
#[ignore = "runs every iteration that a number can say"]
fn the_last_of_all_iterations_traps() {
    for (name, runtime) in runtimes() {
        let mut guest = Guest::new(&runtime, GUEST);
        let buffer = guest.buffer(65536, 2);
        let launched = guest.launch(20, -1, &[], &[buffer]).and_then(|_| guest.call("read_buffer", &[buffer, 0, 4]));
        let error = launched.unwrap_err().to_string();
        assert!(error.ends_with("trapped is 4294967294."), "{name}: {error}");
    }
}

/// Lists that lie outside memory, or whose length in bytes wraps around.
#[test]
fn lists_outside_memory_stop_the_guest() {
    for (name, runtime) in runtimes() {
        let mut bystander = Bystander::new(&runtime);
        for (address, count) in [(-4, 1), (-4, 2), (131_072, 1), (131_070, 1), (0, 1 << 30), (4, i32::MAX), (0, -1)] {
            for list in [3, 5] {
                let mut guest = Guest::new(&runtime, DRIVER);
                let mut arguments = [table::FILL, 1, 1, 0, 0, 0, 0];
                (arguments[list], arguments[list + 1]) = (address, count);
                match guest.call("parallel_for", &arguments) {
                    // A kernel is checked first: none takes so many buffers.
                    Ok(code) => assert_eq!(code, ErrorCode::BadKernel as i32, "{name} {arguments:?}"),
                    Err(error) => assert!(error.to_string().contains("outside its memory"), "{name}: {error}"),
                }
                assert_eq!(guest.call("load", &[0]).unwrap(), 0);
            }
        }
        bystander.is_well(&name);
    }
}

/// A kernel that destroys the module that it came in, which lies in the memory that it imports: it runs to its end, and the
/// next launch finds no kernel.
#[test]
fn a_kernel_may_overwrite_its_own_bytes() {
    let kernel = format!(
        r#"(module (import "env" "memory" (memory 1))
          (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param i32)
            (i32.store offset={KERNEL_AT} (i32.const 0) (i32.const 7))
            (i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (i32.const 5))))"#
    );
    for device in devices() {
        for form in [Form::For, Form::Exec] {
            let mut launcher = Launcher::on(device, form);
            let buffer = launcher.buffer(400, 2);
            for _ in 0..2 {
                launcher.put(&kernel);
                assert_eq!(launcher.launch(100, &[], &[buffer]).unwrap(), 0);
                assert_eq!(launcher.guest.words(buffer, 100), [5; 100]);
                assert_eq!(launcher.launch(100, &[], &[buffer]).unwrap(), ErrorCode::BadKernel as i32);
            }
        }
    }
}

/// A kernel with this body between two calls that must be well, launched on every device.
fn survives(body: &str, what: &str) {
    let text = DRIVER.replace(
        "(func $wrong_type (param i32 i32) (result i32) (i32.const 0))",
        &format!("(func $wrong_type (param $i i32) (param i32 i32) (param $p i32) (param i32) {body})"),
    );
    let mut words: Option<Vec<i32>> = None;
    for (name, runtime) in runtimes() {
        let mut bystander = Bystander::new(&runtime);
        let mut guest = Guest::new(&runtime, &text);
        let buffer = guest.buffer(400, 2);
        assert_eq!(guest.launch(table::WRONG_TYPE, 100, &[], &[buffer]).unwrap(), 0, "{what} on {name}");
        let read = guest.words(buffer, 100);
        assert!(read.iter().any(|word| *word != 0), "{what} on {name}");
        assert_eq!(words.get_or_insert_with(|| read.clone()), &read, "{what} on {name}");
        bystander.is_well(what);
    }
}

/// What stores a number to the invocation's own word.
fn store(value: &str) -> String {
    format!("(i32.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) {value})")
}

#[test]
fn a_br_table_of_thousands_of_targets() {
    let targets: Vec<String> = (0..5000).map(|i| (i % 3).to_string()).collect();
    let body = format!(
        "(block $c (block $b (block $a (br_table {} 2 (i32.mul (local.get $i) (i32.const 77)))) {} return) {} return) {}",
        targets.join(" "),
        store("(i32.const 1)"),
        store("(i32.const 2)"),
        store("(i32.const 3)")
    );
    survives(&body, "a large table of branches");
}

#[test]
fn blocks_nested_a_thousand_deep() {
    let depth = 1000;
    let body = format!(
        "{} {} {} {}",
        "(block ".repeat(depth),
        "(br_if 7 (local.get $i)) (br_if 500 (i32.eqz (local.get $i)))",
        ")".repeat(depth),
        store("(i32.const 9)")
    );
    survives(&body, "deep nesting");
    let value = format!("{}(i32.const 1){}", "(i32.add (local.get $i) ".repeat(depth), ")".repeat(depth));
    survives(&store(&value), "a deep expression");
}

#[test]
fn loops_nested_deep() {
    let depth = 60;
    let body = format!("{} {} {}", "(loop ".repeat(depth), store("(i32.const 4)"), ")".repeat(depth));
    survives(&body, "deep loops");
}

/// A stack of 64 MiB for each invocation: drivers would take gigabytes for it.
#[test]
fn a_huge_stack_frame_is_no_load_on_the_driver() {
    let body = "(global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 0x4000000)))
        (memory.fill (global.get $__stack_pointer) (i32.const 1) (i32.shl (local.get $n) (i32.const 4)))
        (i32.store (local.get $p)
          (i32.load offset=16 (i32.add (global.get $__stack_pointer) (i32.shl (local.get $i) (i32.const 2)))))";
    let text = DRIVER
        .replace(
            "(func $wrong_type (param i32 i32) (result i32) (i32.const 0))",
            &format!("(func $wrong_type (param $i i32) (param $n i32) (param i32) (param $p i32) (param i32) {body})"),
        )
        .replace("(global $counter", "(global $__stack_pointer (mut i32) (i32.const 65536))\n  (global $counter");
    for (name, runtime) in runtimes() {
        let mut bystander = Bystander::new(&runtime);
        let mut guest = Guest::new(&runtime, &text);
        let buffer = guest.buffer(400, 2);
        let started = std::time::Instant::now();
        let error = guest.launch(table::WRONG_TYPE, 5, &[], &[buffer]).unwrap_err().to_string();
        assert!(error.contains(OUT_OF_BOUNDS), "{name}: {error}");
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "{name} took {:?}", started.elapsed());
        bystander.is_well(&name);
    }
}
