//! The fold over the lines of one Claude Code process.

use lockkeeper_core::agent::{Action, AgentSays};
use lockkeeper_core::id::{AgentSessionId, AttemptNo, SessionId};

use super::content::{notice, parent};
use super::elicit::Elicitations;
use super::encode;
use super::lax::{Obj, Str, member};
use super::line::{ControlLine, LifecycleLine, Line, Origin, RateLimitLine, ResultLine, SystemLine};
use super::repair::without_lone_surrogates;
use super::stream::{Cut, Streams, key};
use super::tasks::Tasks;
use super::tools::Asks;
use super::turns::{Provenance, Turns};
use super::verdict;
use crate::clip::clip;
use crate::{Decoded, Wire, WireSeed};

/// Claude Code's [`Wire`].
#[derive(Debug)]
pub(super) struct ClaudeWire {
    session: SessionId,
    attempt: AttemptNo,
    conversation: Option<AgentSessionId>,
    model: Option<String>,
    mode: Option<String>,
    pub(super) turns: Turns,
    pub(super) streams: Streams,
    pub(super) asks: Asks,
    pub(super) elicitations: Elicitations,
    tasks: Tasks,
}

impl ClaudeWire {
    pub(super) fn new(seed: WireSeed) -> Self {
        Self {
            session: seed.session,
            attempt: seed.attempt,
            conversation: seed.conversation,
            model: seed.model,
            mode: seed.mode,
            turns: Turns::default(),
            streams: Streams::default(),
            asks: Asks::default(),
            elicitations: Elicitations::default(),
            tasks: Tasks::new(seed.tasks),
        }
    }
}

impl Wire for ClaudeWire {
    fn decode(&mut self, line: &[u8], out: &mut Vec<Decoded>) {
        let from = out.len();
        match std::str::from_utf8(line) {
            Ok(text) => self.read(text, line.len(), out),
            Err(_) => self.read(&String::from_utf8_lossy(line), line.len(), out),
        }
        self.turns.hold(from, out);
        if out.len() == from {
            out.push(Decoded::Says(AgentSays::Alive));
        }
    }

    fn oversized(&mut self, start: &[u8], out: &mut Vec<Decoded>) {
        out.extend(super::control::oversized(&String::from_utf8_lossy(start)));
    }

    fn written(&mut self, bytes: &[u8]) {
        for line in bytes.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<ControlLine<'_>>(line) else { continue };
            match line.kind.text() {
                "user" => self.turns.prompted(line.uuid.get()),
                "control_response" => {
                    if let Some(response) = &line.response.0 {
                        self.asks.answered(response);
                        if let Some(id) = response.request_id {
                            self.elicitations.closed(id);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn encode(&self, action: &Action, prompt_text: &str) -> Vec<u8> {
        encode::encode(action, prompt_text, &self.session, self.attempt)
    }

    fn is_quiet(&self) -> bool {
        self.turns.is_quiet()
            && !self.streams.is_open()
            && self.asks.is_empty()
            && self.elicitations.is_empty()
            && self.tasks.is_quiet()
    }

    fn finish(&mut self, out: &mut Vec<Decoded>) {
        self.turns.finish(out);
        self.streams.finish(out);
    }
}

impl ClaudeWire {
    fn read(&mut self, text: &str, bytes: usize, out: &mut Vec<Decoded>) {
        if !text.trim_start().starts_with('{') {
            // Debug output of the agent's libraries ends up here now and then.
            return malformed("not a JSON object".to_owned(), bytes, out);
        }
        let from = out.len();
        let Err(error) = self.try_read(text, out) else { return };
        out.truncate(from);
        if error.is_data() {
            // JSON, but of a shape that we do not know.
            out.push(Decoded::Says(AgentSays::Unrecognized { kind: "unreadable".to_owned() }));
            return;
        }
        let fixed = without_lone_surrogates(text);
        if fixed.is_none_or(|fixed| self.try_read(&fixed, out).is_err()) {
            out.truncate(from);
            malformed(error.to_string(), bytes, out);
        }
    }

    /// Reads a line. Every part of it is read before anything is changed.
    fn try_read(&mut self, text: &str, out: &mut Vec<Decoded>) -> serde_json::Result<()> {
        let line: Line<'_> = serde_json::from_str(text)?;
        match line.kind.text() {
            "stream_event" => {
                if let Some(event) = &line.event.0 {
                    self.streams.event(parent(&line), event, out);
                }
            }
            "assistant" => {
                let rest = serde_json::from_str(text)?;
                self.assistant(line, &rest, out);
            }
            "user" => {
                let rest = serde_json::from_str(text)?;
                self.user(&line, &rest, out);
            }
            "result" => self.result(&serde_json::from_str(text)?, out),
            "system" => {
                let rest = serde_json::from_str(text)?;
                self.system(&line, &rest, out);
            }
            "command_lifecycle" => {
                let line: LifecycleLine<'_> = serde_json::from_str(text)?;
                if !self.turns.lifecycle(line.command_uuid.text(), line.state.text(), out) {
                    unrecognized(&format!("command_lifecycle/{}", line.state.text()), out);
                }
            }
            "control_request" | "control_response" | "control_cancel_request" => {
                self.control(&serde_json::from_str(text)?, text.len(), out);
            }
            "rate_limit_event" => {
                let RateLimitLine { rate_limit_info: Obj(info) } = serde_json::from_str(text)?;
                out.extend(info.and_then(|info| info.limit()).map(Decoded::Says));
            }
            kind if KNOWN.contains(&kind) => {}
            kind => unrecognized(kind, out),
        }
        Ok(())
    }

    fn system(&mut self, line: &Line<'_>, rest: &SystemLine<'_>, out: &mut Vec<Decoded>) {
        match line.subtype.text() {
            "init" => {
                self.named(rest.session_id.get(), out);
                self.using(rest.model.get(), rest.permission_mode.get(), out);
                let capabilities: Vec<Str<'_>> = member(rest.capabilities);
                let announces = capabilities.iter().any(|it| it.text() == "msg_lifecycle_v1");
                self.turns.begin(announces, out);
            }
            "status" => self.using(None, rest.permission_mode.get(), out),
            "api_retry" => {
                self.streams.close(parent(line).as_ref(), Cut::Restarted, out);
                out.push(Decoded::Says(AgentSays::Retrying {
                    attempt: rest.attempt.u32(),
                    of: rest.max_retries.u32(),
                    delay_ms: rest.retry_delay_ms.scaled(1.0).unwrap_or(0),
                    reason: retry_reason(rest),
                }));
            }
            "task_started" => self.tasks.started(rest, out),
            "task_updated" => self.tasks.updated(rest, out),
            "task_notification" => {
                self.turns.notified();
                self.tasks.notified(rest, out);
                self.asks.agent_ended(rest.task_id.text());
                if let Some(call) = rest.tool_use_id.get() {
                    self.streams.close(Some(&key(call)), Cut::Ended, out);
                }
            }
            "background_tasks_changed" => self.tasks.replaced(rest, out),
            "elicitation_complete" => self.elicitations.completed(rest, out),
            "permission_denied" => self.asks.denied_by_agent(rest.tool_use_id.text()),
            "model_refusal_no_fallback" => {
                if let Some(signs) = self.turns.signs() {
                    signs.refused = true;
                }
            }
            "informational" => {
                let text = rest.content.text();
                if !text.is_empty() {
                    out.push(notice(key(line.uuid.text()), parent(line), text.into()));
                }
            }
            subtype if KNOWN_SYSTEM.contains(&subtype) => {}
            subtype => unrecognized(&format!("system/{subtype}"), out),
        }
    }

    fn result(&mut self, line: &ResultLine<'_>, out: &mut Vec<Decoded>) {
        if self.turns.is_open() {
            self.named(line.session_id.get(), out);
        } else if let Some(message) = verdict::conversation_lost(line) {
            out.push(Decoded::Says(AgentSays::ConversationLost { message }));
            return;
        }
        self.streams.close(None, if verdict::aborted(line) { Cut::Ended } else { Cut::Restarted }, out);
        let uuids: Vec<Str<'_>> = member(line.user_message_uuids);
        let uuids: Vec<&str> = uuids.iter().map(Str::text).collect();
        let origin: Origin<'_> = member(line.origin);
        let provenance = Provenance { origin: origin.kind.get().is_some(), prompts: &uuids };
        let ended = self.turns.end(&provenance, out);
        self.asks.turn_ended(out);
        self.tasks.turn_ended();
        let ending = verdict::judge(line, &ended.signs);
        ended.say(ending, verdict::usage(line), out);
    }

    /// The conversation has this name.
    fn named(&mut self, id: Option<&str>, out: &mut Vec<Decoded>) {
        let Some(id) = id.and_then(|id| id.parse::<AgentSessionId>().ok()) else { return };
        if self.conversation.as_ref() != Some(&id) {
            self.conversation = Some(id.clone());
            out.push(Decoded::Says(AgentSays::Conversation { id }));
        }
    }

    /// The agent works with this model and mode; what is none is as it was.
    fn using(&mut self, model: Option<&str>, mode: Option<&str>, out: &mut Vec<Decoded>) {
        let model = model.filter(|model| self.model.as_deref() != Some(model)).map(str::to_owned);
        let mode = mode.filter(|mode| self.mode.as_deref() != Some(mode)).map(str::to_owned);
        if model.is_none() && mode.is_none() {
            return;
        }
        self.model = model.or(self.model.take());
        self.mode = mode.or(self.mode.take());
        out.push(Decoded::Says(AgentSays::Using { model: self.model.clone(), mode: self.mode.clone() }));
    }
}

/// Top-level types that say nothing that matters here.
const KNOWN: [&str; 9] = [
    "active_goal",
    "auth_status",
    "conversation_reset",
    "keep_alive",
    "prompt_suggestion",
    "streamlined_text",
    "tool_progress",
    "tool_use_summary",
    "transcript_mirror",
];

/// Subtypes of `system` that say nothing that matters here.
const KNOWN_SYSTEM: [&str; 19] = [
    "commands_changed",
    "compact_boundary",
    "control_request_progress",
    "files_persisted",
    "hook_progress",
    "hook_response",
    "hook_started",
    "memory_recall",
    "model_fallback",
    "model_refusal_fallback",
    "notification",
    "plugin_install",
    "session_state_changed",
    "session_title_changed",
    "session_writes_lost",
    "task_progress",
    "thinking_tokens",
    "tool_use_summary",
    "worker_shutting_down",
];

fn retry_reason(line: &SystemLine<'_>) -> String {
    match (line.error.get(), line.error_status.0) {
        (Some(error), Some(status)) => format!("{} ({status})", clip(error)),
        (Some(error), None) => clip(error),
        (None, Some(status)) => status.to_string(),
        (None, None) => "unknown".to_owned(),
    }
}

pub(super) fn malformed(why: String, bytes: usize, out: &mut Vec<Decoded>) {
    out.push(Decoded::Says(AgentSays::Malformed { why, bytes: u64::try_from(bytes).unwrap_or(u64::MAX) }));
}

pub(super) fn unrecognized(kind: &str, out: &mut Vec<Decoded>) {
    let kind = if kind.is_empty() { "without a type" } else { kind };
    out.push(Decoded::Says(AgentSays::Unrecognized { kind: kind.chars().take(80).collect() }));
}
