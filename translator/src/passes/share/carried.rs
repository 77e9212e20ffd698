//! Values that live from one state to another, which the loop of states carries.

use std::collections::{BTreeMap, BTreeSet};

use super::states::{Jump, To};
use crate::error::{Error, Location, Result, TrapKind};
use crate::hash::HashMap;
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Op, Region, RegionId, Stmt, StmtKind, Type, Value};

/// The states of a kernel, of which values are used in states that don't define them.
pub struct Carried {
    /// Their regions.
    pub states: Vec<RegionId>,
    /// Of each state, the values that are what a callee gave, with what carries it.
    pub bindings: Vec<Vec<(Value, Value)>>,
    /// Where regions go on that leave a state.
    pub jumps: HashMap<RegionId, Jump>,
    /// Values that are nothing but carried.
    pub carried: BTreeSet<Value>,
    /// What says where each function goes on when it is done.
    pub returns: Vec<Value>,
    /// What stands in front of the loop.
    pub front: Vec<Stmt>,
}

/// Where a value is defined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Nowhere that is known.
    Nowhere,
    /// In front of the loop.
    Front,
    /// In this state.
    State(u32),
    /// It is what the loop carries.
    Carried,
}

/// Makes the loop the body of a function, whose label is that of its [`States`](crate::ir::States).
///
/// # Errors
/// [`Error::Internal`] if a value is used that is nowhere defined.
pub fn carry(out: &mut Function, known: Carried) -> Result<()> {
    let homes = homes(out, &known);
    let cells = cells(out, &known, &homes);
    let Carried { states, bindings, jumps, returns, front, .. } = known;
    let state = out.new_value(Type::I32);
    let params: Vec<Value> = cells.iter().map(|cell| out.new_value(out.ty(*cell))).collect();
    let mut writer = Writer {
        carried: cells.iter().copied().zip(params.iter().copied()).collect(),
        in_scope: vec![false; out.values.len()],
        out,
        homes,
        cells,
        jumps,
        returns,
        state: 0,
        bound: BTreeMap::new(),
    };
    for (number, (region, bindings)) in (0..).zip(states.iter().zip(&bindings)) {
        writer.state = number;
        writer.bound = BTreeMap::new();
        for (value, carrier) in bindings {
            let carrier = writer.name(*carrier)?;
            writer.bound.insert(*value, carrier);
            writer.in_scope[value.index()] = true;
        }
        writer.region(*region)?;
    }
    let cells = writer.cells;
    make_loop(out, front, &states, (state, params), &cells)
}

fn make_loop(
    out: &mut Function,
    front: Vec<Stmt>,
    states: &[RegionId],
    (state, params): (Value, Vec<Value>),
    cells: &[Value],
) -> Result<()> {
    let Some((label, (default, cases))) = out.states.as_ref().map(|states| states.label).zip(states.split_last())
    else {
        return Err(Error::Internal("a kernel has no states".into()));
    };
    let at = front.last().map_or(Location { function: out.index, offset: 0 }, |stmt| stmt.at);
    let mut list = ListBuilder { stmts: front, at };
    let mut inits = vec![list.i32(out, 0)];
    let mut first: BTreeMap<Type, Value> = BTreeMap::new();
    for cell in cells {
        let ty = out.ty(*cell);
        let op = if ty == Type::I32 { Op::Undefined } else { Op::Const(Const::zero(ty)) };
        inits.push(*first.entry(ty).or_insert_with(|| list.op(out, op, &[], ty)));
    }
    let switch = StmtKind::Switch { index: state, cases: cases.to_vec(), default: *default, results: Vec::new() };
    let body = out.new_region(Region {
        params: std::iter::once(state).chain(params).collect(),
        stmts: vec![Stmt { kind: switch, at }],
        // No state comes out.
        exit: Exit::Trap(TrapKind::Unreachable),
        exit_at: at,
    });
    list.push(StmtKind::Loop { label, inits, body, results: Vec::new() });
    out.body = list.finish(out, Exit::Return(Vec::new()));
    Ok(())
}

/// The regions of a state, each before those below it.
fn regions_below(out: &Function, state: RegionId) -> Vec<RegionId> {
    let (mut regions, mut next) = (vec![state], 0);
    while let Some(id) = regions.get(next).copied() {
        regions.extend(out.region(id).stmts.iter().flat_map(|stmt| stmt.kind.distinct_regions()));
        next += 1;
    }
    regions
}

fn homes(out: &Function, known: &Carried) -> Vec<Home> {
    let mut homes = vec![Home::Nowhere; out.values.len()];
    out.params.iter().for_each(|param| homes[param.index()] = Home::Front);
    known.carried.iter().for_each(|value| homes[value.index()] = Home::Carried);
    let mut define = |region: RegionId, home: Home| {
        for id in regions_below(out, region) {
            let region = out.region(id);
            let results = region.stmts.iter().flat_map(|stmt| stmt.kind.results());
            region.params.iter().chain(results).for_each(|value| homes[value.index()] = home);
        }
    };
    for (number, region) in (0..).zip(&known.states) {
        define(*region, Home::State(number));
    }
    for stmt in &known.front {
        stmt.kind.distinct_regions().into_iter().for_each(|region| define(region, Home::Front));
    }
    for value in known.front.iter().flat_map(|stmt| stmt.kind.results()) {
        homes[value.index()] = Home::Front;
    }
    for (number, bindings) in (0..).zip(&known.bindings) {
        bindings.iter().for_each(|(value, _)| homes[value.index()] = Home::State(number));
    }
    homes
}

/// The values that the loop carries, ascending.
fn cells(out: &Function, known: &Carried, homes: &[Home]) -> Vec<Value> {
    let mut cells: BTreeSet<Value> = known.bindings.iter().flatten().map(|(_, carrier)| *carrier).collect();
    for (number, state) in (0..).zip(&known.states) {
        let mut note = |value: &Value| {
            if !matches!(homes[value.index()], Home::Front | Home::Nowhere)
                && homes[value.index()] != Home::State(number)
            {
                cells.insert(*value);
            }
        };
        for id in regions_below(out, *state) {
            let region = out.region(id);
            region.stmts.iter().flat_map(|stmt| stmt.kind.args()).for_each(&mut note);
            region.exit.values().iter().for_each(&mut note);
            let Some(jump) = known.jumps.get(&id) else { continue };
            jump.sets.iter().for_each(|(_, value)| note(value));
            if let To::Caller(part) = jump.to {
                note(&known.returns[part]);
            }
        }
    }
    cells.into_iter().collect()
}

struct Writer<'f> {
    out: &'f mut Function,
    homes: Vec<Home>,
    cells: Vec<Value>,
    /// The loop's parameter for each value that it carries.
    carried: BTreeMap<Value, Value>,
    jumps: HashMap<RegionId, Jump>,
    returns: Vec<Value>,
    /// The state that is being written.
    state: u32,
    /// What it knows as the results of a callee.
    bound: BTreeMap<Value, Value>,
    /// Values of this state that are defined where it has come to.
    in_scope: Vec<bool>,
}

impl Writer<'_> {
    fn carrier(&self, value: Value) -> Result<Value> {
        self.carried.get(&value).copied().ok_or_else(|| Error::Internal(format!("{value} is not carried")))
    }

    /// What a value is called in this state.
    fn name(&self, value: Value) -> Result<Value> {
        match self.homes[value.index()] {
            Home::Front => Ok(value),
            Home::State(state) if state == self.state => Ok(self.bound.get(&value).copied().unwrap_or(value)),
            Home::State(_) | Home::Carried => self.carrier(value),
            Home::Nowhere => Err(Error::Internal(format!("{value} is used before it is defined"))),
        }
    }

    fn rename(&self, values: &mut [Value]) -> Result<()> {
        values.iter_mut().try_for_each(|value| {
            *value = self.name(*value)?;
            Ok(())
        })
    }

    fn region(&mut self, id: RegionId) -> Result<()> {
        let exit_at = self.out.region(id).exit_at;
        let mut defined = self.out.region(id).params.clone();
        defined.iter().for_each(|value| self.in_scope[value.index()] = true);
        let mut stmts = std::mem::take(&mut self.out.region_mut(id).stmts);
        for stmt in &mut stmts {
            self.rename(stmt.kind.args_mut())?;
            for below in stmt.kind.distinct_regions() {
                self.region(below)?;
            }
            for result in stmt.kind.results() {
                self.in_scope[result.index()] = true;
                defined.push(*result);
            }
        }
        let mut list = ListBuilder { stmts, at: exit_at };
        let mut exit = std::mem::replace(&mut self.out.region_mut(id).exit, Exit::Yield(Vec::new()));
        match (self.jumps.remove(&id), &mut exit) {
            (Some(jump), Exit::Continue(_, values)) => *values = self.handed_on(&jump, &mut list)?,
            _ => self.rename(exit.values_mut())?,
        }
        let region = self.out.region_mut(id);
        region.stmts = list.stmts;
        region.exit = exit;
        defined.iter().for_each(|value| self.in_scope[value.index()] = false);
        Ok(())
    }

    /// What the next state starts with: its number, and what the loop carries.
    fn handed_on(&mut self, jump: &Jump, list: &mut ListBuilder) -> Result<Vec<Value>> {
        let sets: BTreeMap<Value, Value> = jump.sets.iter().copied().collect();
        let mut values = Vec::with_capacity(self.cells.len() + 1);
        values.push(match jump.to {
            To::State(number) => list.i32(self.out, number),
            To::Caller(part) => self.carrier(self.returns[part])?,
        });
        for cell in &self.cells {
            let value = match (sets.get(cell), jump.comes_back) {
                (Some(value), _) => self.name(*value)?,
                (None, Some((returns, state))) if returns == *cell => list.i32(self.out, state),
                (None, _) if self.in_scope[cell.index()] => self.name(*cell)?,
                (None, _) => self.carrier(*cell)?,
            };
            values.push(value);
        }
        Ok(values)
    }
}
