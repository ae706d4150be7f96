//! Running other programs, and saying what is run.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::report;

/// A cargo command in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a step whose output is shown, and fails with its name.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    report::line(&format!("==> {name}"));
    let status = command.status().with_context(|| format!("{name}: could not be started"))?;
    if !status.success() {
        bail!("{name}: {status}");
    }
    Ok(())
}
