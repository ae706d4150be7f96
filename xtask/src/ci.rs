//! What CI runs, in its order: the cheap checks first.

use anyhow::Result;
use std::process::Command;

use crate::command::{cargo, step};
use crate::{edges, mutants, scenarios, schema, test};

/// Runs all of it; stops at the first step that fails.
pub(crate) fn run() -> Result<()> {
    step("rustfmt", &mut cargo(&["fmt", "--all", "--check"]))?;
    edges::run()?;
    scenarios::run()?;
    step(
        "cargo deny",
        Command::new("cargo-deny").args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]),
    )?;
    step("clippy", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step(
        "rustdoc",
        cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    schema::run(&schema::Options::default())?;
    mutants::in_ci()?;
    test::run(&test::Options::default())
}
