//! Rules: which steps of an agent go on, wait or do not happen, whatever its own rules say.

mod access;
mod always;
mod api;
mod audit;
mod bypass;
mod days;
mod files;
mod notify;
mod pending;
mod steps;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Fallible, Home, SHORT, Session, Spec, Stream, with_home};

/// The two behaviours that agents are known to have where a hook is not answered.
const VERSIONS: [&str; 2] = ["2.1.197", "2.1.329"];

/// Runs a test in a home with a daemon and these rules of the user.
fn with_rules(rules: &str, test: impl FnOnce(&Home) -> Fallible) -> Fallible {
    with_home(|home| {
        fs::write(home.data().join("config.toml"), SHORT)?;
        fs::write(home.user_rules(), rules)?;
        home.start()?;
        test(home)
    })
}

/// A session that stays open, with this version of the agent.
fn kept(version: &str) -> Spec {
    Spec::kept().env("FAKE_CLAUDE_VERSION", version)
}

/// Makes a session and waits until something of its first turn waits for a decision.
fn asking<'a>(home: &'a Home, version: &str, script: &str) -> Fallible<(Session<'a>, Stream)> {
    let session = home.session(&kept(version).prompt(script))?;
    let mut watch = session.watch()?;
    watch.status("awaiting_input")?;
    Ok((session, watch))
}

/// The input that has a file written.
fn content(path: &Path, content: &str) -> Value {
    json!({"file_path": path.display().to_string(), "content": content})
}

/// A directive: a file is written, and nobody is asked about it.
fn write(path: &Path) -> String {
    format!("TOOL Write {}", content(path, "written"))
}

/// A directive: the agent asks whether it may run a command.
fn asked(command: &str) -> String {
    format!("ASK Bash {}", json!({"command": command}))
}

/// How the tools of a session ended, in order.
fn outcomes(session: &Session<'_>) -> Fallible<Vec<String>> {
    let items = session.list("items")?;
    let results = items.iter().filter(|item| item["kind"] == "tool_result");
    Ok(results.map(|item| item["outcome"].as_str().unwrap_or_default().to_owned()).collect())
}

/// What the agent was told of its tools, in order.
fn told(session: &Session<'_>) -> Fallible<Vec<String>> {
    let items = session.list("items")?;
    let results = items.iter().filter(|item| item["kind"] == "tool_result");
    Ok(results.map(|item| item["text"].as_str().unwrap_or_default().to_owned()).collect())
}

/// The only gate of a session.
fn only_gate(session: &Session<'_>) -> Fallible<Value> {
    let mut gates = session.gates("all")?;
    crate::support::ensure!(gates.len() == 1, "not one gate but {gates:#?}");
    Ok(gates.remove(0))
}
