//! Deleting what a removed session has left, a little after each commit.

use std::sync::atomic::Ordering;

use rusqlite::{OptionalExtension, params};

use super::{Purge, SqliteEngine};
use crate::error::StoreError;
use crate::limits;
use crate::ownership::is_last;
use crate::sqlite::fault::Fault;
use crate::sqlite::read::signed;

impl SqliteEngine {
    /// Deletes some events of a removed session. They are out of sight already.
    pub(super) fn go_on_purging(&mut self) {
        let before = self.purge;
        self.purge = match self.purge_some() {
            Ok(after) => after,
            Err(fault) => {
                self.roll_back();
                let error = self.not_committed(fault);
                if before != Purge::Later {
                    tracing::warn!(%error, "events of a removed session stay for now");
                }
                if error == StoreError::Full {
                    self.condition.full.store(true, Ordering::Relaxed);
                }
                Purge::Later
            }
        };
    }

    fn purge_some(&mut self) -> Result<Purge, Fault> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        if !is_last(self.opened()?, self.epoch) {
            self.roll_back();
            return Ok(Purge::Done);
        }
        let next = "SELECT pk, seq FROM sessions WHERE removed = 1 LIMIT 1";
        let next = self
            .conn
            .query_row(next, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((pk, tombstone)) = next else {
            self.roll_back();
            return Ok(Purge::Done);
        };
        let some = "FROM events WHERE session = ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let scope = params![pk, tombstone, signed(limits::PURGE_EVENTS as u64)];
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
        Ok(Purge::More)
    }
}
