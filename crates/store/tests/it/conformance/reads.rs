//! Reading the log page by page.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use lockkeeper_core::json::Json;
use lockkeeper_core::session::Event;
use lockkeeper_store::{Appended, Cursor, EventQuery, StoreError};

use super::Place;
use crate::common::{Session, assert_holds, id, labelled, message, put, read_all, remove};

pub(super) fn a_reader_skips_and_repeats_nothing_while_others_write(place: &dyn Place) {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 150;
    let store = place.open();
    let store = &*store;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = [1usize, 7, 1000]
            .into_iter()
            .map(|limit| {
                let done = &done;
                scope.spawn(move || {
                    let mut query = EventQuery { limit, ..EventQuery::default() };
                    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
                    loop {
                        let last = done.load(Ordering::Acquire);
                        let page = store.read(&query).unwrap();
                        for event in &page.events {
                            let seq = seen.entry(event.session.clone()).or_default();
                            *seq += 1;
                            assert_eq!(event.envelope.seq, *seq);
                        }
                        if last && !page.more && page.events.is_empty() {
                            return seen;
                        }
                        query.after = page.next;
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (1..=WRITERS)
            .map(|n| {
                scope.spawn(move || {
                    let mut session = Session::new(n, None);
                    for _ in 0..ROUNDS {
                        session.says("one").says("two").put(store);
                    }
                    session
                })
            })
            .collect();
        let sessions: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        for reader in readers {
            let seen = reader.join().unwrap();
            let all: BTreeMap<_, _> =
                sessions.iter().map(|session| (session.id(), session.state.seq)).collect();
            assert_eq!(seen, all);
        }
        assert_holds(store, &sessions.iter().collect::<Vec<_>>());
    });
}

pub(super) fn kinds_are_filtered_and_what_is_dropped_is_not_read_again(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    for n in 0..10 {
        session.says("x").says("y").then(labelled("n", &n.to_string()));
    }
    session.put(&*store);
    let kinds = Some(vec!["session.labelled".to_owned(), "session.created".to_owned()]);
    for session in [None, Some(id(1))] {
        let query = EventQuery { kinds: kinds.clone(), session, ..EventQuery::default() };
        let page = store.read(&query).unwrap();
        assert_eq!(page.events.len(), 11);
        assert_eq!((page.next, page.more), (store.head(), false));
        let page = store.read(&EventQuery { limit: 3, ..query.clone() }).unwrap();
        assert_eq!(page.events.len(), 3);
        assert_eq!((page.next, page.more), (page.events[2].cursor, true));
        let none = EventQuery { kinds: Some(vec!["no.such".to_owned()]), ..query };
        let page = store.read(&none).unwrap();
        assert_eq!((page.events.len(), page.next), (0, store.head()));
    }
    assert_eq!(read_all(&*store, &EventQuery { kinds, limit: 2, ..EventQuery::default() }).len(), 11);
}

pub(super) fn one_session_is_read_from_any_position(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b) = (Session::new(1, None), Session::new(2, None));
    for round in 0..13 {
        a.says("a").put(&*store);
        if round % 3 == 0 {
            b.says("b").says("b").put(&*store);
        }
    }
    let all = read_all(&*store, &EventQuery::default());
    for after in 0..=store.head().0 {
        for above_seq in [0, 4, 100] {
            for limit in [0, 2] {
                let query = EventQuery {
                    after: Cursor(after),
                    session: Some(id(1)),
                    above_seq,
                    limit,
                    kinds: None,
                    limit_bytes: 0,
                };
                let expected: Vec<_> = all
                    .iter()
                    .filter(|e| e.cursor.0 > after && e.session == id(1) && e.envelope.seq > above_seq)
                    .cloned()
                    .collect();
                assert_eq!(read_all(&*store, &query), expected, "after {after}, above {above_seq}");
            }
        }
    }
    let nobody = EventQuery { session: Some(id(77)), ..EventQuery::default() };
    let page = store.read(&nobody).unwrap();
    assert_eq!((page.events.len(), page.next, page.more), (0, store.head(), false));
}

pub(super) fn pages_are_bounded_and_lead_to_the_end(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let text = "x".repeat(3_000_000);
    for n in 0..7 {
        session.says(&format!("{n}{text}"));
    }
    session.put(&*store);
    let page = store.read(&EventQuery::default()).unwrap();
    assert!(page.more && page.events.len() < 5, "{}", page.events.len());
    let smaller = EventQuery { limit_bytes: 4_000_000, ..EventQuery::default() };
    let two = store.read(&smaller).unwrap();
    assert_eq!((two.more, &two.events[..]), (true, &page.events[..two.events.len()]));
    assert!(two.events.len() < page.events.len(), "{}", two.events.len());
    let one = store.read(&EventQuery { limit_bytes: 1, after: two.next, ..EventQuery::default() }).unwrap();
    assert_eq!((one.more, one.events.len()), (true, 1), "a page holds at least one");
    assert_holds(&*store, &[&session]);
}

pub(super) fn a_cursor_of_another_log_is_refused(place: &dyn Place) {
    let store = place.open();
    Session::new(1, None).put(&*store);
    let query = EventQuery { after: Cursor(5), ..EventQuery::default() };
    assert_eq!(store.read(&query), Err(StoreError::Ahead { cursor: 5, head: 1 }));
    assert!(store.read(&EventQuery { after: Cursor(1), ..EventQuery::default() }).unwrap().events.is_empty());
}

pub(super) fn large_payloads_come_back_to_the_byte(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b) = (Session::new(1, None), Session::new(2, None));
    for length in [32_000, 32_768, 32_769, 40_000, 5_000_000] {
        let text: String = "\u{0}\"\\\u{1f600}é\r\n".chars().cycle().take(length).collect();
        a.then(message("same", &text));
        b.then(message("same", &text));
    }
    let raw = format!("{{ \"x\" :\t\"{}\" , \"n\": 1.50e3 }}", "z".repeat(100_000));
    a.then(Event::Unknown { kind: "later.large".into(), data: Json::parse(&raw).unwrap() });
    let batch = vec![a.append(&*store), b.append(&*store)];
    assert!(put(&*store, batch).iter().all(|answer| matches!(answer, Appended::Ok { .. })));
    assert_holds(&*store, &[&a, &b]);
    let events = store
        .read_raw(&EventQuery { kinds: Some(vec!["later.large".into()]), ..EventQuery::default() })
        .unwrap();
    assert_eq!(events.events[0].data, raw);
    // What one of them shares with another outlives the removal of the other.
    assert!(matches!(remove(&*store, &a), Appended::Ok { .. }));
    store.flush().unwrap();
    drop(store);
    assert_holds(&*place.open(), &[&b]);
}

pub(super) fn unknown_kinds_are_kept(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let data = Json::parse(r#"{"b":1, "a":[ ]}"#).unwrap();
    session.then(Event::Unknown { kind: "weather.changed".into(), data }).says("x").put(&*store);
    assert_holds(&*store, &[&session]);
    let page = store.read_raw(&EventQuery::default()).unwrap();
    assert_eq!((&*page.events[1].kind, &*page.events[1].data), ("weather.changed", r#"{"b":1, "a":[ ]}"#));
}

pub(super) fn a_known_kind_with_other_data_is_damage(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    // Written under a known name, as a broken disk or program might.
    let broken = Event::Unknown { kind: "session.held".into(), data: Json::parse("{\"by\":7}").unwrap() };
    session.says("x").then(broken).says("y").put(&*store);
    let damaged = |result: Result<(), StoreError>| match result {
        Err(StoreError::Damaged { at, .. }) => assert_eq!(at, Some((id(1), 3))),
        other => panic!("{other:?}"),
    };
    damaged(store.load(&id(1)).map(drop));
    damaged(store.read(&EventQuery::default()).map(drop));
    // What lies before can be read, and nothing was cut off.
    assert_eq!(store.read(&EventQuery { limit: 2, ..EventQuery::default() }).unwrap().events.len(), 2);
    assert_eq!(store.read_raw(&EventQuery::default()).unwrap().events.len(), 4);
}
