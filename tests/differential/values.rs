//! Operands at the edges of their types, and seeded random ones; as bits.

use wavelift_translator::ir::Type;

/// Size of a value in bytes.
pub fn size(ty: Type) -> u32 {
    ty.bits() / 8
}

/// The type's name in the text format.
pub fn name(ty: Type) -> &'static str {
    match ty {
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::V128 => "v128",
        Type::Bool => unreachable!("no Wasm type"),
    }
}

/// Little-endian bytes of values of a type.
pub fn bytes(ty: Type, values: impl IntoIterator<Item = u64>) -> Vec<u8> {
    values.into_iter().flat_map(|value| value.to_le_bytes().into_iter().take(size(ty) as usize)).collect()
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn bits(&mut self, ty: Type) -> u64 {
        self.next() >> (64 - ty.bits())
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The edges of a type, each once.
pub fn edges(ty: Type) -> Vec<u64> {
    let mut values = match ty {
        Type::I32 => integers(32),
        Type::I64 => integers(64),
        Type::F32 => floats(32, 23),
        Type::F64 => floats(64, 52),
        Type::V128 | Type::Bool => Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    values.retain(|value| seen.insert(*value));
    values
}

fn integers(bits: u32) -> Vec<u64> {
    let mask = u64::MAX >> (64 - bits);
    let mut values = vec![
        0,
        1,
        2,
        3,
        5,
        7,
        10,
        0xff,
        0x80,
        0x7f,
        0x8000,
        0x7fff,
        0x8001,
        0xaaaa_aaaa_aaaa_aaaa,
        0x0123_4567_89ab_cdef,
    ];
    // Shift amounts around the width, and powers of two where conversions to floats begin to round.
    values.extend([bits - 1, bits, bits + 1, 2 * bits, 2 * bits + 3].map(u64::from));
    for power in [24, 31, 32, 53, 63].into_iter().filter(|power| *power < bits) {
        let power = 1u64 << power;
        values.extend([power - 1, power, power + 1, power + power / 2]);
    }
    if bits == 64 {
        // Halfway between two floats, and a bit to either side.
        values.extend([
            0x7fff_ff40_0000_0000,
            0x7fff_ff40_0000_0001,
            0x0080_0000_8000_0001,
            (1 << 54) + 2,
            (1 << 54) + 6,
        ]);
    }
    let negative: Vec<u64> = values.iter().map(|value| value.wrapping_neg()).collect();
    values.extend(negative);
    values.into_iter().map(|value| value & mask).collect()
}

/// IEEE 754 values of a width, by the bits of the significand.
fn floats(bits: u32, fraction: u32) -> Vec<u64> {
    let number = |value: f64| if bits == 32 { u64::from((value as f32).to_bits()) } else { value.to_bits() };
    let infinity = number(f64::INFINITY);
    let quiet = 1 << (fraction - 1);
    let mut values = vec![0, 1, 2, (1 << fraction) - 1, 1 << fraction, (1 << fraction) + 1, infinity - 1, infinity];
    // Quiet without and with payload, signalling with the least and the greatest payload.
    values.extend([infinity | quiet, infinity | quiet | 0x1234, infinity | 1, infinity | (quiet - 1)]);
    for value in [0.1, 0.5, 0.75, 1.5, 2.5, 3.0, 3.5, 255.0, 1e10] {
        values.push(number(value));
    }
    // Where the fraction's last bit is 1/2, 1 or 2, and where integers end: with both neighbours.
    let powers = [0, fraction as i32 - 1, fraction as i32, fraction as i32 + 1, 31, 32, 63, 64, -20, 100];
    for power in powers {
        let power = number(2f64.powi(power));
        values.extend([power - 1, power, power + 1]);
    }
    for value in [i32::MAX as f64 + 0.5, i32::MIN as f64 - 0.5, i32::MIN as f64 - 1.0, u32::MAX as f64 + 0.5] {
        values.push(number(value.abs()));
    }
    let negative: Vec<u64> = values.iter().map(|value| value | 1 << (bits - 1)).collect();
    values.extend(negative);
    values
}
