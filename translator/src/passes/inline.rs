//! Replaces every call by the callee's body, so that the kernel is one function.

use std::collections::HashMap;

use crate::call_graph::Slice;
use crate::error::{Error, Location, Result};
use crate::ir::{Exit, Function, Label, Region, RegionId, Stmt, StmtKind, Value};

/// Deepest nesting of the inlined kernel; the backend's and SPIR-V's own limit is 1,023.
const MAX_NESTING: usize = 900;

/// Copies the kernel with all calls inlined.
///
/// # Errors
/// [`Error::Unsupported`] when the result has more than `max_operators` statements or nests too deep.
pub fn inline(slice: &Slice, kernel: u32, max_operators: u32) -> Result<Function> {
    let source = get(slice, kernel)?;
    let mut out = Function {
        values: Vec::new(),
        regions: Vec::new(),
        params: Vec::new(),
        vars: Vec::new(),
        labels: 0,
        ..source.clone()
    };
    for param in &source.params {
        let value = out.new_value(source.ty(*param));
        out.params.push(value);
    }
    let mut inliner = Inliner { slice, out, budget: max_operators as usize, limit: max_operators, depth: 0 };
    let params = inliner.out.params.clone();
    let mut copy = Copy::new(source, &params, None);
    inliner.out.body = inliner.region(&mut copy, source.body)?;
    Ok(inliner.out)
}

fn get(slice: &Slice, function: u32) -> Result<&Function> {
    slice.functions.get(&function).ok_or_else(|| Error::Internal(format!("function {function} was not lifted")))
}

struct Inliner<'s> {
    slice: &'s Slice,
    out: Function,
    budget: usize,
    limit: u32,
    depth: usize,
}

/// One copy of one function.
struct Copy<'s> {
    source: &'s Function,
    values: Vec<Option<Value>>,
    labels: HashMap<Label, Label>,
    /// Where a `return` of an inlined callee goes; `None` for the kernel itself.
    returns_to: Option<Label>,
}

impl<'s> Copy<'s> {
    fn new(source: &'s Function, args: &[Value], returns_to: Option<Label>) -> Self {
        let mut values = vec![None; source.values.len()];
        for (param, arg) in source.params.iter().zip(args) {
            values[param.index()] = Some(*arg);
        }
        Copy { source, values, labels: HashMap::new(), returns_to }
    }

    fn value(&self, value: Value) -> Result<Value> {
        self.values[value.index()].ok_or_else(|| Error::Internal(format!("{value} is used before it is defined")))
    }

    fn all(&self, values: &[Value]) -> Result<Vec<Value>> {
        values.iter().map(|v| self.value(*v)).collect()
    }

    fn label(&self, label: Label) -> Result<Label> {
        self.labels.get(&label).copied().ok_or_else(|| Error::Internal(format!("{label} is not open")))
    }
}

impl Inliner<'_> {
    fn define(&mut self, copy: &mut Copy<'_>, values: &[Value]) -> Vec<Value> {
        let define = |v: &Value| {
            let new = self.out.new_value(copy.source.ty(*v));
            copy.values[v.index()] = Some(new);
            new
        };
        values.iter().map(define).collect()
    }

    fn open_label(&mut self, copy: &mut Copy<'_>, label: Label) -> Label {
        let new = self.out.new_label();
        copy.labels.insert(label, new);
        new
    }

    fn region(&mut self, copy: &mut Copy<'_>, id: RegionId) -> Result<RegionId> {
        let source = copy.source.region(id);
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(Error::Unsupported {
                what: format!("more than {MAX_NESTING} levels of nesting after inlining"),
                function_name: copy.source.name.clone(),
                at: Some(source.exit_at),
            });
        }
        let params = self.define(copy, &source.params);
        let stmts = self.stmts(copy, &source.stmts)?;
        let exit = match &source.exit {
            Exit::Yield(values) => Exit::Yield(copy.all(values)?),
            Exit::Break(label, values) => Exit::Break(copy.label(*label)?, copy.all(values)?),
            Exit::Continue(label, values) => Exit::Continue(copy.label(*label)?, copy.all(values)?),
            Exit::Return(values) => match copy.returns_to {
                Some(label) => Exit::Break(label, copy.all(values)?),
                None => Exit::Return(copy.all(values)?),
            },
            Exit::Trap(kind) => Exit::Trap(*kind),
        };
        self.depth -= 1;
        Ok(self.out.new_region(Region { params, stmts, exit, exit_at: source.exit_at }))
    }

    fn stmts(&mut self, copy: &mut Copy<'_>, source: &[Stmt]) -> Result<Vec<Stmt>> {
        let mut stmts = Vec::with_capacity(source.len());
        for stmt in source {
            self.pay(copy.source, stmt.at)?;
            let at = stmt.at;
            let kind = match &stmt.kind {
                StmtKind::Call { callee, args, results } => {
                    let args = copy.all(args)?;
                    let values = self.call(*callee, &args, at, &mut stmts)?;
                    for (result, value) in results.iter().zip(values) {
                        copy.values[result.index()] = Some(value);
                    }
                    continue;
                }
                StmtKind::Op { op, args, result } => {
                    let args = copy.all(args)?;
                    StmtKind::Op { op: *op, args, result: self.define(copy, result.as_slice()).pop() }
                }
                StmtKind::Block { label, body, results } => {
                    let label = self.open_label(copy, *label);
                    let body = self.region(copy, *body)?;
                    StmtKind::Block { label, body, results: self.define(copy, results) }
                }
                StmtKind::Loop { label, inits, body, results } => {
                    let inits = copy.all(inits)?;
                    let label = self.open_label(copy, *label);
                    let body = self.region(copy, *body)?;
                    StmtKind::Loop { label, inits, body, results: self.define(copy, results) }
                }
                StmtKind::If { cond, then, otherwise, results } => {
                    let cond = copy.value(*cond)?;
                    let then = self.region(copy, *then)?;
                    let otherwise = self.region(copy, *otherwise)?;
                    StmtKind::If { cond, then, otherwise, results: self.define(copy, results) }
                }
                StmtKind::Switch { index, cases, default, results } => {
                    self.switch(copy, *index, cases, *default, results)?
                }
            };
            stmts.push(Stmt { kind, at });
        }
        Ok(stmts)
    }

    /// Cases may share a region; the copy shares it too.
    fn switch(
        &mut self,
        copy: &mut Copy<'_>,
        index: Value,
        cases: &[RegionId],
        default: RegionId,
        results: &[Value],
    ) -> Result<StmtKind> {
        let index = copy.value(index)?;
        let mut copied: HashMap<RegionId, RegionId> = HashMap::new();
        let mut new = Vec::with_capacity(cases.len() + 1);
        for region in cases.iter().chain([&default]) {
            let region = match copied.get(region) {
                Some(known) => *known,
                None => {
                    let made = self.region(copy, *region)?;
                    copied.insert(*region, made);
                    made
                }
            };
            new.push(region);
        }
        let default = new.pop().ok_or_else(|| Error::Internal("a switch has no default".into()))?;
        Ok(StmtKind::Switch { index, cases: new, default, results: self.define(copy, results) })
    }

    /// Inlines one call: flat where the callee only falls off its end, else as a block that its returns leave.
    fn call(&mut self, callee: u32, args: &[Value], at: Location, stmts: &mut Vec<Stmt>) -> Result<Vec<Value>> {
        let source = get(self.slice, callee)?;
        let body = source.region(source.body);
        let returns = source.regions.iter().any(|r| matches!(r.exit, Exit::Return(_)));
        if let (false, Exit::Yield(values)) = (returns, &body.exit) {
            let mut copy = Copy::new(source, args, None);
            stmts.extend(self.stmts(&mut copy, &body.stmts)?);
            return copy.all(values);
        }
        let label = self.out.new_label();
        let mut copy = Copy::new(source, args, Some(label));
        let body = self.region(&mut copy, source.body)?;
        let results: Vec<Value> = source.results.iter().map(|ty| self.out.new_value(*ty)).collect();
        stmts.push(Stmt { kind: StmtKind::Block { label, body, results: results.clone() }, at });
        Ok(results)
    }

    fn pay(&mut self, source: &Function, at: Location) -> Result<()> {
        self.budget = self.budget.checked_sub(1).ok_or_else(|| Error::Unsupported {
            what: format!("more than {} operators after inlining", self.limit),
            function_name: source.name.clone(),
            at: Some(at),
        })?;
        Ok(())
    }
}
