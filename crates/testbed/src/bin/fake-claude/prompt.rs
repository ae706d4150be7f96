//! Prompts: taking them, knowing them again, and saying what became of them.

use crate::agent::{Agent, Stop, fatal};
use crate::flags::Kind;
use crate::persistence::Known;
use crate::play::may_die_at;
use crate::wire::timestamp;
use serde_json::{Value, json};
use std::io;

/// A prompt that waits for its turn.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) uuid: Option<String>,
    pub(crate) text: String,
    pub(crate) message: Value,
}

impl Agent {
    /// Takes a prompt: queues it, unless it is known already.
    pub(crate) fn take_prompt(&mut self, line: &Value) -> Result<(), Stop> {
        may_die_at("prompt");
        let role = line["message"]["role"].as_str().unwrap_or("undefined");
        if role != "user" {
            return fatal(&format!("Error: Expected message role 'user', got '{role}'"));
        }
        let uuid = line["uuid"].as_str().map(str::to_owned);
        let prompt =
            Prompt { text: text_of(&line["message"]["content"]), message: line["message"].clone(), uuid };
        if let Some(uuid) = &prompt.uuid {
            let known = self.session.known.get(uuid).copied();
            match (known, self.facts.kind) {
                (None, _) | (Some(Known::CutBefore), Kind::Newer) => {}
                (Some(known), kind) => {
                    if known == Known::AnsweredBefore && kind == Kind::Newer {
                        self.lifecycle(Some(uuid), "completed")?;
                    }
                    return Ok(self.acknowledge(&prompt)?);
                }
            }
            self.session.known.insert(uuid.clone(), Known::Here);
        }
        if self.turn.is_none() {
            self.change_state("running")?;
        }
        self.lifecycle(prompt.uuid.as_ref(), "queued")?;
        self.queue.push_back(prompt);
        Ok(())
    }

    /// Writes the replay of a prompt, if it was asked for.
    pub(crate) fn acknowledge(&mut self, prompt: &Prompt) -> io::Result<()> {
        if !self.flags.replay {
            return Ok(());
        }
        let uuid = prompt.uuid.clone().unwrap_or_else(|| self.wire.uuid());
        self.wire.line(&json!({
            "type": "user", "message": prompt.message, "session_id": self.session.id, "parent_tool_use_id": null,
            "uuid": uuid, "timestamp": timestamp(), "isReplay": true,
        }))
    }

    /// Says what became of a prompt; only the newer version does, and only for prompts that have a uuid.
    pub(crate) fn lifecycle(&mut self, uuid: Option<&String>, state: &str) -> io::Result<()> {
        let (Some(uuid), Kind::Newer) = (uuid, self.facts.kind) else { return Ok(()) };
        let id = self.wire.uuid();
        self.wire.line(&json!({
            "type": "command_lifecycle", "command_uuid": uuid, "state": state, "uuid": id,
            "session_id": self.session.id,
        }))
    }
}

/// Returns the text of a message's content.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
