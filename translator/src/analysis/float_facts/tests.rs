//! Every rule against what it speaks of: integers of five bits, all that an interval has; floats, the ends and some between.

use super::Bits;
use super::number::{ANY, Number, exponent, power};

const WIDTH: u32 = 5;
const ALL: u64 = 31;

/// A generator of pseudo-random numbers (xorshift64*, by Vigna).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Some interval, with a stride or without.
    fn bits(&mut self) -> Bits {
        let between = Bits::between(WIDTH, self.next(), self.next());
        match self.next() % 4 {
            0 => between.shl((self.next() % 5) as u32).add(Bits::exactly(WIDTH, self.next())),
            1 => between.and(self.next() & ALL),
            2 => between.join(Bits::exactly(WIDTH, self.next())),
            _ => between,
        }
    }

    /// A number of few bits, or many, near 1 or where exponents end.
    fn float(&mut self) -> f64 {
        let exponent = match self.next() % 4 {
            0 => self.next() % 60,
            1 => 2047 - self.next() % 30,
            _ => 1000 + self.next() % 60,
        };
        let fraction = (((self.next() << 20) ^ self.next()) << (self.next() % 60)) & ((1 << 52) - 1);
        let value = f64::from_bits((self.next() << 63) | (exponent << 52) | fraction);
        if value.is_nan() { 0.0 } else { value }
    }

    /// What is known of some floats, and these.
    fn floats(&mut self) -> (Number, Vec<f64>) {
        let mut values = vec![self.float(); 1];
        for _ in 0..self.next() % 4 {
            let near = f64::from_bits(values[0].to_bits() ^ (self.next() % (1 << (self.next() % 48))));
            values.push(if self.next() & 1 == 0 || near.is_nan() { self.float() } else { near });
        }
        let facts = values.iter().map(|value| Number::exactly(*value));
        (facts.reduce(Number::join).unwrap_or(ANY).settled(), values)
    }
}

fn has(bits: Bits, value: u64, width: u32) -> bool {
    bits.contains(Bits::exactly(width, value))
}

fn members(bits: Bits) -> Vec<u64> {
    (0..=ALL).filter(|value| has(bits, *value, WIDTH)).collect()
}

fn signed(value: u64) -> i64 {
    (value << 59) as i64 >> 59
}

#[test]
fn an_interval_has_what_lies_between_its_ends() {
    for (low, high) in (0..32u64).flat_map(|low| (0..32u64).map(move |high| (low, high))) {
        let expected: Vec<u64> =
            (0..=ALL).filter(|v| (v.wrapping_sub(low) & ALL) <= (high.wrapping_sub(low) & ALL)).collect();
        assert_eq!(members(Bits::between(WIDTH, low, high)), expected);
    }
}

#[test]
fn operators_of_intervals_miss_nothing() {
    let mut random = Random(77);
    for _ in 0..20_000 {
        let (a, b) = (random.bits(), random.bits());
        let (by, mask) = ((random.next() % 5) as u32, random.next() & ALL);
        let (of_a, of_b) = (members(a), members(b));
        let (low, high) = a.ends();
        let (least, most) = a.signed_ends();
        for x in of_a.iter().copied() {
            assert!((low..=high).contains(&x), "{a:?}");
            assert!((least..=most).contains(&signed(x)), "{a:?} {x} {least} {most}");
            assert!(has(a.join(b), x, WIDTH) && has(b.join(a), x, WIDTH), "{a:?} {b:?}");
            assert!(!of_b.contains(&x) || has(a.meet(b), x, WIDTH), "{a:?} {b:?}");
            assert!(has(a.shl(by), x << by & ALL, WIDTH), "{a:?} << {by}");
            assert!(has(a.shr(by), x >> by, WIDTH), "{a:?} >> {by}");
            assert!(has(a.shr_signed(by), (signed(x) >> by) as u64 & ALL, WIDTH), "{a:?} >> {by}");
            assert!(has(a.and(mask), x & mask, WIDTH), "{a:?} & {mask}");
            assert!(has(a.extend(), x, 64) && has(a.extend_signed(), signed(x) as u64, 64), "{a:?}");
            let power = 1 + by.min(3);
            assert!(has(a.modulo(power), x & ((1 << power) - 1), power), "{a:?} modulo {power}");
            assert!(has(a.times_power(by), x << by, WIDTH + by), "{a:?} * {by}");
            for y in of_b.iter().copied() {
                assert!(has(a.add(b), (x + y) & ALL, WIDTH), "{a:?} + {b:?}");
                assert!(has(a.sub(b), x.wrapping_sub(y) & ALL, WIDTH), "{a:?} - {b:?}");
            }
        }
    }
}

/// Whether what is known of a float is true of one.
fn admits(known: Number, value: f64) -> bool {
    if value.is_nan() {
        return known.nan;
    }
    let bits = value.to_bits() & !(1 << 63);
    let last = exponent(value).max(-1022) - 52 + (bits & ((1 << 52) - 1) | 1 << 52).trailing_zeros() as i32;
    let last = if bits >> 52 == 0 { -1074 + bits.trailing_zeros() as i32 } else { last };
    let is_free = value == 0.0 || value.is_infinite();
    let significant = exponent(value) - last + 1;
    known.low <= value
        && value <= known.high
        && (is_free || last >= known.step && significant <= known.significant as i32)
}

#[test]
fn operators_of_floats_keep_what_is_known() {
    let mut random = Random(99);
    for _ in 0..60_000 {
        let ((a, of_a), (b, of_b)) = (random.floats(), random.floats());
        for x in of_a.iter().copied() {
            assert!(admits(a, x), "{a:?} {x:e}");
            let one: [(Number, f64); 7] = [
                (a.negated(), -x),
                (a.magnitude(), x.abs()),
                (a.root(), x.sqrt()),
                (a.whole(f64::floor), x.floor()),
                (a.whole(f64::round_ties_even), x.round_ties_even()),
                (a.demoted(), f64::from(x as f32)),
                (a.within(f64::NEG_INFINITY, x), x),
            ];
            for (number, (known, value)) in one.into_iter().enumerate() {
                assert!(admits(known, value), "{number}: {a:?} {x:e}: {known:?} {value:e}");
            }
            for y in of_b.iter().copied() {
                let two = [(a.plus(b), x + y), (a.times(b), x * y), (a.over(b), x / y), (a.join(b), y)];
                for (number, (known, value)) in two.into_iter().enumerate() {
                    assert!(admits(known, value), "{number}: {a:?} {b:?} {x:e} {y:e}: {known:?} {value:e}");
                }
            }
        }
    }
}

#[test]
fn powers_and_exponents_are_each_others() {
    for power_of in -1074..1024 {
        assert_eq!(exponent(power(power_of)), power_of);
        assert_eq!(exponent(-power(power_of)), power_of);
    }
    assert_eq!((power(-1075), power(1024)), (0.0, f64::INFINITY));
}
