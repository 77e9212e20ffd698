//! Branches where some invocations go one way, and some the other.

use wasm_encoder::Instruction;

use super::{Control, Yields};
use crate::ir::{Exit, RegionId, Value};
use crate::lanes::code::Place;
use crate::lanes::cost;
use crate::lanes::vectors::Mask;

impl Control<'_> {
    /// Some may go one way, some the other. Gives whether the end of the region was branched to where none are left.
    pub(super) fn parting(
        &mut self,
        cond: Value,
        then: RegionId,
        otherwise: RegionId,
        results: &[Value],
        end: Option<Place>,
    ) -> Result<bool, String> {
        let function = self.emitter.function;
        let before = self.emitter.mask;
        let is_empty = |region: RegionId| {
            let region = function.region(region);
            region.stmts.is_empty() && matches!(&region.exit, Exit::Yield(values) if values.is_empty())
        };
        let leaves = |region: RegionId| matches!(function.region(region).exit, Exit::Break(..) | Exit::Return(_));
        if let Some(before) = before {
            if is_empty(otherwise) && leaves(then) {
                self.some_leave(cond, true, then, before, end)?;
                return Ok(true);
            } else if is_empty(then) && leaves(otherwise) {
                self.some_leave(cond, false, otherwise, before, end)?;
                return Ok(true);
            }
        }
        let condition = self.emitter.new_mask();
        let (yes, no) = (self.emitter.new_mask(), self.emitter.new_mask());
        for quad in 0..self.emitter.quads() {
            self.emitter.push_condition(cond, quad);
            self.emitter.code.emit(&Instruction::LocalTee(condition.first + quad));
            if let Some(before) = before {
                self.emitter.code.get(before.first + quad);
                self.emitter.code.emit(&Instruction::V128And);
            }
            self.emitter.code.set(yes.first + quad);
            match before {
                Some(before) => {
                    self.emitter.code.get(before.first + quad);
                    self.emitter.code.get(condition.first + quad);
                    self.emitter.code.emit(&Instruction::V128AndNot);
                }
                None => {
                    self.emitter.code.get(condition.first + quad);
                    self.emitter.code.emit(&Instruction::V128Not);
                }
            }
            self.emitter.code.set(no.first + quad);
        }
        let comes_out = |region: RegionId| matches!(function.region(region).exit, Exit::Yield(_));
        let (first, second) = (comes_out(then), comes_out(otherwise));
        self.partings += 1;
        self.way(then, yes, &Yields::Branch(results, None))?;
        self.way(otherwise, no, &Yields::Branch(results, first.then_some((condition, false))))?;
        self.partings -= 1;
        self.emitter.mask = before;
        let loses = !first || !second || [then, otherwise].iter().any(|way| self.any_loses(*way));
        if let Some(before) = before.filter(|_| loses) {
            match (first, second) {
                (true, _) => self.copy(yes, before),
                (false, true) => self.copy(no, before),
                (false, false) => self.fill(before, 0),
            }
            if first && second {
                self.add(no, before);
            }
        }
        Ok(false)
    }

    /// Those for which a condition holds, or does not, leave; most often there are none.
    pub(super) fn some_leave(
        &mut self,
        cond: Value,
        which: bool,
        way: RegionId,
        before: Mask,
        end: Option<Place>,
    ) -> Result<(), String> {
        let leaving = self.emitter.new_mask();
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(before.first + quad);
            self.emitter.push_condition(cond, quad);
            self.emitter.code.emit(if which { &Instruction::V128And } else { &Instruction::V128AndNot });
            self.emitter.code.set(leaving.first + quad);
        }
        self.emitter.push_any(leaving);
        self.emitter.code.open_if();
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(before.first + quad);
            self.emitter.code.get(leaving.first + quad);
            self.emitter.code.emit(&Instruction::V128AndNot);
            self.emitter.code.set(before.first + quad);
        }
        self.emitter.mask = Some(leaving);
        self.partings += 1;
        self.region(way, &Yields::Function)?;
        self.partings -= 1;
        self.emitter.mask = Some(before);
        if let Some(end) = end {
            self.emitter.push_any(before);
            self.emitter.code.emit(&Instruction::I32Eqz);
            self.emitter.code.branch_if(end);
        }
        self.emitter.code.close();
        Ok(())
    }

    pub(super) fn any_loses(&self, region: RegionId) -> bool {
        let function = self.emitter.function;
        function.region(region).stmts.iter().any(|stmt| self.emitter.shapes.loses(&stmt.kind))
    }

    /// One way of a branch where invocations part.
    pub(super) fn way(&mut self, region: RegionId, mask: Mask, yields: &Yields<'_>) -> Result<(), String> {
        self.emitter.mask = Some(mask);
        if cost::runs_for_none(self.emitter.function, region) {
            return self.region(region, yields);
        }
        self.emitter.push_any(mask);
        self.emitter.code.open_if();
        self.region(region, yields)?;
        self.emitter.code.close();
        Ok(())
    }
}
