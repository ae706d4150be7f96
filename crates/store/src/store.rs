//! The trait that every engine implements.

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::State;

use crate::append::{Append, Done, Epoch, Ingested, KeyEntry, Removal};
use crate::audit::{AuditPage, AuditQuery};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::query::{EventQuery, Found, GateFilter, GatePage, Page, RawPage, View, ViewFilter};
use crate::row::SessionRow;

/// A durable log with what is derived from it.
///
/// Reads block for the time of a short query; async callers use a blocking thread for long pages. Every method takes
/// `&self`, and a store is shared in an `Arc`. Dropping the last handle stores what still waits, then closes.
///
/// Reads fail with [`StoreError::Io`], [`StoreError::Busy`] or [`StoreError::Damaged`]; a reading never changes
/// anything, and it goes on when writing no longer does (full disk, poisoned).
pub trait Store: Send + Sync {
    /// The epoch of this opening.
    fn epoch(&self) -> Epoch;

    /// The random identity of the log, made with it. A cursor belongs to one log only.
    fn log_id(&self) -> &str;

    /// Stores a batch of items, each all or nothing. What waits at the same time shares one commit and one sync;
    /// submissions are taken in order, and so are the items of one. An item that is refused leaves its neighbours alone.
    /// A session may occur more than once.
    ///
    /// `done` is called exactly once, after the commit. Never blocks: if too much waits
    /// ([`limits::QUEUE_ITEMS`](crate::limits::QUEUE_ITEMS), [`limits::QUEUE_BYTES`](crate::limits::QUEUE_BYTES)) `done`
    /// gets [`StoreError::Overloaded`] at once, and nothing is stored.
    fn submit(&self, batch: Vec<Append>, done: Done);

    /// Removes a session; like a submission of one item. Its id is never free again.
    fn remove(&self, removal: Removal, done: Done);

    /// Forgets idempotency keys stored with events before this wall time (milliseconds since 1970).
    fn forget_keys(&self, before_wall_ms: i64, done: Done);

    /// Keeps something that is true of the caller's host and of no session, in place of what was kept under this name;
    /// `None` forgets it. Adds `records` to the audit with it, in one commit. Like a submission of one essential item: it is
    /// small, and may use the reserve of a full disk.
    fn keep_fact(&self, name: &'static str, value: Option<String>, records: &[AuditRecord], done: Done);

    /// Waits for everything submitted before. For tests, and for stopping in order.
    ///
    /// # Errors
    /// [`StoreError::Closed`] if the writer is gone.
    fn flush(&self) -> Result<(), StoreError>;

    /// Right behind the last event that this store has committed.
    fn head(&self) -> Cursor;

    /// Has a function called after commits with the position of the last event. A hint: it may come late or stand for several
    /// commits, and it runs on the writer's thread, so it must be short. It cannot be taken back.
    fn on_commit(&self, hint: Box<dyn Fn(Cursor) + Send + Sync>);

    /// Reads a part of the log without decoding it.
    ///
    /// # Errors
    /// [`StoreError::Ahead`] for a cursor behind the end of the log.
    fn read_raw(&self, query: &EventQuery) -> Result<RawPage, StoreError>;

    /// Reads a part of the log.
    ///
    /// # Errors
    /// As [`Store::read_raw`], and [`StoreError::Damaged`] for an event of a known kind that does not decode.
    fn read(&self, query: &EventQuery) -> Result<Page, StoreError> {
        let RawPage { events, next, more } = self.read_raw(query)?;
        let events = events.into_iter().map(crate::query::RawEvent::decode).collect::<Result<_, _>>()?;
        Ok(Page { events, next, more })
    }

    /// Lists sessions and their open gates as they are at one position of the log.
    fn view(&self, filter: &ViewFilter) -> Result<View, StoreError>;

    /// The row of a session; `None` if there is no such session, or no longer.
    fn session_row(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// Finds what a person means: a whole id; else the name of a session that has not ended; else the name of the
    /// ended session that was made last; else the beginning of exactly one id.
    fn find(&self, reference: &str) -> Result<Found, StoreError>;

    /// Finds the sessions whose ids begin so, if that is enough to name one: see [`ID_CHARS`](crate::limits::ID_CHARS).
    fn with_id(&self, beginning: &str) -> Result<Found, StoreError>;

    /// The state of a session: its snapshot if there is one that can be used, and a fold of the rest of its log.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its log has a gap, ends elsewhere than its row says, or holds an event of a known
    /// kind that does not decode.
    fn load(&self, id: &SessionId) -> Result<Option<State>, StoreError>;

    /// A gate, open or not.
    fn gate(&self, session: &SessionId, no: GateNo) -> Result<Option<Gate>, StoreError>;

    /// Lists gates.
    fn gates(&self, filter: &GateFilter) -> Result<GatePage, StoreError>;

    /// Reads a part of the audit.
    fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// How far the output of a session's process is taken in.
    fn ingested(&self, id: &SessionId) -> Result<Option<Ingested>, StoreError>;

    /// The answer that was given to a request with this key.
    fn key(&self, scope: &str, key: &str) -> Result<Option<KeyEntry>, StoreError>;

    /// The last answers that were given within a scope, the newest first.
    fn keys(&self, scope: &str, limit: usize) -> Result<Vec<KeyEntry>, StoreError>;

    /// What is kept under this name of the host; see [`Store::keep_fact`].
    fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError>;

    /// Sessions with a process, or with work that waits: those that a starting daemon must look at. Its cost does not
    /// grow with the number of the others. See [`SessionRow::live`].
    fn live(&self) -> Result<Vec<SessionId>, StoreError>;

    /// How the store is.
    fn health(&self) -> Health;
}

/// How a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// The disk is full: only essential items are taken.
    pub full: bool,
    /// Why nothing is stored any more, if so.
    pub poisoned: Option<String>,
    /// Another opening has taken over: everything is fenced.
    pub fenced: bool,
    /// Whether the reserve for a full disk is there. Always so in memory.
    pub reserve: bool,
    /// What a check of the whole file found.
    pub integrity: Integrity,
    /// Commits of this opening.
    pub commits: u64,
    /// Events that it stored.
    pub events: u64,
    /// Items that wait for the writer.
    pub waiting: usize,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// The last error of writing that was not one item's fault, and has not been followed by a success.
    pub last_error: Option<StoreError>,
}

/// What a check of the whole file found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Integrity {
    /// There was no need: the last stop was clean.
    #[default]
    NotNeeded,
    /// It is under way, after an unclean stop.
    Checking,
    /// Nothing wrong.
    Sound,
    /// Damage, found by the check or by a read. Nothing is stored any more.
    Damaged(String),
    /// It could not be done.
    NotDone(String),
}
