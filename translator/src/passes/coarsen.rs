//! Coarsening: four neighbouring invocations run as one, in step.
//!
//! What is the same for all four is computed once; what differs, four times, statement by statement. Where an invocation
//! accesses element `id` of a buffer, the four access adjacent words, which the passes behind this one make one wide access
//! (`widen`); parts of one word become a whole one (`forward`). Values that are loaded at one address serve all four.
//!
//! The result is a second function beside the kernel. Its iteration id is the first one of four, a multiple of four. It
//! gives up where the four would part (a branch that they do not agree on, a check that one of them fails, a row that ends
//! between them), with [`TrapKind::OneByOne`]: the shader then runs the kernel itself for each of them. So it may give up
//! only before it has stored anything; kernels where that can't be seen to are not coarsened. What the four do at once may
//! end in a trap where all would, of which the first one's id is the lowest.
//!
//! Invocations may run in any order, and share nothing that one of them stores; so the result is that of the kernel.

mod nest;
mod shapes;

use crate::analysis::dataflow;
use crate::error::{Location, TrapKind};
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value};
use crate::passes::merge_checks::merge_checks;
use shapes::{Place, Plan, Shape, Way};

/// How many invocations run as one: as many as a wide access has words.
pub const LANES: u32 = 4;
/// Its logarithm.
const LANE_BITS: u32 = 2;
/// Most statements of a kernel that is coarsened: the shader gets up to five times as long.
const MAX_STATEMENTS: usize = 600;

/// A value of each of the four.
type Lanes = [Value; LANES as usize];

/// The same for a flattened kernel, whose rounds may be several iterations that a compiler made one: what they check is
/// checked first, for behind what the first of them stores it can't be given up any more.
pub fn coarsen_flat(kernel: &Function) -> Option<Function> {
    let mut checked = kernel.clone();
    merge_checks(&mut checked);
    coarsen(&checked)
}

/// The function that does what four neighbouring invocations of a lowered kernel do; `None` where there is none.
pub fn coarsen(kernel: &Function) -> Option<Function> {
    if kernel.stack_words > 0 || kernel.states.is_some() || kernel.stmt_count() > MAX_STATEMENTS {
        return None;
    }
    let mut nested = kernel.clone();
    nest::nest(&mut nested);
    let kernel = &nested;
    let plan = Plan::new(kernel);
    let out = Function {
        params: Vec::new(),
        values: Vec::new(),
        regions: Vec::new(),
        labels: 0,
        body: RegionId(0),
        ..kernel.clone()
    };
    let mut pass = Coarsener {
        kernel,
        plan,
        out,
        lanes: vec![None; kernel.values.len()],
        labels: HashMap::new(),
        list: ListBuilder::default(),
    };
    pass.out.body = pass.region(kernel.body, &[])?;
    Some(pass.out)
}

/// What a label of the kernel is called, and what its breaks and continues give values to.
#[derive(Clone)]
struct Target {
    label: Label,
    results: Vec<Value>,
    params: Vec<Value>,
}

struct Coarsener<'f> {
    kernel: &'f Function,
    plan: Plan<'f>,
    out: Function,
    /// The four of each value of the kernel that is defined.
    lanes: Vec<Option<Lanes>>,
    labels: HashMap<Label, Target>,
    /// The list that is being made.
    list: ListBuilder,
}

impl Coarsener<'_> {
    fn lanes(&self, value: Value) -> Option<Lanes> {
        self.lanes[value.index()]
    }

    /// The first one's value.
    fn first(&self, value: Value) -> Option<Value> {
        self.lanes(value).map(|lanes| lanes[0])
    }

    fn firsts(&self, values: &[Value]) -> Option<Vec<Value>> {
        values.iter().map(|value| self.first(*value)).collect()
    }

    /// Copies a region. `results`: what its yield gives values to.
    fn region(&mut self, id: RegionId, results: &[Value]) -> Option<RegionId> {
        let kernel = self.kernel;
        let region = kernel.region(id);
        let around = std::mem::replace(&mut self.list, ListBuilder::new(region.exit_at));
        // What is defined in a region is not seen behind it; what is found out about a value in it does not hold there.
        let known = self.lanes.clone();
        let params = self.define_list(&region.params)?;
        for (number, stmt) in region.stmts.iter().enumerate() {
            self.list.at = stmt.at;
            self.stmt((id, number), stmt)?;
        }
        let is_late = self.plan.is_late((id, region.stmts.len()));
        let exit = match &region.exit {
            // All trap there. One by one they do so, too, and then it matters no more which of the checks failed.
            Exit::Trap(_) if !is_late => Exit::Trap(TrapKind::OneByOne),
            exit => self.exit(exit, results)?,
        };
        let list = std::mem::replace(&mut self.list, around);
        self.lanes = known;
        Some(self.out.new_region(Region { params, stmts: list.stmts, exit, exit_at: region.exit_at }))
    }

    fn exit(&mut self, exit: &Exit, results: &[Value]) -> Option<Exit> {
        Some(match exit {
            Exit::Yield(values) => Exit::Yield(self.hand_on(values, results)?),
            Exit::Break(label, values) => {
                let target = self.labels.get(label)?.clone();
                Exit::Break(target.label, self.hand_on(values, &target.results)?)
            }
            Exit::Continue(label, values) => {
                let target = self.labels.get(label)?.clone();
                Exit::Continue(target.label, self.hand_on(values, &target.params)?)
            }
            Exit::Return(values) => Exit::Return(self.firsts(values)?),
            Exit::Trap(kind) => Exit::Trap(*kind),
        })
    }

    /// The values for what takes these: one where the first one's says all.
    fn hand_on(&self, values: &[Value], to: &[Value]) -> Option<Vec<Value>> {
        let mut all = Vec::new();
        for (value, to) in values.iter().zip(to) {
            let lanes = self.lanes(*value)?;
            all.extend(&lanes[..self.count(*to)]);
        }
        Some(all)
    }

    /// Number of values that stand for one.
    fn count(&self, value: Value) -> usize {
        if matches!(self.plan.shape(value), Shape::Varying { .. }) { LANES as usize } else { 1 }
    }

    /// Makes the values for those of the kernel, at the start of a region or behind a statement; [`Self::complete`] follows
    /// when the list stands where they are seen.
    fn new_values(&mut self, values: &[Value]) -> Vec<Value> {
        let mut all = Vec::new();
        for value in values {
            let ty = self.kernel.ty(*value);
            all.extend((0..self.count(*value)).map(|_| self.out.new_value(ty)));
        }
        all
    }

    /// Defines parameters or results of the kernel by new values.
    fn define_list(&mut self, values: &[Value]) -> Option<Vec<Value>> {
        let all = self.new_values(values);
        self.complete(values, &all)?;
        Some(all)
    }

    /// Defines these by values that were made for them.
    fn complete(&mut self, values: &[Value], made: &[Value]) -> Option<()> {
        let mut made = made.iter().copied();
        for value in values {
            let own: Vec<Value> = made.by_ref().take(self.count(*value)).collect();
            match <Lanes>::try_from(&own[..]) {
                Ok(lanes) => self.lanes[value.index()] = Some(lanes),
                Err(_) => self.define_by_first(*value, *own.first()?),
            }
        }
        Some(())
    }

    /// Defines a uniform or an affine value.
    fn define_by_first(&mut self, value: Value, first: Value) {
        let lanes = match self.plan.shape(value) {
            Shape::Affine { stride, .. } => {
                let first = self.as_multiple(value, first);
                let mut lanes = [first; LANES as usize];
                for (number, lane) in (1..).zip(&mut lanes[1..]) {
                    let distance = self.list.i32(&mut self.out, stride.wrapping_mul(number));
                    *lane = self.list.low(&mut self.out, LowOp::IAdd, &[first, distance], Type::I32);
                }
                lanes
            }
            _ => [self.as_multiple(value, first); LANES as usize],
        };
        self.lanes[value.index()] = Some(lanes);
    }

    /// A divisor of ids is a multiple of four from its definition on, and where rounds start in a buffer one of as many bytes as
    /// the four access, or the four are run one by one.
    fn as_multiple(&mut self, value: Value, copy: Value) -> Value {
        let of_divisor = self.plan.divisors.contains(&value).then_some(LANE_BITS);
        let bits = self.plan.bases.get(&value).copied().max(of_divisor);
        let Some(bits) = bits.filter(|_| self.plan.constant(value).is_none()) else { return copy };
        let (low, zero, high) = ((1 << bits) - 1, 0, !((1 << bits) - 1));
        let [low, zero, high] = [low, zero, high].map(|number| self.list.i32(&mut self.out, number));
        let rest = self.list.low(&mut self.out, LowOp::And, &[copy, low], Type::I32);
        let parts = self.list.low(&mut self.out, LowOp::Ne, &[rest, zero], Type::Bool);
        self.give_up_if(parts);
        self.list.low(&mut self.out, LowOp::And, &[copy, high], Type::I32)
    }

    fn give_up_if(&mut self, cond: Value) {
        let at = self.list.at;
        let mut region =
            |exit| self.out.new_region(Region { params: Vec::new(), stmts: Vec::new(), exit, exit_at: at });
        let (then, otherwise) = (region(Exit::Trap(TrapKind::OneByOne)), region(Exit::Yield(Vec::new())));
        self.list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    fn stmt(&mut self, place: Place, stmt: &Stmt) -> Option<()> {
        match &stmt.kind {
            StmtKind::Op { op, args, result } => self.op(place, *op, args, *result),
            StmtKind::If { cond, then, otherwise, results } => match self.plan.way(place, &stmt.kind) {
                Way::Together => self.branch(self.first(*cond)?, *then, *otherwise, results),
                Way::Check => self.check(*cond),
                Way::Agree => {
                    let (any, all) = (self.combine(LowOp::BOr, *cond)?, self.combine(LowOp::BAnd, *cond)?);
                    let not_all = self.list.low(&mut self.out, LowOp::BNot, &[all], Type::Bool);
                    let disagree = self.list.low(&mut self.out, LowOp::BAnd, &[any, not_all], Type::Bool);
                    self.give_up_if(disagree);
                    self.branch(any, *then, *otherwise, results)
                }
                Way::Apart => self.apart(&stmt.kind, stmt.at),
                Way::Never => None,
            },
            StmtKind::Block { .. } if self.plan.way(place, &stmt.kind) == Way::Apart => self.apart(&stmt.kind, stmt.at),
            StmtKind::Block { label, body, results } => {
                let new = self.enter(*label, results, &[]);
                let body = self.region(*body, results)?;
                let made = self.new_values(results);
                self.list.push(StmtKind::Block { label: new, body, results: made.clone() });
                self.complete(results, &made)
            }
            StmtKind::Loop { label, inits, body, results } => {
                let params = &self.kernel.region(*body).params;
                let new = self.enter(*label, results, params);
                let inits = self.hand_on(inits, params)?;
                let body = self.region(*body, results)?;
                let made = self.new_values(results);
                self.list.push(StmtKind::Loop { label: new, inits, body, results: made.clone() });
                self.complete(results, &made)
            }
            StmtKind::Switch { index, cases, default, results } => {
                let is_uniform = self.plan.shape(*index) == Shape::Uniform;
                let index = self.first(*index).filter(|_| is_uniform)?;
                let cases = cases.iter().map(|case| self.region(*case, results)).collect::<Option<_>>()?;
                let default = self.region(*default, results)?;
                let made = self.new_values(results);
                self.list.push(StmtKind::Switch { index, cases, default, results: made.clone() });
                self.complete(results, &made)
            }
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => None,
        }
    }

    /// Gives up where a check fails. Each of the four has its own, so that those go together that are of one kind.
    fn check(&mut self, cond: Value) -> Option<()> {
        let lanes = self.lanes(cond)?;
        let first = if self.plan.last_decides(cond) { LANES as usize - 1 } else { 0 };
        lanes[first..].iter().for_each(|lane| self.give_up_if(*lane));
        Some(())
    }

    fn enter(&mut self, label: Label, results: &[Value], params: &[Value]) -> Label {
        let new = self.out.new_label();
        self.labels.insert(label, Target { label: new, results: results.to_vec(), params: params.to_vec() });
        new
    }

    /// A branch that all take in the same way.
    fn branch(&mut self, cond: Value, then: RegionId, otherwise: RegionId, results: &[Value]) -> Option<()> {
        let (then, otherwise) = (self.region(then, results)?, self.region(otherwise, results)?);
        let made = self.new_values(results);
        self.list.push(StmtKind::If { cond, then, otherwise, results: made.clone() });
        self.complete(results, &made)
    }

    /// Whether a condition holds for any (`BOr`) or for all (`BAnd`).
    fn combine(&mut self, op: LowOp, cond: Value) -> Option<Value> {
        let [first, others @ ..] = self.lanes(cond)?;
        let mut combined = first;
        for lane in others {
            combined = self.list.low(&mut self.out, op, &[combined, lane], Type::Bool);
        }
        Some(combined)
    }

    fn op(&mut self, place: Place, op: Op, args: &[Value], result: Option<Value>) -> Option<()> {
        if let Op::Low(low) = op {
            if !is_supported(low) {
                return None;
            }
            if self.plan.is_row(place, low, args) {
                return self.row(low, args, result?);
            }
        }
        if let (Op::Low(LowOp::ISub), Some(result), Some(number)) =
            (op, result, args.get(1).and_then(|b| self.plan.constant(*b)))
        {
            return self.sum(args[0], number.wrapping_neg(), result);
        }
        let shape = result.map(|result| self.plan.shape(result));
        match (result, shape) {
            (Some(result), Some(Shape::Varying { .. })) => {
                let ty = self.kernel.ty(result);
                let mut lanes = [Value(0); LANES as usize];
                for (number, lane) in lanes.iter_mut().enumerate() {
                    let args = self.lane_of(args, number)?;
                    *lane = self.list.op(&mut self.out, op, &args, ty);
                }
                self.lanes[result.index()] = Some(lanes);
            }
            (Some(result), _) => {
                let args = self.firsts(args)?;
                let mut first = self.list.op(&mut self.out, op, &args, self.kernel.ty(result));
                if op == Op::Low(LowOp::IterationId) {
                    // So that passes know.
                    let mask = self.list.i32(&mut self.out, !(LANES - 1));
                    first = self.list.low(&mut self.out, LowOp::And, &[first, mask], Type::I32);
                }
                self.define_by_first(result, first);
            }
            (None, _) => {
                for number in 0..LANES as usize {
                    let args = self.lane_of(args, number)?;
                    self.list.effect(op, &args);
                }
            }
        }
        Some(())
    }

    /// A value and a constant: passes know sums better than differences.
    fn sum(&mut self, value: Value, number: u32, result: Value) -> Option<()> {
        let mut lanes = self.lanes(value)?;
        let number = self.list.i32(&mut self.out, number);
        let ty = self.kernel.ty(result);
        if let Shape::Varying { .. } = self.plan.shape(result) {
            lanes.iter_mut().for_each(|lane| *lane = self.list.low(&mut self.out, LowOp::IAdd, &[*lane, number], ty));
            self.lanes[result.index()] = Some(lanes);
        } else {
            let first = self.list.low(&mut self.out, LowOp::IAdd, &[lanes[0], number], ty);
            self.define_by_first(result, first);
        }
        Some(())
    }

    fn lane_of(&self, args: &[Value], number: usize) -> Option<Args> {
        args.iter().map(|arg| self.lanes(*arg).map(|lanes| lanes[number])).collect()
    }

    /// A quotient or a remainder of ids that lie in one row: the divisor is a multiple of four. Signed ones are those of
    /// unsigned numbers where neither operand is negative.
    fn row(&mut self, op: LowOp, args: &[Value], result: Value) -> Option<()> {
        let args = self.firsts(args)?;
        if matches!(op, LowOp::SDiv | LowOp::SRem) {
            let zero = self.list.i32(&mut self.out, 0);
            let negative =
                [args[0], args[1]].map(|arg| self.list.low(&mut self.out, LowOp::SLt, &[arg, zero], Type::Bool));
            let either = self.list.low(&mut self.out, LowOp::BOr, &negative, Type::Bool);
            self.give_up_if(either);
        }
        let op = match op {
            LowOp::UDiv | LowOp::SDiv => LowOp::UDiv,
            _ => LowOp::URem,
        };
        let first = self.list.low(&mut self.out, op, &args, Type::I32);
        self.define_by_first(result, first);
        Some(())
    }

    /// A branch that each takes by itself.
    fn apart(&mut self, kind: &StmtKind, at: Location) -> Option<()> {
        let results = kind.results();
        let mut made = Vec::new();
        for number in 0..LANES as usize {
            let mut lane = Lane { number, values: HashMap::new(), labels: HashMap::new() };
            let stmt = self.copy_stmt(&mut lane, &Stmt { kind: kind.clone(), at })?;
            self.list.stmts.push(stmt);
            made.push(lane);
        }
        for result in results {
            let lanes: Option<Vec<Value>> = made.iter().map(|lane| lane.values.get(result).copied()).collect();
            self.lanes[result.index()] = Some(lanes?.try_into().ok()?);
        }
        Some(())
    }

    fn copy_stmt(&mut self, lane: &mut Lane, stmt: &Stmt) -> Option<Stmt> {
        let args = stmt.kind.args().iter().map(|arg| self.of_lane(lane, *arg)).collect::<Option<Args>>()?;
        let kind = match &stmt.kind {
            StmtKind::Op { op, result, .. } => {
                if matches!(op, Op::Low(low) if !is_supported(*low)) {
                    return None;
                }
                StmtKind::Op { op: *op, args, result: result.map(|result| self.define_of_lane(lane, result)) }
            }
            StmtKind::If { then, otherwise, results, .. } => {
                let (then, otherwise) = (self.copy_region(lane, *then)?, self.copy_region(lane, *otherwise)?);
                let results = results.iter().map(|result| self.define_of_lane(lane, *result)).collect();
                StmtKind::If { cond: args[0], then, otherwise, results }
            }
            StmtKind::Block { label, body, results } => {
                let new = self.out.new_label();
                lane.labels.insert(*label, new);
                let body = self.copy_region(lane, *body)?;
                let results = results.iter().map(|result| self.define_of_lane(lane, *result)).collect();
                StmtKind::Block { label: new, body, results }
            }
            _ => return None,
        };
        Some(Stmt { kind, at: stmt.at })
    }

    fn copy_region(&mut self, lane: &mut Lane, id: RegionId) -> Option<RegionId> {
        let kernel = self.kernel;
        let region = kernel.region(id);
        let stmts = region.stmts.iter().map(|stmt| self.copy_stmt(lane, stmt)).collect::<Option<_>>()?;
        let values = region.exit.values().iter().map(|value| self.of_lane(lane, *value)).collect::<Option<_>>()?;
        let exit = match &region.exit {
            Exit::Yield(_) => Exit::Yield(values),
            Exit::Break(label, _) => Exit::Break(*lane.labels.get(label)?, values),
            Exit::Trap(_) => Exit::Trap(TrapKind::OneByOne),
            _ => return None,
        };
        Some(self.out.new_region(Region { params: Vec::new(), stmts, exit, exit_at: region.exit_at }))
    }

    fn of_lane(&self, lane: &Lane, value: Value) -> Option<Value> {
        lane.values.get(&value).copied().or_else(|| self.lanes(value).map(|lanes| lanes[lane.number]))
    }

    fn define_of_lane(&mut self, lane: &mut Lane, value: Value) -> Value {
        let copy = self.out.new_value(self.kernel.ty(value));
        lane.values.insert(value, copy);
        copy
    }
}

/// A copy for one of the four.
struct Lane {
    number: usize,
    /// What is defined in it.
    values: HashMap<Value, Value>,
    labels: HashMap<Label, Label>,
}

/// Whether four invocations may do it one after the other, in step: what orders accesses, and what there is one of for each
/// invocation, is left alone.
pub(super) fn is_supported(op: LowOp) -> bool {
    use LowOp::*;
    !matches!(
        op,
        Atomic { .. }
            | Fence
            | LoadStack
            | StoreStack
            | Burn
            | Spend
            | Owes
            | Settle
            | Take { .. }
            | Cell(_)
            | SetCell(_)
            | Refund
            | Overtaken
            | VarGet(_)
            | VarSet(_)
            | StorePart { .. }
    )
}

/// Drops the tests that only say why invocations are to be run one by one: behind the branch that merged checks became
/// (`merge_checks`), all lead there.
pub fn forget_reasons(coarse: &mut Function) {
    for id in dataflow::regions(coarse) {
        let region = coarse.region(id);
        if region.exit == Exit::Trap(TrapKind::OneByOne) && region.stmts.iter().all(|stmt| is_reason(coarse, stmt)) {
            coarse.region_mut(id).stmts.clear();
        }
    }
}

fn is_reason(coarse: &Function, stmt: &Stmt) -> bool {
    let gives_up = |id: RegionId| {
        let region = coarse.region(id);
        let leads_there = matches!(region.exit, Exit::Trap(TrapKind::OneByOne));
        (leads_there || region.exit == Exit::Yield(Vec::new()))
            && region.stmts.iter().all(|stmt| is_reason(coarse, stmt))
    };
    match &stmt.kind {
        StmtKind::Op { op, .. } => op.is_pure(),
        kind @ StmtKind::If { .. } => kind.each_region().all(gives_up),
        _ => false,
    }
}

/// Accesses in a loop count for so many of those around it.
const IN_LOOP: u64 = 8;

/// Whether a function for four invocations at once, in strict form, is worth having beside the kernel: it makes at most
/// three accesses of memory, in loops counted as many, for five of the kernel's.
pub fn pays(coarse: &Function, kernel: &Function) -> bool {
    let (together, apart) = (accesses(coarse, coarse.body), u64::from(LANES) * accesses(kernel, kernel.body));
    together * 5 <= apart * 3
}

fn accesses(function: &Function, id: RegionId) -> u64 {
    let mut quads = HashSet::new();
    let mut count = 0;
    for stmt in &function.region(id).stmts {
        count += match &stmt.kind {
            StmtKind::Op { op: Op::Low(LowOp::LoadLane { slot, .. }), args, .. } => {
                u64::from(quads.insert((*slot, args[0])))
            }
            StmtKind::Op { op: Op::Low(op), .. } => u64::from(op.loaded_slot().is_some() || op.stored_slot().is_some()),
            kind => {
                let times = if matches!(kind, StmtKind::Loop { .. }) { IN_LOOP } else { 1 };
                kind.each_region().map(|below| accesses(function, below)).sum::<u64>() * times
            }
        };
    }
    count
}
