//! What can go wrong with a call.

use std::path::PathBuf;

use thiserror::Error;

use crate::{ErrorCode, Problem};

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon listens at {}", .socket.display())]
    NoDaemon {
        /// Where one would.
        socket: PathBuf,
    },
    /// The socket is there and cannot be used, for example because it is somebody else's.
    #[error("the socket {} cannot be used", .socket.display())]
    Unreachable {
        /// Where it is.
        socket: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The daemon did not answer in time. What was asked may have been done.
    #[error("the daemon did not answer within {seconds} s")]
    Timeout {
        /// The time.
        seconds: u64,
    },
    /// The connection broke before the answer was there. What was asked may have been done.
    #[error("the connection to the daemon broke")]
    Broken {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon answered in a form that this version does not understand.
    #[error("the daemon{} answered in a form that this version does not understand: {what}",
        .version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default())]
    Garbled {
        /// What is wrong.
        what: String,
        /// The daemon's version, where it told.
        version: Option<String>,
    },
    /// The daemon refused or failed.
    #[error("{0}")]
    Problem(Box<Problem>),
}

impl ClientError {
    /// The problem, if the daemon answered with one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            Self::NoDaemon { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::Garbled { .. } => None,
        }
    }

    /// Whether the daemon answered with this code.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.problem().and_then(Problem::known_code) == Some(code)
    }

    /// Whether the daemon went away, so that it may come back.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::NoDaemon { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Problem(problem) => problem.known_code() == Some(ErrorCode::NotReady),
            Self::Unreachable { .. } | Self::Garbled { .. } => false,
        }
    }
}
