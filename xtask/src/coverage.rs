//! `cargo xtask coverage`: how many of the core's lines its own tests run.
//!
//! By cargo-tarpaulin, which reads what the compiler's instrumentation counts by itself: cargo-llvm-cov needs the tools of the
//! very LLVM that the toolchain was built with.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::step;

/// The least share of lines, in percent.
const LEAST: &str = "95";

/// Runs the chore. What it builds lies apart, for it is built with other flags.
pub(crate) fn run() -> Result<()> {
    let version = Command::new("cargo").args(["tarpaulin", "--version"]).output();
    if !version.is_ok_and(|output| output.status.success()) {
        bail!("cargo-tarpaulin is not there; `cargo install --locked cargo-tarpaulin` installs it");
    }
    let mut tarpaulin = Command::new("cargo");
    tarpaulin.args(["tarpaulin", "--package", "lockkeeper-core", "--engine", "llvm", "--skip-clean"]);
    tarpaulin.args(["--include-files", "crates/core/src/*", "--exclude-files", "crates/core/src/**/tests*"]);
    tarpaulin.args(["--target-dir", "target/coverage", "--out", "Lcov", "--output-dir", "target/coverage"]);
    tarpaulin.args(["--fail-under", LEAST]);
    step("cargo tarpaulin", &mut tarpaulin)
}
