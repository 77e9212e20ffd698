//! Rounds of loops as invocations: of which kernels they are that, how many there are, and that it means the same.

mod common;

use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Function, LowOp, Op, StmtKind};
use wavelift_translator::passes::coarsen::LANES;
use wavelift_translator::{
    Access, LaunchState, Location, Module, Options, Profile, Rounds, Shape, TrapKind, immediate, testing, translate,
};

/// A kernel of two buffers, and a third of settings. `$lo` and `$hi` are where the invocation's block of words begins and ends.
fn kernel(body: &str) -> String {
    format!(
        r#"(module (memory 1) (func (export "kernel") (param $i i32) (param $n i32) (param $block i32)
          (param $from i32) (param $from_bytes i32) (param $to i32) (param $to_bytes i32)
          (param $set i32) (param $set_bytes i32)
          (local $lo i32) (local $hi i32) (local $j i32) (local $x i32) (local $sum i32) {BLOCK} {body}))"#
    )
}

/// The invocation's block: up to the end of `to`.
const BLOCK: &str = "(local.set $lo (i32.mul (local.get $i) (local.get $block)))
  (local.set $hi (i32.add (local.get $lo) (local.get $block)))
  (if (i32.lt_u (i32.shr_u (local.get $to_bytes) (i32.const 2)) (local.get $hi))
    (then (local.set $hi (i32.shr_u (local.get $to_bytes) (i32.const 2)))))";

/// A loop over the block, with `$x` the place of element `$j`.
fn looped(body: &str) -> String {
    format!(
        "(local.set $j (local.get $lo))
         (block $out (loop $again
           (br_if $out (i32.ge_u (local.get $j) (local.get $hi)))
           (local.set $x (i32.shl (local.get $j) (i32.const 2)))
           {body}
           (local.set $j (i32.add (local.get $j) (i32.const 1)))
           (br $again)))"
    )
}

/// `to[x] = value`.
fn store(value: &str) -> String {
    format!("(i32.store (i32.add (local.get $to) (local.get $x)) {value})")
}

const FROM: &str = "(i32.load (i32.add (local.get $from) (local.get $x)))";
const TO: &str = "(i32.load (i32.add (local.get $to) (local.get $x)))";

fn triad() -> String {
    looped(&store(&format!("(i32.add {TO} (i32.mul (i32.const 3) {FROM}))")))
}

/// Two elements at a time, with pointers that go on and a number that counts down, as compilers write it.
const UNROLLED: &str = "(block $done
    (br_if $done (i32.le_u (local.get $hi) (local.get $lo)))
    (local.set $sum (i32.add (local.get $lo) (i32.const 1)))
    (block $even
      (br_if $even (i32.eqz (i32.and (i32.sub (local.get $hi) (local.get $lo)) (i32.const 1))))
      (local.set $x (i32.shl (local.get $lo) (i32.const 2)))
      (i32.store (i32.add (local.get $to) (local.get $x))
        (i32.add (i32.const 7) (i32.load (i32.add (local.get $from) (local.get $x)))))
      (local.set $lo (local.get $sum)))
    (br_if $done (i32.eq (local.get $hi) (local.get $sum)))
    (local.set $j (i32.sub (local.get $hi) (local.get $lo)))
    (local.set $from (i32.add (local.get $from) (i32.shl (local.get $lo) (i32.const 2))))
    (local.set $to (i32.add (local.get $to) (i32.shl (local.get $lo) (i32.const 2))))
    (loop $again
      (i32.store (local.get $to) (i32.add (i32.load (local.get $to)) (i32.load (local.get $from))))
      (i32.store offset=4 (local.get $to) (i32.xor (i32.load offset=4 (local.get $to)) (i32.load offset=4 (local.get $from))))
      (local.set $to (i32.add (local.get $to) (i32.const 8)))
      (local.set $from (i32.add (local.get $from) (i32.const 8)))
      (br_if $again (local.tee $j (i32.sub (local.get $j) (i32.const 2))))))";

/// A branch in the loop, one of whose arms divides by what is loaded.
fn branched() -> String {
    let quotient = store(&format!("(i32.div_u (i32.const 1000000) (i32.and {FROM} (i32.const 7)))"));
    looped(&format!("(if (i32.and {FROM} (i32.const 16)) (then {quotient}) (else {}))", store("(local.get $j)")))
}

/// A step and a start that the launch's settings say.
fn setting() -> String {
    format!(
        "(local.set $sum (i32.load (local.get $set))) {}",
        looped(&store("(i32.add (local.get $sum) (local.get $j))"))
    )
}

/// Downwards, by two words.
const DOWN: &str = "(local.set $j (i32.sub (local.get $hi) (i32.const 1)))
  (block $out (loop $again
    (br_if $out (i32.lt_s (local.get $j) (local.get $lo)))
    (local.set $x (i32.shl (local.get $j) (i32.const 2)))
    (i32.store (i32.add (local.get $to) (local.get $x)) (i32.load (i32.add (local.get $from) (local.get $x))))
    (local.set $j (i32.sub (local.get $j) (i32.const 2)))
    (br $again)))";

/// Reads beyond the block.
fn neighbours() -> String {
    looped(&store(
        "(i32.add (i32.load (i32.add (local.get $from) (local.get $x))) (i32.load offset=4 (i32.add (local.get $from) (local.get $x))))",
    ))
}

/// Stores once in front of a loop to another buffer, and traps behind it where the settings say so.
fn ends_in_a_trap() -> String {
    format!(
        "(i32.store offset=64 (i32.add (local.get $set) (i32.shl (local.get $i) (i32.const 2))) (local.get $hi)) {}
         (if (i32.eq (local.get $i) (i32.const 3)) (then (unreachable)))",
        looped(&store(FROM))
    )
}

fn flattened() -> Vec<(&'static str, String)> {
    vec![
        ("triad", triad()),
        ("unrolled", UNROLLED.into()),
        ("branched", branched()),
        ("setting", setting()),
        ("down", DOWN.into()),
        ("neighbours", neighbours()),
        ("ends in a trap", ends_in_a_trap()),
    ]
}

struct Lifted {
    kernel: Function,
    rounds: Option<Rounds>,
    flat: Function,
    coarse: Option<Function>,
}

fn lift_for(body: &str, shape: &Shape, options: &Options) -> Lifted {
    let module = Module::parse(wat::parse_str(kernel(body)).unwrap()).unwrap();
    let function = module.find_function("kernel").unwrap();
    let plain = translate(&module, function, shape, options).unwrap();
    let flatten = Options { flatten: true, ..*options };
    for coarsen in [false, true] {
        let shader = translate(&module, function, shape, &Options { coarsen, ..flatten }).unwrap();
        assert!(shader.rounds.is_none());
        match options.profile {
            Profile::Vulkan => common::assert_valid(&shader.words),
            Profile::Portable => common::assert_portable(&shader.words),
        }
        if plain.rounds.is_none() && !coarsen {
            assert_eq!(shader.words, plain.words, "what can't be flattened stays what it is");
        }
    }
    Lifted {
        kernel: testing::strict(&module, function, shape, options).unwrap(),
        rounds: plain.rounds,
        flat: testing::strict(&module, function, shape, &flatten).unwrap(),
        coarse: testing::coarse(&module, function, shape, &flatten).unwrap(),
    }
}

fn lift(body: &str, options: &Options) -> Lifted {
    lift_for(body, &Shape::distinct(3), options)
}

/// How a launch ends: the buffers, or the trap of the lowest iteration.
#[derive(Debug, PartialEq)]
enum End {
    Done(Vec<Vec<u8>>),
    Trap(TrapKind, Location, u32),
}

#[derive(Clone, Copy, Debug)]
struct Launch {
    iterations: u32,
    block: u32,
    bytes: [u32; 3],
}

impl Launch {
    fn space(&self) -> Space {
        let filled = |length: u32, factor: u32| (0..length).map(|at| (at.wrapping_mul(factor) >> 3) as u8).collect();
        let contents: [Vec<u8>; 3] = [filled(self.bytes[0], 77), filled(self.bytes[1], 41), filled(self.bytes[2], 3)];
        let addresses = [0x8000_0000, 0x9000_0000, 0xa000_0000];
        let buffer = |(address, bytes): (u32, &Vec<u8>)| Buffer::new(address, Access::ReadWrite, bytes);
        Space { linear: Vec::new(), buffers: addresses.into_iter().zip(&contents).map(buffer).collect() }
    }

    fn immediates(&self) -> Vec<u32> {
        let mut immediates = vec![0, self.iterations, 0, self.iterations, self.block, 0];
        assert_eq!(immediates.len() as u32, immediate::SLOTS);
        immediates
            .extend(self.space().buffers.iter().flat_map(|buffer| [buffer.address(), buffer.bytes().len() as u32]));
        immediates
    }

    /// The most rounds.
    fn rounds(&self, rounds: &Rounds, fuel: Option<u32>) -> Option<u32> {
        let immediates = self.immediates();
        let launch = LaunchState {
            immediates: &immediates,
            inputs: &|_| None,
            words: &|_, _| None,
            iterations: self.iterations,
        };
        let found = rounds.count(&launch, fuel)?;
        assert!(found.all <= u64::from(found.most) * u64::from(self.iterations));
        Some(found.most)
    }

    fn invoke(&self, function: &Function, space: &mut Space, iteration: u32, rounds: u32) -> Result<(), Stop> {
        let immediates = self.immediates();
        let fuel = u64::MAX;
        let invocation = Invocation { iteration, immediates: &immediates, rounds, fuel, ..Invocation::default() };
        interpret::run(function, &[], &invocation, space, &|_| None).map(|_| ())
    }

    /// Runs these invocations in this order until one traps, `rounds` of them for each of the launch's.
    fn run(&self, function: &Function, order: impl Iterator<Item = u32>, rounds: u32) -> End {
        let mut space = self.space();
        for iteration in order {
            match self.invoke(function, &mut space, iteration, rounds) {
                Ok(()) => {}
                Err(Stop::Trap { kind, at }) => return End::Trap(kind, at, iteration / rounds),
                Err(other) => panic!("{other}\n{function}"),
            }
        }
        done(&space)
    }

    /// The same in order, four at once where that is done; how often it was done.
    fn run_coarse(&self, flat: &Function, coarse: &Function, rounds: u32) -> (End, u32) {
        let (mut space, mut at_once) = (self.space(), 0);
        for first in (0..self.iterations * rounds).step_by(LANES as usize) {
            let before = space.clone();
            match self.invoke(coarse, &mut space, first, rounds) {
                Ok(()) => {
                    at_once += 1;
                    continue;
                }
                Err(Stop::Trap { kind: TrapKind::OneByOne, .. }) => assert_eq!(space, before, "{coarse}"),
                Err(Stop::Trap { kind, at }) => return (End::Trap(kind, at, first / rounds), at_once),
                Err(other) => panic!("{other}\n{coarse}"),
            }
            for iteration in first..first + LANES {
                match self.invoke(flat, &mut space, iteration, rounds) {
                    Ok(()) => {}
                    Err(Stop::Trap { kind, at }) => return (End::Trap(kind, at, iteration / rounds), at_once),
                    Err(other) => panic!("{other}\n{flat}"),
                }
            }
        }
        (done(&space), at_once)
    }
}

fn done(space: &Space) -> End {
    End::Done(space.buffers.iter().map(|buffer| buffer.bytes().to_vec()).collect())
}

fn launches() -> Vec<Launch> {
    let mut all = Vec::new();
    for (iterations, block) in [(1, 1), (1, 13), (2, 16), (3, 5), (5, 8), (4, 32), (5, 0), (7, 2)] {
        for bytes in
            [[512, 512, 512], [512, 60, 512], [512, 202, 512], [120, 512, 512], [96, 250, 512], [33, 70, 80], [0, 0, 0]]
        {
            all.push(Launch { iterations, block, bytes });
        }
    }
    all
}

fn both_profiles() -> [Options; 2] {
    [Profile::Vulkan, Profile::Portable].map(|profile| Options { profile, ..Options::default() })
}

#[test]
fn rounds_mean_what_their_invocation_means() {
    for options in both_profiles() {
        for (name, body) in flattened() {
            let Lifted { kernel, rounds, flat, coarse } = lift(&body, &options);
            let rounds = rounds.unwrap_or_else(|| panic!("{name} was not flattened\n{kernel}"));
            let (mut traps, mut ends, mut at_once) = (0, 0, 0);
            for launch in launches() {
                let expected = launch.run(&kernel, 0..launch.iterations, 1);
                let most = launch.rounds(&rounds, None).unwrap_or_else(|| panic!("{name}: {launch:?}"));
                let all = launch.iterations * most;
                let end = launch.run(&flat, 0..all, most);
                assert_eq!(end, expected, "{name}: {launch:?} with {most} rounds\n{flat}");
                match expected {
                    End::Trap(..) => traps += 1,
                    End::Done(_) => {
                        ends += 1;
                        let backwards = launch.run(&flat, (0..all).rev(), most);
                        assert_eq!(backwards, expected, "{name}: {launch:?}, backwards\n{flat}");
                    }
                }
                if let Some(coarse) = &coarse {
                    let (end, times) = launch.run_coarse(&flat, coarse, most.next_multiple_of(LANES));
                    assert_eq!(end, expected, "{name}: {launch:?}, four at once\n{coarse}");
                    at_once += times;
                }
            }
            assert!(traps > 0 && ends > 10, "{name}: {traps} traps, {ends} ends");
            // What goes down by two words is in no vectors.
            assert!(at_once > 20 || coarse.is_none() || name == "down", "{name}: {at_once} at once");
        }
    }
}

#[test]
fn four_rounds_access_whole_vectors() {
    for (name, body) in [("triad", triad()), ("unrolled", UNROLLED.into())] {
        let coarse = lift(&body, &Options::default()).coarse.unwrap();
        let stores = |wanted: fn(&LowOp) -> bool| {
            common::count(&coarse, move |kind| matches!(kind, StmtKind::Op { op: Op::Low(op), .. } if wanted(op)))
        };
        assert!(stores(|op| matches!(op, LowOp::StoreQuad { .. })) > 0, "{name}\n{coarse}");
    }
}

/// What the host finds is what there is, and not more.
#[test]
fn the_most_rounds_are_found() {
    let Lifted { rounds, .. } = lift(&triad(), &Options::default());
    let rounds = rounds.unwrap();
    let most = |iterations, block, words: u32| {
        Launch { iterations, block, bytes: [4 * words, 4 * words, 64] }.rounds(&rounds, None)
    };
    assert_eq!(most(16, 64, 1024), Some(64));
    assert_eq!(most(1_000_000, 3, 1000), Some(3));
    assert_eq!(most(1, 5000, 77), Some(77));
    assert_eq!(most(3, 0, 77), Some(1));
    assert_eq!(most(0, 8, 77), None);
    let Lifted { rounds, .. } = lift(UNROLLED, &Options::default());
    let rounds = rounds.unwrap();
    let most = |iterations, block, words: u32| {
        Launch { iterations, block, bytes: [4 * words, 4 * words, 64] }.rounds(&rounds, None)
    };
    assert_eq!(most(16, 64, 1024), Some(32));
    assert_eq!(most(100_000, 9, 1_000), Some(5));
}

/// An invocation that may run out of fuel is not flattened, for each of its rounds alone would not.
#[test]
fn what_may_run_out_of_fuel_has_no_rounds() {
    let Lifted { rounds, .. } = lift(&triad(), &Options { fuel: Some(10_000), ..Options::default() });
    let rounds = rounds.unwrap();
    let launch = |block| Launch { iterations: 4, block, bytes: [4096, 4096, 64] };
    assert_eq!(launch(64).rounds(&rounds, Some(10_000)), Some(64));
    assert_eq!(launch(900).rounds(&rounds, Some(10_000)), None);
}

#[test]
fn what_rounds_may_see_of_each_other_is_not_flattened() {
    let before = "(i32.load (i32.sub (i32.add (local.get $to) (local.get $x)) (i32.const 4)))";
    let cases = [
        ("a[j] = a[j - 1]", looped(&store(before))),
        ("a[j] = a[j + 1]", looped(&store("(i32.load offset=4 (i32.add (local.get $to) (local.get $x)))"))),
        ("a[j / 2]", looped(
            "(i32.store (i32.add (local.get $to) (i32.shl (i32.shr_u (local.get $j) (i32.const 1)) (i32.const 2))) (local.get $j))",
        )),
        ("two words each", looped(&format!(
            "{} (i32.store offset=4 (i32.add (local.get $to) (local.get $x)) (i32.const 1))", store("(local.get $j)")))),
        ("an index from memory", looped(&format!(
            "(i32.store (i32.add (local.get $to) (i32.shl (i32.and {FROM} (i32.const 15)) (i32.const 2))) (local.get $j))"))),
        ("a sum", format!("{} {}", looped(&format!("(local.set $sum (i32.add (local.get $sum) {FROM}))")),
            "(i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))")),
        ("a sum that is stored", looped(&format!(
            "(local.set $sum (i32.add (local.get $sum) {FROM})) {}", store("(local.get $sum)")))),
        ("an end that is found", looped(&format!("(br_if $out (i32.eq {FROM} (i32.const 5))) {}", store("(i32.const 1)")))),
        ("the first element", format!("(local.set $sum (i32.load (local.get $to))) {}", looped(&store("(local.get $sum)")))),
        ("loops that meet", format!("{} {}", triad(), triad())),
        ("a loop without end", format!("(loop $more (br_if $more (i32.load (local.get $set)))) {}", triad())),
        ("bytes", looped("(i32.store8 (i32.add (local.get $to) (local.get $j)) (i32.const 1))")),
        ("a loop within", looped(&format!("(local.set $sum (i32.const 0))
            (loop $in (local.set $sum (i32.add (local.get $sum) (i32.const 1))) (br_if $in (i32.lt_u (local.get $sum) {FROM}))) {}",
            store("(i32.const 1)")))),
        ("one store before, one in the loop", format!(
            "(i32.store (i32.add (local.get $to) (i32.shl (local.get $lo) (i32.const 2))) (i32.const 9)) {}", triad())),
    ];
    for (name, body) in cases {
        assert!(lift(&body, &Options::default()).rounds.is_none(), "{name}");
    }
}

#[test]
fn buffers_that_are_one_are_told() {
    let mut shape = Shape::distinct(3);
    assert!(lift_for(&neighbours(), &shape, &Options::default()).rounds.is_some());
    shape.buffers[1].slot = 0;
    shape.buffers[2].slot = 1;
    assert!(lift_for(&neighbours(), &shape, &Options::default()).rounds.is_none());
    assert!(lift_for(&triad(), &shape, &Options::default()).rounds.is_some());
}

#[test]
fn a_planted_bug_is_seen() {
    let Lifted { kernel, rounds, mut flat, .. } = lift(&triad(), &Options::default());
    for region in &mut flat.regions {
        for stmt in &mut region.stmts {
            if let StmtKind::Op { op: Op::Low(op @ LowOp::URem), .. } = &mut stmt.kind {
                *op = LowOp::UDiv;
            }
        }
    }
    let launch = Launch { iterations: 4, block: 8, bytes: [512; 3] };
    let most = launch.rounds(&rounds.unwrap(), None).unwrap();
    assert_ne!(launch.run(&flat, 0..4 * most, most), launch.run(&kernel, 0..4, 1));
}

/// Guests of clang, for which the vectors of one build are words: loops that it unrolled, vectorised, and peeled.
#[test]
fn loops_of_compilers_are_flattened() {
    for (file, name) in [
        ("benches/guests/nstream_blocks.wasm", "nstream_block"),
        ("benches/guests/nstream_blocks.simd.wasm", "nstream_block"),
        ("examples/guests/nstream_block.wasm", "nstream_block"),
        ("tests/guests/c/lanes.O3.wasm", "nstream"),
        ("tests/guests/c/lanes.O2.wasm", "nstream"),
        ("tests/guests/c/lanes.O3-simd.wasm", "nstream"),
        ("tests/guests/c/lanes.O3.wasm", "saxpy"),
    ] {
        let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
        let module = Module::parse(std::fs::read(path).unwrap()).unwrap();
        let function = module.find_function(name).unwrap();
        let shape = Shape::initial(&module, function);
        let kernel = testing::strict(&module, function, &shape, &Options::default()).unwrap();
        let rounds = translate(&module, function, &shape, &Options::default()).unwrap().rounds;
        let rounds = rounds.unwrap_or_else(|| panic!("{file}: {name} was not flattened\n{kernel}"));
        let flat =
            testing::strict(&module, function, &shape, &Options { flatten: true, ..Options::default() }).unwrap();
        for (iterations, block) in [(1, 9), (4, 32), (5, 11), (6, 17)] {
            let launch = Launch { iterations, block, bytes: [408, 408, 408] };
            let most = launch.rounds(&rounds, None).unwrap();
            let expected = launch.run(&kernel, 0..iterations, 1);
            assert_eq!(launch.run(&flat, 0..iterations * most, most), expected, "{file}: {launch:?}\n{flat}");
            if matches!(expected, End::Done(_)) {
                assert_eq!(
                    launch.run(&flat, (0..iterations * most).rev(), most),
                    expected,
                    "{file}: {launch:?}\n{flat}"
                );
            }
        }
    }
}
