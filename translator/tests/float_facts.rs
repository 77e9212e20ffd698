//! What is known of floats chooses the code that they are emulated with: random expressions in branches that say something of
//! their operands mean the same with and without emulation, and mathematical functions take the short forms.

#[path = "common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "emulation/values.rs"]
mod values;

use values::Random;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space};
use wavelift_translator::ir::{Const, Function};
use wavelift_translator::{Access, Emulate, Module, Options, Shape, testing, translate};

const ADDRESS: u32 = 0x8000_0000;
const INVOCATIONS: u32 = 24;
/// Bytes of an invocation: an `f64` and an `f32`, and the result at 16.
const STRIDE: u32 = 24;
const FLOATS: Emulate = Emulate { i64: false, f64: true };

/// A kernel that stores what the text leaves, in which `$x` is an `f64`, `$s` an `f32`, `$i` the bits of `$s` and `$n` those of `$x`.
fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (global $__stack_pointer (mut i32) (i32.const 512))
           (func (export \"kernel\") (param $id i32) (param i32 i32) (param $p i32) (param i32)
             (local $x f64) (local $y f64) (local $s f32) (local $i i32) (local $n i64)
             (local.set $p (i32.add (local.get $p) (i32.mul (local.get $id) (i32.const {STRIDE}))))
             (local.set $x (f64.load (local.get $p))) (local.set $s (f32.load offset=8 (local.get $p)))
             (local.set $i (i32.reinterpret_f32 (local.get $s))) (local.set $n (i64.reinterpret_f64 (local.get $x)))
             {body}
             (f64.store offset=16 (local.get $p) (local.get $y))))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn lift(module: &Module, emulate: Emulate) -> Function {
    let shape = Shape::initial(module, 0);
    testing::strict(module, 0, &shape, &Options { emulate, ..Options::default() }).unwrap()
}

fn run(function: &Function, input: &[u8]) -> Vec<u8> {
    let buffers = vec![Buffer::new(ADDRESS, Access::ReadWrite, input)];
    let mut space = Space { linear: vec![0; 65536], buffers };
    let immediates = [0, INVOCATIONS, 0, INVOCATIONS, 1, 0, ADDRESS, input.len() as u32];
    for iteration in 0..INVOCATIONS {
        let globals = &[Const::I32(512)];
        let invocation = Invocation { iteration, immediates: &immediates, globals, ..Invocation::default() };
        interpret::run(function, &[], &invocation, &mut space, &|_| None).unwrap();
    }
    let mut bytes = vec![0; input.len()];
    interpret::Memory::load(&mut space, ADDRESS.into(), &mut bytes).unwrap();
    bytes
}

fn pick<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[(random.next() % texts.len() as u64) as usize]
}

/// A constant near which sums round, or near the ends of what is normal.
fn number(random: &mut Random) -> String {
    let exponent = match random.next() % 4 {
        0 => -1070 + (random.next() % 140) as i32,
        1 => 40 + (random.next() % 24) as i32,
        2 => -130 + (random.next() % 260) as i32,
        _ => -3 + (random.next() % 6) as i32,
    };
    let sign = pick(random, &["", "-"]);
    format!(
        "(f64.const {sign}0x1.{:x}p{exponent})",
        random.next() >> pick(random, &["12", "40", "63"]).parse::<u32>().unwrap()
    )
}

fn expression(random: &mut Random, depth: u32) -> String {
    if depth == 0 {
        let leaf = random.next() % 8;
        return match leaf {
            0 | 1 => number(random),
            2 => "(f64.convert_i32_s (i32.shr_s (local.get $i) (i32.const 23)))".into(),
            3 => "(f64.reinterpret_i64 (i64.add (i64.shr_u (local.get $n) (i64.const 12)) (i64.const 0x3f00000000000000)))".into(),
            4 => "(f64.reinterpret_i64 (i64.add (i64.shl (i64.extend_i32_u (i32.and (local.get $i) (i32.const 1008))) (i64.const 46)) (i64.const 0x3c12345678000000)))".into(),
            5 => "(f64.promote_f32 (f32.reinterpret_i32 (i32.sub (local.get $i) (i32.and (i32.add (local.get $i) (i32.const 0xc0cd0000)) (i32.const 0xff800000)))))".into(),
            6 => "(local.get $x)".into(),
            _ => "(f64.promote_f32 (local.get $s))".into(),
        };
    }
    let a = expression(random, depth - 1);
    match random.next() % 12 {
        0 => format!("({} {a})", pick(random, &["f64.neg", "f64.abs", "f64.sqrt", "f64.floor", "f64.nearest"])),
        1 => format!("(f64.promote_f32 (f32.demote_f64 {a}))"),
        11 => format!("(f64.convert_i32_s (i32.trunc_sat_f64_s {a}))"),
        2 => format!("(f64.convert_i32_u ({} {a} {}))", pick(random, &["f64.lt", "f64.ge", "f64.eq"]), number(random)),
        // What stands twice is near itself, rounded.
        3 => format!("(f64.sub {a} (f64.sub (f64.add {a} {0}) {0}))", "(f64.const 0x1.8p52)"),
        4 => format!("(f64.sub (f64.add {a} {0}) {0})", number(random)),
        _ => {
            let depth = (random.next() % u64::from(depth)) as u32;
            let operator = pick(random, &["f64.add", "f64.sub", "f64.mul", "f64.mul", "f64.add", "f64.div"]);
            format!("({operator} {a} {})", expression(random, depth))
        }
    }
}

/// A condition that says something of `$s` or `$x`.
fn condition(random: &mut Random) -> String {
    let (low, high) = (random.next() % 2047, random.next() % 2047);
    match random.next() % 7 {
        0 => {
            format!("(i32.lt_u (i32.and (i32.shr_u (local.get $i) (i32.const 20)) (i32.const 2047)) (i32.const {low}))")
        }
        1 => {
            format!("(i64.lt_u (i64.and (local.get $n) (i64.const 0x7fff800000000000)) (i64.const {}))", low << 52 >> 1)
        }
        2 => format!("(i32.lt_u (i32.add (local.get $i) (i32.const -{})) (i32.const {}))", low << 20, high << 20),
        3 => format!("(i32.gt_s (i32.wrap_i64 (i64.shr_u (local.get $n) (i64.const 32))) (i32.const {}))", low << 20),
        4 => format!("({} (local.get $x) {})", pick(random, &["f64.lt", "f64.gt", "f64.le", "f64.ge"]), number(random)),
        5 => format!(
            "({} (local.get $s) (f32.const 0x1.8p{}))",
            pick(random, &["f32.lt", "f32.gt", "f32.ge"]),
            low % 128
        ),
        _ => format!("(i32.and {} {})", condition_of_numbers(), condition(random)),
    }
}

/// Neither is NaN or infinite.
fn condition_of_numbers() -> &'static str {
    "(i32.and (i32.lt_u (i32.and (local.get $i) (i32.const 0x7fffffff)) (i32.const 0x7f800000))
       (f64.lt (f64.abs (local.get $x)) (f64.const inf)))"
}

/// Blocks that conditions leave; some give up on NaN first.
fn body(random: &mut Random) -> String {
    let first = match random.next() % 3 {
        0 => String::new(),
        _ => format!("(if (i32.eqz {}) (then (return)))", condition_of_numbers()),
    };
    let (a, b, c) = (condition(random), condition(random), condition(random));
    let (inner, outer) = (expression(random, 3), expression(random, 4));
    format!(
        "{first}
         (block $out (block $in (br_if $in {a}) (br_if $out {b}) (if {c} (then) (else (local.set $y {inner}) (return))))
           (local.set $y {inner}) (br_if $out {c}))
         (local.set $y (f64.add (local.get $y) {outer}))"
    )
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..INVOCATIONS {
        bytes.extend(random.f64().to_le_bytes());
        bytes.extend((random.f32() as u32).to_le_bytes());
        bytes.extend([0; 12]);
    }
    bytes
}

#[test]
fn random_expressions_mean_the_same() {
    let mut random = Random(0x5eed_f10a_7fac_75aa);
    for round in 0..300 {
        let text = body(&mut random);
        let module = module(&text);
        let (native, emulated) = (lift(&module, Emulate { i64: false, f64: false }), lift(&module, FLOATS));
        for _ in 0..8 {
            let input = input(&mut random);
            let (expected, found) = (run(&native, &input), run(&emulated, &input));
            assert!(expected == found, "round {round}:\n{text}\n{expected:x?}\n{found:x?}");
        }
    }
}

#[test]
fn a_comparison_with_nan_bounds_nothing() {
    // `$s` is at most 1 or NaN, so what is not above it may be anything.
    let module = module(
        "(if (f32.gt (local.get $s) (f32.const 1)) (then (return)))
         (if (f64.gt (local.get $x) (f64.promote_f32 (local.get $s))) (then (return)))
         (if (i32.eqz (f64.gt (local.get $x) (f64.const -1))) (then (return)))
         (local.set $y (f64.add (f64.nearest (local.get $x)) (f64.const 0x1.8p52)))",
    );
    let mut input = [0; (INVOCATIONS * STRIDE) as usize];
    for (number, bytes) in input.chunks_exact_mut(STRIDE as usize).enumerate() {
        let (x, s) = [(1e300, f32::NAN), (0.75, 1.0), (2.0, 1.0), (0.5, f32::NAN)][number % 4];
        bytes[..8].copy_from_slice(&f64::to_le_bytes(x));
        bytes[8..12].copy_from_slice(&s.to_le_bytes());
    }
    let (native, emulated) = (lift(&module, Emulate { i64: false, f64: false }), lift(&module, FLOATS));
    let found = run(&emulated, &input);
    assert!(found == run(&native, &input));
    assert_eq!(found[16..24], 1e300f64.to_le_bytes());
}

/// Words of a kernel with `f64` emulated.
fn words(text: &str) -> usize {
    let module = module(text);
    let options = Options { emulate: FLOATS, ..Options::default() };
    translate(&module, 0, &Shape::initial(&module, 0), &options).unwrap().words.len()
}

#[test]
fn what_a_branch_says_shortens_what_it_guards() {
    let product = "(local.set $y (f64.mul (f64.promote_f32 (local.get $s)) (f64.promote_f32 (local.get $s))))";
    let guarded = |condition: &str| words(&format!("(if {condition} (then {product}))"));
    let magnitude = "(i32.and (i32.shr_u (local.get $i) (i32.const 20)) (i32.const 2047))";
    let open = guarded(&format!("(i32.lt_u {magnitude} (i32.const 2047))"));
    let bounded = guarded(&format!("(i32.lt_u {magnitude} (i32.const 1067))"));
    let otherwise = guarded(&format!("(i32.gt_u {magnitude} (i32.const 1067))"));
    assert!(bounded + 200 < open, "{bounded} and {open} words");
    assert!(otherwise.abs_diff(open) < 20, "{otherwise} and {open} words");
}
