//! Speculative forms of kernels whose assumptions are broken on purpose: bytes and traps are those of a sequential run.

use std::sync::Arc;

use wavelift::device::gpu::{self, GpuDevice, GpuOptions};
use wavelift::translator::{Profile, Speculate};
use wavelift::{Config, DeviceChoice, Runtime};

use super::{DEEP, Guest, driver_with};

/// Entries of the table. Each kernel takes one buffer of 256 words: word `i` says what invocation `i` does, word `128 + i`
/// counts how often it did so, and words 64 to 127 are its results.
const OVERFLOWS: i32 = 20;
const MISALIGNED: i32 = 21;
const RECURSES: i32 = 22;
const DIVIDES: i32 = 23;
const IN_MEMORY: i32 = 24;
const CALLS: i32 = 25;
const LOGS: i32 = 26;
/// Functions of one type, entries of the table: two of the driver's, one that calls the host, and one that writes linear memory.
const PLUS_ONE: i32 = 15;
const NEGATED: i32 = 16;
const YIELDS: i32 = 27;
const KEEPS: i32 = 28;
const METHODS: i32 = 29;
const GROWS: i32 = 30;

const KERNELS: &str = r#"
  (func $count (param $p i32) (param $i i32) (local $q i32)
    (local.set $q (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))
    (i32.store offset=512 (local.get $q) (i32.add (i32.load offset=512 (local.get $q)) (i32.const 1))))
  (func $word (param $p i32) (param $i i32) (result i32)
    (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))))
  (func $set (param $p i32) (param $i i32) (param $x i32)
    (i32.store offset=256 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (local.get $x)))
  ;; An array of four words, and behind it the buffer's pointer: index 4 moves it by 64 bytes.
  (func $overflows (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $f i32)
    (local.set $f (i32.sub (global.get $__stack_pointer) (i32.const 32)))
    (i64.store (local.get $f) (i64.const 0))
    (i64.store offset=8 (local.get $f) (i64.const 0))
    (i32.store offset=16 (local.get $f) (local.get $p))
    (call $count (local.get $p) (local.get $i))
    (i32.store
      (i32.add (local.get $f) (i32.shl (call $word (i32.load offset=16 (local.get $f)) (local.get $i)) (i32.const 2)))
      (i32.add (local.get $p) (i32.const 64)))
    (call $set (i32.load offset=16 (local.get $f)) (local.get $i)
      (i32.sub (i32.load (local.get $f)) (local.get $p))))
  ;; Stores through a pointer that it loads: as many bytes behind the start as the word says.
  (func $misaligned2 (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $q i32)
    (call $count (local.get $p) (local.get $i))
    (local.set $q (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))
    (i32.store offset=256 (local.get $q) (i32.add (local.get $p) (i32.load (local.get $q))))
    (i32.store (i32.load offset=256 (local.get $q)) (i32.const 0x01020304)))
  (func $recurses (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (call $count (local.get $p) (local.get $i))
    (call $set (local.get $p) (local.get $i) (call $deep (call $word (local.get $p) (local.get $i)))))
  ;; Traps where the word is 5.
  (func $divides (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (call $recurses (local.get $i) (local.get $n) (local.get $b) (local.get $p) (local.get $l))
    (call $set (local.get $p) (local.get $i)
      (i32.div_u (i32.const 100) (i32.sub (call $word (local.get $p) (local.get $i)) (i32.const 5)))))
  ;; Counts in linear memory.
  (func $in_memory (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (call $count (i32.const 8192) (local.get $i))
    (call $recurses (local.get $i) (local.get $n) (local.get $b) (local.get $p) (local.get $l)))
  (func $yields (type $unary) (i32.add (call $sched_yield) (i32.mul (local.get 0) (i32.const 7))))
  (func $keeps (type $unary) (i32.store (i32.const 8704) (local.get 0)) (local.get 0))
  ;; The word is the number of a function.
  (func $calls (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (call $count (local.get $p) (local.get $i))
    (call $set (local.get $p) (local.get $i)
      (call_indirect (type $unary) (local.get $i) (call $word (local.get $p) (local.get $i)))))
  ;; Two objects, of which the word's lowest bit says whose method is called; if there is more to it, that is where the second one's
  ;; methods are.
  (data (i32.const 12288) "\0f\00\00\00\10\00\00\00\1b\00\00\00\1c\00\00\00")
  (func $methods (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $f i32) (local $w i32)
    (call $count (local.get $p) (local.get $i))
    (local.set $f (i32.sub (global.get $__stack_pointer) (i32.const 32)))
    (i32.store (local.get $f) (i32.const 12288))
    (i32.store offset=8 (local.get $f) (i32.const 12292))
    (i32.store offset=16 (local.get $f) (local.get $f))
    (i32.store offset=20 (local.get $f) (i32.add (local.get $f) (i32.const 8)))
    (local.set $w (call $word (local.get $p) (local.get $i)))
    (if (i32.gt_u (local.get $w) (i32.const 1))
      (then (i32.store offset=8 (local.get $f) (i32.and (local.get $w) (i32.const -2)))))
    (call $set (local.get $p) (local.get $i)
      (call_indirect (type $unary) (local.get $i) (i32.load (i32.load (i32.load offset=16
        (i32.add (local.get $f) (i32.shl (i32.and (local.get $w) (i32.const 1)) (i32.const 2)))))))))
  ;; Two arrays of as many bytes as the word says, each below the one before; it stores to the ends of both.
  (func $grows (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $f i32) (local $w i32) (local $k i32)
    (call $count (local.get $p) (local.get $i))
    (local.set $w (i32.and (i32.add (call $word (local.get $p) (local.get $i)) (i32.const 15)) (i32.const -16)))
    (local.set $f (global.get $__stack_pointer))
    (loop $again
      (local.set $f (i32.sub (local.get $f) (local.get $w)))
      (i32.store (local.get $f) (local.get $w))
      (i32.store (i32.sub (i32.add (local.get $f) (local.get $w)) (i32.const 4)) (local.get $i))
      (br_if $again (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 2))))
    (call $set (local.get $p) (local.get $i)
      (i32.add (i32.mul (i32.load (local.get $f)) (i32.const 100)) (i32.load (i32.sub (i32.add (local.get $f) (local.get $w)) (i32.const 4))))))
  ;; $calls, after it has counted all calls in linear memory.
  (func $logs (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32)
    (i32.store (i32.const 8704) (i32.add (i32.load (i32.const 8704)) (i32.const 1)))
    (call $calls (local.get $i) (local.get $n) (local.get $b) (local.get $p) (local.get $l)))"#;

fn text() -> String {
    driver_with(
        "$overflows $misaligned2 $recurses $divides $in_memory $calls $logs $yields $keeps $methods $grows",
        &(KERNELS.to_string() + DEEP),
    )
}

fn gpu_options(profile: Profile) -> GpuOptions {
    GpuOptions { profile, speculate: Speculate::Always, ..GpuOptions::default() }
}

/// Guests on GPUs that speculate, in both profiles; none where this machine has no GPU.
fn speculating() -> Vec<Guest> {
    let Some(adapter) = gpu::adapters().into_iter().next() else { return Vec::new() };
    let on = |profile| {
        let device = GpuDevice::open(&adapter, &gpu_options(profile)).unwrap();
        Guest::new(&Runtime::with_device(Config::default(), Arc::new(device)).unwrap(), &text())
    };
    vec![on(Profile::Vulkan), on(Profile::Portable)]
}

fn sequential() -> Guest {
    let config = Config { device: DeviceChoice::Sequential, ..Config::default() };
    Guest::new(&Runtime::new(config).unwrap(), &text())
}

/// What two launches leave: the buffer and a part of linear memory after each, or the error that ends the guest.
fn outcome(guest: &mut Guest, kernel: i32, words: &[i32]) -> Vec<Result<Vec<i32>, String>> {
    let buffer = guest.buffer(1024, 2);
    guest.set_words(buffer, words);
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        if let Err(error) = guest.launch(kernel, words.len() as i32, &[], &[buffer]) {
            outcomes.push(Err(error.to_string()));
            break;
        }
        let mut left = guest.words(buffer, 256);
        left.extend((0..16).map(|i| guest.load(8192 + 512 + 4 * i)));
        outcomes.push(Ok(left));
    }
    outcomes
}

/// Notes of the report in which a launch says that a form was undone, and that one made assumptions.
fn notes(guest: &Guest) -> (usize, usize) {
    let launches = guest.instance.report().launches().to_vec();
    let notes: Vec<String> = launches.iter().flat_map(|l| l.fallback.iter().chain(&l.form).cloned()).collect();
    let count = |text: &str| notes.iter().filter(|note| note.contains(text)).count();
    (count("A form of the kernel was undone"), count("Lifted assuming"))
}

/// Runs a kernel in order and speculating, and compares; `bails` says whether an assumption is to be broken.
fn check(kernel: i32, words: &[i32], bails: bool) {
    let expected = outcome(&mut sequential(), kernel, words);
    for mut guest in speculating() {
        assert_eq!(outcome(&mut guest, kernel, words), expected, "kernel {kernel} of {words:?}");
        let (undone, assumed) = notes(&guest);
        if expected.iter().all(Result::is_ok) {
            // The launch after one that was undone goes another way at once.
            assert_eq!(undone, usize::from(bails), "kernel {kernel} of {words:?}\n{}", guest.instance.report());
        }
        if !bails && expected.iter().all(Result::is_ok) {
            assert!(assumed > 0, "kernel {kernel} assumes nothing\n{}", guest.instance.report());
        }
    }
}

#[test]
fn a_local_array_overflows_into_a_pointer() {
    check(OVERFLOWS, &[0, 1, 2, 3, 0, 3], false);
    check(OVERFLOWS, &[0, 1, 2, 4, 0, 3], true);
    check(OVERFLOWS, &[4, 4, 4, 4], true);
}

#[test]
fn a_pointer_is_not_aligned() {
    check(MISALIGNED, &[768, 772, 776], false);
    check(MISALIGNED, &[768, 773, 780], true);
    // The last word at which an access fits, at no multiple of four, and one that does not fit.
    check(MISALIGNED, &[768, 1020], false);
    check(MISALIGNED, &[768, 1019], true);
    check(MISALIGNED, &[768, 1021], true);
    check(MISALIGNED, &[768, 1024], false);
}

#[test]
fn recursion_is_deeper_than_it_was_unrolled() {
    check(RECURSES, &[0, 1, 7, 3], false);
    check(RECURSES, &[0, 1, 12, 3], true);
    check(IN_MEMORY, &[0, 1, 7, 3], false);
    check(IN_MEMORY, &[0, 40, 12, 3], true);
}

#[test]
fn an_indirect_call_comes_to_a_function_that_calls_the_host() {
    check(CALLS, &[PLUS_ONE, NEGATED, PLUS_ONE], false);
    check(CALLS, &[PLUS_ONE, YIELDS, NEGATED], true);
    check(CALLS, &[KEEPS, NEGATED, PLUS_ONE], false);
    check(CALLS, &[KEEPS, NEGATED, YIELDS, KEEPS], true);
    // Of another type, null, beyond the table.
    check(CALLS, &[PLUS_ONE, 1, NEGATED], false);
    check(CALLS, &[PLUS_ONE, 0, NEGATED], false);
    check(CALLS, &[PLUS_ONE, 99, YIELDS], true);
}

#[test]
fn methods_of_local_objects_are_guessed() {
    check(METHODS, &[0, 1, 1, 0], false);
    // The first one's methods, a function that can be lifted, one that calls the host, none.
    check(METHODS, &[0, 12289, 1, 0], false);
    check(METHODS, &[0, 12301, 1, 0], true);
    check(METHODS, &[0, 12297, 1, 0], true);
    check(METHODS, &[0, 1, 12305], true);
    check(METHODS, &[0, 1, 70_001], true);
}

#[test]
fn arrays_of_variable_length_do_not_fit() {
    check(GROWS, &[16, 100, 40, 2000], false);
    // Into a larger stack only, and into none.
    check(GROWS, &[16, 100, 8000, 40], true);
    check(GROWS, &[16, 100, 9000, 40], true);
    check(GROWS, &[60_000], true);
}

/// Invocations that run side by side would miscount, though none of them calls the host.
#[test]
fn a_kernel_that_may_call_the_host_and_writes_memory_runs_in_order() {
    let words = [PLUS_ONE; 64];
    let expected = outcome(&mut sequential(), LOGS, &words);
    assert_eq!(expected[1].as_ref().unwrap()[256], 128);
    for mut guest in speculating() {
        assert_eq!(outcome(&mut guest, LOGS, &words), expected);
        let report = guest.instance.report();
        let reason = |launch: &wavelift::LaunchRecord| launch.fallback.clone().unwrap_or_default();
        assert!(
            report.launches().iter().all(|launch| reason(launch).contains("functions of other modules")),
            "{report}"
        );
    }
}

#[test]
fn some_trap_and_some_bail_out() {
    check(DIVIDES, &[1, 2, 3, 4], false);
    check(DIVIDES, &[1, 2, 5, 4], false);
    check(DIVIDES, &[1, 30, 5, 4], true);
    check(DIVIDES, &[5, 30, 4, 5], true);
    check(DIVIDES, &[1, 2, 30, 4], true);
}

#[test]
fn restoring_that_is_left_out_is_caught() {
    let Some(adapter) = gpu::adapters().into_iter().next() else { return };
    let device = GpuDevice::open(&adapter, &gpu_options(Profile::Vulkan)).unwrap();
    device.forget_restoring();
    let mut guest = Guest::new(&Runtime::with_device(Config::default(), Arc::new(device)).unwrap(), &text());
    let words = [0, 1, 12, 3];
    assert_ne!(outcome(&mut guest, RECURSES, &words), outcome(&mut sequential(), RECURSES, &words));
}

#[test]
fn nothing_is_assumed_where_that_is_forbidden_or_needless() {
    if gpu::adapters().is_empty() {
        return;
    }
    for (speculate, assumed) in [(Speculate::Never, 0), (Speculate::Auto, 1)] {
        let config = Config { device: DeviceChoice::Gpu, speculate, ..Config::default() };
        let mut guest = Guest::new(&Runtime::new(config).unwrap(), &text());
        outcome(&mut guest, OVERFLOWS, &[1, 2]);
        assert_eq!(notes(&guest), (0, 0), "{}", guest.instance.report());
        // The exact form is refused: `auto` speculates.
        outcome(&mut guest, RECURSES, &[1, 2]);
        assert_eq!(notes(&guest).1, assumed, "{}", guest.instance.report());
    }
}
