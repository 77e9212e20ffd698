//! What Mesa's software driver gets to see, so that it compiles kernels in bearable time.

mod common;

use std::fmt::Write;

use common::{assert_portable, assert_valid};
use rspirv::spirv::{LoopControl, Op, StorageClass};
use wavelift_translator::layout::DATA;
use wavelift_translator::{Error, Features, Module, Options, Profile, Shader, Shape, translate};

/// A kernel with a table of eight words at address 1024 and a frame of 64 bytes below 512.
fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (global $sp (export \"__stack_pointer\") (mut i32) (i32.const 512))
           (data (i32.const 1024) \"abcdefghijklmnopqrstuvwxyzABCDEF\")
           (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
             (local $frame i32) (local $n i32) (local $m i32)
             (global.set $sp (local.tee $frame (i32.sub (global.get $sp) (i32.const 64))))
             (local.set $p (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 3))))
             {body}
             (global.set $sp (i32.add (local.get $frame) (i32.const 64)))))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

/// The shader for a driver with these features, which readers of the profile take.
fn lift(body: &str, profile: Profile, features: Features) -> Shader {
    let module = module(body);
    let options = Options { profile, features, ..Options::default() };
    let mut shape = Shape::initial(&module, 0);
    shape.environment.initial = Some(vec![]);
    let shader = translate(&module, 0, &shape, &options).unwrap();
    match profile {
        Profile::Vulkan => assert_valid(&shader.words),
        Profile::Portable => assert_portable(&shader.words),
    }
    shader
}

fn instructions(shader: &Shader, op: Op) -> Vec<rspirv::dr::Instruction> {
    let module = rspirv::dr::load_words(&shader.words).unwrap();
    module.all_inst_iter().filter(|inst| inst.class.opcode == op).cloned().collect()
}

fn variables(shader: &Shader, class: StorageClass) -> usize {
    let of_class = |inst: &rspirv::dr::Instruction| inst.operands[0] == rspirv::dr::Operand::StorageClass(class);
    instructions(shader, Op::Variable).iter().filter(|inst| of_class(inst)).count()
}

const PROFILES: [Profile; 2] = [Profile::Vulkan, Profile::Portable];

#[test]
fn tables_that_fit_are_uniform_buffers_where_that_is_wanted() {
    let word =
        "(i32.store (local.get $p) (i32.load offset=1024 (i32.shl (i32.and (i32.load (local.get $p)) (i32.const 7))
        (i32.const 2))))";
    let pair =
        "(i64.store (local.get $p) (i64.load offset=1024 (i32.shl (i32.and (i32.load (local.get $p)) (i32.const 3))
        (i32.const 3))))";
    for (body, profile) in [word, pair].iter().flat_map(|body| PROFILES.map(|profile| (body, profile))) {
        for (uniform_data, expected) in [(0, 0), (31, 0), (32, 1)] {
            let shader = lift(body, profile, Features { uniform_data, ..Features::all() });
            assert_eq!(variables(&shader, StorageClass::Uniform), expected, "{body} {uniform_data}");
            let binding = shader.interface.bindings.iter().find(|binding| binding.slot == DATA).unwrap();
            assert_eq!(binding.uniform, expected == 1);
            assert_eq!(shader.interface.data.len(), 8);
        }
    }
}

/// A kernel that accesses its frame twice for each of `count`, at places that are not known.
fn stack_accesses(count: usize) -> String {
    let mut body = String::new();
    for number in 0..count {
        let place = format!(
            "(i32.add (local.get $frame) (i32.shl (i32.and (i32.shr_u (local.get $n) (i32.const {})) (i32.const 15))
               (i32.const 2)))",
            number % 28
        );
        writeln!(body, "(local.set $n (i32.add (i32.load (local.get $p)) (i32.mul (local.get $n) (i32.const 5))))")
            .unwrap();
        writeln!(body, "(i32.store {place} (i32.add (i32.load {place}) (local.get $n)))").unwrap();
    }
    body + "(i32.store (local.get $p) (i32.load (i32.add (local.get $frame) (i32.and (local.get $n) (i32.const 60)))))"
}

#[test]
fn a_stack_of_many_accesses_lies_outside_its_kernel_and_is_accessed_behind_a_barrier() {
    for profile in PROFILES {
        for (quadratic_arrays, count, expected) in [(false, 60, 0), (true, 40, 0), (true, 60, 1)] {
            let features = Features { quadratic_arrays, ..Features::all() };
            let shader = lift(&stack_accesses(count), profile, features);
            assert_eq!(variables(&shader, StorageClass::Private), expected);
            assert_eq!(instructions(&shader, Op::ControlBarrier).len(), expected);
        }
    }
}

#[test]
fn loops_that_access_much_are_not_unrolled_by_a_driver_that_does_not_count_accesses() {
    let access = "(i32.store (local.get $p) (i32.add (local.get $n) (i32.load offset=4 (local.get $p))))";
    let repeat = |local: &str, body: &str| {
        format!(
            "(local.set {local} (i32.const 0)) (loop {body} (br_if 0 (i32.lt_u (local.tee {local}
               (i32.add (local.get {local}) (i32.const 1))) (i32.const 6))))"
        )
    };
    let small = repeat("$n", access);
    let nested = repeat("$m", &small);
    let large = repeat("$n", &access.repeat(2));
    // Together they access so much that one more is too much.
    let many = repeat("$n", &access.repeat(8));
    let kept = |body: &str, unrolls_accesses: bool| -> usize {
        let shader = lift(body, Profile::Vulkan, Features { unrolls_accesses, ..Features::all() });
        let merges = instructions(&shader, Op::LoopMerge);
        let keeps = rspirv::dr::Operand::LoopControl(LoopControl::DONT_UNROLL);
        merges.iter().filter(|inst| inst.operands[2] == keeps).count()
    };
    let bodies = [
        small.clone(),
        nested.clone(),
        large.clone(),
        many.clone() + &nested,
        many.clone() + &small,
        many.clone() + &large,
        many,
    ];
    assert_eq!(bodies.clone().map(|body| kept(&body, true)), [0, 0, 0, 2, 1, 2, 0]);
    assert_eq!(bodies.map(|body| kept(&body, false)), [0; 7]);
}

/// A kernel of `count` branches, each of which adds `term` of `$x`.
fn branches(count: u32, term: impl Fn(u32) -> String) -> Module {
    let branch = |number: u32| {
        format!(
            "(if (i32.eq (i32.and (local.get $i) (i32.const 0xffff)) (i32.const {number}))
               (then (local.set $x {})))",
            term(number)
        )
    };
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) (param $p i32) (param i32)
           (local $x i32) (local.set $x (i32.load (local.get $p)))
           {} (i32.store (local.get $p) (local.get $x))))",
        (0..count).map(branch).collect::<String>()
    );
    Module::parse(wat::parse_str(text).unwrap()).unwrap()
}

#[test]
fn kernels_of_many_branches_are_refused_as_those_of_many_accesses() {
    let lift = |module: &Module| {
        let kernel = module.find_function("kernel").unwrap();
        let options = Options { max_accesses: 160, ..Options::default() };
        translate(module, kernel, &Shape::distinct(1), &options).map(|shader| shader.accesses)
    };
    let divides = |count: u32| {
        branches(count, |n| format!("(i32.div_u (local.get $x) (i32.sub (local.get $i) (i32.const {n})))"))
    };
    assert!(lift(&divides(40)).unwrap() < 10);
    match lift(&divides(200)) {
        Err(Error::Unsupported { what, too_large, .. }) => {
            assert!(
                what.ends_with(
                    "branches and loops, of which this device's driver compiles at most 140 in bearable time"
                ),
                "{what}"
            );
            assert!(too_large);
        }
        other => panic!("{other:?}"),
    }
    // Between values a driver selects.
    let adds = branches(200, |n| format!("(i32.xor (local.get $x) (i32.const {n}))"));
    assert!(lift(&adds).unwrap() < 10);
}
