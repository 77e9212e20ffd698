//! Values that live from one state to another, which the loop of states carries.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::saves::{Array, Frame, Saves};
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
    /// The values of each part, by number.
    pub values: Vec<Range<u32>>,
    /// The index of each part's function.
    pub numbers: Vec<u32>,
    /// Where functions come to call themselves.
    pub saves: Option<Saves>,
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
    let reads = reads(out, &known, &homes);
    let carriers = known.bindings.iter().flatten().map(|(_, carrier)| *carrier);
    let cells: BTreeSet<Value> = carriers.chain(reads.iter().flatten().copied()).collect();
    let array = array(out, &known, &reads);
    let level = array.as_ref().map(|array| array.level);
    let cells: Vec<Value> = cells.into_iter().chain(level).collect();
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
        array,
    };
    for (number, (region, bindings)) in (0..).zip(states.iter().zip(&bindings)) {
        writer.state = number;
        writer.bound = BTreeMap::new();
        for (value, carrier) in bindings {
            let carrier = writer.name(*carrier)?;
            writer.bound.insert(*value, carrier);
            writer.in_scope[value.index()] = true;
        }
        writer.restored(*region, number)?;
    }
    let cells = writer.cells;
    make_loop(out, front, &states, (state, params), (&cells, level))
}

fn make_loop(
    out: &mut Function,
    front: Vec<Stmt>,
    states: &[RegionId],
    (state, params): (Value, Vec<Value>),
    (cells, level): (&[Value], Option<Value>),
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
        if Some(*cell) == level {
            inits.push(list.i32(out, 0));
            continue;
        }
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

/// The values that each state reads and does not define.
fn reads(out: &Function, known: &Carried, homes: &[Home]) -> Vec<BTreeSet<Value>> {
    let mut reads = vec![BTreeSet::new(); known.states.len()];
    for ((number, state), reads) in (0..).zip(&known.states).zip(&mut reads) {
        let mut note = |value: &Value| {
            if !matches!(homes[value.index()], Home::Front | Home::Nowhere)
                && homes[value.index()] != Home::State(number)
            {
                reads.insert(*value);
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
    reads
}

/// Where values are saved in recursion: those of a caller that are read in a state that it may come to behind the call.
fn array(out: &mut Function, known: &Carried, reads: &[BTreeSet<Value>]) -> Option<Array> {
    let saves = known.saves.as_ref()?;
    // The states that follow one in the same activation, and the calls that are recursive: who calls, and what is behind.
    let (mut next, mut calls) = (vec![BTreeSet::new(); known.states.len()], BTreeSet::new());
    for (state, next) in known.states.iter().zip(&mut next) {
        for jump in regions_below(out, *state).iter().filter_map(|id| known.jumps.get(id)) {
            match (jump.comes_back, jump.to) {
                (Some((_, behind)), _) => {
                    next.insert(behind);
                    calls.extend(jump.saves.map(|caller| (caller, behind)));
                }
                (None, To::State(number)) => _ = next.insert(number),
                (None, To::Caller(_)) => {}
            }
        }
    }
    let mut held = BTreeMap::new();
    for (caller, behind) in calls {
        let (mut seen, mut todo) = (BTreeSet::from([behind]), vec![behind]);
        while let Some(state) = todo.pop() {
            todo.extend(next[state as usize].iter().copied().filter(|state| seen.insert(*state)));
        }
        let read: BTreeSet<Value> = seen.iter().flat_map(|state| reads[*state as usize].iter().copied()).collect();
        let is_own = |value: &Value| known.values[caller].contains(&value.0) || *value == known.returns[caller];
        held.insert(behind, (caller, read.into_iter().filter(is_own).collect()));
    }
    let frames =
        (0..).zip(&known.numbers).filter_map(|(part, function)| Some((part, frame(known, saves, part, *function)?)));
    let frames = frames.collect();
    let level = out.new_value(Type::I32);
    Some(Array::new(out, saves, level, held, frames))
}

/// The frames of a part that comes to call itself, if it has any.
fn frame(known: &Carried, saves: &Saves, part: usize, function: u32) -> Option<Frame> {
    let frame = saves.frames.get(&function)?;
    let first = known.values[part].start;
    let derived = frame.derived.iter().map(|(value, distance)| (Value(value.0 + first), *distance)).collect();
    Some(Frame { param: Value(frame.param.0 + first), derived, place: (frame.start, frame.stride) })
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
    /// Where values are saved in recursion.
    array: Option<Array>,
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

    /// Writes a state, in front of which what was saved before a call is loaded again.
    fn restored(&mut self, region: RegionId, state: u32) -> Result<()> {
        let Some(array) = self.array.take_if(|array| array.is_behind(state)) else {
            return self.region(region);
        };
        let first = self.out.region(region);
        let mut list = ListBuilder::new(first.stmts.first().map_or(first.exit_at, |stmt| stmt.at));
        let level = self.carrier(array.level)?;
        let loaded = array.restore(self.out, &mut list, level, state);
        self.array = Some(array);
        let carried = self.carried.clone();
        self.carried.extend(loaded);
        self.region(region)?;
        self.carried = carried;
        self.out.region_mut(region).stmts.splice(0..0, list.stmts);
        Ok(())
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
        let sets = self.called(jump, sets, list)?;
        for cell in &self.cells {
            let value = match (sets.get(cell), jump.comes_back) {
                (Some(value), _) => *value,
                (None, Some((returns, state))) if returns == *cell => list.i32(self.out, state),
                (None, _) => self.kept(*cell)?,
            };
            values.push(value);
        }
        Ok(values)
    }

    /// What a value that is carried is here.
    fn kept(&self, cell: Value) -> Result<Value> {
        if self.in_scope.get(cell.index()).copied().unwrap_or(false) { self.name(cell) } else { self.carrier(cell) }
    }

    /// What values that are carried become, by what they are called here: what the jump says, and in recursion the level and where
    /// frames begin. Saves what is used behind a recursive call.
    fn called(
        &mut self,
        jump: &Jump,
        sets: BTreeMap<Value, Value>,
        list: &mut ListBuilder,
    ) -> Result<BTreeMap<Value, Value>> {
        let named = sets.into_iter().map(|(cell, value)| Ok((cell, self.name(value)?)));
        let mut sets = named.collect::<Result<BTreeMap<Value, Value>>>()?;
        let (Some(array), Some(callee), Some((_, behind))) = (&self.array, jump.callee, jump.comes_back) else {
            return Ok(sets);
        };
        let mut level = self.carrier(array.level)?;
        if jump.saves.is_some() {
            let values = array.saved(behind).map(|(cell, offset)| Ok((self.kept(cell)?, offset)));
            let values = values.collect::<Result<Vec<_>>>()?;
            level = array.save(self.out, list, level, values);
            sets.insert(array.level, level);
        }
        sets.extend(array.frame(self.out, list, level, callee));
        Ok(sets)
    }
}
