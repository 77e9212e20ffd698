//! The entry point: which invocations run, one by one or four at once, and what becomes of traps.

use rspirv::dr::Operand;
use rspirv::spirv::{
    Capability, ExecutionMode, ExecutionModel, FunctionControl, LoopControl, MemorySemantics, Op, Scope,
    SelectionControl, StorageClass, Word,
};

use super::control::ONE_BY_ONE;
use super::{Emitter, defect};
use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::Type;
use crate::options::immediate;
use crate::passes::coarsen::LANES;

impl Emitter<'_> {
    /// The entry point.
    pub(super) fn emit_main(&mut self) -> Result<()> {
        let void = self.b.type_void();
        let main_ty = self.b.type_function(void, []);
        let main = self.b.begin_function(void, None, FunctionControl::NONE, main_ty).map_err(defect)?;
        self.declare_entry_point(main);
        self.b.begin_block(None).map_err(defect)?;
        let word = self.ty(Type::I32);
        let variables = if self.is_coarse() { Some(self.declare_variables()) } else { None };
        let vector = self.words_ty(3);
        let ids = self.inst(Op::Load, vector, &[self.globals.invocation_id])?;
        let operands = vec![Operand::IdRef(ids), Operand::LiteralBit32(0)];
        let mut index = self.inst_of(Op::CompositeExtract, word, operands)?;
        if self.is_coarse() {
            let lanes = self.u32_constant(LANES);
            index = self.inst(Op::IMul, word, &[index, lanes])?;
        }
        let count = self.load_immediate(immediate::COUNT)?;
        let bool_ty = self.ty(Type::Bool);
        let runs = self.inst(Op::ULessThan, bool_ty, &[index, count])?;
        let (run, end) = (self.b.id(), self.b.id());
        self.b.selection_merge(end, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(runs, run, end, []).map_err(defect)?;

        self.b.begin_block(Some(run)).map_err(defect)?;
        let first = self.load_immediate(immediate::FIRST)?;
        let iteration = self.inst(Op::IAdd, word, &[first, index])?;
        match variables {
            None => self.run(0, iteration)?,
            Some(variables) => {
                let left = self.inst(Op::ISub, word, &[count, index])?;
                self.run_four(iteration, left, variables)?;
            }
        }
        self.b.branch(end).map_err(defect)?;

        self.b.begin_block(Some(end)).map_err(defect)?;
        self.access_outer_stacks(count)?;
        self.b.ret().map_err(defect)?;
        self.b.end_function().map_err(defect)
    }

    /// How four invocations ended, and the number of the one that runs by itself.
    fn declare_variables(&mut self) -> [Word; 2] {
        let (word, zero) = (self.ty(Type::I32), self.u32_constant(0));
        let pointer = self.pointer_ty(StorageClass::Function, word);
        [(); 2].map(|()| self.b.variable(pointer, None, StorageClass::Function, Some(zero)))
    }

    /// Runs one invocation, and records its trap.
    fn run(&mut self, function: usize, iteration: Word) -> Result<()> {
        let outcome = self.call(function, iteration)?;
        self.record_trap(outcome, iteration)
    }

    fn call(&mut self, function: usize, iteration: Word) -> Result<Word> {
        let ty = if self.has_outcome() { self.ty(Type::I32) } else { self.b.type_void() };
        self.b.function_call(ty, None, self.kernels[function], [iteration]).map_err(defect)
    }

    /// Runs four invocations at once, if so many are left, and one by one where that is not done or was given up.
    fn run_four(&mut self, iteration: Word, left: Word, [outcome, lane]: [Word; 2]) -> Result<()> {
        let (word, bool_ty) = (self.ty(Type::I32), self.ty(Type::Bool));
        let [lanes, one_by_one, zero, one] = [LANES, ONE_BY_ONE, 0, 1].map(|number| self.u32_constant(number));
        let enough = self.inst(Op::ULessThanEqual, bool_ty, &[lanes, left])?;
        let (at_once, tried, singly, ended, done) = (self.b.id(), self.b.id(), self.b.id(), self.b.id(), self.b.id());
        self.b.store(outcome, one_by_one, None, []).map_err(defect)?;
        self.b.selection_merge(tried, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(enough, at_once, tried, []).map_err(defect)?;

        self.b.begin_block(Some(at_once)).map_err(defect)?;
        let ends = self.call(1, iteration)?;
        self.b.store(outcome, ends, None, []).map_err(defect)?;
        self.b.branch(tried).map_err(defect)?;

        self.b.begin_block(Some(tried)).map_err(defect)?;
        let ends = self.inst(Op::Load, word, &[outcome])?;
        let is_parted = self.inst(Op::IEqual, bool_ty, &[ends, one_by_one])?;
        self.b.selection_merge(done, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(is_parted, singly, ended, []).map_err(defect)?;

        self.b.begin_block(Some(ended)).map_err(defect)?;
        self.record_trap(ends, iteration)?;
        self.b.branch(done).map_err(defect)?;

        self.b.begin_block(Some(singly)).map_err(defect)?;
        let (header, body, test, last, next, merge) =
            (self.b.id(), self.b.id(), self.b.id(), self.b.id(), self.b.id(), self.b.id());
        self.b.store(lane, zero, None, []).map_err(defect)?;
        self.b.branch(header).map_err(defect)?;
        self.b.begin_block(Some(header)).map_err(defect)?;
        self.b.loop_merge(merge, next, LoopControl::NONE, []).map_err(defect)?;
        self.b.branch(test).map_err(defect)?;

        self.b.begin_block(Some(test)).map_err(defect)?;
        let number = self.inst(Op::Load, word, &[lane])?;
        let [is_last, is_fourth] = [
            self.inst(Op::UGreaterThanEqual, bool_ty, &[number, left])?,
            self.inst(Op::UGreaterThanEqual, bool_ty, &[number, lanes])?,
        ];
        let ends = self.inst(Op::LogicalOr, bool_ty, &[is_last, is_fourth])?;
        self.b.selection_merge(body, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(ends, last, body, []).map_err(defect)?;
        self.b.begin_block(Some(last)).map_err(defect)?;
        self.b.branch(merge).map_err(defect)?;

        self.b.begin_block(Some(body)).map_err(defect)?;
        let following = self.inst(Op::IAdd, word, &[number, one])?;
        self.b.store(lane, following, None, []).map_err(defect)?;
        let own = self.inst(Op::IAdd, word, &[iteration, number])?;
        self.run(0, own)?;
        self.b.branch(next).map_err(defect)?;
        self.b.begin_block(Some(next)).map_err(defect)?;
        self.b.branch(header).map_err(defect)?;

        self.b.begin_block(Some(merge)).map_err(defect)?;
        self.b.branch(done).map_err(defect)?;
        self.b.begin_block(Some(done)).map(drop).map_err(defect)
    }

    /// Lowers the site's word of the trap record to the iteration id, if the kernel trapped.
    fn record_trap(&mut self, outcome: Word, iteration: Word) -> Result<()> {
        let Some(record) = self.globals.trap_record else { return Ok(()) };
        let (word, bool_ty) = (self.ty(Type::I32), self.ty(Type::Bool));
        let (zero, one) = (self.u32_constant(0), self.u32_constant(1));
        let trapped = self.inst(Op::INotEqual, bool_ty, &[outcome, zero])?;
        let (trap, done) = (self.b.id(), self.b.id());
        self.b.selection_merge(done, SelectionControl::NONE).map_err(defect)?;
        self.b.branch_conditional(trapped, trap, done, []).map_err(defect)?;

        self.b.begin_block(Some(trap)).map_err(defect)?;
        let site = self.inst(Op::ISub, word, &[outcome, one])?;
        let pointer = self.site_pointer(record, site)?;
        let scope = self.u32_constant(Scope::Device as u32);
        let semantics = self.u32_constant(MemorySemantics::RELAXED.bits());
        self.b.atomic_u_min(word, None, pointer, scope, semantics, iteration).map_err(defect)?;
        self.b.branch(done).map_err(defect)?;
        self.b.begin_block(Some(done)).map_err(defect)?;
        Ok(())
    }

    /// The word of a trap site in the launch's part of the record. A part has no binding of its own: lavapipe copies a set of
    /// bindings for each offset that it is bound with.
    fn site_pointer(&mut self, record: Word, site: Word) -> Result<Word> {
        let word = self.ty(Type::I32);
        let first = self.load_immediate(immediate::TRAPS)?;
        let index = self.inst(Op::IAdd, word, &[first, site])?;
        self.word_pointer(record, index)
    }

    /// Whether an invocation of a lower id has entered that it ran out of fuel at this place.
    pub(super) fn overtaken(&mut self, at: Location) -> Result<Word> {
        let record = self
            .globals
            .trap_record
            .ok_or_else(|| Error::Internal("a kernel without traps asks for the record".into()))?;
        let (word, bool_ty) = (self.ty(Type::I32), self.ty(Type::Bool));
        let site = self.trap_site(at, TrapKind::OutOfFuel);
        let site = self.u32_constant(site);
        let pointer = self.site_pointer(record, site)?;
        let scope = self.u32_constant(Scope::Device as u32);
        let semantics = self.u32_constant(MemorySemantics::RELAXED.bits());
        let lowest = self.b.atomic_load(word, None, pointer, scope, semantics).map_err(defect)?;
        self.inst(Op::ULessThan, bool_ty, &[lowest, self.iteration])
    }

    fn declare_entry_point(&mut self, main: Word) {
        self.b.entry_point(ExecutionModel::GLCompute, main, "main", [self.globals.invocation_id]);
        self.b.execution_mode(main, ExecutionMode::LocalSize, [self.options.workgroup_size, 1, 1]);
        if !self.declares_strict_floats() {
            return;
        }
        let f = &self.options.features;
        let (f32, f64) = (self.types.has(Type::F32), self.types.has(Type::F64));
        let modes = [
            (
                Capability::SignedZeroInfNanPreserve,
                ExecutionMode::SignedZeroInfNanPreserve,
                f.preserve_f32,
                f.preserve_f64,
            ),
            (Capability::DenormPreserve, ExecutionMode::DenormPreserve, f.denorm_preserve_f32, f.denorm_preserve_f64),
            (Capability::RoundingModeRTE, ExecutionMode::RoundingModeRTE, f.rounding_rte_f32, f.rounding_rte_f64),
        ];
        let mut declared = false;
        for (capability, mode, has_f32, has_f64) in modes {
            let widths = [(32, f32 && has_f32), (64, f64 && has_f64)];
            if widths.iter().any(|(_, on)| *on) {
                self.b.capability(capability);
                declared = true;
            }
            for (width, _) in widths.iter().filter(|(_, on)| *on) {
                self.b.execution_mode(main, mode, [*width]);
            }
        }
        if declared {
            self.b.extension("SPV_KHR_float_controls");
        }
    }
}
