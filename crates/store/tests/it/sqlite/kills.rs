//! Kills at any moment.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::session::State;
use lockkeeper_store::{EventQuery, Ingested, SessionRow, Store};

use super::{as_child, child, open, place};
use crate::common::{Session, id, ok, put, read_all};

const WRITERS: u64 = 4;

#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = as_child() else { return };
    let store = open(&dir.join("store.db"));
    let acks = OpenOptions::new().append(true).create(true).open(dir.join("acks")).unwrap();
    std::thread::scope(|scope| {
        for n in 1..=WRITERS {
            let (store, acks) = (&store, &acks);
            scope.spawn(move || {
                let mut session = match store.load(&id(n)).unwrap() {
                    None => Session::new(n, None),
                    Some(state) => Session { state, pending: Vec::new(), all: Vec::new() },
                };
                loop {
                    session
                        .says(&"x".repeat(500 + 40_000 * usize::from(session.state.seq % 9 == 0)))
                        .says("y");
                    let mut append = session.append(store);
                    let upto = session.state.seq;
                    append.ingested = Some(Ingested {
                        attempt: AttemptNo(1),
                        upto,
                        out_carry: None,
                        err_carry: None,
                        rebuild_from: 0,
                    });
                    ok(&put(store, vec![append])[0]);
                    (&mut &*acks).write_all(format!("{n} {}\n", session.state.seq).as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let (dir, path) = place();
    let mut acked: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..25u64 {
        let mut child =
            child("sqlite::kills::child_that_writes_until_it_is_killed", dir.path()).spawn().unwrap();
        // From before the file exists to well into the work.
        std::thread::sleep(Duration::from_micros(round * round * 400 + 700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let acks = fs::read_to_string(dir.path().join("acks")).unwrap_or_default();
        for line in acks.lines() {
            let (n, seq) = line.split_once(' ').unwrap();
            let seen = acked.entry(n.parse().unwrap()).or_default();
            *seen = (*seen).max(seq.parse().unwrap());
        }
        let store = open(&path);
        let logs = logs(&store);
        for (n, seq) in &acked {
            assert!(
                logs.get(n).is_some_and(|state| state.seq >= *seq),
                "round {round}: session {n} lost event {seq}"
            );
        }
        for (n, state) in logs {
            // All of a step or nothing: two events, the row, the position.
            assert_eq!(store.session_row(&id(n)).unwrap().unwrap(), SessionRow::of(&state));
            assert_eq!(store.ingested(&id(n)).unwrap().unwrap().upto, state.seq);
            assert_eq!(state.seq % 2, 1);
        }
        assert!(store.health().poisoned.is_none());
    }
    assert_eq!(acked.len() as u64, WRITERS, "the child never came to work");
}

/// The fold of each session's events, read from the log alone.
fn logs(store: &dyn Store) -> BTreeMap<u64, State> {
    let mut logs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in read_all(store, &EventQuery::default()) {
        logs.entry(event.session).or_default().push(event.envelope);
    }
    let number = |of: &_| (1..=WRITERS).find(|n| id(*n) == *of).unwrap();
    logs.iter().map(|(id, log)| (number(id), State::fold(id, log).unwrap())).collect()
}
