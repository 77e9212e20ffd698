//! Time to lift grows with a kernel's size, and no faster: kernels of several families, doubled again and again.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wavelift_translator::{Module, Options, Shape, translate};

/// Least time of a measurement.
const MEASURED: Duration = Duration::from_millis(300);

/// A kernel of about so many operators.
type Family = (&'static str, fn(usize) -> String);

const FAMILIES: [Family; 9] = [
    ("straight line", straight_line),
    ("loads", loads),
    ("wide loads", wide_loads),
    ("pointer bumps", pointer_bumps),
    ("nested loops", nested_loops),
    ("loops in a row", loops_in_a_row),
    ("small br_tables", small_br_tables),
    ("large br_tables", large_br_tables),
    ("branches", branches),
];

/// A kernel with a buffer `$p` and some locals around `body`.
fn kernel(body: &str) -> Module {
    let text = format!(
        "(module (memory 1) (func (export \"kernel\")
           (param $i i32) (param $n i32) (param $b i32) (param $p i32) (param $l i32) (param $q i32) (param i32)
           (local $x i32) (local $y i32) (local $z i32) (local $f f32) (local $j i32) (local $k i32) (local $m i32)
           (local.set $x (i32.load (local.get $p)))
           (local.set $y (i32.load offset=4 (local.get $p)))
           {body}
           (i32.store (local.get $q) (local.get $x))
           (i32.store offset=4 (local.get $q) (local.get $y))))"
    );
    Module::parse(wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))).unwrap()
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

fn straight_line(operators: usize) -> String {
    let part = "(local.set $x (i32.add (i32.mul (local.get $x) (local.get $y)) (i32.const #)))
      (local.set $y (i32.xor (local.get $y) (i32.shr_u (local.get $x) (i32.const 3))))
      (local.set $y (i32.add (local.get $y) (i32.load offset=8 (i32.add (local.get $p) (i32.shl (local.get $i) (i32.const 2))))))
      (i32.store offset=12 (i32.add (local.get $p) (i32.shl (local.get $x) (i32.const 2))) (local.get $y))";
    repeat(operators, 30, part)
}

/// Checks with nothing between them that must not be moved.
fn loads(operators: usize) -> String {
    let part = "(local.set $y (i32.add (local.get $y) (i32.load offset=8
      (i32.add (local.get $p) (i32.mul (local.get $i) (i32.const #))))))";
    repeat(operators, 9, part)
}

/// Four adjacent words, of ever other places.
fn wide_loads(operators: usize) -> String {
    let part = "(local.set $m (i32.add (local.get $p) (i32.shl (i32.mul (local.get $i) (i32.const #)) (i32.const 4))))
      (local.set $y (i32.add (i32.add (i32.load (local.get $m)) (i32.load offset=4 (local.get $m)))
        (i32.add (i32.load offset=8 (local.get $m)) (i32.add (local.get $y) (i32.load offset=12 (local.get $m))))))";
    repeat(operators, 23, part)
}

/// A pointer that moves on by a constant from load to load.
fn pointer_bumps(operators: usize) -> String {
    let part = "(local.set $y (i32.mul (i32.add (local.get $y) (i32.load (local.get $p))) (i32.const #)))
      (local.set $p (i32.add (local.get $p) (i32.const 4)))";
    repeat(operators, 11, part)
}

fn nested_loops(operators: usize) -> String {
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
    repeat(operators, 49, part)
}

fn loops_in_a_row(operators: usize) -> String {
    let part = "(block (loop
        (br_if 1 (i32.gt_u (local.get $x) (i32.const #)))
        (local.set $x (i32.add (local.get $x) (local.get $y)))
        (br_if 1 (i32.eqz (local.get $x)))
        (br 0)))";
    repeat(operators, 15, part)
}

fn small_br_tables(operators: usize) -> String {
    let part = "(block (block (block (block
        (br_table 0 1 2 0 3 (i32.and (local.get $x) (i32.const 7))))
        (local.set $x (i32.add (local.get $x) (i32.const #)))
        (br 2))
        (local.set $y (i32.mul (local.get $x) (i32.const 3))))
        (local.set $x (i32.sub (local.get $y) (local.get $x))))";
    repeat(operators, 26, part)
}

/// Operators that choose among 100 blocks each.
fn large_br_tables(operators: usize) -> String {
    const CASES: usize = 100;
    let targets: String = (0..CASES).map(|case| format!("{case} ")).collect();
    let mut part = "(block ".repeat(CASES);
    write!(part, "(br_table {targets} (i32.xor (local.get $x) (i32.const #)))").unwrap();
    for case in 0..CASES {
        writeln!(part, ") (local.set $y (i32.add (local.get $y) (i32.const {case})))").unwrap();
    }
    repeat(operators, 6 * CASES, &part)
}

fn branches(operators: usize) -> String {
    let part = "(if (i32.lt_u (local.get $x) (i32.const #))
        (then (local.set $x (i32.add (local.get $x) (local.get $y))) (local.set $z (local.get $x)))
        (else (if (i32.eqz (local.get $y)) (then (return)))
          (local.set $y (i32.sub (local.get $y) (local.get $z)))))";
    repeat(operators, 20, part)
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
fn lift(module: &Module, measured: Duration) -> Duration {
    let kernel = module.find_function("kernel").unwrap();
    let (start, mut count) = (now(), 0);
    loop {
        translate(module, kernel, &Shape::distinct(2), &Options::default()).unwrap();
        count += 1;
        let took = now() - start;
        if took >= measured {
            return took / count;
        }
    }
}

/// Eightfold size takes about eight times as long; what takes quadratic time would take 64 times as long.
#[test]
fn eight_times_the_size_takes_less_than_24_times_as_long() {
    for (name, family) in FAMILIES {
        let (small, large) = (kernel(&family(4_000)), kernel(&family(32_000)));
        let mut factor = f64::INFINITY;
        for _ in 0..3 {
            factor = factor.min(lift(&large, MEASURED).as_secs_f64() / lift(&small, MEASURED).as_secs_f64());
            if factor < 24.0 {
                break;
            }
        }
        assert!(factor < 24.0, "{name}: {factor:.1} times as long");
    }
}

/// `cargo test -p wavelift-translator --test lift_time -- --ignored --nocapture`
#[test]
#[ignore = "prints times from 1,000 to 64,000 operators"]
fn table() {
    for (name, family) in FAMILIES {
        let mut before: Option<Duration> = None;
        for size in [1, 2, 4, 8, 16, 32, 64].map(|thousands| 1_000 * thousands) {
            let took = lift(&kernel(&family(size)), 2 * MEASURED);
            let factor =
                before.map_or(String::new(), |before| format!(" x{:.2}", took.as_secs_f64() / before.as_secs_f64()));
            println!("{name:16} {size:6} {:9.2} ms{factor}", took.as_secs_f64() * 1e3);
            before = Some(took);
        }
    }
}
