//! Merges the checks of a straight run of code into one branch.
//!
//! Lowering puts a branch in front of each access. Where nothing between two checks has an effect but stores, which nobody
//! sees if the invocation traps, the later one may be decided with the earlier: its condition is computed before, one branch
//! tests whether any holds, and only behind that branch is it found which was the first. The invocation traps at the same
//! operator as before. A check that another implies, as those of a structure's members but the last, costs the branch nothing.
//!
//! Branches to one place, as `a || b || c` makes them, are merged in the same way: where they lead is the same. A check
//! behind such a branch is made in front of it, for the invocations that do not take it, so that it goes with the checks
//! there; and so is a check in the arm of a branch. Machines that run invocations in lockstep pay for every branch,
//! taken or not, and for a way out of an arm more than for one beside it.

mod blocks;
mod leaving;
mod run;

use crate::analysis::dataflow;
use crate::analysis::offsets::Offsets;
use crate::error::Location;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Value};
use leaving::Quiet;
use run::Run;

/// Merges the checks of lowered code.
pub fn merge_checks(function: &mut Function) {
    let mut pass = Merger::new(function);
    let body = pass.function.body;
    pass.region(body, Some(Exit::Return(Vec::new())));
    pass.rename();
}

/// The index of four words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Quad {
    Constant(u32),
    Value(Value),
}

struct Merger<'f> {
    function: &'f mut Function,
    known: Offsets,
    /// The labels around.
    open: Vec<Label>,
    /// Those of them to which a break leaves a loop.
    outside: HashSet<Label>,
    /// Number of breaks to each label.
    breaks: HashMap<Label, u32>,
    seen: HashSet<RegionId>,
    /// Regions that end in a trap whatever happens, made by this pass, with the values that they use.
    failures: HashMap<RegionId, Vec<Value>>,
    /// What is known of the regions that are done.
    quiet: HashMap<RegionId, Quiet>,
    /// What results of blocks that are no more are called.
    subst: HashMap<Value, Value>,
    /// Statements that may still be moved between lists; keeps the pass linear.
    budget: usize,
    /// How deep regions made by this pass nest.
    nested: usize,
}

impl<'f> Merger<'f> {
    fn new(function: &'f mut Function) -> Self {
        let known = Offsets::new(function);
        let mut breaks = HashMap::new();
        for id in dataflow::regions(function) {
            if let Exit::Break(label, _) = &function.region(id).exit {
                *breaks.entry(*label).or_default() += 1;
            }
        }
        let budget = 1024 + 16 * function.stmt_count();
        Merger {
            function,
            known,
            open: Vec::new(),
            outside: HashSet::new(),
            breaks,
            seen: HashSet::new(),
            failures: HashMap::new(),
            quiet: HashMap::new(),
            subst: HashMap::new(),
            budget,
            nested: 0,
        }
    }

    /// Does a region and those below it. `end`: the exit that means the same as the region's yield, if there is one,
    /// without its values.
    fn region(&mut self, id: RegionId, end: Option<Exit>) {
        if !self.seen.insert(id) {
            return;
        }
        let nested: Vec<Below> = self.function.region(id).stmts.iter().flat_map(below).collect();
        for Below { region, end, label, is_loop } in nested {
            self.open.extend(label);
            // A break to any of these leaves the loop.
            let around = self.open.iter().filter(|_| is_loop);
            let entered: Vec<Label> = around.copied().filter(|label| self.outside.insert(*label)).collect();
            self.region(region, end);
            entered.iter().for_each(|label| _ = self.outside.remove(label));
            if label.is_some() {
                self.open.pop();
            }
        }
        self.finish(id, end);
    }

    /// Does a region whose nested ones are done.
    fn finish(&mut self, id: RegionId, end: Option<Exit>) {
        if let Some(Exit::Break(label, _)) = &end {
            self.break_at_end(id, *label);
        }
        self.open(id, end);
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        let stmts = self.merge_list(stmts);
        self.function.region_mut(id).stmts = stmts;
        let quiet = self.quiet_region(id);
        self.quiet.insert(id, quiet);
    }

    fn merge_list(&mut self, stmts: Vec<Stmt>) -> Vec<Stmt> {
        let mut out = Vec::with_capacity(stmts.len());
        let mut run = Run::default();
        let mut loaded = HashSet::new();
        for mut stmt in stmts {
            stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.name(*arg));
            if let Some(found) = self.leaving(&stmt) {
                if !run.takes(self, &found) {
                    self.flush(&mut run, &mut loaded, &mut out);
                }
                run.push_leaving(self, found);
                continue;
            }
            if run.is_empty() {
                loaded.extend(self.quad(&stmt));
                out.push(stmt);
                continue;
            }
            if is_store(&stmt) {
                match run.push_store(stmt) {
                    Ok(()) => continue,
                    Err(back) => stmt = back,
                }
            }
            let quiet = self.is_quiet(&stmt);
            let is_loaded = !run.has_stored() && self.quad(&stmt).is_some_and(|quad| loaded.contains(&quad));
            let movable = is_loaded || may_move(&stmt);
            run.push(stmt, movable);
            if !quiet {
                self.flush(&mut run, &mut loaded, &mut out);
            }
        }
        self.flush(&mut run, &mut loaded, &mut out);
        out
    }

    fn flush(&mut self, run: &mut Run, loaded: &mut HashSet<(u32, Quad)>, out: &mut Vec<Stmt>) {
        let from = out.len();
        std::mem::take(run).emit(self, out);
        loaded.extend(out[from..].iter().filter_map(|stmt| self.quad(stmt)));
    }

    /// The four words that a load of a lane takes one of. Once one of them was loaded the others may be, checked or not:
    /// buffers are padded to four words.
    fn quad(&self, stmt: &Stmt) -> Option<(u32, Quad)> {
        let StmtKind::Op { op: Op::Low(LowOp::LoadLane { slot, .. }), args, .. } = &stmt.kind else { return None };
        let known = self.known.constant(args[0]).map(Quad::Constant);
        Some((*slot, known.unwrap_or(Quad::Value(args[0]))))
    }

    /// What a value is called now: it may be the result of a block that was opened.
    fn name(&self, value: Value) -> Value {
        let mut value = value;
        while let Some(name) = self.subst.get(&value) {
            value = *name;
        }
        value
    }

    /// Calls all values what they are called now, where they are used.
    fn rename(&mut self) {
        if self.subst.is_empty() {
            return;
        }
        for id in dataflow::regions(self.function) {
            let mut region = std::mem::replace(self.function.region_mut(id), empty());
            let args = region.stmts.iter_mut().flat_map(|stmt| stmt.kind.args_mut());
            args.chain(region.exit.values_mut()).for_each(|value| *value = self.name(*value));
            *self.function.region_mut(id) = region;
        }
    }
}

fn empty() -> Region {
    Region { params: Vec::new(), stmts: Vec::new(), exit: Exit::Yield(Vec::new()), exit_at: Location::default() }
}

/// A region of a statement.
struct Below {
    region: RegionId,
    /// The exit that its yield stands for.
    end: Option<Exit>,
    label: Option<Label>,
    is_loop: bool,
}

fn below(stmt: &Stmt) -> Vec<Below> {
    let label = match &stmt.kind {
        StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => Some(*label),
        _ => None,
    };
    let is_loop = matches!(stmt.kind, StmtKind::Loop { .. });
    let end = label.map(|label| Exit::Break(label, Vec::new()));
    stmt.kind.regions().into_iter().map(|region| Below { region, end: end.clone(), label, is_loop }).collect()
}

/// Whether a statement stores words or parts of them, and orders nothing: in buffers, or in the stack, which nobody else has.
fn is_store(stmt: &Stmt) -> bool {
    let StmtKind::Op { op: Op::Low(op), .. } = &stmt.kind else { return false };
    use LowOp::*;
    matches!(op, StoreWord { .. } | StorePair { .. } | StoreQuad { .. } | StorePart { .. } | StoreStack)
}

/// Whether a statement may run though a check in front of it fails: it must have a result for all operands, and depend
/// on them alone.
fn may_move(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Op { op: Op::Const(_), .. } => true,
        StmtKind::Op { op: Op::Low(op), .. } => {
            let partial = matches!(op, LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem);
            !(partial || op.has_effect() || op.reads_state())
        }
        _ => false,
    }
}
