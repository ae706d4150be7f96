//! Rows of sessions: lists, one, and what a reference means.

use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::gates::open_gates;
use super::states::load;
use super::{Result, damaged, head, session_id, signed, text};
use crate::limits;
use crate::query::{Found, View, ViewFilter, bounded, may_begin_id};
use crate::row::{ROW_FORMAT, SessionRow};

pub(in crate::sqlite) fn view(conn: &Connection, filter: &ViewFilter) -> Result<View> {
    let cursor = head(conn)?;
    let limit = bounded(filter.limit, limits::VIEW_ROWS);
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

pub(in crate::sqlite) fn session_row(conn: &Connection, id: &SessionId) -> Result<Option<SessionRow>> {
    let mut select =
        conn.prepare_cached("SELECT id, format, body FROM sessions WHERE id = ? AND removed = 0")?;
    let mut rows = select.query([id.as_str()])?;
    rows.next()?.map(|row| row_of(conn, row, 0)).transpose()
}

/// A row, out of `id, format, body`. It is a cache: one that cannot be read, or means something else, is made anew.
fn row_of(conn: &Connection, row: &Row<'_>, first: usize) -> Result<SessionRow> {
    if row.get::<_, i64>(first + 1)? == ROW_FORMAT
        && let Ok(session) = serde_json::from_str(text(row, first + 2)?)
    {
        return Ok(session);
    }
    let id = session_id(text(row, first)?)?;
    let state = load(conn, &id)?.ok_or_else(|| damaged(format!("session {id} has no log"), None))?;
    Ok(SessionRow::of(&state))
}

pub(in crate::sqlite) fn find(conn: &Connection, reference: &str) -> Result<Found> {
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
    with_id(conn, reference)
}

/// The sessions whose ids begin so.
pub(in crate::sqlite) fn with_id(conn: &Connection, beginning: &str) -> Result<Found> {
    if !may_begin_id(beginning) {
        return Ok(Found::None);
    }
    // The character behind the last one that an id can have.
    let end = format!("{beginning}{{");
    let sql = "SELECT id FROM sessions WHERE id >= ? AND id < ? AND removed = 0 ORDER BY id LIMIT ?";
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params![beginning, end, signed(limits::CANDIDATES as u64)])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(session_id(text(row, 0)?)?);
    }
    Ok(Found::of(ids))
}

fn one_id(conn: &Connection, sql: &str, value: &str) -> Result<Option<SessionId>> {
    let id: Option<String> = conn.prepare_cached(sql)?.query_row([value], |row| row.get(0)).optional()?;
    id.map(|id| session_id(&id)).transpose()
}

/// The session with this name that has not ended.
pub(in crate::sqlite) fn living(conn: &Connection, name: &str) -> rusqlite::Result<Option<SessionId>> {
    let sql = "SELECT id FROM sessions WHERE name = ? AND ended = 0";
    let id: Option<String> = conn.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    Ok(id.and_then(|id| id.parse().ok()))
}
