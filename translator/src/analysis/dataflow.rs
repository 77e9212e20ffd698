//! Sparse forward dataflow: one fact a value, recomputed when a fact it depends on changes.

use crate::ir::{Const, Exit, Function, LowOp, Op, RegionId, StmtKind, Value};
use crate::work;

/// An analysis: a lattice of facts and the facts of operators' results.
///
/// Facts may only fall: when an operand's fact falls, so does [`transfer`](Analysis::transfer)'s answer. A value is
/// then visited at most as often as the lattice is high, and the whole takes time linear in the function's size.
pub trait Analysis {
    /// What is known of a value.
    type Fact: Copy + Eq;

    /// The fact of a value that nothing has reached yet; [`join`](Analysis::join) with it changes nothing.
    const UNREACHED: Self::Fact;

    /// What holds whichever of two values it is.
    fn join(&mut self, a: Self::Fact, b: Self::Fact) -> Self::Fact;

    /// The fact of an operator's result. `facts` are those of all values.
    fn transfer(&mut self, op: &Op, args: &[Value], result: Value, facts: &[Self::Fact]) -> Self::Fact;

    /// The fact of the function's parameter number `index`.
    fn parameter(&mut self, index: usize) -> Self::Fact;

    /// The fact of a result of a call.
    fn call_result(&mut self) -> Self::Fact;

    /// Asked once, when nothing changes any more: whether [`transfer`](Analysis::transfer) answers otherwise from now on for operators
    /// on what nothing has reached.
    fn settle(&mut self) -> bool {
        false
    }
}

/// The regions that can be reached from the body, each once, in the order in which control comes to them first; a region
/// comes before those below it. Passes make regions in about this order, too: reading them in it reads memory from front
/// to back.
pub fn regions(function: &Function) -> Vec<RegionId> {
    let mut seen = vec![false; function.regions.len()];
    let mut order = Vec::new();
    let mut todo = vec![function.body];
    while let Some(id) = todo.pop() {
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        order.push(id);
        let region = function.region(id);
        let stmts = &region.stmts;
        // What a region hands on is looked at one by one, too, which is most of what there is in loops of states; but a value takes
        // far less time than a statement (67 million of them two thirds of a second, where as many statements take forty).
        work::spend(stmts.len() + region.exit.values().len() / 8);
        let above = todo.len();
        todo.extend(stmts.iter().flat_map(|stmt| stmt.kind.each_region()));
        todo[above..].reverse();
    }
    order
}

/// The lowered operator and the operands of each value that one with two operands defines.
pub fn binary_operators(function: &Function) -> Vec<Option<(LowOp, [Value; 2])>> {
    let mut defs = vec![None; function.values.len()];
    for region in &function.regions {
        for stmt in &region.stmts {
            if let StmtKind::Op { op: Op::Low(op), args, result: Some(result) } = &stmt.kind
                && let [a, b] = args[..]
            {
                defs[result.index()] = Some((*op, [a, b]));
            }
        }
    }
    defs
}

/// The constant that each value is, where an `Op::Const` defines it.
pub fn constants(function: &Function) -> Vec<Option<Const>> {
    let mut constants = vec![None; function.values.len()];
    for region in regions(function) {
        for stmt in &function.region(region).stmts {
            if let StmtKind::Op { op: Op::Const(constant), result: Some(result), .. } = &stmt.kind {
                constants[result.index()] = Some(*constant);
            }
        }
    }
    constants
}

/// Where the values of exits arrive.
pub struct Targets<'f> {
    function: &'f Function,
    /// What `Yield` of a region gives its values to: several statements may share a region.
    yields: Vec<Lists<'f>>,
    breaks: Vec<&'f [Value]>,
    continues: Vec<&'f [Value]>,
}

/// Lists of values, nearly always one.
pub type Lists<'f> = smallvec::SmallVec<[&'f [Value]; 1]>;

impl<'f> Targets<'f> {
    /// Reads them off a function.
    pub fn new(function: &'f Function) -> Self {
        let labels = function.labels as usize;
        let mut targets = Targets {
            function,
            yields: vec![Lists::new(); function.regions.len()],
            breaks: vec![&[]; labels],
            continues: vec![&[]; labels],
        };
        for region in regions(function) {
            for stmt in &function.region(region).stmts {
                targets.add(&stmt.kind);
            }
        }
        targets
    }

    fn add(&mut self, kind: &'f StmtKind) {
        for region in kind.distinct_regions() {
            self.yields[region.index()].push(kind.results());
        }
        match kind {
            StmtKind::Block { label, results, .. } => self.breaks[label.index()] = results,
            StmtKind::Loop { label, body, results, .. } => {
                self.breaks[label.index()] = results;
                self.continues[label.index()] = &self.function.region(*body).params;
            }
            _ => {}
        }
    }

    /// The values that `region`'s exit defines: one list in the order of the exit's own values for each statement that
    /// the region stands in. Empty for returns and traps.
    pub fn of_exit(&self, region: RegionId) -> Lists<'f> {
        match &self.function.region(region).exit {
            Exit::Yield(_) => self.yields[region.index()].clone(),
            Exit::Break(label, _) => [self.breaks[label.index()]].into(),
            Exit::Continue(label, _) => [self.continues[label.index()]].into(),
            Exit::Return(_) | Exit::Trap(_) => Lists::new(),
        }
    }
}

/// What depends on a value.
#[derive(Clone, Copy)]
enum User {
    /// The operator at this place among [`Solver::ops`].
    Op(u32),
    /// A value it may become.
    Join(Value),
}

/// The users of all values, in one list: those of a value stand side by side, in the order in which they were found.
struct Users {
    list: Vec<User>,
    /// Where each value's users begin; the last one's end stands behind.
    starts: Vec<u32>,
}

impl Users {
    fn new(values: usize, found: &[(Value, User)]) -> Self {
        let mut starts = vec![0; values + 1];
        found.iter().for_each(|(value, _)| starts[value.index() + 1] += 1);
        for value in 0..values {
            starts[value + 1] += starts[value];
        }
        let mut next = starts.clone();
        let mut list = vec![User::Op(0); found.len()];
        for (value, user) in found {
            list[next[value.index()] as usize] = *user;
            next[value.index()] += 1;
        }
        Users { list, starts }
    }

    fn of(&self, value: Value) -> std::ops::Range<usize> {
        self.starts[value.index()] as usize..self.starts[value.index() + 1] as usize
    }
}

struct Solver<'f, A: Analysis> {
    analysis: A,
    ops: Vec<(&'f Op, &'f [Value], Value)>,
    users: Vec<(Value, User)>,
    facts: Vec<A::Fact>,
    changed: Vec<Value>,
}

/// The facts of all values, by index, and the analysis.
pub fn solve<A: Analysis>(function: &Function, analysis: A) -> (Vec<A::Fact>, A) {
    let mut solver = Solver {
        analysis,
        ops: Vec::new(),
        users: Vec::new(),
        facts: vec![A::UNREACHED; function.values.len()],
        changed: Vec::new(),
    };
    for (index, param) in function.params.iter().enumerate() {
        let fact = solver.analysis.parameter(index);
        solver.lower_to(*param, fact);
    }
    let targets = Targets::new(function);
    for id in regions(function) {
        for stmt in &function.region(id).stmts {
            solver.add_stmt(function, &stmt.kind);
        }
        for target in targets.of_exit(id) {
            solver.add_joins(function.region(id).exit.values(), target);
        }
    }
    let users = Users::new(function.values.len(), &std::mem::take(&mut solver.users));
    for op in 0..solver.ops.len() as u32 {
        solver.visit(op);
    }
    solver.follow(&users);
    if solver.analysis.settle() {
        for op in 0..solver.ops.len() as u32 {
            if solver.facts[solver.ops[op as usize].2.index()] == A::UNREACHED {
                solver.visit(op);
            }
        }
        solver.follow(&users);
    }
    (solver.facts, solver.analysis)
}

impl<'f, A: Analysis> Solver<'f, A> {
    fn add_stmt(&mut self, function: &Function, kind: &'f StmtKind) {
        match kind {
            StmtKind::Op { op, args, result: Some(result) } => {
                let user = User::Op(self.ops.len() as u32);
                self.users.extend(args.iter().map(|arg| (*arg, user)));
                self.ops.push((op, args, *result));
            }
            StmtKind::Call { results, .. } | StmtKind::CallIndirect { results, .. } => {
                for result in results {
                    let fact = self.analysis.call_result();
                    self.lower_to(*result, fact);
                }
            }
            StmtKind::Loop { inits, body, .. } => self.add_joins(inits, &function.region(*body).params),
            _ => {}
        }
    }

    fn add_joins(&mut self, from: &[Value], to: &[Value]) {
        for (from, to) in from.iter().zip(to) {
            self.users.push((*from, User::Join(*to)));
            if self.facts[from.index()] != A::UNREACHED {
                self.changed.push(*from);
            }
        }
    }

    /// Visits what depends on what has changed, until nothing does any more.
    fn follow(&mut self, users: &Users) {
        while let Some(value) = self.changed.pop() {
            let affected = users.of(value);
            work::spend(affected.len());
            for user in affected {
                match users.list[user] {
                    User::Op(op) => self.visit(op),
                    User::Join(target) => self.join_into(target, self.facts[value.index()]),
                }
            }
        }
    }

    fn visit(&mut self, op: u32) {
        let (op, args, result) = self.ops[op as usize];
        let fact = self.analysis.transfer(op, args, result, &self.facts);
        self.lower_to(result, fact);
    }

    fn join_into(&mut self, target: Value, fact: A::Fact) {
        let fact = self.analysis.join(self.facts[target.index()], fact);
        self.lower_to(target, fact);
    }

    fn lower_to(&mut self, value: Value, fact: A::Fact) {
        if self.facts[value.index()] != fact {
            self.facts[value.index()] = fact;
            self.changed.push(value);
        }
    }
}
