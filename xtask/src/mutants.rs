//! `cargo xtask mutants`: small changes of the core, each of which has to break a test of the core.

use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, bail};

use crate::report;

/// What to change.
#[derive(Debug, Default, clap::Args)]
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

/// The commit on which all changes were tried. Those of lines that were changed since then are tried by CI.
const ALL_TRIED: &str = "98ea50776a0a4cbdfb0d8653ead7d5cb7cd80653";

/// So many are tried in CI, which takes four minutes on two cores once it is built; of more than that another part in each commit.
const IN_CI: usize = 60;

/// The test that goes through every order of a few things. It takes longer than all others together, and most changes break one of
/// these too.
const LONG: &str = "o09_every_order";

/// The codes of cargo-mutants: changes that broke no test; changes with which a test never ends, and none that broke no test.
const MISSED: i32 = 2;
const TIMED_OUT: i32 = 3;

const OUT: &str = "target/mutants";

/// Tries what is chosen.
pub(crate) fn run(options: &Options) -> Result<()> {
    is_installed()?;
    let Some(mut chosen) = options.since.as_deref().map_or(Ok(Some(Vec::new())), since)? else {
        report::line("nothing of the core was changed");
        return Ok(());
    };
    if let Some(shard) = &options.shard {
        chosen.extend(["--shard".to_owned(), shard.clone()]);
    }
    for file in &options.file {
        chosen.extend(["--file".to_owned(), file.clone()]);
    }
    // What another job builds for itself first takes as long as forty changes.
    let jobs = if options.since.is_some() { 1 } else { available_parallelism().map_or(1, usize::from) };
    every(&chosen, jobs)
}

/// Tries what nobody has tried yet, or a part of it.
pub(crate) fn in_ci() -> Result<()> {
    is_installed()?;
    let is_known = git(&["cat-file", "-e", ALL_TRIED]).is_ok();
    let Some(mut chosen) = (if is_known { since(ALL_TRIED)? } else { Some(Vec::new()) }) else {
        report::line(&format!("no line of the core was changed since {ALL_TRIED}"));
        return Ok(());
    };
    let listed =
        Command::new("cargo").args(["mutants", "--list", "--package", PACKAGE]).args(&chosen).output();
    let listed = listed.context("cargo mutants cannot be run")?;
    let count = String::from_utf8_lossy(&listed.stdout).lines().count();
    let shards = count.div_ceil(IN_CI);
    if shards > 1 {
        let commit = git(&["rev-parse", "HEAD"])?;
        let number = commit.get(..8).and_then(|hash| usize::from_str_radix(hash, 16).ok());
        let shard = number.context("HEAD is no commit")? % shards;
        report::line(&format!(
            "{count} changes are more than {IN_CI}; this commit tries part {shard} of {shards}"
        ));
        chosen.extend(["--sharding=round-robin".to_owned(), format!("--shard={shard}/{shards}")]);
    }
    every(&chosen, 1)
}

fn is_installed() -> Result<()> {
    let version = Command::new("cargo").args(["mutants", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("cargo-mutants is not there; `cargo install --locked cargo-mutants` installs it");
    }
    std::fs::create_dir_all(OUT).with_context(|| format!("{OUT} cannot be made"))
}

/// Tries these: first with what is quick, and beside all tests what breaks nothing there. Each run begins anew, for what an earlier one
/// found out holds for other tests and another core.
fn every(chosen: &[String], jobs: usize) -> Result<()> {
    let mutants = || {
        let mut mutants = Command::new("cargo");
        mutants.args(["mutants", "--package", PACKAGE, "--no-shuffle", "--output", OUT]).args(chosen);
        mutants.args(["--jobs", &jobs.to_string()]).env("CARGO_INCREMENTAL", "1");
        // Building takes most of the time; the tests of changed code need not be fast, nor tell where they panic.
        mutants.args(["-C=--config=profile.dev.package.lockkeeper-core.opt-level=0"]);
        mutants.args(["-C=--config=profile.dev.debug=0"]);
        // One test that fails is enough, and stopping there halves the time. The switch for that is not stable yet.
        mutants.args(["-C=--config=target.'cfg(all())'.runner=['env', 'RUSTC_BOOTSTRAP=1']"]);
        mutants
    };
    let fail_fast = ["--", "--", "-Zunstable-options", "--fail-fast"];
    report::line("==> cargo mutants, the quick tests");
    let mut quick = mutants();
    quick.arg("-C=--lib").args(fail_fast).args(["--skip", LONG]);
    let mut code = quick.status().context("cargo mutants cannot be run")?.code();
    if code == Some(MISSED) {
        report::line("==> cargo mutants, all tests for what is left");
        code = mutants()
            .arg("--iterate")
            .args(fail_fast)
            .status()
            .context("cargo mutants cannot be run")?
            .code();
    }
    match code {
        Some(0 | TIMED_OUT) => {
            report::line(&format!("every change is noticed by a test; {OUT}/mutants.out tells them all"));
            Ok(())
        }
        Some(MISSED) => bail!("no test notices the changes in {OUT}/mutants.out/missed.txt"),
        Some(_) | None => bail!("cargo mutants failed"),
    }
}

/// The lines that were changed since a commit, in words of cargo-mutants; `None` if there are none.
fn since(commit: &str) -> Result<Option<Vec<String>>> {
    let diff = git(&["diff", commit, "--", "crates/core"])?;
    if diff.is_empty() {
        return Ok(None);
    }
    let file = format!("{OUT}/changed.diff");
    std::fs::write(&file, diff).with_context(|| format!("{file} cannot be written"))?;
    Ok(Some(vec!["--in-diff".to_owned(), file]))
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output().context("git cannot be run")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
