//! Keeps constants that checks in counted loops compare with from drivers.
//!
//! Mesa's compiler unrolls a loop that counts from a constant in constant steps to a constant. If a second exit counts, too, and
//! both would be taken in the same iteration, it may take the second one, though the first stands in front of it: of
//! `while (x != 64) { check(x <= 60); ...; x += 4; }` it makes a failed check (Mesa 25.0, `nir_opt_loop_unroll`). So the number
//! that such a check compares with is one that is known at run time only: it adds a zero that the host passes.

use crate::analysis::dataflow;
use crate::analysis::trip_counts::{Definitions, Looking, below};
use crate::error::TrapKind;
use crate::hash::{HashMap, HashMapExt, HashSet, HashSetExt};
use crate::ir::builder::ListBuilder;
use crate::ir::{Exit, Function, LowOp, RegionId, Stmt, StmtKind, Type, Value};
use crate::options::immediate;

/// Hides them in a lowered function.
pub fn hide_limits(function: &mut Function) {
    let definitions = Definitions::new(function);
    let counters = counters(function, &definitions);
    if counters.is_empty() {
        return;
    }
    let comparisons = comparisons(function, &definitions, &counters);
    if comparisons.is_empty() {
        return;
    }
    let mut list = ListBuilder::new(function.region(function.body).exit_at);
    let zero = list.low(function, LowOp::Immediate(immediate::ZERO), &[], Type::I32);
    let mut hidden: HashMap<i32, Value> = HashMap::new();
    for id in dataflow::regions(function) {
        for number in 0..function.region(id).stmts.len() {
            let StmtKind::Op { args, result: Some(result), .. } = &function.region(id).stmts[number].kind else {
                continue;
            };
            if !comparisons.contains(result) {
                continue;
            }
            let args = args.clone();
            for (place, arg) in args.iter().enumerate() {
                let Some(constant) = definitions.constant(*arg) else { continue };
                let value = *hidden.entry(constant).or_insert_with(|| {
                    let number = list.i32(function, constant as u32);
                    list.low(function, LowOp::IAdd, &[number, zero], Type::I32)
                });
                if let Some(arg) = function.region_mut(id).stmts[number].kind.args_mut().get_mut(place) {
                    *arg = value;
                }
            }
        }
    }
    let body = function.body;
    function.region_mut(body).stmts.splice(0..0, list.stmts);
}

/// The parameters of loops that start with a constant and move in constant steps.
fn counters(function: &Function, definitions: &Definitions) -> HashSet<Value> {
    let mut counters = HashSet::new();
    for stmt in dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        let StmtKind::Loop { label, inits, body, .. } = &stmt.kind else { continue };
        let below = below(function, *body);
        let looking = Looking { function, definitions, label: *label, body: *body, below: &below };
        for (number, (param, init)) in function.region(*body).params.iter().zip(inits).enumerate() {
            if definitions.constant(*init).is_some() && looking.step(number, *param).is_some() {
                counters.insert(*param);
            }
        }
    }
    counters
}

/// The comparisons of what is computed of a counter alone with a constant that decide whether an invocation traps.
fn comparisons(function: &Function, definitions: &Definitions, counters: &HashSet<Value>) -> HashSet<Value> {
    let (mut found, mut seen) = (HashSet::new(), HashSet::new());
    let mut known = counters.iter().map(|counter| (*counter, true)).collect();
    // Nobody unrolls a loop as long as its fuel lasts.
    let traps =
        |region: RegionId| matches!(function.region(region).exit, Exit::Trap(kind) if kind != TrapKind::OutOfFuel);
    let conditions = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let conditions = conditions.filter_map(|stmt: &Stmt| match &stmt.kind {
        StmtKind::If { cond, then, otherwise, .. } if traps(*then) || traps(*otherwise) => Some(*cond),
        _ => None,
    });
    let mut todo: Vec<Value> = conditions.collect();
    while let Some(value) = todo.pop() {
        let Some((op, args)) = definitions.operator(value).filter(|_| seen.insert(value)) else { continue };
        match (op, args) {
            (LowOp::BAnd | LowOp::BOr | LowOp::BNot, args) => todo.extend(args),
            (LowOp::Eq | LowOp::Ne | LowOp::ULt | LowOp::ULe | LowOp::SLt | LowOp::SLe, &[a, b]) => {
                let other = if definitions.constant(a).is_some() { b } else { a };
                let is_limited = definitions.constant(a).is_some() != definitions.constant(b).is_some();
                if is_limited && counts(definitions, other, &mut known) {
                    found.insert(value);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a value is computed of counters, and constants, alone.
fn counts(definitions: &Definitions, value: Value, known: &mut HashMap<Value, bool>) -> bool {
    use LowOp::{And, IAdd, IMul, ISub, Or, Shl, ShrS, ShrU, UMax, UMin, Xor};
    if let Some(known) = known.get(&value) {
        return *known;
    }
    let counted = match definitions.operator(value) {
        Some((IAdd | ISub | IMul | Shl | ShrU | ShrS | And | Or | Xor | UMin | UMax, args)) => {
            let mut others = args.iter().filter(|arg| definitions.constant(**arg).is_none()).peekable();
            others.peek().is_some() && others.all(|arg| counts(definitions, *arg, known))
        }
        _ => false,
    };
    known.insert(value, counted);
    counted
}
