//! Which invocation is said to trap, where and why; and what a kernel needs its caller for.

use wavelift::device::{Access, TrapKind, cpu};

use crate::support::{Guest, parallel};

#[test]
fn the_lowest_trapping_iteration_is_reported() {
    for device in [parallel(), cpu::sequential()] {
        let mut guest = Guest::new(
            &device,
            r#"(module (memory (export "memory") 1)
              (func (export "kernel") (param i32 i32 i32) (local $x i32)
                (drop (i32.div_u (i32.const 1) (i32.rem_u (i32.add (local.get 0) (i32.const 1)) (i32.const 70001))))
                (if (i32.eq (local.get 0) (i32.const 70003)) (then unreachable))))"#,
        );
        for _ in 0..20 {
            let trap = guest.trap("kernel", 1_000_000, &[]);
            assert_eq!((trap.iteration, trap.kind), (70_000, TrapKind::DivideByZero));
            assert_eq!(trap.at.offset, guest.operator_offset("kernel", 6), "the division");
        }
        // Below the trapping iteration all is well.
        guest.launch("kernel", 70_000, &[]).unwrap();
    }
}

#[test]
fn each_operator_traps_in_its_own_way() {
    let body = |operators: &str| {
        format!(
            r#"(module (memory (export "memory") 1)
              (func $callee (param i32) {operators})
              (func (export "kernel") (param i32 i32 i32) (call $callee (local.get 0)))
              (func (export "callee") (param i32) (call $callee (local.get 0))))"#
        )
    };
    for (operators, number, kind) in [
        ("unreachable", 0, TrapKind::Unreachable),
        ("i32.const 1 i32.const 0 i32.rem_s drop", 2, TrapKind::DivideByZero),
        ("i64.const 0x8000000000000000 i64.const -1 i64.div_s drop", 2, TrapKind::IntegerOverflow),
        ("f32.const 1e10 i32.trunc_f32_s drop", 1, TrapKind::IntegerOverflow),
        ("f64.const nan i64.trunc_f64_u drop", 1, TrapKind::BadConversion),
        ("i32.const -1 i32.load offset=0xffffffff drop", 1, TrapKind::OutOfBounds),
        ("i32.const 65533 i32.load drop", 1, TrapKind::OutOfBounds),
        ("i32.const 65536 i32.const 1 i32.store8", 2, TrapKind::OutOfBounds),
        ("i32.const 65536 v128.load drop", 1, TrapKind::OutOfBounds),
        ("i32.const 1 i32.atomic.load drop", 1, TrapKind::UnalignedAtomic),
        ("i32.const 0 i32.const 1 i32.const 65537 memory.fill", 3, TrapKind::OutOfBounds),
        ("i32.const -16 i32.const 1 i32.const 32 memory.fill", 3, TrapKind::OutOfBounds),
        ("i32.const 0 i32.const 65530 i32.const 10 memory.copy", 3, TrapKind::OutOfBounds),
        ("i32.const 65530 i32.const 0 i32.const 10 memory.copy", 3, TrapKind::OutOfBounds),
        ("i32.const 0 i32.const 0x7fff0000 i32.const -1 memory.copy", 3, TrapKind::OutOfBounds),
    ] {
        let mut guest = Guest::new(&parallel(), &body(operators));
        let trap = guest.trap("kernel", 10, &[]);
        assert_eq!((trap.kind, trap.iteration), (kind, 0), "{operators}");
        let callee = guest.module.wasm.find_function("callee").unwrap();
        assert_eq!(trap.at.function, callee, "{operators}");
        let code = guest.module.wasm.body(0).unwrap().get_operators_reader().unwrap().into_iter_with_offsets();
        let offset = code.map(|operator| operator.unwrap().1).nth(number).unwrap();
        assert_eq!(trap.at.offset as usize, offset, "{operators}");
    }
}

#[test]
fn endless_recursion_uses_up_the_stack() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (func $down (param i32) (result i32)
            (i32.add (i32.const 1) (call $down (i32.add (local.get 0) (i32.const 1)))))
          (func (export "kernel") (param i32 i32 i32)
            (if (i32.ge_u (local.get 0) (i32.const 777)) (then (drop (call $down (local.get 0)))))))"#,
    );
    let trap = guest.trap("kernel", 100_000, &[]);
    assert_eq!((trap.kind, trap.iteration, trap.at.function), (TrapKind::StackOverflow, 777, 0));
    guest.launch("kernel", 777, &[]).unwrap();
}

#[test]
fn buffers_trap_outside_their_rights_and_bounds() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (func (export "store") (param i32 i32 i32 i32 i32)
            (i32.store (i32.add (local.get 3) (i32.mul (local.get 0) (i32.const 4))) (local.get 0)))
          (func (export "load") (param i32 i32 i32 i32 i32)
            (drop (i32.load (i32.add (local.get 3) (i32.mul (local.get 0) (i32.const 4))))))
          (func (export "fill") (param i32 i32 i32 i32 i32)
            (memory.fill (local.get 3) (i32.const 7) (local.get 4)))
          (func (export "follow") (param i32 i32 i32 i32 i32)
            (drop (i32.load (i32.load (local.get 3))))))"#,
    );
    let read = guest.buffer(65536, Access::Read);
    let trap = guest.trap("store", 100, &[read]);
    assert_eq!((trap.kind, trap.iteration), (TrapKind::OutOfBounds, 0));
    assert_eq!(trap.at.offset, guest.operator_offset("store", 6));
    assert_eq!(guest.trap("fill", 1, &[read]).kind, TrapKind::OutOfBounds);
    guest.launch("load", 16384, &[read]).unwrap();
    assert_eq!(guest.trap("load", 20_000, &[read]).iteration, 16384);
    let write = guest.buffer(65536, Access::Write);
    guest.launch("load", 16384, &[write]).unwrap();
    guest.launch("fill", 1, &[write]).unwrap();
    assert_eq!(guest.words(write), [0x0707_0707; 16384]);
    assert_eq!(guest.trap("store", 20_000, &[write]).iteration, 16384);
    // A buffer of another launch is not there, though its address is known.
    let other = guest.buffer(65536, Access::ReadWrite);
    let pointer = guest.buffer_of(&[other.address], Access::Read);
    assert_eq!(guest.trap("follow", 1, &[pointer]).kind, TrapKind::OutOfBounds);
    assert_eq!(guest.trap("follow", 1, &[pointer]).at.offset, guest.operator_offset("follow", 2), "the second load");
    let empty = guest.buffer(0, Access::ReadWrite);
    assert_eq!(guest.trap("load", 1, &[empty]).kind, TrapKind::OutOfBounds);
    guest.launch("fill", 100, &[empty]).unwrap();
}

#[test]
fn a_call_that_never_comes_back_is_a_trap() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (import "host" "print" (func $print (param i32)))
          (func $panic (param i32) (call $print (local.get 0)) unreachable)
          (func (export "kernel") (param i32 i32 i32)
            (if (i32.eq (local.get 0) (i32.const 40)) (then (call $panic (i32.const 1)) unreachable))))"#,
    );
    let trap = guest.trap("kernel", 100, &[]);
    assert_eq!((trap.iteration, trap.kind), (40, TrapKind::Unreachable));
    assert_eq!(trap.at.offset, guest.operator_offset("kernel", 6), "the `unreachable` behind the call");
}

#[test]
fn host_calls_and_growth_need_the_caller() {
    let kernel = |operators: &str| {
        format!(
            r#"(module (import "host" "print" (func $print (param i32)))
              (memory (export "memory") 1) (data $d "abc") (table $t (export "t") 1 funcref)
              (func $inner (param i32) {operators})
              (func (export "kernel") (param i32 i32 i32) (call $inner (local.get 0))))"#
        )
    };
    for (operators, number, what) in [
        ("local.get 0 call $print", 1, "calls the host function `print` of `host`"),
        ("i32.const 1 memory.grow drop", 1, "has `memory.grow`"),
        ("i32.const 0 i32.const 0 i64.const 0 memory.atomic.wait32 drop", 3, "has `memory.atomic.wait`"),
        ("table.size $t drop", 0, "has an operator on a table"),
        ("ref.null func drop", 0, "has an operator on references"),
    ] {
        let mut guest = Guest::new(&parallel(), &kernel(operators));
        let reason = guest.reason("kernel", 10, &[]);
        let code = guest.module.wasm.body(1).unwrap().get_operators_reader().unwrap().into_iter_with_offsets();
        let offset = code.map(|operator| operator.unwrap().1).nth(number).unwrap();
        assert!(reason.contains("`inner`"), "{reason}");
        assert!(reason.contains(what) && reason.contains(&format!("byte offset {offset:#x}")), "{reason}");
    }
}
