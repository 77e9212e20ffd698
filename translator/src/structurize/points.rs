//! Where control goes on behind each construct, and from how many places it comes there.

use crate::error::{Error, Location, Result, TrapKind};
use crate::hash::HashMap;
use crate::ir::{Exit, Function, Label, Region, RegionId, StmtKind, Value, Var};

/// The point behind a construct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PointId(u32);

/// Where a branch arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// No place; as an escape number: nothing escaped.
    Nowhere,
    /// The function's end.
    End,
    /// Behind a construct.
    Point(PointId),
    /// The next iteration of a loop.
    Continue(Label),
    /// A trap, with its place in the bytecode.
    Trap(TrapKind, Location),
}

#[derive(Debug)]
struct Point {
    /// The construct: its region and its number there.
    place: (RegionId, usize),
    results: Vec<Value>,
    /// Whether nothing stands behind the construct, so that its sites are threaded on.
    empty: bool,
    sites: u32,
    /// Whether a site lies in a loop that does not hold the construct.
    crossed: bool,
    /// The innermost loop that holds the construct.
    within: Option<Label>,
    inline: bool,
    vars: Vec<Var>,
}

/// All points of a function.
#[derive(Debug, Default)]
pub struct Points {
    points: Vec<Point>,
    /// By region and statement number; operators have none.
    behind: HashMap<(RegionId, usize), PointId>,
    /// By region: the point of the construct that holds it; `None` for the function's body.
    owner: Vec<Option<PointId>>,
    by_label: HashMap<Label, PointId>,
    /// By region: number of statements that can be reached, and whether the exit can.
    live: Vec<(usize, bool)>,
    /// The innermost loop around each loop.
    loop_within: HashMap<Label, Option<Label>>,
    loop_vars: HashMap<Label, Vec<Var>>,
    numbers: HashMap<Target, u32>,
}

impl Points {
    /// Finds the points and counts their sites, from code that can be reached only.
    pub fn find(function: &Function) -> Result<Points> {
        let mut points = Points {
            owner: vec![None; function.regions.len()],
            live: vec![(0, false); function.regions.len()],
            ..Points::default()
        };
        points.region(&function.regions, function.body, None)?;
        Ok(points)
    }

    fn region(&mut self, regions: &[Region], id: RegionId, within: Option<Label>) -> Result<()> {
        let region = &regions[id.index()];
        for (index, stmt) in region.stmts.iter().enumerate() {
            let label = match &stmt.kind {
                StmtKind::Op { .. } => continue,
                StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {
                    return Err(Error::Internal("a call came to the structurizer".into()));
                }
                StmtKind::Block { label, .. } | StmtKind::Loop { label, .. } => Some(*label),
                StmtKind::If { .. } | StmtKind::Switch { .. } => None,
            };
            let point = self.add((id, index), stmt.kind.results().to_vec(), index + 1 == region.stmts.len(), within);
            if let Some(label) = label {
                self.by_label.insert(label, point);
            }
            let mut inner = within;
            if let StmtKind::Loop { label, .. } = &stmt.kind {
                self.loop_within.insert(*label, within);
                inner = Some(*label);
            }
            for region in stmt.kind.distinct_regions() {
                self.owner[region.index()] = Some(point);
                self.region(regions, region, inner)?;
            }
            if self.sites(point) == 0 {
                self.live[id.index()] = (index + 1, false);
                return Ok(());
            }
        }
        self.live[id.index()] = (region.stmts.len(), true);
        let (target, _) = self.resolve(regions, id, &region.exit, region.exit_at)?;
        if let Target::Point(point) = target {
            let point = &mut self.points[point.0 as usize];
            point.sites += 1;
            point.crossed |= point.within != within;
        }
        Ok(())
    }

    fn add(&mut self, place: (RegionId, usize), results: Vec<Value>, empty: bool, within: Option<Label>) -> PointId {
        let id = PointId(self.points.len() as u32);
        self.points.push(Point {
            place,
            results,
            empty,
            sites: 0,
            crossed: false,
            within,
            inline: false,
            vars: Vec::new(),
        });
        self.behind.insert(place, id);
        id
    }

    /// Where an exit of a region arrives, threaded through points with nothing behind them, and with which values.
    pub fn resolve(&self, regions: &[Region], id: RegionId, exit: &Exit, at: Location) -> Result<(Target, Vec<Value>)> {
        let (mut id, mut exit, mut at) = (id, exit.clone(), at);
        loop {
            let (point, values) = match exit {
                Exit::Return(values) => return Ok((Target::End, values)),
                Exit::Trap(kind) => return Ok((Target::Trap(kind, at), Vec::new())),
                Exit::Continue(label, values) => return Ok((Target::Continue(label), values)),
                Exit::Yield(values) => match self.owner[id.index()] {
                    Some(point) => (point, values),
                    None => return Ok((Target::End, values)),
                },
                Exit::Break(label, values) => {
                    let point = self.by_label.get(&label);
                    (*point.ok_or_else(|| Error::Internal(format!("{label} is not open")))?, values)
                }
            };
            let behind = &self.points[point.0 as usize];
            if !behind.empty {
                return Ok((Target::Point(point), values));
            }
            id = behind.place.0;
            let outer = &regions[id.index()];
            at = outer.exit_at;
            exit = outer.exit.clone();
            for value in exit.values_mut() {
                if let Some(number) = behind.results.iter().position(|r| r == value) {
                    *value = values[number];
                }
            }
        }
    }

    fn get(&self, point: PointId) -> &Point {
        &self.points[point.0 as usize]
    }

    /// The point behind a statement; `None` for operators.
    pub fn behind(&self, region: RegionId, index: usize) -> Option<PointId> {
        self.behind.get(&(region, index)).copied()
    }

    /// Number of a region's statements that can be reached.
    pub fn live_statements(&self, region: RegionId) -> usize {
        self.live[region.index()].0
    }

    /// Whether a region's exit can be reached without being threaded from inside its last statement.
    pub fn exit_is_live(&self, region: RegionId) -> bool {
        self.live[region.index()].1
    }

    /// Number of branches that arrive at a point.
    pub fn sites(&self, point: PointId) -> u32 {
        self.get(point).sites
    }

    /// Whether the code behind a point can move to its one site: moving it into a loop would repeat it there.
    pub fn can_inline(&self, point: PointId) -> bool {
        let point = self.get(point);
        point.sites == 1 && !point.crossed
    }

    /// Decides for or against inlining.
    pub fn set_inline(&mut self, point: PointId, inline: bool) {
        self.points[point.0 as usize].inline = inline;
    }

    /// What was decided.
    pub fn is_inline(&self, point: PointId) -> bool {
        self.get(point).inline
    }

    /// The construct's region and number.
    pub fn place(&self, point: PointId) -> (RegionId, usize) {
        self.get(point).place
    }

    /// The construct's results.
    pub fn results(&self, point: PointId) -> &[Value] {
        &self.get(point).results
    }

    /// The variables in which the results meet.
    pub fn vars(&self, point: PointId) -> &[Var] {
        &self.get(point).vars
    }

    /// Sets the variables in which the results meet.
    pub fn set_vars(&mut self, point: PointId, vars: Vec<Var>) {
        self.points[point.0 as usize].vars = vars;
    }

    /// The variables of a loop's parameters.
    pub fn loop_vars(&self, label: Label) -> &[Var] {
        self.loop_vars.get(&label).map_or(&[], |vars| vars)
    }

    /// Sets the variables of a loop's parameters.
    pub fn set_loop_vars(&mut self, label: Label, vars: Vec<Var>) {
        self.loop_vars.insert(label, vars);
    }

    /// The innermost loop in which a target lies: for the next iteration of a loop, that loop itself.
    pub fn loop_of(&self, target: Target) -> Option<Label> {
        match target {
            Target::Point(point) => self.get(point).within,
            Target::Continue(label) => Some(label),
            Target::Nowhere | Target::End | Target::Trap(..) => None,
        }
    }

    /// The number of a target in the escape variable; 0 is [`Target::Nowhere`].
    pub fn escape_number(&mut self, target: Target) -> u32 {
        if target == Target::Nowhere {
            return 0;
        }
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(target).or_insert(next)
    }
}
