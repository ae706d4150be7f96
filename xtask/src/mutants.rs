//! `cargo xtask mutants`: small changes of the core, each of which has to break a test of the core.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Context as _, Result, bail};

use crate::command::{git, said};
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

/// What was changed in lines since this commit is tried by CI. How far older lines have been tried says docs/reliability.md.
const SINCE: &str = "98ea50776a0a4cbdfb0d8653ead7d5cb7cd80653";

/// So many are tried in CI, which takes four minutes on two cores once it is built; of more than that another part in each commit.
const IN_CI: usize = 60;

/// The test that goes through every order of a few things. It takes longer than all others together, and most changes break one of
/// these too.
const LONG: &str = "o09_every_order";

/// The codes of cargo-mutants: changes broke no test; with changes a test never ended, whatever else there was.
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
    if let Err(error) = git(&["cat-file", "-e", SINCE]) {
        report::line(&format!("SKIPPED: changes of the core, for this clone does not know {SINCE}: {error}"));
        return Ok(());
    }
    let Some(mut chosen) = since(SINCE)? else {
        report::line(&format!("no line of the core was changed since {SINCE}"));
        return Ok(());
    };
    let mut list = Command::new("cargo");
    list.args(["mutants", "--list", "--package", PACKAGE]).args(&chosen);
    let count = said("cargo mutants", &mut list)?.lines().count();
    if count == 0 {
        report::line(&format!("nothing of the core was changed since {SINCE} that can be changed again"));
        return Ok(());
    }
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

/// Tries these: first with what is quick, and beside all tests what breaks nothing there. A change with which a test never ends is
/// noticed. Each run begins anew, for what an earlier one found out holds for other tests and another core.
fn every(chosen: &[String], jobs: usize) -> Result<()> {
    report::line("==> cargo mutants, the quick tests");
    let mut missed = missed_by(jobs, chosen, &["--lib"], &["--skip", LONG])?;
    if !missed.is_empty() {
        report::line("==> cargo mutants, all tests for what is left");
        missed = missed_by(1, &named(&missed), &["--tests"], &[])?;
    }
    if !missed.is_empty() {
        bail!("no test notices {} changes:\n{}", missed.len(), missed.join("\n"));
    }
    report::line(&format!("every change is noticed by a test; {OUT}/mutants.out tells them all"));
    Ok(())
}

/// Exactly these changes, in words of cargo-mutants, which goes by names for most kinds of changes and by files for all.
fn named(changes: &[String]) -> Vec<String> {
    let files: BTreeSet<&str> = changes.iter().filter_map(|name| Some(name.split_once(':')?.0)).collect();
    let names = changes.iter().map(|name| format!("--re=^{}$", regex::escape(name)));
    files.into_iter().map(|file| format!("--file={file}")).chain(names).collect()
}

/// Runs cargo-mutants, and tells which changes broke no test.
fn missed_by(jobs: usize, chosen: &[String], suites: &[&str], tests: &[&str]) -> Result<Vec<String>> {
    let mut mutants = Command::new("cargo");
    mutants.args(["mutants", "--package", PACKAGE, "--no-shuffle", "--output", OUT]).args(chosen);
    mutants.args(["--jobs", &jobs.to_string()]).env("CARGO_INCREMENTAL", "1");
    // What was found with one change would be tried first with each one after it.
    mutants.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
    // Some changes make a test go on for ever. The slowest of the others takes as long as the tests of the unchanged core.
    mutants.args(["--minimum-test-timeout", "20", "--timeout-multiplier", "3"]);
    // Building takes most of the time; the tests of changed code need not be fast, nor tell where they panic.
    mutants.args(["-C=--config=profile.dev.package.lockkeeper-core.opt-level=0"]);
    mutants.args(["-C=--config=profile.dev.debug=0"]);
    // One test that fails is enough, and stopping there halves the time. The switch for that is not stable yet.
    mutants.args(["-C=--config=target.'cfg(all())'.runner=['env', 'RUSTC_BOOTSTRAP=1']"]);
    mutants.args(suites.iter().map(|suite| format!("-C={suite}")));
    mutants.args(["--", "--", "-Zunstable-options", "--fail-fast"]).args(tests);
    let status = mutants.status().context("cargo mutants cannot be run")?;
    match status.code() {
        // Which ones were missed says the file: whether any were is not told where another one has timed out.
        Some(0 | MISSED | TIMED_OUT) => {
            let file = format!("{OUT}/mutants.out/missed.txt");
            let missed = std::fs::read_to_string(&file).with_context(|| format!("{file} cannot be read"))?;
            Ok(missed.lines().map(str::to_owned).collect())
        }
        Some(_) | None => bail!("cargo mutants: {status}"),
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
