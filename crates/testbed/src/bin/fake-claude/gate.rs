//! Requests to the host: asking for a permission, waiting for the answer, withdrawing.

use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use crate::hook::Announced;
use crate::play::may_die_at;
use crate::turn::Call;
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// An open request: for a permission, or for what is said of an announced call.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The whole line, as it was sent.
    pub(crate) request: Value,
    answer: Option<Answer>,
}

#[derive(Clone, Debug)]
enum Answer {
    Said(Value),
    /// Stdin ended first.
    Closed,
}

/// Where it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Where it was asked, or nobody had to be asked.
    Person,
    Hook,
}

/// What a tool call may do.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Run(Value, By),
    Refused(String, By),
    /// Nobody was there to say anything, and the newer version does not go on alone.
    Cancelled(String),
    /// Refused, and the turn ends.
    Abort,
}

impl Gate {
    /// A request that was sent, or that could not be because stdin has ended.
    pub(crate) fn new(request: Value, ended: bool) -> Self {
        Self { request, answer: ended.then_some(Answer::Closed) }
    }

    /// Nobody can answer any more.
    pub(crate) fn close(&mut self) {
        self.answer.get_or_insert(Answer::Closed);
    }

    /// Whether something was said, or nobody can say anything any more.
    pub(crate) fn is_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// What was answered; none if nobody could.
    pub(crate) fn into_answer(self) -> Option<Value> {
        match self.answer {
            Some(Answer::Said(answer)) => Some(answer),
            Some(Answer::Closed) | None => None,
        }
    }

    /// Whether it is about a permission, and not the announcement of a call or what a server asks.
    pub(crate) fn is_permission(&self) -> bool {
        self.request["request"]["subtype"] == "can_use_tool"
    }

    pub(crate) fn is_elicitation(&self) -> bool {
        self.request["request"]["subtype"] == "elicitation"
    }
}

impl Agent {
    /// Asks about a tool call, because a hook says so if it gives a reason.
    pub(crate) fn ask(&mut self, call: &Call, hook: Option<&Announced>) -> io::Result<()> {
        let Call { id: tool_use_id, name, input, .. } = call;
        self.change_state("requires_action")?;
        for call in self.turn.iter_mut().flat_map(|turn| &mut turn.calls) {
            call.asked |= call.id == *tool_use_id;
        }
        let mut request = json!({
            "subtype": "can_use_tool", "tool_name": name, "display_name": name, "input": input,
            "tool_use_id": tool_use_id,
        });
        let accept_edits = json!({"type": "setMode", "mode": "acceptEdits", "destination": "session"});
        match name.as_str() {
            "AskUserQuestion" => {
                if self.facts.kind == Kind::Newer {
                    request["requires_user_interaction"] = true.into();
                }
            }
            "Bash" => {
                let rules = json!([{"toolName": "Bash", "ruleContent": input["command"]}]);
                let rule = json!({"type": "addRules", "rules": rules, "behavior": "allow", "destination": "localSettings"});
                let folder = json!({
                    "type": "addDirectories", "directories": [self.facts.cwd], "destination": "session",
                });
                request["description"] = input["description"].clone();
                request["permission_suggestions"] = json!([rule, folder, accept_edits]);
                request["blocked_path"] = self.facts.cwd.clone().into();
            }
            _ => {
                let path = Path::new(input["file_path"].as_str().unwrap_or(name));
                let short = path.file_name().unwrap_or_default().to_string_lossy();
                request["description"] = short.into();
                request["permission_suggestions"] = json!([accept_edits]);
            }
        }
        if let Some(Announced::Asked(reason)) = hook {
            self.note_hook(&mut request, reason.as_deref());
        }
        let request = json!({"type": "control_request", "request_id": self.wire.uuid(), "request": request});
        self.wire.line(&request)?;
        self.gates.push(Gate::new(request, self.ended));
        may_die_at("gate");
        Ok(())
    }

    /// What a hook asks about has its reason, and no suggestions.
    fn note_hook(&self, request: &mut Value, reason: Option<&str>) {
        if let Some(members) = request.as_object_mut() {
            members.remove("permission_suggestions");
            members.remove("blocked_path");
        }
        if let Some(reason) = reason {
            request["decision_reason"] = reason.into();
        }
        request["decision_reason_type"] = "hook".into();
        if self.facts.kind == Kind::Newer {
            request["decision_reason_hook_event"] = "PreToolUse".into();
            request["decision_reason_hook_source"] = "settings".into();
        }
    }

    /// Waits until one of such open requests is answered, and takes it; an interrupt makes all answers unnecessary.
    pub(crate) fn until_answered(&mut self, such: fn(&Gate) -> bool) -> Result<Gate, Stop> {
        loop {
            self.look()?;
            if let Some(first) = self.gates.iter().position(|gate| such(gate) && gate.answer.is_some()) {
                return Ok(self.gates.remove(first));
            }
            if !self.gates.iter().any(such) {
                return Err(Stop::Interrupted);
            }
            self.take_input(None)?;
        }
    }

    /// Waits for what is said about a permission that was asked for; tells of which call.
    pub(crate) fn wait_for_answer(&mut self) -> Result<(Value, Verdict), Stop> {
        let gate = self.until_answered(Gate::is_permission)?;
        let asked = gate.request["request"].clone();
        if self.gates.is_empty() {
            self.change_state("running")?;
        }
        let verdict = match gate.into_answer() {
            None => failed("Error: Tool permission stream closed before response received"),
            Some(answer) => self.judge(&answer, asked["input"].clone()),
        };
        Ok((asked["tool_use_id"].clone(), verdict))
    }

    fn judge(&mut self, answer: &Value, input: Value) -> Verdict {
        if answer["subtype"] != "success" {
            return failed(&format!("Error: {}", answer["error"].as_str().unwrap_or_default()));
        }
        let decision = &answer["response"];
        match (decision["behavior"].as_str(), decision.get("updatedInput"), decision["message"].as_str()) {
            (Some("allow"), Some(updated), _) if updated.is_object() => {
                for update in decision["updatedPermissions"].as_array().into_iter().flatten() {
                    if let (Some("setMode"), Some(mode)) = (update["type"].as_str(), update["mode"].as_str())
                    {
                        mode.clone_into(&mut self.facts.mode);
                    }
                }
                Verdict::Run(updated.clone(), By::Person)
            }
            (Some("allow"), None, _) if self.facts.kind == Kind::Newer => Verdict::Run(input, By::Person),
            (Some("deny"), _, Some(_)) if decision["interrupt"] == true => Verdict::Abort,
            (Some("deny"), _, Some(message)) => Verdict::Refused(message.to_owned(), By::Person),
            _ if self.facts.kind == Kind::Older => {
                failed("ZodError: [\n  {\n    \"code\": \"invalid_union\"\n  }\n]")
            }
            _ => {
                let text = "The canUseTool callback returned an invalid permission result.";
                Verdict::Refused(text.to_owned(), By::Person)
            }
        }
    }

    /// Takes the answer to an open request; any other is ignored.
    pub(crate) fn take_answer(&mut self, response: &Value) {
        may_die_at("answer");
        let mut gates = self.gates.iter_mut();
        if let Some(gate) = gates.find(|gate| gate.request["request_id"] == response["request_id"]) {
            gate.answer.get_or_insert(Answer::Said(response.clone()));
        }
    }

    /// Withdraws all open requests.
    pub(crate) fn withdraw_gates(&mut self) -> io::Result<()> {
        for gate in self.gates.drain(..) {
            // The older version goes on waiting for what a server asked, and the answer then goes to nobody.
            if gate.is_elicitation() && self.facts.kind == Kind::Older {
                continue;
            }
            let id = &gate.request["request_id"];
            self.wire.line(&json!({"type": "control_cancel_request", "request_id": id}))?;
        }
        Ok(())
    }
}

fn failed(reason: &str) -> Verdict {
    Verdict::Refused(format!("Tool permission request failed: {reason}"), By::Person)
}
