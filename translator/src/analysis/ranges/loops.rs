//! What the iterations of a loop do to its parameters.

use super::interval::{MAX, MIN, Range};
use super::linear::Linear;
use super::{MAX_WALKS, Walker};
use crate::ir::{Const, Label, Op, RegionId, Type, Value, WasmOp};

impl Walker<'_> {
    /// The ranges of a loop's parameters, given sound ones: those that move in steps, in as many as another one leaves.
    pub(super) fn by_iterations(
        &self,
        label: Label,
        params: &[Value],
        inits: &[Value],
        current: &[Option<Range>],
    ) -> Vec<Option<Range>> {
        let steps: Vec<Option<(i64, i64)>> =
            (0..params.len()).map(|number| self.steps(label, params[number], number)).collect();
        let continues = steps.iter().zip(current).filter_map(|(steps, range)| {
            let ((least, greatest), range) = ((*steps)?, (*range)?);
            let smallest = if least > 0 { least } else { -greatest };
            (range.is_bounded() && smallest > 0).then(|| (range.high - range.low) / smallest)
        });
        let Some(continues) = continues.min() else { return current.to_vec() };
        let refine = |number: usize| {
            let (range, init) = (current[number]?, self.get(inits[number])?);
            let Some((least, greatest)) = steps[number].filter(|_| range.stack == init.stack) else {
                return Some(range);
            };
            let low = range.low.max(init.low + (continues * least).min(0));
            let high = range.high.min(init.high + (continues * greatest).max(0));
            Some(if low <= high { Range { low, high, ..range } } else { range })
        };
        (0..params.len()).map(refine).collect()
    }

    /// The least and the greatest number that iterations add to a loop's parameter; `None` if one does something else.
    fn steps(&self, label: Label, param: Value, number: usize) -> Option<(i64, i64)> {
        let steps = self.each_step(label, param, number)?;
        Some((*steps.iter().min()?, *steps.iter().max()?))
    }

    /// What each way to the next iteration adds to a loop's parameter; `None` if one does something else.
    fn each_step(&self, label: Label, param: Value, number: usize) -> Option<Vec<i64>> {
        let step = |region: &RegionId| {
            let value = self.function.region(*region).exit.values()[number];
            match self.defs[value.index()] {
                _ if value == param => Some(0),
                Some((Op::Wasm(WasmOp::I32Add), [a, b])) if *a == param => self.constant(*b),
                Some((Op::Wasm(WasmOp::I32Add), [a, b])) if *b == param => self.constant(*a),
                Some((Op::Wasm(WasmOp::I32Sub), [a, b])) if *a == param => self.constant(*b).map(|step| -step),
                _ => None,
            }
        };
        self.continues.get(&label)?.iter().map(step).collect()
    }

    /// Parameters that go on in lockstep with another, by the same number or a multiple, are sums with that one.
    pub(super) fn find_lockstep(&mut self, label: Label, params: &[Value], inits: &[Value]) {
        let steps: Vec<Option<Vec<i64>>> = params
            .iter()
            .enumerate()
            .map(|(number, param)| self.each_step(label, *param, number).filter(|_| self.is_i32(*param)))
            .collect();
        params.iter().for_each(|param| self.linears[param.index()] = None);
        let smallest = |steps: &[i64]| steps.iter().map(|step| step.abs()).min().filter(|least| *least > 0);
        // Of those that take the smallest steps one that is compared leads, for that is the one with bounds.
        let lead = |number: usize| {
            let is_free = !self.is_compared_in(label, params[number], number);
            Some((smallest(steps[number].as_ref()?)?, is_free, number))
        };
        let Some((_, _, leader)) = (0..params.len()).filter_map(lead).min() else { return };
        let Some(lead) = steps[leader].clone() else { return };
        for (number, param) in params.iter().enumerate() {
            let Some(own) = steps[number].as_ref().filter(|_| number != leader) else { continue };
            let times = own[0] / lead[0];
            if own.iter().zip(&lead).any(|(own, lead)| *own != times * lead) {
                continue;
            }
            let start = self.linear(inits[number]).plus(&self.linear(inits[leader]), -times);
            self.linears[param.index()] = start.and_then(|start| start.plus(&Linear::of(params[leader]), times));
        }
    }

    /// Whether a loop's parameter, or what becomes of it, is compared with something.
    fn is_compared_in(&self, label: Label, param: Value, number: usize) -> bool {
        let ways = self.continues.get(&label).into_iter().flatten();
        let next = ways.map(|region| self.function.region(*region).exit.values()[number]);
        next.chain([param]).any(|value| self.compared[value.index()])
    }

    fn is_i32(&self, value: Value) -> bool {
        self.function.ty(value) == Type::I32
    }

    pub(super) fn constant(&self, value: Value) -> Option<i64> {
        match self.defs[value.index()] {
            Some((Op::Const(Const::I32(number)), _)) => Some(i64::from(*number as i32)),
            _ => None,
        }
    }

    /// An end that moved goes on to the next constant, later to the last.
    pub(super) fn widened(&self, old: Range, new: Range, walk: u32) -> Range {
        if old.stack != new.stack {
            return Range::ANY;
        }
        let (mut low, mut high) = (new.low, new.high);
        if new.low < old.low {
            let below = self.thresholds.partition_point(|threshold| *threshold <= new.low).checked_sub(1);
            low = below.filter(|_| walk < MAX_WALKS).map_or(MIN, |at| self.thresholds[at]);
        }
        if new.high > old.high {
            let above = self.thresholds.partition_point(|threshold| *threshold < new.high);
            high = self.thresholds.get(above).copied().filter(|_| walk < MAX_WALKS).unwrap_or(MAX);
        }
        Range { stack: old.stack, low: low.max(MIN), high: high.min(MAX), clear: old.clear & new.clear }
    }
}
