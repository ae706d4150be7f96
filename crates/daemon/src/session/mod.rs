//! One task per session. It owns the session's state; everybody else sends it messages.
//!
//! The loop: wait for something, take in all that is there, decide on a scratch state, commit, adopt, answer, tell,
//! and do what the state calls for. Nothing is answered, told or done before its commit.

pub(crate) mod attach;
pub(crate) mod feed;
pub(crate) mod launch;
pub(crate) mod link;
pub(crate) mod live;
mod rows;
mod task;
mod troubles;

use std::sync::{Arc, Mutex};

use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::{Envelope, Rejection, Request, State};
use lockkeeper_store::{Cursor, KeyEntry, StoreError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub(crate) use live::{Live, LiveText};
pub(crate) use task::Task;
pub(crate) use troubles::{Trouble, Troubles};

/// What a session's task is asked.
pub(crate) enum Message {
    /// Decide a command.
    Command {
        /// The command.
        request: Request,
        /// The idempotency key that it goes under, with the answer that is to be kept.
        key: Option<KeyIntent>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Done, Refused>>,
    },
    /// Show the state.
    Look {
        /// Where it goes.
        reply: oneshot::Sender<Arc<State>>,
    },
    /// It got a slot of the host.
    Admitted,
    /// The host begins things again.
    Unpaused,
    /// The world did something outside the journal.
    Observed(lockkeeper_core::session::Observation),
    /// The daemon started: say that it is not known how the process stands, and find out.
    Wake {
        /// Told once it is committed that it does not know.
        done: oneshot::Sender<()>,
    },
    /// Remove the session and all that it left, if it has ended.
    Remove {
        /// Who asks.
        by: String,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
}

/// A command that was committed.
#[derive(Debug)]
pub(crate) struct Done {
    /// The state after it.
    pub(crate) state: Arc<State>,
    /// What it brought about.
    pub(crate) events: Vec<Envelope>,
    /// The position after it.
    pub(crate) cursor: Cursor,
    /// With a key: the answer as it is kept, whether this request or an earlier one got it.
    pub(crate) answer: Option<String>,
}

/// What became of a request for a session.
#[derive(Debug)]
pub(crate) enum Made {
    /// It was made.
    Now(Done),
    /// An earlier request under the same key made it, and got this answer.
    Before {
        /// The answer.
        answer: String,
        /// The position that the log has by now.
        cursor: Cursor,
    },
}

/// The key of a command and how to print its answer, so that both are in the transaction.
pub(crate) struct KeyIntent {
    /// Where the key counts.
    pub(crate) scope: String,
    /// The key.
    pub(crate) key: String,
    /// Another scope and key that the same request is known by.
    pub(crate) also: Option<(String, String)>,
    /// The hash of what was asked.
    pub(crate) body_hash: String,
    /// Prints the answer.
    pub(crate) respond: Respond,
}

impl KeyIntent {
    /// The scopes and keys that the request is known by.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let also = self.also.as_ref().map(|(scope, key)| (scope.as_str(), key.as_str()));
        [(self.scope.as_str(), self.key.as_str())].into_iter().chain(also)
    }

    /// What is kept of a request that was decided.
    pub(crate) fn kept(self, state: &State, events: &[Envelope]) -> Vec<KeyEntry> {
        let response = (self.respond)(state, events);
        let names = [(self.scope, self.key)].into_iter().chain(self.also);
        let entry = |(scope, key)| {
            let (body_hash, response) = (self.body_hash.clone(), response.clone());
            KeyEntry { scope, key, body_hash, response }
        };
        names.map(entry).collect()
    }
}

/// Prints the answer to a command that was decided and is about to be committed.
pub(crate) type Respond = Box<dyn FnOnce(&State, &[Envelope]) -> String + Send>;

/// A command that changed nothing.
#[derive(Debug, Clone, Error)]
pub(crate) enum Refused {
    /// The rules refuse it.
    #[error("{0}")]
    Rejected(Rejection),
    /// The key was used for something else.
    #[error("the idempotency key {key:?} was used for another request")]
    KeyConflict {
        /// The key.
        key: String,
    },
    /// It could not be stored.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The session is not there any more.
    #[error("the session is gone")]
    Gone,
    /// The session has not ended.
    #[error("the session has not ended")]
    Living,
    /// The daemon is going down.
    #[error("the daemon is stopping")]
    GoingDown,
}

/// A way to a session's task.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) id: SessionId,
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) live: Arc<Mutex<LiveText>>,
    pub(crate) troubles: Arc<Troubles>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Command { .. } => "Command",
            Self::Look { .. } => "Look",
            Self::Admitted => "Admitted",
            Self::Observed(_) => "Observed",
            Self::Wake { .. } => "Wake",
            Self::Unpaused => "Unpaused",
            Self::Remove { .. } => "Remove",
        })
    }
}
