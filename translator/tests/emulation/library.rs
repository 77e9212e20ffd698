//! Quick phases of C's functions against musl's own algorithms.

use wavelift_translator::libm::exact::{expf, logf};

use crate::native::library::FUNCTIONS;

/// What musl gives where quick phases may be sure.
fn right(name: &str, x: f32) -> f32 {
    match name {
        "expf" => expf(x),
        "logf" => logf(x),
        _ => panic!("{name} is not known here"),
    }
}

/// Whether a quick phase must be sure of most arguments like this one.
fn is_common(name: &str, x: f32) -> bool {
    match name {
        "expf" => x.abs() < 87.0,
        _ => x.is_normal() && x > 0.0,
    }
}

/// Compares for each `step`-th `f32`. Of a thousand arguments it may be unsure of four.
fn check(step: usize, wrong: u64) -> Vec<String> {
    let mut failures = Vec::new();
    for (name, quick) in FUNCTIONS {
        let (mut common, mut unsure) = (0u64, 0u64);
        for bits in (0..=u32::MAX).step_by(step) {
            let (x, answer) = (f32::from_bits(bits), quick(&[bits.into()]) ^ wrong);
            let is_sure = answer >> 32 != 0;
            if is_sure && answer as u32 != right(name, x).to_bits() {
                failures.push(format!("{name}({x:e}) is {:08x}", answer as u32));
                break;
            }
            common += u64::from(is_common(name, x));
            unsure += u64::from(is_common(name, x) && !is_sure);
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
fn quick_phases_give_what_musl_gives_or_say_so_for_every_argument() {
    assert_eq!(check(1, 0), [""; 0]);
}

#[test]
fn a_wrong_bit_is_found() {
    assert_eq!(check(99_991, 1).len(), FUNCTIONS.len());
}
