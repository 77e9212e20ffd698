//! Four invocations run as one: what kernels of many kinds become, and that it means the same.

mod common;

use common::count;
use wavelift_translator::ir::interpret::{self, Buffer, Invocation, Space, Stop};
use wavelift_translator::ir::{Function, LowOp, Op, StmtKind};
use wavelift_translator::passes::coarsen::LANES;
use wavelift_translator::{
    Access, Location, Module, Options, Profile, Proved, Shape, TrapKind, immediate, testing, translate,
};

/// A kernel of two buffers, and a third of settings.
fn kernel(body: &str) -> String {
    format!(
        r#"(module (memory 1) (func (export "kernel") (param $i i32) (param $n i32) (param $block i32)
          (param $from i32) (param $from_bytes i32) (param $to i32) (param $to_bytes i32)
          (param $set i32) (param $set_bytes i32)
          (local $x i32) (local $y i32) (local $w i32) (local $k i32) (local $sum i32) {body}))"#
    )
}

/// `to[i] = 3 * from[i] + to[i]`.
const TRIAD: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 2)))
  (i32.store (i32.add (local.get $to) (local.get $x)) (i32.add
    (i32.mul (i32.const 3) (i32.load (i32.add (local.get $from) (local.get $x))))
    (i32.load (i32.add (local.get $to) (local.get $x)))))";

/// Arrays in linear memory, at constant addresses: one is read, one is written, as is `to`.
const IN_MEMORY: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 2)))
  (local.set $sum (i32.add (i32.load (i32.add (local.get $to) (local.get $x)))
    (i32.mul (i32.const 3) (i32.load offset=1024 (local.get $x)))))
  (i32.store offset=2048 (local.get $x) (local.get $sum))
  (i32.store (i32.add (local.get $to) (local.get $x)) (i32.sub (local.get $sum) (local.get $i)))";

/// Rows of `set[0]` words: `to[i]` is the sum of the neighbours of `from[i]`, but at the border.
const STENCIL: &str = "(local.set $w (i32.load (local.get $set)))
  (local.set $x (i32.rem_u (local.get $i) (local.get $w)))
  (local.set $y (i32.div_u (local.get $i) (local.get $w)))
  (if (i32.or (i32.eqz (local.get $x)) (i32.or (i32.eqz (local.get $y))
        (i32.eq (local.get $x) (i32.sub (local.get $w) (i32.const 1)))))
    (then (return)))
  (local.set $k (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2))))
  (i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2)))
    (i32.add (i32.add (i32.load (i32.sub (local.get $k) (i32.const 4))) (i32.load offset=4 (local.get $k)))
      (i32.load (i32.sub (local.get $k) (i32.shl (local.get $w) (i32.const 2))))))";

/// The same of bytes, with signed rows.
const BYTES: &str = "(local.set $w (i32.load (local.get $set)))
  (local.set $x (i32.rem_s (local.get $i) (local.get $w)))
  (if (i32.eqz (local.get $x))
    (then (i32.store8 (i32.add (local.get $to) (local.get $i)) (i32.const 7)) (return)))
  (i32.store8 (i32.add (local.get $to) (local.get $i))
    (i32.add (i32.load8_u (i32.sub (i32.add (local.get $from) (local.get $i)) (i32.const 1)))
      (i32.load8_s (i32.add (local.get $from) (local.get $i)))))";

/// A row of one matrix times a column of another: `to[i] = sum of from[row * w + k] * from[k * w + column]`.
const PRODUCT: &str = "(local.set $w (i32.load (local.get $set)))
  (local.set $x (i32.rem_u (local.get $i) (local.get $w)))
  (local.set $y (i32.mul (i32.div_u (local.get $i) (local.get $w)) (local.get $w)))
  (loop $again
    (local.set $sum (i32.add (local.get $sum) (i32.mul
      (i32.load (i32.add (local.get $from) (i32.shl (i32.add (local.get $y) (local.get $k)) (i32.const 2))))
      (i32.load (i32.add (local.get $from)
        (i32.shl (i32.add (i32.mul (local.get $k) (local.get $w)) (local.get $x)) (i32.const 2)))))))
    (local.set $k (i32.add (local.get $k) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $k) (local.get $w))))
  (i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))";

/// Each takes its own branch, by what it loads, and some store more than others: with checks in between it is not coarsened.
const APART: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 2)))
  (local.set $y (i32.load (i32.add (local.get $from) (local.get $x))))
  (if (i32.and (local.get $y) (i32.const 1))
    (then (i32.store (i32.add (local.get $to) (local.get $x)) (i32.const -1)))
    (else (local.set $sum (i32.add (local.get $y) (i32.const 5)))))
  (if (i32.gt_u (local.get $y) (i32.const 0x40000000))
    (then (local.set $sum (i32.xor (local.get $sum) (local.get $i)))))
  (i32.store (i32.add (local.get $set) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))";

/// Blocks as compilers write `condition ? a : b`; each divides by what it loads, which may be 0.
const QUOTIENT: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 2)))
  (i32.store (i32.add (local.get $to) (local.get $x)) (block $done (result i32)
    (block $other
      (local.set $y (i32.load (i32.add (local.get $from) (local.get $x))))
      (br_if $other (i32.lt_s (local.get $y) (i32.const 100)))
      (br $done (i32.div_u (i32.const 1000000) (i32.sub (local.get $y) (i32.const 0x3f)))))
    (i32.const 17)))";

/// All divide by one number.
const SETTING: &str = "(i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2)))
    (i32.div_s (i32.const 100) (i32.load offset=4 (local.get $set))))";

/// Stores, and then a check that some fail.
const LATE: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 2)))
  (i32.store (i32.add (local.get $to) (local.get $x)) (local.get $i))
  (i32.store (i32.add (local.get $to) (local.get $x))
    (i32.add (i32.load (i32.add (local.get $from) (i32.shl (local.get $x) (i32.const 1)))) (i32.const 1)))";

/// 64-bit words, two for each.
const LONG: &str = "(local.set $x (i32.shl (local.get $i) (i32.const 3)))
  (i64.store (i32.add (local.get $to) (local.get $x))
    (i64.add (i64.load (i32.add (local.get $from) (local.get $x))) (i64.extend_i32_u (local.get $i))))";

/// A value that all load and a loop over them that ends in the middle for all.
const LOOPED: &str = "(local.set $k (i32.load (local.get $set)))
  (block $out (loop $again
    (br_if $out (i32.eqz (local.get $k)))
    (local.set $sum (i32.add (local.get $sum) (i32.load (i32.add (local.get $from)
      (i32.add (i32.shl (local.get $k) (i32.const 4)) (i32.shl (local.get $i) (i32.const 2)))))))
    (local.set $k (i32.sub (local.get $k) (i32.const 1)))
    (br $again)))
  (i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))";

const ALL: [(&str, &str); 11] = [
    ("triad", TRIAD),
    ("in_memory", IN_MEMORY),
    ("stencil", STENCIL),
    ("bytes", BYTES),
    ("product", PRODUCT),
    ("apart", APART),
    ("quotient", QUOTIENT),
    ("setting", SETTING),
    ("late", LATE),
    ("long", LONG),
    ("looped", LOOPED),
];

struct Lifted {
    kernel: Function,
    coarse: Option<Function>,
}

fn lift(body: &str, options: &Options) -> Lifted {
    let module = Module::parse(wat::parse_str(kernel(body)).unwrap()).unwrap();
    let (function, shape) = (module.find_function("kernel").unwrap(), Shape::distinct(3));
    let shader = translate(&module, function, &shape, &Options { coarsen: true, ..*options }).unwrap();
    match options.profile {
        Profile::Vulkan => common::assert_valid(&shader.words),
        Profile::Portable => common::assert_portable(&shader.words),
    }
    let coarse = testing::coarse(&module, function, &shape, options).unwrap();
    assert!(shader.may_coarsen == coarse.is_some() && (shader.interface.lanes == 1 || coarse.is_some()));
    Lifted { kernel: testing::strict(&module, function, &shape, options).unwrap(), coarse }
}

fn both_profiles() -> [Options; 2] {
    [Profile::Vulkan, Profile::Portable].map(|profile| Options { profile, ..Options::default() })
}

/// How a launch ends: the buffers and linear memory, or the trap of the lowest iteration.
#[derive(Debug, PartialEq)]
enum End {
    Done(Vec<Vec<u8>>),
    Trap(TrapKind, Location, u32),
}

struct Launch {
    iterations: u32,
    bytes: [u32; 3],
    settings: [i32; 2],
    fuel: u64,
}

impl Launch {
    fn new(iterations: u32, bytes: [u32; 3], settings: [i32; 2]) -> Launch {
        Launch { iterations, bytes, settings, fuel: u64::MAX }
    }

    fn space(&self) -> Space {
        let filled = |length: u32, factor: u32| (0..length).map(|at| (at.wrapping_mul(factor) >> 3) as u8).collect();
        let mut contents: [Vec<u8>; 3] =
            [filled(self.bytes[0], 77), filled(self.bytes[1], 41), vec![0; self.bytes[2] as usize]];
        for (at, byte) in self.settings.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
            if let Some(place) = contents[2].get_mut(at) {
                *place = byte;
            }
        }
        let addresses = [0x8000_0000, 0x9000_0000, 0xa000_0000];
        let buffer = |(address, bytes): (u32, &Vec<u8>)| Buffer::new(address, Access::ReadWrite, bytes);
        Space { linear: filled(4096, 53), buffers: addresses.into_iter().zip(&contents).map(buffer).collect() }
    }

    fn invoke(&self, function: &Function, space: &mut Space, iteration: u32) -> Result<(), Stop> {
        let mut immediates = vec![0, self.iterations, 0, self.iterations, 64, 0];
        assert_eq!(immediates.len() as u32, immediate::SLOTS);
        immediates.extend(space.buffers.iter().flat_map(|buffer| [buffer.address(), buffer.bytes().len() as u32]));
        let invocation = Invocation { iteration, immediates: &immediates, fuel: self.fuel, ..Invocation::default() };
        interpret::run(function, &[], &invocation, space, &|_| None).map(|_| ())
    }

    /// Runs a kernel, four invocations at once where `coarse` does that; how often it did so and how often it gave up.
    fn run(&self, kernel: &Function, coarse: Option<&Function>) -> (End, [u32; 2]) {
        let (mut space, mut counts) = (self.space(), [0, 0]);
        let trap = |stop, iteration| match stop {
            Stop::Trap { kind, at } => End::Trap(kind, at, iteration),
            other => panic!("{other}"),
        };
        for first in (0..self.iterations).step_by(LANES as usize) {
            let before = space.clone();
            if let Some(coarse) = coarse.filter(|_| self.iterations - first >= LANES) {
                match self.invoke(coarse, &mut space, first) {
                    Ok(()) => {
                        counts[0] += 1;
                        continue;
                    }
                    Err(Stop::Trap { kind: TrapKind::OneByOne, .. }) => {
                        assert_eq!(space, before, "gave up behind a store\n{coarse}");
                        counts[1] += 1;
                    }
                    Err(stop) => return (trap(stop, first), counts),
                }
            }
            for iteration in first..self.iterations.min(first + LANES) {
                if let Err(stop) = self.invoke(kernel, &mut space, iteration) {
                    return (trap(stop, iteration), counts);
                }
            }
        }
        let buffers = space.buffers.iter().map(|buffer| buffer.bytes().to_vec());
        (End::Done(buffers.chain([space.linear.clone()]).collect()), counts)
    }
}

fn launches() -> Vec<Launch> {
    let mut all = Vec::new();
    for iterations in [0, 1, 3, 4, 5, 16, 31] {
        for settings in [[8, 5], [4, 0], [6, -1], [5, 1], [12, 3], [16, 2], [1, 7], [0, 1], [-8, 1], [3, 3]] {
            for bytes in [[512, 512, 512], [64, 512, 512], [512, 60, 512], [512, 512, 58], [33, 70, 8], [0, 0, 0]] {
                all.push(Launch::new(iterations, bytes, settings));
            }
        }
    }
    all
}

#[test]
fn four_at_once_mean_what_each_means() {
    for options in both_profiles() {
        for (name, body) in ALL {
            let checks_proved = name == "apart";
            if ["late", "apart"].contains(&name) {
                let coarse = lift(body, &options).coarse;
                assert!(coarse.is_none(), "{name} stores before it is known that none parts");
            }
            if name == "late" {
                continue;
            }
            let proved = if checks_proved { Proved::ALL } else { Proved::NONE };
            let Lifted { kernel, coarse } = lift(body, &Options { checks_proved: proved, ..options });
            let coarse = coarse.unwrap_or_else(|| panic!("{name} was not coarsened\n{kernel}"));
            let (mut at_once, mut given_up) = (0, 0);
            for launch in launches() {
                if checks_proved && launch.bytes != [512; 3] {
                    continue;
                }
                let (expected, _) = launch.run(&kernel, None);
                let (end, counts) = launch.run(&kernel, Some(&coarse));
                let Launch { iterations, bytes, settings, .. } = launch;
                assert_eq!(end, expected, "{name}: {iterations} of {bytes:?}, {settings:?}\n{coarse}");
                (at_once, given_up) = (at_once + counts[0], given_up + counts[1]);
            }
            assert!(at_once > 50, "{name}: {at_once} at once");
            assert!(given_up > 20 || checks_proved, "{name}: {given_up} given up");
        }
    }
}

fn accesses(function: &Function) -> [usize; 4] {
    let is = |is: fn(&LowOp) -> bool| {
        count(function, move |kind| matches!(kind, StmtKind::Op { op: Op::Low(op), .. } if is(op)))
    };
    [
        is(|op| matches!(op, LowOp::LoadLane { .. })),
        is(|op| matches!(op, LowOp::LoadWord { .. })),
        is(|op| matches!(op, LowOp::StoreQuad { .. })),
        is(|op| {
            matches!(
                op,
                LowOp::StoreWord { .. } | LowOp::StorePart { .. } | LowOp::AndWord { .. } | LowOp::OrWord { .. }
            )
        }),
    ]
}

#[test]
fn what_four_access_becomes_wide() {
    let coarse = |body| lift(body, &Options::default()).coarse.unwrap();
    // Two loads and a store of four words each.
    assert_eq!(accesses(&coarse(TRIAD)), [8, 0, 1, 0]);
    // As many of linear memory, and one of a buffer.
    assert_eq!(accesses(&coarse(IN_MEMORY)), [8, 0, 2, 0]);
    // Two loads and a store of eight words each.
    assert_eq!(accesses(&coarse(LONG)), [8, 0, 2, 0]);
    // The row's four words, two of their neighbours, four of the row above; the width by itself.
    assert_eq!(accesses(&coarse(STENCIL)), [10, 1, 1, 0]);
    // The four bytes of a word, and the one before; both arms store a whole word, one way or the other.
    assert_eq!(accesses(&coarse(BYTES)), [0, 3, 0, 1]);
}

#[test]
fn an_endless_loop_ends_for_four_as_for_one() {
    let body = "(i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2)))
          (i32.load (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2)))))
        (loop $again (br_if $again (i32.ne (i32.load (local.get $set)) (i32.const 1))))";
    let options = Options { fuel: Some(10_000), ..Options::default() };
    let Lifted { kernel, coarse } = lift(body, &options);
    let coarse = coarse.unwrap();
    for settings in [[0, 0], [1, 0]] {
        let launch = Launch::new(9, [64, 64, 64], settings);
        let (expected, _) = launch.run(&kernel, None);
        assert_eq!(launch.run(&kernel, Some(&coarse)).0, expected);
        assert_eq!(matches!(expected, End::Trap(TrapKind::OutOfFuel, _, 0)), settings[0] == 0, "{expected:?}");
    }
}

#[test]
fn a_planted_bug_is_seen() {
    let Lifted { kernel, coarse } = lift(TRIAD, &Options::default());
    let mut coarse = coarse.unwrap();
    for region in &mut coarse.regions {
        for stmt in &mut region.stmts {
            if let StmtKind::Op { op: Op::Low(LowOp::LoadLane { lane, slot: 0, .. }), .. } = &mut stmt.kind {
                *lane = 3 - *lane;
            }
        }
    }
    let launch = Launch::new(16, [512, 512, 512], [0, 0]);
    assert_ne!(launch.run(&kernel, Some(&coarse)).0, launch.run(&kernel, None).0);
}

/// A look at each block that went down to the innermost one would take for ever.
#[test]
fn blocks_that_nest_deeply_take_no_longer_than_others() {
    let (mut open, mut close) = (String::new(), String::new());
    for depth in 0..120 {
        open += "(block ";
        close += &format!(
            "(br_if 0 (i32.eq (local.get $y) (i32.const {depth}))) (local.set $sum (i32.add (local.get $sum) (local.get $y))))"
        );
    }
    let body = format!(
        "(local.set $y (i32.load (i32.add (local.get $from) (i32.shl (local.get $i) (i32.const 2)))))
         {open} {close}
         (i32.store (i32.add (local.get $to) (i32.shl (local.get $i) (i32.const 2))) (local.get $sum))"
    );
    let started = std::time::Instant::now();
    lift(&body, &Options::default());
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}
