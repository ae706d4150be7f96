//! Other processes at the same database.

use std::io::Read;

use lockkeeper_store::{Appended, Integrity, Store, StoreError};
use rusqlite::Connection;

use super::{as_child, child, open, place, refused, say, wait_for};
use crate::common::{Session, assert_holds, id, ok, put, try_put};

#[test]
fn child_that_locks_the_database() {
    let Some(dir) = as_child() else { return };
    let conn = Connection::open(dir.join("store.db")).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    say("locked");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn child_that_opens_the_store() {
    let Some(dir) = as_child() else { return };
    let store = open(&dir.join("store.db"));
    let mut session = Session::new(77, None);
    session.put(&store);
    say("opened");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_database_that_another_process_locks_is_busy_and_then_usable() {
    let (dir, path) = place();
    let store = open(&path);
    let mut session = Session::new(1, None);
    session.put(&store);
    let mut other = child("sqlite::processes::child_that_locks_the_database", dir.path()).spawn().unwrap();
    wait_for(&mut other, "locked");
    let append = session.says("x").append(&store);
    assert_eq!(try_put(&store, vec![append.clone()]), Err(StoreError::Busy));
    assert_eq!(store.health().last_error, Some(StoreError::Busy));
    assert_eq!(store.load(&id(1)).unwrap().unwrap().seq, 1);
    assert_eq!(refused(&path), StoreError::Busy);
    drop(other.stdin.take());
    other.wait().unwrap();
    ok(&put(&store, vec![append])[0]);
    assert_eq!(store.health().last_error, None);
    assert_holds(&store, &[&session]);
}

#[test]
fn a_second_process_fences_the_first_off() {
    let (dir, path) = place();
    let store = open(&path);
    let mut session = Session::new(1, None);
    session.put(&store);
    let mut other = child("sqlite::processes::child_that_opens_the_store", dir.path()).spawn().unwrap();
    wait_for(&mut other, "opened");
    let append = session.clone().says("x").append(&store);
    assert_eq!(put(&store, vec![append]), [Appended::Fenced]);
    assert!(store.health().fenced);
    // Closing in order must not mark a store as clean that somebody else has open.
    drop(store);
    other.kill().unwrap();
    other.wait().unwrap();
    let store = open(&path);
    assert_ne!(store.health().integrity, Integrity::NotNeeded);
    assert_eq!(store.epoch().number(), 3);
    assert!(store.session_row(&id(77)).unwrap().is_some());
    assert_holds(&store, &[&session]);
}
