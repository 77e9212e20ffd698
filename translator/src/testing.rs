//! The pipeline's stages one by one, for the tests that compare them.

use std::collections::HashMap;

use crate::call_graph::Slice;
use crate::ir::Function;
use crate::targets::Targets;
use crate::{Module, Options, Result, Shape, passes};

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
        let mut slice = Slice::new(module, &shape.environment, false);
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
    let mut slice = Slice::new(module, &shape.environment, false);
    let inlined = passes::inline::inline(&mut slice, kernel, &Targets::default(), options.max_operators)?;
    let crate::Simplified { kernel: simplified, frames, .. } = crate::simplified(module, kernel, &shape, &options)?;
    let lowered = passes::lower::lower(&simplified, module, &shape, &options, frames)?;
    let strict = crate::strict_function(module, kernel, &shape, &options)?;
    Ok(Stages { lifted: slice.into_functions(), inlined, simplified, lowered, strict })
}

/// The kernel as one simplified function of Wasm's operators: also for kernels that can't be lowered.
///
/// # Errors
/// Those of [`translate`](crate::translate) up to there.
pub fn simplified(module: &Module, kernel: u32, shape: &Shape) -> Result<Function> {
    Ok(crate::simplified(module, kernel, shape, &Options::default())?.kernel)
}

/// The kernel as the backend takes it.
///
/// # Errors
/// Those of [`translate`](crate::translate).
pub fn strict(module: &Module, kernel: u32, shape: &Shape, options: &Options) -> Result<Function> {
    crate::on_deep_stack(options, || crate::strict_function(module, kernel, shape, options))
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
