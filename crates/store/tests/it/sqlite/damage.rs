//! Damage behind the header.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use lockkeeper_core::audit::AuditRecord;
use lockkeeper_core::session::{Event, State};
use lockkeeper_store::{
    Append, Appended, AuditQuery, Cursor, EventQuery, Integrity, SessionRow, Store, StoreError, ViewFilter,
};
use rusqlite::Connection;

use super::{bytes_of, fill, open, place, refused, wait_until};
use crate::common::{Session, id, ok, put, read_all, try_put};

#[test]
fn a_damaged_log_is_refused_and_not_shortened() {
    let cases: [(&str, u64); 4] = [
        ("DELETE FROM events WHERE seq = 3", 3),
        ("DELETE FROM events WHERE seq = 1", 1),
        ("DELETE FROM events WHERE seq = 5", 5),
        ("UPDATE events SET data = '{\"item\":' WHERE seq = 4", 4),
    ];
    for (sql, seq) in cases {
        let (_dir, path) = place();
        let store = open(&path);
        let mut session = Session::new(1, None);
        session.says("a").says("b").says("c").says("d").put(&store);
        drop(store);
        Connection::open(&path).unwrap().execute(sql, []).unwrap();
        let store = open(&path);
        let count = store.read_raw(&EventQuery::default()).unwrap().events.len();
        match store.load(&id(1)) {
            Err(StoreError::Damaged { at, what }) => assert_eq!(at, Some((id(1), seq)), "{sql}: {what}"),
            other => panic!("{sql}: {other:?}"),
        }
        drop(store);
        assert_eq!(open(&path).read_raw(&EventQuery::default()).unwrap().events.len(), count);
    }
}

#[test]
fn whatever_stands_in_the_place_of_a_record_is_handed_over() {
    let cases = [
        ("UPDATE audit SET record = 'no JSON' WHERE no = 2", "no JSON"),
        ("UPDATE audit SET record = x'00ff' WHERE no = 2", "\0\u{fffd}"),
        ("UPDATE audit SET record = CAST(x'41ff' AS TEXT) WHERE no = 2", "A\u{fffd}"),
        ("UPDATE audit SET record = 7, hash = x'ff' WHERE no = 2", "7"),
    ];
    for (sql, stands) in cases {
        let (_dir, path) = place();
        let store = open(&path);
        let mut session = Session::new(1, None);
        let record = |session| AuditRecord { session, ..AuditRecord::new(7, "x", None) };
        let own = || record(Some(id(1)));
        let append = |session: &mut Session, audit| Append { audit, ..session.says("x").append(&store) };
        ok(&put(&store, vec![append(&mut session, vec![own(), record(None)])])[0]);
        drop(store);
        Connection::open(&path).unwrap().execute(sql, []).unwrap();
        let store = open(&path);
        let all = store.audit(&AuditQuery::default()).unwrap().entries;
        assert_eq!(all[1].record, stands, "{sql}");
        let of_it = AuditQuery { session: Some(id(1)), ..AuditQuery::default() };
        assert_eq!(store.audit(&of_it).unwrap().entries.len(), 1, "{sql}");
        // What follows can still be written.
        let append = Append { audit: vec![own()], ..session.says("y").append(&store) };
        ok(&put(&store, vec![append])[0]);
        assert_eq!(store.audit(&of_it).unwrap().entries.len(), 2, "{sql}");
    }
}

#[test]
fn a_session_that_contradicts_its_log_leaves_its_neighbours_alone() {
    let (_dir, path) = place();
    let (mut good, mut bad) = (Session::new(1, None), Session::new(2, None));
    {
        let store = open(&path);
        good.put(&store);
        bad.says("x").says("y").put(&store);
    }
    // The row has lost what the log has.
    Connection::open(&path).unwrap().execute("UPDATE sessions SET seq = 2 WHERE pk = 2", []).unwrap();
    let store = open(&path);
    let mut bad = Session { state: State::fold(&id(2), &bad.all[..2]).unwrap(), ..bad };
    let batch = vec![bad.says("again").append(&store), good.says("x").append(&store)];
    let answers = put(&store, batch);
    assert!(matches!(&answers[0], Appended::Refused { why } if why.contains("events")), "{answers:?}");
    assert_eq!(ok(&answers[1]), Cursor(5));
    let own = EventQuery { session: Some(id(1)), ..EventQuery::default() };
    assert_eq!(read_all(&store, &own).len(), 2);
    assert!(store.health().poisoned.is_none());
}

#[test]
fn a_snapshot_that_cannot_be_used_is_folded_again() {
    let cases = [
        "UPDATE snapshots SET format = 999",
        "UPDATE snapshots SET state = 'no JSON'",
        "UPDATE snapshots SET state = json_remove(state, '$.held')",
        "UPDATE snapshots SET state = json_set(state, '$.later', 1)",
        "UPDATE snapshots SET seq = seq + 100",
        "UPDATE snapshots SET seq = 1",
    ];
    for sql in cases {
        let (_dir, path) = place();
        let mut session = Session::new(1, None);
        {
            let store = open(&path);
            let mut append = session.says("a").then(Event::Held { by: "me".into() }).append(&store);
            append.snapshot = Some(session.state.clone().into());
            ok(&put(&store, vec![append])[0]);
            session.says("b").put(&store);
        }
        Connection::open(&path).unwrap().execute(sql, []).unwrap();
        assert_eq!(open(&path).load(&id(1)).unwrap().unwrap(), session.state, "{sql}");
    }
}

#[test]
fn a_snapshot_that_can_be_used_stands_for_the_log_before_it() {
    let (_dir, path) = place();
    let mut session = Session::new(1, None);
    {
        let store = open(&path);
        let mut append = session.says("a").then(Event::Held { by: "me".into() }).append(&store);
        append.snapshot = Some(session.state.clone().into());
        ok(&put(&store, vec![append])[0]);
        session.says("b").put(&store);
    }
    // What no event says shows whether it was read.
    let sql = "UPDATE snapshots SET state = json_set(state, '$.held', 'nobody in the log')";
    assert_eq!(Connection::open(&path).unwrap().execute(sql, []).unwrap(), 1);
    let expected = State { held: Some("nobody in the log".to_owned()), ..session.state };
    assert_eq!(open(&path).load(&id(1)).unwrap().unwrap(), expected);
}

#[test]
fn a_row_that_cannot_be_used_is_made_anew_from_the_log() {
    for sql in ["UPDATE sessions SET format = 0", "UPDATE sessions SET body = '{}'"] {
        let (_dir, path) = place();
        let sessions = fill(&path);
        Connection::open(&path).unwrap().execute(sql, []).unwrap();
        let store = open(&path);
        let view = store.view(&ViewFilter::default()).unwrap();
        let rows: Vec<_> = sessions.iter().rev().map(|session| SessionRow::of(&session.state)).collect();
        assert_eq!(view.sessions, rows, "{sql}");
        assert_eq!(store.session_row(&id(4)).unwrap().as_ref(), rows.first(), "{sql}");
    }
}

/// Writes noise over a page in the middle of the events.
fn damage(path: &Path) {
    let conn = Connection::open(path).unwrap();
    let root: u64 = conn
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'events'", [], |row| row.get::<_, i64>(0))
        .unwrap()
        .unsigned_abs();
    drop(conn);
    let mut file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    // The root is an interior page: bytes 8..12 hold its right-most child, cells follow; spoil the first child.
    let mut page = vec![0; 4096];
    file.seek(SeekFrom::Start((root - 1) * 4096)).unwrap();
    file.read_exact(&mut page).unwrap();
    assert_eq!(page[0], 5, "an interior page of a table");
    let cell = usize::from(u16::from_be_bytes([page[12], page[13]]));
    let child = u64::from(u32::from_be_bytes(page[cell..cell + 4].try_into().unwrap()));
    file.write_all_at(&[0xab; 4096], (child - 1) * 4096).unwrap();
}

fn unclean(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.execute("UPDATE meta SET value = 0 WHERE key = 'clean'", []).unwrap();
}

#[test]
fn a_small_damaged_file_is_refused_after_an_unclean_stop() {
    let (dir, path) = place();
    fill(&path);
    unclean(&path);
    damage(&path);
    let before = bytes_of(dir.path());
    assert!(matches!(refused(&path), StoreError::Damaged { .. }));
    assert_eq!(bytes_of(dir.path()), before);
}

#[test]
fn a_large_damaged_file_is_found_out_at_work_after_an_unclean_stop() {
    let (_dir, path) = place();
    let mut session = Session::new(1, None);
    {
        let store = open(&path);
        for _ in 0..1500 {
            session.says(&"x".repeat(20_000));
        }
        session.put(&store);
        assert_eq!(store.health().integrity, Integrity::NotNeeded);
    }
    unclean(&path);
    {
        let store = open(&path);
        wait_until("the check", || store.health().integrity == Integrity::Sound);
        session.says("y").put(&store);
    }
    unclean(&path);
    // Closing must not wait for the check.
    drop(open(&path));
    unclean(&path);
    damage(&path);
    let store = open(&path);
    wait_until("the check", || matches!(store.health().integrity, Integrity::Damaged(_)));
    let append = session.says("z").append(&store);
    assert!(matches!(try_put(&store, vec![append]), Err(StoreError::Damaged { .. })));
    assert!(store.health().poisoned.is_some());
    assert!(store.session_row(&id(1)).unwrap().is_some());
}

#[test]
fn damage_that_a_read_comes_upon_is_told_and_nothing_is_stored_on_top() {
    let (_dir, path) = place();
    let mut session = Session::new(1, None);
    {
        let store = open(&path);
        for _ in 0..100 {
            session.says(&"x".repeat(3000));
        }
        session.put(&store);
    }
    // After a clean stop nothing is checked.
    damage(&path);
    let store = open(&path);
    assert_eq!(store.health().integrity, Integrity::NotNeeded);
    assert!(matches!(store.read_raw(&EventQuery::default()), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.health().integrity, Integrity::Damaged(_)), "{:?}", store.health());
    let append = session.says("z").append(&store);
    assert!(matches!(try_put(&store, vec![append]), Err(StoreError::Damaged { .. })));
}
