//! What drivers that move loads in front of stores to the same place are told, and repeated checks that make them do so.

mod common;

use rspirv::dr::Operand;
use rspirv::spirv::{Decoration, Op};
use wavelift_translator::{Features, Module, Options, Profile, Shape, testing, translate};

/// A kernel of two buffers.
fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32) (param $q i32)
           (param i32) (local $n i32) (local.set $i (i32.shl (local.get $i) (i32.const 2))) {body}))"
    );
    Module::parse(wat::parse_str(&text).unwrap()).unwrap()
}

/// Whether the first buffer is declared coherent for a driver that moves loads, in both profiles.
fn is_coherent(body: &str, moves_loads: bool) -> bool {
    let found = [Profile::Vulkan, Profile::Portable].map(|profile| {
        let features = Features { moves_loads, ..Features::all() };
        let options = Options { profile, features, ..Options::default() };
        let words = translate(&module(body), 0, &Shape::distinct(2), &options).unwrap().words;
        match profile {
            Profile::Vulkan => common::assert_valid(&words),
            Profile::Portable => common::assert_portable(&words),
        }
        let parsed = rspirv::dr::load_words(&words).unwrap();
        let decorated = |wanted: Decoration, with: Option<u32>| {
            let annotations = parsed.annotations.iter().filter(|inst| inst.class.opcode == Op::Decorate);
            let wanted = annotations.filter(|inst| inst.operands[1] == Operand::Decoration(wanted));
            let wanted = wanted.filter(|inst| with.is_none_or(|n| inst.operands[2] == Operand::LiteralBit32(n)));
            wanted.map(|inst| inst.operands[0].clone()).collect::<Vec<_>>()
        };
        let first = &decorated(Decoration::Binding, Some(1))[0];
        decorated(Decoration::Coherent, None).contains(first)
    });
    assert_eq!(found[0], found[1], "{body}");
    found[0]
}

const STORE: &str = "(i32.store (i32.add (local.get $p) (local.get $i)) (local.get $i))";
/// Of another place, which may be the same.
const LOAD: &str = "(i32.store (local.get $q) (i32.load (i32.add (local.get $p) (i32.load offset=4 (local.get $q)))))";

#[test]
fn what_is_loaded_behind_a_store_is_coherent() {
    let behind = format!("{STORE} {LOAD}");
    assert!(is_coherent(&behind, true));
    assert!(!is_coherent(&behind, false));
    assert!(!is_coherent(&format!("{LOAD} {STORE}"), true));
    assert!(!is_coherent(STORE, true) && !is_coherent(LOAD, true));
    let in_arms = format!("(if (i32.and (local.get $i) (i32.const 8)) (then {STORE})) {LOAD}");
    assert!(is_coherent(&in_arms, true));
}

#[test]
fn a_loop_loads_behind_what_its_rounds_store() {
    let repeated = |body: &str| {
        format!(
            "(loop {body} (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
               (i32.load offset=8 (local.get $q)))))"
        )
    };
    assert!(is_coherent(&repeated(&format!("{LOAD} {STORE}")), true));
    assert!(is_coherent(&format!("{STORE} {}", repeated(LOAD)), true));
    assert!(is_coherent(&format!("{} {LOAD}", repeated(STORE)), true));
    assert!(!is_coherent(&format!("{} {STORE}", repeated(LOAD)), true));
}

/// Behind a branch of which only one way comes out: the check of what that stored to is not made again, and the load takes what
/// was stored.
#[test]
fn a_check_that_repeats_one_in_the_only_way_out_of_a_branch_is_dropped() {
    let body = "(if (i32.load (i32.add (local.get $q) (local.get $i)))
        (then (i32.store (i32.add (local.get $p) (local.get $i)) (i32.const 77)))
        (else (i32.store (i32.add (local.get $q) (local.get $i)) (i32.const 5)) (unreachable)))
      (i32.store (i32.add (local.get $p) (local.get $i))
        (i32.add (i32.load (i32.add (local.get $p) (local.get $i))) (i32.const 1)))";
    let strict = testing::strict(&module(body), 0, &Shape::distinct(2), &Options::default()).unwrap();
    let text = strict.to_string();
    assert_eq!(text.matches("trap OutOfBounds").count(), 2, "one check of each buffer:\n{text}");
    assert_eq!(text.matches("low.load_word").count(), 1, "{text}");
}
