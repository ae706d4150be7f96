//! Gates.

use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{GateNo, SessionId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::de::DeserializeOwned;

use super::{Result, damaged, head, session_id, signed, text};
use crate::limits;
use crate::query::{GateFilter, GatePage, GateRow, bounded};

pub(in crate::sqlite) fn gate(conn: &Connection, session: &SessionId, no: GateNo) -> Result<Option<Gate>> {
    let sql = "SELECT g.body FROM sessions s JOIN gates g ON g.session = s.pk WHERE s.id = ? AND g.no = ?";
    let mut select = conn.prepare_cached(sql)?;
    let body: Option<String> =
        select.query_row(params![session.as_str(), no.0], |row| row.get(0)).optional()?;
    body.map(|body| parsed(&body, "a gate")).transpose()
}

pub(in crate::sqlite) fn gates(conn: &Connection, filter: &GateFilter) -> Result<GatePage> {
    let cursor = head(conn)?;
    let limit = bounded(filter.limit, limits::VIEW_ROWS);
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
        let session = session_id(text(row, 0)?)?;
        let gate = parsed(text(row, 1)?, "a gate")?;
        gates.push(GateRow { session, gate });
    }
    let more = gates.len() > limit;
    gates.truncate(limit);
    Ok(GatePage { cursor, gates, more })
}

/// Adds the open gates of a session, each with what orders it among those of others.
pub(super) fn open_gates(
    conn: &Connection,
    pk: i64,
    session: &SessionId,
    gates: &mut Vec<(i64, GateRow)>,
) -> Result<()> {
    let mut select = conn.prepare_cached("SELECT pk, body FROM gates WHERE session = ? AND open = 1")?;
    let mut rows = select.query([pk])?;
    while let Some(row) = rows.next()? {
        let gate = parsed(text(row, 1)?, "a gate")?;
        gates.push((row.get(0)?, GateRow { session: session.clone(), gate }));
    }
    Ok(())
}

fn parsed<T: DeserializeOwned>(text: &str, what: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(format!("{what} cannot be read: {error}"), None))
}
