//! One file for each subcommand.

pub mod conformance;
pub mod devices;
pub mod inspect;
pub mod run;
pub mod translate;

use std::io::{ErrorKind, Write};
use std::path::Path;

use wavelift::translator;

/// Reads a `.wasm` or `.wat` file without compiling it.
fn parse_file(path: &Path) -> Result<translator::Module, wavelift::Error> {
    wavelift::Module::parse_file(path)
}

/// Prints lines to standard output. A reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("The output can't be written: {error}."))
        }
        _ => Ok(()),
    }
}

/// Prints lines to standard error, if anybody reads it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
