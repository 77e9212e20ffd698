//! How many invocations a group has, and whether groups are faster at all.

use std::collections::BTreeMap;

use super::operators::is_one_by_one;
use super::rows::Coordinate;
use super::shapes::{Shape, Shapes, Target, shapes};
use super::tallies::Tallies;
use crate::Module;
use crate::analysis::dataflow::regions;
use crate::error::Location;
use crate::ir::{Exit, Function, Op, RegionId, Stmt, StmtKind, Value, WasmOp};

/// Most that code may take which runs whether or not an invocation takes it, rather than asking.
const MOST_FOR_NONE: u32 = 12;

/// Whether a way of a branch may run for no invocation, and costs less than a branch around it.
pub fn runs_for_none(function: &Function, region: RegionId) -> bool {
    let is_cheap = match &function.region(region).exit {
        Exit::Yield(_) => true,
        Exit::Continue(..) | Exit::Return(_) => function.region(region).stmts.is_empty(),
        Exit::Break(..) | Exit::Trap(_) => false,
    };
    is_cheap && cost_for_none(function, region).is_some_and(|cost| cost <= MOST_FOR_NONE)
}

/// What such code takes; `None` where it may not run for none.
fn cost_for_none(function: &Function, region: RegionId) -> Option<u32> {
    let mut sum = 0;
    for stmt in &function.region(region).stmts {
        sum +=
            match &stmt.kind {
                StmtKind::Op { op: Op::Wasm(op), args, .. } if !op.can_trap() => {
                    if is_one_by_one(*op, args.len() == 2) { 16 } else { time(*op) }
                }
                StmtKind::Op { op: Op::Const(_), .. } => 0,
                StmtKind::Op { op: Op::Select, .. } => 2,
                StmtKind::If { then, otherwise, .. } => {
                    let yields = |region: RegionId| matches!(function.region(region).exit, Exit::Yield(_));
                    if !yields(*then) || !yields(*otherwise) {
                        return None;
                    }
                    2 + cost_for_none(function, *then)? + cost_for_none(function, *otherwise)?
                }
                _ => return None,
            };
    }
    Some(sum)
}

/// About how long an operator takes, for one number or for a vector of them.
fn time(op: WasmOp) -> u32 {
    use WasmOp as W;
    match op {
        W::I32DivS | W::I32DivU | W::I32RemS | W::I32RemU => 10,
        W::I64DivS | W::I64DivU | W::I64RemS | W::I64RemU => 14,
        W::F32Div | W::F64Div | W::F32Sqrt | W::F64Sqrt => 8,
        W::F32Min | W::F32Max | W::F64Min | W::F64Max => 4,
        W::I32TruncF32S | W::I32TruncF32U | W::I32TruncF64S | W::I32TruncF64U => 6,
        W::I32TruncSatF32S | W::I32TruncSatF32U | W::I32TruncSatF64S | W::I32TruncSatF64U => 6,
        W::I64Mul => 3,
        _ => 1,
    }
}

/// How often the round of a loop is taken to run.
const ROUNDS: f64 = 8.0;

/// Invocations of a group: several vectors for each value hide how long the machine takes for one.
const MOST: u32 = 16;
/// The same where so many would need too many registers, or touch too many lines of memory at once.
const FEWER: u32 = 8;

/// Largest stride of an access in bytes of which a group of many touches few lines.
const NEAR: u32 = 16;

/// Whether no value has 64-bit lanes, and all accesses of a group are near each other.
fn suits_most(function: &Function, shapes: &Shapes) -> bool {
    regions(function).into_iter().flat_map(|id| &function.region(id).stmts).all(|stmt| match &stmt.kind {
        StmtKind::Op { op, args, result } => {
            let wide = |value: &Value| shapes.of(*value).is_vector() && function.ty(*value).bits() == 64;
            let near = match (op.memory_access().is_some(), args.first().map(|address| shapes.of(*address))) {
                (true, Some(Shape::Affine { stride, .. })) => stride <= NEAR,
                (true, Some(address)) => address.is_uniform(),
                _ => true,
            };
            near && !result.iter().chain(args).any(wide)
        }
        _ => true,
    })
}

/// How many invocations a group has. `is_in_squares`: groups of a few rows follow on each other, where memory is accessed by
/// columns.
///
/// # Errors
/// A sentence that says why groups would not be faster.
pub fn width(module: &Module, function: &Function, tallies: &Tallies, is_in_squares: bool) -> Result<u32, String> {
    let shapes_of_most = shapes(function, MOST);
    let lanes = if suits_most(function, &shapes_of_most) && !is_in_squares { MOST } else { FEWER };
    let (vectors, shapes) = (vectors(module, function), shapes(function, lanes));
    let time = Estimate::of(function, &vectors, &shapes, tallies, lanes, is_in_squares).time();
    if time > 0.9 {
        return Err(format!(
            "In groups of {lanes} invocations it would take {:.0}% of the time that it takes one by one.",
            time * 100.0
        ));
    }
    Ok(lanes)
}

/// Whether a group of so many invocations takes longer than these do one by one in squares, where coordinates take no time.
pub fn is_slower_than_squares(
    module: &Module,
    function: &Function,
    tallies: &Tallies,
    lanes: u32,
    coordinates: &[Coordinate],
) -> bool {
    let (vectors, shapes) = (vectors(module, function), shapes(function, lanes));
    let estimate = Estimate::of(function, &vectors, &shapes, tallies, lanes, true);
    let free = coordinates.iter().map(|coordinate| f64::from(time(coordinate.op))).sum::<f64>();
    // Operators are not all that an invocation takes: a transposition for which that came to 0.6 took 0.85 of the time of groups.
    estimate.group > 0.55 * (estimate.single - free) * estimate.lanes
}

/// The first byte of each vector operator of Wasm.
const VECTOR_PREFIX: u8 = 0xfd;

/// How many operators each vector operator of the guest became, by its place.
fn vectors(module: &Module, function: &Function) -> BTreeMap<Location, u32> {
    let mut counts = BTreeMap::new();
    for stmt in regions(function).into_iter().flat_map(|id| &function.region(id).stmts) {
        if module.bytes().get(stmt.at.offset as usize) == Some(&VECTOR_PREFIX)
            && !matches!(stmt.kind, StmtKind::Op { op: Op::Const(_), .. })
        {
            *counts.entry(stmt.at).or_default() += 1;
        }
    }
    counts
}

struct Estimate<'a> {
    function: &'a Function,
    vectors: &'a BTreeMap<Location, u32>,
    shapes: &'a Shapes,
    tallies: &'a Tallies,
    is_in_squares: bool,
    lanes: f64,
    /// What one invocation takes after the other, and what a group does.
    single: f64,
    group: f64,
}

impl<'a> Estimate<'a> {
    fn of(
        function: &'a Function,
        vectors: &'a BTreeMap<Location, u32>,
        shapes: &'a Shapes,
        tallies: &'a Tallies,
        lanes: u32,
        is_in_squares: bool,
    ) -> Estimate<'a> {
        let mut estimate = Estimate {
            function,
            vectors,
            shapes,
            tallies,
            is_in_squares,
            lanes: lanes.into(),
            single: 2.0,
            group: 6.0,
        };
        estimate.region(function.body, 1.0, shapes.is_divergent(Target::End));
        estimate
    }

    /// The time of a group, divided by that of its invocations one by one.
    fn time(&self) -> f64 {
        self.group / (self.single * self.lanes)
    }

    fn region(&mut self, region: RegionId, often: f64, masked: bool) {
        for stmt in &self.function.region(region).stmts {
            self.stmt(stmt, often, masked);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, often: f64, masked: bool) {
        match &stmt.kind {
            StmtKind::Op { op, args, result } => {
                let (single, group) = self.operator(op, args, *result, masked);
                // One by one a vector operator is one still.
                let parts = self.vectors.get(&stmt.at).copied().unwrap_or(1);
                self.single += often * single / f64::from(parts);
                self.group += often * group;
            }
            StmtKind::Block { label, body, .. } => {
                let divergent = self.shapes.is_divergent(Target::Label(*label));
                self.region(*body, often, masked || divergent);
            }
            StmtKind::Loop { label, body, .. } => {
                let divergent = self.shapes.is_divergent(Target::Label(*label));
                self.single += often * ROUNDS * 2.0;
                self.group += often * ROUNDS * if divergent { 4.0 + self.lanes / 2.0 } else { 2.0 };
                self.region(*body, often * ROUNDS, masked || divergent);
            }
            StmtKind::If { cond, then, otherwise, .. } => {
                let parts = self.shapes.parts(*cond, *then);
                let before = self.single;
                self.single += often;
                self.group += often * if parts { self.lanes } else { 1.0 };
                self.region(*then, often, masked || parts);
                self.region(*otherwise, often, masked || parts);
                if parts {
                    // One by one they take one way, not both.
                    self.single -= (self.single - before) * 0.25;
                }
            }
            StmtKind::Switch { cases, default, .. } => {
                self.single += 2.0 * often;
                self.group += 2.0 * often;
                cases.iter().chain([default]).for_each(|way| self.region(*way, often, masked));
            }
            StmtKind::Call { .. } | StmtKind::CallIndirect { .. } => {}
        }
    }

    /// What an operator takes for one invocation, and for a group.
    fn operator(&mut self, op: &Op, args: &[Value], result: Option<Value>, masked: bool) -> (f64, f64) {
        let vector = result.is_some_and(|result| self.shapes.of(result).is_vector());
        let wide = result.is_some_and(|result| self.function.ty(result).bits() == 64)
            || args.iter().any(|arg| self.function.ty(*arg).bits() == 64);
        let vectors = self.lanes / if wide { 2.0 } else { 4.0 };
        match op {
            Op::Const(_) | Op::GlobalGet(_) | Op::MemorySize => (0.0, 0.0),
            Op::Wasm(op) => {
                let single = f64::from(time(*op));
                if !vector {
                    return (single, single);
                }
                let uniform_amount = args.get(1).is_some_and(|amount| self.shapes.of(*amount).is_uniform());
                match is_one_by_one(*op, uniform_amount) {
                    true => (single, self.lanes * (single + 3.0)),
                    false => (single, vectors * single * if wide && single > 6.0 { 1.2 } else { 1.0 }),
                }
            }
            Op::Select => (1.0, if vector { 2.0 * vectors } else { 1.0 }),
            Op::Load(access) => match self.shapes.of(args[0]) {
                address if address.is_uniform() => (1.0, 1.0 + if masked { 0.5 } else { 0.0 }),
                Shape::Affine { stride, .. } if stride == access.bytes => {
                    (1.0, vectors * if masked { 2.5 } else { 1.0 })
                }
                Shape::Affine { stride: 8, .. } if access.bytes == 4 && !wide => {
                    (1.0, vectors * if masked { 4.0 } else { 3.0 })
                }
                Shape::Affine { stride, .. } if stride <= NEAR => (1.0, self.lanes * if masked { 2.0 } else { 1.2 }),
                _ => (1.0, self.lanes * if masked { 4.5 } else { 3.5 }),
            },
            Op::Store(access) => match self.shapes.of(args[0]) {
                Shape::Affine { stride, .. } if stride == access.bytes => {
                    (1.0, vectors * if masked { 2.5 } else { 1.0 })
                }
                Shape::Affine { .. } => (1.0, self.lanes * if masked { 2.0 } else { 1.2 }),
                // The first cache has the lines of a square.
                _ if self.is_in_squares => (1.0, self.lanes * 3.5),
                // The lines of memory that it takes are taken from others.
                _ => (1.0, self.lanes * 16.0),
            },
            // What is added to a thread's own memory is not added atomically.
            Op::Atomic(..) if self.tallies.addresses.contains(&args[0]) => (6.0, self.lanes * 3.5),
            // An atomic access takes as long as it did, and its operands are taken apart.
            _ => (6.0, self.lanes * 6.5),
        }
    }
}
