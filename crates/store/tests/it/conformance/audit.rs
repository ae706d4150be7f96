//! The audit.

use std::sync::mpsc;

use lockkeeper_core::audit::{AuditRecord, FIRST, link};
use lockkeeper_store::{Append, Appended, AuditEntry, AuditQuery, Store};

use super::Place;
use crate::common::{Session, ended, id, ok, put, remove};

fn record(what: &str) -> AuditRecord {
    AuditRecord::new(7, what, Some("ada".to_owned()))
}

/// One of a session.
fn of(session: u64, what: &str) -> AuditRecord {
    AuditRecord { session: Some(id(session)), ..record(what) }
}

fn all(store: &dyn Store) -> Vec<AuditEntry> {
    store.audit(&AuditQuery::default()).unwrap().entries
}

fn kinds(entries: &[AuditEntry]) -> Vec<String> {
    let what = |entry: &AuditEntry| serde_json::from_str::<AuditRecord>(&entry.record).unwrap().what;
    entries.iter().map(what).collect()
}

fn assert_chain(entries: &[AuditEntry]) {
    let mut before = FIRST.to_owned();
    for (entry, no) in entries.iter().zip(1..) {
        assert_eq!((entry.no, &entry.hash), (no, &link(&before, &entry.record)));
        before.clone_from(&entry.hash);
    }
}

fn alone(store: &dyn Store, record: &AuditRecord) -> Appended {
    let (tell, told) = mpsc::channel();
    store.keep_fact(
        "audited",
        Some(record.what.clone()),
        std::slice::from_ref(record),
        Box::new(move |answer| tell.send(answer).unwrap()),
    );
    told.recv().unwrap().unwrap().pop().unwrap()
}

pub(super) fn records_are_stored_with_their_events_and_each_follows_the_one_before(place: &dyn Place) {
    let store = place.open();
    let (mut one, mut other) = (Session::new(1, None), Session::new(2, None));
    let with = |session: &mut Session, audit: &[&str]| {
        let audit = audit.iter().map(|what| of(1, what)).collect();
        Append { audit, ..session.append(&*store) }
    };
    let foreign = vec![of(2, "c\u{202e}ä😀")];
    let batch = vec![with(&mut one, &["a", "b"]), Append { audit: foreign, ..other.append(&*store) }];
    for answer in put(&*store, batch) {
        ok(&answer);
    }
    assert!(matches!(alone(&*store, &record("d")), Appended::Ok { .. }));
    let entries = all(&*store);
    assert_eq!(kinds(&entries), ["a", "b", "c\u{202e}ä😀", "d"]);
    assert!(entries.iter().all(|entry| entry.record.is_ascii()), "{entries:?}");
    assert_chain(&entries);
    let of_one = store.audit(&AuditQuery { session: Some(id(1)), ..AuditQuery::default() }).unwrap();
    assert_eq!(kinds(&of_one.entries), ["a", "b"]);
    drop(store);
    let store = place.open();
    ok(&put(&*store, vec![Append { audit: vec![record("e")], ..one.says("x").append(&*store) }])[0]);
    assert_eq!(kinds(&all(&*store)).last().unwrap(), "e");
    assert_chain(&all(&*store));
}

pub(super) fn a_record_is_of_the_session_that_it_says(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    ok(&put(&*store, vec![Append { audit: vec![of(1, "a"), record("b")], ..session.append(&*store) }])[0]);
    assert!(matches!(alone(&*store, &of(1, "c")), Appended::Ok { .. }));
    let query = |session| AuditQuery { session: Some(id(session)), ..AuditQuery::default() };
    assert_eq!(kinds(&store.audit(&query(1)).unwrap().entries), ["a", "c"]);
    assert_eq!(store.audit(&query(2)).unwrap().entries, []);
}

pub(super) fn records_stay_when_their_session_is_removed(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    ok(&put(&*store, vec![Append { audit: vec![of(1, "a")], ..session.then(ended()).append(&*store) }])[0]);
    ok(&remove(&*store, &session));
    let of_it = store.audit(&AuditQuery { session: Some(id(1)), ..AuditQuery::default() }).unwrap();
    assert_eq!(kinds(&of_it.entries), ["a", "session.removed"]);
    assert_chain(&all(&*store));
}

pub(super) fn what_is_refused_leaves_no_record(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    session.put(&*store);
    let stale = session.clone().says("x").append(&*store);
    session.says("y").put(&*store);
    let stale = Append { audit: vec![record("a")], ..stale };
    assert!(matches!(put(&*store, vec![stale])[0], Appended::Conflict { .. }));
    let newer = place.open();
    assert_eq!(alone(&*store, &record("b")), Appended::Fenced);
    assert_eq!(all(&*newer), []);
}

pub(super) fn pages_of_the_audit_lead_to_its_end(place: &dyn Place) {
    let store = place.open();
    let mut session = Session::new(1, None);
    let audit = (0..25).map(|no| record(&format!("r{no}"))).collect();
    ok(&put(&*store, vec![Append { audit, ..session.append(&*store) }])[0]);
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = store.audit(&AuditQuery { after, limit: 10, ..AuditQuery::default() }).unwrap();
        after = page.entries.last().map_or(after, |last| last.no);
        seen.extend(kinds(&page.entries));
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(|no| format!("r{no}")).collect::<Vec<_>>());
    assert_eq!(store.audit(&AuditQuery { after: 99, ..AuditQuery::default() }).unwrap().entries, []);
}
