//! Time to lift grows with a kernel's size, and no faster: kernels of several families, doubled again and again.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wavelift_translator::{
    DEFAULT_WORK, Emulate, Error, Module, Options, Profile, Shape, Speculation, initial_shape, testing, translate,
};

/// Least time of a measurement.
const MEASURED: Duration = Duration::from_millis(300);

/// A kernel of about so many operators.
type Family = (&'static str, fn(usize) -> Kernel);

const FAMILIES: [Family; 19] = [
    ("straight line", straight_line),
    ("loads", loads),
    ("wide loads", wide_loads),
    ("pointer bumps", pointer_bumps),
    ("nested loops", nested_loops),
    ("loops in a row", loops_in_a_row),
    ("small br_tables", small_br_tables),
    ("large br_tables", large_br_tables),
    ("branches", branches),
    ("byte stores", byte_stores),
    ("stack slots", stack_slots),
    ("many stack slots", many_stack_slots),
    ("calls", calls),
    ("indirect calls", indirect_calls),
    ("many buffers", many_buffers),
    ("vectors", vectors),
    ("i64 arithmetic", wide_arithmetic),
    ("loaded indices", loaded_indices),
    ("loaded pointers", loaded_pointers),
];

/// What a kernel's module is made of.
struct Kernel {
    /// Buffers beside the first two.
    buffers: usize,
    /// Fields of the module beside the memory, the stack pointer and the kernel.
    fields: &'static str,
    body: String,
}

impl From<String> for Kernel {
    fn from(body: String) -> Self {
        Kernel { buffers: 0, fields: "", body }
    }
}

impl Kernel {
    /// A kernel with buffers `$p` and `$q` and some locals around the body.
    fn module(&self) -> Module {
        let Kernel { buffers, fields, body } = self;
        let more: String = (0..*buffers).map(|number| format!("(param $b{number} i32) (param i32)")).collect();
        let text = format!(
            "(module (memory 1) (global $sp (export \"__stack_pointer\") (mut i32) (i32.const 65536)) {fields}
               (func (export \"kernel\")
               (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (param $q i32) (param i32) {more}
               (local $x i32) (local $y i32) (local $z i32) (local $f f32) (local $j i32) (local $k i32) (local $m i32)
               (local $w i64) (local $v v128) (local $fp i32)
               (local.set $x (i32.load (local.get $p)))
               (local.set $y (i32.load offset=4 (local.get $p)))
               {body}
               (i32.store (local.get $q) (local.get $x))
               (i32.store offset=4 (local.get $q) (local.get $y))))"
        );
        Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
    }
}

/// Repeats `part`, which has `size` operators and may contain its number as `#`, to about `operators`.
fn repeat(operators: usize, size: usize, part: &str) -> String {
    let mut text = String::new();
    for number in 0..operators / size {
        text.push_str(&part.replace('#', &number.to_string()));
        text.push('\n');
    }
    text
}

fn straight_line(operators: usize) -> Kernel {
    let part = "(local.set $x (i32.add (i32.mul (local.get $x) (local.get $y)) (i32.const #)))
      (local.set $y (i32.xor (local.get $y) (i32.shr_u (local.get $x) (i32.const 3))))
      (local.set $y (i32.add (local.get $y) (i32.load offset=8 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))))
      (i32.store offset=12 (i32.add (local.get $p) (i32.shl (local.get $x) (i32.const 2))) (local.get $y))";
    repeat(operators, 30, part).into()
}

/// Checks with nothing between them that must not be moved.
fn loads(operators: usize) -> Kernel {
    let part = "(local.set $y (i32.add (local.get $y) (i32.load offset=8
      (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const #))))))";
    repeat(operators, 9, part).into()
}

/// Four adjacent words, of ever other places.
fn wide_loads(operators: usize) -> Kernel {
    let part = "(local.set $m (i32.add (local.get $p) (i32.shl (i32.mul (local.get $i) (i32.const #)) (i32.const 4))))
      (local.set $y (i32.add (i32.add (i32.load (local.get $m)) (i32.load offset=4 (local.get $m)))
        (i32.add (i32.load offset=8 (local.get $m)) (i32.add (local.get $y) (i32.load offset=12 (local.get $m))))))";
    repeat(operators, 23, part).into()
}

/// A pointer that moves on by a constant from load to load.
fn pointer_bumps(operators: usize) -> Kernel {
    let part = "(local.set $y (i32.mul (i32.add (local.get $y) (i32.load (local.get $p))) (i32.const #)))
      (local.set $p (i32.add (local.get $p) (i32.const 4)))";
    repeat(operators, 11, part).into()
}

fn nested_loops(operators: usize) -> Kernel {
    let part = "(local.set $j (i32.const 0))
      (loop
        (local.set $k (i32.const 0))
        (loop
          (local.set $m (i32.const 0))
          (loop
            (local.set $x (i32.add (local.get $x) (i32.mul (local.get $m) (local.get $y))))
            (local.set $y (i32.xor (local.get $y) (i32.load (i32.add (local.get $p) (i32.shl (local.get $m) (i32.const 2))))))
            (br_if 0 (i32.lt_u (local.tee $m (i32.add (local.get $m) (i32.const 1))) (i32.const 5))))
          (br_if 0 (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 6))))
        (br_if 0 (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const #))))";
    repeat(operators, 49, part).into()
}

fn loops_in_a_row(operators: usize) -> Kernel {
    let part = "(block (loop
        (br_if 1 (i32.gt_u (local.get $x) (i32.const #)))
        (local.set $x (i32.add (local.get $x) (local.get $y)))
        (br_if 1 (i32.eqz (local.get $x)))
        (br 0)))";
    repeat(operators, 15, part).into()
}

fn small_br_tables(operators: usize) -> Kernel {
    let part = "(block (block (block (block
        (br_table 0 1 2 0 3 (i32.and (local.get $x) (i32.const 7))))
        (local.set $x (i32.add (local.get $x) (i32.const #)))
        (br 2))
        (local.set $y (i32.mul (local.get $x) (i32.const 3))))
        (local.set $x (i32.sub (local.get $y) (local.get $x))))";
    repeat(operators, 26, part).into()
}

/// Operators that choose among 100 blocks each.
fn large_br_tables(operators: usize) -> Kernel {
    const CASES: usize = 100;
    let targets: String = (0..CASES).map(|case| format!("{case} ")).collect();
    let mut part = "(block ".repeat(CASES);
    write!(part, "(br_table {targets} (i32.xor (local.get $x) (i32.const #)))").unwrap();
    for case in 0..CASES {
        writeln!(part, ") (local.set $y (i32.add (local.get $y) (i32.const {case})))").unwrap();
    }
    repeat(operators, 6 * CASES, &part).into()
}

fn branches(operators: usize) -> Kernel {
    let part = "(if (i32.lt_u (local.get $x) (i32.const #))
        (then (local.set $x (i32.add (local.get $x) (local.get $y))) (local.set $z (local.get $x)))
        (else (if (i32.eqz (local.get $y)) (then (return)))
          (local.set $y (i32.sub (local.get $y) (local.get $z)))))";
    repeat(operators, 20, part).into()
}

/// Parts of words, of ever other places.
fn byte_stores(operators: usize) -> Kernel {
    let part = "(local.set $m (i32.add (local.get $q) (i32.mul (local.get $i) (i32.const #))))
      (i32.store8 offset=8 (local.get $m) (local.get $x))
      (i32.store8 offset=9 (local.get $m) (local.get $y))
      (i32.store16 offset=10 (local.get $m) (local.get $i))
      (i32.store8 offset=1 (i32.add (local.get $q) (local.get $i)) (local.tee $x (i32.xor (local.get $x) (local.get $m))))";
    repeat(operators, 23, part).into()
}

/// A frame of so many bytes around `body`.
fn framed(bytes: usize, body: &str) -> Kernel {
    let body = format!(
        "(local.set $fp (i32.sub (global.get $sp) (i32.const {bytes})))
         (global.set $sp (local.get $fp)) {body} (global.set $sp (i32.add (local.get $fp) (i32.const {bytes})))"
    );
    body.into()
}

/// Unoptimised code: each variable is read and written where it lies on the stack.
fn stack_slots(operators: usize) -> Kernel {
    let part = "(i32.store offset=8 (local.get $fp) (i32.add (i32.load offset=12 (local.get $fp)) (i32.const #)))
      (i32.store offset=12 (local.get $fp) (local.get $p))
      (i32.store offset=16 (local.get $fp) (i32.load (i32.load offset=12 (local.get $fp))))
      (if (i32.lt_u (i32.load offset=16 (local.get $fp)) (i32.const #))
        (then (i32.store offset=20 (local.get $fp) (i32.mul (i32.load offset=20 (local.get $fp)) (i32.load offset=16 (local.get $fp))))))
      (local.set $x (i32.load offset=20 (local.get $fp)))";
    framed(32, &repeat(operators, 30, part))
}

/// The same with variables of its own for each part.
fn many_stack_slots(operators: usize) -> Kernel {
    const PART: usize = 16;
    let mut text = String::new();
    for number in 0..operators / PART {
        let at = 8 * number;
        writeln!(
            text,
            "(i32.store offset={at} (local.get $fp) (i32.add (local.get $x) (i32.const {number})))
             (i32.store offset={} (local.get $fp) (i32.mul (i32.load offset={at} (local.get $fp)) (local.get $y)))
             (local.set $x (i32.xor (i32.load offset={} (local.get $fp)) (i32.load offset={at} (local.get $fp))))",
            at + 4,
            at + 4
        )
        .unwrap();
    }
    framed((8 * (operators / PART)).next_multiple_of(16), &text)
}

const FUNCTIONS: &str = "
    (type $t (func (param i32 i32) (result i32)))
    (table funcref (elem $f $g))
    (func $f (param $a i32) (param $b i32) (result i32)
      (if (i32.eqz (local.get $a)) (then (return (local.get $b))))
      (i32.add (i32.mul (local.get $a) (i32.const 3)) (local.get $b)))
    (func $g (param $a i32) (param $b i32) (result i32)
      (call $f (i32.rotl (local.get $b) (i32.const 5)) (local.get $a)))";

fn calls(operators: usize) -> Kernel {
    let part = "(local.set $x (call $g (local.get $x) (i32.add (local.get $y) (i32.const #))))
      (local.set $y (call $f (local.get $y) (local.get $x)))";
    Kernel { buffers: 0, fields: FUNCTIONS, body: repeat(operators, 33, part) }
}

fn indirect_calls(operators: usize) -> Kernel {
    let part = "(local.set $x (call_indirect (type $t)
      (local.get $x) (i32.add (local.get $y) (i32.const #)) (i32.and (local.get $i) (i32.const 1))))";
    Kernel { buffers: 0, fields: FUNCTIONS, body: repeat(operators, 33, part) }
}

fn many_buffers(operators: usize) -> Kernel {
    const BUFFERS: usize = 24;
    let mut body = String::new();
    for number in 0..operators / 14 {
        writeln!(
            body,
            "(i32.store offset=4 (i32.add (local.get $b{}) (i32.shl (local.get $i) (i32.const 3)))
              (local.tee $x (i32.add (local.get $x)
                (i32.load (i32.add (local.get $b{}) (i32.mul (local.get $x) (i32.const {number})))))))",
            number % BUFFERS,
            7 * number % BUFFERS
        )
        .unwrap();
    }
    Kernel { buffers: BUFFERS, fields: "", body }
}

fn vectors(operators: usize) -> Kernel {
    let part = "(local.set $v (i32x4.add (f32x4.mul (local.get $v) (v128.load (i32.add (local.get $p) (i32.const #))))
        (i8x16.shuffle 3 2 1 0 19 18 17 16 8 9 10 11 28 27 26 25 (local.get $v) (i32x4.splat (local.get $x)))))
      (v128.store offset=16 (local.get $q) (local.get $v))";
    repeat(operators, 50, part).into()
}

fn wide_arithmetic(operators: usize) -> Kernel {
    let part = "(local.set $w (i64.add (i64.mul (local.get $w) (i64.const #)) (i64.extend_i32_u (local.get $x))))
      (local.set $w (i64.xor (i64.rotl (local.get $w) (i64.const 13)) (i64.shr_s (local.get $w) (i64.const 7))))
      (if (i64.lt_s (local.get $w) (i64.const #)) (then (local.set $w (i64.div_u (local.get $w) (i64.const 10)))))
      (local.set $x (i32.wrap_i64 (local.get $w)))";
    repeat(operators, 28, part).into()
}

/// Addresses that are computed from what was loaded.
fn loaded_indices(operators: usize) -> Kernel {
    let part = "(local.set $x (i32.load (i32.add (local.get $p) (i32.shl (local.get $x) (i32.const 2)))))
      (i32.store offset=# (i32.add (local.get $q) (i32.and (local.get $x) (i32.const 1023))) (local.get $y))";
    repeat(operators, 14, part).into()
}

/// Pointers that are loaded, so that each access tries all places. One becomes dozens of statements: a quarter of the operators
/// makes as large a kernel as the other families do. (Kernels four times as large take 17 times as long for eightfold size.)
fn loaded_pointers(operators: usize) -> Kernel {
    let part = "(local.set $z (i32.load (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2)))))
      (local.set $x (i32.add (local.get $x) (i32.load offset=# (local.get $z))))";
    repeat(operators / 4, 12, part).into()
}

/// The processor time of this process, where the system tells (Linux, in steps of 10 ms); else the wall's.
fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let wall = START.get_or_init(Instant::now).elapsed();
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return wall };
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// How long one lift takes: the mean over as many as make up this time.
fn lift(kernel: &Kernel, measured: Duration) -> Duration {
    let module = kernel.module();
    let kernel = module.find_function("kernel").unwrap();
    let shape = Shape::initial(&module, kernel);
    let (start, mut count) = (now(), 0);
    loop {
        translate(&module, kernel, &shape, &Options::default()).unwrap();
        count += 1;
        let took = now() - start;
        if took >= measured {
            return took / count;
        }
    }
}

/// Most by which time may grow with eightfold size. Linear work takes up to 11 times as long, for less of it stays in the
/// caches, and more beside other processes; quadratic work that is a quarter of the whole at the small size takes 22.
const MOST: f64 = 16.0;
/// Most measurements: other processes make one take longer, none shorter.
const TRIES: u32 = 6;

#[test]
fn eight_times_the_size_takes_less_than_16_times_as_long() {
    for (name, family) in FAMILIES {
        let (small, large) = (family(4_000), family(32_000));
        let (mut least, mut most) = (Duration::MAX, Duration::MAX);
        let mut factor = f64::INFINITY;
        for _ in 0..TRIES {
            (least, most) = (least.min(lift(&small, MEASURED)), most.min(lift(&large, MEASURED)));
            factor = most.as_secs_f64() / least.as_secs_f64();
            if factor < MOST {
                break;
            }
        }
        assert!(factor < MOST, "{name}: {factor:.1} times as long");
    }
}

/// The work of lifting a kernel of a family.
fn work_of(kernel: &Kernel) -> u64 {
    let module = kernel.module();
    let kernel = module.find_function("kernel").unwrap();
    testing::work(&module, kernel, &Shape::initial(&module, kernel), &Options::default()).unwrap()
}

#[test]
fn work_grows_with_size_and_is_the_same_each_time() {
    for (name, family) in FAMILIES {
        let (small, large) = (work_of(&family(4_000)), work_of(&family(32_000)));
        assert!(small > 4_000 && large > 4 * small && large < 12 * small, "{name}: {small} and {large} steps");
        assert_eq!(work_of(&family(4_000)), small, "{name}");
    }
}

#[test]
fn more_work_than_the_limit_is_refused_with_a_sentence() {
    for (name, family) in FAMILIES {
        let module = family(4_000).module();
        let kernel = module.find_function("kernel").unwrap();
        let shape = Shape::initial(&module, kernel);
        let lift = |max_work| translate(&module, kernel, &shape, &Options { max_work, ..Options::default() });
        let words = lift(u64::MAX).unwrap().words;
        let work = testing::work(&module, kernel, &shape, &Options::default()).unwrap();
        assert_eq!(lift(work + 1).unwrap().words, words, "{name}: the limit changes what is lifted");
        // Wherever it ends: in the middle of a pass, too.
        for limit in [1, work / 10, work / 4, work / 2, work / 10 * 9] {
            let error = lift(limit).err().unwrap_or_else(|| panic!("{name}: {limit} of {work} steps were enough"));
            let expected = format!("Lifting the kernel `kernel` is more work than the limit of {limit} steps.");
            assert_eq!(error.to_string(), expected, "{name}");
        }
    }
}

/// The modules in a folder and below it.
fn modules(folder: &Path, found: &mut Vec<PathBuf>) {
    for file in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = file.unwrap().path();
        match path.is_dir() {
            true => modules(&path, found),
            false if path.extension().is_some_and(|extension| extension == "wasm") => found.push(path),
            false => {}
        }
    }
}

/// Lifts all kernels of all guests in these folders, and checks that none comes near the limit of work.
fn check_guests(folders: &[&str], at_least: u32) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| modules(&root.join(folder), &mut paths));
    let emulate = Emulate { i64: true, f64: true };
    let wide = Options { max_work: u64::MAX, ..Options::default() };
    let all_options = [
        wide,
        Options { profile: Profile::Portable, emulate, ..wide },
        Options { speculation: Speculation::ALL, fuel: Some(1 << 30), ..wide },
    ];
    let (mut most, mut lifted) = ((0, String::new()), 0);
    for path in paths {
        let module = Module::parse(std::fs::read(&path).unwrap()).unwrap();
        for kernel in module.kernels() {
            for options in &all_options {
                let shape = initial_shape(&module, kernel, options);
                let Ok(work) = testing::work(&module, kernel, &shape, options) else { continue };
                lifted += 1;
                if work > most.0 {
                    most = (work, format!("{} of {}", module.function_name(kernel), path.display()));
                }
            }
        }
    }
    println!("{lifted} forms, at most {} steps: {}", most.0, most.1);
    assert!(lifted >= at_least && most.0 < DEFAULT_WORK / 4, "{lifted} forms, {most:?}");
}

#[test]
fn no_example_takes_a_quarter_of_the_limit() {
    check_guests(&["examples/guests"], 25);
}

#[test]
#[ignore = "takes minutes"]
fn no_guest_takes_a_quarter_of_the_limit() {
    check_guests(&["examples/guests", "tests/guests"], 1000);
}

/// Few bytes that become many statements: each access tries hundreds of places.
#[test]
fn what_grows_out_of_hand_ends_soon() {
    let pairs: String = (0..400).map(|number| format!("(param $b{number} i32) (param i32)")).collect();
    let load = "(local.set $x (i32.load (local.get $x)))\n".repeat(20_000);
    let text = format!(
        "(module (memory 1) (func (export \"kernel\") (param $i i32) (param i32 i32) {pairs} (local $x i32)
           (local.set $x (i32.load (local.get $b0))) {load} (i32.store (local.get $b1) (local.get $x))))"
    );
    let module = Module::parse(wat::parse_str(&text).unwrap()).unwrap();
    let (start, options) = (now(), Options::default());
    let error = translate(&module, 0, &Shape::initial(&module, 0), &options).unwrap_err();
    assert!(matches!(error, Error::TooMuchWork { limit, .. } if limit == options.max_work), "{error}");
    let took = now() - start;
    assert!(took < Duration::from_secs(60), "it took {took:?}");
}

/// `cargo test --release -p wavelift-translator --test lift_time -- --ignored --nocapture`; `LIFT_FAMILY` and `LIFT_SIZE` choose,
/// for a profiler.
#[test]
#[ignore = "prints times from 1,000 to 64,000 operators"]
fn table() {
    for (name, family) in FAMILIES {
        if std::env::var("LIFT_FAMILY").is_ok_and(|only| only != name) {
            continue;
        }
        let mut before: Option<Duration> = None;
        for size in [1, 2, 4, 8, 16, 32, 64].map(|thousands| 1_000 * thousands) {
            if std::env::var("LIFT_SIZE").is_ok_and(|only| only != size.to_string()) {
                continue;
            }
            let took = lift(&family(size), 2 * MEASURED);
            let factor =
                before.map_or(String::new(), |before| format!(" x{:.2}", took.as_secs_f64() / before.as_secs_f64()));
            let rate = work_of(&family(size)) as f64 / took.as_secs_f64() / 1e6;
            println!(
                "{name:16} {size:6} {:9.2} ms, {rate:5.1} million steps a second{factor}",
                took.as_secs_f64() * 1e3
            );
            before = Some(took);
        }
    }
}
