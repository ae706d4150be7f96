//! What only an engine with files can get wrong: kills, other processes, bad files, bad disks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]
#![allow(clippy::allow_attributes, clippy::wildcard_enum_match_arm, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "patience has an end; children talk to their parents"
)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{PATIENCE, Session, assert_holds, id, ok, put, read_all, remove, stamp, try_put};
use lockkeeper_core::id::AttemptNo;
use lockkeeper_core::session::{Event, State};
use lockkeeper_store::{
    Appended, Cursor, EventQuery, Ingested, Integrity, Removal, SessionRow, SqliteStore, Store, StoreError,
    ViewFilter, limits,
};
use rusqlite::Connection;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    (dir, path)
}

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).unwrap()
}

fn refused(path: &Path) -> StoreError {
    SqliteStore::open(path).err().expect("the store is refused")
}

/// Runs a function of this file, by its test's name, in a process of its own.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("STORE_TEST_CHILD", dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// The directory to work in, in such a process.
fn as_child() -> Option<PathBuf> {
    std::env::var_os("STORE_TEST_CHILD").map(PathBuf::from)
}

fn wait_for(child: &mut Child, word: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with(word)), "the child never said {word:?}");
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: never");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A few sessions with all there is.
fn fill(path: &Path) -> Vec<Session> {
    let store = open(path);
    let mut sessions: Vec<_> = (1..=4).map(|n| Session::new(n, None)).collect();
    for session in &mut sessions {
        for _ in 0..10 {
            session.says("x").says(&"long ".repeat(10_000)).put(&store);
        }
    }
    sessions
}

/// Names, lengths and hashes of the files. Without the index of the write-ahead log and an empty one, which even a reader
/// makes.
fn bytes_of(dir: &Path) -> Vec<(PathBuf, usize, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let name = path.to_string_lossy();
        if name.ends_with("-shm") || (name.ends_with("-wal") && bytes.is_empty()) {
            continue;
        }
        let mut hash = DefaultHasher::new();
        bytes.hash(&mut hash);
        files.push((path, bytes.len(), hash.finish()));
    }
    files.sort();
    files
}

// --- kills -------------------------------------------------------------------------------------------------------

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
        let mut child = child("child_that_writes_until_it_is_killed", dir.path()).spawn().unwrap();
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

// --- other processes ---------------------------------------------------------------------------------------------

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

fn say(word: &str) {
    // The test harness has written to this line already.
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}

#[test]
fn a_database_that_another_process_locks_is_busy_and_then_usable() {
    let (dir, path) = place();
    let store = open(&path);
    let mut session = Session::new(1, None);
    session.put(&store);
    let mut other = child("child_that_locks_the_database", dir.path()).spawn().unwrap();
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
    let mut other = child("child_that_opens_the_store", dir.path()).spawn().unwrap();
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

// --- files that are not ours to use -------------------------------------------------------------------------------

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (dir, path) = place();
    fill(&path);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = bytes_of(dir.path());
    let error = refused(&path);
    assert_eq!(error, StoreError::Newer { found: 99, known: 1 });
    assert!(error.to_string().contains("newer lk"), "{error}");
    assert_eq!(bytes_of(dir.path()), before);
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
    let mut other = child("child_that_opens_the_store", dir.path()).spawn().unwrap();
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

// --- damage behind the header -------------------------------------------------------------------------------------

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

// --- load ---------------------------------------------------------------------------------------------------------

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

// --- bad disks ----------------------------------------------------------------------------------------------------

/// A small filesystem in memory; `None` (said aloud) where this process may not mount one.
struct Mount(TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "lk-store-test"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: this user cannot mount a filesystem");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The directory is removed after this; a mount that stays would show there.
        let _ = Command::new("umount").args(["-l"]).arg(self.0.path()).status();
    }
}

#[test]
fn a_read_only_place_is_refused() {
    let Some(mount) = Mount::new("size=20m,mode=0700") else { return };
    let path = mount.0.path().join("store.db");
    fill(&path);
    mount.remount("ro");
    for path in [path, mount.0.path().join("none.db")] {
        match refused(&path) {
            StoreError::Denied { why, .. } => assert!(why.contains("Read-only"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(refused(&mount.0.path().join("no/such/place.db")), StoreError::Denied { .. }));
}

#[test]
fn on_a_full_disk_what_is_essential_is_stored_and_the_rest_later() {
    let Some(mount) = Mount::new("size=16m,mode=0700") else { return };
    let store = open(&mount.0.path().join("store.db"));
    assert!(store.health().reserve);
    let mut session = Session::new(1, None);
    session.put(&store);
    let mut stored = session.clone();
    let text = "x".repeat(10_000);
    let error = loop {
        let append = session.says(&text).append(&store);
        match try_put(&store, vec![append]) {
            Ok(answers) => {
                ok(&answers[0]);
                stored = session.clone();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::Full);
    assert!(stored.state.seq > 100, "{}", stored.state.seq);
    assert!(store.health().full);
    assert_holds(&store, &[&stored]);
    // Essential and not, side by side: what is essential always gets in, the other only if there is space after all.
    let (mut session, mut other, mut refused) = (stored.clone(), Session::new(2, None), 0);
    for round in 0..60 {
        let mut next = other.clone();
        let mut essential = session.says(&text).append(&store);
        essential.essential = true;
        let batch = vec![next.says(&text).append(&store), essential];
        let answers = try_put(&store, batch).unwrap_or_else(|error| panic!("round {round}: {error}"));
        ok(&answers[1]);
        if answers[0] == Appended::Full {
            refused += 1;
        } else {
            ok(&answers[0]);
            other = next;
        }
    }
    assert!(refused > 30, "{refused}");
    let alone = other.clone().says(&"x".repeat(5_000_000)).append(&store);
    assert_eq!(try_put(&store, vec![alone]), Err(StoreError::Full));
    assert!(store.health().full);
    assert_eq!(store.load(&id(1)).unwrap().unwrap(), session.state);
    assert_eq!(store.load(&id(2)).unwrap().is_some(), other.pending.is_empty());
    // Space comes back: so does the reserve, without a restart and without anybody asking.
    mount.remount("size=64m");
    wait_until("recovery", || !store.health().full);
    assert!(store.health().reserve);
    other.says("at last").put(&store);
    session.says("after").put(&store);
    assert_holds(&store, &[&session, &other]);
    drop(store);
    let store = open(&mount.0.path().join("store.db"));
    assert_holds(&store, &[&session, &other]);
}

/// Fails the system's calls while a file says so: "sync", "write" or "short".
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
static int on(const char *what) {
    char path[4096];
    const char *dir = getenv("STORE_TEST_CHILD");
    if (!dir) return 0;
    strcpy(path, dir); strcat(path, "/fail-"); strcat(path, what);
    return access(path, F_OK) == 0;
}
static int sync_with(const char *name, int fd) {
    if (on("sync")) { errno = EIO; return -1; }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}
int fsync(int fd) { return sync_with("fsync", fd); }
int fdatasync(int fd) { return sync_with("fdatasync", fd); }
static ssize_t write_with(const char *name, int fd, const void *data, size_t n, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    if (on("write")) { errno = EIO; return -1; }
    if (on("short") && n > 24) { ssize_t done = real(fd, data, n / 2, at); (void)done; errno = EIO; return -1; }
    return real(fd, data, n, at);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { return write_with("pwrite", fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at) { return write_with("pwrite64", fd, data, n, at); }
"#;

#[test]
fn child_on_a_bad_disk() {
    let Some(dir) = as_child() else { return };
    let store = open(&dir.join("store.db"));
    let mut session = Session::new(1, None);
    session.put(&store);
    for kind in ["write", "short"] {
        let switch = dir.join(format!("fail-{kind}"));
        for _ in 0..3 {
            fs::write(&switch, b"").unwrap();
            let append = session.says(&"x".repeat(9000)).append(&store);
            assert!(matches!(try_put(&store, vec![append.clone()]), Err(StoreError::Io { .. })), "{kind}");
            assert_eq!(store.load(&id(1)).unwrap().unwrap().seq, append.expected);
            fs::remove_file(&switch).unwrap();
            // What was not stored leaves no hole, and took nothing with it that the next one needs.
            assert_eq!(ok(&put(&store, vec![append])[0]), Cursor(session.state.seq));
            assert_holds(&store, &[&session]);
        }
    }
    delete_on_a_bad_disk(&store, &dir);
    fs::write(dir.join("fail-sync"), b"").unwrap();
    let before = session.clone();
    let append = session.says("who knows").append(&store);
    assert_eq!(put(&store, vec![append.clone()]), [Appended::Unknown]);
    fs::remove_file(dir.join("fail-sync")).unwrap();
    // Never again, even though the disk is well.
    for _ in 0..2 {
        assert!(matches!(try_put(&store, vec![append.clone()]), Err(StoreError::Poisoned { .. })));
    }
    assert!(store.health().poisoned.is_some());
    assert_holds(&store, &[&before]);
    drop(store);
    let store = open(&dir.join("store.db"));
    let seq = store.load(&id(1)).unwrap().unwrap().seq;
    assert!(seq == before.state.seq || seq == session.state.seq, "{seq}");
    say("done");
}

/// What could not be deleted at once is deleted as soon as the disk is well again.
fn delete_on_a_bad_disk(store: &SqliteStore, dir: &Path) {
    let mut session = Session::new(2, None);
    session.says("x").says("y").put(store);
    let switch = dir.join("fail-write");
    let removal = Removal {
        session: session.id(),
        epoch: store.epoch(),
        expected: session.state.seq,
        at: stamp(9),
        by: "tester".to_owned(),
    };
    // The writer deletes right after this callback.
    let on = switch.clone();
    store.remove(removal, Box::new(move |result| fs::write(on, format!("{result:?}")).unwrap()));
    store.flush().unwrap();
    let left = || {
        let conn = Connection::open(dir.join("store.db")).unwrap();
        conn.query_row("SELECT count(*) FROM events WHERE session = 2", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(left(), 4);
    fs::remove_file(switch).unwrap();
    wait_until("the deletion", || left() == 1);
}

#[test]
fn a_bad_disk_aborts_and_a_failed_sync_ends_writing() {
    let (dir, _) = place();
    let (source, shim) = (dir.path().join("shim.c"), dir.path().join("shim.so"));
    fs::write(&source, SHIM).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no C compiler for the shim");
        return;
    }
    let mut child = child("child_on_a_bad_disk", dir.path()).env("LD_PRELOAD", &shim).spawn().unwrap();
    wait_for(&mut child, "done");
    assert!(child.wait().unwrap().success());
}
