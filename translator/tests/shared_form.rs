//! The shared form: functions that are kept once, as states of a loop, do what their calls do.
//!
//! [`Program::run`] compares both shared forms of each kernel with the interpretation of its calls; here it is made sure
//! that such kernels have the constructs that are taken apart, that the functions really are there once, and what is known in them.

mod calls_support;
mod common;

use calls_support::{Program, SHARED};
use wavelift_translator::ir::{Exit, Function, Op, Region, StmtKind, WasmOp};
use wavelift_translator::{Error, Options, Profile, Shape, Share, TrapKind, translate};

/// Something large enough to be recognised: `$mix` multiplies by a number that no other function has.
const MIX: &str = "(func $mix (param $x i32) (param $y i32) (result i32)
  (i32.xor (i32.mul (local.get $x) (i32.const 0x01000193)) (i32.add (local.get $y) (i32.const 12345))))";

fn mixed(x: u32, y: u32) -> u32 {
    x.wrapping_mul(0x0100_0193) ^ y.wrapping_add(12345)
}

/// How often a function multiplies by a constant: `$mix` inlined once does so once.
fn multiplications(function: &Function) -> usize {
    let stmts = function.regions.iter().flat_map(|region| &region.stmts);
    stmts.filter(|stmt| matches!(stmt.kind, StmtKind::Op { op: Op::Wasm(WasmOp::I32Mul), .. })).count()
}

fn is_kept_once(program: &Program) {
    for share in SHARED {
        let (simplified, strict) = program.shared(share);
        assert!(simplified.states.is_some() && strict.states.is_some(), "{share:?}\n{simplified}");
        assert_eq!(multiplications(&simplified), 1, "{share:?}\n{simplified}");
    }
}

#[test]
fn a_function_that_is_called_twice_in_a_row_is_kept_once() {
    let program = Program::of(MIX, "(call $mix (call $mix (local.get $a) (local.get $b)) (i32.const 7))");
    is_kept_once(&program);
    let ends = program.run(&[(1, 2), (0xdead_beef, 77), (0, 0)]);
    assert_eq!(ends, [(1, 2), (0xdead_beef, 77), (0, 0)].map(|(a, b)| Ok(mixed(mixed(a, b), 7))));
}

#[test]
fn calls_in_both_arms_of_a_branch_and_in_one_of_them() {
    let items = format!(
        "{MIX} (func $both (param $x i32) (param $y i32) (result i32)
          (if (result i32) (i32.and (local.get $x) (i32.const 1))
            (then (call $mix (local.get $x) (local.get $y)))
            (else (i32.sub (call $mix (local.get $y) (local.get $x)) (local.get $x)))))
        (func $one (param $x i32) (param $y i32) (result i32)
          (if (i32.gt_u (local.get $x) (local.get $y))
            (then (local.set $x (call $mix (local.get $x) (i32.const 3)))))
          (i32.add (local.get $x) (local.get $y)))"
    );
    let program = Program::of(
        &items,
        "(i32.add (call $both (local.get $a) (local.get $b)) (call $one (local.get $a) (local.get $b)))",
    );
    is_kept_once(&program);
    let both = |a: u32, b: u32| if a & 1 == 1 { mixed(a, b) } else { mixed(b, a).wrapping_sub(a) };
    let one = |a: u32, b: u32| if a > b { mixed(a, 3) } else { a }.wrapping_add(b);
    let records = [(1, 2), (2, 1), (6, 6), (7, 3), (u32::MAX, 0)];
    assert_eq!(program.run(&records), records.map(|(a, b)| Ok(both(a, b).wrapping_add(one(a, b)))));
}

#[test]
fn calls_in_nested_loops_that_are_left_early() {
    let items = format!(
        "{MIX} (func $nested (param $x i32) (param $y i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
          (block $out
            (loop $rows
              (br_if $out (i32.ge_u (local.get $i) (i32.and (local.get $x) (i32.const 15))))
              (local.set $j (i32.const 0))
              (block $row
                (loop $columns
                  (br_if $row (i32.ge_u (local.get $j) (local.get $i)))
                  (local.set $sum (call $mix (local.get $sum) (i32.add (local.get $i) (local.get $j))))
                  (if (i32.eqz (i32.and (local.get $sum) (i32.const 63))) (then (br $out)))
                  (if (i32.eqz (i32.and (local.get $sum) (i32.const 7))) (then
                    (local.set $i (i32.add (local.get $i) (i32.const 2)))
                    (br $rows)))
                  (local.set $j (i32.add (local.get $j) (i32.const 1)))
                  (br $columns)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (local.set $sum (i32.add (local.get $sum) (call $mix (local.get $i) (local.get $y))))
              (br $rows)))
          (i32.add (local.get $sum) (local.get $i)))"
    );
    let program = Program::of(&items, "(call $nested (local.get $a) (local.get $b))");
    is_kept_once(&program);
    let nested = |x: u32, y: u32| {
        let (mut i, mut sum) = (0_u32, 0_u32);
        'rows: while i < (x & 15) {
            let columns = i;
            for j in 0..columns {
                sum = mixed(sum, i + j);
                if sum & 63 == 0 {
                    break 'rows;
                } else if sum & 7 == 0 {
                    i += 2;
                    continue 'rows;
                }
            }
            i += 1;
            sum = sum.wrapping_add(mixed(i, y));
        }
        sum.wrapping_add(i)
    };
    let records: Vec<(u32, u32)> = (0..48).map(|k| (k, k * 77)).collect();
    assert_eq!(program.run(&records), records.iter().map(|(x, y)| Ok(nested(*x, *y))).collect::<Vec<_>>());
}

#[test]
fn a_function_that_returns_from_loops_and_one_that_calls_it() {
    let items = "(func $first (param $x i32) (param $bit i32) (result i32) (local $i i32)
          (loop $more
            (if (i32.and (i32.shr_u (local.get $x) (local.get $i)) (local.get $bit)) (then (return (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 32))))
          (i32.const 99))
        (func $sum (param $x i32) (result i32) (local $i i32)
          (loop $more (result i32)
            (local.set $i (i32.add (local.get $i) (call $first (local.get $x) (i32.const 1))))
            (if (i32.gt_u (local.get $i) (i32.const 40)) (then (return (local.get $i))))
            (local.set $x (i32.and (local.get $x) (i32.sub (local.get $x) (i32.const 1))))
            (br_if $more (i32.ne (local.get $x) (i32.const 0)))
            (i32.mul (local.get $i) (i32.const 1000))))";
    let program = Program::of(items, "(i32.add (call $sum (local.get $a)) (call $first (local.get $b) (i32.const 4)))");
    let ends = program.run(&[(0b1011, 16), (0, 0), (0x8000_0001, 4), (u32::MAX, 1)]);
    assert_eq!(ends, [Ok(4002), Ok(99 + 99), Ok(31_000), Ok(45 + 99)]);
}

#[test]
fn results_of_several_types_come_back() {
    let items = "(func $split (param $x i64) (param $f f32) (result i32 i64 f32 f64)
          (i32.wrap_i64 (local.get $x))
          (i64.rotl (local.get $x) (i64.const 13))
          (f32.mul (local.get $f) (f32.const 1.5))
          (f64.promote_f32 (local.get $f)))
        (func $sum (param $x i32) (param $y i32) (result i32) (local $a i32) (local $b i64) (local $c f32) (local $d f64)
          (call $split (i64.extend_i32_u (local.get $x)) (f32.convert_i32_u (local.get $y)))
          (local.set $d) (local.set $c) (local.set $b) (local.set $a)
          (call $split (i64.add (local.get $b) (i64.extend_i32_u (local.get $a))) (local.get $c))
          (local.set $d (f64.add (local.get $d)))
          (drop) (local.set $b) (drop)
          (i32.add (i32.wrap_i64 (i64.shr_u (local.get $b) (i64.const 20))) (i32.trunc_f64_u (local.get $d))))";
    let program = Program::of(items, "(call $sum (local.get $a) (local.get $b))");
    program.run(&[(1, 2), (0x1234_5678, 1000), (u32::MAX, 3)]);
}

#[test]
fn traps_in_kept_functions_stop_the_invocation_where_they_stand() {
    let items = format!(
        "{MIX} (func $divide (param $x i32) (param $y i32) (result i32)
          (i32.div_u (call $mix (local.get $x) (i32.const 1)) (local.get $y)))
        (func $checked (param $x i32) (result i32)
          (if (i32.eq (local.get $x) (i32.const 13)) (then (unreachable)))
          (call $divide (i32.const 1000) (local.get $x)))"
    );
    let program =
        Program::of(&items, "(i32.add (call $divide (local.get $a) (local.get $b)) (call $checked (local.get $a)))");
    is_kept_once(&program);
    let ends = program.run(&[(3, 4), (3, 0), (0, 5), (13, 2)]);
    assert!(ends[0].is_ok());
    assert_eq!(ends[1..], [TrapKind::DivideByZero, TrapKind::DivideByZero, TrapKind::Unreachable].map(Err));
}

#[test]
fn indirect_calls_of_kept_functions() {
    let items = format!(
        "(type $binary (func (param i32 i32) (result i32)))
        (table 4 funcref) (elem (i32.const 0) func $mix $less $third) {MIX}
        (func $less (param $x i32) (param $y i32) (result i32)
          (i32.sub (call $mix (local.get $y) (local.get $x)) (local.get $x)))
        (func $third (param $x i32) (param $y i32) (result i32) (i32.rotl (local.get $x) (local.get $y)))
        (func $apply (param $f i32) (param $x i32) (result i32)
          (call_indirect (type $binary) (local.get $x) (i32.const 5) (local.get $f)))"
    );
    let body = "(i32.add (call $apply (local.get $a) (local.get $b))
        (call_indirect (type $binary) (local.get $b) (local.get $a) (i32.and (local.get $b) (i32.const 1))))";
    let program = Program::of(&items, body);
    is_kept_once(&program);
    let ends = program.run(&[(0, 9), (1, 10), (2, 11), (3, 12), (4, 0)]);
    assert!(ends[..3].iter().all(Result::is_ok));
    assert_eq!(ends[3..], [Err(TrapKind::NullTableEntry), Err(TrapKind::TableOutOfBounds)]);
}

#[test]
fn a_number_that_all_callers_pass_is_known_in_a_kept_function() {
    // The table's other function of that type can't be lifted at all.
    let items = format!(
        "(type $binary (func (param i32 i32) (result i32)))
        (table 4 funcref) (elem (i32.const 1) func $mix $other) {MIX}
        (func $other (param $x i32) (param $y i32) (result i32) (call $other (local.get $y) (local.get $x)))
        (func $twice (param $f i32) (param $x i32) (result i32)
          (call $apply (local.get $f) (call $apply (local.get $f) (local.get $x))))
        (func $apply (param $f i32) (param $x i32) (result i32)
          (call_indirect (type $binary) (local.get $x) (i32.const 5) (local.get $f)))"
    );
    let body = "(i32.add (call $twice (i32.const 1) (local.get $a)) (call $twice (i32.const 1) (local.get $b)))";
    let program = Program::of(&items, body);
    is_kept_once(&program);
    let twice = |x: u32| mixed(mixed(x, 5), 5);
    assert_eq!(program.run(&[(3, 4)]), [Ok(twice(3).wrapping_add(twice(4)))]);
}

#[test]
fn globals_go_through_kept_functions_and_come_back() {
    let items = format!(
        "{MIX} (global $count (mut i32) (i32.const 100)) (global $wide (mut i64) (i64.const 5)) (global $kept (mut i32) (i32.const 3))
        (func $count (param $x i32) (result i32)
          (global.set $count (i32.add (global.get $count) (local.get $x)))
          (if (i32.and (local.get $x) (i32.const 1))
            (then (global.set $wide (i64.mul (global.get $wide) (i64.extend_i32_u (local.get $x))))))
          (call $mix (local.get $x) (global.get $kept)))
        (func $outer (param $x i32) (result i32) (local $i i32) (local $sum i32)
          (global.set $kept (i32.add (global.get $kept) (i32.const 10)))
          (loop $more
            (local.set $sum (i32.add (local.get $sum) (call $count (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (local.get $x))))
          (global.set $kept (i32.sub (global.get $kept) (i32.const 10)))
          (i32.add (local.get $sum) (global.get $count)))"
    );
    let body = "(i32.add (i32.add (call $outer (i32.and (local.get $a) (i32.const 7))) (call $count (local.get $b)))
        (i32.add (i32.add (global.get $count) (global.get $kept)) (i32.wrap_i64 (global.get $wide))))";
    let program = Program::of(&items, body);
    program.run(&[(0, 0), (3, 7), (7, 2), (5, 0xffff_ffff)]);
}

#[test]
fn frames_on_the_stack_are_values_in_kept_functions() {
    // As compilers write unoptimised code: every variable in the frame, and frames of different sizes below one another.
    let items = format!(
        "{MIX} (global $__stack_pointer (mut i32) (i32.const 1024))
        (func $pair (param $x i32) (param $to i32) (local $sp i32)
          (local.set $sp (i32.sub (global.get $__stack_pointer) (i32.const 32)))
          (global.set $__stack_pointer (local.get $sp))
          (i32.store offset=28 (local.get $sp) (local.get $x))
          (i32.store offset=24 (local.get $sp) (local.get $to))
          (i32.store (i32.load offset=24 (local.get $sp)) (call $mix (i32.load offset=28 (local.get $sp)) (i32.const 2)))
          (i32.store offset=4 (i32.load offset=24 (local.get $sp)) (call $mix (i32.load offset=28 (local.get $sp)) (i32.const 3)))
          (global.set $__stack_pointer (i32.add (local.get $sp) (i32.const 32))))
        (func $sum (param $x i32) (result i32) (local $sp i32)
          (local.set $sp (i32.sub (global.get $__stack_pointer) (i32.const 48)))
          (global.set $__stack_pointer (local.get $sp))
          (call $pair (local.get $x) (i32.add (local.get $sp) (i32.const 8)))
          (local.set $x (i32.sub (i32.load offset=8 (local.get $sp)) (i32.load offset=12 (local.get $sp))))
          (global.set $__stack_pointer (i32.add (local.get $sp) (i32.const 48)))
          (local.get $x))"
    );
    let body = "(i32.add (call $sum (local.get $a)) (block (result i32)
        (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 16)))
        (call $pair (local.get $b) (global.get $__stack_pointer))
        (i32.xor (i32.load (global.get $__stack_pointer)) (i32.load offset=4 (global.get $__stack_pointer)))))";
    let program = Program::of(&items, body);
    is_kept_once(&program);
    let sum = |x: u32| mixed(x, 2).wrapping_sub(mixed(x, 3));
    let pair = |x: u32| mixed(x, 2) ^ mixed(x, 3);
    assert_eq!(program.run(&[(3, 4), (70, 0)]), [(3, 4), (70, 0)].map(|(a, b)| Ok(sum(a).wrapping_add(pair(b)))));
}

#[test]
fn kernels_that_are_too_large_inlined_are_lifted_in_the_shared_form() {
    // Each function calls the next twice: 2^12 copies.
    let mut items = String::from("(func $f0 (param $p i32) (result i32) (i32.load (local.get $p)))");
    for level in 1..=12 {
        let below = level - 1;
        items += &format!(
            "(func $f{level} (param $p i32) (result i32) (local $x i32) (local $y i32)
              (local.set $x (call $f{below} (local.get $p)))
              {}
              (i32.add (local.get $x) (call $f{below} (local.get $p))))",
            "(local.set $x (i32.rotl (i32.add (local.get $x) (i32.load offset=4 (local.get $p))) (i32.const 3)))"
                .repeat(8)
        );
    }
    let program = Program::of(&items, "(call $f12 (local.get $p))");
    let shape = Shape::initial(&program.module, program.kernel);
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, max_accesses: 500, max_operators: 20_000, ..Options::default() };
        let never = Options { share: Share::Never, ..options };
        let refused = translate(&program.module, program.kernel, &shape, &never);
        assert!(matches!(refused, Err(Error::Unsupported { too_large: true, .. })), "{refused:?}");
        let shader = translate(&program.module, program.kernel, &shape, &options).unwrap();
        assert!(shader.accesses <= 500, "{}", shader.accesses);
        let again = translate(&program.module, program.kernel, &shape, &options).unwrap();
        assert_eq!(shader.words, again.words, "the same input gives the same words");
    }
    let strict = wavelift_translator::testing::strict(
        &program.module,
        program.kernel,
        &shape,
        &Options { max_accesses: 500, max_operators: 20_000, ..Options::default() },
    );
    fn f(level: u32, a: u32, b: u32) -> u32 {
        if level == 0 {
            return a;
        }
        let below = f(level - 1, a, b);
        (0..8).fold(below, |x, _| x.wrapping_add(b).rotate_left(3)).wrapping_add(below)
    }
    assert_eq!(program.run_strict(&strict.unwrap(), &[(5, 6), (1, 0)]), [Ok(f(12, 5, 6)), Ok(f(12, 1, 0))]);
}

#[test]
fn endless_kernels_run_out_of_fuel_in_their_outermost_loop() {
    let items = format!(
        "{MIX} (func $spin (param $x i32) (result i32)
          (loop $more (local.set $x (call $mix (local.get $x) (i32.const 1))) (br $more)) (unreachable))
        (func $once (param $x i32) (result i32) (call $mix (local.get $x) (i32.const 9)))"
    );
    let body = "(if (result i32) (i32.and (local.get $a) (i32.const 1)) (then (call $spin (local.get $b))) (else (call $once (local.get $b))))";
    let program = Program::of(&items, body);
    for share in SHARED {
        let (_, strict) = program.shared(share);
        assert_eq!(program.run_strict(&strict, &[(0, 5)]), [Ok(mixed(5, 9))]);
    }
    for fuel in [0, 1, 5, 1023, 100_000] {
        assert_eq!(program.run_strict(&with_fuel(&program, SHARED[0], fuel), &[(1, 5)]), [Err(TrapKind::OutOfFuel)]);
    }
}

fn with_fuel(program: &Program, share: Share, fuel: u32) -> Function {
    let shape = Shape::initial(&program.module, program.kernel);
    let options = Options { share, fuel: Some(fuel), ..Options::default() };
    wavelift_translator::testing::strict(&program.module, program.kernel, &shape, &options).unwrap()
}

/// Which of two loops it was that did not end, where a third one ends and one inside takes fuel of its own.
#[test]
fn states_look_at_their_fuel_in_one_place_for_each_loop() {
    let calls = "(local.set $x (call $mix (call $mix (local.get $x) (i32.const 1)) (i32.const 2)))".repeat(4);
    let items = format!(
        "{MIX} (func $spin (param $x i32) (param $y i32) (result i32) (loop $more {calls} (br_if $more (local.get $y))) (local.get $x))
        (func $turn (param $x i32) (param $y i32) (result i32) (local $i i32)
          (loop $more {calls} (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
          (loop $more (local.set $i (i32.const 0))
            (loop $short (br_if $short (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.and (local.get $x) (i32.const 255)))))
            {calls} (br_if $more (local.get $y)))
          (local.get $x))
        (func $few (param $x i32) (result i32) (local $i i32)
          (loop $more {calls} (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300))))
          (local.get $x))"
    );
    let body = "(if (result i32) (i32.eqz (local.get $a)) (then (call $few (local.get $b)))
      (else (if (result i32) (i32.eq (local.get $a) (i32.const 1)) (then (call $spin (local.get $b) (local.get $a))) (else (call $turn (local.get $b) (local.get $a))))))";
    let program = Program::of(&items, body);
    let spun = (0..300 * 4).fold(5, |x, _| mixed(mixed(x, 1), 2));
    for fuel in [70_000, 300_000] {
        let run = |share| {
            let strict = with_fuel(&program, share, fuel);
            let is_trap = |region: &&Region| region.exit == Exit::Trap(TrapKind::OutOfFuel);
            let traps = strict.regions.iter().filter(is_trap).count();
            (program.run_to_trap(&strict, &[(0, 5), (1, 5), (2, 5)]), traps)
        };
        let (inlined, _) = run(Share::Never);
        assert_eq!(inlined[0], Ok(spun));
        assert!(
            matches!(inlined[1..], [Err((TrapKind::OutOfFuel, a)), Err((TrapKind::OutOfFuel, b))] if a != b),
            "{inlined:?}"
        );
        for share in SHARED {
            let (shared, traps) = run(share);
            assert_eq!(shared, inlined, "{share:?}");
            assert!(traps <= 8, "{traps} of some forty states");
        }
    }
    // Too little even for the loop that ends.
    assert_eq!(program.run_strict(&with_fuel(&program, SHARED[0], 9000), &[(0, 5)]), [Err(TrapKind::OutOfFuel)]);
}

#[test]
fn kernels_that_are_just_not_refused_inlined_are_lifted_in_the_shared_form() {
    let loads = "(local.set $x (i32.load (i32.add (local.get $p) (i32.and (local.get $x) (i32.const 4)))))
      (i32.store (i32.add (local.get $p) (i32.and (local.get $x) (i32.const 4))) (i32.const 3))"
        .repeat(20);
    let items = format!("(func $f (param $p i32) (result i32) (local $x i32) {loads} (local.get $x))");
    let calls = "(i32.store (local.get $p) (call $f (local.get $p)))".repeat(10);
    let program = Program::of(&items, &format!("{calls} (i32.const 0)"));
    let shape = Shape::initial(&program.module, program.kernel);
    let lifted = |options: &Options| translate(&program.module, program.kernel, &shape, options).unwrap();
    let inlined = lifted(&Options { share: Share::Never, ..Options::default() }).accesses;
    let shared = lifted(&Options { max_accesses: inlined, ..Options::default() });
    assert!(shared.share != Share::Never && shared.accesses < inlined / 4, "{} of {inlined}", shared.accesses);
    // Where drivers compile many more, it is inlined.
    let faster = lifted(&Options { max_accesses: 3 * inlined, ..Options::default() });
    assert_eq!((faster.share, faster.accesses), (Share::Never, inlined));
}
