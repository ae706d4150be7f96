//! Printing what is to be stored, on the caller's thread, so that the writer's has only the engine to serve.

use std::collections::BTreeSet;

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::gate::GateState;
use lockkeeper_core::id::{GateNo, SessionId};
use lockkeeper_core::session::{Envelope, Event, State};
use serde::Serialize;

use crate::append::{Append, Epoch, Ingested, KeyEntry, Removal};
use crate::audit::printed;
use crate::limits;
use crate::row::SessionRow;

/// The kind of the event that stays of a removed session.
pub(crate) const REMOVED: &str = "session.removed";

/// The version of what a snapshot means. To be raised when folding the same events gives another state of the same
/// shape; another shape is noticed without it.
pub(crate) const SNAPSHOT_FORMAT: i64 = 3;

/// One item for an engine.
pub(crate) enum Change {
    Append(Box<Prepared>),
    Remove(Removal),
    ForgetKeys {
        before_wall_ms: i64,
    },
    KeepFact {
        name: &'static str,
        value: Option<String>,
        /// Records of the audit that belong to no session, printed.
        records: Vec<String>,
    },
    /// Not fit to be stored; why.
    Refused(String),
}

impl Change {
    pub(crate) fn essential(&self) -> bool {
        match self {
            Self::Append(append) => append.essential,
            Self::Remove(_) | Self::ForgetKeys { .. } | Self::KeepFact { .. } => true,
            Self::Refused(_) => false,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.bytes,
            Self::KeepFact { value, records, .. } => value.iter().chain(records).map(String::len).sum(),
            Self::Remove(_) | Self::ForgetKeys { .. } | Self::Refused(_) => 0,
        }
    }

    pub(crate) fn events(&self) -> usize {
        match self {
            Self::Append(append) => append.events.len(),
            Self::Remove(_) => 1,
            Self::ForgetKeys { .. } | Self::KeepFact { .. } | Self::Refused(_) => 0,
        }
    }
}

/// An append, printed.
pub(crate) struct Prepared {
    pub session: SessionId,
    pub epoch: Epoch,
    pub expected: u64,
    pub events: Vec<Line>,
    pub row: SessionRow,
    pub row_json: String,
    pub gates: Vec<GateLine>,
    pub audit: Vec<String>,
    pub ingested: Option<Ingested>,
    pub keys: Vec<KeyEntry>,
    pub snapshot: Option<String>,
    pub essential: bool,
    /// What it takes in memory and, roughly, on disk.
    pub bytes: usize,
}

impl Prepared {
    /// The number of the session's last event afterwards.
    pub(crate) fn seq(&self) -> u64 {
        self.expected + self.events.len() as u64
    }

    /// When it happened, in milliseconds since 1970: with its last event, else when the status began that the row shows.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.events.last().map_or(self.row.since.wall_ms, |last| last.envelope.at.wall_ms)
    }
}

/// An event, printed.
pub(crate) struct Line {
    pub envelope: Envelope,
    pub data: String,
}

/// A gate, printed.
pub(crate) struct GateLine {
    pub no: GateNo,
    pub open: bool,
    pub body: String,
}

/// A fact of the host, and the records that belong to it.
pub(crate) fn kept(name: &'static str, value: Option<String>, records: &[AuditRecord]) -> Change {
    match records.iter().map(printed).collect() {
        Ok(records) => Change::KeepFact { name, value, records },
        Err(why) => Change::Refused(why),
    }
}

/// Checks an append against itself and prints it.
pub(crate) fn prepare(append: Append) -> Change {
    match checked(append) {
        Ok(prepared) => Change::Append(Box::new(prepared)),
        Err(why) => Change::Refused(why),
    }
}

fn checked(append: Append) -> Result<Prepared, String> {
    check(&append)?;
    let Append { session, epoch, expected, events, row, gates, audit, ingested, keys, snapshot, essential } =
        append;
    let mut bytes = 0;
    let mut lines = Vec::with_capacity(events.len());
    for envelope in events {
        let data = envelope.event.data();
        fits(data.len(), "an event")?;
        bytes += data.len();
        lines.push(Line { envelope, data });
    }
    let row_json = print(&row, "the row")?;
    let gates = gates
        .iter()
        .map(|gate| {
            let open = matches!(gate.state, GateState::Open);
            Ok(GateLine { no: gate.no, open, body: print(gate, "a gate")? })
        })
        .collect::<Result<Vec<_>, String>>()?;
    let audit = audit.iter().map(printed).collect::<Result<Vec<_>, String>>()?;
    let snapshot = snapshot.map(|state| print(&*state, "the snapshot")).transpose()?;
    bytes += row_json.len() + gates.iter().map(|gate| gate.body.len()).sum::<usize>();
    bytes += audit.iter().map(String::len).sum::<usize>();
    bytes += keys.iter().map(|key| key.response.len() + key.key.len() + key.scope.len()).sum::<usize>();
    bytes += snapshot.as_ref().map_or(0, String::len);
    Ok(Prepared {
        session,
        epoch,
        expected,
        events: lines,
        row,
        row_json,
        gates,
        audit,
        ingested,
        keys,
        snapshot,
        essential,
        bytes,
    })
}

fn check(append: &Append) -> Result<(), String> {
    let Append { session, expected, events, row, keys, snapshot, .. } = append;
    for (envelope, seq) in events.iter().zip(expected + 1..) {
        if envelope.seq != seq {
            return Err(format!("event {} of session {session} where {seq} belongs", envelope.seq));
        }
    }
    let last = expected + events.len() as u64;
    if row.id != *session || row.seq != last {
        return Err(format!(
            "the row of session {} at event {} for session {session} at event {last}",
            row.id, row.seq
        ));
    }
    if *expected == 0
        && !events.first().is_some_and(|first| matches!(first.event, Event::SessionCreated { .. }))
    {
        return Err(format!("the log of session {session} would not begin with session.created"));
    }
    if let Some(state) = snapshot.as_deref().filter(|state| state.id != *session || state.seq != last) {
        return Err(format!(
            "a snapshot of session {} at event {} for {session} at {last}",
            state.id, state.seq
        ));
    }
    let mut seen = BTreeSet::new();
    match keys.iter().find(|entry| !seen.insert((&entry.scope, &entry.key))) {
        Some(twice) => Err(format!("the idempotency key {:?} twice", twice.key)),
        None => Ok(()),
    }
}

fn print<T: Serialize>(value: &T, what: &str) -> Result<String, String> {
    let text = serde_json::to_string(value).map_err(|error| format!("{what} cannot be printed: {error}"))?;
    fits(text.len(), what)?;
    Ok(text)
}

fn fits(bytes: usize, what: &str) -> Result<(), String> {
    if bytes > limits::EVENT_BYTES {
        return Err(format!("{what} has {bytes} bytes, more than {}", limits::EVENT_BYTES));
    }
    Ok(())
}

/// The data of the tombstone of a removed session.
pub(crate) fn tombstone(by: &str) -> String {
    serde_json::json!({ "by": by }).to_string()
}

/// Reads a snapshot; `None` if it is not exactly what this program would have written, for example because the state
/// has had a member more or less since.
pub(crate) fn read_snapshot(format: i64, text: &str) -> Option<State> {
    if format != SNAPSHOT_FORMAT {
        return None;
    }
    let state: State = serde_json::from_str(text).ok()?;
    (serde_json::to_string(&state).ok()? == text).then_some(state)
}
