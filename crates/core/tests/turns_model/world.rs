//! A session with its callers, its agent and its host, and what each of them may do next.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use lockkeeper_core::agent::{Action, AgentSays};
use lockkeeper_core::gate::{Decision, GateState};
use lockkeeper_core::id::{AttemptNo, ClaimNo, GateNo, PromptNo};
use lockkeeper_core::item::{Item, ItemBody};
use lockkeeper_core::json::Json;
use lockkeeper_core::policy::{ToolKind, ToolUse};
use lockkeeper_core::prompt::{Class, OnPreempt};
use lockkeeper_core::session::{
    Always, Command, ExitStatus, Input, Move, NewClaim, NewPrompt, Observation, Op, Process, Stage, State,
    Why, deadline,
};
use lockkeeper_core::turn::{Ending, TurnBy, Usage};

use crate::given::{NOW, ask, boot, command, exit, process, stamp};
use crate::told::Told;

/// How often each thing may happen, which bounds the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Bounds {
    pub(crate) interrupts: u8,
    pub(crate) expiries: u8,
    pub(crate) gates: u8,
    pub(crate) tools: u8,
    pub(crate) own_turns: u8,
    pub(crate) exits: u8,
    pub(crate) restarts: u8,
    pub(crate) rungs: u8,
    pub(crate) shortages: u8,
    pub(crate) moves: u8,
}

/// Somebody who wants turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Caller {
    pub(crate) class: Class,
    pub(crate) on_preempt: OnPreempt,
    /// Whether it claims the session first.
    pub(crate) claims: bool,
    pub(crate) claim: Option<ClaimNo>,
    /// How many prompts are left to send.
    pub(crate) prompts: u8,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Claims(usize),
    Prompts(usize),
    Releases(usize),
    /// Moves a prompt that waits to the front of its class.
    Moves(PromptNo),
    Interrupts,
    Resumes,
    Decides(GateNo),
    Expires(ClaimNo),
    RungIsDue,
    BackoffIsOver,
    Spawned,
    Accepted(u64),
    Written(u64),
    Ready,
    Taken,
    Completes,
    Aborts,
    BeginsItself,
    /// Whether it was cut short.
    EndsItself(bool),
    Asks,
    TakesBack,
    StartsTool,
    Crashes,
    Leaves,
    DaemonRestarts,
    Adopted,
    HolderLost,
    /// Whether the host has one.
    Slot(bool),
}

/// A session with its callers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) told: Told,
    pub(crate) callers: Vec<Caller>,
    /// What may still happen.
    pub(crate) left: Bounds,
    /// Whether the host gives it a slot.
    pub(crate) slot: bool,
    /// Which properties the last step broke.
    pub(crate) broken: BTreeSet<&'static str>,
    /// The hash of all of this.
    pub(crate) key: u64,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key.hash(hasher);
    }
}

/// Who the callers are; the last is the one who also interrupts and resumes.
const NAMES: [&str; 3] = ["worker", "first", "user"];

impl World {
    pub(crate) fn attempt(&self) -> Option<AttemptNo> {
        self.state.process.attempt().map(|attempt| attempt.no)
    }

    /// What the core is told of it.
    pub(crate) fn input(&self, act: Act) -> Option<Input> {
        let says = |says| Some(Input::Observation(Observation::Agent { attempt: self.attempt()?, says }));
        let ended = |by, aborted| {
            let ending = if aborted { Ending::Aborted } else { Ending::Completed };
            says(AgentSays::TurnEnded { by, ending, usage: Usage::default() })
        };
        let attempt = self.attempt();
        let sees = |observation| Some(Input::Observation(observation));
        match act {
            Act::Claims(who) => {
                let Caller { class, on_preempt, .. } = self.callers[who];
                let preempt = class == Class::Urgent;
                let claim = NewClaim { class, ttl_ms: 60_000, preempt, on_preempt };
                Some(command(NAMES[who], Command::Claim(claim)))
            }
            Act::Prompts(who) => {
                let Caller { class, on_preempt, claim, .. } = self.callers[who];
                let preempt = class == Class::Urgent;
                let prompt = NewPrompt { claim, preempt, on_preempt, ..NewPrompt::new("work", class) };
                Some(command(NAMES[who], Command::Prompt(prompt)))
            }
            Act::Releases(who) => {
                Some(command(NAMES[who], Command::EndClaim { claim: self.callers[who].claim? }))
            }
            Act::Moves(prompt) => {
                let to = Some(Move::First);
                Some(command("user", Command::EditPrompt { prompt, text: None, class: None, to }))
            }
            Act::Interrupts => Some(command("user", Command::Interrupt { turn: None })),
            Act::Resumes => Some(command("user", Command::Resume)),
            Act::Decides(gate) => Some(command(
                "user",
                Command::Decide {
                    gate,
                    decision: Decision::Allow,
                    always: Always::Once,
                    tool_use: Some(ToolUse::of("Bash", ToolKind::Execute).into()),
                },
            )),
            Act::Expires(_) | Act::RungIsDue | Act::BackoffIsOver | Act::Slot(_) => Some(Input::Tick),
            Act::Spawned => sees(Observation::Spawned { attempt: attempt?, process: process() }),
            Act::Accepted(number) => sees(Observation::Accepted { attempt: attempt?, number }),
            Act::Written(number) => sees(Observation::Written { attempt: attempt?, number }),
            Act::Ready => says(AgentSays::Ready { version: None }),
            Act::Taken => says(AgentSays::PromptTaken),
            Act::Completes => ended(TurnBy::Prompt, false),
            Act::Aborts => ended(TurnBy::Prompt, true),
            Act::BeginsItself => says(AgentSays::TurnBegan { by: TurnBy::Agent }),
            Act::EndsItself(aborted) => ended(TurnBy::Agent, aborted),
            Act::Asks => {
                says(AgentSays::Asked { ask: ask(), tool_use: ToolUse::of("Bash", ToolKind::Execute).into() })
            }
            Act::TakesBack => says(AgentSays::AskWithdrawn { request: ask().request }),
            Act::StartsTool => {
                let body = ItemBody::ToolCall { tool: "Bash".to_owned(), input: Json::parse("{}").unwrap() };
                let item = Item { key: "t1".parse().unwrap(), parent: None, body };
                says(AgentSays::ToolStarted { item })
            }
            Act::Crashes => {
                sees(Observation::Exited { attempt: attempt?, exit: exit(ExitStatus::Signal(11)) })
            }
            Act::Leaves => sees(Observation::Exited { attempt: attempt?, exit: exit(ExitStatus::Code(0)) }),
            Act::DaemonRestarts => sees(Observation::Unsettled),
            Act::Adopted => sees(Observation::Adopted { attempt: attempt? }),
            Act::HolderLost => {
                sees(Observation::HolderLost { attempt: attempt?, journal_whole: true, stderr: vec![] })
            }
        }
    }

    /// Lets the time of one wait pass, and of no other.
    pub(crate) fn age(&mut self, act: Act) {
        match act {
            Act::Expires(claim) => {
                self.state.claims.entry(claim).and_modify(|claim| claim.renewed = stamp(0));
            }
            Act::RungIsDue => {
                let closing = self.state.closing.iter_mut().map(|closing| &mut closing.climb);
                let interrupt = self.state.interrupt.iter_mut().map(|interrupt| &mut interrupt.climb);
                closing.chain(interrupt).for_each(|climb| climb.since = stamp(0));
            }
            Act::BackoffIsOver => self.state.backoff_until = Some(stamp(NOW)),
            _ => {}
        }
    }

    /// Takes from the bounds what an act costs.
    pub(crate) fn pay(&mut self, act: Act) {
        let spent = match act {
            Act::Moves(_) => &mut self.left.moves,
            Act::Interrupts => &mut self.left.interrupts,
            Act::Expires(_) => &mut self.left.expiries,
            Act::Asks => &mut self.left.gates,
            Act::StartsTool => &mut self.left.tools,
            Act::BeginsItself => &mut self.left.own_turns,
            Act::Crashes => &mut self.left.exits,
            Act::DaemonRestarts => &mut self.left.restarts,
            Act::RungIsDue => &mut self.left.rungs,
            Act::Slot(false) => &mut self.left.shortages,
            Act::Prompts(who) => &mut self.callers[who].prompts,
            Act::Claims(who) => {
                self.callers[who].claim = Some(self.state.next_claim);
                self.callers[who].claims = false;
                return;
            }
            _ => return,
        };
        *spent -= 1;
    }

    /// What people and programs may ask for next, and what befalls the daemon and the host.
    pub(crate) fn callers_acts(&self, acts: &mut Vec<Act>) {
        for (who, caller) in self.callers.iter().enumerate() {
            let has = caller.claim.is_some_and(|claim| self.told.claims.contains_key(&claim));
            if caller.claims {
                acts.push(Act::Claims(who));
            } else if caller.prompts > 0 && (caller.claim.is_none() || has) {
                acts.push(Act::Prompts(who));
            }
            if has && caller.prompts == 0 {
                acts.push(Act::Releases(who));
            }
        }
        if self.left.moves > 0 {
            let claimed = |claim: ClaimNo| self.told.claims.contains_key(&claim);
            let free = self.told.waiting.iter().filter(|(_, promise)| !promise.claim.is_some_and(claimed));
            acts.extend(free.map(|(no, _)| Act::Moves(*no)));
        }
        if self.left.interrupts > 0 {
            acts.push(Act::Interrupts);
        }
        if self.state.held.is_some() || self.state.queue.iter().any(|prompt| prompt.parked.is_some()) {
            acts.push(Act::Resumes);
        }
        if self.left.expiries > 0 {
            acts.extend(self.state.claims.keys().copied().map(Act::Expires));
        }
        if self.left.restarts > 0 && self.attempt().is_some() && self.state.settled_since_boot {
            acts.push(Act::DaemonRestarts);
        }
        if self.slot && self.left.shortages > 0 {
            acts.push(Act::Slot(false));
        }
    }

    /// What the agent, its holder, the host and the clock do without being asked.
    pub(crate) fn worlds_acts(&self, acts: &mut Vec<Act>) {
        if !self.slot {
            acts.push(Act::Slot(true));
        }
        match deadline(&self.state, &boot()).map(|due| due.why) {
            Some(Why::Rung) if self.left.rungs > 0 => acts.push(Act::RungIsDue),
            Some(Why::Backoff) => acts.push(Act::BackoffIsOver),
            _ => {}
        }
        if !self.state.settled_since_boot {
            acts.extend([Act::Adopted, Act::HolderLost]);
        }
        let Some(attempt) = self.state.process.attempt() else { return };
        let pending = &attempt.outbox.pending;
        if let Some(out) = pending.front() {
            let prompt = matches!(out.op, Op::Write(Action::Prompt { .. }));
            acts.push(if prompt && !out.accepted {
                Act::Accepted(out.number)
            } else {
                Act::Written(out.number)
            });
        }
        match self.state.process {
            Process::Launching(_) => return acts.push(Act::Spawned),
            Process::Opening(_) if pending.is_empty() => acts.push(Act::Ready),
            Process::Opening(_) | Process::Live(_) | Process::Absent => {}
        }
        if self.left.exits > 0 {
            acts.push(Act::Crashes);
        }
        if attempt.leaving() && (pending.is_empty() || !attempt.sent.is_empty()) {
            acts.push(Act::Leaves);
        }
        self.agents_acts(pending.is_empty(), acts);
    }

    /// What an agent does that heard everything, if `heard`.
    fn agents_acts(&self, heard: bool, acts: &mut Vec<Act>) {
        let state = &self.state;
        let cancelled = heard && state.interrupt.as_ref().is_some_and(|interrupt| interrupt.climb.taken > 0);
        let came = state.turn.as_ref().map(|turn| turn.stage);
        if state.own_turn.is_some() {
            acts.push(Act::EndsItself(cancelled));
        } else if came.is_none() && self.left.own_turns > 0 && matches!(state.process, Process::Live(_)) {
            acts.push(Act::BeginsItself);
        }
        if came == Some(Stage::Written) && state.own_turn.is_none() {
            acts.push(Act::Taken);
        }
        if came == Some(Stage::Running) {
            acts.push(Act::Completes);
            if cancelled {
                acts.push(Act::Aborts);
            }
            if self.left.gates > 0 && state.gates.is_empty() {
                acts.push(Act::Asks);
            }
            if self.left.tools > 0 && state.open_tools.is_empty() {
                acts.push(Act::StartsTool);
            }
        }
        let open = state.gates.values().find(|gate| matches!(gate.state, GateState::Open));
        if let Some(gate) = open {
            acts.extend([Act::Decides(gate.no), Act::TakesBack]);
        }
    }
}
