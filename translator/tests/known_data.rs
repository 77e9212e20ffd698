//! Loads of what the module's data segments hold: which become constants and copies of tables, and that they mean the same.

mod common;

use common::{assert_portable, assert_valid, count};
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space};
use wavelift_translator::ir::{Const, Function, LowOp, Op, StmtKind};
use wavelift_translator::{Access, LINEAR, Module, Options, Profile, Shape, testing, translate};

const ADDRESS: u32 = 0x8000_0000;
const INVOCATIONS: u32 = 20;
/// 64 bytes at 1024, the last of which stand at the end of the only segment.
const DATA: u32 = 1024;

fn byte(at: u32) -> u8 {
    (at * 37 + 200) as u8
}

/// A kernel that stores an `i64`; `$i` is the iteration, `$at` the address of its result.
fn module(memory: &str, value: &str) -> Module {
    let bytes: String = (0..64).map(|at| format!("\\{:02x}", byte(at))).collect();
    let text = format!(
        "(module (memory {memory}) (global $__stack_pointer (mut i32) (i32.const 512)) (data (i32.const {DATA}) \"{bytes}\")
           (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
             (i64.store (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3))) {value})))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn shape(module: &Module, initial: Option<&[u32]>) -> Shape {
    let mut shape = Shape::initial(module, 0);
    shape.environment.initial = initial.map(<[u32]>::to_vec);
    shape
}

/// What the invocations store.
fn run(function: &Function) -> Vec<u8> {
    let mut linear = vec![0; 65536];
    (0..64).for_each(|at| linear[(DATA + at) as usize] = byte(at));
    let buffers = vec![Buffer::new(ADDRESS, Access::ReadWrite, &[0; 8 * INVOCATIONS as usize])];
    let mut space = Space { linear, buffers };
    let immediates = [0, INVOCATIONS, 0, INVOCATIONS, 1, 0, ADDRESS, 8 * INVOCATIONS];
    for iteration in 0..INVOCATIONS {
        let globals = &[Const::I32(512)];
        let invocation = Invocation { iteration, immediates: &immediates, globals, ..Invocation::default() };
        interpret::run(function, &[], &invocation, &mut space, &|_| None).unwrap();
    }
    let mut bytes = vec![0; 8 * INVOCATIONS as usize];
    interpret::Memory::load(&mut space, ADDRESS.into(), &mut bytes).unwrap();
    bytes
}

fn loads_of_memory(function: &Function) -> usize {
    let is_load = |op: &LowOp| matches!(op, LowOp::LoadWord { slot: LINEAR } | LowOp::LoadLane { slot: LINEAR, .. });
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(op), .. } if is_load(op)))
}

fn loads_of_data(function: &Function) -> usize {
    let is_load = |op: &Op| matches!(op, Op::Low(LowOp::LoadData | LowOp::LoadDataLane { .. }));
    count(function, |kind| matches!(kind, StmtKind::Op { op, .. } if is_load(op)))
}

/// Lifts with what is known; gives the loads of linear memory and of data that are left, and what is relied on.
fn lift(module: &Module, except: &[u32]) -> (usize, usize, Vec<u32>) {
    let options = Options::default();
    let plain = testing::strict(module, 0, &shape(module, None), &options).unwrap();
    assert_eq!(loads_of_data(&plain), 0);
    let known = shape(module, Some(except));
    let strict = testing::strict(module, 0, &known, &options).unwrap();
    assert_eq!(run(&strict), run(&plain));
    for emulate in [false, true] {
        let emulate = wavelift_translator::Emulate { i64: emulate, f64: emulate };
        let strict = testing::strict(module, 0, &known, &Options { emulate, ..options }).unwrap();
        assert_eq!(run(&strict), run(&plain));
    }
    let shader = translate(module, 0, &known, &options).unwrap();
    assert_valid(&shader.words);
    let portable = translate(module, 0, &known, &Options { profile: Profile::Portable, ..options }).unwrap();
    assert_portable(&portable.words);
    assert_eq!(portable.relies_on, shader.relies_on);
    assert_eq!(shader.interface.data.is_empty(), loads_of_data(&strict) == 0);
    (loads_of_memory(&strict), loads_of_data(&strict), shader.relies_on.to_vec())
}

#[test]
fn loads_from_constant_addresses_are_constants() {
    for (value, relied) in [
        ("(i64.load (i32.const 1024))", vec![1024, 1028]),
        ("(i64.load offset=1 (i32.const 1024))", vec![1024, 1028, 1032]),
        ("(i64.load offset=1024 (i32.const 56))", vec![1080, 1084]),
        ("(i64.load8_s (i32.const 1027))", vec![1024]),
        ("(i64.load8_u (i32.const 1024))", vec![1024]),
        ("(i64.load16_s (i32.const 1031))", vec![1028, 1032]),
        ("(i64.load32_s (i32.const 1028))", vec![1028]),
        ("(i64.extend_i32_s (i32.load16_s (i32.const 1024)))", vec![1024]),
        ("(i64.extend_i32_u (i32.load8_s (i32.const 1025)))", vec![1024]),
        ("(i64.reinterpret_f64 (f64.load (i32.const 1032)))", vec![1032, 1036]),
        ("(i64.extend_i32_u (i32.reinterpret_f32 (f32.load (i32.const 1036))))", vec![1036]),
        ("(i64x2.extract_lane 1 (v128.load (i32.const 1040)))", vec![1040, 1044, 1048, 1052]),
    ] {
        assert_eq!(lift(&module("1", value), &[]), (0, 0, relied), "{value}");
    }
}

#[test]
fn loads_from_small_tables_read_a_copy() {
    let index =
        |mask: u32, shift: u32| format!("(i32.shl (i32.and (local.get $i) (i32.const {mask})) (i32.const {shift}))");
    let all: Vec<u32> = (DATA..DATA + 64).step_by(4).collect();
    for (value, loads, relied) in [
        (format!("(i64.load offset=1024 {})", index(7, 3)), 2, &all[..]),
        (format!("(i64.load (i32.add (i32.const 1024) {}))", index(3, 4)), 2, &all[..14]),
        (format!("(i64.load offset=8 (i32.add (i32.const 1024) {}))", index(3, 4)), 2, &all[2..]),
        (format!("(i64.extend_i32_s (i32.load offset=1024 {}))", index(15, 2)), 1, &all[..]),
        (format!("(i64.load32_s offset=1024 {})", index(7, 2)), 1, &all[..8]),
        (format!("(i64.load16_s offset=1026 {})", index(7, 1)), 1, &all[..5]),
        (format!("(i64.load8_s offset=1025 {})", index(15, 0)), 1, &all[..5]),
        (format!("(i64.extend_i32_u (i32.load8_u offset=1024 {}))", index(63, 0)), 1, &all[..]),
        (format!("(i64.reinterpret_f64 (f64.load offset=1024 {}))", index(3, 3)), 2, &all[..8]),
        (format!("(i64.extend_i32_u (i32.reinterpret_f32 (f32.load offset=1056 {})))", index(7, 2)), 1, &all[8..]),
    ] {
        assert_eq!(lift(&module("1", &value), &[]), (0, loads, relied.to_vec()), "{value}");
    }
    // One table for two loads, and another one's doubles at an even word behind it.
    let (one, other) = (index(2, 2), index(1, 3));
    let value = format!(
        "(i64.add (i64.add (i64.load32_u offset=1028 {one}) (i64.load32_s offset=1028 {one})) (i64.load offset=1064 {other}))"
    );
    assert_eq!(lift(&module("1", &value), &[]).1, 3);
}

#[test]
fn what_is_not_known_is_loaded() {
    let masked = "(i32.shl (i32.and (local.get $i) (i32.const 7)) (i32.const 2))";
    for value in [
        // Outside the segment, partly or as far as anyone knows.
        "(i64.load (i32.const 1084))".to_string(),
        "(i64.load (i32.const 1020))".to_string(),
        "(i64.load (i32.const 2048))".to_string(),
        "(i64.load offset=1024 (i32.shl (local.get $i) (i32.const 1)))".to_string(),
        format!("(i64.load32_u offset=1060 {masked})"),
        // Not aligned.
        format!("(i64.load32_u offset=1026 {masked})"),
        format!("(i64.load offset=1024 {masked})"),
    ] {
        let (loads, data, relied) = lift(&module("1", &value), &[]);
        assert!(loads > 0 && data == 0 && relied.is_empty(), "{value}: {loads} {data} {relied:?}");
    }
    // Others may change what is shared: such loads are refused, whatever the segment says.
    let shared = module("1 1 shared", "(i64.load (i32.const 1024))");
    assert!(translate(&shared, 0, &shape(&shared, Some(&[])), &Options::default()).is_err());
    // What was changed is loaded, and tables with it.
    assert_eq!(lift(&module("1", "(i64.load (i32.const 1024))"), &[1028]), (2, 0, vec![]));
    assert_eq!(lift(&module("1", "(i64.load (i32.const 1032))"), &[1024, 1040]), (0, 0, vec![1032, 1036]));
    assert_eq!(lift(&module("1", &format!("(i64.load32_u offset=1024 {masked})")), &[1052]), (1, 0, vec![]));
}

/// A pointer to data beside one of a buffer in 64 bits, each used for itself.
#[test]
fn halves_of_a_pair_of_pointers_keep_their_places() {
    let pair =
        "(i64.or (i64.extend_i32_u (local.get $p)) (i64.shl (i64.extend_i32_u (i32.const 1024)) (i64.const 32)))";
    let value = format!(
        "(i64.extend_i32_u (i32.add (i32.load (i32.wrap_i64 {pair}))
           (i32.load (i32.wrap_i64 (i64.shr_u {pair} (i64.const 32))))))"
    );
    let module = module("1", &value);
    let strict = testing::strict(&module, 0, &shape(&module, None), &Options::default()).unwrap();
    let word = u32::from_le_bytes([0, 1, 2, 3].map(|at| byte(DATA + at)));
    // The first one finds zero in the buffer, the others what the first one stored.
    let expected: Vec<u8> =
        (0..INVOCATIONS).flat_map(|i| u64::from(word.wrapping_mul(1 + u32::from(i > 0))).to_le_bytes()).collect();
    assert_eq!(run(&strict), expected);
}
