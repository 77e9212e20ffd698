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

/// Pointers that are the same for all invocations: in static data, in a structure that one of them points to, and in the
/// last word of the input. The last one is stored through.
const CAPTURED: Place = Place {
    locals: "",
    body: "local.get $out
       i32.const 9216 i32.load local.get $id i32.const 2 i32.shl i32.add i32.load
       i32.const 9220 i32.load i32.load offset=4 local.get $id i32.add i32.load8_u i32.add
       local.get $in i32.load offset=380 local.get $id i32.const 1 i32.shl i32.add i32.load16_s i32.xor
       i32.store
       i32.const 9224 i32.load local.get $id i32.const 2 i32.shl i32.add
       i32.const 9224 i32.load local.get $id i32.const 2 i32.shl i32.add i32.load local.get $x i32.const 0 i32.mul i32.add
       i32.store",
};

/// What one pointer points to is overwritten with the input's second word, and then taken as another pointer.
const OVERWRITTEN: Place = Place {
    locals: "",
    body: "i32.const 9216 i32.load local.get $in i32.load offset=4 i32.store
       local.get $out
       i32.const 9220 i32.load i32.load offset=4
       local.get $in i32.load offset=380 i32.load offset=8 i32.add
       i32.store offset=16",
};

/// Launches with captured pointers: words of linear memory and of the input, by address and by number.
fn captured(
    place: &Place,
    iterations: u32,
    linear: impl Fn(&[u32]) -> Vec<(u32, u32)>,
    input: impl Fn(&[u32]) -> Vec<(u32, u32)>,
) -> Case {
    let mut case = unjudged(place, |random, _, _| random.next() as u32);
    let starts = case.program.addresses();
    let memory = case.program.linear.as_mut().expect("linear memory");
    let set = |bytes: &mut [u8], at: u32, word: u32| bytes[at as usize..][..4].copy_from_slice(&word.to_le_bytes());
    linear(&starts).into_iter().for_each(|(at, word)| set(memory, at, word));
    let contents = &mut case.runs[0].contents;
    input(&starts).into_iter().for_each(|(number, word)| set(&mut contents[0], 4 * number, word));
    case.runs[0].iterations = iterations;
    judged(case)
}

/// All cases of captured pointers: into each place, changed ones, and stores that meet them.
fn captured_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // What the three pointers for loads and the one for stores point to.
    type Pointers<const N: usize> = fn(&[u32]) -> [u32; N];
    let targets: [Pointers<4>; 8] = [
        |starts| [starts[0], starts[1] + 400, 50_000, 40_000],
        |starts| [starts[1] + 500, 60_000, starts[0], 40_000],
        |starts| [50_001, starts[0] + 7, starts[1] + 403, starts[1] + 800],
        |starts| [starts[0], starts[1] + 400, 50_000, starts[0]],
        // The stores meet the pointers in static data, and the structure.
        |starts| [starts[0], starts[1] + 400, 50_000, 9216],
        |starts| [starts[0], starts[1] + 400, 50_000, 9216 - 380],
        |starts| [starts[0], starts[1] + 400, 50_000, 9216 - 384],
        |starts| [starts[0], starts[1] + 400, 50_000, 9300],
    ];
    for targets in targets {
        cases.push(captured(
            &CAPTURED,
            ROWS,
            |starts| {
                let [first, second, _, stored] = targets(starts);
                vec![(9216, first), (9220, 9300), (9304, second), (9224, stored)]
            },
            |starts| vec![(95, targets(starts)[2])],
        ));
    }
    // The second structure's address; where the first pointer points.
    let overwritten: [Pointers<2>; 6] = [
        |_| [9400, 20_000],
        |_| [9400, 9220],
        |_| [9400, 9304],
        |_| [9400, 9302],
        |starts| [starts[1] + 600, starts[0] + 380],
        |starts| [starts[0], starts[0] + 12],
    ];
    for pointers in overwritten {
        cases.push(captured(
            &OVERWRITTEN,
            1,
            |starts| vec![(9216, pointers(starts)[1]), (9220, 9300), (9304, 77), (9404, 78)],
            |starts| vec![(1, pointers(starts)[0]), (95, starts[1] + 700)],
        ));
    }
    cases
}

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
    cases.extend(captured_cases());
    cases
}

fn case(place: &Place, word: impl Fn(&mut Random, u32, &[u32]) -> u32) -> Case {
    judged(unjudged(place, word))
}

/// What the launch has to leave is still open.
fn unjudged(place: &Place, word: impl Fn(&mut Random, u32, &[u32]) -> u32) -> Case {
    let mut program = Program::new(text(place), vec![BufferShape::bits(4 * ROWS), BufferShape::bits(16 * ROWS)]);
    let mut random = Random(7);
    program.linear = Some((0..LINEAR_MEMORY).map(|_| random.next() as u8).collect());
    let starts = program.addresses();
    let input = (0..ROWS).flat_map(|row| word(&mut random, row, &starts).to_le_bytes()).collect();
    let contents = vec![input, (0..16 * ROWS).map(|_| random.next() as u8).collect()];
    let expected = End::Done(Vec::new());
    Case { program, runs: vec![Run { contents, iterations: ROWS, expected }], exact_bounds: false }
}

/// Asks Wasmtime how the launch has to end.
fn judged(mut case: Case) -> Case {
    let Case { program, runs, .. } = &mut case;
    let mut wasmtime = PlainWasmtime::new(program).unwrap_or_else(|error| panic!("{error}"));
    for run in runs {
        let expected = wasmtime.run(&run.contents, run.iterations);
        run.expected = expected.unwrap_or_else(|error| panic!("{error}\n{}", program.text));
        assert!(matches!(run.expected, End::Done(_)), "{:?}\n{}", run.expected, program.text);
    }
    case
}
