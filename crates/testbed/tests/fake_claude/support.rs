//! What the tests of the scripted Claude share: how it is started, and what its lines are compared with.

use lockkeeper_testbed::Driver;
use lockkeeper_testbed::driver::CLAUDE_FLAGS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) type Outcome = Result<(), Box<dyn Error>>;

pub(crate) const BOTH: [&str; 2] = ["2.1.197", "2.1.329"];

/// A home that several processes can share.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Returns the command that starts the scripted Claude.
    pub(crate) fn command(&self, version: &str, flags: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fake-claude"));
        command
            .args(CLAUDE_FLAGS)
            .args(flags)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("FAKE_CLAUDE_VERSION", version)
            .envs(environment.iter().copied());
        command
    }

    pub(crate) fn start(&self, version: &str, flags: &[&str]) -> Result<Fake, Box<dyn Error>> {
        self.start_with(version, flags, &[])
    }

    pub(crate) fn start_with(
        &self,
        version: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Fake, Box<dyn Error>> {
        Ok(Fake(Driver::spawn(&mut self.command(version, flags, environment))?))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }
}

/// A scripted Claude that runs.
pub(crate) struct Fake(pub(crate) Driver);

impl Fake {
    pub(crate) fn prompt(&mut self, text: &str) -> Outcome {
        Ok(self.0.send(&json!({"type": "user", "message": {"role": "user", "content": text}}))?)
    }

    pub(crate) fn prompt_as(&mut self, uuid: &str, text: &str) -> Outcome {
        let message = json!({"role": "user", "content": text});
        Ok(self.0.send(&json!({"type": "user", "message": message, "uuid": uuid, "priority": "later"}))?)
    }

    pub(crate) fn request(&mut self, id: &str, request: &Value) -> Outcome {
        Ok(self.0.send(&json!({"type": "control_request", "request_id": id, "request": request}))?)
    }

    /// Asks and returns the `response` of the answer.
    pub(crate) fn ask(&mut self, id: &str, request: &Value) -> Result<Value, Box<dyn Error>> {
        self.request(id, request)?;
        let answer = self
            .0
            .until(|line| line["type"] == "control_response" && line["response"]["request_id"] == id)?;
        Ok(answer["response"].clone())
    }

    pub(crate) fn answer(&mut self, gate: &Value, decision: &Value) -> Outcome {
        let id = &gate["request_id"];
        let response = json!({"subtype": "success", "request_id": id, "response": decision});
        Ok(self.0.send(&json!({"type": "control_response", "response": response}))?)
    }

    /// Waits for the announcement of a tool call.
    pub(crate) fn announced(&mut self) -> Result<Value, Box<dyn Error>> {
        Ok(self.0.until(|line| line["request"]["subtype"] == "hook_callback")?)
    }

    /// Says of an announced call what a hook before tools may say.
    pub(crate) fn decide(&mut self, announced: &Value, decision: &str, members: &Value) -> Outcome {
        let mut output = json!({"hookEventName": "PreToolUse", "permissionDecision": decision});
        for (name, value) in members.as_object().into_iter().flatten() {
            output[name] = value.clone();
        }
        self.answer(announced, &json!({"hookSpecificOutput": output}))
    }

    pub(crate) fn gate(&mut self) -> Result<Value, Box<dyn Error>> {
        Ok(self.0.until_type("control_request")?)
    }

    pub(crate) fn result(&mut self) -> Result<Value, Box<dyn Error>> {
        Ok(self.0.until_type("result")?)
    }

    pub(crate) fn until_delta(&mut self) -> Outcome {
        self.0.until(|line| line["event"]["delta"]["type"] == "text_delta")?;
        Ok(())
    }

    /// Closes stdin and returns the exit code.
    pub(crate) fn finish(&mut self) -> Result<Option<i32>, Box<dyn Error>> {
        self.0.close_stdin();
        Ok(self.0.wait()?.0.code())
    }
}

/// An `initialize` with a hook before every tool.
pub(crate) fn hooked() -> Value {
    let hook = json!({"matcher": "*", "hookCallbackIds": ["lk"], "timeout": 2_147_483, "onFailure": "block"});
    json!({"subtype": "initialize", "hooks": {"PreToolUse": [hook]}})
}

/// Returns the lines that the real agent wrote in a recording.
pub(crate) fn recorded(name: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/tests/transcripts/claude");
    let text = fs::read_to_string(folder.join(format!("{name}.jsonl")))?;
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(lines?.into_iter().filter(|line| line["dir"] == "out").map(|line| line["msg"].clone()).collect())
}

/// Returns the paths of all members of a value, those within arrays included.
///
/// Members whose names or content depend on the situation count as one.
pub(crate) fn shape(value: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    collect("", value, &mut paths);
    paths
}

const OPAQUE: [&str; 8] = [
    "input",
    "tool_input",
    "tool_use_result",
    "modelUsage",
    "model_usage_since_last_result",
    "commands",
    "agents",
    "by_type",
];

fn collect(path: &str, value: &Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                // What a hook is told is always the same; what a tool is given is not.
                let told = member["hook_event_name"].is_string();
                if told || !OPAQUE.contains(&name.as_str()) {
                    collect(&path, member, paths);
                }
                paths.insert(path);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect(&format!("{path}[]"), item, paths);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Finds the file of a session in any project's folder; it may have to be written first.
pub(crate) fn session_file(home: &Home, id: &str) -> Result<PathBuf, Box<dyn Error>> {
    let projects = home.0.path().join(".claude/projects");
    let mut found = None;
    wait_until(|| {
        for folder in fs::read_dir(&projects).into_iter().flatten() {
            let file = folder?.path().join(format!("{id}.jsonl"));
            if file.exists() {
                found = Some(file);
            }
        }
        Ok(found.is_some())
    })?;
    found.ok_or_else(|| "no session file".into())
}

pub(crate) fn wait_until_contains(file: &Path, text: &str) -> Outcome {
    wait_until(|| Ok(fs::read_to_string(file)?.contains(text)))
}

/// Waits for something that only the file system or the process table tells.
pub(crate) fn wait_until(mut holds: impl FnMut() -> io::Result<bool>) -> Outcome {
    const LOOK_EVERY: Duration = Duration::from_millis(2);
    const LOOKS: u32 = 5000;
    for _ in 0..LOOKS {
        if holds()? {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
    Err("time is up".into())
}
