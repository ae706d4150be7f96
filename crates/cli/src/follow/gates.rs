//! What a follower does at gates: ask, leave, or wait for somebody else.

use lockkeeper_api::client::ClientError;
use lockkeeper_api::{Decision, DecisionRequest, Gate, GateKind, GateQuery};

use super::asking::{Asking, Reply};
use super::{AtGate, Follower};
use crate::escape;
use crate::exit;
use crate::failure::Outcome;
use crate::refs;
use crate::view;

impl Follower<'_> {
    /// A gate opened, or was open when this began.
    pub(super) async fn gate(&mut self, gate: Gate) -> Outcome<Option<u8>> {
        if !self.track.is_open(gate.no) || !self.is_open_now(&gate).await? {
            return Ok(None);
        }
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

    /// The stream may still be telling of the past.
    async fn is_open_now(&self, gate: &Gate) -> Outcome<bool> {
        let query = GateQuery { session: Some(gate.session.to_string()), ..GateQuery::default() };
        Ok(self.context.client.gates(&query).await?.items.iter().any(|open| open.no == gate.no))
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
        let asking = Asking::new(gate);
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
        let Some(mut asking) = self.asking.take() else { return Ok(()) };
        self.screen.line_was_typed();
        let Some(line) = line else {
            // The end of input: nobody is there any more.
            self.terminal = None;
            return self.say("left open");
        };
        match asking.reply(&line, self.screen.style).await? {
            Reply::Decide(decision) => {
                let gate = asking.into_gate();
                self.decide(&gate, decision).await?;
            }
            Reply::Leave => {
                self.track.set_aside(asking.gate().no);
                self.say(&format!("left open: {}", refs::ways(asking.gate())))?;
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
        self.screen.show(&view::draw_gate(&gate, self.context.out.width, self.screen.style))?;
        self.ask(gate)
    }

    /// A question whose gate somebody else has closed is no question any more.
    pub(super) fn drop_closed_question(&mut self) -> Outcome<()> {
        let closed = self.asking.as_ref().is_some_and(|asking| !self.track.is_open(asking.gate().no));
        if closed {
            self.asking = None;
            self.ask_next()?;
        }
        Ok(())
    }

    /// Decides at the gate that stands on the screen: its hash goes with the decision. The gate is not asked about again
    /// until the event of its decision comes; one whose decision was refused stays open for `lk allow` and `lk deny`.
    async fn decide(&mut self, gate: &Gate, decision: Decision) -> Outcome<()> {
        self.track.set_aside(gate.no);
        let request =
            DecisionRequest { input_hash: Some(gate.input_hash.clone()), ..DecisionRequest::from(decision) };
        match self.context.client.decide(&refs::gate_reference(gate), &request).await {
            Ok(_) => Ok(()),
            Err(ClientError::Problem(problem)) => self.say(&escape::line(&problem.detail)),
            Err(error) => Err(error.into()),
        }
    }
}
