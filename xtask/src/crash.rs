//! `cargo xtask crash`: the daemon and the holder, ended or failed at each of their operations.

use crate::command::{cargo, step};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// This point alone, as a failure tells it: daemon:kill:137:0
    #[arg(long, value_name = "POINT")]
    point: Option<String>,
}

/// The variable by which the tests know which points to try.
const WHICH: &str = "LK_CRASH";

/// Runs the chore.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    step("build", &mut cargo(&["build", "--workspace", "--bins", "--examples"]))?;
    let test = ["test", "-p", "lockkeeper-testbed", "--test", "e2e", "--", "crash::", "--nocapture"];
    step("crash", cargo(&test).env(WHICH, options.point.as_deref().unwrap_or("all")))
}
