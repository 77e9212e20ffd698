//! Operands that float operators are tried on: edge values, each with each, and random ones.

use wavelift_translator::ir::Type;

/// Pairs of operands of a type, in the low bits: every edge value with every other, then `random` pairs each of random
/// bits, of numbers near 1, and of a number near 0 with one near 1. The same in every run.
pub(crate) fn pairs(ty: Type, random: usize) -> Vec<[u64; 2]> {
    let edges = edges(ty);
    let mut pairs: Vec<[u64; 2]> = edges.iter().flat_map(|a| edges.iter().map(move |b| [*a, *b])).collect();
    let mut source = Random(u64::from(ty.bits()));
    let mask = u64::MAX >> (64 - ty.bits());
    for _ in 0..random {
        pairs.push([source.next() & mask, source.next() & mask]);
        if ty.is_float() {
            let (unit, one) = unit_and_one(ty);
            let near_one = |bits: u64| one - unit + bits % (4 * unit);
            pairs.push([near_one(source.next()), near_one(source.next())]);
            pairs.push([source.next() % (2 * unit), near_one(source.next())]);
        }
    }
    pairs
}

/// The difference of two floats' bits whose exponents differ by one, and the bits of 1.
fn unit_and_one(ty: Type) -> (u64, u64) {
    if ty == Type::F64 { (1 << 52, 1f64.to_bits()) } else { (1 << 23, u64::from(1f32.to_bits())) }
}

fn edges(ty: Type) -> Vec<u64> {
    let sign = 1u64 << (ty.bits() - 1);
    if !ty.is_float() {
        let near_powers = (0..ty.bits()).flat_map(|bit| [1u64 << bit, (1 << bit) - 1, (1 << bit) + 1]);
        return near_powers.chain([u64::MAX >> (64 - ty.bits()), sign / 3, sign | 0x55]).collect();
    }
    let (unit, one) = unit_and_one(ty);
    let infinity = if ty == Type::F64 { f64::INFINITY.to_bits() } else { u64::from(f32::INFINITY.to_bits()) };
    let quiet_nan = infinity + unit / 2;
    let mut bits = vec![0, 1, 2, unit / 2, unit - 1, infinity, quiet_nan];
    // The least normal numbers, those near 1, those whose fractions end, and the greatest.
    let digits = if ty == Type::F64 { 52 } else { 23 };
    let near = [1, 2, digits + 1, one / unit - 1, one / unit, one / unit + 1, one / unit + digits - 1, one / unit + 31];
    for exponent in near.into_iter().chain([one / unit + 63, infinity / unit - 1]) {
        bits.extend([0, 1, unit / 3, unit - 1].map(|fraction| exponent * unit + fraction));
    }
    bits.iter().flat_map(|bits| [*bits, bits | sign]).collect()
}

/// The generator SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
