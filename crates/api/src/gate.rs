//! Gates and decisions.

use std::fmt;

use lockkeeper_core::gate::{Decision, GateKind, GateState, Through, Withdrawal};
use lockkeeper_core::id::{AgentName, GateNo, SessionId, SessionName};
use lockkeeper_core::json::Json;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{AlwaysRequest, Time, schema};

/// A gate: something that waits, or waited, for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Gate {
    /// Its name: `SESSION.g1`.
    pub id: String,
    /// Its number in the session.
    #[schema(value_type = u32)]
    pub no: GateNo,
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// What people call that session.
    #[schema(value_type = Option<String>)]
    pub session_name: Option<SessionName>,
    /// The agent that asks.
    #[schema(value_type = String)]
    pub agent: AgentName,
    /// The workspace.
    pub dir: String,
    /// What it asks for.
    #[schema(schema_with = schema::gate_kind)]
    pub kind: GateKind,
    /// The tool, or a short name of what is asked.
    pub tool: String,
    /// One line for people, where the agent gives one. It is the agent's word: decide by `input`.
    pub title: Option<String>,
    /// The exact input that the decision binds to.
    #[schema(schema_with = schema::json)]
    pub input: Json,
    /// SHA-256 of the bytes of `input`, in lower-case hex.
    pub input_hash: String,
    /// How dangerous the step is: `low`, `medium` or `high`; `unrated` for what is no step of a tool.
    pub risk: String,
    /// Which rule asked, or decided: `agent` if only the agent's own rules are about it.
    pub rule: String,
    /// Why the rule is there.
    pub rule_reason: Option<String>,
    /// Why the agent asks, where it says so.
    pub reason: Option<String>,
    /// The turn that waits, or that failed for want of a login: `SESSION.t1`.
    pub turn: Option<String>,
    /// Who may decide: the users whose programs may, unless an agent runs them. Events do not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deciders: Vec<String>,
    /// When it opened.
    #[schema(value_type = String, format = DateTime)]
    pub opened: Time,
    /// When it is denied if nobody decides, unless the machine sleeps before: only the time awake counts.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires: Option<Time>,
    /// Where it stands.
    pub state: GateStateWord,
    /// What was decided.
    pub decision: Option<GateDecision>,
    /// Why it closed without a decision.
    pub withdrawn: Option<GateWithdrawal>,
}

/// Where a gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStateWord {
    /// It waits for a decision.
    Open,
    /// It is decided, and the answer is on its way to the agent.
    Decided,
    /// It is decided, and the agent has the answer.
    Delivered,
    /// It closed without a decision.
    Withdrawn,
}

impl GateStateWord {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Decided => "decided",
            Self::Delivered => "delivered",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A decision with its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateDecision {
    /// What was decided.
    pub decision: DecisionWord,
    /// Who decided.
    pub by: String,
    /// By what right: `person`; `rule` if the gate's rule decided, `bypass` if somebody lets such steps go on for a while,
    /// and nobody was asked; `expiry` if nobody decided in time; `agent` if the agent says that what it asked for was done.
    #[serde(default)]
    #[schema(schema_with = schema::through)]
    pub through: Through,
    /// The rules that were made of it, so that such steps go on from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The input to use instead, for `edit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json)]
    pub input: Option<Json>,
    /// What the agent was told, for `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The answers, for `answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json)]
    pub answers: Option<Json>,
}

/// The end of a gate without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateWithdrawal {
    /// Why.
    #[schema(schema_with = schema::withdrawal)]
    pub why: Withdrawal,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

impl Gate {
    /// The gate of a session, as it stands.
    pub fn new(
        session: &SessionId,
        session_name: Option<&SessionName>,
        agent: &AgentName,
        dir: &str,
        gate: &lockkeeper_core::gate::Gate,
    ) -> Self {
        let (state, decision, withdrawn) = standing(&gate.state);
        Self {
            id: gate.no.of(session),
            no: gate.no,
            session: session.clone(),
            session_name: session_name.cloned(),
            agent: agent.clone(),
            dir: dir.to_owned(),
            kind: gate.ask.kind,
            tool: gate.ask.tool.clone(),
            title: gate.ask.title.clone(),
            input: gate.ask.input.clone(),
            input_hash: gate.input_hash.clone(),
            risk: gate.risk.clone(),
            rule: gate.rule.clone(),
            rule_reason: gate.rule_reason.clone(),
            reason: gate.ask.reason.clone(),
            turn: gate.turn.map(|turn| turn.of(session)),
            deciders: Vec::new(),
            opened: Time::from_wall_ms(gate.opened.wall_ms),
            expires: gate
                .expiry
                .map(|expiry| Time::from_wall_ms(gate.opened.wall_ms.saturating_add_unsigned(expiry.ms))),
            state,
            decision,
            withdrawn,
        }
    }

    /// Whether it waits for a decision.
    pub fn is_open(&self) -> bool {
        self.state == GateStateWord::Open
    }
}

fn standing(state: &GateState) -> (GateStateWord, Option<GateDecision>, Option<GateWithdrawal>) {
    match state {
        GateState::Open => (GateStateWord::Open, None, None),
        GateState::Decided { verdict, .. } => (GateStateWord::Decided, Some(verdict.into()), None),
        GateState::Delivered { verdict } => (GateStateWord::Delivered, Some(verdict.into()), None),
        GateState::Withdrawn { why, at } => {
            let at = Time::from_wall_ms(at.wall_ms);
            (GateStateWord::Withdrawn, None, Some(GateWithdrawal { why: *why, at }))
        }
    }
}

impl From<&lockkeeper_core::gate::Verdict> for GateDecision {
    fn from(verdict: &lockkeeper_core::gate::Verdict) -> Self {
        let request = DecisionRequest::from(verdict.decision.clone());
        Self {
            decision: request.decision,
            by: verdict.by.clone(),
            through: verdict.through,
            rules: verdict.rules.clone(),
            at: Time::from_wall_ms(verdict.at.wall_ms),
            input: request.input,
            message: request.message,
            answers: request.answers,
        }
    }
}

/// What can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionWord {
    /// Go on with the input as it is.
    Allow,
    /// Go on with another `input`.
    Edit,
    /// Do not; the agent is told the `message`.
    Deny,
    /// The `answers` to the questions, or the values of the form.
    Answer,
}

impl DecisionWord {
    /// The word for it in the past tense.
    pub fn past(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Edit => "allowed with changes",
            Self::Deny => "denied",
            Self::Answer => "answered",
        }
    }
}

impl fmt::Display for DecisionWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Edit => "edit",
            Self::Deny => "deny",
            Self::Answer => "answer",
        })
    }
}

/// The body of `POST /v1/gates/{gate}/decision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// What is decided.
    pub decision: DecisionWord,
    /// The `input_hash` of the gate as the decider saw it. If it is another, the answer is 409 and nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_hash: Option<String>,
    /// For `edit`: the input to use instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json)]
    pub input: Option<Json>,
    /// For `deny`: what the agent is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// For `answer`: a JSON object, question text → answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::json)]
    pub answers: Option<Json>,
    /// For `allow` of a permission: let such steps go on from now on, by these rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<AlwaysRequest>,
}

impl From<Decision> for DecisionRequest {
    fn from(decision: Decision) -> Self {
        let bare = |decision| Self {
            decision,
            input_hash: None,
            input: None,
            message: None,
            answers: None,
            always: None,
        };
        match decision {
            Decision::Allow => bare(DecisionWord::Allow),
            Decision::Edit { input } => Self { input: Some(input), ..bare(DecisionWord::Edit) },
            Decision::Deny { message } => Self { message: Some(message), ..bare(DecisionWord::Deny) },
            Decision::Answer { answers } => Self { answers: Some(answers), ..bare(DecisionWord::Answer) },
        }
    }
}

/// A decision whose fields do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadDecision {
    /// A field that the decision needs is absent.
    #[error("the decision {decision} needs the field {field}")]
    Missing {
        /// The decision.
        decision: DecisionWord,
        /// The field.
        field: &'static str,
    },
    /// A field is there that the decision has no use for.
    #[error("the decision {decision} does not take the field {field}")]
    Surplus {
        /// The decision.
        decision: DecisionWord,
        /// The field.
        field: &'static str,
    },
}

impl DecisionRequest {
    /// The decision, if the fields are exactly those that it needs. `always` is looked at by the core.
    pub fn into_decision(self) -> Result<Decision, BadDecision> {
        let decision = self.decision;
        let needed = match decision {
            DecisionWord::Allow => "",
            DecisionWord::Edit => "input",
            DecisionWord::Deny => "message",
            DecisionWord::Answer => "answers",
        };
        let given = [
            ("input", self.input.is_some()),
            ("message", self.message.is_some()),
            ("answers", self.answers.is_some()),
        ];
        if let Some((field, _)) = given.into_iter().find(|(field, given)| *given && *field != needed) {
            return Err(BadDecision::Surplus { decision, field });
        }
        let missing = BadDecision::Missing { decision, field: needed };
        match decision {
            DecisionWord::Allow => Ok(Decision::Allow),
            DecisionWord::Edit => self.input.map(|input| Decision::Edit { input }).ok_or(missing),
            DecisionWord::Deny => self.message.map(|message| Decision::Deny { message }).ok_or(missing),
            DecisionWord::Answer => self.answers.map(|answers| Decision::Answer { answers }).ok_or(missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Decision, String> {
        let request: DecisionRequest = serde_json::from_str(body).map_err(|error| error.to_string())?;
        request.into_decision().map_err(|error| error.to_string())
    }

    #[test]
    fn each_decision_takes_exactly_its_own_field() {
        assert_eq!(read(r#"{"decision":"allow"}"#), Ok(Decision::Allow));
        assert_eq!(
            read(r#"{"decision":"deny","message":"no"}"#),
            Ok(Decision::Deny { message: "no".to_owned() })
        );
        let kept = Json::parse(r#"{ "b":1, "a":2 }"#).ok();
        let edit = read(r#"{"decision":"edit","input":{ "b":1, "a":2 }}"#);
        assert_eq!(edit.ok(), kept.map(|input| Decision::Edit { input }), "the bytes of the input are kept");
        let missing = Err("the decision edit needs the field input".to_owned());
        assert_eq!(read(r#"{"decision":"edit"}"#), missing);
        let surplus = Err("the decision allow does not take the field input".to_owned());
        assert_eq!(read(r#"{"decision":"allow","input":{}}"#), surplus);
        assert!(read(r#"{"decision":"allow","always":true}"#).is_err(), "an unknown field is refused");
    }
}
