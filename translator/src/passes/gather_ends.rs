//! Has invocations that may end at very many places, one behind the other, end at few.
//!
//! Drivers move what stands behind a place where an invocation may end into a branch, and one that keeps no more than so many levels of
//! branches can't compile a long row of such places. So parts of the row become blocks: who would end in one leaves it with the
//! number of the place, by which the invocation ends behind it, where there is one branch for all.

use crate::backend::failure::is_failure;
use crate::error::{Location, TrapKind};
use crate::hash::{HashMap, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, LowOp, Region, RegionId, Stmt, StmtKind, Type, Value};

/// Does so in a lowered function, with so many places in a block. Gives the values that stand where none is used: with them those leave
/// a block who end behind it.
pub fn gather_ends(function: &mut Function, most: usize) -> HashSet<Value> {
    let mut unused = HashSet::new();
    for id in crate::analysis::dataflow::regions(function) {
        let ending: Vec<bool> = function.region(id).stmts.iter().map(|stmt| may_end_in(function, stmt)).collect();
        if ending.iter().filter(|ends| **ends).count() > most {
            gather(function, id, &ending, most, &mut unused);
        }
    }
    unused
}

/// Whether an invocation may end in a statement.
fn may_end_in(function: &Function, stmt: &Stmt) -> bool {
    stmt.kind.distinct_regions().iter().any(|id| {
        let region = function.region(*id);
        matches!(region.exit, Exit::Return(_) | Exit::Trap(_))
            || region.stmts.iter().any(|stmt| may_end_in(function, stmt))
    })
}

/// Makes blocks of all but the last part of a region.
fn gather(function: &mut Function, id: RegionId, ending: &[bool], most: usize, unused: &mut HashSet<Value>) {
    let mut left = std::mem::take(&mut function.region_mut(id).stmts);
    let mut done = Vec::new();
    let mut ending = ending;
    while ending.iter().filter(|ends| **ends).count() > most {
        let places = ending.iter().enumerate().filter(|(_, ends)| **ends).map(|(number, _)| number);
        let count = places.take(most).last().map_or(0, |last| last + 1);
        let behind = left.split_off(count);
        ending = &ending[count..];
        let part = std::mem::replace(&mut left, behind);
        let exit = function.region(id).exit.clone();
        let (stmts, renamed) = block(function, part, (&left, &exit), unused);
        done.extend(stmts);
        left.iter_mut().for_each(|stmt| rename_in(function, stmt, &renamed));
        rename(function.region_mut(id).exit.values_mut(), &renamed);
    }
    done.append(&mut left);
    function.region_mut(id).stmts = done;
}

/// The statements of a block that stands for some, of which `behind` and `exit` follow; and its results for the values that these use.
fn block(
    function: &mut Function,
    part: Vec<Stmt>,
    (behind, exit): (&[Stmt], &Exit),
    unused: &mut HashSet<Value>,
) -> (Vec<Stmt>, HashMap<Value, Value>) {
    let at = part.first().map_or(Location::default(), |stmt| stmt.at);
    let mut used = HashSet::new();
    behind.iter().for_each(|stmt| note_uses(function, stmt, &mut used));
    used.extend(exit.values());
    let kept: Vec<Value> =
        part.iter().flat_map(|stmt| stmt.kind.results()).copied().filter(|value| used.contains(value)).collect();
    let label = function.new_label();
    let mut list = ListBuilder::new(at);
    let none = list.i32(function, 0);
    let zeros: Vec<Value> =
        kept.iter().map(|value| list.constant(function, Const::zero(function.ty(*value)))).collect();
    unused.extend(&zeros);
    let mut ends = Ends { label, zeros, places: Vec::new() };
    part.iter().for_each(|stmt| ends.leave(function, stmt));
    list.stmts.extend(part);
    let values = [none].into_iter().chain(kept.iter().copied()).collect();
    let body = list.finish(function, Exit::Yield(values));
    let place = function.new_value(Type::I32);
    let results: Vec<Value> = kept.iter().map(|value| function.new_value(function.ty(*value))).collect();
    let renamed = kept.into_iter().zip(results.iter().copied()).collect();
    let results = [place].into_iter().chain(results).collect();
    let mut list = ListBuilder::new(at);
    list.push(StmtKind::Block { label, body, results });
    ends.end(function, &mut list, place);
    (list.stmts, renamed)
}

/// The places where invocations may end that leave a block.
struct Ends {
    label: Label,
    /// What they leave it with in place of its values.
    zeros: Vec<Value>,
    /// Place `i` has the number `i + 1`. `None`: the invocation returns.
    places: Vec<(Option<TrapKind>, Location)>,
}

impl Ends {
    fn number(&mut self, kind: Option<TrapKind>, at: Location) -> u32 {
        // Who returns does so anywhere.
        let same = |place: &(Option<TrapKind>, Location)| place.0 == kind && (kind.is_none() || place.1 == at);
        let known = self.places.iter().position(same);
        let number = known.unwrap_or_else(|| {
            self.places.push((kind, at));
            self.places.len() - 1
        });
        number as u32 + 1
    }

    /// Has invocations leave the block that would end in a statement.
    fn leave(&mut self, function: &mut Function, stmt: &Stmt) {
        for id in stmt.kind.distinct_regions() {
            let stmts = std::mem::take(&mut function.region_mut(id).stmts);
            let (kind, at) = match function.region(id).exit {
                Exit::Return(_) => (None, function.region(id).exit_at),
                Exit::Trap(kind) => (Some(kind), function.region(id).exit_at),
                _ => {
                    stmts.iter().for_each(|stmt| self.leave(function, stmt));
                    function.region_mut(id).stmts = stmts;
                    continue;
                }
            };
            function.region_mut(id).stmts = stmts;
            let (stmts, number) = match is_failure(function, id) {
                true => self.failure(function, id),
                false => {
                    let stmts = std::mem::take(&mut function.region_mut(id).stmts);
                    stmts.iter().for_each(|stmt| self.leave(function, stmt));
                    let mut list = ListBuilder::new(at);
                    let number = list.i32(function, self.number(kind, at));
                    (stmts.into_iter().chain(list.stmts).collect(), number)
                }
            };
            let values = [number].into_iter().chain(self.zeros.iter().copied()).collect();
            let region = function.region_mut(id);
            region.stmts = stmts;
            region.exit = Exit::Break(self.label, values);
        }
    }

    /// The statements of a region that does nothing but find out which trap to end in, and the number of that place.
    fn failure(&mut self, function: &mut Function, id: RegionId) -> (Vec<Stmt>, Value) {
        let Region { stmts, exit, exit_at, .. } = function.region(id).clone();
        let (mut kept, mut tests) = (Vec::new(), Vec::new());
        for stmt in stmts {
            match stmt.kind {
                StmtKind::If { cond, then, .. } => {
                    let (stmts, number) = self.failure(function, then);
                    kept.extend(stmts);
                    tests.push((cond, number));
                }
                _ => kept.push(stmt),
            }
        }
        let mut list = ListBuilder::new(exit_at);
        let kind = if let Exit::Trap(kind) = exit { Some(kind) } else { None };
        let mut number = list.i32(function, self.number(kind, exit_at));
        for (cond, other) in tests.into_iter().rev() {
            number = list.low(function, LowOp::Select, &[cond, other, number], Type::I32);
        }
        kept.extend(list.stmts);
        (kept, number)
    }

    /// Ends invocations by the number of their place behind the block.
    fn end(&self, function: &mut Function, list: &mut ListBuilder, place: Value) {
        let is = |function: &mut Function, list: &mut ListBuilder, op: LowOp, number: usize| {
            let number = list.i32(function, number as u32);
            list.low(function, op, &[place, number], Type::Bool)
        };
        if let Some(number) = self.places.iter().position(|(kind, _)| kind.is_none()) {
            list.at = self.places[number].1;
            let cond = is(function, list, LowOp::Eq, number + 1);
            list.exit_if(function, cond, Exit::Return(Vec::new()));
        }
        let traps = self.places.iter().enumerate().filter_map(|(number, (kind, at))| Some((number + 1, (*kind)?, *at)));
        let traps: Vec<(usize, TrapKind, Location)> = traps.collect();
        let Some(((_, kind, at), others)) = traps.split_last() else { return };
        let mut which = ListBuilder::new(*at);
        for (number, kind, at) in others {
            which.at = *at;
            let cond = is(function, &mut which, LowOp::Eq, *number);
            which.exit_if(function, cond, Exit::Trap(*kind));
        }
        (which.at, list.at) = (*at, *at);
        let cond = is(function, list, LowOp::Ne, 0);
        let then = which.finish(function, Exit::Trap(*kind));
        list.only_if(function, cond, then);
    }
}

fn note_uses(function: &Function, stmt: &Stmt, used: &mut HashSet<Value>) {
    used.extend(stmt.kind.args());
    for id in stmt.kind.distinct_regions() {
        let region = function.region(id);
        used.extend(region.exit.values());
        region.stmts.iter().for_each(|stmt| note_uses(function, stmt, used));
    }
}

fn rename_in(function: &mut Function, stmt: &mut Stmt, renamed: &HashMap<Value, Value>) {
    rename(stmt.kind.args_mut(), renamed);
    for id in stmt.kind.distinct_regions() {
        let mut stmts = std::mem::take(&mut function.region_mut(id).stmts);
        stmts.iter_mut().for_each(|stmt| rename_in(function, stmt, renamed));
        let region = function.region_mut(id);
        region.stmts = stmts;
        rename(region.exit.values_mut(), renamed);
    }
}

fn rename(values: &mut [Value], renamed: &HashMap<Value, Value>) {
    for value in values {
        *value = renamed.get(value).copied().unwrap_or(*value);
    }
}
