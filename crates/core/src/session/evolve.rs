//! What each event makes of the state. Total, and no arm swallows a kind.

use std::sync::Arc;

use super::end::SettingsResult;
use super::event::{Envelope, Event, Op};
use super::exit::{Exit, Verdict};
use super::state::{
    Attempt, Climb, Conversation, Interrupt, InterruptCause, Lane, Life, OpenTool, Outgoing, OwnTurn,
    Process, Profile, SignalOut, Stage, State, Task, Turn, Wanted,
};
use super::status::{Beneath, Cause, Status, StatusNow, apart_from_boot};
use crate::agent::{Action, TaskKind};
use crate::claim::ClaimState;
use crate::gate::{GateState, SessionRule};
use crate::id::{ClaimNo, GateNo};
use crate::limits;
use crate::prompt::Prompt;
use crate::time::Stamp;
use crate::turn::Usage;

impl State {
    /// Folds one event. The caller sees to it that it is the next one.
    #[expect(clippy::too_many_lines, reason = "one arm per kind of event; splitting it would hide the table")]
    pub fn evolve(&mut self, envelope: &Envelope) {
        self.seq = envelope.seq;
        let at = &envelope.at;
        match &envelope.event {
            Event::SessionCreated { .. } | Event::Unknown { .. } => {}
            Event::SessionRenamed { name, .. } => self.profile_mut().name.clone_from(name),
            Event::SessionLabelled { set, remove, .. } => {
                let labels = &mut self.profile_mut().labels;
                labels.retain(|key, _| !remove.contains(key));
                labels.extend(set.clone());
            }
            Event::StatusChanged { to, cause, .. } => self.change_status(*to, cause, at),
            Event::Unsettled {} => self.settled_since_boot = false,
            Event::Settled {} => {
                self.settled_since_boot = true;
                self.watched_since = Some(at.clone());
            }
            Event::Held { by } => self.held = Some(by.clone()),
            Event::Released { .. } => self.held = None,
            Event::ResumeAsked { .. } => self.launch_wanted = true,
            Event::GateOutcome { gate, .. } => {
                self.gated.remove(gate);
            }
            Event::NoticeWanted { notice } => {
                self.next_notice = notice.no.next();
                self.notices.insert(notice.no, notice.clone());
            }
            Event::NoticeTold { notice, .. } => {
                self.notices.remove(notice);
            }
            Event::RuleAdded { rule } => {
                self.next_rule = rule.no.next();
                self.rules.push(SessionRule::clone(rule));
            }
            Event::RuleWanted { rule } => {
                self.next_rule = rule.no.next();
                self.wanted_rules.insert(rule.no, SessionRule::clone(rule));
            }
            Event::RuleWritten { rule, .. } => {
                self.wanted_rules.remove(rule);
            }
            Event::RuleRemoved { id, .. } => self.rules.retain(|rule| rule.id != *id),
            Event::BypassBegan { bypass } => self.bypass = Some(bypass.clone()),
            Event::BypassEnded { .. } => self.bypass = None,
            Event::GateExpiring { gate } => {
                if let Some(expiry) = self.gates.get_mut(gate).and_then(|gate| gate.expiry.as_mut()) {
                    expiry.warned = true;
                }
            }
            Event::SessionEnded { end } => {
                self.bypass = None;
                self.life = Life::Ended { end: end.clone(), at: at.clone() };
                self.held = None;
                self.launch_wanted = false;
                self.backoff_until = None;
            }
            Event::SessionReopened { lifetime, .. } => {
                self.life = Life::Open;
                self.profile_mut().lifetime = *lifetime;
                self.opened_after = self.last_turn.as_ref().map(|(turn, _)| *turn);
                self.cut = false;
                // Whoever opens it again has seen why it ended: the budget begins anew.
                self.crashes.clear();
                self.backoff_until = None;
                if matches!(self.conversation, Conversation::Lost { .. }) {
                    self.conversation = Conversation::None;
                }
            }
            Event::PromptAccepted { prompt } => {
                self.next_prompt = prompt.no.next();
                let claim = prompt.claim.and_then(|claim| self.claims.get(&claim));
                let rank = claim.map_or(prompt.rank, |claim| claim.place().1);
                self.queue.push(Prompt { rank, ..prompt.clone() });
            }
            Event::PromptEdited { prompt, text, .. } => {
                self.queue.change(*prompt, |prompt| prompt.text = text.clone());
            }
            Event::PromptDropped { prompt, .. } => {
                self.queue.take(*prompt);
            }
            Event::PromptMoved { prompt, class, rank, .. } => self.queue.change(*prompt, |prompt| {
                prompt.class = *class;
                prompt.rank = *rank;
            }),
            Event::PromptReleased { prompt, .. } => self.queue.change(*prompt, |prompt| prompt.parked = None),
            Event::ClaimMade { claim } => {
                self.next_claim = claim.no.next();
                self.claims.insert(claim.no, claim.clone());
            }
            Event::ClaimRenewed { claim, ttl_ms } => {
                if let Some(claim) = self.claims.get_mut(claim) {
                    claim.renewed = at.clone();
                    claim.ttl_ms = *ttl_ms;
                }
            }
            Event::ClaimGranted { claim } => self.claim_is(*claim, ClaimState::Held),
            Event::ClaimSuspended { claim } => self.claim_is(*claim, ClaimState::Suspended),
            Event::ClaimEnded { claim, .. } => {
                self.claim_is(*claim, ClaimState::Waiting);
                self.claims.remove(claim);
            }
            Event::TurnStarted { turn, prompt, .. } => {
                self.next_turn = turn.next();
                if let Some(prompt) = self.queue.take(*prompt) {
                    self.turn = Some(Turn { no: *turn, prompt, started: at.clone(), stage: Stage::Sending });
                }
                self.touch(at);
            }
            Event::TurnTaken { turn } => {
                if let Some(running) = self.turn.as_mut().filter(|running| running.no == *turn) {
                    running.stage = Stage::Running;
                }
                self.touch(at);
            }
            Event::OwnTurnBegun { turn, .. } => {
                self.next_turn = turn.next();
                self.own_turn = Some(OwnTurn { no: *turn, started: at.clone() });
                self.touch(at);
            }
            Event::TurnEnded { turn, prompt, outcome, usage } => {
                // No turn of ours begins while the queue is held: whoever holds it asked to cancel this one.
                let cut = self.held.is_some()
                    || self.interrupt.as_ref().is_some_and(|interrupt| {
                        interrupt.turn == *turn && matches!(interrupt.cause, InterruptCause::Asked { .. })
                    });
                self.cut = cut || (self.cut && prompt.is_none());
                if prompt.is_some() {
                    self.turn = None;
                    self.last_turn = Some((*turn, outcome.clone()));
                } else {
                    self.own_turn = None;
                }
                if self.interrupt.as_ref().is_some_and(|interrupt| interrupt.turn == *turn) {
                    self.interrupt = None;
                }
                self.last_turn_ended = Some(at.clone());
                self.turns_ended = self.turns_ended.saturating_add(1);
                self.open_tools.clear();
                self.add_usage(usage);
                self.touch(at);
            }
            Event::InterruptAsked { turn, cause } => {
                let rungs = self
                    .process
                    .attempt()
                    .map(|attempt| attempt.manner.interrupt.clone())
                    .unwrap_or_default();
                let climb = Climb { rungs, taken: 0, since: at.clone() };
                self.interrupt = Some(Interrupt { turn: *turn, cause: cause.clone(), climb });
            }
            Event::InterruptStep { .. } => {
                if let Some(interrupt) = &mut self.interrupt {
                    interrupt.climb.taken += 1;
                    interrupt.climb.since = at.clone();
                }
            }
            Event::ClosingAsked { why, rungs } => {
                let climb = Climb { rungs: rungs.clone(), taken: 0, since: at.clone() };
                self.closing = Some(super::state::Closing { why: why.clone(), climb });
            }
            Event::ClosingStep { .. } => {
                if let Some(closing) = &mut self.closing {
                    closing.climb.taken += 1;
                    closing.climb.since = at.clone();
                }
            }
            Event::AttemptLaunched { attempt, manner, resume, model, mode, workspace } => {
                self.next_attempt = attempt.next();
                self.launch_wanted = false;
                self.backoff_until = None;
                self.turns_before = self.turns_ended;
                // Until it says what it uses, that is what it is started with.
                self.using_model = model.clone().or_else(|| self.using_model.take());
                self.using_mode = mode.clone().or_else(|| self.using_mode.take());
                if matches!(self.conversation, Conversation::Lost { .. }) {
                    self.conversation = Conversation::None;
                }
                self.process = Process::Launching(Attempt {
                    no: *attempt,
                    manner: manner.clone(),
                    resume: resume.clone(),
                    model: model.clone(),
                    mode: mode.clone(),
                    workspace: workspace.clone(),
                    asked: at.clone(),
                    process: None,
                    spawned: None,
                    version: None,
                    outbox: Lane::default(),
                    signals: Lane::default(),
                    sent: Vec::new(),
                    stdin_closed: false,
                    active: at.clone(),
                    unreadable: 0,
                });
            }
            Event::AttemptSpawned { process, .. } => {
                if let Process::Launching(attempt) = &self.process {
                    let mut attempt = attempt.clone();
                    attempt.process = Some(process.clone());
                    attempt.spawned = Some(at.clone());
                    attempt.active = at.clone();
                    self.process = Process::Opening(attempt);
                }
            }
            Event::AttemptReady { version, .. } => {
                if let Process::Opening(attempt) = &self.process {
                    let mut attempt = attempt.clone();
                    attempt.version.clone_from(version);
                    attempt.active = at.clone();
                    self.process = Process::Live(attempt);
                }
            }
            Event::AttemptLaunchFailed { .. } => self.process_gone(),
            Event::AttemptExited { exit, verdict, .. } => {
                self.process_gone();
                self.note_exit(Some(exit), *verdict, at);
            }
            Event::AttemptLost { .. } => {
                // One that we were ending anyway counts against nobody.
                let counts = self.closing.is_none();
                self.process_gone();
                self.note_exit(None, Verdict::Unknown, at);
                if counts {
                    self.count_crash(at);
                }
            }
            Event::BackoffSet { wait_ms, .. } => self.backoff_until = Some(at.later(*wait_ms)),
            Event::Limited { until_ms, .. } => {
                let left = u64::try_from(until_ms.saturating_sub(at.wall_ms)).unwrap_or(0);
                self.limited_until = Some(at.later(left));
                self.touch(at);
            }
            Event::LimitOver {} => self.limited_until = None,
            Event::BackoffOver {} => self.backoff_until = None,
            Event::OutboxIntended { number, op, .. } => self.intend(*number, op, at),
            Event::OutboxAccepted { number, .. } => {
                if let Some(attempt) = self.process.attempt_mut() {
                    for outgoing in attempt.outbox.pending.iter_mut().filter(|out| out.number <= *number) {
                        outgoing.accepted = true;
                    }
                }
                self.turn_stage(*number, Stage::Accepted);
            }
            Event::OutboxWritten { number, .. } => {
                self.turn_stage(*number, Stage::Written);
                if let Some(attempt) = self.process.attempt_mut() {
                    attempt.outbox.pending.retain(|out| out.number > *number);
                }
            }
            Event::OutboxFailed { number, .. } => {
                if let Some(attempt) = self.process.attempt_mut() {
                    attempt.outbox.pending.retain(|out| out.number != *number);
                }
            }
            Event::SignalIntended { number, scope, signal, .. } => {
                if let Some(attempt) = self.process.attempt_mut() {
                    let out = SignalOut { number: *number, scope: *scope, signal: *signal };
                    attempt.signals.next = number + 1;
                    attempt.signals.pending.push_back(out.clone());
                    attempt.sent.push(out);
                }
            }
            Event::SignalSent { number, .. } => {
                if let Some(attempt) = self.process.attempt_mut() {
                    attempt.signals.pending.retain(|out| out.number != *number);
                }
            }
            Event::ConversationKnown { id } => self.conversation = Conversation::Known(id.clone()),
            Event::ConversationLost { message } => {
                self.conversation = Conversation::Lost { message: message.clone() };
            }
            Event::ItemAdded { .. } | Event::Retrying { .. } | Event::Active {} => self.touch(at),
            Event::Malformed { .. } | Event::Unrecognized { .. } | Event::Muted { .. } => {
                if let Some(attempt) = self.process.attempt_mut() {
                    attempt.unreadable = attempt.unreadable.saturating_add(1);
                }
                self.touch(at);
            }
            Event::ToolStarted { item, .. } => {
                if self.open_tools.len() < limits::OPEN_TOOLS
                    && let crate::item::ItemBody::ToolCall { tool, .. } = &item.body
                {
                    let open = OpenTool { tool: tool.clone(), started: at.clone() };
                    self.open_tools.insert(item.key.clone(), open);
                }
                self.touch(at);
            }
            Event::ToolEnded { call, .. } => {
                self.open_tools.remove(call);
                self.touch(at);
            }
            Event::GateOpened { gate } => {
                self.next_gate = gate.no.next();
                self.gates.insert(gate.no, (**gate).clone());
                if let Some(call) = &gate.ask.call {
                    if self.gated.len() == limits::OPEN_TOOLS {
                        self.gated.pop_first();
                    }
                    self.gated.insert(gate.no, call.clone());
                }
                self.touch(at);
            }
            Event::GateDecided { gate, verdict, write } => {
                self.void_notices(*gate);
                if let Some(gate) = self.gates.get_mut(gate) {
                    gate.state = GateState::Decided { verdict: verdict.clone(), write: *write };
                }
                self.touch(at);
            }
            Event::GateDelivered { gate } | Event::GateWithdrawn { gate, .. } => {
                self.void_notices(*gate);
                self.gates.remove(gate);
                self.touch(at);
            }
            Event::ControlAnswered { control, .. } | Event::ControlExpired { control } => {
                self.controls.remove(control);
                self.touch(at);
            }
            Event::SettingsWanted { model, mode, .. } => {
                let (had_model, had_mode) = match self.wanted.take() {
                    Some(Wanted::Settings { model, mode, .. }) => (model, mode),
                    Some(Wanted::Interrupt) | None => (None, None),
                };
                let (model, mode) = (model.clone().or(had_model), mode.clone().or(had_mode));
                self.wanted = Some(Wanted::Settings { model, mode, asked: at.clone() });
            }
            Event::SettingsAsked { control, model, mode } => {
                self.wanted = None;
                let asked = Wanted::Settings { model: model.clone(), mode: mode.clone(), asked: at.clone() };
                self.controls.insert(*control, asked);
                self.next_control = control.next();
            }
            Event::SettingsResolved { model, mode, result } => {
                self.resolve_settings(model.as_ref(), mode.as_ref(), result);
            }
            Event::SettingsUsing { model, mode } => {
                self.using_model = model.clone().or_else(|| self.using_model.take());
                self.using_mode = mode.clone().or_else(|| self.using_mode.take());
                self.touch(at);
            }
            Event::TaskStarted { task, kind, title } => {
                if self.tasks.len() < limits::TASKS {
                    let entry = Task { kind: *kind, title: title.clone(), started: at.clone() };
                    self.tasks.insert(task.clone(), entry);
                }
                self.touch(at);
            }
            Event::TaskEnded { task, .. } => {
                if self.tasks.remove(task).is_some_and(|task| task.kind == TaskKind::Delegated) {
                    self.last_task_ended = Some(at.clone());
                }
                self.touch(at);
            }
        }
        if !self.settled_since_boot
            && let Some(mut beneath) = self.beneath.take()
        {
            beneath.follow(apart_from_boot(self), envelope);
            self.beneath = Some(beneath);
        }
    }

    /// A status that a start of the daemon found unchanged has lasted since it began, not since that start.
    fn change_status(&mut self, to: Status, cause: &Cause, at: &Stamp) {
        let told = StatusNow { status: to, since: at.clone(), cause: cause.clone() };
        let lasting = self.beneath.take().map(|beneath| beneath.now).filter(|now| now.status == to);
        let before = std::mem::replace(&mut self.status, lasting.unwrap_or(told));
        if to == Status::Unknown {
            self.beneath = Some(Beneath { now: before, before: None });
        }
    }

    /// What is left of a claim that ends keeps the place that it came with, so that waiting is what it is again then.
    fn claim_is(&mut self, claim: ClaimNo, state: ClaimState) {
        let Some(claim) = self.claims.get_mut(&claim) else { return };
        let (class, before) = (claim.class, claim.place().1);
        claim.state = state;
        let rank = claim.place().1;
        if rank == before {
            return;
        }
        self.queue.rank_claimed(claim.no, class, before, rank);
        if let Some(turn) = self.turn.as_mut().filter(|turn| turn.prompt.claim == Some(claim.no)) {
            turn.prompt.rank = rank;
        }
    }

    fn profile_mut(&mut self) -> &mut Profile {
        Arc::make_mut(&mut self.profile)
    }

    fn touch(&mut self, at: &Stamp) {
        if let Some(attempt) = self.process.attempt_mut() {
            attempt.active = at.clone();
        }
    }

    fn void_notices(&mut self, gate: GateNo) {
        self.notices.retain(|_, notice| notice.gate != gate || !notice.what.is_void_when_closed());
    }

    fn process_gone(&mut self) {
        self.process = Process::Absent;
        self.interrupt = None;
        self.closing = None;
        // At those no process waits.
        self.gates.retain(|_, gate| gate.before_turns);
        self.gated.clear();
        self.controls.clear();
        self.open_tools.clear();
        self.tasks.clear();
        self.cost_before_micro_usd = self.cost_micro_usd();
        self.cost_attempt_micro_usd = None;
    }

    fn note_exit(&mut self, exit: Option<&Exit>, verdict: Verdict, at: &Stamp) {
        self.last_exit = exit.cloned();
        self.last_verdict = Some(verdict);
        match verdict {
            Verdict::Crashed => self.count_crash(at),
            Verdict::Asked | Verdict::Left | Verdict::Unknown => {}
        }
    }

    fn count_crash(&mut self, at: &Stamp) {
        self.crashes.push_back(at.clone());
        while self.crashes.len() > limits::CRASHES + 1 {
            self.crashes.pop_front();
        }
    }

    fn turn_stage(&mut self, number: u64, stage: Stage) {
        let Some(attempt) = self.process.attempt() else { return };
        let prompts = attempt
            .outbox
            .pending
            .iter()
            .any(|out| out.number <= number && matches!(&out.op, Op::Write(Action::Prompt { .. })));
        if prompts && let Some(turn) = &mut self.turn {
            turn.stage = turn.stage.max(stage);
        }
    }

    fn intend(&mut self, number: u64, op: &Op, at: &Stamp) {
        if let Some(attempt) = self.process.attempt_mut() {
            attempt.outbox.next = number + 1;
            attempt.stdin_closed |= matches!(op, Op::Close);
            let outgoing = Outgoing { number, op: op.clone(), asked: at.clone(), accepted: false };
            attempt.outbox.pending.push_back(outgoing);
        }
        match op {
            Op::Write(Action::Interrupt { control }) => {
                self.controls.insert(*control, Wanted::Interrupt);
                self.next_control = control.next();
            }
            Op::Write(
                Action::Initialize
                | Action::InitializeGuarded
                | Action::Pass { .. }
                | Action::Stay { .. }
                | Action::Prompt { .. }
                | Action::Answer { .. }
                | Action::Dismiss { .. }
                | Action::Refuse { .. }
                | Action::SetModel { .. }
                | Action::SetMode { .. },
            )
            | Op::Close => {}
        }
    }

    fn resolve_settings(&mut self, model: Option<&String>, mode: Option<&String>, result: &SettingsResult) {
        match result {
            SettingsResult::Applied | SettingsResult::ForNextLaunch | SettingsResult::Relaunching => {
                // A wish that came after the one that was asked for still waits.
                if *result == SettingsResult::ForNextLaunch {
                    self.wanted = None;
                }
                let profile = Arc::make_mut(&mut self.profile);
                profile.model = model.cloned().or_else(|| profile.model.take());
                profile.mode = mode.cloned().or_else(|| profile.mode.take());
                if *result == SettingsResult::Applied {
                    self.using_model = model.cloned().or_else(|| self.using_model.take());
                    self.using_mode = mode.cloned().or_else(|| self.using_mode.take());
                }
            }
            SettingsResult::Refused { .. } => {}
        }
    }

    fn add_usage(&mut self, usage: &Usage) {
        let total = &mut self.usage;
        total.input_tokens = total.input_tokens.saturating_add(usage.input_tokens);
        total.output_tokens = total.output_tokens.saturating_add(usage.output_tokens);
        total.cache_read_tokens = total.cache_read_tokens.saturating_add(usage.cache_read_tokens);
        total.cache_write_tokens = total.cache_write_tokens.saturating_add(usage.cache_write_tokens);
        total.rounds = total.rounds.saturating_add(usage.rounds);
        if usage.attempt_cost_micro_usd.is_some() {
            self.cost_attempt_micro_usd = usage.attempt_cost_micro_usd;
        }
    }
}
