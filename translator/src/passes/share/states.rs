//! The loop of states: functions with calls become one function without.
//!
//! Constructs without calls are copied as they are. One with a call in it is taken apart: what stands behind it, the start of
//! a loop, and what stands behind the call itself are states; its arms are arms of the state that it stands in. A construct with
//! nothing behind it has no state, its exits go on to where it would go.
//!
//! What the function computes before the first construct with a call stands in front of the loop, where all states see it.

use std::collections::{BTreeMap, BTreeSet};

use super::carried::{self, Carried};
use super::saves::Saves;
use crate::error::{Error, Location, Result, TrapKind};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Exit, Function, Label, Region, RegionId, States, Stmt, StmtKind, Type, Value};

/// Makes the loop of the parts of a kernel, which is the first; each stands behind all that call it, but for calls that are
/// recursive.
///
/// # Errors
/// [`Error::Internal`] if a call is of no part.
pub fn combine(parts: &[Function], saves: Option<Saves>) -> Result<Function> {
    let Some(kernel) = parts.first() else { return Err(Error::Internal("a kernel has no parts".into())) };
    let recursive = saves.as_ref().map(|saves| saves.calls.clone()).unwrap_or_default();
    let mut splitter = Splitter::new(parts, kernel, recursive);
    let (front, start) = splitter.front()?;
    splitter.state(start);
    let mut number = 0;
    while let Some(place) = splitter.places.get(number).copied() {
        let region = splitter.list(place)?;
        splitter.states.push(region);
        number += 1;
    }
    let around = splitter.around();
    let Splitter { mut out, main, states, jumps, bindings, returns, carried, bases, .. } = splitter;
    let of_state = |state: usize| bindings.get(&(state as u32)).cloned().unwrap_or_default();
    let bindings = (0..states.len()).map(of_state).collect();
    out.states = Some(States { label: main, around });
    let ends = bases.iter().skip(1).map(|(values, _)| *values).chain([out.values.len() as u32]);
    let values = bases.iter().zip(ends).map(|((first, _), end)| *first..end).collect();
    let numbers = parts.iter().map(|part| part.index).collect();
    let known = Carried { states, bindings, jumps, carried, returns, front, values, numbers, saves };
    carried::carry(&mut out, known)?;
    Ok(out)
}

/// A place in a part: its number, a region, and a statement of that.
pub type Place = (usize, RegionId, usize);

/// Where a state goes.
#[derive(Clone, Debug)]
pub struct Jump {
    pub to: To,
    /// What values that are carried from state to state become.
    pub sets: Vec<(Value, Value)>,
    /// The value that says where a callee goes on when it is done, and the state that is there.
    pub comes_back: Option<(Value, u32)>,
    /// The callee's number.
    pub callee: Option<usize>,
    /// The caller's number, where the callee may come to call it.
    pub saves: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub enum To {
    State(u32),
    /// Where the function of this number was called.
    Caller(usize),
}

/// How a list of statements ends.
enum End {
    Jump(Jump),
    Exit(Exit),
}

/// Where values of an exit arrive.
#[derive(Clone)]
struct Arrival {
    place: Place,
    values: Vec<Value>,
}

struct Splitter<'p> {
    parts: &'p [Function],
    /// The number of each function.
    numbers: HashMap<u32, usize>,
    /// What is added to a part's values, and labels.
    bases: Vec<(u32, u32)>,
    /// Whether a region has a call in it, by part.
    calls_in: Vec<Vec<bool>>,
    out: Function,
    main: Label,
    /// The places where states begin, by number, and the numbers.
    places: Vec<Place>,
    known: HashMap<Place, u32>,
    /// The regions of the states.
    states: Vec<RegionId>,
    jumps: HashMap<RegionId, Jump>,
    /// By state: values that are what a callee gave, with what carries it.
    bindings: BTreeMap<u32, Vec<(Value, Value)>>,
    /// What carries the results of each function.
    results: Vec<Vec<Value>>,
    /// What says where each function goes on when it is done.
    returns: Vec<Value>,
    /// Values that are nothing but carried: parameters of functions and loops, results of constructs that were taken apart.
    carried: BTreeSet<Value>,
    /// Where the exits of regions of such constructs arrive.
    yields: HashMap<(usize, RegionId), Arrival>,
    breaks: HashMap<Label, Arrival>,
    continues: HashMap<Label, Arrival>,
    /// Where the outermost loop begins that was taken apart around a region, in its function.
    loops: HashMap<(usize, RegionId), Location>,
    /// Calls: the caller, the loop around in it, the callee.
    calls: Vec<(usize, Option<Location>, usize)>,
    /// Calls, by the functions' indices, in which the callee may come to call the caller.
    recursive: BTreeSet<(u32, u32)>,
}

impl<'p> Splitter<'p> {
    fn new(parts: &'p [Function], kernel: &Function, recursive: BTreeSet<(u32, u32)>) -> Self {
        let mut out = Function { values: Vec::new(), regions: Vec::new(), labels: 0, ..kernel.clone() };
        let mut bases = Vec::new();
        for part in parts {
            bases.push((out.values.len() as u32, out.labels));
            out.values.extend(&part.values);
            out.labels += part.labels;
        }
        let main = out.new_label();
        let results: Vec<Vec<Value>> =
            parts.iter().map(|part| part.results.iter().map(|ty| out.new_value(*ty)).collect()).collect();
        let returns: Vec<Value> = parts.iter().map(|_| out.new_value(Type::I32)).collect();
        let mut splitter = Splitter {
            parts,
            numbers: parts.iter().enumerate().map(|(number, part)| (part.index, number)).collect(),
            bases,
            calls_in: parts.iter().map(calls_in).collect(),
            out,
            main,
            places: Vec::new(),
            known: HashMap::new(),
            states: Vec::new(),
            jumps: HashMap::new(),
            bindings: BTreeMap::new(),
            carried: results.iter().flatten().chain(&returns).copied().collect(),
            results,
            returns,
            yields: HashMap::new(),
            breaks: HashMap::new(),
            continues: HashMap::new(),
            loops: HashMap::new(),
            calls: Vec::new(),
            recursive,
        };
        for (number, part) in parts.iter().enumerate().skip(1) {
            let params = splitter.all(number, &part.params);
            splitter.carried.extend(params);
        }
        splitter
    }

    fn value(&self, part: usize, value: Value) -> Value {
        Value(value.0 + self.bases[part].0)
    }

    fn all(&self, part: usize, values: &[Value]) -> Vec<Value> {
        values.iter().map(|value| self.value(part, *value)).collect()
    }

    fn label(&self, part: usize, label: Label) -> Label {
        Label(label.0 + self.bases[part].1)
    }

    fn source(&self, part: usize, region: RegionId) -> &'p Region {
        self.parts[part].region(region)
    }

    fn has_call(&self, part: usize, stmt: &Stmt) -> bool {
        matches!(stmt.kind, StmtKind::Call { .. })
            || stmt.kind.each_region().any(|region| self.calls_in[part][region.index()])
    }

    /// The number of the state that begins at a place.
    fn state(&mut self, place: Place) -> u32 {
        if let Some(known) = self.known.get(&place) {
            return *known;
        }
        let number = self.places.len() as u32;
        self.places.push(place);
        self.known.insert(place, number);
        number
    }

    /// Copies what stands in front of the kernel's first call; gives it, and where the rest begins.
    fn front(&mut self) -> Result<(Vec<Stmt>, Place)> {
        let body = self.parts[0].body;
        let stmts = &self.source(0, body).stmts;
        let first = stmts.iter().position(|stmt| self.has_call(0, stmt)).unwrap_or(stmts.len());
        let front = stmts[..first].iter().map(|stmt| self.copy_stmt(0, stmt)).collect::<Result<_>>()?;
        Ok((front, (0, body, first)))
    }

    /// A region that does what stands from a place on.
    fn list(&mut self, place: Place) -> Result<RegionId> {
        let mut stmts = Vec::new();
        let (end, at) = self.fill(place, &mut stmts)?;
        Ok(self.region(Vec::new(), stmts, end, at))
    }

    fn region(&mut self, params: Vec<Value>, stmts: Vec<Stmt>, end: End, exit_at: Location) -> RegionId {
        match end {
            End::Exit(exit) => self.out.new_region(Region { params, stmts, exit, exit_at }),
            End::Jump(jump) => {
                let exit = Exit::Continue(self.main, Vec::new());
                let id = self.out.new_region(Region { params, stmts, exit, exit_at });
                self.jumps.insert(id, jump);
                id
            }
        }
    }

    /// Appends what stands from a place on to a list; says how that ends.
    fn fill(&mut self, (part, id, from): Place, stmts: &mut Vec<Stmt>) -> Result<(End, Location)> {
        let source = self.source(part, id);
        for (number, stmt) in source.stmts.iter().enumerate().skip(from) {
            if !self.has_call(part, stmt) {
                let copy = self.copy_stmt(part, stmt)?;
                stmts.push(copy);
                continue;
            }
            let behind = (part, id, number + 1);
            let kind = match &stmt.kind {
                StmtKind::Call { callee, args, results } => {
                    return Ok((End::Jump(self.call((part, id), *callee, args, results, behind)?), stmt.at));
                }
                StmtKind::Block { label, body, results } => {
                    let arrival = self.open(part, id, *body, results, behind);
                    self.breaks.insert(self.label(part, *label), arrival);
                    return self.fill((part, *body, 0), stmts);
                }
                StmtKind::Loop { label, inits, body, results } => {
                    return Ok((
                        End::Jump(self.enter_loop((part, id, stmt.at), *label, inits, *body, results, behind)),
                        stmt.at,
                    ));
                }
                StmtKind::If { cond, then, otherwise, results } => {
                    let mut arm = |arm: RegionId| {
                        self.open(part, id, arm, results, behind);
                        self.list((part, arm, 0))
                    };
                    let (then, otherwise) = (arm(*then)?, arm(*otherwise)?);
                    StmtKind::If { cond: self.value(part, *cond), then, otherwise, results: Vec::new() }
                }
                StmtKind::Switch { index, cases, default, results } => {
                    let mut arms: BTreeMap<RegionId, RegionId> = BTreeMap::new();
                    for arm in stmt.kind.distinct_regions() {
                        self.open(part, id, arm, results, behind);
                        arms.insert(arm, self.list((part, arm, 0))?);
                    }
                    let cases = cases.iter().map(|case| arms[case]).collect();
                    StmtKind::Switch {
                        index: self.value(part, *index),
                        cases,
                        default: arms[default],
                        results: Vec::new(),
                    }
                }
                StmtKind::Op { .. } | StmtKind::CallIndirect { .. } => {
                    return Err(Error::Internal("an indirect call came to the loop of states".into()));
                }
            };
            stmts.push(Stmt { kind, at: stmt.at });
            // No arm comes out.
            return Ok((End::Exit(Exit::Trap(TrapKind::Unreachable)), stmt.at));
        }
        let values = self.all(part, source.exit.values());
        Ok(self.leave((part, id), values))
    }

    /// Notes that a region belongs to a construct that is taken apart, and where its `Yield` arrives.
    fn open(&mut self, part: usize, outer: RegionId, region: RegionId, results: &[Value], behind: Place) -> Arrival {
        let arrival = Arrival { place: behind, values: self.all(part, results) };
        self.carried.extend(&arrival.values);
        self.yields.insert((part, region), arrival.clone());
        if let Some(around) = self.loops.get(&(part, outer)).copied() {
            self.loops.insert((part, region), around);
        }
        arrival
    }

    fn enter_loop(
        &mut self,
        (part, outer, at): (usize, RegionId, Location),
        label: Label,
        inits: &[Value],
        body: RegionId,
        results: &[Value],
        behind: Place,
    ) -> Jump {
        let label = self.label(part, label);
        let arrival = self.open(part, outer, body, results, behind);
        self.breaks.insert(label, arrival);
        self.loops.entry((part, body)).or_insert(at);
        let values = self.all(part, &self.source(part, body).params);
        self.carried.extend(&values);
        let start = Arrival { place: (part, body, 0), values };
        self.continues.insert(label, start.clone());
        let inits = self.all(part, inits);
        self.arrive(start, inits)
    }

    fn call(
        &mut self,
        (part, region): (usize, RegionId),
        callee: u32,
        args: &[Value],
        results: &[Value],
        behind: Place,
    ) -> Result<Jump> {
        let number = self.numbers.get(&callee).copied();
        let number = number.ok_or_else(|| Error::Internal(format!("function {callee} is no part of its kernel")))?;
        self.calls.push((part, self.loops.get(&(part, region)).copied(), number));
        let sets = self.all(number, &self.parts[number].params).into_iter().zip(self.all(part, args)).collect();
        let back = self.state(behind);
        let given = self.all(part, results).into_iter().zip(self.results[number].iter().copied()).collect();
        self.bindings.insert(back, given);
        let to = To::State(self.state((number, self.parts[number].body, 0)));
        let is_recursive = self.recursive.contains(&(self.parts[part].index, callee));
        let saves = is_recursive.then_some(part);
        Ok(Jump { to, sets, comes_back: Some((self.returns[number], back)), callee: Some(number), saves })
    }

    /// How a region ends that belongs to a construct that is taken apart, or to a function, and hands on these values; and the place
    /// of the exit that it comes to.
    fn leave(&mut self, (part, id): (usize, RegionId), values: Vec<Value>) -> (End, Location) {
        let Region { exit, exit_at, .. } = self.source(part, id);
        let at = *exit_at;
        let arrival = match exit {
            Exit::Trap(kind) => return (End::Exit(Exit::Trap(*kind)), at),
            Exit::Return(_) => None,
            Exit::Yield(_) => self.yields.get(&(part, id)).cloned(),
            Exit::Break(label, _) => match self.breaks.get(&self.label(part, *label)) {
                Some(arrival) => Some(arrival.clone()),
                None => return (End::Exit(Exit::Break(self.label(part, *label), values)), at),
            },
            Exit::Continue(label, _) => match self.continues.get(&self.label(part, *label)) {
                Some(arrival) => Some(arrival.clone()),
                None => return (End::Exit(Exit::Continue(self.label(part, *label), values)), at),
            },
        };
        let end = match arrival {
            None if part == 0 => End::Exit(Exit::Return(values)),
            None => {
                let sets = self.results[part].iter().copied().zip(values).collect();
                End::Jump(Jump { to: To::Caller(part), sets, comes_back: None, callee: None, saves: None })
            }
            Some(arrival) => {
                let (part, id, from) = arrival.place;
                let region = self.source(part, id);
                if from < region.stmts.len() || matches!(exit, Exit::Continue(..)) {
                    return (End::Jump(self.arrive(arrival, values)), at);
                }
                // Nothing is there: it goes on from there at once.
                let given: BTreeMap<Value, Value> = arrival.values.into_iter().zip(values).collect();
                let values = self.all(part, region.exit.values());
                let values = values.into_iter().map(|value| given.get(&value).copied().unwrap_or(value)).collect();
                return self.leave((part, id), values);
            }
        };
        (end, at)
    }

    fn arrive(&mut self, arrival: Arrival, values: Vec<Value>) -> Jump {
        let to = To::State(self.state(arrival.place));
        let sets = arrival.values.into_iter().zip(values).collect();
        Jump { to, sets, comes_back: None, callee: None, saves: None }
    }

    /// Copies a statement without calls.
    fn copy_stmt(&mut self, part: usize, stmt: &Stmt) -> Result<Stmt> {
        let mut kind = stmt.kind.clone();
        kind.args_mut().iter_mut().for_each(|arg| *arg = self.value(part, *arg));
        let mut copies: BTreeMap<RegionId, RegionId> = BTreeMap::new();
        for region in stmt.kind.distinct_regions() {
            copies.insert(region, self.copy_region(part, region)?);
        }
        let rename = |values: &mut Vec<Value>| *values = self.all(part, values);
        match &mut kind {
            StmtKind::Op { result, .. } => *result = result.map(|result| self.value(part, result)),
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {
                return Err(Error::Internal("a call came to the loop of states".into()));
            }
            StmtKind::Block { label, body, results } | StmtKind::Loop { label, body, results, .. } => {
                (*label, *body) = (self.label(part, *label), copies[body]);
                rename(results);
            }
            StmtKind::If { then, otherwise, results, .. } => {
                (*then, *otherwise) = (copies[then], copies[otherwise]);
                rename(results);
            }
            StmtKind::Switch { cases, default, results, .. } => {
                cases.iter_mut().chain([default]).for_each(|case| *case = copies[case]);
                rename(results);
            }
        }
        Ok(Stmt { kind, at: stmt.at })
    }

    fn copy_region(&mut self, part: usize, id: RegionId) -> Result<RegionId> {
        let source = self.source(part, id);
        let params = self.all(part, &source.params);
        let stmts = source.stmts.iter().map(|stmt| self.copy_stmt(part, stmt)).collect::<Result<_>>()?;
        let values = self.all(part, source.exit.values());
        let (end, at) = match &source.exit {
            Exit::Yield(_) => (End::Exit(Exit::Yield(values)), source.exit_at),
            _ => self.leave((part, id), values),
        };
        Ok(self.region(params, stmts, end, at))
    }

    /// For each state where the outermost loop begins that it runs in. Where a function is called from several, one of them is
    /// taken.
    fn around(&self) -> Vec<Option<Location>> {
        // Calling itself again and again is as good as a loop.
        let calls_itself = |part: &Function| self.recursive.iter().any(|(_, callee)| *callee == part.index);
        let start =
            |part: &Function| part.region(part.body).stmts.first().map_or(part.region(part.body).exit_at, |s| s.at);
        let mut around: Vec<Option<Location>> =
            self.parts.iter().map(|part| calls_itself(part).then(|| start(part))).collect();
        let mut calls = self.calls.clone();
        calls.sort_unstable();
        // Callers come before what they call.
        for (caller, local, callee) in calls {
            let at = around[caller].or(local);
            around[callee] = match (around[callee], at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let of_state = |(part, region, _): &Place| {
            let own = self.loops.get(&(*part, *region)).copied();
            if calls_itself(&self.parts[*part]) { own.or(around[*part]) } else { around[*part].or(own) }
        };
        self.places.iter().map(of_state).collect()
    }
}

/// The regions of a function that have a call in them, or below.
fn calls_in(function: &Function) -> Vec<bool> {
    let mut found = vec![false; function.regions.len()];
    // A region comes before those below it.
    for id in crate::analysis::dataflow::regions(function).into_iter().rev() {
        let stmts = &function.region(id).stmts;
        found[id.index()] = stmts.iter().any(|stmt| {
            matches!(stmt.kind, StmtKind::Call { .. }) || stmt.kind.each_region().any(|region| found[region.index()])
        });
    }
    found
}
