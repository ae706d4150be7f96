//! Sessions.

use std::collections::BTreeMap;
use std::fmt;

use lockkeeper_core::id::{AgentName, AgentSessionId, AttemptNo, SessionId, SessionName};
use lockkeeper_core::prompt::Class;
use lockkeeper_core::session::{ExitVerdict, Lifetime, Status};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::{Cursor, Event, Gate, PromptReceipt, Time, Turn, TurnEnd, TurnNow, schema};

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
    /// Whether no turn and no delegated task is under way.
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
    /// The model: what the agent says it uses, else what was asked for.
    pub model: Option<String>,
    /// The permission mode: what the agent says it uses, else what was asked for.
    pub mode: Option<String>,
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
    /// Who keeps the queue from going on.
    pub held_by: Option<String>,
    /// Gates that wait for a decision.
    pub open_gates: u32,
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

/// The body of `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// The agent: `claude`, `demo`.
    #[schema(value_type = String)]
    pub agent: AgentName,
    /// The workspace: an absolute path to a directory that exists.
    pub dir: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<SessionName>,
    /// The model to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The permission mode to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether it stays until it is stopped. Otherwise it ends as its turn did.
    #[serde(default)]
    pub keep: bool,
    /// Free labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// On whose behalf, if not the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// Limit of a turn in milliseconds; the turn is interrupted then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_timeout_ms: Option<u64>,
    /// The whole environment of the agent's processes. It is kept for every attempt and never shown. Variables of
    /// Lockkeeper itself and marks of outer agents are taken out.
    #[serde(default, skip_serializing_if = "Secrets::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub env: Secrets,
    /// Its first prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// How urgent that prompt is. Required with a prompt, refused without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::class)]
    pub class: Option<Class>,
}

impl NewSession {
    /// A session with nothing but an agent and a workspace.
    pub fn new(agent: AgentName, dir: String) -> Self {
        Self {
            agent,
            dir,
            name: None,
            model: None,
            mode: None,
            keep: false,
            labels: BTreeMap::new(),
            environment: None,
            submitter: None,
            turn_timeout_ms: None,
            env: Secrets::default(),
            prompt: None,
            class: None,
        }
    }

    /// Whether it ends with its turn.
    pub fn lifetime(&self) -> Lifetime {
        if self.keep { Lifetime::Kept } else { Lifetime::OneShot }
    }
}

/// Variables of an environment. Their values are never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secrets(pub BTreeMap<String, String>);

impl Secrets {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The answer to `POST /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// The session.
    pub session: Session,
    /// What became of its first prompt, if it had one.
    pub prompt: Option<PromptReceipt>,
    /// The cursor that the answer is true at.
    #[schema(value_type = String)]
    pub cursor: Cursor,
}

/// The body of `PATCH /v1/sessions/{session}`. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionPatch {
    /// Another name; null takes the name away.
    #[serde(default, skip_serializing_if = "Change::is_keep")]
    #[schema(value_type = Option<String>)]
    pub name: Change<SessionName>,
    /// Labels to set; null removes one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// A change of something that may be absent: no field keeps it, null takes it away, a value sets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken away.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// Whether it stays as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => to.serialize_none(),
            Self::Set(value) => value.serialize(to),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Clear, Self::Set))
    }
}

/// The body of `PATCH /v1/sessions/{session}/settings`: what to use from the next turn on. At least one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsRequest {
    /// The model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The permission mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// One launch of the agent's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number.
    #[schema(value_type = u32)]
    pub no: AttemptNo,
    /// Its process, once it ran.
    pub pid: Option<u32>,
    /// The agent's version, where it tells.
    pub version: Option<String>,
    /// The conversation that it continues.
    #[schema(value_type = Option<String>)]
    pub resume: Option<AgentSessionId>,
    /// The model that it was launched with.
    pub model: Option<String>,
    /// The permission mode that it was launched with.
    pub mode: Option<String>,
    /// When the launch was decided.
    #[schema(value_type = String, format = DateTime)]
    pub launched: Time,
    /// When it ended, or failed to start.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended: Option<Time>,
    /// How it ended; absent while it runs and when nobody can know.
    pub exit: Option<Exit>,
    /// Why it could not be started, or what is not known of its end.
    pub problem: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_tells_an_absent_name_from_null() -> Result<(), Box<dyn std::error::Error>> {
        let cases = [
            ("{}", Change::Keep),
            (r#"{"name":null}"#, Change::Clear),
            (r#"{"name":"a"}"#, Change::Set("a".parse()?)),
        ];
        for (text, name) in cases {
            let patch: SessionPatch = serde_json::from_str(text)?;
            assert_eq!(patch.name, name);
            assert_eq!(serde_json::to_string(&patch)?, text);
        }
        Ok(())
    }

    #[test]
    fn a_request_with_a_field_that_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<NewSession>(text).is_ok();
        assert!(read(r#"{"agent":"demo","dir":"/"}"#));
        assert!(!read(r#"{"agent":"demo","dir":"/","budget":1}"#));
    }

    #[test]
    fn the_values_of_an_environment_are_never_printed() {
        let env = Secrets(BTreeMap::from([("TOKEN".to_owned(), "s3cret".to_owned())]));
        assert_eq!(format!("{env:?}"), r#"{"TOKEN"}"#);
    }
}
