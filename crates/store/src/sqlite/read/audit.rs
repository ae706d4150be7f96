//! The audit.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::{signed, unsigned};
use crate::audit::{AuditEntry, AuditPage, AuditQuery};
use crate::limits;
use crate::query::bounded;

/// The session that a record says it is of, as the index has it.
const SESSION: &str =
    "CASE WHEN json_valid(CAST(record AS TEXT)) THEN json_extract(CAST(record AS TEXT), '$.session') END";

pub(in crate::sqlite) fn audit(conn: &Connection, query: &AuditQuery) -> rusqlite::Result<AuditPage> {
    let limit = bounded(query.limit, limits::PAGE_RECORDS);
    let mut sql = "SELECT no, CAST(record AS TEXT), CAST(hash AS TEXT) FROM audit WHERE no > ?".to_owned();
    let mut values = vec![Value::Integer(signed(query.after))];
    if let Some(session) = &query.session {
        sql.extend([" AND ", SESSION, " = ?"]);
        values.push(Value::Text(session.as_str().to_owned()));
    }
    sql.push_str(" ORDER BY no LIMIT ?");
    values.push(Value::Integer(signed(limit as u64 + 1)));
    let mut select = conn.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(values), |row| {
        Ok(AuditEntry {
            no: unsigned(row.get(0)?),
            record: as_it_stands(row, 1)?,
            hash: as_it_stands(row, 2)?,
        })
    })?;
    let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    Ok(AuditPage { entries, more })
}

/// A text of the audit, whatever somebody put there: what cannot be shown as it is does not verify either.
pub(in crate::sqlite) fn as_it_stands(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema;

    /// SQLite uses an index on an expression where a query has the same.
    #[test]
    fn records_of_a_session_are_found_by_the_index() {
        assert!(schema::STEPS.iter().any(|step| step.contains(SESSION)));
    }
}
