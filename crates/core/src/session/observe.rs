//! Taking in what the world did.

use std::cmp::Ordering;
use std::sync::Arc;

use super::decide::Step;
use super::end::{Closing, End, EndReason};
use super::event::{Event, Op};
use super::exit::{Exit, ExitHint, Verdict, cut_outcome, judge};
use super::observation::{Observation, SpawnError};
use super::state::{Attempt, Conversation, InterruptCause, Lifetime, Process, Stage};
use crate::agent::{Action, AgentSays};
use crate::gate::{GateState, Withdrawal};
use crate::id::{AttemptNo, GateNo, ItemKey, TaskKey, TurnNo};
use crate::item::ToolOutcome;
use crate::json::Json;
use crate::limits;
use crate::turn::{Ending, FailureKind, Outcome, TurnBy, Usage};

/// How long an attempt may be active without an event that says so, as a part of its limit of silence.
const ACTIVE_PARTS: u64 = 4;

impl Step<'_> {
    pub(super) fn observe(&mut self, observation: Observation) {
        let current = self.state.process.attempt().map(|attempt| attempt.no);
        let about = |attempt: AttemptNo| current == Some(attempt);
        match observation {
            Observation::Unsettled => {
                if current.is_some() && self.state.settled_since_boot {
                    self.emit(Event::Unsettled {});
                }
            }
            Observation::Adopted { attempt } if about(attempt) => self.settle(),
            Observation::Spawned { attempt, process } if about(attempt) => {
                if matches!(self.state.process, Process::Launching(_)) {
                    self.emit(Event::AttemptSpawned { attempt, process });
                    self.greet();
                }
            }
            Observation::SpawnFailed { attempt, error } if about(attempt) => {
                if matches!(self.state.process, Process::Launching(_)) {
                    self.settle();
                    self.spawn_failed(attempt, error);
                }
            }
            Observation::RuleWritten { rule, error } => {
                if self.state.wanted_rules.contains_key(&rule) {
                    self.emit(Event::RuleWritten { rule, error });
                }
            }
            Observation::Told { notice, error } => {
                if self.state.notices.contains_key(&notice) {
                    self.emit(Event::NoticeTold { notice, error });
                }
            }
            Observation::Accepted { attempt, number } if about(attempt) => self.accepted(attempt, number),
            Observation::Written { attempt, number } if about(attempt) => self.written(attempt, number),
            Observation::WriteFailed { attempt, number, error } if about(attempt) => {
                self.write_failed(attempt, number, error);
            }
            Observation::Signalled { attempt, number, delivered } if about(attempt) => {
                let pending = self.state.process.attempt().map(|a| &a.signals.pending);
                if pending.is_some_and(|pending| pending.iter().any(|out| out.number == number)) {
                    self.emit(Event::SignalSent { attempt, number, delivered });
                }
            }
            Observation::Agent { attempt, says } if about(attempt) => {
                // Before it is known to run there is nobody who could speak.
                if !matches!(self.state.process, Process::Launching(_)) {
                    self.agent_says(attempt, says);
                }
            }
            Observation::Exited { attempt, exit } if about(attempt) => {
                self.exited(attempt, Some(exit), Vec::new(), false);
            }
            Observation::HolderLost { attempt, journal_whole, stderr } if about(attempt) => {
                // A journal loses its last records with the power, for it is not synced.
                let boot = |attempt: &Attempt| attempt.asked.boot.clone();
                let same_boot = self.state.process.attempt().map(boot).as_ref() == Some(&self.env.now.boot);
                self.exited(attempt, None, stderr, !(journal_whole && same_boot));
            }
            // What an earlier attempt did no longer matters.
            Observation::Adopted { .. }
            | Observation::Spawned { .. }
            | Observation::SpawnFailed { .. }
            | Observation::Accepted { .. }
            | Observation::Written { .. }
            | Observation::WriteFailed { .. }
            | Observation::Signalled { .. }
            | Observation::Agent { .. }
            | Observation::Exited { .. }
            | Observation::HolderLost { .. } => {}
        }
    }

    fn settle(&mut self) {
        if !self.state.settled_since_boot {
            self.emit(Event::Settled {});
        }
    }

    fn pending(&self, number: u64) -> Option<&super::state::Outgoing> {
        self.state.process.attempt()?.outbox.pending.iter().find(|out| out.number == number)
    }

    fn accepted(&mut self, attempt: AttemptNo, number: u64) {
        if self.pending(number).is_some_and(|out| !out.accepted) {
            self.emit(Event::OutboxAccepted { attempt, number });
        }
    }

    fn written(&mut self, attempt: AttemptNo, number: u64) {
        let Some(current) = self.state.process.attempt().filter(|_| self.pending(number).is_some()) else {
            return;
        };
        // The lane keeps its order: what came before is written too.
        let answered: Vec<GateNo> = current
            .outbox
            .pending
            .iter()
            .filter(|out| out.number <= number)
            .filter_map(
                |out| if let Op::Write(Action::Answer { gate, .. }) = &out.op { Some(*gate) } else { None },
            )
            .collect();
        self.emit(Event::OutboxWritten { attempt, number });
        for gate in answered {
            self.emit(Event::GateDelivered { gate });
        }
    }

    fn write_failed(&mut self, attempt: AttemptNo, number: u64, error: String) {
        let Some(out) = self.pending(number) else { return };
        let answer = matches!(out.op, Op::Write(Action::Answer { .. }));
        self.emit(Event::OutboxFailed { attempt, number, error });
        // Everything else that is written has a deadline of its own; whoever asked would wait for ever.
        if !answer || self.state.closing.is_some() || self.state.interrupt.is_some() {
            return;
        }
        let what = "the agent takes no answer to what it asked".to_owned();
        match self.state.running_turn() {
            Some(turn) => self.cancel(turn, InterruptCause::Deadline { what }),
            None => self.close(Closing::Relaunch { what }),
        }
    }

    /// Whether the holder has the prompt of our turn: before that the agent can neither work on it nor end it.
    fn prompt_is_out(&self) -> bool {
        self.state.process.attempt().is_some_and(|attempt| {
            let here = |op: &Op| matches!(op, Op::Write(Action::Prompt { .. }));
            !attempt.outbox.pending.iter().any(|out| !out.accepted && here(&out.op))
        })
    }

    fn spawn_failed(&mut self, attempt: AttemptNo, error: SpawnError) {
        let closing = self.state.closing.clone();
        let message = error.message.clone();
        self.keep_settings();
        self.emit(Event::AttemptLaunchFailed { attempt, error });
        self.end(match closing.map(|closing| closing.why) {
            Some(Closing::Stop { by } | Closing::Kill { by }) => End::Stopped { by },
            Some(Closing::Done { end }) if self.state.queue.is_empty() && !self.state.launch_wanted => end,
            Some(
                Closing::Done { .. }
                | Closing::ConversationLost
                | Closing::AfterInterrupt
                | Closing::Relaunch { .. }
                | Closing::LoggedIn
                | Closing::HandshakeTimeout,
            )
            | None => End::Failed { reason: EndReason::Launch, message },
        });
    }

    fn agent_says(&mut self, attempt: AttemptNo, says: AgentSays) {
        match says {
            AgentSays::Ready { version } => {
                if matches!(self.state.process, Process::Opening(_)) {
                    self.emit(Event::AttemptReady { attempt, version });
                }
            }
            AgentSays::Conversation { id } => {
                // The line that says that a conversation is lost may name it, or a random one.
                let lost = matches!(self.state.conversation, Conversation::Lost { .. });
                if !lost && self.state.conversation != Conversation::Known(id.clone()) {
                    self.emit(Event::ConversationKnown { id });
                }
            }
            AgentSays::ConversationLost { message } => self.conversation_lost(message),
            AgentSays::Using { model, mode } => {
                let changed = |now: &Option<String>, said: &Option<String>| said.is_some() && now != said;
                if changed(&self.state.using_model, &model) || changed(&self.state.using_mode, &mode) {
                    self.emit(Event::SettingsUsing { model, mode });
                }
            }
            AgentSays::PromptTaken | AgentSays::TurnBegan { by: TurnBy::Prompt } => {
                if let Some(turn) = self.state.turn.as_ref().filter(|turn| turn.stage < Stage::Running)
                    && self.prompt_is_out()
                {
                    let turn = turn.no;
                    self.emit(Event::TurnTaken { turn });
                }
            }
            AgentSays::TurnBegan { by: TurnBy::Agent } => {
                if self.state.own_turn.is_none() {
                    let turn = self.state.next_turn;
                    self.emit(Event::OwnTurnBegun { turn, attempt });
                }
            }
            AgentSays::TurnEnded { by, ending, usage } => self.turn_ended(by, ending, usage),
            AgentSays::Item { item } => {
                let turn = self.speaking_turn();
                self.emit(Event::ItemAdded { turn, item });
            }
            AgentSays::ToolStarted { item } => {
                let turn = self.speaking_turn();
                self.emit(Event::ToolStarted { turn, item });
            }
            AgentSays::ToolEnded { call, outcome, text } => {
                let turn = self.speaking_turn();
                self.tool_ended(turn, call, outcome, text);
            }
            AgentSays::Asked { ask, tool_use } => self.asked(attempt, ask, &tool_use),
            AgentSays::AskWithdrawn { request } => self.ask_withdrawn(&request),
            AgentSays::AskFulfilled { request } => self.ask_fulfilled(&request),
            AgentSays::UnknownRequest { request, subtype } => {
                let message = format!("Unsupported control request subtype: {subtype}");
                self.refuse(request, message);
                self.unreadable(Event::Unrecognized { kind: format!("control_request/{subtype}") });
            }
            AgentSays::AskedTooMuch { request, announced } => {
                let message =
                    "Denied: what you ask is too long to be looked at. Do it in smaller steps.".to_owned();
                if announced {
                    self.write(Op::Write(Action::Stay { request, message }));
                } else {
                    self.refuse(request, message);
                }
            }
            AgentSays::ControlAnswered { control, answer } => self.control_answered(control, answer),
            AgentSays::TaskStarted { task, kind, title } => {
                if !self.state.tasks.contains_key(&task) {
                    self.emit(Event::TaskStarted { task, kind, title });
                }
            }
            AgentSays::TaskEnded { task, how } => {
                if self.state.tasks.contains_key(&task) {
                    self.emit(Event::TaskEnded { task, how });
                }
            }
            AgentSays::Retrying { attempt, of, delay_ms, reason } => {
                self.emit(Event::Retrying { attempt, of, delay_ms, reason });
            }
            AgentSays::Limited { until_ms, what } => {
                let known = self.state.limited_until.as_ref().is_some_and(|until| until.wall_ms >= until_ms);
                if until_ms > self.env.now.wall_ms && !known {
                    self.emit(Event::Limited { until_ms, what });
                }
            }
            AgentSays::Alive => self.alive(),
            AgentSays::Malformed { why, bytes } => self.unreadable(Event::Malformed { why, bytes }),
            AgentSays::Unrecognized { kind } => self.unreadable(Event::Unrecognized { kind }),
        }
    }

    pub(super) fn speaking_turn(&self) -> Option<TurnNo> {
        self.state.own_turn.as_ref().map(|turn| turn.no).or(self.state.turn.as_ref().map(|turn| turn.no))
    }

    /// Refuses what nobody can answer; not to an agent that reads nothing.
    pub(super) fn refuse(&mut self, request: Json, message: String) {
        let waits = self.state.process.attempt().map_or(0, |attempt| attempt.outbox.pending.len());
        if waits < limits::OUTBOX {
            self.write(Op::Write(Action::Refuse { request, message }));
        }
    }

    fn unreadable(&mut self, event: Event) {
        let told = self.state.process.attempt().map_or(0, |attempt| attempt.unreadable);
        match told.cmp(&limits::UNREADABLE_LINES) {
            Ordering::Less => self.emit(event),
            Ordering::Equal => self.emit(Event::Muted { after: told }),
            Ordering::Greater => self.alive(),
        }
    }

    fn alive(&mut self) {
        let Some(attempt) = self.state.process.attempt() else { return };
        if self.since(&attempt.active) > attempt.manner.silence_ms / ACTIVE_PARTS {
            self.emit(Event::Active {});
        }
    }

    fn conversation_lost(&mut self, message: String) {
        let resuming = self.state.process.attempt().is_some_and(|attempt| attempt.resume.is_some());
        if !resuming || matches!(self.state.conversation, Conversation::Lost { .. }) {
            return;
        }
        self.emit(Event::ConversationLost { message });
        if self.state.closing.is_none() {
            self.close(Closing::ConversationLost);
        }
    }

    fn turn_ended(&mut self, by: TurnBy, ending: Ending, usage: Usage) {
        let (turn, prompt) = match by {
            TurnBy::Prompt => match &self.state.turn {
                Some(turn) if self.prompt_is_out() => (turn.no, Some(turn.prompt.clone())),
                Some(_) | None => return,
            },
            TurnBy::Agent => match &self.state.own_turn {
                Some(turn) => (turn.no, None),
                None => return,
            },
        };
        let interrupt = self.state.interrupt.clone().filter(|interrupt| interrupt.turn == turn);
        let stopped_by =
            self.state.closing.as_ref().and_then(|closing| closing.why.by().map(ToOwned::to_owned));
        // A cancel reaches whatever the agent is at, which may be the other one of two turns.
        let met = interrupt.as_ref().or(self.state.interrupt.as_ref().filter(|_| ending == Ending::Aborted));
        let outcome = outcome_of(ending, met.map(|i| &i.cause), stopped_by);
        let unknown = !self.state.open_tools.is_empty();
        self.end_open_tools(match &outcome {
            Outcome::Completed => None,
            Outcome::Interrupted { .. } => Some(ToolOutcome::Cut),
            Outcome::Preempted { .. }
            | Outcome::Refused
            | Outcome::Limit { .. }
            | Outcome::Failed { .. }
            | Outcome::Unknown { .. } => Some(ToolOutcome::Unknown),
        });
        self.withdraw_turn_gates(turn);
        self.end_turn(turn, prompt, outcome, usage, unknown);
        self.request_again();
        // A cancel that had to end the input, or worse, leaves a process that takes no more prompts.
        let leaving = self.state.process.attempt().is_some_and(Attempt::leaving);
        if interrupt.is_some_and(|interrupt| interrupt.climb.beyond_request())
            && leaving
            && self.state.closing.is_none()
        {
            self.close(Closing::AfterInterrupt);
        }
    }

    /// The request to cancel met the turn that has just ended; the one that was meant needs another.
    fn request_again(&mut self) {
        let Some(interrupt) = &self.state.interrupt else { return };
        if self.state.closing.is_none() && interrupt.climb.taken > 0 && !interrupt.climb.beyond_request() {
            let control = self.state.next_control;
            self.write(Op::Write(Action::Interrupt { control }));
        }
    }

    fn withdraw_turn_gates(&mut self, turn: TurnNo) {
        let open: Vec<GateNo> = self
            .state
            .gates
            .values()
            .filter(|gate| gate.turn == Some(turn) && matches!(gate.state, GateState::Open))
            .map(|gate| gate.no)
            .collect();
        for gate in open {
            self.emit(Event::GateWithdrawn { gate, why: Withdrawal::ByAgent });
        }
    }

    fn end_open_tools(&mut self, outcome: Option<ToolOutcome>) {
        let Some(outcome) = outcome else { return };
        let turn = self.speaking_turn();
        let open: Vec<ItemKey> = self.state.open_tools.keys().cloned().collect();
        for call in open {
            self.tool_ended(turn, call, outcome, "".into());
        }
    }

    /// A tool ended, and with it what was asked at gates about it.
    fn tool_ended(&mut self, turn: Option<TurnNo>, call: ItemKey, outcome: ToolOutcome, text: Arc<str>) {
        let about = self.state.gated.iter().filter(|(_, of)| **of == call).map(|(gate, _)| *gate);
        let gates: Vec<GateNo> = about.collect();
        self.emit(Event::ToolEnded { turn, call, outcome, text });
        for gate in gates {
            self.emit(Event::GateOutcome { gate, outcome });
        }
    }

    /// The process is gone. `unseen`: whether it may have done what nobody has a record of.
    fn exited(&mut self, attempt: AttemptNo, exit: Option<Exit>, stderr: Vec<String>, unseen: bool) {
        let (Some(before), interrupt, closing) = (
            self.state.process.clone().attempt().cloned(),
            self.state.interrupt.clone(),
            self.state.closing.clone(),
        ) else {
            return;
        };
        let ready = matches!(self.state.process, Process::Live(_));
        let busy = self.state.turn.is_some() || self.state.own_turn.is_some() || !ready;
        let verdict = match &exit {
            Some(exit) => judge(
                exit.status,
                interrupt.as_ref(),
                closing.as_ref(),
                &before.sent,
                before.stdin_closed,
                busy,
            ),
            None => Verdict::Unknown,
        };
        let lost = matches!(exit.as_ref().and_then(|exit| exit.hint), Some(ExitHint::ConversationLost));
        if lost && !matches!(self.state.conversation, Conversation::Lost { .. }) && before.resume.is_some() {
            let message = exit.as_ref().and_then(|exit| exit.stderr.last().cloned()).unwrap_or_default();
            self.emit(Event::ConversationLost { message });
        }
        self.settle();
        let closing_by = closing.as_ref().and_then(|closing| closing.why.by().map(ToOwned::to_owned));
        let cut = verdict == Verdict::Asked && (interrupt.is_some() || closing_by.is_some());
        let unknown = !self.state.open_tools.is_empty();
        self.end_open_tools(Some(if cut { ToolOutcome::Cut } else { ToolOutcome::Unknown }));
        self.drop_gates_and_tasks();
        self.keep_settings();
        let asked = match (&closing, &interrupt) {
            (Some(closing), _) => matches!(closing.why, Closing::AfterInterrupt) && self.state.cut,
            (None, Some(interrupt)) => {
                matches!(interrupt.cause, InterruptCause::Asked { .. }) || self.state.held.is_some()
            }
            (None, None) => false,
        };
        self.end_cut_turns(
            exit.as_ref(),
            verdict,
            interrupt.as_ref(),
            closing_by.as_deref(),
            unseen,
            unknown,
        );
        match exit.clone() {
            Some(exit) => self.emit(Event::AttemptExited { attempt, exit, verdict }),
            None => self.emit(Event::AttemptLost { attempt, stderr }),
        }
        let closing = closing.map(|closing| closing.why);
        self.after_exit(Gone { closing, exit, verdict, ready, asked, attempt: before });
    }

    fn drop_gates_and_tasks(&mut self) {
        // One that was decided stays decided, whether the agent had the answer or not.
        self.withdraw_gates(Withdrawal::ProcessGone);
        let tasks: Vec<TaskKey> = self.state.tasks.keys().cloned().collect();
        for task in tasks {
            self.emit(Event::TaskEnded { task, how: "process ended".to_owned() });
        }
    }

    fn end_cut_turns(
        &mut self,
        exit: Option<&Exit>,
        verdict: Verdict,
        interrupt: Option<&super::state::Interrupt>,
        closing_by: Option<&str>,
        unseen: bool,
        unknown: bool,
    ) {
        let usage = Usage::default();
        if let Some(own) = self.state.own_turn.clone() {
            let interrupt = interrupt.filter(|interrupt| interrupt.turn == own.no);
            let outcome = cut_outcome(exit, verdict, interrupt, closing_by, true);
            self.end_turn(own.no, None, outcome, usage.clone(), unknown);
        }
        if let Some(turn) = self.state.turn.clone() {
            let interrupt = interrupt.filter(|interrupt| interrupt.turn == turn.no);
            let reached = unseen || turn.stage > Stage::Sending;
            let outcome = cut_outcome(exit, verdict, interrupt, closing_by, reached);
            self.end_turn(turn.no, Some(turn.prompt), outcome, usage, unknown);
        }
    }

    fn after_exit(&mut self, gone: Gone) {
        let Gone { closing, exit, verdict, ready, asked, attempt } = gone;
        let timed_out = closing == Some(Closing::HandshakeTimeout);
        let ours = closing.is_some();
        match closing {
            Some(Closing::Stop { by } | Closing::Kill { by }) => return self.end(End::Stopped { by }),
            // A prompt that came while the session was on its way out keeps it open.
            Some(Closing::Done { end }) if self.state.queue.is_empty() && !self.state.launch_wanted => {
                return self.end(end);
            }
            Some(
                Closing::Done { .. }
                | Closing::AfterInterrupt
                | Closing::Relaunch { .. }
                | Closing::LoggedIn
                | Closing::ConversationLost
                | Closing::HandshakeTimeout,
            )
            | None => {}
        }
        if let Conversation::Lost { message } = self.state.conversation.clone() {
            // Nothing is lost by beginning anew where nothing had begun. And who cancelled the turn that met the loss
            // is told when they go on.
            match (self.state.turns_before > 0, asked) {
                (true, false) => self.end(End::Failed { reason: EndReason::ConversationLost, message }),
                (true, true) if self.state.held.is_none() => {
                    self.emit(Event::Held { by: "lockkeeper".to_owned() });
                }
                (true, true) | (false, _) => {}
            }
            return;
        }
        if timed_out {
            let message = format!(
                "the agent was not ready within {} s of its start",
                attempt.manner.handshake_ms / 1000
            );
            return self.end(End::Failed { reason: EndReason::Handshake, message });
        }
        match verdict {
            Verdict::Asked | Verdict::Left => return,
            Verdict::Unknown if ours => return,
            Verdict::Crashed | Verdict::Unknown => {}
        }
        if let Some(exit) = exit.filter(|_| !ready && !asked) {
            let message = format!("the agent ended before it was ready: {}", last_words(&exit));
            return self.end(End::Failed { reason: EndReason::Handshake, message });
        }
        self.count_crash(asked);
    }

    fn count_crash(&mut self, asked: bool) {
        let now = self.env.now.clone();
        let recent = self
            .state
            .crashes
            .iter()
            .filter(|then| now.awake_since(then).is_some_and(|ms| ms <= limits::CRASH_WINDOW_MS))
            .count();
        let one_shot = self.state.profile.lifetime == Lifetime::OneShot && self.state.queue.is_empty();
        // Nothing starts again by itself after an interrupt: that is no loop, and no failure of the session.
        if recent > limits::CRASHES && !asked {
            let message = format!(
                "its process ended unasked {recent} times within {} minutes",
                limits::CRASH_WINDOW_MS / 60_000
            );
            self.end(End::Failed { reason: EndReason::CrashLoop, message });
        } else if !one_shot {
            let doubled = limits::BACKOFF_MS << u32::try_from(recent.saturating_sub(1)).unwrap_or(0).min(16);
            let wait_ms = doubled.min(limits::BACKOFF_MAX_MS);
            self.emit(Event::BackoffSet { crashes: u32::try_from(recent).unwrap_or(u32::MAX), wait_ms });
        }
    }
}

/// A process that is gone, and how it stood.
struct Gone {
    /// Why it was being ended, if it was.
    closing: Option<Closing>,
    /// How it ended; none if there is no record of that.
    exit: Option<Exit>,
    verdict: Verdict,
    /// Whether it had come so far as to take prompts.
    ready: bool,
    /// Whether somebody had asked to cancel its turn.
    asked: bool,
    attempt: Attempt,
}

fn last_words(exit: &Exit) -> String {
    match exit.stderr.last() {
        Some(line) => format!("it {} and said: {line}", exit.status),
        None => format!("it {} and said nothing", exit.status),
    }
}

/// What a turn came to: what the agent says, read in the light of what was asked.
fn outcome_of(ending: Ending, cause: Option<&InterruptCause>, stopped_by: Option<String>) -> Outcome {
    let cancelled = match (cause, stopped_by) {
        (Some(InterruptCause::Asked { by }), _) => Some(Outcome::Interrupted { by: by.clone() }),
        (Some(InterruptCause::Deadline { what }), _) => {
            Some(Outcome::Failed { kind: FailureKind::Deadline, message: what.clone() })
        }
        (Some(InterruptCause::Preempted { by }), _) => Some(Outcome::Preempted { by: *by }),
        (None, Some(by)) => Some(Outcome::Interrupted { by }),
        (None, None) => None,
    };
    match (ending, cancelled) {
        // It came to its end before the cancel could reach it: that is what happened.
        (Ending::Completed, _) => Outcome::Completed,
        (Ending::Aborted | Ending::Failed { .. }, Some(cancelled)) => cancelled,
        (Ending::Aborted, None) => Outcome::Interrupted { by: "agent".to_owned() },
        (Ending::Refused, _) => Outcome::Refused,
        (Ending::Limit { which }, _) => Outcome::Limit { which },
        (Ending::Failed { kind, message }, None) => Outcome::Failed { kind, message },
    }
}
