//! Building and running the tests, and counting them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::command::{cargo, step};
use crate::{agents, report};

/// How much to run.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Only what takes under two minutes: no real agents, no long runs
    #[arg(long)]
    quick: bool,
}

/// Tests whose path has one of these words take long, or need a real agent.
const NOT_QUICK: &[&str] = &["slow::", "real_claude::", "real_agent::"];

/// Tests that need a real agent.
const REAL: &[&str] = &["real_claude::", "real_agent::"];

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs them, and prints the counts of all suites on the last line.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut skip: Vec<&str> = Vec::new();
    if options.quick {
        report::line("quick: tests with real agents and long runs are skipped; `cargo xtask test` runs them");
        skip.extend(NOT_QUICK);
    } else if let Err(error) = agents::run(&agents::Options::default()) {
        // On a developer's machine without npm the rest is still worth running. In CI nothing is skipped.
        if std::env::var_os("CI").is_some() {
            return Err(error.context("the real agents are needed in CI"));
        }
        report::line(&format!(
            "SKIPPED: every test with a real agent, because they cannot be installed: {error:#}"
        ));
        skip.extend(REAL);
    }
    step("build", &mut cargo(&["build", "--workspace", "--bins", "--examples"]))?;
    let mut total = Count::default();
    let ok =
        suite(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"], &skip, &mut total)?;
    let doc = suite(&["test", "--workspace", "--no-fail-fast", "--doc"], &[], &mut total)?;
    report::line(&format!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped));
    if !ok || !doc || total.failed > 0 {
        bail!("tests failed");
    }
    if total.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Runs one cargo command, shows what it prints, and adds up the counts of its suites.
fn suite(arguments: &[&str], skip: &[&str], total: &mut Count) -> Result<bool> {
    report::line(&format!("==> cargo {}", arguments.join(" ")));
    let mut command: Command = cargo(arguments);
    command.arg("--");
    for word in skip {
        command.args(["--skip", word]);
    }
    // Most of them wait for processes of theirs: as many at a time as there are processors would leave those idle.
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        command.env("RUST_TEST_THREADS", threads.to_string());
    }
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo could not be started")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        report::line(&line);
        if let Some(result) = line.strip_prefix("test result: ") {
            total.add(result);
        }
    }
    Ok(child.wait()?.success())
}

impl Count {
    /// Reads `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; …`.
    fn add(&mut self, result: &str) {
        for part in result.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(what)) =
                (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" | "filtered" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn the_counts_of_all_suites_are_added_up() {
        let mut total = Count::default();
        total.add("ok. 3 passed; 0 failed; 1 ignored; 0 measured; 20 filtered out; finished in 4.05s");
        total.add("FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 10.30s");
        assert_eq!((total.passed, total.failed, total.skipped), (10, 2, 21));
    }
}
