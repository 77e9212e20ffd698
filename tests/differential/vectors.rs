//! One vector operator a kernel, each with all its lanes at the edges of their types; vectors in control flow, calls and
//! globals; and the loads and stores of vectors and lanes.

use std::collections::HashSet;
use std::fmt::Write;

use wavelift::device::Access;
use wavelift_translator::ir::{Lane, Type, VectorOp};

use crate::case::{BufferShape, Case, Lanes, Program, Run};
use crate::engine::Session;
use crate::plain_wasmtime::PlainWasmtime;
use crate::values::{self, Random};

/// Rows of one launch.
const ROWS: usize = 160;

macro_rules! operator_names {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// Names of all operators, as wasmparser's visitor has them.
        const VISITS: &[(&str, &str)] = &[$((stringify!($proposal), stringify!($visit))),*];
    };
}
wasmparser::for_each_operator!(operator_names);

/// All operators of the lanes of this name that neither name lanes by number nor reach memory, as the text format has them.
fn operators(lanes: &str) -> Vec<String> {
    let names = VISITS.iter().filter(|(proposal, _)| matches!(*proposal, "simd" | "relaxed_simd"));
    let names = names.filter_map(|(_, visit)| visit.trim_start_matches("visit_").split_once('_'));
    names.filter(|(first, _)| *first == lanes).map(|(first, rest)| format!("{first}.{rest}")).collect()
}

/// Every operator of these lanes.
pub fn cases(lanes: &str) -> Vec<Case> {
    let names = operators(lanes);
    assert!(names.len() > 10, "the list of operators has lost most of {lanes}: {names:?}");
    let mut cases = Vec::new();
    for name in names {
        match VectorOp::from_text(&name) {
            Some(op) => cases.push(operator(&name, &name, op.params(), op.result(), compared(op, lanes))),
            None => cases.extend(numbered(&name)),
        }
    }
    cases
}

/// Operators with numbers of lanes.
fn numbered(name: &str) -> Vec<Case> {
    let Some((lanes, operation)) = name.split_once('.') else { return Vec::new() };
    let Some(lane) = Lane::ALL.into_iter().find(|lane| lane.text() == lanes) else { return Vec::new() };
    if operation == "shuffle" {
        return shuffles();
    }
    let (params, result): (&[Type], Type) = match (operation, lane.ty()) {
        ("replace_lane", Type::I64) => (&[Type::V128, Type::I64], Type::V128),
        ("replace_lane", Type::F32) => (&[Type::V128, Type::F32], Type::V128),
        ("replace_lane", Type::F64) => (&[Type::V128, Type::F64], Type::V128),
        ("replace_lane", _) => (&[Type::V128, Type::I32], Type::V128),
        (other, ty) => {
            assert!(other.starts_with("extract_lane"), "{name} has no test");
            (&[Type::V128], ty)
        }
    };
    let case = |index: usize| operator(name, &format!("{name} {index}"), params, result, Lanes::Bits);
    [0, 1, lane.count() / 2, lane.count() - 1].into_iter().collect::<HashSet<_>>().into_iter().map(case).collect()
}

fn shuffles() -> Vec<Case> {
    let mut random = Random(7);
    let mut numbers: Vec<Vec<usize>> = (0..6).map(|_| (0..16).map(|_| random.below(32)).collect()).collect();
    numbers.push((0..16).collect());
    numbers.push((12..28).collect());
    numbers.push((0..16).rev().collect());
    numbers.push((0..16).map(|i| if i % 2 == 0 { i / 2 } else { 16 + i / 2 }).collect());
    numbers.push(vec![5; 16]);
    let text = |numbers: Vec<usize>| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    let params = [Type::V128, Type::V128];
    let case = |numbers| {
        let op = format!("i8x16.shuffle {}", text(numbers));
        operator("i8x16.shuffle", &op, &params, Type::V128, Lanes::Bits)
    };
    numbers.into_iter().map(case).collect()
}

/// How results are compared: only arithmetic leaves a NaN's bits open.
fn compared(op: VectorOp, lanes: &str) -> Lanes {
    let text = op.to_string();
    let on_bits = ["abs", "neg", "pmin", "pmax", "splat"].iter().any(|exact| text.ends_with(exact));
    match lanes {
        "f32x4" if !on_bits => Lanes::F32,
        "f64x2" if !on_bits => Lanes::F64,
        _ => Lanes::Bits,
    }
}

/// Lanes that an operator takes: those that its name ends in, where they are others.
fn taken(name: &str) -> Lane {
    let of = |text: &str| Lane::ALL.into_iter().find(|lane| text.contains(lane.text()));
    let (lanes, operation) = name.split_once('.').unwrap_or(("", name));
    of(operation).or_else(|| of(lanes)).unwrap_or(Lane::I32)
}

/// Values of a lane that show what goes wrong.
fn edges(lane: Lane) -> Vec<u64> {
    match lane {
        Lane::I8 => (0..=255).step_by(5).chain([1, 2, 15, 16, 17, 31, 32, 0x7e, 0x7f, 0x80, 0x81, 0xfe]).collect(),
        Lane::I16 => {
            vec![
                0, 1, 2, 7, 0x80, 0x7f, 0xff, 0x100, 0x101, 0x3fff, 0x4000, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe,
                0xffff,
            ]
        }
        Lane::I32 => values::edges(Type::I32),
        Lane::I64 => values::edges(Type::I64),
        Lane::F32 => values::edges(Type::F32),
        Lane::F64 => values::edges(Type::F64),
    }
}

/// A vector whose lanes are edges, or now and then any bits.
fn vector(random: &mut Random, lane: Lane, edges: &[u64]) -> Vec<u8> {
    let any = random.below(4) == 0;
    let mut bytes = Vec::with_capacity(16);
    for _ in 0..lane.count() {
        let bits = if any { random.next() } else { *random.choose(edges) };
        bytes.extend(&bits.to_le_bytes()[..lane.bits() as usize / 8]);
    }
    bytes
}

fn operator(name: &str, op: &str, params: &[Type], result: Type, lanes: Lanes) -> Case {
    let lane = taken(name);
    let (edges, mut random) = (edges(lane), Random(op.len() as u64));
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for ty in params {
        let of_type = values::edges(*ty);
        let row = |_| match ty {
            Type::V128 => vector(&mut random, lane, &edges),
            ty => random.choose(&of_type).to_le_bytes()[..values::size(*ty) as usize].to_vec(),
        };
        contents.push((0..ROWS).flat_map(row).collect());
    }
    if name.contains("madd") {
        cancel(lane, &mut contents, &mut random);
    }
    contents.push(vec![0xa5; ROWS * values::size(result) as usize]);
    let size = |bytes: &Vec<u8>| bytes.len() as u32;
    let mut buffers: Vec<BufferShape> = contents.iter().map(|bytes| BufferShape::bits(size(bytes))).collect();
    if let Some(out) = buffers.last_mut() {
        out.lanes = lanes;
    }
    one_launch(text(op, params, result), buffers, contents, ROWS as u32)
}

/// Gives every other row a summand that takes most of the product away, or is about half of its last bit.
fn cancel(lane: Lane, contents: &mut [Vec<u8>], random: &mut Random) {
    let [a, b, c] = contents else { return };
    let size = lane.bits() as usize / 8;
    let lanes = a.chunks_exact_mut(size).zip(b.chunks_exact_mut(size)).zip(c.chunks_exact_mut(size));
    for (number, ((a, b), c)) in lanes.enumerate() {
        if (number / lane.count()).is_multiple_of(2) {
            continue;
        }
        // Numbers around 1, whose products need twice the bits.
        let (fraction, one) = if size == 8 { (52, 1f64.to_bits()) } else { (23, 1f32.to_bits().into()) };
        let mut near_one = || one ^ (random.next() % (1 << fraction)) ^ ((random.next() % 3) << fraction);
        let (x, y) = (near_one(), near_one());
        let product = match size {
            8 => (f64::from_bits(x) * f64::from_bits(y)).to_bits(),
            _ => (f32::from_bits(x as u32) * f32::from_bits(y as u32)).to_bits().into(),
        };
        let shift = [0, 0, fraction, fraction + 1, 2 * fraction][random.below(5)];
        let sign = (random.next() & 1) << (8 * size - 1);
        let summand = (product - (shift << fraction)).wrapping_add(random.next() % 3) ^ sign;
        for (bytes, bits) in [(a, x), (b, y), (c, summand)] {
            bytes.copy_from_slice(&bits.to_le_bytes()[..size]);
        }
    }
}

fn one_launch(text: String, buffers: Vec<BufferShape>, contents: Vec<Vec<u8>>, iterations: u32) -> Case {
    let program = Program::new(text, buffers);
    let expected = PlainWasmtime::new(&program).and_then(|mut wasmtime| wasmtime.run(&contents, iterations));
    let expected = expected.unwrap_or_else(|error| panic!("{error}\n{}", program.text));
    Case { program, runs: vec![Run { contents, iterations, expected }], exact_bounds: false }
}

fn text(op: &str, params: &[Type], result: Type) -> String {
    let (mut list, mut body) = (String::new(), String::new());
    for (number, ty) in params.iter().enumerate() {
        let _ = write!(list, "(param $p{number} i32) (param i32) ");
        let _ = writeln!(body, "{} {}.load", element(&format!("$p{number}"), *ty), values::name(*ty));
    }
    let result_name = values::name(result);
    module("", &list, &format!("{}\n{body}{op}\n{result_name}.store", element("$out", result)))
}

fn element(pointer: &str, ty: Type) -> String {
    format!("local.get {pointer} local.get $i i32.const {} i32.mul i32.add", values::size(ty))
}

/// A module with a kernel whose last buffer is `$out`.
fn module(fields: &str, params: &str, body: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1)\n{fields}\n\
         (func $kernel (export \"kernel\") (param $i i32) (param i32 i32) {params}(param $out i32) (param i32)\n\
         (local $v v128) (local $w v128) (local $n i32)\n{body})\n\
         (table 1 funcref) (elem (i32.const 0) $kernel))"
    )
}

/// Kernels that take a vector `$in[i]` and leave one in `$out[i]`: vectors that meet, go around in loops, through calls
/// and globals.
const CONTROL: [(&str, &str); 8] = [
    ("", "local.get $w local.get $v local.get $i i32.const 1 i32.and select"),
    ("", "local.get $v local.get $w local.get $v i8x16.all_true select"),
    (
        "",
        "local.get $i i32.const 3 i32.and (if (result v128) (then local.get $v i32x4.neg) (else local.get $v v128.not))",
    ),
    (
        "",
        "(loop $l (result v128)\n\
           local.get $v local.get $w local.set $v i32.const 7 i32x4.splat i32x4.add local.set $w\n\
           local.get $n i32.const 1 i32.add local.tee $n local.get $i i32.const 7 i32.and i32.lt_u br_if $l\n\
           local.get $v local.get $w v128.xor)",
    ),
    (
        "",
        "(block $b (result v128) local.get $v local.get $i i32.const 2 i32.and br_if $b drop\n\
           (block $c (result v128) local.get $w local.get $i i32.const 4 i32.and br_if $c br $b)\n\
           i32.const 1 i16x8.splat i16x8.sub)",
    ),
    (
        "(func $f (param v128 i32 v128) (result v128 i32)\n\
           local.get 1 (if (then local.get 0 local.get 1 return)) local.get 2 i32.const 5)",
        "local.get $v local.get $i i32.const 1 i32.and local.get $w call $f i32x4.splat i32x4.add",
    ),
    (
        "(global $g (export \"g\") (mut v128) (v128.const i32x4 1 2 3 4)) (global $h v128 (v128.const i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15))\n\
         (global $k (export \"k\") (mut v128) (v128.const i32x4 5 6 7 8))",
        "local.get $i i32.const 1 i32.and (if (then global.get $g local.get $v i32x4.add global.set $g))\n\
         global.get $g global.get $h v128.xor global.get $k i32x4.add",
    ),
    (
        "(type $t (func (param v128) (result v128)))\n\
         (func $a (type $t) local.get 0 i64x2.all_true i32x4.splat)\n\
         (func $b (type $t) local.get 0 i32.const 3 i8x16.shr_s)\n\
         (table $tab 2 funcref) (elem (table $tab) (i32.const 0) func $a $b)",
        "local.get $v local.get $i i32.const 1 i32.and call_indirect $tab (type $t)",
    ),
];

pub fn control() -> Vec<Case> {
    let case = |(fields, body): (&str, &str)| {
        let start = format!(
            "{} v128.load local.tee $v i32.const 3 i32x4.splat i32x4.mul local.set $w",
            element("$in", Type::V128)
        );
        let body = format!("{start}\n{}\n{body}\nv128.store", element("$out", Type::V128));
        let text = module(fields, "(param $in i32) (param i32) ", &body);
        let mut random = Random(3);
        let edges = edges(Lane::I32);
        let bytes: Vec<u8> = (0..32).flat_map(|_| vector(&mut random, Lane::I32, &edges)).collect();
        let buffers = vec![BufferShape::bits(bytes.len() as u32); 2];
        let contents = vec![bytes, vec![0xa5; 32 * 16]];
        one_launch(text, buffers, contents, 32)
    };
    CONTROL.into_iter().map(case).collect()
}

/// Operators and whether they take a vector beside the address.
const LOADS: [(&str, bool); 22] = [
    ("v128.load", false),
    ("v128.load8x8_s", false),
    ("v128.load8x8_u", false),
    ("v128.load16x4_s", false),
    ("v128.load16x4_u", false),
    ("v128.load32x2_s", false),
    ("v128.load32x2_u", false),
    ("v128.load8_splat", false),
    ("v128.load16_splat", false),
    ("v128.load32_splat", false),
    ("v128.load64_splat", false),
    ("v128.load32_zero", false),
    ("v128.load64_zero", false),
    ("v128.load8_lane 0", true),
    ("v128.load8_lane 13", true),
    ("v128.load16_lane 1", true),
    ("v128.load16_lane 6", true),
    ("v128.load32_lane 0", true),
    ("v128.load32_lane 3", true),
    ("v128.load64_lane 0", true),
    ("v128.load64_lane 1", true),
    ("v128.load", false),
];

/// Loads at each place of a small buffer, aligned and not.
pub fn loads() -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, takes_vector) in LOADS {
        for (step, offset) in [(1, 0), (1, 3), (4, 4), (16, 0)] {
            let (name, lane) = op.split_once(' ').unwrap_or((op, ""));
            let vector = if takes_vector { "v128.const i32x4 0x11223344 0x55667788 0x99aabbcc 0xddeeff00" } else { "" };
            let body = format!(
                "{}\nlocal.get $in local.get $i i32.const {step} i32.mul i32.add {vector}\n\
                 {name} offset={offset} align=1 {lane}\nv128.store",
                element("$out", Type::V128)
            );
            let rows = 32;
            let mut random = Random(5);
            let bytes: Vec<u8> = (0..rows * step + 32).map(|_| random.next() as u8).collect();
            let access = if step == 16 { Access::Read } else { Access::ReadWrite };
            let buffers = vec![
                BufferShape { access, ..BufferShape::bits(bytes.len() as u32) },
                BufferShape::bits(16 * rows as u32),
            ];
            let text = module("", "(param $in i32) (param i32) ", &body);
            cases.push(one_launch(text, buffers, vec![bytes, vec![0xa5; 16 * rows]], rows as u32));
        }
    }
    cases
}

const STORES: [&str; 9] = [
    "v128.store",
    "v128.store8_lane 0",
    "v128.store8_lane 11",
    "v128.store16_lane 0",
    "v128.store16_lane 5",
    "v128.store32_lane 2",
    "v128.store32_lane 3",
    "v128.store64_lane 0",
    "v128.store64_lane 1",
];

/// Stores that don't overlap, at places of each alignment.
pub fn stores() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in STORES {
        for (step, offset) in [(16, 0), (20, 4), (17, 1), (18, 2)] {
            let (name, lane) = op.split_once(' ').unwrap_or((op, ""));
            let body = format!(
                "local.get $out local.get $i i32.const {step} i32.mul i32.add {} v128.load\n\
                 {name} offset={offset} align=1 {lane}",
                element("$in", Type::V128)
            );
            let rows = 24;
            let mut random = Random(6);
            let bytes: Vec<u8> = (0..16 * rows).map(|_| random.next() as u8).collect();
            let size = rows * step + 20;
            let buffers = vec![BufferShape::bits(bytes.len() as u32), BufferShape::bits(size as u32)];
            let text = module("", "(param $in i32) (param i32) ", &body);
            cases.push(one_launch(text, buffers, vec![bytes, vec![0xa5; size]], rows as u32));
        }
    }
    cases
}
