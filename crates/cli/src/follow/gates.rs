//! What a follower does at gates: ask, leave, or wait for somebody else.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Decision, DecisionRequest, Gate, GateKind, GateQuery, RuleScope};

use super::asking::{Asking, Reply};
use super::{AtGate, Follower};
use crate::commands::always;
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::held;
use crate::refs;
use crate::view::{self, Size};

impl Follower<'_> {
    /// Those of the gates that are open: the stream may still be telling of the past.
    pub(super) async fn open_now(&self, mut gates: Vec<Gate>) -> Outcome<Vec<Gate>> {
        gates.retain(|gate| self.track.is_open(gate.no));
        if !gates.is_empty() {
            let query = GateQuery { session: Some(self.session.id.to_string()), ..GateQuery::default() };
            let open = self.context.client.gates(&query).await?.items;
            gates.retain(|gate| open.iter().any(|open| open.no == gate.no));
        }
        Ok(gates)
    }

    /// A gate opened, or was open when this began.
    pub(super) async fn gate(&mut self, gate: Gate) -> Outcome<Option<u8>> {
        let allowed = gate.kind == GateKind::Permission
            && self.plan.allow.iter().any(|tool| tool == "*" || *tool == gate.tool);
        if allowed {
            self.decide(&gate, Decision::Allow).await?;
            return Ok(None);
        }
        match (self.plan.at_gate, &self.terminal) {
            (AtGate::Leave, _) => return self.leave_at(&gate).map(Some),
            (AtGate::Ask, Some(_)) if self.asking.is_none() => self.ask(gate)?,
            // Another question is on the screen; this one comes after it.
            (AtGate::Ask, Some(_)) => {}
            (AtGate::Ask, None) | (AtGate::Wait, _) => {
                self.say(&format!("waits for somebody: {}", refs::ways(&gate)))?;
            }
        }
        Ok(None)
    }

    fn leave_at(&mut self, gate: &Gate) -> Outcome<u8> {
        let title = refs::gate_title(gate);
        self.screen.data_alone(&gate.id)?;
        self.say(&format!("waits at gate {title}: {}", refs::ways(gate)))?;
        self.say(&format!("then: lk attach {}", refs::title(&self.session)))?;
        // Whoever runs this has to do something about the agent, and not about what it wants to do.
        Ok(if gate.kind == GateKind::Login { exit::AGENT } else { exit::AWAITING_INPUT })
    }

    /// Puts a gate to whoever is at the terminal. The view has shown it already, unless another one stood in between.
    fn ask(&mut self, gate: Gate) -> Outcome<()> {
        let is_cut = self.view.is_cut(gate.no);
        let asking = match self.closed.take() {
            Some(closed) => Asking::new(gate, is_cut).after(closed),
            None => Asking::new(gate, is_cut),
        };
        let question = asking.question(self.screen.style);
        self.asking = Some(asking);
        self.put(&question)
    }

    /// Forgets what was typed so far, and shows a question. What it is about stands above it already; an answer that comes
    /// as soon as the question does, from a script, counts.
    fn put(&mut self, question: &str) -> Outcome<()> {
        if let Some(terminal) = &mut self.terminal {
            terminal.forget_typed();
        }
        self.screen.put(question)
    }

    /// A question that something was shown below of stands there again.
    pub(super) fn ask_again_below(&mut self) -> Outcome<()> {
        match &self.asking {
            Some(asking) if !self.screen.stands_behind_question() && self.view.at_line_start() => {
                let question = asking.question(self.screen.style);
                self.put(&question)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn typed(&mut self, line: Option<String>) -> Outcome<()> {
        self.screen.line_was_typed();
        let Some(line) = line else {
            // The end of input: nobody is there any more.
            self.terminal = None;
            return if self.asking.take().is_some() { self.say("left open") } else { Ok(()) };
        };
        let Some(mut asking) = self.asking.take() else {
            // Nothing is asked, so the line decides nothing.
            self.closed = None;
            self.track.ask_again();
            return self.ask_next();
        };
        match asking.reply(&line, self.screen.style).await? {
            Reply::Decide(decision) => {
                let gate = asking.into_gate();
                self.decide(&gate, decision).await?;
            }
            Reply::Always(always) => {
                let gate = asking.into_gate();
                let request = DecisionRequest { always: Some(always), ..of(&gate, Decision::Allow) };
                self.send(&gate, &request).await?;
            }
            Reply::Offer(scope) => return self.offer(asking, scope).await,
            Reply::Leave => {
                self.track.skip(asking.gate().no);
                self.say(&format!("left open: Enter asks again, or {}", refs::ways(asking.gate())))?;
            }
            Reply::Whole => {
                let (gate, style) = (asking.gate(), self.screen.style);
                let held = held::by_file_of(gate);
                let drawn = view::draw_gate(gate, &held, Size::Whole, self.context.out.width_now(), style);
                self.screen.show(&drawn.text)?;
                let question = asking.question(style);
                self.asking = Some(asking);
                return self.put(&question);
            }
            Reply::Again(text) => {
                self.asking = Some(asking);
                return self.put(&text);
            }
        }
        self.ask_next()
    }

    fn ask_next(&mut self) -> Outcome<()> {
        let Some(gate) = self.track.next_gate() else { return Ok(()) };
        self.view.resize(self.context.out.width_now());
        let text = self.view.gate_again(&gate, &held::by_file_of(&gate));
        self.screen.show(&text)?;
        self.ask(gate)
    }

    /// A question whose gate somebody else has closed is no question any more.
    pub(super) fn drop_closed_question(&mut self) -> Outcome<()> {
        let closed = self.asking.as_ref().is_some_and(|asking| !self.track.is_open(asking.gate().no));
        if closed {
            self.closed = self.asking.take().map(|asking| asking.gate().no);
            self.ask_next()?;
        }
        Ok(())
    }

    /// Decides at the gate that stands on the screen: its hash goes with the decision. The gate is not asked about again
    /// until the event of its decision comes; one whose decision was refused stays open for `lk allow` and `lk deny`.
    async fn decide(&mut self, gate: &Gate, decision: Decision) -> Outcome<()> {
        self.send(gate, &of(gate, decision)).await
    }

    async fn send(&mut self, gate: &Gate, request: &DecisionRequest) -> Outcome<()> {
        self.track.sent(gate.no);
        match self.context.client.decide(&refs::gate_reference(gate), request).await {
            Ok(_) => Ok(()),
            Err(ClientError::Problem(problem)) => self.say(&escape::line(&problem.detail)),
            Err(error) => Err(error.into()),
        }
    }

    /// Shows the rules with which such steps would go on from now on.
    async fn offer(&mut self, mut asking: Asking, scope: RuleScope) -> Outcome<()> {
        let gate = asking.gate();
        match self.context.client.rules_for(&refs::gate_reference(gate), scope).await {
            Ok(offer) if offer.rules.is_empty() => self.say("rules let such steps go on already")?,
            Ok(offer) => {
                let told = always::told(&offer, &refs::gate_title(gate), self.screen.style);
                self.screen.show(&told)?;
                asking.offered(offer);
            }
            Err(ClientError::Problem(problem)) => self.say(&escape::line(&problem.detail))?,
            Err(error) => return Err(error.into()),
        }
        let question = asking.question(self.screen.style);
        self.asking = Some(asking);
        self.put(&question)
    }
}

/// A decision about the gate as it was shown.
fn of(gate: &Gate, decision: Decision) -> DecisionRequest {
    DecisionRequest { input_hash: Some(gate.input_hash.clone()), ..DecisionRequest::from(decision) }
}
