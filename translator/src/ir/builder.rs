//! Appends statements to a region of a function under construction.

use super::{Args, Const, Exit, Function, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::error::Location;

/// Builds one list of statements. Every statement gets the location set last.
#[derive(Debug, Default)]
pub struct ListBuilder {
    /// The statements so far.
    pub stmts: Vec<Stmt>,
    /// The place that new statements get.
    pub at: Location,
}

impl ListBuilder {
    /// An empty list whose statements stand at `at`.
    pub fn new(at: Location) -> Self {
        ListBuilder { stmts: Vec::new(), at }
    }

    /// Appends any statement.
    pub fn push(&mut self, kind: StmtKind) {
        self.stmts.push(Stmt { kind, at: self.at });
    }

    /// Appends an operator with a result of type `ty`.
    pub fn op(&mut self, function: &mut Function, op: Op, args: &[Value], ty: Type) -> Value {
        let result = function.new_value(ty);
        self.push(StmtKind::Op { op, args: Args::from_slice(args), result: Some(result) });
        result
    }

    /// Appends an operator without a result.
    pub fn effect(&mut self, op: Op, args: &[Value]) {
        self.push(StmtKind::Op { op, args: Args::from_slice(args), result: None });
    }

    /// Appends a constant.
    pub fn constant(&mut self, function: &mut Function, value: Const) -> Value {
        self.op(function, Op::Const(value), &[], value.ty())
    }

    /// Appends an `i32` constant.
    pub fn i32(&mut self, function: &mut Function, value: u32) -> Value {
        self.constant(function, Const::I32(value))
    }

    /// Appends a numeric operator of Wasm.
    pub fn wasm(&mut self, function: &mut Function, op: WasmOp, args: &[Value]) -> Value {
        self.op(function, Op::Wasm(op), args, op.result())
    }

    /// Appends a lowered operator with a result of type `ty`.
    pub fn low(&mut self, function: &mut Function, op: LowOp, args: &[Value], ty: Type) -> Value {
        self.op(function, Op::Low(op), args, ty)
    }

    /// Appends a branch to a region without results, where a condition holds.
    pub fn only_if(&mut self, function: &mut Function, cond: Value, then: RegionId) {
        let otherwise = ListBuilder::new(self.at).finish(function, Exit::Yield(Vec::new()));
        self.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    /// Appends a branch to an exit, where a condition holds.
    pub fn exit_if(&mut self, function: &mut Function, cond: Value, exit: Exit) {
        let then = ListBuilder::new(self.at).finish(function, exit);
        self.only_if(function, cond, then);
    }

    /// Ends the list: a region without parameters.
    pub fn finish(self, function: &mut Function, exit: Exit) -> RegionId {
        let exit_at = self.at;
        function.new_region(Region { params: Vec::new(), stmts: self.stmts, exit, exit_at })
    }
}
