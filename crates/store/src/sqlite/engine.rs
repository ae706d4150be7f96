//! Commits: transactions, what their failures mean, and the reserve. What one item writes is in `put`.

mod purge;
mod put;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockkeeper_core::time::BootId;
use rusqlite::{Connection, ErrorCode};

use super::Condition;
use super::checkpoint::{self, Checkpointer, PAGE_BYTES};
use super::fault::{Fault, store_error};
use super::files::{self, Reserve};
use super::read::{self, signed};
use crate::append::{Appended, Epoch};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::ownership::is_last;
use crate::prepare::Change;
use crate::writer::Engine;

/// The writing connection with what it needs.
pub(super) struct SqliteEngine {
    conn: Connection,
    epoch: Epoch,
    /// The position of the last event.
    head: u64,
    /// Keys of `boots`. Emptied when a transaction is not committed, as it may hold what that one made.
    boots: HashMap<BootId, i64>,
    /// The file of the database.
    database: PathBuf,
    /// The file of its write-ahead log.
    log: PathBuf,
    reserve: Reserve,
    checkpointer: Checkpointer,
    condition: Arc<Condition>,
    /// Bytes written since a checkpoint was last asked for.
    written: u64,
    purge: Purge,
}

/// Whether there are events of removed sessions to delete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purge {
    Done,
    More,
    /// There are, and it failed; to be tried again.
    Later,
}

/// Which changes a transaction takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Take {
    All,
    Essential,
}

/// How a transaction failed.
enum Failure {
    /// It was not committed.
    Before(Fault),
    /// The commit itself failed.
    Commit(Fault),
    /// One item cannot be stored, since what is stored of its session is not what it should be.
    Item { at: usize, why: String },
}

impl Failure {
    /// How an item failed: by itself, or with all others.
    fn of_item(at: usize, error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Item { at, why: error.to_string() },
            _ => error.into(),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Before(error.into())
    }
}

impl Engine for SqliteEngine {
    fn commit(&mut self, changes: &[Change]) -> Result<Vec<Appended>, StoreError> {
        if let Some(error) = self.condition.poisoned() {
            return Err(error);
        }
        let result = self.attempt_with_reserve(changes);
        if result == Err(StoreError::Full) && self.reclaim() {
            return self.attempt_with_reserve(changes);
        }
        result
    }

    fn head(&self) -> Cursor {
        Cursor(self.head)
    }

    fn tidy(&mut self, idle: bool) -> Option<Duration> {
        if self.condition.poisoned().is_some() || self.condition.fenced.load(Ordering::Relaxed) {
            return None;
        }
        if self.condition.wal_bytes.swap(0, Ordering::Relaxed) >= limits::WAL_BYTES {
            // The copying cannot catch up while we write. Once it has, the next commit begins the log anew.
            checkpoint::copy(&self.conn, &self.condition);
            self.condition.wal_bytes.store(0, Ordering::Relaxed);
        } else if self.condition.full.load(Ordering::Relaxed) {
            // Not beside us: growing, the database would eat up what the reserve gave free.
            self.reclaim();
        } else if self.written >= limits::CHECKPOINT_BYTES {
            self.written = 0;
            self.checkpointer.ask();
        }
        if self.purge == Purge::More || (idle && self.purge == Purge::Later) {
            self.go_on_purging();
        }
        if idle
            && self.condition.full.load(Ordering::Relaxed)
            && self.has_reserve()
            && self.reserve.space() >= limits::RESERVE_BYTES
        {
            self.condition.full.store(false, Ordering::Relaxed);
        }
        let retry = Some(Duration::from_millis(limits::RETRY_MS));
        match self.purge {
            Purge::More => Some(Duration::ZERO),
            Purge::Later => retry,
            Purge::Done => retry.filter(|_| self.condition.full.load(Ordering::Relaxed)),
        }
    }

    fn close(&mut self) {
        // Two cannot copy at once.
        self.checkpointer.stop();
        if self.condition.poisoned().is_some() {
            return;
        }
        let ours = "UPDATE meta SET value = 1 WHERE key = 'clean'
                    AND (SELECT value FROM meta WHERE key = 'epoch') = ?";
        match self.conn.execute(ours, [signed(self.epoch.0)]) {
            Ok(1) => {
                // What it does not get done, the next opening does.
                checkpoint::cut(&self.conn, &self.condition);
            }
            Ok(_) => tracing::info!("somebody else has opened the store since"),
            Err(error) => tracing::warn!(%error, "the store is closed without a mark of it"),
        }
    }
}

impl SqliteEngine {
    pub(super) fn new(
        path: &Path,
        conn: Connection,
        epoch: Epoch,
        checkpointer: Checkpointer,
        condition: Arc<Condition>,
    ) -> Result<Self, StoreError> {
        let fail = |error: rusqlite::Error| store_error(&error);
        let head = read::head(&conn).map_err(fail)?.0;
        let removed = "SELECT EXISTS (SELECT 1 FROM sessions WHERE removed = 1)";
        let removed = conn.query_row(removed, [], |row| row.get(0)).map_err(fail)?;
        let purge = if removed { Purge::More } else { Purge::Done };
        let (boots, reserve) = (HashMap::new(), Reserve::beside(path));
        let (database, log) = (path.to_owned(), files::beside(path, "-wal"));
        let mut engine = Self {
            conn,
            epoch,
            head,
            boots,
            database,
            log,
            reserve,
            checkpointer,
            condition,
            written: 0,
            purge,
        };
        if !engine.has_reserve() {
            engine.condition.full.store(true, Ordering::Relaxed);
        }
        Ok(engine)
    }

    /// Whether the reserve is there; tries to make it if not.
    fn has_reserve(&mut self) -> bool {
        if !self.condition.reserve.load(Ordering::Relaxed) {
            self.condition.reserve.store(self.reserve.take(), Ordering::Relaxed);
        }
        self.condition.reserve.load(Ordering::Relaxed)
    }

    /// Stores the changes; if the disk is full and some are essential, these alone, in the space of the reserve.
    fn attempt_with_reserve(&mut self, changes: &[Change]) -> Result<Vec<Appended>, StoreError> {
        let take = if self.has_reserve() { Take::All } else { Take::Essential };
        let result = self.attempt(changes, take);
        match &result {
            Ok(answers) if take == Take::All && has_stored(answers) => {
                self.condition.full.store(false, Ordering::Relaxed);
            }
            Err(StoreError::Full) => {
                self.condition.full.store(true, Ordering::Relaxed);
                if take == Take::All && changes.iter().any(Change::essential) {
                    tracing::warn!("the disk is full: what is essential goes into the reserve");
                    self.give_reserve();
                    return self.attempt(changes, Take::Essential);
                }
            }
            Ok(_) | Err(_) => {}
        }
        result
    }

    fn give_reserve(&mut self) {
        self.condition.reserve.store(false, Ordering::Relaxed);
        self.reserve.release();
    }

    /// Moves what is in the write-ahead log into the database and cuts the log, if the disk gains by it: a page that was
    /// written often is in the log as often. The reserve helps the database grow meanwhile. Whether it was done.
    fn reclaim(&mut self) -> bool {
        let log = files::len(&self.log);
        if log < limits::RECLAIM_BYTES {
            return false;
        }
        let pages =
            self.conn.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap_or(i64::MAX);
        let grown = pages.unsigned_abs().saturating_mul(PAGE_BYTES);
        let growth = grown.saturating_sub(files::len(&self.database)) + limits::RECLAIM_BYTES;
        let space = self.reserve.space();
        let help = if self.condition.reserve.load(Ordering::Relaxed) { limits::RESERVE_BYTES } else { 0 };
        if growth > space.saturating_add(help) || growth > space.saturating_add(log) {
            return false;
        }
        self.give_reserve();
        let done = checkpoint::cut(&self.conn, &self.condition);
        self.has_reserve();
        done
    }

    /// Runs one transaction over the changes; without those that turn out to spoil it for all others.
    fn attempt(&mut self, changes: &[Change], take: Take) -> Result<Vec<Appended>, StoreError> {
        let mut spoilers = BTreeMap::new();
        loop {
            let head = self.head;
            let failure = match self.transact(changes, take, &spoilers) {
                Ok(answers) => {
                    // Pages, not bytes, are written: an event's, its index's and the row's for each item, at the least.
                    let pages = 3 * PAGE_BYTES * changes.len() as u64;
                    self.written += pages + changes.iter().map(|change| change.bytes() as u64).sum::<u64>();
                    return Ok(answers);
                }
                Err(failure) => failure,
            };
            self.head = head;
            self.roll_back();
            match failure {
                Failure::Item { at, why } => {
                    tracing::error!(%why, "what is stored of a session is damaged");
                    spoilers.insert(at, why);
                }
                Failure::Before(fault) => return Err(self.not_committed(fault)),
                Failure::Commit(fault) => return self.perhaps_committed(fault, changes),
            }
        }
    }

    fn not_committed(&self, fault: Fault) -> StoreError {
        let is_last = matches!(fault, Fault::Sync(_) | Fault::Other(StoreError::Damaged { .. }));
        let error = StoreError::from(fault);
        if is_last {
            self.condition.poison(error.clone());
        }
        error
    }

    fn perhaps_committed(&self, fault: Fault, changes: &[Change]) -> Result<Vec<Appended>, StoreError> {
        let why = match fault {
            Fault::Write(why) => return Err(StoreError::Io { why }),
            Fault::Other(error @ (StoreError::Full | StoreError::Busy)) => return Err(error),
            // It may be on the disk or not.
            Fault::Sync(why) => why,
            Fault::Other(error) => error.to_string(),
        };
        self.condition.poison(StoreError::Poisoned { why });
        Ok(changes.iter().map(|_| Appended::Unknown).collect())
    }

    fn roll_back(&mut self) {
        self.boots.clear();
        if self.conn.is_autocommit() {
            return;
        }
        if let Err(error) = self.conn.execute_batch("ROLLBACK") {
            self.condition.poison(StoreError::Poisoned {
                why: format!("a transaction cannot be rolled back: {error}"),
            });
        }
    }

    fn transact(
        &mut self,
        changes: &[Change],
        take: Take,
        spoilers: &BTreeMap<usize, String>,
    ) -> Result<Vec<Appended>, Failure> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let opened = self.opened()?;
        if !is_last(opened, self.epoch) {
            self.condition.fenced.store(true, Ordering::Relaxed);
            self.roll_back();
            return Ok(changes.iter().map(|_| Appended::Fenced).collect());
        }
        let mut answers = Vec::with_capacity(changes.len());
        for (at, change) in changes.iter().enumerate() {
            let answer = match change {
                Change::Refused(why) => Ok(Appended::Refused { why: why.clone() }),
                change if take == Take::Essential && !change.essential() => Ok(Appended::Full),
                _ if let Some(why) = spoilers.get(&at) => Ok(Appended::Refused { why: why.clone() }),
                Change::Append(append) => self.append(append, opened),
                Change::Remove(removal) => self.remove(removal, opened),
                Change::ForgetKeys { before_wall_ms } => self.forget_keys(*before_wall_ms),
                Change::KeepFact { name, value, records } => self.keep_fact(name, value.as_deref(), records),
            };
            answers.push(answer.map_err(|error| Failure::of_item(at, error))?);
        }
        if has_stored(&answers) {
            let commit = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
            commit.map_err(|error| Failure::Commit(error.into()))?;
        } else {
            self.roll_back();
        }
        Ok(answers)
    }

    /// The last opening of the store.
    fn opened(&self) -> rusqlite::Result<Epoch> {
        let mut epoch = self.conn.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?;
        epoch.query_row([], |row| Ok(Epoch(row.get::<_, i64>(0)?.unsigned_abs())))
    }
}

fn has_stored(answers: &[Appended]) -> bool {
    answers.iter().any(|answer| matches!(answer, Appended::Ok { .. }))
}
