//! Recursion that is unrolled, or that has a stack of its own, in forms that assume that it is shallow.

mod calls_support;
mod common;

use calls_support::{Program, SHARED};
use wavelift_translator::{
    Assumption, Error, Module, Options, Shape, Share, Speculation, TrapKind, speculation, translate,
};

/// A function that calls itself twice, with six accesses of memory.
const TREE: &str = "(module (memory 1)
  (func $visit (param $at i32) (param $p i32) (result i32)
    (if (i32.eqz (local.get $at)) (then (return (i32.load (local.get $p)))))
    (i32.store offset=4 (local.get $p) (i32.add (local.get $at) (i32.load offset=8 (local.get $p))))
    (i32.store offset=12 (local.get $p) (i32.mul (local.get $at) (i32.load offset=16 (local.get $p))))
    (i32.add (i32.load offset=20 (local.get $p))
      (i32.add (call $visit (i32.shr_u (local.get $at) (i32.const 2)) (local.get $p))
        (call $visit (i32.sub (local.get $at) (i32.const 1)) (local.get $p)))))
  (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
    (i32.store (local.get $p) (call $visit (local.get $i) (local.get $p)))))";

#[test]
fn recursion_is_unrolled_as_deep_as_drivers_compile_soon() {
    let module = Module::parse(wat::parse_str(TREE).unwrap()).unwrap();
    let kernel = module.find_function("kernel").unwrap();
    let options = Options { speculation: Speculation::ALL, max_accesses: 2_000, ..Options::default() };
    let accesses = |options: &Options| translate(&module, kernel, &Shape::distinct(1), options).unwrap().accesses;
    assert!(!speculation::is_large(accesses(&options), &options));
    // With no limit it is unrolled deeper.
    let unlimited = accesses(&Options { max_accesses: u32::MAX, ..options });
    assert!(speculation::is_large(unlimited, &options), "{unlimited}");
}

/// The stack pointer.
const POINTER: &str = "(global $__stack_pointer (mut i32) (i32.const 3072))";

const FIBONACCI: &str = "(func $fibonacci (param $n i32) (result i32)
  (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
    (else (i32.add (call $fibonacci (i32.sub (local.get $n) (i32.const 1)))
      (call $fibonacci (i32.sub (local.get $n) (i32.const 2)))))))";

fn fibonacci(n: u32) -> u32 {
    if n < 2 { n } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

/// What a kernel gives in both shared forms, which must be the same.
fn ends(program: &Program, records: &[(u32, u32)]) -> calls_support::Ends {
    let [every, many] = SHARED.map(|share| program.run_recursive(share, records));
    assert!(every.0.states.is_some() && many.0.states.is_some());
    assert_eq!(every.1, many.1);
    every.1
}

#[test]
fn a_function_that_calls_itself_twice_finds_its_values_again() {
    let program = Program::of(
        &format!("{POINTER} {FIBONACCI}"),
        "(i32.mul (call $fibonacci (local.get $a)) (call $fibonacci (local.get $b)))",
    );
    let records = [(0, 1), (1, 5), (9, 4), (12, 13)];
    assert_eq!(ends(&program, &records), records.map(|(a, b)| Ok(fibonacci(a) * fibonacci(b))));
}

#[test]
fn deep_recursion_bails_out() {
    let program = Program::of(&format!("{POINTER} {FIBONACCI}"), "(call $fibonacci (local.get $a))");
    let bailed_out = Err(TrapKind::BailedOut(Assumption::Recursion));
    assert_eq!(ends(&program, &[(16, 0), (17, 0), (1 << 31, 0)]), [Ok(987), bailed_out, bailed_out]);
}

#[test]
fn functions_that_call_each_other_keep_values_of_all_types() {
    let items = "(func $even (param $n i32) (param $x i64) (param $y f32) (param $z f64) (result f64)
          (local $r f64)
          (if (i32.eqz (local.get $n)) (then (return (local.get $z))))
          (local.set $r (call $odd (i32.sub (local.get $n) (i32.const 1)) (i64.add (local.get $x) (i64.const 3))
            (f32.mul (local.get $y) (f32.const 0.5)) (f64.add (local.get $z) (f64.const 1.25))))
          (f64.add (f64.add (local.get $r) (f64.convert_i64_s (local.get $x)))
            (f64.sub (f64.promote_f32 (local.get $y)) (f64.convert_i32_u (local.get $n)))))
        (func $odd (param $n i32) (param $x i64) (param $y f32) (param $z f64) (result f64)
          (if (i32.eqz (local.get $n)) (then (return (f64.neg (local.get $z)))))
          (f64.mul (f64.const 0.75) (f64.add (call $even (i32.sub (local.get $n) (i32.const 1)) (local.get $x)
            (f32.add (local.get $y) (f32.const 1)) (local.get $z))
            (f64.mul (f64.promote_f32 (local.get $y)) (f64.convert_i64_s (i64.shl (local.get $x) (i64.const 1)))))))";
    let program = Program::of(
        &format!("{POINTER} {items}"),
        "(i32.trunc_sat_f64_s (f64.mul (f64.const 1000) (call $even (local.get $a) (i64.extend_i32_u (local.get $b))
          (f32.convert_i32_u (local.get $b)) (f64.const 2.5))))",
    );
    fn even(n: u32, x: i64, y: f32, z: f64) -> f64 {
        if n == 0 { z } else { odd(n - 1, x + 3, y * 0.5, z + 1.25) + x as f64 + (f64::from(y) - f64::from(n)) }
    }
    fn odd(n: u32, x: i64, y: f32, z: f64) -> f64 {
        if n == 0 { -z } else { 0.75 * (even(n - 1, x, y + 1.0, z) + f64::from(y) * (x << 1) as f64) }
    }
    let records = [(0, 3), (1, 7), (6, 11), (13, 2)];
    let expected = records.map(|(a, b)| Ok((1000.0 * even(a, b.into(), b as f32, 2.5)) as i32 as u32));
    assert_eq!(ends(&program, &records), expected);
}

#[test]
fn each_activation_has_a_frame_of_its_own() {
    let items = "(func $walk (param $n i32) (param $from i32) (result i32) (local $sp i32)
        (global.set $__stack_pointer (local.tee $sp (i32.sub (global.get $__stack_pointer) (i32.const 16))))
        (i32.store (local.get $sp) (i32.add (i32.mul (i32.load (local.get $from)) (i32.const 3)) (local.get $n)))
        (i32.store offset=4 (local.get $sp) (local.get $n))
        (if (local.get $n) (then
          (i32.store offset=8 (local.get $sp) (call $walk (i32.sub (local.get $n) (i32.const 1)) (local.get $sp)))
          (i32.store offset=12 (local.get $sp) (call $walk (i32.shr_u (local.get $n) (i32.const 1)) (local.get $sp)))
          (i32.store (local.get $from) (i32.add (i32.load (local.get $from)) (i32.const 1)))))
        (global.set $__stack_pointer (i32.add (local.get $sp) (i32.const 16)))
        (i32.add (i32.add (i32.load (local.get $sp)) (i32.load offset=4 (local.get $sp)))
          (if (result i32) (local.get $n) (then (i32.xor (i32.load offset=8 (local.get $sp)) (i32.load offset=12 (local.get $sp))))
            (else (i32.const 5)))))
      (func $start (param $n i32) (param $x i32) (result i32) (local $sp i32)
        (global.set $__stack_pointer (local.tee $sp (i32.sub (global.get $__stack_pointer) (i32.const 16))))
        (i32.store (local.get $sp) (local.get $x))
        (i32.store offset=4 (local.get $sp) (call $walk (local.get $n) (local.get $sp)))
        (global.set $__stack_pointer (i32.add (local.get $sp) (i32.const 16)))
        (i32.add (i32.load (local.get $sp)) (i32.load offset=4 (local.get $sp))))";
    let program = Program::of(&format!("{POINTER} {items}"), "(call $start (local.get $a) (local.get $b))");
    fn walk(n: u32, from: &mut u32) -> u32 {
        let mut own = from.wrapping_mul(3).wrapping_add(n);
        let mut below = 5;
        if n != 0 {
            let first = walk(n - 1, &mut own);
            below = first ^ walk(n >> 1, &mut own);
            *from = from.wrapping_add(1);
        }
        own.wrapping_add(n).wrapping_add(below)
    }
    let records = [(0, 3), (1, 7), (5, 0x8000_0001), (9, 1234)];
    let expected = records.map(|(n, mut x)| {
        let below = walk(n, &mut x);
        Ok(x.wrapping_add(below))
    });
    assert_eq!(ends(&program, &records), expected);
}

#[test]
fn recursion_that_changes_a_global_has_no_stack() {
    let items = "(global $count (mut i32) (i32.const 0)) (func $count (param $n i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (local.get $n) (then (call $count (i32.sub (local.get $n) (i32.const 1))))))";
    let program = Program::of(
        &format!("{POINTER} {items}"),
        "(global.get $count) (call $count (local.get $a)) (drop) (i32.const 1)",
    );
    let options = |share| Options { speculation: Speculation::ALL, share, ..Options::default() };
    let lift = |share| translate(&program.module, program.kernel, &Shape::distinct(1), &options(share));
    match lift(SHARED[0]) {
        Err(Error::Unsupported { what, .. }) => assert!(what.contains("change globals"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(lift(Share::Auto).unwrap().share, Share::Never);
}

#[test]
fn recursion_has_a_stack_where_it_would_be_long_unrolled() {
    let lift = |items: &str| {
        let text = TREE.replacen("(memory 1)", &format!("(memory 1) {items}"), 1);
        let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
        let kernel = module.find_function("kernel").unwrap();
        let options = Options { speculation: Speculation::ALL, max_accesses: u32::MAX, ..Options::default() };
        translate(&module, kernel, &Shape::distinct(1), &options).unwrap()
    };
    let (stacked, unrolled) = (lift(POINTER), lift(""));
    assert_ne!(stacked.share, Share::Never);
    assert_eq!(unrolled.share, Share::Never, "there is no stack in that module");
    assert!(unrolled.is_unrolled && !stacked.is_unrolled && stacked.words.len() * 4 < unrolled.words.len());
    common::assert_valid(&stacked.words);
}
