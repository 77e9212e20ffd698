//! Several neighbouring invocations of a kernel at once, in the lanes of 128-bit vectors, as Wasm.
//!
//! The kernel as one simplified function becomes the body of a loop over *groups* of invocations with ascending ids. What
//! is the same for all of a group is computed once, as a number; so is what grows by a constant from each to the next
//! (`lanes/shapes.rs`). All else is in vectors, an element for each invocation. Where invocations part, those that are not there are
//! masked (`lanes/control.rs`). Compilers for GPUs and ispc work like this: Pharr and Mark, "ispc: A SPMD compiler for
//! high-performance CPU programming", 2012.
//!
//! A group can be *left to the form for one invocation* at any point before it stores something. So what holds for nearly
//! all groups is checked, and then taken to hold: that a comparison of ids comes out the same for all, that a group lies in
//! one row of an image.
//!
//! A trap in a group says only that one of its invocations traps. The host runs them again, one by one, which finds the place and
//! the first that does. That is right where what decides about traps does not depend on what the group stored before
//! (`lanes/again.rs`); other kernels are refused.

mod again;
mod atomics;
mod code;
mod control;
mod cost;
mod memory;
mod operators;
mod reloads;
mod rows;
mod shapes;
mod tallies;
mod vectors;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::analysis::roots::roots;
use crate::error::Location;
use crate::ir::{Function, Op, StmtKind, Type};
use crate::options::{Environment, Options, Shape};
use crate::simplified::{Simplified, simplified};
use crate::{Module, on_deep_stack};

pub use rows::{Coordinate, Length};
pub use tallies::{Sum, Tally};

use again::Needs;
use rows::Grids;
use tallies::Tallies;

/// What an iteration of the loop that ends at a place takes; `None` for a loop that the guest does not have.
pub type LoopCosts<'a> = &'a dyn Fn(Location) -> Option<i32>;

/// What the host's module has, into which the function goes.
pub struct Host<'a> {
    /// Index of the function that runs invocations one by one. Its parameters are the first id, the end, and the kernel's own
    /// but for the id.
    pub one_by_one: u32,
    /// The global that is to hold the first id of the group that runs.
    pub iteration: u32,
    /// The global that holds the size of memory in pages.
    pub pages: u32,
    /// The global that is not 0 while all tallies of the kernel are this thread's own: what is added to them need not be so
    /// atomically.
    pub own_tallies: u32,
    /// The global that holds the value of a global of the guest at the launch; `None` for one that is each worker's own.
    pub global: &'a dyn Fn(u32) -> Option<u32>,
    /// What an invocation starts with of fuel, and what an iteration of the loop that ends at a place takes, if that is limited.
    pub fuel: Option<(i32, LoopCosts<'a>)>,
}

/// A function that runs a kernel in groups.
#[derive(Debug)]
pub struct Lanes {
    /// It has the type of [`Host::one_by_one`].
    pub function: wasm_encoder::Function,
    /// Invocations of a group.
    pub lanes: u32,
    /// Where in its body a trap means that there may be too little fuel: a group that comes there is to be run again, too, but it may
    /// have enough.
    pub fuel: Vec<Range<u32>>,
    /// Pairs of buffers, by their place in the launch's list, that must not be the same.
    pub apart: Vec<(u32, u32)>,
}

/// What can be done with a kernel.
#[derive(Debug)]
pub struct Found {
    /// The function that runs it in groups, or a sentence that says why its invocations are to run one by one.
    pub lanes: Result<Lanes, String>,
    /// Buffers to which it does nothing but add, in the order of the launch's list, if these are distinct from each other and
    /// from all others.
    pub tallies: Vec<Tally>,
    /// What is known of it where neighbouring invocations better run long after each other.
    pub rows: Option<Rows>,
    /// Whether invocations may change the same words, other than tallies, atomically.
    pub contends: bool,
}

/// Of a kernel that goes through memory column by column somewhere, and row by row elsewhere.
#[derive(Debug)]
pub struct Rows {
    /// Invocations of a row.
    pub length: Length,
    /// The byte offset in the module of the operator by which the kernel loads that, if no invocation stores to the buffer: with the
    /// buffer's address it gives the word that was there before the launch.
    pub load: Option<u32>,
    /// Where the kernel computes rows and columns.
    pub coordinates: Vec<Coordinate>,
    /// Whether its invocations are to run one by one there, as without these computations they are faster than groups.
    pub one_by_one: bool,
    /// Pairs of buffers, by their place in the launch's list, that must not be the same: else invocations that ran already might not
    /// come to the same trap if they ran again.
    pub apart: Vec<(u32, u32)>,
}

/// Most statements of a kernel in groups: compiling takes a multiple of what the form for one invocation takes.
const MOST_STATEMENTS: usize = 6000;
/// Most locals, and bytes, of the function: engines have limits.
const MOST_LOCALS: usize = 20_000;
const MOST_BYTES: usize = 1 << 20;

/// Writes the kernel `function` for groups of so many invocations, a multiple of 4, whether or not that is faster; `None`: of as
/// many as is best. `environment` is the calling instance's state.
pub fn lanes(module: &Module, function: u32, environment: &Environment, host: &Host<'_>, width: Option<u32>) -> Found {
    let refused = |reason: String| Found { lanes: Err(reason), tallies: Vec::new(), rows: None, contends: false };
    let Some(buffers) = module.kernel_buffers(function) else { return refused("The function is no kernel.".into()) };
    let shape = Shape { environment: environment.clone(), ..Shape::distinct(buffers) };
    let options = Options { max_operators: 20 * MOST_STATEMENTS as u32, ..Options::default() };
    match on_deep_stack(&options, || simplified(module, function, &shape, &options)) {
        Ok(Simplified { mut kernel, frames, .. }) => {
            let stack_pointer = frames.stack_pointer;
            let apart = reloads::drop(&mut kernel, &shape, stack_pointer);
            let tallies = tallies::tallies(&kernel, &roots(&kernel, &shape, stack_pointer), shape.slots());
            let needs = again::needs(&kernel, &shape, stack_pointer);
            let rows = rows::rows(&kernel).and_then(|grids| in_squares(grids, &needs));
            let known = Known { needs, tallies, apart, is_in_squares: rows.is_some(), stack_pointer };
            let lanes = write(module, &kernel, &known, host, width);
            let contends = tallies::contends(&kernel, &known.tallies);
            let rows = rows.map(|rows| match &lanes {
                Ok(Lanes { lanes, .. }) => {
                    let one_by_one =
                        cost::is_slower_than_squares(module, &kernel, &known.tallies, *lanes, &rows.coordinates);
                    Rows { one_by_one, ..rows }
                }
                Err(_) => rows,
            });
            Found { lanes, tallies: known.tallies.list, rows, contends }
        }
        Err(error) => refused(error.to_string()),
    }
}

/// What is known of a kernel with such grids, if its invocations may run in any order.
fn in_squares(grids: Grids, needs: &Needs) -> Option<Rows> {
    let Grids { length, mut load, coordinates } = grids;
    let mut apart = needs.repeatable()?;
    if let Length::Word(buffer, _) = length {
        match needs.unchanged(buffer) {
            Some(pairs) => apart.extend(pairs),
            None => load = None,
        }
    }
    Some(Rows { length, load, coordinates, one_by_one: true, apart })
}

/// What is known of a kernel.
struct Known {
    needs: Needs,
    tallies: Tallies,
    /// Pairs of buffers that were taken to be distinct.
    apart: BTreeSet<(u32, u32)>,
    is_in_squares: bool,
    stack_pointer: Option<u32>,
}

fn write(
    module: &Module,
    kernel: &Function,
    known: &Known,
    host: &Host<'_>,
    width: Option<u32>,
) -> Result<Lanes, String> {
    let Known { needs, tallies, .. } = known;
    if kernel.stmt_count() > MOST_STATEMENTS {
        return Err(format!("It has more than {MOST_STATEMENTS} operators."));
    }
    check(kernel, known.stack_pointer, host)?;
    let width = match width {
        Some(width) => width,
        None => cost::width(module, kernel, tallies, known.is_in_squares)?,
    };
    let shapes = shapes::shapes(kernel, width);
    let mut apart = needs.apart(kernel, &shapes, host.fuel.is_some())?;
    apart.extend(&known.apart);
    let code = control::write(kernel, &shapes, tallies, width, host)?;
    if code.local_count() > MOST_LOCALS || code.len() > MOST_BYTES {
        return Err("Its code would be too long.".into());
    }
    let (function, fuel) = code.finish();
    Ok(Lanes { function, lanes: width, fuel, apart })
}

/// To offsets of accesses those of invocations are added.
const LARGEST_OFFSET: u32 = 1 << 31;

/// Refuses what can't be in groups.
fn check(kernel: &Function, stack_pointer: Option<u32>, host: &Host<'_>) -> Result<(), String> {
    for id in crate::analysis::dataflow::regions(kernel) {
        for stmt in &kernel.region(id).stmts {
            let StmtKind::Op { op, result, .. } = &stmt.kind else { continue };
            if result.is_some_and(|result| matches!(kernel.ty(result), Type::V128 | Type::Bool)) {
                return Err("It has vectors of its own.".into());
            }
            if op.memory_access().is_some_and(|access| access.offset > LARGEST_OFFSET) {
                return Err("It adds a large offset to an address.".into());
            }
            match op {
                Op::Const(_)
                | Op::Wasm(_)
                | Op::Select
                | Op::Load(_)
                | Op::Store(_)
                | Op::Atomic(..)
                | Op::MemorySize => {}
                Op::GlobalGet(global) if stack_pointer != Some(*global) && (host.global)(*global).is_some() => {}
                Op::GlobalGet(_) => return Err("It keeps something on the stack.".into()),
                Op::Fence => return Err("It orders accesses of memory.".into()),
                Op::LoadData | Op::LoadDataPair | Op::MemoryInit(_) | Op::DataDrop(_) => {
                    return Err("It reads data segments.".into());
                }
                other => return Err(format!("It has the operator {other:?}.")),
            }
        }
    }
    Ok(())
}
