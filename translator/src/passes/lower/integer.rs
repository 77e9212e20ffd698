//! Integer operators.

use super::Lowerer;
use crate::error::TrapKind;
use crate::ir::{LowOp, Type, Value, WasmOp};

impl Lowerer<'_> {
    /// An integer comparison as a `Bool`; `None` for other operators.
    pub(super) fn compare_integers(&mut self, op: WasmOp, args: &[Value]) -> Option<Value> {
        use WasmOp::*;
        let (low, swapped) = match op {
            I32Eqz | I64Eqz => return Some(self.test_int(LowOp::Eq, args[0], 0)),
            I32Eq | I64Eq => (LowOp::Eq, false),
            I32Ne | I64Ne => (LowOp::Ne, false),
            I32LtS | I64LtS => (LowOp::SLt, false),
            I32LtU | I64LtU => (LowOp::ULt, false),
            I32GtS | I64GtS => (LowOp::SLt, true),
            I32GtU | I64GtU => (LowOp::ULt, true),
            I32LeS | I64LeS => (LowOp::SLe, false),
            I32LeU | I64LeU => (LowOp::ULe, false),
            I32GeS | I64GeS => (LowOp::SLe, true),
            I32GeU | I64GeU => (LowOp::ULe, true),
            _ => return None,
        };
        Some(if swapped { self.bool(low, &[args[1], args[0]]) } else { self.bool(low, args) })
    }

    /// Every other integer operator that gives an integer; `None` for other operators.
    pub(super) fn integer(&mut self, op: WasmOp, args: &[Value]) -> Option<Value> {
        use WasmOp::*;
        Some(match op {
            I32Add | I64Add => self.same(LowOp::IAdd, args),
            I32Sub | I64Sub => self.same(LowOp::ISub, args),
            I32Mul | I64Mul => self.same(LowOp::IMul, args),
            I32And | I64And => self.same(LowOp::And, args),
            I32Or | I64Or => self.same(LowOp::Or, args),
            I32Xor | I64Xor => self.same(LowOp::Xor, args),
            I32DivS | I64DivS => self.divide(LowOp::SDiv, args[0], args[1]),
            I32DivU | I64DivU => self.divide(LowOp::UDiv, args[0], args[1]),
            I32RemS | I64RemS => self.divide(LowOp::SRem, args[0], args[1]),
            I32RemU | I64RemU => self.divide(LowOp::URem, args[0], args[1]),
            I32Shl | I64Shl => self.shift(LowOp::Shl, args[0], args[1]),
            I32ShrS | I64ShrS => self.shift(LowOp::ShrS, args[0], args[1]),
            I32ShrU | I64ShrU => self.shift(LowOp::ShrU, args[0], args[1]),
            I32Rotl | I64Rotl => self.rotate(LowOp::Shl, LowOp::ShrU, args[0], args[1]),
            I32Rotr | I64Rotr => self.rotate(LowOp::ShrU, LowOp::Shl, args[0], args[1]),
            I32Clz => self.leading_zeros(args[0]),
            I32Ctz => self.trailing_zeros(args[0]),
            I32Popcnt => self.same(LowOp::BitCount, args),
            I64Clz => {
                let (low, high) = self.halves(args[0]);
                self.count_halves(high, low, Self::leading_zeros)
            }
            I64Ctz => {
                let (low, high) = self.halves(args[0]);
                self.count_halves(low, high, Self::trailing_zeros)
            }
            I64Popcnt => {
                let (low, high) = self.halves(args[0]);
                let (low, high) = (self.same(LowOp::BitCount, &[low]), self.same(LowOp::BitCount, &[high]));
                let sum = self.same(LowOp::IAdd, &[low, high]);
                self.low(LowOp::ExtendU, &[sum], Type::I64)
            }
            I32Extend8S => self.sign_extend(args[0], 24),
            I32Extend16S => self.sign_extend(args[0], 16),
            I64Extend8S => self.sign_extend(args[0], 56),
            I64Extend16S => self.sign_extend(args[0], 48),
            I64Extend32S => self.sign_extend(args[0], 32),
            I32WrapI64 => self.low(LowOp::Wrap, args, Type::I32),
            I64ExtendI32S => self.low(LowOp::ExtendS, args, Type::I64),
            I64ExtendI32U => self.low(LowOp::ExtendU, args, Type::I64),
            _ => return None,
        })
    }

    /// Low and high half of an `I64`.
    pub(super) fn halves(&mut self, value: Value) -> (Value, Value) {
        (self.low(LowOp::Wrap, &[value], Type::I32), self.low(LowOp::High, &[value], Type::I32))
    }

    fn divide(&mut self, op: LowOp, a: Value, b: Value) -> Value {
        let ty = self.function.ty(a);
        let minus_one = if ty == Type::I64 { u64::MAX } else { u64::from(u32::MAX) };
        let known = self.known_int(b);
        if known.is_none_or(|b| b == 0) {
            let zero = self.test_int(LowOp::Eq, b, 0);
            self.trap_if(zero, TrapKind::DivideByZero);
        }
        let may_be_minus_one = known.is_none_or(|b| b == minus_one);
        match op {
            LowOp::SDiv if may_be_minus_one => {
                let least = self.test_int(LowOp::Eq, a, 1 << (ty.bits() - 1));
                let negates = self.test_int(LowOp::Eq, b, minus_one);
                let overflows = self.bool(LowOp::BAnd, &[least, negates]);
                self.trap_if(overflows, TrapKind::IntegerOverflow);
                self.same(op, &[a, b])
            }
            // The remainder by -1 is 0, as it is by 1; the least integer by -1 is undefined on devices.
            LowOp::SRem if may_be_minus_one => {
                let negates = self.test_int(LowOp::Eq, b, minus_one);
                let one = self.int(ty, 1);
                let divisor = self.select(negates, one, b);
                self.same(op, &[a, divisor])
            }
            _ => self.same(op, &[a, b]),
        }
    }

    fn shift(&mut self, op: LowOp, a: Value, amount: Value) -> Value {
        let mask = u64::from(self.function.ty(a).bits() - 1);
        match self.known_int(amount) {
            Some(amount) => self.shift_by(op, a, amount & mask),
            None => {
                let amount = self.op_with_int(LowOp::And, amount, mask);
                self.same(op, &[a, amount])
            }
        }
    }

    /// A shift by less than the size.
    pub(super) fn shift_by(&mut self, op: LowOp, a: Value, amount: u64) -> Value {
        if amount == 0 { a } else { self.op_with_int(op, a, amount) }
    }

    /// `(a forth n) | (a back (size - n))`; by 0, both halves are `a`.
    fn rotate(&mut self, forth: LowOp, back: LowOp, a: Value, amount: Value) -> Value {
        let ty = self.function.ty(a);
        let mask = u64::from(ty.bits() - 1);
        if let Some(amount) = self.known_int(amount) {
            let amount = amount & mask;
            if amount == 0 {
                return a;
            }
            let one = self.shift_by(forth, a, amount);
            let other = self.shift_by(back, a, u64::from(ty.bits()) - amount);
            return self.same(LowOp::Or, &[one, other]);
        }
        let zero = self.int(ty, 0);
        let rest = self.same(LowOp::ISub, &[zero, amount]);
        let (amount, rest) = (self.op_with_int(LowOp::And, amount, mask), self.op_with_int(LowOp::And, rest, mask));
        let (one, other) = (self.same(forth, &[a, amount]), self.same(back, &[a, rest]));
        self.same(LowOp::Or, &[one, other])
    }

    /// Of an `I32`: no bit set gives index -1, so 32.
    fn leading_zeros(&mut self, a: Value) -> Value {
        let highest = self.same(LowOp::FindMsb, &[a]);
        let top = self.int(Type::I32, 31);
        self.same(LowOp::ISub, &[top, highest])
    }

    /// Of an `I32`: no bit set gives index -1, which is the greatest unsigned.
    fn trailing_zeros(&mut self, a: Value) -> Value {
        let lowest = self.same(LowOp::FindLsb, &[a]);
        self.op_with_int(LowOp::UMin, lowest, 32)
    }

    /// The count of `first`, or 32 and the count of `second` where `first` is zero.
    fn count_halves(&mut self, first: Value, second: Value, count: fn(&mut Self, Value) -> Value) -> Value {
        let empty = self.test_int(LowOp::Eq, first, 0);
        let (of_first, of_second) = (count(self, first), count(self, second));
        let beyond = self.op_with_int(LowOp::IAdd, of_second, 32);
        let result = self.select(empty, beyond, of_first);
        self.low(LowOp::ExtendU, &[result], Type::I64)
    }

    /// Extends the sign of what is left after dropping the highest `dropped` bits.
    pub(super) fn sign_extend(&mut self, a: Value, dropped: u64) -> Value {
        let high = self.shift_by(LowOp::Shl, a, dropped);
        self.shift_by(LowOp::ShrS, high, dropped)
    }
}
