//! The hook before tools: the host is told of every call first, and may refuse it or let it run unasked.

use crate::agent::{Agent, Stop};
use crate::flags::Kind;
use crate::gate::{By, Gate, Verdict};
use crate::turn::Call;
use serde_json::{Value, json};
use std::env;
use std::io;

const CANCELLED: &str = "The user doesn't want to take this action right now. STOP what you are doing and wait for the \
                         user to tell you how to proceed.";

/// A hook before tools that the host declared.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    callback: Value,
    /// An answer that cannot be read refuses the call, in the newer version.
    blocks: bool,
}

/// What the host said of a call.
#[derive(Debug)]
pub(crate) enum Announced {
    /// Nothing: it goes its own way.
    Passed,
    /// It is to be asked about, with this reason, also if it would not be.
    Asked(Option<String>),
    Decided(Verdict),
}

impl Agent {
    /// Keeps the hook of an `initialize`. The older version has those of its first one for good.
    pub(crate) fn keep_hooks(&mut self, hooks: &Value) {
        if !hooks.is_object() || (self.facts.kind == Kind::Older && self.hook.is_some()) {
            return;
        }
        // The matchers are not looked at: every tool is meant.
        let first = &hooks["PreToolUse"][0];
        let callback = &first["hookCallbackIds"][0];
        self.hook = callback
            .is_string()
            .then(|| Hook { callback: callback.clone(), blocks: first["onFailure"] == "block" });
    }

    /// Tells the host of a call.
    pub(crate) fn announce_call(&mut self, hook: &Hook, call: &Call) -> io::Result<()> {
        let effort = match self.facts.kind {
            Kind::Older => "high",
            Kind::Newer => "medium",
        };
        let home = env::var("CLAUDE_CONFIG_DIR").unwrap_or_else(|_unset| "/nowhere".to_owned());
        let input = json!({
            "session_id": self.session.id, "transcript_path": format!("{home}/{}.jsonl", self.session.id),
            "cwd": self.facts.cwd, "prompt_id": self.wire.uuid(), "permission_mode": self.facts.mode,
            "effort": {"level": effort}, "hook_event_name": "PreToolUse", "tool_name": call.name,
            "tool_input": call.input, "tool_use_id": call.id,
        });
        let request = json!({
            "subtype": "hook_callback", "callback_id": hook.callback, "input": input, "tool_use_id": call.id,
        });
        let request = json!({"type": "control_request", "request_id": self.wire.uuid(), "request": request});
        // When nobody can answer, nobody is told either.
        if !self.ended {
            self.wire.line(&request)?;
        }
        self.gates.push(Gate::new(request, self.ended));
        Ok(())
    }

    /// Waits for what the host says of the call that it was told of.
    pub(crate) fn wait_for_hook(&mut self, hook: &Hook, call: &Call) -> Result<Announced, Stop> {
        let answer = self.until_answered(|gate| !gate.is_permission())?.into_answer();
        let kind = self.facts.kind;
        let Some(answer) = answer else {
            // Stdin ended: the older one goes on as if nobody had been to be told.
            return Ok(match kind {
                Kind::Older => Announced::Passed,
                Kind::Newer => Announced::Decided(Verdict::Cancelled(CANCELLED.to_owned())),
            });
        };
        Ok(match judge(&answer, call, kind) {
            Some(announced) => announced,
            None if kind == Kind::Newer && hook.blocks => {
                let callback = hook.callback.as_str().unwrap_or_default();
                let text = format!(
                    "PreToolUse:{} hook error: [callback]: failed; blocking because onFailure is \"block\"\nHook \
                     callback {callback} failed: the SDK host replied with an error or an invalid answer.",
                    call.name
                );
                Announced::Decided(Verdict::Refused(text, By::Hook))
            }
            None => Announced::Passed,
        })
    }
}

/// What an answer says of a call; none if it cannot be read.
fn judge(answer: &Value, call: &Call, kind: Kind) -> Option<Announced> {
    let said = answer["response"].as_object().filter(|_| answer["subtype"] == "success")?;
    let Some(output) = said.get("hookSpecificOutput") else { return Some(Announced::Passed) };
    let reason = output["permissionDecisionReason"].as_str();
    Some(match output["permissionDecision"].as_str()? {
        "allow" => {
            let input = output.get("updatedInput").unwrap_or(&call.input);
            Announced::Decided(Verdict::Run(input.clone(), By::Hook))
        }
        "ask" => Announced::Asked(reason.map(str::to_owned)),
        "deny" => {
            let name = &call.name;
            let text = match (kind, reason) {
                (Kind::Older, Some(reason)) => reason.to_owned(),
                (Kind::Older, None) => format!("Hook PreToolUse:{name} denied this tool"),
                (Kind::Newer, reason) => {
                    format!("PreToolUse:{name} hook error: {}", reason.unwrap_or("Blocked by hook"))
                }
            };
            Announced::Decided(Verdict::Refused(text, By::Hook))
        }
        _ => return None,
    })
}
