//! Indirect calls and tail calls: what they come to is in a table, whose every entry is called, and some beyond it.

use crate::case::{BufferShape, Case, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;

/// A type, functions of it and of others, and the table.
const FUNCTIONS: &str = "(type $unary (func (param i32) (result i32)))
(type $same (func (param i32) (result i32)))
(type $pair (func (param i32 i64) (result i64 i32)))
(type $effect (func (param i32)))
(func $triple (type $unary) (i32.mul (local.get 0) (i32.const 3)))
(func $divide (type $same) (i32.div_s (i32.const 1000) (local.get 0)))
(func $early (type $unary)
  (if (i32.lt_s (local.get 0) (i32.const 0)) (then (return (i32.const -1))))
  (i32.shr_u (local.get 0) (i32.const 1)))
(func $sum (type $unary) (local $s i32)
  (local.set 0 (i32.and (local.get 0) (i32.const 31)))
  (block (loop
    (br_if 1 (i32.eqz (local.get 0)))
    (local.set $s (i32.add (local.get $s) (local.get 0)))
    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
    (br 0)))
  (local.get $s))
(func $swap (type $pair) (i64.mul (local.get 1) (i64.const 3)) (i32.xor (local.get 0) (i32.const 0x55)))
(func $store (type $effect) (i32.store (local.get 0) (i32.const 77)))
(func $even (type $unary) (i32.div_u (i32.const 8) (i32.and (local.get 0) (i32.const 1))))
(table 16 funcref)
(elem (i32.const 1) func $triple $divide $swap $early $sum $store)
(elem (i32.const 8) func $even $triple $store $sum)";

/// Number of entries that `FUNCTIONS` gives its table.
const ENTRIES: u32 = 16;

/// Kernels that compute a result of `$entry` and `$x`, and their helpers.
const BODIES: [(&str, &str); 6] = [
    ("", "(call_indirect (type $unary) (local.get $x) (local.get $entry))"),
    (
        "(func $pairs (param i32 i32) (result i32)
           (call_indirect (type $pair) (local.get 0) (i64.extend_i32_s (local.get 0)) (local.get 1))
           (drop) (i32.wrap_i64))",
        "(call $pairs (local.get $x) (local.get $entry))",
    ),
    ("", "(call_indirect (type $effect) (local.get $out) (local.get $entry)) (i32.load (local.get $out))"),
    (
        "(func $tail (param i32 i32) (result i32)
           (return_call_indirect (type $unary) (local.get 0) (local.get 1)))",
        "(call $tail (local.get $x) (local.get $entry))",
    ),
    (
        "(func $factors (param $n i32) (param $f i32) (result i32)
           (if (i32.le_s (local.get $n) (i32.const 1)) (then (return (local.get $f))))
           (return_call $factors
             (i32.sub (local.get $n) (i32.const 1)) (i32.mul (local.get $f) (local.get $n))))",
        "(call $factors (i32.and (local.get $x) (i32.const 63)) (i32.const 1))",
    ),
    (
        "(func $first (param i32 i32) (result i32)
           (if (i32.lt_u (local.get 1) (i32.const 7)) (then (return_call $second (local.get 1))))
           (return_call $second (local.get 0)))
         (func $second (param i32) (result i32) (i32.div_u (i32.const 5000) (local.get 0)))",
        "(call $first (local.get $x) (local.get $entry))",
    ),
];

/// Each kernel on each entry of the table, and beyond.
pub fn cases() -> Vec<Case> {
    BODIES.iter().map(|(helpers, body)| case(helpers, body)).collect()
}

fn case(helpers: &str, body: &str) -> Case {
    let text = format!(
        "(module (memory (export \"memory\") 1)\n{FUNCTIONS}\n{helpers}\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) (param $entries i32) (param i32)\n\
         (param $xs i32) (param i32) (param $outs i32) (param i32) (local $entry i32) (local $x i32) (local $out i32)\n\
         (local.set $i (i32.shl (local.get $i) (i32.const 2)))\n\
         (local.set $entry (i32.load (i32.add (local.get $entries) (local.get $i))))\n\
         (local.set $x (i32.load (i32.add (local.get $xs) (local.get $i))))\n\
         (local.set $out (i32.add (local.get $outs) (local.get $i)))\n\
         (i32.store (local.get $out) {body})))"
    );
    let entries = (0..ENTRIES).chain([ENTRIES, ENTRIES + 1, 0x8000_0000, u32::MAX]);
    let xs = [7, 0, 0x8000_0001];
    let records: Vec<(u32, u32)> = entries.flat_map(|entry| xs.map(|x| (entry, x))).collect();
    let size = 4 * records.len() as u32;
    let program = Program::new(text, vec![BufferShape::bits(size); 3]);
    let runs = runs(&program, &records);
    Case { program, runs, exact_bounds: false }
}

/// One launch of all records that end well, and one for each that traps, behind two that end well.
fn runs(program: &Program, records: &[(u32, u32)]) -> Vec<Run> {
    let mut wasmtime = PlainWasmtime::new(program).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    let mut run = |records: &[(u32, u32)]| {
        let contents = contents(program, records);
        let iterations = records.len() as u32;
        let expected = wasmtime.run(&contents, iterations).unwrap_or_else(|error| panic!("{error}\n{}", program.text));
        Run { contents, iterations, expected }
    };
    let traps = |run: &Run| matches!(run.expected, crate::case::End::Trapped(_));
    let (bad, good): (Vec<_>, Vec<_>) = records.iter().copied().partition(|record| traps(&run(&[*record])));
    let mut runs = vec![run(&good)];
    let before: Vec<(u32, u32)> = good.iter().copied().take(2).collect();
    runs.extend(bad.into_iter().map(|record| run(&[before.as_slice(), &[record]].concat())));
    runs
}

fn contents(program: &Program, records: &[(u32, u32)]) -> Vec<Vec<u8>> {
    let column = |of: fn(&(u32, u32)) -> u32| {
        let mut bytes: Vec<u8> = records.iter().flat_map(|record| of(record).to_le_bytes()).collect();
        bytes.resize(program.buffers[0].size as usize, 0);
        bytes
    };
    vec![column(|record| record.0), column(|record| record.1), vec![0; program.buffers[2].size as usize]]
}
