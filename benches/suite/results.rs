//! What a run measured, as it is kept: in JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::kernels::{Kind, Size, Work};
use crate::measure::{Clock, Entry};
use crate::roofline::Roofline;
use crate::stats::summarize;

/// A run of the suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Date, revision, processor, GPU and so on, in order.
    pub facts: Vec<(String, String)>,
    pub size: Size,
    pub clock: Clock,
    /// Of the GPU, if there was one.
    pub roofline: Option<Roofline>,
    pub kernels: Vec<Measured>,
}

/// What was measured of a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub kernel: String,
    /// The guest's arguments.
    pub arguments: Vec<u64>,
    pub bytes: f64,
    pub operations: f64,
    pub kind: Kind,
    pub amount: f64,
    pub unit: String,
    /// Rounds with all data in place.
    pub resident: Vec<Resident>,
    /// Upload, round and download.
    pub end_to_end: Vec<Timed>,
    /// Lifting, compiling.
    pub cold: Vec<Timed>,
    /// Engines that did not run it, and why.
    pub skipped: Vec<(String, String)>,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Seconds of something, the median of several runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Timed {
    pub name: String,
    pub seconds: f64,
    /// Half the distance between the quartiles, relative to the median.
    pub spread: f64,
    pub runs: usize,
}

/// A round on an engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resident {
    #[serde(flatten)]
    pub time: Timed,
    /// The median over all turns of other engines' times divided by this one's: above 1, this one is faster.
    pub faster_than: BTreeMap<String, f64>,
}

impl Timed {
    /// Sums up times in seconds; `None` if there are none.
    pub fn of(name: &str, times: &[f64]) -> Option<Timed> {
        let summary = summarize(times)?;
        Some(Timed { name: name.into(), seconds: summary.median, spread: summary.spread, runs: summary.count })
    }
}

impl Measured {
    /// A kernel of which nothing is known yet.
    pub fn new(kernel: &crate::kernels::Kernel, size: Size) -> Measured {
        let Work { bytes, operations, kind, amount, unit } = kernel.work(size);
        Measured {
            kernel: kernel.name.into(),
            arguments: kernel.sizes(size).to_vec(),
            bytes,
            operations,
            kind,
            amount,
            unit: unit.into(),
            resident: Vec::new(),
            end_to_end: Vec::new(),
            cold: Vec::new(),
            skipped: Vec::new(),
            failure: None,
        }
    }

    /// What a round is worth.
    pub fn work(&self) -> Work {
        let Measured { bytes, operations, kind, amount, .. } = *self;
        Work { bytes, operations, kind, amount, unit: "" }
    }

    /// Takes the times of engines, with their ratios to these.
    pub fn add_resident(&mut self, entries: &[Entry<'_>], baselines: &[&str]) {
        for entry in entries {
            if let Some(refused) = &entry.refused {
                self.skipped.push((entry.name.clone(), refused.clone()));
            }
            let Some(time) = Timed::of(&entry.name, &entry.times) else { continue };
            let of = |name: &str| entries.iter().find(|other| other.name == name).map(|other| &other.times);
            let ratio = |name: &&str| {
                let quotients: Vec<f64> = of(name)?.iter().zip(&entry.times).map(|(other, own)| other / own).collect();
                Some((name.to_string(), summarize(&quotients)?.median))
            };
            let faster_than = baselines.iter().filter(|name| **name != entry.name).filter_map(ratio).collect();
            self.resident.push(Resident { time, faster_than });
        }
    }

    /// An engine's rounds.
    pub fn engine(&self, name: &str) -> Option<&Resident> {
        self.resident.iter().find(|engine| engine.time.name == name)
    }

    /// How much faster an engine is than another one.
    pub fn ratio(&self, name: &str, than: &str) -> Option<f64> {
        self.engine(name)?.faster_than.get(than).copied()
    }
}

impl Results {
    /// Reads a run that was kept.
    ///
    /// # Errors
    /// The file can't be read, or is none.
    pub fn read(path: &Path) -> Result<Results> {
        let text = std::fs::read_to_string(path).with_context(|| format!("`{}` can't be read", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is no result of this suite", path.display()))
    }

    /// This run and a later one of the same device and sizes, whose kernels and ceilings count where both have them.
    pub fn joined(mut self, later: Results) -> Results {
        for kernel in later.kernels {
            match self.kernels.iter_mut().find(|of| of.kernel == kernel.kernel) {
                Some(of) => *of = kernel,
                None => self.kernels.push(kernel),
            }
        }
        let date = later.facts.into_iter().filter(|(name, _)| name == "date" || name == "revision");
        self.facts.extend(date.map(|(name, value)| (format!("{name} of a later run, joined"), value)));
        Results { roofline: later.roofline.or(self.roofline), ..self }
    }

    /// The run as JSON.
    ///
    /// # Errors
    /// None that is known.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The geometric mean over all kernels that have it.
    pub fn mean(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<(f64, usize)> {
        let values: Vec<f64> = self.kernels.iter().filter_map(of).filter(|value| *value > 0.0).collect();
        let sum: f64 = values.iter().map(|value| value.ln()).sum();
        (!values.is_empty()).then(|| ((sum / values.len() as f64).exp(), values.len()))
    }
}
