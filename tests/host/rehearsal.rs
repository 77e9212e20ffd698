//! Kernels that are lifted by what a rehearsal saw of them, launched with what it did not see: bytes are those of a sequential run.

use wavelift::device::gpu;
use wavelift::{Config, DeviceChoice, LaunchRecord, Runtime};

use super::{DEEP, Guest, driver_with};

/// Entries of the table. Each kernel takes one buffer: of iteration `i`, which has two words, the second one is its result.
const CALLS: i32 = 20;
const RECURSES: i32 = 21;
const ALLOCATES: i32 = 22;
const KEEPS: i32 = 23;
const COUNTS: i32 = 24;

/// The first word of which the rare way is taken.
const RARE: i32 = 1000;
const ITERATIONS: usize = 1000;
/// An iteration that is not among those that are rehearsed.
const UNSEEN: usize = 7;

const KERNELS: &str = r#"
  (func $set (param $p i32) (param $i i32) (param $x i32)
    (i32.store offset=4 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3))) (local.get $x)))
  (func $word (param $p i32) (param $i i32) (result i32)
    (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3)))))
  ;; Calls the host where the word is large.
  (func $calls (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $w i32)
    (local.set $w (call $word (local.get $p) (local.get $i)))
    (if (i32.ge_s (local.get $w) (i32.const 1000))
      (then (local.set $w (i32.add (local.get $w) (i32.add (call $sched_yield) (i32.const 5))))))
    (call $set (local.get $p) (local.get $i) (i32.mul (local.get $w) (i32.const 3))))
  ;; Calls itself where the word is large, three levels deep.
  (func $recurses (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $w i32)
    (local.set $w (call $word (local.get $p) (local.get $i)))
    (if (i32.ge_s (local.get $w) (i32.const 1000))
      (then (local.set $w (call $deep (i32.sub (local.get $w) (i32.const 997))))))
    (call $set (local.get $p) (local.get $i) (i32.mul (local.get $w) (i32.const 3))))
  ;; Takes a word of a heap that grows when it is used up, which it never is here.
  (func $allocates (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $q i32)
    (local.set $q (i32.add (i32.load (i32.const 8192)) (i32.const 4)))
    (if (i32.gt_u (local.get $q) (i32.const 30000)) (then (drop (memory.grow (i32.const 1)))))
    (i32.store (i32.const 8192) (local.get $q))
    (call $set (local.get $p) (local.get $i) (local.get $q)))
  ;; Each iteration has a word of linear memory, which grows where the word of the buffer is large.
  (func $keeps (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $q i32)
    (local.set $q (i32.add (i32.const 32768) (i32.shl (local.get $i) (i32.const 2))))
    (if (i32.ge_s (call $word (local.get $p) (local.get $i)) (i32.const 1000))
      (then (drop (memory.grow (i32.const 1)))))
    (i32.store (local.get $q) (i32.add (i32.load (local.get $q)) (call $word (local.get $p) (local.get $i))))
    (call $set (local.get $p) (local.get $i) (i32.load (local.get $q))))
  ;; Iterations with a large word count themselves, in memory that grows where there is no room. One of those that are rehearsed has one.
  (func $counts (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (local $q i32)
    (local.set $q (call $word (local.get $p) (local.get $i)))
    (if (i32.ge_s (local.get $q) (i32.const 1000)) (then
      (if (i32.gt_u (i32.load (i32.const 8192)) (i32.const 30000)) (then (drop (memory.grow (i32.const 1)))))
      (i32.store (i32.const 8192) (i32.add (i32.load (i32.const 8192)) (i32.const 1)))))
    (call $set (local.get $p) (local.get $i) (i32.load (i32.const 8192))))"#;

fn guest(device: DeviceChoice) -> Guest {
    let text = driver_with("$calls $recurses $allocates $keeps $counts", &(KERNELS.to_string() + DEEP));
    Guest::new(&Runtime::new(Config { device, ..Config::default() }).unwrap(), &text)
}

/// What a launch for each list of rare iterations leaves, all on one buffer, and the launches.
fn outcome(device: DeviceChoice, kernel: i32, rare: &[&[usize]]) -> (Vec<Vec<i32>>, Vec<LaunchRecord>) {
    let mut guest = guest(device);
    let buffer = guest.buffer(8 * ITERATIONS as i32, 2);
    let mut left = Vec::new();
    for rare in rare {
        let word = |i: usize| if rare.contains(&i) { RARE } else { i as i32 % 10 };
        let words: Vec<i32> = (0..ITERATIONS).flat_map(|i| [word(i), 0]).collect();
        guest.set_words(buffer, &words);
        guest.launch(kernel, ITERATIONS as i32, &[], &[buffer]).unwrap();
        left.push(guest.words(buffer, 2 * ITERATIONS as i32));
    }
    (left, guest.instance.report().launches().to_vec())
}

/// The same on the GPU, which must be as it is in order. Of launches that the report tells apart: whether they ran there,
/// and whether a form was undone.
fn ran(kernel: i32, rare: &[&[usize]]) -> Option<Vec<(bool, bool)>> {
    gpu::adapters().first()?;
    let (left, launches) = outcome(DeviceChoice::Gpu, kernel, rare);
    assert_eq!(left, outcome(DeviceChoice::Sequential, kernel, rare).0);
    let ran = launches.iter().map(|launch| {
        let notes: Vec<&String> = launch.fallback.iter().chain(&launch.form).collect();
        let has = |text: &str| notes.iter().any(|note| note.contains(text));
        (has("Lifted assuming"), has("A form of the kernel was undone"))
    });
    Some(ran.collect())
}

#[test]
fn a_call_of_the_host_that_is_rare_is_left_to_the_cpu() {
    let Some(ran) = ran(CALLS, &[&[], &[UNSEEN], &[]]) else { return };
    assert_eq!(ran, [(true, false), (false, true), (false, false)]);
}

#[test]
fn a_call_of_the_host_that_is_seen_is_left_to_the_cpu_at_once() {
    let Some(ran) = ran(CALLS, &[&[0], &[]]) else { return };
    assert_eq!(ran, [(false, false)]);
}

#[test]
fn what_a_launch_met_is_part_of_the_next_form() {
    let Some(ran) = ran(RECURSES, &[&[], &[UNSEEN, UNSEEN + 1], &[UNSEEN + 2]]) else { return };
    assert_eq!(ran, [(true, false), (true, true), (true, false)]);
}

#[test]
fn memory_that_could_grow_is_no_hindrance_where_iterations_keep_to_words_of_their_own() {
    let Some(ran) = ran(KEEPS, &[&[], &[UNSEEN]]) else { return };
    assert_eq!(ran, [(true, false), (false, true)]);
}

#[test]
fn what_one_rehearsed_iteration_alone_stores_may_be_what_all_share() {
    let Some(ran) = ran(COUNTS, &[&[0, UNSEEN, UNSEEN + 1]]) else { return };
    assert_eq!(ran, [(false, false)]);
}

#[test]
fn kernels_that_allocate_run_in_order() {
    let Some(ran) = ran(ALLOCATES, &[&[], &[]]) else { return };
    assert_eq!(ran, [(false, false)]);
}
