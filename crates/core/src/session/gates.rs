//! Gates: opening, deciding, closing.

use std::borrow::Cow;

use super::command::Always;
use super::deadline::{Deadline, Why, at};
use super::decide::{OURSELVES, Step};
use super::event::{Event, Op};
use super::rejection::Rejection;
use super::state::{Life, State};
use crate::agent::Action;
use crate::elicitation::Elicitation;
use crate::gate::{Ask, Bypass, Decision, Expiry, Gate, GateKind, GateState, Through, Verdict, Withdrawal};
use crate::id::{AttemptNo, GateNo};
use crate::json::Json;
use crate::limits;
use crate::notice::{Notice, NoticeKind};
use crate::policy::{Effect, Layer, Rule, Ruling, ToolKind, ToolUse};
use crate::redact::redact;
use crate::time::{AwakeMs, BootId};

/// Who decides at a gate when the agent says that what it asked for has been done.
const THE_AGENT: &str = "agent";

impl Step<'_> {
    pub(super) fn asked(&mut self, attempt: AttemptNo, ask: Ask, tool_use: &ToolUse) {
        let elicited = ask.kind == GateKind::Elicitation;
        if self.state.closing.is_some() || (self.state.interrupt.is_some() && (elicited || !ask.beside_turn))
        {
            return self.void(ask);
        }
        // The agent repeats its open questions after a second handshake.
        if self
            .state
            .gates
            .values()
            .any(|gate| gate.attempt == attempt && gate.ask.request == ask.request && !gate.before_turns)
        {
            return;
        }
        if self.state.gates.len() >= limits::OPEN_GATES {
            let message = format!("more than {} questions are open", limits::OPEN_GATES);
            return self.refuse(ask.request, message);
        }
        // Questions, plans, elicitations and logins are no steps of tools: somebody has to answer.
        let step = ask.kind == GateKind::Permission;
        let ruling = step.then(|| self.policy().rule_on(&self.state.subject(), tool_use));
        let rule = ruling.as_ref().and_then(|ruling| ruling.rule.clone());
        let effect = ruling.as_ref().and_then(|ruling| ruling.effect);
        // What nobody may set aside is set aside by no bypass.
        let free = ruling.as_ref().is_some_and(|ruling| !ruling.is_binding);
        let bypass = self.state.bypass.as_ref().filter(|bypass| free && bypass.covers(tool_use.kind));
        let bypass =
            bypass.filter(|bypass| over_at(bypass, &self.env.now.boot) > self.env.now.awake).cloned();
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
            rule_reason: ruling.as_ref().and_then(Ruling::reason),
            before_turns: false,
            by_rule: bypass.is_some() || effect.is_some_and(|effect| effect != Effect::Ask),
            expiry: self.expiry(attempt),
            opened: self.env.now.clone(),
            state: GateState::Open,
            ask,
        };
        self.emit(Event::GateOpened { gate: Box::new(gate) });
        match (effect.zip(rule), bypass) {
            (None | Some((Effect::Ask, _)), Some(bypass)) => {
                self.verdict(no, Decision::Allow, bypass.by, Through::Bypass);
            }
            (None | Some((Effect::Ask, _)), None) => self.notice(NoticeKind::Asks, no),
            (Some((Effect::Allow, rule)), _) => {
                self.verdict(no, Decision::Allow, rule.id.clone(), Through::Rule);
            }
            (Some((Effect::Notify, rule)), _) => {
                self.notice(NoticeKind::WentOn, no);
                self.verdict(no, Decision::Allow, rule.id.clone(), Through::Rule);
            }
            (Some((Effect::Deny, rule)), _) => {
                let decision = Decision::Deny { message: denied(&rule) };
                self.verdict(no, decision, rule.id.clone(), Through::Rule);
            }
        }
    }

    /// A question that an ending turn asks is void: the agent takes it back itself. What it announces it may do, and what a
    /// server asks it may wait for.
    fn void(&mut self, ask: Ask) {
        if ask.kind == GateKind::Elicitation {
            self.write(Op::Write(Action::Dismiss { request: ask.request }));
        } else if ask.announced {
            let message = "The turn is being ended.".to_owned();
            self.write(Op::Write(Action::Stay { request: ask.request, message }));
        }
    }

    /// Has somebody told of a gate, if anybody wants that.
    pub(super) fn notice(&mut self, what: NoticeKind, no: GateNo) {
        let Some(gate) = self.state.gates.get(&no) else { return };
        if !self.env.notices.contains(&what) || self.state.notices.len() >= limits::NOTICES {
            return;
        }
        let notice = Notice {
            no: self.state.next_notice,
            what,
            gate: no,
            about: about(&gate.ask),
            risk: gate.risk.clone(),
            rule: gate.rule.clone(),
        };
        self.emit(Event::NoticeWanted { notice });
    }

    pub(super) fn expiry(&self, attempt: AttemptNo) -> Option<Expiry> {
        let manner = &self.state.process.attempt().filter(|present| present.no == attempt)?.manner;
        let ms = manner.gate_ms?;
        Some(Expiry { ms, warning_ms: manner.gate_warning_ms.min(ms), warned: manner.gate_warning_ms == 0 })
    }

    fn has_expired(&self, gate: &Gate) -> bool {
        let now = &self.env.now;
        gate.expiry.is_some_and(|expiry| at(&gate.opened, expiry.ms, Why::Gate, &now.boot).at <= now.awake)
    }

    /// Tells of gates that are about to expire, and denies at those that have.
    pub(super) fn expire_gates(&mut self) {
        let now = self.env.now.clone();
        let due: Vec<(GateNo, Why)> = self
            .state
            .gate_deadlines(&now.boot)
            .filter(|(_, due)| due.at <= now.awake)
            .map(|(gate, due)| (gate, due.why))
            .collect();
        for (gate, why) in due {
            if why == Why::GateWarning {
                self.emit(Event::GateExpiring { gate });
                self.notice(NoticeKind::Expiring, gate);
            } else {
                let message = "gate_expired: nobody decided in time".to_owned();
                self.verdict(gate, Decision::Deny { message }, OURSELVES.to_owned(), Through::Expiry);
            }
        }
    }

    pub(super) fn bypass(&mut self, mut kinds: Vec<ToolKind>, ms: u64, by: String) -> Result<(), Rejection> {
        let (least, most) = (limits::BYPASS_MIN_MS, limits::BYPASS_MAX_MS);
        if !(least..=most).contains(&ms) {
            return Err(Rejection::BadBypass { least, most });
        }
        if matches!(self.state.life, Life::Ended { .. }) {
            return Err(Rejection::Ended);
        }
        kinds.sort_unstable();
        kinds.dedup();
        self.emit(Event::BypassBegan { bypass: Bypass { kinds, by, ms, began: self.env.now.clone() } });
        Ok(())
    }

    pub(super) fn expire_bypass(&mut self) {
        let now = &self.env.now;
        if self.state.bypass.as_ref().is_some_and(|bypass| over_at(bypass, &now.boot) <= now.awake) {
            self.emit(Event::BypassEnded { by: None });
        }
    }

    pub(super) fn ask_withdrawn(&mut self, request: &Json) {
        if let Some(gate) = self.open_gate(request) {
            self.emit(Event::GateWithdrawn { gate, why: Withdrawal::ByAgent });
        }
    }

    pub(super) fn ask_fulfilled(&mut self, request: &Json) {
        let elicits = |no: &GateNo| self.state.gates[no].ask.kind == GateKind::Elicitation;
        if let Some(gate) = self.open_gate(request).filter(elicits) {
            self.verdict(gate, Decision::Allow, THE_AGENT.to_owned(), Through::Agent);
        }
    }

    fn open_gate(&self, request: &Json) -> Option<GateNo> {
        let open = self.state.gates.values().filter(|gate| gate.state == GateState::Open);
        let mut open = open.filter(|gate| !gate.before_turns);
        open.find(|gate| gate.ask.request == *request).map(|gate| gate.no)
    }

    pub(super) fn decide_gate(
        &mut self,
        no: GateNo,
        decision: Decision,
        always: Always,
        tool_use: Option<&ToolUse>,
        by: String,
    ) -> Result<(), Rejection> {
        let gate = self.state.gates.get(&no).ok_or(Rejection::UnknownGate { gate: no })?;
        match &gate.state {
            // It is over, though nobody has looked yet.
            GateState::Open if self.has_expired(gate) => {
                return Err(Rejection::GateDecided { gate: no, how: "denied", by: OURSELVES.to_owned() });
            }
            GateState::Open => {}
            GateState::Decided { verdict, .. } | GateState::Delivered { verdict } => {
                return Err(Rejection::gate_decided(no, verdict));
            }
            GateState::Withdrawn { .. } => return Err(Rejection::UnknownGate { gate: no }),
        }
        check_size(&decision)?;
        fits(&gate.ask, &decision).map_err(|why| Rejection::DecisionMismatch { gate: no, why })?;
        if always != Always::Once && (gate.ask.kind, &decision) != (GateKind::Permission, &Decision::Allow) {
            let why = "only a permission that is allowed as it is can be given for good".into();
            return Err(Rejection::DecisionMismatch { gate: no, why });
        }
        self.heed_rules(gate, &decision, tool_use)?;
        let (rules, layer) = match always {
            Always::Once => (Vec::new(), Layer::Session),
            Always::Session(rules) => (self.new_rules(&rules, Some(no), &by)?, Layer::Session),
            Always::User(rules) => (self.user_rules(&rules, no, &by)?, Layer::User),
        };
        let ids = rules.iter().map(|rule| rule.id.clone()).collect();
        if !self.verdict_with(no, decision, by, Through::Person, ids) {
            return Err(Rejection::UnknownGate { gate: no });
        }
        for rule in rules.into_iter().map(Box::new) {
            self.emit(if layer == Layer::User {
                Event::RuleWanted { rule }
            } else {
                Event::RuleAdded { rule }
            });
        }
        Ok(())
    }

    /// Refuses to let go on what a rule denies: another input than the one that was asked about, or a rule that came
    /// meanwhile.
    fn heed_rules(
        &self,
        gate: &Gate,
        decision: &Decision,
        tool_use: Option<&ToolUse>,
    ) -> Result<(), Rejection> {
        if gate.ask.kind != GateKind::Permission || !decision.lets_go_on() {
            return Ok(());
        }
        // Nobody can mean a gate that was not committed when this was asked for.
        let tool_use = tool_use.ok_or(Rejection::UnknownGate { gate: gate.no })?;
        if tool_use.untold && matches!(decision, Decision::Edit { .. }) {
            let why = format!("{} needs more than the edited input says", gate.ask.tool).into();
            return Err(Rejection::DecisionMismatch { gate: gate.no, why });
        }
        let ruling = self.policy().rule_on(&self.state.subject(), tool_use);
        match ruling.rule {
            Some(rule) if ruling.effect == Some(Effect::Deny) => {
                Err(Rejection::RuleDenies { rule: rule.id.clone(), reason: rule.reason.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Decides an open gate. False if its process takes no more input, which would have withdrawn the gate.
    fn verdict(&mut self, no: GateNo, decision: Decision, by: String, through: Through) -> bool {
        self.verdict_with(no, decision, by, through, Vec::new())
    }

    fn verdict_with(
        &mut self,
        no: GateNo,
        decision: Decision,
        by: String,
        through: Through,
        rules: Vec<String>,
    ) -> bool {
        let Some(gate) = self.state.gates.get(&no) else { return false };
        if gate.before_turns {
            self.decide_login(no, Verdict { decision, by, through, rules, at: self.env.now.clone() });
            return true;
        }
        let action = Action::Answer {
            gate: no,
            request: gate.ask.request.clone(),
            input: gate.ask.input.clone(),
            decision: decision.clone(),
            kind: gate.ask.kind,
            announced: gate.ask.announced,
        };
        let verdict = Verdict { decision, by, through, rules, at: self.env.now.clone() };
        let Some(write) = self.write(Op::Write(action)) else { return false };
        self.emit(Event::GateDecided { gate: no, verdict, write });
        true
    }
}

impl State {
    /// When the open gates are told of, or expire, in the order of their numbers.
    pub(super) fn gate_deadlines<'a>(&'a self, boot: &'a BootId) -> impl Iterator<Item = (GateNo, Deadline)> {
        self.gates.values().filter(|gate| gate.state == GateState::Open).filter_map(|gate| {
            let expiry = gate.expiry?;
            let (after_ms, why) = if expiry.warned {
                (expiry.ms, Why::Gate)
            } else {
                (expiry.ms - expiry.warning_ms, Why::GateWarning)
            };
            Some((gate.no, at(&gate.opened, after_ms, why, boot)))
        })
    }
}

/// When a bypass is over. One from before the machine was started is.
fn over_at(bypass: &Bypass, boot: &BootId) -> AwakeMs {
    at(&bypass.began, bypass.ms, Why::Bypass, boot).at
}

/// What the agent is told of what a rule denies.
fn denied(rule: &Rule) -> String {
    let reason = rule.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!(
        "Denied by the rule {}{reason}. Do not try another way to do the same; say what you need.",
        rule.id
    )
}

/// The tool and the beginning of its input, in a line and without what looks like a secret.
fn about(ask: &Ask) -> String {
    let input = ask.input.as_str();
    // What is redacted is longer than what is kept, for a secret may go on behind the end.
    let input = redact(&input[..input.floor_char_boundary(4 * limits::NOTICE_BYTES)]).into_owned();
    let mut about = format!("{} {input}", ask.tool);
    if about.len() > limits::NOTICE_BYTES {
        about.truncate(about.floor_char_boundary(limits::NOTICE_BYTES));
        about.push('…');
    }
    about
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

/// Whether a decision fits what is asked; if not, why.
fn fits(ask: &Ask, decision: &Decision) -> Result<(), Cow<'static, str>> {
    let why = match (ask.kind, decision) {
        (GateKind::Question, Decision::Answer { answers }) if answers.value().is_object() => return Ok(()),
        (GateKind::Permission | GateKind::Plan, Decision::Edit { input }) if input.value().is_object() => {
            return Ok(());
        }
        (_, Decision::Deny { .. })
        | (GateKind::Permission | GateKind::Plan | GateKind::Login, Decision::Allow) => {
            return Ok(());
        }
        (GateKind::Elicitation, decision) => return fits_elicitation(&ask.input, decision),
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
    Err(why.into())
}

/// A form is answered, and a page is visited, which is to allow it.
fn fits_elicitation(input: &Json, decision: &Decision) -> Result<(), Cow<'static, str>> {
    let elicitation = Elicitation::read(input);
    match (decision, elicitation.url.is_some()) {
        (Decision::Deny { .. }, _) | (Decision::Allow, true) => Ok(()),
        (Decision::Answer { answers }, false) => Ok(elicitation.check(&answers.value())?),
        (Decision::Allow | Decision::Edit { .. }, false) => Err("it is a form: answer it, or deny it".into()),
        (Decision::Answer { .. } | Decision::Edit { .. }, true) => {
            Err("it is a page to visit: allow it once that is done, or deny it".into())
        }
    }
}
