//! Atomic accesses: what passes leave of the accesses around them, what they order, and what is refused. That they give the
//! right numbers is tested where kernels run.

mod common;

use common::count;
use wavelift_translator::ir::{AtomicOp, Function, LowOp, Op, StmtKind};
use wavelift_translator::layout::POOL_WRITTEN;
use wavelift_translator::{Error, Features, Layout, Module, Options, Profile, Shape, testing, translate};

/// Semantics of SPIR-V's operands: relaxed; acquire and release on storage buffers.
const RELAXED: u32 = 0;
const ACQUIRE_RELEASE: u32 = 0x8 | 0x40;

/// A kernel of two buffers, `$p` and `$q`, with the address of its word of each in `$a` and `$b`.
fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32)
           (param $p i32) (param i32) (param $q i32) (param i32) (local $a i32) (local $b i32) (local $x i32)
           (local.set $a (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))
           (local.set $b (i32.add (local.get $q) (i32.shl (local.get $i) (i32.const 2))))
           {body}))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn strict(body: &str) -> Function {
    testing::strict(&module(body), 0, &Shape::distinct(2), &Options::default()).unwrap()
}

fn loads(function: &Function) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::LoadWord { .. }), .. }))
}

fn stores(function: &Function) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::StoreWord { .. }), .. }))
}

fn atomics(function: &Function, wanted: AtomicOp) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::Atomic { op, .. }), .. } if *op == wanted))
}

/// The operands of memory semantics of a kernel's atomic instructions, each once.
fn semantics(body: &str) -> Vec<u32> {
    let shader = translate(&module(body), 0, &Shape::distinct(2), &Options::default()).unwrap();
    common::assert_valid(&shader.words);
    let spirv = rspirv::dr::load_words(&shader.words).unwrap();
    let constant = |id: u32| {
        let found = spirv.types_global_values.iter().find(|inst| inst.result_id == Some(id)).unwrap();
        found.operands[0].unwrap_literal_bit32()
    };
    // The first function is the kernel; `main` records traps.
    let operands = spirv.functions[0].all_inst_iter().flat_map(|inst| &inst.operands);
    let mut found: Vec<u32> = operands
        .filter_map(|operand| match operand {
            rspirv::dr::Operand::IdMemorySemantics(id) => Some(constant(*id)),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// An update of the first word of `$q` by one.
const ADD: &str = "(drop (i32.atomic.rmw.add (local.get $q) (i32.const 1)))";

#[test]
fn what_was_loaded_before_an_atomic_access_is_loaded_again_behind_it_if_it_may_change() {
    let twice = |between: &str| {
        let load = "(local.set $x (i32.add (local.get $x) (i32.load (local.get $a))))";
        loads(&strict(&format!("{load} {between} {load} (i32.store offset=400 (local.get $a) (local.get $x))")))
    };
    assert_eq!(twice(""), 1);
    for between in [
        ADD,
        "(atomic.fence)",
        "(drop (i32.atomic.load (local.get $q)))",
        "(i32.atomic.store8 (local.get $q) (i32.const 1))",
        "(if (local.get $i) (then (drop (i32.atomic.rmw.or (local.get $q) (i32.const 1)))))",
        "(loop $l (br_if $l (i32.atomic.load (local.get $q))))",
    ] {
        assert_eq!(twice(between), 2, "{between}");
    }
}

#[test]
fn parts_of_a_word_are_stored_before_an_atomic_access() {
    let parts = |between: &str| {
        let part = |at: u32| format!("(i32.store16 offset={at} (local.get $a) (local.get $i))");
        let function = strict(&format!("{} {between} {} {ADD}", part(0), part(2)));
        stores(&function)
    };
    assert_eq!(parts(""), 1, "both halves are one word");
    assert_eq!(parts(ADD), 0, "the first half must be there before");
    assert_eq!(parts("(atomic.fence)"), 0);
}

#[test]
fn an_update_whose_result_is_not_used_stays() {
    let function = strict(&format!("{ADD} {ADD}"));
    assert_eq!(atomics(&function, AtomicOp::Add), 2);
    let function = strict("(drop (i32.atomic.load (local.get $q)))");
    assert_eq!(atomics(&function, AtomicOp::Load), 1, "it orders what stands around it");
}

#[test]
fn a_load_is_not_moved_in_front_of_an_atomic_access() {
    // Both ways begin with an atomic access; the load of both is behind it.
    let way = |number: u32| {
        format!(
            "(drop (i32.atomic.rmw.add (local.get $q) (i32.const {number})))
             (i32.store offset={} (local.get $q) (i32.load (local.get $a)))",
            64 * number
        )
    };
    let function = strict(&format!("(if (local.get $i) (then {}) (else {}))", way(1), way(2)));
    assert_eq!(loads(&function), 2, "{function}");
    assert_eq!(atomics(&function, AtomicOp::Add), 2);
}

#[test]
fn parts_of_words_are_loops_that_exchange_them_but_for_bits() {
    let exchanges = |operator: &str| {
        let function = strict(&format!("(drop (i32.atomic.{operator} (local.get $q) (i32.const 3)))"));
        let loops = count(&function, |kind| matches!(kind, StmtKind::Loop { .. }));
        assert_eq!(loops, atomics(&function, AtomicOp::CompareExchange), "{operator}");
        loops
    };
    for operator in ["rmw8.and_u", "rmw16.or_u", "rmw8.xor_u", "rmw.add", "rmw.xchg"] {
        assert_eq!(exchanges(operator), 0, "{operator}");
    }
    for operator in ["rmw8.add_u", "rmw16.sub_u", "rmw8.xchg_u"] {
        assert_eq!(exchanges(operator), 1, "{operator}");
    }
}

#[test]
fn a_slot_with_atomic_accesses_has_no_plain_stores_of_parts() {
    let parts = |function: &Function| {
        count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::StorePart { .. }), .. }))
    };
    let byte = "(i32.store8 (i32.add (local.get $p) (local.get $i)) (local.get $i))";
    assert_eq!(parts(&strict(&format!("{byte} {ADD}"))), 1, "the update is of the other buffer");
    let there = "(drop (i32.atomic.rmw8.add_u offset=99 (local.get $p) (i32.const 1)))";
    assert_eq!(parts(&strict(&format!("{byte} {there}"))), 0);
}

#[test]
fn accesses_are_ordered_where_an_invocation_can_tell() {
    // A histogram: nothing that is changed is read.
    assert_eq!(semantics(ADD), [RELAXED]);
    let by_data = "(drop (i32.atomic.rmw.add (i32.add (local.get $q) (i32.load (local.get $a))) (i32.const 1)))";
    assert_eq!(semantics(by_data), [RELAXED]);
    // What was there is used; other memory that is changed is read.
    let ticket = "(i32.store (local.get $a) (i32.atomic.rmw.add (local.get $q) (i32.const 1)))";
    assert_eq!(semantics(ticket), [ACQUIRE_RELEASE]);
    let reads = format!("(i32.store (local.get $b) (i32.load (local.get $a))) {ADD}");
    assert_eq!(semantics(&reads), [RELAXED], "the first buffer does not change");
    let reads = format!("(i32.store (local.get $a) (i32.load (local.get $b))) {ADD}");
    assert_eq!(semantics(&reads), [ACQUIRE_RELEASE]);
    assert_eq!(semantics(&format!("(i32.store (local.get $a) (i32.atomic.load (local.get $b))) {ADD}")).len(), 2);
}

#[test]
fn wide_atomics_have_a_second_view_in_every_layout() {
    let body = "(i64.store offset=8 (local.get $p)
        (i64.atomic.rmw.cmpxchg (local.get $p) (i64.const 1) (i64.atomic.rmw.add offset=16 (local.get $q) (i64.const 2))))";
    for layout in [
        Layout::default(),
        Layout { slice_bits: 10, slices: [(0, 3), (1, 2)].into(), ..Layout::default() },
        Layout { pooled: [(0, POOL_WRITTEN), (1, POOL_WRITTEN)].into(), ..Layout::default() },
    ] {
        let shape = Shape { layout: layout.clone(), ..Shape::distinct(2) };
        let shader = translate(&module(body), 0, &shape, &Options::default()).unwrap();
        common::assert_valid(&shader.words);
        let text = common::disassemble(&shader.words);
        assert!(text.contains("OpCapability Int64Atomics"), "{layout:?}");
        let views = text.matches("_by_64\"").count();
        assert_eq!(views, shader.interface.bindings.len(), "{layout:?}\n{text}");
        assert_eq!(text.matches("Aliased").count(), 2 * views, "{layout:?}");
    }
}

fn refusal(body: &str, options: &Options) -> String {
    match translate(&module(body), 0, &Shape::distinct(2), options) {
        Err(error @ Error::Unsupported { at: Some(_), .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_device_lacks_is_refused_by_name() {
    let wide = "(drop (i64.atomic.rmw.xor (local.get $q) (i64.const 1)))";
    let without = Options { features: Features { int64_atomics: false, ..Features::all() }, ..Options::default() };
    let portable = Options { profile: Profile::Portable, ..Options::default() };
    for options in [without, portable] {
        let said = refusal(wide, &options);
        assert!(said.contains("`i64.atomic.rmw.xor`") && said.contains("has no 64-bit atomics"), "{said}");
        assert!(said.contains("use 32-bit ones") && said.contains("byte offset 0x"), "{said}");
    }
    let said = refusal("(atomic.fence)", &portable);
    assert!(said.contains("`atomic.fence`"), "{said}");
    for (operator, name) in [
        ("(drop (memory.atomic.wait32 (local.get $a) (i32.const 0) (i64.const 0)))", "`memory.atomic.wait32`"),
        ("(drop (memory.atomic.wait64 (local.get $a) (i64.const 0) (i64.const 0)))", "`memory.atomic.wait64`"),
        ("(drop (memory.atomic.notify (local.get $a) (i32.const 0)))", "`memory.atomic.notify`"),
    ] {
        let said = refusal(operator, &Options::default());
        assert!(said.contains(name) && said.contains("can't wait for each other"), "{said}");
    }
    // Words of 64-bit operators need no 64-bit atomics.
    let narrow = "(drop (i64.atomic.rmw32.add_u (local.get $q) (i64.const 1)))";
    translate(&module(narrow), 0, &Shape::distinct(2), &without).unwrap();
}
