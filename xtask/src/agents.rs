//! `cargo xtask agents`: installs the real agents that the tests run against.
//!
//! One folder per agent and version. An installation is built beside its place and renamed into it when it has
//! proved itself, so a folder that exists was whole once; `--check` looks whether it still is. No lock file is
//! left behind: those name the registry that was asked.

use crate::report;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use lockkeeper_testbed::real::{
    CLAUDE_VERSIONS, NEXT_STEP, agents_cache, claude_binary, claude_folder, claude_package,
};
use std::fs;
use std::io::ErrorKind;
use std::path::{self, Path, PathBuf};
use std::process::{self, Command, Output, Stdio};

/// What `cargo xtask agents` can be told.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Only verify what is installed; exit with 1 if anything is missing or broken
    #[arg(long)]
    check: bool,
}

/// Installs or verifies every pinned version.
pub(crate) fn run(options: &Options) -> Result<()> {
    // npm runs in a folder of its own, so a relative path would mean something else to it.
    let cache = path::absolute(agents_cache()).context("failed to find the current folder")?;
    let mut broken = Vec::new();
    for version in CLAUDE_VERSIONS {
        let folder = claude_folder(&cache, version);
        let outcome = match verify(&folder, version) {
            Err(reason) if !options.check => install(&cache, version, &reason),
            verified => verified,
        };
        match outcome {
            Ok(binary) => report::line(&format!("Claude Code {version}: {}", binary.display())),
            Err(error) => {
                report::line(&format!("Claude Code {version}: {error:#}"));
                broken.push(version);
            }
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let next = if options.check { NEXT_STEP } else { "correct the cause above, then run it again" };
    bail!("not usable: Claude Code {}; {next}", broken.join(", "))
}

/// Runs the binary and compares the version that it names.
fn verify(folder: &Path, version: &str) -> Result<PathBuf> {
    let binary = claude_binary(folder).map_err(|reason| anyhow!(reason))?;
    let output = Command::new(&binary)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to run {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let named = said.split_whitespace().next().unwrap_or_default();
    ensure!(
        output.status.success() && named == version,
        "{} is broken: `--version` said {:?} ({})",
        binary.display(),
        said.trim(),
        output.status,
    );
    Ok(binary)
}

fn install(cache: &Path, version: &str, reason: &anyhow::Error) -> Result<PathBuf> {
    report::line(&format!("Claude Code {version}: installing ({reason:#})"));
    fs::create_dir_all(cache).with_context(|| format!("failed to create {}", cache.display()))?;
    let building = Scratch::new(cache, "installing", version)?;
    npm_install(&building.0, version)?;
    remove_lock_files(&building.0)?;
    verify(&building.0, version).context("failed to verify what npm installed")?;
    put_in_place(cache, &building.0, version)
}

fn npm_install(folder: &Path, version: &str) -> Result<()> {
    let package = claude_package().map_err(|reason| anyhow!(reason))?;
    let output = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--no-package-lock"])
        .args(["--loglevel", "error", "--prefix"])
        .arg(folder)
        .arg(format!("{package}@{version}"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            bail!("`npm install {package}@{version}` failed ({}): {}", output.status, last_words(&output))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("npm is not on the PATH; install Node.js with npm (any version that can run `npm install`)")
        }
        Err(error) => Err(error).context("failed to run npm"),
    }
}

fn last_words(output: &Output) -> String {
    const LINES: usize = 12;
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Removes what npm notes about the registry, the hidden lock file within `node_modules` included.
fn remove_lock_files(folder: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json", "node_modules/.package-lock.json"] {
        let file = folder.join(name);
        match fs::remove_file(&file) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to remove {}", file.display())),
        }
    }
    Ok(())
}

/// Renames the built folder into its place; what was broken there is moved away first.
fn put_in_place(cache: &Path, built: &Path, version: &str) -> Result<PathBuf> {
    let place = claude_folder(cache, version);
    // Removed with its content when this function ends.
    let replaced = Scratch::new(cache, "replaced", version)?;
    match fs::rename(&place, replaced.0.join("was")) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("failed to move {} away", place.display())),
    }
    match fs::rename(built, &place) {
        Ok(()) => {}
        // Another run was faster: its installation counts if it is whole.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
        Err(error) => {
            return Err(error).with_context(|| format!("failed to put {} in place", place.display()));
        }
    }
    verify(&place, version)
}

/// A folder within the cache that is removed at the end, whatever happens.
struct Scratch(PathBuf);

impl Scratch {
    fn new(cache: &Path, purpose: &str, version: &str) -> Result<Self> {
        let folder = cache.join(format!(".{purpose}-claude-{version}-{}", process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Gone when it was renamed into its place; a leftover is only wasted space.
        let _ = fs::remove_dir_all(&self.0);
    }
}
