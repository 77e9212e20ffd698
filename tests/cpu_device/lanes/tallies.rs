//! Buffers to which kernels do nothing but add, of which each worker has a copy.

use wavelift::device::{Access, cpu};

use super::{compare, compare_traps, device, module, noise, run};
use crate::support::Guest;

/// A kernel that does this with its word of the first buffer, `$x`, and the address of a bin of the second, `$bin`: a pair of
/// words.
fn kernel(body: &str) -> String {
    module(&format!(
        r#"(func (export "kernel") (param $id i32) (param i32 i32) (param $in i32) (param i32) (param $bins i32) (param i32)
             (local $x i32) (local $bin i32)
             (local.set $x (i32.load (i32.add (local.get $in) (i32.shl (local.get $id) (i32.const 2)))))
             (local.set $bin (i32.add (local.get $bins) (i32.shl (i32.and (local.get $x) (i32.const 15)) (i32.const 3))))
             {body})"#
    ))
}

/// Enough invocations for copies of bins.
const MANY: u32 = 5003;

#[test]
fn sums_of_all_sorts() {
    let bodies = [
        "(drop (i32.atomic.rmw.add (local.get $bin) (i32.const 1)))",
        "(drop (i32.atomic.rmw.add offset=4 (local.get $bin) (local.get $x)))
         (drop (i32.atomic.rmw.sub (local.get $bin) (local.get $id)))",
        "(drop (i64.atomic.rmw.add (local.get $bin) (i64.extend_i32_s (local.get $x))))
         (drop (i64.atomic.rmw.sub (local.get $bin) (i64.const 0x123456789)))",
        "(drop (i64.atomic.rmw32.add_u offset=4 (local.get $bin) (i64.extend_i32_s (local.get $x))))",
        "(drop (i32.atomic.rmw8.or_u offset=5 (local.get $bin) (i32.and (local.get $x) (i32.const 0x70))))
         (drop (i64.atomic.rmw.or (local.get $bin) (i64.extend_i32_u (local.get $id))))",
        "(drop (i32.atomic.rmw16.xor_u offset=2 (local.get $bin) (local.get $x)))",
        // Not by all.
        "(if (i32.and (local.get $x) (i32.const 64))
           (then (drop (i32.atomic.rmw.add (local.get $bin) (i32.const 3)))))",
        // All to one word, and to neighbouring ones.
        "(drop (i32.atomic.rmw.add (local.get $bins) (local.get $x)))
         (drop (i32.atomic.rmw.sub (i32.add (local.get $bins) (i32.shl (i32.and (local.get $id) (i32.const 15)) (i32.const 2)))
           (i32.const 1)))",
    ];
    for body in bodies {
        compare(&kernel(body), MANY, &[noise(MANY as usize, 3), noise(32, 9)]);
    }
}

/// Not one of these may be done to a copy.
#[test]
fn what_is_more_than_a_sum() {
    let bodies = [
        // The sorts of sums are different.
        "(drop (i32.atomic.rmw.or (local.get $bin) (i32.const 1)))
         (drop (i32.atomic.rmw.or offset=4 (local.get $bin) (i32.const 0x100)))
         (drop (i32.atomic.rmw.xor (i32.add (local.get $bins) (i32.const 128)) (i32.const 1)))",
        "(drop (i32.atomic.rmw8.add_u (local.get $bin) (local.get $x)))",
        "(drop (i32.atomic.rmw.and (local.get $bin) (local.get $x)))",
        // It is read, though what is read changes nothing.
        "(drop (i32.atomic.rmw.add (local.get $bin) (i32.const 0)))
         (if (i32.eq (i32.load (local.get $bin)) (i32.const 12345)) (then (unreachable)))",
        // Each number is given once.
        "(i32.store (i32.add (local.get $in)
             (i32.shl (i32.add (i32.const 5003) (i32.atomic.rmw.add offset=128 (local.get $bins) (i32.const 1))) (i32.const 2)))
           (i32.const 7))",
    ];
    for body in bodies {
        let mut input = noise(2 * MANY as usize, 3);
        input[MANY as usize..].fill(0);
        let text = kernel(body);
        let expected = run(&cpu::sequential(), &text, MANY, &[input.clone(), vec![0; 34]]);
        let found = run(&device(8, None), &text, MANY, &[input, vec![0; 34]]);
        assert_eq!(found.ended, Ok(()), "{text}");
        assert_eq!(found.buffers, expected.buffers, "{text}");
    }
}

#[test]
fn traps_are_the_same() {
    // A bin that is not aligned, and one that is not there.
    for x in ["(i32.const 2)", "(i32.const 0x40000000)"] {
        let body = format!(
            "(drop (i32.atomic.rmw.add (i32.add (local.get $bin)
               (select {x} (i32.const 0) (i32.eq (local.get $x) (i32.const 77)))) (i32.const 1)))"
        );
        let mut input = noise(MANY as usize, 3);
        input[4001] = 77;
        let trap = compare_traps(&kernel(&body), MANY, &[input, vec![0; 32]]);
        assert!(trap.ends_with("in 4001"), "{trap}");
    }
}

/// Copies are made for a launch, and gone when it ends, however it does.
#[test]
fn launch_after_launch() {
    let counts = "(drop (i32.atomic.rmw.add (local.get $bin) (i32.const 1)))
        (drop (i32.div_u (i32.const 1) (i32.sub (local.get $x) (i32.const 77))))";
    let text = kernel(counts).replace(
        "(func",
        r#"(func (export "double") (param $id i32) (param i32 i32) (param $bins i32) (param i32)
             (local.set $bins (i32.add (local.get $bins) (i32.shl (local.get $id) (i32.const 3))))
             (i32.store (local.get $bins) (i32.shl (i32.load (local.get $bins)) (i32.const 1))))
           (func"#,
    );
    let mut guest = Guest::new(&device(16, None), &text);
    let mut input = vec![3; MANY as usize];
    let (data, bins) = (guest.buffer_of(&input, Access::ReadWrite), guest.buffer_of(&[0; 32], Access::ReadWrite));
    for _ in 0..2 {
        guest.launch("kernel", MANY, &[data, bins]).unwrap();
        guest.launch("kernel", MANY, &[data, bins]).unwrap();
        guest.launch("double", 16, &[bins]).unwrap();
    }
    assert_eq!(guest.words(bins)[6], (2 * MANY * 2 + 2 * MANY) * 2);
    // One that traps.
    input[100] = 77;
    let trapping = guest.buffer_of(&input, Access::Read);
    guest.launch("kernel", MANY, &[trapping, bins]).unwrap_err();
    guest.launch("double", 16, &[bins]).unwrap();
    let before = guest.words(bins)[6];
    guest.launch("kernel", MANY, &[data, bins]).unwrap();
    assert_eq!(guest.words(bins)[6], before + MANY);
    // Bins that are the data as well, and bins that may not be stored to.
    guest.launch("kernel", 16, &[bins, bins]).unwrap();
    let read = guest.buffer_of(&[0; 32], Access::Read);
    guest.launch("kernel", MANY, &[data, read]).unwrap_err();
}
