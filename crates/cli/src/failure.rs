//! How a command ends without success: what happened, what to do next, and the exit code.

use std::io;

use lockkeeper_api::BadName;
use lockkeeper_api::client::ClientError;

use crate::exit;
use crate::start;

/// The end of a command without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: u8,
    /// What happened; empty if everything has been said already.
    pub(crate) what: String,
    /// What to do next.
    pub(crate) next: Option<String>,
}

/// What a command comes to.
pub(crate) type Outcome<T = u8> = Result<T, Failure>;

impl Failure {
    /// A failure with its exit code.
    pub(crate) fn new(exit: u8, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: None }
    }

    /// A wrong command line.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(exit::USAGE, what)
    }

    /// With what to do next.
    #[must_use]
    pub(crate) fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let what = chain(&error);
        match &error {
            ClientError::NoDaemon { socket } => start::no_daemon(socket),
            ClientError::Unreachable { .. } => {
                Self::new(exit::NO_DAEMON, what).next("`lk doctor` says what is wrong")
            }
            ClientError::Timeout { .. } => {
                Self::new(exit::NO_DAEMON, what).next("`lk doctor` says how the daemon is")
            }
            ClientError::Broken { .. } => Self::new(exit::NO_DAEMON, what).next("`lk daemon logs` may say why"),
            ClientError::Garbled { .. } => Self::new(exit::FAILED, what)
                .next("`lk version` compares the versions; `lk daemon restart` takes the present one, and agents survive"),
            ClientError::Problem(problem) => {
                Self { exit: problem.exit(), what: problem.to_string(), next: problem.next.clone() }
            }
        }
    }
}

impl From<BadName> for Failure {
    fn from(error: BadName) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// Reading and writing of our own; the reader of a pipe who has had enough is no failure.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(exit::OK, "");
        }
        Self::new(exit::FAILED, error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(exit::FAILED, chain(error.as_ref()))
    }
}

/// An error with its causes. One that is told in the words of the error before it is not told again.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || anyhow::anyhow!("the disk is full");
        assert_eq!(
            Failure::from(cause().context("failed to write")).what,
            "failed to write: the disk is full"
        );
        let told = cause().context("failed to write: the disk is full");
        assert_eq!(Failure::from(told).what, "failed to write: the disk is full");
    }
}
