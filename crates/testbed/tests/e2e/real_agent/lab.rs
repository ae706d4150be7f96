//! A home in which `claude` is the real one, and its model a fake one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use lockkeeper_testbed::driver::claude_environment;
use lockkeeper_testbed::model::Request;
use lockkeeper_testbed::{Config, FakeModel, real_claude};
use serde_json::{Value, json};

use crate::support::{
    Failure, Fallible, Frame, Home, Session, Spec, Stream, ensure, wait_until, with_daemon,
};

/// The variable that marks the processes of an attempt: `SESSION.ATTEMPT`.
const MARKER: &str = "LOCKKEEPER_ATTEMPT=";

/// A home, a model and the version of Claude Code that is tested.
pub(super) struct Lab<'a> {
    pub(super) home: &'a Home,
    pub(super) model: FakeModel,
    version: &'static str,
}

/// Runs a case with this version, with the adapter's own deadlines.
pub(super) fn with_lab(version: &'static str, test: impl FnOnce(&Lab<'_>) -> Fallible) -> Fallible {
    let binary = real_claude(version).map_err(Failure::new)?;
    let model = FakeModel::start(Config::default())?;
    with_daemon("", |home| {
        let claude = home.bin().join("claude");
        fs::remove_file(&claude)?;
        symlink(binary, claude)?;
        fs::create_dir(home.path("t"))?;
        let lab = Lab { home, model, version };
        test(&lab).map_err(|failure| failure.within(&lab.asked()))
    })
}

impl Lab<'_> {
    /// Whether it is the newer of the two versions, which differ in what they announce.
    pub(super) fn is_newer(&self) -> bool {
        self.version == "2.1.329"
    }

    pub(super) fn version(&self) -> &'static str {
        self.version
    }

    /// Starts the daemon again with this configuration.
    pub(super) fn configure(&self, config: &str) -> Fallible {
        fs::write(self.home.data().join("config.toml"), config)?;
        self.home.crash_and_start()
    }

    /// A session that stays open, in which every tool that changes something is asked for.
    pub(super) fn kept(&self) -> Spec {
        self.offline(Spec::kept())
    }

    /// A session that ends as its turn does.
    pub(super) fn one_shot(&self) -> Spec {
        self.offline(Spec::one_shot())
    }

    /// A session that stays open, in which no tool is asked for.
    pub(super) fn unasked(&self) -> Spec {
        self.kept().with("mode", "bypassPermissions")
    }

    fn offline(&self, spec: Spec) -> Spec {
        let home = self.home.agent_home();
        let variables = claude_environment(&home, &self.model.base_url());
        let ours = ["PATH", "HOME"];
        let variables = variables.into_iter().filter(|(name, _)| !ours.contains(name));
        let spec = variables.fold(spec, |spec, (name, value)| spec.env(name, &value.to_string_lossy()));
        spec.env("TMPDIR", &self.home.path("t").display().to_string())
    }

    /// Makes a session and waits until its first turn has ended.
    pub(super) fn after(&self, spec: Spec, prompt: &str) -> Fallible<Session<'_>> {
        let session = self.home.session(&spec.prompt(prompt))?;
        session.wait("idle")?;
        Ok(session)
    }

    /// Makes a session and waits until a text of its first turn streams.
    pub(super) fn streaming(&self, spec: Spec, prompt: &str) -> Fallible<(Session<'_>, Stream)> {
        let session = self.home.session(&spec.prompt(prompt))?;
        let mut watch = session.watch()?;
        watch.until("streaming text", is_text)?;
        Ok((session, watch))
    }

    /// Makes a session and waits until it asks for something.
    pub(super) fn asking(&self, prompt: &str) -> Fallible<(Session<'_>, Stream)> {
        let session = self.home.session(&self.kept().prompt(prompt))?;
        let mut watch = session.watch()?;
        watch.status("awaiting_input")?;
        Ok((session, watch))
    }

    /// The requests with this script so far.
    pub(super) fn requests(&self, script: &str) -> Vec<Request> {
        let fits = |request: &Request| request.script.as_deref() == Some(script);
        self.model.requests().into_iter().filter(fits).collect()
    }

    /// Everything that the model was shown in the last request with this script.
    pub(super) fn shown(&self, script: &str) -> Fallible<String> {
        let last = self.requests(script).pop();
        Ok(last.ok_or_else(|| Failure::new(format!("no request for {script:?}")))?.messages.to_string())
    }

    /// The file in which the agent keeps the conversation of a session.
    pub(super) fn conversation_file(&self, session: &Session<'_>) -> Fallible<PathBuf> {
        let id = session.row()?["agent_session_id"].as_str().unwrap_or_default().to_owned();
        let projects = fs::read_dir(self.home.agent_home().join(".claude/projects"))?;
        for project in projects {
            let file = project?.path().join(format!("{id}.jsonl"));
            if file.exists() {
                return Ok(file);
            }
        }
        Err(Failure::new(format!("the agent has no file of {id:?}")))
    }

    /// Waits until the agent has saved this text: killed before, it forgets it.
    pub(super) fn saved(&self, session: &Session<'_>, text: &str) -> Fallible {
        wait_until("a conversation that is saved", || {
            let file = self.conversation_file(session).and_then(|file| Ok(fs::read_to_string(file)?));
            file.is_ok_and(|saved| saved.contains(text))
        })
    }

    /// What was asked of the model, for a message.
    fn asked(&self) -> String {
        let line = |request: &Request| {
            let Request { number, model, script, step, last_text, progress, .. } = request;
            let text: String = last_text.chars().take(80).collect();
            format!("  {number} {model} {script:?} step {step} {progress:?} {text:?}")
        };
        let lines: Vec<String> = self.model.requests().iter().map(line).collect();
        format!("the model was asked\n{}\n", lines.join("\n"))
    }
}

/// The processes that bear the marker of a session: its agent, and what that has started.
pub(super) fn bearers(session: &Session<'_>) -> Vec<u32> {
    let mark = format!("{MARKER}{}.", session.id);
    let bears = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes()))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(bears).collect()
}

/// The process of a session's tool, once it runs this program.
pub(super) fn tool_process(session: &Session<'_>, program: &str) -> Fallible<u32> {
    let mut found = None;
    wait_until(&format!("a tool that runs {program}"), || {
        let runs = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
        };
        found = bearers(session).into_iter().find(runs);
        found.is_some()
    })?;
    found.ok_or_else(|| Failure::new("no tool"))
}

/// Whether a frame brings a piece of a message.
pub(super) fn is_text(frame: &Frame) -> bool {
    frame.name == "live" && frame.data["kind"] == "message" && frame.data["text"] != ""
}

/// A directive that has the model call Bash.
pub(super) fn bash(command: &str) -> String {
    format!("TOOL Bash {}", json!({"command": command, "description": "d"}))
}

/// How the turns of a session ended, in order.
pub(super) fn outcomes(session: &Session<'_>) -> Fallible<Vec<String>> {
    let turns = session.list("turns")?;
    Ok(turns.iter().map(|turn| turn["outcome"].as_str().unwrap_or("none").to_owned()).collect())
}

/// Makes sure that the journal's lines and the stored items say the same, in the same order, nothing twice.
pub(super) fn items_are_the_journal(session: &Session<'_>, attempt: u32) -> Fallible {
    let mut told = Vec::new();
    for line in session.lines("stdout", attempt)? {
        if line["message"]["model"] == "<synthetic>" {
            // The agent's program says this, not its model: a notice.
            continue;
        }
        let blocks = line["message"]["content"].as_array().cloned().unwrap_or_default();
        for block in blocks {
            match (line["type"].as_str(), block["type"].as_str()) {
                (Some("assistant"), Some("text")) => told.push(format!("message {}", block["text"])),
                (Some("assistant"), Some("tool_use")) => told.push(format!("call {}", block["id"])),
                (Some("user"), Some("tool_result")) => told.push(format!("result {}", block["tool_use_id"])),
                _ => {}
            }
        }
    }
    let item = |item: &Value| match item["kind"].as_str() {
        Some("message") => format!("message {}", item["text"]),
        Some("tool_call") => format!("call {}", item["key"]),
        Some("tool_result") => format!("result {}", item["call"]),
        _ => format!("something else: {item}"),
    };
    let mut items = session.list("items")?;
    items.retain(|item| item["kind"] != "notice");
    let stored: Vec<String> = items.iter().map(item).collect();
    ensure!(stored == told, "the journal has {told:#?}, stored is {stored:#?}");
    Ok(())
}
