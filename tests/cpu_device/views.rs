//! What workers show kernels: the buffers of a launch and no others, whatever launches came before.

use wavelift::device::{Access, BufferSpec, TrapKind, cpu};

use crate::support::{Guest, parallel};

/// `peek` brings the word at the address in its last buffer to the first one's word of the id; `poke` stores the id there.
const KERNELS: &str = r#"(module (memory (export "memory") 1)
  (func (export "peek") (param $id i32) (param i32 i32) (param $to i32) (param i32) (param $at i32) (param i32)
    (i32.store (i32.add (local.get $to) (i32.shl (local.get $id) (i32.const 2)))
      (i32.load (i32.load (local.get $at)))))
  (func (export "poke") (param $id i32) (param i32 i32) (param $to i32) (param i32) (param $at i32) (param i32)
    (i32.store (i32.load (local.get $at)) (local.get $id))))"#;

/// Words of a buffer so large that another view is taken rather than hiding it.
const LARGE: usize = 100_000;

fn release(guest: &mut Guest, buffer: BufferSpec) {
    guest.context.free_buffer(buffer.id);
    guest.space.release(buffer.address, buffer.size);
}

#[test]
fn launches_on_more_buffers_in_turns_than_there_are_views() {
    for device in [parallel(), cpu::sequential()] {
        let mut guest = Guest::new(&device, KERNELS);
        let large: Vec<_> = (0..12).map(|n| guest.buffer_of(&vec![n; LARGE], Access::ReadWrite)).collect();
        let at = guest.buffer_of(&[0], Access::ReadWrite);
        for round in 0..3 {
            for (n, buffer) in large.iter().enumerate() {
                guest.context.write_buffer(at.id, 0, &(buffer.address + 8).to_le_bytes()).unwrap();
                guest.launch("peek", 2, &[*buffer, at]).unwrap();
                assert_eq!(guest.words(*buffer)[..2], [n as u32; 2], "round {round}");
                // Another one, which launches before had.
                let other = large[(n + 11) % 12];
                assert_eq!(guest.trap("peek", 2, &[other, at]).kind, TrapKind::OutOfBounds);
                assert_eq!(guest.trap("poke", 2, &[other, at]).kind, TrapKind::OutOfBounds);
            }
        }
    }
}

#[test]
fn small_buffers_to_read_stay_and_may_not_be_stored_to() {
    let mut guest = Guest::new(&cpu::sequential(), KERNELS);
    let to = guest.buffer_of(&vec![0; LARGE], Access::ReadWrite);
    let first = guest.buffer_of(&[to.address], Access::Read);
    guest.launch("peek", 1, &[to, first]).unwrap();
    for n in 0..3000 {
        let at = guest.buffer_of(&[first.address], Access::Read);
        // A launch without the first one reads what is there or traps; it may not store there.
        if guest.launch("peek", 1, &[to, at]).is_ok() {
            assert_eq!(guest.words(to)[0], to.address);
        }
        assert_eq!(guest.trap("poke", 1, &[to, at]).kind, TrapKind::OutOfBounds);
        release(&mut guest, at);
        if n % 500 == 0 {
            // In its place there is one that may be stored to, and then one that may not be.
            let own = guest.buffer_of(&[1, 1], Access::ReadWrite);
            guest.context.write_buffer(own.id, 0, &own.address.to_le_bytes()).unwrap();
            guest.launch("poke", 1, &[to, own]).unwrap();
            assert_eq!(guest.words(own), [0, 1]);
            release(&mut guest, own);
        }
    }
}

/// So many small buffers that some must be hidden again.
#[test]
fn more_small_buffers_than_may_stay() {
    let mut guest = Guest::new(&parallel(), KERNELS);
    let to = guest.buffer_of(&[0; 4], Access::ReadWrite);
    let source = guest.buffer_of(&[7], Access::Read);
    let all: Vec<_> = (0..3000).map(|_| guest.buffer_of(&[to.address], Access::Read)).collect();
    for at in all.iter().chain(&all) {
        guest.launch("peek", 3, &[to, *at]).unwrap();
    }
    assert_eq!(guest.words(source), [7]);
}
