//! What one item of a commit writes.

use lockkeeper_core::audit::{FIRST, link};
use lockkeeper_core::id::{SessionId, SessionName};
use lockkeeper_core::time::{BootId, Stamp};
use rusqlite::{ErrorCode, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{Purge, SqliteEngine};
use crate::append::{Appended, Epoch, KeyEntry, Removal};
use crate::audit::{printed, removed};
use crate::cursor::Cursor;
use crate::limits;
use crate::ownership::{Stands, admits};
use crate::prepare::{Prepared, REMOVED, SNAPSHOT_FORMAT, tombstone};
use crate::row::ROW_FORMAT;
use crate::sqlite::read::{self, signed};

impl SqliteEngine {
    /// Stores an item, in a transaction that has found which opening of the store is the last.
    pub(super) fn append(&mut self, append: &Prepared, opened: Epoch) -> rusqlite::Result<Appended> {
        let found = self.session(&append.session)?;
        if let Err(refusal) = admits(found.stands(opened), append.epoch, append.expected) {
            return Ok(refusal.of(&append.session));
        }
        for entry in &append.keys {
            if let Some(taken) = read::key(&self.conn, &entry.scope, &entry.key)? {
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
        let (status, seq, gates) = (row.status.word(), signed(row.seq), signed(row.open_gates as u64));
        if let Some(pk) = pk {
            let values = params![
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
            ];
            // Most items change nothing that an index holds, and an index that is named is written, whether it changes or not.
            let same = "UPDATE sessions SET seq = ?2, agent = ?4, status = ?5, open_gates = ?8, format = ?9, body = ?10
                        WHERE pk = ?1 AND name IS ?3 AND ended = ?6 AND live = ?7";
            if self.conn.prepare_cached(same)?.execute(values)? == 0 {
                let all =
                    "UPDATE sessions SET seq = ?2, name = ?3, agent = ?4, status = ?5, ended = ?6, live = ?7,
                           open_gates = ?8, format = ?9, body = ?10 WHERE pk = ?1";
                self.conn.prepare_cached(all)?.execute(values)?;
            }
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
            signed(pos),
            session,
            signed(seq),
            at.wall_ms,
            signed(at.awake.0),
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
        for record in &append.audit {
            self.record(record)?;
        }
        if let Some(at) = &append.ingested {
            let sql =
                "INSERT OR REPLACE INTO ingested(session, attempt, upto, out_carry, err_carry, rebuild_from)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (upto, out, err) = (signed(at.upto), at.out_carry.map(signed), at.err_carry.map(signed));
            self.conn.prepare_cached(sql)?.execute(params![
                pk,
                at.attempt.0,
                upto,
                out,
                err,
                signed(at.rebuild_from)
            ])?;
        }
        for KeyEntry { scope, key, body_hash, response } in &append.keys {
            let sql = "INSERT INTO keys(scope, key, body_hash, response, wall) VALUES (?1, ?2, ?3, ?4, ?5)";
            self.conn.prepare_cached(sql)?.execute(params![
                scope,
                key,
                body_hash,
                response,
                append.wall_ms()
            ])?;
        }
        if let Some(state) = &append.snapshot {
            let sql = "INSERT OR REPLACE INTO snapshots(session, seq, format, state) VALUES (?1, ?2, ?3, ?4)";
            self.conn.prepare_cached(sql)?.execute(params![
                pk,
                signed(append.seq()),
                SNAPSHOT_FORMAT,
                state
            ])?;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, removal: &Removal, opened: Epoch) -> rusqlite::Result<Appended> {
        let found = self.session(&removal.session)?;
        if let Err(refusal) = admits(found.stands(opened), removal.epoch, removal.expected) {
            return Ok(refusal.of_removal(&removal.session));
        }
        let Some(pk) = found.pk else { return Ok(Appended::Conflict { found: 0 }) };
        let seq = found.seq + 1;
        let sql = "UPDATE sessions SET seq = ?2, name = NULL, ended = 1, live = 0, open_gates = 0, removed = 1, body = ''
                   WHERE pk = ?1";
        self.conn.prepare_cached(sql)?.execute(params![pk, signed(seq)])?;
        for table in ["gates", "ingested", "snapshots"] {
            self.conn.execute(&format!("DELETE FROM {table} WHERE session = ?"), [pk])?;
        }
        self.insert(pk, seq, &removal.at, REMOVED, &tombstone(&removal.by))?;
        let record = printed(&removed(removal));
        let unprinted = |why: String| rusqlite::Error::ToSqlConversionFailure(why.into());
        self.record(&record.map_err(unprinted)?)?;
        self.purge = Purge::More;
        Ok(Appended::Ok { last: Cursor(self.head), seq })
    }

    fn record(&self, record: &str) -> rusqlite::Result<()> {
        let last = "SELECT no, CAST(hash AS TEXT) FROM audit ORDER BY no DESC LIMIT 1";
        let mut last = self.conn.prepare_cached(last)?;
        let last = last.query_row([], |row| Ok((row.get(0)?, read::as_it_stands(row, 1)?))).optional()?;
        let (no, before): (i64, String) = last.unwrap_or_else(|| (0, FIRST.to_owned()));
        let insert = "INSERT INTO audit(no, record, hash) VALUES (?1, ?2, ?3)";
        self.conn.prepare_cached(insert)?.execute(params![no + 1, record, link(&before, record)])?;
        Ok(())
    }

    pub(super) fn forget_keys(&self, before_wall_ms: i64) -> rusqlite::Result<Appended> {
        self.conn.prepare_cached("DELETE FROM keys WHERE wall < ?")?.execute([before_wall_ms])?;
        Ok(Appended::Ok { last: Cursor(self.head), seq: 0 })
    }

    pub(super) fn keep_fact(
        &self,
        name: &str,
        value: Option<&str>,
        records: &[String],
    ) -> rusqlite::Result<Appended> {
        for record in records {
            self.record(record)?;
        }
        let key = read::meta_key(name);
        match value {
            Some(value) => {
                let sql = "INSERT OR REPLACE INTO meta(key, value) VALUES (?1, ?2)";
                self.conn.prepare_cached(sql)?.execute(params![key, value])?;
            }
            None => {
                self.conn.prepare_cached("DELETE FROM meta WHERE key = ?")?.execute([key])?;
            }
        }
        Ok(Appended::Ok { last: Cursor(self.head), seq: 0 })
    }
}

struct FoundSession {
    pk: Option<i64>,
    seq: u64,
    removed: bool,
}

impl FoundSession {
    fn stands(&self, epoch: Epoch) -> Stands {
        Stands { epoch, seq: self.seq, removed: self.removed }
    }
}
