//! SQLite: the engine of one machine.
//!
//! One connection writes (a thread of its own, `BEGIN IMMEDIATE`, a write-ahead log that is synced with each commit),
//! a few read, one copies the log into the database beside the commits. A commit is acknowledged once it is synced;
//! a sync that fails poisons the store, for nobody knows what is on the disk then and asking again would hide it.

mod checkpoint;
mod engine;
mod fault;
mod files;
mod open;
mod read;
mod readers;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::State;
use rusqlite::Connection;

use crate::append::{Append, Done, Epoch, Ingested, KeyEntry, Removal};
use crate::audit::{AuditPage, AuditQuery};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::prepare::{Change, kept, prepare};
use crate::query::{EventQuery, Found, GateFilter, GatePage, RawPage, View, ViewFilter};
use crate::row::SessionRow;
use crate::store::{Health, Integrity, Store};
use crate::writer::{Writer, lock};

/// A store in a SQLite database of its own.
///
/// Beside the database lie its write-ahead log (`-wal`, `-shm`) and a reserve for a full disk (`-reserve`); all are
/// readable by their owner only. The filesystem must be local. Two openings at once are safe: the second fences the
/// first off. The directory's mode, and keeping a second daemon away, are the caller's.
pub struct SqliteStore {
    // Dropped first: the writer ends before what it uses.
    writer: Writer,
    readers: readers::Readers,
    condition: Arc<Condition>,
    checking: Option<open::Checking>,
    path: PathBuf,
    epoch: Epoch,
    log_id: String,
}

/// What the threads of a store tell about it.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// The last write that needed space did not get it.
    full: AtomicBool,
    /// The reserve is there.
    reserve: AtomicBool,
    /// Somebody else has opened the store since.
    fenced: AtomicBool,
    /// Why nothing is written any more.
    poisoned: Mutex<Option<StoreError>>,
    integrity: Mutex<Integrity>,
    /// Bytes of the write-ahead log that are in use, at the last look.
    wal_bytes: AtomicU64,
}

impl Condition {
    /// Stops all writing for good.
    fn poison(&self, error: StoreError) {
        tracing::error!(%error, "the store takes nothing more");
        lock(&self.poisoned).get_or_insert(error);
    }

    /// Damage was found.
    fn damaged(&self, error: StoreError) {
        *lock(&self.integrity) = Integrity::Damaged(error.to_string());
        if self.poisoned().is_none() {
            self.poison(error);
        }
    }

    fn poisoned(&self) -> Option<StoreError> {
        lock(&self.poisoned).clone()
    }
}

impl SqliteStore {
    /// Opens a store, and makes it if there is no file at `path`.
    ///
    /// After an unclean stop a database of up to [`limits::CHECK_BYTES`](crate::limits::CHECK_BYTES) is checked before this
    /// returns; a larger one in part, and in full afterwards; see [`Health::integrity`].
    ///
    /// # Errors
    /// [`StoreError::Denied`], [`StoreError::Foreign`], [`StoreError::Newer`], [`StoreError::Damaged`],
    /// [`StoreError::Busy`], [`StoreError::Full`] or [`StoreError::Io`]. What is refused is left as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        open::open(path.as_ref())
    }

    /// Looks whether a store that nobody has open could be opened: its size in bytes, or nothing if there is none yet.
    ///
    /// It changes nothing that is stored, but SQLite may make its index of the log anew. What it does not look at is whether there
    /// is space, and the middle of a database of more than [`limits::CHECK_BYTES`](crate::limits::CHECK_BYTES).
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn examine(path: impl AsRef<Path>) -> Result<Option<u64>, StoreError> {
        open::examine(path.as_ref())
    }

    /// Counts the sessions that have not ended in a store that nobody has open; none if there is no store. As
    /// [`examine`](Self::examine), it changes nothing that is stored.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn living(path: impl AsRef<Path>) -> Result<u32, StoreError> {
        open::living(path.as_ref())
    }

    /// Reads. Whoever comes upon a damaged page has found what a check would: nothing is stored on top of that.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> read::Result<T>) -> Result<T, StoreError> {
        let result = self.readers.with(read);
        if let Err(error @ StoreError::Damaged { at: None, .. }) = &result {
            self.condition.damaged(error.clone());
        }
        result
    }
}

impl Store for SqliteStore {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn log_id(&self) -> &str {
        &self.log_id
    }

    fn submit(&self, batch: Vec<Append>, done: Done) {
        self.writer.submit(batch.into_iter().map(prepare).collect(), done);
    }

    fn remove(&self, removal: Removal, done: Done) {
        self.writer.submit(vec![Change::Remove(removal)], done);
    }

    fn forget_keys(&self, before_wall_ms: i64, done: Done) {
        self.writer.submit(vec![Change::ForgetKeys { before_wall_ms }], done);
    }

    fn keep_fact(&self, name: &'static str, value: Option<String>, records: &[AuditRecord], done: Done) {
        self.writer.submit(vec![kept(name, value, records)], done);
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.writer.flush()
    }

    fn head(&self) -> Cursor {
        self.writer.head()
    }

    fn on_commit(&self, hint: Box<dyn Fn(Cursor) + Send + Sync>) {
        self.writer.on_commit(hint);
    }

    fn read_raw(&self, query: &EventQuery) -> Result<RawPage, StoreError> {
        self.read(|tx| read::events(tx, query))
    }

    fn view(&self, filter: &ViewFilter) -> Result<View, StoreError> {
        self.read(|tx| read::view(tx, filter))
    }

    fn session_row(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.read(|tx| read::session_row(tx, id))
    }

    fn find(&self, reference: &str) -> Result<Found, StoreError> {
        self.read(|tx| read::find(tx, reference))
    }

    fn with_id(&self, beginning: &str) -> Result<Found, StoreError> {
        self.read(|tx| read::with_id(tx, beginning))
    }

    fn load(&self, id: &SessionId) -> Result<Option<State>, StoreError> {
        self.read(|tx| read::load(tx, id))
    }

    fn gate(&self, session: &SessionId, no: GateNo) -> Result<Option<Gate>, StoreError> {
        self.read(|tx| read::gate(tx, session, no))
    }

    fn gates(&self, filter: &GateFilter) -> Result<GatePage, StoreError> {
        self.read(|tx| read::gates(tx, filter))
    }

    fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.read(|tx| Ok(read::audit(tx, query)?))
    }

    fn ingested(&self, id: &SessionId) -> Result<Option<Ingested>, StoreError> {
        self.read(|tx| read::ingested(tx, id))
    }

    fn key(&self, scope: &str, key: &str) -> Result<Option<KeyEntry>, StoreError> {
        self.read(|tx| Ok(read::key(tx, scope, key)?))
    }

    fn keys(&self, scope: &str, limit: usize) -> Result<Vec<KeyEntry>, StoreError> {
        self.read(|tx| Ok(read::keys(tx, scope, limit)?))
    }

    fn fact(&self, name: &'static str) -> Result<Option<String>, StoreError> {
        self.read(|tx| Ok(read::fact(tx, name)?))
    }

    fn live(&self) -> Result<Vec<SessionId>, StoreError> {
        self.read(read::live)
    }

    fn health(&self) -> Health {
        let (commits, events, waiting) = self.writer.counts();
        Health {
            full: self.condition.full.load(Ordering::Relaxed),
            poisoned: self.condition.poisoned().map(|error| error.to_string()),
            fenced: self.condition.fenced.load(Ordering::Relaxed),
            reserve: self.condition.reserve.load(Ordering::Relaxed),
            integrity: lock(&self.condition.integrity).clone(),
            commits,
            events,
            waiting,
            database_bytes: files::len(&self.path),
            wal_bytes: files::len(&files::beside(&self.path, "-wal")),
            last_error: self.writer.last_error(),
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Some(checking) = self.checking.take() {
            checking.stop();
        }
    }
}
