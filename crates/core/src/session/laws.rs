//! What holds after every step, whatever was put in: for the tests of the core, and for the simulator.
//!
//! A law that is broken ends the run by a panic that says which.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "whoever looks at laws is a test, and a broken one ends it"
)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a law looks for one kind among all; a new kind changes nothing"
)]
#![expect(clippy::missing_panics_doc, reason = "they are all about that")]

mod transitions;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::agent::Action;
use crate::claim::{Claim, ClaimState};
use crate::gate::{Decision, GateState};
use crate::id::{AttemptNo, GateNo, PromptNo, TurnNo};
use crate::limits;
use crate::prompt::{OnPreempt, Prompt};
use crate::session::{
    Duty, Env, Envelope, Event, Head, Input, Life, Op, Process, Rejection, SlotUse, State, Status, deadline,
    duties, slot_use, status, step,
};
use crate::time::Stamp;
use crate::turn::Outcome;

pub use transitions::{LEGAL, is_legal, label};

/// What the log told so far, as far as the laws need it.
#[derive(Debug, Default, Clone)]
pub struct Laws {
    /// Whether printing and reading is left to others, for the sake of time.
    pub brief: bool,
    pub(super) folded: Option<State>,
    /// The status as it would be if every start of the daemon knew at once, and since when it may be said to be that.
    lasting: Option<(Status, Vec<Stamp>)>,
    /// Those that it was before in the same moment, while nobody was told, and that moment.
    left: Vec<(Status, Vec<Stamp>, Stamp)>,
    accepted: BTreeSet<PromptNo>,
    started: BTreeMap<PromptNo, TurnNo>,
    written: BTreeSet<PromptNo>,
    answered: BTreeMap<GateNo, Decision>,
    ended_prompts: BTreeSet<PromptNo>,
    dropped: BTreeSet<PromptNo>,
    turns: BTreeSet<TurnNo>,
    ended_turns: BTreeSet<TurnNo>,
    gates: BTreeMap<GateNo, &'static str>,
    /// The number behind what was intended last, by attempt, for what is written and for signals.
    numbers: BTreeMap<(AttemptNo, &'static str), u64>,
    /// The changes of status that were told.
    pub transitions: BTreeSet<(&'static str, &'static str)>,
}

impl Laws {
    /// Looks at a session that was just made.
    pub fn created(&mut self, state: &State, log: &[Envelope]) {
        assert_eq!(log[0].event.kind(), "session.created");
        let folded = State::fold(&state.id, log).unwrap();
        assert_eq!(&folded, state, "the fold of the first events");
        self.folded = Some(folded);
        for envelope in log {
            self.note(&envelope.event);
            round_trip(envelope);
        }
        self.moves("(new)", label(state));
        self.lasts(state, &state.created);
        stands(state);
        self.adds_up(state);
        snapshot_stands(state);
    }

    /// Looks at a step: the state before it, what was put in, what came of it, and the state after it.
    pub fn stepped(
        &mut self,
        before: &State,
        input: &Input,
        result: &Result<Vec<Envelope>, Rejection>,
        after: &State,
        env: &Env,
    ) {
        let Ok(events) = result else {
            assert_eq!(before, after, "a rejection of {input:?} changed something");
            return;
        };
        for (envelope, seq) in events.iter().zip(before.seq + 1..) {
            assert_eq!(envelope.seq, seq, "numbers without gaps");
            assert_eq!(envelope.at, env.now, "the time is the input's");
            if !self.brief {
                round_trip(envelope);
            }
            self.note(&envelope.event);
        }
        let folded = self.folded.as_mut().unwrap();
        for (at, envelope) in events.iter().enumerate() {
            serves(folded, &envelope.event);
            let before = at.checked_sub(1).and_then(|before| events.get(before));
            goes_on(folded, &envelope.event, before);
            folded.fold_on([envelope]).unwrap();
        }
        assert_eq!(folded, after, "the fold of the log is the state after {input:?}");
        if events.is_empty() {
            assert_eq!(before, after, "{input:?} changed the state without an event");
            return;
        }
        honest(before, events, after);
        if status(before) != status(after) {
            self.moves(label(before), label(after));
        }
        self.lasts(after, &env.now);
        stands(after);
        yields(after, env);
        begins(events, after, env);
        if !self.brief {
            snapshot_stands(after);
        }
        self.adds_up(after);
        waits_are_named(after, env);
        ticks_lead_on(after, env);
    }

    pub(super) fn lasts(&mut self, state: &State, now: &Stamp) {
        let known = status(&State { settled_since_boot: true, ..state.clone() });
        if self.lasting.as_ref().is_none_or(|(lasting, _)| *lasting != known) {
            // What was over in the same moment, and told to nobody, may count as if it had not been.
            self.left.retain(|(_, _, at)| at == now);
            let again = self.left.iter().filter(|(left, ..)| *left == known);
            let sinces = again.flat_map(|(_, sinces, _)| sinces.clone()).chain([now.clone()]).collect();
            if let Some((left, sinces)) = self.lasting.replace((known, sinces)) {
                self.left.push((left, sinces, now.clone()));
            }
        }
        if status(state) != Status::Unknown {
            let (shown, since) = (state.status.status, &state.status.since);
            let told = |(lasting, sinces): &(Status, Vec<Stamp>)| *lasting == shown && sinces.contains(since);
            let lasts = self.lasting.as_ref().is_some_and(told);
            assert!(lasts, "since when it lasts: {shown:?} since {since:?}, and not {:?}", self.lasting);
            self.lasting = Some((shown, vec![since.clone()]));
            self.left.clear();
        }
    }

    pub(super) fn moves(&mut self, from: &'static str, to: &'static str) {
        assert!(is_legal(from, to), "{from} → {to} is no legal transition");
        self.transitions.insert((from, to));
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::PromptAccepted { prompt } => {
                assert!(self.accepted.insert(prompt.no), "a prompt is accepted once");
            }
            Event::PromptDropped { prompt, .. } => {
                assert!(!self.started.contains_key(prompt), "a prompt that had its turn is dropped");
                assert!(self.dropped.insert(*prompt), "a prompt is dropped once");
            }
            Event::TurnStarted { turn, prompt, .. } => {
                assert!(self.accepted.contains(prompt) && !self.dropped.contains(prompt), "it waits");
                assert!(self.turns.insert(*turn), "a turn's number is never used again");
                assert_eq!(self.started.insert(*prompt, *turn), None, "a prompt gets one turn");
            }
            Event::OwnTurnBegun { turn, .. } => {
                assert!(self.turns.insert(*turn), "a turn's number is never used again");
            }
            Event::TurnEnded { turn, prompt, .. } => {
                assert!(self.turns.contains(turn), "a turn that ends has begun");
                assert!(self.ended_turns.insert(*turn), "a turn ends once");
                if let Some(prompt) = prompt {
                    assert_eq!(self.started.get(prompt), Some(turn), "a turn ends with its own prompt");
                    assert!(self.ended_prompts.insert(*prompt), "a prompt ends once");
                }
            }
            Event::OutboxIntended { op: Op::Write(Action::Prompt { turn, prompt }), .. } => {
                assert!(self.written.insert(*prompt), "a prompt is written once");
                assert_eq!(self.started.get(prompt), Some(turn), "a prompt is written for its turn");
            }
            Event::OutboxIntended { op: Op::Write(Action::Answer { gate, decision, .. }), .. } => {
                assert_eq!(self.gates.get(gate), Some(&"open"), "an open gate is answered");
                assert_eq!(self.answered.insert(*gate, decision.clone()), None, "a gate is answered once");
            }
            Event::GateOpened { gate } => {
                assert_eq!(self.gates.insert(gate.no, "open"), None, "a gate's number is never used again");
            }
            Event::GateDecided { gate, verdict, .. } => {
                let answered = self.answered.get(gate);
                let as_decided = answered.is_none_or(|answer| *answer == verdict.decision);
                assert!(as_decided, "{gate} is answered as it is decided");
                assert_eq!(self.gates.insert(*gate, "decided"), Some("open"), "an open gate is decided");
            }
            Event::GateDelivered { gate } => {
                assert_eq!(self.gates.insert(*gate, "delivered"), Some("decided"), "a decision is delivered");
            }
            Event::GateWithdrawn { gate, .. } => {
                assert_eq!(self.gates.insert(*gate, "withdrawn"), Some("open"), "an open gate is withdrawn");
            }
            _ => {}
        }
        self.numbered(event);
    }

    /// A holder takes what is new by its number, and what it has taken before not again.
    fn numbered(&mut self, event: &Event) {
        let (attempt, lane, number) = match event {
            Event::OutboxIntended { attempt, number, .. } => (*attempt, "outbox", *number),
            Event::SignalIntended { attempt, number, .. } => (*attempt, "signals", *number),
            _ => return,
        };
        let next = self.numbers.entry((attempt, lane)).or_insert(1);
        assert_eq!(number, *next, "what is intended has the next number of its lane");
        *next += 1;
    }

    /// What has begun and not come to its end is what the state has, in whatever state that is.
    pub(super) fn adds_up(&self, state: &State) {
        let in_flight: BTreeSet<&TurnNo> = self.turns.difference(&self.ended_turns).collect();
        let known: BTreeSet<&TurnNo> =
            state.turn.iter().map(|t| &t.no).chain(state.own_turn.iter().map(|t| &t.no)).collect();
        assert_eq!(in_flight, known, "the turns that have begun and not ended");
        let is_open = |(no, how): (&GateNo, &&'static str)| (*how == "open").then_some(*no);
        let open: BTreeSet<GateNo> = self.gates.iter().filter_map(is_open).collect();
        let shown = state.gates.values().filter(|gate| matches!(gate.state, GateState::Open));
        let shown: BTreeSet<GateNo> = shown.map(|gate| gate.no).collect();
        assert_eq!(open, shown, "the gates that have opened and not closed");
        let settled = |prompt: &&PromptNo| self.dropped.contains(prompt) || self.started.contains_key(prompt);
        let waiting: BTreeSet<PromptNo> =
            self.accepted.iter().filter(|prompt| !settled(prompt)).copied().collect();
        let queued: BTreeSet<PromptNo> = state.queue.iter().map(|prompt| prompt.no).collect();
        assert_eq!(waiting, queued, "the prompts that were accepted, and neither dropped nor begun");
    }
}

/// Every wait has a name, and a bound or a visible reason.
pub(super) fn waits_are_named(state: &State, env: &Env) {
    if !state.settled_since_boot || matches!(state.life, Life::Ended { .. }) {
        return;
    }
    let due = deadline(state, &env.now.boot);
    let climbed = |climb: &crate::session::Climb| climb.taken == climb.rungs.len();
    let exit_awaited = state.closing.as_ref().map(|c| &c.climb).is_some_and(climbed)
        || state.interrupt.as_ref().map(|i| &i.climb).is_some_and(climbed);
    let tool_runs = !state.open_tools.is_empty();
    let delegated = !state.settled();
    let reason = due.is_some() || exit_awaited || tool_runs || state.has_open_gate();
    let closing = state.closing.is_some();
    let opening = matches!(state.process, Process::Launching(_) | Process::Opening(_));
    if state.turn.is_some() || state.own_turn.is_some() || state.interrupt.is_some() || opening {
        assert!(reason, "nothing leads on from {}: {state:#?}", status(state));
    }
    if closing {
        assert!(reason || delegated, "nothing leads on from {}: {state:#?}", status(state));
    }
    let waits = state.next_prompt_to_serve().is_some() || state.launch_wanted;
    if waits && state.settled() {
        let busy = state.process.attempt().is_some();
        let slot = matches!(slot_use(state), SlotUse::Wants { .. });
        assert!(reason || slot || (busy && closing), "a prompt waits for nothing: {state:#?}");
    }
}

/// O37: who is served is before all others, and nobody of its class or below goes before a claim whose turn it is.
pub(super) fn serves(state: &State, event: &Event) {
    let Event::TurnStarted { prompt, .. } = event else { return };
    let next = state.queue.find(*prompt).unwrap();
    assert_eq!((&next.parked, &state.held), (&None, &None), "what is held is served");
    let order = |prompt: &Prompt| (prompt.place(), prompt.continues.is_none(), prompt.no);
    for other in state.queue.iter().filter(|other| other.parked.is_none()) {
        assert!(order(next) <= order(other), "{other:?} is passed over for {next:?}");
    }
    for claim in state.claims.values().filter(|claim| Some(claim.no) != next.claim) {
        let first = (Reverse(next.class), next.rank) < (Reverse(claim.class), claim.rank);
        assert!(first, "{next:?} goes before {claim:?}");
        let begun = claim.state != ClaimState::Waiting;
        assert!(!begun || next.class > claim.class, "{next:?} goes in the middle of {claim:?}");
        assert!(claim.state != ClaimState::Held, "{next:?} goes while it is the turn of {claim:?}");
    }
}

/// O39: what was cut short is gone on with at once, unless its caller wanted otherwise.
pub(super) fn goes_on(state: &State, event: &Event, before: Option<&Envelope>) {
    let Event::TurnEnded { turn, prompt, outcome: Outcome::Preempted { .. }, .. } = event else { return };
    let cut = state.turn.as_ref().filter(|cut| cut.no == *turn).map(|cut| &cut.prompt);
    assert_eq!(cut.map(|cut| cut.no), *prompt);
    assert!(cut.is_none_or(|cut| cut.times_cut() < limits::PREEMPTIONS), "it was cut short too often");
    if cut.is_some_and(|cut| cut.on_preempt == OnPreempt::Drop) {
        return;
    }
    let Some(Event::PromptAccepted { prompt: again }) = before.map(|before| &before.event) else {
        panic!("the work of {turn} is lost");
    };
    assert_eq!(again.continues.as_ref().map(|continues| continues.turn), Some(*turn));
    if let Some(cut) = cut {
        let waiting = state.queue.find(again.no).unwrap();
        let same = |prompt: &Prompt| (prompt.class, prompt.claim, prompt.caller.clone(), prompt.text.clone());
        assert_eq!(same(waiting), same(cut));
        let mut others = state
            .queue
            .iter()
            .filter(|other| other.no != waiting.no && other.class == waiting.class && other.parked.is_none());
        let first = others.all(|other| {
            let begun =
                |claim| state.claims.get(&claim).is_some_and(|claim| claim.state != ClaimState::Waiting);
            let of_holder = other.claim.is_some_and(begun);
            waiting.place() <= other.place() || of_holder
        });
        assert!(waiting.parked.is_some() || first, "{waiting:?} is not at the head of its class");
    }
}

/// Nothing begins without a slot, and whoever wants one begins as soon as it has it.
pub(super) fn begins(events: &[Envelope], after: &State, env: &Env) {
    let begun = |events: &[Envelope]| {
        let begins =
            |e: &Envelope| matches!(e.event, Event::TurnStarted { .. } | Event::AttemptLaunched { .. });
        events.iter().any(begins)
    };
    assert!(env.admits && !env.paused || !begun(events), "something began without a slot");
    if matches!(slot_use(after), SlotUse::Wants { .. }) {
        assert!(!env.admits || env.paused, "it waits for a slot that it could have");
        let admitted = Env { admits: true, paused: false, ..env.clone() };
        let events = step(&mut after.clone(), Input::Tick, &admitted).unwrap();
        assert!(begun(&events), "it wants a slot and does not use it: {events:?}");
    }
}

/// O30, O31: what would cut the running turn short does, whenever it came.
pub(super) fn yields(state: &State, env: &Env) {
    let busy = state.closing.is_none() && state.interrupt.is_none() && state.held.is_none();
    // Nothing is cut for what could not begin anyway.
    let busy = busy && state.limited_until.is_none() && !state.awaits_login();
    let (Some(class), true) = (state.running_class(), busy && state.settled_since_boot && !env.paused) else {
        return;
    };
    if state.turn.as_ref().is_some_and(|turn| turn.prompt.times_cut() >= limits::PREEMPTIONS) {
        return;
    }
    // Who is first could not begin, and did not ask for it.
    let calls = |first: &Claim| first.preempt && first.state == ClaimState::Waiting;
    if matches!(state.head(), Some(Head::Claim(first)) if !calls(first)) {
        return;
    }
    let mut prompts = state.queue.iter().filter(|prompt| prompt.parked.is_none());
    assert!(!prompts.any(|prompt| prompt.preempt && prompt.class > class), "a preemption was lost");
    let mut claims = state.claims.values().filter(|claim| claim.state == ClaimState::Waiting);
    assert!(!claims.any(|claim| claim.preempt && claim.class > class), "a claim's preemption was lost");
}

/// An event survives being stored.
fn round_trip(envelope: &Envelope) {
    let data = envelope.event.data();
    let back = Event::decode(envelope.event.kind(), &data).unwrap();
    assert_eq!(back, envelope.event, "{data}");
}

/// The status that is told is the status that is.
pub(super) fn honest(before: &State, events: &[Envelope], after: &State) {
    assert_eq!(after.status.status, status(after), "the status told last");
    let told: Vec<_> = events.iter().filter(|e| e.event.kind() == "session.status_changed").collect();
    if status(before) == status(after) {
        assert!(told.is_empty(), "a change of status is told, and there is none");
        return;
    }
    assert_eq!(told.len(), 1, "a change of status is told once");
    let last = events.last().unwrap();
    let Event::StatusChanged { from, to, cause } = &last.event else {
        panic!("the change of status is not the last event: {events:?}");
    };
    assert_eq!((*from, *to), (Some(status(before)), status(after)));
    // A status that a start of the daemon only interrupted keeps the cause that it had.
    assert!(after.status.cause == *cause || status(before) == Status::Unknown);
    assert!(
        events.iter().any(|e| e.seq == cause.seq && e.event.kind() == cause.kind),
        "its cause is in the step"
    );
}

fn snapshot_stands(state: &State) {
    let json = serde_json::to_string(state).unwrap();
    assert_eq!(&serde_json::from_str::<State>(&json).unwrap(), state, "a snapshot survives being stored");
}

/// What a state may look like between two steps.
pub fn stands(state: &State) {
    let process = state.process.attempt();
    if let Life::Ended { .. } = state.life {
        assert!(status(state).is_end() && state.settled_since_boot);
        assert!(process.is_none(), "an ended session has a process");
        assert!(!state.launch_wanted && state.held.is_none() && state.backoff_until.is_none());
        assert!(
            state.claims.is_empty() && state.bypass.is_none(),
            "a claim or a bypass outlives the session"
        );
        assert_eq!(deadline(state, &state.created.boot), None, "an ended session awaits something");
    }
    let held = state.claims.values().filter(|claim| claim.state == ClaimState::Held).count();
    assert!(held <= 1, "two claims are held");
    if process.is_none() {
        assert!(state.turn.is_none() && state.own_turn.is_none(), "a turn without a process");
        assert!(state.interrupt.is_none() && state.closing.is_none(), "the end of a process that is gone");
        assert!(state.gates.values().all(|gate| gate.before_turns), "a gate outlives its process");
        assert!(
            state.controls.is_empty() && state.wanted.is_none(),
            "a wish waits for a process that is gone"
        );
        assert!(state.open_tools.is_empty() && state.tasks.is_empty());
        let beside = |duty: &Duty| matches!(duty, Duty::Tell { .. } | Duty::WriteRule { .. });
        assert!(state.settled_since_boot && duties(state).iter().all(beside));
    }
    if state.turn.is_some() {
        assert!(matches!(state.process, Process::Live(_)), "a turn in a process that is not ready");
    }
    if state.own_turn.is_some() {
        assert!(matches!(state.process, Process::Live(_) | Process::Opening(_)));
    }
    if let Some(interrupt) = &state.interrupt {
        let runs = [state.turn.as_ref().map(|t| t.no), state.own_turn.as_ref().map(|t| t.no)];
        assert!(runs.contains(&Some(interrupt.turn)), "a cancel outlives its turn");
    }
    for gate in state.gates.values().filter(|gate| !gate.before_turns) {
        assert_eq!(process.map(|attempt| attempt.no), Some(gate.attempt), "a gate outlives its process");
    }
    if state.awaits_login() {
        let asked_for = state.closing.as_ref().is_some_and(|closing| closing.why.by().is_some());
        assert!(!asked_for && matches!(state.life, Life::Open), "a login is awaited in what somebody ends");
        assert!(state.turn.is_none(), "a turn runs that a login is awaited for");
    }
    let open = |gate: &&crate::gate::Gate| matches!(gate.state, GateState::Open) && !gate.before_turns;
    if state.gates.values().any(|gate| open(&gate)) {
        let beside = state.gates.values().filter(open).all(|gate| gate.ask.beside_turn);
        assert!(
            state.closing.is_none() && (state.interrupt.is_none() || beside),
            "a gate is open in what is ending"
        );
        assert!(process.is_some_and(|attempt| !attempt.stdin_closed), "a gate that nobody could answer");
    }
    if process.is_some_and(crate::session::Attempt::leaving) {
        assert!(state.closing.is_some() || state.interrupt.is_some(), "a process leaves, and nobody asked");
    }
    // Every entry of the outbox that is to be written can be: the lane has no gaps, and a prompt has its text.
    if let Some(attempt) = process {
        let numbers: Vec<u64> = attempt.outbox.pending.iter().map(|out| out.number).collect();
        assert!(numbers.is_sorted() && numbers.last().is_none_or(|last| *last < attempt.outbox.next));
        for duty in duties(state) {
            if let crate::session::Duty::Write { op: Op::Write(Action::Prompt { .. }), text, .. } = duty {
                assert!(text.is_some(), "a prompt to be written has no text");
            }
        }
    }
}

/// A tick at a deadline does what the deadline is for: the same deadline is never due twice.
fn ticks_lead_on(state: &State, env: &Env) {
    let Some(due) = deadline(state, &env.now.boot) else { return };
    let mut env = env.clone();
    env.now.awake = env.now.awake.max(due.at);
    let mut next = state.clone();
    step(&mut next, Input::Tick, &env).unwrap();
    if let Some(again) = deadline(&next, &env.now.boot) {
        assert!(again != due, "{due:?} is due for ever: {state:#?}");
        assert!(
            again.at > env.now.awake || next.seq > state.seq,
            "{again:?} follows at once, and nothing happened"
        );
    }
}
