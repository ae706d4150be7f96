//! Copying the write-ahead log into the database, beside the commits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::Condition;
use super::fault::Fault;
use super::open::connect;
use crate::error::StoreError;
use crate::limits;

/// The thread that copies, when it is told to.
pub(super) struct Checkpointer {
    wish: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, condition: &Arc<Condition>) -> Result<Self, StoreError> {
        let conn = connect(path)?;
        // One wish is enough: it is for everything that is there when it is met.
        let (wish, wishes) = sync_channel(1);
        let condition = Arc::clone(condition);
        let thread = std::thread::Builder::new()
            .name("lk-store-copy".to_owned())
            .spawn(move || run(&conn, &wishes, &condition))
            .map_err(|error| StoreError::Io { why: format!("no thread for checkpoints: {error}") })?;
        Ok(Self { wish: Some(wish), thread: Some(thread) })
    }

    /// Has the log copied soon.
    pub(super) fn ask(&self) {
        if let Some(wish) = &self.wish {
            match wish.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => tracing::error!("the thread for checkpoints is gone"),
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Checkpointer {
    /// Ends the thread.
    pub(super) fn stop(&mut self) {
        drop(self.wish.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for checkpoints panicked");
        }
    }
}

fn run(conn: &Connection, wishes: &Receiver<()>, condition: &Condition) {
    while wishes.recv().is_ok() {
        // SQLite syncs the database at the end of a pass during which nothing came, and what came during one tells the next.
        let mut before = None;
        for _ in 0..limits::COPY_PASSES {
            if condition.poisoned().is_some() {
                break;
            }
            let copied = copy(conn, condition);
            if copied.is_none() || copied == before {
                break;
            }
            before = copied;
        }
    }
}

/// Bytes of a page: SQLite's default, which we never change.
pub(super) const PAGE_BYTES: u64 = 4096;

/// How much of the log there was when a pass began, and how much of it is copied now, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copied {
    pages: i64,
    copied: i64,
}

/// Copies what no reader needs in the log any more. A failure loses nothing: the log has it all.
pub(super) fn copy(conn: &Connection, condition: &Condition) -> Option<Copied> {
    let both = |row: &rusqlite::Row<'_>| Ok(Copied { pages: row.get(1)?, copied: row.get(2)? });
    let copied = noted(conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], both), condition)?;
    // Also where all of it is copied: a commit that has begun meanwhile keeps it from being begun anew.
    condition.wal_bytes.store(u64::try_from(copied.pages).unwrap_or(0) * PAGE_BYTES, Ordering::Relaxed);
    Some(copied)
}

/// Copies the whole log and cuts it; whether that went through. Waits for readers, for [`limits::BUSY_MS`] at most.
pub(super) fn cut(conn: &Connection, condition: &Condition) -> bool {
    let result = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    noted(result, condition) == Some(0)
}

fn noted<T>(result: rusqlite::Result<T>, condition: &Condition) -> Option<T> {
    match result.map_err(Fault::from) {
        Ok(value) => return Some(value),
        Err(Fault::Sync(why)) => condition.poison(StoreError::Poisoned { why }),
        Err(Fault::Other(StoreError::Busy)) => {}
        Err(fault) => {
            let error = StoreError::from(fault);
            tracing::warn!(%error, "the write-ahead log cannot be copied for now");
        }
    }
    None
}
