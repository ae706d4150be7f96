//! Ends, of processes, sessions and wishes: what events say about them.

use serde::{Deserialize, Serialize};

/// Why a process is being ended, and so what comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// Somebody asked the session to end in order.
    Stop {
        /// Who.
        by: String,
    },
    /// Somebody asked for force.
    Kill {
        /// Who.
        by: String,
    },
    /// A one-shot session came to its end.
    Done {
        /// Which.
        end: End,
    },
    /// The conversation that it should continue does not exist.
    ConversationLost,
    /// A turn was cancelled by ending the process; the session stays.
    AfterInterrupt,
    /// The agent did not answer in time; it is started again.
    Relaunch {
        /// What it did not answer.
        what: String,
    },
    /// Somebody has logged the agent in; it is started again, to see that.
    LoggedIn,
    /// The handshake was not done in time.
    HandshakeTimeout,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its turn completed.
    Completed,
    /// It failed.
    Failed {
        /// Why.
        reason: EndReason,
        /// For people.
        message: String,
    },
    /// Somebody ended it.
    Stopped {
        /// Who.
        by: String,
    },
}

/// Why a session failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its one turn failed, was refused or hit a limit.
    Turn,
    /// The process could not be started.
    Launch,
    /// The process ended, or said nothing, before it was ready.
    Handshake,
    /// The agent no longer has the conversation.
    ConversationLost,
    /// The process ended unasked too often.
    CrashLoop,
}

impl EndReason {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Launch => "launch",
            Self::Handshake => "handshake",
            Self::ConversationLost => "conversation_lost",
            Self::CrashLoop => "crash_loop",
        }
    }
}

/// What came of a wish for another model or mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsResult {
    /// The agent uses it.
    Applied,
    /// No process runs; the next one is started with it.
    ForNextLaunch,
    /// The agent refused, and nothing changed.
    Refused {
        /// The agent's code.
        code: Option<String>,
        /// In the agent's words.
        message: String,
    },
    /// The agent did not answer; it is started again with it.
    Relaunching,
}

impl Closing {
    /// Whether nothing but the end of the session is to come of it, so that no prompt is taken.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Stop { .. } | Self::Kill { .. } | Self::ConversationLost | Self::HandshakeTimeout => true,
            // A one-shot session that is done may be wanted again before it has ended.
            Self::Done { .. } | Self::AfterInterrupt | Self::Relaunch { .. } | Self::LoggedIn => false,
        }
    }

    /// Who asked for it, if somebody did.
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::Stop { by } | Self::Kill { by } => Some(by),
            Self::Done { .. }
            | Self::ConversationLost
            | Self::AfterInterrupt
            | Self::Relaunch { .. }
            | Self::LoggedIn
            | Self::HandshakeTimeout => None,
        }
    }
}
