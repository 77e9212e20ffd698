//! Recursion that is unrolled, in forms that assume that it is shallow.

use wavelift_translator::{Module, Options, Shape, Speculation, speculation, translate};

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
