//! Traps of each kind at each lane, and fuel.

use wavelift::device::cpu;

use super::{WIDTHS, compare, compare_traps, device, module, noise, run};

/// A kernel that does this with its word of the first buffer, `$x`, and stores the result to the second.
fn kernel(body: &str) -> String {
    module(&format!(
        r#"(func (export "kernel") (param $id i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
             (local $x i32) (local $i i32)
             (local.set $x (i32.load (i32.add (local.get $in) (i32.shl (local.get $id) (i32.const 2)))))
             (i32.store (i32.add (local.get $out) (i32.shl (local.get $id) (i32.const 2))) {body}))"#
    ))
}

/// The word with which it traps, and what does.
const TRAPS: &[(u32, &str)] = &[
    (0, "(i32.div_u (i32.const 7) (local.get $x))"),
    (0, "(i32.rem_s (local.get $id) (local.get $x))"),
    (0xffff_ffff, "(i32.div_s (i32.const 0x80000000) (local.get $x))"),
    (0, "(i32.wrap_i64 (i64.rem_u (i64.const 7) (i64.extend_i32_u (local.get $x))))"),
    (0xffff_ffff, "(i32.wrap_i64 (i64.div_s (i64.const 0x8000000000000000) (i64.extend_i32_s (local.get $x))))"),
    (0x7fc0_0000, "(i32.trunc_f32_s (f32.reinterpret_i32 (local.get $x)))"),
    (0x4f80_0000, "(i32.trunc_f32_u (f32.reinterpret_i32 (local.get $x)))"),
    (0xbf80_0000, "(i32.trunc_f32_u (f32.reinterpret_i32 (local.get $x)))"),
    (0x7f80_0000, "(i32.trunc_f64_s (f64.promote_f32 (f32.reinterpret_i32 (local.get $x))))"),
    (0x5f80_0000, "(i32.wrap_i64 (i64.trunc_f32_u (f32.reinterpret_i32 (local.get $x))))"),
    (0xffff_fff0, "(i32.load (local.get $x))"),
    (0x10000, "(i32.load8_s (local.get $x))"),
    (0xfffd, "(i32.load (local.get $x))"),
    (5, "(block (result i32) (if (i32.eq (local.get $x) (i32.const 5)) (then unreachable)) (local.get $id))"),
    (2, "(i32.atomic.load (local.get $x))"),
];

#[test]
fn each_trap_at_each_lane() {
    for (word, body) in TRAPS {
        for lane in (0..20).step_by(3).chain([1, 19]) {
            let mut input = vec![4; 40];
            input[lane] = *word;
            let trap = compare_traps(&kernel(body), 40, &[input, vec![0; 40]]);
            assert!(trap.ends_with(&format!("in {lane}")), "{trap}");
        }
    }
}

/// The first that traps does so after others at another place.
#[test]
fn the_first_of_several_traps() {
    let body = "(if (result i32) (i32.eq (local.get $x) (i32.const 1))
          (then (i32.div_u (i32.const 1) (i32.const 0)))
          (else (if (i32.eq (local.get $x) (i32.const 2)) (then unreachable)) (i32.load (local.get $x))))";
    for seed in 0..20 {
        let mut input = vec![4; 64];
        for (at, word) in noise(6, seed).iter().zip([1, 2, 0xffff_0000, 1, 2, 0x10000]) {
            input[*at as usize % 64] = word;
        }
        compare_traps(&kernel(body), 64, &[input, vec![0; 64]]);
    }
}

/// At the end of a buffer: beyond it is nothing.
#[test]
fn beyond_the_end() {
    for (load, bytes) in [("i32.load", 4), ("i32.load8_u", 1), ("i32.load16_s", 2), ("f64.load", 8)] {
        let ty = &load[..3];
        let store = if bytes < 4 { format!("{ty}.store{}", 8 * bytes) } else { format!("{ty}.store") };
        let address =
            |buffer: u32| format!("(i32.add (local.get {buffer}) (i32.mul (local.get 0) (i32.const {bytes})))");
        let text = module(&format!(
            r#"(func (export "kernel") (param i32 i32 i32 i32 i32 i32 i32) ({store} {} ({load} {})))"#,
            address(5),
            address(3)
        ));
        let count = 4096 / bytes;
        compare(&text, count, &[noise(1024, 1), noise(1024, 2)]);
        for more in [1, 3, 6, 20] {
            compare_traps(&text, count + more, &[noise(1024, 1), noise(2048, 2)]);
            compare_traps(&text, count + more, &[noise(2048, 1), noise(1024, 2)]);
        }
    }
}

/// A buffer that is there twice is stored to before it decides: that launch runs one by one.
#[test]
fn one_buffer_twice() {
    let text = kernel("(i32.load (local.get $x))");
    let mut guest = crate::support::Guest::new(&device(4, None), &text);
    let both = guest.buffer_of(&vec![4; 64], wavelift::device::Access::ReadWrite);
    let other = guest.buffer_of(&vec![4; 64], wavelift::device::Access::ReadWrite);
    assert_eq!(guest.launch("kernel", 64, &[both, both]).unwrap().lanes, None);
    assert_eq!(guest.launch("kernel", 64, &[both, other]).unwrap().lanes, Some(4));
}

/// What the kernel stores decides about its traps: it is never run in groups.
#[test]
fn what_can_not_be_run_again() {
    let text = module(
        r#"(func (export "kernel") (param i32 i32 i32 i32 i32) (local $at i32)
             (local.set $at (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2))))
             (i32.store (local.get $at) (i32.div_u (i32.const 9) (i32.load (local.get $at)))))"#,
    );
    let outcome = run(&device(4, None), &text, 64, &[vec![3; 64]]);
    assert_eq!((outcome.lanes, outcome.ended), (None, Ok(())));
}

/// Rounds of a loop that differ: `$x` of them, each of which takes 8 with its end.
const ROUNDS: &str = "(block (result i32)
    (loop $a (br_if $a (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $x))))
    (i32.mul (local.get $i) (i32.const 3)))";

#[test]
fn fuel_is_each_invocations_own() {
    let text = kernel(ROUNDS);
    for lane in [0, 2, 3, 7, 21] {
        let mut input: Vec<u32> = (0..64).map(|id| id % 7 + 1).collect();
        input[lane] = 100;
        let buffers = [input, vec![0; 64]];
        let expected = run(&cpu::sequential(), &text, 64, &buffers);
        for width in WIDTHS {
            // Enough for the longest, though others are under way in the same group.
            let enough = run(&device(width, Some(801)), &text, 64, &buffers);
            assert_eq!((&enough.ended, enough.lanes), (&Ok(()), Some(width)));
            assert_eq!(enough.buffers, expected.buffers);
            for fuel in [780, 500] {
                let ended = run(&device(width, Some(fuel)), &text, 64, &buffers).ended;
                let one_by_one =
                    cpu::open_sequential(&cpu::CpuOptions { fuel: Some(fuel), ..cpu::CpuOptions::default() });
                assert_eq!(ended, run(&one_by_one, &text, 64, &buffers).ended);
                assert!(
                    ended.is_err_and(|trap| trap.starts_with("OutOfFuel") && trap.ends_with(&format!("in {lane}")))
                );
            }
        }
    }
}

/// Two ways with a loop each: a group runs both, and is out of fuel where none of its invocations is.
#[test]
fn a_group_takes_more_than_its_invocations() {
    let text = kernel(&format!(
        "(if (result i32) (i32.and (local.get $id) (i32.const 1)) (then {ROUNDS}) (else (i32.add {ROUNDS} (i32.const 1))))"
    ));
    let buffers = [vec![90; 64], vec![0; 64]];
    let expected = run(&cpu::sequential(), &text, 64, &buffers);
    for width in WIDTHS {
        let found = run(&device(width, Some(800)), &text, 64, &buffers);
        assert_eq!((&found.ended, found.lanes), (&Ok(()), Some(width)));
        assert_eq!(found.buffers, expected.buffers, "in groups of {width}");
    }
}

#[test]
fn endless_loops_end() {
    for condition in ["(i32.eq (local.get $x) (i32.const 9))", "(i32.const 1)"] {
        let text = kernel(&format!("(block (result i32) (loop $a (br_if $a {condition})) (local.get $id))"));
        let mut input = vec![4; 64];
        input[33] = 9;
        for width in WIDTHS {
            let ended = run(&device(width, Some(100_000)), &text, 64, &[input.clone(), vec![0; 64]]).ended;
            let lane = if condition.len() > 13 { 33 } else { 0 };
            assert!(ended.is_err_and(|trap| trap.starts_with("OutOfFuel") && trap.ends_with(&format!("in {lane}"))));
        }
    }
}
