//! What an invocation's fuel is taken for, to the operator. In groups, loops that compute nothing are not there.

use wavelift::Lanes;
use wavelift::device::TrapKind;
use wavelift::device::cpu::{self, CpuOptions};

use crate::support::Guest;

/// Functions that kernels call.
const CALLEES: &str = r#"
  (func $loops (export "loops") (param $k i32)
    (loop $again (br_if $again (local.tee $k (i32.sub (local.get $k) (i32.const 1))))))
  (func $returns (param $k i32) (result i32 i64)
    (loop $again
      (if (i32.eqz (local.get $k)) (then (return (i32.const 7) (i64.const 8))))
      (local.set $k (i32.sub (local.get $k) (i32.const 1)))
      (br $again))
    unreachable)
  (func $branches (param $k i32) (result i32)
    (loop $again
      (br_if 1 (i32.const 5) (i32.eqz (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
      (br $again))
    unreachable)
  (func $goes_on (param $k i32)
    (loop $again (br_if $again (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
    (return_call $loops (i32.const 5)))
  (func $down (param $k i32)
    (if (local.get $k) (then (call $down (i32.sub (local.get $k) (i32.const 1))))))
  (table (export "table") 1 funcref) (elem (i32.const 0) $loops)"#;

/// Whether 1000 invocations of a kernel of these operators end with so much fuel each.
fn ends(operators: &str, fuel: Option<u32>) -> bool {
    let text = format!(
        r#"(module (memory (export "memory") 1) {CALLEES}
          (func (export "kernel") (param i32 i32 i32) (local $k i32) (local $j i32) {operators}))"#
    );
    let ended = [cpu::open, cpu::open_sequential].map(|open| {
        let device = open(&CpuOptions { threads: Some(3), fuel, lanes: Lanes::Off });
        let mut guest = Guest::new(&device, &text);
        if guest.launch("kernel", 1000, &[]).is_ok() {
            return true;
        }
        let trap = guest.trap("kernel", 1000, &[]);
        assert_eq!((trap.kind, trap.iteration), (TrapKind::OutOfFuel, 0), "{operators}");
        false
    });
    assert!(ended[0] == ended[1], "{operators}");
    ended[0]
}

#[test]
fn each_loop_takes_what_its_operators_are() {
    for (operators, needed) in [
        // Eight operators, the loop's end included.
        ("(loop $a (br_if $a (i32.ne (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 10))))", 80),
        ("(loop nop)", 2),
        ("(call $loops (i32.const 10)) (call $loops (i32.const 10))", 120),
        ("i32.const 10 i32.const 0 call_indirect (param i32)", 60 + 1),
        (
            "(local.set $k (i32.const 3))
             (loop $a (call $loops (i32.const 10)) (br_if $a (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))",
            3 * (8 + 60),
        ),
        (
            "(local.set $k (i32.const 3))
             (loop $a (local.set $j (i32.const 4))
               (loop $b (br_if $b (local.tee $j (i32.sub (local.get $j) (i32.const 1)))))
               (br_if $a (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))",
            3 * (9 + 4 * 6),
        ),
        ("(call $returns (i32.const 10)) drop drop", 11 * 13),
        ("(drop (call $branches (i32.const 10)))", 10 * 9),
        ("(call $goes_on (i32.const 10)) (loop nop)", 60 + 30 + 2),
        // Half of eight operators and a call, eleven times.
        ("(call $down (i32.const 10))", 11 * 8),
        ("(return_call $loops (i32.const 10))", 60),
        ("(memory.fill (i32.const 4096) (i32.const 1) (i32.const 3200))", 100),
        ("(memory.copy (i32.const 4096) (i32.const 0) (i32.const 3200)) (loop nop)", 102),
    ] {
        assert!(ends(operators, Some(needed)), "{operators} with {needed}");
        assert!(!ends(operators, Some(needed - 1)), "{operators} with {}", needed - 1);
        assert!(ends(operators, None), "{operators} without a limit");
    }
    assert!(ends("(drop (i32.const 1))", Some(0)));
}

#[test]
fn the_loop_that_ran_out_is_named() {
    let device = cpu::open(&CpuOptions { threads: Some(2), fuel: Some(100), lanes: Lanes::Off });
    let text = format!(
        r#"(module (memory (export "memory") 1) {CALLEES}
          (func (export "own") (param $i i32) (param i32 i32)
            (loop $a (br_if $a (i32.ge_u (local.get $i) (i32.const 500)))))
          (func (export "called") (param $i i32) (param i32 i32)
            (call $loops (select (i32.const 16) (i32.const 17) (i32.lt_u (local.get $i) (i32.const 700))))))"#
    );
    let mut guest = Guest::new(&device, &text);
    for (kernel, function, lowest) in [("own", "own", 500), ("called", "loops", 700)] {
        let trap = guest.trap(kernel, 1000, &[]);
        assert_eq!((trap.kind, trap.iteration), (TrapKind::OutOfFuel, lowest));
        assert_eq!(trap.at.function, guest.kernel(function));
        assert_eq!(trap.at.offset, guest.operator_offset(function, 0));
        guest.launch(kernel, lowest, &[]).unwrap();
    }
}
