//! Checks that lines stay lines, and that what is taken to be the same for all is so.

use wasm_encoder::{Instruction, ValType};

use super::scalar;
use crate::analysis::roots::is_comparison;
use crate::ir::{Const, Value, WasmOp};
use crate::lanes::shapes::Shape;
use crate::lanes::vectors::Emitter;

impl Emitter<'_> {
    /// Leaves the group to the form for one invocation where a result is not what the analysis took it for. Gives whether it
    /// has set the result.
    pub(super) fn check(&mut self, op: WasmOp, args: &[Value], result: Value) -> bool {
        let shape = |at: usize| args.get(at).map_or(Shape::Uniform, |arg| self.shapes.of(*arg));
        let (a, b) = (shape(0), shape(1));
        let is_line = |shape| matches!(shape, Shape::Affine { .. });
        if !is_line(a) && !is_line(b) {
            return false;
        }
        let same = matches!((a, b), (Shape::Affine { stride: a, .. }, Shape::Affine { stride: b, .. }) if a == b);
        match op {
            WasmOp::I32Eq | WasmOp::I32Ne if same => {}
            WasmOp::I32Eqz if self.demand_no_zero(args[0]) => {
                self.code.i32(0);
                let local = self.local_of(result);
                self.code.set(local);
                return true;
            }
            _ if is_comparison(op) && self.compare_ends(op, args, result) => return true,
            _ if is_comparison(op) => {
                self.check_all_alike(|emitter, quad| emitter.compare(op, args, quad));
                // It is found: what holds for any.
                let any = any_of_check(self);
                self.code.get(any);
                self.code.emit(&Instruction::V128AnyTrue);
                let local = self.local_of(result);
                self.code.set(local);
                return true;
            }
            WasmOp::I32DivU | WasmOp::I32DivS | WasmOp::I32RemU | WasmOp::I32RemS => {
                let signed = matches!(op, WasmOp::I32DivS | WasmOp::I32RemS);
                self.divide(args, signed, matches!(op, WasmOp::I32DivU | WasmOp::I32DivS), result);
                return true;
            }
            // The low bits don't carry: what lies above is the same for all.
            WasmOp::I32ShrU if !a.is_multiple_of(self.lanes) => {
                let low = self.constant(args[1]).map_or(0, |amount| (1u32 << (amount % 32)) - 1);
                self.check_low_bits(args[0], low);
            }
            WasmOp::I32And => {
                let (line, mask) = if is_line(a) { (args[0], args[1]) } else { (args[1], args[0]) };
                match (self.shapes.of(line).is_multiple_of(self.lanes), self.constant(mask)) {
                    (true, Some(_)) => {}
                    (_, None) => self.check_mask(mask),
                    (false, Some(low)) => self.check_low_bits(line, low),
                }
            }
            _ => {}
        }
        false
    }

    pub(super) fn constant(&self, value: Value) -> Option<u32> {
        match self.shapes.constants[value.index()] {
            Some(Const::I32(constant)) => Some(constant),
            _ => None,
        }
    }

    /// Leaves the group to the form for one invocation where one of a line of stride 1 is zero. Gives whether it is such a line.
    pub fn demand_no_zero(&mut self, line: Value) -> bool {
        if !matches!(self.shapes.of(line), Shape::Affine { stride: 1, .. }) {
            return false;
        }
        self.code.i32(0);
        self.push_first(line);
        self.code.emit(&Instruction::I32Sub);
        self.code.i32(self.lanes - 1);
        self.code.emit(&Instruction::I32GtU);
        self.demand();
        true
    }

    /// A comparison of lines that rise, or of one with a number: it comes out the same for all if it does so for the first and the
    /// last, and no line wraps around in between. Gives whether it is one.
    fn compare_ends(&mut self, op: WasmOp, args: &[Value], result: Value) -> bool {
        use WasmOp as W;
        let &[a, b] = args else { return false };
        let last = self.lanes - 1;
        let rise = |shape: Shape| match shape {
            Shape::Flag | Shape::Uniform => Some(0),
            Shape::Affine { stride, .. } if stride < 1 << 16 => Some(stride * last),
            _ => None,
        };
        let (Some(x), Some(y)) = (rise(self.shapes.of(a)), rise(self.shapes.of(b))) else { return false };
        let local = self.local_of(result);
        if matches!(op, W::I32Eq | W::I32Ne) {
            // That it is equal for all can't be. It is for none where the number lies not among those of the line.
            if (x, y) != (last, 0) && (x, y) != (0, last) {
                return false;
            }
            let (line, number) = if y == 0 { (a, b) } else { (b, a) };
            self.push_first(number);
            self.push_first(line);
            self.code.emit(&Instruction::I32Sub);
            self.code.i32(last);
            self.code.emit(&Instruction::I32GtU);
            self.demand();
            self.code.i32(u32::from(op == W::I32Ne));
            self.code.set(local);
            return true;
        }
        let signed = matches!(op, W::I32LtS | W::I32GtS | W::I32LeS | W::I32GeS);
        let greatest = if signed { i32::MAX as u32 } else { u32::MAX };
        for (value, rise) in [(a, x), (b, y)].into_iter().filter(|(_, rise)| *rise > 0) {
            self.push_first(value);
            self.code.i32(greatest - rise);
            self.code.emit(if signed { &Instruction::I32LeS } else { &Instruction::I32LeU });
            self.demand();
        }
        self.push_first(a);
        self.push_first(b);
        self.code.emit_all(&[scalar(op), Instruction::LocalSet(local)]);
        if x != y {
            for (value, rise) in [(a, x), (b, y)] {
                self.push_first(value);
                self.code.i32(rise);
                self.code.emit(&Instruction::I32Add);
            }
            self.code.emit_all(&[scalar(op), Instruction::LocalGet(local), Instruction::I32Eq]);
            self.demand();
        }
        true
    }

    /// What is pushed for each four must hold for all or for none.
    pub fn check_all_alike(&mut self, mut push: impl FnMut(&mut Self, u32)) {
        let (all, any) = (self.scratch(ValType::V128, 0), any_of_check(self));
        for quad in 0..self.quads() {
            push(self, quad);
            if quad == 0 {
                self.code.emit(&Instruction::LocalTee(any));
                self.code.set(all);
                continue;
            }
            let one = self.scratch(ValType::V128, 2);
            self.code.emit_all(&[
                Instruction::LocalTee(one),
                Instruction::LocalGet(any),
                Instruction::V128Or,
                Instruction::LocalSet(any),
                Instruction::LocalGet(one),
                Instruction::LocalGet(all),
                Instruction::V128And,
                Instruction::LocalSet(all),
            ]);
        }
        self.code.emit_all(&[
            Instruction::LocalGet(any),
            Instruction::V128AnyTrue,
            Instruction::LocalGet(all),
            Instruction::I32x4AllTrue,
            Instruction::I32Eq,
        ]);
        self.demand();
    }

    /// Quotient or remainder, where all lie between the same two multiples of the divisor: what is left of the first is so much
    /// below it. None may wrap around, nor be negative. By zero it traps.
    fn divide(&mut self, args: &[Value], signed: bool, wants_quotient: bool, result: Value) {
        let more = self.lanes - 1;
        let (dividend, divisor) = (args[0], args[1]);
        if signed {
            // Both are at least 0: then they are numbers without sign below 2^31.
            self.push_first(dividend);
            self.push_first(divisor);
            self.code.emit(&Instruction::I32Or);
            self.code.i32(0);
            self.code.emit(&Instruction::I32GeS);
            self.demand();
        }
        self.push_first(dividend);
        self.code.i32(if signed { i32::MAX as u32 } else { u32::MAX } - more);
        self.code.emit(&Instruction::I32LeU);
        self.demand();
        let (quotient, left) = (self.scratch(ValType::I32, 0), self.scratch(ValType::I32, 1));
        self.push_first(dividend);
        self.push_first(divisor);
        self.code.emit_all(&[Instruction::I32DivU, Instruction::LocalSet(quotient)]);
        // The remainder is not asked for: the machine would divide again.
        self.push_first(dividend);
        self.code.get(quotient);
        self.push_first(divisor);
        self.code.emit_all(&[Instruction::I32Mul, Instruction::I32Sub, Instruction::LocalSet(left)]);
        self.push_first(divisor);
        self.code.get(left);
        self.code.emit(&Instruction::I32Sub);
        self.code.i32(more);
        self.code.emit(&Instruction::I32GtU);
        self.demand();
        self.code.get(if wants_quotient { quotient } else { left });
        let local = self.local_of(result);
        self.code.set(local);
    }

    /// The mask must keep the low bits, in which invocations differ: the first's are zeroes.
    fn check_mask(&mut self, mask: Value) {
        let low = self.lanes - 1;
        self.push_first(mask);
        self.code.i32(low);
        self.code.emit(&Instruction::I32And);
        self.code.i32(low);
        self.code.emit(&Instruction::I32Eq);
        self.demand();
    }

    /// Those low bits of the last must be so much more than those of the first.
    fn check_low_bits(&mut self, value: Value, low: u32) {
        self.push_first(value);
        self.code.i32(low);
        self.code.emit(&Instruction::I32And);
        self.code.i32(low - (self.lanes - 1));
        self.code.emit(&Instruction::I32LeU);
        self.demand();
    }
}

/// The local that holds, behind [`Emitter::check_all_alike`], what was found for any.
fn any_of_check(emitter: &mut Emitter<'_>) -> u32 {
    emitter.scratch(ValType::V128, 1)
}
