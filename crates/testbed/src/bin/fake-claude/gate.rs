//! Requests to the host: asking for a permission, waiting for the answer, withdrawing.

use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use crate::hook::Announced;
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

    fn is_elicitation(&self) -> bool {
        self.request["request"]["subtype"] == "elicitation"
    }
}

impl Agent {
    /// Asks about a tool call, because a hook says so if it gives a reason.
    pub(crate) fn ask(&mut self, call: &Call, hook: Option<&Announced>) -> io::Result<()> {
        let Call { id: tool_use_id, name, input, .. } = call;
        self.change_state("requires_action")?;
        if let Some(call) = self.turn.as_mut().and_then(|turn| turn.tool.as_mut()) {
            call.asked = true;
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
        self.gate = Some(Gate::new(request, self.ended));
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

    /// Waits for the answer to the open request, which an interrupt makes unnecessary.
    pub(crate) fn until_answered(&mut self) -> Result<(), Stop> {
        loop {
            self.look()?;
            match &self.gate {
                Some(Gate { answer: Some(_), .. }) => return Ok(()),
                Some(Gate { answer: None, .. }) => self.take_input(None)?,
                None => return Err(Stop::Interrupted),
            }
        }
    }

    /// Waits for what is said about the permission that was asked for.
    pub(crate) fn wait_for_answer(&mut self) -> Result<Verdict, Stop> {
        self.until_answered()?;
        let Some(gate) = self.gate.take() else { return Err(Stop::Interrupted) };
        let input = gate.request["request"]["input"].clone();
        self.change_state("running")?;
        Ok(match gate.into_answer() {
            None => failed("Error: Tool permission stream closed before response received"),
            Some(answer) => self.judge(&answer, input),
        })
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

    /// Takes the answer to the open request; any other is ignored.
    pub(crate) fn take_answer(&mut self, response: &Value) {
        if let Some(gate) =
            self.gate.as_mut().filter(|gate| gate.request["request_id"] == response["request_id"])
        {
            gate.answer.get_or_insert(Answer::Said(response.clone()));
        }
    }

    /// Withdraws the open request, if there is one.
    pub(crate) fn withdraw_gate(&mut self) -> io::Result<()> {
        match self.gate.take() {
            // It goes on waiting for the answer, which then goes to nobody.
            Some(gate) if gate.is_elicitation() && self.facts.kind == Kind::Older => Ok(()),
            Some(gate) => {
                let id = &gate.request["request_id"];
                self.wire.line(&json!({"type": "control_cancel_request", "request_id": id}))
            }
            None => Ok(()),
        }
    }
}

fn failed(reason: &str) -> Verdict {
    Verdict::Refused(format!("Tool permission request failed: {reason}"), By::Person)
}
