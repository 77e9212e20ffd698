//! Loads and stores of vectors at the ends of a buffer: they trap where one byte is out of bounds, and store nothing then.

mod common;

use common::count;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Exit, Function, Op, StmtKind};
use wavelift_translator::{Access, Module, Options, Profile, Shape, TrapKind, inspect, testing, translate};

const ADDRESS: u32 = 0x8000_0000;
const LENGTH: u32 = 64;

/// Operators with the bytes that they access; lanes after them.
const LOADS: [(&str, u32); 16] = [
    ("v128.load", 16),
    ("v128.load8x8_s", 8),
    ("v128.load16x4_u", 8),
    ("v128.load32x2_s", 8),
    ("v128.load8_splat", 1),
    ("v128.load16_splat", 2),
    ("v128.load32_splat", 4),
    ("v128.load64_splat", 8),
    ("v128.load32_zero", 4),
    ("v128.load64_zero", 8),
    ("v128.load8_lane 5", 1),
    ("v128.load16_lane 5", 2),
    ("v128.load32_lane 1", 4),
    ("v128.load64_lane 1", 8),
    ("v128.load align=1", 16),
    ("v128.load64_splat align=1", 8),
];
const STORES: [(&str, u32); 5] = [
    ("v128.store", 16),
    ("v128.store8_lane 7", 1),
    ("v128.store16_lane 3", 2),
    ("v128.store32_lane 2", 4),
    ("v128.store64_lane 0", 8),
];

/// Kernels that access `pointer + i` or `pointer - i`; what is loaded goes to the buffer's first word.
fn text(op: &str, sum: &str, offset: u32) -> String {
    let (name, rest) = op.split_once(' ').unwrap_or((op, ""));
    let access = format!("{name} offset={offset} {}", if rest.is_empty() { "align=1" } else { rest });
    let access = if op.contains("lane") { format!("{name} offset={offset} align=1 {rest}") } else { access };
    let address = format!("local.get $p local.get $i i32.const 1 i32.mul {sum}");
    let vector = "i32.const 0x5a5a5a5a i32x4.splat";
    let body = match op {
        _ if op.contains("store") => format!("{address} {vector} {access}"),
        _ if op.contains("lane") => {
            format!("local.get $p {address} {vector} {access} i8x16.bitmask i32.const 1 i32.or i32.store")
        }
        _ => format!("local.get $p {address} {access} i8x16.bitmask i32.const 1 i32.or i32.store"),
    };
    format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32) {body}))"
    )
}

/// How an invocation ends, and the buffer after it.
fn run(function: &Function, iteration: u32) -> (Result<(), Stop>, Vec<u8>) {
    let buffers = vec![Buffer::new(ADDRESS, Access::ReadWrite, &[0; LENGTH as usize])];
    let mut space = Space { linear: Vec::new(), buffers };
    let immediates = [0, LENGTH, 0, LENGTH, 1, 0, ADDRESS, LENGTH];
    let invocation = Invocation { iteration, immediates: &immediates, ..Invocation::default() };
    let end = interpret::run(function, &[], &invocation, &mut space, &|_| None).map(|_| ());
    (end, space.buffers[0].bytes().to_vec())
}

fn is_out_of_bounds(end: &Result<(), Stop>) -> bool {
    matches!(end, Err(Stop::Trap { kind: TrapKind::OutOfBounds, .. }))
}

#[test]
fn accesses_trap_at_each_end_exactly_and_store_nothing_then() {
    for (op, bytes) in LOADS.into_iter().chain(STORES) {
        for offset in [0, 3] {
            for (sum, below) in [("i32.add", false), ("i32.sub", true)] {
                let module = Module::parse(wat::parse_str(text(op, sum, offset)).expect(op)).expect(op);
                let stages = testing::stages(&module, 0).expect(op);
                for function in [&stages.lowered, &stages.strict] {
                    for i in if below { 0..24 } else { LENGTH - 24..LENGTH + 2 } {
                        let at = if below { i64::from(offset) - i64::from(i) } else { i64::from(offset + i) };
                        let inside = (0..=i64::from(LENGTH - bytes)).contains(&at);
                        let (end, after) = run(function, i);
                        assert_eq!(is_out_of_bounds(&end), !inside, "{op} at {at}: {end:?}");
                        assert_eq!(after.iter().all(|byte| *byte == 0), !inside, "{op} at {at}: {after:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_vectors_access_has_one_check_and_counts_once() {
    for op in ["v128.load", "v128.store"] {
        let module = Module::parse(wat::parse_str(text(op, "i32.add", 0)).expect(op)).expect(op);
        let stages = testing::stages(&module, 0).expect(op);
        let traps = |function: &Function| {
            let exits = function.regions.iter().filter(|region| matches!(region.exit, Exit::Trap(_))).count();
            assert!(count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(_), .. })) > 0);
            exits
        };
        let stores = 1;
        let expected = if op == "v128.load" { 1 + stores } else { stores };
        assert_eq!(traps(&stages.lowered), expected, "{op}");
        let accesses = inspect(&module, 0, &Options::default()).expect(op).accesses;
        let summed: u32 = accesses.iter().map(|access| access.loads + access.stores).sum();
        assert_eq!(summed, expected as u32, "{op}: {accesses:?}");
        for profile in [Profile::Vulkan, Profile::Portable] {
            let options = Options { profile, ..Options::default() };
            let words = translate(&module, 0, &Shape::distinct(1), &options).expect(op).words;
            match profile {
                Profile::Vulkan => common::assert_valid(&words),
                Profile::Portable => common::assert_portable(&words),
            }
        }
    }
}
