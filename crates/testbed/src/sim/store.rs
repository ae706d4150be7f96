//! The store: what is durable, and how commits go wrong.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_core::agent::Action;
use lockkeeper_core::gate::{Decision, GateState};
use lockkeeper_core::id::{AttemptNo, GateNo, SessionId};
use lockkeeper_core::session::laws::Laws;
use lockkeeper_core::session::{Envelope, Event, Op, State};

use super::clients::once;
use super::world::broken;

/// A commit that is asked for.
pub(super) struct Commit {
    pub(super) session: SessionId,
    pub(super) epoch: u64,
    pub(super) expected: u64,
    pub(super) events: Vec<Envelope>,
    /// What the events lead to: the row.
    pub(super) row: State,
    pub(super) laws: Laws,
    pub(super) ingested: Option<(AttemptNo, usize)>,
    /// Idempotency keys, with the numbers of the events that they led to.
    pub(super) keys: Vec<(usize, (u64, u64))>,
}

/// What is durable of a session.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) log: Vec<Envelope>,
    /// The row that was committed with the last events.
    pub(super) row: State,
    /// The log, folded as it was committed.
    folded: State,
    /// What the laws know of the log.
    pub(super) laws: Laws,
    pub(super) ingested: Option<(AttemptNo, usize)>,
    /// What may be done, for it was intended.
    pub(super) intended: BTreeSet<Intent>,
    /// What was decided at gates, for good.
    pub(super) decided: BTreeMap<GateNo, Decision>,
}

/// An effect that a stored event allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Intent {
    Launch(AttemptNo),
    Write(AttemptNo, u64, String),
    Signal(AttemptNo, u64, i32),
}

impl Intent {
    pub(super) fn write(attempt: AttemptNo, number: u64, op: &Op) -> Self {
        Self::Write(attempt, number, format!("{op:?}"))
    }
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) sessions: BTreeMap<SessionId, Stored>,
    /// What a key led to: the numbers of the first event and of that behind the last.
    pub(super) keys: BTreeMap<usize, (u64, u64)>,
    pub(super) epoch: u64,
}

impl Store {
    pub(super) fn create(&mut self, row: &State, log: &[Envelope]) {
        let folded = State::fold(&row.id, log).unwrap_or_else(|error| broken(&format!("no fold: {error}")));
        let mut laws = Laws::default();
        laws.brief = true;
        laws.created(row, log);
        let mut stored = Stored {
            laws,
            log: Vec::new(),
            row: row.clone(),
            folded,
            ingested: None,
            intended: BTreeSet::new(),
            decided: BTreeMap::new(),
        };
        for envelope in log {
            stored.note(envelope);
            stored.log.push(envelope.clone());
        }
        self.sessions.insert(row.id.clone(), stored);
    }

    /// Attempts that were launched and that no session has any more.
    pub(super) fn given_up(&self) -> Vec<(SessionId, AttemptNo)> {
        let of = |(id, stored): (&SessionId, &Stored)| {
            let now = stored.row.process.attempt().map(|attempt| attempt.no);
            let launched = stored.intended.iter().filter_map(|intent| match intent {
                Intent::Launch(attempt) => Some(*attempt),
                Intent::Write(..) | Intent::Signal(..) => None,
            });
            launched
                .filter(|attempt| Some(*attempt) != now)
                .map(|attempt| (id.clone(), attempt))
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of).collect()
    }

    /// Makes a commit durable. False if its writer was fenced off.
    pub(super) fn commit(&mut self, commit: Commit) -> bool {
        if commit.epoch != self.epoch {
            return false;
        }
        let Some(stored) = self.sessions.get_mut(&commit.session) else {
            broken(&format!("{} is not there", commit.session));
        };
        if stored.log.len() as u64 != commit.expected {
            broken(&format!(
                "{} commits behind {}, and the log has {}",
                commit.session,
                commit.expected,
                stored.log.len()
            ));
        }
        for envelope in commit.events {
            if let Err(error) = stored.folded.fold_on([&envelope]) {
                broken(&format!("the log of {} cannot be folded: {error}", commit.session));
            }
            stored.note(&envelope);
            stored.log.push(envelope);
        }
        if stored.folded != commit.row {
            broken(&format!("the row of {} is not the fold of its log", commit.session));
        }
        stored.row = commit.row;
        stored.laws = commit.laws;
        stored.ingested = commit.ingested.or(stored.ingested);
        for (key, events) in commit.keys {
            if self.keys.insert(key, events).is_some() {
                broken(&format!("the key {key} was used twice"));
            }
        }
        true
    }
}

impl Stored {
    #[expect(clippy::wildcard_enum_match_arm, reason = "it looks for intents; other events allow nothing")]
    fn note(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::AttemptLaunched { attempt, .. } => {
                self.intended.insert(Intent::Launch(*attempt));
            }
            Event::OutboxIntended { attempt, number, op } => {
                self.intended.insert(Intent::write(*attempt, *number, op));
            }
            Event::SignalIntended { attempt, number, signal, .. } => {
                self.intended.insert(Intent::Signal(*attempt, *number, signal.number()));
            }
            Event::GateDecided { gate, verdict, .. } => {
                let before = self.decided.insert(*gate, verdict.decision.clone());
                once(before.is_none(), || format!("{gate} was decided twice"));
            }
            _ => {}
        }
    }

    /// The gates that are open.
    pub(super) fn open_gates(&self) -> Vec<GateNo> {
        let open = self.row.gates.values().filter(|gate| gate.state == GateState::Open);
        open.map(|gate| gate.no).collect()
    }

    /// The text of the prompt that an action hands to the agent, if it is one.
    pub(super) fn prompt_of(op: &Op) -> Option<lockkeeper_core::id::PromptNo> {
        match op {
            Op::Write(Action::Prompt { prompt, .. }) => Some(*prompt),
            Op::Write(_) | Op::Close => None,
        }
    }
}
