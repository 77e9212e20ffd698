//! Stores of bytes and 16-bit words by themselves, where the device has them.

mod common;

use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space};
use wavelift_translator::ir::{LowOp, Op, StmtKind};
use wavelift_translator::{Access, Features, Layout, Module, Options, Profile, Shape, immediate, testing, translate};

const ADDRESS: u32 = 0x8000_0000;

/// A kernel of one buffer, whose invocation's place is at `$p + $i`, `$p + 2 * $i` and so on.
fn module(body: &str) -> (Module, u32) {
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param $l i32)
           (local $v i32) (local.set $v (i32.mul (local.get $i) (i32.const 0x01020305))) {body}))"
    );
    let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
    (module, 0)
}

fn options(storage8: bool, storage16: bool) -> Options {
    Options { features: Features { storage8, storage16, ..Features::all() }, ..Options::default() }
}

/// Runs eight invocations; gives the bytes, the sizes of the parts stored, and the number of atomic steps.
fn run(body: &str, options: &Options) -> (Vec<u8>, Vec<u32>, usize) {
    let (module, kernel) = module(body);
    let shape = Shape::distinct(1);
    let strict = testing::strict(&module, kernel, &shape, options).unwrap();
    let start: Vec<u8> = (0..64).map(|i| 0xa0 ^ i).collect();
    let mut space = Space { linear: vec![], buffers: vec![Buffer::new(ADDRESS, Access::ReadWrite, &start)] };
    let mut words = vec![0; immediate::SLOTS as usize];
    words[immediate::COUNT as usize] = 8;
    words.extend([ADDRESS, 64]);
    for iteration in 0..8 {
        let invocation = Invocation { immediates: &words, iteration, ..Invocation::default() };
        interpret::run(&strict, &[], &invocation, &mut space, &|_| None).unwrap_or_else(|e| panic!("{e}\n{strict}"));
    }
    let shader = translate(&module, kernel, &shape, options).unwrap();
    match options.profile {
        Profile::Vulkan => common::assert_valid(&shader.words),
        Profile::Portable => common::assert_portable(&shader.words),
    }
    assert_eq!(shader.interface.bindings.len(), 1, "one buffer, however many variables");
    let ops = || strict.regions.iter().flat_map(|region| &region.stmts);
    let parts = ops().filter_map(|stmt| match stmt.kind {
        StmtKind::Op { op: Op::Low(LowOp::StorePart { bytes, .. }), .. } => Some(bytes),
        _ => None,
    });
    let is_step = |kind: &StmtKind| {
        matches!(kind, StmtKind::Op { op: Op::Low(LowOp::AndWord { .. } | LowOp::OrWord { .. }), .. })
    };
    let steps = ops().filter(|stmt| is_step(&stmt.kind)).count();
    (space.buffers[0].bytes().to_vec(), parts.collect(), steps)
}

const BYTE: &str = "(i32.store8 (i32.add (local.get $p) (local.get $i)) (local.get $v))";
const HALF: &str = "(i32.store16 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 1))) (local.get $v))";
/// A byte behind a word that is loaded, in front of one that is: both see it.
const MIXED: &str = "(i32.store8 offset=1 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
      (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))))
    (i32.store offset=32 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))
      (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))))";

#[test]
fn a_narrow_store_is_one_plain_store() {
    for (body, parts) in [
        (BYTE, vec![1]),
        (HALF, vec![2]),
        (MIXED, vec![1]),
        (
            "(i32.store8 offset=3 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (local.get $v))",
            vec![1],
        ),
        (
            "(i32.store16 offset=2 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (i32.const 0))",
            vec![2],
        ),
        (
            "(i32.store8 offset=2 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))) (i32.const 255))",
            vec![1],
        ),
        ("(i64.store8 (i32.add (local.get $p) (local.get $i)) (i64.extend_i32_u (local.get $v)))", vec![1]),
        (&format!("{BYTE} (i32.store8 offset=20 (local.get $p) (i32.const 7))"), vec![1, 1]),
        (&format!("(if (i32.and (local.get $i) (i32.const 1)) (then {BYTE}) (else {HALF}))"), vec![1, 2]),
    ] {
        let (expected, none, steps) = run(body, &options(false, false));
        assert!(none.is_empty() && steps > 0, "{body}");
        let (bytes, found, steps) = run(body, &options(true, true));
        assert_eq!((bytes, found, steps), (expected.clone(), parts, 0), "{body}");
        let portable = Options { profile: Profile::Portable, ..options(true, true) };
        let (bytes, found, _) = run(body, &portable);
        assert_eq!((bytes, found), (expected, vec![]), "{body}");
    }
}

#[test]
fn a_slot_keeps_its_atomic_steps_if_one_must_stay() {
    // A half whose address may be odd; halves where the device has bytes only.
    let odd = "(i32.store16 (i32.add (local.get $p) (i32.add (local.get $i) (local.get $i))) (local.get $v))
      (i32.store16 offset=32 (i32.add (local.get $p) (i32.and (local.get $v) (i32.const 7))) (local.get $v))";
    for (body, options) in [
        (format!("{BYTE} {odd}"), options(true, true)),
        (format!("{BYTE} {HALF}"), options(true, false)),
        (format!("{BYTE} {HALF}"), options(false, true)),
    ] {
        let (expected, ..) = run(&body, &self::options(false, false));
        let (bytes, parts, steps) = run(&body, &options);
        assert_eq!((bytes, parts), (expected, vec![]), "{body}");
        assert!(steps > 0);
    }
}

#[test]
fn slots_in_slices_and_pools_keep_their_atomic_steps() {
    let (module, kernel) = module(BYTE);
    let count = |layout: Layout| {
        let shape = Shape { layout, ..Shape::distinct(1) };
        let shader = translate(&module, kernel, &shape, &options(true, true)).unwrap();
        common::assert_valid(&shader.words);
        common::disassemble(&shader.words).matches("OpAtomicAnd").count()
    };
    assert_eq!(count(Layout::default()), 0);
    assert_eq!(count(Layout { slice_bits: 5, slices: [(0, 2)].into(), ..Layout::default() }), 2);
    let pooled = [(0, wavelift_translator::layout::POOL_WRITTEN)].into();
    assert_eq!(count(Layout { pooled, ..Layout::default() }), 1);
}

#[test]
fn the_two_views_are_declared_as_aliases() {
    let (module, kernel) = module(MIXED);
    let shader = translate(&module, kernel, &Shape::distinct(1), &options(true, true)).unwrap();
    let text = common::disassemble(&shader.words);
    assert_eq!(text.matches("Aliased").count(), 2, "{text}");
    assert_eq!(text.matches("Coherent").count(), 2, "{text}");
    assert!(text.contains("OpCapability StorageBuffer8BitAccess") && text.contains("SPV_KHR_8bit_storage"), "{text}");
}
