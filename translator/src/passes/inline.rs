//! Replaces every call by the callee's body, so that the kernel is one function.

pub(crate) mod recursion;

use std::collections::BTreeSet;

use crate::call_graph::{Dispatch, Indirect, Outcome, Slice, StandIn};
use crate::error::{Error, Location, Result, TrapKind};
use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, Region, RegionId, States, Stmt, StmtKind, Type, Value, WasmOp};
use crate::speculation::Assumption;
use crate::targets::Targets;

/// Deepest nesting of the inlined kernel; the backend's and SPIR-V's own limit is 1,023.
const MAX_NESTING: usize = 900;

/// Most entries of a table that an indirect call tells apart.
const MAX_CASES: usize = 1 << 16;

/// Fewest entries at a table's end that a comparison of their own takes care of.
const MIN_TAIL: usize = 8;

/// Copies the kernel with all calls inlined; indirect ones may come to what `targets` says. What it calls is lifted on the
/// way, and is in `slice` afterwards.
///
/// # Errors
/// [`Error::Unsupported`] for what can't be lifted, and when the result has more than `max_operators` statements or nests
/// too deep.
pub(crate) fn inline(slice: &mut Slice<'_>, kernel: u32, targets: &Targets, max_operators: u32) -> Result<Function> {
    let source = slice.get(kernel, &[], None)?;
    copy_of(&source, slice, targets, (vec![kernel], usize::MAX), None, max_operators)
}

/// Copies a kernel without calls but for those of functions of another module, which is `slice`'s, with these inlined. Their
/// statements stand where the calls stood.
///
/// # Errors
/// Those of inlining a kernel.
pub fn inline_foreign(slice: &mut Slice<'_>, kernel: &Function, max_operators: u32) -> Result<Function> {
    copy_of(kernel, slice, &Targets::default(), (Vec::new(), usize::MAX), Some(kernel.name.clone()), max_operators)
}

fn copy_of(
    source: &Function,
    slice: &mut Slice<'_>,
    targets: &Targets,
    open: (Vec<u32>, usize),
    foreign: Option<String>,
    max_operators: u32,
) -> Result<Function> {
    copied(source, slice, targets, open, foreign, max_operators).map(|(copy, _)| copy)
}

/// A copy of a function in which those that are open are open so many times at the most; and whether a call is cut for that.
fn copied(
    source: &Function,
    slice: &mut Slice<'_>,
    targets: &Targets,
    (open, most_open): (Vec<u32>, usize),
    foreign: Option<String>,
    max_operators: u32,
) -> Result<(Function, bool)> {
    let mut out = Function {
        values: Vec::new(),
        regions: Vec::new(),
        params: Vec::new(),
        vars: Vec::new(),
        labels: 0,
        ..source.clone()
    };
    for param in &source.params {
        let value = out.new_value(source.ty(*param));
        out.params.push(value);
    }
    let mut inliner = Inliner {
        slice,
        targets,
        kept: &BTreeSet::new(),
        out,
        open,
        most_open,
        foreign,
        constants: HashMap::new(),
        budget: max_operators as usize,
        limit: max_operators,
        depth: 0,
        is_cut: false,
    };
    let params = inliner.out.params.clone();
    let mut copy = Copy::new(source, &params, None, None);
    inliner.out.body = inliner.region(&mut copy, source.body)?;
    let states = inliner.out.states.take();
    inliner.out.states = states.and_then(|states| Some(States { label: copy.label(states.label).ok()?, ..states }));
    Ok((inliner.out, inliner.is_cut))
}

/// Takes from the end of a table what is never called, and then what is one trap over many entries; says which trap, and where
/// it ends.
fn shorten(entries: &mut Vec<Outcome>) -> Option<(TrapKind, usize)> {
    while entries.last() == Some(&Outcome::Never) {
        entries.pop();
    }
    let Some(Outcome::Traps(kind)) = entries.last().copied() else { return None };
    let kept = entries.iter().rposition(|entry| *entry != Outcome::Traps(kind)).map_or(0, |last| last + 1);
    let end = entries.len();
    if end - kept < MIN_TAIL {
        return None;
    }
    entries.truncate(kept);
    Some((kind, end))
}

/// A function of which calls of functions that are kept once are left.
pub(crate) struct Part {
    pub function: Function,
    /// The functions that it calls, and what it passes them: where that is a number known here, which.
    pub calls: Vec<(u32, Vec<Option<u32>>)>,
}

/// Copies a function with all calls inlined but those of the functions `kept` once. Its parameters are the `known` numbers, where
/// there are any.
///
/// # Errors
/// As [`inline`]'s.
pub(crate) fn inline_part(
    slice: &mut Slice<'_>,
    function: u32,
    targets: &Targets,
    max_operators: u32,
    (kept, known): (&BTreeSet<u32>, &[Option<u32>]),
) -> Result<Part> {
    let source = slice.get(function, &[], None)?;
    let mut out =
        Function { values: Vec::new(), regions: Vec::new(), params: Vec::new(), labels: 0, ..(*source).clone() };
    let mut list = ListBuilder::new(source.region(source.body).stmts.first().map_or(Location::default(), |s| s.at));
    let (mut args, mut constants) = (Vec::new(), HashMap::new());
    for (number, param) in source.params.iter().enumerate() {
        let value = out.new_value(source.ty(*param));
        out.params.push(value);
        args.push(match known.get(number).copied().flatten() {
            Some(known) => {
                let constant = list.i32(&mut out, known);
                constants.insert(constant, known);
                constant
            }
            None => value,
        });
    }
    let mut inliner = Inliner {
        slice,
        targets,
        kept,
        out,
        open: vec![function],
        most_open: usize::MAX,
        foreign: None,
        constants,
        budget: max_operators as usize,
        limit: max_operators,
        depth: 0,
        is_cut: false,
    };
    let mut copy = Copy::new(&source, &args, None, None);
    let body = inliner.region(&mut copy, source.body)?;
    let Inliner { out: mut function, constants, .. } = inliner;
    function.body = body;
    function.region_mut(body).stmts.splice(0..0, list.stmts);
    let calls = function.regions.iter().flat_map(|region| &region.stmts).filter_map(|stmt| match &stmt.kind {
        StmtKind::Call { callee, args, .. } => {
            Some((*callee, args.iter().map(|arg| constants.get(arg).copied()).collect()))
        }
        _ => None,
    });
    Ok(Part { calls: calls.collect(), function })
}

struct Inliner<'s, 'e> {
    slice: &'s mut Slice<'e>,
    targets: &'s Targets,
    /// The functions whose calls are left.
    kept: &'s BTreeSet<u32>,
    out: Function,
    /// The functions that are being copied, outermost first.
    open: Vec<u32>,
    /// How often one function may be among them.
    most_open: usize,
    /// The kernel's name, where what it calls is of another module.
    foreign: Option<String>,
    /// Values of the copy that are numbers known here: what callers pass as a table's entry may be one.
    constants: HashMap<Value, u32>,
    budget: usize,
    limit: u32,
    depth: usize,
    /// Whether a call bails out.
    is_cut: bool,
}

/// How far copying has come.
struct State {
    values: usize,
    regions: usize,
    vars: usize,
    labels: u32,
    open: usize,
    budget: usize,
    depth: usize,
    is_cut: bool,
}

/// One copy of one function.
struct Copy<'s> {
    source: &'s Function,
    values: Vec<Option<Value>>,
    labels: HashMap<Label, Label>,
    /// Where a `return` of an inlined callee goes; `None` for the kernel itself.
    returns_to: Option<Label>,
    /// Where all of it stands, if not where it stood.
    at: Option<Location>,
}

impl<'s> Copy<'s> {
    fn new(source: &'s Function, args: &[Value], returns_to: Option<Label>, at: Option<Location>) -> Self {
        let mut values = vec![None; source.values.len()];
        for (param, arg) in source.params.iter().zip(args) {
            values[param.index()] = Some(*arg);
        }
        Copy { source, values, labels: HashMap::new(), returns_to, at }
    }

    fn value(&self, value: Value) -> Result<Value> {
        self.values[value.index()].ok_or_else(|| Error::Internal(format!("{value} is used before it is defined")))
    }

    fn all(&self, values: &[Value]) -> Result<Vec<Value>> {
        values.iter().map(|v| self.value(*v)).collect()
    }

    fn label(&self, label: Label) -> Result<Label> {
        self.labels.get(&label).copied().ok_or_else(|| Error::Internal(format!("{label} is not open")))
    }
}

impl Inliner<'_, '_> {
    fn define(&mut self, copy: &mut Copy<'_>, values: &[Value]) -> Vec<Value> {
        let define = |v: &Value| {
            let new = self.out.new_value(copy.source.ty(*v));
            copy.values[v.index()] = Some(new);
            new
        };
        values.iter().map(define).collect()
    }

    fn open_label(&mut self, copy: &mut Copy<'_>, label: Label) -> Label {
        let new = self.out.new_label();
        copy.labels.insert(label, new);
        new
    }

    fn descend(&mut self, source: &Function, at: Location) -> Result<()> {
        self.depth += 1;
        if self.depth <= MAX_NESTING {
            return Ok(());
        }
        Err(Error::Unsupported {
            what: format!("more than {MAX_NESTING} levels of nesting after inlining"),
            function_name: source.name.clone(),
            at: Some(at),
            too_large: true,
        })
    }

    fn region(&mut self, copy: &mut Copy<'_>, id: RegionId) -> Result<RegionId> {
        let source = copy.source.region(id);
        self.descend(copy.source, source.exit_at)?;
        let params = self.define(copy, &source.params);
        let stmts = self.stmts(copy, &source.stmts)?;
        let exit = match &source.exit {
            Exit::Yield(values) => Exit::Yield(copy.all(values)?),
            Exit::Break(label, values) => Exit::Break(copy.label(*label)?, copy.all(values)?),
            Exit::Continue(label, values) => Exit::Continue(copy.label(*label)?, copy.all(values)?),
            Exit::Return(values) => match copy.returns_to {
                Some(label) => Exit::Break(label, copy.all(values)?),
                None => Exit::Return(copy.all(values)?),
            },
            Exit::Trap(kind) => Exit::Trap(*kind),
        };
        self.depth -= 1;
        let exit_at = copy.at.unwrap_or(source.exit_at);
        Ok(self.out.new_region(Region { params, stmts, exit, exit_at }))
    }

    fn stmts(&mut self, copy: &mut Copy<'_>, source: &[Stmt]) -> Result<Vec<Stmt>> {
        let mut stmts = Vec::with_capacity(source.len());
        for stmt in source {
            let at = copy.at.unwrap_or(stmt.at);
            self.pay(copy.source, at)?;
            let kind = match &stmt.kind {
                StmtKind::Call { callee, args, results } => {
                    let args = copy.all(args)?;
                    let values = self.call(*callee, &args, at, &mut stmts)?;
                    for (result, value) in results.iter().zip(values) {
                        copy.values[result.index()] = Some(value);
                    }
                    continue;
                }
                StmtKind::CallIndirect { table, args, results } => {
                    self.call_indirect(copy, *table, args, results, at, &mut stmts)?;
                    continue;
                }
                StmtKind::Op { op, args, result } => {
                    let args = copy.all(args)?;
                    let result = self.define(copy, result.as_slice()).pop();
                    if let Some((result, number)) = result.zip(self.slice.constant(op)) {
                        self.constants.insert(result, number);
                    }
                    StmtKind::Op { op: *op, args: args.into(), result }
                }
                StmtKind::Block { label, body, results } => {
                    let label = self.open_label(copy, *label);
                    let body = self.region(copy, *body)?;
                    StmtKind::Block { label, body, results: self.define(copy, results) }
                }
                StmtKind::Loop { label, inits, body, results } => {
                    let inits = copy.all(inits)?;
                    let label = self.open_label(copy, *label);
                    let body = self.region(copy, *body)?;
                    StmtKind::Loop { label, inits, body, results: self.define(copy, results) }
                }
                StmtKind::If { cond, then, otherwise, results } => {
                    let cond = copy.value(*cond)?;
                    let then = self.region(copy, *then)?;
                    let otherwise = self.region(copy, *otherwise)?;
                    StmtKind::If { cond, then, otherwise, results: self.define(copy, results) }
                }
                StmtKind::Switch { index, cases, default, results } => {
                    self.switch(copy, *index, cases, *default, results)?
                }
            };
            stmts.push(Stmt { kind, at });
        }
        Ok(stmts)
    }

    /// Cases may share a region; the copy shares it too.
    fn switch(
        &mut self,
        copy: &mut Copy<'_>,
        index: Value,
        cases: &[RegionId],
        default: RegionId,
        results: &[Value],
    ) -> Result<StmtKind> {
        let index = copy.value(index)?;
        let mut copied: HashMap<RegionId, RegionId> = HashMap::new();
        let mut new = Vec::with_capacity(cases.len() + 1);
        for region in cases.iter().chain([&default]) {
            let region = match copied.get(region) {
                Some(known) => *known,
                None => {
                    let made = self.region(copy, *region)?;
                    copied.insert(*region, made);
                    made
                }
            };
            new.push(region);
        }
        let default = new.pop().ok_or_else(|| Error::Internal("a switch has no default".into()))?;
        Ok(StmtKind::Switch { index, cases: new, default, results: self.define(copy, results) })
    }

    /// Inlines one call, or what stands for the callee.
    fn call(&mut self, callee: u32, args: &[Value], at: Location, stmts: &mut Vec<Stmt>) -> Result<Vec<Value>> {
        match self.slice.stand_in(callee)? {
            None => self.call_itself(callee, args, at, stmts),
            Some(StandIn::Quick(quick)) => self.call_behind(&quick, callee, args, at, stmts),
            Some(StandIn::Near(near)) => {
                let bits = self.call_on_bits(&near, args, at, stmts)?;
                let mut list = ListBuilder::new(at);
                let result = list.wasm(&mut self.out, WasmOp::F32ReinterpretI32, &bits);
                stmts.append(&mut list.stmts);
                Ok(vec![result])
            }
        }
    }

    /// Inlines a call of a function that takes the bits of these `f32`s.
    fn call_on_bits(
        &mut self,
        function: &Function,
        floats: &[Value],
        at: Location,
        stmts: &mut Vec<Stmt>,
    ) -> Result<Vec<Value>> {
        let mut list = ListBuilder::new(at);
        let bits_of = |float: &Value| list.wasm(&mut self.out, WasmOp::I32ReinterpretF32, &[*float]);
        let bits: Vec<Value> = floats.iter().map(bits_of).collect();
        stmts.append(&mut list.stmts);
        self.copy_call(function, &bits, Some(at), at, stmts)
    }

    /// Inlines one call behind the callee's quick phase: then what that gives, if it is sure.
    fn call_behind(
        &mut self,
        quick: &Function,
        callee: u32,
        args: &[Value],
        at: Location,
        stmts: &mut Vec<Stmt>,
    ) -> Result<Vec<Value>> {
        let copy = self.call_on_bits(quick, args, at, stmts)?;
        let mut list = ListBuilder::new(at);
        let answer = *copy.first().ok_or_else(|| Error::Internal("a quick phase gives nothing".into()))?;
        let bits = list.wasm(&mut self.out, WasmOp::I32WrapI64, &[answer]);
        let number = list.wasm(&mut self.out, WasmOp::F32ReinterpretI32, &[bits]);
        let width = list.constant(&mut self.out, Const::I64(32));
        let upper = list.wasm(&mut self.out, WasmOp::I64ShrU, &[answer, width]);
        let cond = list.wasm(&mut self.out, WasmOp::I32WrapI64, &[upper]);
        stmts.append(&mut list.stmts);
        let then = ListBuilder::new(at).finish(&mut self.out, Exit::Yield(vec![number]));
        let mut slow = ListBuilder::new(at);
        let values = self.call_itself(callee, args, at, &mut slow.stmts)?;
        let otherwise = slow.finish(&mut self.out, Exit::Yield(values));
        let results = vec![self.out.new_value(Type::F32)];
        stmts.push(Stmt { kind: StmtKind::If { cond, then, otherwise, results: results.clone() }, at });
        Ok(results)
    }

    /// Inlines one call: flat where the callee only falls off its end, else as a block that its returns leave.
    fn call_itself(&mut self, callee: u32, args: &[Value], at: Location, stmts: &mut Vec<Stmt>) -> Result<Vec<Value>> {
        let source = self.slice.get(callee, &self.open, Some(at))?;
        if self.kept.contains(&callee) {
            let results: Vec<Value> = source.results.iter().map(|ty| self.out.new_value(*ty)).collect();
            stmts.push(Stmt { kind: StmtKind::Call { callee, args: args.to_vec(), results: results.clone() }, at });
            return Ok(results);
        }
        if self.open.iter().filter(|open| **open == callee).count() >= self.most_open {
            return Ok(self.bail_out(&source.results, at, stmts));
        }
        self.open.push(callee);
        let results = self.copy_call(&source, args, self.foreign.is_some().then_some(at), at, stmts);
        self.open.pop();
        results
    }

    /// Ends the invocation in place of a call; gives values that stand for the call's results.
    fn bail_out(&mut self, results: &[Type], at: Location, stmts: &mut Vec<Stmt>) -> Vec<Value> {
        self.is_cut = true;
        let mut list = ListBuilder::new(at);
        let index = list.i32(&mut self.out, 0);
        let default = self.trap(TrapKind::BailedOut(Assumption::Recursion), at);
        let results: Vec<Value> = results.iter().map(|ty| self.out.new_value(*ty)).collect();
        list.push(StmtKind::Switch { index, cases: Vec::new(), default, results: results.clone() });
        stmts.extend(list.stmts);
        results
    }

    /// Copies a callee's body. `all_at` is where all of it stands, if that is not where it stood.
    fn copy_call(
        &mut self,
        source: &Function,
        args: &[Value],
        all_at: Option<Location>,
        at: Location,
        stmts: &mut Vec<Stmt>,
    ) -> Result<Vec<Value>> {
        let body = source.region(source.body);
        let returns = source.regions.iter().any(|r| matches!(r.exit, Exit::Return(_)));
        if let (false, Exit::Yield(values)) = (returns, &body.exit) {
            let mut copy = Copy::new(source, args, None, all_at);
            stmts.extend(self.stmts(&mut copy, &body.stmts)?);
            return copy.all(values);
        }
        let label = self.out.new_label();
        let mut copy = Copy::new(source, args, Some(label), all_at);
        let body = self.region(&mut copy, source.body)?;
        let results: Vec<Value> = source.results.iter().map(|ty| self.out.new_value(*ty)).collect();
        stmts.push(Stmt { kind: StmtKind::Block { label, body, results: results.clone() }, at });
        Ok(results)
    }

    /// Inlines an indirect call as a switch over the table's entries: each function it may come to once, and a trap for
    /// all else.
    fn call_indirect(
        &mut self,
        copy: &mut Copy<'_>,
        table: u32,
        args: &[Value],
        results: &[Value],
        at: Location,
        stmts: &mut Vec<Stmt>,
    ) -> Result<()> {
        let Some((entry, params)) = args.split_last() else {
            return Err(Error::Internal("an indirect call has no entry".into()));
        };
        let index = copy.value(*entry)?;
        let (caller, entry) = (copy.source, self.constants.get(&index).copied());
        let among = self.targets.of(at);
        let dispatch = self.slice.dispatch(&Indirect { caller, at, table, entry, among, params, results });
        let params = copy.all(params)?;
        let mut entries = match dispatch {
            Dispatch::Any(entries) => entries,
            Dispatch::Fixed(Outcome::Runs(callee)) => {
                let values = self.call(callee, &params, at, stmts)?;
                results.iter().zip(values).for_each(|(result, value)| copy.values[result.index()] = Some(value));
                return Ok(());
            }
            Dispatch::Fixed(Outcome::Foreign) => return Err(self.slice.foreign(at)),
            Dispatch::Fixed(Outcome::Never) => return Err(Error::Internal("a constant entry is never called".into())),
            Dispatch::Fixed(Outcome::Traps(kind)) => {
                let (default, results) = (self.trap(kind, at), self.define(copy, results));
                stmts.push(Stmt { kind: StmtKind::Switch { index, cases: Vec::new(), default, results }, at });
                return Ok(());
            }
        };
        let tail = shorten(&mut entries);
        if entries.len() > MAX_CASES {
            return Err(Error::Unsupported {
                what: format!("indirect calls through a table of more than {MAX_CASES} entries"),
                function_name: copy.source.name.clone(),
                at: Some(at),
                too_large: false,
            });
        }
        let types: Vec<Type> = results.iter().map(|r| copy.source.ty(*r)).collect();
        let mut regions: HashMap<Outcome, RegionId> = HashMap::new();
        let mut cases = Vec::with_capacity(entries.len());
        for outcome in entries {
            let region = match regions.get(&outcome) {
                Some(known) => *known,
                None => {
                    let region = match outcome {
                        Outcome::Never => self.never(table, index, at),
                        outcome => self.outcome(copy.source, outcome, &params, at)?,
                    };
                    regions.insert(outcome, region);
                    region
                }
            };
            cases.push(region);
        }
        let mut default = match among {
            Some(_) => self.never(table, index, at),
            None => self.trap(TrapKind::TableOutOfBounds, at),
        };
        if let Some((kind, end)) = tail {
            default = self.trap_below(index, end, kind, default, &types, at);
        }
        let results = self.define(copy, results);
        stmts.push(Stmt { kind: StmtKind::Switch { index, cases, default, results }, at });
        Ok(())
    }

    /// A region that does what one entry of a table comes to.
    fn outcome(&mut self, source: &Function, outcome: Outcome, params: &[Value], at: Location) -> Result<RegionId> {
        let before = self.state();
        let region = match outcome {
            Outcome::Traps(kind) => return Ok(self.trap(kind, at)),
            Outcome::Never => return Err(Error::Internal("what is never called has no code".into())),
            Outcome::Foreign => Err(self.slice.foreign(at)),
            Outcome::Runs(callee) => self.region_of_call(source, callee, params, at),
        };
        match (region, self.targets.assumption()) {
            // What a call was seen to come to has to be lifted.
            (Err(Error::Unsupported { too_large: false, .. }), Some(assumption)) if !self.targets.may_share() => {
                self.restore(before);
                Ok(self.trap(TrapKind::BailedOut(assumption), at))
            }
            (region, _) => region,
        }
    }

    fn region_of_call(&mut self, source: &Function, callee: u32, params: &[Value], at: Location) -> Result<RegionId> {
        self.descend(source, at)?;
        let mut stmts = Vec::new();
        let values = self.call(callee, params, at, &mut stmts)?;
        self.depth -= 1;
        Ok(self.out.new_region(Region { params: Vec::new(), stmts, exit: Exit::Yield(values), exit_at: at }))
    }

    fn state(&self) -> State {
        let Function { values, regions, vars, labels, .. } = &self.out;
        State {
            values: values.len(),
            regions: regions.len(),
            vars: vars.len(),
            labels: *labels,
            open: self.open.len(),
            budget: self.budget,
            depth: self.depth,
            is_cut: self.is_cut,
        }
    }

    /// Takes back what was copied since.
    fn restore(&mut self, state: State) {
        self.out.values.truncate(state.values);
        self.out.regions.truncate(state.regions);
        self.out.vars.truncate(state.vars);
        self.out.labels = state.labels;
        self.open.truncate(state.open);
        self.constants.retain(|value, _| value.index() < state.values);
        (self.budget, self.depth, self.is_cut) = (state.budget, state.depth, state.is_cut);
    }

    /// A region for entries that a call does not come to, or is assumed not to: a trap, or the call, of which it is still to be
    /// found out.
    fn never(&mut self, table: u32, index: Value, at: Location) -> RegionId {
        let kind = self.targets.assumption().map_or(TrapKind::TableOutOfBounds, TrapKind::BailedOut);
        let region = self.trap(kind, at);
        if self.targets.are_open() {
            let kind = StmtKind::CallIndirect { table, args: vec![index], results: Vec::new() };
            self.out.region_mut(region).stmts.push(Stmt { kind, at });
        }
        region
    }

    fn trap(&mut self, kind: TrapKind, at: Location) -> RegionId {
        let exit = Exit::Trap(kind);
        self.out.new_region(Region { params: Vec::new(), stmts: Vec::new(), exit, exit_at: at })
    }

    /// A region that traps with `kind` where the entry is below `end`, else does what `beyond` does.
    fn trap_below(
        &mut self,
        index: Value,
        end: usize,
        kind: TrapKind,
        beyond: RegionId,
        types: &[Type],
        at: Location,
    ) -> RegionId {
        let mut list = ListBuilder::new(at);
        let end = list.i32(&mut self.out, end as u32);
        let cond = list.wasm(&mut self.out, WasmOp::I32LtU, &[index, end]);
        let then = self.trap(kind, at);
        let results: Vec<Value> = types.iter().map(|ty| self.out.new_value(*ty)).collect();
        list.push(StmtKind::If { cond, then, otherwise: beyond, results: results.clone() });
        list.finish(&mut self.out, Exit::Yield(results))
    }

    fn pay(&mut self, source: &Function, at: Location) -> Result<()> {
        self.budget = self.budget.checked_sub(1).ok_or_else(|| Error::Unsupported {
            what: format!("more than {} operators after inlining", self.limit),
            function_name: self.foreign.as_ref().unwrap_or(&source.name).clone(),
            at: Some(at),
            too_large: true,
        })?;
        Ok(())
    }
}
