//! The committed results: one row for each file and engine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use crate::cases::FileCases;
use crate::engine::Tally;

const HEADER: &str = "file,engine,expected,run,passed,skipped,reasons";

/// What an engine made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub expected: usize,
    pub run: usize,
    pub passed: usize,
    /// Assertions not run, by reason.
    pub reasons: BTreeMap<String, usize>,
}

/// Rows by file and engine.
pub type Rows = BTreeMap<(String, String), Row>;

impl Row {
    pub fn of(file: &FileCases, tally: &Tally) -> Row {
        Row { expected: file.expected, run: tally.run, passed: tally.passed, reasons: tally.skipped.clone() }
    }

    pub fn skipped(&self) -> usize {
        self.reasons.values().sum()
    }

    /// What is wrong with the row by itself.
    pub fn check(&self) -> Result<(), String> {
        let Row { expected, run, passed, .. } = self;
        if run + self.skipped() != *expected {
            return Err(format!("{run} run and {} skipped are not {expected}", self.skipped()));
        }
        if passed != run {
            return Err(format!("{} of {run} failed", run - passed));
        }
        Ok(())
    }

    /// Whether an assertion that passed before does not any more.
    pub fn is_worse_than(&self, before: &Row) -> bool {
        self.passed < before.passed || self.run - self.passed > before.run - before.passed
    }
}

/// Where the committed results lie.
pub fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/results.csv")
}

/// Reads the committed results.
pub fn read() -> Result<Rows, String> {
    let text = std::fs::read_to_string(path()).map_err(|error| format!("{}: {error}", path().display()))?;
    parse(&text)
}

/// Reads results from text.
pub fn parse(text: &str) -> Result<Rows, String> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(format!("The results don't start with `{HEADER}`."));
    }
    let mut rows = Rows::new();
    for line in lines {
        let (key, row) = row(line).ok_or_else(|| format!("This is no row of results: {line}"))?;
        if rows.insert(key, row).is_some() {
            return Err(format!("The results have two rows for one file and engine: {line}"));
        }
    }
    Ok(rows)
}

fn row(line: &str) -> Option<((String, String), Row)> {
    let fields: Vec<&str> = line.split(',').collect();
    let [file, engine, expected, run, passed, skipped, reasons] = fields.as_slice() else { return None };
    let reason = |part: &str| {
        let (count, reason) = part.split_once(' ')?;
        Some((reason.to_string(), count.parse().ok()?))
    };
    let reasons: Option<BTreeMap<String, usize>> = reasons.split("; ").filter(|r| !r.is_empty()).map(reason).collect();
    let number = |text: &str| text.parse::<usize>().ok();
    let row = Row { expected: number(expected)?, run: number(run)?, passed: number(passed)?, reasons: reasons? };
    (row.skipped() == number(skipped)?).then(|| ((file.to_string(), engine.to_string()), row))
}

/// Rows of files or engines that are not (or no longer) there.
pub fn stale(rows: &Rows, files: &[&str], engines: &[&str]) -> Vec<(String, String)> {
    let known =
        |(file, engine): &&(String, String)| files.contains(&file.as_str()) && engines.contains(&engine.as_str());
    rows.keys().filter(|key| !known(key)).cloned().collect()
}

/// The results as text.
pub fn write(rows: &Rows) -> String {
    let mut text = format!("{HEADER}\n");
    for ((file, engine), row) in rows {
        let reasons: Vec<String> = row.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let Row { expected, run, passed, .. } = row;
        let line = format!("{file},{engine},{expected},{run},{passed},{},{}", row.skipped(), reasons.join("; "));
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Sums over all files, by engine, as a table for people.
pub fn summary(rows: &Rows) -> String {
    let mut sums: BTreeMap<&str, Row> = BTreeMap::new();
    for ((_, engine), row) in rows {
        let empty = Row { expected: 0, run: 0, passed: 0, reasons: BTreeMap::new() };
        let sum = sums.entry(engine).or_insert(empty);
        sum.expected += row.expected;
        sum.run += row.run;
        sum.passed += row.passed;
        for (reason, count) in &row.reasons {
            *sum.reasons.entry(reason.clone()).or_default() += count;
        }
    }
    let mut text = String::new();
    for (engine, row) in sums {
        let Row { expected, run, passed, .. } = row;
        let _ = writeln!(text, "{engine}: {expected} expected, {run} run, {passed} passed, {} skipped", row.skipped());
        for (reason, count) in &row.reasons {
            let _ = writeln!(text, "    {count:6} {reason}");
        }
    }
    text
}
