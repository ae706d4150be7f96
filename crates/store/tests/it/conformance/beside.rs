//! What is stored beside events: keys, positions, snapshots.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::json::Json;
use lockkeeper_core::prompt::{Class, OnPreempt, Prompt};
use lockkeeper_core::session::{Event, State};
use lockkeeper_store::{Append, Appended, Cursor, EventQuery, Ingested, KeyEntry, SessionRow, Store};
use proptest::prelude::*;

use super::Place;
use crate::common::{
    PATIENCE, Session, assert_holds, ended, gate, id, key, labelled, ok, put, read_all, stamp,
};

pub(super) fn a_key_is_stored_with_its_events_and_only_once(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.key("me", "k").unwrap(), None);
    let (mut a, mut b, mut c) = (Session::new(1, None), Session::new(2, None), Session::new(3, None));
    let with = |session: &mut Session, keys: Vec<KeyEntry>| Append { keys, ..session.append(&*store) };
    // Two requests with one key at the same time: the second stores nothing.
    let answers = put(&*store, vec![with(&mut a, vec![key("k")]), with(&mut b, vec![key("x"), key("k")])]);
    assert!(matches!(answers[0], Appended::Ok { .. }));
    assert_eq!(answers[1], Appended::KeyTaken(Box::new(key("k"))));
    assert_eq!(store.key("me", "k").unwrap(), Some(key("k")));
    assert_eq!(store.key("me", "x").unwrap(), None);
    assert_eq!(store.key("you", "k").unwrap(), None);
    assert_eq!(store.session_row(&id(2)).unwrap(), None);
    // What is refused reserves nothing.
    c.put(&*store);
    let mut stale = Session::new(3, None);
    let answers = put(&*store, vec![with(&mut stale, vec![key("y")])]);
    assert_eq!(answers, [Appended::Conflict { found: 1 }]);
    assert_eq!(store.key("me", "y").unwrap(), None);
}

pub(super) fn old_keys_are_forgotten(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let with =
        |session: &mut Session, name: &str| Append { keys: vec![key(name)], ..session.append(&*store) };
    ok(&put(&*store, vec![with(&mut session, "old")])[0]);
    session.says("x").says("y");
    ok(&put(&*store, vec![with(&mut session, "new")])[0]);
    let (tell, told) = mpsc::channel();
    store.forget_keys(stamp(3).wall_ms, Box::new(move |result| tell.send(result).unwrap()));
    told.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(store.key("me", "old").unwrap(), None);
    assert_eq!(store.key("me", "new").unwrap(), Some(key("new")));
}

pub(super) fn the_last_keys_of_a_scope_are_listed(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let with = |session: &mut Session, keys| Append { keys, ..session.append(&*store) };
    let elsewhere = KeyEntry { scope: "you".to_owned(), ..key("d") };
    ok(&put(&*store, vec![with(&mut session, vec![key("c"), elsewhere])])[0]);
    session.says("x");
    ok(&put(&*store, vec![with(&mut session, vec![key("a")])])[0]);
    session.says("y");
    ok(&put(&*store, vec![with(&mut session, vec![key("b")])])[0]);
    let listed = |limit| store.keys("me", limit).unwrap();
    assert_eq!(listed(9), [key("b"), key("a"), key("c")]);
    assert_eq!(listed(1), [key("b")]);
    assert_eq!(listed(0), []);
    assert_eq!(store.keys("nobody", 9).unwrap(), []);
}

/// Keeps a fact and tells what became of that.
fn keep(store: &dyn Store, value: Option<&str>) -> Appended {
    let (tell, told) = mpsc::channel();
    store.keep_fact(
        "weather",
        value.map(str::to_owned),
        &[],
        Box::new(move |result| tell.send(result).unwrap()),
    );
    told.recv_timeout(PATIENCE).unwrap().unwrap().pop().unwrap()
}

pub(super) fn a_fact_of_the_host_is_kept_until_it_is_forgotten(place: &dyn Place) {
    let store = place.open();
    let log_id = store.log_id().to_owned();
    assert_eq!(store.fact("weather").unwrap(), None);
    for value in [Some("fair"), Some("foul"), None, Some("fair \u{1f326}")] {
        assert!(matches!(keep(&*store, value), Appended::Ok { .. }));
        assert_eq!(store.fact("weather").unwrap().as_deref(), value);
        assert_eq!((store.fact("clean").unwrap(), store.head()), (None, Cursor::START));
    }
    drop(store);
    let store = place.open();
    assert_eq!(
        (store.fact("weather").unwrap().as_deref(), store.log_id()),
        (Some("fair \u{1f326}"), &*log_id)
    );
}

pub(super) fn an_older_epoch_keeps_no_fact(place: &dyn Place) {
    let old = place.open();
    let new = place.open();
    assert_eq!(keep(&*old, Some("fair")), Appended::Fenced);
    assert_eq!(new.fact("weather").unwrap(), None);
}

pub(super) fn the_ingest_position_moves_with_the_events(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    session.put(&*store);
    assert_eq!(store.ingested(&id(1)).unwrap(), None);
    let at =
        |upto| Ingested { attempt: AttemptNo(2), upto, out_carry: Some(7), err_carry: None, rebuild_from: 3 };
    let mut append = session.says("x").append(&*store);
    append.ingested = Some(at(10));
    ok(&put(&*store, vec![append])[0]);
    assert_eq!(store.ingested(&id(1)).unwrap(), Some(at(10)));
    // An append that is not stored does not move it; one without it leaves it; one without events moves it.
    let mut stale = Append { ingested: Some(at(99)), ..session.clone().says("y").append(&*store) };
    stale.epoch = store.epoch();
    stale.expected = 1;
    stale.events[0].seq = 2;
    stale.row.seq = 2;
    assert_eq!(put(&*store, vec![stale]), [Appended::Conflict { found: 2 }]);
    session.says("y").put(&*store);
    assert_eq!(store.ingested(&id(1)).unwrap(), Some(at(10)));
    let mut empty = session.append(&*store);
    empty.ingested = Some(at(20));
    assert_eq!(put(&*store, vec![empty]), [Appended::Ok { last: Cursor(3), seq: 3 }]);
    assert_eq!(store.ingested(&id(1)).unwrap(), Some(at(20)));
    assert_holds(&*store, &[&session]);
}

pub(super) fn a_snapshot_and_the_rest_are_the_whole_fold(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let prompt = Prompt {
        no: lockkeeper_core::id::PromptNo(1),
        text: "do".into(),
        class: Class::Normal,
        rank: 2,
        caller: "tester".into(),
        key: None,
        claim: None,
        preempt: false,
        on_preempt: OnPreempt::Continue,
        continues: None,
        topic: None,
        parked: None,
        accepted: stamp(1),
    };
    session.then(Event::PromptAccepted { prompt }).then(Event::GateOpened { gate: Box::new(gate(1)) });
    for round in 0..5 {
        session.says("x").then(labelled("round", &round.to_string()));
        let mut append = session.append(&*store);
        if round % 2 == 0 {
            append.snapshot = Some(Arc::new(session.state.clone()));
        }
        ok(&put(&*store, vec![append])[0]);
        assert_eq!(store.load(&id(1)).unwrap().unwrap(), session.state);
    }
    assert_eq!(store.load(&id(1)).unwrap().unwrap(), State::fold(&id(1), &session.all).unwrap());
    assert_eq!(store.load(&id(2)).unwrap(), None);
}

pub(super) fn random_histories_fold_to_their_rows(place: &dyn Place) {
    let place: &dyn Place = place;
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let next = AtomicU64::new(1);
    let steps = proptest::collection::vec((0u8..7, 0usize..3, any::<bool>(), 0usize..70_000), 1..40);
    runner
        .run(&steps, |steps| {
            let store = place.open();
            let base = next.fetch_add(3, Ordering::Relaxed);
            let mut sessions: Vec<_> = (0..3).map(|n| Session::new(base + n, None)).collect();
            for (kind, which, store_now, size) in steps {
                let session = &mut sessions[which];
                match kind {
                    0 => session.says(&"é".repeat(size)),
                    1 => session.then(labelled("k", &size.to_string())),
                    2 => session.then(ended()),
                    3 => session.then(Event::Held { by: "tester".into() }),
                    4 => session.then(Event::Unsettled {}),
                    5 => session.then(Event::Settled {}),
                    _ => session.then(Event::Unknown {
                        kind: "odd".into(),
                        data: Json::parse(&format!("[{size}]")).unwrap(),
                    }),
                };
                if store_now {
                    let mut append = session.append(&*store);
                    append.snapshot = (size % 3 == 0).then(|| Arc::new(session.state.clone()));
                    ok(&put(&*store, vec![append])[0]);
                }
            }
            for session in &mut sessions {
                session.put(&*store);
                prop_assert_eq!(
                    store.session_row(&session.id()).unwrap(),
                    Some(SessionRow::of(&session.state))
                );
                prop_assert_eq!(store.load(&session.id()).unwrap(), Some(session.state.clone()));
                let query = EventQuery { session: Some(session.id()), ..EventQuery::default() };
                let log: Vec<_> = read_all(&*store, &query).into_iter().map(|event| event.envelope).collect();
                prop_assert_eq!(&log, &session.all);
            }
            Ok(())
        })
        .unwrap();
}
