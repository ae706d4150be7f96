//! That the laws about a state, a log and a step find what breaks them: a row for each.

use super::laws_fire::assert_found;
use super::world::*;
use crate::agent::{Action, TaskKind};
use crate::claim::{Claim, ClaimState};
use crate::gate::{Bypass, Decision, Withdrawal};
use crate::id::{AttemptNo, ClaimNo, GateNo, PromptNo, TurnNo};
use crate::manner::Scope;
use crate::prompt::{Class, Continues, CutBy, OnPreempt, Prompt};
use crate::session::laws::{Laws, begins, goes_on, serves, stands, waits_are_named, yields};
use crate::session::*;
use crate::turn::{Ending, Outcome, Preemptor, Usage};

fn suspended() -> State {
    World::suspended().state
}

fn running() -> State {
    World::running().state
}

fn at_a_gate() -> State {
    let mut w = World::running();
    w.requests("r1");
    w.state
}

fn ended() -> State {
    let mut w = World::running();
    w.stop();
    w.exits(ExitStatus::Code(0));
    w.state
}

fn interrupting() -> State {
    let mut w = World::running();
    w.interrupt();
    w.state
}

fn stopping() -> State {
    let mut w = World::running();
    w.stop();
    w.state
}

fn of_agent_itself() -> State {
    let mut w = World::idle();
    w.begins_itself();
    w.state
}

fn with_work_beside() -> State {
    let mut w = World::running();
    w.starts_tool("toolu_1");
    w.starts_task("t", TaskKind::Delegated);
    w.set_model("opus");
    w.state
}

fn switching() -> State {
    let mut w = World::idle();
    w.set_model("opus");
    w.state
}

/// A session in which a prompt waits behind the turn that runs.
fn with_a_queue(class: Class) -> State {
    let mut w = World::running();
    w.prompt_as(class, "second");
    w.state
}

fn claimed(state: ClaimState) -> State {
    let mut w = World::running();
    w.asks(Command::Claim(new_claim(Class::Normal)));
    let claim = w.state.claims.values_mut().next().unwrap();
    *claim = Claim { state, ..claim.clone() };
    w.state
}

fn attempt(state: &mut State) -> &mut Attempt {
    state.process.attempt_mut().unwrap()
}

/// What follows once an event is folded.
fn after(state: &State, event: Event) -> State {
    let mut state = state.clone();
    let (seq, at) = (state.seq + 1, stamp(100_000));
    state.evolve(&Envelope { seq, at, event });
    state
}

#[test]
fn a_state_that_cannot_be_is_found() {
    type Break = fn(&mut State);
    let rows: Vec<(&str, State, Break)> = vec![
        ("an ended session has a process", ended(), |s| s.process = running().process),
        ("!state.launch_wanted", ended(), |s| s.launch_wanted = true),
        ("state.held.is_none()", ended(), |s| s.held = Some("ann".to_owned())),
        ("state.backoff_until.is_none()", ended(), |s| s.backoff_until = Some(stamp(1))),
        ("state.settled_since_boot", ended(), |s| s.settled_since_boot = false),
        ("a claim or a bypass outlives", ended(), |s| s.claims = claimed(ClaimState::Held).claims),
        ("a claim or a bypass outlives", ended(), |s| {
            s.bypass =
                Some(Bypass { kinds: Vec::new(), by: "ann".to_owned(), ms: 1000, began: stamp(100_000) });
        }),
        ("two claims are held", claimed(ClaimState::Held), |s| {
            let claim = s.claims.values().next().unwrap().clone();
            s.claims.insert(ClaimNo(9), Claim { no: ClaimNo(9), ..claim });
        }),
        ("a turn without a process", suspended(), |s| s.turn = running().turn),
        ("a turn without a process", suspended(), |s| s.own_turn = of_agent_itself().own_turn),
        ("a process that is gone", suspended(), |s| s.interrupt = interrupting().interrupt),
        ("a process that is gone", suspended(), |s| s.closing = stopping().closing),
        ("a gate outlives its process", suspended(), |s| s.gates = at_a_gate().gates),
        ("a wish waits for a process", suspended(), |s| s.controls = switching().controls),
        ("a wish waits for a process", suspended(), |s| s.wanted = with_work_beside().wanted),
        ("state.open_tools.is_empty()", suspended(), |s| s.open_tools = with_work_beside().open_tools),
        ("state.tasks.is_empty()", suspended(), |s| s.tasks = with_work_beside().tasks),
        ("state.settled_since_boot", suspended(), |s| s.settled_since_boot = false),
        ("a turn in a process that is not ready", World::launching().state, |s| s.turn = running().turn),
        ("Process::Live(_) | Process::Opening(_)", World::launching().state, |s| {
            s.own_turn = of_agent_itself().own_turn;
        }),
        ("a cancel outlives its turn", interrupting(), |s| {
            s.interrupt.as_mut().unwrap().turn = TurnNo(9);
        }),
        ("a gate outlives its process", at_a_gate(), |s| attempt(s).no = AttemptNo(9)),
        ("a gate is open in what is ending", at_a_gate(), |s| s.closing = stopping().closing),
        ("a gate is open in what is ending", at_a_gate(), |s| s.interrupt = interrupting().interrupt),
        ("a gate that nobody could answer", at_a_gate(), |s| attempt(s).stdin_closed = true),
        ("a process leaves, and nobody asked", running(), |s| attempt(s).stdin_closed = true),
        ("a process leaves, and nobody asked", running(), |s| {
            let (scope, signal) = (Scope::Leader, Signal::Int);
            attempt(s).sent.push(SignalOut { number: 1, scope, signal });
        }),
        ("attempt.outbox.next", interrupting(), |s| attempt(s).outbox.next = 1),
        ("is_sorted()", switching(), |s| {
            let outbox = &mut attempt(s).outbox;
            let mut last = outbox.pending.back().unwrap().clone();
            last.number -= 1;
            outbox.pending.push_back(last);
        }),
    ];
    for (law, whole, breaks) in rows {
        stands(&whole);
        let mut broken = whole.clone();
        breaks(&mut broken);
        assert_found(law, || stands(&broken));
    }
}

#[test]
fn a_login_is_awaited_in_nothing_that_ends_or_runs() {
    let mut w = World::running();
    w.misses_a_login();
    let awaiting = &w.state;
    assert!(awaiting.awaits_login());
    stands(awaiting);
    let turn = running().turn;
    for (law, broken) in [
        ("a login is awaited in what", State { closing: stopping().closing, ..awaiting.clone() }),
        ("a turn runs that a login is awaited for", State { turn, ..awaiting.clone() }),
    ] {
        assert_found(law, || stands(&broken));
    }
}

#[test]
fn what_a_log_may_not_tell_is_found() {
    let mut w = World::running();
    w.requests("r1");
    w.decide(1, Decision::Allow).unwrap();
    w.writes();
    w.ends(Ending::Completed);
    let laws = &w.laws;
    let told = |kind: &str| {
        let found = w.log.iter().find(|envelope| envelope.event.kind() == kind);
        found.unwrap_or_else(|| panic!("no {kind}")).event.clone()
    };
    let turn_ended = |turn, prompt| {
        let (outcome, usage) = (Outcome::Completed, Usage::default());
        Event::TurnEnded { turn: TurnNo(turn), prompt: Some(PromptNo(prompt)), outcome, usage }
    };
    let started = |turn, prompt| Event::TurnStarted {
        turn: TurnNo(turn),
        prompt: PromptNo(prompt),
        attempt: AttemptNo(1),
    };
    let accepted = |no| {
        let Event::PromptAccepted { mut prompt } = told("prompt.accepted") else { panic!() };
        prompt.no = PromptNo(no);
        Event::PromptAccepted { prompt }
    };
    let dropped = |no| Event::PromptDropped { prompt: PromptNo(no), by: "ann".to_owned() };
    let written = |turn, prompt| {
        let action = Action::Prompt { turn: TurnNo(turn), prompt: PromptNo(prompt) };
        Event::OutboxIntended { attempt: AttemptNo(1), number: 9, op: Op::Write(action) }
    };
    let own = |turn| Event::OwnTurnBegun { turn: TurnNo(turn), attempt: AttemptNo(1) };
    let withdrawn = |no| Event::GateWithdrawn { gate: GateNo(no), why: Withdrawal::ByAgent };
    for (law, events) in [
        ("a prompt is accepted once", vec![told("prompt.accepted")]),
        ("a prompt that had its turn is dropped", vec![dropped(1)]),
        ("a prompt is dropped once", vec![accepted(2), dropped(2), dropped(2)]),
        ("it waits", vec![started(2, 7)]),
        ("it waits", vec![accepted(2), dropped(2), started(2, 2)]),
        ("a turn's number is never used again", vec![accepted(2), started(1, 2)]),
        ("a turn's number is never used again", vec![own(1)]),
        ("a prompt gets one turn", vec![started(2, 1)]),
        ("a turn that ends has begun", vec![turn_ended(2, 1)]),
        ("a turn ends with its own prompt", vec![accepted(2), started(2, 2), turn_ended(2, 1)]),
        ("a prompt is written once", vec![written(1, 1)]),
        ("a prompt is written for its turn", vec![accepted(2), started(2, 2), written(1, 2)]),
        ("a gate's number is never used again", vec![told("gate.opened")]),
        ("a decision is delivered", vec![told("gate.delivered")]),
        ("an open gate is withdrawn", vec![withdrawn(1)]),
        ("an open gate is withdrawn", vec![withdrawn(8)]),
        ("has the next number of its lane", vec![accepted(2), started(2, 2), written(2, 2)]),
    ] {
        assert_found(law, || {
            let mut laws: Laws = laws.clone();
            for event in &events {
                laws.note(event);
            }
        });
    }
    assert_found("is no legal transition", || laws.clone().moves("completed", "running"));
    laws.clone().moves("idle", "running");
}

#[test]
fn a_step_that_is_not_what_its_events_say_is_found() {
    let w = World::running();
    let mut next = w.clone();
    next.prompt("second");
    let (before, events, env) = (&w.state, &next.last, &w.env);
    let step = |before: &State, result: Result<Vec<Envelope>, Rejection>, after: &State| {
        w.laws.clone().stepped(before, &Input::Tick, &result, after, env);
    };
    step(before, Ok(events.clone()), &next.state);
    let of = |change: fn(&mut Envelope)| {
        let mut events = events.clone();
        change(&mut events[0]);
        Ok(events)
    };
    assert_found("a rejection of", || step(before, Err(Rejection::EmptyPrompt), &next.state));
    assert_found("numbers without gaps", || step(before, of(|event| event.seq += 1), &next.state));
    assert_found("the time is the input's", || {
        step(before, of(|event| event.at = stamp(1)), &next.state);
    });
    assert_found("the fold of the log is the state", || step(before, Ok(events.clone()), before));
    let silent = State { cut: true, ..before.clone() };
    assert_found("changed the state without an event", || {
        let mut laws = w.laws.clone();
        laws.folded = Some(silent.clone());
        laws.stepped(before, &Input::Tick, &Ok(Vec::new()), &silent, env);
    });
}

#[test]
fn whoever_is_passed_over_is_found() {
    let mut w = World::running();
    w.prompt("second");
    w.prompt("third");
    w.prompt_as(Class::Background, "fourth");
    let turn =
        |prompt| Event::TurnStarted { turn: TurnNo(2), prompt: PromptNo(prompt), attempt: AttemptNo(1) };
    serves(&w.state, &turn(2));
    assert_found("is passed over", || serves(&w.state, &turn(3)));
    assert_found("is passed over", || serves(&w.state, &turn(4)));
    let held = State { held: Some("ann".to_owned()), ..w.state.clone() };
    assert_found("what is held is served", || serves(&held, &turn(2)));
    let claim = |state, class, rank| {
        let mut with_claim = State { claims: claimed(state).claims, ..w.state.clone() };
        let claim = with_claim.claims.values_mut().next().unwrap();
        (claim.class, claim.rank) = (class, rank);
        with_claim
    };
    let rank = w.state.queue.find(PromptNo(2)).unwrap().rank;
    serves(&claim(ClaimState::Waiting, Class::Normal, rank + 1), &turn(2));
    serves(&claim(ClaimState::Suspended, Class::Background, rank), &turn(2));
    assert_found("goes before", || serves(&claim(ClaimState::Waiting, Class::Normal, rank), &turn(2)));
    assert_found("goes before", || serves(&claim(ClaimState::Waiting, Class::Normal, rank - 1), &turn(2)));
    assert_found("goes before", || serves(&claim(ClaimState::Waiting, Class::Urgent, rank + 1), &turn(2)));
    assert_found("in the middle of", || {
        serves(&claim(ClaimState::Suspended, Class::Normal, rank + 1), &turn(2));
    });
    assert_found("while it is the turn of", || {
        serves(&claim(ClaimState::Held, Class::Background, rank), &turn(2));
    });
}

#[test]
fn work_that_is_cut_short_and_not_gone_on_with_is_found() {
    let mut w = World::running();
    let by = Preemptor::Prompt(PromptNo(2));
    let ended = Event::TurnEnded {
        turn: TurnNo(1),
        prompt: Some(PromptNo(1)),
        outcome: Outcome::Preempted { by },
        usage: Usage::default(),
    };
    assert_found("the work of t1 is lost", || goes_on(&w.state, &ended, None));
    let turn = w.state.turn.as_mut().unwrap();
    turn.prompt.on_preempt = OnPreempt::Drop;
    goes_on(&w.state, &ended, None);
    let goes_on_at = |rank: i64, claim: Option<ClaimState>| {
        let mut state = with_a_queue(Class::Normal);
        if let Some(claim) = claim {
            state.claims = claimed(claim).claims;
            state.queue.change(PromptNo(2), |of_claim| of_claim.claim = Some(ClaimNo(1)));
        }
        let cut = state.turn.as_ref().unwrap().prompt.clone();
        let other = state.queue.iter().next().unwrap().rank;
        let continues = Some(Continues { turn: TurnNo(1), begun: true, times: 1, why: CutBy::default() });
        let again = Prompt { no: PromptNo(9), rank: other + rank, continues, ..cut };
        let accepted = Envelope { seq: 1, at: stamp(1), event: Event::PromptAccepted { prompt: again } };
        goes_on(&after(&state, accepted.event.clone()), &ended, Some(&accepted));
    };
    goes_on_at(-1, None);
    assert_found("is not at the head of its class", || goes_on_at(1, None));
    // Who has claimed the next turns and has begun goes on before that.
    goes_on_at(1, Some(ClaimState::Suspended));
    assert_found("is not at the head of its class", || goes_on_at(1, Some(ClaimState::Waiting)));
}

#[test]
fn what_begins_without_a_slot_or_waits_for_one_that_is_free_is_found() {
    let mut w = World::idle();
    w.prompt("first");
    let begun = w.last.clone();
    begins(&begun, &w.state, &w.env);
    assert_found("without a slot", || begins(&begun, &w.state, &Env { admits: false, ..w.env.clone() }));
    assert_found("without a slot", || begins(&begun, &w.state, &Env { paused: true, ..w.env.clone() }));
    let waiting = World::without_a_slot();
    begins(&[], &waiting.state, &waiting.env);
    let admitting = Env { admits: true, ..waiting.env.clone() };
    assert_found("a slot that it could have", || begins(&[], &waiting.state, &admitting));
    begins(&[], &waiting.state, &Env { paused: true, ..admitting });
}

#[test]
fn a_preemption_that_is_lost_is_found() {
    let env = World::running().env;
    yields(&with_a_queue(Class::Urgent), &env);
    let preempting = |class| {
        let state = with_a_queue(class);
        let mut prompt = state.queue.iter().next().unwrap().clone();
        (prompt.no, prompt.preempt, prompt.rank) = (PromptNo(9), true, prompt.rank + 1);
        after(&state, Event::PromptAccepted { prompt })
    };
    let lost = preempting(Class::Urgent);
    yields(&preempting(Class::Normal), &env);
    assert_found("a preemption was lost", || yields(&lost, &env));
    // What could not begin anyway cuts nothing.
    yields(&lost, &Env { paused: true, ..env.clone() });
    for excused in [
        State { held: Some("ann".to_owned()), ..lost.clone() },
        State { interrupt: interrupting().interrupt, ..lost.clone() },
        State { closing: stopping().closing, ..lost.clone() },
        State { limited_until: Some(stamp(200_000)), ..lost.clone() },
        State { settled_since_boot: false, ..lost.clone() },
    ] {
        yields(&excused, &env);
    }
    let claim = |class, preempt| {
        let mut state = claimed(ClaimState::Waiting);
        let claim = state.claims.values_mut().next().unwrap();
        (claim.class, claim.preempt) = (class, preempt);
        state
    };
    yields(&claim(Class::Urgent, false), &env);
    yields(&claim(Class::Normal, true), &env);
    assert_found("a claim's preemption was lost", || yields(&claim(Class::Urgent, true), &env));
}

#[test]
fn what_waits_for_nothing_is_found() {
    let env = World::running().env;
    let absent = |state: State| State { process: Process::Absent, ..state };
    for whole in [running(), interrupting(), of_agent_itself(), World::launching().state] {
        waits_are_named(&whole, &env);
    }
    for broken in [running(), of_agent_itself(), State { turn: None, ..interrupting() }] {
        assert_found("nothing leads on", || waits_are_named(&absent(broken), &env));
    }
    let closing = |taken| {
        let mut state = State { turn: None, ..absent(stopping()) };
        let climb = &mut state.closing.as_mut().unwrap().climb;
        climb.taken = if taken { climb.rungs.len() } else { 0 };
        state
    };
    assert_found("nothing leads on", || waits_are_named(&closing(false), &env));
    waits_are_named(&closing(true), &env);
    // What is not known, and what has ended, awaits nothing.
    for excused in [
        State { settled_since_boot: false, ..absent(running()) },
        State { life: ended().life, ..absent(running()) },
    ] {
        waits_are_named(&excused, &env);
    }
}
