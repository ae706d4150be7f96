//! `cargo xtask fuzz`: looks for inputs that break a law of what is read.
//!
//! What it finds on the way stays below `target/fuzz`; inputs that lead to new places are kept in the corpus of the tests by
//! `--keep`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::command::{cargo, step};
use crate::report;

/// The targets, as they are in `fuzz/Cargo.toml`.
const TARGETS: [&str; 6] = ["framer", "journal", "wire", "bodies", "rules", "frames"];

/// The longest input in bytes: longer ones find nothing more in these, and make a corpus that nobody wants to keep.
const INPUT_BYTES: &str = "8192";

/// How long one input may take, in seconds.
const INPUT_S: &str = "10";

/// The memory that one input may take, in megabytes.
const INPUT_MB: &str = "2048";

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// One target; all of them unless it is named
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long each
    #[arg(long, default_value = "1", value_name = "N")]
    minutes: u64,
    /// Afterwards, keep the fewest inputs that lead to all places in the corpus of the tests
    #[arg(long)]
    keep: bool,
}

/// Runs them one after the other; stops at the first input that breaks a law.
pub(crate) fn run(options: &Options) -> Result<()> {
    can_run()?;
    let targets = TARGETS.iter().filter(|name| options.target.as_deref().is_none_or(|only| only == **name));
    for target in targets {
        let found = work().join("found").join(target);
        let broken = work().join("broken").join(target);
        for dir in [&found, &broken] {
            fs::create_dir_all(dir).with_context(|| format!("failed to create {}", dir.display()))?;
        }
        let mut fuzz = fuzzer("run", target);
        // New inputs go into the first folder, and the others are read alone.
        fuzz.arg(&found).arg(corpus(target)).arg("--");
        fuzz.arg(format!("-max_total_time={}", 60 * options.minutes))
            .args(["-print_final_stats=1", "-verbosity=1"]);
        fuzz.args([
            format!("-max_len={INPUT_BYTES}"),
            format!("-timeout={INPUT_S}"),
            format!("-rss_limit_mb={INPUT_MB}"),
            format!("-artifact_prefix={}/", broken.display()),
        ]);
        let dictionary = Path::new("fuzz").join(format!("{target}.dict"));
        if dictionary.exists() {
            fuzz.arg(format!("-dict={}", dictionary.display()));
        }
        step(&format!("fuzz {target}"), &mut fuzz).with_context(|| {
            format!(
                "an input breaks a law; it is the last one in {}: put it into {} under a name that tells what it is, and mend \
                 what it shows",
                broken.display(),
                corpus(target).display()
            )
        })?;
        if options.keep {
            keep(target, &found)?;
        }
    }
    report::line("no law is broken");
    Ok(())
}

/// Merges what was found into the corpus. Inputs that are there stay.
fn keep(target: &str, found: &Path) -> Result<()> {
    let mut merge = fuzzer("run", target);
    merge.arg(corpus(target)).arg(found).args(["--", "-merge=1", "-verbosity=0"]);
    step(&format!("keep {target}"), &mut merge)
}

fn fuzzer(what: &str, target: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["+nightly", "fuzz", what]).stdin(Stdio::null());
    // The sanitizer looks for what safe code cannot do, and halves the speed.
    command.args(["--sanitizer", "none", "--target-dir"]).arg(work().join("build")).arg(target);
    // A toolchain that runs this says so to what it starts, which is to use another one.
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// Says what to install, if anything is missing.
fn can_run() -> Result<()> {
    let answers = |command: &mut Command| {
        let asked = command.env_remove("RUSTUP_TOOLCHAIN").stdin(Stdio::null()).output();
        asked.is_ok_and(|output| output.status.success())
    };
    if !answers(Command::new("cargo").args(["+nightly", "--version"])) {
        bail!("there is no nightly toolchain; run `rustup toolchain install nightly --profile minimal`");
    }
    ensure!(
        answers(Command::new("cargo").args(["fuzz", "--version"])),
        "cargo-fuzz is not there; run `cargo install --locked cargo-fuzz`"
    );
    // The same dependencies as the product has, as far as both have them.
    let locked =
        cargo(&["metadata", "--format-version", "1", "--locked", "--manifest-path", "fuzz/Cargo.toml"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
    if !locked.success() {
        report::line("fuzz/Cargo.lock does not fit any more and will change: commit it");
    }
    Ok(())
}

fn corpus(target: &str) -> PathBuf {
    let dir = Path::new("crates/testbed/corpus").join(target);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// Where the fuzzer works.
fn work() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let dir = target.join("fuzz");
    std::path::absolute(&dir).unwrap_or(dir)
}
