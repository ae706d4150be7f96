//! The store: what is durable, and how commits go wrong.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_core::agent::Action;
use lockkeeper_core::gate::{Decision, GateState};
use lockkeeper_core::id::{AttemptNo, GateNo, SessionId};
use lockkeeper_core::session::laws::Laws;
use lockkeeper_core::session::{Envelope, Event, Op, State};

use super::fault::Fault;
use super::look_back::once;
use super::world::{Sim, broken};

/// A commit that is asked for.
#[derive(Debug)]
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

/// Why a commit is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another daemon has begun since.
    Fenced,
    /// The session is not where the commit goes on.
    Conflict,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) fault: Option<Fault>,
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

    /// Makes a commit durable, by the rule of the engines about who may write (`crates/store/src/ownership.rs`).
    pub(super) fn commit(&mut self, commit: Commit) -> Result<(), Refusal> {
        let Some(stored) = self.sessions.get_mut(&commit.session) else {
            broken(&format!("{} is not there", commit.session));
        };
        if commit.epoch != self.epoch && self.fault != Some(Fault::ForgetsEpochs) {
            return Err(Refusal::Fenced);
        }
        if stored.log.len() as u64 != commit.expected && self.fault != Some(Fault::ForgetsNumbers) {
            return Err(Refusal::Conflict);
        }
        for (key, events) in &commit.keys {
            once(self.keys.insert(*key, *events).is_none(), || format!("the key {key} was used twice"));
        }
        stored.take(commit);
        Ok(())
    }
}

impl Sim {
    /// A commit of a session comes to the store, behind what was sent to it before by the same daemon: that has one writer.
    pub(super) fn catch_up(&mut self, id: &SessionId, epoch: u64) {
        let before = |late: &Commit| late.epoch == epoch && late.session == *id;
        let sent: Vec<u64> = self.late.iter().filter(|(_, late)| before(late)).map(|(no, _)| *no).collect();
        for no in sent {
            self.arrives(no);
        }
    }

    /// What was on its way to the store, when whoever had sent it died, is there.
    pub(super) fn arrives(&mut self, no: u64) {
        let Some(commit) = self.late.remove(&no) else { return };
        let (id, epoch) = (commit.session.clone(), commit.epoch);
        let became = self.store.commit(commit);
        self.note(|| format!("what daemon {epoch} was committing of {id} arrives: {became:?}"));
        self.look_at_tasks();
    }
}

impl Stored {
    fn take(&mut self, commit: Commit) {
        let id = &commit.session;
        for envelope in commit.events {
            if let Err(error) = self.folded.fold_on([&envelope]) {
                broken(&format!("the log of {id} cannot be folded: {error}"));
            }
            self.note(&envelope);
            self.log.push(envelope);
        }
        once(self.folded == commit.row, || format!("the row of {id} is not the fold of its log"));
        if let (Some((of, before)), Some((attempt, read))) = (self.ingested, commit.ingested) {
            once(of != attempt || before <= read, || {
                format!("{id} goes back to {read} in the journal of {of}")
            });
        }
        self.row = commit.row;
        self.laws = commit.laws;
        self.ingested = commit.ingested.or(self.ingested);
    }

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
