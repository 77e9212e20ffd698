//! Loads and stores at the edges of buffers, before and after lowering.

mod lower_support;

use lower_support::*;
use wavelift_translator::ir::interpret::{Buffer, Stop};
use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::{Exit, Function, LowOp, StmtKind, Type, Value, WasmOp};
use wavelift_translator::{Access, BufferParam, Options, Shape, TrapKind};

const LOADS: [(Type, u32, bool); 14] = [
    (Type::I32, 4, false),
    (Type::I64, 8, false),
    (Type::F32, 4, false),
    (Type::F64, 8, false),
    (Type::I32, 1, false),
    (Type::I32, 1, true),
    (Type::I32, 2, false),
    (Type::I32, 2, true),
    (Type::I64, 1, false),
    (Type::I64, 1, true),
    (Type::I64, 2, false),
    (Type::I64, 2, true),
    (Type::I64, 4, false),
    (Type::I64, 4, true),
];

/// Offsets in a buffer, in elements of the kernel's stride: near both ends of small buffers, negative, and wrapping.
const INDICES: [u32; 21] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    12,
    13,
    0x1000_0000,
    0x3fff_ffff,
    0x4000_0000,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX,
    u32::MAX - 1,
    u32::MAX - 3,
    u32::MAX - 7,
];

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 37 + 129) as u8).collect()
}

/// `pointer(0) + iteration * stride`
fn address(k: &mut Kernel, stride: u32) -> Value {
    let (id, pointer, stride) = (k.iteration(), k.pointer(0), k.i32(stride));
    let scaled = k.wasm(WasmOp::I32Mul, &[id, stride]);
    k.wasm(WasmOp::I32Add, &[pointer, scaled])
}

/// Loads from the first buffer and stores in the second.
fn loader(access_: MemoryAccess, stride: u32) -> (Function, Shape) {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let from = address(&mut k, stride);
    let value = k.load(access_, from);
    let to = k.pointer(1);
    k.store(access(access_.ty, 0), to, value);
    (k.finish(), shape)
}

#[test]
fn loads_at_every_edge() {
    for (ty, size, signed) in LOADS {
        for stride in [1, 2, 4] {
            for offset in [0, 1, 2, 4, 7, 0xfffe, 0xffff, 0x1_0000, 0x1_0001, 0x8000_0000, u32::MAX] {
                let access = MemoryAccess { ty, bytes: size, signed, offset, memory: 0, checked: None };
                let (function, shape) = loader(access, stride);
                let lowered = lowered(&function, &shape, &Options::default()).unwrap();
                for length in 0..=13 {
                    let space = space(&shape, &[bytes(length), vec![0; 8]]);
                    for index in INDICES {
                        check_lowered(&function, &lowered, &shape, &space, index);
                    }
                    // What brings an offset back to the buffer.
                    for at in 0..4_u32 {
                        let index = at.wrapping_sub(offset) / stride;
                        check_lowered(&function, &lowered, &shape, &space, index);
                    }
                }
            }
        }
    }
}

#[test]
fn stores_at_every_edge() {
    for (ty, size, stride, offset) in stores() {
        let shape = Shape::distinct(2);
        let mut k = Kernel::new(&shape);
        let (from, to) = (k.pointer(1), address(&mut k, stride));
        let value = k.load(access(ty, 0), from);
        k.store(MemoryAccess { ty, bytes: size, signed: false, offset, memory: 0, checked: None }, to, value);
        let function = k.finish();
        let lowered = lowered(&function, &shape, &Options::default()).unwrap();
        for length in (0..=9).chain([12, 16, 65_536, 65_540]) {
            let space = space(&shape, &[bytes(length), bytes(8)]);
            for index in INDICES.into_iter().chain([16_383, 16_384, 16_385]) {
                check_lowered(&function, &lowered, &shape, &space, index);
            }
        }
    }
}

/// Type, bytes, the address's stride and the static offset.
fn stores() -> Vec<(Type, u32, u32, u32)> {
    let mut stores = Vec::new();
    for (ty, bytes, _) in LOADS.into_iter().filter(|(_, _, signed)| !signed) {
        for stride in [1, 2, 4] {
            for offset in [0, 1, 2, 4, 0xfffc, 0x1_0000, 0xffff_fffc] {
                stores.push((ty, bytes, stride, offset));
            }
        }
    }
    stores
}

/// Where nothing else is said, an address is of linear memory, which ends at a byte of its own.
#[test]
fn linear_memory_at_every_edge() {
    let shape = Shape::distinct(1);
    let mut space = space(&shape, &[bytes(16)]);
    space.linear = bytes(64);
    for (ty, size, stride, offset) in stores() {
        let access =
            MemoryAccess { ty, bytes: size, signed: size < 4 && stride == 1, offset, memory: 0, checked: None };
        let mut k = Kernel::new(&shape);
        let (id, stride, to) = (k.iteration(), k.i32(stride), k.pointer(0));
        let at = k.wasm(WasmOp::I32Mul, &[id, stride]);
        let old = k.load(access, at);
        k.store(MemoryAccess { ty, bytes: ty.bits() / 8, signed: false, offset: 0, memory: 0, checked: None }, to, old);
        let new =
            k.load(MemoryAccess { ty, bytes: ty.bits() / 8, signed: false, offset: 8, memory: 0, checked: None }, to);
        k.store(MemoryAccess { signed: false, ..access }, at, new);
        let function = k.finish();
        let lowered = lowered(&function, &shape, &Options::default()).unwrap();
        for index in INDICES.into_iter().chain([14, 15, 16, 17, 30, 31, 32, 55, 56, 57, 60, 61, 62, 63, 64]) {
            check_lowered(&function, &lowered, &shape, &space, index);
        }
    }
}

/// Pointers that may be in one of several places: chosen, mixed, rounded, and loaded from memory.
#[test]
fn several_places_are_told_apart_when_the_kernel_runs() {
    let shape = Shape {
        buffers: [Access::Read, Access::ReadWrite, Access::Write]
            .into_iter()
            .zip(0..)
            .map(|(access, slot)| BufferParam { slot, access })
            .collect(),
        ..Shape::default()
    };
    let mut space = space(&shape, &[bytes(40), bytes(23), bytes(16)]);
    space.linear = bytes(64);
    let starts: Vec<u32> = space.buffers.iter().map(|buffer| buffer.address()).collect();
    let places = [0, 1, 3, 57, 60, 61, 63, 64, 0x7fff_0000];
    let near = |start: &u32| [0, 1, 2, 3, 4, 8, 12, 15, 19, 20, 23, 36, 37, 40].map(|at| start + at);
    let pointers: Vec<u32> =
        places.into_iter().chain(starts.iter().flat_map(near)).chain([u32::MAX, u32::MAX - 3]).collect();
    for stores in [false, true] {
        for (ty, size) in [(Type::I32, 4), (Type::I64, 8), (Type::F32, 4), (Type::I32, 1), (Type::I64, 2)] {
            for offset in [0, 4, 0xffff_fff0] {
                let access = MemoryAccess { ty, bytes: size, signed: false, offset, memory: 0, checked: None };
                let kernel = |pointer: &dyn Fn(&mut Kernel) -> Value| {
                    let mut k = Kernel::new(&shape);
                    let (at, to) = (pointer(&mut k), k.pointer(2));
                    let whole = MemoryAccess { bytes: ty.bits() / 8, offset: 0, ..access };
                    if stores {
                        let value = k.load(MemoryAccess { offset: 8, ..whole }, to);
                        k.store(access, at, value);
                    } else {
                        let value = k.load(access, at);
                        k.store(whole, to, value);
                    }
                    k.finish()
                };
                let loaded = kernel(&|k| {
                    let from = k.pointer(0);
                    k.load(
                        MemoryAccess { ty: Type::I32, bytes: 4, signed: false, offset: 4, memory: 0, checked: None },
                        from,
                    )
                });
                let lowered_ = lowered(&loaded, &shape, &Options::default()).unwrap();
                for pointer in &pointers {
                    let mut first = bytes(40);
                    first[4..8].copy_from_slice(&pointer.to_le_bytes());
                    let mut space = space.clone();
                    space.buffers[0] = Buffer::new(starts[0], Access::Read, &first);
                    check_lowered(&loaded, &lowered_, &shape, &space, 0);
                }
                let chosen = kernel(&|k| k.select(k.pointer(0), k.pointer(1), k.iteration()));
                let rounded = kernel(&|k| {
                    let (id, mask) = (k.iteration(), k.i32(!3));
                    let sum = k.wasm(WasmOp::I32Add, &[k.pointer(1), id]);
                    k.wasm(WasmOp::I32And, &[sum, mask])
                });
                for function in [chosen, rounded] {
                    let lowered_ = lowered(&function, &shape, &Options::default()).unwrap();
                    for index in [0, 1, 2, 4, 15, 16, 19, 20, 23, 24] {
                        check_lowered(&function, &lowered_, &shape, &space, index);
                    }
                }
            }
        }
    }
}

#[test]
fn a_missing_bounds_check_is_seen() {
    let (function, shape) = loader(access(Type::I32, 0), 4);
    let lowered = lowered(&function, &shape, &Options::default()).unwrap();
    let unchecked = without_checks(&lowered);
    let space = space(&shape, &[bytes(16), vec![0; 8]]);
    for index in 0..4 {
        let before = run_wasm(&function, &shape, &space, index);
        assert!(agree(&before, &run_lowered(&unchecked, &space, index)));
    }
    let before = run_wasm(&function, &shape, &space, 4);
    assert!(agree(&before, &run_lowered(&lowered, &space, 4)));
    let after = run_lowered(&unchecked, &space, 4);
    assert!(matches!(after.0, Err(Stop::Undefined(_))), "{after:?}");
    assert!(!agree(&before, &after));
}

#[test]
fn words_where_alignment_is_proved_and_pieces_where_not() {
    let words = |stride: u32, offset: u32| {
        let (function, shape) = loader(access(Type::I32, offset), stride);
        let lowered = lowered(&function, &shape, &Options::default()).unwrap();
        count(&lowered, |op| matches!(op, LowOp::LoadWord { .. }))
    };
    assert_eq!((words(4, 0), words(4, 8), words(12, 4)), (1, 1, 1));
    assert_eq!((words(4, 2), words(2, 0), words(1, 4)), (2, 2, 2));
}

#[test]
fn a_store_to_a_read_buffer_traps_after_what_comes_before() {
    let buffer = |slot, access| BufferParam { slot, access };
    let shape = Shape::of(vec![buffer(0, Access::Read), buffer(1, Access::Write)]);
    let mut k = Kernel::new(&shape);
    let (id, from, to) = (k.iteration(), k.pointer(0), k.pointer(1));
    k.store(access(Type::I32, 0), to, id);
    let ten = k.i32(10);
    let quotient = k.wasm(WasmOp::I32DivU, &[ten, id]);
    k.store(access(Type::I32, 0), from, quotient);
    k.store(access(Type::I32, 4), to, quotient);
    let function = k.finish();
    let space = space(&shape, &[bytes(8), vec![0; 8]]);
    for (iteration, kind) in [(0, TrapKind::DivideByZero), (3, TrapKind::OutOfBounds)] {
        check(&function, &shape, &Options::default(), &space, iteration);
        let (stop, _) = run_wasm(&function, &shape, &space, iteration);
        assert!(matches!(stop, Err(Stop::Trap { kind: k, .. }) if k == kind), "{stop:?}");
    }
    // Even where no store of that kind can be lifted.
    let mut k = Kernel::new(&shape);
    let (id, from) = (k.iteration(), k.pointer(0));
    k.store(MemoryAccess { bytes: 1, ..access(Type::I32, 0) }, from, id);
    check(&k.finish(), &shape, &Options::default(), &space, 1);
}

#[test]
fn buffers_that_are_one_share_a_slot() {
    let buffer = |slot| BufferParam { slot, access: Access::ReadWrite };
    let shape = Shape::of(vec![buffer(0), buffer(1), buffer(0)]);
    let mut k = Kernel::new(&shape);
    let (id, a, b, again) = (k.iteration(), k.pointer(0), k.pointer(1), k.pointer(2));
    k.store(access(Type::I32, 4), again, id);
    let seen = k.load(access(Type::I32, 4), a);
    k.store(access(Type::I32, 0), b, seen);
    // One of two pointers to one buffer, and their difference.
    let either = k.select(a, again, id);
    let difference = k.wasm(WasmOp::I32Sub, &[a, again]);
    k.store(access(Type::I32, 8), either, difference);
    let function = k.finish();
    for iteration in [0, 5] {
        check(&function, &shape, &Options::default(), &space(&shape, &[bytes(12), vec![0; 4]]), iteration);
    }
}

#[test]
fn an_address_that_nothing_computes_is_no_obstacle() {
    let shape = Shape::distinct(1);
    let mut k = Kernel::new(&shape);
    let (id, to) = (k.iteration(), k.pointer(0));
    k.store(access(Type::I32, 0), to, id);
    // A block that always returns: its result never comes about.
    let (label, never) = (k.function.new_label(), k.value(Type::I32));
    k.open();
    let body = k.close(&[], Exit::Return(vec![]));
    k.push(StmtKind::Block { label, body, results: vec![never] });
    let value = k.load(access(Type::I32, 0), never);
    k.store(access(Type::I32, 0), to, value);
    check(&k.finish(), &shape, &Options::default(), &space(&shape, &[bytes(4)]), 3);
}

#[test]
fn what_is_not_lifted_says_so() {
    let shape = Shape::distinct(2);
    let mut k = Kernel::new(&shape);
    let from = k.pointer(0);
    k.load(MemoryAccess { memory: 1, ..access(Type::I32, 0) }, from);
    assert_eq!(unsupported(&k.finish(), &shape, &Options::default()), "an access to memory 1");
}
