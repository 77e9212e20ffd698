//! Multi-level branches to strict form: `if`, loops, and exits of the innermost loop.
//!
//! Every construct has a *point* behind it, where control goes on with the construct's results. A branch to a point
//! is one of its *sites*. The form each point gets decides how good the shader is:
//! - A point with nothing behind it is threaded: its sites go straight to where it would go on.
//! - A point with one site, in the same loop, is *inlined*: the code behind it moves to the site, so that
//!   `block { if (c) br 0; a } b` becomes `if (c) { } else { a } b` without a flag. Where one arm leaves
//!   the loop or the function, the other goes on flat behind the `if`.
//! - Every other point is a *join*: results meet in variables. Sites that fall to it need nothing more, sites that
//!   break the loop in front of it need a break, and the rest set the `escape` variable and skip what lies between.
//!
//! No code is duplicated, and no one-trip loops are made: on the drivers measured a guard costs less.

mod points;
mod switch;

use smallvec::smallvec;

use std::collections::BTreeSet;

use crate::error::{Error, Location, Result};
use crate::hash::HashSet;
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Const, Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value, Var};
use points::{PointId, Points, Target};

/// Deepest recursion for inlined points; deeper ones become joins, which are emitted iteratively.
const MAX_INLINE_DEPTH: usize = 2_000;

/// Turns lowered IR into strict form. `unused`: values that stand where none is used, to which no variable need be set. Drivers of
/// devices that run many invocations in lockstep select between old and new at each place where one is.
///
/// # Errors
/// [`Error::Internal`] if the IR breaks its rules.
pub fn structurize(mut function: Function, unused: &HashSet<Value>) -> Result<Function> {
    let points = Points::find(&function)?;
    let source = std::mem::take(&mut function.regions);
    let value_count = function.values.len();
    let mut emitter = Emitter {
        source,
        points,
        function,
        subst: (0..value_count as u32).map(Value).collect(),
        loops: Vec::new(),
        escape: None,
        kept: Vec::new(),
        inline_depth: 0,
        at: Location::default(),
        unused,
        left_alone: BTreeSet::new(),
    };
    let mut list = List::default();
    let mut escapes = Escapes::default();
    let body = emitter.function.body;
    emitter.emit(body, 0, Target::End, &mut list, &mut escapes)?;
    let mut start = ListBuilder::new(emitter.at);
    for var in emitter.escape.iter().chain(&emitter.left_alone) {
        let zero = Const::zero(emitter.function.vars[var.index()]);
        let zero = start.constant(&mut emitter.function, zero);
        start.effect(Op::Low(LowOp::VarSet(*var)), &[zero]);
    }
    list.stmts.splice(0..0, start.stmts);
    emitter.function.body = emitter.region(list, Exit::Return(Vec::new()));
    Ok(emitter.function)
}

/// A list of strict statements under construction.
#[derive(Default)]
struct List {
    stmts: Vec<Stmt>,
    /// How it ends; `None`: it falls off its end.
    exit: Option<(Exit, Location)>,
}

/// The points that code inside a construct has set the escape variable to.
type Escapes = BTreeSet<Target>;

/// A loop of the strict form that is open.
struct OpenLoop {
    label: Label,
    /// Where a break arrives without more ado.
    break_target: Target,
}

struct Emitter<'a> {
    source: Vec<Region>,
    points: Points,
    function: Function,
    /// What each value of the source is called now.
    subst: Vec<Value>,
    loops: Vec<OpenLoop>,
    escape: Option<Var>,
    /// The parameters of the loop of states, once that is open: one that a state hands on as it is needs not be set.
    kept: Vec<Value>,
    inline_depth: usize,
    at: Location,
    /// See [`structurize`].
    unused: &'a HashSet<Value>,
    /// Variables that are not set where that is no use: all are before they are read.
    left_alone: BTreeSet<Var>,
}

impl Emitter<'_> {
    fn region(&mut self, list: List, fall: Exit) -> RegionId {
        let (exit, exit_at) = list.exit.unwrap_or((fall, self.at));
        self.function.new_region(Region { params: Vec::new(), stmts: list.stmts, exit, exit_at })
    }

    fn value(&self, value: Value) -> Value {
        self.subst[value.index()]
    }

    fn all(&self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|v| self.value(*v)).collect()
    }

    fn push(&mut self, list: &mut List, kind: StmtKind) {
        list.stmts.push(Stmt { kind, at: self.at });
    }

    fn constant(&mut self, list: &mut List, value: u32) -> Value {
        let result = self.function.new_value(Type::I32);
        self.push(list, StmtKind::Op { op: Op::Const(Const::I32(value)), args: Args::new(), result: Some(result) });
        result
    }

    fn low(&mut self, list: &mut List, op: LowOp, args: Vec<Value>, ty: Type) -> Value {
        let result = self.function.new_value(ty);
        self.push(list, StmtKind::Op { op: Op::Low(op), args: args.into(), result: Some(result) });
        result
    }

    fn set(&mut self, list: &mut List, var: Var, value: Value) {
        if self.unused.contains(&value) {
            self.left_alone.insert(var);
            return;
        }
        self.push(list, StmtKind::Op { op: Op::Low(LowOp::VarSet(var)), args: smallvec![value], result: None });
    }

    fn escape_var(&mut self) -> Var {
        *self.escape.get_or_insert_with(|| self.function.new_var(Type::I32))
    }

    /// Emits a region from a statement on, and its exit. `fall`: where falling off the list's end arrives.
    fn emit(&mut self, id: RegionId, from: usize, fall: Target, list: &mut List, escapes: &mut Escapes) -> Result<()> {
        let live = self.points.live_statements(id);
        for index in from..live {
            let Stmt { kind, at } = self.source[id.index()].stmts[index].clone();
            self.at = at;
            let Some(point) = self.points.behind(id, index) else {
                self.operator(kind, list)?;
                continue;
            };
            if self.construct(kind, point, fall, list, escapes)? {
                return Ok(()); // What is behind it stands where it is reached.
            }
        }
        if !self.points.exit_is_live(id) {
            return Ok(());
        }
        self.at = self.source[id.index()].exit_at;
        let exit = self.source[id.index()].exit.clone();
        self.exit(id, &exit, fall, list, escapes)
    }

    fn operator(&mut self, kind: StmtKind, list: &mut List) -> Result<()> {
        let StmtKind::Op { op, args, result } = kind else {
            return Err(Error::Internal("a call came to the structurizer".into()));
        };
        let args = self.all(&args);
        self.push(list, StmtKind::Op { op, args: args.into(), result });
        Ok(())
    }

    /// Emits a construct; true if the code behind it is not to be emitted in this list.
    fn construct(
        &mut self,
        kind: StmtKind,
        point: PointId,
        fall: Target,
        list: &mut List,
        escapes: &mut Escapes,
    ) -> Result<bool> {
        if let Some(done) = self.guarding_if(&kind, point, list, escapes)? {
            return Ok(done);
        }
        let sites = self.points.sites(point);
        let inline = self.points.can_inline(point) && self.inline_depth < MAX_INLINE_DEPTH;
        self.points.set_inline(point, inline);
        if sites == 0 || inline {
            self.shape(kind, fall, fall, list, escapes)?;
            return Ok(true);
        }
        self.make_variables(point);
        let mut inner = Escapes::default();
        self.shape(kind, Target::Point(point), Target::Point(point), list, &mut inner)?;
        self.join(point, inner, fall, list, escapes)
    }

    /// The commonest construct, a check: an `if` of which one arm ends the invocation and the other is empty. It is
    /// emitted without recursion, so that a long run of checks needs no stack.
    fn guarding_if(
        &mut self,
        kind: &StmtKind,
        point: PointId,
        list: &mut List,
        escapes: &mut Escapes,
    ) -> Result<Option<bool>> {
        let StmtKind::If { cond, then, otherwise, results } = kind else { return Ok(None) };
        if self.points.sites(point) != 1 {
            return Ok(None);
        }
        let passes = |r: &RegionId| {
            let region = &self.source[r.index()];
            region.stmts.is_empty() && matches!(region.exit, Exit::Yield(_))
        };
        let (leaving, passing, when) = match (passes(then), passes(otherwise)) {
            (false, true) => (*then, *otherwise, true),
            (true, false) => (*otherwise, *then, false),
            _ => return Ok(None),
        };
        if !self.only_ends(leaving) {
            return Ok(None);
        }
        let cond = self.value(*cond);
        let (results, at) = (results.clone(), self.at);
        let mut arm = List::default();
        self.emit(leaving, 0, Target::Nowhere, &mut arm, escapes)?;
        self.at = at;
        self.push_if(cond, when, arm, list);
        let values = self.all(self.source[passing.index()].exit.values());
        self.bind(&results, &values);
        Ok(Some(false))
    }

    /// Whether a region ends the invocation, with no more than checks of its own before: merged checks end so.
    fn only_ends(&self, id: RegionId) -> bool {
        let region = &self.source[id.index()];
        let is_operator = |stmt: &Stmt| matches!(stmt.kind, StmtKind::Op { .. });
        let stays = |id: RegionId| {
            let region = &self.source[id.index()];
            region.stmts.iter().all(is_operator)
                && matches!(region.exit, Exit::Trap(_) | Exit::Return(_) | Exit::Yield(_))
        };
        let is_check = |stmt: &Stmt| match stmt.kind {
            StmtKind::If { then, otherwise, .. } => stays(then) && stays(otherwise),
            _ => is_operator(stmt),
        };
        matches!(region.exit, Exit::Trap(_) | Exit::Return(_)) && region.stmts.iter().all(is_check)
    }

    fn push_if(&mut self, cond: Value, when: bool, arm: List, list: &mut List) {
        let arm = self.region(arm, Exit::Yield(Vec::new()));
        let empty = self.region(List::default(), Exit::Yield(Vec::new()));
        let (then, otherwise) = if when { (arm, empty) } else { (empty, arm) };
        self.push(list, StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    fn bind(&mut self, results: &[Value], values: &[Value]) {
        for (result, value) in results.iter().zip(values) {
            self.subst[result.index()] = *value;
        }
    }

    /// Emits the construct itself. `fall`: where its arms fall to. `breaks_to`: where a loop's break arrives.
    fn shape(
        &mut self,
        kind: StmtKind,
        fall: Target,
        breaks_to: Target,
        list: &mut List,
        escapes: &mut Escapes,
    ) -> Result<()> {
        match kind {
            StmtKind::Block { body, .. } => {
                self.inline_depth += 1;
                self.emit(body, 0, fall, list, escapes)?;
                self.inline_depth -= 1;
            }
            StmtKind::If { cond, then, otherwise, .. } => {
                let cond = self.value(cond);
                self.two_ways(
                    cond,
                    list,
                    escapes,
                    |e, arm, escapes| e.emit(then, 0, fall, arm, escapes),
                    |e, arm, escapes| e.emit(otherwise, 0, fall, arm, escapes),
                )?;
            }
            StmtKind::Switch { index, cases, default, .. } => {
                let index = self.value(index);
                switch::emit(self, index, &cases, default, fall, list, escapes)?;
            }
            StmtKind::Loop { label, inits, body, .. } => {
                let inits = self.all(&inits);
                self.loop_shape(label, &inits, body, breaks_to, list, escapes)?;
            }
            StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {
                return Err(Error::Internal("an operator has no point".into()));
            }
        }
        Ok(())
    }

    /// Emits an `if`. An arm that leaves lets the other go on flat, for nothing in this list comes behind.
    fn two_ways(
        &mut self,
        cond: Value,
        list: &mut List,
        escapes: &mut Escapes,
        then: impl FnOnce(&mut Self, &mut List, &mut Escapes) -> Result<()>,
        otherwise: impl FnOnce(&mut Self, &mut List, &mut Escapes) -> Result<()>,
    ) -> Result<()> {
        let at = self.at;
        let (mut then_list, mut else_list) = (List::default(), List::default());
        self.inline_depth += 1;
        then(self, &mut then_list, escapes)?;
        self.at = at;
        otherwise(self, &mut else_list, escapes)?;
        self.inline_depth -= 1;
        self.at = at;
        if then_list.exit.is_some() {
            self.push_if(cond, true, then_list, list);
            list.stmts.append(&mut else_list.stmts);
            list.exit = else_list.exit;
        } else if else_list.exit.is_some() {
            self.push_if(cond, false, else_list, list);
            list.stmts.append(&mut then_list.stmts);
        } else if !(then_list.stmts.is_empty() && else_list.stmts.is_empty()) {
            let then = self.region(then_list, Exit::Yield(Vec::new()));
            let otherwise = self.region(else_list, Exit::Yield(Vec::new()));
            self.push(list, StmtKind::If { cond, then, otherwise, results: Vec::new() });
        }
        Ok(())
    }

    fn loop_shape(
        &mut self,
        label: Label,
        inits: &[Value],
        body: RegionId,
        break_target: Target,
        list: &mut List,
        escapes: &mut Escapes,
    ) -> Result<()> {
        let params = self.source[body.index()].params.clone();
        let vars: Vec<Var> = params.iter().map(|p| self.function.new_var(self.function.ty(*p))).collect();
        for (var, init) in vars.iter().zip(inits) {
            self.set(list, *var, *init);
        }
        let mut inner = List::default();
        for (var, param) in vars.iter().zip(&params) {
            self.push(
                &mut inner,
                StmtKind::Op { op: Op::Low(LowOp::VarGet(*var)), args: Args::new(), result: Some(*param) },
            );
        }
        if self.function.states.as_ref().is_some_and(|states| states.label == label) {
            self.kept.clone_from(&params);
        }
        self.points.set_loop_vars(label, vars);
        self.loops.push(OpenLoop { label, break_target });
        let at = self.at;
        let mut left = Escapes::default();
        self.emit(body, 0, Target::Continue(label), &mut inner, &mut left)?;
        self.loops.pop();
        let body = self.region(inner, Exit::Continue(label, Vec::new()));
        self.at = at;
        self.push(list, StmtKind::Loop { label, inits: Vec::new(), body, results: Vec::new() });
        self.leave_outer_loops(left, break_target, list, escapes)
    }

    /// Behind a loop: escapes that also leave the loop around it, or continue that, do so now.
    fn leave_outer_loops(&mut self, left: Escapes, here: Target, list: &mut List, escapes: &mut Escapes) -> Result<()> {
        for target in left {
            let outer = self.loops.last().map(|l| (l.label, l.break_target));
            let exit = match outer {
                _ if target == here => None,
                Some((label, _)) if target == Target::Continue(label) => {
                    Some((Exit::Continue(label, Vec::new()), true))
                }
                Some((label, breaks_to)) if target == breaks_to => Some((Exit::Break(label, Vec::new()), true)),
                Some((label, _)) if self.points.loop_of(target) != Some(label) => {
                    Some((Exit::Break(label, Vec::new()), false))
                }
                _ => None,
            };
            let Some((exit, arrived)) = exit else {
                escapes.insert(target);
                continue;
            };
            let cond = self.escape_is(target, list)?;
            let mut arm = List::default();
            if arrived {
                let escape = self.escape_var();
                let zero = self.constant(&mut arm, 0);
                self.set(&mut arm, escape, zero);
            } else {
                escapes.insert(target);
            }
            arm.exit = Some((exit, self.at));
            self.push_if(cond, true, arm, list);
        }
        Ok(())
    }

    fn escape_is(&mut self, target: Target, list: &mut List) -> Result<Value> {
        let escape = self.escape_var();
        let current = self.low(list, LowOp::VarGet(escape), Vec::new(), Type::I32);
        let id = self.points.escape_number(target);
        let id = self.constant(list, id);
        Ok(self.low(list, LowOp::Eq, vec![current, id], Type::Bool))
    }

    fn make_variables(&mut self, point: PointId) {
        let results = self.points.results(point).to_vec();
        let vars = results.iter().map(|r| self.function.new_var(self.function.ty(*r))).collect();
        self.points.set_vars(point, vars);
    }

    /// Behind a construct whose point is a join: takes its results from their variables, and sees to it that code
    /// that escaped further does not run what is behind. True if that was emitted here, inside a guard.
    fn join(
        &mut self,
        point: PointId,
        mut inner: Escapes,
        fall: Target,
        list: &mut List,
        escapes: &mut Escapes,
    ) -> Result<bool> {
        let arrived = inner.remove(&Target::Point(point));
        // Escapes to the place that the list falls to have set the variable too, so they are guarded like the others.
        let guarded = !inner.is_empty();
        if arrived {
            let escape = self.escape_var();
            let zero = self.constant(list, 0);
            let value = if guarded {
                let here = self.escape_is(Target::Point(point), list)?;
                let current = self.low(list, LowOp::VarGet(escape), Vec::new(), Type::I32);
                self.low(list, LowOp::Select, vec![here, zero, current], Type::I32)
            } else {
                zero
            };
            self.set(list, escape, value);
        }
        escapes.extend(inner);
        if !guarded {
            self.take_results(point, list);
            return Ok(false);
        }
        let cond = self.escape_is(Target::Nowhere, list)?;
        let mut rest = List::default();
        self.take_results(point, &mut rest);
        let (region, index) = self.points.place(point);
        self.inline_depth += 1;
        self.emit(region, index + 1, fall, &mut rest, escapes)?;
        self.inline_depth -= 1;
        self.push_if(cond, true, rest, list);
        Ok(true)
    }

    fn take_results(&mut self, point: PointId, list: &mut List) {
        let results = self.points.results(point).to_vec();
        let vars = self.points.vars(point).to_vec();
        for (var, result) in vars.into_iter().zip(results) {
            self.push(list, StmtKind::Op { op: Op::Low(LowOp::VarGet(var)), args: Args::new(), result: Some(result) });
        }
    }

    /// Emits a region's exit: a site of some target.
    fn exit(&mut self, id: RegionId, exit: &Exit, fall: Target, list: &mut List, escapes: &mut Escapes) -> Result<()> {
        let (target, values) = self.points.resolve(&self.source, id, exit, self.at)?;
        let values = self.all(&values);
        match target {
            Target::End | Target::Nowhere => {
                if fall != Target::End {
                    list.exit = Some((Exit::Return(Vec::new()), self.at));
                }
                Ok(())
            }
            Target::Trap(kind, at) => {
                list.exit = Some((Exit::Trap(kind), at));
                Ok(())
            }
            Target::Continue(label) => {
                let vars = self.points.loop_vars(label).to_vec();
                let is_states = self.function.states.as_ref().is_some_and(|states| states.label == label);
                let is_kept = |(number, value): (usize, &Value)| is_states && self.kept.get(number) == Some(value);
                let kept: Vec<bool> = values.iter().enumerate().map(is_kept).collect();
                for ((var, value), kept) in vars.into_iter().zip(values).zip(kept) {
                    if !kept {
                        self.set(list, var, value);
                    }
                }
                self.go(target, fall, list, escapes)
            }
            Target::Point(point) if self.points.is_inline(point) => {
                let results = self.points.results(point).to_vec();
                self.bind(&results, &values);
                let (region, index) = self.points.place(point);
                self.emit(region, index + 1, fall, list, escapes)
            }
            Target::Point(point) => {
                let vars = self.points.vars(point).to_vec();
                for (var, value) in vars.into_iter().zip(values) {
                    self.set(list, var, value);
                }
                self.go(target, fall, list, escapes)
            }
        }
    }

    /// Leaves the list for a target whose variables are set.
    fn go(&mut self, target: Target, fall: Target, list: &mut List, escapes: &mut Escapes) -> Result<()> {
        if target == fall {
            return Ok(());
        }
        let innermost = self.loops.last().map(|l| (l.label, l.break_target));
        if let Some((label, break_target)) = innermost {
            if target == Target::Continue(label) {
                list.exit = Some((Exit::Continue(label, Vec::new()), self.at));
                return Ok(());
            }
            if target == break_target {
                list.exit = Some((Exit::Break(label, Vec::new()), self.at));
                return Ok(());
            }
        }
        let escape = self.escape_var();
        let number = self.points.escape_number(target);
        let number = self.constant(list, number);
        self.set(list, escape, number);
        escapes.insert(target);
        if let Some((label, _)) = innermost
            && self.points.loop_of(target) != Some(label)
        {
            list.exit = Some((Exit::Break(label, Vec::new()), self.at));
        }
        Ok(())
    }
}
