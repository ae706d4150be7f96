//! Pages of the log.

use lockkeeper_core::time::{AwakeMs, BootId, Stamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Result, damaged, head, session_id, signed, text, unsigned};
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::prepare::REMOVED;
use crate::query::{EventQuery, RawEvent, RawPage, bounded};

pub(super) const EVENT: &str = "SELECT e.pos, s.id, e.seq, e.wall, e.awake, b.boot, e.kind, e.data, e.blob
    FROM events e CROSS JOIN sessions s ON s.pk = e.session CROSS JOIN boots b ON b.pk = e.boot";

pub(in crate::sqlite) fn events(conn: &Connection, query: &EventQuery) -> Result<RawPage> {
    let head = head(conn)?;
    if query.after > head {
        return Err(StoreError::Ahead { cursor: query.after.0, head: head.0 }.into());
    }
    let limit = bounded(query.limit, limits::PAGE_EVENTS);
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
        if bytes >= bounded(query.limit_bytes, limits::PAGE_BYTES) {
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
    let mut select = conn.prepare_cached("SELECT pk, seq, removed FROM sessions WHERE id = ?")?;
    let found = select
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? != 0)))
        .optional()?;
    let Some((pk, last, removed)) = found else { return Ok(None) };
    let last = unsigned(last);
    let mut from = seq_at(conn, pk, last, query.after)?.max(query.above_seq);
    if removed {
        // Nothing is told of it but its tombstone, the last.
        from = from.max(last - 1);
    }
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

pub(super) fn raw_event(conn: &Connection, row: &Row<'_>) -> Result<RawEvent> {
    let (cursor, seq) = (Cursor(unsigned(row.get(0)?)), unsigned(row.get(2)?));
    let session = session_id(text(row, 1)?)?;
    let at = stamp(row, 3)?;
    let data = match row.get::<_, Option<i64>>(8)? {
        None => row.get(7)?,
        Some(blob) => blob_data(conn, blob)?,
    };
    Ok(RawEvent { cursor, session, seq, at, kind: row.get(6)?, data })
}

fn stamp(row: &Row<'_>, first: usize) -> Result<Stamp> {
    let boot = text(row, first + 2)?;
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
