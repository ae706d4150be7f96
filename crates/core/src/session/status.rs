//! The word that people see, derived and never written.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::end::{Closing, End};
use super::event::Envelope;
use super::queue::Head;
use super::state::{Life, Process, State};
use crate::id::{BadName, ClaimNo, PromptNo};
use crate::time::Stamp;

/// The status of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A turn waits: for a hold to be lifted, a backoff, a switch of the model.
    Queued,
    /// The process is being started.
    Starting,
    /// The process waits for a prompt.
    Idle,
    /// A turn runs.
    Running,
    /// A gate waits for somebody.
    AwaitingInput,
    /// A turn is being cancelled.
    Interrupting,
    /// The process is being ended.
    Stopping,
    /// No process; the next prompt starts one.
    Suspended,
    /// What became of the process since the daemon started is not known yet.
    Unknown,
    /// Ended: its turn completed.
    Completed,
    /// Ended: it failed.
    Failed,
    /// Ended: somebody ended it.
    Stopped,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Starting,
        Self::Idle,
        Self::Running,
        Self::AwaitingInput,
        Self::Interrupting,
        Self::Stopping,
        Self::Suspended,
        Self::Unknown,
        Self::Completed,
        Self::Failed,
        Self::Stopped,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::AwaitingInput => "awaiting_input",
            Self::Interrupting => "interrupting",
            Self::Stopping => "stopping",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Whether it is an end.
    pub fn is_end(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Stopped => true,
            Self::Queued
            | Self::Starting
            | Self::Idle
            | Self::Running
            | Self::AwaitingInput
            | Self::Interrupting
            | Self::Stopping
            | Self::Suspended
            | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Status {
    type Err = BadName;

    /// Reads a status, or one of the other systems' words for it.
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text {
            "input_required" | "waiting_input" => return Ok(Self::AwaitingInput),
            "completing" => return Ok(Self::Interrupting),
            _ => {}
        }
        Self::ALL.into_iter().find(|status| status.word() == text).ok_or_else(|| BadName {
            what: "status",
            text: text.chars().take(80).collect(),
            why: "queued, starting, idle, running, awaiting_input, interrupting, stopping, suspended, unknown, completed, failed or stopped",
        })
    }
}

/// The event that led to a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its number.
    pub seq: u64,
    /// Its kind.
    pub kind: String,
}

/// A status with its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusNow {
    /// The status.
    pub status: Status,
    /// Since when.
    pub since: Stamp,
    /// What led to it.
    pub cause: Cause,
}

/// What a queued session waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// For whoever holds the queue.
    Hold {
        /// Who.
        by: String,
    },
    /// For the owner of a claim, whose turns the next ones are.
    Claim {
        /// The claim.
        claim: ClaimNo,
        /// Its owner.
        owner: Arc<str>,
    },
    /// For somebody to let a prompt go.
    Parked {
        /// The prompt.
        prompt: PromptNo,
    },
    /// For the time after a crash to be over.
    Backoff,
    /// For a switch of the model or mode.
    Switch,
    /// For a limit of the agent's account to be over.
    Limit {
        /// When that should be, in milliseconds since 1970-01-01 UTC.
        until_ms: i64,
    },
    /// For a slot of the host.
    Slot,
}

/// What a session waits for, if it is queued.
pub fn waits(state: &State) -> Option<Waits> {
    if status(state) != Status::Queued {
        return None;
    }
    if let Some(by) = &state.held {
        return Some(Waits::Hold { by: by.clone() });
    }
    if let Some(Head::Claim(claim)) = state.head()
        && !state.queue.is_empty()
    {
        return Some(Waits::Claim { claim: claim.no, owner: claim.owner.clone() });
    }
    if matches!(state.process, Process::Live(_)) && (state.wanted.is_some() || state.switching()) {
        return Some(Waits::Switch);
    }
    match state.queue.iter().next().filter(|first| first.parked.is_some() && !state.launch_wanted) {
        Some(parked) => Some(Waits::Parked { prompt: parked.no }),
        None => Some(match &state.limited_until {
            Some(until) => Waits::Limit { until_ms: until.wall_ms },
            None if state.backoff_until.is_some() => Waits::Backoff,
            None => Waits::Slot,
        }),
    }
}

/// The status that a session would have if it were not unknown what became of its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    /// It, with its beginning.
    pub now: StatusNow,
    /// The one before it, to which the same step may lead back.
    pub before: Option<StatusNow>,
}

impl Beneath {
    /// Follows the status through one event more.
    pub(super) fn follow(&mut self, status: Status, envelope: &Envelope) {
        if status == self.now.status {
            return;
        }
        let back =
            self.before.take().filter(|before| before.status == status && self.now.since == envelope.at);
        let began = back.unwrap_or_else(|| StatusNow {
            status,
            since: envelope.at.clone(),
            cause: Cause { seq: envelope.seq, kind: envelope.event.kind().to_owned() },
        });
        self.before = Some(std::mem::replace(&mut self.now, began));
    }
}

/// Derives the status. The order of the questions is the order of precedence.
pub fn status(state: &State) -> Status {
    if state.settled_since_boot { apart_from_boot(state) } else { Status::Unknown }
}

/// The status that the state would have if it were settled.
pub(super) fn apart_from_boot(state: &State) -> Status {
    if let Life::Ended { end, .. } = &state.life {
        return match end {
            End::Completed => Status::Completed,
            End::Failed { .. } => Status::Failed,
            End::Stopped { .. } => Status::Stopped,
        };
    }
    match state.closing.as_ref().map(|closing| &closing.why) {
        Some(Closing::AfterInterrupt) => return Status::Interrupting,
        Some(Closing::Relaunch { .. } | Closing::LoggedIn) => return Status::Starting,
        Some(
            Closing::Stop { .. }
            | Closing::Kill { .. }
            | Closing::Done { .. }
            | Closing::ConversationLost
            | Closing::HandshakeTimeout,
        ) => return Status::Stopping,
        None => {}
    }
    if state.interrupt.is_some() {
        return Status::Interrupting;
    }
    if state.has_open_gate() {
        return Status::AwaitingInput;
    }
    if state.turn.is_some() || state.own_turn.is_some() {
        return Status::Running;
    }
    match state.process {
        Process::Launching(_) | Process::Opening(_) => return Status::Starting,
        Process::Live(_) | Process::Absent => {}
    }
    if !state.queue.is_empty() || state.wanted.is_some() || state.launch_wanted {
        return Status::Queued;
    }
    match state.process {
        Process::Live(_) => Status::Idle,
        Process::Absent | Process::Launching(_) | Process::Opening(_) => Status::Suspended,
    }
}
