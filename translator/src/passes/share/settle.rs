//! What a function that is kept once is given alike wherever it is called, and what is stored alike, is known there.

use std::collections::HashSet;

use crate::analysis::dataflow;
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Function, Label, Op, RegionId, StmtKind, Value};

/// Replaces parameters of the loop of states that are undefined at first, and that each state leaves as they are or gives the
/// same: a value from in front of the loop, or a constant. They are left for [`dead_code`](crate::passes::dead_code).
pub fn settle(function: &mut Function) {
    let Some(label) = function.states.as_ref().map(|states| states.label) else { return };
    let regions = dataflow::regions(function);
    let Some((inits, body)) = regions.iter().find_map(|id| find(function, *id, label)) else { return };
    let continues = |id: &&RegionId| matches!(function.region(**id).exit, Exit::Continue(to, _) if to == label);
    let continues: Vec<RegionId> = regions.iter().filter(continues).copied().collect();
    let constants = dataflow::constants(function);
    let undefined = undefined(function, &regions);
    let inside = defined_below(function, body);
    let params = function.region(body).params.clone();
    let mut names: Vec<Value> = (0..function.values.len() as u32).map(Value).collect();
    let mut list = ListBuilder::new(function.region(body).exit_at);
    for (number, (param, init)) in params.iter().zip(&inits).enumerate() {
        let mut given = continues.iter().map(|id| function.region(*id).exit.values()[number]).filter(|v| v != param);
        let Some(first) = given.next().filter(|_| undefined.contains(init)) else { continue };
        let constant = constants[first.index()];
        if !inside.contains(&first) && given.clone().all(|value| value == first) {
            names[param.index()] = first;
        } else if let Some(constant) = constant
            && given.all(|value| constants[value.index()] == Some(constant))
        {
            names[param.index()] = list.constant(function, constant);
        }
    }
    let end_of = |mut value: Value| {
        while let Some(next) = names.get(value.index()).copied().filter(|next| *next != value) {
            value = next;
        }
        value
    };
    for id in regions {
        let region = function.region_mut(id);
        let args = region.stmts.iter_mut().flat_map(|stmt| stmt.kind.args_mut());
        args.chain(region.exit.values_mut()).for_each(|value| *value = end_of(*value));
    }
    function.region_mut(body).stmts.splice(0..0, list.stmts);
}

/// The loop with this label, if it stands in a region: the first values of its parameters, and its own region.
fn find(function: &Function, id: RegionId, wanted: Label) -> Option<(Vec<Value>, RegionId)> {
    function.region(id).stmts.iter().find_map(|stmt| match &stmt.kind {
        StmtKind::Loop { label, inits, body, .. } if *label == wanted => Some((inits.clone(), *body)),
        _ => None,
    })
}

fn undefined(function: &Function, regions: &[RegionId]) -> HashSet<Value> {
    let stmts = regions.iter().flat_map(|id| &function.region(*id).stmts);
    let undefined = stmts.filter_map(|stmt| match &stmt.kind {
        StmtKind::Op { op: Op::Undefined, result, .. } => *result,
        _ => None,
    });
    undefined.collect()
}

/// The values that are defined in a region and below.
fn defined_below(function: &Function, body: RegionId) -> HashSet<Value> {
    let (mut values, mut todo) = (HashSet::new(), vec![body]);
    while let Some(id) = todo.pop() {
        let region = function.region(id);
        values.extend(&region.params);
        values.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.results()));
        todo.extend(region.stmts.iter().flat_map(|stmt| stmt.kind.distinct_regions()));
    }
    values
}
