//! The limit on what an invocation may do: loops that end in time mean what they did, endless ones trap, and counted loops
//! take and give back as much as loops that count for themselves.

mod calls_support;
mod common;

use calls_support::Program;
use wavelift_translator::ir::LowOp;
use wavelift_translator::ir::{Op, StmtKind};
use wavelift_translator::{Options, Profile, Shape, TrapKind, testing, translate};

const MOST: u32 = (1 << 31) - 1;

fn with_fuel(fuel: u32) -> Options {
    Options { fuel: Some(fuel), ..Options::default() }
}

/// How the kernel ends for each record with so much fuel; the shaders of both profiles are valid.
fn run(program: &Program, fuel: u32, records: &[(u32, u32)]) -> Vec<Result<u32, TrapKind>> {
    let shape = Shape::initial(&program.module, program.kernel);
    let strict = testing::strict(&program.module, program.kernel, &shape, &with_fuel(fuel)).unwrap();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..with_fuel(fuel) };
        let words = translate(&program.module, program.kernel, &shape, &options).unwrap().words;
        match profile {
            Profile::Vulkan => common::assert_valid(&words),
            Profile::Portable => common::assert_portable(&words),
        }
    }
    program.run_strict(&strict, records)
}

/// The least fuel with which the kernel ends well for a record.
fn least(program: &Program, record: (u32, u32)) -> u32 {
    let shape = Shape::initial(&program.module, program.kernel);
    let ends = |fuel| {
        let strict = testing::strict(&program.module, program.kernel, &shape, &with_fuel(fuel)).unwrap();
        program.run_strict(&strict, &[record])[0].is_ok()
    };
    assert!(ends(1 << 26), "{record:?}\n{}", program.text);
    // Fuel comes in installments.
    let (mut too_little, mut enough) = (0, 1 << 26);
    while enough - too_little > 1 << 16 {
        let middle = too_little + (enough - too_little) / 2;
        if ends(middle) { enough = middle } else { too_little = middle }
    }
    enough
}

/// Number of tests in front of loops, and of those inside.
fn burns(program: &Program) -> usize {
    let shape = Shape::initial(&program.module, program.kernel);
    let strict = testing::strict(&program.module, program.kernel, &shape, &with_fuel(MOST)).unwrap();
    common::count(&strict, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::Overtaken), .. }))
}

/// `(loop …)` as a function from `$n` to a sum; `step` is what happens in each round, `again` whether there is another.
fn looped(step: &str, again: &str) -> Program {
    let items = format!(
        "(func $sum (param $n i32) (param $m i32) (result i32) (local $i i32) (local $s i32)
          (loop $again
            (local.set $s (i32.add (local.get $s) (i32.xor (local.get $i) (i32.const 5))))
            {step}
            (br_if $again {again}))
          (local.get $s))"
    );
    Program::of(&items, "(call $sum (local.get $a) (local.get $b))")
}

fn plus(step: i32) -> String {
    format!("(local.set $i (i32.add (local.get $i) (i32.const {step})))")
}

#[test]
fn counted_loops_are_paid_for_in_front() {
    let cases = [
        (plus(1), "(i32.ne (local.get $i) (local.get $n))"),
        (plus(1), "(i32.lt_u (local.get $i) (local.get $n))"),
        (plus(3), "(i32.lt_s (local.get $i) (local.get $n))"),
        (plus(1), "(i32.le_s (local.get $i) (local.get $n))"),
        (plus(4), "(i32.ne (local.get $i) (i32.shl (local.get $n) (i32.const 2)))"),
        (plus(-1), "(i32.gt_s (local.get $i) (i32.sub (i32.const 0) (local.get $n)))"),
        (plus(-2), "(i32.ge_s (local.get $i) (i32.sub (i32.const 0) (local.get $n)))"),
        (plus(1), "(i32.eqz (i32.ge_u (local.get $i) (local.get $n)))"),
        (plus(1), "(i32.and (i32.lt_u (local.get $i) (local.get $n)) (i32.lt_u (local.get $s) (i32.const -2)))"),
    ];
    for (step, again) in &cases {
        let program = looped(step, again);
        let records = [(1, 0), (2, 0), (40, 0), (5000, 0)];
        assert_eq!(run(&program, MOST, &records), program.run(&records), "{again}");
        // The loop's own instructions are five or six; what it takes grows as its rounds do.
        let (few, many) = (least(&program, (100_000, 0)), least(&program, (400_000, 0)));
        let rounds = f64::from(few) / 100_000.0;
        assert!((0.3..16.0).contains(&rounds), "{again}: {few} for 100,000 rounds");
        assert!((3.0..5.0).contains(&(f64::from(many) / f64::from(few))), "{again}: {few} and {many}");
    }
}

#[test]
fn loops_that_nothing_counts_are_paid_for_round_by_round() {
    // Collatz: the number of rounds is anybody's guess.
    let program = Program::of(
        "(func $collatz (param $n i32) (result i32) (local $rounds i32)
          (block $done (loop $again
            (br_if $done (i32.eq (local.get $n) (i32.const 1)))
            (local.set $rounds (i32.add (local.get $rounds) (i32.const 1)))
            (local.set $n (if (result i32) (i32.and (local.get $n) (i32.const 1))
              (then (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1)))
              (else (i32.shr_u (local.get $n) (i32.const 1)))))
            (br $again)))
          (local.get $rounds))",
        "(call $collatz (local.get $a))",
    );
    let records = [(1, 0), (27, 0), (97, 0), (871, 0)];
    assert_eq!(run(&program, MOST, &records), [Ok(0), Ok(111), Ok(118), Ok(178)]);
    let short = run(&program, 900, &records);
    assert_eq!((short[0], short[3]), (Ok(0), Err(TrapKind::OutOfFuel)), "{short:?}");
    assert_eq!(run(&program, 100_000, &[(0, 0)]), [Err(TrapKind::OutOfFuel)], "0 stays 0");
}

#[test]
fn a_counted_loop_gives_back_what_it_did_not_need() {
    // A search that could take as many rounds as there are, and ends after few, again and again.
    let program = Program::of(
        "(func $search (param $n i32) (param $m i32) (result i32) (local $i i32) (local $k i32) (local $s i32)
          (loop $again
            (local.set $i (i32.const 0))
            (block $found
              (loop $next
                (br_if $found (i32.eq (i32.and (i32.mul (local.get $i) (local.get $i)) (i32.const 15)) (i32.const 9)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
              (return (i32.const -1)))
            (local.set $s (i32.add (local.get $s) (local.get $i)))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $k) (local.get $m))))
          (local.get $s))",
        "(call $search (local.get $a) (local.get $b))",
    );
    assert_eq!(burns(&program), 2);
    let records = [(1_000_000, 1000), (2, 5), (1_000_000, 1)];
    assert_eq!(run(&program, 50_000_000, &records), [Ok(3000), Ok(u32::MAX), Ok(3)]);
    // Without what comes back, 1000 searches would need a thousand times what one may take.
    assert!(least(&program, (1_000_000, 1000)) < 300_000);
}

/// The same where the search ends at its loop's end, behind the exit that is counted.
#[test]
fn a_loop_that_is_left_at_its_end_gives_back_too() {
    let last_of = [
        "(i32.ne (local.get $i) (i32.const 12))",
        "(i32.and (i32.shr_u (i32.const 0xfff) (local.get $i)) (i32.const 1))",
    ];
    let first_of = ["(i32.eq (local.get $i) (local.get $n))", "(i32.ge_u (local.get $i) (local.get $n))"];
    for (first, last) in first_of.iter().flat_map(|first| last_of.iter().map(move |last| (first, last))) {
        for direct in [true, false] {
            let first = match direct {
                true => first.to_string(),
                false => format!("(i32.or {first} (i32.eq (local.get $i) (i32.const 77)))"),
            };
            let program = Program::of(
                &format!(
                    "(func $search (param $n i32) (param $m i32) (result i32) (local $i i32) (local $k i32) (local $s i32)
                      (loop $again
                        (local.set $i (i32.const 0))
                        (block $found
                          (loop $next
                            (br_if $found {first})
                            (local.set $i (i32.add (local.get $i) (i32.const 1)))
                            (br_if $next {last})))
                        (local.set $s (i32.add (local.get $s) (local.get $i)))
                        (local.set $k (i32.add (local.get $k) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $k) (local.get $m))))
                      (local.get $s))"
                ),
                "(call $search (local.get $a) (local.get $b))",
            );
            let records = [(1_000_000, 1000), (2, 5), (0xf000_0000, 3), (0, 2), (12, 1)];
            let sums = [Ok(12_000), Ok(10), Ok(36), Ok(0), Ok(12)];
            assert_eq!(run(&program, 50_000_000, &records), sums, "{first} {last}");
            assert!(least(&program, (1_000_000, 1000)) < 400_000, "{first} {last}");
        }
    }
}

#[test]
fn a_loop_that_ends_in_a_return_traps_all_the_same() {
    let program = Program::of(
        "(func $f (param $n i32) (result i32) (local $i i32) (local $s i32)
          (loop $again (result i32)
            (if (i32.ge_u (local.get $i) (local.get $n)) (then (return (local.get $s))))
            (local.set $s (i32.add (local.get $s) (local.get $i)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $again)))",
        "(call $f (local.get $a))",
    );
    assert_eq!(run(&program, MOST, &[(0, 0), (5, 0), (1000, 0)]), [Ok(0), Ok(10), Ok(499_500)]);
    assert_eq!(run(&program, 70_000, &[(10, 0), (1 << 20, 0)]), [Ok(45), Err(TrapKind::OutOfFuel)]);
}

/// Numbers near the end of all numbers, where a count can't tell whether a step jumps over it.
#[test]
fn loops_near_the_end_of_numbers_keep_their_own_end() {
    for (step, again) in [
        (plus(4), "(i32.lt_u (local.get $i) (local.get $n))"),
        (plus(4), "(i32.le_s (local.get $i) (local.get $n))"),
        (plus(-3), "(i32.gt_u (local.get $i) (local.get $n))"),
        (plus(-8), "(i32.ge_s (local.get $i) (local.get $n))"),
        (plus(1), "(i32.le_u (local.get $i) (local.get $n))"),
    ] {
        // The counter starts a few steps before `$n`.
        let start = "(local.set $i (i32.sub (local.get $n) (local.get $m))) (local.set $m (i32.const 0))";
        let items = format!(
            "(func $sum (param $n i32) (param $m i32) (result i32) (local $i i32) (local $s i32)
              {start}
              (loop $again
                (local.set $s (i32.add (local.get $s) (i32.const 1)))
                {step}
                (br_if $again (i32.and (i32.lt_u (local.get $s) (i32.const 50)) {again})))
              (local.get $s))"
        );
        let program = Program::of(&items, "(call $sum (local.get $a) (local.get $b))");
        let ends = [0u32, 1, 2, 3, 0x7fff_fffd, 0x7fff_ffff, 0x8000_0001, u32::MAX - 2, u32::MAX];
        let records: Vec<(u32, u32)> =
            ends.iter().flat_map(|n| [0i32, 12, -12, 13, -13].map(|m| (*n, m as u32))).collect();
        assert_eq!(run(&program, MOST, &records), program.run(&records), "{again}");
    }
}

/// A loop with a count that never ends it must not take what the loops inside need.
#[test]
fn a_loop_leaves_fuel_to_those_inside() {
    let program = Program::of(
        "(func $f (param $n i32) (result i32) (local $i i32) (local $k i32) (local $s i32)
          (local.set $i (i32.const 399))
          (loop $outer
            (if (i32.eqz (local.get $i)) (then (return (i32.const -1))))
            (local.set $k (local.get $n))
            (loop $inner
              (local.set $s (i32.add (local.get $s) (i32.const 1)))
              (br_if $inner (i32.and (local.tee $k (i32.shr_u (local.get $k) (i32.const 1))) (i32.const 255))))
            (if (i32.eq (local.get $i) (i32.const 1)) (then (return (local.get $s))))
            (br_if $outer (local.tee $i (i32.sub (local.get $i) (i32.const 2)))))
          (local.get $s))",
        "(call $f (local.get $a))",
    );
    assert_eq!(burns(&program), 2);
    assert_eq!(run(&program, 500_000, &[(0, 0), (255, 0)]), [Ok(200), Ok(1600)]);
}

#[test]
fn endless_loops_trap_where_they_are() {
    for (text, name) in [
        ("(loop $again (br $again))", "empty"),
        ("(loop $again (local.set $b (i32.add (local.get $b) (i32.const 1))) (br $again))", "counting for ever"),
        ("(loop $outer (loop $inner (br_if $inner (local.get $a))) (br $outer))", "nested"),
        (
            "(loop $again (br_if $again (i32.ne (local.tee $b (i32.add (local.get $b) (i32.const 2))) (i32.const 7))))",
            "stepping over its end",
        ),
        (
            "(loop $again (br_if $again (i32.ge_u (local.tee $b (i32.add (local.get $b) (i32.const 1))) (i32.const 0))))",
            "always true",
        ),
    ] {
        let program = Program::of("", &format!("(block (result i32) {text} (i32.const 1))"));
        for fuel in [0, 1, 5, 1023, 70_000, 300_000] {
            assert_eq!(run(&program, fuel, &[(1, 0)]), [Err(TrapKind::OutOfFuel)], "{name} with {fuel}");
        }
    }
}

#[test]
fn small_constant_loops_are_part_of_what_is_around_them() {
    let inner = "(local.set $k (i32.const 0))
      (loop $inner
        (local.set $s (i32.add (local.get $s) (local.get $k)))
        (local.set $k (i32.add (local.get $k) (i32.const 1)))
        (br_if $inner (i32.lt_u (local.get $k) (i32.const 8))))";
    let program = Program::of(
        &format!(
            "(func $f (param $n i32) (result i32) (local $i i32) (local $k i32) (local $s i32)
              (loop $outer {inner}
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $outer (i32.lt_u (local.get $i) (local.get $n))))
              (local.get $s))"
        ),
        "(call $f (local.get $a))",
    );
    assert_eq!(burns(&program), 1);
    assert_eq!(run(&program, MOST, &[(1, 0), (9, 0)]), [Ok(28), Ok(252)]);
    let least = least(&program, (50_000, 0));
    assert!((8 * 50_000..64 * 50_000).contains(&least), "{least}");
    let alone = Program::of(
        &format!("(func $f (result i32) (local $k i32) (local $s i32) {inner} (local.get $s))"),
        "(call $f)",
    );
    assert_eq!(burns(&alone), 0, "a kernel that always ends pays nothing");
}

#[test]
fn kernels_without_a_limit_are_as_they_were() {
    let program = looped(&plus(1), "(i32.ne (local.get $i) (local.get $n))");
    let shape = Shape::initial(&program.module, program.kernel);
    let plain = testing::strict(&program.module, program.kernel, &shape, &Options::default()).unwrap();
    let burning = |kind: &StmtKind| {
        matches!(kind, StmtKind::Op { op: Op::Low(LowOp::Burn | LowOp::Refund | LowOp::Overtaken), .. })
    };
    assert_eq!(common::count(&plain, burning), 0);
}
