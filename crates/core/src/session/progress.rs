//! What follows by itself once an input is taken in: launches, turns, ends.

use std::sync::Arc;

use super::deadline::ending;
use super::decide::Step;
use super::end::{Closing, End, EndReason};
use super::event::{Event, Op};
use super::state::{Conversation, Life, Lifetime, Process, State};
use crate::agent::Action;
use crate::manner::{Handshake, Manner, Resumes, Rung};
use crate::turn::Outcome;

impl Step<'_> {
    /// Does what the state calls for. Each rule changes what it looked at, so this comes to an end.
    pub(super) fn progress(&mut self) {
        if !self.state.settled_since_boot || matches!(self.state.life, Life::Ended { .. }) {
            return;
        }
        self.expire_claims();
        self.expire_bypass();
        self.lift_limit();
        if self.state.closing.is_none() && self.state.interrupt.is_none() {
            self.preempt_if_called_for();
        }
        if self.state.closing.is_some() || self.state.interrupt.is_some() {
            self.climb_if_due();
            return;
        }
        self.grant_claim();
        match &self.state.process {
            Process::Absent => self.launch_if_wanted(),
            Process::Launching(_) | Process::Opening(_) => {}
            Process::Live(attempt) if attempt.leaving() => {}
            Process::Live(_) => self.use_process(),
        }
        self.finish_if_done();
    }

    /// The limit of the agent's account is over once its moment has come.
    fn lift_limit(&mut self) {
        let Some(until) = &self.state.limited_until else { return };
        let now = &self.env.now;
        if until.boot != now.boot && until.wall_ms > now.wall_ms {
            // The machine was started again: the moment is another one on its clock.
            let (until_ms, what) = (until.wall_ms, "the same".to_owned());
            self.emit(Event::Limited { until_ms, what });
        } else if until.boot != now.boot || until.awake <= now.awake {
            self.emit(Event::LimitOver {});
        }
    }

    fn launch_if_wanted(&mut self) {
        let limited = self.state.limited_until.is_some();
        let work = !limited && !self.state.awaits_login() && self.state.next_prompt_to_serve().is_some();
        if !work && !self.state.launch_wanted {
            return;
        }
        // Begun anew it would be another conversation; that is for somebody to decide.
        if let Conversation::Lost { message } = &self.state.conversation
            && self.state.turns_before > 0
        {
            let message = message.clone();
            return self.end(End::Failed { reason: EndReason::ConversationLost, message });
        }
        if let Some(until) = &self.state.backoff_until {
            if until.boot == self.env.now.boot && until.awake > self.env.now.awake {
                return;
            }
            self.emit(Event::BackoffOver {});
        }
        if self.env.paused || !self.env.admits {
            return;
        }
        let resume = match (&self.state.conversation, self.env.manner.resumes) {
            (Conversation::Known(id), Resumes::ById) => Some(id.clone()),
            (Conversation::Known(_) | Conversation::None | Conversation::Lost { .. }, _) => None,
        };
        self.emit(Event::AttemptLaunched {
            attempt: self.state.next_attempt,
            manner: self.manner(),
            resume,
            model: self.state.profile.model.clone(),
            mode: self.state.profile.mode.clone(),
            workspace: Some(self.env.at_launch.workspace.clone()).filter(|workspace| !workspace.is_empty()),
        });
    }

    /// How the agent is treated. Where rules may hold up what it would not ask about, it announces its steps; and its input
    /// is not closed to end it, for an agent whose input is closed may take what was not answered for a yes.
    fn manner(&self) -> Arc<Manner> {
        let manner = &self.env.manner;
        if manner.handshake != Handshake::Initialize
            || !self.policy_at_launch().may_tighten(&self.state.subject())
        {
            return manner.clone();
        }
        let mut guarded = Manner { handshake: Handshake::InitializeGuarded, ..(**manner).clone() };
        for ladder in [&mut guarded.interrupt, &mut guarded.stop] {
            ladder.retain(|rung| *rung != Rung::CloseStdin);
        }
        Arc::new(guarded)
    }

    /// A process that has just come up is greeted as its manner wants.
    pub(super) fn greet(&mut self) {
        let Some(attempt) = self.state.process.attempt() else { return };
        match attempt.manner.handshake {
            // It is shown out at once.
            Handshake::Initialize | Handshake::InitializeGuarded if self.state.closing.is_some() => {}
            Handshake::Initialize => {
                self.write(Op::Write(Action::Initialize));
            }
            Handshake::InitializeGuarded => {
                self.write(Op::Write(Action::InitializeGuarded));
            }
            Handshake::None => {
                let event = Event::AttemptReady { attempt: attempt.no, version: None };
                self.emit(event);
            }
        }
    }

    fn use_process(&mut self) {
        if self.state.turn.is_some() || self.state.own_turn.is_some() {
            return;
        }
        let limited = self.state.limited_until.is_some();
        let waits = limited || self.state.awaits_login();
        if self.settings_before_turn() || self.env.paused || !self.env.admits || waits {
            return;
        }
        let Some(attempt) = self.state.process.attempt().map(|attempt| attempt.no) else { return };
        let Some(next) = self.state.next_prompt_to_serve() else { return };
        let (prompt, claim, turn) = (next.no, next.claim, self.state.next_turn);
        if self.state.holder().is_some_and(|holder| Some(holder.no) != claim) {
            self.suspend_holder();
        }
        self.emit(Event::TurnStarted { turn, prompt, attempt });
        self.write(Op::Write(Action::Prompt { turn, prompt }));
    }

    /// Puts something into the outbox and tells its number.
    pub(super) fn write(&mut self, op: Op) -> Option<u64> {
        let attempt = self.state.process.attempt()?;
        if attempt.stdin_closed {
            return None;
        }
        let (no, number) = (attempt.no, attempt.outbox.next);
        self.emit(Event::OutboxIntended { attempt: no, number, op });
        Some(number)
    }

    /// A one-shot session ends as its turn did, once nothing it delegated is at work.
    fn finish_if_done(&mut self) {
        if matches!(self.state.life, Life::Ended { .. }) {
            return;
        }
        let Some(end) = self.state.due_end() else { return };
        if matches!(self.state.process, Process::Absent) {
            self.end(end);
            return;
        }
        let settled = ending(self.state, &self.env.now.boot);
        if settled.is_none_or(|due| due.at <= self.env.now.awake) {
            self.close(Closing::Done { end });
        }
    }
}

impl State {
    /// How a one-shot session is to end, if nothing keeps it.
    pub(super) fn due_end(&self) -> Option<End> {
        if self.claims.is_empty() { self.end_after_claims() } else { None }
    }

    /// How it is to end once nobody has a claim on it, if nothing else keeps it.
    pub(super) fn end_after_claims(&self) -> Option<End> {
        if self.profile.lifetime == Lifetime::Kept
            || !self.queue.is_empty()
            || !self.settled()
            || self.has_open_gate()
        {
            return None;
        }
        let failed = |message: &str| {
            // Who cancelled it may want something else of it, whatever the turn came to.
            let message = message.to_owned();
            (!self.cut).then_some(End::Failed { reason: EndReason::Turn, message })
        };
        let (_, outcome) = self.last_turn.as_ref().filter(|(turn, _)| Some(*turn) > self.opened_after)?;
        match outcome {
            Outcome::Completed => Some(End::Completed),
            Outcome::Refused => failed("the model refused"),
            Outcome::Limit { which } => failed(&format!("a limit of the agent ended the turn: {which}")),
            Outcome::Failed { message, .. } => failed(message),
            Outcome::Interrupted { .. } | Outcome::Preempted { .. } | Outcome::Unknown { .. } => None,
        }
    }
}
