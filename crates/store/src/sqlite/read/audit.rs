//! The audit.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{signed, unsigned};
use crate::audit::{AuditEntry, AuditPage, AuditQuery};
use crate::limits;
use crate::query::bounded;

pub(in crate::sqlite) fn audit(conn: &Connection, query: &AuditQuery) -> rusqlite::Result<AuditPage> {
    let limit = bounded(query.limit, limits::PAGE_RECORDS);
    let mut sql = "SELECT no, record, hash FROM audit WHERE no > ?".to_owned();
    let mut values = vec![Value::Integer(signed(query.after))];
    if let Some(session) = &query.session {
        sql.push_str(" AND session = (SELECT pk FROM sessions WHERE id = ?)");
        values.push(Value::Text(session.as_str().to_owned()));
    }
    sql.push_str(" ORDER BY no LIMIT ?");
    values.push(Value::Integer(signed(limit as u64 + 1)));
    let mut select = conn.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(values), |row| {
        Ok(AuditEntry { no: unsigned(row.get(0)?), record: row.get(1)?, hash: row.get(2)? })
    })?;
    let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(AuditPage { entries, more })
}
