//! Sessions.

use std::collections::BTreeMap;

use lockkeeper_core::id::{AgentName, AgentSessionId, AttemptNo, SessionId, SessionName};
use lockkeeper_core::manner::Unasked;
use lockkeeper_core::policy::ToolKind;
use lockkeeper_core::session::{ExitVerdict, Lifetime, Status};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Attempt, Cursor, Event, Gate, Time, Turn, TurnEnd, TurnNow, schema};

/// A session as it is at the answer's cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(value_type = String, example = "7f3k9q2m4xab")]
    pub id: SessionId,
    /// What people call it; unique among the living.
    #[schema(value_type = Option<String>)]
    pub name: Option<SessionName>,
    /// The agent.
    #[schema(value_type = String, example = "claude")]
    pub agent: AgentName,
    /// The workspace, an absolute path.
    pub dir: String,
    /// The status.
    #[schema(schema_with = schema::status)]
    pub status: Status,
    /// Since when it has this status.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// In a few words: why it is so, or what it waits for. Empty where the status says it all.
    pub reason: String,
    /// The event that led to the status.
    pub cause: Cause,
    /// The next deadline.
    pub until: Option<Until>,
    /// Whether no turn runs and none waits, and no delegated task is under way: what `wait=settled` waits for.
    pub settled: bool,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    pub environment: Option<String>,
    /// On whose behalf.
    pub submitter: Option<String>,
    /// Whether it ends with its turn.
    #[schema(schema_with = schema::lifetime)]
    pub lifetime: Lifetime,
    /// The model: what the agent says it uses or was started with; without a process, what it is started with next.
    pub model: Option<String>,
    /// The permission mode; see `model`.
    pub mode: Option<String>,
    /// What the agent does without asking in that mode; none if that is not known. Rules hold steps up in any mode.
    #[serde(default)]
    #[schema(schema_with = schema::or_null::unasked)]
    pub unasked: Option<Unasked>,
    /// The limit of a turn in milliseconds.
    pub turn_timeout_ms: Option<u64>,
    /// The turn that runs.
    pub turn: Option<TurnNow>,
    /// The last turn that ended.
    pub last_turn: Option<TurnEnd>,
    /// Turns that came to any end.
    pub turns_ended: u32,
    /// Prompts that wait.
    pub queue: u32,
    /// Claims that are held or wait.
    #[serde(default)]
    pub claims: u32,
    /// Who keeps the queue from going on.
    pub held_by: Option<String>,
    /// Gates that wait for a decision.
    pub open_gates: u32,
    /// Steps go on for a while that would wait for a decision.
    #[serde(default)]
    pub bypass: Option<Bypass>,
    /// Tasks of the agent that outlive its turns, such as a dev server.
    pub background_tasks: u32,
    /// The present launch, or the last one.
    #[schema(value_type = Option<u32>)]
    pub attempt: Option<AttemptNo>,
    /// The agent's process, while it runs.
    pub pid: Option<u32>,
    /// The agent's own id of the conversation.
    #[schema(value_type = Option<String>)]
    pub agent_session_id: Option<AgentSessionId>,
    /// Tokens of all turns.
    pub usage: Usage,
    /// What the agent says all turns cost, in US dollars.
    pub cost_usd: Option<f64>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Time,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Time>,
    /// How it ended.
    pub end: Option<SessionEnd>,
    /// How its last process ended.
    pub exit: Option<Exit>,
}

/// For a while steps go on that would wait for a decision. What a rule denies does not, and neither does what a rule of the
/// administrator asks about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bypass {
    /// Of tools of these kinds; of all, if there are none.
    #[schema(schema_with = schema::tool_kinds)]
    pub kinds: Vec<ToolKind>,
    /// Who wanted that.
    pub by: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub began: Time,
    /// Until when, unless the machine sleeps before: only the time awake counts.
    #[schema(value_type = String, format = DateTime)]
    pub ends: Time,
}

/// The body of `POST /v1/sessions/{session}/bypass`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BypassRequest {
    /// Of tools of these kinds; of all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(schema_with = schema::tool_kinds)]
    pub kinds: Vec<ToolKind>,
    /// How long, in milliseconds: a second to a day.
    pub for_ms: u64,
}

/// The event that led to a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// Its number in the session.
    pub seq: u64,
    /// Its kind.
    pub kind: String,
}

/// A deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Until {
    /// When, unless the machine sleeps before: deadlines count the time awake.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Its name: `handshake`, `silence`, `backoff` …
    pub name: String,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionEnd {
    /// The end.
    pub kind: EndKind,
    /// For `failed`: `turn`, `launch`, `handshake`, `conversation_lost` or `crash_loop`.
    pub reason: Option<String>,
    /// For people: what is known of a failure, or who stopped it.
    pub message: Option<String>,
}

/// The ends of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndKind {
    /// Its turn completed.
    Completed,
    /// It failed.
    Failed,
    /// Somebody ended it.
    Stopped,
}

impl From<&lockkeeper_core::session::End> for SessionEnd {
    fn from(end: &lockkeeper_core::session::End) -> Self {
        use lockkeeper_core::session::End;
        match end {
            End::Completed => Self { kind: EndKind::Completed, reason: None, message: None },
            End::Failed { reason, message } => Self {
                kind: EndKind::Failed,
                reason: Some(reason.word().to_owned()),
                message: Some(message.clone()),
            },
            End::Stopped { by } => {
                Self { kind: EndKind::Stopped, reason: None, message: Some(format!("stopped by {by}")) }
            }
        }
    }
}

/// How a process ended: by itself with a code, or by a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `asked` (we wanted it), `left` (by itself, in order), `crashed` or `unknown`.
    pub verdict: Option<String>,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
    /// Descendants that had to be killed after it.
    pub swept: u32,
    /// Descendants that could not be killed.
    pub left: u32,
}

impl Exit {
    /// The end of a process, with the verdict where it is at hand.
    pub fn new(exit: &lockkeeper_core::session::Exit, verdict: Option<ExitVerdict>) -> Self {
        use lockkeeper_core::session::ExitStatus;
        let (code, signal) = match exit.status {
            ExitStatus::Code(code) => (Some(code), None),
            ExitStatus::Signal(signal) => (None, Some(signal)),
        };
        let word = |verdict| match verdict {
            ExitVerdict::Asked => "asked",
            ExitVerdict::Left => "left",
            ExitVerdict::Crashed => "crashed",
            ExitVerdict::Unknown => "unknown",
        };
        Self {
            code,
            signal,
            verdict: verdict.map(|verdict| word(verdict).to_owned()),
            stderr: exit.stderr.clone(),
            swept: exit.swept,
            left: exit.left,
        }
    }
}

/// Tokens and rounds with the model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens read by the model, without those from a cache.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
    /// Tokens read from a cache.
    pub cache_read_tokens: u64,
    /// Tokens written to a cache.
    pub cache_write_tokens: u64,
    /// Rounds with the model.
    pub rounds: u32,
}

impl From<&lockkeeper_core::turn::Usage> for Usage {
    fn from(usage: &lockkeeper_core::turn::Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            rounds: usage.rounds,
        }
    }
}

/// The answer to `POST /v1/sessions/{session}/stop` and `…/kill`: the session, and what it will not do any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StopReceipt {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// Prompts that waited, and are dropped with its end.
    pub dropped: u32,
}

/// The answer to `PATCH /v1/sessions/{session}/settings`: the session as it is, and what the wanted mode will mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingsReceipt {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// What the agent does without asking in the mode that was asked for; none without one, or if that is not known.
    #[schema(schema_with = schema::or_null::unasked)]
    pub wanted_unasked: Option<Unasked>,
}

/// The answer to `GET /v1/sessions/{session}/full`: everything about a session, true at one cursor.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FullSession {
    /// The session.
    pub session: Session,
    /// Its turns, oldest first.
    pub turns: Vec<Turn>,
    /// Its gates, oldest first, closed ones too.
    pub gates: Vec<Gate>,
    /// Its launches, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its events, oldest first.
    pub events: Vec<Event>,
    /// The cursor that the answer is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}
