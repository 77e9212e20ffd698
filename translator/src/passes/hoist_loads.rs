//! Loads that both ways of a branch begin with are done once, in front of it.
//!
//! Machines that run invocations in lockstep often go both ways; a load costs them more than the branch. The checks of
//! such a load stand in front of the branch already, where [`merge_checks`](super::merge_checks) has put them: a way is
//! only looked at as far as nothing in it can trap, leave, or have an effect.

use crate::analysis::dataflow;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Exit, Function, LowOp, Op, RegionId, Stmt, StmtKind, Value};

/// Most statements of a way that are looked at.
const MAX_LOOKED_AT: usize = 64;

/// Hoists the common loads of lowered code.
pub fn hoist_loads(function: &mut Function) {
    let mut same = HashMap::new();
    let regions = dataflow::regions(function);
    // Those below first, so that what leaves a branch may leave the one around it, too.
    for id in regions.into_iter().rev() {
        let stmts = std::mem::take(&mut function.region_mut(id).stmts);
        let mut stmts: Vec<Stmt> = stmts.into_iter().rev().collect();
        let mut out = Vec::with_capacity(stmts.len());
        while let Some(stmt) = stmts.pop() {
            if let StmtKind::If { then, otherwise, .. } = stmt.kind {
                hoist(function, [then, otherwise], &mut stmts, &mut out, &mut same);
            }
            out.push(stmt);
        }
        function.region_mut(id).stmts = out;
    }
    rename(function, &same);
}

/// Hoists from the ways of one branch to `out`. Where one way does not come back, what stands behind the branch is the
/// other's: `rest`, in reverse.
fn hoist(
    function: &mut Function,
    [then, otherwise]: [RegionId; 2],
    rest: &mut Vec<Stmt>,
    out: &mut Vec<Stmt>,
    same: &mut HashMap<Value, Value>,
) {
    let empty = |id: RegionId| function.region(id).stmts.is_empty();
    let leaves = |id: RegionId| !matches!(function.region(id).exit, Exit::Yield(_));
    let (one, other) = match (empty(then), empty(otherwise)) {
        (false, false) => (then, Some(otherwise)),
        (false, true) if leaves(then) && !leaves(otherwise) => (then, None),
        (true, false) if leaves(otherwise) && !leaves(then) => (otherwise, None),
        _ => return,
    };
    let mut ways = Ways::default();
    function.region(one).stmts.iter().take(MAX_LOOKED_AT).map_while(computes).for_each(|parts| ways.first(parts));
    match other {
        Some(other) => {
            function.region(other).stmts.iter().take(MAX_LOOKED_AT).map_while(computes).for_each(|p| ways.second(p));
        }
        None => rest.iter().rev().take(MAX_LOOKED_AT).map_while(computes).for_each(|parts| ways.second(parts)),
    }
    let (moved, dropped) = ways.chosen();
    if moved.is_empty() {
        return;
    }
    let defines = |stmt: &Stmt, set: &HashSet<Value>| stmt.kind.results().iter().any(|result| set.contains(result));
    let stmts = std::mem::take(&mut function.region_mut(one).stmts);
    let (hoisted, stays): (Vec<Stmt>, Vec<Stmt>) = stmts.into_iter().partition(|stmt| defines(stmt, &moved));
    out.extend(hoisted);
    function.region_mut(one).stmts = stays;
    let other = other.map_or(rest, |other| &mut function.region_mut(other).stmts);
    other.retain(|stmt| !defines(stmt, &dropped));
    same.extend(dropped.iter().map(|value| (*value, ways.names[value])));
}

/// An operator that does nothing but give a value.
type Parts<'s> = (&'s Op, &'s [Value], Value);

fn computes(stmt: &Stmt) -> Option<Parts<'_>> {
    match &stmt.kind {
        StmtKind::Op { op, args, result: Some(result) } if op.is_pure() => Some((op, args, *result)),
        _ => None,
    }
}

/// What two ways compute.
#[derive(Default)]
struct Ways {
    /// The first way's values, by how they are computed.
    values: HashMap<(Op, Vec<Value>), Value>,
    /// What the first way's values are computed from.
    args: HashMap<Value, Vec<Value>>,
    /// Values of the second way that are the first's as well, and what they are called there.
    names: HashMap<Value, Value>,
    /// Loads among them.
    loads: Vec<Value>,
}

impl Ways {
    fn first(&mut self, (op, args, result): Parts) {
        self.values.entry((*op, args.to_vec())).or_insert(result);
        self.args.insert(result, args.to_vec());
    }

    fn second(&mut self, (op, args, result): Parts) {
        let args = args.iter().map(|arg| self.names.get(arg).copied().unwrap_or(*arg)).collect();
        let Some(name) = self.values.get(&(*op, args)) else { return };
        self.names.insert(result, *name);
        if matches!(op, Op::Low(LowOp::LoadWord { .. } | LowOp::LoadLane { .. })) {
            self.loads.push(*name);
        }
    }

    /// The values of the first way that move in front of the branch, and those of the second that go.
    fn chosen(&self) -> (HashSet<Value>, HashSet<Value>) {
        let mut moved = HashSet::new();
        let mut todo = self.loads.clone();
        while let Some(value) = todo.pop() {
            if let Some(args) = self.args.get(&value)
                && moved.insert(value)
            {
                todo.extend(args);
            }
        }
        let dropped = self.names.iter().filter(|(_, name)| moved.contains(name)).map(|(value, _)| *value).collect();
        (moved, dropped)
    }
}

/// Calls values what they are called now, where they are used.
fn rename(function: &mut Function, same: &HashMap<Value, Value>) {
    if same.is_empty() {
        return;
    }
    let rename = |value: &mut Value| {
        while let Some(name) = same.get(value) {
            *value = *name;
        }
    };
    for id in dataflow::regions(function) {
        let region = function.region_mut(id);
        region.stmts.iter_mut().for_each(|stmt| stmt.kind.args_mut().iter_mut().for_each(rename));
        region.exit.values_mut().iter_mut().for_each(rename);
    }
}
