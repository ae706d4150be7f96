//! Rows, gates and references.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use lockkeeper_core::gate::{Gate, GateState, Withdrawal};
use lockkeeper_core::id::GateNo;
use lockkeeper_core::session::{Envelope, Event, State, Status};
use lockkeeper_store::{Append, Appended, EventQuery, Found, GateFilter, SessionRow, Store, ViewFilter};

use super::Place;
use crate::common::{Session, ended, gate, id, labelled, ok, put, read_all, remove, stamp};

pub(super) fn the_view_is_the_fold_at_its_cursor(place: &dyn Place) {
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

pub(super) fn views_filter_and_page(place: &dyn Place) {
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

pub(super) fn references_are_found(place: &dyn Place) {
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
    assert_eq!((find("z000"), find("z00")), (Found::One(id(31)), Found::None));
    let Found::Several(mut both) = find("0000") else { panic!("one of two") };
    both.sort();
    let mut expected = vec![low.clone(), high];
    expected.sort();
    assert_eq!(both, expected);
    // A name that is the beginning of an id means the session with the name.
    make(77, Some("0000"));
    assert_eq!((find("0000"), store.with_id("z000").unwrap()), (Found::One(id(77)), Found::One(id(31))));
    assert!(matches!(store.with_id("0000").unwrap(), Found::Several(_)));
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

pub(super) fn gates_follow_their_sessions(place: &dyn Place) {
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

pub(super) fn live_sessions_are_those_with_work(place: &dyn Place) {
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
