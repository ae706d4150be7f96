//! Permission requests: asking, waiting for the answer, withdrawing.

use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use serde_json::{Value, json};
use std::io;
use std::path::Path;

/// An open permission request.
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

/// What a tool call may do.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Run(Value),
    Refused(String),
    /// Refused, and the turn ends.
    Abort,
}

impl Gate {
    /// Nobody can answer any more.
    pub(crate) fn close(&mut self) {
        self.answer.get_or_insert(Answer::Closed);
    }
}

impl Agent {
    /// Asks about a tool call.
    pub(crate) fn ask(&mut self, name: &str, input: &Value, tool_use_id: &str) -> io::Result<()> {
        self.change_state("requires_action")?;
        let mut request = json!({
            "subtype": "can_use_tool", "tool_name": name, "display_name": name, "input": input,
            "tool_use_id": tool_use_id,
        });
        let accept_edits = json!({"type": "setMode", "mode": "acceptEdits", "destination": "session"});
        match name {
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
        let request = json!({"type": "control_request", "request_id": self.wire.uuid(), "request": request});
        self.wire.line(&request)?;
        self.gate = Some(Gate { request, answer: self.ended.then_some(Answer::Closed) });
        Ok(())
    }

    /// Waits for the answer, which an interrupt makes unnecessary.
    pub(crate) fn wait_for_answer(&mut self) -> Result<Verdict, Stop> {
        let answer = loop {
            self.look()?;
            match self.gate.as_mut().map(|gate| gate.answer.take()) {
                Some(Some(answer)) => break answer,
                Some(None) => self.take_input(None)?,
                None => return Err(Stop::Interrupted),
            }
        };
        let input = self.gate.take().map(|gate| gate.request["request"]["input"].clone()).unwrap_or_default();
        self.change_state("running")?;
        Ok(match answer {
            Answer::Closed => failed("Error: Tool permission stream closed before response received"),
            Answer::Said(answer) => self.judge(&answer, input),
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
                Verdict::Run(updated.clone())
            }
            (Some("allow"), None, _) if self.facts.kind == Kind::Newer => Verdict::Run(input),
            (Some("deny"), _, Some(_)) if decision["interrupt"] == true => Verdict::Abort,
            (Some("deny"), _, Some(message)) => Verdict::Refused(message.to_owned()),
            _ if self.facts.kind == Kind::Older => {
                failed("ZodError: [\n  {\n    \"code\": \"invalid_union\"\n  }\n]")
            }
            _ => {
                Verdict::Refused("The canUseTool callback returned an invalid permission result.".to_owned())
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
            Some(gate) => {
                let id = &gate.request["request_id"];
                self.wire.line(&json!({"type": "control_cancel_request", "request_id": id}))
            }
            None => Ok(()),
        }
    }
}

fn failed(reason: &str) -> Verdict {
    Verdict::Refused(format!("Tool permission request failed: {reason}"))
}
