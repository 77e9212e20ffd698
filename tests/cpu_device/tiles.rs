//! Kernels that go through a matrix column by column: rows of invocations run in squares, and nobody can tell.

use std::sync::Arc;

use wavelift::Lanes;
use wavelift::device::cpu::{self, CpuOptions};
use wavelift::device::{Access, Device, LaunchError};

use crate::support::Guest;

/// Columns: no multiple of a square's, but one of a group's.
const COLUMNS: u32 = 208;

/// What computes the row `$row` and the column `$column`.
const QUOTIENT: &str = "(local.set $row (i32.div_u (local.get $id) (local.get $n)))
    (local.set $column (i32.sub (local.get $id) (i32.mul (local.get $row) (local.get $n))))";
const REMAINDER: &str = "(local.set $row (i32.div_u (local.get $id) (local.get $n)))
    (local.set $column (i32.rem_u (local.get $id) (local.get $n)))";
const SIGNED: &str = "(local.set $column (i32.rem_s (local.get $id) (local.get $n)))
    (local.set $row (i32.div_s (local.get $id) (local.get $n)))";

/// Transposes a matrix of words, and takes the next number for each invocation.
fn kernel(coordinates: &str, body: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
          (func (export "kernel") (param $id i32) (param i32 i32) (param $order i32) (param i32) (param $from i32) (param i32)
              (param $to i32) (param i32) (param $turns i32) (param i32)
            (local $row i32) (local $column i32) (local $n i32) (local $x i32)
            (local.set $n (i32.load offset=4 (local.get $order)))
            {coordinates}
            (local.set $x (i32.load (i32.add (local.get $from) (i32.shl
              (i32.add (i32.mul (local.get $column) (local.get $n)) (local.get $row)) (i32.const 2)))))
            {body}
            (i32.store (i32.add (local.get $to) (i32.shl (local.get $id) (i32.const 2))) (local.get $x))
            (i32.store offset=4 (i32.add (local.get $turns) (i32.shl (local.get $id) (i32.const 2)))
              (i32.atomic.rmw.add (local.get $turns) (i32.const 1)))))"#
    )
}

fn device(threads: usize) -> Arc<dyn Device> {
    cpu::open(&CpuOptions { threads: Some(threads), lanes: Lanes::Auto, ..CpuOptions::default() })
}

/// What was transposed, and the invocations' numbers.
type Done = (Vec<u32>, Vec<u32>);

/// Transposes this by a kernel, of which only so many elements are asked for.
fn run(device: &Arc<dyn Device>, kernel: &str, from: &[u32], iterations: u32) -> Result<Done, LaunchError> {
    let mut guest = Guest::new(device, kernel);
    let count = (COLUMNS * COLUMNS) as usize;
    let order = guest.buffer_of(&[0, COLUMNS, 3], Access::ReadWrite);
    let from = guest.buffer_of(from, Access::Read);
    let to = guest.buffer_of(&vec![0; count], Access::ReadWrite);
    let turns = guest.buffer_of(&vec![0; count + 1], Access::ReadWrite);
    guest.launch("kernel", iterations, &[order, from, to, turns])?;
    Ok((guest.words(to), guest.words(turns)[1..].to_vec()))
}

#[test]
fn all_run_once() {
    let count = COLUMNS * COLUMNS;
    let from: Vec<u32> = (0..count).map(|i| i * 7 + 1).collect();
    // What takes long enough for groups of invocations to be faster.
    let long =
        "(local.set $x (i32.xor (i32.mul (local.get $x) (i32.const 77)) (i32.shr_u (local.get $x) (i32.const 3))))";
    for (coordinates, body) in [(QUOTIENT, ""), (REMAINDER, ""), (SIGNED, ""), (QUOTIENT, &long.repeat(40)[..])] {
        all_run_once_of(&kernel(coordinates, body), &from);
    }
}

fn all_run_once_of(kernel: &str, from: &[u32]) {
    let count = from.len() as u32;
    // Whole rows and squares, and neither.
    for iterations in [count, count - 77, count - 9 * COLUMNS] {
        let (expected, _) = run(&cpu::sequential(), kernel, from, iterations).unwrap();
        for threads in [1, 2, 3] {
            let (found, mut turns) = run(&device(threads), kernel, from, iterations).unwrap();
            assert!(found == expected, "{threads} threads, {iterations} invocations");
            turns.truncate(iterations as usize);
            if threads == 1 {
                // Another row begins before the first one ends.
                assert!(turns[COLUMNS as usize] < turns[COLUMNS as usize - 1], "it was not done in squares");
            }
            turns.sort_unstable();
            assert!(turns.iter().copied().eq(0..iterations), "an invocation ran twice or not at all");
        }
    }
}

/// Only quotients by the row's length are what the loops count.
#[test]
fn other_quotients_are_computed() {
    let other = QUOTIENT.replace(
        "(local.get $n)))\n",
        "(i32.add (local.get $n) (i32.shl (i32.and (local.get $id) (i32.const 1)) (i32.const 1)))))\n",
    );
    assert_ne!(other, QUOTIENT);
    let changed = format!("{QUOTIENT} {other} (local.set $column (i32.rem_u (local.get $column) (local.get $n)))");
    let from: Vec<u32> = (0..COLUMNS * COLUMNS).map(|i| i * 7 + 1).collect();
    let kernel = kernel(&changed, "");
    let (expected, _) = run(&cpu::sequential(), &kernel, &from, COLUMNS * COLUMNS).unwrap();
    assert!(run(&device(1), &kernel, &from, COLUMNS * COLUMNS).unwrap().0 == expected);
}

/// The operator that loads the length of a row may load something else another time.
#[test]
fn other_words_are_loaded() {
    // First 4 bytes further on, where there is 3, then the length; what was there is added to the element.
    let loads = "(local.set $x (i32.const 1))
        (loop $again
          (local.set $n (i32.load offset=4 (i32.add (local.get $order) (i32.shl (local.get $x) (i32.const 2)))))
          (local.set $sum (i32.add (local.get $sum) (local.get $n)))
          (local.set $x (i32.sub (local.get $x) (i32.const 1)))
          (br_if $again (i32.ge_s (local.get $x) (i32.const 0))))";
    let once = "(local.set $n (i32.load offset=4 (local.get $order)))";
    let kernel = kernel(QUOTIENT, "(local.set $x (i32.add (local.get $x) (local.get $sum)))");
    assert!(kernel.contains(once));
    let kernel = kernel.replace(once, loads).replace("(local $row i32)", "(local $row i32) (local $sum i32)");
    let from: Vec<u32> = (0..COLUMNS * COLUMNS).map(|i| i * 7 + 1).collect();
    let (expected, _) = run(&cpu::sequential(), &kernel, &from, COLUMNS * COLUMNS).unwrap();
    assert_eq!(expected[1], COLUMNS * 7 + 1 + COLUMNS + 3);
    assert!(run(&device(1), &kernel, &from, COLUMNS * COLUMNS).unwrap().0 == expected);
}

/// Where an invocation stores to the word that is the length of a row, it finds there what it stored.
#[test]
fn the_length_may_be_changed() {
    // Each stores the length that is there already, but the last one, whose own element is then where another length puts it.
    let last = COLUMNS * COLUMNS - 1;
    let stores = format!(
        "(if (i32.eq (local.get $id) (i32.const {last})) (then (i32.store offset=4 (local.get $order) (i32.const 300))))
         (local.set $n (i32.load offset=4 (local.get $order)))"
    );
    let once = "(local.set $n (i32.load offset=4 (local.get $order)))";
    let kernel = kernel(QUOTIENT, "").replace(once, &stores);
    let from: Vec<u32> = (0..300 * COLUMNS).map(|i| i * 7 + 1).collect();
    let (expected, _) = run(&cpu::sequential(), &kernel, &from, COLUMNS * COLUMNS).unwrap();
    let (row, column) = (last / 300, last % 300);
    assert_eq!(expected[last as usize], (column * 300 + row) * 7 + 1);
    assert!(run(&device(1), &kernel, &from, COLUMNS * COLUMNS).unwrap().0 == expected);
}

/// Of several that trap the first is reported, though it is not the first that runs.
#[test]
fn the_first_trap() {
    let body = "(if (i32.eqz (local.get $x)) (then (unreachable)))
        (local.set $x (i32.div_u (i32.const 1000) (i32.sub (local.get $x) (i32.const 1))))";
    let kernel = kernel(QUOTIENT, body);
    let transposed = |id: u32| ((id % COLUMNS) * COLUMNS + id / COLUMNS) as usize;
    for places in [&[5 * COLUMNS + 3, 2 * COLUMNS + 180][..], &[31 * COLUMNS, 190, 191], &[199], &[0]] {
        for word in [0, 1] {
            let mut from = vec![9; (COLUMNS * COLUMNS) as usize];
            places.iter().for_each(|id| from[transposed(*id)] = word);
            let trap = |device: Arc<dyn Device>| match run(&device, &kernel, &from, COLUMNS * COLUMNS) {
                Err(LaunchError::Trap(trap)) => (trap.iteration, trap.kind, trap.at),
                other => panic!("it ended with {other:?}"),
            };
            let expected = trap(cpu::sequential());
            assert_eq!(Some(expected.0), places.iter().copied().min());
            for threads in [1, 2] {
                assert_eq!(trap(device(threads)), expected, "{threads} threads");
            }
        }
    }
}
