//! `cargo xtask bench`: how fast the real thing is.
//!
//! A benchmark starts a real daemon of the release profile, with real holders and the scripted agent, and uses its public
//! API as any client does. It is a benchmark target of this crate, because it stands on what the end-to-end tests stand on
//! (`tests/e2e/support`); a test of theirs runs every benchmark in small. It has its own harness: what is measured goes
//! through several processes and takes milliseconds, and what counts are ratios within one run, whose parts take turns so
//! that a busy machine slows all of them. Nothing here fails for being slow. `docs/speed.md` tells what was measured.

#![expect(clippy::disallowed_methods, reason = "who measures needs a real clock")]

mod measure;
#[path = "../../tests/e2e/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests need more of it")]
mod support;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use measure::{Benchmark, Size};
use support::{Failure, Fallible};

/// Measure how fast the real thing is.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// Which benchmarks; all of them unless any is named
    names: Vec<String>,
    /// Few rounds on little: shows that it works, and measures nothing
    #[arg(long)]
    quick: bool,
    /// Write what was measured to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Add what was measured to this file too, as a line of JSON
    #[arg(long, value_name = "FILE", hide = true)]
    history: Option<PathBuf>,
    /// What was measured, for the history
    #[arg(long, hide = true)]
    commit: Option<String>,
    /// What cargo tells its benchmarks
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(io::stderr(), "error: {failure:?}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible {
    let size = if arguments.quick { Size::Quick } else { Size::Full };
    let mut reports = Vec::new();
    for benchmark in chosen(&arguments.names)? {
        // What a build or another benchmark has left to be written would be written meanwhile.
        rustix::fs::sync();
        let report = benchmark.run(size).map_err(|failure| failure.within(benchmark.name))?;
        io::stdout().write_all(benchmark.table(&report).as_bytes())?;
        reports.push(json!({"benchmark": benchmark.name, "measured": report}));
    }
    let cpus = std::thread::available_parallelism()?;
    let told = json!({
        "commit": arguments.commit,
        "quick": arguments.quick,
        "cpus": cpus,
        "benchmarks": reports,
    });
    let within = |file: &Path, error: io::Error| Failure::from(error).within(&file.display().to_string());
    if let Some(file) = &arguments.json {
        let text = serde_json::to_string_pretty(&told)? + "\n";
        fs::write(file, text).map_err(|error| within(file, error))?;
    }
    if let Some(file) = &arguments.history {
        let opened = fs::OpenOptions::new().create(true).append(true).open(file);
        let written = opened.and_then(|mut open| writeln!(open, "{told}"));
        written.map_err(|error| within(file, error))?;
    }
    Ok(())
}

/// The benchmarks of these names in the order of the table; an unknown name fails before anything is measured.
fn chosen(names: &[String]) -> Fallible<Vec<&'static Benchmark>> {
    let known = |name: &&String| measure::ALL.iter().any(|benchmark| benchmark.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = measure::ALL.iter().map(|benchmark| benchmark.name).collect();
        return Err(Failure::new(format!("there is no benchmark {unknown}; there are {}", all.join(", "))));
    }
    let wanted = |benchmark: &&Benchmark| names.is_empty() || names.iter().any(|name| name == benchmark.name);
    Ok(measure::ALL.iter().filter(wanted).collect())
}
