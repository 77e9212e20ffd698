//! Removes what nothing needs: operators without effect whose results are unused, results and loop parameters that
//! are unused or feed only themselves, and branches that are left with nothing to do.

use crate::ir::{Exit, Function, Region, RegionId, Stmt, StmtKind, Value};

/// Removes dead code from a function at any stage before strict form.
pub fn remove(function: &mut Function) {
    let mut pass = Marker::new(function);
    pass.index(function.body, None);
    pass.mark_effects();
    pass.propagate();
    let Marker { live, constructs, first, regions, labels, .. } = pass;
    // Exits first, for how many of their values stay is read off statements that the sweep changes.
    for (id, owner) in &regions {
        let mut exit = std::mem::replace(&mut function.region_mut(*id).exit, Exit::Yield(Vec::new()));
        let results = |construct: u32| stmt(function, constructs[construct as usize].place).kind.results();
        match &mut exit {
            Exit::Yield(values) => owner.iter().for_each(|owner| retain(values, results(*owner), &live)),
            Exit::Break(label, values) => {
                labels[label.index()].iter().for_each(|named| retain(values, results(named.construct), &live));
            }
            Exit::Continue(label, values) => labels[label.index()]
                .iter()
                .for_each(|named| retain(values, &function.region(named.body).params, &live)),
            Exit::Return(_) | Exit::Trap(_) => {}
        }
        function.region_mut(*id).exit = exit;
    }
    for construct in &constructs {
        let (id, number) = construct.place;
        if let StmtKind::Loop { body, .. } = function.region(id).stmts[number as usize].kind {
            let mut params = std::mem::take(&mut function.region_mut(body).params);
            if let StmtKind::Loop { inits, .. } = &mut function.region_mut(id).stmts[number as usize].kind {
                retain(inits, &params, &live);
            }
            params.retain(|param| live[param.index()]);
            function.region_mut(body).params = params;
        }
    }
    for (id, _) in &regions {
        sweep(function.region_mut(*id), first[id.index()], &constructs, &live);
    }
}

/// A statement's region and number.
type Place = (RegionId, u32);

fn stmt(function: &Function, place: Place) -> &Stmt {
    &function.region(place.0).stmts[place.1 as usize]
}

/// Keeps the values whose counterparts are live.
fn retain(values: &mut Vec<Value>, counterparts: &[Value], live: &[bool]) {
    let mut counterparts = counterparts.iter();
    values.retain(|_| counterparts.next().is_none_or(|value| live[value.index()]));
}

/// A construct and the regions that give its results.
struct Construct {
    place: Place,
    sources: smallvec::SmallVec<[RegionId; 4]>,
    effect: bool,
    /// The next one of the same region.
    next: Option<u32>,
}

#[derive(Clone, Copy)]
enum Def {
    None,
    Op(Place),
    Result { construct: u32, number: u32 },
    LoopParam { construct: u32, number: u32 },
}

/// What a label names: the construct, and for loops the region.
#[derive(Clone, Copy)]
struct Named {
    construct: u32,
    body: RegionId,
}

struct Marker<'f> {
    function: &'f Function,
    live: Vec<bool>,
    todo: Vec<Value>,
    defs: Vec<Def>,
    constructs: Vec<Construct>,
    /// The first construct of each region.
    first: Vec<Option<u32>>,
    /// Regions in use and the constructs that they belong to.
    regions: Vec<(RegionId, Option<u32>)>,
    labels: Vec<Option<Named>>,
    continues: Vec<Vec<RegionId>>,
}

impl<'f> Marker<'f> {
    fn new(function: &'f Function) -> Self {
        Marker {
            live: vec![false; function.values.len()],
            todo: Vec::new(),
            defs: vec![Def::None; function.values.len()],
            constructs: Vec::new(),
            first: vec![None; function.regions.len()],
            regions: Vec::new(),
            labels: vec![None; function.labels as usize],
            continues: vec![Vec::new(); function.labels as usize],
            function,
        }
    }

    /// Indexes definitions and exits below a region; true if it has an effect.
    fn index(&mut self, id: RegionId, owner: Option<u32>) -> bool {
        self.regions.push((id, owner));
        let region = self.function.region(id);
        let (mut effect, mut last) = (false, None);
        for (number, stmt) in region.stmts.iter().enumerate() {
            let place = (id, number as u32);
            effect |= match &stmt.kind {
                StmtKind::Op { op, result, .. } => {
                    result.iter().for_each(|result| self.defs[result.index()] = Def::Op(place));
                    !op.is_pure()
                }
                StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
                kind => {
                    let construct = self.constructs.len() as u32;
                    match last.replace(construct) {
                        Some(last) => self.constructs[last as usize].next = Some(construct),
                        None => self.first[id.index()] = Some(construct),
                    }
                    self.construct(kind, place)
                }
            };
        }
        match &region.exit {
            Exit::Yield(_) => {
                owner.into_iter().for_each(|owner| self.constructs[owner as usize].sources.push(id));
                effect
            }
            Exit::Break(label, _) => {
                if let Some(named) = self.labels[label.index()] {
                    self.constructs[named.construct as usize].sources.push(id);
                }
                true
            }
            Exit::Continue(label, _) => {
                self.continues[label.index()].push(id);
                true
            }
            Exit::Return(_) | Exit::Trap(_) => true,
        }
    }

    fn construct(&mut self, kind: &StmtKind, place: Place) -> bool {
        let construct = self.constructs.len() as u32;
        self.constructs.push(Construct { place, sources: Default::default(), effect: false, next: None });
        for (number, result) in kind.results().iter().enumerate() {
            self.defs[result.index()] = Def::Result { construct, number: number as u32 };
        }
        let mut effect = false;
        if let StmtKind::Block { label, body, .. } | StmtKind::Loop { label, body, .. } = kind {
            self.labels[label.index()] = Some(Named { construct, body: *body });
        }
        if let StmtKind::Loop { body, .. } = kind {
            // A loop may run for ever, which is an effect.
            effect = true;
            for (number, param) in self.function.region(*body).params.iter().enumerate() {
                self.defs[param.index()] = Def::LoopParam { construct, number: number as u32 };
            }
        }
        for region in kind.distinct_regions() {
            effect |= self.index(region, Some(construct));
        }
        self.constructs[construct as usize].effect = effect;
        effect
    }

    fn mark(&mut self, value: Value) {
        if !std::mem::replace(&mut self.live[value.index()], true) {
            self.todo.push(value);
        }
    }

    fn mark_effects(&mut self) {
        let function = self.function;
        for number in 0..self.regions.len() {
            let (id, _) = self.regions[number];
            let region = function.region(id);
            let mut construct = self.first[id.index()];
            for stmt in &region.stmts {
                let needed = match &stmt.kind {
                    StmtKind::Op { op, .. } => !op.is_pure(),
                    StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
                    kind => {
                        let has_effect = next(&self.constructs, &mut construct);
                        // A loop's parameters are live only if something reads them.
                        has_effect && matches!(kind, StmtKind::If { .. } | StmtKind::Switch { .. })
                    }
                };
                if needed {
                    stmt.kind.args().iter().for_each(|arg| self.mark(*arg));
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
                Def::Op(place) => stmt(function, place).kind.args().iter().for_each(|arg| self.mark(*arg)),
                Def::Result { construct, number } => {
                    let kind = &stmt(function, self.constructs[construct as usize].place).kind;
                    if !matches!(kind, StmtKind::Loop { .. }) {
                        kind.args().iter().for_each(|arg| self.mark(*arg));
                    }
                    for source in 0..self.constructs[construct as usize].sources.len() {
                        let region = self.constructs[construct as usize].sources[source];
                        if let Some(value) = function.region(region).exit.values().get(number as usize) {
                            self.mark(*value);
                        }
                    }
                }
                Def::LoopParam { construct, number } => {
                    let place = self.constructs[construct as usize].place;
                    let StmtKind::Loop { label, inits, .. } = &stmt(function, place).kind else { continue };
                    self.mark(inits[number as usize]);
                    for way in 0..self.continues[label.index()].len() {
                        let region = self.continues[label.index()][way];
                        self.mark(function.region(region).exit.values()[number as usize]);
                    }
                }
            }
        }
    }
}

/// Whether a construct has an effect; goes on to the next one of its region.
fn next(constructs: &[Construct], construct: &mut Option<u32>) -> bool {
    let Some(number) = *construct else { return false };
    let Construct { effect, next, .. } = constructs[number as usize];
    *construct = next;
    effect
}

/// Removes a region's dead statements and their dead results; `construct` is the first of its constructs.
fn sweep(region: &mut Region, mut construct: Option<u32>, constructs: &[Construct], live: &[bool]) {
    region.stmts.retain_mut(|stmt| match &mut stmt.kind {
        StmtKind::Op { op, result, .. } => !op.is_pure() || result.is_none_or(|result| live[result.index()]),
        StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => true,
        StmtKind::Block { results, .. }
        | StmtKind::Loop { results, .. }
        | StmtKind::If { results, .. }
        | StmtKind::Switch { results, .. } => {
            results.retain(|result| live[result.index()]);
            let has_effect = next(constructs, &mut construct);
            has_effect || !results.is_empty()
        }
    });
}
