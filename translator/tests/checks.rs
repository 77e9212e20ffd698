//! Merged, moved and proved checks trap where and as the checks of the lowered code do.

mod common;
mod random_checks;

use common::count;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Exit, Function, LowOp, Op, Stmt, StmtKind};
use wavelift_translator::{Access, Module, Options, Profile, Shape, TrapKind, testing, translate};

const ADDRESSES: [u32; 3] = [0x8000_0000, 0x9000_0000, 0xa000_0000];
const INVOCATIONS: u32 = 8;

/// A five-point stencil as compilers write it: `||` of four, the last of them behind a load.
const STENCIL: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32)
    (param $p i32) (param i32) (param $in i32) (param i32) (param $out i32) (param i32)
    (local $w i32) (local $x i32) (local $y i32) (local $at i32) (local $v i32)
    (block $store (block $inside (block $edge
      (local.set $y (i32.div_u (local.get $i) (local.tee $w (i32.load (local.get $p)))))
      (local.set $x (i32.sub (local.get $i) (i32.mul (local.get $y) (local.get $w))))
      (br_if $edge (i32.eq (local.get $x) (i32.sub (local.get $w) (i32.const 1))))
      (br_if $edge (i32.lt_u (local.get $i) (local.get $w)))
      (br_if $edge (i32.eqz (local.get $x)))
      (br_if $inside (i32.ne (local.get $y) (i32.sub (i32.load offset=4 (local.get $p)) (i32.const 1)))))
      (local.set $v (i32.load (i32.add (local.get $in) (i32.shl (local.get $i) (i32.const 2)))))
      (br $store))
    (local.set $at (i32.add (local.get $in) (i32.shl (local.get $i) (i32.const 2))))
    (local.set $v (i32.add (i32.add (i32.load (local.get $at)) (i32.load (i32.sub (local.get $at) (i32.const 4))))
      (i32.add (i32.load offset=4 (local.get $at))
        (i32.add (i32.load (i32.sub (local.get $at) (i32.shl (local.get $w) (i32.const 2))))
          (i32.load (i32.add (local.get $at) (i32.shl (local.get $w) (i32.const 2)))))))))
    (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (local.get $v))))"#;

struct Lifted {
    before: Function,
    after: Function,
}

/// The buffers' contents.
type Inputs = [Vec<u32>; 3];

fn lift(text: &str) -> Lifted {
    let module = Module::parse(wat::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"))).unwrap();
    let kernel = module.find_function("kernel").unwrap();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let shader =
            translate(&module, kernel, &Shape::distinct(3), &options).unwrap_or_else(|e| panic!("{e}\n{text}"));
        match profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
    }
    let stages = testing::stages(&module, kernel).unwrap();
    Lifted { before: stages.lowered, after: stages.strict }
}

/// Runs each invocation on buffers of its own; gives how it ended and, if it came to its end, the buffers: after a trap their contents
/// are unspecified.
fn run(function: &Function, inputs: &Inputs) -> Vec<Result<Vec<Buffer>, Stop>> {
    let mut immediates = vec![0, INVOCATIONS, 0, INVOCATIONS, 1, 0];
    let mut space = Space::default();
    for (address, words) in ADDRESSES.into_iter().zip(inputs) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        immediates.extend([address, bytes.len() as u32]);
        space.buffers.push(Buffer::new(address, Access::ReadWrite, &bytes));
    }
    let run = |iteration| {
        let invocation = Invocation { iteration, immediates: &immediates, ..Invocation::default() };
        let mut space = space.clone();
        interpret::run(function, &[], &invocation, &mut space, &|_| None).map(|_| space.buffers)
    };
    (0..INVOCATIONS).map(run).collect()
}

fn assert_same(lifted: &Lifted, inputs: &Inputs, text: &str) {
    let (before, after) = (run(&lifted.before, inputs), run(&lifted.after, inputs));
    assert_eq!(before, after, "{inputs:?}\n{text}\n{}\n{}", lifted.before, lifted.after);
}

/// Branches that not only failing invocations pass.
fn branches(function: &Function) -> usize {
    let mut todo = vec![function.body];
    let mut found = 0;
    while let Some(id) = todo.pop() {
        for stmt in &function.region(id).stmts {
            found += usize::from(matches!(stmt.kind, StmtKind::If { .. }));
            let traps = |region| matches!(function.region(region).exit, Exit::Trap(_));
            todo.extend(stmt.kind.regions().into_iter().filter(|region| !traps(*region)));
        }
    }
    found
}

fn loads(function: &Function) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::LoadWord { .. }), .. }))
}

fn words(count: u32) -> Vec<u32> {
    (0..count).map(|word| word * 5 + 1).collect()
}

#[test]
fn a_chain_of_conditions_and_the_checks_behind_it_are_few_branches() {
    let lifted = lift(STENCIL);
    // The parameters are there; the width is not zero; all other checks; and the border.
    assert_eq!((branches(&lifted.before), branches(&lifted.after)), (14, 4), "{}", lifted.after);
    // Both ways load their own point: once.
    assert_eq!((loads(&lifted.before), loads(&lifted.after)), (8, 5), "{}", lifted.after);
    for params in [&[][..], &[3], &[3, 3], &[0, 0], &[1, 8], &[2, 4], &[4, 2], &[3, 0], &[8, 1], &[u32::MAX, 3]] {
        for (input, output) in [(12, 8), (9, 9), (8, 8), (7, 8), (8, 7), (5, 8), (1, 1), (0, 0), (8, 0), (0, 8)] {
            assert_same(&lifted, &[params.to_vec(), words(input), vec![0; output]], STENCIL);
        }
    }
}

/// A kernel with this body; `$p`, `$in` and `$out` are the buffers.
fn kernel(body: &str) -> String {
    format!(
        r#"(module (memory 1)
          (func (export "kernel") (param $i i32) (param i32 i32)
            (param $p i32) (param i32) (param $in i32) (param i32) (param $out i32) (param i32)
            (local $v i32)
            {body}))"#
    )
}

const ELEMENT: &str = "(i32.add (local.get $in) (i32.shl (local.get $i) (i32.const 2)))";
const OUT: &str = "(i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2)))";

#[test]
fn a_check_in_an_arm_is_made_for_who_takes_the_arm() {
    let text = kernel(&format!(
        "(if (i32.lt_u (local.get $i) (i32.const 3)) (then (local.set $v (i32.load {ELEMENT})))
           (else (local.set $v (i32.load offset=8 (local.get $p)))))
         (i32.store {OUT} (local.get $v))"
    ));
    let lifted = lift(&text);
    assert_eq!((branches(&lifted.before), branches(&lifted.after)), (4, 2), "{}", lifted.after);
    for (params, input, output) in [(3, 8, 8), (3, 3, 8), (3, 2, 8), (2, 3, 8), (2, 2, 8), (2, 8, 2), (0, 0, 0)] {
        assert_same(&lifted, &[words(params), words(input), vec![0; output]], &text);
    }
    // Who does not take the arm does not fail its check.
    let ends = run(&lifted.after, &[words(3), words(3), vec![0; 8]]);
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
}

#[test]
fn a_check_behind_a_store_goes_with_those_before_it() {
    let text = kernel(&format!(
        "(if (i32.lt_u (local.get $i) (i32.const 3)) (then
           (i32.store {OUT} (i32.const 7)) (local.set $v (i32.load {ELEMENT}))))
         (i32.store offset=4 {OUT} (local.get $v))"
    ));
    let lifted = lift(&text);
    let inputs = [Vec::new(), Vec::new(), vec![0; 9]];
    assert_same(&lifted, &inputs, &text);
    assert_same(&lifted, &[Vec::new(), words(4), vec![0; 9]], &text);
    assert!(branches(&lifted.after) < branches(&lifted.before), "{}", lifted.after);
    let ends = run(&lifted.after, &inputs);
    let traps = ends.iter().filter(|end| matches!(end, Err(Stop::Trap { kind: TrapKind::OutOfBounds, .. }))).count();
    assert_eq!(traps, 3);
}

/// Nobody sees the stack of an invocation that traps.
#[test]
fn a_check_behind_a_store_to_the_stack_goes_with_those_before_it() {
    let fill: String = (0..4)
        .map(|k| format!("(i32.store offset={} (local.get $v) (i32.load8_u offset={k} {ELEMENT}))", 4 * k))
        .collect();
    let text = kernel(&format!(
        "(local.set $v (i32.sub (global.get $sp) (i32.const 16))) {fill}
         (i32.store {OUT} (i32.load (i32.add (local.get $v) (i32.shl (i32.and (local.get $i) (i32.const 3)) (i32.const 2)))))"
    ));
    let stack = r#"(memory 1) (global $sp (export "__stack_pointer") (mut i32) (i32.const 1024))"#;
    let text = text.replace("(memory 1)", stack);
    let lifted = lift(&text);
    assert!(branches(&lifted.before) >= 5 && branches(&lifted.after) == 1, "{}", lifted.after);
    for (input, output) in [(8, 8), (3, 8), (8, 3), (0, 0)] {
        assert_same(&lifted, &[Vec::new(), words(input), vec![0; output]], &text);
    }
}

/// Drivers keep track of some levels only: which of many checks was the first to fail is found a row at a time.
#[test]
fn many_checks_in_a_row_nest_no_deeper_than_some() {
    let body: String = (0..100)
        .map(|word| {
            format!(
                "(local.set $v (i32.add (local.get $v) (i32.load (i32.add (local.get $in)
                   (i32.mul (i32.add (local.get $i) (i32.const {word})) (i32.const {}))))))",
                4 * (word % 7 + 1)
            )
        })
        .collect();
    let text = kernel(&format!(
        "{body} (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (local.get $v))"
    ));
    let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
    let buffers = module.kernel_buffers(0).unwrap();
    let options = Options { max_nesting: 40, ..Options::default() };
    translate(&module, 0, &Shape::distinct(buffers), &options).unwrap();
    let lifted = lift(&text);
    for length in [800, 750, 700, 500, 300, 100, 20, 0] {
        assert_same(&lifted, &[vec![], words(length), vec![0; 8]], &text);
    }
}

/// Where each check depends on those before it, invocations that fail leave a row of them with the number of the check, and no more: to
/// set all that the row hands on costs the others something, too.
#[test]
fn who_ends_in_a_row_of_checks_sets_the_place_alone() {
    let step = "(local.set $v (i32.add (local.get $i) (i32.div_u (i32.const 1000)
      (i32.load (i32.add (local.get $in) (i32.shl (local.get $v) (i32.const 2)))))))";
    let text = kernel(&format!("{} (i32.store {OUT} (local.get $v))", step.repeat(60)));
    let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
    let options = Options { max_nesting: 40, ..Options::default() };
    let strict = testing::strict(&module, 0, &Shape::distinct(3), &options).unwrap();
    let is_set = |stmt: &&Stmt| matches!(stmt.kind, StmtKind::Op { op: Op::Low(LowOp::VarSet(_)), .. });
    let sets = strict.regions.iter().map(|region| region.stmts.iter().filter(is_set).count());
    let sets: Vec<usize> = sets.filter(|sets| *sets > 0).collect();
    let (ends, rows) = (sets.iter().filter(|sets| **sets == 1).count(), sets.iter().filter(|sets| **sets > 1).count());
    assert!(rows > 0 && ends > 5 * rows, "{sets:?}");
    let lifted = Lifted { after: strict, ..lift(&text) };
    let values = |words: [u32; 12]| words.to_vec();
    for input in [
        values([1000, 500, 333, 250, 200, 170, 150, 130, 120, 110, 100, 90]),
        values([1000, 500, 0, 250, 200, 170, 150, 130, 120, 110, 100, 90]),
        values([300, 250, 300, 200, 250, 300, 400, 150, 0, 200, 300, 250]),
        values([9; 12]),
    ] {
        for output in [8, 3] {
            assert_same(&lifted, &[vec![], input.clone(), vec![0; output]], &text);
        }
    }
}

#[test]
fn a_load_of_both_ways_is_not_moved_over_a_store() {
    let both = |first: &str| {
        kernel(&format!(
            "(if (i32.lt_u (local.get $i) (i32.const 3)) (then {first} (local.set $v (i32.load {ELEMENT})))
               (else (local.set $v (i32.add (i32.load {ELEMENT}) (i32.const 1)))))
             (i32.store {OUT} (local.get $v))"
        ))
    };
    for (text, expected) in [(both(""), 1), (both(&format!("(i32.store offset=4 {ELEMENT} (i32.const 9))")), 2)] {
        let lifted = lift(&text);
        assert_eq!((loads(&lifted.before), loads(&lifted.after)), (2, expected), "{}", lifted.after);
        for input in [8, 4, 3, 2, 0] {
            assert_same(&lifted, &[Vec::new(), words(input), vec![0; 8]], &text);
        }
    }
}

#[test]
fn what_leaves_a_loop_stays_in_front_of_the_checks_behind_it() {
    let text = kernel(&format!(
        "(loop $again
           (if (i32.lt_u (local.get $v) (i32.load (local.get $p))) (then
             (local.set $v (i32.add (local.get $v) (i32.load (i32.add (local.get $in) (i32.shl (local.get $v) (i32.const 2))))))
             (br $again))))
         (i32.store {OUT} (local.get $v))"
    ));
    let lifted = lift(&text);
    for (limit, input) in [(0, 0), (1, 0), (1, 1), (5, 1), (5, 2), (20, 8)] {
        assert_same(&lifted, &[vec![limit], words(input), vec![0; 8]], &text);
    }
}

#[test]
fn random_checks_trap_as_they_did() {
    arbtest::arbtest(|u| {
        let text = random_checks::module(u)?;
        let lifted = lift(&text);
        for lengths in [[16, 16, 32], [1, 2, 8], [3, 0, 5], [8, 8, 8], [0, 9, 32], [33, 1, 3]] {
            assert_same(&lifted, &lengths.map(words), &text);
        }
        // Small numbers, which name words of the buffers.
        assert_same(&lifted, &[vec![1, 0, 2, 3, 1, 2], vec![0, 3, 1, 1, 2, 0, 4, 5], vec![2; 12]], &text);
        Ok(())
    })
    .budget_ms(8_000)
    .size_max(16_384);
}
