//! Calls, direct and indirect, and those in tail position.

use super::{Lifter, type_of, unsupported_type};
use crate::blocks::Block;
use crate::error::{Error, Location, Result};
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Label, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};
use crate::libm::Recognition;
use crate::passes::apart::BAIL_OUT;

/// What a tail call of the function itself goes on with.
pub(super) struct Repeats {
    label: Label,
    /// The parameters of the loop's region: the function's own.
    params: Vec<Value>,
    /// What stands in front of the loop.
    before: Vec<Stmt>,
}

/// What a call names.
#[derive(Clone, Copy)]
pub(super) enum Callee {
    /// A function.
    Direct(u32),
    /// An entry of a table; the type index is what the function must have.
    Indirect { table: u32, ty: u32 },
}

impl Lifter<'_> {
    pub(super) fn call(&mut self, callee: Callee, at: Location) -> Result<()> {
        let (ty, entry) = match callee {
            Callee::Direct(function) => (self.module.function_type(function), 0),
            Callee::Indirect { ty, .. } => (self.module.type_at(ty), 1),
        };
        let ty = ty.ok_or_else(|| Error::Internal("a call names what is not there".into()))?;
        let args = self.pop_many(ty.params().len() + entry)?;
        if let Callee::Direct(function) = callee
            && let Some(Recognition { op, .. }) = self.known.libm.then(|| self.module.recognise(function)).flatten()
        {
            let here = std::mem::replace(&mut self.list.at, at);
            let result = self.list.op(&mut self.function, op, &args, Type::F32);
            self.list.at = here;
            self.stack.push(result);
            return Ok(());
        }
        if let Callee::Direct(function) = callee
            && let Some(block) = self.known.blocks.then(|| self.module.block(function)).flatten()
            && (block != Block::Copy || self.known.copies)
            && let [to, from, length] = args[..]
        {
            self.block(block, [to, from, length], at);
            self.stack.push(to);
            return Ok(());
        }
        let mut results = Vec::new();
        for result in ty.results() {
            let ty = type_of(*result).ok_or_else(|| unsupported_type(&self.function.name, *result, at))?;
            results.push(self.function.new_value(ty));
        }
        self.stack.extend(&results);
        let kind = match callee {
            Callee::Direct(callee) => StmtKind::Call { callee, args, results },
            Callee::Indirect { table, .. } => StmtKind::CallIndirect { table, args, results },
        };
        self.list.stmts.push(Stmt { kind, at });
        Ok(())
    }

    /// A call that fills, moves or copies a block of memory.
    fn block(&mut self, block: Block, operands: [Value; 3], at: Location) {
        let here = std::mem::replace(&mut self.list.at, at);
        match block {
            Block::Fill => self.list.effect(Op::MemoryFill, &operands),
            Block::Move => self.list.effect(Op::MemoryCopy, &operands),
            Block::Copy => {
                self.check_apart(operands, at);
                self.list.effect(Op::MemoryCopyApart, &operands);
            }
        }
        self.list.at = here;
    }

    /// Bails out where the destination lies within what is copied, behind its start.
    fn check_apart(&mut self, [to, from, length]: [Value; 3], at: Location) {
        let function = &mut self.function;
        let distance = self.list.wasm(function, WasmOp::I32Sub, &[to, from]);
        let near = self.list.wasm(function, WasmOp::I32LtU, &[distance, length]);
        let zero = self.list.i32(function, 0);
        let above = self.list.wasm(function, WasmOp::I32Ne, &[distance, zero]);
        let cond = self.list.wasm(function, WasmOp::I32And, &[near, above]);
        let then = ListBuilder::new(at).finish(function, BAIL_OUT);
        let otherwise = ListBuilder::new(at).finish(function, Exit::Yield(Vec::new()));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    /// Makes the body a loop over the parameters; the locals' zeroes stay in front of it.
    pub(super) fn begin_repeating(&mut self) {
        let params: Vec<Value> =
            self.function.params.clone().iter().map(|p| self.function.new_value(self.function.ty(*p))).collect();
        self.locals[..params.len()].copy_from_slice(&params);
        let label = self.function.new_label();
        let before = std::mem::take(&mut self.list.stmts);
        self.repeats = Some(Repeats { label, params, before });
    }

    /// Puts the loop around the body.
    pub(super) fn end_repeating(&mut self, body: RegionId) -> RegionId {
        let Some(Repeats { label, params, before }) = self.repeats.take() else { return body };
        self.function.region_mut(body).params = params;
        let mut list = ListBuilder::new(self.list.at);
        list.stmts = before;
        let results: Vec<Value> = self.function.results.clone().iter().map(|ty| self.function.new_value(*ty)).collect();
        let inits = self.function.params.clone();
        list.push(StmtKind::Loop { label, inits, body, results: results.clone() });
        list.finish(&mut self.function, Exit::Yield(results))
    }

    /// A tail call of the function itself is its loop's next iteration; any other is a call and a return.
    pub(super) fn tail_call(&mut self, callee: Callee) -> Result<()> {
        match (callee, &self.repeats) {
            (Callee::Direct(function), Some(Repeats { label, params, .. })) if function == self.function.index => {
                let (label, count) = (*label, params.len());
                let args = self.pop_many(count)?;
                self.leave(Exit::Continue(label, args))
            }
            _ => {
                self.call(callee, self.list.at)?;
                let exit = self.branch(self.frames.len() as u32 - 1)?;
                self.leave(exit)
            }
        }
    }
}
