//! `cargo xtask mutants`: small changes of the core, each of which has to break a test of the core.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::step;
use crate::report;

/// What to change.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only lines that were changed since this commit
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,
    /// Only a part of all: 3/40. Parts that were done before are told, and not done again
    #[arg(long, value_name = "K/N", conflicts_with = "since")]
    shard: Option<String>,
    /// Only in this file, which may have wildcards
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
}

/// What the core is tested by.
const PACKAGE: &str = "lockkeeper-core";

/// Runs the chore.
pub(crate) fn run(options: &Options) -> Result<()> {
    let version = Command::new("cargo").args(["mutants", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("cargo-mutants is not there; `cargo install --locked cargo-mutants` installs it");
    }
    let mut mutants = Command::new("cargo");
    mutants.args(["mutants", "--package", PACKAGE, "--no-shuffle"]);
    let part = match (&options.since, &options.shard) {
        (Some(since), _) => {
            let diff = Command::new("git").args(["diff", since, "--", "crates/core"]).output();
            let diff = diff.context("git cannot be run")?;
            if !diff.status.success() {
                bail!("git diff {since}: {}", String::from_utf8_lossy(&diff.stderr).trim());
            }
            if diff.stdout.is_empty() {
                report::line(&format!("nothing of the core was changed since {since}"));
                return Ok(());
            }
            let file = "target/mutants.diff";
            std::fs::write(file, diff.stdout).with_context(|| format!("{file} cannot be written"))?;
            mutants.args(["--in-diff", file]);
            "changed".to_owned()
        }
        (None, Some(shard)) => {
            mutants.args(["--shard", shard]);
            shard.replace('/', "-of-")
        }
        (None, None) => "all".to_owned(),
    };
    for file in &options.file {
        mutants.args(["--file", file]);
    }
    // What was found before stays known: whoever goes on does not begin again.
    let out = format!("target/mutants/{part}");
    std::fs::create_dir_all(&out).with_context(|| format!("{out} cannot be made"))?;
    mutants.args(["--iterate", "--output", &out]);
    step("cargo mutants", &mut mutants)?;
    report::line(&format!("every change is noticed by a test; {out}/mutants.out tells them all"));
    Ok(())
}
