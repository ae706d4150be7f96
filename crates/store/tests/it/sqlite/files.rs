//! Files that are not ours to use.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lockkeeper_store::{AuditQuery, Store as _, StoreError};
use rusqlite::Connection;

use super::{bytes_of, child, fill, open, place, refused, wait_for};
use crate::common::Session;

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (dir, path) = place();
    fill(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = bytes_of(dir.path());
    let error = refused(&path);
    assert_eq!(error, StoreError::Newer { found: 99, known: 2 });
    assert!(error.to_string().contains("newer lk"), "{error}");
    assert_eq!(bytes_of(dir.path()), before);
}

#[test]
fn an_older_schema_becomes_the_present_one_and_keeps_what_it_holds() {
    let (_dir, path) = place();
    fill(&path);
    let old = Connection::open(&path).unwrap();
    old.execute_batch("DROP TABLE audit; DROP INDEX gates_open_of; PRAGMA user_version = 1;").unwrap();
    let events =
        |conn: &Connection| conn.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0));
    let before = events(&old).unwrap();
    drop(old);
    let store = open(&path);
    assert!(store.audit(&AuditQuery::default()).unwrap().entries.is_empty());
    drop(store);
    let new = Connection::open(&path).unwrap();
    let version = new.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!((events(&new).unwrap(), version.unwrap()), (before, 2));
}

#[test]
fn files_that_are_no_store_are_refused_and_left_alone() {
    let (dir, path) = place();
    fill(&path);
    let whole = fs::read(&path).unwrap();
    let mut torn = whole.clone();
    torn[..4096].fill(0);
    let mut half_torn = whole.clone();
    half_torn[16..100].fill(0xff);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "text",
            b"hello, this is not a database at all, only some text that is long enough for a header"
                .repeat(3),
        ),
        ("a few bytes", b"SQLite".to_vec()),
        ("zeroes", vec![0; 8192]),
        ("noise", (0..200_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()),
        ("a torn first page", torn),
        ("a torn header", half_torn),
        ("cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("cut within a page", whole[..whole.len() - 100].to_vec()),
        ("cut behind the header", whole[..100].to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        let before = bytes_of(dir.path());
        let error = refused(&path);
        assert!(matches!(error, StoreError::Damaged { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("LK_HOME"), "{error}");
        assert_eq!(bytes_of(dir.path()), before, "{what}");
    }
    fs::write(&path, &whole).unwrap();
    drop(open(&path));
}

#[test]
fn a_log_without_its_database_is_refused_and_left_alone() {
    let (dir, path) = place();
    let mut other = child("sqlite::processes::child_that_opens_the_store", dir.path()).spawn().unwrap();
    wait_for(&mut other, "opened");
    other.kill().unwrap();
    other.wait().unwrap();
    fs::remove_file(dir.path().join("store.db-shm")).unwrap();
    for gone in [false, true] {
        if gone {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, b"").unwrap();
        }
        let before = bytes_of(dir.path());
        assert!(matches!(refused(&path), StoreError::Damaged { .. }));
        assert_eq!(bytes_of(dir.path()), before);
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let (dir, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t(x)").unwrap();
    let before = bytes_of(dir.path());
    assert_eq!(refused(&path), StoreError::Foreign { path: path.clone() });
    assert_eq!(bytes_of(dir.path()), before);
}

#[test]
fn a_making_that_was_cut_short_is_done_again() {
    let (_dir, path) = place();
    fs::write(&path, b"").unwrap();
    drop(open(&path));
    let (_dir, path) = place();
    Connection::open(&path).unwrap().pragma_update(None, "journal_mode", "wal").unwrap();
    let store = open(&path);
    Session::new(1, None).put(&store);
}

#[test]
fn files_are_for_their_owner_only() {
    let (dir, path) = place();
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    drop(open(&path));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let store = open(&path);
    Session::new(1, None).put(&store);
    let mut seen = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        seen.push(entry.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["store.db", "store.db-reserve", "store.db-shm", "store.db-wal"]);
}
