//! Flattening: the rounds of an invocation's loops become invocations of their own.
//!
//! Guests that were written for few processors launch few invocations, each of which loops over a block of neighbouring
//! elements. On a GPU neighbouring invocations then access memory far from each other, and there are too few of them. Where
//! no round of a loop can see what another one does, each becomes an invocation: of a kernel that is launched for `n`
//! invocations of at most `t` rounds each, the flattened one is launched for `n * t`, of which number `f` does round `f % t` of
//! invocation `f / t`, or nothing if that has no such round. How many rounds there are at most the host finds before the
//! launch ([`Rounds`]). Neighbours are in step then, and four of them may run as one (`coarsen`).
//!
//! A round is an iteration of a loop, or what is stored once, in front of a loop or behind it, as by the iteration that
//! compilers peel off before they unroll a loop. What is computed between them every invocation computes for itself; it
//! passes what is not its round, and ends behind it:
//!
//! ```text
//! stores; n = …; p = loop (p = a) { store p; p' = p + 4; if …n times… { continue p' } }; more
//!
//! if left == 0 { stores; return }; left = left - 1
//! n = …; if left < n { p = a + left * 4; store p; return }; left = left - n; p = a + n * 4; more
//! ```
//!
//! An invocation's rounds are numbered in the order in which they would run, so the least number of those that trap is that of
//! its first trap. Which kernels are flattened, and why no round sees another one, `paths` says.

mod accesses;
mod loops;
mod parts;
mod paths;

use crate::analysis::dataflow;
use crate::analysis::rounds::Rounds;
use crate::analysis::trip_counts::{Definitions, below, labels};
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Exit, Function, Label, LowOp, Op, Region, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::Input;
use loops::Plan;
use parts::{Contents, Part};

/// Most statements of a kernel that is flattened.
const MAX_STATEMENTS: usize = 2000;

/// A kernel whose rounds are invocations.
pub struct Flat {
    pub function: Function,
    /// How many there are.
    pub rounds: Rounds,
}

/// Flattens a lowered kernel; `None` where that can't be done.
pub fn flatten(kernel: &Function) -> Option<Flat> {
    if kernel.stack_words > 0 || kernel.states.is_some() || kernel.stmt_count() > MAX_STATEMENTS {
        return None;
    }
    let contents = Contents::new(kernel).filter(Contents::has_loops)?;
    let definitions = Definitions::new(kernel);
    let mut flattener = Flattener {
        kernel,
        contents,
        definitions,
        out: kernel.clone(),
        around: HashSet::new(),
        seen: HashSet::new(),
        rounds: HashMap::new(),
        distances: HashMap::new(),
        replaced: HashMap::new(),
        hidden: HashMap::new(),
        cost: 0,
    };
    let id = flattener.kernel()?;
    let Flattener { mut out, rounds, distances, replaced, hidden, cost, .. } = flattener;
    replace(&mut out, &replaced);
    if !are_hidden(&out, &hidden) {
        return None;
    }
    let number = paths::rounds(&out, id, &rounds, &distances, cost)?;
    let defs = paths::definitions(&out);
    rounds.keys().for_each(|region| accesses::sink_stores(&mut out, *region, &defs));
    Some(Flat { function: out, rounds: number })
}

/// The rounds that a region does, which is the first arm of a branch.
struct Group {
    /// Number of rounds up to that of the invocation.
    left: Value,
    /// A loop's number of ways back.
    count: Option<Value>,
    /// Whether there is one round more than that. What is no loop is one round.
    one_more: bool,
}

struct Flattener<'f> {
    kernel: &'f Function,
    contents: Contents<'f>,
    definitions: Definitions,
    out: Function,
    /// Blocks that rounds are in.
    around: HashSet<Label>,
    seen: HashSet<RegionId>,
    rounds: HashMap<RegionId, Group>,
    /// Numbers of rounds that are a value divided by a number, without a rest.
    distances: HashMap<Value, (Value, u32)>,
    /// Values of the kernel that are others now.
    replaced: HashMap<Value, Value>,
    /// Values that are only known in the round that this region is.
    hidden: HashMap<Value, RegionId>,
    cost: u32,
}

impl Flattener<'_> {
    /// Rewrites all; gives the iteration id.
    fn kernel(&mut self) -> Option<Value> {
        let body = self.kernel.body;
        let mut list = ListBuilder::new(self.kernel.region(body).stmts.first()?.at);
        let flat = list.low(&mut self.out, LowOp::IterationId, &[], Type::I32);
        let most = list.low(&mut self.out, LowOp::Input(Input::Rounds), &[], Type::I32);
        let id = list.low(&mut self.out, LowOp::UDiv, &[flat, most], Type::I32);
        let left = list.low(&mut self.out, LowOp::URem, &[flat, most], Type::I32);
        self.region(body, left, false)?;
        for region in dataflow::regions(self.kernel) {
            for stmt in &self.kernel.region(region).stmts {
                if let StmtKind::Op { op: Op::Low(LowOp::IterationId), result: Some(result), .. } = stmt.kind {
                    self.replaced.insert(result, id);
                }
            }
        }
        self.out.region_mut(body).stmts.splice(0..0, list.stmts);
        Some(id)
    }

    /// Rewrites a region that rounds may be in. `left`: the number of rounds up to that of the invocation, which the region's
    /// end hands on where `yields_left` says so.
    fn region(&mut self, id: RegionId, mut left: Value, yields_left: bool) -> Option<()> {
        if !self.seen.insert(id) {
            return None;
        }
        let kernel = self.kernel;
        let region = kernel.region(id);
        let mut list = ListBuilder::default();
        let mut exit = region.exit.clone();
        for part in self.contents.parts(&region.stmts) {
            match part {
                Part::Plain(stmt) => list.stmts.push(stmt),
                Part::Leads(stmt) => {
                    for below in stmt.kind.each_region() {
                        self.hand_on(below, left)?;
                    }
                    list.stmts.push(stmt);
                }
                Part::Around(stmt) => left = self.around(&mut list, stmt, left)?,
                Part::Once(before, inside) => {
                    list.stmts.extend(before);
                    left = self.once(&mut list, inside, left)?;
                }
                Part::Loop(stmt) => {
                    let StmtKind::Loop { label, inits, body, results } = &stmt.kind else { return None };
                    let plan = loops::plan(self.kernel, &self.definitions, *label, *body)?;
                    list.at = stmt.at;
                    let (after, values) = self.rounds_of(&mut list, &plan, (*label, *body), inits, left)?;
                    left = after;
                    match &plan.exit {
                        Exit::Yield(_) => self.replaced.extend(results.iter().copied().zip(values)),
                        Exit::Break(to, _) if to == label => {
                            self.replaced.extend(results.iter().copied().zip(values));
                        }
                        Exit::Break(to, _) => {
                            exit = Exit::Break(*to, values);
                            break;
                        }
                        _ => {
                            exit = Exit::Return(values);
                            break;
                        }
                    }
                }
            }
        }
        match &mut exit {
            Exit::Yield(values) if yields_left => values.push(left),
            Exit::Break(to, values) if self.around.contains(to) => values.push(left),
            Exit::Continue(..) => return None,
            _ => {}
        }
        let region = self.out.region_mut(id);
        (region.stmts, region.exit) = (list.stmts, exit);
        Some(())
    }

    /// Has what leads to blocks around rounds hand on how many are left.
    fn hand_on(&mut self, id: RegionId, left: Value) -> Option<()> {
        for id in below(self.kernel, id) {
            if !self.seen.insert(id) {
                return None;
            }
            if let Exit::Break(to, values) = &mut self.out.region_mut(id).exit
                && self.around.contains(to)
            {
                values.push(left);
            }
        }
        Some(())
    }

    /// A construct with rounds in it gives the number of those that are left behind it.
    fn around(&mut self, list: &mut ListBuilder, mut stmt: Stmt, left: Value) -> Option<Value> {
        let after = self.out.new_value(Type::I32);
        match &mut stmt.kind {
            StmtKind::If { then, otherwise, results, .. } => {
                self.region(*then, left, true)?;
                self.region(*otherwise, left, true)?;
                results.push(after);
            }
            StmtKind::Block { label, body, results } => {
                self.around.insert(*label);
                self.region(*body, left, true)?;
                results.push(after);
            }
            _ => return None,
        }
        list.stmts.push(stmt);
        Some(after)
    }

    /// What is stored once is a round.
    fn once(&mut self, list: &mut ListBuilder, inside: Vec<Stmt>, left: Value) -> Option<Value> {
        list.at = inside.first()?.at;
        let exit_at = inside.last()?.at;
        let (zero, one) = (list.i32(&mut self.out, 0), list.i32(&mut self.out, 1));
        let is_it = list.low(&mut self.out, LowOp::Eq, &[left, zero], Type::Bool);
        let results: Vec<Value> = inside.iter().flat_map(|stmt| stmt.kind.results()).copied().collect();
        let exit = Exit::Return(Vec::new());
        let region = self.out.new_region(Region { params: Vec::new(), stmts: inside, exit, exit_at });
        self.hidden.extend(results.into_iter().map(|result| (result, region)));
        self.do_if(list, is_it, region);
        self.rounds.insert(region, Group { left, count: None, one_more: false });
        Some(list.low(&mut self.out, LowOp::ISub, &[left, one], Type::I32))
    }

    fn do_if(&mut self, list: &mut ListBuilder, cond: Value, then: RegionId) {
        let otherwise = ListBuilder::new(list.at).finish(&mut self.out, Exit::Yield(Vec::new()));
        list.push(StmtKind::If { cond, then, otherwise, results: Vec::new() });
    }

    /// The rounds of a loop; gives how many are left behind them, and what the loop's end hands on.
    fn rounds_of(
        &mut self,
        list: &mut ListBuilder,
        plan: &Plan,
        (label, body): (Label, RegionId),
        inits: &[Value],
        left: Value,
    ) -> Option<(Value, Vec<Value>)> {
        let start = inits[plan.count.number];
        let (times, distance) = plan.count.emit_with_distance(&mut self.out, list, start);
        if let Some(distance) = distance {
            self.distances.insert(times, (distance, plan.count.step.unsigned_abs()));
        }
        let rounds = match plan.tested_first {
            true => times,
            false => {
                let one = list.i32(&mut self.out, 1);
                list.low(&mut self.out, LowOp::IAdd, &[times, one], Type::I32)
            }
        };
        let is_one = list.low(&mut self.out, LowOp::ULt, &[left, rounds], Type::Bool);
        self.round(plan, (label, body), inits, left)?;
        self.do_if(list, is_one, body);
        self.rounds.insert(body, Group { left, count: Some(times), one_more: !plan.tested_first });
        self.cost = self.cost.max(plan.cost);
        let after = list.low(&mut self.out, LowOp::ISub, &[left, rounds], Type::I32);
        let mut end = End { plan, kernel: self.kernel, body, inits, times, copies: HashMap::new() };
        end.copies.extend(plan.results.iter().copied());
        let values = plan.exit.values().iter();
        let values = values.map(|value| end.value(&mut self.out, list, *value)).collect::<Option<_>>()?;
        Some((after, values))
    }

    /// The loop's region becomes one round: that of the number `left`.
    fn round(&mut self, plan: &Plan, (label, body): (Label, RegionId), inits: &[Value], left: Value) -> Option<()> {
        let regions = below(self.kernel, body);
        let inside = labels(self.kernel, &regions);
        for id in &regions {
            if !self.seen.insert(*id) {
                return None;
            }
            let exit = &mut self.out.region_mut(*id).exit;
            let ends = match exit {
                Exit::Continue(to, _) | Exit::Break(to, _) => *to == label || !inside.contains(to),
                Exit::Yield(_) => *id == body,
                Exit::Return(_) | Exit::Trap(_) => false,
            };
            if ends {
                *exit = Exit::Return(Vec::new());
            }
        }
        let mut list = ListBuilder::new(self.kernel.region(body).stmts.first()?.at);
        let params = std::mem::take(&mut self.out.region_mut(body).params);
        for ((param, init), step) in params.iter().zip(inits).zip(&plan.steps) {
            let step = list.i32(&mut self.out, *step);
            let grown = list.low(&mut self.out, LowOp::IMul, &[left, step], Type::I32);
            let (op, args) = (Op::Low(LowOp::IAdd), Args::from_slice(&[*init, grown]));
            list.push(StmtKind::Op { op, args, result: Some(*param) });
        }
        let stays = plan.tested_first || plan.stays_idle;
        if stays {
            // That of the last round says that there is none behind it, which makes no difference.
            let holds = list.constant(&mut self.out, crate::ir::Const::Bool(plan.count.stays_when));
            if let StmtKind::If { cond, .. } = &mut self.out.region_mut(body).stmts[plan.branch].kind {
                *cond = holds;
            }
        }
        self.out.region_mut(body).stmts.splice(0..0, list.stmts);
        Some(())
    }
}

/// What values are when a loop is left.
struct End<'a> {
    plan: &'a Plan,
    kernel: &'a Function,
    body: RegionId,
    inits: &'a [Value],
    /// How often it went back to its start.
    times: Value,
    copies: HashMap<Value, Value>,
}

impl End<'_> {
    fn value(&mut self, out: &mut Function, list: &mut ListBuilder, value: Value) -> Option<Value> {
        let params = &self.kernel.region(self.body).params;
        if let Some(copy) = self.copies.get(&value).copied() {
            // The branch's results are values of the loop.
            let copy = if self.plan.results.contains(&(value, copy)) { self.value(out, list, copy)? } else { copy };
            return Some(copy);
        }
        let copy = if let Some(number) = params.iter().position(|param| *param == value) {
            let step = list.i32(out, self.plan.steps[number]);
            let grown = list.low(out, LowOp::IMul, &[self.times, step], Type::I32);
            list.low(out, LowOp::IAdd, &[self.inits[number], grown], Type::I32)
        } else {
            let own = &self.kernel.region(self.body).stmts[..self.plan.branch];
            let defines = |stmt: &&Stmt| stmt.kind.results().contains(&value);
            match own.iter().chain(&self.plan.leaving).find(defines).map(|stmt| &stmt.kind) {
                Some(StmtKind::Op { op, args, .. }) if loops::is_harmless(op) => {
                    let args = args.iter().map(|arg| self.value(out, list, *arg)).collect::<Option<Args>>()?;
                    list.op(out, *op, &args, self.kernel.ty(value))
                }
                Some(_) => return None,
                // It is from outside the loop.
                None => value,
            }
        };
        self.copies.insert(value, copy);
        Some(copy)
    }
}

/// Puts values in the place of others.
fn replace(function: &mut Function, replaced: &HashMap<Value, Value>) {
    let of = |value: Value| {
        let mut value = value;
        while let Some(other) = replaced.get(&value) {
            value = *other;
        }
        value
    };
    for id in dataflow::regions(function) {
        let region = function.region_mut(id);
        for stmt in &mut region.stmts {
            stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = of(*arg));
        }
        region.exit.values_mut().iter_mut().for_each(|value| *value = of(*value));
    }
}

/// Whether values that are only known in a region are used in it only.
fn are_hidden(function: &Function, hidden: &HashMap<Value, RegionId>) -> bool {
    let homes: HashSet<RegionId> = hidden.values().copied().collect();
    let mut inside: HashMap<RegionId, HashSet<RegionId>> = HashMap::new();
    for home in homes {
        for id in below(function, home) {
            inside.entry(id).or_default().insert(home);
        }
    }
    dataflow::regions(function).into_iter().all(|id| {
        let region = function.region(id);
        let used = region.stmts.iter().flat_map(|stmt| stmt.kind.args()).chain(region.exit.values());
        used.filter_map(|value| hidden.get(value)).all(|home| inside.get(&id).is_some_and(|homes| homes.contains(home)))
    })
}
