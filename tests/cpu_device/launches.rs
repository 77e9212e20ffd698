//! Every invocation runs once, with the right arguments, globals, tables and stack.

use wavelift::device::{Access, DeviceKind, TrapKind, cpu};

use crate::support::{Guest, parallel};

const COUNT: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "count") (param $id i32) (param $n i32) (param $block i32) (param $p i32) (param $len i32)
    ;; The kernel writes its parameters: the next iteration must not see that.
    (local.set $p (i32.add (local.get $p) (i32.shl (local.get $id) (i32.const 2))))
    (i32.store (local.get $p)
      (i32.add (i32.load (local.get $p))
        (i32.add (i32.mul (local.get $id) (i32.const 3)) (i32.add (local.get $n) (local.get $block)))))
    (local.set $n (i32.const 0))
    (local.set $block (i32.const 0))))"#;

#[test]
fn every_iteration_runs_once() {
    for device in [parallel(), cpu::sequential(), cpu::all_cores()] {
        let mut guest = Guest::new(&device, COUNT);
        for n in [1, 63, 1000, 1_000_003] {
            let buffer = guest.buffer(n * 4, Access::ReadWrite);
            guest.launch("count", n, &[buffer]).unwrap();
            let expected: Vec<u32> = (0..n).map(|id| id * 3 + n + 7).collect();
            assert!(guest.words(buffer) == expected, "{n} iterations on {:?}", device.info().kind);
        }
    }
}

#[test]
fn saxpy_is_exact() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (func (export "saxpy") (param i32 i32 i32) (param $x i32) (param i32) (param $y i32) (param i32) (local $at i32)
            (local.set $at (i32.mul (local.get 0) (i32.const 4)))
            (f32.store (i32.add (local.get $y) (local.get $at))
              (f32.add (f32.mul (f32.const 1.7) (f32.load (i32.add (local.get $x) (local.get $at))))
                       (f32.load (i32.add (local.get $y) (local.get $at)))))))"#,
    );
    let n = 10_000u32;
    let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.37).collect();
    let y: Vec<f32> = (0..n).map(|i| 5.0 - i as f32 * 0.11).collect();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let buffer_x = guest.buffer_of(&bits(&x), Access::Read);
    let buffer_y = guest.buffer_of(&bits(&y), Access::ReadWrite);
    guest.launch("saxpy", n, &[buffer_x, buffer_y]).unwrap();
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 1.7 * x + y).collect();
    assert_eq!(guest.words(buffer_y), bits(&expected));
    // One buffer listed twice is one buffer.
    guest.launch("saxpy", n, &[buffer_y, buffer_y]).unwrap();
    let twice: Vec<f32> = expected.iter().map(|y| 1.7 * y + y).collect();
    assert_eq!(guest.words(buffer_y), bits(&twice));
}

#[test]
fn all_iteration_ids_run_up_to_the_largest_count() {
    // Stores the highest id seen; 2^32 - 1 invocations in a bound of time that holds on any machine.
    for device in [parallel(), cpu::sequential()] {
        let mut guest = Guest::new(
            &device,
            r#"(module (memory (export "memory") 1)
              (func (export "last") (param i32 i32 i32 i32 i32)
                (br_if 0 (i32.ne (i32.add (local.get 0) (i32.const 1)) (local.get 1)))
                (i32.store (local.get 3) (local.get 0))))"#,
        );
        let buffer = guest.buffer(4, Access::Write);
        guest.launch("last", u32::MAX, &[buffer]).unwrap();
        assert_eq!(guest.words(buffer), [u32::MAX - 1]);
    }
}

#[test]
fn every_way_out_of_a_kernel_ends_one_invocation() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (func $store (param i32 i32 i32 i32 i32)
            (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
              (i32.add (i32.load (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))) (i32.const 1))))
          (func (export "exits") (param i32 i32 i32 i32 i32) (local $fresh i32)
            (if (local.get $fresh) (then unreachable))
            (local.set $fresh (i32.const 1))
            (call $store (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))
            (block $out
              (loop $again
                (br_table $out 2 2 2 (i32.and (local.get 0) (i32.const 3)))))
            (if (i32.and (local.get 0) (i32.const 4)) (then (loop (block (return)))))
            (if (i32.and (local.get 0) (i32.const 8)) (then
              (return_call $store (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))))))"#,
    );
    let buffer = guest.buffer(4 * 64, Access::ReadWrite);
    guest.launch("exits", 64, &[buffer]).unwrap();
    // The tail call runs where bit 3 is set and neither bit 2 nor the early way out was taken.
    let expected: Vec<u32> = (0..64).map(|id| if id & 3 == 0 && id & 4 == 0 && id & 8 != 0 { 2 } else { 1 }).collect();
    assert_eq!(guest.words(buffer), expected);
}

const INDIRECT: &str = r#"(module
  (type $unary (func (param i32) (result i32)))
  (import "host" "log" (func $log (param i32) (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 8 funcref)
  (elem (i32.const 1) $double $square $wrong $wild)
  (func $double (export "double") (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (export "square") (type $unary) (i32.mul (local.get 0) (local.get 0)))
  (func $wrong (export "wrong") (param i64))
  ;; Never called in these tests, but its type fits.
  (func $wild (export "wild") (type $unary) (drop (memory.grow (local.get 0))) (call $log (local.get 0)))
  (func (export "swap") (table.set (i32.const 1) (ref.func $square)))
  (func (export "kernel") (param i32 i32 i32) (param $out i32) (param i32) (param $which i32) (param i32)
    (i32.store (i32.add (local.get $out) (i32.shl (local.get 0) (i32.const 2)))
      (call_indirect (type $unary) (local.get 0) (i32.load (local.get $which))))))"#;

#[test]
fn indirect_calls_use_the_present_table() {
    let mut guest = Guest::new(&parallel(), INDIRECT);
    let out = guest.buffer(400, Access::Write);
    let which = guest.buffer_of(&[1], Access::Read);
    guest.launch("kernel", 100, &[out, which]).unwrap();
    assert_eq!(guest.words(out), (0..100).map(|id| id * 2).collect::<Vec<_>>());
    let swap = guest.instance.get_typed_func::<(), ()>(&mut guest.store, "swap").unwrap();
    swap.call(&mut guest.store, ()).unwrap();
    guest.launch("kernel", 100, &[out, which]).unwrap();
    assert_eq!(guest.words(out), (0..100).map(|id| id * id).collect::<Vec<_>>());
}

#[test]
fn indirect_calls_trap_as_in_wasm() {
    let mut guest = Guest::new(&parallel(), INDIRECT);
    let out = guest.buffer(400, Access::Write);
    for (entry, kind) in [
        (0, TrapKind::NullTableEntry),
        (3, TrapKind::IndirectCallType),
        (7, TrapKind::NullTableEntry),
        (8, TrapKind::TableOutOfBounds),
        (u32::MAX, TrapKind::TableOutOfBounds),
    ] {
        let which = guest.buffer_of(&[entry], Access::Read);
        let trap = guest.trap("kernel", 100, &[out, which]);
        assert_eq!((trap.kind, trap.iteration, trap.at.function), (kind, 0, guest.kernel("kernel")), "entry {entry}");
    }
}

#[test]
fn what_an_indirect_call_should_not_have_done_is_undone() {
    let mut guest = Guest::new(&parallel(), INDIRECT);
    let out = guest.buffer_of(&[9; 100], Access::Write);
    let which = guest.buffer_of(&[4], Access::Read);
    let reason = guest.reason("kernel", 100, &[out, which]);
    assert!(reason.contains("`wild`") && reason.contains("memory.grow"), "{reason}");
    assert_eq!(guest.words(out), [9; 100]);
    let again = guest.reason("kernel", 100, &[out, which]);
    assert_eq!(again, reason);
}

#[test]
fn globals_are_private_to_an_invocation() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (global $counter (export "counter") (mut i32) (i32.const 5))
          (global $wide (export "wide") (mut i64) (i64.const 0x1_0000_0000))
          (global $fixed i32 (i32.const 100))
          (func (export "set") (param i32) (global.set $counter (local.get 0)))
          (func (export "kernel") (param i32 i32 i32 i32 i32)
            (global.set $counter (i32.add (global.get $counter) (local.get 0)))
            (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
              (i32.add (i32.add (global.get $counter) (global.get $fixed))
                       (i32.wrap_i64 (i64.shr_u (global.get $wide) (i64.const 32)))))))"#,
    );
    let buffer = guest.buffer(4000, Access::Write);
    guest.launch("kernel", 1000, &[buffer]).unwrap();
    assert_eq!(guest.words(buffer), (0..1000).map(|id| 106 + id).collect::<Vec<_>>());
    let set = guest.instance.get_typed_func::<i32, ()>(&mut guest.store, "set").unwrap();
    set.call(&mut guest.store, 50).unwrap();
    guest.launch("kernel", 1000, &[buffer]).unwrap();
    assert_eq!(guest.words(buffer), (0..1000).map(|id| 151 + id).collect::<Vec<_>>());
    let counter = guest.instance.get_global(&mut guest.store, "counter").unwrap();
    assert_eq!(counter.get(&mut guest.store).i32(), Some(50), "what a kernel writes is dropped");
}

/// Each invocation fills a frame with its id, does it again to be caught by others, and sums it up.
fn stack_kernel(global: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 2)
          (global {global} (export "sp") (mut i32) (i32.const 65536))
          (func $fill (param $frame i32) (param $id i32) (local $i i32)
            (loop $next
              (i32.store (i32.add (local.get $frame) (local.get $i)) (local.get $id))
              (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 256)))))
          (func (export "kernel") (param i32 i32 i32 i32 i32) (local $frame i32) (local $i i32) (local $sum i32)
            (global.set 0 (local.tee $frame (i32.sub (global.get 0) (i32.const 256))))
            (call $fill (local.get $frame) (local.get 0))
            (loop $next
              (local.set $sum (i32.add (local.get $sum) (i32.load (i32.add (local.get $frame) (local.get $i)))))
              (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 256))))
            (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2))) (local.get $sum))
            (global.set 0 (i32.add (local.get $frame) (i32.const 256)))))"#
    )
}

#[test]
fn stacks_are_private_to_a_worker() {
    for global in ["$__stack_pointer", ""] {
        let mut guest = Guest::new(&parallel(), &stack_kernel(global));
        let n = 200_000;
        let buffer = guest.buffer(n * 4, Access::Write);
        for _ in 0..3 {
            guest.launch("kernel", n, &[buffer]).unwrap();
            let wrong = guest.words(buffer).iter().zip(0u32..).filter(|(sum, id)| **sum != id * 64).count();
            assert_eq!(wrong, 0, "stack pointer {global:?}");
        }
        assert_eq!(guest.word(65536 - 256), 0, "the guest's own stack is left alone");
    }
}

/// AssemblyScript's code checks at the start of each function that its stack has room left, as signed numbers.
#[test]
fn stacks_lie_where_signed_checks_of_their_bounds_hold() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 2)
          (global $sp (export "sp") (mut i32) (i32.const 67952))
          (func (export "kernel") (param i32 i32 i32 i32 i32) (local $frame i32)
            (global.set $sp (i32.sub (global.get $sp) (i32.const 4)))
            (if (i32.lt_s (global.get $sp) (i32.const 35184)) (then (unreachable)))
            (i32.store (local.tee $frame (global.get $sp)) (local.get 0))
            (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2))) (i32.load (local.get $frame)))
            (global.set $sp (i32.add (global.get $sp) (i32.const 4)))))"#,
    );
    let buffer = guest.buffer(4000, Access::Write);
    guest.launch("kernel", 1000, &[buffer]).unwrap();
    assert_eq!(guest.words(buffer), (0..1000).collect::<Vec<_>>());
}

/// Linear memory that grows to where the workers' stacks lay is linear memory there, and they are elsewhere.
#[test]
fn stacks_make_way_for_linear_memory() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 2)
          (global $__stack_pointer (export "sp") (mut i32) (i32.const 65536))
          (func (export "where") (param i32 i32 i32 i32 i32)
            (i32.store (local.get 3) (i32.sub (global.get 0) (i32.const 64))))
          (func (export "grow") (result i32) (memory.grow (i32.const 32765)))
          (func (export "kernel") (param i32 i32 i32 i32 i32) (local $frame i32)
            (i32.store (i32.sub (global.get 0) (i32.const 64)) (i32.const 9))
            (i32.store offset=4 (local.get 3) (i32.load (i32.load (local.get 3))))
            (i32.store offset=8 (local.get 3) (i32.load (i32.sub (global.get 0) (i32.const 64))))
            (i32.store (i32.load (local.get 3)) (i32.const 5))))"#,
    );
    let buffer = guest.buffer(12, Access::ReadWrite);
    guest.launch("where", 1, &[buffer]).unwrap();
    let place = guest.words(buffer)[0];
    assert!(place < 1 << 31, "{place:#x}");
    let grow = guest.instance.get_typed_func::<(), i32>(&mut guest.store, "grow").unwrap();
    assert_eq!(grow.call(&mut guest.store, ()).unwrap(), 2);
    guest.launch("kernel", 1, &[buffer]).unwrap();
    assert_eq!(guest.words(buffer)[1..], [0, 9]);
    assert_eq!(guest.word(place), 5, "what was the stack is linear memory");
    guest.launch("where", 1, &[buffer]).unwrap();
    assert_ne!(guest.words(buffer)[0], place);
}

#[test]
fn a_counter_is_no_stack_pointer() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (global $left (export "left") (mut i32) (i32.const 41))
          (global $base (export "base") (mut i32) (i32.const 1000))
          (data (i32.const 1004) "\07")
          (func (export "kernel") (param i32 i32 i32 i32 i32) (local $n i32)
            (global.set $left (local.tee $n (i32.sub (global.get $left) (i32.const 1))))
            (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
              (i32.add (local.get $n) (i32.load offset=4 (global.get $base))))))"#,
    );
    let buffer = guest.buffer(400, Access::Write);
    guest.launch("kernel", 100, &[buffer]).unwrap();
    assert_eq!(guest.words(buffer), [47; 100]);
}

#[test]
fn two_globals_that_could_be_the_stack_pointer_need_the_caller() {
    let wat = |names: [&str; 2]| {
        format!(
            r#"(module (memory (export "memory") 1)
              (global {} (export "a") (mut i32) (i32.const 4096)) (global {} (export "b") (mut i32) (i32.const 8192))
              (func (export "kernel") (param i32 i32 i32)
                (i32.store (i32.sub (global.get 0) (i32.const 16)) (local.get 0))
                (i32.store (i32.add (global.get 1) (i32.const -16)) (local.get 0))))"#,
            names[0], names[1]
        )
    };
    let mut guest = Guest::new(&parallel(), &wat(["", ""]));
    assert!(guest.reason("kernel", 1, &[]).contains("__stack_pointer"));
    let mut guest = Guest::new(&parallel(), &wat(["$__stack_pointer", ""]));
    guest.launch("kernel", 1, &[]).unwrap();
    let mut guest = Guest::new(&parallel(), &wat(["", "$__stack_pointer"]));
    guest.launch("kernel", 5, &[]).unwrap();
    assert_eq!(guest.word(8192 - 16), 0, "the stack is elsewhere");
}

#[test]
fn a_kernel_that_leaves_no_room_for_the_loop_needs_the_caller() {
    let locals = |count: usize| {
        format!(r#"(module (func (export "kernel") (param i32 i32 i32) (local {})))"#, "i32 ".repeat(count))
    };
    let mut guest = Guest::new(&parallel(), &locals(49_997));
    assert!(guest.reason("kernel", 1, &[]).contains("too large"));
    let mut guest = Guest::new(&parallel(), &locals(10_000));
    guest.launch("kernel", 10, &[]).unwrap();
}

#[test]
fn devices_say_what_they_are() {
    let cpu = cpu::all_cores_with(4);
    assert_eq!((cpu.info().kind, cpu.info().name.as_str()), (DeviceKind::Cpu, "CPU (4 threads)"));
    assert_eq!(cpu::sequential().info().kind, DeviceKind::Sequential);
    assert!(cpu.info().int64 && cpu.info().float64 && cpu.info().max_buffers == 498);
}

const MANDELBROT: &str = r#"(module (memory (export "memory") 1)
  (func (export "kernel") (param $id i32) (param i32 i32) (param $out i32) (param i32)
    (local $cx f32) (local $cy f32) (local $x f32) (local $y f32) (local $t f32) (local $i i32)
    (local.set $cx (f32.sub (f32.mul (f32.convert_i32_u (i32.and (local.get $id) (i32.const 1023))) (f32.const 0.0029)) (f32.const 2)))
    (local.set $cy (f32.sub (f32.mul (f32.convert_i32_u (i32.shr_u (local.get $id) (i32.const 10))) (f32.const 0.0029)) (f32.const 1.5)))
    (block $done (loop $next
      (br_if $done (f32.gt (f32.add (f32.mul (local.get $x) (local.get $x)) (f32.mul (local.get $y) (local.get $y))) (f32.const 4)))
      (local.set $t (f32.add (f32.sub (f32.mul (local.get $x) (local.get $x)) (f32.mul (local.get $y) (local.get $y))) (local.get $cx)))
      (local.set $y (f32.add (f32.mul (f32.mul (f32.const 2) (local.get $x)) (local.get $y)) (local.get $cy)))
      (local.set $x (local.get $t))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 256)))))
    (i32.store (i32.add (local.get $out) (i32.shl (local.get $id) (i32.const 2))) (local.get $i))))"#;

#[test]
#[ignore = "measures; needs idle cores"]
fn all_cores_are_faster_than_one() {
    let best = |device| {
        let mut guest = Guest::new(&device, MANDELBROT);
        let out = guest.buffer(4 << 20, Access::Write);
        let times = (0..15).map(|_| guest.launch("kernel", 1 << 20, &[out]).unwrap().run).collect::<Vec<_>>();
        (times.into_iter().min().unwrap(), guest.words(out))
    };
    let (sequential, expected) = best(cpu::sequential());
    let (parallel, words) = best(cpu::all_cores());
    assert!(words == expected);
    let ratio = sequential.as_secs_f64() / parallel.as_secs_f64();
    println!("sequential {sequential:?}, all cores {parallel:?}, ratio {ratio:.2}");
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    assert!(ratio > 0.7 * cores, "{cores} cores are only {ratio:.2} times as fast as one");
}
