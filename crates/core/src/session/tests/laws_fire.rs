//! That the laws find what breaks them: each is shown something that it forbids.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::world::*;
use crate::agent::Action;
use crate::gate::Decision;
use crate::id::{AttemptNo, GateNo, NoticeNo};
use crate::manner::Scope;
use crate::notice::{Notice, NoticeKind};
use crate::session::laws::{honest, waits_are_named};
use crate::session::*;
use crate::turn::Ending;

/// The law that is found to be broken.
fn law_against(breaks: impl FnOnce()) -> String {
    let Err(told) = catch_unwind(AssertUnwindSafe(breaks)) else { return "nothing".to_owned() };
    let text = told.downcast_ref::<String>().cloned();
    text.or_else(|| told.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}

pub(super) fn assert_found(law: &str, breaks: impl FnOnce()) {
    let found = law_against(breaks);
    assert!(found.contains(law), "{law:?} is broken, and found is: {found}");
}

/// A session in a turn that waits at a gate, with a prompt behind it.
fn at_a_gate() -> World {
    let mut w = World::running();
    w.says(asking(ask("r1")));
    w.prompt("second");
    w
}

fn unsettled() -> World {
    let mut w = at_a_gate();
    w.daemon_restarts();
    assert!(!w.state.settled_since_boot);
    w
}

fn ended() -> World {
    let mut w = at_a_gate();
    w.stop();
    w.exits(ExitStatus::Code(0));
    assert!(matches!(w.state.life, Life::Ended { .. }));
    w
}

#[test]
fn a_turn_a_gate_or_a_prompt_that_is_forgotten_is_found_in_every_state() {
    for w in [at_a_gate(), unsettled()] {
        w.laws.adds_up(&w.state);
        let without_turn = State { turn: None, ..w.state.clone() };
        assert_found("the turns that have begun", || w.laws.adds_up(&without_turn));
        let without_gate = State { gates: BTreeMap::default(), ..w.state.clone() };
        assert_found("the gates that have opened", || w.laws.adds_up(&without_gate));
        let without_prompt = State { queue: Queue::default(), ..w.state.clone() };
        assert_found("the prompts that were accepted", || w.laws.adds_up(&without_prompt));
    }
    let (w, before) = (ended(), at_a_gate().state);
    w.laws.adds_up(&w.state);
    let with_turn = State { turn: before.turn, ..w.state.clone() };
    assert_found("the turns that have begun", || w.laws.adds_up(&with_turn));
    let with_gate = State { gates: before.gates, ..w.state.clone() };
    assert_found("the gates that have opened", || w.laws.adds_up(&with_gate));
    let with_prompt = State { queue: before.queue, ..w.state.clone() };
    assert_found("the prompts that were accepted", || w.laws.adds_up(&with_prompt));
}

#[test]
fn that_somebody_is_to_be_told_is_no_reason_to_wait() {
    let mut w = World::idle();
    w.env.admits = false;
    w.prompt("first");
    let asked = w.env.now.clone();
    w.state.wanted = Some(Wanted::Settings { model: None, mode: None, asked });
    assert_found("a prompt waits for nothing", || waits_are_named(&w.state, &w.env));
    for no in [NoticeNo(1), NoticeNo(2)] {
        let [about, risk, rule] = [const { String::new() }; 3];
        let notice = Notice { no, what: NoticeKind::WentOn, gate: GateNo(1), about, risk, rule };
        w.state.notices.insert(no, notice);
    }
    assert_found("a prompt waits for nothing", || waits_are_named(&w.state, &w.env));
}

#[test]
fn what_happens_twice_is_found() {
    let mut w = at_a_gate();
    w.decide(1, Decision::Allow).unwrap();
    let decided = w.last.clone();
    w.writes();
    w.ends(Ending::Completed);
    let ended = w.last.clone();
    let again = |events: &[Envelope], kind: &str| {
        let event = events.iter().find(|envelope| envelope.event.kind() == kind).unwrap();
        w.laws.clone().note(&event.event);
    };
    assert_found("a turn ends once", || again(&ended, "turn.ended"));
    assert_found("an open gate is decided", || again(&decided, "gate.decided"));
    assert_found("an open gate is answered", || again(&decided, "outbox.intended"));
    let signal =
        Event::SignalIntended { attempt: AttemptNo(1), number: 1, scope: Scope::Group, signal: Signal::Term };
    assert_found("has the next number of its lane", || {
        let mut laws = w.laws.clone();
        (0..2).for_each(|_| laws.note(&signal));
    });
}

#[test]
fn an_answer_that_is_given_twice_or_is_not_the_decision_is_found() {
    let w = at_a_gate();
    let mut decided = w.clone();
    decided.decide(1, Decision::Allow).unwrap();
    let flip = |event: &Event| {
        let mut event = event.clone();
        if let Event::OutboxIntended { op: Op::Write(Action::Answer { decision, .. }), .. } = &mut event {
            *decision = Decision::Deny { message: "no".to_owned() };
        }
        event
    };
    assert_found("a gate is answered once", || {
        let mut laws = w.laws.clone();
        (0..2).for_each(|_| laws.note(&decided.last[0].event));
    });
    assert_found("is answered as it is decided", || {
        let mut laws = w.laws.clone();
        decided.last.iter().for_each(|envelope| laws.note(&flip(&envelope.event)));
    });
}

#[test]
fn a_status_that_is_not_true_is_found() {
    let before = World::running();
    let mut after = before.clone();
    after.interrupt();
    let (events, state) = (&after.last, &after.state);
    honest(&before.state, events, state);
    let untold = events.split_last().unwrap().1;
    assert_found("a change of status is told once", || honest(&before.state, untold, state));
    let mut wrong = state.clone();
    wrong.status.status = Status::Idle;
    assert_found("the status told last", || honest(&before.state, events, &wrong));
    assert_found("a change of status is told, and there is none", || honest(state, events, state));
    let mut later = before.clone();
    later.wait(1_000);
    later.state.status.since = later.env.now.clone();
    assert_found("since when it lasts", || later.laws.lasts(&later.state, &later.env.now));
}

#[test]
fn what_was_over_in_the_moment_in_which_nobody_knew_counts_as_if_it_had_not_been_and_nothing_later() {
    let mut w = World::running();
    let known = State { status: w.state.status.clone(), ..w.state.clone() };
    w.wait(1_000);
    w.daemon_restarts();
    assert_eq!(w.state.status.status, Status::Unknown);
    let comes_back = |after_ms: u64| {
        let (mut laws, mut now) = (w.laws.clone(), w.env.now.clone());
        laws.lasts(&State { turn: None, ..w.state.clone() }, &now);
        now.awake = now.awake.plus(after_ms);
        laws.lasts(&w.state, &now);
        laws.lasts(&known, &now);
    };
    comes_back(0);
    assert_found("since when it lasts", || comes_back(1));
}
