//! What is read.

use lockkeeper_core::gate::Gate;
use lockkeeper_core::id::{AgentName, GateNo, ID_ALPHABET, SessionId, SessionName};
use lockkeeper_core::session::{Envelope, Event, Status};
use lockkeeper_core::time::Stamp;

use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::limits;
use crate::row::SessionRow;

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Those behind this position.
    pub after: Cursor,
    /// Of this session; of all without it.
    pub session: Option<SessionId>,
    /// With a session: those with a number above this. For the last `n`, the row's `seq` less `n`.
    pub above_seq: u64,
    /// Of these kinds; of all without it.
    pub kinds: Option<Vec<String>>,
    /// At most so many; 0 means as many as a page holds ([`limits::PAGE_EVENTS`]).
    pub limit: usize,
    /// Not more of them once they have so many bytes, but at least one; 0 means as many as a page holds
    /// ([`limits::PAGE_BYTES`]).
    pub limit_bytes: usize,
}

/// An event with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Right behind it.
    pub cursor: Cursor,
    /// Whose it is.
    pub session: SessionId,
    /// The event.
    pub envelope: Envelope,
}

/// An event as it is stored, not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// Right behind it.
    pub cursor: Cursor,
    /// Whose it is.
    pub session: SessionId,
    /// Its number in the session.
    pub seq: u64,
    /// When it happened.
    pub at: Stamp,
    /// Its kind.
    pub kind: String,
    /// Its data, a JSON text.
    pub data: String,
}

impl RawEvent {
    /// Decodes it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its kind is known and its data is not that kind's.
    pub fn decode(self) -> Result<Stored, StoreError> {
        let Self { cursor, session, seq, at, kind, data } = self;
        match Event::decode(&kind, &data) {
            Ok(event) => Ok(Stored { cursor, session, envelope: Envelope { seq, at, event } }),
            Err(error) => Err(StoreError::Damaged {
                what: format!("event {seq} of session {session} at position {cursor}: {error}"),
                at: Some((session, seq)),
            }),
        }
    }
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The events, in order.
    pub events: Vec<Stored>,
    /// Where to read on. With a filter it can lie behind events that did not pass, so that nobody reads them twice.
    pub next: Cursor,
    /// Whether there was more when it was read.
    pub more: bool,
}

/// A part of the log, not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPage {
    /// The events, in order.
    pub events: Vec<RawEvent>,
    /// Where to read on.
    pub next: Cursor,
    /// Whether there was more when it was read.
    pub more: bool,
}

/// Which sessions to list. Empty fields let all pass.
#[derive(Debug, Clone, Default)]
pub struct ViewFilter {
    /// With one of these statuses. [`Status::AwaitingInput`] lets every session with an open gate pass.
    pub statuses: Vec<Status>,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// Ended, or not.
    pub ended: Option<bool>,
    /// With this name.
    pub name: Option<SessionName>,
    /// Made before this one: the last of the page before.
    pub before: Option<SessionId>,
    /// At most so many; 0 means [`limits::VIEW_ROWS`].
    pub limit: usize,
}

/// Sessions and their open gates at one position of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The position that all of it is true at: reading from here misses nothing and repeats nothing.
    pub cursor: Cursor,
    /// The sessions that pass, the newest first.
    pub sessions: Vec<SessionRow>,
    /// Open gates of these sessions, the oldest first.
    pub gates: Vec<GateRow>,
    /// Whether older sessions would pass.
    pub more: bool,
}

/// A gate with its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateRow {
    /// The session.
    pub session: SessionId,
    /// The gate.
    pub gate: Gate,
}

/// Which gates to list.
#[derive(Debug, Clone, Default)]
pub struct GateFilter {
    /// Only those that wait for a decision, the oldest first; otherwise all, the newest first.
    pub open: bool,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Only those that come after this one in the order asked for.
    pub after: Option<(SessionId, GateNo)>,
    /// At most so many; 0 means [`limits::VIEW_ROWS`].
    pub limit: usize,
}

/// Gates at one position of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatePage {
    /// The position that they are true at.
    pub cursor: Cursor,
    /// The gates.
    pub gates: Vec<GateRow>,
    /// Whether more would pass.
    pub more: bool,
}

/// What a reference of a person means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This session.
    One(SessionId),
    /// No session.
    None,
    /// Several have an id that begins so; at most [`limits::CANDIDATES`] of them.
    Several(Vec<SessionId>),
}

impl Found {
    /// What ids that begin with a reference make of it.
    pub(crate) fn of(mut ids: Vec<SessionId>) -> Self {
        match (ids.pop(), ids.is_empty()) {
            (None, _) => Self::None,
            (Some(id), true) => Self::One(id),
            (Some(id), false) => {
                ids.push(id);
                Self::Several(ids)
            }
        }
    }
}

/// Whether an id can begin so, and enough of it is there to name it.
pub(crate) fn may_begin_id(reference: &str) -> bool {
    reference.len() >= limits::ID_CHARS && reference.bytes().all(|byte| ID_ALPHABET.contains(&byte))
}

/// How many a page may hold, when so many were asked for; 0 asks for as many as there may be.
pub(crate) fn bounded(limit: usize, most: usize) -> usize {
    if limit == 0 { most } else { limit.min(most) }
}
