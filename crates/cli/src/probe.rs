//! Which agents are installed here: found on the `PATH` and asked for their version, nothing else.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};
use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::context::VERSION;
use crate::program;

/// An agent as it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether sessions can use it.
    pub(crate) supported: bool,
    /// Where its program is; absent if it is not on the `PATH`.
    pub(crate) path: Option<PathBuf>,
    /// Its version.
    pub(crate) version: Option<String>,
    /// What keeps its version from being known.
    pub(crate) problem: Option<String>,
}

/// The agents that are looked for, and whether sessions can use them.
const AGENTS: [(&str, bool); 6] = [
    ("claude", true),
    ("codex", false),
    ("gemini", false),
    ("opencode", false),
    ("copilot", false),
    ("qwen", false),
];

/// How long a program may take to tell its version: the slowest took 1.3 s on a slow machine.
const VERSION_WITHIN: Duration = Duration::from_secs(5);

/// Looks for all agents at the same time. The demonstration agent is always there.
pub(crate) async fn agents() -> Vec<Found> {
    let mut looks = JoinSet::new();
    for (no, (name, supported)) in AGENTS.into_iter().enumerate() {
        looks.spawn(async move { (no, look(name, supported).await) });
    }
    let mut found = looks.join_all().await;
    found.sort_by_key(|(no, _)| *no);
    let demo = Found {
        name: "demo",
        supported: true,
        path: env::current_exe().ok(),
        version: Some(VERSION.to_owned()),
        problem: None,
    };
    found.into_iter().map(|(_, agent)| agent).chain([demo]).collect()
}

async fn look(name: &'static str, supported: bool) -> Found {
    let path = program::find(name).ok();
    let (version, problem) = match &path {
        Some(path) => match version(path).await {
            Ok(version) => (Some(version), None),
            Err(problem) => (None, Some(problem)),
        },
        None => (None, None),
    };
    Found { name, supported, path, version, problem }
}

async fn version(path: &PathBuf) -> Result<String, String> {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A wrapper may wait for what it has started: all of it ends together.
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
    let group = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    match tokio::time::timeout(VERSION_WITHIN, child.wait_with_output()).await {
        Err(_) => {
            let killed = group.map(|group| kill_process_group(group, Signal::KILL));
            let left = if let Some(Err(error)) = killed {
                format!(", and cannot be killed: {error}")
            } else {
                String::new()
            };
            Err(format!("it did not tell its version within {} s{left}", VERSION_WITHIN.as_secs()))
        }
        Ok(Err(error)) => Err(format!("it cannot be waited for: {error}")),
        Ok(Ok(output)) => first_version(&String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| "it tells no version".to_owned()),
    }
}

/// The first word that looks like a version.
fn first_version(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_start_matches('v').trim_end_matches(['.', ',']))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && word.len() <= 64)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_print() {
        let cases = [
            ("2.1.197 (Claude Code)\n", Some("2.1.197")),
            ("codex-cli 0.169.0", Some("0.169.0")),
            ("GitHub Copilot CLI 1.0.102.\nRun update", Some("1.0.102")),
            ("v1.18.33", Some("1.18.33")),
            ("hello", None),
        ];
        for (text, version) in cases {
            assert_eq!(first_version(text).as_deref(), version, "{text}");
        }
    }
}
