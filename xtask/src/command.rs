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

/// What a command writes to its standard output; fails with what it says otherwise.
pub(crate) fn said(name: &str, command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("{name}: could not be started"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What git says.
pub(crate) fn git(arguments: &[&str]) -> Result<String> {
    said(&format!("git {}", arguments.join(" ")), Command::new("git").args(arguments))
}
