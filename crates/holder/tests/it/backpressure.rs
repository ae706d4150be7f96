//! When the journal cannot be written, or runs too far ahead: the agent waits and nothing is lost.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "tests fail by panicking and skip loudly")]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lockkeeper_holder::frames::{Phase, Refusal, Reply, Request};
use lockkeeper_holder::journal::{Delivery, Exit, Reading, Record, Scope};

use lockkeeper_holder::{HolderState, probe, start};
use rustix::process::{Resource, Rlimit, prlimit};

use crate::support::{Attempt, holder_program};

const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const SIGCONT: i32 = 18;

/// A file system of its own with little space.
struct SmallDisk {
    temp: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not permitted.
    fn mount(options: &str) -> Option<Self> {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], temp.path().to_owned());
        if !mounted {
            eprintln!("SKIPPED: a small tmpfs cannot be mounted here (needs root)");
        }
        mounted.then_some(Self { temp })
    }

    fn grow(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.temp.path().to_owned()), "remounted");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A holder that still runs after a failed test keeps it busy; then it stays until the machine goes.
        let _ = Command::new("umount").arg("-l").arg(self.temp.path()).status();
    }
}

fn mount(options: &[&str], path: PathBuf) -> bool {
    Command::new("mount")
        .args(options)
        .arg(path)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

fn is_blocked(reply: Reply) -> Option<()> {
    is_blocked_by(reply, ENOSPC)
}

fn is_blocked_by(reply: Reply, errno: i32) -> Option<()> {
    matches!(reply, Reply::Status(status) if status.reading == Reading::JournalBlocked(errno)).then_some(())
}

#[test]
fn a_full_disk_stops_the_agent_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let attempt =
        Attempt::script_in(disk.temp.path().to_owned(), "seq 1 300000; read go; echo $go >&2; exit 5")
            .start();
    let mut daemon = attempt.connect();
    daemon.receive_until("the full disk", is_blocked);
    // Facts still get through, by way of the reserve.
    daemon.send(&Request::Signal { number: 1, scope: Scope::Leader, signal: SIGCONT });
    let delivery = Delivery::Delivered(1);
    let fact = Record::Signalled { number: 1, scope: Scope::Leader, signal: SIGCONT, delivery };
    attempt.until("the signal's record", |log| log.has(fact));
    // Writes are not accepted, since that could not be recorded.
    daemon.send(&Request::Write { number: 1, bytes: b"prompt\n" });
    daemon.receive_until("a refusal", |reply| {
        matches!(reply, Reply::Refused { expected: 1, reason: Refusal::JournalBlocked, .. }).then_some(())
    });
    assert_eq!(daemon.status().phase, Phase::Running);
    let len = std::fs::metadata(attempt.dir.join("journal")).expect("the journal").len();
    assert!(daemon.status().journal_len <= len);

    disk.grow("size=16m");
    daemon.receive_until("an open journal", |reply| {
        matches!(reply, Reply::Status(status) if status.reading == Reading::Open).then_some(())
    });
    // What was refused can be asked for again.
    daemon.send(&Request::Write { number: 1, bytes: b"prompt\n" });
    let log = attempt.ended();
    let wanted: Vec<u8> = (1..=300_000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    assert!(log.stdout == wanted, "{} of {} bytes", log.stdout.len(), wanted.len());
    assert_eq!(log.stderr, b"prompt\n");
    assert!(log.has(Record::Exited { exit: Exit::Code(5) }));
}

#[test]
fn an_agent_killed_on_a_full_disk_is_recorded_and_ends_when_there_is_space() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let mut attempt = Attempt::script_in(disk.temp.path().to_owned(), "yes 'a line of some length'");
    attempt.spec.drain_ms = 10;
    let attempt = attempt.start();
    let mut daemon = attempt.connect();
    daemon.receive_until("the full disk", is_blocked);
    daemon.send(&Request::Signal { number: 1, scope: Scope::Tree, signal: 9 });
    attempt.until("the exit", |log| log.has(Record::Exited { exit: Exit::Signal(9) }));
    assert_eq!(daemon.status().phase, Phase::Draining);
    disk.grow("size=16m");
    let log = attempt.ended();
    // Whatever had left the agent is there: whole lines but for the last, cut where the agent was killed.
    let text = log.text();
    let broken = text.lines().filter(|line| *line != "a line of some length").count();
    assert!(broken <= 1, "{broken} broken lines");
}

#[test]
fn a_holder_that_could_not_make_one_of_its_files_is_started_again() {
    let mut failures = 0;
    // So many files may be made: the first holder fails at the first, the second, and so on.
    for files in 1..8 {
        let Some(disk) = SmallDisk::mount(&format!("size=1m,nr_inodes={}", files + 1)) else { return };
        let attempt = Attempt::script_in(disk.temp.path().to_owned(), "exec cat");
        let attempt = match start(&holder_program(), &attempt.dir, &attempt.spec) {
            Ok(()) => attempt,
            Err(error) => {
                failures += 1;
                assert_eq!(error.raw_os_error(), Some(ENOSPC), "{files} files: {error}");
                assert_eq!(probe(&attempt.dir).expect("a state"), HolderState::NeverRan, "{files} files");
                disk.grow("nr_inodes=100");
                attempt.start()
            }
        };
        attempt.connect().send(&Request::CloseStdin { number: 1 });
        assert!(attempt.ended().has(Record::Exited { exit: Exit::Code(0) }), "{files} files");
        attempt.gone();
    }
    assert!(failures >= 3, "{failures} failures");
}

#[test]
fn at_a_limit_of_file_sizes_the_agent_waits_and_nothing_is_lost() {
    let attempt = Attempt::script("seq 1 100000; exit 5");
    // Blocks of 512 bytes.
    let limited = "ulimit -S -f 200; exec \"$0\" hold \"$1\"";
    let mut holder = Command::new("sh")
        .args(["-c", limited])
        .args([holder_program(), attempt.dir.clone()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell runs");
    holder.stdin.take().expect("a pipe").write_all(&attempt.spec.encode()).expect("written");
    holder.stdout.take().expect("a pipe").read_exact(&mut [0; 5]).expect("it listens");
    let mut daemon = attempt.connect();
    daemon.receive_until("the limit", |reply| is_blocked_by(reply, EFBIG));
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(daemon.holder()), Resource::Fsize, unlimited).expect("the limit is lifted");
    let log = attempt.ended();
    assert!(log.text().ends_with("\n99999\n100000\n") && log.has(Record::Exited { exit: Exit::Code(5) }));
    drop(daemon);
    assert!(holder.wait().expect("its end").success());
}

#[test]
fn an_agent_far_ahead_of_its_daemon_waits_for_it() {
    let mut attempt = Attempt::script("seq 1 100000; echo done >&2");
    attempt.spec.ahead_limit = 100_000;
    let attempt = attempt.start();
    let mut daemon = attempt.connect();
    // Asked until it says that reading has stopped. Word of growth is no occasion: the last one may come before a status.
    let mut status = daemon.status();
    while status.reading != Reading::TooFarAhead {
        status = daemon.status();
    }
    let most = 100_000 + 2 * (64 << 10) + 1_000;
    assert!(status.journal_len > 100_000 && status.journal_len < most, "{status:?}");
    assert_eq!(status.phase, Phase::Running);
    // The holder ends, and with it the connection, once all is consumed and recorded: perhaps between any two of these.
    while daemon.try_send(&Request::Consumed { offset: daemon_len(&attempt) }) && daemon.receive().is_some() {
    }
    let log = attempt.ended();
    assert!(log.text().ends_with("\n99999\n100000\n") && log.stderr == b"done\n");
}

fn daemon_len(attempt: &Attempt) -> u64 {
    std::fs::metadata(attempt.dir.join("journal")).expect("the journal").len()
}

#[test]
fn an_attempt_without_a_daemon_ends_even_when_it_is_far_ahead() {
    let mut attempt = Attempt::script("seq 1 10000");
    attempt.spec.ahead_limit = 1;
    let log = attempt.start().ended();
    assert!(log.text().ends_with("\n9999\n10000\n"));
}
