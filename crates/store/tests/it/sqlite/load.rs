//! Much at once.

use std::fs;
use std::sync::mpsc;

use lockkeeper_store::{Cursor, EventQuery, Store, limits};
use rusqlite::Connection;

use super::{open, place, wait_until};
use crate::common::{PATIENCE, Session, assert_holds, ok, put, read_all, remove};

#[test]
fn many_appends_share_few_commits() {
    const SESSIONS: u64 = 50;
    const EACH: u64 = 200;
    let (_dir, path) = place();
    let store = open(&path);
    let (tell, told) = mpsc::channel();
    let mut sessions: Vec<_> = (1..=SESSIONS).map(|n| Session::new(n, None)).collect();
    for _ in 0..EACH {
        for session in &mut sessions {
            let append = session.says("x").append(&store);
            let tell = tell.clone();
            store.submit(vec![append], Box::new(move |result| tell.send(result).unwrap()));
        }
    }
    for _ in 0..SESSIONS * EACH {
        ok(&told.recv_timeout(PATIENCE).unwrap().unwrap()[0]);
    }
    let health = store.health();
    assert_eq!(health.events, SESSIONS * (EACH + 1));
    assert!(health.commits < SESSIONS * EACH / 10, "{} commits", health.commits);
    assert_holds(&store, &sessions.iter().collect::<Vec<_>>());
}

#[test]
fn the_write_ahead_log_stays_bounded() {
    let (dir, path) = place();
    let store = open(&path);
    let mut session = Session::new(1, None);
    let mut most = 0;
    for _ in 0..60 {
        for _ in 0..200 {
            session.says(&"x".repeat(20_000));
        }
        session.all.clear();
        session.put(&store);
        most = most.max(store.health().wal_bytes);
    }
    assert!(store.health().database_bytes > 12 * limits::WAL_BYTES);
    // What is committed between two looks comes on top.
    assert!(most < limits::WAL_BYTES * 4, "{most}");
    drop(store);
    assert_eq!(fs::metadata(dir.path().join("store.db-wal")).map_or(0, |meta| meta.len()), 0);
}

#[test]
fn what_no_index_holds_costs_no_page_of_one() {
    /// A page in the log, with its head.
    const FRAME: u64 = 4096 + 24;
    let (dir, path) = place();
    let store = open(&path);
    let log = || fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
    let mut session = Session::new(1, Some("a"));
    session.put(&store);
    for open_gates in 0..10 {
        let before = log();
        let mut append = session.says("x").append(&store);
        append.row.open_gates = open_gates;
        ok(&put(&store, vec![append])[0]);
        // The row's, the event's and its index's; as the tables grow, one more and the first.
        assert!(log() - before <= 5 * FRAME, "{} pages", (log() - before) / FRAME);
    }
}

#[test]
fn deleting_a_removed_session_goes_on_after_a_stop() {
    let (_dir, path) = place();
    let store = open(&path);
    let mut session = Session::new(1, None);
    for n in 0..limits::PURGE_EVENTS * 4 {
        if n % 100 == 0 {
            session.says(&format!("{n}{}", "x".repeat(limits::INLINE_BYTES)));
        } else {
            session.says("x");
        }
    }
    session.put(&store);
    ok(&remove(&store, &session));
    drop(store);
    let count = |table: &str| {
        let conn = Connection::open(&path).unwrap();
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(count("events") > 1, "the test is over before it began");
    let store = open(&path);
    assert_eq!(read_all(&store, &EventQuery::default()).len(), 1);
    wait_until("the deletion", || count("events") == 1);
    assert_eq!(count("blobs"), 0);
    assert_eq!(store.head(), Cursor(session.state.seq + 1));
}
