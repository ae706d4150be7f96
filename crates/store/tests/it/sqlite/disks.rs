//! Full and failing disks.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use lockkeeper_store::{Appended, Cursor, Removal, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{as_child, child, fill, open, place, refused, say, wait_for, wait_until};
use crate::common::{Session, assert_holds, id, ok, put, stamp, try_put};

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
    // How much that is depends on when the log was cut last.
    let (mut session, mut other, mut refused) = (stored.clone(), Session::new(2, None), 0);
    for round in 0..1_000 {
        if refused == 30 {
            break;
        }
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
    assert_eq!(refused, 30);
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

#[test]
fn a_store_opens_on_a_full_disk_with_the_help_of_its_reserve() {
    for clean in [true, false] {
        let Some(mount) = Mount::new("size=16m,mode=0700") else { return };
        let (path, filler) = (mount.0.path().join("store.db"), mount.0.path().join("filler"));
        let mut session = Session::new(1, None);
        {
            let store = open(&path);
            session.says(&"x".repeat(100_000)).put(&store);
            if !clean {
                fill_up(&filler);
            }
        }
        if clean {
            fill_up(&filler);
        }
        let store = open(&path);
        assert!(store.health().full && !store.health().reserve, "clean: {clean}");
        assert_holds(&store, &[&session]);
        let mut essential = session.says("the end").append(&store);
        essential.essential = true;
        ok(&put(&store, vec![essential])[0]);
        fs::remove_file(filler).unwrap();
        wait_until("recovery", || !store.health().full);
        session.says("after").put(&store);
        assert_holds(&store, &[&session]);
    }
}

/// Takes all the space that is left.
fn fill_up(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
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
    let mut child =
        child("sqlite::disks::child_on_a_bad_disk", dir.path()).env("LD_PRELOAD", &shim).spawn().unwrap();
    wait_for(&mut child, "done");
    assert!(child.wait().unwrap().success());
}
