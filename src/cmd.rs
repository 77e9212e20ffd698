//! One file for each subcommand.

pub mod devices;
pub mod inspect;
pub mod run;
pub mod translate;

use std::path::Path;

use wavelift::translator;

/// Reads a `.wasm` or `.wat` file without compiling it.
fn parse_file(path: &Path) -> Result<translator::Module, wavelift::Error> {
    wavelift::Module::parse_file(path)
}
