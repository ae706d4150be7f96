//! What every engine must do. Each test runs once per engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::allow_attributes, clippy::wildcard_enum_match_arm, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use common::{
    PATIENCE, Session, assert_holds, ended, gate, id, labelled, message, ok, put, read_all, remove, stamp,
    try_put,
};
use lockkeeper_core::gate::{Gate, GateState, Withdrawal};
use lockkeeper_core::id::{AttemptNo, GateNo};
use lockkeeper_core::json::Json;
use lockkeeper_core::prompt::{Class, Prompt};
use lockkeeper_core::session::{Envelope, Event, State, Status};
use lockkeeper_store::{
    Append, Appended, Cursor, EventQuery, Found, GateFilter, Ingested, KeyEntry, MemoryStore, SessionRow,
    SqliteStore, Store, StoreError, ViewFilter,
};
use proptest::prelude::*;

/// Where a log is: opening it again finds what was there.
trait Place {
    fn open(&self) -> Box<dyn Store>;
}

struct Memory(MemoryStore);

impl Place for Memory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.reopen())
    }
}

struct Sqlite(tempfile::TempDir);

impl Place for Sqlite {
    fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(self.0.path().join("store.db")).unwrap())
    }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod memory {
            $( #[test] fn $name() { super::$name(&super::Memory(lockkeeper_store::MemoryStore::new())); } )*
        }
        mod sqlite {
            $( #[test] fn $name() { super::$name(&super::Sqlite(tempfile::tempdir().unwrap())); } )*
        }
    };
}

conformance! {
    events_come_back_in_order_and_gapless
    a_stale_append_conflicts_and_its_neighbours_are_stored
    an_older_epoch_is_fenced
    an_append_that_contradicts_itself_is_refused
    a_name_belongs_to_one_living_session
    a_reader_skips_and_repeats_nothing_while_others_write
    kinds_are_filtered_and_what_is_dropped_is_not_read_again
    one_session_is_read_from_any_position
    pages_are_bounded_and_lead_to_the_end
    a_cursor_of_another_log_is_refused
    the_view_is_the_fold_at_its_cursor
    views_filter_and_page
    references_are_found
    gates_follow_their_sessions
    a_key_is_stored_with_its_events_and_only_once
    old_keys_are_forgotten
    the_ingest_position_moves_with_the_events
    large_payloads_come_back_to_the_byte
    unknown_kinds_are_kept
    a_known_kind_with_other_data_is_damage
    a_snapshot_and_the_rest_are_the_whole_fold
    a_removed_session_leaves_its_tombstone_only
    a_removed_id_never_comes_back
    live_sessions_are_those_with_work
    what_is_stored_is_there_after_opening_again
    hints_come_after_commits
    callbacks_come_in_the_order_of_submission
    each_submission_of_a_group_gets_its_own_answer
    a_panicking_callback_hurts_nobody
    too_much_waiting_is_refused_at_once
    random_histories_fold_to_their_rows
}

fn events_come_back_in_order_and_gapless(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b) = (Session::new(1, Some("a")), Session::new(2, None));
    for round in 0..20 {
        a.says(&format!("a {round}")).says("again");
        b.says(&format!("b {round}"));
        a.put(&*store);
        b.put(&*store);
    }
    assert_holds(&*store, &[&a, &b]);
    assert_eq!(store.head(), Cursor(store.health().events));
}

fn a_stale_append_conflicts_and_its_neighbours_are_stored(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b, mut c) = (Session::new(1, None), Session::new(2, None), Session::new(3, None));
    b.put(&*store);
    let mut stale = b.clone();
    b.says("first");
    stale.says("late").says("later");
    let batch = vec![a.append(&*store), b.append(&*store), stale.append(&*store), c.append(&*store)];
    let answers = put(&*store, batch);
    assert_eq!(answers[2], Appended::Conflict { found: 2 });
    assert!([0, 1, 3].iter().all(|at| matches!(answers[*at], Appended::Ok { .. })));
    assert_holds(&*store, &[&a, &b, &c]);
    // One from the future, and one for a session that does not exist.
    b.says("x").says("y");
    b.pending.remove(0);
    let early = b.append(&*store);
    assert_eq!(put(&*store, vec![early]), [Appended::Conflict { found: 2 }]);
    let mut nobody = Session::new(4, None);
    nobody.says("x");
    nobody.pending.remove(0);
    let nobody = nobody.append(&*store);
    assert_eq!(put(&*store, vec![nobody]), [Appended::Conflict { found: 0 }]);
}

fn an_older_epoch_is_fenced(place: &dyn Place) {
    let first = place.open();
    let mut session = Session::new(1, None);
    session.put(&*first);
    let second = place.open();
    assert!(second.epoch() > first.epoch());
    assert_eq!(second.log_id(), first.log_id());
    let mut fork = session.clone();
    fork.says("from the past");
    let late = fork.append(&*first);
    assert_eq!(put(&*first, vec![late.clone()]), [Appended::Fenced]);
    // Nor through the new store.
    assert_eq!(put(&*second, vec![late]), [Appended::Fenced]);
    assert_eq!(remove(&*first, &session), Appended::Fenced);
    assert!(first.health().fenced);
    session.says("from the present").put(&*second);
    drop(first);
    assert_holds(&*second, &[&session]);
}

fn an_append_that_contradicts_itself_is_refused(place: &dyn Place) {
    let store = place.open();
    let mut good = Session::new(1, None);
    good.put(&*store);
    let changes: [fn(&mut Append); 5] = [
        |append| append.events[1].seq += 1,
        |append| append.row.seq += 1,
        |append| append.row.id = id(99),
        |append| {
            let key =
                KeyEntry { scope: "s".into(), key: "k".into(), body_hash: "h".into(), response: "r".into() };
            append.keys = vec![key.clone(), key];
        },
        |append| append.snapshot = Some(Arc::new(Session::new(2, None).state)),
    ];
    for change in changes {
        let mut bad = good.clone();
        bad.says("x").says("y");
        let mut append = bad.append(&*store);
        change(&mut append);
        assert!(matches!(put(&*store, vec![append])[..], [Appended::Refused { .. }]));
    }
    let mut headless = Session::new(5, None).says("x").append(&*store);
    headless.events[0].event = message("m", "not a beginning");
    assert!(matches!(put(&*store, vec![headless])[..], [Appended::Refused { .. }]));
    assert_holds(&*store, &[&good]);
    assert_eq!(store.head(), Cursor(1));
}

fn a_name_belongs_to_one_living_session(place: &dyn Place) {
    let store = place.open();
    let (mut a, mut b, mut c) =
        (Session::new(1, Some("x")), Session::new(2, Some("x")), Session::new(3, None));
    let batch = vec![a.append(&*store), b.append(&*store), c.append(&*store)];
    let answers = put(&*store, batch);
    assert_eq!(answers[1], Appended::NameTaken { by: id(1) });
    assert!(matches!(answers[2], Appended::Ok { .. }));
    let renamed = Event::SessionRenamed { name: Some("x".parse().unwrap()), by: "tester".into() };
    let mut thief = c.clone();
    let steal = thief.then(renamed).append(&*store);
    assert_eq!(put(&*store, vec![steal]), [Appended::NameTaken { by: id(1) }]);
    a.then(ended()).put(&*store);
    let mut b = Session::new(2, Some("x"));
    b.put(&*store);
    let reopened =
        Event::SessionReopened { by: "tester".into(), lifetime: lockkeeper_core::session::Lifetime::Kept };
    let mut back = a.clone();
    let back = back.then(reopened).append(&*store);
    assert_eq!(put(&*store, vec![back]), [Appended::NameTaken { by: id(2) }]);
    assert_holds(&*store, &[&a, &b, &c]);
}

fn a_reader_skips_and_repeats_nothing_while_others_write(place: &dyn Place) {
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

fn kinds_are_filtered_and_what_is_dropped_is_not_read_again(place: &dyn Place) {
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

fn one_session_is_read_from_any_position(place: &dyn Place) {
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
                let query =
                    EventQuery { after: Cursor(after), session: Some(id(1)), above_seq, limit, kinds: None };
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

fn pages_are_bounded_and_lead_to_the_end(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let text = "x".repeat(3_000_000);
    for n in 0..7 {
        session.says(&format!("{n}{text}"));
    }
    session.put(&*store);
    let page = store.read(&EventQuery::default()).unwrap();
    assert!(page.more && page.events.len() < 5, "{}", page.events.len());
    assert_holds(&*store, &[&session]);
}

fn a_cursor_of_another_log_is_refused(place: &dyn Place) {
    let store = place.open();
    Session::new(1, None).put(&*store);
    let query = EventQuery { after: Cursor(5), ..EventQuery::default() };
    assert_eq!(store.read(&query), Err(StoreError::Ahead { cursor: 5, head: 1 }));
    assert!(store.read(&EventQuery { after: Cursor(1), ..EventQuery::default() }).unwrap().events.is_empty());
}

fn the_view_is_the_fold_at_its_cursor(place: &dyn Place) {
    let store = place.open();
    let store = &*store;
    let done = AtomicBool::new(false);
    let views = std::thread::scope(|scope| {
        let viewer = scope.spawn(|| {
            // Many at once, and looked at later: what is torn is torn for a moment only.
            let mut views = vec![store.view(&ViewFilter::default()).unwrap()];
            while !done.load(Ordering::Acquire) {
                let view = store.view(&ViewFilter::default()).unwrap();
                if views.last().is_none_or(|last| *last != view) {
                    views.push(view);
                }
            }
            views
        });
        let writers: Vec<_> = (1..=3).map(|n| scope.spawn(move || open_and_close_gates(store, n))).collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Release);
        viewer.join().unwrap()
    });
    let events = read_all(store, &EventQuery::default());
    for view in views {
        let mut logs: BTreeMap<_, Vec<&Envelope>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.cursor <= view.cursor) {
            logs.entry(event.session.clone()).or_default().push(&event.envelope);
        }
        let states: Vec<_> = logs.into_iter().map(|(id, log)| State::fold(&id, log).unwrap()).collect();
        let rows: Vec<_> = states.iter().map(SessionRow::of).collect();
        let mut shown = view.sessions.clone();
        shown.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(shown, rows);
        let open: usize = states.iter().map(|state| state.gates.len()).sum();
        assert_eq!(view.gates.len(), open);
    }
}

fn open_and_close_gates(store: &dyn Store, n: u64) {
    let mut session = Session::new(n, None);
    for no in 1..=60 {
        session.says("x").then(Event::GateOpened { gate: Box::new(gate(no)) });
        let opened = Append { gates: vec![gate(no)], ..session.append(store) };
        ok(&put(store, vec![opened])[0]);
        let why = Withdrawal::ByAgent;
        session.then(Event::GateWithdrawn { gate: GateNo(no), why });
        let state = GateState::Withdrawn { why, at: stamp(session.state.seq) };
        let closed = Append { gates: vec![Gate { state, ..gate(no) }], ..session.append(store) };
        ok(&put(store, vec![closed])[0]);
    }
}

fn views_filter_and_page(place: &dyn Place) {
    let store = place.open();
    let mut sessions: Vec<_> = (1..=9).map(|n| Session::new(n, Some(&format!("s{n}")))).collect();
    for (n, session) in sessions.iter_mut().enumerate() {
        if n % 3 == 0 {
            session.then(ended());
        }
        if n % 2 == 0 {
            session.then(labelled("team", "b")).then(labelled("it's \"odd\"", "a'b"));
        }
        session.put(&*store);
    }
    sessions[1].then(Event::GateOpened { gate: Box::new(gate(1)) });
    let mut append = sessions[1].append(&*store);
    append.gates = vec![gate(1)];
    ok(&put(&*store, vec![append])[0]);
    let names = |filter: ViewFilter| {
        let view = store.view(&filter).unwrap();
        (
            view.sessions
                .iter()
                .map(|row| row.name.clone().unwrap().to_string())
                .collect::<Vec<_>>()
                .join(" "),
            view.more,
        )
    };
    let all = ViewFilter::default();
    assert_eq!(names(all.clone()), ("s9 s8 s7 s6 s5 s4 s3 s2 s1".into(), false));
    assert_eq!(names(ViewFilter { ended: Some(true), ..all.clone() }), ("s7 s4 s1".into(), false));
    assert_eq!(names(ViewFilter { ended: Some(false), limit: 2, ..all.clone() }), ("s9 s8".into(), true));
    let next = ViewFilter { ended: Some(false), limit: 4, before: Some(id(8)), ..all.clone() };
    assert_eq!(names(next), ("s6 s5 s3 s2".into(), false));
    let odd = vec![("team".to_owned(), "b".to_owned()), ("it's \"odd\"".to_owned(), "a'b".to_owned())];
    assert_eq!(names(ViewFilter { labels: odd, ..all.clone() }).0, "s9 s7 s5 s3 s1");
    assert_eq!(names(ViewFilter { name: Some("s4".parse().unwrap()), ..all.clone() }).0, "s4");
    assert_eq!(names(ViewFilter { agent: Some("demo".parse().unwrap()), ..all.clone() }).0.len(), 26);
    assert_eq!(names(ViewFilter { agent: Some("claude".parse().unwrap()), ..all.clone() }).0, "");
    assert_eq!(names(ViewFilter { statuses: vec![Status::AwaitingInput], ..all.clone() }).0, "s2");
    assert_eq!(
        names(ViewFilter { statuses: vec![Status::Running, Status::Suspended], ..all.clone() }).0.len(),
        26
    );
    let view = store.view(&ViewFilter { limit: 8, ..all.clone() }).unwrap();
    assert_eq!(view.gates.len(), 1);
    assert_eq!(view.cursor, store.head());
    assert!(store.view(&ViewFilter { limit: 2, ..all }).unwrap().gates.is_empty());
}

fn references_are_found(place: &dyn Place) {
    let store = place.open();
    // Ids are printed with the lowest bits first: these share the first four characters.
    let (low, high) = (id(0x1_0000_0000), id(0x2_0000_0000));
    let make = |n, name| Session::new(n, name).put(&*store);
    make(0x1_0000_0000, Some("one"));
    make(0x2_0000_0000, None);
    make(31, Some("zeta"));
    let find = |text: &str| store.find(text).unwrap();
    assert_eq!(find(low.as_str()), Found::One(low.clone()));
    assert_eq!(find("one"), Found::One(low.clone()));
    assert_eq!(find("z"), Found::One(id(31)));
    let Found::Several(mut both) = find("0000") else { panic!("one of two") };
    both.sort();
    let mut expected = vec![low.clone(), high];
    expected.sort();
    assert_eq!(both, expected);
    for nothing in ["", "no-such", "Z", "%", "0000%", "é", "y"] {
        assert_eq!(find(nothing), Found::None, "{nothing}");
    }
    // A living session goes before an ended one with the name, the newer ended one before the older.
    let mut old = Session::new(40, Some("twice"));
    old.then(ended()).put(&*store);
    assert_eq!(find("twice"), Found::One(id(40)));
    let mut new = Session::new(41, Some("twice"));
    new.put(&*store);
    assert_eq!(find("twice"), Found::One(id(41)));
    new.then(ended()).put(&*store);
    assert_eq!(find("twice"), Found::One(id(41)));
    assert!(matches!(remove(&*store, &new), Appended::Ok { .. }));
    assert_eq!(find("twice"), Found::One(id(40)));
    assert_eq!(find(new.id().as_str()), Found::None);
}

fn gates_follow_their_sessions(place: &dyn Place) {
    let store = place.open();
    let mut sessions = [Session::new(1, None), Session::new(2, None)];
    for no in 1..=3 {
        for session in &mut sessions {
            session.then(Event::GateOpened { gate: Box::new(gate(no)) });
            let mut append = session.append(&*store);
            append.gates = vec![gate(no)];
            ok(&put(&*store, vec![append])[0]);
        }
    }
    let stored = store.gate(&id(2), GateNo(3)).unwrap().unwrap();
    assert_eq!(stored, gate(3));
    assert_eq!(stored.ask.input.as_str(), gate(3).ask.input.as_str());
    assert_eq!(store.gate(&id(2), GateNo(4)).unwrap(), None);
    let why = Withdrawal::Stopped;
    let mut closed = gate(2);
    closed.state = GateState::Withdrawn { why, at: stamp(5) };
    sessions[0].then(Event::GateWithdrawn { gate: GateNo(2), why });
    let mut append = sessions[0].append(&*store);
    append.gates = vec![closed.clone()];
    ok(&put(&*store, vec![append])[0]);
    assert_eq!(store.gate(&id(1), GateNo(2)).unwrap(), Some(closed));
    let names = |filter: GateFilter| {
        let page = store.gates(&filter).unwrap();
        assert_eq!(page.cursor, store.head());
        let names: Vec<_> = page
            .gates
            .iter()
            .map(|row| format!("{}{}", if row.session == id(1) { "a" } else { "b" }, row.gate.no.0))
            .collect();
        (names.join(" "), page.more)
    };
    let all = GateFilter::default();
    let open = GateFilter { open: true, ..all.clone() };
    assert_eq!(names(all.clone()), ("b3 a3 b2 a2 b1 a1".into(), false));
    assert_eq!(names(open.clone()), ("a1 b1 b2 a3 b3".into(), false));
    assert_eq!(names(GateFilter { limit: 2, ..open.clone() }), ("a1 b1".into(), true));
    let next = Some((id(2), GateNo(1)));
    assert_eq!(names(GateFilter { after: next.clone(), ..open.clone() }), ("b2 a3 b3".into(), false));
    assert_eq!(names(GateFilter { after: next, ..all.clone() }), ("a1".into(), false));
    assert_eq!(names(GateFilter { session: Some(id(1)), ..all }).0, "a3 a2 a1");
    assert_eq!(names(GateFilter { session: Some(id(1)), ..open }).0, "a1 a3");
}

fn key(key: &str) -> KeyEntry {
    KeyEntry {
        scope: "me".into(),
        key: key.into(),
        body_hash: format!("hash {key}"),
        response: "{\"ok\": true}".into(),
    }
}

fn a_key_is_stored_with_its_events_and_only_once(place: &dyn Place) {
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

fn old_keys_are_forgotten(place: &dyn Place) {
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

fn the_ingest_position_moves_with_the_events(place: &dyn Place) {
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

fn large_payloads_come_back_to_the_byte(place: &dyn Place) {
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

fn unknown_kinds_are_kept(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let data = Json::parse(r#"{"b":1, "a":[ ]}"#).unwrap();
    session.then(Event::Unknown { kind: "weather.changed".into(), data }).says("x").put(&*store);
    assert_holds(&*store, &[&session]);
    let page = store.read_raw(&EventQuery::default()).unwrap();
    assert_eq!((&*page.events[1].kind, &*page.events[1].data), ("weather.changed", r#"{"b":1, "a":[ ]}"#));
}

fn a_known_kind_with_other_data_is_damage(place: &dyn Place) {
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

fn a_snapshot_and_the_rest_are_the_whole_fold(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let prompt = Prompt {
        no: lockkeeper_core::id::PromptNo(1),
        text: "do".into(),
        class: Class::Normal,
        caller: "tester".into(),
        key: None,
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

fn a_removed_session_leaves_its_tombstone_only(place: &dyn Place) {
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

fn a_removed_id_never_comes_back(place: &dyn Place) {
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

fn live_sessions_are_those_with_work(place: &dyn Place) {
    let store = place.open();
    let mut sessions: Vec<_> = (1..=6).map(|n| Session::new(n, None)).collect();
    sessions[1].then(Event::ResumeAsked { by: "tester".into() });
    sessions[2].then(ended());
    sessions[3].then(Event::GateOpened { gate: Box::new(gate(1)) });
    sessions[4].then(Event::Unsettled {});
    sessions[5].then(Event::Unsettled {}).then(Event::Settled {});
    for session in &mut sessions {
        session.put(&*store);
    }
    assert_eq!(store.live().unwrap(), [id(2), id(4), id(5)]);
}

fn what_is_stored_is_there_after_opening_again(place: &dyn Place) {
    let mut sessions: Vec<_> = (1..=5).map(|n| Session::new(n, None)).collect();
    let mut log = None;
    for _ in 0..4 {
        let store = place.open();
        assert_eq!(log.get_or_insert(store.log_id().to_owned()), store.log_id());
        for session in &mut sessions {
            session.says("x").put(&*store);
        }
        assert_eq!(store.head(), Cursor(sessions.iter().map(|session| session.state.seq).sum()));
    }
    assert_holds(&*place.open(), &sessions.iter().collect::<Vec<_>>());
}

fn hints_come_after_commits(place: &dyn Place) {
    let store: Arc<dyn Store> = Arc::from(place.open());
    let hinted = Arc::new(AtomicU64::new(0));
    store.on_commit(Box::new({
        let (hinted, store) = (Arc::clone(&hinted), Arc::downgrade(&store));
        move |cursor| {
            hinted.fetch_max(cursor.0, Ordering::SeqCst);
            // It is committed, and the head says so.
            if let Some(store) = store.upgrade() {
                assert!(store.head() >= cursor);
                assert!(
                    store.read(&EventQuery { after: Cursor(cursor.0 - 1), ..EventQuery::default() }).is_ok()
                );
            }
        }
    }));
    let mut session = Session::new(1, None);
    let last = session.says("x").put(&*store);
    store.flush().unwrap();
    assert_eq!(hinted.load(Ordering::SeqCst), last.0);
}

fn callbacks_come_in_the_order_of_submission(place: &dyn Place) {
    let store = place.open();
    let (tell, told) = mpsc::channel();
    let mut session = Session::new(1, None);
    for n in 0..500 {
        let append = session.says("x").append(&*store);
        let tell = tell.clone();
        store
            .submit(vec![append], Box::new(move |result| tell.send((n, result.unwrap().remove(0))).unwrap()));
    }
    for n in 0..500 {
        let (at, answer) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(at, n);
        ok(&answer);
    }
    assert_holds(&*store, &[&session]);
}

fn each_submission_of_a_group_gets_its_own_answer(place: &dyn Place) {
    let older = place.open().epoch();
    let store = place.open();
    let (mut first, mut named, mut keyed) =
        (Session::new(1, None), Session::new(2, Some("name")), Session::new(3, None));
    let batch = vec![named.append(&*store), Append { keys: vec![key("k")], ..keyed.append(&*store) }];
    for answer in put(&*store, batch) {
        ok(&answer);
    }
    let commits = store.health().commits;
    // The writer waits in this callback, so everything else shares the next commit.
    let (go, gate) = mpsc::channel::<()>();
    let append = first.append(&*store);
    store.submit(vec![append], Box::new(move |_| gate.recv_timeout(PATIENCE).unwrap()));
    let (tell, told) = mpsc::channel();
    let submit = |append: Append| {
        let tell = tell.clone();
        store.submit(vec![append], Box::new(move |result| tell.send(result.unwrap().remove(0)).unwrap()));
    };
    let mut good: Vec<_> = (10..16).map(|n| Session::new(n, None)).collect();
    let mut good_one = |at: usize| submit(good[at].append(&*store));
    good_one(0);
    submit(Session::new(20, Some("name")).append(&*store));
    good_one(1);
    submit(Append { keys: vec![key("k")], ..Session::new(21, None).append(&*store) });
    good_one(2);
    let mut wrong = Session::new(22, None).append(&*store);
    wrong.row.seq = 7;
    submit(wrong);
    good_one(3);
    submit(Session::new(2, None).append(&*store));
    good_one(4);
    submit(Append { epoch: older, ..Session::new(23, None).append(&*store) });
    good_one(5);
    go.send(()).unwrap();
    let answers: Vec<_> = (0..11).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    let refused = [answers[1].clone(), answers[3].clone(), answers[7].clone(), answers[9].clone()];
    let wanted = [
        Appended::NameTaken { by: id(2) },
        Appended::KeyTaken(Box::new(key("k"))),
        Appended::Conflict { found: 1 },
        Appended::Fenced,
    ];
    assert_eq!(refused, wanted);
    assert!(matches!(answers[5], Appended::Refused { .. }));
    for at in [0, 2, 4, 6, 8, 10] {
        ok(&answers[at]);
    }
    let commits = store.health().commits - commits;
    assert!(commits <= 2, "{commits}: one for who made them wait, one for them all");
    let good = good.iter().chain([&first, &named, &keyed]);
    assert_holds(&*store, &good.collect::<Vec<_>>());
    assert_eq!(store.view(&ViewFilter::default()).unwrap().sessions.len(), 9);
}

fn a_panicking_callback_hurts_nobody(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let append = session.append(&*store);
    store.submit(vec![append], Box::new(|_| std::panic::resume_unwind(Box::new("on purpose"))));
    session.says("x").put(&*store);
    assert_holds(&*store, &[&session]);
    // The last handle may go in a callback, on the writer's own thread.
    let store: Arc<dyn Store> = Arc::from(store);
    let (tell, told) = mpsc::channel();
    let append = session.says("y").append(&*store);
    let handle = Arc::clone(&store);
    store.submit(
        vec![append],
        Box::new(move |result| {
            drop(handle);
            tell.send(result).unwrap();
        }),
    );
    drop(store);
    ok(&told.recv_timeout(PATIENCE).unwrap().unwrap()[0]);
}

fn too_much_waiting_is_refused_at_once(place: &dyn Place) {
    let store = place.open();
    let (go, gate) = mpsc::channel::<()>();
    // The writer waits in this callback, so everything else queues up.
    let first = Session::new(1, None).append(&*store);
    store.submit(vec![first], Box::new(move |_| gate.recv_timeout(PATIENCE).unwrap()));
    let (tell, told) = mpsc::channel();
    let count = lockkeeper_store::limits::QUEUE_ITEMS as u64 + 5000;
    for n in 0..count {
        let append = Session::new(2 + n, None).append(&*store);
        let tell = tell.clone();
        store.submit(vec![append], Box::new(move |result| tell.send(result).unwrap()));
    }
    // Refusals come first, and on this thread.
    let overloaded = std::iter::from_fn(|| told.try_recv().ok()).filter(Result::is_err).count();
    assert!(overloaded >= 4000, "{overloaded}");
    go.send(()).unwrap();
    let mut stored = 0u64;
    drop(tell);
    while let Ok(result) = told.recv_timeout(PATIENCE) {
        ok(&result.unwrap()[0]);
        stored += 1;
    }
    assert_eq!(stored + overloaded as u64, count);
    let mut after = Session::new(1_000_000, None);
    assert!(try_put(&*store, vec![after.append(&*store)]).is_ok());
}

fn random_histories_fold_to_their_rows(place: &dyn Place) {
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
