//! What only an engine with files can get wrong: kills, other processes, bad files, bad disks.

mod damage;
mod disks;
mod files;
mod kills;
mod load;
mod processes;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockkeeper_store::{SqliteStore, StoreError};
use tempfile::TempDir;

use crate::common::{PATIENCE, Session};

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

fn say(word: &str) {
    // The test harness has written to this line already.
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}
