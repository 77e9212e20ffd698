//! Quick phases of C's functions, and near functions, against musl's own algorithms.

use wavelift_translator::libm::exact::{expf, logf, powf};
use wavelift_translator::testing::is_near;

use crate::native::Native;
use crate::native::library::FUNCTIONS;
use crate::values::Random;

fn quick_phases() -> impl Iterator<Item = &'static (&'static str, Native)> {
    FUNCTIONS.iter().filter(|(name, _)| !name.starts_with("near."))
}

/// Arguments for a function, the bits of `f32`s.
type Arguments = Box<dyn Iterator<Item = Vec<u64>>>;

/// What musl gives where quick phases may be sure.
fn right(name: &str, arguments: &[f32]) -> f32 {
    match (name, arguments) {
        ("expf", [x]) => expf(*x),
        ("logf", [x]) => logf(*x),
        // Of a negative number the exponent is whole.
        ("powf", [x, y]) if x.is_sign_negative() && y % 2.0 != 0.0 => -powf(-x, *y),
        ("powf", [x, y]) => powf(x.abs(), *y),
        _ => panic!("{name} is not known here"),
    }
}

/// Whether a quick phase must be sure of most arguments like these.
fn is_common(name: &str, arguments: &[f32]) -> bool {
    match (name, arguments) {
        ("expf", [x]) => x.abs() < 87.0,
        ("logf", [x]) => x.is_normal() && *x > 0.0,
        ("powf", [x, y]) => {
            let exponent = x.abs().log2() * y;
            let is_real = x.is_sign_positive() || y.trunc() == *y;
            x.is_normal() && y.is_normal() && y.abs() < 256.0 && exponent.abs() < 124.9 && is_real
        }
        _ => false,
    }
}

/// Each `step`-th argument, or 2^32 by it pairs of arguments.
fn arguments(name: &str, step: usize) -> Arguments {
    match name {
        "powf" => Box::new(pairs().take((1 << 32) / step)),
        _ => Box::new((0..=u32::MAX).step_by(step).map(|bits| vec![bits.into()])),
    }
}

/// Of all sizes, of usual ones, with whole and half exponents, and near 1.
fn pairs() -> impl Iterator<Item = Vec<u64>> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    (0u64..).map(move |number| {
        let (any, fraction) = (random.next(), (random.next() >> 40) as f32 / 16_777_216.0);
        let (x, y) = (f32::from_bits(any as u32), f32::from_bits((any >> 32) as u32));
        let usual = (any as u32 % 4096) as f32 / 64.0 + fraction;
        let [x, y] = match number % 6 {
            0 => [x, y],
            1 => [usual, (fraction - 0.5) * 20.0],
            2 => [x, ((any >> 32) as i32 % 12) as f32 / 2.0],
            3 => [(fraction - 0.5) * 3.0, ((any >> 32) as i32 % 50) as f32],
            4 => [1.0 + (fraction - 0.5) / 64.0, y % 512.0],
            _ => [usual, 1.7],
        };
        vec![x.to_bits().into(), y.to_bits().into()]
    })
}

/// Compares for so many arguments. Of a thousand it may be unsure of four.
fn check(step: usize, wrong: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, quick) in quick_phases() {
        let (mut common, mut unsure) = (0u64, 0u64);
        for bits in arguments(name, step) {
            let numbers: Vec<f32> = bits.iter().map(|bits| f32::from_bits(*bits as u32)).collect();
            let answer = quick(&bits) ^ wrong;
            let is_sure = answer >> 32 != 0;
            if is_sure && answer as u32 != right(name, &numbers).to_bits() {
                failures.push(format!("{name}({numbers:?}) is {:08x}", answer as u32));
                break;
            }
            let is_common = is_common(name, &numbers);
            common += u64::from(is_common);
            unsure += u64::from(is_common && !is_sure);
        }
        println!("{name}: unsure of {unsure} of {common}");
        if unsure * 250 > common {
            failures.push(format!("{name} is unsure of {unsure} of {common}"));
        }
    }
    failures
}

#[test]
fn quick_phases_give_what_musl_gives_or_say_so() {
    assert_eq!(check(997, 0), [""; 0]);
}

#[test]
#[ignore = "takes minutes when optimised"]
fn quick_phases_give_what_musl_gives_or_say_so_for_four_billion_arguments() {
    assert_eq!(check(1, 0), [""; 0]);
}

#[test]
fn a_wrong_bit_is_found() {
    assert_eq!(check(99_991, 1).len(), quick_phases().count());
}

/// The function itself, rounded from `f64`s: as near as musl is.
fn rounded(name: &str, x: f32) -> f32 {
    match name {
        "near.expf" => f64::from(x).exp() as f32,
        "near.logf" => f64::from(x).ln() as f32,
        _ => panic!("{name} is not known here"),
    }
}

/// Of each near function an argument, each `step`-th one, with which it does not give what it should, if there is one.
fn wrong(step: usize, is_right: fn(f32, f32, f32) -> bool) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, near) in FUNCTIONS.iter().filter(|(name, _)| name.starts_with("near.")) {
        let is_wrong = |bits: &u32| {
            let x = f32::from_bits(*bits);
            !is_right(x, f32::from_bits(near(&[(*bits).into()]) as u32), rounded(name, x))
        };
        let first = (0..=u32::MAX).step_by(step).find(is_wrong);
        failures.extend(first.map(|bits| format!("{name}({:e})", f32::from_bits(bits))));
    }
    failures
}

#[test]
fn near_functions_are_a_unit_off_at_most() {
    assert_eq!(wrong(997, is_near), [""; 0]);
    let is_same = |_, result: f32, exact| result == exact || !result.is_normal();
    assert_eq!(wrong(997, is_same).len(), 2, "they are not always the same");
    let is_near_with_a_bug = |x, result: f32, exact| is_near(x, result.next_up().next_up(), exact);
    assert_eq!(wrong(997, is_near_with_a_bug).len(), 2, "two units are found");
}

#[test]
#[ignore = "takes minutes when optimised"]
fn near_functions_are_a_unit_off_at_most_for_four_billion_arguments() {
    assert_eq!(wrong(1, is_near), [""; 0]);
}
