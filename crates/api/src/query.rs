//! Queries. One that has a field that is not known is refused, never half obeyed.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::WaitFor;

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// Ended ones too. A `status` that is an end includes them as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<bool>,
    /// Only these statuses, with commas between them. `awaiting_input` selects all with an open gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only these agents, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Only those with all of these labels, `key=value` or `key`, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// Whether to wait for a session before it is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// What to wait for. Without it the answer comes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
    /// How long, in milliseconds; the problem `wait_timeout` then. Without it, as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// Which events to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Only those after this cursor; `start` for all. A stream without it begins now, a page without it at the start.
    /// The header `Last-Event-ID` goes before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Only these kinds, with commas between them. `turn.*` stands for all kinds that begin so. A kind that does not
    /// exist is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many at most on one page; streams have no pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether the caller reads the stream of a session to wait for something that it does. A program of an agent whose
    /// session is waited for in turn is refused with the problem `waiting_cycle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<bool>,
}

/// Which gates to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GateQuery {
    /// `open` (the default) or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<GateFilter>,
    /// Only those of this session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// Which gates to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateFilter {
    /// Those that wait for a decision.
    #[default]
    Open,
    /// Closed ones too.
    All,
}

impl GateFilter {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::All => "all",
        }
    }
}

/// Which content to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemQuery {
    /// Only that of this turn: `t3` or `SESSION.t3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
}

/// Which bytes of the journal to tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JournalQuery {
    /// The launch; the last one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The stream; `stdout` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<JournalStream>,
}

/// A stream of the agent's process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JournalStream {
    /// What the agent wrote.
    #[default]
    Stdout,
    /// What the agent wrote on standard error.
    Stderr,
    /// What was written to the agent.
    Stdin,
}

impl JournalStream {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Stdin => "stdin",
        }
    }
}
