//! What goes out: one JSON object per line.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write as _};

use serde_json::{Value, json};

use crate::context::VERSION;

/// The way out, and what every line carries.
pub(super) struct Wire {
    pub(super) session: String,
    pub(super) model: String,
    pub(super) mode: String,
    pub(super) cwd: String,
    /// Under what name it announces its tools, if somebody wants that.
    hook: Option<String>,
    salt: u64,
    count: u64,
}

/// What the agent calls its model.
const MODEL: &str = "demo";

impl Wire {
    pub(super) fn new(
        session: Option<String>,
        model: Option<String>,
        mode: Option<String>,
    ) -> io::Result<Self> {
        let cwd = std::env::current_dir()?.to_string_lossy().into_owned();
        let mut wire = Self {
            session: String::new(),
            model: model.unwrap_or_else(|| MODEL.to_owned()),
            mode: mode.unwrap_or_else(|| "default".to_owned()),
            cwd,
            hook: None,
            // Each hasher is keyed anew, by randomness of the system.
            salt: RandomState::new().build_hasher().finish(),
            count: 0,
        };
        wire.session = session.unwrap_or_else(|| wire.uuid());
        Ok(wire)
    }

    /// A fresh id of the form of a UUID.
    pub(super) fn uuid(&mut self) -> String {
        self.count += 1;
        let (a, b) = (self.salt >> 32, self.salt & 0xffff_ffff);
        format!("{a:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", b >> 16, b & 0xfff, a & 0xfff, self.count)
    }

    /// A fresh id of a message or a tool call.
    pub(super) fn id(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}_demo{:016x}{:04x}", self.salt, self.count)
    }

    /// Writes a line, with the ids that every line has.
    pub(super) fn line(&mut self, mut line: Value) -> io::Result<()> {
        let uuid = self.uuid();
        if let Value::Object(members) = &mut line {
            members.entry("session_id").or_insert_with(|| json!(self.session));
            members.entry("uuid").or_insert_with(|| json!(uuid));
        }
        write(&line)
    }

    /// The beginning of a turn.
    pub(super) fn init(&mut self) -> io::Result<()> {
        self.line(json!({
            "type": "system", "subtype": "init", "cwd": self.cwd, "tools": ["Glob", "Write"], "mcp_servers": [],
            "model": self.model, "permissionMode": self.mode, "slash_commands": [], "apiKeySource": "none",
            "claude_code_version": VERSION, "output_style": "default", "agents": [], "skills": [], "plugins": [],
        }))
    }

    /// An event of a model's stream.
    pub(super) fn stream(&mut self, event: &Value) -> io::Result<()> {
        self.line(json!({"type": "stream_event", "event": event, "parent_tool_use_id": null}))
    }

    /// A finished block of a message.
    pub(super) fn assistant(&mut self, message: &str, block: &Value) -> io::Result<()> {
        self.line(json!({
            "type": "assistant", "parent_tool_use_id": null,
            "message": {
                "id": message, "type": "message", "role": "assistant", "model": self.model, "content": [block],
                "stop_reason": null, "stop_sequence": null, "usage": usage(),
            },
        }))
    }

    /// What came of a tool call.
    pub(super) fn tool_result(&mut self, call: &str, text: &str, is_error: bool) -> io::Result<()> {
        let result =
            json!({"type": "tool_result", "tool_use_id": call, "content": text, "is_error": is_error});
        self.line(json!({
            "type": "user", "message": {"role": "user", "content": [result]}, "parent_tool_use_id": null,
        }))
    }

    /// Answers a request that does not concern a turn.
    pub(super) fn control(&mut self, id: &Value, request: &Value) -> io::Result<()> {
        let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        match request.get("subtype").and_then(Value::as_str) {
            Some("initialize") => {
                let hook = request.pointer("/hooks/PreToolUse/0/hookCallbackIds/0").and_then(Value::as_str);
                self.hook = hook.map(str::to_owned);
                answer(
                    id,
                    Some(json!({
                        "commands": [], "agents": [], "output_style": "default", "available_output_styles": ["default"],
                        "models": [{"value": MODEL, "displayName": "Demonstration"}], "account": {},
                        "pid": std::process::id(), "claude_code_version": VERSION,
                    })),
                )
            }
            Some("interrupt" | "end_session") => answer(id, None),
            Some("set_model") => {
                self.model = text("model").unwrap_or_else(|| MODEL.to_owned());
                answer(id, None)
            }
            Some("set_permission_mode") => {
                self.mode = text("mode").unwrap_or_else(|| "default".to_owned());
                answer(id, Some(json!({"mode": self.mode})))
            }
            other => {
                let error = format!("Unsupported control request subtype: {}", other.unwrap_or("none"));
                write(&json!({
                    "type": "control_response",
                    "response": {"subtype": "error", "request_id": id, "error": error},
                }))
            }
        }
    }

    /// Announces a tool to whoever wanted that. Tells the id of the request.
    pub(super) fn announce(&mut self, call: &str, tool: &str, input: &Value) -> io::Result<Option<String>> {
        let Some(hook) = self.hook.clone() else { return Ok(None) };
        let id = self.uuid();
        write(&json!({
            "type": "control_request", "request_id": id,
            "request": {
                "subtype": "hook_callback", "callback_id": hook, "tool_use_id": call,
                "input": {
                    "session_id": self.session, "cwd": self.cwd, "permission_mode": self.mode,
                    "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": input, "tool_use_id": call,
                },
            },
        }))?;
        Ok(Some(id))
    }

    /// Asks whether a tool may run, under a fresh id.
    pub(super) fn ask(&mut self, call: &str, tool: &str, input: &Value, path: &str) -> io::Result<String> {
        let id = self.uuid();
        write(&json!({
            "type": "control_request", "request_id": id,
            "request": {
                "subtype": "can_use_tool", "tool_name": tool, "display_name": tool, "input": input,
                "description": format!("Write {path}"), "permission_suggestions": [], "tool_use_id": call,
            },
        }))?;
        Ok(id)
    }

    /// The end of a turn.
    pub(super) fn result(&mut self, end: Value) -> io::Result<()> {
        let mut line = json!({
            "type": "result", "duration_ms": 0, "duration_api_ms": 0, "total_cost_usd": 0.0, "usage": usage(),
            "modelUsage": {}, "permission_denials": [], "api_error_status": null,
        });
        if let (Value::Object(members), Value::Object(end)) = (&mut line, end) {
            members.extend(end);
        }
        self.line(line)
    }
}

/// Answers a request.
fn answer(id: &Value, payload: Option<Value>) -> io::Result<()> {
    let mut response = json!({"subtype": "success", "request_id": id});
    if let (Value::Object(members), Some(payload)) = (&mut response, payload) {
        members.insert("response".to_owned(), payload);
    }
    write(&json!({"type": "control_response", "response": response}))
}

/// Takes a question back.
pub(super) fn cancel(id: &str) -> io::Result<()> {
    write(&json!({"type": "control_cancel_request", "request_id": id}))
}

/// No model reads or writes anything here.
fn usage() -> Value {
    json!({"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0})
}

fn write(line: &Value) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()
}

/// Says why there is no going on, on standard error.
pub(super) fn complain(what: &str) {
    // There is nowhere else to say it.
    let _ = writeln!(io::stderr().lock(), "{what}");
}
