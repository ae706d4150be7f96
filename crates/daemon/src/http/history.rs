//! What a session has done: turns, items, launches, journals. All of it is read out of the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use lockkeeper_api::{
    Attempt, ErrorCode, Exit, FullSession, Item, ItemQuery, JournalQuery, JournalStream, List, OutcomeWord,
    Turn, limits as api_limits,
};
use lockkeeper_core::id::{AttemptNo, PromptNo, SessionId, TurnNo};
use lockkeeper_core::item::{Item as CoreItem, ItemBody};
use lockkeeper_core::prompt::Prompt;
use lockkeeper_core::session::Event;
use lockkeeper_core::turn::TurnBy;
use lockkeeper_holder::journal::{Reader, Record, Step, Stream};
use lockkeeper_store::{Cursor, GateFilter, GateRow, SessionRow, Stored};

use super::answer::{self, Answer, Failure, Query, wire_cursor};
use super::{convert, events, resolve, sessions};
use crate::host::Host;
use crate::session::attach::attempt_dir;

struct Log {
    events: Vec<Stored>,
    row: SessionRow,
    cursor: Cursor,
}

async fn log(host: &Arc<Host>, reference: &str) -> Result<Log, Failure> {
    let id = resolve::session(host, reference).await?;
    let gone = Failure::new(ErrorCode::SessionNotFound, format!("session {id} is gone"));
    let (events, row, cursor) = resolve::read(host, move |store| events::whole_log(store, &id)).await?;
    Ok(Log { events, row: row.ok_or(gone)?, cursor })
}

pub(super) async fn turns(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let log = log(&host, &session).await?;
    let items = turns_of(&log);
    answer::json(super::OK, &List::<Turn> { items, cursor: wire_cursor(log.cursor) }, log.cursor)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "it looks at a few kinds of events; the others are none of its business"
)]
fn turns_of(log: &Log) -> Vec<Turn> {
    let id = &log.row.id;
    let mut prompts: BTreeMap<PromptNo, &Prompt> = BTreeMap::new();
    let mut turns: BTreeMap<TurnNo, Turn> = BTreeMap::new();
    for stored in &log.events {
        let at = convert::time(&stored.envelope.at);
        if let Event::PromptAccepted { prompt } = &stored.envelope.event {
            prompts.insert(prompt.no, prompt);
        }
        let (no, prompt) = match &stored.envelope.event {
            Event::TurnStarted { turn, prompt, .. } => (*turn, Some(*prompt)),
            Event::OwnTurnBegun { turn, .. } => (*turn, None),
            Event::TurnEnded { turn, outcome, usage, .. } => {
                if let Some(entry) = turns.get_mut(turn) {
                    let (word, kind, message) = OutcomeWord::parts(outcome);
                    entry.ended = Some(at);
                    entry.outcome = Some(word);
                    entry.kind = kind;
                    entry.message = message;
                    entry.usage = usage.into();
                }
                continue;
            }
            _ => continue,
        };
        let known = prompt.and_then(|prompt| prompts.get(&prompt).copied());
        turns.insert(
            no,
            Turn {
                id: no.of(id),
                no,
                by: if prompt.is_some() { TurnBy::Prompt } else { TurnBy::Agent },
                prompt: prompt.map(|prompt| prompt.of(id)),
                prompt_preview: known
                    .map(|prompt| prompt.text.chars().take(api_limits::PREVIEW_CHARS).collect()),
                caller: known.map(|prompt| prompt.caller.clone()),
                class: known.map(|prompt| prompt.class),
                started: at,
                ended: None,
                outcome: None,
                kind: None,
                message: None,
                usage: lockkeeper_api::Usage::default(),
            },
        );
    }
    turns.into_values().collect()
}

pub(super) async fn items(
    State(host): State<Arc<Host>>,
    Path(session): Path<String>,
    Query(query): Query<ItemQuery>,
) -> Answer {
    let log = log(&host, &session).await?;
    let only = query.turn.map(|turn| sessions::turn_no(&turn, &log.row.id)).transpose()?;
    let items = log.events.iter().filter_map(|stored| item_of(&log.row.id, stored, only)).collect();
    answer::json(super::OK, &List::<Item> { items, cursor: wire_cursor(log.cursor) }, log.cursor)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "it looks at a few kinds of events; the others are none of its business"
)]
fn item_of(id: &SessionId, stored: &Stored, only: Option<TurnNo>) -> Option<Item> {
    let at = convert::time(&stored.envelope.at);
    let wanted = |turn: &Option<TurnNo>| only.is_none() || only == *turn;
    match &stored.envelope.event {
        Event::ItemAdded { turn, item } | Event::ToolStarted { turn, item } if wanted(turn) => {
            Some(Item::new(id, *turn, at, item))
        }
        Event::ToolEnded { turn, call, outcome, text } if wanted(turn) => {
            let key = format!("{call}:result").parse().unwrap_or_else(|_| call.clone());
            let body = ItemBody::ToolResult { call: call.clone(), outcome: *outcome, text: text.clone() };
            Some(Item::new(id, *turn, at, &CoreItem { key, parent: None, body }))
        }
        _ => None,
    }
}

pub(super) async fn attempts(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let log = log(&host, &session).await?;
    let items = attempts_of(&log.events);
    answer::json(super::OK, &List::<Attempt> { items, cursor: wire_cursor(log.cursor) }, log.cursor)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "it looks at a few kinds of events; the others are none of its business"
)]
fn attempts_of(log: &[Stored]) -> Vec<Attempt> {
    let mut attempts: BTreeMap<AttemptNo, Attempt> = BTreeMap::new();
    for stored in log {
        let at = convert::time(&stored.envelope.at);
        match &stored.envelope.event {
            Event::AttemptLaunched { attempt, resume, model, mode, .. } => {
                attempts.insert(
                    *attempt,
                    Attempt {
                        no: *attempt,
                        pid: None,
                        version: None,
                        resume: resume.clone(),
                        model: model.clone(),
                        mode: mode.clone(),
                        launched: at,
                        ended: None,
                        exit: None,
                        problem: None,
                    },
                );
            }
            Event::AttemptSpawned { attempt, process } => {
                if let Some(entry) = attempts.get_mut(attempt) {
                    entry.pid = Some(process.pid);
                }
            }
            Event::AttemptReady { attempt, version } => {
                if let Some(entry) = attempts.get_mut(attempt) {
                    entry.version.clone_from(version);
                }
            }
            Event::AttemptLaunchFailed { attempt, error } => {
                if let Some(entry) = attempts.get_mut(attempt) {
                    entry.ended = Some(at);
                    entry.problem = Some(error.message.clone());
                }
            }
            Event::AttemptExited { attempt, exit, verdict } => {
                if let Some(entry) = attempts.get_mut(attempt) {
                    entry.ended = Some(at);
                    entry.exit = Some(Exit::new(exit, Some(*verdict)));
                }
            }
            Event::AttemptLost { attempt, .. } => {
                if let Some(entry) = attempts.get_mut(attempt) {
                    entry.ended = Some(at);
                    entry.problem = Some("its holder ended without a record".to_owned());
                }
            }
            _ => {}
        }
    }
    attempts.into_values().collect()
}

pub(super) async fn full(State(host): State<Arc<Host>>, Path(session): Path<String>) -> Answer {
    let log = log(&host, &session).await?;
    let id = log.row.id.clone();
    let filter = GateFilter { open: false, session: Some(id), ..GateFilter::default() };
    let mut gates: Vec<GateRow> = resolve::read(&host, move |store| store.gates(&filter)).await?.gates;
    gates.sort_by_key(|gate| gate.gate.no);
    let events = log.events.iter().map(convert::stored_event).collect::<Result<_, _>>();
    let body = FullSession {
        session: convert::session(&log.row),
        turns: turns_of(&log),
        gates: gates.iter().map(|gate| convert::gate(gate, &log.row)).collect(),
        attempts: attempts_of(&log.events),
        events: events
            .map_err(|error: serde_json::Error| Failure::new(ErrorCode::Internal, error.to_string()))?,
        cursor: wire_cursor(log.cursor),
    };
    answer::json(super::OK, &body, log.cursor)
}

pub(super) async fn journal(
    State(host): State<Arc<Host>>,
    Path(session): Path<String>,
    Query(query): Query<JournalQuery>,
) -> Result<Response, Failure> {
    let id = resolve::session(&host, &session).await?;
    let row = resolve::row(&host, &id).await?;
    let none = || Failure::new(ErrorCode::AttemptNotFound, format!("session {id} has no such launch"));
    let attempt = query.attempt.map_or(AttemptNo(row.attempts), AttemptNo);
    if attempt.0 == 0 || attempt.0 > row.attempts {
        return Err(none());
    }
    let path = attempt_dir(&host.paths.session_dir(&id), attempt).join(lockkeeper_holder::journal::FILE_NAME);
    let stream = query.stream.unwrap_or_default();
    let bytes = tokio::task::spawn_blocking(move || read_journal(&path, stream))
        .await
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?
        .map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return Failure::new(ErrorCode::JournalGone, "the journal is not kept any more");
            }
            Failure::new(ErrorCode::Internal, error.to_string())
        })?;
    Ok((super::OK, [(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

fn read_journal(path: &std::path::Path, stream: JournalStream) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut out = Vec::new();
    let Ok((_, mut reader)) = Reader::open(file)? else { return Ok(out) };
    while let Step::Entry(entry) = reader.step()? {
        match (entry.record, stream) {
            (Record::Output { stream: Stream::Stdout, bytes, .. }, JournalStream::Stdout)
            | (Record::Output { stream: Stream::Stderr, bytes, .. }, JournalStream::Stderr)
            | (Record::Accepted { bytes, .. }, JournalStream::Stdin) => out.extend_from_slice(bytes),
            _ => {}
        }
    }
    Ok(out)
}
