//! Atomic accesses: each operator at the edges of its type, in buffers, linear memory, the shadow stack and where pointers
//! are told apart at run time. No two invocations access one place here, so that results don't depend on an order; what
//! many do to one is [`contention`](crate::contention)'s.

use std::fmt::Write;

use wavelift_translator::ir::operator::MemoryAccess;
use wavelift_translator::ir::{AtomicOp, Type};

use crate::case::{BufferShape, Case, LINEAR_MEMORY, Program, Run};
use crate::engine::Session;
use crate::places::STACK_POINTER;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::{self, Random};

/// Rows of the kernels that access other places than a buffer.
const ROWS: u32 = 128;

/// All atomic accesses that Wasm has.
pub fn accesses() -> impl Iterator<Item = (AtomicOp, MemoryAccess)> {
    let widths = [
        (Type::I32, 1),
        (Type::I32, 2),
        (Type::I32, 4),
        (Type::I64, 1),
        (Type::I64, 2),
        (Type::I64, 4),
        (Type::I64, 8),
    ];
    let of = |(ty, bytes)| MemoryAccess { ty, bytes, signed: false, offset: 0, memory: 0, checked: None };
    AtomicOp::ALL.into_iter().flat_map(move |op| widths.map(|width| (op, of(width))))
}

/// What is in memory before, and the operands.
type Row = [u64; 3];

/// All pairs of edges, and random numbers. Every other number expected is the one that is there, with other bits above.
fn rows(access: &MemoryAccess, count: usize) -> Vec<Row> {
    let edges = values::edges(access.ty);
    let mut random = Random(u64::from(access.bytes));
    let mut rows: Vec<Row> = Vec::new();
    for a in &edges {
        rows.extend(edges.iter().map(|b| [*a, *b, random.bits(access.ty)]));
    }
    rows.extend((0..256).map(|_| [(); 3].map(|()| random.bits(access.ty))));
    let ones = u64::MAX >> (64 - 8 * access.bytes);
    for row in rows.iter_mut().step_by(2) {
        row[1] = row[0] & ones | row[1] & !ones;
    }
    let step = (rows.len() / count).max(1);
    rows.into_iter().step_by(step).take(count).collect()
}

/// Each invocation accesses a part of eight bytes of a buffer, each a different one.
pub fn cases() -> Vec<Case> {
    let cell = |bytes: u32| {
        let parts = 8 / bytes;
        format!(
            "local.get $data local.get $i i32.const 3 i32.shl i32.add\n\
             local.get $i i32.const {} i32.and i32.const {bytes} i32.mul i32.add",
            parts - 1
        )
    };
    accesses().map(|(op, access)| case(op, &access, &cell(access.bytes), usize::MAX, false)).collect()
}

/// The same in linear memory, on the shadow stack, and by pointers that are told apart when the kernel runs.
pub fn places() -> Vec<Case> {
    let in_linear = "i32.const 10000 local.get $i i32.const 3 i32.shl i32.add";
    let on_stack = "global.get $sp i32.const 128 i32.sub local.get $i i32.const 15 i32.and i32.const 3 i32.shl i32.add";
    let at_a_slot = "global.get $sp i32.const 16 i32.sub";
    let either = "local.get $data i32.const 20000 local.get $i i32.const 5 i32.and select
        local.get $i i32.const 3 i32.shl i32.add";
    // One of each way in which an access is lowered.
    let ops = [AtomicOp::Load, AtomicOp::Store, AtomicOp::Sub, AtomicOp::And, AtomicOp::CompareExchange];
    let lowered_apart = |(op, access): &(AtomicOp, MemoryAccess)| {
        ops.contains(op) && matches!((access.ty, access.bytes), (Type::I32, 1 | 4) | (Type::I64, 2 | 8))
    };
    let mut cases = Vec::new();
    for (op, access) in accesses().filter(lowered_apart) {
        for place in [in_linear, on_stack, at_a_slot, either] {
            cases.push(case(op, &access, place, ROWS as usize, true));
        }
    }
    cases
}

fn case(op: AtomicOp, access: &MemoryAccess, place: &str, count: usize, linear: bool) -> Case {
    let rows = rows(access, count);
    let (count, size) = (rows.len() as u32, values::size(access.ty));
    let buffers =
        vec![8 * count, size * count, size * count, size * count].into_iter().map(BufferShape::bits).collect();
    let mut program = Program::new(text(op, access, place, linear), buffers);
    let mut random = Random(3);
    program.linear = linear.then(|| (0..LINEAR_MEMORY).map(|_| random.next() as u8).collect());
    let column = |number: usize| values::bytes(access.ty, rows.iter().map(|row| row[number]));
    // The number in all parts of eight bytes.
    let data = rows.iter().flat_map(|row| row[0].to_le_bytes().into_iter().cycle().take(8)).collect::<Vec<u8>>();
    let data = match access.bytes {
        8 => data,
        bytes => data.chunks(8).flat_map(|cell| cell[..bytes as usize].iter().copied().cycle().take(8)).collect(),
    };
    let contents = vec![data, column(1), column(2), vec![0xa5; (size * count) as usize]];
    let mut wasmtime = PlainWasmtime::new(&program).unwrap_or_else(|error| panic!("{error}"));
    let expected = wasmtime.run(&contents, count).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    Case { program, runs: vec![Run { contents, iterations: count, expected }], exact_bounds: false }
}

/// Before the access of a place other than the buffer `data`, the eight bytes of this invocation there are stored to it; behind
/// it a plain load says what is there.
fn text(op: AtomicOp, access: &MemoryAccess, place: &str, elsewhere: bool) -> String {
    let (ty, size) = (values::name(access.ty), values::size(access.ty));
    let element = |pointer: &str| format!("local.get {pointer} local.get $i i32.const {size} i32.mul i32.add");
    let mut body = String::new();
    let first = "local.get $data local.get $i i32.const 3 i32.shl i32.add";
    if elsewhere {
        let _ = writeln!(body, "{place} {first} i64.load i64.store");
    }
    let mut access_text = format!("{place}\n");
    for pointer in ["$a", "$b"].iter().take(op.operands()) {
        let _ = writeln!(access_text, "{} {ty}.load", element(pointer));
    }
    let _ = writeln!(access_text, "{}", op.text(access));
    match op.has_result() {
        true => _ = writeln!(body, "{}\n{access_text}{ty}.store", element("$out")),
        false => body.push_str(&access_text),
    }
    if elsewhere {
        let _ = writeln!(body, "{first} {place} i64.load i64.store");
    }
    format!(
        "(module (memory (export \"memory\") 1)
         (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK_POINTER}))
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $data i32) (param i32)
         (param $a i32) (param i32) (param $b i32) (param i32) (param $out i32) (param i32)
         {body})
         (table 1 funcref) (elem (i32.const 0) $kernel))"
    )
}
