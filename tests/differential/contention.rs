//! What many invocations do to few places by atomic accesses, so that an access which is not atomic would lose something; and
//! so that what is left does not depend on the order in which they run.

use crate::case::{BufferShape, Case, End, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::Random;

/// Invocations of a launch.
const ROWS: u32 = 8192;
/// Bytes of the places that they share, which are zeroes before the launch.
const SHARED: u32 = 4 * ROWS;

/// A kernel: what it does with `$x`, its word of the input, `$shared` and `$out`, its word of the output.
struct Kernel {
    locals: &'static str,
    body: &'static str,
}

const KERNELS: &[Kernel] = &[
    // One counter.
    Kernel { locals: "", body: "local.get $shared i32.const 1 i32.atomic.rmw.add drop" },
    // A histogram of words, by one addition for each byte of the input.
    Kernel {
        locals: "",
        body: "loop
             local.get $shared local.get $x i32.const 255 i32.and i32.const 2 i32.shl i32.add
             i32.const 1 i32.atomic.rmw.add drop
             local.get $x i32.const 8 i32.shr_u local.tee $x br_if 0
           end",
    },
    // Histograms of bytes and of 16-bit words, whose counters share words.
    Kernel {
        locals: "",
        body: "local.get $shared local.get $x i32.const 63 i32.and i32.add i32.const 3 i32.atomic.rmw8.add_u drop
           local.get $shared local.get $x i32.const 6 i32.shr_u i32.const 31 i32.and i32.const 1 i32.shl i32.add
           i32.const 5 i32.atomic.rmw16.sub_u offset=64 drop",
    },
    // Sums of 64 bits, and the same of their lower halves.
    Kernel {
        locals: "",
        body: "local.get $shared local.get $x i64.extend_i32_u local.get $x i64.extend_i32_u i64.mul
           i64.atomic.rmw.add drop
           local.get $shared local.get $x i64.extend_i32_u i64.atomic.rmw32.add_u offset=8 drop",
    },
    // Tickets: each invocation gets another one, and marks its own.
    Kernel {
        locals: "",
        body: "local.get $shared i32.const 16 i32.add
           local.get $out local.get $id i32.const 2 i32.shl i32.sub i32.const 1 i32.atomic.rmw.add
           i32.const 4091 i32.rem_u i32.const 2 i32.shl i32.add
           i32.const 1 i32.atomic.rmw.add drop",
    },
    // The greatest number and the least, by compare and exchange.
    Kernel {
        locals: "(local $seen i32) (local $now i32)",
        body: "local.get $shared i32.atomic.load local.set $seen
           block
             loop
               local.get $x local.get $seen i32.le_u br_if 1
               local.get $shared local.get $seen local.get $x i32.atomic.rmw.cmpxchg local.tee $now
               local.get $seen i32.ne local.get $now local.set $seen br_if 0
             end
           end
           i32.const 0 local.set $seen
           block
             loop
               local.get $seen local.get $x i32.const -1 i32.xor i32.ge_u br_if 1
               local.get $shared local.get $seen local.get $x i32.const -1 i32.xor
               i32.atomic.rmw.cmpxchg offset=4 local.tee $now
               local.get $seen i32.ne local.get $now local.set $seen br_if 0
             end
           end",
    },
    // A sum of floats that are small integers, by compare and exchange; and one of bytes.
    Kernel {
        locals: "(local $seen i32) (local $now i32)",
        body: "loop
             local.get $shared
             local.get $shared i32.atomic.load local.tee $seen
             local.get $seen f32.reinterpret_i32 local.get $x i32.const 15 i32.and f32.convert_i32_u f32.add
             i32.reinterpret_f32
             i32.atomic.rmw.cmpxchg local.get $seen i32.ne br_if 0
           end
           loop
             local.get $shared
             local.get $shared i32.atomic.load8_u offset=6 local.tee $seen
             local.get $seen i32.const 7 i32.add
             i32.atomic.rmw8.cmpxchg_u offset=6 local.get $seen i32.ne br_if 0
           end",
    },
    // Updates of a table at random places.
    Kernel {
        locals: "(local $k i32)",
        body: "loop
             local.get $x i32.const 1664525 i32.mul i32.const 1013904223 i32.add local.set $x
             local.get $shared local.get $x i32.const 20 i32.shr_u i32.const 2 i32.shl i32.add
             local.get $x i32.atomic.rmw.xor drop
             local.get $k i32.const 1 i32.add local.tee $k i32.const 8 i32.lt_u br_if 0
           end",
    },
    // Sets of bits, and bytes beside them that are stored each by one invocation.
    Kernel {
        locals: "",
        body: "local.get $shared i32.const 1 local.get $x i32.const 31 i32.and i32.shl i32.atomic.rmw.or drop
           local.get $shared i32.const 128 local.get $x i32.const 7 i32.and i32.shr_u i32.atomic.rmw8.or_u offset=5 drop
           local.get $shared i32.const 1 i32.atomic.store8 offset=4
           local.get $shared local.get $id i32.add local.get $x i32.store8 offset=16",
    },
    // The last one to be done sums up what all have stored: what each stored before it was done must be seen.
    Kernel {
        locals: "(local $k i32) (local $sum i32)",
        body: "local.get $out local.get $x i32.store
           local.get $shared i32.const 1 i32.atomic.rmw.add
           local.get $n i32.const 1 i32.sub i32.eq if
             local.get $out local.get $id i32.const 2 i32.shl i32.sub local.set $out
             loop
               local.get $sum local.get $out local.get $k i32.const 2 i32.shl i32.add i32.load i32.add local.set $sum
               local.get $k i32.const 1 i32.add local.tee $k local.get $n i32.lt_u br_if 0
             end
             local.get $shared local.get $sum i32.store offset=4
           end",
    },
];

fn text(kernel: &Kernel) -> String {
    format!(
        "(module (memory (export \"memory\") 1)
         (func $kernel (export \"kernel\") (param $id i32) (param $n i32) (param i32)
           (param $in i32) (param i32) (param $shared i32) (param i32) (param $to i32) (param i32)
           (local $x i32) (local $out i32) {}
           local.get $in local.get $id i32.const 2 i32.shl i32.add i32.load local.set $x
           local.get $to local.get $id i32.const 2 i32.shl i32.add local.set $out
           {})
         (table 1 funcref) (elem (i32.const 0) $kernel))",
        kernel.locals, kernel.body
    )
}

/// All cases.
pub fn cases() -> Vec<Case> {
    KERNELS.iter().map(case).collect()
}

/// A counter, which is right only if it is atomic.
pub fn counter(atomic: bool) -> Case {
    let plain =
        Kernel { locals: "", body: "local.get $shared local.get $shared i32.load i32.const 1 i32.add i32.store" };
    case(if atomic { &KERNELS[0] } else { &plain })
}

fn case(kernel: &Kernel) -> Case {
    let buffers = [4 * ROWS, SHARED, 4 * ROWS].into_iter().map(BufferShape::bits).collect();
    let program = Program::new(text(kernel), buffers);
    let mut random = Random(11);
    let input = (0..ROWS).flat_map(|_| (random.next() as u32).to_le_bytes()).collect();
    let contents = vec![input, vec![0; SHARED as usize], vec![0; 4 * ROWS as usize]];
    let mut wasmtime = PlainWasmtime::new(&program).unwrap_or_else(|error| panic!("{error}"));
    let expected = wasmtime.run(&contents, ROWS).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    assert!(matches!(expected, End::Done(_)), "{expected:?}\n{}", program.text);
    Case { program, runs: vec![Run { contents, iterations: ROWS, expected }], exact_bounds: false }
}
