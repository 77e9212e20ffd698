//! Exits of regions: branches where all take them, and what a divergent block or loop gathers where some do.

use wasm_encoder::Instruction;

use super::{Control, Divergent, Yields};
use crate::ir::{Exit, Label, Value};
use crate::lanes::vectors::Mask;

impl Control<'_> {
    pub(super) fn fill(&mut self, mask: Mask, with: i128) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.emit(&Instruction::V128Const(with));
            self.emitter.code.set(mask.first + quad);
        }
    }

    pub(super) fn copy(&mut self, from: Mask, to: Mask) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(from.first + quad);
            self.emitter.code.set(to.first + quad);
        }
    }

    /// Adds those of one mask to another.
    pub(super) fn add(&mut self, from: Mask, to: Mask) {
        for quad in 0..self.emitter.quads() {
            self.emitter.code.get(to.first + quad);
            self.emitter.code.get(from.first + quad);
            self.emitter.code.emit(&Instruction::V128Or);
            self.emitter.code.set(to.first + quad);
        }
    }

    pub(super) fn exit(&mut self, exit: &Exit, yields: &Yields<'_>) {
        if self.is_dead(exit.values()) {
            self.emitter.code.emit(&Instruction::Unreachable);
            return;
        }
        match exit {
            Exit::Yield(values) => match yields {
                Yields::Branch(results, keeps) => self.assign(values, results, *keeps),
                Yields::Construct => {
                    if let Some(label) = self.open.last().map(|construct| construct.label) {
                        self.leave(label, values, true);
                    }
                }
                Yields::Function => {}
            },
            Exit::Break(label, values) => self.leave(*label, values, false),
            Exit::Continue(label, values) => self.go_on(*label, values),
            Exit::Return(_) => match self.emitter.mask {
                Some(mask) if self.partings > 0 || self.is_divergent_from(0) => self.fill(mask, 0),
                _ => self.emitter.code.branch(self.end),
            },
            Exit::Trap(_) => self.emitter.code.emit(&Instruction::Unreachable),
        }
    }

    /// Whether one of the open blocks and loops is divergent, of this one and those in it.
    pub(super) fn is_divergent_from(&self, at: usize) -> bool {
        self.open[at..].iter().any(|construct| construct.divergent.is_some())
    }

    pub(super) fn construct(&self, label: Label) -> usize {
        self.open.iter().rposition(|construct| construct.label == label).unwrap_or(0)
    }

    /// Leaves a block or loop. `falls`: what follows is its end.
    pub(super) fn leave(&mut self, label: Label, values: &[Value], falls: bool) {
        let at = self.construct(label);
        let (results, divergent) = (self.open[at].results.clone(), self.open[at].divergent);
        match (divergent, self.emitter.mask) {
            (Some(divergent), Some(mask)) => {
                self.assign(values, &results, divergent.blends_results.then_some((mask, true)));
                self.add(mask, divergent.left);
                self.stop(at, mask, falls);
            }
            _ => {
                self.assign(values, &results, None);
                if !falls {
                    let end = self.open[at].end;
                    self.emitter.code.branch(end);
                }
            }
        }
    }

    /// Starts the next round of a loop.
    pub(super) fn go_on(&mut self, label: Label, values: &[Value]) {
        let at = self.construct(label);
        let (params, divergent) = (self.open[at].params.clone(), self.open[at].divergent);
        match (divergent, self.emitter.mask) {
            (Some(Divergent { next: Some(next), blends_params, .. }), Some(mask)) => {
                self.assign_to(values, &params, blends_params.then_some((mask, true)));
                self.add(mask, next);
                self.stop(at, mask, false);
            }
            _ => {
                self.assign_to(values, &params, None);
                if let Some(start) = self.open[at].start {
                    self.emitter.code.branch(start);
                }
            }
        }
    }

    /// Those that run here do so no more, before the end of a divergent construct. If none of the others in it can be anywhere
    /// else, all go to its end.
    pub(super) fn stop(&mut self, at: usize, mask: Mask, falls: bool) {
        if self.partings == self.open[at].partings && !self.is_divergent_from(at + 1) {
            if !falls {
                let end = self.open[at].end;
                self.emitter.code.branch(end);
            }
        } else {
            self.fill(mask, 0);
        }
    }

    /// Sets values to others, all at once. `keeps`: only for the invocations of this mask, or only for the others.
    pub(super) fn assign(&mut self, from: &[Value], to: &[Value], keeps: Option<(Mask, bool)>) {
        let to: Vec<(Value, u32)> = to.iter().map(|to| (*to, self.emitter.local_of(*to))).collect();
        self.assign_to(from, &to, keeps);
    }

    /// The same where the locals are others than the values' own.
    pub(super) fn assign_to(&mut self, from: &[Value], to: &[(Value, u32)], keeps: Option<(Mask, bool)>) {
        let emitter = &mut self.emitter;
        for (from, (to, first)) in from.iter().zip(to) {
            let keeps = keeps.filter(|_| emitter.shapes.of(*to).is_vector());
            for part in 0..emitter.parts(*to) {
                match keeps {
                    None => emitter.push_as(*from, *to, part),
                    Some((mask, which)) => {
                        if which {
                            emitter.push_as(*from, *to, part);
                            emitter.code.get(first + part);
                        } else {
                            emitter.code.get(first + part);
                            emitter.push_as(*from, *to, part);
                        }
                        emitter.push_mask_for(mask, *to, part);
                        emitter.code.emit(&Instruction::V128Bitselect);
                    }
                }
            }
        }
        for (to, first) in to.iter().take(from.len()).rev() {
            for part in (0..emitter.parts(*to)).rev() {
                emitter.code.set(first + part);
            }
        }
    }
}
