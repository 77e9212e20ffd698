//! Tail calls: of the function itself a loop, of any other a call and a return.

mod calls_support;
mod common;

use calls_support::Program;
use wavelift_translator::TrapKind;
use wavelift_translator::ir::StmtKind;

#[test]
fn a_function_that_ends_in_a_call_of_itself_is_a_loop() {
    let items = "(func $gcd (param i32 i32) (result i32)
      (if (i32.eqz (local.get 1)) (then (return (local.get 0))))
      (return_call $gcd (local.get 1) (i32.rem_u (local.get 0) (local.get 1))))";
    let program = Program::of(items, "(call $gcd (local.get $a) (local.get $b))");
    let ends = program.run(&[(48, 36), (0, 5), (5, 0), (u32::MAX, 65537), (0, 0)]);
    assert_eq!(ends, [Ok(12), Ok(5), Ok(5), Ok(65537), Ok(0)]);
    let gcd = program.module.find_function("gcd").unwrap();
    let lifted = &program.stages().lifted[&gcd];
    let body = lifted.region(lifted.body);
    assert!(body.stmts.iter().any(|stmt| matches!(stmt.kind, StmtKind::Loop { .. })), "{lifted}");
}

#[test]
fn locals_start_as_zero_in_each_round() {
    let items = "(func $count (param i32 i32) (result i32) (local i32 i64)
      (local.set 2 (i32.add (local.get 2) (i32.const 1)))
      (local.set 3 (i64.add (local.get 3) (i64.const 5)))
      (local.set 1 (i32.add (local.get 1) (i32.add (local.get 2) (i32.wrap_i64 (local.get 3)))))
      (if (result i32) (local.get 0)
        (then (return_call $count (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
        (else (local.get 1))))";
    let program = Program::of(items, "(call $count (local.get $a) (local.get $b))");
    assert_eq!(program.run(&[(0, 0), (1, 0), (9, 100)]), [Ok(6), Ok(12), Ok(160)]);
}

#[test]
fn tail_calls_out_of_blocks_and_loops() {
    let items = "(func $step (param i32 i32) (result i32)
      (block (block (loop
        (br_if 1 (i32.gt_u (local.get 1) (i32.const 100)))
        (local.set 1 (i32.add (local.get 1) (i32.const 7)))
        (br_if 0 (i32.and (local.get 1) (i32.const 1)))
        (br_table 0 1 2 (i32.rem_u (local.get 1) (i32.const 3)))))
        (return_call $other (local.get 0)))
      (return_call $step (i32.add (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 2))))
     (func $other (param i32) (result i32) (i32.div_u (i32.const 1000) (local.get 0)))";
    let program = Program::of(items, "(call $step (local.get $a) (local.get $b))");
    let ends = program.run(&[(1, 1), (10, 2), (0, 101), (3, 8)]);
    assert_eq!(ends[2], Err(TrapKind::DivideByZero));
    assert!(ends.iter().filter(|end| end.is_ok()).count() == 3, "{ends:?}");
}

#[test]
fn a_chain_of_tail_calls_gives_the_last_ones_results() {
    let items = "(type $pair (func (param i32) (result i32 i64)))
     (table 3 funcref) (elem (i32.const 0) func $last $trap)
     (func $first (param i32 i32) (result i32 i64) (drop (i64.const 3))
       (return_call_indirect (type $pair) (local.get 1) (local.get 0)))
     (func $last (type $pair) (i32.add (local.get 0) (i32.const 1)) (i64.const 4))
     (func $trap (type $pair) unreachable)";
    let body = "(i32.wrap_i64 (i64.extend_i32_u (block (result i32)
        (call $first (local.get $a) (local.get $b)) i32.wrap_i64 i32.mul)))";
    let program = Program::of(items, body);
    assert_eq!(
        program.run(&[(0, 9), (1, 9), (2, 9), (3, 9)]),
        [Ok(40), Err(TrapKind::Unreachable), Err(TrapKind::NullTableEntry), Err(TrapKind::TableOutOfBounds)]
    );
}

/// Whether a number is even, by two functions that go on with one another: `even` returns 7 or 8 plus what it has counted.
const PARITY: &str = "(func $even (param i32 i32) (result i32) (local i32)
    (local.set 2 (i32.add (local.get 2) (i32.const 7)))
    (if (i32.eqz (local.get 0)) (then (return (i32.add (local.get 1) (local.get 2)))))
    (return_call $odd (i64.extend_i32_u (i32.add (local.get 1) (i32.const 10))) (i32.sub (local.get 0) (i32.const 1))))
  (func $odd (param i64 i32) (result i32)
    (if (i32.eqz (local.get 1)) (then (return (i32.add (i32.wrap_i64 (local.get 0)) (i32.const 8)))))
    (return_call $even (i32.sub (local.get 1) (i32.const 1)) (i32.wrap_i64 (i64.add (local.get 0) (i64.const 1)))))";

#[test]
fn functions_that_go_on_with_one_another_are_a_loop() {
    let program = Program::of(PARITY, "(call $even (local.get $a) (local.get $b))");
    let ends = program.run(&[(0, 0), (1, 0), (2, 5), (7, 100), (40, 0)]);
    assert_eq!(ends, [Ok(7), Ok(18), Ok(23), Ok(151), Ok(227)]);
    // Entered at the other one, and at both.
    let both = "(i32.add (call $odd (i64.const 3) (local.get $a)) (call $even (local.get $a) (local.get $b)))";
    assert_eq!(Program::of(PARITY, both).run(&[(0, 0), (1, 0), (2, 5)]), [Ok(18), Ok(29), Ok(45)]);
}

/// A return of what a call gave is no other thing than a tail call.
#[test]
fn a_call_in_front_of_a_return_goes_on_too() {
    let items = "(func $down (param i32 i32) (result i32)
       (if (result i32) (i32.eqz (local.get 0)) (then (local.get 1))
         (else (return (call $up (local.get 0) (i32.mul (local.get 1) (i32.const 3)))))))
     (func $up (param i32 i32) (result i32)
       (call $down (i32.shr_u (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 1))))
     (func $itself (param i32 i32) (result i32)
       (if (i32.lt_u (local.get 0) (i32.const 10)) (then (return (local.get 1))))
       (call $itself (i32.sub (local.get 0) (i32.const 10)) (i32.add (local.get 1) (i32.const 1))))";
    let body = "(i32.add (call $down (local.get $a) (local.get $b)) (call $itself (local.get $a) (i32.const 1000)))";
    assert_eq!(Program::of(items, body).run(&[(0, 5), (1, 5), (25, 2)]), [Ok(1005), Ok(1016), Ok(1609)]);
}

/// Handlers of an interpreter that each call the next one through a table; one that does not come back, one of another type
/// and none at all are in it, too.
#[test]
fn handlers_that_go_on_through_a_table_are_a_loop() {
    let items = "(type $handler (func (param i32 i32) (result i32))) (table 6 funcref)
     (elem (i32.const 0) func $double $add $end $other) (elem (i32.const 5) func $double)
     (func $next (type $handler)
       (return_call_indirect (type $handler) (i32.shr_u (local.get 0) (i32.const 3)) (local.get 1)
         (i32.and (local.get 0) (i32.const 7))))
     (func $double (type $handler) (return_call $next (local.get 0) (i32.shl (local.get 1) (i32.const 1))))
     (func $add (type $handler)
       (return_call_indirect (type $handler) (i32.shr_u (local.get 0) (i32.const 3))
         (i32.add (local.get 1) (i32.const 1)) (i32.and (local.get 0) (i32.const 7))))
     (func $end (type $handler) (i32.sub (local.get 1) (local.get 0)))
     (func $other (param i64) (result i32) (i32.const 0))";
    let program = Program::of(items, "(call $next (local.get $a) (local.get $b))");
    let ends = program.run(&[(0o2, 9), (0o2501, 3), (0o201010, 1), (0o3, 1), (0o41, 1), (0o6, 1), (0o12, 50)]);
    assert_eq!(
        ends,
        [
            Ok(9),
            Ok(16),
            Ok(14),
            Err(TrapKind::IndirectCallType),
            Err(TrapKind::NullTableEntry),
            Err(TrapKind::TableOutOfBounds),
            Ok(49)
        ]
    );
}

#[test]
fn functions_that_do_something_behind_the_call_are_recursive() {
    let items = "(func $even (param i32) (result i32)
       (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
       (i32.add (call $odd (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
     (func $odd (param i32) (result i32)
       (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
       (return_call $even (i32.sub (local.get 0) (i32.const 1))))";
    assert_eq!(Program::of(items, "(call $even (local.get $a))").refusal(), "recursion (`even` calls itself)");
    let itself = "(func $f (param i32) (result i32) (call $f (local.get 0)) (return_call $f))";
    assert_eq!(Program::of(itself, "(call $f (local.get $a))").refusal(), "recursion (`f` calls itself)");
    // The results are returned in another order.
    let turned = "(func $f (param i32) (result i32 i32) (local i32 i32)
       (if (i32.eqz (local.get 0)) (then (return (i32.const 1) (i32.const 2))))
       (call $f (i32.sub (local.get 0) (i32.const 1))) (local.set 1) (local.set 2) (local.get 1) (local.get 2))";
    let body = "(block (result i32) (call $f (local.get $a)) i32.sub)";
    assert_eq!(Program::of(turned, body).refusal(), "recursion (`f` calls itself)");
}
