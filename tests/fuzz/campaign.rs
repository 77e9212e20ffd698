//! Many programs from consecutive seeds, what came of them, and the failures.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use wavelift_translator::Options;

use crate::ast::{Mode, Tree};
use crate::case::{Case, End};
use crate::judge::{self, Check, Difference};
use crate::smith::NoCase;
use crate::{generate, inputs, smith};

/// A campaign ends with so many.
const MOST_FAILURES: usize = 20;

/// What a campaign puts to which checks.
pub struct Campaign {
    /// Programs with larger shaders are left out: a software GPU takes long to compile them.
    pub most_words: Option<usize>,
    pub checks: Vec<Check>,
}

/// What came of a campaign.
#[derive(Default)]
pub struct Summary {
    pub programs: u32,
    /// The seed behind the last.
    pub end: u64,
    /// Checks that ran and found no difference.
    pub passed: u32,
    /// Programs that trap.
    pub trapping: u32,
    pub refusals: BTreeMap<&'static str, u32>,
    pub failures: Vec<Failure>,
}

/// A program that failed a check.
pub struct Failure {
    pub seed: u64,
    pub tree: Tree,
    pub difference: Difference,
}

/// The mode of a seed's program: most end well.
pub fn mode(seed: u64) -> Mode {
    match seed % 8 {
        5 | 6 => Mode::Traps,
        7 => Mode::Bounds,
        _ => Mode::Safe,
    }
}

impl Campaign {
    /// Runs programs of seeds from `first` on, until so many have run or the time is up.
    pub fn run(&self, first: u64, most: u64, time: Duration) -> Summary {
        let start = Instant::now();
        let mut summary = Summary::default();
        for seed in first.. {
            let is_over = summary.programs > 0 && start.elapsed() >= time;
            if is_over || u64::from(summary.programs) >= most || summary.failures.len() >= MOST_FAILURES {
                summary.end = seed;
                break;
            }
            self.one(seed, &mut summary);
        }
        summary
    }

    fn one(&self, seed: u64, summary: &mut Summary) {
        let tree = generate::program(seed, mode(seed), self.most_words.is_some());
        if self.most_words.is_some_and(|most| size(&tree).is_none_or(|size| size > most)) {
            return;
        }
        summary.programs += 1;
        let case = match inputs::case(&tree) {
            Ok(case) => case,
            Err(message) => {
                let difference = Difference { check: Check::Lifted, kind: judge::Kind::Defect, message };
                summary.failures.push(Failure { seed, tree, difference });
                return;
            }
        };
        summary.trapping += u32::from(matches!(case.runs[0].expected, End::Trapped(_)));
        let verdict = judge::judge(&case, &self.checks);
        summary.passed += verdict.passed;
        for (reason, count) in verdict.refusals {
            *summary.refusals.entry(reason).or_insert(0) += count;
        }
        for difference in verdict.differences {
            summary.failures.push(Failure { seed, tree: tree.clone(), difference });
        }
    }
}

/// Words of the shader that a program becomes, if it is lifted.
fn size(tree: &Tree) -> Option<usize> {
    words(&inputs::case(tree).ok()?)
}

fn words(case: &Case) -> Option<usize> {
    case.program.translate(&Options::default()).ok().map(|shader| shader.words.len())
}

impl Campaign {
    /// The same with modules of wasm-smith.
    pub fn run_smith(&self, first: u64, most: u64, time: Duration) -> SmithSummary {
        let start = Instant::now();
        let mut summary = SmithSummary::default();
        for seed in first.. {
            let is_over = start.elapsed() >= time || u64::from(summary.modules) >= most;
            if is_over || summary.failures.len() >= MOST_FAILURES {
                break;
            }
            self.one_of_smith(seed, &mut summary);
        }
        summary
    }

    fn one_of_smith(&self, seed: u64, summary: &mut SmithSummary) {
        let case = smith::case(seed);
        if let (Some(most), Ok(case)) = (self.most_words, &case)
            && words(case).is_none_or(|words| words > most)
        {
            return;
        }
        summary.modules += 1;
        let case = match case {
            Ok(case) => case,
            Err(NoCase::Skipped(reason)) => {
                *summary.refusals.entry(reason).or_insert(0) += 1;
                return;
            }
            Err(NoCase::Broken(message)) => {
                let difference = Difference { check: Check::Lifted, kind: judge::Kind::Defect, message };
                summary.failures.push((seed, difference));
                return;
            }
        };
        summary.launches += case.runs.len() as u32;
        summary.trapping += case.runs.iter().filter(|run| matches!(run.expected, End::Trapped(_))).count() as u32;
        let verdict = judge::judge(&case, &self.checks);
        summary.passed += verdict.passed;
        for (reason, count) in verdict.refusals {
            *summary.refusals.entry(reason).or_insert(0) += count;
        }
        summary.failures.extend(verdict.differences.into_iter().map(|difference| (seed, difference)));
    }
}

/// What came of modules of wasm-smith.
#[derive(Default)]
pub struct SmithSummary {
    pub modules: u32,
    pub launches: u32,
    /// Launches that trap.
    pub trapping: u32,
    pub passed: u32,
    pub refusals: BTreeMap<&'static str, u32>,
    pub failures: Vec<(u64, Difference)>,
}

impl fmt::Display for SmithSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} modules of wasm-smith, {} launches, {} of which trap; {} checks passed, {} failed",
            self.modules,
            self.launches,
            self.trapping,
            self.passed,
            self.failures.len()
        )?;
        self.refusals
            .iter()
            .try_for_each(|(reason, count)| writeln!(f, "  refused or left out {count} times: {reason}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} programs, {} of which trap; {} checks passed, {} failed",
            self.programs,
            self.trapping,
            self.passed,
            self.failures.len()
        )?;
        self.refusals.iter().try_for_each(|(reason, count)| writeln!(f, "  refused {count} times: {reason}"))
    }
}
