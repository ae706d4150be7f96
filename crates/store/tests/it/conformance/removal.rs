//! What is left of a removed session.

use lockkeeper_core::id::GateNo;
use lockkeeper_core::session::Event;
use lockkeeper_store::{Appended, Cursor, EventQuery, Found, GateFilter, Store, ViewFilter, limits};

use super::Place;
use crate::common::{Session, assert_holds, ended, gate, id, ok, put, read_all, remove};

pub(super) fn a_removed_session_leaves_its_tombstone_only(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b) = (Session::new(1, Some("gone")), Session::new(2, None));
    for round in 0..60 {
        a.says(&"long ".repeat(if round % 20 == 0 { 10_000 } else { 1 })).says("x");
        b.says("y");
        if round == 10 {
            a.then(Event::GateOpened { gate: Box::new(gate(1)) });
        }
        let mut append = a.append(&*store);
        if round == 10 {
            append.gates = vec![gate(1)];
        }
        let batch = vec![append, b.append(&*store)];
        for answer in put(&*store, batch) {
            ok(&answer);
        }
    }
    let before = store.head();
    let mut stale = a.clone();
    stale.state.seq -= 1;
    assert_eq!(remove(&*store, &stale), Appended::Conflict { found: a.state.seq });
    let seq = a.state.seq + 1;
    assert_eq!(remove(&*store, &a), Appended::Ok { last: Cursor(before.0 + 1), seq });
    for store in [store, place.open()] {
        let own = read_all(&*store, &EventQuery { session: Some(id(1)), ..EventQuery::default() });
        let [tombstone] = &own[..] else { panic!("{} events are left", own.len()) };
        assert_eq!((tombstone.envelope.event.kind(), tombstone.envelope.seq), ("session.removed", seq));
        assert_eq!(
            read_all(&*store, &EventQuery { session: Some(id(1)), after: before, ..EventQuery::default() }),
            own
        );
        let middle = EventQuery { session: Some(id(1)), after: Cursor(50), ..EventQuery::default() };
        assert_eq!(read_all(&*store, &middle), own);
        let all = read_all(&*store, &EventQuery::default());
        assert_eq!(all.len(), b.all.len() + 1);
        assert_holds(&*store, &[&b]);
        assert_eq!(store.session_row(&id(1)).unwrap(), None);
        assert_eq!(store.load(&id(1)).unwrap(), None);
        assert_eq!(store.gate(&id(1), GateNo(1)).unwrap(), None);
        assert!(store.gates(&GateFilter::default()).unwrap().gates.is_empty());
        assert_eq!(store.find("gone").unwrap(), Found::None);
        assert_eq!(store.view(&ViewFilter::default()).unwrap().sessions.len(), 1);
        store.flush().unwrap();
    }
}

pub(super) fn the_tombstone_of_a_long_session_is_found_by_those_who_read_from_the_start(place: &dyn Place) {
    let store = place.open();
    let mut long = Session::new(1, None);
    for _ in 0..limits::PAGE_SCAN {
        long.says("x");
    }
    long.put(&*store);
    ok(&remove(&*store, &long));
    for store in [store, place.open()] {
        for after in [Cursor::START, Cursor(5)] {
            let query = EventQuery { session: Some(id(1)), after, ..EventQuery::default() };
            let kinds: Vec<String> = read_all(&*store, &query)
                .iter()
                .map(|stored| stored.envelope.event.kind().to_owned())
                .collect();
            assert_eq!(kinds, ["session.removed"]);
        }
        store.flush().unwrap();
    }
}

pub(super) fn a_removed_id_never_comes_back(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, Some("name"));
    session.put(&*store);
    ok(&remove(&*store, &session));
    assert_eq!(remove(&*store, &session), Appended::Conflict { found: 0 });
    for mut late in [session.clone(), Session::new(1, None)] {
        let append = late.says("x").append(&*store);
        assert!(matches!(put(&*store, vec![append])[..], [Appended::Refused { .. }]));
    }
    Session::new(2, Some("name")).put(&*store);
    // The end of the log may be a tombstone: positions go on behind it.
    let mut last = Session::new(3, None);
    last.put(&*store);
    ok(&remove(&*store, &last));
    store.flush().unwrap();
    let head = store.head();
    drop(store);
    let store = place.open();
    assert_eq!(store.head(), head);
    assert!(Session::new(4, None).put(&*store) > head);
}

pub(super) fn removing_an_ended_session_leaves_its_name_to_the_one_that_lives(place: &dyn Place) {
    let store = place.open();
    let mut first = Session::new(1, Some("name"));
    first.then(ended()).put(&*store);
    let mut second = Session::new(2, Some("name"));
    second.put(&*store);
    ok(&remove(&*store, &first));
    let is_its_own = |store: &dyn Store| {
        assert_eq!(store.find("name").unwrap(), Found::One(id(2)));
        let third = Session::new(3, Some("name")).append(store);
        assert_eq!(put(store, vec![third]), [Appended::NameTaken { by: id(2) }]);
        assert_holds(store, &[&second]);
    };
    is_its_own(&*store);
    drop(store);
    is_its_own(&*place.open());
}
