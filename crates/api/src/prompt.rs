//! Prompts and the queue.

use lockkeeper_core::id::SessionId;
use lockkeeper_core::prompt::{Class, OnPreempt, Parked};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{OutcomeWord, Time, schema};

/// The body of `POST /v1/sessions/{session}/prompts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptRequest {
    /// What to tell the agent, up to 10 MB.
    pub text: String,
    /// How urgent it is. There is no default: whoever prompts by program knows.
    #[schema(schema_with = schema::class)]
    pub class: Class,
    /// Whether it cuts a turn of a lower class short.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preempt: bool,
    /// What becomes of its own turn if that is cut short.
    #[serde(default)]
    #[schema(schema_with = schema::on_preempt)]
    pub on_preempt: OnPreempt,
    /// The claim that it uses, `k1` or `SESSION.k1`: it has the claim's place, and cuts turns short as the claim does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

impl PromptRequest {
    /// A prompt that waits for its turn.
    pub fn new(text: impl Into<String>, class: Class) -> Self {
        Self { text: text.into(), class, preempt: false, on_preempt: OnPreempt::default(), claim: None }
    }
}

/// The body of `PATCH /v1/prompts/{prompt}`. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptEdit {
    /// The text in place of the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Another class; it is the last there, unless `to` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::or_null::class)]
    pub class: Option<Class>,
    /// Another place within its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PromptMove>,
}

/// Where a prompt is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptMove {
    /// Before all others of its class.
    First,
    /// Behind all others of its class.
    Last,
}

/// What became of a prompt so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromptReceipt {
    /// Its name: `SESSION.p1`.
    pub prompt: String,
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// How far it came.
    pub state: PromptState,
    /// How many prompts and claims go before it, if it waits; a turn that runs counts as one.
    pub queued_behind: Option<u32>,
    /// Who holds the queue, if it waits: it begins once they send a prompt, or somebody resumes the session.
    pub held_by: Option<String>,
    /// The turn that it cuts short just now: `SESSION.t1`.
    pub preempted: Option<String>,
    /// Its turn, once it has one: `SESSION.t1`.
    pub turn: Option<String>,
    /// How that turn ended.
    pub outcome: Option<OutcomeWord>,
    /// The prompt that goes on with its work, if its turn was cut off: `SESSION.p2`.
    pub continued_by: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Time,
    /// When its turn ended, or it was taken out of the queue.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
}

/// How far a prompt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptState {
    /// It is stored and waits.
    Accepted,
    /// It is in the agent's pipe.
    Written,
    /// The agent works on it.
    Started,
    /// Its turn ended.
    Ended,
    /// It was taken out of the queue.
    Dropped,
}

/// A prompt that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueuedPrompt {
    /// Its name: `SESSION.p1`.
    pub id: String,
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// How many prompts go before it.
    pub position: u32,
    /// How urgent it is.
    #[schema(schema_with = schema::class)]
    pub class: Class,
    /// Who sent it.
    pub caller: String,
    /// The claim that it uses: `SESSION.k1`.
    pub claim: Option<String>,
    /// The turn that was cut short and that it goes on with: `SESSION.t1`.
    pub continues: Option<String>,
    /// Why it waits until somebody lets it go.
    #[schema(schema_with = schema::or_null::parked)]
    pub parked: Option<Parked>,
    /// Its text.
    pub text: String,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Time,
}
