//! What four neighbouring invocations have in common: which values are the same, which differ by a constant from one to the
//! next, and how branches are taken together.

use crate::analysis::alignment::{Alignment, alignment};
use crate::analysis::dataflow::{self, Targets};
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::{Const, Exit, Function, Label, LowOp, Op, RegionId, Stmt, StmtKind, Value};

use super::{LANE_BITS, LANES};
use crate::analysis::rounds::is_flat;
use crate::work;

/// Most statements of a branch that each of the four takes by itself.
const MAX_APART: usize = 32;

/// Most low bits of a place that must be zero: four times four words.
const MAX_BASE_BITS: u32 = 6;

/// A value of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing has reached it yet.
    Unreached,
    /// One for all.
    Uniform,
    /// That of the first is a multiple of `2^zeros`, and the next ones' are higher by `stride` each.
    Affine { stride: u32, zeros: u32 },
    /// Four. `steady`: computed from the iteration id in a way that seldom changes from one to the next, as `x < width` does.
    Varying { steady: bool },
}

impl Shape {
    fn join(self, other: Shape) -> Shape {
        match (self, other) {
            (Shape::Unreached, shape) | (shape, Shape::Unreached) => shape,
            (a, b) if a == b => a,
            (Shape::Affine { stride, zeros }, Shape::Affine { stride: same, zeros: others }) if stride == same => {
                Shape::Affine { stride, zeros: zeros.min(others) }
            }
            (a, b) => Shape::Varying { steady: a.is_steady() && b.is_steady() },
        }
    }

    fn is_steady(self) -> bool {
        !matches!(self, Shape::Varying { steady: false })
    }

    fn affine(stride: u32, zeros: u32) -> Shape {
        if stride == 0 { Shape::Uniform } else { Shape::Affine { stride, zeros: zeros.min(32) } }
    }

    /// As stride and zero bits.
    fn steps(self) -> Option<(u32, u32)> {
        match self {
            Shape::Uniform => Some((0, 0)),
            Shape::Affine { stride, zeros } => Some((stride, zeros)),
            _ => None,
        }
    }
}

/// How the four take a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its condition is the same for all.
    Together,
    /// It is a check that ends in a trap: where any fails, all are run one by one.
    Check,
    /// Where they disagree, all are run one by one.
    Agree,
    /// Each by itself, one after the other.
    Apart,
    /// Not at all.
    Never,
}

/// A statement's region and number; the number of statements stands for the region's exit.
pub(super) type Place = (RegionId, usize);

/// What is known of a kernel's values and statements.
pub(super) struct Plan<'f> {
    function: &'f Function,
    constants: Vec<Option<Const>>,
    alignment: Alignment,
    defs: Vec<Option<(LowOp, [Value; 2])>>,
    shapes: Vec<Shape>,
    /// Statements behind which something may have been stored when they are reached: from there on, the four can't be run
    /// again.
    late: HashSet<Place>,
    /// What a selection takes where its condition does not hold.
    replaced: HashMap<Value, Value>,
    /// What iteration ids are divided by, and must be a multiple of four so that the four lie in one row.
    pub divisors: HashSet<Value>,
    /// Of flattened kernels: where rounds start in buffers, how many of them are left where ways meet, and how many low bits of
    /// these must be zero so that the four access whole vectors.
    pub bases: HashMap<Value, u32>,
    is_flat: bool,
}

/// Where something may be stored.
#[derive(Default)]
struct Stores {
    /// In a region or below it.
    of: HashMap<RegionId, bool>,
    /// In front of a break to a label.
    broken: HashMap<Label, bool>,
}

impl<'f> Plan<'f> {
    pub fn new(function: &'f Function) -> Self {
        let mut plan = Plan {
            function,
            constants: dataflow::constants(function),
            alignment: alignment(function),
            defs: dataflow::binary_operators(function),
            shapes: vec![Shape::Unreached; function.values.len()],
            late: HashSet::new(),
            replaced: selections(function),
            divisors: HashSet::new(),
            bases: HashMap::new(),
            is_flat: is_flat(function),
        };
        plan.find_late(function.body, false, &mut Stores::default());
        plan.solve();
        if plan.is_flat {
            plan.find_joined();
            plan.solve_again();
            plan.find_bases();
            plan.solve_again();
        }
        plan.find_divisors();
        plan
    }

    pub fn shape(&self, value: Value) -> Shape {
        match self.shapes[value.index()] {
            Shape::Unreached => Shape::Uniform,
            shape => shape,
        }
    }

    pub fn constant(&self, value: Value) -> Option<u32> {
        match self.constants.get(value.index()) {
            Some(Some(Const::I32(number))) => Some(*number),
            _ => None,
        }
    }

    /// Whether something may be stored in a region or below it.
    fn stores(&self, id: RegionId, known: &mut HashMap<RegionId, bool>) -> bool {
        if let Some(stores) = known.get(&id) {
            return *stores;
        }
        let stmts = &self.function.region(id).stmts;
        let stores =
            stmts.iter().any(|stmt| is_store(stmt) || stmt.kind.each_region().any(|below| self.stores(below, known)));
        known.insert(id, stores);
        stores
    }

    /// Notes which statements are late; whether what is behind the region is, `None` where its end leads elsewhere.
    fn find_late(&mut self, id: RegionId, mut late: bool, known: &mut Stores) -> Option<bool> {
        let function = self.function;
        for (number, stmt) in function.region(id).stmts.iter().enumerate() {
            if let StmtKind::Loop { body, .. } = &stmt.kind {
                late |= self.stores(*body, &mut known.of);
            }
            if late {
                self.late.insert((id, number));
            }
            if matches!(stmt.kind, StmtKind::Op { .. }) {
                late |= is_store(stmt);
                continue;
            }
            let ends: Vec<Option<bool>> =
                stmt.kind.each_region().map(|below| self.find_late(below, late, known)).collect();
            let broken = match &stmt.kind {
                StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => known.broken.get(label).copied(),
                _ => None,
            };
            // What nothing gets past is behind everything.
            late = ends.into_iter().flatten().chain(broken).reduce(|a, b| a | b).unwrap_or(true);
        }
        if late {
            self.late.insert((id, function.region(id).stmts.len()));
        }
        match &function.region(id).exit {
            Exit::Yield(_) => Some(late),
            Exit::Break(label, _) => {
                *known.broken.entry(*label).or_default() |= late;
                None
            }
            _ => None,
        }
    }

    pub fn is_late(&self, place: Place) -> bool {
        self.late.contains(&place)
    }

    fn solve(&mut self) {
        let function = self.function;
        let (regions, targets) = (dataflow::regions(function), Targets::new(function));
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for id in &regions {
                work::spend(function.region(*id).stmts.len());
                for (number, stmt) in function.region(*id).stmts.iter().enumerate() {
                    changed |= self.visit((*id, number), stmt);
                }
                let values = function.region(*id).exit.values();
                for target in targets.of_exit(*id) {
                    changed |= self.join_all(values, target);
                }
            }
        }
    }

    fn join_all(&mut self, from: &[Value], to: &[Value]) -> bool {
        from.iter().zip(to).filter(|(from, to)| self.lower(**to, self.shapes[from.index()])).count() > 0
    }

    fn lower(&mut self, value: Value, shape: Shape) -> bool {
        let mut joined = self.shapes[value.index()].join(shape);
        if let (Shape::Affine { zeros, .. }, Some(bits)) = (&mut joined, self.bases.get(&value)) {
            *zeros = (*zeros).max(*bits);
        }
        std::mem::replace(&mut self.shapes[value.index()], joined) != joined
    }

    fn visit(&mut self, place: Place, stmt: &Stmt) -> bool {
        match &stmt.kind {
            StmtKind::Op { op, args, result: Some(result) } => {
                let shape = self.transfer(place, op, args);
                self.lower(*result, shape)
            }
            StmtKind::Loop { inits, body, .. } => self.join_all(inits, &self.function.region(*body).params),
            StmtKind::If { results, .. } | StmtKind::Block { results, .. }
                if self.way(place, &stmt.kind) == Way::Apart =>
            {
                let apart = Shape::Varying { steady: false };
                results.iter().filter(|result| self.lower(**result, apart)).count() > 0
            }
            _ => false,
        }
    }

    /// The shape of an operator's result.
    fn transfer(&self, place: Place, op: &Op, args: &[Value]) -> Shape {
        let shapes: Vec<Shape> = args.iter().map(|arg| self.shapes[arg.index()]).collect();
        if shapes.contains(&Shape::Unreached) {
            return Shape::Unreached;
        }
        let Op::Low(low) = op else { return Shape::Uniform };
        if *low == LowOp::IterationId {
            return Shape::affine(1, LANE_BITS);
        }
        if shapes.iter().all(|shape| *shape == Shape::Uniform) {
            return Shape::Uniform;
        }
        let steps: Option<Vec<(u32, u32)>> = shapes.iter().map(|shape| shape.steps()).collect();
        let affine = steps.and_then(|steps| self.affine(place, *low, args, &steps));
        affine.unwrap_or(Shape::Varying { steady: is_steady(*low) && shapes.iter().all(|shape| shape.is_steady()) })
    }

    /// The same where all operands are uniform or affine, if the result is, too.
    fn affine(&self, place: Place, op: LowOp, args: &[Value], steps: &[(u32, u32)]) -> Option<Shape> {
        let [(stride, zeros), (other, zeros_of_other)] = steps[..] else { return None };
        let constant = |arg: usize| self.constant(args[arg]);
        // Of a uniform value, such as a constant or where the bound part of linear memory starts.
        let known = |arg: usize, stride: u32, zeros: u32| match stride {
            0 => self.alignment.trailing_zeros(args[arg]).max(self.bases.get(&args[arg]).copied().unwrap_or(0)),
            _ => zeros,
        };
        let common = known(0, stride, zeros).min(known(1, other, zeros_of_other));
        let is_contained = is_contained(stride, zeros);
        match (op, constant(1)) {
            (LowOp::IAdd, _) => Some(Shape::affine(stride.wrapping_add(other), common)),
            (LowOp::ISub, _) => Some(Shape::affine(stride.wrapping_sub(other), common)),
            (LowOp::IMul, Some(factor)) => {
                Some(Shape::affine(stride.wrapping_mul(factor), zeros + factor.trailing_zeros()))
            }
            (LowOp::IMul, None) => {
                let factor = constant(0)?;
                Some(Shape::affine(other.wrapping_mul(factor), zeros_of_other + factor.trailing_zeros()))
            }
            (LowOp::Shl, Some(amount)) if amount < 32 => Some(Shape::affine(stride << amount, zeros + amount)),
            (LowOp::ShrU, Some(amount)) if is_contained && amount < 32 => match amount >= zeros {
                true => Some(Shape::Uniform),
                false if stride % (1 << amount) == 0 => Some(Shape::affine(stride >> amount, zeros - amount)),
                false => None,
            },
            (LowOp::And, Some(mask)) if is_contained && zeros < 32 => {
                let low = (1 << zeros) - 1;
                match mask & low {
                    0 => Some(Shape::Uniform),
                    kept if kept == low => Some(Shape::affine(stride, zeros)),
                    _ => None,
                }
            }
            _ if stride == 1 && zeros >= LANE_BITS && self.divides(place, op, args) => match op {
                LowOp::UDiv | LowOp::SDiv => Some(Shape::Uniform),
                _ => Some(Shape::affine(1, LANE_BITS)),
            },
            _ => None,
        }
    }

    /// Whether an operator divides by what can be found to be a multiple of four.
    fn divides(&self, place: Place, op: LowOp, args: &[Value]) -> bool {
        let is_division = matches!(op, LowOp::UDiv | LowOp::SDiv | LowOp::URem | LowOp::SRem);
        let is_multiple = |divisor: u32| divisor.is_multiple_of(LANES);
        is_division
            && !self.is_late(place)
            && self.shapes[args[1].index()] == Shape::Uniform
            && self.constant(args[1]).is_none_or(is_multiple)
    }

    /// The same after something else is known.
    fn solve_again(&mut self) {
        self.shapes.fill(Shape::Unreached);
        self.solve();
    }

    /// Finds numbers of rounds where ways through the kernel meet on which not as many lie behind.
    fn find_joined(&mut self) {
        let stmts = dataflow::regions(self.function).into_iter().flat_map(|id| &self.function.region(id).stmts);
        let joins = stmts.filter(|stmt| matches!(stmt.kind, StmtKind::If { .. } | StmtKind::Block { .. }));
        for result in joins.flat_map(|stmt| stmt.kind.results()) {
            if matches!(self.shape(*result), Shape::Affine { stride: 1, zeros } if zeros < LANE_BITS) {
                self.bases.insert(*result, LANE_BITS);
            }
        }
        self.drop_late_bases();
    }

    /// Finds what places in buffers are counted from that differ by whole words.
    fn find_bases(&mut self) {
        let places = places(&self.defs, |value| self.constant(value));
        for place in &places {
            let Some((LowOp::IAdd, [a, b])) = self.defs[place.index()] else { continue };
            for (base, growing) in [(a, b), (b, a)] {
                if let (Shape::Uniform, None, Shape::Affine { zeros, .. }) =
                    (self.shape(base), self.constant(base), self.shape(growing))
                {
                    self.bases.insert(base, zeros.min(MAX_BASE_BITS));
                }
            }
        }
        self.drop_late_bases();
    }

    /// Where it is found that something is no multiple, nothing may have been stored.
    fn drop_late_bases(&mut self) {
        let function = self.function;
        for id in dataflow::regions(function) {
            for (number, stmt) in function.region(id).stmts.iter().enumerate() {
                let is_seen = matches!(stmt.kind, StmtKind::Loop { .. }) || self.is_late((id, number + 1));
                stmt.kind.results().iter().filter(|_| is_seen).for_each(|result| _ = self.bases.remove(result));
            }
            function.region(id).params.iter().for_each(|param| _ = self.bases.remove(param));
        }
    }

    fn find_divisors(&mut self) {
        let function = self.function;
        for id in dataflow::regions(function) {
            for (number, stmt) in function.region(id).stmts.iter().enumerate() {
                if let StmtKind::Op { op: Op::Low(op), args, .. } = &stmt.kind
                    && self.is_row((id, number), *op, args)
                {
                    self.divisors.insert(args[1]);
                    // For a remainder -1 becomes 1, which is no multiple of four, either.
                    self.divisors.extend(self.replaced.get(&args[1]));
                }
            }
        }
    }

    /// Whether an operator finds the row or the column of four neighbours in one row.
    pub fn is_row(&self, place: Place, op: LowOp, args: &[Value]) -> bool {
        let [id, _] = args else { return false };
        matches!(self.shape(*id), Shape::Affine { stride: 1, zeros } if zeros >= LANE_BITS)
            && self.divides(place, op, args)
    }

    /// How the four take a branch or a block.
    pub fn way(&self, place: Place, kind: &StmtKind) -> Way {
        let late = self.is_late(place);
        match kind {
            StmtKind::If { cond, then, otherwise, results } => {
                let shape = self.shapes[cond.index()];
                if matches!(shape, Shape::Uniform | Shape::Unreached) {
                    return Way::Together;
                }
                if results.is_empty() && self.is_trap(*then) && self.is_nothing(*otherwise) {
                    return if late { Way::Never } else { Way::Check };
                }
                match shape.is_steady() && !late {
                    true => Way::Agree,
                    false if self.can_be_apart(&[*then, *otherwise], None, late) => Way::Apart,
                    false => Way::Never,
                }
            }
            StmtKind::Block { label, body, .. } => match self.stays_together(*body) {
                false if self.can_be_apart(&[*body], Some(*label), late) => Way::Apart,
                _ => Way::Together,
            },
            _ => Way::Never,
        }
    }

    /// Whether no branch in a region, or below it, needs more than itself to be taken by each of the four alone. Goes down once:
    /// blocks may be nested deeply.
    fn stays_together(&self, id: RegionId) -> bool {
        self.function.region(id).stmts.iter().enumerate().all(|(number, stmt)| {
            let place = (id, number);
            let way = match &stmt.kind {
                StmtKind::If { .. } => self.way(place, &stmt.kind),
                StmtKind::Block { label, body, .. }
                    if self.can_be_apart(&[*body], Some(*label), self.is_late(place)) =>
                {
                    Way::Apart
                }
                _ => Way::Together,
            };
            match way {
                Way::Never => false,
                Way::Apart | Way::Check => true,
                Way::Together | Way::Agree => stmt.kind.each_region().all(|below| self.stays_together(below)),
            }
        })
    }

    /// Whether a condition that holds for any of the four holds for the last: a limit that their numbers reach, which grow
    /// without a carry.
    pub fn last_decides(&self, cond: Value) -> bool {
        let Some((LowOp::ULe | LowOp::ULt, [limit, number])) = self.defs[cond.index()] else { return false };
        match (self.shape(limit), self.shape(number)) {
            (Shape::Uniform, Shape::Affine { stride, zeros }) => is_contained(stride, zeros),
            _ => false,
        }
    }

    /// Whether a region does nothing but trap, in one way or another.
    fn is_trap(&self, id: RegionId) -> bool {
        let region = self.function.region(id);
        let is_pure = |stmt: &Stmt| match &stmt.kind {
            StmtKind::Op { op, .. } => op.is_pure(),
            // Merged checks look which of them failed.
            StmtKind::If { then, otherwise, .. } => {
                self.is_flat && self.is_trap(*then) && (self.is_trap(*otherwise) || self.is_nothing(*otherwise))
            }
            _ => false,
        };
        matches!(region.exit, Exit::Trap(_)) && region.stmts.iter().all(is_pure)
    }

    fn is_nothing(&self, id: RegionId) -> bool {
        let region = self.function.region(id);
        region.stmts.is_empty() && matches!(region.exit, Exit::Yield(_))
    }

    /// Whether regions are short, without loops, and left at their ends only: that of a block with this label is where its
    /// breaks lead. As long as nothing was stored they may end in a trap, too.
    fn can_be_apart(&self, regions: &[RegionId], label: Option<Label>, late: bool) -> bool {
        let (mut todo, mut labels) = (regions.to_vec(), Vec::from_iter(label));
        let (mut left, mut stores, mut traps) = (MAX_APART, late, false);
        while let Some(id) = todo.pop() {
            let region = self.function.region(id);
            let Some(rest) = left.checked_sub(region.stmts.len()) else { return false };
            left = rest;
            match &region.exit {
                Exit::Yield(_) => {}
                Exit::Break(to, _) if labels.contains(to) => {}
                Exit::Trap(_) => traps = true,
                _ => return false,
            }
            for stmt in &region.stmts {
                stores |= is_store(stmt);
                match &stmt.kind {
                    StmtKind::Op { .. } | StmtKind::If { .. } => {}
                    StmtKind::Block { label, .. } => labels.push(*label),
                    _ => return false,
                }
                // Those below come later, when their labels are known.
                todo.extend(stmt.kind.each_region());
            }
        }
        !(stores && traps)
    }
}

/// Values of which a fourth is the index of a word, and what these are constant multiples of, or sums of with a constant.
fn places(defs: &[Option<(LowOp, [Value; 2])>], constant: impl Fn(Value) -> Option<u32>) -> HashSet<Value> {
    let mut places = HashSet::new();
    for (op, [a, b]) in defs.iter().flatten() {
        let mut value = *a;
        if *op != LowOp::ShrU || constant(*b) != Some(2) {
            continue;
        }
        while places.insert(value)
            && let Some((LowOp::IAdd | LowOp::Shl, [sum, number])) = defs[value.index()]
            && constant(number).is_some()
        {
            value = sum;
        }
    }
    places
}

/// What selections take where their conditions do not hold.
fn selections(function: &Function) -> HashMap<Value, Value> {
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    stmts
        .filter_map(|stmt| match &stmt.kind {
            StmtKind::Op { op: Op::Low(LowOp::Select), args, result: Some(result) } => Some((*result, args[2])),
            _ => None,
        })
        .collect()
}

/// Whether no carry goes beyond the zero bits from one of the four to the next.
fn is_contained(stride: u32, zeros: u32) -> bool {
    u64::from(stride) * u64::from(LANES - 1) < 1 << zeros
}

fn is_store(stmt: &Stmt) -> bool {
    matches!(&stmt.kind, StmtKind::Op { op: Op::Low(op), .. } if op.stored_slot().is_some())
}

/// Whether an operator's result seldom changes where its operands seldom do, or grow slowly.
fn is_steady(op: LowOp) -> bool {
    use LowOp::*;
    matches!(
        op,
        IAdd | ISub
            | IMul
            | Shl
            | ShrU
            | ShrS
            | UDiv
            | SDiv
            | UMin
            | UMax
            | SMin
            | SMax
            | Eq
            | Ne
            | ULt
            | ULe
            | SLt
            | SLe
            | BAnd
            | BOr
            | BNot
            | Select
    )
}
