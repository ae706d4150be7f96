//! The project's own chores: `cargo xtask <chore>`.
//!
//! This file only reads the command line; each chore has a file of its own.

mod agents;
mod bench;
mod ci;
mod command;
mod coverage;
mod crash;
mod edges;
mod fuzz;
mod mutants;
mod report;
mod scenarios;
mod schema;
mod sim;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install the real agents that the tests run against, at their pinned versions
    Agents(agents::Options),
    /// Build and run the tests; the last line counts them
    Test(test::Options),
    /// Measure how fast the real thing is, in the release profile
    Bench(bench::Options),
    /// Check that our crates depend on each other only as ARCHITECTURE.md says
    Edges,
    /// Check that docs/scenarios.md names every scenario, and only tests that are there
    Scenarios,
    /// Run schedules of the simulator
    Sim(sim::Options),
    /// End or fail the daemon and the holder at each of their operations
    Crash(crash::Options),
    /// Change the core in small ways, each of which has to break a test
    Mutants(mutants::Options),
    /// Count the lines of the core that its tests run
    Coverage,
    /// Look for inputs that break a law of what is read (needs a nightly toolchain and cargo-fuzz)
    Fuzz(fuzz::Options),
    /// Hold the daemon against the document of its API, by requests that nobody has thought of (needs Python)
    Schema(schema::Options),
    /// Run everything that CI runs
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Agents(options) => agents::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Edges => edges::run(),
        Chore::Scenarios => scenarios::run(),
        Chore::Sim(options) => sim::run(&options),
        Chore::Crash(options) => crash::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Coverage => coverage::run(),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Schema(options) => schema::run(&options),
        Chore::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
