//! Tool calls: what was asked about them, what was answered, and how they ended.

use std::sync::Arc;

use lockkeeper_core::agent::AgentSays;
use lockkeeper_core::gate::{Ask, GateKind};
use lockkeeper_core::item::ToolOutcome;
use lockkeeper_core::json::Json;
use serde_json::value::RawValue;

use super::lax::member;
use super::line::{
    Announced, Answer, ControlRequest, ControlResponse, HookAnswer, ToolResultMeta, ToolUseResult, UserLine,
};
use super::stream::key;
use super::uses::tool_use;
use crate::Decoded;
use crate::clip::clip;
use crate::limits::ASKS;

/// Questions about tool calls whose result has not come yet.
#[derive(Debug, Default)]
pub(super) struct Asks(Vec<Asked>);

#[derive(Debug)]
struct Asked {
    /// The raw id of the request; empty if the agent decided by itself.
    request: String,
    call: String,
    /// The subagent that asked; none for the main conversation.
    agent: Option<String>,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Allowed,
    Denied,
}

impl Asks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `can_use_tool`.
    pub(super) fn asked(&mut self, id: &RawValue, request: &ControlRequest<'_>, out: &mut Vec<Decoded>) {
        let agent = request.agent_id.get().map(str::to_owned);
        self.add(Asked {
            request: id.get().to_owned(),
            call: request.tool_use_id.text().to_owned(),
            agent,
            stands: Stands::Open,
        });
        let ask = ask(id, request);
        let tool_use = Box::new(tool_use(&ask.tool, &ask.input));
        out.push(Decoded::Says(AgentSays::Asked { ask, tool_use }));
    }

    /// `hook_callback`: it is about to use a tool, and may ask about it afterwards.
    pub(super) fn announced(&mut self, id: &RawValue, request: &ControlRequest<'_>, out: &mut Vec<Decoded>) {
        let announced: Announced<'_> = member(request.input);
        self.add(Asked {
            request: id.get().to_owned(),
            call: request.tool_use_id.text().to_owned(),
            agent: announced.agent_id.get().map(str::to_owned),
            stands: Stands::Open,
        });
        let tool = announced.tool_name.text();
        let ask = Ask {
            request: json(id),
            kind: kind_of(tool),
            tool: clip(tool),
            input: announced.tool_input.map_or_else(empty_object, json),
            title: None,
            call: request.tool_use_id.get().map(key),
            reason: None,
            beside_turn: announced.agent_id.get().is_some(),
            announced: true,
            suggestions: None,
        };
        let tool_use = Box::new(tool_use(&ask.tool, &ask.input));
        out.push(Decoded::Says(AgentSays::Asked { ask, tool_use }));
    }

    /// `permission_denied`: the agent's own rules said no.
    pub(super) fn denied_by_agent(&mut self, call: &str) {
        self.add(Asked {
            request: String::new(),
            call: call.to_owned(),
            agent: None,
            stands: Stands::Denied,
        });
    }

    /// Our answer was written.
    pub(super) fn answered(&mut self, response: &ControlResponse<'_>) {
        let Some(id) = response.request_id else { return };
        let answer: Answer<'_> = member(response.response);
        for asked in
            self.0.iter_mut().filter(|asked| asked.request == id.get() && asked.stands == Stands::Open)
        {
            let hook: HookAnswer<'_> = member(answer.hook);
            // A hook that says nothing lets the tool go its own way.
            let denied = match (answer.behavior.get(), hook.decision.get()) {
                (Some(behavior), _) => behavior != "allow",
                (None, Some(decision)) => decision == "deny",
                (None, None) => response.subtype.text() == "error",
            };
            asked.stands = if denied { Stands::Denied } else { Stands::Allowed };
        }
    }

    /// `control_cancel_request`: the tool will not run.
    pub(super) fn withdrawn(&mut self, id: &RawValue) {
        for asked in self.0.iter_mut().filter(|asked| asked.request == id.get()) {
            asked.stands = Stands::Denied;
        }
    }

    /// The main conversation's turn ended: nothing of it waits any more, and what was not allowed never ran.
    pub(super) fn turn_ended(&mut self, out: &mut Vec<Decoded>) {
        for asked in self.0.extract_if(.., |asked| asked.agent.is_none()) {
            if asked.stands != Stands::Allowed && !asked.call.is_empty() {
                out.push(ended(&asked.call, ToolOutcome::Denied, "".into()));
            }
        }
    }

    /// A subagent ended. The results of its tools may follow, until the main conversation's turn ends.
    pub(super) fn agent_ended(&mut self, agent: &str) {
        for asked in self.0.iter_mut().filter(|asked| asked.agent.as_deref() == Some(agent)) {
            asked.agent = None;
        }
    }

    /// How a call ended, by its result.
    pub(super) fn outcome(
        &mut self,
        call: &str,
        is_error: bool,
        text: &str,
        user: &UserLine<'_>,
    ) -> ToolOutcome {
        let asked = self.0.extract_if(.., |asked| asked.call == call).last().map(|asked| asked.stands);
        let result: ToolUseResult = member(user.tool_use_result);
        if result.interrupted.0 {
            return ToolOutcome::Cut;
        }
        if !is_error {
            return ToolOutcome::Ok;
        }
        match asked {
            Some(Stands::Open | Stands::Denied) => return ToolOutcome::Denied,
            Some(Stands::Allowed) | None => {}
        }
        if text.starts_with(CUT) {
            ToolOutcome::Cut
        } else if NOT_RUN.iter().any(|start| text.starts_with(start)) || rejected(call, user) {
            ToolOutcome::Denied
        } else {
            ToolOutcome::Failed
        }
    }

    fn add(&mut self, asked: Asked) {
        if self.0.len() == ASKS {
            self.0.remove(0);
        }
        self.0.push(asked);
    }
}

/// The result of a tool that was cut, and of one that was not allowed because of an interrupt.
const CUT: &str = "The user doesn't want to proceed with this tool use.";

/// How the results of tools begin that did not run for want of a permission. The last one is what 2.1.329 says once its
/// input has ended, when it announces nothing any more.
const NOT_RUN: [&str; 5] = [
    "Permission to use ",
    "Claude requested permissions to ",
    "Tool permission request failed",
    "Tool permission stream closed",
    "The user doesn't want to take this action right now.",
];

/// Whether 2.1.329 says that the permission was refused.
fn rejected(call: &str, user: &UserLine<'_>) -> bool {
    let metas: Vec<ToolResultMeta<'_>> = member(user.tool_result_meta);
    metas.iter().any(|meta| {
        meta.id.text() == call
            && meta.permission_decision.0.as_ref().is_some_and(|it| it.decision.text() == "reject")
    })
}

/// The end of a call.
pub(super) fn ended(call: &str, outcome: ToolOutcome, text: Arc<str>) -> Decoded {
    Decoded::Says(AgentSays::ToolEnded { call: key(call), outcome, text })
}

fn kind_of(tool: &str) -> GateKind {
    match tool {
        "AskUserQuestion" => GateKind::Question,
        "ExitPlanMode" => GateKind::Plan,
        _ => GateKind::Permission,
    }
}

fn ask(id: &RawValue, request: &ControlRequest<'_>) -> Ask {
    let tool = request.tool_name.text();
    let title = request.title.get().or(request.description.get());
    let reason = match (request.decision_reason_type.get(), request.decision_reason.get()) {
        (Some(kind), Some(reason)) => Some(clip(&format!("{kind}: {reason}"))),
        (kind, reason) => kind.or(reason).map(clip),
    };
    Ask {
        request: json(id),
        kind: kind_of(tool),
        tool: clip(tool),
        input: request.input.map_or_else(empty_object, json),
        title: title.filter(|title| !title.is_empty()).map(clip),
        call: request.tool_use_id.get().map(key),
        reason,
        // A subagent's question, which may outlive the turn (2.1.329 runs them in the background).
        beside_turn: request.agent_id.get().is_some(),
        announced: false,
        suggestions: request.permission_suggestions.filter(|raw| raw.get() != "[]").map(json),
    }
}

/// A raw value to keep.
pub(super) fn json(raw: &RawValue) -> Json {
    Json::from(raw.to_owned())
}

/// The input of a call that has none.
pub(super) fn empty_object() -> Json {
    #[expect(clippy::expect_used, reason = "the text is a constant")]
    Json::parse("{}").expect("an empty object is JSON")
}
