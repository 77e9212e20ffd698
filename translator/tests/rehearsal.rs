//! Forms that are lifted by what a rehearsal saw: what they leave out, and that they bail out where something else is met.

#[path = "common/copies.rs"]
mod copies;

use std::sync::Arc;

use copies::Copies;
use wavelift_translator::ir::Const;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::rehearsal::{Given, Rehearsal};
use wavelift_translator::{
    Access, Assumption, BufferParam, Module, Options, Seen, Shader, Shape, Speculation, TrapKind, testing, translate,
};

const ADDRESSES: [u32; 2] = [0x8000_0000, 0x9000_0000];
const SIZE: u32 = 64;
const STACK: u32 = 0x800;
const ITERATIONS: u32 = 8;

/// A kernel of two buffers, `$a` and `$b`. `$w` is the word of `$a` that has the iteration's number, `$at` its address, and `$f` that of
/// 32 bytes of the stack.
fn module(functions: &str, body: &str) -> Module {
    let text = format!(
        "(module (import \"env\" \"host\" (func $host (param i32)))
           (type $unary (func (param i32) (result i32)))
           (memory 1) (global $sp (export \"__stack_pointer\") (mut i32) (i32.const {STACK})) {functions}
           (func (export \"kernel\") (param $i i32) (param i32 i32) (param $a i32) (param i32) (param $b i32) (param i32)
             (local $at i32) (local $w i32) (local $f i32) (local $p i32)
             (global.set $sp (local.tee $f (i32.sub (global.get $sp) (i32.const 32))))
             (local.set $at (i32.add (local.get $a) (i32.shl (local.get $i) (i32.const 2))))
             (local.set $w (i32.load (local.get $at)))
             {body}
             (global.set $sp (i32.add (local.get $f) (i32.const 32)))))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn kernel(module: &Module) -> u32 {
    module.find_function("kernel").unwrap()
}

fn shape(module: &Module) -> Shape {
    let buffers = (0..2).map(|slot| BufferParam { slot, access: Access::ReadWrite }).collect();
    let environment = Shape::initial(module, kernel(module)).environment;
    Shape { environment, ..Shape::of(buffers) }
}

/// Memory in which `$a` has these words.
fn space(words: &[u32]) -> Space {
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(SIZE as usize, 0);
    let other: Vec<u8> = (0..SIZE as u8).collect();
    let buffers = [bytes, other].iter().zip(ADDRESSES).map(|(b, at)| Buffer::new(at, Access::ReadWrite, b)).collect();
    Space { linear: vec![0; 1 << 16], buffers }
}

fn arguments() -> Vec<u32> {
    vec![ITERATIONS, 1, ADDRESSES[0], SIZE, ADDRESSES[1], SIZE]
}

/// What is seen of these iterations, and before.
fn rehearse(module: &Module, words: &[u32], iterations: &[u32], before: Option<Seen>) -> (Seen, bool) {
    let environment = shape(module).environment;
    let mut rehearsal = Rehearsal::new(module, kernel(module), &environment, before);
    let buffers = [(ADDRESSES[0], SIZE, 0), (ADDRESSES[1], SIZE, 1)];
    let given = Given { arguments: &arguments(), buffers: &buffers, globals: &[Const::I32(STACK)] };
    let mut memory = Copies::new(space(words));
    let mut any = false;
    for iteration in iterations {
        assert!(rehearsal.goes_on());
        let (broken, news) = rehearsal.run(&given, *iteration, &mut memory);
        assert_eq!(broken, None);
        any |= news;
    }
    (rehearsal.into_seen(), any)
}

/// The shape of a launch of which this was seen.
fn seen_shape(module: &Module, seen: &Seen) -> Shape {
    let mut shape = shape(module);
    shape.environment.seen = Some(Arc::new(seen.clone()));
    shape
}

fn options() -> Options {
    Options { speculation: Speculation::ALL, ..Options::default() }
}

fn lift(module: &Module, seen: &Seen) -> Shader {
    translate(module, kernel(module), &seen_shape(module, seen), &options()).unwrap()
}

/// One iteration of a form: what it leaves in the buffers, or the assumption that does not hold.
fn run(module: &Module, seen: &Seen, words: &[u32], iteration: u32) -> Result<Space, Assumption> {
    run_with(&options(), module, seen, words, iteration)
}

fn run_with(
    options: &Options,
    module: &Module,
    seen: &Seen,
    words: &[u32],
    iteration: u32,
) -> Result<Space, Assumption> {
    let strict = testing::strict(module, kernel(module), &seen_shape(module, seen), options).unwrap();
    let pairs = [ADDRESSES[0], SIZE, ADDRESSES[1], SIZE];
    let immediates: Vec<u32> = [0, ITERATIONS, 0, ITERATIONS, 1, 0].into_iter().chain(pairs).collect();
    let globals = [Const::I32(STACK)];
    let invocation = Invocation { immediates: &immediates, iteration, globals: &globals, ..Invocation::default() };
    let mut memory = space(words);
    match interpret::run(&strict, &[], &invocation, &mut memory, &|_| None) {
        Ok(_) => Ok(memory),
        Err(Stop::Trap { kind: TrapKind::BailedOut(assumption), .. }) => Err(assumption),
        Err(stop) => panic!("{stop}\n{strict}"),
    }
}

/// The first word of a buffer.
fn word(memory: &Space, buffer: usize, index: usize) -> u32 {
    let bytes = memory.buffers[buffer].bytes();
    u32::from_le_bytes(bytes[4 * index..][..4].try_into().unwrap())
}

const NOTHING: &str = "";
/// `$w` is a pointer.
const FOLLOWS: &str = "(i32.store (local.get $at) (i32.add (i32.load (local.get $w)) (i32.const 1)))";

#[test]
fn accesses_are_of_the_places_that_were_seen() {
    let module = module(NOTHING, FOLLOWS);
    let words = [ADDRESSES[1] + 4, ADDRESSES[1] + 8, ADDRESSES[0] + 32, ADDRESSES[1] + 64];
    let (seen, news) = rehearse(&module, &words, &[0], None);
    assert!(news);
    // The two of the word itself, and one of the other buffer.
    assert_eq!(lift(&module, &seen).accesses, 3);
    let all = translate(&module, kernel(&module), &shape(&module), &options()).unwrap();
    assert!(all.accesses > 4, "{}", all.accesses);
    assert_eq!(word(&run(&module, &seen, &words, 1).unwrap(), 0, 1), 0x0b0a_0909);
    for elsewhere in [2, 3] {
        assert_eq!(run(&module, &seen, &words, elsewhere), Err(Assumption::Places));
    }
    let (seen, news) = rehearse(&module, &words, &[2], Some(seen));
    assert!(news);
    assert_eq!(word(&run(&module, &seen, &words, 2).unwrap(), 0, 2), 1);
    assert!(!rehearse(&module, &words, &[1, 2], Some(seen)).1, "nothing of that is new");
}

/// Of a function that is called with two buffers, the copy for one that was not met, though its code ran, ends in front.
#[test]
fn a_copy_of_code_that_was_seen_elsewhere_is_left_out() {
    let functions =
        "(func $adds (param $p i32) (i32.store (local.get $p) (i32.add (i32.load (local.get $p)) (i32.const 1))))";
    let body = "(if (i32.lt_u (local.get $w) (i32.const 9)) (then (call $adds (local.get $at)))
                  (else (call $adds (local.get $b))))";
    let module = module(functions, body);
    let words = [1, 20, 3];
    let (seen, _) = rehearse(&module, &words, &[0], None);
    let whole = Options { speculation: Speculation::ALL.without(Assumption::Paths), ..options() };
    let shader = translate(&module, kernel(&module), &seen_shape(&module, &seen), &whole).unwrap();
    assert_eq!((shader.accesses, shader.interface.assumptions().len()), (2, 1), "{:?}", shader.interface);
    let all = translate(&module, kernel(&module), &shape(&module), &whole).unwrap();
    assert_eq!((all.accesses, all.interface.assumptions().len()), (4, 0));
    assert_eq!(word(&run(&module, &seen, &words, 2).unwrap(), 0, 2), 4);
    assert!(run(&module, &seen, &words, 1).is_err());
}

/// The private stack's addresses are linear memory's, too.
#[test]
fn a_place_on_the_stack_is_none_of_linear_memory() {
    let pointer = "(select (local.get $f) (local.get $w) (i32.eqz (local.get $w)))";
    let loads = format!("(i32.store (local.get $f) (i32.const 77)) (i32.store (local.get $at) (i32.load {pointer}))");
    let stores = format!(
        "(i32.store (local.get $f) (i32.const 77)) (i32.store {pointer} (i32.const 5))
         (i32.store (local.get $at) (i32.load (local.get $f)))"
    );
    for (body, on_stack) in [(loads, 77), (stores, 5)] {
        let module = module(NOTHING, &body);
        let words = [0x4000, 0, 0x4010];
        let (seen, _) = rehearse(&module, &words, &[0], None);
        assert!(run(&module, &seen, &words, 2).is_ok());
        assert_eq!(run(&module, &seen, &words, 1).map(drop), Err(Assumption::Places), "{body}");
        let (seen, _) = rehearse(&module, &words, &[1], Some(seen));
        assert_eq!(word(&run(&module, &seen, &words, 1).unwrap(), 0, 1), on_stack);
    }
}

/// The object that a computed address means may be all of a frame; closely, it is what was met of it.
#[test]
fn no_more_of_the_stack_than_was_met_is_in_memory() {
    let body = "(i32.store (local.get $f) (i32.const 5)) (i32.store offset=8 (local.get $f) (i32.const 7))
                (i32.store offset=16 (local.get $f) (i32.const 9))
                (i32.store (local.get $at) (i32.load (i32.add (local.get $f) (local.get $w))))";
    let module = module(NOTHING, body);
    let words = [8, 16, 8, 0];
    let (seen, _) = rehearse(&module, &words, &[0], None);
    let closely = Options { closely: true, ..options() };
    let accesses = |options: &Options, seen: &Seen| {
        let shader = translate(&module, kernel(&module), &seen_shape(&module, seen), options).unwrap();
        shader.accesses
    };
    // `$w`, what is stored of it, a load, and three stores to the stack or one.
    assert_eq!([options(), closely].map(|options| accesses(&options, &seen)), [6, 4]);
    let run = |seen: &Seen, iteration| run_with(&closely, &module, seen, &words, iteration);
    assert_eq!(word(&run(&seen, 2).unwrap(), 0, 2), 7);
    for elsewhere in [1, 3] {
        assert_eq!(run(&seen, elsewhere).map(drop), Err(Assumption::Slots));
    }
    let (seen, news) = rehearse(&module, &words, &[1], Some(seen));
    assert!(news);
    assert_eq!(accesses(&closely, &seen), 5);
    assert_eq!([0, 1].map(|iteration| word(&run(&seen, iteration).unwrap(), 0, iteration as usize)), [7, 9]);
}

/// What lies between elements of an array that were met is taken for more of them.
#[test]
fn arrays_are_in_memory_as_far_as_they_were_met() {
    let stores: String = (0..8)
        .map(|element| format!("(i32.store offset={} (local.get $f) (i32.const {element}))", 4 * element))
        .collect();
    let body = format!("{stores} (i32.store (local.get $at) (i32.load (i32.add (local.get $f) (local.get $w))))");
    let module = module(NOTHING, &body);
    let words = [0, 8, 20, 12, 28];
    let (seen, _) = rehearse(&module, &words, &[0, 1, 2], None);
    let closely = Options { closely: true, ..options() };
    let run = |iteration| run_with(&closely, &module, &seen, &words, iteration);
    assert_eq!(word(&run(3).unwrap(), 0, 3), 3);
    assert_eq!(run(4).map(drop), Err(Assumption::Slots));
}

#[test]
fn alignment_is_checked_where_all_that_was_seen_is_aligned() {
    let module = module(NOTHING, FOLLOWS);
    let words = [ADDRESSES[1] + 4, ADDRESSES[1] + 9];
    let (seen, _) = rehearse(&module, &words, &[0], None);
    assert_eq!(run(&module, &seen, &words, 1), Err(Assumption::Aligned));
    let (seen, _) = rehearse(&module, &words, &[1], Some(seen));
    assert_eq!(word(&run(&module, &seen, &words, 1).unwrap(), 0, 1), 0x0c0b_0a0a);
    assert!(!lift(&module, &seen).interface.assumptions().contains(&Assumption::Aligned));
}

#[test]
fn what_was_not_reached_is_left_out_whatever_it_is() {
    let functions = "(func $deep (type $unary)
       (if (result i32) (local.get 0)
         (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
         (else (call $host (i32.const 0)) (i32.const 1))))
     (func $rare (param $p i32)
       (call $host (local.get $p)) (drop (memory.grow (i32.const 1)))
       (i32.store (local.get $p) (call $deep (i32.const 20))))";
    let body = "(if (i32.gt_u (local.get $w) (i32.const 9)) (then (call $rare (local.get $at))))
                (i32.store (local.get $at) (i32.const 5))";
    let module = module(functions, body);
    let words = [1, 2, 30, 4];
    assert!(translate(&module, kernel(&module), &shape(&module), &options()).is_err());
    let (seen, _) = rehearse(&module, &words, &[0, 3], None);
    assert!(seen.is_whole());
    assert_eq!(lift(&module, &seen).interface.assumptions().into_iter().collect::<Vec<_>>(), [Assumption::Paths]);
    assert_eq!(word(&run(&module, &seen, &words, 1).unwrap(), 0, 1), 5);
    assert_eq!(run(&module, &seen, &words, 2), Err(Assumption::Paths));
    // An iteration that calls the host is not seen to its end: then nothing is left out.
    let (seen, news) = rehearse(&module, &words, &[2], Some(seen));
    assert!(news && !seen.is_whole());
    assert!(translate(&module, kernel(&module), &seen_shape(&module, &seen), &options()).is_err());
}

#[test]
fn kernels_that_would_run_in_order_and_write_memory_are_not_cut() {
    let rare = "(if (i32.gt_u (local.get $w) (i32.const 9)) (then (call $host (local.get $w))))";
    let store = |at: &str, value: &str| format!("(i32.store {at} {value})");
    let (one, word, errno) = ("(i32.const 1)", "(local.get $w)", "(i32.const 4096)");
    for (body, words, lifts) in [
        (store("(local.get $at)", one), [1, 2], true),
        (store("(local.get $f)", one), [1, 2], true),
        (store(errno, word), [1, 2], false),
        // They could differ another time.
        (store(errno, word), [1, 1], false),
        // A constant at a constant place is the same in whatever order, unless there is another, or it is loaded.
        (store(errno, one), [1, 2], true),
        (format!("(if (i32.eq {word} {one}) (then {}))", store(errno, one)), [1, 2], true),
        (store(errno, one) + &store(errno, "(i32.const 2)"), [1, 2], false),
        (store(errno, one) + &store("(i32.const 4098)", one), [1, 2], false),
        (format!("(local.set $w (i32.load8_u offset=1 {errno})) {}", store(errno, one)), [1, 2], false),
    ] {
        let module = module(NOTHING, &format!("{rare} {body}"));
        let (seen, _) = rehearse(&module, &words, &[0, 1], None);
        let lifted = translate(&module, kernel(&module), &seen_shape(&module, &seen), &options());
        assert_eq!(lifted.is_ok(), lifts, "{body}: {lifted:?}");
    }
}

#[test]
fn indirect_calls_come_to_what_they_were_seen_to_come_to() {
    let functions = "(table 4 funcref) (elem (i32.const 0) $plus $times $again $calls)
      (func $plus (type $unary) (i32.add (local.get 0) (i32.const 3)))
      (func $times (type $unary) (i32.mul (local.get 0) (i32.const 3)))
      (func $again (type $unary)
        (if (result i32) (local.get 0)
          (then (i32.add (i32.const 2) (call_indirect (type $unary) (i32.sub (local.get 0) (i32.const 1)) (i32.const 2))))
          (else (i32.const 1))))
      (func $calls (type $unary) (call $host (local.get 0)) (i32.const 0))";
    let body = "(i32.store (local.get $at) (call_indirect (type $unary) (local.get $i) (local.get $w)))";
    let module = module(functions, body);
    let words = [0, 1, 0, 2, 3, 1, 7];
    let (seen, _) = rehearse(&module, &words, &[0, 1], None);
    assert_eq!(word(&run(&module, &seen, &words, 2).unwrap(), 0, 2), 5);
    assert_eq!(word(&run(&module, &seen, &words, 5).unwrap(), 0, 5), 15);
    for other in [3, 4, 6] {
        assert_eq!(run(&module, &seen, &words, other), Err(Assumption::Callees));
    }
    // Recursion is unrolled as deep as it was.
    let (seen, _) = rehearse(&module, &words, &[3], Some(seen));
    assert_eq!(word(&run(&module, &seen, &words, 3).unwrap(), 0, 3), 7);
}

#[test]
fn fields_that_are_accessed_through_pointers_stay_memory() {
    // An object of three words whose address is stored, and of which the second is accessed directly, too.
    let body = "(i32.store (local.get $f) (i32.const 7)) (i32.store offset=4 (local.get $f) (i32.const 8))
                (i32.store offset=8 (local.get $f) (i32.const 9)) (i32.store offset=16 (local.get $f) (local.get $f))
                (i32.store offset=4 (local.get $f) (i32.add (i32.load offset=4 (local.get $f)) (local.get $i)))
                (i32.store (local.get $at)
                  (i32.load (i32.add (i32.load offset=16 (local.get $f)) (i32.shl (local.get $w) (i32.const 2)))))";
    let module = module(NOTHING, body);
    let words = [0, 1, 2, 1];
    let (seen, _) = rehearse(&module, &words, &[0, 1], None);
    assert_eq!(word(&run(&module, &seen, &words, 3).unwrap(), 0, 3), 11);
}

#[test]
fn rehearsals_of_endless_kernels_end() {
    let recursive = "(func $again (type $unary) (call $again (i32.add (local.get 0) (i32.const 1))))";
    for (functions, body) in [
        (NOTHING, "(loop $l (br $l))"),
        (
            NOTHING,
            "(loop $l (i32.store8 (i32.and (local.tee $p (i32.add (local.get $p) (i32.const 7))) (i32.const 0xffff))
                     (local.get $p)) (br $l))",
        ),
        (NOTHING, "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l))"),
        (recursive, "(loop $l (drop (call $again (i32.const 0))) (br $l))"),
    ] {
        let module = module(functions, body);
        let environment = shape(&module).environment;
        let mut rehearsal = Rehearsal::new(&module, kernel(&module), &environment, None);
        let buffers = [(ADDRESSES[0], SIZE, 0), (ADDRESSES[1], SIZE, 1)];
        let given = Given { arguments: &arguments(), buffers: &buffers, globals: &[Const::I32(STACK)] };
        let mut memory = Copies::new(space(&[]));
        let mut iterations = 0;
        while rehearsal.goes_on() && iterations < ITERATIONS {
            rehearsal.run(&given, iterations, &mut memory);
            iterations += 1;
        }
        // Calls that are too deep are a trap.
        let traps = !functions.is_empty();
        assert_eq!(rehearsal.into_seen().is_whole(), traps, "{body}");
        assert!(traps || iterations < ITERATIONS, "{body}");
    }
}

/// In the shared form a word of which only a part is ever set is no place that nothing reaches.
#[test]
fn parts_of_words_are_set_in_functions_that_are_kept_once() {
    let functions = "(func $kept (param $p i32) (param $x i32) (result i32) (local $f i32) (local $k i32)
       (global.set $sp (local.tee $f (i32.sub (global.get $sp) (i32.const 16))))
       (i32.store8 offset=9 (local.get $f) (local.get $x))
       (loop $l
         (i32.store8 offset=8 (local.get $f) (local.get $x))
         (i32.store (local.get $f) (i32.add (i32.load (local.get $p)) (i32.load16_u offset=8 (local.get $f))))
         (i32.store16 offset=8 (local.get $f) (i32.load (local.get $f)))
         (br_if $l (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 3))))
       (i32.load (i32.shl (i32.and (i32.load16_u offset=8 (local.get $f)) (i32.const 7)) (i32.const 2)))
       (global.set $sp (i32.add (local.get $f) (i32.const 16))))";
    let body = "(i32.store (local.get $at) (i32.add (call $kept (local.get $b) (local.get $w))
                  (call $kept (i32.add (local.get $b) (i32.const 8)) (i32.const 3))))";
    is_the_same_kept_once(functions, body);
}

/// The same of a word that is copied with the one beside it, and never set, first from elsewhere and then to and fro.
#[test]
fn words_that_are_copied_and_never_set_in_functions_that_are_kept_once() {
    let functions = "(func $kept (param $p i32) (param $x i32) (result i32) (local $f i32) (local $k i32)
       (global.set $sp (local.tee $f (i32.sub (global.get $sp) (i32.const 32))))
       (i32.store (local.get $f) (local.get $p))
       (if (local.get $x) (then (i64.store offset=8 (local.get $f) (i64.load (local.get $f)))))
       (i32.store offset=16 (local.get $f) (local.get $p))
       (loop $l
         (i64.store offset=24 (local.get $f) (i64.load offset=16 (local.get $f)))
         (if (i32.and (local.get $x) (i32.const 1)) (then (drop (call $other (local.get $p)))))
         (i64.store offset=16 (local.get $f) (i64.load offset=24 (local.get $f)))
         (br_if $l (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $x))))
       (i32.add (i32.load (i32.load offset=8 (local.get $f))) (i32.load (i32.load offset=16 (local.get $f))))
       (global.set $sp (i32.add (local.get $f) (i32.const 32))))
     (func $other (type $unary) (i32.add (i32.load (local.get 0)) (i32.const 1)))";
    let body = "(i32.store (local.get $at) (i32.add (call $kept (local.get $b) (i32.const 2))
                  (i32.add (call $kept (i32.add (local.get $b) (i32.const 8)) (i32.const 3)) (call $other (local.get $b)))))";
    is_the_same_kept_once(functions, body);
}

/// What the first iteration stores is the same whether functions are kept once or not.
fn is_the_same_kept_once(functions: &str, body: &str) {
    let module = module(functions, body);
    let share = wavelift_translator::Share::Called { places: 2, operators: 1 };
    let shape = shape(&module);
    let outcome = |share| {
        let options = Options { share, speculation: Speculation::NONE, ..options() };
        let strict = testing::strict(&module, kernel(&module), &shape, &options).unwrap();
        let pairs = [ADDRESSES[0], SIZE, ADDRESSES[1], SIZE];
        let immediates: Vec<u32> = [0, ITERATIONS, 0, ITERATIONS, 1, 0].into_iter().chain(pairs).collect();
        let globals = [Const::I32(STACK)];
        let invocation = Invocation { immediates: &immediates, globals: &globals, ..Invocation::default() };
        let mut memory = space(&[5, 6]);
        memory.linear[..64].iter_mut().zip(1..).for_each(|(byte, number)| *byte = number);
        interpret::run(&strict, &[], &invocation, &mut memory, &|_| None).unwrap_or_else(|stop| panic!("{stop}"));
        word(&memory, 0, 0)
    };
    assert_eq!(outcome(share), outcome(wavelift_translator::Share::Never));
}
