//! Operators on words, and what they come to where an operand is a constant.

use super::Splitter;
use crate::ir::{Const, LowOp, Type, Value};

impl Splitter<'_> {
    pub(super) fn int(&mut self, value: u32) -> Value {
        let constant = self.list.i32(self.function, value);
        self.constants.insert(constant, value);
        constant
    }

    /// The constant that a word is.
    pub(super) fn known(&self, word: Value) -> Option<u32> {
        self.constants.get(&word).copied()
    }

    pub(super) fn is(&self, word: Value, number: u32) -> bool {
        self.known(word) == Some(number)
    }

    /// An operator with a condition as its result.
    pub(super) fn bool(&mut self, op: LowOp, args: &[Value]) -> Value {
        self.list.low(self.function, op, args, Type::Bool)
    }

    pub(super) fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        if a == b || self.known(a).is_some() && self.known(a) == self.known(b) {
            return a;
        }
        self.list.low(self.function, LowOp::Select, &[condition, a, b], Type::I32)
    }

    pub(super) fn remember_mask(&mut self, result: Value, value: Value, mask: Value) {
        if let Some(mask) = self.known(mask) {
            self.masked.insert(result, (value, mask));
        }
    }

    /// The bits that may be set in a word.
    pub(super) fn possible_bits(&self, word: Value) -> u32 {
        match (self.known(word), self.masked.get(&word)) {
            (Some(bits), _) => bits,
            (None, Some((_, mask))) => *mask,
            (None, None) => u32::MAX,
        }
    }

    pub(super) fn with_int(&mut self, op: LowOp, a: Value, b: u32) -> Value {
        let b = self.int(b);
        self.word(op, a, b)
    }

    /// A word of two.
    pub(super) fn word(&mut self, op: LowOp, a: Value, b: Value) -> Value {
        use LowOp::{And, IAdd, IMul, ISub, MulHigh, Or, Shl, ShrS, ShrU, Xor};
        let (known_a, known_b) = (self.known(a), self.known(b));
        match (op, known_a, known_b) {
            (_, Some(x), Some(y)) => {
                if let Ok(Const::I32(value)) =
                    crate::ir::eval::eval(&crate::ir::Op::Low(op), &[Const::I32(x), Const::I32(y)])
                {
                    return self.int(value);
                }
            }
            (IAdd | Or | Xor, Some(0), _) | (And, Some(u32::MAX), _) | (IMul, Some(1), _) => return b,
            (IAdd | ISub | Or | Xor | Shl | ShrU | ShrS, _, Some(0))
            | (And, _, Some(u32::MAX))
            | (IMul, _, Some(1)) => {
                return a;
            }
            (And | IMul | MulHigh | Shl | ShrU | ShrS, Some(0), _) => return a,
            (And | IMul | MulHigh, _, Some(0)) => return b,
            (And, _, Some(mask)) => return self.masked_word(a, b, mask),
            _ => {}
        }
        self.list.low(self.function, op, &[a, b], Type::I32)
    }

    /// Some bits of a word, `mask` being the constant `bits`: of one that was masked before, in one step.
    fn masked_word(&mut self, word: Value, mask: Value, bits: u32) -> Value {
        let (whole, bits) = match self.masked.get(&word) {
            Some((_, known)) if known & bits == *known => return word,
            Some((whole, known)) => (*whole, bits & known),
            None => (word, bits),
        };
        let mask = if whole == word { mask } else { self.int(bits) };
        if bits == 0 {
            return mask;
        }
        let result = self.list.low(self.function, LowOp::And, &[whole, mask], Type::I32);
        self.masked.insert(result, (whole, bits));
        result
    }
}
