//! When to look again, and why. Every wait has a name.

use serde::{Deserialize, Serialize};

use super::closing::next_rung;
use super::decide::Step;
use super::end::Closing;
use super::event::Op;
use super::state::{Attempt, InterruptCause, Life, Process, Stage, State, Wanted};
use crate::agent::Action;
use crate::id::TurnNo;
use crate::time::{AwakeMs, BootId, Stamp};

/// The name of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// From the launch until the process runs.
    Spawn,
    /// From then until the handshake is done.
    Handshake,
    /// Until the agent takes what is written to it.
    StdinWrite,
    /// Until the agent answers a request.
    ControlReply,
    /// Silence in a turn.
    Silence,
    /// A whole turn.
    Turn,
    /// A step of a ladder.
    Rung,
    /// What the agent needs to itself after a turn.
    Settle,
    /// Before the launch after a crash.
    Backoff,
    /// The life of a claim.
    Claim,
    /// A limit of the agent's account.
    Limit,
    /// Before a gate expires.
    GateWarning,
    /// A gate.
    Gate,
    /// The time in which steps go on that would be asked about.
    Bypass,
}

impl Why {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Handshake => "handshake",
            Self::StdinWrite => "stdin_write",
            Self::ControlReply => "control_reply",
            Self::Silence => "silence",
            Self::Turn => "turn",
            Self::Rung => "rung",
            Self::Settle => "settle",
            Self::Backoff => "backoff",
            Self::Claim => "claim",
            Self::Limit => "limit",
            Self::GateWarning => "gate_warning",
            Self::Gate => "gate",
            Self::Bypass => "bypass",
        }
    }
}

/// A moment to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deadline {
    /// When, on the awake clock of the present boot. 0 if the moment lies before this boot: at once.
    pub at: AwakeMs,
    /// Why.
    pub why: Why,
    /// The same moment on the wall clock, for people: milliseconds since 1970-01-01 UTC, if the machine does not sleep
    /// before.
    pub wall_ms: i64,
}

/// The next moment to tick, as seen in this boot of the machine.
pub fn deadline(state: &State, boot: &BootId) -> Option<Deadline> {
    if !state.settled_since_boot {
        return None;
    }
    let mut due: Vec<Deadline> =
        state.expiries(boot).chain(state.gate_deadlines(boot).map(|(_, due)| due)).collect();
    due.extend(state.bypass.as_ref().map(|bypass| at(&bypass.began, bypass.ms, Why::Bypass, boot)));
    let preempts = || state.running_class().is_some_and(|class| state.preemptor(class).is_some());
    let serves = matches!(state.life, Life::Open) && (state.next_prompt_to_serve().is_some() || preempts());
    let limited = state.limited_until.as_ref().filter(|_| serves);
    due.extend(limited.map(|until| at(until, 0, Why::Limit, boot)));
    let Some(attempt) = state.process.attempt() else {
        let waits = state.limited_until.is_some() || state.awaits_login();
        let wanted = state.launch_wanted || (!waits && state.next_prompt_to_serve().is_some());
        let backoff = state.backoff_until.as_ref().filter(|_| wanted);
        due.extend(backoff.map(|until| at(until, 0, Why::Backoff, boot)));
        return due.into_iter().min();
    };
    let manner = &attempt.manner;
    match &state.process {
        Process::Launching(_) => due.push(watched(state, &attempt.asked, manner.spawn_ms, Why::Spawn, boot)),
        Process::Opening(_) if state.closing.is_none() => {
            let spawned = attempt.spawned.as_ref().unwrap_or(&attempt.asked);
            due.push(watched(state, spawned, manner.handshake_ms, Why::Handshake, boot));
        }
        Process::Opening(_) | Process::Live(_) | Process::Absent => {}
    }
    due.extend(next_rung(state, boot).and_then(|(_, due)| due));
    due.extend(ending(state, boot));
    working(state, attempt, boot, &mut due);
    due.into_iter().min()
}

/// The moment `ms` after `from`: at once, if the machine was started again since.
pub(super) fn at(from: &Stamp, ms: u64, why: Why, boot: &BootId) -> Deadline {
    let at = if from.boot == *boot { from.awake.plus(ms) } else { AwakeMs(0) };
    let wall_ms = from.wall_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
    Deadline { at, why, wall_ms }
}

/// The same for what the daemon has a part in: time in which none ran counts against nobody.
pub(super) fn watched(state: &State, from: &Stamp, ms: u64, why: Why, boot: &BootId) -> Deadline {
    match &state.watched_since {
        Some(since) if since.boot == *boot && (from.boot != *boot || from.awake < since.awake) => {
            at(since, ms, why, boot)
        }
        Some(_) | None => at(from, ms, why, boot),
    }
}

/// Until when the agent needs the time after `ended` for itself.
pub(super) fn settle(ended: Option<&Stamp>, attempt: &Attempt, boot: &BootId) -> Option<Deadline> {
    ended.map(|ended| at(ended, attempt.manner.settle_ms, Why::Settle, boot))
}

/// When a session that is done is closed. Its agent saves the conversation after a turn, and may begin one right
/// after a task ended.
pub(super) fn ending(state: &State, boot: &BootId) -> Option<Deadline> {
    let attempt = state.process.attempt()?;
    if state.closing.is_some() || state.due_end().is_none() {
        return None;
    }
    let task = settle(state.last_task_ended.as_ref(), attempt, boot);
    settle(state.last_turn_ended.as_ref(), attempt, boot).max(task)
}

fn working(state: &State, attempt: &Attempt, boot: &BootId, due: &mut Vec<Deadline>) {
    let done = matches!(state.closing.as_ref().map(|closing| &closing.why), Some(Closing::Done { .. }));
    if state.interrupt.is_some() || (state.closing.is_some() && !done) {
        return;
    }
    let manner = &attempt.manner;
    // A turn that the agent began meanwhile is not cut for the sake of a switch.
    if !done && state.running_turn().is_none() {
        let asked = state.controls.values().filter_map(Wanted::settings_asked);
        due.extend(asked.map(|asked| watched(state, asked, manner.control_ms, Why::ControlReply, boot)));
    }
    let Some(started) =
        state.turn.as_ref().map(|t| &t.started).or(state.own_turn.as_ref().map(|t| &t.started))
    else {
        return;
    };
    if let Some(ms) = state.profile.turn_ms.or(manner.turn_ms) {
        due.push(at(started, ms, Why::Turn, boot));
    }
    let answers =
        attempt.outbox.pending.iter().filter(|out| matches!(out.op, Op::Write(Action::Answer { .. })));
    due.extend(answers.map(|out| watched(state, &out.asked, manner.write_ms, Why::StdinWrite, boot)));
    if state.has_open_gate() || !state.open_tools.is_empty() {
        return;
    }
    due.push(match state.turn.as_ref().map(|turn| turn.stage) {
        Some(Stage::Sending | Stage::Accepted) => {
            watched(state, started, manner.write_ms, Why::StdinWrite, boot)
        }
        Some(Stage::Written | Stage::Running) | None => {
            watched(state, &attempt.active, manner.silence_ms, Why::Silence, boot)
        }
    });
}

impl Wanted {
    /// When a switch was asked for; an interrupt is bounded by its ladder.
    pub(super) fn settings_asked(&self) -> Option<&Stamp> {
        match self {
            Self::Settings { asked, .. } => Some(asked),
            Self::Interrupt => None,
        }
    }
}

impl Step<'_> {
    /// Acts on the deadline that has passed, if one has.
    pub(super) fn tick(&mut self) {
        let Some(due) = deadline(self.state, &self.env.now.boot) else { return };
        if due.at > self.env.now.awake {
            return;
        }
        match due.why {
            // These are looked at by `progress` after every input.
            Why::Rung | Why::Settle | Why::Backoff | Why::Claim | Why::Limit | Why::Bypass => {}
            Why::GateWarning | Why::Gate => self.expire_gates(),
            Why::Spawn => self.spawn_overdue(),
            Why::Handshake => self.close(Closing::HandshakeTimeout),
            Why::ControlReply => {
                let overdue = self.state.controls.iter().find_map(|(no, w)| w.settings_asked().map(|_| *no));
                if let Some(control) = overdue {
                    self.settings_expired(control);
                }
            }
            Why::StdinWrite => self.turn_overdue("the agent did not read its input in time"),
            Why::Silence => self.turn_overdue("the agent was silent for too long"),
            Why::Turn => self.turn_overdue("the turn took longer than its limit"),
        }
    }

    fn turn_overdue(&mut self, what: &str) {
        let turn: Option<TurnNo> = self.state.running_turn();
        if let Some(turn) = turn {
            self.cancel(turn, InterruptCause::Deadline { what: what.to_owned() });
        }
    }

    /// The launch is overdue. The shell answers a launch with a fact as soon as there is one, so this is a machine that
    /// is too slow, or a holder that hangs. Whether a process runs is not known; the shell ends what may have begun.
    fn spawn_overdue(&mut self) {
        let Some(attempt) = self.state.process.attempt().map(|attempt| attempt.no) else { return };
        self.observe(super::observation::Observation::SpawnFailed {
            attempt,
            error: super::observation::SpawnError {
                code: "spawn_timeout".to_owned(),
                message: "the agent's process did not start in time".to_owned(),
            },
        });
    }
}
