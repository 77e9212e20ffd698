//! Product and sum with one rounding, on integers: what devices call a fused operation need not be one.
//!
//! Both the product and the summand are a significand, whose top bit is moved to the third bit from the top, and an
//! exponent. The lesser one is shifted to the other's exponent; what that loses stays as one bit at the lower end, far
//! below where the sum is rounded.

use super::{Splitter, Words};
use crate::ir::{Lane, Type, Value, WasmOp};
use WasmOp::{
    I32Add, I32And, I32Eq, I32LtS, I32Or, I32Sub, I32Xor, I64Add, I64And, I64Eq, I64ExtendI32U, I64LtU, I64Mul, I64Ne,
    I64Or, I64Shl, I64ShrU, I64Sub,
};

/// A format's numbers.
#[derive(Clone, Copy)]
struct Format {
    ty: Type,
    /// Bits of the fraction.
    fraction: u32,
    bias: i32,
}

impl Format {
    fn of(lane: Lane) -> Format {
        match lane {
            Lane::F64 => Format { ty: Type::F64, fraction: 52, bias: 1023 },
            _ => Format { ty: Type::F32, fraction: 23, bias: 127 },
        }
    }

    fn exponent_mask(self) -> u32 {
        2 * self.bias as u32 + 1
    }

    fn sign(self) -> u32 {
        self.ty.bits() - 1
    }

    fn infinity(self) -> u64 {
        u64::from(self.exponent_mask()) << self.fraction
    }
}

/// An exponent below all others: that of zero.
const LEAST: u32 = -100_000_i32 as u32;

/// A number that is no infinity and no NaN.
struct Number {
    /// 0 or 1, `I32`.
    sign: Value,
    /// `I32`
    exponent: Value,
    /// `I64`, the lowest first.
    limbs: Vec<Value>,
}

/// The parts of an operand.
struct Operand {
    sign: Value,
    exponent: Value,
    significand: Value,
    /// Whether it is an infinity or NaN.
    is_special: Value,
}

impl Splitter<'_> {
    pub(super) fn multiply_add(&mut self, lane: Lane, negated: bool, [a, b, c]: [Words; 3]) -> Words {
        let format = Format::of(lane);
        let [mut a, b, c] = [a, b, c].map(|words| self.values(words, lane.ty()));
        if negated {
            let op = if lane == Lane::F64 { WasmOp::F64Neg } else { WasmOp::F32Neg };
            a = a.into_iter().map(|value| self.wasm(op, &[value])).collect();
        }
        let mut words = Vec::with_capacity(4);
        for ((a, b), c) in a.into_iter().zip(b).zip(c) {
            let bits = self.fused(format, [a, b, c]);
            match lane {
                Lane::F64 => words.extend(self.pair_of_long(bits)),
                _ => words.push(self.wasm(WasmOp::I32WrapI64, &[bits])),
            }
        }
        [0, 1, 2, 3].map(|i| words[i])
    }

    /// The bits of `a * b + c`, `I64`.
    fn fused(&mut self, format: Format, [a, b, c]: [Value; 3]) -> Value {
        let bits = [a, b, c].map(|value| self.bits(format, value));
        let [x, y, z] = bits.map(|bits| self.operand(format, bits));
        let product_special = self.wasm(I32Or, &[x.is_special, y.is_special]);
        let is_special = self.wasm(I32Or, &[product_special, z.is_special]);
        let special = self.special(format, [a, b, c], product_special);
        let scale = -(format.bias + format.fraction as i32);
        let exponent = self.wasm(I32Add, &[x.exponent, y.exponent]);
        let product = Number {
            sign: self.wasm(I32Xor, &[x.sign, y.sign]),
            exponent: self.with_int(I32Add, exponent, (2 * scale) as u32),
            limbs: self.product(format, x.significand, y.significand),
        };
        let mut limbs = vec![z.significand];
        if product.limbs.len() == 2 {
            limbs.push(self.long_int(0));
        }
        let summand = Number { sign: z.sign, exponent: self.with_int(I32Add, z.exponent, scale as u32), limbs };
        let (product, summand) = (self.justified(product), self.justified(summand));
        let sum = self.sum(product, summand);
        let computed = self.rounded(format, sum);
        self.select(special, computed, is_special)
    }

    /// The result where an operand is an infinity or NaN: a finite product is of no matter then.
    fn special(&mut self, format: Format, [a, b, c]: [Value; 3], product_special: Value) -> Value {
        let (multiply, add) = match format.ty {
            Type::F64 => (WasmOp::F64Mul, WasmOp::F64Add),
            _ => (WasmOp::F32Mul, WasmOp::F32Add),
        };
        let product = self.wasm(multiply, &[a, b]);
        let product = self.select(product, a, product_special);
        let sum = self.wasm(add, &[product, c]);
        self.bits(format, sum)
    }

    fn bits(&mut self, format: Format, value: Value) -> Value {
        match format.ty {
            Type::F64 => self.wasm(WasmOp::I64ReinterpretF64, &[value]),
            _ => {
                let word = self.wasm(WasmOp::I32ReinterpretF32, &[value]);
                self.wasm(I64ExtendI32U, &[word])
            }
        }
    }

    fn operand(&mut self, format: Format, bits: Value) -> Operand {
        let sign = self.with_long(I64ShrU, bits, format.sign().into());
        let exponent = self.with_long(I64ShrU, bits, format.fraction.into());
        let exponent = self.wasm(WasmOp::I32WrapI64, &[exponent]);
        let exponent = self.with_int(I32And, exponent, format.exponent_mask());
        let is_special = self.with_int(I32Eq, exponent, format.exponent_mask());
        let fraction = self.with_long(I64And, bits, (1 << format.fraction) - 1);
        let is_subnormal = self.wasm(WasmOp::I32Eqz, &[exponent]);
        let whole = self.with_long(I64Or, fraction, 1 << format.fraction);
        Operand {
            sign: self.wasm(WasmOp::I32WrapI64, &[sign]),
            exponent: self.wasm(I32Add, &[exponent, is_subnormal]),
            significand: self.select(fraction, whole, is_subnormal),
            is_special,
        }
    }

    /// The product of two significands: 48 bits, or 106 in two limbs.
    fn product(&mut self, format: Format, a: Value, b: Value) -> Vec<Value> {
        if format.ty != Type::F64 {
            return vec![self.wasm(I64Mul, &[a, b])];
        }
        const LOW: u64 = 0xffff_ffff;
        let [a, b] = [a, b].map(|value| [self.with_long(I64And, value, LOW), self.with_long(I64ShrU, value, 32)]);
        let lowest = self.wasm(I64Mul, &[a[0], b[0]]);
        let middle = [self.wasm(I64Mul, &[a[0], b[1]]), self.wasm(I64Mul, &[a[1], b[0]])];
        let highest = self.wasm(I64Mul, &[a[1], b[1]]);
        let carried = self.with_long(I64ShrU, lowest, 32);
        let middle = self.wasm(I64Add, &middle);
        let middle = self.wasm(I64Add, &[middle, carried]);
        let low = self.with_long(I64Shl, middle, 32);
        let lowest = self.with_long(I64And, lowest, LOW);
        let high = self.with_long(I64ShrU, middle, 32);
        vec![self.wasm(I64Or, &[low, lowest]), self.wasm(I64Add, &[high, highest])]
    }

    /// The same number with its top bit at the third place; zero gets the least exponent.
    fn justified(&mut self, number: Number) -> Number {
        let zeros = self.leading_zeros(&number.limbs);
        let amount = self.with_int(I32Sub, zeros, 2);
        let limbs = self.shifted_left(&number.limbs, amount);
        let exponent = self.wasm(I32Sub, &[number.exponent, amount]);
        let least = self.int(LEAST);
        let not_zero = self.not_zero(&number.limbs);
        Number { limbs, exponent: self.select(exponent, least, not_zero), ..number }
    }

    /// The sum, exact but for a bit at its lower end that says whether there is more.
    fn sum(&mut self, a: Number, b: Number) -> Number {
        let less = self.wasm(I32LtS, &[a.exponent, b.exponent]);
        let equal = self.wasm(I32Eq, &[a.exponent, b.exponent]);
        let less_limbs = self.less_limbs(&a.limbs, &b.limbs);
        let less_equal = self.wasm(I32And, &[equal, less_limbs]);
        let swap = self.wasm(I32Or, &[less, less_equal]);
        let exponents = [self.select(b.exponent, a.exponent, swap), self.select(a.exponent, b.exponent, swap)];
        let greater = self.select_all(&b.limbs, &a.limbs, swap);
        let lesser = self.select_all(&a.limbs, &b.limbs, swap);
        let distance = self.wasm(I32Sub, &exponents);
        let lesser = self.shifted_right(&lesser, distance);
        let differ = self.wasm(I32Xor, &[a.sign, b.sign]);
        let sum = self.added(&greater, &lesser);
        let difference = self.subtracted(&greater, &lesser);
        let limbs = self.select_all(&difference, &sum, differ);
        // A sum that cancels out is +0.
        let sign = self.select(b.sign, a.sign, swap);
        let cancels = self.not_zero(&limbs);
        let cancels = self.wasm(WasmOp::I32Eqz, &[cancels]);
        let cancels = self.wasm(I32And, &[cancels, differ]);
        let positive = self.int(0);
        Number { sign: self.select(positive, sign, cancels), exponent: exponents[0], limbs }
    }

    /// A number to the nearest of a format, ties to even, as bits in an `I64`.
    fn rounded(&mut self, format: Format, number: Number) -> Value {
        let zeros = self.leading_zeros(&number.limbs);
        let amount = self.with_int(I32Sub, zeros, 1);
        let limbs = self.shifted_left(&number.limbs, amount);
        let mut exponent = self.wasm(I32Sub, &[number.exponent, amount]);
        let mut top = limbs[limbs.len() - 1];
        if limbs.len() == 2 {
            let zero = self.long_int(0);
            let rest = self.wasm(I64Ne, &[limbs[0], zero]);
            let rest = self.wasm(I64ExtendI32U, &[rest]);
            top = self.wasm(I64Or, &[top, rest]);
            exponent = self.with_int(I32Add, exponent, 64);
        }
        // The top bit is the one below the sign's place.
        let least = self.int((1 - format.bias - format.fraction as i32) as u32);
        let below = self.wasm(I32Sub, &[least, exponent]);
        let usual = self.int(62 - format.fraction);
        let is_subnormal = self.wasm(I32LtS, &[usual, below]);
        let shift = self.select(below, usual, is_subnormal);
        let wide_shift = self.wasm(I64ExtendI32U, &[shift]);
        let quotient = self.wasm(I64ShrU, &[top, wide_shift]);
        let odd = self.with_long(I64And, quotient, 1);
        let one = self.long_int(1);
        let before = self.with_long(I64Sub, wide_shift, 1);
        let half = self.wasm(I64Shl, &[one, before]);
        let increment = self.with_long(I64Sub, half, 1);
        let increment = self.wasm(I64Add, &[increment, odd]);
        let raised = self.wasm(I64Add, &[top, increment]);
        let quotient = self.wasm(I64ShrU, &[raised, wide_shift]);
        let vanishes = self.with_int(I32LtS, shift, 64);
        let zero = self.long_int(0);
        let quotient = self.select(quotient, zero, vanishes);
        // The quotient's top bit, where it has one, adds one to the exponent's field.
        let field = self.with_int(I32Add, exponent, (61 + format.bias) as u32);
        let no_field = self.int(0);
        let field = self.select(no_field, field, is_subnormal);
        let field = self.wasm(I64ExtendI32U, &[field]);
        let field = self.with_long(I64Shl, field, format.fraction.into());
        let bits = self.wasm(I64Add, &[field, quotient]);
        let infinity = self.long_int(format.infinity());
        let finite = self.wasm(I64LtU, &[bits, infinity]);
        let bits = self.select(bits, infinity, finite);
        let not_zero = self.not_zero(&number.limbs);
        let bits = self.select(bits, zero, not_zero);
        let sign = self.wasm(I64ExtendI32U, &[number.sign]);
        let sign = self.with_long(I64Shl, sign, format.sign().into());
        self.wasm(I64Or, &[bits, sign])
    }
}

/// Integers of one or two limbs.
impl Splitter<'_> {
    fn long_int(&mut self, value: u64) -> Value {
        self.list.constant(self.function, crate::ir::Const::I64(value))
    }

    fn select_all(&mut self, a: &[Value], b: &[Value], condition: Value) -> Vec<Value> {
        a.iter().zip(b).map(|(a, b)| self.select(*a, *b, condition)).collect()
    }

    fn not_zero(&mut self, limbs: &[Value]) -> Value {
        let zero = self.long_int(0);
        let any = limbs[1..].iter().fold(limbs[0], |any, limb| self.wasm(I64Or, &[any, *limb]));
        self.wasm(I64Ne, &[any, zero])
    }

    fn leading_zeros(&mut self, limbs: &[Value]) -> Value {
        let counts: Vec<Value> = limbs
            .iter()
            .map(|limb| {
                let count = self.wasm(WasmOp::I64Clz, &[*limb]);
                self.wasm(WasmOp::I32WrapI64, &[count])
            })
            .collect();
        let [low, high] = counts[..] else { return counts[0] };
        let low = self.with_int(I32Add, low, 64);
        let is_zero = self.with_int(I32Eq, high, 64);
        self.select(low, high, is_zero)
    }

    /// Shifts by less than all bits.
    fn shifted_left(&mut self, limbs: &[Value], amount: Value) -> Vec<Value> {
        let by = self.wasm(I64ExtendI32U, &[amount]);
        let &[low, high] = limbs else { return vec![self.wasm(I64Shl, &[limbs[0], by])] };
        let (low_moved, high_moved) = (self.wasm(I64Shl, &[low, by]), self.wasm(I64Shl, &[high, by]));
        let rest = self.with_long(I64ShrU, low, 1);
        let back = self.rest_of(by);
        let rest = self.wasm(I64ShrU, &[rest, back]);
        let high_moved = self.wasm(I64Or, &[high_moved, rest]);
        let far = self.with_int(I32And, amount, 64);
        let zero = self.long_int(0);
        vec![self.select(zero, low_moved, far), self.select(low_moved, high_moved, far)]
    }

    /// 63 less the amount, modulo 64.
    fn rest_of(&mut self, amount: Value) -> Value {
        let most = self.long_int(63);
        self.wasm(I64Sub, &[most, amount])
    }

    /// Shifts by any amount that is not negative; bits that are lost leave the lowest one set.
    fn shifted_right(&mut self, limbs: &[Value], amount: Value) -> Vec<Value> {
        let most = self.int(64 * limbs.len() as u32 - 1);
        let within = self.wasm(I32LtS, &[amount, most]);
        let amount = self.select(amount, most, within);
        let by = self.wasm(I64ExtendI32U, &[amount]);
        let mut moved: Vec<Value> = limbs.iter().map(|limb| self.wasm(I64ShrU, &[*limb, by])).collect();
        if let &[_, high] = limbs {
            let rest = self.with_long(I64Shl, high, 1);
            let back = self.rest_of(by);
            let rest = self.wasm(I64Shl, &[rest, back]);
            let near = self.wasm(I64Or, &[moved[0], rest]);
            let far = self.with_int(I32And, amount, 64);
            let zero = self.long_int(0);
            moved = vec![self.select(moved[1], near, far), self.select(zero, moved[1], far)];
        }
        let again = self.shifted_left(&moved, amount);
        let mut lost: Option<Value> = None;
        for (again, limb) in again.into_iter().zip(limbs) {
            let differs = self.wasm(I64Ne, &[again, *limb]);
            lost = Some(match lost {
                Some(others) => self.wasm(I32Or, &[others, differs]),
                None => differs,
            });
        }
        if let Some(lost) = lost {
            let lost = self.wasm(I64ExtendI32U, &[lost]);
            moved[0] = self.wasm(I64Or, &[moved[0], lost]);
        }
        moved
    }

    fn added(&mut self, a: &[Value], b: &[Value]) -> Vec<Value> {
        let low = self.wasm(I64Add, &[a[0], b[0]]);
        let (&[_, high_a], &[_, high_b]) = (a, b) else { return vec![low] };
        let carry = self.wasm(I64LtU, &[low, a[0]]);
        let carry = self.wasm(I64ExtendI32U, &[carry]);
        let high = self.wasm(I64Add, &[high_a, high_b]);
        vec![low, self.wasm(I64Add, &[high, carry])]
    }

    fn subtracted(&mut self, a: &[Value], b: &[Value]) -> Vec<Value> {
        let low = self.wasm(I64Sub, &[a[0], b[0]]);
        let (&[_, high_a], &[_, high_b]) = (a, b) else { return vec![low] };
        let borrow = self.wasm(I64LtU, &[a[0], b[0]]);
        let borrow = self.wasm(I64ExtendI32U, &[borrow]);
        let high = self.wasm(I64Sub, &[high_a, high_b]);
        vec![low, self.wasm(I64Sub, &[high, borrow])]
    }

    fn less_limbs(&mut self, a: &[Value], b: &[Value]) -> Value {
        let low = self.wasm(I64LtU, &[a[0], b[0]]);
        let (&[_, high_a], &[_, high_b]) = (a, b) else { return low };
        let high = self.wasm(I64LtU, &[high_a, high_b]);
        let equal = self.wasm(I64Eq, &[high_a, high_b]);
        self.select(low, high, equal)
    }
}
