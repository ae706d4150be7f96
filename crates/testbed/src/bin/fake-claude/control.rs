//! The control requests of the supervisor.

use crate::agent::{Agent, Interrupt, Stop, fatal};
use crate::flags::Kind;
use crate::play::may_die_at;
use crate::shapes;
use crate::wire::timestamp;
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};

/// A `set_model` to a model whose server does not answer.
#[derive(Debug)]
pub(crate) struct ModelCheck {
    id: Value,
    model: String,
    pub(crate) due: Instant,
}

const MODES: [&str; 6] = ["acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"];

impl Agent {
    pub(crate) fn take_request(&mut self, line: &Value) -> Result<(), Stop> {
        let (id, request) = (&line["request_id"], &line["request"]);
        if !request.is_object() {
            return fatal("Error: Missing request on control_request");
        }
        let newer = self.facts.kind == Kind::Newer;
        match request["subtype"].as_str().unwrap_or_default() {
            "initialize" => self.initialize(id, request)?,
            "interrupt" => self.interrupt_by_request(id, request)?,
            "set_model" => self.set_model(id, request["model"].as_str())?,
            "set_permission_mode" => self.set_mode(id, request["mode"].as_str())?,
            "cancel_async_message" => self.cancel_queued(id, request["message_uuid"].as_str())?,
            "mcp_status" => self.succeed(id, Some(json!({"mcpServers": []})))?,
            "get_settings" => {
                let applied = json!({"model": self.facts.model, "effort": "high", "ultracode": false});
                self.succeed(id, Some(json!({"effective": {}, "sources": [], "applied": applied})))?;
            }
            "mcp_set_servers" => self.succeed(id, Some(json!({"added": [], "removed": [], "errors": {}})))?,
            "stop_task" => self.succeed(id, Some(json!({})))?,
            "set_max_thinking_tokens" | "apply_flag_settings" => self.succeed(id, None)?,
            "end_session" => {
                self.succeed(id, None)?;
                return Err(Stop::Exit(0));
            }
            "rewind_conversation" if newer => {
                self.refuse(id, "rewind_conversation: target_message_uuid must be a string", None)?;
            }
            "rewind_conversation" => {
                // The real one answers nothing any more and ignores the end of stdin.
                self.wedged = true;
                loop {
                    self.take_input(None)?;
                }
            }
            other => {
                let text = format!("Unsupported control request subtype: {other}");
                self.refuse(id, &text, Some("unsupported_request"))?;
            }
        }
        Ok(())
    }

    /// Answers a request; one without an id is answered without one.
    fn respond(&mut self, id: &Value, mut response: Value, beside: Value) -> io::Result<()> {
        if !id.is_null() {
            response["request_id"] = id.clone();
        }
        let response = shapes::with(response, beside);
        self.wire.line(&json!({"type": "control_response", "response": response}))
    }

    fn succeed(&mut self, id: &Value, payload: Option<Value>) -> io::Result<()> {
        let beside = payload.map_or_else(|| json!({}), |payload| json!({"response": payload}));
        self.respond(id, json!({"subtype": "success"}), beside)
    }

    fn refuse(&mut self, id: &Value, text: &str, code: Option<&str>) -> io::Result<()> {
        let beside = match (code, self.facts.kind) {
            (Some(code), Kind::Newer) => json!({"error_code": code}),
            (Some(_) | None, Kind::Older) | (None, Kind::Newer) => json!({}),
        };
        self.respond(id, json!({"subtype": "error", "error": text}), beside)
    }

    fn initialize(&mut self, id: &Value, request: &Value) -> io::Result<()> {
        may_die_at("handshake");
        if std::env::var_os("FAKE_CLAUDE_NO_HANDSHAKE").is_some() {
            return Ok(());
        }
        self.keep_hooks(&request["hooks"]);
        let asked = self.gates.iter().filter(|gate| gate.is_permission());
        let pending: Vec<Value> = asked.map(|gate| gate.request.clone()).collect();
        let mut beside = json!({"response": shapes::initialized(&self.facts, self.state())});
        if self.facts.kind == Kind::Newer {
            beside["pending_user_dialog_requests"] = json!([]);
        }
        if self.facts.kind == Kind::Newer || !pending.is_empty() {
            beside["pending_permission_requests"] = pending.into();
        }
        self.respond(id, json!({"subtype": "success"}), beside)
    }

    fn interrupt_by_request(&mut self, id: &Value, request: &Value) -> io::Result<()> {
        may_die_at("interrupt");
        if self.ignores_interrupt {
            return Ok(());
        }
        if self.turn.is_none() {
            self.stop_subagents()?;
        } else if self.interrupt.is_none() {
            self.interrupt = Some(Interrupt::Request);
            self.withdraw_gates()?;
        }
        let mut cancelled: Vec<String> = Vec::new();
        if self.facts.kind == Kind::Newer && request["cancel_queued"] == true {
            cancelled = self.queue.drain(..).filter_map(|prompt| prompt.uuid).collect();
            for uuid in &cancelled {
                self.lifecycle(Some(uuid), "cancelled")?;
            }
        }
        let queued: Vec<&String> = self.queue.iter().filter_map(|prompt| prompt.uuid.as_ref()).collect();
        let payload = match self.facts.kind {
            Kind::Older => None,
            Kind::Newer if request["cancel_queued"] == true => {
                Some(json!({"still_queued": queued, "cancelled": cancelled}))
            }
            Kind::Newer => Some(json!({"still_queued": queued})),
        };
        self.succeed(id, payload)?;
        if self.turn.is_none() && self.queue.is_empty() && self.tasks.is_empty() {
            self.change_state("idle")?;
        }
        Ok(())
    }

    fn set_model(&mut self, id: &Value, model: Option<&str>) -> io::Result<()> {
        let model = model.unwrap_or(self.default_model).to_owned();
        if self.facts.kind == Kind::Older {
            self.facts.model.clone_from(&model);
            self.say_model(&model)?;
            return self.succeed(id, None);
        }
        let present = self.facts.model.clone();
        let refusal = match model.as_str() {
            "" => Some(("No such model in the catalog".to_owned(), "catalog_unknown")),
            "lab-404" => Some((format!("Model '{model}' not found"), "not_found")),
            "lab-529" => {
                Some(("API error: 529 lab model 529 · model not changed".to_owned(), "check_server_error"))
            }
            "lab-hang" => {
                let wait = crate::number_from_environment("FAKE_CLAUDE_MODEL_CHECK_MS").unwrap_or(15_000);
                let due = Instant::now() + Duration::from_millis(wait);
                self.check = Some(ModelCheck { id: id.clone(), model, due });
                return Ok(());
            }
            _ => None,
        };
        if let Some((text, code)) = refusal {
            let beside = json!({"error_code": code, "model": present});
            return self.respond(id, json!({"subtype": "error", "error": text}), beside);
        }
        if self.results > 0 && model != present {
            self.say_model(&model)?;
        }
        self.facts.model.clone_from(&model);
        self.succeed(id, Some(json!({"model": model})))
    }

    pub(crate) fn finish_check(&mut self) -> io::Result<()> {
        let Some(ModelCheck { id, model, .. }) = self.check.take() else { return Ok(()) };
        let text = format!(
            "Couldn't confirm model \"{model}\" with the API. Try again, or run /model to see available models."
        );
        let beside = json!({"error_code": "check_unreachable", "model": self.facts.model});
        self.respond(&id, json!({"subtype": "error", "error": text}), beside)
    }

    fn say_model(&mut self, model: &str) -> io::Result<()> {
        let uuid = self.wire.uuid();
        let content = format!("<local-command-stdout>Set model to {model}</local-command-stdout>");
        self.wire.line(&json!({
            "type": "user", "message": {"role": "user", "content": content}, "session_id": self.session.id,
            "parent_tool_use_id": null, "uuid": uuid, "timestamp": timestamp(), "isReplay": true,
        }))
    }

    fn set_mode(&mut self, id: &Value, mode: Option<&str>) -> io::Result<()> {
        let known = mode.filter(|mode| MODES.contains(mode));
        if known.is_none() && self.facts.kind == Kind::Newer {
            let text = format!("Cannot set permission mode: must be one of {}", MODES.join(", "));
            return self.refuse(id, &text, Some("invalid_mode"));
        }
        let mode = mode.unwrap_or_default();
        if mode == "bypassPermissions" && !self.flags.may_bypass {
            let text = "Cannot set permission mode to bypassPermissions because the session was not launched with \
                        --dangerously-skip-permissions";
            return self.refuse(id, text, Some("bypass_not_launched"));
        }
        mode.clone_into(&mut self.facts.mode);
        self.succeed(id, Some(json!({"mode": mode})))
    }

    fn cancel_queued(&mut self, id: &Value, uuid: Option<&str>) -> io::Result<()> {
        let found = self.queue.iter().position(|prompt| prompt.uuid.as_deref() == uuid && uuid.is_some());
        let Some(index) = found else {
            return self.succeed(id, Some(json!({"cancelled": false})));
        };
        let cancelled = self.queue.remove(index).and_then(|prompt| prompt.uuid);
        self.lifecycle(cancelled.as_ref(), "cancelled")?;
        let payload = match self.facts.kind {
            Kind::Older => json!({"cancelled": true}),
            Kind::Newer => json!({"cancelled": true, "message_uuid": cancelled}),
        };
        self.succeed(id, Some(payload))
    }
}
