//! What the log is worth: folding, unknown kinds, damage, duties and statuses by name.

use std::collections::BTreeSet;

use super::world::*;
use crate::session::*;
use crate::turn::Ending;

#[test]
fn o21_a_kind_that_is_not_known_is_kept_and_changes_nothing() {
    let data = r#"{"deep": {"order": [3, 1, 2]}, "a":  1}"#;
    let event = Event::decode("quantum.entangled", data).unwrap();
    assert_eq!((event.kind(), event.data().as_str()), ("quantum.entangled", data));
    let mut w = World::running();
    let before = w.state.clone();
    w.state.evolve(&Envelope { seq: before.seq + 1, at: w.env.now.clone(), event });
    w.state.seq = before.seq;
    assert_eq!(w.state, before);
}

#[test]
fn o21_a_damaged_log_is_refused() {
    let w = World::running();
    let id = &w.state.id;
    let none: [Envelope; 0] = [];
    assert!(matches!(State::fold(id, &none), Err(FoldError::NoBeginning { .. })));
    assert!(matches!(State::fold(id, &w.log[1..]), Err(FoldError::NoBeginning { .. })));
    let mut gap = w.log.clone();
    gap.remove(3);
    assert_eq!(State::fold(id, &gap), Err(FoldError::Gap { session: id.clone(), expected: 4, found: 5 }));
    let mut twice = w.log.clone();
    twice.insert(3, w.log[2].clone());
    assert_eq!(State::fold(id, &twice), Err(FoldError::Gap { session: id.clone(), expected: 4, found: 3 }));
    for (kind, data) in [("turn.ended", "{}"), ("turn.ended", "{"), ("no.such.kind", "{")] {
        let error = Event::decode(kind, data).unwrap_err();
        assert!(error.to_string().starts_with(&format!("event {kind:?} cannot be read")), "{error}");
    }
}

#[test]
fn the_kinds_of_events_are_named_once() {
    let kinds: BTreeSet<_> = KINDS.iter().collect();
    assert_eq!(kinds.len(), KINDS.len());
    insta::assert_snapshot!(KINDS.join("\n"));
}

#[test]
fn deciding_leaves_the_state_alone() {
    let w = World::running();
    let request = Request { by: "ann".to_owned(), command: Command::Interrupt { turn: None } };
    let before = w.state.clone();
    let events = decide(&w.state, Input::Command(request), &w.env).unwrap();
    assert_eq!((events.len(), &w.state), (5, &before));
}

#[test]
fn a_status_has_its_time_and_its_cause() {
    let mut w = World::running();
    w.wait(777);
    w.interrupt();
    let now = w.env.now.clone();
    w.wait(10);
    w.starts_tool("t1");
    assert_eq!(w.state.status.since, now);
    assert_eq!(w.state.status.cause.kind, "interrupt.asked");
}

#[test]
fn w07_the_words_of_statuses_read_back_and_so_do_those_of_other_systems() {
    for status in Status::ALL {
        assert_eq!(status.word().parse::<Status>().unwrap(), status);
        assert_eq!(status.to_string(), status.word());
    }
    assert_eq!("input_required".parse::<Status>().unwrap(), Status::AwaitingInput);
    assert_eq!("waiting_input".parse::<Status>().unwrap(), Status::AwaitingInput);
    assert_eq!("completing".parse::<Status>().unwrap(), Status::Interrupting);
    assert!("dead".parse::<Status>().is_err());
}

#[test]
fn what_is_under_way_is_neither_begun_again_nor_forgotten() {
    let w = World::launching();
    let all = duties(&w.state);
    let ids: BTreeSet<DutyId> = all.iter().map(Duty::id).collect();
    assert_eq!(ids.len(), 2);
    let fresh = reconcile(all.clone(), &BTreeSet::new());
    assert_eq!((fresh.start, fresh.drop), (all.clone(), vec![]));
    let done = reconcile(all, &ids);
    assert_eq!((done.start, done.drop), (vec![], vec![]));
    let gone = reconcile(vec![], &ids);
    assert_eq!((gone.start, gone.drop), (vec![], ids.into_iter().collect()));
}

#[test]
fn what_a_launch_needs_is_in_its_duty() {
    let mut new = new_session(Lifetime::Kept, Some("first"));
    new.model = Some("opus".to_owned());
    new.mode = Some("plan".to_owned());
    let w = World::of(new, manner());
    let Some(Duty::Launch(plan)) = duties(&w.state).into_iter().next() else { panic!() };
    assert_eq!(
        (plan.dir.as_str(), plan.model.as_deref(), plan.mode.as_deref()),
        ("/work", Some("opus"), Some("plan"))
    );
    assert_eq!((plan.drain_ms, plan.resume), (2_000, None));
}

#[test]
fn o07_every_change_of_status_has_its_event_with_where_it_came_from() {
    let mut w = World::one_shot();
    w.requests("r1");
    w.decide(1, crate::gate::Decision::Allow).unwrap();
    w.ends(Ending::Completed);
    w.falls_due(Why::Settle);
    w.writes();
    w.exits(ExitStatus::Code(0));
    let told: Vec<_> = w
        .log
        .iter()
        .filter_map(|e| match &e.event {
            Event::StatusChanged { from, to, cause } => {
                Some((from.map_or("", Status::word), to.word(), cause.kind.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            ("", "starting", "prompt.accepted"),
            ("starting", "running", "attempt.ready"),
            ("running", "awaiting_input", "gate.opened"),
            ("awaiting_input", "running", "gate.decided"),
            ("running", "idle", "turn.ended"),
            ("idle", "stopping", "closing.asked"),
            ("stopping", "completed", "attempt.exited"),
        ]
    );
}
