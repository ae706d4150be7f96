//! What one can wait for.

use std::fmt;
use std::str::FromStr;

use lockkeeper_core::id::BadName;
use lockkeeper_core::session::Status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Session;

/// A condition of a session, for `GET /v1/sessions/{session}?wait=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitFor {
    /// Idle, and what the turn delegated has ended too.
    Settled,
    /// No turn runs and none waits; the agent's subagents may still be at work.
    Idle,
    /// A gate is open.
    Input,
    /// The session has ended.
    End,
}

impl WaitFor {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Settled, Self::Idle, Self::Input, Self::End];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Idle => "idle",
            Self::Input => "input",
            Self::End => "end",
        }
    }

    /// Whether the session meets it. An ended session meets all but `input`, which it can never meet again by itself:
    /// see [`WaitFor::is_hopeless`].
    pub fn is_met(self, session: &Session) -> bool {
        match self {
            Self::Settled => session.settled,
            Self::Idle => is_at_rest(session.status, session.queue),
            Self::Input => session.open_gates > 0,
            Self::End => session.status.is_end(),
        }
    }

    /// Whether the wait can only end if somebody opens the session again.
    pub fn is_hopeless(self, session: &Session) -> bool {
        self == Self::Input && session.status.is_end()
    }
}

/// Whether no turn runs, and none of so many prompts that wait will.
pub fn is_at_rest(status: Status, queue: u32) -> bool {
    status.is_end() || queue == 0 && matches!(status, Status::Idle | Status::Suspended)
}

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for WaitFor {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::ALL.into_iter().find(|wait| wait.word() == text).ok_or_else(|| BadName {
            what: "condition to wait for",
            text: text.chars().take(80).collect(),
            why: "settled, idle, input or end",
        })
    }
}
