//! Whether a group that was left in its midst may be run again, one invocation after the other.
//!
//! What it stored before is stored. The invocations come to the same trap if nothing that decides about traps was computed
//! from what the group may have stored: no address, condition, divisor, nor number that is truncated. If there may turn out to be
//! no trap, for fuel, nothing at all may be computed from it.

use std::collections::BTreeSet;

use super::shapes::{Shapes, Target};
use crate::analysis::dataflow::{self, Targets};
use crate::analysis::roots::{Root, Roots, roots};
use crate::ir::{Function, Op, RegionId, StmtKind, Value};
use crate::options::Shape;

/// Places in memory.
#[derive(Clone, Debug, Default)]
struct Places {
    buffers: BTreeSet<u32>,
    linear: bool,
    /// Any of them.
    unknown: bool,
}

impl Places {
    fn add(&mut self, address: Value, roots: &Roots, buffers: u32, is_lenient: bool) {
        match roots.root_of(address) {
            Root::Slot(slot) => _ = self.buffers.insert(slot),
            Root::Linear => self.linear = true,
            Root::Unreached => {}
            Root::Stack => self.unknown = true,
            // A buffer's address and numbers that were loaded: an index into that buffer. If it is none, a launch that should trap
            // fails in another way.
            Root::Among(set) if is_lenient && (0..buffers).filter(|slot| set.names_slot(*slot)).count() == 1 => {
                self.buffers.extend((0..buffers).filter(|slot| set.names_slot(*slot)));
            }
            Root::Among(set) => {
                self.unknown |= set.is_loaded() || set.has_stack();
                self.linear |= set.has_linear();
                self.buffers.extend((0..buffers).filter(|slot| set.has_slot(*slot)));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.buffers.is_empty() && !self.linear && !self.unknown
    }

    /// Pairs of buffers that must not be the same for these to be apart from others; `None` where they may not be.
    fn apart(&self, stored: &Places) -> Option<Vec<(u32, u32)>> {
        if self.is_empty() || stored.is_empty() {
            return Some(Vec::new());
        }
        if self.unknown || stored.unknown || self.linear && stored.linear {
            return None;
        }
        let pairs = self.buffers.iter().flat_map(|loaded| stored.buffers.iter().map(|stored| (*loaded, *stored)));
        let pairs: Vec<_> = pairs.collect();
        pairs.iter().all(|(loaded, stored)| loaded != stored).then_some(pairs)
    }
}

/// What is loaded and stored.
#[derive(Debug)]
pub struct Needs {
    stored: Places,
    /// What went into something that decides about traps.
    deciding: Places,
    loaded: Places,
}

impl Needs {
    /// Pairs of buffers that must not be the same for each invocation to come to the same trap again, or none; `None` where it
    /// may not.
    pub fn repeatable(&self) -> Option<Vec<(u32, u32)>> {
        self.deciding.apart(&self.stored)
    }

    /// Pairs of buffers that must not be the same for nothing to be stored to this one; `None` where something may be.
    pub fn unchanged(&self, buffer: u32) -> Option<Vec<(u32, u32)>> {
        Places { buffers: BTreeSet::from([buffer]), ..Places::default() }.apart(&self.stored)
    }

    /// Pairs of buffers that must not be the same.
    ///
    /// # Errors
    /// A sentence, where a group could not be run again.
    pub fn apart(&self, function: &Function, shapes: &Shapes, takes_fuel: bool) -> Result<Vec<(u32, u32)>, String> {
        let cause = "the group may have stored to before, so that it can't be run again";
        let deciding = self.deciding.apart(&self.stored);
        let deciding = deciding.ok_or_else(|| format!("Whether it traps depends on memory that {cause}."))?;
        let all_take_the_same = all_loop_alike(function, shapes, function.body, shapes.is_divergent(Target::End));
        // Where all go through the same loops, all take the same fuel: there is too little for each.
        if !takes_fuel || all_take_the_same {
            return Ok(deciding);
        }
        let loaded = self.loaded.apart(&self.stored);
        loaded.ok_or_else(|| format!("Its invocations take fuel of their own, and it loads from memory that {cause}."))
    }
}

/// Whether all invocations of a group go through the loops below a region together. `parted`: they may have parted before.
fn all_loop_alike(function: &Function, shapes: &Shapes, region: RegionId, parted: bool) -> bool {
    function.region(region).stmts.iter().all(|stmt| {
        let parts = match &stmt.kind {
            StmtKind::If { cond, then, .. } => shapes.parts(*cond, *then),
            StmtKind::Switch { index, .. } => !shapes.of(*index).is_uniform(),
            StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => shapes.is_divergent(Target::Label(*label)),
            _ => false,
        };
        let parted = parted || parts;
        let is_loop = matches!(stmt.kind, StmtKind::Loop { .. });
        !(is_loop && parted) && stmt.kind.each_region().all(|inner| all_loop_alike(function, shapes, inner, parted))
    })
}

/// Finds out what a kernel loads and stores; its buffers are distinct in `shape`.
pub fn needs(function: &Function, shape: &Shape, stack_pointer: Option<u32>) -> Needs {
    let roots = roots(function, shape, stack_pointer);
    let buffers = shape.slots();
    let mut needs = Needs { stored: Places::default(), deciding: Places::default(), loaded: Places::default() };
    let sources = sources(function);
    let mut todo: Vec<Value> = Vec::new();
    let mut loads = vec![None; function.values.len()];
    for id in dataflow::regions(function) {
        for stmt in &function.region(id).stmts {
            match &stmt.kind {
                StmtKind::Op { op, args, result } => {
                    if op.memory_access().is_some() {
                        todo.push(args[0]);
                        let places = if op.stores() { &mut needs.stored } else { &mut needs.loaded };
                        places.add(args[0], &roots, buffers, false);
                        if let Some(result) = result {
                            loads[result.index()] = Some(args[0]);
                        }
                        if matches!(op, Op::Atomic(..)) {
                            needs.loaded.add(args[0], &roots, buffers, false);
                        }
                    }
                    if matches!(op, Op::Wasm(op) if op.can_trap()) {
                        todo.extend(args.iter().copied());
                    }
                }
                StmtKind::If { cond, .. } => todo.push(*cond),
                StmtKind::Switch { index, .. } => todo.push(*index),
                _ => {}
            }
        }
    }
    let mut seen = vec![false; function.values.len()];
    while let Some(value) = todo.pop() {
        if std::mem::replace(&mut seen[value.index()], true) {
            continue;
        }
        if let Some(address) = loads[value.index()] {
            needs.deciding.add(address, &roots, buffers, true);
        }
        todo.extend(&sources[value.index()]);
    }
    needs
}

/// What each value is computed from, conditions aside.
fn sources(function: &Function) -> Vec<Vec<Value>> {
    let mut sources = vec![Vec::new(); function.values.len()];
    let targets = Targets::new(function);
    for id in dataflow::regions(function) {
        let region = function.region(id);
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Op { args, result: Some(result), .. } => sources[result.index()].extend(args.iter().copied()),
                StmtKind::Loop { inits, body, .. } => {
                    for (init, param) in inits.iter().zip(&function.region(*body).params) {
                        sources[param.index()].push(*init);
                    }
                }
                _ => {}
            }
        }
        for target in targets.of_exit(id) {
            for (from, to) in region.exit.values().iter().zip(target) {
                sources[to.index()].push(*from);
            }
        }
    }
    sources
}
