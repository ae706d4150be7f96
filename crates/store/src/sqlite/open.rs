//! Opening: looking before touching, the schema, the epoch, the checks after an unclean stop.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, InterruptHandle, OpenFlags, OptionalExtension};

use super::checkpoint::Checkpointer;
use super::engine::SqliteEngine;
use super::fault::{Fault, store_error};
use super::files::{Before, Reserve, damaged};
use super::readers::Readers;
use super::{Condition, SqliteStore, files, read, schema};
use crate::append::Epoch;
use crate::error::StoreError;
use crate::limits;
use crate::store::Integrity;
use crate::writer::{Writer, lock};

pub(super) fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    match attempt(path) {
        // Opening writes little, and must be possible on a full disk: that is what the reserve is for.
        Err(StoreError::Full) if Reserve::beside(path).release() => attempt(path),
        result => result,
    }
}

fn attempt(path: &Path) -> Result<SqliteStore, StoreError> {
    let before = files::prepare(path)?;
    let mut conn = connect(path)?;
    let version = version(&conn, path, before)?;
    let clean = version == 0 || is_clean(&conn)?;
    if !clean {
        check(&conn, path)?;
    }
    set_up(&mut conn, version)?;
    let condition = Arc::new(Condition::default());
    let (epoch, log_id) = begin(&mut conn)?;
    let checkpointer = Checkpointer::start(path, &condition)?;
    let engine = SqliteEngine::new(path, conn, epoch, checkpointer, Arc::clone(&condition))?;
    let writer = Writer::start(engine)?;
    let checking = if clean { None } else { full_check(path, &condition)? };
    let readers = Readers::new(path);
    Ok(SqliteStore { writer, readers, condition, checking, path: path.to_owned(), epoch, log_id })
}

pub(super) fn examine(path: &Path) -> Result<Option<u64>, StoreError> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        let log = files::len(&files::beside(path, "-wal"));
        return if log > 0 { Err(files::gone()) } else { Ok(None) };
    }
    let before = files::look(path)?;
    let conn = connect(path)?;
    if version(&conn, path, before)? > 0 {
        check(&conn, path)?;
    }
    conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(|error| unusable(path, &error))?;
    Ok(Some(bytes(path)))
}

pub(super) fn living(path: &Path) -> Result<u32, StoreError> {
    if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(0);
    }
    let before = files::look(path)?;
    let conn = connect(path)?;
    if version(&conn, path, before)? == 0 {
        return Ok(0);
    }
    let sql = "SELECT count(*) FROM sessions WHERE ended = 0 AND removed = 0";
    conn.query_row(sql, [], |row| row.get(0)).map_err(|error| unusable(path, &error))
}

/// Opens a connection that changes nothing by itself, not even by being closed.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| unusable(path, &error))?;
    configure(&conn).map_err(|error| unusable(path, &error))?;
    Ok(conn)
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.busy_timeout(Duration::from_millis(limits::BUSY_MS))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA trusted_schema = OFF;
         PRAGMA temp_store = MEMORY;",
    )?;
    if cfg!(target_os = "macos") {
        // There, fsync alone leaves data in the drive's cache.
        conn.execute_batch("PRAGMA fullfsync = 1; PRAGMA checkpoint_fullfsync = 1;")?;
    }
    Ok(())
}

fn unusable(path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    match error.sqlite_error_code() {
        Some(CannotOpen | PermissionDenied | ReadOnly) => {
            StoreError::Denied { path: path.to_owned(), why: error.to_string() }
        }
        _ => store_error(error),
    }
}

/// The version of the schema; 0 for a database without one.
fn version(conn: &Connection, path: &Path, before: Before) -> Result<i64, StoreError> {
    let fail = |error: rusqlite::Error| unusable(path, &error);
    if before == Before::Nothing {
        return Ok(0);
    }
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0)).map_err(fail)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    if application != schema::APPLICATION_ID {
        // Without tables it is one whose making was cut short.
        return if application == 0 && found == 0 && tables == 0 {
            Ok(0)
        } else {
            Err(StoreError::Foreign { path: path.to_owned() })
        };
    }
    if found > schema::VERSION {
        return Err(StoreError::Newer { found, known: schema::VERSION });
    }
    if found < 1 || tables == 0 {
        return Err(damaged("the database has no schema"));
    }
    Ok(found)
}

fn is_clean(conn: &Connection) -> Result<bool, StoreError> {
    let clean = conn
        .query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get::<_, i64>(0))
        .optional()
        .map_err(|error| store_error(&error))?;
    clean.map(|clean| clean == 1).ok_or_else(|| damaged("it has lost its mark of a clean stop"))
}

/// What is checked before the start: everything if that is quick, else the tables' roots and the end of the log.
fn check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    if bytes(path) <= limits::CHECK_BYTES {
        quick_check(conn)
            .map_err(|error| store_error(&error))?
            .map_or(Ok(()), |found| Err(damaged(&found)))?;
    }
    read::check_tail(conn)
}

/// What SQLite finds wrong, in its words.
fn quick_check(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// Sets the database up, or brings an older one up to date, one step per transaction.
fn set_up(conn: &mut Connection, version: i64) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| StoreError::from(Fault::from(error));
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
    if mode != "wal" {
        return Err(StoreError::Io { why: format!("no write-ahead log on this filesystem (mode {mode})") });
    }
    conn.execute_batch(&format!("PRAGMA journal_size_limit = {}", limits::WAL_KEPT_BYTES)).map_err(fail)?;
    for (step, to) in schema::STEPS.iter().zip(1..=schema::VERSION) {
        if to <= version {
            continue;
        }
        let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
        // Somebody else may have been quicker.
        let found: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
        if found < to {
            tx.execute_batch(step).map_err(fail)?;
            tx.pragma_update(None, "user_version", to).map_err(fail)?;
            tx.pragma_update(None, "application_id", schema::APPLICATION_ID).map_err(fail)?;
            tx.commit().map_err(fail)?;
        }
    }
    Ok(())
}

/// Takes the next epoch, which fences everybody else off, and marks the store as in use.
fn begin(conn: &mut Connection) -> Result<(Epoch, String), StoreError> {
    let fail = |error: rusqlite::Error| StoreError::from(Fault::from(error));
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
    tx.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'", []).map_err(fail)?;
    tx.execute("UPDATE meta SET value = 0 WHERE key = 'clean'", []).map_err(fail)?;
    let value = |key: &str| {
        tx.query_row("SELECT CAST(value AS TEXT) FROM meta WHERE key = ?", [key], |row| row.get(0))
    };
    let epoch: String = value("epoch").map_err(fail)?;
    let log: String = value("log").map_err(fail)?;
    tx.commit().map_err(fail)?;
    let epoch = epoch.parse().map_err(|_| damaged("its epoch is not a number"))?;
    Ok((Epoch(epoch), log))
}

/// A check of the whole file beside the work.
pub(super) struct Checking {
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
}

impl Checking {
    /// Ends it, wherever it is.
    pub(super) fn stop(self) {
        // Again and again, for an interrupt between two statements is lost.
        while !self.thread.is_finished() {
            self.interrupt.interrupt();
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.join().is_err() {
            tracing::error!("the check of the database panicked");
        }
    }
}

/// Starts a check of what was too large for one before the start.
fn full_check(path: &Path, condition: &Arc<Condition>) -> Result<Option<Checking>, StoreError> {
    if bytes(path) <= limits::CHECK_BYTES {
        *lock(&condition.integrity) = Integrity::Sound;
        return Ok(None);
    }
    *lock(&condition.integrity) = Integrity::Checking;
    let conn = connect(path)?;
    let interrupt = conn.get_interrupt_handle();
    let condition = Arc::clone(condition);
    let thread = std::thread::Builder::new()
        .name("lk-store-check".to_owned())
        .spawn(move || {
            let integrity = match quick_check(&conn).map_err(|error| store_error(&error)) {
                Ok(None) => Integrity::Sound,
                Ok(Some(what)) => return condition.damaged(damaged(&what)),
                Err(error @ StoreError::Damaged { .. }) => return condition.damaged(error),
                Err(error) => Integrity::NotDone(error.to_string()),
            };
            *lock(&condition.integrity) = integrity;
        })
        .map_err(|error| StoreError::Io { why: format!("no thread for the check: {error}") })?;
    Ok(Some(Checking { interrupt, thread }))
}

fn bytes(path: &Path) -> u64 {
    files::len(path) + files::len(&files::beside(path, "-wal"))
}
