//! Prompts and the queue.

use lockkeeper_core::id::SessionId;
use lockkeeper_core::prompt::Class;
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
}

/// The body of `PATCH /v1/prompts/{prompt}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptEdit {
    /// The text in place of the old one.
    pub text: String,
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
    /// How many prompts go before it, if it waits.
    pub queued_behind: Option<u32>,
    /// Its turn, once it has one: `SESSION.t1`.
    pub turn: Option<String>,
    /// How that turn ended.
    pub outcome: Option<OutcomeWord>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Time,
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
    /// Its text.
    pub text: String,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub accepted: Time,
}
