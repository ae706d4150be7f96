//! Reading: short queries on a few connections that cannot write.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{AttemptNo, GateNo, ID_ALPHABET, SessionId};
use lockkeeper_core::session::{State, Status};
use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::de::DeserializeOwned;

use super::fault::store_error;
use super::open::connect;
use crate::append::{Ingested, KeyEntry};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::prepare::{REMOVED, read_snapshot};
use crate::query::{EventQuery, Found, GateFilter, GatePage, GateRow, RawEvent, RawPage, View, ViewFilter};
use crate::row::{ROW_FORMAT, SessionRow};
use crate::writer::lock;

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

type Result<T, E = ReadError> = std::result::Result<T, E>;

/// The connections for reading: made when needed, at most [`limits::READERS`].
pub(super) struct Readers {
    path: PathBuf,
    pool: Mutex<Pool>,
    free: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    made: usize,
}

/// A connection on loan. Given back even if the query panics.
struct Loan<'a> {
    readers: &'a Readers,
    conn: Option<Connection>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        match self.conn.take() {
            Some(conn) if conn.is_autocommit() => pool.idle.push(conn),
            Some(_) | None => pool.made -= 1,
        }
        drop(pool);
        self.readers.free.notify_one();
    }
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Mutex::default(), free: Condvar::new() }
    }

    /// Runs queries in one read transaction: they see one state of the database.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T, StoreError> {
        let mut loan = self.lend();
        if loan.conn.is_none() {
            let conn = connect(&self.path)?;
            conn.execute_batch("PRAGMA query_only = ON").map_err(|error| store_error(&error))?;
            loan.conn = Some(conn);
        }
        let Some(conn) = loan.conn.as_mut() else { return Err(StoreError::Closed) };
        let tx = conn.transaction().map_err(|error| store_error(&error))?;
        // Ended by being dropped; a read has nothing to commit.
        Ok(read(&tx)?)
    }

    fn lend(&self) -> Loan<'_> {
        let mut pool = lock(&self.pool);
        while pool.idle.is_empty() && pool.made >= limits::READERS {
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        let conn = pool.idle.pop();
        if conn.is_none() {
            pool.made += 1;
        }
        Loan { readers: self, conn }
    }
}

pub(super) fn head(conn: &Connection) -> rusqlite::Result<Cursor> {
    let mut max = conn.prepare_cached("SELECT coalesce(max(pos), 0) FROM events")?;
    max.query_row([], |row| row.get(0)).map(|pos| Cursor(unsigned(pos)))
}

const EVENT: &str = "SELECT e.pos, s.id, e.seq, e.wall, e.awake, b.boot, e.kind, e.data, e.blob
    FROM events e CROSS JOIN sessions s ON s.pk = e.session CROSS JOIN boots b ON b.pk = e.boot";

pub(super) fn events(conn: &Connection, query: &EventQuery) -> Result<RawPage> {
    let head = head(conn)?;
    if query.after > head {
        return Err(StoreError::Ahead { cursor: query.after.0, head: head.0 }.into());
    }
    let limit = if query.limit == 0 { limits::PAGE_EVENTS } else { query.limit.min(limits::PAGE_EVENTS) };
    let kinds = query.kinds.as_ref().map(|kinds| serde_json::Value::from(kinds.as_slice()).to_string());
    let Some(span) = span(conn, query, head)? else {
        return Ok(RawPage { events: Vec::new(), next: head, more: false });
    };
    let (own, column) = match span.session {
        Some(_) => ("e.session = ?1", "e.seq"),
        None => ("?1 IS NULL", "e.pos"),
    };
    let kind =
        if kinds.is_some() { "AND e.kind IN (SELECT value FROM json_each(?4))" } else { "AND ?4 IS NULL" };
    // Of a removed session only the tombstone is left, even while its events are being deleted.
    let sql = format!(
        "{EVENT} WHERE {own} AND {column} > ?2 AND {column} <= ?3 {kind}
         AND (s.removed = 0 OR e.kind = '{REMOVED}') ORDER BY {column} LIMIT ?5"
    );
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params![
        span.session,
        signed(span.from),
        signed(span.to),
        kinds,
        signed(limit as u64)
    ])?;
    let (mut events, mut bytes, mut cut) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let event = raw_event(conn, row)?;
        bytes += event.data.len();
        events.push(event);
        if bytes >= limits::PAGE_BYTES {
            cut = true;
            break;
        }
    }
    cut |= events.len() >= limit;
    let last = events.last().map(|event| event.cursor);
    let next = last.filter(|_| cut).unwrap_or(span.next);
    Ok(RawPage { events, next, more: next < head && (cut || span.more) })
}

/// What one page looks at: numbers of a session, or positions; above `from`, up to `to`.
struct Span {
    session: Option<i64>,
    from: u64,
    to: u64,
    /// Where to read on when all of it has been looked at.
    next: Cursor,
    /// Whether there is anything behind it.
    more: bool,
}

fn span(conn: &Connection, query: &EventQuery, head: Cursor) -> Result<Option<Span>> {
    let Some(id) = &query.session else {
        let (from, to) = (query.after.0, head.0.min(query.after.0.saturating_add(limits::PAGE_SCAN as u64)));
        return Ok(Some(Span { session: None, from, to, next: Cursor(to), more: to < head.0 }));
    };
    let mut select = conn.prepare_cached("SELECT pk, seq FROM sessions WHERE id = ?")?;
    let found = select
        .query_row([id.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((pk, last)) = found else { return Ok(None) };
    let last = unsigned(last);
    let from = seq_at(conn, pk, last, query.after)?.max(query.above_seq);
    let to = last.min(from.saturating_add(limits::PAGE_SCAN as u64));
    let more = to < last;
    let next = if more { pos_of(conn, pk, to)?.map_or(head, Cursor) } else { head };
    Ok(Some(Span { session: Some(pk), from, to, next, more }))
}

fn pos_of(conn: &Connection, pk: i64, seq: u64) -> Result<Option<u64>> {
    let mut select = conn.prepare_cached("SELECT pos FROM events WHERE session = ? AND seq = ?")?;
    Ok(select.query_row([pk, signed(seq)], |row| row.get(0)).optional()?.map(unsigned))
}

/// The number of the session's last event at or before a position. Numbers and positions rise together, so halving finds it.
fn seq_at(conn: &Connection, pk: i64, last: u64, at: Cursor) -> Result<u64> {
    let (mut low, mut high) = (0, last);
    if at == Cursor::START {
        return Ok(0);
    }
    while low < high {
        // Those who follow a session have seen nearly all of it: the first guess is its end.
        let middle = if high == last && low == 0 { last } else { low + (high - low).div_ceil(2) };
        // A number without an event is one that was deleted: before the tombstone.
        match pos_of(conn, pk, middle)? {
            Some(pos) if pos > at.0 => high = middle - 1,
            Some(_) | None => low = middle,
        }
    }
    Ok(low)
}

fn raw_event(conn: &Connection, row: &Row<'_>) -> Result<RawEvent> {
    let (cursor, seq) = (Cursor(unsigned(row.get(0)?)), unsigned(row.get(2)?));
    let session = session_id(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
    let at = stamp(row, 3)?;
    let data = match row.get::<_, Option<i64>>(8)? {
        None => row.get(7)?,
        Some(blob) => blob_data(conn, blob)?,
    };
    Ok(RawEvent { cursor, session, seq, at, kind: row.get(6)?, data })
}

fn stamp(row: &Row<'_>, first: usize) -> Result<Stamp> {
    let boot = row.get_ref(first + 2)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(Stamp {
        wall_ms: row.get(first)?,
        awake: AwakeMs(unsigned(row.get(first + 1)?)),
        boot: BootId(boot.into()),
    })
}

fn blob_data(conn: &Connection, blob: i64) -> Result<String> {
    let mut select = conn.prepare_cached("SELECT data FROM blobs WHERE pk = ?")?;
    select
        .query_row([blob], |row| row.get(0))
        .optional()?
        .ok_or_else(|| damaged(format!("payload {blob} is gone"), None))
}

pub(super) fn view(conn: &Connection, filter: &ViewFilter) -> Result<View> {
    let cursor = head(conn)?;
    let limit = if filter.limit == 0 { limits::VIEW_ROWS } else { filter.limit.min(limits::VIEW_ROWS) };
    let (conditions, values) = conditions(filter);
    let sql = format!("SELECT pk, id, format, body FROM sessions WHERE {conditions} ORDER BY pk DESC");
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let (mut sessions, mut gates, mut more) = (Vec::new(), Vec::new(), false);
    while let Some(row) = rows.next()? {
        let session = row_of(conn, row, 1)?;
        if !filter.labels.iter().all(|(key, value)| session.labels.get(key) == Some(value)) {
            continue;
        }
        if sessions.len() == limit {
            more = true;
            break;
        }
        if session.open_gates > 0 {
            open_gates(conn, row.get(0)?, &session.id, &mut gates)?;
        }
        sessions.push(session);
    }
    gates.sort_by_key(|(pk, _)| *pk);
    Ok(View { cursor, sessions, gates: gates.into_iter().map(|(_, gate)| gate).collect(), more })
}

fn conditions(filter: &ViewFilter) -> (String, Vec<Value>) {
    let mut sql = "removed = 0".to_owned();
    let mut values = Vec::new();
    let mut and = |condition: &str, value: Value| {
        sql.push_str(" AND ");
        sql.push_str(condition);
        values.push(value);
    };
    if !filter.statuses.is_empty() {
        let words: Vec<_> = filter.statuses.iter().map(|status| status.word()).collect();
        let words = Value::Text(serde_json::Value::from(words).to_string());
        if filter.statuses.contains(&Status::AwaitingInput) {
            and("(open_gates > 0 OR status IN (SELECT value FROM json_each(?)))", words);
        } else {
            and("status IN (SELECT value FROM json_each(?))", words);
        }
    }
    if let Some(agent) = &filter.agent {
        and("agent = ?", Value::Text(agent.as_str().to_owned()));
    }
    if let Some(ended) = filter.ended {
        // Spelled out, so that the index of the open ones is found.
        and(
            if ended { "ended = 1 AND ? IS NOT NULL" } else { "ended = 0 AND ? IS NOT NULL" },
            Value::Integer(1),
        );
    }
    if let Some(name) = &filter.name {
        and("name = ?", Value::Text(name.as_str().to_owned()));
    }
    if let Some(before) = &filter.before {
        and("pk < (SELECT pk FROM sessions WHERE id = ?)", Value::Text(before.as_str().to_owned()));
    }
    (sql, values)
}

fn open_gates(
    conn: &Connection,
    pk: i64,
    session: &SessionId,
    gates: &mut Vec<(i64, GateRow)>,
) -> Result<()> {
    let mut select = conn.prepare_cached("SELECT pk, body FROM gates WHERE session = ? AND open = 1")?;
    let mut rows = select.query([pk])?;
    while let Some(row) = rows.next()? {
        let gate = parsed(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?, "a gate")?;
        gates.push((row.get(0)?, GateRow { session: session.clone(), gate }));
    }
    Ok(())
}

pub(super) fn session_row(conn: &Connection, id: &SessionId) -> Result<Option<SessionRow>> {
    let mut select =
        conn.prepare_cached("SELECT id, format, body FROM sessions WHERE id = ? AND removed = 0")?;
    let mut rows = select.query([id.as_str()])?;
    rows.next()?.map(|row| row_of(conn, row, 0)).transpose()
}

/// A row, out of `id, format, body`. It is a cache: one that cannot be read, or means something else, is made anew.
fn row_of(conn: &Connection, row: &Row<'_>, first: usize) -> Result<SessionRow> {
    if row.get::<_, i64>(first + 1)? == ROW_FORMAT
        && let Ok(session) =
            serde_json::from_str(row.get_ref(first + 2)?.as_str().map_err(rusqlite::Error::from)?)
    {
        return Ok(session);
    }
    let id = session_id(row.get_ref(first)?.as_str().map_err(rusqlite::Error::from)?)?;
    let state = load(conn, &id)?.ok_or_else(|| damaged(format!("session {id} has no log"), None))?;
    Ok(SessionRow::of(&state))
}

pub(super) fn find(conn: &Connection, reference: &str) -> Result<Found> {
    let exact = "SELECT id FROM sessions WHERE id = ? AND removed = 0";
    let ended = "SELECT id FROM sessions WHERE name = ? AND removed = 0 ORDER BY pk DESC LIMIT 1";
    if let Some(id) = one_id(conn, exact, reference)? {
        return Ok(Found::One(id));
    }
    if let Some(id) = living(conn, reference)? {
        return Ok(Found::One(id));
    }
    if let Some(id) = one_id(conn, ended, reference)? {
        return Ok(Found::One(id));
    }
    if reference.is_empty() || !reference.bytes().all(|byte| ID_ALPHABET.contains(&byte)) {
        return Ok(Found::None);
    }
    // The character behind the last one that an id can have.
    let end = format!("{reference}{{");
    let sql = "SELECT id FROM sessions WHERE id >= ? AND id < ? AND removed = 0 ORDER BY id LIMIT ?";
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params![reference, end, signed(limits::CANDIDATES as u64)])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(session_id(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(match (ids.pop(), ids.is_empty()) {
        (None, _) => Found::None,
        (Some(id), true) => Found::One(id),
        (Some(id), false) => {
            ids.push(id);
            Found::Several(ids)
        }
    })
}

fn one_id(conn: &Connection, sql: &str, value: &str) -> Result<Option<SessionId>> {
    let id: Option<String> = conn.prepare_cached(sql)?.query_row([value], |row| row.get(0)).optional()?;
    id.map(|id| session_id(&id)).transpose()
}

/// The session with this name that has not ended.
pub(super) fn living(conn: &Connection, name: &str) -> rusqlite::Result<Option<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE name = ? AND ended = 0";
    let id: Option<String> = conn.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    Ok(id.and_then(|id| id.parse().ok()))
}

pub(super) fn load(conn: &Connection, id: &SessionId) -> Result<Option<State>> {
    let sql = "SELECT pk, seq FROM sessions WHERE id = ? AND removed = 0";
    let found = conn
        .prepare_cached(sql)?
        .query_row([id.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((pk, last)) = found else { return Ok(None) };
    let last = unsigned(last);
    let state = fold(conn, id, pk, snapshot(conn, id, pk, last)?)?;
    if state.seq != last {
        let what = format!("the log of session {id} ends at event {} and its row at {last}", state.seq);
        return Err(damaged(what, Some((id.clone(), state.seq + 1))));
    }
    Ok(Some(state))
}

fn snapshot(conn: &Connection, id: &SessionId, pk: i64, last: u64) -> Result<Option<State>> {
    let mut select = conn.prepare_cached("SELECT seq, format, state FROM snapshots WHERE session = ?")?;
    let found: Option<(i64, i64, String)> =
        select.query_row([pk], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let state = found.and_then(|(seq, format, text)| {
        read_snapshot(format, &text)
            .filter(|state| state.seq == unsigned(seq) && state.seq <= last && state.id == *id)
    });
    Ok(state)
}

fn fold(conn: &Connection, id: &SessionId, pk: i64, snapshot: Option<State>) -> Result<State> {
    let broken =
        |seq: u64, error: &dyn std::fmt::Display| damaged(error.to_string(), Some((id.clone(), seq)));
    let mut state = snapshot;
    let sql = format!("{EVENT} WHERE e.session = ? AND e.seq > ? ORDER BY e.seq");
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query([pk, signed(state.as_ref().map_or(0, |state| state.seq))])?;
    while let Some(row) = rows.next()? {
        let envelope = raw_event(conn, row)?.decode()?.envelope;
        let seq = envelope.seq;
        match &mut state {
            Some(state) => {
                let expected = state.seq + 1;
                state.fold_on([&envelope]).map_err(|error| broken(expected, &error))?;
            }
            None if seq != 1 => {
                return Err(broken(1, &format!("the log of session {id} begins with event {seq}")));
            }
            None => state = Some(State::fold(id, [&envelope]).map_err(|error| broken(seq, &error))?),
        }
    }
    state.ok_or_else(|| broken(1, &format!("session {id} has no log")))
}

pub(super) fn gate(conn: &Connection, session: &SessionId, no: GateNo) -> Result<Option<Gate>> {
    let sql = "SELECT g.body FROM sessions s JOIN gates g ON g.session = s.pk WHERE s.id = ? AND g.no = ?";
    let mut select = conn.prepare_cached(sql)?;
    let body: Option<String> =
        select.query_row(params![session.as_str(), no.0], |row| row.get(0)).optional()?;
    body.map(|body| parsed(&body, "a gate")).transpose()
}

pub(super) fn gates(conn: &Connection, filter: &GateFilter) -> Result<GatePage> {
    let cursor = head(conn)?;
    let limit = if filter.limit == 0 { limits::VIEW_ROWS } else { filter.limit.min(limits::VIEW_ROWS) };
    let (condition, order, behind) =
        if filter.open { ("g.open = 1", "ASC", ">") } else { ("1 = 1", "DESC", "<") };
    let mut sql =
        format!("SELECT s.id, g.body FROM gates g JOIN sessions s ON s.pk = g.session WHERE {condition}");
    let mut values = Vec::new();
    if let Some(session) = &filter.session {
        sql.push_str(" AND s.id = ?");
        values.push(Value::Text(session.as_str().to_owned()));
    }
    if let Some((session, no)) = &filter.after {
        sql.push_str(" AND g.pk ");
        sql.push_str(behind);
        sql.push_str(
            " (SELECT x.pk FROM gates x JOIN sessions y ON y.pk = x.session WHERE y.id = ? AND x.no = ?)",
        );
        values.push(Value::Text(session.as_str().to_owned()));
        values.push(Value::Integer(no.0.into()));
    }
    sql.push_str(" ORDER BY g.pk ");
    sql.push_str(order);
    sql.push_str(" LIMIT ?");
    values.push(Value::Integer(signed(limit as u64 + 1)));
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let mut gates = Vec::new();
    while let Some(row) = rows.next()? {
        let session = session_id(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
        let gate = parsed(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?, "a gate")?;
        gates.push(GateRow { session, gate });
    }
    let more = gates.len() > limit;
    gates.truncate(limit);
    Ok(GatePage { cursor, gates, more })
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

pub(super) fn key(conn: &Connection, scope: &str, key: &str) -> Result<Option<KeyEntry>> {
    Ok(key_entry(conn, scope, key)?)
}

/// See [`key`].
pub(super) fn key_entry(conn: &Connection, scope: &str, key: &str) -> rusqlite::Result<Option<KeyEntry>> {
    let mut select =
        conn.prepare_cached("SELECT body_hash, response FROM keys WHERE scope = ? AND key = ?")?;
    select
        .query_row([scope, key], |row| {
            let (scope, key) = (scope.to_owned(), key.to_owned());
            Ok(KeyEntry { scope, key, body_hash: row.get(0)?, response: row.get(1)? })
        })
        .optional()
}

pub(super) fn live(conn: &Connection) -> Result<Vec<SessionId>> {
    let mut select = conn.prepare_cached("SELECT id FROM sessions WHERE live = 1 ORDER BY pk")?;
    let mut rows = select.query([])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(session_id(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(ids)
}

/// Reads the end of the log as it would be read at work: every event decodes, and none lies behind its session's row.
pub(super) fn check_tail(conn: &Connection) -> Result<(), StoreError> {
    tail(conn).map_err(StoreError::from)
}

fn tail(conn: &Connection) -> Result<()> {
    let sql = format!("{EVENT} WHERE e.pos > ? ORDER BY e.pos");
    let from = head(conn)?.0.saturating_sub(limits::CHECK_EVENTS as u64);
    let mut select = conn.prepare_cached(&sql)?;
    let mut rows = select.query([signed(from)])?;
    while let Some(row) = rows.next()? {
        let event = raw_event(conn, row)?.decode()?;
        let (seq, id) = (event.envelope.seq, &event.session);
        let mut select = conn.prepare_cached("SELECT seq FROM sessions WHERE id = ?")?;
        let last = unsigned(select.query_row([id.as_str()], |row| row.get(0))?);
        if seq > last {
            return Err(damaged(
                format!("event {seq} of session {id} lies behind its row at {last}"),
                Some((id.clone(), seq)),
            ));
        }
    }
    Ok(())
}

fn session_id(text: &str) -> Result<SessionId> {
    text.parse().map_err(|error: lockkeeper_core::id::BadName| damaged(error.to_string(), None))
}

fn parsed<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(format!("{what} cannot be read: {error}"), None))
}

fn damaged(what: String, at: Option<(SessionId, u64)>) -> ReadError {
    ReadError::Store(StoreError::Damaged { what, at })
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
