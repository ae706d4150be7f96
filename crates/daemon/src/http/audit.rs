//! The audit.

use std::sync::Arc;

use axum::extract::State;
use futures_util::FutureExt as _;
use lockkeeper_api::{AuditEntry, AuditListQuery};
use lockkeeper_core::id::SessionId;
use lockkeeper_core::json::Json;
use lockkeeper_store::AuditQuery;

use super::answer::{Answer, Failure, Query};
use super::pieces::{self, Page};
use super::resolve;
use crate::host::Host;

pub(super) async fn list(State(host): State<Arc<Host>>, Query(query): Query<AuditListQuery>) -> Answer {
    let session = match &query.session {
        Some(session) => Some(meant(&host, session).await?),
        None => None,
    };
    let cursor = host.store.head();
    let filter = AuditQuery { after: query.after.unwrap_or(0), session, limit: 0 };
    let first = page(&host, &filter).await?;
    let reader = host.clone();
    let read = move |after| {
        let (host, filter) = (reader.clone(), AuditQuery { after, ..filter.clone() });
        async move { page(&host, &filter).await }.boxed()
    };
    Ok(pieces::list(&host, cursor, first, read))
}

/// Some records, and the number of the last one if there are more.
async fn page(host: &Arc<Host>, query: &AuditQuery) -> Result<Page<AuditEntry, u64>, Failure> {
    let asked = query.clone();
    let page = resolve::read(host, move |store| store.audit(&asked)).await?;
    let next = page.entries.last().map(|last| last.no).filter(|_| page.more);
    let entry = |entry: lockkeeper_store::AuditEntry| -> Result<AuditEntry, Failure> {
        Ok(AuditEntry { no: entry.no, record: standing(&entry.record)?, hash: entry.hash })
    };
    Ok(Page { rows: page.entries.into_iter().map(entry).collect::<Result<_, _>>()?, next })
}

/// A record to the byte. What is none any more is told as a JSON text, which does not verify in its place.
fn standing(record: &str) -> Result<Json, serde_json::Error> {
    match Json::parse(record) {
        // A record is in one line, and nothing stands around it.
        Ok(json) if json.as_str() == record && !record.contains(['\n', '\r']) => Ok(json),
        Ok(_) | Err(_) => Json::parse(&serde_json::to_string(record)?),
    }
}

/// A session, also one that was removed.
async fn meant(host: &Arc<Host>, text: &str) -> Result<SessionId, Failure> {
    match resolve::session(host, text).await {
        Ok(id) => Ok(id),
        Err(failure) => text.parse().map_err(|_| failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_any_more_is_a_text() {
        let table = [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            ("no \"JSON\"", r#""no \"JSON\"""#),
            ("", r#""""#),
            (" {}", r#"" {}""#),
            ("{\n}", r#""{\n}""#),
        ];
        for (record, expected) in table {
            let shown = standing(record).map(|json| json.as_str().to_owned());
            assert_eq!(shown.ok().as_deref(), Some(expected), "{record:?}");
        }
    }
}
