//! How turns end.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{ClaimNo, PromptNo};

/// Whose idea a turn was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnBy {
    /// A prompt of ours.
    Prompt,
    /// The agent began it itself, for example when a background task ended.
    Agent,
}

/// The one outcome of a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The agent came to its end.
    Completed,
    /// Somebody cancelled it.
    Interrupted {
        /// Who.
        by: String,
    },
    /// Something more urgent cut it short.
    Preempted {
        /// What.
        by: Preemptor,
    },
    /// The model refused.
    Refused,
    /// A limit of the agent ended it.
    Limit {
        /// Which, in the agent's words: `max_turns`, `max_tokens`, `budget`.
        which: String,
    },
    /// It failed.
    Failed {
        /// What failed.
        kind: FailureKind,
        /// What is known, for people.
        message: String,
    },
    /// Nobody can know.
    Unknown {
        /// Why not.
        why: String,
    },
}

impl Outcome {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted { .. } => "interrupted",
            Self::Preempted { .. } => "preempted",
            Self::Refused => "refused",
            Self::Limit { .. } => "limit",
            Self::Failed { .. } => "failed",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// What cuts a turn of a lower class short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preemptor {
    /// A prompt.
    Prompt(PromptNo),
    /// A claim.
    Claim(ClaimNo),
}

impl fmt::Display for Preemptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt(no) => no.fmt(f),
            Self::Claim(no) => no.fmt(f),
        }
    }
}

/// What made a turn fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The agent says so, without a finer reason.
    Agent,
    /// The model's API answered with an error or not at all.
    Api,
    /// The API refused for now: too many requests, quota.
    RateLimit,
    /// The agent is not logged in.
    Login,
    /// The agent broke its protocol.
    Protocol,
    /// The agent's process ended in the turn.
    Exit,
    /// A deadline of ours passed.
    Deadline,
}

impl FailureKind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Api => "api",
            Self::RateLimit => "rate_limit",
            Self::Login => "login",
            Self::Protocol => "protocol",
            Self::Exit => "exit",
            Self::Deadline => "deadline",
        }
    }
}

/// How the agent says that a turn ended; the core makes the [`Outcome`] of it, with what was asked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Normally.
    Completed,
    /// Cancelled.
    Aborted,
    /// The model refused.
    Refused,
    /// A limit of the agent.
    Limit {
        /// Which.
        which: String,
    },
    /// A failure.
    Failed {
        /// What failed.
        kind: FailureKind,
        /// In the agent's words.
        message: String,
    },
}

/// What a turn cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by the model, without those from a cache.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
    /// Tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Tokens written to a cache.
    pub cache_write_tokens: u64,
    /// What the agent says it cost, in millionths of a US dollar, cumulative for the attempt; `None` if it does not say.
    pub attempt_cost_micro_usd: Option<u64>,
    /// Rounds with the model.
    pub rounds: u32,
}
