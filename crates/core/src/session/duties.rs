//! What the shell must be doing because of the state. A restarted daemon finds the same duties.

use std::sync::Arc;

use super::event::Op;
use super::state::{Process, SignalOut, State};
use crate::agent::Action;
use crate::gate::SessionRule;
use crate::id::{AgentName, AgentSessionId, AttemptNo, NoticeNo, RuleNo};
use crate::notice::Notice;

/// The stable name of a duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DutyId {
    /// See [`Duty::Launch`].
    Launch(AttemptNo),
    /// See [`Duty::Watch`].
    Watch(AttemptNo),
    /// See [`Duty::Write`].
    Write(AttemptNo, u64),
    /// See [`Duty::Signal`].
    Signal(AttemptNo, u64),
    /// See [`Duty::Tell`].
    Tell(NoticeNo),
    /// See [`Duty::WriteRule`].
    WriteRule(RuleNo),
}

/// Something that must be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Duty {
    /// Start the attempt's holder, unless one ran already, and report whether the process runs.
    Launch(Box<LaunchPlan>),
    /// Be connected to the attempt's holder, read its journal, and report.
    Watch {
        /// The attempt.
        attempt: AttemptNo,
    },
    /// Hand an entry of the outbox to the holder.
    Write {
        /// The attempt.
        attempt: AttemptNo,
        /// Its number.
        number: u64,
        /// What it is.
        op: Op,
        /// The text of the prompt, if it is one.
        text: Option<Arc<str>>,
    },
    /// Have the holder send a signal.
    Signal {
        /// The attempt.
        attempt: AttemptNo,
        /// What.
        out: SignalOut,
    },
    /// Tell somebody something.
    Tell {
        /// What.
        notice: Notice,
    },
    /// Write a rule below those of the user, unless it is there.
    WriteRule {
        /// Which.
        rule: Box<SessionRule>,
    },
}

/// What is needed to start an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The attempt.
    pub attempt: AttemptNo,
    /// The agent.
    pub agent: AgentName,
    /// The workspace.
    pub dir: String,
    /// The model to ask for.
    pub model: Option<String>,
    /// The mode to ask for.
    pub mode: Option<String>,
    /// The conversation to continue.
    pub resume: Option<AgentSessionId>,
    /// How long its pipes may stay open after its end, in milliseconds.
    pub drain_ms: u64,
}

impl Duty {
    /// Its name.
    pub fn id(&self) -> DutyId {
        match self {
            Self::Launch(plan) => DutyId::Launch(plan.attempt),
            Self::Watch { attempt } => DutyId::Watch(*attempt),
            Self::Write { attempt, number, .. } => DutyId::Write(*attempt, *number),
            Self::Signal { attempt, out } => DutyId::Signal(*attempt, out.number),
            Self::Tell { notice } => DutyId::Tell(notice.no),
            Self::WriteRule { rule } => DutyId::WriteRule(rule.no),
        }
    }
}

/// All duties of a session, in the order in which they should begin.
pub fn duties(state: &State) -> Vec<Duty> {
    let mut duties = process_duties(state);
    duties.extend(state.wanted_rules.values().map(|rule| Duty::WriteRule { rule: Box::new(rule.clone()) }));
    duties.extend(state.notices.values().map(|notice| Duty::Tell { notice: notice.clone() }));
    duties
}

fn process_duties(state: &State) -> Vec<Duty> {
    let Some(attempt) = state.process.attempt() else { return Vec::new() };
    let mut duties = Vec::new();
    if matches!(state.process, Process::Launching(_)) {
        duties.push(Duty::Launch(Box::new(LaunchPlan {
            attempt: attempt.no,
            agent: state.profile.agent.clone(),
            dir: attempt.workspace.as_deref().unwrap_or(&state.profile.dir).to_owned(),
            model: attempt.model.clone(),
            mode: attempt.mode.clone(),
            resume: attempt.resume.clone(),
            drain_ms: attempt.manner.drain_ms,
        })));
    }
    duties.push(Duty::Watch { attempt: attempt.no });
    // Signals first: nothing that is written may stand in their way.
    for out in &attempt.signals.pending {
        duties.push(Duty::Signal { attempt: attempt.no, out: out.clone() });
    }
    for out in attempt.outbox.pending.iter().filter(|out| !out.accepted) {
        let text = match &out.op {
            Op::Write(Action::Prompt { turn, .. }) => state
                .turn
                .as_ref()
                .filter(|running| running.no == *turn)
                .map(|running| running.prompt.words()),
            Op::Write(
                Action::Initialize
                | Action::InitializeGuarded
                | Action::Pass { .. }
                | Action::Stay { .. }
                | Action::Interrupt { .. }
                | Action::Answer { .. }
                | Action::Dismiss { .. }
                | Action::Refuse { .. }
                | Action::SetModel { .. }
                | Action::SetMode { .. },
            )
            | Op::Close => None,
        };
        duties.push(Duty::Write { attempt: attempt.no, number: out.number, op: out.op.clone(), text });
    }
    duties
}
