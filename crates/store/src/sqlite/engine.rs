//! Commits.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_core::time::{BootId, Stamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::Condition;
use super::checkpoint::{self, Checkpointer, PAGE_BYTES};
use super::fault::{Fault, store_error};
use super::files::{self, Reserve};
use super::read;
use crate::append::{Appended, Epoch, KeyEntry, Removal};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::prepare::{Change, Prepared, REMOVED, SNAPSHOT_FORMAT, tombstone};
use crate::row::ROW_FORMAT;
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
    /// There are events of removed sessions to delete.
    purging: bool,
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
        if self.purging {
            self.purge();
        }
        if idle
            && self.condition.full.load(Ordering::Relaxed)
            && self.has_reserve()
            && self.reserve.space() >= limits::RESERVE_BYTES
        {
            self.condition.full.store(false, Ordering::Relaxed);
        }
        if self.purging {
            return Some(Duration::ZERO);
        }
        self.condition.full.load(Ordering::Relaxed).then_some(Duration::from_millis(limits::FULL_RETRY_MS))
    }

    fn close(&mut self) {
        // Two cannot copy at once.
        self.checkpointer.stop();
        if self.condition.poisoned().is_some() {
            return;
        }
        let ours = "UPDATE meta SET value = 1 WHERE key = 'clean'
                    AND (SELECT value FROM meta WHERE key = 'epoch') = ?";
        match self.conn.execute(ours, [int(self.epoch.0)]) {
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
        let purging = conn.query_row(removed, [], |row| row.get(0)).map_err(fail)?;
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
            purging,
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
            Ok(_) if take == Take::All => self.condition.full.store(false, Ordering::Relaxed),
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

    /// Runs one transaction over the changes.
    fn attempt(&mut self, changes: &[Change], take: Take) -> Result<Vec<Appended>, StoreError> {
        let (head, failure) = (
            self.head,
            match self.transact(changes, take) {
                Ok(answers) => {
                    // Pages, not bytes, are written: an event's, its index's and the row's for each item, at the least.
                    let pages = 3 * PAGE_BYTES * changes.len() as u64;
                    self.written += pages + changes.iter().map(|change| change.bytes() as u64).sum::<u64>();
                    return Ok(answers);
                }
                Err(failure) => failure,
            },
        );
        self.head = head;
        self.roll_back();
        match failure {
            Failure::Before(Fault::Other(error)) => {
                if matches!(error, StoreError::Damaged { .. }) {
                    self.condition.poison(error.clone());
                }
                Err(error)
            }
            Failure::Before(Fault::Write(why)) | Failure::Commit(Fault::Write(why)) => {
                Err(StoreError::Io { why })
            }
            Failure::Commit(Fault::Other(error @ (StoreError::Full | StoreError::Busy))) => Err(error),
            Failure::Before(Fault::Sync(why)) => {
                self.condition.poison(StoreError::Poisoned { why: why.clone() });
                Err(StoreError::Poisoned { why })
            }
            Failure::Commit(fault) => {
                // It may be on the disk or not.
                let why = StoreError::from(fault).to_string();
                self.condition.poison(StoreError::Poisoned { why });
                Ok(changes.iter().map(|_| Appended::Unknown).collect())
            }
        }
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

    fn transact(&mut self, changes: &[Change], take: Take) -> Result<Vec<Appended>, Failure> {
        self.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if !self.is_ours()? {
            self.condition.fenced.store(true, Ordering::Relaxed);
            self.roll_back();
            return Ok(changes.iter().map(|_| Appended::Fenced).collect());
        }
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            answers.push(match change {
                Change::Refused(why) => Appended::Refused { why: why.clone() },
                change if take == Take::Essential && !change.essential() => Appended::Full,
                Change::Append(append) => self.append(append)?,
                Change::Remove(removal) => self.remove(removal)?,
                Change::ForgetKeys { before_wall_ms } => self.forget_keys(*before_wall_ms)?,
            });
        }
        if answers.iter().any(|answer| matches!(answer, Appended::Ok { .. })) {
            let commit = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
            commit.map_err(|error| Failure::Commit(error.into()))?;
        } else {
            self.roll_back();
        }
        Ok(answers)
    }

    fn is_ours(&self) -> rusqlite::Result<bool> {
        let mut epoch = self.conn.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?;
        epoch.query_row([], |row| row.get::<_, i64>(0)).map(|epoch| epoch == int(self.epoch.0))
    }

    fn append(&mut self, append: &Prepared) -> rusqlite::Result<Appended> {
        if append.epoch != self.epoch {
            return Ok(Appended::Fenced);
        }
        let found = self.session(&append.session)?;
        if found.removed {
            return Ok(Appended::Refused { why: format!("session {} was removed", append.session) });
        }
        if found.seq != append.expected {
            return Ok(Appended::Conflict { found: found.seq });
        }
        for entry in &append.keys {
            if let Some(taken) = read::key_entry(&self.conn, &entry.scope, &entry.key)? {
                return Ok(Appended::KeyTaken(Box::new(taken)));
            }
        }
        // First, for it is what can be refused; then nothing of the item is there yet.
        let pk = match self.put_row(found.pk, append) {
            Ok(pk) => pk,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return self.name_taken(append, error);
            }
            Err(error) => return Err(error),
        };
        for line in &append.events {
            let event = &line.envelope;
            self.insert(pk, event.seq, &event.at, event.event.kind(), &line.data)?;
        }
        self.put_rest(pk, append)?;
        Ok(Appended::Ok { last: Cursor(self.head), seq: append.seq() })
    }

    fn session(&self, id: &SessionId) -> rusqlite::Result<FoundSession> {
        let mut select = self.conn.prepare_cached("SELECT pk, seq, removed FROM sessions WHERE id = ?")?;
        let found = select
            .query_row([id.as_str()], |row| {
                let seq = row.get::<_, i64>(1)?.unsigned_abs();
                Ok(FoundSession { pk: Some(row.get(0)?), seq, removed: row.get::<_, i64>(2)? != 0 })
            })
            .optional()?;
        Ok(found.unwrap_or(FoundSession { pk: None, seq: 0, removed: false }))
    }

    fn put_row(&self, pk: Option<i64>, append: &Prepared) -> rusqlite::Result<i64> {
        let row = &append.row;
        let (name, agent) = (row.name.as_ref().map(SessionName::as_str), row.agent.as_str());
        let (status, seq, gates) = (row.status.word(), int(row.seq), int(row.open_gates as u64));
        if let Some(pk) = pk {
            let sql =
                "UPDATE sessions SET seq = ?2, name = ?3, agent = ?4, status = ?5, ended = ?6, live = ?7,
                       open_gates = ?8, format = ?9, body = ?10 WHERE pk = ?1";
            let mut update = self.conn.prepare_cached(sql)?;
            update.execute(params![
                pk,
                seq,
                name,
                agent,
                status,
                row.ended(),
                row.live,
                gates,
                ROW_FORMAT,
                append.row_json
            ])?;
            return Ok(pk);
        }
        let sql = "INSERT INTO sessions(id, seq, name, agent, status, ended, live, open_gates, format, body)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let mut insert = self.conn.prepare_cached(sql)?;
        let id = append.session.as_str();
        insert.insert(params![
            id,
            seq,
            name,
            agent,
            status,
            row.ended(),
            row.live,
            gates,
            ROW_FORMAT,
            append.row_json
        ])
    }

    fn name_taken(&self, append: &Prepared, error: rusqlite::Error) -> rusqlite::Result<Appended> {
        let Some(name) = &append.row.name else { return Err(error) };
        match read::living(&self.conn, name.as_str())? {
            Some(by) => Ok(Appended::NameTaken { by }),
            None => Err(error),
        }
    }

    fn insert(&mut self, session: i64, seq: u64, at: &Stamp, kind: &str, data: &str) -> rusqlite::Result<()> {
        let boot = self.boot(&at.boot)?;
        let blob = if data.len() > limits::INLINE_BYTES { Some(self.blob(data)?) } else { None };
        let data = if blob.is_some() { "" } else { data };
        let sql = "INSERT INTO events(pos, session, seq, wall, awake, boot, kind, data, blob)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let mut insert = self.conn.prepare_cached(sql)?;
        let pos = self.head + 1;
        insert.execute(params![
            int(pos),
            session,
            int(seq),
            at.wall_ms,
            int(at.awake.0),
            boot,
            kind,
            data,
            blob
        ])?;
        self.head = pos;
        Ok(())
    }

    fn boot(&mut self, boot: &BootId) -> rusqlite::Result<i64> {
        if let Some(pk) = self.boots.get(boot) {
            return Ok(*pk);
        }
        let upsert = "INSERT INTO boots(boot) VALUES (?) ON CONFLICT DO UPDATE SET boot = boot RETURNING pk";
        let pk = self.conn.prepare_cached(upsert)?.query_row([&*boot.0], |row| row.get(0))?;
        self.boots.insert(boot.clone(), pk);
        Ok(pk)
    }

    fn blob(&self, data: &str) -> rusqlite::Result<i64> {
        let hash = Sha256::digest(data.as_bytes());
        let sql = "INSERT INTO blobs(hash, refs, data) VALUES (?1, 1, ?2)
                   ON CONFLICT DO UPDATE SET refs = refs + 1 RETURNING pk";
        self.conn.prepare_cached(sql)?.query_row(params![hash.as_slice(), data], |row| row.get(0))
    }

    fn put_rest(&self, pk: i64, append: &Prepared) -> rusqlite::Result<()> {
        for gate in &append.gates {
            let sql = "INSERT INTO gates(session, no, open, body) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO UPDATE SET open = excluded.open, body = excluded.body";
            self.conn.prepare_cached(sql)?.execute(params![pk, gate.no.0, gate.open, gate.body])?;
        }
        if let Some(at) = &append.ingested {
            let sql =
                "INSERT OR REPLACE INTO ingested(session, attempt, upto, out_carry, err_carry, rebuild_from)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (upto, out, err) = (int(at.upto), at.out_carry.map(int), at.err_carry.map(int));
            self.conn.prepare_cached(sql)?.execute(params![
                pk,
                at.attempt.0,
                upto,
                out,
                err,
                int(at.rebuild_from)
            ])?;
        }
        for KeyEntry { scope, key, body_hash, response } in &append.keys {
            let wall = append.events.last().map_or(append.row.since.wall_ms, |last| last.envelope.at.wall_ms);
            let sql = "INSERT INTO keys(scope, key, body_hash, response, wall) VALUES (?1, ?2, ?3, ?4, ?5)";
            self.conn.prepare_cached(sql)?.execute(params![scope, key, body_hash, response, wall])?;
        }
        if let Some(state) = &append.snapshot {
            let sql = "INSERT OR REPLACE INTO snapshots(session, seq, format, state) VALUES (?1, ?2, ?3, ?4)";
            self.conn.prepare_cached(sql)?.execute(params![pk, int(append.seq()), SNAPSHOT_FORMAT, state])?;
        }
        Ok(())
    }

    fn remove(&mut self, removal: &Removal) -> rusqlite::Result<Appended> {
        if removal.epoch != self.epoch {
            return Ok(Appended::Fenced);
        }
        let found = self.session(&removal.session)?;
        let Some(pk) = found.pk.filter(|_| !found.removed && found.seq == removal.expected) else {
            return Ok(Appended::Conflict { found: if found.removed { 0 } else { found.seq } });
        };
        let seq = found.seq + 1;
        let sql = "UPDATE sessions SET seq = ?2, name = NULL, ended = 1, live = 0, open_gates = 0, removed = 1, body = ''
                   WHERE pk = ?1";
        self.conn.prepare_cached(sql)?.execute(params![pk, int(seq)])?;
        for table in ["gates", "ingested", "snapshots"] {
            self.conn.execute(&format!("DELETE FROM {table} WHERE session = ?"), [pk])?;
        }
        self.insert(pk, seq, &removal.at, REMOVED, &tombstone(&removal.by))?;
        self.purging = true;
        Ok(Appended::Ok { last: Cursor(self.head), seq })
    }

    fn forget_keys(&self, before_wall_ms: i64) -> rusqlite::Result<Appended> {
        self.conn.prepare_cached("DELETE FROM keys WHERE wall < ?")?.execute([before_wall_ms])?;
        Ok(Appended::Ok { last: Cursor(self.head), seq: 0 })
    }

    /// Deletes some events of a removed session. They are out of sight already.
    fn purge(&mut self) {
        match self.purge_some() {
            Ok(more) => self.purging = more,
            Err(failure) => {
                self.roll_back();
                // Tried again at the next opening.
                self.purging = false;
                let sync = matches!(failure, Fault::Sync(_));
                let error = StoreError::from(failure);
                tracing::warn!(%error, "events of a removed session stay for now");
                if sync {
                    self.condition.poison(error);
                }
            }
        }
    }

    fn purge_some(&mut self) -> Result<bool, Fault> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        if !self.is_ours()? {
            self.roll_back();
            return Ok(false);
        }
        let next = "SELECT pk, seq FROM sessions WHERE removed = 1 LIMIT 1";
        let next = self
            .conn
            .query_row(next, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((pk, tombstone)) = next else {
            self.roll_back();
            return Ok(false);
        };
        let some = "FROM events WHERE session = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let scope = params![pk, tombstone, int(limits::PURGE_EVENTS as u64)];
        let blobs: Vec<i64> = self
            .conn
            .prepare_cached(&format!("SELECT blob FROM (SELECT blob {some}) WHERE blob IS NOT NULL"))?
            .query_map(scope, |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for blob in blobs {
            self.conn.prepare_cached("UPDATE blobs SET refs = refs - 1 WHERE pk = ?")?.execute([blob])?;
            self.conn.prepare_cached("DELETE FROM blobs WHERE pk = ? AND refs <= 0")?.execute([blob])?;
        }
        let delete = format!("DELETE FROM events WHERE pos IN (SELECT pos {some})");
        let deleted = self.conn.prepare_cached(&delete)?.execute(scope)?;
        if deleted < limits::PURGE_EVENTS {
            self.conn.execute("UPDATE sessions SET removed = 2 WHERE pk = ?", [pk])?;
        }
        self.conn.execute_batch("COMMIT")?;
        Ok(true)
    }
}

struct FoundSession {
    pk: Option<i64>,
    seq: u64,
    removed: bool,
}

/// SQLite's integers are signed. Nothing we count gets that far.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
