//! Code without branches: four invocations after four others.

use std::collections::BTreeMap;

use wasm_encoder::Instruction;

use super::Control;
use crate::ir::operator::MemoryAccess;
use crate::ir::{Op, Stmt, StmtKind, Value};
use crate::lanes::shapes::Shape;

/// Stores of two words beside each other, the lower one first.
pub(super) struct Pair<'s> {
    accesses: [&'s MemoryAccess; 2],
    address: Value,
    values: [Value; 2],
}

impl Control<'_> {
    /// Whether code for an operator is written for each four invocations.
    pub(super) fn is_by_fours(&self, op: &Op, args: &[Value], result: Option<Value>) -> bool {
        match op {
            Op::Store(_) => !self.emitter.shapes.of(args[0]).is_uniform(),
            Op::Wasm(_) | Op::Select | Op::Load(_) => {
                result.is_some_and(|result| self.emitter.shapes.of(result).is_vector())
            }
            _ => false,
        }
    }

    /// Behind what stands from a statement on that may be done for one four of invocations after the other: no branches, nor loads
    /// of what is the same for all behind a store.
    pub(super) fn straight(&self, stmts: &[Stmt], from: usize) -> usize {
        let mut stores = false;
        let mut goes_on = |stmt: &Stmt| {
            let StmtKind::Op { op, args, result } = &stmt.kind else { return false };
            if self.is_dead(args) {
                return false;
            }
            let by_fours = self.is_by_fours(op, args, *result);
            stores |= by_fours && op.stores();
            match op {
                Op::Const(_) | Op::GlobalGet(_) | Op::MemorySize | Op::Wasm(_) | Op::Select => true,
                Op::Load(_) => by_fours || !stores,
                Op::Store(_) => by_fours,
                _ => false,
            }
        };
        from + stmts[from..].iter().take_while(|stmt| goes_on(stmt)).count()
    }

    /// Straight code: what is no vector first, then the vectors of four invocations after those of four others, so that few
    /// are needed at a time. Invocations may run in any order.
    pub(super) fn by_fours(
        &mut self,
        stmts: &[Stmt],
        from: usize,
        pairs: &BTreeMap<usize, Option<Pair<'_>>>,
    ) -> Result<(), String> {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (at, stmt) in (from..).zip(stmts) {
            let StmtKind::Op { op, args, result } = &stmt.kind else { continue };
            let list = if self.is_by_fours(op, args, *result) { &mut second } else { &mut first };
            list.push((at, op, args, *result));
        }
        for (_, op, args, result) in first {
            self.operator(op, args, result)?;
        }
        for four in 0..self.emitter.quads() {
            self.emitter.fours = four..four + 1;
            for (at, op, args, result) in &second {
                match pairs.get(at) {
                    Some(None) => {}
                    Some(Some(pair)) => self.emitter.store_pairs(pair.accesses, pair.address, pair.values)?,
                    None => self.operator(op, args, *result)?,
                }
            }
        }
        self.emitter.fours = 0..self.emitter.quads();
        Ok(())
    }

    /// Stores that are made together, by the place of the last; `None` for the first of them. In between is nothing that could
    /// tell.
    pub(super) fn pairs<'s>(&self, stmts: &'s [Stmt]) -> BTreeMap<usize, Option<Pair<'s>>> {
        let store = |stmt: &'s Stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Store(access), args, .. } if access.bytes == 4 && access.ty.bits() == 32 => {
                Some((access, args[0], args[1]))
            }
            _ => None,
        };
        let mut pairs = BTreeMap::new();
        let mut first: Option<(usize, (&MemoryAccess, Value, Value))> = None;
        for (at, stmt) in stmts.iter().enumerate() {
            if let Some(this) = store(stmt) {
                let (access, address, value) = this;
                let beside = first
                    .filter(|(_, (other, known, _))| *known == address && other.offset.abs_diff(access.offset) == 4);
                let apart = matches!(self.emitter.shapes.of(address), Shape::Affine { stride: 8, .. });
                match beside {
                    Some((before, (other, _, earlier))) if apart => {
                        let (low, high) = ((other, earlier), (access, value));
                        let (low, high) = if other.offset < access.offset { (low, high) } else { (high, low) };
                        pairs.insert(before, None);
                        let pair = Pair { accesses: [low.0, high.0], address, values: [low.1, high.1] };
                        pairs.insert(at, Some(pair));
                        first = None;
                    }
                    _ => first = Some((at, this)),
                }
            } else if !matches!(&stmt.kind, StmtKind::Op { op, .. } if op.is_pure()) {
                first = None;
            }
        }
        pairs
    }

    pub(super) fn operator(&mut self, op: &Op, args: &[Value], result: Option<Value>) -> Result<(), String> {
        match (op, args, result) {
            (Op::Const(_), ..) => {}
            (Op::Wasm(op), _, Some(result)) => self.emitter.numeric(*op, args, result),
            (Op::Select, _, Some(result)) => self.emitter.select(args, result),
            (Op::Load(access), [address], Some(result)) => self.emitter.load(access, *address, result)?,
            (Op::Store(access), [address, value], _) => self.emitter.store(access, *address, *value)?,
            (Op::Atomic(op, access), ..) => self.emitter.atomic(*op, access, args, result)?,
            (Op::MemorySize, _, Some(result)) => self.global(self.emitter.host.pages, result),
            (Op::GlobalGet(global), _, Some(result)) => {
                let global = (self.emitter.host.global)(*global).ok_or("It keeps something on the stack.")?;
                self.global(global, result);
            }
            _ => return Err(format!("It has the operator {op:?}.")),
        }
        Ok(())
    }

    pub(super) fn global(&mut self, global: u32, result: Value) {
        let local = self.emitter.local_of(result);
        self.emitter.code.emit(&Instruction::GlobalGet(global));
        self.emitter.code.set(local);
    }
}
