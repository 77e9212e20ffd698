//! Operators on 64-bit integers in words.

use super::{Splitter, Words};
use crate::error::{Error, Result};
use crate::ir::{Const, LowOp, Op, Type, Value};

impl Splitter<'_> {
    /// An operator that gives 64 bits.
    pub(super) fn long(&mut self, op: Op, args: &[Value]) -> Result<Words> {
        let op = match op {
            Op::Const(Const::I64(bits)) => {
                return Ok(Words { low: self.int(bits as u32), high: self.int((bits >> 32) as u32) });
            }
            Op::Low(op) => op,
            other => return Err(no_form(other)),
        };
        Ok(match (op, args) {
            (LowOp::ExtendU, [word]) => Words { low: *word, high: self.int(0) },
            (LowOp::ExtendS, [word]) => Words { low: *word, high: self.with_int(LowOp::ShrS, *word, 31) },
            (LowOp::Pack64, [low, high]) => Words { low: *low, high: *high },
            (LowOp::Select, [condition, a, b]) => {
                let (a, b) = (self.words(*a)?, self.words(*b)?);
                self.select_words(*condition, a, b)
            }
            (_, [a, b]) => {
                let (a, b) = (self.words(*a)?, self.words(*b)?);
                match op {
                    LowOp::IAdd => self.add(a, b),
                    LowOp::ISub => self.subtract(a, b),
                    LowOp::IMul => self.multiply(a, b),
                    LowOp::And | LowOp::Or | LowOp::Xor => {
                        Words { low: self.word(op, a.low, b.low), high: self.word(op, a.high, b.high) }
                    }
                    LowOp::Shl | LowOp::ShrU | LowOp::ShrS => self.shift(op, a, b.low),
                    LowOp::UMin | LowOp::UMax => {
                        let below = self.less(LowOp::ULt, LowOp::ULt, a, b);
                        if op == LowOp::UMin { self.select_words(below, a, b) } else { self.select_words(below, b, a) }
                    }
                    LowOp::SMin | LowOp::SMax => {
                        let below = self.less(LowOp::SLt, LowOp::ULt, a, b);
                        if op == LowOp::SMin { self.select_words(below, a, b) } else { self.select_words(below, b, a) }
                    }
                    other => return Err(no_form(Op::Low(other))),
                }
            }
            _ => return Err(no_form(Op::Low(op))),
        })
    }

    /// An operator that takes 64 bits and gives a word or a condition.
    pub(super) fn short(&mut self, op: Op, args: &[Value]) -> Result<Value> {
        let Op::Low(op) = op else { return Err(no_form(op)) };
        let a = self.words(args[0])?;
        match op {
            LowOp::Wrap => return Ok(a.low),
            LowOp::High => return Ok(a.high),
            _ => {}
        }
        let b = match args {
            [_, b] => self.words(*b)?,
            _ => return Err(no_form(Op::Low(op))),
        };
        Ok(match op {
            LowOp::Eq | LowOp::Ne => self.equal(op, a, b),
            LowOp::ULt => self.less(LowOp::ULt, LowOp::ULt, a, b),
            LowOp::ULe => self.less(LowOp::ULt, LowOp::ULe, a, b),
            LowOp::SLt => self.less(LowOp::SLt, LowOp::ULt, a, b),
            LowOp::SLe => self.less(LowOp::SLt, LowOp::ULe, a, b),
            other => return Err(no_form(Op::Low(other))),
        })
    }

    fn select_words(&mut self, condition: Value, a: Words, b: Words) -> Words {
        Words { low: self.select(condition, a.low, b.low), high: self.select(condition, a.high, b.high) }
    }

    /// 1 where the condition holds, else 0.
    fn flag(&mut self, condition: Value) -> Value {
        let (one, zero) = (self.int(1), self.int(0));
        self.select(condition, one, zero)
    }

    fn add(&mut self, a: Words, b: Words) -> Words {
        let low = self.word(LowOp::IAdd, a.low, b.low);
        let high = self.word(LowOp::IAdd, a.high, b.high);
        if self.is(a.low, 0) || self.is(b.low, 0) {
            return Words { low, high };
        }
        let carries = self.bool(LowOp::ULt, &[low, b.low]);
        let carry = self.flag(carries);
        Words { low, high: self.word(LowOp::IAdd, high, carry) }
    }

    fn subtract(&mut self, a: Words, b: Words) -> Words {
        let low = self.word(LowOp::ISub, a.low, b.low);
        let high = self.word(LowOp::ISub, a.high, b.high);
        if self.is(b.low, 0) {
            return Words { low, high };
        }
        let borrows = self.bool(LowOp::ULt, &[a.low, b.low]);
        let borrow = self.flag(borrows);
        Words { low, high: self.word(LowOp::ISub, high, borrow) }
    }

    fn multiply(&mut self, a: Words, b: Words) -> Words {
        let low = self.word(LowOp::IMul, a.low, b.low);
        let carry = self.multiply_high(a.low, b.low);
        let (one, other) = (self.word(LowOp::IMul, a.low, b.high), self.word(LowOp::IMul, a.high, b.low));
        let high = self.word(LowOp::IAdd, carry, one);
        Words { low, high: self.word(LowOp::IAdd, high, other) }
    }

    /// The high word of a product of words; where there is no operator for that, of half words.
    fn multiply_high(&mut self, a: Value, b: Value) -> Value {
        if self.multiplies_high || self.known(a).is_some_and(|a| a < 2) || self.known(b).is_some_and(|b| b < 2) {
            if self.is(a, 1) || self.is(b, 1) {
                return self.int(0);
            }
            return self.word(LowOp::MulHigh, a, b);
        }
        let mut half = |word| (self.with_int(LowOp::ShrU, word, 16), self.with_int(LowOp::And, word, 0xffff));
        let ((a_high, a_low), (b_high, b_low)) = (half(a), half(b));
        let low = self.word(LowOp::IMul, a_low, b_low);
        let low = self.with_int(LowOp::ShrU, low, 16);
        let one = self.word(LowOp::IMul, a_high, b_low);
        let one = self.word(LowOp::IAdd, one, low);
        let rest = self.with_int(LowOp::And, one, 0xffff);
        let other = self.word(LowOp::IMul, a_low, b_high);
        let other = self.word(LowOp::IAdd, other, rest);
        let high = self.word(LowOp::IMul, a_high, b_high);
        let (one, other) = (self.with_int(LowOp::ShrU, one, 16), self.with_int(LowOp::ShrU, other, 16));
        let high = self.word(LowOp::IAdd, high, one);
        self.word(LowOp::IAdd, high, other)
    }

    /// A shift; the amount is below 64.
    fn shift(&mut self, op: LowOp, value: Words, amount: Value) -> Words {
        let possible = self.possible_bits(amount);
        let moved = self.by_word(op, value);
        let value = match self.known(amount) {
            Some(amount) if amount & 32 != 0 => moved,
            Some(_) => value,
            None if possible & 32 == 0 => value,
            None => {
                let bit = self.with_int(LowOp::And, amount, 32);
                let zero = self.int(0);
                let is_far = self.bool(LowOp::Ne, &[bit, zero]);
                self.select_words(is_far, moved, value)
            }
        };
        let Words { low, high } = value;
        let amount = self.with_int(LowOp::And, amount, 31);
        if self.is(amount, 0) {
            return value;
        }
        // What one word hands to the other moves by 32 less the amount: in two steps, for a shift by 32 is undefined.
        let (from, back) = if op == LowOp::Shl { (low, LowOp::ShrU) } else { (high, LowOp::Shl) };
        let handed = match self.known(amount) {
            Some(amount) => self.with_int(back, from, 32 - amount),
            None => {
                let rest = self.with_int(LowOp::Xor, amount, 31);
                let once = self.with_int(back, from, 1);
                self.word(back, once, rest)
            }
        };
        let logical = if op == LowOp::Shl { LowOp::Shl } else { LowOp::ShrU };
        match op {
            LowOp::Shl => {
                let upper = self.word(logical, high, amount);
                Words { low: self.word(op, low, amount), high: self.word(LowOp::Or, upper, handed) }
            }
            _ => {
                let lower = self.word(logical, low, amount);
                Words { low: self.word(LowOp::Or, lower, handed), high: self.word(op, high, amount) }
            }
        }
    }

    /// A shift by 32.
    fn by_word(&mut self, op: LowOp, value: Words) -> Words {
        match op {
            LowOp::Shl => Words { low: self.int(0), high: value.low },
            LowOp::ShrS => Words { low: value.high, high: self.with_int(LowOp::ShrS, value.high, 31) },
            _ => Words { low: value.high, high: self.int(0) },
        }
    }

    fn equal(&mut self, op: LowOp, a: Words, b: Words) -> Value {
        if self.is(b.low, 0) && self.is(b.high, 0) {
            let any = self.word(LowOp::Or, a.low, a.high);
            return self.bool(op, &[any, b.low]);
        }
        let parts = [self.bool(op, &[a.low, b.low]), self.bool(op, &[a.high, b.high])];
        self.bool(if op == LowOp::Eq { LowOp::BAnd } else { LowOp::BOr }, &parts)
    }

    /// `a < b` by `strict` on the high words, and by `low` on the low words of equal high ones.
    fn less(&mut self, strict: LowOp, low: LowOp, a: Words, b: Words) -> Value {
        let both_short = self.is(a.high, 0) && self.is(b.high, 0);
        if both_short {
            return self.bool(low, &[a.low, b.low]);
        }
        let (never, always) = match low {
            LowOp::ULt => (self.is(b.low, 0) || self.is(a.low, u32::MAX), false),
            _ => (false, self.is(a.low, 0) || self.is(b.low, u32::MAX)),
        };
        if never {
            return self.bool(strict, &[a.high, b.high]);
        }
        if always {
            let or_equal = if strict == LowOp::ULt { LowOp::ULe } else { LowOp::SLe };
            return self.bool(or_equal, &[a.high, b.high]);
        }
        let below = self.bool(strict, &[a.high, b.high]);
        let (level, lower) = (self.bool(LowOp::Eq, &[a.high, b.high]), self.bool(low, &[a.low, b.low]));
        let decided = self.bool(LowOp::BAnd, &[level, lower]);
        self.bool(LowOp::BOr, &[below, decided])
    }
}

fn no_form(op: Op) -> Error {
    let of = Type::I64;
    Error::Internal(format!("`{op}` on {of:?} has no form in words"))
}
