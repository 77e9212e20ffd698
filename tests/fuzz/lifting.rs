//! One module that nobody vouches for, given to the translator: what the tests of bytes and the fuzz target `translate` share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wavelift_translator::{Error, Module, Options, Shape, translate};

/// Kernels of one module.
pub const MOST_KERNELS: usize = 4;

/// What became of kernels.
#[derive(Debug, Default)]
pub struct Counts {
    pub invalid: u32,
    pub lifted: u32,
    pub refused: u32,
}

/// Lifts the first kernels of a module, and a function that is none. `what` says which module it is.
///
/// # Errors
/// A panic, or what the translator takes for a defect of its own, or a refusal that is no sentence.
pub fn try_module(bytes: &[u8], what: &str, counts: &mut Counts) -> Result<(), String> {
    let parsed = catch_unwind(|| Module::parse(bytes)).map_err(|_| format!("parsing panics: {what}"))?;
    let Ok(module) = parsed else {
        counts.invalid += 1;
        return Ok(());
    };
    let functions = module.function_count();
    let kernels = (0..functions).filter(|function| module.kernel_buffers(*function).is_some()).take(MOST_KERNELS);
    for function in kernels.chain([functions, functions.saturating_sub(1)]) {
        let lifted = catch_unwind(AssertUnwindSafe(|| lift(&module, function)));
        match lifted.map_err(|_| format!("lifting function {function} panics: {what}"))? {
            Ok(()) => counts.lifted += 1,
            Err(Error::Internal(message)) => return Err(format!("function {function} of {what}: {message}")),
            Err(error) => {
                counts.refused += 1;
                let text = error.sentence(&module);
                if !text.ends_with('.') {
                    return Err(format!("function {function} of {what}: {text}"));
                }
            }
        }
    }
    Ok(())
}

fn lift(module: &Module, function: u32) -> Result<(), Error> {
    // Debug information is of the same bytes.
    if let Some(body) = module.body(function) {
        module.source_line(body.range().start as u32);
    }
    let shape = Shape::distinct(module.kernel_buffers(function).unwrap_or(1));
    translate(module, function, &shape, &Options::default()).map(|_| ())
}
