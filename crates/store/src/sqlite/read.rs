//! Reading: short queries, each in one transaction of a connection of [`Readers`](super::readers::Readers).

mod audit;
mod events;
mod gates;
mod sessions;
mod states;

use lockkeeper_core::id::{AttemptNo, SessionId};
use rusqlite::{Connection, OptionalExtension, Row};

pub(super) use audit::{as_it_stands, audit};
pub(super) use events::events;
pub(super) use gates::{gate, gates};
pub(super) use sessions::{find, living, session_row, view, with_id};
pub(super) use states::{check_tail, load};

use super::fault::store_error;
use crate::append::{Ingested, KeyEntry};
use crate::cursor::Cursor;
use crate::error::StoreError;

/// What can go wrong in a query: SQLite, or what it finds.
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Sqlite(error) => store_error(&error),
            ReadError::Store(error) => error,
        }
    }
}

pub(super) type Result<T, E = ReadError> = std::result::Result<T, E>;

pub(super) fn head(conn: &Connection) -> rusqlite::Result<Cursor> {
    let mut max = conn.prepare_cached("SELECT coalesce(max(pos), 0) FROM events")?;
    max.query_row([], |row| row.get(0)).map(|pos| Cursor(unsigned(pos)))
}

pub(super) fn ingested(conn: &Connection, id: &SessionId) -> Result<Option<Ingested>> {
    let sql = "SELECT i.attempt, i.upto, i.out_carry, i.err_carry, i.rebuild_from
               FROM sessions s JOIN ingested i ON i.session = s.pk WHERE s.id = ?";
    let read = |row: &Row<'_>| {
        Ok(Ingested {
            attempt: AttemptNo(row.get(0)?),
            upto: unsigned(row.get(1)?),
            out_carry: row.get::<_, Option<i64>>(2)?.map(unsigned),
            err_carry: row.get::<_, Option<i64>>(3)?.map(unsigned),
            rebuild_from: unsigned(row.get(4)?),
        })
    };
    Ok(conn.prepare_cached(sql)?.query_row([id.as_str()], read).optional()?)
}

pub(super) fn keys(conn: &Connection, scope: &str, limit: usize) -> rusqlite::Result<Vec<KeyEntry>> {
    let sql = "SELECT key, body_hash, response FROM keys WHERE scope = ? ORDER BY pk DESC LIMIT ?";
    let mut select = conn.prepare_cached(sql)?;
    let rows = select.query_map((scope, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
        let scope = scope.to_owned();
        Ok(KeyEntry { scope, key: row.get(0)?, body_hash: row.get(1)?, response: row.get(2)? })
    })?;
    rows.collect()
}

pub(super) fn key(conn: &Connection, scope: &str, key: &str) -> rusqlite::Result<Option<KeyEntry>> {
    let mut select =
        conn.prepare_cached("SELECT body_hash, response FROM keys WHERE scope = ? AND key = ?")?;
    select
        .query_row([scope, key], |row| {
            let (scope, key) = (scope.to_owned(), key.to_owned());
            Ok(KeyEntry { scope, key, body_hash: row.get(0)?, response: row.get(1)? })
        })
        .optional()
}

pub(super) fn fact(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut select = conn.prepare_cached("SELECT value FROM meta WHERE key = ?")?;
    select.query_row([meta_key(name)], |row| row.get(0)).optional()
}

/// Where a fact of the host stands among what the store keeps of itself.
pub(super) fn meta_key(name: &str) -> String {
    format!("host.{name}")
}

pub(super) fn live(conn: &Connection) -> Result<Vec<SessionId>> {
    let mut select = conn.prepare_cached("SELECT id FROM sessions WHERE live = 1 ORDER BY pk")?;
    let mut rows = select.query([])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(session_id(text(row, 0)?)?);
    }
    Ok(ids)
}

/// A column that holds text, not copied.
fn text<'row>(row: &'row Row<'_>, at: usize) -> Result<&'row str> {
    Ok(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?)
}

fn session_id(text: &str) -> Result<SessionId> {
    text.parse().map_err(|error: lockkeeper_core::id::BadName| damaged(error.to_string(), None))
}

fn damaged(what: String, at: Option<(SessionId, u64)>) -> ReadError {
    ReadError::Store(StoreError::Damaged { what, at })
}

/// SQLite's integers are signed. Nothing we count gets that far.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
