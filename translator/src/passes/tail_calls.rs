//! Functions that go on with one another by tail calls: one loop, of which each is a state.
//!
//! ```text
//! even(n) { if n = 0 { return 1 } return odd(n - 1) }      even(n) { loop (state = 0, n) { switch state {
//! odd(n)  { if n = 0 { return 0 } return even(n - 1) }       0: if n = 0 { return 1 } continue (1, n - 1)
//!                                                            1: if n = 0 { return 0 } continue (0, n - 1) } } }
//! ```
//!
//! Interpreters whose handlers call the next one through a table (`musttail`) are such functions. An indirect call counts if it
//! is one of Wasm's tail calls; of other ones in the same place it is mostly known what they come to, and it is no such loop.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::call_graph::Outcome;
use crate::error::{Error, Location, Result, TrapKind};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, Region, RegionId, Stmt, StmtKind, Type, Value};

/// What an indirect call may come to, for each entry of its table in order; nothing where no loop is to be made through it.
pub(crate) type Dispatch<'d> = dyn Fn(&Function, &Stmt) -> Vec<Outcome> + 'd;

/// The call with which a region leaves the function, if it ends so: nothing is done behind it.
fn tail_call(function: &Function, id: RegionId) -> Option<&Stmt> {
    let region = function.region(id);
    let last = region.stmts.last()?;
    let (results, is_explicit) = match &last.kind {
        StmtKind::Call { results, .. } => (results, true),
        StmtKind::CallIndirect { results, .. } => (results, region.exit_at == last.at),
        _ => return None,
    };
    let leaves = match &region.exit {
        Exit::Return(values) => values == results,
        Exit::Yield(values) => id == function.body && values == results,
        _ => false,
    };
    (leaves && is_explicit).then_some(last)
}

fn regions(function: &Function) -> impl Iterator<Item = RegionId> {
    (0..function.regions.len() as u32).map(RegionId)
}

/// The functions with which one may go on.
pub(crate) fn successors(function: &Function, dispatch: &Dispatch<'_>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for call in regions(function).filter_map(|id| tail_call(function, id)) {
        match &call.kind {
            StmtKind::Call { callee, .. } => _ = found.insert(*callee),
            _ => found.extend(dispatch(function, call).into_iter().filter_map(|outcome| match outcome {
                Outcome::Runs(callee) => Some(callee),
                _ => None,
            })),
        }
    }
    found
}

/// The loop of these functions, of which the first is the one that is called.
///
/// # Errors
/// [`Error::Internal`] if there is none.
pub(crate) fn merge(members: &[Rc<Function>], dispatch: &Dispatch<'_>) -> Result<Function> {
    let [entry, ..] = members else { return Err(Error::Internal("no functions go on with one another".to_string())) };
    let mut out =
        Function { params: Vec::new(), values: Vec::new(), regions: Vec::new(), labels: 0, ..(**entry).clone() };
    let at = entry.region(entry.body).exit_at;
    out.params = entry.params.iter().map(|param| out.new_value(entry.ty(*param))).collect();
    let (types, places) = slots(members);
    let label = out.new_label();
    let state = out.new_value(Type::I32);
    let slots: Vec<Value> = types.iter().map(|ty| out.new_value(*ty)).collect();
    let mut merger = Merger { members, dispatch, out, label, slots, places };
    let cases: Vec<RegionId> = (0..members.len()).map(|number| merger.member(number)).collect();
    let Merger { mut out, slots, places, .. } = merger;

    let mut list = ListBuilder::new(at);
    let mut inits = vec![list.i32(&mut out, 0)];
    for (slot, ty) in types.iter().enumerate() {
        let param = places[0].iter().position(|place| *place == slot);
        inits.push(match param {
            Some(number) => out.params[number],
            None => list.constant(&mut out, Const::zero(*ty)),
        });
    }
    let [of_switch, of_loop] =
        [(); 2].map(|()| entry.results.iter().map(|ty| out.new_value(*ty)).collect::<Vec<Value>>());
    let (default, cases) = cases.split_last().ok_or_else(|| Error::Internal("a loop has no states".to_string()))?;
    let mut body = ListBuilder::new(at);
    body.push(StmtKind::Switch { index: state, cases: cases.to_vec(), default: *default, results: of_switch.clone() });
    let body = body.finish(&mut out, Exit::Break(label, of_switch));
    out.region_mut(body).params = [state].into_iter().chain(slots).collect();
    list.push(StmtKind::Loop { label, inits, body, results: of_loop.clone() });
    out.body = list.finish(&mut out, Exit::Yield(of_loop));
    Ok(out)
}

/// The types of the values that one state hands to another, and where among them each function's parameters are.
fn slots(members: &[Rc<Function>]) -> (Vec<Type>, Vec<Vec<usize>>) {
    let mut types: Vec<Type> = Vec::new();
    let places = members.iter().map(|member| {
        let mut taken = BTreeSet::new();
        let place = |param: &Value| {
            let ty = member.ty(*param);
            let free = (0..types.len()).find(|slot| types[*slot] == ty && !taken.contains(slot));
            let slot = free.unwrap_or_else(|| {
                types.push(ty);
                types.len() - 1
            });
            taken.insert(slot);
            slot
        };
        member.params.iter().map(place).collect()
    });
    let places = places.collect();
    (types, places)
}

struct Merger<'m> {
    members: &'m [Rc<Function>],
    dispatch: &'m Dispatch<'m>,
    out: Function,
    /// The loop.
    label: Label,
    /// Its region's parameters behind the state.
    slots: Vec<Value>,
    /// Which of them each function's parameters are.
    places: Vec<Vec<usize>>,
}

/// By how much what a function names is renumbered.
struct Shift {
    values: u32,
    regions: u32,
    labels: u32,
}

impl Shift {
    fn label(&self, label: &mut Label) {
        label.0 += self.labels;
    }

    fn region(&self, id: &mut RegionId) {
        id.0 += self.regions;
    }

    /// Renumbers all that a region names.
    fn region_itself(&self, region: &mut Region, renamed: &[Value]) {
        let rename = |value: &mut Value| *value = renamed[value.index()];
        region.params.iter_mut().for_each(rename);
        for stmt in &mut region.stmts {
            stmt.kind.args_mut().iter_mut().for_each(rename);
            stmt.kind.results_mut().iter_mut().for_each(rename);
            self.kind(&mut stmt.kind);
        }
        region.exit.values_mut().iter_mut().for_each(rename);
        if let Exit::Break(label, _) | Exit::Continue(label, _) = &mut region.exit {
            self.label(label);
        }
    }

    fn kind(&self, kind: &mut StmtKind) {
        match kind {
            StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {}
            StmtKind::Block { label, body, .. } | StmtKind::Loop { label, body, .. } => {
                self.label(label);
                self.region(body);
            }
            StmtKind::If { then, otherwise, .. } => [then, otherwise].into_iter().for_each(|id| self.region(id)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter_mut().chain([default]).for_each(|id| self.region(id));
            }
        }
    }
}

impl Merger<'_> {
    /// Copies a function; gives the region of its body.
    fn member(&mut self, number: usize) -> RegionId {
        let member = self.members[number].clone();
        let shift = Shift {
            values: self.out.values.len() as u32,
            regions: self.out.regions.len() as u32,
            labels: self.out.labels,
        };
        self.out.values.extend(&member.values);
        self.out.labels += member.labels;
        let mut renamed: Vec<Value> = (0..member.values.len() as u32).map(|v| Value(v + shift.values)).collect();
        for (param, slot) in member.params.iter().zip(&self.places[number]) {
            renamed[param.index()] = self.slots[*slot];
        }
        for id in regions(&member) {
            let mut region = member.region(id).clone();
            shift.region_itself(&mut region, &renamed);
            self.out.new_region(region);
        }
        for id in regions(&member) {
            let Some(call) = tail_call(&member, id) else { continue };
            let mut copy = id;
            shift.region(&mut copy);
            match &call.kind {
                StmtKind::Call { callee, .. } => self.go_on(copy, *callee),
                _ => self.go_on_by_table(copy, &(self.dispatch)(&member, call)),
            }
        }
        let mut body = member.body;
        shift.region(&mut body);
        body
    }

    fn number_of(&self, function: u32) -> Option<usize> {
        self.members.iter().position(|member| member.index == function)
    }

    /// Ends a region with the next state, if the call at its end is one of a function of the loop.
    fn go_on(&mut self, id: RegionId, callee: u32) {
        let Some(number) = self.number_of(callee) else { return };
        let Some(Stmt { kind: StmtKind::Call { args, .. }, at }) = self.out.region_mut(id).stmts.pop() else { return };
        let mut list = ListBuilder::new(at);
        let exit = self.next(&mut list, number, &args);
        let region = self.out.region_mut(id);
        region.stmts.append(&mut list.stmts);
        region.exit = exit;
    }

    fn next(&mut self, list: &mut ListBuilder, number: usize, args: &[Value]) -> Exit {
        let mut values = vec![list.i32(&mut self.out, number as u32)];
        // What the function does not take stays what it is.
        values.extend(&self.slots);
        for (arg, slot) in args.iter().zip(&self.places[number]) {
            values[1 + slot] = *arg;
        }
        Exit::Continue(self.label, values)
    }

    /// Puts a switch over a table's entries in place of the indirect call at a region's end, if one of them is a function of the
    /// loop.
    fn go_on_by_table(&mut self, id: RegionId, outcomes: &[Outcome]) {
        let goes_on = |outcome: &Outcome| matches!(outcome, Outcome::Runs(callee) if self.number_of(*callee).is_some());
        if !outcomes.iter().any(goes_on) {
            return;
        }
        let Some(Stmt { kind: StmtKind::CallIndirect { args, results, .. }, at }) = self.out.region_mut(id).stmts.pop()
        else {
            return;
        };
        let Some((index, args)) = args.split_last() else { return };
        let mut made: BTreeMap<Outcome, RegionId> = BTreeMap::new();
        let mut cases = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let region = match made.get(outcome) {
                Some(region) => *region,
                None => {
                    let region = self.outcome(*outcome, args, &results, at);
                    made.insert(*outcome, region);
                    region
                }
            };
            cases.push(region);
        }
        let default = ListBuilder::new(at).finish(&mut self.out, Exit::Trap(TrapKind::TableOutOfBounds));
        let kind = StmtKind::Switch { index: *index, cases, default, results };
        self.out.region_mut(id).stmts.push(Stmt { kind, at });
    }

    /// What one entry of the table comes to. It yields nothing: all of it leaves.
    fn outcome(&mut self, outcome: Outcome, args: &[Value], results: &[Value], at: Location) -> RegionId {
        let mut list = ListBuilder::new(at);
        let exit = match outcome {
            Outcome::Traps(kind) => Exit::Trap(kind),
            Outcome::Runs(callee) => match self.number_of(callee) {
                Some(number) => self.next(&mut list, number, args),
                None => {
                    let results: Vec<Value> =
                        results.iter().map(|result| self.out.new_value(self.out.ty(*result))).collect();
                    list.push(StmtKind::Call { callee, args: args.to_vec(), results: results.clone() });
                    Exit::Return(results)
                }
            },
            // None of these gets here.
            Outcome::Foreign | Outcome::Never => Exit::Trap(TrapKind::TableOutOfBounds),
        };
        list.finish(&mut self.out, exit)
    }
}
