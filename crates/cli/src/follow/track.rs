//! What a follower knows of a session, and when it is done. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lockkeeper_api::id::{GateNo, PromptNo, TurnNo};
use lockkeeper_api::{
    Event, EventBody, EventEnd, FailureKind, Gate, ItemBody, Lifetime, Outcome, Session, Snapshot, Status,
};

use crate::exit;

/// When following is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// When this prompt's turn has ended; for a one-shot session, when the session has.
    Prompt(PromptNo),
    /// When the turn of this prompt has ended, whatever the session does then.
    Turn(PromptNo),
    /// When the session has ended.
    End,
}

/// Whether it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Not yet.
    Under,
    /// It is, with this exit code.
    Done(u8),
}

/// What is known.
#[derive(Debug)]
pub(crate) struct Track {
    goal: Goal,
    session: Session,
    lifetime: Lifetime,
    status: Status,
    running: Option<TurnNo>,
    ours: Option<TurnNo>,
    outcome: Option<Outcome>,
    end: Option<EventEnd>,
    /// The turn failed for want of a login, and what goes on with it waits for that.
    missing_login: Option<Outcome>,
    dropped: bool,
    answer: Option<String>,
    open: BTreeMap<GateNo, Gate>,
    /// Open gates that whoever is at the terminal does not want to decide now.
    skipped: BTreeSet<GateNo>,
    /// Open gates that a decision was sent for.
    sent: BTreeSet<GateNo>,
}

impl Track {
    /// What is known when following begins.
    pub(crate) fn new(goal: Goal, session: &Session) -> Self {
        Self {
            goal,
            lifetime: session.lifetime,
            status: session.status,
            running: session.turn.as_ref().map(|turn| turn.no),
            session: session.clone(),
            ours: None,
            outcome: None,
            end: None,
            missing_login: None,
            dropped: false,
            answer: None,
            open: BTreeMap::new(),
            skipped: BTreeSet::new(),
            sent: BTreeSet::new(),
        }
    }

    /// Takes in what is true now; tells the gates that were not known to be open. Events before it may still come.
    pub(crate) fn snapshot(&mut self, snapshot: &Snapshot) -> Vec<Gate> {
        let id = &self.session.id;
        if let Some(session) = snapshot.sessions.iter().find(|session| session.id == *id) {
            self.lifetime = session.lifetime;
        }
        let gates = snapshot.gates.iter().filter(|gate| gate.session == *id && gate.is_open());
        gates.filter(|gate| self.open.insert(gate.no, (*gate).clone()).is_none()).cloned().collect()
    }

    /// Takes in an event; tells the gate that it opened.
    pub(crate) fn event(&mut self, event: &Event) -> Vec<Gate> {
        let Ok(body) = event.body() else { return Vec::new() };
        let mut opened = Vec::new();
        // What a rule decides at once asks nobody.
        if let EventBody::GateOpened { gate } = &body
            && !gate.by_rule
        {
            let session = &self.session;
            let gate = Gate::new(&session.id, session.name.as_ref(), &session.agent, &session.dir, gate);
            // A stream that begins in the past tells of gates that the snapshot has told of.
            if self.open.insert(gate.no, gate.clone()).is_none() {
                opened.push(gate);
            }
        }
        self.body(body);
        opened
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "picks the few kinds that matter out of fifty")]
    fn body(&mut self, body: EventBody) {
        match body {
            EventBody::StatusChanged { to, .. } => self.status = to,
            EventBody::SessionRenamed { name, .. } => self.session.name = name,
            EventBody::TurnStarted { turn, prompt, .. } => {
                self.running = Some(turn);
                if let Goal::Prompt(no) | Goal::Turn(no) = self.goal
                    && no == prompt
                {
                    self.ours = Some(turn);
                    self.missing_login = None;
                }
            }
            // The turn is cut short, and this goes on with it.
            EventBody::PromptAccepted { prompt }
                if prompt.continues.as_ref().is_some_and(|cut| self.ours == Some(cut.turn)) =>
            {
                self.ours = None;
                match &mut self.goal {
                    Goal::Prompt(no) | Goal::Turn(no) => *no = prompt.no,
                    Goal::End => {}
                }
            }
            EventBody::OwnTurnBegun { turn, .. } => self.running = Some(turn),
            EventBody::TurnEnded { turn, outcome, .. } => {
                if self.running == Some(turn) {
                    self.running = None;
                }
                if self.ours == Some(turn) {
                    self.outcome = Some(outcome);
                } else if self.ours.is_none() && is_missing_login(&outcome) {
                    self.missing_login = Some(outcome);
                }
            }
            EventBody::ItemAdded { turn, item } if item.parent.is_none() && self.is_ours(turn) => {
                if let ItemBody::Message { text, .. } = &item.body
                    && !text.trim().is_empty()
                {
                    self.answer = Some(text.to_string());
                }
            }
            EventBody::PromptDropped { prompt, .. } => {
                if let Goal::Prompt(no) | Goal::Turn(no) = self.goal {
                    match self.missing_login.take_if(|_| no == prompt) {
                        // Nobody will log the agent in: the turn stays failed.
                        Some(failed) => self.outcome = Some(failed),
                        None => self.dropped |= no == prompt,
                    }
                }
            }
            EventBody::GateDecided { gate, .. } | EventBody::GateWithdrawn { gate, .. } => {
                self.open.remove(&gate);
                self.skipped.remove(&gate);
                self.sent.remove(&gate);
            }
            EventBody::SessionEnded { end } => self.end = Some(end),
            EventBody::SessionReopened { lifetime, .. } => {
                self.end = None;
                self.lifetime = lifetime;
            }
            _ => {}
        }
    }

    /// Whether content belongs to what is followed: the turn, or those that the agent began itself after it.
    fn is_ours(&self, turn: Option<TurnNo>) -> bool {
        self.ours.is_some_and(|ours| turn.is_some_and(|turn| turn >= ours))
    }

    /// Whether it is over.
    pub(crate) fn progress(&self) -> Progress {
        if self.dropped {
            return Progress::Done(exit::REJECTED);
        }
        let ended = self.end.as_ref();
        match self.goal {
            Goal::End => match ended {
                None => Progress::Under,
                Some(EventEnd::Completed | EventEnd::Stopped { .. }) => Progress::Done(exit::OK),
                Some(EventEnd::Failed { .. }) => Progress::Done(exit::FAILED),
            },
            Goal::Turn(_) => match (&self.outcome, ended) {
                (Some(outcome), _) => Progress::Done(outcome_code(outcome)),
                (None, Some(end)) => Progress::Done(end_code(end, None)),
                (None, None) => Progress::Under,
            },
            Goal::Prompt(_) => match (&self.outcome, ended) {
                (outcome, Some(end)) => Progress::Done(end_code(end, outcome.as_ref())),
                (Some(outcome), None) if self.lifetime == Lifetime::Kept || !ends_session(outcome) => {
                    Progress::Done(outcome_code(outcome))
                }
                (Some(_) | None, None) => Progress::Under,
            },
        }
    }

    /// The last message of the agent in what is followed.
    pub(crate) fn answer(&self) -> Option<&str> {
        self.answer.as_deref()
    }

    /// What a session that has not ended does now, in a sentence that begins with its name.
    pub(crate) fn left_open(&self) -> Option<&'static str> {
        match self.goal {
            Goal::Prompt(_) if self.end.is_none() && !self.dropped => Some("stays open"),
            Goal::Prompt(_) | Goal::Turn(_) | Goal::End => None,
        }
    }

    /// The turn that runs.
    pub(crate) fn running_turn(&self) -> Option<TurnNo> {
        self.running
    }

    /// Whether the gate waits for a decision.
    pub(crate) fn is_open(&self, gate: GateNo) -> bool {
        self.open.contains_key(&gate)
    }

    /// Leaves a gate open for now.
    pub(crate) fn skip(&mut self, gate: GateNo) {
        self.skipped.insert(gate);
    }

    /// Whether gates were left open for now.
    pub(crate) fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// Has gates asked about again that were left open for now.
    pub(crate) fn ask_again(&mut self) {
        self.skipped.clear();
    }

    /// A decision is on its way: the gate is not asked about again.
    pub(crate) fn sent(&mut self, gate: GateNo) {
        self.sent.insert(gate);
    }

    /// The next gate to ask about.
    pub(crate) fn next_gate(&self) -> Option<Gate> {
        let asked = |gate: &&Gate| !self.skipped.contains(&gate.no) && !self.sent.contains(&gate.no);
        self.open.values().find(asked).cloned()
    }

    /// What one waits for, in a few words; `None` once there is nothing to wait for.
    pub(crate) fn under_way(&self) -> Option<&'static str> {
        match self.status {
            Status::Queued => Some("queued"),
            Status::Starting => Some("starting"),
            Status::Running => Some("working"),
            Status::AwaitingInput => Some("waiting for a decision"),
            Status::Interrupting => Some("interrupting"),
            Status::Stopping => Some("finishing"),
            Status::Idle => Some("idle"),
            Status::Suspended => Some("suspended"),
            Status::Unknown => Some("finding out how it is"),
            Status::Completed | Status::Failed | Status::Stopped => None,
        }
    }
}

fn is_missing_login(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { kind: FailureKind::Login, .. })
}

/// Whether a one-shot session ends with such a turn. After the others it waits for what its user does.
fn ends_session(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Completed | Outcome::Refused | Outcome::Limit { .. } | Outcome::Failed { .. } => true,
        Outcome::Interrupted { .. } | Outcome::Preempted { .. } | Outcome::Unknown { .. } => false,
    }
}

/// The exit code of a turn.
pub(crate) fn outcome_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Completed => exit::OK,
        Outcome::Interrupted { .. } | Outcome::Preempted { .. } => exit::INTERRUPTED,
        Outcome::Failed { kind: FailureKind::Login, .. } => exit::AGENT,
        Outcome::Refused | Outcome::Limit { .. } | Outcome::Failed { .. } | Outcome::Unknown { .. } => {
            exit::FAILED
        }
    }
}

fn end_code(end: &EventEnd, outcome: Option<&Outcome>) -> u8 {
    match (outcome, end) {
        (Some(outcome), EventEnd::Completed | EventEnd::Failed { .. }) => outcome_code(outcome),
        (None, EventEnd::Completed) => exit::OK,
        (None, EventEnd::Failed { .. }) => exit::FAILED,
        (_, EventEnd::Stopped { .. }) => exit::INTERRUPTED,
    }
}

#[cfg(test)]
mod tests;
