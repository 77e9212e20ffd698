//! Bulk memory operators: what they are expanded to does what they mean, overlaps and traps at the edges included.

mod common;

use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Const, Function, Op, StmtKind};
use wavelift_translator::{Access, Environment, Error, Module, Options, Profile, Shape, TrapKind, testing, translate};

const PAGE: u32 = 0x1_0000;
const HIGH: u32 = 0xf000_0000;
const LOW: u32 = 0xe000_0000;

/// A kernel of two buffers (`$p`, `$q`) that does `body` with the numbers `$a`, `$b` and `$c`.
struct Program {
    module: Module,
    kernel: u32,
    text: String,
    lifted: Function,
    simplified: Function,
}

fn module(body: &str, rest: &str) -> (Module, u32, String) {
    let text = format!(
        "(module (memory 1) (func $kernel (export \"kernel\")
           (param $a i32) (param $b i32) (param $c i32) (param $p i32) (param i32) (param $q i32) (param i32)
           {body}) (data $bytes \"\\01\\02\\03\\04\\05\\06\\07\\08\\09\\0a\\0b\") (data $active (i32.const 9) \"abc\") {rest})"
    );
    let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let kernel = module.find_function("kernel").unwrap();
    (module, kernel, text)
}

impl Program {
    fn new(body: &str) -> Program {
        Program::with(body, "")
    }

    fn with(body: &str, rest: &str) -> Program {
        let (module, kernel, text) = module(body, rest);
        let shape = Shape::distinct(2);
        let lifted = testing::lifted(&module, kernel, &shape).unwrap().remove(&kernel).unwrap();
        let simplified = testing::simplified(&module, kernel, &shape).unwrap();
        let left = simplified.regions.iter().flat_map(|region| &region.stmts).any(|stmt| {
            matches!(
                stmt.kind,
                StmtKind::Op { op: Op::MemoryFill | Op::MemoryCopy | Op::MemoryInit(_) | Op::DataDrop(_), .. }
            )
        });
        assert!(!left, "{text}\n{simplified}");
        Program { module, kernel, text, lifted, simplified }
    }

    /// Runs both forms, which must end alike; gives the memory, or the trap.
    fn run(&self, a: u32, b: u32, c: u32) -> Result<Space, TrapKind> {
        let expected = run(&self.lifted, &self.module, [a, b, c], &space());
        let got = run(&self.simplified, &self.module, [a, b, c], &space());
        let same = match (&expected, &got) {
            (Ok(expected), Ok(got)) => expected == got,
            (Err(expected), Err(got)) => expected == got,
            _ => false,
        };
        assert!(
            same,
            "{a:#x} {b:#x} {c:#x}: {:?} {:?}\n{}\n{}",
            expected.map(|_| ()),
            got.map(|_| ()),
            self.text,
            self.simplified
        );
        expected.map_err(|stop| match stop {
            Stop::Trap { kind, .. } => kind,
            other => panic!("{other}"),
        })
    }
}

fn run(function: &Function, module: &Module, numbers: [u32; 3], space: &Space) -> Result<Space, Stop> {
    let mut space = space.clone();
    let mut args = numbers.to_vec();
    for buffer in &space.buffers {
        args.extend([buffer.address(), buffer.bytes().len() as u32]);
    }
    let args: Vec<Const> = args.into_iter().map(Const::I32).collect();
    let invocation = Invocation { data: &module.data(), ..Invocation::default() };
    interpret::run(function, &args, &invocation, &mut space, &|_| None)?;
    Ok(space)
}

fn bytes(count: u32, from: u8) -> Vec<u8> {
    (0..count).map(|i| (i as u8).wrapping_mul(7).wrapping_add(from)).collect()
}

/// One page, and two buffers of odd sizes far apart.
fn space() -> Space {
    Space {
        linear: bytes(PAGE, 3),
        buffers: vec![
            Buffer::new(HIGH, Access::ReadWrite, &bytes(301, 1)),
            Buffer::new(LOW, Access::ReadWrite, &bytes(203, 90)),
        ],
    }
}

#[test]
fn fills_of_every_length() {
    let value = "(i32.or (local.get $c) (i32.const 0xab00))";
    let unknown =
        Program::new(&format!("(memory.fill (i32.add (local.get $p) (local.get $a)) {value} (local.get $b))"));
    for length in (0..75).chain([128, 200, 300]) {
        let known = Program::new(&format!(
            "(memory.fill (i32.add (local.get $p) (local.get $a)) {value} (i32.const {length}))"
        ));
        for at in [0, 1, 2, 3, 50] {
            let filled = known.run(at, 0, 0x5c);
            let mut expected = bytes(301, 1);
            match expected.get_mut(at as usize..(at + length) as usize) {
                Some(range) => {
                    range.fill(0x5c);
                    assert_eq!(filled.as_ref().unwrap().buffers[0].bytes(), expected);
                }
                None => assert_eq!(filled, Err(TrapKind::OutOfBounds)),
            }
            assert_eq!(unknown.run(at, length, 0x5c), filled, "{at} {length}");
        }
        for at in [301 - length, 302 - length, u32::MAX] {
            assert_eq!(known.run(at, 0, 1).is_ok(), at == 301 - length || length == 0, "{at:#x} {length}");
        }
    }
}

#[test]
fn copies_that_overlap() {
    let pointers = "(i32.add (local.get $p) (local.get $a)) (i32.add (local.get $p) (local.get $b))";
    let unknown = Program::new(&format!("(memory.copy {pointers} (local.get $c))"));
    for length in [0, 1, 3, 4, 5, 6, 8, 13, 31, 63, 64, 65, 100] {
        let known = Program::new(&format!("(memory.copy {pointers} (i32.const {length}))"));
        for distance in -9..=9 {
            let (from, to) = (100, (100 + distance) as u32);
            let mut expected = bytes(301, 1);
            expected.copy_within(from as usize..(from + length) as usize, to as usize);
            let copied = known.run(to, from, 0).unwrap();
            assert_eq!(copied.buffers[0].bytes(), expected, "{distance} {length}");
            assert_eq!(unknown.run(to, from, length), Ok(copied));
        }
        for (to, from) in [(0, 301 - length), (301 - length, 0), (0, 302 - length), (302 - length, 0), (0, u32::MAX)] {
            let within = |at: u32| u64::from(at) + u64::from(length) <= 301;
            let expected = length == 0 || (within(to) && within(from));
            assert_eq!(known.run(to, from, 0).is_ok(), expected, "{to} {from} {length}");
            assert_eq!(unknown.run(to, from, length).is_ok(), expected, "{to} {from} {length}");
        }
    }
    for length in [0x8000_0000, u32::MAX] {
        assert_eq!(unknown.run(3, 5, length), Err(TrapKind::OutOfBounds));
        assert_eq!(unknown.run(5, 3, length), Err(TrapKind::OutOfBounds));
    }
}

#[test]
fn copies_between_buffers_need_no_direction() {
    let pointers = "(i32.add (local.get $p) (local.get $a)) (i32.add (local.get $q) (local.get $b))";
    let program = Program::new(&format!("(memory.copy {pointers} (local.get $c))"));
    assert!(!program.simplified.to_string().contains("i32.sub"), "{}", program.simplified);
    for length in (0..20).chain([203, 204]) {
        for (to, from) in [(0, 0), (7, 3), (301 - length.min(301), 203 - length.min(203))] {
            let expected = from + length <= 203 && to + length <= 301;
            assert_eq!(program.run(to, from, length).is_ok(), expected, "{to} {from} {length}");
        }
    }
}

#[test]
fn copies_of_pointers_that_may_be_anywhere() {
    let program = Program::new("(memory.copy (local.get $a) (local.get $b) (local.get $c))");
    for (to, from, length) in [
        (HIGH, LOW, 203),
        (LOW, HIGH, 203),
        (LOW, HIGH, 204),
        (0, HIGH, 301),
        (PAGE - 5, LOW + 9, 5),
        (PAGE - 4, LOW + 9, 5),
        (HIGH + 300, 17, 1),
        (HIGH + 301, 17, 1),
        (1000, 1003, 99),
        (1003, 1000, 99),
    ] {
        let end = |at: u32| at + length;
        let fits =
            |at: u32| end(at) <= PAGE || (at >= LOW && end(at) <= LOW + 203) || (at >= HIGH && end(at) <= HIGH + 301);
        assert_eq!(program.run(to, from, length).is_ok(), fits(to) && fits(from), "{to:#x} {from:#x} {length}");
    }
}

#[test]
fn empty_ranges_trap_between_linear_memory_and_the_buffers_only() {
    let fill = Program::new("(memory.fill (local.get $a) (i32.const 1) (local.get $b))");
    let known = Program::new("(memory.fill (local.get $a) (i32.const 1) (i32.const 0))");
    let copy = Program::new("(memory.copy (local.get $a) (local.get $b) (local.get $c))");
    let init = Program::new("(memory.init $bytes (local.get $a) (i32.const 11) (i32.const 0))");
    for address in
        [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, LOW - 1, LOW, LOW + 203, LOW + 300, HIGH, HIGH + 302, u32::MAX]
    {
        let expected = address <= PAGE || address >= LOW;
        assert_eq!(fill.run(address, 0, 0).is_ok(), expected, "{address:#x}");
        assert_eq!(known.run(address, 0, 0).is_ok(), expected, "{address:#x}");
        assert_eq!(copy.run(address, 5, 0).is_ok(), expected, "{address:#x}");
        assert_eq!(copy.run(5, address, 0).is_ok(), expected, "{address:#x}");
        assert_eq!(init.run(address, 0, 0).is_ok(), expected, "{address:#x}");
    }
}

#[test]
fn bytes_of_a_data_segment() {
    for (from, length, fits) in
        [(0, 11, true), (2, 7, true), (11, 0, true), (0, 12, false), (12, 0, false), (-1, 2, false)]
    {
        let program = Program::new(&format!(
            "(memory.init $bytes (i32.add (local.get $p) (local.get $a)) (i32.const {from}) (i32.const {length}))"
        ));
        let ended = program.run(20, 0, 0);
        assert_eq!(ended.is_ok(), fits, "{from} {length}");
        if let Ok(space) = ended {
            let mut expected = bytes(301, 1);
            (0..length).for_each(|i| expected[(20 + i) as usize] = (from + i + 1) as u8);
            assert_eq!(space.buffers[0].bytes(), expected);
        }
        assert_eq!(program.run(301 - length as u32, 0, 0).is_ok(), fits);
        assert_eq!(program.run(302 - length as u32, 0, 0).is_ok(), fits && length == 0);
    }
    // An active segment is empty after instantiation.
    let active =
        |length| Program::new(&format!("(memory.init $active (local.get $p) (i32.const 0) (i32.const {length}))"));
    assert_eq!(active(1).run(0, 0, 0), Err(TrapKind::OutOfBounds));
    assert_eq!(active(0).run(0, 0, 0), Ok(space()));
}

#[test]
fn ranges_of_a_data_segment_that_are_known_at_run_time_only() {
    let to = "(i32.add (local.get $p) (local.get $a))";
    let unknown = Program::new(&format!("(memory.init $bytes {to} (local.get $b) (local.get $c))"));
    for length in 0..13 {
        let known = Program::new(&format!("(memory.init $bytes {to} (local.get $b) (i32.const {length}))"));
        for from in (0..13).chain([0x8000_0000, u32::MAX]) {
            let fits = u64::from(from) + u64::from(length) <= 11;
            for at in [0, 1, 2, 3, 301 - length, 302 - length] {
                let ended = unknown.run(at, from, length);
                assert_eq!(known.run(at, from, 0), ended, "{at} {from} {length}");
                assert_eq!(ended.is_ok(), fits && (at + length <= 301 || length == 0), "{at} {from} {length}");
                let Ok(space) = ended else { continue };
                let mut expected = bytes(301, 1);
                (0..length).for_each(|i| expected[(at + i) as usize] = (from + i + 1) as u8);
                assert_eq!(space.buffers[0].bytes(), expected);
            }
        }
    }
    for length in [0x7fff_ffff, 0x8000_0000, u32::MAX] {
        assert_eq!(unknown.run(0, 3, length), Err(TrapKind::OutOfBounds));
    }
    let active = Program::new("(memory.init $active (local.get $p) (local.get $a) (local.get $b))");
    assert_eq!(active.run(0, 0, 0), Ok(space()));
    assert_eq!(active.run(1, 0, 0), Err(TrapKind::OutOfBounds));
    assert_eq!(active.run(0, 1, 0), Err(TrapKind::OutOfBounds));
}

#[test]
fn long_pieces_of_data_are_no_constants_of_the_shader() {
    let data = format!("(data $long \"{}\")", "0123456789".repeat(10_000));
    let body = "(memory.init $long (local.get $p) (local.get $a) (i32.const 270))
                (memory.init $long (local.get $p) (i32.const 4) (i32.const 280))";
    let program = Program::with(body, &data);
    let space = program.run(99_730, 0, 0).unwrap();
    let expected: Vec<u8> = "4567890123".bytes().cycle().take(280).collect();
    assert_eq!(space.buffers[0].bytes()[..280], expected);
    assert_eq!(program.run(99_731, 0, 0), Err(TrapKind::OutOfBounds));
    for profile in [Profile::Vulkan, Profile::Portable] {
        let options = Options { profile, ..Options::default() };
        let shader = translate(&program.module, program.kernel, &Shape::distinct(2), &options).unwrap();
        assert!(shader.words.len() < 4000, "{}", shader.words.len());
        // The segment's words, and one more behind them.
        assert_eq!(shader.interface.data.len(), 25_001);
        assert_eq!(shader.interface.data[..2], [0x3332_3130, 0x3736_3534]);
        match profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
    }
}

#[test]
fn what_an_invocation_drops_it_can_not_load() {
    let init = "(memory.init $bytes (local.get $p) (i32.const 0) (local.get $b))";
    let program = Program::new(&format!("{init} (if (local.get $a) (then (data.drop $bytes))) {init}"));
    assert!(program.run(0, 11, 0).is_ok());
    assert!(program.run(1, 0, 0).is_ok());
    assert_eq!(program.run(1, 1, 0), Err(TrapKind::OutOfBounds));
    // In a loop the second iteration finds what the first one did.
    let program = Program::new(&format!(
        "(loop {init} (data.drop $bytes) (local.set $a (i32.sub (local.get $a) (i32.const 1)))
           (br_if 0 (local.get $a)))"
    ));
    assert!(program.run(1, 11, 0).is_ok());
    assert!(program.run(2, 0, 0).is_ok());
    assert_eq!(program.run(2, 11, 0), Err(TrapKind::OutOfBounds));
    // One that nothing loads from, and one that is empty.
    let program = Program::new("(data.drop $bytes) (data.drop $active) (i32.store (local.get $p) (local.get $a))");
    assert!(program.run(7, 0, 0).is_ok());
}

#[test]
fn what_was_dropped_before_the_launch_is_empty() {
    let init = "(memory.init $bytes (local.get $p) (local.get $a) (local.get $b))";
    let (module, kernel, _) = module(init, "(func (data.drop $bytes) (data.drop $active))");
    assert_eq!(module.droppable_data().iter().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(module.droppable_reached(kernel).to_vec(), [0]);
    assert!(module.droppable_reached(1).is_empty());
    let environment = |dropped| Environment::initial(&module, kernel).with_dropped(&module, kernel, |_| dropped);
    assert_eq!(environment(false), Environment::initial(&module, kernel));
    let shape = Shape { environment: environment(true), ..Shape::distinct(2) };
    let simplified = testing::simplified(&module, kernel, &shape).unwrap();
    for (from, length, fits) in [(0, 0, true), (0, 1, false), (1, 0, false)] {
        let ended = run(&simplified, &module, [from, length, 0], &space());
        assert_eq!(ended.is_ok(), fits, "{from} {length}");
    }
}

#[test]
fn the_size_of_memory() {
    let program = Program::new("(i32.store (local.get $p) (i32.add (memory.size) (i32.const 41)))");
    assert_eq!(program.run(0, 0, 0).unwrap().buffers[0].bytes()[..4], [42, 0, 0, 0]);
}

#[test]
fn words_go_through_all_stages() {
    for body in [
        "(memory.fill (i32.add (local.get $p) (i32.shl (local.get $a) (i32.const 2))) (local.get $b) (i32.const 24))",
        "(memory.fill (local.get $p) (local.get $b) (i32.shl (local.get $a) (i32.const 2)))",
        "(memory.copy (local.get $p) (i32.add (local.get $q) (local.get $b)) (i32.shl (local.get $a) (i32.const 3)))",
        "(memory.copy (i32.add (local.get $p) (i32.const 8)) (i32.add (local.get $p) (i32.shl (local.get $b) (i32.const 2)))
           (i32.shl (local.get $a) (i32.const 2)))",
        "(memory.copy (local.get $q) (i32.add (local.get $p) (local.get $a)) (i32.const 40))",
        "(memory.init $bytes (local.get $p) (i32.const 3) (i32.const 8))",
        "(memory.init $bytes (local.get $p) (local.get $a) (local.get $b))",
        "(memory.init $bytes (i32.add (local.get $p) (local.get $b)) (local.get $a) (i32.const 4)) (data.drop $bytes)
         (memory.init $bytes (local.get $p) (i32.const 0) (i32.eq (local.get $b) (i32.const 3)))",
    ] {
        let program = Program::new(body);
        let shape = Shape::distinct(2);
        for profile in [Profile::Vulkan, Profile::Portable] {
            let options = Options { profile, ..Options::default() };
            let strict = testing::strict(&program.module, program.kernel, &shape, &options);
            let strict = strict.unwrap_or_else(|error| panic!("{error}\n{body}"));
            for (a, b) in [(0, 0), (1, 7), (2, 3), (10, 2), (11, 8), (50, 1), (75, 0), (76, 0), (0x4000_0000, 1)] {
                let expected = run(&program.lifted, &program.module, [a, b, 1], &space());
                let mut after = space();
                let immediates = [0, 1, 0, b, 1, 0, HIGH, 301, LOW, 203];
                let invocation = Invocation { immediates: &immediates, iteration: a, ..Invocation::default() };
                let end = interpret::run(&strict, &[], &invocation, &mut after, &|_| None).map(|_| after);
                match (expected, end) {
                    (Err(Stop::Trap { kind, at }), Err(Stop::Trap { kind: other, at: there })) => {
                        assert_eq!((kind, at), (other, there), "{a} {b} {body}");
                    }
                    (expected, end) => assert_eq!(expected, end, "{a} {b} {body}\n{strict}"),
                }
            }
            let words = translate(&program.module, program.kernel, &shape, &options).unwrap().words;
            match profile {
                Profile::Vulkan => common::assert_valid(&words),
                Profile::Portable => common::assert_portable(&words),
            }
        }
    }
}

#[test]
fn what_can_not_be_lifted_says_why() {
    let refusal = |body: &str, rest: &str| {
        let (module, kernel, text) = module(body, rest);
        match translate(&module, kernel, &Shape::distinct(2), &Options::default()) {
            Err(Error::Unsupported { what, .. }) => what,
            other => panic!("{other:?}\n{text}"),
        }
    };
    assert_eq!(refusal("(drop (memory.grow (i32.const 1)))", ""), "the operator `memory.grow`");
    assert_eq!(
        refusal("(memory.fill 1 (i32.const 0) (i32.const 0) (i32.const 0))", "(memory 1)"),
        "the operator `memory.fill`"
    );
}
