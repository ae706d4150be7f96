//! What can go wrong with a store.

use std::path::PathBuf;

use lockkeeper_core::id::SessionId;
use thiserror::Error;

/// Why a store could not be opened, read or written.
///
/// It is `Clone` because one failed commit answers several submissions.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The disk is full. Nothing of the submission was stored; it can be submitted again when there is space.
    #[error("the disk is full")]
    Full,
    /// Another process has had the database locked for longer than [`limits::BUSY_MS`](crate::limits::BUSY_MS).
    /// Nothing was stored.
    #[error("the database is locked by another process")]
    Busy,
    /// Too much waits for the writer. Nothing was stored; try again.
    #[error("too much waits to be stored")]
    Overloaded,
    /// A sync failed earlier, so nobody knows what is on the disk. Nothing is stored from then on; the way out is to
    /// open the store again, which reads what is really there.
    #[error("the store takes nothing more since a sync failed: {why}")]
    Poisoned {
        /// The error of the sync.
        why: String,
    },
    /// The disk reported an error. Nothing of the submission was stored.
    #[error("the disk failed: {why}")]
    Io {
        /// In the system's words.
        why: String,
    },
    /// What is stored cannot be what was stored. It is refused and left as it is.
    #[error(
        "the store is damaged: {what}; nothing was changed: keep a copy, then restore a backup or use another LK_HOME"
    )]
    Damaged {
        /// What was found.
        what: String,
        /// The session and the number of the event, where it is one.
        at: Option<(SessionId, u64)>,
    },
    /// A newer version of Lockkeeper made the store. It is left as it is.
    #[error(
        "the store has format {found}, made by a newer lk (this one knows {known}): use that version, or another LK_HOME"
    )]
    Newer {
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// The file belongs to another program.
    #[error("{path} is a database of another program; use another LK_HOME")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The place cannot be read or written by this user.
    #[error("{path} cannot be used: {why}")]
    Denied {
        /// The file.
        path: PathBuf,
        /// In the system's words.
        why: String,
    },
    /// The cursor lies behind the end of the log: it is from another one, or the log is an older copy.
    #[error("the position {cursor} is not in this log, which ends at {head}")]
    Ahead {
        /// The cursor.
        cursor: u64,
        /// The end of the log.
        head: u64,
    },
    /// The store is being closed, or its writer is gone.
    #[error("the store is closed")]
    Closed,
}
