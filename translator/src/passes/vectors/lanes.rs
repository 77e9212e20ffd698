//! Operators on lanes that stand alone: whole words, pairs of words, and smaller lanes that are taken out of their words.

use super::{Splitter, Words};
use crate::error::{Error, Result};
use crate::ir::{IntOp, Lane, ShiftOp, Type, Value, VectorOp, WasmOp};

/// Scalar operators of one meaning on `I32` and `I64`.
fn integer(lane: Lane, op: IntOp) -> Option<WasmOp> {
    use WasmOp::*;
    let (narrow, wide) = match op {
        IntOp::Add => (I32Add, I64Add),
        IntOp::Sub => (I32Sub, I64Sub),
        IntOp::Mul => (I32Mul, I64Mul),
        IntOp::Eq => (I32Eq, I64Eq),
        IntOp::Ne => (I32Ne, I64Ne),
        IntOp::LtS | IntOp::MinS => (I32LtS, I64LtS),
        IntOp::LtU | IntOp::MinU => (I32LtU, I64LtU),
        IntOp::GtS | IntOp::MaxS => (I32GtS, I64GtS),
        IntOp::GtU | IntOp::MaxU => (I32GtU, I64GtU),
        IntOp::LeS => (I32LeS, I64LeS),
        IntOp::LeU => (I32LeU, I64LeU),
        IntOp::GeS => (I32GeS, I64GeS),
        IntOp::GeU => (I32GeU, I64GeU),
        _ => return None,
    };
    Some(if lane == Lane::I64 { wide } else { narrow })
}

/// Operators of one scalar operator a lane.
impl Splitter<'_> {
    /// The lanes as values of a type that has 32 or 64 bits.
    pub(super) fn values(&mut self, words: Words, ty: Type) -> Vec<Value> {
        let pairs = [[words[0], words[1]], [words[2], words[3]]];
        match ty {
            Type::F32 => words.map(|word| self.float(word)).to_vec(),
            Type::I64 => pairs.map(|pair| self.long(pair)).to_vec(),
            Type::F64 => pairs.map(|pair| self.double(pair)).to_vec(),
            _ => words.to_vec(),
        }
    }

    /// The words of values of a type.
    fn words_of(&mut self, values: &[Value], ty: Type) -> Words {
        let mut words = Vec::with_capacity(4);
        for value in values {
            match ty {
                Type::F32 => words.push(self.word_of_float(*value)),
                Type::I64 => words.extend(self.pair_of_long(*value)),
                Type::F64 => words.extend(self.pair_of_double(*value)),
                _ => words.push(*value),
            }
        }
        let zero = (words.len() < 4).then(|| self.int(0));
        [0, 1, 2, 3].map(|i| words.get(i).copied().or(zero).unwrap_or(Value(0)))
    }

    /// A scalar operator on each lane, up to so many.
    fn map(&mut self, op: WasmOp, vectors: &[Words], count: usize) -> Words {
        let lanes: Vec<Vec<Value>> = vectors.iter().zip(op.params()).map(|(v, ty)| self.values(*v, *ty)).collect();
        let count = count.min(lanes.iter().map(Vec::len).min().unwrap_or(0));
        let mut results = Vec::with_capacity(count);
        for index in 0..count {
            let args: Vec<Value> = lanes.iter().map(|values| values[index]).collect();
            results.push(self.wasm(op, &args));
        }
        self.words_of(&results, op.result())
    }

    pub(super) fn on_lanes(&mut self, op: WasmOp, vectors: &[Words]) -> Words {
        self.map(op, vectors, 4)
    }

    pub(super) fn widen_low(&mut self, op: WasmOp, a: Words) -> Words {
        self.map(op, &[a], 2)
    }

    pub(super) fn narrow_zero(&mut self, op: WasmOp, a: Words) -> Words {
        self.map(op, &[a], 2)
    }

    /// All ones where a comparison holds.
    pub(super) fn compare(&mut self, op: WasmOp, a: Words, b: Words) -> Words {
        let ty = op.params()[0];
        let (a, b) = (self.values(a, ty), self.values(b, ty));
        let mut words = Vec::with_capacity(4);
        for (a, b) in a.into_iter().zip(b) {
            let holds = self.wasm(op, &[a, b]);
            let mask = self.negative(holds);
            words.extend(std::iter::repeat_n(mask, ty.bits() as usize / 32));
        }
        [0, 1, 2, 3].map(|i| words[i])
    }

    /// `b` where it is less (or greater) than `a`, bit for bit.
    pub(super) fn pseudo(&mut self, lane: Lane, a: Words, b: Words, least: bool) -> Words {
        let ty = lane.ty();
        let less = if ty == Type::F64 { WasmOp::F64Lt } else { WasmOp::F32Lt };
        let (left, right) = if least { (b, a) } else { (a, b) };
        let (left, right) = (self.values(left, ty), self.values(right, ty));
        let conditions: Vec<Value> =
            left.into_iter().zip(right).map(|(left, right)| self.wasm(less, &[left, right])).collect();
        let words = ty.bits() as usize / 32;
        [0, 1, 2, 3].map(|i| self.select(b[i], a[i], conditions[i / words]))
    }

    pub(super) fn int_op(&mut self, lane: Lane, op: IntOp, a: Words, b: Words) -> Words {
        match lane {
            Lane::I8 | Lane::I16 => [0, 1, 2, 3].map(|i| self.packed(lane, op, a[i], b[i])),
            Lane::I64 => self.long_op(op, a, b),
            _ => [0, 1, 2, 3].map(|i| self.word_op(op, a[i], b[i])),
        }
    }

    /// An operator on lanes of 32 bits.
    fn word_op(&mut self, op: IntOp, a: Value, b: Value) -> Value {
        match (op, integer(Lane::I32, op)) {
            (IntOp::Neg, _) => self.negative(a),
            (IntOp::Abs, _) => {
                let sign = self.with_int(WasmOp::I32ShrS, a, 31);
                let flipped = self.wasm(WasmOp::I32Xor, &[a, sign]);
                self.wasm(WasmOp::I32Sub, &[flipped, sign])
            }
            (IntOp::Add | IntOp::Sub | IntOp::Mul, Some(op)) => self.wasm(op, &[a, b]),
            (IntOp::MinS | IntOp::MinU | IntOp::MaxS | IntOp::MaxU, Some(compare)) => {
                let condition = self.wasm(compare, &[a, b]);
                self.select(a, b, condition)
            }
            (_, Some(compare)) => {
                let holds = self.wasm(compare, &[a, b]);
                self.negative(holds)
            }
            // No other operator has lanes of 32 bits.
            (_, None) => a,
        }
    }

    /// An operator on lanes of 64 bits.
    fn long_op(&mut self, op: IntOp, a: Words, b: Words) -> Words {
        match (op, integer(Lane::I64, op)) {
            (IntOp::Eq | IntOp::Ne, _) => {
                let differ = self.each(WasmOp::I32Xor, a, b);
                let masks = [0, 2].map(|i| {
                    let any = self.wasm(WasmOp::I32Or, &[differ[i], differ[i + 1]]);
                    let equal = self.wasm(WasmOp::I32Eqz, &[any]);
                    match op {
                        IntOp::Eq => self.negative(equal),
                        _ => self.with_int(WasmOp::I32Sub, equal, 1),
                    }
                });
                [masks[0], masks[0], masks[1], masks[1]]
            }
            (IntOp::Neg, _) => {
                let zero = [(); 4].map(|()| self.int(0));
                self.map(WasmOp::I64Sub, &[zero, a], 2)
            }
            (IntOp::Abs, _) => {
                let signs = [1, 3].map(|i| self.with_int(WasmOp::I32ShrS, a[i], 31));
                let signs = [signs[0], signs[0], signs[1], signs[1]];
                let flipped = self.each(WasmOp::I32Xor, a, signs);
                self.map(WasmOp::I64Sub, &[flipped, signs], 2)
            }
            (_, Some(op)) if op.result() == Type::I64 => self.map(op, &[a, b], 2),
            (_, Some(op)) => self.compare(op, a, b),
            // No other operator has lanes of 64 bits.
            (_, None) => a,
        }
    }

    pub(super) fn shift(&mut self, lane: Lane, op: ShiftOp, a: Words, amount: Value) -> Words {
        use WasmOp::{I32Shl, I32ShrS, I32ShrU, I64Shl, I64ShrS, I64ShrU};
        let (narrow, wide) = match op {
            ShiftOp::Shl => (I32Shl, I64Shl),
            ShiftOp::ShrS => (I32ShrS, I64ShrS),
            ShiftOp::ShrU => (I32ShrU, I64ShrU),
        };
        match lane {
            Lane::I8 | Lane::I16 => self.packed_shift(lane, op, a, amount),
            // Scalar shifts, too, take the amount modulo the size.
            Lane::I64 => {
                let amount = self.wasm(WasmOp::I64ExtendI32U, &[amount]);
                let lanes = self.values(a, Type::I64);
                let shifted: Vec<Value> = lanes.into_iter().map(|value| self.wasm(wide, &[value, amount])).collect();
                self.words_of(&shifted, Type::I64)
            }
            _ => a.map(|word| self.wasm(narrow, &[word, amount])),
        }
    }
}

/// Single lanes.
impl Splitter<'_> {
    pub(super) fn splat(&mut self, lane: Lane, value: Value) -> Words {
        match lane {
            Lane::I8 => {
                let low = self.with_int(WasmOp::I32And, value, 0xff);
                [self.with_int(WasmOp::I32Mul, low, 0x0101_0101); 4]
            }
            Lane::I16 => {
                let low = self.with_int(WasmOp::I32And, value, 0xffff);
                [self.with_int(WasmOp::I32Mul, low, 0x0001_0001); 4]
            }
            Lane::I32 => [value; 4],
            Lane::F32 => [self.word_of_float(value); 4],
            Lane::I64 | Lane::F64 => {
                let [low, high] = self.pair_of(lane, value);
                [low, high, low, high]
            }
        }
    }

    fn pair_of(&mut self, lane: Lane, value: Value) -> [Value; 2] {
        if lane == Lane::F64 { self.pair_of_double(value) } else { self.pair_of_long(value) }
    }

    pub(super) fn replace(&mut self, a: Words, lane: Lane, index: usize, value: Value) -> Words {
        let mut words = a;
        match lane {
            Lane::I8 | Lane::I16 => {
                let per_word = 32 / lane.bits() as usize;
                let (word, shift) = (index / per_word, (index % per_word) as u32 * lane.bits());
                let mask = u32::MAX >> (32 - lane.bits());
                let others = self.with_int(WasmOp::I32And, words[word], !(mask << shift));
                let low = self.with_int(WasmOp::I32And, value, mask);
                let moved = self.with_int(WasmOp::I32Shl, low, shift);
                words[word] = self.wasm(WasmOp::I32Or, &[others, moved]);
            }
            Lane::I32 => words[index] = value,
            Lane::F32 => words[index] = self.word_of_float(value),
            Lane::I64 | Lane::F64 => {
                let pair = self.pair_of(lane, value);
                words[2 * index..2 * index + 2].copy_from_slice(&pair);
            }
        }
        words
    }

    /// The operators that give a scalar.
    pub(super) fn scalar(&mut self, op: VectorOp, a: Words) -> Result<Value> {
        Ok(match op {
            VectorOp::ExtractLane { lane: lane @ (Lane::I8 | Lane::I16), index, signed } => {
                self.small(a, lane, index.into(), signed)
            }
            VectorOp::ExtractLane { lane, index, .. } => self.values(a, lane.ty())[usize::from(index)],
            VectorOp::AnyTrue => {
                let all = self.all(WasmOp::I32Or, &a);
                self.is_not_zero(all)
            }
            VectorOp::AllTrue(lane) => self.all_true(lane, a),
            VectorOp::Bitmask(lane) => self.bitmask(lane, a),
            other => return Err(Error::Internal(format!("`{other}` is not split"))),
        })
    }

    fn is_not_zero(&mut self, word: Value) -> Value {
        let zero = self.int(0);
        self.wasm(WasmOp::I32Ne, &[word, zero])
    }

    fn all(&mut self, op: WasmOp, values: &[Value]) -> Value {
        let (first, others) = (values[0], &values[1..]);
        others.iter().fold(first, |all, value| self.wasm(op, &[all, *value]))
    }

    fn all_true(&mut self, lane: Lane, a: Words) -> Value {
        match lane {
            Lane::I8 | Lane::I16 => {
                let marks = a.map(|word| self.not_zero_marks(lane, word));
                let marks = self.all(WasmOp::I32And, &marks);
                self.with_int(WasmOp::I32Eq, marks, super::packed::top_bits(lane))
            }
            Lane::I64 => {
                let halves = [0, 2].map(|i| {
                    let any = self.wasm(WasmOp::I32Or, &[a[i], a[i + 1]]);
                    self.is_not_zero(any)
                });
                self.all(WasmOp::I32And, &halves)
            }
            _ => {
                let words = a.map(|word| self.is_not_zero(word));
                self.all(WasmOp::I32And, &words)
            }
        }
    }

    fn bitmask(&mut self, lane: Lane, a: Words) -> Value {
        let words: Vec<Value> = match lane {
            Lane::I64 => vec![a[1], a[3]],
            _ => a.to_vec(),
        };
        let bits: Vec<Value> = words.into_iter().map(|word| self.top_bits_together(lane, word)).collect();
        let per_word = (32 / lane.bits()).max(1);
        let mut moved = Vec::with_capacity(bits.len());
        for (number, bits) in (0..).zip(bits) {
            moved.push(self.with_int(WasmOp::I32Shl, bits, number * per_word));
        }
        self.all(WasmOp::I32Or, &moved)
    }

    /// A lane of 8, 16 or 32 bits as an `I32`.
    pub(super) fn small(&mut self, words: Words, lane: Lane, index: usize, signed: bool) -> Value {
        let per_word = 32 / lane.bits() as usize;
        let word = words[index / per_word];
        let shift = (index % per_word) as u32 * lane.bits();
        match (lane, signed) {
            (Lane::I32, _) => word,
            (_, true) => {
                let top = self.with_int(WasmOp::I32Shl, word, 32 - lane.bits() - shift);
                self.with_int(WasmOp::I32ShrS, top, 32 - lane.bits())
            }
            (_, false) => {
                let low = self.with_int(WasmOp::I32ShrU, word, shift);
                match shift + lane.bits() {
                    32 => low,
                    _ => self.with_int(WasmOp::I32And, low, u32::MAX >> (32 - lane.bits())),
                }
            }
        }
    }

    /// The low bits of values, packed.
    pub(super) fn pack(&mut self, lane: Lane, values: &[Value]) -> Words {
        let per_word = 32 / lane.bits() as usize;
        let mask = u32::MAX >> (32 - lane.bits());
        [0, 1, 2, 3].map(|word| {
            let mut parts = Vec::with_capacity(per_word);
            for (index, value) in values[word * per_word..][..per_word].iter().enumerate() {
                let low = if index + 1 < per_word { self.with_int(WasmOp::I32And, *value, mask) } else { *value };
                parts.push(self.with_int(WasmOp::I32Shl, low, index as u32 * lane.bits()));
            }
            self.all(WasmOp::I32Or, &parts)
        })
    }

    /// Lanes that changed their size.
    fn resized(&mut self, to: Lane, values: &[Value]) -> Words {
        match to {
            Lane::I8 | Lane::I16 => self.pack(to, values),
            _ => [0, 1, 2, 3].map(|i| values[i]),
        }
    }
}

/// Operators whose lanes change their size.
impl Splitter<'_> {
    pub(super) fn extend(&mut self, a: Words, from: Lane, high: bool, signed: bool) -> Words {
        let start = if high { from.count() / 2 } else { 0 };
        if from == Lane::I32 {
            let pairs = [a[start], a[start + 1]]
                .map(|word| [word, if signed { self.with_int(WasmOp::I32ShrS, word, 31) } else { self.int(0) }]);
            return [pairs[0][0], pairs[0][1], pairs[1][0], pairs[1][1]];
        }
        let lanes: Vec<Value> = (start..start + from.count() / 2).map(|i| self.small(a, from, i, signed)).collect();
        self.resized(from.double().unwrap_or(from), &lanes)
    }

    pub(super) fn multiply(&mut self, a: Words, b: Words, from: Lane, high: bool, signed: bool) -> Words {
        let start = if high { from.count() / 2 } else { 0 };
        let extend = if signed { WasmOp::I64ExtendI32S } else { WasmOp::I64ExtendI32U };
        let mut products = Vec::with_capacity(from.count() / 2);
        for index in start..start + from.count() / 2 {
            let (mut a, mut b) = (self.small(a, from, index, signed), self.small(b, from, index, signed));
            let mut product = WasmOp::I32Mul;
            if from == Lane::I32 {
                (a, b) = (self.wasm(extend, &[a]), self.wasm(extend, &[b]));
                product = WasmOp::I64Mul;
            }
            products.push(self.wasm(product, &[a, b]));
        }
        match from {
            Lane::I32 => self.words_of(&products, Type::I64),
            _ => self.resized(from.double().unwrap_or(from), &products),
        }
    }

    pub(super) fn add_pairs(&mut self, a: Words, from: Lane, signed: bool) -> Words {
        let mut sums = Vec::with_capacity(from.count() / 2);
        for index in 0..from.count() / 2 {
            let pair = [2 * index, 2 * index + 1].map(|index| self.small(a, from, index, signed));
            sums.push(self.wasm(WasmOp::I32Add, &pair));
        }
        self.resized(from.double().unwrap_or(from), &sums)
    }

    pub(super) fn narrow(&mut self, a: Words, b: Words, from: Lane, signed: bool) -> Words {
        let to = from.half().unwrap_or(from);
        let limit = 1_i32 << to.bits();
        let (least, most) = if signed { (-limit / 2, limit / 2 - 1) } else { (0, limit - 1) };
        let mut lanes = Vec::with_capacity(to.count());
        for vector in [a, b] {
            for index in 0..from.count() {
                let value = self.small(vector, from, index, true);
                let value = self.limited(value, WasmOp::I32LtS, least);
                lanes.push(self.limited(value, WasmOp::I32GtS, most));
            }
        }
        self.pack(to, &lanes)
    }

    /// The limit where the comparison of the value with it holds, else the value.
    pub(super) fn limited(&mut self, value: Value, beyond: WasmOp, limit: i32) -> Value {
        let limit = self.int(limit as u32);
        let condition = self.wasm(beyond, &[value, limit]);
        self.select(limit, value, condition)
    }

    /// Sums of `count` adjacent signed products.
    pub(super) fn dot(&mut self, a: Words, b: Words, lane: Lane, count: usize) -> Words {
        let mut sums = Vec::new();
        for first in (0..lane.count()).step_by(count) {
            let mut products = Vec::with_capacity(count);
            for index in first..first + count {
                let (a, b) = (self.small(a, lane, index, true), self.small(b, lane, index, true));
                products.push(self.wasm(WasmOp::I32Mul, &[a, b]));
            }
            sums.push(self.all(WasmOp::I32Add, &products));
        }
        self.resized(if sums.len() == 8 { Lane::I16 } else { Lane::I32 }, &sums)
    }
}
