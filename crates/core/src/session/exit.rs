//! The end of a process, and the verdict on it.

use serde::{Deserialize, Serialize};

use super::state::{Climb, Closing, Interrupt, InterruptCause, SignalOut};
use crate::manner::Rung;
use crate::turn::{FailureKind, Outcome};

/// What is known of the end of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
    /// Descendants that had to be killed after it.
    pub swept: u32,
    /// Descendants that could not be killed.
    pub left: u32,
    /// What the adapter reads out of `stderr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<ExitHint>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// What the last words of a process tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitHint {
    /// The conversation to resume does not exist.
    ConversationLost,
    /// Another process has the conversation.
    ConversationInUse,
    /// It did not understand its command line.
    BadFlag,
    /// It is not logged in.
    NotLoggedIn,
}

/// The verdict on an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// We asked for it.
    Asked,
    /// It left by itself, in order and between turns.
    Left,
    /// It crashed, or left in the middle of something.
    Crashed,
    /// There is no record of it.
    Unknown,
}

/// The conventional exit code of a process that a signal made end: 128 and the signal's number.
const SIGNAL_CODE_BASE: i32 = 128;
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Judges an end by what was asked, what was sent and how it ended. Pure.
pub(super) fn judge(
    status: ExitStatus,
    interrupt: Option<&Interrupt>,
    closing: Option<&Closing>,
    signals: &[SignalOut],
    stdin_closed: bool,
    busy: bool,
) -> Verdict {
    let asked = closing.is_some() || interrupt.is_some();
    let requested =
        interrupt.is_some_and(|i| i.climb.requested()) || closing.is_some_and(|c| c.climb.requested());
    if asked && ours(status, signals, stdin_closed, requested) {
        return Verdict::Asked;
    }
    match status {
        ExitStatus::Code(0) if !busy => Verdict::Left,
        ExitStatus::Code(_) | ExitStatus::Signal(_) => Verdict::Crashed,
    }
}

/// Whether an end is what our steps lead to: after the end of input or a request, any exit of its own accord that is
/// not the report of a foreign signal; after a signal, death by it or its conventional code.
/// An agent that answers a request to cancel as it would a Ctrl-C does what it was asked to.
fn ours(status: ExitStatus, signals: &[SignalOut], stdin_closed: bool, requested: bool) -> bool {
    let sent = |signal: i32| signals.iter().any(|s| s.signal.number() == signal);
    match status {
        ExitStatus::Signal(signal) => sent(signal) || (signal == SIGINT && requested),
        ExitStatus::Code(code) => {
            let reported = code - SIGNAL_CODE_BASE;
            if [SIGINT, SIGKILL, SIGTERM].contains(&reported) {
                return sent(reported) || (reported == SIGINT && requested);
            }
            (0..=1).contains(&code) && (stdin_closed || requested || !signals.is_empty())
        }
    }
}

/// The outcome of a turn that its process did not survive.
pub(super) fn cut_outcome(
    exit: Option<&Exit>,
    verdict: Verdict,
    interrupt: Option<&Interrupt>,
    closing_by: Option<&str>,
    prompt_reached: bool,
) -> Outcome {
    let Some(exit) = exit else {
        if !prompt_reached {
            return Outcome::Failed {
                kind: FailureKind::Exit,
                message: "the agent's holder ended before the prompt was written; nothing ran".to_owned(),
            };
        }
        return Outcome::Unknown { why: "the agent and its holder ended without a record".to_owned() };
    };
    if verdict == Verdict::Asked {
        match interrupt.map(|i| &i.cause) {
            Some(InterruptCause::Asked { by }) => return Outcome::Interrupted { by: by.clone() },
            Some(InterruptCause::Deadline { what }) => {
                return Outcome::Failed { kind: FailureKind::Deadline, message: what.clone() };
            }
            Some(InterruptCause::Preempted { by }) => return Outcome::Preempted { by: *by },
            None => {}
        }
        if let Some(by) = closing_by {
            return Outcome::Interrupted { by: by.to_owned() };
        }
    }
    let kind = match exit.hint {
        Some(ExitHint::NotLoggedIn) => FailureKind::Login,
        Some(ExitHint::ConversationLost | ExitHint::ConversationInUse | ExitHint::BadFlag) | None => {
            FailureKind::Exit
        }
    };
    let last_words = exit.stderr.last().map(|line| format!(": {line}")).unwrap_or_default();
    let during = if interrupt.is_some() { " while it was being interrupted" } else { "" };
    Outcome::Failed { kind, message: format!("the agent {}{during}{last_words}", exit.status) }
}

impl Climb {
    /// Whether the ladder has gone beyond asking by the protocol.
    pub(super) fn beyond_request(&self) -> bool {
        self.rungs.iter().take(self.taken).any(|r| !matches!(r, Rung::Request))
    }

    /// Whether the agent was asked by the protocol.
    fn requested(&self) -> bool {
        self.rungs.iter().take(self.taken).any(|r| matches!(r, Rung::Request))
    }
}
