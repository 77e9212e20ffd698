//! Short launches, which run on the calling thread alone, and launches that equal the one before.

use wasmtime::Val;
use wavelift::device::{Access, TrapKind, cpu};

use crate::support::{Guest, parallel};

/// Does nothing while the first word of `p` is 0. Else the first two invocations take their time, the third waits, not for ever,
/// until the last one has run, and says in its word of `q` whether that did; those from the second word of `p` on trap.
const UNEVEN: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "uneven") (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $pl i32) (param $q i32)
      (param $ql i32) (local $left i32)
    (br_if 0 (i32.eqz (i32.load (local.get $p))))
    (if (i32.lt_u (local.get $i) (i32.const 2)) (then
      (local.set $left (i32.const 3000000))
      (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
    (if (i32.ge_u (local.get $i) (i32.load offset=4 (local.get $p))) (then unreachable))
    (if (i32.eq (local.get $i) (i32.const 2)) (then
      (local.set $left (i32.const 1000000000))
      (loop $again
        (if (i32.eqz (i32.atomic.load offset=64 (local.get $q))) (then
          (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
      (i32.store offset=8 (local.get $q) (i32.atomic.load offset=64 (local.get $q)))))
    (if (i32.eq (local.get $i) (i32.const 15)) (then (i32.atomic.store offset=64 (local.get $q) (i32.const 1))))))"#;

#[test]
fn a_launch_that_takes_longer_than_those_before_gets_help() {
    let device = cpu::open(&cpu::CpuOptions { threads: Some(3), fuel: None, ..cpu::CpuOptions::default() });
    let mut guest = Guest::new(&device, UNEVEN);
    let q = guest.buffer(68, Access::ReadWrite);
    let [nothing, all, some] = [[0, 0], [1, u32::MAX], [1, 5]].map(|words| guest.buffer_of(&words, Access::Read));
    let short = |guest: &mut Guest| (0..20).for_each(|_| _ = guest.launch("uneven", 16, &[nothing, q]).unwrap());
    short(&mut guest);
    guest.launch("uneven", 16, &[all, q]).unwrap();
    assert_eq!(guest.words(q)[2], 1, "nobody else ran the last invocation");
    for _ in 0..5 {
        short(&mut guest);
        let trap = guest.trap("uneven", 16, &[some, q]);
        assert_eq!((trap.iteration, trap.kind), (5, TrapKind::Unreachable));
    }
}

/// Stores a global, the size of linear memory and a word of it, and writes the global for itself.
const STATE: &str = r#"(module
  (memory (export "memory") 1)
  (global $g (export "g") (mut i64) (i64.const 1))
  (global $h (export "h") (mut f32) (f32.const 2))
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (func (export "state") (param $i i32) (param $n i32) (param $b i32) (param $q i32) (param $ql i32)
    (i64.store (local.get $q) (global.get $g))
    (global.set $g (i64.const 99))
    (f32.store offset=8 (local.get $q) (global.get $h))
    (i32.store offset=12 (local.get $q) (memory.size))
    (i32.store offset=16 (local.get $q) (i32.load (i32.const 0)))))"#;

#[test]
fn what_changes_between_equal_launches_is_seen() {
    for device in [parallel(), cpu::sequential()] {
        let mut guest = Guest::new(&device, STATE);
        let [first, second] = [(); 2].map(|()| guest.buffer(20, Access::ReadWrite));
        let (mut g, mut h, mut pages, mut word) = (1u64, 2.0f32, 1u32, 0u32);
        for step in 0..40u32 {
            match step % 5 {
                0 => {}
                1 => {
                    g = u64::from(step) << 32 | 7;
                    let global = guest.instance.get_global(&mut guest.store, "g").unwrap();
                    global.set(&mut guest.store, Val::I64(g as i64)).unwrap();
                }
                2 => {
                    h = step as f32;
                    let global = guest.instance.get_global(&mut guest.store, "h").unwrap();
                    global.set(&mut guest.store, Val::F32(h.to_bits())).unwrap();
                }
                3 => {
                    pages += 1;
                    let grow = guest.instance.get_func(&mut guest.store, "grow").unwrap();
                    grow.call(&mut guest.store, &[], &mut []).unwrap();
                }
                _ => {
                    word = step;
                    guest.memory().write(&mut guest.store, 0, &step.to_le_bytes()).unwrap();
                }
            }
            let buffer = if step % 3 == 0 { first } else { second };
            guest.launch("state", 1 + step % 2, &[buffer]).unwrap();
            let expected = [g as u32, (g >> 32) as u32, h.to_bits(), pages, word];
            assert_eq!(guest.words(buffer), expected, "step {step}");
        }
    }
}

/// Invocations that all change one word run on one thread for a while, on all, or on one to the end, as they are found to be fastest:
/// each runs once.
#[test]
fn invocations_that_contend_run_once() {
    const COUNT: u32 = 60_000;
    let text = r#"(module (memory (export "memory") 1)
      (func (export "take") (param $i i32) (param i32 i32) (param $next i32) (param i32) (param $taken i32) (param i32)
        (i32.store (i32.add (local.get $taken) (i32.shl (i32.atomic.rmw.add (local.get $next) (i32.const 1)) (i32.const 2)))
          (i32.add (local.get $i) (i32.const 1)))))"#;
    let mut guest = Guest::new(&parallel(), text);
    let next = guest.buffer(4, Access::ReadWrite);
    let taken = guest.buffer(COUNT * 4, Access::ReadWrite);
    for launch in 0..40 {
        guest.context.write_buffer(next.id, 0, &[0; 4]).unwrap();
        guest.context.write_buffer(taken.id, 0, &vec![0; COUNT as usize * 4]).unwrap();
        guest.launch("take", COUNT, &[next, taken]).unwrap();
        let mut ids = guest.words(taken);
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=COUNT), "launch {launch}");
    }
}
