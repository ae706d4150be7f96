//! What is written.

use std::fmt;
use std::sync::Arc;

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{AttemptNo, SessionId};
use lockkeeper_core::session::{Envelope, State};
use lockkeeper_core::time::Stamp;
use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::row::SessionRow;

/// The number of one opening of the store. Each opening gets a higher one, and from then on everything that an older
/// one submits is [`Appended::Fenced`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(crate) u64);

impl Epoch {
    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one session's step stores: all of it or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// Who writes; from [`Store::epoch`](crate::Store::epoch).
    pub epoch: Epoch,
    /// The number of the session's last event before these; 0 for a session that is being made.
    pub expected: u64,
    /// The events, numbered from `expected + 1`. May be empty, for example when only `ingested` moves.
    pub events: Vec<Envelope>,
    /// The row of the state after these events.
    pub row: SessionRow,
    /// The gates that these events changed, as they are afterwards; closed ones too, which the state then no longer has.
    pub gates: Vec<Gate>,
    /// What the audit keeps of these events. Each says which session it is of.
    pub audit: Vec<AuditRecord>,
    /// How far the agent's output is taken in, if that changed.
    pub ingested: Option<Ingested>,
    /// Answers to be given again when the same request comes again.
    pub keys: Vec<KeyEntry>,
    /// The state after these events, to shorten the next [`Store::load`](crate::Store::load). A cache: the log is the truth.
    pub snapshot: Option<Arc<State>>,
    /// Whether it may use the reserve when the disk is full: ends of processes, decisions, stops.
    pub essential: bool,
}

impl Append {
    /// What a step of a session stores, with nothing but its events, the row and a claim to the next number.
    ///
    /// `state` is the session after the events.
    pub fn of(epoch: Epoch, state: &State, events: Vec<Envelope>) -> Self {
        let expected = events.first().map_or(state.seq, |first| first.seq.saturating_sub(1));
        Self {
            session: state.id.clone(),
            epoch,
            expected,
            events,
            row: SessionRow::of(state),
            gates: Vec::new(),
            audit: Vec::new(),
            ingested: None,
            keys: Vec::new(),
            snapshot: None,
            essential: false,
        }
    }
}

/// What became of one item of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It is stored and synced.
    Ok {
        /// Right behind its last event (behind the log's last one if it had none).
        last: Cursor,
        /// The number of the session's last event.
        seq: u64,
    },
    /// The session's last event is another one than expected. Nothing of the item was stored.
    Conflict {
        /// The number of its last event; 0 if there is no such session.
        found: u64,
    },
    /// Somebody else has opened the store since. Nothing was stored, nor will be.
    Fenced,
    /// Another session that has not ended has the name. Nothing was stored.
    NameTaken {
        /// That session.
        by: SessionId,
    },
    /// The idempotency key is in use. Nothing was stored.
    KeyTaken(Box<KeyEntry>),
    /// The item contradicts itself or what is stored of its session, or is too large; submitting it again cannot help.
    /// Nothing was stored.
    Refused {
        /// Why, for the log of the daemon.
        why: String,
    },
    /// The disk is full and the item is not essential, unlike others of its submission. Nothing was stored.
    Full,
    /// Nobody can know: the sync failed. Opening the store again tells.
    Unknown,
}

/// How far the output of a session's process is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingested {
    /// The attempt whose journal it is.
    pub attempt: AttemptNo,
    /// Offset in the journal, in bytes, below which everything is taken in.
    pub upto: u64,
    /// Offset of the record in which an unfinished line of standard output begins.
    pub out_carry: Option<u64>,
    /// The same for standard error.
    pub err_carry: Option<u64>,
    /// Offset from which the adapter must decode again to have what it had.
    pub rebuild_from: u64,
}

/// The answer to a request that bore an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// Within which the key is unique, for example the caller and the endpoint.
    pub scope: String,
    /// The caller's key.
    pub key: String,
    /// A hash of the request, to tell a repetition from another request.
    pub body_hash: String,
    /// The answer, as it was given.
    pub response: String,
}

/// The removal of a session: its events, row, gates and all else; a tombstone event `session.removed` stays, so that
/// subscribers learn of it.
#[derive(Debug, Clone)]
pub struct Removal {
    /// The session.
    pub session: SessionId,
    /// Who writes.
    pub epoch: Epoch,
    /// The number of the session's last event.
    pub expected: u64,
    /// When.
    pub at: Stamp,
    /// Who asked for it.
    pub by: String,
}

/// Called once with what became of a submission: one [`Appended`] per item in their order, or one error for all of
/// it. Runs on the writer's thread (on the caller's if the submission was not taken), so it must be short: send a
/// message, do not wait. It may drop the last handle of the store.
pub type Done = Box<dyn FnOnce(Result<Vec<Appended>, StoreError>) + Send>;
