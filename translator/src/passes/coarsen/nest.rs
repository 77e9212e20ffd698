//! Branches out of a block become the two arms of one, so that only the arms are each invocation's own.
//!
//! Compilers write `v = condition ? a() : b()` as two blocks around all that comes before:
//!
//! ```text
//! block L { block M { before; if condition { yield } else { break M }; a; break L(v) }; b; yield(w) }
//! ```
//!
//! which becomes `block L { before; x = if condition { a; yield(v) } else { b; yield(w) }; yield(x) }`.

use crate::analysis::dataflow;
use crate::hash::{HashMap, HashMapExt};
use crate::ir::{Exit, Function, Label, Region, RegionId, Stmt, StmtKind, Value};

/// Rewrites what has that form.
pub(super) fn nest(function: &mut Function) {
    for id in dataflow::regions(function) {
        for number in 0..function.region(id).stmts.len() {
            if let StmtKind::Block { label, body, results } = &function.region(id).stmts[number].kind {
                let (label, body, results) = (*label, *body, results.clone());
                while nest_block(function, label, body, &results) {}
            }
        }
    }
}

/// A block's body that has the form.
struct Form {
    /// The number of the inner block in the outer one's body.
    inner: usize,
    body: RegionId,
    /// The number of the branch in the inner one's body, and whether it goes on where the condition holds.
    branch: usize,
    goes_on: bool,
    cond: Value,
}

fn find(function: &Function, label: Label, body: RegionId) -> Option<Form> {
    let outer = function.region(body);
    let is_block = |stmt: &Stmt| matches!(stmt.kind, StmtKind::Block { .. });
    let inner = outer.stmts.iter().position(is_block)?;
    let StmtKind::Block { label: inner_label, body: inner_body, results } = &outer.stmts[inner].kind else {
        return None;
    };
    let region = function.region(*inner_body);
    let leaves = matches!(&region.exit, Exit::Break(to, _) if *to == label);
    if !leaves || !results.is_empty() || !matches!(outer.exit, Exit::Yield(_)) {
        return None;
    }
    let mut branches = region.stmts.iter().enumerate().filter_map(|(number, stmt)| {
        let StmtKind::If { cond, then, otherwise, results } = &stmt.kind else { return None };
        let breaks = |id: RegionId| is_exit(function, id, |exit| *exit == Exit::Break(*inner_label, Vec::new()));
        let yields = |id: RegionId| is_exit(function, id, |exit| *exit == Exit::Yield(Vec::new()));
        let goes_on = yields(*then) && breaks(*otherwise);
        let form = Form { inner, body: *inner_body, branch: number, goes_on, cond: *cond };
        (results.is_empty() && (goes_on || breaks(*then) && yields(*otherwise))).then_some(form)
    });
    let form = branches.next()?;
    (breaks_to(function, *inner_label) == 1).then_some(form)
}

fn is_exit(function: &Function, id: RegionId, is: impl Fn(&Exit) -> bool) -> bool {
    let region = function.region(id);
    region.stmts.is_empty() && is(&region.exit)
}

fn breaks_to(function: &Function, label: Label) -> usize {
    let is_one = |id: &RegionId| matches!(&function.region(*id).exit, Exit::Break(to, _) if *to == label);
    let mut places: HashMap<RegionId, usize> = HashMap::new();
    for stmt in dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        for below in stmt.kind.each_region() {
            *places.entry(below).or_default() += 1;
        }
    }
    places.iter().filter(|(id, _)| is_one(id)).map(|(_, count)| count).sum()
}

fn nest_block(function: &mut Function, label: Label, body: RegionId, results: &[Value]) -> bool {
    let Some(Form { inner, body: inner_body, branch, goes_on, cond }) = find(function, label, body) else {
        return false;
    };
    let types: Vec<_> = results.iter().map(|result| function.ty(*result)).collect();
    let met: Vec<Value> = types.iter().map(|ty| function.new_value(*ty)).collect();
    let outer = function.region_mut(body);
    let behind = outer.stmts.split_off(inner + 1);
    outer.stmts.pop();
    let (exit_at, exit) = (outer.exit_at, std::mem::replace(&mut outer.exit, Exit::Yield(met.clone())));
    let source = function.region_mut(inner_body);
    let goes = source.stmts.split_off(branch + 1);
    let mut before = std::mem::take(&mut source.stmts);
    let (at, inner_at) = (before.pop().map(|stmt| stmt.at).unwrap_or_default(), source.exit_at);
    let values = source.exit.values().to_vec();
    let arm = |stmts, exit, exit_at| Region { params: Vec::new(), stmts, exit, exit_at };
    let goes = function.new_region(arm(goes, Exit::Yield(values), inner_at));
    let leaves = function.new_region(arm(behind, exit, exit_at));
    let (then, otherwise) = if goes_on { (goes, leaves) } else { (leaves, goes) };
    before.push(Stmt { kind: StmtKind::If { cond, then, otherwise, results: met }, at });
    function.region_mut(body).stmts.append(&mut before);
    true
}
