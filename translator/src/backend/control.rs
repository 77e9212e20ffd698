//! Regions to structured blocks.
//!
//! A kernel that ends in a loop inside another sets a variable and breaks out, loop by loop up to the outermost. A return
//! there would say the same, but Mesa 25 compiles some of those wrong: of invocations in lockstep, one that goes on with
//! the outer loop ends with another that returns.

use rspirv::spirv::{FunctionControl, LoopControl, Op, SelectionControl, StorageClass, Word};

use super::failure::is_failure;
use super::{Emitter, defect, spirv_name};
use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::{Const, Exit, RegionId, StmtKind, Type, Value};
use crate::options::{Profile, TrapSite};

/// What a function returns whose invocations are to be run one by one. Not the largest number, so that there is one more.
pub(super) const ONE_BY_ONE: u32 = u32::MAX >> 1;

/// Where a region's exits lead.
#[derive(Clone, Copy)]
struct Targets {
    /// Where `Yield` branches; `None`: it returns.
    after: Option<Word>,
    /// The innermost loop.
    innermost: Option<LoopBlocks>,
}

#[derive(Clone, Copy)]
struct LoopBlocks {
    merge: Word,
    /// The continue block.
    next: Word,
    /// Whether another loop is around it.
    is_nested: bool,
}

impl Emitter<'_> {
    /// The function that holds the body of the kernel, or that of four invocations at once.
    pub(super) fn emit_kernel(&mut self) -> Result<()> {
        let word = self.ty(Type::I32);
        let result = if self.has_outcome() { word } else { self.b.type_void() };
        let ty = self.b.type_function(result, [word]);
        self.b.begin_function(result, Some(self.kernel), FunctionControl::NONE, ty).map_err(defect)?;
        let name = if self.kernel == self.kernels[0] { "" } else { "_by_fours" };
        self.b.name(self.kernel, spirv_name(&self.function.name) + name);
        self.iteration = self.b.function_parameter(word).map_err(defect)?;
        self.b.begin_block(None).map_err(defect)?;
        let (usage, flow) = (self.usage, self.flow);
        for &var in &flow.vars {
            let ty = self.function.vars[var as usize];
            let ty_id = self.ty(ty);
            let pointer = self.pointer_ty(StorageClass::Function, ty_id);
            let zero = self.constant(Const::zero(ty));
            self.vars[var as usize] = self.b.variable(pointer, None, StorageClass::Function, Some(zero));
        }
        if !flow.left_inside.is_empty() {
            let pointer = self.pointer_ty(StorageClass::Function, word);
            let zero = self.u32_constant(0);
            self.ending = self.b.variable(pointer, None, StorageClass::Function, Some(zero));
        }
        let counter = if flow.stack_accesses > 0 { self.declare_stack() } else { None };
        for &immediate in &usage.immediates {
            let id = self.load_immediate(immediate)?;
            self.globals.loaded.insert(immediate, id);
        }
        if let Some(counter) = counter {
            self.clear_stack(counter)?;
        }
        self.emit_region(self.function.body, Targets { after: None, innermost: None })?;
        self.b.end_function().map_err(defect)
    }

    /// Emits a region into the current block and those it opens; every block is ended after it.
    fn emit_region(&mut self, id: RegionId, targets: Targets) -> Result<()> {
        let function = self.function;
        let region = function.region(id);
        if !region.stmts.is_empty() && is_failure(self.function, id) {
            let outcome = self.emit_failure(id)?;
            return self.emit_end(outcome, targets);
        }
        for (index, stmt) in region.stmts[..self.flow.reached_stmts(id)].iter().enumerate() {
            let gets_past = self.flow.gets_past(id, index);
            match &stmt.kind {
                StmtKind::Op { op, args, result } => self.emit_op(op, args, *result, stmt.at)?,
                StmtKind::If { cond, then, otherwise, .. } => {
                    self.emit_if(*cond, *then, *otherwise, targets.innermost)?;
                }
                StmtKind::Loop { body, .. } => {
                    self.emit_loop(*body, targets.innermost.is_some())?;
                    if self.flow.left_inside.contains(body) {
                        self.emit_ending(targets)?;
                    }
                }
                other => return Err(Error::Internal(format!("{other:?} reached the backend"))),
            }
            if !gets_past {
                return self.emit_unreachable();
            }
        }
        self.emit_exit(&region.exit, region.exit_at, targets)
    }

    /// Ends a block that control never enters.
    fn emit_unreachable(&mut self) -> Result<()> {
        match self.options.profile {
            Profile::Vulkan => self.b.unreachable().map_err(defect),
            // naga drops the instruction and then misses the return.
            Profile::Portable => self.emit_return(0),
        }
    }

    /// Ends the kernel; `outcome` is an id of 0 or the number of a trap site plus one.
    fn emit_end(&mut self, outcome: Word, targets: Targets) -> Result<()> {
        match targets.innermost {
            Some(nested) if nested.is_nested => {
                let (word, one) = (self.ty(Type::I32), self.u32_constant(1));
                let ending = self.inst(Op::IAdd, word, &[outcome, one])?;
                self.b.store(self.ending, ending, None, []).map_err(defect)?;
                self.b.branch(nested.merge).map_err(defect)
            }
            _ if self.has_outcome() => self.b.ret_value(outcome).map_err(defect),
            _ => self.b.ret().map_err(defect),
        }
    }

    /// Behind a loop inside another: goes on ending if the kernel ended there. Afterwards the block behind is open.
    fn emit_ending(&mut self, targets: Targets) -> Result<()> {
        let (word, truth) = (self.ty(Type::I32), self.b.type_bool());
        let (zero, one) = (self.u32_constant(0), self.u32_constant(1));
        let (left, stays) = (self.b.id(), self.b.id());
        let ending = self.inst(Op::Load, word, &[self.ending])?;
        let ends = self.inst(Op::INotEqual, truth, &[ending, zero])?;
        self.b.selection_merge(stays, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(ends, left, stays, []).map_err(defect)?;
        self.b.begin_block(Some(left)).map_err(defect)?;
        match targets.innermost {
            Some(nested) if nested.is_nested => self.b.branch(nested.merge).map_err(defect)?,
            _ => {
                let outcome = self.inst(Op::ISub, word, &[ending, one])?;
                self.emit_end(outcome, targets)?;
            }
        }
        self.b.begin_block(Some(stays)).map(drop).map_err(defect)
    }

    fn emit_exit(&mut self, exit: &Exit, at: Location, targets: Targets) -> Result<()> {
        let target = match exit {
            Exit::Yield(_) => targets.after,
            Exit::Break(..) => targets.innermost.map(|innermost| innermost.merge),
            Exit::Continue(..) => targets.innermost.map(|innermost| innermost.next),
            Exit::Return(_) => None,
            Exit::Trap(kind) => {
                let outcome = self.trap_outcome(at, *kind);
                return self.emit_end(outcome, targets);
            }
        };
        match target {
            Some(target) => self.b.branch(target).map_err(defect),
            None => {
                let outcome = self.u32_constant(0);
                self.emit_end(outcome, targets)
            }
        }
    }

    /// Leaves the kernel; `outcome` is 0 or the number of a trap site plus one.
    fn emit_return(&mut self, outcome: u32) -> Result<()> {
        if self.has_outcome() {
            let outcome = self.u32_constant(outcome);
            self.b.ret_value(outcome).map_err(defect)
        } else {
            self.b.ret().map_err(defect)
        }
    }

    /// What a function returns that ends in a trap.
    pub(super) fn trap_outcome(&mut self, at: Location, kind: TrapKind) -> Word {
        let outcome = match kind {
            TrapKind::OneByOne => ONE_BY_ONE,
            kind => self.trap_site(at, kind) + 1,
        };
        self.u32_constant(outcome)
    }

    pub(super) fn trap_site(&mut self, at: Location, kind: TrapKind) -> u32 {
        let site = TrapSite { at, kind };
        *self.site_numbers.entry(site).or_insert_with(|| {
            self.trap_sites.push(site);
            self.trap_sites.len() as u32 - 1
        })
    }

    /// Whether a region does nothing and yields.
    pub(super) fn is_empty(&self, id: RegionId) -> bool {
        let region = self.function.region(id);
        region.stmts.is_empty() && matches!(region.exit, Exit::Yield(_))
    }

    /// Afterwards the merge block is open.
    fn emit_if(
        &mut self,
        cond: Value,
        then: RegionId,
        otherwise: RegionId,
        innermost: Option<LoopBlocks>,
    ) -> Result<()> {
        let cond = self.value(cond)?;
        if self.is_empty(then) && self.is_empty(otherwise) {
            return Ok(());
        }
        let merge = self.b.id();
        let then_label = if self.is_empty(then) { merge } else { self.b.id() };
        let else_label = if self.is_empty(otherwise) { merge } else { self.b.id() };
        self.b.selection_merge(merge, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(cond, then_label, else_label, []).map_err(defect)?;
        for (label, region) in [(then_label, then), (else_label, otherwise)] {
            if label != merge {
                self.b.begin_block(Some(label)).map_err(defect)?;
                let loaded = self.loaded_quads.len();
                self.fresh_quads.clear();
                self.emit_region(region, Targets { after: Some(merge), innermost })?;
                self.forget_quads(loaded);
            }
        }
        self.fresh_quads.clear();
        self.b.begin_block(Some(merge)).map_err(defect)?;
        Ok(())
    }

    /// Afterwards the merge block is open.
    fn emit_loop(&mut self, body: RegionId, is_nested: bool) -> Result<()> {
        let (header, first, next, merge) = (self.b.id(), self.b.id(), self.b.id(), self.b.id());
        self.b.branch(header).map_err(defect)?;
        self.b.begin_block(Some(header)).map_err(defect)?;
        let keeps = self.options.features.unrolls_accesses && self.flow.large_loops.contains(&body);
        let control = if keeps { LoopControl::DONT_UNROLL } else { LoopControl::NONE };
        self.b.loop_merge(merge, next, control, []).map_err(defect)?;
        self.b.branch(first).map_err(defect)?;
        self.b.begin_block(Some(first)).map_err(defect)?;
        let loaded = self.loaded_quads.len();
        self.fresh_quads.clear();
        self.emit_region(body, Targets { after: None, innermost: Some(LoopBlocks { merge, next, is_nested }) })?;
        self.forget_quads(loaded);
        self.fresh_quads.clear();
        self.b.begin_block(Some(next)).map_err(defect)?;
        self.b.branch(header).map_err(defect)?;
        self.b.begin_block(Some(merge)).map_err(defect)?;
        Ok(())
    }
}
