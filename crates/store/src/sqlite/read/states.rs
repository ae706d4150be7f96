//! Folds of the log, and a look at its end.

use lockkeeper_core::id::SessionId;
use lockkeeper_core::session::State;
use rusqlite::{Connection, OptionalExtension};

use super::events::{EVENT, raw_event};
use super::{Result, damaged, head, signed, unsigned};
use crate::error::StoreError;
use crate::limits;
use crate::prepare::read_snapshot;

pub(in crate::sqlite) fn load(conn: &Connection, id: &SessionId) -> Result<Option<State>> {
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

/// Reads the end of the log as it would be read at work: every event decodes, and none lies behind its session's row.
pub(in crate::sqlite) fn check_tail(conn: &Connection) -> Result<(), StoreError> {
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
