//! Linear memory, the shadow stack, globals, and pointers that are told apart when the kernel runs. Wasmtime says what
//! each invocation leaves; the stack below its pointer is nobody else's business.

use crate::case::{BufferShape, Case, End, LINEAR_MEMORY, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::Random;

/// Invocations of a launch; each has a word of both buffers.
const ROWS: u32 = 96;
/// The stack pointer: what lies below is left out of comparisons.
pub const STACK_POINTER: u32 = 8192;

/// What a kernel does with `$x`, its input, `$id`, and `$out`, where its result goes.
struct Place {
    locals: &'static str,
    body: &'static str,
}

/// Puts the input's pointer word and the launch in front.
fn text(place: &Place) -> String {
    format!(
        "(module (memory (export \"memory\") 1)
         (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK_POINTER}))
         (global $count (export \"count\") (mut i64) (i64.const 0x1_0000_0005))
         (func $pick (param $p i32) (param $q i32) (param $c i32) (result i32)
           local.get $p local.get $q local.get $c select)
         (func $kernel (export \"kernel\") (param $id i32) (param $n i32) (param i32)
           (param $in i32) (param i32) (param $to i32) (param i32)
           (local $x i32) (local $out i32) (local $fp i32) (local $i i32) {}
           local.get $in local.get $id i32.const 2 i32.shl i32.add i32.load local.set $x
           local.get $to local.get $id i32.const 2 i32.shl i32.add local.set $out
           {})
         (table 1 funcref) (elem (i32.const 0) $kernel))",
        place.locals, place.body
    )
}

const PLACES: &[Place] = &[
    // Tables in linear memory, of bytes, halves, words and doubles, unaligned ones too.
    Place {
        locals: "",
        body: "local.get $out
           local.get $x i32.const 255 i32.and i32.load8_u offset=9000
           local.get $x i32.const 8 i32.shr_u i32.const 1023 i32.and i32.load offset=10001 i32.xor
           local.get $x i32.const 12 i32.shr_u i32.const 1023 i32.and i32.load16_s offset=12003 i32.add
           local.get $x i32.const 0xff8 i32.and i64.load offset=16384 i32.wrap_i64 i32.add
           local.get $id i32.const 4 i32.mul i32.load offset=20000 i32.xor i32.store",
    },
    // Bytes and halves beside those of other invocations, of the buffer and of linear memory.
    Place {
        locals: "",
        body: "local.get $to local.get $id i32.add local.get $x i32.store8
           local.get $to local.get $id i32.const 1 i32.shl i32.add local.get $x i32.store16 offset=96
           local.get $id local.get $x i32.store8 offset=30001
           local.get $id i32.const 3 i32.mul local.get $x i32.store16 offset=31001
           local.get $id i32.const 5 i32.mul local.get $x i32.store offset=32001
           local.get $id i32.const 9 i32.mul local.get $x i64.extend_i32_s i64.store offset=40003",
    },
    // A frame with an array, a counter and pointers in slots.
    Place {
        locals: "",
        body: "global.get $sp i32.const 64 i32.sub local.tee $fp global.set $sp
           loop
             local.get $fp local.get $i i32.const 2 i32.shl i32.add local.get $x local.get $i i32.mul i32.store
             local.get $i i32.const 1 i32.add local.tee $i i32.const 8 i32.lt_u br_if 0
           end
           local.get $fp local.get $out i32.store offset=40
           local.get $fp local.get $fp i32.const 8 i32.add i32.store offset=44
           local.get $fp local.get $x i32.const 15 i32.and i32.add local.get $x i32.store8 offset=3
           local.get $fp i32.load offset=40
           local.get $fp i32.load offset=44 local.get $x i32.const 3 i32.and i32.const 2 i32.shl i32.add i32.load
           local.get $fp local.get $x i32.const 15 i32.and i32.add i32.load offset=5 i32.xor
           i32.store
           local.get $fp i32.const 64 i32.add global.set $sp",
    },
    // A frame with a large array, of which each invocation writes a part.
    Place {
        locals: "",
        body: "global.get $sp i32.const 1024 i32.sub local.tee $fp global.set $sp
           loop
             local.get $fp local.get $x local.get $i i32.const 4 i32.shl i32.add i32.const 1020 i32.and i32.add
             local.get $x local.get $i i32.add i32.store
             local.get $i i32.const 1 i32.add local.tee $i i32.const 9 i32.lt_u br_if 0
           end
           local.get $out local.get $fp local.get $x i32.const 32 i32.add i32.const 1020 i32.and i32.add i32.load
           local.get $fp local.get $x i32.const 1020 i32.and i32.add i32.load i32.const 3 i32.mul i32.add i32.store
           local.get $fp i32.const 1024 i32.add global.set $sp",
    },
    // Slots at constant addresses only, as unoptimised code has them.
    Place {
        locals: "",
        body: "global.get $sp i32.const 64 i32.sub local.tee $fp global.set $sp
           local.get $fp local.get $out i32.store offset=60
           local.get $fp local.get $x f32.convert_i32_u f32.store offset=12
           local.get $fp i32.const 0 i32.store offset=8
           loop
             local.get $fp local.get $fp f32.load offset=12 f32.const 1.25 f32.mul f32.const 3 f32.add f32.store offset=12
             local.get $fp local.get $fp i32.load offset=8 i32.const 1 i32.add i32.store offset=8
             local.get $fp i32.load offset=8 i32.const 10 i32.lt_u br_if 0
           end
           local.get $fp i32.load offset=60 local.get $fp i32.load offset=12 i32.store
           local.get $fp i32.const 64 i32.add global.set $sp",
    },
    // One of two buffers, or linear memory, by the input.
    Place {
        locals: "",
        body: "local.get $out
           local.get $in local.get $to i32.const 384 i32.add local.get $x i32.const 1 i32.and call $pick
           local.get $x i32.const 0xfc i32.and i32.add i32.load
           i32.const 9000 local.get $in local.get $x i32.const 2 i32.and call $pick
           local.get $x i32.const 0x7f i32.and i32.add i32.load16_u i32.add i32.store",
    },
    // Globals of an invocation's own.
    Place {
        locals: "",
        body: "loop
             global.get $count local.get $x i64.extend_i32_u i64.add i64.const 7 i64.mul global.set $count
             local.get $i i32.const 1 i32.add local.tee $i i32.const 5 i32.lt_u br_if 0
           end
           local.get $out global.get $count i64.const 11 i64.shr_u i32.wrap_i64 i32.store",
    },
];

/// A buffer of pointers: into the buffers and linear memory.
const POINTERS: Place = Place {
    locals: "",
    body: "local.get $out
       local.get $x i32.load
       local.get $x i32.load8_s offset=3 i32.add
       local.get $x i64.load32_u offset=4 i32.wrap_i64 i32.xor i32.store
       local.get $x i32.const 1 i32.and if local.get $x i32.const 8 i32.sub local.get $id i32.store8 offset=8 end",
};

/// Stores of parts of words, to a buffer and behind them to linear memory.
pub fn narrow_stores() -> Case {
    with_random_words(&PLACES[1])
}

fn with_random_words(place: &Place) -> Case {
    case(place, |random, _, _| random.next() as u32)
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = PLACES.iter().map(with_random_words).collect();
    cases.push(case(&POINTERS, |_, row, starts| match row % 3 {
        0 => starts[0] + 4 * (row / 3),
        1 => starts[1] + 384 + 9 * row,
        _ => 50_000 + 16 * row,
    }));
    cases
}

fn case(place: &Place, word: impl Fn(&mut Random, u32, &[u32]) -> u32) -> Case {
    let mut program = Program::new(text(place), vec![BufferShape::bits(4 * ROWS), BufferShape::bits(16 * ROWS)]);
    let mut random = Random(7);
    program.linear = Some((0..LINEAR_MEMORY).map(|_| random.next() as u8).collect());
    let starts = program.addresses();
    let input = (0..ROWS).flat_map(|row| word(&mut random, row, &starts).to_le_bytes()).collect();
    let contents = vec![input, (0..16 * ROWS).map(|_| random.next() as u8).collect()];
    let mut wasmtime = PlainWasmtime::new(&program).unwrap_or_else(|error| panic!("{error}"));
    let expected = wasmtime.run(&contents, ROWS).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    assert!(matches!(expected, End::Done(_)), "{expected:?}\n{}", program.text);
    Case { program, runs: vec![Run { contents, iterations: ROWS, expected }], exact_bounds: false }
}
