//! Cancelling turns and ending processes, one step of a ladder at a time.

use super::deadline::{Deadline, Why, settle, watched};
use super::decide::Step;
use super::end::{Closing as ClosingWhy, End};
use super::event::{Event, Op};
use super::state::{Closing, InterruptCause, Life, Process, Signal, State};
use crate::agent::Action;
use crate::gate::{GateKind, GateState, Withdrawal};
use crate::id::{GateNo, TurnNo};
use crate::json::Json;
use crate::manner::{Rung, Scope};
use crate::time::BootId;

impl Step<'_> {
    /// Begins to cancel a turn that runs.
    pub(super) fn cancel(&mut self, turn: TurnNo, cause: InterruptCause) {
        let hold = match &cause {
            InterruptCause::Asked { by } => Some(by.clone()),
            InterruptCause::Deadline { .. } | InterruptCause::Preempted { .. } => None,
        };
        self.emit(Event::InterruptAsked { turn, cause });
        if let Some(by) = hold
            && self.state.held.is_none()
        {
            self.emit(Event::Held { by });
        }
        let elicited = self.open_elicitations();
        self.withdraw_gates(Withdrawal::Interrupted);
        self.climb_if_due();
        // Not every agent lets go of what a server asks when the turn is cancelled; first it has to know of the cancel.
        for request in elicited {
            self.write(Op::Write(Action::Dismiss { request }));
        }
    }

    /// Ends the session for somebody.
    pub(super) fn stop(&mut self, why: ClosingWhy) {
        if matches!(self.state.life, Life::Ended { .. }) {
            return;
        }
        if matches!(self.state.process, Process::Absent) {
            if let ClosingWhy::Stop { by } | ClosingWhy::Kill { by } = why {
                self.end(End::Stopped { by });
            }
            return;
        }
        let again = match (self.state.closing.as_ref().map(|closing| &closing.why), &why) {
            (Some(ClosingWhy::Kill { .. }), _) | (Some(ClosingWhy::Stop { .. }), ClosingWhy::Stop { .. }) => {
                true
            }
            (
                None
                | Some(
                    ClosingWhy::Stop { .. }
                    | ClosingWhy::Done { .. }
                    | ClosingWhy::ConversationLost
                    | ClosingWhy::AfterInterrupt
                    | ClosingWhy::Relaunch { .. }
                    | ClosingWhy::LoggedIn
                    | ClosingWhy::HandshakeTimeout,
                ),
                _,
            ) => false,
        };
        if !again {
            self.close(why);
        }
    }

    /// Begins to end the process.
    pub(super) fn close(&mut self, why: ClosingWhy) {
        let Some(attempt) = self.state.process.attempt() else { return };
        let mut rungs = match &why {
            ClosingWhy::Kill { .. } => vec![Rung::Kill],
            ClosingWhy::Stop { .. }
            | ClosingWhy::Done { .. }
            | ClosingWhy::ConversationLost
            | ClosingWhy::AfterInterrupt
            | ClosingWhy::Relaunch { .. }
            | ClosingWhy::LoggedIn
            | ClosingWhy::HandshakeTimeout => attempt.manner.stop.clone(),
        };
        let running = self.state.turn.is_some() || self.state.own_turn.is_some();
        if running
            && matches!(why, ClosingWhy::Stop { .. })
            && attempt.manner.interrupt.contains(&Rung::Request)
        {
            rungs.insert(0, Rung::Request);
        }
        if attempt.stdin_closed {
            rungs.retain(|rung| !matches!(rung, Rung::Request | Rung::CloseStdin));
        }
        let asked_for = why.by().is_some();
        self.emit(Event::ClosingAsked { why, rungs });
        if asked_for {
            self.withdraw_logins(Withdrawal::Stopped);
        }
        self.withdraw_gates(Withdrawal::Stopped);
        self.climb_if_due();
    }

    pub(super) fn withdraw_gates(&mut self, why: Withdrawal) {
        let open: Vec<GateNo> = self
            .state
            .gates
            .values()
            .filter(|gate| matches!(gate.state, GateState::Open) && !gate.before_turns)
            // A task beside the turns asks on, whatever becomes of the turn; the agent takes its question back itself.
            .filter(|gate| {
                let elicited = gate.ask.kind == GateKind::Elicitation;
                why != Withdrawal::Interrupted || elicited || !gate.ask.beside_turn
            })
            .map(|gate| gate.no)
            .collect();
        for gate in open {
            self.emit(Event::GateWithdrawn { gate, why });
        }
    }

    /// The agent's ids of what its servers ask.
    fn open_elicitations(&self) -> Vec<Json> {
        let open = self.state.gates.values().filter(|gate| gate.state == GateState::Open);
        let elicited = open.filter(|gate| gate.ask.kind == GateKind::Elicitation);
        elicited.map(|gate| gate.ask.request.clone()).collect()
    }

    /// Takes the next step of the ladder that is climbed, when its time has come.
    pub(super) fn climb_if_due(&mut self) {
        while let Some(rung) = self.next_rung() {
            self.take(rung);
        }
    }

    fn next_rung(&self) -> Option<Rung> {
        let (rung, due) = next_rung(self.state, &self.env.now.boot)?;
        due.is_none_or(|due| due.at <= self.env.now.awake).then_some(rung)
    }

    fn take(&mut self, rung: Rung) {
        match (&self.state.closing, &self.state.interrupt) {
            (Some(_), _) => self.emit(Event::ClosingStep { rung }),
            (None, Some(interrupt)) => {
                let turn = interrupt.turn;
                self.emit(Event::InterruptStep { turn, rung });
            }
            (None, None) => return,
        }
        if rung.ends_process() {
            // Nobody will be there to take an answer.
            self.withdraw_gates(Withdrawal::Stopped);
        }
        match rung {
            Rung::Request => {
                let control = self.state.next_control;
                self.write(Op::Write(Action::Interrupt { control }));
            }
            Rung::CloseStdin => {
                self.write(Op::Close);
            }
            Rung::Sigint(scope) => self.signal(scope, Signal::Int),
            Rung::Sigterm(scope) => self.signal(scope, Signal::Term),
            Rung::Kill => self.signal(Scope::Tree, Signal::Kill),
        }
    }

    fn signal(&mut self, scope: Scope, signal: Signal) {
        if let Some(attempt) = self.state.process.attempt() {
            let event =
                Event::SignalIntended { attempt: attempt.no, number: attempt.signals.next, scope, signal };
            self.emit(event);
        }
    }
}

/// The next step of the ladder that is climbed, and what it has to wait for, if anything.
pub(super) fn next_rung(state: &State, boot: &BootId) -> Option<(Rung, Option<Deadline>)> {
    let attempt = state.process.attempt()?;
    // Before the process is known to run there is nobody to talk to; its launch has a deadline of its own.
    if matches!(state.process, Process::Launching(_)) {
        return None;
    }
    let (climb, leaving) = match (&state.closing, &state.interrupt) {
        // What the agent begins on its way out is its own to finish, within the deadlines of a turn.
        (Some(Closing { why: ClosingWhy::Done { .. }, .. }), None) if !state.settled() => return None,
        (Some(closing), _) => (&closing.climb, matches!(closing.why, ClosingWhy::AfterInterrupt)),
        (None, Some(interrupt)) => (&interrupt.climb, false),
        (None, None) => return None,
    };
    let rung = *climb.rungs.get(climb.taken)?;
    let last = climb.taken.checked_sub(1).map(|last| climb.rungs[last]);
    let waits = match last {
        // A request in a closing is for the end of the turn; once that is there, the next step needs no wait.
        Some(Rung::Request) => state.closing.is_none() || state.running_turn().is_some(),
        Some(Rung::CloseStdin | Rung::Sigint(_) | Rung::Sigterm(_) | Rung::Kill) => true,
        // The end of its input, or a signal, is on its way to the agent already.
        None => leaving,
    };
    let wait = waits.then(|| watched(state, &climb.since, attempt.manner.rung_ms, Why::Rung, boot));
    let settled =
        rung.ends_process().then(|| settle(state.last_turn_ended.as_ref(), attempt, boot)).flatten();
    Some((rung, wait.max(settled)))
}
