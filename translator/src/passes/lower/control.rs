//! Conditions: an `i32` that is only ever 0 or 1 is kept as a `Bool`, and made a number only where one is needed.

use super::Lowerer;
use crate::analysis::roots::is_comparison;
use crate::error::Result;
use crate::hash::HashSet;
use crate::ir::{Const, Function, LowOp, Op, RegionId, StmtKind, Value, WasmOp};

/// How values are used, as far as that decides what they become.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Values that are 0 or 1 and have a `Bool` form.
    conditions: HashSet<Value>,
    /// Values that are used as numbers.
    words: HashSet<Value>,
    /// Values that float arithmetic may reach: its operands, and all that is selected or leaves a region.
    arithmetic: HashSet<Value>,
}

impl Uses {
    /// Reads the uses off a function. Its regions are given with each region before those below it.
    pub(super) fn new(function: &Function, regions: &[RegionId], constants: &[Option<Const>]) -> Self {
        let mut uses = Uses::default();
        for id in regions {
            for stmt in &function.region(*id).stmts {
                let StmtKind::Op { op: Op::Wasm(op), args, result: Some(result) } = &stmt.kind else { continue };
                let joins = matches!(op, WasmOp::I32And | WasmOp::I32Or);
                if is_comparison(*op) || (joins && args.iter().all(|arg| uses.conditions.contains(arg))) {
                    uses.conditions.insert(*result);
                }
            }
        }
        for id in regions {
            let region = function.region(*id);
            region.stmts.iter().for_each(|stmt| uses.add(&stmt.kind, constants));
            uses.words.extend(region.exit.values());
            uses.arithmetic.extend(region.exit.values());
        }
        uses
    }

    fn add(&mut self, kind: &StmtKind, constants: &[Option<Const>]) {
        match kind {
            StmtKind::If { .. } => {}
            StmtKind::Op { op: Op::Select, args, .. } => {
                self.words.extend(&args[..2]);
                self.arithmetic.extend(&args[..2]);
            }
            StmtKind::Op { op: Op::Wasm(op), args, result } => {
                let stays_condition = match op {
                    WasmOp::I32Eqz => true,
                    WasmOp::I32Eq | WasmOp::I32Ne => is_zero(constants, args[1]),
                    WasmOp::I32And | WasmOp::I32Or => result.is_some_and(|r| self.conditions.contains(&r)),
                    _ => false,
                };
                if !stays_condition {
                    self.words.extend(args);
                }
                if is_arithmetic(*op) {
                    self.arithmetic.extend(args);
                }
            }
            StmtKind::Loop { inits, .. } => {
                self.words.extend(inits);
                self.arithmetic.extend(inits);
            }
            other => self.words.extend(other.args()),
        }
    }

    pub(super) fn is_condition(&self, value: Value) -> bool {
        self.conditions.contains(&value)
    }

    pub(super) fn reaches_arithmetic(&self, value: Value) -> bool {
        self.arithmetic.contains(&value)
    }
}

fn is_zero(constants: &[Option<Const>], value: Value) -> bool {
    matches!(constants.get(value.index()), Some(Some(Const::I32(0))))
}

fn is_arithmetic(op: WasmOp) -> bool {
    use WasmOp::*;
    matches!(op, F32Add | F32Sub | F32Mul | F32Div | F64Add | F64Sub | F64Mul | F64Div)
}

impl Lowerer<'_> {
    /// The `Bool` that says whether an `I32` is not zero.
    pub(super) fn condition(&mut self, value: Value) -> Value {
        match self.bools.get(&value) {
            Some(condition) => *condition,
            None => self.test_int(LowOp::Ne, value, 0),
        }
    }

    /// Lowers an operator whose result is 0 or 1.
    pub(super) fn define_condition(&mut self, op: WasmOp, args: &[Value], result: Value) -> Result<()> {
        let condition = match (op, self.bools.get(&args[0]).copied()) {
            (WasmOp::I32Eqz, Some(a)) => self.bool(LowOp::BNot, &[a]),
            (WasmOp::I32Eq, Some(a)) if self.known_int(args[1]) == Some(0) => self.bool(LowOp::BNot, &[a]),
            (WasmOp::I32Ne, Some(a)) if self.known_int(args[1]) == Some(0) => a,
            (WasmOp::I32And | WasmOp::I32Or, _) => {
                let (a, b) = (self.condition(args[0]), self.condition(args[1]));
                self.bool(if op == WasmOp::I32And { LowOp::BAnd } else { LowOp::BOr }, &[a, b])
            }
            _ => match self.compare_integers(op, args) {
                Some(condition) => condition,
                None => self.compare_floats(op, args)?,
            },
        };
        self.bools.insert(result, condition);
        if self.uses.words.contains(&result) {
            let (one, zero) = (self.constant(Const::I32(1)), self.constant(Const::I32(0)));
            let number = self.select(condition, one, zero);
            self.bools.insert(number, condition);
            self.alias.insert(result, number);
        }
        Ok(())
    }
}
