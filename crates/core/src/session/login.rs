//! A missing login: a turn that failed for want of one waits at a gate until somebody has logged the agent in, and is
//! gone on with then.
//!
//! No process waits at that gate, so it outlives them; no turn begins while it is open, for none would get far.

use serde::Serialize;

use super::decide::Step;
use super::end::Closing;
use super::event::Event;
use super::state::{Process, State};
use crate::gate::{Ask, Decision, Gate, GateKind, GateState, Verdict, Withdrawal};
use crate::id::{GateNo, TurnNo};
use crate::json::Json;
use crate::limits;
use crate::notice::NoticeKind;
use crate::prompt::CutBy;
use crate::turn::{FailureKind, Outcome};

/// What a gate of this kind calls what is asked.
const TOOL: &str = "login";

/// Its input.
#[derive(Serialize)]
struct Missing<'a> {
    /// Which agent has to be logged in.
    agent: &'a str,
    /// What it said, and what to do.
    message: &'a str,
}

impl State {
    /// Whether turns wait for somebody to log the agent in.
    pub fn awaits_login(&self) -> bool {
        self.open_logins().next().is_some()
    }

    fn open_logins(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values().filter(|gate| gate.before_turns && gate.state == GateState::Open)
    }
}

impl Step<'_> {
    /// What a turn that ended so has to be told of, if it is to be gone on with after a login.
    pub(super) fn missing_login(&self, outcome: &Outcome) -> Option<String> {
        let Outcome::Failed { kind: FailureKind::Login, message } = outcome else { return None };
        let state = &self.state;
        let goes_on = state.closing.is_none() && state.interrupt.is_none() && !state.awaits_login();
        (goes_on && state.gates.len() < limits::OPEN_GATES).then(|| message.clone())
    }

    /// Opens the gate of a turn that failed for want of a login.
    pub(super) fn await_login(&mut self, turn: TurnNo, message: &str) {
        let Some(attempt) = self.state.process.attempt().map(|attempt| attempt.no) else { return };
        let missing = Missing { agent: self.state.profile.agent.as_str(), message };
        let input = json(&missing);
        let gate = Gate {
            no: self.state.next_gate,
            attempt,
            turn: Some(turn),
            input_hash: input.hash(),
            rule: "agent".to_owned(),
            risk: "unrated".to_owned(),
            rule_reason: None,
            by_rule: false,
            before_turns: true,
            expiry: self.expiry(attempt),
            opened: self.env.now.clone(),
            state: GateState::Open,
            ask: Ask {
                // Nobody is to be answered.
                request: json(&()),
                kind: GateKind::Login,
                tool: TOOL.to_owned(),
                input,
                title: None,
                call: None,
                reason: None,
                beside_turn: false,
                announced: false,
                suggestions: None,
            },
        };
        let no = gate.no;
        self.emit(Event::GateOpened { gate: Box::new(gate) });
        self.notice(NoticeKind::Asks, no);
    }

    /// Somebody has logged the agent in, or will not. There is no process to be told.
    pub(super) fn decide_login(&mut self, gate: GateNo, verdict: Verdict) {
        let turn = self.state.gates.get(&gate).and_then(|gate| gate.turn);
        let (by, decision) = (verdict.by.clone(), verdict.decision.clone());
        self.emit(Event::GateDecided { gate, verdict, write: 0 });
        self.emit(Event::GateDelivered { gate });
        match decision {
            Decision::Allow | Decision::Edit { .. } | Decision::Answer { .. } => self.launch_again(),
            Decision::Deny { .. } => {
                let again = self.state.queue.iter().find(|prompt| {
                    prompt
                        .continues
                        .as_ref()
                        .is_some_and(|cut| cut.why == CutBy::Login && Some(cut.turn) == turn)
                });
                if let Some(prompt) = again.map(|prompt| prompt.no) {
                    self.emit(Event::PromptDropped { prompt, by });
                }
            }
        }
    }

    /// An agent reads what it is logged in with when it starts.
    fn launch_again(&mut self) {
        let state = &self.state;
        let idle = state.turn.is_none() && state.own_turn.is_none() && state.interrupt.is_none();
        if matches!(state.process, Process::Live(_)) && idle && state.closing.is_none() {
            self.close(Closing::LoggedIn);
        }
    }

    /// Nobody needs to log the agent in any more.
    pub(super) fn withdraw_logins(&mut self, why: Withdrawal) {
        let open: Vec<GateNo> = self.state.open_logins().map(|gate| gate.no).collect();
        for gate in open {
            self.emit(Event::GateWithdrawn { gate, why });
        }
    }
}

fn json<T: Serialize>(value: &T) -> Json {
    #[expect(clippy::expect_used, reason = "it is nothing, or a few texts")]
    Json::of(value).expect("texts are JSON")
}
