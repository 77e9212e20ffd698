//! Arguments that benchmarks have in common.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use wavelift::device::gpu::{self, Adapter};

#[derive(Args)]
pub struct Shared {
    /// Only kernels whose name contains this.
    pub filter: Option<String>,
    /// A GPU by index or a part of its name; by default the best one.
    #[arg(long, value_name = "NAME|INDEX")]
    adapter: Option<String>,
    /// Write the report as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Shared {
    /// Whether a kernel of this name is to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// The GPU that was asked for, or the best one; `None` where there is none.
    pub fn adapter(&self) -> Result<Option<Adapter>> {
        Ok(match &self.adapter {
            Some(name) => Some(gpu::find(name)?),
            None => gpu::adapters().into_iter().next(),
        })
    }

    /// Prints what was measured, and writes it where that was asked for.
    pub fn publish(&self, text: &str) -> Result<()> {
        println!("{text}");
        if let Some(path) = &self.markdown {
            std::fs::write(path, text).with_context(|| format!("`{}` can't be written", path.display()))?;
        }
        Ok(())
    }
}
