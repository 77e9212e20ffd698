//! Wide loads and merged checks: what they make of a kernel, and that it means the same.

mod common;

use common::count;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Function, LowOp, Op, StmtKind};
use wavelift_translator::{
    Access, LaunchChecks, LaunchState, Module, Options, Profile, Proved, Shape, TrapKind, testing, translate,
};

const ADDRESSES: [u32; 2] = [0x8000_0000, 0x9000_0000];
const INVOCATIONS: u32 = 3;

/// Sums the four members of structure `i` of buffer 0, each but the last with its neighbour's twice, into word `i` of
/// buffer 1.
const STRUCTURES: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
    (local $p i32)
    (local.set $p (i32.add (local.get $in) (i32.shl (local.get $i) (i32.const 4))))
    (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2)))
      (i32.add (i32.add (i32.load (local.get $p)) (i32.load offset=4 (local.get $p)))
        (i32.add (i32.load offset=8 (local.get $p)) (i32.load offset=12 (local.get $p)))))))"#;

struct Lifted {
    before: Function,
    after: Function,
}

fn lift(text: &str) -> Lifted {
    let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let kernel = module.find_function("kernel").unwrap();
    let buffers = module.kernel_buffers(kernel).unwrap();
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let shader = translate(&module, kernel, &Shape::distinct(buffers), &options).unwrap();
        match profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
    }
    let stages = testing::stages(&module, kernel).unwrap();
    Lifted { before: stages.lowered, after: stages.strict }
}

fn lanes(function: &Function) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::LoadLane { .. }), .. }))
}

fn words(function: &Function) -> usize {
    count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::LoadWord { .. }), .. }))
}

/// Runs all invocations on an in-buffer of `length` bytes; gives the out-buffer and how each ended.
fn run(function: &Function, length: u32) -> (Vec<u8>, Vec<Result<(), Stop>>) {
    let input: Vec<u8> = (0..length).map(|byte| (byte * 7 + 3) as u8).collect();
    let out = vec![0; (INVOCATIONS * 4) as usize];
    let buffers =
        vec![Buffer::new(ADDRESSES[0], Access::ReadWrite, &input), Buffer::new(ADDRESSES[1], Access::ReadWrite, &out)];
    let mut space = Space { linear: Vec::new(), buffers };
    let immediates = [0, INVOCATIONS, 0, INVOCATIONS, 1, 0, ADDRESSES[0], length, ADDRESSES[1], INVOCATIONS * 4];
    let mut run = |iteration| {
        let invocation = Invocation { iteration, immediates: &immediates, ..Invocation::default() };
        interpret::run(function, &[], &invocation, &mut space, &|_| None).map(|_| ())
    };
    let ends = (0..INVOCATIONS).map(&mut run).collect();
    (space.buffers[1].bytes().to_vec(), ends)
}

#[test]
fn loads_of_one_structure_are_lanes_of_one_wide_load() {
    let lifted = lift(STRUCTURES);
    assert_eq!((words(&lifted.before), lanes(&lifted.before)), (4, 0));
    assert_eq!((words(&lifted.after), lanes(&lifted.after)), (0, 4));
    // One is too short by a byte, and one ends inside the last structure.
    for length in [48, 47, 40, 17, 16, 3, 0] {
        assert_eq!(run(&lifted.before, length), run(&lifted.after, length), "{length} bytes");
    }
}

#[test]
fn a_buffer_whose_structures_are_not_aligned_or_that_is_stored_by_bytes_stays_narrow() {
    let parted = STRUCTURES.replace(
        "(i32.store (i32.add (local.get $out)",
        "(i32.store8 (local.get $p) (i32.const 1)) (i32.store (i32.add (local.get $out)",
    );
    let eight = STRUCTURES.replace("(i32.const 4))))", "(i32.const 3))))");
    let sparse =
        STRUCTURES.replace("offset=4", "offset=16").replace("offset=8", "offset=32").replace("offset=12", "offset=48");
    for text in [parted, sparse] {
        let lifted = lift(&text);
        assert_eq!((words(&lifted.after), lanes(&lifted.after)), (4, 0), "{text}");
    }
    // These are two pairs.
    let lifted = lift(&eight);
    assert_eq!((words(&lifted.after), lanes(&lifted.after)), (0, 4), "{eight}");
    for length in [48, 47, 40, 17, 16, 3, 0] {
        assert_eq!(run(&lifted.before, length), run(&lifted.after, length), "{length} bytes");
    }
}

#[test]
fn members_that_are_stored_one_by_one_are_stored_at_once_if_they_are_all() {
    let store = |offset: u32| {
        format!("(i32.store offset={offset} (local.get $p) (i32.add (local.get $i) (i32.const {offset})))")
    };
    let quads = |function: &Function| {
        count(function, |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::StoreQuad { .. }), .. }))
    };
    for (offsets, expected) in [(&[0, 4, 8, 12][..], 1), (&[12, 0, 4, 8, 4], 1), (&[0, 4, 8], 0), (&[0, 4, 8, 16], 0)] {
        let stores: String = offsets.iter().map(|offset| store(*offset)).collect();
        let stored = STRUCTURES
            .replace("(i32.store (i32.add (local.get $out)", &format!("{stores} (i32.store (i32.add (local.get $out)"));
        let behind = STRUCTURES.replace(
            "(i32.load offset=12 (local.get $p)))))))",
            &format!("(i32.load offset=12 (local.get $p))))) {stores}))"),
        );
        assert!(stored != STRUCTURES && behind != STRUCTURES);
        for text in [stored, behind] {
            let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
            for checks_proved in [Proved::NONE, Proved::ALL] {
                let options = Options { checks_proved, ..Options::default() };
                let after = testing::strict(&module, 0, &Shape::distinct(2), &options).unwrap();
                assert_eq!(quads(&after), expected, "{text}");
                assert_eq!(run(&lift(&text).before, 64), run(&after, 64), "{text}");
            }
        }
    }
}

#[test]
fn checks_without_an_effect_between_them_are_one_branch_that_names_the_first_to_fail() {
    let lifted = lift(STRUCTURES);
    let branches = |function: &Function| {
        function.region(function.body).stmts.iter().filter(|s| matches!(s.kind, StmtKind::If { .. })).count()
    };
    assert_eq!((branches(&lifted.before), branches(&lifted.after)), (5, 1));
    for length in [0, 4, 8, 12, 20] {
        let (_, ends) = run(&lifted.after, length);
        let failed = ends.iter().find_map(|end| end.clone().err()).expect("the buffer is too short");
        let Stop::Trap { kind, at } = failed else { panic!("{failed}") };
        assert_eq!(kind, TrapKind::OutOfBounds);
        let (_, expected) = run(&lifted.before, length);
        let expected = expected.iter().find_map(|end| end.clone().err());
        assert_eq!(Some(Stop::Trap { kind, at }), expected, "{length} bytes");
    }
}

#[test]
fn a_check_behind_a_store_is_made_before_it() {
    let text = r#"(module (memory 1)
      (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
        (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (i32.const 7))
        (drop (i32.div_u (i32.const 1) (i32.load (local.get $in))))
        (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (i32.const 9))))"#;
    let lifted = lift(text);
    // What the buffer holds after a trap is unspecified: nothing was stored.
    let (out, ends) = run(&lifted.after, 0);
    assert_eq!(out, vec![0; 4 * INVOCATIONS as usize]);
    assert!(ends.iter().all(|end| matches!(end, Err(Stop::Trap { kind: TrapKind::OutOfBounds, .. }))), "{ends:?}");
    assert_eq!(run(&lifted.before, 0).1, ends);
    assert_eq!(run(&lifted.before, 4), run(&lifted.after, 4));
}

#[test]
fn checks_that_the_host_decides_are_right_at_the_edge() {
    let module = Module::parse(wat::parse_str(STRUCTURES).unwrap()).unwrap();
    let kernel = module.find_function("kernel").unwrap();
    let shape = Shape::distinct(2);
    let checked = translate(&module, kernel, &shape, &Options::default()).unwrap();
    let words =
        |iterations, input: u32, output: u32| [0, 0, 0, iterations, 1, 0, ADDRESSES[0], input, ADDRESSES[1], output];
    let proved = |iterations, input, output| {
        let immediates = words(iterations, input, output);
        checked.launch_checks.proved(&LaunchState {
            immediates: &immediates,
            inputs: &|_| None,
            words: &|_, _| None,
            iterations,
        })
    };
    let all = proved(1, u32::MAX, u32::MAX);
    let holds = |iterations, input, output| proved(iterations, input, output) == all;
    assert!(!checked.launch_checks.is_empty() && !all.is_empty());
    for iterations in [1, 2, 100, 0x0fff_ffff] {
        let (input, output) = (iterations * 16, iterations * 4);
        assert!(holds(iterations, input, output), "{iterations}");
        assert!(!holds(iterations, input - 1, output), "{iterations}");
        assert!(!holds(iterations, input, output - 1), "{iterations}");
        assert!(!holds(iterations + 1, input, output), "{iterations}");
    }
    // 16 times the id wraps: what looks like a small offset is none.
    assert!(!holds(0x1000_0001, u32::MAX, u32::MAX));
    assert!(!holds(1, 0, 0));
    let proved = translate(&module, kernel, &shape, &Options { checks_proved: all, ..Options::default() }).unwrap();
    assert!(proved.interface.trap_sites.is_empty() && proved.launch_checks.is_empty());
    assert_eq!(checked.interface.trap_sites.len(), 5);
    common::assert_valid(&proved.words);
}

/// `out[i] = in[i % 4 + 0] + … + in[i % 4 + 4 * 15]`, counted as compilers do: the offset by itself, and rounds till it is equal.
const COUNTED: &str = r#"(module (memory 1)
  (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
    (local $p i32) (local $k i32) (local $sum i32)
    (local.set $p (i32.add (local.get $in) (i32.shl (i32.rem_u (local.get $i) (i32.const 4)) (i32.const 2))))
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $p))))
      (local.set $p (i32.add (local.get $p) (i32.const 16)))
      (br_if $again (i32.ne (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 16))))
    (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))))"#;

/// The checks that hold where the in-buffer has `input` bytes and the out-buffer has `output`.
fn proved(checks: &LaunchChecks, input: u32, output: u32) -> Proved {
    let immediates = [0, 0, 0, INVOCATIONS, 1, 0, ADDRESSES[0], input, ADDRESSES[1], output];
    checks.proved(&LaunchState {
        immediates: &immediates,
        inputs: &|_| None,
        words: &|_, _| None,
        iterations: INVOCATIONS,
    })
}

#[test]
fn the_host_decides_checks_in_counted_loops_and_each_by_itself() {
    let lowered = |text: &str, checks_proved| {
        let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
        let options = Options { checks_proved, ..Options::default() };
        let shader = translate(&module, 0, &Shape::distinct(2), &options).unwrap();
        (testing::strict(&module, 0, &Shape::distinct(2), &options).unwrap(), shader)
    };
    let down = COUNTED
        .replace("(local.get $sum) (i32.load (local.get $p))", "(local.get $sum) (i32.load offset=240 (local.get $p))")
        .replace("(local.get $p) (i32.const 16)", "(local.get $p) (i32.const -16)")
        .replace("(local.get $k) (i32.const 1)", "(local.get $k) (i32.const -1)")
        .replace("(i32.const 16))))", "(i32.const -16))))");
    let below = COUNTED.replace("i32.ne (local.tee", "i32.lt_s (local.tee");
    assert!(down != COUNTED && below != COUNTED);
    for text in [COUNTED, &down, &below] {
        let (before, checked) = lowered(text, Proved::NONE);
        let checks = &checked.launch_checks;
        // The last word of the third of three, and their results.
        let all = proved(checks, 252, 12);
        let (without, shader) = lowered(text, all);
        assert!(shader.interface.trap_sites.is_empty(), "{text}\n{without}");
        assert_eq!(run(&without, 252), run(&before, 252));
        for (input, output, sites) in [(251, 12, 1), (252, 11, 1), (251, 11, 2), (0, 0, 2), (1 << 20, 12, 0)] {
            let some = proved(checks, input, output);
            assert_eq!(some == all, sites == 0, "{input} {output}");
            let (kept, shader) = lowered(text, some);
            assert_eq!(shader.interface.trap_sites.len(), sites, "{input} {output}\n{kept}");
            if output == 12 {
                assert_eq!(run(&kept, input), run(&before, input), "{input}");
            }
        }
    }
}

/// `out[i] = in[clamp(i / w + d, 0, h - 1) * w + clamp(i % w + d, 0, w - 1)]` of an image of `w * h` words. A compiler writes the
/// comparisons of `i % w + d` as such of `i % w`.
fn clamped(remainder: &str, d: i32) -> String {
    let clamp = |value: &str, of: &str, high: &str| {
        format!(
            "(select (i32.const 0) (select {value} {high} (i32.lt_s {value} {high})) (i32.lt_s {of} (i32.const {})))",
            -d
        )
    };
    let row = clamp("(local.get $y)", "(local.get $q)", "(i32.sub (local.get $h) (i32.const 1))");
    let column = clamp("(local.get $x)", "(local.get $r)", "(i32.sub (local.get $w) (i32.const 1))");
    format!(
        r#"(module (memory 1)
          (func (export "kernel") (param $i i32) (param i32 i32) (param $size i32) (param i32) (param $in i32) (param i32)
            (param $out i32) (param i32) (local $w i32) (local $h i32) (local $q i32) (local $r i32) (local $x i32) (local $y i32)
            (local.set $w (i32.load (local.get $size)))
            (local.set $h (i32.load offset=4 (local.get $size)))
            (local.set $q (i32.div_u (local.get $i) (local.get $w)))
            (local.set $r {remainder})
            (local.set $y (i32.add (local.get $q) (i32.const {d})))
            (local.set $x (i32.add (local.get $r) (i32.const {d})))
            (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2)))
              (i32.load (i32.add (local.get $in)
                (i32.shl (i32.add (i32.mul {row} (local.get $w)) {column}) (i32.const 2)))))))"#
    )
}

#[test]
fn the_host_decides_checks_of_indices_that_are_kept_within_bounds() {
    let rest = "(i32.rem_u (local.get $i) (local.get $w))";
    let difference = "(i32.sub (local.get $i) (i32.mul (local.get $q) (local.get $w)))";
    for (remainder, d) in [(rest, -2), (difference, -2), (rest, 0), (rest, 1), (difference, 3)] {
        let text = clamped(remainder, d);
        let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
        let mut shape = Shape::distinct(3);
        let proved = |shape: &Shape, words: [u32; 2], input: u32, iterations: u32| {
            let checks = translate(&module, 0, shape, &Options::default()).unwrap().launch_checks;
            let immediates =
                [0, 0, 0, iterations, 1, 0, ADDRESSES[0], 8, ADDRESSES[1], input, ADDRESSES[1] + (1 << 16), 1 << 16];
            let known = |slot, index: u32| (slot == 0).then(|| words.get(index as usize).copied()).flatten();
            checks.proved(&LaunchState { immediates: &immediates, inputs: &|_| None, words: &known, iterations })
        };
        // More rows than there are, and the last column that is looked at.
        const IDS: u32 = 100;
        let input = 4 * (5 * 8 + 8 - d.min(0).unsigned_abs());
        // The kernel might store to the sizes.
        let unknown = proved(&shape, [8, 6], 1 << 16, IDS);
        shape.buffers[0].access = Access::Read;
        let all = proved(&shape, [8, 6], input, IDS);
        assert!(all != unknown, "{text}");
        let options = Options { checks_proved: all, ..Options::default() };
        let sites = translate(&module, 0, &shape, &options).unwrap().interface.trap_sites;
        assert!(sites.is_empty(), "{text}\n{sites:?}");
        for (words, input) in [
            ([8, 6], input - 1),
            ([8, 7], input),
            ([9, 6], input),
            ([0, 6], input),
            ([8, 0], input),
            ([8, 1 << 31], input),
        ] {
            assert!(proved(&shape, words, input, IDS) != all, "{words:?} {input}\n{text}");
        }
    }
}

#[test]
fn a_loop_with_checks_is_counted_by_its_own_end() {
    let ends = |text: &str| {
        let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
        let options = Options { fuel: Some(10), ..Options::default() };
        run(&testing::strict(&module, 0, &Shape::distinct(2), &options).unwrap(), 252).1
    };
    // 16 rounds are few enough to need no fuel; as many as an argument says are not.
    assert!(ends(COUNTED).iter().all(Result::is_ok));
    let many = COUNTED.replace("(i32.const 16))))", "(local.get 4))))");
    assert!(ends(&many).iter().all(|end| matches!(end, Err(Stop::Trap { kind: TrapKind::OutOfFuel, .. }))));
}

#[test]
fn words_to_which_nothing_stores_are_loaded_once_around_atomic_accesses() {
    let text = |slot: &str| {
        let load = |word| format!("(i32.load offset={word} (i32.add (local.get ${slot}) (i32.const 16)))");
        format!(
            r#"(module (memory 1)
              (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
                (drop (i32.atomic.rmw.add (local.get $out) {0}))
                (drop (i32.atomic.rmw.add offset=4 (local.get $out) {0}))
                (drop (i32.atomic.rmw.add offset=8 (local.get $out) {1}))))"#,
            load(0),
            load(4)
        )
    };
    let loads = |slot: &str| {
        let lifted = lift(&text(slot));
        words(&lifted.after) + lanes(&lifted.after)
    };
    assert_eq!(loads("in"), 2);
    assert_eq!(loads("out"), 3);
}

#[test]
fn a_divisor_that_a_branch_has_shown_not_to_be_zero_is_not_checked() {
    let text = |compare: &str| {
        format!(
            r#"(module (memory 1)
              (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
                (local $w i32) (local $h i32)
                (local.set $w (i32.load (local.get $in)))
                (local.set $h (i32.load offset=4 (local.get $in)))
                (if (i32.{compare} (local.get $i) (i32.mul (local.get $w) (local.get $h))) (then (return)))
                (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2)))
                  (i32.rem_u (local.get $i) (local.get $w)))))"#
        )
    };
    let divisions = |text: &str| {
        let module = Module::parse(wat::parse_str(text).unwrap()).unwrap();
        let kernel = module.find_function("kernel").unwrap();
        let shader = translate(&module, kernel, &Shape::distinct(2), &Options::default()).unwrap();
        shader.interface.trap_sites.iter().filter(|site| site.kind == TrapKind::DivideByZero).count()
    };
    // `i < w * h` shows that neither is zero; the signed comparison shows nothing, nor does the other way round.
    assert_eq!(divisions(&text("ge_u")), 0);
    assert_eq!(divisions(&text("ge_s")), 1);
    assert_eq!(divisions(&text("lt_u")), 1);
    let lifted = lift(&text("ge_u"));
    assert_eq!(run(&lifted.before, 8), run(&lifted.after, 8));
}

#[test]
fn branches_to_one_place_are_one_branch() {
    let text = r#"(module (memory 1)
      (func (export "kernel") (param $i i32) (param i32 i32) (param $in i32) (param i32) (param $out i32) (param i32)
        (block $edge
          (br_if $edge (i32.eq (local.get $i) (i32.const 1)))
          (br_if $edge (i32.eq (local.get $i) (i32.const 9)))
          (br_if $edge (i32.gt_u (local.get $i) (i32.const 5)))
          (i32.store (i32.add (local.get $out) (i32.shl (local.get $i) (i32.const 2))) (i32.const 7)))))"#;
    let lifted = lift(text);
    let branches = |function: &Function| count(function, |kind| matches!(kind, StmtKind::If { .. }));
    // Besides, the bounds check of the store.
    assert_eq!((branches(&lifted.before), branches(&lifted.after)), (4, 2), "{}", lifted.after);
    assert_eq!(run(&lifted.before, 0), run(&lifted.after, 0));
    assert_eq!(run(&lifted.after, 0).0, [[7, 0, 0, 0], [0; 4], [7, 0, 0, 0]].concat());
}

/// A pixel's bytes: one load and one store of the word; a word that was stored is not loaded again.
#[test]
fn parts_of_a_word_are_loaded_and_stored_at_once() {
    let lifted = lift(
        r#"(module (memory 1)
         (func (export "kernel") (param $i i32) (param i32 i32) (param $p i32) (param i32)
         (local $at i32) (local $x i32)
         local.get $p local.get $i i32.const 2 i32.shl i32.add local.set $at
         local.get $at i32.load8_u local.get $at i32.load8_u offset=1 i32.add
         local.get $at i32.load8_u offset=2 i32.add local.get $at i32.load8_u offset=3 i32.add local.set $x
         local.get $at local.get $x i32.store8
         local.get $at local.get $x i32.const 1 i32.shr_u i32.store8 offset=1
         local.get $at local.get $x i32.const 2 i32.shr_u i32.store8 offset=2
         local.get $at i32.const 255 i32.store8 offset=3))"#,
    );
    let strict = &lifted.after;
    let operators = |wanted: &dyn Fn(&LowOp) -> bool| {
        count(strict, |kind| matches!(kind, StmtKind::Op { op: Op::Low(op), .. } if wanted(op)))
    };
    assert_eq!(operators(&|op| matches!(op, LowOp::LoadWord { .. })), 1, "{strict}");
    assert_eq!(operators(&|op| matches!(op, LowOp::StoreWord { .. })), 1, "{strict}");
    assert_eq!(operators(&|op| matches!(op, LowOp::AndWord { .. } | LowOp::OrWord { .. })), 0, "{strict}");
}

#[test]
fn more_accesses_than_a_driver_compiles_are_refused() {
    let module = Module::parse(wat::parse_str(STRUCTURES).unwrap()).unwrap();
    let lift =
        |max_accesses| translate(&module, 0, &Shape::distinct(2), &Options { max_accesses, ..Options::default() });
    assert!(lift(5).is_ok());
    let refused = lift(4).unwrap_err().to_string();
    assert!(refused.contains("5 accesses of memory") && refused.contains("at most 4"), "{refused}");
}
