//! Branches, loops and returns that some take, nested in each other.

use super::{compare, module, noise};

/// Loads this invocation's word of the first buffer into `$x`; `$r` is stored at the end, if the body does not return. The second
/// buffer's first word is the same for all.
fn kernel(body: &str) -> String {
    module(&format!(
        r#"(func (export "kernel") (param $id i32) (param i32 i32) (param $in i32) (param i32) (param $same i32) (param i32)
             (param $out i32) (param i32) (local $x i32) (local $r i32) (local $i i32) (local $j i32) (local $f f64)
             (local.set $x (i32.load (i32.add (local.get $in) (i32.shl (local.get $id) (i32.const 2)))))
             {body}
             (i32.store (i32.add (local.get $out) (i32.shl (local.get $id) (i32.const 2))) (local.get $r)))"#
    ))
}

/// Adds to the result, in a way that tells places and orders apart.
fn note(number: u32) -> String {
    format!("(local.set $r (i32.add (i32.mul (local.get $r) (i32.const 31)) (i32.const {number})))")
}

fn bit(number: u32) -> String {
    format!("(i32.and (i32.shr_u (local.get $x) (i32.const {number})) (i32.const 1))")
}

/// Stores what there is so far, besides.
fn store_early() -> String {
    "(i32.store (i32.add (local.get $out) (i32.shl (i32.add (local.get $id) (i32.const 200)) (i32.const 2))) (local.get $r))".into()
}

fn check(body: &str) {
    compare(&kernel(body), 157, &[noise(157, 3), vec![5, 9], vec![0; 400]]);
}

#[test]
fn branches() {
    let (a, b, c) = (note(1), note(2), note(3));
    check(&format!("(if {} (then {a}) (else {b}))", bit(3)));
    check(&format!(
        "(if {} (then {a} (if {} (then {b} return)) {c}) (else (if {} (then {c} return)) {b}))",
        bit(3),
        bit(5),
        bit(7)
    ));
    check(&format!("(if {} (then {a} {} ) (else {b} return)) {c}", bit(3), store_early()));
    check(&format!("(block $out (br_if $out {}) {a} (br_if $out {}) {b}) {c}", bit(1), bit(2)));
    check(&format!(
        "(block $far (block $near (br_if $far {}) {a} (br_if $near {}) {b} (if {} (then {c} (br $far)))) {a}) {b}",
        bit(1),
        bit(2),
        bit(4)
    ));
    check(&format!("(if {} (then (if (i32.load (local.get $same)) (then {a}) (else {b}))))", bit(2)));
    check(&format!(
        "(if {} (then (local.set $f (f64.const 2.5)))) (local.set $r (i32.trunc_f64_s (f64.mul (local.get $f) (f64.const 4))))",
        bit(9)
    ));
    // All, or none, take it.
    check(&format!("(if (i32.ge_s (local.get $id) (i32.const 0)) (then {a}) (else {b} unreachable))"));
    check(&format!("(if (i32.lt_u (local.get $id) (i32.const 40)) (then {a}) (else {b}))"));
    check(&format!(
        "(if (i32.rem_u (local.get $id) (i32.load offset=4 (local.get $same))) (then {a}) (else {b} {} return)) {c}",
        store_early()
    ));
}

#[test]
fn switches_by_what_is_the_same() {
    let table = |index: &str| {
        format!(
            "(block $c (block $b (block $a (br_table $a $b $c $b {index})) {} (br $c)) {}) {}",
            note(1),
            note(2),
            note(3)
        )
    };
    for same in 0..6 {
        let text = kernel(&table("(i32.load (local.get $same))"));
        compare(&text, 50, &[noise(50, 3), vec![same, 9], vec![0; 400]]);
        let some = kernel(&format!(
            "(if {} (then {} (if {} (then return))))",
            bit(4),
            table("(i32.load (local.get $same))"),
            bit(6)
        ));
        compare(&some, 50, &[noise(50, 3), vec![same, 9], vec![0; 400]]);
    }
}

/// A loop that runs `rounds` times; `body` may branch to `$next` and `$end`.
fn counted(rounds: &str, counter: &str, body: &str) -> String {
    format!(
        "(local.set {counter} (i32.const 0))
         (block $end{0} (loop $again{0}
           (br_if $end{0} (i32.ge_u (local.get {counter}) {rounds}))
           (block $next{0} {body})
           (local.set {counter} (i32.add (local.get {counter}) (i32.const 1)))
           (br $again{0})))",
        &counter[1..]
    )
}

#[test]
fn loops() {
    let (a, b, c) = (note(1), note(2), note(3));
    let few = "(i32.and (local.get $x) (i32.const 7))";
    let same = "(i32.load (local.get $same))";
    check(&counted(few, "$i", &a));
    check(&counted(same, "$i", &format!("(if {} (then {a}) (else {b}))", bit(3))));
    for rounds in [few, same] {
        check(&counted(
            rounds,
            "$i",
            &format!(
                "(br_if $nexti {}) {a} (br_if $endi (i32.eq (local.get $i) (i32.and (local.get $x) (i32.const 3)))) {b}",
                bit(5)
            ),
        ));
        check(&counted(
            rounds,
            "$i",
            &format!(
                "{a} (if (i32.eq (local.get $i) (i32.and (local.get $x) (i32.const 3))) (then {b} {} return))",
                store_early()
            ),
        ));
        for inner in [few, same, "(local.get $i)"] {
            let breaks = format!(
                "{a} (br_if $endi (i32.gt_u (i32.mul (local.get $i) (local.get $j)) (i32.and (local.get $x) (i32.const 15)))) {b}"
            );
            check(&counted(rounds, "$i", &format!("{c} {}", counted(inner, "$j", &breaks))));
            let continues = format!("{a} (br_if $nexti {}) (br_if $nextj {}) {b}", bit(4), bit(6));
            check(&counted(rounds, "$i", &format!("{} {c}", counted(inner, "$j", &continues))));
            let returns =
                format!("(if (i32.eq (local.get $r) (i32.const 94)) (then return)) {a} (br_if $endj {})", bit(8));
            check(&counted(rounds, "$i", &format!("{} {c} {}", counted(inner, "$j", &returns), store_early())));
        }
    }
}

/// Several places start the next round, with other values: in a loop whose variables swap.
#[test]
fn loops_that_go_on_from_several_places() {
    check(&format!(
        "(local.set $i (i32.const 1)) (local.set $j (local.get $x))
         (block $end (loop $again
           {}
           (br_if $end (i32.gt_u (local.get $r) (i32.const 100000)))
           (if {} (then (local.set $i (local.get $j)) (local.set $j (i32.add (local.get $r) (i32.const 1))) (br $again)))
           (if (i32.and (local.get $i) (i32.const 1)) (then (local.set $i (i32.const 4)) (br $again)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br $again)))
         (local.set $r (i32.xor (local.get $r) (i32.add (local.get $i) (i32.mul (local.get $j) (i32.const 3)))))",
        note(7), bit(2)
    ));
    // What this round began with is needed by those that leave after others went on.
    check(
        "(loop $again
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.and (local.get $x) (i32.const 7))))
           (local.set $r (i32.add (local.get $i) (i32.const 100))))
         (local.set $r (i32.add (local.get $r) (local.get $i)))",
    );
}

/// As many as there are, with ids that are no multiples of groups, and fewer than one group.
#[test]
fn any_number_of_invocations() {
    let text = kernel(&format!("(if {} (then {}) (else {}))", bit(3), note(1), note(2)));
    for count in [4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 127, 1000, 4099] {
        if count >= 16 {
            compare(&text, count, &[noise(4200, 3), vec![5, 9], vec![0; 4400]]);
        }
        let one_by_one = super::run(
            &wavelift::device::cpu::sequential(),
            &text,
            count,
            &[noise(4200, 3), vec![5, 9], vec![0; 4400]],
        );
        for width in super::WIDTHS {
            let found =
                super::run(&super::device(width, None), &text, count, &[noise(4200, 3), vec![5, 9], vec![0; 4400]]);
            assert_eq!(found.buffers, one_by_one.buffers, "{count} in groups of {width}");
        }
    }
}

/// Calls are part of the kernel; globals start anew with each invocation, and others are read.
#[test]
fn calls_and_globals() {
    let text = r#"(module (memory (export "memory") 1)
        (global $mutable (export "mutable") (mut i32) (i32.const 17))
        (global $fixed (export "fixed") i32 (i32.const 1000))
        (func $step (param $by i32) (result i32)
          (global.set $mutable (i32.add (global.get $mutable) (local.get $by)))
          (if (i32.gt_s (local.get $by) (i32.const 4)) (then (return (i32.const -1))))
          (i32.mul (global.get $mutable) (i32.const 3)))
        (func (export "kernel") (param i32 i32 i32 i32 i32) (local $i i32) (local $r i32)
          (loop $again
            (local.set $r (i32.add (local.get $r) (call $step (i32.and (local.get 0) (i32.const 7)))))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
          (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
            (i32.add (i32.add (local.get $r) (global.get $fixed)) (i32.mul (memory.size) (i32.const 100000))))))"#;
    compare(text, 100, &[vec![0; 100]]);
}
