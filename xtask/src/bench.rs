//! Building the real thing as it is released, and measuring it.
//!
//! The benchmarks are those of `crates/testbed/benches/speed`; this only builds what they start, and starts them.

use std::path::{self, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::command::{cargo, git, step};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which benchmarks; all of them unless any is named
    names: Vec<String>,
    /// Few rounds on little: shows that it works, and measures nothing
    #[arg(long)]
    quick: bool,
    /// Write what was measured to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Add what was measured to the history of figures, docs/speed-history.jsonl
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
}

/// What was measured of which commit, a line for each run.
const HISTORY: &str = "docs/speed-history.jsonl";

/// Builds the daemon and the scripted agent in the release profile and runs the benchmarks, which print their tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    step("build", &mut cargo(&["build", "--release", "--package", "lockkeeper", "--bin", "lk"]))?;
    let mut bench = cargo(&["bench", "--package", "lockkeeper-testbed", "--bench", "speed", "--"]);
    bench.args(&options.names);
    if options.quick {
        bench.arg("--quick");
    }
    if let Some(file) = &options.json {
        // Cargo runs benchmarks in the directory of their package.
        bench.arg("--json").arg(path::absolute(file)?);
    }
    if options.keep {
        let commit = git(&["describe", "--always", "--dirty"])?;
        if commit.contains("dirty") {
            bail!("what is not committed has no name in {HISTORY}; commit it, or measure without --keep");
        }
        bench.arg("--history").arg(path::absolute(HISTORY)?).args(["--commit", commit.trim()]);
    }
    step("measure", &mut bench)
}
