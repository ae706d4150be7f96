//! What a session has done: turns, items, launches, events. All of it is read out of the log, page by page, up to the
//! end that the log had when the question came.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use lockkeeper_api::{ErrorCode, ItemQuery};
use lockkeeper_store::{Cursor, EventQuery, SessionRow};

use super::answer::{self, Answer, Failure, Path, Query, wire_cursor};
use super::folds::{Attempts, Events, Fold, Gates, Items, Turns};
use super::pieces::{self, Array, Cut, Pieces};
use super::{convert, resolve};
use crate::host::Host;
use crate::limits;

pub(super) async fn turns(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let log = Log::of(host, &session).await?;
    let turns = Turns::of(&log.row);
    Ok(log.list(turns))
}

pub(super) async fn items(
    State(host): State<Arc<Host>>,
    Path(session): Path<String>,
    Query(query): Query<ItemQuery>,
) -> Answer {
    let log = Log::of(host, &session).await?;
    let only = query.turn.map(|turn| resolve::within(&turn, &log.row.id)).transpose()?;
    let items = Items::of(&log.row, only);
    Ok(log.list(items))
}

pub(super) async fn attempts(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    Ok(Log::of(host, &session).await?.list(Attempts::new()))
}

pub(super) async fn full(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let log = Log::of(host.clone(), &session).await?;
    let cursor = log.cursor;
    let write = async move |mut out: Pieces| {
        out.text(r#"{"session":"#);
        out.json(&convert::session(&log.row, &log.host.slots))?;
        out.text(r#","turns":"#);
        log.rows(&mut out, Turns::of(&log.row)).await?;
        out.text(r#","gates":"#);
        log.rows(&mut out, Gates::of(&log.row, log.host.callers.users())).await?;
        out.text(r#","attempts":"#);
        log.rows(&mut out, Attempts::new()).await?;
        out.text(r#","events":"#);
        log.rows(&mut out, Events).await?;
        log.end(out).await
    };
    Ok(answer::at(cursor, pieces::answer(&host, answer::JSON, write)))
}

/// The log of a session up to the end that it had when it was asked for.
struct Log {
    host: Arc<Host>,
    row: SessionRow,
    /// Right behind the last event that is told.
    cursor: Cursor,
}

impl Log {
    async fn of(host: Arc<Host>, reference: &str) -> Result<Self, Failure> {
        let id = resolve::session(&host, reference).await?;
        let gone = Failure::new(ErrorCode::SessionNotFound, format!("session {id} is gone"));
        let read = resolve::read(&host, move |store| {
            let Some(row) = store.session_row(&id)? else { return Ok(None) };
            let above_seq = row.seq.saturating_sub(1);
            let last = EventQuery { session: Some(id), above_seq, limit: 1, ..EventQuery::default() };
            let last = store.read_raw(&last)?.events.first().map(|event| event.cursor);
            Ok(last.map(|cursor| (row, cursor)))
        });
        let (row, cursor) = read.await?.ok_or(gone)?;
        Ok(Self { host, row, cursor })
    }

    /// Answers with the list of what a fold makes of the log.
    fn list(self, fold: impl Fold) -> Response {
        let (host, cursor) = (self.host.clone(), self.cursor);
        let write = async move |mut out: Pieces| {
            out.text(r#"{"items":"#);
            self.rows(&mut out, fold).await?;
            self.end(out).await
        };
        answer::at(cursor, pieces::answer(&host, answer::JSON, write))
    }

    /// Writes the array of what a fold makes of the log.
    async fn rows<F: Fold>(&self, out: &mut Pieces, mut fold: F) -> Result<(), Cut> {
        let mut query = EventQuery {
            session: Some(self.row.id.clone()),
            kinds: F::KINDS.map(|kinds| kinds.iter().map(|&kind| kind.to_owned()).collect()),
            limit: limits::READ_EVENTS,
            ..EventQuery::default()
        };
        let (mut array, mut more) = (Array::begin(out), true);
        while more {
            let page = query.clone();
            let page = resolve::read(&self.host, move |store| store.read_raw(&page)).await?;
            more = page.more && page.next < self.cursor;
            query.after = page.next;
            for raw in page.events.into_iter().filter(|raw| raw.cursor <= self.cursor) {
                array.put(&fold.take(raw)?)?;
                array.flow().await?;
            }
        }
        // The log of a session that was removed meanwhile ends early.
        resolve::row(&self.host, &self.row.id).await?;
        array.put(&fold.rest())?;
        array.end();
        Ok(())
    }

    /// Writes the last member of an answer.
    async fn end(&self, mut out: Pieces) -> Result<(), Cut> {
        out.text(r#","cursor":"#);
        out.json(&wire_cursor(self.cursor))?;
        out.text("}");
        out.finish().await
    }
}
