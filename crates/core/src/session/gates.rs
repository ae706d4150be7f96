//! Gates: opening, deciding, closing.

use super::decide::Step;
use super::event::{Event, Op};
use super::rejection::Rejection;
use crate::agent::Action;
use crate::gate::{Ask, Decision, Gate, GateKind, GateState, Through, Verdict, Withdrawal};
use crate::id::{AttemptNo, GateNo};
use crate::json::Json;
use crate::limits;
use crate::policy::{Effect, Rule, ToolUse};

impl Step<'_> {
    pub(super) fn asked(&mut self, attempt: AttemptNo, ask: Ask, tool_use: &ToolUse) {
        // A question that an ending turn asks is void: the agent takes it back itself. What it announces it may do.
        if self.state.closing.is_some() || (self.state.interrupt.is_some() && !ask.beside_turn) {
            if ask.announced {
                let message = "The turn is being ended.".to_owned();
                self.write(Op::Write(Action::Stay { request: ask.request, message }));
            }
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
        // Questions, plans and logins are no steps of tools: somebody has to answer.
        let step = ask.kind == GateKind::Permission;
        let ruling = step.then(|| self.env.policy.rule_on(&self.state.subject(), tool_use));
        let rule = ruling.as_ref().and_then(|ruling| ruling.rule.clone());
        let effect = ruling.as_ref().and_then(|ruling| ruling.effect);
        // What is only announced goes the agent's own way unless a rule holds it up, or wants it told.
        if ask.announced && matches!(effect, None | Some(Effect::Allow)) {
            self.write(Op::Write(Action::Pass { request: ask.request }));
            return;
        }
        let no = self.state.next_gate;
        let gate = Gate {
            no,
            attempt,
            turn: if ask.beside_turn { None } else { self.speaking_turn() },
            input_hash: ask.input.hash(),
            rule: rule.as_ref().map_or_else(|| "agent".to_owned(), |rule| rule.id.clone()),
            risk: ruling.as_ref().map_or("unrated", |ruling| ruling.risk.word()).to_owned(),
            rule_reason: rule.as_ref().and_then(|rule| rule.reason.clone()),
            by_rule: effect.is_some_and(|effect| effect != Effect::Ask),
            opened: self.env.now.clone(),
            state: GateState::Open,
            ask,
        };
        self.emit(Event::GateOpened { gate: Box::new(gate) });
        if let Some((effect, rule)) = effect.zip(rule) {
            let decision = match effect {
                Effect::Allow | Effect::Notify => Decision::Allow,
                Effect::Deny => Decision::Deny { message: denied(&rule) },
                Effect::Ask => return,
            };
            self.verdict(no, decision, rule.id.clone(), Through::Rule);
        }
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
        if self.verdict(no, decision, by, Through::Person) {
            Ok(())
        } else {
            Err(Rejection::UnknownGate { gate: no })
        }
    }

    /// Decides an open gate. False if its process takes no more input, which would have withdrawn the gate.
    fn verdict(&mut self, no: GateNo, decision: Decision, by: String, through: Through) -> bool {
        let Some(gate) = self.state.gates.get(&no) else { return false };
        let action = Action::Answer {
            gate: no,
            request: gate.ask.request.clone(),
            input: gate.ask.input.clone(),
            decision: decision.clone(),
            announced: gate.ask.announced,
        };
        let verdict = Verdict { decision, by, through, at: self.env.now.clone() };
        let Some(write) = self.write(Op::Write(action)) else { return false };
        self.emit(Event::GateDecided { gate: no, verdict, write });
        true
    }
}

/// What the agent is told of what a rule denies.
fn denied(rule: &Rule) -> String {
    let reason = rule.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "Denied by the rule {}{reason}. Do not try another way to do the same; say what you need.",
        rule.id
    )
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
