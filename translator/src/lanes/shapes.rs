//! How values differ between the invocations of a group, and where invocations part.
//!
//! The two depend on one another: a condition that differs lets invocations part, and what comes from different places is
//! different. Both start as if nothing differed and grow until nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::analysis::dataflow;
use crate::analysis::roots::is_comparison;
use crate::ir::{Const, Exit, Function, Label, Op, RegionId, Stmt, StmtKind, Type, Value, WasmOp};

/// How a value differs between the invocations of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing computes it.
    Unreached,
    /// The same for all, and 0 or 1.
    Flag,
    /// The same for all.
    Uniform,
    /// An `i32` that is `stride` more for each next one, modulo 2^32. The low `zeros` bits of the first are zeroes.
    Affine {
        /// Never 0.
        stride: u32,
        /// 0 to 31.
        zeros: u32,
    },
    /// An `i32` that is 0 or 1, kept as all zeroes or all ones.
    Mask,
    /// Anything.
    Varying,
}

use Shape::{Affine, Flag, Mask, Uniform, Unreached, Varying};

impl Shape {
    /// Whether it is the same for all.
    pub fn is_uniform(self) -> bool {
        matches!(self, Flag | Uniform)
    }

    /// Whether it is kept as vectors, an element for each invocation.
    pub fn is_vector(self) -> bool {
        matches!(self, Mask | Varying)
    }

    fn is_condition(self) -> bool {
        matches!(self, Flag | Mask)
    }

    /// What it is if it comes from either of two places, the same one for all.
    fn join(self, other: Shape) -> Shape {
        match (self, other) {
            (Unreached, other) | (other, Unreached) => other,
            (a, b) if a == b => a,
            (Flag, Uniform) | (Uniform, Flag) => Uniform,
            (Flag, Mask) | (Mask, Flag) => Mask,
            (Affine { stride, zeros: a }, Affine { stride: other, zeros: b }) if stride == other => {
                Affine { stride, zeros: a.min(b) }
            }
            _ => Varying,
        }
    }

    /// What it is if it comes from one place for some and from the other for the rest.
    fn blend(self, other: Shape) -> Shape {
        match (self, other) {
            (Unreached, Unreached) => Unreached,
            (a, b) if [a, b].iter().all(|shape| *shape == Unreached || shape.is_condition()) => Mask,
            _ => Varying,
        }
    }

    fn affine(stride: u32, zeros: u32) -> Shape {
        if stride == 0 { Uniform } else { Affine { stride, zeros: zeros.min(31) } }
    }

    /// Whether it is a line of which the first is a multiple of a power of two.
    pub fn is_multiple_of(self, power: u32) -> bool {
        matches!(self, Affine { zeros, .. } if zeros >= power.trailing_zeros())
    }

    /// How much more each next one is, if that is known.
    fn stride(self) -> Option<u32> {
        match self {
            Flag | Uniform => Some(0),
            Affine { stride, .. } => Some(stride),
            Unreached | Mask | Varying => None,
        }
    }
}

/// Where an exit leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To the end of a block or loop, or the start of a loop.
    Label(Label),
    /// To the end of the function.
    End,
}

/// What the analysis finds.
#[derive(Debug)]
pub struct Shapes {
    shapes: Vec<Shape>,
    /// The constant that a value is.
    pub constants: Vec<Option<Const>>,
    /// Where some invocations of a group come to without the others.
    divergent: BTreeSet<Target>,
    /// How many exits lead to the end of a block or loop, at least 2 for those that may be taken in several rounds.
    breaks: BTreeMap<Label, u32>,
    /// How many exits lead to the start of a loop.
    continues: BTreeMap<Label, u32>,
    /// Where exits below a region lead that leave it, by region.
    leaves: BTreeMap<RegionId, BTreeSet<Target>>,
    /// The first ways of branches whose conditions are checked to come out the same for all.
    checked: BTreeSet<RegionId>,
}

impl Shapes {
    /// How a value differs.
    pub fn of(&self, value: Value) -> Shape {
        self.shapes[value.index()]
    }

    /// Whether a condition lets invocations part; `way` is the branch's first.
    pub fn parts(&self, condition: Value, way: RegionId) -> bool {
        !matches!(self.of(condition), Unreached | Flag | Uniform) && !self.is_checked(way)
    }

    /// Whether a branch's condition is a line that is checked to be zero for all or for none; `way` is its first.
    pub fn is_checked(&self, way: RegionId) -> bool {
        self.checked.contains(&way)
    }

    /// Whether some invocations of a group may come there without the others.
    pub fn is_divergent(&self, target: Target) -> bool {
        self.divergent.contains(&target)
    }

    /// How many exits lead to the end of a block or loop.
    pub fn breaks(&self, label: Label) -> u32 {
        self.breaks.get(&label).copied().unwrap_or(0)
    }

    /// How many exits lead to the start of a loop.
    pub fn continues(&self, label: Label) -> u32 {
        self.continues.get(&label).copied().unwrap_or(0)
    }

    /// Whether a statement may end with fewer invocations than it began with, though others go on.
    pub fn loses(&self, kind: &StmtKind) -> bool {
        let own = label_of(kind);
        kind.each_region().any(|region| {
            let mut targets = self.leaves.get(&region).into_iter().flatten();
            targets.any(|target| Some(*target) != own && self.is_divergent(*target))
        })
    }
}

fn label_of(kind: &StmtKind) -> Option<Target> {
    match kind {
        StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => Some(Target::Label(*label)),
        _ => None,
    }
}

/// Finds how the values of a kernel differ between `lanes` invocations with ascending ids, the first of which is a multiple
/// of `lanes`.
pub fn shapes(function: &Function, lanes: u32) -> Shapes {
    let mut analysis = Analysis {
        function,
        lanes,
        found: Shapes {
            shapes: vec![Unreached; function.values.len()],
            constants: dataflow::constants(function),
            divergent: BTreeSet::new(),
            breaks: BTreeMap::new(),
            continues: BTreeMap::new(),
            leaves: BTreeMap::new(),
            checked: BTreeSet::new(),
        },
        dirty: BTreeMap::new(),
        open: Vec::new(),
        loops: 0,
        changed: false,
    };
    analysis.count(function.body);
    let id = Affine { stride: 1, zeros: lanes.trailing_zeros() };
    for (index, param) in function.params.iter().enumerate() {
        analysis.set(*param, if index == 0 { id } else { Uniform });
    }
    loop {
        analysis.changed = false;
        analysis.dirty.clear();
        analysis.region(function.body, false);
        if !analysis.changed {
            return analysis.found;
        }
    }
}

/// What is open around a place.
#[derive(Clone, Copy)]
enum Open<'f> {
    Construct {
        label: Label,
        is_loop: bool,
        results: &'f [Value],
        params: &'f [Value],
    },
    /// A condition by which invocations parted.
    Parting,
}

struct Analysis<'f> {
    function: &'f Function,
    lanes: u32,
    found: Shapes,
    /// Whether something was stored before an exit to the end of a block.
    dirty: BTreeMap<Label, bool>,
    open: Vec<Open<'f>>,
    /// Loops that are open.
    loops: u32,
    changed: bool,
}

impl<'f> Analysis<'f> {
    /// Counts exits; gives where those lead that leave the region.
    fn count(&mut self, id: RegionId) -> BTreeSet<Target> {
        let function = self.function;
        let region = function.region(id);
        let mut leaves = BTreeSet::new();
        for stmt in &region.stmts {
            let mut below = BTreeSet::new();
            for inner in stmt.kind.each_region() {
                below.extend(self.count(inner));
                let yields = matches!(function.region(inner).exit, Exit::Yield(_));
                if let (true, Some(Target::Label(label))) = (yields, label_of(&stmt.kind)) {
                    *self.found.breaks.entry(label).or_default() += 1;
                }
            }
            if let Some(own) = label_of(&stmt.kind) {
                below.remove(&own);
            }
            if matches!(stmt.kind, StmtKind::Loop { .. }) {
                // One exit in a loop is as good as several: some may take it in one round, some in another.
                for target in &below {
                    if let Target::Label(label) = target {
                        *self.found.breaks.entry(*label).or_default() += 1;
                        *self.found.continues.entry(*label).or_default() += 1;
                    }
                }
            }
            leaves.extend(below);
        }
        match region.exit {
            Exit::Break(label, _) => {
                *self.found.breaks.entry(label).or_default() += 1;
                leaves.insert(Target::Label(label));
            }
            Exit::Continue(label, _) => {
                *self.found.continues.entry(label).or_default() += 1;
                leaves.insert(Target::Label(label));
            }
            Exit::Return(_) => _ = leaves.insert(Target::End),
            Exit::Yield(_) | Exit::Trap(_) => {}
        }
        self.found.leaves.insert(id, leaves.clone());
        leaves
    }

    fn set(&mut self, value: Value, shape: Shape) {
        let old = self.found.shapes[value.index()];
        let new = old.join(shape);
        if new != old {
            self.found.shapes[value.index()] = new;
            self.changed = true;
        }
    }

    fn set_all(&mut self, to: &[Value], from: &[Value], blends: bool) {
        for (to, from) in to.iter().zip(from) {
            let (old, new) = (self.found.of(*to), self.found.of(*from));
            let shape = if blends { old.blend(new) } else { new };
            self.set(*to, shape);
        }
    }

    /// `dirty`: whether the group may have stored something before. Gives whether it may have at the end.
    fn region(&mut self, id: RegionId, mut dirty: bool) -> bool {
        let function = self.function;
        for stmt in &function.region(id).stmts {
            dirty = self.stmt(stmt, dirty);
        }
        match &function.region(id).exit {
            Exit::Break(label, values) => {
                *self.dirty.entry(*label).or_default() |= dirty;
                self.leave(Target::Label(*label));
                let (is_loop, results, _) = self.construct(*label);
                let blends = self.blends(*label, is_loop);
                self.set_all(results, values, blends);
            }
            Exit::Continue(label, values) => {
                self.leave(Target::Label(*label));
                let (_, _, params) = self.construct(*label);
                let blends = self.found.is_divergent(Target::Label(*label)) && self.found.continues(*label) > 1;
                self.set_all(params, values, blends);
            }
            Exit::Return(_) => self.leave(Target::End),
            Exit::Yield(_) | Exit::Trap(_) => {}
        }
        dirty
    }

    /// Whether the results of a block or loop come from different places for different invocations.
    fn blends(&self, label: Label, is_loop: bool) -> bool {
        self.found.is_divergent(Target::Label(label)) && (is_loop || self.found.breaks(label) > 1)
    }

    /// An open block or loop: whether it is a loop, its results, its region's parameters.
    fn construct(&self, wanted: Label) -> (bool, &'f [Value], &'f [Value]) {
        let found = self.open.iter().rev().find_map(|open| match *open {
            Open::Construct { label, is_loop, results, params } if label == wanted => Some((is_loop, results, params)),
            _ => None,
        });
        found.unwrap_or((false, &[], &[]))
    }

    /// Notes that invocations come from here to a place; all do, but for those that parted in between.
    fn leave(&mut self, target: Target) {
        let mut parts = false;
        for open in self.open.iter().rev() {
            match open {
                Open::Parting => parts = true,
                Open::Construct { label, .. } if Target::Label(*label) == target => break,
                Open::Construct { label, .. } => parts |= self.found.is_divergent(Target::Label(*label)),
            }
        }
        if parts && self.found.divergent.insert(target) {
            self.changed = true;
        }
    }

    /// The values that a region yields to the statement that it stands in.
    fn yields(&mut self, region: RegionId, results: &[Value], blends: bool) {
        let function = self.function;
        if let Exit::Yield(values) = &function.region(region).exit {
            self.set_all(results, values, blends);
        }
    }

    fn stmt(&mut self, stmt: &'f Stmt, dirty: bool) -> bool {
        match &stmt.kind {
            StmtKind::Op { op, args, result } => {
                if let Some(result) = result {
                    let shape = self.operator(op, args, !dirty && self.loops == 0);
                    self.set(*result, shape);
                }
                dirty || op.stores()
            }
            StmtKind::Block { label, body, results } => self.block(*label, *body, results, dirty),
            StmtKind::Loop { label, inits, body, results } => self.r#loop(*label, inits, *body, results, dirty),
            StmtKind::If { cond, then, otherwise, results } => {
                let is_line = matches!(self.found.of(*cond), Affine { .. });
                if is_line && !dirty && self.loops == 0 {
                    self.found.checked.insert(*then);
                } else {
                    self.found.checked.remove(then);
                }
                let parts = self.found.parts(*cond, *then);
                self.branches(parts, &[*then, *otherwise], results, dirty)
            }
            StmtKind::Switch { index, cases, default, results } => {
                let mut ways = cases.clone();
                ways.push(*default);
                ways.sort_unstable();
                ways.dedup();
                let parts = !matches!(self.found.of(*index), Unreached | Flag | Uniform);
                self.branches(parts, &ways, results, dirty)
            }
            StmtKind::Call { results, .. } | StmtKind::CallIndirect { results, .. } => {
                results.iter().for_each(|result| self.set(*result, Varying));
                true
            }
        }
    }

    fn block(&mut self, label: Label, body: RegionId, results: &'f [Value], dirty: bool) -> bool {
        self.open.push(Open::Construct { label, is_loop: false, results, params: &[] });
        let mut after = self.region(body, dirty);
        self.open.pop();
        let blends = self.blends(label, false);
        self.yields(body, results, blends);
        after &= matches!(self.function.region(body).exit, Exit::Yield(_));
        after | self.dirty.get(&label).copied().unwrap_or(false)
    }

    fn r#loop(&mut self, label: Label, inits: &[Value], body: RegionId, results: &'f [Value], dirty: bool) -> bool {
        let params = &self.function.region(body).params;
        self.set_all(params, inits, false);
        self.open.push(Open::Construct { label, is_loop: true, results, params });
        self.loops += 1;
        let after = self.region(body, dirty);
        self.loops -= 1;
        self.open.pop();
        let blends = self.blends(label, true);
        self.yields(body, results, blends);
        after || self.stores_below(body)
    }

    fn branches(&mut self, parts: bool, ways: &[RegionId], results: &[Value], dirty: bool) -> bool {
        let comes_out = |region: &RegionId| matches!(self.function.region(*region).exit, Exit::Yield(_));
        let blends = parts && ways.iter().filter(|way| comes_out(way)).count() > 1;
        let mut after = false;
        for way in ways {
            if parts {
                self.open.push(Open::Parting);
            }
            let dirty = self.region(*way, dirty);
            after |= dirty && matches!(self.function.region(*way).exit, Exit::Yield(_));
            if parts {
                self.open.pop();
            }
            self.yields(*way, results, blends);
        }
        after
    }

    fn stores_below(&self, region: RegionId) -> bool {
        self.function.region(region).stmts.iter().any(|stmt| {
            matches!(&stmt.kind, StmtKind::Op { op, .. } if op.stores())
                || stmt.kind.each_region().any(|inner| self.stores_below(inner))
        })
    }

    /// The shape of an operator's result. `clean`: here the group may still be left to the form for one invocation, so that
    /// what holds for nearly all groups is checked and taken to hold.
    fn operator(&self, op: &Op, args: &[Value], clean: bool) -> Shape {
        let shape = |at: usize| args.get(at).map_or(Unreached, |arg| self.found.of(*arg));
        match op {
            Op::Const(Const::I32(0 | 1)) => Flag,
            Op::Const(_) | Op::GlobalGet(_) | Op::MemorySize => Uniform,
            Op::Load(_) => match shape(0) {
                Unreached => Unreached,
                address if address.is_uniform() => Uniform,
                _ => Varying,
            },
            Op::Select => match (shape(0), shape(1), shape(2)) {
                (_, _, Unreached) => Unreached,
                (a, b, condition) if condition.is_uniform() => a.join(b),
                (a, b, _) if args[0] == args[1] => a.join(b),
                (a, b, _) => a.blend(b),
            },
            Op::Wasm(op) => self.numeric(*op, args, clean),
            _ => Varying,
        }
    }

    fn constant(&self, value: Value) -> Option<u32> {
        match self.found.constants[value.index()] {
            Some(Const::I32(constant)) => Some(constant),
            _ => None,
        }
    }

    fn numeric(&self, op: WasmOp, args: &[Value], clean: bool) -> Shape {
        let shape = |at: usize| args.get(at).map_or(Uniform, |arg| self.found.of(*arg));
        let (a, b) = (shape(0), shape(1));
        if a == Unreached || b == Unreached {
            return Unreached;
        }
        let is_logic = matches!(op, WasmOp::I32And | WasmOp::I32Or | WasmOp::I32Xor);
        if a.is_uniform() && b.is_uniform() {
            let flag = is_comparison(op) || is_logic && a == Flag && b == Flag;
            return if flag { Flag } else { Uniform };
        }
        if is_logic && a.is_condition() && b.is_condition() {
            return Mask;
        }
        if is_comparison(op) {
            let is_word = op.params()[0] == Type::I32;
            return match (a.stride(), b.stride()) {
                (Some(a), Some(b)) if is_word && args.len() == 2 && (clean || is_equality(op) && a == b) => Flag,
                (Some(_), _) if is_word && args.len() == 1 && clean => Flag,
                _ => Mask,
            };
        }
        self.affine(op, args, (a, b), clean).unwrap_or(Varying)
    }

    /// What stays a line, or becomes the same for all.
    fn affine(&self, op: WasmOp, args: &[Value], (a, b): (Shape, Shape), clean: bool) -> Option<Shape> {
        let (&first, &second) = (args.first()?, args.get(1)?);
        let (x, y) = (a.stride()?, b.stride()?);
        let zeros = |value: Value, shape: Shape| match (shape, self.constant(value)) {
            (Affine { zeros, .. }, _) => zeros,
            (_, Some(constant)) => constant.trailing_zeros().min(31),
            _ => 0,
        };
        let lowest = || zeros(first, a).min(zeros(second, b));
        let constant = self.constant(second);
        match op {
            WasmOp::I32Add => Some(Shape::affine(x.wrapping_add(y), lowest())),
            WasmOp::I32Sub => Some(Shape::affine(x.wrapping_sub(y), lowest())),
            WasmOp::I32Mul => {
                let (stride, line, factor) = match (constant, self.constant(first)) {
                    (Some(factor), _) => (x, zeros(first, a), factor),
                    (None, Some(factor)) => (y, zeros(second, b), factor),
                    (None, None) => return None,
                };
                Some(Shape::affine(stride.wrapping_mul(factor), line + factor.trailing_zeros()))
            }
            WasmOp::I32Shl => {
                let amount = constant? % 32;
                Some(Shape::affine(x << amount, zeros(first, a) + amount))
            }
            // No carry: a sum.
            WasmOp::I32Or if y == 0 && constant? >> zeros(first, a).min(x.trailing_zeros()) == 0 => {
                Some(Shape::affine(x, 0))
            }
            WasmOp::I32DivS | WasmOp::I32DivU if clean && x == 1 && y == 0 => self.divides(constant).then_some(Uniform),
            WasmOp::I32RemS | WasmOp::I32RemU if clean && x == 1 && y == 0 => {
                self.divides(constant).then_some(Shape::affine(1, 0))
            }
            WasmOp::I32ShrU | WasmOp::I32ShrS if x == 1 && constant? < 32 && 1 << constant? >= self.lanes => {
                let checked = clean && op == WasmOp::I32ShrU;
                (a.is_multiple_of(self.lanes) || checked).then_some(Uniform)
            }
            WasmOp::I32And if x == 1 && y == 0 => self.masked(a, constant, clean),
            WasmOp::I32And if x == 0 && y == 1 => self.masked(b, self.constant(first), clean),
            _ => None,
        }
    }

    /// What remains of a line of stride 1 under a mask that is the same for all.
    fn masked(&self, line: Shape, mask: Option<u32>, clean: bool) -> Option<Shape> {
        let low = self.lanes - 1;
        let aligned = line.is_multiple_of(self.lanes);
        match mask {
            Some(mask) if aligned && mask & low == low => Some(Shape::affine(1, self.lanes.trailing_zeros())),
            Some(mask) if aligned && mask & low == 0 => Some(Uniform),
            Some(mask) if clean && mask >= low && is_low_mask(mask) => Some(Shape::affine(1, 0)),
            None if clean && aligned => Some(Shape::affine(1, self.lanes.trailing_zeros())),
            _ => None,
        }
    }

    /// Whether groups are likely to lie between two multiples of a divisor: of one that is not known, they are.
    fn divides(&self, divisor: Option<u32>) -> bool {
        divisor.is_none_or(|divisor| divisor >= self.lanes)
    }
}

fn is_equality(op: WasmOp) -> bool {
    matches!(op, WasmOp::I32Eq | WasmOp::I32Ne)
}

/// Whether it is 2^n - 1.
fn is_low_mask(constant: u32) -> bool {
    constant & constant.wrapping_add(1) == 0
}
