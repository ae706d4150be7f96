//! What people and programs ask of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::Lifetime;
use crate::gate::Decision;
use crate::id::{AgentName, GateNo, PromptNo, SessionId, SessionName, TurnNo};
use crate::prompt::Class;

/// A command with its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub by: String,
    /// What for.
    pub command: Command,
}

/// A session to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its id, drawn by the shell.
    pub id: SessionId,
    /// What people call it.
    pub name: Option<SessionName>,
    /// The agent.
    pub agent: AgentName,
    /// The workspace, an absolute path.
    pub dir: String,
    /// The model to ask for.
    pub model: Option<String>,
    /// The permission mode to ask for.
    pub mode: Option<String>,
    /// Whether it ends with its first turn.
    pub lifetime: Lifetime,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Where it works: `dev`, `prod`.
    pub environment: Option<String>,
    /// On whose behalf.
    pub submitter: Option<String>,
    /// Limit of a turn in milliseconds.
    pub turn_ms: Option<u64>,
    /// Its first prompt.
    pub prompt: Option<NewPrompt>,
}

/// A prompt to be queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrompt {
    /// What to tell the agent.
    pub text: Arc<str>,
    /// How urgent it is.
    pub class: Class,
    /// The caller's idempotency key.
    pub key: Option<String>,
}

/// What becomes of a session's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rename {
    /// It stays.
    Keep,
    /// It has none.
    Clear,
    /// It is this.
    To(SessionName),
}

/// What can be asked of a session that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Queue a prompt. Opens an ended session again and ends a hold.
    Prompt(NewPrompt),
    /// Replace the text of a prompt that still waits.
    EditPrompt {
        /// Which.
        prompt: PromptNo,
        /// The text in its place.
        text: Arc<str>,
    },
    /// Take a waiting prompt out of the queue.
    DropPrompt {
        /// Which.
        prompt: PromptNo,
    },
    /// Cancel the turn that runs.
    Interrupt {
        /// The turn that is meant; none means whichever runs.
        turn: Option<TurnNo>,
    },
    /// End the session in order.
    Stop,
    /// End the session's processes by force.
    Kill,
    /// Start the agent again, and let the queue go on.
    Resume,
    /// Decide at a gate.
    Decide {
        /// Which.
        gate: GateNo,
        /// What.
        decision: Decision,
    },
    /// Change the model or the permission mode.
    Set {
        /// The model to use from the next turn on.
        model: Option<String>,
        /// The mode to use from the next turn on.
        mode: Option<String>,
    },
    /// Change what people call the session and know it by.
    Describe {
        /// What becomes of its name.
        name: Rename,
        /// Labels to be set.
        set: BTreeMap<String, String>,
        /// Labels to be removed.
        remove: BTreeSet<String>,
    },
}
