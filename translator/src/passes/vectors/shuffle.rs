//! Bytes that change their places.

use super::{Splitter, Words};
use crate::ir::{Lane, Value, WasmOp};
use WasmOp::{I32And, I32Or, I32Shl, I32ShrU};

/// Bytes of one word that go to another by the same shift.
struct Part {
    source: Value,
    /// To the left, in bits.
    shift: i32,
    /// Their bits in the result.
    mask: u32,
}

impl Splitter<'_> {
    pub(super) fn shuffle(&mut self, lanes: [u8; 16], a: Words, b: Words) -> Words {
        let sources: Vec<Value> = a.into_iter().chain(b).collect();
        [0, 1, 2, 3].map(|word| {
            let mut parts: Vec<Part> = Vec::new();
            for (place, lane) in (0..).zip(&lanes[4 * word..4 * word + 4]) {
                let source = sources[usize::from(lane / 4)];
                let shift = 8 * (place - i32::from(lane % 4));
                let mask = 0xff << (8 * place);
                match parts.iter_mut().find(|part| (part.source, part.shift) == (source, shift)) {
                    Some(part) => part.mask |= mask,
                    None => parts.push(Part { source, shift, mask }),
                }
            }
            self.together(&parts)
        })
    }

    fn together(&mut self, parts: &[Part]) -> Value {
        let mut all = None;
        for part in parts {
            let amount = part.shift.unsigned_abs();
            let (moved, zeroes) = match part.shift {
                0 => (part.source, 0),
                1.. => (self.with_int(I32Shl, part.source, amount), !(u32::MAX << amount)),
                _ => (self.with_int(I32ShrU, part.source, amount), !(u32::MAX >> amount)),
            };
            // The shift may have left nothing else.
            let masked = if part.mask | zeroes == u32::MAX { moved } else { self.with_int(I32And, moved, part.mask) };
            all = Some(match all {
                None => masked,
                Some(others) => self.wasm(I32Or, &[others, masked]),
            });
        }
        all.unwrap_or_else(|| self.int(0))
    }

    /// Each byte is chosen among the table's words by bits of its number, then among that word's bytes.
    pub(super) fn swizzle(&mut self, table: Words, numbers: Words) -> Words {
        let mut bytes = Vec::with_capacity(16);
        for index in 0..16 {
            let number = self.small(numbers, Lane::I8, index, false);
            let second = self.with_int(I32And, number, 4);
            let upper = self.with_int(I32And, number, 8);
            let low = self.select(table[1], table[0], second);
            let high = self.select(table[3], table[2], second);
            let word = self.select(high, low, upper);
            // A shift takes its amount modulo 32, so only the place in the word counts.
            let amount = self.with_int(I32Shl, number, 3);
            let byte = self.wasm(I32ShrU, &[word, amount]);
            let byte = self.with_int(I32And, byte, 0xff);
            let zero = self.int(0);
            let within = self.with_int(WasmOp::I32LtU, number, 16);
            bytes.push(self.select(byte, zero, within));
        }
        self.pack(Lane::I8, &bytes)
    }
}
