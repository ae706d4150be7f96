//! Gates: opening, deciding, closing.

use super::decide::Step;
use super::event::{Event, Op};
use super::rejection::Rejection;
use crate::agent::Action;
use crate::gate::{Ask, Decision, Gate, GateKind, GateState, Verdict, Withdrawal};
use crate::id::{AttemptNo, GateNo};
use crate::json::Json;
use crate::limits;

impl Step<'_> {
    pub(super) fn asked(&mut self, attempt: AttemptNo, ask: Ask) {
        // A question that an ending turn asks is void: the agent takes it back itself.
        if self.state.closing.is_some() || (self.state.interrupt.is_some() && !ask.beside_turn) {
            return;
        }
        // The agent repeats its open questions after a second handshake.
        if self.state.gates.values().any(|gate| gate.attempt == attempt && gate.ask.request == ask.request) {
            return;
        }
        if self.state.gates.len() >= limits::OPEN_GATES {
            let message = format!("more than {} questions are open", limits::OPEN_GATES);
            return self.refuse(ask.request, message);
        }
        let gate = Gate {
            no: self.state.next_gate,
            attempt,
            turn: if ask.beside_turn { None } else { self.speaking_turn() },
            input_hash: ask.input.hash(),
            rule: "agent".to_owned(),
            risk: "unrated".to_owned(),
            opened: self.env.now.clone(),
            state: GateState::Open,
            ask,
        };
        self.emit(Event::GateOpened { gate: Box::new(gate) });
    }

    pub(super) fn ask_withdrawn(&mut self, request: &Json) {
        let open = self
            .state
            .gates
            .values()
            .find(|gate| gate.ask.request == *request && matches!(gate.state, GateState::Open))
            .map(|gate| gate.no);
        if let Some(gate) = open {
            self.emit(Event::GateWithdrawn { gate, why: Withdrawal::ByAgent });
        }
    }

    pub(super) fn decide_gate(
        &mut self,
        no: GateNo,
        decision: Decision,
        by: String,
    ) -> Result<(), Rejection> {
        let gate = self.state.gates.get(&no).ok_or(Rejection::UnknownGate { gate: no })?;
        match &gate.state {
            GateState::Open => {}
            GateState::Decided { verdict, .. } | GateState::Delivered { verdict } => {
                return Err(Rejection::GateDecided { gate: no, by: verdict.by.clone() });
            }
            GateState::Withdrawn { .. } => return Err(Rejection::UnknownGate { gate: no }),
        }
        check_size(&decision)?;
        fits(no, gate.ask.kind, &decision)?;
        let action = Action::Answer {
            gate: no,
            request: gate.ask.request.clone(),
            input: gate.ask.input.clone(),
            decision: decision.clone(),
        };
        let verdict = Verdict { decision, by, at: self.env.now.clone() };
        // The gate's process is there and takes input, or the gate would have been withdrawn with it.
        let Some(write) = self.write(Op::Write(action)) else {
            return Err(Rejection::UnknownGate { gate: no });
        };
        self.emit(Event::GateDecided { gate: no, verdict, write });
        Ok(())
    }
}

fn check_size(decision: &Decision) -> Result<(), Rejection> {
    let bytes = match decision {
        Decision::Allow => 0,
        Decision::Edit { input } => input.as_str().len(),
        Decision::Deny { message } => message.len(),
        Decision::Answer { answers } => answers.as_str().len(),
    };
    if bytes > limits::DECISION_BYTES {
        return Err(Rejection::DecisionTooLong { limit: limits::DECISION_BYTES });
    }
    Ok(())
}

fn fits(gate: GateNo, kind: GateKind, decision: &Decision) -> Result<(), Rejection> {
    let why = match (kind, decision) {
        (GateKind::Question, Decision::Answer { answers }) if answers.value().is_object() => return Ok(()),
        (GateKind::Permission | GateKind::Plan, Decision::Edit { input }) if input.value().is_object() => {
            return Ok(());
        }
        (_, Decision::Deny { .. })
        | (GateKind::Permission | GateKind::Plan | GateKind::Login, Decision::Allow) => {
            return Ok(());
        }
        (GateKind::Question, Decision::Answer { .. }) => {
            "the answers must be a JSON object: question → answer"
        }
        (GateKind::Question, Decision::Allow | Decision::Edit { .. }) => {
            "it is a question: answer it, or deny it"
        }
        (GateKind::Permission | GateKind::Plan, Decision::Edit { .. }) => {
            "the edited input must be a JSON object"
        }
        (GateKind::Login, Decision::Edit { .. }) => "a login has no input to edit",
        (GateKind::Permission | GateKind::Plan | GateKind::Login, Decision::Answer { .. }) => {
            "it is not a question: allow, edit or deny it"
        }
    };
    Err(Rejection::DecisionMismatch { gate, why })
}
