//! Mutable globals become values: an invocation's own copy of a global is a variable, and variables become SSA.
//!
//! Each construct hands on, besides its own results, the globals that code inside it assigns, as the front end does with
//! locals. What is left of a global is one `global.get` at the function's start, its value at the launch; what the
//! invocation leaves in it is dropped. Numbers beyond the module's globals are *cells* that start as zero, which
//! other passes make for what they want to be values (see [`stack_slots`](super::stack_slots)).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::hash::{HashMap, HashMapExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Const, Exit, Function, Label, Op, RegionId, Stmt, StmtKind, Type, Value};

/// Promotes the globals that are set, and all numbered from `first_cell` on. Gives those that were set, with the values.
pub fn promote(function: &mut Function, first_cell: u32) -> Vec<(u32, Value)> {
    promote_from(function, first_cell, &BTreeSet::new())
}

/// The same; these cells are read before they are set.
pub fn promote_from(function: &mut Function, first_cell: u32, read: &BTreeSet<u32>) -> Vec<(u32, Value)> {
    let globals = promoted(function, first_cell);
    if globals.is_empty() {
        return Vec::new();
    }
    let numbers = globals.keys().enumerate().map(|(cell, global)| (*global, cell as u32)).collect();
    let start = function.region(function.body).stmts.first().map_or(function.region(function.body).exit_at, |s| s.at);
    let mut list = ListBuilder::new(start);
    let mut initial = Vec::with_capacity(globals.len());
    for (global, ty) in &globals {
        let op = match (*global < first_cell, *ty) {
            (true, _) => Op::GlobalGet(*global),
            // One of a function that is kept once is not set before that is called.
            (false, Type::I32) if function.states.is_some() && !read.contains(global) => Op::Undefined,
            (false, ty) => Op::Const(Const::zero(ty)),
        };
        initial.push(list.op(function, op, &[], *ty));
    }
    let count = function.values.len();
    let assigned = vec![None; function.regions.len()];
    let mut promoter = Promoter {
        function,
        numbers,
        types: globals.values().copied().collect(),
        subst: (0..count as u32).map(Value).collect(),
        assigned,
        labels: HashMap::new(),
        set: Vec::new(),
    };
    let body = promoter.function.body;
    promoter.find_assigned(body);
    promoter.region(body, initial, &Rc::from([]));
    let set = promoter.set;
    function.region_mut(body).stmts.splice(0..0, list.stmts);
    set
}

/// The globals to promote, in order, and their types.
fn promoted(function: &Function, first_cell: u32) -> BTreeMap<u32, Type> {
    let mut set: BTreeMap<u32, Type> = BTreeMap::new();
    for region in &function.regions {
        for stmt in &region.stmts {
            match &stmt.kind {
                StmtKind::Op { op: Op::GlobalSet(global), args, .. } => _ = set.insert(*global, function.ty(args[0])),
                StmtKind::Op { op: Op::GlobalGet(global), result: Some(result), .. } if *global >= first_cell => {
                    set.insert(*global, function.ty(*result));
                }
                _ => {}
            }
        }
    }
    set
}

/// Numbers of cells, ascending.
type CellList = Rc<[u32]>;

struct Promoter<'f> {
    function: &'f mut Function,
    /// The cell of each global.
    numbers: HashMap<u32, u32>,
    types: Vec<Type>,
    /// What each value is called now; those of this pass are not in it.
    subst: Vec<Value>,
    /// The cells that a region and those below it assign.
    assigned: Vec<Option<CellList>>,
    /// The cells that an exit to a label hands on.
    labels: HashMap<Label, CellList>,
    /// The globals that were set, and to what.
    set: Vec<(u32, Value)>,
}

impl Promoter<'_> {
    fn value(&self, value: Value) -> Value {
        self.subst.get(value.index()).copied().unwrap_or(value)
    }

    fn find_assigned(&mut self, id: RegionId) -> CellList {
        if let Some(known) = &self.assigned[id.index()] {
            return known.clone();
        }
        let mut cells: Vec<u32> = Vec::new();
        for number in 0..self.function.region(id).stmts.len() {
            let kind = &self.function.region(id).stmts[number].kind;
            if let StmtKind::Op { op, .. } = kind {
                if let Op::GlobalSet(global) = op {
                    cells.push(self.numbers[global]);
                }
                continue;
            }
            for region in kind.regions() {
                cells.extend(self.find_assigned(region).iter());
            }
        }
        cells.sort_unstable();
        cells.dedup();
        let cells: CellList = cells.into();
        self.assigned[id.index()] = Some(cells.clone());
        cells
    }

    /// Rewrites a region. `current`: the cells' values at its start; `yields`: the cells that its `Yield` hands on.
    fn region(&mut self, id: RegionId, mut current: Vec<Value>, yields: &CellList) {
        let stmts = std::mem::take(&mut self.function.region_mut(id).stmts);
        let mut out = Vec::with_capacity(stmts.len());
        for mut stmt in stmts {
            stmt.kind.args_mut().iter_mut().for_each(|arg| *arg = self.subst.get(arg.index()).copied().unwrap_or(*arg));
            match &stmt.kind {
                StmtKind::Op { op: Op::GlobalGet(global), result: Some(result), .. }
                    if self.numbers.contains_key(global) =>
                {
                    self.subst[result.index()] = current[self.numbers[global] as usize];
                }
                StmtKind::Op { op: Op::GlobalSet(global), args, .. } => {
                    let cell = self.numbers[global];
                    self.set.push((*global, args[0]));
                    current[cell as usize] = args[0];
                }
                StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => out.push(stmt),
                _ => out.push(self.construct(stmt, &mut current)),
            }
        }
        let mut exit = self.function.region(id).exit.clone();
        exit.values_mut().iter_mut().for_each(|value| *value = self.value(*value));
        let handed_on = match &exit {
            Exit::Yield(_) => Some(yields),
            Exit::Break(label, _) | Exit::Continue(label, _) => self.labels.get(label),
            Exit::Return(_) | Exit::Trap(_) => None,
        };
        if let (Some(cells), Exit::Yield(v) | Exit::Break(_, v) | Exit::Continue(_, v)) = (handed_on, &mut exit) {
            v.extend(cells.iter().map(|cell| current[*cell as usize]));
        }
        let region = self.function.region_mut(id);
        region.stmts = out;
        region.exit = exit;
    }

    fn fresh(&mut self, cells: &CellList) -> Vec<Value> {
        cells.iter().map(|cell| self.function.new_value(self.types[*cell as usize])).collect()
    }

    fn construct(&mut self, mut stmt: Stmt, current: &mut [Value]) -> Stmt {
        let regions = stmt.kind.distinct_regions();
        let mut cells: Vec<u32> = Vec::new();
        for region in &regions {
            cells.extend(self.find_assigned(*region).iter());
        }
        cells.sort_unstable();
        cells.dedup();
        let cells: CellList = cells.into();
        let mut inner = current.to_vec();
        if let StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } = &stmt.kind {
            self.labels.insert(*label, cells.clone());
        }
        if let StmtKind::Loop { inits, body, .. } = &mut stmt.kind {
            let params = self.fresh(&cells);
            for (cell, param) in cells.iter().zip(&params) {
                inits.push(current[*cell as usize]);
                inner[*cell as usize] = *param;
            }
            self.function.region_mut(*body).params.extend(params);
        }
        for region in regions {
            self.region(region, inner.clone(), &cells);
        }
        let new = self.fresh(&cells);
        for (cell, value) in cells.iter().zip(&new) {
            current[*cell as usize] = *value;
        }
        match &mut stmt.kind {
            StmtKind::Block { results, .. }
            | StmtKind::Loop { results, .. }
            | StmtKind::If { results, .. }
            | StmtKind::Switch { results, .. } => results.extend(new),
            StmtKind::Op { .. } | StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {}
        }
        stmt
    }
}
