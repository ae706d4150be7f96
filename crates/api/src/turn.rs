//! Turns.

use std::fmt;

use lockkeeper_core::id::{SessionId, TurnNo};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::Stage;
use lockkeeper_core::turn::{Outcome, TurnBy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Time, Usage, schema};

/// The turn that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TurnNow {
    /// Its name: `SESSION.t1`.
    pub id: String,
    /// Its number in the session.
    #[schema(value_type = u32)]
    pub no: TurnNo,
    /// Whose idea it was.
    #[schema(schema_with = schema::turn_by)]
    pub by: TurnBy,
    /// The prompt that it works on: `SESSION.p1`.
    pub prompt: Option<String>,
    /// Who sent that prompt, and so holds the session.
    pub caller: Option<String>,
    /// How urgent it is.
    #[schema(schema_with = schema::or_null::class)]
    pub class: Option<Class>,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub started: Time,
    /// How far it came, if it works on a prompt.
    #[schema(schema_with = schema::or_null::stage)]
    pub stage: Option<Stage>,
}

/// The last turn that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TurnEnd {
    /// Its name: `SESSION.t1`.
    pub id: String,
    /// Its number in the session.
    #[schema(value_type = u32)]
    pub no: TurnNo,
    /// How it ended.
    pub outcome: OutcomeWord,
    /// For `failed`: `agent`, `api`, `rate_limit`, `login`, `protocol`, `exit` or `deadline`; for `limit`: which.
    pub kind: Option<String>,
    /// For people: what is known of a failure, who interrupted it, why nobody can know.
    pub message: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
}

impl TurnEnd {
    /// The end of a turn.
    pub fn new(session: &SessionId, no: TurnNo, outcome: &Outcome, ended: Option<Time>) -> Self {
        let (word, kind, message) = OutcomeWord::parts(outcome);
        Self { id: no.of(session), no, outcome: word, kind, message, ended }
    }
}

/// The outcomes of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// The agent came to its end.
    Completed,
    /// Somebody cancelled it.
    Interrupted,
    /// Something more urgent cut it short.
    Preempted,
    /// The model refused.
    Refused,
    /// A limit of the agent ended it.
    Limit,
    /// It failed.
    Failed,
    /// Nobody can know.
    Unknown,
}

impl OutcomeWord {
    /// The word, the finer kind and the message of an outcome.
    pub fn parts(outcome: &Outcome) -> (Self, Option<String>, Option<String>) {
        match outcome {
            Outcome::Completed => (Self::Completed, None, None),
            Outcome::Interrupted { by } => (Self::Interrupted, None, Some(format!("by {by}"))),
            Outcome::Preempted { by } => (Self::Preempted, None, Some(format!("by {by}"))),
            Outcome::Refused => (Self::Refused, None, None),
            Outcome::Limit { which } => (Self::Limit, Some(which.clone()), None),
            Outcome::Failed { kind, message } => {
                (Self::Failed, Some(kind.word().to_owned()), Some(message.clone()))
            }
            Outcome::Unknown { why } => (Self::Unknown, None, Some(why.clone())),
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Preempted => "preempted",
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for OutcomeWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A turn, running or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Turn {
    /// Its name: `SESSION.t1`.
    pub id: String,
    /// Its number in the session.
    #[schema(value_type = u32)]
    pub no: TurnNo,
    /// Whose idea it was.
    #[schema(schema_with = schema::turn_by)]
    pub by: TurnBy,
    /// The prompt that it worked on: `SESSION.p1`.
    pub prompt: Option<String>,
    /// The beginning of that prompt.
    pub prompt_preview: Option<String>,
    /// Who sent it.
    pub caller: Option<String>,
    /// How urgent it was.
    #[schema(schema_with = schema::or_null::class)]
    pub class: Option<Class>,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub started: Time,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
    /// How it ended; absent while it runs.
    pub outcome: Option<OutcomeWord>,
    /// See the `kind` of the session's `last_turn`.
    pub kind: Option<String>,
    /// See the `message` of the session's `last_turn`.
    pub message: Option<String>,
    /// What it cost.
    pub usage: Usage,
}

/// The body of `POST /v1/sessions/{session}/interrupt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InterruptRequest {
    /// The turn that is meant, `t3` or `SESSION.t3`. If it has ended, nothing is cancelled and the answer is 409.
    /// Without it, whichever runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
}

/// The answer to an interrupt. Asking again while the turn is being cancelled gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InterruptReceipt {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// The turn that is being cancelled: `SESSION.t3`.
    pub turn: Option<String>,
    /// What the request found.
    pub state: InterruptState,
    /// Prompts that wait; they are held until somebody prompts or resumes.
    pub held: u32,
}

/// What an interrupt found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterruptState {
    /// A turn, which is being cancelled.
    Interrupting,
    /// No turn: there was nothing to cancel.
    Idle,
}
