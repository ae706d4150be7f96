//! Sessions on disk: `projects/<folder>/<id>.jsonl` below the configuration folder, one JSON object per line.
//!
//! The older version writes with a delay, so whoever kills it right after a `result` loses that turn; the newer
//! one writes at once.

use crate::flags::Kind;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the older version keeps lines to itself, in milliseconds.
const OLDER_DELAY_MS: u64 = 50;

/// One session's file and what is known of it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    file: PathBuf,
    kind: Kind,
    pending: Vec<u8>,
    /// When the pending lines are to be written.
    pub(crate) flush_at: Option<Instant>,
    /// Prompts by their uuid, and whether their turn got an answer.
    pub(crate) known: HashMap<String, Known>,
}

/// What a session knows of a prompt that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// In this process.
    Here,
    /// In an earlier process, without any answer.
    CutBefore,
    /// In an earlier process, with an answer.
    AnsweredBefore,
}

impl Session {
    pub(crate) fn fresh(id: String, kind: Kind, cwd: &Path) -> Self {
        let file = projects().join(folder_name(cwd)).join(format!("{id}.jsonl"));
        Self { id, file, kind, pending: Vec::new(), flush_at: None, known: HashMap::new() }
    }

    /// Opens an existing session; the older version finds it from its own folder only.
    pub(crate) fn open(id: &str, kind: Kind, cwd: &Path) -> Option<Self> {
        let file = match kind {
            Kind::Older => Some(projects().join(folder_name(cwd)).join(format!("{id}.jsonl")))
                .filter(|file| file.exists()),
            Kind::Newer => find(id),
        }?;
        let text = fs::read_to_string(&file).ok()?;
        let mut known = HashMap::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(uuid) = line["promptUuid"].as_str() else { continue };
            let state = if line["type"] == "user" { Known::CutBefore } else { Known::AnsweredBefore };
            known.insert(uuid.to_owned(), state);
        }
        Some(Self { id: id.to_owned(), file, kind, pending: Vec::new(), flush_at: None, known })
    }

    /// Goes on under another id, with the same history.
    pub(crate) fn fork(self, id: String, cwd: &Path) -> io::Result<Self> {
        let mut forked = Self::fresh(id, self.kind, cwd);
        forked.pending = fs::read(&self.file)?;
        forked.known = self.known;
        forked.flush_at = Some(Instant::now());
        Ok(forked)
    }

    /// Notes a prompt, before anything is answered.
    pub(crate) fn note_prompt(&mut self, uuid: &str, text: &str) {
        self.known.insert(uuid.to_owned(), Known::Here);
        self.note(&json!({"type": "user", "promptUuid": uuid, "sessionId": self.id, "text": text}));
    }

    /// Notes that a prompt's turn has an answer.
    pub(crate) fn note_answer(&mut self, uuid: &str, text: &str) {
        const EXCERPT_CHARACTERS: usize = 200;
        let text: String = text.chars().take(EXCERPT_CHARACTERS).collect();
        self.note(&json!({"type": "assistant", "promptUuid": uuid, "sessionId": self.id, "text": text}));
    }

    fn note(&mut self, line: &Value) {
        self.pending.extend_from_slice(format!("{line}\n").as_bytes());
        match self.kind {
            Kind::Older => {
                let delay = crate::number_from_environment("FAKE_CLAUDE_FLUSH_MS").unwrap_or(OLDER_DELAY_MS);
                self.flush_at.get_or_insert_with(|| Instant::now() + Duration::from_millis(delay));
            }
            Kind::Newer => self.flush(),
        }
    }

    /// Writes what is pending.
    pub(crate) fn flush(&mut self) {
        self.flush_at = None;
        if self.pending.is_empty() {
            return;
        }
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&self.file))
            .and_then(|mut file| file.write_all(&self.pending));
        if let Err(error) = written {
            crate::complain(&format!("failed to write {}: {error}", self.file.display()));
        }
        self.pending.clear();
    }
}

/// Finds the file of a session in any project's folder.
pub(crate) fn find(id: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(projects()).ok()?;
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join(format!("{id}.jsonl")))
        .find(|file| file.exists())
}

fn projects() -> PathBuf {
    let configuration = env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| ".".into())).join(".claude");
    configuration.unwrap_or_else(home).join("projects")
}

fn folder_name(cwd: &Path) -> String {
    cwd.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}
