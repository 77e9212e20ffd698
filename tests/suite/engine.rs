//! What runs cases, and the counting of what they gave.

use std::collections::BTreeMap;

use crate::cases::{FileCases, FunctionCases, ModuleCases, Observed};
use crate::judge;
use crate::reason::Skip;

/// Why an engine gave nothing for a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It can't run the function, for a known reason.
    Skip(Skip),
    /// It should and did not; all its cases fail.
    Broken(String),
}

/// Something that runs kernels.
pub trait Engine {
    /// Whether it would run a function, found out without running it.
    fn lifts(&self, module: &ModuleCases, function: &FunctionCases) -> Result<(), Stopped>;

    /// Whether its NaNs may have any payload.
    fn has_own_nans(&self) -> bool {
        false
    }

    /// Runs all cases of a function; as many outcomes as cases.
    fn run(&mut self, module: &ModuleCases, function: &FunctionCases) -> Result<Vec<Observed>, Stopped>;
}

/// What became of some assertions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub run: usize,
    pub passed: usize,
    pub skipped: BTreeMap<String, usize>,
    /// One sentence for each assertion that failed, or for each function that broke.
    pub failures: Vec<String>,
}

impl Tally {
    /// What a file's assertions come to before any engine sees them.
    pub fn of(file: &FileCases) -> Tally {
        let mut tally = Tally::default();
        for (skip, count) in &file.skipped {
            tally.skip(skip, *count);
        }
        tally
    }

    fn skip(&mut self, skip: &Skip, count: usize) {
        *self.skipped.entry(skip.to_string()).or_default() += count;
    }

    /// Counts a function as passed if the engine would run it.
    pub fn add_unrun(&mut self, engine: &dyn Engine, module: &ModuleCases, function: &FunctionCases) {
        let count = function.cases.len();
        match engine.lifts(module, function) {
            Ok(()) => {
                self.run += count;
                self.passed += count;
            }
            Err(Stopped::Skip(skip)) => self.skip(&skip, count),
            Err(Stopped::Broken(message)) => {
                self.run += count;
                self.failures.push(format!("module {}, `{}`: {message}", module.number, function.name));
            }
        }
    }

    /// Runs a function's cases and counts.
    pub fn add(&mut self, engine: &mut dyn Engine, module: &ModuleCases, function: &FunctionCases) {
        let cases = &function.cases;
        let place = |line: usize| format!("module {}, `{}`, line {line}", module.number, function.name);
        match engine.run(module, function) {
            Err(Stopped::Skip(skip)) => self.skip(&skip, cases.len()),
            Err(Stopped::Broken(message)) => {
                self.run += cases.len();
                self.failures.push(format!("{}: {message}", place(cases.first().map_or(0, |case| case.line))));
            }
            Ok(observed) => {
                self.run += cases.len();
                if observed.len() != cases.len() {
                    let message = format!("{} outcomes of {} cases", observed.len(), cases.len());
                    self.failures.push(format!("{}: {message}", place(0)));
                    return;
                }
                let judge = if engine.has_own_nans() { judge::judge_with_any_nan } else { judge::judge };
                for (case, observed) in cases.iter().zip(&observed) {
                    match judge(case, observed) {
                        Ok(()) => self.passed += 1,
                        Err(message) => self.failures.push(format!("{}: {message}", place(case.line))),
                    }
                }
            }
        }
    }
}
