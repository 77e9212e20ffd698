//! A limit on what an invocation may do, so that none runs for ever.
//!
//! Each way back to the start of a loop takes fuel, as much as the loop has operators, of which those that take long count
//! several times, and those that take the fuel count, too. A counted loop takes it in front, for
//! as many iterations as its count says and the fuel allows, and is given a nearer end if those are fewer: a test in each
//! iteration would cost the more, and drivers do better with loops of one exit. Where it is left early, it gives back what
//! it did not need; where it came to the nearer end, the invocation traps behind it. A loop with a small constant number
//! of iterations is part of the loop around it. A loop with loops inside that take fuel leaves half of it to these.
//!
//! In the loop of functions that are kept once ([`States`]), each state takes its own. Those without loops inside spend it, and
//! whether there was so much is looked at once, in front of the next state: tests in each of hundreds would be most of a
//! shader's branches, which drivers' compilers take long for.
//!
//! The fuel is one number. Whenever it passes a multiple of `INSTALLMENT`, the invocation looks whether it was
//! overtaken: where an invocation of a lower id has run out, this one's end does not matter any more. So one endless
//! invocation does not cost the time of all.

use smallvec::smallvec;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::analysis::dataflow;
use crate::analysis::trip_counts::{Count, Definitions, Looking, below, labels};
use crate::error::{Location, TrapKind};
use crate::ir::builder::ListBuilder;
use crate::ir::{Args, Exit, Function, Label, LowOp, Op, RegionId, States, Stmt, StmtKind, Type, Value, Var};

/// Most fuel; also the most that is taken at once.
pub const MOST: u32 = 1 << 31;
/// See the module. A power of two.
const INSTALLMENT: u32 = 1 << 16;
/// The first installment, so that invocations of a launch that one has stopped end soon.
const FIRST: u32 = 1 << 10;
/// What taking fuel in an iteration counts, and what taking it in front of a counted loop does: about their operators.
const TESTED: u64 = 6;
const TAKEN: u64 = 16;
/// A loop whose iterations have no more operators than this altogether takes no fuel of its own.
const SMALL: u64 = 1 << 12;

/// Has the loops of lowered code take fuel; says whether there are any that do.
pub fn burn(function: &mut Function) -> bool {
    let loops = loops(function);
    if loops.is_empty() {
        return false;
    }
    let definitions = Definitions::new(function);
    let mut burner = Burner::new(&definitions);
    let body = function.body;
    burner.region(function, body, None);
    let Burner { plans, states, round, .. } = burner;
    let last_cell = loops.len() as u32;
    for (number, (region, label)) in (0..).zip(loops) {
        if let Some(plan) = plans.get(&label) {
            apply(function, (region, label), plan, number);
        }
    }
    let (spending, burning): (Vec<&State>, Vec<&State>) = states.iter().partition(|state| state.spends);
    for State { region, cost, at, .. } in burning {
        take_each_time(function, *region, *cost, *at);
    }
    if let Some(round) = round {
        spend_in_states(function, round, &spending, last_cell);
    }
    !plans.is_empty() || !states.is_empty()
}

/// The number of operators of an iteration of a loop with this region; `None` if loops inside take fuel of their own.
pub(super) fn cost_of_round(function: &Function, definitions: &Definitions, body: RegionId) -> Option<u32> {
    let mut burner = Burner::new(definitions);
    let cost = burner.region(function, body, Some(function.region(body).exit_at));
    burner.plans.is_empty().then(|| u32::try_from(cost).ok()).flatten()
}

/// What is done about one loop.
#[derive(Clone, Debug)]
struct Plan {
    /// Where it is said to run out: the outermost loop around it. Invocations that run out in different loops of one nest
    /// must know of each other.
    at: Location,
    /// Operators of an iteration.
    cost: u32,
    count: Option<Count>,
    /// Whether loops inside take fuel, too.
    shares: bool,
    /// Regions below it that leave it before its count ends.
    early: Vec<RegionId>,
}

struct Burner<'d> {
    definitions: &'d Definitions,
    plans: HashMap<Label, Plan>,
    /// The region of the loop of states.
    round: Option<RegionId>,
    /// States of functions that are kept once (see [`States`]). Those that run in none of the guest's loops come to an end.
    states: Vec<State>,
}

/// A state that takes fuel.
struct State {
    region: RegionId,
    /// Its operators.
    cost: u32,
    /// The outermost of the guest's loops that it runs in.
    at: Location,
    /// Whether nothing in it takes fuel: it may owe some.
    spends: bool,
}

impl<'d> Burner<'d> {
    fn new(definitions: &'d Definitions) -> Burner<'d> {
        Burner { definitions, plans: HashMap::new(), round: None, states: Vec::new() }
    }
}

impl Burner<'_> {
    /// The number of operators that a region runs once. `around` is where the outermost loop around it stands.
    fn region(&mut self, function: &Function, id: RegionId, around: Option<Location>) -> u64 {
        let mut cost = 0;
        for stmt in &function.region(id).stmts {
            cost += match &stmt.kind {
                StmtKind::Loop { label, inits, body, .. } => {
                    1 + self.looped(function, (*label, *body), inits, around.unwrap_or(stmt.at))
                }
                StmtKind::Op { op: Op::Low(op), .. } => weight(*op),
                kind => 1 + kind.regions().iter().map(|below| self.region(function, *below, around)).sum::<u64>(),
            };
        }
        cost
    }

    /// The same of a loop; where it takes its fuel itself, what it takes to do so in front of it.
    fn looped(&mut self, function: &Function, (label, body): (Label, RegionId), inits: &[Value], at: Location) -> u64 {
        if let Some(states) = function.states.as_ref().filter(|states| states.label == label) {
            return self.states(function, body, states);
        }
        let operators = self.region(function, body, Some(at)).clamp(1, u64::from(MOST) - TESTED);
        let below = below(function, body);
        let looking = Looking { function, definitions: self.definitions, label, body, below: &below };
        let count = looking.count();
        if let Some(count) = &count
            && let Some(times) = count.constant(self.definitions, inits[count.number])
            && (u64::from(times) + 1) * operators <= SMALL
        {
            return (u64::from(times) + 1) * operators;
        }
        let (cost, in_front) = if count.is_some() { (operators, TAKEN) } else { (operators + TESTED, 0) };
        let inside = labels(function, &below);
        let leaves = |id: &&RegionId| match &function.region(**id).exit {
            Exit::Break(to, _) | Exit::Continue(to, _) => *to != label && !inside.contains(to),
            _ => false,
        };
        let breaks = |id: &&RegionId| matches!(&function.region(**id).exit, Exit::Break(to, _) if *to == label);
        let mut early: Vec<RegionId> = below.iter().filter(|id| leaves(id) || breaks(id)).copied().collect();
        let branch = count.as_ref().and_then(|count| Some((count, branch(function, body, count)?)));
        let region = function.region(body);
        if let Some((count, (index, _, arm))) = branch {
            // Whoever comes to its end leaves it, too.
            if matches!(region.exit, Exit::Yield(_)) && index + 1 < region.stmts.len() {
                early.push(body);
            } else if !count.direct && !early.contains(&arm) {
                early.push(arm);
            }
        }
        let shares = inside.iter().any(|inner| self.plans.contains_key(inner));
        self.plans.insert(label, Plan { at, cost: cost as u32, count, shares, early });
        in_front
    }
}

impl Burner<'_> {
    /// Plans what the states take; gives what they cost altogether.
    fn states(&mut self, function: &Function, body: RegionId, states: &States) -> u64 {
        let mut sum = 0;
        self.round = Some(body);
        for stmt in &function.region(body).stmts {
            let is_switch =
                matches!(&stmt.kind, StmtKind::Switch { cases, .. } if cases.len() + 1 == states.around.len());
            for (number, region) in stmt.kind.each_region().enumerate() {
                let around = states.around.get(number).copied().flatten().filter(|_| is_switch);
                let plans = self.plans.len();
                let cost = self.region(function, region, around).clamp(1, u64::from(MOST) - TESTED) + TESTED;
                let spends = self.plans.len() == plans;
                self.states.extend(around.map(|at| State { region, cost: cost as u32, at, spends }));
                sum += cost;
            }
        }
        sum
    }
}

/// How many sums of integers take as long as an operator, roughly, on devices where it takes longest.
fn weight(op: LowOp) -> u64 {
    match op {
        LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem => 16,
        LowOp::Atomic { .. } | LowOp::AndWord { .. } | LowOp::OrWord { .. } => 16,
        LowOp::FDiv | LowOp::FSqrt | LowOp::Math(_) => 8,
        LowOp::LoadWord { .. }
        | LowOp::LoadLane { .. }
        | LowOp::StoreWord { .. }
        | LowOp::StoreQuad { .. }
        | LowOp::StorePair { .. }
        | LowOp::StorePart { .. } => 4,
        _ => 1,
    }
}

/// All loops with the regions that they stand in.
fn loops(function: &Function) -> Vec<(RegionId, Label)> {
    let stmts = |id: RegionId| function.region(id).stmts.iter().map(move |stmt| (id, stmt));
    let all = dataflow::regions(function).into_iter().flat_map(stmts);
    all.filter_map(|(id, stmt)| match &stmt.kind {
        StmtKind::Loop { label, .. } => Some((id, *label)),
        _ => None,
    })
    .collect()
}

fn apply(function: &mut Function, (region, wanted): (RegionId, Label), plan: &Plan, clipped: u32) {
    let is_it = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Loop { label, .. } if *label == wanted);
    let Some(index) = function.region(region).stmts.iter().position(is_it) else { return };
    let StmtKind::Loop { inits, body, .. } = function.region(region).stmts[index].kind.clone() else { return };
    let at = plan.at;
    match plan.count {
        None => take_each_time(function, body, plan.cost, at),
        Some(count) => clip(function, (region, index, body, at), plan, (&count, inits[count.number]), clipped),
    }
}

/// Has a region take fuel whenever it runs.
fn take_each_time(function: &mut Function, region: RegionId, cost: u32, at: Location) {
    let mut list = ListBuilder::new(at);
    let amount = list.i32(function, cost);
    list.effect(Op::Low(LowOp::Burn), &[amount]);
    function.region_mut(region).stmts.splice(0..0, list.stmts);
}

/// Has states spend fuel, and each round of their loop look at it first. `cell` tells in which of the guest's loops the last one
/// ran that spent.
fn spend_in_states(function: &mut Function, round: RegionId, states: &[&State], cell: u32) {
    let loops: BTreeSet<Location> = states.iter().map(|state| state.at).collect();
    let Some(first) = loops.first() else { return };
    for State { region, cost, at, .. } in states {
        let mut list = ListBuilder::new(*at);
        let (amount, number) = (list.i32(function, *cost), list.i32(function, loops.range(..at).count() as u32));
        list.effect(Op::Low(LowOp::Spend), &[amount]);
        list.effect(Op::Low(LowOp::SetCell(cell)), &[number]);
        function.region_mut(*region).stmts.splice(0..0, list.stmts);
    }
    let mut list = ListBuilder::new(*first);
    let owes = list.low(function, LowOp::Owes, &[], Type::Bool);
    let settles = settle_in_one_of(function, &loops, cell);
    list.only_if(function, owes, settles);
    function.region_mut(round).stmts.splice(0..0, list.stmts);
    // Another loop may have taken so much that some is owed before any state spent.
    let mut list = ListBuilder::new(*first);
    let none = list.i32(function, 0);
    list.effect(Op::Low(LowOp::SetCell(cell)), &[none]);
    let start = function.body;
    function.region_mut(start).stmts.splice(0..0, list.stmts);
}

/// A region that settles in the loop of which the cell has the number: the trap is there.
fn settle_in_one_of(function: &mut Function, loops: &BTreeSet<Location>, cell: u32) -> RegionId {
    let mut list = ListBuilder::default();
    for (number, at) in (0..).zip(loops) {
        list.at = *at;
        let (last, number) = (list.low(function, LowOp::Cell(cell), &[], Type::I32), list.i32(function, number));
        let is_here = list.low(function, LowOp::Eq, &[last, number], Type::Bool);
        let mut here = ListBuilder::new(*at);
        here.effect(Op::Low(LowOp::Settle), &[]);
        let here = here.finish(function, Exit::Yield(Vec::new()));
        list.only_if(function, is_here, here);
    }
    list.finish(function, Exit::Yield(Vec::new()))
}

/// Gives a counted loop the end that its fuel allows. `clipped` numbers the cell that says whether that is nearer.
fn clip(
    function: &mut Function,
    (region, index, body, at): (RegionId, usize, RegionId, Location),
    plan: &Plan,
    (count, start): (&Count, Value),
    clipped: u32,
) {
    let mut list = ListBuilder::new(at);
    let wanted = count.emit(function, &mut list, start);
    let granted = list.low(function, LowOp::Take { cost: plan.cost, shares: plan.shares }, &[wanted], Type::I32);
    let short = list.low(function, LowOp::Ne, &[granted, wanted], Type::Bool);
    let (offset, step) = (list.i32(function, count.offset as u32), list.i32(function, count.step as u32));
    let first = list.low(function, LowOp::IAdd, &[start, offset], Type::I32);
    let all = list.low(function, LowOp::IMul, &[granted, step], Type::I32);
    let end = list.low(function, LowOp::IAdd, &[first, all], Type::I32);
    let (one, zero) = (list.i32(function, 1), list.i32(function, 0));
    let goes_elsewhere = branch(function, body, count).is_some_and(|(_, _, arm)| goes_elsewhere(function, body, arm));
    let mut behind = ListBuilder::new(at);
    let stops = match (goes_elsewhere, plan.early.is_empty()) {
        (true, _) => None,
        (false, true) => Some(short),
        (false, false) => {
            let cell = list.low(function, LowOp::Select, &[short, one, zero], Type::I32);
            list.effect(Op::Low(LowOp::SetCell(clipped)), &[cell]);
            let cell = behind.low(function, LowOp::Cell(clipped), &[], Type::I32);
            Some(behind.low(function, LowOp::Ne, &[cell, zero], Type::Bool))
        }
    };
    if let Some(stops) = stops {
        behind.exit_if(function, stops, Exit::Trap(TrapKind::OutOfFuel));
    }
    let goes_on = end_at(function, body, count, end, at);
    if let (true, Some((goes_on, arm))) = (goes_elsewhere, goes_on) {
        let mut list = ListBuilder::new(at);
        let ends = list.low(function, LowOp::BNot, &[goes_on], Type::Bool);
        let stops = list.low(function, LowOp::BAnd, &[ends, short], Type::Bool);
        list.exit_if(function, stops, Exit::Trap(TrapKind::OutOfFuel));
        function.region_mut(arm).stmts.splice(0..0, list.stmts);
    }
    for id in &plan.early {
        let mut list = ListBuilder::new(at);
        let tested = give_back(function, &mut list, plan.cost, count, (body, end));
        if goes_elsewhere {
            function.region_mut(*id).stmts.extend(list.stmts);
            continue;
        }
        // It may be that very end.
        let still = list.low(function, LowOp::Ne, &[tested, end], Type::Bool);
        let cell = list.low(function, LowOp::Cell(clipped), &[], Type::I32);
        let cell = list.low(function, LowOp::Select, &[still, zero, cell], Type::I32);
        list.effect(Op::Low(LowOp::SetCell(clipped)), &[cell]);
        function.region_mut(*id).stmts.extend(list.stmts);
    }
    let stmts = &mut function.region_mut(region).stmts;
    stmts.splice(index + 1..index + 1, behind.stmts);
    stmts.splice(index..index, list.stmts);
}

/// Whether the arm that leaves a loop may come out elsewhere than behind it.
fn goes_elsewhere(function: &Function, body: RegionId, arm: RegionId) -> bool {
    let region = function.region(body);
    let yields_behind = matches!(region.exit, Exit::Yield(_))
        && region.stmts.last().is_some_and(|stmt| stmt.kind.regions().contains(&arm));
    below(function, arm).into_iter().any(|id| match &function.region(id).exit {
        Exit::Yield(_) => id == arm && !yields_behind,
        _ => true,
    })
}

/// Has the loop's own branch end it when its counter is `end`; gives the condition that it is not, and the arm that leaves.
fn end_at(
    function: &mut Function,
    body: RegionId,
    count: &Count,
    end: Value,
    at: Location,
) -> Option<(Value, RegionId)> {
    let (index, old, arm) = branch(function, body, count)?;
    let mut list = ListBuilder::new(at);
    let goes_on = list.low(function, LowOp::Ne, &[count.counter, end], Type::Bool);
    let cond = match (count.direct, count.stays_when) {
        (true, true) => goes_on,
        (true, false) => list.low(function, LowOp::BNot, &[goes_on], Type::Bool),
        (false, true) => list.low(function, LowOp::BAnd, &[goes_on, old], Type::Bool),
        (false, false) => {
            let ends = list.low(function, LowOp::BNot, &[goes_on], Type::Bool);
            list.low(function, LowOp::BOr, &[ends, old], Type::Bool)
        }
    };
    let stmts = &mut function.region_mut(body).stmts;
    if let StmtKind::If { cond: place, .. } = &mut stmts[index].kind {
        *place = cond;
    }
    stmts.splice(index..index, list.stmts);
    Some((goes_on, arm))
}

/// Where in a loop's region the branch stands that ends it, its condition, and the arm that leaves.
fn branch(function: &Function, body: RegionId, count: &Count) -> Option<(usize, Value, RegionId)> {
    let stmts = function.region(body).stmts.iter().enumerate();
    stmts.into_iter().find_map(|(index, stmt)| match stmt.kind {
        StmtKind::If { cond, then, otherwise, .. } if then == count.branch => {
            Some((index, cond, if count.stays_when { otherwise } else { then }))
        }
        _ => None,
    })
}

/// Gives back the fuel of all iterations that are still to come; gives what is tested in this one.
fn give_back(
    function: &mut Function,
    list: &mut ListBuilder,
    cost: u32,
    count: &Count,
    (body, end): (RegionId, Value),
) -> Value {
    let param = function.region(body).params[count.number];
    let offset = list.i32(function, count.offset as u32);
    let tested = list.low(function, LowOp::IAdd, &[param, offset], Type::I32);
    let (a, b) = if count.step < 0 { (tested, end) } else { (end, tested) };
    let apart = list.low(function, LowOp::ISub, &[a, b], Type::I32);
    let size = list.i32(function, count.step.unsigned_abs());
    let times = list.low(function, LowOp::UDiv, &[apart, size], Type::I32);
    let cost = list.i32(function, cost);
    let amount = list.low(function, LowOp::IMul, &[times, cost], Type::I32);
    list.effect(Op::Low(LowOp::Refund), &[amount]);
    tested
}

/// Keeps the fuel of a function in strict form in a variable that starts with `fuel`, at most [`MOST`] less one.
pub fn expand(function: &mut Function, fuel: u32) {
    let regions = dataflow::regions(function);
    if !regions.iter().any(|id| function.region(*id).stmts.iter().any(is_of_fuel)) {
        return;
    }
    let mut vars = Vars { fuel: function.new_var(Type::I32), settled: None, cells: BTreeMap::new() };
    for id in regions {
        if !function.region(id).stmts.iter().any(is_of_fuel) {
            continue;
        }
        let mut list = ListBuilder::default();
        for stmt in std::mem::take(&mut function.region_mut(id).stmts) {
            list.at = stmt.at;
            vars.expand(function, &mut list, stmt);
        }
        function.region_mut(id).stmts = list.stmts;
    }
    let body = function.body;
    let mut list = ListBuilder::new(function.region(body).stmts.first().map_or(Location::default(), |stmt| stmt.at));
    let first = fuel.min(MOST - 1);
    let first = if first > FIRST { first & !(INSTALLMENT - 1) | FIRST } else { first };
    let first = list.i32(function, first);
    for var in vars.settled.into_iter().chain([vars.fuel]) {
        list.effect(Op::Low(LowOp::VarSet(var)), &[first]);
    }
    function.region_mut(body).stmts.splice(0..0, list.stmts);
}

fn is_of_fuel(stmt: &Stmt) -> bool {
    let StmtKind::Op { op: Op::Low(op), .. } = &stmt.kind else { return false };
    use LowOp::*;
    matches!(op, Burn | Spend | Owes | Settle | Refund | Take { .. } | Cell(_) | SetCell(_))
}

/// What the fuel and its cells become.
struct Vars {
    fuel: Var,
    /// The fuel when it was last looked at; below 2^31, as fuel is then.
    settled: Option<Var>,
    cells: BTreeMap<u32, Var>,
}

impl Vars {
    fn settled(&mut self, function: &mut Function) -> Var {
        *self.settled.get_or_insert_with(|| function.new_var(Type::I32))
    }

    fn cell(&mut self, function: &mut Function, number: u32) -> Var {
        *self.cells.entry(number).or_insert_with(|| function.new_var(Type::I32))
    }

    fn expand(&mut self, function: &mut Function, list: &mut ListBuilder, stmt: Stmt) {
        let StmtKind::Op { op: Op::Low(op), args, result } = &stmt.kind else { return list.stmts.push(stmt) };
        match (*op, *result) {
            (LowOp::Burn, _) => burned(function, list, self.fuel, args[0]),
            (LowOp::Spend, _) => _ = changed(function, list, self.fuel, LowOp::ISub, args[0]),
            (LowOp::Owes, Some(owes)) => {
                let settled = self.settled(function);
                let settled = list.low(function, LowOp::VarGet(settled), &[], Type::I32);
                let left = list.low(function, LowOp::VarGet(self.fuel), &[], Type::I32);
                let args = Args::from_slice(&passed(function, list, settled, left));
                list.push(StmtKind::Op { op: Op::Low(LowOp::ULt), args, result: Some(owes) });
            }
            (LowOp::Settle, _) => {
                let settled = self.settled(function);
                settle(function, list, self.fuel, settled);
            }
            (LowOp::Take { cost, shares }, Some(granted)) => {
                taken(function, list, self.fuel, (args[0], cost, shares), granted);
            }
            (LowOp::Refund, _) => _ = changed(function, list, self.fuel, LowOp::IAdd, args[0]),
            (LowOp::Cell(number), result) => {
                let op = Op::Low(LowOp::VarGet(self.cell(function, number)));
                list.push(StmtKind::Op { op, args: Args::new(), result });
            }
            (LowOp::SetCell(number), _) => list.effect(Op::Low(LowOp::VarSet(self.cell(function, number))), args),
            _ => list.stmts.push(stmt),
        }
    }
}

/// The fuel before and after it is changed by an amount.
fn changed(function: &mut Function, list: &mut ListBuilder, fuel: Var, by: LowOp, amount: Value) -> (Value, Value) {
    let before = list.low(function, LowOp::VarGet(fuel), &[], Type::I32);
    let after = list.low(function, by, &[before, amount], Type::I32);
    list.effect(Op::Low(LowOp::VarSet(fuel)), &[after]);
    (before, after)
}

/// Of these the first is less where the fuel passed a multiple of an installment, or zero: the highest bit changes where there was
/// not enough, since neither an amount nor what there was is as large as that.
fn passed(function: &mut Function, list: &mut ListBuilder, before: Value, after: Value) -> [Value; 2] {
    let differ = list.low(function, LowOp::Xor, &[before, after], Type::I32);
    [list.i32(function, INSTALLMENT - 1), differ]
}

fn settle(function: &mut Function, list: &mut ListBuilder, fuel: Var, settled: Var) {
    let left = list.low(function, LowOp::VarGet(fuel), &[], Type::I32);
    list.effect(Op::Low(LowOp::VarSet(settled)), &[left]);
    let none = list.i32(function, 0);
    let out = list.low(function, LowOp::SLt, &[left, none], Type::Bool);
    list.exit_if(function, out, Exit::Trap(TrapKind::OutOfFuel));
    leave_if_overtaken(function, list);
}

fn burned(function: &mut Function, list: &mut ListBuilder, fuel: Var, amount: Value) {
    let (before, after) = changed(function, list, fuel, LowOp::ISub, amount);
    let passed = passed(function, list, before, after);
    let passes = list.low(function, LowOp::ULt, &passed, Type::Bool);
    let mut looks = ListBuilder::new(list.at);
    let out = looks.low(function, LowOp::ULt, &[before, amount], Type::Bool);
    looks.exit_if(function, out, Exit::Trap(TrapKind::OutOfFuel));
    leave_if_overtaken(function, &mut looks);
    let looks = looks.finish(function, Exit::Yield(Vec::new()));
    list.only_if(function, passes, looks);
}

fn taken(
    function: &mut Function,
    list: &mut ListBuilder,
    fuel: Var,
    (wanted, cost, shares): (Value, u32, bool),
    granted: Value,
) {
    let before = list.low(function, LowOp::VarGet(fuel), &[], Type::I32);
    let each = list.i32(function, cost);
    let most = match shares {
        true => {
            let one = list.i32(function, 1);
            list.low(function, LowOp::ShrU, &[before, one], Type::I32)
        }
        false => before,
    };
    let possible = if cost == 1 { most } else { list.low(function, LowOp::UDiv, &[most, each], Type::I32) };
    let (op, args) = (Op::Low(LowOp::UMin), smallvec![wanted, possible]);
    list.push(StmtKind::Op { op, args, result: Some(granted) });
    let amount = list.low(function, LowOp::IMul, &[granted, each], Type::I32);
    let after = list.low(function, LowOp::ISub, &[before, amount], Type::I32);
    list.effect(Op::Low(LowOp::VarSet(fuel)), &[after]);
    // Short loops in a long one pass most of its multiples.
    let passed = passed(function, list, before, after);
    let passes = list.low(function, LowOp::ULt, &passed, Type::Bool);
    let mut looks = ListBuilder::new(list.at);
    leave_if_overtaken(function, &mut looks);
    let looks = looks.finish(function, Exit::Yield(Vec::new()));
    list.only_if(function, passes, looks);
}

fn leave_if_overtaken(function: &mut Function, list: &mut ListBuilder) {
    let overtaken = list.low(function, LowOp::Overtaken, &[], Type::Bool);
    list.exit_if(function, overtaken, Exit::Return(Vec::new()));
}
