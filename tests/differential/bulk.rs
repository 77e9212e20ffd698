//! Bulk memory operators on buffers, overlaps and ranges over their ends included. Wasmtime says which bytes they give;
//! which ranges are within bounds follows from the ABI.

use wasmparser::Operator;
use wavelift::device::{KernelTrap, Location, TrapKind};

use crate::case::{BufferShape, Case, End, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::Random;

/// Both data buffers' size: whole pages, so that the CPU devices, too, trap at the first byte beyond.
const SIZE: u32 = 0x1_0000;

/// First byte and length of what is accessed in one buffer.
type Range = (u32, u32);

/// One operator with operands made of the numbers `$a`, `$b` and `$c`.
struct Form {
    text: &'static str,
    /// The ranges, for some numbers.
    ranges: fn([u32; 3]) -> Vec<Range>,
}

const FORMS: [Form; 13] = [
    Form {
        text: "(memory.fill (i32.add (local.get $to) (i32.shl (local.get $a) (i32.const 2)))
                 (local.get $b) (i32.shl (local.get $c) (i32.const 2)))",
        ranges: |[a, _, c]| vec![(a << 2, c << 2)],
    },
    Form {
        text: "(memory.copy (i32.add (local.get $to) (i32.shl (local.get $a) (i32.const 2)))
                 (i32.add (local.get $to) (i32.shl (local.get $b) (i32.const 2)))
                 (i32.shl (local.get $c) (i32.const 2)))",
        ranges: |[a, b, c]| vec![(a << 2, c << 2), (b << 2, c << 2)],
    },
    Form {
        text: "(memory.copy (i32.add (local.get $to) (i32.shl (local.get $a) (i32.const 2)))
                 (i32.add (local.get $to) (i32.shl (local.get $b) (i32.const 2))) (i32.const 48))",
        ranges: |[a, b, _]| vec![(a << 2, 48), (b << 2, 48)],
    },
    Form {
        text: "(memory.copy (i32.add (local.get $to) (i32.shl (local.get $a) (i32.const 2)))
                 (i32.add (local.get $from) (local.get $b)) (i32.shl (local.get $c) (i32.const 2)))",
        ranges: |[a, b, c]| vec![(a << 2, c << 2), (b, c << 2)],
    },
    Form {
        text: "(memory.fill (i32.add (local.get $to) (local.get $a)) (local.get $b) (local.get $c))",
        ranges: |[a, _, c]| vec![(a, c)],
    },
    Form {
        text: "(memory.copy (i32.add (local.get $to) (local.get $a)) (i32.add (local.get $to) (local.get $b))
                 (local.get $c))",
        ranges: |[a, b, c]| vec![(a, c), (b, c)],
    },
    Form {
        text: "(memory.copy (i32.add (local.get $to) (local.get $a)) (i32.add (local.get $from) (local.get $b))
                 (i32.const 23))",
        ranges: |[a, b, _]| vec![(a, 23), (b, 23)],
    },
    Form {
        text: "(memory.init $bytes (i32.add (local.get $to) (local.get $a)) (local.get $b) (local.get $c))",
        ranges: |[a, _, c]| vec![(a, c)],
    },
    Form {
        text: "(memory.init $bytes (i32.add (local.get $to) (i32.shl (local.get $a) (i32.const 2)))
                 (i32.shl (local.get $b) (i32.const 2)) (i32.shl (local.get $c) (i32.const 2)))",
        ranges: |[a, _, c]| vec![(a << 2, c << 2)],
    },
    Form {
        text: "(memory.init $bytes (i32.add (local.get $to) (local.get $a)) (local.get $b) (i32.const 23))",
        ranges: |[a, _, _]| vec![(a, 23)],
    },
    Form {
        text: "(memory.init $bytes (i32.add (local.get $to) (local.get $a)) (i32.const 3) (i32.const 517))",
        ranges: |[a, _, _]| vec![(a, 517)],
    },
    Form {
        text: "(memory.init $few (i32.add (local.get $to) (local.get $a))
                 (i32.and (local.get $b) (i32.const 15)) (i32.and (local.get $c) (i32.const 15)))",
        ranges: |[a, _, c]| vec![(a, c & 15)],
    },
    Form {
        text: "(if (i32.rem_u (local.get $a) (i32.const 5)) (then (call $drop)))
               (memory.init $bytes (i32.add (local.get $to) (local.get $a)) (local.get $b) (local.get $c))",
        ranges: |[a, _, c]| vec![(a, c)],
    },
];

/// Bytes of the data segment `$bytes`: an odd number.
const BYTES: u32 = 1001;

/// The data segments, and a function that drops one.
fn segments() -> String {
    let bytes: String = (0..BYTES).map(|i| format!("\\{:02x}", (i * 37 + i / 256) as u8)).collect();
    format!("(data $few \"0123456789\") (data $bytes \"{bytes}\") (func $drop (data.drop $bytes))")
}

/// Numbers that count words or bytes: ranges in the middle, at both ends, empty ones, and ones beyond.
const NUMBERS: [[u32; 3]; 22] = [
    [10, 20, 7],
    [20, 10, 11],
    [21, 20, 30],
    [20, 21, 30],
    [20, 20, 30],
    [23, 20, 19],
    [20, 23, 19],
    [0, 0, 0],
    [0, 0xab, 64],
    [5, 0x1ff, 1],
    [5, 3, 0],
    [16_360, 16_350, 12],
    [16_350, 16_360, 23],
    [16_361, 10, 24],
    [10, 16_361, 24],
    [65_513, 100, 23],
    [65_514, 100, 23],
    [100, 65_513, 23],
    [100, 65_514, 23],
    [65_000, 100, 537],
    [3, 5, 0x3fff_ffff],
    [5, 3, 0x3fff_fff0],
];

/// Each form with all numbers.
pub fn cases() -> Vec<Case> {
    FORMS.iter().map(case).collect()
}

fn case(form: &Form) -> Case {
    let text = format!(
        "(module (memory (export \"memory\") 1)\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $to i32) (param i32)\n\
         (param $from i32) (param i32) (param $numbers i32) (param i32) (local $a i32) (local $b i32) (local $c i32)\n\
         (local.set $numbers (i32.add (local.get $numbers) (i32.mul (local.get $i) (i32.const 12))))\n\
         (local.set $a (i32.load (local.get $numbers)))\n\
         (local.set $b (i32.load offset=4 (local.get $numbers)))\n\
         (local.set $c (i32.load offset=8 (local.get $numbers)))\n{})\n{})",
        form.text,
        if form.text.contains("memory.init") { segments() } else { String::new() }
    );
    let buffers = vec![BufferShape::bits(SIZE), BufferShape::bits(SIZE), BufferShape::bits(12)];
    let program = Program::new(text, buffers);
    let wasmtime = || PlainWasmtime::new(&program).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    let drops = !program.module.wasm.droppable_data().is_empty();
    let mut instance = wasmtime();
    let at = place(&program);
    let runs = NUMBERS.map(|numbers| {
        if drops {
            instance = wasmtime();
        }
        let contents = contents(numbers);
        let within = |(first, length): Range| u64::from(first) + u64::from(length) <= SIZE.into();
        let empty = |(_, length): Range| length == 0;
        let expected = match (form.ranges)(numbers).into_iter().all(|range| within(range) || empty(range)) {
            true => instance.run(&contents, 1).unwrap_or_else(|error| panic!("{error}\n{}", program.text)),
            false => End::Trapped(KernelTrap { at, kind: TrapKind::OutOfBounds, iteration: 0 }),
        };
        Run { contents, iterations: 1, expected }
    });
    Case { program, runs: runs.into(), exact_bounds: false }
}

/// Where the bulk operator stands.
fn place(program: &Program) -> Location {
    let body = program.module.wasm.body(program.kernel).expect("a body");
    let operators = body.get_operators_reader().expect("operators").into_iter_with_offsets();
    let is_bulk = |op: &Operator<'_>| {
        matches!(op, Operator::MemoryFill { .. } | Operator::MemoryCopy { .. } | Operator::MemoryInit { .. })
    };
    let found = operators.map(|operator| operator.expect("an operator")).find(|(op, _)| is_bulk(op));
    Location { function: program.kernel, offset: found.expect("a bulk operator").1 as u32 }
}

fn contents(numbers: [u32; 3]) -> Vec<Vec<u8>> {
    let mut random = Random(5);
    let mut bytes = || (0..SIZE).map(|_| random.next() as u8).collect::<Vec<u8>>();
    vec![bytes(), bytes(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect()]
}
