//! One turn: how it begins, how it ends, and what it remembers in between.

use crate::agent::{Agent, Interrupt, Stop};
use crate::background::Task;
use crate::directive::{self, Step};
use crate::flags::Kind;
use crate::play::may_die_at;
use crate::prompt::Prompt;
use crate::result::{self, Ending, Report};
use crate::shapes;
use crate::wire::{now_ms, timestamp};
use serde_json::{Value, json};
use std::time::Instant;
use std::{io, mem};

/// A tool call that waits for an answer or runs.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) input: Value,
    /// Somebody was asked about it.
    pub(crate) asked: bool,
}

/// A turn that runs.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each notes one thing that happened")]
pub(crate) struct Turn {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) uuids: Vec<String>,
    origin: Option<Value>,
    started: Instant,
    /// Requests to the model that there would have been.
    pub(crate) rounds: u32,
    /// The last complete text.
    pub(crate) said: String,
    /// The message that is being streamed, and its text so far.
    pub(crate) open: Option<(String, String)>,
    pub(crate) block: usize,
    /// The tool calls that are not over.
    pub(crate) calls: Vec<Call>,
    /// Nothing has come from the model.
    pub(crate) silent: bool,
    /// The first message names the prompts that it answers.
    pub(crate) named_prompts: bool,
    pub(crate) acknowledged: bool,
    pub(crate) denials: Vec<Value>,
    pub(crate) fails_when_interrupted: bool,
}

impl Turn {
    pub(crate) fn new(prompts: Vec<Prompt>, origin: Option<Value>) -> Self {
        Self {
            uuids: prompts.iter().filter_map(|prompt| prompt.uuid.clone()).collect(),
            prompts,
            origin,
            started: Instant::now(),
            rounds: 0,
            said: String::new(),
            open: None,
            block: 0,
            calls: Vec::new(),
            silent: true,
            named_prompts: false,
            acknowledged: false,
            denials: Vec::new(),
            fails_when_interrupted: false,
        }
    }
}

impl Agent {
    /// Answers prompts with one turn.
    pub(crate) fn answer(&mut self, prompts: Vec<Prompt>) -> Result<(), Stop> {
        let steps: Vec<Step> = prompts.iter().flat_map(|prompt| directive::script(&prompt.text)).collect();
        self.facts.key_source =
            if steps.iter().any(|step| matches!(step, Step::Login)) { "none" } else { "ANTHROPIC_API_KEY" };
        for prompt in &prompts {
            self.lifecycle(prompt.uuid.as_ref(), "started")?;
            let uuid = prompt.uuid.clone().unwrap_or_else(|| self.wire.uuid());
            self.session.note_prompt(&uuid, &prompt.text);
        }
        self.turn = Some(Turn::new(prompts, None));
        self.begin_turn()?;
        let played = self.play(steps);
        self.end_turn(played)
    }

    /// Writes the line that opens every turn.
    pub(crate) fn begin_turn(&mut self) -> io::Result<()> {
        self.change_state("running")?;
        let uuid = self.wire.uuid();
        let uuids = self.turn.as_ref().map_or(&[][..], |turn| &turn.uuids);
        self.wire.line(&shapes::init(&self.facts, &uuid, uuids))
    }

    /// Writes what ends a turn, however it went.
    pub(crate) fn end_turn(&mut self, played: Result<Ending, Stop>) -> Result<(), Stop> {
        let ending = match played {
            Ok(ending) => ending,
            Err(Stop::Exit(code)) => return Err(Stop::Exit(code)),
            Err(Stop::Interrupted) => self.abort()?,
        };
        if let Ending::Failed { status, kind, error, text } = &ending {
            self.failure_line(*status, *kind, error, text)?;
        }
        let by_signal = self.interrupt.take() == Some(Interrupt::Sigint);
        self.withdraw_gates()?;
        let Some(turn) = self.turn.take() else { return Ok(()) };
        let uuid = self.wire.uuid();
        let report = Report {
            uuid,
            uuids: &turn.uuids,
            origin: turn.origin.clone(),
            denials: &turn.denials,
            said: &turn.said,
            rounds: turn.rounds,
            duration_ms: u64::try_from(turn.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            index: self.results,
            now_ms: now_ms(),
        };
        let line = result::line(&self.facts, &ending, &report);
        self.wire.line(&line)?;
        may_die_at("result");
        self.results += 1;
        self.last_failed = line["is_error"] == true;
        if by_signal {
            return Err(Stop::Exit(0));
        }
        let state = if matches!(ending, Ending::Completed) { "completed" } else { "cancelled" };
        for uuid in &turn.uuids {
            self.lifecycle(Some(uuid), state)?;
        }
        if self.queue.is_empty() && !self.tasks.iter().any(Task::holds_idle) {
            self.change_state("idle")?;
        }
        Ok(())
    }

    /// Says what an interrupt leaves of a turn.
    pub(crate) fn abort(&mut self) -> Result<Ending, Stop> {
        let by_signal = self.interrupt == Some(Interrupt::Sigint);
        self.withdraw_gates()?;
        let Some(turn) = &mut self.turn else { return Ok(Ending::AbortedStreaming) };
        if turn.fails_when_interrupted {
            return Ok(api_failure(500, "failed while it was interrupted"));
        }
        if by_signal && turn.silent {
            // The newer version says that much, and neither gives a result.
            if self.facts.kind == Kind::Newer {
                self.interrupted_line("[Request interrupted by user]")?;
            }
            return Err(Stop::Exit(0));
        }
        let calls = mem::take(&mut turn.calls);
        if !calls.is_empty() {
            return Ok(self.abort_calls(&calls)?);
        }
        let partial = turn.open.as_ref().map(|(_, text)| text.clone()).unwrap_or_default();
        if !partial.is_empty() {
            if self.facts.kind == Kind::Older {
                self.acknowledge_prompts()?;
            }
            let mut line = self.assistant_line(&json!({"type": "text", "text": partial}));
            if self.facts.kind == Kind::Newer {
                line["aborted"] = true.into();
            }
            self.wire.line(&line)?;
        }
        self.interrupted_line("[Request interrupted by user]")?;
        Ok(Ending::AbortedStreaming)
    }

    fn failure_line(
        &mut self,
        status: Option<u16>,
        kind: Option<&str>,
        error: &str,
        text: &str,
    ) -> io::Result<()> {
        self.acknowledge_prompts()?;
        let (id, uuid) = (self.wire.uuid(), self.wire.uuid());
        let mut line = json!({
            "type": "assistant", "message": shapes::synthetic_message(&self.facts, &id, text),
            "parent_tool_use_id": null, "session_id": self.session.id, "uuid": uuid, "error": error,
        });
        if status.is_some() {
            line["request_id"] = self.wire.id("req").into();
        }
        if self.facts.kind == Kind::Newer {
            line["timestamp"] = timestamp().into();
            line["is_api_error_message"] = true.into();
            if status.is_some() {
                line["api_error_status"] = status.into();
                line["api_error_type"] = kind.into();
            }
            if let Some(turn) = &self.turn {
                line = shapes::with(line, shapes::answering(&turn.uuids));
            }
        }
        self.wire.line(&line)
    }
}

/// Makes the ending of a turn whose request the API refused; status 0 is a connection that failed.
pub(crate) fn api_failure(status: u16, text: &str) -> Ending {
    let (kind, error) = match status {
        0 => (None, "server_error"),
        401 => (Some("authentication_error"), "authentication_failed"),
        403 => (Some("permission_error"), "authentication_failed"),
        429 => (Some("rate_limit_error"), "rate_limit"),
        529 => (Some("overloaded_error"), "server_error"),
        400 => (Some("invalid_request_error"), "unknown"),
        404 => (Some("not_found_error"), "unknown"),
        _ => (Some("api_error"), "server_error"),
    };
    let text = match status {
        0 => format!("API Error: Unable to connect to API ({text})"),
        401 => format!("Failed to authenticate. API Error: 401 {text}"),
        429 => format!("API Error: Request rejected (429) · {text}"),
        status => format!("API Error: {status} {text}"),
    };
    Ending::Failed { status: (status != 0).then_some(status), kind, error, text }
}
