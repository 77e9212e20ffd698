//! Removes what nothing needs: operators without effect whose results are unused, results and loop parameters that
//! are unused or feed only themselves, and branches that are left with nothing to do.

use std::collections::HashMap;

use crate::ir::{Exit, Function, Label, Region, RegionId, Stmt, StmtKind, Value};

/// Removes dead code from a function at any stage before strict form.
pub fn remove(function: &mut Function) {
    let mut pass = Marker::new(function);
    pass.index(function.body, None);
    pass.mark_effects();
    pass.propagate();
    let Marker { live, constructs, regions: order, labels, .. } = pass;
    let keep = |values: &[Value]| -> Vec<bool> { values.iter().map(|v| live[v.index()]).collect() };
    // Masks first, as they are read off statements that the sweep changes.
    let result_masks: HashMap<Place, Vec<bool>> =
        constructs.keys().map(|place| (*place, keep(stmt(function, *place).kind.results()))).collect();
    let param_masks: HashMap<RegionId, Vec<bool>> =
        order.iter().map(|(region, _)| (*region, keep(&function.region(*region).params))).collect();
    let effects: HashMap<Place, bool> = constructs.iter().map(|(place, c)| (*place, c.effect)).collect();
    for (id, owner) in &order {
        let region = std::mem::replace(function.region_mut(*id), empty());
        *function.region_mut(*id) = sweep(region, *id, *owner, &live, &result_masks, &param_masks, &effects, &labels);
    }
}

/// A statement's region and number.
type Place = (RegionId, usize);

fn empty() -> Region {
    Region { params: Vec::new(), stmts: Vec::new(), exit: Exit::Yield(Vec::new()), exit_at: crate::Location::default() }
}

fn stmt(function: &Function, place: Place) -> &Stmt {
    &function.region(place.0).stmts[place.1]
}

/// A construct and the regions that give its results.
#[derive(Default)]
struct Incoming {
    sources: Vec<RegionId>,
    effect: bool,
}

#[derive(Clone, Copy)]
enum Def {
    None,
    Stmt(Place),
    LoopParam { owner: Place, number: usize },
}

/// What a label names: the statement, and for loops the region.
#[derive(Clone, Copy)]
struct Named {
    place: Place,
    body: RegionId,
}

struct Marker<'f> {
    function: &'f Function,
    live: Vec<bool>,
    todo: Vec<Value>,
    defs: Vec<Def>,
    constructs: HashMap<Place, Incoming>,
    /// Regions in use and the statements that hold them.
    regions: Vec<(RegionId, Option<Place>)>,
    labels: HashMap<Label, Named>,
    continues: HashMap<Label, Vec<RegionId>>,
}

impl<'f> Marker<'f> {
    fn new(function: &'f Function) -> Self {
        Marker {
            live: vec![false; function.values.len()],
            todo: Vec::new(),
            defs: vec![Def::None; function.values.len()],
            constructs: HashMap::new(),
            regions: Vec::new(),
            labels: HashMap::new(),
            continues: HashMap::new(),
            function,
        }
    }

    /// Indexes definitions and exits below a region; true if it has an effect.
    fn index(&mut self, id: RegionId, owner: Option<Place>) -> bool {
        self.regions.push((id, owner));
        let region = self.function.region(id);
        let mut effect = false;
        for (number, stmt) in region.stmts.iter().enumerate() {
            let place = (id, number);
            for result in stmt.kind.results() {
                self.defs[result.index()] = Def::Stmt(place);
            }
            let own = match &stmt.kind {
                StmtKind::Op { op, .. } => !op.is_pure(),
                StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
                kind => self.construct(kind, place),
            };
            effect |= own;
        }
        match &region.exit {
            Exit::Yield(_) => {
                if let Some(owner) = owner {
                    self.constructs.entry(owner).or_default().sources.push(id);
                }
                effect
            }
            Exit::Break(label, _) => {
                if let Some(named) = self.labels.get(label) {
                    self.constructs.entry(named.place).or_default().sources.push(id);
                }
                true
            }
            Exit::Continue(label, _) => {
                self.continues.entry(*label).or_default().push(id);
                true
            }
            Exit::Return(_) | Exit::Trap(_) => true,
        }
    }

    fn construct(&mut self, kind: &StmtKind, place: Place) -> bool {
        let mut effect = false;
        if let StmtKind::Block { label, body, .. } | StmtKind::Loop { label, body, .. } = kind {
            self.labels.insert(*label, Named { place, body: *body });
        }
        if let StmtKind::Loop { body, .. } = kind {
            // A loop may run for ever, which is an effect.
            effect = true;
            for (number, param) in self.function.region(*body).params.iter().enumerate() {
                self.defs[param.index()] = Def::LoopParam { owner: place, number };
            }
        }
        let mut regions = kind.regions();
        regions.sort_unstable();
        regions.dedup();
        for region in regions {
            effect |= self.index(region, Some(place));
        }
        self.constructs.entry(place).or_default().effect = effect;
        effect
    }

    fn mark(&mut self, value: Value) {
        if !std::mem::replace(&mut self.live[value.index()], true) {
            self.todo.push(value);
        }
    }

    fn mark_effects(&mut self) {
        let function = self.function;
        for (id, _) in self.regions.clone() {
            let region = function.region(id);
            for (number, stmt) in region.stmts.iter().enumerate() {
                let needed = match &stmt.kind {
                    StmtKind::Op { op, .. } => !op.is_pure(),
                    StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
                    // A loop's parameters are live only if something reads them.
                    StmtKind::Loop { .. } | StmtKind::Block { .. } => false,
                    StmtKind::If { .. } | StmtKind::Switch { .. } => {
                        self.constructs.get(&(id, number)).is_some_and(|c| c.effect)
                    }
                };
                if needed {
                    for arg in stmt.kind.args() {
                        self.mark(*arg);
                    }
                }
            }
            if let Exit::Return(values) = &region.exit {
                values.iter().for_each(|v| self.mark(*v));
            }
        }
        if let Exit::Yield(values) = &function.region(function.body).exit {
            values.iter().for_each(|v| self.mark(*v));
        }
    }

    fn propagate(&mut self) {
        let function = self.function;
        while let Some(value) = self.todo.pop() {
            match self.defs[value.index()] {
                Def::None => {}
                Def::Stmt(place) => {
                    let kind = &stmt(function, place).kind;
                    if !matches!(kind, StmtKind::Loop { .. }) {
                        kind.args().iter().for_each(|v| self.mark(*v));
                    }
                    let number = kind.results().iter().position(|r| *r == value);
                    let Some(incoming) = self.constructs.get(&place) else { continue };
                    for region in incoming.sources.clone() {
                        if let Some(source) = number.and_then(|n| function.region(region).exit.values().get(n)) {
                            self.mark(*source);
                        }
                    }
                }
                Def::LoopParam { owner, number } => {
                    let StmtKind::Loop { label, inits, .. } = &stmt(function, owner).kind else { continue };
                    self.mark(inits[number]);
                    for region in self.continues.get(label).cloned().unwrap_or_default() {
                        self.mark(function.region(region).exit.values()[number]);
                    }
                }
            }
        }
    }
}

fn retain<T>(items: &mut Vec<T>, mask: &[bool]) {
    let mut keep = mask.iter();
    items.retain(|_| *keep.next().unwrap_or(&true));
}

#[allow(clippy::too_many_arguments)] // The sweep's read-only tables; a struct would only rename them.
fn sweep(
    mut region: Region,
    id: RegionId,
    owner: Option<Place>,
    live: &[bool],
    results: &HashMap<Place, Vec<bool>>,
    params: &HashMap<RegionId, Vec<bool>>,
    effects: &HashMap<Place, bool>,
    labels: &HashMap<Label, Named>,
) -> Region {
    retain(&mut region.params, &params[&id]);
    let mut stmts = Vec::with_capacity(region.stmts.len());
    for (number, mut stmt) in region.stmts.into_iter().enumerate() {
        let place = (id, number);
        let kept = match &mut stmt.kind {
            StmtKind::Op { op, result, .. } => !op.is_pure() || result.is_none_or(|r| live[r.index()]),
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
            StmtKind::Loop { inits, body, results: defined, .. } => {
                retain(inits, &params[body]);
                retain(defined, &results[&place]);
                true
            }
            StmtKind::Block { results: defined, .. }
            | StmtKind::If { results: defined, .. }
            | StmtKind::Switch { results: defined, .. } => {
                retain(defined, &results[&place]);
                effects[&place] || !defined.is_empty()
            }
        };
        if kept {
            stmts.push(stmt);
        }
    }
    region.stmts = stmts;
    match &mut region.exit {
        Exit::Yield(values) => {
            if let Some(mask) = owner.and_then(|o| results.get(&o)) {
                retain(values, mask);
            }
        }
        Exit::Break(label, values) => {
            if let Some(named) = labels.get(label) {
                retain(values, &results[&named.place]);
            }
        }
        Exit::Continue(label, values) => {
            if let Some(named) = labels.get(label) {
                retain(values, &params[&named.body]);
            }
        }
        Exit::Return(_) | Exit::Trap(_) => {}
    }
    region
}
