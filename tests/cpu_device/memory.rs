//! Linear memory and buffers: who sees what.

use wavelift::device::{Access, BufferId, BufferSpec, TrapKind, cpu};
use wavelift::memory::AddressSpace;

use crate::support::{Guest, parallel};

const MARK: &str = r#"(module (memory (export "memory") 1)
  (data (i32.const 100) "\01\02\03\04")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "poke") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "pages") (param i32 i32 i32 i32 i32) (i32.store (local.get 3) (memory.size)))
  ;; Adds what linear memory has at 100 to each element, and leaves a mark in linear memory.
  (func (export "mark") (param i32 i32 i32 i32 i32)
    (i32.store (i32.add (local.get 3) (i32.shl (local.get 0) (i32.const 2)))
      (i32.add (local.get 0) (i32.load (i32.const 100))))
    (i32.store (i32.add (i32.const 1024) (i32.shl (local.get 0) (i32.const 2))) (i32.add (local.get 0) (i32.const 1))))
  (func (export "move") (param i32 i32 i32 i32 i32)
    (memory.copy (local.get 3) (i32.const 1024) (local.get 4))
    (memory.fill (i32.const 1024) (i32.const 0xff) (local.get 4))))"#;

#[test]
fn kernels_and_the_guest_share_linear_memory() {
    for device in [parallel(), cpu::sequential()] {
        for mut guest in [Guest::new(&device, MARK), Guest::detached(&device, MARK)] {
            let buffer = guest.buffer(4000, Access::ReadWrite);
            guest.launch("mark", 1000, &[buffer]).unwrap();
            assert_eq!(guest.words(buffer), (0..1000).map(|id| id + 0x0403_0201).collect::<Vec<_>>());
            assert_eq!((guest.word(1024), guest.word(1024 + 999 * 4)), (1, 1000));
            let poke = guest.instance.get_typed_func::<(i32, i32), ()>(&mut guest.store, "poke").unwrap();
            poke.call(&mut guest.store, (100, 7)).unwrap();
            guest.launch("mark", 1000, &[buffer]).unwrap();
            assert_eq!(guest.words(buffer)[999], 1006);
            guest.launch("move", 1, &[buffer]).unwrap();
            assert_eq!(guest.words(buffer), (1..=1000).collect::<Vec<_>>());
            assert_eq!((guest.word(1024), guest.word(1020)), (u32::MAX, 0));
        }
    }
}

#[test]
fn kernels_see_memory_grow() {
    for mut guest in [Guest::new(&parallel(), MARK), Guest::detached(&parallel(), MARK)] {
        let buffer = guest.buffer(4, Access::ReadWrite);
        guest.launch("pages", 1, &[buffer]).unwrap();
        assert_eq!(guest.words(buffer), [1]);
        let grow = guest.instance.get_typed_func::<i32, i32>(&mut guest.store, "grow").unwrap();
        assert_eq!(grow.call(&mut guest.store, 2).unwrap(), 1);
        guest.launch("pages", 1, &[buffer]).unwrap();
        assert_eq!(guest.words(buffer), [3]);
        // Element 40,000 marks the byte 161,024, which was beyond the old end.
        let large = guest.buffer(40_001 * 4, Access::Write);
        guest.launch("mark", 40_001, &[large]).unwrap();
        assert_eq!(guest.word(1024 + 160_000), 40_001);
    }
}

#[test]
fn memory_does_not_grow_into_a_buffer() {
    let mut guest = Guest::new(&parallel(), MARK);
    let grow = guest.instance.get_typed_func::<i32, i32>(&mut guest.store, "grow").unwrap();
    let buffer = guest.buffer(1 << 30, Access::ReadWrite);
    assert_eq!(buffer.address, (3 << 30) - 65536);
    let below = (buffer.address >> 16) as i32;
    assert_eq!(grow.call(&mut guest.store, below).unwrap(), -1);
    assert_eq!(grow.call(&mut guest.store, below - 1).unwrap(), 1);
    assert_eq!(guest.space.allocate(1, 0), None, "and no buffer is placed in linear memory");
    guest.context.free_buffer(buffer.id);
    guest.space.release(buffer.address, buffer.size);
    assert_eq!(grow.call(&mut guest.store, 1).unwrap(), below);
}

#[test]
fn released_memory_is_zero_when_it_is_used_again() {
    let mut guest = Guest::new(&parallel(), MARK);
    let first = guest.buffer_of(&[0xdead_beef; 1000], Access::ReadWrite);
    guest.launch("mark", 1000, &[first]).unwrap();
    guest.context.free_buffer(first.id);
    guest.space.release(first.address, first.size);
    let second = guest.buffer(4000, Access::ReadWrite);
    assert_eq!(second.address, first.address);
    assert_eq!(guest.words(second), [0; 1000]);
    guest.context.read_buffer(first.id, 0, &mut [0; 4]).unwrap_err();
}

#[test]
fn a_kernel_in_the_callers_instance_reaches_exposed_buffers_only() {
    let mut guest = Guest::new(
        &parallel(),
        r#"(module (memory (export "memory") 1)
          (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
          (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 5))))"#,
    );
    let shown = guest.buffer_of(&[1, 2, 3], Access::ReadWrite);
    let read = guest.buffer_of(&[4, 5, 6], Access::Read);
    let load = guest.instance.get_typed_func::<i32, i32>(&mut guest.store, "load").unwrap();
    let store = guest.instance.get_typed_func::<i32, ()>(&mut guest.store, "store").unwrap();
    let at = |buffer: BufferSpec| (buffer.address + 4) as i32;
    load.call(&mut guest.store, at(shown)).unwrap_err();
    guest.space.expose(&[shown, read]).unwrap();
    assert_eq!(load.call(&mut guest.store, at(shown)).unwrap(), 2);
    assert_eq!(load.call(&mut guest.store, at(read)).unwrap(), 5);
    store.call(&mut guest.store, at(shown)).unwrap();
    store.call(&mut guest.store, at(read)).unwrap_err();
    guest.space.hide(&[shown, read]);
    load.call(&mut guest.store, at(shown)).unwrap_err();
    assert_eq!(guest.words(shown), [1, 5, 3]);
    let detached = AddressSpace::detached().unwrap();
    assert!(detached.is_detached());
    detached.expose(&[shown]).unwrap_err();
}

#[test]
fn guests_do_not_see_each_other() {
    let device = parallel();
    let (mut one, mut two) = (Guest::new(&device, MARK), Guest::new(&device, MARK));
    let (a, b) = (one.buffer(4000, Access::ReadWrite), two.buffer(4000, Access::ReadWrite));
    assert_eq!(a.address, b.address);
    let repeat = |guest: &mut Guest, n, buffer| {
        for _ in 0..50 {
            guest.launch("mark", n, &[buffer]).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| repeat(&mut one, 1000, a));
        scope.spawn(|| repeat(&mut two, 500, b));
    });
    assert_eq!((one.words(a)[999], two.words(b)[500]), (999 + 0x0403_0201, 0));
    assert_eq!((one.word(1024 + 999 * 4), two.word(1024 + 500 * 4)), (1000, 0));
}

#[test]
fn addresses_far_apart_and_out_of_range_are_refused() {
    let space = AddressSpace::detached().unwrap();
    space.write(u32::MAX, &[1, 2]).unwrap_err();
    space.write(u32::MAX, &[1]).unwrap();
    let mut byte = [0];
    space.read(u32::MAX, &mut byte).unwrap();
    assert_eq!(byte, [1]);
    let mut guest = Guest::new(&parallel(), MARK);
    let buffer = guest.buffer(16, Access::ReadWrite);
    guest.context.write_buffer(buffer.id, 13, &[0; 4]).unwrap_err();
    guest.context.write_buffer(BufferId(u64::MAX), 0, &[0; 4]).unwrap_err();
    let huge = BufferSpec { id: BufferId(u64::MAX), address: u32::MAX - 255, size: u32::MAX, access: Access::Read };
    assert!(guest.launch("pages", 1, &[huge]).is_err(), "a range beyond the space is an error, not a crash");
    // 16 bytes at a multiple of 256 end 240 bytes before their page does.
    let trap = guest.trap("mark", 1000, &[buffer]);
    assert_eq!((trap.kind, trap.iteration), (TrapKind::OutOfBounds, 64));
}
