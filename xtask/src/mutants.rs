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
    /// Only a part of all: 3/40
    #[arg(long, value_name = "K/N", conflicts_with = "since")]
    shard: Option<String>,
    /// Only in this file, which may have wildcards
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
}

/// What the core is tested by.
const PACKAGE: &str = "lockkeeper-core";

/// The test that goes through every order of a few things. It takes longer than all others together, and most changes break one of
/// these too.
const LONG: &str = "o09_every_order";

/// The code of cargo-mutants for changes that broke no test.
const MISSED: i32 = 2;

/// Runs the chore: first what is quick, and what breaks nothing there beside all tests.
pub(crate) fn run(options: &Options) -> Result<()> {
    let version = Command::new("cargo").args(["mutants", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("cargo-mutants is not there; `cargo install --locked cargo-mutants` installs it");
    }
    let out = "target/mutants";
    std::fs::create_dir_all(out).with_context(|| format!("{out} cannot be made"))?;
    let Some(chosen) = chosen(options)? else {
        report::line("nothing of the core was changed");
        return Ok(());
    };
    // Each run begins anew: what an earlier one found out holds for other tests and another core.
    let mutants = || {
        let mut mutants = Command::new("cargo");
        mutants.args(["mutants", "--package", PACKAGE, "--no-shuffle", "--output", out]).args(&chosen);
        // Building takes most of the time; the tests of changed code need not be fast.
        mutants.args(["-C=--config=profile.dev.package.lockkeeper-core.opt-level=0"]);
        mutants
    };
    report::line("==> cargo mutants, the quick tests");
    let mut quick = mutants();
    quick.args(["-C=--lib", "--", "--", "--skip", LONG]);
    let status = quick.status().context("cargo mutants cannot be run")?;
    if status.code() == Some(MISSED) {
        step("cargo mutants, all tests for what is left", mutants().arg("--iterate"))?;
    } else if !status.success() {
        bail!("cargo mutants: {status}");
    }
    report::line(&format!("every change is noticed by a test; {out}/mutants.out tells them all"));
    Ok(())
}

/// What is to be changed, in words of cargo-mutants; `None` if that is nothing.
fn chosen(options: &Options) -> Result<Option<Vec<String>>> {
    let mut chosen = Vec::new();
    if let Some(since) = &options.since {
        let diff = Command::new("git").args(["diff", since, "--", "crates/core"]).output();
        let diff = diff.context("git cannot be run")?;
        if !diff.status.success() {
            bail!("git diff {since}: {}", String::from_utf8_lossy(&diff.stderr).trim());
        }
        if diff.stdout.is_empty() {
            return Ok(None);
        }
        let file = "target/mutants/changed.diff";
        std::fs::write(file, diff.stdout).with_context(|| format!("{file} cannot be written"))?;
        chosen.extend(["--in-diff".to_owned(), file.to_owned()]);
    }
    if let Some(shard) = &options.shard {
        chosen.extend(["--shard".to_owned(), shard.clone()]);
    }
    for file in &options.file {
        chosen.extend(["--file".to_owned(), file.clone()]);
    }
    Ok(Some(chosen))
}
