//! The pipeline's stages one by one, for the tests that compare them, and a kernel without its checks, for the benchmark that
//! measures what they cost; what tests take for near.

use std::collections::HashMap;

use crate::analysis::dataflow;
use crate::call_graph::Slice;
use crate::ir::{Exit, Function, StmtKind, Value};
use crate::targets::Targets;
use crate::{Module, Options, Result, Shader, Shape, TrapKind, passes};

/// What the pipeline makes of a kernel on its way.
#[derive(Debug)]
pub struct Stages {
    /// As the front end leaves them: the kernel and what it calls, by index.
    pub lifted: HashMap<u32, Function>,
    /// One function.
    pub inlined: Function,
    /// Without dead code.
    pub simplified: Function,
    /// Operators of the machine only.
    pub lowered: Function,
    /// As the backend takes it.
    pub strict: Function,
}

/// The kernel and what it calls as the front end leaves them, by index: also for kernels that later passes refuse. Of
/// the shape, the tables matter.
///
/// # Errors
/// Those of the front end, and recursion.
pub fn lifted(module: &Module, kernel: u32, shape: &Shape) -> Result<HashMap<u32, Function>> {
    crate::on_deep_stack(&Options::default(), || {
        let mut slice = Slice::new(module, &shape.environment, crate::frontend::Known::default());
        passes::inline::inline(&mut slice, kernel, &Targets::default(), Options::default().max_operators)?;
        Ok(slice.into_functions())
    })
}

/// Runs the pipeline up to the backend, for distinct read_write buffers, a new instance's tables and default options.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn stages(module: &Module, kernel: u32) -> Result<Stages> {
    let options = Options::default();
    let shape = Shape::initial(module, kernel);
    let mut slice = Slice::new(module, &shape.environment, crate::frontend::Known::default());
    let inlined = passes::inline::inline(&mut slice, kernel, &Targets::default(), options.max_operators)?;
    let crate::simplified::Simplified { kernel: simplified, frames, .. } =
        crate::simplified::simplified(module, kernel, &shape, &options)?;
    let lowered = passes::lower::lower(&simplified, module, &shape, &options, frames)?;
    let strict = crate::strict(module, kernel, &shape, &options)?.function;
    Ok(Stages { lifted: slice.into_functions(), inlined, simplified, lowered, strict })
}

/// The kernel as one simplified function of Wasm's operators: also for kernels that can't be lowered.
///
/// # Errors
/// Those of [`translate`](crate::translate) up to there.
pub fn simplified(module: &Module, kernel: u32, shape: &Shape) -> Result<Function> {
    simplified_as(module, kernel, shape, &Options::default())
}

/// The same, lifted as these options say.
///
/// # Errors
/// Those of [`translate`](crate::translate) up to there.
pub fn simplified_as(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<Function> {
    Ok(crate::simplified::simplified(module, kernel, shape, options)?.kernel)
}

/// The kernel as the backend takes it.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn strict(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<Function> {
    crate::on_deep_stack(options, || Ok(crate::strict(module, kernel, shape, options)?.function))
}

/// What does four invocations of the kernel at once, as the backend takes it, whether or not that is worth having; `None` where
/// the kernel can't be coarsened.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn coarse(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<Option<Function>> {
    let options = Options { coarsen: true, ..*options };
    crate::on_deep_stack(&options, || Ok(crate::strict(module, kernel, shape, &options)?.coarse))
}

/// The work of lifting a kernel, as [`Options::max_work`] limits it.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn work(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<u64> {
    crate::on_deep_stack(options, || {
        crate::translate_here(module, kernel, shape, options)?;
        Ok(crate::work::done())
    })
}

/// The kernel without the checks that keep it within its buffers: **what it does outside of them is anybody's guess**. For
/// measuring what the checks cost, on kernels that stay within; nothing that runs guests calls this.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn translate_unchecked(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<Shader> {
    crate::on_deep_stack(options, || {
        let (simplified, shape) = crate::simplified::simplified_knowing(module, kernel, shape, options)?;
        let strict = crate::strict::strict_form_changed(module, simplified, &shape, options, drop_checks)?;
        crate::emit(strict, &shape, options)
    })
}

/// Takes the conditions for false under which lowered code traps for an access out of bounds.
fn drop_checks(function: &mut Function) {
    let traps = |id| {
        let region = function.region(id);
        region.stmts.is_empty() && matches!(region.exit, Exit::Trap(TrapKind::OutOfBounds))
    };
    let stmts = dataflow::regions(function).into_iter().flat_map(|id| &function.region(id).stmts);
    let failed: Vec<Value> = stmts
        .filter_map(|stmt| match stmt.kind {
            StmtKind::If { cond, then, .. } if traps(then) => Some(cond),
            _ => None,
        })
        .collect();
    passes::simplify::simplify_knowing(function, &failed);
}

/// Whether relaxed floats may give `result` for musl's `expf` or `logf` of `x`, where `exact` is right: it is one unit in the last
/// place off at most, or zero where less than 2^-125 is right; or `x` is subnormal and counts as zero.
pub fn is_near(x: f32, result: f32, exact: f32) -> bool {
    let is_next = [exact, exact.next_up(), exact.next_down()].contains(&result);
    let is_flushed = result == 0.0 && (0.0..2.0 * f32::MIN_POSITIVE).contains(&exact);
    let is_logarithm_of_zero = x.is_subnormal() && result == f32::NEG_INFINITY;
    is_next || is_flushed || is_logarithm_of_zero || result.is_nan() && exact.is_nan()
}
