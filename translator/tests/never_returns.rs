//! A call that never comes back is a trap: what it would have called is not dragged in.

mod calls_support;
mod common;

use calls_support::Program;
use wavelift_translator::TrapKind;

/// Helpers of a panic: recursion, which would be refused.
const PANIC: &str = "(func $format (param i32) (if (local.get 0) (then (call $format (local.get 0)))))
  (func $abort (param i32) (call $format (local.get 0)) unreachable)";

fn run(items: &str, body: &str) -> calls_support::Ends {
    Program::of(&format!("{PANIC} {items}"), body).run(&[(0, 7), (1, 7)])
}

#[test]
fn a_function_whose_every_path_ends_in_a_panic_is_a_trap() {
    let trap = Err(TrapKind::Unreachable);
    let check = |items: &str| {
        let body = "(if (result i32) (local.get $a) (then (call $fail (local.get $b))) (else (i32.const 4)))";
        assert_eq!(run(items, body), [Ok(4), trap], "{items}");
    };
    check("(func $fail (param i32) (result i32) (call $format (local.get 0)) (call $abort (i32.const 1)) unreachable)");
    check(
        "(func $fail (param i32) (result i32) (call $format (local.get 0)) (call $abort (i32.const 1)) (i32.const 1))",
    );
    check(
        "(func $fail (param i32) (result i32) (call $format (local.get 0))
           (if (local.get 0) (then (call $abort (i32.const 1))) (else (call $abort (i32.const 2)) unreachable))
           (i32.const 0))",
    );
    check(
        "(func $fail (param i32) (result i32) (call $format (local.get 0))
           (block (br_if 0 (local.get 0)) (call $abort (i32.const 1))) (return (call $other)))
         (func $other (result i32) (call $format (i32.const 1)) (loop (br_if 0 (i32.const 0)) (call $abort (i32.const 0)))
           (i32.const 1))",
    );
    check(
        "(func $fail (param i32) (result i32) (call $format (local.get 0))
           (block (block (br_table 0 1 (local.get 0))) unreachable) (call $abort (local.get 0)) (i32.const 3))",
    );
}

#[test]
fn code_behind_the_call_is_skipped_to_the_end_of_its_block() {
    let items = "(func $fail (param i32) (call $format (local.get 0)) (call $abort (local.get 0)))";
    let body = "(block (result i32)
      (if (local.get $a) (then (call $fail (local.get $b)) (block (br 0)) (loop) (drop (i32.const 1))) (else (nop)))
      (i32.add (local.get $b) (i32.const 1)))";
    assert_eq!(run(items, body), [Ok(8), Err(TrapKind::Unreachable)]);
    let last = "(block (result i32) (if (local.get $a) (then (call $fail (local.get $b)))) (i32.const 5))";
    assert_eq!(run(items, last), [Ok(5), Err(TrapKind::Unreachable)]);
}

#[test]
fn a_function_that_may_come_back_is_called() {
    for items in [
        "(func $maybe (param i32) (result i32) (if (local.get 0) (then (call $format (local.get 0)) (return (i32.const 1))))
           (call $abort (local.get 0)) (i32.const 1))",
        "(func $maybe (param i32) (result i32) (block (br_if 0 (local.get 0)) (call $format (i32.const 1)) unreachable)
           (call $format (i32.const 1)) (i32.const 1))",
        "(func $maybe (param i32) (result i32) (call $format (i32.const 1)) (loop (br_if 0 (local.get 0))) (i32.const 1))",
        "(func $maybe (param i32) (result i32) (call $format (i32.const 1))
           (block (br_table 0 0 (local.get 0))) (i32.const 1))",
    ] {
        let program = Program::of(&format!("{PANIC} {items}"), "(call $maybe (local.get $b))");
        assert_eq!(program.refusal(), "recursion (`format` calls itself)", "{items}");
    }
}

#[test]
fn a_function_that_calls_nothing_traps_at_its_own_operator() {
    let items = "(func $fail (param i32) (result i32) (drop (i32.div_u (i32.const 1) (local.get 0))) unreachable)";
    let body = "(call $fail (local.get $a))";
    assert_eq!(run(items, body), [Err(TrapKind::DivideByZero), Err(TrapKind::Unreachable)]);
    // So does one that panics at once: the trap stands inside it.
    let program = Program::of(
        &format!("{PANIC} (func $fail (call $abort (i32.const 1)) unreachable)"),
        "(call $fail) (i32.const 1)",
    );
    let fail = program.module.find_function("fail").unwrap();
    assert!(program.stages().lifted.contains_key(&fail) && !program.module.dies(fail));
}

#[test]
fn functions_that_call_each_other_and_ones_that_loop_for_ever() {
    let text = "(module (func $a (call $b) unreachable) (func $b (call $c) (call $a)) (func $c (call $b))
      (func $forever (call $c) (loop (br 0))) (func $late (call $c) (call $dead)) (func $dead (call $c) unreachable)
      (func $early (call $c) (call $late) (return)))";
    let module = wavelift_translator::Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let dies = ["a", "b", "c", "forever", "late", "dead", "early"]
        .map(|name| module.dies(module.find_function(name).unwrap()));
    // `a` and `dead` only make calls in front of `unreachable`, and `c` one of `b`: they are lifted as bare traps.
    assert_eq!(dies, [false, true, false, false, true, false, true]);
}
