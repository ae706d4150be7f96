//! Finds the real agents that `cargo xtask agents` installed.
//!
//! This module only knows where a binary has to be; installing and running it is the business of others. Tests
//! ask [`real_claude`] and fail with its text, which names the next step.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The versions of Claude Code that the tests run against, oldest first.
pub const CLAUDE_VERSIONS: [&str; 2] = ["2.1.197", "2.1.329"];

/// The variable that moves the cache of installed agents away from `.cache/agents`.
pub const CACHE_VARIABLE: &str = "LK_AGENTS_CACHE";

/// Says what to do about a missing or broken installation.
pub const NEXT_STEP: &str = "run `cargo xtask agents`";

/// A binary below this size is a stub or a cut download: the real ones have hundreds of megabytes.
const SMALLEST_BINARY_BYTES: u64 = 1 << 20;

/// Returns the folder that holds one sub-folder per installed agent and version.
pub fn agents_cache() -> PathBuf {
    cache_from(env::var_os(CACHE_VARIABLE))
}

fn cache_from(variable: Option<OsString>) -> PathBuf {
    match variable {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        Some(_) | None => workspace().join(".cache/agents"),
    }
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// Returns the npm package with the native binary of Claude Code for this platform.
///
/// The agent's own launcher package needs a newer Node than many machines have; the platform packages need none.
pub fn claude_package() -> Result<&'static str, String> {
    let musl = cfg!(target_env = "musl");
    match (env::consts::OS, env::consts::ARCH, musl) {
        ("linux", "x86_64", false) => Ok("@anthropic-ai/claude-code-linux-x64"),
        ("linux", "x86_64", true) => Ok("@anthropic-ai/claude-code-linux-x64-musl"),
        ("linux", "aarch64", false) => Ok("@anthropic-ai/claude-code-linux-arm64"),
        ("linux", "aarch64", true) => Ok("@anthropic-ai/claude-code-linux-arm64-musl"),
        ("macos", "x86_64", _) => Ok("@anthropic-ai/claude-code-darwin-x64"),
        ("macos", "aarch64", _) => Ok("@anthropic-ai/claude-code-darwin-arm64"),
        (os, arch, _) => Err(format!("Claude Code has no package for {os} on {arch}")),
    }
}

/// Returns the folder of one version of Claude Code within `cache`.
pub fn claude_folder(cache: &Path, version: &str) -> PathBuf {
    cache.join(format!("claude-{version}"))
}

/// Finds the binary of Claude Code within its folder and checks its shape without running it.
///
/// # Errors
/// A sentence that says what is missing or broken.
pub fn claude_binary(folder: &Path) -> Result<PathBuf, String> {
    let binary = folder.join("node_modules").join(claude_package()?).join("claude");
    let found = fs::metadata(&binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    if !found.is_file() || found.len() < SMALLEST_BINARY_BYTES {
        return Err(format!("{} is broken: {} bytes", binary.display(), found.len()));
    }
    Ok(binary)
}

/// Finds the real Claude Code of one version of [`CLAUDE_VERSIONS`].
///
/// # Errors
/// A sentence that says what is missing and how to get it.
pub fn real_claude(version: &str) -> Result<PathBuf, String> {
    claude_binary(&claude_folder(&agents_cache(), version))
        .map_err(|reason| format!("Claude Code {version} is not installed: {reason}; {NEXT_STEP}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_means_the_folder_of_the_workspace() {
        assert!(cache_from(Some(OsString::new())).ends_with(".cache/agents"));
        assert!(cache_from(None).ends_with(".cache/agents"));
        assert_eq!(cache_from(Some("/elsewhere".into())), Path::new("/elsewhere"));
    }

    #[test]
    fn a_stub_is_not_taken_for_the_binary() -> Result<(), Box<dyn std::error::Error>> {
        let cache = tempfile::tempdir()?;
        let folder = claude_folder(cache.path(), "1.2.3");
        assert!(claude_binary(&folder).is_err());
        let package = folder.join("node_modules").join(claude_package()?);
        fs::create_dir_all(&package)?;
        fs::write(package.join("claude"), "#!/bin/sh\n")?;
        assert!(claude_binary(&folder).is_err_and(|reason| reason.contains("is broken: 10 bytes")));
        Ok(())
    }
}
