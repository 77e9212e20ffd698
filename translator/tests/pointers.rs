//! Pointers that are read before a launch: which a kernel is found to take, and that lifting for what they are at a launch
//! means the same as telling them apart when the kernel runs.

mod common;

use common::count;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Const, Function, LowOp, Op, StmtKind};
use wavelift_translator::pointers::{Base, LaunchMemory, Resolved, Target};
use wavelift_translator::{
    Access, Answer, BufferParam, LINEAR, LaunchState, Module, Options, Profile, Shape, Source, testing, translate,
    translate_or_ask,
};

const ADDRESSES: [u32; 2] = [0x8000_0100, 0x9000_0000];
/// Bytes of each buffer.
const SIZE: u32 = 64;
const INVOCATIONS: u32 = 4;
/// The globals: a stack pointer, a number that may be changed.
const GLOBALS: [Const; 2] = [Const::I32(0x400), Const::I32(0x600)];

/// A kernel of two buffers, `$a` and `$b`; `$at` is four times the iteration's id, `$p` and `$q` are free.
fn module(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (global $__stack_pointer (mut i32) (i32.const 0x400)) (global $g (mut i32) (i32.const 0x600))
           (func (export \"kernel\") (param $id i32) (param i32 i32) (param $a i32) (param i32) (param $b i32) (param i32)
             (local $at i32) (local $p i32) (local $q i32)
             (local.set $at (i32.shl (local.get $id) (i32.const 2))) {body}))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
}

fn shape(access: [Access; 2]) -> Shape {
    Shape::of((0..).zip(access).map(|(slot, access)| BufferParam { slot, access }).collect())
}

fn writable() -> Shape {
    shape([Access::ReadWrite; 2])
}

fn asked(module: &Module, shape: &Shape) -> Vec<Source> {
    match translate_or_ask(module, 0, shape, &Options::default()).unwrap() {
        Answer::Shader(_) => Vec::new(),
        Answer::Pointers(sources) => sources,
        Answer::Words(words) => panic!("it asks for words at {words:?}"),
    }
}

fn loaded(from: Base, plus: u32, offset: u32) -> Source {
    Source::Loaded { from, plus, offset }
}

/// The memory of launches here: some of linear memory, and the two buffers.
fn space(access: [Access; 2], words: &[(u32, u32)]) -> Space {
    let buffers = ADDRESSES.iter().zip(access).map(|(address, access)| {
        let bytes: Vec<u8> = (0..SIZE).map(|byte| (byte * 5 + (address >> 24)) as u8).collect();
        Buffer::new(*address, access, &bytes)
    });
    let linear = (0..0x1000).map(|byte| (byte * 3 + byte / 7) as u8).collect();
    let mut space = Space { linear, buffers: buffers.collect() };
    for (address, word) in words {
        interpret::Memory::store(&mut space, (*address).into(), &word.to_le_bytes()).unwrap();
    }
    space
}

struct Present<'a>(&'a mut Space);

impl LaunchMemory for Present<'_> {
    fn global(&mut self, global: u32) -> Option<u32> {
        match GLOBALS.get(global as usize) {
            Some(Const::I32(value)) => Some(*value),
            _ => None,
        }
    }

    fn range(&mut self, place: u32) -> Option<(u32, u32)> {
        match place {
            LINEAR => Some((0, self.0.linear.len() as u32)),
            slot => self.0.buffers.get(slot as usize).map(|buffer| (buffer.address(), SIZE)),
        }
    }

    fn word(&mut self, place: u32, offset: u32) -> Option<u32> {
        let (start, _) = self.range(place)?;
        let mut bytes = [0; 4];
        interpret::Memory::load(self.0, u64::from(start + offset), &mut bytes).unwrap();
        Some(u32::from_le_bytes(bytes))
    }
}

/// What is lifted for a launch.
struct Lifted {
    resolved: Resolved,
    strict: Function,
    /// Whether no store of the launch can meet what the pointers are read from in linear memory.
    spares: bool,
}

impl Lifted {
    fn places(&self) -> Vec<Option<u32>> {
        self.resolved.pointers.iter().map(|pointer| pointer.target.map(|target| target.place)).collect()
    }
}

fn immediates() -> Vec<u32> {
    let buffers = ADDRESSES.iter().flat_map(|address| [*address, SIZE]);
    [0, INVOCATIONS, 0, INVOCATIONS, 1, 0].into_iter().chain(buffers).collect()
}

/// Lifts for what the pointers are in this memory, in both profiles.
fn lift(module: &Module, shape: &Shape, space: &mut Space) -> Lifted {
    let resolved = Resolved::new(&asked(module, shape), 2, &mut Present(space));
    let shape = Shape { pointers: resolved.pointers.clone(), ..shape.clone() };
    let mut spares = true;
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let shader = translate(module, 0, &shape, &options).unwrap();
        match profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
        let inputs = |input| match input {
            wavelift_translator::Input::Pointer { number, .. } => Some(resolved.values[number as usize]),
            _ => None,
        };
        let launch =
            LaunchState { immediates: &immediates(), inputs: &inputs, words: &|_, _| None, iterations: INVOCATIONS };
        spares &= shader.linear.is_none_or(|linear| linear.spares(&launch, &resolved.linear_words()));
    }
    let strict = testing::strict(module, 0, &shape, &Options::default()).unwrap();
    Lifted { resolved, strict, spares }
}

/// Runs all invocations in order, to the first that ends early.
fn run(function: &Function, pointers: &[u32], mut space: Space) -> (Space, Result<(), Stop>) {
    let immediates = immediates();
    for iteration in 0..INVOCATIONS {
        let invocation =
            Invocation { iteration, immediates: &immediates, pointers, globals: &GLOBALS, ..Invocation::default() };
        if let Err(stop) = interpret::run(function, &[], &invocation, &mut space, &|_| None) {
            return (space, Err(stop));
        }
    }
    (space, Ok(()))
}

/// Lifts for this memory, and checks that it does what the form for all launches does.
fn check(module: &Module, shape: &Shape, mut space: Space) -> Lifted {
    let lifted = lift(module, shape, &mut space);
    let ranged = testing::strict(module, 0, shape, &Options::default()).unwrap();
    let expected = run(&ranged, &[], space.clone());
    let got = run(&lifted.strict, &lifted.resolved.values, space);
    assert_eq!(got, expected, "{}", lifted.strict);
    lifted
}

/// The slots that are loaded from, in order.
fn loads(function: &Function) -> Vec<u32> {
    let mut slots: Vec<u32> = [0, 1, LINEAR]
        .into_iter()
        .flat_map(|wanted| {
            let is_load = |kind: &StmtKind| {
                matches!(kind, StmtKind::Op { op: Op::Low(LowOp::LoadWord { slot }), .. } if *slot == wanted)
            };
            vec![wanted; count(function, is_load)]
        })
        .collect();
    slots.sort_unstable();
    slots
}

/// A structure in static data points to another, which points to what is added up.
const LINKED: &str = "
  (local.set $p (i32.load offset=8 (i32.load (i32.const 64))))
  (i32.store (i32.add (local.get $b) (local.get $at)) (i32.load (i32.add (local.get $p) (local.get $at))))";

#[test]
fn a_chain_of_pointers_in_memory_that_is_not_written_is_read_before_the_launch() {
    let module = module(LINKED);
    let first = loaded(Base::Number, 64, 0);
    assert_eq!(asked(&module, &writable()), [first, loaded(Base::Pointer(0), 0, 8)]);
    let read_write = [Access::ReadWrite; 2];
    let lifted = check(&module, &writable(), space(read_write, &[(64, 200), (208, ADDRESSES[0])]));
    assert_eq!(lifted.places(), [Some(LINEAR), Some(0)]);
    assert_eq!(loads(&lifted.strict), [0], "neither linear memory nor another buffer is read:\n{}", lifted.strict);
    assert!(lifted.spares);
    // Elsewhere in the same buffer: the same form.
    let moved = check(&module, &writable(), space(read_write, &[(64, 300), (308, ADDRESSES[0] + 20)]));
    assert_eq!(moved.resolved.pointers, lifted.resolved.pointers);
    // Another place, and an address that is no multiple of four.
    let to_linear = check(&module, &writable(), space(read_write, &[(64, 200), (208, 500)]));
    assert_eq!((to_linear.places(), loads(&to_linear.strict)), (vec![Some(LINEAR); 2], vec![LINEAR]));
    let unaligned = check(&module, &writable(), space(read_write, &[(64, 200), (208, ADDRESSES[0] + 3)]));
    assert_eq!(unaligned.resolved.pointers[1].target, Some(Target { place: 0, word_aligned: false }));
    // Beyond the buffer's end after some invocations.
    let late = check(&module, &writable(), space(read_write, &[(64, 200), (208, ADDRESSES[0] + SIZE - 8)]));
    assert_eq!(late.places(), [Some(LINEAR), Some(0)]);
}

#[test]
fn a_pointer_to_nowhere_is_told_apart_when_the_kernel_runs() {
    let module = module(LINKED);
    for nowhere in [0x1000, 0x7fff_ffff, ADDRESSES[0] - 4, ADDRESSES[0] + SIZE, u32::MAX] {
        let lifted = check(&module, &writable(), space([Access::ReadWrite; 2], &[(64, 200), (208, nowhere)]));
        assert_eq!(lifted.places(), [Some(LINEAR), None]);
        let lifted = check(&module, &writable(), space([Access::ReadWrite; 2], &[(64, nowhere)]));
        assert_eq!(lifted.places(), [None, None]);
    }
    // The structure lies in linear memory, the word asked for beyond its end.
    let lifted = check(&module, &writable(), space([Access::ReadWrite; 2], &[(64, 0xff6)]));
    assert_eq!(lifted.places(), [Some(LINEAR), None]);
}

#[test]
fn globals_and_buffers_hold_pointers_too() {
    let module = module(
        "(local.set $p (i32.load offset=4 (global.get $g)))
         (local.set $q (i32.load (i32.sub (i32.add (local.get $a) (i32.const 16)) (i32.const 4))))
         (i32.store (i32.add (local.get $q) (local.get $at)) (i32.load8_u (i32.add (local.get $p) (local.get $id))))",
    );
    let access = [Access::Read, Access::ReadWrite];
    let sources = asked(&module, &shape(access));
    assert_eq!(sources.len(), 3, "{sources:?}");
    assert!(sources.contains(&Source::Global(1)) && sources.contains(&loaded(Base::Buffer(0), 12, 0)), "{sources:?}");
    let mut memory = space([Access::ReadWrite; 2], &[(0x604, ADDRESSES[0] + 1), (ADDRESSES[0] + 12, ADDRESSES[1] + 8)]);
    let bytes = memory.buffers[0].bytes().to_vec();
    memory.buffers[0] = Buffer::new(ADDRESSES[0], Access::Read, &bytes);
    let lifted = check(&module, &shape(access), memory);
    assert_eq!(lifted.places().iter().filter(|place| **place == Some(1)).count(), 1);
    assert!(!loads(&lifted.strict).contains(&LINEAR), "{}", lifted.strict);
}

#[test]
fn pointers_that_differ_between_invocations_or_may_be_written_are_not_asked_for() {
    let sum = "(i32.store (i32.add (local.get $b) (local.get $at)) (i32.load (local.get $p)))";
    let of = |pointer: &str| format!("(local.set $p {pointer}) {sum}");
    for (why, body) in [
        ("each invocation has its own", of("(i32.load (i32.add (local.get $at) (i32.const 64)))")),
        ("it comes from the buffer that is stored to", of("(i32.load offset=32 (local.get $b))")),
        ("it is on the private stack", of("(i32.load (i32.sub (global.get $__stack_pointer) (i32.const 32)))")),
        ("it is a byte", of("(i32.load8_u (i32.const 64))")),
        (
            "it is an index",
            "(i32.store (i32.add (local.get $b) (i32.shl (i32.load (i32.const 64)) (i32.const 2))) (i32.const 1))"
                .into(),
        ),
    ] {
        assert_eq!(asked(&module(&body), &writable()), [], "{why}");
    }
    let text = "(module (memory 1 1 shared) (func (param i32 i32 i32)
        (i32.store (i32.load (i32.const 64)) (i32.const 1))))";
    let shared = Module::parse(wat::parse_str(text).unwrap()).unwrap();
    let refused = translate_or_ask(&shared, 0, &Shape::default(), &Options::default());
    assert!(matches!(refused, Err(wavelift_translator::Error::Unsupported { .. })), "{refused:?}");
}

/// Stores through a pointer that lies in buffer `$a`, and through one that lies behind that.
const THROUGH: &str = "
  (i32.store (i32.add (i32.load (local.get $a)) (local.get $at)) (local.get $id))
  (i32.store (i32.add (i32.load offset=8 (i32.load offset=4 (local.get $a))) (local.get $at)) (i32.const 9))";

#[test]
fn a_store_that_may_reach_the_pointers_own_buffer_keeps_them_from_being_known() {
    let module = module(THROUGH);
    let [a, b] = ADDRESSES;
    let access = [Access::ReadWrite; 2];
    assert_eq!(asked(&module, &writable()).len(), 3);
    let stored = |lifted: &Lifted, slot: u32| {
        count(
            &lifted.strict,
            |kind| matches!(kind, StmtKind::Op { op: Op::Low(LowOp::StoreWord { slot: s }), .. } if *s == slot),
        )
    };
    let apart = check(&module, &writable(), space(access, &[(a, b), (a + 4, 64), (72, b + 32)]));
    assert_eq!((apart.places(), stored(&apart, 0), stored(&apart, 1)), (vec![Some(1), Some(LINEAR), Some(1)], 0, 2));
    // The first store overwrites the second pointer: with a number that is 0 or an address of linear memory.
    for first in [a, a + 4, a - 8, a + 16] {
        let lifted = check(&module, &writable(), space(access, &[(a, first), (a + 4, 64), (72, b)]));
        assert!(stored(&lifted, 0) > 0 && loads(&lifted.strict).contains(&0), "{}", lifted.strict);
    }
    // What is read from the buffer that the second pointer leads to is written, too.
    let second = check(&module, &writable(), space(access, &[(a, b), (a + 4, 64), (72, a)]));
    assert!(loads(&second.strict).contains(&0), "{}", second.strict);
    // A buffer that is only read is not written, whatever the pointer.
    let read = shape([Access::Read, Access::ReadWrite]);
    let mut memory = space(access, &[(a, a), (a + 4, 64), (72, b)]);
    let bytes = memory.buffers[0].bytes().to_vec();
    memory.buffers[0] = Buffer::new(a, Access::Read, &bytes);
    let trapped = check(&module, &read, memory);
    assert_eq!(loads(&trapped.strict), [], "{}", trapped.strict);
}

#[test]
fn stores_to_linear_memory_spare_the_pointers_or_not() {
    let module = module(THROUGH);
    let [a, b] = ADDRESSES;
    let access = [Access::ReadWrite; 2];
    let spares = |first: u32| {
        let mut memory = space(access, &[(a, first), (a + 4, 64), (72, b + 32)]);
        lift(&module, &writable(), &mut memory).spares
    };
    // Four invocations store 16 bytes; the second pointer is read from the word at 72.
    assert!(spares(76) && spares(200) && spares(56) && spares(b));
    for first in [57, 60, 64, 72, 75] {
        assert!(!spares(first), "{first}");
    }
}

#[test]
fn a_number_that_looks_like_a_pointer_changes_nothing() {
    // Either summand may be the pointer, and neither is told from the text.
    let either = module(
        "(local.set $p (i32.add (i32.load (i32.add (local.get $at) (i32.const 128))) (i32.load (i32.const 64))))
         (i32.store (i32.add (local.get $b) (local.get $at)) (i32.load (local.get $p)))",
    );
    let [a, b] = ADDRESSES;
    let minus_a = a.wrapping_neg();
    for (one, other) in [(a, 8), (8, a), (b, minus_a.wrapping_add(a)), (a.wrapping_sub(b), b), (b.wrapping_sub(a), a)] {
        let words = [(64, one), (128, other), (132, other), (136, other), (140, other)];
        check(&either, &writable(), space([Access::ReadWrite; 2], &words));
    }
    // A difference, and what else is no pointer any more, as an address of linear memory.
    for address in [
        "(i32.add (i32.const 512) (i32.sub (local.get $p) (local.get $q)))",
        "(i32.add (i32.const 512) (i32.sub (local.get $p) (local.get $a)))",
        "(i32.add (i32.sub (local.get $a) (local.get $p)) (i32.const 512))",
        "(i32.sub (i32.const 512) (i32.sub (i32.const 0) (i32.sub (local.get $p) (local.get $q))))",
        "(i32.xor (local.get $p) (local.get $q))",
        "(i32.add (local.get $a) (i32.shl (i32.sub (local.get $p) (local.get $q)) (i32.const 1)))",
        "(i32.add (i32.shl (local.get $p) (i32.const 1)) (i32.sub (i32.const 512) (i32.shl (local.get $q) (i32.const 1))))",
        "(i32.xor (select (local.get $p) (local.get $q) (local.get $id)) (local.get $q))",
        "(i32.add (i32.sub (local.get $p) (local.get $q)) (local.get $a))",
        "(i32.add (i32.sub (local.get $a) (local.get $q)) (local.get $p))",
    ] {
        let body = format!(
            "(local.set $p (i32.load (i32.const 64)))
             (local.set $q (i32.load (i32.const 68)))
             (i32.store (i32.add (local.get $b) (local.get $at))
               (i32.add (i32.load (local.get $p)) (i32.add (i32.load (local.get $q)) (i32.load {address}))))"
        );
        for (p, q) in [(a + 16, a), (a, a), (a + 8, a + 4), (300, 296), (b, a)] {
            check(&module(&body), &writable(), space([Access::ReadWrite; 2], &[(64, p), (68, q)]));
        }
    }
    // An offset in bytes, added to a parameter first or last.
    for sum in ["(i32.add (local.get $a) (local.get $p))", "(i32.add (local.get $p) (local.get $a))"] {
        let body = format!(
            "(local.set $p (i32.load (i32.const 64)))
             (i32.store (i32.add (local.get $b) (local.get $at)) (i32.load {sum}))
             (i32.store offset=16 (i32.add (local.get $b) (local.get $at)) (i32.load8_u (local.get $p)))"
        );
        for p in [0, 8, a, a.wrapping_neg(), 0xffff_fffc] {
            let lifted = check(&module(&body), &writable(), space([Access::ReadWrite; 2], &[(64, p)]));
            assert_eq!(lifted.resolved.pointers.len(), 1);
        }
    }
    // One of two, by the id; compared with another.
    let chosen = module(
        "(local.set $p (i32.load (i32.const 64)))
         (local.set $q (i32.load (i32.const 68)))
         (i32.store (i32.add (local.get $b) (local.get $at))
           (i32.add (i32.eq (local.get $p) (local.get $q))
             (i32.load (i32.add (local.get $at)
               (select (local.get $p) (local.get $q) (i32.and (local.get $id) (i32.const 1)))))))",
    );
    for (p, q) in [(a, b), (a, a), (a, a + 4), (b, 64), (300, 308), (0, a), (a, 0x7000_0000)] {
        check(&chosen, &writable(), space([Access::ReadWrite; 2], &[(64, p), (68, q)]));
    }
}

#[test]
fn what_scales_a_captured_number_is_an_index() {
    // An accessor's element: its pointer, and its width times a row that is clamped.
    let module = module(
        "(local.set $p (i32.load (i32.const 64)))
         (local.set $q (i32.load (i32.const 68)))
         (local.set $q (i32.add (local.get $id) (i32.mul (local.get $q)
           (select (local.get $id) (i32.sub (local.get $q) (i32.const 2)) (i32.lt_u (local.get $id) (local.get $q))))))
         (i32.store (i32.add (local.get $b) (local.get $at))
           (i32.load (i32.add (local.get $p) (i32.shl (local.get $q) (i32.const 2)))))",
    );
    assert_eq!(asked(&module, &writable()), [loaded(Base::Number, 64, 0)]);
    let lifted = check(&module, &writable(), space([Access::ReadWrite; 2], &[(64, ADDRESSES[0]), (68, 3)]));
    assert_eq!(lifted.places(), [Some(0)]);
    assert_eq!(loads(&lifted.strict), [0, LINEAR], "{}", lifted.strict);
}

#[test]
fn a_small_negative_number_is_no_pointer() {
    let module = module(
        "(local.set $p (i32.load (i32.const 64)))
         (i32.store (i32.add (local.get $b) (local.get $at)) (i32.load offset=512 (i32.add (local.get $p) (i32.const 8))))",
    );
    let mut memory = space([Access::ReadWrite; 2], &[(64, 0xffff_fff8)]);
    let bytes = memory.buffers[0].bytes().to_vec();
    memory.buffers[0] = Buffer::new(0xffff_ffc0, Access::ReadWrite, &bytes);
    let resolved = |memory: &mut Space| Resolved::new(&asked(&module, &writable()), 2, &mut Present(memory));
    assert_eq!(resolved(&mut memory).pointers[0].target, None);
    interpret::Memory::store(&mut memory, 64, &0xffff_ffc0_u32.to_le_bytes()).unwrap();
    assert_eq!(resolved(&mut memory).pointers[0].target, Some(Target { place: 0, word_aligned: true }));
}

#[test]
fn a_pointer_that_a_loop_moves_to_another_is_known() {
    let module = module(
        "(local.set $p (i32.load (i32.const 64)))
         (loop
           (local.set $q (i32.add (local.get $q) (i32.load (local.get $p))))
           (local.set $p (i32.add (local.get $p) (i32.const 4)))
           (br_if 0 (i32.ne (local.get $p) (i32.load (i32.const 68)))))
         (i32.store (i32.add (local.get $b) (local.get $at)) (local.get $q))",
    );
    let a = ADDRESSES[0];
    let lifted = check(&module, &writable(), space([Access::ReadWrite; 2], &[(64, a + 4), (68, a + 24)]));
    assert_eq!(lifted.places()[0], Some(0));
    assert!(loads(&lifted.strict).iter().all(|slot| *slot != 1), "{}", lifted.strict);
}

/// `a[at - width]`, where the width is loaded: an index, unless the host finds that it points somewhere.
#[test]
fn what_is_taken_off_a_pointer_is_looked_at_before_the_launch() {
    let module = module(
        "(i32.store (i32.add (local.get $b) (local.get $at))
           (i32.load (i32.sub (i32.add (local.get $a) (i32.add (local.get $at) (i32.const 16))) (i32.load (i32.const 64)))))",
    );
    let read_write = [Access::ReadWrite; 2];
    assert_eq!(asked(&module, &writable()), [loaded(Base::Number, 64, 0)]);
    let index = check(&module, &writable(), space(read_write, &[(64, 16)]));
    assert_eq!(index.places(), [Some(LINEAR)]);
    assert_eq!(loads(&index.strict), [0], "{}", index.strict);
    // It may be a pointer into the buffer: then what is left is an address of linear memory.
    let difference = check(&module, &writable(), space(read_write, &[(64, ADDRESSES[0])]));
    assert_eq!(difference.places(), [Some(0)]);
}
